//! The rules of a link as properties: thousands of random schedules in virtual time, one test per rule.
//!
//! Each test draws runs of the kind that its rule is about and judges what the harness saw with an oracle that asks the
//! ports nothing. A failure prints its seed and the ladder of the run. `VERSILE_SEEDS=n` sets how many seeds each rule
//! gets (default 3,000, some 70,000 runs in all); `VERSILE_SEED=n` runs that seed alone.
#![cfg(feature = "testkit")]

use bytes::Bytes;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use versile_io::proto::link::{
    Cause, Count, Credit, Down, Inlet, InletPhase, Limit, LinkCell, LinkId, Origin, OutletPhase, PushError, Reason,
    Rule, Terminal, Up, Window,
};
use versile_io::proto::sim::{
    Delays, Event, Fate, Node, Note, Pair, Record, Rng, Sample, TransactionError, Want, What,
};

// ---- P1 to P6

#[test]
fn p1_produced_never_exceeds_the_limit_that_arrived() {
    seeds(1, Kind::ALL, |run| {
        run.told(|pair| {
            let mut limits = HashMap::<LinkId, Limit>::new();
            let mut sent = HashMap::<LinkId, Count>::new();
            for event in pair.events {
                match event.what {
                    What::Arrived { to: Node::Producer, note: Note::CanProduce { link, limit }, .. } => {
                        let known = limits.entry(link).or_default();
                        known.quantity = known.quantity.max(limit.quantity);
                        known.messages = known.messages.max(limit.messages);
                    }
                    // who looks at the cell knows at once; the first grant is a message all the same (P2)
                    What::Raised { link, limit, .. } if pair.on_demand => drop(limits.insert(link, limit)),
                    What::Sent { from: Node::Producer, note: Note::Consume { link, quantity, .. }, .. } => {
                        let sum = sent.entry(link).or_default();
                        sum.quantity += quantity;
                        sum.messages += 1;
                        let limit = limits.get(&link).copied().unwrap_or_default();
                        assert!(sum.quantity <= limit.quantity && sum.messages <= limit.messages, "{sum:?} {limit:?}");
                    }
                    _ => {}
                }
            }
        });
    });
}

#[test]
fn p1_an_excess_is_not_delivered_and_aborts_with_limit_exceeded() {
    seeds(2, Kind::PLAIN, |mut run| {
        let window = Window { quantity: run.rng.magnitude(1 << 16), messages: run.rng.between(1, 8) };
        let mut pair = Pair::<Bytes>::new(run.seed, run.delays(), vec![Inlet::new(window)]);
        let link = pair.attach(0).expect("free");
        let honest = run.rng.below(window.quantity) / 2;
        let _ = pair.push(content(0, honest));
        pair.drive();
        let limit = pair.inlet(0).limit();
        let granted = limit.quantity - pair.inlet(0).accepted().quantity;
        let before = pair.record(0).arrived.len();
        pair.forge_down(0, Down::Consume { link, item: content(0, granted + 1) });
        pair.drive();
        assert_eq!(pair.record(0).arrived.len(), before, "nothing of the excess is delivered");
        assert_eq!(violations(&pair), [Rule::P1, Rule::P1], "at both ends");
    });
}

#[test]
fn p1_more_messages_than_granted_are_an_excess_too() {
    seeds(23, Kind::PLAIN, |mut run| {
        let window = Window { quantity: 1000, messages: run.rng.between(1, 16) };
        let mut pair = Pair::<u32>::new(run.seed, run.delays(), vec![Inlet::new(window)]);
        let link = pair.attach(0).expect("free");
        pair.drive();
        for n in 0..window.messages {
            pair.push(u32::piece(n * 4, 1)).expect("within the limit");
        }
        pair.drive();
        pair.forge_down(0, Down::Consume { link, item: 7 });
        pair.drive();
        assert_eq!(pair.record(0).delivered.messages, window.messages);
        assert_eq!(violations(&pair), [Rule::P1, Rule::P1], "at both ends");
    });
}

#[test]
fn p2_nothing_is_sent_before_the_first_grant() {
    seeds(3, Kind::ALL, |run| {
        run.told(|pair| {
            let mut granted = Vec::new();
            for event in pair.events {
                match event.what {
                    What::Arrived { to: Node::Producer, note: Note::CanProduce { link, .. }, .. } => granted.push(link),
                    What::Sent {
                        from: Node::Producer,
                        note: Note::Consume { link, .. } | Note::End { link, .. },
                        ..
                    } => {
                        assert!(granted.contains(&link), "{link} carried something before its first grant");
                    }
                    _ => {}
                }
            }
        });
    });
}

