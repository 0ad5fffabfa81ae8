//! One schedule: a component between two probes, and the steps at random.

use super::Conformance;
use super::judge::Book;
use super::specimen::Specimen;
use super::theme::{Theme, is_general};
use super::watch::Watch;
use crate::component::link::Link;
use crate::component::message::{AttachInlet, InletMsg, OutletMsg, ReserveOutlet};
use crate::component::{InletRef, OutletRef};
use crate::proto::link::{Credit, Limit, LinkId, Payload, Rule};
use crate::proto::sim::Rng;
use crate::testkit::probe::{Consumed, ConsumerProbe, Ladder, ProducerProbe};
use crate::testkit::rule::Kind;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// One schedule under way.
pub(super) struct Schedule<'a, T: Specimen, U: Specimen> {
    pub(super) kind: Kind,
    pub(super) theme: Theme,
    pub(super) seed: u64,
    pub(super) rng: Rng,
    pub(super) ladder: Ladder,
    pub(super) watch: Arc<Watch>,
    pub(super) book: &'a mut Book,
    pub(super) inlet: Option<InletRef<T>>,
    pub(super) outlet: Option<OutletRef<U>>,
    pub(super) producer: ProducerProbe<T>,
    pub(super) consumer: ConsumerProbe<U>,
    pub(super) items: u64,
    pub(super) input: Vec<u8>,
    pub(super) output: Vec<u8>,
    pub(super) clean: bool,
}

/// How a schedule came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Ended,
    Aborted,
    Stalled,
}

