//! `Io`: what the stream agents need of the operating system, and its forms: sockets, descriptors that can be waited on,
//! and files that cannot.
//!
//! Every form tries first and waits only if the system says so; a short read or write clears the readiness without another
//! call. `EINTR` is retried.

mod buffer;
mod fd;
mod file;
mod halves;
mod lift;
mod pipe;
mod process;
mod socket;

pub(crate) use fd::{FdPair, adopt, is_one_socket};
pub(crate) use file::{FileIo, FileMode};
pub(crate) use halves::Halves;
pub(crate) use pipe::{KernelPipe, is_usable as pipes_are_usable};
pub(crate) use process::ChildIo;
pub(crate) use socket::{TcpIo, UnixIo};

use super::queue::{Piece, WriteQueue};
use crate::component::Peer;
use std::io;
use std::task::{Context, Poll};

/// What may be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// At most so many bytes; at least 1.
    pub(crate) max: usize,
    /// Where they may lie.
    pub(crate) place: Place,
}

/// Where what was read may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the heap, so that anybody can look at it.
    Heap,
    /// On the heap or in a kernel pipe.
    HeapOrPipe,
}

/// One two-way thing of the operating system. A direction that it does not have is never called.
pub(crate) trait Io: 'static {
    /// What can be read. An empty piece at an orderly end.
    fn poll_read(&mut self, room: Room, cx: &mut Context<'_>) -> Poll<io::Result<Piece>>;

    /// Our own end, where it has a name.
    fn local(&self) -> Option<Peer> {
        None
    }

    /// True if pieces that lie in a pipe can be written.
    fn takes_lying(&self) -> bool {
        false
    }

    /// The last read waits until what lies in the pipe was written.
    fn waits_for_room(&self) -> bool {
        false
    }

    /// What was read lies in something of its own: a pipe.
    fn lends(&self) -> bool {
        false
    }

    /// What is read from now on goes another way than what was read before.
    fn parted(&mut self) {}

    /// The next read begins so many bytes before where the last one ended. Only for what can: regular files.
    fn rewind(&mut self, by: u64) {
        let _ = by;
    }

    /// Called once [`poll_read`](Self::poll_read) has given the end: whether it was a clean one.
    fn poll_read_clean(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let _ = cx;
        Poll::Ready(true)
    }

    /// Writes from the front of the queue and takes off what was written. Ready when something was.
    fn poll_write(&mut self, queue: &mut WriteQueue, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the direction towards the other side.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the direction towards the other side so that it can tell that this was no orderly end (rule E1), as far as this
    /// form can. First waits, within a bound, until the other side has what was written (rule E2).
    fn poll_break(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        self.reset();
        Poll::Ready(())
    }

    /// True if [`poll_break`](Self::poll_break) reaches the other side only when both directions are closed.
    fn breaks_both(&self) -> bool {
        false
    }

    /// Both directions are over as far as we are concerned. Waits, within a bound, where closing now would cost the other
    /// side what was written.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// The loss of the other side (an error or a hang-up), while nothing is read or the last read waits.
    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<io::Error>;

    /// The other side must not see an orderly end, as far as this form can tell it (rule E1), unless it has seen one
    /// already. What is dropped without an orderly end is reset as well.
    fn reset(&mut self);

    /// All was orderly, also a direction that was not ended because it was never used: closing need not reset it.
    fn forgive(&mut self) {}
}

/// A polled hang-up: armed while nothing can be read, and dropped before the next read.
pub(super) type Lost = Option<futures_util::future::LocalBoxFuture<'static, io::Error>>;

/// Runs a system call again while it is interrupted.
pub(super) fn uninterrupted<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
