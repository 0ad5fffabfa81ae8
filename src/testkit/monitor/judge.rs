//! What a monitor knows of its two links, and what it says of a message. Knows of no lock, no peer and no thread.

use crate::component::link::Link;
use crate::proto::link::{Cause, Count, Limit, LinkId, LinkState, Reason, Rule, Side, Violation};
use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// More messages than this, granted at once, bound nothing (rule M1).
const WIDE: u64 = 65_536;

/// An item that left before its sender saw the cause comes within a moment; a component that comes with one after so long has
/// not looked (rule A2). Two seconds is longer than any thread of a loaded machine was seen to be kept from running.
const GRACE: Duration = Duration::from_secs(2);

/// Names of earlier links that are remembered: late mail of them is nobody's fault (rule P5).
const PAST: usize = 64;

/// One of the two links of a monitor.
pub(super) struct Half {
    pub(super) link: Option<Arc<Link>>,
    past: VecDeque<LinkId>,
    pub(super) limit: Limit,
    pub(super) granted: bool,
    pub(super) passed: Count,
    /// How it ended, once the end has passed.
    pub(super) ended: Option<bool>,
    /// Ended or aborted: nothing is told to that side any more.
    pub(super) over: bool,
}

impl Half {
    fn new() -> Self {
        Self {
            link: None,
            past: VecDeque::new(),
            limit: Limit::ZERO,
            granted: false,
            passed: Count::ZERO,
            ended: None,
            over: false,
        }
    }

    pub(super) fn join(&mut self, link: &Arc<Link>) {
        let past = std::mem::take(&mut self.past);
        *self = Self { link: Some(link.clone()), past, ..Self::new() };
    }

    pub(super) fn part(&mut self) {
        if let Some(link) = self.link.take() {
            self.past.push_back(link.id());
            if self.past.len() > PAST {
                self.past.pop_front();
            }
        }
        self.granted = false;
    }

    pub(super) fn is(&self, link: LinkId) -> bool {
        self.link.as_ref().is_some_and(|own| own.id() == link)
    }

    pub(super) fn cause(&self) -> Option<&Arc<Cause>> {
        self.link.as_ref().and_then(|link| link.cell().cause())
    }

    /// Data may flow.
    pub(super) fn is_open(&self) -> bool {
        self.link.is_some() && !self.over && self.cause().is_none()
    }
}

/// What was said on a link.
#[derive(Clone, Copy)]
pub(super) enum Said {
    Attached,
    Item(u64),
    End { clean: bool },
    Grant(Limit),
    Abort,
    Question,
    Detached,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached => f.write_str("attached"),
            Self::Item(quantity) => write!(f, "{quantity} units"),
            Self::End { clean } => write!(f, "the end, clean: {clean}"),
            Self::Grant(limit) => write!(f, "a grant of {limit}"),
            Self::Abort => f.write_str("an abort"),
            Self::Question => f.write_str("a control message"),
            Self::Detached => f.write_str("detached"),
        }
    }
}

struct Step {
    at: Instant,
    side: Side,
    link: LinkId,
    said: Said,
}

/// What a monitor knows, and what it has found since it was last asked.
pub(super) struct Judge {
    /// From the producer.
    pub(super) up: Half,
    /// To the consumer.
    pub(super) down: Half,
    begun: Instant,
    /// When anything was last said.
    moved: Instant,
    /// The present standstill was told.
    quiet_told: bool,
    cause_noticed: Option<Instant>,
    ring: VecDeque<Step>,
    most: usize,
    pub(super) found: Vec<(Rule, Side, String)>,
}

