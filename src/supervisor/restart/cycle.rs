//! The life of a place: failed, waiting, being built, running again, or given up. The table is in the [module](super).

use super::place::{Joint, Kept, Neighbour, State, Timer};
use super::rejoin::{Consumer, Ends, Joined, Missed, Producer};
use super::{Again, Built, Factory};
use crate::component::ComponentId;
use crate::component::drive::panic_text;
use crate::component::link::{Note, Parted};
use crate::proto::link::{Cause, Count, LinkId, Origin, Reason, Side, Terminal};
use crate::supervisor::SupervisorActor;
use crate::supervisor::event::{Emit, Event};
use actix::fut::wrap_future;
use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message};
use futures_util::FutureExt;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::time::Instant;

impl SupervisorActor {
    // ---- what the ports tell

    /// Looks at a note before the graph does. Gives it back, but for what is parted, which is kept here.
    pub(in crate::supervisor) fn watch_places(&mut self, note: Note, ctx: &mut Context<Self>) -> Option<Note> {
        match &note {
            // a splice beside the place: it has another link now
            Note::Attached { link, component, .. } => self.place_joins(component.info.id(), link.id(), Side::Consumer),
            Note::Reserved { link, component, .. } => self.place_joins(component.info.id(), link.id(), Side::Producer),
            Note::Over { link, side, terminal: Terminal::Detached { at } } => self.place_parts(*link, *side, *at),
            _ => {}
        }
        match note {
            Note::Suspended { link, side, at, parted } => {
                self.neighbour_parts(link, side, at, parted, ctx);
                None
            }
            note => Some(note),
        }
    }

    fn place_joins(&mut self, component: ComponentId, link: LinkId, own: Side) {
        let Some(place) = self.places.with(component).filter(|place| place.is_running()) else { return };
        let Some(joint) = place.joint_mut(own) else { return };
        joint.link = Some(link);
    }

    /// The links counts from zero again on its next link.
    fn place_parts(&mut self, link: LinkId, side: Side, at: Count) {
        let Some(place) = self.places.beside(link, other(side)).filter(|place| place.is_running()) else { return };
        if let Some(joint) = place.joint_mut(side) {
            joint.base += at.quantity;
        }
    }

    /// A link was suspended; `beside` is the neighbour's side, if it is a place's link.
    fn place_fails(&mut self, link: LinkId, beside: Side, cause: &Arc<Cause>, ctx: &mut Context<Self>) {
        let Some(place) = self.places.beside(link, beside) else { return };
        let State::Running { since } = place.state else { return };
        place.attempts.failed_after(since.elapsed());
        place.state = State::Failed { cause: cause.clone(), gone: false };
        let (component, name) = (place.info.id(), place.info.name().clone());
        self.busy.release(place.neighbours());
        for joint in place.joints_mut() {
            let edge = joint.link.and_then(|link| self.graph.link(link));
            joint.beside = edge.and_then(|edge| edge.ends().find(|end| *end != component));
        }
        // splices beside it are refused meanwhile
        self.busy.take(place.neighbours());
        self.emit(Event::Suspended { component, name, cause: cause.clone() }, ctx);
    }

    fn neighbour_parts(&mut self, link: LinkId, side: Side, at: Count, parted: Parted, ctx: &mut Context<Self>) {
        let cause = parted.cause().clone();
        self.place_fails(link, side, &cause, ctx);
        let finished = self.graph.link(link).map_or(0, |edge| edge.cell.finished());
        let Some(place) = self.places.beside(link, side).filter(|place| !place.is_running()) else {
            // nobody rebuilds it any more
            drop(parted);
            return self.tear_down(link, cause, ctx);
        };
        let id = place.id;
        if let Some(joint) = place.joint_mut(other(side)) {
            joint.neighbour = Some(Neighbour { at: at.quantity, finished, parted });
        }
        self.place_if_ready(id, ctx);
    }

    /// A component is gone: the one of a place, or a neighbour that one waits for.
    pub(in crate::supervisor) fn place_gone(&mut self, component: ComponentId, ctx: &mut Context<Self>) {
        while let Some(id) = self.places.waiting_beside(component) {
            let told = self.places.get(id).and_then(|place| {
                let mut parted = place.joints().filter_map(|(_, joint)| joint.neighbour.as_ref()).map(|n| &n.parted);
                let info = parted.find(|parted| parted.info().id() == component)?.info();
                Some(info.cause().cloned().unwrap_or_else(|| info.blame(Reason::ComponentGone)))
            });
            // one that went before it parted has left no word
            let cause = told.unwrap_or_else(|| Cause::new(Reason::ComponentGone, Origin::default()));
            self.give_up(id, cause, ctx);
        }
        let Some(place) = self.places.with(component) else { return };
        let id = place.id;
        let links: Vec<(Side, Option<LinkId>)> = place.joints().map(|(side, joint)| (side, joint.link)).collect();
        // all its ports are dropped: what the cells say of its ends is final
        let suspension = |(side, link): &(Side, Option<LinkId>)| {
            let edge = self.graph.link((*link)?)?;
            edge.cell.suspension().filter(|s| s.side == *side && edge.cell.cause().is_none()).cloned()
        };
        let suspended: Vec<_> = links.iter().filter_map(suspension).collect();
        let whole = suspended.len() == links.len();
        let Some(first) = suspended.into_iter().next() else {
            // it has ended in an orderly way, or was aborted from elsewhere
            if let Some(place) = self.places.remove(id) {
                self.forget_place(place, ctx);
            }
            return;
        };
        if let Some((side, Some(link))) = links.first() {
            self.place_fails(*link, other(*side), &first.cause, ctx);
        }
        if !whole {
            return self.give_up(id, first.cause, ctx);
        }
        if let Some(Kept { state: State::Failed { gone, .. }, .. }) = self.places.get(id) {
            *gone = true;
        }
        self.place_if_ready(id, ctx);
    }

