//! A controller that models the path: how fast it is and how long, and keeps in flight what fits into it. After BBR version 3
//! (draft-ietf-ccwg-bbr), with one rule of its own: **a loss counts only together with a queue, a falling rate, or in
//! excess** ([`bounds`]).
//!
//! ```text
//!   Startup ──full──▶ Drain ──empty──▶ Down ──empty──▶ Cruise ──2 to 3 s──▶ Refill ──a round──▶ Up ──a queue, or losses──▶ Down
//!                                        ▲                                                       (a cycle)
//!   any of the last four ──no short round trip in 5 s──▶ ProbeRtt ──200 ms and a round──▶ Down
//! ```
//!
//! | phase | rate, of the bandwidth | window, of the bandwidth-delay product | source: draft-ietf-ccwg-bbr |
//! |---|---|---|---|
//! | Startup | 2.77, or two windows a round trip | 2.77, growing by what is acknowledged | 5.3.1; two windows are slow start, paced: the first samples are low, as the initial window leaves as a burst |
//! | Drain | 0.5 | 2 | 5.3.2 |
//! | Down | 0.9 | 2 | 5.3.3.1 |
//! | Cruise | 1 | 2, at most 0.85 of the high bound | 5.3.3.2 |
//! | Refill | 1 | 2 | 5.3.3.3 |
//! | Up | 1.25 | 2.25 | 5.3.3.4 |
//! | ProbeRtt | 1 | 0.5 | 5.3.4 |
//!
//! The bandwidth is the highest rate sample of two cycles, the delay the least round trip of 10 s, and to the window is added what
//! acknowledgements clump ([`filters`]). Section numbers below are those of draft-ietf-ccwg-bbr.
//!
//! # Where it differs from the draft
//!
//! | | why |
//! |---|---|
//! | A loss counts as [`bounds`] says | noise on the path is no sign of congestion |
//! | **Fast start**: the first flight leaves as one burst, and the spread of its acknowledgements shows the bottleneck. Until a queue is seen, the window grows to at most 12 times what a round delivered, and to what that rate needs; at 0.9 of the rate | doubling takes 11 rounds to 30 MB. An estimate that is too high by clumped acknowledgements is bounded by the 12, and each flight is a longer train that shows its queue |
//! | After fast start, Startup sends at 1.25 of what the first flight showed, until a sample is above it | the pipe is about full then, and a queue only makes repairs late |
//! | Startup is over after one round without growth if there is a queue; three without one (5.3.1.2) | the pipe is full then, and more only fills the queue |
//! | Up ends when 1.25 products are in flight, as in BBR version 2; while the high bound holds it down, only with losses or when it raised the bound by a tenth | a flow alone must not overflow the queue each cycle; a small flow among big ones must be able to grow |
//! | Losses that count in Refill or Up, or at the beginning of Down, set the high bound to one product and what acknowledgements clump; the draft takes what was in flight | the queue is left to others: CUBIC loses less of it |
//! | The headroom of Cruise is left only while there is a queue | without one there is room anyway |
//! | Losses that count in Cruise, or later in Down, take 0.7 of the low bounds; a round without a queue gives back a tenth; the draft goes down to what was delivered, until Refill | a flow that is paced loses less than others do, so what was delivered says too little |
//! | Not faster than 1.25 windows a round trip | a full window is let go by acknowledgements of ten packets, as bursts that lose more than their share |

mod bounds;
mod filters;

use super::{Ack, Controller, INITIAL_SEGMENTS, Loss, LossKind, State};
use crate::proto::time::Time;
use bounds::{Bounds, Path, Round, Verdict};
use filters::{Bandwidth, Excess, Floor, Train, octets};
use std::time::Duration;

