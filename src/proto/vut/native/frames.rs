//! What a packet carries: frames, read in place and written in place.
//!
//! | type | frame | fields |
//! |---|---|---|
//! | 00 | PAD | none; one octet each |
//! | 01 | PING | none |
//! | 02, 03 | ACK | largest, delay in microseconds, ranges after the first, first length less 1, then per range: gap less 1, length less 1; 03: ECT(0), ECT(1), CE counts |
//! | 04 | WINDOW | the position up to which data is taken |
//! | 05 | CHALLENGE | 8 octets |
//! | 06 | RESPONSE | the 8 octets of a challenge |
//! | 07 | FIN | the size of the stream |
//! | 08 | ABORT | code |
//! | 09 | STOP | none |
//! | 0a | DONE | the size of the stream, all of which the consumer has taken |
//! | 0c | STREAM | position, then data to the end of the packet |
//! | 0d | STREAM | position, length, data |
//! | 20..=2f | | reserved for unreliable messages |
//! | 30..=3f | | reserved for further streams |
//!
//! A type is one octet; all other numbers are variable-length integers of RFC 9000 section 16, below 2^62.
//!
//! # Malformed
//!
//! The packet was authentic, so the peer is broken or hostile: the connection ends with an ABORT. All frames are checked
//! before the first is used. See [`Malformed`] for the list.

use std::fmt;

/// Numbers end here: what a variable-length integer can say.
pub const VARINT_LIMIT: u64 = 1 << 62;

const PAD: u8 = 0x00;
const PING: u8 = 0x01;
const ACK: u8 = 0x02;
const ACK_ECN: u8 = 0x03;
const WINDOW: u8 = 0x04;
const CHALLENGE: u8 = 0x05;
const RESPONSE: u8 = 0x06;
const FIN: u8 = 0x07;
const ABORT: u8 = 0x08;
const STOP: u8 = 0x09;
const DONE: u8 = 0x0a;
const STREAM: u8 = 0x0c;
const STREAM_LENGTH: u8 = 0x0d;

/// How many packets arrived with each mark (RFC 9000 section 13.4). All only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EcnCounts {
    /// Marked ECT(0).
    pub ect0: u64,
    /// Marked ECT(1).
    pub ect1: u64,
    /// Marked "congestion experienced".
    pub ce: u64,
}

/// A frame in the buffer of its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// So many octets of padding.
    Pad(usize),
    /// Asks for an acknowledgement.
    Ping,
    /// Which packets arrived.
    Ack(AckView<'a>),
    /// Data is taken up to this position. A lower one than before means nothing.
    Window(u64),
    /// The receiver answers with the same octets, to where this came from.
    Challenge([u8; 8]),
    /// The answer.
    Response([u8; 8]),
    /// The stream ends at this position.
    Fin(u64),
    /// Both directions are broken off, with a code that the application gives. Never an end.
    Abort(u64),
    /// The sender of this takes no more data; what comes is discarded.
    Stop,
    /// The sender of this has delivered the whole stream, of this size, to its consumer: the proof of the end.
    Done(u64),
    /// Data of the stream. Never empty; position + length is below 2^62.
    Stream {
        /// Position of the first octet; the stream begins at 0.
        offset: u64,
        /// The octets.
        data: &'a [u8],
    },
}

impl Frame<'_> {
    /// True if the frame asks for an acknowledgement: all but ACK and PAD do.
    pub const fn elicits(&self) -> bool {
        !matches!(self, Self::Ack(_) | Self::Pad(_))
    }
}

/// An ACK frame whose ranges were checked: they descend, do not touch and stay at or above 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AckView<'a> {
    /// The highest number acknowledged.
    pub largest: u64,
    /// Microseconds between the arrival of the largest and this frame.
    pub delay: u64,
    /// The marks seen, if the peer can see them.
    pub ecn: Option<EcnCounts>,
    first: u64,
    /// Gap and length of each further range, encoded.
    rest: &'a [u8],
}

impl<'a> AckView<'a> {
    /// The ranges, each `(lowest, highest)`, from the highest down.
    pub fn ranges(&self) -> Ranges<'a> {
        Ranges { next: Some((self.largest - self.first, self.largest)), rest: Reader(self.rest) }
    }
}

impl fmt::Debug for AckView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckView")
            .field("ranges", &self.ranges().collect::<Vec<_>>())
            .field("delay", &self.delay)
            .field("ecn", &self.ecn)
            .finish()
    }
}

