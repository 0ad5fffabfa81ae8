//! Detach parts two components without loss under load, over several arbiters, and says so when it cannot.

#[path = "support/elsewhere.rs"]
mod elsewhere;
#[path = "support/supervisor.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod supervisor;
mod support;

use actix::prelude::*;
use bytes::Bytes;
use elsewhere::on;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use supervisor::{Check, Hash, Pattern, event, forgotten};
use support::{run, within};
use tokio::sync::oneshot;
use versile_io::component::AddrExt;
use versile_io::component::stock::{Done, Outcome, Sink, Source};
use versile_io::component::{Inlet, InletEvent, InletRef, OutletRef};
use versile_io::proto::link::{LinkState, Reason, Window};
use versile_io::supervisor::{DetachFailure, Event, Supervisor, Target};
use versile_io::wire;

fn seeds() -> u64 {
    std::env::var("VERSILE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

struct Three(Vec<Arbiter>);
impl Three {
    fn start() -> Self {
        Self((0..3).map(|_| Arbiter::new()).collect())
    }
    async fn source(&self, seed: u64, total: u64) -> (OutletRef<Bytes>, Done<Pattern>) {
        on(&self.0[0].handle(), move || Pattern::new(seed, total).start()).await
    }
    async fn stop(self) {
        self.0.iter().for_each(|arbiter| {
            arbiter.stop();
        });
        let _ = tokio::task::spawn_blocking(|| self.0.into_iter().for_each(|arbiter| drop(arbiter.join()))).await;
    }
}

#[test]
fn thousands_of_detaches_under_load_lose_nothing() {
    run(async {
        let arbiters = Three::start();
        let supervisor = on(&arbiters.0[2].handle(), Supervisor::start).await;
        // noise: other threads ask the supervisor and so keep all three mailboxes busy
        let over = Arc::new(AtomicBool::new(false));
        for arbiter in &arbiters.0 {
            let (over, supervisor) = (over.clone(), supervisor.clone());
            arbiter.spawn(async move {
                while !over.load(Relaxed) {
                    let _ = supervisor.snapshot().await;
                    tokio::task::yield_now().await;
                }
            });
        }
        let mut detached = 0;
        for seed in 0..seeds() {
            // enough for some thousands of them
            let total = 6_000_000;
            let (out, source) = arbiters.source(seed, total).await;
            let windows = [Window { quantity: 997, messages: 3 }, Window::default()];
            let window = windows[(seed % 2) as usize];
            let (inp, sink) = on(&arbiters.0[1].handle(), move || Check { window, ..Check::new(seed) }.start()).await;
            let mut random = fastrand::Rng::with_seed(seed);
            let mut moved = 0;
            loop {
                let link = match supervisor.attach(&out, &inp).await {
                    Ok(link) => link,
                    // it has come to its end
                    Err(failure) => panic!("{failure}"),
                };
                for _ in 0..random.u32(0..40) {
                    tokio::task::yield_now().await;
                }
                match within(supervisor.detach(link)).await {
                    Ok(at) => {
                        moved += at.quantity;
                        detached += 1;
                    }
                    Err(DetachFailure::NotAttached(_)) => break,
                    Err(failure) => panic!("seed {seed}: {failure}"),
                }
            }
            assert!(moved <= total);
            assert!(within(source).await.1.is_clean());
            let (part, outcome) = within(sink).await;
            assert!(outcome.is_clean(), "{outcome}");
            let part = part.expect("the part");
            assert_eq!((part.at, part.hash), (total, Hash::of(seed, total)), "seed {seed}");
        }
        over.store(true, Relaxed);
        assert!(detached > 1000, "only {detached} detaches");
        println!("{detached} detaches");
        forgotten(&supervisor).await;
        drop(supervisor);
        arbiters.stop().await;
    });
}

/// Aborts at its first item, in a turn that lasts until it is let go.
struct Stubborn {
    input: Inlet<Bytes>,
    entered: Option<oneshot::Sender<()>>,
    gate: std::sync::mpsc::Receiver<()>,
}
impl Actor for Stubborn {
    type Context = Context<Self>;
}
wire!(Stubborn { inlet input: Bytes => on_input; });
impl Stubborn {
    /// Its inlet, the moment at which its turn has begun, and what lets it go.
    async fn start_on(
        arbiter: &ArbiterHandle,
    ) -> (InletRef<Bytes>, oneshot::Receiver<()>, std::sync::mpsc::Sender<()>) {
        let (tx, entered) = oneshot::channel();
        let (go_on, gate) = std::sync::mpsc::channel();
        let stubborn = Self { input: Inlet::default(), entered: Some(tx), gate };
        (on(arbiter, move || stubborn.start().inlet()).await, entered, go_on)
    }
    fn on_input(&mut self, event: InletEvent<Bytes>, _: &mut Context<Self>) {
        if matches!(event, InletEvent::Item(_)) {
            let _ = self.entered.take().map(|entered| entered.send(()));
            let _ = self.gate.recv_timeout(Duration::from_secs(10));
            self.input.abort(Reason::Requested("I will not".into()));
        }
    }
}

/// The producer of the only link has parted from it.
async fn parted(supervisor: &Supervisor) {
    within(async {
        while supervisor.snapshot().await.links[0].outlet != LinkState::Detached {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn a_consumer_that_aborts_after_the_producer_has_parted_takes_the_producer_along() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let arbiters = Three::start();
        let (out, source) = arbiters.source(5, u64::MAX).await;
        let (inp, entered, go_on) = Stubborn::start_on(&arbiters.0[1].handle()).await;
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        within(entered).await.expect("its turn runs");
        // the producer parts, and the consumer is in the middle of a turn in which it will abort
        let detach = supervisor.detach(link);
        tokio::pin!(detach);
        assert!(futures_util::FutureExt::now_or_never(&mut detach).is_none());
        parted(&supervisor).await;
        go_on.send(()).expect("it waits");
        let failure = within(detach).await.expect_err("aborted");
        let DetachFailure::Aborted(cause) = failure else { panic!("{failure}") };
        assert_eq!(cause.to_string(), "Stubborn: aborted on request: I will not");
        let Outcome::Aborted(told) = within(source).await.1 else { panic!("aborted") };
        assert!(Arc::ptr_eq(&told, &cause), "{told}");
        let mut aborted = 0;
        event(&mut events, |event| {
            aborted += usize::from(matches!(event, Event::Aborted { .. }));
            match event {
                Event::TornDown { cause: why, others, stopped } => {
                    assert!(Arc::ptr_eq(why, &cause) && others.is_empty() && stopped.is_empty(), "{event}");
                    Some(())
                }
                _ => None,
            }
        })
        .await;
        assert_eq!(aborted, 1);
        drop((out, inp));
        forgotten(&supervisor).await;
        arbiters.stop().await;
    });
}

#[test]
fn a_consumer_that_is_gone_meanwhile_takes_the_producer_along() {
    run(async {
        let supervisor = Supervisor::start();
        let arbiters = Three::start();
        let (out, source) = arbiters.source(5, u64::MAX).await;
        let (inp, entered, go_on) = Stubborn::start_on(&arbiters.0[1].handle()).await;
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        within(entered).await.expect("its turn runs");
        let detach = supervisor.detach(link);
        tokio::pin!(detach);
        assert!(futures_util::FutureExt::now_or_never(&mut detach).is_none());
        parted(&supervisor).await;
        arbiters.0[1].stop();
        go_on.send(()).expect("it waits");
        let failure = within(detach).await.expect_err("gone or aborted");
        assert!(matches!(failure, DetachFailure::Aborted(_)), "{failure}");
        assert!(matches!(within(source).await.1, Outcome::Aborted(_)));
        drop((out, inp));
        forgotten(&supervisor).await;
        arbiters.stop().await;
    });
}

#[test]
fn of_two_detaches_one_is_told_that_the_link_is_not_attached() {
    run(async {
        let supervisor = Supervisor::start();
        let (out, source) = Pattern::new(2, u64::MAX).start();
        let (inp, sink) = Check::new(2).start();
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        let (one, other) = tokio::join!(supervisor.detach(link), supervisor.detach(link));
        let failure = match (one, other) {
            (Ok(_), Err(failure)) | (Err(failure), Ok(_)) => failure,
            both => panic!("{both:?}"),
        };
        assert!(matches!(failure, DetachFailure::NotAttached(id) if id == link), "{failure}");
        let unknown = supervisor.detach(link).await.expect_err("no more");
        assert!(matches!(unknown, DetachFailure::NotAttached(_)));
        supervisor.attach(&out, &inp).await.expect("free");
        supervisor.abort(Target::All, "enough").await;
        for outcome in [within(source).await.1, within(sink).await.1] {
            assert_eq!(outcome.to_string(), "aborted: supervisor: aborted on request: enough");
        }
        forgotten(&supervisor).await;
    });
}

#[test]
fn a_caller_that_drops_the_future_withdraws_nothing() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (out, _source) = Pattern::new(2, u64::MAX).start();
        let (inp, _sink) = Check::new(2).start();
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        assert!(futures_util::FutureExt::now_or_never(Box::pin(supervisor.detach(link))).is_none());
        event(&mut events, |event| matches!(event, Event::Detached { link: id, .. } if *id == link).then_some(()))
            .await;
        forgotten(&supervisor).await;
        supervisor.attach(&out, &inp).await.expect("free");
        supervisor.abort(Target::All, "done").await;
        forgotten(&supervisor).await;
    });
}
