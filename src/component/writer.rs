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

use super::OutletRef;
use super::feed::{Feed, Refused};
use super::identity::ComponentInfo;
use super::stock::{Done, PartResult, Pull, Source};
use crate::proto::link::{Cause, Credit, Reason};
use bytes::Bytes;
use std::future::pending;
use std::sync::Arc;
use std::task::{Context, Poll};
use thiserror::Error;

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
        let feed = Arc::new(Feed::new(name.into(), capacity));
        let (outlet, done) = WriterSource { feed: feed.clone() }.start();
        (Self { handle: Arc::new(Handle(feed)) }, outlet, done)
    }

    /// Writes all of `data`, waiting for room as needed. The offset after it, counted from the first byte written.
    ///
    /// A piece larger than the buffer is taken when the buffer is empty, so that nothing is split or refused. Calls that
    /// wait are served in the order in which they came.
    ///
    /// Cancel safe: dropped before it resolves, nothing of `data` was written.
    ///
    /// # Errors
    ///
    /// [`WriteError::Ended`] and [`WriteError::Aborted`].
    pub async fn write(&self, data: impl Into<Bytes>) -> Result<u64, WriteError> {
        self.feed().put(data.into(), pending()).await.map_err(WriteError::from)
    }

    /// Writes all of `data` now, or nothing of it.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; the bytes are handed back unless the chain was aborted. Full also while an earlier write waits.
    pub fn try_write(&self, data: impl Into<Bytes>) -> Result<u64, WriteError> {
        self.feed().try_put(data.into()).map_err(WriteError::from)
    }

    /// No more is written; what was written goes first. `clean`: the data is complete. The first call counts.
    pub fn end(&self, clean: bool) {
        self.feed().end(clean);
    }

    /// Aborts the chain with a text of the caller's. What waits in the buffer is dropped.
    pub fn abort(&self, why: impl Into<Arc<str>>) {
        self.feed().fail(Reason::Requested(why.into()));
    }

    /// The offset up to which bytes have left the buffer and were sent to the consumer under its credit.
    pub fn flushed(&self) -> u64 {
        self.feed().flushed()
    }

    /// Waits until [`flushed`](Self::flushed) has reached `offset`. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`WriteError::Aborted`] if the chain is aborted before.
    pub async fn wait_flushed(&self, offset: u64) -> Result<(), WriteError> {
        self.feed().wait_flushed(offset).await.map_err(WriteError::Aborted)
    }

    /// How many bytes the buffer takes.
    pub fn capacity(&self) -> usize {
        self.feed().capacity()
    }

    fn feed(&self) -> &Feed {
        &self.handle.0
    }
}

impl From<Refused> for WriteError {
    fn from(refused: Refused) -> Self {
        match refused {
            // a write has no deadline
            Refused::Full(data) | Refused::TimedOut(data) => Self::Full(data),
            Refused::Ended(data) => Self::Ended(data),
            Refused::Aborted(cause, _) => Self::Aborted(cause),
        }
    }
}

/// The user's side; ends the data unclean when the last clone goes.
#[derive(Debug)]
struct Handle(Arc<Feed>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.end(false);
    }
}

/// The chain's side of a [`ByteWriter`]: the source that its actor runs.
#[derive(Debug)]
pub struct WriterSource {
    feed: Arc<Feed>,
}

impl Source for WriterSource {
    type Out = Bytes;

    fn poll_pull(&mut self, credit: Credit, cx: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        self.feed.poll_pull(credit, cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<PartResult<bool>> {
        self.feed.poll_end(cx)
    }

    fn name(&self) -> Arc<str> {
        self.feed.name().clone()
    }

    fn aborted(&mut self, cause: &Arc<Cause>) {
        self.feed.set_over(cause);
    }
}

impl Drop for WriterSource {
    fn drop(&mut self) {
        // writers must not wait for a source that is gone; after an orderly end nobody waits
        let gone = ComponentInfo::new(self.feed.name().clone(), false).blame(Reason::ComponentGone);
        self.feed.set_over(&gone);
    }
}
