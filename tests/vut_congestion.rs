//! Congestion control of VUT's native profile: goodput over a grid of bad networks beside other transports, and fairness.
//!
//! `VERSILE_GRID=1 cargo test --release --features vut,testkit --test vut_congestion -- --nocapture` runs the whole grid and prints
//! it; otherwise a part of it runs. `VERSILE_GRID_ONLY=30m|100k|reorder|fair` runs one part. The rivals' figures are in `tests/golden/vut_rivals.csv`, which tells how they were measured.

#![cfg(all(feature = "vut", feature = "testkit"))]

use std::collections::BTreeMap;
use std::time::Duration;
use versile_io::proto::sim::flow::{Bench, Flow, path};
use versile_io::proto::sim::net::{Odds, Shape};
use versile_io::proto::vut::congestion::{Cubic, MakeController, Model, NewReno};

const OURS: [(&str, MakeController); 3] = [("model", Model::make), ("cubic", Cubic::make), ("newreno", NewReno::make)];

fn millis(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1e3)
}

/// One cell of the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cell {
    mbit: u64,
    rtt: u64,
    loss: f64,
    /// Percent held back by a quarter of the round trip.
    reorder: f64,
}

impl Cell {
    fn shape(self) -> Shape {
        let rtt = Duration::from_millis(self.rtt);
        path(self.mbit * 1_000_000, rtt, Odds::percent(self.loss), 1.0).reorder_by(Odds::percent(self.reorder), rtt / 4)
    }

    /// Seconds until all has arrived; the cap if it has not.
    fn time(self, make: MakeController, bytes: u64, seed: u64) -> f64 {
        let cap = Duration::from_secs(300);
        let flow = Flow::new(make, Duration::from_millis(self.rtt) / 2).bytes(bytes);
        let mut bench = Bench::new(seed, self.shape(), vec![flow]);
        bench.run(cap);
        bench.outcome(0).done.unwrap_or(cap).as_secs_f64()
    }

    /// Sorted times of some seeds.
    fn times(self, make: MakeController, bytes: u64, seeds: u64) -> Vec<f64> {
        let seeds = if self.loss == 0.0 && self.reorder == 0.0 { 1 } else { seeds };
        let mut times: Vec<f64> = (1..=seeds).map(|seed| self.time(make, bytes, seed)).collect();
        times.sort_by(f64::total_cmp);
        times
    }

    /// A sender that knows the path from the beginning: one and a half round trips, and the octets at the full rate, each lost one again.
    fn ideal(self, bytes: u64) -> f64 {
        let wire = bytes as f64 * 1500.0 / 1436.0 / (1.0 - self.loss / 100.0);
        self.rtt as f64 * 1.5e-3 + wire * 8.0 / (self.mbit as f64 * 1e6)
    }
}

fn grid() -> Vec<Cell> {
    let mut cells = Vec::new();
    for mbit in [10, 100, 1000] {
        for rtt in [1, 20, 80, 200] {
            for loss in [0.0, 0.1, 1.0, 3.0] {
                cells.push(Cell { mbit, rtt, loss, reorder: 0.0 });
            }
        }
    }
    cells
}

