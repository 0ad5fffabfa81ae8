//! CUBIC: RFC 9438, with the slow start of RFC 9406 (HyStart++).
//!
//! | what | then |
//! |---|---|
//! | acknowledged in slow start | window + octets (RFC 9406, 4.2: no limit where segments are paced) |
//! | the round trip of a slow start round rises by 1/8, at least 4, at most 16 ms | growth is a quarter for 5 rounds (conservative slow start), then avoidance; a falling round trip takes that back |
//! | acknowledged in avoidance | towards `W(t + RTT)`, `W(t) = C (t - K)^3 + W_max`, at most 1.5 windows a round trip (4.2 to 4.5) |
//! | the Reno estimate is above `W(t)` | window = estimate (4.3): + alpha segments a window, alpha = 3 (1 - beta) / (1 + beta), 1 once it passes the window before the loss |
//! | first loss | `W_max` = window, or window (1 + beta) / 2 if it is less than the last one (fast convergence, 4.7); threshold = window = beta in flight |
//! | time-out | threshold and `W_max` as above, window = 1 segment; after that slow start `K` = 0 (4.8) |
//! | idle, or held back by the application | the clock `t` stands still (5.8) |
//! | a mistake | all is as it was (4.9) |
//!
//! `C` = 0.4 segments per cubic second, beta = 0.7 (RFC 9438, 4.6 and 5). Windows are octets; the arithmetic is in segments. A window below
//! 2 segments is not reduced further by a loss (4.6).

use super::{Ack, Controller, INITIAL_SEGMENTS, LEAST_SEGMENTS, Loss, LossKind, State};
use crate::proto::time::Time;
use std::time::Duration;

/// RFC 9438, 5: segments per cubic second.
const C: f64 = 0.4;
/// RFC 9438, 4.6.
const BETA: f64 = 0.7;
/// RFC 9438, 4.3: 3 (1 - beta) / (1 + beta).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
/// RFC 9438, 4.2: the target is at most so many windows.
const FASTEST: f64 = 1.5;

/// The window of RFC 9438, figure 1, in segments, `t` seconds after the beginning.
fn cubic(t: f64, k: f64, max: f64) -> f64 {
    C * (t - k).powi(3) + max
}

/// RFC 9438, figure 2: seconds from `window` to `max`, both in segments.
fn time_to(max: f64, window: f64) -> f64 {
    ((max - window).max(0.0) / C).cbrt()
}

/// An epoch: avoidance from a loss to the next.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    began: Time,
    /// Seconds to `max`.
    k: f64,
    /// The plateau.
    max: f64,
    /// What Reno would have.
    reno: f64,
}

/// What a loss changes.
#[derive(Clone, Copy, Debug)]
struct Before {
    window: f64,
    threshold: f64,
    last_max: f64,
    epoch: Option<Epoch>,
}

/// RFC 9438.
#[derive(Clone, Debug)]
pub struct Cubic {
    segment: u64,
    /// In segments, as all below.
    window: f64,
    threshold: f64,
    last_max: f64,
    /// The window before the last loss.
    prior: f64,
    epoch: Option<Epoch>,
    /// The next epoch begins on its plateau.
    flat: bool,
    /// Since when the window is not the limit.
    limited: Option<Time>,
    before: Option<Before>,
    start: Start,
    smoothed: Option<Duration>,
}

impl Cubic {
    /// With the initial window of [`INITIAL_SEGMENTS`], for segments of so many octets.
    pub fn new(segment: u64) -> Self {
        Self {
            segment: segment.max(1),
            window: INITIAL_SEGMENTS as f64,
            threshold: f64::INFINITY,
            last_max: 0.0,
            prior: 0.0,
            epoch: None,
            flat: false,
            limited: None,
            before: None,
            start: Start::default(),
            smoothed: None,
        }
    }

    /// As a [`super::MakeController`].
    pub fn make(segment: u64) -> Box<dyn Controller> {
        Box::new(Self::new(segment))
    }

    fn slow_start(&self) -> bool {
        self.window < self.threshold
    }

