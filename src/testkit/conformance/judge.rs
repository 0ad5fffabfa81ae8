//! The judge: which rule a breach is one of, what was looked at, and the verdicts.

use super::Conformance;
use super::schedule::{End, Schedule};
use super::specimen::Specimen;
use super::theme::is_general;
use crate::component::control::ControlError;
use crate::proto::link::Rule;
use crate::testkit::probe::{ANSWER, ConsumerProbe, Finding, ProducerProbe};
use crate::testkit::report::Verdict;
use crate::testkit::rule::{Kind, Reach, reach};
use std::collections::HashMap;
use std::fmt;

/// The looks taken at each rule, and the first that failed.
#[derive(Default)]
pub(super) struct Book {
    pub(super) looks: HashMap<Rule, usize>,
    pub(super) broken: Vec<(Rule, u64, String, String)>,
}

impl Book {
    pub(super) fn verdict(&mut self, kind: Kind, rule: Rule) -> Verdict {
        if let Some(at) = self.broken.iter().position(|(broken, ..)| *broken == rule) {
            let (_, seed, what, ladder) = self.broken.swap_remove(at);
            return Verdict::Broken { seed, what, ladder };
        }
        match (reach(kind, rule), self.looks.get(&rule)) {
            (Reach::NotApplicable(reason), _) => Verdict::NotApplicable(reason),
            (Reach::CannotTest(reason), _) => Verdict::CannotTest(reason.into()),
            (Reach::Judged, Some(looks)) => Verdict::Held { looks: *looks },
            (Reach::Judged, None) => Verdict::CannotTest("no schedule came to the point: give it more data".into()),
        }
    }
}

impl<T: Specimen, U: Specimen> Schedule<'_, T, U> {
    pub(super) fn look(&mut self, rule: Rule, holds: bool, what: impl fmt::Display) {
        if reach(self.kind, rule) != Reach::Judged {
            return;
        }
        *self.book.looks.entry(rule).or_default() += 1;
        if !holds && !self.book.broken.iter().any(|(broken, ..)| *broken == rule) {
            self.book.broken.push((rule, self.seed, what.to_string(), self.ladder.to_string()));
        }
    }

    pub(super) fn judge_output(
        &mut self,
        kit: &Conformance<T, U>,
        reference: &mut Option<Vec<u8>>,
        general: &dyn Fn(Rule) -> Rule,
    ) {
        let (said, wanted) = (self.consumer.ended(), self.clean);
        self.look(Rule::E1, said == Some(wanted), format_args!("the end says clean: {said:?}, and should {wanted}"));
        let wanted = (kit.oracle)(&self.input);
        let wanted = match self.kind {
            Kind::Source if wanted.is_empty() => reference.get_or_insert_with(|| self.output.clone()).clone(),
            _ => wanted,
        };
        let short = self.output.len() < wanted.len() && wanted.starts_with(&self.output);
        let what = format!("{} units came out and {} should, or others", self.output.len(), wanted.len());
        match short {
            true => self.look(general(Rule::E2), false, what),
            false => self.look(general(Rule::P6), self.output == wanted, what),
        }
    }

    pub(super) fn judge_answer(&mut self, way: &str, through: bool, answer: Result<u64, ControlError>, asked: u64) {
        use ControlError::MissingControl;
        let holds = match through {
            true => answer == Ok(ANSWER) && asked == 1,
            false => answer == Err(MissingControl),
        };
        self.look(Rule::X1, holds, format_args!("a question {way} was answered {answer:?} after {asked} passings"));
    }

    /// What the probes saw.
    pub(super) fn findings(&mut self) {
        let general = self.book.broken.iter().any(|(rule, ..)| is_general(*rule));
        let all: Vec<_> = self.producer.findings().into_iter().chain(self.consumer.findings()).collect();
        let theme = if general { None } else { self.theme.rule(self.kind) };
        for finding in all {
            let rule = match finding {
                // what is right in the plain schedules, and wrong only after what the theme adds
                Finding::TooMuch | Finding::TooMany if matches!(theme, Some(Rule::P3 | Rule::P5)) => {
                    theme.unwrap_or(Rule::P1)
                }
                Finding::TooMuch => Rule::P1,
                Finding::TooMany => Rule::C1,
                Finding::BeforeGrant => Rule::P2,
                Finding::AfterEnd => Rule::P4,
                Finding::AfterCause => Rule::A2,
                Finding::OtherLink => Rule::P5,
                Finding::CalledBack => Rule::C3,
                Finding::LimitFell => Rule::P3,
                Finding::GrantInHandler => Rule::F1,
                Finding::WideGrant => Rule::M1,
            };
            self.look(rule, false, format_args!("{finding:?}"));
        }
        // a probe looks at every message, so a schedule without a finding is a look at each of these
        if self.consumer.passed().messages > 0 {
            for rule in [Rule::P1, Rule::P2, Rule::P4] {
                self.look(rule, true, "");
            }
        }
        if self.producer.grants() > 1 {
            for rule in [Rule::P3, Rule::P4, Rule::C3, Rule::M1] {
                self.look(rule, true, "");
            }
        }
    }

    /// M2: with its data ended, and nobody holding it but itself, a component goes.
    pub(super) async fn gone_at_the_end(&mut self) {
        if self.is_over() != Some(End::Ended) {
            return;
        }
        self.inlet = None;
        self.outlet = None;
        let ladder = self.ladder.clone();
        self.findings();
        self.producer = ProducerProbe::new("(kit) no producer", &ladder);
        self.consumer = ConsumerProbe::new("(kit) no consumer", &ladder);
        self.wait(1000).await;
        let (left, links) = self.left();
        let what = format!("{left} components and {links} links are left behind");
        self.look(Rule::M2, left == 0 && links == 0, what);
    }
    /// Components that are not gone, and links that are not closed.
    pub(super) fn left(&self) -> (usize, usize) {
        self.watch.look(|watched| {
            let left = watched.components.keys().filter(|id| !watched.gone.contains(id)).count();
            (left, watched.links.len())
        })
    }
}
