//! One schedule of an agent.

use super::AgentConformance;
use super::far::{FarSide, Heard, Reads, Writes, write};
use crate::proto::link::{Limit, Reason, Rule};
use crate::proto::sim::Rng;
use crate::testkit::conformance::judge::Book;
use crate::testkit::conformance::schedule::Schedule;
use crate::testkit::conformance::theme::{Theme, is_general};
use crate::testkit::conformance::watch::Watch;
use crate::testkit::probe::{ConsumerProbe, Ladder, ProducerProbe};
use crate::testkit::rule::Kind;
use bytes::Bytes;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How long nothing may come of what must not come: a breach is seen in most runs, and an honest agent never waits for it.
const A_WHILE: Duration = Duration::from_millis(50);

struct Run<'a> {
    schedule: Schedule<'a, Bytes, Bytes>,
    heard: Rc<Heard>,
    /// What the agent is to read.
    given: Vec<u8>,
    /// What the agent has to write comes out where it reads.
    echo: bool,
    kept: Option<Box<dyn Fn() -> Vec<u8>>>,
    tasks: Vec<JoinHandle<()>>,
    lose: Option<Box<dyn FnOnce()>>,
    /// The far side reads as a stream.
    listens: bool,
    /// The far side writes as a stream.
    speaks: bool,
    tells_unclean: bool,
    deadline: Duration,
}

pub(super) async fn run(kit: &mut AgentConformance, theme: Theme, seed: u64, book: &mut Book) {
    let ladder = Ladder::default();
    ladder.note("schedule", format_args!("{theme:?}, seed {seed}"));
    let (pair, far) = (kit.make)();
    let FarSide { reads, writes, lose, tells_unclean } = far;
    let feeds = !matches!(reads, Reads::Nothing) || matches!(writes, Writes::Echo);
    let drinks = !matches!(writes, Writes::Nothing);
    let mut rng = Rng::new(seed);
    let size = rng.between(1, 15_000);
    let data: Vec<u8> = (0..size).map(|_| rng.bits() as u8).collect();
    let mut run = Run {
        schedule: Schedule {
            kind: Kind::Agent,
            theme,
            seed,
            rng,
            watch: Arc::new(Watch::default()),
            book,
            inlet: feeds.then_some(pair.inlet),
            outlet: drinks.then_some(pair.outlet),
            producer: ProducerProbe::new("(kit) producer", &ladder),
            consumer: ConsumerProbe::new("(kit) consumer", &ladder),
            ladder,
            items: kit.max_items,
            input: Vec::new(),
            output: Vec::new(),
            // an unclean end is a theme of its own: it ends both directions of some agents
            clean: theme != Theme::Unclean,
        },
        heard: Rc::default(),
        given: Vec::new(),
        echo: false,
        kept: None,
        tasks: Vec::new(),
        lose,
        listens: false,
        speaks: false,
        tells_unclean,
        deadline: kit.deadline,
    };
    match reads {
        Reads::Nothing => {}
        Reads::Stream(stream) => {
            run.listens = true;
            run.heard.pause(theme == Theme::Stuck);
            run.tasks.push(run.heard.clone().read(stream));
        }
        Reads::Later(kept) => run.kept = Some(kept),
    }
    match writes {
        Writes::Nothing => {}
        Writes::Stream(stream) => {
            run.speaks = true;
            run.given = data;
            // what is lost or aborted is not at its end
            let ends = !matches!(theme, Theme::Lost | Theme::Abort | Theme::Stop | Theme::Excess | Theme::Unclean);
            run.tasks.push(write(stream, run.given.clone(), ends));
        }
        Writes::There(bytes) => run.given = bytes,
        Writes::Echo => run.echo = true,
    }
    run.schedule.join_outlet();
    run.schedule.join_inlet();
    // until the agent is known, nobody could stop it
    run.until(|run| !run.schedule.infos().is_empty(), false).await;
    run.play(kit.most_held).await;
    run.schedule.findings();
    run.leave().await;
}

