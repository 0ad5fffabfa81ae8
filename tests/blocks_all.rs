//! What every building block keeps: data whole and in order, bounded memory, ends and aborts carried, splicing.

#[path = "support/flow.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod flow;
#[expect(dead_code, reason = "shared by several tests")]
mod support;

use bytes::Bytes;
use flow::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use support::run;
use versile_io::component::block::*;
use versile_io::component::join;
use versile_io::component::stock::{Outcome, Sink, Source};
use versile_io::proto::link::Window;
use versile_io::supervisor::Supervisor;

/// A block, how it is started, and how much it may let wait.
type Row = (&'static str, fn() -> Ports, u64);

/// Every block that bytes pass unchanged.
const ROWS: [Row; 12] = [
    ("map", || ports(map(|b: Bytes| b)), 256 << 10),
    ("filter_map", || ports(filter_map(|b: Bytes| Some(b))), 256 << 10),
    ("keep_if", || ports(keep_if(|_: &Bytes| true)), 256 << 10),
    ("inspect", || ports(inspect(|_: &Bytes| {})), 256 << 10),
    ("chunker", || ports(Chunker::bytes(size(1009))), 512 << 10),
    ("limiter", || ports(Limiter::new(u64::MAX, AfterLimit::Fail).0), 256 << 10),
    ("progress", || ports(progress(Duration::from_millis(1), |_| {})), 256 << 10),
    (
        "switch",
        || {
            let switch = switch(WhenBack::Stay);
            (switch.inlet, switch.primary)
        },
        256 << 10,
    ),
    ("meter", || ports(Meter::new().0), 256 << 10),
    ("buffer", || ports(Buffer::new(Window { quantity: 1 << 20, messages: 64 })), 1 << 20),
    (
        "gate",
        || {
            let gate = gate(true);
            (gate.inlet, gate.outlet)
        },
        0,
    ),
    (
        "throttle",
        || {
            let throttle = throttle(per_second(2_000_000));
            (throttle.inlet, throttle.outlet)
        },
        0,
    ),
];

/// Bytes through a block; what the consumer was.
async fn through(row: &Row, feed: Feed, drain: impl FnOnce(&Arc<AtomicU64>) -> Drain) -> (Drain, Outcome, Outcome) {
    let drain = drain(&feed.produced);
    let ((out, fed), (inp, drained), (inlet, outlet)) = (feed.start(), drain.start(), row.1());
    join(&out, &inlet, None);
    join(&outlet, &inp, None);
    drop((out, inlet, outlet, inp));
    let (drain, outcome) = in_time(drained).await;
    (drain.expect("the part"), outcome, in_time(fed).await.1)
}

#[test]
fn data_passes_whole_and_in_order_and_its_end_as_it_is() {
    run(async {
        tokio::time::pause();
        for row in &ROWS {
            for (total, piece) in [(5_000, 1), (100_003, 997), (400_000, 65_536), (0, 1)] {
                for clean in [true, false] {
                    let feed = Feed { end: Ok(clean), ..Feed::new(total, piece) };
                    let (drain, outcome, fed) = through(row, feed, Drain::new).await;
                    let told = format!("{} in pieces of {piece}: {outcome}", row.0);
                    assert!(matches!(outcome, Outcome::Ended { clean: c } if c == clean), "{told}");
                    assert!(matches!(fed, Outcome::Ended { clean: c } if c == clean), "{told}");
                    assert_eq!(drain.position, total, "{told}");
                }
            }
        }
    });
}

#[test]
fn a_slow_consumer_bounds_what_waits() {
    run(async {
        tokio::time::pause();
        for row in &ROWS {
            // more than all windows together
            let total = row.2 + 200_000;
            for (total, piece) in [(5_000, 1), (total, 997), (total, 65_536)] {
                let (drain, outcome, _) = through(row, Feed::new(total, piece), Drain::slow).await;
                assert!(outcome.is_clean() && drain.position == total, "{}: {outcome}", row.0);
                // the windows, and an item that waits in each of two outlets
                let most = drain.window + row.2 + 2 * piece.max(16 << 10);
                assert!(drain.most_behind <= most, "{}: {} behind of {most}", row.0, drain.most_behind);
            }
        }
    });
}

#[test]
fn an_abort_reaches_both_ends() {
    run(async {
        tokio::time::pause();
        // a switch outlives its consumer
        for row in ROWS.iter().filter(|row| row.0 != "switch") {
            let failing = |produced: &_| Drain { fail_at: 50_000, ..Drain::new(produced) };
            let (_, drained, fed) = through(row, Feed::new(u64::MAX, 997), failing).await;
            for outcome in [drained, fed] {
                assert_eq!(outcome.to_string().matches("enough").count(), 1, "{}: {outcome}", row.0);
            }
            let feed = Feed { end: Err("the source broke"), ..Feed::new(50_000, 997) };
            let (_, drained, fed) = through(row, feed, Drain::slow).await;
            for outcome in [drained, fed] {
                assert_eq!(outcome.to_string().matches("the source broke").count(), 1, "{}: {outcome}", row.0);
            }
        }
    });
}

#[test]
fn each_is_put_in_and_taken_out_of_a_running_chain() {
    run(async {
        let supervisor = Supervisor::start();
        let feed = Feed::new(u64::MAX, 97);
        let (stop, drain) = (feed.stop.clone(), Drain::new(&feed.produced));
        let seen = drain.seen.clone();
        let ((out, fed), (inp, drained)) = (feed.start(), drain.start());
        supervisor.attach(&out, &inp).await.expect("attached");
        drop((out, inp));
        for row in &ROWS {
            let snapshot = supervisor.snapshot().await;
            let link = snapshot.links.iter().find(|l| !l.outlet.is_terminal()).expect("a link").id;
            let (inlet, outlet) = row.1();
            supervisor.insert(link, &inlet, &outlet).await.unwrap_or_else(|e| panic!("{}: {e}", row.0));
            drop((inlet, outlet));
            let before = seen.load(Relaxed);
            support::until(row.0, || seen.load(Relaxed) > before + 20_000).await;
            let id = supervisor.snapshot().await.component(row.0).expect("inside");
            supervisor.remove(id, Duration::from_secs(5)).await.unwrap_or_else(|e| panic!("{}: {e}", row.0));
        }
        stop.store(true, Relaxed);
        let (drain, outcome) = in_time(drained).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(drain.expect("the part").position, in_time(fed).await.0.expect("the part").next);
    });
}
