//! What the owner wants, and what it can ask.

use super::{Connection, Keys, Life, Probes};
use crate::proto::time::Time;
use crate::proto::vut::event::{CloseReason, Event, WriteError};
use crate::proto::vut::native::close::{Input, Note, Output};
use crate::proto::vut::native::frames::VARINT_LIMIT;
use crate::proto::vut::native::keys::Exporter;
use crate::proto::vut::native::packet::Sealer;
use crate::proto::vut::native::path::Address;
use crate::proto::vut::{Record, Stats};
use bytes::Bytes;
use std::time::Duration;

impl<A: Address> Connection<A> {
    // ---- what the owner wants

    /// Takes data for the peer, all of it or nothing.
    ///
    /// # Errors
    ///
    /// [`WriteError`], with the data: more than [`Self::credit`], or the stream was ended.
    pub fn write(&mut self, data: Bytes) -> Result<(), WriteError> {
        if self.life != Life::Live || self.output != Output::Open {
            return Err(WriteError::Ended(data));
        }
        if data.len() as u64 > self.credit() {
            return Err(WriteError::NoCredit(data));
        }
        self.outbox.write(data);
        Ok(())
    }

    /// At most `most` octets that arrived, in order; none if there is nothing.
    pub fn read(&mut self, now: Time, most: usize) -> Option<Bytes> {
        let data = self.inbox.read(most);
        if data.is_some() {
            self.settle(now);
        }
        data
    }

    /// Allows the peer to send up to `limit` octets, counted from the start of its stream. Only rises.
    pub fn set_read_limit(&mut self, now: Time, limit: u64) {
        self.inbox.raise_limit(limit.min(VARINT_LIMIT - 1));
        self.settle(now);
    }

    /// Ends our stream: what was written is sent, and the peer is told where it ends. The other direction goes on.
    pub fn finish(&mut self, now: Time) {
        if self.life == Life::Live && self.output == Output::Open {
            self.output = Output::Ending;
            self.notices.raise(Note::Fin);
            self.trace(now, Record::State { of: "output", state: "ending" });
            self.settle(now);
        }
    }

    /// Nobody reads any more: the peer is told, and what it still sends is acknowledged and forgotten.
    pub fn stop_reading(&mut self, now: Time) {
        if self.life != Life::Live || !self.input.is_open() {
            return;
        }
        self.inbox.stop();
        self.trace(now, Record::State { of: "input", state: "stopping" });
        self.input = Input::Stopping;
        self.notices.raise(Note::Stop);
        self.settle(now);
    }

    /// Gives the connection up, both ways; the peer is told.
    pub fn abort(&mut self, now: Time) {
        self.fail(now, CloseReason::Aborted);
    }

    // ---- getters

    /// Octets that can be written now.
    pub fn credit(&self) -> u64 {
        if self.output == Output::Open { self.outbox.limit() - self.outbox.written() } else { 0 }
    }

    /// Octets that may be written in all, from the start of our stream. Only rises.
    pub fn write_limit(&self) -> u64 {
        self.outbox.limit()
    }

    /// Octets written so far, less those that were dropped because the peer stopped reading.
    pub fn written(&self) -> u64 {
        self.outbox.written()
    }

    /// Octets that the peer has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.outbox.acknowledged()
    }

    /// Octets that can be read now.
    pub fn readable(&self) -> usize {
        usize::try_from(self.inbox.readable()).unwrap_or(usize::MAX)
    }

    /// Octets that are held for the reader, beyond gaps too. Never more than the read limit allows.
    pub fn held(&self) -> u64 {
        self.inbox.held()
    }

    /// Octets that arrived in order so far.
    pub fn arrived(&self) -> u64 {
        self.inbox.arrived()
    }

    /// True once a packet of the peer has opened.
    pub fn is_connected(&self) -> bool {
        matches!(self.keys, Keys::Settled(_))
    }

    /// True once [`Event::Closed`] was made.
    pub fn is_closed(&self) -> bool {
        self.life != Life::Live
    }

    /// True when nothing is left to do, lingering included: the connection can be dropped.
    pub fn is_gone(&self) -> bool {
        self.life == Life::Gone
    }

    /// True once it is over and the peer has heard so, or has said so itself: an owner that cannot stay any longer loses only answers
    /// to a peer that asks again.
    pub fn has_said_all(&self) -> bool {
        match self.life {
            Life::Live => false,
            Life::Failing { .. } => self.notices.is_known(Note::Abort),
            Life::Lingering { .. } => {
                !Note::ALL.into_iter().any(|note| self.notices.is_open(note)) && self.acks.poll_timeout().is_none()
            }
            Life::Gone => true,
        }
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        let Probes { lost, lost_octets } = self.probes;
        Stats { lost_octets: self.ledger.lost() - lost_octets, lost_probes: lost, ..self.stats }
    }

    /// The smoothed round trip, if there was a sample.
    pub fn round_trip(&self) -> Option<Duration> {
        self.ledger.rtt().is_known().then(|| self.ledger.rtt().smoothed())
    }

    /// Octets that congestion control allows in flight, and those that are.
    pub fn congestion(&self) -> (u64, u64) {
        (self.control.controller().window(), self.ledger.in_flight())
    }

    /// The octets of a full datagram on this path.
    pub fn datagram(&self) -> u16 {
        self.mtu.current()
    }

    /// True once the path was seen to carry congestion marks, none once it was seen not to.
    pub fn carries_marks(&self) -> Option<bool> {
        (!self.ecn.has_failed()).then(|| self.ecn.is_capable())
    }

    /// The most that it may become.
    pub const fn largest(&self) -> u16 {
        self.largest
    }

    /// Where the peer is.
    pub const fn peer(&self) -> A {
        self.path.current()
    }

    /// For keys that a layer above binds to this connection; once connected.
    pub fn exporter(&self) -> Option<&Exporter> {
        match &self.keys {
            Keys::Settled(settled) => Some(settled.exporter()),
            Keys::Shaking(_) | Keys::Lost => None,
        }
    }

    /// The phase of the keys that we seal under; for tests of key updates.
    #[doc(hidden)]
    pub fn phase(&self) -> Option<bool> {
        self.sealer.as_ref().map(Sealer::phase)
    }

    /// The next thing to tell the owner.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
