//! The plan of a splice under thousands of schedules in virtual time: chains of the sans-IO ports, with filters that hold partial
//! frames, one-way and two-way, spliced once or several times, here and there at once, while components refuse, are late or die.
//!
//! Whatever the schedule: no byte is lost, doubled or reordered; a splice that was not made leaves the chain as it was, or the
//! chain is gone as a whole, with a cause; nothing waits for ever. A failure prints its seed, the ladder and the steps.
//! `VERSILE_SEEDS=n` sets how many seeds each test gets (default 120); `VERSILE_SEED=n` runs that seed alone.
#![cfg(feature = "testkit")]

#[path = "support/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::time::Duration;
use versile_io::proto::link::Window;
use versile_io::proto::sim::{Delays, Rng};
use versile_io::proto::splice::{Change, End, Plan, Ways};
use world::{Flow, Manner, Port, Role, Timer, World};

fn seeds(test: impl Fn(u64, &mut Tally)) -> Tally {
    let number = |name| std::env::var(name).ok().and_then(|n: String| n.parse().ok());
    let range: std::ops::Range<u64> = match number("VERSILE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("VERSILE_SEEDS").unwrap_or(120),
    };
    let mut tally = Tally { seeds: range.end - range.start, ..Tally::default() };
    for seed in range {
        let told = Told(seed);
        test(seed, &mut tally);
        std::mem::forget(told);
    }
    println!("{tally:?}");
    tally
}

/// Names the seed of a run that panics.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("VERSILE_SEED={}", self.0);
    }
}

/// What came about, so that a test can tell that all of it does.
#[derive(Debug, Default)]
struct Tally {
    seeds: u64,
    ends: BTreeMap<(String, String), u64>,
    steps: BTreeMap<String, u64>,
    whole: u64,
    broken: u64,
}

/// A chain that is spliced.
struct Chain {
    world: World,
    ways: Ways,
    window: Window,
    /// From P to C.
    order: Vec<usize>,
    total: u64,
    killed: Vec<usize>,
    occupied: Vec<usize>,
    made: usize,
}

impl Chain {
    fn new(seed: u64, ways: Ways, filters: usize) -> Self {
        let mut rng = Rng::new(seed ^ 0x5EED);
        let delays = Delays::millis(0, rng.magnitude(20));
        let window = Window { quantity: rng.magnitude(60), messages: rng.between(1, 8) };
        let total = rng.between(0, 3000);
        let world = World::new(seed, delays);
        let mut chain =
            Self { world, ways, window, order: Vec::new(), total, killed: Vec::new(), occupied: Vec::new(), made: 0 };
        let source = Role::Source { total };
        let (mut p, mut c) = (vec![chain.flow(source, 0)], vec![chain.flow(Role::Sink, 0)]);
        if ways == Ways::Both {
            p.push(chain.flow(Role::Sink, 1));
            c.push(chain.flow(source, 1));
        }
        let plain = Manner { frame: 1, has_state: false, strict: false };
        let p = chain.world.node("P", plain, p);
        chain.order.push(p);
        for _ in 0..filters {
            let n = chain.filter();
            chain.order.push(n);
        }
        let c = chain.world.node("C", plain, c);
        chain.order.push(c);
        for pair in chain.order.clone().windows(2) {
            chain.world.join((pair[0], 0), (pair[1], 0));
            if ways == Ways::Both {
                chain.world.join((pair[1], 1), (pair[0], 1));
            }
        }
        chain
    }

    fn flow(&self, role: Role, stream: usize) -> Flow {
        Flow::new(role, stream, self.window)
    }

    fn filter(&mut self) -> usize {
        let rng = &mut self.world.rng;
        // often the same, so that a state is of use
        let frame = if rng.chance(70) { 7 } else { rng.magnitude(40) as usize };
        let manner = Manner { frame, has_state: rng.chance(80), strict: rng.chance(15) };
        let flows = self.ways.each().iter().enumerate().map(|(stream, _)| self.flow(Role::Filter, stream)).collect();
        self.made += 1;
        let name = format!("f{}", self.made);
        self.world.node(&name, manner, flows)
    }

