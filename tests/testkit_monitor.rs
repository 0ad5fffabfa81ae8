//! The monitor on a live link: it changes nothing and accuses nobody of what honest components do, and it counts what breaks a
//! rule, as that rule and of that side.
#![cfg(feature = "testkit")]

#[path = "support/elsewhere.rs"]
mod elsewhere;
#[path = "support/supervisor.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod parts;
mod support;

use actix::prelude::*;
use bytes::Bytes;
use elsewhere::on;
use parts::{Check, Pattern};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{run, until, within};
use versile_io::component::census::census;
use versile_io::component::stock::{Filter, Outbox, Outcome, PartResult, Sink, Source};
use versile_io::component::{AddrExt, Inlet, InletEvent, join};
use versile_io::proto::link::{Limit, LinkId, Payload, Reason, Rule, Side, Window};
use versile_io::supervisor::{Again, Event, Place, Restart, SpliceFailure, Supervisor, Target};
use versile_io::testkit::monitor::{Sight, Sighted};
use versile_io::testkit::{ConsumerProbe, Ladder, Monitor, MonitorHandle, ProducerProbe, conformance};
use versile_io::wire;

use Rule::*;
use Side::{Consumer, Producer};

const DRAIN: Duration = Duration::from_secs(10);

// ---- honest components

struct Pass;
impl Filter for Pass {
    type In = Bytes;
    type Out = Bytes;
    fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
        out.push(item);
        Ok(())
    }
}

/// A monitor is a component, and has to keep the rules itself.
#[test]
fn a_monitor_conforms_as_a_filter() {
    let _one = support::serial();
    let report = conformance::filter(|| {
        let (inlet, outlet, _) = Monitor::new("monitor").start::<Bytes>();
        (inlet, outlet)
    })
    .run();
    report.assert_conforms();
    let judged = [P1, P2, P3, P4, P5, P6, C1, C2, C3, E1, E2, A1, A2, A3, X1, M1, M2, F1];
    assert_eq!(report.held(), judged, "\n{report}");
}

/// Monitors and filters come and go at random places of a chain that works, until it ends.
async fn honest_under_splices(arbiters: &[ArbiterHandle], seed: u64, total: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let supervisor = Supervisor::current();
    let outlet = on(&arbiters[0], move || Pattern::new(seed, total).start().0).await;
    let (inlet, done) = on(arbiters.last().expect("one"), move || {
        let mut check = Check::new(seed);
        // small, so that the chain has many turns
        check.window = Window::of(4096);
        check.start()
    })
    .await;
    supervisor.attach(&outlet, &inlet).await.expect("attached");
    drop((outlet, inlet));
    let (mut inside, mut all, mut made) = (Vec::new(), Vec::<MonitorHandle>::new(), 0);
    let over = loop {
        // the chain ends when it will, so an operation that comes too late is refused
        let done = match rng.u8(0..5) {
            0..3 if inside.len() < 6 => {
                let snapshot = supervisor.snapshot().await;
                let links =
                    snapshot.links.iter().filter(|link| !link.outlet.is_terminal() && !link.inlet.is_terminal());
                let Some(link) = rng.choice(links.map(|link| link.id).collect::<Vec<_>>()) else { break None };
                if rng.u8(0..3) == 0 {
                    let (inlet, outlet, _) = on(rng.choice(arbiters).expect("one"), || Pass.start()).await;
                    let spliced = supervisor.insert(link, &inlet, &outlet).await;
                    let first = spliced.as_ref().map(|spliced| spliced.links[0]).ok();
                    let snapshot = supervisor.snapshot().await;
                    let into = snapshot.links.iter().find(|link| Some(link.id) == first);
                    inside.extend(into.and_then(|link| link.consumer));
                    spliced
                } else {
                    let (inlet, outlet, monitor) = Monitor::new(format!("monitor {}", all.len())).start::<Bytes>();
                    inside.push(monitor.id());
                    all.push(monitor);
                    supervisor.insert(link, &inlet, &outlet).await
                }
            }
            _ if !inside.is_empty() => {
                let at = rng.usize(..inside.len());
                supervisor.remove(inside.swap_remove(at), DRAIN).await
            }
            _ => continue,
        };
        match done {
            Ok(_) => made += 1,
            Err(failure) => break Some(failure),
        }
        tokio::time::sleep(Duration::from_micros(rng.u64(0..3000))).await;
    };
    let (check, outcome) = tokio::time::timeout(Duration::from_secs(60), done).await.expect("in time");
    assert!(outcome.is_clean(), "seed {seed}, {made} splices: {outcome}, {over:?}");
    // nothing else than the end of the chain has refused a splice
    assert!(matches!(over, None | Some(SpliceFailure::NotThere)), "seed {seed}, {made} splices: {over:?}");
    assert_eq!(check.expect("the part").at, total, "seed {seed}, {made} splices");
    let reports: Vec<_> = all.iter().map(MonitorHandle::report).collect();
    for report in &reports {
        assert!(report.broken().is_empty(), "seed {seed}, {made} splices\n{report}");
    }
    assert!(made > 5 && reports.iter().any(|report| report.messages() > 5), "seed {seed}: {made} splices, {over:?}");
}

