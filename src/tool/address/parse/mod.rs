//! From text to [`Spec`]: kind, target, options, in this order, and the first mistake is the one that is told.

mod given;

use super::grammar::{KINDS, Key, Kind, KindRow};
use super::options::{Buffers, Create, Queue};
use super::{
    AddressError, ExecOptions, FifoOptions, FileOptions, Options, Spec, Target, TcpListenOptions, TcpOptions,
    UnixListenOptions, UnixName, UnixOptions, VutOptions, escape,
};
use crate::tool::suggest::nearest;
use given::Given;
use std::net::Ipv6Addr;
use std::path::PathBuf;

/// Reads a whole address.
pub(super) fn spec(text: &str) -> Result<Spec, AddressError> {
    if text.is_empty() {
        let forms: Vec<_> = KINDS.iter().map(|row| row.form).collect();
        return Err(AddressError::Empty { accepted: forms.join(", ") });
    }
    let mut parts = escape::split(text).into_iter();
    let head = parts.next().unwrap_or_default();
    let (name, rest) = match head.split_once(':') {
        Some((name, rest)) => (name, Some(rest)),
        None if head == "-" => (Kind::Stdio.row().name, None),
        None => (head.as_str(), None),
    };
    let row = KINDS.iter().find(|row| row.name == name).ok_or_else(|| unknown_kind(name, rest))?;
    let place = Place { row, rest: rest.unwrap_or_default() };
    let bare = place.bare(rest)?;
    let given = Given::read(row, parts)?;
    let target = bare.with(row.name, &given)?;
    Ok(Spec { target, options: Options { window: given.size(Key::Window, u64::MAX)? } })
}

fn unknown_kind(name: &str, rest: Option<&str>) -> AddressError {
    let names = KINDS.iter().map(|row| row.name);
    let hint = match nearest(name, names.clone()) {
        Some(near) => format!(", did you mean {near:?}?"),
        None if name.starts_with(['/', '.', '~']) => format!(", did you mean {:?}?", format!("file:{name}")),
        None if rest.is_some_and(|rest| rest.parse::<u16>().is_ok()) => {
            format!(", did you mean {:?}?", format!("tcp:{name}:{}", rest.unwrap_or_default()))
        }
        None => String::new(),
    };
    AddressError::UnknownKind { given: name.to_owned(), hint, accepted: names.collect::<Vec<_>>().join(", ") }
}

/// A target that has been read, before its options.
enum Bare {
    Tcp(String, u16),
    TcpListen(Option<String>, u16),
    Unix(UnixName),
    UnixListen(UnixName),
    Stdio,
    File(PathBuf),
    Fifo(PathBuf),
    Exec(String),
    Fd(i32),
    Vut(String, u16),
}

/// What stands behind the kind, and the kind for the error.
struct Place<'a> {
    row: &'static KindRow,
    rest: &'a str,
}

impl Place<'_> {
    fn bare(&self, rest: Option<&str>) -> Result<Bare, AddressError> {
        Ok(match self.row.kind {
            Kind::Tcp => {
                let (host, port) = self.host_and_port(1)?;
                Bare::Tcp(host.ok_or_else(|| self.missing("host"))?, port)
            }
            Kind::TcpListen => {
                let (host, port) = self.host_and_port(0)?;
                Bare::TcpListen(host, port)
            }
            Kind::Unix => Bare::Unix(self.unix_name()?),
            Kind::UnixListen => Bare::UnixListen(self.unix_name()?),
            Kind::Stdio if rest.is_some() => {
                return Err(AddressError::Unexpected {
                    kind: self.row.name,
                    given: self.rest.to_owned(),
                    form: self.row.form,
                });
            }
            Kind::Stdio => Bare::Stdio,
            Kind::File => Bare::File(self.text("path")?.into()),
            Kind::Fifo => Bare::Fifo(self.text("path")?.into()),
            Kind::Exec => Bare::Exec(self.text("command")?.to_owned()),
            Kind::Fd => Bare::Fd(self.descriptor()?),
            Kind::Vut => {
                let (host, port) = self.host_and_port(1)?;
                Bare::Vut(host.ok_or_else(|| self.missing("host"))?, port)
            }
        })
    }

    fn missing(&self, what: &'static str) -> AddressError {
        AddressError::Missing { kind: self.row.name, what, form: self.row.form }
    }

    /// A path, a name or a command.
    fn text(&self, what: &'static str) -> Result<&str, AddressError> {
        if self.rest.is_empty() {
            return Err(self.missing(what));
        }
        if self.rest.contains('\0') {
            return Err(AddressError::Zero { kind: self.row.name, what });
        }
        Ok(self.rest)
    }

    fn unix_name(&self) -> Result<UnixName, AddressError> {
        let text = self.text("path")?;
        let (what, text, name) = match text.strip_prefix('@') {
            Some("") => return Err(self.missing("abstract name")),
            Some(name) => ("abstract name", name, UnixName::Abstract(name.to_owned())),
            None => ("path", text, UnixName::Path(text.into())),
        };
        let (length, most) = (text.len(), UnixName::MOST);
        if length > most {
            return Err(AddressError::TooLong { kind: self.row.name, what, length, most });
        }
        Ok(name)
    }

    fn host_and_port(&self, lowest: u16) -> Result<(Option<String>, u16), AddressError> {
        let bad_host = || AddressError::Host { kind: self.row.name, given: self.rest.to_owned() };
        let (host, port) = if let Some(inner) = self.rest.strip_prefix('[') {
            let (host, after) = inner.split_once(']').ok_or_else(bad_host)?;
            let (ip, scope) = host.split_once('%').unwrap_or((host, "0"));
            if ip.parse::<Ipv6Addr>().is_err() || !is_host_name(scope) {
                return Err(bad_host());
            }
            let port = match after.strip_prefix(':') {
                Some(port) => port,
                None if after.is_empty() => "",
                None => return Err(bad_host()),
            };
            (Some(host), port)
        } else if let Some((host, port)) = self.rest.rsplit_once(':') {
            if !host.is_empty() && !is_host_name(host) {
                return Err(bad_host());
            }
            (Some(host).filter(|host| !host.is_empty()), port)
        } else {
            return Err(self.missing(if self.rest.is_empty() { "host" } else { "port" }));
        };
        if port.is_empty() {
            return Err(self.missing("port"));
        }
        let number = Some(port).filter(|port| is_digits(port)).and_then(|port| port.parse().ok());
        match number.filter(|number| *number >= lowest) {
            Some(number) => Ok((host.map(str::to_owned), number)),
            None => Err(AddressError::Port { kind: self.row.name, given: port.to_owned(), lowest }),
        }
    }

    fn descriptor(&self) -> Result<i32, AddressError> {
        let text = self.text("number")?;
        let number = Some(text).filter(|text| is_digits(text)).and_then(|text| text.parse().ok());
        number.ok_or_else(|| AddressError::Descriptor { given: text.to_owned() })
    }
}

