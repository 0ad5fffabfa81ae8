//! What can be wrong with an address: always one line that says where, what, and what would be accepted.

use thiserror::Error;

/// Why a text is not an address.
///
/// What was given is printed escaped, so that the message stays on one line whatever it holds.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// There is nothing at all.
    #[error("the address is empty, accepted: {accepted}")]
    Empty {
        /// The forms of all kinds.
        accepted: String,
    },
    /// The word before the colon is not a kind.
    #[error("unknown kind of address {given:?}{hint}; accepted: {accepted}")]
    UnknownKind {
        /// The word.
        given: String,
        /// `, did you mean ...?`, or nothing.
        hint: String,
        /// The names of all kinds.
        accepted: String,
    },
    /// Nothing stands behind the kind.
    #[error("{kind}: the {what} is missing, accepted: {form}")]
    Missing {
        /// The kind of address.
        kind: &'static str,
        /// What should stand there.
        what: &'static str,
        /// The form of the kind.
        form: &'static str,
    },
    /// The kind needs an option that was not given.
    #[error("{kind}: option {option:?} is missing, accepted: {form}")]
    MissingOption {
        /// The kind of address.
        kind: &'static str,
        /// The option.
        option: &'static str,
        /// The option with its value.
        form: String,
    },
    /// Something stands behind a kind that has no more to say.
    #[error("{kind}: {given:?} is too much, accepted: {form}")]
    Unexpected {
        /// The kind of address.
        kind: &'static str,
        /// What stands there.
        given: String,
        /// The form of the kind.
        form: &'static str,
    },
    /// The host is not a name or an IP address.
    #[error("{kind}: {given:?} is not a host, accepted: a name, an IPv4 address, or an IPv6 address in brackets")]
    Host {
        /// The kind of address.
        kind: &'static str,
        /// What stands in place of the host.
        given: String,
    },
    /// The port is not a number in its range.
    #[error("{kind}: the port {given:?} is out of range, accepted: a number from {lowest} to 65535")]
    Port {
        /// The kind of address.
        kind: &'static str,
        /// What stands in place of the port.
        given: String,
        /// 1, or 0 where that asks for any free port.
        lowest: u16,
    },
    /// The path or the name does not fit into a socket address.
    #[error("{kind}: the {what} has {length} bytes, accepted: at most {most}")]
    TooLong {
        /// The kind of address.
        kind: &'static str,
        /// `path` or `abstract name`.
        what: &'static str,
        /// Its length.
        length: usize,
        /// The length that the system takes.
        most: usize,
    },
    /// A path, a name or a command has a zero byte in it, which no system call takes.
    #[error("{kind}: the {what} holds a zero byte, accepted: any other byte")]
    Zero {
        /// The kind of address.
        kind: &'static str,
        /// What holds it.
        what: &'static str,
    },
    /// The descriptor is not a number in its range.
    #[error("fd: {given:?} is not a descriptor, accepted: a number from 0 to 2147483647")]
    Descriptor {
        /// What stands in place of the number.
        given: String,
    },
    /// The kind does not take the option.
    #[error("{kind}: unknown option {given:?}{hint}; accepted: {accepted}")]
    UnknownOption {
        /// The kind of address.
        kind: &'static str,
        /// The option.
        given: String,
        /// `, did you mean ...?`, or nothing.
        hint: String,
        /// All options of the kind.
        accepted: String,
    },
    /// The option stands there twice.
    #[error("{kind}: option {option:?} is given twice, accepted: once")]
    Duplicate {
        /// The kind of address.
        kind: &'static str,
        /// The option.
        option: &'static str,
    },
    /// The option needs a value and has none.
    #[error("{kind}: option {option:?} has no value, accepted: {form}")]
    NoValue {
        /// The kind of address.
        kind: &'static str,
        /// The option.
        option: &'static str,
        /// The option with its value.
        form: String,
    },
    /// The option takes no value and has one.
    #[error("{kind}: option {option:?} takes no value but has {given:?}, accepted: {option}")]
    Value {
        /// The kind of address.
        kind: &'static str,
        /// The option.
        option: &'static str,
        /// Its value.
        given: String,
    },
    /// The value of the option means nothing.
    #[error("{kind}: option {option:?} has the bad value {given:?}, accepted: {accepted}")]
    BadValue {
        /// The kind of address.
        kind: &'static str,
        /// The option.
        option: &'static str,
        /// Its value.
        given: String,
        /// What would have been understood.
        accepted: String,
    },
    /// Two options contradict one another.
    #[error("{kind}: {first} and {second} contradict one another, accepted: one of them")]
    Conflict {
        /// The kind of address.
        kind: &'static str,
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
}
