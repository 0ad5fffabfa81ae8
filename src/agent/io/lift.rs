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
