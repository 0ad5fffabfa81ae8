//! Splice: changes a running chain without losing, doubling or reordering a byte. The far ends notice nothing.
//!
//! ```text
//!   insert    P ──link──▶ C         becomes     P ──▶ new ──▶ C
//!   remove    P ──▶ old ──▶ C       becomes     P ──────────▶ C
//!   replace   P ──▶ old ──▶ C       becomes     P ──▶ new ──▶ C
//!
//!   supervisor ──Detach──▶ P                    P stops at a definite position N
//!              ──CloseAt(N)──▶ old              everything up to N has reached it
//!              ──Settle──▶ old                  it works off what it holds, and all it gave is sent
//!              ──TakeState──▶ old, PutState──▶ new    what a successor goes on from, if both agree; else
//!              ──Flush, Settle──▶ old           it gives what it still holds
//!              ──Detach──▶ old, CloseAt──▶ C    C has received all that came through old
//!              ──Reserve──▶ new, Attach──▶ C    C's side first, so that nothing can pass before it
//!              ──Reserve──▶ P, Attach──▶ new    data flows again
//! ```
//!
//! A component that cannot give what it holds, or not in time, leaves the chain as it was, with the reason. If a component of
//! the chain dies meanwhile, its neighbours are aborted: the chain ends with the cause, as it would have without the splice.
//! Several splices run at once in different places; one that touches the same components is refused as busy.

use super::attach::AttachFailure;
use super::attach::Joining;
use super::detach::DetachFailure;
use super::{Supervisor, SupervisorActor};
use crate::component::link::Observer;
use crate::component::message::{AnyInlet, AnyOutlet, ManageHandle};
use crate::component::{ComponentId, InletRef, OutletRef};
use crate::proto::link::{AttachError, Cause, Count, LinkCell, LinkId, Origin, Payload, Reason};
use actix::fut::wrap_future;
use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::oneshot;

/// How a splice went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Spliced {
    /// Where the producer was stopped: what had passed on its link.
    pub at: Count,
    /// How long nothing flowed.
    pub pause: Duration,
    /// The new links, producer's first.
    pub links: Vec<LinkId>,
}

/// A splice was not made; the chain is as it was, unless it says [`Broken`](Self::Broken).
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SpliceFailure {
    /// The link, or the component's place between two links, is not there.
    #[error("nothing to splice: the link or component is not in the middle of a running chain")]
    NotThere,
    /// Another splice works on the same components.
    #[error("another splice works on the same components")]
    Busy,
    /// The payloads on both sides do not agree.
    #[error("the payloads do not agree")]
    WrongPayload,
    /// The component holds what it cannot give.
    #[error("{component} cannot leave the chain: {reason}")]
    CannotDrain {
        /// Its name.
        component: Arc<str>,
        /// Why.
        reason: Reason,
    },
    /// The component did not give what it holds in time.
    #[error("{component} did not drain within {after:?}")]
    TimedOut {
        /// Its name.
        component: Arc<str>,
        /// How long it had.
        after: Duration,
    },
    /// The new component refused.
    #[error("the new component's port refused: {0}")]
    Refused(AttachError),
    /// A component died meanwhile; the chain ends with the cause.
    #[error("the chain broke while it was spliced: {0}")]
    Broken(Arc<Cause>),
    /// The supervisor is gone.
    #[error("the supervisor is gone")]
    NoSupervisor,
}

impl Supervisor {
    /// Puts a component into a running link: its inlet takes what the producer sends, its outlet feeds the consumer.
    ///
    /// Not cancellable: dropping the future leaves the transaction running to its end.
    ///
    /// # Errors
    ///
    /// [`SpliceFailure`].
    pub async fn insert<T: Payload, U: Payload>(
        &self,
        link: LinkId,
        inlet: &InletRef<T>,
        outlet: &OutletRef<U>,
    ) -> Result<Spliced, SpliceFailure> {
        let new = New { inlet: Box::new(inlet.clone()), outlet: Box::new(outlet.clone()) };
        self.splice(Place::Link(link), Some(new), Duration::ZERO).await
    }

    /// Takes a component out of a running chain; its producer feeds its consumer. It has `within` to give what it holds.
    ///
    /// Not cancellable, as [`insert`](Self::insert).
    ///
    /// # Errors
    ///
    /// [`SpliceFailure`].
    pub async fn remove(&self, component: ComponentId, within: Duration) -> Result<Spliced, SpliceFailure> {
        self.splice(Place::Component(component), None, within).await
    }

    /// Puts a new component in the place of an old one, which has `within` to give what it holds or to hand over its state.
    ///
    /// Not cancellable, as [`insert`](Self::insert).
    ///
    /// # Errors
    ///
    /// [`SpliceFailure`].
    pub async fn replace<T: Payload, U: Payload>(
        &self,
        old: ComponentId,
        inlet: &InletRef<T>,
        outlet: &OutletRef<U>,
        within: Duration,
    ) -> Result<Spliced, SpliceFailure> {
        let new = New { inlet: Box::new(inlet.clone()), outlet: Box::new(outlet.clone()) };
        self.splice(Place::Component(old), Some(new), within).await
    }

