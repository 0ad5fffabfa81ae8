//! Conformance: a component between probes, under random schedules in virtual time, judged rule by rule.
//!
//! Each schedule is a seed and a theme. The plain one grants, sends and waits at random; every other adds one thing, such as
//! stale messages or a detachment. What goes wrong under a theme and not under the plain one is a breach of that theme's rule.
//!
//! ```
//! use bytes::Bytes;
//! use versile_io::component::stock::{Filter, Outbox, PartResult};
//! use versile_io::testkit::conformance;
//!
//! struct Upper;
//! impl Filter for Upper {
//!     type In = Bytes;
//!     type Out = Bytes;
//!     fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
//!         out.push(item.to_ascii_uppercase().into());
//!         Ok(())
//!     }
//! }
//! let report = conformance::filter(|| {
//!     let (inlet, outlet, _) = Upper.start();
//!     (inlet, outlet)
//! })
//! .seeds(2)
//! .oracle(|input| input.to_ascii_uppercase())
//! .run();
//! report.assert_conforms();
//! ```

use super::probe::{ANSWER, Consumed, ConsumerProbe, Finding, Ladder, ProducerProbe};
use super::report::{Report, Verdict};
use super::rule::{Kind, RULES, Reach, reach};
use crate::component::link::{ComponentHandle, Link, Note, Observer};
use crate::component::message::{AttachInlet, InletMsg, OutletMsg, ReserveOutlet};
use crate::component::{ComponentId, InletRef, OutletRef};
use crate::proto::link::{Credit, Limit, LinkId, Payload, Reason, Rule};
use crate::proto::sim::Rng;
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

/// An item that the kit can make up, and compare.
///
/// ```
/// use versile_io::proto::link::Payload;
/// use versile_io::proto::sim::Rng;
/// use versile_io::testkit::conformance::Specimen;
///
/// struct Frame(u8);
/// impl Payload for Frame {}
/// impl Specimen for Frame {
///     fn specimen(rng: &mut Rng) -> Self {
///         Frame(rng.below(256) as u8)
///     }
///     fn write_to(&self, all: &mut Vec<u8>) {
///         all.push(self.0);
///     }
/// }
/// ```
pub trait Specimen: Payload {
    /// An item at random.
    fn specimen(rng: &mut Rng) -> Self;
    /// Appends what it says. Items that are split and joined underway have to append the same.
    fn write_to(&self, all: &mut Vec<u8>);
}

impl Specimen for Bytes {
    fn specimen(rng: &mut Rng) -> Self {
        (0..rng.magnitude(700)).map(|_| b'!' + rng.below(90) as u8).collect()
    }

    fn write_to(&self, all: &mut Vec<u8>) {
        all.extend_from_slice(self);
    }
}

impl Specimen for () {
    fn specimen(_: &mut Rng) -> Self {}
    fn write_to(&self, _: &mut Vec<u8>) {}
}

macro_rules! numbers {
    ($($t:ty),*) => {$(
        impl Specimen for $t {
            fn specimen(rng: &mut Rng) -> Self {
                rng.bits() as $t
            }
            fn write_to(&self, all: &mut Vec<u8>) {
                all.extend_from_slice(&self.to_be_bytes());
            }
        }
    )*};
}
numbers!(u8, u16, u32, u64);

/// The kit around a source: `make` starts one and gives its outlet. A fresh one for each schedule, all with the same data.
pub fn source<U: Specimen>(mut make: impl FnMut() -> OutletRef<U> + 'static) -> Conformance<(), U> {
    Conformance::new(Kind::Source, Box::new(move || (None, Some(make()))))
}

/// The kit around a sink: `make` starts one and gives its inlet.
pub fn sink<T: Specimen>(mut make: impl FnMut() -> InletRef<T> + 'static) -> Conformance<T, ()> {
    Conformance::new(Kind::Sink, Box::new(move || (Some(make()), None)))
}

/// The kit around a filter: `make` starts one and gives its ports.
pub fn filter<T: Specimen, U: Specimen>(
    mut make: impl FnMut() -> (InletRef<T>, OutletRef<U>) + 'static,
) -> Conformance<T, U> {
    Conformance::new(
        Kind::Filter,
        Box::new(move || {
            let (inlet, outlet) = make();
            (Some(inlet), Some(outlet))
        }),
    )
}

