//! `KernelPipe`: bytes on their way from one socket to another without leaving the kernel (`splice`).
//!
//! # Rules, each from a trap that was seen
//!
//! * `EAGAIN` of a read says "socket empty" or "pipe full". It is the socket if the pipe was empty *before* the call, since
//!   only the reader fills it. Otherwise readiness is kept, and the reader tries again when the writer has emptied the
//!   pipe, which its grant tells (rule C1: a grant always comes when nothing is held, and is a message to an outlet that says
//!   that it stands still).
//! * A pipe is full by slots, not by bytes: a segment of ten bytes takes a slot of 4,096. So credit is necessary and not
//!   sufficient, and small reads are copied.
//! * A length of 0 would read as an end: there is no call without credit.
//! * `splice` has no `MSG_NOSIGNAL`: a program that does not ignore `SIGPIPE` copies.
//! * A user has 64 MiB of pipes (`pipe-user-pages-soft`) before new ones are small: the size is read back, and one that is too
//!   small is not used.
//!
//! A pipe is taken when data comes and given back when it is empty and nobody holds it (rule M2). What lies in it counts as held
//! by the consumer (rule M1). One that is not empty when it is let go is closed.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a pipe should hold: 512 KiB. With 64 KiB a relay's CPU per byte doubled, with 1 MiB the pages left the cache (1,000
/// connections: 0.131 against 0.110 s/GB), and an unprivileged user gets 128 pipes of this size.
const WANTED: usize = 512 * 1024;

/// A pipe that holds less is not worth its calls.
const LEAST: usize = 64 * 1024;

/// So many empty pipes are kept per arbiter: 128 descriptors.
const KEPT: usize = 64;

/// After a pipe was refused, so many connections copy before one is asked for again.
const PAUSE: u32 = 256;

thread_local! {
    static FREE: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
    static REFUSED: Cell<u32> = const { Cell::new(0) };
}

/// A pipe with what has gone through it. The reader of a socket fills it, the writer of another empties it.
pub(crate) struct KernelPipe {
    /// `None` only while it is dropped.
    ends: Option<Ends>,
    filled: AtomicU64,
    drained: AtomicU64,
}

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
}

impl KernelPipe {
    /// A pipe, from the arbiter's or a new one. `None` where the system has none to give; the caller copies.
    pub(super) fn take() -> Option<Self> {
        let ends = match FREE.with_borrow_mut(Vec::pop) {
            Some(ends) => ends,
            None => {
                let refused = REFUSED.get();
                if refused > 0 {
                    REFUSED.set(refused - 1);
                    return None;
                }
                let made = sys::pipe().filter(|ends| ends.capacity >= LEAST);
                if made.is_none() {
                    REFUSED.set(PAUSE);
                }
                made?
            }
        };
        Some(Self { ends: Some(ends), filled: AtomicU64::new(0), drained: AtomicU64::new(0) })
    }

    /// True if nothing lies in it. Asked by the reader before it fills, what is true stays so until then.
    pub(super) fn is_empty(&self) -> bool {
        // what was drained was filled: read in this order the difference is never negative
        let drained = self.drained.load(Ordering::Acquire);
        self.filled.load(Ordering::Acquire) == drained
    }

    /// Moves up to `max` bytes (at least 1) from a socket into the pipe. 0 at the socket's end.
    pub(super) fn fill(&self, socket: &impl AsFd, max: usize) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Err(io::ErrorKind::Unsupported.into()) };
        let moved = sys::splice(socket, &ends.write, max.min(ends.capacity))?;
        self.filled.fetch_add(moved as u64, Ordering::Release);
        Ok(moved)
    }

    /// Moves up to `max` bytes, which lie in the pipe, to a socket.
    pub(super) fn drain(&self, socket: &impl AsFd, max: usize) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Err(io::ErrorKind::Unsupported.into()) };
        let moved = sys::splice(&ends.read, socket, max)?;
        self.drained.fetch_add(moved as u64, Ordering::Release);
        Ok(moved)
    }
}

