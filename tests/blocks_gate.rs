//! The gate: open, closed, from outside and by a control message.

#[path = "support/flow.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod flow;
#[macro_use]
#[path = "support/inside.rs"]
mod inside;
mod support;

use actix::prelude::*;
use bytes::Bytes;
use flow::*;
use inside::inside;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use support::{run, within};
use versile_io::component::block::*;
use versile_io::component::stock::{Sink, Source};
use versile_io::component::{AddrExt, Outlet, OutletEvent, join};
use versile_io::proto::link::Reason;
use versile_io::supervisor::{SpliceFailure, Supervisor};
use versile_io::wire;

struct Head {
    output: Outlet<Bytes>,
}
impl Actor for Head {
    type Context = Context<Self>;
}
wire!(Head {
    outlet output: Bytes => on_output;
});
inside!(Head);
impl Head {
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {}
}

#[test]
fn a_closed_gate_holds_and_an_open_one_passes() {
    run(async {
        tokio::time::pause();
        let feed = Feed::new(3_000_000, 997);
        let produced = feed.produced.clone();
        let drain = Drain::slow(&feed.produced);
        let seen = drain.seen.clone();
        let ((out, _), (inp, done)) = (feed.start(), drain.start());
        let Gate { inlet, outlet, handle } = gate(false);
        join(&out, &inlet, None);
        join(&outlet, &inp, None);
        drop((out, inlet, outlet, inp));
        quiet().await;
        assert_eq!((seen.load(Relaxed), produced.load(Relaxed)), (0, 0), "nothing is asked for");
        for _ in 0..50 {
            assert!(handle.open());
            quiet().await;
            assert!(handle.close());
            // the consumer may have some on their way to it
            quiet().await;
            let (passed, fed) = (seen.load(Relaxed), produced.load(Relaxed));
            assert!(passed > 0 && fed - passed <= 4096 + 2 * 997, "{passed} of {fed}");
            quiet().await;
            assert_eq!((seen.load(Relaxed), produced.load(Relaxed)), (passed, fed), "closed");
        }
        assert!(handle.open());
        let (drain, outcome) = in_time(done).await;
        assert!(outcome.is_clean() && drain.expect("the part").position == 3_000_000, "{outcome}");
        assert!(!handle.close(), "it is gone");
    });
}

#[test]
fn an_end_waits_in_front_of_a_closed_gate_and_an_abort_does_not() {
    run(async {
        tokio::time::pause();
        let feed = Feed::new(0, 1);
        let drain = Drain::new(&feed.produced);
        let ((out, _), (inp, mut done)) = (feed.start(), drain.start());
        let first = gate(false);
        join(&out, &first.inlet, None);
        join(&first.outlet, &inp, None);
        drop((out, inp, first.inlet, first.outlet));
        assert!(tokio::time::timeout(Duration::from_secs(1), &mut done).await.is_err(), "the end waits");
        assert!(first.handle.open());
        assert!(in_time(done).await.1.is_clean());

        let head = Head { output: Outlet::default() }.start();
        let (inp, done) = Drain::new(&Arc::default()).start();
        let second = gate(false);
        join(&head.outlet(), &second.inlet, None);
        join(&second.outlet, &inp, None);
        drop((inp, second.inlet, second.outlet));
        inside(&head, |head, _| head.output.abort(Reason::Requested("now".into()))).await;
        let outcome = within(done).await.1;
        assert!(outcome.to_string().contains("now"), "{outcome}");
    });
}

#[test]
fn closed_and_holding_something_it_cannot_be_taken_out() {
    run(async {
        let supervisor = Supervisor::start();
        let head = Head { output: Outlet::default() }.start();
        let (inp, done) = Drain { sparse: true, ..Drain::new(&Arc::new(AtomicU64::new(u64::MAX))) }.start();
        let Gate { inlet, outlet, handle } = gate(true);
        supervisor.attach(&head.outlet(), &inlet).await.expect("attached");
        supervisor.attach(&outlet, &inp).await.expect("attached");
        drop((inlet, outlet, inp));
        let id = supervisor.snapshot().await.component("gate").expect("inside");
        // granted while it was open; a question goes behind what was pushed
        let answer = inside(&head, |head, _| head.output.ask(SetGate { open: false })).await;
        assert_eq!(within(answer).await, Ok(()));
        let answer = inside(&head, |head, _| {
            head.output.push("abc".into()).expect("granted");
            head.output.ask(SetGate { open: false })
        })
        .await;
        assert_eq!(within(answer).await, Ok(()));
        let refused = within(supervisor.remove(id, Duration::from_secs(60))).await.expect_err("it holds something");
        assert_eq!(refused.to_string(), "gate cannot leave the chain: the gate is closed and holds 1 items");
        assert!(matches!(refused, SpliceFailure::CannotDrain { .. }));
        // the chain is as it was
        inside(&head, |head, _| head.output.push("def".into()).expect("room")).await;
        assert!(handle.open());
        within(supervisor.remove(id, Duration::from_secs(60))).await.expect("removed");
        inside(&head, |head, _| head.output.end(true)).await;
        drop(head);
        let (drain, outcome) = within(done).await;
        assert!(outcome.is_clean() && drain.expect("the part").position == 6, "{outcome}");
    });
}

#[test]
fn a_control_message_opens_and_closes() {
    run(async {
        tokio::time::pause();
        let head = Head { output: Outlet::default() }.start();
        let drain = Drain { sparse: true, ..Drain::new(&Arc::new(AtomicU64::new(u64::MAX))) };
        let seen = drain.seen.clone();
        let (inp, done) = drain.start();
        let Gate { inlet, outlet, .. } = gate(false);
        // the question passes what does not know it
        let (before_in, before_out) = ports(inspect(|_: &Bytes| {}));
        join(&head.outlet(), &before_in, None);
        join(&before_out, &inlet, None);
        join(&outlet, &inp, None);
        drop((inp, inlet, outlet, before_in, before_out));
        inside(&head, |head, _| head.output.push("abc".into()).expect("room for one")).await;
        quiet().await;
        assert_eq!(seen.load(Relaxed), 0, "closed");
        for (open, passed) in [(true, 3), (false, 3), (true, 6)] {
            let answer = inside(&head, move |head, _| head.output.ask(SetGate { open })).await;
            assert_eq!(in_time(answer).await, Ok(()));
            quiet().await;
            assert_eq!(seen.load(Relaxed), passed, "open: {open}");
            if !open {
                // granted while it was open, so it is taken, and waits inside
                inside(&head, |head, _| head.output.push("def".into()).expect("granted")).await;
                quiet().await;
                assert_eq!(seen.load(Relaxed), passed, "closed again");
            }
        }
        inside(&head, |head, _| head.output.end(true)).await;
        drop(head);
        let (drain, outcome) = in_time(done).await;
        assert!(outcome.is_clean() && drain.expect("the part").position == 6, "{outcome}");
    });
}
