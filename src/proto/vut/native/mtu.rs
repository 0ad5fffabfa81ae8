//! How large a datagram may be: packetization layer path MTU discovery (DPLPMTUD, RFC 8899).
//!
//! ```text
//!   Searching ── probe acknowledged ──────────────▶ current rises, next size
//!       │     ── probe lost 3 times, too big ─────▶ the ceiling falls, next size below it
//!       └──── nothing left to try ────────────────▶ Complete ── 10 minutes ──▶ Searching, up to the full ceiling
//!   both ──── black hole ─────────────────────────▶ current = 508 ── 60 s ──▶ Searching
//! ```
//!
//! A probe is a packet of PING and PAD, so that nothing is lost with it; its loss says nothing about congestion. Sizes are UDP
//! payloads. The base is 508: the peer's N had that size and came through, so that RFC 8899's states Disabled, Base and Error
//! have nothing to do here.
//!
//! Sizes tried: first those that real paths have, up; when one fails below the size of an Ethernet path, halves of what is
//! left (tunnels have any overhead); above it, none (a path has jumbo frames or not).
//!
//! # On trial
//!
//! Data does not wait for the search: from the beginning it leaves in datagrams of 1,232 octets, which every path of IPv6
//! carries (RFC 8200 section 5). That size is on trial until such a datagram is acknowledged. If one is lost, or the probe timer
//! fires, before that happens, the path may be narrower: data goes on at 508, and the search decides.
//!
//! # Black hole
//!
//! A path may stop carrying what it carried. Sizes above the base are suspected by each round of losses in which one was lost
//! and since which none was acknowledged; three such rounds, and the base is used (RFC 8899 section 4.3). Random loss does not
//! do that: among many sent packets one arrives.

use super::negotiation::BASE_DATAGRAM;
use crate::proto::time::Time;
use std::time::Duration;

/// How often a size is tried (MAX_PROBES of RFC 8899 section 5.1.2).
pub const MAX_PROBES: u32 = 3;
/// How long a finished search rests (PMTU_RAISE_TIMER of RFC 8899 section 5.1.1).
pub const RAISE_AFTER: Duration = Duration::from_secs(600);
/// How long after a black hole the search begins again.
pub const RETRY_AFTER: Duration = Duration::from_secs(60);
/// Rounds of losses that make a black hole.
pub const SUSPICIONS: u32 = 3;

/// UDP payloads of paths that exist: IPv6's least MTU, Ethernet over IPv6 and IPv4, jumbo frames of 9,000 octets over IPv6 and
/// IPv4, and two steps to the 64 KiB of loopback.
const PLATEAUS: [u16; 7] = [1232, 1452, 1472, 8952, 8972, 16_000, 32_000];
/// The first size tried: what almost every path carries. Starting at 1,232 would cost a round trip for nothing.
const FIRST: u16 = 1452;
/// The size on trial: IPv6's least MTU.
const TRIAL: u16 = 1232;
/// Above it, a failed size is not searched below.
const ETHERNET: u16 = 1472;
/// Two sizes nearer than this are one.
const STEP: u16 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    /// The next size to try, and how often it was lost.
    Searching { size: u16, lost: u32 },
    /// A probe is under way.
    Probing { size: u16, lost: u32, number: u64 },
    /// Until then.
    Resting(Time),
}

/// The size of datagrams on one path.
///
/// # Invariants
///
/// * 508 <= `current` <= `ceiling` <= `limit`
/// * `current` rises only when a datagram of that size was acknowledged; until then a size may be on trial.
#[derive(Clone, Debug)]
pub struct MtuSearch {
    current: u16,
    /// The smallest size known not to pass is above this.
    ceiling: u16,
    limit: u16,
    search: Search,
    suspicions: u32,
    /// Used for data, and not yet known to pass.
    trial: Option<u16>,
    /// Losses of packets below this number belong to a round that was counted, or are older than a success.
    counted_below: u64,
}