    fn avoid(&mut self, now: Time, acked: f64, round_trip: Duration) {
        let (window, last_max, flat) = (self.window, self.last_max, std::mem::take(&mut self.flat));
        let epoch = self.epoch.get_or_insert_with(|| {
            let max = if flat || last_max == 0.0 { window } else { last_max };
            Epoch { began: now, k: time_to(max, window), max, reno: window }
        });
        let t = now.since(epoch.began).as_secs_f64();
        let alpha = if epoch.reno >= self.prior { 1.0 } else { ALPHA };
        epoch.reno += alpha * acked / window;
        if cubic(t, epoch.k, epoch.max) < epoch.reno {
            self.window = window.max(epoch.reno);
        } else {
            let target = cubic(t + round_trip.as_secs_f64(), epoch.k, epoch.max).clamp(window, FASTEST * window);
            self.window += (target - window) / window * acked;
        }
    }

    fn reduce(&mut self, in_flight: u64) {
        self.before =
            Some(Before { window: self.window, threshold: self.threshold, last_max: self.last_max, epoch: self.epoch });
        self.prior = self.window;
        self.last_max = if self.window < self.last_max { self.window * f64::midpoint(1.0, BETA) } else { self.window };
        let in_flight = in_flight as f64 / self.segment as f64;
        self.threshold = (in_flight.min(self.window) * BETA).max(LEAST_SEGMENTS as f64);
        self.epoch = None;
        self.start = Start::default();
    }
}

impl Controller for Cubic {
    fn name(&self) -> &'static str {
        "cubic"
    }

    fn on_ack(&mut self, ack: &Ack) {
        self.smoothed = ack.smoothed.or(self.smoothed);
        if ack.app_limited {
            self.limited.get_or_insert(ack.now);
            return;
        }
        if let (Some(since), Some(epoch)) = (self.limited.take(), &mut self.epoch) {
            epoch.began += ack.now.since(since);
        }
        let acked = ack.bytes as f64 / self.segment as f64;
        if self.slow_start() {
            let share = self.start.on_ack(ack);
            self.window = (self.window + acked * share).min(self.threshold);
            if self.start.is_over() {
                self.threshold = self.window;
                self.flat = true;
            }
        } else if !ack.recovering {
            self.avoid(ack.now, acked, self.smoothed.unwrap_or_default());
        }
    }

    fn on_loss(&mut self, loss: &Loss) {
        match loss.kind {
            LossKind::More => {}
            LossKind::First => {
                self.reduce(loss.in_flight);
                self.window = self.window.min(self.threshold);
            }
            LossKind::Timeout => {
                // the next one of the same outage says nothing new
                if self.window > 1.0 {
                    self.reduce(loss.in_flight);
                }
                self.window = 1.0;
                self.flat = true;
            }
        }
    }

    fn on_spurious(&mut self, _now: Time) {
        if let Some(before) = self.before.take() {
            self.window = self.window.max(before.window);
            self.threshold = before.threshold;
            self.last_max = before.last_max;
            self.epoch = before.epoch;
            self.flat = false;
        }
    }

    fn on_idle(&mut self, _now: Time, idle: Duration) {
        // RFC 5681, 4.1: what was known of the path is old
        self.window = self.window.min(INITIAL_SEGMENTS as f64);
        if let Some(epoch) = self.epoch.as_mut().filter(|_| self.limited.is_none()) {
            epoch.began += idle;
        }
    }

    fn on_segment_size(&mut self, bytes: u64) {
        let bytes = bytes.max(1);
        let scale = self.segment as f64 / bytes as f64;
        self.segment = bytes;
        self.window = (self.window * scale).max(1.0);
        (self.threshold, self.last_max, self.prior) =
            (self.threshold * scale, self.last_max * scale, self.prior * scale);
        self.epoch = None;
    }

    fn window(&self) -> u64 {
        ((self.window * self.segment as f64) as u64).max(self.segment)
    }

    fn pacing_rate(&self) -> Option<u64> {
        // as NewReno: room for growth within the round trip
        let gain = if self.slow_start() { 2.0 } else { 1.25 };
        let rate = self.window() as f64 * gain / self.smoothed?.as_secs_f64().max(1e-9);
        Some((rate as u64).max(1))
    }

    fn state(&self) -> State {
        State {
            phase: match (self.slow_start(), self.start.careful()) {
                (true, false) => "slow start",
                (true, true) => "careful slow start",
                (false, _) => "avoidance",
            },
            threshold: self.threshold.is_finite().then_some((self.threshold * self.segment as f64) as u64),
        }
    }
}

