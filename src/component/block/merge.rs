//! Two producers for one consumer.

use crate::component::{AddrExt, Inlet, InletEvent, InletRef, Outlet, OutletEvent, OutletRef};
use crate::proto::link::{Payload, Window};
use crate::wire;
use actix::{Actor, ActorContext, Context};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// Whose item goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By turns while both have some.
    Fair,
    /// The right one's only while the left one has none here.
    LeftFirst,
    /// The right one's only after the left one's end. It reads ahead by a window.
    LeftThenRight,
}

/// The ports of a merge or of a concatenation.
#[derive(Debug)]
pub struct Merge<T: Payload> {
    /// One producer.
    pub left: InletRef<T>,
    /// The other.
    pub right: InletRef<T>,
    /// The consumer.
    pub outlet: OutletRef<T>,
}

/// Starts a merge on the current arbiter. It ends when both producers have ended, and clean only if both are. At most a window of
/// each waits inside. Each producer's items keep their order; bytes of the two are mixed at the borders of pieces.
///
/// ```
/// use versile_io::component::block::{Order, merge};
/// # actix::System::new().block_on(async {
/// let ports = merge::<u32>(Order::Fair);
/// # let _ = ports; });
/// ```
pub fn merge<T: Payload>(order: Order) -> Merge<T> {
    let actor = MergeActor {
        left: Inlet::holding(Window::default()),
        right: Inlet::holding(Window::default()),
        output: Outlet::default().on_demand(),
        order,
        waiting: [VecDeque::new(), VecDeque::new()],
        ends: [None; 2],
        right_next: false,
    };
    let addr = actor.start();
    Merge { left: addr.inlet_at::<0>(), right: addr.inlet_at::<1>(), outlet: addr.outlet() }
}

const LEFT: usize = 0;
const RIGHT: usize = 1;

/// The actor of a [`merge()`].
pub struct MergeActor<T: Payload> {
    left: Inlet<T>,
    right: Inlet<T>,
    output: Outlet<T>,
    order: Order,
    /// Accepted and not given on; covered by the inlets' windows.
    waiting: [VecDeque<T>; 2],
    ends: [Option<bool>; 2],
    /// The left one had its turn.
    right_next: bool,
}

impl<T: Payload> Actor for MergeActor<T> {
    type Context = Context<Self>;
}

wire!([T: Payload] MergeActor<T> {
    inlet left: T => on_left;
    inlet right: T => on_right;
    outlet output: T => on_output;
    settled => is_empty;
    name => merge_name;
});

impl<T: Payload> MergeActor<T> {
    fn on_left(&mut self, event: InletEvent<T>, ctx: &mut Context<Self>) {
        self.take(LEFT, event, ctx);
    }

    fn on_right(&mut self, event: InletEvent<T>, ctx: &mut Context<Self>) {
        self.take(RIGHT, event, ctx);
    }

    fn on_output(&mut self, _: OutletEvent, ctx: &mut Context<Self>) {
        self.pump(ctx);
    }

    fn take(&mut self, side: usize, event: InletEvent<T>, ctx: &mut Context<Self>) {
        match event {
            InletEvent::Item(item) => self.waiting[side].push_back(item),
            InletEvent::End { clean } => self.ends[side] = Some(clean),
            InletEvent::Parcel(_) | InletEvent::Attached | InletEvent::Detached | InletEvent::Aborted => return,
        }
        self.pump(ctx);
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        while self.output.is_ready() {
            let side = self.next();
            let Some(item) = self.waiting[side].pop_front() else { break };
            self.right_next = side == LEFT;
            let quantity = item.quantity();
            // it is ready, so it takes any item
            let _ = self.output.push(item);
            match side {
                LEFT => self.left.release(quantity, 1),
                _ => self.right.release(quantity, 1),
            }
        }
        if let ([Some(left), Some(right)], true) = (self.ends, self.waiting.iter().all(VecDeque::is_empty)) {
            self.output.end(left && right);
        }
        if self.output.ended().is_some() {
            self.left.complete();
            self.right.complete();
            ctx.stop();
        }
    }

    /// Whose turn it is. There may be nothing.
    fn next(&self) -> usize {
        let [left, right] = self.waiting.each_ref().map(|waiting| !waiting.is_empty());
        let is_right = match self.order {
            Order::Fair => right && (self.right_next || !left),
            Order::LeftFirst => !left,
            Order::LeftThenRight => !left && self.ends[LEFT].is_some(),
        };
        if is_right { RIGHT } else { LEFT }
    }

    fn is_empty(&mut self) -> bool {
        self.waiting.iter().all(VecDeque::is_empty) && !self.output.has_work()
    }

    fn merge_name(&self) -> Arc<str> {
        if self.order == Order::LeftThenRight { "concat".into() } else { "merge".into() }
    }
}

impl<T: Payload> fmt::Debug for MergeActor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MergeActor")
            .field("order", &self.order)
            .field("waiting", &self.waiting.each_ref().map(VecDeque::len))
            .finish_non_exhaustive()
    }
}