#[test]
fn p3_limits_only_rise_and_old_ones_change_nothing() {
    seeds(4, Kind::ALL, |run| {
        run.told(|pair| {
            let mut granted = HashMap::<LinkId, Limit>::new();
            for event in pair.events {
                if let What::Raised { link, limit, .. }
                | What::Sent { from: Node::Consumer(_), note: Note::CanProduce { link, limit }, .. } = event.what
                {
                    let before = granted.insert(link, limit).unwrap_or_default();
                    assert!(limit.quantity >= before.quantity && limit.messages >= before.messages, "a limit fell");
                }
            }
        });
    });
    seeds(5, Kind::PLAIN, |mut run| {
        let window = Window { quantity: run.rng.magnitude(1 << 16), messages: run.rng.between(1, 256) };
        let mut pair = Pair::<Bytes>::new(run.seed, run.delays(), vec![Inlet::new(window)]);
        let link = pair.attach(0).expect("free");
        pair.drive();
        let first = pair.outlet().limit();
        for _ in 0..4 {
            let (quantity, messages) = (run.rng.between(0, first.quantity), run.rng.between(0, first.messages));
            pair.forge_up(0, Up::CanProduce { link, limit: Limit { quantity, messages } });
        }
        pair.drive();
        assert_eq!(pair.outlet().limit(), first);
    });
}

#[test]
fn p3_unlimited_lifts_the_bound_on_quantity_and_keeps_that_on_messages() {
    seeds(6, Kind::PLAIN, |mut run| {
        let messages = run.rng.between(1, 16);
        let mut pair = Pair::<Bytes>::new(run.seed, run.delays(), vec![Inlet::manual()]);
        pair.attach(0).expect("free");
        pair.grant(0, Credit { quantity: Limit::UNLIMITED, messages });
        pair.drive();
        let mut sum = 0;
        for _ in 0..2 * messages {
            let quantity = 1 + run.rng.magnitude(1 << 18);
            if pair.push(content(sum, quantity)).is_ok() {
                sum += quantity;
            }
        }
        pair.drive();
        assert_eq!(pair.record(0).delivered.messages, messages);
    });
}

#[test]
fn p4_one_terminal_at_each_end_and_nothing_after_it() {
    seeds(7, Kind::ALL, |run| run.told(judge_terminals));
}

#[test]
fn p4_a_message_after_the_end_is_never_delivered() {
    seeds(8, Kind::PLAIN, |mut run| {
        let mut pair = Pair::<Bytes>::new(run.seed, run.delays(), vec![Inlet::default()]);
        let link = pair.attach(0).expect("free");
        let held = run.rng.chance(50);
        pair.push(content(0, 100)).expect("taken");
        pair.end(true);
        pair.drive();
        if !held {
            pair.release(0, u64::MAX);
        }
        match run.rng.below(3) {
            0 => pair.forge_down(0, Down::Consume { link, item: content(0, 10) }),
            1 => pair.forge_down(0, Down::End { link, clean: false }),
            _ => pair.forge_down(0, Down::Abort { link }),
        }
        pair.drive();
        assert_eq!(pair.record(0).arrived.len(), 100);
        assert!(pair.record(0).inlet_over.len() <= 1);
        if !held {
            assert!(matches!(pair.record(0).inlet_over[..], [Terminal::Ended { clean: true }]));
        }
    });
}

#[test]
fn p5_a_message_of_another_link_is_dropped_and_counted() {
    seeds(9, Kind { strangers: true, ..Kind::ALL }, |run| run.told(judge_stale));
}

#[test]
fn p6_what_arrives_is_what_was_pushed() {
    seeds(10, Kind::PEACE, |run| {
        run.told(|pair| {
            let story = pair.story;
            let arrived: Vec<u8> = pair.records.iter().flat_map(|record| record.arrived.iter().copied()).collect();
            assert!(arrived == story.pushed, "{} of {} bytes, or others", arrived.len(), story.pushed.len());
            for record in pair.records {
                assert!(record.arrived == record.left, "an attachment without an abort loses nothing");
                assert_eq!(record.sent, record.delivered);
            }
        });
    });
}

#[test]
fn p6_an_abort_cuts_and_never_reorders() {
    seeds(11, Kind::ALL, |run| {
        run.told(|pair| {
            let story = pair.story;
            let mut left = Vec::new();
            for record in pair.records {
                assert!(record.left.starts_with(&record.arrived), "what arrived is the beginning of what left");
                left.extend_from_slice(&record.left);
            }
            assert!(story.pushed.starts_with(&left), "what left is the beginning of what was pushed");
        });
    });
}

// ---- C1, C2

