//! How long to wait before the next attempt, and when to give up. Pure: time comes in as an argument, chance from a seed.

use std::time::Duration;

/// When a component is built again after it failed: the first time after [`first`](Self::first), then each time twice as late,
/// at most [`cap`](Self::cap), until it has lasted for [`stable`](Self::stable) or [`attempts`](Self::attempts) are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// The wait before the first attempt: 100 ms by default.
    pub first: Duration,
    /// No wait is longer: 30 s by default, what a connection takes to time out.
    pub cap: Duration,
    /// Each wait is shortened by a random part of itself of at most so many percent, so that many components that lost one
    /// peer do not come back all at once: 50 by default; what is above 100 counts as 100.
    pub jitter: u8,
    /// How many attempts in a row are made before the chain is aborted: 10 by default.
    pub attempts: u32,
    /// A component that has lasted for so long has come back: the next failure begins anew. 60 s by default, twice the cap, so
    /// that one that fails at the longest wait does not begin anew each time.
    pub stable: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            cap: Duration::from_secs(30),
            jitter: 50,
            attempts: 10,
            stable: Duration::from_secs(60),
        }
    }
}

/// The attempts in a row of one place.
#[derive(Clone, Debug)]
pub(super) struct Attempts {
    back_off: BackOff,
    made: u32,
    chance: u64,
}

impl Attempts {
    pub(super) fn new(back_off: BackOff, seed: u64) -> Self {
        Self { back_off, made: 0, chance: seed }
    }

    /// How many were made since it was stable.
    pub(super) fn made(&self) -> u32 {
        self.made
    }

    /// The component failed after it had lasted for `lasted`.
    pub(super) fn failed_after(&mut self, lasted: Duration) {
        if lasted >= self.back_off.stable {
            self.made = 0;
        }
    }

    /// Begins an attempt: how long to wait before it. `None`: they are used up.
    pub(super) fn next(&mut self) -> Option<Duration> {
        if self.made >= self.back_off.attempts {
            return None;
        }
        // the shift stops growing long after any cap is reached
        let doubled = self.back_off.first.saturating_mul(1 << self.made.min(31));
        self.made += 1;
        let wait = doubled.min(self.back_off.cap);
        let jitter = u64::from(self.back_off.jitter.min(100));
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        let most = nanos / 100 * jitter;
        let less = if most == 0 { 0 } else { self.draw() % (most + 1) };
        Some(Duration::from_nanos(nanos - less))
    }

    /// SplitMix64: any seed will do, and nobody gains by guessing it.
    fn draw(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(back_off: BackOff, seed: u64) -> Vec<u64> {
        let mut attempts = Attempts::new(back_off, seed);
        std::iter::from_fn(|| attempts.next()).map(|wait| u64::try_from(wait.as_millis()).expect("small")).collect()
    }

    #[test]
    fn without_jitter_each_wait_doubles_up_to_the_cap_and_they_end() {
        let back_off = BackOff { jitter: 0, attempts: 6, cap: Duration::from_secs(1), ..BackOff::default() };
        assert_eq!(waits(back_off, 1), [100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn jitter_shortens_and_never_lengthens_and_differs_by_seed() {
        let back_off = BackOff { attempts: 12, ..BackOff::default() };
        let plain = waits(BackOff { jitter: 0, ..back_off }, 0);
        let mut all = std::collections::BTreeSet::new();
        for seed in 0..1000 {
            let drawn = waits(back_off, seed);
            for (wait, most) in drawn.iter().zip(&plain) {
                assert!(wait <= most && *wait >= most / 2, "{wait} of {most}");
            }
            all.insert(drawn);
        }
        assert!(all.len() > 990, "{} kinds", all.len());
        assert_eq!(waits(back_off, 7), waits(back_off, 7), "and is the same for one seed");
    }

    #[test]
    fn stable_begins_anew_and_shorter_does_not() {
        let back_off = BackOff { jitter: 0, attempts: 3, ..BackOff::default() };
        let mut attempts = Attempts::new(back_off, 0);
        let _ = (attempts.next(), attempts.next());
        attempts.failed_after(back_off.stable - Duration::from_nanos(1));
        assert_eq!(attempts.next(), Some(Duration::from_millis(400)));
        attempts.failed_after(Duration::ZERO);
        assert_eq!(attempts.next(), None);
        attempts.failed_after(back_off.stable);
        assert_eq!((attempts.made(), attempts.next()), (0, Some(Duration::from_millis(100))));
    }

    #[test]
    fn the_largest_values_neither_panic_nor_overflow() {
        let most = Duration::MAX;
        let mut attempts =
            Attempts::new(BackOff { first: most, cap: most, jitter: 255, attempts: u32::MAX, stable: most }, 3);
        for _ in 0..100 {
            assert!(attempts.next().is_some());
        }
        assert_eq!(waits(BackOff { attempts: 0, ..BackOff::default() }, 0), [0_u64; 0]);
    }
}
