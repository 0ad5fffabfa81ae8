//! The outlet as an actor owns it.

use super::batch::{Batch, Items};
use super::isolation::Isolation;
use super::{AnyPort, Home, Owner};
use crate::component::ComponentInfo;
use crate::component::address::DownTx;
use crate::component::control::{ASK_TIMEOUT, Asking, Control, Envelope, ProducerAttached};
use crate::component::link::{Link, Note, Waiting};
use crate::component::message::{InletMsg, OutletHandle, OutletMsg, ReserveOutlet, handle_of, reply};
use crate::proto::link::{
    AttachError, Cause, Count, Credit, Down, Forms, LateAbort, LinkId, OutletEffect, OutletPhase, Parcel, Payload,
    PushError, Reason, Side, Terminal, Up,
};
use crate::proto::link::{LinkState, Outlet as Core};
use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The producing port of a component: owned by value as a field of the actor, named in [`wire!`](crate::wire).
///
/// It holds one item at most that waits for credit. Dropping it while attached aborts the link (rule A3).
pub struct Outlet<T: Payload> {
    core: Core<T>,
    owner: Option<Arc<Owner>>,
    link: Option<Arc<Link>>,
    peer: Option<Arc<dyn DownTx<T>>>,
    /// What the running handler pushed and may send. In a cell because a question must not overtake it.
    batch: RefCell<Batch<T>>,
    /// A hold on the own actor while something is left to send.
    hold: Option<Box<dyn Any + Send>>,
    keep: bool,
    /// What the owner says that it waits for.
    declared: Waiting,
    early: Option<Arc<Cause>>,
    /// The component has no such direction; every attachment is refused.
    absent: bool,
    isolation: Isolation,
}

impl<T: Payload> Default for Outlet<T> {
    fn default() -> Self {
        Self {
            core: Core::new(),
            owner: None,
            link: None,
            peer: None,
            batch: RefCell::default(),
            hold: None,
            keep: false,
            declared: Waiting::No,
            early: None,
            absent: false,
            isolation: Isolation::default(),
        }
    }
}

impl<T: Payload> Outlet<T> {
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
    /// [`OutletEvent::Aborted`](crate::component::OutletEvent::Aborted) once for each such attachment, and the port can then be attached again. An abort of the
    /// component still takes the port.
    #[must_use]
    pub fn isolated(mut self) -> Self {
        self.isolation.set();
        self
    }

    /// The same port, on demand: the hook hears [`OutletEvent::Credit`](crate::component::OutletEvent::Credit) once for each
    /// attachment, and then only while the outlet waits. It waits while an item is left in it, after
    /// [`credit`](Self::credit) has answered with none, and after [`wait_for_credit`](Self::wait_for_credit). Other grants are no
    /// message (rule C1), which spares the actor a turn for each.
    ///
    /// For an owner that asks for the credit when it has something to send. Not for one that passes on what credit there is, as by
    /// `input.grant(output.credit())`: such a one has to hear of more while there is some.
    #[must_use]
    pub fn on_demand(mut self) -> Self {
        self.core.on_demand();
        self
    }

    /// The owner of an outlet [`on_demand`](Self::on_demand) stands still until the consumer goes on, though there is credit: it
    /// is too little, or what is to be sent waits for the consumer in another way. True if more was granted meanwhile: try
    /// again. If false, [`OutletEvent::Credit`](crate::component::OutletEvent::Credit) tells of the next grant; also on an outlet that
    /// is not on demand.
    pub fn wait_for_credit(&mut self) -> bool {
        self.core.wait_for_credit()
    }

    /// True for a port made by [`isolated`](Self::isolated).
    pub fn is_isolated(&self) -> bool {
        self.isolation.is_on()
    }

    /// Why the last attachment of an isolated port that was aborted was.
    pub fn aborted_by(&self) -> Option<&Arc<Cause>> {
        self.isolation.cause()
    }

