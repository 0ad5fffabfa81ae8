//! `Pair`: one outlet, its consumers, the mail between them and a supervisor's transactions.

use super::schedule::{Delays, Rng};
use super::trace::{Event, Fate, Node, Note, Record, Sample, Want, What};
use crate::proto::link::{
    AttachError, Cause, Count, Credit, Down, Inlet, InletEffect, Limit, LinkCell, LinkId, Origin, Outlet, OutletEffect,
    OutletPhase, Payload, PushError, Reason, Received, Side, Up, Window,
};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// A transaction that cannot begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TransactionError {
    /// Another one is under way.
    #[error("another transaction is under way")]
    Busy,
    /// The producer refused.
    #[error("the producer refused: {0}")]
    Refused(#[source] AttachError),
    /// The producer is not attached, or there is no producer.
    #[error("the producer is not attached")]
    NotAttached,
}

enum Letter<T> {
    Attach(Arc<LinkCell>),
    CloseAt { link: LinkId, at: Count },
    Down(Down<T>, Option<Limit>),
    Up(Up),
    Answer { link: LinkId, done: bool, detaching: bool },
    TurnEnds,
}

impl<T: Payload> Letter<T> {
    fn note(&self) -> Note {
        match self {
            Self::Attach(cell) => Note::Attach { link: cell.id() },
            Self::CloseAt { link, at } => Note::CloseAt { link: *link, at: *at },
            Self::Down(Down::Consume { link, item }, limit) => {
                Note::Consume { link: *link, quantity: item.quantity(), limit: limit.unwrap_or_default() }
            }
            Self::Down(Down::Parcel { link, parcel }, limit) => {
                Note::Consume { link: *link, quantity: parcel.quantity, limit: limit.unwrap_or_default() }
            }
            Self::Down(Down::End { link, clean }, _) => Note::End { link: *link, clean: *clean },
            Self::Down(Down::Abort { link }, _) | Self::Up(Up::Abort { link }) => Note::Abort { link: *link },
            Self::Down(Down::Suspend { link, at }, _) => Note::Suspend { link: *link, at: Some(*at) },
            Self::Up(Up::Suspend { link }) => Note::Suspend { link: *link, at: None },
            Self::Up(Up::Finished { link }) => Note::Finished { link: *link },
            Self::Up(Up::CanProduce { link, limit }) => Note::CanProduce { link: *link, limit: *limit },
            Self::Answer { link, done, .. } => Note::Answer { link: *link, done: *done },
            Self::TurnEnds => Note::TurnEnds,
        }
    }
}

struct Queue<T> {
    to: Node,
    letters: VecDeque<(Duration, Node, Letter<T>)>,
}

struct Consumer<T> {
    inlet: Inlet<T>,
    link: Option<LinkId>,
    hand: VecDeque<u64>,
    dead: bool,
    turn: bool,
}

/// One outlet and its consumers in virtual time; see the [module](super).
///
/// # Invariants
///
/// Checked after every step: those of each port, and that for each attachment, as the cell tells it and as the harness
/// counted it, produced = accepted + in flight.
pub struct Pair<T: Sample> {
    seed: u64,
    rng: Rng,
    delays: Delays,
    now: Duration,
    lazy: bool,
    on_demand: bool,
    armed: Vec<Side>,
    outlet: Outlet<T>,
    outlet_link: Option<LinkId>,
    producer_dead: bool,
    consumers: Vec<Consumer<T>>,
    queues: Vec<Queue<T>>,
    records: Vec<Record>,
    events: Vec<Event>,
    transaction: bool,
    quiet: bool,
}

impl<T: Sample> fmt::Debug for Pair<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("seed", &self.seed).field("now", &self.now).finish_non_exhaustive()
    }
}

