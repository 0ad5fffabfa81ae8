//! Probes: the other end of a link, worked by hand. Every message is written to a [`Ladder`] in the order in which it is sent.
//!
//! A probe has no mailbox of its own: what is sent to it is noted within the call that sends it. So a test sees the order in
//! which a component spoke, and whether it spoke inside its handler. A probe keeps no rule that it is not told to keep.

use crate::component::address::{DownTx, UpTx, WeakUpTx};
use crate::component::control::{Asking, Control, Envelope};
use crate::component::link::{Link, Note, Observer};
use crate::component::message::{
    AnyInlet, AnyOutlet, AttachInlet, CloseAt, InletHandle, InletMsg, ManageHandle, OutletHandle, OutletMsg, PartState,
    ReserveOutlet, handle_of, reply,
};
use crate::component::{ComponentInfo, InletRef, OutletRef};
use crate::proto::link::{
    AttachError, Cause, Count, Credit, Displayed, Down, Limit, LinkId, LinkState, Payload, Reason, Up, Violation,
};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// What was said on the links of some probes, in order and with the virtual time. Cheap to clone.
///
/// ```
/// use versile_io::testkit::Ladder;
///
/// let ladder = Ladder::default();
/// ladder.note("the test", "begins");
/// assert!(ladder.to_string().contains("the test: begins"));
/// ```
#[derive(Clone)]
pub struct Ladder(Arc<Steps>);

struct Steps {
    begun: Instant,
    taken: Mutex<Vec<(Duration, String)>>,
}

impl Default for Ladder {
    fn default() -> Self {
        Self(Arc::new(Steps { begun: Instant::now(), taken: Mutex::default() }))
    }
}

impl Ladder {
    /// Writes a step of the test's own.
    pub fn note(&self, who: &str, what: impl fmt::Display) {
        lock(&self.0.taken).push((self.0.begun.elapsed(), format!("{who}: {what}")));
    }

    /// The steps so far, without their times.
    pub fn steps(&self) -> Vec<String> {
        lock(&self.0.taken).iter().map(|(_, step)| step.clone()).collect()
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in lock(&self.0.taken).iter() {
            writeln!(f, "{:>8} ms  {step}", at.as_millis())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a probe saw its peer do against a rule, as the rule would have it if nothing else was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// More units than granted.
    TooMuch,
    /// More messages than granted.
    TooMany,
    /// Something came before the first grant.
    BeforeGrant,
    /// Something came after the end of the attachment, or after a detachment.
    AfterEnd,
    /// An item came after the link's cause was set.
    AfterCause,
    /// A message bore the name of a link that this probe never had.
    OtherLink,
    /// The peer called back inside the call that gave it a message.
    CalledBack,
    /// A grant was lower than one before it.
    LimitFell,
    /// A grant left while messages of the same turn were still to be handled.
    GrantInHandler,
    /// A grant allows more messages than any bounded mailbox would hold.
    WideGrant,
}

/// More messages than this, granted at once, bound nothing (rule M1).
const WIDE: u64 = 65_536;

/// The question that probes ask, and answer with 42; no component knows it.
pub(crate) struct ProbeQuestion;

impl Control for ProbeQuestion {
    type Reply = u64;
}

/// The answer to a [`ProbeQuestion`].
pub(crate) const ANSWER: u64 = 42;

/// What a [`ConsumerProbe`] is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Consumed<T> {
    /// It was attached.
    Attached,
    /// An item of its link.
    Item(T),
    /// An item that bears another link's name.
    OtherLink(T),
    /// The producer's end.
    End {
        /// See rule E1.
        clean: bool,
    },
    /// The producer aborted; the cause is in the cell.
    Aborted,
    /// The link was closed by a detachment.
    Detached,
    /// Somebody wants the component stopped.
    Stop,
}

/// What a [`ProducerProbe`] is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Produced {
    /// It was attached.
    Attached,
    /// A grant of its link.
    Grant(Limit),
    /// A grant that bears another link's name.
    OtherLink(Limit),
    /// The consumer aborted; the cause is in the cell.
    Aborted,
    /// The consumer was parted from it.
    Detached,
    /// Somebody wants the component stopped.
    Stop,
}

/// What both probes are made of.
struct Base<E> {
    info: Arc<ComponentInfo>,
    ladder: Ladder,
    state: Mutex<State<E>>,
    wake: Notify,
}

