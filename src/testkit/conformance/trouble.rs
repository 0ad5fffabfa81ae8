//! Schedules that do not run out: an abort, a stop, an excess, a consumer that is stuck; and questions.

use super::schedule::Schedule;
use super::specimen::Specimen;
use crate::component::ComponentInfo;
use crate::component::message::ManageHandle;
use crate::proto::link::{Cause, Limit, Reason, Rule};
use crate::testkit::probe::ProducerProbe;
use crate::testkit::rule::Kind;
use std::sync::Arc;
use std::time::Duration;

impl<T: Specimen, U: Specimen> Schedule<'_, T, U> {
    /// The kit asks, from each side.
    pub(super) async fn ask(&mut self) {
        if self.drinks() {
            self.rise(1, 1);
        }
        self.wait(50).await;
        let within = Duration::from_secs(5);
        let through = self.kind == Kind::Filter;
        if self.drinks() {
            let answer = self.consumer.ask(within).await;
            self.judge_answer("against the data", through, answer, self.producer.questions());
        }
        if self.feeds() {
            let answer = self.producer.ask(within).await;
            self.judge_answer("with the data", through, answer, self.consumer.questions());
        }
    }

    /// Some steps, so that an abort can come anywhere.
    pub(super) async fn some_steps(&mut self) {
        for _ in 0..self.rng.below(8) {
            if self.items < 4 || self.is_over().is_some() || self.consumer.passed().messages > 20 {
                break;
            }
            self.step().await;
        }
    }

    pub(super) fn handles(&self) -> Vec<Box<dyn ManageHandle>> {
        self.watch.look(|watched| watched.components.values().map(|component| component.manage.boxed()).collect())
    }

    pub(super) fn infos(&self) -> Vec<Arc<ComponentInfo>> {
        self.watch.look(|watched| watched.components.values().map(|component| component.info.clone()).collect())
    }

    pub(super) fn is_ready_for_trouble(&self) -> bool {
        self.is_over().is_none() && self.producer.ended().is_none() && self.consumer.ended().is_none()
    }

    pub(super) async fn abort(&mut self) {
        self.some_steps().await;
        if !self.is_ready_for_trouble() {
            return;
        }
        let reason = || Reason::Requested("the kit's own".into());
        if self.drinks() {
            self.rise(100_000, 200);
        }
        self.feed(3);
        let by_producer = self.feeds() && (!self.drinks() || self.rng.chance(50));
        match by_producer {
            true => self.producer.abort(reason()),
            false => self.consumer.abort(reason()),
        }
        let accepted = |producer: &ProducerProbe<T>| producer.link().map(|link| link.cell().accepted());
        let before = accepted(&self.producer);
        let infos = self.infos();
        self.wait(1000).await;
        let ours = |cause: &Arc<Cause>| {
            cause.origin.component.starts_with("(kit)") && matches!(cause.reason, Reason::Requested(_))
        };
        for info in infos {
            let told = info.cause().map_or_else(|| "no cause".into(), |cause| cause.to_string());
            self.look(Rule::A1, info.cause().is_some_and(ours), format_args!("the component was told {told}"));
        }
        if self.kind == Kind::Filter {
            let other = if by_producer { self.consumer.cause() } else { self.producer.cause() };
            self.look(Rule::A1, other.as_ref().is_some_and(ours), "the other side was not told the same cause");
        }
        // items lay in the mailbox when the cause was set; of a consumer's abort, the probe judges each that comes after it
        let holds = !by_producer || before == accepted(&self.producer);
        self.look(Rule::A2, holds, "items were accepted after the cause was set");
    }

    pub(super) async fn stop(&mut self) {
        self.some_steps().await;
        if !self.is_ready_for_trouble() {
            return;
        }
        self.ladder.note("the kit", "stops the component");
        self.handles().iter().for_each(|handle| handle.stop());
        self.wait(1000).await;
        if self.feeds() {
            self.look(
                Rule::A3,
                self.producer.cause().is_some(),
                "the producer was not told that the component is gone",
            );
        }
        if self.drinks() {
            self.look(
                Rule::A3,
                self.consumer.cause().is_some(),
                "the consumer was not told that the component is gone",
            );
        }
    }

    pub(super) async fn excess(&mut self) {
        let credit = self.producer.credit();
        if credit.messages > 65_536 || !self.producer.is_granted() {
            return;
        }
        let mut beyond = false;
        for _ in 0..=credit.messages {
            beyond = self.producer.credit().is_exhausted();
            self.producer.send(T::specimen(&mut self.rng));
            beyond |= !self.producer.limit().covers(self.producer.passed());
            if beyond {
                break;
            }
        }
        self.wait(1000).await;
        let cause = self.producer.cause();
        let violated = |reason: &Reason| matches!(reason, Reason::Violation(violation) if violation.rule() == Rule::P1);
        // one that is aborted for something else did not come to this
        if !beyond || cause.as_ref().is_some_and(|cause| !matches!(cause.reason, Reason::Violation(_))) {
            return;
        }
        let caught = cause.is_some_and(|cause| violated(&cause.reason));
        self.look(Rule::P1, caught, "more than was granted is taken without LimitExceeded");
    }

    /// The consumer grants nothing, and the producer sends all it may.
    pub(super) async fn stuck(&mut self, most: u64) {
        self.consumer.grant(Limit::ZERO);
        self.items = u64::MAX;
        let mut last = u64::MAX;
        while last != self.producer.passed().messages && self.producer.passed().messages <= most {
            last = self.producer.passed().messages;
            for _ in 0..20 {
                self.feed(256);
                self.wait(20).await;
            }
        }
        let taken = self.producer.passed().messages;
        self.look(Rule::M1, taken <= most, format_args!("{taken} messages were taken for a consumer that is stuck"));
    }
}
