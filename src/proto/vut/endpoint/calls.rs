//! What the owner wants, what goes out, and what can be asked: each passed to the connection that there is.

use super::{Compat, Endpoint, Native, Profile, Talk};
use crate::proto::time::Time;
use crate::proto::vut::Stats;
use crate::proto::vut::event::{CloseReason, Event, WriteError};
use crate::proto::vut::greeting::Wish;
use crate::proto::vut::native::connection::Transmit;
use crate::proto::vut::native::keys::Exporter;
use crate::proto::vut::native::packet::ConnectionId;
use crate::proto::vut::native::path::Address;
use crate::proto::vut::wire::{DATAGRAM_MAX, Flags};
use bytes::Bytes;
use std::time::Duration;

/// The same call on whichever connection there is, else something of its own.
macro_rules! either {
    ($self:ident, $talk:ident => $call:expr, $else:expr) => {
        match &$self.talk {
            Talk::Native($talk) => $call,
            Talk::Compat($talk) => $call,
            Talk::Greeting(_) | Talk::Over => $else,
        }
    };
}

impl<A: Address> Endpoint<A> {
    // ---- what the owner wants

    /// Takes data for the peer, all of it or nothing.
    ///
    /// # Errors
    ///
    /// [`WriteError`], with the data: more than [`Self::credit`], or the stream was ended.
    pub fn write(&mut self, data: Bytes) -> Result<(), WriteError> {
        match &mut self.talk {
            Talk::Native(native) => native.write(data),
            Talk::Compat(compat) => compat.write(data),
            Talk::Greeting(greeting) if !greeting.wishes.contains(&Wish::Finish) => Err(WriteError::NoCredit(data)),
            Talk::Greeting(_) | Talk::Over => Err(WriteError::Ended(data)),
        }
    }

    /// At most `most` octets that arrived, in order; none if there is nothing.
    pub fn read(&mut self, now: Time, most: usize) -> Option<Bytes> {
        match &mut self.talk {
            Talk::Native(native) => native.read(now, most),
            Talk::Compat(compat) => compat.read(now, most),
            Talk::Greeting(_) | Talk::Over => None,
        }
    }

    /// Allows the peer to send up to `limit` octets, counted from the start of its stream. Only rises.
    pub fn set_read_limit(&mut self, now: Time, limit: u64) {
        match &mut self.talk {
            // as much as a window can say
            Talk::Greeting(greeting) => greeting.read_limit = greeting.read_limit.max(limit.min((1 << 62) - 1)),
            Talk::Native(native) => native.set_read_limit(now, limit),
            Talk::Compat(compat) => compat.set_read_limit(now, limit),
            Talk::Over => {}
        }
    }

    /// Ends our stream: what was written is sent, and then the peer is told. The other direction goes on.
    pub fn finish(&mut self, now: Time) {
        match &mut self.talk {
            Talk::Greeting(greeting) => greeting.wish(Wish::Finish),
            Talk::Native(native) => native.finish(now),
            Talk::Compat(compat) => compat.finish(now),
            Talk::Over => {}
        }
    }

    /// Nobody reads any more: the peer is told, and what it still sends is acknowledged and forgotten.
    pub fn stop_reading(&mut self, now: Time) {
        match &mut self.talk {
            Talk::Greeting(greeting) => greeting.wish(Wish::StopReading),
            Talk::Native(native) => native.stop_reading(now),
            Talk::Compat(compat) => compat.stop_reading(now),
            Talk::Over => {}
        }
    }

    /// Gives the connection up, both ways; the peer is told.
    pub fn abort(&mut self, now: Time) {
        match &mut self.talk {
            Talk::Greeting(_) => self.give_up(CloseReason::Aborted),
            Talk::Native(native) => native.abort(now),
            Talk::Compat(compat) => compat.abort(now),
            Talk::Over => {}
        }
    }

    // ---- what goes out

    /// Writes the next datagrams at the start of `buf`, and says where they go; none if nothing is to be sent now. `buf` should have
    /// [`Self::datagram_max`] octets; with more, several datagrams may go out together.
    pub fn poll_transmit(&mut self, now: Time, buf: &mut [u8]) -> Option<Transmit<A>> {
        let to = self.peer;
        let octets = match &mut self.talk {
            Talk::Native(native) => return native.poll_transmit(now, buf),
            Talk::Compat(compat) => compat.poll_transmit(now, buf)?,
            Talk::Greeting(greeting) => {
                let flags = Flags::from_bits(self.mode.hello_flags());
                let octets = greeting.poll_transmit(now, flags, &self.keys, buf)?;
                self.stats.sent += 1;
                self.stats.sent_octets += octets as u64;
                if self.switch.on_hello_sent() {
                    self.become_native(now);
                }
                octets
            }
            Talk::Over => return None,
        };
        Some(Transmit { to, octets, segment: octets, ecn: None })
    }

    /// When [`Self::handle_timeout`] and then [`Self::poll_transmit`] are to be called if nothing happens before. It may be in the past.
    pub fn poll_timeout(&mut self, now: Time) -> Option<Time> {
        match &mut self.talk {
            Talk::Greeting(greeting) => greeting.poll_timeout(),
            Talk::Native(native) => native.poll_timeout(now),
            Talk::Compat(compat) => compat.poll_timeout(now),
            Talk::Over => None,
        }
    }

