//! Control messages: typed questions that travel along a chain, with or against the data, outside the data's credit.
//!
//! ```text
//!   asker ──Envelope──▶ component ──passes on──▶ component that answers
//!     ▲                                                │
//!     └───────────────── the answer goes straight back ┘
//! ```
//!
//! A control message is a type with a reply type. A component registers handlers by type in [`wire!`](crate::wire); a
//! handler answers, passes on, or both; a component without one passes on. Every question is answered exactly once
//! (rule X1): with a reply, [`MissingControl`](ControlError::MissingControl) at the end of the chain,
//! [`Gone`](ControlError::Gone) if it was dropped, or [`TimedOut`](ControlError::TimedOut). At most
//! [`MAX_ASKS`](super::link::MAX_ASKS) are outstanding on a link; a further asker waits.
//!
//! A message of your own takes four lines:
//!
//! ```
//! use versile_io::component::control::Control;
//!
//! struct Flush;
//! impl Control for Flush {
//!     type Reply = u64;
//! }
//! ```
//!
//! Never wait for an answer with `ctx.wait`: two components that ask each other would stand still. Spawn the future.

mod envelope;
mod standard;

pub use envelope::{ASK_TIMEOUT, Ask, Asking, Envelope};
pub use standard::{
    Authorize, CanConnect, Connected, ConsumerAttached, ProducerAttached, RequestConsumerState, RequestProducerState,
};

use std::time::Duration;
use thiserror::Error;

/// A control message: a type, and the type of its answer.
pub trait Control: Send + 'static {
    /// What an answer is. `()` for a notification.
    type Reply: Send + 'static;
}

/// Why a question got no reply.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlError {
    /// Nobody along the chain handles this message, or the port is not attached. The asker carries on as if it were
    /// allowed or irrelevant.
    #[error("no component along the chain handles this control message")]
    MissingControl,
    /// Whoever had the question dropped it or is gone. Not a consent.
    #[error("the component that had the question is gone")]
    Gone,
    /// No answer came in time. Not a consent.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}
