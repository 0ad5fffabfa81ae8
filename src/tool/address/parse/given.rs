//! The options as they were given: first that each is known and stands once, then its value as a type.

use super::super::options::Word;
use super::super::{AddressError, grammar};
use super::{is_digits, nearest};
use crate::tool::size;
use grammar::{Key, KindRow};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The longest time that Linux takes before it probes an idle peer, in seconds.
const KEEPALIVE_MOST: u64 = 32_767;

/// The options of one address. A flag has an empty value.
pub(super) struct Given {
    row: &'static KindRow,
    pairs: Vec<(Key, String)>,
}

impl Given {
    pub(super) fn read(row: &'static KindRow, parts: impl Iterator<Item = String>) -> Result<Self, AddressError> {
        let mut given = Self { row, pairs: Vec::new() };
        for part in parts {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (part.as_str(), None),
            };
            let Some(key) = row.all_keys().find(|key| key.row().name == name) else {
                return Err(given.unknown(name));
            };
            given.add(key, value)?;
        }
        Ok(given)
    }

    fn unknown(&self, name: &str) -> AddressError {
        let hint = nearest(name, self.row.all_keys().map(|key| key.row().name));
        let accepted: Vec<_> = self.row.all_keys().map(Key::form).collect();
        AddressError::UnknownOption {
            kind: self.row.name,
            given: name.to_owned(),
            hint: hint.map_or_else(String::new, |near| format!(", did you mean {near:?}?")),
            accepted: accepted.join(", "),
        }
    }

    fn add(&mut self, key: Key, value: Option<&str>) -> Result<(), AddressError> {
        let (kind, option) = (self.row.name, key.row().name);
        if self.value(key).is_some() {
            return Err(AddressError::Duplicate { kind, option });
        }
        let value = match (key.row().value, value) {
            (Some(_), None | Some("")) => return Err(AddressError::NoValue { kind, option, form: key.form() }),
            (None, Some(given)) => return Err(AddressError::Value { kind, option, given: given.to_owned() }),
            (Some(_), Some(value)) => value.to_owned(),
            (None, None) => String::new(),
        };
        self.pairs.push((key, value));
        Ok(())
    }

    fn value(&self, key: Key) -> Option<&str> {
        self.pairs.iter().find(|(given, _)| *given == key).map(|(_, value)| value.as_str())
    }

    fn read_value<T>(
        &self,
        key: Key,
        accepted: impl Fn() -> String,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, AddressError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| AddressError::BadValue {
            kind: self.row.name,
            option: key.row().name,
            given: value.to_owned(),
            accepted: accepted(),
        })
    }

    pub(super) fn flag(&self, key: Key) -> bool {
        self.value(key).is_some()
    }

    /// A size from 1 to `most`.
    pub(super) fn size(&self, key: Key, most: u64) -> Result<Option<u64>, AddressError> {
        self.read_value(
            key,
            || {
                let limit = if most == u64::MAX { String::new() } else { format!(" and at most {most}") };
                format!("{}, at least 1{limit}", size::SIZES)
            },
            |value| size::parse_size(value).ok().filter(|bytes| (1..=most).contains(bytes)),
        )
    }

    /// A plain number from 1 to `most`.
    pub(super) fn count(&self, key: Key, most: u32) -> Result<Option<u32>, AddressError> {
        self.read_value(
            key,
            || format!("a number from 1 to {most}"),
            |value| value.parse().ok().filter(|count| is_digits(value) && (1..=most).contains(count)),
        )
    }

    pub(super) fn timeout(&self) -> Result<Option<Duration>, AddressError> {
        self.read_value(
            Key::Timeout,
            || format!("{}, more than nothing", size::DURATIONS),
            |value| size::parse_duration(value).ok().filter(|duration| !duration.is_zero()),
        )
    }

    pub(super) fn keepalive(&self) -> Result<Option<Duration>, AddressError> {
        self.read_value(
            Key::KeepAlive,
            || format!("whole seconds from 1s to {KEEPALIVE_MOST}s"),
            |value| {
                let duration = size::parse_duration(value).ok()?;
                let whole = duration.subsec_nanos() == 0 && (1..=KEEPALIVE_MOST).contains(&duration.as_secs());
                whole.then_some(duration)
            },
        )
    }

    pub(super) fn bind(&self) -> Result<Option<SocketAddr>, AddressError> {
        self.read_value(
            Key::Bind,
            || "an IP address, IP:PORT or [IPV6]:PORT".to_owned(),
            |value| {
                let alone = || value.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0));
                value.parse().ok().or_else(alone)
            },
        )
    }

    /// An address with a port, which must be there.
    pub(super) fn bind_with_port(&self) -> Result<SocketAddr, AddressError> {
        let accepted = || "IP:PORT or [IPV6]:PORT, the port not 0".to_owned();
        let read = |value: &str| value.parse().ok().filter(|addr: &SocketAddr| addr.port() != 0);
        self.needed(Key::Bind, self.read_value(Key::Bind, accepted, read)?)
    }

    /// A path, which must be there.
    pub(super) fn path(&self, key: Key) -> Result<PathBuf, AddressError> {
        let accepted = || "a path without a zero byte".to_owned();
        let read = |value: &str| Some(value.into()).filter(|_| !value.contains('\0'));
        self.needed(key, self.read_value(key, accepted, read)?)
    }

    fn needed<T>(&self, key: Key, value: Option<T>) -> Result<T, AddressError> {
        let missing = || AddressError::MissingOption { kind: self.row.name, option: key.row().name, form: key.form() };
        value.ok_or_else(missing)
    }

    pub(super) fn mode(&self) -> Result<Option<u32>, AddressError> {
        self.read_value(
            Key::Mode,
            || "an octal number from 0 to 7777, such as 0600".to_owned(),
            |value| u32::from_str_radix(value, 8).ok().filter(|mode| is_digits(value) && *mode <= 0o7777),
        )
    }

    pub(super) fn offset(&self) -> Result<Option<u64>, AddressError> {
        // A position that a system call takes is a signed number.
        self.read_value(
            Key::Offset,
            || format!("{}, at most {}", size::SIZES, i64::MAX),
            |value| size::parse_size(value).ok().filter(|offset| i64::try_from(*offset).is_ok()),
        )
    }

    pub(super) fn word<T: Word>(&self, key: Key) -> Result<T, AddressError> {
        let words = || T::WORDS.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let find = |value: &str| T::WORDS.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning);
        self.read_value(key, words, find).map(Option::unwrap_or_default)
    }
}