    fn place_if_ready(&mut self, id: u64, ctx: &mut Context<Self>) {
        if let Some(place) = self.places.get(id).filter(|place| place.is_ready())
            && let State::Failed { cause, .. } = &place.state
        {
            let cause = cause.clone();
            self.wait(id, cause, ctx);
        }
    }

    // ---- attempts

    /// The back-off before the next attempt, or none is left.
    fn wait(&mut self, id: u64, cause: Arc<Cause>, ctx: &mut Context<Self>) {
        let Some(place) = self.places.get(id) else { return };
        let Some(after) = place.attempts.next() else { return self.give_up(id, cause, ctx) };
        let attempt = place.attempts.made();
        let me = ctx.address().downgrade();
        let timer = Timer::start(after, move || {
            if let Some(me) = me.upgrade() {
                me.do_send(BackOffOver { id, attempt });
            }
        });
        place.state = State::Waiting { cause, timer };
        let (component, name) = (place.info.id(), place.info.name().clone());
        self.emit(Event::Restarting { component, name, attempt, after }, ctx);
    }

    fn build(&mut self, id: u64, attempt: u32, ctx: &mut Context<Self>) {
        let observer = self.observer(ctx);
        let Some(place) = self.places.get(id).filter(|place| place.attempts.made() == attempt) else { return };
        let State::Waiting { cause, .. } = &place.state else { return };
        let cause = cause.clone();
        let graph = &self.graph;
        let producer = place.inlet.as_ref().map(|joint| {
            let outlet = graph.link(joint.link?)?.outlet.as_ref()?.upgrade()?;
            Some(Producer { outlet, sent: joint.position(), finished: joint.finished() })
        });
        let consumer = place.outlet.as_ref().map(|joint| {
            let inlet = graph.link(joint.link?)?.inlet.as_ref()?.upgrade()?;
            Some(Consumer { inlet, delivered: joint.position() })
        });
        let again = Again {
            attempt,
            cause,
            sent: place.inlet.as_ref().map_or(0, Joint::position),
            finished: place.inlet.as_ref().map_or(0, Joint::finished),
            delivered: place.outlet.as_ref().map_or(0, Joint::position),
        };
        let loss = place.restart.loss;
        let (Some(producer), Some(consumer), Some(factory)) =
            (all_or_none(producer), all_or_none(consumer), place.factory.take())
        else {
            let gone = place.info.blame(Reason::ComponentGone);
            return self.give_up(id, gone, ctx);
        };
        let ends = Ends { loss, observer, producer, consumer };
        let work = wrap_future::<_, Self>(attempt_of(factory, again, ends))
            .map(move |(factory, result), act, ctx| act.built(id, factory, result, ctx));
        let work = ctx.spawn(work);
        if let Some(place) = self.places.get(id) {
            place.state = State::Building { work };
        }
    }

    fn built(&mut self, id: u64, factory: Factory, result: Result<Joined, Missed>, ctx: &mut Context<Self>) {
        // a place that is given up has its future dropped
        let Some(place) = self.places.get(id) else { return };
        place.factory = Some(factory);
        match result {
            Ok(joined) => self.restarted(id, joined, ctx),
            Err(Missed { reason, hopeless, rewound }) => {
                if let Some(Joint { neighbour: Some(neighbour), base, .. }) = &mut place.inlet {
                    // it stands there now, perhaps before this link began
                    let within = rewound.min(neighbour.at);
                    neighbour.at -= within;
                    *base -= rewound - within;
                }
                let cause = Cause::new(reason, Origin::component(place.info.name().clone()));
                match hopeless {
                    true => self.give_up(id, cause, ctx),
                    false => self.wait(id, cause, ctx),
                }
            }
        }
    }

    fn restarted(&mut self, id: u64, joined: Joined, ctx: &mut Context<Self>) {
        let Some(place) = self.places.get(id) else { return };
        let Joined { info, inlet, outlet, gap } = joined;
        let attempts = place.attempts.made();
        let at = inlet.or(outlet).map_or(0, |(_, at)| at);
        let mut old = Vec::new();
        let beside: Vec<ComponentId> = place.neighbours().collect();
        place.info = info;
        place.state = State::Running { since: Instant::now() };
        for (joint, new) in [(place.inlet.as_mut(), inlet), (place.outlet.as_mut(), outlet)] {
            if let (Some(joint), Some((link, base))) = (joint, new) {
                old.extend(joint.link);
                if let Some(neighbour) = std::mem::replace(joint, Joint::new(Some(link), base)).neighbour {
                    neighbour.parted.goes_on();
                }
            }
        }
        let (component, name) = (place.info.id(), place.info.name().clone());
        self.busy.release(beside);
        old.into_iter().for_each(|link| self.graph.forget(link));
        self.emit(Event::Restarted { component, name, attempts, at, gap }, ctx);
    }

