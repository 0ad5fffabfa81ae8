//! The MAC of VUT 0.8, and the secrets that it is made from.
//!
//! ```text
//!   key = sender's secret || receiver's secret
//!   K   = SHA1(key) if it is longer than 20 octets, else key and zeros up to 20
//!   mac = SHA1( (K xor 0x5c..) || SHA1( (K xor 0x36..) || payload ) )
//! ```
//!
//! It looks like the HMAC of RFC 2104 and is not: the block is 20 octets and not 64, which changes every digest. Both hash
//! states with their key taken in are made once per connection, so that a datagram costs its own octets only.

use sha1::{Digest, Sha1};
use std::fmt;
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::datagram::MAC_LEN;

/// The shortest secret that is taken: 16 octets, 128 bits. 32 octets each is what to use.
pub const SECRET_MIN: usize = 16;

/// Octets of the key block, and the longest key that is taken as it is.
const BLOCK: usize = 20;

/// Why a pair of secrets is not safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SecretsError {
    /// Both are equal: both directions would share a key, and a datagram could be sent back to its sender.
    #[error("both secrets are equal")]
    Equal,
    /// One is shorter than [`SECRET_MIN`].
    #[error("a secret has {0} octets; at least 16 are needed")]
    Short(usize),
    /// Together they have 20 octets, for which the existing peers disagree on the MAC.
    #[error("the secrets have 20 octets together; peers disagree on the MAC for that length")]
    Twenty,
}

/// This side's secret and the peer's. Never printed, and to be used for one connection only: VUT 0.8 has no other
/// protection from datagrams of an earlier one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    local: Vec<u8>,
    remote: Vec<u8>,
}

impl Secrets {
    /// A pair that is safe as far as can be seen.
    ///
    /// # Errors
    ///
    /// [`SecretsError`], the reason why it is not.
    pub fn new(local: impl Into<Vec<u8>>, remote: impl Into<Vec<u8>>) -> Result<Self, SecretsError> {
        let secrets = Self::allow_unsafe(local, remote);
        secrets.check()?;
        Ok(secrets)
    }

    /// Any pair, safe or not. For tests, and for peers that were set up long ago.
    pub fn allow_unsafe(local: impl Into<Vec<u8>>, remote: impl Into<Vec<u8>>) -> Self {
        Self { local: local.into(), remote: remote.into() }
    }

    /// The first reason why this pair is not safe.
    ///
    /// # Errors
    ///
    /// [`SecretsError`], that reason.
    pub fn check(&self) -> Result<(), SecretsError> {
        // two short ones of 20 octets together are short first, which is the better advice
        if let Some(short) = [&self.local, &self.remote].into_iter().find(|secret| secret.len() < SECRET_MIN) {
            return Err(SecretsError::Short(short.len()));
        }
        if self.local.len() + self.remote.len() == BLOCK {
            return Err(SecretsError::Twenty);
        }
        if self.local == self.remote { Err(SecretsError::Equal) } else { Ok(()) }
    }

    /// The same pair as the peer has it.
    pub fn swapped(&self) -> Self {
        Self { local: self.remote.clone(), remote: self.local.clone() }
    }

    /// This side's secret. For other key schedules over the same pair; never to be printed.
    pub fn local(&self) -> &[u8] {
        &self.local
    }

    /// The peer's secret. For other key schedules over the same pair; never to be printed.
    pub fn remote(&self) -> &[u8] {
        &self.remote
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// The MACs of both directions of a connection.
#[derive(Clone)]
pub struct Keys {
    /// For what this side sends.
    pub send: Mac,
    /// For what it receives.
    pub receive: Mac,
}

impl Keys {
    /// Those of a pair of secrets.
    pub fn new(secrets: &Secrets) -> Self {
        Self { send: Mac::new(&secrets.local, &secrets.remote), receive: Mac::new(&secrets.remote, &secrets.local) }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// The MAC of one direction: hash states that have taken their key in.
#[derive(Clone)]
pub struct Mac {
    inner: Sha1,
    outer: Sha1,
}

impl Mac {
    /// The MAC of datagrams from who has `sender` to who has `receiver`.
    pub fn new(sender: &[u8], receiver: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        let len = sender.len() + receiver.len();
        if len > BLOCK {
            block = Sha1::new().chain_update(sender).chain_update(receiver).finalize().into();
        } else {
            block[..sender.len()].copy_from_slice(sender);
            block[sender.len()..len].copy_from_slice(receiver);
        }
        let keyed = |pad: u8| Sha1::new().chain_update(block.map(|octet| octet ^ pad));
        Self { inner: keyed(0x36), outer: keyed(0x5c) }
    }

    /// The MAC of a payload: of all octets before the MAC.
    pub fn tag(&self, payload: &[u8]) -> [u8; MAC_LEN] {
        let inner = self.inner.clone().chain_update(payload).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }

    /// The payload of a datagram, if its last 20 octets are its MAC. Takes the same time wherever they differ.
    pub fn verify<'a>(&self, datagram: &'a [u8]) -> Option<&'a [u8]> {
        let (payload, tag) = datagram.split_at_checked(datagram.len().checked_sub(MAC_LEN)?)?;
        bool::from(self.tag(payload).ct_eq(tag)).then_some(payload)
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mac(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(local: usize, remote: usize) -> Result<Secrets, SecretsError> {
        Secrets::new(vec![1; local], vec![2; remote])
    }

    #[test]
    fn unsafe_pairs_are_refused() {
        assert!(pair(32, 32).is_ok());
        assert!(pair(16, 16).is_ok());
        assert_eq!(pair(15, 32), Err(SecretsError::Short(15)));
        assert_eq!(pair(32, 0), Err(SecretsError::Short(0)));
        assert_eq!(pair(4, 16), Err(SecretsError::Short(4)), "20 together, which a safe pair cannot be");
        assert_eq!(Secrets::new(vec![1; 32], vec![1; 32]), Err(SecretsError::Equal));
        assert_eq!(Secrets::allow_unsafe(vec![1; 4], vec![1; 4]).check(), Err(SecretsError::Short(4)));
    }

    #[test]
    fn secrets_are_not_printed() {
        let secrets = Secrets::new(*b"0123456789abcdef", *b"fedcba9876543210").expect("safe");
        let keys = Keys::new(&secrets);
        assert_eq!(format!("{secrets:?} {keys:?} {:?}", keys.send), "Secrets(..) Keys(..) Mac(..)");
    }

    #[test]
    fn what_one_sends_the_other_verifies_and_no_reflection_does() {
        let secrets = pair(32, 32).expect("safe");
        let (a, b) = (Keys::new(&secrets), Keys::new(&secrets.swapped()));
        let mut datagram = b"payload".to_vec();
        datagram.extend(a.send.tag(b"payload"));
        assert_eq!(b.receive.verify(&datagram), Some(&b"payload"[..]));
        assert_eq!(a.receive.verify(&datagram), None, "reflected");
        for bit in 0..datagram.len() * 8 {
            datagram[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(b.receive.verify(&datagram), None, "bit {bit}");
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(b.receive.verify(&datagram[1..]), None);
        assert_eq!(b.receive.verify(&datagram[..19]), None);
    }
}