#[test]
fn honest_chains_under_splices_are_accused_of_nothing() {
    run(async {
        let here = [Arbiter::current()];
        for seed in 0..4 {
            honest_under_splices(&here, seed, 4 << 20).await;
        }
    });
}

#[test]
fn nor_are_chains_over_several_arbiters() {
    run(async {
        let arbiters: Vec<Arbiter> = (0..3).map(|_| Arbiter::new()).collect();
        let handles: Vec<_> = arbiters.iter().map(Arbiter::handle).collect();
        for seed in 0..6 {
            honest_under_splices(&handles, seed, 12 << 20).await;
        }
        for arbiter in arbiters {
            arbiter.stop();
            arbiter.join().expect("no panic");
        }
    });
}

/// The cause that one end met reaches the other, and nobody is accused.
#[test]
fn an_abort_passes_with_its_cause() {
    run(async {
        let supervisor = Supervisor::current();
        let (outlet, source) = Pattern::new(1, u64::MAX).start();
        let (inlet, sink) = Check::new(1).start();
        let link = supervisor.attach(&outlet, &inlet).await.expect("attached");
        drop((outlet, inlet));
        let monitor = monitored::<Bytes>(&supervisor, link, Monitor::new("monitor")).await;
        until("data passes", || monitor.report().messages() > 100).await;
        supervisor.abort(Target::ChainWith(monitor.id()), "enough").await;
        for outcome in [within(source).await.1, within(sink).await.1] {
            assert!(outcome.to_string().contains("enough"), "{outcome}");
        }
        assert!(monitor.report().broken().is_empty(), "{}", monitor.report());
    });
}

// ---- broken components

/// A monitor between two probes on a live link.
struct Bench {
    producer: ProducerProbe<u32>,
    consumer: ConsumerProbe<u32>,
    supervisor: Supervisor,
    monitor: MonitorHandle,
}

impl Bench {
    async fn with(consumer: ConsumerProbe<u32>, monitor: Monitor) -> Self {
        let producer = ProducerProbe::new("producer", consumer.ladder());
        let supervisor = Supervisor::current();
        let link = supervisor.attach(&producer.outlet(), &consumer.inlet()).await.expect("attached");
        let monitor = monitored::<u32>(&supervisor, link, monitor).await;
        Self { producer, consumer, supervisor, monitor }
    }

    /// Grants so much, and sends so many.
    fn flow(&self, granted: u64, sent: u32) -> &Self {
        self.consumer.grant_more(granted, granted);
        (0..sent).for_each(|n| self.producer.send(n));
        self
    }

    fn link_in(&self) -> LinkId {
        self.producer.link().expect("attached").id()
    }

    fn link_out(&self) -> LinkId {
        self.consumer.link().expect("attached").id()
    }
}

async fn monitored<T: Payload>(supervisor: &Supervisor, link: LinkId, monitor: Monitor) -> MonitorHandle {
    let (inlet, outlet, handle) = monitor.start::<T>();
    supervisor.insert(link, &inlet, &outlet).await.expect("inserted");
    handle
}

/// Runs it with time that stands still while anybody has something to do.
fn in_virtual_time(test: impl Future<Output = ()>) {
    let _one = support::serial();
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().expect("a runtime")
    };
    System::with_tokio_rt(runtime).block_on(async {
        let before = census();
        test.await;
        support::nothing_left(before).await;
    });
}

