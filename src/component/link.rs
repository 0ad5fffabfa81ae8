//! `Link`: one attachment as the actor layer and its observers see it: the shared cell, the times, the observer.

use super::budget::Budget;
use super::census::Counted;
use super::control::{Asking, Control, Envelope};
use super::identity::{ComponentId, ComponentInfo};
use super::message::{InletHandle, OutletHandle};
use crate::proto::link::{Cause, Count, LinkCell, LinkId, Side, Terminal};
use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// At most 64 questions are outstanding on a link; a further asker waits (rule X1).
pub const MAX_ASKS: usize = 64;

/// One attachment, shared by both ends and by whoever observes it.
pub struct Link {
    cell: Arc<LinkCell>,
    times: Times,
    observer: Option<Arc<dyn Observer>>,
    /// Made for the first question.
    asks: OnceLock<Arc<Semaphore>>,
    /// For each side whether its port is isolated.
    isolated: [AtomicBool; 2],
    _counted: Counted,
}

impl Link {
    /// A new attachment, told to `observer` as it goes on.
    pub fn new(observer: Option<Arc<dyn Observer>>) -> Arc<Self> {
        Arc::new(Self {
            cell: LinkCell::new(),
            times: Times::default(),
            observer,
            asks: OnceLock::new(),
            isolated: Default::default(),
            _counted: Counted::link(),
        })
    }

    /// Its process-wide name.
    pub fn id(&self) -> LinkId {
        self.cell.id()
    }

    /// The counters and the cause.
    pub fn cell(&self) -> &Arc<LinkCell> {
        &self.cell
    }

    /// How long the outlet has waited, and for what.
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// The port of this side is isolated: an abort of the link does not reach its component. Said before the port's note.
    pub(crate) fn isolate(&self, side: Side) {
        self.isolated[side as usize].store(true, Relaxed);
    }

    /// True if an abort of the link ends there and does not reach that side's component.
    pub fn is_isolated(&self, side: Side) -> bool {
        self.isolated[side as usize].load(Relaxed)
    }

    /// Asks along the link: at once if there is room (rule X1), else as soon as there is.
    pub(crate) fn ask<M: Control>(
        &self,
        message: M,
        within: Duration,
        send: impl FnOnce(LinkId, Envelope) + Send + 'static,
    ) -> Asking<M::Reply> {
        let (envelope, answer) = Envelope::new(message);
        let waits = self.send_with_room(envelope, send);
        Asking::new(
            async {
                if let Some(waits) = waits {
                    waits.await
                }
            },
            answer,
            within,
        )
    }

    /// The same for what needs no answer.
    pub(crate) fn tell<M: Control>(&self, message: M, send: impl FnOnce(LinkId, Envelope) + Send + 'static) {
        if let Some(waits) = self.send_with_room(Envelope::telling(message), send) {
            actix_rt::spawn(waits);
        }
    }

    /// Tells what is told once at each end of an attachment, and so needs no room.
    pub(crate) fn announce<M: Control>(&self, message: M, send: impl FnOnce(LinkId, Envelope)) {
        send(self.id(), Envelope::telling(message));
    }

    /// Sends if there is room; else gives the future that does so later.
    pub(crate) fn send_with_room(
        &self,
        mut envelope: Envelope,
        send: impl FnOnce(LinkId, Envelope) + Send + 'static,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let id = self.id();
        let asks = self.asks.get_or_init(|| Arc::new(Semaphore::new(MAX_ASKS))).clone();
        match asks.clone().try_acquire_owned() {
            Ok(room) => {
                envelope.take_room(room);
                send(id, envelope);
                None
            }
            Err(_) => Some(async move {
                if let Ok(room) = asks.acquire_owned().await {
                    envelope.take_room(room);
                    send(id, envelope);
                }
            }),
        }
    }

    pub(crate) fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.as_ref()
    }

    pub(crate) fn note(&self, note: impl FnOnce() -> Note) {
        if let Some(observer) = &self.observer {
            observer.note(note());
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.note(|| Note::Closed { link: self.id() });
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("cell", &self.cell).finish_non_exhaustive()
    }
}

/// What an observer of links is told, in the order in which it happens at each end.
#[derive(Debug)]
#[non_exhaustive]
pub enum Note {
    /// An outlet was reserved for the link.
    Reserved {
        /// The attachment.
        link: Arc<Link>,
        /// Whose outlet it is.
        component: ComponentHandle,
        /// A weak way to it.
        outlet: Box<dyn OutletHandle>,
    },
    /// An inlet was attached to the link.
    Attached {
        /// The attachment.
        link: Arc<Link>,
        /// Whose inlet it is.
        component: ComponentHandle,
        /// A weak way to it.
        inlet: Box<dyn InletHandle>,
    },
    /// The other end failed and is to be rebuilt; this one was parted, and can be attached again (rule S1). Whoever does not
    /// rebuild it drops `parted`.
    Suspended {
        /// The attachment.
        link: LinkId,
        /// Which end this is.
        side: Side,
        /// What this end had sent or accepted.
        at: Count,
        /// A hold on it.
        parted: Parted,
    },
    /// The attachment is over at one end.
    Over {
        /// The attachment.
        link: LinkId,
        /// Which end.
        side: Side,
        /// How.
        terminal: Terminal,
    },
    /// All ports of a component are dropped, and its actor with them. The last note of it. Sent to each observer that one of
    /// its links has ever had, also if the component has no link any more.
    Gone {
        /// Which.
        component: ComponentId,
    },
    /// Nobody holds the attachment any more: not its ports, nor a message on its way. The last note of it.
    Closed {
        /// The attachment.
        link: LinkId,
    },
}

