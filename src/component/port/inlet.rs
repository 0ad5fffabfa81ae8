//! The inlet as an actor owns it.

use super::isolation::Isolation;
use super::{AnyPort, Home, Owner};
use crate::component::ComponentInfo;
use crate::component::address::WeakUpTx;
use crate::component::budget::Seat;
use crate::component::control::{ASK_TIMEOUT, Asking, ConsumerAttached, Control, Envelope};
use crate::component::link::{Link, Note};
use crate::component::message::{AttachInlet, CloseAt, InletEvent, InletHandle, InletMsg, OutletMsg, handle_of, reply};
use crate::proto::link::Inlet as Core;
use crate::proto::link::{
    AttachError, Cause, Count, Credit, Down, Forms, InletEffect, InletPhase, LinkId, LinkState, Payload, Reason,
    Received, Side, Terminal, Up, Window,
};
use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Who says that an item is finished with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    /// It is when the hook has it.
    AtOnce,
    /// The owner does, by [`Inlet::release`].
    ByOwner,
}

/// The consuming port of a component: owned by value as a field of the actor, named in [`wire!`](crate::wire).
///
/// Three ways to grant, chosen when it is made:
///
/// * [`new`](Self::new), and `default()`: an item counts as finished with once the hook has it;
/// * [`holding`](Self::holding): the owner says by [`release`](Self::release) what it has finished with, and by
///   [`complete`](Self::complete) that it has finished altogether;
/// * [`manual`](Self::manual): only what the owner [`grant`](Self::grant)s.
///
/// Grants leave at the end of the actor's turn (rule F1). Dropping an inlet that is attached, or that still holds items,
/// aborts the link (rule A3).
pub struct Inlet<T: Payload> {
    core: Core<T>,
    release: Release,
    owner: Option<Arc<Owner>>,
    link: Option<Arc<Link>>,
    peer: Option<Arc<dyn WeakUpTx<T>>>,
    /// A hold on the own actor while items are held.
    hold: Option<Box<dyn Any + Send>>,
    early: Option<Arc<Cause>>,
    /// Attached, and the transaction has not said yet that it stands: nothing is granted.
    gated: bool,
    /// The component has no such direction; every attachment is refused.
    absent: bool,
    /// Its place in the memory budget, if the link falls under one.
    seat: Option<Box<Seat>>,
    /// Bytes for each unit, for the budget.
    unit: u64,
    isolation: Isolation,
}

impl<T: Payload> Default for Inlet<T> {
    fn default() -> Self {
        Self::new(Window::default())
    }
}

impl<T: Payload> Inlet<T> {
    /// An inlet that keeps this window, for a hook that finishes with an item at once.
    pub fn new(window: Window) -> Self {
        Self::with(Core::new(window), Release::AtOnce)
    }

    /// An inlet that keeps this window, for an owner that holds items and [`release`](Self::release)s them.
    pub fn holding(window: Window) -> Self {
        let mut core = Core::new(window);
        core.defer_end();
        Self::with(core, Release::ByOwner)
    }

    /// An inlet that grants only what its owner [`grant`](Self::grant)s.
    pub fn manual() -> Self {
        Self::with(Core::manual(), Release::AtOnce)
    }

    /// The same, for an owner whose end counts as received only when it calls [`complete`](Self::complete): until then it can
    /// still abort and be heard.
    pub fn manual_until_complete() -> Self {
        let mut core = Core::manual();
        core.defer_end();
        Self::with(core, Release::AtOnce)
    }

    fn with(core: Core<T>, release: Release) -> Self {
        Self {
            core,
            release,
            owner: None,
            link: None,
            peer: None,
            hold: None,
            early: None,
            gated: false,
            absent: false,
            seat: None,
            unit: 1,
            isolation: Isolation::default(),
        }
    }

    /// A port that refuses every attachment: for a component of which this direction is not there.
    pub fn absent() -> Self {
        let mut port = Self::default();
        port.absent = true;
        port
    }

    /// True for a port made by [`absent`](Self::absent).
    pub fn is_absent(&self) -> bool {
        self.absent
    }

    /// The same port, isolated: an abort of its link, by either side, ends the attachment and not the component. The hook hears
    /// [`InletEvent::Aborted`] once for each such attachment, and the port can then be attached again. What the owner still holds of it is its own, and is not [`release`](Self::release)d. An abort of the
    /// component still takes the port.
    #[must_use]
    pub fn isolated(mut self) -> Self {
        self.isolation.set();
        self
    }

    /// True for a port made by [`isolated`](Self::isolated).
    pub fn is_isolated(&self) -> bool {
        self.isolation.is_on()
    }

    /// Why the last attachment of an isolated port that was aborted was.
    pub fn aborted_by(&self) -> Option<&Arc<Cause>> {
        self.isolation.cause()
    }

