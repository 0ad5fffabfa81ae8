//! The next datagram goes out.
//!
//! | in this order | when |
//! |---|---|
//! | hello | until both sides know each other |
//! | an acknowledgement that must travel alone | one is owed |
//! | a segment, lost ones first | window, pacer and the peer's end allow it; carries the acknowledgement that is owed |
//! | an acknowledgement | one is owed |
//! | an answer | a flag was seen for the first time, or the end rose far enough, or the handshake was done |
//! | a close | it is time to say it (again) |
//! | a ping | see [`Connection::ping_at`] |

use super::{Connection, Life, Reading};
use crate::proto::time::Time;
use crate::proto::vut::closing::{Input, Output};
use crate::proto::vut::owed::Owed;
use crate::proto::vut::send::STEP;
use crate::proto::vut::trace::Record;
use crate::proto::vut::wire::{DATAGRAM_MAX, Flags, Header, MAC_LEN, emit};
use crate::proto::vut::{FIRST_END, HELLO, HELLO_LEN};

/// What a datagram says of what arrived.
#[derive(Clone, Copy, Debug)]
struct Acknowledges {
    ack: u64,
    end: u64,
}

impl Connection {
    /// Writes the next datagram at the start of `buf`, and says how long it is; none if nothing is to be sent now. `buf` should have
    /// [`DATAGRAM_MAX`] octets; in a shorter one a datagram may be lost.
    pub fn poll_transmit(&mut self, now: Time, buf: &mut [u8]) -> Option<usize> {
        match self.life {
            Life::Live => self.poll_live(now, buf),
            Life::Failing { left, next_at } => self.poll_failing(now, left, next_at, buf),
            Life::Lingering(linger) => {
                let answers = self.answer_at.is_some_and(|at| at <= now);
                if !answers && linger.due().is_none_or(|at| at > now) {
                    return None;
                }
                if let (false, Life::Lingering(linger)) = (answers, &mut self.life) {
                    linger.on_sent(now, self.flow.rtt().timeout());
                }
                self.emit_plain(now, Flags::CLOSE | Flags::ACK_CLOSE, buf)
            }
            Life::Gone => None,
        }
    }

    fn poll_failing(&mut self, now: Time, left: u32, next_at: Time, buf: &mut [u8]) -> Option<usize> {
        if left == 0 || next_at > now {
            return None;
        }
        self.life = Life::Failing { left: left - 1, next_at: now + self.flow.rtt().timeout() };
        self.emit_plain(now, Flags::FAIL, buf)
    }

    fn poll_live(&mut self, now: Time, buf: &mut [u8]) -> Option<usize> {
        if self.handshake.hello_due().is_some_and(|at| at <= now) {
            self.handshake.on_hello_sent(now);
            let again = self.flow.hello(now).is_none_or(|hello| hello.again);
            return self.emit_data(now, 0, HELLO, again, buf);
        }
        if !self.owed.can_ride() {
            return self.emit_owed(now, buf);
        }
        if self.handshake.is_valid()
            && self.flow.due(now, self.avoid()).is_some_and(|at| at <= now)
            && let Some(departure) = self.flow.depart_next(now, self.avoid())
        {
            return self.emit_data(now, departure.seq, &departure.data, departure.again, buf);
        }
        if !self.owed.is_empty() {
            return self.emit_owed(now, buf);
        }
        let update = self.handshake.is_valid() && self.receiver.update_due();
        if update || self.answer_at.is_some_and(|at| at <= now) {
            return self.emit_plain(now, self.flags(), buf);
        }
        if let Output::Closing { tries, next_at, heard_at } = self.output
            && next_at <= now
        {
            let next_at = now + self.flow.rtt().backed_off(tries);
            self.output = Output::Closing { tries: tries + 1, next_at, heard_at };
            // the first one alone, because a peer of the old kind answers that; later ones as a repeat of old data
            return if tries == 0 { self.emit_plain(now, self.flags(), buf) } else { self.emit_ping(now, buf) };
        }
        if self.ping_at().is_some_and(|at| at <= now) {
            self.ping.last = Some(now);
            self.ping.count += 1;
            self.stats.pings += 1;
            self.flow.expect_echo(now);
            return self.emit_ping(now, buf);
        }
        None
    }

