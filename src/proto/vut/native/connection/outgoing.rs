//! The next datagrams go out.
//!
//! | in this order | to | when |
//! |---|---|---|
//! | our N | the peer | by its timer, or asked for |
//! | CHALLENGE | the candidate | the path asks for it |
//! | RESPONSE | where the CHALLENGE came from | at once |
//! | a usual packet | the peer | see the [module](super) |
//! | a probe of the datagram size | the peer | the search asks for it, the window has room, nothing waits to be sent again |
//!
//! Usual packets that fill their datagrams go out together, with a last one that may be shorter.

use super::{Cargo, Connection, Keys, Life, Purpose, Transmit};
use crate::proto::time::Time;
use crate::proto::vut::event::CloseReason;
use crate::proto::vut::native::acks::EcnMark;
use crate::proto::vut::native::close::{AbortCode, Note};
use crate::proto::vut::native::frames::{Frame, FrameWriter, NoRoom, varint_len};
use crate::proto::vut::native::loss::Sent;
use crate::proto::vut::native::packet::{HEADER, OVERHEAD, TAG};
use crate::proto::vut::native::path::Address;
use crate::proto::vut::trace::Record;

/// The most datagrams that go out together: what Linux takes in one call (UDP_MAX_SEGMENTS was 64 for long).
const BATCH: usize = 64;
/// The most octets of a batch: the largest UDP payload over IPv4.
const BATCH_OCTETS: usize = 65_507;
/// A packet that is not worth its head is not begun.
const LEAST: usize = OVERHEAD + 64;
/// The longest head of a piece that ends the packet: type and position.
const HEAD: usize = 9;
/// A second piece takes its type, a position of eight octets, and should be worth it.
const LEAST_PIECE: usize = 9 + 16;
/// So many ranges wait to be forgotten when the peer is asked to acknowledge an acknowledgement.
const MANY_RANGES: usize = 8;
/// Probes up to this size, what Ethernet carries over IPv4, are sent at once: most paths have it.
const MODEST: u16 = 1472;
/// Larger ones when the congestion window is so many times as large, or nothing waits.
const PROBE_SHARE: u64 = 4;
/// Between two packet numbers that are left out lie at most so many.
const SKIP_WITHIN: u64 = 2048;

impl<A: Address> Connection<A> {
    /// Writes the next datagrams at the start of `buf`, and says where they go; none if nothing is to be sent now. `buf` should have
    /// room for one datagram of the largest size; with more, several go out together.
    pub fn poll_transmit(&mut self, now: Time, buf: &mut [u8]) -> Option<Transmit<A>> {
        if self.life == Life::Gone {
            return None;
        }
        if let Some(first) = self.poll_single(now, buf) {
            return Some(first);
        }
        let ecn = self.ecn.marks().then_some(EcnMark::Ect0);
        let mut ready = self.ready(now);
        let first = self.usual(now, buf, ecn, &mut ready)?;
        let (mut octets, mut last, mut count) = (first, first, 1);
        let full = usize::from(self.mtu.current());
        while last == first && first == full && count < BATCH && octets + full <= buf.len().min(BATCH_OCTETS) {
            let Some(next) = self.usual(now, &mut buf[octets..], ecn, &mut ready) else { break };
            last = next;
            octets += next;
            count += 1;
        }
        Some(Transmit { to: self.path.current(), octets, segment: first, ecn })
    }

    /// What goes out alone.
    fn poll_single(&mut self, now: Time, buf: &mut [u8]) -> Option<Transmit<A>> {
        let single = |to, octets| Transmit { to, octets, segment: octets, ecn: None };
        if let Some(octets) = self.negotiation(now, buf) {
            return Some(single(self.path.current(), octets));
        }
        self.sealer.as_ref()?;
        if let Some((to, octets)) = self.errands.challenge.take()
            && self.path.allowance(to) >= (OVERHEAD + 9) as u64
            && let Some(length) = self.errand(now, buf, to, &Frame::Challenge(octets))
        {
            return Some(single(to, length));
        }
        if let Some((to, octets)) = self.errands.response.take()
            && let Some(length) = self.errand(now, buf, to, &Frame::Response(octets))
        {
            return Some(single(to, length));
        }
        let octets = self.size_probe(now, buf)?;
        Some(single(self.path.current(), octets))
    }

    fn negotiation(&mut self, now: Time, buf: &mut [u8]) -> Option<usize> {
        if let Keys::Shaking(handshake) = &self.keys
            && self.greeting.repeats.take(now)
        {
            self.greeting.wanted = Some(handshake.datagram().to_vec());
        }
        let datagram = self.greeting.wanted.take()?;
        // a recorded hello from anywhere asks for ours as often as somebody likes
        if !self.path.has_heard() && !self.greeting.budget.take(now) {
            return None;
        }
        buf.get_mut(..datagram.len())?.copy_from_slice(&datagram);
        self.greeting.sent_at = Some(now);
        self.stats.sent += 1;
        self.stats.sent_octets += datagram.len() as u64;
        self.trace(now, Record::State { of: "connection", state: "negotiating" });
        Some(datagram.len())
    }

