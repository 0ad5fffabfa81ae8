//! `Connection`: the parts of the native profile put together.
//!
//! It begins when the switch to this profile is made, with our N; [`Endpoint`](crate::proto::vut::Endpoint) makes the switch and
//! has the same methods. Its own ones are of the same kinds as those of the 0.8 [`Connection`](crate::proto::vut::Connection).
//!
//! ```text
//!   shaking ── a packet opens ──▶ connected ── both streams are done ──▶ lingering ── 10 s, all known ──▶ gone
//!      │ 30 s                        │ abort, violation, silence            ▲
//!      └────────▶ gone               ├──▶ failing ── ABORT known, or 10 s ──┼──▶ gone
//!                                    └──▶ ABORT of the peer ────────────────┘
//! ```
//!
//! Data may be written, and leaves, as soon as the peer's first N is here: who cannot prove to be the peer cannot read it. Nothing
//! is delivered before a packet has opened.
//!
//! # Sending
//!
//! One packet carries, in this order, what is due of: ACK, notices (FIN, DONE, STOP, ABORT), WINDOW, PING, then up to two pieces of the
//! stream, lost ones first. Stream data waits for the congestion window and the pacer; all else does not, for it is small and seldom.
//! What the probe timer asks for waits for nothing.
//!
//! # WINDOW
//!
//! A higher limit is told at once when a quarter of what the reader allows beyond what arrived is not told yet, and rides on any packet that
//! asks for an acknowledgement anyway. The peer is never left waiting by this: when it has sent all that it may, the whole rest is untold.
//!
//! # Silence
//!
//! A PING leaves when nothing that asks for an acknowledgement was sent and nothing was heard for the keep-alive distance, or a third of
//! the peer's idle time-out if that is less. The probe timer repeats it until something comes back. Without an authentic packet for the
//! dead-peer time the connection is given up.

mod incoming;
mod outgoing;
mod timers;

#[cfg(test)]
mod tests;

use super::acks::Acks;
use super::close::{AbortCode, Input, Note, Notes, Notices, Output};
use super::control::Control;
use super::handshake::{Handshake, Repeats, Settled};
use super::keys::Exporter;
use super::loss::Ledger;
use super::mtu::MtuSearch;
use super::negotiation::BASE_DATAGRAM;
use super::packet::{ConnectionId, Sealer};
use super::path::{Address, Path};
use super::receive::Inbox;
use super::send::Outbox;
use crate::proto::time::Time;
use crate::proto::vut::closing::Proof;
use crate::proto::vut::event::{CloseReason, Event, WriteError};
use crate::proto::vut::{Config, Record, Stats, Tracer};
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// Datagrams to be sent with one call of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit<A> {
    /// Where to.
    pub to: A,
    /// Octets at the start of the buffer.
    pub octets: usize,
    /// The octets of each datagram but the last, which may be shorter.
    pub segment: usize,
}

/// What the connection brings of its own besides the handshake.
#[derive(Debug)]
pub struct Start<A> {
    /// Where the peer is said to be.
    pub peer: A,
    /// When the first hello was sent.
    pub began: Time,
    /// The largest datagram that we send and take: what the offer says.
    pub largest: u16,
    /// 32 random octets, new for each connection: the octets of challenges are made from them.
    pub seed: [u8; 32],
    /// The limit of the reader so far: what the offer says.
    pub read_limit: u64,
}

/// The keys, as far as they are known.
#[derive(Debug)]
enum Keys {
    Shaking(Box<Handshake>),
    Settled(Box<Settled>),
    /// The handshake was given up.
    Lost,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Live,
    /// Given up: the peer is told.
    Failing {
        code: AbortCode,
        until: Time,
    },
    /// Over: what the peer repeats is acknowledged, and what it must hear is repeated.
    Lingering {
        until: Time,
    },
    Gone,
}

/// What a packet is for; only a usual one's loss says something about congestion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Purpose {
    #[default]
    Usual,
    /// Searches the datagram size.
    Size,
    /// Proves an address.
    Address,
}

/// What a packet carried, as far as something must follow from its fate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Cargo {
    purpose: Purpose,
    pieces: [Option<Range<u64>>; 2],
    notes: Notes,
    window: Option<u64>,
    /// The largest number that its ACK told.
    told: Option<u64>,
}

