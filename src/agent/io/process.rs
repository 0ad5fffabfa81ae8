//! A child process: its standard input and output, and its exit status as the cleanness of its end.

use super::{FdPair, Io};
use crate::agent::queue::WriteQueue;
use bytes::Bytes;
use std::future::Future;
use std::io;
use std::process::ExitStatus;
use std::task::{Context, Poll};
use tokio::process::Child;

/// A child process that is read, written or both. Dropped, it is killed.
pub(crate) struct ChildIo {
    pipes: FdPair,
    child: Child,
    status: Option<ExitStatus>,
}

impl ChildIo {
    /// Takes the standard streams of a child that was spawned with pipes and `kill_on_drop`.
    pub(crate) fn new(mut child: Child) -> io::Result<Self> {
        let stdout = child.stdout.take().map(|pipe| pipe.into_owned_fd()).transpose()?;
        let stdin = child.stdin.take().map(|pipe| pipe.into_owned_fd()).transpose()?;
        Ok(Self { pipes: FdPair::new(stdout, stdin)?, child, status: None })
    }

    fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if let Some(status) = self.status {
            return Poll::Ready(status.success());
        }
        // `wait` keeps no state of its own between polls: the child does
        let polled = std::pin::pin!(self.child.wait()).poll(cx);
        polled.map(|status| match status {
            Ok(status) => {
                self.status = Some(status);
                status.success()
            }
            Err(_) => false,
        })
    }
}

impl Io for ChildIo {
    fn poll_read(&mut self, max: usize, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.pipes.poll_read(max, cx)
    }

    fn poll_read_clean(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        // E1: a program that failed has not given complete data
        self.poll_exit(cx)
    }

    fn poll_write(&mut self, queue: &mut WriteQueue, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipes.poll_write(queue, cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipes.poll_end(cx)
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