    fn errand(&mut self, now: Time, buf: &mut [u8], to: A, frame: &Frame<'_>) -> Option<usize> {
        let length = OVERHEAD + 9;
        let mut writer = FrameWriter::new(buf.get_mut(HEADER..length - TAG)?);
        writer.frame(frame).ok()?;
        self.dispatch(now, buf, length, to, Cargo { purpose: Purpose::Address, ..Cargo::default() }, true)
    }

    /// The size that is to be tried, and when; none if none is, or something must come in first.
    pub(super) fn size_due(&mut self, now: Time) -> Option<(u16, Time)> {
        if self.life != Life::Live || !self.is_connected() || !self.path.is_validated() || self.outbox.has_lost() {
            return None;
        }
        let size = self.mtu.poll_probe(now)?;
        let (window, in_flight) = self.congestion();
        // a large one that is lost would stand in the way of data for a round trip
        let small = size <= MODEST || u64::from(size) * PROBE_SHARE <= window || !self.outbox.has_work();
        (small && self.control.has_room(in_flight, size)).then(|| (size, self.control.due(now, size)))
    }

    /// PING and padding.
    fn size_probe(&mut self, now: Time, buf: &mut [u8]) -> Option<usize> {
        let (size, _) = self.size_due(now).filter(|(_, at)| *at <= now)?;
        let length = usize::from(size);
        if buf.len() < length {
            return None;
        }
        let mut writer = FrameWriter::new(buf.get_mut(HEADER..length - TAG)?);
        writer.frame(&Frame::Ping).ok()?;
        let padding = writer.room();
        writer.frame(&Frame::Pad(padding)).ok()?;
        let to = self.path.current();
        let cargo = Cargo { purpose: Purpose::Size, ..Cargo::default() };
        let length = self.dispatch(now, buf, length, to, cargo, true)?;
        self.mtu.on_probe_sent(self.ledger.next_number() - 1);
        Some(length)
    }

    /// True if the peer's address has proven nothing, and what may go there is used up.
    pub(super) fn is_blocked(&self) -> bool {
        self.path.allowance(self.path.current()) < LEAST as u64
    }

    /// Octets of datagrams with stream data that may leave now. Asked for once a batch.
    fn ready(&mut self, now: Time) -> u64 {
        let waits = self.life == Life::Live && self.outbox.has_work();
        if waits { self.control.ready(now, self.ledger.in_flight()) } else { 0 }
    }

    fn usual(&mut self, now: Time, buf: &mut [u8], ecn: Option<EcnMark>, ready: &mut u64) -> Option<usize> {
        if self.sealer.is_none() || self.is_blocked() {
            return None;
        }
        let to = self.path.current();
        let allowance = usize::try_from(self.path.allowance(to)).unwrap_or(usize::MAX);
        let size = usize::from(self.mtu.current()).min(buf.len()).min(allowance);
        if size < LEAST {
            return None;
        }
        if self.probe {
            self.notices.probe();
            self.outbox.probe((size - OVERHEAD) as u64);
        }
        let paid = self.probe || *ready >= u64::from(self.mtu.current());
        let data = paid && self.life == Life::Live && self.outbox.has_work();
        let news = self.notices.any_due() || self.ping || self.probe || self.window_due();
        if !data && !news && !self.acks.is_due(now) {
            return None;
        }
        let mut writer = FrameWriter::new(&mut buf[HEADER..size - TAG]);
        let mut cargo = Cargo { marked: ecn.is_some(), ..Cargo::default() };
        if self.acks.is_due(now) || self.acks.has_news() {
            cargo.told = self.acks.write(&mut writer, now).ok();
        }
        self.write_notices(&mut writer, &mut cargo);
        self.write_window(&mut writer, &mut cargo, data || news);
        let mut sent_data = 0;
        if data {
            sent_data = self.write_pieces(&mut writer, &mut cargo);
        }
        let mut eliciting = cargo.notes != super::Notes::default() || cargo.window.is_some() || sent_data > 0;
        let many = self.ledger.in_flight() == 0 && self.acks.received().descending().nth(MANY_RANGES).is_some();
        if !eliciting && (self.ping || self.probe || many) && writer.frame(&Frame::Ping).is_ok() {
            eliciting = true;
        }
        let length = HEADER + writer.len() + TAG;
        if length == OVERHEAD {
            return None;
        }
        if eliciting {
            self.ping = false;
            self.probe = false;
        }
        let length = self.dispatch(now, buf, length, to, cargo, eliciting)?;
        if eliciting {
            *ready = ready.saturating_sub(length as u64);
        }
        self.note_limit();
        Some(length)
    }

