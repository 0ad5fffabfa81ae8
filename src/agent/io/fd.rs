//! Descriptors that can be waited on: pipes, FIFOs, terminals. One for reading, one for writing, or either alone.
//!
//! `O_NONBLOCK` belongs to the open file, not to the descriptor, so setting it on a terminal or a pipe that was inherited
//! changes it for the shell too. Where the system lets us (`/proc/self/fd`), the file is opened anew; otherwise the flag is
//! set, all others are kept, and it is taken back at the end.

use super::file::{FileIo, FileMode};
use super::socket::{TcpIo, UnixIo};
use super::{Halves, Io, Lost, Room, buffer, uninterrupted};
use crate::agent::queue::{Piece, SLICES, WriteQueue};
use bytes::Bytes;
use futures_util::FutureExt;
use rustix::fs::{FileType, OFlags};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor to read, one to write, or both.
pub(crate) struct FdPair {
    read: Option<Rc<Waited>>,
    write: Option<Rc<Waited>>,
    /// Nothing was tried to be read yet, and it need not be waited for: see [`FdPair::read_at_once`].
    untried: bool,
    lost: Lost,
}

/// A descriptor that is waited on, and the flags to give back.
struct Waited {
    fd: AsyncFd<File>,
    restore: Option<OFlags>,
}

impl Drop for Waited {
    fn drop(&mut self) {
        if let Some(flags) = self.restore {
            // nobody can be told, and nothing else depends on it
            let _ = rustix::fs::fcntl_setfl(self.fd.get_ref(), flags);
        }
    }
}

impl FdPair {
    /// Joins two descriptors to one two-way thing, or takes one alone.
    pub(crate) fn new(read: Option<OwnedFd>, write: Option<OwnedFd>) -> io::Result<Self> {
        let wait = |fd: Option<OwnedFd>, interest, flags| fd.map(|fd| Waited::new(fd, interest, flags)).transpose();
        Ok(Self {
            read: wait(read, Interest::READABLE, OFlags::RDONLY)?.map(Rc::new),
            write: wait(write, Interest::WRITABLE, OFlags::WRONLY)?.map(Rc::new),
            untried: false,
            lost: None,
        })
    }

    /// Closes both.
    pub(super) fn close(&mut self) {
        self.lost = None;
        self.read = None;
        self.write = None;
    }

    /// Tries the first read without waiting. A FIFO that is opened anew after its last writer has gone never says that it
    /// can be read, and yet reads as ended. Not for one that still waits for its first writer, which reads as ended too.
    fn read_at_once(mut self) -> Self {
        self.untried = true;
        self
    }
}

impl Waited {
    fn new(fd: OwnedFd, interest: Interest, mode: OFlags) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        let (fd, restore) = if flags.contains(OFlags::NONBLOCK) {
            (fd, None)
        } else if let Some(own) = reopened(&fd, mode) {
            (own, None)
        } else {
            rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
            (fd, Some(flags))
        };
        #[expect(
            deprecated,
            reason = "the successor is unsafe for handles that may change their descriptor; a File that we own does not"
        )]
        let fd = AsyncFd::with_interest(File::from(fd), interest | Interest::ERROR)?;
        Ok(Self { fd, restore })
    }
}

/// The same file, opened for us alone. `None` where that cannot be done.
fn reopened(fd: &OwnedFd, mode: OFlags) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = mode | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::open(path, flags, rustix::fs::Mode::empty()).ok()
}

thread_local! {
    /// Where descriptors are read into; what was read is copied out, since a pipe gives 64 KiB at most.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn read_some(mut file: &File, max: usize) -> io::Result<Bytes> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(buffer::READ_MAX, 0);
        let room = &mut scratch[..max.min(buffer::READ_MAX)];
        let n = uninterrupted(|| file.read(room))?;
        Ok(Bytes::copy_from_slice(&room[..n]))
    })
}

