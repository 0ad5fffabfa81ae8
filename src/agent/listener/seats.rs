//! `Seats`: the arbiters that a listener spreads its connections over, with how many each has.

use actix_rt::ArbiterHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An arbiter, and the connections of this listener that it has.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) arbiter: ArbiterHandle,
    open: Arc<AtomicUsize>,
}

impl Seat {
    /// One connection more.
    pub(super) fn taken(&self) -> Self {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.clone()
    }

    /// One less.
    pub(super) fn free(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seats {
    seats: Vec<Seat>,
    /// Where to begin looking, so that equals have turns.
    begin: usize,
}

impl Seats {
    pub(super) fn of(arbiters: Vec<ArbiterHandle>) -> Self {
        let seats = arbiters.into_iter().map(|arbiter| Seat { arbiter, open: Arc::default() });
        Self { seats: seats.collect(), begin: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// The arbiter with the fewest connections, in turn among equals.
    pub(super) fn next(&mut self) -> Option<Seat> {
        let n = self.seats.len();
        let turns = (0..n).map(|step| (self.begin + step) % n);
        let least = turns.min_by_key(|at| self.seats[*at].open.load(Ordering::Relaxed))?;
        self.begin = least + 1;
        Some(self.seats[least].clone())
    }

    /// It has stopped.
    pub(super) fn leave(&mut self, seat: &Seat) {
        self.seats.retain(|other| !Arc::ptr_eq(&other.open, &seat.open));
    }
}
