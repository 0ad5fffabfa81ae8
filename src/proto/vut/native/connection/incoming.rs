//! A datagram comes in: an N, or a packet. A packet is opened, then all its frames are checked, then it is used whole, or dropped
//! whole as if it had not come.

use super::{Cargo, Connection, Keys, Life, Probes, Purpose};
use crate::proto::time::Time;
use crate::proto::vut::closing::Proof;
use crate::proto::vut::event::{CloseReason, Event};
use crate::proto::vut::native::acks::{EcnMark, Press};
use crate::proto::vut::native::close::{Input, Note, Output};
use crate::proto::vut::native::control::{Control, Newest, View};
use crate::proto::vut::native::frames::{AckView, Frame, Frames};
use crate::proto::vut::native::handshake::{FIRST_REPEAT, Heard};
use crate::proto::vut::native::loss::{Event as Fate, Ledger, Outcome, Sent};
use crate::proto::vut::native::mtu::MtuSearch;
use crate::proto::vut::native::packet::OpenError;
use crate::proto::vut::native::path::{Address, Arrival, Keeps, PathEffect, PathTimes};
use crate::proto::vut::trace::Record;
use std::time::Duration;

/// What became of the packets of one acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fates {
    newest: Newest,
    /// Packets with ECT(0) that arrived.
    marked: u64,
}

/// What the ledger says, less the probes that got lost: they say nothing about congestion.
fn view(ledger: &Ledger<Cargo>, probes: Probes) -> View<'_> {
    let view = View::of(ledger);
    View { lost: view.lost - probes.lost_octets, ..view }
}

impl<A: Address> Connection<A> {
    /// An authentic hello with the bit came, again: the peer may have neither our hello nor our N.
    pub fn handle_hello(&mut self, now: Time, from: A, octets: usize) {
        let Keys::Shaking(handshake) = &self.keys else { return };
        if from == self.path.current() {
            self.path.on_greeting(octets);
        }
        if self.greeting.sent_at.is_none_or(|at| now.since(at) >= FIRST_REPEAT) {
            self.greeting.wanted = Some(handshake.datagram().to_vec());
        }
    }

    /// A datagram came that says it is an N. What is not authentic changes nothing but a counter.
    pub fn handle_negotiation(&mut self, now: Time, from: A, datagram: &[u8]) {
        let heard = match &mut self.keys {
            Keys::Shaking(handshake) => handshake.handle_negotiation(datagram),
            Keys::Settled(settled) => {
                // who has acknowledged a packet has our N; two that answer each other's would never end
                let lacks_ours = self.ledger.delivered() == 0;
                match settled.answer(datagram, now).filter(|_| lacks_ours) {
                    Some(own) => self.greeting.wanted = Some(own.to_vec()),
                    None => self.stats.ignored += 1,
                }
                return;
            }
            Keys::Lost => return,
        };
        match heard {
            Heard::Refused(_) => {
                self.stats.forged += 1;
                return self.trace(now, Record::Dropped { why: "negotiation", octets: datagram.len() });
            }
            // the peer repeats it, so it has opened nothing of ours
            Heard::Again => self.handle_hello(now, from, datagram.len()),
            Heard::Newest => {
                let Keys::Shaking(handshake) = &self.keys else { return };
                if from == self.path.current() {
                    self.path.on_greeting(datagram.len());
                }
                if self.peer_id.is_none() && self.greeting.sent_at.is_some() {
                    // without it the peer cannot open what we send: once more, so that no single loss costs a repeat's wait
                    self.greeting.wanted = Some(handshake.datagram().to_vec());
                }
                self.on_candidate(now);
            }
        }
        self.settle(now);
    }

    /// Another candidate is the newest: all that was sent counts as lost, and goes under its keys.
    fn on_candidate(&mut self, now: Time) {
        let Keys::Shaking(handshake) = &mut self.keys else { return };
        let Some(offer) = handshake.newest().copied() else { return };
        match &mut self.sealer {
            Some(sealer) => handshake.rekey(sealer),
            none => *none = handshake.sealer(),
        }
        self.peer_id = Some(offer.id);
        self.outbox.set_window(offer.window);
        self.set_largest(offer.largest);
        self.ledger.guess_round_trip(now.since(self.greeting.began));
        self.abandon(now);
        // something must open there, whether or not there is data
        self.ping = true;
    }

