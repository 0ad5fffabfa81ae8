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
use crate::component::message::{AttachInlet, CloseAt, InletMsg, OutletMsg, ReserveOutlet};
use crate::component::{ComponentInfo, InletRef, OutletRef, PairRef};
use crate::proto::link::{AttachError, Cause, Count, LinkId, Payload, Side};
use actix::fut::wrap_future;
use actix::{AsyncContext, Context, Handler, Message};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::oneshot;

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
        self.run(|observer| async move {
            let mut joining = Joining::reserve(&outlet, &inlet, observer).await?;
            joining.attach().await?;
            joining.unharmed()?;
            Ok(joining.open())
        })
        .await
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

/// An attachment in the making. Dropped before it stands, both components are as they were: nothing was granted.
struct Joining<T: Payload> {
    link: Arc<Link>,
    outlet: OutletRef<T>,
    inlet: InletRef<T>,
    stage: Stage,
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

impl<T: Payload> Joining<T> {
    /// The first step.
    async fn reserve(
        outlet: &OutletRef<T>,
        inlet: &InletRef<T>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, AttachFailure> {
        if !inlet.0.is_alive() {
            return Err(AttachFailure::Gone(Side::Consumer));
        }
        let link = Link::new(Some(observer));
        let joining = Self { link: link.clone(), outlet: outlet.clone(), inlet: inlet.clone(), stage: Stage::Reserved };
        let (tx, rx) = oneshot::channel();
        let reserve = ReserveOutlet { link, consumer: inlet.0.boxed(), reply: Some(tx), handled: false };
        outlet.0.send(OutletMsg::Reserve(Box::new(reserve)));
        answered(rx, Side::Producer).await?;
        Ok(joining)
    }

    /// The second step.
    async fn attach(&mut self) -> Result<(), AttachFailure> {
        // the producer may have gone meanwhile: the consumer need not know
        self.unharmed()?;
        let (tx, rx) = oneshot::channel();
        let (link, producer) = (self.link.clone(), self.outlet.0.weak());
        let attach = AttachInlet { link, producer, gated: true, reply: Some(tx), handled: false };
        self.stage = Stage::Attached;
        self.inlet.0.send(InletMsg::Attach(Box::new(attach)));
        answered(rx, Side::Consumer).await
    }

    fn unharmed(&self) -> Result<(), AttachFailure> {
        match self.link.cell().cause() {
            Some(cause) => Err(AttachFailure::Aborted(cause.clone())),
            None => Ok(()),
        }
    }

    /// The link stands: the consumer may grant.
    fn open(mut self) -> LinkId {
        self.stage = Stage::Open;
        self.inlet.0.send(InletMsg::Open(self.link.id()));
        self.link.id()
    }
}

impl<T: Payload> Drop for Joining<T> {
    fn drop(&mut self) {
        let link = self.link.id();
        if self.stage != Stage::Open {
            self.outlet.0.send(OutletMsg::Release(link));
        }
        if self.stage == Stage::Attached {
            self.inlet.0.send(InletMsg::CloseAt(Box::new(CloseAt { link, at: Count::ZERO, reply: None })));
        }
    }
}

async fn answered(
    reply: oneshot::Receiver<Result<Arc<ComponentInfo>, AttachError>>,
    side: Side,
) -> Result<(), AttachFailure> {
    match reply.await {
        Ok(Ok(_)) => Ok(()),
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
