//! The tee: what each policy does for a branch that is slow, away, or fails.

#[path = "support/flow.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod flow;
#[expect(dead_code, reason = "shared by several tests")]
mod support;

use flow::*;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use support::run;
use tokio::time::Instant;
use versile_io::component::block::*;
use versile_io::component::join;
use versile_io::component::stock::{Outcome, Sink, Source};

#[test]
fn both_branches_get_all_and_the_slow_one_sets_the_pace() {
    run(async {
        tokio::time::pause();
        let feed = Feed::new(3_000_000, 997);
        let (fast, slow) = (Drain::new(&feed.produced), Drain::slow(&feed.produced));
        let third = Drain::new(&feed.produced);
        let ((out, _), (fast, fast_done), (slow, slow_done)) = (feed.start(), fast.start(), slow.start());
        let (third, third_done) = third.start();
        let (first, second) = (tee([Branch::Wait; 2]), tee([Branch::Wait; 2]));
        join(&out, &first.inlet, None);
        join(&first.left, &fast, None);
        join(&first.right, &second.inlet, None);
        join(&second.left, &slow, None);
        join(&second.right, &third, None);
        drop((out, fast, slow, third, first, second));
        for done in [fast_done, slow_done, third_done] {
            let (drain, outcome) = in_time(done).await;
            let drain = drain.expect("the part");
            assert!(outcome.is_clean() && drain.position == 3_000_000, "{outcome}");
            assert!(drain.most_behind <= ((3 * 256) << 10) + 4 * (16 << 10), "{}", drain.most_behind);
        }
    });
}

#[test]
fn a_branch_that_drops_holds_nobody_back_and_ends_unclean() {
    run(async {
        tokio::time::pause();
        let feed = Feed::new(1_000_000, 997);
        let fast = Drain::new(&feed.produced);
        let slow = Drain { sparse: true, ..Drain::slow(&feed.produced) };
        let ((out, _), (fast, fast_done), (slow, slow_done)) = (feed.start(), fast.start(), slow.start());
        let tee = tee([Branch::Wait, Branch::Drop]);
        let dropped = tee.dropped.clone();
        join(&tee.right, &slow, None);
        join(&tee.left, &fast, None);
        quiet().await;
        let start = Instant::now();
        join(&out, &tee.inlet, None);
        drop((out, fast, slow, tee));
        let (drain, outcome) = in_time(fast_done).await;
        assert!(outcome.is_clean() && drain.expect("the part").position == 1_000_000, "{outcome}");
        assert!(start.elapsed() < Duration::from_millis(5), "held back for {:?}", start.elapsed());
        let (drain, outcome) = in_time(slow_done).await;
        assert!(matches!(outcome, Outcome::Ended { clean: false }), "{outcome}");
        let got = drain.expect("the part").position;
        assert!(got > 0 && dropped[1].items() > 0 && dropped[0].items() == 0, "{got} {dropped:?}");
        assert_eq!(got + dropped[1].quantity(), 1_000_000);
    });
}

#[test]
fn a_branch_that_drops_need_not_be_attached_and_one_that_waits_does() {
    run(async {
        tokio::time::pause();
        let feed = Feed::new(1_000_000, 997);
        let drain = Drain::new(&feed.produced);
        let produced = feed.produced.clone();
        let ((out, _), (inp, done)) = (feed.start(), drain.start());
        let tee = tee([Branch::Drop, Branch::Wait]);
        join(&out, &tee.inlet, None);
        quiet().await;
        assert!(produced.load(Relaxed) < 300_000, "{produced:?}");
        join(&tee.right, &inp, None);
        let dropped = tee.dropped[0].clone();
        drop((out, inp, tee));
        let (drain, outcome) = in_time(done).await;
        assert!(outcome.is_clean() && drain.expect("the part").position == 1_000_000, "{outcome}");
        assert_eq!(dropped.quantity(), 1_000_000);
    });
}

#[test]
fn an_abort_of_a_branch_reaches_all() {
    run(async {
        let feed = Feed::new(u64::MAX, 997);
        let well = Drain::new(&feed.produced);
        let ill = Drain { fail_at: 100_000, ..Drain::new(&feed.produced) };
        let ((out, fed), (well, well_done), (ill, ill_done)) = (feed.start(), well.start(), ill.start());
        let tee = tee([Branch::Wait; 2]);
        join(&out, &tee.inlet, None);
        join(&tee.left, &well, None);
        join(&tee.right, &ill, None);
        drop((out, well, ill, tee));
        for outcome in [in_time(fed).await.1, in_time(well_done).await.1, in_time(ill_done).await.1] {
            assert!(outcome.to_string().contains("enough"), "{outcome}");
        }
    });
}
