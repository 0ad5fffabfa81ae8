//! Who is at the other side: typed peers, and how people write them.
//!
//! A [`Peer`] is what an agent reports as its local or remote end. It says what kind of end it is, keeps what the user
//! asked for beside what was found, and prints the way people write it:
//!
//! ```
//! use std::net::SocketAddr;
//! use versile_io::component::Peer;
//!
//! let address: SocketAddr = "10.0.0.2:80".parse()?;
//! assert_eq!(Peer::tcp(address).to_string(), "tcp 10.0.0.2:80");
//! let asked = Peer::tcp(address).with_requested("web.example", 80);
//! assert_eq!(format!("{asked:#}"), "tcp web.example:80 (10.0.0.2:80)");
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One end of a conversation: what it is and how it is reached.
///
/// Two peers are equal if all that they hold is equal, what was requested included; compare [`Peer::socket_addr`] to ask
/// whether two of them are one address.
///
/// `Display` gives the short form (`tcp 10.0.0.2:80`); the alternate form (`{:#}`) puts the requested name first if
/// there is one. Neither ever contains a control character: names that a stranger chose are escaped.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An end of a TCP connection, or of a TCP listener.
    Tcp {
        /// The address that is used.
        addr: SocketAddr,
        /// The host and port that were asked for, if `addr` came from a look-up.
        requested: Option<(Arc<str>, u16)>,
    },
    /// An end of a Unix-domain socket.
    Unix(UnixName),
    /// The other end of an anonymous pipe.
    Pipe,
    /// A file, device or named pipe.
    File(PathBuf),
    /// A child process, reached through its standard streams.
    Process {
        /// The program as it was given.
        program: PathBuf,
        /// The process number it was started under. It may have ended, and the number may be in use again.
        pid: u32,
    },
    /// A descriptor of which only the number is known.
    Fd(i32),
    /// An end of a UDP conversation.
    Udp(SocketAddr),
    /// An end of a VUT connection.
    Vut(SocketAddr),
}

impl Peer {
    /// A TCP peer of which only the address is known.
    #[must_use]
    pub const fn tcp(addr: SocketAddr) -> Self {
        Self::Tcp { addr, requested: None }
    }

    /// The same peer with the host and port that were asked for; no change unless it is a TCP peer.
    #[must_use]
    pub fn with_requested(mut self, host: impl Into<Arc<str>>, port: u16) -> Self {
        if let Self::Tcp { requested, .. } = &mut self {
            *requested = Some((host.into(), port));
        }
        self
    }

    /// The IP address and port, if this peer has one.
    #[must_use]
    pub const fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { addr, .. } | Self::Udp(addr) | Self::Vut(addr) => Some(*addr),
            _ => None,
        }
    }

    /// Whether the peer is certainly on this machine: a loopback address, also one written as IPv4 in IPv6, a Unix
    /// socket, a pipe or a child process.
    ///
    /// `false` means "not known to be": an address of this machine that is not a loopback address, a file (it may lie on
    /// a network mount) and a bare descriptor count as unknown. Do not build an access rule on a name alone.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp { addr, .. } | Self::Udp(addr) | Self::Vut(addr) => addr.ip().to_canonical().is_loopback(),
            Self::Unix(_) | Self::Pipe | Self::Process { .. } => true,
            Self::File(_) | Self::Fd(_) => false,
        }
    }

    /// The version of the Internet protocol, or `None` for what has none. An IPv4 address written in IPv6 counts as
    /// [`IpVersion::V6`], which is the family of its socket.
    #[must_use]
    pub const fn ip_version(&self) -> Option<IpVersion> {
        match self.socket_addr() {
            Some(SocketAddr::V4(_)) => Some(IpVersion::V4),
            Some(SocketAddr::V6(_)) => Some(IpVersion::V6),
            None => None,
        }
    }

    /// Whether the peer has a name under which others can reach it: a port other than 0, a Unix name, a path.
    #[must_use]
    pub const fn is_bound(&self) -> bool {
        match self {
            Self::Tcp { addr, .. } | Self::Udp(addr) | Self::Vut(addr) => addr.port() != 0,
            Self::Unix(name) => !matches!(name, UnixName::Unnamed),
            Self::File(_) | Self::Process { .. } => true,
            Self::Pipe | Self::Fd(_) => false,
        }
    }

    /// The place without port or kind: the numeric IP address (with its scope, if it has one), the Unix name or the path.
    /// `None` for what has no place. The text is for people; bytes that are no text are replaced or escaped.
    #[must_use]
    pub fn host(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Tcp { addr, .. } | Self::Udp(addr) | Self::Vut(addr) => Some(Cow::Owned(numeric_host(*addr))),
            Self::Unix(UnixName::Unnamed) => None,
            Self::Unix(name) => Some(Cow::Owned(name.to_string())),
            Self::File(path) => Some(path.to_string_lossy()),
            Self::Pipe | Self::Process { .. } | Self::Fd(_) => None,
        }
    }

    /// The host and port that were asked for, if the address came from a look-up.
    #[must_use]
    pub fn requested(&self) -> Option<(&str, u16)> {
        match self {
            Self::Tcp { requested, .. } => requested.as_ref().map(|(host, port)| (&**host, *port)),
            _ => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { addr, requested: Some((host, port)) } if f.alternate() => {
                f.write_str("tcp ")?;
                write_escaped(f, host)?;
                write!(f, ":{port} ({addr})")
            }
            Self::Tcp { addr, .. } => write!(f, "tcp {addr}"),
            Self::Unix(name) => write!(f, "unix {name}"),
            Self::Pipe => f.write_str("pipe"),
            Self::File(path) => {
                f.write_str("file ")?;
                write_escaped(f, &path.to_string_lossy())
            }
            Self::Process { program, pid } => {
                f.write_str("process ")?;
                write_escaped(f, &program.to_string_lossy())?;
                write!(f, "[{pid}]")
            }
            Self::Fd(number) => write!(f, "fd {number}"),
            Self::Udp(addr) => write!(f, "udp {addr}"),
            Self::Vut(addr) => write!(f, "vut {addr}"),
        }
    }
}