#[test]
fn c1_a_grant_comes_at_half_or_when_empty_and_never_else() {
    seeds(12, Kind { ends: false, ..Kind::STEADY }, |run| {
        run.told(|pair| {
            let story = pair.story;
            let window = story.windows[0];
            let mut granted = HashMap::<LinkId, Limit>::new();
            let mut accepted = HashMap::<LinkId, Count>::new();
            let mut held = Count::ZERO;
            for event in pair.events {
                match event.what {
                    What::Arrived {
                        to: Node::Consumer(0),
                        note: Note::Consume { link, quantity, .. },
                        fate: Fate::Taken,
                        ..
                    } => {
                        add(accepted.entry(link).or_default(), quantity);
                        add(&mut held, quantity);
                    }
                    What::Wants { node: Node::Consumer(0), want: Want::Release { quantity, messages } } => {
                        held.quantity -= quantity;
                        held.messages = if held.quantity == 0 { 0 } else { held.messages - messages };
                    }
                    What::Raised { node: Node::Consumer(0), link, limit } => {
                        let taken = accepted.get(&link).copied().unwrap_or_default();
                        assert!(
                            limit.quantity + held.quantity <= taken.quantity + window.quantity,
                            "held + credit beyond the window"
                        );
                        if let Some(before) = granted.insert(link, limit) {
                            let left = before.quantity - taken.quantity;
                            let room = before.messages - taken.messages;
                            let half = left <= window.quantity / 2 || room <= window.messages / 2;
                            assert!(half || held.is_zero(), "granted with {left}/{room} left of {window:?}");
                        }
                    }
                    _ => {}
                }
            }
            // and it does come: with nothing held the whole window stands open
            for inlet in pair.inlets.iter().filter(|inlet| inlet.phase == InletPhase::Open && held.is_zero()) {
                let quantity = inlet.accepted.quantity + window.quantity;
                let messages = inlet.accepted.messages + window.messages;
                assert_eq!(inlet.limit, Limit { quantity, messages });
            }
        });
    });
}

#[test]
fn c1_a_message_goes_with_a_grant_only_to_who_waits() {
    seeds(24, Kind { ends: false, ..Kind::STEADY }, |run| {
        run.told(|pair| {
            let mut limit = Limit::ZERO;
            let (mut told, mut raised) = (0, 0);
            let mut left = 0;
            let mut waited = false;
            for event in pair.events {
                // what is left when the outlet is done with what it was given, or told
                waited |= left > 0 && !matches!(event.what, What::Sent { from: Node::Producer, .. });
                match event.what {
                    What::Wants { want: Want::Push { quantity, taken: true }, .. } => left += quantity,
                    What::Sent { from: Node::Producer, note: Note::Consume { quantity, .. }, .. } => left -= quantity,
                    What::Raised { limit: now, .. } => {
                        limit = now;
                        raised += 1;
                    }
                    What::Sent { from: Node::Consumer(0), note: Note::CanProduce { limit: of, .. }, .. } => {
                        assert_eq!(of, limit, "what the cell has");
                        assert!(!pair.on_demand || told == 0 || waited, "a grant of {of} to who does not wait");
                        told += 1;
                        waited = left > 0;
                    }
                    _ => {}
                }
            }
            assert!(pair.on_demand || told == raised, "{told} of {raised} were told");
        });
    });
}

#[test]
fn c1_a_link_never_stalls_while_the_consumer_releases() {
    seeds(13, Kind::PEACE, |run| {
        run.told(|pair| {
            assert_eq!(pair.phase, OutletPhase::Ended, "ended by the story, and nothing stood in the way");
            assert!(!pair.has_work);
        });
    });
}

#[test]
fn c1_what_waits_stays_within_the_window() {
    seeds(14, Kind::STEADY, |run| {
        run.told(|pair| {
            let story = pair.story;
            let window = story.windows[0];
            let mut waiting = Count::ZERO;
            let mut most = Count::ZERO;
            for event in pair.events {
                match event.what {
                    What::Sent { from: Node::Producer, note: Note::Consume { quantity, .. }, .. } => {
                        waiting.quantity += quantity;
                        waiting.messages += 1;
                    }
                    What::Arrived { note: Note::Consume { quantity, .. }, fate, .. } if fate != Fate::Taken => {
                        waiting.quantity -= quantity;
                        waiting.messages -= 1;
                    }
                    What::Wants { node: Node::Consumer(_), want: Want::Release { quantity, messages } } => {
                        waiting.quantity -= quantity;
                        waiting.messages -= messages;
                    }
                    _ => {}
                }
                most.quantity = most.quantity.max(waiting.quantity);
                most.messages = most.messages.max(waiting.messages);
            }
            assert!(most.quantity <= window.quantity && most.messages <= window.messages, "{most:?} in {window:?}");
        });
    });
}

#[test]
fn c2_a_consumer_accepts_all_that_it_granted() {
    seeds(15, Kind::ALL, |run| {
        run.told(|pair| {
            for event in pair.events {
                if let What::Over { how: Terminal::Aborted(cause), .. } = &event.what {
                    assert!(!matches!(cause.reason, Reason::Violation(_)), "honest ends, and yet: {cause}");
                }
            }
        });
    });
}

// ---- E1, E2

#[test]
fn e1_clean_is_carried_from_end_to_end() {
    seeds(16, Kind::ALL, |run| {
        run.told(|pair| {
            let story = pair.story;
            for record in pair.records {
                for over in record.outlet_over.iter().chain(&record.inlet_over) {
                    if let Terminal::Ended { clean } = over {
                        assert_eq!(Some(*clean), story.ended);
                    }
                }
            }
        });
    });
}

