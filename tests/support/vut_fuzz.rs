//! What the fuzz targets of `tests/fuzz` do with an input; `tests/vut_fuzz_corpus.rs` does the same with each input that was kept.
//!
//! Octets are read as a script, so that any input means something. What must hold is asserted after each step.

use bytes::Bytes;
use std::time::Duration;
use versile_io::proto::sim::net::Address;
use versile_io::proto::time::Time;
use versile_io::proto::vut::native::frames::{Frame, FrameWriter, Frames};
use versile_io::proto::vut::native::handshake::{Handshake, Own};
use versile_io::proto::vut::native::keys::{Ephemeral, HandshakeKeys};
use versile_io::proto::vut::native::negotiation::{AeadMask, Offer};
use versile_io::proto::vut::native::packet::{
    ConnectionId, HEADER, Kind, OVERHEAD, Sealer, TAG, classify, connection_id,
};
use versile_io::proto::vut::native::role::{Role, Secrets as NativeSecrets};
use versile_io::proto::vut::native::switch::Mode;
use versile_io::proto::vut::wire::{DATAGRAM_MAX, Datagram, Flags, Header, Keys, Secrets, View, posint};
use versile_io::proto::vut::{CloseReason, Endpoint, Event, Fresh, Proof, Setup};

/// Runs one input.
pub(crate) type Target = fn(&[u8]);

/// All targets.
pub(crate) const TARGETS: [(&str, Target); 6] = [
    ("vut_wire", wire),
    ("vut_native_wire", native_wire),
    ("vut_compat", compat),
    ("vut_native", native),
    ("vut_endpoint", endpoint),
    ("vut_native_hostile", native_hostile),
];

const HOME: [Address; 2] = [Address { host: 1, port: 1 }, Address { host: 2, port: 2 }];
const MODES: [Mode; 3] = [Mode::Native, Mode::Auto, Mode::Compat];
/// More than this is not sent at one time by anything that these scripts make.
const BURST: usize = 4000;

fn secrets(side: usize) -> Secrets {
    let secrets = Secrets::new([0xA1; 32], [0xB2; 32]).expect("safe");
    if side == 0 { secrets } else { secrets.swapped() }
}

fn new_endpoint(side: usize, mode: Mode) -> Endpoint<Address> {
    let fresh = Fresh::new([side as u8 + 1; Fresh::LEN]);
    let setup = Setup { mode, ..Setup::new(secrets(side), HOME[1 - side], fresh) };
    Endpoint::new(setup, Time::ZERO).expect("safe")
}

/// The script: octets that are used up. Zeros when it is over.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn octet(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// Any number, small ones in short: so many octets follow, then they do.
    fn number(&mut self) -> u64 {
        let many = usize::from(self.octet() % 9);
        self.take(many).iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet))
    }

    /// A number near one that matters.
    fn near(&mut self, matters: u64) -> u64 {
        match self.octet() {
            at @ 0..=199 => matters.saturating_add(u64::from(at)).saturating_sub(20),
            _ => self.number(),
        }
    }
}

/// Parsers of the 0.8 profile: integers, payloads, datagrams, and the greeting that tells profiles apart.
pub(crate) fn wire(data: &[u8]) {
    if let Ok((n, used)) = posint::decode(data) {
        let mut buf = [0; posint::LEN_MAX];
        let len = posint::encode(n, &mut buf).expect("what was read can be written");
        assert!(len <= used && posint::decode(&buf[..len]) == Ok((n, len)));
    }
    let keys = Keys::new(&secrets(0));
    let _ = View::open(&keys.receive, data);
    let theirs = Keys::new(&secrets(1));
    if let Ok(view) = View::checked(data)
        && data.len() + 20 <= DATAGRAM_MAX
    {
        let mut buf = [0; DATAGRAM_MAX];
        let len = view.to_owned().emit(&theirs.send, &mut buf).expect("what was read can be written");
        assert!(len <= data.len() + 20, "and no longer than it was");
        assert_eq!(View::open(&keys.receive, &buf[..len]).expect("ours").to_owned(), view.to_owned());
    }
    let tag = theirs.send.tag(data);
    let sealed = [data, &tag[..]].concat();
    for mode in MODES {
        for octets in [data, &sealed] {
            let mut endpoint = new_endpoint(0, mode);
            endpoint.handle_datagram(Time::from_millis(1), HOME[1], &mut octets.to_vec());
            assert!(!endpoint.is_connected(), "nobody is proven by one datagram");
            flush(&mut endpoint, Time::from_millis(1));
        }
    }
}

