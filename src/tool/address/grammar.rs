//! The grammar as two tables: kinds of address and options. Parser, printer, error messages and help all read them.

/// A kind of address, which is the word before the first colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A TCP connection to make.
    Tcp,
    /// TCP connections to accept.
    TcpListen,
    /// A Unix socket to connect to.
    Unix,
    /// Connections to a Unix socket to accept.
    UnixListen,
    /// Standard input and output.
    Stdio,
    /// A regular file.
    File,
    /// A named pipe.
    Fifo,
    /// A child process.
    Exec,
    /// A descriptor that the caller has opened.
    Fd,
    /// A connection to a VUT peer.
    Vut,
}

/// A row of [`KINDS`].
#[derive(Clone, Copy, Debug)]
pub struct KindRow {
    /// The kind that the row is about.
    pub kind: Kind,
    /// The word before the colon.
    pub name: &'static str,
    /// The whole address without options.
    pub form: &'static str,
    /// What it stands for.
    pub about: &'static str,
    /// The options that it takes, besides those of [`COMMON`].
    pub keys: &'static [Key],
}

/// Every kind, in the order of [`Kind`].
pub const KINDS: &[KindRow] = &[
    KindRow {
        kind: Kind::Tcp,
        name: "tcp",
        form: "tcp:HOST:PORT",
        about: "connect over TCP; an IPv6 address in brackets",
        keys: &[
            Key::NoDelay,
            Key::KeepAlive,
            Key::Timeout,
            Key::Prefer,
            Key::Bind,
            Key::HalfClose,
            Key::SndBuf,
            Key::RcvBuf,
        ],
    },
    KindRow {
        kind: Kind::TcpListen,
        name: "tcp-listen",
        form: "tcp-listen:[HOST]:PORT",
        about: "accept TCP connections; no HOST is every interface",
        keys: &[
            Key::NoDelay,
            Key::KeepAlive,
            Key::Backlog,
            Key::Max,
            Key::ReusePort,
            Key::HalfClose,
            Key::SndBuf,
            Key::RcvBuf,
        ],
    },
    KindRow {
        kind: Kind::Unix,
        name: "unix",
        form: "unix:PATH",
        about: "connect to a Unix socket; @NAME is an abstract name",
        keys: &[Key::Timeout, Key::HalfClose],
    },
    KindRow {
        kind: Kind::UnixListen,
        name: "unix-listen",
        form: "unix-listen:PATH",
        about: "accept connections to a Unix socket",
        keys: &[Key::Backlog, Key::Max, Key::Mode, Key::Unlink, Key::HalfClose],
    },
    KindRow {
        kind: Kind::Stdio,
        name: "stdio",
        form: "stdio",
        about: "standard input and output; also `-`",
        keys: &[],
    },
    KindRow {
        kind: Kind::File,
        name: "file",
        form: "file:PATH",
        about: "a file, one-way (copy only)",
        keys: &[Key::Append, Key::NoCreate, Key::Excl, Key::Mode, Key::Offset],
    },
    KindRow {
        kind: Kind::Fifo,
        name: "fifo",
        form: "fifo:PATH",
        about: "a named pipe, one-way (copy only)",
        keys: &[Key::Create],
    },
    KindRow {
        kind: Kind::Exec,
        name: "exec",
        form: "exec:COMMAND",
        about: "the input and output of a command run by /bin/sh -c",
        keys: &[Key::Stderr],
    },
    KindRow { kind: Kind::Fd, name: "fd", form: "fd:NUMBER", about: "a descriptor that is open already", keys: &[] },
    KindRow {
        kind: Kind::Vut,
        name: "vut",
        form: "vut:HOST:PORT",
        about: "a VUT peer over UDP; bind and secrets needed",
        keys: &[
            Key::Bind,
            Key::SecretFile,
            Key::PeerSecretFile,
            Key::VutMode,
            Key::KeepAlive,
            Key::Timeout,
            Key::Prefer,
            Key::HalfClose,
            Key::Unproven,
        ],
    },
];

impl Kind {
    /// What the table says of the kind.
    pub fn row(self) -> &'static KindRow {
        &KINDS[self as usize]
    }
}

impl KindRow {
    /// All options that the kind takes.
    pub fn all_keys(&self) -> impl Iterator<Item = Key> + use<> {
        COMMON.iter().chain(self.keys).copied()
    }
}

