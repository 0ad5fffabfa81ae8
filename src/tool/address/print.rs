//! From [`Spec`] to text that reads back as the same value.

use super::grammar::Key;
use super::options::{Buffers, Create, Queue, Word};
use super::{HalfClose, Spec, Target, UnixName, escape};
use crate::tool::size::{print_duration, print_size};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Writes a whole address.
pub(super) fn spec(spec: &Spec) -> String {
    let mut text = Text::default();
    text.value(Key::Window, spec.options.window.map(print_size));
    let target = match &spec.target {
        Target::Tcp { host, port, options } => {
            text.flag(Key::NoDelay, options.nodelay);
            text.duration(Key::KeepAlive, options.keepalive);
            text.duration(Key::Timeout, options.timeout);
            text.word(Key::Prefer, options.prefer);
            text.value(Key::Bind, options.bind.map(bind));
            text.half_close(options.half_close);
            text.buffers(options.buffers);
            format!("{}:{port}", bracketed(host))
        }
        Target::TcpListen { host, port, options } => {
            text.flag(Key::NoDelay, options.nodelay);
            text.duration(Key::KeepAlive, options.keepalive);
            text.queue(options.queue);
            text.flag(Key::ReusePort, options.reuseport);
            text.half_close(options.half_close);
            text.buffers(options.buffers);
            format!("{}:{port}", host.as_deref().map(bracketed).unwrap_or_default())
        }
        Target::Unix { name, options } => {
            text.duration(Key::Timeout, options.timeout);
            text.half_close(options.half_close);
            unix(name)
        }
        Target::UnixListen { name, options } => {
            text.queue(options.queue);
            text.mode(options.mode);
            text.flag(Key::Unlink, options.unlink);
            text.half_close(options.half_close);
            unix(name)
        }
        Target::Stdio => String::new(),
        Target::File { path, options } => {
            text.flag(Key::Append, options.append);
            text.flag(Key::NoCreate, options.create == Create::Never);
            text.flag(Key::Excl, options.create == Create::Always);
            text.mode(options.mode);
            text.value(Key::Offset, options.offset.map(print_size));
            path.to_string_lossy().into_owned()
        }
        Target::Fifo { path, options } => {
            text.flag(Key::Create, options.create);
            path.to_string_lossy().into_owned()
        }
        Target::Exec { command, options } => {
            text.word(Key::Stderr, options.stderr);
            command.clone()
        }
        Target::Fd { number } => number.to_string(),
        Target::Vut { host, port, options } => {
            text.path(Key::SecretFile, &options.secret_file);
            text.path(Key::PeerSecretFile, &options.peer_secret_file);
            text.value(Key::Bind, Some(options.bind.to_string()));
            text.word(Key::VutMode, options.mode);
            text.duration(Key::KeepAlive, options.keepalive);
            text.duration(Key::Timeout, options.timeout);
            text.word(Key::Prefer, options.prefer);
            text.half_close(options.half_close);
            text.word(Key::Unproven, options.unproven);
            format!("{}:{port}", bracketed(host))
        }
    };
    let colon = if matches!(spec.target, Target::Stdio) { "" } else { ":" };
    let target = escape::escape(&target, text.options.is_empty());
    format!("{}{colon}{target}{}", spec.target.kind().row().name, text.options)
}

/// The options that were written so far, each behind its comma.
#[derive(Default)]
struct Text {
    options: String,
}

impl Text {
    fn value(&mut self, key: Key, value: Option<String>) {
        if let Some(value) = value {
            self.options.push_str(&format!(",{}={value}", key.row().name));
        }
    }

    fn flag(&mut self, key: Key, set: bool) {
        if set {
            self.options.push(',');
            self.options.push_str(key.row().name);
        }
    }

    /// Another option must follow.
    fn path(&mut self, key: Key, path: &Path) {
        self.value(key, Some(escape::escape(&path.to_string_lossy(), false)));
    }

    fn duration(&mut self, key: Key, duration: Option<Duration>) {
        self.value(key, duration.map(print_duration));
    }

    fn mode(&mut self, mode: Option<u32>) {
        self.value(Key::Mode, mode.map(|mode| format!("{mode:04o}")));
    }

    fn word<T: Word>(&mut self, key: Key, word: T) {
        let name = T::WORDS.iter().find(|(_, meaning)| *meaning == word).map(|(name, _)| (*name).to_owned());
        self.value(key, name.filter(|_| word != T::default()));
    }

    fn half_close(&mut self, half_close: HalfClose) {
        self.word(Key::HalfClose, half_close);
    }

    fn buffers(&mut self, buffers: Buffers) {
        self.value(Key::SndBuf, buffers.send.map(print_size));
        self.value(Key::RcvBuf, buffers.receive.map(print_size));
    }

    fn queue(&mut self, queue: Queue) {
        self.value(Key::Backlog, queue.backlog.map(|n| n.to_string()));
        self.value(Key::Max, queue.max.map(|n| n.to_string()));
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn unix(name: &UnixName) -> String {
    match name {
        UnixName::Path(path) => path.to_string_lossy().into_owned(),
        UnixName::Abstract(name) => format!("@{name}"),
    }
}

/// An address without a port reads as port 0, except that a scope only stands in the long form.
fn bind(address: SocketAddr) -> String {
    let scoped = matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0);
    if address.port() == 0 && !scoped { address.ip().to_string() } else { address.to_string() }
}
