//! `Face`: what the driver needs of a connection without I/O, whichever profile it speaks.
//!
//! The rule of all of them: after anything came in or was wanted, [`Face::poll_transmit`] until it gives none, then
//! [`Face::poll_event`] likewise, then a datagram or [`Face::poll_timeout`] is waited for.

use crate::proto::time::Time;
use crate::proto::vut::wire::DATAGRAM_MAX;
use crate::proto::vut::{Connection, Event, Stats};
use bytes::Bytes;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// A connection without I/O. Its times count from the start of its socket.
pub(super) trait Face: fmt::Debug {
    /// The most octets of a datagram of its making.
    fn datagram_max(&self) -> usize;

    /// One came for it, from this address; its octets may be overwritten, as by opening a packet in place.
    fn handle_datagram(&mut self, now: Time, from: SocketAddr, datagram: &mut [u8]);
    /// Time has passed.
    fn handle_timeout(&mut self, now: Time);

    /// Writes the next datagram at the start of `buf`.
    fn poll_transmit(&mut self, now: Time, buf: &mut [u8]) -> Option<usize>;
    /// When to call [`Self::handle_timeout`].
    fn poll_timeout(&mut self, now: Time) -> Option<Time>;
    /// What happened.
    fn poll_event(&mut self) -> Option<Event>;

    /// Octets that can be written now.
    fn credit(&self) -> u64;
    /// Takes data within [`Self::credit`]. Whether it did.
    fn write(&mut self, data: Bytes) -> bool;
    /// Octets that were taken and not dropped.
    fn written(&self) -> u64;
    /// Octets that the peer has acknowledged.
    fn acknowledged(&self) -> u64;
    /// Ends our stream.
    fn finish(&mut self, now: Time);
    /// Gives the connection up; the peer is told.
    fn abort(&mut self, now: Time);

    /// Lets the peer send up to `limit` octets in all. Only rises.
    fn set_read_limit(&mut self, now: Time, limit: u64);
    /// At most `most` octets that arrived.
    fn read(&mut self, now: Time, most: usize) -> Option<Bytes>;
    /// Octets that can be read now.
    fn readable(&self) -> usize;
    /// Octets held for the reader, also beyond gaps.
    fn held(&self) -> u64;

    /// Its last words were said as often as they are said unasked.
    fn has_said_all(&self) -> bool;
    /// It can be dropped.
    fn is_gone(&self) -> bool;

    /// What it counted.
    fn stats(&self) -> Stats;
    /// The smoothed round trip.
    fn round_trip(&self) -> Option<Duration>;
}

impl Face for Connection {
    fn datagram_max(&self) -> usize {
        DATAGRAM_MAX
    }

    fn handle_datagram(&mut self, now: Time, _: SocketAddr, datagram: &mut [u8]) {
        // the peer's address is what the connection was found by
        self.handle_datagram(now, datagram);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Time, buf: &mut [u8]) -> Option<usize> {
        self.poll_transmit(now, buf)
    }

    fn poll_timeout(&mut self, now: Time) -> Option<Time> {
        self.poll_timeout(now)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.poll_event()
    }

    fn credit(&self) -> u64 {
        self.credit()
    }

    fn write(&mut self, data: Bytes) -> bool {
        self.write(data).is_ok()
    }

    fn written(&self) -> u64 {
        self.written()
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged()
    }

    fn finish(&mut self, now: Time) {
        self.finish(now);
    }

    fn abort(&mut self, now: Time) {
        self.abort(now);
    }

    fn set_read_limit(&mut self, now: Time, limit: u64) {
        self.set_read_limit(now, limit);
    }

    fn read(&mut self, now: Time, most: usize) -> Option<Bytes> {
        self.read(now, most)
    }

    fn readable(&self) -> usize {
        self.readable()
    }

    fn held(&self) -> u64 {
        self.held()
    }

    fn has_said_all(&self) -> bool {
        self.has_said_all()
    }

    fn is_gone(&self) -> bool {
        self.is_gone()
    }

    fn stats(&self) -> Stats {
        self.stats()
    }

    fn round_trip(&self) -> Option<Duration> {
        self.round_trip()
    }
}
