//! A datagram comes in: authentic, then read, then acknowledgement, data, flags and window, in this order.

use super::{Connection, Life, Reading};
use crate::proto::time::Time;
use crate::proto::vut::closing::{Input, Linger, Output, Proof};
use crate::proto::vut::event::{CloseReason, Event};
use crate::proto::vut::handshake::{First, Phase, Sign};
use crate::proto::vut::owed::Owed;
use crate::proto::vut::receive::Taken;
use crate::proto::vut::repair::{self, Repaired};
use crate::proto::vut::trace::Record;
use crate::proto::vut::wire::{Flags, View};
use crate::proto::vut::{HELLO, HELLO_LEN};
use std::time::Duration;

/// A close that was heard before and comes without data is answered this often at most.
const ANSWERS_APART: Duration = Duration::from_millis(100);

impl Connection {
    /// A datagram came from the peer's address. What is not authentic, or makes no sense, changes nothing but a counter.
    pub fn handle_datagram(&mut self, now: Time, datagram: &[u8]) {
        let octets = datagram.len();
        let Ok(payload) = View::authentic(&self.keys.receive, datagram) else {
            self.stats.forged += 1;
            self.trace(now, Record::Dropped { why: "forged", octets });
            return;
        };
        let (view, end) = match self.read_payload(payload) {
            Some(Repaired::Whole(view)) => (view, Some(view.header.end())),
            Some(Repaired::WithoutWindow(view)) => {
                self.stats.repaired += 1;
                (view, None)
            }
            Some(Repaired::Doubtful) | None => {
                self.stats.malformed += 1;
                self.trace(now, Record::Dropped { why: "malformed", octets });
                return;
            }
        };
        self.stats.received += 1;
        self.stats.received_octets += octets as u64;
        self.heard_at = now;
        self.trace(now, Record::Received { header: view.header, data: view.data.len() });
        match self.life {
            Life::Live => self.handle_view(now, &view, end),
            Life::Failing { .. } if view.header.flags.contains(Flags::CLOSE | Flags::ACK_CLOSE) => {
                self.life = Life::Gone
            }
            Life::Lingering(_) => self.answer_late(now, &view),
            Life::Failing { .. } | Life::Gone => {}
        }
    }

