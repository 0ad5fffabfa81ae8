//! The monitor itself: passes on, keeps the accounts of both links, and asks the judge about each message.

use super::Live;
use super::judge::{Judge, Said};
use super::lane::{Lane, ToConsumer, ToProducer};
use super::log::{Log, Sighted};
use crate::component::ComponentInfo;
use crate::component::address::{DownTx, WeakUpTx};
use crate::component::census::Counted;
use crate::component::control::Envelope;
use crate::component::link::{Link, Note, Observer, Waiting};
use crate::component::message::{AttachInlet, CloseAt, InletMsg, OutletMsg, Reply, ReserveOutlet, reply};
use crate::proto::link::{
    AttachError, Cause, Count, Displayed, Down, Limit, LinkId, LinkState, Payload, Reason, Rule, Side, Terminal, Up,
    Violation,
};
use actix::Recipient;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::oneshot;

pub(super) struct Node<T: Payload> {
    pub(super) info: Arc<ComponentInfo>,
    log: Arc<Log>,
    me: Weak<Self>,
    quiet: Option<Duration>,
    state: Mutex<State<T>>,
    _counted: Counted,
}

pub(super) struct State<T: Payload> {
    judge: Judge,
    producer: Option<Arc<dyn WeakUpTx<T>>>,
    consumer: Option<Arc<dyn DownTx<T>>>,
    /// The producer's link stands, so that grants may leave.
    open: bool,
    /// Came while the consumer's side was parted, or beyond what its new link allows; covered by what was granted before.
    waiting: VecDeque<T>,
    waits: Count,
    /// An end behind what waits.
    end: Option<bool>,
    /// Itself, while something waits.
    hold: Option<Arc<Node<T>>>,
    settlers: Vec<oneshot::Sender<()>>,
    /// To be dropped outside the lock: an item's `Drop` is its owner's code.
    dead: Vec<T>,
    to_consumer: Lane<ToConsumer<T>>,
    to_producer: Lane<ToProducer<T>>,
    observers: Vec<Arc<dyn Observer>>,
}

/// Items as they came: in a message each, or several in one.
pub(super) enum Items<T> {
    One(T),
    Many(Vec<T>),
}

