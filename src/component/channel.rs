//! `ByteChannel`: a two-way end of a chain for code that is no actor: tests, plain threads, tasks.
//!
//! ```text
//!                 ┌─▶ [bounded buffer] ─▶ outlet ─▶ chain
//!   send / end ───┘
//!   recv ◀────────── [bounded buffer] ◀─ inlet ◀─ chain      credit follows what `recv` has taken
//! ```
//!
//! Every handle may be used from any thread. The `async` methods suit any runtime; those that take a [`Duration`] need a
//! tokio runtime with time. The `blocking_` methods are for plain threads, never for an arbiter: an arbiter that blocks on
//! its own chain stands still for ever.
//!
//! * End of data: [`end`](ByteChannel::end) ends our sending once; what was sent goes first, and needs no further credit
//!   for the end itself. [`recv`](ByteChannel::recv) gives `None` when the other side has ended clean, and
//!   [`RecvError::Incomplete`] when it has not.
//! * Abort: what was not sent is dropped; what was received can still be read, and then reads fail with the cause.
//! * Dropped: with its last handle our sending ends unclean, unless it had ended; what was sent still goes. When the
//!   consumer has finished with it, a producer that has not ended is aborted: nobody reads it any more.
//! * When not to use it: inside an actor, which has ports of its own.

use super::PairRef;
use super::feed::{Feed, Refused, unless};
use super::identity::ComponentInfo;
use super::port::AnyPort;
use super::stock::{Done, Duplex, Outcome, PartResult, Pull};
use crate::component::Outlet;
use crate::proto::link::{Cause, Count, Credit, Payload, Reason, Window};
use bytes::Bytes;
use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::Sleep;

/// Sends bytes into a chain and receives bytes from it. Clones share both directions.
#[derive(Clone, Debug)]
pub struct ByteChannel {
    handle: Arc<Handle>,
}

/// Bytes were not sent. They are handed back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The buffer is full, or an earlier send waits for room. From [`ByteChannel::try_send`] only.
    #[error("the channel's buffer is full")]
    Full(Bytes),
    /// Our sending was ended.
    #[error("the channel was ended")]
    Ended(Bytes),
    /// There was no room in time.
    #[error("the channel had no room in time")]
    TimedOut(Bytes),
    /// The chain was aborted, or its actor is gone.
    #[error("the chain was aborted: {cause}")]
    Aborted {
        /// Why.
        cause: Arc<Cause>,
        /// What was not sent.
        data: Bytes,
    },
}

impl SendError {
    /// The bytes that were not sent.
    pub fn into_inner(self) -> Bytes {
        match self {
            Self::Full(data) | Self::Ended(data) | Self::TimedOut(data) | Self::Aborted { data, .. } => data,
        }
    }
}

impl From<Refused> for SendError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full(data) => Self::Full(data),
            Refused::Ended(data) => Self::Ended(data),
            Refused::TimedOut(data) => Self::TimedOut(data),
            Refused::Aborted(cause, data) => Self::Aborted { cause, data },
        }
    }
}

/// Nothing was received.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RecvError {
    /// Nothing has come yet. From [`ByteChannel::try_recv`] only.
    #[error("nothing has come yet")]
    Empty,
    /// Nothing came in time.
    #[error("nothing came in time")]
    TimedOut,
    /// The other side ended, and its data may not be complete.
    #[error("the data ended before it was complete")]
    Incomplete,
    /// The chain was aborted, or its actor is gone.
    #[error("the chain was aborted: {0}")]
    Aborted(Arc<Cause>),
}

impl ByteChannel {
    /// A channel named `name` that buffers up to `capacity` bytes (at least 1) in each direction, its ports, and its end.
    /// Starts an actor on the current arbiter.
    pub fn start(name: impl Into<Arc<str>>, capacity: usize) -> (Self, PairRef<Bytes>, Done<ChannelPart>) {
        let shared = Arc::new(Shared {
            feed: Feed::new(name.into(), capacity),
            intake: Mutex::default(),
            arrived: Notify::new(),
        });
        let (pair, done) = ChannelPart { shared: shared.clone(), look_again: None }.start();
        (Self { handle: Arc::new(Handle(shared)) }, pair, done)
    }

    // ---- sending

    /// Sends all of `data`, waiting for room as needed. Calls that wait are served in the order in which they came.
    ///
    /// A piece larger than the buffer is taken when the buffer is empty, so that nothing is split or refused.
    ///
    /// Cancel safe: dropped before it resolves, nothing of `data` was sent.
    ///
    /// # Errors
    ///
    /// [`SendError::Ended`] and [`SendError::Aborted`].
    pub async fn send(&self, data: impl Into<Bytes>) -> Result<(), SendError> {
        self.send_by(data.into(), pending()).await
    }

