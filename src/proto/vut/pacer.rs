//! The pacer: a bucket of octets that fills at the controller's rate.
//!
//! A full bucket lets a burst out at once, and an empty one says when to come again. It holds what the rate makes in 2 ms, at
//! least 10 segments: a timer of an operating system is about 1 ms late, and what was due meanwhile must not be lost. When nothing
//! may leave, the pacer asks for a wait after which as much can leave as the rate makes in 0.5 ms, so that fast flows are not woken
//! for each segment.

use crate::proto::time::Time;
use std::time::Duration;

/// The least size of the bucket, in segments: the initial window.
const BURST: u64 = 10;
/// What the bucket holds, as time at the rate.
const DEPTH: Duration = Duration::from_millis(2);
/// How long to wait at least when the bucket is empty, as time at the rate.
const QUANTUM: Duration = Duration::from_micros(500);

/// The bucket. Without a rate (no round trip was seen yet) everything may leave.
#[derive(Clone, Debug)]
pub struct Pacer {
    segment: u64,
    /// Octets that may leave, in billionths: what one nanosecond adds at one octet per second.
    level: u128,
    filled_at: Time,
}

const UNIT: u128 = 1_000_000_000;

impl Pacer {
    /// A full bucket, for segments of so many octets.
    pub fn new(segment: u64) -> Self {
        Self { segment, level: u128::from(BURST * segment) * UNIT, filled_at: Time::ZERO }
    }

    /// Segments may now have this many octets.
    pub fn on_segment_size(&mut self, bytes: u64) {
        self.segment = bytes;
    }

    /// When `bytes` may leave: now, or later. `rate` is in octets per second.
    pub fn due(&mut self, now: Time, bytes: u64, rate: Option<u64>) -> Time {
        let Some(rate) = rate.map(|rate| rate.max(1)) else { return now };
        self.fill(now, rate);
        if self.level >= u128::from(bytes) * UNIT {
            return now;
        }
        let wanted = bytes.max(made_in(QUANTUM, rate).min(BURST * self.segment / 2));
        let wait = (u128::from(wanted) * UNIT - self.level.min(u128::from(wanted) * UNIT)).div_ceil(u128::from(rate));
        now + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX).max(1))
    }

    /// Octets that may leave now, one after the other: for a batch, without asking for each. `rate` is in octets per second.
    pub fn saved(&mut self, now: Time, rate: Option<u64>) -> u64 {
        let Some(rate) = rate.map(|rate| rate.max(1)) else { return u64::MAX };
        self.fill(now, rate);
        u64::try_from(self.level / UNIT).unwrap_or(u64::MAX)
    }

    fn fill(&mut self, now: Time, rate: u64) {
        let full = u128::from((BURST * self.segment).max(made_in(DEPTH, rate))) * UNIT;
        let new = (now - self.filled_at).as_nanos() * u128::from(rate);
        self.level = self.level.saturating_add(new).min(full);
        self.filled_at = self.filled_at.max(now);
    }

    /// `bytes` left, due or not (an urgent retransmission does not wait).
    pub fn on_sent(&mut self, bytes: u64) {
        self.level = self.level.saturating_sub(u128::from(bytes) * UNIT);
    }
}

/// What `rate` octets per second make in `time`.
fn made_in(time: Duration, rate: u64) -> u64 {
    u64::try_from(u128::from(rate) * time.as_nanos() / UNIT).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_leaves_at_once_and_the_rest_at_the_rate() {
        let (mut pacer, mut now, mut sent) = (Pacer::new(1000), Time::from_secs(1), Vec::new());
        for _ in 0..1000 {
            let due = pacer.due(now, 1000, Some(1_000_000));
            now = now.max(due);
            assert_eq!(pacer.due(now, 1000, Some(1_000_000)), now, "as it said");
            pacer.on_sent(1000);
            sent.push(now);
        }
        assert!(sent[..10].iter().all(|at| *at == Time::from_secs(1)), "the burst");
        let took = sent[999] - sent[9];
        assert!((Duration::from_millis(980)..Duration::from_millis(1000)).contains(&took), "{took:?}");
    }

    #[test]
    fn what_is_saved_is_what_is_due() {
        let (mut pacer, mut now, rate) = (Pacer::new(1000), Time::from_secs(1), Some(1_000_000));
        for wait in [0, 700, 2500, 100, 40_000, 1, 9000] {
            now += Duration::from_micros(wait);
            let mut saved = pacer.saved(now, rate);
            while saved >= 1000 {
                assert_eq!(pacer.due(now, 1000, rate), now);
                pacer.on_sent(1000);
                saved -= 1000;
            }
            assert!(pacer.due(now, 1000, rate) > now);
        }
        assert_eq!(pacer.saved(now, None), u64::MAX);
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut pacer = Pacer::new(1000);
        for _ in 0..100 {
            assert_eq!(pacer.due(Time::ZERO, 1000, None), Time::ZERO);
            pacer.on_sent(1000);
        }
    }

    #[test]
    fn a_late_owner_makes_up_for_a_millisecond() {
        let mut pacer = Pacer::new(1000);
        let (rate, mut now, mut sent) = (Some(100_000_000), Time::from_secs(1), 0);
        for _ in 0..1000 {
            now += Duration::from_millis(1);
            while pacer.due(now, 1000, rate) <= now {
                pacer.on_sent(1000);
                sent += 1000;
            }
        }
        assert!((99_000_000..101_000_000).contains(&sent), "{sent} octets in a second");
    }

    #[test]
    fn a_slow_rate_does_not_overflow() {
        let mut pacer = Pacer::new(1000);
        pacer.on_sent(10_000);
        assert_eq!(pacer.due(Time::ZERO, 1000, Some(0)), Time::from_secs(1000));
        pacer.due(Time::NEVER, 1000, Some(u64::MAX));
    }
}
