//! Bulk flows under congestion control over one bottleneck, in virtual time: how fast, how much queue, how fair.
//!
//! ```text
//!   Sender: Ledger, Control ──┐                ┌──▶ Receiver: Acks
//!   Sender ───────────────────┴──[bottleneck]──┴──▶ Receiver
//!        ◀───────── one link back for each flow ───────┘
//! ```
//!
//! The senders are the loss detection, the congestion control and the pacer of VUT's native profile; the receivers acknowledge as that profile does, delays included.
//! Packets have its sizes and no content: neither encryption nor a handshake is there, and a flow begins one round trip late for the latter.
//!
//! ```
//! use std::time::Duration;
//! use versile_io::proto::sim::flow::{Bench, Flow};
//! use versile_io::proto::sim::net::Shape;
//! use versile_io::proto::vut::congestion::Cubic;
//!
//! let shape = Shape::new(Duration::from_millis(10)).rate(10_000_000).queue(50_000);
//! let mut bench = Bench::new(7, shape, vec![Flow::new(Cubic::make, Duration::from_millis(10)).bytes(500_000)]);
//! bench.run(Duration::from_secs(60));
//! let outcome = bench.outcome(0);
//! assert_eq!(outcome.received, 500_000);
//! assert!(outcome.done.expect("in a minute") > Duration::from_millis(400), "not faster than the link");
//! ```

use super::net::{Address, Link, Odds, Packet, Shape};
use crate::proto::time::Time;
use crate::proto::vut::congestion::{MakeController, State};
use crate::proto::vut::native::acks::{Acks, Press};
use crate::proto::vut::native::control::{Control, Newest, View};
use crate::proto::vut::native::frames::{Frame, FrameWriter, Frames};
use crate::proto::vut::native::loss::{Event, Ledger, Sent, Timeout};
use std::collections::VecDeque;
use std::time::Duration;

/// Octets of a datagram: what Ethernet carries over IPv4.
pub const DATAGRAM: u16 = 1472;
/// Octets of stream data in it: a header of 13, a tag of 16, and a STREAM frame's head of 7 are taken off.
pub const PAYLOAD: u64 = 1436;
/// Octets of a packet that are not frames.
const PACKET_OVERHEAD: usize = 29;

/// A flow to be.
#[derive(Clone, Debug)]
pub struct Flow {
    make: MakeController,
    back: Duration,
    start: Time,
    bytes: u64,
}

impl Flow {
    /// Without an end, from the start on; the way back takes `back`.
    pub fn new(make: MakeController, back: Duration) -> Self {
        Self { make, back, start: Time::ZERO, bytes: u64::MAX }
    }

    /// It begins then: its first datagram leaves one round trip later.
    #[must_use]
    pub fn start(mut self, start: Time) -> Self {
        self.start = start;
        self
    }

    /// It ends after so many octets.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }
}

/// What became of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Octets of stream data that the receiver has, each once.
    pub received: u64,
    /// When the receiver had all, after the flow began.
    pub done: Option<Duration>,
    /// Packets sent, and those among them that carried what was sent before.
    pub sent: u64,
    /// Sent again.
    pub again: u64,
    /// Octets that were taken for lost.
    pub lost: u64,
    /// Octets that were wrongly taken for lost.
    pub spurious: u64,
    /// Mean of the time in the bottleneck's queue that its packets found.
    pub queueing: Duration,
}

#[derive(Debug)]
struct Sender {
    ledger: Ledger<u32>,
    control: Control,
    next: u32,
    again: VecDeque<u32>,
    segments: u32,
    probes: u32,
    paced: Option<Time>,
}

#[derive(Debug)]
struct Receiver {
    acks: Acks,
    have: Vec<bool>,
}

#[derive(Debug)]
struct End {
    flow: Flow,
    begin: Time,
    sender: Sender,
    receiver: Receiver,
    back: Link,
    outcome: Outcome,
    queued: u128,
}

/// Flows that share a bottleneck.
#[derive(Debug)]
pub struct Bench {
    now: Time,
    link: Link,
    rate: u64,
    ends: Vec<End>,
    last_in: Vec<u64>,
}

const HERE: Address = Address { host: 1, port: 1 };