struct State<E> {
    link: Option<Arc<Link>>,
    past: Vec<LinkId>,
    limit: Limit,
    /// A grant has been made or has come.
    granted: bool,
    /// Sent or received on this attachment.
    passed: Count,
    ended: Option<bool>,
    events: VecDeque<E>,
    findings: Vec<Finding>,
    /// Inside a call to the peer.
    calling: bool,
    /// Messages since the last tick, and the most ever.
    turn: u64,
    longest_turn: u64,
    grants: u64,
    questions: u64,
    answers_questions: bool,
    /// Refuses what is beyond the limit, as a component's inlet does.
    strict: bool,
    observers: Vec<Arc<dyn Observer>>,
}

impl<E> Base<E> {
    fn new(name: &str, ladder: &Ladder) -> Self {
        let state = State {
            link: None,
            past: Vec::new(),
            limit: Limit::ZERO,
            granted: false,
            passed: Count::ZERO,
            ended: None,
            events: VecDeque::new(),
            findings: Vec::new(),
            calling: false,
            turn: 0,
            longest_turn: 0,
            grants: 0,
            questions: 0,
            answers_questions: false,
            strict: false,
            observers: Vec::new(),
        };
        let info = ComponentInfo::new(name, false);
        Self { info, ladder: ladder.clone(), state: Mutex::new(state), wake: Notify::new() }
    }

    fn note(&self, what: impl fmt::Display) {
        self.ladder.note(self.info.name(), what);
    }

    fn tell(&self, event: E) {
        lock(&self.state).events.push_back(event);
        self.wake.notify_one();
    }

    fn found(&self, finding: Finding) {
        self.note(format_args!("!! {finding:?}"));
        lock(&self.state).findings.push(finding);
    }

    fn join(&self, link: &Arc<Link>) -> Result<(), AttachError> {
        let mut state = lock(&self.state);
        if state.link.is_some() {
            return Err(AttachError::Attached);
        }
        state.link = Some(link.clone());
        state.limit = Limit::ZERO;
        state.granted = false;
        state.passed = Count::ZERO;
        state.ended = None;
        if let Some(observer) = link.observer()
            && !state.observers.iter().any(|known| Arc::ptr_eq(known, observer))
        {
            state.observers.push(observer.clone());
        }
        Ok(())
    }

    fn part(&self) {
        let mut state = lock(&self.state);
        if let Some(link) = state.link.take() {
            state.past.push(link.id());
        }
    }

    /// Whether a message is of the current link; notes what is wrong otherwise.
    fn is_current(&self, link: LinkId) -> bool {
        let (current, past, calling) = {
            let state = lock(&self.state);
            (state.link.as_ref().is_some_and(|own| own.id() == link), state.past.contains(&link), state.calling)
        };
        if calling {
            self.found(Finding::CalledBack);
        }
        if !current {
            self.found(if past { Finding::AfterEnd } else { Finding::OtherLink });
        }
        current
    }

    fn link(&self) -> Option<Arc<Link>> {
        lock(&self.state).link.clone()
    }

    fn cause(&self) -> Option<Arc<Cause>> {
        self.link().and_then(|link| link.cell().cause().cloned())
    }

    fn calling(&self, call: impl FnOnce()) {
        lock(&self.state).calling = true;
        call();
        lock(&self.state).calling = false;
    }

    fn question(&self, envelope: Envelope) {
        self.note("is asked");
        if !lock(&self.state).answers_questions {
            return envelope.missing();
        }
        match envelope.open::<ProbeQuestion>() {
            Ok(ask) => {
                lock(&self.state).questions += 1;
                ask.answer(ANSWER);
            }
            Err(envelope) => envelope.missing(),
        }
    }

    async fn next(&self) -> E {
        loop {
            if let Some(event) = lock(&self.state).events.pop_front() {
                return event;
            }
            self.wake.notified().await;
        }
    }

    fn break_off(&self, reason: Reason) -> Option<Arc<Link>> {
        let link = self.link()?;
        let cause = Cause::new(reason, crate::proto::link::Origin::component(self.info.name().clone()).on(link.id()));
        self.note(format_args!("aborts: {cause}"));
        link.cell().set_cause(cause);
        Some(link)
    }
}