    /// Data is read and its end is known, or nobody wants it: the peer may forget it.
    pub(super) fn says_ack_close(&self) -> bool {
        self.handshake.is_valid() && (self.input == Input::Done || self.reading == Reading::Stopped)
    }

    /// The end that the peer is told.
    ///
    /// The first real one is never a multiple of what the existing peers step by, so that a peer of ours does not take us for the one of
    /// them whose datagrams need repair.
    pub(super) fn told_end(&self) -> u64 {
        let end = self.receiver.end();
        if !self.handshake.is_valid() {
            return FIRST_END;
        }
        if self.receiver.advertised() == FIRST_END && end.is_multiple_of(STEP) { end - 1 } else { end }
    }

    fn flags(&self) -> Flags {
        Flags::CLOSE.when(self.output.says_close()) | Flags::ACK_CLOSE.when(self.says_ack_close())
    }

    fn newest(&self) -> Acknowledges {
        Acknowledges { ack: self.receiver.next(), end: self.told_end() }
    }

    fn emit_owed(&mut self, now: Time, buf: &mut [u8]) -> Option<usize> {
        let says = match self.owed.pop()? {
            Owed::New(ack) => Acknowledges { ack, end: self.told_end() },
            Owed::Again { ack, end } => Acknowledges { ack, end },
        };
        self.emit(now, self.flags(), self.flow.sender.next(), says, &[], false, buf)
    }

    fn emit_plain(&mut self, now: Time, flags: Flags, buf: &mut [u8]) -> Option<usize> {
        self.emit(now, flags, self.flow.sender.next(), self.newest(), &[], false, buf)
    }

    fn emit_data(&mut self, now: Time, seq: u64, data: &[u8], again: bool, buf: &mut [u8]) -> Option<usize> {
        // a close is said only when all is acknowledged, so never here
        let hello = self.hello_flags.when(seq == 0 && data == HELLO);
        let flags = Flags::ACK_CLOSE.when(self.says_ack_close()) | hello;
        if again {
            self.stats.repeated += 1;
        } else {
            self.stats.segments += 1;
        }
        self.emit(now, flags, seq, self.newest(), data, again, buf)
    }

    /// One octet that the peer has: it must answer.
    fn emit_ping(&mut self, now: Time, buf: &mut [u8]) -> Option<usize> {
        let (seq, octet) = self.flow.sender.last_octet()?;
        self.emit(now, self.flags(), seq, self.newest(), &[octet], true, buf)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a datagram, and where it goes")]
    fn emit(
        &mut self,
        now: Time,
        flags: Flags,
        seq: u64,
        says: Acknowledges,
        data: &[u8],
        again: bool,
        buf: &mut [u8],
    ) -> Option<usize> {
        let mut header = Header { flags, seq, ack: says.ack, win: says.end.saturating_sub(says.ack) };
        if header.octets() + data.len() + MAC_LEN > DATAGRAM_MAX {
            // what does not fit is said later; less is always true
            (header.ack, header.win) = (says.ack.min(HELLO_LEN), 0);
        }
        let len = emit(&header, data, &self.keys.send, buf).ok()?;
        let whole = header.ack == self.receiver.next();
        if whole && !data.is_empty() && self.owed.can_ride() {
            self.owed.clear();
        }
        self.receiver.on_advertised(header.end().min(self.receiver.end()));
        if whole && header.end() >= self.told_end() {
            self.answer_at = None;
            self.answered_at = Some(now);
        }
        self.said_both |= flags.contains(Flags::CLOSE | Flags::ACK_CLOSE);
        self.sent_at = now;
        self.stats.sent += 1;
        self.stats.sent_octets += len as u64;
        self.trace(now, Record::Sent { header, data: data.len(), again });
        Some(len)
    }
}
