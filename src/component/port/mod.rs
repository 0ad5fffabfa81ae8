//! Ports as an actor owns them: the sans-IO port plus the way to the other side. The only code that sends on a link.
//!
//! Dropping a port that is attached aborts its link with `ComponentGone`, or `Panicked` while unwinding, and tells the
//! other side: so a component that stops, panics or whose arbiter stops is noticed (rule A3). `Drop` sets the cell and
//! sends; it never spawns, blocks or panics.

mod batch;
mod inlet;
mod isolation;
mod outlet;

pub use inlet::Inlet;
pub(crate) use outlet::Heard;
pub use outlet::{Asker, Outlet};

use super::census::Counted;
use super::control::Envelope;
use super::identity::ComponentInfo;
use super::link::{Link, Loss, Note, Observer, Parted};
use super::message::ManageHandle;
use crate::proto::link::{Cause, Count, Reason, Side};
use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::oneshot;

/// What the ports of one component share. Held by the ports alone, so it is gone when they are.
pub struct Owner {
    pub(crate) info: Arc<ComponentInfo>,
    pub(crate) home: Box<dyn Home>,
    /// The first cause that one of the ports met.
    broken: OnceLock<Arc<Cause>>,
    /// The cause that began in this component, if it failed by its own fault.
    own: OnceLock<Arc<Cause>>,
    /// A handler of the component runs: grants wait for the end of the turn (rule F1).
    in_turn: AtomicBool,
    /// A supervisor waits until the component holds nothing.
    settling: AtomicBool,
    settlers: Mutex<Vec<oneshot::Sender<()>>>,
    /// The end of the turn has been asked for.
    turn_end_asked: AtomicBool,
    /// Those who are told when the component is gone.
    observers: Mutex<Vec<Arc<dyn Observer>>>,
    _counted: Counted,
}

impl Owner {
    pub(crate) fn new(info: Arc<ComponentInfo>, home: Box<dyn Home>) -> Arc<Self> {
        Arc::new(Self {
            info,
            home,
            broken: OnceLock::new(),
            own: OnceLock::new(),
            in_turn: AtomicBool::new(false),
            settling: AtomicBool::new(false),
            settlers: Mutex::default(),
            turn_end_asked: AtomicBool::new(false),
            observers: Mutex::default(),
            _counted: Counted::component(),
        })
    }

    /// The first cause that one of the ports met, until the component was told.
    pub(crate) fn untold(&self) -> Option<&Arc<Cause>> {
        self.broken.get().filter(|_| self.info.cause().is_none())
    }

    /// The component fails for this reason: the cause that it is told. Another one if that came first (rule A1).
    pub(crate) fn fails(&self, reason: Reason) -> Arc<Cause> {
        let first = self.info.cause().or_else(|| self.broken.get());
        first.unwrap_or_else(|| self.own.get_or_init(|| self.info.blame(reason))).clone()
    }

    /// The component breaks off the link of an isolated port for this reason: no failure of its own, so the link is not suspended
    /// (rule S1), and what it fails of later is told as it is (rule A1).
    fn cuts(&self, reason: Reason) -> Arc<Cause> {
        let first = self.info.cause().or_else(|| self.broken.get());
        first.cloned().unwrap_or_else(|| self.info.blame(reason))
    }

    /// True if the cause began in this component. Then a link of which this end is armed is suspended (rule S1).
    fn is_own(&self, cause: &Arc<Cause>) -> bool {
        self.own.get().is_some_and(|own| Arc::ptr_eq(own, cause))
    }

    /// A port was parted from a link whose other end failed: the note of it. An `isolated` port is told apart from its component.
    fn parted(&self, link: &Link, side: Side, at: Count, cause: &Arc<Cause>, isolated: Option<Arc<Loss>>) {
        let parted =
            Parted::new(self.info.clone(), self.home.hold(), self.home.boxed_manage(), cause.clone(), isolated);
        // where nobody takes the note, dropping it aborts the component
        link.note(|| Note::Suspended { link: link.id(), side, at, parted });
    }

    /// A port was broken off. The component hears of it at the end of the handler that runs, or by a message if none does.
    pub(crate) fn port_broken(&self, cause: &Arc<Cause>) {
        if self.info.cause().is_none() && self.broken.set(cause.clone()).is_ok() {
            self.home.manage().abort(cause);
        }
    }

    pub(crate) fn enter_turn(&self) {
        self.in_turn.store(true, Relaxed);
        self.info.busy().enter();
    }

    pub(crate) fn leave_turn(&self) {
        self.in_turn.store(false, Relaxed);
        self.info.busy().leave();
    }

