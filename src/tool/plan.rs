//! From an address to agents: each end of a run can be bound, if it listens, and makes as many streams as are wanted.
//!
//! What can fail before anything moves fails here: a bad descriptor, an address in use, a path that is no named pipe.
//! Files, connections and programs open by themselves when something is wanted of them.

use super::address::{self, Spec, Target, UnixName};
use super::inherited::Inherited;
use super::secret;
use crate::agent::listener::{self, Accepted, Bound, ListenOptions};
use crate::agent::resolve::{Preference, resolve_addrs};
use crate::agent::stream::{Carry, Stream, StreamSettings};
use crate::agent::tcp::{self, TcpOptions};
use crate::agent::unix::{self, UnixOptions};
use crate::agent::vut::{self, VutOptions};
use crate::agent::{fd, file, process};
use crate::component::Peer;
use crate::component::peer;
use crate::component::stock::{Directions, HalfClose};
use crate::proto::link::Window;
use crate::proto::vut::Mode;
use actix_rt::ArbiterHandle;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

/// Which address of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Left,
    Right,
    From,
    To,
    /// A copy of what passes.
    Tee,
}

impl Role {
    /// As error lines have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
            Self::From => "from",
            Self::To => "to",
            Self::Tee => "tee",
        }
    }

    fn directions(self) -> Directions {
        match self {
            Self::Left | Self::Right => Directions::Both,
            Self::From => Directions::ReadOnly,
            Self::To | Self::Tee => Directions::WriteOnly,
        }
    }
}

/// One address of the command line, ready to make streams.
#[derive(Clone, Debug)]
pub(super) struct End {
    role: Role,
    spec: Spec,
    label: Arc<str>,
    window: Window,
}

/// An address could not be opened; the text says which, and what was tried.
#[derive(Debug, Error)]
#[error("{label}: {action}: {text}")]
pub(super) struct OpenError {
    label: Arc<str>,
    action: String,
    text: String,
}

impl End {
    /// `window` is for an address that has none of its own.
    pub(super) fn new(role: Role, spec: Spec, window: Option<u64>) -> Self {
        let window = spec.options.window.or(window).map_or(StreamSettings::default().window, Window::of);
        let label = format!("{} {}", role.name(), one_line(&spec.to_string())).into();
        Self { role, spec, label, window }
    }

    /// Where a copy of what passes goes. `often`: each direction of each connection opens it, so a file must not be emptied.
    pub(super) fn copy(mut spec: Spec, often: bool) -> Self {
        if let Target::File { options, .. } = &mut spec.target {
            options.append |= often;
        }
        Self::new(Role::Tee, spec, None)
    }

    /// Which address of the command line it is.
    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// The role and the address on one line: the name of its stream in links and errors.
    pub(super) fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// What may be under way towards it.
    pub(super) fn window(&self) -> Window {
        self.window
    }

    /// The address as it is written.
    pub(super) fn address(&self) -> String {
        self.spec.to_string()
    }

    /// Whether it accepts connections.
    pub(super) fn listens(&self) -> bool {
        self.spec.target.listens()
    }

    /// Whether it connects, and so may ask whether it may.
    pub(super) fn connects(&self) -> bool {
        matches!(self.spec.target, Target::Tcp { .. } | Target::Unix { .. } | Target::Vut { .. })
    }

    /// Whether a program stands behind it, whose failure is an unclean end.
    pub(super) fn is_program(&self) -> bool {
        matches!(self.spec.target, Target::Exec { .. })
    }

    /// The descriptor that it inherits.
    pub(super) fn descriptor(&self) -> Option<i32> {
        match self.spec.target {
            Target::Fd { number } => Some(number),
            _ => None,
        }
    }

    /// How much there is to read, if that is known before it is read.
    pub(super) fn size(&self) -> Option<u64> {
        match &self.spec.target {
            Target::File { path, options } => {
                let metadata = std::fs::metadata(path).ok().filter(|metadata| metadata.is_file())?;
                Some(metadata.len().saturating_sub(options.offset.unwrap_or(0)))
            }
            Target::Stdio => regular_size(&rustix::stdio::stdin()),
            _ => None,
        }
    }