    // ---- the end of a place

    fn give_up(&mut self, id: u64, cause: Arc<Cause>, ctx: &mut Context<Self>) {
        let Some(place) = self.places.remove(id) else { return };
        let (component, name, attempts) = (place.info.id(), place.info.name().clone(), place.attempts.made());
        self.emit(Event::GaveUp { component, name, attempts, cause: cause.clone() }, ctx);
        let members = self.dependent_on(&place);
        self.abandon(place, &cause, ctx);
        self.tear_down_members(members, cause, ctx);
    }

    /// What goes with a place: the chains of its neighbours, but of one that was joined by an isolated port.
    fn dependent_on(&self, place: &Kept) -> BTreeSet<ComponentId> {
        let lost = place.joints().filter(|(own, joint)| {
            let edge = joint.link.and_then(|link| self.graph.link(link));
            edge.is_none_or(|edge| !edge.is_isolated(other(*own)))
        });
        self.graph.chain(lost.filter_map(|(_, joint)| joint.beside))
    }

    /// These components are torn down: the places among them and beside them are no more.
    pub(in crate::supervisor) fn places_torn(
        &mut self,
        members: &BTreeSet<ComponentId>,
        cause: &Arc<Cause>,
        ctx: &mut Context<Self>,
    ) {
        let torn =
            |place: &Kept| members.contains(&place.info.id()) || place.neighbours().any(|n| members.contains(&n));
        for place in self.places.take(torn) {
            self.abandon(place, cause, ctx);
        }
    }

    /// A shutdown begins: nothing is rebuilt any more, and what waits for it ends at once.
    pub(in crate::supervisor) fn places_shut_down(&mut self, ctx: &mut Context<Self>) {
        for place in self.places.take(Kept::is_running) {
            self.disarm_ports(&place);
        }
        let cause = Cause::new(Reason::ShutDown, Origin::component("supervisor"));
        for place in self.places.take(|_| true) {
            let members = self.dependent_on(&place);
            self.abandon(place, &cause, ctx);
            self.tear_down_members(members, cause.clone(), ctx);
        }
    }

    /// The neighbours hear the cause, also those that the graph does not know, and nothing is built any more.
    fn abandon(&mut self, mut place: Kept, cause: &Arc<Cause>, ctx: &mut Context<Self>) {
        for joint in place.joints_mut() {
            if let Some(neighbour) = joint.neighbour.take() {
                neighbour.parted.abort(cause);
            }
        }
        self.forget_place(place, ctx);
    }

    fn forget_place(&mut self, place: Kept, ctx: &mut Context<Self>) {
        if let State::Building { work, .. } = &place.state {
            ctx.cancel_future(*work);
        }
        self.disarm_ports(&place);
        let beside: Vec<ComponentId> = place.neighbours().collect();
        self.busy.release(beside);
    }
}

/// The back-off of a place is over.
struct BackOffOver {
    id: u64,
    attempt: u32,
}

impl Message for BackOffOver {
    type Result = ();
}

impl Handler<BackOffOver> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, BackOffOver { id, attempt }: BackOffOver, ctx: &mut Context<Self>) {
        self.build(id, attempt, ctx);
    }
}

/// One attempt. The factory is handed back; a panic in it is a failed attempt and nothing else.
async fn attempt_of(mut factory: Factory, again: Again, ends: Ends) -> (Factory, Result<Joined, Missed>) {
    let panicked = |panic: Box<dyn std::any::Any + Send>| {
        Missed::again(Reason::Panicked(format!("in the factory: {}", panic_text(&*panic)).into()))
    };
    let rebuilt: Result<Built, Missed> = match catch_unwind(AssertUnwindSafe(|| factory(again))) {
        Err(panic) => Err(panicked(panic)),
        Ok(building) => match AssertUnwindSafe(building).catch_unwind().await {
            Err(panic) => Err(panicked(panic)),
            Ok(rebuilt) => rebuilt.map_err(Missed::again),
        },
    };
    let result = match rebuilt {
        Ok(rebuilt) => ends.rejoin(rebuilt).await,
        Err(missed) => Err(missed),
    };
    (factory, result)
}

/// `None` if there should be one and it is gone.
fn all_or_none<T>(end: Option<Option<T>>) -> Option<Option<T>> {
    match end {
        None => Some(None),
        Some(Some(end)) => Some(Some(end)),
        Some(None) => None,
    }
}

fn other(side: Side) -> Side {
    match side {
        Side::Producer => Side::Consumer,
        Side::Consumer => Side::Producer,
    }
}
