//! Small messages: how long each takes, alone and beside a bulk transfer of the same kind or of quinn's.

use crate::Options;
use crate::setup::{Cell, Transport};
use crate::world::{Load, Stream, World};
use std::time::Duration;
use versile_io::proto::time::Time;

const OCTETS: usize = 64;
const EVERY: Duration = Duration::from_millis(20);
const COUNT: usize = 3000;

/// What else is on the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Nothing,
    ItsOwn,
    Quinn,
}

fn waits(transport: Transport, loss: f64, beside: Beside, seed: u64) -> Vec<Duration> {
    let cell = Cell::new(20.0, 40.0, loss, 0.0);
    let back = cell.round_trip() / 2;
    let stream = |transport: Transport, load, seed| Stream {
        ends: transport.pair(Some(cell.window()), seed, Time::ZERO),
        load,
        start: Time::ZERO,
        back,
    };
    let messages = Load::Messages { octets: OCTETS, every: EVERY, count: COUNT };
    let mut streams = vec![stream(transport, messages, seed)];
    let bulk = match beside {
        Beside::Nothing => None,
        Beside::ItsOwn => Some(transport),
        Beside::Quinn => Some(Transport::QuinnCubic),
    };
    streams.extend(bulk.map(|bulk| stream(bulk, Load::Bulk(u64::MAX), seed + 1000)));
    let mut world = World::new(seed, &cell.shape(), transport.overhead(), streams);
    world.run(1, Duration::from_secs(120));
    assert_eq!(world.outcome(0).waits.len(), COUNT, "{}: all messages", transport.name());
    world.outcome(0).waits.clone()
}

pub fn run(options: &Options) {
    let seeds = options.number("--seeds", 5);
    println!("{OCTETS} octets each {EVERY:?}, 20 Mbit/s, 40 ms: p50, p99 in ms\n");
    println!("| beside | loss % | transport | p50 | p99 |\n|---|---|---|---|---|");
    for beside in [Beside::Nothing, Beside::ItsOwn, Beside::Quinn] {
        for loss in [0.0, 1.0, 5.0] {
            for transport in options.transports() {
                if transport.overhead() == 0 && beside == Beside::Quinn {
                    continue; // IP packets and datagrams do not go over one link here
                }
                let runs = if loss == 0.0 && beside == Beside::Nothing { 1 } else { seeds };
                let mut all: Vec<Duration> = (1..=runs).flat_map(|seed| waits(transport, loss, beside, seed)).collect();
                all.sort();
                let at = |share: usize| all[all.len() * share / 100].as_secs_f64() * 1e3;
                println!("| {beside:?} | {loss} | {} | {:.1} | {:.1} |", transport.name(), at(50), at(99));
            }
        }
    }
}