/// Told of what happens on links. Called from inside the actors' turns, and from `Drop`: it must not block or panic.
/// A component keeps each observer that it has met, so use one `Arc` for all links.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn note(&self, note: Note);

    /// The memory budget that links which are told to this observer fall under. Asked when an inlet joins a link.
    fn budget(&self) -> Option<Budget> {
        None
    }
}

/// Who a component is, and a weak way to it.
#[derive(Debug)]
pub struct ComponentHandle {
    /// Who.
    pub info: Arc<ComponentInfo>,
    /// A weak way to its actor.
    pub manage: Box<dyn super::message::ManageHandle>,
}

/// Why the neighbour that an isolated port waits for is not rebuilt.
pub(crate) type Loss = OnceLock<Arc<Cause>>;

/// A component whose neighbour failed and is to be rebuilt. Holds it meanwhile; dropped, it aborts it with the cause of the
/// failure, so that no chain hangs if nobody rebuilds. One whose port is isolated loses the attachment alone.
#[derive(Debug)]
pub struct Parted {
    info: Arc<ComponentInfo>,
    way: Box<dyn super::message::ManageHandle>,
    cause: Arc<Cause>,
    hold: Option<Box<dyn Any + Send>>,
    isolated: Option<Arc<Loss>>,
    waits: bool,
}

impl Parted {
    pub(crate) fn new(
        info: Arc<ComponentInfo>,
        hold: Option<Box<dyn Any + Send>>,
        way: Box<dyn super::message::ManageHandle>,
        cause: Arc<Cause>,
        isolated: Option<Arc<Loss>>,
    ) -> Self {
        Self { info, way, cause, hold, isolated, waits: true }
    }

    /// Who it is.
    pub fn info(&self) -> &Arc<ComponentInfo> {
        &self.info
    }

    /// Why its neighbour failed.
    pub fn cause(&self) -> &Arc<Cause> {
        &self.cause
    }

    /// It is told another cause than that of the failure.
    pub(crate) fn abort(mut self, cause: &Arc<Cause>) {
        self.cause = cause.clone();
    }

    /// It is attached again.
    pub fn goes_on(mut self) {
        self.waits = false;
    }
}

impl Drop for Parted {
    fn drop(&mut self) {
        match &self.isolated {
            _ if !self.waits => {}
            Some(loss) => {
                // nobody else sets it
                let _ = loss.set(self.cause.clone());
                self.way.wake();
            }
            None => self.way.abort(&self.cause),
        }
        // not before the message is in its mailbox
        drop(self.hold.take());
    }
}

/// What an outlet is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing: it is sending, or not attached.
    No,
    /// It has credit and no data.
    ForData,
    /// It has data and no credit.
    ForCredit,
}

/// How long the outlet of a link has been starved (credit, no data) and blocked (data, no credit). Written by the outlet at
/// changes of state only; one clock reading each.
#[derive(Debug, Default)]
pub struct Times {
    waiting: AtomicU8,
    since: AtomicU64,
    starved: AtomicU64,
    blocked: AtomicU64,
}

impl Times {
    pub(crate) fn set(&self, waiting: Waiting) {
        let was = self.waiting.load(Relaxed);
        if was == waiting as u8 {
            return;
        }
        let now = now_nanos();
        self.credit_to(was, now.saturating_sub(self.since.load(Relaxed)));
        self.since.store(now, Relaxed);
        self.waiting.store(waiting as u8, Relaxed);
    }

    fn credit_to(&self, was: u8, nanos: u64) {
        let total = match was {
            1 => &self.starved,
            2 => &self.blocked,
            _ => return,
        };
        total.store(total.load(Relaxed) + nanos, Relaxed);
    }

    /// What the outlet is waiting for now.
    pub fn waiting(&self) -> Waiting {
        match self.waiting.load(Relaxed) {
            1 => Waiting::ForData,
            2 => Waiting::ForCredit,
            _ => Waiting::No,
        }
    }

    /// Time spent with credit and without data, the present wait included.
    pub fn starved(&self) -> Duration {
        self.total(&self.starved, Waiting::ForData)
    }

    /// Time spent with data and without credit, the present wait included.
    pub fn blocked(&self) -> Duration {
        self.total(&self.blocked, Waiting::ForCredit)
    }

    fn total(&self, ended: &AtomicU64, state: Waiting) -> Duration {
        let mut nanos = ended.load(Relaxed);
        if self.waiting() == state {
            nanos += now_nanos().saturating_sub(self.since.load(Relaxed));
        }
        Duration::from_nanos(nanos)
    }
}

/// Nanoseconds since the first use in this process: an `Instant` that fits an atomic.
pub(super) fn now_nanos() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}
