//! The loop that drives a handle: looks at requests and readiness, makes one call, finds out what follows.
//!
//! One future owns the handle and its registration by value, so that however its actor goes (stop, panic elsewhere, end of
//! its arbiter), dropping the future closes the handle in the right order: forget the descriptor, call the hook, drop the
//! handle, tell the outcome.

use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd as _, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use super::outcome::{CloseReason, Hook, Outcome};
use super::readiness::{Fault, Readiness, fault, state, unread};
use super::resume::{CLOSE, RESUME_READ, RESUME_WRITE, Resumer};
use super::settle::{Retry, Settle};
use super::{ByteHandle, HandleContext, Interest, Next};

/// How many calls the driver makes before it lets the rest of its arbiter run. A call that moves 64 KiB takes some 10 us,
/// so a turn stays well below a millisecond. A descriptor that is always ready has a turn per call, since a call may wait
/// for a disk.
pub const TURN_CALLS: u32 = 16;

/// Whether the loop goes on with the step it is in, or starts over because something was closed.
pub(super) enum Step<T> {
    On(T),
    Over,
}

/// A handle and all that is known of it.
///
/// # Invariants
///
/// A direction is in `open` from the start until its close hook is about to be called. `readiness` is deregistered before
/// the hook that closes the last one.
#[derive(Debug)]
pub(super) struct Driven<H: ByteHandle> {
    /// Present until the end of `Drop`.
    handle: Option<H>,
    /// The descriptor that was registered, to notice a handle that changes it.
    number: RawFd,
    pub(super) readiness: Readiness,
    begun: bool,
    open: Interest,
    paused: Interest,
    pub(super) read_retry: Retry,
    pub(super) write_retry: Retry,
    /// The direction that was called last: with both ready they take turns.
    last: Interest,
    /// Calls in this turn.
    calls: u32,
    resumer: Resumer,
    outcome: Outcome,
    tell: Option<oneshot::Sender<Outcome>>,
}

impl<H: ByteHandle> Driven<H> {
    pub(super) fn new(handle: H, resumer: Resumer, tell: oneshot::Sender<Outcome>) -> Self {
        Self {
            handle: Some(handle),
            number: -1,
            readiness: Readiness::default(),
            begun: false,
            open: Interest::NONE,
            paused: Interest::NONE,
            read_retry: Retry::default(),
            write_retry: Retry::default(),
            last: Interest::NONE,
            calls: 0,
            resumer,
            outcome: Outcome::default(),
            tell: Some(tell),
        }
    }

    /// Drives until nothing is open. Dropping the future closes what is.
    pub(super) async fn run(mut self) {
        self.begin();
        self.register();
        while !self.open.is_empty() {
            match self.step() {
                Step::Over => {}
                Step::On(Turn::More) => {}
                Step::On(Turn::Yield) => self.yield_turn().await,
                Step::On(Turn::Wait(wanted)) => self.wait(wanted).await,
            }
        }
    }

    /// Asks for the directions; needed before anything can be closed.
    fn begin(&mut self) {
        if mem::replace(&mut self.begun, true) {
            return;
        }
        match self.guarded(Hook::Query, |handle| handle.directions()) {
            Ok(directions) => self.open = directions,
            Err(panic) => {
                self.open = Interest::BOTH;
                self.close_io(&panic);
            }
        }
    }

    fn register(&mut self) {
        if self.open.is_empty() {
            return;
        }
        match self.guarded(Hook::Query, |handle| handle.raw_fd().as_raw_fd()) {
            Ok(number) => self.number = number,
            Err(panic) => return self.close_io(&panic),
        }
        self.watch();
    }

    /// Registers the descriptor, or registers it anew.
    pub(super) fn watch(&mut self) {
        self.readiness.deregister();
        let watched = match self.with_fd(|fd| fd.try_clone_to_owned()) {
            Step::On(duplicate) => duplicate.and_then(Readiness::register),
            Step::Over => return,
        };
        match watched {
            Ok(readiness) => self.readiness = readiness,
            Err(error) => self.close_io(&CloseReason::Register(Arc::new(error))),
        }
    }