impl From<UnixName> for Peer {
    fn from(name: UnixName) -> Self {
        Self::Unix(name)
    }
}

#[cfg(unix)]
impl From<std::os::unix::net::SocketAddr> for Peer {
    fn from(addr: std::os::unix::net::SocketAddr) -> Self {
        Self::Unix(addr.into())
    }
}

#[cfg(unix)]
impl From<tokio::net::unix::SocketAddr> for Peer {
    fn from(addr: tokio::net::unix::SocketAddr) -> Self {
        Self::Unix(addr.into())
    }
}

/// An IP address is taken for a TCP peer; write [`Peer::Udp`] or [`Peer::Vut`] for the others.
impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Self {
        Self::tcp(addr)
    }
}

/// An IP address is taken for a TCP peer; write [`Peer::Udp`] or [`Peer::Vut`] for the others.
impl From<SocketAddrV4> for Peer {
    fn from(addr: SocketAddrV4) -> Self {
        Self::tcp(addr.into())
    }
}

/// An IP address is taken for a TCP peer; write [`Peer::Udp`] or [`Peer::Vut`] for the others.
impl From<SocketAddrV6> for Peer {
    fn from(addr: SocketAddrV6) -> Self {
        Self::tcp(addr.into())
    }
}

/// The name of a Unix-domain socket.
///
/// `Display` gives `/run/x.sock`, `@name` for an abstract one (bytes that do not print as `\x..`) and `unnamed`. A
/// relative path that begins with `@` is written `./@..`, so that the two cannot be mistaken for each other.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UnixName {
    /// A path in the file system.
    Path(PathBuf),
    /// A name in the abstract name space of Linux, without the leading zero byte. It may hold any bytes.
    Abstract(Vec<u8>),
    /// No name: a socket that was never bound, or one of a pair.
    Unnamed,
}

impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => {
                let text = path.to_string_lossy();
                if text.starts_with('@') {
                    f.write_str("./")?;
                }
                write_escaped(f, &text)
            }
            Self::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
            Self::Unnamed => f.write_str("unnamed"),
        }
    }
}

impl From<PathBuf> for UnixName {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<&Path> for UnixName {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

#[cfg(unix)]
impl From<std::os::unix::net::SocketAddr> for UnixName {
    fn from(addr: std::os::unix::net::SocketAddr) -> Self {
        tokio::net::unix::SocketAddr::from(addr).into()
    }
}

#[cfg(unix)]
impl From<tokio::net::unix::SocketAddr> for UnixName {
    fn from(addr: tokio::net::unix::SocketAddr) -> Self {
        if let Some(path) = addr.as_pathname() {
            return Self::Path(path.to_owned());
        }
        match addr.as_abstract_name() {
            Some(name) => Self::Abstract(name.to_owned()),
            None => Self::Unnamed,
        }
    }
}

/// A version of the Internet protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IpVersion {
    /// Version 4.
    V4,
    /// Version 6.
    V6,
}

impl fmt::Display for IpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

fn numeric_host(addr: SocketAddr) -> String {
    match addr {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        _ => addr.ip().to_string(),
    }
}

/// Writes text that may come from a stranger; a control character would forge lines of a log.
fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() {
            write!(f, "{}", c.escape_default())?;
        } else {
            f.write_char(c)?;
        }
    }
    Ok(())
}
