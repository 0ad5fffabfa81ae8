//! Streams that share a link for 60 s: two of ours, one of ours beside quinn's CUBIC, and different round trips.
//!
//! `--cells` gives the paths (loss is not used), `--seeds` how often the second begins at another time, `--seconds` a shorter run.
//! A row is there as soon as its runs are over; two run at a time.

use crate::Options;
use crate::setup::{Cell, Transport};
use crate::world::{Load, Stream, World};
use std::time::Duration;
use versile_io::proto::time::Time;

/// What each got of the link. The second begins `after` milliseconds, and its way back is longer by `longer`.
fn shares(kinds: [Transport; 2], cell: Cell, after: u64, longer: Duration, time: Duration) -> [f64; 2] {
    let begin = [Time::ZERO, Time::from_millis(after)];
    let streams = [0, 1].map(|at| Stream {
        ends: kinds[at].pair(Some(4 * cell.window()), after * 2 + at as u64 + 1, begin[at]),
        load: Load::Bulk(u64::MAX),
        start: begin[at],
        back: cell.round_trip() / 2 + if at == 1 { longer } else { Duration::ZERO },
    });
    let mut world = World::new(after + 1, &cell.shape(), kinds[0].overhead(), streams.into());
    world.run(2, time);
    let got = world.since_last();
    // octets of streams, so that heads do not count
    [got[0], got[1]].map(|octets| octets as f64 * 8e-6 / time.as_secs_f64() / cell.mbit)
}

fn jain([a, b]: [f64; 2]) -> f64 {
    (a + b).powi(2) / (2.0 * (a * a + b * b))
}

fn median(of: impl Fn([f64; 2]) -> f64, runs: &[[f64; 2]]) -> f64 {
    let mut sorted: Vec<f64> = runs.iter().map(|run| of(*run)).collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn least(of: impl Fn([f64; 2]) -> f64, runs: &[[f64; 2]]) -> f64 {
    runs.iter().map(|run| of(*run)).fold(f64::INFINITY, f64::min)
}

pub fn run(options: &Options) {
    let paths = match (options.value("--cells"), options.has("--quick")) {
        (Some(_), _) => options.cells().iter().map(|cell| (cell.mbit, cell.rtt)).collect(),
        (None, true) => vec![(20.0, 40.0)],
        (None, false) => vec![(20.0, 20.0), (20.0, 80.0), (50.0, 40.0), (100.0, 20.0), (100.0, 80.0)],
    };
    let time = Duration::from_secs(options.number("--seconds", 60));
    let starts: Vec<u64> = (0..options.number("--seeds", 5)).map(|run| run * 137).collect();
    let ours: Vec<_> = options.transports().into_iter().filter(|kind| !Transport::RIVALS.contains(kind)).collect();
    println!(
        "| Mbit/s | RTT ms | queue | kind | two alike: Jain [least], used | beside quinn: share, used | quinn CUBIC: of its part beside its kind |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (mbit, rtt) in &paths {
        for queue in [0.5, 1.0, 4.0] {
            let cell = Cell { queue, ..Cell::new(*mbit, *rtt, 0.0, 0.0) };
            let all = |kinds: [Transport; 2]| -> Vec<[f64; 2]> {
                let (even, odd): (Vec<_>, Vec<_>) = starts.iter().partition(|after| *after % 2 == 0);
                let some = |starts: Vec<u64>| -> Vec<[f64; 2]> {
                    starts.into_iter().map(|after| shares(kinds, cell, after, Duration::ZERO, time)).collect()
                };
                std::thread::scope(|scope| {
                    let other = scope.spawn(|| some(odd));
                    let mut all = some(even);
                    all.extend(other.join().expect("no panic"));
                    all
                })
            };
            let quinn = all([Transport::QuinnCubic; 2]);
            let part = median(|[a, b]| f64::midpoint(a, b), &quinn);
            for kind in &ours {
                let alike = all([*kind; 2]);
                let beside = all([*kind, Transport::QuinnCubic]);
                println!(
                    "| {mbit} | {rtt} | {queue} | {} | {:.3} [{:.3}], {:.3} | {:.3}, {:.3} | {:.2} |",
                    kind.name(),
                    median(jain, &alike),
                    least(jain, &alike),
                    least(|[a, b]| a + b, &alike),
                    median(|[a, b]| a / (a + b), &beside),
                    least(|[a, b]| a + b, &beside),
                    median(|[_, b]| b, &beside) / part,
                );
            }
        }
    }
    println!("\n20 and 80 ms over 20 Mbit/s, a queue of 2 products of the shorter: shares of the link");
    for kind in options.transports() {
        let cell = Cell { queue: 2.0, ..Cell::new(20.0, 20.0, 0.0, 0.0) };
        let [short, long] = shares([kind; 2], cell, 137, Duration::from_millis(60), time);
        println!("{}: {short:.2} and {long:.2}", kind.name());
    }
}
