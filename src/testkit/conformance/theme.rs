//! What a schedule adds to the plain one, and whose rule's breach it shows.

use crate::proto::link::Rule;
use crate::testkit::rule::Kind;

/// What a schedule adds to the plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theme {
    Plain,
    /// All credit at once, for as long as the data lasts.
    Flood,
    /// Grants that are repeated and lower.
    Odd,
    /// Messages that bear another link's name.
    Stale,
    /// Parted and joined again.
    Detach,
    /// A control message.
    Ask,
    /// The kit aborts.
    Abort,
    /// The component is stopped.
    Stop,
    /// One item more than granted.
    Excess,
    /// A consumer that is stuck.
    Stuck,
    /// An agent's: data that is not complete.
    Unclean,
    /// An agent's: all is there to be read, and nobody grants.
    Withheld,
    /// An agent's: its other side is lost.
    Lost,
}

pub(super) const THEMES: [Theme; 10] = {
    use Theme::*;
    [Plain, Flood, Odd, Stale, Detach, Ask, Abort, Stop, Excess, Stuck]
};

/// A flood is about turns, which real time does not show.
pub(super) const AGENT_THEMES: [Theme; 12] = {
    use Theme::*;
    [Plain, Odd, Stale, Detach, Ask, Abort, Stop, Excess, Stuck, Unclean, Withheld, Lost]
};

impl Theme {
    /// The rule that is broken if what goes well in the plain schedule does not go well in this one.
    pub(super) fn rule(self, kind: Kind) -> Option<Rule> {
        match self {
            Self::Odd => Some(Rule::P3),
            Self::Stale => Some(Rule::P5),
            // of a sink, P6 is not judged: what it does not take then is a stall like any other
            Self::Detach if kind != Kind::Sink => Some(Rule::P6),
            Self::Ask => Some(Rule::X1),
            _ => None,
        }
    }
}

/// Rules that the plain schedules judge.
pub(super) fn is_general(rule: Rule) -> bool {
    use Rule::{C1, C2, E1, E2, P1, P2, P4, P6};
    matches!(rule, P1 | P2 | P4 | P6 | C1 | C2 | E1 | E2)
}
