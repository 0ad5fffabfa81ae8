//! `Lift`: whether a socket's next read goes to the heap or into a pipe.
//!
//! ```text
//!   copying ──a large read──▶ lifting ──a small one──▶ copying        small reads cost more through a pipe (14 % per echo)
//!                               │ ▲
//!               a short one, or │ │ the pipe is empty
//!               the pipe full   ▼ │
//!                             waiting
//! ```
//!
//! After a short read nothing more is tried while the pipe holds anything: the socket is most likely empty, and the next
//! call would find the same.

use super::KernelPipe;
use std::sync::Arc;

/// A read of this size shows that data comes faster than it is taken: half of the largest read to the heap.
const LARGE: usize = super::buffer::READ_MAX / 2;

/// A read into a pipe that gives no more than this was not worth its two calls more.
const SMALL: usize = 16 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lift {
    mode: Mode,
    /// Held from when data comes until it is empty and nothing comes.
    pipe: Option<Arc<KernelPipe>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Copying,
    Lifting,
    Waiting,
    /// The kernel does not do it for this socket.
    Never,
}

impl Lift {
    /// True if the next read should go into a pipe.
    pub(super) fn is_due(&self) -> bool {
        matches!(self.mode, Mode::Lifting | Mode::Waiting)
    }

    /// The pipe to read into; `None` if none is to be had: the read is copied, and so are those to come.
    pub(super) fn pipe(&mut self) -> Option<Arc<KernelPipe>> {
        if self.pipe.is_none() {
            self.pipe = KernelPipe::take().map(Arc::new);
        }
        if self.pipe.is_none() {
            self.mode = Mode::Copying;
        }
        self.pipe.clone()
    }

    /// True if the pipe is to be emptied before another try.
    pub(super) fn waits(&mut self) -> bool {
        if self.mode == Mode::Waiting && self.pipe.as_ref().is_none_or(|pipe| pipe.is_empty()) {
            self.mode = Mode::Lifting;
        }
        self.mode == Mode::Waiting
    }

    /// True if the last try was put off until the pipe is empty.
    pub(super) fn is_waiting(&self) -> bool {
        self.mode == Mode::Waiting
    }

    /// True while bytes lie in the pipe.
    pub(super) fn lends(&self) -> bool {
        self.pipe.as_ref().is_some_and(|pipe| !pipe.is_empty())
    }

    /// So much was read to the heap.
    pub(super) fn copied(&mut self, n: usize) {
        if n >= LARGE && self.mode == Mode::Copying {
            self.mode = Mode::Lifting;
        }
    }

    /// So much of `max` was read into the pipe.
    pub(super) fn lifted(&mut self, n: usize, max: usize) {
        self.mode = match n {
            _ if n >= max => Mode::Lifting,
            0..=SMALL => Mode::Copying,
            _ => Mode::Waiting,
        };
    }

    /// The pipe took nothing.
    pub(super) fn full(&mut self) {
        self.mode = Mode::Waiting;
    }

    /// The kernel refuses to splice this socket.
    pub(super) fn never(&mut self) {
        *self = Self { mode: Mode::Never, pipe: None };
    }

    /// Nothing can be read now: an empty pipe is given back.
    pub(super) fn rest(&mut self) {
        if self.pipe.as_ref().is_some_and(|pipe| pipe.is_empty()) {
            self.pipe = None;
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::agent::io::{Io, Place, Room, UnixIo};
    use crate::agent::queue::Piece;
    use std::future::poll_fn;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::task::Poll;
    use std::time::Duration;

    /// Each is a segment of its own in a Unix socket, and so takes a slot of a pipe.
    const SEGMENT: usize = 1024;
    /// As many as a pipe of the smallest size has slots.
    const SEGMENTS: usize = 16;

    /// The driver has seen all that the sockets have to tell so far: it looks whenever the runtime parks.
    async fn settle() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }

    async fn poll_once(io: &mut UnixIo, max: usize) -> Poll<std::io::Result<Piece>> {
        let room = Room { max, place: Place::HeapOrPipe };
        poll_fn(|cx| Poll::Ready(io.poll_read(room, cx))).await
    }

    #[tokio::test]
    async fn a_pipe_that_is_full_by_slots_keeps_the_readiness_of_the_socket() {
        let (mut far, near) = UnixStream::pair().expect("a pair");
        near.set_nonblocking(true).expect("set");
        let mut io = UnixIo::from(tokio::net::UnixStream::from_std(near).expect("in a runtime"));
        far.write_all(&[0; LARGE]).expect("written");
        settle().await;
        let first = poll_once(&mut io, LARGE).await;
        assert!(matches!(first, Poll::Ready(Ok(Piece::Heap(bytes))) if bytes.len() == LARGE));

        let mut lying = None;
        let mut rounds = 0;
        loop {
            for _ in 0..SEGMENTS {
                far.write_all(&[rounds; SEGMENT]).expect("written");
            }
            // the last edge is over before the read that finds the pipe full
            settle().await;
            match poll_once(&mut io, SEGMENTS * SEGMENT).await {
                Poll::Ready(Ok(Piece::Lying { pipe, quantity })) => {
                    assert_eq!(quantity, (SEGMENTS * SEGMENT) as u64, "in round {rounds}");
                    lying = Some(pipe);
                }
                Poll::Pending => break,
                other => panic!("{other:?} in round {rounds}"),
            }
            rounds += 1;
        }
        assert!(io.waits_for_room() && rounds > 0, "full after {rounds} rounds");

        let (mut taker, to) = UnixStream::pair().expect("a pair");
        let taken = std::thread::spawn(move || std::io::copy(&mut taker, &mut std::io::sink()).expect("read"));
        let pipe = lying.expect("something lies in it");
        while !pipe.is_empty() {
            pipe.drain(&to, usize::MAX >> 1).expect("moved");
        }
        drop(to);
        assert_eq!(taken.join().expect("no panic"), u64::from(rounds) * (SEGMENTS * SEGMENT) as u64);
        // nothing more is sent: only readiness that was kept leads to what waits in the socket
        let room = Room { max: SEGMENTS * SEGMENT, place: Place::HeapOrPipe };
        let rest = tokio::time::timeout(Duration::from_secs(5), poll_fn(|cx| io.poll_read(room, cx))).await;
        let rest = rest.expect("the socket holds more").expect("read");
        assert_eq!(rest.quantity(), (SEGMENTS * SEGMENT) as u64);
    }
}