impl Bench {
    /// The bottleneck, and the flows; the seed decides all that is drawn. The ways back lose and reorder as the bottleneck does, and have its rate.
    pub fn new(seed: u64, shape: Shape, flows: Vec<Flow>) -> Self {
        let rate = shape.rate.unwrap_or(u64::MAX);
        let ends = flows.into_iter().zip(1..).map(|(flow, n)| {
            let back = Link::new(seed.wrapping_mul(1000) + n, shape.clone().delay(flow.back));
            let round_trip = shape.delay + flow.back;
            let mut acks = Acks::new();
            acks.set_round_trip(round_trip);
            let segments = u32::try_from(flow.bytes.div_ceil(PAYLOAD)).unwrap_or(u32::MAX);
            End {
                begin: flow.start + round_trip,
                sender: Sender {
                    ledger: Ledger::new(),
                    control: Control::new(flow.make, DATAGRAM),
                    next: 0,
                    again: VecDeque::new(),
                    segments,
                    probes: 0,
                    paced: None,
                },
                flow,
                receiver: Receiver { acks, have: Vec::new() },
                back,
                outcome: Outcome::default(),
                queued: 0,
            }
        });
        let ends: Vec<_> = ends.collect();
        Self { now: Time::ZERO, link: Link::new(seed, shape), rate, last_in: vec![0; ends.len()], ends }
    }

    /// What became of a flow so far.
    pub fn outcome(&self, flow: usize) -> Outcome {
        let end = &self.ends[flow];
        let mean = end.queued / u128::from(end.outcome.sent.max(1));
        let queueing = Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX));
        Outcome { queueing, lost: end.sender.ledger.lost(), ..end.outcome }
    }

    /// What its controller shows: window, rate, state.
    pub fn controller(&self, flow: usize) -> (u64, Option<u64>, State) {
        let controller = self.ends[flow].sender.control.controller();
        (controller.window(), controller.pacing_rate(), controller.state())
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Octets that each flow delivered since this was asked last.
    pub fn since_last(&mut self) -> Vec<u64> {
        let now: Vec<u64> = self.ends.iter().map(|end| end.outcome.received).collect();
        let since = now.iter().zip(&self.last_in).map(|(now, last)| now - last).collect();
        self.last_in = now;
        since
    }

    /// Octets that wait in the bottleneck.
    pub fn backlog(&self) -> u64 {
        self.link.backlog(self.now)
    }

    /// Runs on until all flows are done, or for `time`.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            for flow in 0..self.ends.len() {
                self.send(flow);
            }
            let open = |end: &&End| end.outcome.done.is_none();
            if !self.ends.iter().any(|end| open(&end)) {
                return;
            }
            let timers = self.ends.iter().filter(open).flat_map(End::timers).flatten();
            let Some(next) = timers.chain(self.link.next_arrival()).min().filter(|next| *next <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            self.deliver();
        }
    }

    /// All that is due.
    fn deliver(&mut self) {
        let now = self.now;
        while let Some(packet) = self.link.poll(now) {
            let flow = packet.to.port as usize;
            if let Some(end) = self.ends.get_mut(flow) {
                end.take(now, &packet.data);
            }
        }
        for end in &mut self.ends {
            if end.receiver.acks.is_due(now) {
                end.acknowledge(now);
            }
            while let Some(packet) = end.back.poll(now) {
                end.sender.hear(now, &packet.data, &mut end.outcome);
            }
            end.sender.time(now, &mut end.outcome);
        }
    }

    /// All that may leave.
    fn send(&mut self, flow: usize) {
        let now = self.now;
        let end = &mut self.ends[flow];
        if now < end.begin || end.outcome.done.is_some() {
            return;
        }
        while let Some((number, segment)) = end.sender.next(now, &mut end.outcome) {
            let mut data = vec![0; DATAGRAM.into()];
            data[..8].copy_from_slice(&number.to_be_bytes());
            data[8..12].copy_from_slice(&segment.to_be_bytes());
            end.queued += u128::from(self.link.backlog(now)) * 8_000_000_000 / u128::from(self.rate.max(1));
            let to = Address { host: 2, port: u16::try_from(flow).unwrap_or(u16::MAX) };
            self.link.send(now, Packet { from: HERE, to, data });
        }
    }
}

impl End {
    fn timers(&self) -> [Option<Time>; 5] {
        let sender = &self.sender;
        let begin = (sender.ledger.next_number() == 0).then_some(self.begin);
        [begin, sender.paced, sender.ledger.poll_timeout(), self.receiver.acks.poll_timeout(), self.back.next_arrival()]
    }

