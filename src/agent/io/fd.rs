//! Descriptors that can be waited on: pipes, FIFOs, terminals. One for reading, one for writing, or either alone.
//!
//! `O_NONBLOCK` belongs to the open file, not to the descriptor, so setting it on a terminal or a pipe that was inherited
//! changes it for the shell too. Where the system lets us (`/proc/self/fd`), the file is opened anew; otherwise the flag is
//! set, all others are kept, and it is taken back at the end.

use super::file::{FileIo, FileMode};
use super::socket::{TcpIo, UnixIo};
use super::{Io, Lost, buffer, uninterrupted};
use crate::agent::queue::{SLICES, WriteQueue};
use bytes::Bytes;
use futures_util::FutureExt;
use rustix::fs::{FileType, OFlags};
use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor to read, one to write, or both.
pub(crate) struct FdPair {
    read: Option<Rc<Waited>>,
    write: Option<Rc<Waited>>,
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
            lost: None,
        })
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

impl Io for FdPair {
    fn poll_read(&mut self, max: usize, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.lost = None;
        let Some(waited) = &self.read else { return Poll::Ready(Ok(Bytes::new())) };
        loop {
            let mut guard = ready!(waited.fd.poll_read_ready(cx))?;
            let read = guard.try_io(|fd| {
                SCRATCH.with_borrow_mut(|scratch| {
                    scratch.resize(buffer::READ_MAX, 0);
                    let room = &mut scratch[..max.min(buffer::READ_MAX)];
                    let n = uninterrupted(|| fd.get_ref().read(room))?;
                    Ok(Bytes::copy_from_slice(&room[..n]))
                })
            });
            if let Ok(result) = read {
                return Poll::Ready(result);
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
                    Ok(_) => io::ErrorKind::BrokenPipe.into(),
                    Err(error) => error,
                }
            }
            .boxed_local()
        });
        lost.poll_unpin(cx)
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
    if kind == FileType::Socket {
        return adopt_socket(fd);
    }
    if kind != FileType::RegularFile {
        let twin = if read && write { Some(fd.try_clone()?) } else { None };
        let keep = fd.try_clone()?;
        let (to_read, to_write) = match (read, write) {
            (true, true) => (Some(fd), twin),
            (true, false) => (Some(fd), None),
            _ => (None, Some(fd)),
        };
        match FdPair::new(to_read, to_write) {
            Ok(pair) => return Ok(Box::new(pair)),
            // epoll refuses devices that never wait, such as /dev/null
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Ok(file(keep, write)),
            Err(e) => return Err(e),
        }
    }
    Ok(file(fd, write))
}

fn file(fd: OwnedFd, write: bool) -> Box<dyn Io> {
    Box::new(FileIo::new(File::from(fd), if write { FileMode::Write { sync: false } } else { FileMode::Read }))
}

fn adopt_socket(fd: OwnedFd) -> io::Result<Box<dyn Io>> {
    let is_unix = socket2::SockRef::from(&fd.as_fd()).domain()? == socket2::Domain::UNIX;
    if is_unix {
        let std = std::os::unix::net::UnixStream::from(fd);
        std.set_nonblocking(true)?;
        return Ok(Box::new(UnixIo::from(tokio::net::UnixStream::from_std(std)?)));
    }
    let std = std::net::TcpStream::from(fd);
    std.set_nonblocking(true)?;
    Ok(Box::new(TcpIo::from(tokio::net::TcpStream::from_std(std)?)))
}
