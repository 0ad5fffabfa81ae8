//! How much of a link the native profile uses, with each congestion controller, on a few cells of the grid: bounds that a change must not
//! fall below, and the figures themselves with `--nocapture`.
#![cfg(all(feature = "vut", feature = "testkit"))]

#[path = "support/vut_native_sim.rs"]
mod sim;

use sim::{App, World};
use std::time::Duration;
use versile_io::proto::sim::net::{Net, Odds, Shape};
use versile_io::proto::time::Time;
use versile_io::proto::vut::Config;
use versile_io::proto::vut::congestion::{Cubic, MakeController, NewReno};

/// A cell: megabits per second, round trip in milliseconds, percent lost, octets, and the least goodput in megabits per second with NewReno
/// and with CUBIC.
const CELLS: [(u64, u64, f64, u64, [f64; 2]); 5] = [
    (10, 20, 0.0, 3_000_000, [9.0, 9.0]),
    (100, 80, 0.0, 10_000_000, [30.0, 30.0]),
    (100, 20, 0.1, 10_000_000, [15.0, 15.0]),
    (100, 80, 1.0, 3_000_000, [1.0, 1.0]),
    (10, 80, 3.0, 1_000_000, [0.5, 0.5]),
];

/// Megabits per second of `octets` from A to B.
fn goodput(make: MakeController, rate: u64, round_trip: u64, loss: f64, octets: u64) -> f64 {
    let shape = Shape::new(Duration::from_millis(round_trip / 2))
        .rate(rate * 1_000_000)
        .queue(rate * 125 * round_trip)
        .loss(Odds::percent(loss))
        .mtu(1472);
    let config = Config { controller: make, ..Config::default() };
    let a = App { chunk: 262_144, ..App::new(octets) };
    let b = App { window: 16 << 20, ..App::new(0) };
    let mut world = World::config(config, Net::new(3, shape.clone(), shape), a, b);
    let done = world.run_until(Time::from_secs(600), |world| world.ends[1].read == octets);
    assert!(done, "{}", world.summary());
    octets as f64 * 8.0 / world.now.since_start().as_secs_f64() / 1e6
}

#[test]
fn a_link_is_used_as_well_as_the_controller_can() {
    let controllers: [(&str, MakeController); 2] = [("newreno", NewReno::make), ("cubic", Cubic::make)];
    for (rate, round_trip, loss, octets, least) in CELLS {
        // the slow ones of a debug build are left out of it
        let octets = if cfg!(debug_assertions) { octets / 4 } else { octets };
        for ((name, make), least) in controllers.into_iter().zip(least) {
            let got = goodput(make, rate, round_trip, loss, octets);
            println!("{rate} Mbit/s {round_trip} ms {loss} % {name}: {got:.2} Mbit/s");
            let least = if cfg!(debug_assertions) { least / 3.0 } else { least };
            assert!(got >= least, "{rate} Mbit/s {round_trip} ms {loss} % {name}: {got:.2} Mbit/s");
        }
    }
}
