//! Secrets from files: hexadecimal digits, in a file that nobody but its owner may read. No message tells what is in one.

use crate::proto::vut::wire::{Secrets, SecretsError};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Characters of a file that are read at most: 2,048 octets of a secret, where 32 are plenty.
const MOST: u64 = 4096;

/// Why there is no pair of secrets.
#[derive(Debug, Error)]
pub(super) enum SecretError {
    #[error("cannot read the secret in {path:?}")]
    Io {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("the secret in {path:?} is open to others (mode {mode:04o}), accepted: 0600 or 0400")]
    Open { path: PathBuf, mode: u32 },
    #[error(
        "{path:?} holds no secret, accepted: hexadecimal digits, two for each octet, such as of `openssl rand -hex 32`"
    )]
    NoHex { path: PathBuf },
    #[error("the secrets are not safe: {0}")]
    Unsafe(#[from] SecretsError),
}

/// Our secret and the peer's.
pub(super) fn read_pair(ours: &Path, theirs: &Path) -> Result<Secrets, SecretError> {
    Ok(Secrets::new(read(ours)?, read(theirs)?)?)
}

fn read(path: &Path) -> Result<Vec<u8>, SecretError> {
    let failed = |error| SecretError::Io { path: path.to_owned(), error };
    let mut file = File::open(path).map_err(failed)?;
    // of the open file: the name may come to mean another one
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    if metadata.is_file() && mode & 0o077 != 0 {
        return Err(SecretError::Open { path: path.to_owned(), mode });
    }
    let mut text = Vec::new();
    file.by_ref().take(MOST + 1).read_to_end(&mut text).map_err(failed)?;
    octets(&text).ok_or_else(|| SecretError::NoHex { path: path.to_owned() })
}

/// Hexadecimal digits with white space around.
fn octets(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    if text.is_empty() || text.len() as u64 > MOST || !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |c: u8| (c as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn file(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        path
    }

    #[test]
    fn hexadecimal_digits_are_read_and_nothing_else() {
        assert_eq!(octets(b" 00ffA5\n"), Some(vec![0, 0xff, 0xa5]));
        for text in ["", "\n", "0", "0g", "00 11", "0x00", "\u{e9}\u{e9}"] {
            assert_eq!(octets(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(octets(&[b'0'; 4098]), None);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let (ours, theirs) = ("0a".repeat(32), "0b".repeat(32));
        let a = file(dir.path(), "a", &ours, 0o600);
        for mode in [0o640, 0o604, 0o620, 0o610] {
            let b = file(dir.path(), "b", &theirs, mode);
            let told = read_pair(&a, &b).expect_err("open to others").to_string();
            assert!(told.contains(&format!("(mode {mode:04o})")), "{told}");
        }
        let b = file(dir.path(), "b", &theirs, 0o400);
        assert_eq!(read_pair(&a, &b).expect("safe").local(), [0x0a; 32]);
    }

    #[test]
    fn no_message_tells_a_secret() {
        let dir = tempfile::tempdir().expect("a folder");
        let a = file(dir.path(), "a", &"5e".repeat(32), 0o600);
        for text in [&"5e".repeat(32), "5e5e", "5ecret"] {
            let told = read_pair(&a, &file(dir.path(), "b", text, 0o600)).expect_err("unsafe").to_string();
            assert!(!told.contains("5e"), "{told}");
        }
    }
}
