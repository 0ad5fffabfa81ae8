//! What is known of the path: how fast it is, how long it is, how much its acknowledgements clump.

use super::super::RateSample;
use crate::proto::time::Time;
use std::time::Duration;

/// The maximum over this cycle of probing and the last one (draft-ietf-ccwg-bbr, 5.5.6: MaxBwFilterLen = 2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bandwidth {
    current: u64,
    last: u64,
}

impl Bandwidth {
    /// Octets per second; 0 before the first sample.
    pub(super) fn get(&self) -> u64 {
        self.current.max(self.last)
    }

    /// A sample; one that the application held back counts only if it is higher.
    pub(super) fn on_sample(&mut self, sample: &RateSample) {
        if !sample.app_limited || sample.rate >= self.get() {
            self.current = self.current.max(sample.rate);
        }
    }

    /// A cycle is over; one without any sample leaves what is known.
    pub(super) fn advance(&mut self) {
        if self.current > 0 {
            (self.last, self.current) = (self.current, 0);
        }
    }
}

/// draft-ietf-ccwg-bbr, 5.5.7: MinRTTFilterLen and ProbeRTTInterval.
const FORGET: Duration = Duration::from_secs(10);
const PROBE_AFTER: Duration = Duration::from_secs(5);

/// The least round trip of 10 s, and whether one of the last 5 s was as short.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Floor {
    least: Option<(Duration, Time)>,
    recent: Option<(Duration, Time)>,
}

impl Floor {
    /// The least round trip.
    pub(super) fn get(&self) -> Option<Duration> {
        self.least.map(|(least, _)| least)
    }

    /// A sample; true if the path should be emptied to look again.
    pub(super) fn on_sample(&mut self, now: Time, rtt: Option<Duration>) -> bool {
        let old = |seen: Option<(Duration, Time)>, age| seen.is_some_and(|(_, at)| now.since(at) > age);
        let stale = old(self.recent, PROBE_AFTER);
        let Some(rtt) = rtt else { return stale };
        if stale || self.recent.is_none_or(|(least, _)| rtt <= least) {
            self.recent = Some((rtt, now));
        }
        if let Some((recent, at)) = self.recent
            && (old(self.least, FORGET) || self.least.is_none_or(|(least, _)| recent <= least))
        {
            self.least = Some((recent, at));
        }
        stale
    }

    /// The path was emptied: what was seen is fresh.
    pub(super) fn refresh(&mut self, now: Time) {
        if let Some((_, at)) = &mut self.recent {
            *at = now;
        }
    }
}

/// Rounds over which the excess counts (draft-ietf-ccwg-bbr, 5.5.9: ExtraAckedFilterLen = 10).
const EXCESS_ROUNDS: u64 = 10;

/// How much more was acknowledged at once than the bandwidth explains.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Excess {
    from: Time,
    delivered: u64,
    max: [u64; 2],
    since: u64,
}

impl Excess {
    /// The maximum of the last 5 to 10 rounds.
    pub(super) fn get(&self) -> u64 {
        self.max[0].max(self.max[1])
    }

    /// `bytes` were acknowledged.
    pub(super) fn on_ack(&mut self, now: Time, bytes: u64, bandwidth: u64, window: u64, round: u64) {
        if round >= self.since + EXCESS_ROUNDS / 2 {
            self.max = [0, self.max[0]];
            self.since = round;
        }
        let expected = octets(bandwidth, now.since(self.from));
        if self.delivered <= expected {
            (self.from, self.delivered) = (now, 0);
        }
        self.delivered += bytes;
        let excess = self.delivered.saturating_sub(octets(bandwidth, now.since(self.from))).min(window);
        self.max[0] = self.max[0].max(excess);
    }
}

/// Segments in a train that tells something.
const TRAIN: u64 = 4;

/// How fast the first flight came through: it leaves as one burst, and the bottleneck spreads it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Train {
    first: Option<Time>,
    last: Time,
    bytes: u64,
    rate: u64,
}

