//! The sending side: what waits, and what is in flight as the segments that it was cut into.
//!
//! ```text
//!         una                     next           peer's end
//!   ──────┼── seg ─ seg ─ seg ────┼── unsent ──────┼────▶ position
//! ```
//!
//! A segment is cut once, when it is first sent, and never changes: a retransmission repeats the same octets at the same
//! place. Peers of the old kind give up otherwise. An acknowledgement counts only if it falls on the end of one of them.
//!
//! The writer's limit is the peer's end: what cannot be sent is not taken. (Another bound, [`Config::send_buffer`](super::Config::send_buffer),
//! keeps a peer that grants without limit from filling our memory.)

use super::congestion::Snapshot;
use super::{FIRST_END, HELLO, HELLO_LEN};
use crate::proto::time::Time;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::fmt;

/// The most octets of a segment at a position: what 508 leave beside a MAC, a flag, the position, and 6 octets each for
/// acknowledgement and window, good up to 2^40.
pub(crate) fn segment_max(seq: u64) -> usize {
    super::wire::DATAGRAM_MAX - super::wire::MAC_LEN - 1 - super::wire::posint::len(seq) - 12
}

/// The segment size that congestion control reckons with.
pub(crate) const SEGMENT: u64 = 470;

/// The step of ends that both existing peers have with their default buffer.
pub(crate) const STEP: u64 = 13_107;

/// Whether the peer may be the one that goes wrong on some acknowledgements (specification, section 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Avoid {
    /// Segments end anywhere.
    Nothing,
    /// No segment ends at `e` with `(e mod 13107) & 255` in 1 to 9.
    ShortWindows,
}

/// A range of the stream that was sent at least once.
pub(crate) struct Segment {
    pub(crate) start: u64,
    pub(crate) data: Bytes,
    pub(crate) sends: u32,
    pub(crate) lost: bool,
    /// Of the last time that it was sent.
    pub(crate) snapshot: Option<Snapshot>,
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, sends, lost, .. } = self;
        write!(f, "{start}+{} sent {sends} times, last {}, lost {lost}", self.len(), self.sent_at())
    }
}

impl Segment {
    pub(crate) fn len(&self) -> u64 {
        self.data.len() as u64
    }

    pub(crate) fn end(&self) -> u64 {
        self.start + self.len()
    }

    pub(crate) fn sent_at(&self) -> Time {
        self.snapshot.map_or(Time::ZERO, |snapshot| snapshot.sent_at)
    }
}

/// What an acknowledgement is, from the sender's side.
#[derive(Debug)]
pub(crate) enum Heard {
    /// It acknowledges something new.
    New(Newly),
    /// The same position as before.
    Same,
    /// Below what was acknowledged before.
    Older,
    /// Not the end of a segment in flight: ignored.
    Unknown,
}

/// What was newly acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newly {
    pub(crate) segments: u64,
    pub(crate) bytes: u64,
    /// Octets of the first one.
    pub(crate) first_bytes: u64,
    /// How often the first one was sent, and when last.
    pub(crate) first_sends: u32,
    pub(crate) first_sent_at: Time,
    /// Of the segment that was sent last among them.
    pub(crate) newest: Option<Snapshot>,
    /// When the last one was sent, if none was sent again: gives a sample of the round trip.
    pub(crate) sampled: Option<Time>,
    /// How many of them had been sent more than once.
    pub(crate) repeated: u64,
}

/// # Invariants
///
/// 1. Segments follow one another without a gap from `una` to `next`.
/// 2. `next + unsent <= limit <= max(peer_end, FIRST_END)`.
/// 3. `flight` is the sum of the segments that are not lost and were sent.
pub(crate) struct Sender {
    segments: VecDeque<Segment>,
    una: u64,
    next: u64,
    unsent: VecDeque<Bytes>,
    unsent_len: u64,
    peer_end: u64,
    flight: u64,
    lost: usize,
    buffer: u64,
    limit: u64,
    last_octet: u8,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { una, next, unsent_len, peer_end, flight, lost, .. } = self;
        write!(
            f,
            "Sender(una {una} next {next} unsent {unsent_len} peer's end {peer_end} flight {flight} lost {lost}"
        )?;
        write!(f, " outstanding {} first {:?})", self.outstanding(), self.first())
    }
}

