//! `Halves`: one thing that is read and another that is written, as one two-way thing.

use super::Io;
use crate::agent::queue::WriteQueue;
use bytes::Bytes;
use std::io;
use std::task::{Context, Poll};

/// Two one-way things.
pub(crate) struct Halves {
    pub(crate) read: Box<dyn Io>,
    pub(crate) write: Box<dyn Io>,
}

impl Io for Halves {
    fn poll_read(&mut self, max: usize, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.read.poll_read(max, cx)
    }

    fn poll_read_clean(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.read.poll_read_clean(cx)
    }

    fn poll_write(&mut self, queue: &mut WriteQueue, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write.poll_write(queue, cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write.poll_end(cx)
    }

    fn poll_break(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.write.poll_break(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.write.poll_close(cx)
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match self.read.poll_lost(cx) {
            Poll::Pending => self.write.poll_lost(cx),
            lost => lost,
        }
    }

    fn reset(&mut self) {
        self.read.reset();
        self.write.reset();
    }

    fn forgive(&mut self) {
        self.read.forgive();
        self.write.forgive();
    }
}
