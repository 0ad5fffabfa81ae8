//! `LinkId`: the name of one attachment, by which a message of an earlier one is recognised as stale (rule P5).

use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// The process-wide unique name of one attachment of an outlet to an inlet.
///
/// A port that is detached and attached again gets a new one, so that a message of the earlier attachment that is
/// still in a mailbox is dropped and counted instead of delivered (rule P5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(NonZeroU64);

impl LinkId {
    /// The next unused name. 2^64 attachments do not happen in the life of a process.
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(NonZeroU64::new(n).unwrap_or(NonZeroU64::MIN))
    }

    /// The number, for logs and machine output.
    pub fn value(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link-{}", self.0)
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
