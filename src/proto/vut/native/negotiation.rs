//! The negotiation datagram N: what a side offers, authenticated before anything in it is used.
//!
//! ```text
//!   0    1    2           34       50    58   59      61      69    71          len-32
//!   | 18 | 01 | X25519 (32) | random | id | mask | largest | window | idle | TLVs ... | tag (32) |
//! ```
//!
//! Integers are big-endian. A TLV is a type (1 octet), a length (2) and so many octets; a type that is not known is passed
//! over. Type 0 is padding: our N is always 508 octets long, which tries the path with the smallest size that everything else
//! relies on, and lets the peer answer with up to 1,524 octets before it knows that our address is ours.

use super::keys::{Aead, HandshakeKeys};
use super::packet::ConnectionId;
use super::role::Role;
use std::time::Duration;

/// The largest N, and the datagram size that every path is taken to carry: 508 octets, as in the 0.8 profile.
pub const BASE_DATAGRAM: u16 = 508;

/// Everything but TLVs.
const FIXED: usize = TLVS + TAG;
const TLVS: usize = 71;
const TAG: usize = 32;
const FIRST: u8 = 0x18;
const VERSION: u8 = 1;
const PADDING: u8 = 0;
/// Windows and positions stay below 2^62, as what frames can say does.
const POSITION_LIMIT: u64 = 1 << 62;

/// The ciphers that a side has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AeadMask(u8);

impl AeadMask {
    const FAST_AES: u8 = 0x01;
    const CHACHA: u8 = 0x02;

    /// ChaCha20-Poly1305, and AES-128-GCM if this machine has AES in hardware: in software it would be slow, and leak its key
    /// through the cache.
    pub const fn new(fast_aes: bool) -> Self {
        Self(if fast_aes { Self::CHACHA | Self::FAST_AES } else { Self::CHACHA })
    }

    /// The mask as it was on the wire. Bits that are not known are kept, for they are part of the transcript, and mean nothing.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The mask as it goes on the wire.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The cipher of two sides: AES-128-GCM if both mark it, else ChaCha20-Poly1305 if both have it, else none. Both masks are
    /// in the transcript, so nobody between them can change the choice.
    pub const fn common(self, other: Self) -> Option<Aead> {
        let both = self.0 & other.0;
        if both & Self::FAST_AES != 0 {
            Some(Aead::Aes128Gcm)
        } else if both & Self::CHACHA != 0 {
            Some(Aead::ChaCha20Poly1305)
        } else {
            None
        }
    }
}

/// What a side offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its ephemeral X25519 public key.
    pub public: [u8; 32],
    /// Random octets, new for each connection.
    pub random: [u8; 16],
    /// What packets to it are named by.
    pub id: ConnectionId,
    /// The ciphers that it has.
    pub aeads: AeadMask,
    /// The largest UDP payload that it takes, from [`BASE_DATAGRAM`] on.
    pub largest: u16,
    /// The stream position up to which it takes data at first. Below 2^62.
    pub window: u64,
    /// Seconds without an authentic packet after which it gives up; 0 for never.
    pub idle: u16,
}

impl Offer {
    /// The idle time-out, if it has one.
    pub fn idle_timeout(&self) -> Option<Duration> {
        (self.idle > 0).then(|| Duration::from_secs(self.idle.into()))
    }

    /// The datagram, padded to [`BASE_DATAGRAM`], with the tag of `role`. Made once per connection and repeated as it is.
    pub fn encode(&self, keys: &HandshakeKeys, role: Role) -> Vec<u8> {
        let padding = usize::from(BASE_DATAGRAM) - FIXED - 3;
        let mut tlv = vec![PADDING];
        tlv.extend_from_slice(&u16::try_from(padding).unwrap_or(0).to_be_bytes());
        tlv.resize(tlv.len() + padding, 0);
        self.encode_with(&tlv, keys, role)
    }

