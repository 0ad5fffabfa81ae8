//! Streams that share a link for 60 s: two of ours, one of ours beside quinn's CUBIC, and different round trips.

use crate::Options;
use crate::setup::{Cell, Transport};
use crate::world::{Load, Stream, World};
use std::time::Duration;
use versile_io::proto::time::Time;

const TIME: Duration = Duration::from_secs(60);

/// What each got of the link. The second begins `after` milliseconds, and its way back is longer by `longer`.
fn shares(kinds: [Transport; 2], cell: Cell, after: u64, longer: Duration) -> [f64; 2] {
    let begin = [Time::ZERO, Time::from_millis(after)];
    let streams = [0, 1].map(|at| Stream {
        ends: kinds[at].pair(Some(4 * cell.window()), after * 2 + at as u64 + 1, begin[at]),
        load: Load::Bulk(u64::MAX),
        start: begin[at],
        back: cell.round_trip() / 2 + if at == 1 { longer } else { Duration::ZERO },
    });
    let mut world = World::new(after + 1, &cell.shape(), kinds[0].overhead(), streams.into());
    world.run(2, TIME);
    let got = world.since_last();
    // octets of streams, so that heads do not count
    [got[0], got[1]].map(|octets| octets as f64 * 8e-6 / TIME.as_secs_f64() / cell.mbit)
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
    let paths: &[(f64, f64)] = match options.has("--quick") {
        true => &[(20.0, 40.0)],
        false => &[(20.0, 20.0), (20.0, 80.0), (50.0, 40.0), (100.0, 20.0), (100.0, 80.0)],
    };
    let starts = [0, 137, 274, 411, 548];
    let ours: Vec<_> = options.transports().into_iter().filter(|kind| !Transport::RIVALS.contains(kind)).collect();
    println!(
        "| Mbit/s | RTT ms | queue | kind | two alike: Jain [least], used | beside quinn: share, used | quinn CUBIC: of its part beside its kind |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (mbit, rtt) in paths {
        for queue in [0.5, 1.0, 4.0] {
            let cell = Cell { queue, ..Cell::new(*mbit, *rtt, 0.0, 0.0) };
            let all = |kinds| starts.map(|after| shares(kinds, cell, after, Duration::ZERO));
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
        let [short, long] = shares([kind; 2], cell, 137, Duration::from_millis(60));
        println!("{}: {short:.2} and {long:.2}", kind.name());
    }
}
