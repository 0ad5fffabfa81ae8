//! The stream that we send: what was written, which of it is under way, arrived or lost, and what leaves next.
//!
//! ```text
//!   0        base                          next                written
//!   |________|____+++____!!!____+++________|___________________|
//!    forgotten     arrived  lost  arrived    sent once           waits
//! ```
//!
//! Data is cut only when a packet is made, so that what is sent again fits packets of any size: a lost packet of 8,952 octets
//! becomes seven of 1,452 when the path has changed.
//!
//! # Credit
//!
//! The peer's window is the limit to which its consumer takes data. What may be written is also bounded by what is kept for
//! retransmission. A limit that was told to the owner is never taken back, though the window of a candidate that turned out to be a
//! recording may have been higher than the true one: what was written then waits.

//! # Twice
//!
//! | data | is sent twice | why |
//! |---|---|---|
//! | that was lost, and sent again | once nothing else waits, and while it has not arrived | a repair that is lost costs a round trip more, and holds up all behind it |
//! | of a few octets, as long as all that has not arrived is [`LITTLE`] or less | with what is written next, in one piece | the next packet repairs a lost one: no round trip, and no packet more |

use super::ranges::Ranges;
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;

/// What has not arrived of an exchange of small messages, in octets: one datagram of the size that any path carries (508), so that
/// sending it again never makes a packet more.
const LITTLE: u64 = 512;

/// What of the stream leaves next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) range: Range<u64>,
    /// It was sent before.
    pub(super) again: bool,
}

/// Our stream.
///
/// # Invariants
///
/// * base <= next <= written; `chunks` hold exactly base to written.
/// * `arrived` lies within base..next, and base is not in it; `lost` lies within base..next, and nothing of it has arrived.
/// * next <= the highest window that the peer gave.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Each with the position of its first octet.
    chunks: VecDeque<(u64, Bytes)>,
    /// Which one was copied from last: the next piece is most often there too.
    hint: usize,
    base: u64,
    next: u64,
    written: u64,
    arrived: Ranges,
    lost: Ranges,
    /// Sent again, and to be sent once more if nothing else waits.
    twice: Ranges,
    window: u64,
    told: u64,
    keep: u64,
    /// What had arrived when the peer stopped.
    stopped_at: Option<u64>,
}

impl Outbox {
    /// Empty; at most `keep` octets are written and not acknowledged.
    pub(super) fn new(keep: u64) -> Self {
        Self {
            chunks: VecDeque::new(),
            hint: 0,
            base: 0,
            next: 0,
            written: 0,
            arrived: Ranges::default(),
            lost: Ranges::default(),
            twice: Ranges::default(),
            window: 0,
            told: 0,
            keep,
            stopped_at: None,
        }
    }

    /// As if all before `position` were done with.
    #[cfg(test)]
    pub(super) fn starting_at(position: u64, keep: u64) -> Self {
        let mut outbox = Self::new(keep);
        (outbox.base, outbox.next, outbox.written) = (position, position, position);
        (outbox.window, outbox.told) = (position, position);
        outbox
    }

    /// The positions up to which all arrived, and up to which the owner has written.
    pub(super) fn acknowledged(&self) -> u64 {
        self.stopped_at.unwrap_or(self.base)
    }

    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// The position up to which the owner may write. Only rises.
    pub(super) const fn limit(&self) -> u64 {
        self.told
    }

    /// Raises what the owner is told, if it can; says whether it did.
    pub(super) fn raise_limit(&mut self) -> bool {
        let limit = self.window.min(self.base + self.keep);
        let raised = limit > self.told;
        self.told = self.told.max(limit);
        raised
    }

    /// The peer takes data up to there. From a candidate it may be lower than before.
    pub(super) fn set_window(&mut self, position: u64) {
        self.window = position;
    }

    /// The peer takes data up to there; a lower one than before means nothing.
    pub(super) fn raise_window(&mut self, position: u64) {
        self.window = self.window.max(position);
    }

    /// Takes data within the limit.
    pub(super) fn write(&mut self, data: Bytes) {
        debug_assert!(self.written + data.len() as u64 <= self.told, "within the limit");
        if !data.is_empty() {
            let at = self.written;
            self.written += data.len() as u64;
            self.chunks.push_back((at, data));
        }
    }

    /// All was sent at least once.
    pub(super) fn all_sent(&self) -> bool {
        self.next == self.written
    }

    /// Something is to be sent, and the peer's window lets it.
    pub(super) fn has_work(&self) -> bool {
        self.peek(u64::MAX).is_some()
    }

    /// Something that was lost is to be sent again.
    pub(super) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// The next piece of at most `most` octets: what was lost first. It counts as sent.
    pub(super) fn take(&mut self, most: u64) -> Option<Piece> {
        if most == 0 {
            return None;
        }
        let waits = self.peek(most)?;
        let range = waits.start..waits.end.min(waits.start + most);
        if !self.lost.is_empty() {
            self.lost.remove(&range);
            self.twice.insert(range.clone());
            return Some(Piece { range, again: true });
        }
        let again = range.end <= self.next;
        if again {
            self.twice.remove(&range);
        }
        self.next = self.next.max(range.end);
        Some(Piece { range, again })
    }