    async fn splice(&self, place: Place, new: Option<New>, within: Duration) -> Result<Spliced, SpliceFailure> {
        let done = self.request(|reply| Splice { place, new, within, reply }).await;
        done.unwrap_or(Err(SpliceFailure::NoSupervisor))
    }
}

#[derive(Clone, Copy)]
enum Place {
    Link(LinkId),
    Component(ComponentId),
}

struct New {
    inlet: Box<dyn AnyInlet>,
    outlet: Box<dyn AnyOutlet>,
}

struct Splice {
    place: Place,
    new: Option<New>,
    within: Duration,
    reply: oneshot::Sender<Result<Spliced, SpliceFailure>>,
}

impl Message for Splice {
    type Result = ();
}

impl Handler<Splice> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, splice: Splice, ctx: &mut Context<Self>) {
        let Splice { place, new, within, reply } = splice;
        let observer = self.observer(ctx);
        let (members, work) = match self.prepare(place, observer) {
            Ok(prepared) => prepared,
            Err(failure) => {
                let _ = reply.send(Err(failure));
                return;
            }
        };
        self.splicing.extend(&members);
        // the graph may forget a component that has no link while it is parted
        let ways: Vec<_> = members.iter().filter_map(|id| Some(self.graph.node(*id)?.manage.boxed())).collect();
        let work = async move { work.run(new, within).await };
        ctx.spawn(wrap_future::<_, Self>(work).map(move |done, act, ctx| {
            act.splicing.retain(|member| !members.contains(member));
            if let Err(SpliceFailure::Broken(cause)) = &done {
                // the parted neighbours have no link by which they could hear of it
                ways.iter().for_each(|way| way.abort(cause));
                let chain = act.graph.chain(members.iter().copied());
                act.tear_down_members(chain, cause.clone(), ctx);
            }
            let _ = reply.send(done);
        }));
    }
}

impl SupervisorActor {
    /// Finds the place and takes holds on all concerned, so that they last through the transaction.
    fn prepare(&self, place: Place, observer: Arc<dyn Observer>) -> Result<(Vec<ComponentId>, Work), SpliceFailure> {
        let there = || SpliceFailure::NotThere;
        let live = |id: LinkId| self.graph.link(id).filter(|edge| edge.is_live());
        let (first, middle, last) = match place {
            Place::Link(id) => {
                let edge = live(id).ok_or_else(there)?;
                (edge, None, edge)
            }
            Place::Component(id) => {
                let (into, out) = self.graph.between(id).ok_or_else(there)?;
                let node = self.graph.node(id).ok_or_else(there)?;
                (into, Some((id, node)), out)
            }
        };
        let members: Vec<ComponentId> =
            [first.producer, middle.map(|(id, _)| id), last.consumer].into_iter().flatten().collect();
        if members.iter().any(|member| self.splicing.contains(member)) {
            return Err(SpliceFailure::Busy);
        }
        let old = match middle {
            None => None,
            Some((_, node)) => Some(Old {
                name: node.info.name().clone(),
                manage: node.manage.boxed(),
                inlet: first.inlet.as_ref().and_then(|way| way.upgrade()).ok_or_else(there)?,
                outlet: last.outlet.as_ref().and_then(|way| way.upgrade()).ok_or_else(there)?,
                out: last.cell.clone(),
            }),
        };
        let work = Work {
            observer,
            producer: first.outlet.as_ref().and_then(|way| way.upgrade()).ok_or_else(there)?,
            consumer: last.inlet.as_ref().and_then(|way| way.upgrade()).ok_or_else(there)?,
            link: first.cell.clone(),
            old,
        };
        Ok((members, work))
    }
}

/// A splice under way: everything it needs, held.
struct Work {
    observer: Arc<dyn Observer>,
    producer: Box<dyn AnyOutlet>,
    consumer: Box<dyn AnyInlet>,
    /// The producer's link.
    link: Arc<LinkCell>,
    old: Option<Old>,
}

/// The component that leaves.
struct Old {
    name: Arc<str>,
    manage: Box<dyn ManageHandle>,
    inlet: Box<dyn AnyInlet>,
    outlet: Box<dyn AnyOutlet>,
    /// Its link to the consumer.
    out: Arc<LinkCell>,
}

type Step<T> = Result<T, SpliceFailure>;

