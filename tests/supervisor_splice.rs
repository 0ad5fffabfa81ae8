//! Splice: insert, remove and replace on a running chain lose, double and reorder nothing, and refuse what they must.
//!
//! `VERSILE_SPLICES=10000 cargo test --release --test supervisor_splice -- --nocapture random` makes that many in one chain;
//! `VERSILE_SEED=n` draws others.

mod support;
#[path = "support/tape.rs"]
mod tape;

use bytes::{Bytes, BytesMut};
use std::any::Any;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use support::{run, within};
use tape::Tape;
use tokio::time::{Instant, Sleep};
use versile_io::component::stock::{Filter, Outbox, PartResult, Pull, Sink, Source};
use versile_io::component::{ComponentId, InletRef, OutletRef};
use versile_io::proto::link::{Count, Credit, LinkId, Reason};
use versile_io::supervisor::{SpliceFailure, Supervisor};

const DRAIN: Duration = Duration::from_secs(5);

/// A stream in pieces of random sizes, at a rate that can be changed, until it is told to stop.
struct Numbered {
    tape: Tape,
    control: Arc<Control>,
    random: fastrand::Rng,
    /// When the next piece is due.
    due: Instant,
    sleep: Pin<Box<Sleep>>,
}

#[derive(Default)]
struct Control {
    stop: AtomicBool,
    /// Bytes per second; 0 is full speed.
    rate: AtomicU64,
}

impl Numbered {
    fn new(seed: u64) -> (Self, Arc<Control>) {
        let (control, now) = (Arc::new(Control::default()), Instant::now());
        let random = fastrand::Rng::with_seed(seed);
        let sleep = Box::pin(tokio::time::sleep_until(now));
        (Self { tape: Tape::default(), control: control.clone(), random, due: now, sleep }, control)
    }
}

impl Source for Numbered {
    type Out = Bytes;
    fn poll_pull(&mut self, credit: Credit, cx: &mut TaskContext<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        if self.control.stop.load(Relaxed) {
            return Poll::Ready(Ok(Pull::End { clean: true }));
        }
        let n = self.random.u64(1..=9000).min(credit.quantity);
        let rate = self.control.rate.load(Relaxed);
        if let Some(rate) = NonZeroU64::new(rate) {
            let now = Instant::now();
            // what was not given while the chain was parted is made up for, a little
            self.due = self.due.max(now - Duration::from_millis(20));
            if self.due > now {
                self.sleep.as_mut().reset(self.due);
                if self.sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            self.due += Duration::from_nanos(n * 1_000_000_000 / rate);
        }
        Poll::Ready(Ok(Pull::Item(self.tape.give(n))))
    }
}

/// Checks every byte against its position.
#[derive(Default)]
struct Checked {
    tape: Tape,
}

impl Sink for Checked {
    type In = Bytes;
    fn consume(&mut self, item: Bytes) -> PartResult {
        self.tape.take(&item).map_err(|wrong| Reason::Requested(wrong.into()))
    }
}

/// Partial frames that a successor took up, that it gave back, and that were flushed.
static TAKEN: AtomicU64 = AtomicU64::new(0);
static GIVEN: AtomicU64 = AtomicU64::new(0);
static FLUSHED: AtomicU64 = AtomicU64::new(0);

/// Cuts into frames of one size and holds the beginning of the next: state that a successor of the same size can take.
struct Framed {
    name: Arc<str>,
    size: usize,
    partial: BytesMut,
    /// Refuses to give a partial frame.
    strict: bool,
}

impl Framed {
    fn new(name: &str, size: usize) -> Self {
        Self { name: name.into(), size, partial: BytesMut::new(), strict: false }
    }
}

impl Filter for Framed {
    type In = Bytes;
    type Out = Bytes;
    fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
        self.partial.extend_from_slice(&item);
        while self.partial.len() >= self.size {
            out.push(self.partial.split_to(self.size).freeze());
        }
        Ok(())
    }
    fn finish(&mut self, clean: bool, out: &mut Outbox<Bytes>) -> PartResult<bool> {
        out.push(self.partial.split().freeze());
        Ok(clean)
    }
    fn flush(&mut self, out: &mut Outbox<Bytes>) -> PartResult {
        if self.strict && !self.partial.is_empty() {
            return Err(Reason::Requested("a frame has begun".into()));
        }
        FLUSHED.fetch_add(u64::from(!self.partial.is_empty()), Relaxed);
        out.push(self.partial.split().freeze());
        Ok(())
    }
    fn take_state(&mut self) -> Option<Box<dyn Any + Send>> {
        (!self.partial.is_empty()).then(|| Box::new((self.size, self.partial.split())) as Box<dyn Any + Send>)
    }
    fn put_state(&mut self, state: Box<dyn Any + Send>) -> Result<(), Box<dyn Any + Send>> {
        match state.downcast::<(usize, BytesMut)>() {
            Ok(state) if state.0 == self.size => {
                TAKEN.fetch_add(1, Relaxed);
                self.partial = state.1;
                Ok(())
            }
            Ok(state) => {
                GIVEN.fetch_add(1, Relaxed);
                Err(state)
            }
            Err(state) => Err(state),
        }
    }
    fn name(&self) -> Arc<str> {
        self.name.clone()
    }
}