    /// The same, for at most `within`.
    ///
    /// # Errors
    ///
    /// [`SendError::TimedOut`] as well; nothing of `data` was sent.
    pub async fn send_timeout(&self, data: impl Into<Bytes>, within: Duration) -> Result<(), SendError> {
        self.send_by(data.into(), tokio::time::sleep(within)).await
    }

    /// Sends all of `data` now, or nothing of it.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`], [`SendError::Ended`] and [`SendError::Aborted`].
    pub fn try_send(&self, data: impl Into<Bytes>) -> Result<(), SendError> {
        self.shared().feed.try_put(data.into()).map(drop).map_err(SendError::from)
    }

    /// Sends all of `data` from a plain thread, blocking it for at most `within`, or without a limit. Not for an arbiter.
    ///
    /// # Errors
    ///
    /// As [`send_timeout`](Self::send_timeout).
    pub fn blocking_send(&self, data: impl Into<Bytes>, within: Option<Duration>) -> Result<(), SendError> {
        let until = deadline(within);
        block_on(self.send_by(data.into(), passed(until)), until)
    }

    async fn send_by(&self, data: Bytes, deadline: impl Future<Output = ()>) -> Result<(), SendError> {
        self.shared().feed.put(data, deadline).await.map(drop).map_err(SendError::from)
    }

    /// No more is sent; what was sent goes first. `clean`: the data is complete. The first call counts. Receiving goes on.
    pub fn end(&self, clean: bool) {
        self.shared().feed.end(clean);
    }

    /// Aborts the chain, both directions of it, with a text of the caller's. What was not sent yet is dropped; what was
    /// received can still be read.
    pub fn abort(&self, why: impl Into<Arc<str>>) {
        let shared = self.shared();
        let cause = shared.feed.fail(Reason::Requested(why.into()));
        shared.set_over(&cause);
    }

    // ---- receiving

    /// The next bytes, at most `max` of them (and at least one); `None` when the other side has ended clean. Waits while
    /// nothing has come. What has come is read first, after an abort too.
    ///
    /// Cancel safe: dropped before it resolves, nothing was taken.
    ///
    /// # Errors
    ///
    /// [`RecvError::Incomplete`] and [`RecvError::Aborted`].
    pub async fn recv(&self, max: usize) -> Result<Option<Bytes>, RecvError> {
        self.recv_by(max, pending()).await
    }

    /// The same, for at most `within`.
    ///
    /// # Errors
    ///
    /// [`RecvError::TimedOut`] as well.
    pub async fn recv_timeout(&self, max: usize, within: Duration) -> Result<Option<Bytes>, RecvError> {
        self.recv_by(max, tokio::time::sleep(within)).await
    }

    /// What has come already.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`], [`RecvError::Incomplete`] and [`RecvError::Aborted`].
    pub fn try_recv(&self, max: usize) -> Result<Option<Bytes>, RecvError> {
        let mut intake = self.shared().lock();
        let Some(front) = intake.queue.front_mut() else {
            return match (intake.end, &intake.over) {
                (Some(true), _) => Ok(None),
                (Some(false), _) => Err(RecvError::Incomplete),
                (None, Some(cause)) => Err(RecvError::Aborted(cause.clone())),
                (None, None) => Err(RecvError::Empty),
            };
        };
        let item = match Payload::split_to(front, max.max(1) as u64) {
            Some(part) => part,
            None => intake.queue.pop_front().unwrap_or_default(),
        };
        intake.bytes -= item.quantity();
        intake.wake();
        Ok(Some(item))
    }

    /// The next bytes for a plain thread, blocking it for at most `within`, or without a limit. Not for an arbiter.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn blocking_recv(&self, max: usize, within: Option<Duration>) -> Result<Option<Bytes>, RecvError> {
        let until = deadline(within);
        block_on(self.recv_by(max, passed(until)), until)
    }

    async fn recv_by(&self, max: usize, deadline: impl Future<Output = ()>) -> Result<Option<Bytes>, RecvError> {
        let mut deadline = pin!(deadline);
        loop {
            // registered before the state is looked at, so that no change is missed
            let arrived = self.shared().arrived.notified();
            match self.try_recv(max) {
                Err(RecvError::Empty) => {}
                done => return done,
            }
            if unless(deadline.as_mut(), arrived).await.is_none() {
                return Err(RecvError::TimedOut);
            }
        }
    }

    /// How many bytes each direction buffers.
    pub fn capacity(&self) -> usize {
        self.shared().feed.capacity()
    }

    fn shared(&self) -> &Shared {
        &self.handle.0
    }
}

/// The user's side; see the module on being dropped.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        let mut intake = self.0.lock();
        intake.dropped = true;
        intake.wake();
        drop(intake);
        self.0.feed.end(false);
    }
}

