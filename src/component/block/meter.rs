//! Counts what passes, and tells the rate of the last second.
//!
//! No timer: what passes is counted by tenths of a second in a ring, and the rate is computed when it is read.

use crate::component::stock::{Filter, Outbox, PartResult};
use crate::proto::link::Payload;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// A tenth of a second.
const SLOT_MS: u64 = 100;
/// Ten whole slots, and the one that the second begins in.
const SLOTS: usize = 11;

/// What a [`Meter`] has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Bytes, or items where the payload is not bytes.
    pub quantity: u64,
    /// Items, or pieces of bytes.
    pub items: u64,
    /// Units within the last second.
    pub rate: u64,
}

/// Lets everything pass and counts it.
///
/// ```
/// use bytes::Bytes;
/// use versile_io::component::block::Meter;
/// use versile_io::component::stock::Filter;
/// # actix::System::new().block_on(async {
/// let (meter, handle) = Meter::<Bytes>::new();
/// let (inlet, outlet, _) = meter.start();
/// assert_eq!(handle.read().quantity, 0);
/// # let _ = (inlet, outlet); });
/// ```
pub struct Meter<T> {
    handle: MeterHandle,
    items: PhantomData<fn(T)>,
}

/// Reads a [`Meter`], from any thread and after its end too.
///
/// ```
/// use versile_io::component::block::Meter;
/// let (_, handle) = Meter::<u32>::new();
/// assert_eq!((handle.read().items, handle.read().rate), (0, 0));
/// ```
#[derive(Clone, Debug)]
pub struct MeterHandle(Arc<Mutex<Seen>>);

#[derive(Debug)]
struct Seen {
    start: Instant,
    quantity: u64,
    items: u64,
    /// By tenths of a second: which one, and how much.
    slots: [(u64, u64); SLOTS],
}

impl Seen {
    /// Milliseconds from the start.
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn count(&mut self, quantity: u64) {
        self.quantity += quantity;
        self.items += 1;
        let slot = self.now() / SLOT_MS;
        let at = &mut self.slots[slot as usize % SLOTS];
        match at.0 == slot {
            true => at.1 += quantity,
            false => *at = (slot, quantity),
        }
    }

    fn rate(&self) -> u64 {
        let now = self.now();
        let (slot, into) = (now / SLOT_MS, now % SLOT_MS);
        self.slots
            .iter()
            .map(|(at, quantity)| match slot.checked_sub(*at) {
                Some(0..10) => *quantity,
                // the second begins within this one
                Some(10) => quantity.saturating_mul(SLOT_MS - into) / SLOT_MS,
                _ => 0,
            })
            .sum()
    }
}

impl MeterHandle {
    /// What has passed so far.
    pub fn read(&self) -> Reading {
        let seen = self.seen();
        Reading { quantity: seen.quantity, items: seen.items, rate: seen.rate() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // only sums are made under the lock
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Payload> Meter<T> {
    /// A meter that starts now, and its reader.
    pub fn new() -> (Self, MeterHandle) {
        let seen = Seen { start: Instant::now(), quantity: 0, items: 0, slots: [(0, 0); SLOTS] };
        let handle = MeterHandle(Arc::new(Mutex::new(seen)));
        (Self { handle: handle.clone(), items: PhantomData }, handle)
    }
}

impl<T: Payload> Filter for Meter<T> {
    type In = T;
    type Out = T;
    fn apply(&mut self, item: T, out: &mut Outbox<T>) -> PartResult {
        self.handle.seen().count(item.quantity());
        out.push(item);
        Ok(())
    }
    fn name(&self) -> Arc<str> {
        "meter".into()
    }
}

impl<T> fmt::Debug for Meter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Meter").field(&self.handle.read()).finish()
    }
}
