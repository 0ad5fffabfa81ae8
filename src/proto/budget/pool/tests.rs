//! Under seeded schedules: never above the total, nobody starves, and all comes back. `VERSILE_SEEDS` sets how many.

use super::*;
use crate::proto::sim::Rng;
use proptest::prelude::*;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

fn seeds(default: u64) -> u64 {
    std::env::var("VERSILE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// A member as its owner sees it.
#[derive(Clone, Copy, Debug)]
struct Seat {
    id: MemberId,
    unit: u64,
    window: u64,
    /// What it knows to have.
    has: u64,
    stuck: bool,
}

/// A pool, its members, and what each knows.
struct World {
    rng: Rng,
    pool: Pool,
    seats: Vec<Seat>,
    /// Looks at all members once in so many steps: with many of them it takes long.
    every: u64,
    steps: u64,
}

impl World {
    fn new(seed: u64, total: u64) -> Self {
        Self { rng: Rng::new(seed), pool: Pool::new(total), seats: Vec::new(), every: 1, steps: 0 }
    }

    fn join(&mut self, window: u64, stuck: bool) -> usize {
        self.join_with(window, stuck, 1, 1)
    }

    fn join_with(&mut self, window: u64, stuck: bool, priority: u32, unit: u64) -> usize {
        let id = self.pool.join(priority, unit);
        self.seats.push(Seat { id, unit, window, has: 0, stuck });
        self.look();
        self.seats.len() - 1
    }

    /// Takes what it can get.
    fn take(&mut self, n: usize) -> u64 {
        let Seat { id, window, has, .. } = self.seats[n];
        let now = self.pool.take(id, has, window);
        assert!(now >= has, "credit once granted is never taken back");
        assert!(now <= window.max(has), "{now} is more than wished");
        assert_eq!((now - has) % self.seats[n].unit, 0);
        self.seats[n].has = now;
        self.settle_wakes();
        now
    }

    /// Finishes with some of what it has, and says so.
    fn finish(&mut self, n: usize, quantity: u64) {
        self.seats[n].has -= quantity;
        self.pool.settle(self.seats[n].id, self.seats[n].has);
        self.settle_wakes();
    }

    fn leave(&mut self, n: usize) {
        let seat = self.seats.swap_remove(n);
        self.pool.leave(seat.id);
        self.settle_wakes();
    }

    /// Those that are woken take, as their ports do.
    fn settle_wakes(&mut self) {
        while let Some(id) = self.pool.poll_wake() {
            let n = self.seats.iter().position(|seat| seat.id == id).expect("only members are woken");
            let Seat { has, window, .. } = self.seats[n];
            self.seats[n].has = self.pool.take(id, has, window);
            assert!(self.seats[n].has > has, "woken for something");
        }
        self.look();
    }

    /// The pool's count is that of an observer who asks each member, and never more than the total.
    fn look(&mut self) {
        assert!(self.pool.outstanding() <= self.pool.total());
        self.steps += 1;
        if !self.steps.is_multiple_of(self.every) {
            return;
        }
        self.pool.check_sums();
        let known: u64 = self.seats.iter().map(|seat| seat.has).sum();
        assert_eq!(known, self.pool.outstanding());
        assert!(known <= self.pool.total());
    }

    /// A member that moves: it finishes with all it has, and takes again.
    fn cycle(&mut self, n: usize) -> u64 {
        self.finish(n, self.seats[n].has);
        self.take(n)
    }
}

#[test]
fn never_above_the_total_and_all_comes_back() {
    for seed in 0..seeds(400) {
        let mut rng = Rng::new(seed);
        let total = rng.magnitude(64 * MIB);
        let mut world = World::new(seed ^ 0xB0D6E7, total);
        for _ in 0..300 {
            let count = world.seats.len() as u64;
            match world.rng.below(10) {
                0 | 1 if count < 80 => {
                    let (window, stuck) = (world.rng.magnitude(MIB), world.rng.chance(50));
                    let (priority, unit) = (world.rng.magnitude(100) as u32, world.rng.magnitude(64));
                    world.join_with(window / unit * unit, stuck, priority, unit.min(total));
                }
                2 if count > 0 => {
                    let n = world.rng.below(count) as usize;
                    world.leave(n);
                }
                3..7 if count > 0 => {
                    let n = world.rng.below(count) as usize;
                    world.take(n);
                }
                _ if count > 0 => {
                    let n = world.rng.below(count) as usize;
                    let Seat { unit, has, stuck, .. } = world.seats[n];
                    if !stuck {
                        let units = world.rng.between(0, has / unit);
                        world.finish(n, units * unit);
                    }
                }
                _ => {}
            }
        }
        while !world.seats.is_empty() {
            world.leave(0);
        }
        assert_eq!((world.pool.outstanding(), world.pool.waiting(), world.pool.members()), (0, 0, 0), "seed {seed}");
        assert_eq!(world.pool.aside, 0);
        assert!(world.pool.peak() <= total);
    }
}

/// Joins come at any time, most members never finish with anything, or stop after a while; and a few move on all the time.
#[test]
fn who_moves_is_given_something_each_time_though_all_others_are_stuck() {
    for seed in 0..seeds(30) {
        let mut rng = Rng::new(seed);
        let total = rng.between(MIB, 64 * MIB);
        let mut world = World::new(seed ^ 0x57A7, total);
        world.every = 97;
        let mut movers = vec![world.join(256 * KIB, false)];
        for step in 0..600 {
            let window = world.rng.magnitude(256 * KIB);
            let n = world.join(window, true);
            world.take(n);
            // it moves before it is stuck, and so earns more
            for _ in 0..world.rng.below(20) {
                world.cycle(n);
            }
            if step % 100 == 50 {
                movers.push(world.join(256 * KIB, false));
            }
            for mover in movers.clone() {
                let got = world.cycle(mover);
                assert!(got > 0, "seed {seed}: {mover} was given nothing at step {step}");
            }
        }
        // what is left to one that moves among 600 that are stuck
        let least = movers.iter().map(|mover| world.seats[*mover].has).min().expect("some");
        assert!(least >= total / 64 / 1024, "seed {seed}: {least} of {total}");
    }
}

/// More members than bytes: no guarantee fits, so the queue alone decides.
#[test]
fn first_come_first_served_where_not_even_a_byte_for_each_is_there() {
    let mut world = World::new(1, 10);
    for n in 0..30 {
        world.join(4, false);
        world.take(n);
    }
    assert!(world.pool.waiting() >= 20, "{}", world.pool.waiting());
    // each in its turn: nobody is given a second time before all that waited were given once
    let mut served = vec![0; 30];
    let mut last = 0;
    for step in 0..300 {
        let n = (0..30).find(|n| world.seats[(last + n) % 30].has > 0).map(|n| (last + n) % 30).expect("somebody");
        last = n + 1;
        served[n] += 1;
        world.cycle(n);
        let (least, most) = (served.iter().min().expect("some"), served.iter().max().expect("some"));
        assert!(most - least <= 4, "step {step}: {served:?}");
    }
}

/// How little is left for who comes after so many, each of which took all it could get before it was stuck.
#[test]
fn who_comes_last_is_still_given_its_guarantee() {
    for (total, least) in [(64 * MIB, 2 * KIB), (4 * MIB, 128), (MIB, 32)] {
        let mut world = World::new(1, total);
        world.every = 997;
        let mut given = Vec::new();
        for _ in 0..1024 {
            let n = world.join(256 * KIB, true);
            world.take(n);
            for _ in 0..40 {
                world.cycle(n);
            }
            given.push(world.seats[n].has);
        }
        let picked: Vec<u64> = (0..11).map(|n| given[(1 << n) - 1]).collect();
        println!("of {total}: {picked:?}, free {}", total - world.pool.outstanding());
        assert!(given.iter().all(|given| *given >= least), "{total}: {picked:?}");
        let first = world.cycle(0);
        assert!(first >= least, "{first}");
    }
}

#[test]
fn a_thousand_that_never_move_hold_little_and_leave_the_others_the_rest() {
    let mut world = World::new(1, 64 * MIB);
    world.every = 100;
    for n in 0..1000 {
        world.join(256 * KIB, true);
        world.take(n);
        assert!(world.seats[n].has <= START);
    }
    assert!(world.pool.outstanding() <= 1000 * START);
    let fast = world.join(256 * KIB, false);
    for _ in 0..10 {
        world.cycle(fast);
    }
    assert_eq!(world.seats[fast].has, 256 * KIB, "one that moves has its whole window");
}

#[test]
fn one_alone_has_its_window_and_no_more() {
    let mut world = World::new(1, 64 * MIB);
    let n = world.join(MIB, false);
    assert_eq!(world.take(n), START, "it begins small");
    let rounds: Vec<u64> = (0..7).map(|_| world.cycle(n)).collect();
    assert_eq!(rounds, [32, 64, 128, 256, 512, 1024, 1024].map(|k| k * KIB));
    assert_eq!(world.pool.standing(world.seats[n].id), Standing::Served);
}

#[test]
fn greedy_ones_share_by_priority() {
    let mut world = World::new(1, 16 * MIB);
    world.every = 100;
    for n in 0..300 {
        world.join_with(16 * MIB, false, if n < 100 { 4 } else { 1 }, 1);
    }
    for _ in 0..60 {
        for n in 0..300 {
            let half = world.seats[n].has / 2;
            world.finish(n, half);
            world.take(n);
        }
    }
    let mean =
        |range: std::ops::Range<usize>| range.clone().map(|n| world.seats[n].has).sum::<u64>() / range.len() as u64;
    let (high, low) = (mean(0..100), mean(100..300));
    assert!((30..=50).contains(&(high * 10 / low)), "four times as much, about: {high} and {low}");
    let all = world.pool.outstanding();
    assert!(all > 11 * MIB && all < 13 * MIB, "73 % of 16 MiB, about: {all}");
    assert_eq!(world.pool.standing(world.seats[0].id), Standing::Short);
}

/// The slow ones are a third of the traffic together, and each of them a thousandth of the fast one.
#[test]
fn a_fast_one_has_its_window_beside_a_thousand_slow_ones_that_would_have_all_they_can_get() {
    let mut world = World::new(1, 32 * MIB);
    world.every = 997;
    let fast = world.join(256 * KIB, false);
    for _ in 0..1000 {
        let n = world.join(256 * KIB, false);
        world.take(n);
    }
    let mut had = Vec::new();
    for round in 0..2000 {
        had.push(world.cycle(fast));
        for n in (1..=1000).skip(round % 10).step_by(10) {
            let some = world.seats[n].has.min(512);
            world.finish(n, some);
            world.take(n);
        }
    }
    let slow: u64 = world.seats[1..].iter().map(|seat| seat.has).sum::<u64>() / 1000;
    let mean = had.iter().sum::<u64>() / 2000;
    assert!(mean > 200 * KIB && had.last() == Some(&(256 * KIB)), "{mean} in the mean; the slow ones have {slow}");
    assert!(slow < 24 * KIB, "{slow}");
}

#[test]
fn who_slows_down_shrinks_as_the_budget_is_turned_over() {
    let mut world = World::new(1, MIB);
    let (slow, fast) = (world.join(MIB, false), world.join(MIB, false));
    for _ in 0..20 {
        world.cycle(slow);
        world.cycle(fast);
    }
    let before = world.seats[slow].has;
    assert!(before > 64 * KIB, "{before}");
    // some bytes at a time, while the other turns the budget over
    for _ in 0..1000 {
        world.finish(slow, world.seats[slow].has.min(512));
        world.take(slow);
        world.cycle(fast);
    }
    let after = world.seats[slow].has;
    assert!(after < START + 4 * KIB, "one that finishes with little is given little: {after}");
    assert!(world.seats[fast].has > before, "and what it has not is the other's");
}

#[test]
fn one_that_waits_is_given_what_comes_free_before_others_that_have_something() {
    let mut world = World::new(1, 4);
    let (a, b, c) = (world.join(4, false), world.join(4, false), world.join(4, false));
    // more members than the pool has room for: four units, and five of them
    let (d, e) = (world.join(4, false), world.join(4, false));
    for n in [a, b, c, d] {
        assert_eq!(world.take(n), 1);
    }
    assert_eq!(world.take(e), 0);
    assert_eq!(world.pool.standing(world.seats[e].id), Standing::Waiting);
    world.finish(a, 1);
    assert_eq!(world.seats[e].has, 1, "it was woken");
    assert_eq!(world.take(a), 0);
    world.leave(d);
    assert_eq!(world.seats[a].has, 1);
}

#[test]
fn one_that_wishes_for_nothing_does_not_wait() {
    let mut pool = Pool::new(1);
    let (a, b) = (pool.join(1, 1), pool.join(1, 1));
    assert_eq!((pool.take(a, 0, 5), pool.take(b, 0, 5)), (1, 0));
    assert_eq!(pool.waiting(), 1);
    assert_eq!(pool.take(b, 0, 0), 0);
    assert_eq!((pool.waiting(), pool.standing(b)), (0, Standing::Served));
    pool.settle(a, 0);
    assert_eq!((pool.poll_wake(), pool.outstanding()), (None, 0));
}

#[test]
fn a_gift_that_was_not_fetched_comes_back() {
    let mut pool = Pool::new(1);
    let (a, b) = (pool.join(1, 1), pool.join(1, 1));
    assert_eq!((pool.take(a, 0, 5), pool.take(b, 0, 5)), (1, 0));
    pool.settle(a, 0);
    assert_eq!((pool.poll_wake(), pool.outstanding()), (Some(b), 1));
    // it does not know of it yet, and what it says it has left does not give it back
    pool.settle(b, 0);
    assert_eq!(pool.outstanding_of(b), 1);
    // neither when it wants nothing any more
    assert_eq!((pool.take(b, 0, 0), pool.outstanding()), (0, 0));
    pool.leave(b);
    assert_eq!((pool.outstanding(), pool.members()), (0, 1));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// However a total and the members' windows are, what each has is at most its wish, and all of it at most the total.
    #[test]
    fn what_is_given_fits(total in 1u64..1 << 40, windows in prop::collection::vec(1u64..1 << 32, 1..40)) {
        let mut world = World::new(0, total);
        for (n, window) in windows.iter().enumerate() {
            world.join(*window, false);
            world.take(n);
        }
        for round in 0..3 * windows.len() {
            world.cycle(round % windows.len());
        }
        world.look();
    }
}