    /// Plans a splice at a place that is drawn: the component number `at` in the chain, or the link before it.
    fn splice(&mut self, change: Change, at: usize) -> usize {
        let (before, after) = match change {
            Change::Insert => (self.order[at - 1], self.order[at]),
            _ => (self.order[at - 1], self.order[at + 1]),
        };
        let lanes: Vec<(Port, Port, usize)> =
            [((before, 0), (after, 0), 0), ((after, 1), (before, 1), 1)][..self.ways.each().len()].into();
        let old = (change != Change::Insert).then(|| self.order[at]);
        let new = (change != Change::Remove).then(|| self.filter());
        if let (Some(new), true) = (new, self.world.rng.chance(10)) {
            self.occupy(new);
        }
        let within = Duration::from_millis(self.world.rng.magnitude(2_000));
        let plan = Plan::new(change, self.ways);
        let begin = self.world.now + Duration::from_micros(self.world.rng.magnitude(60_000));
        let splice = self.world.plan(plan, lanes, old, new, within);
        self.world.at(begin, Timer::Splice(splice));
        splice
    }

    /// One of its ports is joined to somebody else already.
    fn occupy(&mut self, new: usize) {
        let flow = self.flow(Role::Filter, 0);
        let other = self.world.node("other", Manner { frame: 1, has_state: false, strict: false }, vec![flow]);
        let side = self.ways.each().len() - 1;
        match self.world.rng.chance(50) {
            true => self.world.join((new, side), (other, 0)),
            false => self.world.join((other, 0), (new, side)),
        };
        self.occupied.push(new);
    }

    /// A change at random that touches nothing of `taken`, and where.
    fn draw(&mut self, taken: &[usize]) -> Option<(Change, usize, Vec<usize>)> {
        let rng = &mut self.world.rng;
        let mut all: Vec<(Change, usize, Vec<usize>)> = Vec::new();
        for at in 1..self.order.len() {
            all.push((Change::Insert, at, self.order[at - 1..=at].into()));
            if at + 1 < self.order.len() {
                all.push((Change::Remove, at, self.order[at - 1..=at + 1].into()));
                all.push((Change::Replace, at, self.order[at - 1..=at + 1].into()));
            }
        }
        all.retain(|(_, _, members)| !members.iter().any(|member| taken.contains(member)));
        (!all.is_empty()).then(|| all.swap_remove(rng.below(all.len() as u64) as usize))
    }

    /// One or several splices at once, up to their ends.
    fn round(&mut self, several: bool, tally: &mut Tally) {
        let mut taken = Vec::new();
        let mut begun = Vec::new();
        for _ in 0..if several { 3 } else { 1 } {
            if let Some((change, at, members)) = self.draw(&taken) {
                taken.extend(members);
                begun.push((self.splice(change, at), change));
            }
        }
        let numbers: Vec<usize> = begun.iter().map(|(n, _)| *n).collect();
        self.world.run_until(|world| numbers.iter().all(|n| world.splices[*n].end.is_some()));
        for (n, change) in begun {
            let splice = &self.world.splices[n];
            let end = splice.end.unwrap_or_else(|| panic!("stuck at {:?}", splice.steps.last()));
            *tally.ends.entry((format!("{change:?}"), format!("{end:?}"))).or_default() += 1;
            for step in &splice.steps {
                *tally.steps.entry(step.split(' ').next().unwrap_or("").into()).or_default() += 1;
            }
            if end == End::Made {
                let (old, new, before) = (splice.old, splice.new, splice.lanes[0].0.0);
                self.order.retain(|member| Some(*member) != old);
                let at = self.order.iter().position(|member| *member == before).expect("in the chain");
                self.order.splice(at + 1..at + 1, new);
            }
            // whoever is out of the chain has nothing of it
            let splice = &self.world.splices[n];
            let (out, is_new) = if end == End::Made { (splice.old, false) } else { (splice.new, true) };
            if let (Some(out), false) = (out, end == End::Broken)
                && !self.killed.contains(&out)
                && !self.occupied.contains(&out)
            {
                self.clear_later(out, is_new);
            }
        }
    }

    /// What it was told last may be on its way yet.
    fn clear_later(&mut self, out: usize, is_new: bool) {
        let when = self.world.now + Duration::from_millis(100);
        self.world.at(when, Timer::TimeOut(0));
        self.world.run_until(|world| world.now >= when);
        let node = &self.world.nodes[out];
        let clear = node.flows.iter().all(Flow::is_clear);
        assert!(clear || !node.alive, "{} has something of the chain (new: {is_new})", node.name);
    }

