//! When nothing comes back: the probe timer, that of tail loss probes first, backing off after that.
//!
//! The first wait is TLP's two round trips (RFC 8985 section 7.2). The next ones start from RTT + 4 deviations and double, as
//! RFC 9002 section 6.2 has it; nothing is taken for lost when the timer fires (RFC 8985 would at the retransmission time-out,
//! which is for TCP, where a retransmission is not told from its original): the acknowledgement of the probe shows by RACK
//! what was. To all is added what the peer may hold an acknowledgement for.

use super::super::acks::MAX_ACK_DELAY;
use super::rtt::{GRANULARITY, Rtt};
use crate::proto::time::Time;
use std::time::Duration;

/// The wait before there is a sample of the round trip (RFC 8985 section 7.2).
const UNKNOWN: Duration = Duration::from_secs(1);
/// A first wait of so many times what the handshake took: one and a half round trips if that was half a one. A peer that began
/// earlier makes it too short, which costs a datagram.
const GUESS: u32 = 3;
const LEAST_GUESS: Duration = Duration::from_millis(5);
/// Backing off ends here, unless the first wait is longer: after an interruption data flows again at most 2 s late.
pub const MAX_WAIT: Duration = Duration::from_secs(2);

/// The timer of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProbeTimer {
    fired: u32,
    /// The wait before there is a sample, if the handshake told something.
    first: Option<Duration>,
    from: Time,
}

impl ProbeTimer {
    /// How often it has fired since something was acknowledged.
    pub(super) const fn fired(&self) -> u32 {
        self.fired
    }

    /// The handshake took so long: at least half a round trip, as a rule.
    pub(super) fn guess(&mut self, handshake: Duration) {
        self.first = Some((handshake * GUESS).clamp(LEAST_GUESS, UNKNOWN));
    }

    /// Another path.
    pub(super) fn forget(&mut self) {
        self.first = None;
    }

    /// A packet that elicits was sent.
    pub(super) fn on_sent(&mut self, now: Time) {
        self.from = self.from.max(now);
    }

    /// A packet that elicits was acknowledged.
    pub(super) fn on_acknowledged(&mut self) {
        self.fired = 0;
    }

    /// It has fired.
    pub(super) fn on_fired(&mut self, now: Time) {
        self.fired = self.fired.saturating_add(1);
        self.from = now;
    }

    /// When it fires.
    pub(super) fn due(&self, rtt: &Rtt) -> Time {
        self.from + self.wait(rtt)
    }

    fn wait(&self, rtt: &Rtt) -> Duration {
        if !rtt.is_known() {
            return self.first.unwrap_or(UNKNOWN).saturating_mul(1 << self.fired.min(16)).min(MAX_WAIT);
        }
        let tail = rtt.smoothed() * 2 + hold(rtt);
        if self.fired == 0 {
            return tail;
        }
        let first = probe_timeout(rtt).max(tail);
        first.saturating_mul(1 << self.fired.min(16)).min(MAX_WAIT.max(first))
    }
}

/// The probe time-out (PTO), in which other waits are counted: RTT + 4 deviations + what the peer may hold.
pub fn probe_timeout(rtt: &Rtt) -> Duration {
    if !rtt.is_known() {
        return UNKNOWN;
    }
    rtt.smoothed() + (rtt.variation() * 4).max(GRANULARITY) + hold(rtt)
}

/// What the peer may hold an acknowledgement for. It holds it for a quarter of the round trip between 1 and 25 ms
/// ([`super::super::acks`]); its round trip time is not quite ours, so twice that.
fn hold(rtt: &Rtt) -> Duration {
    (rtt.smoothed() / 2).clamp(GRANULARITY * 2, MAX_ACK_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(rtt: &Rtt) -> Vec<u128> {
        let mut timer = ProbeTimer::default();
        let mut now = Time::ZERO;
        (0..6)
            .map(|_| {
                let due = timer.due(rtt);
                let wait = due.since(now);
                now = due;
                timer.on_fired(now);
                wait.as_millis()
            })
            .collect()
    }

    #[test]
    fn waits_begin_with_two_round_trips_and_back_off_to_2_s() {
        assert_eq!(waits(&Rtt::new()), [1000, 2000, 2000, 2000, 2000, 2000]);
        let mut timer = ProbeTimer::default();
        timer.guess(Duration::from_millis(40));
        assert_eq!(timer.due(&Rtt::new()), Time::from_millis(120));
        timer.forget();
        assert_eq!(timer.due(&Rtt::new()), Time::from_secs(1));
        let mut rtt = Rtt::new();
        rtt.on_sample(Duration::from_millis(80), Duration::ZERO);
        // 2 x 80 + 25; then 80 + 4 x 40 + 25, doubled
        assert_eq!(waits(&rtt), [185, 530, 1060, 2000, 2000, 2000]);
        let mut near = Rtt::new();
        near.on_sample(Duration::from_micros(100), Duration::ZERO);
        assert_eq!(waits(&near)[..3], [2, 6, 12]);
        let mut far = Rtt::new();
        far.on_sample(Duration::from_secs(3), Duration::ZERO);
        assert_eq!(waits(&far)[..3], [6025, 9025, 9025]);
    }

    #[test]
    fn what_is_sent_and_acknowledged_puts_it_off() {
        let mut timer = ProbeTimer::default();
        timer.on_fired(Time::from_secs(1));
        timer.on_sent(Time::from_secs(5));
        timer.on_acknowledged();
        assert_eq!((timer.fired(), timer.due(&Rtt::new())), (0, Time::from_secs(6)));
    }
}
