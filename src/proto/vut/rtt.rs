//! Round trip and retransmission time-out: RFC 6298.
//!
//! ```text
//!   first sample     srtt = r, var = r / 2
//!   then             var = 3/4 var + 1/4 |srtt - r|, srtt = 7/8 srtt + 1/8 r
//!   time-out         srtt + max(1 ms, 4 var), at least 200 ms, at most 60 s; 1 s before the first sample
//!   each time-out    doubles it (back-off), until a sample comes
//! ```
//!
//! Two deviations, both on purpose. The least time-out is 200 ms and not 1 s, as in the kernels that carry most of the
//! world's TCP: the peers acknowledge each datagram at once, so there are no delayed acknowledgements to wait for. And a time-out
//! that was backed off is at most 5 s (or the plain one, if that is longer) and not 60 s: one small datagram every 5 s loads no path, and a
//! connection is back soon after an outage.
//!
//! **Karn's rule** is the caller's: no sample of a segment that was sent more than once.

use std::time::Duration;

/// The time-out before there is a sample: 1 s (RFC 6298, 2.1).
pub const INITIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// The least time-out.
pub const LEAST_TIMEOUT: Duration = Duration::from_millis(200);
/// The longest time-out.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest time-out that comes from backing off.
pub const LONGEST_BACKED_OFF: Duration = Duration::from_secs(5);
/// The grain of timers (`G` in RFC 6298).
const GRAIN: Duration = Duration::from_millis(1);

/// The estimate of one path.
#[derive(Clone, Debug, Default)]
pub struct Rtt {
    smoothed: Option<Duration>,
    var: Duration,
    least: Option<Duration>,
    latest: Option<Duration>,
    backoff: u32,
}

impl Rtt {
    /// No sample yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A segment that was sent once was acknowledged after so long.
    pub fn on_sample(&mut self, sample: Duration) {
        self.backoff = 0;
        self.latest = Some(sample);
        self.least = Some(self.least.map_or(sample, |least| least.min(sample)));
        match self.smoothed {
            None => (self.smoothed, self.var) = (Some(sample), sample / 2),
            Some(smoothed) => {
                self.var = self.var * 3 / 4 + smoothed.abs_diff(sample) / 4;
                self.smoothed = Some(smoothed * 7 / 8 + sample / 8);
            }
        }
    }

    /// The time-out ran out.
    pub fn on_timeout(&mut self) {
        self.backoff = (self.backoff + 1).min(16);
    }

    /// The smoothed round trip.
    pub fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The mean deviation.
    pub fn deviation(&self) -> Duration {
        self.var
    }

    /// The least sample.
    pub fn least(&self) -> Option<Duration> {
        self.least
    }

    /// The last sample.
    pub fn latest(&self) -> Option<Duration> {
        self.latest
    }

    /// How often the time-out was doubled.
    pub fn backoff(&self) -> u32 {
        self.backoff
    }

    /// The time-out without back-off.
    pub fn plain_timeout(&self) -> Duration {
        match self.smoothed {
            None => INITIAL_TIMEOUT,
            Some(smoothed) => (smoothed + GRAIN.max(self.var * 4)).clamp(LEAST_TIMEOUT, LONGEST_TIMEOUT),
        }
    }

    /// The time-out now.
    pub fn timeout(&self) -> Duration {
        self.backed_off(self.backoff)
    }

    /// The time-out after it ran out `times` times.
    pub fn backed_off(&self, times: u32) -> Duration {
        let plain = self.plain_timeout();
        plain.saturating_mul(1 << times.min(16)).min(LONGEST_BACKED_OFF.max(plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_first_sample_and_the_next_are_taken_as_rfc_6298_says() {
        let mut rtt = Rtt::new();
        assert_eq!(rtt.timeout(), ms(1000));
        rtt.on_sample(ms(100));
        assert_eq!((rtt.smoothed(), rtt.deviation(), rtt.timeout()), (Some(ms(100)), ms(50), ms(300)));
        rtt.on_sample(ms(180));
        assert_eq!((rtt.smoothed(), rtt.deviation()), (Some(ms(110)), Duration::from_micros(57_500)));
        assert_eq!(rtt.timeout(), ms(340));
        assert_eq!((rtt.least(), rtt.latest()), (Some(ms(100)), Some(ms(180))));
    }

    #[test]
    fn a_fast_path_has_the_least_time_out() {
        let mut rtt = Rtt::new();
        (0..20).for_each(|_| rtt.on_sample(ms(1)));
        assert_eq!(rtt.timeout(), LEAST_TIMEOUT);
    }

    #[test]
    fn backing_off_doubles_up_to_its_bound_and_a_sample_ends_it() {
        let mut rtt = Rtt::new();
        rtt.on_sample(ms(100));
        let seen: Vec<_> = (0..6).map(|_| (rtt.timeout(), rtt.on_timeout()).0).collect();
        assert_eq!(seen, [300, 600, 1200, 2400, 4800, 5000].map(ms));
        rtt.on_sample(ms(100));
        assert_eq!(rtt.timeout(), Duration::from_micros(250_000));
        let mut slow = Rtt::new();
        slow.on_sample(ms(4000));
        slow.on_timeout();
        assert_eq!(slow.timeout(), ms(12_000), "never below the plain one");
    }
}