async fn link_from(supervisor: &Supervisor, producer: &str) -> Option<LinkId> {
    let snapshot = supervisor.snapshot().await;
    let live = snapshot.links.iter().find(|l| snapshot.name(l.producer) == producer && !l.outlet.is_terminal());
    live.map(|l| l.id)
}

fn framed(name: &str, size: usize) -> (InletRef<Bytes>, OutletRef<Bytes>) {
    let (inlet, outlet, _) = Framed::new(name, size).start();
    (inlet, outlet)
}

/// What can be done to a chain, by the place of the component in it.
#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(usize),
    Remove(usize),
    Replace(usize),
}

/// At most so many between the source and the sink.
const INSIDE: usize = 3;

fn draw(random: &mut fastrand::Rng, inside: usize) -> Op {
    loop {
        match random.u8(0..3) {
            0 if inside < INSIDE => return Op::Insert(random.usize(0..=inside)),
            1 if inside > 0 => return Op::Remove(random.usize(0..inside)),
            2 if inside > 0 => return Op::Replace(random.usize(0..inside)),
            _ => {}
        }
    }
}

/// A chain that is spliced at random.
struct Spliced {
    supervisor: Supervisor,
    random: fastrand::Rng,
    /// The names of what is between the source and the sink.
    inside: Vec<String>,
    made: usize,
}

impl Spliced {
    /// A new codec. Half of them are of one size, so that one takes the state of another.
    fn codec(&mut self) -> (String, InletRef<Bytes>, OutletRef<Bytes>) {
        self.made += 1;
        let name = format!("framed-{}", self.made);
        let size = if self.random.bool() { 1009 } else { self.random.usize(1..5000) };
        let (inlet, outlet) = framed(&name, size);
        (name, inlet, outlet)
    }

    async fn id(&self, name: &str) -> ComponentId {
        self.supervisor.snapshot().await.component(name).expect("in the chain")
    }

    async fn splice(&mut self) -> Duration {
        let op = draw(&mut self.random, self.inside.len());
        let done = match op {
            Op::Insert(at) => {
                let producer = if at == 0 { "Numbered" } else { &self.inside[at - 1] };
                let link = link_from(&self.supervisor, producer).await.expect("the chain is there");
                let (name, inlet, outlet) = self.codec();
                self.inside.insert(at, name);
                self.supervisor.insert(link, &inlet, &outlet).await
            }
            Op::Remove(at) => {
                let old = self.inside.remove(at);
                self.supervisor.remove(self.id(&old).await, DRAIN).await
            }
            Op::Replace(at) => {
                let (name, inlet, outlet) = self.codec();
                let old = std::mem::replace(&mut self.inside[at], name);
                self.supervisor.replace(self.id(&old).await, &inlet, &outlet, DRAIN).await
            }
        };
        done.unwrap_or_else(|failure| panic!("{op:?}: {failure}")).pause
    }
}

