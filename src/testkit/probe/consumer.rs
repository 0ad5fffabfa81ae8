//! The consuming probe.

use super::base::{Base, ProbeQuestion, common};
use super::event::{Consumed, Finding};
use super::ladder::Ladder;
use super::lock;
use super::weak::WeakConsumer;
use crate::component::address::{DownTx, WeakUpTx};
use crate::component::control::Asking;
use crate::component::link::{Link, Note};
use crate::component::message::{AnyOutlet, AttachInlet, CloseAt, InletMsg, ManageHandle, OutletMsg, handle_of, reply};
use crate::component::{InletRef, OutletRef};
use crate::proto::link::{
    Cause, Count, Credit, Displayed, Down, Limit, LinkId, LinkState, Payload, Reason, Up, Violation,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A consumer worked by hand: it grants what it is told to, and takes everything that comes.
///
/// ```
/// use versile_io::component::writer::ByteWriter;
/// use versile_io::testkit::{Consumed, ConsumerProbe, Ladder};
///
/// actix::System::new().block_on(async {
///     let (writer, outlet, _) = ByteWriter::start("words", 64);
///     let probe = ConsumerProbe::new("probe", &Ladder::default());
///     versile_io::component::join(&outlet, &probe.inlet(), None);
///     writer.write("hello").await.expect("there is room");
///     assert!(matches!(probe.next().await, Consumed::Attached));
///     probe.grant_more(2, 8);
///     assert!(matches!(probe.next().await, Consumed::Item(item) if &item[..] == b"he"), "and no more");
///     assert!(probe.findings().is_empty(), "\n{}", probe.ladder());
/// });
/// ```
pub struct ConsumerProbe<T: Payload>(pub(super) Arc<Consumer<T>>);

pub(super) struct Consumer<T: Payload> {
    pub(super) base: Base<Consumed<T>>,
    peer: Mutex<Option<Arc<dyn WeakUpTx<T>>>>,
    at_once: Option<fn(&ConsumerProbe<T>)>,
}

impl<T: Payload> Clone for ConsumerProbe<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Payload> ConsumerProbe<T> {
    /// A probe that writes to `ladder` under this name.
    pub fn new(name: &str, ladder: &Ladder) -> Self {
        Self::with(name, ladder, None)
    }

    /// The same, which does this within the call that gives it an item: a breach of rule C3, for a test of tests.
    pub fn reacting(name: &str, ladder: &Ladder, at_once: fn(&Self)) -> Self {
        Self::with(name, ladder, Some(at_once))
    }

    fn with(name: &str, ladder: &Ladder, at_once: Option<fn(&Self)>) -> Self {
        Self(Arc::new(Consumer { base: Base::new(name, ladder), peer: Mutex::default(), at_once }))
    }

    /// Its inlet, to be joined as that of any component.
    pub fn inlet(&self) -> InletRef<T> {
        InletRef(Arc::new(self.clone()))
    }

    common!(Consumed<T>);

    /// A turn of the executor has passed; the most messages that came in one.
    pub(crate) fn tick(&self) -> u64 {
        let mut state = lock(&self.0.base.state);
        state.turn = 0;
        state.longest_turn
    }

    /// What it is told next; an item counts as accepted with it, unless the link has a cause. For one task at a time; cancel
    /// safe.
    pub async fn next(&self) -> Consumed<T> {
        let event = self.0.base.next().await;
        if let (Consumed::Item(item), None) = (&event, self.cause()) {
            self.accept(item.quantity());
        }
        event
    }

    /// Counts one message of so much as accepted, whatever the link's state.
    pub fn accept(&self, quantity: u64) {
        if let Some(link) = self.link() {
            let mut accepted = link.cell().accepted();
            accepted.add(quantity);
            link.cell().store_accepted(accepted, 0);
        }
    }

    /// Grants up to this limit, whatever was granted before.
    pub fn grant(&self, limit: Limit) {
        if let Some(link) = self.link() {
            self.grant_on(link.id(), limit);
        }
    }

    /// Grants beyond what has come so far.
    pub fn grant_more(&self, quantity: u64, messages: u64) {
        self.grant(Limit::beyond(self.passed(), Credit { quantity, messages }));
    }

    /// Grants in the name of any link, an earlier or a foreign one included.
    pub fn grant_on(&self, link: LinkId, limit: Limit) {
        self.0.base.note(format_args!("grants {limit} on {link}"));
        {
            let mut state = lock(&self.0.base.state);
            if state.link.as_ref().is_some_and(|own| own.id() == link) {
                state.limit.raise(limit);
                state.granted = true;
            }
        }
        self.say(OutletMsg::Up(Up::CanProduce { link, limit }));
    }

    /// Aborts the link.
    pub fn abort(&self, reason: Reason) {
        if let Some(link) = self.0.base.break_off(reason) {
            self.say(OutletMsg::Up(Up::Abort { link: link.id() }));
        }
    }

    /// Sends an abort in the name of any link; sets no cause.
    pub fn abort_on(&self, link: LinkId) {
        self.0.base.note(format_args!("forges an abort of {link}"));
        self.say(OutletMsg::Up(Up::Abort { link }));
    }

    /// From now on it refuses what is beyond its limit and aborts the link with `LimitExceeded`, as a component's inlet does.
    pub fn be_strict(&self) {
        lock(&self.0.base.state).strict = true;
    }

    /// Says that its data has ended and all of it was taken, as a component's inlet does.
    pub fn finish(&self, clean: bool) {
        if let Some(link) = self.link() {
            let state = if clean { LinkState::EndedClean } else { LinkState::EndedUnclean };
            link.cell().store_inlet_state(state);
        }
    }

    /// Parts it from the producer: the position at which that stopped, and what had come here.
    pub async fn detach(&self, outlet: &OutletRef<T>) -> Option<(Count, Count)> {
        let link = self.link()?;
        let at = outlet.detach(link.id()).await.ok().flatten()?;
        let here = self.passed();
        self.0.base.note(format_args!("detached at {}, received {}", Displayed(at), Displayed(here)));
        self.0.base.part();
        *lock(&self.0.peer) = None;
        Some((at, here))
    }

    pub(crate) fn ask(&self, within: Duration) -> Asking<u64> {
        self.0.base.note("asks");
        let Some(link) = self.link() else { return Asking::missing() };
        let Some(peer) = lock(&self.0.peer).clone() else { return Asking::missing() };
        link.ask(ProbeQuestion, within, move |link, envelope| {
            peer.send(OutletMsg::Control(link, envelope));
        })
    }

    fn say(&self, msg: OutletMsg<T>) {
        let peer = lock(&self.0.peer).clone();
        if let Some(peer) = peer {
            self.0.base.calling(|| {
                peer.send(msg);
            });
        }
    }

    fn attach(&self, mut attach: AttachInlet<T>) {
        if let Err(error) = self.0.base.join(&attach.link) {
            return attach.refuse(error);
        }
        attach.handled = true;
        *lock(&self.0.peer) = Some(attach.producer.clone());
        let (link, weak) = (&attach.link, WeakConsumer(Arc::downgrade(&self.0)));
        let component = handle_of(&self.0.base.info, weak.boxed());
        link.note(|| Note::Attached { link: link.clone(), component, inlet: Box::new(weak) });
        self.0.base.note(format_args!("is attached on {}", link.id()));
        reply(attach.reply.take(), Ok(self.0.base.info.clone()));
        self.0.base.tell(Consumed::Attached);
    }

    fn item(&self, link: LinkId, item: T) {
        let base = &self.0.base;
        base.note(format_args!("receives {} on {link}", item.quantity()));
        if !base.is_current(link) {
            return base.tell(Consumed::OtherLink(item));
        }
        let mut found = Vec::new();
        {
            let mut state = lock(&base.state);
            let aborted = state.link.as_ref().is_some_and(|link| link.cell().cause().is_some());
            let before = state.passed;
            state.passed.add(item.quantity());
            state.turn += 1;
            state.longest_turn = state.longest_turn.max(state.turn);
            let (limit, passed) = (state.limit, state.passed);
            // the first thing that is wrong is what is noted
            if aborted {
                found.push(Finding::AfterCause);
            } else if state.ended.is_some() {
                found.push(Finding::AfterEnd);
            } else if !state.granted {
                found.push(Finding::BeforeGrant);
            } else if passed.quantity > limit.quantity && before.quantity <= limit.quantity {
                found.push(Finding::TooMuch);
            } else if passed.messages > limit.messages && before.messages <= limit.messages {
                found.push(Finding::TooMany);
            }
        }
        let excess = found.iter().any(|finding| matches!(finding, Finding::TooMuch | Finding::TooMany));
        found.into_iter().for_each(|finding| base.found(finding));
        if excess && lock(&base.state).strict {
            let (reached, limit) = (Displayed(self.passed()), self.limit());
            self.abort(Reason::Violation(Violation::LimitExceeded { reached, limit }));
            return base.tell(Consumed::Aborted);
        }
        base.tell(Consumed::Item(item));
        if let Some(at_once) = self.0.at_once {
            at_once(self);
        }
    }

    fn down(&self, down: Down<T>) {
        let base = &self.0.base;
        match down {
            Down::Consume { link, item } => self.item(link, item),
            Down::Parcel { link, parcel } => {
                base.note(format_args!(
                    "receives a parcel of {}, which it has not declared to take, on {link}",
                    parcel.quantity
                ));
            }
            Down::End { link, clean } => {
                base.note(format_args!("receives the end, clean: {clean}, on {link}"));
                if !base.is_current(link) {
                    return;
                }
                let (ended, granted) = {
                    let mut state = lock(&base.state);
                    (state.ended.replace(clean), state.granted)
                };
                if ended.is_some() {
                    base.found(Finding::AfterEnd);
                } else if !granted {
                    base.found(Finding::BeforeGrant);
                }
                base.tell(Consumed::End { clean });
            }
            Down::Abort { link } => {
                base.note(format_args!("is aborted on {link}"));
                if base.link().is_some_and(|own| own.id() == link) {
                    base.tell(Consumed::Aborted);
                }
            }
            // a probe is attached by hand, to what nobody rebuilds
            Down::Suspend { .. } => {}
        }
    }

    fn close_at(&self, close: CloseAt) {
        if self.link().is_none_or(|own| own.id() != close.link) {
            return reply(close.reply, None);
        }
        let found = self.passed();
        let verdict = match found == close.at {
            true => Ok(()),
            false => Err(Violation::PositionMismatch { expected: Displayed(close.at), found: Displayed(found) }),
        };
        self.0.base.note("is detached");
        self.0.base.part();
        *lock(&self.0.peer) = None;
        self.0.base.tell(Consumed::Detached);
        reply(close.reply, Some(verdict));
    }
}

impl<T: Payload> DownTx<T> for ConsumerProbe<T> {
    fn send(&self, msg: InletMsg<T>) {
        match msg {
            InletMsg::Down(down) | InletMsg::Last(down, _) => self.down(down),
            InletMsg::Batch(link, items) => items.into_iter().for_each(|item| self.item(link, item)),
            InletMsg::Control(_, envelope) => self.0.base.question(envelope),
            InletMsg::Attach(attach) => self.attach(*attach),
            InletMsg::Open(_) => {}
            InletMsg::CloseAt(close) => self.close_at(*close),
        }
    }

    fn is_alive(&self) -> bool {
        true
    }

    fn manage(&self) -> Box<dyn ManageHandle> {
        Box::new(WeakConsumer(Arc::downgrade(&self.0)))
    }
}