    fn is_in_turn(&self) -> bool {
        self.in_turn.load(Relaxed)
    }

    /// True if the caller has to arrange for the end of the turn.
    pub(crate) fn ask_turn_end(&self) -> bool {
        !self.turn_end_asked.swap(true, Relaxed)
    }

    pub(crate) fn turn_ends(&self) {
        self.turn_end_asked.store(false, Relaxed);
    }

    /// A hold on the component's actor, for a port that has something left to do. None for one that is kept alive by a future of
    /// its own: it looks by itself whether a port has.
    fn hold(&self) -> Option<Box<dyn Any + Send>> {
        if self.info.is_driven() { None } else { self.home.hold() }
    }

    /// A port joins this link: its observer is told when the component is gone.
    fn joins(&self, link: &Link) {
        if let Some(observer) = link.observer() {
            self.observed_by(observer);
        }
    }

    /// This observer is told when the component is gone.
    pub(crate) fn observed_by(&self, observer: &Arc<dyn Observer>) {
        let mut observers = self.observers.lock().unwrap_or_else(PoisonError::into_inner);
        if !observers.iter().any(|known| Arc::ptr_eq(known, observer)) {
            // most have one
            observers.reserve_exact(1);
            observers.push(observer.clone());
        }
    }

    pub(crate) fn wait_settled(&self, reply: oneshot::Sender<()>) {
        self.settlers().push(reply);
        self.settling.store(true, Relaxed);
    }

    pub(crate) fn is_settling(&self) -> bool {
        self.settling.load(Relaxed)
    }

    pub(crate) fn tell_settled(&self) {
        self.settling.store(false, Relaxed);
        for settler in self.settlers().drain(..) {
            let _ = settler.send(());
        }
    }

    fn settlers(&self) -> MutexGuard<'_, Vec<oneshot::Sender<()>>> {
        // nothing runs under the lock but the vector's own code
        self.settlers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cause for a port that is dropped: the component's own if it was told one.
    fn drop_cause(&self) -> Arc<Cause> {
        if let Some(cause) = self.info.cause() {
            return cause.clone();
        }
        let reason = match std::thread::panicking() {
            true => Reason::Panicked("outside a hook".into()),
            false => Reason::ComponentGone,
        };
        let cause = self.fails(reason);
        self.info.set_cause(&cause);
        self.info.cause().cloned().unwrap_or(cause)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let observers = self.observers.get_mut().unwrap_or_else(PoisonError::into_inner);
        for observer in observers.drain(..) {
            observer.note(Note::Gone { component: self.info.id() });
        }
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner").field("info", &self.info).finish_non_exhaustive()
    }
}

/// A weak way to the actor that owns a port.
pub(crate) trait Home: Send + Sync {
    /// The typed way.
    fn as_any(&self) -> &dyn Any;
    /// A hold on the actor while a port has something left to do.
    fn hold(&self) -> Option<Box<dyn Any + Send>>;
    /// The way to the component as a whole.
    fn manage(&self) -> &dyn ManageHandle;
    /// The same, to keep.
    fn boxed_manage(&self) -> Box<dyn ManageHandle>;
}

/// What a port is to its component, its direction and payload erased. Implemented by [`Inlet`] and [`Outlet`].
pub trait AnyPort {
    /// True for an inlet.
    fn is_inlet(&self) -> bool;
    /// True if the port has ended or was aborted.
    fn is_over(&self) -> bool;
    /// True if the port is attached and data may flow.
    fn is_attached(&self) -> bool;
    /// The component that it belongs to, once it is known.
    fn owner(&self) -> Option<&Arc<Owner>>;
    /// Learns its component.
    fn adopt(&mut self, owner: &Arc<Owner>);
    /// True if an isolated port was aborted and its hook has not heard of it.
    fn is_cut(&self) -> bool;
    /// Breaks the port off.
    fn abort_with(&mut self, cause: &Arc<Cause>);
    /// True if nothing is held in it or, for an outlet, waits to be sent.
    fn is_settled(&self) -> bool;
    /// Sends grants that are due; nothing for an outlet.
    fn send_grants(&mut self);
    /// True if grants are due.
    fn is_grant_due(&self) -> bool;
    /// The end of a handler: does what may be put off until then.
    fn after_handler(&mut self);
    /// Ends an outlet that will not complete its data; nothing for an inlet.
    fn drain(&mut self);
    /// The link, if attached.
    fn link(&self) -> Option<&Arc<Link>>;
    /// Passes a control message on along the link, at once or as soon as the link has room. Back if the port is not
    /// attached.
    fn pass(&mut self, envelope: Envelope) -> Result<(), Envelope>;
}
