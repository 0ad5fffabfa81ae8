//! Streams over one bottleneck, in virtual time: any transport that does no I/O of its own.
//!
//! ```text
//!   sender ──┐                              ┌──▶ receiver
//!   sender ──┴──[queue, rate, loss, delay]──┴──▶ receiver
//!        ◀──────── a link back for each ────────┘
//! ```

use std::collections::VecDeque;
use std::time::Duration;
use versile_io::proto::sim::net::{Address, Link, Packet, Shape};
use versile_io::proto::time::Time;

/// One end of a reliable stream.
pub trait Peer {
    /// A datagram has come.
    fn receive(&mut self, now: Time, data: &mut [u8]);
    /// The next datagrams that leave now; none is added if there are none.
    fn transmit(&mut self, now: Time, out: &mut VecDeque<Vec<u8>>);
    /// When [`Peer::expire`] is to be called if nothing happens before.
    fn due(&mut self, now: Time) -> Option<Time>;
    /// Time has passed.
    fn expire(&mut self, now: Time);
    /// Data can be written.
    fn is_ready(&self) -> bool;
    /// Takes a part of `data` from the start; 0 if it is full.
    fn write(&mut self, now: Time, data: &[u8]) -> usize;
    /// No more will be written.
    fn finish(&mut self, now: Time);
    /// Octets read into `buf`; 0 if there are none now.
    fn read(&mut self, now: Time, buf: &mut [u8]) -> usize;
    /// Why the connection is dead, if it is.
    fn failure(&mut self) -> Option<String>;
}

/// What the application sends.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// So many octets, as fast as they go.
    Bulk(u64),
    /// `count` messages of `octets`, one each `every`.
    Messages { octets: usize, every: Duration, count: usize },
}

impl Load {
    fn total(self) -> u64 {
        match self {
            Self::Bulk(octets) => octets,
            Self::Messages { octets, count, .. } => (octets * count) as u64,
        }
    }
}

/// A stream to be.
pub struct Stream {
    pub ends: [Box<dyn Peer>; 2],
    pub load: Load,
    /// When its application begins; the handshake begins then too.
    pub start: Time,
    /// The way back takes so long.
    pub back: Duration,
}

/// What became of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub received: u64,
    /// When all was there, since its start.
    pub done: Option<Duration>,
    /// Datagrams sent.
    pub datagrams: u64,
    /// Octets of IP packets sent.
    pub wire: u64,
    /// How long each message took.
    pub waits: Vec<Duration>,
    /// The transport gave up.
    pub failure: Option<String>,
}

struct Flow {
    stream: Stream,
    back: Link,
    outcome: Outcome,
    written: u64,
    /// Messages that were due and are not read yet: where each ends, and when it was due.
    pending: VecDeque<(u64, Time)>,
    messages: usize,
    finished: bool,
    out: VecDeque<Vec<u8>>,
    last: u64,
    /// When each end wants to be woken.
    timers: [Time; 2],
}

/// All of it.
pub struct World {
    now: Time,
    link: Link,
    overhead: u64,
    flows: Vec<Flow>,
    pattern: Vec<u8>,
    buffer: Vec<u8>,
}

const HERE: Address = Address { host: 1, port: 1 };

impl World {
    /// The seed decides what the links draw.
    pub fn new(seed: u64, shape: &Shape, overhead: u64, streams: Vec<Stream>) -> Self {
        let shape = shape.clone().overhead(overhead).mtu(1500 - overhead as usize);
        let flows = streams.into_iter().zip(1..).map(|(stream, n)| Flow {
            back: Link::new(seed.wrapping_mul(1000) + n, shape.clone().delay(stream.back)),
            stream,
            outcome: Outcome::default(),
            written: 0,
            pending: VecDeque::new(),
            messages: 0,
            finished: false,
            out: VecDeque::new(),
            last: 0,
            timers: [Time::NEVER; 2],
        });
        let flows = flows.collect();
        // any pattern that a shifted or repeated piece does not fit
        let pattern = (0..1u32 << 16).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
        Self { now: Time::ZERO, link: Link::new(seed, shape), overhead, flows, pattern, buffer: vec![0; 1 << 16] }
    }

    pub fn outcome(&self, flow: usize) -> &Outcome {
        &self.flows[flow].outcome
    }

    /// Octets that each has received since this was asked last.
    pub fn since_last(&mut self) -> Vec<u64> {
        let each = self.flows.iter_mut().map(|flow| {
            let new = flow.outcome.received - flow.last;
            flow.last = flow.outcome.received;
            new
        });
        each.collect()
    }