#[test]
fn e2_an_end_delivers_all_that_was_pushed() {
    seeds(17, Kind::ALL, |run| {
        run.told(|pair| {
            let story = pair.story;
            let ended = |over: &[Terminal]| matches!(over, [Terminal::Ended { .. }]);
            let Some(last) = pair.records.last() else { return };
            if ended(&last.inlet_over) && pair.records.iter().all(|record| record.cell.cause().is_none()) {
                let arrived: usize = pair.records.iter().map(|record| record.arrived.len()).sum();
                assert_eq!(arrived, story.pushed.len());
                assert!(ended(&last.outlet_over));
            }
        });
    });
}

#[test]
fn e2_an_abort_tells_what_was_accepted_and_what_was_lost() {
    seeds(18, Kind::ALL, |run| {
        run.told(|pair| {
            for record in pair.records {
                assert_eq!(record.cell.produced(), record.sent);
                assert_eq!(record.cell.accepted(), record.delivered);
                assert_eq!(record.cell.in_flight(), record.lost.quantity, "all mail was read: the rest is lost");
                let cut = record.cell.cause().is_some() || record.inlet_over.is_empty();
                assert!(cut || record.lost.is_zero(), "lost without an abort");
            }
        });
    });
}

// ---- A1, A2

#[test]
fn a1_the_first_cause_wins_and_each_end_is_told_that_one() {
    seeds(19, Kind::ALL, |run| {
        run.told(|pair| {
            for record in pair.records {
                let told: Vec<&Arc<Cause>> = record
                    .outlet_over
                    .iter()
                    .chain(&record.inlet_over)
                    .filter_map(|over| if let Terminal::Aborted(cause) = over { Some(cause) } else { None })
                    .collect();
                for cause in told {
                    let first = record.cell.cause().expect("an end was told a cause, so the cell has one");
                    assert!(Arc::ptr_eq(cause, first), "{cause} told, {first} was first");
                }
            }
        });
    });
}

#[test]
fn a2_abort_overtakes_data() {
    seeds(20, Kind::ALL, |run| {
        run.told(|pair| {
            let mut set = Vec::new();
            for event in pair.events {
                match event.what {
                    What::CauseSet { link } => set.push(link),
                    What::Sent {
                        from: Node::Producer,
                        note: Note::Consume { link, .. } | Note::End { link, .. },
                        ..
                    } => {
                        assert!(!set.contains(&link), "sent on {link} after its cause was set");
                    }
                    What::Arrived {
                        note: Note::Consume { link, .. } | Note::End { link, .. },
                        fate: Fate::Taken,
                        ..
                    } => assert!(!set.contains(&link), "delivered from {link} after its cause was set"),
                    _ => {}
                }
            }
        });
    });
}

#[test]
fn a2_nobody_is_told_detached_of_a_link_whose_cause_is_set() {
    seeds(21, Kind::ALL, |run| {
        run.told(|pair| {
            let mut set = Vec::new();
            for event in pair.events {
                match &event.what {
                    What::CauseSet { link } => set.push(*link),
                    What::Over { link: Some(link), how: Terminal::Detached { .. }, .. } => {
                        assert!(!set.contains(link), "{link} was broken already");
                    }
                    _ => {}
                }
            }
        });
    });
}

#[test]
fn a2_an_outlet_that_has_ended_sets_nothing() {
    seeds(22, Kind::PLAIN, |mut run| {
        let mut pair = Pair::<u32>::new(run.seed, run.delays(), vec![Inlet::default()]);
        pair.attach(0).expect("free");
        let items = run.rng.between(0, 200);
        for n in 0..items {
            pair.push(u32::piece(n * 4, 1)).expect("joined or sent");
            if pair.outlet().has_work() {
                pair.drive();
            }
        }
        pair.end(true);
        while pair.outlet().phase() != OutletPhase::Ended {
            assert!(pair.step());
        }
        pair.drop_owner(Node::Producer);
        pair.settle(10_000);
        assert_eq!(pair.record(0).delivered.messages, items);
        assert!(pair.record(0).cell.cause().is_none());
        assert!(matches!(pair.record(0).inlet_over[..], [Terminal::Ended { clean: true }]));
    });
}

// ---- the stories themselves