/// The ranges of an ACK, from the highest down, each `(lowest, highest)`.
#[derive(Clone, Debug)]
pub struct Ranges<'a> {
    next: Option<(u64, u64)>,
    rest: Reader<'a>,
}

impl Iterator for Ranges<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let range = self.next.take()?;
        if !self.rest.0.is_empty() {
            self.next = below(range.0, &mut self.rest).ok();
        }
        Some(range)
    }
}

/// The range that is encoded next, below one that starts at `lowest`.
fn below(lowest: u64, rest: &mut Reader<'_>) -> Result<(u64, u64), Malformed> {
    let (gap, length) = (rest.varint()?, rest.varint()?);
    let highest = lowest.checked_sub(gap).and_then(|n| n.checked_sub(2)).ok_or(Malformed::Range)?;
    let lowest = highest.checked_sub(length).ok_or(Malformed::Range)?;
    Ok((lowest, highest))
}

/// What an authentic packet must not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No frame at all.
    #[error("a packet without frames")]
    Empty,
    /// A frame is cut short.
    #[error("a frame is cut short")]
    Cut,
    /// A type that version 1 does not know.
    #[error("frame type {0:#04x} is not known")]
    Type(u8),
    /// A type that is reserved, and was not agreed on.
    #[error("frame type {0:#04x} is reserved")]
    Reserved(u8),
    /// An ACK whose ranges go below 0.
    #[error("a range of an acknowledgement goes below 0")]
    Range,
    /// A STREAM frame without data.
    #[error("a STREAM frame without data")]
    NoData,
    /// A STREAM frame that ends at or beyond 2^62.
    #[error("stream data at or beyond position 2^62")]
    Position,
}

/// The frames of a packet, checked.
#[derive(Clone, Debug)]
pub struct Frames<'a>(Reader<'a>);

impl<'a> Frames<'a> {
    /// Walks over all frames once.
    ///
    /// # Errors
    ///
    /// [`Malformed`] for the first thing that is wrong.
    pub fn checked(payload: &'a [u8]) -> Result<Self, Malformed> {
        if payload.is_empty() {
            return Err(Malformed::Empty);
        }
        let mut reader = Reader(payload);
        while !reader.0.is_empty() {
            reader.frame()?;
        }
        Ok(Self(Reader(payload)))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        if self.0.0.is_empty() {
            return None;
        }
        // checked before, so that this never is an error
        self.0.frame().ok()
    }
}

#[derive(Clone, Debug)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn octet(&mut self) -> Result<u8, Malformed> {
        let (&octet, rest) = self.0.split_first().ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(octet)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed::Cut)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn eight(&mut self) -> Result<[u8; 8], Malformed> {
        let (eight, rest) = self.0.split_first_chunk().ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(*eight)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let first = self.octet()?;
        let more = self.take((1 << (first >> 6)) - 1)?;
        Ok(more.iter().fold(u64::from(first & 0x3f), |n, octet| n << 8 | u64::from(*octet)))
    }

    fn frame(&mut self) -> Result<Frame<'a>, Malformed> {
        Ok(match self.octet()? {
            PAD => {
                let more = self.0.iter().take_while(|octet| **octet == PAD).count();
                self.0 = &self.0[more..];
                Frame::Pad(more + 1)
            }
            PING => Frame::Ping,
            ACK => Frame::Ack(self.ack(false)?),
            ACK_ECN => Frame::Ack(self.ack(true)?),
            WINDOW => Frame::Window(self.varint()?),
            CHALLENGE => Frame::Challenge(self.eight()?),
            RESPONSE => Frame::Response(self.eight()?),
            FIN => Frame::Fin(self.varint()?),
            ABORT => Frame::Abort(self.varint()?),
            STOP => Frame::Stop,
            DONE => Frame::Done(self.varint()?),
            STREAM => {
                let offset = self.varint()?;
                let data = std::mem::take(&mut self.0);
                stream(offset, data)?
            }
            STREAM_LENGTH => {
                let (offset, length) = (self.varint()?, self.varint()?);
                stream(offset, self.take(length)?)?
            }
            reserved @ 0x20..=0x3f => return Err(Malformed::Reserved(reserved)),
            unknown => return Err(Malformed::Type(unknown)),
        })
    }

    fn ack(&mut self, marks: bool) -> Result<AckView<'a>, Malformed> {
        let (largest, delay, more, first) = (self.varint()?, self.varint()?, self.varint()?, self.varint()?);
        let mut lowest = largest.checked_sub(first).ok_or(Malformed::Range)?;
        let start = self.0;
        // each range takes two octets at least, so the loop ends with the packet whatever `more` says
        for _ in 0..more {
            (lowest, _) = below(lowest, self)?;
        }
        let rest = &start[..start.len() - self.0.len()];
        let ecn = if marks {
            Some(EcnCounts { ect0: self.varint()?, ect1: self.varint()?, ce: self.varint()? })
        } else {
            None
        };
        Ok(AckView { largest, delay, ecn, first, rest })
    }
}

