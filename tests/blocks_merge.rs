//! Merge and concatenation: whose turn it is, ends, aborts, bounded memory.

#[path = "support/flow.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod flow;
#[path = "support/items.rs"]
mod items;
#[expect(dead_code, reason = "shared by several tests")]
mod support;

use flow::*;
use items::Items;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use support::run;
use versile_io::component::block::*;
use versile_io::component::join;
use versile_io::component::stock::{Outcome, Sink, Source};

async fn merged(order: Merge<u32>, left_clean: bool, right_clean: bool) -> (Vec<u32>, Outcome) {
    let (left, _) = Items::new(0..100, Some(left_clean)).start();
    let (right, _) = Items::new(1000..1100, Some(right_clean)).start();
    let (inp, done) = Collect::default().start();
    join(&right, &order.right, None);
    join(&left, &order.left, None);
    quiet().await;
    // both have all in front of it by now
    join(&order.outlet, &inp, None);
    drop((left, right, inp, order));
    let (collected, outcome) = in_time(done).await;
    (collected.expect("the part").0, outcome)
}

#[test]
fn fair_goes_by_turns() {
    run(async {
        tokio::time::pause();
        let (got, outcome) = merged(merge(Order::Fair), true, true).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(got.len(), 200);
        // one item goes into the outlet before the other side has come
        let turns = got[1..199].windows(2).filter(|pair| (pair[0] < 1000) != (pair[1] < 1000)).count();
        assert!(turns >= 195, "{turns} turns: {got:?}");
        for side in [0..100, 1000..1100_u32] {
            assert!(got.iter().filter(|n| side.contains(n)).copied().eq(side.clone()), "each in its order");
        }
    });
}

#[test]
fn the_left_goes_first_and_a_concatenation_waits_for_its_end() {
    run(async {
        tokio::time::pause();
        let (got, _) = merged(merge(Order::LeftFirst), true, true).await;
        assert!(got.iter().filter(|n| **n != 1000).copied().eq((0..100).chain(1001..1100)), "{got:?}");
        let (got, outcome) = merged(concat(), true, true).await;
        assert!(outcome.is_clean() && got.into_iter().eq((0..100).chain(1000..1100)), "{outcome}");
    });
}

#[test]
fn the_end_is_clean_only_if_both_are() {
    run(async {
        tokio::time::pause();
        for (left, right) in [(true, true), (true, false), (false, true), (false, false)] {
            for order in [Order::Fair, Order::LeftFirst, Order::LeftThenRight] {
                let (got, outcome) = merged(merge(order), left, right).await;
                assert!(matches!(outcome, Outcome::Ended { clean } if clean == (left && right)), "{outcome}");
                assert_eq!(got.len(), 200, "{order:?}");
            }
        }
    });
}

#[test]
fn an_abort_of_one_producer_reaches_the_other_and_what_waits_is_bounded() {
    run(async {
        tokio::time::pause();
        let (bad, endless) = (Feed { end: Err("broke"), ..Feed::new(50_000, 997) }, Feed::new(u64::MAX, 997));
        let produced = endless.produced.clone();
        let ((bad, _), (endless, fed)) = (bad.start(), endless.start());
        let (inp, done) = Drain { sparse: true, ..Drain::new(&Arc::new(AtomicU64::new(u64::MAX))) }.start();
        let ports = concat();
        join(&endless, &ports.right, None);
        quiet().await;
        assert!(produced.load(Relaxed) <= (256 << 10) + (16 << 10), "it reads ahead by a window");
        join(&ports.outlet, &inp, None);
        join(&bad, &ports.left, None);
        drop((bad, endless, inp, ports));
        for outcome in [in_time(fed).await.1, in_time(done).await.1] {
            assert!(outcome.to_string().contains("broke"), "{outcome}");
        }
    });
}