/// A property over stories in which nothing happens holds for nothing.
#[test]
fn stories_reach_the_corners_that_the_rules_are_about() {
    use std::cell::RefCell;
    let reached = RefCell::new(std::collections::BTreeMap::<&str, u32>::new());
    let count = |name, happened| {
        *reached.borrow_mut().entry(name).or_default() += u32::from(happened);
    };
    // this many stories whatever the environment says, since it is about frequencies
    for seed in 0..3_000 {
        Run { seed, kind: Kind::ALL, rng: Rng::new(77 << 40 ^ seed) }.told(|pair| {
            let any = |test: &dyn Fn(&What) -> bool| pair.events.iter().any(|event| test(&event.what));
            let aborted = |overs: &[Terminal]| matches!(overs, [Terminal::Aborted(_)]);
            let quantity = |what: &What, least| matches!(what, What::Sent { note: Note::Consume { quantity, .. }, .. } if *quantity >= least);
            count("attached again", pair.records.len() > 1);
            count("attached to both consumers", (0..2).all(|n| pair.records.iter().any(|r| r.consumer == n && !r.sent.is_zero())));
            count("attachment refused", pair.records.iter().any(|record| record.released));
            count("aborted at both ends", pair.records.iter().any(|r| aborted(&r.outlet_over) && aborted(&r.inlet_over)));
            count("outlet detached, inlet aborted", pair.records.iter().any(|r| {
                matches!(r.outlet_over[..], [Terminal::Detached { .. }]) && aborted(&r.inlet_over)
            }));
            count("outlet ended, inlet aborted", pair.records.iter().any(|r| {
                matches!(r.outlet_over[..], [Terminal::Ended { .. }]) && aborted(&r.inlet_over)
            }));
            count("data lost by an abort", pair.records.iter().any(|record| !record.lost.is_zero()));
            count("data under way at a detach", pair.records.iter().any(|record| {
                let link = record.cell.id();
                let at = |test: &dyn Fn(&What) -> bool| pair.events.iter().position(|event| test(&event.what));
                let parted = at(&|what| matches!(what, What::Wants { want: Want::Detach { link: l, .. }, .. } if *l == link));
                parted.is_some_and(|parted| pair.events[parted..].iter().any(|event| matches!(event.what,
                    What::Arrived { note: Note::Consume { link: l, .. }, fate: Fate::Taken, .. } if l == link)))
            }));
            count("mail to a dead owner", any(&|what| matches!(what, What::Arrived { fate: Fate::Dead, .. })));
            count("stale grants", pair.stale > 0);
            count("ended clean", pair.records.iter().any(|r| matches!(r.inlet_over[..], [Terminal::Ended { clean: true }])));
            count("ended unclean", pair.records.iter().any(|r| matches!(r.inlet_over[..], [Terminal::Ended { clean: false }])));
            count("ended before the first attachment", any(&|what| matches!(what, What::Wants { want: Want::End { .. }, .. }))
                && !matches!(pair.records, [record, ..] if !record.sent.is_zero()));
            count("piece of 64 KiB", any(&|what| quantity(what, 1 << 16)));
            count("piece of half a MiB", any(&|what| quantity(what, 1 << 19)));
            count("window of 1", pair.story.windows.iter().any(|window| window.quantity == 1));
            count("push split", any(&|what| matches!(what, What::Wants { want: Want::Push { quantity, taken: true }, .. } if *quantity > 1))
                && pair.records.iter().any(|record| record.sent.messages > 1));
            count("push refused", any(&|what| matches!(what, What::Wants { want: Want::Push { taken: false, .. }, .. })));
            count("granted by hand", any(&|what| matches!(what, What::Wants { want: Want::Grant { .. }, .. })));
            count("grants that nobody was told of", {
                let of = |test: &dyn Fn(&What) -> bool| pair.events.iter().filter(|event| test(&event.what)).count();
                of(&|what| matches!(what, What::Raised { .. }))
                    > of(&|what| matches!(what, What::Sent { note: Note::CanProduce { .. }, .. }))
            });
            count("turn with several items", any(&|what| matches!(what, What::Arrived { note: Note::TurnEnds, .. })));
        });
    }
    let reached = reached.into_inner();
    println!("{reached:#?}");
    for (corner, stories) in reached {
        assert!(stories >= 10, "only {stories} of 3,000 stories have: {corner}");
    }
}

// ---- arithmetic

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p3_raise_is_a_maximum_and_credit_and_covers_agree(
        a in (any::<u64>(), any::<u64>()), b in (any::<u64>(), any::<u64>()), c in (any::<u64>(), any::<u64>()),
    ) {
        let limit = |(quantity, messages)| Limit { quantity, messages };
        let (mut one, mut two) = (limit(a), limit(b));
        prop_assert_eq!(one.raise(limit(b)), b.0 > a.0 || b.1 > a.1);
        two.raise(limit(a));
        prop_assert_eq!(one, two);
        prop_assert!(!one.raise(limit(b)) && !one.raise(limit(a)));

        let count = Count { quantity: c.0, messages: c.1 };
        let credit = one.credit(count);
        if one.covers(count) && !credit.is_exhausted() {
            let mut next = count;
            next.add(1);
            prop_assert!(one.covers(next));
        }
        // a limit beyond a count gives that credit, unless it is too large to be counted
        let beyond = Limit::beyond(count, Credit { quantity: a.0, messages: a.1 });
        prop_assert!(beyond.covers(count));
        if beyond.quantity != Limit::UNLIMITED && beyond.messages != u64::MAX {
            prop_assert_eq!(beyond.credit(count), Credit { quantity: a.0, messages: a.1 });
        }
    }

    #[test]
    fn p1_a_count_never_wraps_around_its_limit(start in any::<u64>(), quantity in any::<u64>()) {
        let mut count = Count { quantity: start, messages: u64::MAX };
        count.add(quantity);
        prop_assert!(count.quantity >= start && count.messages == u64::MAX);
    }
}

// ---- oracles

fn add(count: &mut Count, quantity: u64) {
    count.quantity += quantity;
    count.messages += 1;
}