/// Parsers of the native profile: frames, negotiations, packets.
pub(crate) fn native_wire(data: &[u8]) {
    if let Ok(frames) = Frames::checked(data) {
        let mut buf = vec![0; data.len() + 16];
        let mut writer = FrameWriter::new(&mut buf);
        for frame in frames.clone() {
            if let Frame::Ack(ack) = &frame {
                let ranges: Vec<_> = ack.ranges().collect();
                assert!(ranges.first().is_none_or(|range| range.1 == ack.largest));
                assert!(ranges.iter().all(|range| range.0 <= range.1));
                assert!(ranges.windows(2).all(|pair| pair[1].1 + 1 < pair[0].0), "{ranges:?}");
            } else {
                // the last one of a packet may go without its length; then it was that
                let before = writer.len();
                if writer.frame(&frame).is_ok() {
                    assert!(writer.len() > before);
                }
            }
        }
    }
    let (native, script) = (NativeSecrets::new(&[0xA1; 32], &[0xB2; 32]).expect("safe"), &mut Script(data));
    let keys = HandshakeKeys::new(&native, b"").expect("short");
    for role in [Role::Lo, Role::Hi] {
        assert!(Offer::decode(data, &keys, role).is_err(), "nobody guesses a tag");
    }
    let offer = Offer {
        public: script.take(32).try_into().unwrap_or([9; 32]),
        random: script.take(16).try_into().unwrap_or([1; 16]),
        id: ConnectionId(script.take(8).try_into().unwrap_or([2; 8])),
        aeads: AeadMask::from_bits(script.octet()),
        largest: script.near(508) as u16,
        window: script.near(1 << 62),
        idle: script.near(0) as u16,
    };
    let tlvs = script.0;
    let mut negotiation = offer.encode_with(tlvs, &keys, native.role().other());
    if let Ok(read) = Offer::decode(&negotiation, &keys, native.role().other()) {
        assert_eq!(read, offer);
        assert!(negotiation.len() <= 508);
    }
    let mut ours = new_endpoint(0, Mode::Native);
    ours.handle_datagram(Time::from_millis(1), HOME[1], &mut negotiation);
    flush(&mut ours, Time::from_millis(1));
    for octets in [data.to_vec(), [&[4], data].concat(), negotiation] {
        let _ = (classify(&octets), connection_id(&octets));
        ours.handle_datagram(Time::from_millis(2), HOME[1], &mut octets.clone());
        flush(&mut ours, Time::from_millis(2));
        assert!(!ours.is_connected());
    }
}

/// Takes what goes out now.
fn flush(endpoint: &mut Endpoint<Address>, now: Time) -> Vec<(Address, Vec<u8>)> {
    let (mut out, mut buf) = (Vec::new(), vec![0; 65_535]);
    while let Some(transmit) = endpoint.poll_transmit(now, &mut buf) {
        assert!(transmit.octets > 0 && transmit.segment > 0);
        out.extend(buf[..transmit.octets].chunks(transmit.segment).map(|part| (transmit.to, part.to_vec())));
        assert!(out.len() < BURST, "it does not stop sending");
    }
    endpoint.check_all();
    out
}

/// One side of a pair, with what is known of it.
struct Side {
    endpoint: Endpoint<Address>,
    granted: u64,
    read: u64,
    written: u64,
    closed: Option<CloseReason>,
    stopped: bool,
    /// Somebody with the secrets has forged something for it: then data proves nothing.
    betrayed: bool,
}

