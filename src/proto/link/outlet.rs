//! The producing port: what an outlet sends when, and what ends it.
//!
//! An outlet holds at most one item that waits for credit (its backlog); small pieces of bytes are joined into it up to
//! [`JOIN_LIMIT`]. So its memory is one item, whatever its owner does, and the owner learns by [`PushError::Full`].
//!
//! How it learns of grants (rule C1): by a message for each, or [`on_demand`](Outlet::on_demand), when it looks at the cell by
//! itself and is sent a message only while it waits.

use super::cause::Cause;
use super::cell::{Forms, LinkCell, LinkState};
use super::error::{AttachError, PushError, Side};
use super::id::LinkId;
use super::limit::{Count, Credit, Limit};
use super::message::{Down, Terminal};
use super::parcel::Parcel;
use super::payload::Payload;
use std::sync::Arc;

/// Small pieces that wait for credit are joined up to 16 KiB (rule C1: with it one-byte writes ran four times as
/// fast, and with 16 instead of 262,144 messages waiting).
pub const JOIN_LIMIT: u64 = 16 * 1024;

/// How far an outlet has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutletPhase {
    /// Not attached.
    Idle,
    /// Knows its link; the consumer has not spoken yet. The limit is 0 (rule P2).
    Reserved,
    /// The consumer has granted at least once, be it 0.
    Open,
    /// The end was sent to a consumer that would be rebuilt if it failed, and that has not finished yet: it may be asked for
    /// again (rule S2).
    Lingering,
    /// The end was sent. Nothing the owner does from here on sets the cell (rule A2).
    Ended,
    /// Broken off.
    Aborted,
}

/// What the owner must do next.
#[derive(Debug)]
#[must_use]
pub enum OutletEffect<T> {
    /// Send this to the consumer.
    Send(Down<T>),
    /// The attachment is over at this end. Comes once (rule P4).
    Over(Terminal),
}

/// Whether an abort that the consumer reports concerns a live attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum LateAbort {
    /// The attachment was live; effects follow.
    Live,
    /// The end had been sent already. The port is over, but the component may care about its other ports.
    AfterEnd,
    /// The message is of another attachment, and was dropped (rule P5).
    Stale,
}

/// How an outlet learns of grants (rule C1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hears {
    /// A message for each.
    EveryGrant,
    /// It looks at the cell; a message while it waits. The cell is looked at again when no more than this is left.
    OnDemand { look_at: Credit },
}

/// The producing port of a component.
///
/// # Invariants
///
/// * P1: `sent` keeps `limit`.
/// * P2: `limit` is 0 before [`OutletPhase::Open`].
/// * a cell is present in every phase but [`OutletPhase::Idle`] and, if aborted before it was ever attached,
///   [`OutletPhase::Aborted`].
#[derive(Debug)]
pub struct Outlet<T> {
    phase: OutletPhase,
    cell: Option<Arc<LinkCell>>,
    hears: Hears,
    limit: Limit,
    sent: Count,
    backlog: Option<T>,
    /// `end(clean)` was called; the end is sent once the backlog is.
    closing: Option<bool>,
    wake: Wake,
    /// Boxed, since it comes once in a life.
    over: Option<Box<Terminal>>,
    stale: u64,
}

/// What the other side has to be told after the cell was set here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    No,
    Abort,
    Suspend(Count),
}

impl<T: Payload> Default for Outlet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Payload> Outlet<T> {
    /// An outlet that is not attached.
    pub fn new() -> Self {
        Self {
            phase: OutletPhase::Idle,
            cell: None,
            hears: Hears::EveryGrant,
            limit: Limit::ZERO,
            sent: Count::ZERO,
            backlog: None,
            closing: None,
            wake: Wake::No,
            over: None,
            stale: 0,
        }
    }

    /// From its next attachment on it looks at the limit in the cell by itself, and is sent a grant only while it waits (rule C1):
    /// for an owner that asks for [`credit`](Self::credit) when it has something to send, and does not count on hearing of more
    /// while there is some.
    pub fn on_demand(&mut self) {
        self.hears = Hears::OnDemand { look_at: Credit::NONE };
    }

    // ---- questions

    /// True after [`on_demand`](Self::on_demand).
    pub fn is_on_demand(&self) -> bool {
        self.hears != Hears::EveryGrant
    }

    /// How far the port has come.
    pub fn phase(&self) -> OutletPhase {
        self.phase
    }

    /// The current or last attachment's cell.
    pub fn cell(&self) -> Option<&Arc<LinkCell>> {
        self.cell.as_ref()
    }

    /// What was sent on the current attachment.
    pub fn sent(&self) -> Count {
        self.sent
    }

    /// The limit that the consumer has granted, as far as the outlet knows.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// What may be pushed and sent at once: the limit less what was sent and what waits. None once the consumer has failed: what
    /// is sent now is lost, and the message that parts this port is on its way (rule S1).
    ///
    /// An outlet on demand that answers with none waits from now on: the next grant comes as a message.
    pub fn credit(&self) -> Credit {
        if self.is_suspended() || !self.has_room() {
            return Credit::NONE;
        }
        let mut limit = self.limit;
        loop {
            let credit = limit.credit(self.sent);
            match &self.cell {
                Some(cell) if credit.is_exhausted() && self.is_on_demand() => {
                    // what has risen may be the part that there was enough of: then it waits for the other
                    if !limit.raise(cell.wait_beyond(limit)) {
                        return Credit::NONE;
                    }
                }
                _ => return credit,
            }
        }
    }

