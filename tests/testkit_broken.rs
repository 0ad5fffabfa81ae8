//! Components that break one rule each, on purpose: the kit must find just that rule broken.
//!
//! Ports keep most rules by themselves, so the breaches of what ports keep are made with probes, which keep none; the others
//! are actors as a user would write them. Each of the three bodies conforms when nothing is wrong with it, which is tested too.
#![cfg(feature = "testkit")]

use actix::prelude::*;
use std::collections::VecDeque;
use versile_io::component::control::Envelope;
use versile_io::component::{AddrExt, Inlet, InletEvent, InletRef, Outlet, OutletEvent, OutletRef};
use versile_io::proto::link::{Credit, Limit, Reason, Rule};
use versile_io::testkit::{Consumed, ConsumerProbe, Ladder, Produced, ProducerProbe, Report, conformance};
use versile_io::wire;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Nothing,
    // of the source
    IgnoresQuantity,
    IgnoresMessages,
    SendsBeforeTheFirstGrant,
    EndsBeforeTheFirstGrant,
    AddsUpRepeatedGrants,
    SendsAfterItsEnd,
    EndsTwice,
    ObeysGrantsOfOtherLinks,
    GivesOtherItemsWhenItIsPartedOften,
    SendsAfterAnAbort,
    IsNotToldItsCause,
    StopsWithoutAWord,
    GivesAllInOneTurn,
    StopsAtTwenty,
    EndsUnclean,
    StaysAfterItsEnd,
    // of the sink
    TakesTooMuch,
    LowersItsLimit,
    CountsItemsOfOtherLinks,
    GrantsInsideItsHandler,
    CallsBack,
    NeverTakesTheEnd,
    GrantsAfterItsEnd,
    TakesItemsAfterACause,
    // of the filter
    ChangesItems,
    SwapsItems,
    SaysThatAllEndsAreClean,
    LosesItsLastItem,
    NeverEnds,
    GrantsOnce,
    RefusesWhatItGranted,
    QueuesWithoutBound,
    GrantsAnyNumberOfMessages,
    DropsQuestions,
    KeepsQuestions,
    HoldsItself,
}
use Flaw::*;

fn source(flaw: Flaw) -> Report {
    conformance::source(move || {
        let probe = ProducerProbe::new("source", &Ladder::default());
        let outlet = probe.outlet();
        actix_rt::spawn(produce(probe, flaw));
        outlet
    })
    .run()
}

/// Forty numbers, or more than a turn may give.
async fn produce(probe: ProducerProbe<u32>, flaw: Flaw) {
    let mut data: VecDeque<u32> = (0..if flaw == GivesAllInOneTurn { 2500 } else { 40 }).collect();
    let (mut last, mut extra, mut foreign) = (Limit::ZERO, 0, Limit::ZERO);
    let (mut parted, mut stuck) = (0, false);
    loop {
        match probe.next().await {
            Produced::Attached if flaw == SendsBeforeTheFirstGrant => {
                data.pop_front().map(|n| probe.send(n)).unwrap_or(())
            }
            Produced::Attached if flaw == EndsBeforeTheFirstGrant => {
                probe.end(true);
                return;
            }
            Produced::Attached => (last, extra, foreign) = (Limit::ZERO, 0, Limit::ZERO),
            Produced::Grant(limit) if flaw == AddsUpRepeatedGrants => {
                extra += if last.raise(limit) { 0 } else { 5 };
            }
            Produced::OtherLink(limit) if flaw == ObeysGrantsOfOtherLinks => foreign = limit,
            Produced::Aborted => {
                if flaw == SendsAfterAnAbort {
                    probe.send(7);
                }
                if let (Some(cause), true) = (probe.cause(), flaw != IsNotToldItsCause) {
                    probe.told(&cause);
                }
                return;
            }
            Produced::Detached => parted += 1,
            Produced::Stop => {
                if flaw != StopsWithoutAWord {
                    probe.abort(Reason::ComponentGone);
                }
                return;
            }
            _ => {}
        }
        // parted, not granted, or aborted with the message of it still to come
        if !probe.is_granted() || probe.link().is_none() || probe.cause().is_some() || stuck {
            continue;
        }
        loop {
            let credit = probe.credit();
            let beyond = extra > 0 || foreign.credit(probe.passed()).quantity > 0;
            let may = match flaw {
                IgnoresQuantity => credit.messages > 0,
                IgnoresMessages => credit.quantity > 0,
                _ => !credit.is_exhausted() || beyond,
            };
            if !may {
                break;
            }
            extra -= i32::from(credit.is_exhausted() && extra > 0);
            let Some(n) = data.pop_front() else { break };
            probe.send(if flaw == GivesOtherItemsWhenItIsPartedOften && parted > 0 { n + 1 } else { n });
            if flaw == StopsAtTwenty && n == 20 {
                stuck = true;
                break;
            }
        }
        if data.is_empty() {
            probe.end(flaw != EndsUnclean);
            match flaw {
                StaysAfterItsEnd => std::future::pending().await,
                SendsAfterItsEnd => probe.send(99),
                EndsTwice => probe.end(true),
                _ => {}
            }
            return;
        }
    }
}

