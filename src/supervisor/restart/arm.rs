//! Which components are rebuilt: armed while they run or before they are attached, and disarmed.

use super::back_off::Attempts;
use super::place::{Joint, Kept, State};
use super::rejoin::can_rewind;
use super::{Arm, Factory, Keep, Loss, Place, RestartError};
use crate::component::{ComponentId, ComponentInfo};
use crate::proto::link::LinkId;
use crate::supervisor::SupervisorActor;
use actix::fut::wrap_future;
use actix::{ActorFutureExt, AsyncContext, Context, Handler};
use std::sync::Arc;
use tokio::time::Instant;

impl Handler<Arm> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Arm { place, restart, factory, reply }: Arm, ctx: &mut Context<Self>) {
        let kept = match self.find(place, restart, factory) {
            Ok(kept) => kept,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        let producer = kept.inlet.as_ref().filter(|_| restart.loss == Loss::Resume).and_then(|joint| {
            let edge = self.graph.link(joint.link?)?;
            Some((edge.outlet.as_ref()?.upgrade()?, self.graph.name(edge.producer?)))
        });
        let asked = async move {
            match producer {
                Some((outlet, name)) => can_rewind(&*outlet, name).await,
                None => Ok(()),
            }
        };
        ctx.spawn(wrap_future::<_, Self>(asked).map(move |answer, act, _| {
            // nobody may be waiting any more
            let _ = reply.send(answer.and_then(|()| act.arm(kept)));
        }));
    }
}

impl Handler<Keep> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Keep { info, first, restart, factory, reply }: Keep, _: &mut Context<Self>) {
        let joint = |there: bool| there.then(|| Joint::new(None, 0));
        let joints = (joint(first.inlet.is_some()), joint(first.outlet.is_some()));
        let known = self.graph.node(info.id()).is_some();
        let kept = match known {
            // attached already
            true => self.find(Place::Component(info.id()), restart, factory),
            false if self.shutdown.is_some() => Err(RestartError::ShuttingDown),
            false => Ok(self.new_place(info, restart, factory, joints)),
        };
        // nobody may be waiting any more
        let _ = reply.send(kept.and_then(|kept| self.arm(kept)));
    }
}

impl SupervisorActor {
    pub(super) fn component_at(&self, place: Place) -> Option<ComponentId> {
        match place {
            Place::Component(component) => Some(component),
            Place::Producer(link) => self.graph.link(link)?.producer,
            Place::Consumer(link) => self.graph.link(link)?.consumer,
        }
    }

    fn find(&self, place: Place, restart: super::Restart, factory: Factory) -> Result<Kept, RestartError> {
        if self.shutdown.is_some() {
            return Err(RestartError::ShuttingDown);
        }
        let component = self.component_at(place).ok_or(RestartError::NotThere)?;
        let info = self.graph.node(component).ok_or(RestartError::NotThere)?.info.clone();
        let live =
            || self.graph.edges().filter(|edge| edge.is_live() && edge.producer.is_some() && edge.consumer.is_some());
        let inlets: Vec<LinkId> = live().filter(|e| e.consumer == Some(component)).map(|e| e.cell.id()).collect();
        let outlets: Vec<LinkId> = live().filter(|e| e.producer == Some(component)).map(|e| e.cell.id()).collect();
        if inlets.is_empty() && outlets.is_empty() {
            return Err(RestartError::NotThere);
        }
        if inlets.len() > 1 || outlets.len() > 1 {
            let component = info.name().clone();
            return Err(RestartError::Shape { component, inlets: inlets.len(), outlets: outlets.len() });
        }
        let joint = |links: &[LinkId]| links.first().map(|link| Joint::new(Some(*link), 0));
        Ok(self.new_place(info, restart, factory, (joint(&inlets), joint(&outlets))))
    }

    fn new_place(
        &self,
        info: Arc<ComponentInfo>,
        restart: super::Restart,
        factory: Factory,
        (inlet, outlet): (Option<Joint>, Option<Joint>),
    ) -> Kept {
        let attempts = Attempts::new(restart.back_off, self.places.new_seed());
        let state = State::Running { since: Instant::now() };
        Kept { id: 0, info, restart, factory: Some(factory), attempts, inlet, outlet, state }
    }

    /// The cells first: from here on a failure suspends.
    fn arm(&mut self, kept: Kept) -> Result<(), RestartError> {
        let name = kept.info.name().clone();
        if self.places.with(kept.info.id()).is_some() {
            return Err(RestartError::Already(name));
        }
        if self.shutdown.is_some() {
            return Err(RestartError::ShuttingDown);
        }
        for (_, joint) in kept.joints() {
            // the chain may have changed while the producer was asked
            let edge = joint.link.map(|link| self.graph.link(link));
            if edge.is_some_and(|edge| !edge.is_some_and(|edge| edge.is_live() && edge.cell.cause().is_none())) {
                return Err(RestartError::NotThere);
            }
        }
        kept.info.set_rebuilt(true);
        for (side, joint) in kept.joints() {
            if let Some(edge) = joint.link.and_then(|link| self.graph.link(link)) {
                edge.cell.arm(side);
            }
        }
        self.places.add(kept);
        Ok(())
    }

    pub(super) fn disarm(&mut self, component: ComponentId) -> bool {
        let taken = self.places.take(|place| place.is_running() && place.info.id() == component);
        taken.iter().for_each(|place| self.disarm_ports(place));
        !taken.is_empty()
    }

    pub(super) fn disarm_ports(&self, place: &Kept) {
        place.info.set_rebuilt(false);
        for (side, joint) in place.joints() {
            if let Some(edge) = joint.link.and_then(|link| self.graph.link(link)) {
                edge.cell.disarm(side);
            }
        }
    }
}