/// 4 ln 2: the least gain that doubles the rate each round (5.3.1).
const STARTUP_GAIN: f64 = 2.77;
const DRAIN_GAIN: f64 = 0.5;
const DOWN_GAIN: f64 = 0.9;
const UP_GAIN: f64 = 1.25;
const WINDOW_GAIN: f64 = 2.0;
const UP_WINDOW_GAIN: f64 = 2.25;
const PROBE_RTT_GAIN: f64 = 0.5;
/// Held down by the high bound, Up raises it by at most a tenth.
const UP_GROWTH: f64 = 1.1;
/// Rounds in which Down drains what Up had put into the queue: 0.25 products at 0.1 of the rate, and one to hear of it.
const DOWN_ROUNDS: u64 = 4;
/// Never faster than so many windows a round trip, so that a window which is full does not leave as bursts.
const SMOOTH: f64 = 1.25;
/// 2.8: BBR.Headroom leaves 15 % to others.
const HEADROOM: f64 = 0.85;
/// 2.7: BBR.MinPipeCwnd, in segments.
const LEAST: u64 = 4;
/// 5.3.1.2: a pipe is full when it grew by less than this for so many rounds.
const GROWTH: f64 = 1.25;
const FULL_ROUNDS: u32 = 3;
/// Fast start: at most so many times what was delivered in a round, and so much of what the first flight's spread shows.
const FAST_GROWTH: u64 = 12;
const FAST_SHARE: f64 = 0.9;
/// A pause of this part of the round trip is none that the bottleneck makes between packets of a flight.
const PAUSE: u32 = 16;
/// Startup after fast start: so much of what the first flight's spread shows, until a sample exceeds it by a tenth.
const AFTER_FAST: f64 = 1.25;
const EXCEEDED: f64 = 1.1;
/// 5.3.1.3: StartupFullLossCnt.
const LOSS_EVENTS: u32 = 6;
/// 5.3.3.5.2: probe again after 2 to 3 s, or after as many rounds as Reno would take, at most 63.
const CRUISE_LEAST: Duration = Duration::from_secs(2);
const CRUISE_SPREAD_MS: u64 = 1000;
const CRUISE_ROUNDS: u64 = 63;
/// 5.3.4: ProbeRTTDuration.
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Startup,
    Drain,
    Down,
    Cruise,
    Refill,
    Up,
    /// Until then, once little is in flight.
    ProbeRtt(Option<(Time, u64)>),
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Drain => "drain",
            Self::Down => "down",
            Self::Cruise => "cruise",
            Self::Refill => "refill",
            Self::Up => "up",
            Self::ProbeRtt(_) => "probe rtt",
        }
    }

    /// Rate and window.
    fn gains(self) -> (f64, f64) {
        match self {
            Self::Startup => (STARTUP_GAIN, STARTUP_GAIN),
            Self::Drain => (DRAIN_GAIN, WINDOW_GAIN),
            Self::Down => (DOWN_GAIN, WINDOW_GAIN),
            Self::Cruise | Self::Refill => (1.0, WINDOW_GAIN),
            Self::Up => (UP_GAIN, UP_WINDOW_GAIN),
            Self::ProbeRtt(_) => (1.0, PROBE_RTT_GAIN),
        }
    }

    /// It looks for more, and judges losses by itself.
    fn is_probing(self) -> bool {
        matches!(self, Self::Startup | Self::Refill | Self::Up)
    }
}

/// Startup's question: does it still grow?
#[derive(Clone, Copy, Debug, Default)]
struct Pipe {
    best: u64,
    rounds: u32,
}

/// BBR version 3, with a judgement of losses.
#[derive(Clone, Debug)]
pub struct Model {
    segment: u64,
    bandwidth: Bandwidth,
    floor: Floor,
    excess: Excess,
    verdict: Verdict,
    bounds: Bounds,
    pipe: Pipe,
    train: Train,
    /// Fast start is not over.
    fast: bool,
    phase: Phase,
    phase_at: Time,
    phase_round: u64,
    /// Up to this round, what is found lost was sent before Drain.
    drained: u64,
    /// When Cruise is over.
    cruise: Duration,
    round: u64,
    /// Segments that the high bound grows by in this round of Up, and octets acknowledged towards the next.
    step: u64,
    towards: u64,
    /// The high bound when Up began.
    saved_high: u64,
    smoothed: Option<Duration>,
    window: u64,
    /// The window before ProbeRtt or a time-out.
    saved: u64,
    random: u64,
}

