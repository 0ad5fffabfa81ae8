//! Restart: a component that is given as a factory is built again after it failed, and attached at the same place.
//!
//! ```text
//!   port fails ──Suspend──▶ neighbour          parted, and held by the note of it     (rule S1)
//!              ──notes────▶ supervisor         Suspended{cause}
//!                           waits until the component is gone and its neighbours have parted
//!                           Restarting{attempt, after}: back-off with jitter
//!              factory ◀─── supervisor         told the attempt, the cause and the positions
//!                      ───▶ ports, and what the far end has
//!                           the loss policy decides: go on, go back, or give up
//!              producer ◀──Rewind── supervisor only with `Resume`, if something is missing
//!              Reserve, Attach, Open           as in attach; a filter's consumer first
//!                           Restarted{at, gap}
//! ```
//!
//! | while a place is | and | then |
//! |---|---|---|
//! | running | its component fails by its own fault | suspended |
//! | running | it ends, or is aborted from elsewhere | it is no place any more |
//! | suspended | a neighbour goes, or fails | given up, with the neighbour's cause |
//! | suspended | one of its links had ended already | given up, with the cause of the failure |
//! | waiting, building | its chain is aborted, or the supervisor shuts down | everything ends at once |
//! | waiting, building | the supervisor itself goes | the neighbours are aborted with the cause of the failure |
//! | building | the factory fails or panics, or the new component does before it is attached | the next attempt |
//! | waiting | no attempts are left | given up, with the last cause |
//!
//! State is kept per place, so per chain. actix's own supervisor is not used: it does not catch a panic, and an actor that it
//! restarts keeps its address and its mailbox, where items of an attachment lie that is over.
//!
//! Positions are absolute: counted in the quantity of the stream since the place was first attached, over all links that the
//! place has had, splices included. What was lost and what is missing are computed from them alone (`loss.rs`).

mod arm;
mod back_off;
mod cycle;
mod loss;
mod place;
mod rejoin;

pub use back_off::BackOff;
pub use loss::{Gap, Known, Loss, LossError};
pub(super) use place::Places;

use super::{Supervisor, SupervisorActor};
use crate::component::message::{AnyInlet, AnyOutlet};
use crate::component::{ComponentId, ComponentInfo, InletRef, OutletRef, PairRef};
use crate::proto::link::{Cause, LinkId, Payload, Reason};
use actix::{Context, Handler, Message};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::oneshot;

/// Which component is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// This one.
    Component(ComponentId),
    /// The one that feeds this link.
    Producer(LinkId),
    /// The one that this link feeds.
    Consumer(LinkId),
}

/// How a component is built again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restart {
    /// What becomes of the data that it had.
    pub loss: Loss,
    /// When, and how often.
    pub back_off: BackOff,
}

/// What a factory is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Again {
    /// 1 for the first attempt since the component was last stable.
    pub attempt: u32,
    /// Why the component failed, or the attempt before this one.
    pub cause: Arc<Cause>,
    /// For a component with an inlet: what its producer has sent, as an absolute position.
    pub sent: u64,
    /// For a component with an inlet: how much of that the link counted as finished with. See [`Known::Counted`].
    pub finished: u64,
    /// For a component with an outlet: what its consumer has taken, as an absolute position. A source goes on from here.
    pub delivered: u64,
}

/// What a factory gives: the new component's ports. The same ones as the component has that it takes the place of.
pub struct Built {
    inlet: Option<Box<dyn AnyInlet>>,
    outlet: Option<Box<dyn AnyOutlet>>,
    has: Option<u64>,
    begins: Option<u64>,
}

impl Built {
    /// A component with an inlet alone.
    pub fn sink<T: Payload>(inlet: &InletRef<T>) -> Self {
        Self { inlet: Some(Box::new(inlet.clone())), outlet: None, has: None, begins: None }
    }

    /// A component with an outlet alone.
    pub fn source<T: Payload>(outlet: &OutletRef<T>) -> Self {
        Self { inlet: None, outlet: Some(Box::new(outlet.clone())), has: None, begins: None }
    }

    /// A component with an inlet and an outlet.
    pub fn filter<T: Payload, U: Payload>(inlet: &InletRef<T>, outlet: &OutletRef<U>) -> Self {
        Self { outlet: Some(Box::new(outlet.clone())), ..Self::sink(inlet) }
    }

    /// A two-way component that was attached in both directions.
    pub fn pair<T: Payload>(pair: &PairRef<T>) -> Self {
        Self::filter(&pair.inlet, &pair.outlet)
    }

    /// The far end behind the inlet has so much, as an absolute position: a peer said so when it was connected to again, or a
    /// file is so long. Without it the link's own count is taken.
    #[must_use]
    pub fn has(mut self, position: u64) -> Self {
        self.has = Some(position);
        self
    }

    /// What comes out of the outlet begins at this absolute position. Without it, at [`Again::delivered`].
    #[must_use]
    pub fn begins(mut self, position: u64) -> Self {
        self.begins = Some(position);
        self
    }
}

impl fmt::Debug for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Built")
            .field("inlet", &self.inlet.is_some())
            .field("outlet", &self.outlet.is_some())
            .field("has", &self.has)
            .field("begins", &self.begins)
            .finish()
    }
}

