//! The ledger in virtual time, by hand and under random loss, reordering and duplication.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

const MS: fn(u64) -> Time = Time::from_millis;
const SIZE: u16 = 1000;

fn send(ledger: &mut Ledger<u64>, number: u64, now: Time) {
    ledger.on_sent(Sent { number, size: SIZE, eliciting: true, at: now, info: number });
    ledger.check();
}

fn ack(ledger: &mut Ledger<u64>, ranges: &[(u64, u64)], now: Time) -> Outcome {
    let outcome = ledger.on_ack(ranges.iter().copied(), Duration::ZERO, now).expect("sent");
    ledger.check();
    outcome
}

/// Numbers acknowledged, lost, spurious.
fn events(ledger: &mut Ledger<u64>) -> (Vec<u64>, Vec<u64>, Vec<u64>) {
    let mut told = (Vec::new(), Vec::new(), Vec::new());
    while let Some(event) = ledger.poll_event() {
        match event {
            Event::Acknowledged(sent) => told.0.push(sent.info),
            Event::Lost(sent) => told.1.push(sent.info),
            Event::Spurious(sent) => told.2.push(sent.info),
        }
    }
    told
}

/// 0 was acknowledged after 80 ms; then 1 to `last`, one each ms from 100 ms on.
fn flight(last: u64) -> Ledger<u64> {
    let mut ledger = Ledger::new();
    send(&mut ledger, 0, MS(0));
    let outcome = ack(&mut ledger, &[(0, 0)], MS(80));
    assert_eq!((outcome.rtt, outcome.acknowledged), (Some(Duration::from_millis(80)), 1000));
    (1..=last).for_each(|number| send(&mut ledger, number, MS(100 + number)));
    events(&mut ledger);
    ledger
}

#[test]
fn in_order_nothing_is_lost_and_nothing_is_kept() {
    let mut ledger = flight(4);
    assert_eq!(ledger.in_flight(), 4000);
    let outcome = ack(&mut ledger, &[(0, 4)], MS(184));
    assert_eq!((outcome.acknowledged, outcome.lost, outcome.prior_in_flight), (4000, 0, 4000));
    assert_eq!(events(&mut ledger), (vec![1, 2, 3, 4], vec![], vec![]));
    assert_eq!((ledger.in_flight(), ledger.tracked(), ledger.poll_timeout()), (0, 0, None));
    assert_eq!(ack(&mut ledger, &[(0, 4)], MS(190)).acknowledged, 0, "told again");
}

#[test]
fn overtaken_by_three_is_lost_at_once() {
    let mut ledger = flight(5);
    ack(&mut ledger, &[(2, 3), (0, 0)], MS(183)).lost_is(0);
    assert_eq!(ledger.poll_timeout(), Some(MS(101 + 80 + 20)), "a quarter of a round trip more");
    ack(&mut ledger, &[(2, 4), (0, 0)], MS(184)).lost_is(1000);
    assert_eq!(events(&mut ledger), (vec![2, 3, 4], vec![1], vec![]));
    assert!(ledger.reordering().in_recovery());
}

#[test]
fn overtaken_by_fewer_is_lost_after_a_quarter_of_the_round_trip() {
    let mut ledger = flight(2);
    ack(&mut ledger, &[(2, 2), (0, 0)], MS(182)).lost_is(0);
    assert_eq!(ledger.handle_timeout(MS(200)), Timeout::None);
    let Timeout::Lost(outcome) = ledger.handle_timeout(MS(201)) else { panic!("due") };
    outcome.lost_is(1000);
    assert_eq!(events(&mut ledger), (vec![2], vec![1], vec![]));
    assert_eq!((ledger.in_flight(), ledger.lost(), ledger.delivered()), (0, 1000, 2000));
}

#[test]
fn a_spurious_loss_is_told_and_makes_the_window_wider() {
    let mut ledger = flight(5);
    ack(&mut ledger, &[(2, 5), (0, 0)], MS(185)).lost_is(1000);
    let outcome = ack(&mut ledger, &[(0, 5)], MS(186));
    assert_eq!((outcome.spurious, outcome.acknowledged), (1000, 1000));
    assert_eq!(events(&mut ledger).2, [1]);
    assert!(ledger.reordering().was_seen());
    // from now on three are not enough, and the window is two quarters
    (6..=10).for_each(|number| send(&mut ledger, number, MS(200)));
    ack(&mut ledger, &[(7, 10), (0, 5)], MS(280)).lost_is(0);
    assert_eq!(ledger.poll_timeout(), Some(MS(320)));
}