impl Model {
    /// With the initial window of [`INITIAL_SEGMENTS`], for segments of so many octets.
    pub fn new(segment: u64) -> Self {
        let segment = segment.max(1);
        Self {
            segment,
            bandwidth: Bandwidth::default(),
            floor: Floor::default(),
            excess: Excess::default(),
            verdict: Verdict::default(),
            bounds: Bounds::default(),
            pipe: Pipe::default(),
            train: Train::default(),
            fast: true,
            phase: Phase::Startup,
            phase_at: Time::ZERO,
            phase_round: 0,
            drained: 0,
            cruise: CRUISE_LEAST,
            round: 0,
            step: 1,
            towards: 0,
            saved_high: 0,
            smoothed: None,
            window: INITIAL_SEGMENTS * segment,
            saved: 0,
            random: 0,
        }
    }

    /// As a [`super::MakeController`].
    pub fn make(segment: u64) -> Box<dyn Controller> {
        Box::new(Self::new(segment))
    }

    /// The rate that the path gives at the moment.
    fn rate(&self) -> u64 {
        self.bandwidth.get().min(self.bounds.rate_low.unwrap_or(u64::MAX))
    }

    /// What fits into the path.
    fn product(&self, rate: u64, gain: f64) -> u64 {
        let Some(floor) = self.floor.get().filter(|_| rate > 0) else { return INITIAL_SEGMENTS * self.segment };
        (octets(rate, floor) as f64 * gain) as u64
    }

    /// What losses are judged by.
    fn path(&self) -> Path {
        let nanos = self.smoothed.map_or(1, |smoothed| smoothed.as_nanos().max(1));
        let by_window = u64::try_from(u128::from(self.window) * 1_000_000_000 / nanos).unwrap_or(u64::MAX);
        Path {
            base: self.floor.get(),
            bandwidth: self.bandwidth.get(),
            sent: self.rate().min(by_window),
            segment: self.segment,
        }
    }

    /// Fast start: what the first flight's spread leaves room for, as rate and window.
    fn fast(&self) -> Option<(u64, u64)> {
        let rate = (self.train.get().filter(|_| self.fast)? as f64 * FAST_SHARE) as u64;
        Some((rate, octets(self.train.get()?, self.floor.get()?)))
    }

    fn step_fast(&mut self, ack: &Ack) {
        if ack.round <= 1 {
            let gap = ack.least_rtt.map_or(Duration::MAX, |least| least / PAUSE);
            self.train.on_ack(ack.now, ack.bytes, self.segment, gap);
        }
        let Some((_, room)) = self.fast() else { return };
        let grown = FAST_GROWTH * self.verdict.round.delivered;
        if !ack.app_limited {
            self.window = self.window.max(grown.min(room));
        }
        let queue = Path { bandwidth: self.train.get().unwrap_or(0), ..self.path() };
        // the first flight itself is still coming in
        let judged = ack.round > 1 && (self.window >= room || self.verdict.has_queue(queue));
        self.fast = self.phase == Phase::Startup && !judged;
    }

    fn least(&self) -> u64 {
        LEAST * self.segment
    }

    fn enter(&mut self, phase: Phase, now: Time) {
        match phase {
            Phase::Down => {
                // 2 to 3 s, drawn so that flows do not probe together
                self.random = (self.random ^ now.as_nanos()).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
                self.cruise = CRUISE_LEAST + Duration::from_millis(self.random % CRUISE_SPREAD_MS);
            }
            Phase::Refill => self.bounds.release(),
            Phase::Up => {
                (self.step, self.towards) = (1, 0);
                self.saved_high = self.bounds.high.unwrap_or(0);
            }
            Phase::ProbeRtt(_) => self.saved = self.window,
            Phase::Startup | Phase::Drain | Phase::Cruise => {}
        }
        (self.phase, self.phase_at, self.phase_round) = (phase, now, self.round);
    }