impl MtuSearch {
    /// Begins on a new path. `limit` is the smaller of what the peer takes and what we can send.
    pub fn new(limit: u16) -> Self {
        let limit = limit.max(BASE_DATAGRAM);
        let mut mtu = Self {
            current: BASE_DATAGRAM,
            ceiling: limit,
            limit,
            search: Search::Resting(Time::NEVER),
            suspicions: 0,
            trial: Some(TRIAL.min(limit)).filter(|size| *size > BASE_DATAGRAM),
            counted_below: 0,
        };
        mtu.next_size(Time::ZERO);
        mtu
    }

    /// The most that the path may carry: what [`new`](Self::new) was told.
    pub const fn limit(&self) -> u16 {
        self.limit
    }

    /// The size of datagrams: the largest that the path is known to carry, or the one on trial.
    pub fn current(&self) -> u16 {
        self.trial.unwrap_or_default().max(self.current)
    }

    /// Nothing came back: a size on trial may be why.
    pub fn on_silence(&mut self) {
        self.trial = None;
    }

    /// The size of the probe that should be sent now, if any. Tell [`on_probe_sent`](Self::on_probe_sent).
    pub fn poll_probe(&mut self, now: Time) -> Option<u16> {
        if let Search::Resting(until) = self.search
            && now >= until
        {
            self.ceiling = self.limit;
            self.next_size(now);
        }
        match self.search {
            Search::Searching { size, .. } => Some(size),
            Search::Probing { .. } | Search::Resting(_) => None,
        }
    }

    /// When a rest ends.
    pub fn poll_timeout(&self) -> Option<Time> {
        match self.search {
            Search::Resting(until) if until < Time::NEVER => Some(until),
            _ => None,
        }
    }

    /// The probe was sent as packet `number`.
    pub fn on_probe_sent(&mut self, number: u64) {
        if let Search::Searching { size, lost } = self.search {
            self.search = Search::Probing { size, lost, number };
        }
    }

    /// The system would not send the probe: it is larger than the local interface allows. That needs no second try.
    pub fn on_too_big(&mut self, now: Time) {
        if let Search::Searching { size, .. } | Search::Probing { size, .. } = self.search {
            self.failed(size, now);
        }
    }

    /// Packet `number`, a datagram of `size` octets, was acknowledged.
    pub fn on_acknowledged(&mut self, number: u64, size: u16, now: Time) {
        if size > BASE_DATAGRAM && number >= self.counted_below {
            self.suspicions = 0;
            self.counted_below = number + 1;
        }
        if self.trial.is_some_and(|trial| trial <= size) {
            self.current = self.current.max(TRIAL.min(self.limit));
            self.trial = None;
        }
        if let Search::Probing { size, number: probe, .. } = self.search
            && number == probe
        {
            self.current = self.current.max(size);
            self.next_size(now);
        }
    }

    /// Packets were found lost, all at once: each with its number and size, in ascending order. `next_number` is that of the
    /// next packet to be sent. Returns true if there is a black hole: the size has fallen to the base.
    pub fn on_lost(&mut self, lost: impl IntoIterator<Item = (u64, u16)>, next_number: u64, now: Time) -> bool {
        let mut suspicious = false;
        for (number, size) in lost {
            match self.search {
                Search::Probing { size, lost, number: probe } if probe == number => {
                    if lost + 1 == MAX_PROBES {
                        self.failed(size, now);
                    } else {
                        self.search = Search::Searching { size, lost: lost + 1 };
                    }
                }
                _ if self.trial == Some(size) => self.trial = None,
                _ => suspicious |= size > BASE_DATAGRAM && size <= self.current && number >= self.counted_below,
            }
        }
        if !suspicious {
            return false;
        }
        // what is under way already is of the same round
        self.counted_below = next_number;
        self.suspicions += 1;
        if self.suspicions < SUSPICIONS {
            return false;
        }
        self.suspicions = 0;
        self.current = BASE_DATAGRAM;
        self.search = Search::Resting(now + RETRY_AFTER);
        true
    }