fn sink(flaw: Flaw) -> Report {
    conformance::sink(move || {
        let probe = match flaw {
            CallsBack => ConsumerProbe::reacting("sink", &Ladder::default(), |probe| probe.grant_more(8, 8)),
            _ => ConsumerProbe::new("sink", &Ladder::default()),
        };
        let inlet = probe.inlet();
        if flaw != TakesTooMuch {
            probe.be_strict();
        }
        actix_rt::spawn(consume(probe, flaw));
        inlet
    })
    .run()
}

async fn consume(probe: ConsumerProbe<u32>, flaw: Flaw) {
    let (mut taken, mut strangers) = (0, 0);
    let messages = if flaw == GrantsAnyNumberOfMessages { 1 << 20 } else { 8 };
    loop {
        match probe.next().await {
            Consumed::Attached => {
                taken = 0;
                probe.grant_more(8, messages);
            }
            Consumed::Item(_) => {
                taken += 1;
                if probe.cause().is_some() {
                    if flaw == TakesItemsAfterACause {
                        probe.accept(1);
                    }
                    continue;
                }
                if flaw == GrantsOnce {
                    continue;
                }
                if flaw == RefusesWhatItGranted && taken == 7 {
                    probe.abort(Reason::Requested("I can take no more".into()));
                    return;
                }
                // with the last of its turn, unless that is what is wrong
                if taken == probe.passed().messages || flaw == GrantsInsideItsHandler {
                    probe.grant_more(8, messages);
                    if flaw == LowersItsLimit {
                        probe.grant_more(2, 2);
                    }
                }
            }
            Consumed::OtherLink(_) if flaw == CountsItemsOfOtherLinks => {
                strangers += 1;
                if strangers > 2 {
                    probe.abort(Reason::Requested("too much".into()));
                    return;
                }
            }
            Consumed::End { clean } if flaw != NeverTakesTheEnd => {
                probe.finish(clean);
                if flaw == GrantsAfterItsEnd {
                    probe.grant_more(8, 8);
                }
                return;
            }
            Consumed::Aborted => {
                if let (Some(cause), true) = (probe.cause(), flaw != IsNotToldItsCause) {
                    probe.told(&cause);
                }
                return;
            }
            Consumed::Stop => {
                if flaw != StopsWithoutAWord {
                    probe.abort(Reason::ComponentGone);
                }
                return;
            }
            _ => {}
        }
    }
}

/// Passes on; an actor as a user would write it.
struct Passing {
    flaw: Flaw,
    input: Inlet<u32>,
    output: Outlet<u32>,
    waiting: VecDeque<u32>,
    end: Option<bool>,
    came: u32,
    questions: Vec<Envelope>,
    me: Option<Addr<Self>>,
}

impl Actor for Passing {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        self.me = (self.flaw == HoldsItself).then(|| ctx.address());
    }
}

wire!(Passing {
    inlet input: u32 => on_input;
    outlet output: u32 => on_output;
    controls => on_control;
});

impl Passing {
    fn on_input(&mut self, event: InletEvent<u32>, _: &mut Context<Self>) {
        match event {
            InletEvent::Item(n) => {
                self.came += 1;
                if self.flaw == RefusesWhatItGranted && self.came == 7 {
                    return self.input.abort(Reason::Requested("I can take no more".into()));
                }
                let n = if self.flaw == ChangesItems && self.came == 9 { n.wrapping_add(1) } else { n };
                self.waiting.push_back(n);
            }
            InletEvent::End { clean } => self.end = Some(clean || self.flaw == SaysThatAllEndsAreClean),
            InletEvent::Attached | InletEvent::Detached => {}
            _ => {}
        }
        self.pump();
    }

    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {
        self.pump();
    }

    fn pump(&mut self) {
        let kept = match self.flaw {
            LosesItsLastItem => 1,
            SwapsItems if self.end.is_none() => 1,
            _ => 0,
        };
        while self.output.is_ready() && self.waiting.len() > kept {
            let at = usize::from(self.flaw == SwapsItems && self.waiting.len() > 1);
            let Some(n) = self.waiting.remove(at) else { break };
            drop(self.output.push(n));
        }
        if let (Some(clean), true) = (self.end, self.waiting.len() <= kept && self.flaw != NeverEnds) {
            self.output.end(clean);
        }
        let room = 16_u64.saturating_sub(self.waiting.len() as u64);
        match self.flaw {
            GrantsOnce if self.came > 0 => {}
            QueuesWithoutBound => self.input.grant(Credit { quantity: 100, messages: 100 }),
            GrantsAnyNumberOfMessages => self.input.grant(Credit { quantity: 16, messages: 1 << 20 }),
            _ => self.input.grant(Credit { quantity: room, messages: room }),
        }
    }

    fn on_control(&mut self, envelope: Envelope, _: &mut Context<Self>) -> Option<Envelope> {
        // the crate's own notifications need no answer
        let ours = envelope.name().contains("ProbeQuestion");
        match self.flaw {
            DropsQuestions if ours => None,
            KeepsQuestions if ours => {
                self.questions.push(envelope);
                None
            }
            _ => Some(envelope),
        }
    }
}

