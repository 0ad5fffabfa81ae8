//! Round trip times, smoothed as RFC 9002 section 5 says (RFC 6298 with the peer's delay taken off).

use std::time::Duration;

/// Timers finer than this are not worth their cost (RFC 9002 section 6.1.2).
pub const GRANULARITY: Duration = Duration::from_millis(1);
/// What is taken for the round trip while there is no sample: 333 ms (RFC 9002 section 6.2.2).
pub const INITIAL: Duration = Duration::from_millis(333);

/// The round trip of one path.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rtt {
    estimate: Option<Estimate>,
}

#[derive(Clone, Copy, Debug)]
struct Estimate {
    latest: Duration,
    smoothed: Duration,
    variation: Duration,
    min: Duration,
}

impl Rtt {
    /// No sample yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet took `latest` to be acknowledged, of which the peer says that it held the acknowledgement for `held`.
    pub fn on_sample(&mut self, latest: Duration, held: Duration) {
        let Some(now) = self.estimate.as_mut() else {
            self.estimate = Some(Estimate { latest, smoothed: latest, variation: latest / 2, min: latest });
            return;
        };
        now.latest = latest;
        now.min = now.min.min(latest);
        // what the peer says must not bring the sample below what was seen (RFC 9002 section 5.3)
        let adjusted = if latest >= now.min + held { latest - held } else { latest };
        now.variation = now.variation * 3 / 4 + now.smoothed.abs_diff(adjusted) / 4;
        now.smoothed = now.smoothed * 7 / 8 + adjusted / 8;
    }

    /// True once there was a sample.
    pub const fn is_known(&self) -> bool {
        self.estimate.is_some()
    }

    /// Smoothed; [`INITIAL`] before the first sample.
    pub fn smoothed(&self) -> Duration {
        self.estimate.map_or(INITIAL, |now| now.smoothed)
    }

    /// The last sample.
    pub fn latest(&self) -> Option<Duration> {
        self.estimate.map(|now| now.latest)
    }

    /// The lowest sample of this path.
    pub fn min(&self) -> Option<Duration> {
        self.estimate.map(|now| now.min)
    }

    /// Mean deviation.
    pub fn variation(&self) -> Duration {
        self.estimate.map_or(INITIAL / 2, |now| now.variation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_first_sample_stands_alone_and_later_ones_are_smoothed() {
        let mut rtt = Rtt::new();
        assert_eq!((rtt.smoothed(), rtt.is_known()), (INITIAL, false));
        rtt.on_sample(MS(80), MS(20));
        assert_eq!((rtt.smoothed(), rtt.variation(), rtt.min()), (MS(80), MS(40), Some(MS(80))));
        rtt.on_sample(MS(160), MS(0));
        assert_eq!((rtt.smoothed(), rtt.variation(), rtt.latest()), (MS(90), MS(50), Some(MS(160))));
    }

    #[test]
    fn the_peers_delay_never_brings_a_sample_below_the_lowest() {
        let mut rtt = Rtt::new();
        rtt.on_sample(MS(80), MS(0));
        rtt.on_sample(MS(88), MS(20));
        assert_eq!(rtt.smoothed(), MS(81));
        rtt.on_sample(MS(108), MS(20));
        assert_eq!(rtt.smoothed(), MS(81) * 7 / 8 + MS(88) / 8);
    }
}