/// An option of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// How much may be under way.
    Window,
    /// Send small segments at once.
    NoDelay,
    /// Probe an idle peer.
    KeepAlive,
    /// How long to try to connect.
    Timeout,
    /// Which addresses of a host to try first.
    Prefer,
    /// Where to connect from.
    Bind,
    /// Which directions may end alone.
    HalfClose,
    /// The kernel's buffer for sending.
    SndBuf,
    /// The kernel's buffer for receiving.
    RcvBuf,
    /// How many connections wait to be accepted.
    Backlog,
    /// How many connections are served at once.
    Max,
    /// Share the port with other processes.
    ReusePort,
    /// Permission bits of what is made.
    Mode,
    /// Remove a stale socket file.
    Unlink,
    /// Write behind what is there.
    Append,
    /// Write only to what exists.
    NoCreate,
    /// Write only to what does not exist.
    Excl,
    /// Where to start reading.
    Offset,
    /// Make the pipe.
    Create,
    /// Where a child's errors go.
    Stderr,
    /// The file with our secret.
    SecretFile,
    /// The file with the peer's secret.
    PeerSecretFile,
    /// Which VUT profiles are spoken.
    VutMode,
    /// What an end counts for that is not proven.
    Unproven,
}

/// A row of [`KEYS`].
#[derive(Clone, Copy, Debug)]
pub struct KeyRow {
    /// The option that the row is about.
    pub key: Key,
    /// The word before the equals sign.
    pub name: &'static str,
    /// What stands behind the equals sign, if anything does.
    pub value: Option<&'static str>,
    /// What it does.
    pub about: &'static str,
}

/// The options that every kind takes.
pub const COMMON: &[Key] = &[Key::Window];

/// Every option, in the order of [`Key`].
pub const KEYS: &[KeyRow] = &[
    row(Key::Window, "window", Some("SIZE"), "bytes that may be under way (see --window)"),
    row(Key::NoDelay, "nodelay", None, "send small segments at once (TCP_NODELAY)"),
    row(Key::KeepAlive, "keepalive", Some("DURATION"), "probe the peer after this long without data"),
    row(Key::Timeout, "timeout", Some("DURATION"), "give up connecting after this long"),
    row(Key::Prefer, "prefer", Some("ipv4|ipv6|any"), "addresses of the host to try first"),
    row(Key::Bind, "bind", Some("ADDR"), "connect from this IP address, or IP:PORT"),
    row(Key::HalfClose, "half-close", Some("both|none|in|out"), "directions that may end alone; default both"),
    row(Key::SndBuf, "sndbuf", Some("SIZE"), "the kernel's buffer for sending"),
    row(Key::RcvBuf, "rcvbuf", Some("SIZE"), "the kernel's buffer for receiving"),
    row(Key::Backlog, "backlog", Some("N"), "connections that may wait to be accepted"),
    row(Key::Max, "max", Some("N"), "connections served at once"),
    row(Key::ReusePort, "reuseport", None, "share the port with other processes"),
    row(Key::Mode, "mode", Some("OCTAL"), "permission bits of what is made, such as 0600"),
    row(Key::Unlink, "unlink", None, "remove a stale socket file first"),
    row(Key::Append, "append", None, "write behind what is there; else it is emptied"),
    row(Key::NoCreate, "nocreate", None, "write only to a file that exists"),
    row(Key::Excl, "excl", None, "write only to a file that does not exist"),
    row(Key::Offset, "offset", Some("SIZE"), "start reading at this byte"),
    row(Key::Create, "create", None, "make the pipe if there is none"),
    row(Key::Stderr, "stderr", Some("inherit|null"), "the command's errors; default inherit"),
    row(Key::SecretFile, "secret-file", Some("PATH"), "our secret in hexadecimal; mode 0600"),
    row(Key::PeerSecretFile, "peer-secret-file", Some("PATH"), "the peer's secret, likewise"),
    row(Key::VutMode, "mode", Some("native|auto|compat"), "VUT profiles that are spoken; default native"),
    row(Key::Unproven, "unproven", Some("accept|refuse"), "an end that may be an abort; default accept"),
];

const fn row(key: Key, name: &'static str, value: Option<&'static str>, about: &'static str) -> KeyRow {
    KeyRow { key, name, value, about }
}

impl Key {
    /// What the table says of the option.
    pub fn row(self) -> &'static KeyRow {
        &KEYS[self as usize]
    }

    /// The option as it is written, such as `window=SIZE`.
    pub fn form(self) -> String {
        let row = self.row();
        match row.value {
            Some(value) => format!("{}={value}", row.name),
            None => row.name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn rows_stand_in_the_order_of_their_enum() {
        for (at, row) in KINDS.iter().enumerate() {
            assert_eq!(row.kind as usize, at, "{row:?}");
            assert!(row.form.starts_with(row.name), "{row:?}");
        }
        for (at, row) in KEYS.iter().enumerate() {
            assert_eq!(row.key as usize, at, "{row:?}");
        }
    }

    #[test]
    fn every_option_belongs_to_some_kind() {
        let used: HashSet<Key> = KINDS.iter().flat_map(KindRow::all_keys).collect();
        assert_eq!(used.len(), KEYS.len());
    }
}
