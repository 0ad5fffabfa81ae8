//! `Endpoint`: the task that drives a socket and its connections. One timer for all of them.
//!
//! A turn, in this order:
//!
//! | step | bounded by |
//! |---|---|
//! | take in new connections | |
//! | receive, each datagram to the connection of its source address; others are dropped | [`Calls::receive`] calls |
//! | let time pass for those that asked for it | |
//! | for each that anything happened to: send, take over its events, set its time | [`Calls::send`] calls each |
//! | wait | |
//!
//! While the system takes no datagram the one batch waits, and no connection is asked for more.
//!
//! The task outlives the streams: a closed connection answers its peer's late datagrams for some seconds. It ends when the
//! last connection is gone and nobody can add one. If it is dropped before, each peer is told of an abort, with one
//! datagram.

use super::batch::{Batch, Filled};
use super::line::{Bell, Holders, Joining, Line};
#[cfg(doc)]
use super::udp::Calls;
use super::udp::Udp;
use crate::proto::time::Time;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::time::Sleep;

/// A socket, its connections, and when they want to be called.
pub(super) struct Endpoint {
    udp: Udp,
    bell: Rc<Bell>,
    lines: HashMap<SocketAddr, Entry>,
    deadlines: BTreeSet<(Time, SocketAddr)>,
    /// To be looked at, each once.
    due: VecDeque<SocketAddr>,
    batch: Batch,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Kept for its memory.
    rung: Vec<SocketAddr>,
}

struct Entry {
    line: Rc<RefCell<Line>>,
    /// As the socket has to be told it.
    to: SocketAddr,
    deadline: Option<Time>,
    is_due: bool,
}

/// How sending went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    All,
    /// There is more, and others come first.
    More,
    /// The system takes nothing now.
    Blocked,
}

impl Endpoint {
    pub(super) fn new(udp: Udp, bell: Rc<Bell>) -> Self {
        Self {
            udp,
            bell,
            lines: HashMap::new(),
            deadlines: BTreeSet::new(),
            due: VecDeque::new(),
            batch: Batch::default(),
            sleep: None,
            rung: Vec::new(),
        }
    }

    fn take_in(&mut self) {
        for Joining { peer, line } in self.bell.take_joining() {
            if self.lines.get(&peer).is_some_and(|entry| !entry.is_over()) {
                // whoever adds one has looked
                line.borrow_mut().cut();
                continue;
            }
            self.forget(peer);
            let to = self.udp.destination(peer);
            self.lines.insert(peer, Entry { line, to, deadline: None, is_due: false });
            self.touch(peer);
        }
        let mut rung = std::mem::take(&mut self.rung);
        self.bell.take_rung(&mut rung);
        rung.drain(..).for_each(|peer| self.touch(peer));
        self.rung = rung;
    }

    fn touch(&mut self, peer: SocketAddr) {
        if let Some(entry) = self.lines.get_mut(&peer)
            && !std::mem::replace(&mut entry.is_due, true)
        {
            self.due.push_back(peer);
        }
    }

    fn forget(&mut self, peer: SocketAddr) {
        if let Some(entry) = self.lines.remove(&peer) {
            if let Some(deadline) = entry.deadline {
                self.deadlines.remove(&(deadline, peer));
            }
            entry.line.borrow_mut().cut();
        }
    }

