//! What a link is like.

use super::loss::{Loss, Odds};
use std::time::Duration;

/// What one direction is like. As made by [`Shape::new`] it only delays; each method adds one thing.
#[derive(Clone, Debug)]
pub struct Shape {
    pub(in crate::proto::sim) rate: Option<u64>,
    pub(super) queue: u64,
    pub(super) overhead: u64,
    pub(in crate::proto::sim) delay: Duration,
    pub(super) jitter: Duration,
    pub(super) loss: Loss,
    pub(super) duplicate: Odds,
    pub(super) corrupt: Odds,
    pub(super) reorder: Odds,
    pub(super) held: Duration,
    pub(super) held_least: Duration,
    pub(super) mtu: usize,
    pub(super) marks_at: u64,
    pub(super) marks: Marks,
}

/// What a path does with the congestion marks of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Marks {
    /// Leaves them.
    #[default]
    Kept,
    /// Clears them.
    Cleared,
    /// Makes ECT(1) of ECT(0).
    Changed,
    /// Drops what is marked.
    Dropped,
}

impl Default for Shape {
    fn default() -> Self {
        Self::new(Duration::ZERO)
    }
}

impl Shape {
    /// A link that is as fast as wanted and takes `delay` one way.
    pub fn new(delay: Duration) -> Self {
        Self {
            rate: None,
            queue: u64::MAX,
            overhead: 28,
            delay,
            jitter: Duration::ZERO,
            loss: Loss::None,
            duplicate: Odds::NEVER,
            corrupt: Odds::NEVER,
            reorder: Odds::NEVER,
            held: Duration::ZERO,
            held_least: Duration::ZERO,
            mtu: 65_507,
            marks_at: u64::MAX,
            marks: Marks::Kept,
        }
    }

    /// Bits per second, headers included. At least 1.
    #[must_use]
    pub fn rate(mut self, bits: u64) -> Self {
        self.rate = Some(bits.max(1));
        self
    }

    /// Octets that may wait for the rate; what finds the queue full is dropped.
    #[must_use]
    pub fn queue(mut self, octets: u64) -> Self {
        self.queue = octets;
        self
    }

    /// Octets that each datagram takes beside its own: 28 as made, for IPv4 and UDP.
    #[must_use]
    pub fn overhead(mut self, octets: u64) -> Self {
        self.overhead = octets;
        self
    }

    /// The way takes this long.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The way takes up to this much longer, drawn for each datagram. Order is kept.
    #[must_use]
    pub fn jitter(mut self, most: Duration) -> Self {
        self.jitter = most;
        self
    }

    /// Each datagram is lost by itself.
    #[must_use]
    pub fn loss(self, odds: Odds) -> Self {
        self.losing(Loss::Random(odds))
    }

    /// Datagrams are lost in this way, after they took their share of the rate.
    #[must_use]
    pub fn losing(mut self, loss: Loss) -> Self {
        self.loss = loss;
        self
    }

    /// A datagram arrives twice.
    #[must_use]
    pub fn duplicate(mut self, odds: Odds) -> Self {
        self.duplicate = odds;
        self
    }

    /// One to three bits of a datagram are flipped.
    #[must_use]
    pub fn corrupt(mut self, odds: Odds) -> Self {
        self.corrupt = odds;
        self
    }

    /// A datagram is held back for up to `most`, and others pass it.
    #[must_use]
    pub fn reorder(mut self, odds: Odds, most: Duration) -> Self {
        (self.reorder, self.held, self.held_least) = (odds, most, Duration::ZERO);
        self
    }

    /// A datagram is held back for exactly so long, and others pass it.
    #[must_use]
    pub fn reorder_by(mut self, odds: Odds, held: Duration) -> Self {
        (self.reorder, self.held, self.held_least) = (odds, held, held);
        self
    }

    /// What finds so many octets waiting for the rate, or more, is marked "congestion experienced" if it may be; what may not is not dropped.
    #[must_use]
    pub fn marking(mut self, octets: u64) -> Self {
        self.marks_at = octets;
        self
    }

    /// What becomes of congestion marks.
    #[must_use]
    pub fn marks(mut self, marks: Marks) -> Self {
        self.marks = marks;
        self
    }

    /// The longest datagram that gets through; a longer one is dropped without a word.
    #[must_use]
    pub fn mtu(mut self, octets: usize) -> Self {
        self.mtu = octets;
        self
    }
}
