//! Which losses count, and what they bound.
//!
//! | a loss, and | then |
//! |---|---|
//! | the latest round trips lie above the base by more than an eighth of it and ten segments | it counts: a queue is there |
//! | the rate delivered in the last two rounds is below 0.7 of what was sent | it counts: others want their share, or the path became slower |
//! | 15 % of a round or more are lost | it counts, whatever the queue: a policer or a queue too short to be seen |
//! | none of these | it is noise: only repaired |
//!
//! An eighth is the rise by which RFC 9406, 4.2 knows a queue; ten segments are what the pacer lets pass at once, and what an
//! acknowledgement of the peer may free at once: a sender makes such a queue by itself. The round trip is the least of the last three
//! samples: a queue that overflows is full for the packets around the lost one, while the peer's hold and jitter are not in all of them.

use std::time::Duration;

/// draft-ietf-ccwg-bbr, 2.8: BBR.Beta, as CUBIC's.
pub(super) const BETA: f64 = 0.7;
/// draft-ietf-ccwg-bbr, 2.8: BBR.LossThresh.
const TOLERATED: f64 = 0.02;
/// What is lost in a round that cannot be noise.
const EXCESSIVE: f64 = 0.15;
const QUEUE_DIVISOR: u32 = 8;
/// Segments that leave as one burst.
const BURST: u64 = 10;
const FALLING: f64 = 0.7;
/// By how much the low bounds grow in a round without a queue: found by trial, from 1 to 1.1.
const RECOVERY: f64 = 1.1;

/// One round, as far as it went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// Highest rate sample.
    pub(super) rate: u64,
    /// Most octets delivered within a round trip.
    pub(super) delivered: u64,
    /// Octets lost.
    pub(super) lost: u64,
    /// Of these, with a queue.
    pub(super) queued: u64,
    /// Times that something was found lost with a queue.
    pub(super) events: u32,
}

/// What losses say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Verdict {
    latest: [Option<Duration>; 3],
    pub(super) round: Round,
    /// The rate of the round before.
    before: u64,
}

/// What the verdict is measured by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    /// The least round trip.
    pub(super) base: Option<Duration>,
    /// Octets per second.
    pub(super) bandwidth: u64,
    /// Octets per second that were sent.
    pub(super) sent: u64,
    /// Octets of a segment.
    pub(super) segment: u64,
}

impl Verdict {
    pub(super) fn on_rtt(&mut self, rtt: Duration) {
        self.latest = [Some(rtt), self.latest[0], self.latest[1]];
    }

    /// The latest packets saw a queue.
    pub(super) fn has_queue(&self, path: Path) -> bool {
        let (Some(base), Some(least)) = (path.base, self.latest.iter().flatten().min()) else { return false };
        let burst = Duration::from_nanos(BURST * path.segment * 1_000_000_000 / path.bandwidth.max(1));
        *least > base + base / QUEUE_DIVISOR + burst
    }

    pub(super) fn on_loss(&mut self, bytes: u64, path: Path) {
        self.round.lost += bytes;
        if self.has_queue(path) {
            self.round.queued += bytes;
            self.round.events += 1;
        }
    }

    /// The round is over.
    pub(super) fn next_round(&mut self) {
        self.before = self.round.rate;
        self.round = Round::default();
    }

    /// Octets of losses that count, of the round so far.
    pub(super) fn counted(&self, path: Path) -> u64 {
        let Round { rate, delivered, lost, queued, .. } = self.round;
        let rate = rate.max(self.before);
        let falling = rate > 0 && (rate as f64) < FALLING * path.sent as f64;
        if falling || lost as f64 > EXCESSIVE * (delivered + lost) as f64 { lost } else { queued }
    }

    /// More of `sent` octets was lost than is tolerated.
    pub(super) fn is_too_much(&self, sent: u64, path: Path) -> bool {
        self.counted(path) as f64 > TOLERATED * sent as f64
    }
}

/// Bounds on what is in flight and on the rate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// Where a queue overflowed, in octets in flight.
    pub(super) high: Option<u64>,
    /// Until the next probing: octets in flight, and octets per second.
    pub(super) low: Option<u64>,
    /// Octets per second.
    pub(super) rate_low: Option<u64>,
}

impl Bounds {
    /// Losses of a round counted.
    pub(super) fn lower(&mut self, bandwidth: u64, window: u64) {
        let reduced = |before: u64| (before as f64 * BETA) as u64;
        self.rate_low = Some(reduced(self.rate_low.unwrap_or(bandwidth)));
        self.low = Some(reduced(self.low.unwrap_or(window)));
    }

    /// A round without a queue: there is room again.
    pub(super) fn recover(&mut self) {
        let grown = |bound: u64| (bound as f64 * RECOVERY) as u64;
        (self.low, self.rate_low) = (self.low.map(grown), self.rate_low.map(grown));
    }

    /// Probing begins: forget the short-term bounds.
    pub(super) fn release(&mut self) {
        (self.low, self.rate_low) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn verdict(rtts: [u64; 3], round: Round) -> Verdict {
        let mut verdict = Verdict { round, ..Verdict::default() };
        rtts.into_iter().for_each(|rtt| verdict.on_rtt(MS(rtt)));
        verdict
    }

    #[test]
    fn a_loss_counts_only_with_a_queue_a_falling_rate_or_in_excess() {
        let steady = Round { rate: 1_000_000, delivered: 100_000, ..Round::default() };
        let path = Path { base: Some(MS(80)), bandwidth: 1_000_000, sent: 1_000_000, segment: 1000 };
        for (rtts, round, lost, counted) in [
            ([80, 82, 80], steady, 3000, 0),
            ([105, 80, 106], steady, 3000, 0), // one short one: no queue
            ([99, 99, 99], steady, 3000, 0),   // what a burst makes
            ([105, 102, 106], steady, 3000, 3000),
            ([80, 80, 80], Round { rate: 600_000, ..steady }, 3000, 3000),
            ([80, 80, 80], steady, 20_000, 20_000),
        ] {
            let mut verdict = verdict(rtts, round);
            verdict.on_loss(lost, path);
            assert_eq!(verdict.counted(path), counted, "{rtts:?} {round:?}");
        }
    }

    #[test]
    fn lower_bounds_fall_with_each_lossy_round_and_rise_without_a_queue() {
        let mut bounds = Bounds::default();
        bounds.lower(1000, 100);
        assert_eq!((bounds.rate_low, bounds.low), (Some(700), Some(70)));
        bounds.lower(1000, 100);
        assert_eq!((bounds.rate_low, bounds.low), (Some(489), Some(49)));
        bounds.recover();
        assert_eq!((bounds.rate_low, bounds.low), (Some(537), Some(53)));
        bounds.release();
        assert_eq!((bounds.rate_low, bounds.low), (None, None));
    }
}