impl Side {
    fn new(side: usize, mode: Mode) -> Self {
        Self {
            endpoint: new_endpoint(side, mode),
            granted: 0,
            read: 0,
            written: 0,
            closed: None,
            stopped: false,
            betrayed: false,
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            assert_eq!(self.closed, None, "nothing after the last event: {event:?}");
            if let Event::Closed(reason) = event {
                self.closed = Some(reason);
            }
        }
        assert_eq!(self.endpoint.is_closed(), self.closed.is_some());
    }

    fn write(&mut self, most: u64) {
        let len = self.endpoint.credit().min(most).min(100_000);
        let (at, before) = (self.written, self.endpoint.written());
        let data: Bytes = (at..at + len).map(|at| at as u8).collect();
        if self.endpoint.write(data).is_ok() {
            assert_eq!(self.endpoint.written(), before + len);
            self.written += len;
        }
    }

    fn read(&mut self, now: Time, most: usize) {
        while let Some(data) = self.endpoint.read(now, most) {
            assert!(!data.is_empty() && data.len() <= most);
            let same = data.iter().zip(self.read..).all(|(octet, at)| *octet == at as u8);
            assert!(same || self.betrayed, "what arrives is what was sent");
            self.read += data.len() as u64;
        }
    }

    fn grant(&mut self, now: Time, more: u64) {
        self.granted = self.granted.max(self.read.saturating_add(more));
        self.endpoint.set_read_limit(now, self.granted);
    }

    fn check(&mut self) {
        self.events();
        self.endpoint.check_all();
        let least = self.granted.max(self.endpoint.least_read_limit());
        // who does not read holds what waits for a gap to be filled, within the window that discards
        let most = if self.stopped { 65_536 + least } else { least.saturating_sub(self.read) };
        assert!(self.endpoint.held() <= most.saturating_add(1), "at most one octet beyond the grant");
    }
}

/// Both sides, and the datagrams between them: which side each is for, from where, and its octets.
struct Pair {
    now: Time,
    sides: [Side; 2],
    under_way: Vec<(usize, Address, Vec<u8>)>,
}

impl Pair {
    fn new(modes: [Mode; 2]) -> Self {
        Self { now: Time::ZERO, sides: [0, 1].map(|side| Side::new(side, modes[side])), under_way: Vec::new() }
    }

    fn flush(&mut self) {
        for (n, side) in self.sides.iter_mut().enumerate() {
            for (to, datagram) in flush(&mut side.endpoint, self.now) {
                if to == HOME[1 - n] {
                    self.under_way.push((1 - n, HOME[n], datagram));
                }
            }
            side.check();
        }
        // the network forgets what is too much
        let excess = self.under_way.len().saturating_sub(BURST);
        self.under_way.drain(..excess);
    }