    /// Allows `credit` beyond what was accepted so far. For a [`manual`](Self::manual) inlet.
    pub fn grant(&mut self, credit: Credit) {
        self.core.grant(credit);
        self.after();
    }

    /// The owner has finished with `quantity` units in `messages` items. For a [`holding`](Self::holding) inlet.
    pub fn release(&mut self, quantity: u64, messages: u64) {
        self.core.release(quantity, messages);
        self.after();
    }

    /// The owner has finished with everything that it holds.
    pub fn release_all(&mut self) {
        self.core.release_all();
        self.after();
    }

    /// The owner has finished with everything, the end included. For a [`holding`](Self::holding) inlet, whose end counts
    /// as received only then: until it is called the owner can still abort and be heard.
    pub fn complete(&mut self) {
        self.core.complete();
        self.after();
    }

    /// Sets the window. A smaller one takes effect as items are released; [`Window::CLOSED`] is a closed gate.
    pub fn set_window(&mut self, window: Window) {
        self.core.set_window(window);
        self.after();
    }

    /// Declares in which forms the owner takes bytes. Counts from the next attachment on.
    pub fn set_forms(&mut self, forms: Forms) {
        self.core.set_forms(forms);
    }

    /// What one unit takes, in bytes, for a memory [budget](crate::component::budget::Budget): 1 unless it is said, right for
    /// `Bytes`. At least 1. Counts from the next attachment on.
    pub fn set_unit(&mut self, bytes: u64) {
        self.unit = bytes.max(1);
    }

    /// Breaks the link off: the component and all that depends on it are aborted with this reason. An
    /// [`isolated`](Self::isolated) port breaks off the link alone.
    pub fn abort(&mut self, reason: Reason) {
        let cause = match &self.owner {
            Some(owner) if self.isolation.is_on() => owner.cuts(reason),
            Some(owner) => owner.fails(reason),
            None => ComponentInfo::new("not started", false).blame(reason),
        };
        self.abort_with(&cause);
    }

    /// What was accepted and not released.
    pub fn held(&self) -> Count {
        self.core.held()
    }

    /// What was accepted on the current attachment.
    pub fn accepted(&self) -> Count {
        self.core.accepted()
    }

    /// True while a producer is attached and its end has not come.
    pub fn is_open(&self) -> bool {
        self.core.phase() == InletPhase::Open
    }

    /// Asks the producer's chain, and waits for the answer at most [`ASK_TIMEOUT`]. Spawn the future; never use `ctx.wait`.
    pub fn ask<M: Control>(&self, message: M) -> Asking<M::Reply> {
        self.ask_within(message, ASK_TIMEOUT)
    }

    /// The same, with a time limit of the asker's own.
    pub fn ask_within<M: Control>(&self, message: M, within: Duration) -> Asking<M::Reply> {
        match (&self.link, &self.peer) {
            (Some(link), Some(peer)) if peer.hears(TypeId::of::<M>()) => link.ask(message, within, self.sender(peer)),
            _ => Asking::missing(),
        }
    }

    /// Tells the producer's chain, and waits for nothing.
    pub fn tell<M: Control<Reply = ()>>(&self, message: M) {
        if let (Some(link), Some(peer)) = (&self.link, &self.peer)
            && peer.hears(TypeId::of::<M>())
        {
            link.tell(message, self.sender(peer));
        }
    }

    fn announce<M: Control<Reply = ()>>(&self, message: M) {
        if let (Some(link), Some(peer)) = (&self.link, &self.peer)
            && peer.hears(TypeId::of::<M>())
        {
            link.announce(message, self.sender(peer));
        }
    }