    fn read_payload<'a>(&self, payload: &'a [u8]) -> Option<Repaired<'a>> {
        if self.steps.is_default() && self.handshake.is_valid() {
            return repair::read(payload, &self.true_ends).ok();
        }
        View::checked(payload).ok().map(Repaired::Whole)
    }

    fn handle_view(&mut self, now: Time, view: &View<'_>, end: Option<u64>) {
        if view.header.flags.contains(Flags::FAIL) {
            let mut linger = Linger::new(now, self.config.linger, Duration::ZERO);
            linger.left = 0;
            self.answer_at = Some(now);
            self.close(now, CloseReason::AbortedByPeer { code: None }, Life::Lingering(linger));
            return;
        }
        self.on_ack(now, view, end);
        if !view.data.is_empty() {
            self.on_data(now, view);
        }
        if self.life == Life::Live {
            self.on_flags(now, view);
        }
        if let Some(end) = end {
            self.on_end(now, view, end);
        }
        self.settle(now);
    }

    fn on_ack(&mut self, now: Time, view: &View<'_>, end: Option<u64>) {
        let sender = &self.flow.sender;
        let plain = view.data.is_empty() && end.is_some_and(|end| end <= sender.peer_end());
        let unacknowledged = sender.una() < HELLO_LEN;
        let progress = self.flow.on_ack(now, view.header.ack, plain);
        if progress.unknown {
            self.stats.ignored += 1;
        }
        if progress.lost > 0 {
            self.trace(now, Record::Lost { octets: progress.lost, how: "acknowledgements" });
        }
        if progress.acknowledged > 0 {
            self.on_news(now);
            self.trace_window(now);
            if unacknowledged {
                self.flow.on_bound(self.handshake.first_at().map_or(Duration::MAX, |first| now - first));
                if self.handshake.handle(now, Sign::Acknowledged) {
                    self.on_valid(now);
                }
            }
        }
        if let Output::Closing { heard_at, .. } = &mut self.output {
            *heard_at = now;
        }
    }

    fn on_data(&mut self, now: Time, view: &View<'_>) {
        let (seq, data) = (view.header.seq, view.data);
        if !self.handshake.phase().has_heard() {
            match First::of(seq, data) {
                First::Hello => {
                    self.receiver.on_hello();
                    self.on_news(now);
                    if self.handshake.handle(now, Sign::Hello) {
                        self.on_valid(now);
                    }
                }
                First::Foreign => self.fail(now, CloseReason::Foreign),
                First::Early => self.stats.refused += 1,
            }
            return;
        }
        let readable = self.receiver.readable();
        let again = |connection: &mut Self| {
            let (ack, end) = (connection.receiver.next(), connection.told_end().min(connection.receiver.advertised()));
            connection.owed.owe(Owed::Again { ack, end });
        };
        let taken = self.receiver.on_data(seq, data);
        let refused = matches!(taken, Taken::Refused(_));
        match taken {
            Taken::InOrder => {
                self.owed.owe(Owed::New(self.receiver.next()));
                self.on_news(now);
                if readable == 0 && self.reading == Reading::Wanted {
                    self.push_readable();
                }
            }
            Taken::Waiting => {
                self.on_news(now);
                again(self);
            }
            Taken::Old => {
                self.stats.old += 1;
                if self.handshake.phase() == Phase::Heard && data == HELLO {
                    // our hello, which the peer may not have, carries the acknowledgement
                    self.handshake.handle(now, Sign::Hello);
                } else {
                    again(self);
                }
            }
            Taken::Refused(_) => {
                self.stats.refused += 1;
                again(self);
            }
        }
        // what will never be taken brings the end no nearer
        if let Input::Ending { since } = &mut self.input
            && !refused
        {
            *since = now;
        }
    }

    fn on_flags(&mut self, now: Time, view: &View<'_>) {
        let flags = view.header.flags;
        let (close, ack_close) = (flags.contains(Flags::CLOSE), flags.contains(Flags::ACK_CLOSE));
        if close && self.handshake.phase().has_heard() {
            self.on_close(now, view, ack_close);
        }
        if ack_close && self.handshake.is_valid() {
            self.on_ack_close(now, view.header.ack);
        }
    }

    fn on_close(&mut self, now: Time, view: &View<'_>, both: bool) {
        if !self.receiver.close_at(view.data_end()) {
            self.stats.ignored += 1;
            return;
        }
        let first = !self.said.close || (both && !self.said.both);
        self.said.close = true;
        self.said.both |= both;
        if self.input == Input::Open {
            self.input = Input::Ending { since: now };
            self.on_news(now);
        }
        // one with data is owed an answer already; who has said all has nothing to answer
        if first && !self.said_both {
            self.answer_at = Some(now);
        } else if view.data.is_empty() && !both && self.says_ack_close() {
            let free = self.answered_at.map_or(now, |at| at + ANSWERS_APART);
            self.answer_at = Some(self.answer_at.unwrap_or(now).max(free));
        }
    }

    fn on_ack_close(&mut self, now: Time, ack: u64) {
        match self.output {
            Output::Closing { .. } if ack == self.flow.sender.next() => {
                self.set_output(now, Output::Done);
                self.events.push_back(Event::Finished(Proof::Unproven));
                self.on_news(now);
            }
            Output::Open | Output::Draining | Output::Reading { .. } | Output::Pause { .. } if !self.peer_stopped => {
                self.peer_stopped = true;
                self.flow.sender.drop_unsent();
                self.set_output(now, Output::Draining);
                self.events.retain(|event| !matches!(event, Event::Credit { .. }));
                self.events.push_back(Event::PeerStopped);
                self.on_news(now);
            }
            _ => {}
        }
    }

    fn on_end(&mut self, now: Time, view: &View<'_>, end: u64) {
        if self.handshake.is_valid() {
            self.steps.on_end(end);
        }
        if view.data.is_empty() {
            self.true_ends.on_end(end);
        }
        if self.flow.sender.on_end(end) {
            self.on_news(now);
            if let Output::Reading { since } = &mut self.output {
                *since = now;
            }
        }
    }

    fn on_valid(&mut self, now: Time) {
        self.events.push_back(Event::Connected);
        self.answer_at = Some(now);
        self.trace(now, Record::State { of: "connection", state: "connected" });
    }

    /// Something new came of the peer: pings begin anew.
    fn on_news(&mut self, now: Time) {
        self.news_at = now;
        self.ping.count = 0;
    }

    /// After both ends: what asks for an answer gets the last datagram once more.
    fn answer_late(&mut self, now: Time, view: &View<'_>) {
        let flags = view.header.flags;
        let both = flags.contains(Flags::CLOSE | Flags::ACK_CLOSE);
        if !view.data.is_empty() || flags.contains(Flags::FAIL) || (both && !self.said.both) {
            self.said.both |= both;
            self.answer_at = Some(now);
        } else if !both && flags.contains(Flags::CLOSE) {
            let free = self.answered_at.map_or(now, |at| at + ANSWERS_APART);
            self.answer_at = Some(self.answer_at.unwrap_or(now).max(free));
        }
    }
}
