//! A copy for each of two consumers; more by a tee behind a tee.

use crate::component::port::AnyPort;
use crate::component::{AddrExt, Inlet, InletEvent, InletRef, Outlet, OutletEvent, OutletRef};
use crate::proto::link::{Count, Payload, Reason, Window};
use crate::wire;
use actix::{Actor, ActorContext, Context};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use thiserror::Error;

/// What a tee does for one of its branches when that is slow, away or lost. See the table in [`tee()`].
///
/// ```
/// use versile_io::component::block::Branch;
/// use versile_io::proto::link::Window;
/// let log = Branch::detach(Window::of(16 << 20));
/// assert_eq!(log, log.isolated(), "by default");
/// assert_ne!(Branch::wait(), Branch::wait().isolated());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    policy: Policy,
    isolated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Wait,
    Drop,
    Detach { behind: Window },
}

impl Branch {
    /// The producer, and with it the other branch, waits for this one, also while it is not attached. Its failure takes the tee along.
    pub const fn wait() -> Self {
        Self { policy: Policy::Wait, isolated: false }
    }

    /// The branch goes without an item that it has no credit for, or while it is not attached. What it missed is counted, and its end
    /// is then unclean: its data is not complete (rule E1). Its failure is its own.
    pub const fn drop() -> Self {
        Self { policy: Policy::Drop, isolated: true }
    }

    /// The branch may fall behind by this much, which waits for it in the tee; beyond it, what waits is dropped and the branch's data
    /// ends, unclean, for good. While it is not attached it goes without. Its failure is its own.
    pub const fn detach(behind: Window) -> Self {
        Self { policy: Policy::Detach { behind }, isolated: true }
    }

    /// An abort of the branch's link is the affair of the branch: the tee goes on without it.
    #[must_use]
    pub const fn isolated(mut self) -> Self {
        self.isolated = true;
        self
    }

    /// An abort of the branch's link takes the tee along, and all that depends on it.
    #[must_use]
    pub const fn dependent(mut self) -> Self {
        self.isolated = false;
        self
    }
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
pub struct Dropped(Arc<Missed>);

#[derive(Debug, Default)]
struct Missed {
    quantity: AtomicU64,
    items: AtomicU64,
    detached: AtomicBool,
}

impl Dropped {
    /// Bytes, or items where the payload is not bytes.
    pub fn quantity(&self) -> u64 {
        self.0.quantity.load(Relaxed)
    }

    /// Items, or pieces of bytes.
    pub fn items(&self) -> u64 {
        self.0.items.load(Relaxed)
    }

    /// True once a [`Branch::detach`] has fallen too far behind.
    pub fn is_detached(&self) -> bool {
        self.0.detached.load(Relaxed)
    }