impl<E> Drop for Base<E> {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for observer in state.observers.drain(..) {
            observer.note(Note::Gone { component: self.info.id() });
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // nothing of a user's runs under the locks
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The methods that both probes have.
macro_rules! common {
    ($event:ty) => {
        /// What it has been told and nobody has heard yet.
        pub fn take(&self) -> Vec<$event> {
            lock(&self.0.base.state).events.drain(..).collect()
        }

        /// The steps that it writes to.
        pub fn ladder(&self) -> &Ladder {
            &self.0.base.ladder
        }

        /// What it saw its peer do against a rule.
        pub fn findings(&self) -> Vec<Finding> {
            lock(&self.0.base.state).findings.clone()
        }

        /// The current attachment.
        pub fn link(&self) -> Option<Arc<Link>> {
            self.0.base.link()
        }

        /// The limit that it has granted, or has been granted.
        pub fn limit(&self) -> Limit {
            lock(&self.0.base.state).limit
        }

        /// What passed on the current attachment.
        pub fn passed(&self) -> Count {
            lock(&self.0.base.state).passed
        }

        /// How the data ended, once it has.
        pub fn ended(&self) -> Option<bool> {
            lock(&self.0.base.state).ended
        }

        /// The cause of the current attachment's abort.
        pub fn cause(&self) -> Option<Arc<Cause>> {
            self.0.base.cause()
        }

        /// Plays a component that was told this cause (rule A1).
        pub fn told(&self, cause: &Arc<Cause>) {
            self.0.base.info.set_cause(cause);
        }

        /// Has it answer the kit's question; any other, and this one without it, ends here.
        pub(crate) fn answer_questions(&self) {
            lock(&self.0.base.state).answers_questions = true;
        }

        pub(crate) fn questions(&self) -> u64 {
            lock(&self.0.base.state).questions
        }
    };
}

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
pub struct ConsumerProbe<T: Payload>(Arc<Consumer<T>>);

struct Consumer<T: Payload> {
    base: Base<Consumed<T>>,
    peer: Mutex<Option<Box<dyn WeakUpTx<T>>>>,
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
        InletRef(Box::new(self.clone()))
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
        let Some(peer) = lock(&self.0.peer).as_ref().map(|peer| peer.boxed()) else { return Asking::missing() };
        link.ask(ProbeQuestion, within, move |link, envelope| {
            peer.send(OutletMsg::Control(link, envelope));
        })
    }

    fn say(&self, msg: OutletMsg<T>) {
        let peer = lock(&self.0.peer).as_ref().map(|peer| peer.boxed());
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
        *lock(&self.0.peer) = Some(attach.producer.boxed());
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

    fn boxed(&self) -> Box<dyn DownTx<T>> {
        Box::new(self.clone())
    }

    fn manage(&self) -> Box<dyn ManageHandle> {
        Box::new(WeakConsumer(Arc::downgrade(&self.0)))
    }
}

/// A producer worked by hand: it sends what it is told to, within the credit or beyond.
///
/// ```
/// use versile_io::component::channel::ByteChannel;
/// use versile_io::proto::link::Reason;
/// use versile_io::testkit::{Ladder, ProducerProbe, Produced};
///
/// actix::System::new().block_on(async {
///     let (channel, pair, _) = ByteChannel::start("channel", 4);
///     let probe = ProducerProbe::new("probe", &Ladder::default());
///     versile_io::component::join(&probe.outlet(), &pair.inlet, None);
///     assert!(matches!(probe.next().await, Produced::Attached));
///     assert!(matches!(probe.next().await, Produced::Grant(limit) if limit.quantity == 4));
///     probe.send("12345".into());
///     assert!(matches!(probe.next().await, Produced::Aborted), "one byte too many");
///     assert!(probe.cause().is_some_and(|cause| matches!(cause.reason, Reason::Violation(_))));
///     drop(channel);
/// });
/// ```
pub struct ProducerProbe<T: Payload>(Arc<Producer<T>>);

struct Producer<T: Payload> {
    base: Base<Produced>,
    peer: Mutex<Option<Box<dyn DownTx<T>>>>,
}

impl<T: Payload> Clone for ProducerProbe<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Payload> ProducerProbe<T> {
    /// A probe that writes to `ladder` under this name.
    pub fn new(name: &str, ladder: &Ladder) -> Self {
        Self(Arc::new(Producer { base: Base::new(name, ladder), peer: Mutex::default() }))
    }

    /// Its outlet, to be joined as that of any component.
    pub fn outlet(&self) -> OutletRef<T> {
        OutletRef(Box::new(self.clone()))
    }

    common!(Produced);

    pub(crate) fn grants(&self) -> u64 {
        lock(&self.0.base.state).grants
    }

    /// What it is told next. For one task at a time; cancel safe.
    pub async fn next(&self) -> Produced {
        self.0.base.next().await
    }

    /// What it may still send.
    pub fn credit(&self) -> Credit {
        let state = lock(&self.0.base.state);
        state.limit.credit(state.passed)
    }

    /// True once the consumer has granted, be it nothing.
    pub fn is_granted(&self) -> bool {
        lock(&self.0.base.state).granted
    }

