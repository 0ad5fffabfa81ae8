//! Splice: insert, remove and replace on a running chain lose, double and reorder nothing, and refuse what they must.

mod support;

use bytes::{Bytes, BytesMut};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use support::{run, within};
use versile_io::component::stock::{Filter, Outbox, PartResult, Pull, Sink, Source};
use versile_io::component::{InletRef, OutletRef};
use versile_io::proto::link::{Count, Credit, LinkId, Reason};
use versile_io::supervisor::{SpliceFailure, Supervisor};

const DRAIN: Duration = Duration::from_secs(5);

/// Bytes that tell their own position, in pieces of random sizes, until it is told to stop.
struct Numbered {
    next: u64,
    stop: Arc<AtomicBool>,
    random: fastrand::Rng,
}

fn byte_at(position: u64) -> u8 {
    (position.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

impl Numbered {
    fn new(seed: u64) -> (Self, Arc<AtomicBool>) {
        let stop = Arc::new(AtomicBool::new(false));
        (Self { next: 0, stop: stop.clone(), random: fastrand::Rng::with_seed(seed) }, stop)
    }
}

impl Source for Numbered {
    type Out = Bytes;
    fn poll_pull(&mut self, credit: Credit, _: &mut TaskContext<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        if self.stop.load(Relaxed) {
            return Poll::Ready(Ok(Pull::End { clean: true }));
        }
        let n = self.random.u64(1..=9000).min(credit.quantity);
        let item: Vec<u8> = (self.next..self.next + n).map(byte_at).collect();
        self.next += n;
        Poll::Ready(Ok(Pull::Item(item.into())))
    }
}

/// Checks every byte against its position.
#[derive(Default)]
struct Checked {
    position: u64,
}

impl Sink for Checked {
    type In = Bytes;
    fn consume(&mut self, item: Bytes) -> PartResult {
        for (i, byte) in item.iter().enumerate() {
            let at = self.position + i as u64;
            if *byte != byte_at(at) {
                return Err(Reason::Requested(format!("wrong byte at {at}").into()));
            }
        }
        self.position += item.len() as u64;
        Ok(())
    }
}

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
        out.push(self.partial.split().freeze());
        Ok(())
    }
    fn take_state(&mut self) -> Option<Box<dyn Any + Send>> {
        (!self.partial.is_empty()).then(|| Box::new((self.size, self.partial.split())) as Box<dyn Any + Send>)
    }
    fn put_state(&mut self, state: Box<dyn Any + Send>) -> Result<(), Box<dyn Any + Send>> {
        match state.downcast::<(usize, BytesMut)>() {
            Ok(state) if state.0 == self.size => {
                self.partial = state.1;
                Ok(())
            }
            Ok(state) => Err(state),
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

#[test]
fn random_splices_under_load_lose_nothing() {
    let splices: usize = std::env::var("VERSILE_SPLICES").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    run(async move {
        let supervisor = Supervisor::start();
        let mut random = fastrand::Rng::with_seed(7);
        let (source, stop) = Numbered::new(random.u64(..));
        let (out, source_done) = source.start();
        let (inp, sink_done) = Checked::default().start();
        supervisor.attach(&out, &inp).await.expect("attached");
        drop((out, inp));
        let (mut inside, mut made, mut done, mut pauses) = (Vec::<String>::new(), 0, 0, Vec::new());
        for _ in 0..splices {
            let result = match random.u8(0..3) {
                0 if inside.len() < 3 => {
                    let at = random.usize(0..=inside.len());
                    let producer = if at == 0 { "Numbered" } else { &inside[at - 1] };
                    let Some(link) = link_from(&supervisor, producer).await else { panic!("the chain is gone") };
                    made += 1;
                    let name = format!("framed-{made}");
                    let (inlet, outlet) = framed(&name, random.usize(1..5000));
                    let result = supervisor.insert(link, &inlet, &outlet).await;
                    if result.is_ok() {
                        inside.insert(at, name);
                    }
                    result
                }
                1 if !inside.is_empty() => {
                    let at = random.usize(0..inside.len());
                    let Some(id) = supervisor.snapshot().await.component(&inside[at]) else {
                        panic!("the chain is gone")
                    };
                    let result = supervisor.remove(id, DRAIN).await;
                    if result.is_ok() {
                        inside.remove(at);
                    }
                    result
                }
                _ if !inside.is_empty() => {
                    let at = random.usize(0..inside.len());
                    let Some(id) = supervisor.snapshot().await.component(&inside[at]) else {
                        panic!("the chain is gone")
                    };
                    made += 1;
                    let name = format!("framed-{made}");
                    let (inlet, outlet) = framed(&name, random.usize(1..5000));
                    let result = supervisor.replace(id, &inlet, &outlet, DRAIN).await;
                    if result.is_ok() {
                        inside[at] = name;
                    }
                    result
                }
                _ => continue,
            };
            match result {
                Ok(spliced) => {
                    done += 1;
                    pauses.push(spliced.pause);
                }
                Err(failure) => panic!("{failure}"),
            }
        }
        stop.store(true, Relaxed);
        let (sink, outcome) = tokio::time::timeout(Duration::from_secs(300), sink_done).await.expect("in time");
        assert!(outcome.is_clean(), "{outcome}");
        let (source, outcome) = within(source_done).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(sink.expect("the part").position, source.expect("the part").next);
        pauses.sort();
        println!("{done} splices of {splices}, median pause {:?}", pauses[pauses.len() / 2]);
        assert!(done > splices / 2, "only {done} splices");
    });
}

#[test]
fn a_component_that_cannot_give_what_it_holds_stays() {
    run(async {
        let supervisor = Supervisor::start();
        let (source, stop) = Numbered::new(1);
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
        stop.store(true, Relaxed);
        let (sink, outcome) = within(sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(sink.expect("the part").position, within(source).await.0.expect("the part").next);
    });
}

#[test]
fn a_new_component_that_is_attached_already_is_refused_and_the_chain_goes_on() {
    run(async {
        let supervisor = Supervisor::start();
        let (source, stop) = Numbered::new(1);
        let (out, source) = source.start();
        let (inp, sink) = Checked::default().start();
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        let (busy_in, busy_out) = framed("busy", 10);
        let (other, _other) = Checked::default().start();
        supervisor.attach(&busy_out, &other).await.expect("attached");
        let failure = supervisor.insert(link, &busy_in, &busy_out).await.expect_err("attached already");
        assert!(matches!(failure, SpliceFailure::Refused(_)), "{failure}");
        drop((out, inp));
        stop.store(true, Relaxed);
        let (sink, outcome) = within(sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(sink.expect("the part").position, within(source).await.0.expect("the part").next);
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