/// What was done is found as the breach of just this rule, by this side.
fn caught(what: &str, rule: Rule, side: Side, act: impl AsyncFnOnce(&mut Bench)) {
    caught_with(what, rule, side, ConsumerProbe::new("consumer", &Ladder::default()), act);
}

fn caught_with(what: &str, rule: Rule, side: Side, consumer: ConsumerProbe<u32>, act: impl AsyncFnOnce(&mut Bench)) {
    in_virtual_time(async {
        let mut bench = Bench::with(consumer, Monitor::new("monitor").quiet_at_most(Duration::from_secs(5))).await;
        assert!(bench.monitor.report().broken().is_empty(), "{what}: before it\n{}", bench.monitor.report());
        act(&mut bench).await;
        let report = bench.monitor.report();
        assert_eq!(report.broken(), [(rule, side)], "{what}\n{report}");
        let counts = |sight: &Sight| match (sight, side) {
            (Sight::Seen { producer, consumer: 0 }, Producer) => *producer > 0,
            (Sight::Seen { producer: 0, consumer }, Consumer) => *consumer > 0,
            _ => false,
        };
        assert!(report.rules().iter().any(|(seen, sight)| *seen == rule && counts(sight)), "{what}\n{report}");
        assert!(report.breaches()[0].ladder.lines().count() > 1, "{what}\n{report}");
    });
}

#[test]
fn each_breach_by_a_producer_is_counted_as_just_that() {
    caught("more units than granted", P1, Producer, async |bench| {
        bench.consumer.grant_more(2, 8);
        (0..3).for_each(|n| bench.producer.send(n));
    });
    caught("more messages than granted", C1, Producer, async |bench| {
        bench.consumer.grant_more(8, 2);
        (0..3).for_each(|n| bench.producer.send(n));
    });
    caught("an item before the first grant", P2, Producer, async |bench| bench.producer.send(1));
    caught("an end before the first grant", P2, Producer, async |bench| bench.producer.end(true));
    caught("an item after the end", P4, Producer, async |bench| {
        bench.flow(8, 2);
        bench.producer.end(true);
        bench.producer.send(3);
    });
    caught("two ends", P4, Producer, async |bench| {
        bench.flow(8, 2);
        bench.producer.end(true);
        bench.producer.end(true);
    });
    caught("the name of another link", P5, Producer, async |bench| {
        bench.flow(8, 2);
        bench.producer.send_on(LinkId::next(), 3);
    });
    caught("an item that its position does not count", P6, Producer, async |bench| {
        bench.flow(8, 2);
        bench.producer.send_on(bench.link_in(), 3);
        let left = bench.supervisor.remove(bench.monitor.id(), Duration::from_secs(1)).await;
        assert!(left.is_err(), "the chain is broken");
    });
    caught("an abort without a cause", A2, Producer, async |bench| {
        bench.flow(8, 2);
        bench.producer.abort_on(bench.link_in());
    });
    caught("items long after the cause", A2, Producer, async |bench| {
        bench.flow(8, 2);
        bench.consumer.abort(Reason::Requested("enough".into()));
        bench.producer.send(3);
        assert!(bench.monitor.report().broken().is_empty(), "it may have left before");
        tokio::time::sleep(Duration::from_secs(3)).await;
        bench.producer.send(4);
    });
    caught("gone without a word", A3, Producer, async |bench| {
        bench.flow(8, 2);
        let producer = std::mem::replace(&mut bench.producer, ProducerProbe::new("nobody", &Ladder::default()));
        drop(producer);
        let cause = bench.consumer.cause().expect("the consumer is told all the same");
        assert!(matches!(cause.reason, Reason::ComponentGone), "{cause}");
    });
}