impl Train {
    /// Octets per second, if known.
    pub(super) fn get(&self) -> Option<u64> {
        (self.rate > 0).then_some(self.rate)
    }

    /// Something of the first flight was acknowledged. The fastest beginning counts: the last of it may be held back. After
    /// a pause of `gap` another train begins: what left before the rest, with the handshake, is none of it.
    pub(super) fn on_ack(&mut self, now: Time, bytes: u64, segment: u64, gap: Duration) {
        let pause = now.since(std::mem::replace(&mut self.last, now)) > gap;
        let Some(first) = self.first.filter(|_| !pause) else {
            (self.first, self.bytes) = (Some(now), 0);
            return;
        };
        self.bytes += bytes;
        let nanos = now.since(first).as_nanos();
        if self.bytes >= TRAIN * segment && nanos > 0 {
            let rate = u128::from(self.bytes) * 1_000_000_000 / nanos;
            self.rate = self.rate.max(u64::try_from(rate).unwrap_or(u64::MAX));
        }
    }
}

/// What a rate makes in a time.
pub(super) fn octets(rate: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(rate) * time.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rate: u64, app_limited: bool) -> RateSample {
        RateSample {
            rate,
            delivered: 1,
            interval: Duration::from_secs(1),
            lost: 0,
            prior_delivered: 0,
            sent_in_flight: 1,
            app_limited,
        }
    }

    #[test]
    fn bandwidth_is_the_best_of_two_cycles() {
        let mut bandwidth = Bandwidth::default();
        bandwidth.on_sample(&sample(100, false));
        bandwidth.on_sample(&sample(90, true));
        bandwidth.advance();
        bandwidth.advance();
        assert_eq!(bandwidth.get(), 100, "nothing was seen in between");
        bandwidth.on_sample(&sample(80, false));
        bandwidth.advance();
        assert_eq!(bandwidth.get(), 80);
        bandwidth.on_sample(&sample(120, true));
        assert_eq!(bandwidth.get(), 120);
    }

    #[test]
    fn the_floor_is_looked_for_again_after_5_s_and_forgotten_after_10() {
        let (mut floor, ms) = (Floor::default(), Duration::from_millis);
        assert!(!floor.on_sample(Time::ZERO, Some(ms(50))));
        assert!(!floor.on_sample(Time::from_secs(4), Some(ms(60))));
        assert!(floor.on_sample(Time::from_secs(6), Some(ms(70))));
        assert_eq!(floor.get(), Some(ms(50)));
        floor.on_sample(Time::from_secs(11), Some(ms(65)));
        assert_eq!(floor.get(), Some(ms(65)));
        floor.on_sample(Time::from_secs(12), Some(ms(40)));
        assert_eq!(floor.get(), Some(ms(40)));
    }

    #[test]
    fn a_train_shows_the_bottleneck_even_if_its_tail_is_held() {
        let mut train = Train::default();
        train.on_ack(Time::from_millis(40), 30, 1000, Duration::from_millis(50));
        for ms in [100, 102, 104] {
            assert_eq!(train.get(), None);
            train.on_ack(Time::from_millis(ms), 2000, 1000, Duration::from_millis(50));
        }
        assert_eq!(train.get(), Some(1_000_000));
        train.on_ack(Time::from_millis(130), 1000, 1000, Duration::from_millis(50));
        assert_eq!(train.get(), Some(1_000_000));
    }

    #[test]
    fn a_clump_of_acknowledgements_is_an_excess_for_a_while() {
        let mut excess = Excess::default();
        for ms in 1..50 {
            excess.on_ack(Time::from_millis(ms), 1000, 1_000_000, 100_000, 0);
        }
        assert!(excess.get() <= 1000);
        excess.on_ack(Time::from_millis(70), 20_000, 1_000_000, 100_000, 1);
        assert!((19_000..=20_000).contains(&excess.get()), "{}", excess.get());
        for round in 2..13 {
            excess.on_ack(Time::from_millis(70 + round * 10), 10_000, 1_000_000, 100_000, round);
        }
        assert!(excess.get() <= 10_000);
    }
}
