//! The low level: a custom descriptor as a [`ByteHandle`], and the actor that waits for readiness and calls it.
//!
//! Most I/O is better written as a component under credit. This level is for a descriptor that no agent knows: an event
//! device, a descriptor that another library handed out. There is no credit here; the handle itself says what it wants.
//!
//! ```text
//!                    +------------------ HandleDriver (actor) ------------------+
//!   Resume --------->|  ready and wanted?   do_read / do_write -> Next          |
//!   CloseHandle ---->|  error, hang-up?     close_input / close_output / close_io|---> Completion -> Outcome
//!                    +----------------------------------------------------------+
//! ```
//!
//! # What a handle can count on
//!
//! - **Level-triggered.** [`Next::Wait`] and `WouldBlock` mean "call me when the descriptor is ready". If it still is, the
//!   call comes soon; nothing hangs because an event was reported only once. A handle that answers `WouldBlock` while the
//!   descriptor is ready waits for something else: it is tried again after 1 ms, then 2 ms, up to 64 ms.
//! - **Each direction is told its end at most once**, by its own hook or by [`ByteHandle::close_io`], and no hook is called
//!   for a direction after that. When no direction is open the driver ends, drops the handle and fulfils the [`Completion`].
//! - **The driver watches a duplicate of the descriptor, and gives it up before the last close hook.** So a hook may close
//!   the descriptor, the other side sees that at once, and a number that the system gives out again is never mistaken for
//!   the old one. A handle that closes its descriptor earlier than that is seen to have closed it when it answers
//!   [`Next::Done`].
//! - **A panic in a hook ends this driver and nothing else**: `close_io` is called if anything is open, and the panic is
//!   the reason in the [`Outcome`].
//!
//! # Which hook hears of what
//!
//! | cause | hook | reason |
//! |---|---|---|
//! | [`Next::Done`] | that direction's | [`CloseReason::Finished`] |
//! | `do_read` fails | `close_input` | [`CloseReason::Error`] |
//! | `do_write` fails | `close_output` | [`CloseReason::Error`] |
//! | either fails because the connection is lost (reset, timed out, ..) | `close_io` | [`CloseReason::Error`] |
//! | the descriptor reports an error, also while nothing is wanted | `close_io`, or `close_output` of a pipe that nobody reads | [`CloseReason::Error`] |
//! | hang-up, input not wanted and nothing left to read | `close_input` | [`CloseReason::HangUp`] |
//! | hang-up, output not wanted | `close_output` | [`CloseReason::HangUp`] |
//! | registration fails | `close_io` | [`CloseReason::Register`] |
//! | [`CloseHandle`] | `close_io` | [`CloseReason::Requested`] |
//! | actor, arbiter or system stops | `close_io` | [`CloseReason::Stopped`] |
//!
//! If a hang-up ends both directions at one time, `close_io` hears of it. A hang-up with something left to read leaves the
//! input open: an orderly end is part of the order of the data, and is seen by the read after the last byte. An error is
//! not: it overtakes what has not been read. The error of a datagram socket is about one datagram, so it closes nothing: the
//! directions that are wanted are called, and one of them is told.
//!
//! # What a handle owes
//!
//! - Its descriptor is in non-blocking mode ([`set_nonblocking`] helps), or each call does no more than one read or write
//!   and never answers [`Next::Again`]. The driver does not change the mode: it is shared with every process that
//!   holds the same open file, such as the shell of a terminal.
//! - [`ByteHandle::raw_fd`] gives the same descriptor as long as a direction is open.
//! - A socket that is to connect has begun to: one that has not reports a hang-up.
//!
//! # Example
//!
//! A handle that reads a pipe to its end:
//!
//! ```
//! use std::io::{self, Read};
//! use std::os::fd::{AsFd, BorrowedFd};
//! use std::sync::mpsc;
//! use versile_io::agent::handle::{ByteHandle, HandleContext, HandleDriver, Interest, Next};
//!
//! struct Reader(std::io::PipeReader, mpsc::Sender<Vec<u8>>);
//!
//! impl ByteHandle for Reader {
//!     fn raw_fd(&self) -> BorrowedFd<'_> {
//!         self.0.as_fd()
//!     }
//!     fn directions(&self) -> Interest {
//!         Interest::READ
//!     }
//!     fn do_read(&mut self, _: &mut HandleContext<'_>) -> io::Result<Next> {
//!         let mut buffer = [0; 512];
//!         let count = self.0.read(&mut buffer)?;
//!         let _ = self.1.send(buffer[..count].to_vec());
//!         Ok(if count == 0 { Next::Done } else { Next::Wait })
//!     }
//! }
//!
//! let (tell, told) = mpsc::channel();
//! let outcome = actix::System::new().block_on(async {
//!     let (reader, writer) = io::pipe()?;
//!     let (_addr, completion) = HandleDriver::start(Reader(reader, tell));
//!     io::Write::write_all(&mut &writer, b"hello")?;
//!     drop(writer);
//!     Ok::<_, io::Error>(completion.await)
//! })?;
//! assert!(outcome.is_clean());
//! assert_eq!(told.iter().flatten().collect::<Vec<_>>(), b"hello");
//! # Ok::<(), io::Error>(())
//! ```