    /// Looks at requests, errors and hang-ups, then makes at most one call.
    fn step(&mut self) -> Step<Turn> {
        if let Step::Over = self.requests() {
            return Step::Over;
        }
        if mem::take(&mut self.readiness.error)
            && let Step::Over = self.look_into_error()
        {
            return Step::Over;
        }
        let wanted = match self.guarded(Hook::Query, |handle| handle.interest()) {
            Ok(interest) => interest.and(self.open).without(self.paused),
            Err(panic) => {
                self.close_io(&panic);
                return Step::Over;
            }
        };
        if self.readiness.hung_up()
            && let Step::Over = self.look_into_hang_up(wanted)
        {
            return Step::Over;
        }
        self.take_due_retries();
        let callable = wanted.and(self.readiness.ready);
        if callable.is_empty() {
            return Step::On(Turn::Wait(wanted));
        }
        if self.calls >= TURN_CALLS {
            return Step::On(Turn::Yield);
        }
        self.last = if callable == Interest::BOTH { Interest::BOTH.without(self.last) } else { callable };
        if self.last == Interest::BOTH {
            self.last = Interest::READ;
        }
        self.call(self.last);
        Step::On(if self.readiness.is_always() { Turn::Yield } else { Turn::More })
    }

    fn requests(&mut self) -> Step<()> {
        let bits = self.resumer.take();
        if bits & CLOSE != 0 {
            self.close_io(&CloseReason::Requested);
            return Step::Over;
        }
        let resumed = Interest { read: bits & RESUME_READ != 0, write: bits & RESUME_WRITE != 0 }.and(self.open);
        let woken = resumed.and(self.paused);
        self.paused = self.paused.without(resumed);
        for direction in [Interest::READ, Interest::WRITE] {
            if !woken.and(direction).is_empty()
                && let Step::Over = self.settle(direction, Settle::Asked)
            {
                return Step::Over;
            }
        }
        Step::On(())
    }

    fn look_into_error(&mut self) -> Step<()> {
        match self.with_fd(fault) {
            Step::Over => return Step::Over,
            Step::On(Fault::None) => return Step::On(()),
            Step::On(Fault::Datagram) => {
                self.readiness.ready = Interest::BOTH;
                return Step::On(());
            }
            Step::On(Fault::Descriptor(error)) => self.close_io(&CloseReason::Error(Arc::new(error))),
            Step::On(Fault::Pipe) => {
                let reason = CloseReason::Error(Arc::new(io::ErrorKind::BrokenPipe.into()));
                // Without an output it is no pipe that lost its readers, but something unknown that failed.
                if self.open == Interest::WRITE {
                    self.close_one(Interest::WRITE, &reason)
                } else {
                    self.close_io(&reason)
                }
            }
        }
        Step::Over
    }

    /// Ends the directions that nobody will call and that have come to their end.
    fn look_into_hang_up(&mut self, wanted: Interest) -> Step<()> {
        let unwanted = self.open.without(wanted);
        if unwanted.is_empty() {
            return Step::On(());
        }
        // The events may have come one by one and be out of date: a named pipe gets new writers.
        let answer = self.with_fd(|fd| (state(fd).is_ok_and(|now| now.hung_up), unread(fd)));
        let (gone, left) = match answer {
            Step::On(answer) => answer,
            Step::Over => return Step::Over,
        };
        if !gone {
            return Step::On(());
        }
        let ended = Interest { read: unwanted.read && left == Some(0), write: unwanted.write };
        match ended {
            Interest::NONE => return Step::On(()),
            Interest::BOTH => self.close_io(&CloseReason::HangUp),
            one => self.close_one(one, &CloseReason::HangUp),
        }
        Step::Over
    }

