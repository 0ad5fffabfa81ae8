//! One error per operation, and the rules by their numbers.

use super::limit::{Count, Limit};
use std::fmt;
use thiserror::Error;

/// The rules of a link by number; `docs/rules.md` states each in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "docs/rules.md is the one place that states the rules")]
pub enum Rule {
    P1,
    P2,
    P3,
    P4,
    P5,
    P6,
    C1,
    C2,
    C3,
    E1,
    E2,
    A1,
    A2,
    A3,
    A4,
    X1,
    M1,
    M2,
    F1,
    S1,
    S2,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Which end of a link broke a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The outlet.
    Producer,
    /// The inlet.
    Consumer,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        })
    }
}

/// A peer broke a rule of the link. The link is aborted with it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// P1: the producer sent more than the consumer had granted. Nothing of the message was delivered.
    #[error("limit exceeded (P1): the producer reached {reached} with a limit of {limit}")]
    LimitExceeded {
        /// Where the message would have brought the count.
        reached: Displayed<Count>,
        /// What had been granted.
        limit: Limit,
    },
    /// P4: something came after the terminal message of its link.
    #[error("message after the end (P4) from the {side}")]
    AfterEnd {
        /// Who sent it.
        side: Side,
    },
    /// C2: a parcel came to a consumer that has not declared to take any.
    #[error("a parcel of {quantity} for a consumer that takes none (C2)")]
    UndeclaredForm {
        /// How much was in it.
        quantity: u64,
    },
    /// Detach: the consumer had not received exactly what the producer had sent when it stopped.
    #[error("detach at {expected} found {found} received")]
    PositionMismatch {
        /// Where the producer stopped.
        expected: Displayed<Count>,
        /// What the consumer's port had counted.
        found: Displayed<Count>,
    },
}

impl Violation {
    /// The rule that was broken.
    pub fn rule(&self) -> Rule {
        match self {
            Self::LimitExceeded { .. } => Rule::P1,
            Self::AfterEnd { .. } => Rule::P4,
            Self::UndeclaredForm { .. } => Rule::C2,
            Self::PositionMismatch { .. } => Rule::P6,
        }
    }

    /// The side that broke it.
    pub fn side(&self) -> Side {
        match self {
            Self::AfterEnd { side } => *side,
            _ => Side::Producer,
        }
    }
}

/// A count as errors print it: `quantity/messages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Displayed<T>(pub T);

impl fmt::Display for Displayed<Count> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.quantity, self.0.messages)
    }
}

/// A port refused to be attached. Both components are as they were.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachError {
    /// The port is attached already; detach it first.
    #[error("the port is attached already")]
    Attached,
    /// The port has ended; an ended port stays so.
    #[error("the port has ended")]
    Ended,
    /// The port was aborted.
    #[error("the port was aborted")]
    Aborted,
    /// The component does not have this port: a read-only agent has no inlet.
    #[error("the component has no such port")]
    NoSuchPort,
}

/// [`push`](super::Outlet::push) did not take the item; it is handed back.
#[derive(Debug, Error)]
pub enum PushError<T> {
    /// An earlier item still waits for credit. A retry can work after the next grant.
    #[error("an earlier item still waits for credit")]
    Full(T),
    /// The outlet has ended or was aborted; no retry can work.
    #[error("the outlet is over")]
    Closed(T),
}

impl<T> PushError<T> {
    /// The item that was not taken.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }
}