    /// What [`take`](Self::take) would give if a packet had no end: its position decides how long its frame's head is. What is
    /// sent a second time with new data fits into `most` octets as a whole, so that there is always something new.
    pub(super) fn peek(&self, most: u64) -> Option<Range<u64>> {
        let end = self.written.min(self.window);
        let new = || {
            let little = self.arrived.is_empty() && end.saturating_sub(self.base) <= LITTLE.min(most);
            (self.next < end).then_some(if little { self.base..end } else { self.next..end })
        };
        self.lost.first().or_else(new).or_else(|| self.twice.first())
    }

    /// Copies the octets of a piece.
    pub(super) fn copy(&mut self, range: &Range<u64>, to: &mut [u8]) -> usize {
        let first = self.chunk_of(range.start);
        let mut done = 0;
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(to.len());
        for (at, chunk) in self.chunks.iter().skip(first) {
            if done == length {
                break;
            }
            let skip = usize::try_from((range.start + done as u64).saturating_sub(*at)).unwrap_or(usize::MAX);
            let Some(octets) = chunk.get(skip..) else { break };
            let count = octets.len().min(length - done);
            to[done..done + count].copy_from_slice(&octets[..count]);
            done += count;
        }
        done
    }

    /// The chunk that a position lies in.
    fn chunk_of(&mut self, position: u64) -> usize {
        let holds = |(at, chunk): &(u64, Bytes)| *at <= position && position < at + chunk.len() as u64;
        let near = [self.hint, self.hint + 1].into_iter().find(|at| self.chunks.get(*at).is_some_and(holds));
        self.hint =
            near.unwrap_or_else(|| self.chunks.partition_point(|(at, chunk)| at + chunk.len() as u64 <= position));
        self.hint
    }

    /// A piece arrived.
    pub(super) fn on_arrived(&mut self, range: Range<u64>) {
        let range = range.start.max(self.base)..range.end.min(self.next);
        if range.start >= range.end {
            return;
        }
        self.lost.remove(&range);
        self.twice.remove(&range);
        if range.start > self.base {
            self.arrived.insert(range);
            return;
        }
        self.base = range.end;
        while let Some(first) = self.arrived.first().filter(|first| first.start <= self.base) {
            self.base = self.base.max(first.end);
            self.arrived.pop_first();
        }
        self.forget();
    }

    /// A piece is taken for lost: what of it has not arrived is sent again.
    pub(super) fn on_lost(&mut self, range: Range<u64>) {
        let range = range.start.max(self.base)..range.end.min(self.next);
        if range.start < range.end {
            for gap in self.arrived.gaps(range) {
                self.lost.insert(gap);
            }
        }
    }

    /// Nothing is to be sent just now, and something that leaves must be acknowledged: the last of what is under way, at most
    /// `most` octets, is to be sent again.
    pub(super) fn probe(&mut self, most: u64) {
        if self.base == self.next || self.has_work() {
            return;
        }
        let tail = self.next.saturating_sub(most).max(self.base)..self.next;
        let last = self.arrived.gaps(tail).last();
        if let Some(last) = last {
            self.lost.insert(last);
        }
    }

    /// The peer takes no more: nothing of what is here is sent any more, and what was never sent counts as not written.
    pub(super) fn stop(&mut self) {
        self.stopped_at = self.stopped_at.or(Some(self.base));
        self.written = self.next;
        self.chunks.clear();
        self.arrived.clear();
        self.lost.clear();
        self.twice.clear();
        self.base = self.next;
    }

    fn forget(&mut self) {
        while let Some((at, chunk)) = self.chunks.front() {
            if at + chunk.len() as u64 > self.base {
                return;
            }
            self.chunks.pop_front();
            self.hint = self.hint.saturating_sub(1);
        }
    }

