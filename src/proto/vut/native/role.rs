//! Who is who without client and server: the order of the two secrets decides.
//!
//! Both peers know both secrets, so both find the same order. Every key is derived for one role, hence a datagram that is
//! reflected to its sender never verifies there.

use std::fmt;

/// Which of the two secrets, in byte order, a side owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The side whose own secret is the lower one.
    Lo,
    /// The side whose own secret is the higher one.
    Hi,
}

impl Role {
    /// The peer's role.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Lo => Self::Hi,
            Self::Hi => Self::Lo,
        }
    }

    /// The role as it stands in the labels of the key schedule.
    pub const fn label(self) -> &'static [u8] {
        match self {
            Self::Lo => b"lo",
            Self::Hi => b"hi",
        }
    }

    /// `(lo, hi)`, given what belongs to this role and what to the other.
    pub fn ordered<T>(self, own: T, peer: T) -> (T, T) {
        match self {
            Self::Lo => (own, peer),
            Self::Hi => (peer, own),
        }
    }
}

/// Whose secret is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This side's own.
    Own,
    /// The peer's.
    Peer,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "own",
            Self::Peer => "peer's",
        })
    }
}

/// Why a pair of secrets is refused. There is no override in the native profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Both sides would have the same role, and each could be made to talk to itself.
    #[error("the two secrets are equal")]
    Equal,
    /// Shorter than [`Secrets::MIN`].
    #[error("the {0} secret is shorter than {min} octets", min = Secrets::MIN)]
    Short(Owner),
    /// Longer than [`Secrets::MAX`].
    #[error("the {0} secret is longer than {max} octets", max = Secrets::MAX)]
    Long(Owner),
}

/// The two secrets of a connection, checked, and the role that follows from them. Overwritten when dropped (see
/// [`super::keys`] on how far that goes).
#[derive(Clone)]
pub struct Secrets {
    own: Vec<u8>,
    peer: Vec<u8>,
}

impl Secrets {
    /// The shortest secret: 16 octets, 128 bits, as in the 0.8 profile.
    pub const MIN: usize = 16;
    /// The longest secret: what a two-octet length can say.
    pub const MAX: usize = 65_535;

    /// Takes both secrets.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if one is too short or too long, or if they are equal.
    pub fn new(own: &[u8], peer: &[u8]) -> Result<Self, SecretError> {
        for (secret, owner) in [(own, Owner::Own), (peer, Owner::Peer)] {
            if secret.len() < Self::MIN {
                return Err(SecretError::Short(owner));
            }
            if secret.len() > Self::MAX {
                return Err(SecretError::Long(owner));
            }
        }
        if own == peer {
            return Err(SecretError::Equal);
        }
        Ok(Self { own: own.to_vec(), peer: peer.to_vec() })
    }

    /// This side's role. Byte order is that of the first octet that differs; a secret that begins the other is the lower.
    pub fn role(&self) -> Role {
        if self.own < self.peer { Role::Lo } else { Role::Hi }
    }

    /// The lower and the higher secret.
    pub(super) fn ordered(&self) -> (&[u8], &[u8]) {
        self.role().ordered(&self.own, &self.peer)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("role", &self.role()).finish_non_exhaustive()
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        super::keys::wipe(&mut self.own);
        super::keys::wipe(&mut self.peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_follow_byte_order_and_are_opposite() {
        for (low, high) in [(vec![0; 16], vec![1; 16]), (vec![7; 16], vec![7; 17]), (vec![0x7f; 40], vec![0x80; 16])] {
            assert_eq!(Secrets::new(&low, &high).map(|s| s.role()), Ok(Role::Lo));
            assert_eq!(Secrets::new(&high, &low).map(|s| s.role()), Ok(Role::Hi));
        }
        assert_eq!(Role::Lo.other(), Role::Hi);
        assert_eq!(Role::Hi.other(), Role::Lo);
    }

    #[test]
    fn unsafe_pairs_are_refused() {
        let (good, other) = ([1; 16], [2; 16]);
        for (own, peer, error) in [
            (&good[..], &good[..], SecretError::Equal),
            (&good[..15], &other[..], SecretError::Short(Owner::Own)),
            (&good[..], &[], SecretError::Short(Owner::Peer)),
            (&[9; 65_536], &other[..], SecretError::Long(Owner::Own)),
        ] {
            assert_eq!(Secrets::new(own, peer).map(|_| ()), Err(error));
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let secrets = Secrets::new(&[0x41; 16], &[0x42; 16]).expect("safe");
        assert_eq!(format!("{secrets:?}"), "Secrets { role: Lo, .. }");
    }
}
