//! The consuming port: what it accepts, when it grants, and what ends it.
//!
//! What the port has accepted and the component has not finished with is *held*. Left to itself the port keeps
//! `held + credit` at its window: the component [`release`](Inlet::release)s what it has finished with, and the port
//! grants when half of the window is used, and whenever nothing is held any more (rule C1). A component that wants to
//! decide by itself makes the port [`manual`](Inlet::manual) and calls [`grant`](Inlet::grant).
//!
//! Under a memory budget (`proto::budget`) either grants no more than its [allotment](Inlet::set_allotment), which the actor
//! layer asks the budget for whenever a grant is due.

use super::cause::{Cause, Origin, Reason};
use super::cell::{Forms, LinkCell, LinkState};
use super::error::{AttachError, Displayed, Side, Violation};
use super::id::LinkId;
use super::limit::{Count, Credit, Limit, Window};
use super::message::{Terminal, Up};
use super::parcel::Parcel;
use super::payload::Payload;
use std::marker::PhantomData;
use std::sync::Arc;

/// How far an inlet has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InletPhase {
    /// Not attached.
    Idle,
    /// Attached; items may come.
    Open,
    /// The end was received, and the component has not finished yet (rule E2: an end delivers all that was accepted).
    Draining,
    /// The end was received and nothing is held.
    Ended,
    /// Broken off.
    Aborted,
}

/// What the owner must do next.
#[derive(Debug)]
#[must_use]
pub enum InletEffect {
    /// Send this to the producer.
    Send(Up),
    /// The attachment is over at this end. Comes once (rule P4).
    Over(Terminal),
}

/// What became of a message from the producer.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Received<T> {
    /// Deliver this item to the component.
    Item(T),
    /// Deliver this parcel to the component, which has declared to take such.
    Parcel(Parcel),
    /// Tell the component that no more items come.
    End {
        /// True if the data is complete (rule E1).
        clean: bool,
    },
    /// Nothing to deliver: of another attachment (rule P5), or the link is aborted (rule A2).
    Nothing,
}

/// Who decides about grants.
#[derive(Clone, Copy, Debug)]
enum Policy {
    /// Keep `held + credit` at this window.
    Window(Window),
    /// What the owner granted last.
    Manual(Limit),
}

/// What a memory budget leaves to a port.
#[derive(Clone, Copy, Debug)]
struct Ration {
    /// What may be outstanding.
    allotment: u64,
    /// Something has changed since the last grant, so that asking the budget again may be of use.
    fresh: bool,
    /// The largest item so far: quantity beyond what the message limit can carry is not asked for.
    largest: u64,
}

/// The consuming port of a component.
///
/// # Invariants
///
/// * P1, C2: `accepted` keeps `limit`.
/// * P2: `limit` is 0 while not attached.
/// * `held` is what was accepted and not released, over all attachments.
#[derive(Debug)]
pub struct Inlet<T> {
    phase: InletPhase,
    cell: Option<Arc<LinkCell>>,
    policy: Policy,
    forms: Forms,
    limit: Limit,
    accepted: Count,
    held: Count,
    /// The first grant of this attachment was sent; the producer sends nothing, not even an end, before it.
    greeted: bool,
    clean: bool,
    /// The end is over only when the owner says so, not when nothing is held.
    defer_end: bool,
    wake: Wake,
    /// Boxed, since it comes once in a life.
    over: Option<Box<Terminal>>,
    stale: u64,
    /// Under a memory budget only.
    ration: Option<Box<Ration>>,
    payload: PhantomData<fn(T)>,
}

/// What the other side has to be told after the cell was set here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    No,
    Abort,
    Suspend,
    Finished,
}

impl<T: Payload> Default for Inlet<T> {
    fn default() -> Self {
        Self::new(Window::default())
    }
}

impl<T: Payload> Inlet<T> {
    /// An inlet that keeps this window by itself.
    pub fn new(window: Window) -> Self {
        Self::with(Policy::Window(window))
    }

    /// An inlet that grants only what its owner [`grant`](Self::grant)s.
    pub fn manual() -> Self {
        Self::with(Policy::Manual(Limit::ZERO))
    }

    fn with(policy: Policy) -> Self {
        Self {
            phase: InletPhase::Idle,
            cell: None,
            policy,
            forms: Forms::default(),
            limit: Limit::ZERO,
            accepted: Count::ZERO,
            held: Count::ZERO,
            greeted: false,
            clean: false,
            defer_end: false,
            wake: Wake::No,
            over: None,
            stale: 0,
            ration: None,
            payload: PhantomData,
        }
    }

    // ---- questions

    /// How far the port has come.
    pub fn phase(&self) -> InletPhase {
        self.phase
    }

    /// The current or last attachment's cell.
    pub fn cell(&self) -> Option<&Arc<LinkCell>> {
        self.cell.as_ref()
    }

    /// What was accepted on the current attachment.
    pub fn accepted(&self) -> Count {
        self.accepted
    }

    /// What was accepted and not released, over all attachments.
    pub fn held(&self) -> Count {
        self.held
    }