impl<T: Payload> Node<T> {
    pub(super) fn start(
        name: Arc<str>,
        ladder: usize,
        quiet: Option<Duration>,
        to: Option<Recipient<Sighted>>,
    ) -> Arc<Self> {
        let info = ComponentInfo::new(name, false);
        let state = State {
            judge: Judge::new(ladder),
            producer: None,
            consumer: None,
            open: false,
            waiting: VecDeque::new(),
            waits: Count::ZERO,
            end: None,
            hold: None,
            settlers: Vec::new(),
            dead: Vec::new(),
            to_consumer: Lane::new(),
            to_producer: Lane::new(),
            observers: Vec::new(),
        };
        Arc::new_cyclic(|me| Self {
            log: Log::new(info.clone(), to),
            info,
            me: me.clone(),
            quiet,
            state: Mutex::new(state),
            _counted: Counted::component(),
        })
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // nothing of a user's runs under the lock
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state; what follows from it is told and sent outside the lock.
    fn with<R>(&self, change: impl FnOnce(&mut State<T>) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        state.show_waiting();
        let (found, _dead) = (std::mem::take(&mut state.judge.found), std::mem::take(&mut state.dead));
        let ladder = if found.is_empty() { String::new() } else { state.judge.ladder() };
        let (down, up) = (state.to_consumer.is_fresh(), state.to_producer.is_fresh());
        drop(state);
        for (rule, side, what) in found {
            self.log.add(rule, side, what, ladder.clone());
        }
        if down {
            self.send_down();
        }
        if up {
            self.send_up();
        }
        result
    }

    fn send_down(&self) {
        let mut next = self.lock().to_consumer.begin();
        let mut there = true;
        while let Some(entry) = next {
            there &= entry.send();
            next = self.lock().to_consumer.go_on();
        }
        if !there {
            self.told_gone(Side::Consumer);
        }
    }

    fn send_up(&self) {
        let mut next = self.lock().to_producer.begin();
        let mut there = true;
        while let Some(entry) = next {
            there &= entry.send();
            next = self.lock().to_producer.go_on();
        }
        if !there {
            self.told_gone(Side::Producer);
        }
    }

    fn told_gone(&self, side: Side) {
        let found = {
            let mut state = self.lock();
            state.judge.gone(side);
            let ladder = state.judge.ladder();
            let found = std::mem::take(&mut state.judge.found);
            found.into_iter().map(move |(rule, side, what)| (rule, side, what, ladder.clone()))
        };
        found.for_each(|(rule, side, what, ladder)| self.log.add(rule, side, what, ladder));
    }

    fn observed(&self, state: &mut State<T>, link: &Link) {
        if let Some(observer) = link.observer()
            && !state.observers.iter().any(|known| Arc::ptr_eq(known, observer))
        {
            state.observers.push(observer.clone());
        }
    }

    // ---- from the producer's side

    pub(super) fn attach(&self, mut attach: AttachInlet<T>, note: impl FnOnce(&Arc<Link>)) {
        let refused = self.with(|state| {
            state.may_join(&self.info, state.judge.up.link.is_some(), state.judge.up.ended.is_some())?;
            self.observed(state, &attach.link);
            state.judge.up.join(&attach.link);
            state.judge.note(Side::Producer, attach.link.id(), Said::Attached);
            state.producer = Some(attach.producer.clone());
            state.open = !attach.gated;
            // a supervisor has to hear of the link before anything that follows from it
            note(&attach.link);
            attach.handled = true;
            reply(attach.reply.take(), Ok(self.info.clone()));
            state.greet();
            Ok(())
        });
        if let Err(error) = refused {
            attach.refuse(error);
        }
    }

    /// The transaction stands.
    pub(super) fn open(&self, link: LinkId) {
        self.with(|state| {
            if state.judge.up.is(link) && !state.open {
                state.open = true;
                state.greet();
            }
        });
    }

    pub(super) fn items(&self, link: LinkId, items: Items<T>) {
        self.log.count_message();
        self.with(|state| {
            let quantity = items.quantities().sum();
            if !state.judge.admits(Side::Producer, link, Said::Item(quantity)) {
                return items.into_each(|item| state.dead.push(item));
            }
            let kept = state.judge.items(items.quantities());
            state.account();
            // A2: what comes after a cause is not passed on
            if state.judge.up.cause().is_some() || state.judge.down.cause().is_some() {
                return items.into_each(|item| state.dead.push(item));
            }
            state.pass(items, kept, &self.me);
        });
    }

    pub(super) fn end(&self, link: LinkId, clean: bool) {
        self.log.count_message();
        self.with(|state| {
            if !state.judge.admits(Side::Producer, link, Said::End { clean }) {
                return;
            }
            let kept = state.judge.end(clean);
            state.end.get_or_insert(clean);
            if kept {
                state.pump();
            } else {
                // a producer that ends before it may, or again: the consumer has to say what it thinks of it
                state.give_end();
            }
            state.keep(&self.me);
        });
    }

    pub(super) fn aborted_by_producer(&self, link: LinkId) {
        self.aborted(Side::Producer, link);
    }

    pub(super) fn close_at(&self, close: CloseAt) {
        let verdict = self.with(|state| {
            if !state.judge.up.is(close.link) || !state.judge.up.is_open() || state.judge.up.ended.is_some() {
                return None;
            }
            let found = state.judge.up.passed;
            state.judge.note(Side::Producer, close.link, Said::Detached);
            state.judge.stopped_at(close.at);
            if found != close.at {
                let violation = Violation::PositionMismatch { expected: Displayed(close.at), found: Displayed(found) };
                let cause = self.info.blame(Reason::Violation(violation.clone()));
                state.break_off(&self.info, &cause, None);
                return Some(Err(violation));
            }
            state.over(Side::Producer, LinkState::Detached, Terminal::Detached { at: close.at });
            state.judge.up.part();
            state.producer = None;
            Some(Ok(()))
        });
        reply(close.reply, verdict);
    }

    pub(super) fn question_down(&self, link: LinkId, envelope: Envelope) {
        self.log.count_message();
        self.with(|state| {
            // P5: of another link, it is dropped and so answered `Gone`
            if !state.judge.admits(Side::Producer, link, Said::Question) {
                return;
            }
            match (&state.consumer, &state.judge.down.link) {
                (Some(peer), Some(link)) => {
                    state.to_consumer.push(ToConsumer::Question(peer.clone(), link.clone(), envelope));
                }
                _ => envelope.missing(),
            }
        });
    }

    // ---- from the consumer's side

    pub(super) fn reserve(&self, mut reserve: ReserveOutlet<T>, note: impl FnOnce(&Arc<Link>)) {
        let refused = self.with(|state| {
            state.may_join(&self.info, state.judge.down.link.is_some(), state.judge.down.ended.is_some())?;
            self.observed(state, &reserve.link);
            state.judge.down.join(&reserve.link);
            state.judge.note(Side::Consumer, reserve.link.id(), Said::Attached);
            state.consumer = Some(reserve.consumer.clone());
            note(&reserve.link);
            reserve.handled = true;
            reply(reserve.reply.take(), Ok(self.info.clone()));
            Ok(())
        });
        if let Err(error) = refused {
            reserve.refuse(error);
        }
    }

    pub(super) fn release(&self, link: LinkId) {
        // the consumer may go with it, so it is dropped outside the lock
        let _consumer = self.with(|state| {
            if !state.judge.down.is(link) || state.judge.down.granted {
                return None;
            }
            state.judge.down.part();
            state.consumer.take()
        });
    }

    pub(super) fn granted(&self, link: LinkId, limit: Limit) {
        self.log.count_message();
        self.with(|state| {
            if !state.judge.admits(Side::Consumer, link, Said::Grant(limit)) {
                return;
            }
            if state.to_consumer.is_calling() {
                state.judge.breach(Rule::C3, Side::Consumer, "a grant inside the call that gave a message");
            }
            state.judge.grant(limit);
            // what waits goes first: only what is left is the producer's
            state.pump();
            state.mirror(limit);
        });
    }

    pub(super) fn aborted_by_consumer(&self, link: LinkId) {
        self.aborted(Side::Consumer, link);
    }

    pub(super) fn detach(&self, link: LinkId, to: Reply<Option<Count>>) {
        let (refused, _consumer) = self.with(|state| {
            let down = &state.judge.down;
            if !down.is(link) || !down.is_open() || down.ended.is_some() {
                return (Some(to), None);
            }
            let at = down.passed;
            state.judge.note(Side::Consumer, link, Said::Detached);
            state.over(Side::Consumer, LinkState::Detached, Terminal::Detached { at });
            state.judge.down.part();
            if let Some(to) = to {
                state.to_consumer.push(ToConsumer::Stopped(to, at));
            }
            // the consumer may go with it, so it is dropped outside the lock
            (None, state.consumer.take())
        });
        if let Some(to) = refused {
            reply(to, None);
        }
    }

    pub(super) fn question_up(&self, link: LinkId, envelope: Envelope) {
        self.log.count_message();
        self.with(|state| {
            if !state.judge.admits(Side::Consumer, link, Said::Question) {
                return;
            }
            match (&state.producer, &state.judge.up.link) {
                (Some(peer), Some(link)) => {
                    state.to_producer.push(ToProducer::Question(peer.clone(), link.clone(), envelope));
                }
                _ => envelope.missing(),
            }
        });
    }

    // ---- of the component as a whole

    fn aborted(&self, by: Side, link: LinkId) {
        self.log.count_message();
        self.with(|state| {
            if !state.judge.admits(by, link, Said::Abort) {
                return;
            }
            match state.judge.abort(by) {
                Some(cause) => state.break_off(&self.info, &cause, Some(by)),
                // as it came; whoever hears of it finds no cause either
                None => state.tell_abort(by),
            }
        });
    }

    /// The neighbour on this side failed and is to be rebuilt. A monitor does not wait for that: its chain ends with the cause.
    pub(super) fn suspended(&self, side: Side, link: LinkId) {
        self.with(|state| {
            let half = if side == Side::Producer { &state.judge.up } else { &state.judge.down };
            let cell = half.link.as_ref().map(|own| own.cell()).filter(|cell| cell.id() == link);
            if let Some(suspension) = cell.and_then(|cell| cell.suspension()).cloned() {
                state.break_off(&self.info, &suspension.cause, None);
            }
        });
    }

    pub(super) fn abort(&self, cause: &Arc<Cause>) {
        self.with(|state| state.break_off(&self.info, cause, None));
    }

    /// Leaves its chain without a word.
    pub(super) fn stop(&self) {
        self.abort(&self.info.blame(Reason::ComponentGone));
    }

    pub(super) fn settle(&self) -> oneshot::Receiver<()> {
        let (tx, rx) = oneshot::channel();
        self.with(|state| {
            state.settlers.push(tx);
            state.settled();
        });
        rx
    }

    /// It can give nothing to a consumer that is not there; `Ok` if it holds nothing.
    pub(super) fn flush(&self) -> Result<(), Reason> {
        match self.lock().waiting.len() {
            0 => Ok(()),
            items => Err(Reason::Requested(format!("{items} items wait for the consumer's side").into())),
        }
    }
}

impl<T: Payload> State<T> {
    fn may_join(&self, info: &ComponentInfo, attached: bool, ended: bool) -> Result<(), AttachError> {
        match () {
            () if info.cause().is_some() => Err(AttachError::Aborted),
            () if ended => Err(AttachError::Ended),
            () if attached => Err(AttachError::Attached),
            () => Ok(()),
        }
    }