type Make<T, U> = Box<dyn FnMut() -> (Option<InletRef<T>>, Option<OutletRef<U>>)>;

type Oracle = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A suite to be run; see the module.
pub struct Conformance<T: Specimen, U: Specimen> {
    kind: Kind,
    make: Make<T, U>,
    seeds: u64,
    max_items: u64,
    most_held: u64,
    longest_turn: u64,
    clean: bool,
    oracle: Oracle,
}

impl<T: Specimen, U: Specimen> fmt::Debug for Conformance<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Conformance({:?}, {} seeds)", self.kind, self.seeds)
    }
}

/// What a schedule adds to the plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theme {
    Plain,
    /// All credit at once, for as long as the data lasts.
    Flood,
    /// Grants that are repeated and lower.
    Odd,
    /// Messages that bear another link's name.
    Stale,
    /// Parted and joined again.
    Detach,
    /// A control message.
    Ask,
    /// The kit aborts.
    Abort,
    /// The component is stopped.
    Stop,
    /// One item more than granted.
    Excess,
    /// A consumer that is stuck.
    Stuck,
}

const THEMES: [Theme; 10] = {
    use Theme::*;
    [Plain, Flood, Odd, Stale, Detach, Ask, Abort, Stop, Excess, Stuck]
};

impl Theme {
    /// The rule that is broken if what goes well in the plain schedule does not go well in this one.
    fn rule(self, kind: Kind) -> Option<Rule> {
        match self {
            Self::Odd => Some(Rule::P3),
            Self::Stale => Some(Rule::P5),
            // of a sink, P6 is not judged: what it does not take then is a stall like any other
            Self::Detach if kind != Kind::Sink => Some(Rule::P6),
            Self::Ask => Some(Rule::X1),
            _ => None,
        }
    }
}

/// The looks taken at each rule, and the first that failed.
#[derive(Default)]
struct Book {
    looks: HashMap<Rule, usize>,
    broken: Vec<(Rule, u64, String, String)>,
}

/// Notes who is gone (rule M2).
#[derive(Default)]
struct Watch(Mutex<Watched>);

#[derive(Default)]
struct Watched {
    components: HashMap<ComponentId, ComponentHandle>,
    gone: HashSet<ComponentId>,
    links: HashSet<LinkId>,
}