    /// Sends an item, whatever was granted.
    pub fn send(&self, item: T) {
        let Some(link) = self.link() else { return };
        lock(&self.0.base.state).passed.add(item.quantity());
        self.send_on(link.id(), item);
    }

    /// Sends an item in the name of any link, an earlier or a foreign one included; it is not counted.
    pub fn send_on(&self, link: LinkId, item: T) {
        self.0.base.note(format_args!("sends {} on {link}", item.quantity()));
        self.say(InletMsg::Down(Down::Consume { link, item }));
    }

    /// Sends the end.
    pub fn end(&self, clean: bool) {
        let Some(link) = self.link() else { return };
        self.0.base.note(format_args!("ends, clean: {clean}"));
        lock(&self.0.base.state).ended = Some(clean);
        self.say(InletMsg::Down(Down::End { link: link.id(), clean }));
    }

    /// Aborts the link.
    pub fn abort(&self, reason: Reason) {
        if let Some(link) = self.0.base.break_off(reason) {
            self.say(InletMsg::Down(Down::Abort { link: link.id() }));
        }
    }

    /// Sends an abort in the name of any link; sets no cause.
    pub fn abort_on(&self, link: LinkId) {
        self.0.base.note(format_args!("forges an abort of {link}"));
        self.say(InletMsg::Down(Down::Abort { link }));
    }

    /// Parts it from the consumer: whether that had received exactly what was sent. `None` if it is not attached there.
    pub async fn detach(&self, inlet: &InletRef<T>) -> Option<Result<(), Violation>> {
        let link = self.link()?;
        let verdict = inlet.close_at(link.id(), self.passed()).await.ok().flatten();
        self.0.base.note(format_args!("detached: {verdict:?}"));
        self.0.base.part();
        *lock(&self.0.peer) = None;
        verdict
    }

    pub(crate) fn ask(&self, within: Duration) -> Asking<u64> {
        self.0.base.note("asks");
        let Some(link) = self.link() else { return Asking::missing() };
        let Some(peer) = lock(&self.0.peer).as_ref().map(|peer| peer.boxed()) else { return Asking::missing() };
        link.ask(ProbeQuestion, within, move |link, envelope| peer.send(InletMsg::Control(link, envelope)))
    }

    fn say(&self, msg: InletMsg<T>) {
        let peer = lock(&self.0.peer).as_ref().map(|peer| peer.boxed());
        if let Some(peer) = peer {
            self.0.base.calling(|| peer.send(msg));
        }
    }

    fn reserve(&self, mut reserve: ReserveOutlet<T>) {
        if let Err(error) = self.0.base.join(&reserve.link) {
            return reserve.refuse(error);
        }
        reserve.handled = true;
        *lock(&self.0.peer) = Some(reserve.consumer.boxed());
        let (link, weak) = (&reserve.link, WeakProducer(Arc::downgrade(&self.0)));
        let component = handle_of(&self.0.base.info, ManageHandle::boxed(&weak));
        link.note(|| Note::Reserved { link: link.clone(), component, outlet: Box::new(weak) });
        self.0.base.note(format_args!("is attached on {}", link.id()));
        reply(reserve.reply.take(), Ok(self.0.base.info.clone()));
        self.0.base.tell(Produced::Attached);
    }

    fn granted(&self, link: LinkId, limit: Limit) {
        let base = &self.0.base;
        base.note(format_args!("is granted {limit} on {link}"));
        if !base.is_current(link) {
            return base.tell(Produced::OtherLink(limit));
        }
        let mut found = Vec::new();
        {
            let mut state = lock(&base.state);
            let before = state.limit;
            if limit.quantity < before.quantity || limit.messages < before.messages {
                found.push(Finding::LimitFell);
            }
            if limit.messages.saturating_sub(state.passed.messages) > WIDE {
                found.push(Finding::WideGrant);
            }
            if let Some(link) = &state.link {
                let cell = link.cell();
                if cell.inlet_state().is_terminal() {
                    found.push(Finding::AfterEnd);
                } else if cell.accepted().messages < state.passed.messages && !state.calling {
                    found.push(Finding::GrantInHandler);
                }
            }
            state.limit.raise(limit);
            state.granted = true;
            state.grants += 1;
        }
        found.into_iter().for_each(|finding| base.found(finding));
        base.tell(Produced::Grant(limit));
    }

