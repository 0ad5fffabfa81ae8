//! When a direction is called next, for which the last event does not say it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::drive::{Driven, Step};
use super::outcome::CloseReason;
use super::readiness::{state, unread};
use super::{ByteHandle, Interest};

/// The first pause before a handle is called again that waits for something the descriptor does not tell.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest such pause: 16 calls a second cost nothing, and a person does not notice the delay.
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// When to call a direction again for which no event can be waited for.
#[derive(Debug, Default)]
pub(super) struct Retry {
    pub(super) at: Option<Instant>,
    pause: Option<Duration>,
}

impl Retry {
    fn back_off(&mut self) {
        let pause = self.pause.map_or(FIRST_PAUSE, |last| (last * 2).min(LONGEST_PAUSE));
        *self = Self { at: Some(Instant::now() + pause), pause: Some(pause) };
    }
}

/// Why a direction's readiness is asked for.
///
/// | | ready | ready, but the other side has gone and nothing is unread | gone, not ready | neither |
/// |---|---|---|---|---|
/// | `Waits` | call | pause | pause | event |
/// | `Blocked` | pause | pause | pause | event |
/// | `Asked` | call | call | call | event |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settle {
    /// The handle answered [`Next::Wait`](super::Next::Wait).
    Waits,
    /// The handle answered `WouldBlock`.
    Blocked,
    /// The handle was resumed.
    Asked,
}

impl<H: ByteHandle> Driven<H> {
    /// Finds out when a direction is to be called next. See the table of questions in [`Settle`].
    pub(super) fn settle(&mut self, direction: Interest, why: Settle) -> Step<()> {
        if self.readiness.is_always() {
            match why {
                Settle::Blocked => {
                    self.set_ready(direction, false);
                    self.retry(direction).back_off();
                }
                Settle::Waits | Settle::Asked => *self.retry(direction) = Retry::default(),
            }
            return Step::On(());
        }
        let now = match self.with_fd(|fd| state(fd).map(|now| (now, unread(fd)))) {
            Step::On(Ok(answer)) => answer,
            Step::On(Err(error)) => {
                self.close_io(&CloseReason::Error(Arc::new(error)));
                return Step::Over;
            }
            Step::Over => return Step::Over,
        };
        let (now, left) = now;
        let ready = if direction.read { now.readable } else { now.writable };
        let closed = if direction.read { self.readiness.read_closed } else { self.readiness.write_closed };
        if closed && !now.closed() && why != Settle::Asked {
            // The other side has come back. tokio holds a closed state to be final, so it must be told anew.
            self.watch();
            return Step::On(());
        }
        let progress = !direction.read || left.is_some_and(|count| count > 0);
        let call_now = match why {
            Settle::Asked => ready || closed,
            Settle::Waits => ready && (!closed || progress),
            Settle::Blocked => false,
        };
        self.set_ready(direction, call_now);
        if call_now {
            *self.retry(direction) = Retry::default();
        } else if closed || ready {
            self.retry(direction).back_off();
        } else {
            *self.retry(direction) = Retry::default();
        }
        Step::On(())
    }

    pub(super) fn take_due_retries(&mut self) {
        for direction in [Interest::READ, Interest::WRITE] {
            if self.retry(direction).at.is_some_and(|at| at <= Instant::now()) {
                self.retry(direction).at = None;
                self.set_ready(direction, true);
            }
        }
    }

    pub(super) fn retry(&mut self, direction: Interest) -> &mut Retry {
        if direction.read { &mut self.read_retry } else { &mut self.write_retry }
    }

    pub(super) fn set_ready(&mut self, direction: Interest, ready: bool) {
        let rest = self.readiness.ready.without(direction);
        self.readiness.ready = if ready { rest | direction } else { rest };
    }
}