fn stream(offset: u64, data: &[u8]) -> Result<Frame<'_>, Malformed> {
    if data.is_empty() {
        return Err(Malformed::NoData);
    }
    if offset + data.len() as u64 >= VARINT_LIMIT {
        return Err(Malformed::Position);
    }
    Ok(Frame::Stream { offset, data })
}

/// The octets that `value` takes as a variable-length integer.
pub const fn varint_len(value: u64) -> usize {
    match value {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

/// No room for the frame; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no room for the frame")]
pub struct NoRoom;

/// Writes frames into the payload of a packet, one behind the other. A frame is written whole or not at all.
#[derive(Debug)]
pub struct FrameWriter<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl<'a> FrameWriter<'a> {
    /// Into `buffer`: the part of a datagram between header and tag, as long as the packet may become.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, at: 0 }
    }

    /// Octets written.
    pub const fn len(&self) -> usize {
        self.at
    }

    /// True if nothing was written.
    pub const fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// Octets left.
    pub const fn room(&self) -> usize {
        self.buffer.len() - self.at
    }

    /// Writes a frame. A STREAM frame gets a length, so that others can follow; for the last one of a packet see
    /// [`stream`](Self::stream). An ACK is written with the ranges of the view.
    ///
    /// Numbers must be below 2^62 ([`VARINT_LIMIT`]).
    ///
    /// # Errors
    ///
    /// [`NoRoom`].
    pub fn frame(&mut self, frame: &Frame<'_>) -> Result<(), NoRoom> {
        match *frame {
            Frame::Pad(octets) => self.whole(octets, |to| (0..octets).for_each(|_| to.octet(PAD))),
            Frame::Ping => self.whole(1, |to| to.octet(PING)),
            Frame::Ack(ack) => self.ack(ack.ranges(), ack.delay, ack.ecn).map(|_| ()),
            Frame::Window(position) => self.number(WINDOW, position),
            Frame::Challenge(octets) => self.octets(CHALLENGE, octets),
            Frame::Response(octets) => self.octets(RESPONSE, octets),
            Frame::Fin(size) => self.number(FIN, size),
            Frame::Abort(code) => self.number(ABORT, code),
            Frame::Stop => self.whole(1, |to| to.octet(STOP)),
            Frame::Done(size) => self.number(DONE, size),
            Frame::Stream { offset, data } => {
                let length = data.len() as u64;
                self.whole(1 + varint_len(offset) + varint_len(length) + data.len(), |to| {
                    to.octet(STREAM_LENGTH);
                    to.varint(offset);
                    to.varint(length);
                    to.slice(data);
                })
            }
        }
    }

    /// Writes a STREAM frame that goes to the end of its packet: `fill` puts data into the room that is left and returns how
    /// many octets; if 0, nothing is written. Nothing may be written behind it.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if there is none for one octet of data.
    pub fn stream(&mut self, offset: u64, fill: impl FnOnce(&mut [u8]) -> usize) -> Result<usize, NoRoom> {
        let start = self.at;
        if self.room() <= 1 + varint_len(offset) {
            return Err(NoRoom);
        }
        self.octet(STREAM);
        self.varint(offset);
        let filled = fill(&mut self.buffer[self.at..]).min(self.room());
        self.at = if filled == 0 { start } else { self.at + filled };
        Ok(filled)
    }

    /// Writes a STREAM frame with a length, so that others can follow: `fill` puts exactly `length` octets of data.
    ///
    /// # Errors
    ///
    /// [`NoRoom`].
    pub fn stream_part(&mut self, offset: u64, length: usize, fill: impl FnOnce(&mut [u8])) -> Result<(), NoRoom> {
        let octets = length as u64;
        self.whole(1 + varint_len(offset) + varint_len(octets) + length, |to| {
            to.octet(STREAM_LENGTH);
            to.varint(offset);
            to.varint(octets);
            fill(&mut to.buffer[to.at..to.at + length]);
            to.at += length;
        })
    }

    /// Writes an ACK with as many of `ranges` (descending, not touching, each `(lowest, highest)`) as fit; returns how many.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if not even the first range fits, or there is none.
    pub fn ack(
        &mut self,
        ranges: impl Iterator<Item = (u64, u64)> + Clone,
        delay: u64,
        ecn: Option<EcnCounts>,
    ) -> Result<usize, NoRoom> {
        let (lowest, largest) = ranges.clone().next().ok_or(NoRoom)?;
        let marks = ecn.map_or(0, |ecn| varint_len(ecn.ect0) + varint_len(ecn.ect1) + varint_len(ecn.ce));
        // two octets for the number of ranges
        let mut size = 1 + varint_len(largest) + varint_len(delay) + 2 + varint_len(largest - lowest) + marks;
        if size > self.room() {
            return Err(NoRoom);
        }
        let (mut count, mut above) = (0u64, lowest);
        for (lowest, highest) in ranges.clone().skip(1).take(MAX_RANGES) {
            size += varint_len(above - highest - 2) + varint_len(highest - lowest);
            if size > self.room() {
                break;
            }
            count += 1;
            above = lowest;
        }
        self.octet(if ecn.is_some() { ACK_ECN } else { ACK });
        self.varint(largest);
        self.varint(delay);
        self.varint(count);
        self.varint(largest - lowest);
        let mut above = lowest;
        let written = count as usize;
        for (lowest, highest) in ranges.skip(1).take(written) {
            self.varint(above - highest - 2);
            self.varint(highest - lowest);
            above = lowest;
        }
        if let Some(ecn) = ecn {
            self.varint(ecn.ect0);
            self.varint(ecn.ect1);
            self.varint(ecn.ce);
        }
        Ok(written + 1)
    }

    fn number(&mut self, kind: u8, value: u64) -> Result<(), NoRoom> {
        self.whole(1 + varint_len(value), |to| {
            to.octet(kind);
            to.varint(value);
        })
    }

    fn octets(&mut self, kind: u8, octets: [u8; 8]) -> Result<(), NoRoom> {
        self.whole(9, |to| {
            to.octet(kind);
            to.slice(&octets);
        })
    }

    fn whole(&mut self, size: usize, write: impl FnOnce(&mut Self)) -> Result<(), NoRoom> {
        if size > self.room() {
            return Err(NoRoom);
        }
        write(self);
        Ok(())
    }

    fn octet(&mut self, octet: u8) {
        self.buffer[self.at] = octet;
        self.at += 1;
    }

    fn slice(&mut self, octets: &[u8]) {
        self.buffer[self.at..self.at + octets.len()].copy_from_slice(octets);
        self.at += octets.len();
    }

    fn varint(&mut self, value: u64) {
        debug_assert!(value < VARINT_LIMIT, "{value} does not fit");
        let length = varint_len(value);
        let octets = (value & (VARINT_LIMIT - 1)).to_be_bytes();
        let at = self.at;
        self.slice(&octets[8 - length..]);
        let prefix = length.trailing_zeros() as u8;
        self.buffer[at] |= prefix << 6;
    }
}

/// The most ranges after the first in one ACK; their number then fits into two octets.
const MAX_RANGES: usize = 0x3fff;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut FrameWriter<'_>)) -> Vec<u8> {
        let mut buffer = [0xee; 2000];
        let mut writer = FrameWriter::new(&mut buffer);
        write(&mut writer);
        let length = writer.len();
        buffer[..length].to_vec()
    }

    fn one(payload: &[u8]) -> Result<Vec<Frame<'_>>, Malformed> {
        Frames::checked(payload).map(Iterator::collect)
    }

    #[test]
    fn every_frame_has_its_octets() {
        let data = [9, 8, 7];
        for (frame, octets) in [
            (Frame::Pad(2), &[0, 0][..]),
            (Frame::Ping, &[1]),
            (Frame::Window(0x3fff), &[4, 0x7f, 0xff]),
            (Frame::Challenge([1, 2, 3, 4, 5, 6, 7, 8]), &[5, 1, 2, 3, 4, 5, 6, 7, 8]),
            (Frame::Response([8; 8]), &[6, 8, 8, 8, 8, 8, 8, 8, 8]),
            (Frame::Fin(0x4000), &[7, 0x80, 0, 0x40, 0]),
            (Frame::Abort(0x3f), &[8, 0x3f]),
            (Frame::Stop, &[9]),
            (Frame::Done(1 << 30), &[10, 0xc0, 0, 0, 0, 0x40, 0, 0, 0]),
            (Frame::Stream { offset: 5, data: &data }, &[13, 5, 3, 9, 8, 7]),
        ] {
            assert_eq!(written(|to| to.frame(&frame).expect("room")), octets, "{frame:?}");
            assert_eq!(one(octets), Ok(vec![frame]));
        }
        let last = written(|to| {
            assert_eq!(to.stream(5, |_| 0), Ok(0));
            let fill = |room: &mut [u8]| {
                room[..3].copy_from_slice(&data);
                3
            };
            assert_eq!(to.stream(5, fill), Ok(3));
        });
        assert_eq!(last, [12, 5, 9, 8, 7]);
        assert_eq!(one(&last), Ok(vec![Frame::Stream { offset: 5, data: &data }]));
    }

    #[test]
    fn an_ack_has_its_octets_and_ranges() {
        let ranges = [(95, 100), (90, 92), (3, 3)];
        let octets = written(|to| assert_eq!(to.ack(ranges.into_iter(), 25_000, None), Ok(3)));
        assert_eq!(octets, [2, 0x40, 100, 0x80, 0, 0x61, 0xa8, 2, 5, 1, 2, 0x40, 85, 0]);
        let Ok([Frame::Ack(ack)]) = one(&octets).as_deref().map(|f| <[Frame<'_>; 1]>::try_from(f).expect("one")) else {
            panic!("an ACK")
        };
        assert_eq!((ack.largest, ack.delay, ack.ecn), (100, 25_000, None));
        assert_eq!(ack.ranges().collect::<Vec<_>>(), ranges);
        let ecn = EcnCounts { ect0: 1, ect1: 0, ce: 70 };
        let octets = written(|to| assert_eq!(to.ack([(0, 0)].into_iter(), 0, Some(ecn)), Ok(1)));
        assert_eq!(octets, [3, 0, 0, 0, 0, 1, 0, 0x40, 70]);
    }

    #[test]
    fn an_ack_gives_what_room_it_has_to_the_highest_ranges() {
        let ranges = (0..100u64).rev().map(|n| (n * 4, n * 4 + 1));
        for room in 0..220 {
            let mut buffer = vec![0; room];
            let mut writer = FrameWriter::new(&mut buffer);
            let count = writer.ack(ranges.clone(), 10, None);
            let length = writer.len();
            match count {
                Err(NoRoom) => assert!(room < 7 && length == 0, "{room}"),
                Ok(count) => {
                    assert!(count == 100 || room - length < 4, "{room}: {count} ranges, {length}");
                    let frames: Vec<_> = Frames::checked(&buffer[..length]).expect("well formed").collect();
                    let [Frame::Ack(ack)] = &frames[..] else { panic!("{frames:?}") };
                    assert!(ack.ranges().eq(ranges.clone().take(count)));
                }
            }
        }
        assert_eq!(FrameWriter::new(&mut [0; 9]).ack(std::iter::empty(), 0, None), Err(NoRoom));
    }

    #[test]
    fn what_is_malformed_is_told() {
        let far = (1u64 << 62) - 2;
        let far = [&[13][..], &(far | 0xc000_0000_0000_0000).to_be_bytes(), &[2, 1, 1]].concat();
        for (payload, error) in [
            (&[][..], Malformed::Empty),
            (&[4], Malformed::Cut),
            (&[4, 0x40], Malformed::Cut),
            (&[5, 1, 2, 3], Malformed::Cut),
            (&[1, 6, 1, 2, 3, 4, 5, 6, 7], Malformed::Cut),
            (&[13, 0, 2, 1], Malformed::Cut),
            (&[2, 5, 0, 1, 0], Malformed::Cut),
            (&[3, 5, 0, 0, 0, 1, 1], Malformed::Cut),
            (&[2, 5, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0], Malformed::Cut),
            (&[2, 5, 0, 0, 6], Malformed::Range),
            (&[2, 5, 0, 1, 0, 4, 0], Malformed::Range),
            (&[2, 5, 0, 1, 0, 3, 1], Malformed::Range),
            (&[12, 0], Malformed::NoData),
            (&[13, 0, 0], Malformed::NoData),
            (&far, Malformed::Position),
            (&[0x0b], Malformed::Type(0x0b)),
            (&[0x1f], Malformed::Type(0x1f)),
            (&[0x20], Malformed::Reserved(0x20)),
            (&[0x3f], Malformed::Reserved(0x3f)),
            (&[0x40], Malformed::Type(0x40)),
            (&[1, 0xff], Malformed::Type(0xff)),
        ] {
            assert_eq!(one(payload), Err(error), "{payload:?}");
        }
        assert!(one(&far[..far.len() - 1]).is_err());
    }

    #[test]
    fn only_ack_and_pad_do_not_elicit() {
        let ack = written(|to| assert!(to.ack([(1, 2)].into_iter(), 0, None).is_ok()));
        let mut payload = vec![0, 0];
        payload.extend_from_slice(&ack);
        assert!(one(&payload).expect("well formed").iter().all(|frame| !frame.elicits()));
        assert!(one(&[1, 9]).expect("well formed").iter().all(Frame::elicits));
    }

    #[test]
    fn a_frame_that_does_not_fit_leaves_nothing_behind() {
        let mut buffer = [0xee; 4];
        let mut writer = FrameWriter::new(&mut buffer);
        assert_eq!(writer.frame(&Frame::Challenge([1; 8])), Err(NoRoom));
        assert_eq!(writer.frame(&Frame::Stream { offset: 0, data: &[1, 2] }), Err(NoRoom));
        assert_eq!(writer.stream(1 << 20, |_| 1), Err(NoRoom));
        assert_eq!((writer.len(), writer.is_empty(), writer.room()), (0, true, 4));
        assert_eq!(buffer, [0xee; 4]);
    }

    #[test]
    fn random_and_changed_octets_never_panic() {
        let mut random = fastrand::Rng::with_seed(3);
        let good = written(|to| {
            to.ack([(95, 100), (90, 92), (3, 3)].into_iter(), 25, Some(EcnCounts::default())).expect("room");
            for frame in [Frame::Ping, Frame::Window(1 << 40), Frame::Stream { offset: 1 << 33, data: &[5; 40] }] {
                to.frame(&frame).expect("room");
            }
        });
        for _ in 0..50_000 {
            let mut payload = if random.bool() { vec![0; random.usize(..64)] } else { good.clone() };
            if payload.len() < good.len() {
                payload.iter_mut().for_each(|octet| *octet = random.u8(..) >> random.u8(..8));
            } else {
                (0..random.usize(1..4)).for_each(|_| payload[random.usize(..good.len())] = random.u8(..));
                payload.truncate(random.usize(..=good.len()));
            }
            if let Ok(frames) = Frames::checked(&payload) {
                for frame in frames {
                    if let Frame::Ack(ack) = frame {
                        let mut above = u64::MAX;
                        for (lowest, highest) in ack.ranges() {
                            assert!(lowest <= highest && highest < above);
                            above = lowest;
                        }
                    }
                }
            }
        }
    }

    fn number() -> impl Strategy<Value = u64> {
        (0..62u32, any::<u64>()).prop_map(|(bits, value)| value & ((1 << bits) - 1))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            numbers in prop::collection::vec((0..5usize, number()), 1..20),
            data in prop::collection::vec(any::<u8>(), 1..60),
            octets in any::<[u8; 8]>(),
        ) {
            let mut frames = Vec::new();
            for (kind, value) in numbers {
                frames.push(match kind {
                    0 => Frame::Window(value),
                    1 => Frame::Fin(value),
                    2 => Frame::Abort(value),
                    3 => Frame::Done(value),
                    _ => Frame::Stream { offset: value >> 1, data: &data },
                });
            }
            frames.extend([Frame::Challenge(octets), Frame::Ping, Frame::Stop, Frame::Response(octets), Frame::Pad(3)]);
            let payload = written(|to| frames.iter().for_each(|frame| to.frame(frame).expect("room")));
            prop_assert_eq!(one(&payload), Ok(frames));
        }

        #[test]
        fn ranges_come_back(
            largest in (1u64 << 40)..(1 << 60),
            steps in prop::collection::vec((0u64..70_000, 0u64..70_000), 0..60),
            delay in number(),
        ) {
            let mut ranges = vec![(largest - 3, largest)];
            for (gap, length) in steps {
                let highest = ranges[ranges.len() - 1].0 - gap - 2;
                ranges.push((highest - length, highest));
            }
            let payload = written(|to| {
                assert_eq!(to.ack(ranges.iter().copied(), delay, None), Ok(ranges.len()));
            });
            let frames: Vec<_> = Frames::checked(&payload).expect("well formed").collect();
            let [Frame::Ack(ack)] = &frames[..] else { panic!("{frames:?}") };
            prop_assert_eq!(ack.ranges().collect::<Vec<_>>(), ranges);
            prop_assert_eq!(ack.delay, delay);
        }
    }
}