fn judge_terminals(pair: &Outcome<'_>) {
    for record in pair.records {
        let of = record.cell.id();
        let outlets = record.outlet_over.len();
        assert_eq!(outlets, usize::from(!record.released), "outlet of {of}: {:?}", record.outlet_over);
        let inlets = record.inlet_over.len();
        assert_eq!(inlets, usize::from(record.attached), "inlet of {of}: {:?}", record.inlet_over);
        let over = |node: Node, event: &Event| matches!(&event.what, What::Over { node: n, link: Some(l), .. } if *n == node && *l == of);
        let events = pair.events;
        if let Some(at) = events.iter().position(|event| over(Node::Producer, event)) {
            assert!(!events[at..].iter().any(|event| matches!(event.what,
                What::Sent { from: Node::Producer, note: Note::Consume { link, .. } | Note::End { link, .. } | Note::Abort { link }, .. }
                    if link == of)), "sent after the outlet's terminal");
        }
        if let Some(at) = events.iter().position(|event| over(Node::Consumer(record.consumer), event)) {
            assert!(
                !events[at..].iter().any(|event| match event.what {
                    What::Sent {
                        from: Node::Consumer(_),
                        note: Note::CanProduce { link, .. } | Note::Abort { link },
                        ..
                    } => link == of,
                    What::Arrived { note: Note::Consume { link, .. }, fate: Fate::Taken, .. } => link == of,
                    _ => false,
                }),
                "delivered or granted after the inlet's terminal"
            );
        }
    }
}

/// Counts, from the trace alone, what came for another link than the port's own.
fn judge_stale(pair: &Outcome<'_>) {
    let mut outlet: Option<LinkId> = None;
    let mut inlets: HashMap<usize, Option<LinkId>> = HashMap::new();
    let mut stale = HashMap::<Option<usize>, u64>::new();
    for event in pair.events {
        match &event.what {
            What::Wants { node: Node::Producer, want: Want::Reserve { link } } => outlet = Some(*link),
            What::Wants { node: Node::Producer, want: Want::Detach { .. } } => outlet = None,
            // the harness releases a refused reservation when it is answered
            What::Arrived { to: Node::Supervisor, note: Note::Answer { link, done: false }, .. }
                if pair.records.iter().any(|record| record.cell.id() == *link && record.released) =>
            {
                outlet = None;
            }
            What::Arrived { to: Node::Consumer(n), note: Note::Attach { link }, fate: Fate::Taken, .. } => {
                inlets.insert(*n, Some(*link));
            }
            What::Arrived { to: Node::Consumer(n), note: Note::CloseAt { .. }, fate: Fate::Taken, .. } => {
                inlets.insert(*n, None);
            }
            What::Arrived {
                to: Node::Producer,
                note: Note::CanProduce { link, .. } | Note::Abort { link },
                fate,
                ..
            } if *fate != Fate::Dead && outlet != Some(*link) => {
                assert_eq!(*fate, Fate::Dropped);
                *stale.entry(None).or_default() += 1;
            }
            What::Arrived {
                to: Node::Consumer(n),
                note: Note::Consume { link, .. } | Note::End { link, .. } | Note::Abort { link },
                fate,
                ..
            } if *fate != Fate::Dead && inlets.get(n).copied().flatten() != Some(*link) => {
                assert_eq!(*fate, Fate::Dropped);
                *stale.entry(Some(*n)).or_default() += 1;
            }
            _ => {}
        }
    }
    assert_eq!(pair.stale, stale.get(&None).copied().unwrap_or(0), "the outlet's count");
    for (n, inlet) in pair.inlets.iter().enumerate() {
        assert_eq!(inlet.stale, stale.get(&Some(n)).copied().unwrap_or(0), "inlet {n}'s count");
    }
}

/// The rules that the causes name which both ends of the first attachment were told.
fn violations<T: Sample>(pair: &Pair<T>) -> Vec<Rule> {
    let record = pair.record(0);
    let told = record.outlet_over.iter().chain(&record.inlet_over);
    told.filter_map(|over| match over {
        Terminal::Aborted(cause) => match &cause.reason {
            Reason::Violation(violation) => Some(violation.rule()),
            _ => None,
        },
        _ => None,
    })
    .collect()
}

// ---- random stories

/// What may happen in a story.
#[derive(Clone, Copy)]
struct Kind {
    aborts: bool,
    manual: bool,
    detach: bool,
    windows_change: bool,
    strangers: bool,
    ends: bool,
}

impl Kind {
    /// Anything that honest owners do.
    const ALL: Self =
        Self { aborts: true, manual: true, detach: true, windows_change: true, strangers: false, ends: true };
    /// Everything arrives in the end.
    const PEACE: Self = Self { aborts: false, ..Self::ALL };
    /// One consumer with one window, attached once.
    const STEADY: Self = Self { manual: false, detach: false, windows_change: false, ..Self::PEACE };
    /// The test tells its own story.
    const PLAIN: Self = Self::STEADY;
}

/// What the owners did, as they remember it.
#[derive(Default)]
struct Story {
    pushed: Vec<u8>,
    ended: Option<bool>,
    windows: Vec<Window>,
}