    /// What the consumer had finished with when the last attachment of an isolated port was aborted: bytes, or items. What was pushed
    /// beyond is lost. Read when the port noticed; a consumer that works on may come a little further.
    pub fn finished_when_aborted(&self) -> u64 {
        self.isolation.finished()
    }

    /// Sends an item under credit; what does not fit is split off and waits inside, one item at most.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] while an earlier item waits; [`PushError::Closed`] after an end or an abort. The item is
    /// handed back either way.
    pub fn push(&mut self, item: T) -> Result<(), PushError<T>> {
        if self.core.send_at_once(&item).is_some() {
            self.enqueue(item);
            self.after();
            return Ok(());
        }
        self.core.push(item)?;
        self.run();
        Ok(())
    }

    /// Puts an item that counts as sent behind those of the running handler.
    fn enqueue(&mut self, item: T) {
        let quantity = item.quantity();
        if self.batch.get_mut().push(item, quantity) {
            self.flush();
        }
    }

    /// In which forms the consumer takes what is sent; known from [`OutletEvent::Attached`] on.
    ///
    /// [`OutletEvent::Attached`]: crate::component::OutletEvent::Attached
    pub fn forms(&self) -> Forms {
        self.core.forms()
    }

    /// Sends a parcel, in order with what was pushed. Back if the consumer does not take any, or if it does not fit the
    /// [`credit`](Self::credit), which is none while an item waits.
    ///
    /// # Errors
    ///
    /// The parcel, as above.
    pub fn push_parcel(&mut self, parcel: Parcel) -> Result<(), Parcel> {
        let Some(message) = self.core.send_parcel(parcel.clone()) else {
            self.run();
            return Err(parcel);
        };
        self.flush();
        if let Some(peer) = &self.peer {
            peer.send(InletMsg::Down(message));
        }
        self.after();
        Ok(())
    }

    /// No more items come; `clean` says whether the data is complete (rule E1). What was pushed is sent first. Needs no
    /// credit, and may be called before the outlet is attached. The first call counts.
    pub fn end(&mut self, clean: bool) {
        self.core.end(clean);
        self.run();
    }

    /// Breaks the link off: the component and all that depends on it are aborted with this reason. An
    /// [`isolated`](Self::isolated) port breaks off the link alone.
    pub fn abort(&mut self, reason: Reason) {
        let cause = self.cause(reason);
        self.abort_with(&cause);
    }

    /// What may be pushed and is sent at once. An outlet [`on_demand`](Self::on_demand) that answers with none waits from now on.
    pub fn credit(&self) -> Credit {
        self.core.credit()
    }

    /// True if [`push`](Self::push) would take any item now.
    pub fn is_ready(&self) -> bool {
        self.core.is_ready()
    }

    /// True while a consumer is attached and has granted at least once; also while it has not finished and may ask for the
    /// data again (rule S2).
    pub fn is_open(&self) -> bool {
        self.core.phase() == OutletPhase::Open || self.core.is_lingering()
    }

    /// True after an end or an abort.
    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// Whether the end was clean, once it was sent and nobody can ask for the data again (rule S2).
    pub fn ended(&self) -> Option<bool> {
        match (self.core.phase(), self.core.cell()) {
            (OutletPhase::Ended, Some(cell)) => Some(cell.outlet_state() == LinkState::EndedClean),
            _ => None,
        }
    }

    /// True once the end was sent and the consumer has finished with all of it, or is gone. No message tells of it.
    pub fn is_delivered(&self) -> bool {
        self.core.is_over() && self.core.cell().is_none_or(|cell| cell.inlet_state().is_terminal())
    }

    /// True if an item or the end is still to be sent.
    pub fn has_work(&self) -> bool {
        self.core.has_work()
    }

    /// What was sent on the current attachment.
    pub fn sent(&self) -> Count {
        self.core.sent()
    }

