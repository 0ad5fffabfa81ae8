//! The receiving side: what arrived, in order and beyond gaps, under the grant of who reads.
//!
//! ```text
//!        read            next          end  end+1
//!   ─────┼───────────────┼──────░░░░░───┼────┼────▶ position
//!        │ ready to read │  gap  queued │probe
//! ```
//!
//! | a segment | becomes |
//! |---|---|
//! | below `next`, even in part | old: ignored as a whole, acknowledged |
//! | at `next` | ready, with all queued ones that now follow |
//! | beyond `next` | queued as it came |
//! | one octet at `end` | held, not acknowledged until `end` moves on |
//! | the same as a queued one | acknowledged again |
//! | overlapping a queued one, or beyond `end`, or beyond the peer's close | dropped, acknowledged, counted |
//!
//! Segments are kept whole: `next` only ever stands where a segment of the peer ended, because a peer of the old kind gives up
//! when an acknowledgement falls elsewhere.
//!
//! **The grant.** `end` is what the reader granted, and nothing else: there is no buffer between. An end that was told is never
//! taken back. It is never below [`FIRST_END`], so a reader that grants nothing may find up to 111 octets.

use super::{FIRST_END, HELLO_LEN};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use std::fmt;

/// What became of a segment. In each case the peer is owed an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// `next` moved on.
    InOrder,
    /// It waits for an earlier one, or for a grant.
    Waiting,
    /// It was here before.
    Old,
    /// It is dropped.
    Refused(Refusal),
}

/// Why a segment is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Beyond what was granted.
    Beyond,
    /// Beyond where the peer said that its stream ends.
    PastClose,
    /// Runs into one that is held, or differs from it.
    Overlap,
    /// Too many are held.
    Full,
}

/// Whether anybody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Reads,
    /// What arrives is acknowledged and forgotten.
    Stopped,
}

/// # Invariants
///
/// 1. `read <= next <= end`, `advertised <= end`.
/// 2. What is held is at most `end - read` octets, and one more.
/// 3. Queued segments do not overlap, and none begins below `next`.
pub(crate) struct Receiver {
    next: u64,
    end: u64,
    advertised: u64,
    read: u64,
    ready: BytesMut,
    queue: BTreeMap<u64, Bytes>,
    queue_most: usize,
    close: Option<u64>,
    reader: Reader,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { next, end, advertised, read, close, reader, .. } = self;
        write!(f, "Receiver(next {next} end {end} advertised {advertised} read {read} close {close:?} {reader:?}")?;
        let queued: Vec<_> = self.queue.iter().map(|(at, data)| (*at, data.len())).collect();
        write!(f, " ready {} queued {queued:?})", self.ready.len())
    }
}

impl Receiver {
    /// What is granted beyond what arrived when nobody reads: the window that peers of the old kind have.
    const DISCARD_WINDOW: u64 = 65_536;

    pub(crate) fn new(queue_most: usize) -> Self {
        Self {
            next: 0,
            end: FIRST_END,
            advertised: FIRST_END,
            read: 0,
            ready: BytesMut::new(),
            queue: BTreeMap::new(),
            queue_most,
            close: None,
            reader: Reader::Reads,
        }
    }

    /// The peer's hello is here.
    pub(crate) fn on_hello(&mut self) {
        debug_assert_eq!(self.next, 0, "only once");
        self.next = HELLO_LEN;
        self.read = HELLO_LEN;
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The largest end that was told to the peer.
    pub(crate) fn advertised(&self) -> u64 {
        self.advertised
    }

    /// The end that may be told.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn on_advertised(&mut self, end: u64) {
        self.advertised = self.advertised.max(end);
    }

    /// Octets that can be read now.
    pub(crate) fn readable(&self) -> usize {
        self.ready.len()
    }

    /// Octets that are held, readable or not.
    pub(crate) fn held(&self) -> u64 {
        self.ready.len() as u64 + self.queue.values().map(|segment| segment.len() as u64).sum::<u64>()
    }

    /// The peer's stream ends at `position`. False if data beyond it is here; then nothing changed.
    pub(crate) fn close_at(&mut self, position: u64) -> bool {
        let furthest = self.queue.last_key_value().map_or(self.next, |(at, data)| at + data.len() as u64);
        if position < furthest.max(self.next) || self.close.is_some_and(|close| close != position) {
            return false;
        }
        self.close = Some(position);
        true
    }

    /// All up to the peer's close was read.
    pub(crate) fn is_over(&self) -> bool {
        self.close == Some(self.read)
    }

    /// The peer's end, if it was told.
    pub(crate) fn close(&self) -> Option<u64> {
        self.close
    }

