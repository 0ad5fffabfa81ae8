//! Probes: the other end of a link, worked by hand. Every message is written to a [`Ladder`] in the order in which it is sent.
//!
//! A probe has no mailbox of its own: what is sent to it is noted within the call that sends it. So a test sees the order in
//! which a component spoke, and whether it spoke inside its handler. A probe keeps no rule that it is not told to keep.

mod base;
mod consumer;
mod event;
mod ladder;
mod producer;
mod weak;

pub(crate) use base::ANSWER;
pub use consumer::ConsumerProbe;
pub use event::{Consumed, Finding, Produced};
pub use ladder::Ladder;
pub use producer::ProducerProbe;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // nothing of a user's runs under the locks
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