impl Watch {
    fn look<R>(&self, at: impl FnOnce(&mut Watched) -> R) -> R {
        at(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for Watch {
    fn note(&self, note: Note) {
        self.look(|watched| match note {
            Note::Reserved { link, component, .. } | Note::Attached { link, component, .. } => {
                watched.links.insert(link.id());
                // the probes are known by their names, which no component would choose
                if !component.info.name().starts_with("(kit)") {
                    watched.components.insert(component.info.id(), component);
                }
            }
            Note::Gone { component } => {
                watched.gone.insert(component);
            }
            Note::Closed { link } => {
                watched.links.remove(&link);
            }
            Note::Over { .. } | Note::Suspended { .. } => {}
        });
    }
}

impl<T: Specimen, U: Specimen> Conformance<T, U> {
    fn new(kind: Kind, make: Make<T, U>) -> Self {
        let oracle = Box::new(<[u8]>::to_vec);
        Self { kind, make, seeds: 6, max_items: 60, most_held: 2048, longest_turn: 2048, clean: true, oracle }
    }

    /// So many schedules of each theme; 6 by default.
    #[must_use]
    pub fn seeds(mut self, seeds: u64) -> Self {
        self.seeds = seeds.max(1);
        self
    }

    /// So many items go in at most; 60 by default. A source gives what it gives.
    #[must_use]
    pub fn max_items(mut self, items: u64) -> Self {
        self.max_items = items.max(1);
        self
    }

    /// A filter whose consumer is stuck takes at most so many messages (rule M1); 2048 by default.
    #[must_use]
    pub fn most_held(mut self, messages: u64) -> Self {
        self.most_held = messages;
        self
    }

    /// A source gives at most so many items before others have a turn (rule F1); 2048 by default.
    #[must_use]
    pub fn longest_turn(mut self, items: u64) -> Self {
        self.longest_turn = items;
        self
    }

    /// The source's data does not end clean.
    #[must_use]
    pub fn ends_unclean(mut self) -> Self {
        self.clean = false;
        self
    }

    /// What comes out for what goes in, both as [`Specimen::write_to`] writes them. The same by default. For a source the
    /// input is empty: without an oracle, all schedules have to give the same.
    #[must_use]
    pub fn oracle(mut self, oracle: impl Fn(&[u8]) -> Vec<u8> + 'static) -> Self {
        self.oracle = Box::new(oracle);
        self
    }

    /// Runs all schedules. Not to be called inside a runtime: each schedule has a system of its own, with time that stands
    /// still while anybody has something to do.
    ///
    /// # Panics
    ///
    /// If no system can be started.
    pub fn run(mut self) -> Report {
        let mut book = Book::default();
        let mut reference = None;
        for theme in THEMES {
            for n in 0..self.seeds {
                let seed = THEMES.iter().position(|of| *of == theme).unwrap_or(0) as u64 * 1000 + n;
                let system = actix::System::with_tokio_rt(|| {
                    let mut builder = tokio::runtime::Builder::new_current_thread();
                    match builder.enable_all().start_paused(true).build() {
                        Ok(runtime) => runtime,
                        Err(error) => panic!("no runtime: {error}"),
                    }
                });
                system.block_on(Schedule::run(&mut self, theme, seed, &mut book, &mut reference));
            }
        }
        let verdicts = RULES.into_iter().map(|rule| (rule, self.verdict(rule, &mut book))).collect();
        Report { verdicts }
    }

    fn verdict(&self, rule: Rule, book: &mut Book) -> Verdict {
        if let Some(at) = book.broken.iter().position(|(broken, ..)| *broken == rule) {
            let (_, seed, what, ladder) = book.broken.swap_remove(at);
            return Verdict::Broken { seed, what, ladder };
        }
        match (reach(self.kind, rule), book.looks.get(&rule)) {
            (Reach::NotApplicable(reason), _) => Verdict::NotApplicable(reason),
            (Reach::CannotTest(reason), _) => Verdict::CannotTest(reason.into()),
            (Reach::Judged, Some(looks)) => Verdict::Held { looks: *looks },
            (Reach::Judged, None) => Verdict::CannotTest("no schedule came to the point: give it more data".into()),
        }
    }
}

/// One schedule under way.
struct Schedule<'a, T: Specimen, U: Specimen> {
    kind: Kind,
    theme: Theme,
    seed: u64,
    rng: Rng,
    ladder: Ladder,
    watch: Arc<Watch>,
    book: &'a mut Book,
    inlet: Option<InletRef<T>>,
    outlet: Option<OutletRef<U>>,
    producer: ProducerProbe<T>,
    consumer: ConsumerProbe<U>,
    items: u64,
    input: Vec<u8>,
    output: Vec<u8>,
    clean: bool,
}

/// How a schedule came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Ended,
    Aborted,
    Stalled,
}

impl<T: Specimen, U: Specimen> Schedule<'_, T, U> {
    async fn run(
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

    fn look(&mut self, rule: Rule, holds: bool, what: impl fmt::Display) {
        if reach(self.kind, rule) != Reach::Judged {
            return;
        }
        *self.book.looks.entry(rule).or_default() += 1;
        if !holds && !self.book.broken.iter().any(|(broken, ..)| *broken == rule) {
            self.book.broken.push((rule, self.seed, what.to_string(), self.ladder.to_string()));
        }
    }

    /// Lets everybody do what they have to do, and virtual time pass.
    async fn wait(&mut self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        for event in self.consumer.take() {
            if let Consumed::Item(item) = event {
                item.write_to(&mut self.output);
            }
        }
        self.producer.take();
    }

    fn join_inlet(&mut self) {
        let Some(inlet) = &self.inlet else { return };
        join(&self.producer.outlet(), inlet, &self.watch);
    }

    fn join_outlet(&mut self) {
        let Some(outlet) = &self.outlet else { return };
        join(outlet, &self.consumer.inlet(), &self.watch);
    }

    fn feeds(&self) -> bool {
        self.inlet.is_some()
    }

    fn drinks(&self) -> bool {
        self.outlet.is_some()
    }

    /// Sends what the credit allows, up to so many items at once.
    fn feed(&mut self, most: u64) {
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
            item.write_to(&mut self.input);
            self.items -= 1;
            self.producer.send(item);
        }
    }

