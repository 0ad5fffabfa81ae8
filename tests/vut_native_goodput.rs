//! How much of a link the native profile uses, on a few cells of the grid: at least eight tenths of what its loss detection and congestion
//! control reach alone, without datagrams ([`Bench`]). Whatever the connection adds (handshake, search of the datagram size, WINDOW, closing) costs no more than
//! that. The figures with `--nocapture`.
#![cfg(all(feature = "vut", feature = "testkit"))]

#[expect(dead_code, reason = "shared by several tests")]
#[path = "support/vut_sim.rs"]
mod sim;

use sim::{App, World};
use std::time::Duration;
use versile_io::proto::sim::flow::{Bench, Flow};
use versile_io::proto::sim::net::{Net, Odds, Shape};
use versile_io::proto::time::Time;
use versile_io::proto::vut::Config;
use versile_io::proto::vut::Profile;
use versile_io::proto::vut::congestion::{Cubic, MakeController, NewReno};

/// A cell: megabits per second, round trip in milliseconds, percent lost, octets.
const CELLS: [(u64, u64, f64, u64); 6] = [
    (10, 20, 0.0, 3_000_000),
    (100, 20, 0.0, 10_000_000),
    (100, 80, 0.0, 10_000_000),
    (100, 20, 0.1, 10_000_000),
    (100, 80, 1.0, 3_000_000),
    (10, 80, 3.0, 1_000_000),
];

/// Runs of a cell with loss, which chance decides: their mean is compared.
const RUNS: u64 = 4;

fn shape(rate: u64, round_trip: u64, loss: f64) -> Shape {
    Shape::new(Duration::from_millis(round_trip / 2))
        .rate(rate * 1_000_000)
        .queue(rate * 125 * round_trip)
        .loss(Odds::percent(loss))
        .mtu(1472)
}

fn megabits(octets: u64, took: Duration) -> f64 {
    octets as f64 * 8.0 / took.as_secs_f64() / 1e6
}

/// Of `octets` from A to B.
fn connection(make: MakeController, shape: &Shape, octets: u64, seed: u64) -> f64 {
    let config = Config { controller: make, ..Config::default() };
    let a = App { chunk: 262_144, ..App::new(octets) };
    let b = App { window: 16 << 20, ..App::new(0) };
    let mut world = World::config(Profile::Native, config, Net::new(seed, shape.clone(), shape.clone()), a, b);
    let done = world.run_until(Time::from_secs(600), |world| world.ends[1].read == octets);
    assert!(done, "{}", world.summary());
    megabits(octets, world.now.since_start())
}

fn alone(make: MakeController, shape: &Shape, round_trip: u64, octets: u64, seed: u64) -> f64 {
    let flow = Flow::new(make, Duration::from_millis(round_trip / 2)).bytes(octets);
    let mut bench = Bench::new(seed, shape.clone(), vec![flow]);
    bench.run(Duration::from_secs(600));
    megabits(octets, bench.outcome(0).done.expect("in ten minutes"))
}

#[test]
fn a_connection_is_as_fast_as_its_congestion_control() {
    let controllers: [(&str, MakeController); 2] = [("newreno", NewReno::make), ("cubic", Cubic::make)];
    for (rate, round_trip, loss, octets) in CELLS {
        // the slow ones of a debug build are left out of it
        let octets = if cfg!(debug_assertions) { octets.min(2_500_000) } else { octets };
        let shape = shape(rate, round_trip, loss);
        let runs = if loss > 0.0 { RUNS } else { 1 };
        for (name, make) in controllers {
            let mean = |one: &dyn Fn(u64) -> f64| (0..runs).map(one).sum::<f64>() / runs as f64;
            let got = mean(&|seed| connection(make, &shape, octets, seed));
            let bound = mean(&|seed| alone(make, &shape, round_trip, octets, seed));
            let told = format!("{rate} Mbit/s {round_trip} ms {loss} % {name}: {got:.2} Mbit/s, alone {bound:.2}");
            println!("{told}");
            // short flows in a debug build: the first flight is of 508-octet datagrams, half a round trip later
            let least = if loss > 0.0 { 0.5 } else { 0.8 };
            assert!(got >= least * bound, "{told}");
        }
    }
}