    /// The next thing to tell the owner.
    pub fn poll_event(&mut self) -> Option<Event> {
        match &mut self.talk {
            Talk::Native(native) => native.poll_event().map(|event| match event {
                // only 0.8 was heard, which is why there was no answer
                Event::Closed(CloseReason::NoAnswer) if self.switch.peer_is_legacy() => {
                    Event::Closed(CloseReason::OnlyLegacy)
                }
                event => event,
            }),
            Talk::Compat(compat) => compat.poll_event(),
            Talk::Greeting(_) | Talk::Over => self.events.pop_front(),
        }
    }

    // ---- getters

    /// What is spoken, once that is known.
    pub fn profile(&self) -> Option<Profile> {
        match &self.talk {
            Talk::Native(_) => Some(Profile::Native),
            Talk::Compat(_) => Some(Profile::Compat),
            Talk::Greeting(_) | Talk::Over => None,
        }
    }

    /// The connection, if the native profile is spoken: for what only that one has.
    pub fn native(&self) -> Option<&Native<A>> {
        match &self.talk {
            Talk::Native(native) => Some(native),
            Talk::Greeting(_) | Talk::Compat(_) | Talk::Over => None,
        }
    }

    /// For keys that a layer above binds to this connection; once connected in the native profile.
    pub fn exporter(&self) -> Option<&Exporter> {
        self.native().and_then(Native::exporter)
    }

    /// By which the peer names this connection in its packets, should the native profile be spoken: for a socket that many share.
    pub const fn connection_id(&self) -> ConnectionId {
        self.id
    }

    /// Where the peer is.
    pub fn peer(&self) -> A {
        self.native().map_or(self.peer, Native::peer)
    }

    /// The most octets of a datagram of its making, now.
    pub fn datagram_max(&self) -> usize {
        self.native().map_or(DATAGRAM_MAX, |native| native.largest().into())
    }

    /// The least limit that the peer is told, whatever [`Self::set_read_limit`] asks for.
    pub fn least_read_limit(&self) -> u64 {
        match &self.talk {
            Talk::Native(_) => 0,
            Talk::Compat(_) | Talk::Greeting(_) | Talk::Over => Compat::LEAST_READ_LIMIT,
        }
    }

    /// Octets that can be written now.
    pub fn credit(&self) -> u64 {
        either!(self, talk => talk.credit(), 0)
    }

    /// Octets that may be written in all, from the start of our stream. Only rises.
    pub fn write_limit(&self) -> u64 {
        either!(self, talk => talk.write_limit(), 0)
    }

    /// Octets written so far.
    pub fn written(&self) -> u64 {
        either!(self, talk => talk.written(), 0)
    }

    /// Octets that the peer has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        either!(self, talk => talk.acknowledged(), 0)
    }

    /// Octets that can be read now.
    pub fn readable(&self) -> usize {
        either!(self, talk => talk.readable(), 0)
    }

    /// Octets that are held for the reader, beyond gaps too.
    pub fn held(&self) -> u64 {
        either!(self, talk => talk.held(), 0)
    }

    /// Octets that arrived in order so far.
    pub fn arrived(&self) -> u64 {
        either!(self, talk => talk.arrived(), 0)
    }

    /// True once the handshake is done.
    pub fn is_connected(&self) -> bool {
        either!(self, talk => talk.is_connected(), false)
    }

    /// True once [`Event::Closed`] was made.
    pub fn is_closed(&self) -> bool {
        either!(self, talk => talk.is_closed(), matches!(self.talk, Talk::Over))
    }

    /// True when nothing is left to do, lingering included: the endpoint can be dropped.
    pub fn is_gone(&self) -> bool {
        either!(self, talk => talk.is_gone(), matches!(self.talk, Talk::Over))
    }

    /// True once it is over and has said so as often as it does unasked: an owner that cannot stay any longer loses only
    /// answers to a peer that asks again.
    pub fn has_said_all(&self) -> bool {
        either!(self, talk => talk.has_said_all(), matches!(self.talk, Talk::Over))
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        let inner = either!(self, talk => talk.stats(), Stats::default());
        Stats {
            sent: inner.sent + self.stats.sent,
            sent_octets: inner.sent_octets + self.stats.sent_octets,
            forged: inner.forged + self.stats.forged,
            ignored: inner.ignored + self.stats.ignored,
            ..inner
        }
    }

    /// The smoothed round trip, if there was a sample.
    pub fn round_trip(&self) -> Option<Duration> {
        either!(self, talk => talk.round_trip(), None)
    }

    /// Octets that congestion control allows in flight, and those that are.
    pub fn congestion(&self) -> (u64, u64) {
        either!(self, talk => talk.congestion(), (0, 0))
    }

    /// Asserts the invariants of the costly kind too; for tests, after every step.
    #[doc(hidden)]
    pub fn check_all(&self) {
        if let Some(native) = self.native() {
            native.check_all();
        }
    }
}
