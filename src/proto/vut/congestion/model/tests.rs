//! The phases of the model, on a path of 1 MB/s and 100 ms that the test plays.

use super::super::RateSample;
use super::*;

const SEGMENT: u64 = 1000;
const BASE: Duration = Duration::from_millis(100);

/// A path of 1 MB/s and 100 ms: a product of 100 segments.
struct Path {
    model: Model,
    now: Time,
    round: u64,
    delivered: u64,
}

impl Path {
    fn new() -> Self {
        Self { model: Model::new(SEGMENT), now: Time::from_millis(100), round: 0, delivered: 0 }
    }

    /// A round trip in which `rate` octets a second come through, as ten acknowledgements, with `in_flight` left.
    fn round(&mut self, rate: u64, rtt: Duration, in_flight: u64) {
        self.round += 1;
        let bytes = octets(rate, BASE) / 10;
        for _ in 0..10 {
            self.now += rtt / 10;
            self.delivered += bytes;
            self.model.on_ack(&Ack {
                now: self.now,
                bytes,
                prior_in_flight: in_flight + bytes,
                in_flight,
                rtt: Some(rtt),
                smoothed: Some(rtt),
                least_rtt: Some(BASE),
                rate: Some(RateSample {
                    rate,
                    delivered: octets(rate, BASE),
                    interval: BASE,
                    lost: 0,
                    prior_delivered: self.delivered,
                    sent_in_flight: in_flight,
                    app_limited: false,
                }),
                round: self.round,
                app_limited: false,
                recovering: false,
            });
        }
    }

    fn lose(&mut self, bytes: u64) {
        let (now, delivered) = (self.now, self.delivered);
        self.model.on_loss(&Loss {
            now,
            bytes,
            in_flight: 0,
            kind: LossKind::First,
            snapshot: None,
            delivered,
            lost: 0,
        });
    }

    /// Through Startup, in Cruise.
    fn cruising() -> Self {
        let mut path = Self::new();
        for rate in [100_000, 200_000, 400_000, 800_000, 1_000_000] {
            path.round(rate, BASE, 10 * SEGMENT);
            assert_eq!(path.phase(), "startup");
        }
        (0..5).for_each(|_| path.round(1_000_000, BASE, 90 * SEGMENT));
        assert_eq!(path.phase(), "cruise");
        path
    }

    fn phase(&self) -> &'static str {
        self.model.state().phase
    }
}

#[test]
fn startup_ends_when_three_rounds_brought_no_more_and_cruise_holds_the_rate() {
    let path = Path::cruising();
    assert_eq!(path.model.pacing_rate(), Some(1_000_000));
    assert!((200 * SEGMENT..=220 * SEGMENT).contains(&path.model.window()), "{}", path.model.window());
}

#[test]
fn a_cycle_goes_through_refill_and_up_and_drains() {
    let mut path = Path::cruising();
    let mut seen = Vec::new();
    for _ in 0..60 {
        let in_flight = if path.phase() == "up" { 130 } else { 95 };
        path.round(1_000_000, BASE, in_flight * SEGMENT);
        if seen.last() != Some(&path.phase()) {
            seen.push(path.phase());
        }
    }
    // the round in which Up began filled the pipe, and the next one had drained it
    let up = seen.iter().position(|phase| *phase == "up").expect("probed");
    assert_eq!(seen[up - 1], "refill");
    assert!(matches!(seen[up + 1], "down" | "cruise"), "{seen:?}");
}

#[test]
fn noise_does_not_slow_it_and_a_loss_in_a_queue_does() {
    let mut path = Path::cruising();
    let before = path.model.window();
    (0..5).for_each(|_| {
        path.lose(3 * SEGMENT);
        path.round(1_000_000, BASE, 90 * SEGMENT);
    });
    assert_eq!((path.model.window(), path.model.pacing_rate()), (before, Some(1_000_000)));
    path.round(1_000_000, BASE * 3 / 2, 150 * SEGMENT);
    path.lose(3 * SEGMENT);
    path.round(1_000_000, BASE * 3 / 2, 150 * SEGMENT);
    assert_eq!(path.model.pacing_rate(), Some(700_000));
    assert!(path.model.window() <= before * 7 / 10, "{} of {before}", path.model.window());
    // no queue any more: a tenth each round
    path.round(700_000, BASE, 60 * SEGMENT);
    path.round(700_000, BASE, 60 * SEGMENT);
    assert!(path.model.pacing_rate() >= Some(770_000), "{:?}", path.model.pacing_rate());
}

#[test]
fn a_time_out_begins_small_and_grows_by_what_arrives() {
    let mut path = Path::cruising();
    let (now, kind) = (path.now, LossKind::Timeout);
    path.model.on_loss(&Loss { now, bytes: 1000, in_flight: 0, kind, snapshot: None, delivered: 0, lost: 0 });
    assert_eq!(path.model.window(), LEAST * SEGMENT);
    path.round(100_000, BASE, 0);
    assert_eq!(path.model.window(), (LEAST + 10) * SEGMENT);
}

#[test]
fn without_a_short_round_trip_for_5_s_it_empties_the_path() {
    let mut path = Path::cruising();
    let mut phases = Vec::new();
    for _ in 0..80 {
        let rtt = if path.phase() == "probe rtt" { BASE } else { BASE + Duration::from_millis(5) };
        path.round(1_000_000, rtt, 40 * SEGMENT);
        phases.push(path.phase());
        if path.phase() == "probe rtt" {
            assert!(path.model.window() <= 60 * SEGMENT, "{}", path.model.window());
        }
    }
    let times = phases.windows(2).filter(|pair| pair[0] != "probe rtt" && pair[1] == "probe rtt").count();
    assert_eq!(times, 1, "{phases:?}");
}
