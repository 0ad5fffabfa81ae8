//! Attach is a transaction: it completes, or leaves both components as they were, or ends the link with the cause.

#[path = "support/supervisor.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod supervisor;
mod support;

use actix::prelude::*;
use bytes::Bytes;
use std::time::Duration;
use supervisor::{Check, Hash, Pattern, Silent, forgotten};
use support::{run, within};
use tokio::sync::oneshot;
use versile_io::agent::unix;
use versile_io::component::stock::{Directions, Duplex, Outcome, Sink, Source};
use versile_io::component::{AddrExt, Inlet, InletEvent, Outlet, OutletEvent};
use versile_io::proto::link::{AttachError, Side};
use versile_io::supervisor::{AttachFailure, Supervisor};
use versile_io::wire;

fn refused(failure: &AttachFailure, on: Side) -> bool {
    matches!(failure, AttachFailure::Refused { side, error: AttachError::Attached } if *side == on)
}

#[test]
fn refused_by_the_consumer_the_producer_is_as_it_was_and_forgotten() {
    run(async {
        let supervisor = Supervisor::start();
        let (first, _done) = Silent.start();
        let (taken, _sink) = Check::new(7).start();
        let link = supervisor.attach(&first, &taken).await.expect("attached");

        let (out, source) = Pattern::new(1, 100_000).start();
        let failure = supervisor.attach(&out, &taken).await.expect_err("taken");
        assert!(refused(&failure, Side::Consumer), "{failure}");
        within(async {
            while supervisor.snapshot().await.components.len() != 2 {
                tokio::task::yield_now().await;
            }
        })
        .await;

        let (inp, sink) = Check::new(1).start();
        supervisor.attach(&out, &inp).await.expect("as it was");
        assert!(within(source).await.1.is_clean());
        assert_eq!(within(sink).await.0.expect("the part").hash, Hash::of(1, 100_000));
        supervisor.detach(link).await.expect("unharmed");
        forgotten(&supervisor).await;
    });
}

#[test]
fn two_supervisors_and_one_port_one_is_refused_and_nobody_harmed() {
    run(async {
        let (a, b) = (Supervisor::start(), Supervisor::start());
        for round in 0..50 {
            let (out, source) = Pattern::new(round, 10_000).start();
            let (inp_a, sink_a) = Check::new(round).start();
            let (inp_b, sink_b) = Check::new(round).start();
            let (one, other) = tokio::join!(a.attach(&out, &inp_a), b.attach(&out, &inp_b));
            let (won, lost) = match (&one, &other) {
                (Ok(_), Err(failure)) => (sink_a, (failure, sink_b, inp_b)),
                (Err(failure), Ok(_)) => (sink_b, (failure, sink_a, inp_a)),
                _ => panic!("{one:?} {other:?}"),
            };
            assert!(refused(lost.0, Side::Producer), "{}", lost.0);
            assert!(within(source).await.1.is_clean());
            assert_eq!(within(won).await.0.expect("the part").hash, Hash::of(round, 10_000));
            // the one that was refused can be attached
            let (out, _) = Pattern::new(round, 1000).start();
            a.attach(&out, &lost.2).await.expect("free");
            assert!(within(lost.1).await.1.is_clean());
        }
        forgotten(&a).await;
        forgotten(&b).await;
    });
}

#[test]
fn a_consumer_that_is_gone_leaves_the_producer_as_it_was() {
    run(async {
        let supervisor = Supervisor::start();
        let (dead, sink) = Check::new(0).start();
        let (out, _) = Pattern::new(0, 0).start();
        supervisor.attach(&out, &dead).await.expect("attached");
        within(sink).await;
        let (out, source) = Pattern::new(1, 10).start();
        within(async {
            // the actor has ended its last turn a moment after it gave its part away
            loop {
                match supervisor.attach(&out, &dead).await {
                    Err(AttachFailure::Gone(Side::Consumer)) => break,
                    Err(AttachFailure::Refused { error: AttachError::Ended, .. }) => tokio::task::yield_now().await,
                    other => panic!("{other:?}"),
                }
            }
        })
        .await;
        let (inp, _) = Check::new(1).start();
        supervisor.attach(&out, &inp).await.expect("as it was");
        assert!(within(source).await.1.is_clean());
        forgotten(&supervisor).await;
    });
}