    pub(super) fn count(&self, quantity: u64) {
        self.0.quantity.fetch_add(quantity, Relaxed);
        self.0.items.fetch_add(1, Relaxed);
    }
}

/// Neither branch is left to have the data.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("both branches of the tee are lost")]
pub struct NoBranchLeft;

/// Starts a tee on the current arbiter. What waits inside is at most one window, and what a [`Branch::detach`] is behind.
///
/// | policy | a branch that is slow | that is not attached | whose link is aborted |
/// |---|---|---|---|
/// | wait | holds up the producer and the other branch | the same | takes the tee along |
/// | drop | goes without the item | goes without | the tee goes on |
/// | detach | may fall behind by a bound, then its data ends, unclean | goes without | the tee goes on |
///
/// The last column is the default, and may be chosen for each branch ([`Branch::isolated`], [`Branch::dependent`]). A branch that is
/// lost goes without what passes; it can be attached again, but for one whose data has ended. When both are lost nobody is left to
/// have the data, and the tee is aborted.
///
/// ```
/// use bytes::Bytes;
/// use versile_io::component::block::{Branch, tee};
/// # actix::System::new().block_on(async {
/// let tee = tee::<Bytes>([Branch::wait(), Branch::drop()]);
/// assert_eq!(tee.dropped[1].quantity(), 0);
/// # });
/// ```
pub fn tee<T: Payload + Clone>(branches: [Branch; 2]) -> Tee<T> {
    let arms = branches.map(|Branch { policy, isolated }| {
        let outlet = if isolated { Outlet::default().isolated() } else { Outlet::default() };
        let dropped = Dropped::default();
        (outlet, Arm { policy, dropped, lost: false, behind: VecDeque::new(), held: Count::ZERO })
    });
    let dropped = [arms[0].1.dropped.clone(), arms[1].1.dropped.clone()];
    let [(left, left_arm), (right, right_arm)] = arms;
    let actor = TeeActor {
        input: Inlet::holding(Window::default()),
        left,
        right,
        arms: [left_arm, right_arm],
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
    arms: [Arm<T>; 2],
    /// Accepted, and not given to both branches yet; covered by the inlet's window.
    waiting: VecDeque<T>,
    end: Option<bool>,
}

impl<T: Payload + Clone> Actor for TeeActor<T> {
    type Context = Context<Self>;
}

wire!([T: Payload + Clone] TeeActor<T> {
    inlet input: T => on_input;
    outlet left: T => on_left;
    outlet right: T => on_right;
    settled => is_empty;
    name => tee_name;
});

impl<T: Payload + Clone> TeeActor<T> {
    fn on_input(&mut self, event: InletEvent<T>, ctx: &mut Context<Self>) {
        match event {
            InletEvent::Item(item) => self.waiting.push_back(item),
            InletEvent::End { clean } => self.end = Some(clean),
            InletEvent::Parcel(_) | InletEvent::Attached | InletEvent::Detached | InletEvent::Aborted => return,
        }
        self.pump(ctx);
    }

    fn on_left(&mut self, event: OutletEvent, ctx: &mut Context<Self>) {
        self.arms[0].hear(event);
        self.pump(ctx);
    }

    fn on_right(&mut self, event: OutletEvent, ctx: &mut Context<Self>) {
        self.arms[1].hear(event);
        self.pump(ctx);
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        let Self { arms: [left_arm, right_arm], left, right, .. } = self;
        left_arm.feed(left);
        right_arm.feed(right);
        while left_arm.may_go(left) && right_arm.may_go(right) {
            let Some(item) = self.waiting.pop_front() else { break };
            let quantity = item.quantity();
            left_arm.give(left, item.clone());
            right_arm.give(right, item);
            self.input.release(quantity, 1);
        }
        if left_arm.lost && right_arm.lost {
            return self.input.abort(Reason::failed(NoBranchLeft));
        }
        let Some(clean) = self.end.filter(|_| self.waiting.is_empty()) else { return };
        left_arm.end(left, clean);
        right_arm.end(right, clean);
        if left_arm.is_done(left) && right_arm.is_done(right) {
            self.input.complete();
            ctx.stop();
        }
    }

    fn is_empty(&mut self) -> bool {
        let waits = !self.waiting.is_empty() || self.arms.iter().any(|arm| !arm.behind.is_empty());
        !waits && !self.left.has_work() && !self.right.has_work()
    }

    fn tee_name(&self) -> Arc<str> {
        "tee".into()
    }
}

/// One branch, but for its port.
struct Arm<T> {
    policy: Policy,
    dropped: Dropped,
    /// Aborted and not attached again, or fallen too far behind.
    lost: bool,
    /// What a branch that may fall behind has not had.
    behind: VecDeque<T>,
    held: Count,
}

impl<T: Payload> Arm<T> {
    fn hear(&mut self, event: OutletEvent) {
        match event {
            OutletEvent::Attached => self.lost = false,
            OutletEvent::Aborted => {
                self.lost = true;
                self.miss_what_waits();
            }
            OutletEvent::Credit | OutletEvent::Detached => {}
        }
    }

    /// Whether the next item may go as far as this branch is concerned.
    fn may_go(&self, outlet: &Outlet<T>) -> bool {
        self.lost || self.policy != Policy::Wait || outlet.is_ready()
    }

    fn give(&mut self, outlet: &mut Outlet<T>, item: T) {
        let quantity = item.quantity();
        match self.policy {
            _ if self.lost => self.dropped.count(quantity),
            // it is ready, so it takes any item
            Policy::Wait => drop(outlet.push(item)),
            Policy::Drop => {
                let credit = outlet.credit();
                // whole or not at all: a branch that went without the half of an item could make nothing of the other
                match outlet.is_ready() && credit.quantity >= quantity && credit.messages > 0 {
                    true => drop(outlet.push(item)),
                    false => self.dropped.count(quantity),
                }
            }
            Policy::Detach { .. } if !outlet.is_attached() => self.dropped.count(quantity),
            Policy::Detach { behind } => {
                self.behind.push_back(item);
                self.held.add(quantity);
                self.feed(outlet);
                if self.held.quantity > behind.quantity || self.held.messages > behind.messages {
                    tracing::debug!(held = self.held.quantity, "a branch of a tee has fallen too far behind");
                    self.lost = true;
                    self.dropped.0.detached.store(true, Relaxed);
                    self.miss_what_waits();
                    // nothing waits in the outlet, so this needs no credit
                    outlet.end(false);
                    outlet.keep(false);
                }
            }
        }
    }

    /// Gives what waits for this branch, as far as its credit goes: nothing must wait in the outlet, or an end would wait behind it.
    fn feed(&mut self, outlet: &mut Outlet<T>) {
        while let Some(first) = self.behind.front_mut() {
            let (credit, quantity) = (outlet.credit(), first.quantity());
            if credit.is_exhausted() {
                break;
            }
            let fits = quantity <= credit.quantity;
            let part = if fits { self.behind.pop_front() } else { first.split_to(credit.quantity) };
            let Some(part) = part else { break };
            let excess = self.held.sub(part.quantity(), u64::from(fits));
            debug_assert!(excess.is_zero(), "more was given than held: {excess:?}");
            // it fits the credit
            drop(outlet.push(part));
        }
        if matches!(self.policy, Policy::Detach { .. }) {
            // what waits is delivered, whoever else still holds the tee
            outlet.keep(!self.behind.is_empty());
        }
    }

    fn miss_what_waits(&mut self) {
        self.behind.drain(..).for_each(|item| self.dropped.count(item.quantity()));
        self.held = Count::ZERO;
    }

    fn end(&self, outlet: &mut Outlet<T>, clean: bool) {
        if self.behind.is_empty() {
            outlet.end(clean && self.dropped.items() == 0);
        }
    }

    /// Its end was sent, or nobody is there who would have to be told.
    fn is_done(&self, outlet: &Outlet<T>) -> bool {
        let may_be_away = self.lost || self.policy != Policy::Wait;
        outlet.ended().is_some() || (may_be_away && !outlet.is_attached())
    }
}

impl<T: Payload + Clone> fmt::Debug for TeeActor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TeeActor")
            .field("branches", &self.arms.each_ref().map(|arm| (arm.policy, arm.lost)))
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}
