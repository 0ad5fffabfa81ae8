//! Why the directions of a handle ended, and what its driver leaves behind.

use std::any::Any;
use std::fmt;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Why a direction of a handle was closed.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum CloseReason {
    /// The handle said that it was done.
    Finished,
    /// The other side is gone, and the direction was not wanted. For an input: nothing was left to read.
    HangUp,
    /// A read, a write or the descriptor failed.
    Error(Arc<io::Error>),
    /// The descriptor could not be registered for events, so that nothing would ever have come of it.
    Register(Arc<io::Error>),
    /// A hook panicked.
    Panicked {
        /// The hook.
        hook: Hook,
        /// What it said, if that was text.
        message: Arc<str>,
    },
    /// Somebody sent [`CloseHandle`](super::CloseHandle).
    Requested,
    /// The driver, its arbiter or its system stopped.
    Stopped,
}

impl CloseReason {
    /// The operating system's error, if there is one.
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        match self {
            Self::Error(error) | Self::Register(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::HangUp => f.write_str("the other side hung up"),
            Self::Error(error) => write!(f, "input or output failed: {error}"),
            Self::Register(error) => write!(f, "the descriptor cannot be watched: {error}"),
            Self::Panicked { hook, message } => write!(f, "hook {hook} panicked: {message}"),
            Self::Requested => f.write_str("closed on request"),
            Self::Stopped => f.write_str("the driver was stopped"),
        }
    }
}

/// A method of a handle.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// `raw_fd`, `directions` or `interest`.
    Query,
    /// `do_read`.
    Read,
    /// `do_write`.
    Write,
    /// `close_input`.
    CloseInput,
    /// `close_output`.
    CloseOutput,
    /// `close_io`.
    CloseIo,
    /// The handle's `Drop`.
    Drop,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Query => "raw_fd, directions or interest",
            Self::Read => "do_read",
            Self::Write => "do_write",
            Self::CloseInput => "close_input",
            Self::CloseOutput => "close_output",
            Self::CloseIo => "close_io",
            Self::Drop => "drop",
        })
    }
}

/// How a handle ended, by direction. The handle has been dropped when somebody sees this.
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Why the input ended; `None` if the handle had none.
    pub input: Option<CloseReason>,
    /// Why the output ended; `None` if the handle had none.
    pub output: Option<CloseReason>,
    /// The first panic of a hook, also of one that ran when everything was closed.
    pub panic: Option<CloseReason>,
    /// How often `do_read` was called.
    pub reads: u64,
    /// How often `do_write` was called.
    pub writes: u64,
}

impl Outcome {
    /// Whether the handle ended in good order: each direction finished (or, for the input, nothing was left to read after
    /// a hang-up) and no hook panicked.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        matches!(self.input, None | Some(CloseReason::Finished | CloseReason::HangUp))
            && matches!(self.output, None | Some(CloseReason::Finished))
            && self.panic.is_none()
    }
}

impl Outcome {
    /// Keeps the first panic, and gives this one as a reason.
    pub(super) fn note_panic(&mut self, hook: Hook, payload: Box<dyn Any + Send>) -> CloseReason {
        let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(text), _) => Arc::from(*text),
            (None, Some(text)) => Arc::from(text.as_str()),
            (None, None) => Arc::from("(no text)"),
        };
        // What was thrown may itself panic when it is dropped.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            mem::forget(second);
        }
        let reason = CloseReason::Panicked { hook, message };
        self.panic.get_or_insert_with(|| reason.clone());
        reason
    }
}