mod drive;
mod driver;
mod outcome;
mod readiness;
mod resume;
mod settle;

use std::fmt;
use std::io;
use std::ops::BitOr;
use std::os::fd::BorrowedFd;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

pub use drive::TURN_CALLS;
pub use driver::{CloseHandle, Completion, HandleDriver, Resume};
pub use outcome::{CloseReason, Hook, Outcome};
pub use resume::Resumer;

/// A descriptor with hooks that a [`HandleDriver`] calls.
///
/// A handle that only reads or only writes says so in [`directions`](Self::directions) and implements its half. Hooks run
/// on the arbiter of the driver: they must not block. They are called one at a time. Whatever a hook closes or not, the
/// handle is dropped when the driver ends; one that owns its descriptor needs no close hook.
pub trait ByteHandle: Unpin + 'static {
    /// The descriptor. The same one as long as a direction is open; a change ends the handle with
    /// [`io::ErrorKind::InvalidInput`].
    fn raw_fd(&self) -> BorrowedFd<'_>;

    /// Which directions the handle has. Asked once, at the start; with none the driver ends at once.
    fn directions(&self) -> Interest;

    /// Which directions are wanted now. Asked after every hook and every [`Resume`]; a change that neither goes with must
    /// be followed by [`Resumer::resume`]. A direction that is not wanted is not called but stays open.
    fn interest(&self) -> Interest {
        self.directions()
    }

    /// There is something to read, or the end of it.
    ///
    /// # Errors
    ///
    /// `WouldBlock` waits, `Interrupted` is tried again, any other error closes: see the table of the module. The default
    /// fails as [`io::ErrorKind::Unsupported`].
    fn do_read(&mut self, cx: &mut HandleContext<'_>) -> io::Result<Next> {
        let _ = cx;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// There is room to write, or an error to be told.
    ///
    /// # Errors
    ///
    /// As for [`do_read`](Self::do_read).
    fn do_write(&mut self, cx: &mut HandleContext<'_>) -> io::Result<Next> {
        let _ = cx;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The input is over. The default does nothing.
    fn close_input(&mut self, reason: &CloseReason) {
        let _ = reason;
    }

    /// The output is over. The default does nothing; a two-way socket may want to shut its writing side here.
    fn close_output(&mut self, reason: &CloseReason) {
        let _ = reason;
    }

    /// All that was still open is over; `open` says which directions that were. The default calls the hook of each.
    fn close_io(&mut self, reason: &CloseReason, open: Interest) {
        if open.read {
            self.close_input(reason);
        }
        if open.write {
            self.close_output(reason);
        }
    }
}

/// A set of directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interest {
    /// The input.
    pub read: bool,
    /// The output.
    pub write: bool,
}

impl Interest {
    /// Neither direction.
    pub const NONE: Self = Self { read: false, write: false };
    /// The input alone.
    pub const READ: Self = Self { read: true, write: false };
    /// The output alone.
    pub const WRITE: Self = Self { read: false, write: true };
    /// Both directions.
    pub const BOTH: Self = Self { read: true, write: true };

    /// Whether neither direction is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        !self.read && !self.write
    }

    /// The directions that are in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { read: self.read && other.read, write: self.write && other.write }
    }

    /// The directions of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self { read: self.read && !other.read, write: self.write && !other.write }
    }
}

impl BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self { read: self.read || other.read, write: self.write || other.write }
    }
}

impl fmt::Display for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.read, self.write) {
            (false, false) => "none",
            (true, false) => "input",
            (false, true) => "output",
            (true, true) => "input and output",
        })
    }
}

/// What the driver does with a direction after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Next {
    /// Call when the descriptor is ready in this direction; at once if it is now.
    Wait,
    /// Call again without looking at readiness. The driver lets others run after [`TURN_CALLS`] calls.
    Again,
    /// Do not call this direction until a [`Resume`] or a [`Resumer`] names it.
    Pause,
    /// This direction is over, in good order. Its close hook is called next.
    Done,
}

/// What a hook is told of the driver that calls it.
#[derive(Debug)]
pub struct HandleContext<'a> {
    resumer: &'a Resumer,
    hung_up: bool,
    calls_left: u32,
}

impl HandleContext<'_> {
    /// A way to resume this handle from anywhere, for a hook that answers [`Next::Pause`].
    #[must_use]
    pub fn resumer(&self) -> Resumer {
        self.resumer.clone()
    }

    /// Whether the other side is known to send no more. What it sent before may still have to be read.
    #[must_use]
    pub const fn is_hung_up(&self) -> bool {
        self.hung_up
    }

    /// How many more calls fit in this turn of the driver: less than [`TURN_CALLS`].
    #[must_use]
    pub const fn calls_left(&self) -> u32 {
        self.calls_left
    }
}

/// Turns the non-blocking mode of a descriptor on or off. The mode belongs to the open file: every process and every
/// duplicate that shares it is affected.
///
/// # Errors
///
/// What `fcntl` says.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(fd)?;
    flags.set(OFlags::NONBLOCK, on);
    Ok(fcntl_setfl(fd, flags)?)
}
