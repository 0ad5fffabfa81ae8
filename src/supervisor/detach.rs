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
use crate::proto::link::{Cause, Count, LinkId, LinkState, Side, Violation};
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
        let parts = edge.and_then(|edge| Some((edge, edge.outlet.as_ref()?, edge.inlet.as_ref()?)));
        let Some((edge, outlet, inlet)) = parts else {
            let _ = reply.send(Err(DetachFailure::NotAttached(id)));
            return;
        };
        // the consumer must last until it has verified: the producer's hold on it ends when it stops
        let hold = inlet.hold();
        let cell = edge.cell.clone();
        let stopped = outlet.detach(id);
        let closer = inlet.boxed();
        ctx.spawn(wrap_future(async move {
            let result = async {
                // a producer that ends and stops takes no message any more
                let over = |side| match (cell.cause(), cell.outlet_state()) {
                    (Some(cause), _) => DetachFailure::Aborted(cause.clone()),
                    (None, LinkState::EndedClean | LinkState::EndedUnclean) => DetachFailure::NotAttached(id),
                    (None, _) => DetachFailure::Gone(side),
                };
                let at = match stopped.await {
                    Ok(Some(at)) => at,
                    Ok(None) => {
                        return Err(match cell.cause() {
                            Some(cause) => DetachFailure::Aborted(cause.clone()),
                            None => DetachFailure::NotAttached(id),
                        });
                    }
                    Err(_) => return Err(over(Side::Producer)),
                };
                match closer.close_at(id, at).await {
                    Ok(Some(verified)) => Ok(verified.map(|()| at)?),
                    Ok(None) | Err(_) => Err(over(Side::Consumer)),
                }
            };
            let _ = reply.send(result.await);
            drop(hold);
        }));
    }
}
