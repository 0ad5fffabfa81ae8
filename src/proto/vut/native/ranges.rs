//! Sets of positions as ranges that do not touch.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of positions. An operation costs the logarithm of the number of ranges, and each range that it removes.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// How many ranges there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lowest range.
    pub(super) fn first(&self) -> Option<Range<u64>> {
        self.0.first_key_value().map(|(start, end)| *start..*end)
    }

    /// Takes the lowest range out.
    pub(super) fn pop_first(&mut self) -> Option<Range<u64>> {
        self.0.pop_first().map(|(start, end)| start..end)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a range; says how many of its positions are new.
    pub(super) fn insert(&mut self, range: Range<u64>) -> u64 {
        let Range { mut start, mut end } = range;
        if start >= end {
            return 0;
        }
        let mut new = end - start;
        // from the highest range that begins at or below the end, down to the last that touches
        while let Some((&low, &high)) = self.0.range(..=end).next_back() {
            if high < start {
                break;
            }
            new -= high.min(end).saturating_sub(low.max(start));
            // positions of the merged part beyond the range as it was given are not counted again
            start = start.min(low);
            if high > end {
                end = high;
            }
            self.0.remove(&low);
            if low <= range.start && start == low {
                break;
            }
        }
        self.0.insert(start, end);
        new
    }

    /// Takes a range out.
    pub(super) fn remove(&mut self, range: &Range<u64>) {
        if range.start >= range.end {
            return;
        }
        while let Some((&low, &high)) = self.0.range(..range.end).next_back() {
            if high <= range.start {
                return;
            }
            self.0.remove(&low);
            if high > range.end {
                self.0.insert(range.end, high);
            }
            if low < range.start {
                self.0.insert(low, range.start);
                return;
            }
        }
    }

    /// The parts of `range` that are not there, in order.
    pub(super) fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let Range { start, end } = range;
        let before = self.0.range(..=start).next_back();
        let inside = self.0.range(start..end.max(start));
        // what is asked for ends like a range that begins there
        let all = before.into_iter().chain(inside).map(|(low, high)| (*low, *high)).chain([(end, end)]);
        let between = all.scan(start, |at, (low, high)| {
            let gap = *at..low;
            *at = high.max(*at);
            Some(gap)
        });
        between.filter(|gap| gap.start < gap.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn operations_agree_with_a_set() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for _ in 0..60 {
                let start = random.u64(..60);
                let range = start..start + random.u64(..12);
                if random.u8(..3) > 0 {
                    let new = range.clone().filter(|at| set.insert(*at)).count() as u64;
                    assert_eq!(ranges.insert(range), new, "seed {seed}");
                } else {
                    range.clone().for_each(|at| _ = set.remove(&at));
                    ranges.remove(&range);
                }
                let listed: Vec<u64> = ranges.0.iter().flat_map(|(low, high)| *low..*high).collect();
                assert_eq!(listed, set.iter().copied().collect::<Vec<_>>(), "seed {seed}");
                let all: Vec<_> = ranges.0.iter().collect();
                assert!(all.windows(2).all(|two| two[0].1 < two[1].0), "they do not touch");
                let asked = random.u64(..40)..40 + random.u64(..40);
                let missing: Vec<u64> = ranges.gaps(asked.clone()).flatten().collect();
                assert_eq!(missing, asked.clone().filter(|at| !set.contains(at)).collect::<Vec<_>>());
            }
        }
    }
}
