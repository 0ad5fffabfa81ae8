//! Flows over a simulated bottleneck.

use super::*;
use crate::proto::vut::congestion::{Cubic, NewReno};

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn a_flow_fills_its_link_and_the_same_seed_runs_the_same() {
    let run = |seed| {
        let shape = path(10_000_000, MS(20), Odds::percent(0.5), 1.0);
        let mut bench = Bench::new(seed, shape, vec![Flow::new(NewReno::make, MS(10)).bytes(2_000_000)]);
        bench.run(Duration::from_secs(60));
        bench.outcome(0)
    };
    let outcome = run(1);
    assert_eq!(outcome, run(1));
    assert_ne!(outcome, run(2));
    assert_eq!(outcome.received, 2_000_000);
    assert!(outcome.lost > 0 && outcome.again > 0, "{outcome:?}");
    let done = outcome.done.expect("in a minute");
    assert!((MS(1700)..MS(3000)).contains(&done), "{done:?}");
}

#[test]
fn two_of_a_kind_share_a_link() {
    let flows = vec![Flow::new(Cubic::make, MS(20)); 2];
    let mut bench = Bench::new(1, path(20_000_000, MS(40), Odds::NEVER, 1.0), flows);
    bench.run(Duration::from_secs(30));
    let got = bench.since_last();
    let used = got.iter().sum::<u64>() as f64 * 8.0 / 30.0 / 20e6;
    assert!(used > 0.9, "{used}");
    assert!(got[0] < got[1] * 2 && got[1] < got[0] * 2, "{got:?}");
}
