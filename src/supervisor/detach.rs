//! Detach: parts two components without loss; both can be attached again.
//!
//! ```text
//!   supervisor ──Detach──▶ producer              stops; its position is N
//!              ◀── at N ──
//!              ──CloseAt(N)──▶ consumer          everything up to N is before this in its mailbox;
//!              ◀── verified ──                   its port has counted it, and verifies N
//!
//!   the producer has ended, or the link is aborted:    nothing is taken apart
//!   the consumer aborts or goes after the first step:  what lay on the way is lost, and its chain, to which the producer
//!                                                      still counts, is torn down with the cause
//! ```

use super::{Supervisor, SupervisorActor};
use crate::component::message::{AnyInlet, AnyOutlet};
use crate::proto::link::{Cause, Count, LinkCell, LinkId, LinkState, Side, Violation};
use actix::fut::wrap_future;
use actix::{AsyncContext, Context, Handler, Message};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::oneshot;

/// A link was not taken apart.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum DetachFailure {
    /// This supervisor knows no such link, or it is over already.
    #[error("{0} is not attached")]
    NotAttached(LinkId),
    /// The link was aborted before it could be taken apart.
    #[error("the link was aborted: {0}")]
    Aborted(Arc<Cause>),
    /// A component is gone; the link is over.
    #[error("the {0} is gone")]
    Gone(Side),
    /// The consumer had not received what the producer had sent; the link was aborted.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The supervisor is gone.
    #[error("the supervisor is gone")]
    NoSupervisor,
}

impl Supervisor {
    /// Takes a link apart without loss, and says what had passed. Both ports can be attached again; counts restart at zero.
    ///
    /// Not cancellable: dropping the future leaves the transaction running to its end.
    ///
    /// # Errors
    ///
    /// [`DetachFailure`].
    pub async fn detach(&self, link: LinkId) -> Result<Count, DetachFailure> {
        let done = self.request(|reply| Detach { link, reply }).await;
        done.unwrap_or(Err(DetachFailure::NoSupervisor))
    }
}

struct Detach {
    link: LinkId,
    reply: oneshot::Sender<Result<Count, DetachFailure>>,
}

impl Message for Detach {
    type Result = ();
}

impl Handler<Detach> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Detach { link: id, reply }: Detach, ctx: &mut Context<Self>) {
        let edge = self.graph.link(id).filter(|edge| edge.is_live());
        // held through the transaction: the producer's hold on the consumer ends when it stops
        let parts = edge.and_then(|edge| {
            let outlet = edge.outlet.as_ref()?.upgrade()?;
            Some((edge.cell.clone(), outlet, edge.inlet.as_ref()?.upgrade()?))
        });
        let Some((cell, outlet, inlet)) = parts else {
            let cause = self.graph.link(id).and_then(|edge| edge.cell.cause().cloned());
            let _ = reply.send(Err(cause.map_or(DetachFailure::NotAttached(id), DetachFailure::Aborted)));
            return;
        };
        ctx.spawn(wrap_future(async move {
            let _ = reply.send(part(&cell, &*outlet, &*inlet).await);
        }));
    }
}

/// Both steps.
pub(super) async fn part(
    cell: &LinkCell,
    outlet: &dyn AnyOutlet,
    inlet: &dyn AnyInlet,
) -> Result<Count, DetachFailure> {
    let at = stop(cell, outlet).await?;
    verify(cell, inlet, at).await?;
    Ok(at)
}

/// The first step: where the producer stopped.
pub(super) async fn stop(cell: &LinkCell, outlet: &dyn AnyOutlet) -> Result<Count, DetachFailure> {
    let id = cell.id();
    match outlet.detach(id).await {
        Ok(Some(at)) => Ok(at),
        Ok(None) => Err(broken(cell, DetachFailure::NotAttached(id))),
        Err(_) => Err(gone(cell, Side::Producer)),
    }
}

/// The second step: the consumer has received all up to there.
pub(super) async fn verify(cell: &LinkCell, inlet: &dyn AnyInlet, at: Count) -> Result<(), DetachFailure> {
    match inlet.close_at(cell.id(), at).await {
        Ok(Some(verified)) => Ok(verified?),
        Ok(None) | Err(_) => Err(gone(cell, Side::Consumer)),
    }
}

fn broken(cell: &LinkCell, otherwise: DetachFailure) -> DetachFailure {
    match cell.cause() {
        Some(cause) => DetachFailure::Aborted(cause.clone()),
        None => otherwise,
    }
}

/// A producer that ends and stops takes no message any more.
fn gone(cell: &LinkCell, side: Side) -> DetachFailure {
    match cell.outlet_state() {
        LinkState::EndedClean | LinkState::EndedUnclean => broken(cell, DetachFailure::NotAttached(cell.id())),
        _ => broken(cell, DetachFailure::Gone(side)),
    }
}