    fn sender(&self, peer: &Arc<dyn WeakUpTx<T>>) -> impl FnOnce(LinkId, Envelope) + Send + 'static + use<T> {
        let peer = peer.clone();
        move |link, envelope| {
            peer.send(OutletMsg::Control(link, envelope));
        }
    }

    // ---- what the driver calls

    /// What [`wire!`](crate::wire) calls before it tells the hook that an isolated port was aborted: takes the port back.
    /// False if there is nothing to tell.
    #[doc(hidden)]
    pub fn take_cut(&mut self) -> bool {
        if let Some(cause) = self.isolation.take_loss() {
            self.core.abort(cause);
            self.run();
        }
        if !self.isolation.tell() {
            return false;
        }
        self.core.renew();
        self.link = None;
        true
    }

    /// Handles a message; returns what the hook has to hear.
    pub(crate) fn receive(
        &mut self,
        msg: InletMsg<T>,
        handle: impl FnOnce(&dyn Home) -> Box<dyn InletHandle>,
    ) -> Option<InletEvent<T>> {
        match msg {
            InletMsg::Down(down) => self.receive_down(down),
            // the hold is dropped once the message is handled
            InletMsg::Last(down, _hold) => self.receive_down(down),
            InletMsg::Attach(attach) => self.attach(*attach, handle),
            InletMsg::Open(link) => {
                self.gated &= self.link.as_ref().is_none_or(|own| own.id() != link);
                None
            }
            InletMsg::CloseAt(close) => self.close_at(*close),
            InletMsg::Batch(..) | InletMsg::Control(..) => unreachable!("the driver handles these"),
        }
    }

    /// Handles what comes along the link.
    pub(crate) fn receive_down(&mut self, down: Down<T>) -> Option<InletEvent<T>> {
        let received = match down {
            Down::Consume { link, item } => self.core.handle_consume(link, item),
            Down::Parcel { link, parcel } => self.core.handle_parcel(link, parcel),
            Down::End { link, clean } => self.core.handle_end(link, clean),
            Down::Abort { link } => {
                self.core.handle_abort(link);
                Received::Nothing
            }
            Down::Suspend { link, at } => {
                let parted = self.core.handle_suspend(link, at);
                self.run();
                return parted.then_some(InletEvent::Detached);
            }
        };
        let event = match received {
            Received::Item(item) => {
                self.release_at_once();
                Some(InletEvent::Item(item))
            }
            Received::Parcel(parcel) => {
                self.release_at_once();
                Some(InletEvent::Parcel(parcel))
            }
            Received::End { clean } => Some(InletEvent::End { clean }),
            Received::Nothing => None,
        };
        self.run();
        event
    }

    fn release_at_once(&mut self) {
        if self.release == Release::AtOnce {
            self.core.release_all();
        }
    }

    fn attach(
        &mut self,
        mut attach: AttachInlet<T>,
        handle: impl FnOnce(&dyn Home) -> Box<dyn InletHandle>,
    ) -> Option<InletEvent<T>> {
        if self.absent {
            attach.refuse(AttachError::NoSuchPort);
            return None;
        }
        if self.owner.as_ref().is_some_and(|owner| owner.info.is_rebuilt()) {
            attach.link.cell().arm(Side::Consumer);
        }
        if let Err(error) = self.core.attach(attach.link.cell().clone()) {
            attach.refuse(error);
            return None;
        }
        attach.handled = true;
        self.isolation.joined();
        self.gated = attach.gated;
        let owner = self.owner.as_ref()?;
        let link = &attach.link;
        owner.joins(link);
        let held = self.core.held().quantity;
        self.seat = Seat::take_over(self.seat.take(), link, self.unit, held, || owner.home.boxed_manage());
        self.core.set_allotment(self.seat.is_some().then_some(0));
        if self.isolation.is_on() {
            link.isolate(Side::Consumer);
        }
        link.note(|| {
            let component = handle_of(&owner.info, owner.home.boxed_manage());
            Note::Attached { link: link.clone(), component, inlet: handle(&*owner.home) }
        });
        reply(attach.reply.take(), Ok(owner.info.clone()));
        self.peer = Some(attach.producer.clone());
        self.link = Some(link.clone());
        self.run();
        self.is_open().then_some(InletEvent::Attached)
    }

    fn close_at(&mut self, close: CloseAt) -> Option<InletEvent<T>> {
        let verdict = self.core.close_at(close.link, close.at);
        self.run();
        let event = matches!(verdict, Some(Ok(()))).then_some(InletEvent::Detached);
        reply(close.reply, verdict);
        event
    }

    /// After a change by the owner: what cannot wait at once, grants at the end of the turn or, outside one, now.
    fn after(&mut self) {
        self.run();
        if self.owner.as_ref().is_none_or(|owner| !owner.is_in_turn()) {
            self.after_handler();
            self.send_grants();
        }
    }

    /// Does what cannot wait for the end of the handler. The hold on the own actor can: nothing ends it before, and an item
    /// that is released at once needs none.
    fn run(&mut self) {
        // the usual case, for every item
        if self.core.is_urgent() {
            self.run_urgent();
        }
    }

    #[cold]
    fn run_urgent(&mut self) {
        while let Some(effect) = self.core.poll_urgent() {
            match effect {
                InletEffect::Send(up) => self.send(up),
                InletEffect::Over(terminal) => self.over(terminal),
            }
        }
    }

    fn send(&self, up: Up) {
        if let Some(peer) = &self.peer {
            peer.send(OutletMsg::Up(up));
        }
    }

    fn over(&mut self, terminal: Terminal) {
        if let Some(link) = &self.link {
            if let (Terminal::Suspended { at, cause }, Some(owner), false) =
                (&terminal, &self.owner, self.core.is_over())
            {
                owner.parted(link, Side::Consumer, *at, cause, self.isolation.part());
            }
            link.note(|| Note::Over { link: link.id(), side: Side::Consumer, terminal: terminal.clone() });
        }
        match terminal {
            Terminal::Detached { .. } => self.link = None,
            Terminal::Suspended { .. } if !self.core.is_over() => self.link = None,
            Terminal::Ended { .. } => {}
            Terminal::Aborted(cause) if self.isolation.keeps(&cause, self.owner.as_ref()) => {}
            Terminal::Aborted(cause) | Terminal::Suspended { cause, .. } => match &self.owner {
                Some(owner) => owner.port_broken(&cause),
                None => self.early = Some(cause),
            },
        }
        self.peer = None;
    }
}

