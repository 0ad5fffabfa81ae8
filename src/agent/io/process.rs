//! A child process: its standard input and output, and its exit status as the cleanness of its end.

use super::{FdPair, Io};
use crate::agent::queue::WriteQueue;
use bytes::Bytes;
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
    /// Its output is read, and tells its end.
    read: bool,
}

impl ChildIo {
    /// Takes the standard streams of a child that was spawned with pipes and `kill_on_drop`.
    pub(crate) fn new(mut child: Child) -> io::Result<Self> {
        let stdout = child.stdout.take().map(|pipe| pipe.into_owned_fd()).transpose()?;
        let read = stdout.is_some();
        let stdin = child.stdin.take().map(|pipe| pipe.into_owned_fd()).transpose()?;
        Ok(Self { pipes: FdPair::new(stdout, stdin)?, child, status: None, read })
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
    fn poll_read(&mut self, max: usize, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.pipes.poll_read(max, cx)
    }

    fn poll_read_clean(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        // E1: a program that failed has not given complete data
        self.poll_exit(cx).map(|status| status.is_ok_and(|status| status.success()))
    }

    fn poll_write(&mut self, queue: &mut WriteQueue, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipes.poll_write(queue, cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.pipes.poll_end(cx))?;
        if self.read {
            return Poll::Ready(Ok(()));
        }
        // E2: what a program was given is delivered when it has done its work; dropped before, it would be killed
        let status = ready!(self.poll_exit(cx))?;
        match status.success() {
            true => Poll::Ready(Ok(())),
            false => Poll::Ready(Err(io::Error::other(status.to_string()))),
        }
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.pipes.poll_lost(cx)
    }

    fn reset(&mut self) {
        self.pipes.reset();
        // it may have exited by itself
        let _ = self.child.start_kill();
    }
}