#[test]
fn a_producer_that_is_gone_leaves_the_consumer_as_it_was() {
    run(async {
        let supervisor = Supervisor::start();
        let arbiter = Arbiter::new();
        let (tx, rx) = oneshot::channel();
        arbiter.spawn(async move {
            let _ = tx.send(Silent.start().0);
        });
        let out = rx.await.expect("started");
        arbiter.stop();
        let _ = tokio::task::spawn_blocking(move || arbiter.join()).await;
        let (inp, sink) = Check::new(1).start();
        let failure = within(supervisor.attach(&out, &inp)).await.expect_err("gone");
        assert!(matches!(failure, AttachFailure::Gone(Side::Producer)), "{failure}");
        let (out, _) = Pattern::new(1, 10).start();
        supervisor.attach(&out, &inp).await.expect("as it was");
        assert!(within(sink).await.1.is_clean());
        forgotten(&supervisor).await;
    });
}

#[test]
fn a_caller_that_drops_the_future_withdraws_nothing() {
    run(async {
        let supervisor = Supervisor::start();
        let (out, source) = Pattern::new(1, 10_000).start();
        let (inp, sink) = Check::new(1).start();
        {
            let mut attach = Box::pin(supervisor.attach(&out, &inp));
            assert!(futures_util::FutureExt::now_or_never(&mut attach).is_none());
        }
        drop((out, inp));
        assert!(within(source).await.1.is_clean());
        assert_eq!(within(sink).await.0.expect("the part").hash, Hash::of(1, 10_000));
        forgotten(&supervisor).await;
    });
}

/// A consumer whose turn can be held up: the transaction waits for it.
struct Slow {
    input: Inlet<Bytes>,
    gate: Option<std::sync::mpsc::Receiver<()>>,
}
impl Actor for Slow {
    type Context = Context<Self>;
    fn started(&mut self, _: &mut Context<Self>) {
        if let Some(gate) = self.gate.take() {
            let _ = gate.recv_timeout(Duration::from_secs(10));
        }
    }
}
wire!(Slow { inlet input: Bytes => on_input; });
impl Slow {
    fn on_input(&mut self, _: InletEvent<Bytes>, _: &mut Context<Self>) {}
}

