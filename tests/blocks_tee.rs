//! The tee: what each policy does for a branch that is slow, away, or fails.

#[path = "support/flow.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod flow;
#[expect(dead_code, reason = "shared by several tests")]
mod support;

use flow::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use support::run;
use tokio::time::Instant;
use versile_io::component::block::*;
use versile_io::component::join;
use versile_io::component::stock::{Outcome, Sink, Source};
use versile_io::proto::link::Window;

#[test]
fn both_branches_get_all_and_the_slow_one_sets_the_pace() {
    run(async {
        tokio::time::pause();
        let feed = Feed::new(3_000_000, 997);
        let (fast, slow) = (Drain::new(&feed.produced), Drain::slow(&feed.produced));
        let third = Drain::new(&feed.produced);
        let ((out, _), (fast, fast_done), (slow, slow_done)) = (feed.start(), fast.start(), slow.start());
        let (third, third_done) = third.start();
        let (first, second) = (tee([Branch::wait(); 2]), tee([Branch::wait(); 2]));
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
        let tee = tee([Branch::wait(), Branch::drop()]);
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
        let tee = tee([Branch::drop(), Branch::wait()]);
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
        let tee = tee([Branch::wait(); 2]);
        join(&out, &tee.inlet, None);
        join(&tee.left, &well, None);
        join(&tee.right, &ill, None);
        drop((out, well, ill, tee));
        for outcome in [in_time(fed).await.1, in_time(well_done).await.1, in_time(ill_done).await.1] {
            assert!(outcome.to_string().contains("enough"), "{outcome}");
        }
    });
}

/// A tee between a feed and two drains; what all became.
async fn teed(branches: [Branch; 2], feed: Feed, drains: [Drain; 2]) -> ([Drain; 2], [Outcome; 3], [Dropped; 2]) {
    let [left, right] = drains;
    let ((out, fed), (left, left_done), (right, right_done)) = (feed.start(), left.start(), right.start());
    let tee = tee(branches);
    join(&tee.left, &left, None);
    join(&tee.right, &right, None);
    quiet().await;
    join(&out, &tee.inlet, None);
    let dropped = tee.dropped.clone();
    drop((out, left, right, tee));
    let ((left, l), (right, r)) = (in_time(left_done).await, in_time(right_done).await);
    ([left.expect("the part"), right.expect("the part")], [in_time(fed).await.1, l, r], dropped)
}

#[test]
fn a_branch_that_falls_too_far_behind_ends_unclean_and_holds_nobody_back() {
    run(async {
        tokio::time::pause();
        for piece in [997, 65_536] {
            let feed = Feed::new(1_000_000, piece);
            let drains = [Drain::new(&feed.produced), Drain::slow(&feed.produced)];
            let start = Instant::now();
            let branches = [Branch::wait(), Branch::detach(Window { quantity: 100_000, messages: 1000 })];
            let ([fast, slow], [_, fast_outcome, slow_outcome], [none, missed]) = teed(branches, feed, drains).await;
            assert!(fast_outcome.is_clean() && fast.position == 1_000_000, "{fast_outcome}");
            assert!(matches!(slow_outcome, Outcome::Ended { clean: false }), "{slow_outcome}");
            assert!(missed.is_detached() && !none.is_detached() && none.items() == 0, "{missed:?}");
            assert!(slow.position > 0, "what went before came whole");
            assert_eq!(slow.position + missed.quantity(), 1_000_000);
            let waited = start.elapsed();
            assert!(waited < Duration::from_millis(100), "held back for {waited:?}");
        }
    });
}

#[test]
fn a_branch_that_keeps_within_its_bound_gets_all() {
    run(async {
        tokio::time::pause();
        for piece in [1, 997, 65_536] {
            let total = if piece == 1 { 5_000 } else { 400_000 };
            let feed = Feed::new(total, piece);
            let drains = [Drain::new(&feed.produced), Drain::slow(&feed.produced)];
            let bound = Window { quantity: total, messages: 10_000 };
            let ([fast, slow], outcomes, [_, missed]) =
                teed([Branch::wait(), Branch::detach(bound)], feed, drains).await;
            assert!(outcomes.iter().all(Outcome::is_clean), "{outcomes:?}");
            assert_eq!((fast.position, slow.position), (total, total));
            assert!(!missed.is_detached() && missed.items() == 0, "{missed:?}");
        }
    });
}

