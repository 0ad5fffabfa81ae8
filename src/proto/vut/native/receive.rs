//! The stream that arrives: put in order in bounded memory.
//!
//! ```text
//!   0        read          next                    limit
//!   |________|.............|___+++_______+++_______|   nothing beyond the limit is kept
//!    with the  ready        missing  here
//!    consumer
//! ```
//!
//! Octets are copied once, from the packet to [`Blocks`], and are handed out as parts of these. Memory is at most the grant, and two
//! blocks; and what lies further than [`REACH`] beyond a gap is as if it had not come.

use super::blocks::Blocks;
use super::ranges::Ranges;
use bytes::Bytes;
use std::ops::Range;

/// How many separate ranges may wait for what is missing before them. One costs some 40 octets beside its data.
const MAX_RANGES: usize = 1 << 16;

/// Nothing is kept so far beyond what is missing, whatever the grant: a reader that grants without a limit must not hold an index of
/// everything before one far octet. 1 GiB is 25 Gbit/s for a third of a second, and 65,536 blocks.
const REACH: u64 = 1 << 30;

/// What is wrong with data: the peer breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It lies beyond the end of the stream, or the end is another one than before, or lies before data that came.
    End,
}

/// The peer's stream.
///
/// # Invariants
///
/// * read <= next <= limit; `waiting` lies within next..limit and does not touch next.
/// * `blocks` begin at read.
#[derive(Debug)]
pub(super) struct Inbox {
    read: u64,
    next: u64,
    limit: u64,
    /// The highest position of anything that came.
    highest: u64,
    size: Option<u64>,
    waiting: Ranges,
    waiting_octets: u64,
    blocks: Blocks,
}