#[test]
fn each_breach_by_a_consumer_is_counted_as_just_that() {
    caught("a lower limit", P3, Consumer, async |bench| {
        bench.flow(8, 2);
        bench.consumer.grant(Limit { quantity: 5, messages: 5 });
    });
    caught("a grant after the end was taken", P4, Consumer, async |bench| {
        bench.flow(8, 2);
        bench.producer.end(true);
        bench.consumer.finish(true);
        bench.consumer.grant_more(8, 8);
    });
    caught("the name of another link", P5, Consumer, async |bench| {
        bench.flow(8, 2);
        bench.consumer.grant_on(LinkId::next(), Limit { quantity: 50, messages: 50 });
    });
    caught("no grant when all is finished with", C1, Consumer, async |bench| {
        bench.flow(2, 2);
        bench.consumer.accept(1);
        bench.consumer.accept(1);
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(bench.monitor.report().broken().is_empty(), "it has time still");
        tokio::time::sleep(Duration::from_secs(2)).await;
    });
    caught("an end that is never taken", E2, Consumer, async |bench| {
        bench.flow(8, 1);
        bench.producer.end(true);
        bench.consumer.accept(1);
        tokio::time::sleep(Duration::from_secs(6)).await;
    });
    caught("what was granted is refused", C2, Consumer, async |bench| {
        bench.flow(8, 2);
        bench.consumer.abort(too_much());
    });
    let calls_back = ConsumerProbe::reacting("consumer", &Ladder::default(), |probe| probe.grant_more(8, 8));
    caught_with("a grant inside the call", C3, Consumer, calls_back, async |bench| {
        bench.flow(8, 1);
    });
    caught("an abort without a cause", A2, Consumer, async |bench| {
        bench.flow(8, 2);
        bench.consumer.abort_on(bench.link_out());
    });
    caught("a grant without a bound", M1, Consumer, async |bench| bench.consumer.grant_more(8, 1 << 20));
}

/// The reason of a consumer that was sent too much, from a link where that is so.
fn too_much() -> Reason {
    let ladder = Ladder::default();
    let (producer, consumer) = (ProducerProbe::new("producer", &ladder), ConsumerProbe::new("consumer", &ladder));
    consumer.be_strict();
    join(&producer.outlet(), &consumer.inlet(), None);
    consumer.grant_more(0, 0);
    producer.send(1_u32);
    consumer.cause().expect("refused").reason.clone()
}

/// The supervisor was told where the producer stopped; what still comes of that link is one too many.
#[test]
fn an_item_of_a_link_that_was_parted_is_the_producers_breach() {
    in_virtual_time(async {
        let ladder = Ladder::default();
        let (first, second) = (ProducerProbe::new("first", &ladder), ProducerProbe::new("second", &ladder));
        let consumer = ConsumerProbe::new("consumer", &ladder);
        let (inlet, outlet, monitor) = Monitor::new("monitor").start::<u32>();
        let supervisor = Supervisor::current();
        supervisor.attach(&outlet, &consumer.inlet()).await.expect("attached");
        let link = supervisor.attach(&first.outlet(), &inlet).await.expect("attached");
        consumer.grant_more(8, 8);
        first.send(1);
        assert_eq!(supervisor.detach(link).await.expect("parted").messages, 1);
        supervisor.attach(&second.outlet(), &inlet).await.expect("attached");
        assert_eq!(second.credit().messages, 7, "what is left of the consumer's credit is the next producer's");
        second.send_on(link, 2);
        assert_eq!(monitor.report().broken(), [(P4, Producer)], "{}", monitor.report());
        assert_eq!(consumer.passed().messages, 1, "it is dropped");
    });
}

/// An actor that goes without a word: its port is never dropped.
struct Vanishing {
    input: Inlet<u32>,
}
impl Actor for Vanishing {
    type Context = Context<Self>;
}
wire!(Vanishing {
    inlet input: u32 => on_input;
});
impl Vanishing {
    fn on_input(&mut self, event: InletEvent<u32>, ctx: &mut Context<Self>) {
        if matches!(event, InletEvent::Item(_)) {
            std::mem::forget(std::mem::take(&mut self.input));
            ctx.stop();
        }
    }
}