    /// The inlet's side of the producer's cell.
    fn account(&mut self) {
        if let Some(link) = &self.judge.up.link {
            let (cell, passed) = (link.cell(), self.judge.up.passed);
            cell.store_accepted(passed, self.waits.quantity);
            let finished = passed.quantity.saturating_sub(self.waits.quantity);
            cell.add_finished(finished.saturating_sub(cell.finished()));
        }
    }

    /// Passes items on, at once if nothing is before them and the consumer may have them, or has to see them.
    fn pass(&mut self, items: Items<T>, kept: bool, me: &Weak<Node<T>>) {
        let mut after = self.judge.down.passed;
        items.quantities().for_each(|quantity| after.add(quantity));
        let may = !kept || self.judge.down.granted && self.judge.down.limit.covers(after);
        let (Some(peer), Some(link)) = (&self.consumer, &self.judge.down.link) else { return self.wait(items, me) };
        if !may || !self.waiting.is_empty() {
            return self.wait(items, me);
        }
        let msg = match items {
            Items::One(item) => InletMsg::Down(Down::Consume { link: link.id(), item }),
            Items::Many(items) => InletMsg::Batch(link.id(), items),
        };
        link.cell().store_produced(after);
        self.to_consumer.push(ToConsumer::Message(peer.clone(), msg));
        self.judge.down.passed = after;
    }

