//! `Places`: how many connections of a listener are open, and who waits for one to be over.

use super::lock;
use super::seats::Seat;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

/// The connections of a listener that are open, on whatever arbiters.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: Option<usize>,
    taken: AtomicUsize,
    /// Of those that accept: one, or one for each arbiter.
    waiting: Mutex<Vec<Waker>>,
}

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    /// Where its chain lives, if the listener has chosen.
    seat: Option<Seat>,
}

impl Places {
    pub(super) fn new(max: Option<usize>) -> Self {
        Self(Arc::new(Inner { max, taken: AtomicUsize::new(0), waiting: Mutex::default() }))
    }

    /// A place, or `None` with the waker registered.
    pub(super) fn take(&self, cx: &mut Context<'_>) -> Option<Place> {
        if !self.try_take() {
            let mut waiting = lock(&self.0.waiting);
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            drop(waiting);
            // one may have become free between
            if !self.try_take() {
                return None;
            }
        }
        Some(Place { places: self.clone(), seat: None })
    }

    fn try_take(&self) -> bool {
        let fits = |taken: usize| self.0.max.is_none_or(|max| taken < max).then_some(taken + 1);
        self.0.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok()
    }
}

impl Place {
    /// The connection goes to this arbiter.
    pub(super) fn sit(&mut self, seat: &Seat) {
        if let Some(last) = self.seat.replace(seat.taken()) {
            last.free();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(seat) = &self.seat {
            seat.free();
        }
        self.places.0.taken.fetch_sub(1, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *lock(&self.places.0.waiting));
        waiting.into_iter().for_each(Waker::wake);
    }
}
