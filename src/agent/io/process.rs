//! A child process: its standard input and output, and its exit status as the cleanness of its end.
//!
//! A program may stop reading before its input is over, as `head` does. What it still gives is not lost by that: the failure
//! to write counts only once its output is over.

use super::{FdPair, Io, Room};
use crate::agent::queue::{Piece, WriteQueue};
use std::future::Future;
use std::io;
use std::process::ExitStatus;
use std::task::{Context, Poll, ready};
use tokio::process::Child;

/// A child process that is read, written or both. Dropped, it is killed.
pub(crate) struct ChildIo {
    pipes: FdPair,
    child: Child,
    status: Option<ExitStatus>,
    /// Its output has ended and its status is known, or it has no output to us.
    output_over: bool,
}

impl ChildIo {
    /// Takes the standard streams of a child that was spawned with pipes and `kill_on_drop`.
    pub(crate) fn new(mut child: Child) -> io::Result<Self> {
        let stdout = child.stdout.take().map(|pipe| pipe.into_owned_fd()).transpose()?;
        let stdin = child.stdin.take().map(|pipe| pipe.into_owned_fd()).transpose()?;
        let output_over = stdout.is_none();
        Ok(Self { pipes: FdPair::new(stdout, stdin)?, child, status: None, output_over })
    }

    fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        if let Some(status) = self.status {
            return Poll::Ready(Ok(status));
        }
        // `wait` keeps no state of its own between polls: the child does
        let status = ready!(std::pin::pin!(self.child.wait()).poll(cx))?;
        self.status = Some(status);
        Poll::Ready(Ok(status))
    }
}

impl Io for ChildIo {
    fn poll_read(&mut self, room: Room, cx: &mut Context<'_>) -> Poll<io::Result<Piece>> {
        self.pipes.poll_read(room, cx)
    }

    fn poll_read_clean(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        // E1: a program that failed has not given complete data
        let clean = ready!(self.poll_exit(cx)).is_ok_and(|status| status.success());
        self.output_over = true;
        // a failure to write may have waited for this
        cx.waker().wake_by_ref();
        Poll::Ready(clean)
    }

    fn poll_write(&mut self, queue: &mut WriteQueue, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.pipes.poll_write(queue, cx) {
            Poll::Ready(Err(_)) if !self.output_over => Poll::Pending,
            polled => polled,
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.pipes.poll_end(cx))?;
        if !self.output_over {
            return Poll::Ready(Ok(()));
        }
        // E1: all that tells whether it took the data is how it exits
        match ready!(self.poll_exit(cx))? {
            status if status.success() => Poll::Ready(Ok(())),
            status => Poll::Ready(Err(io::Error::other(status.to_string()))),
        }
    }

    fn poll_break(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // a pipe has no reset, and a program that has read all may still be at work
        self.pipes.poll_break(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // whoever is still at work is let finish, without a reader
        self.pipes.close();
        self.poll_exit(cx).map(drop)
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match self.status {
            // it has done its work, and nothing that it was given is lost: a session that ends is no failure. What comes
            // for it later is refused when it is written.
            Some(status) if status.success() => Poll::Pending,
            _ if self.output_over => self.pipes.poll_lost(cx),
            _ => Poll::Pending,
        }
    }

    fn reset(&mut self) {
        self.pipes.reset();
        // it may have exited by itself
        let _ = self.child.start_kill();
    }
}