/// A component is not to be built again; it is as it was.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RestartError {
    /// It is not part of a running chain of this supervisor.
    #[error("there is no such component in a running chain")]
    NotThere,
    /// It has more than one inlet or outlet attached, so that a factory cannot give what takes their places.
    #[error("{component} has {inlets} inlets and {outlets} outlets attached: at most one of each can be rebuilt")]
    Shape {
        /// Its name.
        component: Arc<str>,
        /// Attached inlets.
        inlets: usize,
        /// Attached outlets.
        outlets: usize,
    },
    /// It is to be built again already.
    #[error("{0} is rebuilt already")]
    Already(Arc<str>),
    /// [`Loss::Resume`] with a producer that cannot go back.
    #[error("{producer} cannot resume: {reason}")]
    CannotRewind {
        /// The producer's name.
        producer: Arc<str>,
        /// What it says.
        reason: Reason,
    },
    /// The supervisor is shutting down.
    #[error("the supervisor is shutting down")]
    ShuttingDown,
    /// The supervisor is gone.
    #[error("the supervisor is gone")]
    NoSupervisor,
}

/// What runs a user's factory.
pub(super) type Factory = Box<dyn FnMut(Again) -> LocalBoxFuture<'static, Result<Built, Reason>> + Send>;

impl Supervisor {
    /// A component that was started and is not attached yet is built again by `factory` when it fails by its own fault, from its
    /// first attachment on: as [`restart`](Self::restart), and nothing can fail before it is armed. `first` names the ports that
    /// will be attached.
    ///
    /// With [`Loss::Resume`] it turns out only at a failure that the producer cannot go back; the chain is aborted then.
    ///
    /// # Errors
    ///
    /// [`RestartError`]; nothing has changed then.
    ///
    /// ```
    /// use versile_io::agent::file::{self, WriteOptions};
    /// use versile_io::component::stock::Duplex as _;
    /// use versile_io::component::writer::ByteWriter;
    /// use versile_io::supervisor::{Again, Built, Loss, Restart, Supervisor};
    ///
    /// # actix::System::new().block_on(async {
    /// let supervisor = Supervisor::current();
    /// let open = || file::write("/dev/null", WriteOptions { append: true, ..WriteOptions::default() }).start().0.inlet;
    /// let inlet = open();
    /// let restart = Restart { loss: Loss::Lose, ..Restart::default() };
    /// let factory = move |_: Again| async move { Ok(Built::sink(&open())) };
    /// supervisor.keep(Built::sink(&inlet), restart, factory).await.expect("kept");
    /// let (_writer, outlet, _) = ByteWriter::start("log", 1024);
    /// supervisor.attach(&outlet, &inlet).await.expect("attached");
    /// # });
    /// ```
    pub async fn keep<F, Fut>(&self, first: Built, restart: Restart, mut factory: F) -> Result<(), RestartError>
    where
        F: FnMut(Again) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Built, Reason>> + 'static,
    {
        let way = first.inlet.as_ref().map(|inlet| inlet.manage());
        let way = way.or_else(|| first.outlet.as_ref().map(|outlet| outlet.manage())).ok_or(RestartError::NotThere)?;
        let info = way.identify(self.observer()).await.map_err(|_| RestartError::NotThere)?;
        let factory: Factory = Box::new(move |again| factory(again).boxed_local());
        let kept = self.request(|reply| Keep { info, first, restart, factory, reply }).await;
        kept.unwrap_or(Err(RestartError::NoSupervisor))
    }

    /// From now on the component at `place` is built again by `factory` when it fails by its own fault: an error or a panic of
    /// its own, the loss of what is behind it, or the stop of its actor. An orderly end, and an abort from elsewhere, are no
    /// such fault. The new component is attached where the old one was; its neighbours wait meanwhile, and hear `Detached` and
    /// `Attached`.
    ///
    /// The factory runs on the supervisor's arbiter; how long it takes is its own affair, but an abort of the chain drops its
    /// future. It counts as failed if it returns a reason or panics.
    ///
    /// What fails before it is armed aborts its chain; a component that is not attached yet is [`keep`](Self::keep)ed.
    ///
    /// Not cancellable: dropping the future leaves the component armed.
    ///
    /// # Errors
    ///
    /// [`RestartError`]; nothing has changed then.
    pub async fn restart<F, Fut>(&self, place: Place, restart: Restart, mut factory: F) -> Result<(), RestartError>
    where
        F: FnMut(Again) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Built, Reason>> + 'static,
    {
        let factory: Factory = Box::new(move |again| factory(again).boxed_local());
        let done = self.request(|reply| Arm { place, restart, factory, reply }).await;
        done.unwrap_or(Err(RestartError::NoSupervisor))
    }

    /// The component at `place` is not built again any more. True if it would have been. One that is being built again has no
    /// link to name it by: [`abort`](Self::abort) its chain.
    pub async fn restart_no_more(&self, place: Place) -> bool {
        self.request(|reply| Disarm { place, reply }).await.unwrap_or(false)
    }
}

pub(super) struct Arm {
    pub(super) place: Place,
    pub(super) restart: Restart,
    pub(super) factory: Factory,
    pub(super) reply: oneshot::Sender<Result<(), RestartError>>,
}

impl Message for Arm {
    type Result = ();
}

/// For a component that is not attached yet. Holds it by `first` until it is armed.
pub(super) struct Keep {
    pub(super) info: Arc<ComponentInfo>,
    pub(super) first: Built,
    pub(super) restart: Restart,
    pub(super) factory: Factory,
    pub(super) reply: oneshot::Sender<Result<(), RestartError>>,
}

impl Message for Keep {
    type Result = ();
}

struct Disarm {
    place: Place,
    reply: oneshot::Sender<bool>,
}

impl Message for Disarm {
    type Result = ();
}

impl Handler<Disarm> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Disarm { place, reply }: Disarm, _: &mut Context<Self>) {
        let component = self.component_at(place);
        let _ = reply.send(component.is_some_and(|component| self.disarm(component)));
    }
}