    /// A round is over.
    fn on_round(&mut self, ack: &Ack, round: &Round) {
        let bandwidth = self.bandwidth.get();
        match self.phase {
            Phase::Startup => {
                if !ack.rate.is_none_or(|sample| sample.app_limited) {
                    if bandwidth as f64 >= self.pipe.best as f64 * GROWTH {
                        self.pipe = Pipe { best: bandwidth, rounds: 0 };
                    } else {
                        self.pipe.rounds += 1;
                    }
                }
                let lossy = self.verdict.is_too_much(round.delivered, self.path()) && round.events >= LOSS_EVENTS;
                if lossy {
                    self.bounds.high = Some(self.product(bandwidth, 1.0).max(round.delivered));
                }
                let enough = if self.verdict.has_queue(self.path()) { 1 } else { FULL_ROUNDS };
                if lossy || self.pipe.rounds >= enough {
                    self.enter(Phase::Drain, ack.now);
                }
            }
            Phase::Refill if self.round > self.phase_round => self.enter(Phase::Up, ack.now),
            Phase::Up => self.step = (self.step * 2).min(1 << 20),
            _ => {}
        }
        let answered = self.phase == Phase::Drain
            || self.round <= self.drained
            || (self.phase == Phase::Down && self.round <= self.phase_round + DOWN_ROUNDS);
        if !answered && !self.phase.is_probing() && self.verdict.counted(self.path()) > 0 {
            self.bounds.lower(bandwidth, self.window);
        } else if !self.verdict.has_queue(self.path()) {
            self.bounds.recover();
        }
        self.verdict.next_round();
    }

    /// What an acknowledgement says to the phase.
    fn step_phase(&mut self, ack: &Ack) {
        let bandwidth = self.bandwidth.get();
        let product = self.product(bandwidth, 1.0);
        match self.phase {
            Phase::Startup | Phase::Refill => {}
            Phase::Drain => {
                if ack.in_flight <= product {
                    self.drained = self.round + 1;
                    self.enter(Phase::Down, ack.now);
                }
            }
            Phase::Down | Phase::Cruise => {
                let rounds = CRUISE_ROUNDS.min(product / self.segment);
                if ack.now.since(self.phase_at) > self.cruise || self.round > self.phase_round + rounds.max(1) {
                    self.bandwidth.advance();
                    self.enter(Phase::Refill, ack.now);
                } else if self.phase == Phase::Down && ack.in_flight <= product.min(self.headroom()) {
                    let (at, round) = (self.phase_at, self.phase_round);
                    self.enter(Phase::Cruise, ack.now);
                    (self.phase_at, self.phase_round) = (at, round);
                }
            }
            Phase::Up => {
                // held down by the high bound, only losses say that it is high enough (5.3.3.6)
                let most = self.product(bandwidth, UP_WINDOW_GAIN);
                let held = self.bounds.high.is_some_and(|high| {
                    high <= self.window && high < most && (high as f64) < UP_GROWTH * self.saved_high as f64
                });
                self.raise(ack);
                let queue = !held
                    && ack.in_flight > self.product(bandwidth, UP_GAIN)
                    && self.floor.get().is_some_and(|floor| ack.now.since(self.phase_at) > floor);
                if queue {
                    self.enter(Phase::Down, ack.now);
                }
            }
            Phase::ProbeRtt(None) => {
                if ack.in_flight <= self.window {
                    self.phase = Phase::ProbeRtt(Some((ack.now + PROBE_RTT_TIME, self.round)));
                }
            }
            Phase::ProbeRtt(Some((until, round))) => {
                if ack.now >= until && self.round > round {
                    self.floor.refresh(ack.now);
                    self.window = self.window.max(self.saved);
                    self.bounds.release();
                    self.enter(Phase::Down, ack.now);
                }
            }
        }
    }

    /// The high bound follows what gets through.
    fn raise(&mut self, ack: &Ack) {
        let Some(high) = &mut self.bounds.high else { return };
        if ack.prior_in_flight + 2 * self.segment < *high {
            return;
        }
        self.towards += ack.bytes;
        let each = (self.window / self.step).max(self.segment);
        *high += self.towards / each * self.segment;
        self.towards %= each;
    }

