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

/// Whether a port is isolated, and what became of its last attachment. Few ports are.
#[derive(Debug, Default)]
pub(super) struct Isolation(Option<Box<Isolated>>);

#[derive(Debug, Default)]
struct Isolated {
    /// The hook has not heard yet.
    untold: bool,
    /// Since it was parted from a neighbour that is to be rebuilt: whether it is lost.
    parted: Option<Arc<Loss>>,
    cause: Option<Arc<Cause>>,
    finished: u64,
}

impl Isolation {
    pub(super) fn set(&mut self) {
        self.0.get_or_insert_default();
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The link was aborted. True if that concerns the port alone: not if the component itself is aborted.
    pub(super) fn keeps(&mut self, cause: &Arc<Cause>, owner: Option<&Arc<Owner>>) -> bool {
        let Some(isolated) = &mut self.0 else { return false };
        if owner.is_some_and(|owner| owner.info.cause().is_some()) {
            return false;
        }
        isolated.untold = true;
        isolated.cause = Some(cause.clone());
        if let Some(owner) = owner.filter(|owner| !owner.is_in_turn()) {
            owner.home.manage().wake();
        }
        true
    }

    pub(super) fn is_untold(&self) -> bool {
        self.0.as_ref().is_some_and(|isolated| {
            isolated.untold || isolated.parted.as_ref().is_some_and(|loss| loss.get().is_some())
        })
    }

    /// The hook is about to hear. False if there is nothing to hear.
    pub(super) fn tell(&mut self) -> bool {
        self.0.as_mut().is_some_and(|isolated| std::mem::take(&mut isolated.untold))
    }

    /// The port is parted from a neighbour that is to be rebuilt. Where to say that it is not; `None` if that takes the component.
    pub(super) fn part(&mut self) -> Option<Arc<Loss>> {
        self.0.as_mut().map(|isolated| isolated.parted.insert(Arc::default()).clone())
    }

    /// The port is attached again.
    pub(super) fn joined(&mut self) {
        if let Some(isolated) = &mut self.0 {
            isolated.parted = None;
        }
    }

    /// The cause, once, if the neighbour is not rebuilt after all.
    pub(super) fn take_loss(&mut self) -> Option<Arc<Cause>> {
        let isolated = self.0.as_mut()?;
        let cause = isolated.parted.as_ref()?.get()?.clone();
        isolated.parted = None;
        Some(cause)
    }

    /// What the consumer had finished with when the link was aborted.
    pub(super) fn set_finished(&mut self, finished: u64) {
        if let Some(isolated) = &mut self.0 {
            isolated.finished = finished;
        }
    }

    pub(super) fn finished(&self) -> u64 {
        self.0.as_ref().map_or(0, |isolated| isolated.finished)
    }

    pub(super) fn cause(&self) -> Option<&Arc<Cause>> {
        self.0.as_ref()?.cause.as_ref()
    }
}
