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
mod owner;
mod timers;

#[cfg(test)]
mod tests;

use super::acks::{Acks, EcnMark};
use super::close::{AbortCode, Input, Note, Notes, Notices, Output};
use super::control::Control;
use super::ecn::EcnSender;
use super::handshake::{Handshake, HandshakeBudget, Repeats, Settled};
use super::loss::Ledger;
use super::mtu::MtuSearch;
use super::packet::{ConnectionId, Sealer};
use super::path::{Address, Path, PathTimes};
use super::receive::Inbox;
use super::send::Outbox;
use crate::proto::time::Time;
use crate::proto::vut::closing::Proof;
use crate::proto::vut::event::{CloseReason, Event};
use crate::proto::vut::{Config, Record, Stats, Tracer};
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
    /// The codepoint of explicit congestion notification for all of them; none: not capable. An owner that cannot set it leaves it
    /// out, and the connection notices.
    pub ecn: Option<EcnMark>,
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

/// What was sent only to find out something, and lost.
#[derive(Clone, Copy, Debug, Default)]
struct Probes {
    lost: u64,
    lost_octets: u64,
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
    /// Sent with ECT(0).
    marked: bool,
}

/// When our N is sent.
#[derive(Debug)]
struct Greeting {
    repeats: Repeats,
    sent_at: Option<Time>,
    /// It is asked for, beside the repeats.
    wanted: Option<Vec<u8>>,
    /// When the first hello left.
    began: Time,
    /// What may go to an address from which nothing came.
    budget: HandshakeBudget,
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
    /// What follows from the round trip, which is known anew at each sample.
    times: PathTimes,
    ecn: EcnSender,
    /// Of the lost ones: probes of the datagram size, whose loss is no loss of data.
    probes: Probes,
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
        let mtu = MtuSearch::new(start.largest);
        Self {
            keys: Keys::Shaking(Box::new(handshake)),
            sealer: None,
            peer_id: None,
            greeting: Greeting {
                repeats,
                sent_at: None,
                wanted,
                began: start.began,
                budget: HandshakeBudget::new(start.began),
                deadline: start.began + config.handshake,
            },
            life: Life::Live,
            path: Path::new(start.peer),
            errands: Errands { challenge: None, response: None },
            challenges: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &start.seed),
            challenged: 0,
            largest: start.largest,
            times: PathTimes::of(Ledger::<Cargo>::new().rtt()),
            ecn: EcnSender::new(),
            probes: Probes::default(),
            size: mtu.current(),
            control: Control::new(config.controller, mtu.current()),
            mtu,
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

    /// Goes on with what the hellos have left of it.
    pub(crate) fn set_budget(&mut self, budget: HandshakeBudget) {
        self.greeting.budget = budget;
    }

    /// Records of what happens go to `tracer` from now on.
    pub fn set_tracer(&mut self, tracer: Box<dyn Tracer>) {
        self.tracer = Some(tracer);
    }

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