#[test]
fn a_late_acknowledgement_of_an_overtaken_packet_shows_reordering() {
    let mut ledger = flight(3);
    ack(&mut ledger, &[(2, 2), (0, 0)], MS(182)).lost_is(0);
    assert!(!ledger.reordering().was_seen());
    ack(&mut ledger, &[(0, 2)], MS(183)).lost_is(0);
    assert!(ledger.reordering().was_seen());
}

#[test]
fn a_lost_tail_is_probed_for_and_found() {
    let mut ledger = flight(3);
    // 2 x 80 + 25 ms after the last was sent
    assert_eq!(ledger.poll_timeout(), Some(MS(103 + 185)));
    assert_eq!(ledger.handle_timeout(MS(288)), Timeout::Probe { count: 1 });
    assert_eq!(ledger.in_flight(), 3000, "nothing is lost by a timer");
    send(&mut ledger, 4, MS(288));
    let outcome = ack(&mut ledger, &[(4, 4), (0, 0)], MS(368));
    assert_eq!((outcome.lost, outcome.lost_span), (3000, Duration::from_millis(2)));
    assert_eq!(events(&mut ledger), (vec![4], vec![1, 2, 3], vec![]));
}

#[test]
fn probes_back_off_until_something_arrives() {
    let mut ledger = flight(1);
    let mut counts = Vec::new();
    for _ in 0..4 {
        let due = ledger.poll_timeout().expect("in flight");
        let Timeout::Probe { count } = ledger.handle_timeout(due) else { panic!("a probe") };
        counts.push((count, due.since_start().as_millis()));
    }
    assert_eq!(counts, [(1, 286), (2, 816), (3, 1876), (4, 3876)]);
    ack(&mut ledger, &[(0, 1)], MS(4000)).lost_is(0);
    assert_eq!(ledger.poll_timeout(), None);
}

#[test]
fn an_acknowledgement_of_what_was_not_sent_is_refused() {
    let mut ledger = flight(2);
    assert_eq!(ledger.on_ack([(3, 3)].into_iter(), Duration::ZERO, MS(190)), Err(NeverSent(3)));
    let mut ledger = flight(2);
    send(&mut ledger, 5, MS(103));
    assert_eq!(ledger.clone().on_ack([(5, 5), (4, 4)].into_iter(), Duration::ZERO, MS(190)), Err(NeverSent(4)));
    ack(&mut ledger, &[(5, 5), (0, 2)], MS(183)).lost_is(0);
    assert_eq!(ledger.tracked(), 0, "a number that was left out is waited for by nobody");
    let mut ledger = flight(2);
    send(&mut ledger, 4, MS(103));
    ack(&mut ledger, &[(4, 4), (0, 1)], MS(183)).lost_is(0);
    assert_eq!(ledger.on_ack([(3, 4)].into_iter(), Duration::ZERO, MS(184)), Err(NeverSent(3)));
}

#[test]
fn a_silent_packet_is_not_in_flight_and_is_not_waited_for() {
    let mut ledger: Ledger<u64> = Ledger::new();
    for number in 0..100_000 {
        ledger.on_sent(Sent { number, size: 40, eliciting: false, at: MS(number), info: number });
    }
    assert_eq!((ledger.tracked(), ledger.in_flight(), ledger.poll_timeout()), (0, 0, None));
    assert_eq!(ack(&mut ledger, &[(0, 99_999)], MS(100_000)).acknowledged, 0);
}

#[test]
fn what_is_tracked_is_bounded() {
    let mut ledger: Ledger<()> = Ledger::new();
    ledger.on_sent(Sent { number: 0, size: SIZE, eliciting: true, at: MS(0), info: () });
    for number in 1..=2 * MAX_TRACKED as u64 {
        ledger.on_sent(Sent { number, size: 40, eliciting: false, at: MS(1), info: () });
    }
    assert!(ledger.tracked() <= MAX_TRACKED);
    assert_eq!(ledger.in_flight(), 0, "the first is taken for lost");
    assert!(matches!(ledger.poll_event(), Some(Event::Lost(Sent { number: 0, .. }))));
}

#[test]
fn abandoned_packets_are_lost_all_at_once() {
    let mut ledger = flight(3);
    assert_eq!(ledger.abandon(MS(110)).lost, 3000);
    ledger.check();
    assert_eq!(events(&mut ledger).1, [1, 2, 3]);
    send(&mut ledger, 4, MS(111));
    ack(&mut ledger, &[(4, 4)], MS(191)).lost_is(0);
}