    fn wait(&mut self, items: Items<T>, me: &Weak<Node<T>>) {
        items.into_each(|item| {
            self.waits.add(item.quantity());
            self.waiting.push_back(item);
        });
        self.account();
        self.keep(me);
        self.pump();
    }

    /// Whoever has something left to do holds itself.
    fn keep(&mut self, me: &Weak<Node<T>>) {
        self.hold = match self.waiting.is_empty() && self.end.is_none() {
            true => None,
            false => me.upgrade(),
        };
    }

    /// Gives what waits, as far as the consumer has granted, and then the end.
    fn pump(&mut self) {
        while self.judge.down.granted
            && self.judge.down.is_open()
            && let (Some(peer), Some(link)) = (&self.consumer, &self.judge.down.link)
            && let Some(mut item) = self.waiting.pop_front()
        {
            let credit = self.judge.down.limit.credit(self.judge.down.passed);
            let quantity = item.quantity();
            if credit.is_exhausted() {
                self.waiting.push_front(item);
                return;
            }
            if quantity > credit.quantity {
                // as an outlet does
                match item.split_to(credit.quantity) {
                    Some(part) => {
                        self.waiting.push_front(item);
                        item = part;
                    }
                    None => {
                        self.waiting.push_front(item);
                        return;
                    }
                }
            }
            let whole = item.quantity() == quantity;
            self.waits.sub(item.quantity(), u64::from(whole));
            self.judge.down.passed.add(item.quantity());
            link.cell().store_produced(self.judge.down.passed);
            let msg = InletMsg::Down(Down::Consume { link: link.id(), item });
            self.to_consumer.push(ToConsumer::Message(peer.clone(), msg));
        }
        if self.waiting.is_empty() {
            self.account();
            if self.judge.down.granted {
                self.give_end();
            }
            if self.end.is_none() {
                self.hold = None;
            }
            self.settled();
        }
    }