    /// The datagram with these TLVs, as a later version of this side might send it.
    pub fn encode_with(&self, tlvs: &[u8], keys: &HandshakeKeys, role: Role) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED + tlvs.len());
        out.extend_from_slice(&[FIRST, VERSION]);
        out.extend_from_slice(&self.public);
        out.extend_from_slice(&self.random);
        out.extend_from_slice(&self.id.0);
        out.push(self.aeads.0);
        out.extend_from_slice(&self.largest.to_be_bytes());
        out.extend_from_slice(&self.window.to_be_bytes());
        out.extend_from_slice(&self.idle.to_be_bytes());
        out.extend_from_slice(tlvs);
        let tag = keys.tag(role, &out);
        out.extend_from_slice(&tag);
        out
    }

    /// Reads a datagram of `role`. The tag is compared, in constant time, before anything but the length and the first octet.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the datagram is dropped and counted.
    pub fn decode(datagram: &[u8], keys: &HandshakeKeys, role: Role) -> Result<Self, Refusal> {
        if datagram.len() < FIXED || datagram.len() > usize::from(BASE_DATAGRAM) || datagram[0] != FIRST {
            return Err(Refusal::Form);
        }
        let (message, tag) = datagram.split_at(datagram.len() - TAG);
        if !keys.verify(role, message, tag) {
            return Err(Refusal::Tag);
        }
        if message[1] != VERSION {
            return Err(Refusal::Version(message[1]));
        }
        let mut rest = Fields(&message[2..]);
        let offer = Self {
            public: rest.array(),
            random: rest.array(),
            id: ConnectionId(rest.array()),
            aeads: AeadMask(rest.array::<1>()[0]),
            largest: u16::from_be_bytes(rest.array()),
            window: u64::from_be_bytes(rest.array()),
            idle: u16::from_be_bytes(rest.array()),
        };
        if offer.largest < BASE_DATAGRAM || offer.window >= POSITION_LIMIT || !well_formed(rest.0) {
            return Err(Refusal::Value);
        }
        Ok(offer)
    }
}

/// Why an N was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not the length or the first octet of an N.
    #[error("not a negotiation")]
    Form,
    /// Not the peer's, or for another context, or this side's own come back.
    #[error("the tag does not verify")]
    Tag,
    /// Authentic, in a version that is not known.
    #[error("version {0} is not known")]
    Version(u8),
    /// Authentic, with a largest payload below 508, a window of 2^62 or more, or TLVs cut short.
    #[error("a value is out of its range")]
    Value,
    /// Authentic, without a cipher that both sides have.
    #[error("no common cipher")]
    Cipher,
    /// Authentic, with a public key of small order.
    #[error("the public key gives no shared secret")]
    PublicKey,
}

/// The rest of a message whose length was checked: taking more than there is gives zeros.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let Some((array, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *array
    }
}

