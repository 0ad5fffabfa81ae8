//! At most so much.

use crate::component::stock::{Filter, Outbox, PartResult};
use crate::proto::link::{Payload, Reason};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use thiserror::Error;

/// What becomes of what is beyond the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterLimit {
    /// The chain is aborted with [`LimitReached`].
    Fail,
    /// It is taken, counted and dropped; the producer goes on, and its end is carried on as it is.
    Discard,
}

/// More came than was allowed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("more than the limit of {limit} came")]
pub struct LimitReached {
    /// Bytes, or items.
    pub limit: u64,
}

/// Lets the first units pass: bytes of a byte link, items of another. What fits of an item that goes beyond is split off and
/// passes.
///
/// ```
/// use bytes::Bytes;
/// use versile_io::component::block::{AfterLimit, Limiter};
/// use versile_io::component::stock::Filter;
/// # actix::System::new().block_on(async {
/// let (limiter, discarded) = Limiter::<Bytes>::new(1 << 20, AfterLimit::Discard);
/// let (inlet, outlet, _) = limiter.start();
/// assert_eq!(discarded.get(), 0);
/// # let _ = (inlet, outlet); });
/// ```
pub struct Limiter<T> {
    limit: u64,
    left: u64,
    after: AfterLimit,
    discarded: Discarded,
    items: PhantomData<fn(T)>,
}

/// How much a [`Limiter`] has discarded; to be read from anywhere.
///
/// ```
/// use versile_io::component::block::{AfterLimit, Limiter};
/// let (_, discarded) = Limiter::<u32>::new(5, AfterLimit::Discard);
/// assert_eq!(discarded.get(), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Discarded(Arc<AtomicU64>);

impl Discarded {
    /// Bytes, or items.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl<T: Payload> Limiter<T> {
    /// Lets `limit` units pass.
    pub fn new(limit: u64, after: AfterLimit) -> (Self, Discarded) {
        let discarded = Discarded::default();
        (Self { limit, left: limit, after, discarded: discarded.clone(), items: PhantomData }, discarded)
    }
}

impl<T: Payload> Filter for Limiter<T> {
    type In = T;
    type Out = T;

    fn apply(&mut self, mut item: T, out: &mut Outbox<T>) -> PartResult {
        if item.quantity() <= self.left {
            self.left -= item.quantity();
            out.push(item);
            return Ok(());
        }
        if self.after == AfterLimit::Fail {
            return Err(Reason::failed(LimitReached { limit: self.limit }));
        }
        if self.left > 0
            && let Some(fits) = item.split_to(self.left)
        {
            out.push(fits);
        }
        // nothing smaller that comes later passes either: what passes is a beginning of what came
        self.left = 0;
        self.discarded.0.fetch_add(item.quantity(), Relaxed);
        Ok(())
    }

    fn name(&self) -> Arc<str> {
        "limiter".into()
    }
}

impl<T> fmt::Debug for Limiter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("left", &self.left).field("after", &self.after).finish_non_exhaustive()
    }
}
