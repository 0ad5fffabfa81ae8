//! One producer, and a stand-by for its consumer.

use crate::component::control::{Ask, Control};
use crate::component::drive;
use crate::component::port::AnyPort;
use crate::component::{AddrExt, Inlet, InletEvent, InletRef, Outlet, OutletEvent, OutletRef};
use crate::proto::link::{Payload, Reason, Window};
use crate::wire;
use actix::{Actor, ActorContext, Context, Handler, Message, WeakAddr};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use thiserror::Error;

/// One of the two consumers of a [`switch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The one that is used first.
    Primary,
    /// The one that is used when the other is lost.
    Standby,
}

impl Lane {
    fn other(self) -> Self {
        match self {
            Self::Primary => Self::Standby,
            Self::Standby => Self::Primary,
        }
    }
}

/// What a [`switch`] does when a primary consumer is attached again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBack {
    /// The data goes on to the stand-by, until that is lost too or somebody switches.
    Stay,
    /// The data goes to the primary from the next item on.
    Return,
}

/// Control message that has the next switch along the chain send to this consumer from the next item on. What was sent to the other
/// one stays there, and is not lost.
///
/// ```
/// use versile_io::component::block::{Lane, SwitchTo};
/// let planned = SwitchTo { lane: Lane::Standby };
/// # let _ = planned;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchTo {
    /// Which.
    pub lane: Lane,
}

impl Control for SwitchTo {
    /// The position at which the switch was made: how many units had gone out before. `None` if no consumer is attached there; then
    /// nothing was changed.
    type Reply = Option<u64>;
}

impl Message for SwitchTo {
    type Result = ();
}

/// A switch's ports and its handle.
#[derive(Debug)]
pub struct Switch<T: Payload> {
    /// Where items come in.
    pub inlet: InletRef<T>,
    /// The consumer that is used first.
    pub primary: OutletRef<T>,
    /// The one that is used when that is lost.
    pub standby: OutletRef<T>,
    /// Switches, and reads the counts.
    pub handle: SwitchHandle<T>,
}

/// Works a switch and reads its counts, from any thread. Holds no actor.
pub struct SwitchHandle<T: Payload> {
    addr: WeakAddr<SwitchActor<T>>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    lost: AtomicU64,
    switched: AtomicU64,
    on_standby: AtomicBool,
}

impl<T: Payload> SwitchHandle<T> {
    /// As [`SwitchTo`]; nothing happens while no consumer is attached there. False if the switch is gone.
    pub fn switch_to(&self, lane: Lane) -> bool {
        let Some(addr) = self.addr.upgrade() else { return false };
        addr.do_send(SwitchTo { lane });
        true
    }

    /// Where the next item goes.
    pub fn lane(&self) -> Lane {
        if self.counts.on_standby.load(Relaxed) { Lane::Standby } else { Lane::Primary }
    }

    /// What had been sent to consumers that were then lost, and that they had not finished with: bytes, or items.
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Relaxed)
    }

    /// How many times the data went on to another consumer, for whatever reason.
    pub fn switched(&self) -> u64 {
        self.counts.switched.load(Relaxed)
    }
}

impl<T: Payload> Clone for SwitchHandle<T> {
    fn clone(&self) -> Self {
        Self { addr: self.addr.clone(), counts: self.counts.clone() }
    }
}

impl<T: Payload> fmt::Debug for SwitchHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwitchHandle").field("counts", &self.counts).finish_non_exhaustive()
    }
}

/// Neither consumer of a [`switch`] is left.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("both consumers of the switch are lost")]
pub struct NoLaneLeft;

/// Starts a switch on the current arbiter. Its outlets are isolated; what waits inside is at most one window.
///
/// | the data goes to | what happens | the data then goes to |
/// |---|---|---|
/// | a consumer | its link is aborted | the other one, as soon as that is attached |
/// | a consumer | it is detached, or not attached yet | the same; what comes waits |
/// | a consumer | [`SwitchTo`] the other, which is attached | the other one |
/// | the stand-by | a primary is attached again, [`WhenBack::Return`] | the primary |
/// | a consumer | its link is aborted, and the other one is lost already | nobody: the switch is aborted with [`NoLaneLeft`] |
///
/// It goes over between two items, or pieces of bytes: none is split between two consumers. What was sent to one that is lost and that
/// it had not finished with is lost, and counted. An end goes to both; it is clean if the producer's is and nothing was lost (rule E1).
/// A consumer that is lost after its end was sent is not noticed.
/// A third consumer is a switch behind a switch.
///
/// ```
/// use bytes::Bytes;
/// use versile_io::component::block::{Lane, WhenBack, switch};
/// # actix::System::new().block_on(async {
/// let switch = switch::<Bytes>(WhenBack::Stay);
/// assert_eq!(switch.handle.lane(), Lane::Primary);
/// # });
/// ```
pub fn switch<T: Payload>(when_back: WhenBack) -> Switch<T> {
    let counts = Arc::<Counts>::default();
    let actor = SwitchActor {
        input: Inlet::holding(Window::default()),
        primary: Outlet::default().isolated().on_demand(),
        standby: Outlet::default().isolated().on_demand(),
        when_back,
        lane: Lane::Primary,
        is_lost: [false; 2],
        pushed: [0; 2],
        total: 0,
        waiting: VecDeque::new(),
        end: None,
        counts: counts.clone(),
    };
    let addr = actor.start();
    Switch {
        inlet: addr.inlet(),
        primary: addr.outlet_at::<0>(),
        standby: addr.outlet_at::<1>(),
        handle: SwitchHandle { addr: addr.downgrade(), counts },
    }
}