/// RFC 9406: leaves slow start when the round trip rises, before anything is lost.
#[derive(Clone, Debug, Default)]
struct Start {
    round: u64,
    samples: u32,
    /// Least round trip of this round, of the one before.
    least: Option<Duration>,
    before: Option<Duration>,
    /// Least round trip when conservative slow start began, and the rounds since.
    careful: Option<(Duration, u32)>,
}

/// RFC 9406, 4.3.
const LEAST_RISE: Duration = Duration::from_millis(4);
const MOST_RISE: Duration = Duration::from_millis(16);
const RISE_DIVISOR: u32 = 8;
const SAMPLES: u32 = 8;
const CAREFUL_SHARE: f64 = 1.0 / 4.0;
const CAREFUL_ROUNDS: u32 = 5;

impl Start {
    /// The share of what was acknowledged by which the window grows.
    fn on_ack(&mut self, ack: &Ack) -> f64 {
        if ack.round > self.round {
            self.round = ack.round;
            self.before = self.least.take();
            self.samples = 0;
            if let Some((_, rounds)) = &mut self.careful {
                *rounds += 1;
            }
        }
        if let Some(rtt) = ack.rtt {
            self.least = Some(self.least.map_or(rtt, |least| least.min(rtt)));
            self.samples += 1;
        }
        if let (Some(least), true) = (self.least, self.samples >= SAMPLES) {
            match (self.careful, self.before) {
                (Some((baseline, _)), _) if least < baseline => self.careful = None,
                (None, Some(before)) => {
                    let rise = (before / RISE_DIVISOR).clamp(LEAST_RISE, MOST_RISE);
                    self.careful = (least >= before + rise).then_some((least, 0));
                }
                _ => {}
            }
        }
        if self.careful() { CAREFUL_SHARE } else { 1.0 }
    }

    fn careful(&self) -> bool {
        self.careful.is_some()
    }