/// When our N is sent.
#[derive(Debug)]
struct Greeting {
    repeats: Repeats,
    sent_at: Option<Time>,
    /// It is asked for, beside the repeats.
    wanted: Option<Vec<u8>>,
    deadline: Time,
}

/// Frames that go to an address of their own.
#[derive(Debug)]
struct Errands<A> {
    challenge: Option<(A, [u8; 8])>,
    response: Option<(A, [u8; 8])>,
}

/// One side of a connection in the native profile.
///
/// # Invariants
///
/// Those of its parts, and: nothing is delivered before a packet of the peer has opened; no packet number is used twice;
/// nothing beyond the read limit is kept; after [`Event::Closed`] there is no further event.
#[derive(Debug)]
pub struct Connection<A> {
    config: Config,
    keys: Keys,
    sealer: Option<Sealer>,
    peer_id: Option<ConnectionId>,
    greeting: Greeting,
    life: Life,
    path: Path<A>,
    errands: Errands<A>,
    challenges: ring::hmac::Key,
    challenged: u64,
    largest: u16,
    mtu: MtuSearch,
    /// The datagram size that congestion control knows.
    size: u16,
    control: Control,
    ledger: Ledger<Cargo>,
    acks: Acks,
    outbox: Outbox,
    inbox: Inbox,
    output: Output,
    input: Input,
    notices: Notices,
    /// The highest limit that the peer was told, and whether it must be told again.
    told_limit: u64,
    retell: bool,
    ping: bool,
    probe: bool,
    /// The number that is left out next.
    skip_at: u64,
    idle: Option<Duration>,
    heard_at: Time,
    asked_at: Time,
    events: VecDeque<Event>,
    stats: Stats,
    tracer: Option<Box<dyn Tracer>>,
}