impl Io for FdPair {
    fn poll_read(&mut self, room: Room, cx: &mut Context<'_>) -> Poll<io::Result<Piece>> {
        let max = room.max;
        let Some(waited) = &self.read else { return Poll::Ready(Ok(Piece::Heap(Bytes::new()))) };
        if std::mem::take(&mut self.untried) {
            match read_some(waited.fd.get_ref(), max) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.map(Piece::Heap)),
            }
        }
        loop {
            let mut guard = ready!(waited.fd.poll_read_ready(cx))?;
            if let Ok(result) = guard.try_io(|fd| read_some(fd.get_ref(), max)) {
                return Poll::Ready(result.map(Piece::Heap));
            }
        }
    }

    fn poll_write(&mut self, queue: &mut WriteQueue, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(waited) = &self.write else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        loop {
            let mut guard = ready!(waited.fd.poll_write_ready(cx))?;
            let written = guard.try_io(|fd| {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let filled = queue.slices(&mut slices);
                uninterrupted(|| fd.get_ref().write_vectored(&slices[..filled]))
            });
            match written {
                Ok(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(Ok(n)) => {
                    queue.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lost = None;
        self.write = None;
        Poll::Ready(Ok(()))
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        // a pipe that is read has no loss but its orderly end; one that is written has when nobody reads it any more
        let Some(waited) = &self.write else { return Poll::Pending };
        let lost = self.lost.get_or_insert_with(|| {
            let waited = waited.clone();
            async move {
                match waited.fd.ready(Interest::ERROR).await {
                    Ok(_) => rustix::io::Errno::PIPE.into(),
                    Err(error) => error,
                }
            }
            .boxed_local()
        });
        let error = ready!(lost.poll_unpin(cx));
        self.lost = None;
        Poll::Ready(error)
    }

    // a pipe has no reset: its reader sees an end in any case
    fn reset(&mut self) {
        self.lost = None;
        self.write = None;
    }
}

/// Makes a descriptor that somebody else opened into an [`Io`]: by what it is, a socket, something that can be waited on,
/// or a file.
pub(crate) fn adopt(fd: OwnedFd, read: bool, write: bool) -> io::Result<Box<dyn Io>> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
    match kind {
        FileType::Socket => return adopt_socket(fd),
        FileType::RegularFile => return file(fd, read, write),
        _ => {}
    }
    let twin = if read && write { Some(fd.try_clone()?) } else { None };
    let keep = fd.try_clone()?;
    let (to_read, to_write) = match (read, write) {
        (true, true) => (Some(fd), twin),
        (true, false) => (Some(fd), None),
        _ => (None, Some(fd)),
    };
    match FdPair::new(to_read, to_write) {
        Ok(pair) => Ok(Box::new(pair.read_at_once())),
        // epoll refuses devices that never wait, such as /dev/null
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => file(keep, read, write),
        Err(e) => Err(e),
    }
}

/// Each direction has its own place in the blocking pool; the position is shared, as the system has it.
fn file(fd: OwnedFd, read: bool, write: bool) -> io::Result<Box<dyn Io>> {
    let write_mode = FileMode::Write { sync: false };
    let io = |fd, mode| Box::new(FileIo::new(File::from(fd), mode));
    Ok(match (read, write) {
        (true, true) => {
            let twin = fd.try_clone()?;
            Box::new(Halves { read: io(fd, FileMode::Read), write: io(twin, write_mode) })
        }
        (true, false) => io(fd, FileMode::Read),
        _ => io(fd, write_mode),
    })
}

fn adopt_socket(fd: OwnedFd) -> io::Result<Box<dyn Io>> {
    let socket = socket2::SockRef::from(&fd);
    if socket.r#type()? != socket2::Type::STREAM {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket is no stream socket"));
    }
    let is_unix = socket.domain()? == socket2::Domain::UNIX;
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    let restore = if flags.contains(OFlags::NONBLOCK) { None } else { Some(flags) };
    if is_unix {
        let std = std::os::unix::net::UnixStream::from(fd);
        std.set_nonblocking(true)?;
        return Ok(Box::new(UnixIo::from(tokio::net::UnixStream::from_std(std)?).restoring(restore)));
    }
    let std = std::net::TcpStream::from(fd);
    std.set_nonblocking(true)?;
    Ok(Box::new(TcpIo::from(tokio::net::TcpStream::from_std(std)?).restoring(restore)))
}

/// True if both descriptors are the same socket, as `inetd` gives it to its children.
pub(crate) fn is_one_socket(a: &OwnedFd, b: &OwnedFd) -> io::Result<bool> {
    let (a, b) = (rustix::fs::fstat(a)?, rustix::fs::fstat(b)?);
    Ok(FileType::from_raw_mode(a.st_mode) == FileType::Socket && (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}