    fn grant(&mut self) {
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
    fn rise(&mut self, quantity: u64, messages: u64) {
        let mut limit = self.consumer.limit();
        let first = limit == Limit::ZERO;
        if limit.raise(Limit::beyond(self.consumer.passed(), Credit { quantity, messages })) || first {
            self.consumer.grant(limit);
        }
    }

    fn is_over(&self) -> Option<End> {
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
    fn progress(&self) -> (u64, u64, bool, bool, usize) {
        let (sent, came) = (self.producer.passed().messages, self.consumer.passed().messages);
        (sent, came, self.producer.ended().is_some(), self.consumer.ended().is_some(), self.output.len())
    }

    /// One step at random, with what the theme adds.
    async fn step(&mut self) {
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
            Theme::Odd if self.drinks() && self.consumer.ended().is_none() && self.rng.chance(60) => {
                let limit = self.consumer.limit();
                if limit.messages > 0 {
                    for _ in 0..self.rng.between(1, 3) {
                        self.consumer.grant(limit);
                    }
                    let lower =
                        Limit { quantity: self.rng.below(limit.quantity), messages: self.rng.below(limit.messages) };
                    self.consumer.grant(lower);
                }
            }
            Theme::Stale if self.rng.chance(50) => self.stale(),
            Theme::Detach if self.rng.chance(25) => self.detach().await,
            _ => {}
        }
        let millis = if self.rng.chance(30) { 0 } else { self.rng.magnitude(200) };
        self.wait(millis).await;
    }

    fn stale(&mut self) {
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

    async fn detach(&mut self) {
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

    async fn steps(&mut self) -> End {
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
    async fn run_out(&mut self, kit: &Conformance<T, U>, reference: &mut Option<Vec<u8>>) {
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

    fn judge_output(
        &mut self,
        kit: &Conformance<T, U>,
        reference: &mut Option<Vec<u8>>,
        general: &dyn Fn(Rule) -> Rule,
    ) {
        let (said, wanted) = (self.consumer.ended(), self.clean);
        self.look(Rule::E1, said == Some(wanted), format_args!("the end says clean: {said:?}, and should {wanted}"));
        let wanted = (kit.oracle)(&self.input);
        let wanted = match self.kind {
            Kind::Source if wanted.is_empty() => reference.get_or_insert_with(|| self.output.clone()).clone(),
            _ => wanted,
        };
        let short = self.output.len() < wanted.len() && wanted.starts_with(&self.output);
        let what = format!("{} units came out and {} should, or others", self.output.len(), wanted.len());
        match short {
            true => self.look(general(Rule::E2), false, what),
            false => self.look(general(Rule::P6), self.output == wanted, what),
        }
    }

    /// All credit at once; another task has its turn beside it.
    async fn flood(&mut self, longest: u64) -> End {
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
                for _ in 0..100_000 {
                    tokio::task::yield_now().await;
                    if self.is_over().is_some() {
                        break;
                    }
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

    /// The kit asks, from each side.
    async fn ask(&mut self) {
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

    fn judge_answer(
        &mut self,
        way: &str,
        through: bool,
        answer: Result<u64, crate::component::control::ControlError>,
        asked: u64,
    ) {
        use crate::component::control::ControlError::MissingControl;
        let holds = match through {
            true => answer == Ok(ANSWER) && asked == 1,
            false => answer == Err(MissingControl),
        };
        self.look(Rule::X1, holds, format_args!("a question {way} was answered {answer:?} after {asked} passings"));
    }

    /// Some steps, so that an abort can come anywhere.
    async fn some_steps(&mut self) {
        for _ in 0..self.rng.below(8) {
            if self.items < 4 || self.is_over().is_some() || self.consumer.passed().messages > 20 {
                break;
            }
            self.step().await;
        }
    }

    fn handles(&self) -> Vec<Box<dyn crate::component::message::ManageHandle>> {
        self.watch.look(|watched| watched.components.values().map(|component| component.manage.boxed()).collect())
    }

    fn is_ready_for_trouble(&self) -> bool {
        self.is_over().is_none() && self.producer.ended().is_none() && self.consumer.ended().is_none()
    }

    async fn abort(&mut self) {
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
        let infos: Vec<_> =
            self.watch.look(|watched| watched.components.values().map(|component| component.info.clone()).collect());
        self.wait(1000).await;
        let ours = |cause: &Arc<crate::proto::link::Cause>| {
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

    async fn stop(&mut self) {
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

    async fn excess(&mut self) {
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
    async fn stuck(&mut self, most: u64) {
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

    /// What the probes saw.
    fn findings(&mut self) {
        let general = self.book.broken.iter().any(|(rule, ..)| is_general(*rule));
        let all: Vec<_> = self.producer.findings().into_iter().chain(self.consumer.findings()).collect();
        let theme = if general { None } else { self.theme.rule(self.kind) };
        for finding in all {
            let rule = match finding {
                // what is right in the plain schedules, and wrong only after what the theme adds
                Finding::TooMuch | Finding::TooMany if matches!(theme, Some(Rule::P3 | Rule::P5)) => {
                    theme.unwrap_or(Rule::P1)
                }
                Finding::TooMuch => Rule::P1,
                Finding::TooMany => Rule::C1,
                Finding::BeforeGrant => Rule::P2,
                Finding::AfterEnd => Rule::P4,
                Finding::AfterCause => Rule::A2,
                Finding::OtherLink => Rule::P5,
                Finding::CalledBack => Rule::C3,
                Finding::LimitFell => Rule::P3,
                Finding::GrantInHandler => Rule::F1,
                Finding::WideGrant => Rule::M1,
            };
            self.look(rule, false, format_args!("{finding:?}"));
        }
        // a probe looks at every message, so a schedule without a finding is a look at each of these
        if self.consumer.passed().messages > 0 {
            for rule in [Rule::P1, Rule::P2, Rule::P4] {
                self.look(rule, true, "");
            }
        }
        if self.producer.grants() > 1 {
            for rule in [Rule::P3, Rule::P4, Rule::C3, Rule::M1] {
                self.look(rule, true, "");
            }
        }
    }

    /// M2: with its data ended, and nobody holding it but itself, a component goes.
    async fn gone_at_the_end(&mut self) {
        if self.is_over() != Some(End::Ended) {
            return;
        }
        self.inlet = None;
        self.outlet = None;
        let ladder = self.ladder.clone();
        self.findings();
        self.producer = ProducerProbe::new("(kit) no producer", &ladder);
        self.consumer = ConsumerProbe::new("(kit) no consumer", &ladder);
        self.wait(1000).await;
        let (left, links) = self.watch.look(|watched| {
            let left: Vec<_> = watched.components.iter().filter(|(id, _)| !watched.gone.contains(id)).collect();
            (left.len(), watched.links.len())
        });
        let what = format!("{left} components and {links} links are left behind");
        self.look(Rule::M2, left == 0 && links == 0, what);
    }

    /// Nothing of one schedule is left for the next.
    async fn leave(self) {
        self.handles().iter().for_each(|handle| handle.stop());
        drop(self);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Rules that the plain schedules judge.
fn is_general(rule: Rule) -> bool {
    use Rule::{C1, C2, E1, E2, P1, P2, P4, P6};
    matches!(rule, P1 | P2 | P4 | P6 | C1 | C2 | E1 | E2)
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
    let (consumer, producer) = (inlet.0.boxed(), outlet.0.weak());
    let reserve = ReserveOutlet { link: link.clone(), consumer, reply: None, handled: false };
    outlet.0.send(OutletMsg::Reserve(Box::new(reserve)));
    let attach = AttachInlet { link, producer, gated: false, reply: None, handled: false };
    inlet.0.send(InletMsg::Attach(Box::new(attach)));
}
