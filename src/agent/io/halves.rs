//! `Halves`: one thing that is read and another that is written, as one two-way thing.

use super::{Io, Room};
use crate::agent::queue::{Piece, WriteQueue};
use std::io;
use std::task::{Context, Poll};

/// Two one-way things.
pub(crate) struct Halves {
    pub(crate) read: Box<dyn Io>,
    pub(crate) write: Box<dyn Io>,
}

impl Io for Halves {
    fn poll_read(&mut self, room: Room, cx: &mut Context<'_>) -> Poll<io::Result<Piece>> {
        self.read.poll_read(room, cx)
    }

    fn poll_read_clean(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.read.poll_read_clean(cx)
    }

    fn takes_lying(&self) -> bool {
        self.write.takes_lying()
    }

    fn waits_for_room(&self) -> bool {
        self.read.waits_for_room()
    }

    fn lends(&self) -> bool {
        self.read.lends()
    }

    fn parted(&mut self) {
        self.read.parted();
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
