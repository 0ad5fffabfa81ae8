//! Explicit congestion notification on what we send (RFC 9000 section 13.4): a queue that fills marks instead of dropping, if the
//! path and the peer let it.
//!
//! ```text
//!   Testing ── 10 packets marked, or the probe timer ──▶ Unknown ── acknowledged, counts add up ──▶ Capable
//!      └── counts add up ─────────────────────────────────────────────────────────────────────────▶ │
//!   each ── the counts do not add up, or the first ten are all lost ──▶ Failed: nothing is marked any more on this path
//! ```
//!
//! Marked is what may carry stream data, with ECT(0); not N, probes of the datagram size and what proves an address.
//!
//! **The counts add up** (RFC 9000 section 13.4.2.1) if an ACK that raises the highest number acknowledged has them, ECT(0) and
//! CE together rose by at least the marked packets that it newly acknowledges, and there are not more marks than we made: a path that
//! clears marks, makes others of them or marks what we did not fails. An ACK that tells nothing newer is not looked at, for
//! it may be late.

use super::frames::EcnCounts;

/// Packets that are marked before there is an answer (RFC 9000 appendix A.4).
pub const TESTING_PACKETS: u64 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many more are marked.
    Testing {
        left: u64,
    },
    Unknown,
    Capable,
    Failed,
}

/// Whether what we send is marked, and what came back.
///
/// # Invariants
///
/// * the counts of the peer that were taken over only rise;
/// * nothing is marked once the path has failed.
#[derive(Clone, Copy, Debug)]
pub struct EcnSender {
    state: State,
    /// Packets sent with ECT(0), on any path.
    marked: u64,
    /// Those of this path that are taken for lost while none was acknowledged.
    lost: u64,
    told: EcnCounts,
}

impl Default for EcnSender {
    fn default() -> Self {
        Self { state: State::Testing { left: TESTING_PACKETS }, marked: 0, lost: 0, told: EcnCounts::default() }
    }
}

impl EcnSender {
    /// Nothing sent.
    pub fn new() -> Self {
        Self::default()
    }

    /// True if the next packets are to be marked ECT(0).
    pub const fn marks(&self) -> bool {
        matches!(self.state, State::Testing { .. } | State::Capable)
    }

    /// True once the counts have added up.
    pub fn is_capable(&self) -> bool {
        self.state == State::Capable
    }

    /// True if the path does not carry marks.
    pub fn has_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// A marked packet was sent.
    pub fn on_sent(&mut self) {
        self.marked += 1;
        if let State::Testing { left } = &mut self.state {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.state = State::Unknown;
            }
        }
    }

    /// Nothing came back for long: what goes now goes unmarked, for marks may be what the path drops.
    pub fn on_silence(&mut self) {
        if matches!(self.state, State::Testing { .. }) {
            self.state = State::Unknown;
        }
    }

    /// A marked packet is taken for lost.
    pub fn on_lost(&mut self) {
        if matches!(self.state, State::Testing { .. } | State::Unknown) {
            self.lost += 1;
            if self.lost >= TESTING_PACKETS {
                self.state = State::Failed;
            }
        }
    }

    /// An ACK that raised the highest number has newly acknowledged `arrived` marked packets, and has these counts. Returns how many
    /// packets are newly marked "congestion experienced".
    pub fn on_ack(&mut self, arrived: u64, counts: Option<EcnCounts>) -> u64 {
        if self.state == State::Failed {
            return 0;
        }
        let Some(counts) = counts else {
            if arrived > 0 {
                self.state = State::Failed;
            }
            return 0;
        };
        let rose = |now: u64, before: u64| now.checked_sub(before);
        let (Some(ect0), Some(ce)) = (rose(counts.ect0, self.told.ect0), rose(counts.ce, self.told.ce)) else {
            self.state = State::Failed;
            return 0;
        };
        let more_than_made = counts.ect0.saturating_add(counts.ce) > self.marked;
        if ect0.saturating_add(ce) < arrived || counts.ect1 > self.told.ect1 || more_than_made {
            self.state = State::Failed;
            return 0;
        }
        self.told = counts;
        if arrived > 0 {
            self.state = State::Capable;
        }
        ce
    }

    /// The peer is at another host: that way is tried anew. What it has counted goes on.
    pub fn new_path(&mut self) {
        self.state = State::Testing { left: TESTING_PACKETS };
        self.lost = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(ect0: u64, ect1: u64, ce: u64) -> Option<EcnCounts> {
        Some(EcnCounts { ect0, ect1, ce })
    }

    fn sent(count: u64) -> EcnSender {
        let mut ecn = EcnSender::new();
        for _ in 0..count {
            assert!(ecn.marks());
            ecn.on_sent();
        }
        ecn
    }

    #[test]
    fn ten_are_marked_and_more_once_the_counts_add_up() {
        let mut ecn = sent(10);
        assert!(!ecn.marks());
        assert_eq!(ecn.on_ack(0, None), 0);
        assert!(!ecn.has_failed(), "an ACK of nothing that was marked says nothing");
        assert_eq!(ecn.on_ack(4, counts(4, 0, 0)), 0);
        assert!(ecn.marks() && ecn.is_capable());
        assert_eq!(ecn.on_ack(3, counts(5, 0, 2)), 2);
        assert_eq!(ecn.on_ack(1, counts(8, 0, 2)), 0, "an acknowledgement was lost");
        assert!(ecn.is_capable());
    }

    #[test]
    fn a_path_that_clears_or_changes_marks_fails_for_good() {
        for (arrived, told) in [
            (2, None),             // cleared, or the peer cannot see them
            (2, counts(1, 0, 0)),  // one was cleared
            (2, counts(2, 1, 0)),  // became ECT(1)
            (2, counts(11, 0, 0)), // more than we made
            (2, counts(2, 0, 9)),  // the same
            (2, counts(0, 0, 0)),  // none seen
        ] {
            let mut ecn = sent(10);
            assert_eq!(ecn.on_ack(arrived, told), 0);
            assert!(ecn.has_failed() && !ecn.marks(), "{arrived} {told:?}");
            assert_eq!(ecn.on_ack(1, counts(10, 0, 5)), 0, "not believed any more");
        }
        let mut ecn = sent(5);
        ecn.on_ack(3, counts(2, 0, 1));
        ecn.on_ack(1, counts(3, 0, 0));
        assert!(ecn.has_failed(), "counts do not fall");
    }

    #[test]
    fn a_path_that_drops_what_is_marked_is_noticed() {
        let mut ecn = sent(10);
        for _ in 0..10 {
            assert!(!ecn.has_failed());
            ecn.on_lost();
        }
        assert!(ecn.has_failed());
        ecn.new_path();
        assert!(ecn.marks());
    }
}
