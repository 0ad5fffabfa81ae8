//! How a running chain is spliced, as a plan: which step comes next, given how the earlier ones went.
//!
//! A splice puts a component between a producer P and a consumer C, takes one out, or puts one in another's place. Nothing here
//! sends or waits: whoever executes a plan asks for the step that is under way ([`Plan::step`]), does it, and says how it went
//! ([`Plan::answer`]), until the step is [`Step::End`]. So the schedules of a splice are explored without a runtime
//! (`tests/splice_schedules.rs`), and the supervisor runs the same plan over actors.
//!
//! ```text
//!                    insert                 remove                 replace
//!   part             P ╳ C                  P ╳ old                P ╳ old            for each way
//!   empty old                               Settle, Flush, Settle  Settle, TakeState, PutState
//!                                                                  else Flush, Settle
//!   part                                    old ╳ C                old ╳ C            for each way
//!   reserve, attach  new ─ C, then P ─ new  P ─ C                  new ─ C, then P ─ new
//!   open             all links, once the last is attached
//! ```
//!
//! To part is `Detach` of the producing end, which stops at a definite position, and `CloseAt` there of the consuming end, which
//! verifies it. A two-way splice takes each step of a line for the way there and then for the way back, so nothing moves before
//! both can: it is both directions or neither.
//!
//! What can go wrong:
//!
//! | at | answer | what follows |
//! |---|---|---|
//! | `Detach` | [`NotThere`](Answer::NotThere) | what was done is undone |
//! | `Detach`, `CloseAt`, `Settle`, `Flush`, `TakeState` | [`Gone`](Answer::Gone) | broken: what the component held is lost |
//! | `CloseAt` | [`NotThere`](Answer::NotThere) | broken |
//! | `Settle` | [`TimedOut`](Answer::TimedOut) | undone. No other step is bounded by time: a state that is handed over must not be lost |
//! | `PutState` to new | [`Refused`](Answer::Refused) | the old one has it back, and gives what it holds instead |
//! | `PutState` to old | [`Refused`](Answer::Refused) | broken: nobody takes what it held |
//! | `Flush` | [`Refused`](Answer::Refused) | undone |
//! | `Reserve`, `Attach` | any but [`Done`](Answer::Done) | undone |
//! | `Open` | any but [`Done`](Answer::Done) | broken: data may flow already |
//!
//! To undo: what was reserved and not opened is withdrawn, a state that was handed over is taken back, and what was parted is
//! reserved, attached and opened again, the latest first. If that fails, the chain is broken, and whoever executes the plan ends
//! it with the cause.

mod plan;

pub use plan::Plan;

use super::link::Count;
use std::fmt;

/// What becomes of the component between the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// A new one comes between two that were joined.
    Insert,
    /// The old one goes; its neighbours are joined.
    Remove,
    /// A new one takes the place of the old one.
    Replace,
}

/// Which directions are spliced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ways {
    /// One link in, one link out.
    One,
    /// Both directions of a two-way chain, or neither.
    Both,
}

impl Ways {
    /// The directions, in the order of the steps.
    pub fn each(self) -> &'static [Way] {
        match self {
            Self::One => &[Way::There],
            Self::Both => &[Way::There, Way::Back],
        }
    }
}

/// A direction of a splice. A one-way splice has only the way there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// From P to C.
    There,
    /// Against it: the producer is C's reverse and the consumer P's.
    Back,
}

/// Where a link is, or was, or is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// From the producer to the consumer.
    Direct,
    /// From the producer to the old component.
    IntoOld,
    /// From the old component to the consumer.
    OutOfOld,
    /// From the producer to the new component.
    IntoNew,
    /// From the new component to the consumer.
    OutOfNew,
}

/// One link of a splice: a place in one of its directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Joint {
    /// The direction.
    pub way: Way,
    /// The place in it.
    pub place: Place,
}

impl Joint {
    /// The two ends, as ladders name them: `P` and `C` are the ends of the way there, and change sides on the way back.
    pub fn ends(self) -> (&'static str, &'static str) {
        let (from, to) = match self.way {
            Way::There => ("P", "C"),
            Way::Back => ("C", "P"),
        };
        match self.place {
            Place::Direct => (from, to),
            Place::IntoOld => (from, "old"),
            Place::OutOfOld => ("old", to),
            Place::IntoNew => (from, "new"),
            Place::OutOfNew => ("new", to),
        }
    }
}

impl fmt::Display for Joint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = self.ends();
        write!(f, "{from}-{to}")
    }
}

/// One of the two components in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Middle {
    /// The one that leaves.
    Old,
    /// The one that comes.
    New,
}

impl fmt::Display for Middle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "old",
            Self::New => "new",
        })
    }
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The producing end stops, and says where: [`Answer::Stopped`].
    Detach(Joint),
    /// The consuming end verifies that it has received everything up to there.
    CloseAt(Joint, Count),
    /// The old component works off what it holds, and all that it gave is sent. The only step that is bounded by time.
    Settle,
    /// Gives up its state, for the other: [`Answer::State`] or [`Answer::NoState`].
    TakeState(Middle),
    /// Goes on from the state that was taken last.
    PutState(Middle),
    /// The old component gives what it still holds.
    Flush,
    /// The producing end learns a new link.
    Reserve(Joint),
    /// The consuming end is joined to it, and grants nothing yet.
    Attach(Joint),
    /// The consuming end may grant.
    Open(Joint),
    /// Both ends forget a link on which nothing was granted.
    Withdraw(Joint),
    /// Nothing more.
    End(End),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Detach(joint) => write!(f, "Detach {joint}"),
            Self::CloseAt(joint, at) => write!(f, "CloseAt {joint} {}/{}", at.quantity, at.messages),
            Self::Settle => f.write_str("Settle old"),
            Self::TakeState(who) => write!(f, "TakeState {who}"),
            Self::PutState(who) => write!(f, "PutState {who}"),
            Self::Flush => f.write_str("Flush old"),
            Self::Reserve(joint) => write!(f, "Reserve {joint}"),
            Self::Attach(joint) => write!(f, "Attach {joint}"),
            Self::Open(joint) => write!(f, "Open {joint}"),
            Self::Withdraw(joint) => write!(f, "Withdraw {joint}"),
            Self::End(end) => write!(f, "{end:?}"),
        }
    }
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Done,
    /// To [`Step::Detach`]: it stopped there.
    Stopped(Count),
    /// To [`Step::TakeState`]: there is a state, and whoever executes the plan has it.
    State,
    /// To [`Step::TakeState`]: there is none.
    NoState,
    /// The link is not attached there.
    NotThere,
    /// The component does not do it; for a state, it gave it back.
    Refused,
    /// To [`Step::Settle`]: it has not in time.
    TimedOut,
    /// A component that it needs is gone, or the link is aborted.
    Gone,
}

/// How a splice went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was made.
    Made,
    /// It was not made, and the chain is as it was.
    Kept,
    /// The chain is broken; its components are to be aborted.
    Broken,
}
