//! `Driver`: the task that drives a socket and its connections. One timer for all of them.
//!
//! A turn, in this order:
//!
//! | step | bounded by |
//! |---|---|
//! | take in new connections | |
//! | receive, each datagram to its connection (see [`Lines`]); others are dropped | [`Calls::receive`] calls |
//! | let time pass for those that asked for it | |
//! | for each that anything happened to: send, take over its events, set its time | [`Calls::send`] calls each |
//! | wait | |
//!
//! While the system takes no datagram the one batch waits, and no connection is asked for more.
//!
//! The task outlives the streams: a closed connection answers its peer's late datagrams for some seconds. It ends when the
//! last connection is gone and nobody can add one. If it is dropped before, each peer is told of an abort, with one
//! datagram.

use super::address::canonical;
use super::batch::{Batch, Filled};
use super::line::{Bell, Holders, Joining, Line, LineId};
use super::lines::Lines;
#[cfg(doc)]
use super::udp::Calls;
use super::udp::Udp;
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::time::Sleep;

/// A socket, its connections, and when they want to be called.
pub(super) struct Driver {
    udp: Udp,
    bell: Rc<Bell>,
    lines: Lines,
    batch: Batch,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Kept for its memory.
    rung: Vec<LineId>,
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

/// Datagrams that a peer is told when the task is dropped: the abort, and what may be due before it.
const LAST_WORDS: usize = 3;

impl Driver {
    pub(super) fn new(udp: Udp, bell: Rc<Bell>) -> Self {
        Self { udp, bell, lines: Lines::default(), batch: Batch::default(), sleep: None, rung: Vec::new() }
    }

    fn take_in(&mut self) {
        for Joining { id, peer, line } in self.bell.take_joining() {
            if self.lines.is_taken(peer) {
                // whoever adds one has looked
                line.borrow_mut().cut();
            } else {
                self.lines.add(id, peer, line);
            }
        }
        self.bell.take_rung(&mut self.rung);
        self.rung.drain(..).for_each(|id| self.lines.touch(id));
    }

    /// True if there may be more.
    fn receive(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        for _ in 0..self.udp.calls().receive {
            let (now, lines) = (self.bell.now(), &mut self.lines);
            match self.udp.poll_receive(cx, |from, mark, datagram| lines.deliver(now, canonical(from), mark, datagram))
            {
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
        while let Some((id, line)) = self.lines.pop_late(now) {
            line.borrow_mut().endpoint.handle_timeout(now);
            self.lines.touch(id);
        }
    }

    /// Sends for all that are due. True if it should go on soon.
    fn serve(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.flush_waiting(cx) {
            return false;
        }
        for _ in 0..self.lines.due() {
            let Some((id, line)) = self.lines.pop_due() else { break };
            let sent = self.send(&mut line.borrow_mut());
            self.after(id, &line);
            match sent {
                Sent::All => {}
                Sent::More => self.lines.touch(id),
                Sent::Blocked => {
                    self.lines.touch(id);
                    // arranges for the waker, or finds that there is room again
                    return self.udp.poll_writable(cx).is_ready();
                }
            }
        }
        self.lines.due() > 0
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

    fn send(&mut self, line: &mut Line) -> Sent {
        let (now, max) = (self.bell.now(), line.endpoint.datagram_max());
        let mut sends = 0;
        loop {
            let added = self.batch.add(&self.udp, max, |buf| line.endpoint.poll_transmit(now, buf));
            if added == Some(Filled::Open) {
                continue;
            }
            match self.batch.flush(&self.udp) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Sent::Blocked,
                Err(error) => {
                    tracing::debug!(peer = %line.endpoint.peer(), %error, "datagrams were not sent");
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
    fn after(&mut self, id: LineId, line: &RefCell<Line>) {
        let (gone, deadline) = {
            let mut line = line.borrow_mut();
            line.take_events();
            (line.endpoint.is_gone(), line.endpoint.poll_timeout(self.bell.now()))
        };
        if gone {
            self.lines.forget(id);
        } else {
            self.lines.set_deadline(id, deadline);
        }
    }

    /// Sets the timer. True if it is time already.
    fn wait(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.lines.next_deadline() else {
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

impl Future for Driver {
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
        // short-circuited, the timer would not be set
        let now = this.wait(cx);
        if more || again || now {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.bell.set_holders(Holders::Gone);
        let waiting = self.bell.take_joining().into_iter().map(|joining| joining.line);
        waiting.for_each(|line| line.borrow_mut().cut());
        for line in self.lines.drain() {
            // a panic of the connection itself has left it borrowed
            let Ok(mut line) = line.try_borrow_mut() else { continue };
            let now = self.bell.now();
            line.endpoint.abort(now);
            let mut buf = vec![0; line.endpoint.datagram_max()];
            for _ in 0..LAST_WORDS {
                let Some(out) = line.endpoint.poll_transmit(now, &mut buf) else { break };
                let datagrams = buf[..out.octets].chunks(out.segment);
                datagrams.for_each(|datagram| _ = self.udp.try_send(out.to, out.ecn, datagram, out.segment));
            }
            line.cut();
        }
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