#[test]
fn a_consumer_that_vanishes_is_noticed_with_the_next_item() {
    let _one = support::serial();
    // what it forgets is never given back, so nobody counts here
    System::new().block_on(async {
        let supervisor = Supervisor::current();
        let producer = ProducerProbe::new("producer", &Ladder::default());
        let vanishing = Vanishing { input: Inlet::default() }.start();
        let link = supervisor.attach(&producer.outlet(), &vanishing.inlet()).await.expect("attached");
        let monitor = monitored::<u32>(&supervisor, link, Monitor::new("monitor")).await;
        drop(vanishing);
        while !producer.is_granted() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for n in 0..3 {
            producer.send(n);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(monitor.report().broken(), [(A3, Consumer)], "{}", monitor.report());
    });
}

/// What it passes on of a breach is what the other side would have had without it: an honest consumer refuses an excess.
#[test]
fn an_honest_consumer_still_enforces_the_limit_behind_a_monitor() {
    run(async {
        let supervisor = Supervisor::current();
        let producer = ProducerProbe::new("producer", &Ladder::default());
        let (inlet, done) = Check::new(0).start();
        let link = supervisor.attach(&producer.outlet(), &inlet).await.expect("attached");
        drop(inlet);
        let monitor = monitored::<Bytes>(&supervisor, link, Monitor::new("monitor")).await;
        until("granted", || producer.is_granted()).await;
        producer.send(vec![0; 1 << 20].into());
        let (_, outcome) = within(done).await;
        assert!(outcome.to_string().contains("limit exceeded (P1)"), "{outcome}");
        until("the producer is told", || producer.cause().is_some()).await;
        assert_eq!(monitor.report().broken(), [(P1, Producer)], "{}", monitor.report());
        drop(producer);
    });
}

#[derive(Default)]
struct Told(Arc<Mutex<Vec<(Rule, u64)>>>);
impl Actor for Told {
    type Context = Context<Self>;
}
impl Handler<Sighted> for Told {
    type Result = ();
    fn handle(&mut self, sighted: Sighted, _: &mut Context<Self>) {
        assert_eq!(&*sighted.monitor, "monitor");
        self.0.lock().expect("no panic").push((sighted.breach.rule, sighted.breach.count));
    }
}

/// Nine breaches are counted, and told four times; the ladder is as long as was asked for; and the report outlives the monitor.
#[test]
fn breaches_are_counted_and_told_without_a_flood() {
    run(async {
        let told = Told::default();
        let heard = told.0.clone();
        let monitor = Monitor::new("monitor").ladder(3).tell(told.start().recipient());
        let bench = Bench::with(ConsumerProbe::new("consumer", &Ladder::default()), monitor).await;
        bench.flow(1, 10);
        until("told", || heard.lock().expect("no panic").len() == 4).await;
        assert_eq!(*heard.lock().expect("no panic"), [(P1, 1), (P1, 2), (P1, 4), (P1, 8)]);
        let handle = bench.monitor.clone();
        drop(bench);
        let report = handle.report();
        let breach = report.breaches().iter().find(|breach| breach.rule == P1).expect("counted");
        assert_eq!((breach.count, breach.ladder.lines().count()), (9, 3), "{report}");
        assert!(report.to_string().contains("P1  BROKEN"), "{report}");
        assert!(report.to_string().contains("A4  cannot judge"), "{report}");
    });
}

/// It does not wait for a neighbour to be rebuilt: the chain ends with that one's cause, and nothing waits for ever.
#[test]
fn beside_an_armed_component_that_fails_the_chain_ends_with_its_cause() {
    struct Fails;
    impl Sink for Fails {
        type In = Bytes;
        fn consume(&mut self, _: Bytes) -> PartResult {
            Err(Reason::Requested("no disk".into()))
        }
    }
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (inlet, into, monitor) = Monitor::new("monitor").start::<Bytes>();
        let (sink, sunk) = Fails.start();
        let link = within(supervisor.attach(&into, &sink)).await.expect("attached");
        let never = |_: Again| async { Err(Reason::Requested("never".into())) };
        within(supervisor.restart(Place::Consumer(link), Restart::default(), never)).await.expect("armed");
        let (source, sourced) = Pattern::new(1, 1 << 20).start();
        within(supervisor.attach(&source, &inlet)).await.expect("attached");
        drop((inlet, into, source, sink));
        let cause = parts::event(&mut events, |event| match event {
            Event::TornDown { cause, .. } => Some(cause.to_string()),
            _ => None,
        });
        assert!(cause.await.contains("no disk"));
        for outcome in [within(sourced).await.1, within(sunk).await.1] {
            let Outcome::Aborted(cause) = outcome else { panic!("{outcome:?}") };
            assert!(cause.to_string().contains("no disk"), "{cause}");
        }
        parts::forgotten(&supervisor).await;
        assert_eq!(monitor.report().broken(), []);
    });
}