impl Run<'_> {
    async fn play(&mut self, most: u64) {
        match self.schedule.theme {
            Theme::Stuck => self.stuck(most).await,
            Theme::Withheld => self.withheld().await,
            Theme::Lost => self.lost().await,
            Theme::Unclean => self.unclean().await,
            Theme::Abort => self.abort().await,
            Theme::Stop => self.stop().await,
            Theme::Excess => self.excess().await,
            Theme::Ask => {
                self.schedule.ask().await;
                self.run_out().await;
            }
            _ => self.run_out().await,
        }
    }

    /// Steps at random until that is so; false after the deadline.
    async fn until(&mut self, met: impl Fn(&Self) -> bool, step: bool) -> bool {
        let begun = Instant::now();
        while !met(self) {
            if begun.elapsed() > self.deadline {
                return false;
            }
            if step {
                self.step().await;
            } else {
                self.schedule.wait(1).await;
            }
        }
        true
    }

    async fn step(&mut self) {
        let schedule = &mut self.schedule;
        if schedule.feeds() {
            let most = schedule.rng.magnitude(20);
            schedule.feed(most);
            if schedule.items == 0 && schedule.producer.ended().is_none() && schedule.producer.is_granted() {
                schedule.producer.end(schedule.clean);
            }
        }
        if schedule.drinks() {
            schedule.grant();
        }
        match schedule.theme {
            Theme::Odd => schedule.odd(),
            Theme::Stale if schedule.rng.chance(50) => schedule.stale(),
            Theme::Detach if schedule.rng.chance(10) => schedule.detach().await,
            _ => {}
        }
        schedule.wait(1).await;
    }

    fn is_broken(&self) -> bool {
        self.schedule.producer.cause().is_some() || self.schedule.consumer.cause().is_some()
    }

    /// All has passed, and both ends.
    fn is_over(&self) -> bool {
        let (producer, consumer) = (&self.schedule.producer, &self.schedule.consumer);
        let taken = !self.schedule.feeds()
            || producer.ended().is_some()
                && producer.link().is_some_and(|link| link.cell().inlet_state().is_terminal());
        let told = !self.listens || self.heard.ended.borrow().is_some();
        taken && told && (!self.schedule.drinks() || consumer.ended().is_some())
    }

    async fn run_out(&mut self) {
        let over = self.until(|run| run.is_broken() || run.is_over(), true).await;
        let theme = self.schedule.theme.rule(Kind::Agent);
        let general = |rule| theme.unwrap_or(rule);
        // what the plain schedules show already is no matter of a theme
        if self.schedule.theme != Theme::Plain && self.schedule.book.broken.iter().any(|(rule, ..)| is_general(*rule)) {
            return;
        }
        if self.is_broken() {
            let cause = self.schedule.producer.cause().or_else(|| self.schedule.consumer.cause());
            let cause = cause.map_or_else(String::new, |cause| cause.to_string());
            return self.schedule.look(general(Rule::C2), false, format_args!("aborted by nobody: {cause}"));
        }
        if !over {
            let ended = self.schedule.producer.ended().is_some() || self.schedule.consumer.ended().is_some();
            let rule = if ended { Rule::E2 } else { Rule::C1 };
            return self.schedule.look(general(rule), false, "nothing moves any more");
        }
        for rule in [Rule::C1, Rule::C2].into_iter().chain(theme) {
            self.schedule.look(rule, true, "");
        }
        if self.schedule.producer.grants() > 0 {
            self.schedule.look(Rule::C3, true, "");
        }
        self.compare(&general);
        if self.schedule.theme == Theme::Plain {
            self.gone().await;
        }
    }

    /// What came out at each side is what went in at the other.
    fn compare(&mut self, general: &dyn Fn(Rule) -> Rule) {
        let written = match &self.kept {
            Some(kept) => Some(kept()),
            None => self.listens.then(|| self.heard.bytes.borrow().clone()),
        };
        let (input, output) = (self.schedule.input.clone(), self.schedule.output.clone());
        if let Some(written) = written {
            self.same("were written", &written, &input, general);
        }
        if self.schedule.drinks() {
            let wanted = if self.echo { input } else { self.given.clone() };
            self.same("were read", &output, &wanted, general);
            let said = self.schedule.consumer.ended();
            self.schedule.look(Rule::E1, said == Some(true), format_args!("an orderly end is told as clean: {said:?}"));
        }
        if self.listens {
            let ended = format!("{:?}", self.heard.ended.borrow());
            self.schedule.look(Rule::E1, ended == "Some(Ok(()))", format_args!("a clean end is seen as {ended}"));
        }
    }

    fn same(&mut self, what: &str, out: &[u8], wanted: &[u8], general: &dyn Fn(Rule) -> Rule) {
        let what = format!("{} bytes {what}, of {}", out.len(), wanted.len());
        let short = out.len() < wanted.len() && wanted.starts_with(out);
        self.schedule.look(general(Rule::E2), !short, &what);
        if !short {
            self.schedule.look(general(Rule::P6), out == wanted, what);
        }
    }

    /// The far side stops reading: what is taken is bounded. Then it goes on, and all of it arrives.
    async fn stuck(&mut self, most: u64) {
        if !self.listens {
            return;
        }
        let mut moved = Instant::now();
        // with no credit for a while, it is full
        while moved.elapsed() < A_WHILE && self.schedule.producer.passed().quantity <= most && !self.is_broken() {
            let before = self.schedule.producer.passed();
            // large pieces: it is bytes that fill it
            let credit = self.schedule.producer.credit();
            if !credit.is_exhausted() {
                self.schedule.send(vec![b'x'; credit.quantity.min(1 << 20) as usize].into());
            }
            if self.schedule.producer.passed() != before {
                moved = Instant::now();
            }
            self.schedule.wait(1).await;
        }
        let taken = self.schedule.producer.passed().quantity;
        self.schedule.look(
            Rule::M1,
            taken <= most,
            format_args!("{taken} bytes were taken for a peer that does not read"),
        );
        if taken > most {
            return;
        }
        self.heard.pause(false);
        self.run_out().await;
    }

    /// All is there to be read, and nobody grants.
    async fn withheld(&mut self) {
        if !self.schedule.drinks() || self.echo {
            return;
        }
        self.schedule.consumer.grant(Limit::ZERO);
        self.schedule.wait(A_WHILE.as_millis() as u64).await;
        let told = self.schedule.consumer.ended().is_some();
        self.schedule.look(Rule::A4, !told, "the end was told before the data in front of it");
        let cause = self.schedule.consumer.cause();
        self.schedule.look(Rule::A4, cause.is_none(), format_args!("an orderly end was taken for a loss: {cause:?}"));
        self.run_out().await;
    }

    /// The far side is lost while no credit is open.
    async fn lost(&mut self) {
        let Some(lose) = self.lose.take() else { return };
        if self.schedule.drinks() {
            self.schedule.consumer.grant(Limit::ZERO);
        }
        if self.schedule.feeds() {
            // an item, so that it is open
            self.until(|run| run.schedule.producer.is_granted(), false).await;
            self.schedule.feed(1);
        }
        if self.speaks || self.listens {
            self.schedule.wait(A_WHILE.as_millis() as u64).await;
        }
        self.schedule.ladder.note("the far side", "is lost");
        lose();
        self.drop_far().await;
        let known = |run: &Self| {
            let (producer, consumer) = (&run.schedule.producer, &run.schedule.consumer);
            (!run.schedule.feeds() || producer.cause().is_some())
                && (!run.schedule.drinks() || consumer.cause().is_some())
        };
        let told = self.until(known, false).await;
        self.schedule.look(Rule::A4, told, "the loss of the peer was not told while no credit was open");
    }

    async fn drop_far(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            // it is gone with what it owns
            let _ = task.await;
        }
    }

    /// The kit's data is not complete, and a far side that can see that has to.
    async fn unclean(&mut self) {
        if !self.listens || !self.tells_unclean {
            return;
        }
        self.until(|run| run.heard.ended.borrow().is_some(), true).await;
        let ended = format!("{:?}", self.heard.ended.borrow());
        self.schedule.look(Rule::E1, ended.contains("Some(Err"), format_args!("an unclean end is seen as {ended}"));
        let sent = self.schedule.input.clone();
        let come = self.heard.bytes.borrow().len();
        let whole = *self.heard.bytes.borrow() == sent;
        self.schedule.look(Rule::E2, whole, format_args!("{come} of {} bytes came before an unclean end", sent.len()));
    }

    /// So that an abort can come anywhere; the data lasts beyond it.
    async fn some_steps(&mut self) -> bool {
        self.schedule.items = u64::MAX;
        for _ in 0..self.schedule.rng.below(6) {
            if self.is_broken() {
                break;
            }
            self.step().await;
        }
        self.schedule.is_ready_for_trouble() && !self.is_broken()
    }

    async fn abort(&mut self) {
        if !self.some_steps().await {
            return;
        }
        let reason = Reason::Requested("the kit's own".into());
        let by_producer = self.schedule.feeds() && (!self.schedule.drinks() || self.schedule.rng.chance(50));
        match by_producer {
            true => self.schedule.producer.abort(reason),
            false => self.schedule.consumer.abort(reason),
        }
        let accepted = |run: &Self| run.schedule.producer.link().map(|link| link.cell().accepted());
        let before = accepted(self);
        let infos = self.schedule.infos();
        let told = |_: &Self| infos.iter().all(|info| info.cause().is_some());
        self.until(told, false).await;
        for info in &infos {
            let cause = info.cause().map_or_else(|| "no cause".into(), |cause| cause.to_string());
            self.schedule.look(Rule::A1, cause.contains("the kit's own"), format_args!("it was told {cause}"));
        }
        // of a consumer's abort, the probe judges each item that comes after it
        let holds = !by_producer || before == accepted(self);
        self.schedule.look(Rule::A2, holds, "items were accepted after the cause was set");
        self.let_go().await;
    }

    async fn stop(&mut self) {
        if !self.some_steps().await {
            return;
        }
        self.schedule.ladder.note("the kit", "stops the component");
        self.schedule.handles().iter().for_each(|handle| handle.stop());
        if self.schedule.feeds() {
            let told = self.until(|run| run.schedule.producer.cause().is_some(), false).await;
            self.schedule.look(Rule::A3, told, "the producer was not told that the component is gone");
        }
        if self.schedule.drinks() {
            let told = self.until(|run| run.schedule.consumer.cause().is_some(), false).await;
            self.schedule.look(Rule::A3, told, "the consumer was not told that the component is gone");
        }
        self.let_go().await;
    }

    /// Whatever became of the agent, its descriptor is closed: the far side sees an end or an error.
    async fn let_go(&mut self) {
        self.schedule.inlet = None;
        self.schedule.outlet = None;
        if self.listens {
            let seen = self.until(|run| run.heard.ended.borrow().is_some(), false).await;
            self.schedule.look(Rule::M2, seen, "the agent is gone, and its descriptor is still open");
        }
    }

    async fn excess(&mut self) {
        if !self.schedule.feeds() || !self.until(|run| run.schedule.producer.is_granted(), false).await {
            return;
        }
        let credit = self.schedule.producer.credit();
        if credit.quantity > 16 << 20 {
            return;
        }
        self.schedule.producer.send(vec![b'x'; credit.quantity as usize + 1].into());
        self.until(|run| run.schedule.producer.cause().is_some(), false).await;
        let caught =
            self.schedule.producer.cause().is_some_and(
                |cause| matches!(&cause.reason, Reason::Violation(violation) if violation.rule() == Rule::P1),
            );
        self.schedule.look(Rule::P1, caught, "more than was granted is taken without LimitExceeded");
    }

    /// M2: with its data ended, and nobody holding it but itself, an agent goes.
    async fn gone(&mut self) {
        self.schedule.inlet = None;
        self.schedule.outlet = None;
        self.schedule.findings();
        let ladder = self.schedule.ladder.clone();
        self.schedule.producer = ProducerProbe::new("(kit) no producer", &ladder);
        self.schedule.consumer = ConsumerProbe::new("(kit) no consumer", &ladder);
        let gone = self.until(|run| run.schedule.left() == (0, 0), false).await;
        let (left, links) = self.schedule.left();
        self.schedule.look(Rule::M2, gone, format_args!("{left} components and {links} links are left behind"));
    }

    /// Nothing of one schedule is left for the next.
    async fn leave(mut self) {
        self.schedule.handles().iter().for_each(|handle| handle.stop());
        self.drop_far().await;
        self.schedule.wait(1).await;
    }
}
