//! `Endpoint`: one connection in whichever profile the peer speaks.
//!
//! ```text
//!   greeting ── hello with the bit, or an N ──▶ native: native::connection::Connection
//!      ├─────── hello without the bit ───────▶ compat: Connection, of the 0.8 profile
//!      └─────── nobody, for 30 s ────────────▶ over
//! ```
//!
//! The owner calls the same methods in each state, and needs to know of the profile only if it wants to ([`Endpoint::profile`]). What it
//! wants before there is a peer is kept and passed on. The choice itself, and that nobody can talk it down, is in
//! [`native::switch`](super::native::switch).
//!
//! Differences that an owner may see: the address of the peer may change in the native profile, so datagrams are handed in with their
//! sender and come out with a destination; a packet is opened in place, so a datagram is handed in as `&mut`; the least read limit is
//! 111 octets in the 0.8 profile and 0 in the native one; only the native one proves ends.

use super::connection::Connection as Compat;
use super::event::{CloseReason, Event, WriteError};
use super::greeting::{Greeting, Wish, legacy_input};
use super::native::connection::{Connection as Native, Start, Transmit};
use super::native::handshake::{Handshake, Own};
use super::native::keys::{ContextTooLong, Ephemeral, Exporter, HandshakeKeys};
use super::native::negotiation::{AeadMask, BASE_DATAGRAM, Offer};
use super::native::packet::{ConnectionId, Kind, classify};
use super::native::path::Address;
use super::native::role::{SecretError, Secrets as NativeSecrets};
use super::native::switch::{Input, Mode, State, Switch, Verdict};
use super::wire::{DATAGRAM_MAX, Flags, Keys, Secrets};
use super::{Config, Stats, Tracer};
use crate::proto::time::Time;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// Random octets from the system's generator, new for each connection. Used twice, they give two connections the same keys.
#[derive(Clone)]
pub struct Fresh([u8; Self::LEN]);

impl Fresh {
    /// How many octets: a private key of 32, 16 for the negotiation, 8 for the connection id, 32 for challenges.
    pub const LEN: usize = 88;

    /// Takes the octets.
    pub const fn new(octets: [u8; Self::LEN]) -> Self {
        Self(octets)
    }

    fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0.get(at..).and_then(|octets| octets.first_chunk()).copied().unwrap_or([0; N])
    }
}

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fresh(..)")
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&mut self.0);
    }
}

/// What an endpoint is set up with.
#[derive(Clone, Debug)]
pub struct Setup<A> {
    /// Which profiles are spoken. For secrets that are used again: [`Mode::Native`].
    pub mode: Mode,
    /// The two secrets.
    pub secrets: Secrets,
    /// Where the peer is said to be.
    pub peer: A,
    /// New random octets.
    pub fresh: Fresh,
    /// Names what the connection is for. Both sides give the same; it may be empty. Means nothing in the 0.8 profile.
    pub context: Vec<u8>,
    /// The largest datagram, as UDP payload, that the owner can send and take: [`Self::LARGEST`] if it does not know better.
    pub largest: u16,
    /// True if this machine has AES in hardware.
    pub fast_aes: bool,
    /// Times, buffers, congestion control.
    pub config: Config,
}

impl<A> Setup<A> {
    /// What jumbo frames of 9,000 octets carry over IPv4. Paths are searched for what they really carry.
    pub const LARGEST: u16 = 8972;

    /// Mode native, no context, [`Self::LARGEST`], no fast AES, default times.
    pub fn new(secrets: Secrets, peer: A, fresh: Fresh) -> Self {
        Self {
            mode: Mode::Native,
            secrets,
            peer,
            fresh,
            context: Vec::new(),
            largest: Self::LARGEST,
            fast_aes: false,
            config: Config::default(),
        }
    }
}

