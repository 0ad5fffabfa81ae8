//! A packet on the wire: sealed and opened in place, number and phase masked.
//!
//! ```text
//!   0        1                    9                 13                                    len-16        len
//!   | 04 | P |  connection id (8) | number, low 32  | AEAD(frames) ...                    | its tag (16) |
//!     ^^^^^^^                       ^^^^^^^^^^^^^^^
//!     bit 0 and the number are masked: octets 13..29 (the sample) give the mask, as in RFC 9001 section 5.4
//! ```
//!
//! Of the first octet only the phase bit is masked, unlike in RFC 9001: the others tell a packet from a negotiation and
//! from a 0.8 datagram. The AEAD covers the 13 header octets as they are before masking.
//!
//! # Key update, per direction
//!
//! A sender updates its own direction when its key is worn ([`WearLimits`]) and a packet of the phase was acknowledged, which
//! shows that the peer has that phase's key. The receiver follows when a packet opens under the next key, and keeps the
//! old one for 3 PTO. The other direction is not touched: it wears at its own rate.
//!
//! # After a failure to open
//!
//! The datagram is dropped and counted. Its octets may be overwritten.

use super::keys::{Aead, ConnectionKeys, HeaderKey, PacketKey};
use super::replay::{Freshness, ReplayWindow};
use super::role::Role;
use crate::proto::time::Time;
use ring::aead::Aad;
use std::ops::Range;
use std::time::Duration;

/// Octets before the frames.
pub const HEADER: usize = 13;
/// Octets after the frames.
pub const TAG: usize = 16;
/// What a packet needs besides its frames: 29 octets.
pub const OVERHEAD: usize = HEADER + TAG;
/// Numbers end here, 2^62, so that every sum of two stays within 64 bits.
pub const NUMBER_LIMIT: u64 = 1 << 62;

const PACKET: u8 = 0x04;
const PHASE: u8 = 0x01;

/// Names a connection to its receiver, who chose it: the only thing a packet is told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub [u8; 8]);

/// What a datagram claims to be, by its first octet. Nothing is proven by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A negotiation.
    Negotiation,
    /// A packet.
    Packet,
    /// A datagram of the 0.8 profile.
    Legacy,
}

/// Tells datagrams apart: bit 0x08 says negotiation, else 0x04 packet, else 0.8. None for an empty one.
pub fn classify(datagram: &[u8]) -> Option<Kind> {
    let first = *datagram.first()?;
    Some(if first & 0x08 != 0 {
        Kind::Negotiation
    } else if first & PACKET != 0 {
        Kind::Packet
    } else {
        Kind::Legacy
    })
}

/// The connection that a packet names; none if the datagram cannot be a packet. For a socket that many connections share.
pub fn connection_id(datagram: &[u8]) -> Option<ConnectionId> {
    let possible = datagram.len() >= OVERHEAD && datagram[0] & !PHASE == PACKET;
    possible.then(|| datagram[1..9].try_into().ok()).flatten().map(ConnectionId)
}

/// When a key is worn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WearLimits {
    /// Packets under one key.
    pub packets: u64,
    /// Octets of datagrams under one key.
    pub octets: u64,
}

impl WearLimits {
    /// 2^22 packets or 2^33 octets: half of what RFC 9001 section 6.6 lets AES-128-GCM protect in packets of its size,
    /// and as many blocks when packets are larger. ChaCha20-Poly1305 has no such limit, and is updated alike.
    pub const STANDARD: Self = Self { packets: 1 << 22, octets: 1 << 33 };

    /// The multiple of the limits at which nothing is sealed any more when no acknowledgement allows an update.
    const HARD: u64 = 2;
}

/// Why a packet was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The buffer has no room for header and tag.
    #[error("the buffer is shorter than {OVERHEAD} octets")]
    Short,
    /// Twice the limits of a key were used and no packet of its phase was acknowledged. The connection must close.
    #[error("the key is used up, and the peer has acknowledged nothing that was sealed with it")]
    WornOut,
    /// All numbers were used. The connection must close.
    #[error("no packet number is left")]
    NoNumber,
}

