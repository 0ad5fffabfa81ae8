//! NewReno, the reference: RFC 5681 with the recovery of RFC 6582.
//!
//! | what | then |
//! |---|---|
//! | acknowledged, window < threshold | window + octets, at most 2 segments each time (RFC 3465, L = 2) |
//! | acknowledged, window >= threshold | window + 1 segment for each window acknowledged |
//! | first loss | threshold = max(in flight / 2, 2 segments); window = threshold |
//! | more losses of that recovery | nothing |
//! | time-out | threshold as above, unless it is the same segment's again; window = 1 segment |
//! | idle longer than the time-out | window = min(window, initial window) (RFC 5681, 4.1) |
//!
//! The window is not inflated in recovery: what is in flight already counts duplicates. Growth stops while the window is not
//! the limit. Segments are paced at 2 x window / round trip in slow start and 1.25 x after it, so that a window does not leave
//! as one burst; the factors leave room for growth within the round trip.

use super::{Ack, Controller, INITIAL_SEGMENTS, LEAST_SEGMENTS, Loss, LossKind, State};
use crate::proto::time::Time;
use std::time::Duration;

/// An initial window of large segments has at most so many octets, or two segments (RFC 9002, 7.2).
const INITIAL_OCTETS: u64 = 14_720;

/// RFC 5681 and 6582.
#[derive(Clone, Debug)]
pub struct NewReno {
    segment: u64,
    window: u64,
    threshold: u64,
    /// Octets acknowledged that have not yet made a segment of growth.
    counted: u64,
    smoothed: Option<Duration>,
    /// Window and threshold before the last reduction.
    before: Option<(u64, u64)>,
    timed_out: bool,
}

impl NewReno {
    /// With the initial window of [`INITIAL_SEGMENTS`], for segments of so many octets.
    pub fn new(segment: u64) -> Self {
        let segment = segment.max(1);
        Self {
            segment,
            window: INITIAL_SEGMENTS * segment,
            threshold: u64::MAX,
            counted: 0,
            smoothed: None,
            before: None,
            timed_out: false,
        }
    }

    /// As a [`super::MakeController`].
    pub fn make(segment: u64) -> Box<dyn Controller> {
        Box::new(Self::new(segment))
    }

    fn slow_start(&self) -> bool {
        self.window < self.threshold
    }
}

