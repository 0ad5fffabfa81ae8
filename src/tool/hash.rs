//! `--hash`: a part that lets everything pass and hashes it.

use crate::component::stock::{Filter, Outbox, PartResult};
use crate::proto::link::Window;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// SHA-256 of what passes in one direction.
pub(super) struct Hash {
    sha: Sha256,
    name: Arc<str>,
    window: Window,
}

impl Hash {
    /// `name` says which direction it is for.
    pub(super) fn new(name: impl Into<Arc<str>>, window: Window) -> Self {
        Self { sha: Sha256::new(), name: name.into(), window }
    }

    /// The hash in hexadecimal digits.
    pub(super) fn hex(self) -> String {
        let mut hex = String::with_capacity(64);
        for byte in self.sha.finalize() {
            // writing to a string does not fail
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }
}

impl Filter for Hash {
    type In = Bytes;
    type Out = Bytes;

    fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
        self.sha.update(&item);
        out.push(item);
        Ok(())
    }

    fn window(&self) -> Window {
        self.window
    }

    fn name(&self) -> Arc<str> {
        self.name.clone()
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hash").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_the_standard_says() {
        // FIPS 180-2, appendix B.1
        let mut hash = Hash::new("hash", Window::default());
        hash.sha.update(b"abc");
        assert_eq!(hash.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
