//! `ByteWriter`: writes bytes into a chain from any thread, task or actor, with a bound.
//!
//! ```text
//!   any thread: write / end / abort ──▶ [bounded buffer] ──▶ outlet of a source actor ──▶ chain
//! ```
//!
//! * End of data: [`end`](ByteWriter::end) once; what was written goes first. When the last handle is dropped without it,
//!   the data ends unclean: it may not be complete.
//! * Abort: drops what waits in the buffer; every waiting write fails with the cause.
//! * When not to use it: for data that another component can produce; a [`Source`] is pulled and needs no buffer.

use super::stock::{Done, PartResult, Pull, Source};
use super::{OutletRef, identity::ComponentInfo};
use crate::proto::link::{Cause, Credit, Payload, Reason};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use thiserror::Error;
use tokio::sync::Notify;

/// Writes bytes into a chain. Clones write into the same buffer; each `write` call is kept together.
#[derive(Clone, Debug)]
pub struct ByteWriter {
    handle: Arc<Handle>,
}

/// A write was not taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The buffer is full; the bytes are handed back. From [`ByteWriter::try_write`] only.
    #[error("the writer's buffer is full")]
    Full(Bytes),
    /// The writer was ended; the bytes are handed back.
    #[error("the writer was ended")]
    Ended(Bytes),
    /// The chain was aborted, or its actor is gone.
    #[error("the chain was aborted: {0}")]
    Aborted(Arc<Cause>),
}

impl ByteWriter {
    /// A writer named `name` that buffers up to `capacity` bytes (at least 1), its outlet, and its end.
    /// Starts an actor on the current arbiter.
    pub fn start(name: impl Into<Arc<str>>, capacity: usize) -> (Self, OutletRef<Bytes>, Done<WriterSource>) {
        let shared = Arc::new(Shared {
            name: name.into(),
            capacity: capacity.max(1),
            state: Mutex::new(State::default()),
            changed: Notify::new(),
        });
        let (outlet, done) = WriterSource { shared: shared.clone() }.start();
        (Self { handle: Arc::new(Handle(shared)) }, outlet, done)
    }

    /// Writes all of `data`, waiting for room as needed. The offset after it, counted from the first byte written.
    ///
    /// A piece larger than the buffer is taken when the buffer is empty, so that nothing is split or refused.
    ///
    /// Cancel safe: dropped before it resolves, nothing of `data` was written.
    ///
    /// # Errors
    ///
    /// [`WriteError::Ended`] and [`WriteError::Aborted`].
    pub async fn write(&self, data: impl Into<Bytes>) -> Result<u64, WriteError> {
        let mut data = data.into();
        loop {
            // registered before the state is looked at, so that no change is missed
            let changed = self.shared().changed.notified();
            match self.try_write(data) {
                Err(WriteError::Full(back)) => data = back,
                done => return done,
            }
            changed.await;
        }
    }

    /// Writes all of `data` now, or nothing of it.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; the bytes are handed back unless the chain was aborted.
    pub fn try_write(&self, data: impl Into<Bytes>) -> Result<u64, WriteError> {
        let data = data.into();
        let mut state = self.shared().lock();
        if state.end.is_some() {
            return Err(WriteError::Ended(data));
        }
        if let Some(cause) = &state.over {
            return Err(WriteError::Aborted(cause.clone()));
        }
        let fits = state.buffered == 0 || state.buffered.saturating_add(data.len()) <= self.shared().capacity;
        if !fits {
            return Err(WriteError::Full(data));
        }
        state.written += data.quantity();
        let offset = state.written;
        if !data.is_empty() {
            state.buffered += data.len();
            state.queue.push_back(data);
        }
        state.wake();
        Ok(offset)
    }

    /// No more is written; what was written goes first. `clean`: the data is complete. The first call counts.
    pub fn end(&self, clean: bool) {
        let mut state = self.shared().lock();
        state.end.get_or_insert(clean);
        state.wake();
        drop(state);
        self.shared().changed.notify_waiters();
    }

    /// Aborts the chain with a text of the caller's. What waits in the buffer is dropped.
    pub fn abort(&self, why: impl Into<Arc<str>>) {
        self.shared().fail(Reason::Requested(why.into()));
    }

    /// The offset up to which bytes have left the buffer and were sent to the consumer under its credit.
    pub fn flushed(&self) -> u64 {
        let state = self.shared().lock();
        state.written - state.buffered as u64
    }

    /// Waits until [`flushed`](Self::flushed) has reached `offset`. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`WriteError::Aborted`] if the chain is aborted before.
    pub async fn wait_flushed(&self, offset: u64) -> Result<(), WriteError> {
        loop {
            let changed = self.shared().changed.notified();
            {
                let state = self.shared().lock();
                if state.written - state.buffered as u64 >= offset {
                    return Ok(());
                }
                if let Some(cause) = &state.over {
                    return Err(WriteError::Aborted(cause.clone()));
                }
            }
            changed.await;
        }
    }

    /// How many bytes the buffer takes.
    pub fn capacity(&self) -> usize {
        self.shared().capacity
    }

    fn shared(&self) -> &Shared {
        &self.handle.0
    }
}

/// The user's side; ends the data unclean when the last clone goes.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.end.get_or_insert(false);
        state.wake();
    }
}

#[derive(Debug)]
struct Shared {
    name: Arc<str>,
    capacity: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Bytes>,
    buffered: usize,
    written: u64,
    end: Option<bool>,
    over: Option<Arc<Cause>>,
    /// An abort that the source has still to report to its chain.
    failing: Option<Reason>,
    waker: Option<Waker>,
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // no code of a user runs under the lock, so a poisoned one is still whole
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, reason: Reason) {
        let mut state = self.lock();
        if state.over.is_none() {
            state.over = Some(ComponentInfo::new(self.name.clone(), false).blame(reason.clone()));
            state.failing = Some(reason);
            state.queue.clear();
            state.wake();
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn set_over(&self, cause: &Arc<Cause>) {
        let mut state = self.lock();
        state.over.get_or_insert_with(|| cause.clone());
        state.queue.clear();
        drop(state);
        self.changed.notify_waiters();
    }
}

/// The chain's side of a [`ByteWriter`]: the source that its actor runs.
#[derive(Debug)]
pub struct WriterSource {
    shared: Arc<Shared>,
}

impl Source for WriterSource {
    type Out = Bytes;

    fn poll_pull(&mut self, credit: Credit, cx: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        let mut state = self.shared.lock();
        if let Some(reason) = state.failing.take() {
            return Poll::Ready(Err(reason));
        }
        let Some(front) = state.queue.front_mut() else {
            return match state.end {
                Some(clean) => Poll::Ready(Ok(Pull::End { clean })),
                None => {
                    state.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        };
        // split here, so that what counts as flushed was covered by credit
        let item = match Payload::split_to(front, credit.quantity) {
            Some(part) => part,
            None => state.queue.pop_front().unwrap_or_default(),
        };
        state.buffered -= item.len();
        drop(state);
        self.shared.changed.notify_waiters();
        Poll::Ready(Ok(Pull::Item(item)))
    }

    fn name(&self) -> Arc<str> {
        self.shared.name.clone()
    }

    fn aborted(&mut self, cause: &Arc<Cause>) {
        self.shared.set_over(cause);
    }
}

impl Drop for WriterSource {
    fn drop(&mut self) {
        // writers must not wait for a source that is gone; after an orderly end nobody waits
        let gone = ComponentInfo::new(self.shared.name.clone(), false).blame(Reason::ComponentGone);
        self.shared.set_over(&gone);
    }
}