impl Controller for NewReno {
    fn name(&self) -> &'static str {
        "newreno"
    }

    fn on_ack(&mut self, ack: &Ack) {
        self.smoothed = ack.smoothed.or(self.smoothed);
        self.timed_out &= ack.bytes == 0;
        if ack.app_limited || (ack.recovering && !self.slow_start()) {
            return;
        }
        if self.slow_start() {
            let grown = self.window + ack.bytes.min(2 * self.segment);
            self.window = grown.min(self.threshold.max(self.window));
        } else {
            self.counted += ack.bytes;
            if self.counted >= self.window {
                self.counted -= self.window;
                self.window += self.segment;
            }
        }
    }

    fn on_loss(&mut self, loss: &Loss) {
        let half = (loss.in_flight / 2).max(LEAST_SEGMENTS * self.segment);
        match loss.kind {
            LossKind::More => return,
            LossKind::First => {
                self.before = Some((self.window, self.threshold));
                self.threshold = half;
                self.window = half;
            }
            LossKind::Timeout => {
                // the same segment's next time-out says nothing new about the path (RFC 5681, 3.1)
                if !self.timed_out {
                    self.before = Some((self.window, self.threshold));
                    self.threshold = half;
                }
                self.timed_out = true;
                self.window = self.segment;
            }
        }
        self.counted = 0;
    }

    fn on_spurious(&mut self, _now: Time) {
        if let Some((window, threshold)) = self.before.take() {
            self.window = self.window.max(window);
            self.threshold = self.threshold.max(threshold);
        }
    }

    fn on_idle(&mut self, _now: Time, _idle: Duration) {
        self.window = self.window.min(INITIAL_SEGMENTS * self.segment);
    }

    fn on_segment_size(&mut self, bytes: u64) {
        let before = std::mem::replace(&mut self.segment, bytes.max(1));
        // a window that is still small keeps its number of segments, as far as an initial window may go (RFC 9002, 7.2)
        let most = INITIAL_OCTETS.max(2 * self.segment).min(INITIAL_SEGMENTS * self.segment);
        let grown = |octets: u64| octets.max(most.min((octets / before).saturating_mul(self.segment)));
        self.window = grown(self.window).max(self.segment);
        self.threshold = grown(self.threshold);
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn pacing_rate(&self) -> Option<u64> {
        let nanos = self.smoothed?.as_nanos().max(1);
        let gain = if self.slow_start() { 200 } else { 125 };
        let rate = u128::from(self.window) * gain * 10_000_000 / nanos;
        Some(u64::try_from(rate).unwrap_or(u64::MAX).max(1))
    }

    fn state(&self) -> State {
        State {
            phase: if self.slow_start() { "slow start" } else { "avoidance" },
            threshold: Some(self.threshold).filter(|threshold| *threshold != u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 1000;

    fn ack(bytes: u64) -> Ack {
        Ack {
            now: Time::ZERO,
            bytes,
            prior_in_flight: bytes,
            in_flight: 0,
            rtt: None,
            smoothed: Some(Duration::from_millis(100)),
            least_rtt: None,
            rate: None,
            round: 0,
            app_limited: false,
            recovering: false,
        }
    }

    fn loss(kind: LossKind, in_flight: u64) -> Loss {
        Loss { now: Time::ZERO, bytes: SEGMENT, in_flight, kind, snapshot: None, delivered: 0, lost: SEGMENT }
    }

    #[test]
    fn slow_start_doubles_and_avoidance_adds_a_segment_per_window() {
        let mut reno = NewReno::new(SEGMENT);
        for _ in 0..10 {
            reno.on_ack(&ack(SEGMENT));
        }
        assert_eq!(reno.window(), 20 * SEGMENT);
        assert_eq!(reno.pacing_rate(), Some(400 * SEGMENT));
        reno.on_loss(&loss(LossKind::First, 20 * SEGMENT));
        assert_eq!(reno.window(), 10 * SEGMENT);
        for _ in 0..10 {
            reno.on_ack(&ack(SEGMENT));
        }
        assert_eq!(reno.window(), 11 * SEGMENT);
        assert_eq!(reno.state(), State { phase: "avoidance", threshold: Some(10 * SEGMENT) });
    }

    #[test]
    fn a_big_acknowledgement_opens_slow_start_by_two_segments() {
        let mut reno = NewReno::new(SEGMENT);
        reno.on_ack(&ack(50 * SEGMENT));
        assert_eq!(reno.window(), 12 * SEGMENT);
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow() {
        let mut reno = NewReno::new(SEGMENT);
        reno.on_ack(&Ack { app_limited: true, ..ack(SEGMENT) });
        assert_eq!(reno.window(), 10 * SEGMENT);
    }

    #[test]
    fn one_recovery_halves_once_and_a_time_out_starts_from_one_segment() {
        let mut reno = NewReno::new(SEGMENT);
        reno.on_loss(&loss(LossKind::First, 10 * SEGMENT));
        reno.on_loss(&loss(LossKind::More, 9 * SEGMENT));
        assert_eq!(reno.window(), 5 * SEGMENT);
        reno.on_ack(&Ack { recovering: true, ..ack(SEGMENT) });
        assert_eq!(reno.window(), 5 * SEGMENT, "no growth before the recovery is over");
        reno.on_loss(&loss(LossKind::Timeout, 5 * SEGMENT));
        assert_eq!((reno.window(), reno.state().threshold), (SEGMENT, Some(2500)));
        reno.on_loss(&loss(LossKind::Timeout, SEGMENT));
        assert_eq!((reno.window(), reno.state().threshold), (SEGMENT, Some(2500)), "the same again");
        reno.on_ack(&Ack { recovering: true, ..ack(SEGMENT) });
        assert_eq!(reno.window(), 2 * SEGMENT, "slow start, also while repairing");
    }

    #[test]
    fn a_mistake_is_undone_and_an_idle_time_goes_back_to_the_start() {
        let mut reno = NewReno::new(SEGMENT);
        for _ in 0..20 {
            reno.on_ack(&ack(SEGMENT));
        }
        reno.on_loss(&loss(LossKind::Timeout, 30 * SEGMENT));
        reno.on_spurious(Time::ZERO);
        assert_eq!(reno.window(), 30 * SEGMENT);
        reno.on_idle(Time::ZERO, Duration::from_secs(5));
        assert_eq!(reno.window(), 10 * SEGMENT);
    }
}