impl Work {
    async fn run(self, new: Option<New>, within: Duration) -> Step<Spliced> {
        let start = Instant::now();
        let into = self.old.as_ref().map_or(&self.consumer, |old| &old.inlet);
        let at = self.part(&self.link, &*self.producer, &**into).await?;
        let links = match (&self.old, &new) {
            (Some(old), new) => match self.exchange(old, new.as_ref(), within).await {
                Ok(links) => links,
                Err(failure) => {
                    self.restore(&*self.producer, &*old.inlet).await?;
                    return Err(failure);
                }
            },
            (None, Some(new)) => match self.bridge(new).await {
                Ok(links) => links,
                Err(failure) => {
                    self.restore(&*self.producer, &*self.consumer).await?;
                    return Err(failure);
                }
            },
            (None, None) => return Err(SpliceFailure::NotThere),
        };
        Ok(Spliced { at, pause: start.elapsed(), links })
    }

    /// Takes the old component out and joins what is new in its place. On failure its outlet is joined as it was.
    async fn exchange(&self, old: &Old, new: Option<&New>, within: Duration) -> Step<Vec<LinkId>> {
        let timed_out = SpliceFailure::TimedOut { component: old.name.clone(), after: within };
        let drained = tokio::time::timeout(within, self.drain(old, new)).await;
        let handed = drained.unwrap_or(Err(timed_out))?;
        if let Err(failure) = self.part(&old.out, &*old.outlet, &*self.consumer).await {
            self.give_back(old, new.filter(|_| handed)).await;
            return Err(failure);
        }
        let joined = match new {
            None => self.join(&*self.producer, &*self.consumer).await.map(|link| vec![link]),
            Some(new) => self.bridge(new).await,
        };
        if joined.is_err() {
            self.give_back(old, new.filter(|_| handed)).await;
            self.restore(&*old.outlet, &*self.consumer).await?;
        }
        joined
    }

    /// The old component works off what it holds, then hands its state to the new one or gives the rest. True if the new one has
    /// its state.
    async fn drain(&self, old: &Old, new: Option<&New>) -> Step<bool> {
        let gone = |_| self.broken();
        old.manage.settle().await.map_err(gone)?;
        if let Some(new) = new
            && let Some(state) = old.manage.take_state().await.map_err(gone)?
        {
            match new.inlet.manage().put_state(state).await.map_err(gone)? {
                Ok(()) => return Ok(true),
                // of no use to the new one: it was the old one's own
                Err(state) => drop(old.manage.put_state(state).await),
            }
        }
        let flushed = old.manage.flush().await.map_err(gone)?;
        flushed.map_err(|reason| SpliceFailure::CannotDrain { component: old.name.clone(), reason })?;
        old.manage.settle().await.map_err(gone)?;
        Ok(false)
    }

    /// Takes the state back from the component that had it handed.
    async fn give_back(&self, old: &Old, handed: Option<&New>) {
        if let Some(new) = handed
            && let Ok(Some(state)) = new.inlet.manage().take_state().await
        {
            // it was its own
            let _ = old.manage.put_state(state).await;
        }
    }

    async fn part(&self, link: &LinkCell, outlet: &dyn AnyOutlet, inlet: &dyn AnyInlet) -> Step<Count> {
        super::detach::part(link, outlet, inlet).await.map_err(|failure| match failure {
            DetachFailure::NotAttached(_) => SpliceFailure::NotThere,
            _ => self.broken(),
        })
    }

    /// Joins a new component between the far ends, the consumer's side first.
    async fn bridge(&self, new: &New) -> Step<Vec<LinkId>> {
        let out = Joining::reserve(&*new.outlet, &*self.consumer, self.observer.clone()).await;
        let mut out = out.map_err(|failure| self.refused(failure))?;
        out.attach().await.map_err(|failure| self.refused(failure))?;
        // dropped on a failure here, what was reserved is as it was
        let into = self.join(&*self.producer, &*new.inlet).await?;
        Ok(vec![into, out.open()])
    }

    async fn join(&self, outlet: &dyn AnyOutlet, inlet: &dyn AnyInlet) -> Step<LinkId> {
        super::attach::join(outlet, inlet, self.observer.clone()).await.map_err(|failure| self.refused(failure))
    }

    /// Puts back what was there. A failure here breaks the chain.
    async fn restore(&self, outlet: &dyn AnyOutlet, inlet: &dyn AnyInlet) -> Step<()> {
        match super::attach::join(outlet, inlet, self.observer.clone()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.broken()),
        }
    }

    fn refused(&self, failure: AttachFailure) -> SpliceFailure {
        match failure {
            AttachFailure::Refused { error, .. } => SpliceFailure::Refused(error),
            AttachFailure::WrongPayload => SpliceFailure::WrongPayload,
            _ => self.broken(),
        }
    }

    /// The cause that broke the chain: a link's, if one tells; else that somebody is gone.
    fn broken(&self) -> SpliceFailure {
        let links = [Some(&self.link), self.old.as_ref().map(|old| &old.out)];
        let told = links.into_iter().flatten().find_map(|link| link.cause().cloned());
        SpliceFailure::Broken(
            told.unwrap_or_else(|| Cause::new(Reason::ComponentGone, Origin::default().on(self.link.id()))),
        )
    }
}