    /// Binds an address that listens; nothing is accepted before the listener is started.
    pub(super) async fn bind(&self, one: bool, arbiters: Vec<ArbiterHandle>) -> Result<Bound, OpenError> {
        let defaults = ListenOptions { controlled: one, arbiters, ..ListenOptions::default() };
        let bound = match &self.spec.target {
            Target::TcpListen { host, port, options } => {
                let listen = ListenOptions { reuse_port: options.reuseport, ..queue(options.queue, defaults) };
                match host {
                    Some(host) => {
                        let found = resolve_addrs(host, *port, Preference::Any).await;
                        let addrs = found.map_err(|error| self.failed("listen", &error))?;
                        bind_first(&addrs, &listen)
                    }
                    None => {
                        // one socket for both families where the system has IPv6
                        let (six, four) = (Ipv6Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
                        let tried = listener::tcp(SocketAddr::from((six, *port)), listen.clone());
                        match tried {
                            Err(e) if no_such_family(&e) => listener::tcp(SocketAddr::from((four, *port)), listen),
                            tried => tried,
                        }
                    }
                }
            }
            Target::UnixListen { name, options } => {
                let listen =
                    ListenOptions { mode: options.mode, unlink: options.unlink, ..queue(options.queue, defaults) };
                listener::unix(unix_name(name), listen)
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        };
        bound.map_err(|error| self.failed("listen", &error))
    }

    /// A connection that was accepted, as a stream.
    pub(super) fn accepted(&self, accepted: Accepted) -> Result<Stream, OpenError> {
        let peer = accepted.peer().clone();
        let options = match &self.spec.target {
            Target::TcpListen { options, .. } => TcpOptions {
                nodelay: options.nodelay,
                keep_alive: options.keepalive,
                send_buffer: options.buffers.send.map(as_u32),
                receive_buffer: options.buffers.receive.map(as_u32),
                stream: self.settings(options.half_close),
                ..TcpOptions::default()
            },
            Target::UnixListen { options, .. } => {
                TcpOptions { stream: self.settings(options.half_close), ..TcpOptions::default() }
            }
            _ => TcpOptions::default(),
        };
        let stream = accepted.into_stream(&options).map_err(|error| self.failed(format!("accept {peer}"), &error))?;
        Ok(stream.named(self.label.clone()))
    }

    /// A stream of its own for an address that does not listen.
    pub(super) fn open(&self, inherited: &Inherited) -> Result<Stream, OpenError> {
        let plain = self.settings(address::HalfClose::Both);
        let stream = match &self.spec.target {
            Target::Tcp { host, port, options } => {
                let mut tcp = TcpOptions {
                    nodelay: options.nodelay,
                    keep_alive: options.keepalive,
                    send_buffer: options.buffers.send.map(as_u32),
                    receive_buffer: options.buffers.receive.map(as_u32),
                    bind: options.bind,
                    preference: preference(options.prefer),
                    stream: self.settings(options.half_close),
                    ..TcpOptions::default()
                };
                if let Some(timeout) = options.timeout {
                    tcp.connect_timeout = timeout;
                }
                tcp::connect(host.as_str(), *port, tcp)
            }
            Target::Unix { name, options } => {
                let mut unix = UnixOptions { stream: self.settings(options.half_close), ..UnixOptions::default() };
                if let Some(timeout) = options.timeout {
                    unix.connect_timeout = timeout;
                }
                unix::connect(unix_name(name), unix)
            }
            Target::Stdio => self.stdio(plain, !inherited.is_often()).map_err(|error| self.failed("open", &error))?,
            Target::File { path, options } => match self.role {
                Role::To | Role::Tee => file::write(
                    path,
                    file::WriteOptions {
                        append: options.append,
                        create: match options.create {
                            address::Create::IfMissing => file::Create::IfMissing,
                            address::Create::Never => file::Create::Never,
                            address::Create::Always => file::Create::Always,
                        },
                        mode: options.mode.unwrap_or(0o666),
                        sync: false,
                        stream: plain,
                    },
                ),
                _ => file::read(path, file::ReadOptions { offset: options.offset.unwrap_or(0), stream: plain }),
            },
            Target::Fifo { path, options } => {
                named_pipe(path, options.create)
                    .map_err(|error| self.failed(format!("open {}", Peer::File(path.clone())), &error))?;
                fd::fifo(path, plain)
            }
            Target::Exec { command, options } => {
                let quiet = options.stderr == address::Stderr::Null;
                process::shell(command, process::ProcessOptions { quiet, stream: plain })
            }
            Target::Fd { number } => {
                let stream = inherited.claim(*number).and_then(|fd| fd::from_fd_as(fd, Peer::Fd(*number), plain));
                stream.map_err(|error| self.failed(format!("open fd {number}"), &error))?
            }
            Target::Vut { host, port, options } => {
                let secrets = secret::read_pair(&options.secret_file, &options.peer_secret_file)
                    .map_err(|error| self.failed("open", &error))?;
                vut::connect(host.clone(), *port, secrets, self.vut(options)).into_stream()
            }
            Target::TcpListen { .. } | Target::UnixListen { .. } => {
                return Err(self.failed("open", &io::Error::from(io::ErrorKind::InvalidInput)));
            }
        };
        Ok(stream.named(self.label.clone()))
    }

    fn vut(&self, options: &address::VutOptions) -> VutOptions {
        let mut vut = VutOptions {
            bind: Some(options.bind),
            mode: match options.mode {
                address::VutMode::Native => Mode::Native,
                address::VutMode::Auto => Mode::Auto,
                address::VutMode::Compat => Mode::Compat,
            },
            preference: preference(options.prefer),
            unproven: match options.unproven {
                address::Unproven::Accept => vut::Unproven::Accept,
                address::Unproven::Refuse => vut::Unproven::Refuse,
            },
            stream: self.settings(options.half_close),
            ..VutOptions::default()
        };
        if let Some(timeout) = options.timeout {
            vut.config.handshake = timeout;
        }
        vut.config.keep_alive = options.keepalive.or(vut.config.keep_alive);
        vut
    }

    fn stdio(&self, settings: StreamSettings, once: bool) -> io::Result<Stream> {
        let stream = fd::stdio(settings)?;
        if once && settings.directions != Directions::ReadOnly {
            // the stream has the only copy, so that whoever reads our output sees its end when the stream ends it
            let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
            rustix::stdio::dup2_stdout(null)?;
        }
        Ok(stream)
    }

    fn settings(&self, half_close: address::HalfClose) -> StreamSettings {
        let half_close = match half_close {
            address::HalfClose::Both => HalfClose::BOTH,
            address::HalfClose::None => HalfClose::NONE,
            address::HalfClose::In => HalfClose::INPUT,
            address::HalfClose::Out => HalfClose::OUTPUT,
        };
        StreamSettings { window: self.window, half_close, directions: self.role.directions(), carry: Carry::Auto }
    }

    fn failed(&self, action: impl Into<String>, error: &(dyn Error + 'static)) -> OpenError {
        OpenError { label: self.label.clone(), action: action.into(), text: with_sources(error) }
    }

    /// The number was not open.
    pub(super) fn not_open(&self, number: i32, error: &io::Error) -> OpenError {
        self.failed(format!("open fd {number}"), error)
    }
}

/// An error and what caused it, on one line, nothing twice.
pub(super) fn with_sources(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    one_line(&text)
}

/// A control character, such as a line break in a command, would break an error line in two.
fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn bind_first(addrs: &[SocketAddr], options: &ListenOptions) -> io::Result<Bound> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for addr in addrs {
        match listener::tcp(*addr, options.clone()) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn no_such_family(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

fn queue(queue: address::Queue, options: ListenOptions) -> ListenOptions {
    ListenOptions {
        backlog: queue.backlog.and_then(|n| i32::try_from(n).ok()).unwrap_or(options.backlog),
        max: queue.max.map(|n| n as usize),
        ..options
    }
}

fn preference(prefer: address::Prefer) -> Preference {
    match prefer {
        address::Prefer::Any => Preference::Any,
        address::Prefer::Ipv4 => Preference::Ipv4First,
        address::Prefer::Ipv6 => Preference::Ipv6First,
    }
}

fn unix_name(name: &UnixName) -> peer::UnixName {
    match name {
        UnixName::Path(path) => peer::UnixName::Path(path.clone()),
        UnixName::Abstract(name) => peer::UnixName::Abstract(name.clone().into_bytes()),
    }
}

/// Sees to it that there is a named pipe.
fn named_pipe(path: &Path, create: bool) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if found.file_type().is_fifo() => Ok(()),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a named pipe")),
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
            Ok(rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from_raw_mode(0o666))?)
        }
        Err(error) => Err(error),
    }
}

fn regular_size(fd: &impl std::os::fd::AsFd) -> Option<u64> {
    let found = rustix::fs::fstat(fd).ok()?;
    let regular = rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::RegularFile;
    let at = rustix::fs::seek(fd, rustix::fs::SeekFrom::Current(0)).ok()?;
    let size = u64::try_from(found.st_size).ok()?;
    regular.then(|| size.saturating_sub(at))
}

/// The grammar lets no larger number pass.
fn as_u32(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(role: Role, address: &str) -> End {
        End::new(role, address.parse().expect(address), Some(1 << 20))
    }

    #[test]
    fn an_address_has_its_own_window_before_the_common_one() {
        assert_eq!(end(Role::Left, "tcp:a:1").window(), Window::of(1 << 20));
        assert_eq!(end(Role::Left, "tcp:a:1,window=5").window(), Window::of(5));
    }

    #[test]
    fn a_label_stays_on_one_line() {
        assert_eq!(&**end(Role::From, "exec:a\nb").label(), r"from exec:a\nb");
    }

    #[test]
    fn a_path_that_is_no_pipe_is_refused() {
        let error = end(Role::From, "fifo:/dev/null").open(&Inherited::default()).expect_err("a device");
        assert_eq!(error.to_string(), "from fifo:/dev/null: open file /dev/null: not a named pipe");
    }
}