#[derive(Debug)]
struct Shared {
    feed: Feed,
    intake: Mutex<Intake>,
    /// Something came, or nothing will.
    arrived: Notify,
}

/// The receiving direction.
#[derive(Debug, Default)]
struct Intake {
    queue: VecDeque<Bytes>,
    bytes: u64,
    end: Option<bool>,
    over: Option<Arc<Cause>>,
    /// The last handle is gone.
    dropped: bool,
    waker: Option<Waker>,
}

impl Intake {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Intake> {
        // no code of a user runs under the lock, so a poisoned one is still whole
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_over(&self, cause: &Arc<Cause>) {
        self.feed.set_over(cause);
        self.lock().over.get_or_insert_with(|| cause.clone());
        self.arrived.notify_waiters();
    }
}

/// The chain's side of a [`ByteChannel`]: the part that its actor runs.
#[derive(Debug)]
pub struct ChannelPart {
    shared: Arc<Shared>,
    /// After the last handle was dropped: when to look whether the consumer has finished with our end. No message says so.
    look_again: Option<Pin<Box<Sleep>>>,
}

/// Short beside what a person notices, long beside a turn. It is used only while a dropped channel waits to be over.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Duplex for ChannelPart {
    type Item = Bytes;

    fn poll_pull(&mut self, credit: Credit, cx: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        self.shared.feed.poll_pull(credit, cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.shared.feed.poll_ended(cx)
    }

    fn consume(&mut self, item: Bytes) -> PartResult {
        let mut intake = self.shared.lock();
        intake.bytes += item.quantity();
        intake.queue.push_back(item);
        drop(intake);
        self.shared.arrived.notify_waiters();
        Ok(())
    }

    fn held(&self) -> Count {
        let intake = self.shared.lock();
        Count { quantity: intake.bytes, messages: intake.queue.len() as u64 }
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<PartResult> {
        let mut intake = self.shared.lock();
        if intake.queue.is_empty() {
            return Poll::Ready(Ok(()));
        }
        // the readers work it off
        intake.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_finish(&mut self, clean: bool, _: &mut Context<'_>) -> Poll<PartResult> {
        self.shared.lock().end.get_or_insert(clean);
        self.shared.arrived.notify_waiters();
        Poll::Ready(Ok(()))
    }

    fn poll_failed(&mut self, chain: &Outlet<Bytes>, cx: &mut Context<'_>) -> Poll<Reason> {
        if let Poll::Ready(reason) = self.shared.feed.poll_failed(cx) {
            return Poll::Ready(reason);
        }
        let told = self.shared.feed.is_end_told();
        {
            let mut intake = self.shared.lock();
            intake.waker = Some(cx.waker().clone());
            if !intake.dropped || (told && intake.end.is_some()) || chain.is_attached() {
                return Poll::Pending;
            }
        }
        // nobody reads any more, and there is nothing left to send, or nowhere
        if told && !chain.is_delivered() {
            let look = self.look_again.get_or_insert_with(|| Box::pin(tokio::time::sleep(LOOK_AGAIN)));
            while look.as_mut().poll(cx).is_ready() {
                look.as_mut().reset(tokio::time::Instant::now() + LOOK_AGAIN);
            }
            return Poll::Pending;
        }
        Poll::Ready(Reason::Requested("the last handle of the channel was dropped".into()))
    }

    fn window(&self) -> Window {
        Window::of(self.shared.feed.capacity() as u64)
    }

    fn name(&self) -> Arc<str> {
        self.shared.feed.name().clone()
    }

    fn closed(&mut self, outcome: &Outcome) {
        if let Outcome::Aborted(cause) = outcome {
            self.shared.set_over(cause);
        }
    }
}

impl Drop for ChannelPart {
    fn drop(&mut self) {
        // nobody must wait for an actor that is gone; after orderly ends nobody does
        let gone = ComponentInfo::new(self.name(), true).blame(Reason::ComponentGone);
        self.shared.set_over(&gone);
    }
}

// ---- plain threads

fn deadline(within: Option<Duration>) -> Option<Instant> {
    // a time beyond the clock's end is no limit
    within.and_then(|within| Instant::now().checked_add(within))
}

/// Ready once the time has passed; looked at whenever it is polled, which [`block_on`] does in time.
fn passed(until: Option<Instant>) -> impl Future<Output = ()> {
    poll_fn(move |_| match until {
        Some(at) if Instant::now() >= at => Poll::Ready(()),
        _ => Poll::Pending,
    })
}

/// Runs a future on this thread, polling it when it is woken and once `until` has passed.
fn block_on<T>(future: impl Future<Output = T>, until: Option<Instant>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
        match until {
            Some(at) => thread::park_timeout(at.saturating_duration_since(Instant::now())),
            None => thread::park(),
        }
    }
}
