//! The protocol without a runtime: state machines that own no socket, no clock and no thread.
//!
//! Everything that can be wrong in an interesting way lives here. Bytes, messages and time come in as arguments and go
//! out as values, so that thousands of schedules run in a unit test without a runtime.
//!
//! # Drain rule
//!
//! After any `handle_*` and after `push`, `end`, `abort`, `release` and `grant`, call `poll_effect` until it returns
//! `None` before the next one. Each method that the rule binds says so. An inlet's grants may be left for later
//! ([`link::Inlet::poll_urgent`], [`link::Inlet::poll_grant`]): an actor sends them at the end of its turn (rule F1).
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]
#![forbid(unsafe_code)]

pub mod link;
#[cfg(any(test, feature = "testkit"))]
pub mod sim;
pub mod time;
#[cfg(feature = "vut")]
pub mod vut;