/// Seals the packets of one direction and numbers them.
///
/// # Invariants
///
/// * A number is used once, under whatever key: `next` only rises.
/// * A phase is left only after one of its packets was acknowledged.
#[derive(Debug)]
pub struct Sealer {
    header: HeaderKey,
    key: PacketKey,
    phase: bool,
    next: u64,
    wear: Wear,
    limits: WearLimits,
}

/// What the key of this phase was used for.
#[derive(Clone, Copy, Debug)]
struct Wear {
    first: u64,
    packets: u64,
    octets: u64,
    acknowledged: bool,
}

impl Wear {
    const fn from(first: u64) -> Self {
        Self { first, packets: 0, octets: 0, acknowledged: false }
    }

    const fn reaches(&self, limits: WearLimits, times: u64) -> bool {
        self.packets >= limits.packets.saturating_mul(times) || self.octets >= limits.octets.saturating_mul(times)
    }
}

impl Sealer {
    /// For what `role` sends. Numbers start at 0.
    pub fn new(keys: &ConnectionKeys, role: Role) -> Self {
        let (header, key) = keys.direction(role);
        Self { header, key, phase: false, next: 0, wear: Wear::from(0), limits: WearLimits::STANDARD }
    }

    /// The same with other limits of use, for tests of what happens at them.
    #[must_use]
    pub fn with_limits(mut self, limits: WearLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Goes on under the keys of another negotiation of the peer, before the first packet of the peer has opened. Numbers go
    /// on; what was sent before counts as lost.
    pub fn rekey(&mut self, keys: &ConnectionKeys, role: Role) {
        (self.header, self.key) = keys.direction(role);
        self.phase = false;
        self.wear = Wear::from(self.next);
    }

    /// The number of the next packet.
    pub const fn next_number(&self) -> u64 {
        self.next
    }

    /// Leaves numbers out, up to `number`; never goes back. An acknowledgement of a number that was left out shows that the
    /// peer acknowledges what it has not received (RFC 9000 section 21.4).
    pub fn skip_to(&mut self, number: u64) {
        self.next = self.next.max(number.min(NUMBER_LIMIT));
    }

    /// How many key updates apart from the first phase, modulo 2.
    pub const fn phase(&self) -> bool {
        self.phase
    }

    /// Seals `datagram` for `to`: the whole buffer is the datagram, its frames already at [`HEADER`], with [`TAG`] octets
    /// free behind them. Updates the key first if it is worn. Returns the packet's number.
    ///
    /// # Errors
    ///
    /// [`SealError`]; the buffer is unchanged then, and no number was used.
    pub fn seal(&mut self, to: ConnectionId, datagram: &mut [u8]) -> Result<u64, SealError> {
        if datagram.len() < OVERHEAD {
            return Err(SealError::Short);
        }
        if self.next >= NUMBER_LIMIT {
            return Err(SealError::NoNumber);
        }
        if self.wear.reaches(self.limits, 1) && !self.update() && self.wear.reaches(self.limits, WearLimits::HARD) {
            return Err(SealError::WornOut);
        }
        let number = self.next;
        self.next += 1;
        self.wear.packets += 1;
        self.wear.octets += datagram.len() as u64;

        let header = header(self.phase, to, number);
        let (head, rest) = datagram.split_at_mut(HEADER);
        let (frames, tag) = rest.split_at_mut(rest.len() - TAG);
        let sealed = self.key.key().seal_in_place_separate_tag(self.key.nonce(number), Aad::from(header), frames);
        // ring refuses only what is longer than the cipher allows, 64 GiB; a datagram has at most 64 KiB
        let sealed = sealed.expect("a datagram is within the cipher's limit");
        tag.copy_from_slice(sealed.as_ref());
        head.copy_from_slice(&header);
        let mask = self.header.mask(&datagram[HEADER..OVERHEAD]);
        apply(mask, datagram);
        Ok(number)
    }

    /// A packet of ours was acknowledged.
    pub fn on_acknowledged(&mut self, number: u64) {
        if number >= self.wear.first && number < self.next {
            self.wear.acknowledged = true;
        }
    }

    /// Goes to the next phase if one of this phase's packets was acknowledged; says whether it did.
    pub fn update(&mut self) -> bool {
        if !self.wear.acknowledged {
            return false;
        }
        self.key = self.key.next();
        self.phase = !self.phase;
        self.wear = Wear::from(self.next);
        true
    }
}

/// A packet that was opened. Its frames are in the datagram's buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub number: u64,
    /// Where in the datagram the frames are.
    pub frames: Range<usize>,
    /// True if no packet with a higher number was opened before: only such a one may change the path.
    pub highest: bool,
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Too short, or its first octet is not a packet's.
    #[error("not a packet")]
    NotAPacket,
    /// For another connection.
    #[error("for another connection")]
    OtherConnection,
    /// It did not authenticate.
    #[error("not authentic")]
    Forged,
    /// It did not authenticate, and so many did not that the cipher protects no longer. The connection must close.
    #[error("more forged packets than the cipher allows")]
    TooManyForged,
    /// It was received before.
    #[error("received before")]
    Seen,
    /// So old that nobody knows whether it was received before.
    #[error("older than the replay window")]
    Old,
}

