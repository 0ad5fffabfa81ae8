//! A stand-by for a producer.

use super::switch::Lane;
use crate::component::{AddrExt, Inlet, InletEvent, InletRef, Outlet, OutletEvent, OutletRef};
use crate::proto::link::{Payload, Reason, Window};
use crate::wire;
use actix::{Actor, ActorContext, Context};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// The ports of a [`fallback`].
#[derive(Debug)]
pub struct Fallback<T: Payload> {
    /// The producer that is used first.
    pub primary: InletRef<T>,
    /// The one that is used when that is lost.
    pub standby: InletRef<T>,
    /// The consumer.
    pub outlet: OutletRef<T>,
}

/// Neither producer of a [`fallback`] is left.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("both producers of the fallback are lost")]
pub struct NoProducerLeft;

/// Starts a fallback on the current arbiter: the data of the primary producer, and when that is lost, that of the stand-by, from its
/// beginning. Its inlets are isolated; what waits inside is at most one window.
///
/// | the data comes from | what happens | then |
/// |---|---|---|
/// | the primary | its link is aborted, or it ends unclean | what had come of it is given, then the stand-by's |
/// | the primary | it ends clean | the end, clean; the stand-by is aborted, not needed |
/// | the primary | the stand-by is lost | nothing; another may be attached |
/// | the stand-by | it ends | the end, clean if it is and the primary had given nothing |
/// | the stand-by | its link is aborted | the fallback is aborted with [`NoProducerLeft`] |
///
/// While no stand-by is attached, what is lost waits for one. The stand-by is granted nothing before it is needed. It does not know how far the primary had come, so the data of both together is
/// complete only by chance, and its end is unclean (rule E1).
///
/// ```
/// use versile_io::component::block::fallback;
/// # actix::System::new().block_on(async {
/// let ports = fallback::<u32>();
/// # let _ = ports; });
/// ```
pub fn fallback<T: Payload>() -> Fallback<T> {
    let actor = FallbackActor {
        primary: Inlet::holding(Window::default()).isolated(),
        standby: Inlet::holding(Window::CLOSED).isolated(),
        output: Outlet::default().on_demand(),
        lane: Lane::Primary,
        standby_ended: None,
        primary_gave: false,
        waiting: VecDeque::new(),
        end: None,
    };
    let addr = actor.start();
    Fallback { primary: addr.inlet_at::<0>(), standby: addr.inlet_at::<1>(), outlet: addr.outlet() }
}

/// The actor of a [`fallback`].
pub struct FallbackActor<T: Payload> {
    primary: Inlet<T>,
    standby: Inlet<T>,
    output: Outlet<T>,
    /// Where the data comes from.
    lane: Lane,
    /// An end needs no credit, so it may come before it is needed.
    standby_ended: Option<bool>,
    primary_gave: bool,
    /// Accepted and not given on; what an inlet counts as held has its lane.
    waiting: VecDeque<(T, Option<Lane>)>,
    /// How the outlet is to end, once all was given.
    end: Option<bool>,
}

impl<T: Payload> Actor for FallbackActor<T> {
    type Context = Context<Self>;
}

wire!([T: Payload] FallbackActor<T> {
    inlet primary: T => on_primary;
    inlet standby: T => on_standby;
    outlet output: T => on_output;
    settled => is_empty;
    name => fallback_name;
});

impl<T: Payload> FallbackActor<T> {
    fn on_primary(&mut self, event: InletEvent<T>, ctx: &mut Context<Self>) {
        match event {
            InletEvent::Item(item) => {
                self.primary_gave = true;
                self.waiting.push_back((item, Some(Lane::Primary)));
            }
            InletEvent::End { clean: true } => self.end = Some(true),
            InletEvent::End { clean: false } | InletEvent::Aborted if self.lane == Lane::Primary => self.fall_back(),
            // another primary, after the first: it is not listened to
            InletEvent::Attached if self.lane == Lane::Standby => {
                self.primary.abort(Reason::Requested(UNNEEDED.into()))
            }
            InletEvent::End { .. }
            | InletEvent::Parcel(_)
            | InletEvent::Aborted
            | InletEvent::Attached
            | InletEvent::Detached => {}
        }
        self.pump(ctx);
    }

    fn on_standby(&mut self, event: InletEvent<T>, ctx: &mut Context<Self>) {
        match event {
            InletEvent::Item(item) => self.waiting.push_back((item, Some(Lane::Standby))),
            InletEvent::End { clean } => {
                self.standby_ended = Some(clean);
                if self.lane == Lane::Standby {
                    self.end = Some(clean && !self.primary_gave);
                }
            }
            InletEvent::Aborted if self.lane == Lane::Standby && self.end.is_none() => {
                return self.output.abort(Reason::failed(NoProducerLeft));
            }
            InletEvent::Parcel(_) | InletEvent::Attached | InletEvent::Detached | InletEvent::Aborted => {}
        }
        self.pump(ctx);
    }

    fn on_output(&mut self, _: OutletEvent, ctx: &mut Context<Self>) {
        self.pump(ctx);
    }

    /// The primary is lost. What has come of it is still given; its inlet does not count it any more.
    fn fall_back(&mut self) {
        self.lane = Lane::Standby;
        self.primary.complete();
        self.waiting.iter_mut().for_each(|(_, held)| *held = None);
        self.standby.set_window(Window::default());
        self.end = self.standby_ended.map(|clean| clean && !self.primary_gave);
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        while self.output.is_ready() {
            let Some((item, held)) = self.waiting.pop_front() else { break };
            let quantity = item.quantity();
            // it is ready, so it takes any item
            let _ = self.output.push(item);
            match held {
                Some(Lane::Primary) => self.primary.release(quantity, 1),
                Some(Lane::Standby) => self.standby.release(quantity, 1),
                None => {}
            }
        }
        // what waits is delivered, whoever else still holds the fallback
        self.output.keep(!self.waiting.is_empty());
        let Some(clean) = self.end.filter(|_| self.waiting.is_empty()) else { return };
        self.output.end(clean);
        if self.output.ended().is_some() {
            self.primary.complete();
            self.standby.complete();
            if self.standby.is_open() {
                self.standby.abort(Reason::Requested(UNNEEDED.into()));
            }
            ctx.stop();
        }
    }

    fn is_empty(&mut self) -> bool {
        self.waiting.is_empty() && !self.output.has_work()
    }

    fn fallback_name(&self) -> Arc<str> {
        "fallback".into()
    }
}

/// Why a producer that nobody listens to is aborted.
const UNNEEDED: &str = "the other producer was used";

impl<T: Payload> fmt::Debug for FallbackActor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackActor")
            .field("lane", &self.lane)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}
