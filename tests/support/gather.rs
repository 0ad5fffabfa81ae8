//! A sink that gathers what comes.

use std::sync::Arc;
use versile_io::component::stock::{PartResult, Sink};
use versile_io::proto::link::{Cause, Payload, Window};

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
