//! `Line`: one connection of a socket, between the task that drives the socket and the stream that uses it.
//!
//! ```text
//!   Driver ──── datagrams, time ──▶ Line ── wakes ──▶ VutIo (in the stream's actor)
//!      ▲                             ▲                  │
//!      └──────── Bell: "look at it" ─┴── read, write ───┘
//! ```
//!
//! Both live on one arbiter. A borrow of the line ends before anybody is woken by way of the bell.

use crate::proto::time::Time;
use crate::proto::vut::{CloseReason, Endpoint, Event, Proof};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// Names a line of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LineId(u64);

/// A connection and what is known of it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) endpoint: Endpoint<SocketAddr>,
    pub(super) life: Life,
    pub(super) theirs: Theirs,
    pub(super) ours: Ours,
    /// Octets of the stream that were read, and that were handed over.
    pub(super) read: u64,
    pub(super) taken: u64,
    /// The last error of sending: why nothing arrives, maybe.
    pub(super) unsent: Option<io::Error>,
    wakers: Wakers,
}

/// Where it is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// The peer is not known yet.
    Opening,
    Open,
    Closed(CloseReason),
}

/// What the peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theirs {
    Open,
    /// All was read.
    Ended(Proof),
}

/// What we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ours {
    Open,
    /// The peer does not read any more.
    Stopped,
    /// The peer has acknowledged our end.
    Finished(Proof),
}

/// Who waits for what. One task waits for all of it.
#[derive(Debug, Default)]
struct Wakers {
    data: Option<Waker>,
    room: Option<Waker>,
    state: Option<Waker>,
    progress: Option<Waker>,
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// Data, or the end of it.
    Data,
    /// Room for more.
    Room,
    /// The handshake, an end, a loss.
    State,
    /// Anything at all: acknowledgements and last words are no events.
    Progress,
}

impl Line {
    pub(super) fn new(endpoint: Endpoint<SocketAddr>) -> Self {
        Self {
            endpoint,
            life: Life::Opening,
            theirs: Theirs::Open,
            ours: Ours::Open,
            read: 0,
            taken: 0,
            unsent: None,
            wakers: Wakers::default(),
        }
    }

    pub(super) fn wait(&mut self, wait: Wait, cx: &Context<'_>) {
        let slot = match wait {
            Wait::Data => &mut self.wakers.data,
            Wait::Room => &mut self.wakers.room,
            Wait::State => &mut self.wakers.state,
            Wait::Progress => &mut self.wakers.progress,
        };
        match slot {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *slot = Some(cx.waker().clone()),
        }
    }

    /// Takes over what happened, and wakes whom it concerns.
    pub(super) fn take_events(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Connected => self.life = Life::Open,
                Event::Readable | Event::Credit { .. } => {}
                Event::PeerEnded(proof) => self.theirs = Theirs::Ended(proof),
                Event::PeerStopped => self.ours = Ours::Stopped,
                Event::Finished(proof) => self.ours = Ours::Finished(proof),
                Event::Closed(reason) => self.life = Life::Closed(reason),
            }
            match event {
                Event::Readable => wake(&mut self.wakers.data),
                Event::Credit { .. } => wake(&mut self.wakers.room),
                _ => self.wake_all(),
            }
        }
        wake(&mut self.wakers.progress);
    }

    fn wake_all(&mut self) {
        wake(&mut self.wakers.data);
        wake(&mut self.wakers.room);
        wake(&mut self.wakers.state);
        wake(&mut self.wakers.progress);
    }

    /// The socket is gone, and the connection with it.
    pub(super) fn cut(&mut self) {
        if !matches!(self.life, Life::Closed(_)) {
            self.life = Life::Closed(CloseReason::Aborted);
        }
        self.wake_all();
    }

    /// The reason of its end as an error, if it is one.
    pub(super) fn failure(&mut self) -> Option<io::Error> {
        match self.life {
            Life::Closed(CloseReason::NoAnswer) if self.unsent.is_some() => self.unsent.take(),
            Life::Closed(reason @ CloseReason::NoAnswer) if self.endpoint.stats().forged > 0 => {
                let told = format!("{reason} that knows the secrets; what came is not authentic");
                Some(io::Error::new(io::ErrorKind::TimedOut, told))
            }
            Life::Closed(reason) if !reason.is_end() => Some(error_of(reason)),
            _ => None,
        }
    }

    /// Whether all that was handed over was kept for the peer, and not dropped because it stopped reading.
    pub(super) fn is_whole(&self) -> bool {
        self.endpoint.written() >= self.taken
    }
}

