//! Congestion control: how much may be under way, and how fast it leaves.
//!
//! ```text
//!   connection ──on_sent, on_ack, on_loss, on_ecn, on_recovered, on_spurious, on_idle──▶ Controller
//!              ◀── window(): octets that may be in flight
//!              ◀── pacing_rate(): octets per second, taken by the Pacer
//! ```
//!
//! A [`Controller`] decides only that. What was lost, what is in flight, round trips and rates are found by others and are
//! arguments: [`Delivery`] makes the rate samples of draft-ietf-ccwg-bbr and counts round trips, [`Rtt`](super::rtt::Rtt)
//! keeps RFC 6298, and the sender finds losses. So any controller works with any profile of the protocol, and each is tested
//! by calling it.
//!
//! **What is in flight**, where the peer only gives cumulative acknowledgements: what was sent and is not acknowledged, less one
//! segment for each duplicate acknowledgement since, less what is held to be lost and not sent again. A window needs no
//! inflation for duplicates then (RFC 5681, 3.2 step 4 comes by itself).
//!
//! | controller | when |
//! |---|---|
//! | [`Model`] | an option: keeps its rate where datagrams are lost by noise; `docs/vut.md` has figures, also of who gets what beside [`Cubic`] |
//! | [`Cubic`] | RFC 9438; what most of the world's TCP does. Slow on a path with random loss |
//! | [`NewReno`] | the reference, and where a peer gives only cumulative acknowledgements |
//!
//! Each module has its rules as a table, with the source of each constant. How they compare is measured by
//! `tests/vut_congestion.rs`.
//!
//! Amounts are octets of stream data. Headers are not counted.

mod cubic;
mod delivery;
mod model;
mod newreno;

pub use cubic::Cubic;
pub use delivery::{Delivery, RateSample, Snapshot};
pub use model::Model;
pub use newreno::NewReno;

use crate::proto::time::Time;
use std::fmt;
use std::time::Duration;

/// The initial window, in segments: 10 (RFC 6928).
pub const INITIAL_SEGMENTS: u64 = 10;

/// The smallest window, in segments: 2, so that one loss can be seen.
pub const LEAST_SEGMENTS: u64 = 2;

/// A segment was sent, for the first time or again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When.
    pub now: Time,
    /// Its octets.
    pub bytes: u64,
    /// In flight, it included.
    pub in_flight: u64,
    /// It was sent before.
    pub again: bool,
}

/// Something arrived at the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// When that was heard.
    pub now: Time,
    /// Octets that are newly known to have arrived. A duplicate acknowledgement counts for one segment of average size, and what
    /// was counted so is taken off when the cumulative acknowledgement comes.
    pub bytes: u64,
    /// In flight before.
    pub prior_in_flight: u64,
    /// In flight now.
    pub in_flight: u64,
    /// A sample of the round trip, from a segment that was sent once (Karn's rule).
    pub rtt: Option<Duration>,
    /// Smoothed round trip (RFC 6298), if there was a sample ever.
    pub smoothed: Option<Duration>,
    /// Least round trip of the connection.
    pub least_rtt: Option<Duration>,
    /// How fast the peer receives, if a segment was newly acknowledged.
    pub rate: Option<RateSample>,
    /// Round trips so far, counted by segments that were sent after the last one was acknowledged; rises by at most one.
    pub round: u64,
    /// The application or the peer's window held sending back, not this controller; a window that was not used must not grow.
    pub app_limited: bool,
    /// Losses are being repaired.
    pub recovering: bool,
}

/// How a loss came to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossKind {
    /// The first one of a recovery: the signal to slow down, at most once per window.
    First,
    /// Another one of the same recovery.
    More,
    /// Nothing came back within the retransmission time-out.
    Timeout,
}

/// Segments are held to be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When that was found.
    pub now: Time,
    /// Their octets.
    pub bytes: u64,
    /// In flight before they were taken off.
    pub in_flight: u64,
    /// How it came to light.
    pub kind: LossKind,
    /// What was known when the first of them was sent: rate, in flight, losses up to then.
    pub snapshot: Option<Snapshot>,
    /// Octets delivered and lost so far, these included.
    pub delivered: u64,
    /// All octets held to be lost so far, these included.
    pub lost: u64,
}

/// The path said that a queue is filling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ecn {
    /// When that was heard.
    pub now: Time,
    /// Newly marked datagrams.
    pub marked: u64,
    /// In flight.
    pub in_flight: u64,
    /// Octets delivered so far.
    pub delivered: u64,
    /// Octets held to be lost so far.
    pub lost: u64,
}

/// What a controller shows to a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// What it is doing, in a word.
    pub phase: &'static str,
    /// Where slow start ends, if that is known.
    pub threshold: Option<u64>,
}

/// A rule for how much may be in flight. Calls come in the order of time.
pub trait Controller: fmt::Debug + Send {
    /// Its name, for traces.
    fn name(&self) -> &'static str;

    /// A segment was sent.
    fn on_sent(&mut self, sent: &Sent) {
        let _ = sent;
    }

    /// Something arrived.
    fn on_ack(&mut self, ack: &Ack);

    /// Something is held to be lost.
    fn on_loss(&mut self, loss: &Loss);

    /// All that was in flight when the first loss was found is acknowledged.
    fn on_recovered(&mut self, now: Time) {
        let _ = now;
    }

    /// The last [`LossKind::First`] or [`LossKind::Timeout`] was a mistake: nothing had been lost.
    fn on_spurious(&mut self, now: Time) {
        let _ = now;
    }

    /// Sending begins again after nothing was in flight for `idle`, longer than the retransmission time-out.
    fn on_idle(&mut self, now: Time, idle: Duration) {
        let _ = (now, idle);
    }

    /// Marks arrived on what was sent after the last slowing down: at most once per window, as [`LossKind::First`]. What does not know
    /// better slows down as for a loss in which nothing was lost (RFC 9002 section 7.1).
    fn on_ecn(&mut self, ecn: &Ecn) {
        let Ecn { now, in_flight, delivered, lost, .. } = *ecn;
        self.on_loss(&Loss { now, bytes: 0, in_flight, kind: LossKind::First, snapshot: None, delivered, lost });
    }

    /// Segments may now have this many octets; what is in flight keeps its size.
    fn on_segment_size(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// Octets that may be in flight. At least one segment.
    fn window(&self) -> u64;

    /// Octets per second at which segments leave; none before a round trip was seen.
    fn pacing_rate(&self) -> Option<u64>;

    /// What a trace shows.
    fn state(&self) -> State {
        State::default()
    }
}

/// Makes a controller for a connection, told the octets of a full segment.
pub type MakeController = fn(segment: u64) -> Box<dyn Controller>;