impl Inbox {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            read: 0,
            next: 0,
            limit,
            highest: 0,
            size: None,
            waiting: Ranges::default(),
            waiting_octets: 0,
            blocks: Blocks::default(),
        }
    }

    /// As if all before `position` were read.
    #[cfg(test)]
    pub(super) fn starting_at(position: u64) -> Self {
        let mut inbox = Self::new(position);
        (inbox.read, inbox.next, inbox.highest) = (position, position, position);
        inbox.blocks = Blocks::starting_at(position);
        inbox
    }

    /// Octets that arrived in order so far.
    pub(super) const fn arrived(&self) -> u64 {
        self.next
    }

    /// Octets that can be read now.
    pub(super) const fn readable(&self) -> u64 {
        self.next - self.read
    }

    /// Octets that are held.
    pub(super) const fn held(&self) -> u64 {
        self.next - self.read + self.waiting_octets
    }

    /// The position up to which data is taken.
    pub(super) const fn limit(&self) -> u64 {
        self.limit
    }

    /// The end, if it is known.
    pub(super) const fn size(&self) -> Option<u64> {
        self.size
    }

    /// All up to the end was handed out.
    pub(super) fn is_over(&self) -> bool {
        self.size == Some(self.read)
    }

    /// Takes data up to there; never less than before.
    pub(super) fn raise_limit(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// True if the data can be kept: a packet with other data is dropped as if it had not come.
    pub(super) fn has_room(&self, range: &Range<u64>) -> bool {
        let near = range.end <= self.next.saturating_add(REACH);
        range.end <= self.limit && near && (self.waiting.count() < MAX_RANGES || range.start <= self.next)
    }

    /// True if the data cannot be of this stream.
    pub(super) fn check_data(&self, range: &Range<u64>) -> Result<(), Fault> {
        if self.size.is_some_and(|size| range.end > size) { Err(Fault::End) } else { Ok(()) }
    }

    /// The stream has this size.
    pub(super) fn set_size(&mut self, size: u64) -> Result<(), Fault> {
        if size < self.highest || self.size.is_some_and(|before| before != size) {
            return Err(Fault::End);
        }
        self.size = Some(size);
        Ok(())
    }

    /// Takes data for which there is room; says how many octets of it are new.
    pub(super) fn take(&mut self, offset: u64, data: &[u8]) -> u64 {
        let end = offset + data.len() as u64;
        debug_assert!(end <= self.limit, "there is room");
        self.highest = self.highest.max(end);
        if end <= self.next {
            return 0;
        }
        let from = offset.max(self.next);
        let mut new = 0;
        for gap in self.waiting.gaps(from..end) {
            let at = usize::try_from(gap.start - offset).unwrap_or(usize::MAX);
            let to = usize::try_from(gap.end - offset).unwrap_or(usize::MAX);
            self.blocks.put(gap.start, &data[at..to]);
            new += gap.end - gap.start;
        }
        if from > self.next {
            self.waiting_octets += self.waiting.insert(from..end);
            return new;
        }
        self.next = end;
        while let Some(first) = self.waiting.first().filter(|first| first.start <= self.next) {
            self.waiting.pop_first();
            self.waiting_octets -= first.end - first.start;
            self.next = self.next.max(first.end);
        }
        new
    }

    /// At most `most` octets, in order.
    pub(super) fn read(&mut self, most: usize) -> Option<Bytes> {
        let ready = usize::try_from(self.next - self.read).unwrap_or(usize::MAX);
        let data = self.blocks.take(ready.min(most))?;
        self.read += data.len() as u64;
        Some(data)
    }

    /// Nobody reads any more: what is here is dropped, and so is what comes.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
        self.waiting_octets = 0;
        self.next = self.next.max(self.highest);
        self.read = self.next;
        self.blocks.skip_to(self.read);
    }

    /// While stopped: counts what comes, keeps nothing.
    pub(super) fn pass(&mut self, end: u64) {
        self.highest = self.highest.max(end);
        self.stop();
    }

    pub(super) fn check(&self) {
        debug_assert!(self.read <= self.next && self.held() <= self.limit - self.read.min(self.limit), "{self:?}");
        debug_assert!(self.waiting.first().is_none_or(|first| first.start > self.next));
        self.blocks.check(self.read, self.highest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octet(at: u64) -> u8 {
        (at ^ (at >> 8)) as u8
    }

    fn put(inbox: &mut Inbox, range: Range<u64>) -> u64 {
        let data: Vec<u8> = range.clone().map(octet).collect();
        assert!(inbox.has_room(&range));
        let new = inbox.take(range.start, &data);
        inbox.check();
        new
    }

    fn read_all(inbox: &mut Inbox, most: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(data) = inbox.read(most) {
            all.extend_from_slice(&data);
            inbox.check();
        }
        all
    }

    #[test]
    fn a_grant_without_a_limit_does_not_make_a_far_octet_cost_all_before_it() {
        let mut inbox = Inbox::new(u64::MAX);
        for far in [REACH, 1 << 40, (1 << 62) - 2] {
            assert!(!inbox.has_room(&(far..far + 1)), "{far}");
        }
        assert!(inbox.has_room(&(REACH - 1..REACH)));
        inbox.take(REACH - 1, &[1]);
        assert!(inbox.blocks.count() <= 1 << 16);
        inbox.take(0, &[1]);
        assert!(inbox.has_room(&(REACH..REACH + 1)), "it goes on with what is missing");
    }

    #[test]
    fn random_cuts_in_random_order_come_out_in_order() {
        for seed in 0..60 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut inbox = Inbox::new(100_000);
            let mut got: Vec<u8> = Vec::new();
            while got.len() < 100_000 {
                let next = inbox.arrived();
                let start = (next.saturating_sub(300) + random.u64(..3000)).min(99_999);
                let start = if random.u8(..4) == 0 { next.min(99_999) } else { start };
                put(&mut inbox, start..(start + random.u64(1..2000)).min(100_000));
                if random.u8(..5) == 0 {
                    got.extend(read_all(&mut inbox, random.usize(1..40_000)));
                }
            }
            assert!((0..).zip(&got).all(|(at, octet_got)| octet(at) == *octet_got), "seed {seed}");
            assert_eq!(inbox.held(), 0);
        }
    }

    #[test]
    fn one_octet_segments_in_reverse_take_no_more_memory_than_their_octets() {
        let mut inbox = Inbox::new(4096);
        for at in (1..4096).rev() {
            assert_eq!(put(&mut inbox, at..at + 1), 1);
        }
        assert_eq!((inbox.readable(), inbox.held(), inbox.blocks.count()), (0, 4095, 1));
        put(&mut inbox, 0..1);
        assert_eq!(read_all(&mut inbox, 9999).len(), 4096);
    }

    #[test]
    fn nothing_beyond_the_limit_has_room_and_ends_must_agree() {
        let mut inbox = Inbox::new(100);
        assert!(inbox.has_room(&(0..100)));
        assert!(!inbox.has_room(&(50..101)));
        put(&mut inbox, 10..20);
        assert_eq!(inbox.set_size(19), Err(Fault::End));
        assert_eq!(inbox.set_size(30), Ok(()));
        assert_eq!(inbox.set_size(31), Err(Fault::End));
        assert_eq!(inbox.check_data(&(25..31)), Err(Fault::End));
        put(&mut inbox, 0..30);
        assert!(!inbox.is_over());
        assert_eq!(read_all(&mut inbox, 7).len(), 30);
        assert!(inbox.is_over());
    }

    #[test]
    fn an_empty_stream_is_over_when_its_end_is_known() {
        let mut inbox = Inbox::new(0);
        assert_eq!(inbox.set_size(0), Ok(()));
        assert!(inbox.is_over());
    }
}