    fn call(&mut self, direction: Interest) {
        self.calls += 1;
        let mut cx = HandleContext {
            resumer: &self.resumer.clone(),
            hung_up: self.readiness.read_closed,
            calls_left: TURN_CALLS.saturating_sub(self.calls),
        };
        let answer = if direction.read {
            self.outcome.reads += 1;
            self.guarded(Hook::Read, |handle| handle.do_read(&mut cx))
        } else {
            self.outcome.writes += 1;
            self.guarded(Hook::Write, |handle| handle.do_write(&mut cx))
        };
        match answer {
            Err(panic) => self.close_io(&panic),
            Ok(Ok(Next::Again)) => *self.retry(direction) = Retry::default(),
            Ok(Ok(Next::Wait)) => drop(self.settle(direction, Settle::Waits)),
            Ok(Ok(Next::Pause)) => self.paused = self.paused | direction,
            Ok(Ok(Next::Done)) => self.close_one(direction, &CloseReason::Finished),
            Ok(Err(error)) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => drop(self.settle(direction, Settle::Blocked)),
                _ if is_loss(&error) => self.close_io(&CloseReason::Error(Arc::new(error))),
                _ => self.close_one(direction, &CloseReason::Error(Arc::new(error))),
            },
        }
    }

    async fn yield_turn(&mut self) {
        tokio::task::yield_now().await;
        self.calls = 0;
        if let Some(Err(_)) = self.readiness.event().now_or_never() {
            self.close_io(&CloseReason::Stopped);
        }
    }

    /// Waits for an event, a request or the time of a retry.
    async fn wait(&mut self, wanted: Interest) {
        self.calls = 0;
        let retries = [(wanted.read, self.read_retry.at), (wanted.write, self.write_retry.at)];
        let retry = retries.into_iter().filter_map(|(wanted, at)| at.filter(|_| wanted)).min();
        let failed = {
            let mut event = pin!(self.readiness.event());
            let mut request = pin!(self.resumer.asked());
            let mut retry = pin!(async {
                match retry {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            });
            poll_fn(|cx| match event.as_mut().poll(cx) {
                Poll::Ready(event) => Poll::Ready(event.is_err()),
                Poll::Pending if request.as_mut().poll(cx).is_ready() => Poll::Ready(false),
                Poll::Pending => retry.as_mut().poll(cx).map(|()| false),
            })
            .await
        };
        if failed {
            // Only if the runtime is going down.
            self.close_io(&CloseReason::Stopped);
        }
    }

    /// Closes one direction through its own hook.
    fn close_one(&mut self, direction: Interest, reason: &CloseReason) {
        let closing = direction.and(self.open);
        if closing.is_empty() {
            return;
        }
        self.mark_closed(closing, reason);
        let told = if closing.read {
            self.guarded(Hook::CloseInput, |handle| handle.close_input(reason))
        } else {
            self.guarded(Hook::CloseOutput, |handle| handle.close_output(reason))
        };
        if let Err(panic) = told {
            self.close_io(&panic);
        }
    }

    /// Closes all that is open through `close_io`.
    pub(super) fn close_io(&mut self, reason: &CloseReason) {
        let closing = self.open;
        if closing.is_empty() {
            return;
        }
        self.mark_closed(closing, reason);
        // A panic here is in the outcome; there is nothing left to close.
        drop(self.guarded(Hook::CloseIo, |handle| handle.close_io(reason, closing)));
    }

    fn mark_closed(&mut self, closing: Interest, reason: &CloseReason) {
        self.open = self.open.without(closing);
        if closing.read {
            self.outcome.input = Some(reason.clone());
        }
        if closing.write {
            self.outcome.output = Some(reason.clone());
        }
        if self.open.is_empty() {
            self.readiness.deregister();
        }
    }

    /// Asks something about the descriptor. Starts over if the handle panics or shows another descriptor than before.
    pub(super) fn with_fd<T>(&mut self, question: impl FnOnce(std::os::fd::BorrowedFd<'_>) -> T) -> Step<T> {
        let number = self.number;
        let answer = self.guarded(Hook::Query, |handle| {
            let fd = handle.raw_fd();
            (fd.as_raw_fd() == number).then(|| question(fd))
        });
        match answer {
            Ok(Some(answer)) => return Step::On(answer),
            Ok(None) => {
                let error = io::Error::new(io::ErrorKind::InvalidInput, "the handle has changed its descriptor");
                self.close_io(&CloseReason::Error(Arc::new(error)));
            }
            Err(panic) => self.close_io(&panic),
        }
        Step::Over
    }

    /// Calls into the handle; a panic becomes a reason.
    fn guarded<T>(&mut self, hook: Hook, call: impl FnOnce(&mut H) -> T) -> Result<T, CloseReason> {
        let Some(handle) = &mut self.handle else {
            return Err(CloseReason::Stopped);
        };
        catch_unwind(AssertUnwindSafe(|| call(handle))).map_err(|payload| self.outcome.note_panic(hook, payload))
    }
}

impl<H: ByteHandle> Drop for Driven<H> {
    fn drop(&mut self) {
        self.begin();
        self.close_io(&CloseReason::Stopped);
        let handle = self.handle.take();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(handle))) {
            self.outcome.note_panic(Hook::Drop, payload);
        }
        tracing::debug!(fd = self.number, outcome = ?self.outcome, "handle closed");
        if let Some(tell) = self.tell.take() {
            // Nobody has to wait for the outcome.
            drop(tell.send(mem::take(&mut self.outcome)));
        }
    }
}

/// What follows a step.
enum Turn {
    More,
    Yield,
    Wait(Interest),
}

/// Errors after which neither direction of a connection works.
fn is_loss(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::ConnectionRefused
            | Kind::NotConnected
            | Kind::TimedOut
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
    ) || error.raw_os_error() == Some(rustix::io::Errno::BADF.raw_os_error())
}
