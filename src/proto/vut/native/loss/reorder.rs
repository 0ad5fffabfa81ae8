//! How long a packet may be overtaken before it counts as lost: RACK's reordering window (RFC 8985 section 6.2 step 4).
//!
//! Where RFC 8985 looks at the DSACK option, here an acknowledgement of a packet that was taken for lost says the same
//! with certainty. Where it counts sacked segments above the cumulative acknowledgement, here the distance to the highest
//! acknowledged number counts, for each packet by itself, as in RFC 9002 section 6.1.1.

use std::time::Duration;

/// Numbers by which a packet is overtaken before it is lost, while no reordering was seen: 3 (DupThresh). Numbers that were
/// left out count.
pub const THRESHOLD: u64 = 3;
/// Recoveries without a spurious one after which the window is what it was at first.
const PERSIST: u32 = 16;

/// The reordering that was seen on a path.
#[derive(Clone, Copy, Debug)]
pub struct Reordering {
    seen: bool,
    multiple: u32,
    persist: u32,
    /// The window grew already, until this number is acknowledged.
    grown_until: Option<u64>,
    /// Recovery lasts until this number is acknowledged.
    recovery: Option<u64>,
}

impl Default for Reordering {
    fn default() -> Self {
        Self { seen: false, multiple: 1, persist: PERSIST, grown_until: None, recovery: None }
    }
}

impl Reordering {
    /// True if a packet was ever acknowledged after a later one, or wrongly taken for lost.
    pub const fn was_seen(&self) -> bool {
        self.seen
    }

    /// True from a loss until all that was sent before it was noticed is settled.
    pub const fn in_recovery(&self) -> bool {
        self.recovery.is_some()
    }

    /// A packet was acknowledged after a later one.
    pub fn on_overtaken(&mut self) {
        self.seen = true;
    }

    /// A packet that was taken for lost was acknowledged. The window grows once per round trip.
    pub fn on_spurious(&mut self, next_number: u64) {
        self.seen = true;
        self.persist = PERSIST;
        if self.grown_until.is_none() {
            self.grown_until = Some(next_number);
            self.multiple = self.multiple.saturating_add(1);
        }
    }

    /// A packet was found lost.
    pub fn on_lost(&mut self, next_number: u64) {
        self.recovery.get_or_insert(next_number);
    }

    /// `largest` is the highest number acknowledged.
    pub fn on_acknowledged(&mut self, largest: u64) {
        self.grown_until.take_if(|until| largest >= *until);
        if self.recovery.take_if(|until| largest >= *until).is_some() {
            self.persist = self.persist.saturating_sub(1);
            if self.persist == 0 {
                self.multiple = 1;
                self.persist = PERSIST;
            }
        }
    }

    /// How long a packet that was overtaken by `distance` numbers is waited for beyond a round trip.
    pub fn window(&self, distance: u64, min_rtt: Duration, smoothed: Duration) -> Duration {
        if !self.seen && (self.in_recovery() || distance >= THRESHOLD) {
            return Duration::ZERO;
        }
        (min_rtt / 4).saturating_mul(self.multiple).min(smoothed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(40);
    const SMOOTHED: Duration = Duration::from_millis(50);
    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn without_reordering_three_numbers_suffice() {
        let reordering = Reordering::default();
        assert_eq!(reordering.window(2, MIN, SMOOTHED), MS(10));
        assert_eq!(reordering.window(3, MIN, SMOOTHED), Duration::ZERO);
    }

    #[test]
    fn in_recovery_nothing_is_waited_for_until_reordering_is_seen() {
        let mut reordering = Reordering::default();
        reordering.on_lost(10);
        assert_eq!(reordering.window(1, MIN, SMOOTHED), Duration::ZERO);
        reordering.on_acknowledged(9);
        assert!(reordering.in_recovery());
        reordering.on_acknowledged(10);
        assert_eq!(reordering.window(1, MIN, SMOOTHED), MS(10));
        reordering.on_overtaken();
        reordering.on_lost(20);
        assert_eq!(reordering.window(9, MIN, SMOOTHED), MS(10));
    }

    #[test]
    fn the_window_grows_once_a_round_trip_up_to_the_smoothed_round_trip() {
        let mut reordering = Reordering::default();
        reordering.on_spurious(10);
        reordering.on_spurious(12);
        assert_eq!(reordering.window(9, MIN, SMOOTHED), MS(20));
        reordering.on_acknowledged(10);
        reordering.on_spurious(20);
        assert_eq!(reordering.window(9, MIN, SMOOTHED), MS(30));
        for round in 3..20 {
            reordering.on_acknowledged(round * 10);
            reordering.on_spurious((round + 1) * 10);
        }
        assert_eq!(reordering.window(9, MIN, SMOOTHED), SMOOTHED);
    }

    #[test]
    fn sixteen_clean_recoveries_bring_it_back() {
        let mut reordering = Reordering::default();
        reordering.on_spurious(1);
        for round in 1..=16 {
            assert_eq!(reordering.window(9, MIN, SMOOTHED), MS(20), "round {round}");
            reordering.on_lost(round * 10);
            reordering.on_acknowledged(round * 10);
        }
        assert_eq!(reordering.window(9, MIN, SMOOTHED), MS(10));
    }

    #[test]
    fn a_spurious_one_starts_the_sixteen_anew() {
        let mut reordering = Reordering::default();
        reordering.on_spurious(1);
        for round in 1..=31 {
            if round == 16 {
                reordering.on_spurious(round * 10);
                assert_eq!(reordering.window(9, MIN, SMOOTHED), MS(30));
            }
            reordering.on_lost(round * 10);
            reordering.on_acknowledged(round * 10);
            assert_eq!(reordering.window(9, MIN, SMOOTHED) == MS(10), round == 31, "round {round}");
        }
    }
}