/// Opens the packets of one direction, each once.
#[derive(Debug)]
pub struct Opener {
    id: ConnectionId,
    header: HeaderKey,
    current: PacketKey,
    next: PacketKey,
    old: Option<(PacketKey, Time)>,
    phase: bool,
    /// The lowest number that opened in this phase; what is below and has the other phase bit is of the phase before.
    first: u64,
    replay: ReplayWindow,
    forged: u64,
}

impl Opener {
    /// For what `role` (the peer) sends to `id` (ours).
    pub fn new(keys: &ConnectionKeys, role: Role, id: ConnectionId) -> Self {
        let (header, current) = keys.direction(role);
        let next = current.next();
        let replay = ReplayWindow::new();
        Self { id, header, current, next, old: None, phase: false, first: 0, replay, forged: 0 }
    }

    /// How many datagrams for this connection did not authenticate.
    pub const fn forged(&self) -> u64 {
        self.forged
    }

    /// The cipher.
    pub const fn aead(&self) -> Aead {
        self.current.aead()
    }

    /// The highest number that opened.
    pub fn highest(&self) -> Option<u64> {
        self.replay.highest()
    }

    /// The phase in which the peer seals, as far as known.
    pub const fn phase(&self) -> bool {
        self.phase
    }

    /// Opens `datagram` in place. `pto` is today's probe time-out; it says how long the old key is kept after an update.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: the datagram is dropped; only a counter has changed.
    pub fn open(&mut self, datagram: &mut [u8], now: Time, pto: Duration) -> Result<Opened, OpenError> {
        let to = connection_id(datagram).ok_or(OpenError::NotAPacket)?;
        if to != self.id {
            return Err(OpenError::OtherConnection);
        }
        if self.forged >= self.current.aead().failure_limit() {
            return Err(OpenError::TooManyForged);
        }
        self.old.take_if(|(_, until)| now >= *until);

        let mask = self.header.mask(&datagram[HEADER..OVERHEAD]);
        let mut head = [0; HEADER];
        head.copy_from_slice(&datagram[..HEADER]);
        apply(mask, &mut head);
        let phase = head[0] & PHASE != 0;
        let low = u32::from_be_bytes([head[9], head[10], head[11], head[12]]);
        let number = reconstruct(self.replay.highest(), low);

        let other_phase = phase != self.phase;
        let (key, is_next) = match &self.old {
            Some((old, _)) if other_phase && number < self.first => (old, false),
            _ if other_phase => (&self.next, true),
            _ => (&self.current, false),
        };
        let sealed = &mut datagram[HEADER..];
        let frames = sealed.len() - TAG;
        if number >= NUMBER_LIMIT || key.key().open_in_place(key.nonce(number), Aad::from(head), sealed).is_err() {
            self.forged += 1;
            return Err(OpenError::Forged);
        }

        let highest = self.replay.highest().is_none_or(|highest| number > highest);
        match self.replay.insert(number) {
            Freshness::Fresh => {}
            Freshness::Seen => return Err(OpenError::Seen),
            Freshness::Old => return Err(OpenError::Old),
        }
        if is_next {
            self.follow(number, now, pto);
        } else if !other_phase {
            self.first = self.first.min(number);
        }
        Ok(Opened { number, frames: HEADER..HEADER + frames, highest })
    }