impl Bare {
    fn with(self, kind: &'static str, given: &Given) -> Result<Target, AddressError> {
        Ok(match self {
            Self::Tcp(host, port) => {
                let options = TcpOptions {
                    nodelay: given.flag(Key::NoDelay),
                    keepalive: given.keepalive()?,
                    timeout: given.timeout()?,
                    prefer: given.word(Key::Prefer)?,
                    bind: given.bind()?,
                    half_close: given.word(Key::HalfClose)?,
                    buffers: buffers(given)?,
                };
                Target::Tcp { host, port, options }
            }
            Self::TcpListen(host, port) => {
                let options = TcpListenOptions {
                    nodelay: given.flag(Key::NoDelay),
                    keepalive: given.keepalive()?,
                    queue: queue(given)?,
                    reuseport: given.flag(Key::ReusePort),
                    half_close: given.word(Key::HalfClose)?,
                    buffers: buffers(given)?,
                };
                Target::TcpListen { host, port, options }
            }
            Self::Unix(name) => {
                let options = UnixOptions { timeout: given.timeout()?, half_close: given.word(Key::HalfClose)? };
                Target::Unix { name, options }
            }
            Self::UnixListen(name) => {
                let options = UnixListenOptions {
                    queue: queue(given)?,
                    mode: given.mode()?,
                    unlink: given.flag(Key::Unlink),
                    half_close: given.word(Key::HalfClose)?,
                };
                let of_a_file = [(options.mode.is_some(), Key::Mode), (options.unlink, Key::Unlink)];
                if let (UnixName::Abstract(_), Some((_, key))) = (&name, of_a_file.iter().find(|(set, _)| *set)) {
                    return Err(AddressError::Conflict { kind, first: key.row().name, second: "an abstract name" });
                }
                Target::UnixListen { name, options }
            }
            Self::Stdio => Target::Stdio,
            Self::File(path) => {
                let create = match (given.flag(Key::NoCreate), given.flag(Key::Excl)) {
                    (true, true) => {
                        let (first, second) = (Key::NoCreate.row().name, Key::Excl.row().name);
                        return Err(AddressError::Conflict { kind, first, second });
                    }
                    (true, false) => Create::Never,
                    (false, true) => Create::Always,
                    (false, false) => Create::IfMissing,
                };
                let append = given.flag(Key::Append);
                let options = FileOptions { append, create, mode: given.mode()?, offset: given.offset()? };
                Target::File { path, options }
            }
            Self::Fifo(path) => Target::Fifo { path, options: FifoOptions { create: given.flag(Key::Create) } },
            Self::Exec(command) => Target::Exec { command, options: ExecOptions { stderr: given.word(Key::Stderr)? } },
            Self::Fd(number) => Target::Fd { number },
            Self::Vut(host, port) => {
                let options = VutOptions {
                    bind: given.bind_with_port()?,
                    secret_file: given.path(Key::SecretFile)?,
                    peer_secret_file: given.path(Key::PeerSecretFile)?,
                    mode: given.word(Key::VutMode)?,
                    keepalive: given.keepalive()?,
                    timeout: given.timeout()?,
                    prefer: given.word(Key::Prefer)?,
                    half_close: given.word(Key::HalfClose)?,
                    unproven: given.word(Key::Unproven)?,
                };
                Target::Vut { host, port, options }
            }
        })
    }
}

fn buffers(given: &Given) -> Result<Buffers, AddressError> {
    Ok(Buffers { send: given.size(Key::SndBuf, Buffers::MOST)?, receive: given.size(Key::RcvBuf, Buffers::MOST)? })
}

fn queue(given: &Given) -> Result<Queue, AddressError> {
    Ok(Queue { backlog: given.count(Key::Backlog, Queue::MOST)?, max: given.count(Key::Max, Queue::MOST)? })
}

/// Whether a lookup could make anything of it; what has a colon is an IPv6 address without its brackets.
fn is_host_name(text: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    !text.is_empty() && text.chars().all(fits)
}

/// `parse` of a number also takes a plus sign.
fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
