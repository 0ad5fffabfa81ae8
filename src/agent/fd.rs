//! Descriptors that somebody else opened: standard input and output, pipes, FIFOs, inherited sockets.
//!
//! A pipe has no reset: its reader sees an ordinary end where a TCP peer would see that data is missing.

use super::io::{FdPair, Halves, adopt, is_one_socket};
use super::stream::{Opened, Stream, StreamSettings};
use crate::component::Peer;
use crate::component::stock::{Directions, PartResult};
use crate::proto::link::Reason;
use futures_util::FutureExt;
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A descriptor, used in the directions that `settings` names. A socket, a pipe, a terminal or a file.
///
/// # Errors
///
/// The operating system's.
pub fn from_fd(fd: OwnedFd, settings: StreamSettings) -> io::Result<Stream> {
    let peer = Peer::Fd(fd.as_raw_fd());
    from_fd_as(fd, peer, settings)
}

/// The same, with the name that its owner knows it by: a copy has a number that nobody has heard of.
///
/// # Errors
///
/// The operating system's.
pub fn from_fd_as(fd: OwnedFd, peer: Peer, settings: StreamSettings) -> io::Result<Stream> {
    let (read, write) = match settings.directions {
        Directions::Both => (true, true),
        Directions::ReadOnly => (true, false),
        Directions::WriteOnly => (false, true),
    };
    let opened = Opened { io: adopt(fd, read, write)?, peer: peer.clone() };
    Ok(Stream::opened(opened, settings).named(peer.to_string()))
}

/// Two descriptors as one two-way stream: one that is read and one that is written.
///
/// # Errors
///
/// The operating system's.
pub fn from_pair(read: OwnedFd, write: OwnedFd, settings: StreamSettings) -> io::Result<Stream> {
    let io = if is_one_socket(&read, &write)? {
        adopt(read, true, true)?
    } else {
        Box::new(Halves { read: adopt(read, true, false)?, write: adopt(write, false, true)? })
    };
    let opened = Opened { io, peer: Peer::Pipe };
    Ok(Stream::opened(opened, settings).named("pipe"))
}

/// Standard input and output as one two-way stream, or one of them.
///
/// # Errors
///
/// The operating system's: a closed standard stream is a bad descriptor.
pub fn stdio(settings: StreamSettings) -> io::Result<Stream> {
    let stdin = || rustix::io::dup(rustix::stdio::stdin()).map_err(io::Error::from);
    let stdout = || rustix::io::dup(rustix::stdio::stdout()).map_err(io::Error::from);
    let stream = match settings.directions {
        Directions::Both => from_pair(stdin()?, stdout()?, settings)?,
        Directions::ReadOnly => from_fd_as(stdin()?, Peer::Fd(0), settings)?,
        Directions::WriteOnly => from_fd_as(stdout()?, Peer::Fd(1), settings)?,
    };
    Ok(stream.named("stdio"))
}

/// The two ends of a new anonymous pipe: what is written to the second is read from the first.
///
/// # Errors
///
/// The operating system's.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// How long to wait before looking again whether a FIFO has a reader: the system tells of readers only who waits in `open`,
/// which cannot be called off.
const FIFO_RETRY: Duration = Duration::from_millis(20);

/// A FIFO, read or, with [`Directions::WriteOnly`], written. It is opened when something is wanted of it; a reader waits for
/// its first writer, and a writer for a reader.
pub fn fifo(path: impl Into<PathBuf>, mut settings: StreamSettings) -> Stream {
    let path = path.into();
    if settings.directions == Directions::Both {
        settings.directions = Directions::ReadOnly;
    }
    let label = Peer::File(path.clone()).to_string();
    let opener = move |_, directions| open_fifo(path, directions).boxed_local();
    Stream::to_open(label, settings, Box::new(opener))
}

async fn open_fifo(path: PathBuf, directions: Directions) -> PartResult<Opened> {
    let failed = |error| Reason::io(format!("open {}", Peer::File(path.clone())), error);
    let io = match directions {
        Directions::WriteOnly => {
            let fd = loop {
                match open(&path, OFlags::WRONLY) {
                    // nobody reads it yet
                    Err(rustix::io::Errno::NXIO) => tokio::time::sleep(FIFO_RETRY).await,
                    other => break other.map_err(|e| failed(e.into()))?,
                }
            };
            FdPair::new(None, Some(fd))
        }
        _ => FdPair::new(Some(open(&path, OFlags::RDONLY).map_err(|e| failed(e.into()))?), None),
    };
    let io = Box::new(io.map_err(failed)?);
    Ok(Opened { io, peer: Peer::File(path) })
}

fn open(path: &Path, mode: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, mode | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
}