/// True if the TLVs end where the message does. None of version 1 has a meaning, so none is looked at.
fn well_formed(mut tlvs: &[u8]) -> bool {
    while !tlvs.is_empty() {
        let Some((&[_, high, low], rest)) = tlvs.split_first_chunk() else { return false };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((_, rest)) = rest.split_at_checked(length) else { return false };
        tlvs = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::role::Secrets;
    use super::*;

    fn keys() -> HandshakeKeys {
        let secrets = Secrets::new(&[1; 16], &[2; 16]).expect("safe");
        HandshakeKeys::new(&secrets, b"context").expect("short")
    }

    fn offer() -> Offer {
        Offer {
            public: [5; 32],
            random: [6; 16],
            id: ConnectionId([7; 8]),
            aeads: AeadMask::new(true),
            largest: 1452,
            window: 65_536,
            idle: 60,
        }
    }

    #[test]
    fn an_offer_comes_back_as_it_was_sent() {
        let (keys, offer) = (keys(), offer());
        let datagram = offer.encode(&keys, Role::Lo);
        assert_eq!(datagram.len(), 508);
        assert_eq!(Offer::decode(&datagram, &keys, Role::Lo), Ok(offer));
        assert_eq!(Offer::decode(&offer.encode_with(&[], &keys, Role::Lo), &keys, Role::Lo), Ok(offer));
        assert_eq!(offer.idle_timeout(), Some(Duration::from_secs(60)));
    }

    #[test]
    fn unknown_tlvs_are_passed_over_and_cut_ones_refused() {
        let (keys, offer) = (keys(), offer());
        for (tlvs, result) in [
            (&[0xfe, 0, 2, 1, 2, 0x33, 0, 0][..], Ok(offer)),
            (&[0xfe], Err(Refusal::Value)),
            (&[0xfe, 0], Err(Refusal::Value)),
            (&[0xfe, 0, 2, 1], Err(Refusal::Value)),
            (&[0xfe, 0, 0, 0], Err(Refusal::Value)),
            (&[0; 405], Ok(offer)),
            (&[0; 406], Err(Refusal::Form)),
        ] {
            let datagram = offer.encode_with(tlvs, &keys, Role::Hi);
            assert_eq!(Offer::decode(&datagram, &keys, Role::Hi), result, "{tlvs:?}");
        }
    }

    #[test]
    fn the_tag_comes_first_and_binds_role_and_context() {
        let (keys, offer) = (keys(), offer());
        let datagram = offer.encode(&keys, Role::Lo);
        assert_eq!(Offer::decode(&datagram, &keys, Role::Hi), Err(Refusal::Tag), "reflected");
        let secrets = Secrets::new(&[1; 16], &[2; 16]).expect("safe");
        let other = HandshakeKeys::new(&secrets, b"contexu").expect("short");
        assert_eq!(Offer::decode(&datagram, &other, Role::Lo), Err(Refusal::Tag));
        for at in 1..datagram.len() {
            let mut changed = datagram.clone();
            changed[at] ^= 0x40;
            assert_eq!(Offer::decode(&changed, &keys, Role::Lo), Err(Refusal::Tag), "octet {at}");
        }
        for length in 0..datagram.len() {
            let error = if length < FIXED { Refusal::Form } else { Refusal::Tag };
            assert_eq!(Offer::decode(&datagram[..length], &keys, Role::Lo), Err(error));
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let keys = keys();
        for wrong in [Offer { largest: 507, ..offer() }, Offer { window: 1 << 62, ..offer() }] {
            assert_eq!(Offer::decode(&wrong.encode(&keys, Role::Lo), &keys, Role::Lo), Err(Refusal::Value));
        }
        let mut newer = offer().encode(&keys, Role::Lo);
        newer[1] = 2;
        newer.truncate(newer.len() - TAG);
        newer.extend_from_slice(&keys.tag(Role::Lo, &newer.clone()));
        assert_eq!(Offer::decode(&newer, &keys, Role::Lo), Err(Refusal::Version(2)));
    }

    #[test]
    fn the_cipher_is_the_first_that_both_have() {
        let mask = AeadMask::from_bits;
        for (one, other, cipher) in [
            (3, 3, Some(Aead::Aes128Gcm)),
            (3, 2, Some(Aead::ChaCha20Poly1305)),
            (1, 1, Some(Aead::Aes128Gcm)),
            (1, 2, None),
            (0xfc, 0xfc, None),
            (0xff, 0x02, Some(Aead::ChaCha20Poly1305)),
        ] {
            assert_eq!(mask(one).common(mask(other)), cipher);
            assert_eq!(mask(other).common(mask(one)), cipher);
        }
        assert_eq!((AeadMask::new(true).bits(), AeadMask::new(false).bits()), (3, 2));
    }

    #[test]
    fn garbage_is_never_taken() {
        let (keys, mut random) = (keys(), fastrand::Rng::with_seed(2));
        for _ in 0..5_000 {
            let mut datagram = vec![0; random.usize(..700)];
            random.fill(&mut datagram);
            if let Some(first) = datagram.first_mut() {
                *first = FIRST;
            }
            assert!(Offer::decode(&datagram, &keys, Role::Lo).is_err());
            // authentic garbage: a broken or hostile peer
            datagram.truncate(usize::from(BASE_DATAGRAM) - TAG);
            datagram.get_mut(1).into_iter().for_each(|version| *version = VERSION);
            datagram.extend_from_slice(&keys.tag(Role::Lo, &datagram.clone()));
            assert!(!matches!(Offer::decode(&datagram, &keys, Role::Lo), Err(Refusal::Tag | Refusal::Version(_))));
        }
    }
}