    fn kill(&mut self, n: usize) {
        let when = Duration::from_micros(self.world.rng.magnitude(100_000));
        self.world.at(when, Timer::Kill(n));
        self.killed.push(n);
    }

    /// Runs to the end: all has arrived, or all are gone.
    fn finish(&mut self, tally: &mut Tally) {
        self.world.run();
        let gone: Vec<bool> = self.order.iter().map(|n| self.world.nodes[*n].cause.is_some()).collect();
        if gone.iter().any(|gone| *gone) {
            tally.broken += 1;
            for n in &self.order {
                let node = &self.world.nodes[*n];
                assert!(!node.alive, "{} is left of a chain that broke", node.name);
            }
            let broken = self.world.splices.iter().any(|splice| splice.end == Some(End::Broken));
            assert!(broken || !self.killed.is_empty(), "broken, and nobody was killed");
            return;
        }
        tally.whole += 1;
        for n in &self.order {
            let node = &self.world.nodes[*n];
            for flow in &node.flows {
                assert!(flow.over, "{} waits: {:?} {:?}", node.name, flow.inlet.phase(), flow.outlet.phase());
                if flow.role == Role::Sink {
                    assert_eq!(flow.at, self.total, "{} has received all", node.name);
                }
            }
        }
    }
}

fn calm(seed: u64, ways: Ways, tally: &mut Tally) {
    let filters = 1 + (seed % 4) as usize;
    let mut chain = Chain::new(seed, ways, filters);
    for _ in 0..1 + seed % 5 {
        chain.round(seed.is_multiple_of(2), tally);
    }
    chain.finish(tally);
}

fn stormy(seed: u64, ways: Ways, tally: &mut Tally) {
    let mut chain = Chain::new(seed, ways, 1 + (seed % 3) as usize);
    for _ in 0..1 + chain.world.rng.below(2) {
        // one of the chain, or one that may come
        let n = chain.world.rng.below(chain.order.len() as u64 + 2) as usize;
        if n < chain.world.nodes.len() {
            chain.kill(n);
        } else {
            let spare = chain.filter();
            chain.kill(spare);
        }
    }
    chain.round(seed.is_multiple_of(2), tally);
    chain.finish(tally);
}

fn met(tally: &Tally, change: &str, end: &str) -> u64 {
    tally.ends.get(&(change.into(), end.into())).copied().unwrap_or(0)
}

fn check_calm(tally: &Tally) {
    assert_eq!(tally.broken, 0, "nobody died: {tally:?}");
    if tally.seeds >= 100 {
        for change in ["Insert", "Remove", "Replace"] {
            assert!(met(tally, change, "Made") > tally.seeds / 6, "{change}: {tally:?}");
            assert!(met(tally, change, "Kept") > tally.seeds / 20, "{change}: {tally:?}");
        }
        for step in ["PutState", "Flush", "Settle", "Withdraw"] {
            assert!(tally.steps[step] > tally.seeds / 20, "{step}: {tally:?}");
        }
    }
}

fn check_stormy(tally: &Tally) {
    if tally.seeds >= 100 {
        for change in ["Insert", "Remove", "Replace"] {
            for end in ["Made", "Broken"] {
                assert!(met(tally, change, end) > 0, "{change} {end}: {tally:?}");
            }
        }
        assert!(tally.whole > tally.seeds / 15 && tally.broken > tally.seeds / 3, "{tally:?}");
    }
}

#[test]
fn splices_of_one_way_lose_nothing() {
    check_calm(&seeds(|seed, tally| calm(seed, Ways::One, tally)));
}

#[test]
fn splices_of_two_ways_lose_nothing_in_either() {
    check_calm(&seeds(|seed, tally| calm(seed, Ways::Both, tally)));
}

#[test]
fn a_chain_of_one_way_in_which_somebody_dies_goes_on_or_is_gone_as_a_whole() {
    check_stormy(&seeds(|seed, tally| stormy(seed, Ways::One, tally)));
}

#[test]
fn a_chain_of_two_ways_in_which_somebody_dies_goes_on_or_is_gone_as_a_whole() {
    check_stormy(&seeds(|seed, tally| stormy(seed, Ways::Both, tally)));
}