    /// While `true`, the outlet holds its own actor, as it does by itself while something waits in it: for a component
    /// that has work left of its own (design, ownership).
    pub fn keep(&mut self, keep: bool) {
        self.keep = keep;
        self.after();
    }

    /// Says what the owner waits for, for the link's times. An outlet in which something waits for credit says so by
    /// itself.
    pub fn waiting(&mut self, waiting: Waiting) {
        self.declared = waiting;
        self.after();
    }

    /// Asks the consumer's chain, and waits for the answer at most [`ASK_TIMEOUT`]. Spawn the future; never use `ctx.wait`.
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

    /// Tells the consumer's chain, and waits for nothing.
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

    /// A way to ask the consumer's chain from a future that outlasts the handler. Holds the consumer.
    pub fn asker(&self) -> Asker<T> {
        Asker { way: self.link.clone().zip(self.peer.clone()) }
    }

    /// A way for a control message, behind what was pushed before it (rule X1).
    fn sender(&self, peer: &Arc<dyn DownTx<T>>) -> impl FnOnce(LinkId, Envelope) + Send + 'static + use<T> {
        self.flush();
        let peer = peer.clone();
        move |link, envelope| peer.send(InletMsg::Control(link, envelope))
    }

    // ---- what the driver calls

    /// What [`wire!`](crate::wire) calls before it tells the hook that an isolated port was aborted: takes the port back.
    /// False if there is nothing to tell.
    #[doc(hidden)]
    pub fn take_cut(&mut self) -> bool {
        if let Some(cause) = self.isolation.take_loss() {
            // what waits for the consumer that does not come goes with it
            self.core.abort(cause);
            self.run();
        }
        if !self.isolation.tell() {
            return false;
        }
        self.core.renew();
        self.part();
        true
    }

    /// Handles a message; returns whether the hook has to hear of an attachment, of credit, or of a detachment.
    pub(crate) fn receive(
        &mut self,
        msg: OutletMsg<T>,
        handle: impl FnOnce(&dyn Home) -> Box<dyn OutletHandle>,
    ) -> Heard {
        match msg {
            OutletMsg::Up(Up::CanProduce { link, limit }) => {
                let was_open = self.is_open();
                let before = self.core.limit();
                if !self.core.handle_can_produce(link, limit) {
                    return Heard::Nothing;
                }
                self.run();
                match was_open {
                    false if self.is_open() || self.core.phase() == OutletPhase::Ended => {
                        self.tell_attached();
                        Heard::Attached
                    }
                    // an outlet on demand may have seen it before, and its owner not
                    true if self.core.limit() != before || self.core.is_on_demand() => Heard::Credit,
                    _ => Heard::Nothing,
                }
            }
            OutletMsg::Up(Up::Abort { link }) => {
                match self.core.handle_abort(link) {
                    LateAbort::Live => self.run(),
                    LateAbort::AfterEnd => self.late_abort(),
                    LateAbort::Stale => {}
                }
                Heard::Nothing
            }
            OutletMsg::Up(Up::Suspend { link }) => {
                self.flush();
                let parted = self.core.handle_suspend(link);
                self.run();
                if parted { Heard::Detached } else { Heard::Nothing }
            }
            OutletMsg::Up(Up::Finished { link }) => {
                let finished = self.core.handle_finished(link);
                self.run();
                // no credit comes of it, but the owner may be over now
                if finished { Heard::Credit } else { Heard::Nothing }
            }
            OutletMsg::Reserve(reserve) => {
                self.reserve(*reserve, handle);
                Heard::Nothing
            }
            OutletMsg::Release(link) => {
                if self.core.release(link) {
                    self.part();
                }
                Heard::Nothing
            }
            OutletMsg::Detach(link, to) => {
                // everything that counts as sent must be before the supervisor's next message to the consumer
                self.flush();
                let at = self.core.detach(link);
                self.run();
                reply(to, at);
                if at.is_some() { Heard::Detached } else { Heard::Nothing }
            }
            OutletMsg::Control(..) | OutletMsg::Rewind(..) => unreachable!("the driver handles these"),
        }
    }

    /// How much waits for credit.
    pub(crate) fn waits(&self) -> u64 {
        self.core.waits()
    }

    /// The component has gone back: what waits here comes again.
    pub(crate) fn rewind(&mut self) {
        self.core.rewind();
    }

    fn reserve(&mut self, mut reserve: ReserveOutlet<T>, handle: impl FnOnce(&dyn Home) -> Box<dyn OutletHandle>) {
        if self.absent {
            return reserve.refuse(AttachError::NoSuchPort);
        }
        if self.owner.as_ref().is_some_and(|owner| owner.info.is_rebuilt()) {
            reserve.link.cell().arm(Side::Producer);
        }
        if let Err(error) = self.core.reserve(reserve.link.cell().clone()) {
            return reserve.refuse(error);
        }
        self.isolation.joined();
        let Some(owner) = &self.owner else { return };
        reserve.handled = true;
        let link = reserve.link.clone();
        if self.isolation.is_on() {
            link.isolate(Side::Producer);
        }
        owner.joins(&link);
        link.note(|| {
            let component = handle_of(&owner.info, owner.home.boxed_manage());
            Note::Reserved { link: link.clone(), component, outlet: handle(&*owner.home) }
        });
        reply(reserve.reply.take(), Ok(owner.info.clone()));
        self.link = Some(link);
        self.peer = Some(reserve.consumer.clone());
        self.run();
    }

    /// Sends what may be sent. The drain rule.
    fn run(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                OutletEffect::Send(Down::Consume { item, .. }) => self.enqueue(item),
                OutletEffect::Send(last) => {
                    self.flush();
                    if let Some(peer) = self.peer.take() {
                        let hold = peer.clone();
                        peer.send(InletMsg::Last(last, hold));
                        // S2: the attachment is not over
                        self.peer = self.core.is_lingering().then_some(peer);
                    }
                }
                OutletEffect::Over(terminal) => self.over(terminal),
            }
        }
        self.after();
    }

    /// Outside a turn, what the end of one does.
    fn after(&mut self) {
        if self.owner.as_ref().is_none_or(|owner| !owner.is_in_turn()) {
            self.after_handler();
        }
    }

    /// Sends the batch.
    fn flush(&self) {
        let items = self.batch.borrow_mut().take();
        let (Some(peer), Some(link)) = (&self.peer, &self.link) else { return };
        match items {
            Items::None => {}
            Items::One(item) => peer.send(InletMsg::Down(Down::Consume { link: link.id(), item })),
            Items::Many(items) => peer.send(InletMsg::Batch(link.id(), items)),
        }
    }

    fn over(&mut self, terminal: Terminal) {
        if let Some(link) = &self.link {
            link.times().set(Waiting::No);
            if let (Terminal::Suspended { at, cause }, Some(owner), false) =
                (&terminal, &self.owner, self.core.is_over())
            {
                let finished = link.cell().finished();
                owner.parted(link, Side::Producer, *at, cause, self.isolation.part());
                self.isolation.set_finished(finished);
            }
            link.note(|| Note::Over { link: link.id(), side: Side::Producer, terminal: terminal.clone() });
        }
        match terminal {
            Terminal::Detached { .. } => self.part(),
            Terminal::Suspended { .. } if !self.core.is_over() => self.part(),
            Terminal::Ended { .. } => self.peer = None,
            Terminal::Aborted(cause) | Terminal::Suspended { cause, .. } => {
                self.peer = None;
                self.batch.get_mut().take();
                if self.isolation.keeps(&cause, self.owner.as_ref()) {
                    if let Some(cell) = self.core.cell() {
                        self.isolation.set_finished(cell.finished());
                    }
                    return;
                }
                match &self.owner {
                    Some(owner) => owner.port_broken(&cause),
                    None => self.early = Some(cause),
                }
            }
        }
    }

    /// The consumer aborted after our end: this port is over, but the component's other ports are not.
    fn late_abort(&mut self) {
        if self.isolation.is_on() {
            return;
        }
        if let (Some(cause), Some(owner)) = (self.core.cell().and_then(|cell| cell.cause()), &self.owner) {
            owner.port_broken(cause);
        }
    }

    fn part(&mut self) {
        self.peer = None;
        self.link = None;
        self.sync();
    }

    /// An outlet that has something left to send holds its own actor; so does one that waits for its first grant, at which
    /// its owner would start to send.
    fn sync(&mut self) {
        let attached = self.peer.is_some();
        let blocked = attached && self.core.has_work();
        let reserved = self.core.phase() == OutletPhase::Reserved;
        let lingers = self.core.is_lingering();
        let wanted = attached && (blocked || reserved || lingers || self.keep);
        if wanted != self.hold.is_some() {
            self.hold = match wanted {
                true => self.owner.as_ref().and_then(|owner| owner.hold()),
                false => None,
            };
        }
        // at the end of a handler only: an outlet that is blocked again at the end of each was blocked all the time
        if let Some(link) = &self.link {
            link.times().set(match (attached && !lingers, blocked) {
                (false, _) => Waiting::No,
                (true, true) => Waiting::ForCredit,
                (true, false) => self.declared,
            });
        }
    }

    fn tell_attached(&self) {
        if let Some(owner) = &self.owner {
            self.announce(ProducerAttached { producer: owner.info.clone() });
        }
    }

    fn cause(&self, reason: Reason) -> Arc<Cause> {
        match &self.owner {
            Some(owner) if self.isolation.is_on() => owner.cuts(reason),
            Some(owner) => owner.fails(reason),
            None => ComponentInfo::new("not started", false).blame(reason),
        }
    }
}

