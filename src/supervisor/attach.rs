//! Attach: joins an outlet to an inlet, or leaves both as they were.
//!
//! ```text
//!   supervisor ──Reserve(cell)──▶ producer       it learns the link; limit 0
//!              ◀──── reserved ───
//!              ──Attach(cell)───▶ consumer       it learns the link, and grants nothing yet
//!              ◀──── attached ───
//!              ──Open───────────▶ consumer       its first grant goes straight to the producer
//!
//!   consumer refuses:  ──Release──▶ producer     as it was
//!   supervisor goes:   ──Release──▶ producer, ──CloseAt(0)──▶ consumer     as they were
//!   a component goes:  the link's cell is set, and the other, if it knows the link, is aborted with the cause
//! ```
//!
//! A pair takes the first step for both directions, then the second for both, and then opens both: so nothing has moved
//! when the last consumer refuses.
//!
//! Producer first: with the other order the first grant arrives as a stranger and nothing flows (20,000 of 20,000 times
//! on three arbiters).

use super::{Supervisor, SupervisorActor};
use crate::component::link::{Link, Observer};
use crate::component::message::{AnyInlet, AnyOutlet, Attachment};
use crate::component::{ComponentInfo, InletRef, OutletRef, PairRef};
use crate::proto::link::{AttachError, Cause, Count, LinkId, Payload, Side};
use actix::fut::wrap_future;
use actix::{AsyncContext, Context, Handler, Message};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use thiserror::Error;

/// An attachment was not made.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum AttachFailure {
    /// A port refused; both components are as they were.
    #[error("the {side} refused: {error}")]
    Refused {
        /// Which end.
        side: Side,
        /// Why.
        error: AttachError,
    },
    /// A component is gone.
    #[error("the {0} is gone")]
    Gone(Side),
    /// The link was aborted while it was made: one of the components went, or was aborted.
    #[error("the link was aborted: {0}")]
    Aborted(Arc<Cause>),
    /// The two ports carry different payloads. Only for ports whose types were erased; nothing was done.
    #[error("the payloads do not agree")]
    WrongPayload,
    /// The supervisor is gone.
    #[error("the supervisor is gone")]
    NoSupervisor,
}

impl Supervisor {
    /// Joins an outlet to an inlet. Both are as they were on refusal; if a component is gone, the other is aborted with
    /// the cause if it had been reserved for the link.
    ///
    /// Not cancellable: dropping the future leaves the transaction running to its end.
    ///
    /// # Errors
    ///
    /// [`AttachFailure`].
    pub async fn attach<T: Payload>(
        &self,
        outlet: &OutletRef<T>,
        inlet: &InletRef<T>,
    ) -> Result<LinkId, AttachFailure> {
        let (outlet, inlet) = (outlet.clone(), inlet.clone());
        self.run(|observer| async move { join(&outlet, &inlet, observer).await }).await
    }

    /// Joins two two-way components in both directions, or neither. An agent that connects by itself should be `a`: its consumer
    /// is then attached first, and can be asked whether it may connect.
    ///
    /// # Errors
    ///
    /// As [`attach`](Self::attach).
    pub async fn attach_pair<T: Payload>(
        &self,
        a: &PairRef<T>,
        b: &PairRef<T>,
    ) -> Result<(LinkId, LinkId), AttachFailure> {
        let (a, b) = (a.clone(), b.clone());
        self.run(|observer| async move {
            let mut there = Joining::reserve(&a.outlet, &b.inlet, observer.clone()).await?;
            let mut back = Joining::reserve(&b.outlet, &a.inlet, observer).await?;
            there.attach().await?;
            back.attach().await?;
            there.unharmed()?;
            back.unharmed()?;
            Ok((there.open(), back.open()))
        })
        .await
    }

    /// Runs a transaction in the supervisor's actor, which owns its future.
    async fn run<R, F>(
        &self,
        transaction: impl FnOnce(Arc<dyn Observer>) -> F + Send + 'static,
    ) -> Result<R, AttachFailure>
    where
        R: Send + 'static,
        F: Future<Output = Result<R, AttachFailure>> + 'static,
    {
        let observer = self.observer();
        self.request(|reply| {
            Transact(Box::new(move || {
                Box::pin(async move {
                    // nobody may be waiting any more
                    let _ = reply.send(transaction(observer).await);
                })
            }))
        })
        .await
        .unwrap_or(Err(AttachFailure::NoSupervisor))
    }
}