    fn settled(&mut self) {
        if self.waiting.is_empty() {
            for settler in self.settlers.drain(..) {
                // nobody may be waiting any more
                let _ = settler.send(());
            }
        }
    }

    fn give_end(&mut self) {
        let (Some(peer), Some(link)) = (&self.consumer, &self.judge.down.link) else { return };
        let Some(clean) = self.end.take() else { return };
        let msg = InletMsg::Last(Down::End { link: link.id(), clean }, peer.clone());
        self.to_consumer.push(ToConsumer::Message(peer.clone(), msg));
        self.judge.down.ended = Some(clean);
        let state = if clean { LinkState::EndedClean } else { LinkState::EndedUnclean };
        self.over(Side::Consumer, state, Terminal::Ended { clean });
        self.over(Side::Producer, state, Terminal::Ended { clean });
    }

    /// The consumer has granted before the producer was there.
    fn greet(&mut self) {
        if self.judge.down.granted {
            self.mirror(self.judge.down.limit);
        }
    }

    /// Grants the producer what the consumer has granted: the position that stands for the same credit there.
    fn mirror(&mut self, limit: Limit) {
        let (Some(peer), Some(link)) = (&self.producer, &self.judge.up.link) else { return };
        if !self.open || self.judge.up.over {
            return;
        }
        let (up, down) = (self.judge.up.passed, self.judge.down.passed);
        let moved = |limit: u64, down: u64, waits: u64, up: u64| match limit {
            Limit::UNLIMITED => limit,
            limit => {
                let there = i128::from(limit) - i128::from(down) - i128::from(waits) + i128::from(up);
                u64::try_from(there.max(0)).unwrap_or(u64::MAX)
            }
        };
        let there = Limit {
            quantity: moved(limit.quantity, down.quantity, self.waits.quantity, up.quantity),
            messages: moved(limit.messages, down.messages, self.waits.messages, up.messages),
        };
        let first = !self.judge.up.granted;
        // P3: what is repeated or lower changes nothing, and a monitor keeps the rules itself
        if !self.judge.up.limit.raise(there) && !first {
            return;
        }
        self.judge.up.granted = true;
        link.cell().store_limit(self.judge.up.limit);
        let msg = OutletMsg::Up(Up::CanProduce { link: link.id(), limit: self.judge.up.limit });
        self.to_producer.push(ToProducer::Message(peer.clone(), msg));
    }

    /// One of the two links is over, as the supervisor sees it.
    fn over(&mut self, side: Side, state: LinkState, terminal: Terminal) {
        let half = match side {
            Side::Producer => &mut self.judge.up,
            Side::Consumer => &mut self.judge.down,
        };
        let Some(link) = half.link.clone().filter(|_| !half.over) else { return };
        half.over = true;
        match side {
            Side::Producer => {
                if let Some(now) = self.to_producer.push_behind(ToProducer::Over(link.clone(), state)) {
                    now.send();
                }
            }
            Side::Consumer => {
                link.times().set(Waiting::No);
                link.cell().store_outlet_state(state);
            }
        }
        // we are the consumer of the producer's link
        let end = if side == Side::Producer { Side::Consumer } else { Side::Producer };
        link.note(|| Note::Over { link: link.id(), side: end, terminal });
    }

