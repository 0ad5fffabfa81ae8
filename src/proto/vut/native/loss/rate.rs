//! How fast data is delivered: the samples that a model-based congestion controller is fed with
//! (draft-ietf-ccwg-bbr, "Delivery Rate Samples"; first draft-cheng-iccrg-delivery-rate-estimation).
//!
//! Each packet takes along what was delivered when it was sent. When it is acknowledged, the difference over the longer of the
//! two times (sending and acknowledging what lies between) is a rate that neither a burst nor acknowledgements that come
//! together can make too high.

use crate::proto::time::Time;
use std::time::Duration;

/// What a packet takes along.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Snapshot {
    delivered: u64,
    delivered_at: Time,
    first_sent_at: Time,
    lost: u64,
    in_flight: u64,
    app_limited: bool,
}

/// One sample, of the packet sent last among those that an acknowledgement newly acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateSample {
    /// Octets delivered in [`interval`](Self::interval).
    pub delivered: u64,
    /// The longer of the sending and the acknowledging time. Never zero.
    pub interval: Duration,
    /// All that was delivered when the packet was sent: a round trip ends when it passes what was delivered at its start.
    pub prior_delivered: u64,
    /// Octets lost while the packet was under way.
    pub lost: u64,
    /// Octets in flight when the packet had just been sent.
    pub sent_in_flight: u64,
    /// True if the application, not the network, limited the rate: the sample is a lower bound.
    pub app_limited: bool,
}

impl RateSample {
    /// Octets per second.
    pub fn per_second(&self) -> u64 {
        let nanos = self.interval.as_nanos().max(1);
        u64::try_from(u128::from(self.delivered) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
    }
}

/// The state of the sender that the samples are made from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RateSampler {
    delivered: u64,
    delivered_at: Time,
    first_sent_at: Time,
    lost: u64,
    /// The rate is limited by the application until so much was delivered; 0 if it is not.
    app_limited_until: u64,
    newest: Option<(u64, Snapshot, Time)>,
}

impl RateSampler {
    pub(super) const fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// The application has no more to send just now, with `in_flight` octets under way.
    pub(super) fn set_app_limited(&mut self, in_flight: u64) {
        self.app_limited_until = (self.delivered + in_flight).max(1);
    }

    /// A packet is sent; `in_flight` is what was in flight before, `size` its own octets.
    pub(super) fn on_sent(&mut self, now: Time, in_flight: u64, size: u64) -> Snapshot {
        if in_flight == 0 {
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        Snapshot {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            lost: self.lost,
            in_flight: in_flight + size,
            app_limited: self.app_limited_until != 0,
        }
    }

    /// A packet is acknowledged; all of one acknowledgement before [`take`](Self::take).
    pub(super) fn on_acknowledged(&mut self, number: u64, size: u64, sent_at: Time, snapshot: Snapshot, now: Time) {
        self.delivered += size;
        self.delivered_at = now;
        if self.newest.is_none_or(|(newest, ..)| number > newest) {
            self.newest = Some((number, snapshot, sent_at));
        }
    }

    pub(super) fn on_lost(&mut self, size: u64) {
        self.lost += size;
    }

    /// The sample of the acknowledgement that was processed; none if it acknowledged nothing, or so much faster than a round
    /// trip can be that it would tell nothing.
    pub(super) fn take(&mut self, min_rtt: Option<Duration>) -> Option<RateSample> {
        let (_, snapshot, sent_at) = self.newest.take()?;
        self.first_sent_at = sent_at;
        if self.app_limited_until != 0 && self.delivered > self.app_limited_until {
            self.app_limited_until = 0;
        }
        let sending = sent_at.since(snapshot.first_sent_at);
        let acknowledging = self.delivered_at.since(snapshot.delivered_at);
        let interval = sending.max(acknowledging);
        let sample = RateSample {
            delivered: self.delivered - snapshot.delivered,
            interval,
            prior_delivered: snapshot.delivered,
            lost: self.lost - snapshot.lost,
            sent_in_flight: snapshot.in_flight,
            app_limited: snapshot.app_limited,
        };
        (!interval.is_zero() && min_rtt.is_none_or(|min| interval >= min)).then_some(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Time = Time::from_millis;

    #[test]
    fn a_steady_flow_has_its_rate() {
        let mut sampler = RateSampler::default();
        let mut sent = Vec::new();
        // 1000 octets each ms, acknowledged 20 ms later
        let mut last = None;
        for now in 0..100u64 {
            if let Some(number) = now.checked_sub(20) {
                let (at, snapshot) = sent[usize::try_from(number).expect("small")];
                sampler.on_acknowledged(number, 1000, at, snapshot, MS(now));
                last = sampler.take(Some(Duration::from_millis(20)));
            }
            let in_flight = now.min(20) * 1000;
            sent.push((MS(now), sampler.on_sent(MS(now), in_flight, 1000)));
        }
        let sample = last.expect("a sample");
        assert_eq!((sample.per_second(), sample.app_limited), (1_000_000, false));
        assert_eq!(sampler.delivered(), 80_000);
    }

    #[test]
    fn acknowledgements_that_come_together_do_not_raise_the_rate() {
        let mut sampler = RateSampler::default();
        let sent: Vec<_> = (0..10).map(|n| (MS(n), sampler.on_sent(MS(n), n * 1000, 1000))).collect();
        for (number, (at, snapshot)) in (0u64..).zip(sent) {
            sampler.on_acknowledged(number, 1000, at, snapshot, MS(30));
        }
        let sample = sampler.take(Some(Duration::from_millis(21))).expect("a sample");
        assert_eq!((sample.delivered, sample.interval), (10_000, Duration::from_millis(30)));
    }

    #[test]
    fn a_sample_knows_losses_and_that_the_application_was_slow() {
        let mut sampler = RateSampler::default();
        sampler.set_app_limited(0);
        let snapshot = sampler.on_sent(MS(0), 0, 1000);
        sampler.on_lost(300);
        sampler.on_acknowledged(0, 1000, MS(0), snapshot, MS(10));
        let sample = sampler.take(None).expect("a sample");
        assert_eq!((sample.lost, sample.app_limited, sample.sent_in_flight), (300, true, 1000));
        assert!(!sampler.on_sent(MS(11), 0, 1000).app_limited);
        assert_eq!(sampler.take(None), None);
    }
}