/// Both steps. Unless it succeeds, both ports are as they were.
pub(super) async fn join(
    outlet: &dyn AnyOutlet,
    inlet: &dyn AnyInlet,
    observer: Arc<dyn Observer>,
) -> Result<LinkId, AttachFailure> {
    let mut joining = Joining::reserve(outlet, inlet, observer).await?;
    joining.attach().await?;
    joining.unharmed()?;
    Ok(joining.open())
}

/// An attachment in the making. Dropped before it stands, both components are as they were: nothing was granted.
pub(super) struct Joining<'a> {
    link: Arc<Link>,
    outlet: &'a dyn AnyOutlet,
    inlet: &'a dyn AnyInlet,
    stage: Stage,
    producer: Option<Arc<ComponentInfo>>,
    consumer: Option<Arc<ComponentInfo>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The producer knows the link, or is about to.
    Reserved,
    /// The consumer does too, and grants nothing yet.
    Attached,
    /// It grants.
    Open,
}

impl<'a> Joining<'a> {
    /// The first step.
    pub(super) async fn reserve(
        outlet: &'a dyn AnyOutlet,
        inlet: &'a dyn AnyInlet,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, AttachFailure> {
        if !inlet.is_alive() {
            return Err(AttachFailure::Gone(Side::Consumer));
        }
        let link = Link::new(Some(observer));
        let answer = outlet.reserve(&link, inlet).ok_or(AttachFailure::WrongPayload)?;
        let mut joining = Self { link, outlet, inlet, stage: Stage::Reserved, producer: None, consumer: None };
        joining.producer = Some(answered(answer, Side::Producer).await?);
        Ok(joining)
    }

    /// The second step.
    pub(super) async fn attach(&mut self) -> Result<(), AttachFailure> {
        // the producer may have gone meanwhile: the consumer need not know
        self.unharmed()?;
        let answer = self.inlet.attach(&self.link, self.outlet).ok_or(AttachFailure::WrongPayload)?;
        self.stage = Stage::Attached;
        self.consumer = Some(answered(answer, Side::Consumer).await?);
        Ok(())
    }

    /// The component at this end will be rebuilt if it fails (rule S1). Who it is, if the step was made.
    pub(super) fn arm(&self, side: Side) -> Option<Arc<ComponentInfo>> {
        let info = match side {
            Side::Producer => self.producer.clone(),
            Side::Consumer => self.consumer.clone(),
        }?;
        info.set_rebuilt(true);
        self.link.cell().arm(side);
        Some(info)
    }

    /// Nobody has aborted the link meanwhile.
    pub(super) fn unharmed(&self) -> Result<(), AttachFailure> {
        match self.link.cell().cause() {
            Some(cause) => Err(AttachFailure::Aborted(cause.clone())),
            None => Ok(()),
        }
    }

    /// The link stands: the consumer may grant.
    pub(super) fn open(mut self) -> LinkId {
        self.stage = Stage::Open;
        self.inlet.open(self.link.id());
        self.link.id()
    }
}

impl Drop for Joining<'_> {
    fn drop(&mut self) {
        let link = self.link.id();
        if self.stage != Stage::Open {
            self.outlet.release(link);
        }
        if self.stage == Stage::Attached {
            // nobody waits for the answer: nothing was granted, so nothing has come
            drop(self.inlet.close_at(link, Count::ZERO));
        }
    }
}

async fn answered(reply: Attachment, side: Side) -> Result<Arc<ComponentInfo>, AttachFailure> {
    match reply.await {
        Ok(Ok(info)) => Ok(info),
        Ok(Err(error)) => Err(AttachFailure::Refused { side, error }),
        Err(_) => Err(AttachFailure::Gone(side)),
    }
}

type Transaction = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// A transaction for the supervisor's actor to own.
pub(super) struct Transact(Transaction);

impl Message for Transact {
    type Result = ();
}

impl Handler<Transact> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, transact: Transact, ctx: &mut Context<Self>) {
        ctx.spawn(wrap_future(transact.0()));
    }
}
