//! A long stream whose every byte is known by its position, cheap to give and to verify, so that the chain is what is tested.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// The stream repeats after so many bytes: a prime, so that no loss of whole pieces or windows fits it.
const PERIOD: usize = 1_048_573;

/// Two periods, so that any piece of up to one is a slice.
static TAPE: LazyLock<Bytes> = LazyLock::new(|| {
    let mut random = fastrand::Rng::with_seed(1);
    let once: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(PERIOD).collect();
    [&once[..], &once[..]].concat().into()
});

/// One end's view of a stream: how far it has come, and the hash of all up to there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape {
    pub(crate) at: u64,
    hash: Sha256,
}

impl Tape {
    fn seen(&mut self, bytes: &[u8]) {
        self.at += bytes.len() as u64;
        // without optimisation hashing would be all that is tested; there each byte is compared, and no more
        if cfg!(not(debug_assertions)) {
            self.hash.update(bytes);
        }
    }

    /// The next `n` bytes, of one period at most.
    pub(crate) fn give(&mut self, n: u64) -> Bytes {
        let at = (self.at % PERIOD as u64) as usize;
        let piece = TAPE.slice(at..at + n as usize);
        self.seen(&piece);
        piece
    }

    /// Verifies the next bytes; where they differ, if they do.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        for piece in bytes.chunks(PERIOD) {
            let at = (self.at % PERIOD as u64) as usize;
            if TAPE[at..at + piece.len()] != *piece {
                return Err(format!("another byte after {}", self.at));
            }
            self.seen(piece);
        }
        Ok(())
    }

    /// What both ends must agree on: how much, and its SHA-256.
    pub(crate) fn sum(&self) -> (u64, String) {
        match cfg!(debug_assertions) {
            true => (self.at, "not made".into()),
            false => (self.at, self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
        }
    }
}
