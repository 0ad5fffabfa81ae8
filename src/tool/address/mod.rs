//! Addresses: one line of text that says what to open, such as `tcp:example.org:443,nodelay,timeout=5s`.
//!
//! ```text
//!   tcp-listen:[::1]:8080,max=100,half-close=in
//!   ---kind--- --target--  ------options-------
//! ```
//!
//! The kind reaches to the first colon, the target from there to the first comma, and options follow, each a word or a
//! word and a value. A comma in a path or a command is written `\,`; a backslash is nothing special anywhere else
//! (right before a comma it is doubled).
//!
//! This is text in, values out: nothing is looked up or opened, and whether a file exists is not asked. The kinds and
//! options stand in the tables of [`grammar`], and each mistake is one [`AddressError`].
//!
//! ```
//! use versile_io::tool::address::{Spec, Target};
//!
//! let spec: Spec = "tcp:[::1]:443,nodelay,window=64KiB".parse()?;
//! assert_eq!(spec.options.window, Some(65_536));
//! let Target::Tcp { host, port, options } = &spec.target else { panic!("not tcp") };
//! assert_eq!((host.as_str(), *port, options.nodelay), ("::1", 443, true));
//! assert_eq!(spec.to_string(), "tcp:[::1]:443,window=64KiB,nodelay");
//! # Ok::<(), versile_io::tool::address::AddressError>(())
//! ```

pub mod grammar;

mod error;
mod escape;
mod options;
mod parse;
mod print;
#[cfg(test)]
mod tests;

pub use error::AddressError;
pub use options::{
    Buffers, Create, ExecOptions, FifoOptions, FileOptions, HalfClose, Options, Prefer, Queue, Stderr,
    TcpListenOptions, TcpOptions, UnixListenOptions, UnixOptions, Unproven, VutMode, VutOptions,
};

use grammar::Kind;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// An address: what to open, and the options that every kind takes.
///
/// [`Display`](fmt::Display) writes it so that it reads back as the same value, options that equal the default left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// What to open, with the options of its kind.
    pub target: Target,
    /// The options that every kind takes.
    pub options: Options,
}

/// What to open. Each kind carries only the options that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// `tcp:HOST:PORT`: a connection to make.
    Tcp {
        /// A name or an IP address, without brackets.
        host: String,
        /// 1 to 65535.
        port: u16,
        /// Options of the connection.
        options: TcpOptions,
    },
    /// `tcp-listen:[HOST]:PORT`: connections to accept.
    TcpListen {
        /// A name or an IP address, without brackets; none is every interface.
        host: Option<String>,
        /// 0 is any free port.
        port: u16,
        /// Options of the listener.
        options: TcpListenOptions,
    },
    /// `unix:PATH`: a socket to connect to.
    Unix {
        /// Where it is.
        name: UnixName,
        /// Options of the connection.
        options: UnixOptions,
    },
    /// `unix-listen:PATH`: connections to accept.
    UnixListen {
        /// Where it is made.
        name: UnixName,
        /// Options of the listener.
        options: UnixListenOptions,
    },
    /// `stdio` or `-`: standard input and output.
    Stdio,
    /// `file:PATH`.
    File {
        /// Where it is.
        path: PathBuf,
        /// Options of reading or writing.
        options: FileOptions,
    },
    /// `fifo:PATH`.
    Fifo {
        /// Where it is.
        path: PathBuf,
        /// Options of opening.
        options: FifoOptions,
    },
    /// `exec:COMMAND`.
    Exec {
        /// What `/bin/sh -c` is given.
        command: String,
        /// Options of the child.
        options: ExecOptions,
    },
    /// `fd:NUMBER`: a descriptor that the caller has opened.
    Fd {
        /// Never negative.
        number: i32,
    },
    /// `vut:HOST:PORT`: a peer that connects as we do.
    Vut {
        /// A name or an IP address, without brackets.
        host: String,
        /// 1 to 65535.
        port: u16,
        /// Options of the connection.
        options: VutOptions,
    },
}

/// Where a Unix socket is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UnixName {
    /// In the file system.
    Path(PathBuf),
    /// In the abstract name space of Linux; the `@` that it is written with is not a part of it.
    Abstract(String),
}

impl UnixName {
    /// Bytes that fit into a socket address: 108, less the zero byte that ends a path or starts an abstract name.
    pub const MOST: usize = 107;
}

impl Target {
    /// The row of the grammar that the target was read by.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Tcp { .. } => Kind::Tcp,
            Self::TcpListen { .. } => Kind::TcpListen,
            Self::Unix { .. } => Kind::Unix,
            Self::UnixListen { .. } => Kind::UnixListen,
            Self::Stdio => Kind::Stdio,
            Self::File { .. } => Kind::File,
            Self::Fifo { .. } => Kind::Fifo,
            Self::Exec { .. } => Kind::Exec,
            Self::Fd { .. } => Kind::Fd,
            Self::Vut { .. } => Kind::Vut,
        }
    }

    /// Whether it accepts connections, rather than being one.
    pub fn listens(&self) -> bool {
        matches!(self, Self::TcpListen { .. } | Self::UnixListen { .. })
    }

    /// Whether it can be read and written at once. Of a descriptor that is only known once it is looked at, so it may.
    pub fn is_two_way(&self) -> bool {
        !matches!(self, Self::File { .. } | Self::Fifo { .. })
    }

    /// The descriptor of the calling process that is used when it is read.
    pub fn descriptor_read(&self) -> Option<i32> {
        match self {
            Self::Stdio => Some(0),
            Self::Fd { number } => Some(*number),
            _ => None,
        }
    }

    /// The descriptor of the calling process that is used when it is written.
    pub fn descriptor_written(&self) -> Option<i32> {
        match self {
            Self::Stdio => Some(1),
            Self::Fd { number } => Some(*number),
            _ => None,
        }
    }
}

impl FromStr for Spec {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse::spec(text)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print::spec(self))
    }
}