    /// Takes a segment. `data` is not empty.
    pub(crate) fn on_data(&mut self, seq: u64, data: &[u8]) -> Taken {
        let end = seq + data.len() as u64;
        if seq < self.next {
            return Taken::Old;
        }
        if self.close.is_some_and(|close| end > close) {
            return Taken::Refused(Refusal::PastClose);
        }
        let probe = seq == self.end && data.len() == 1;
        if end > self.end && !probe {
            return Taken::Refused(Refusal::Beyond);
        }
        if let Some((at, held)) =
            self.queue.range(..end).next_back().filter(|(at, held)| **at + held.len() as u64 > seq)
        {
            let same = *at == seq && held[..] == *data;
            return if same { Taken::Waiting } else { Taken::Refused(Refusal::Overlap) };
        }
        if seq == self.next && !probe {
            self.deliver(data);
            self.advance();
            return Taken::InOrder;
        }
        if self.queue.len() >= self.queue_most && !probe {
            return Taken::Refused(Refusal::Full);
        }
        self.queue.insert(seq, Bytes::copy_from_slice(data));
        self.check();
        Taken::Waiting
    }

    /// The reader grants up to `position`; a lower one changes nothing. True if a segment that was held moved `next` on.
    pub(crate) fn grant(&mut self, position: u64) -> bool {
        self.end = self.end.max(position);
        self.advance()
    }

    /// The peer could use news of the end: what it knows is used up, or less than half of what it may send.
    pub(crate) fn update_due(&self) -> bool {
        let told = self.advertised.saturating_sub(self.next);
        self.end > self.advertised && (told == 0 || told < (self.end - self.next) / 2)
    }

    /// At most `most` octets, in order; none if nothing is ready.
    pub(crate) fn read(&mut self, most: usize) -> Option<Bytes> {
        let len = most.min(self.ready.len());
        if len == 0 {
            return None;
        }
        self.read += len as u64;
        Some(self.ready.split_to(len).freeze())
    }

    /// Nobody reads any more.
    pub(crate) fn stop(&mut self) {
        self.reader = Reader::Stopped;
        self.ready = BytesMut::new();
        self.read = self.next;
        self.end = self.end.max(self.next + Self::DISCARD_WINDOW);
        self.advance();
    }

    /// A test continues at positions that would take hours to reach.
    #[cfg(test)]
    pub(crate) fn jump(&mut self, by: u64) {
        assert!(self.queue.is_empty() && self.ready.is_empty());
        self.next += by;
        self.read += by;
        self.end += by;
        self.advertised += by;
    }

    fn deliver(&mut self, data: &[u8]) {
        self.next += data.len() as u64;
        match self.reader {
            Reader::Reads => self.ready.extend_from_slice(data),
            Reader::Stopped => {
                self.read = self.next;
                self.end = self.end.max(self.next + Self::DISCARD_WINDOW);
            }
        }
    }

    /// Takes queued segments in as long as one begins at `next` and ends within the grant.
    fn advance(&mut self) -> bool {
        let before = self.next;
        while let Some(first) = self.queue.first_entry() {
            if *first.key() != self.next || self.next + first.get().len() as u64 > self.end {
                break;
            }
            let data = first.remove();
            self.deliver(&data);
        }
        self.check();
        self.next != before
    }