#[test]
fn a_branch_behind_by_many_small_pieces_is_bounded_by_their_number() {
    run(async {
        tokio::time::pause();
        let feed = Feed::new(5_000, 1);
        let drains = [Drain::new(&feed.produced), Drain::slow(&feed.produced)];
        let bound = Window { quantity: 1 << 30, messages: 1000 };
        let (_, [_, fast, slow], [_, missed]) = teed([Branch::wait(), Branch::detach(bound)], feed, drains).await;
        assert!(fast.is_clean() && matches!(slow, Outcome::Ended { clean: false }), "{fast} {slow}");
        assert!(missed.is_detached() && missed.items() >= 1000, "{missed:?}");
    });
}

#[test]
fn an_abort_of_an_isolated_branch_is_its_own_and_of_a_dependent_one_takes_the_tee() {
    let behind = Window { quantity: 1 << 20, messages: 1000 };
    for (branch, goes_on) in [
        (Branch::drop(), true),
        (Branch::detach(behind), true),
        (Branch::wait().isolated(), true),
        (Branch::wait(), false),
        (Branch::drop().dependent(), false),
        (Branch::detach(behind).dependent(), false),
    ] {
        run(async {
            tokio::time::pause();
            let feed = Feed::new(1_000_000, 997);
            let ill = Drain { fail_at: 100_000, sparse: true, ..Drain::new(&feed.produced) };
            let drains = [Drain::new(&feed.produced), ill];
            let ([well, ill], [fed, well_outcome, ill_outcome], [_, missed]) =
                teed([Branch::wait(), branch], feed, drains).await;
            assert!(ill_outcome.to_string().contains("enough") && ill.position >= 100_000, "{ill_outcome}");
            for outcome in [fed, well_outcome] {
                assert_eq!(outcome.is_clean(), goes_on, "{branch:?}: {outcome}");
            }
            assert_eq!(well.position == 1_000_000, goes_on, "{branch:?}: {}", well.position);
            assert_eq!(missed.quantity() > 500_000, goes_on, "what the lost branch went without: {missed:?}");
            assert!(!missed.is_detached());
        });
    }
}

#[test]
fn a_lost_branch_can_be_attached_again_and_its_end_is_unclean() {
    run(async {
        tokio::time::pause();
        let (feed, produced) = (Feed::new(1_000_000, 997), Arc::<AtomicU64>::default());
        let (well, ill) = (Drain::slow(&feed.produced), Drain { fail_at: 1, ..Drain::new(&feed.produced) });
        let ((out, _), (well, well_done), (ill, ill_done)) = (feed.start(), well.start(), ill.start());
        let tee = tee([Branch::wait(), Branch::wait().isolated()]);
        join(&tee.left, &well, None);
        join(&tee.right, &ill, None);
        join(&out, &tee.inlet, None);
        assert!(matches!(in_time(ill_done).await.1, Outcome::Aborted(_)));
        quiet().await;
        produced.store(u64::MAX, Relaxed);
        let (next, next_done) = Drain { sparse: true, ..Drain::new(&produced) }.start();
        join(&tee.right, &next, None);
        let missed = tee.dropped[1].clone();
        drop((out, well, ill, next, tee));
        assert!(in_time(well_done).await.1.is_clean());
        let (next, outcome) = in_time(next_done).await;
        assert!(matches!(outcome, Outcome::Ended { clean: false }), "{outcome}");
        let (got, missed) = (next.expect("the part").position, missed.quantity());
        assert!(
            got > 0 && missed > 0 && got + missed < 1_000_000,
            "{got} + {missed}: what the first one had is not here"
        );
    });
}

#[test]
fn with_both_branches_lost_the_tee_is_aborted() {
    run(async {
        tokio::time::pause();
        let feed = Feed::new(u64::MAX, 997);
        let drains = [10_000, 50_000].map(|fail_at| Drain { fail_at, ..Drain::new(&feed.produced) });
        let (_, [fed, ..], _) = teed([Branch::drop(), Branch::drop()], feed, drains).await;
        assert!(fed.to_string().contains("both branches of the tee are lost"), "{fed}");
    });
}