impl Drop for KernelPipe {
    fn drop(&mut self) {
        if !self.is_empty() {
            return;
        }
        let Some(ends) = self.ends.take() else { return };
        // while the thread ends there is nowhere to keep it
        let _ = FREE.try_with(|free| {
            if let Ok(mut free) = free.try_borrow_mut()
                && free.len() < KEPT
            {
                free.push(ends);
            }
        });
    }
}

impl fmt::Debug for KernelPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KernelPipe")
            .field("filled", &self.filled)
            .field("drained", &self.drained)
            .finish_non_exhaustive()
    }
}

/// True if sockets of this process may be joined by pipes: on Linux, and if `SIGPIPE` is ignored, as in every Rust program that
/// does not change it. Asked once.
pub(crate) fn is_usable() -> bool {
    static USABLE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *USABLE.get_or_init(sys::ignores_sigpipe)
}

#[cfg(target_os = "linux")]
mod sys {
    use super::{Ends, WANTED};
    use crate::agent::io::uninterrupted;
    use rustix::pipe::{PipeFlags, SpliceFlags};
    use std::io;
    use std::os::fd::AsFd;

    pub(super) fn pipe() -> Option<Ends> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // beyond what a user may have this is refused, and the size stays what it was
        let _ = rustix::pipe::fcntl_setpipe_size(&write, WANTED);
        let capacity = rustix::pipe::fcntl_getpipe_size(&write).ok()?;
        Some(Ends { read, write, capacity })
    }

    pub(super) fn splice(from: &impl AsFd, to: &impl AsFd, max: usize) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        uninterrupted(|| Ok(rustix::pipe::splice(from, None, to, None, max, flags)?))
    }

    /// From the mask of ignored signals in `/proc/self/status` (proc(5)); `SIGPIPE` is 13, so bit 12.
    pub(super) fn ignores_sigpipe() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask >> 12 & 1 == 1)
    }
}

#[cfg(not(target_os = "linux"))]
mod sys {
    use super::Ends;
    use std::io;
    use std::os::fd::AsFd;

    pub(super) fn pipe() -> Option<Ends> {
        None
    }

    pub(super) fn splice(_: &impl AsFd, _: &impl AsFd, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn ignores_sigpipe() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn sockets() -> (UnixStream, UnixStream) {
        let (a, b) = UnixStream::pair().expect("a pair");
        b.set_nonblocking(true).expect("set");
        (a, b)
    }

    #[test]
    fn bytes_go_through_in_order_and_the_empty_pipe_is_kept() {
        let (mut from, socket) = sockets();
        let (mut to, out) = sockets();
        let pipe = KernelPipe::take().expect("a pipe");
        assert!(pipe.is_empty());
        assert_eq!(pipe.fill(&socket, 100).expect_err("nothing yet").kind(), io::ErrorKind::WouldBlock);
        from.write_all(b"abcdef").expect("written");
        assert_eq!(pipe.fill(&socket, 4).expect("moved"), 4);
        assert!(!pipe.is_empty());
        assert_eq!(pipe.drain(&out, 4).expect("moved"), 4);
        assert!(pipe.is_empty());
        let mut got = [0; 4];
        to.read_exact(&mut got).expect("read");
        assert_eq!(&got, b"abcd");
        let kept = FREE.with_borrow(Vec::len);
        drop(pipe);
        assert_eq!(FREE.with_borrow(Vec::len), kept + 1);
    }

    #[test]
    fn a_pipe_that_is_let_go_with_bytes_in_it_is_closed() {
        let (mut from, socket) = sockets();
        from.write_all(b"left").expect("written");
        let pipe = KernelPipe::take().expect("a pipe");
        assert_eq!(pipe.fill(&socket, 100).expect("moved"), 4);
        drop(pipe);
        assert_eq!(FREE.with_borrow(Vec::len), 0);
    }

    #[test]
    fn a_program_under_test_ignores_sigpipe() {
        assert!(is_usable());
    }
}