fn filter(flaw: Flaw) -> Report {
    conformance::filter(move || -> (InletRef<u32>, OutletRef<u32>) {
        let actor = Passing {
            flaw,
            input: Inlet::manual(),
            output: Outlet::default(),
            waiting: VecDeque::new(),
            end: None,
            came: 0,
            questions: Vec::new(),
            me: None,
        };
        let actor = actor.start();
        (actor.inlet(), actor.outlet())
    })
    .run()
}

#[test]
fn with_nothing_wrong_all_three_conform() {
    for report in [source(Nothing), sink(Nothing), filter(Nothing)] {
        report.assert_conforms();
    }
}

const OF_A_SOURCE: &[(Flaw, Rule)] = &[
    (IgnoresQuantity, Rule::P1),
    (IgnoresMessages, Rule::C1),
    (SendsBeforeTheFirstGrant, Rule::P2),
    (AddsUpRepeatedGrants, Rule::P3),
    (SendsAfterItsEnd, Rule::P4),
    (EndsTwice, Rule::P4),
    (ObeysGrantsOfOtherLinks, Rule::P5),
    (GivesOtherItemsWhenItIsPartedOften, Rule::P6),
    (StopsAtTwenty, Rule::C1),
    (SendsAfterAnAbort, Rule::A2),
    (IsNotToldItsCause, Rule::A1),
    (StopsWithoutAWord, Rule::A3),
    (GivesAllInOneTurn, Rule::F1),
    (EndsUnclean, Rule::E1),
    (StaysAfterItsEnd, Rule::M2),
];

const OF_A_SINK: &[(Flaw, Rule)] = &[
    (TakesTooMuch, Rule::P1),
    (LowersItsLimit, Rule::P3),
    (CountsItemsOfOtherLinks, Rule::P5),
    (CallsBack, Rule::C3),
    (NeverTakesTheEnd, Rule::E2),
    (IsNotToldItsCause, Rule::A1),
    (StopsWithoutAWord, Rule::A3),
    (GrantsInsideItsHandler, Rule::F1),
    (GrantsAfterItsEnd, Rule::P4),
    (TakesItemsAfterACause, Rule::A2),
    (GrantsOnce, Rule::C1),
    (RefusesWhatItGranted, Rule::C2),
    (GrantsAnyNumberOfMessages, Rule::M1),
];

const OF_A_FILTER: &[(Flaw, Rule)] = &[
    (ChangesItems, Rule::P6),
    (SwapsItems, Rule::P6),
    (SaysThatAllEndsAreClean, Rule::E1),
    (LosesItsLastItem, Rule::E2),
    (NeverEnds, Rule::E2),
    (GrantsOnce, Rule::C1),
    (RefusesWhatItGranted, Rule::C2),
    (QueuesWithoutBound, Rule::M1),
    (GrantsAnyNumberOfMessages, Rule::M1),
    (DropsQuestions, Rule::X1),
    (KeepsQuestions, Rule::X1),
    (HoldsItself, Rule::M2),
];

/// All that are found otherwise than by just their rule.
fn misjudged(kind: fn(Flaw) -> Report, cases: &[(Flaw, Rule)]) -> Vec<String> {
    let told = |(flaw, rule): &(Flaw, Rule)| {
        let report = kind(*flaw);
        (report.broken() != [*rule]).then(|| format!("{flaw:?} breaks {rule}, and the kit says\n{report}"))
    };
    cases.iter().filter_map(told).collect()
}

fn each_by_just_its_rule(kind: fn(Flaw) -> Report, cases: &[(Flaw, Rule)]) {
    let misjudged = misjudged(kind, cases);
    assert!(misjudged.is_empty(), "{} of {}\n{}", misjudged.len(), cases.len(), misjudged.join("\n"));
}

#[test]
fn each_broken_source_is_caught_by_just_the_rule_it_breaks() {
    each_by_just_its_rule(source, OF_A_SOURCE);
}

#[test]
fn each_broken_sink_is_caught_by_just_the_rule_it_breaks() {
    each_by_just_its_rule(sink, OF_A_SINK);
}

#[test]
fn each_broken_filter_is_caught_by_just_the_rule_it_breaks() {
    each_by_just_its_rule(filter, OF_A_FILTER);
}

/// Not by one rule alone: an end that comes before any data was let through also loses the data.
#[test]
fn an_end_before_the_first_grant_is_caught_and_so_is_the_data_it_loses() {
    let report = source(EndsBeforeTheFirstGrant);
    assert!(report.broken().contains(&Rule::P2), "\n{report}");
}

/// No check is one that cannot fail: every rule that the kit has ever reported as held is one that it has found broken.
#[test]
fn every_rule_that_can_be_held_is_broken_by_something_here() {
    for report in [source(Nothing), sink(Nothing), filter(Nothing)] {
        for rule in report.held() {
            let broken = [OF_A_SOURCE, OF_A_SINK, OF_A_FILTER].concat().iter().any(|(_, breaks)| *breaks == rule);
            assert!(broken, "nothing here breaks {rule}");
        }
    }
}
