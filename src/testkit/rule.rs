//! Which rule can be judged of which kind of component, and why not where it cannot.

use crate::proto::link::Rule;

/// What a component is to the kit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It has an outlet.
    Source,
    /// It has an inlet.
    Sink,
    /// It has both, and data flows from one to the other.
    Filter,
    /// Its other side is the operating system; it has an inlet, an outlet or both.
    Agent,
}

/// All rules in the order of `docs/rules.md`.
pub const RULES: [Rule; 21] = {
    use Rule::*;
    [P1, P2, P3, P4, P5, P6, C1, C2, C3, E1, E2, A1, A2, A3, A4, X1, M1, M2, F1, S1, S2]
};

/// What the kit can do about a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Schedules can break it.
    Judged,
    /// It does not bind this kind.
    NotApplicable(&'static str),
    /// It binds, and cannot be seen from outside.
    CannotTest(&'static str),
}

/// The table. Each rule that is judged has a component in `tests/testkit_broken.rs` that is caught by just that rule.
pub(crate) fn reach(kind: Kind, rule: Rule) -> Reach {
    use Kind::{Agent, Sink, Source};
    use Reach::{CannotTest, Judged, NotApplicable};
    match (rule, kind) {
        (Rule::P2, Sink) => NotApplicable("a sink sends no items"),
        (Rule::P6, Sink) => CannotTest("what a sink does with its items is beyond its port: its own tests compare it"),
        (Rule::C2, Source) | (Rule::C3, Source) => NotApplicable("a source takes no items"),
        (Rule::E1, Sink) => CannotTest("where a sink carries the end to is beyond its port"),
        (Rule::S1 | Rule::S2, _) => {
            CannotTest("needs a supervisor that rebuilds: the ports keep it, not the component")
        }
        (Rule::A4, Agent) => Judged,
        (Rule::A4, _) => CannotTest("needs a peer in the operating system, which `conformance::agent` plays"),
        (Rule::F1, Agent) => {
            CannotTest("about turns, and time is real here: `conformance::source` and `sink` judge it")
        }
        (Rule::M1, Source) => CannotTest("what a source holds in front of its outlet is not seen from outside"),
        _ => Judged,
    }
}