    /// True if there may be more.
    fn receive(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        for _ in 0..self.udp.calls().receive {
            let (now, lines, due) = (self.bell.now(), &mut self.lines, &mut self.due);
            let received = self.udp.poll_receive(cx, |from, datagram| {
                let peer = canonical(from);
                let Some(entry) = lines.get_mut(&peer) else { return };
                entry.line.borrow_mut().face.handle_datagram(now, peer, datagram);
                if !std::mem::replace(&mut entry.is_due, true) {
                    due.push_back(peer);
                }
            });
            match received {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(())) => {}
                // what an earlier datagram of ours met on its way; the peer's silence tells of it
                Poll::Ready(Err(e)) if is_passing(&e) => {}
                Poll::Ready(Err(e)) => return Err(e),
            }
        }
        Ok(true)
    }

    fn let_time_pass(&mut self) {
        let now = self.bell.now();
        while let Some(&(deadline, peer)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            if let Some(entry) = self.lines.get_mut(&peer) {
                entry.deadline = None;
                entry.line.borrow_mut().face.handle_timeout(now);
            }
            self.touch(peer);
        }
    }

    /// Sends for all that are due. True if it should go on soon.
    fn serve(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.flush_waiting(cx) {
            return false;
        }
        for _ in 0..self.due.len() {
            let Some(peer) = self.due.pop_front() else { break };
            let Some(entry) = self.lines.get_mut(&peer) else { continue };
            entry.is_due = false;
            let line = entry.line.clone();
            let sent = self.send(&mut line.borrow_mut(), peer);
            self.after(&line, peer);
            match sent {
                Sent::All => {}
                Sent::More => self.touch(peer),
                Sent::Blocked => {
                    self.touch(peer);
                    // arranges for the waker, or finds that there is room again
                    return self.udp.poll_writable(cx).is_ready();
                }
            }
        }
        !self.due.is_empty()
    }

    /// Sends what a blocked socket has left behind. True if nothing is.
    fn flush_waiting(&mut self, cx: &mut Context<'_>) -> bool {
        while !self.batch.is_empty() {
            match self.batch.flush(&self.udp) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => match self.udp.poll_writable(cx) {
                    Poll::Pending => return false,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return false,
                },
                _ => {}
            }
        }
        true
    }

    fn send(&mut self, line: &mut Line, peer: SocketAddr) -> Sent {
        let Some(to) = self.lines.get(&peer).map(|entry| entry.to) else { return Sent::All };
        let (now, max) = (self.bell.now(), line.face.datagram_max());
        let mut sends = 0;
        loop {
            let added = self.batch.add(&self.udp, to, max, |buf| line.face.poll_transmit(now, buf));
            if added == Some(Filled::Open) {
                continue;
            }
            match self.batch.flush(&self.udp) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Sent::Blocked,
                Err(error) => {
                    tracing::debug!(%peer, %error, "datagrams were not sent");
                    line.unsent = Some(error);
                }
            }
            sends += 1;
            match added {
                None => return Sent::All,
                Some(_) if sends >= self.udp.calls().send => return Sent::More,
                Some(_) => {}
            }
        }
    }

    /// What happened to it, and when it wants to be called.
    fn after(&mut self, line: &RefCell<Line>, peer: SocketAddr) {
        let (gone, deadline) = {
            let mut line = line.borrow_mut();
            line.take_events();
            (line.face.is_gone(), line.face.poll_timeout(self.bell.now()))
        };
        if gone {
            self.bell.forget(peer);
            return self.forget(peer);
        }
        let Some(entry) = self.lines.get_mut(&peer) else { return };
        if entry.deadline != deadline {
            if let Some(before) = entry.deadline {
                self.deadlines.remove(&(before, peer));
            }
            if let Some(at) = deadline {
                self.deadlines.insert((at, peer));
            }
            entry.deadline = deadline;
        }
    }

    /// Sets the timer. True if it is time already.
    fn wait(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(&(deadline, _)) = self.deadlines.first() else {
            self.sleep = None;
            return false;
        };
        let at = self.bell.instant(deadline);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx).is_ready()
    }

    fn is_over(&self) -> bool {
        self.lines.is_empty() && self.bell.holders() != Holders::Some && self.batch.is_empty()
    }
}

impl Future for Endpoint {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.bell.hear(cx);
        this.take_in();
        let more = match this.receive(cx) {
            Ok(more) => more,
            Err(error) => {
                tracing::error!(%error, local = %this.udp.local(), "a socket fails");
                return Poll::Ready(());
            }
        };
        this.let_time_pass();
        let again = this.serve(cx);
        if this.is_over() {
            return Poll::Ready(());
        }
        this.batch.shrink();
        // short-circuited, the timer would not be set
        let now = this.wait(cx);
        if more || again || now {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Entry {
    fn is_over(&self) -> bool {
        matches!(self.line.borrow().life, super::line::Life::Closed(_))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.bell.set_holders(Holders::Gone);
        let lines: Vec<_> = self.bell.take_joining().into_iter().map(|joining| joining.line).collect();
        lines.iter().for_each(|line| line.borrow_mut().cut());
        for entry in std::mem::take(&mut self.lines).into_values() {
            // a panic of the connection itself has left it borrowed
            let Ok(mut line) = entry.line.try_borrow_mut() else { continue };
            let now = self.bell.now();
            line.face.abort(now);
            let mut buf = vec![0; line.face.datagram_max()];
            if let Some(len) = line.face.poll_transmit(now, &mut buf) {
                let _ = self.udp.try_send(entry.to, &buf[..len], len);
            }
            line.cut();
        }
    }
}

/// An address as connections are found by it, whatever family the socket is of.
pub(super) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_none() && v6.scope_id() != 0 => {
            SocketAddr::V6(std::net::SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()))
        }
        _ => SocketAddr::new(addr.ip().to_canonical(), addr.port()),
    }
}

/// Errors of a socket that say nothing of the socket.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable, PermissionDenied,
    };
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | Interrupted | NetworkUnreachable | PermissionDenied
    )
}