impl<T: Payload> AnyPort for Inlet<T> {
    fn is_inlet(&self) -> bool {
        true
    }

    fn is_over(&self) -> bool {
        self.core.is_over()
    }

    fn is_attached(&self) -> bool {
        self.peer.is_some()
    }

    fn owner(&self) -> Option<&Arc<Owner>> {
        self.owner.as_ref()
    }

    fn adopt(&mut self, owner: &Arc<Owner>) {
        self.owner = Some(owner.clone());
        if let Some(cause) = self.early.take() {
            owner.port_broken(&cause);
        }
    }

    fn is_cut(&self) -> bool {
        self.isolation.is_untold()
    }

    fn abort_with(&mut self, cause: &Arc<Cause>) {
        match &self.owner {
            Some(owner) if owner.is_own(cause) => self.core.fail(cause.clone()),
            _ => self.core.abort(cause.clone()),
        }
        self.run();
        self.after_handler();
    }

    fn is_settled(&self) -> bool {
        self.core.held().is_zero()
    }

    fn send_grants(&mut self) {
        if self.gated {
            return;
        }
        if let Some(seat) = &mut self.seat
            && self.core.phase() == InletPhase::Open
        {
            let woken = seat.is_woken();
            if woken {
                self.core.freshen();
            }
            if woken || self.core.is_grant_due() {
                let allotment = seat.take(self.core.outstanding(), self.core.held().quantity, self.core.wish());
                self.core.set_allotment(Some(allotment));
            }
        }
        let greeted = self.core.limit();
        let mut first = false;
        while let Some(InletEffect::Send(up)) = self.core.poll_grant() {
            first |= greeted == crate::proto::link::Limit::ZERO;
            self.send(up);
        }
        if first
            && let Some(owner) = &self.owner
            && self.core.accepted().is_zero()
        {
            self.announce(ConsumerAttached { consumer: owner.info.clone() });
        }
    }

    fn is_grant_due(&self) -> bool {
        !self.gated && (self.core.is_grant_due() || self.seat.as_ref().is_some_and(|seat| seat.is_woken()))
    }

    fn after_handler(&mut self) {
        if let Some(seat) = &mut self.seat {
            match self.core.phase() {
                // it says so when it next asks; what an aborted one had lies in a mailbox that goes with its component
                InletPhase::Open | InletPhase::Aborted => {}
                InletPhase::Idle if self.core.held().is_zero() => self.seat = None,
                InletPhase::Idle | InletPhase::Draining => seat.close(self.core.held().quantity),
                InletPhase::Ended => self.seat = None,
            }
        }
        let wanted = self.core.has_work();
        if wanted != self.hold.is_some() {
            self.hold = match wanted {
                true => self.owner.as_ref().and_then(|owner| owner.hold()),
                false => None,
            };
        }
    }

    fn drain(&mut self) {}

    fn link(&self) -> Option<&Arc<Link>> {
        self.link.as_ref().filter(|_| self.peer.is_some())
    }

    fn pass(&mut self, envelope: Envelope) -> Result<(), Envelope> {
        let (Some(link), Some(peer)) = (&self.link, &self.peer) else { return Err(envelope) };
        if let Some(waits) = link.send_with_room(envelope, self.sender(peer)) {
            actix_rt::spawn(waits);
        }
        Ok(())
    }
}

impl<T: Payload> Drop for Inlet<T> {
    fn drop(&mut self) {
        // A3; nothing once all was finished with
        if let Some(owner) = self.owner.clone()
            && self.link.is_some()
            && !self.core.is_over()
        {
            self.abort_with(&owner.drop_cause());
        }
    }
}

impl<T: Payload> fmt::Debug for Inlet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.core.cell().map_or(LinkState::New, |cell| cell.inlet_state());
        f.debug_struct("Inlet")
            .field("phase", &self.core.phase())
            .field("state", &state)
            .field("accepted", &self.core.accepted())
            .field("held", &self.core.held())
            .finish_non_exhaustive()
    }
}
