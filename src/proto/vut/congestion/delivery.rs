//! Delivery rate samples and round trips, as draft-ietf-ccwg-bbr (section 4.1) and draft-cheng-iccrg-delivery-rate-estimation
//! describe them.
//!
//! Each segment that is sent takes a [`Snapshot`] of the counters with it. When it is acknowledged, what was delivered since is
//! divided by the longer of two times: from the first to the last sending of that flight, and from the first to the last
//! acknowledgement. So neither a burst of sending nor a burst of acknowledgements makes a path look faster than it is.

use crate::proto::time::Time;
use std::time::Duration;

/// What was known when a segment was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// When it was sent.
    pub sent_at: Time,
    /// Octets delivered up to then.
    pub delivered: u64,
    /// When the last of those was delivered.
    pub delivered_at: Time,
    /// When the segment was sent that was acknowledged last.
    pub first_sent_at: Time,
    /// The sender had less to send than it might have sent.
    pub app_limited: bool,
    /// In flight, it included.
    pub in_flight: u64,
    /// Octets lost up to then.
    pub lost: u64,
}

/// How fast the path delivered, over about one round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateSample {
    /// Octets per second.
    pub rate: u64,
    /// Octets delivered in `interval`.
    pub delivered: u64,
    /// What that took.
    pub interval: Duration,
    /// Octets lost in the same time.
    pub lost: u64,
    /// Octets delivered before the segment of this sample was sent.
    pub prior_delivered: u64,
    /// In flight when it was sent, it included.
    pub sent_in_flight: u64,
    /// Sending was held back by something else: the path may be faster.
    pub app_limited: bool,
}

/// Counts what was delivered.
///
/// # Invariants
///
/// `delivered`, `lost` and `round` only rise; times only rise.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    delivered: u64,
    delivered_at: Time,
    first_sent_at: Time,
    lost: u64,
    /// Samples are held back by the application until this much was delivered.
    limited_until: Option<u64>,
    round: u64,
    /// A round ends when something is acknowledged that was sent after this much was delivered.
    round_ends: u64,
}

impl Delivery {
    /// Nothing was sent yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Octets delivered so far.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Octets held to be lost so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Round trips so far.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// True if samples are held back by the application or the peer.
    pub fn is_app_limited(&self) -> bool {
        self.limited_until.is_some()
    }

    /// There is nothing to send, and yet room in the window: `in_flight` must be delivered before samples tell of the path again.
    pub fn on_app_limited(&mut self, in_flight: u64) {
        self.limited_until = Some((self.delivered + in_flight).max(1));
    }

    /// A segment is sent; `prior_in_flight` is what is under way without it.
    pub fn on_sent(&mut self, now: Time, bytes: u64, prior_in_flight: u64) -> Snapshot {
        if prior_in_flight == 0 {
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        Snapshot {
            sent_at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            app_limited: self.limited_until.is_some(),
            in_flight: prior_in_flight + bytes,
            lost: self.lost,
        }
    }

    /// So many octets are held to be lost.
    pub fn on_lost(&mut self, bytes: u64) {
        self.lost += bytes;
    }

    /// So many octets arrived. `newest` is the segment sent last among those that are newly acknowledged; without one
    /// (duplicate acknowledgements say only that something arrived) there is no sample.
    pub fn on_delivered(&mut self, now: Time, bytes: u64, newest: Option<&Snapshot>) -> Option<RateSample> {
        self.delivered += bytes;
        self.delivered_at = now;
        if self.limited_until.is_some_and(|until| self.delivered > until) {
            self.limited_until = None;
        }
        let newest = newest?;
        if newest.delivered >= self.round_ends {
            self.round += 1;
            self.round_ends = self.delivered;
        }
        self.first_sent_at = self.first_sent_at.max(newest.sent_at);
        let sending = newest.sent_at - newest.first_sent_at;
        let acknowledging = now - newest.delivered_at;
        let interval = sending.max(acknowledging);
        let delivered = self.delivered.saturating_sub(newest.delivered);
        if interval.is_zero() {
            return None;
        }
        let rate = u128::from(delivered) * 1_000_000_000 / interval.as_nanos();
        Some(RateSample {
            rate: u64::try_from(rate).unwrap_or(u64::MAX),
            delivered,
            interval,
            lost: self.lost - newest.lost,
            prior_delivered: newest.delivered,
            sent_in_flight: newest.in_flight,
            app_limited: newest.app_limited,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_flow_is_measured_at_its_rate() {
        // 1000 octets each millisecond, a round trip of 10 ms
        let (mut delivery, mut sent, mut last) = (Delivery::new(), Vec::new(), None);
        for ms in 0..100 {
            let now = Time::from_millis(ms);
            if ms >= 10 {
                let snapshot = sent[ms as usize - 10];
                last = delivery.on_delivered(now, 1000, Some(&snapshot));
            }
            sent.push(delivery.on_sent(now, 1000, 1000 * ms.min(9)));
        }
        let sample = last.expect("a sample");
        assert_eq!(sample.rate, 1_000_000);
        assert_eq!(sample.interval, Duration::from_millis(10));
        assert!(!sample.app_limited);
        assert_eq!(delivery.round(), 9, "90 ms after the first");
    }

    #[test]
    fn acknowledgements_in_a_burst_do_not_make_it_faster() {
        let mut delivery = Delivery::new();
        let sent: Vec<_> = (0..10).map(|ms| delivery.on_sent(Time::from_millis(ms), 1000, ms * 1000)).collect();
        let now = Time::from_millis(20);
        let rates = sent.iter().filter_map(|snapshot| delivery.on_delivered(now, 1000, Some(snapshot)));
        assert!(rates.map(|sample| sample.rate).max().expect("samples") <= 10_000 * 1000 / 20);
    }

    #[test]
    fn samples_after_a_pause_say_so_until_all_of_it_was_delivered() {
        let mut delivery = Delivery::new();
        let first = delivery.on_sent(Time::ZERO, 1000, 0);
        delivery.on_app_limited(1000);
        let second = delivery.on_sent(Time::from_millis(1), 1000, 1000);
        assert!(!delivery.on_delivered(Time::from_millis(10), 1000, Some(&first)).expect("a sample").app_limited);
        assert!(delivery.is_app_limited());
        assert!(delivery.on_delivered(Time::from_millis(11), 1000, Some(&second)).expect("a sample").app_limited);
        assert!(!delivery.is_app_limited());
    }
}