/// The actor of a [`switch`].
pub struct SwitchActor<T: Payload> {
    input: Inlet<T>,
    primary: Outlet<T>,
    standby: Outlet<T>,
    when_back: WhenBack,
    /// Where the next item goes.
    lane: Lane,
    /// Aborted, and not attached again.
    is_lost: [bool; 2],
    /// What went to each on its current attachment.
    pushed: [u64; 2],
    /// What went out.
    total: u64,
    /// Accepted and not given on; covered by the inlet's window.
    waiting: VecDeque<T>,
    end: Option<bool>,
    counts: Arc<Counts>,
}

impl<T: Payload> Actor for SwitchActor<T> {
    type Context = Context<Self>;
}

wire!([T: Payload] SwitchActor<T> {
    inlet input: T => on_input;
    outlet primary: T => on_primary;
    outlet standby: T => on_standby;
    control SwitchTo => on_switch_to;
    settled => is_empty;
    name => switch_name;
});

impl<T: Payload> SwitchActor<T> {
    fn on_input(&mut self, event: InletEvent<T>, ctx: &mut Context<Self>) {
        match event {
            InletEvent::Item(item) => self.waiting.push_back(item),
            InletEvent::End { clean } => self.end = Some(clean),
            InletEvent::Parcel(_) | InletEvent::Attached | InletEvent::Detached | InletEvent::Aborted => return,
        }
        self.pump(ctx);
    }

    fn on_primary(&mut self, event: OutletEvent, ctx: &mut Context<Self>) {
        self.hear(Lane::Primary, event, ctx);
    }

    fn on_standby(&mut self, event: OutletEvent, ctx: &mut Context<Self>) {
        self.hear(Lane::Standby, event, ctx);
    }

    fn on_switch_to(&mut self, ask: Ask<SwitchTo>, ctx: &mut Context<Self>) -> Option<Ask<SwitchTo>> {
        let lane = ask.lane;
        ask.answer(self.switch_to(lane, ctx));
        None
    }

    fn switch_to(&mut self, lane: Lane, ctx: &mut Context<Self>) -> Option<u64> {
        if !self.outlet(lane).is_attached() {
            return None;
        }
        let at = self.total;
        self.go_to(lane);
        self.pump(ctx);
        Some(at)
    }

    fn go_to(&mut self, lane: Lane) {
        if self.lane != lane {
            self.lane = lane;
            self.counts.on_standby.store(lane == Lane::Standby, Relaxed);
            self.counts.switched.fetch_add(1, Relaxed);
        }
    }

    fn outlet(&mut self, lane: Lane) -> &mut Outlet<T> {
        match lane {
            Lane::Primary => &mut self.primary,
            Lane::Standby => &mut self.standby,
        }
    }

    fn hear(&mut self, lane: Lane, event: OutletEvent, ctx: &mut Context<Self>) {
        match event {
            OutletEvent::Aborted => {
                let pushed = std::mem::take(&mut self.pushed[lane as usize]);
                let lost = pushed.saturating_sub(self.outlet(lane).finished_when_aborted());
                self.counts.lost.fetch_add(lost, Relaxed);
                self.is_lost[lane as usize] = true;
                if self.is_lost == [true; 2] {
                    return self.input.abort(Reason::failed(NoLaneLeft));
                }
                if self.lane == lane {
                    self.go_to(lane.other());
                }
            }
            OutletEvent::Attached => {
                self.is_lost[lane as usize] = false;
                if lane == Lane::Primary && self.when_back == WhenBack::Return {
                    self.go_to(lane);
                }
            }
            // it has had all that was sent; what waits in the outlet is of its next attachment
            OutletEvent::Detached => self.pushed[lane as usize] = 0,
            OutletEvent::Credit => {}
        }
        self.pump(ctx);
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        let lane = self.lane;
        while self.outlet(lane).is_attached() && self.outlet(lane).is_ready() {
            let Some(item) = self.waiting.pop_front() else { break };
            let quantity = item.quantity();
            // before it is pushed: an abort that is noticed there takes it along
            self.pushed[lane as usize] += quantity;
            self.total += quantity;
            // it is ready, so it takes any item
            let _ = self.outlet(lane).push(item);
            self.input.release(quantity, 1);
        }
        let Some(clean) = self.end.filter(|_| self.waiting.is_empty()) else { return };
        let clean = clean && self.counts.lost.load(Relaxed) == 0;
        self.outlet(lane).end(clean);
        if self.outlet(lane).ended().is_none() {
            return;
        }
        // the other one after it: until then the current one may be lost with what waits in it
        let other = self.outlet(lane.other());
        other.end(clean);
        if other.ended().is_some() || !other.is_attached() {
            self.input.complete();
            ctx.stop();
        }
    }

    fn is_empty(&mut self) -> bool {
        self.waiting.is_empty() && !self.primary.has_work() && !self.standby.has_work()
    }

    fn switch_name(&self) -> Arc<str> {
        "switch".into()
    }
}

impl<T: Payload> Handler<SwitchTo> for SwitchActor<T> {
    type Result = ();

    fn handle(&mut self, msg: SwitchTo, ctx: &mut Context<Self>) {
        // nothing to do for one that is aborted
        let _ = drive::turn(self, ctx, |act, ctx| act.switch_to(msg.lane, ctx));
    }
}

impl<T: Payload> fmt::Debug for SwitchActor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwitchActor")
            .field("lane", &self.lane)
            .field("lost", &self.is_lost)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}
