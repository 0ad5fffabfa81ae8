//! Two endpoints of VUT.

use super::Pair;
use bytes::Bytes;
use std::time::Duration;
use versile_io::proto::time::Time;
use versile_io::proto::vut::congestion::Cubic;
use versile_io::proto::vut::native::path::Address;
use versile_io::proto::vut::native::switch::Mode;
use versile_io::proto::vut::wire::Secrets;
use versile_io::proto::vut::{Config, Event};
use versile_io::proto::vut::{Endpoint, Fresh, Setup};

/// Octets that the reader allows beyond what it has.
const WINDOW: u64 = 8 << 20;
/// Octets written at once, and read at once.
const CHUNK: usize = 65_536;
/// A batch.
const BATCH: usize = 65_507;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At(u8);

impl Address for At {
    fn same_host(&self, other: &Self) -> bool {
        self == other
    }
}

pub struct Ends {
    ends: [Endpoint<At>; 2],
    now: Time,
    chunk: Bytes,
    /// The next batch, or all answers, with their lengths.
    buffer: Vec<u8>,
    lengths: Vec<usize>,
    read: u64,
    granted: u64,
    size: usize,
}

impl Ends {
    pub fn native(size: u16) -> Self {
        Self::connected(Mode::Native, size)
    }

    pub fn compat() -> Self {
        Self::connected(Mode::Compat, 508)
    }

    fn connected(mode: Mode, size: u16) -> Self {
        let end = |own: u8, peer: u8| {
            let secrets = Secrets::new(vec![own; 16], vec![peer; 16]).expect("fit");
            let mut setup = Setup::new(secrets, At(peer), Fresh::new([own; Fresh::LEN]));
            setup.mode = mode;
            setup.largest = size;
            setup.fast_aes = true;
            setup.config = Config { controller: Cubic::make, ..Config::default() };
            let mut end = Endpoint::new(setup, Time::ZERO).expect("set up");
            end.set_read_limit(Time::ZERO, WINDOW);
            end
        };
        let mut this = Self {
            ends: [end(1, 2), end(2, 1)],
            now: Time::ZERO,
            chunk: Bytes::from(vec![7; CHUNK]),
            buffer: vec![0; 4 * BATCH],
            lengths: Vec::new(),
            read: 0,
            granted: WINDOW,
            size: size.into(),
        };
        for _ in 0..100_000 {
            this.turn();
            let native = |end: &Endpoint<At>| end.native().is_none_or(|native| native.datagram() == size);
            if this.ends.iter().all(|end| end.is_connected() && native(end)) {
                return this;
            }
        }
        panic!("not connected");
    }

    fn turn(&mut self) {
        self.send();
        self.receive();
        self.answer();
        self.heed();
        self.tick();
    }

    fn transmit(&mut self, end: usize, batches: usize) {
        self.lengths.clear();
        let mut at = 0;
        for _ in 0..batches {
            let room = BATCH.min(self.buffer.len() - at);
            let Some(transmit) = self.ends[end].poll_transmit(self.now, &mut self.buffer[at..at + room]) else { break };
            let mut left = transmit.octets;
            while left > 0 {
                let length = left.min(transmit.segment);
                self.lengths.push(length);
                left -= length;
            }
            at += transmit.octets;
        }
    }

    fn handle(&mut self, end: usize) {
        let from = At(if end == 0 { 2 } else { 1 });
        let mut at = 0;
        for &length in &self.lengths {
            self.ends[end].handle_datagram(self.now, from, &mut self.buffer[at..at + length]);
            at += length;
        }
        while let Some(event) = self.ends[end].poll_event() {
            assert!(!matches!(event, Event::Closed(_)), "{event:?}");
        }
    }
}

impl Pair for Ends {
    fn send(&mut self) -> bool {
        while self.ends[0].credit() >= CHUNK as u64 && self.ends[0].written() - self.ends[0].acknowledged() < WINDOW {
            self.ends[0].write(self.chunk.clone()).expect("credit");
        }
        // datagrams of 508 octets come one a call
        let batches = if self.ends[0].native().is_some() { 1 } else { 64 };
        self.transmit(0, batches);
        !self.lengths.is_empty()
    }

    fn receive(&mut self) {
        self.handle(1);
        while let Some(data) = self.ends[1].read(self.now, CHUNK) {
            self.read += data.len() as u64;
        }
        if self.read + WINDOW - self.granted >= WINDOW / 8 {
            self.granted = self.read + WINDOW;
            self.ends[1].set_read_limit(self.now, self.granted);
        }
    }

    fn answer(&mut self) {
        self.transmit(1, usize::MAX);
    }

    fn heed(&mut self) {
        self.handle(0);
    }

    fn tick(&mut self) {
        self.now += Duration::from_micros(20);
        for end in &mut self.ends {
            if end.poll_timeout(self.now).is_some_and(|at| at <= self.now) {
                end.handle_timeout(self.now);
            }
        }
    }

    fn done(&self) -> (u64, [u64; 2], usize) {
        (self.read, [0, 1].map(|end: usize| self.ends[end].stats().sent), self.size)
    }
}