fn whole(part: &str) -> bool {
    std::env::var_os("VERSILE_GRID").is_some()
        && std::env::var("VERSILE_GRID_ONLY").map_or(true, |only| only.split(',').any(|only| only == part))
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

fn p95(sorted: &[f64]) -> f64 {
    sorted[(sorted.len() * 95 / 100).min(sorted.len() - 1)]
}

#[test]
fn tune_grid() {
    if whole("30m") {
        for cell in grid() {
            print!("{:>4} {:>3} {:>3} ideal {:>7.2}", cell.mbit, cell.rtt, cell.loss, 240.0 / cell.ideal(30_000_000));
            for (name, make) in OURS {
                if name != "newreno" {
                    print!(" {name} {:>7.2}", 240.0 / median(&cell.times(make, 30_000_000, 3)));
                }
            }
            println!();
        }
    }
    if whole("100k") {
        for cell in grid() {
            print!("{:>4} {:>3} {:>3} ideal {:>7.1}", cell.mbit, cell.rtt, cell.loss, 1e3 * cell.ideal(100_000));
            for (name, make) in OURS {
                let times = cell.times(make, 100_000, 40);
                print!(" {name} {:>7.1} [{:.1}]", 1e3 * median(&times), 1e3 * p95(&times));
            }
            println!();
        }
    }
}

/// Shares of the link, over 60 s.
fn shares(flows: &[(MakeController, u64)], mbit: u64, rtt: u64, queue: f64, seed: u64) -> Vec<f64> {
    let base = Duration::from_millis(rtt);
    let shape = path(mbit * 1_000_000, base, Odds::NEVER, queue);
    let flows = flows.iter().map(|(make, extra)| Flow::new(*make, base / 2 + Duration::from_millis(*extra))).collect();
    let mut bench = Bench::new(seed, shape, flows);
    bench.run(Duration::from_secs(60));
    bench.since_last().iter().map(|got| *got as f64 * 8.0 / 60.0 / (mbit as f64 * 1e6)).collect()
}

#[test]
fn tune_fair() {
    if !whole("fair") {
        return;
    }
    let m: MakeController = Model::make;
    let c: MakeController = Cubic::make;
    for (mbit, rtt) in [(20, 20), (20, 80), (100, 20), (100, 80), (50, 40)] {
        for queue in [0.5, 1.0, 4.0] {
            let mm = shares(&[(m, 0), (m, 0)], mbit, rtt, queue, 1);
            let mc = shares(&[(m, 0), (c, 0)], mbit, rtt, queue, 1);
            let cc = shares(&[(c, 0), (c, 0)], mbit, rtt, queue, 1);
            let more: Vec<String> = (1..=4)
                .map(|n| {
                    let base = millis(rtt as f64);
                    let flows = vec![
                        Flow::new(m, base / 2),
                        Flow::new(m, base / 2).start(versile_io::proto::time::Time::from_millis(n * 137)),
                    ];
                    let mut bench = Bench::new(n, path(mbit * 1_000_000, base, Odds::NEVER, queue), flows);
                    bench.run(Duration::from_secs(60));
                    let s: Vec<f64> = bench.since_last().iter().map(|x| *x as f64).collect();
                    let j = s.iter().sum::<f64>().powi(2) / 2.0 / s.iter().map(|x| x * x).sum::<f64>();
                    format!("{j:.2}")
                })
                .collect();
            print!("{more:?} ");
            let jain =
                |s: &[f64]| s.iter().sum::<f64>().powi(2) / s.len() as f64 / s.iter().map(|x| x * x).sum::<f64>();
            println!(
                "{mbit} {rtt} {queue}: mm {:.2?} jain {:.3}; mc {:.2?}; cc {:.2?} {:.3}",
                mm,
                jain(&mm),
                mc,
                cc,
                jain(&cc)
            );
        }
    }
}

#[test]
fn tune_trace() {
    let Ok(spec) = std::env::var("TRACE") else { return };
    let n: Vec<f64> = spec.split(',').map(|x| x.parse().expect("number")).collect();
    let cell = Cell { mbit: n[0] as u64, rtt: n[1] as u64, loss: n[2], reorder: n[3] };
    let flow = Flow::new(Model::make, Duration::from_millis(cell.rtt) / 2).bytes(n[4] as u64);
    let mut bench = Bench::new(1, cell.shape(), vec![flow]);
    for _ in 0..n[6] as u64 {
        bench.run(millis(n[5]));
        let got = bench.since_last()[0] as f64 * 8.0 / n[5] / 1e3;
        let (window, rate, state) = bench.controller(0);
        let o = bench.outcome(0);
        println!(
            "{:?} {got:.2} Mbit/s window {} rate {:.2} {} high {:?} backlog {} lost {} spurious {} again {} done {:?}",
            bench.now(),
            window / 1472,
            rate.unwrap_or(0) as f64 * 8.0 / 1e6,
            state.phase,
            state.threshold.map(|t| t / 1472),
            bench.backlog() / 1500,
            o.lost / 1472,
            o.spurious / 1472,
            o.again,
            o.done
        );
        if o.done.is_some() {
            break;
        }
    }
}

#[test]
fn tune_pair() {
    let Ok(spec) = std::env::var("PAIR") else { return };
    let n: Vec<f64> = spec.split(',').map(|x| x.parse().expect("number")).collect();
    let base = Duration::from_millis(n[1] as u64);
    let second: MakeController = if n[3] > 0.0 { Cubic::make } else { Model::make };
    let flows = vec![
        Flow::new(Model::make, base / 2),
        Flow::new(second, base / 2).start(versile_io::proto::time::Time::from_millis(n[6] as u64)),
    ];
    let mut bench = Bench::new(1, path(n[0] as u64 * 1_000_000, base, Odds::NEVER, n[2]), flows);
    for _ in 0..n[5] as u64 {
        bench.run(millis(n[4]));
        let got: Vec<u64> = bench.since_last().iter().map(|got| got * 8 / n[4] as u64 / 1000).collect();
        print!("{:?} {got:?} backlog {}", bench.now(), bench.backlog() / 1500);
        for f in 0..2 {
            let (window, rate, state) = bench.controller(f);
            print!(
                " | {} {} {:.1} {} {:?}",
                bench.outcome(f).lost / 1472,
                window / 1472,
                rate.unwrap_or(0) as f64 * 8.0 / 1e6,
                state.phase,
                state.threshold.map(|t| t / 1472)
            );
        }
        println!();
    }
}
