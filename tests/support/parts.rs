//! A source of given items and a sink that gathers them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use versile_io::component::stock::{PartResult, Pull, Sink, Source};
use versile_io::proto::link::{Cause, Credit, Payload, Window};

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

/// Gathers what comes, and the causes that it is told.
pub(crate) struct Gather<T> {
    pub(crate) got: Vec<T>,
    pub(crate) causes: Vec<Arc<Cause>>,
    window: Window,
}

impl<T> Gather<T> {
    /// With this window.
    pub(crate) fn new(window: Window) -> Self {
        Self { got: Vec::new(), causes: Vec::new(), window }
    }
}

impl<T: Payload> Sink for Gather<T> {
    type In = T;
    fn consume(&mut self, item: T) -> PartResult {
        self.got.push(item);
        Ok(())
    }
    fn window(&self) -> Window {
        self.window
    }
    fn aborted(&mut self, cause: &Arc<Cause>) {
        self.causes.push(cause.clone());
    }
}
