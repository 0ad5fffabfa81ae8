//! Lets more wait than the consumer's window does.

use crate::component::stock::{Filter, Outbox, PartResult};
use crate::proto::link::{Payload, Window};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Passes everything on, and keeps up to its window while the consumer is slow: for a producer whose data comes in bursts.
/// The window bounds quantity and messages; one item more may be on its way out.
///
/// ```
/// use bytes::Bytes;
/// use versile_io::component::block::Buffer;
/// use versile_io::component::stock::Filter;
/// use versile_io::proto::link::Window;
/// # actix::System::new().block_on(async {
/// let (inlet, outlet, _) = Buffer::<Bytes>::new(Window { quantity: 16 << 20, messages: 4096 }).start();
/// # let _ = (inlet, outlet); });
/// ```
pub struct Buffer<T> {
    window: Window,
    items: PhantomData<fn(T)>,
}

impl<T: Payload> Buffer<T> {
    /// Keeps at most `window`; at least one unit in one message.
    pub fn new(window: Window) -> Self {
        let window = Window { quantity: window.quantity.max(1), messages: window.messages.max(1) };
        Self { window, items: PhantomData }
    }
}

impl<T: Payload> Filter for Buffer<T> {
    type In = T;
    type Out = T;
    fn apply(&mut self, item: T, out: &mut Outbox<T>) -> PartResult {
        out.push(item);
        Ok(())
    }
    fn window(&self) -> Window {
        self.window
    }
    fn name(&self) -> Arc<str> {
        "buffer".into()
    }
}

impl<T> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("window", &self.window).finish_non_exhaustive()
    }
}
