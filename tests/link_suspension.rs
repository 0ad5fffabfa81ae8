//! Suspension as properties (rules S1, S2): an armed end fails by its own fault at any time, and the other end goes on at the
//! same place with whatever takes the place of the failed one. Random schedules in virtual time.
//!
//! `VERSILE_SEEDS=n` sets how many seeds each rule gets (default 400); `VERSILE_SEED=n` runs that seed alone.
#![cfg(feature = "testkit")]

use bytes::Bytes;
use std::sync::Arc;
use versile_io::proto::link::{Cause, Inlet, LinkId, LinkState, Origin, OutletPhase, Reason, Side, Terminal, Window};
use versile_io::proto::sim::{Delays, Node, Note, Pair, Rng, Want, What};

#[test]
fn s1_a_failed_consumer_loses_what_it_had_and_its_producer_goes_on_behind_it() {
    seeds(1, |seed, mut rng| {
        let lives = rng.between(2, 5) as usize;
        let mut pair = pair(seed, &mut rng, lives).armed(Side::Consumer);
        let mut told = Told::default();
        for life in 0..lives {
            pair.attach(life).expect("free");
            told.go_on(&mut pair, &mut rng, life);
            if life + 1 < lives {
                // one that dies before it hears of its link is no failure of a link
                while !pair.record(life).attached {
                    pair.step();
                }
                pair.fail(Node::Consumer(life), cause("consumer"));
                // grants and items that were under way come to nothing
                pair.drive();
                if pair.outlet().phase() == OutletPhase::Ended {
                    // it had finished before it could fail
                    break;
                }
                assert_eq!(pair.outlet().phase(), OutletPhase::Idle, "parted, also behind its end");
            }
        }
        told.finish(&mut pair);
        let left: Vec<u8> = pair.records().iter().flat_map(|record| record.left.clone()).collect();
        assert_eq!(left, told.pushed, "what leaves is what was pushed, over all lives");
        judge_silence(&pair);
        let lives = pair.records().len();
        for (life, record) in pair.records().iter().enumerate() {
            assert!(record.left.starts_with(&record.arrived), "a beginning of it arrived");
            match life + 1 == lives {
                true => {
                    assert_eq!(record.arrived, record.left);
                    assert!(matches!(record.inlet_over[..], [Terminal::Ended { clean: true }]));
                    assert!(matches!(record.outlet_over[..], [Terminal::Ended { clean: true }]));
                }
                false => {
                    assert_eq!(suspended(&record.inlet_over), Some(record.delivered.quantity));
                    assert_eq!(suspended(&record.outlet_over), Some(record.sent.quantity), "where it goes on");
                    let lost = record.sent.quantity - record.delivered.quantity;
                    assert_eq!(record.cell.in_flight(), lost, "the cell tells what was lost on the way");
                    assert_eq!(record.cell.outlet_state(), LinkState::Suspended);
                }
            }
        }
    });
}

#[test]
fn s1_a_failed_producer_loses_nothing_that_it_sent() {
    seeds(2, |seed, mut rng| {
        let lives = rng.between(2, 5) as usize;
        let mut pair = pair(seed, &mut rng, 1).armed(Side::Producer);
        let mut sent = Vec::new();
        for life in 0..lives {
            pair.attach(0).expect("free");
            let mut told = Told { ends: life + 1 == lives, ..Told::default() };
            told.go_on(&mut pair, &mut rng, 0);
            if life + 1 < lives {
                // one that has not even heard of its consumer may fail as well
                pair.fail(Node::Producer, cause("producer"));
                pair.drive();
                pair.rebuild_producer();
            } else {
                told.finish(&mut pair);
            }
            let record = pair.record(life);
            assert_eq!(record.arrived, record.left, "all that was sent is taken before the consumer parts");
            assert!(told.pushed.starts_with(&record.left));
            sent.extend_from_slice(&record.left);
            if life + 1 < lives {
                assert_eq!(suspended(&record.outlet_over), Some(record.sent.quantity));
                assert_eq!(suspended(&record.inlet_over), Some(record.sent.quantity), "verified by the consumer");
            }
        }
        let arrived: Vec<u8> = pair.records().iter().flat_map(|record| record.arrived.clone()).collect();
        assert_eq!(arrived, sent);
    });
}

#[test]
fn s1_a_cause_from_elsewhere_goes_before_a_suspension() {
    let mut both = 0;
    seeds(3, |seed, mut rng| {
        let mut pair = pair(seed, &mut rng, 1).armed(Side::Producer).armed(Side::Consumer);
        pair.attach(0).expect("free");
        Told { ends: rng.chance(50), ..Told::default() }.go_on(&mut pair, &mut rng, 0);
        let (failing, other) = match rng.chance(50) {
            true => (Node::Producer, Node::Consumer(0)),
            false => (Node::Consumer(0), Node::Producer),
        };
        pair.fail(failing, cause("failing"));
        for _ in 0..rng.below(3) {
            pair.step();
        }
        let by = if rng.chance(50) { other } else { Node::Supervisor };
        pair.abort(by, cause("elsewhere"));
        pair.drive();
        let record = pair.record(0);
        for overs in [&record.outlet_over, &record.inlet_over] {
            assert!(overs.len() <= 1, "P4: {overs:?}");
        }
        // nobody parts from a link whose cause is set
        let mut set = None::<LinkId>;
        for event in pair.events() {
            match &event.what {
                What::CauseSet { link } => set = Some(*link),
                What::Over { node, link, how: Terminal::Suspended { .. } } if *node == other => {
                    assert!(set.is_none() || set != *link, "{node} was told of a suspension of an aborted link");
                }
                What::Over { node, how: Terminal::Aborted(_), .. } if *node == other => both += 1,
                _ => {}
            }
        }
    });
    assert!(both > 10 || std::env::var("VERSILE_SEED").is_ok(), "only {both} stories have both");
}