    pub(super) fn check(&self) {
        debug_assert!(self.base <= self.next && self.next <= self.written, "{self:?}");
        debug_assert!(self.written <= self.told);
        debug_assert!(self.arrived.first().is_none_or(|first| first.start > self.base), "the base has not arrived");
        debug_assert!(self.lost.first().is_none_or(|first| first.start >= self.base), "what arrived is not lost");
        let held = self.chunks.front().map_or(self.written, |(at, _)| *at);
        debug_assert!(held <= self.base, "all that may be sent again is kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(octets: usize) -> Outbox {
        let mut outbox = Outbox::new(1 << 20);
        outbox.raise_window(1 << 20);
        assert!(outbox.raise_limit());
        outbox.write((0..octets).map(|n| n as u8).collect());
        outbox
    }

    fn taken(outbox: &mut Outbox, most: u64) -> Option<Range<u64>> {
        outbox.take(most).map(|piece| piece.range)
    }

    #[test]
    fn lost_pieces_come_first_cut_anew_and_without_what_arrived() {
        let mut outbox = outbox(1000);
        assert_eq!(taken(&mut outbox, 600), Some(0..600));
        assert_eq!(taken(&mut outbox, 100), Some(600..700));
        outbox.on_arrived(600..700);
        outbox.on_lost(0..600);
        outbox.on_arrived(100..300);
        assert_eq!(outbox.take(80), Some(Piece { range: 0..80, again: true }));
        assert_eq!(taken(&mut outbox, 80), Some(80..100));
        assert_eq!(taken(&mut outbox, 400), Some(300..600));
        assert_eq!(outbox.take(400), Some(Piece { range: 700..1000, again: false }));
        outbox.on_arrived(300..400);
        assert_eq!(outbox.take(400), Some(Piece { range: 0..100, again: true }), "twice, as nothing else waits");
        assert_eq!(outbox.take(400), Some(Piece { range: 400..600, again: true }));
        assert_eq!(outbox.take(400), None, "but not more often");
        outbox.on_arrived(0..100);
        assert_eq!(outbox.acknowledged(), 400);
        outbox.on_arrived(300..600);
        assert_eq!(outbox.acknowledged(), 700);
        outbox.check();
    }

    #[test]
    fn a_window_bounds_what_leaves_and_a_limit_is_never_taken_back() {
        let mut outbox = outbox(0);
        outbox.set_window(100);
        assert!(!outbox.raise_limit());
        outbox.write(Bytes::from(vec![7; 300]));
        assert_eq!(taken(&mut outbox, 500), Some(0..100));
        assert!(!outbox.has_work());
        outbox.raise_window(90);
        assert_eq!(taken(&mut outbox, 500), None);
        outbox.raise_window(150);
        assert_eq!(taken(&mut outbox, 40), Some(100..140));
        assert_eq!(taken(&mut outbox, 500), Some(0..150), "with the little that has not arrived");
    }

    #[test]
    fn little_that_has_not_arrived_leaves_again_with_what_is_new() {
        let mut outbox = outbox(64);
        let more = |outbox: &mut Outbox, octets| {
            outbox.write(Bytes::from(vec![7; octets]));
            outbox.take(1400)
        };
        assert_eq!(more(&mut outbox, 64), Some(Piece { range: 0..128, again: false }));
        assert_eq!(more(&mut outbox, 64), Some(Piece { range: 0..192, again: false }));
        outbox.on_arrived(0..128);
        assert_eq!(more(&mut outbox, 64), Some(Piece { range: 128..256, again: false }));
        assert_eq!(more(&mut outbox, 1000), Some(Piece { range: 256..1256, again: false }), "not with much");
        outbox.on_lost(128..192);
        outbox.on_arrived(256..1256);
        assert_eq!(more(&mut outbox, 64), Some(Piece { range: 128..192, again: true }));
        assert_eq!(outbox.take(1400), Some(Piece { range: 1256..1320, again: false }), "not over what arrived");
    }

    #[test]
    fn a_probe_repeats_the_tail_that_has_not_arrived() {
        let mut outbox = outbox(300);
        taken(&mut outbox, 300);
        outbox.on_arrived(250..300);
        outbox.probe(100);
        assert_eq!(taken(&mut outbox, 100), Some(200..250));
        outbox.on_arrived(0..300);
        outbox.probe(100);
        assert_eq!(outbox.take(100), None);
    }

    #[test]
    fn octets_are_copied_across_chunks() {
        let mut outbox = outbox(10);
        outbox.write(Bytes::from_static(&[100, 101, 102]));
        outbox.write(Bytes::from_static(&[103]));
        let mut out = [0; 6];
        assert_eq!(outbox.copy(&(8..14), &mut out), 6);
        assert_eq!(out, [8, 9, 100, 101, 102, 103]);
        taken(&mut outbox, 14);
        outbox.on_arrived(0..11);
        assert_eq!(outbox.copy(&(11..13), &mut out), 2);
        assert_eq!(out[..2], [101, 102]);
    }

    #[test]
    fn random_fates_lose_nothing() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut outbox = outbox(5000);
            let mut arrived = vec![false; 5000];
            let mut flying = VecDeque::new();
            for _ in 0..100_000 {
                if outbox.acknowledged() == 5000 {
                    break;
                }
                if let Some(piece) = outbox.take(random.u64(1..400)) {
                    flying.push_back(piece.range);
                }
                if random.bool() && !flying.is_empty() {
                    let range = flying.remove(random.usize(..flying.len())).expect("one");
                    if random.u8(..3) == 0 {
                        outbox.on_lost(range.clone());
                        if random.u8(..4) == 0 {
                            flying.push_back(range); // it may still arrive
                        }
                    } else {
                        range.clone().for_each(|at| arrived[usize::try_from(at).expect("small")] = true);
                        outbox.on_arrived(range);
                    }
                }
                outbox.check();
            }
            assert!(arrived.iter().all(|arrived| *arrived), "seed {seed}");
        }
    }
}