    fn abandon(&mut self, now: Time) {
        let _ = self.ledger.abandon(now);
        while let Some(fate) = self.ledger.poll_event() {
            if let Fate::Lost(sent) = fate {
                self.on_cargo_lost(&sent.info);
            }
        }
    }

    /// A datagram came that says it is a packet. It is opened in place. What does not open changes nothing but a counter.
    /// `mark` is the congestion mark with which it came, if the owner can see that.
    pub fn handle_packet(&mut self, now: Time, from: A, mark: Option<EcnMark>, datagram: &mut [u8]) {
        let (pto, octets) = (self.times.pto, datagram.len());
        let opened = match &mut self.keys {
            Keys::Shaking(handshake) => handshake.open(datagram, now, pto),
            Keys::Settled(settled) => settled.opener.open(datagram, now, pto),
            Keys::Lost => return,
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => return self.on_refused(now, error, octets),
        };
        if matches!(self.keys, Keys::Shaking(_)) {
            self.on_proven(now);
        }
        self.stats.received += 1;
        self.stats.received_octets += octets as u64;
        self.heard_at = now;
        self.trace(now, Record::PacketReceived { number: opened.number, octets });
        let payload = datagram.get(opened.frames.clone()).unwrap_or_default();
        let Ok(frames) = Frames::checked(payload) else {
            self.stats.malformed += 1;
            return self.fail(now, CloseReason::Violation);
        };
        let mut press = Press::Silent;
        for frame in frames.clone() {
            if !self.can_take(&frame) {
                self.stats.refused += 1;
                return self.trace(now, Record::Dropped { why: "no room", octets });
            }
            press = press.max(Press::of(&frame));
        }
        self.acks.on_packet(opened.number, now, press, mark);
        let arrival = Arrival { from, highest: opened.highest, octets };
        let (times, key, count) = (self.times, &self.challenges, &mut self.challenged);
        let effect = self.path.on_packet(arrival, now, times, || {
            *count += 1;
            let tag = ring::hmac::sign(key, &count.to_be_bytes());
            tag.as_ref().first_chunk().copied().unwrap_or_default()
        });
        self.on_path(now, effect);
        for frame in frames {
            self.on_frame(now, from, &frame);
        }
        self.settle(now);
    }

    fn on_refused(&mut self, now: Time, error: OpenError, octets: usize) {
        let why = match error {
            OpenError::Seen | OpenError::Old => {
                self.stats.old += 1;
                "seen"
            }
            OpenError::OtherConnection => {
                self.stats.ignored += 1;
                "other connection"
            }
            OpenError::NotAPacket | OpenError::Forged => {
                self.stats.forged += 1;
                "forged"
            }
            OpenError::TooManyForged => {
                self.fail(now, CloseReason::WornOut);
                "too many forged"
            }
        };
        self.trace(now, Record::Dropped { why, octets });
    }

    /// The first packet of the peer has opened.
    fn on_proven(&mut self, now: Time) {
        let Keys::Shaking(handshake) = std::mem::replace(&mut self.keys, Keys::Lost) else { return };
        let mut settled = match handshake.settle() {
            Ok(settled) => settled,
            Err(handshake) => {
                self.keys = Keys::Shaking(handshake);
                return;
            }
        };
        self.greeting.repeats.stop();
        let rekeyed = self.sealer.as_mut().is_some_and(|sealer| settled.rekey(sealer));
        self.peer_id = Some(settled.id);
        self.idle = settled.offer.idle_timeout();
        self.outbox.set_window(settled.offer.window);
        self.set_largest(settled.offer.largest);
        self.largest = self.mtu.limit();
        self.keys = Keys::Settled(Box::new(settled));
        if rekeyed {
            self.abandon(now);
            self.ping = true;
        }
        if self.life == Life::Live {
            self.events.push_back(Event::Connected);
        }
        self.trace(now, Record::State { of: "connection", state: "connected" });
    }

    /// False if the frame's data cannot be kept; the packet then is as if it had not come, and is not acknowledged.
    fn can_take(&self, frame: &Frame<'_>) -> bool {
        match frame {
            Frame::Stream { offset, data } => self.inbox.has_room(&(*offset..offset + data.len() as u64)),
            _ => true,
        }
    }