impl<T: Sample> Pair<T> {
    /// An unattached outlet and these inlets.
    pub fn new(seed: u64, delays: Delays, inlets: Vec<Inlet<T>>) -> Self {
        let mut queues = Vec::new();
        for n in 0..inlets.len() {
            // down, up, and the consumer's notes to itself
            let ways = [Node::Consumer(n), Node::Producer, Node::Consumer(n)];
            queues.extend(ways.map(|to| Queue { to, letters: VecDeque::new() }));
        }
        let consumers = inlets
            .into_iter()
            .map(|inlet| Consumer { inlet, link: None, hand: VecDeque::new(), dead: false, turn: false })
            .collect();
        Self {
            seed,
            rng: Rng::new(seed ^ 0xC0FF_EE00),
            delays,
            now: Duration::ZERO,
            lazy: false,
            on_demand: false,
            armed: Vec::new(),
            outlet: Outlet::new(),
            outlet_link: None,
            producer_dead: false,
            consumers,
            queues,
            records: Vec::new(),
            events: Vec::new(),
            transaction: false,
            quiet: false,
        }
    }

    /// Consumers now and then handle several items before they ask for effects, as an actor does that grants at the end
    /// of its turn (rule F1).
    #[must_use]
    pub fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }

    /// The outlet is told of a grant only while it waits (rule C1).
    #[must_use]
    pub fn on_demand(mut self) -> Self {
        self.on_demand = true;
        self.outlet.on_demand();
        self
    }

    /// A supervisor rebuilds what fails at this side: every attachment is armed there (rule S1).
    #[must_use]
    pub fn armed(mut self, side: Side) -> Self {
        self.armed.push(side);
        self
    }

    // ---- what can be seen

    /// The outlet.
    pub fn outlet(&self) -> &Outlet<T> {
        &self.outlet
    }

    /// Consumer `n`'s inlet.
    pub fn inlet(&self, n: usize) -> &Inlet<T> {
        &self.consumers[n].inlet
    }

    /// What consumer `n` was given and has not released: items and their whole quantity.
    pub fn in_hand(&self, n: usize) -> Count {
        let hand = &self.consumers[n].hand;
        Count { quantity: hand.iter().sum(), messages: hand.len() as u64 }
    }

    /// Attachment number `n`, from 0 on.
    pub fn record(&self, n: usize) -> &Record {
        &self.records[n]
    }

    /// All attachments.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// All that happened, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Virtual time since the start.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// True while a transaction is under way.
    pub fn is_busy(&self) -> bool {
        self.transaction
    }

    /// True if no letter is under way.
    pub fn is_quiet(&self) -> bool {
        self.queues.iter().all(|queue| queue.letters.is_empty())
    }

    /// The seed and all that happened, one line each. Links are numbered from 1 in the order of their attachments.
    pub fn ladder(&self) -> String {
        let mut text = format!("seed {}\n", self.seed);
        for event in &self.events {
            text.push_str(&format!("{event}\n"));
        }
        // process-wide numbers differ from run to run; those of the ladder do not
        for (n, record) in self.records.iter().enumerate().rev() {
            for end in [" ", "\n"] {
                text = text.replace(&format!("{}{end}", record.cell.id()), &format!("link-#{}{end}", n + 1));
            }
        }
        text.replace("link-#", "link-")
    }

    // ---- transactions

    /// Reserves the producer and sends the second step to consumer `n`.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Busy`] while another transaction is under way; [`TransactionError::Refused`] if the outlet refuses.
    pub fn attach(&mut self, n: usize) -> Result<LinkId, TransactionError> {
        if self.transaction {
            return Err(TransactionError::Busy);
        }
        if self.producer_dead {
            return Err(TransactionError::NotAttached);
        }
        let cell = LinkCell::new();
        self.armed.iter().for_each(|side| cell.arm(*side));
        self.outlet.reserve(cell.clone()).map_err(TransactionError::Refused)?;
        let link = cell.id();
        self.wants(Node::Producer, Want::Reserve { link });
        self.records.push(Record {
            cell: cell.clone(),
            consumer: n,
            left: Vec::new(),
            arrived: Vec::new(),
            sent: Count::ZERO,
            delivered: Count::ZERO,
            lost: Count::ZERO,
            outlet_over: Vec::new(),
            inlet_over: Vec::new(),
            attached: false,
            released: false,
            cause_seen: false,
        });
        self.outlet_link = Some(link);
        self.transaction = true;
        self.drain_outlet();
        self.mail_down(n, Letter::Attach(cell));
        self.check();
        Ok(link)
    }

    /// Stops the producer, and sends the second step behind all that it has sent.
    ///
    /// # Errors
    ///
    /// [`TransactionError::Busy`] while another transaction is under way; [`TransactionError::NotAttached`] if there is nothing to detach.
    pub fn detach(&mut self) -> Result<Count, TransactionError> {
        if self.transaction {
            return Err(TransactionError::Busy);
        }
        let link = self.outlet_link.ok_or(TransactionError::NotAttached)?;
        let n = self.find(link).consumer;
        let at = self.outlet.detach(link);
        if let Some(at) = at {
            self.wants(Node::Producer, Want::Detach { link, at });
            self.transaction = true;
        }
        self.drain_outlet();
        if let Some(at) = at {
            self.mail_down(n, Letter::CloseAt { link, at });
        }
        self.check();
        at.ok_or(TransactionError::NotAttached)
    }

    // ---- what the owners want

    /// The producer pushes.
    ///
    /// # Errors
    ///
    /// Those of [`Outlet::push`].
    pub fn push(&mut self, item: T) -> Result<(), PushError<T>> {
        let quantity = item.quantity();
        let result = self.outlet.push(item);
        self.wants(Node::Producer, Want::Push { quantity, taken: result.is_ok() });
        self.drain_outlet();
        self.check();
        result
    }

    /// The producer ends.
    pub fn end(&mut self, clean: bool) {
        self.wants(Node::Producer, Want::End { clean });
        self.outlet.end(clean);
        self.drain_outlet();
        self.check();
    }

    /// This owner breaks its port off. The supervisor sets the cell of the link and wakes both ends.
    pub fn abort(&mut self, node: Node, cause: Arc<Cause>) {
        self.wants(node, Want::Abort);
        match node {
            Node::Producer => {
                self.outlet.abort(cause);
                self.drain_outlet();
            }
            Node::Consumer(n) => {
                self.consumers[n].inlet.abort(cause);
                self.drain_inlet(n);
            }
            Node::Supervisor => {
                // the producer may have parted already, and its consumer not yet
                let last = self.consumers.iter().find_map(|consumer| consumer.link);
                let Some(link) = self.outlet_link.or(last) else { return };
                let record = self.find(link);
                let n = record.consumer;
                record.cell.set_cause(cause);
                self.see_causes();
                self.mail(3 * n, Node::Supervisor, Letter::Down(Down::Abort { link }, None));
                self.mail(3 * n + 1, Node::Supervisor, Letter::Up(Up::Abort { link }));
            }
        }
        self.check();
    }

    /// The owner is dropped, with its port and its mailbox.
    pub fn drop_owner(&mut self, node: Node) {
        self.abort(node, Cause::new(Reason::ComponentGone, Origin::component(node.to_string())));
        match node {
            Node::Producer => self.producer_dead = true,
            Node::Consumer(n) => {
                self.consumers[n].dead = true;
                self.consumers[n].hand.clear();
            }
            Node::Supervisor => {}
        }
    }

    /// The owner fails by its own fault, and is dropped with its port and its mailbox (rule S1).
    pub fn fail(&mut self, node: Node, cause: Arc<Cause>) {
        self.wants(node, Want::Fail);
        match node {
            Node::Producer => {
                self.outlet.fail(cause);
                self.drain_outlet();
                self.producer_dead = true;
            }
            Node::Consumer(n) => {
                self.consumers[n].inlet.fail(cause);
                self.drain_inlet(n);
                self.consumers[n].dead = true;
                self.consumers[n].hand.clear();
            }
            Node::Supervisor => {}
        }
        self.check();
    }

    /// A new producer takes the place of one that is gone.
    pub fn rebuild_producer(&mut self) {
        self.outlet = Outlet::new();
        if self.on_demand {
            self.outlet.on_demand();
        }
        self.producer_dead = false;
    }

    /// Consumer `n` releases its oldest `messages` items, at most those it has.
    pub fn release(&mut self, n: usize, messages: u64) {
        let hand = &mut self.consumers[n].hand;
        let count = hand.len().min(usize::try_from(messages).unwrap_or(usize::MAX));
        let quantity = hand.drain(..count).sum();
        self.wants(Node::Consumer(n), Want::Release { quantity, messages: count as u64 });
        self.consumers[n].inlet.release(quantity, count as u64);
        self.drain_inlet(n);
        self.check();
    }

    /// Consumer `n` releases `quantity` units of its oldest item, at most what is left of it, keeping the message.
    pub fn release_part(&mut self, n: usize, quantity: u64) {
        let Some(oldest) = self.consumers[n].hand.front_mut() else { return };
        let quantity = quantity.min(*oldest);
        *oldest -= quantity;
        let whole = u64::from(*oldest == 0);
        if whole == 1 {
            self.consumers[n].hand.pop_front();
        }
        self.wants(Node::Consumer(n), Want::Release { quantity, messages: whole });
        self.consumers[n].inlet.release(quantity, whole);
        self.drain_inlet(n);
        self.check();
    }

    /// Consumer `n`, whose inlet is manual, grants.
    pub fn grant(&mut self, n: usize, credit: Credit) {
        self.wants(Node::Consumer(n), Want::Grant { credit });
        self.consumers[n].inlet.grant(credit);
        self.drain_inlet(n);
        self.check();
    }

    /// Consumer `n` changes its window.
    pub fn set_window(&mut self, n: usize, window: Window) {
        self.wants(Node::Consumer(n), Want::SetWindow { window });
        self.consumers[n].inlet.set_window(window);
        self.drain_inlet(n);
        self.check();
    }

    /// A letter that no honest producer would send now, behind what is on its way to consumer `n`.
    pub fn forge_down(&mut self, n: usize, letter: Down<T>) {
        self.mail_down(n, Letter::Down(letter, None));
    }

    /// A letter that no honest consumer would send now, behind what is on its way from consumer `n`.
    pub fn forge_up(&mut self, n: usize, letter: Up) {
        self.mail_up(n, Letter::Up(letter));
    }

    // ---- time

    /// Delivers the letter that is due next; between several that are due at once it draws. False if there is none.
    pub fn step(&mut self) -> bool {
        let due = self.queues.iter().filter_map(|queue| queue.letters.front().map(|(due, _, _)| *due)).min();
        let Some(due) = due else { return false };
        let ready = |queue: &Queue<T>| queue.letters.front().is_some_and(|(at, _, _)| *at == due);
        let choices = self.queues.iter().filter(|queue| ready(queue)).count() as u64;
        let chosen = usize::try_from(self.rng.below(choices)).unwrap_or(0);
        let Some(queue) = self.queues.iter_mut().filter(|queue| ready(queue)).nth(chosen) else { return false };
        let to = queue.to;
        let Some((_, from, letter)) = queue.letters.pop_front() else { return false };
        self.now = self.now.max(due);
        match to {
            Node::Consumer(n) => self.arrives_at_consumer(from, n, letter),
            _ => self.arrives_at_producer(from, letter),
        }
        self.check();
        true
    }

    /// Steps until no letter is under way, and says how many steps that took. See [`drive_bounded`](Self::drive_bounded).
    pub fn drive(&mut self) -> usize {
        self.drive_bounded(1_000_000)
    }

    /// The same in at most `steps` steps.
    ///
    /// # Panics
    ///
    /// If letters are still under way after that: the two ends keep each other busy.
    pub fn drive_bounded(&mut self, steps: usize) -> usize {
        for n in 0..steps {
            if !self.step() {
                return n;
            }
        }
        assert!(self.is_quiet(), "livelock: letters are still under way after {steps} steps");
        steps
    }

    /// Drives, has every consumer release all that it holds, and so on until nothing moves any more.
    ///
    /// # Panics
    ///
    /// As [`drive_bounded`](Self::drive_bounded), after `steps` steps altogether.
    pub fn settle(&mut self, steps: usize) {
        let mut left = steps;
        loop {
            left = left.saturating_sub(self.drive_bounded(left));
            let holding: Vec<usize> =
                (0..self.consumers.len()).filter(|n| !self.consumers[*n].hand.is_empty()).collect();
            for n in &holding {
                self.release(*n, u64::MAX);
            }
            if holding.is_empty() && self.is_quiet() {
                return;
            }
        }
    }

    /// Asserts the invariants of both ends and of the accounts between them; every step calls it.
    pub fn check(&self) {
        self.outlet.check();
        for consumer in &self.consumers {
            consumer.inlet.check();
            if let (Some(cell), true) = (consumer.inlet.cell(), consumer.link.is_some()) {
                assert_eq!(cell.held(), consumer.inlet.held().quantity, "the cell tells what is held");
            }
        }
        for record in self.records.iter().rev().take(2) {
            assert_eq!(record.cell.produced(), record.sent, "the cell tells what was produced");
            assert_eq!(record.cell.accepted(), record.delivered, "the cell tells what was accepted");
            let link = record.cell.id();
            let under_way: u64 = self.queues[3 * record.consumer]
                .letters
                .iter()
                .filter_map(|(_, _, letter)| match letter {
                    // a forged letter has no limit, and was not produced
                    Letter::Down(Down::Consume { link: of, item }, Some(_)) if *of == link => Some(item.quantity()),
                    _ => None,
                })
                .sum();
            assert_eq!(record.cell.in_flight(), under_way + record.lost.quantity, "produced = accepted + in flight");
        }
    }

    // ---- the mail

    fn log(&mut self, what: What) {
        self.events.push(Event { at: self.now, what });
    }

    fn wants(&mut self, node: Node, want: Want) {
        self.log(What::Wants { node, want });
    }

    fn mail_down(&mut self, n: usize, letter: Letter<T>) {
        let from = match &letter {
            Letter::Attach(_) | Letter::CloseAt { .. } => Node::Supervisor,
            _ => Node::Producer,
        };
        self.mail(3 * n, from, letter);
    }

    fn mail_up(&mut self, n: usize, letter: Letter<T>) {
        self.mail(3 * n + 1, Node::Consumer(n), letter);
    }

    fn mail(&mut self, queue: usize, from: Node, letter: Letter<T>) {
        let due = self.now + self.delays.draw(&mut self.rng);
        let queue = &mut self.queues[queue];
        let last = queue.letters.back().map_or(Duration::ZERO, |(due, _, _)| *due);
        let to = if matches!(letter, Letter::Answer { .. }) { Node::Supervisor } else { queue.to };
        let note = letter.note();
        queue.letters.push_back((due.max(last), from, letter));
        if note != Note::TurnEnds {
            self.log(What::Sent { from, to, note });
        }
    }

    fn arrives_at_consumer(&mut self, from: Node, n: usize, letter: Letter<T>) {
        let note = letter.note();
        let to = Node::Consumer(n);
        if self.consumers[n].dead {
            self.arrives_at_nobody(n, letter);
            self.log(What::Arrived { from, to, note, fate: Fate::Dead });
            return;
        }
        if self.consumers[n].turn && !matches!(note, Note::Consume { .. } | Note::TurnEnds) {
            self.drain_inlet(n);
        }
        let inlet = &mut self.consumers[n].inlet;
        let taken = match letter {
            Letter::Attach(cell) => {
                let link = cell.id();
                let done = inlet.attach(cell).is_ok();
                if done {
                    self.consumers[n].link = Some(link);
                    self.find(link).attached = true;
                }
                self.mail_up(n, Letter::Answer { link, done, detaching: false });
                done
            }
            Letter::CloseAt { link, at } => {
                let done = matches!(inlet.close_at(link, at), Some(Ok(())));
                self.mail_up(n, Letter::Answer { link, done, detaching: true });
                done
            }
            Letter::Down(Down::Consume { link, item }, limit) => {
                self.consume(n, link, item, limit.is_some(), note);
                return;
            }
            Letter::Down(Down::Parcel { link, parcel }, _) => {
                matches!(inlet.handle_parcel(link, parcel), Received::Parcel(_))
            }
            Letter::Down(Down::End { link, clean }, _) => matches!(inlet.handle_end(link, clean), Received::End { .. }),
            Letter::Down(Down::Abort { link }, _) => inlet.handle_abort(link),
            Letter::Down(Down::Suspend { link, at }, _) => inlet.handle_suspend(link, at),
            Letter::TurnEnds => {
                if self.consumers[n].turn {
                    self.log(What::Arrived { from, to, note, fate: Fate::Taken });
                    self.drain_inlet(n);
                }
                return;
            }
            Letter::Up(_) | Letter::Answer { .. } => unreachable!("goes the other way"),
        };
        self.log(What::Arrived { from, to, note, fate: if taken { Fate::Taken } else { Fate::Dropped } });
        self.drain_inlet(n);
    }

    fn consume(&mut self, n: usize, link: LinkId, item: T, honest: bool, note: Note) {
        let consumer = &mut self.consumers[n];
        let quantity = item.quantity();
        let held_before = consumer.inlet.held();
        let received = consumer.inlet.handle_consume(link, item);
        let fate = match received {
            Received::Item(item) => {
                if consumer.inlet.held() != held_before {
                    consumer.hand.push_back(quantity);
                }
                let record = self.find(link);
                item.put(&mut record.arrived);
                record.delivered.add(quantity);
                Fate::Taken
            }
            _ => {
                if honest {
                    self.find(link).lost.add(quantity);
                }
                Fate::Dropped
            }
        };
        self.log(What::Arrived { from: Node::Producer, to: Node::Consumer(n), note, fate });
        if self.lazy && fate == Fate::Taken && self.rng.chance(50) {
            self.consumers[n].turn = true;
            self.mail(3 * n + 2, Node::Consumer(n), Letter::TurnEnds);
        } else {
            self.drain_inlet(n);
        }
    }

    /// What the guards in the letters do when they are dropped unread (rule A3).
    fn arrives_at_nobody(&mut self, n: usize, letter: Letter<T>) {
        match letter {
            Letter::Attach(cell) => {
                let link = cell.id();
                let gone = Cause::new(Reason::ComponentGone, Origin::component(Node::Consumer(n).to_string()).on(link));
                cell.set_cause(gone);
                self.see_causes();
                self.mail_up(n, Letter::Up(Up::Abort { link }));
                self.mail_up(n, Letter::Answer { link, done: false, detaching: false });
            }
            Letter::CloseAt { link, .. } => self.mail_up(n, Letter::Answer { link, done: false, detaching: true }),
            Letter::Down(Down::Consume { link, item }, Some(_)) => self.find(link).lost.add(item.quantity()),
            _ => {}
        }
    }

    fn arrives_at_producer(&mut self, from: Node, letter: Letter<T>) {
        let note = letter.note();
        let (to, taken) = match letter {
            Letter::Answer { link, done, detaching } => {
                self.transaction = false;
                if !done && !self.producer_dead {
                    self.give_up(link, detaching);
                }
                (Node::Supervisor, true)
            }
            _ if self.producer_dead => {
                self.log(What::Arrived { from, to: Node::Producer, note, fate: Fate::Dead });
                return;
            }
            Letter::Up(Up::CanProduce { link, limit }) => (Node::Producer, self.outlet.handle_can_produce(link, limit)),
            Letter::Up(Up::Suspend { link }) => (Node::Producer, self.outlet.handle_suspend(link)),
            Letter::Up(Up::Finished { link }) => (Node::Producer, self.outlet.handle_finished(link)),
            Letter::Up(Up::Abort { link }) => {
                let late = self.outlet.handle_abort(link);
                (Node::Producer, late == crate::proto::link::LateAbort::Live)
            }
            _ => unreachable!("goes the other way"),
        };
        self.log(What::Arrived { from, to, note, fate: if taken { Fate::Taken } else { Fate::Dropped } });
        if !self.producer_dead {
            self.drain_outlet();
        }
    }

    /// A transaction's second step failed: the reservation is released, or the link ends with the cause.
    fn give_up(&mut self, link: LinkId, detaching: bool) {
        if !detaching {
            if self.outlet.release(link) {
                self.find(link).released = true;
                self.outlet_link = None;
            }
        } else if self.outlet.phase() == OutletPhase::Idle {
            let gone = || Cause::new(Reason::ComponentGone, Origin::default().on(link));
            let cause = self.find(link).cell.cause().cloned().unwrap_or_else(gone);
            self.outlet.abort(cause);
        }
    }

    fn drain_outlet(&mut self) {
        self.see_causes();
        while let Some(effect) = self.outlet.poll_effect() {
            match effect {
                OutletEffect::Send(letter) => {
                    let link = letter.link();
                    let limit = self.outlet.limit();
                    let record = self.find(link);
                    if let Down::Consume { item, .. } = &letter {
                        item.put(&mut record.left);
                        record.sent.add(item.quantity());
                    }
                    let n = record.consumer;
                    self.mail_down(n, Letter::Down(letter, Some(limit)));
                }
                OutletEffect::Over(how) => {
                    let link = self.outlet_link.take();
                    if let Some(link) = link {
                        self.find(link).outlet_over.push(how.clone());
                    }
                    self.log(What::Over { node: Node::Producer, link, how });
                }
            }
        }
    }

    fn drain_inlet(&mut self, n: usize) {
        self.see_causes();
        self.consumers[n].turn = false;
        loop {
            let before = self.consumers[n].inlet.limit();
            let effect = self.consumers[n].inlet.poll_effect();
            self.see_limit(n, before);
            let Some(effect) = effect else { break };
            match effect {
                InletEffect::Send(letter) => self.mail_up(n, Letter::Up(letter)),
                InletEffect::Over(how) => {
                    let link = self.consumers[n].link.take();
                    if let Some(link) = link {
                        self.find(link).inlet_over.push(how.clone());
                    }
                    self.log(What::Over { node: Node::Consumer(n), link, how });
                }
            }
        }
    }

    fn see_limit(&mut self, n: usize, mut before: Limit) {
        let limit = self.consumers[n].inlet.limit();
        if let (true, Some(link)) = (before.raise(limit), self.consumers[n].link) {
            self.log(What::Raised { node: Node::Consumer(n), link, limit });
        }
    }

    fn see_causes(&mut self) {
        for n in (0..self.records.len()).rev().take(2) {
            let record = &mut self.records[n];
            if !record.cause_seen && record.cell.cause().is_some() {
                record.cause_seen = true;
                let link = record.cell.id();
                self.log(What::CauseSet { link });
            }
        }
    }

    fn find(&mut self, link: LinkId) -> &mut Record {
        let found = self.records.iter_mut().rev().find(|record| record.cell.id() == link);
        found.expect("the harness knows every link that its ports speak of")
    }

    /// Does not print the ladder when the test panics; for tests that expect it.
    pub fn be_quiet(&mut self) {
        self.quiet = true;
    }
}

impl<T: Sample> Drop for Pair<T> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.quiet {
            eprintln!("{}", self.ladder());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn same_seed_gives_the_same_ladder() {
        let run = |seed| {
            let mut pair = Pair::new(seed, Delays::millis(1, 40), vec![Inlet::new(Window::of(100))]).lazy();
            pair.attach(0).expect("free");
            pair.push(Bytes::from(vec![7; 1000])).expect("taken");
            pair.end(true);
            pair.settle(1000);
            pair.ladder()
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }

    #[test]
    #[should_panic(expected = "livelock")]
    fn drive_bounded_catches_a_livelock() {
        let mut pair = Pair::<u32>::new(1, Delays::NONE, vec![Inlet::default()]);
        pair.be_quiet();
        pair.attach(0).expect("free");
        pair.drive_bounded(1);
    }
}
