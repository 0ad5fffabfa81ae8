//! Tells now and then how much has passed.

use super::meter::{Meter, MeterHandle, Reading};
use crate::component::stock::{Filter, Outbox, PartResult};
use crate::proto::link::Payload;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// See [`progress`].
pub struct Progress<T, F> {
    meter: Meter<T>,
    handle: MeterHandle,
    every: Duration,
    last: Instant,
    report: F,
}

/// Lets everything pass and calls `report` with what has passed: with the first item that comes `every` or later after the last report,
/// and at the end. No timer: while nothing passes there is nothing to tell. `report` runs in the actor's turn, so it must be quick; a
/// `watch::Sender` is.
///
/// ```
/// use bytes::Bytes;
/// use std::time::Duration;
/// use tokio::sync::watch;
/// use versile_io::component::block::{Reading, progress};
/// use versile_io::component::stock::Filter;
/// # actix::System::new().block_on(async {
/// let (tell, told) = watch::channel(Reading::default());
/// let every = Duration::from_millis(200);
/// let (inlet, outlet, _) = progress::<Bytes, _>(every, move |reading| drop(tell.send(reading))).start();
/// assert_eq!(told.borrow().quantity, 0);
/// # let _ = (inlet, outlet); });
/// ```
pub fn progress<T: Payload, F: FnMut(Reading) + Unpin + 'static>(every: Duration, report: F) -> Progress<T, F> {
    let (meter, handle) = Meter::new();
    Progress { meter, handle, every, last: Instant::now(), report }
}

impl<T: Payload, F: FnMut(Reading) + Unpin + 'static> Filter for Progress<T, F> {
    type In = T;
    type Out = T;

    fn apply(&mut self, item: T, out: &mut Outbox<T>) -> PartResult {
        self.meter.apply(item, out)?;
        let now = Instant::now();
        if now.duration_since(self.last) >= self.every {
            self.last = now;
            (self.report)(self.handle.read());
        }
        Ok(())
    }

    fn finish(&mut self, clean: bool, _: &mut Outbox<T>) -> PartResult<bool> {
        (self.report)(self.handle.read());
        Ok(clean)
    }

    fn name(&self) -> Arc<str> {
        "progress".into()
    }
}

impl<T, F> fmt::Debug for Progress<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("meter", &self.meter).field("every", &self.every).finish_non_exhaustive()
    }
}