#[test]
fn s1_an_end_that_is_not_armed_aborts_as_ever() {
    seeds(4, |seed, mut rng| {
        // the other side is armed, and that changes nothing
        let mut pair = pair(seed, &mut rng, 1).armed(Side::Producer);
        pair.attach(0).expect("free");
        pair.drive();
        pair.fail(Node::Consumer(0), cause("consumer"));
        pair.drive();
        let record = pair.record(0);
        assert!(matches!(record.outlet_over[..], [Terminal::Aborted(_)]), "{:?}", record.outlet_over);
        assert!(record.cell.cause().is_some() && record.cell.suspension().is_none());
    });
}

#[test]
fn s2_an_outlet_is_over_only_when_an_armed_consumer_has_finished() {
    seeds(5, |seed, mut rng| {
        let mut pair = pair(seed, &mut rng, 1).armed(Side::Consumer);
        pair.attach(0).expect("free");
        let mut told = Told::default();
        told.go_on(&mut pair, &mut rng, 0);
        told.finish(&mut pair);
        let over = |of: Node| {
            pair.events().iter().position(|event| matches!(&event.what, What::Over { node, .. } if *node == of))
        };
        let (consumer, producer) = (over(Node::Consumer(0)), over(Node::Producer));
        assert!(consumer.is_some() && consumer < producer, "first the consumer, then the producer");
        let record = pair.record(0);
        assert!(matches!(record.outlet_over[..], [Terminal::Ended { clean: true }]));
        assert_eq!(record.arrived, told.pushed);
    });
}

/// A consumer that has failed is sent nothing more, also before the message of it has arrived.
fn judge_silence(pair: &Pair<Bytes>) {
    for (life, record) in pair.records().iter().enumerate() {
        let failed =
            |what: &What| matches!(what, What::Wants { node: Node::Consumer(n), want: Want::Fail } if *n == life);
        let after = pair.events().iter().skip_while(|event| !failed(&event.what));
        let sent = after.filter(|event| match event.what {
            What::Sent { note: Note::Consume { link, .. }, .. } => link == record.cell.id(),
            _ => false,
        });
        // the end of a consumer that had finished already is no failure
        assert!(sent.count() == 0 || record.cell.suspension().is_none(), "sent to a consumer that has failed");
    }
}

// ---- what the stories share

/// What the producer's owner did.
struct Told {
    pushed: Vec<u8>,
    ends: bool,
    ended: bool,
}

impl Default for Told {
    fn default() -> Self {
        Self { pushed: Vec::new(), ends: true, ended: false }
    }
}

impl Told {
    /// Some pushes, releases and letters; now and then the end.
    fn go_on(&mut self, pair: &mut Pair<Bytes>, rng: &mut Rng, n: usize) {
        for _ in 0..rng.below(40) {
            match rng.below(10) {
                0..=3 if !self.ended => {
                    let size = 1 + rng.magnitude(1 << 12);
                    let start = self.pushed.len() as u64;
                    let item: Vec<u8> = (start..start + size).map(|at| (at.wrapping_mul(167) >> 3) as u8).collect();
                    if pair.push(item.clone().into()).is_ok() {
                        self.pushed.extend_from_slice(&item);
                    }
                }
                4 => pair.release(n, rng.between(1, 8)),
                5 if self.ends && !self.ended && rng.chance(20) => self.end(pair),
                _ => {
                    pair.step();
                }
            }
        }
    }

    fn end(&mut self, pair: &mut Pair<Bytes>) {
        self.ended = true;
        pair.end(true);
    }

    fn finish(&mut self, pair: &mut Pair<Bytes>) {
        pair.settle(1_000_000);
        if !self.ended {
            self.end(pair);
        }
        pair.settle(1_000_000);
    }
}

fn pair(seed: u64, rng: &mut Rng, consumers: usize) -> Pair<Bytes> {
    let delays = match rng.below(3) {
        0 => Delays::NONE,
        1 => Delays::millis(1, 2),
        _ => Delays::millis(0, 100),
    };
    let inlets = (0..consumers)
        .map(|_| Inlet::new(Window { quantity: 1 + rng.magnitude(1 << 14), messages: rng.between(1, 64) }))
        .collect();
    let mut pair = Pair::new(seed, delays, inlets);
    if seed % 4 < 2 {
        pair = pair.on_demand();
    }
    if rng.chance(50) { pair.lazy() } else { pair }
}

/// Where the one terminal says that it was suspended.
fn suspended(over: &[Terminal]) -> Option<u64> {
    match over {
        [Terminal::Suspended { at, .. }] => Some(at.quantity),
        _ => None,
    }
}

fn cause(by: &str) -> Arc<Cause> {
    Cause::new(Reason::Requested("test".into()), Origin::component(by))
}

fn seeds(salt: u64, mut test: impl FnMut(u64, Rng)) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number of seeds, or a seed"));
    let range = match number("VERSILE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("VERSILE_SEEDS").unwrap_or(400),
    };
    for seed in range {
        test(seed, Rng::new(salt << 40 ^ seed));
    }
}