impl Judge {
    pub(super) fn new(ladder: usize) -> Self {
        let now = Instant::now();
        Self {
            up: Half::new(),
            down: Half::new(),
            begun: now,
            moved: now,
            quiet_told: false,
            cause_noticed: None,
            ring: VecDeque::with_capacity(ladder),
            most: ladder,
            found: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, side: Side, link: LinkId, said: Said) {
        self.moved = Instant::now();
        self.quiet_told = false;
        if self.ring.len() == self.most {
            self.ring.pop_front();
        }
        self.ring.push_back(Step { at: self.moved, side, link, said });
    }

    pub(super) fn breach(&mut self, rule: Rule, side: Side, what: impl fmt::Display) {
        self.found.push((rule, side, what.to_string()));
    }

    /// The last messages, as text.
    pub(super) fn ladder(&self) -> String {
        let mut text = String::new();
        for Step { at, side, link, said } in &self.ring {
            let at = at.saturating_duration_since(self.begun).as_millis();
            // writing to a string cannot fail
            let _ = writeln!(text, "{at:>8} ms  {side}, {link}: {said}");
        }
        text
    }

    fn half(&self, side: Side) -> &Half {
        match side {
            Side::Producer => &self.up,
            Side::Consumer => &self.down,
        }
    }

    /// Whether a message is of that side's link, and not a late one; says what is wrong otherwise.
    pub(super) fn admits(&mut self, side: Side, link: LinkId, said: Said) -> bool {
        self.note(side, link, said);
        let half = self.half(side);
        if half.is(link) {
            return true;
        }
        let is_data = matches!(said, Said::Item(_) | Said::End { .. } | Said::Grant(_));
        match half.past.contains(&link) {
            // a producer knows its link before we do, and may ask or abort at once
            false if is_data => self.breach(Rule::P5, side, format_args!("{said} bears the name of {link}")),
            // a consumer that is being parted may still grant; the producer has said where it stopped
            true if is_data && side == Side::Producer => {
                self.breach(Rule::P4, side, format_args!("{said} after it was parted from {link}"));
            }
            _ => {}
        }
        false
    }

    /// Counts items of so much each; true if all keep to what was granted.
    pub(super) fn items(&mut self, quantities: impl Iterator<Item = u64>) -> bool {
        let before = self.found.len();
        let aborted = self.is_late();
        for quantity in quantities {
            self.up.passed.add(quantity);
            let (passed, limit) = (self.up.passed, self.up.limit);
            // the first thing that is wrong is what is told
            let wrong = match () {
                () if aborted => Some((Rule::A2, "an item long after the cause".into())),
                () if self.up.ended.is_some() => Some((Rule::P4, "an item after the end".into())),
                () if !self.up.granted => Some((Rule::P2, "an item before the first grant".into())),
                () if passed.quantity > limit.quantity => {
                    Some((Rule::P1, format!("{} units, and {} were granted", passed.quantity, limit.quantity)))
                }
                () if passed.messages > limit.messages => {
                    Some((Rule::C1, format!("{} messages, and {} were granted", passed.messages, limit.messages)))
                }
                () => None,
            };
            if let Some((rule, what)) = wrong {
                self.breach(rule, Side::Producer, what);
            }
        }
        self.found.len() == before
    }

    /// The cause was noticed so long ago that no item should come any more.
    fn is_late(&mut self) -> bool {
        if self.up.cause().is_none() {
            return false;
        }
        let noticed = *self.cause_noticed.get_or_insert(self.moved);
        self.moved - noticed > GRACE
    }

    pub(super) fn notice_cause(&mut self) {
        self.cause_noticed.get_or_insert(self.moved);
    }

    /// The producer's end; true if nothing is wrong with it.
    pub(super) fn end(&mut self, clean: bool) -> bool {
        let before = self.found.len();
        if self.up.ended.is_some() {
            self.breach(Rule::P4, Side::Producer, "a second end");
        } else if !self.up.granted {
            self.breach(Rule::P2, Side::Producer, "an end before the first grant");
        }
        self.up.ended.get_or_insert(clean);
        self.found.len() == before
    }

    /// The consumer's grant.
    pub(super) fn grant(&mut self, limit: Limit) {
        let (had, passed) = (self.down.limit, self.down.passed);
        if limit.quantity < had.quantity || limit.messages < had.messages {
            self.breach(Rule::P3, Side::Consumer, format_args!("a limit of {limit} after one of {had}"));
        }
        if limit.messages.saturating_sub(passed.messages) > WIDE {
            self.breach(Rule::M1, Side::Consumer, format_args!("a limit of {limit} allows any number of messages"));
        }
        if self.down.link.as_ref().is_some_and(|link| has_ended(link.cell().inlet_state())) {
            self.breach(Rule::P4, Side::Consumer, "a grant after the end was taken");
        }
        self.down.limit.raise(limit);
        self.down.granted = true;
    }

    /// An abort by that side: its cause, if it has set one.
    pub(super) fn abort(&mut self, side: Side) -> Option<Arc<Cause>> {
        let half = self.half(side);
        let cause = half.cause().cloned();
        match &cause {
            None if !half.over => self.breach(Rule::A2, side, "an abort, and no cause in the cell"),
            Some(cause) if side == Side::Consumer => self.refused(cause),
            _ => {}
        }
        cause
    }

    /// C2: a consumer that says it was sent too much has to be right.
    fn refused(&mut self, cause: &Cause) {
        let too_much = matches!(cause.reason, Reason::Violation(Violation::LimitExceeded { .. }));
        let on_this = cause.origin.link.is_some_and(|link| self.down.is(link));
        if too_much && on_this && self.down.limit.covers(self.down.passed) {
            self.breach(Rule::C2, Side::Consumer, format_args!("what was granted is refused: {cause}"));
        }
    }

    /// The producer says that it stopped at `at`.
    pub(super) fn stopped_at(&mut self, at: Count) {
        let passed = self.up.passed;
        if passed != at {
            let what = format!(
                "stopped at {}/{}, and {}/{} has come",
                at.quantity, at.messages, passed.quantity, passed.messages
            );
            self.breach(Rule::P6, Side::Producer, what);
        }
    }

    /// That side is not there any more.
    pub(super) fn gone(&mut self, side: Side) {
        let half = self.half(side);
        let Some(link) = half.link.as_ref().filter(|_| half.is_open()) else { return };
        let taken = side == Side::Consumer && link.cell().inlet_state().is_terminal();
        if half.ended.is_none() && !taken {
            self.breach(Rule::A3, side, "gone without a word");
        }
    }

    /// What shows only by its absence: the consumer has finished with everything, and nothing has been said for so long.
    pub(super) fn quiet(&mut self, most: Duration) {
        let Some(link) = self.down.link.clone().filter(|_| self.down.granted && self.down.cause().is_none()) else {
            return;
        };
        let cell = link.cell();
        let idle = cell.accepted() == self.down.passed && cell.held() == 0;
        if self.quiet_told || !idle || self.moved.elapsed() < most {
            return;
        }
        if self.down.ended.is_some() && !cell.inlet_state().is_terminal() {
            self.quiet_told = true;
            self.breach(Rule::E2, Side::Consumer, format_args!("the end was not taken within {most:?}"));
        } else if self.down.ended.is_none() && self.down.limit.credit(self.down.passed).is_exhausted() {
            self.quiet_told = true;
            self.breach(Rule::C1, Side::Consumer, format_args!("all was taken, and nothing granted within {most:?}"));
        }
    }
}

fn has_ended(state: LinkState) -> bool {
    matches!(state, LinkState::EndedClean | LinkState::EndedUnclean)
}