    /// Both links are broken off with this cause; each side that does not know is told.
    fn break_off(&mut self, info: &ComponentInfo, cause: &Arc<Cause>, by: Option<Side>) {
        info.set_cause(cause);
        self.judge.notice_cause();
        self.dead.extend(self.waiting.drain(..));
        self.waits = Count::ZERO;
        (self.end, self.hold) = (None, None);
        // who waits is answered that it is gone
        self.settlers.clear();
        for side in [Side::Producer, Side::Consumer] {
            let half = if side == Side::Producer { &self.judge.up } else { &self.judge.down };
            let Some(link) = half.link.clone() else { continue };
            // an outlet that has ended sets nothing (A2), but a consumer's late abort goes up
            let passes = !half.over || by == Some(Side::Consumer) && side == Side::Producer;
            if passes {
                link.cell().set_cause(cause.clone());
            }
            if passes && by != Some(side) {
                self.send_abort(side);
            }
            let cause = link.cell().cause().unwrap_or(cause).clone();
            self.over(side, LinkState::Aborted, Terminal::Aborted(cause));
        }
    }

    /// The abort message of one side, passed on to the other.
    fn tell_abort(&mut self, by: Side) {
        self.send_abort(if by == Side::Producer { Side::Consumer } else { Side::Producer });
    }

    fn send_abort(&mut self, to: Side) {
        match to {
            Side::Producer => {
                if let (Some(peer), Some(link)) = (&self.producer, &self.judge.up.link) {
                    let msg = OutletMsg::Up(Up::Abort { link: link.id() });
                    self.to_producer.push(ToProducer::Message(peer.clone(), msg));
                }
            }
            Side::Consumer => {
                if let (Some(peer), Some(link)) = (&self.consumer, &self.judge.down.link) {
                    let msg = InletMsg::Last(Down::Abort { link: link.id() }, peer.clone());
                    self.to_consumer.push(ToConsumer::Message(peer.clone(), msg));
                }
            }
        }
    }

    /// What the consumer's link is waiting for, for blame. Without credit the producer is taken to have data.
    fn show_waiting(&self) {
        let down = &self.judge.down;
        if let Some(link) = down.link.as_ref().filter(|_| !down.over) {
            let blocked = !self.waiting.is_empty() || down.limit.credit(down.passed).is_exhausted();
            link.times().set(if blocked { Waiting::ForCredit } else { Waiting::ForData });
        }
    }
}

impl<T: Payload> Items<T> {
    fn into_each(self, mut each: impl FnMut(T)) {
        match self {
            Self::One(item) => each(item),
            Self::Many(items) => items.into_iter().for_each(each),
        }
    }

    fn quantities(&self) -> impl Iterator<Item = u64> {
        let items = match self {
            Self::One(item) => std::slice::from_ref(item),
            Self::Many(items) => items,
        };
        items.iter().map(Payload::quantity)
    }
}

impl<T: Payload> Live for Node<T> {
    fn judge_quiet(&self) {
        if let Some(most) = self.quiet {
            self.with(|state| state.judge.quiet(most));
        }
    }
}

impl<T: Payload> Drop for Node<T> {
    fn drop(&mut self) {
        // A3. The producer held us: if its link is open still, it is gone without a word
        let (cause, observers) = {
            let mut state = self.lock();
            if state.producer.is_some() {
                state.judge.gone(Side::Producer);
            }
            (self.info.blame(Reason::ComponentGone), std::mem::take(&mut state.observers))
        };
        let cause = self.info.cause().cloned().unwrap_or(cause);
        self.with(|state| {
            if state.judge.up.is_open() || state.judge.down.is_open() {
                state.break_off(&self.info, &cause, None);
            }
        });
        for observer in observers {
            observer.note(Note::Gone { component: self.info.id() });
        }
    }
}