    fn on_frame(&mut self, now: Time, from: A, frame: &Frame<'_>) {
        match (frame, self.life) {
            (Frame::Pad(_) | Frame::Ping, _) => {}
            (Frame::Ack(ack), _) => self.on_ack(now, ack),
            (Frame::Challenge(octets), _) => self.errands.response = Some((from, *octets)),
            (Frame::Response(octets), _) => {
                let effect = self.path.on_response(from, *octets, now, self.times);
                self.on_path(now, effect);
            }
            (Frame::Abort(code), Life::Live) => {
                self.notices.clear();
                let until = now + self.config.linger;
                self.close(now, CloseReason::AbortedByPeer { code: Some(*code) }, Life::Lingering { until });
            }
            // both gave up
            (Frame::Abort(_), Life::Failing { .. }) => self.notices.clear(),
            (_, Life::Failing { .. } | Life::Lingering { .. } | Life::Gone) => {}
            (Frame::Window(position), Life::Live) => self.outbox.raise_window(*position),
            (Frame::Fin(size), Life::Live) => self.on_fin(now, *size),
            (Frame::Stop, Life::Live) => self.on_stop(now),
            (Frame::Done(size), Life::Live) => self.on_done(now, *size),
            (Frame::Stream { offset, data }, Life::Live) => self.on_stream(now, *offset, data),
        }
    }

    fn on_stream(&mut self, now: Time, offset: u64, data: &[u8]) {
        let range = offset..offset + data.len() as u64;
        if self.inbox.check_data(&range).is_err() {
            self.stats.malformed += 1;
            return self.fail(now, CloseReason::Violation);
        }
        if !self.input.is_open() {
            return self.inbox.pass(range.end);
        }
        let before = self.inbox.readable();
        if self.inbox.take(offset, data) == 0 {
            self.stats.old += 1;
        }
        if before == 0 && self.inbox.readable() > 0 && self.events.back() != Some(&Event::Readable) {
            self.events.push_back(Event::Readable);
        }
    }

    fn on_fin(&mut self, now: Time, size: u64) {
        if self.inbox.set_size(size).is_err() && self.input == Input::Open {
            self.stats.malformed += 1;
            self.fail(now, CloseReason::Violation);
        }
    }

    fn on_stop(&mut self, now: Time) {
        if matches!(self.output, Output::Done(_)) {
            return;
        }
        self.outbox.stop();
        self.events.retain(|event| !matches!(event, Event::Credit { .. }));
        self.events.push_back(Event::PeerStopped);
        self.end_output(now, Proof::Unproven);
    }

    fn on_done(&mut self, now: Time, size: u64) {
        match self.output {
            Output::Ending if size == self.outbox.written() && self.outbox.all_sent() => {
                self.outbox.on_arrived(0..size);
                self.end_output(now, Proof::Proven);
            }
            Output::Done(_) => {}
            Output::Open | Output::Ending => {
                self.stats.malformed += 1;
                self.fail(now, CloseReason::Violation);
            }
        }
    }

    fn on_ack(&mut self, now: Time, ack: &AckView<'_>) {
        let newest = self.ledger.largest();
        match self.ledger.on_ack(ack.ranges(), Duration::from_micros(ack.delay), now) {
            Ok(outcome) => {
                if outcome.rtt.is_some() {
                    self.times = PathTimes::of(self.ledger.rtt());
                    self.acks.set_round_trip(self.ledger.rtt().smoothed());
                }
                let fates = self.on_outcome(now, outcome, "acknowledgement");
                if self.ledger.largest() > newest {
                    self.on_marks(now, ack, fates);
                }
            }
            Err(_) => {
                // it is of no use any more, and our ABORT needs one
                self.ledger = Ledger::new();
                self.times = PathTimes::of(self.ledger.rtt());
                self.stats.malformed += 1;
                self.fail(now, CloseReason::Violation);
            }
        }
    }

