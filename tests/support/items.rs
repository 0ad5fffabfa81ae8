//! A source of given items.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use versile_io::component::stock::{PartResult, Pull, Source};
use versile_io::proto::link::{Credit, Payload};

/// Gives its items, then ends, or waits for ever.
pub(crate) struct Items<T> {
    items: VecDeque<T>,
    end: Option<bool>,
}

impl<T> Items<T> {
    /// Ends after the items, if `end` says how.
    pub(crate) fn new(items: impl IntoIterator<Item = T>, end: Option<bool>) -> Self {
        Self { items: items.into_iter().collect(), end }
    }
}

impl<T: Payload> Source for Items<T> {
    type Out = T;
    fn poll_pull(&mut self, _: Credit, _: &mut Context<'_>) -> Poll<PartResult<Pull<T>>> {
        match (self.items.pop_front(), self.end) {
            (Some(item), _) => Poll::Ready(Ok(Pull::Item(item))),
            (None, Some(clean)) => Poll::Ready(Ok(Pull::End { clean })),
            (None, None) => Poll::Pending,
        }
    }
    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<PartResult<bool>> {
        match self.end {
            Some(clean) if self.items.is_empty() => Poll::Ready(Ok(clean)),
            _ => Poll::Pending,
        }
    }
}
