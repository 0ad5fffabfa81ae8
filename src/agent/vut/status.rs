//! `VutStatus`: how a connection is and how it ended.

use super::line::{Life, Line};
use crate::proto::vut::{CloseReason, Stats};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// A look at a connection, from the arbiter where it lives. It knows nothing until the connection is begun, and keeps what it knows
/// when that is over.
#[derive(Clone, Debug, Default)]
pub struct VutStatus(Rc<RefCell<Option<Rc<RefCell<Line>>>>>);

impl VutStatus {
    pub(super) fn attach(&self, line: &Rc<RefCell<Line>>) {
        *self.0.borrow_mut() = Some(line.clone());
    }

    /// Why it is over, once it is. [`CloseReason::Ended`] says of each direction whether its end is proven.
    pub fn close_reason(&self) -> Option<CloseReason> {
        match self.look(|line| line.life)? {
            Life::Closed(reason) => Some(reason),
            Life::Opening | Life::Open => None,
        }
    }

    /// What was counted.
    pub fn stats(&self) -> Option<Stats> {
        self.look(|line| line.face.stats())
    }

    /// The smoothed round trip, if there was a sample.
    pub fn round_trip(&self) -> Option<Duration> {
        self.look(|line| line.face.round_trip())?
    }

    /// Octets of the peer that are held and not read: never more than the consumer granted, or 111, and one.
    pub fn held(&self) -> Option<u64> {
        self.look(|line| line.face.held())
    }

    /// Octets that were taken from the producer and not yet acknowledged by the peer.
    pub fn unacknowledged(&self) -> Option<u64> {
        self.look(|line| line.taken.saturating_sub(line.face.acknowledged()))
    }

    fn look<T>(&self, look: impl FnOnce(&Line) -> T) -> Option<T> {
        self.0.borrow().as_ref().map(|line| look(&line.borrow()))
    }
}