    /// The limit last granted.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// How many messages came for an earlier attachment and were dropped (rule P5).
    pub fn stale(&self) -> u64 {
        self.stale
    }

    /// True if the end came and nothing is held, or the port was aborted.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, InletPhase::Ended | InletPhase::Aborted)
    }

    /// True if the owner has something left to do for this port: it holds items, or has not finished with the end.
    pub fn has_work(&self) -> bool {
        self.phase == InletPhase::Draining || (self.phase != InletPhase::Aborted && !self.held.is_zero())
    }

    /// What was granted and not finished with: credit that is unused, items on their way, and what is held.
    pub fn outstanding(&self) -> u64 {
        let unused = match self.phase {
            InletPhase::Open => self.limit.credit(self.accepted).quantity,
            _ => 0,
        };
        unused.saturating_add(self.held.quantity)
    }

    /// What would be outstanding without a memory budget.
    pub fn wish(&self) -> u64 {
        match (self.phase, self.policy) {
            (InletPhase::Open, Policy::Window(window)) => match self.ration.as_ref().map_or(0, |ration| ration.largest)
            {
                0 => window.quantity,
                largest => window.quantity.min(window.messages.saturating_mul(largest)),
            },
            (InletPhase::Open, Policy::Manual(allowed)) => allowed.credit(self.accepted).quantity,
            _ => 0,
        }
    }

    fn is_current(&self, link: LinkId) -> bool {
        self.cell.as_ref().is_some_and(|cell| cell.id() == link)
    }

    // ---- attachment

    /// Second step of an attachment, after the outlet's reservation: joins the inlet. The first grant follows as an
    /// effect, so this is bound by the drain rule.
    pub fn attach(&mut self, cell: Arc<LinkCell>) -> Result<(), AttachError> {
        match self.phase {
            InletPhase::Idle => {
                cell.set_forms(self.forms);
                cell.store_inlet_state(LinkState::Open);
                self.cell = Some(cell);
                self.phase = InletPhase::Open;
                // what is left from an earlier attachment counts here, so observers see it here
                self.store_held();
                self.check();
                Ok(())
            }
            InletPhase::Open => Err(AttachError::Attached),
            InletPhase::Draining | InletPhase::Ended => Err(AttachError::Ended),
            InletPhase::Aborted => Err(AttachError::Aborted),
        }
    }

    /// Second step of a detach: the producer stopped at `at`, and everything up to there has come, since messages keep
    /// their order. Verifies that. Bound by the drain rule.
    ///
    /// `None` if `link` is not attached here, or has been broken off; that follows as an effect.
    ///
    /// # Errors
    ///
    /// [`Violation::PositionMismatch`]; the link is then aborted with it.
    pub fn close_at(&mut self, link: LinkId, at: Count) -> Option<Result<(), Violation>> {
        if self.phase != InletPhase::Open || !self.is_current(link) {
            return None;
        }
        // A2: as in the outlet's detach
        self.notice_cause();
        if self.phase != InletPhase::Open {
            return None;
        }
        // P6: nothing that the producer sent is missing
        if self.accepted != at {
            let violation = Violation::PositionMismatch { expected: Displayed(at), found: Displayed(self.accepted) };
            self.violated(violation.clone());
            return Some(Err(violation));
        }
        self.part(LinkState::Detached);
        self.over = Some(Box::new(Terminal::Detached { at }));
        self.check();
        Some(Ok(()))
    }

    fn part(&mut self, state: LinkState) {
        if let Some(cell) = &self.cell {
            cell.store_inlet_state(state);
        }
        // what the component still holds counts against its next attachment: it is in `held`
        self.phase = InletPhase::Idle;
        self.reset();
        self.cell = None;
    }

    /// Takes the port back from an attachment that was aborted, as good as new. What the owner has of that attachment is its
    /// own: it is not released. For an owner that outlives the loss of a link. True if the port was aborted; its effects must
    /// have been polled.
    pub fn renew(&mut self) -> bool {
        if self.phase != InletPhase::Aborted {
            return false;
        }
        debug_assert!(matches!(self.wake, Wake::No) && self.over.is_none(), "the drain rule");
        self.phase = InletPhase::Idle;
        self.cell = None;
        self.clean = false;
        self.check();
        true
    }

    // ---- what the owner wants

    /// Declares that bytes which still lie in the kernel are taken too. Counts from the next attachment on.
    pub fn set_forms(&mut self, forms: Forms) {
        self.forms = forms;
    }

    /// Sets the window; a smaller one takes effect as items are released, since limits never fall (rule P3). Turns a
    /// manual port into one that grants by itself. Bound by the drain rule.
    pub fn set_window(&mut self, window: Window) {
        self.policy = Policy::Window(window);
        self.freshen();
    }

    /// What may be outstanding from now on, by a memory budget; `None` without one. Less than is outstanding takes nothing
    /// back (rule P3). Bound by the drain rule.
    pub fn set_allotment(&mut self, allotment: Option<u64>) {
        match (allotment, &mut self.ration) {
            (Some(allotment), Some(ration)) => ration.allotment = allotment,
            (Some(allotment), none) => *none = Some(Box::new(Ration { allotment, fresh: true, largest: 0 })),
            (None, ration) => *ration = None,
        }
    }

    /// The memory budget may have more for the port than it had when it was last asked.
    pub fn freshen(&mut self) {
        if let Some(ration) = &mut self.ration {
            ration.fresh = true;
        }
    }

    /// The component has finished with `quantity` units in `messages` items. Bound by the drain rule.
    ///
    /// After an abort this does nothing: the port has let go of all it held, and the component may not know yet.
    pub fn release(&mut self, quantity: u64, messages: u64) {
        if self.phase == InletPhase::Aborted {
            return;
        }
        let excess = self.held.sub(quantity, messages);
        self.freshen();
        if let Some(cell) = &self.cell {
            cell.add_finished(quantity - excess.quantity);
        }
        debug_assert!(excess.is_zero(), "released {excess:?} more than was held");
        // the last unit takes the last message along: a component that joins items need not count them
        if self.held.quantity == 0 {
            self.held.messages = 0;
        }
        self.store_held();
        if self.phase == InletPhase::Draining && self.held.is_zero() && !self.defer_end {
            self.finish();
        }
    }

    /// From now on the end is over only when the owner [`complete`](Self::complete)s it, and can be aborted until then.
    pub fn defer_end(&mut self) {
        self.defer_end = true;
    }

    /// The component has finished with everything, the end included. Nothing before the end came. Bound by the drain
    /// rule.
    pub fn complete(&mut self) {
        if self.phase == InletPhase::Draining {
            self.release_all();
            // without a deferred end the release has finished it
            if self.phase == InletPhase::Draining {
                self.finish();
            }
        }
    }

    /// The component has finished with everything that it holds. Bound by the drain rule.
    pub fn release_all(&mut self) {
        self.release(self.held.quantity, self.held.messages);
    }

    /// Allows `credit` beyond what was accepted so far, if that is more than was allowed before (rule P3). Only for a
    /// [`manual`](Self::manual) port; ignored by one that keeps a window. Bound by the drain rule.
    pub fn grant(&mut self, credit: Credit) {
        if let Policy::Manual(allowed) = &mut self.policy {
            allowed.raise(Limit::beyond(self.accepted, credit));
            self.freshen();
        }
    }

    /// Breaks the link off from this side: sets the cell if nobody has. Also while [`InletPhase::Draining`]: what is
    /// held is then lost. Nothing once all was finished. Bound by the drain rule.
    pub fn abort(&mut self, cause: Arc<Cause>) {
        match self.phase {
            InletPhase::Ended | InletPhase::Aborted => {}
            InletPhase::Idle => self.break_off(cause),
            InletPhase::Open | InletPhase::Draining => {
                let set = self.cell.as_ref().map(|cell| {
                    if cell.set_cause(cause.clone()) {
                        self.wake = Wake::Abort;
                    }
                    cell.cause().cloned()
                });
                self.break_off(set.flatten().unwrap_or(cause));
            }
        }
    }

    /// The owner has failed by its own fault: suspends the link if this end is armed, and aborts it otherwise (rule S1). Bound
    /// by the drain rule.
    pub fn fail(&mut self, cause: Arc<Cause>) {
        let suspends = self.cell.as_ref().is_some_and(|cell| {
            // without a producer that waits for it there is nobody who could go on
            let fed = self.phase == InletPhase::Open || self.phase == InletPhase::Draining && cell.lingers();
            fed && cell.suspend(Side::Consumer, &cause)
        });
        if !suspends {
            return self.abort(cause);
        }
        let at = self.accepted;
        self.wake = Wake::Suspend;
        self.leave(LinkState::Suspended);
        self.over = Some(Box::new(Terminal::Suspended { at, cause }));
        self.check();
    }

    // ---- what the producer says

    /// An item. Bound by the drain rule.
    pub fn handle_consume(&mut self, link: LinkId, item: T) -> Received<T> {
        match self.admits(link) && self.accept(item.quantity()) {
            true => Received::Item(item),
            false => Received::Nothing,
        }
    }

    /// A parcel, under the same rules as an item. Bound by the drain rule.
    pub fn handle_parcel(&mut self, link: LinkId, parcel: Parcel) -> Received<T> {
        if !self.admits(link) {
            return Received::Nothing;
        }
        // what was declared at attachment counts, whatever the owner has declared since
        if !self.cell.as_ref().is_some_and(|cell| cell.forms().kernel) {
            self.violated(Violation::UndeclaredForm { quantity: parcel.quantity });
            return Received::Nothing;
        }
        match self.accept(parcel.quantity) {
            true => Received::Parcel(parcel),
            false => Received::Nothing,
        }
    }

    /// Counts what came, if the limit covers it (rule P1).
    fn accept(&mut self, quantity: u64) -> bool {
        let mut reached = self.accepted;
        reached.add(quantity);
        if !self.limit.covers(reached) {
            // P1: nothing of the excess is delivered
            self.violated(Violation::LimitExceeded { reached: Displayed(reached), limit: self.limit });
            return false;
        }
        self.accepted = reached;
        if let Some(ration) = &mut self.ration {
            ration.fresh = true;
            ration.largest = ration.largest.max(quantity);
        }
        if matches!(self.policy, Policy::Window(_)) {
            self.held.add(quantity);
        }
        if let Some(cell) = &self.cell {
            cell.store_accepted(self.accepted, self.held.quantity);
        }
        self.check();
        true
    }

    /// The end of the data. Bound by the drain rule.
    pub fn handle_end(&mut self, link: LinkId, clean: bool) -> Received<T> {
        if !self.admits(link) {
            return Received::Nothing;
        }
        self.clean = clean;
        self.phase = InletPhase::Draining;
        if self.held.is_zero() && !self.defer_end {
            self.finish();
        }
        Received::End { clean }
    }

    /// The producer broke the link off; the cause is in the cell. `false` if this is of another attachment, or comes
    /// after the end. Bound by the drain rule.
    pub fn handle_abort(&mut self, link: LinkId) -> bool {
        if !self.is_current(link) {
            self.count_stale();
            return false;
        }
        if self.phase != InletPhase::Open {
            return false;
        }
        self.notice_cause();
        true
    }

    /// The producer failed and will be rebuilt: everything up to `at` has come, which is verified; then parts from the link,
    /// keeping what is held (rule S1). True if it has; false for another attachment's message, or if the link is aborted.
    /// Bound by the drain rule.
    pub fn handle_suspend(&mut self, link: LinkId, at: Count) -> bool {
        if !self.admits(link) {
            return false;
        }
        let Some(cell) = self.cell.clone() else { return false };
        let Some(suspension) = cell.suspension().filter(|suspension| suspension.side == Side::Producer) else {
            return false;
        };
        // P6: as in a detach
        if self.accepted != at {
            self.violated(Violation::PositionMismatch { expected: Displayed(at), found: Displayed(self.accepted) });
            return false;
        }
        self.part(LinkState::Suspended);
        self.over = Some(Box::new(Terminal::Suspended { at, cause: suspension.cause.clone() }));
        self.check();
        true
    }

    /// P5 and A2: false for a message of another attachment or of one that is aborted; P4: nothing after the end.
    fn admits(&mut self, link: LinkId) -> bool {
        if !self.is_current(link) {
            self.count_stale();
            return false;
        }
        match self.phase {
            InletPhase::Open => {
                self.notice_cause();
                self.phase == InletPhase::Open
            }
            InletPhase::Draining => {
                self.violated(Violation::AfterEnd { side: Side::Producer });
                false
            }
            InletPhase::Idle | InletPhase::Ended | InletPhase::Aborted => false,
        }
    }

    fn count_stale(&mut self) {
        self.stale += 1;
        if let Some(cell) = &self.cell {
            cell.count_stale();
        }
    }

    // ---- what follows

    /// True if [`poll_effect`](Self::poll_effect) would grant the producer something. An actor asks this in its
    /// handler and grants at the end of its turn (rule F1).
    pub fn is_grant_due(&self) -> bool {
        if self.phase != InletPhase::Open {
            return false;
        }
        if !self.greeted {
            return true;
        }
        if self.ration.as_ref().is_some_and(|ration| !ration.fresh) {
            return false;
        }
        // what is wished, not what is allotted: whoever sends the grant asks the budget for it
        let target = self.target(u64::MAX);
        let higher = target.quantity > self.limit.quantity || target.messages > self.limit.messages;
        match self.policy {
            Policy::Manual(_) => higher,
            Policy::Window(window) => {
                let left = self.limit.credit(self.accepted);
                let quantity =
                    self.ration.as_ref().map_or(window.quantity, |ration| ration.allotment.min(window.quantity));
                // C1: half of either is used, or the consumer has become empty
                let half = left.quantity <= quantity / 2 || left.messages <= window.messages / 2;
                higher && (half || self.held.is_zero())
            }
        }
    }

    /// What the owner must do next, or `None` when there is nothing (the drain rule).
    pub fn poll_effect(&mut self) -> Option<InletEffect> {
        self.poll_urgent().or_else(|| self.poll_grant())
    }

    /// True if [`poll_urgent`](Self::poll_urgent) would give something.
    pub fn is_urgent(&self) -> bool {
        let broken = self.phase == InletPhase::Open && self.cell.as_ref().is_some_and(|cell| cell.cause().is_some());
        broken || self.over.is_some() || !matches!(self.wake, Wake::No)
    }

    /// The part of [`poll_effect`](Self::poll_effect) that cannot wait for the end of an actor's turn: aborts and ends.
    pub fn poll_urgent(&mut self) -> Option<InletEffect> {
        if self.phase == InletPhase::Open {
            self.notice_cause();
        }
        if let Some(link) = self.cell.as_ref().map(|cell| cell.id()) {
            match std::mem::replace(&mut self.wake, Wake::No) {
                Wake::No => {}
                Wake::Abort => return Some(InletEffect::Send(Up::Abort { link })),
                Wake::Suspend => return Some(InletEffect::Send(Up::Suspend { link })),
                Wake::Finished => return Some(InletEffect::Send(Up::Finished { link })),
            }
        }
        self.over.take().map(|over| InletEffect::Over(*over))
    }

    /// The part of [`poll_effect`](Self::poll_effect) that an actor leaves to the end of its turn: grants (rule F1). Raises the
    /// limit in the cell; the message is for a producer that wants one (rule C1).
    pub fn poll_grant(&mut self) -> Option<InletEffect> {
        if !self.is_grant_due() {
            return None;
        }
        let first = !std::mem::replace(&mut self.greeted, true);
        let target = match &mut self.ration {
            None => self.target(u64::MAX),
            Some(ration) => {
                ration.fresh = false;
                let allotment = ration.allotment;
                self.target(allotment)
            }
        };
        // by a budget that has nothing to give it may be as it was, and then there is nothing to say
        if !self.limit.raise(target) && !first {
            return None;
        }
        let cell = self.cell.as_ref()?;
        // P2: the first is told, whoever the producer is
        let told = cell.raise_limit(self.limit) || first;
        told.then(|| InletEffect::Send(Up::CanProduce { link: cell.id(), limit: self.limit }))
    }

    /// The limit that should stand now, with at most `allotment` outstanding.
    fn target(&self, allotment: u64) -> Limit {
        match self.policy {
            Policy::Manual(allowed) => Limit {
                quantity: allowed.quantity.min(self.accepted.quantity.saturating_add(allotment)),
                messages: allowed.messages,
            },
            Policy::Window(window) => Limit::beyond(
                self.accepted,
                Credit {
                    quantity: window.quantity.min(allotment).saturating_sub(self.held.quantity),
                    messages: window.messages.saturating_sub(self.held.messages),
                },
            ),
        }
    }

    fn notice_cause(&mut self) {
        if let Some(cause) = self.cell.as_ref().and_then(|cell| cell.cause().cloned()) {
            self.break_off(cause);
        }
    }

    fn violated(&mut self, violation: Violation) {
        let origin = match &self.cell {
            Some(cell) => Origin::default().on(cell.id()),
            None => Origin::default(),
        };
        self.abort(Cause::new(Reason::Violation(violation), origin));
    }

    fn finish(&mut self) {
        self.phase = InletPhase::Ended;
        if let Some(cell) = &self.cell {
            cell.store_inlet_state(LinkState::ended(self.clean));
            if cell.lingers() {
                self.wake = Wake::Finished;
            }
        }
        self.over = Some(Box::new(Terminal::Ended { clean: self.clean }));
    }

    /// Over for good, without an end; what was held is lost.
    fn leave(&mut self, state: LinkState) {
        self.phase = InletPhase::Aborted;
        self.reset();
        self.held = Count::ZERO;
        self.store_held();
        if let Some(cell) = &self.cell {
            cell.store_inlet_state(state);
        }
    }

    fn break_off(&mut self, cause: Arc<Cause>) {
        self.leave(LinkState::Aborted);
        self.over = Some(Box::new(Terminal::Aborted(cause)));
        self.check();
    }

    fn reset(&mut self) {
        self.limit = Limit::ZERO;
        self.accepted = Count::ZERO;
        self.greeted = false;
        if let Policy::Manual(allowed) = &mut self.policy {
            *allowed = Limit::ZERO;
        }
    }

    fn store_held(&self) {
        if let Some(cell) = &self.cell {
            cell.store_held(self.held.quantity);
        }
    }

    /// Asserts the invariants by their numbers; called after every change in debug builds and by simulations.
    pub fn check(&self) {
        debug_assert!(
            self.limit.covers(self.accepted),
            "P1: accepted {:?} beyond limit {:?}",
            self.accepted,
            self.limit
        );
        debug_assert!(
            !matches!(self.phase, InletPhase::Idle | InletPhase::Aborted) || self.limit == Limit::ZERO,
            "P2: limit {:?} in phase {:?}",
            self.limit,
            self.phase
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const WINDOW: Window = Window { quantity: 8, messages: 4 };

    fn open(mut inlet: Inlet<Bytes>) -> (Inlet<Bytes>, LinkId, String) {
        let (link, effects) = attach(&mut inlet);
        (inlet, link, effects)
    }

    fn attach(inlet: &mut Inlet<Bytes>) -> (LinkId, String) {
        let cell = LinkCell::new();
        inlet.attach(cell.clone()).expect("free");
        (cell.id(), drain(inlet))
    }

    /// Hands an item over, and says what was delivered and what followed.
    fn consume(inlet: &mut Inlet<Bytes>, link: LinkId, item: &'static str) -> (bool, String) {
        let received = inlet.handle_consume(link, Bytes::from_static(item.as_bytes()));
        (matches!(received, Received::Item(got) if got == item), drain(inlet))
    }

    #[test]
    fn open_parcel_counts_as_an_item_for_an_inlet_that_declared_it() {
        let mut inlet = Inlet::new(WINDOW);
        inlet.set_forms(Forms { kernel: true });
        let (mut inlet, link, _) = open(inlet);
        let parcel = Parcel { quantity: 5, carrier: Arc::new(()) };
        assert_eq!(inlet.handle_parcel(link, parcel.clone()), Received::Parcel(parcel.clone()));
        assert_eq!(inlet.held(), Count { quantity: 5, messages: 1 });
        assert_eq!(release(&mut inlet, 5, 1), "13/5", "C1: nothing is held any more");
        let excess = Parcel { quantity: 9, ..parcel };
        assert_eq!(inlet.handle_parcel(link, excess), Received::Nothing);
        assert!(drain(&mut inlet).contains("P1"), "the excess is not delivered");
    }

    #[test]
    fn open_parcel_that_was_not_declared_breaks_the_link() {
        let (mut inlet, link, _) = open(Inlet::new(WINDOW));
        // declared too late to count for this attachment
        inlet.set_forms(Forms { kernel: true });
        assert_eq!(inlet.handle_parcel(link, Parcel { quantity: 1, carrier: Arc::new(()) }), Received::Nothing);
        assert!(drain(&mut inlet).contains("C2"));
    }

    fn release(inlet: &mut Inlet<Bytes>, quantity: u64, messages: u64) -> String {
        inlet.release(quantity, messages);
        drain(inlet)
    }

    /// The effects as text: a grant as `quantity/messages`, an abort as `x`, a terminal in brackets.
    fn drain(inlet: &mut Inlet<Bytes>) -> String {
        let mut text = Vec::new();
        while let Some(effect) = inlet.poll_effect() {
            text.push(match effect {
                InletEffect::Send(Up::CanProduce { limit, .. }) => limit.to_string(),
                InletEffect::Send(Up::Abort { .. }) => String::from("x"),
                InletEffect::Send(Up::Suspend { .. }) => String::from("s"),
                InletEffect::Send(Up::Finished { .. }) => String::from("f"),
                InletEffect::Over(Terminal::Ended { clean }) => format!("[ended {clean}]"),
                InletEffect::Over(Terminal::Aborted(cause)) => match &cause.reason {
                    Reason::Violation(violation) => format!("[violation {}]", violation.rule()),
                    _ => format!("[aborted: {}]", cause.origin),
                },
                InletEffect::Over(Terminal::Detached { at }) => format!("[detached {}/{}]", at.quantity, at.messages),
                InletEffect::Over(Terminal::Suspended { at, .. }) => format!("[suspended {}]", at.quantity),
            });
            inlet.check();
        }
        text.join(" ")
    }

    fn cause(by: &str) -> Arc<Cause> {
        Cause::new(Reason::Requested("test".into()), Origin::component(by))
    }

    fn nothing() -> String {
        String::new()
    }

    /// Asks a budget that gives so much, as the actor layer does, and says what followed.
    fn allot(inlet: &mut Inlet<Bytes>, allotment: u64) -> String {
        inlet.set_allotment(Some(allotment));
        drain(inlet)
    }

    #[test]
    fn open_under_a_budget_grants_its_allotment_and_the_rest_when_there_is_more() {
        let mut inlet = Inlet::new(WINDOW);
        inlet.set_allotment(Some(0));
        let (mut inlet, link, effects) = open(inlet);
        assert_eq!(effects, "0/4", "a first grant of nothing is a grant (P2)");
        assert_eq!((inlet.outstanding(), inlet.wish()), (0, 8));
        assert_eq!(allot(&mut inlet, 2), nothing(), "it has not been told that there is more");
        inlet.freshen();
        assert_eq!(allot(&mut inlet, 2), "2/4");
        assert_eq!(consume(&mut inlet, link, "ab"), (true, nothing()), "nothing is allotted beyond what it holds");
        assert!(!inlet.is_grant_due(), "and it asks once");
        inlet.release(1, 0);
        assert!(inlet.is_grant_due(), "half of what it was allotted is used");
        assert_eq!((inlet.outstanding(), inlet.wish()), (1, 8));
        assert_eq!(allot(&mut inlet, 6), "7/4");
        assert_eq!(inlet.outstanding(), 6);
        inlet.check();
    }

    #[test]
    fn open_under_a_budget_does_not_wish_for_more_than_its_messages_can_carry() {
        let mut inlet = Inlet::new(Window { quantity: 1000, messages: 4 });
        inlet.set_allotment(Some(10));
        let (mut inlet, link, effects) = open(inlet);
        assert_eq!((effects.as_str(), inlet.wish()), ("10/4", 1000));
        assert_eq!(consume(&mut inlet, link, "abc"), (true, nothing()));
        assert_eq!(inlet.wish(), 12);
    }

    #[test]
    fn manual_under_a_budget_is_granted_the_rest_as_its_producer_uses_what_it_has() {
        let mut inlet = Inlet::manual();
        inlet.set_allotment(Some(0));
        let (mut inlet, link, effects) = open(inlet);
        assert_eq!(effects, "0/0");
        inlet.grant(Credit { quantity: Limit::UNLIMITED, messages: 9 });
        assert_eq!(inlet.wish(), u64::MAX);
        assert_eq!(allot(&mut inlet, 3), "3/9", "unlimited lifts no budget (P3)");
        assert!(!inlet.is_grant_due());
        assert!(matches!(inlet.handle_consume(link, Bytes::from_static(b"ab")), Received::Item(_)));
        assert!(inlet.is_grant_due());
        assert_eq!(inlet.outstanding(), 1);
        assert_eq!(allot(&mut inlet, 3), "5/9");
    }

    #[test]
    fn open_window_is_granted_at_attachment() {
        let (_, _, effects) = open(Inlet::new(WINDOW));
        assert_eq!(effects, "8/4");
    }

    #[test]
    fn open_release_grants_when_half_of_the_quantity_is_used() {
        let (mut inlet, link, _) = open(Inlet::new(WINDOW));
        assert_eq!(consume(&mut inlet, link, "abc"), (true, nothing()));
        assert_eq!(release(&mut inlet, 2, 0), "", "5 of 8 are left, and 1 is held");
        assert_eq!(consume(&mut inlet, link, "d"), (true, String::from("10/4")), "half is used, and 2 units are held");
    }

    #[test]
    fn open_release_grants_when_half_of_the_messages_are_used() {
        let (mut inlet, link, _) = open(Inlet::new(Window { quantity: 1000, messages: 4 }));
        assert_eq!(consume(&mut inlet, link, "a"), (true, nothing()));
        assert_eq!(consume(&mut inlet, link, "b"), (true, nothing()), "half is used, and nothing is released yet");
        assert_eq!(release(&mut inlet, 1, 1), "1001/5");
    }

    #[test]
    fn open_release_of_all_grants_however_little_was_used() {
        let (mut inlet, link, _) = open(Inlet::new(Window { quantity: 1000, messages: 100 }));
        assert_eq!(consume(&mut inlet, link, "a"), (true, nothing()));
        assert_eq!(release(&mut inlet, 1, 1), "1001/101");
    }

    #[test]
    fn open_last_unit_takes_the_messages_along() {
        let (mut inlet, link, _) = open(Inlet::new(WINDOW));
        consume(&mut inlet, link, "a");
        consume(&mut inlet, link, "b");
        assert_eq!(release(&mut inlet, 2, 1), "10/6", "a component that joined them released one message");
    }

    #[test]
    fn open_excess_aborts_and_delivers_nothing() {
        let (mut inlet, link, _) = open(Inlet::new(WINDOW));
        assert_eq!(consume(&mut inlet, link, "123456789"), (false, String::from("x [violation P1]")));
        assert_eq!(consume(&mut inlet, link, "1"), (false, nothing()));
    }

    #[test]
    fn open_excess_of_messages_is_an_excess() {
        let (mut inlet, link, _) = open(Inlet::new(Window { quantity: 99, messages: 1 }));
        assert_eq!(consume(&mut inlet, link, "a"), (true, nothing()));
        assert_eq!(consume(&mut inlet, link, "b"), (false, String::from("x [violation P1]")));
    }

    #[test]
    fn open_smaller_window_takes_effect_as_items_are_released() {
        let (mut inlet, link, _) = open(Inlet::new(WINDOW));
        inlet.set_window(Window { quantity: 2, messages: 4 });
        assert_eq!(drain(&mut inlet), "", "P3: limits never fall");
        assert_eq!(consume(&mut inlet, link, "abcdefg"), (true, nothing()), "C2: what was granted is accepted");
        assert_eq!(release(&mut inlet, 6, 0), "", "8 were granted, 7 came and 1 is held: 2 are out");
        assert_eq!(release(&mut inlet, 1, 1), "9/5");
    }

    #[test]
    fn open_gate_grants_nothing_until_it_is_opened() {
        let (mut inlet, _, effects) = open(Inlet::new(Window::CLOSED));
        assert_eq!(effects, "0/0", "the greeting, by which the producer may end");
        inlet.set_window(WINDOW);
        assert_eq!(drain(&mut inlet), "8/4");
    }

    #[test]
    fn open_manual_grants_what_its_owner_grants() {
        let (mut inlet, link, effects) = open(Inlet::manual());
        assert_eq!(effects, "0/0");
        inlet.grant(Credit { quantity: 3, messages: 1 });
        assert_eq!(drain(&mut inlet), "3/1");
        assert_eq!(consume(&mut inlet, link, "abc"), (true, nothing()), "it does not grant by itself");
        inlet.grant(Credit { quantity: 3, messages: 1 });
        assert_eq!(drain(&mut inlet), "6/2", "cumulative");
        inlet.grant(Credit { quantity: 1, messages: 1 });
        assert_eq!(drain(&mut inlet), "", "less than is allowed already");
    }

    #[test]
    fn detached_held_items_count_against_the_next_attachment() {
        let (mut inlet, link, _) = open(Inlet::new(WINDOW));
        consume(&mut inlet, link, "abc");
        assert_eq!(inlet.close_at(link, Count { quantity: 3, messages: 1 }), Some(Ok(())));
        assert_eq!(drain(&mut inlet), "[detached 3/1]");
        let (_, effects) = attach(&mut inlet);
        assert_eq!(effects, "5/3");
        assert_eq!(inlet.cell().expect("attached").held(), 3);
        assert_eq!(release(&mut inlet, 3, 1), "8/4");
    }

    #[test]
    fn aborted_renewed_inlet_is_as_good_as_new_and_holds_nothing() {
        let (mut inlet, old, _) = open(Inlet::new(WINDOW));
        consume(&mut inlet, old, "abc");
        assert!(!inlet.renew(), "only after an abort");
        inlet.abort(cause("me"));
        drain(&mut inlet);
        assert!(inlet.renew());
        let (link, effects) = attach(&mut inlet);
        assert_eq!(effects, "8/4", "a whole window");
        assert_eq!(consume(&mut inlet, old, "d"), (false, nothing()), "P5");
        assert!(consume(&mut inlet, link, "e").0);
        assert_eq!(inlet.accepted(), Count { quantity: 1, messages: 1 });
    }

    #[test]
    fn detached_late_messages_are_stale_and_counted() {
        let (mut inlet, old, _) = open(Inlet::new(WINDOW));
        assert_eq!(inlet.close_at(old, Count::ZERO), Some(Ok(())));
        drain(&mut inlet);
        attach(&mut inlet);
        assert_eq!(consume(&mut inlet, old, "a"), (false, nothing()));
        assert_eq!(inlet.handle_end(old, true), Received::Nothing);
        assert!(!inlet.handle_abort(old));
        assert_eq!((inlet.stale(), inlet.cell().expect("attached").stale()), (3, 3));
        assert_eq!(inlet.phase(), InletPhase::Open);
    }

    #[test]
    fn close_at_another_position_is_a_violation() {
        let (mut inlet, link, _) = open(Inlet::new(WINDOW));
        consume(&mut inlet, link, "abc");
        let result = inlet.close_at(link, Count { quantity: 3, messages: 2 }).expect("attached");
        assert!(matches!(result, Err(Violation::PositionMismatch { .. })));
        assert_eq!(drain(&mut inlet), "x [violation P6]");
    }

    #[test]
    fn close_at_of_a_link_whose_cell_is_set_is_an_abort() {
        let (mut inlet, link, _) = open(Inlet::new(WINDOW));
        inlet.cell().expect("attached").set_cause(cause("supervisor"));
        assert_eq!(inlet.close_at(link, Count::ZERO), None);
        assert_eq!(drain(&mut inlet), "[aborted: supervisor]");
    }

    #[test]
    fn open_cell_set_before_an_item_drops_it() {
        let (mut inlet, link, _) = open(Inlet::new(WINDOW));
        inlet.cell().expect("attached").set_cause(cause("producer"));
        assert_eq!(consume(&mut inlet, link, "late"), (false, String::from("[aborted: producer]")));
    }

    #[test]
    fn draining_ends_when_the_last_item_is_released() {
        let (mut inlet, link, _) = open(Inlet::new(WINDOW));
        consume(&mut inlet, link, "abc");
        assert_eq!(inlet.handle_end(link, false), Received::End { clean: false });
        assert_eq!(drain(&mut inlet), "", "E2: what was accepted is delivered first");
        assert_eq!(release(&mut inlet, 2, 0), "", "and nothing is granted any more");
        assert_eq!(release(&mut inlet, 1, 1), "[ended false]");
    }

    #[test]
    fn draining_abort_loses_what_is_held_and_wakes_the_producer() {
        let (mut inlet, link, _) = open(Inlet::new(WINDOW));
        consume(&mut inlet, link, "abc");
        let _ = inlet.handle_end(link, true);
        inlet.abort(cause("consumer"));
        assert_eq!(drain(&mut inlet), "x [aborted: consumer]");
        assert!(!inlet.has_work());
    }

    #[test]
    fn aborted_late_release_does_nothing() {
        let (mut inlet, link, _) = open(Inlet::new(WINDOW));
        consume(&mut inlet, link, "abc");
        inlet.abort(cause("consumer"));
        assert_eq!(drain(&mut inlet), "x [aborted: consumer]");
        assert_eq!(release(&mut inlet, 3, 1), "");
    }

    #[test]
    fn ended_abort_sets_nothing() {
        let (mut inlet, link, _) = open(Inlet::new(WINDOW));
        let _ = inlet.handle_end(link, true);
        assert_eq!(drain(&mut inlet), "[ended true]");
        inlet.abort(cause("owner"));
        assert_eq!(drain(&mut inlet), "");
        assert!(inlet.cell().expect("kept").cause().is_none());
    }
}