    fn is_over(&self) -> bool {
        self.careful.is_some_and(|(_, rounds)| rounds >= CAREFUL_ROUNDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: u64 = 1000;
    const RTT: Duration = Duration::from_millis(100);

    fn ack(now: Time, bytes: u64, round: u64) -> Ack {
        Ack {
            now,
            bytes,
            prior_in_flight: bytes,
            in_flight: 0,
            rtt: Some(RTT),
            smoothed: Some(RTT),
            least_rtt: Some(RTT),
            rate: None,
            round,
            app_limited: false,
            recovering: false,
        }
    }

    fn loss(kind: LossKind, in_flight: u64) -> Loss {
        Loss { now: Time::ZERO, bytes: SEGMENT, in_flight, kind, snapshot: None, delivered: 0, lost: SEGMENT }
    }

    /// In avoidance after a loss at `segments`, some round trips later.
    fn after_loss(segments: u64, seconds: f64) -> (Cubic, Time) {
        let mut cubic = Cubic::new(SEGMENT);
        cubic.window = segments as f64;
        cubic.on_loss(&loss(LossKind::First, segments * SEGMENT));
        let mut now = Time::from_secs(1);
        let end = now + Duration::from_secs_f64(seconds);
        while now <= end {
            // a window in ten acknowledgements
            for _ in 0..10 {
                let bytes = cubic.window() / 10;
                cubic.on_ack(&ack(now, bytes, 0));
                now += RTT / 10;
            }
        }
        (cubic, now)
    }

    #[test]
    fn the_curve_is_that_of_rfc_9438() {
        // K for a loss at 1000 segments: cbrt(1000 * 0.3 / 0.4) = cbrt(750)
        let k = time_to(1000.0, 700.0);
        assert!((k - 9.0856).abs() < 1e-4, "{k}");
        assert!((cubic(0.0, k, 1000.0) - 700.0).abs() < 1e-9, "begins at beta");
        assert!((cubic(k, k, 1000.0) - 1000.0).abs() < 1e-9, "plateau at K");
        assert!((cubic(k + 5.0, k, 1000.0) - 1050.0).abs() < 1e-9, "0.4 x 125 above it 5 s later");
        assert!((ALPHA - 9.0 / 17.0).abs() < 1e-12);
    }

    #[test]
    fn the_window_follows_the_curve() {
        let k = time_to(1000.0, 700.0);
        for seconds in [2.0, 5.0, 9.0, 12.0] {
            let (cubic_, now) = after_loss(1000, seconds);
            let expected = cubic((now - Time::from_secs(1)).as_secs_f64(), k, 1000.0);
            assert!((cubic_.window / expected - 1.0).abs() < 0.01, "{seconds} s: {} for {expected}", cubic_.window);
        }
    }

    #[test]
    fn a_small_window_grows_as_reno_would() {
        // K is 2 s for 10.7 segments; at 100 ms Reno's alpha of 0.53 a round trip gains 10 segments in 2 s
        let (cubic, _) = after_loss(20, 2.0);
        let reno = 14.0 + ALPHA * 11.4 + 8.6;
        assert!((cubic.window - reno).abs() < 1.5, "{} for {reno}", cubic.window);
    }

    #[test]
    fn a_loss_below_the_last_plateau_makes_room_for_others() {
        let mut cubic = Cubic::new(SEGMENT);
        cubic.window = 100.0;
        cubic.on_loss(&loss(LossKind::First, 100 * SEGMENT));
        assert_eq!((cubic.window(), cubic.last_max), (70 * SEGMENT, 100.0));
        cubic.on_loss(&loss(LossKind::More, 90 * SEGMENT));
        assert_eq!(cubic.window(), 70 * SEGMENT, "once a window");
        cubic.on_loss(&loss(LossKind::First, 70 * SEGMENT));
        assert_eq!((cubic.window(), cubic.last_max), (49 * SEGMENT, 59.5), "70 x (1 + 0.7) / 2");
    }

    #[test]
    fn a_time_out_starts_from_one_segment_and_a_mistake_is_undone() {
        let mut cubic = Cubic::new(SEGMENT);
        cubic.on_loss(&loss(LossKind::Timeout, 10 * SEGMENT));
        assert_eq!((cubic.window(), cubic.state().threshold), (SEGMENT, Some(7 * SEGMENT)));
        cubic.on_loss(&loss(LossKind::Timeout, SEGMENT));
        assert_eq!(cubic.state().threshold, Some(7 * SEGMENT), "the same outage");
        cubic.on_spurious(Time::ZERO);
        assert_eq!((cubic.window(), cubic.state().threshold), (10 * SEGMENT, None));
        cubic.on_idle(Time::ZERO, RTT);
        assert_eq!(cubic.window(), 10 * SEGMENT);
    }

    #[test]
    fn time_without_need_does_not_count() {
        let (mut cubic, now) = after_loss(1000, 2.0);
        let window = cubic.window;
        cubic.on_ack(&Ack { app_limited: true, ..ack(now, SEGMENT, 0) });
        let later = now + Duration::from_secs(60);
        cubic.on_ack(&ack(later, SEGMENT, 0));
        assert!(cubic.window < window + 1.0, "{} after {window}", cubic.window);
    }

    #[test]
    fn slow_start_ends_when_the_round_trip_rises() {
        let mut cubic = Cubic::new(SEGMENT);
        let mut grown = Vec::new();
        for round in 0..12 {
            let rtt = if round < 3 { RTT } else { RTT + Duration::from_millis(13) };
            let bytes = cubic.window() / 10;
            for _ in 0..10 {
                cubic.on_ack(&Ack { rtt: Some(rtt), ..ack(Time::ZERO, bytes, round) });
            }
            grown.push(cubic.window() / SEGMENT);
        }
        assert_eq!(grown[..3], [20, 40, 80]);
        assert!(grown[3] > 140, "seen after {SAMPLES} samples: {grown:?}");
        assert!(grown[4] <= grown[3] * 5 / 4, "{grown:?}");
        assert_eq!(cubic.state().phase, "avoidance");
        let mut steady = Cubic::new(SEGMENT);
        (0..100).for_each(|round| steady.on_ack(&ack(Time::ZERO, SEGMENT, round)));
        assert_eq!(steady.state(), State { phase: "slow start", threshold: None });
    }
}
