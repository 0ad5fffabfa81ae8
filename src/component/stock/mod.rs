//! The stock actors: implement [`Source`], [`Sink`], [`Filter`] or [`Duplex`] on a plain struct, start it, and get its ports.
//!
//! ```text
//!   Source ──▶ Filter ──▶ Sink            Duplex ◀──▶ Duplex
//!   pulled     fed only while its         a source and a sink in one,
//!   on credit  outlet has room            such as a socket
//! ```
//!
//! Credit, end, abort, detach and drain are handled by the actor around the part. A part is polled like a future: a method
//! that returns `Pending` must have arranged for the waker. `start` gives the ports and a [`Done`], which resolves when
//! the actor has stopped, with the part and how it went.
//!
//! A panic in a part ends its own chain with `Panicked`, and nothing else.

mod duplex;
mod filter;
mod sink;
mod source;

pub use duplex::{Directions, Duplex, DuplexActor, HalfClose};
pub use filter::{Filter, FilterActor, Outbox};
pub use sink::{Sink, SinkActor};
pub use source::{Source, SourceActor};

use super::Outlet;
use crate::proto::link::{Cause, Parcel, Payload, Reason};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// How much a part is pulled for before other actors of its arbiter have a turn (rule F1).
pub(crate) struct Budget {
    items: u32,
    quantity: u64,
}

impl Budget {
    /// 256 items, as many as a window has messages, or 2 MiB, some 300 us of copying.
    pub(crate) fn for_a_turn() -> Self {
        Self { items: 256, quantity: 2 * 1024 * 1024 }
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.items == 0 || self.quantity == 0
    }

    pub(crate) fn spend(&mut self, quantity: u64) {
        self.items -= 1;
        self.quantity = self.quantity.saturating_sub(quantity);
    }
}

/// What a part gives when it is pulled.
#[derive(Debug)]
pub enum Pull<T> {
    /// The next item. It may be larger than the credit; it is then split or waits.
    Item(T),
    /// What would be an item, but lies elsewhere: at most the credit. Only for a [`Duplex`] whose consumer takes parcels.
    Parcel(Parcel),
    /// No more items come.
    End {
        /// True if the data is complete (rule E1).
        clean: bool,
    },
}

/// Sends a parcel that a part gave.
pub(crate) fn push_parcel<T: Payload>(outlet: &mut Outlet<T>, parcel: Parcel) -> PartResult {
    match outlet.push_parcel(parcel) {
        Err(_) if !outlet.is_closed() => {
            Err(Reason::failed("a parcel that the consumer does not take, or beyond its credit"))
        }
        _ => Ok(()),
    }
}

/// How a component ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// All data passed, and its end.
    Ended {
        /// True if the data was complete (rule E1).
        clean: bool,
    },
    /// It was aborted with this cause, its own or another's.
    Aborted(Arc<Cause>),
    /// Its actor is gone without a word: its arbiter stopped, or nobody held it.
    Gone,
}

impl Outcome {
    /// True if all data passed and was complete.
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::Ended { clean: true })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended { clean: true } => f.write_str("ended"),
            Self::Ended { clean: false } => f.write_str("ended before its data was complete"),
            Self::Aborted(cause) => write!(f, "aborted: {cause}"),
            Self::Gone => f.write_str("gone"),
        }
    }
}

/// Resolves when a stock actor has stopped: the part, unless its actor is gone without a word, and how it went.
/// Cancel safe; may be dropped.
#[derive(Debug)]
pub struct Done<P>(oneshot::Receiver<Box<(P, Outcome)>>);

impl<P> Done<P> {
    /// The same, with the result where it was put; `None` if the actor is gone without a word.
    #[cfg(feature = "cli")]
    pub(crate) async fn boxed(self) -> Option<Box<(P, Outcome)>> {
        self.0.await.ok()
    }
}

impl<P> Future for Done<P> {
    type Output = (Option<P>, Outcome);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|result| match result {
            Ok(ended) => (Some(ended.0), ended.1),
            Err(_) => (None, Outcome::Gone),
        })
    }
}

/// The part inside a stock actor, and where it goes when the actor stops.
pub(crate) struct Holder<P> {
    /// `None` once it was given away.
    part: Option<P>,
    /// Boxed: the room for the part would be twice there while it runs.
    done: Option<oneshot::Sender<Box<(P, Outcome)>>>,
}

impl<P> Holder<P> {
    pub(crate) fn new(part: P) -> (Self, Done<P>) {
        let (tx, rx) = oneshot::channel();
        (Self { part: Some(part), done: Some(tx) }, Done(rx))
    }

    pub(crate) fn get(&mut self) -> Option<&mut P> {
        self.part.as_mut()
    }

    pub(crate) fn peek(&self) -> Option<&P> {
        self.part.as_ref()
    }

    /// Gives the part away. Once.
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        if let (Some(part), Some(done)) = (self.part.take(), self.done.take()) {
            // nobody may be waiting; the part is then dropped here
            let _ = done.send(Box::new((part, outcome)));
        }
    }
}

/// The last segment of a type's name, without its parameters.
pub(crate) fn type_name<T: ?Sized>() -> Arc<str> {
    let full = std::any::type_name::<T>();
    let bare = full.split('<').next().unwrap_or(full);
    bare.rsplit("::").next().unwrap_or(bare).into()
}

/// What a part returns where it can fail: the reason aborts its chain.
pub type PartResult<T = ()> = Result<T, Reason>;
