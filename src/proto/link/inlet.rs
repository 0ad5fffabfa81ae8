//! The consuming port: what it accepts, when it grants, and what ends it.
//!
//! What the port has accepted and the component has not finished with is *held*. Left to itself the port keeps
//! `held + credit` at its window: the component [`release`](Inlet::release)s what it has finished with, and the port
//! grants when half of the window is used, and whenever nothing is held any more (rule C1). A component that wants to
//! decide by itself makes the port [`manual`](Inlet::manual) and calls [`grant`](Inlet::grant).

use super::cause::{Cause, Origin, Reason};
use super::cell::{Forms, LinkCell, LinkState};
use super::error::{AttachError, Displayed, Side, Violation};
use super::id::LinkId;
use super::limit::{Count, Credit, Limit, Window};
use super::message::{Terminal, Up};
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
    /// The end was received, and the component still holds items (rule E2: an end delivers all that was accepted).
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
    wake: bool,
    over: Option<Terminal>,
    stale: u64,
    payload: PhantomData<fn(T)>,
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
            wake: false,
            over: None,
            stale: 0,
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

    /// True if the owner has something left to do for this port: it holds items.
    pub fn has_work(&self) -> bool {
        self.phase != InletPhase::Aborted && !self.held.is_zero()
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
        if self.accepted != at {
            let violation = Violation::PositionMismatch { expected: Displayed(at), found: Displayed(self.accepted) };
            self.violated(violation.clone());
            return Some(Err(violation));
        }
        if let Some(cell) = &self.cell {
            cell.store_inlet_state(LinkState::Detached);
        }
        // what the component still holds counts against its next attachment: it is in `held`
        self.phase = InletPhase::Idle;
        self.reset();
        self.cell = None;
        self.over = Some(Terminal::Detached { at });
        self.check();
        Some(Ok(()))
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
    }

    /// The component has finished with `quantity` units in `messages` items. Bound by the drain rule.
    ///
    /// After an abort this does nothing: the port has let go of all it held, and the component may not know yet.
    pub fn release(&mut self, quantity: u64, messages: u64) {
        if self.phase == InletPhase::Aborted {
            return;
        }
        let excess = self.held.sub(quantity, messages);
        debug_assert!(excess.is_zero(), "released {excess:?} more than was held");
        // the last unit takes the last message along: a component that joins items need not count them
        if self.held.quantity == 0 {
            self.held.messages = 0;
        }
        self.store_held();
        if self.phase == InletPhase::Draining && self.held.is_zero() {
            self.finish();
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
                    self.wake = cell.set_cause(cause.clone());
                    cell.cause().cloned()
                });
                self.break_off(set.flatten().unwrap_or(cause));
            }
        }
    }

    // ---- what the producer says

    /// An item. Bound by the drain rule.
    pub fn handle_consume(&mut self, link: LinkId, item: T) -> Received<T> {
        if !self.admits(link) {
            return Received::Nothing;
        }
        let mut reached = self.accepted;
        reached.add(item.quantity());
        if !self.limit.covers(reached) {
            // P1: nothing of the excess is delivered
            self.violated(Violation::LimitExceeded { reached: Displayed(reached), limit: self.limit });
            return Received::Nothing;
        }
        self.accepted = reached;
        if matches!(self.policy, Policy::Window(_)) {
            self.held.add(item.quantity());
        }
        if let Some(cell) = &self.cell {
            cell.store_accepted(self.accepted, self.held.quantity);
        }
        self.check();
        Received::Item(item)
    }

    /// The end of the data. Bound by the drain rule.
    pub fn handle_end(&mut self, link: LinkId, clean: bool) -> Received<T> {
        if !self.admits(link) {
            return Received::Nothing;
        }
        self.clean = clean;
        self.phase = InletPhase::Draining;
        if self.held.is_zero() {
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

    /// True if [`poll_effect`](Self::poll_effect) would have the producer granted something. An actor asks this in its
    /// handler and grants at the end of its turn (rule F1).
    pub fn is_grant_due(&self) -> bool {
        if self.phase != InletPhase::Open {
            return false;
        }
        let target = self.target();
        let higher = target.quantity > self.limit.quantity || target.messages > self.limit.messages;
        if !self.greeted {
            return true;
        }
        match self.policy {
            Policy::Manual(_) => higher,
            Policy::Window(window) => {
                let left = self.limit.credit(self.accepted);
                // C1: half of either is used, or the consumer has become empty
                let half = left.quantity <= window.quantity / 2 || left.messages <= window.messages / 2;
                higher && (half || self.held.is_zero())
            }
        }
    }

    /// What the owner must do next, or `None` when there is nothing (the drain rule).
    pub fn poll_effect(&mut self) -> Option<InletEffect> {
        if self.phase == InletPhase::Open {
            self.notice_cause();
        }
        if self.wake {
            self.wake = false;
            if let Some(cell) = &self.cell {
                return Some(InletEffect::Send(Up::Abort { link: cell.id() }));
            }
        }
        if let Some(over) = self.over.take() {
            return Some(InletEffect::Over(over));
        }
        if !self.is_grant_due() {
            return None;
        }
        self.greeted = true;
        let target = self.target();
        self.limit.raise(target);
        let cell = self.cell.as_ref()?;
        cell.store_limit(self.limit);
        Some(InletEffect::Send(Up::CanProduce { link: cell.id(), limit: self.limit }))
    }

    /// The limit that should stand now.
    fn target(&self) -> Limit {
        match self.policy {
            Policy::Manual(allowed) => allowed,
            Policy::Window(window) => Limit::beyond(
                self.accepted,
                Credit {
                    quantity: window.quantity.saturating_sub(self.held.quantity),
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
        }
        self.over = Some(Terminal::Ended { clean: self.clean });
    }

    fn break_off(&mut self, cause: Arc<Cause>) {
        self.phase = InletPhase::Aborted;
        self.reset();
        self.held = Count::ZERO;
        self.store_held();
        if let Some(cell) = &self.cell {
            cell.store_inlet_state(LinkState::Aborted);
        }
        self.over = Some(Terminal::Aborted(cause));
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