#[test]
fn a_component_that_goes_between_the_steps_ends_the_link_with_the_cause() {
    run(async {
        for consumer_goes in [false, true] {
            let supervisor = Supervisor::start();
            let (theirs, ours) = (Arbiter::new(), Arbiter::new());
            let (tx, rx) = oneshot::channel();
            let (open, gate) = std::sync::mpsc::channel();
            theirs.spawn(async move {
                let _ = tx.send(Slow { input: Inlet::default(), gate: Some(gate) }.start().inlet());
            });
            let slow = rx.await.expect("started");
            let (tx, rx) = oneshot::channel();
            ours.spawn(async move {
                let _ = tx.send(Silent.start());
            });
            let (out, source) = rx.await.expect("started");
            let mut attach = Box::pin(supervisor.attach(&out, &slow));
            assert!(futures_util::FutureExt::now_or_never(&mut attach).is_none());
            within(async {
                while supervisor.snapshot().await.links.is_empty() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let (goes, stays) = if consumer_goes { (theirs, ours) } else { (ours, theirs) };
            goes.stop();
            if !consumer_goes {
                let _ = tokio::task::spawn_blocking(move || goes.join()).await;
            }
            open.send(()).expect("waits");
            match (consumer_goes, within(attach.as_mut()).await) {
                (false, Err(AttachFailure::Aborted(cause))) => {
                    assert_eq!(cause.to_string(), "Silent: stopped while a link depended on it");
                }
                // it may have taken the link, and even have opened it, before it went
                (true, Err(AttachFailure::Gone(Side::Consumer) | AttachFailure::Aborted(_)) | Ok(_)) => {
                    assert!(matches!(within(source).await.1, Outcome::Aborted(_)));
                }
                (_, other) => panic!("{other:?}"),
            }
            drop(attach);
            drop((out, slow));
            stays.stop();
            forgotten(&supervisor).await;
        }
    });
}

#[test]
fn a_supervisor_that_goes_between_the_steps_gives_the_reservation_back() {
    run(async {
        let (arbiter, theirs) = (Arbiter::new(), Arbiter::new());
        let (tx, rx) = oneshot::channel();
        let (open, gate) = std::sync::mpsc::channel();
        arbiter.spawn(async move {
            let _ = tx.send(Slow { input: Inlet::default(), gate: Some(gate) }.start().inlet());
        });
        let slow = rx.await.expect("started");
        let (tx, rx) = oneshot::channel();
        theirs.spawn(async move {
            let _ = tx.send(Supervisor::start());
        });
        let doomed = rx.await.expect("started");
        let (out, source) = Pattern::new(1, 10_000).start();
        {
            let attach = doomed.attach(&out, &slow);
            tokio::pin!(attach);
            assert!(futures_util::FutureExt::now_or_never(&mut attach).is_none());
            // reserved, and the consumer does not answer
            within(async {
                while doomed.snapshot().await.links.is_empty() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            theirs.stop();
            let failure = within(attach).await.expect_err("no supervisor");
            assert!(matches!(failure, AttachFailure::NoSupervisor), "{failure}");
        }
        let other = Supervisor::start();
        let (inp, sink) = Check::new(1).start();
        within(async {
            loop {
                match other.attach(&out, &inp).await {
                    Ok(_) => break,
                    Err(AttachFailure::Refused { error: AttachError::Attached, .. }) => tokio::task::yield_now().await,
                    Err(failure) => panic!("{failure}"),
                }
            }
        })
        .await;
        assert!(within(source).await.1.is_clean());
        assert!(within(sink).await.1.is_clean());
        open.send(()).expect("waits");
        drop(slow);
        arbiter.stop();
        let _ = tokio::task::spawn_blocking(move || (arbiter.join(), theirs.join())).await;
        forgotten(&other).await;
    });
}

/// A two-way user actor that sends as soon as it may.
struct Eager {
    input: Inlet<Bytes>,
    output: Outlet<Bytes>,
    got: Option<oneshot::Sender<()>>,
}
impl Actor for Eager {
    type Context = Context<Self>;
}
wire!(Eager {
    inlet input: Bytes => on_input;
    outlet output: Bytes => on_output;
    two_way;
});
impl Eager {
    fn start_it() -> (Addr<Self>, oneshot::Receiver<()>) {
        let (tx, rx) = oneshot::channel();
        (Self { input: Inlet::default(), output: Outlet::default(), got: Some(tx) }.start(), rx)
    }
    fn on_input(&mut self, event: InletEvent<Bytes>, _: &mut Context<Self>) {
        if matches!(event, InletEvent::Item(_)) {
            let _ = self.got.take().map(|got| got.send(()));
        }
    }
    fn on_output(&mut self, event: OutletEvent, _: &mut Context<Self>) {
        if event == OutletEvent::Attached {
            let _ = self.output.push(Bytes::from_static(b"at once"));
        }
    }
}

#[test]
fn a_pair_whose_second_consumer_refuses_is_not_joined_and_no_data_moved() {
    run(async {
        let supervisor = Supervisor::start();
        let (a, b) = (Eager::start_it(), Eager::start_it());
        // the inlet of `a` is taken, which is found last
        let (first, _done) = Silent.start();
        let taken = supervisor.attach(&first, &a.0.inlet()).await.expect("attached");
        let failure = supervisor.attach_pair(&a.0.pair(), &b.0.pair()).await.expect_err("taken");
        assert!(refused(&failure, Side::Consumer), "{failure}");
        let mut b_got = b.1;
        assert_eq!(b_got.try_recv(), Err(oneshot::error::TryRecvError::Empty), "no data, and it lives");

        supervisor.detach(taken).await.expect("detached");
        supervisor.attach_pair(&a.0.pair(), &b.0.pair()).await.expect("as they were");
        within(b_got).await.expect("data");
        within(a.1).await.expect("data");
        supervisor.abort(versile_io::supervisor::Target::All, "done").await;
        forgotten(&supervisor).await;
    });
}

#[test]
fn a_pair_with_a_direction_that_is_not_there_is_refused_as_a_whole() {
    run(async {
        let supervisor = Supervisor::start();
        let (x, y) = unix::pair(&Default::default()).expect("a pair");
        let (read_only, one) = x.only(Directions::ReadOnly).start();
        let (both, two) = y.start();
        for (a, b) in [(&read_only, &both), (&both, &read_only)] {
            let failure = supervisor.attach_pair(a, b).await.expect_err("no inlet");
            let there =
                matches!(failure, AttachFailure::Refused { side: Side::Consumer, error: AttachError::NoSuchPort });
            assert!(there, "{failure}");
        }
        forgotten(&supervisor).await;
        // both are as they were
        let (inp, sink) = Check::new(3).start();
        let (out, _) = Pattern::new(3, 5000).start();
        supervisor.attach(&read_only.outlet, &inp).await.expect("free");
        supervisor.attach(&out, &both.inlet).await.expect("free");
        assert_eq!(within(sink).await.0.expect("the part").hash, Hash::of(3, 5000));
        supervisor.abort(versile_io::supervisor::Target::All, "done").await;
        drop((read_only, both));
        let outcomes = [within(one).await.1, within(two).await.1];
        assert!(outcomes.iter().all(|o| !matches!(o, Outcome::Gone)), "{outcomes:?}");
        forgotten(&supervisor).await;
    });
}