    /// Losses in Refill or Up.
    fn judge_probe(&mut self, ack: &Ack) {
        let Some(sample) = &ack.rate else { return };
        let bandwidth = self.bandwidth.get();
        let probing = matches!(self.phase, Phase::Refill | Phase::Up);
        // what is found lost at the beginning of Down was sent in Up
        let after = self.phase == Phase::Down && self.round <= self.phase_round + 1;
        if (probing || after) && self.verdict.is_too_much(sample.sent_in_flight, self.path()) {
            let fits = self.product(bandwidth, 1.0) + self.excess.get();
            self.bounds.high = Some(fits);
            if probing {
                self.enter(Phase::Down, ack.now);
            }
        }
    }

    /// The high bound, less what is left to others.
    fn headroom(&self) -> u64 {
        let Some(high) = self.bounds.high else { return u64::MAX };
        ((high as f64 * HEADROOM) as u64).min(high.saturating_sub(self.segment)).max(self.least())
    }

    fn set_window(&mut self, ack: &Ack) {
        let (_, gain) = self.phase.gains();
        let most = self.product(self.rate(), gain) + self.excess.get();
        let grown = self.window + ack.bytes;
        self.window = match self.phase {
            Phase::Startup if ack.app_limited => self.window,
            Phase::Startup => grown.min(most.max(self.window)),
            _ => grown.min(most),
        };
        let high = match self.phase {
            Phase::Cruise if self.verdict.has_queue(self.path()) => self.headroom(),
            _ => self.bounds.high.unwrap_or(u64::MAX),
        };
        let bound = high.min(self.bounds.low.unwrap_or(u64::MAX));
        self.window = self.window.min(bound).max(self.least());
    }
}

impl Controller for Model {
    fn name(&self) -> &'static str {
        "model"
    }

    fn on_ack(&mut self, ack: &Ack) {
        self.smoothed = ack.smoothed.or(self.smoothed);
        if let Some(rtt) = ack.rtt {
            self.verdict.on_rtt(rtt);
        }
        if let Some(sample) = &ack.rate {
            self.bandwidth.on_sample(sample);
            let round = &mut self.verdict.round;
            round.rate = round.rate.max(sample.rate);
            round.delivered = round.delivered.max(sample.delivered);
        }
        self.excess.on_ack(ack.now, ack.bytes, self.bandwidth.get(), self.window, ack.round);
        if ack.round > self.round {
            self.round = ack.round;
            let round = self.verdict.round;
            self.on_round(ack, &round);
        }
        self.step_fast(ack);
        self.judge_probe(ack);
        self.step_phase(ack);
        let stale = self.floor.on_sample(ack.now, ack.rtt);
        if stale && !matches!(self.phase, Phase::ProbeRtt(_) | Phase::Startup | Phase::Drain) {
            self.enter(Phase::ProbeRtt(None), ack.now);
        }
        self.set_window(ack);
    }

    fn on_loss(&mut self, loss: &Loss) {
        self.verdict.on_loss(loss.bytes, self.path());
        if loss.kind == LossKind::Timeout {
            // the path was gone: what gets through shows what it bears now
            self.saved = self.saved.max(self.window);
            self.window = self.least();
        }
    }

    fn on_segment_size(&mut self, bytes: u64) {
        self.segment = bytes.max(1);
        self.window = self.window.max(self.least());
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn pacing_rate(&self) -> Option<u64> {
        let nanos = self.smoothed?.as_nanos().max(1);
        if let Some((rate, _)) = self.fast() {
            return Some(rate);
        }
        let (gain, _) = self.phase.gains();
        let modelled = (self.rate() as f64 * gain) as u64;
        if self.phase != Phase::Startup && modelled > 0 {
            let smooth = (self.window as f64 * SMOOTH * 1e9 / nanos as f64) as u64;
            return Some(modelled.min(smooth).max(1));
        }
        let start = u64::try_from(u128::from(self.window) * 2_000_000_000 / nanos).unwrap_or(u64::MAX);
        let startup = modelled.max(start).max(1);
        match self.train.get() {
            Some(train) if (self.bandwidth.get() as f64) < EXCEEDED * train as f64 => {
                Some(startup.min((train as f64 * AFTER_FAST) as u64).max(1))
            }
            _ => Some(startup),
        }
    }

    fn state(&self) -> State {
        State { phase: self.phase.name(), threshold: self.bounds.high }
    }
}

#[cfg(test)]
mod tests;