    /// The receiver gets a datagram.
    fn take(&mut self, now: Time, data: &[u8]) {
        let (Some(number), Some(segment)) = (data.first_chunk::<8>(), data[8..].first_chunk::<4>()) else { return };
        self.receiver.acks.on_packet(u64::from_be_bytes(*number), now, Press::Eliciting, None);
        let segment = u32::from_be_bytes(*segment);
        let at = segment as usize;
        if self.receiver.have.len() <= at {
            self.receiver.have.resize(at + 1, false);
        }
        if !std::mem::replace(&mut self.receiver.have[at], true) {
            let before = u64::from(segment) * PAYLOAD;
            self.outcome.received += PAYLOAD.min(self.flow.bytes - before);
            if self.outcome.received >= self.flow.bytes {
                self.outcome.done = Some(now.since(self.flow.start));
            }
        }
    }

    /// The receiver tells what it has.
    fn acknowledge(&mut self, now: Time) {
        let mut buffer = [0; 1200];
        let mut writer = FrameWriter::new(&mut buffer);
        if self.receiver.acks.write(&mut writer, now).is_ok() {
            let length = writer.len();
            let mut data = buffer[..length].to_vec();
            data.resize(length + PACKET_OVERHEAD, 0); // zeros are PAD to the reader
            self.back.send(now, Packet { from: HERE, to: HERE, data });
        }
    }
}

impl Sender {
    /// The next packet that may leave, as number and segment.
    fn next(&mut self, now: Time, outcome: &mut Outcome) -> Option<(u64, u32)> {
        self.paced = None;
        let more = !self.again.is_empty() || self.next < self.segments;
        if self.probes == 0 {
            if !self.control.has_room(self.ledger.in_flight(), DATAGRAM) {
                return None;
            }
            if !more {
                self.control.on_app_limited();
                self.ledger.set_app_limited();
                return None;
            }
            let due = self.control.due(now, DATAGRAM);
            if due > now {
                self.paced = Some(due);
                return None;
            }
        }
        self.probes = self.probes.saturating_sub(1);
        let segment = match self.again.pop_front() {
            Some(segment) => segment,
            None if more => self.next,
            None => self.segments - 1,
        };
        if segment == self.next && more {
            self.next += 1;
        } else {
            outcome.again += 1;
        }
        let number = self.ledger.next_number();
        outcome.sent += 1;
        self.ledger.on_sent(Sent { number, size: DATAGRAM, eliciting: true, at: now, info: segment });
        self.control.on_sent(now, DATAGRAM, self.ledger.in_flight(), self.ledger.rtt());
        Some((number, segment))
    }

    /// An acknowledgement comes.
    fn hear(&mut self, now: Time, data: &[u8], told: &mut Outcome) {
        let Ok(frames) = Frames::checked(data) else { return };
        for frame in frames {
            let Frame::Ack(ack) = frame else { continue };
            let held = Duration::from_micros(ack.delay);
            let Ok(outcome) = self.ledger.on_ack(ack.ranges(), held, now) else { continue };
            self.learn(now, &outcome, told);
        }
    }

    fn time(&mut self, now: Time, told: &mut Outcome) {
        match self.ledger.handle_timeout(now) {
            Timeout::None => {}
            Timeout::Lost(outcome) => self.learn(now, &outcome, told),
            Timeout::Probe { .. } => self.probes = 1,
        }
    }

    fn learn(&mut self, now: Time, outcome: &crate::proto::vut::native::loss::Outcome, told: &mut Outcome) {
        let mut newest = Newest::default();
        while let Some(event) = self.ledger.poll_event() {
            newest.note(&event);
            match event {
                Event::Acknowledged(_) => {}
                Event::Lost(sent) => self.again.push_back(sent.info),
                Event::Spurious(sent) => self.again.retain(|segment| *segment != sent.info),
            }
        }
        told.spurious += outcome.spurious;
        self.control.on_outcome(now, outcome, newest, View::of(&self.ledger));
    }
}

/// A path as the comparison with other transports has it: the bottleneck's rate and loss, half of the round trip each way, and a queue in
/// bandwidth-delay products, at least 48 KB.
pub fn path(bits: u64, round_trip: Duration, loss: Odds, queue: f64) -> Shape {
    let bdp = bits as f64 / 8.0 * round_trip.as_secs_f64();
    Shape::new(round_trip / 2).rate(bits).queue((bdp * queue).max(48_000.0) as u64).loss(loss).mtu(DATAGRAM.into())
}

#[cfg(test)]
mod tests;
