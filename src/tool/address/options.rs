//! The options of each kind of address, as types.
//!
//! An option that was not given is `None`, `false` or the default of its type; what to do then is for the agent to say.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Options that every kind takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Bytes that may be under way from or to this address; at least 1.
    pub window: Option<u64>,
}

/// Options of a TCP connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpOptions {
    /// Send small segments at once.
    pub nodelay: bool,
    /// Probe the peer after this long without data; whole seconds and at least one, which is the system's unit.
    pub keepalive: Option<Duration>,
    /// Give up connecting after this long; more than nothing.
    pub timeout: Option<Duration>,
    /// Addresses of the host to try first.
    pub prefer: Prefer,
    /// Where to connect from; port 0 leaves the port to the system.
    pub bind: Option<SocketAddr>,
    /// Directions that may end alone.
    pub half_close: HalfClose,
    /// The kernel's buffers.
    pub buffers: Buffers,
}

/// Options of a TCP listener and of the connections that it accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpListenOptions {
    /// Send small segments at once.
    pub nodelay: bool,
    /// Probe a peer after this long without data; whole seconds and at least one, which is the system's unit.
    pub keepalive: Option<Duration>,
    /// How many are served and how many wait.
    pub queue: Queue,
    /// Share the port with other processes.
    pub reuseport: bool,
    /// Directions that may end alone.
    pub half_close: HalfClose,
    /// The kernel's buffers.
    pub buffers: Buffers,
}

/// Options of a connection to a Unix socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnixOptions {
    /// Give up connecting after this long; more than nothing.
    pub timeout: Option<Duration>,
    /// Directions that may end alone.
    pub half_close: HalfClose,
}

/// Options of a Unix listener and of the connections that it accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnixListenOptions {
    /// How many are served and how many wait.
    pub queue: Queue,
    /// Permission bits of the socket file; never with an abstract name.
    pub mode: Option<u32>,
    /// Remove a stale socket file first; never with an abstract name.
    pub unlink: bool,
    /// Directions that may end alone.
    pub half_close: HalfClose,
}

/// Options of a file. `offset` is about reading, all others are about writing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileOptions {
    /// Write behind what is there; else the file is emptied first.
    pub append: bool,
    /// Whether the file must, may or must not be there before it is written.
    pub create: Create,
    /// Permission bits of a file that is made.
    pub mode: Option<u32>,
    /// Start reading at this byte.
    pub offset: Option<u64>,
}

/// Options of a named pipe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FifoOptions {
    /// Make the pipe if there is none.
    pub create: bool,
}

/// Options of a child process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecOptions {
    /// Where its standard error goes.
    pub stderr: Stderr,
}

/// Options of a VUT connection. The secrets themselves are never a part of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VutOptions {
    /// Where to send from, which is where the peer sends to; never port 0.
    pub bind: SocketAddr,
    /// The file with our secret; never empty.
    pub secret_file: PathBuf,
    /// The file with the peer's secret; never empty.
    pub peer_secret_file: PathBuf,
    /// Which profiles are spoken.
    pub mode: VutMode,
    /// Ping after this long without data; whole seconds and at least one.
    pub keepalive: Option<Duration>,
    /// Give up connecting after this long; more than nothing.
    pub timeout: Option<Duration>,
    /// Addresses of the host to try first.
    pub prefer: Prefer,
    /// Directions that may end alone.
    pub half_close: HalfClose,
    /// What an end counts for that is not proven.
    pub unproven: Unproven,
}

/// The kernel's buffers of a socket, in bytes; 1 to [`Buffers::MOST`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Buffers {
    /// For sending.
    pub send: Option<u64>,
    /// For receiving.
    pub receive: Option<u64>,
}

impl Buffers {
    /// The system call takes a signed number of 32 bits.
    pub const MOST: u64 = i32::MAX as u64;
}

/// How many connections of a listener are served and how many wait; each at least 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queue {
    /// Connections that may wait to be accepted; at most [`Queue::MOST`].
    pub backlog: Option<u32>,
    /// Connections served at once; at most [`Queue::MOST`].
    pub max: Option<u32>,
}

impl Queue {
    /// The system call takes a signed number of 32 bits.
    pub const MOST: u32 = i32::MAX as u32;
}

/// Which addresses of a host are tried first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Prefer {
    /// In the order that the lookup gave.
    #[default]
    Any,
    /// IPv4 before IPv6.
    Ipv4,
    /// IPv6 before IPv4.
    Ipv6,
}

/// Which directions of a connection may end while the other goes on. Where one may not, its end closes both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HalfClose {
    /// Each.
    #[default]
    Both,
    /// Neither.
    None,
    /// What comes in.
    In,
    /// What goes out.
    Out,
}

/// What must be so of a file before it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Create {
    /// It is made if it is not there.
    #[default]
    IfMissing,
    /// It must be there (`nocreate`).
    Never,
    /// It must not be there (`excl`).
    Always,
}

/// Where the standard error of a child goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stderr {
    /// Where that of the tool goes.
    #[default]
    Inherit,
    /// Nowhere.
    Null,
}

/// Which profiles of VUT are spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VutMode {
    /// Encrypted, with keys of its own for each connection, and ends that are proven; nothing else.
    #[default]
    Native,
    /// The same if the peer understands it, else 0.8.
    Auto,
    /// 0.8.
    Compat,
}

/// What the end of a peer's data counts for, where an abort could look the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Unproven {
    /// It is the end.
    #[default]
    Accept,
    /// The data is not complete.
    Refuse,
}

/// A type whose values are written as one of a few words.
pub(super) trait Word: Copy + Default + PartialEq + 'static {
    /// The words, in the order in which help lists them.
    const WORDS: &'static [(&'static str, Self)];
}

impl Word for Prefer {
    const WORDS: &'static [(&'static str, Self)] = &[("ipv4", Self::Ipv4), ("ipv6", Self::Ipv6), ("any", Self::Any)];
}

impl Word for HalfClose {
    const WORDS: &'static [(&'static str, Self)] =
        &[("both", Self::Both), ("none", Self::None), ("in", Self::In), ("out", Self::Out)];
}

impl Word for Stderr {
    const WORDS: &'static [(&'static str, Self)] = &[("inherit", Self::Inherit), ("null", Self::Null)];
}

impl Word for VutMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("native", Self::Native), ("auto", Self::Auto), ("compat", Self::Compat)];
}

impl Word for Unproven {
    const WORDS: &'static [(&'static str, Self)] = &[("accept", Self::Accept), ("refuse", Self::Refuse)];
}