    pub(crate) fn check(&self) {
        debug_assert!(self.read <= self.next && self.next <= self.end && self.advertised <= self.end, "1: {self:?}");
        debug_assert!(
            self.reader == Reader::Stopped || self.read + self.ready.len() as u64 == self.next,
            "1: {self:?}"
        );
        #[cfg(test)]
        {
            debug_assert!(self.held() <= self.end - self.read + 1, "2");
            let mut free = self.next;
            for (at, data) in &self.queue {
                debug_assert!(*at >= free, "3");
                free = at + data.len() as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hello taken, granted up to `end`.
    fn receiver(end: u64) -> Receiver {
        let mut receiver = Receiver::new(100);
        receiver.on_hello();
        receiver.grant(end);
        receiver
    }

    fn text(receiver: &mut Receiver) -> Vec<u8> {
        receiver.read(usize::MAX).map(|data| data.to_vec()).unwrap_or_default()
    }

    #[test]
    fn a_gap_is_filled_and_all_becomes_ready() {
        let mut receiver = receiver(1000);
        assert_eq!(receiver.on_data(20, b"def"), Taken::Waiting);
        assert_eq!(receiver.on_data(23, b"g"), Taken::Waiting);
        assert_eq!(receiver.on_data(20, b"def"), Taken::Waiting, "again");
        assert_eq!((receiver.readable(), receiver.held()), (0, 4));
        assert_eq!(receiver.on_data(17, b"abc"), Taken::InOrder);
        assert_eq!(receiver.next(), 24);
        assert_eq!(text(&mut receiver), b"abcdefg");
        assert_eq!(receiver.on_data(23, b"gh"), Taken::Old, "as a whole, also the part beyond");
        assert_eq!(receiver.next(), 24);
    }

    #[test]
    fn what_overlaps_or_differs_is_dropped() {
        let mut receiver = receiver(1000);
        receiver.on_data(20, b"def");
        let overlap = Taken::Refused(Refusal::Overlap);
        for (seq, data) in
            [(20, &b"dxf"[..]), (20, b"defg"), (20, b"de"), (19, b"cd"), (22, b"fg"), (18, b"bcdef"), (17, b"abcd")]
        {
            assert_eq!(receiver.on_data(seq, data), overlap, "{seq} {data:?}");
        }
        assert_eq!(receiver.on_data(17, b"abc"), Taken::InOrder);
        assert_eq!(text(&mut receiver), b"abcdef");
    }

    #[test]
    fn nothing_beyond_the_grant_is_taken_but_one_octet_which_waits() {
        let mut receiver = receiver(130);
        let beyond = Taken::Refused(Refusal::Beyond);
        assert_eq!(receiver.on_data(129, b"xy"), beyond);
        assert_eq!(receiver.on_data(131, b"y"), beyond);
        assert_eq!(receiver.on_data(130, b"xy"), beyond);
        assert_eq!(receiver.on_data(17, &[7; 113]), Taken::InOrder);
        assert_eq!(receiver.on_data(130, b"x"), Taken::Waiting);
        assert_eq!(receiver.on_data(130, b"x"), Taken::Waiting, "again");
        assert_eq!(receiver.on_data(131, b"y"), beyond, "one only");
        assert_eq!((receiver.next(), receiver.held()), (130, 114), "held, not acknowledged");
        assert!(receiver.grant(131));
        assert_eq!((receiver.next(), receiver.readable()), (131, 114));
    }

    #[test]
    fn an_end_is_told_when_half_is_used_and_never_taken_back() {
        let mut receiver = receiver(1017);
        assert!(receiver.update_due(), "the first one");
        receiver.on_advertised(1017);
        receiver.grant(1200);
        assert!(!receiver.update_due(), "the peer has enough");
        receiver.on_data(17, &[0; 500]);
        assert!(!receiver.update_due());
        receiver.on_data(517, &[0; 400]);
        assert!(receiver.update_due());
        receiver.grant(300);
        assert_eq!(receiver.end(), 1200);
    }

    #[test]
    fn a_close_must_not_lie_below_what_is_here_and_does_not_move() {
        let mut receiver = receiver(1000);
        receiver.on_data(17, b"abc");
        receiver.on_data(30, b"xyz");
        assert!(!receiver.close_at(19) && !receiver.close_at(20) && !receiver.close_at(32));
        assert!(receiver.close_at(33));
        assert!(receiver.close_at(33) && !receiver.close_at(34));
        assert_eq!(receiver.on_data(33, b"!"), Taken::Refused(Refusal::PastClose));
        assert_eq!(receiver.on_data(20, &[1; 10]), Taken::InOrder);
        assert!(!receiver.is_over(), "not read");
        assert_eq!(text(&mut receiver).len(), 16);
        assert!(receiver.is_over());
    }

    #[test]
    fn four_thousand_single_octets_in_any_order() {
        let mut receiver = Receiver::new(5000);
        receiver.on_hello();
        receiver.grant(17 + 4096);
        for n in (0..4096u64).rev() {
            let taken = receiver.on_data(17 + n, &[n as u8]);
            assert_eq!(taken, if n == 0 { Taken::InOrder } else { Taken::Waiting });
        }
        assert_eq!(receiver.next(), 17 + 4096);
        assert_eq!(text(&mut receiver), (0..4096u64).map(|n| n as u8).collect::<Vec<_>>());
    }

    #[test]
    fn too_many_segments_are_dropped_and_the_next_one_never() {
        let mut receiver = receiver(100_000);
        for n in 0..100 {
            assert_eq!(receiver.on_data(100 + 2 * n, b"x"), Taken::Waiting);
        }
        assert_eq!(receiver.on_data(5000, b"x"), Taken::Refused(Refusal::Full));
        assert_eq!(receiver.on_data(17, b"x"), Taken::InOrder);
    }

    #[test]
    fn nobody_reads_and_all_is_acknowledged() {
        let mut receiver = receiver(128);
        receiver.on_data(17, b"abc");
        receiver.stop();
        assert_eq!((receiver.readable(), receiver.held()), (0, 0));
        for n in 0..1000 {
            assert_eq!(receiver.on_data(20 + n * 400, &[0; 400]), Taken::InOrder);
        }
        assert_eq!((receiver.held(), receiver.read), (0, 400_020));
    }
}