    fn hear(&self, msg: OutletMsg<T>) {
        let base = &self.0.base;
        match msg {
            OutletMsg::Up(Up::CanProduce { link, limit }) => self.granted(link, limit),
            OutletMsg::Up(Up::Abort { link }) => {
                base.note(format_args!("is aborted on {link}"));
                if base.link().is_some_and(|own| own.id() == link) {
                    base.tell(Produced::Aborted);
                }
            }
            // a probe is attached by hand, to what nobody rebuilds
            OutletMsg::Up(Up::Suspend { .. } | Up::Finished { .. }) | OutletMsg::Rewind(..) => {}
            OutletMsg::Control(_, envelope) => base.question(envelope),
            OutletMsg::Reserve(reserve) => self.reserve(*reserve),
            OutletMsg::Release(_) => base.part(),
            OutletMsg::Detach(link, to) => {
                let at = base.link().filter(|own| own.id() == link).map(|_| self.passed());
                if at.is_some() {
                    base.note("is detached");
                    base.part();
                    *lock(&self.0.peer) = None;
                    base.tell(Produced::Detached);
                }
                reply(to, at);
            }
        }
    }
}

impl<T: Payload> UpTx<T> for ProducerProbe<T> {
    fn send(&self, msg: OutletMsg<T>) {
        self.hear(msg);
    }

    fn boxed(&self) -> Box<dyn UpTx<T>> {
        Box::new(self.clone())
    }

    fn weak(&self) -> Box<dyn WeakUpTx<T>> {
        Box::new(WeakProducer(Arc::downgrade(&self.0)))
    }

    fn manage(&self) -> Box<dyn ManageHandle> {
        Box::new(WeakProducer(Arc::downgrade(&self.0)))
    }
}

/// A weak way to a producing probe.
struct WeakProducer<T: Payload>(Weak<Producer<T>>);
/// A weak way to a consuming probe.
struct WeakConsumer<T: Payload>(Weak<Consumer<T>>);

impl<T: Payload> WeakUpTx<T> for WeakProducer<T> {
    fn send(&self, msg: OutletMsg<T>) -> bool {
        let alive = self.0.upgrade();
        if let Some(producer) = &alive {
            ProducerProbe(producer.clone()).hear(msg);
        }
        alive.is_some()
    }

    fn boxed(&self) -> Box<dyn WeakUpTx<T>> {
        Box::new(Self(self.0.clone()))
    }
}

impl<T: Payload> OutletHandle for WeakProducer<T> {
    fn upgrade(&self) -> Option<Box<dyn AnyOutlet>> {
        Some(Box::new(ProducerProbe(self.0.upgrade()?).outlet()))
    }
}

impl<T: Payload> InletHandle for WeakConsumer<T> {
    fn upgrade(&self) -> Option<Box<dyn AnyInlet>> {
        Some(Box::new(ConsumerProbe(self.0.upgrade()?).inlet()))
    }
}

macro_rules! managed {
    ($weak:ident, $event:ident) => {
        impl<T: Payload> ManageHandle for $weak<T> {
            fn abort(&self, cause: &Arc<Cause>) {
                if let Some(probe) = self.0.upgrade() {
                    probe.base.info.set_cause(cause);
                    probe.base.tell($event::Stop);
                }
            }

            fn drain(&self) {}

            fn stop(&self) {
                if let Some(probe) = self.0.upgrade() {
                    probe.base.note("is stopped");
                    probe.base.tell($event::Stop);
                }
            }

            fn is_alive(&self) -> bool {
                self.0.strong_count() > 0
            }

            fn boxed(&self) -> Box<dyn ManageHandle> {
                Box::new(Self(self.0.clone()))
            }

            // a probe is worked by hand: nobody rebuilds it
            fn identify(&self, _: Arc<dyn Observer>) -> oneshot::Receiver<Arc<ComponentInfo>> {
                oneshot::channel().1
            }

            // a probe holds nothing, and has no state to hand on
            fn settle(&self) -> oneshot::Receiver<()> {
                ready(())
            }

            fn flush(&self) -> oneshot::Receiver<Result<(), Reason>> {
                ready(Ok(()))
            }

            fn take_state(&self) -> oneshot::Receiver<Option<PartState>> {
                ready(None)
            }

            fn put_state(&self, state: PartState) -> oneshot::Receiver<Result<(), PartState>> {
                ready(Err(state))
            }
        }
    };
}
managed!(WeakProducer, Produced);
managed!(WeakConsumer, Consumed);

fn ready<R>(answer: R) -> oneshot::Receiver<R> {
    let (tx, rx) = oneshot::channel();
    reply(Some(tx), answer);
    rx
}

macro_rules! named_debug {
    ($($t:ident),*) => {$(
        impl<T: Payload> fmt::Debug for $t<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($t))
            }
        }
    )*};
}
named_debug!(ConsumerProbe, ProducerProbe, WeakConsumer, WeakProducer);