    /// The credit as the consumer granted it.
    fn room(&self) -> Credit {
        if self.has_room() { self.limit.credit(self.sent) } else { Credit::NONE }
    }

    /// True if only credit stands between an item and the consumer.
    fn has_room(&self) -> bool {
        self.phase == OutletPhase::Open && self.closing.is_none() && self.backlog.is_none()
    }

    /// How many messages came for an earlier attachment and were dropped (rule P5).
    pub fn stale(&self) -> u64 {
        self.stale
    }

    /// True if [`push`](Self::push) would take any item now.
    pub fn is_ready(&self) -> bool {
        self.backlog.is_none() && !self.is_closed()
    }

    /// True if something accepted by [`push`](Self::push) or [`end`](Self::end) is still to be sent.
    pub fn has_work(&self) -> bool {
        !self.is_over() && !self.is_lingering() && (self.backlog.is_some() || self.closing.is_some())
    }

    /// True if nothing can be pushed any more.
    pub fn is_closed(&self) -> bool {
        self.closing.is_some() || self.is_over()
    }

    /// True if the end was sent or the port was aborted.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, OutletPhase::Ended | OutletPhase::Aborted)
    }

    /// True if the end was sent and the consumer may still ask for it again (rule S2).
    pub fn is_lingering(&self) -> bool {
        self.phase == OutletPhase::Lingering
    }

    /// How much waits for credit.
    pub fn waits(&self) -> u64 {
        self.backlog.as_ref().map_or(0, Payload::quantity)
    }

    fn is_attached(&self) -> bool {
        matches!(self.phase, OutletPhase::Reserved | OutletPhase::Open)
    }

    fn is_suspended(&self) -> bool {
        self.cell.as_ref().is_some_and(|cell| cell.suspension().is_some())
    }

    fn is_current(&self, link: LinkId) -> bool {
        self.cell.as_ref().is_some_and(|cell| cell.id() == link)
    }

    // ---- attachment

    /// First step of an attachment: the outlet learns its link, with a limit of 0 (rule P2).
    ///
    /// An outlet whose end was asked for but could not be sent yet can still be attached, so that an empty stream
    /// arrives as one.
    pub fn reserve(&mut self, cell: Arc<LinkCell>) -> Result<(), AttachError> {
        match self.phase {
            OutletPhase::Idle => {
                cell.store_outlet_state(LinkState::Open);
                if let Hears::OnDemand { look_at } = &mut self.hears {
                    cell.tell_on_demand();
                    *look_at = Credit::NONE;
                }
                self.cell = Some(cell);
                self.limit = Limit::ZERO;
                self.sent = Count::ZERO;
                self.phase = OutletPhase::Reserved;
                self.check();
                Ok(())
            }
            OutletPhase::Reserved | OutletPhase::Open | OutletPhase::Lingering => Err(AttachError::Attached),
            OutletPhase::Ended => Err(AttachError::Ended),
            OutletPhase::Aborted => Err(AttachError::Aborted),
        }
    }

    /// Takes a reservation back because the consumer refused. True if `link` was reserved.
    pub fn release(&mut self, link: LinkId) -> bool {
        if self.phase != OutletPhase::Reserved || !self.is_current(link) {
            return false;
        }
        self.part();
        true
    }

    /// Stops at a definite position and parts from the link. The position, or `None` if `link` is not attached here, or
    /// has been broken off; that follows as an effect.
    ///
    /// What waits for credit stays in the outlet for the next attachment. Bound by the drain rule.
    pub fn detach(&mut self, link: LinkId) -> Option<Count> {
        if !self.is_attached() || !self.is_current(link) {
            return None;
        }
        // A2: a link whose cause is set is aborted, and what lies on it is lost; it is too late to part without loss
        self.notice_cause();
        if !self.is_attached() {
            return None;
        }
        let at = self.sent;
        if let Some(cell) = &self.cell {
            cell.store_outlet_state(LinkState::Detached);
        }
        self.part();
        self.over = Some(Box::new(Terminal::Detached { at }));
        Some(at)
    }

    /// Takes the port back from an attachment that was aborted, as good as new: nothing waits in it, no end was asked for. For an
    /// owner that outlives the loss of a link. True if the port was aborted; its effects must have been polled.
    pub fn renew(&mut self) -> bool {
        if self.phase != OutletPhase::Aborted {
            return false;
        }
        debug_assert!(matches!(self.wake, Wake::No) && self.over.is_none(), "the drain rule");
        self.part();
        true
    }

    fn part(&mut self) {
        self.phase = OutletPhase::Idle;
        self.cell = None;
        self.limit = Limit::ZERO;
        self.sent = Count::ZERO;
        self.check();
    }

    // ---- what the owner wants

    /// Takes an item to send. Bound by the drain rule.
    ///
    /// An item of quantity 0 is taken and dropped: nothing would be delivered.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] while an earlier item waits and this one cannot be joined to it; [`PushError::Closed`] after
    /// the end or an abort. The item is handed back.
    pub fn push(&mut self, item: T) -> Result<(), PushError<T>> {
        if self.is_closed() {
            return Err(PushError::Closed(item));
        }
        if item.quantity() == 0 {
            return Ok(());
        }
        match &mut self.backlog {
            None => {
                self.backlog = Some(item);
                Ok(())
            }
            Some(waiting) => waiting.merge(item, JOIN_LIMIT).map_err(PushError::Full),
        }
    }

    /// The short way of [`push`](Self::push) and [`poll_effect`](Self::poll_effect): counts an item as sent, and gives the link that it
    /// is to be sent on, if nothing stands between it and the consumer. `None`, and nothing changed, otherwise.
    pub fn send_at_once(&mut self, item: &T) -> Option<LinkId> {
        let quantity = item.quantity();
        let idle = self.has_room() && self.over.is_none() && matches!(self.wake, Wake::No);
        let credit = self.limit.credit(self.sent);
        if !idle || quantity == 0 || quantity > credit.quantity || credit.messages == 0 {
            return None;
        }
        // A2: the cell is read before each item
        let cell = self.cell.as_ref().filter(|cell| cell.cause().is_none() && cell.suspension().is_none())?;
        let link = cell.id();
        self.sent.add(quantity);
        cell.store_produced(self.sent);
        self.look_with_left(Credit { quantity: credit.quantity - quantity, messages: credit.messages - 1 });
        self.check();
        Some(link)
    }

    /// In which forms the consumer takes what is sent. None but items before the first grant.
    pub fn forms(&self) -> Forms {
        match (&self.cell, self.phase) {
            (Some(cell), OutletPhase::Open) => cell.forms(),
            _ => Forms::default(),
        }
    }

    /// Counts a parcel as sent, and gives the message. `None`, and nothing counted, if the consumer takes none, or if it
    /// does not fit the [`credit`](Self::credit): a parcel cannot wait, since it cannot be split.
    pub fn send_parcel(&mut self, parcel: Parcel) -> Option<Down<T>> {
        if self.is_attached() {
            // A2: the cell is read before each item; what follows is an effect
            self.notice_cause();
        }
        if !self.forms().kernel || parcel.quantity == 0 {
            return None;
        }
        // what has left its place counts as sent, also if the consumer has failed since the credit was read: S1 then counts it as lost
        loop {
            let room = self.room();
            if parcel.quantity <= room.quantity && room.messages > 0 {
                break;
            }
            if !self.has_room() || !self.wait_for_credit() {
                return None;
            }
        }
        let cell = self.cell.as_ref()?;
        self.sent.add(parcel.quantity);
        cell.store_produced(self.sent);
        cell.add_parcel(parcel.quantity);
        let link = cell.id();
        self.look_again();
        self.check();
        Some(Down::Parcel { link, parcel })
    }

    /// No more items come. What was pushed is sent first (rule E2); the end itself needs no credit. The first call
    /// counts. Bound by the drain rule.
    pub fn end(&mut self, clean: bool) {
        if !self.is_closed() {
            self.closing = Some(clean);
        }
    }

    /// Breaks the link off from this side: sets the cell if nobody has, drops what waits. Nothing once the end was sent
    /// (rule A2). Bound by the drain rule.
    pub fn abort(&mut self, cause: Arc<Cause>) {
        if self.is_over() || self.ends_lingering() {
            return;
        }
        let cause = match &self.cell {
            Some(cell) if self.is_attached() => {
                if cell.set_cause(cause.clone()) {
                    self.wake = Wake::Abort;
                }
                cell.cause().cloned().unwrap_or(cause)
            }
            _ => cause,
        };
        self.break_off(cause);
    }

    /// The owner has failed by its own fault: suspends the link if this end is armed, and aborts it otherwise (rule S1). Bound
    /// by the drain rule.
    pub fn fail(&mut self, cause: Arc<Cause>) {
        let suspends =
            self.is_attached() && self.cell.as_ref().is_some_and(|cell| cell.suspend(Side::Producer, &cause));
        if !suspends {
            return self.abort(cause);
        }
        let at = self.sent;
        self.wake = Wake::Suspend(at);
        self.leave(LinkState::Suspended);
        self.over = Some(Box::new(Terminal::Suspended { at, cause }));
        self.check();
    }

    /// What waits, the end included, is given up: the owner has gone back and gives it again. Nothing while attached or over.
    pub fn rewind(&mut self) {
        if self.phase == OutletPhase::Idle {
            self.backlog = None;
            self.closing = None;
        }
    }

    /// The owner stops caring while the consumer has not finished: the end was sent, so nothing is set (rule A2).
    fn ends_lingering(&mut self) -> bool {
        let Some(clean) = self.closing.filter(|_| self.is_lingering()) else { return false };
        self.phase = OutletPhase::Ended;
        self.over = Some(Box::new(Terminal::Ended { clean }));
        true
    }

    // ---- what the consumer says

    /// A new limit. `false` if it is of another attachment and was dropped (rule P5). Bound by the drain rule.
    pub fn handle_can_produce(&mut self, link: LinkId, limit: Limit) -> bool {
        if !self.is_current(link) {
            self.stale += 1;
            return false;
        }
        if self.is_attached() {
            // P2, P3: the first grant opens the link, be it 0; a lower or equal one changes nothing
            self.phase = OutletPhase::Open;
            self.raise(limit);
            self.check();
        }
        true
    }

    /// The consumer broke the link off; the cause is in the cell. Bound by the drain rule.
    pub fn handle_abort(&mut self, link: LinkId) -> LateAbort {
        if !self.is_current(link) {
            self.stale += 1;
            return LateAbort::Stale;
        }
        match self.phase {
            OutletPhase::Ended => LateAbort::AfterEnd,
            OutletPhase::Reserved | OutletPhase::Open | OutletPhase::Lingering => {
                self.notice_cause();
                LateAbort::Live
            }
            OutletPhase::Idle | OutletPhase::Aborted => LateAbort::Stale,
        }
    }

    /// The consumer failed and will be rebuilt: parts from the link, keeping what waits (rule S1). True if it has; false for
    /// another attachment's message, or if the link is aborted. Bound by the drain rule.
    pub fn handle_suspend(&mut self, link: LinkId) -> bool {
        if !self.is_current(link) {
            self.stale += 1;
            return false;
        }
        if !self.is_attached() && !self.is_lingering() {
            return false;
        }
        self.notice_cause();
        let Some(cell) = self.cell.clone().filter(|_| self.phase != OutletPhase::Aborted) else { return false };
        // nobody but the consumer's port may say so, and it sets the cell first
        let Some(suspension) = cell.suspension().filter(|suspension| suspension.side == Side::Consumer) else {
            return false;
        };
        let at = self.sent;
        cell.store_outlet_state(LinkState::Suspended);
        self.part();
        self.over = Some(Box::new(Terminal::Suspended { at, cause: suspension.cause.clone() }));
        true
    }

    /// The consumer has finished with everything (rule S2). True if this outlet has waited for that. Bound by the drain rule.
    pub fn handle_finished(&mut self, link: LinkId) -> bool {
        if !self.is_current(link) {
            self.stale += 1;
            return false;
        }
        self.ends_lingering()
    }

    // ---- what follows

    /// What the owner must do next, or `None` when there is nothing (the drain rule).
    pub fn poll_effect(&mut self) -> Option<OutletEffect<T>> {
        if self.is_attached() || self.is_lingering() {
            // A2: the cell is read before each item
            self.notice_cause();
        }
        if let Some(link) = self.cell.as_ref().map(|cell| cell.id()) {
            match std::mem::replace(&mut self.wake, Wake::No) {
                Wake::No => {}
                Wake::Abort => return Some(OutletEffect::Send(Down::Abort { link })),
                Wake::Suspend(at) => return Some(OutletEffect::Send(Down::Suspend { link, at })),
            }
        }
        if let Some(over) = self.over.take() {
            return Some(OutletEffect::Over(*over));
        }
        if self.phase != OutletPhase::Open {
            return None;
        }
        if self.is_suspended() {
            return None;
        }
        let link = self.cell.as_ref()?.id();
        if let Some(item) = self.take_within_credit() {
            // P1: produced <= limit, always
            self.sent.add(item.quantity());
            if let Some(cell) = &self.cell {
                cell.store_produced(self.sent);
            }
            self.look_again();
            self.check();
            return Some(OutletEffect::Send(Down::Consume { link, item }));
        }
        if self.backlog.is_none()
            && let Some(clean) = self.closing
        {
            if let Some(cell) = &self.cell {
                cell.store_outlet_state(LinkState::ended(clean));
                // S2: a consumer that would be rebuilt may need the data again
                self.phase = if cell.is_armed(Side::Consumer) { OutletPhase::Lingering } else { OutletPhase::Ended };
                if self.is_lingering() {
                    cell.set_lingers();
                }
            }
            self.over = (!self.is_lingering()).then(|| Box::new(Terminal::Ended { clean }));
            return Some(OutletEffect::Send(Down::End { link, clean }));
        }
        None
    }

    /// The backlog, or the part of it that credit allows. P1: bytes are split to fit.
    fn take_within_credit(&mut self) -> Option<T> {
        loop {
            let credit = self.limit.credit(self.sent);
            let waiting = self.backlog.as_mut()?;
            if !credit.is_exhausted() {
                if waiting.quantity() <= credit.quantity {
                    return self.backlog.take();
                }
                // not cut in two for want of a look
                if self.look() {
                    continue;
                }
                if let Some(part) = self.backlog.as_mut()?.split_to(credit.quantity) {
                    return Some(part);
                }
            }
            if !self.wait_for_credit() {
                return None;
            }
        }
    }

    // ---- rule C1: what an outlet on demand knows of the limit

    /// The owner stands still until the consumer goes on, whatever credit there is. True if the limit has risen, as far as the
    /// outlet knew: it need not. If false the next grant comes as a message. Bound by the drain rule.
    pub fn wait_for_credit(&mut self) -> bool {
        // a grant that every outlet hears of is on its way, or will be
        let known = match &self.cell {
            Some(cell) if self.is_on_demand() && self.phase == OutletPhase::Open => cell.wait_beyond(self.limit),
            _ => return false,
        };
        self.raise(known)
    }

    /// Looks at the cell. True if the limit has risen.
    fn look(&mut self) -> bool {
        match &self.cell {
            Some(cell) if self.is_on_demand() => self.raise(cell.limit()),
            _ => false,
        }
    }

    /// Looks at the cell if half of what it knew is used.
    fn look_again(&mut self) {
        self.look_with_left(self.limit.credit(self.sent));
    }

    /// The same, with so much left.
    fn look_with_left(&mut self, credit: Credit) {
        let Hears::OnDemand { look_at } = self.hears else { return };
        if (credit.quantity <= look_at.quantity || credit.messages <= look_at.messages) && !self.look() {
            // once more when half of that is used
            self.look_at_half();
        }
    }

    /// P3: a lower or equal limit changes nothing.
    fn raise(&mut self, limit: Limit) -> bool {
        let risen = self.limit.raise(limit);
        if risen {
            self.look_at_half();
        }
        risen
    }

    fn look_at_half(&mut self) {
        if let Hears::OnDemand { look_at } = &mut self.hears {
            let credit = self.limit.credit(self.sent);
            *look_at = Credit { quantity: credit.quantity / 2, messages: credit.messages / 2 };
        }
    }

    fn notice_cause(&mut self) {
        if let Some(cause) = self.cell.as_ref().and_then(|cell| cell.cause().cloned()) {
            self.break_off(cause);
        }
    }

    /// Over for good, without an end.
    fn leave(&mut self, state: LinkState) {
        if let Some(cell) = &self.cell {
            cell.store_outlet_state(state);
        }
        self.phase = OutletPhase::Aborted;
        self.backlog = None;
        self.closing = None;
        self.limit = Limit::ZERO;
        self.sent = Count::ZERO;
    }

    fn break_off(&mut self, cause: Arc<Cause>) {
        self.leave(LinkState::Aborted);
        self.over = Some(Box::new(Terminal::Aborted(cause)));
        self.check();
    }

    /// Asserts the invariants by their numbers; called after every change in debug builds and by simulations.
    pub fn check(&self) {
        debug_assert!(
            self.phase == OutletPhase::Ended || self.limit.covers(self.sent),
            "P1: sent {:?} beyond limit {:?}",
            self.sent,
            self.limit
        );
        debug_assert!(
            matches!(self.phase, OutletPhase::Open | OutletPhase::Lingering | OutletPhase::Ended)
                || self.limit == Limit::ZERO,
            "P2: limit {:?} in phase {:?}",
            self.limit,
            self.phase
        );
        debug_assert!(!self.is_attached() || self.cell.is_some(), "an attached outlet has a cell");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::link::{Origin, Reason};
    use bytes::Bytes;

    fn reserved() -> (Outlet<Bytes>, LinkId) {
        let mut outlet = Outlet::new();
        let cell = LinkCell::new();
        let link = cell.id();
        outlet.reserve(cell).expect("free");
        (outlet, link)
    }

    fn open(quantity: u64, messages: u64) -> (Outlet<Bytes>, LinkId) {
        let (mut outlet, link) = reserved();
        assert_eq!(grant(&mut outlet, link, quantity, messages), "");
        (outlet, link)
    }

    fn grant(outlet: &mut Outlet<Bytes>, link: LinkId, quantity: u64, messages: u64) -> String {
        assert!(outlet.handle_can_produce(link, Limit { quantity, messages }));
        drain(outlet)
    }

    fn push(outlet: &mut Outlet<Bytes>, item: &'static str) -> String {
        outlet.push(Bytes::from_static(item.as_bytes())).expect("taken");
        drain(outlet)
    }

    /// The effects as text: items as they are, an end as `.` or `!`, an abort as `x`, a terminal in brackets.
    fn drain(outlet: &mut Outlet<Bytes>) -> String {
        let mut text = Vec::new();
        while let Some(effect) = outlet.poll_effect() {
            text.push(match effect {
                OutletEffect::Send(Down::Consume { item, .. }) => String::from_utf8_lossy(&item).into_owned(),
                OutletEffect::Send(Down::Parcel { .. }) => String::from("parcel"),
                OutletEffect::Send(Down::End { clean, .. }) => String::from(if clean { "." } else { "!" }),
                OutletEffect::Send(Down::Abort { .. }) => String::from("x"),
                OutletEffect::Over(Terminal::Ended { .. }) => String::from("[ended]"),
                OutletEffect::Over(Terminal::Aborted(cause)) => format!("[aborted: {}]", cause.origin),
                OutletEffect::Send(Down::Suspend { at, .. }) => format!("s{}", at.quantity),
                OutletEffect::Over(Terminal::Detached { at }) => format!("[detached {}/{}]", at.quantity, at.messages),
                OutletEffect::Over(Terminal::Suspended { at, .. }) => format!("[suspended {}]", at.quantity),
            });
            outlet.check();
        }
        text.join(" ")
    }

    fn cause(by: &str) -> Arc<Cause> {
        Cause::new(Reason::Requested("test".into()), Origin::component(by))
    }

    #[test]
    fn open_nothing_is_pulled_for_a_consumer_that_has_failed_and_a_parcel_under_way_counts() {
        let mut outlet = Outlet::<Bytes>::new();
        let cell = LinkCell::new();
        cell.set_forms(Forms { kernel: true });
        outlet.reserve(cell.clone()).expect("free");
        assert_eq!(grant(&mut outlet, cell.id(), 9, 9), "");
        cell.arm(Side::Consumer);
        assert!(cell.suspend(Side::Consumer, &cause("consumer")));
        assert!(outlet.credit().is_exhausted(), "S1: what is not pulled is not lost");
        // pulled before it was seen: its bytes are gone from where they came, so it is sent, and counted
        assert!(outlet.send_parcel(Parcel { quantity: 5, carrier: Arc::new(()) }).is_some());
        assert_eq!(push(&mut outlet, "abc"), "");
        assert!(outlet.handle_suspend(cell.id()));
        assert_eq!(drain(&mut outlet), "[suspended 5]");
        assert_eq!(outlet.waits(), 3, "for the next consumer");
    }

    #[test]
    fn reserved_push_waits_for_the_first_grant() {
        let (mut outlet, link) = reserved();
        assert_eq!(push(&mut outlet, "abc"), "");
        assert_eq!(grant(&mut outlet, link, 2, 9), "ab");
        assert_eq!(grant(&mut outlet, link, 4, 9), "c");
    }

    #[test]
    fn aborted_renewed_outlet_is_as_good_as_new_and_nothing_waits_in_it() {
        let (mut outlet, old) = open(2, 9);
        assert_eq!(push(&mut outlet, "abc"), "ab");
        assert!(!outlet.renew(), "only after an abort");
        outlet.end(true);
        outlet.abort(cause("me"));
        assert_eq!(drain(&mut outlet), "x [aborted: me]");
        assert!(outlet.push(Bytes::from_static(b"d")).is_err(), "closed until it is renewed");
        assert!(outlet.renew());
        let cell = LinkCell::new();
        let link = cell.id();
        outlet.reserve(cell).expect("free again");
        assert_eq!(outlet.handle_abort(old), LateAbort::Stale, "P5");
        assert_eq!(grant(&mut outlet, link, 9, 9), "", "neither the rest nor the end of the old attachment");
        assert_eq!(push(&mut outlet, "e"), "e");
    }

    #[test]
    fn open_item_beyond_the_limit_is_split_to_fit() {
        let (mut outlet, link) = open(4, 9);
        assert_eq!(push(&mut outlet, "abcdefgh"), "abcd");
        assert_eq!(grant(&mut outlet, link, 6, 9), "ef");
        assert_eq!(grant(&mut outlet, link, 5, 9), "", "P3: a lower limit changes nothing");
        assert_eq!(grant(&mut outlet, link, 99, 9), "gh");
    }

    fn on_demand(quantity: u64, messages: u64) -> (Outlet<Bytes>, Arc<LinkCell>) {
        let mut outlet = Outlet::new();
        outlet.on_demand();
        let cell = LinkCell::new();
        outlet.reserve(cell.clone()).expect("free");
        assert!(!cell.raise_limit(Limit { quantity, messages }), "the inlet tells the first one, whatever this says");
        assert_eq!(grant(&mut outlet, cell.id(), quantity, messages), "");
        (outlet, cell)
    }

    #[test]
    fn on_demand_credit_in_the_cell_is_used_without_a_message() {
        let (mut outlet, cell) = on_demand(4, 9);
        assert_eq!(push(&mut outlet, "abc"), "abc");
        assert!(!cell.raise_limit(Limit { quantity: 7, messages: 9 }), "it does not wait");
        assert_eq!(outlet.credit().quantity, 1, "as far as it knows");
        assert_eq!(push(&mut outlet, "defg"), "defg", "and no item is cut for want of a look");
        assert_eq!(push(&mut outlet, "hi"), "");
        assert!(cell.raise_limit(Limit { quantity: 8, messages: 9 }), "it waits");
        assert!(!cell.raise_limit(Limit { quantity: 9, messages: 9 }), "and is told once");
        assert_eq!(grant(&mut outlet, cell.id(), 8, 9), "hi", "it looks before it cuts");
    }

    #[test]
    fn on_demand_half_used_it_looks_and_knows_the_whole_window_again() {
        let (mut outlet, cell) = on_demand(8, 99);
        assert_eq!(push(&mut outlet, "abc"), "abc");
        assert!(!cell.raise_limit(Limit { quantity: 11, messages: 99 }));
        assert_eq!(outlet.limit().quantity, 8);
        assert_eq!(push(&mut outlet, "d"), "d");
        assert_eq!(outlet.limit().quantity, 11);
    }

    #[test]
    fn on_demand_asked_for_credit_that_is_not_there_it_waits() {
        let (mut outlet, cell) = on_demand(2, 9);
        assert_eq!(push(&mut outlet, "ab"), "ab");
        assert!(outlet.credit().is_exhausted());
        assert!(cell.raise_limit(Limit { quantity: 3, messages: 9 }), "told");
        assert_eq!(outlet.credit().quantity, 1, "and seen before the message");
        assert_eq!(grant(&mut outlet, cell.id(), 3, 9), "");
        assert_eq!(push(&mut outlet, "c"), "c");
    }

    #[test]
    fn on_demand_it_waits_for_the_part_of_the_limit_that_is_short() {
        let (mut outlet, cell) = on_demand(9, 1);
        assert_eq!(push(&mut outlet, "ab"), "ab");
        assert!(!cell.raise_limit(Limit { quantity: 99, messages: 1 }));
        assert!(outlet.credit().is_exhausted());
        assert!(cell.raise_limit(Limit { quantity: 99, messages: 2 }), "told");
        assert_eq!(outlet.credit(), Credit { quantity: 97, messages: 1 });
    }

    #[test]
    fn on_demand_nothing_of_the_cell_counts_before_the_first_grant_has_come() {
        let mut outlet = Outlet::<Bytes>::new();
        outlet.on_demand();
        let cell = LinkCell::new();
        outlet.reserve(cell.clone()).expect("free");
        let _ = cell.raise_limit(Limit { quantity: 9, messages: 9 });
        assert_eq!(push(&mut outlet, "abc"), "");
        assert!(outlet.credit().is_exhausted() && !outlet.wait_for_credit(), "P2");
        assert_eq!(grant(&mut outlet, cell.id(), 1, 1), "abc", "and from then on the cell counts");
    }

    #[test]
    fn out_of_messages_small_writes_are_joined_up_to_16_kib() {
        let (mut outlet, link) = open(1 << 20, 1);
        assert_eq!(push(&mut outlet, "a"), "a");
        let piece = Bytes::from(vec![b'p'; 1000]);
        let mut taken = 0;
        let refused = loop {
            match outlet.push(piece.clone()) {
                Ok(()) => taken += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(&refused, PushError::Full(item) if *item == piece), "handed back: {refused:?}");
        assert_eq!(taken, JOIN_LIMIT / 1000);
        assert_eq!(grant(&mut outlet, link, 1 << 20, 2).len(), 16_000, "in one message");
        assert_eq!(outlet.sent(), Count { quantity: 16_001, messages: 2 });
    }

    #[test]
    fn out_of_messages_a_large_item_is_not_joined() {
        let (mut outlet, _) = open(1 << 20, 0);
        outlet.push(Bytes::from(vec![b'a'; 20_000])).expect("the first is taken, whatever its size");
        assert!(matches!(outlet.push(Bytes::from_static(b"b")), Err(PushError::Full(_))));
        assert!(!outlet.is_ready());
    }

    fn parcel(quantity: u64) -> Parcel {
        Parcel { quantity, carrier: Arc::new(()) }
    }

    #[test]
    fn open_the_short_way_sends_what_the_long_one_would_and_leaves_the_rest_to_it() {
        let item = Bytes::from_static(b"abc");
        let (mut outlet, _) = reserved();
        assert_eq!(outlet.send_at_once(&item), None, "P2");
        let (mut outlet, link) = open(7, 3);
        assert_eq!(outlet.send_at_once(&Bytes::new()), None, "nothing would be delivered");
        assert_eq!(outlet.send_at_once(&item), Some(link));
        assert_eq!(outlet.send_at_once(&item), Some(link));
        assert_eq!(outlet.cell().expect("open").produced(), Count { quantity: 6, messages: 2 });
        assert_eq!(outlet.send_at_once(&item), None, "P1: it has to be cut");
        assert_eq!(push(&mut outlet, "abc"), "a");
        assert_eq!(outlet.send_at_once(&item), None, "P6: an item waits, and goes first");
        let (mut outlet, _) = open(9, 0);
        assert_eq!(outlet.send_at_once(&item), None, "C1");
        let (mut outlet, _) = open(9, 9);
        outlet.end(true);
        assert_eq!(outlet.send_at_once(&item), None, "P4");
        let (mut outlet, _) = open(9, 9);
        outlet.cell().expect("open").set_cause(cause("consumer"));
        assert_eq!(outlet.send_at_once(&item), None, "A2");
        let (mut outlet, _) = open(9, 9);
        let cell = outlet.cell().expect("open");
        cell.arm(Side::Consumer);
        assert!(cell.suspend(Side::Consumer, &cause("consumer")));
        assert_eq!(outlet.send_at_once(&item), None, "S1");
    }

    #[test]
    fn open_parcel_counts_as_one_item_and_never_waits() {
        let (mut outlet, link) = reserved();
        outlet.cell().expect("reserved").set_forms(Forms { kernel: true });
        assert!(outlet.send_parcel(parcel(1)).is_none(), "P2: not before the first grant");
        assert_eq!(grant(&mut outlet, link, 10, 2), "");
        assert!(outlet.send_parcel(parcel(11)).is_none(), "P1: it cannot be split");
        assert!(outlet.send_parcel(parcel(0)).is_none(), "nothing would be delivered");
        let sent = outlet.send_parcel(parcel(7)).expect("fits");
        assert!(matches!(sent, Down::Parcel { link: of, parcel } if of == link && parcel.quantity == 7));
        assert_eq!(outlet.sent(), Count { quantity: 7, messages: 1 });
        assert_eq!(push(&mut outlet, "abcd"), "abc");
        assert!(outlet.send_parcel(parcel(1)).is_none(), "P4: an item waits, and goes first");
        assert_eq!(grant(&mut outlet, link, 12, 4), "d");
        assert_eq!(outlet.cell().expect("open").produced(), outlet.sent());
    }

    #[test]
    fn open_parcel_for_a_consumer_that_takes_none_is_refused() {
        let (mut outlet, _) = open(10, 2);
        assert!(outlet.send_parcel(parcel(1)).is_none());
        assert_eq!(outlet.sent(), Count::ZERO);
    }

    #[test]
    fn open_parcel_after_the_cell_is_set_is_an_abort() {
        let (mut outlet, _) = open(10, 2);
        let cell = outlet.cell().expect("attached").clone();
        cell.set_forms(Forms { kernel: true });
        cell.set_cause(cause("consumer"));
        assert!(outlet.send_parcel(parcel(1)).is_none(), "A2");
        assert_eq!(drain(&mut outlet), "[aborted: consumer]");
    }

    #[test]
    fn open_end_needs_no_credit() {
        let (mut outlet, _) = open(0, 0);
        outlet.end(false);
        assert_eq!(drain(&mut outlet), "! [ended]");
    }

    #[test]
    fn open_end_waits_for_the_backlog() {
        let (mut outlet, link) = open(0, 0);
        assert_eq!(push(&mut outlet, "ab"), "");
        outlet.end(true);
        outlet.end(false);
        assert_eq!(drain(&mut outlet), "");
        assert_eq!(grant(&mut outlet, link, 1, 9), "a");
        assert!(outlet.has_work());
        assert_eq!(grant(&mut outlet, link, 2, 9), "b . [ended]", "E1: the first end counts");
        assert!(!outlet.has_work());
    }

    #[test]
    fn idle_end_arrives_as_an_empty_stream_at_the_next_attachment() {
        let mut outlet = Outlet::<Bytes>::new();
        outlet.end(true);
        assert_eq!(drain(&mut outlet), "");
        let cell = LinkCell::new();
        outlet.reserve(cell.clone()).expect("not over yet");
        assert_eq!(grant(&mut outlet, cell.id(), 0, 0), ". [ended]");
    }

    #[test]
    fn detach_keeps_what_waits_for_the_next_attachment() {
        let (mut outlet, link) = open(2, 9);
        assert_eq!(push(&mut outlet, "abcd"), "ab");
        outlet.end(true);
        assert_eq!(outlet.detach(link), Some(Count { quantity: 2, messages: 1 }));
        assert_eq!(drain(&mut outlet), "[detached 2/1]");
        let cell = LinkCell::new();
        outlet.reserve(cell.clone()).expect("free again");
        assert_eq!(outlet.sent(), Count::ZERO, "counts restart");
        assert_eq!(grant(&mut outlet, cell.id(), 9, 9), "cd . [ended]");
    }

    #[test]
    fn detached_late_grant_is_stale_and_counted() {
        let (mut outlet, link) = open(2, 9);
        let _ = outlet.detach(link);
        drain(&mut outlet);
        assert!(!outlet.handle_can_produce(link, Limit { quantity: 9, messages: 9 }));
        assert_eq!(outlet.handle_abort(link), LateAbort::Stale);
        assert_eq!((outlet.stale(), outlet.phase()), (2, OutletPhase::Idle));
    }

    #[test]
    fn detach_of_a_link_whose_cell_is_set_is_an_abort() {
        let (mut outlet, link) = open(2, 9);
        outlet.cell().expect("attached").set_cause(cause("consumer"));
        assert_eq!(outlet.detach(link), None);
        assert_eq!(drain(&mut outlet), "[aborted: consumer]");
    }

    #[test]
    fn open_cell_set_before_an_item_stops_it() {
        let (mut outlet, _) = open(9, 9);
        outlet.cell().expect("attached").set_cause(cause("consumer"));
        assert_eq!(push(&mut outlet, "late"), "[aborted: consumer]", "A2, and no wake: the consumer knows");
    }

    #[test]
    fn open_abort_tells_the_cause_that_was_first() {
        let (mut outlet, _) = open(9, 9);
        outlet.cell().expect("attached").set_cause(cause("first"));
        outlet.abort(cause("second"));
        assert_eq!(drain(&mut outlet), "[aborted: first]");
    }

    #[test]
    fn ended_abort_sets_nothing() {
        let (mut outlet, _) = open(0, 0);
        outlet.end(true);
        assert_eq!(drain(&mut outlet), ". [ended]");
        outlet.abort(cause("owner"));
        assert_eq!(drain(&mut outlet), "");
        assert!(outlet.cell().expect("kept").cause().is_none());
    }

    #[test]
    fn ended_abort_of_a_draining_consumer_is_after_the_end() {
        let (mut outlet, link) = open(0, 0);
        outlet.end(true);
        drain(&mut outlet);
        outlet.cell().expect("kept").set_cause(cause("consumer"));
        assert_eq!(outlet.handle_abort(link), LateAbort::AfterEnd);
        assert_eq!(drain(&mut outlet), "", "P4: the terminal was told");
    }

    #[test]
    fn reserved_release_leaves_the_outlet_as_it_was() {
        let (mut outlet, link) = reserved();
        assert_eq!(push(&mut outlet, "kept"), "");
        assert!(outlet.release(link));
        assert_eq!(drain(&mut outlet), "", "no terminal: there was no attachment");
        assert!(outlet.has_work());
    }
}