/// Why there is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SetupError {
    /// The secrets are not fit for the native profile.
    #[error(transparent)]
    Secrets(#[from] SecretError),
    /// The context is too long.
    #[error(transparent)]
    Context(#[from] ContextTooLong),
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// That of the existing peers.
    Compat,
    /// That between two of ours.
    Native,
}

/// What the switch needs as long as an N may come.
#[derive(Debug)]
struct Offering {
    secrets: NativeSecrets,
    keys: HandshakeKeys,
    fresh: Fresh,
    largest: u16,
    fast_aes: bool,
}

#[derive(Debug)]
enum Talk<A> {
    Greeting(Greeting),
    Native(Box<Native<A>>),
    Compat(Box<Compat>),
    /// Given up before there was a peer.
    Over,
}

/// One side of a connection in whichever profile the peer speaks; see the [module](super).
#[derive(Debug)]
pub struct Endpoint<A> {
    mode: Mode,
    switch: Switch,
    config: Config,
    secrets: Secrets,
    keys: Keys,
    peer: A,
    /// None in mode compat.
    offering: Option<Offering>,
    talk: Talk<A>,
    events: VecDeque<Event>,
    /// What was counted outside of a connection.
    stats: Stats,
}

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
    /// Begins; the first hello is ready to be sent.
    ///
    /// # Errors
    ///
    /// [`SetupError`], in modes native and auto.
    pub fn new(setup: Setup<A>, now: Time) -> Result<Self, SetupError> {
        let Setup { mode, secrets, peer, fresh, context, largest, fast_aes, config } = setup;
        let offering = if mode == Mode::Compat {
            None
        } else {
            let native = NativeSecrets::new(secrets.local(), secrets.remote())?;
            let keys = HandshakeKeys::new(&native, &context)?;
            Some(Offering { secrets: native, keys, fresh, largest: largest.max(BASE_DATAGRAM), fast_aes })
        };
        Ok(Self {
            mode,
            switch: Switch::new(mode),
            keys: Keys::new(&secrets),
            secrets,
            peer,
            offering,
            talk: Talk::Greeting(Greeting::new(now, config.handshake)),
            config,
            events: VecDeque::new(),
            stats: Stats::default(),
        })
    }

    /// Records of what happens go to `tracer` from now on.
    pub fn set_tracer(&mut self, tracer: Box<dyn Tracer>) {
        match &mut self.talk {
            Talk::Greeting(greeting) => greeting.tracer = Some(tracer),
            Talk::Native(native) => native.set_tracer(tracer),
            Talk::Compat(compat) => compat.set_tracer(tracer),
            Talk::Over => {}
        }
    }

    // ---- something came in

    /// A datagram came from `from`; its octets may be overwritten. What is not authentic changes nothing but a counter.
    pub fn handle_datagram(&mut self, now: Time, from: A, datagram: &mut [u8]) {
        match classify(datagram) {
            Some(Kind::Packet) => self.on_packet(now, from, datagram),
            Some(Kind::Negotiation) => self.on_negotiation(now, from, datagram),
            Some(Kind::Legacy) => self.on_legacy(now, from, datagram),
            None => self.stats.forged += 1,
        }
    }

    fn on_packet(&mut self, now: Time, from: A, datagram: &mut [u8]) {
        let Talk::Native(native) = &mut self.talk else {
            self.stats.ignored += 1;
            return;
        };
        native.handle_packet(now, from, datagram);
        if native.is_connected() && self.switch.state() == State::Native {
            let _ = self.switch.handle(Input::Packet);
        }
    }

    fn on_negotiation(&mut self, now: Time, from: A, datagram: &[u8]) {
        if let Talk::Native(native) = &mut self.talk {
            return native.handle_negotiation(now, from, datagram);
        }
        let authentic = self
            .offering
            .as_ref()
            .is_some_and(|offering| Offer::decode(datagram, &offering.keys, offering.secrets.role().other()).is_ok());
        if !authentic {
            self.stats.forged += 1;
            return;
        }
        match self.switch.handle(Input::Negotiation) {
            Verdict::BecomeNative => {
                self.become_native(now);
                if let Talk::Native(native) = &mut self.talk {
                    native.handle_negotiation(now, from, datagram);
                }
            }
            Verdict::Abort => self.downgraded(now),
            _ => self.stats.ignored += 1,
        }
    }

    /// An N came though the peer's hello had no bit.
    fn downgraded(&mut self, now: Time) {
        if let Talk::Compat(compat) = &mut self.talk {
            compat.downgraded(now);
        }
    }

    fn on_legacy(&mut self, now: Time, from: A, datagram: &[u8]) {
        if let Talk::Compat(compat) = &mut self.talk {
            // this profile knows one address
            if from == self.peer {
                compat.handle_datagram(now, datagram);
            } else {
                self.stats.ignored += 1;
            }
            return;
        }
        let Some(input) = legacy_input(&self.keys, datagram) else {
            self.stats.forged += 1;
            return;
        };
        if from != self.peer && input == Input::HelloWithout {
            self.stats.ignored += 1;
            return;
        }
        match self.switch.handle(input) {
            Verdict::BecomeNative => {
                self.become_native(now);
                if let Talk::Native(native) = &mut self.talk {
                    native.handle_hello(now, from, datagram.len());
                }
            }
            Verdict::BecomeCompat => {
                self.become_compat();
                if let Talk::Compat(compat) = &mut self.talk {
                    compat.handle_datagram(now, datagram);
                }
            }
            Verdict::SendNegotiation => {
                if let Talk::Native(native) = &mut self.talk {
                    native.handle_hello(now, from, datagram.len());
                }
            }
            Verdict::Take | Verdict::Drop | Verdict::Proven | Verdict::Abort => self.stats.ignored += 1,
        }
    }

    fn become_native(&mut self, now: Time) {
        let Talk::Greeting(greeting) = &mut self.talk else { return };
        let Some(Offering { secrets, keys, fresh, largest, fast_aes }) = self.offering.take() else { return };
        let idle = self.config.keep_alive.map_or(0, |_| self.config.dead_peer.as_secs());
        let offer = Offer {
            public: [0; 32],
            random: fresh.part(32),
            id: ConnectionId(fresh.part(48)),
            aeads: AeadMask::new(fast_aes),
            largest,
            window: greeting.read_limit,
            idle: u16::try_from(idle).unwrap_or(u16::MAX),
        };
        let own = Own { ephemeral: Ephemeral::new(fresh.part(0)), offer };
        let handshake = Handshake::new(secrets, keys, own);
        let start = Start {
            peer: self.peer,
            began: greeting.began,
            largest,
            seed: fresh.part(56),
            read_limit: greeting.read_limit,
        };
        let mut native = Native::new(self.config.clone(), handshake, start, now);
        if let Some(tracer) = greeting.tracer.take() {
            native.set_tracer(tracer);
        }
        for wish in &greeting.wishes {
            match wish {
                Wish::Finish => native.finish(now),
                Wish::StopReading => native.stop_reading(now),
            }
        }
        self.talk = Talk::Native(Box::new(native));
    }

    fn become_compat(&mut self) {
        let Talk::Greeting(greeting) = &mut self.talk else { return };
        let (began, flags) = (greeting.began, Flags::from_bits(self.mode.hello_flags()));
        let mut compat = Compat::after_greeting(self.config.clone(), &self.secrets, began, flags);
        if let Some(tracer) = greeting.tracer.take() {
            compat.set_tracer(tracer);
        }
        compat.set_read_limit(began, greeting.read_limit);
        for wish in &greeting.wishes {
            match wish {
                Wish::Finish => compat.finish(began),
                Wish::StopReading => compat.stop_reading(began),
            }
        }
        self.talk = Talk::Compat(Box::new(compat));
    }

    /// The time is `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        match &mut self.talk {
            Talk::Greeting(greeting) => {
                if let Some(reason) = greeting.handle_timeout(now, self.switch.peer_is_legacy()) {
                    self.give_up(reason);
                }
            }
            Talk::Native(native) => native.handle_timeout(now),
            Talk::Compat(compat) => compat.handle_timeout(now),
            Talk::Over => {}
        }
    }

    fn give_up(&mut self, reason: CloseReason) {
        self.talk = Talk::Over;
        self.events.push_back(Event::Closed(reason));
    }

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
                octets
            }
            Talk::Over => return None,
        };
        Some(Transmit { to, octets, segment: octets })
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
            Talk::Native(native) => native.poll_event(),
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
