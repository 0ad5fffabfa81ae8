//! Each packet number counts once: a bitmap of the newest 16,384 numbers.
//!
//! Asked after the AEAD has opened the packet, for before that the number is anyone's claim, and a forged high one would
//! move the window past all honest packets.

/// How many numbers are remembered, the highest included: 16,384 packets of 1,452 octets are 24 MB, one round trip of
/// 200 ms at 950 Mbit/s, so that even a packet delayed by that much is not taken for a replay. 2 KiB per connection.
pub const REPLAY_WINDOW: u64 = 16_384;

const BITS: u64 = u64::BITS as u64;
const WORDS: usize = (REPLAY_WINDOW / BITS) as usize;

/// What the window says of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Freshness {
    /// Not seen before; it counts as seen from now on.
    Fresh,
    /// Seen before: a duplicate or a replay.
    Seen,
    /// So far below the highest that nothing is known of it.
    Old,
}

/// Which packet numbers were received.
///
/// # Invariants
///
/// Bit `n % 16384` belongs to the one `n` of the newest 16,384 numbers up to the highest.
#[derive(Clone)]
pub struct ReplayWindow {
    words: Box<[u64; WORDS]>,
    highest: Option<u64>,
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self { words: Box::new([0; WORDS]), highest: None }
    }
}

impl ReplayWindow {
    /// Nothing received.
    pub fn new() -> Self {
        Self::default()
    }

    /// The highest number received.
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Takes note of `number`, which must have been authenticated.
    pub fn insert(&mut self, number: u64) -> Freshness {
        match self.highest {
            None => self.highest = Some(number),
            Some(highest) if number > highest => {
                self.forget(highest + 1, number - highest);
                self.highest = Some(number);
            }
            Some(highest) if highest - number >= REPLAY_WINDOW => return Freshness::Old,
            Some(_) => {}
        }
        let (word, bit) = place(number);
        if self.words[word] & bit != 0 {
            return Freshness::Seen;
        }
        self.words[word] |= bit;
        Freshness::Fresh
    }

    /// Clears the bits of `count` numbers from `first` on, which belonged to numbers that leave the window.
    fn forget(&mut self, first: u64, count: u64) {
        if count >= REPLAY_WINDOW {
            self.words.fill(0);
            return;
        }
        let mut number = first;
        let mut left = count;
        while left > 0 {
            let (word, _) = place(number);
            let offset = number % BITS;
            let here = left.min(BITS - offset);
            let mask = if here == BITS { u64::MAX } else { ((1 << here) - 1) << offset };
            self.words[word] &= !mask;
            number = number.wrapping_add(here);
            left -= here;
        }
    }
}

impl std::fmt::Debug for ReplayWindow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplayWindow").field("highest", &self.highest).finish_non_exhaustive()
    }
}

fn place(number: u64) -> (usize, u64) {
    let index = (number % REPLAY_WINDOW / BITS) as usize;
    (index, 1 << (number % BITS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_number_is_fresh_once() {
        let mut window = ReplayWindow::new();
        for number in [5, 3, 0, 4, 1_000_000, 999_999] {
            assert_eq!(window.insert(number), Freshness::Fresh, "{number}");
            assert_eq!(window.insert(number), Freshness::Seen, "{number}");
        }
        assert_eq!(window.insert(5), Freshness::Old);
    }

    #[test]
    fn the_edge_of_the_window_is_exact() {
        let mut window = ReplayWindow::new();
        assert_eq!(window.insert(20_000), Freshness::Fresh);
        assert_eq!(window.insert(20_000 - REPLAY_WINDOW), Freshness::Old);
        assert_eq!(window.insert(20_000 - REPLAY_WINDOW + 1), Freshness::Fresh);
        assert_eq!(window.insert(u64::MAX), Freshness::Fresh);
        assert_eq!(window.insert(u64::MAX - REPLAY_WINDOW + 1), Freshness::Fresh);
        assert_eq!(window.insert(u64::MAX - REPLAY_WINDOW), Freshness::Old);
    }

    #[test]
    fn random_numbers_agree_with_a_set() {
        for seed in 0..6 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut window, mut seen) = (ReplayWindow::new(), BTreeSet::new());
            let mut base = 0u64;
            for _ in 0..20_000 {
                base += match random.u8(..) {
                    0 => random.u64(..3 * REPLAY_WINDOW),
                    1..40 => random.u64(..200),
                    _ => 1,
                };
                let back = if random.bool() { 2 } else { 18_000 };
                let number = base.saturating_sub(random.u64(..back));
                let highest = seen.last().copied().unwrap_or(0);
                let expected = if number + REPLAY_WINDOW <= highest {
                    Freshness::Old
                } else if seen.insert(number) {
                    Freshness::Fresh
                } else {
                    Freshness::Seen
                };
                assert_eq!(window.insert(number), expected, "seed {seed}, number {number}, highest {highest}");
            }
        }
    }
}