/// MiB/s, for an equal part of the splices each; 0 is full speed.
const RATES: [u64; 5] = [0, 1, 4, 16, 0];

#[test]
fn random_splices_under_load_lose_nothing() {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let splices = number("VERSILE_SPLICES").unwrap_or(100);
    let seed = number("VERSILE_SEED").unwrap_or(7);
    run(async move {
        println!("VERSILE_SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed as u64);
        let (source, control) = Numbered::new(random.u64(..));
        let (out, source_done) = source.start();
        let (inp, sink_done) = Checked::default().start();
        let supervisor = Supervisor::start();
        supervisor.attach(&out, &inp).await.expect("attached");
        drop((out, inp));
        let mut chain = Spliced { supervisor, random, inside: Vec::new(), made: 0 };
        let (begin, mut pauses) = (std::time::Instant::now(), [const { Vec::new() }; RATES.len()]);
        for n in 0..splices {
            let phase = n * RATES.len() / splices;
            control.rate.store(RATES[phase] << 20, Relaxed);
            if RATES[phase] > 0 {
                // something passes in between
                tokio::time::sleep(Duration::from_micros(chain.random.u64(0..3000))).await;
            }
            pauses[phase].push(chain.splice().await);
        }
        let took = begin.elapsed();
        control.rate.store(0, Relaxed);
        control.stop.store(true, Relaxed);
        let (sink, outcome) = tokio::time::timeout(Duration::from_secs(300), sink_done).await.expect("in time");
        assert!(outcome.is_clean(), "{outcome}");
        let (source, outcome) = within(source_done).await;
        assert!(outcome.is_clean(), "{outcome}");
        let (arrived, sent) = (sink.expect("the part").tape.sum(), source.expect("the part").tape.sum());
        assert_eq!(arrived, sent);
        assert_eq!(pauses.iter().map(Vec::len).sum::<usize>(), splices);
        println!("{splices} splices made in {took:.1?}, {} bytes, hash at both ends {}", sent.0, sent.1);
        for (rate, mut of) in RATES.into_iter().zip(pauses) {
            of.sort();
            let rate = if rate == 0 { "full speed".into() } else { format!("{rate} MiB/s") };
            let (median, p99, most) = (of[of.len() / 2], of[of.len() * 99 / 100], of[of.len() - 1]);
            println!("{rate:>10}: {} splices, pause median {median:.1?}, p99 {p99:.1?}, longest {most:.1?}", of.len());
        }
        let codecs = [&TAKEN, &GIVEN, &FLUSHED].map(|count| count.load(Relaxed));
        println!("states taken up {}, given back {}; partial frames flushed {}", codecs[0], codecs[1], codecs[2]);
        assert!(codecs[0] > 0 && codecs[2] > 0, "handed over and flushed: {codecs:?}");
    });
}

#[test]
fn a_component_that_cannot_give_what_it_holds_stays() {
    run(async {
        let supervisor = Supervisor::start();
        let (source, control) = Numbered::new(1);
        let (out, source) = source.start();
        let (finlet, foutlet, _) = Framed { strict: true, ..Framed::new("strict", 1 << 40) }.start();
        let (inp, sink) = Checked::default().start();
        supervisor.attach(&out, &finlet).await.expect("attached");
        supervisor.attach(&foutlet, &inp).await.expect("attached");
        drop((out, finlet, foutlet, inp));
        let id = supervisor.snapshot().await.component("strict").expect("there");
        // it holds what it has accepted so far, all of it a beginning
        within(async {
            while supervisor.snapshot().await.links[0].accepted == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let failure = supervisor.remove(id, DRAIN).await.expect_err("it holds a frame");
        assert!(matches!(failure, SpliceFailure::CannotDrain { .. }), "{failure}");
        control.stop.store(true, Relaxed);
        let (sink, outcome) = within(sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(sink.expect("the part").tape.sum(), within(source).await.0.expect("the part").tape.sum());
    });
}

#[test]
fn a_new_component_that_is_attached_already_is_refused_and_the_chain_goes_on() {
    run(async {
        let supervisor = Supervisor::start();
        let (source, control) = Numbered::new(1);
        let (out, source) = source.start();
        let (inp, sink) = Checked::default().start();
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        let (busy_in, busy_out) = framed("busy", 10);
        let (other, _other) = Checked::default().start();
        supervisor.attach(&busy_out, &other).await.expect("attached");
        let failure = supervisor.insert(link, &busy_in, &busy_out).await.expect_err("attached already");
        assert!(matches!(failure, SpliceFailure::Refused(_)), "{failure}");
        drop((out, inp));
        control.stop.store(true, Relaxed);
        let (sink, outcome) = within(sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(sink.expect("the part").tape.sum(), within(source).await.0.expect("the part").tape.sum());
    });
}

/// Takes what comes and is never done with it, until it is told to fail.
struct Stuck {
    held: Count,
    fail: Arc<AtomicBool>,
}

impl Sink for Stuck {
    type In = Bytes;
    fn consume(&mut self, item: Bytes) -> PartResult {
        self.held.add(item.len() as u64);
        Ok(())
    }
    fn held(&self) -> Count {
        self.held
    }
    fn poll_progress(&mut self, cx: &mut TaskContext<'_>) -> Poll<PartResult> {
        if self.fail.load(Relaxed) {
            return Poll::Ready(Err(Reason::Requested("as the test asked".into())));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[test]
fn a_consumer_that_fails_meanwhile_takes_the_parted_producer_along() {
    run(async {
        let supervisor = Supervisor::start();
        let (source, _) = Numbered::new(1);
        let (out, source) = source.start();
        let (finlet, foutlet) = framed("between", 10);
        let fail = Arc::new(AtomicBool::new(false));
        let (inp, _sink) = Stuck { held: Count::ZERO, fail: fail.clone() }.start();
        let first = supervisor.attach(&out, &finlet).await.expect("attached");
        supervisor.attach(&foutlet, &inp).await.expect("attached");
        drop((out, finlet, foutlet, inp));
        let id = supervisor.snapshot().await.component("between").expect("there");
        let splicer = supervisor.clone();
        // it cannot settle: its consumer takes no more
        let splice = actix_rt::spawn(async move { splicer.remove(id, DRAIN).await });
        within(async {
            while supervisor.snapshot().await.links.iter().any(|l| l.id == first) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        fail.store(true, Relaxed);
        let failure = within(splice).await.expect("no panic").expect_err("broken");
        assert!(matches!(failure, SpliceFailure::Broken(_)), "{failure}");
        let (_, outcome) = within(source).await;
        assert!(outcome.to_string().contains("as the test asked"), "{outcome}");
    });
}

/// Takes what comes, and is done with none of it before it is let go on.
struct Late {
    tape: Tape,
    held: Count,
    go: Arc<AtomicBool>,
}

impl Sink for Late {
    type In = Bytes;
    fn consume(&mut self, item: Bytes) -> PartResult {
        self.held.add(item.len() as u64);
        self.tape.take(&item).map_err(|wrong| Reason::Requested(wrong.into()))
    }
    fn held(&self) -> Count {
        self.held
    }
    fn poll_progress(&mut self, cx: &mut TaskContext<'_>) -> Poll<PartResult> {
        if self.go.load(Relaxed) {
            self.held = Count::ZERO;
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[test]
fn a_component_that_does_not_drain_in_time_stays() {
    run(async {
        let supervisor = Supervisor::start();
        let (source, control) = Numbered::new(1);
        let (out, source) = source.start();
        let (finlet, foutlet) = framed("between", 10);
        let go = Arc::new(AtomicBool::new(false));
        let (inp, sink) = Late { tape: Tape::default(), held: Count::ZERO, go: go.clone() }.start();
        supervisor.attach(&out, &finlet).await.expect("attached");
        let last = supervisor.attach(&foutlet, &inp).await.expect("attached");
        drop((out, finlet, foutlet, inp));
        let id = supervisor.snapshot().await.component("between").expect("there");
        within(async {
            loop {
                let snapshot = supervisor.snapshot().await;
                let link = snapshot.links.iter().find(|link| link.id == last).expect("the last link");
                if link.waiting == versile_io::component::link::Waiting::ForCredit {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        let failure = supervisor.remove(id, Duration::from_millis(20)).await.expect_err("nobody takes what it gives");
        assert!(matches!(failure, SpliceFailure::TimedOut { .. }), "{failure}");
        assert_eq!(failure.to_string(), "between did not drain within 20ms");
        go.store(true, Relaxed);
        // now it can
        supervisor.remove(id, DRAIN).await.expect("removed");
        control.stop.store(true, Relaxed);
        let (sink, outcome) = within(sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(sink.expect("the part").tape.sum(), within(source).await.0.expect("the part").tape.sum());
    });
}

/// Gives nothing.
struct Silent;

impl Source for Silent {
    type Out = Bytes;
    fn poll_pull(&mut self, _: Credit, _: &mut TaskContext<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        Poll::Pending
    }
}

#[test]
fn a_state_that_was_handed_over_is_given_back_when_the_new_component_is_refused() {
    run(async {
        let supervisor = Supervisor::start();
        let (source, control) = Numbered::new(1);
        let (out, source) = source.start();
        let (finlet, foutlet) = framed("old", 1_000_003);
        let (inp, sink) = Checked::default().start();
        supervisor.attach(&out, &finlet).await.expect("attached");
        supervisor.attach(&foutlet, &inp).await.expect("attached");
        drop((out, finlet, foutlet, inp));
        let old = supervisor.snapshot().await.component("old").expect("there");
        // its inlet is taken: found out when all else is done
        let (inlet, outlet) = framed("taken", 1_000_003);
        let (other, _other) = Silent.start();
        let taken = supervisor.attach(&other, &inlet).await.expect("attached");
        for _ in 0..20 {
            let failure = supervisor.replace(old, &inlet, &outlet, DRAIN).await.expect_err("taken");
            assert!(matches!(failure, SpliceFailure::Refused(_)), "{failure}");
        }
        control.stop.store(true, Relaxed);
        let (sink, outcome) = within(sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(sink.expect("the part").tape.sum(), within(source).await.0.expect("the part").tape.sum());
        supervisor.abort(versile_io::supervisor::Target::ChainOf(taken), "done").await;
    });
}

#[test]
fn a_new_component_that_is_gone_leaves_the_chain_as_it_was() {
    run(async {
        let supervisor = Supervisor::start();
        let (source, control) = Numbered::new(1);
        let (out, source) = source.start();
        let (finlet, foutlet) = framed("old", 1_000_003);
        let (inp, sink) = Checked::default().start();
        supervisor.attach(&out, &finlet).await.expect("attached");
        supervisor.attach(&foutlet, &inp).await.expect("attached");
        drop((out, finlet, foutlet, inp));
        let old = supervisor.snapshot().await.component("old").expect("there");
        let (inlet, outlet) = framed("dead", 1_000_003);
        // it is aborted with a chain of its own
        let (other, _other) = Checked::default().start();
        let own = supervisor.attach(&outlet, &other).await.expect("attached");
        drop(other);
        supervisor.abort(versile_io::supervisor::Target::ChainOf(own), "die").await;
        within(async {
            while supervisor.snapshot().await.component("dead").is_some() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let failure = supervisor.replace(old, &inlet, &outlet, DRAIN).await.expect_err("gone");
        assert!(matches!(failure, SpliceFailure::NewGone), "{failure}");
        control.stop.store(true, Relaxed);
        let (sink, outcome) = within(sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(sink.expect("the part").tape.sum(), within(source).await.0.expect("the part").tape.sum());
    });
}
