//! What a datagram of a bulk transfer costs, counted, so that a regression shows on any machine: allocations, datagrams that leave
//! together, and answers. Time is measured by `benches/rivals`, bin `vut_core`.
//!
//! The bounds are what was counted when they were written, and a little more; a change that needs more says why.
#![cfg(feature = "vut")]

#[path = "support/counting.rs"]
mod counting;

use bytes::Bytes;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use versile_io::proto::time::Time;
use versile_io::proto::vut::congestion::Cubic;
use versile_io::proto::vut::native::path::Address;
use versile_io::proto::vut::native::switch::Mode;
use versile_io::proto::vut::wire::Secrets;
use versile_io::proto::vut::{Config, Endpoint, Event, Fresh, Setup};

/// Octets that the reader allows beyond what it has.
const WINDOW: u64 = 4 << 20;
const CHUNK: usize = 65_536;
/// What one call of the system takes.
const BATCH: usize = 65_507;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At(u8);

impl Address for At {
    fn same_host(&self, other: &Self) -> bool {
        self == other
    }
}

/// Two ends, the first of which sends.
struct Pair {
    ends: [Endpoint<At>; 2],
    now: Time,
    chunk: Bytes,
    buffer: Vec<u8>,
    read: u64,
    granted: u64,
    /// Every so many datagrams of the sender are lost.
    lose: u64,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    batches: u64,
    datagrams: u64,
    answers: u64,
    allocations: u64,
}

impl Pair {
    /// Connected, with datagrams of `size`.
    fn new(mode: Mode, size: u16) -> Self {
        let end = |own: u8, peer: u8| {
            let secrets = Secrets::new(vec![own; 16], vec![peer; 16]).expect("fit");
            let mut setup = Setup::new(secrets, At(peer), Fresh::new([own; Fresh::LEN]));
            (setup.mode, setup.largest) = (mode, size);
            setup.config = Config { controller: Cubic::make, ..Config::default() };
            let mut end = Endpoint::new(setup, Time::ZERO).expect("set up");
            end.set_read_limit(Time::ZERO, WINDOW);
            end
        };
        let mut pair = Self {
            ends: [end(1, 2), end(2, 1)],
            now: Time::ZERO,
            chunk: Bytes::from(vec![7; CHUNK]),
            buffer: vec![0; BATCH],
            read: 0,
            granted: WINDOW,
            lose: u64::MAX,
            counts: Counts::default(),
        };
        for _ in 0..100_000 {
            pair.turn();
            let native = |end: &Endpoint<At>| end.native().is_none_or(|native| native.datagram() == size);
            if pair.ends.iter().all(|end| end.is_connected() && native(end)) {
                return pair;
            }
        }
        panic!("not connected");
    }

    /// What the counts rise by while `octets` are read.
    fn moved(&mut self, octets: u64) -> Counts {
        let (before, end) = (Counts { allocations: made(), ..self.counts }, self.read + octets);
        while self.read < end {
            self.turn();
        }
        Counts {
            batches: self.counts.batches - before.batches,
            datagrams: self.counts.datagrams - before.datagrams,
            answers: self.counts.answers - before.answers,
            allocations: made() - before.allocations,
        }
    }

    fn turn(&mut self) {
        while self.ends[0].credit() >= CHUNK as u64 && self.ends[0].written() - self.ends[0].acknowledged() < WINDOW {
            self.ends[0].write(self.chunk.clone()).expect("credit");
        }
        let sent = self.carry(0, 1);
        self.counts.batches += u64::from(sent > 0);
        self.counts.datagrams += sent;
        while let Some(data) = self.ends[1].read(self.now, CHUNK) {
            self.read += data.len() as u64;
        }
        if self.read + WINDOW - self.granted >= WINDOW / 8 {
            self.granted = self.read + WINDOW;
            self.ends[1].set_read_limit(self.now, self.granted);
        }
        self.counts.answers += self.carry(1, usize::MAX);
        self.now += Duration::from_micros(20);
        for end in &mut self.ends {
            if end.poll_timeout(self.now).is_some_and(|at| at <= self.now) {
                end.handle_timeout(self.now);
            }
            while let Some(event) = end.poll_event() {
                assert!(!matches!(event, Event::Closed(_)), "{event:?}");
            }
        }
    }

    /// At most so many batches of one end to the other; says how many datagrams.
    fn carry(&mut self, end: usize, batches: usize) -> u64 {
        let mut count = 0;
        for _ in 0..batches {
            let Some(transmit) = self.ends[end].poll_transmit(self.now, &mut self.buffer) else { break };
            for datagram in self.buffer[..transmit.octets].chunks_mut(transmit.segment) {
                count += 1;
                if end == 1 || !(self.counts.datagrams + count).is_multiple_of(self.lose) {
                    self.ends[1 - end].handle_datagram(self.now, At(if end == 0 { 1 } else { 2 }), datagram);
                }
            }
        }
        count
    }
}

fn made() -> u64 {
    counting::MADE.load(Relaxed)
}

struct Bound {
    /// At least.
    batch: f64,
    /// At most.
    answers: f64,
    allocations: f64,
}

fn check(name: &str, counts: Counts, bound: &Bound) {
    let datagrams = counts.datagrams as f64;
    let batch = datagrams / counts.batches as f64;
    let (answers, allocations) = (counts.answers as f64 / datagrams, counts.allocations as f64 / datagrams);
    println!("{name}: {batch:.1} datagrams a batch, {answers:.3} answers and {allocations:.4} allocations a datagram");
    assert!(batch >= bound.batch, "{name}: {batch} datagrams a batch, at least {}", bound.batch);
    assert!(answers <= bound.answers, "{name}: {answers} answers a datagram, at most {}", bound.answers);
    assert!(allocations <= bound.allocations, "{name}: {allocations} a datagram, at most {}", bound.allocations);
}

/// One test: the counts are the process's.
#[test]
fn counted() {
    let mut pair = Pair::new(Mode::Native, 1452);
    pair.moved(8_000_000);
    // the reader's blocks: two for 65,536 octets, buffer and count of its parts
    let clean = Bound { batch: 44.0, answers: 1.0 / 40.0, allocations: 0.05 };
    check("native, 1452 octets", pair.moved(20_000_000), &clean);
    pair.lose = 1000;
    pair.moved(2_000_000);
    check("native, 0.1 % lost", pair.moved(10_000_000), &Bound { batch: 10.0, answers: 0.2, allocations: 0.2 });
    let mut pair = Pair::new(Mode::Native, 8972);
    pair.moved(8_000_000);
    check("native, 8972 octets", pair.moved(40_000_000), &Bound { batch: 6.9, answers: 0.15, allocations: 0.3 });
    let mut pair = Pair::new(Mode::Compat, 508);
    pair.moved(2_000_000);
    check("0.8", pair.moved(4_000_000), &Bound { batch: 1.0, answers: 1.01, allocations: 0.05 });
}