    fn deliver(&mut self, at: usize) {
        if at < self.under_way.len() {
            let (to, from, mut datagram) = self.under_way.remove(at);
            self.sides[to].endpoint.handle_datagram(self.now, from, &mut datagram);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        for side in &mut self.sides {
            side.endpoint.handle_timeout(self.now);
        }
    }

    /// Waits for the next timer, at most so long.
    fn next_timer(&mut self, most: Duration) {
        let now = self.now;
        let timers = self.sides.iter_mut().filter_map(|side| side.endpoint.poll_timeout(now)).min();
        self.wait(timers.map_or(most, |at| at.since(now)).clamp(Duration::from_micros(1), most));
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let op = script.octet();
        let (n, now) = (usize::from(op >> 7), self.now);
        let which = |script: &mut Script<'_>, len: usize| usize::from(script.octet()) % len.max(1);
        let side = &mut self.sides[n];
        match op & 0x1f {
            0..=2 => side.write(script.number()),
            3 | 4 => side.read(now, (script.number() as usize).clamp(1, 1 << 20)),
            5..=7 => side.grant(now, script.number()),
            8 => side.endpoint.finish(now),
            9 if script.octet() < 64 => {
                side.stopped = true;
                side.endpoint.stop_reading(now);
            }
            10 if script.octet() < 32 => side.endpoint.abort(now),
            11..=14 => self.wait(Duration::from_micros(script.number() % 40_000_000)),
            15 | 16 => self.next_timer(Duration::from_secs(5)),
            17 => {
                let at = which(script, self.under_way.len());
                if at < self.under_way.len() {
                    self.under_way.remove(at);
                }
            }
            18 => {
                let at = which(script, self.under_way.len());
                if let Some(copy) = self.under_way.get(at).cloned() {
                    self.under_way.push(copy);
                }
            }
            19 => {
                let (at, bit) = (which(script, self.under_way.len()), script.number() as usize);
                if let Some((_, _, datagram)) =
                    self.under_way.get_mut(at).filter(|(_, _, datagram)| !datagram.is_empty())
                {
                    let len = datagram.len();
                    datagram[bit / 8 % len] ^= 1 << (bit % 8);
                }
            }
            20 => {
                // from where it does not come
                let (at, host) = (which(script, self.under_way.len()), script.octet());
                if let Some((_, from, _)) = self.under_way.get_mut(at) {
                    *from = Address { host: host.into(), port: from.port };
                }
            }
            21 => {
                let len = usize::from(script.octet());
                self.under_way.push((n, HOME[1 - n], script.take(len).to_vec()));
            }
            22 => {
                // sent back to where it came from
                let at = which(script, self.under_way.len());
                if let Some((to, _, datagram)) = self.under_way.get(at).cloned() {
                    self.under_way.push((1 - to, HOME[to], datagram));
                }
            }
            23 => self.forge(n, script),
            _ => {
                // the most common: some datagrams arrive, the oldest first
                for _ in 0..=script.octet() % 16 {
                    self.deliver(0);
                }
            }
        }
        self.flush();
    }

    /// Somebody with the secrets says something in the 0.8 profile.
    fn forge(&mut self, n: usize, script: &mut Script<'_>) {
        let side = &mut self.sides[n];
        side.betrayed = true;
        let (written, arrived) = (side.endpoint.written() + 17, side.endpoint.arrived() + 17);
        let header = Header {
            flags: Flags::from_bits(script.octet()),
            seq: script.near(arrived).min(posint::MAX),
            ack: script.near(written).min(posint::MAX),
            win: script.near(111).min(posint::MAX),
        };
        let len = usize::from(script.octet());
        let (data, mut buf) = (script.take(len).to_vec(), [0; DATAGRAM_MAX]);
        let keys = Keys::new(&secrets(1 - n));
        if let Ok(len) = (Datagram { header, data }).emit(&keys.send, &mut buf) {
            side.endpoint.handle_datagram(self.now, HOME[1 - n], &mut buf[..len]);
        }
    }

    /// The network is good from now on and both sides come to an end; then what they know is compared.
    fn finale(&mut self) {
        for _ in 0..3000 {
            for side in &mut self.sides {
                side.read(self.now, 1 << 20);
                side.grant(self.now, 1 << 20);
                side.endpoint.finish(self.now);
            }
            self.flush();
            if self.sides.iter().all(|side| side.closed.is_some()) {
                break;
            }
            if self.under_way.is_empty() {
                self.next_timer(Duration::from_secs(60));
            } else {
                self.wait(Duration::from_millis(1));
                for _ in 0..self.under_way.len() {
                    self.deliver(0);
                }
            }
        }
        // who has the secrets can keep a connection that only its own side can give up
        if self.sides.iter().any(|side| side.betrayed) {
            for side in &mut self.sides {
                side.endpoint.abort(self.now);
            }
            self.flush();
        }
        let [a, b] = &self.sides;
        for (one, other) in [(a, b), (b, a)] {
            assert!(one.closed.is_some(), "it comes to an end: {:?}", one.endpoint);
            if let Some(CloseReason::Ended { sent: Proof::Proven, .. }) = one.closed {
                assert_eq!(one.written, other.read, "proven: the consumer has taken all");
            }
            if let Some(CloseReason::Ended { received: Proof::Proven, .. }) = one.closed {
                assert_eq!(other.written, one.read, "proven: all was read");
            }
        }
        // and is gone when nobody speaks any more
        self.under_way.clear();
        for _ in 0..2000 {
            self.next_timer(Duration::from_secs(60));
            self.flush();
            self.under_way.clear();
        }
        assert!(self.sides.iter().all(|side| side.endpoint.is_gone()));
    }
}

fn pair(data: &[u8], modes: [Mode; 2]) {
    let mut pair = Pair::new(modes);
    let mut script = Script(data);
    pair.flush();
    while !script.is_over() {
        pair.step(&mut script);
    }
    pair.finale();
}

/// Two in the 0.8 profile.
pub(crate) fn compat(data: &[u8]) {
    pair(data, [Mode::Compat; 2]);
}

/// Two in the native profile.
pub(crate) fn native(data: &[u8]) {
    pair(data, [Mode::Native; 2]);
}

/// Two in any modes.
pub(crate) fn endpoint(data: &[u8]) {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    pair(rest, [MODES[usize::from(first % 3)], MODES[usize::from(first / 3 % 3)]]);
}

/// A peer that has the secrets, makes the handshake, and then puts any octets into its packets.
pub(crate) fn native_hostile(data: &[u8]) {
    let mut script = Script(data);
    let mut ours = Side::new(0, Mode::Native);
    ours.betrayed = true;
    let secrets = NativeSecrets::new(&[0xB2; 32], &[0xA1; 32]).expect("safe");
    let keys = HandshakeKeys::new(&secrets, b"").expect("short");
    let offer = Offer {
        public: [0; 32],
        random: [3; 16],
        id: ConnectionId([4; 8]),
        aeads: AeadMask::new(script.octet() % 2 == 0),
        largest: script.near(1472).clamp(508, 65_535) as u16,
        window: script.number() % (1 << 62),
        idle: u16::from(script.octet()),
    };
    let mut peer = Handshake::new(secrets, keys, Own { ephemeral: Ephemeral::new([5; 32]), offer });
    let (mut now, mut sealer) = (Time::ZERO, None::<(Sealer, ConnectionId)>);
    ours.endpoint.handle_datagram(now, HOME[1], &mut peer.datagram().to_vec());
    while !script.is_over() {
        let op = script.octet();
        match op % 16 {
            0 | 1 => ours.write(script.number()),
            2 => ours.read(now, (script.number() as usize).clamp(1, 1 << 20)),
            3 => ours.grant(now, script.number()),
            4 if op & 0x80 != 0 => ours.endpoint.finish(now),
            5 if op & 0xc0 == 0xc0 => {
                ours.stopped = true;
                ours.endpoint.stop_reading(now);
            }
            6 if op == 0xf6 => ours.endpoint.abort(now),
            7 | 8 => {
                now += Duration::from_micros(script.number() % 20_000_000);
                ours.endpoint.handle_timeout(now);
            }
            9 => {
                let at = ours.endpoint.poll_timeout(now).unwrap_or(now);
                now = now.max(at.min(now + Duration::from_secs(10)));
                ours.endpoint.handle_timeout(now);
            }
            _ => {
                let from = if op >= 0xf0 { Address { host: 1, port: 9 } } else { HOME[1] };
                let len = usize::from(script.octet());
                let frames = script.take(len);
                if let Some((sealer, id)) = &mut sealer {
                    let mut datagram = vec![0; OVERHEAD + frames.len()];
                    let end = datagram.len() - TAG;
                    datagram[HEADER..end].copy_from_slice(frames);
                    if sealer.seal(*id, &mut datagram).is_ok() {
                        ours.endpoint.handle_datagram(now, from, &mut datagram);
                    }
                }
            }
        }
        ours.check();
        for (_, datagram) in flush(&mut ours.endpoint, now) {
            if classify(&datagram) == Some(Kind::Negotiation) && sealer.is_none() {
                let _ = peer.handle_negotiation(&datagram);
                sealer = peer.sealer().zip(peer.newest().map(|offer| offer.id));
            }
        }
        ours.check();
    }
    ours.endpoint.abort(now);
    for _ in 0..2000 {
        flush(&mut ours.endpoint, now);
        let Some(at) = ours.endpoint.poll_timeout(now) else { break };
        now = at.max(now + Duration::from_micros(1));
        ours.endpoint.handle_timeout(now);
    }
    assert!(ours.endpoint.is_gone(), "it goes away by itself: {:?}", ours.endpoint);
}