fn wake(slot: &mut Option<Waker>) {
    if let Some(waker) = slot.take() {
        waker.wake();
    }
}

/// A reason as the operating system's errors are told.
fn error_of(reason: CloseReason) -> io::Error {
    let kind = match reason {
        CloseReason::NoAnswer | CloseReason::PeerGone | CloseReason::CloseUnanswered => io::ErrorKind::TimedOut,
        CloseReason::AbortedByPeer { .. } => io::ErrorKind::ConnectionReset,
        CloseReason::Foreign | CloseReason::OnlyLegacy => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, reason)
}

/// By which the streams of a socket call its task.
pub(super) struct Bell {
    start: Instant,
    ids: Cell<u64>,
    rung: RefCell<Vec<LineId>>,
    joining: RefCell<Vec<Joining>>,
    /// The youngest connection to each address.
    taken: RefCell<HashMap<SocketAddr, Weak<RefCell<Line>>>>,
    task: RefCell<Option<Waker>>,
    holders: Cell<Holders>,
}

/// A connection that is to be driven.
pub(super) struct Joining {
    pub(super) id: LineId,
    pub(super) peer: SocketAddr,
    pub(super) line: Rc<RefCell<Line>>,
}

/// Whether more connections can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holders {
    Some,
    None,
    /// The task is gone.
    Gone,
}

impl Bell {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            ids: Cell::new(0),
            rung: RefCell::default(),
            joining: RefCell::default(),
            taken: RefCell::default(),
            task: RefCell::default(),
            holders: Cell::new(Holders::Some),
        }
    }

    /// The time of the socket's connections.
    pub(super) fn now(&self) -> Time {
        Time::after_start(self.start.elapsed())
    }

    /// That time as the runtime has it.
    pub(super) fn instant(&self, time: Time) -> Instant {
        Instant::now() + (time - self.now()).min(FAR)
    }

    /// A new one.
    pub(super) fn id(&self) -> LineId {
        self.ids.set(self.ids.get() + 1);
        LineId(self.ids.get())
    }

    pub(super) fn ring(&self, id: LineId) {
        self.rung.borrow_mut().push(id);
        self.call();
    }

    pub(super) fn join(&self, joining: Joining) {
        if self.holders.get() == Holders::Gone {
            joining.line.borrow_mut().cut();
            return;
        }
        let mut taken = self.taken.borrow_mut();
        taken.retain(|_, line| line.strong_count() > 0);
        taken.insert(joining.peer, Rc::downgrade(&joining.line));
        drop(taken);
        self.joining.borrow_mut().push(joining);
        self.call();
    }

    /// Whether another connection to this address could not be told from one that is there.
    pub(super) fn is_taken(&self, peer: SocketAddr) -> bool {
        let line = self.taken.borrow().get(&peer).and_then(Weak::upgrade);
        line.is_some_and(|line| line.borrow().holds_address())
    }

    pub(super) fn holders(&self) -> Holders {
        self.holders.get()
    }

    pub(super) fn set_holders(&self, holders: Holders) {
        if self.holders.get() != Holders::Gone {
            self.holders.set(holders);
        }
        self.call();
    }

    fn call(&self) {
        if let Some(waker) = self.task.borrow_mut().take() {
            waker.wake();
        }
    }

    // ---- for the task

    pub(super) fn hear(&self, cx: &Context<'_>) {
        *self.task.borrow_mut() = Some(cx.waker().clone());
    }

    pub(super) fn take_rung(&self, into: &mut Vec<LineId>) {
        into.append(&mut self.rung.borrow_mut());
    }

    pub(super) fn take_joining(&self) -> Vec<Joining> {
        self.joining.take()
    }
}

/// The longest that a timer is set for: a year. The task looks again then.
const FAR: Duration = Duration::from_secs(86_400 * 365);

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").field("holders", &self.holders).finish_non_exhaustive()
    }
}