impl<T: Specimen, U: Specimen> Schedule<'_, T, U> {
    pub(super) async fn run(
        kit: &mut Conformance<T, U>,
        theme: Theme,
        seed: u64,
        book: &mut Book,
        reference: &mut Option<Vec<u8>>,
    ) {
        match (theme, kit.kind) {
            (Theme::Excess, Kind::Source) | (Theme::Stuck, Kind::Source | Kind::Sink) => return,
            _ => {}
        }
        let ladder = Ladder::default();
        ladder.note("schedule", format_args!("{theme:?}, seed {seed}"));
        let (inlet, outlet) = (kit.make)();
        let mut rng = Rng::new(seed);
        let clean = if kit.kind == Kind::Source { kit.clean } else { rng.chance(70) };
        let mut run = Schedule {
            kind: kit.kind,
            theme,
            seed,
            rng,
            watch: Arc::new(Watch::default()),
            book,
            inlet,
            outlet,
            producer: ProducerProbe::new("(kit) producer", &ladder),
            consumer: ConsumerProbe::new("(kit) consumer", &ladder),
            ladder,
            items: kit.max_items,
            input: Vec::new(),
            output: Vec::new(),
            clean,
        };
        run.producer.answer_questions();
        run.consumer.answer_questions();
        run.join_outlet();
        run.join_inlet();
        run.wait(50).await;
        match theme {
            Theme::Abort => run.abort().await,
            Theme::Stop => run.stop().await,
            Theme::Excess => run.excess().await,
            Theme::Stuck => run.stuck(kit.most_held).await,
            Theme::Ask => {
                run.ask().await;
                run.run_out(kit, reference).await;
            }
            _ => run.run_out(kit, reference).await,
        }
        run.findings();
        run.leave().await;
    }

    /// Lets everybody do what they have to do, and virtual time pass.
    pub(super) async fn wait(&mut self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        for event in self.consumer.take() {
            if let Consumed::Item(item) = event {
                item.write_to(&mut self.output);
            }
        }
        self.producer.take();
    }

    pub(super) fn join_inlet(&mut self) {
        let Some(inlet) = &self.inlet else { return };
        join(&self.producer.outlet(), inlet, &self.watch);
    }

    pub(super) fn join_outlet(&mut self) {
        let Some(outlet) = &self.outlet else { return };
        join(outlet, &self.consumer.inlet(), &self.watch);
    }

    pub(super) fn feeds(&self) -> bool {
        self.inlet.is_some()
    }

    pub(super) fn drinks(&self) -> bool {
        self.outlet.is_some()
    }

    /// Sends what the credit allows, up to so many items at once.
    pub(super) fn feed(&mut self, most: u64) {
        for _ in 0..most {
            let credit = self.producer.credit();
            if self.items == 0 || credit.is_exhausted() || self.producer.ended().is_some() {
                return;
            }
            let mut item = T::specimen(&mut self.rng);
            if item.quantity() > credit.quantity {
                match item.split_to(credit.quantity) {
                    Some(part) => item = part,
                    None => return,
                }
            }
            self.items -= 1;
            self.send(item);
        }
    }

    pub(super) fn send(&mut self, item: T) {
        item.write_to(&mut self.input);
        self.producer.send(item);
    }

    pub(super) fn grant(&mut self) {
        if self.consumer.ended().is_some() || self.consumer.cause().is_some() {
            return;
        }
        if self.theme == Theme::Flood {
            let messages = if self.kind == Kind::Source { 1_000_000 } else { 256 };
            return self.rise(1 << 30, messages);
        }
        let (quantity, messages) = (self.rng.magnitude(3000), self.rng.magnitude(40));
        match self.rng.below(6) {
            // one of the two alone: nothing can be sent for it
            0 => self.rise(quantity, 0),
            1 => self.rise(0, messages),
            _ => self.rise(quantity, messages),
        }
    }

    /// Grants beyond what has come. Never lower and never the same again: that is a theme's.
    pub(super) fn rise(&mut self, quantity: u64, messages: u64) {
        let mut limit = self.consumer.limit();
        let first = limit == Limit::ZERO;
        if limit.raise(Limit::beyond(self.consumer.passed(), Credit { quantity, messages })) || first {
            self.consumer.grant(limit);
        }
    }

    pub(super) fn is_over(&self) -> Option<End> {
        let broken = |cause: Option<_>| cause.is_some();
        if self.feeds() && broken(self.producer.cause()) || self.drinks() && broken(self.consumer.cause()) {
            return Some(End::Aborted);
        }
        let taken = !self.feeds()
            || self.producer.ended().is_some()
                && self.producer.link().is_some_and(|link| link.cell().inlet_state().is_terminal());
        let given = !self.drinks() || self.consumer.ended().is_some();
        (taken && given).then_some(End::Ended)
    }

    /// What counts as progress.
    pub(super) fn progress(&self) -> (u64, u64, bool, bool, usize) {
        let (sent, came) = (self.producer.passed().messages, self.consumer.passed().messages);
        (sent, came, self.producer.ended().is_some(), self.consumer.ended().is_some(), self.output.len())
    }

    /// One step at random, with what the theme adds.
    pub(super) async fn step(&mut self) {
        if self.feeds() {
            let most = if self.theme == Theme::Flood { 64 } else { self.rng.magnitude(20) };
            self.feed(most);
            if self.items == 0 && self.producer.ended().is_none() && self.producer.is_granted() {
                self.producer.end(self.clean);
            }
        }
        if self.drinks() && self.rng.chance(70) {
            self.grant();
        }
        match self.theme {
            Theme::Odd if self.rng.chance(60) => self.odd(),
            Theme::Stale if self.rng.chance(50) => self.stale(),
            Theme::Detach if self.rng.chance(25) => self.detach().await,
            _ => {}
        }
        let millis = if self.rng.chance(30) { 0 } else { self.rng.magnitude(200) };
        self.wait(millis).await;
    }

    /// Grants that are the same again, and one that is lower.
    pub(super) fn odd(&mut self) {
        let limit = self.consumer.limit();
        if !self.drinks() || self.consumer.ended().is_some() || limit.messages == 0 {
            return;
        }
        for _ in 0..self.rng.between(1, 3) {
            self.consumer.grant(limit);
        }
        let lower = Limit { quantity: self.rng.below(limit.quantity), messages: self.rng.below(limit.messages) };
        self.consumer.grant(lower);
    }

    pub(super) fn stale(&mut self) {
        let foreign = LinkId::next();
        if self.drinks() && self.consumer.ended().is_none() {
            let far = Limit {
                quantity: self.consumer.limit().quantity + 10_000,
                messages: self.consumer.limit().messages + 50,
            };
            self.consumer.grant_on(foreign, far);
            self.consumer.abort_on(foreign);
        }
        if self.feeds() && self.producer.ended().is_none() {
            for _ in 0..3 {
                self.producer.send_on(foreign, T::specimen(&mut self.rng));
            }
            self.producer.abort_on(foreign);
        }
    }

    pub(super) async fn detach(&mut self) {
        if let Some(outlet) = self.outlet.clone()
            && self.consumer.ended().is_none()
            && let Some((at, here)) = self.consumer.detach(&outlet).await
        {
            self.look(Rule::P6, at == here, "the outlet stopped at another position than what had come");
            self.wait(20).await;
            self.join_outlet();
            self.wait(20).await;
        }
        if let Some(inlet) = self.inlet.clone()
            && self.producer.ended().is_none()
            && self.producer.is_granted()
            && let Some(verdict) = self.producer.detach(&inlet).await
        {
            self.look(Rule::P6, verdict.is_ok(), "the inlet had not received what was sent");
            self.wait(20).await;
            self.join_inlet();
            self.wait(20).await;
        }
    }

    pub(super) async fn steps(&mut self) -> End {
        let (mut still, mut last) = (0, self.progress());
        // what is not over by then is no schedule of the kit's
        for _ in 0..100_000 {
            self.step().await;
            if let Some(end) = self.is_over() {
                self.wait(50).await;
                return end;
            }
            still = if self.progress() == last { still + 1 } else { 0 };
            last = self.progress();
            if still > 200 {
                break;
            }
        }
        End::Stalled
    }

    /// Runs until all has passed, and judges what came out.
    pub(super) async fn run_out(&mut self, kit: &Conformance<T, U>, reference: &mut Option<Vec<u8>>) {
        let end = if self.theme == Theme::Flood { self.flood(kit.longest_turn).await } else { self.steps().await };
        let theme = self.theme.rule(self.kind);
        // what the plain schedules show already is no matter of a theme
        let told = self.theme != Theme::Plain && self.book.broken.iter().any(|(rule, ..)| is_general(*rule));
        if told {
            return;
        }
        let general = |rule| theme.unwrap_or(rule);
        let ended = self.producer.ended().is_some() || self.kind == Kind::Source && self.consumer.ended().is_some();
        match end {
            End::Stalled if self.feeds() && ended => self.look(general(Rule::E2), false, "the end is not taken"),
            End::Stalled => self.look(general(Rule::C1), false, "nothing moves any more"),
            End::Aborted => {
                let rule = if self.feeds() { Rule::C2 } else { Rule::E1 };
                let cause = self.producer.cause().or_else(|| self.consumer.cause());
                let cause = cause.map_or_else(String::new, |cause| cause.to_string());
                self.look(general(rule), false, format_args!("aborted, and nobody asked for it: {cause}"));
            }
            End::Ended => {
                for rule in [Rule::C1, Rule::C2, Rule::E2].into_iter().chain(theme) {
                    self.look(rule, true, "");
                }
                if self.drinks() {
                    self.judge_output(kit, reference, &general);
                }
            }
        }
        if self.theme == Theme::Plain {
            self.gone_at_the_end().await;
        }
    }

    /// All credit at once; another task has its turn beside it.
    pub(super) async fn flood(&mut self, longest: u64) -> End {
        let mut turn = 0;
        let end = match self.kind {
            Kind::Source => {
                self.consumer.tick();
                self.grant();
                let consumer = self.consumer.clone();
                let ticker = actix_rt::spawn(async move {
                    loop {
                        consumer.tick();
                        next_turn().await;
                    }
                });
                // time stands still meanwhile, so what has not moved for so many rounds waits for time, or for ever
                let (mut still, mut last) = (0, self.consumer.passed());
                while still < 1000 && self.is_over().is_none() {
                    tokio::task::yield_now().await;
                    still = if self.consumer.passed() == last { still + 1 } else { 0 };
                    last = self.consumer.passed();
                }
                ticker.abort();
                turn = self.consumer.tick();
                self.wait(1).await;
                self.steps().await
            }
            _ => self.steps().await,
        };
        let came = self.consumer.passed().messages;
        match self.kind {
            Kind::Source if came > longest => {
                self.look(Rule::F1, turn <= longest, format_args!("{turn} items in one turn"));
            }
            Kind::Source => {}
            _ => self.look(Rule::F1, true, ""),
        }
        end
    }

    /// Nothing of one schedule is left for the next.
    pub(super) async fn leave(self) {
        self.handles().iter().for_each(|handle| handle.stop());
        drop(self);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Goes to the end of the executor's queue. Tokio's own `yield_now` waits for more than one round of a local set.
async fn next_turn() {
    let mut waited = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn join<T: Payload>(outlet: &OutletRef<T>, inlet: &InletRef<T>, watch: &Arc<Watch>) {
    let link = Link::new(Some(watch.clone()));
    let (consumer, producer) = (inlet.0.clone(), outlet.0.clone().weak());
    let reserve = ReserveOutlet { link: link.clone(), consumer, reply: None, handled: false };
    outlet.0.send(OutletMsg::Reserve(Box::new(reserve)));
    let attach = AttachInlet { link, producer, gated: false, reply: None, handled: false };
    inlet.0.send(InletMsg::Attach(Box::new(attach)));
}