/// What a judge may look at: the trace, and the few answers of the ports that a rule is about.
struct Outcome<'a> {
    events: &'a [Event],
    records: &'a [Record],
    story: &'a Story,
    phase: OutletPhase,
    has_work: bool,
    stale: u64,
    inlets: Vec<Seen>,
    /// The outlet is told of a grant only while it waits.
    on_demand: bool,
}

struct Seen {
    phase: InletPhase,
    accepted: Count,
    limit: Limit,
    stale: u64,
}

/// A payload of which stories are made.
trait Tale: Sample {
    /// The piece that follows the first `at` bytes of the tape.
    fn piece(at: u64, quantity: u64) -> Self;
}

impl Tale for Bytes {
    fn piece(at: u64, quantity: u64) -> Self {
        content(at, quantity)
    }
}

impl Tale for u32 {
    fn piece(at: u64, _: u64) -> Self {
        Rng::new(at).bits() as u32
    }
}

const MIB: u64 = 1 << 20;

/// Up to 1 MiB of noise that depends on `at`.
fn content(at: u64, quantity: u64) -> Bytes {
    static NOISE: OnceLock<Bytes> = OnceLock::new();
    let noise = NOISE.get_or_init(|| {
        let mut rng = Rng::new(42);
        (0..2 * MIB / 8 + 1).flat_map(|_| rng.bits().to_le_bytes()).collect::<Vec<u8>>().into()
    });
    let start = (at % MIB) as usize;
    noise.slice(start..start + quantity as usize)
}

fn seeds(salt: u64, kind: Kind, test: impl Fn(Run)) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number of seeds, or a seed"));
    let range = match number("VERSILE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("VERSILE_SEEDS").unwrap_or(3_000),
    };
    for seed in range {
        test(Run { seed, kind, rng: Rng::new(salt << 40 ^ seed) });
    }
}

struct Run {
    seed: u64,
    kind: Kind,
    rng: Rng,
}

impl Run {
    fn delays(&mut self) -> Delays {
        match self.rng.below(4) {
            0 => Delays::NONE,
            1 => Delays::millis(1, 2),
            2 => Delays::millis(0, 50),
            _ => Delays::millis(0, 1000),
        }
    }

