//! A copy for each of two consumers; more by a tee behind a tee.

use crate::component::port::AnyPort;
use crate::component::{AddrExt, Inlet, InletEvent, InletRef, Outlet, OutletEvent, OutletRef};
use crate::proto::link::{Payload, Window};
use crate::wire;
use actix::{Actor, ActorContext, Context};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What becomes of an item that a branch has no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Branch {
    /// The producer, and with it the other branch, waits for this one. Also for one that is not attached.
    #[default]
    Wait,
    /// The branch goes without it. What it missed is counted, and its end is then unclean: its data is not complete (rule E1).
    Drop,
}

/// A tee's ports and counts, left and right.
#[derive(Debug)]
pub struct Tee<T: Payload> {
    /// Where items come in.
    pub inlet: InletRef<T>,
    /// The left consumer.
    pub left: OutletRef<T>,
    /// The right consumer.
    pub right: OutletRef<T>,
    /// What each branch went without.
    pub dropped: [Dropped; 2],
}

/// What a branch of a [`tee()`] went without; to be read from anywhere.
#[derive(Clone, Debug, Default)]
pub struct Dropped(Arc<[AtomicU64; 2]>);

impl Dropped {
    /// Bytes, or items where the payload is not bytes.
    pub fn quantity(&self) -> u64 {
        self.0[0].load(Relaxed)
    }

    /// Items, or pieces of bytes.
    pub fn items(&self) -> u64 {
        self.0[1].load(Relaxed)
    }

    fn count(&self, quantity: u64) {
        self.0[0].fetch_add(quantity, Relaxed);
        self.0[1].fetch_add(1, Relaxed);
    }
}

/// Starts a tee on the current arbiter. An abort of either branch takes the whole chain; what waits inside is at most one window.
///
/// ```
/// use bytes::Bytes;
/// use versile_io::component::block::{Branch, tee};
/// # actix::System::new().block_on(async {
/// let tee = tee::<Bytes>([Branch::Wait, Branch::Drop]);
/// assert_eq!(tee.dropped[1].quantity(), 0);
/// # });
/// ```
pub fn tee<T: Payload + Clone>(branches: [Branch; 2]) -> Tee<T> {
    let dropped = [Dropped::default(), Dropped::default()];
    let actor = TeeActor {
        input: Inlet::holding(Window::default()),
        left: Outlet::default(),
        right: Outlet::default(),
        branches,
        dropped: dropped.clone(),
        waiting: VecDeque::new(),
        end: None,
    };
    let addr = actor.start();
    Tee { inlet: addr.inlet(), left: addr.outlet_at::<0>(), right: addr.outlet_at::<1>(), dropped }
}

/// The actor of a [`tee()`].
pub struct TeeActor<T: Payload + Clone> {
    input: Inlet<T>,
    left: Outlet<T>,
    right: Outlet<T>,
    branches: [Branch; 2],
    dropped: [Dropped; 2],
    /// Accepted, and not given to both branches yet; covered by the inlet's window.
    waiting: VecDeque<T>,
    end: Option<bool>,
}

impl<T: Payload + Clone> Actor for TeeActor<T> {
    type Context = Context<Self>;
}

wire!([T: Payload + Clone] TeeActor<T> {
    inlet input: T => on_input;
    outlet left: T => on_output;
    outlet right: T => on_output;
    settled => is_empty;
    name => tee_name;
});

impl<T: Payload + Clone> TeeActor<T> {
    fn on_input(&mut self, event: InletEvent<T>, ctx: &mut Context<Self>) {
        match event {
            InletEvent::Item(item) => self.waiting.push_back(item),
            InletEvent::End { clean } => self.end = Some(clean),
            InletEvent::Attached | InletEvent::Detached | InletEvent::Aborted => return,
        }
        self.pump(ctx);
    }

    fn on_output(&mut self, _: OutletEvent, ctx: &mut Context<Self>) {
        self.pump(ctx);
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        let [left, right] = self.branches;
        while may_go(left, &self.left) && may_go(right, &self.right) {
            let Some(item) = self.waiting.pop_front() else { break };
            let quantity = item.quantity();
            give(left, &mut self.left, item.clone(), &self.dropped[0]);
            give(right, &mut self.right, item, &self.dropped[1]);
            self.input.release(quantity, 1);
        }
        let Some(clean) = self.end.filter(|_| self.waiting.is_empty()) else { return };
        self.left.end(clean && self.dropped[0].items() == 0);
        self.right.end(clean && self.dropped[1].items() == 0);
        if is_done(left, &self.left) && is_done(right, &self.right) {
            self.input.complete();
            ctx.stop();
        }
    }

    fn is_empty(&mut self) -> bool {
        self.waiting.is_empty() && !self.left.has_work() && !self.right.has_work()
    }

    fn tee_name(&self) -> Arc<str> {
        "tee".into()
    }
}

/// Whether the next item may go as far as this branch is concerned.
fn may_go<T: Payload>(branch: Branch, outlet: &Outlet<T>) -> bool {
    branch == Branch::Drop || outlet.is_ready()
}

fn give<T: Payload>(branch: Branch, outlet: &mut Outlet<T>, item: T, dropped: &Dropped) {
    let (credit, quantity) = (outlet.credit(), item.quantity());
    // whole or not at all: a branch that went without the half of an item could make nothing of the other
    let fits = outlet.is_ready() && credit.quantity >= quantity && credit.messages > 0;
    if branch == Branch::Wait || fits {
        // it is ready, so it takes any item
        let _ = outlet.push(item);
    } else {
        dropped.count(quantity);
    }
}

/// Its end was sent, or nobody is there who would have to be told.
fn is_done<T: Payload>(branch: Branch, outlet: &Outlet<T>) -> bool {
    outlet.ended().is_some() || (branch == Branch::Drop && !outlet.is_attached())
}

impl<T: Payload + Clone> fmt::Debug for TeeActor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TeeActor")
            .field("branches", &self.branches)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}
