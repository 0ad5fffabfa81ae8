//! `Feed`: the bounded buffer between code that is no actor and the source that its bytes leave by. What
//! [`ByteWriter`](super::writer::ByteWriter) and [`ByteChannel`](super::channel::ByteChannel) share.
//!
//! Waiting callers have a turn: the one that waits first is served first, however large its piece is. A piece is taken
//! whole or not at all, so that a caller which is cancelled has written nothing.

use super::identity::ComponentInfo;
use super::stock::{PartResult, Pull};
use crate::proto::link::{Cause, Credit, Payload, Reason};
use bytes::Bytes;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::{Notify, Semaphore};

/// Why bytes were not taken. They are handed back.
#[derive(Debug)]
pub(super) enum Refused {
    /// No room now, or an earlier caller waits for it.
    Full(Bytes),
    /// The data was ended.
    Ended(Bytes),
    /// The chain was aborted.
    Aborted(Arc<Cause>, Bytes),
    /// The deadline came first.
    TimedOut(Bytes),
}

/// The buffer, its callers and its source.
#[derive(Debug)]
pub(super) struct Feed {
    name: Arc<str>,
    capacity: usize,
    state: Mutex<State>,
    /// Whose turn it is among the callers that wait.
    turn: Semaphore,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Bytes>,
    buffered: usize,
    written: u64,
    end: Option<bool>,
    /// The source has told its chain of the end.
    told: bool,
    over: Option<Arc<Cause>>,
    /// An abort that the source has still to report to its chain.
    failing: Option<Reason>,
    waker: Option<Waker>,
}

