//! How much of its time a component's handlers take, without a reading of the clock for each.
//!
//! A handler that is timed stands for itself and for those before it that were not: as many as together take some [`WORTH`], by
//! the average so far, or [`MOST`]. So two readings of the clock, some 50 ns, come on 10 us of work or on 64 handlers. How many are
//! left out is not exact, so that a rhythm of long and short ones does not hide the long ones; and it is known before the handler
//! is timed, so long ones count as often as short ones.

use super::link::now_nanos;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Nanoseconds of work on which one measurement comes: 10 us, two hundred times its cost.
const WORTH: u64 = 10_000;

/// A measurement stands for at most so many handlers that were not timed, so that a change shows soon.
const MOST: u64 = 63;

/// Written by the component's actor alone; read from anywhere.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    nanos: AtomicU64,
    /// When the handler that is timed began; 0 if none is.
    began: AtomicU64,
    /// So many handlers are not timed.
    skip: AtomicU32,
    /// So many were not since the last that was.
    left_out: AtomicU32,
    /// Nanoseconds of a handler, the latest weighing most.
    average: AtomicU64,
}

impl Busy {
    /// A handler begins; inside another, nothing.
    pub(crate) fn enter(&self) {
        match self.skip.load(Relaxed) {
            0 if self.began.load(Relaxed) == 0 => self.began.store(now_nanos().max(1), Relaxed),
            0 => {}
            skip => self.skip.store(skip - 1, Relaxed),
        }
    }

    /// It ends.
    pub(crate) fn leave(&self) {
        let began = self.began.load(Relaxed);
        if began != 0 {
            self.began.store(0, Relaxed);
            self.took(now_nanos().saturating_sub(began));
        }
    }

    fn took(&self, nanos: u64) {
        let weight = u64::from(self.left_out.load(Relaxed)) + 1;
        self.nanos.store(self.nanos.load(Relaxed) + nanos * weight, Relaxed);
        let average = (3 * self.average.load(Relaxed) + nanos) / 4;
        self.average.store(average, Relaxed);
        let most = (WORTH / average.max(1)).min(MOST);
        // the lowest digits of a duration are as good as drawn
        let skip = u32::try_from(most - nanos % (most / 2 + 1)).unwrap_or(0);
        self.skip.store(skip, Relaxed);
        self.left_out.store(skip, Relaxed);
    }

    /// The time that handlers have taken, the present one included if it is timed. An estimate.
    pub(crate) fn total(&self) -> Duration {
        let now = match self.began.load(Relaxed) {
            0 => 0,
            began => now_nanos().saturating_sub(began),
        };
        Duration::from_nanos(self.nanos.load(Relaxed) + now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Durations in a rhythm: the estimate is near the truth, and most of the short ones are not timed.
    #[test]
    fn long_and_short_handlers_count_as_often_as_they_come() {
        for (rhythm, timed_at_most) in [
            (&[100][..], 50),
            (&[50, 50, 50, 50, 50, 50, 50, 8_000], 400),
            (&[200_000, 100], 1_000),
            (&[1_000_000], 1_000),
        ] {
            let busy = Busy::default();
            let (mut truth, mut timed) = (0, 0);
            for n in 0..1_000 * rhythm.len() as u64 {
                // what a real duration's digits are
                let nanos = rhythm[n as usize % rhythm.len()] + n * 7 % 13;
                truth += nanos;
                match busy.skip.load(Relaxed) {
                    0 => {
                        timed += 1;
                        busy.took(nanos);
                    }
                    skip => busy.skip.store(skip - 1, Relaxed),
                }
            }
            let estimate = busy.total().as_nanos() as f64 / truth as f64;
            assert!((0.7..1.3).contains(&estimate), "{rhythm:?}: {estimate}");
            assert!(timed <= timed_at_most * rhythm.len(), "{rhythm:?}: {timed} timed");
        }
    }

    #[test]
    fn a_handler_that_runs_is_seen() {
        let busy = Busy::default();
        busy.enter();
        while busy.total() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        busy.leave();
        let total = busy.total();
        assert!(total >= Duration::from_millis(2));
        assert_eq!(busy.total(), total, "nothing runs");
    }
}
