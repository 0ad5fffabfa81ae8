//! Isolated ports: an abort of the link is the affair of the port alone.
//!
//! ```text
//!   link aborted ──▶ port over ──▶ plain:     the component is aborted, and all of its ports
//!                                  isolated:  its hook hears `Aborted`; the port is as good as new, the component lives on
//!   component aborted ──▶ all of its ports, isolated or not
//! ```
//!
//! A port that was parted because its neighbour failed (rule S1) hears `Aborted` as well if that neighbour is not rebuilt after all.
//!
//! From the abort until the hook has heard of it the port is closed, so that nothing is put into the next attachment by mistake.
//! The hook hears of it at the end of the handler in which the port noticed, or by a message if none ran.

use super::Owner;
use crate::component::link::Loss;
use crate::proto::link::Cause;
use std::sync::Arc;

/// Whether a port is isolated, and what became of its last attachment.
#[derive(Debug, Default)]
pub(super) struct Isolation {
    is_on: bool,
    /// The hook has not heard yet.
    untold: bool,
    /// Since it was parted from a neighbour that is to be rebuilt: whether it is lost.
    parted: Option<Arc<Loss>>,
    cause: Option<Arc<Cause>>,
    finished: u64,
}

impl Isolation {
    pub(super) fn set(&mut self) {
        self.is_on = true;
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// The link was aborted. True if that concerns the port alone: not if the component itself is aborted.
    pub(super) fn keeps(&mut self, cause: &Arc<Cause>, owner: Option<&Arc<Owner>>) -> bool {
        if !self.is_on || owner.is_some_and(|owner| owner.info.cause().is_some()) {
            return false;
        }
        self.untold = true;
        self.cause = Some(cause.clone());
        if let Some(owner) = owner.filter(|owner| !owner.is_in_turn()) {
            owner.home.manage().wake();
        }
        true
    }

    pub(super) fn is_untold(&self) -> bool {
        self.untold || self.parted.as_ref().is_some_and(|loss| loss.get().is_some())
    }

    /// The hook is about to hear. False if there is nothing to hear.
    pub(super) fn tell(&mut self) -> bool {
        std::mem::take(&mut self.untold)
    }

    /// The port is parted from a neighbour that is to be rebuilt. Where to say that it is not; `None` if that takes the component.
    pub(super) fn part(&mut self) -> Option<Arc<Loss>> {
        self.parted = self.is_on.then(Arc::default);
        self.parted.clone()
    }

    /// The port is attached again.
    pub(super) fn joined(&mut self) {
        self.parted = None;
    }

    /// The cause, once, if the neighbour is not rebuilt after all.
    pub(super) fn take_loss(&mut self) -> Option<Arc<Cause>> {
        let cause = self.parted.as_ref()?.get()?.clone();
        self.parted = None;
        Some(cause)
    }

    /// What the consumer had finished with when the link was aborted.
    pub(super) fn set_finished(&mut self, finished: u64) {
        self.finished = finished;
    }

    pub(super) fn finished(&self) -> u64 {
        self.finished
    }

    pub(super) fn cause(&self) -> Option<&Arc<Cause>> {
        self.cause.as_ref()
    }
}