    /// Tells who measures rates that the application, not the network, is the limit.
    fn note_limit(&mut self) {
        if !self.outbox.has_work() && self.control.has_room(self.ledger.in_flight(), self.mtu.current()) {
            self.control.on_app_limited();
            self.ledger.set_app_limited();
        }
    }

    fn write_notices(&mut self, writer: &mut FrameWriter<'_>, cargo: &mut Cargo) {
        for note in Note::ALL {
            if !self.notices.is_due(note) {
                continue;
            }
            let frame = match note {
                Note::Fin => Frame::Fin(self.outbox.written()),
                Note::Done => Frame::Done(self.inbox.arrived()),
                Note::Stop => Frame::Stop,
                Note::Abort => Frame::Abort(self.abort_code().number()),
            };
            if writer.frame(&frame).is_ok() {
                self.notices.on_sent(note);
                cargo.notes.add(note);
            }
        }
    }

    const fn abort_code(&self) -> AbortCode {
        match self.life {
            Life::Failing { code, .. } => code,
            _ => AbortCode::Owner,
        }
    }

    fn write_window(&mut self, writer: &mut FrameWriter<'_>, cargo: &mut Cargo, rides: bool) {
        let limit = self.inbox.limit();
        let worth = rides && limit > self.told_limit && self.input.is_open() && self.inbox.size().is_none();
        if (self.window_due() || worth) && writer.frame(&Frame::Window(limit)).is_ok() {
            self.told_limit = limit;
            self.retell = false;
            cargo.window = Some(limit);
        }
    }

    /// Stream data, at most two pieces; says how many octets.
    fn write_pieces(&mut self, writer: &mut FrameWriter<'_>, cargo: &mut Cargo) -> u64 {
        let mut octets = 0;
        for at in 0..cargo.pieces.len() {
            let Some(waits) = self.outbox.peek(writer.room().saturating_sub(HEAD) as u64) else { break };
            // to the end of the packet, unless another piece fits behind it
            let room = writer.room().saturating_sub(1 + varint_len(waits.start));
            let length = room.min(usize::try_from(waits.end - waits.start).unwrap_or(usize::MAX));
            let Some(piece) = self.outbox.take(length as u64) else { break };
            let fits = room - length > varint_len(length as u64) + LEAST_PIECE;
            let more = fits && at + 1 < cargo.pieces.len() && self.outbox.has_work();
            let outbox = &mut self.outbox;
            let written: Result<(), NoRoom> = if more {
                writer.stream_part(waits.start, length, |to| _ = outbox.copy(&piece.range, to))
            } else {
                writer.stream(waits.start, |to| outbox.copy(&piece.range, to)).map(|_| ())
            };
            if written.is_err() {
                self.outbox.on_lost(piece.range);
                break;
            }
            if piece.again {
                self.stats.repeated += 1;
            } else {
                self.stats.segments += 1;
            }
            octets += length as u64;
            cargo.pieces[at] = Some(piece.range);
            if !more {
                break;
            }
        }
        octets
    }

    /// Seals the packet in `buf[..length]` and takes note of it.
    fn dispatch(
        &mut self,
        now: Time,
        buf: &mut [u8],
        length: usize,
        to: A,
        cargo: Cargo,
        eliciting: bool,
    ) -> Option<usize> {
        let (sealer, peer_id) = (self.sealer.as_mut()?, self.peer_id?);
        if sealer.next_number() >= self.skip_at {
            sealer.skip_to(sealer.next_number() + 1);
            let tag = ring::hmac::sign(&self.challenges, &(u64::MAX - self.skip_at).to_be_bytes());
            let drawn = tag.as_ref().first_chunk().map_or(0, |octets| u64::from(u16::from_be_bytes(*octets)));
            self.skip_at = sealer.next_number() + 1 + drawn % SKIP_WITHIN;
        }
        let Ok(number) = sealer.seal(peer_id, &mut buf[..length]) else {
            self.fail(now, CloseReason::WornOut);
            return None;
        };
        let data = cargo.pieces.iter().flatten().map(|piece| piece.end - piece.start).sum();
        let size = u16::try_from(length).unwrap_or(u16::MAX);
        if cargo.marked {
            self.ecn.on_sent();
        }
        self.ledger.on_sent(Sent { number, size, eliciting, at: now, info: cargo });
        if eliciting {
            self.control.on_sent(now, size, self.ledger.in_flight(), self.ledger.rtt());
            self.asked_at = now;
        }
        self.path.on_sent(to, length);
        self.stats.sent += 1;
        self.stats.sent_octets += length as u64;
        self.trace(now, Record::PacketSent { number, octets: length, data, eliciting });
        Some(length)
    }
}