    fn failed(&mut self, size: u16, now: Time) {
        self.trial.take_if(|trial| *trial >= size);
        self.ceiling = (size - 1).max(self.current);
        self.next_size(now);
    }

    /// Chooses the next size between current and ceiling, or rests.
    fn next_size(&mut self, now: Time) {
        let (current, ceiling) = (self.current, self.ceiling);
        let tried_above = ceiling < self.limit;
        let size = if current < FIRST && ceiling >= FIRST {
            Some(FIRST)
        } else if !tried_above || ceiling > ETHERNET {
            let plateau = PLATEAUS.into_iter().find(|size| *size > current && *size <= ceiling);
            // what failed above Ethernet was a plateau; the sizes below it passed
            plateau.or_else(|| (!tried_above && ceiling > current).then_some(ceiling))
        } else if current < PLATEAUS[0] && ceiling >= PLATEAUS[0] {
            Some(PLATEAUS[0])
        } else if current >= FIRST {
            None
        } else {
            let left = ceiling - current;
            (left >= STEP).then(|| current + left.div_ceil(2))
        };
        self.search = match size {
            Some(size) => Search::Searching { size, lost: 0 },
            None if current < self.limit => Search::Resting(now + RAISE_AFTER),
            None => Search::Resting(Time::NEVER),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches on a path that carries `carries`; returns the sizes tried.
    fn search(mtu: &mut MtuSearch, carries: u16, now: Time) -> Vec<u16> {
        let mut tried = Vec::new();
        for number in 0..200 {
            let Some(size) = mtu.poll_probe(now) else { return tried };
            mtu.on_probe_sent(1_000_000 + number);
            assert_eq!(mtu.poll_probe(now), None, "one probe at a time");
            if size <= carries {
                mtu.on_acknowledged(1_000_000 + number, size, now);
            } else {
                assert!(!mtu.on_lost([(1_000_000 + number, size)], 1_000_001 + number, now));
            }
            if tried.last() != Some(&size) {
                tried.push(size);
            }
            assert!(mtu.current <= mtu.ceiling && mtu.ceiling <= mtu.limit && mtu.current >= BASE_DATAGRAM);
        }
        panic!("the search does not end: {tried:?}");
    }

    #[test]
    fn usual_paths_are_found_in_few_probes() {
        for (limit, carries, found, tried) in [
            (1452, 1472, 1452, &[1452][..]),
            (1472, 1472, 1472, &[1452, 1472]),
            (65_507, 1472, 1472, &[1452, 1472, 8952]),
            (65_507, 1452, 1452, &[1452, 1472]),
            (8972, 8972, 8972, &[1452, 1472, 8952, 8972]),
            (3200, 65_507, 3200, &[1452, 1472, 3200]),
            (65_507, 65_507, 65_507, &[1452, 1472, 8952, 8972, 16_000, 32_000, 65_507]),
            (508, 65_507, 508, &[]),
            (100, 65_507, 508, &[]),
            (600, 65_507, 600, &[600]),
        ] {
            let mut mtu = MtuSearch::new(limit);
            assert_eq!(search(&mut mtu, carries, Time::ZERO), tried, "limit {limit}, path {carries}");
            assert_eq!(mtu.current(), found);
        }
    }

    #[test]
    fn a_tunnel_of_any_size_is_found_to_16_octets() {
        for limit in [1000, 1452, 9000] {
            for carries in 508..1452 {
                let mut mtu = MtuSearch::new(limit);
                search(&mut mtu, carries, Time::ZERO);
                let best = carries.min(limit);
                assert!(mtu.current() <= best && mtu.current() + STEP > best, "{carries}, {limit}: {}", mtu.current());
            }
        }
    }

    #[test]
    fn a_size_is_tried_three_times_but_not_if_the_system_refuses_it() {
        let mut mtu = MtuSearch::new(1452);
        for number in 0..3 {
            assert_eq!(mtu.poll_probe(Time::ZERO), Some(1452));
            mtu.on_probe_sent(number);
            assert!(!mtu.on_lost([(number, 1452)], number + 1, Time::ZERO));
        }
        assert_eq!(mtu.poll_probe(Time::ZERO), Some(1232));
        let mut mtu = MtuSearch::new(1452);
        mtu.on_too_big(Time::ZERO);
        assert_eq!(mtu.poll_probe(Time::ZERO), Some(1232));
    }

    #[test]
    fn data_begins_at_1232_and_goes_back_if_that_does_not_pass() {
        let mut mtu = MtuSearch::new(1452);
        assert_eq!(mtu.current(), 1232);
        mtu.on_acknowledged(1, 1232, Time::ZERO);
        mtu.on_silence();
        assert_eq!(mtu.current(), 1232, "known to pass");
        let mut mtu = MtuSearch::new(1452);
        assert!(!mtu.on_lost([(1, 1232)], 2, Time::ZERO));
        assert_eq!(mtu.current(), 508);
        assert_eq!(MtuSearch::new(600).current(), 600);
    }

    #[test]
    fn a_finished_search_begins_again_after_10_minutes() {
        let mut mtu = MtuSearch::new(9000);
        search(&mut mtu, 1452, Time::ZERO);
        assert_eq!(mtu.poll_timeout(), Some(Time::from_secs(600)));
        assert_eq!(mtu.poll_probe(Time::from_secs(599)), None);
        assert_eq!(search(&mut mtu, 8952, Time::from_secs(600)), [1472, 8952, 8972]);
        assert_eq!(mtu.current(), 8952);
        let mut full = MtuSearch::new(1452);
        search(&mut full, 1452, Time::ZERO);
        assert_eq!(full.poll_timeout(), None, "nothing is left to find");
    }

    #[test]
    fn three_rounds_of_losses_without_a_success_are_a_black_hole() {
        let mut mtu = MtuSearch::new(1452);
        search(&mut mtu, 1452, Time::ZERO);
        mtu.counted_below = 0;
        assert!(!mtu.on_lost([(10, 1452), (11, 1452)], 20, Time::ZERO));
        assert!(!mtu.on_lost([(12, 1452), (19, 1452)], 25, Time::ZERO), "the same round");
        assert!(!mtu.on_lost([(20, 400)], 26, Time::ZERO), "small ones say nothing");
        assert!(!mtu.on_lost([(20, 1452)], 30, Time::ZERO));
        mtu.on_acknowledged(28, 100, Time::ZERO);
        assert!(mtu.on_lost([(31, 1452)], 40, Time::from_secs(5)));
        assert_eq!(mtu.current(), 508);
        assert_eq!(mtu.poll_timeout(), Some(Time::from_secs(65)));
        assert_eq!(search(&mut mtu, 1300, Time::from_secs(65))[0], 1452);
        assert!((1285..=1300).contains(&mtu.current()));
    }

    #[test]
    fn random_loss_is_no_black_hole() {
        let mut mtu = MtuSearch::new(1452);
        search(&mut mtu, 1452, Time::ZERO);
        mtu.counted_below = 0;
        let mut random = fastrand::Rng::with_seed(1);
        for round in 0..2000u64 {
            let first = round * 20;
            let lost: Vec<u64> = (first..first + 20).filter(|_| random.u8(..10) == 0).collect();
            for number in first..first + 20 {
                if !lost.contains(&number) {
                    mtu.on_acknowledged(number, 1452, Time::ZERO);
                }
            }
            assert!(!mtu.on_lost(lost.into_iter().map(|number| (number, 1452)), first + 20, Time::ZERO));
        }
        assert_eq!(mtu.current(), 1452);
    }
}
