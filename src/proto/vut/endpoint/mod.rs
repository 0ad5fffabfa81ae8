//! `Endpoint`: one connection in whichever profile the peer speaks.
//!
//! ```text
//!   greeting ── hello with the bit, or an N, or nothing else is spoken ──▶ native: native::connection::Connection
//!      ├─────── hello without the bit ───────▶ compat: Connection, of the 0.8 profile
//!      └─────── nobody, for 30 s ────────────▶ over
//! ```
//!
//! The owner calls the same methods in each state, and needs to know of the profile only if it wants to ([`Endpoint::profile`]). What it
//! wants before there is a peer is kept and passed on. The choice itself, and that nobody can talk it down, is in
//! [`native::switch`](crate::proto::vut::native::switch).
//!
//! Differences that an owner may see: the address of the peer may change in the native profile, so datagrams are handed in with their
//! sender and come out with a destination; a packet is opened in place, so a datagram is handed in as `&mut`; the least read limit is
//! 111 octets in the 0.8 profile and 0 in the native one; only the native one proves ends.

mod calls;
mod setup;

pub use setup::{Fresh, Profile, Setup, SetupError};

use crate::proto::time::Time;
use crate::proto::vut::connection::Connection as Compat;
use crate::proto::vut::event::{CloseReason, Event};
use crate::proto::vut::greeting::{Greeting, Wish, legacy_input};
use crate::proto::vut::native::acks::EcnMark;
use crate::proto::vut::native::connection::{Connection as Native, Start};
use crate::proto::vut::native::handshake::{Handshake, Own};
use crate::proto::vut::native::keys::{Ephemeral, HandshakeKeys};
use crate::proto::vut::native::negotiation::{AeadMask, BASE_DATAGRAM, Offer};
use crate::proto::vut::native::packet::{ConnectionId, Kind, classify};
use crate::proto::vut::native::path::Address;
use crate::proto::vut::native::role::Secrets as NativeSecrets;
use crate::proto::vut::native::switch::{Input, Mode, State, Switch, Verdict};
use crate::proto::vut::wire::{Flags, Keys, Secrets};
use crate::proto::vut::{Config, Stats, Tracer};
use std::collections::VecDeque;

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
    id: ConnectionId,
    /// None in mode compat.
    offering: Option<Offering>,
    talk: Talk<A>,
    events: VecDeque<Event>,
    /// What was counted outside of a connection.
    stats: Stats,
}

impl<A: Address> Endpoint<A> {
    /// Begins; the first hello is ready to be sent.
    ///
    /// # Errors
    ///
    /// [`SetupError`], in modes native and auto.
    pub fn new(setup: Setup<A>, now: Time) -> Result<Self, SetupError> {
        let Setup { mode, secrets, peer, fresh, context, largest, fast_aes, config } = setup;
        let id = ConnectionId(fresh.part(48));
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
            id,
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
        self.handle_marked(now, from, None, datagram);
    }

    /// The same for an owner that sees the congestion mark of what arrives; only the native profile heeds it. An owner that does
    /// not see it leaves `mark` out for every datagram: then the peer finds out that marking is of no use.
    pub fn handle_marked(&mut self, now: Time, from: A, mark: Option<EcnMark>, datagram: &mut [u8]) {
        match classify(datagram) {
            Some(Kind::Packet) => self.on_packet(now, from, mark, datagram),
            Some(Kind::Negotiation) => self.on_negotiation(now, from, datagram),
            Some(Kind::Legacy) => self.on_legacy(now, from, datagram),
            None => self.stats.forged += 1,
        }
    }

    fn on_packet(&mut self, now: Time, from: A, mark: Option<EcnMark>, datagram: &mut [u8]) {
        let Talk::Native(native) = &mut self.talk else {
            self.stats.ignored += 1;
            return;
        };
        native.handle_packet(now, from, mark, datagram);
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
            id: self.id,
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
        native.set_budget(greeting.budget);
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
}