impl<A: Address> Connection<A> {
    /// Begins with our N, which is ready to be sent.
    pub fn new(config: Config, handshake: Handshake, start: Start<A>, now: Time) -> Self {
        let mut repeats = Repeats::new(now, start.began);
        // one that is due at once is sent through `wanted`, so that the first repetition is not lost to the switch
        let wanted = repeats.take(now).then(|| handshake.datagram().to_vec());
        Self {
            keys: Keys::Shaking(Box::new(handshake)),
            sealer: None,
            peer_id: None,
            greeting: Greeting { repeats, sent_at: None, wanted, deadline: start.began + config.handshake },
            life: Life::Live,
            path: Path::new(start.peer),
            errands: Errands { challenge: None, response: None },
            challenges: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &start.seed),
            challenged: 0,
            largest: start.largest,
            mtu: MtuSearch::new(BASE_DATAGRAM),
            size: BASE_DATAGRAM,
            control: Control::new(config.controller, BASE_DATAGRAM),
            ledger: Ledger::new(),
            acks: Acks::new(),
            outbox: Outbox::new(config.send_buffer),
            inbox: Inbox::new(start.read_limit),
            output: Output::Open,
            input: Input::Open,
            notices: Notices::default(),
            told_limit: start.read_limit,
            retell: false,
            ping: false,
            probe: false,
            skip_at: FIRST_SKIP,
            idle: None,
            heard_at: now,
            asked_at: now,
            events: VecDeque::new(),
            stats: Stats::default(),
            tracer: None,
            config,
        }
    }

    /// Records of what happens go to `tracer` from now on.
    pub fn set_tracer(&mut self, tracer: Box<dyn Tracer>) {
        self.tracer = Some(tracer);
    }

    // ---- what the owner wants

    /// Takes data for the peer, all of it or nothing.
    ///
    /// # Errors
    ///
    /// [`WriteError`], with the data: more than [`Self::credit`], or the stream was ended.
    pub fn write(&mut self, data: Bytes) -> Result<(), WriteError> {
        if self.life != Life::Live || self.output != Output::Open {
            return Err(WriteError::Ended(data));
        }
        if data.len() as u64 > self.credit() {
            return Err(WriteError::NoCredit(data));
        }
        self.outbox.write(data);
        Ok(())
    }

    /// At most `most` octets that arrived, in order; none if there is nothing.
    pub fn read(&mut self, now: Time, most: usize) -> Option<Bytes> {
        let data = self.inbox.read(most);
        if data.is_some() {
            self.settle(now);
        }
        data
    }

    /// Allows the peer to send up to `limit` octets, counted from the start of its stream. Only rises.
    pub fn set_read_limit(&mut self, now: Time, limit: u64) {
        self.inbox.raise_limit(limit.min(super::frames::VARINT_LIMIT - 1));
        self.settle(now);
    }

    /// Ends our stream: what was written is sent, and the peer is told where it ends. The other direction goes on.
    pub fn finish(&mut self, now: Time) {
        if self.life == Life::Live && self.output == Output::Open {
            self.output = Output::Ending;
            self.notices.raise(Note::Fin);
            self.trace(now, Record::State { of: "output", state: "ending" });
            self.settle(now);
        }
    }

    /// Nobody reads any more: the peer is told, and what it still sends is acknowledged and forgotten.
    pub fn stop_reading(&mut self, now: Time) {
        if self.life != Life::Live || !self.input.is_open() {
            return;
        }
        self.inbox.stop();
        self.trace(now, Record::State { of: "input", state: "stopping" });
        self.input = Input::Stopping;
        self.notices.raise(Note::Stop);
        self.settle(now);
    }

    /// Gives the connection up, both ways; the peer is told.
    pub fn abort(&mut self, now: Time) {
        self.fail(now, CloseReason::Aborted);
    }

    // ---- getters

    /// Octets that can be written now.
    pub fn credit(&self) -> u64 {
        if self.output == Output::Open { self.outbox.limit() - self.outbox.written() } else { 0 }
    }

    /// Octets that may be written in all, from the start of our stream. Only rises.
    pub fn write_limit(&self) -> u64 {
        self.outbox.limit()
    }

    /// Octets written so far, less those that were dropped because the peer stopped reading.
    pub fn written(&self) -> u64 {
        self.outbox.written()
    }

    /// Octets that the peer has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.outbox.acknowledged()
    }

    /// Octets that can be read now.
    pub fn readable(&self) -> usize {
        usize::try_from(self.inbox.readable()).unwrap_or(usize::MAX)
    }

    /// Octets that are held for the reader, beyond gaps too. Never more than the read limit allows.
    pub fn held(&self) -> u64 {
        self.inbox.held()
    }

    /// Octets that arrived in order so far.
    pub fn arrived(&self) -> u64 {
        self.inbox.arrived()
    }

    /// True once a packet of the peer has opened.
    pub fn is_connected(&self) -> bool {
        matches!(self.keys, Keys::Settled(_))
    }

    /// True once [`Event::Closed`] was made.
    pub fn is_closed(&self) -> bool {
        self.life != Life::Live
    }

    /// True when nothing is left to do, lingering included: the connection can be dropped.
    pub fn is_gone(&self) -> bool {
        self.life == Life::Gone
    }

    /// True once it is over and the peer has heard so, or has said so itself: an owner that cannot stay any longer loses only answers
    /// to a peer that asks again.
    pub fn has_said_all(&self) -> bool {
        match self.life {
            Life::Live => false,
            Life::Failing { .. } => self.notices.is_known(Note::Abort),
            Life::Lingering { .. } => {
                !Note::ALL.into_iter().any(|note| self.notices.is_open(note)) && self.acks.poll_timeout().is_none()
            }
            Life::Gone => true,
        }
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        Stats { lost_octets: self.ledger.lost(), ..self.stats }
    }

    /// The smoothed round trip, if there was a sample.
    pub fn round_trip(&self) -> Option<Duration> {
        self.ledger.rtt().is_known().then(|| self.ledger.rtt().smoothed())
    }

    /// Octets that congestion control allows in flight, and those that are.
    pub fn congestion(&self) -> (u64, u64) {
        (self.control.controller().window(), self.ledger.in_flight())
    }

    /// The octets of a full datagram on this path.
    pub const fn datagram(&self) -> u16 {
        self.mtu.current()
    }

    /// The most that it may become.
    pub const fn largest(&self) -> u16 {
        self.largest
    }

    /// Where the peer is.
    pub const fn peer(&self) -> A {
        self.path.current()
    }

    /// For keys that a layer above binds to this connection; once connected.
    pub fn exporter(&self) -> Option<&Exporter> {
        match &self.keys {
            Keys::Settled(settled) => Some(settled.exporter()),
            Keys::Shaking(_) | Keys::Lost => None,
        }
    }

    /// The phase of the keys that we seal under; for tests of key updates.
    #[doc(hidden)]
    pub fn phase(&self) -> Option<bool> {
        self.sealer.as_ref().map(Sealer::phase)
    }

    /// The next thing to tell the owner.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    // ---- for the parts of this module

    fn trace(&mut self, now: Time, record: Record) {
        if let Some(tracer) = &mut self.tracer {
            tracer.record(now, &record);
        }
    }

    fn trace_window(&mut self, now: Time) {
        if self.tracer.is_some() {
            let (window, in_flight) = self.congestion();
            let micros = self.round_trip().map_or(0, |smoothed| smoothed.as_micros());
            let smoothed = u64::try_from(micros).unwrap_or(u64::MAX);
            let phase = self.control.controller().state().phase;
            self.trace(now, Record::Window { window, in_flight, smoothed, phase });
        }
    }

    /// True if the reader's limit must be told to the peer now.
    fn window_due(&self) -> bool {
        let limit = self.inbox.limit();
        if !self.input.is_open() || self.inbox.size().is_some() || limit < self.told_limit {
            return false;
        }
        self.retell || (limit > self.told_limit && limit - self.told_limit >= (limit - self.inbox.arrived()) / 4)
    }

    /// Moves both ends on as far as they go.
    fn settle(&mut self, now: Time) {
        if self.life != Life::Live {
            return;
        }
        if self.output == Output::Open && self.outbox.raise_limit() {
            let limit = self.outbox.limit();
            self.events.retain(|event| !matches!(event, Event::Credit { .. }));
            self.events.push_back(Event::Credit { limit });
        }
        if self.input.is_open() && self.inbox.is_over() {
            self.end_input(now, Proof::Proven);
            self.notices.raise(Note::Done);
        }
        let heard = self.notices.is_known(Note::Stop) || self.inbox.size().is_some();
        if self.input == Input::Stopping && heard {
            self.end_input(now, Proof::Unproven);
        }
        if let (Output::Done(sent), Input::Done(received)) = (self.output, self.input) {
            let until = now + self.config.linger;
            self.close(now, CloseReason::Ended { sent, received }, Life::Lingering { until });
        }
        self.check();
    }

    fn end_input(&mut self, now: Time, proof: Proof) {
        self.input = Input::Done(proof);
        self.trace(now, Record::State { of: "input", state: "done" });
        self.events.push_back(Event::PeerEnded(proof));
    }

    fn end_output(&mut self, now: Time, proof: Proof) {
        self.output = Output::Done(proof);
        self.trace(now, Record::State { of: "output", state: "done" });
        self.events.push_back(Event::Finished(proof));
    }

    /// The connection is given up.
    fn fail(&mut self, now: Time, reason: CloseReason) {
        if self.life != Life::Live {
            return;
        }
        let code = match reason {
            CloseReason::Violation => AbortCode::Protocol,
            CloseReason::WornOut => AbortCode::Worn,
            CloseReason::PeerGone => AbortCode::Silence,
            _ => AbortCode::Owner,
        };
        // without keys, or under keys that are used up, nothing can be said
        let mute = self.sealer.is_none() || matches!(reason, CloseReason::NoAnswer | CloseReason::WornOut);
        let life = if mute { Life::Gone } else { Life::Failing { code, until: now + self.config.linger } };
        self.notices.only(Note::Abort);
        self.close(now, reason, life);
    }

    fn close(&mut self, now: Time, reason: CloseReason, life: Life) {
        debug_assert_eq!(self.life, Life::Live, "only once");
        self.life = life;
        self.ping = false;
        self.outbox.stop();
        if life == Life::Gone && !self.is_connected() {
            self.keys = Keys::Lost;
        }
        self.trace(now, Record::State { of: "connection", state: "closed" });
        self.events.push_back(Event::Closed(reason));
    }

    fn check(&self) {
        self.outbox.check();
        self.inbox.check();
        debug_assert!(
            self.is_connected() || self.inbox.arrived() == 0,
            "nothing is delivered before the peer is proven"
        );
        debug_assert!(self.told_limit <= self.inbox.limit(), "no more is told than the reader allows");
    }

    /// Asserts the invariants of the costly kind too; for tests, after every step.
    #[doc(hidden)]
    pub fn check_all(&self) {
        self.check();
        self.ledger.check();
        assert!(self.held() <= self.inbox.limit());
        let next = self.sealer.as_ref().map_or(0, Sealer::next_number);
        assert!(self.ledger.next_number() <= next, "no number is known that was not used");
    }
}

/// The first packet number that is left out, so that an acknowledgement of what was not sent is noticed.
const FIRST_SKIP: u64 = 100;
