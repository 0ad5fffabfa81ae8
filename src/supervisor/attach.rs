//! Attach: joins an outlet to an inlet, or leaves both as they were.
//!
//! ```text
//!   supervisor ──Reserve(cell)──▶ producer       it learns the link; limit 0
//!              ◀──── reserved ───
//!              ──Attach(cell)───▶ consumer       its first grant goes straight to the producer
//!              ◀──── attached ───
//!   consumer refuses:  ──Release──▶ producer     as it was
//!   consumer is gone:  the link's cell is set, and the producer is aborted with the cause
//! ```
//!
//! Producer first: with the other order the first grant arrives as a stranger and nothing flows (20,000 of 20,000 times
//! on three arbiters).

use super::{Supervisor, SupervisorActor};
use crate::component::link::{Link, Observer};
use crate::component::message::{AttachInlet, InletMsg, OutletMsg, ReserveOutlet};
use crate::component::{ComponentInfo, InletRef, OutletRef, PairRef};
use crate::proto::link::{AttachError, LinkId, Payload, Side};
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
            let reserved = reserve(&outlet, &inlet, observer).await?;
            complete(reserved, &outlet, &inlet).await
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
            // both producers first: a refusal is then taken back before any data has moved
            let there = reserve(&a.outlet, &b.inlet, observer.clone()).await?;
            let back = match reserve(&b.outlet, &a.inlet, observer).await {
                Ok(back) => back,
                Err(failure) => {
                    a.outlet.0.send(OutletMsg::Release(there.id()));
                    return Err(failure);
                }
            };
            // an inlet that will refuse is found before the other is joined
            let id = match complete(there, &a.outlet, &b.inlet).await {
                Ok(id) => id,
                Err(failure) => {
                    b.outlet.0.send(OutletMsg::Release(back.id()));
                    return Err(failure);
                }
            };
            match complete(back, &b.outlet, &a.inlet).await {
                Ok(back) => Ok((id, back)),
                Err(failure) => {
                    undo(id, &a.outlet, &b.inlet).await;
                    Err(failure)
                }
            }
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

async fn reserve<T: Payload>(
    outlet: &OutletRef<T>,
    inlet: &InletRef<T>,
    observer: Arc<dyn Observer>,
) -> Result<Arc<Link>, AttachFailure> {
    let link = Link::new(Some(observer));
    let (tx, rx) = oneshot::channel();
    let reserve = ReserveOutlet { link: link.clone(), consumer: inlet.0.boxed(), reply: Some(tx), handled: false };
    outlet.0.send(OutletMsg::Reserve(Box::new(reserve)));
    answered(rx, Side::Producer).await.map(|_| link)
}

async fn complete<T: Payload>(
    link: Arc<Link>,
    outlet: &OutletRef<T>,
    inlet: &InletRef<T>,
) -> Result<LinkId, AttachFailure> {
    let (tx, rx) = oneshot::channel();
    let attach = AttachInlet { link: link.clone(), producer: outlet.0.weak(), reply: Some(tx), handled: false };
    inlet.0.send(InletMsg::Attach(Box::new(attach)));
    let result = answered(rx, Side::Consumer).await;
    if let Err(AttachFailure::Refused { .. }) = &result {
        outlet.0.send(OutletMsg::Release(link.id()));
    }
    result.map(|_| link.id())
}

/// Takes an attachment back that has only just been made: a detach, without loss.
async fn undo<T: Payload>(id: LinkId, outlet: &OutletRef<T>, inlet: &InletRef<T>) {
    let (tx, rx) = oneshot::channel();
    outlet.0.send(OutletMsg::Detach(id, Some(tx)));
    if let Ok(Some(at)) = rx.await {
        let close = crate::component::message::CloseAt { link: id, at, reply: None };
        inlet.0.send(InletMsg::CloseAt(Box::new(close)));
    }
}

async fn answered(
    reply: oneshot::Receiver<Result<Arc<ComponentInfo>, AttachError>>,
    side: Side,
) -> Result<Arc<ComponentInfo>, AttachFailure> {
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
