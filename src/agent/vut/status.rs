//! `VutStatus`: how a connection is and how it ended.

use super::line::{Life, Line};
use crate::proto::vut::native::keys::ExportTooLong;
use crate::proto::vut::{CloseReason, Profile, Stats};
use std::cell::RefCell;
use std::net::SocketAddr;
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

    /// What is spoken, once that is known.
    pub fn profile(&self) -> Option<Profile> {
        self.look(|line| line.endpoint.profile())?
    }

    /// Where the peer is: in the native profile it may move.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.look(|line| line.endpoint.peer())
    }

    /// The octets of a full datagram on this path, in the native profile.
    pub fn datagram(&self) -> Option<u16> {
        self.look(|line| line.endpoint.native().map(|native| native.datagram()))?
    }

    /// Fills `out` with a key for a layer above, bound to this connection: the peer gets the same for the same label and context, and
    /// nobody else can. False if the connection is not open yet, or of the 0.8 profile, which has no such keys.
    ///
    /// # Errors
    ///
    /// `out` is longer than 8,160 octets.
    pub fn export(&self, label: &[u8], context: &[u8], out: &mut [u8]) -> Result<bool, ExportTooLong> {
        let exported = self.look(|line| Some(line.endpoint.exporter()?.export(label, context, out)));
        exported.flatten().transpose().map(|exported| exported.is_some())
    }

    /// What was counted.
    pub fn stats(&self) -> Option<Stats> {
        self.look(|line| line.endpoint.stats())
    }

    /// The smoothed round trip, if there was a sample.
    pub fn round_trip(&self) -> Option<Duration> {
        self.look(|line| line.endpoint.round_trip())?
    }

    /// Octets of the peer that are held and not read: never more than the consumer granted; with a 0.8 peer, or 111, and one.
    pub fn held(&self) -> Option<u64> {
        self.look(|line| line.endpoint.held())
    }

    /// Octets that were taken from the producer and not yet acknowledged by the peer.
    pub fn unacknowledged(&self) -> Option<u64> {
        self.look(|line| line.taken.saturating_sub(line.endpoint.acknowledged()))
    }

    fn look<T>(&self, look: impl FnOnce(&Line) -> T) -> Option<T> {
        self.0.borrow().as_ref().map(|line| look(&line.borrow()))
    }
}