    /// Tells a story with one payload or the other, and judges it.
    fn told(self, judge: impl Fn(&Outcome<'_>)) {
        if self.seed.is_multiple_of(3) { self.tell::<u32>(judge) } else { self.tell::<Bytes>(judge) }
    }

    fn window(&mut self) -> Window {
        let most = if self.rng.chance(50) { 4 } else { 256 };
        Window { quantity: self.rng.magnitude(MIB), messages: self.rng.between(1, most) }
    }

    fn tell<T: Tale>(mut self, judge: impl Fn(&Outcome<'_>)) {
        let mut story = Story::default();
        let mut manual = Vec::new();
        let mut inlets = Vec::new();
        let large = self.rng.chance(10);
        for _ in 0..2 {
            let mut window = self.window();
            if large {
                window.quantity = window.quantity.max(16 * 1024);
            }
            story.windows.push(window);
            let by_hand = self.kind.manual && self.rng.chance(25);
            inlets.push(if by_hand { Inlet::manual() } else { Inlet::new(window) });
            manual.push(by_hand);
        }
        let mut pair = Pair::<T>::new(self.seed, self.delays(), inlets);
        if self.rng.chance(50) {
            pair = pair.lazy();
        }
        // no draw: the stories are what they were
        let on_demand = self.seed % 4 < 2;
        if on_demand {
            pair = pair.on_demand();
        }
        // not many more messages than a hundred for a piece, however small the window
        let smallest = story.windows.iter().map(|window| window.quantity).min().unwrap_or(1);
        let most = MIB.min(smallest * 64);
        let largest = if large { most } else { self.rng.magnitude(most) };
        if self.rng.chance(80) {
            pair.attach(0).expect("free");
        }
        for _ in 0..self.rng.between(5, 80) {
            self.act(&mut pair, &mut story, &mut manual, largest);
        }
        self.finish(&mut pair, &mut story, &mut manual);
        let seen = |n| {
            let inlet = pair.inlet(n);
            Seen { phase: inlet.phase(), accepted: inlet.accepted(), limit: inlet.limit(), stale: inlet.stale() }
        };
        judge(&Outcome {
            events: pair.events(),
            records: pair.records(),
            story: &story,
            phase: pair.outlet().phase(),
            has_work: pair.outlet().has_work(),
            stale: pair.outlet().stale(),
            inlets: vec![seen(0), seen(1)],
            on_demand,
        });
    }

    fn act<T: Tale>(&mut self, pair: &mut Pair<T>, story: &mut Story, manual: &mut [bool], largest: u64) {
        let n = if self.kind.detach { self.rng.below(2) as usize } else { 0 };
        match self.rng.below(100) {
            0..40 => {
                for _ in 0..self.rng.between(1, 8) {
                    pair.step();
                }
            }
            40..65 => {
                let quantity = if self.rng.chance(20) { largest } else { self.rng.magnitude(largest) };
                push(pair, story, quantity);
            }
            65..72 => match pair.attach(n) {
                Ok(_) | Err(TransactionError::Busy | TransactionError::Refused(_) | TransactionError::NotAttached) => {}
            },
            72..78 if self.kind.detach => match pair.detach() {
                Ok(_) | Err(_) => {}
            },
            78..88 => match self.rng.below(3) {
                0 => pair.release(n, u64::MAX),
                1 => pair.release(n, self.rng.between(1, 8)),
                _ => pair.release_part(n, self.rng.magnitude(largest)),
            },
            88..92 if manual[n] => {
                let (quantity, messages) = (self.rng.magnitude(MIB), self.rng.between(0, 256));
                pair.grant(n, Credit { quantity, messages });
            }
            92..94 if self.kind.windows_change && (!manual[n] || self.rng.chance(20)) => {
                manual[n] = false;
                let window = if self.rng.chance(20) { Window::CLOSED } else { self.window() };
                pair.set_window(n, window);
            }
            94 if self.kind.ends => self.end(pair, story),
            95 | 96 if self.kind.aborts && self.rng.chance(50) => self.abort(pair),
            97 | 98 if self.kind.strangers => {
                let link = LinkCell::new().id();
                pair.forge_down(n, Down::Consume { link, item: T::piece(0, 1) });
                pair.forge_down(n, Down::End { link, clean: true });
                pair.forge_down(n, Down::Abort { link });
                pair.forge_up(n, Up::CanProduce { link, limit: Limit { quantity: 9, messages: 9 } });
                pair.forge_up(n, Up::Abort { link });
            }
            _ => {}
        }
    }

    fn end<T: Tale>(&mut self, pair: &mut Pair<T>, story: &mut Story) {
        let clean = self.rng.chance(70);
        story.ended.get_or_insert(clean);
        pair.end(clean);
    }

    fn abort<T: Tale>(&mut self, pair: &mut Pair<T>) {
        let some = Node::Consumer(self.rng.below(2) as usize);
        let cause = |by: &str| Cause::new(Reason::Requested("story".into()), Origin::component(by));
        match self.rng.below(8) {
            0 => pair.abort(Node::Producer, cause("producer")),
            1 => pair.abort(some, cause("consumer")),
            2 => pair.abort(Node::Supervisor, cause("supervisor")),
            3 => {
                pair.abort(Node::Producer, cause("producer"));
                pair.abort(some, cause("consumer"));
            }
            4 => {
                pair.abort(some, cause("consumer"));
                pair.abort(Node::Producer, cause("producer"));
            }
            5 => {
                pair.abort(Node::Supervisor, cause("supervisor"));
                pair.drop_owner(some);
            }
            6 => pair.drop_owner(Node::Producer),
            _ => pair.drop_owner(some),
        }
    }

    /// Brings the story to an end, so that every attachment has one.
    fn finish<T: Tale>(&mut self, pair: &mut Pair<T>, story: &mut Story, manual: &mut [bool]) {
        if self.kind.windows_change {
            for n in (0..2).filter(|n| !manual[*n]) {
                pair.set_window(n, story.windows[n]);
            }
        }
        if self.kind.aborts && self.rng.chance(20) {
            // before anything is released: some consumers still hold items when the end comes
            self.end(pair, story);
            for _ in 0..self.rng.between(0, 8) {
                pair.step();
            }
            self.abort(pair);
        }
        if !self.kind.ends {
            return pair.settle(1_000_000);
        }
        let credit = Credit { quantity: 2 * MIB, messages: 1 << 21 };
        let mut last = 0;
        for _ in 0..20 {
            pair.settle(1_000_000);
            for n in (0..2).filter(|n| manual[*n]) {
                pair.grant(n, credit);
            }
            pair.settle(1_000_000);
            match pair.outlet().phase() {
                OutletPhase::Idle => match pair.attach(last) {
                    Ok(_) => last = if self.kind.detach { 1 - last } else { 0 },
                    // the owner is gone
                    Err(_) => return,
                },
                OutletPhase::Reserved | OutletPhase::Open => match self.rng.below(4) {
                    0 if self.kind.aborts => self.abort(pair),
                    1 if self.kind.detach => match pair.detach() {
                        Ok(_) | Err(_) => {}
                    },
                    _ => self.end(pair, story),
                },
                OutletPhase::Lingering | OutletPhase::Ended | OutletPhase::Aborted => break,
            }
        }
        // no consumer is left that would take it
        if !matches!(pair.outlet().phase(), OutletPhase::Ended | OutletPhase::Aborted) {
            pair.drop_owner(Node::Producer);
        }
        pair.settle(1_000_000);
    }
}

fn push<T: Tale>(pair: &mut Pair<T>, story: &mut Story, quantity: u64) {
    let item = T::piece(story.pushed.len() as u64, quantity);
    let copy = T::piece(story.pushed.len() as u64, quantity);
    match pair.push(item) {
        Ok(()) => copy.put(&mut story.pushed),
        Err(PushError::Full(back) | PushError::Closed(back)) => {
            assert_eq!(back.quantity(), copy.quantity(), "handed back whole");
        }
    }
}
