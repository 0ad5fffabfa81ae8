//! Splice: changes a running chain without losing, doubling or reordering a byte. The far ends notice nothing.
//!
//! ```text
//!   insert    P ──link──▶ C         becomes     P ──▶ new ──▶ C
//!   remove    P ──▶ old ──▶ C       becomes     P ──────────▶ C
//!   replace   P ──▶ old ──▶ C       becomes     P ──▶ new ──▶ C
//!
//! ```
//!
//! The steps, and what is undone when one fails, are a plan without a runtime ([`proto::splice`](crate::proto::splice)); here it is
//! executed over actors. Two-way components are spliced in both directions or neither.
//!
//! A component that cannot give what it holds, or not in time, leaves the chain as it was, with the reason. If a component of
//! the chain dies meanwhile, its neighbours are aborted: the chain ends with the cause, as it would have without the splice.
//! Several splices run at once in different places; one that touches the same components is refused as busy.

mod place;
mod work;

use super::{Supervisor, SupervisorActor};
use crate::component::{ComponentId, InletRef, OutletRef, PairRef};
use crate::proto::link::{AttachError, Cause, Count, LinkId, Payload, Reason};
use crate::proto::splice::Change;
use actix::fut::wrap_future;
use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message};
use place::Place;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::oneshot;

/// How a splice went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Spliced {
    /// Where the producer was stopped: what had passed on its link. Of a two-way splice, on the way there.
    pub at: Count,
    /// How long nothing flowed.
    pub pause: Duration,
    /// The new links, producer's first; of a two-way splice those of the way there, then those of the way back.
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
    /// The new component is gone.
    #[error("the new component is gone")]
    NewGone,
    /// A component died meanwhile, or what it held was lost; the chain ends with the cause.
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
        let new = New::one(inlet, outlet);
        self.splice(Place::Link(link), Some(new), Duration::ZERO).await
    }

    /// Puts a two-way component into two links that join the same two components in both directions: `near` is its side to the
    /// producer of `there`, `far` its side to the producer of `back`. Both directions, or neither.
    ///
    /// Not cancellable, as [`insert`](Self::insert).
    ///
    /// # Errors
    ///
    /// [`SpliceFailure`]; [`NotThere`](SpliceFailure::NotThere) also if the two links are not each other's reverse.
    pub async fn insert_pair<T: Payload, U: Payload>(
        &self,
        there: LinkId,
        back: LinkId,
        near: &PairRef<T>,
        far: &PairRef<U>,
    ) -> Result<Spliced, SpliceFailure> {
        self.splice(Place::Links { there, back }, Some(New::both(near, far)), Duration::ZERO).await
    }

    /// Takes a component out of a running chain; its producer feeds its consumer. It has `within` to work off what it holds.
    ///
    /// A two-way component between two others is taken out in both directions, or neither.
    ///
    /// Not cancellable, as [`insert`](Self::insert).
    ///
    /// # Errors
    ///
    /// [`SpliceFailure`].
    pub async fn remove(&self, component: ComponentId, within: Duration) -> Result<Spliced, SpliceFailure> {
        self.splice(Place::Component { id: component, near: None }, None, within).await
    }

    /// Puts a new component in the place of an old one, which has `within` to work off what it holds; what is left it hands over
    /// as its state, or gives.
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
        let new = New::one(inlet, outlet);
        self.splice(Place::Component { id: old, near: None }, Some(new), within).await
    }

    /// The same for a two-way component between two others: `near` is the new one's side to its neighbour `neighbour`, `far` its
    /// side to the other. Both directions, or neither.
    ///
    /// Not cancellable, as [`insert`](Self::insert).
    ///
    /// # Errors
    ///
    /// [`SpliceFailure`]; [`NotThere`](SpliceFailure::NotThere) also if `neighbour` is none.
    pub async fn replace_pair<T: Payload, U: Payload>(
        &self,
        old: ComponentId,
        neighbour: ComponentId,
        near: &PairRef<T>,
        far: &PairRef<U>,
        within: Duration,
    ) -> Result<Spliced, SpliceFailure> {
        let place = Place::Component { id: old, near: Some(neighbour) };
        self.splice(place, Some(New::both(near, far)), within).await
    }

    async fn splice(&self, place: Place, new: Option<New>, within: Duration) -> Result<Spliced, SpliceFailure> {
        let done = self.request(|reply| Splice { place, new, within, reply }).await;
        done.unwrap_or(Err(SpliceFailure::NoSupervisor))
    }
}

/// The ports of a component that comes: for each way, what takes and what gives.
struct New {
    ways: Vec<work::Ports>,
}

impl New {
    fn one<T: Payload, U: Payload>(inlet: &InletRef<T>, outlet: &OutletRef<U>) -> Self {
        Self { ways: vec![work::Ports { inlet: Box::new(inlet.clone()), outlet: Box::new(outlet.clone()) }] }
    }

    fn both<T: Payload, U: Payload>(near: &PairRef<T>, far: &PairRef<U>) -> Self {
        let there = work::Ports { inlet: Box::new(near.inlet.clone()), outlet: Box::new(far.outlet.clone()) };
        let back = work::Ports { inlet: Box::new(far.inlet.clone()), outlet: Box::new(near.outlet.clone()) };
        Self { ways: vec![there, back] }
    }
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
        let change = match (&place, &new) {
            (Place::Component { .. }, None) => Change::Remove,
            (Place::Component { .. }, Some(_)) => Change::Replace,
            _ => Change::Insert,
        };
        let observer = self.observer(ctx);
        let (members, work) = match self.prepare(place, new, observer) {
            Ok(prepared) => prepared,
            Err(failure) => {
                let _ = reply.send(Err(failure));
                return;
            }
        };
        self.busy.take(members.iter().copied());
        // the graph may forget a component that has no link while it is parted
        let ways: Vec<_> = members.iter().filter_map(|id| Some(self.graph.node(*id)?.manage.boxed())).collect();
        let work = async move { work.run(change, within).await };
        ctx.spawn(wrap_future::<_, Self>(work).map(move |done, act, ctx| {
            act.busy.release(members.iter().copied());
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