#[test]
fn another_path_takes_no_round_trip_of_the_old_one() {
    let mut ledger = flight(1);
    ledger.new_path();
    send(&mut ledger, 2, MS(110));
    assert_eq!(ack(&mut ledger, &[(0, 1)], MS(181)).rtt, None);
    assert!(!ledger.rtt().is_known());
    assert_eq!(ack(&mut ledger, &[(0, 2)], MS(120)).rtt, Some(Duration::from_millis(10)));
}

impl Outcome {
    fn lost_is(self, octets: u64) {
        assert_eq!(self.lost, octets);
    }
}

/// A packet to the receiver, or the ranges of an acknowledgement to the sender.
type Travelling = Result<u64, Vec<(u64, u64)>>;

/// A sender of `total` pieces over a lossy, reordering, duplicating network, until all have arrived; each piece is sent again
/// when its packet is lost. Returns the virtual time taken.
fn simulate(seed: u64) -> Time {
    let mut random = fastrand::Rng::with_seed(seed);
    let total = random.u64(1..400);
    let (loss, reorder, duplicate) = (random.u8(..30), random.u8(..20), random.u8(..10));
    let delay = random.u64(1..200);
    let mut ledger: Ledger<u64> = Ledger::new();
    let mut to_send: VecDeque<u64> = (0..total).collect();
    let mut arrived: BTreeSet<u64> = BTreeSet::new();
    let mut fates: BTreeMap<u64, u8> = BTreeMap::new();
    let mut network: BTreeMap<(Time, u64), Travelling> = BTreeMap::new();
    let mut received = super::super::acks::Received::default();
    let (mut now, mut tie) = (Time::ZERO, 0);
    let mut put = |network: &mut BTreeMap<_, _>, random: &mut fastrand::Rng, at: Time, what: Travelling| {
        for _ in 0..1 + usize::from(random.u8(..100) < duplicate) {
            tie += 1;
            let late = if random.u8(..100) < reorder { random.u64(..delay * 3) } else { 0 };
            if random.u8(..100) >= loss {
                network.insert((at + Duration::from_millis(delay + late), tie), what.clone());
            }
        }
    };
    for _ in 0..200_000 {
        while ledger.in_flight() < 20 * u64::from(SIZE)
            && let Some(piece) = to_send.pop_front()
        {
            let number = ledger.next_number();
            ledger.on_sent(Sent { number, size: SIZE, eliciting: true, at: now, info: piece });
            put(&mut network, &mut random, now, Ok(number));
        }
        ledger.check();
        if arrived.len() as u64 == total && ledger.in_flight() == 0 {
            return now;
        }
        let due = ledger.poll_timeout();
        let next = network.first_key_value().map(|((at, _), _)| *at);
        now = due.into_iter().chain(next).min().expect("something is to come").max(now);
        if next == Some(now) {
            match network.pop_first().expect("there").1 {
                Ok(number) => {
                    received.insert(number);
                    let told = received.descending().collect();
                    put(&mut network, &mut random, now, Err(told));
                }
                Err(told) => {
                    let outcome = ledger.on_ack(told.into_iter(), Duration::ZERO, now).expect("sent");
                    assert!(outcome.prior_in_flight + outcome.spurious >= outcome.acknowledged + outcome.lost);
                }
            }
        } else if let Timeout::Probe { .. } = ledger.handle_timeout(now) {
            let number = ledger.next_number();
            ledger.on_sent(Sent { number, size: SIZE, eliciting: true, at: now, info: u64::MAX });
            put(&mut network, &mut random, now, Ok(number));
        }
        while let Some(event) = ledger.poll_event() {
            let (sent, fate) = match event {
                Event::Acknowledged(sent) => (sent, 1),
                Event::Lost(sent) => (sent, 2),
                Event::Spurious(sent) => (sent, 3),
            };
            let before = fates.insert(sent.number, fate);
            assert!(
                matches!((before, fate), (None, 1 | 2) | (Some(2), 3)),
                "seed {seed}: {} {before:?} {fate}",
                sent.number
            );
            match fate {
                2 if sent.info != u64::MAX && !arrived.contains(&sent.info) => to_send.push_back(sent.info),
                2 => {}
                _ if sent.info != u64::MAX => {
                    arrived.insert(sent.info);
                }
                _ => {}
            }
        }
    }
    panic!("seed {seed}: no end in {now}, {} of {total} arrived", arrived.len());
}

#[test]
fn random_networks_lose_nothing_for_good() {
    let seeds = std::env::var("VERSILE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    for seed in 0..seeds {
        let taken = simulate(seed);
        assert!(taken < Time::from_secs(600), "seed {seed}: {taken}");
    }
}
