//! What an endpoint is set up with.

use crate::proto::vut::Config;
use crate::proto::vut::native::keys::ContextTooLong;
use crate::proto::vut::native::role::SecretError;
use crate::proto::vut::native::switch::Mode;
use crate::proto::vut::wire::Secrets;
use std::fmt;
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

    pub(super) fn part<const N: usize>(&self, at: usize) -> [u8; N] {
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
