//! What has been asked of the loop from outside: bits, and one wake-up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

use super::Interest;

/// Resumes a handle from any thread. It outlives the driver, and then does nothing.
#[derive(Clone, Debug, Default)]
pub struct Resumer(Arc<Requests>);

/// What has been asked of the loop since it last looked. Bounded: a repeated request is the same bit.
#[derive(Debug, Default)]
struct Requests {
    bits: AtomicU8,
    wake: Notify,
}

pub(super) const RESUME_READ: u8 = 1;
pub(super) const RESUME_WRITE: u8 = 2;
pub(super) const CLOSE: u8 = 4;

impl Resumer {
    /// Does what [`Resume`](super::Resume) does. [`Interest::NONE`] has the driver ask the handle for its interest and no more.
    pub fn resume(&self, directions: Interest) {
        let read = if directions.read { RESUME_READ } else { 0 };
        let write = if directions.write { RESUME_WRITE } else { 0 };
        self.set(read | write);
    }

    pub(super) fn set(&self, bits: u8) {
        // The bits come before the wake-up: who wakes must find them.
        self.0.bits.fetch_or(bits, Ordering::AcqRel);
        self.0.wake.notify_one();
    }

    /// Resolves after the next request; one that came before and was not waited for counts.
    pub(super) async fn asked(&self) {
        self.0.wake.notified().await;
    }

    pub(super) fn take(&self) -> u8 {
        self.0.bits.swap(0, Ordering::AcqRel)
    }
}