    /// The peer has gone to the next phase with packet `number`.
    fn follow(&mut self, number: u64, now: Time, pto: Duration) {
        let after = self.next.next();
        let current = std::mem::replace(&mut self.next, after);
        let old = std::mem::replace(&mut self.current, current);
        self.old = Some((old, now + pto.saturating_mul(OLD_KEY_PTOS)));
        self.phase = !self.phase;
        self.first = number;
    }
}

/// How long the key of the phase before is kept, in probe time-outs (RFC 9001 section 6.5 recommends this).
const OLD_KEY_PTOS: u32 = 3;

fn header(phase: bool, to: ConnectionId, number: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0] = if phase { PACKET | PHASE } else { PACKET };
    header[1..9].copy_from_slice(&to.0);
    header[9..].copy_from_slice(&number.to_be_bytes()[4..]);
    header
}

/// Masks or unmasks phase and number in place.
fn apply(mask: [u8; 5], head: &mut [u8]) {
    head[0] ^= mask[0] & PHASE;
    for (octet, mask) in head[9..HEADER].iter_mut().zip(&mask[1..]) {
        *octet ^= mask;
    }
}

/// The number that ends with `low` and is nearest to highest + 1 (RFC 9000 appendix A.3, for 32 bits).
fn reconstruct(highest: Option<u64>, low: u32) -> u64 {
    const WINDOW: u64 = 1 << 32;
    const HALF: u64 = WINDOW / 2;
    let expected = highest.map_or(0, |highest| highest.saturating_add(1));
    let candidate = (expected & !(WINDOW - 1)) | u64::from(low);
    if candidate + HALF <= expected && candidate < NUMBER_LIMIT - WINDOW {
        candidate + WINDOW
    } else if candidate > expected + HALF && candidate >= WINDOW {
        candidate - WINDOW
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Secret;
    use super::super::role::Secrets;
    use super::*;

    const ID: ConnectionId = ConnectionId([0xc1; 8]);
    const PTO: Duration = Duration::from_millis(100);

    fn pair(aead: Aead) -> (Sealer, Opener) {
        let secrets = Secrets::new(&[1; 16], &[2; 16]).expect("safe");
        let keys = ConnectionKeys::derive(&secrets, b"own", b"peer", &Secret::new([3; 32]), aead);
        (Sealer::new(&keys, Role::Lo), Opener::new(&keys, Role::Lo, ID))
    }

    fn sealed(sealer: &mut Sealer, frames: &[u8]) -> Vec<u8> {
        let mut datagram = vec![0; OVERHEAD + frames.len()];
        datagram[HEADER..HEADER + frames.len()].copy_from_slice(frames);
        sealer.seal(ID, &mut datagram).expect("sealed");
        datagram
    }

    fn open(opener: &mut Opener, datagram: &[u8], now: Time) -> Result<(u64, Vec<u8>), OpenError> {
        let mut copy = datagram.to_vec();
        opener.open(&mut copy, now, PTO).map(|opened| (opened.number, copy[opened.frames].to_vec()))
    }

    #[test]
    fn what_is_sealed_opens_once() {
        for aead in [Aead::Aes128Gcm, Aead::ChaCha20Poly1305] {
            let (mut sealer, mut opener) = pair(aead);
            for (number, frames) in [&b""[..], b"a", &[7; 1400]].into_iter().enumerate() {
                let datagram = sealed(&mut sealer, frames);
                assert_eq!(datagram.len(), frames.len() + OVERHEAD);
                assert_eq!(classify(&datagram), Some(Kind::Packet));
                assert_eq!(open(&mut opener, &datagram, Time::ZERO), Ok((number as u64, frames.to_vec())));
                assert_eq!(open(&mut opener, &datagram, Time::ZERO), Err(OpenError::Seen));
            }
        }
    }

    #[test]
    fn a_change_of_any_octet_is_noticed() {
        let (mut sealer, mut opener) = pair(Aead::ChaCha20Poly1305);
        let datagram = sealed(&mut sealer, b"frames");
        for at in 0..datagram.len() {
            for bit in 0..8 {
                let mut forged = datagram.clone();
                forged[at] ^= 1 << bit;
                let result = open(&mut opener, &forged, Time::ZERO);
                assert!(matches!(result, Err(OpenError::Forged | OpenError::NotAPacket | OpenError::OtherConnection)));
            }
        }
        assert!(open(&mut opener, &datagram, Time::ZERO).is_ok(), "nothing has changed but the counter");
        // the phase bit and everything behind the connection id
        assert_eq!(opener.forged(), 1 + 8 * (datagram.len() as u64 - 9));
    }

    #[test]
    fn numbers_and_phase_do_not_show() {
        let (mut sealer, _) = pair(Aead::Aes128Gcm);
        let low = |datagram: &[u8]| u32::from_be_bytes(datagram[9..13].try_into().expect("4"));
        let datagrams: Vec<_> = (0..64).map(|_| sealed(&mut sealer, b"x")).collect();
        let in_clear = datagrams.iter().enumerate().filter(|(i, d)| low(d) as usize == *i).count();
        let ones = datagrams.iter().filter(|d| d[0] == 0x05).count();
        assert_eq!(in_clear, 0);
        assert!((10..54).contains(&ones), "{ones} of 64 phase bits set");
    }

    #[test]
    fn numbers_are_reconstructed_nearest_to_the_next_one() {
        let two32 = 1u64 << 32;
        for (highest, low, number) in [
            (None, 0, 0),
            (None, u32::MAX, u64::from(u32::MAX)),
            (Some(two32 - 1), 0, two32),
            (Some(two32 - 1), 5, two32 + 5),
            (Some(two32), u32::MAX, two32 - 1),
            (Some(two32 + 10), u32::MAX - 3, two32 - 4),
            (Some(3 * two32 + 7), 1 << 30, 3 * two32 + (1 << 30)),
            (Some(NUMBER_LIMIT - 1), 0, NUMBER_LIMIT),
            (Some(10), u32::MAX, u64::from(u32::MAX)),
        ] {
            assert_eq!(reconstruct(highest, low), number, "{highest:?} {low}");
        }
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let highest = random.u64(..NUMBER_LIMIT - (1 << 33));
            let number = (highest + 1 + random.u64(..1 << 31)).saturating_sub(random.u64(..1 << 31));
            let low = number as u32;
            assert_eq!(reconstruct(Some(highest), low), number);
        }
    }

    #[test]
    fn a_worn_key_is_updated_once_its_phase_was_acknowledged() {
        for limits in [WearLimits { packets: 3, octets: u64::MAX }, WearLimits { packets: u64::MAX, octets: 90 }] {
            let (sealer, mut opener) = pair(Aead::Aes128Gcm);
            let mut sealer = sealer.with_limits(limits);
            for number in 0..20 {
                let datagram = sealed(&mut sealer, b"x");
                assert_eq!(sealer.phase(), number / 3 % 2 == 1, "packet {number}");
                assert_eq!(open(&mut opener, &datagram, Time::ZERO), Ok((number, b"x".to_vec())));
                assert_eq!(opener.phase(), sealer.phase());
                sealer.on_acknowledged(number);
            }
        }
    }

    #[test]
    fn without_an_acknowledgement_the_phase_stays_and_then_sealing_stops() {
        let mut sealer = pair(Aead::Aes128Gcm).0.with_limits(WearLimits { packets: 3, octets: u64::MAX });
        for _ in 0..6 {
            sealed(&mut sealer, b"x");
            assert!(!sealer.phase());
        }
        assert_eq!(sealer.seal(ID, &mut [0; 40]), Err(SealError::WornOut));
        sealer.on_acknowledged(2);
        assert_eq!(sealer.seal(ID, &mut [0; 40]), Ok(6));
        assert!(sealer.phase());
        sealer.on_acknowledged(5);
        assert!(!sealer.update(), "5 is of the phase before");
        assert_eq!(sealer.seal(ID, &mut [0; 28]), Err(SealError::Short));
    }

    #[test]
    fn the_old_key_serves_for_3_pto() {
        let (mut sealer, mut opener) = pair(Aead::ChaCha20Poly1305);
        let early = sealed(&mut sealer, b"0");
        let (late, later) = (sealed(&mut sealer, b"1"), sealed(&mut sealer, b"2"));
        assert!(open(&mut opener, &early, Time::ZERO).is_ok());
        sealer.on_acknowledged(0);
        assert!(sealer.update());
        let update = sealed(&mut sealer, b"3");
        assert!(open(&mut opener, &update, Time::from_secs(1)).is_ok());
        assert!(opener.phase());
        assert_eq!(open(&mut opener, &late, Time::from_millis(1299)), Ok((1, b"1".to_vec())));
        assert_eq!(open(&mut opener, &early, Time::from_millis(1299)), Err(OpenError::Seen));
        assert_eq!(open(&mut opener, &later, Time::from_millis(1300)), Err(OpenError::Forged));
    }

    #[test]
    fn the_number_wraps_its_32_bits_across_a_key_update() {
        let (mut sealer, mut opener) = pair(Aead::Aes128Gcm);
        sealer.skip_to((1 << 32) - 3);
        // the receiver has come near in steps that 32 bits can tell
        for number in [1 << 30, 2 << 30, 3 << 30, (4 << 30) - 4] {
            assert_eq!(opener.replay.insert(number), Freshness::Fresh);
        }
        let mut datagrams: Vec<_> = (0..2).map(|_| sealed(&mut sealer, b"old")).collect();
        sealer.on_acknowledged((1 << 32) - 3);
        sealer.wear.acknowledged = true;
        assert!(sealer.update());
        datagrams.extend((0..3).map(|_| sealed(&mut sealer, b"new")));
        for (at, number) in [(0, -3i64), (3, 0), (1, -2), (4, 1), (2, -1)] {
            let expected = (1u64 << 32).wrapping_add_signed(number);
            let frames = if at < 2 { b"old".to_vec() } else { b"new".to_vec() };
            assert_eq!(open(&mut opener, &datagrams[at], Time::ZERO), Ok((expected, frames)));
        }
        assert_eq!(open(&mut opener, &datagrams[1], Time::ZERO), Err(OpenError::Seen));
    }

    #[test]
    fn too_many_forged_packets_end_the_use_of_the_cipher() {
        let (mut sealer, mut opener) = pair(Aead::ChaCha20Poly1305);
        opener.forged = (1 << 36) - 1;
        assert_eq!(open(&mut opener, &[&[4][..], &ID.0, &[0; 20]].concat(), Time::ZERO), Err(OpenError::Forged));
        assert_eq!(open(&mut opener, &sealed(&mut sealer, b"x"), Time::ZERO), Err(OpenError::TooManyForged));
        assert_eq!(Aead::Aes128Gcm.failure_limit(), 1 << 52);
    }

    #[test]
    fn garbage_never_opens() {
        let (mut sealer, mut opener) = pair(Aead::Aes128Gcm);
        let real = sealed(&mut sealer, &[1; 100]);
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let mut datagram = if random.bool() { vec![0; random.usize(..600)] } else { real.clone() };
            match random.u8(..3) {
                0 => random.fill(&mut datagram),
                1 => datagram.truncate(random.usize(..=datagram.len())),
                _ => {
                    let at = random.usize(..datagram.len().max(1));
                    datagram.get_mut(at).into_iter().for_each(|octet| *octet ^= random.u8(1..));
                }
            }
            if datagram != real {
                assert!(opener.open(&mut datagram, Time::ZERO, PTO).is_err());
            }
        }
        assert_eq!(opener.highest(), None);
    }
}