    /// What the marks on what arrived say of the path, and of its queue.
    fn on_marks(&mut self, now: Time, ack: &AckView<'_>, fates: Fates) {
        let failed = self.ecn.has_failed();
        let congested = self.ecn.on_ack(fates.marked, ack.ecn);
        if congested > 0 {
            self.stats.congested += congested;
            self.control.on_marked(now, congested, fates.newest, view(&self.ledger, self.probes));
            self.trace_window(now);
        }
        if self.ecn.has_failed() && !failed {
            self.trace(now, Record::State { of: "ecn", state: "failed" });
        }
    }

    /// What became of packets.
    pub(super) fn on_outcome(&mut self, now: Time, mut outcome: Outcome, how: &'static str) -> Fates {
        let (mut newest, mut marked) = (Newest::default(), 0);
        let mut lost: Vec<(u64, u16)> = Vec::new();
        while let Some(fate) = self.ledger.poll_event() {
            match &fate {
                Fate::Acknowledged(sent) | Fate::Spurious(sent) => {
                    newest.note(&fate);
                    marked += u64::from(sent.info.marked);
                    self.mtu.on_acknowledged(sent.number, sent.size, now);
                    self.on_cargo_arrived(sent);
                }
                Fate::Lost(sent) => {
                    lost.push((sent.number, sent.size));
                    if sent.info.marked {
                        self.ecn.on_lost();
                    }
                    if sent.info.purpose == Purpose::Usual {
                        newest.note(&fate);
                    } else if sent.eliciting {
                        // its loss says nothing about congestion
                        outcome.lost -= u64::from(sent.size);
                        self.probes.lost += 1;
                        self.probes.lost_octets += u64::from(sent.size);
                    }
                    self.on_cargo_lost(&sent.info);
                }
            }
        }
        if !lost.is_empty() {
            self.mtu.on_lost(lost, self.ledger.next_number(), now);
        }
        self.control.on_outcome(now, &outcome, newest, view(&self.ledger, self.probes));
        self.follow_size();
        if outcome.lost > 0 {
            self.trace(now, Record::Lost { octets: outcome.lost, how });
        }
        self.trace_window(now);
        Fates { newest, marked }
    }

    /// The peer takes datagrams up to that.
    fn set_largest(&mut self, offered: u16) {
        let largest = self.largest.min(offered);
        if self.mtu.limit() != largest {
            self.mtu = MtuSearch::new(largest);
            self.follow_size();
        }
    }

    pub(super) fn follow_size(&mut self) {
        let size = self.mtu.current();
        if size != std::mem::replace(&mut self.size, size) {
            self.control.on_datagram_size(size);
        }
    }

    fn on_cargo_arrived(&mut self, sent: &Sent<Cargo>) {
        if let Some(sealer) = &mut self.sealer {
            sealer.on_acknowledged(sent.number);
        }
        for piece in sent.info.pieces.iter().flatten() {
            self.outbox.on_arrived(piece.clone());
        }
        self.notices.on_arrived(sent.info.notes);
        if let Some(told) = sent.info.told {
            self.acks.on_acknowledged(told);
        }
        if sent.info.notes.has(Note::Abort) && matches!(self.life, Life::Failing { .. }) {
            self.life = Life::Gone;
        }
    }

    fn on_cargo_lost(&mut self, cargo: &Cargo) {
        for piece in cargo.pieces.iter().flatten() {
            self.outbox.on_lost(piece.clone());
        }
        self.notices.on_lost(cargo.notes);
        self.retell |= cargo.window.is_some_and(|window| window == self.told_limit);
    }

    pub(super) fn on_path(&mut self, now: Time, effect: PathEffect<A>) {
        match effect {
            PathEffect::None => {}
            PathEffect::Challenge { to, octets } => self.errands.challenge = Some((to, octets)),
            PathEffect::Stayed => self.errands.challenge = None,
            PathEffect::Moved(moved) => {
                self.errands.challenge = None;
                if moved.keeps == Keeps::Nothing {
                    self.ledger.new_path();
                    self.times = PathTimes::of(self.ledger.rtt());
                    self.ecn.new_path();
                    self.mtu = MtuSearch::new(self.largest);
                    self.size = self.mtu.current();
                    self.control = Control::new(self.config.controller, self.size);
                }
                self.trace(now, Record::State { of: "path", state: "moved" });
            }
        }
    }
}