/// Asks the consumer's chain, for a future of the owner's. See [`Outlet::asker`].
pub struct Asker<T> {
    way: Option<(Arc<Link>, Arc<dyn DownTx<T>>)>,
}

impl<T: Payload> Asker<T> {
    /// Asks; [`MissingControl`](crate::component::control::ControlError::MissingControl) if there was no consumer.
    pub fn ask<M: Control>(&self, message: M) -> Asking<M::Reply> {
        match &self.way {
            Some((link, peer)) if peer.hears(TypeId::of::<M>()) => {
                let peer = peer.clone();
                link.ask(message, ASK_TIMEOUT, move |link, envelope| peer.send(InletMsg::Control(link, envelope)))
            }
            _ => Asking::missing(),
        }
    }
}

impl<T> fmt::Debug for Asker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asker")
    }
}

/// What the hook of an outlet has to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Nothing,
    Attached,
    Credit,
    Detached,
}

impl<T: Payload> AnyPort for Outlet<T> {
    fn is_inlet(&self) -> bool {
        false
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
    }

    fn is_settled(&self) -> bool {
        !self.core.has_work()
    }

    fn send_grants(&mut self) {}

    fn is_grant_due(&self) -> bool {
        false
    }

    fn after_handler(&mut self) {
        self.flush();
        self.sync();
    }

    fn drain(&mut self) {
        self.end(false);
    }

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

impl<T: Payload> Drop for Outlet<T> {
    fn drop(&mut self) {
        // A3. An outlet whose end was sent is over, and sets nothing (A2).
        if let Some(owner) = self.owner.clone()
            && self.peer.is_some()
        {
            self.abort_with(&owner.drop_cause());
        }
    }
}

impl<T: Payload> fmt::Debug for Outlet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.core.cell().map_or(LinkState::New, |cell| cell.outlet_state());
        f.debug_struct("Outlet")
            .field("phase", &self.core.phase())
            .field("state", &state)
            .field("sent", &self.core.sent())
            .field("limit", &self.core.limit())
            .finish_non_exhaustive()
    }
}