impl Feed {
    /// A buffer of `capacity` bytes, at least 1.
    pub(super) fn new(name: Arc<str>, capacity: usize) -> Self {
        Self {
            name,
            capacity: capacity.max(1),
            state: Mutex::default(),
            turn: Semaphore::new(1),
            changed: Notify::new(),
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    // ---- the callers' side

    /// Takes all of `data` as soon as there is room, unless `deadline` comes first. The offset after it.
    pub(super) async fn put(&self, data: Bytes, deadline: impl Future<Output = ()>) -> Result<u64, Refused> {
        let mut deadline = pin!(deadline);
        // the semaphore is never closed
        let Some(_turn) = unless(deadline.as_mut(), self.turn.acquire()).await else {
            return Err(Refused::TimedOut(data));
        };
        let mut data = data;
        loop {
            // registered before the state is looked at, so that no change is missed
            let changed = self.changed.notified();
            match self.take_in(data) {
                Err(Refused::Full(back)) => data = back,
                done => return done,
            }
            if unless(deadline.as_mut(), changed).await.is_none() {
                return Err(Refused::TimedOut(data));
            }
        }
    }

    /// Takes all of `data` now, or nothing of it.
    pub(super) fn try_put(&self, data: Bytes) -> Result<u64, Refused> {
        match self.turn.try_acquire() {
            Ok(_turn) => self.take_in(data),
            Err(_) => Err(self.refusal(&self.lock(), data).unwrap_or_else(Refused::Full)),
        }
    }

    fn take_in(&self, data: Bytes) -> Result<u64, Refused> {
        let mut state = self.lock();
        let data = match self.refusal(&state, data) {
            Ok(refused) => return Err(refused),
            Err(data) => data,
        };
        // a piece larger than the buffer goes when the buffer is empty, so that nothing is split or refused for ever
        let fits = state.buffered == 0 || state.buffered.saturating_add(data.len()) <= self.capacity;
        if !fits {
            return Err(Refused::Full(data));
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

    /// Why nothing is taken any more, or the data back.
    fn refusal(&self, state: &State, data: Bytes) -> Result<Refused, Bytes> {
        match (&state.over, state.end) {
            (_, Some(_)) => Ok(Refused::Ended(data)),
            (Some(cause), None) => Ok(Refused::Aborted(cause.clone(), data)),
            (None, None) => Err(data),
        }
    }

    /// No more is taken; what was taken goes first. The first call counts.
    pub(super) fn end(&self, clean: bool) {
        let mut state = self.lock();
        state.end.get_or_insert(clean);
        state.wake();
        drop(state);
        self.changed.notify_waiters();
    }

    /// Drops what waits; the source aborts its chain with this. The cause that callers are told.
    pub(super) fn fail(&self, reason: Reason) -> Arc<Cause> {
        let mut state = self.lock();
        let cause = match &state.over {
            Some(cause) => cause.clone(),
            None => {
                let cause = ComponentInfo::new(self.name.clone(), false).blame(reason.clone());
                state.over = Some(cause.clone());
                state.failing = Some(reason);
                state.queue.clear();
                state.wake();
                cause
            }
        };
        drop(state);
        self.changed.notify_waiters();
        cause
    }

    /// What has left the buffer under the consumer's credit, counted from the first byte.
    pub(super) fn flushed(&self) -> u64 {
        self.lock().flushed()
    }

    /// Waits until that much has left the buffer.
    pub(super) async fn wait_flushed(&self, offset: u64) -> Result<(), Arc<Cause>> {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.lock();
                if state.flushed() >= offset {
                    return Ok(());
                }
                if let Some(cause) = &state.over {
                    return Err(cause.clone());
                }
            }
            changed.await;
        }
    }

    // ---- the source's side

    /// The next bytes or the end.
    pub(super) fn poll_pull(&self, credit: Credit, cx: &Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        let mut state = self.lock();
        if let Some(reason) = state.failing.take() {
            return Poll::Ready(Err(reason));
        }
        let Some(front) = state.queue.front_mut() else {
            return state.poll_ended(cx).map(|clean| Ok(Pull::End { clean }));
        };
        // split here, so that what counts as flushed was covered by credit
        let item = match Payload::split_to(front, credit.quantity) {
            Some(part) => part,
            None => state.queue.pop_front().unwrap_or_default(),
        };
        state.buffered -= item.len();
        drop(state);
        self.changed.notify_waiters();
        Poll::Ready(Ok(Pull::Item(item)))
    }

    /// What needs no credit: an end that nothing goes before, or an abort.
    pub(super) fn poll_end(&self, cx: &Context<'_>) -> Poll<PartResult<bool>> {
        let mut state = self.lock();
        match state.failing.take() {
            Some(reason) => Poll::Ready(Err(reason)),
            None => state.poll_ended(cx).map(Ok),
        }
    }

    /// The same without the abort, for a source that looks for it elsewhere.
    pub(super) fn poll_ended(&self, cx: &Context<'_>) -> Poll<bool> {
        self.lock().poll_ended(cx)
    }

    /// An abort by a caller.
    pub(super) fn poll_failed(&self, cx: &Context<'_>) -> Poll<Reason> {
        let mut state = self.lock();
        state.waker = Some(cx.waker().clone());
        state.failing.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// True once the source has told its chain of the end.
    pub(super) fn is_end_told(&self) -> bool {
        self.lock().told
    }

    /// The chain is aborted, or its actor gone: callers wait no longer.
    pub(super) fn set_over(&self, cause: &Arc<Cause>) {
        let mut state = self.lock();
        state.over.get_or_insert_with(|| cause.clone());
        state.queue.clear();
        drop(state);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // no code of a user runs under the lock, so a poisoned one is still whole
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn flushed(&self) -> u64 {
        self.written - self.buffered as u64
    }

    fn poll_ended(&mut self, cx: &Context<'_>) -> Poll<bool> {
        match self.end {
            Some(clean) if self.queue.is_empty() && self.over.is_none() => {
                self.told = true;
                Poll::Ready(clean)
            }
            _ => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// What `future` gives, or `None` if `deadline` comes first.
pub(super) async fn unless<T>(
    mut deadline: Pin<&mut impl Future<Output = ()>>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => deadline.as_mut().poll(cx).map(|()| None),
    })
    .await
}