impl Sender {
    pub(crate) fn new(buffer: u64) -> Self {
        let hello = Segment { start: 0, data: Bytes::from_static(HELLO), sends: 0, lost: true, snapshot: None };
        Self {
            segments: VecDeque::from([hello]),
            una: 0,
            next: HELLO_LEN,
            unsent: VecDeque::new(),
            unsent_len: 0,
            peer_end: FIRST_END,
            flight: 0,
            lost: 1,
            buffer,
            limit: HELLO_LEN,
            last_octet: 0,
        }
    }

    pub(crate) fn una(&self) -> u64 {
        self.una
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The position after all that was written.
    pub(crate) fn written(&self) -> u64 {
        self.next + self.unsent_len
    }

    pub(crate) fn peer_end(&self) -> u64 {
        self.peer_end
    }

    /// Octets in flight that are not held to be lost.
    pub(crate) fn flight(&self) -> u64 {
        self.flight
    }

    /// Segments that were sent and not acknowledged.
    pub(crate) fn outstanding(&self) -> usize {
        self.segments.len()
    }

    pub(crate) fn all_acknowledged(&self) -> bool {
        self.una == self.next && self.unsent_len == 0
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.unsent_len > 0
    }

    /// The last octet that was acknowledged and its place: what a ping repeats. None before the hello was acknowledged.
    pub(crate) fn last_octet(&self) -> Option<(u64, u8)> {
        Some((self.una.checked_sub(1)?, self.last_octet))
    }

    /// The position up to which the writer may write. Only rises.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Raises the limit to what peer and buffer allow. True if that was more than before.
    pub(crate) fn raise_limit(&mut self) -> bool {
        let allowed = self.peer_end.min(self.una.saturating_add(self.buffer)).max(self.limit);
        let risen = allowed > self.limit;
        self.limit = allowed;
        risen
    }

    /// The peer told an end; the largest one counts. True if it rose.
    pub(crate) fn on_end(&mut self, end: u64) -> bool {
        let risen = end > self.peer_end;
        self.peer_end = self.peer_end.max(end);
        risen
    }

    /// Takes data to send, which must keep the limit.
    pub(crate) fn write(&mut self, data: Bytes) {
        debug_assert!(self.written() + data.len() as u64 <= self.limit, "the caller looked");
        self.unsent_len += data.len() as u64;
        if !data.is_empty() {
            self.unsent.push_back(data);
        }
    }

    /// Forgets what was never sent.
    pub(crate) fn drop_unsent(&mut self) {
        self.unsent.clear();
        self.unsent_len = 0;
    }

    /// The first segment in flight.
    pub(crate) fn first(&self) -> Option<&Segment> {
        self.segments.front()
    }

    pub(crate) fn segment(&self, index: usize) -> &Segment {
        &self.segments[index]
    }

    /// How many segments in flight begin before a position.
    pub(crate) fn segments_before(&self, position: u64) -> usize {
        self.segments.partition_point(|segment| segment.start < position)
    }

    /// The first segment that is to be sent again.
    pub(crate) fn first_lost(&self) -> Option<usize> {
        if self.lost == 0 { None } else { self.segments.iter().position(|segment| segment.lost) }
    }

    /// Octets of the next new segment; 0 if there is none.
    pub(crate) fn next_len(&self, avoid: Avoid) -> usize {
        let room = self.peer_end.saturating_sub(self.next).min(self.unsent_len);
        let len = segment_max(self.next).min(usize::try_from(room).unwrap_or(usize::MAX));
        let short = (((self.next + len as u64) % STEP) & 255) as usize;
        if avoid == Avoid::ShortWindows && (1..=9).contains(&short) && len > short { len - short } else { len }
    }

    /// Cuts a new segment of `len` octets off what waits; its index. It counts as not sent yet.
    pub(crate) fn cut(&mut self, len: usize) -> usize {
        debug_assert!(len > 0 && len as u64 <= self.unsent_len);
        let data = self.gather(len);
        self.unsent_len -= len as u64;
        self.segments.push_back(Segment { start: self.next, data, sends: 0, lost: true, snapshot: None });
        self.lost += 1;
        self.next += len as u64;
        self.segments.len() - 1
    }

    /// The segment was sent.
    pub(crate) fn on_sent(&mut self, index: usize, snapshot: Snapshot) {
        let segment = &mut self.segments[index];
        segment.sends += 1;
        segment.snapshot = Some(snapshot);
        if segment.lost {
            segment.lost = false;
            self.lost -= 1;
            self.flight += segment.len();
        }
        self.check();
    }

    /// The segment is held to be lost: its octets, 0 if it was so before.
    pub(crate) fn mark_lost(&mut self, index: usize) -> u64 {
        let Some(segment) = self.segments.get_mut(index).filter(|segment| !segment.lost) else { return 0 };
        segment.lost = true;
        self.lost += 1;
        self.flight -= segment.len();
        segment.len()
    }

    /// Nothing is held to be lost any more that was sent.
    pub(crate) fn trust_all(&mut self) {
        for segment in self.segments.iter_mut().filter(|segment| segment.lost && segment.sends > 0) {
            segment.lost = false;
            self.lost -= 1;
            self.flight += segment.len();
        }
    }

    /// Looks at an acknowledgement, and drops what it covers.
    pub(crate) fn on_ack(&mut self, ack: u64) -> Heard {
        if ack <= self.una {
            return if ack == self.una { Heard::Same } else { Heard::Older };
        }
        // segments are in order: the one that ends at `ack`, if there is one
        let Ok(last) = self.segments.binary_search_by_key(&ack, Segment::end) else { return Heard::Unknown };
        if self.segments[last].sends == 0 {
            return Heard::Unknown;
        }
        let first = &self.segments[0];
        let mut newly = Newly {
            segments: 0,
            bytes: ack - self.una,
            first_bytes: first.len(),
            first_sends: first.sends,
            first_sent_at: first.sent_at(),
            newest: None,
            sampled: None,
            repeated: 0,
        };
        for segment in self.segments.drain(..=last) {
            newly.segments += 1;
            newly.repeated += u64::from(segment.sends > 1);
            // what came after a gap waited for its repair: no sample where anything was sent again (Karn's rule)
            newly.sampled = (newly.repeated == 0).then_some(segment.sent_at());
            newly.newest = match (newly.newest, segment.snapshot) {
                (Some(a), Some(b)) if a.sent_at > b.sent_at => Some(a),
                (_, b) => b,
            };
            if segment.lost {
                self.lost -= 1;
            } else {
                self.flight -= segment.len();
            }
            self.last_octet = segment.data.last().copied().unwrap_or(self.last_octet);
        }
        self.una = ack;
        self.check();
        Heard::New(newly)
    }

    /// A test continues at positions that would take hours to reach.
    #[cfg(test)]
    pub(crate) fn jump(&mut self, by: u64) {
        assert!(self.all_acknowledged());
        self.una += by;
        self.next += by;
        self.peer_end += by;
        self.limit += by;
    }

    /// A test takes an end back, to begin anew from a lower one.
    #[cfg(test)]
    pub(crate) fn jump_end(&mut self, end: u64) {
        self.peer_end = end;
        self.limit = self.limit.min(end);
    }

    fn gather(&mut self, len: usize) -> Bytes {
        let Some(front) = self.unsent.front_mut() else { return Bytes::new() };
        if front.len() > len {
            return front.split_to(len);
        }
        if front.len() == len {
            return self.unsent.pop_front().unwrap_or_default();
        }
        let mut data = BytesMut::with_capacity(len);
        while data.len() < len {
            let Some(front) = self.unsent.front_mut() else { break };
            let part = front.split_to(front.len().min(len - data.len()));
            data.extend_from_slice(&part);
            if front.is_empty() {
                self.unsent.pop_front();
            }
        }
        data.freeze()
    }

    pub(crate) fn check(&self) {
        debug_assert!(self.segments.front().map_or(self.next, |first| first.start) == self.una, "1");
        debug_assert!(self.segments.back().map_or(self.una, Segment::end) == self.next, "1");
        debug_assert!(self.next + self.unsent_len <= self.limit.max(HELLO_LEN) && self.limit <= self.peer_end, "2");
        #[cfg(test)]
        {
            let flight: u64 = self.segments.iter().filter(|segment| !segment.lost).map(Segment::len).sum();
            debug_assert_eq!(flight, self.flight, "3");
            debug_assert_eq!(self.segments.iter().filter(|segment| segment.lost).count(), self.lost, "3");
            debug_assert!(self.segments.iter().zip(self.segments.iter().skip(1)).all(|(a, b)| a.end() == b.start), "1");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::congestion::Delivery;
    use super::*;

    /// The hello acknowledged, `end` granted.
    fn sender(end: u64) -> Sender {
        let mut sender = Sender::new(1 << 20);
        send(&mut sender, 0);
        assert!(matches!(sender.on_ack(17), Heard::New(_)));
        sender.on_end(end);
        sender.raise_limit();
        sender
    }

    fn send(sender: &mut Sender, index: usize) {
        let snapshot = Delivery::new().on_sent(Time::from_millis(1), 1, 0);
        sender.on_sent(index, snapshot);
    }

    /// Cuts all that can be sent; the lengths.
    fn cut_all(sender: &mut Sender, avoid: Avoid) -> Vec<usize> {
        std::iter::from_fn(|| {
            let len = sender.next_len(avoid);
            (len > 0).then(|| {
                let index = sender.cut(len);
                send(sender, index);
                len
            })
        })
        .collect()
    }

    #[test]
    fn data_is_cut_once_and_small_pieces_are_joined() {
        let mut sender = sender(10_000);
        for _ in 0..10 {
            sender.write(Bytes::from(vec![b'x'; 100]));
        }
        assert_eq!(cut_all(&mut sender, Avoid::Nothing), [474, 473, 53]);
        assert_eq!((sender.next(), sender.flight()), (1017, 1000));
        assert_eq!(sender.mark_lost(1), 473);
        assert_eq!(sender.mark_lost(1), 0);
        assert_eq!((sender.first_lost(), sender.flight()), (Some(1), 527));
    }

    #[test]
    fn only_the_end_of_a_segment_in_flight_is_an_acknowledgement() {
        let mut sender = sender(10_000);
        sender.write(Bytes::from(vec![b'x'; 1000]));
        for unknown in [18, 1017, 400, u64::MAX] {
            assert!(matches!(sender.on_ack(unknown), Heard::Unknown), "{unknown} before anything was sent");
        }
        cut_all(&mut sender, Avoid::Nothing);
        for unknown in [18, 490, 492, 1018] {
            assert!(matches!(sender.on_ack(unknown), Heard::Unknown), "{unknown}");
        }
        assert!(matches!(sender.on_ack(17), Heard::Same));
        assert!(matches!(sender.on_ack(0), Heard::Older));
        sender.mark_lost(1);
        let Heard::New(newly) = sender.on_ack(964) else { panic!("the end of the second") };
        assert_eq!((newly.segments, newly.bytes, newly.first_bytes), (2, 947, 474));
        assert_eq!((sender.una(), sender.flight(), sender.last_octet()), (964, 53, Some((963, b'x'))));
        assert!(matches!(sender.on_ack(1017), Heard::New(_)));
        assert!(sender.all_acknowledged());
    }

    #[test]
    fn nothing_is_sent_beyond_the_largest_end_seen() {
        let mut sender = sender(200);
        assert_eq!(sender.limit(), 200);
        sender.write(Bytes::from(vec![1; 183]));
        assert_eq!(cut_all(&mut sender, Avoid::Nothing), [183]);
        assert!(!sender.on_end(150), "an end that went back says nothing");
        assert!(sender.on_end(300) && sender.raise_limit());
        assert_eq!(sender.limit(), 300);
    }

    #[test]
    fn the_buffer_bounds_the_writer_where_the_peer_does_not() {
        let mut sender = Sender::new(1000);
        send(&mut sender, 0);
        sender.on_ack(17);
        sender.on_end(1 << 61);
        sender.raise_limit();
        assert_eq!(sender.limit(), 1017);
    }

    #[test]
    fn ends_that_one_peer_cannot_stand_are_avoided() {
        let mut sender = sender(200_000);
        sender.write(Bytes::from(vec![1; 150_000]));
        let mut at = 17;
        for len in cut_all(&mut sender, Avoid::ShortWindows) {
            at += len as u64;
            assert!(!(1..=9).contains(&((at % STEP) & 255)) || at == 150_017, "{at}");
        }
        assert_eq!(at, 150_017);
    }

    #[test]
    fn a_segment_fits_a_datagram_wherever_it_is() {
        for seq in [17, 246, 247, 70_000, 1 << 32, 1 << 40, 1 << 61] {
            let len = segment_max(seq) + 1 + super::super::wire::posint::len(seq) + 12 + 20;
            assert_eq!(len, 508, "{seq}");
        }
    }
}