    /// Until the first `wanted` streams are done or one fails, for `time` at most.
    pub fn run(&mut self, wanted: usize, time: Duration) {
        let until = self.now + time;
        loop {
            for at in 0..self.flows.len() {
                self.pump(at);
            }
            let over = |flow: &Flow| flow.outcome.done.is_some() || flow.outcome.failure.is_some();
            if self.flows[..wanted].iter().all(over) {
                return;
            }
            let mut next = self.link.next_arrival().unwrap_or(Time::NEVER);
            for flow in &mut self.flows {
                next = next.min(flow.next(self.now));
            }
            if next > until {
                self.now = until;
                return;
            }
            self.now = self.now.max(next);
            self.step();
        }
    }

    /// What is due happens.
    fn step(&mut self) {
        let now = self.now;
        for flow in self.flows.iter_mut().filter(|flow| flow.stream.start <= now) {
            for (end, timer) in flow.stream.ends.iter_mut().zip(flow.timers) {
                if timer <= now {
                    end.expire(now);
                }
            }
        }
        while let Some(mut packet) = self.link.poll(now) {
            self.flows[usize::from(packet.to.port)].stream.ends[1].receive(now, &mut packet.data);
        }
        for flow in &mut self.flows {
            while let Some(mut packet) = flow.back.poll(now) {
                flow.stream.ends[0].receive(now, &mut packet.data);
            }
        }
    }

    fn pump(&mut self, at: usize) {
        let now = self.now;
        let flow = &mut self.flows[at];
        if flow.stream.start > now || flow.outcome.failure.is_some() {
            return;
        }
        flow.write(now, &self.pattern);
        flow.read(now, &self.pattern, &mut self.buffer);
        let to = Address { host: 2, port: u16::try_from(at).expect("few") };
        for side in 0..2 {
            flow.stream.ends[side].transmit(now, &mut flow.out);
            for data in flow.out.drain(..) {
                if side == 0 {
                    flow.outcome.datagrams += 1;
                    flow.outcome.wire += data.len() as u64 + self.overhead;
                    self.link.send(now, Packet { from: HERE, to, data });
                } else {
                    flow.back.send(now, Packet { from: HERE, to: HERE, data });
                }
            }
        }
        let [a, b] = &mut flow.stream.ends;
        flow.outcome.failure = a.failure().or_else(|| b.failure());
    }
}

impl Flow {
    fn next(&mut self, now: Time) -> Time {
        if self.stream.start > now {
            return self.stream.start;
        }
        if self.outcome.failure.is_some() {
            return Time::NEVER;
        }
        let mut next = self.back.next_arrival().unwrap_or(Time::NEVER);
        for (end, timer) in self.stream.ends.iter_mut().zip(&mut self.timers) {
            // one that is due at once and changes nothing must not turn for ever
            *timer = end.due(now).map_or(Time::NEVER, |due| due.max(now + Duration::from_nanos(100)));
            next = next.min(*timer);
        }
        if let Load::Messages { every, count, .. } = self.stream.load
            && self.messages < count
        {
            next = next.min(self.message_at(every));
        }
        next
    }

    /// The first message is due a second after the start, when the handshake is done.
    fn message_at(&self, every: Duration) -> Time {
        self.stream.start + Duration::from_secs(1) + every * u32::try_from(self.messages).expect("few")
    }

    fn write(&mut self, now: Time, pattern: &[u8]) {
        if !self.stream.ends[0].is_ready() {
            return;
        }
        let total = match self.stream.load {
            Load::Bulk(octets) => octets,
            Load::Messages { octets, every, count } => {
                while self.messages < count && self.message_at(every) <= now {
                    let due = self.message_at(every);
                    self.messages += 1;
                    self.pending.push_back(((self.messages * octets) as u64, due));
                }
                (self.messages * octets) as u64
            }
        };
        while self.written < total {
            let from = (self.written & 0xFFFF) as usize;
            let most = (total - self.written).min(0x1_0000 - from as u64) as usize;
            let taken = self.stream.ends[0].write(now, &pattern[from..from + most]);
            self.written += taken as u64;
            if taken == 0 {
                break;
            }
        }
        if self.written == self.stream.load.total() && !self.finished {
            self.finished = true;
            self.stream.ends[0].finish(now);
        }
    }

    fn read(&mut self, now: Time, pattern: &[u8], buffer: &mut [u8]) {
        loop {
            let read = self.stream.ends[1].read(now, buffer);
            if read == 0 {
                break;
            }
            let mut rest = &buffer[..read];
            while !rest.is_empty() {
                let from = (self.outcome.received & 0xFFFF) as usize;
                let (piece, after) = rest.split_at(rest.len().min(0x1_0000 - from));
                assert!(piece == &pattern[from..from + piece.len()], "octets differ at {}", self.outcome.received);
                self.outcome.received += piece.len() as u64;
                rest = after;
            }
        }
        while let Some((end, due)) = self.pending.front()
            && *end <= self.outcome.received
        {
            self.outcome.waits.push(now.since(*due));
            self.pending.pop_front();
        }
        if self.outcome.received >= self.stream.load.total() {
            self.outcome.done.get_or_insert(now.since(self.stream.start));
        }
    }
}
