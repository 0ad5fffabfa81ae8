//! Seeded randomness and delays: what makes a schedule repeatable.

use std::time::Duration;

/// A small generator (splitmix64): one word of state, every seed is a good one. Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator that gives the same numbers for the same seed, for ever.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 if `n` is 0. The bias of the remainder does not matter for schedules.
    pub fn below(&mut self, n: u64) -> u64 {
        self.bits() % n.max(1)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// A number from 1 to `high`, each order of magnitude as likely as any other, so that small ones do occur.
    pub fn magnitude(&mut self, high: u64) -> u64 {
        let high = high.max(1);
        let floor = 1 << self.between(0, u64::from(high.ilog2()));
        self.between(floor, high.min(floor.saturating_mul(2) - 1))
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// How long a letter is under way.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    least: Duration,
    most: Duration,
}

impl Delays {
    /// No delay: the order of letters that are due is drawn each time.
    pub const NONE: Self = Self { least: Duration::ZERO, most: Duration::ZERO };

    /// From `least` to `most` milliseconds, drawn for each letter.
    pub fn millis(least: u64, most: u64) -> Self {
        Self { least: Duration::from_millis(least), most: Duration::from_millis(most.max(least)) }
    }

    /// One delay.
    pub fn draw(&self, rng: &mut Rng) -> Duration {
        let spread = u64::try_from((self.most - self.least).as_micros()).unwrap_or(u64::MAX);
        self.least + Duration::from_micros(rng.between(0, spread))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_the_same_numbers() {
        // the reference values of splitmix64 for seed 1234567
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.bits(), 6_457_827_717_110_365_317);
        assert_eq!(rng.bits(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn numbers_keep_their_bounds() {
        let mut rng = Rng::new(1);
        for _ in 0..10_000 {
            assert!((3..=9).contains(&rng.between(3, 9)));
            assert!((1..=1000).contains(&rng.magnitude(1000)));
            assert_eq!(rng.below(0), 0);
            assert_eq!(rng.magnitude(1), 1);
        }
    }
}
