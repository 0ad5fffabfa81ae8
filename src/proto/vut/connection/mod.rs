//! `Connection`: the parts of the 0.8 profile put together.
//!
//! Its methods are of four kinds:
//!
//! | kind | methods |
//! |---|---|
//! | something came in | [`Connection::handle_datagram`], [`Connection::handle_timeout`] |
//! | the owner wants something | [`Connection::write`], [`Connection::read`], [`Connection::set_read_limit`], [`Connection::finish`], [`Connection::stop_reading`], [`Connection::abort`] |
//! | something goes out | [`Connection::poll_transmit`], [`Connection::poll_timeout`], [`Connection::poll_event`] |
//! | getters | all with `&self` |
//!
//! After any of the first two kinds, call [`Connection::poll_transmit`] until it gives none, then [`Connection::poll_event`] likewise,
//! then wait for a datagram or for [`Connection::poll_timeout`].

mod incoming;
mod outgoing;
mod timers;

#[cfg(test)]
mod tests;

use super::closing::{Input, Linger, Output, Proof, Said, Steps};
use super::event::{CloseReason, Event, WriteError};
use super::flow::Flow;
use super::handshake::Handshake;
use super::owed::OwedAcks;
use super::receive::Receiver;
use super::repair::TrueEnds;
use super::send::{Avoid, SEGMENT, Sender};
use super::stats::Stats;
use super::trace::{Record, Tracer};
use super::wire::{Flags, Keys, Secrets};
use super::{Config, HELLO_LEN};
use crate::proto::time::Time;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// From the first hello to the end of both directions.
    Live,
    /// Given up: the peer is told a few times.
    Failing { left: u32, next_at: Time },
    /// Over: late datagrams are answered.
    Lingering(Linger),
    /// Over and forgotten.
    Gone,
}

/// One side of a VUT 0.8 connection; see the [module](super).
///
/// The owner checks that datagrams come from the peer's address and port, and hands in only those.
///
/// # Invariants
///
/// Those of its parts, and: no data leaves before the handshake is done; a close leaves only when all is acknowledged; after
/// [`Event::Closed`] there is no further event.
#[derive(Debug)]
pub struct Connection {
    config: Config,
    keys: Keys,
    life: Life,
    handshake: Handshake,
    flow: Flow,
    receiver: Receiver,
    owed: OwedAcks,
    output: Output,
    input: Input,
    reading: Reading,
    said: Said,
    /// A datagram of ours said that both streams are over.
    said_both: bool,
    peer_stopped: bool,
    steps: Steps,
    true_ends: TrueEnds,
    /// A datagram without data is wanted at that time.
    answer_at: Option<Time>,
    answered_at: Option<Time>,
    heard_at: Time,
    sent_at: Time,
    /// When there was last news of any kind from the peer.
    news_at: Time,
    ping: Ping,
    events: VecDeque<Event>,
    credit_told: u64,
    stats: Stats,
    tracer: Option<Box<dyn Tracer>>,
    /// Of our hello, beside what else it says: a side that would rather speak the native profile says so, first and repeated.
    hello_flags: Flags,
}

/// Whether the owner still wants what arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Wanted,
    Stopped,
}

/// Pings since there was news.
#[derive(Clone, Copy, Debug, Default)]
struct Ping {
    last: Option<Time>,
    count: u32,
}

impl Connection {
    /// Begins a connection; the first hello is ready to be sent.
    pub fn new(config: Config, secrets: &Secrets, now: Time) -> Self {
        let sender = Sender::new(config.send_buffer);
        Self {
            keys: Keys::new(secrets),
            life: Life::Live,
            handshake: Handshake::new(now, config.handshake),
            flow: Flow::new(sender, (config.controller)(SEGMENT)),
            receiver: Receiver::new(config.queued_segments),
            owed: OwedAcks::default(),
            output: Output::Open,
            input: Input::Open,
            reading: Reading::Wanted,
            said: Said::default(),
            said_both: false,
            peer_stopped: false,
            steps: Steps::default(),
            true_ends: TrueEnds::default(),
            answer_at: None,
            answered_at: None,
            heard_at: now,
            sent_at: now,
            news_at: now,
            ping: Ping::default(),
            events: VecDeque::new(),
            credit_told: 0,
            stats: Stats::default(),
            tracer: None,
            hello_flags: Flags::NONE,
            config,
        }
    }

    /// The same, in place of one that has sent hellos with these flags since `began`.
    pub(crate) fn after_greeting(config: Config, secrets: &Secrets, began: Time, hello_flags: Flags) -> Self {
        let mut connection = Self { hello_flags, ..Self::new(config, secrets, began) };
        connection.handshake.on_called(began);
        connection
    }

    /// Records of what happens go to `tracer` from now on.
    pub fn set_tracer(&mut self, tracer: Box<dyn Tracer>) {
        self.tracer = Some(tracer);
    }

    // ---- what the owner wants

    /// Takes data for the peer, all of it or nothing.
    ///
    /// # Errors
    ///
    /// [`WriteError`], with the data: more than [`Self::credit`], or the stream was ended.
    pub fn write(&mut self, data: Bytes) -> Result<(), WriteError> {
        if self.life != Life::Live || !self.output.is_open() {
            return Err(WriteError::Ended(data));
        }
        if data.len() as u64 > self.credit() {
            return Err(WriteError::NoCredit(data));
        }
        self.flow.sender.write(data);
        Ok(())
    }

    /// At most `most` octets that arrived, in order; none if there is nothing.
    pub fn read(&mut self, now: Time, most: usize) -> Option<Bytes> {
        let data = self.receiver.read(most);
        if data.is_some() {
            self.settle(now);
        }
        data
    }

    /// Allows the peer to send up to `limit` octets, counted from the start of its stream. Only rises; at least
    /// [`Self::LEAST_READ_LIMIT`], whatever is asked for.
    pub fn set_read_limit(&mut self, now: Time, limit: u64) {
        if self.life != Life::Live {
            return;
        }
        let position = limit.min(super::wire::posint::MAX - HELLO_LEN) + HELLO_LEN;
        if self.receiver.grant(position) {
            // an octet that had to wait for this
            self.owed.owe(super::owed::Owed::New(self.receiver.next()));
            self.push_readable();
        }
        self.settle(now);
    }

    /// The least limit for the peer: 111 octets. An end that was told is never taken back, and the handshake tells this one.
    pub const LEAST_READ_LIMIT: u64 = super::FIRST_END - HELLO_LEN;

    /// Ends our stream: what was written is sent, and then the peer is told. The other direction goes on.
    pub fn finish(&mut self, now: Time) {
        if self.output == Output::Open {
            self.set_output(now, Output::Draining);
            self.settle(now);
        }
    }

    /// Nobody reads any more: the peer is told, and what it still sends is acknowledged and forgotten.
    pub fn stop_reading(&mut self, now: Time) {
        if self.life == Life::Live && self.reading == Reading::Wanted && self.input != Input::Done {
            self.reading = Reading::Stopped;
            self.receiver.stop();
            self.answer_at = Some(now);
            self.settle(now);
        }
    }

    /// Gives the connection up, both ways; the peer is told.
    pub fn abort(&mut self, now: Time) {
        self.fail(now, CloseReason::Aborted);
    }

    /// The peer speaks the native profile, and its hello said otherwise: an attack.
    pub(crate) fn downgraded(&mut self, now: Time) {
        self.fail(now, CloseReason::Downgraded);
    }

    // ---- getters

    /// Octets that can be written now.
    pub fn credit(&self) -> u64 {
        let takes = self.life == Life::Live && self.output.is_open();
        if takes { self.flow.sender.limit().saturating_sub(self.flow.sender.written()) } else { 0 }
    }

    /// Octets that may be written in all, from the start of our stream. Only rises.
    pub fn write_limit(&self) -> u64 {
        self.flow.sender.limit() - HELLO_LEN
    }

    /// Octets written so far.
    pub fn written(&self) -> u64 {
        self.flow.sender.written() - HELLO_LEN
    }

    /// Octets that the peer has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.flow.sender.una().saturating_sub(HELLO_LEN)
    }

    /// Octets that can be read now.
    pub fn readable(&self) -> usize {
        self.receiver.readable()
    }

    /// Octets that are held for the reader, beyond gaps too. Never more than the read limit allows, and one.
    pub fn held(&self) -> u64 {
        self.receiver.held()
    }

    /// Octets that arrived in order so far.
    pub fn arrived(&self) -> u64 {
        self.receiver.next().saturating_sub(HELLO_LEN)
    }

    /// True once the handshake is done.
    pub fn is_connected(&self) -> bool {
        self.handshake.is_valid()
    }

    /// True once [`Event::Closed`] was made.
    pub fn is_closed(&self) -> bool {
        self.life != Life::Live
    }

    /// True when nothing is left to do, lingering included: the connection can be dropped.
    pub fn is_gone(&self) -> bool {
        self.life == Life::Gone
    }

    /// True once it is over and has said so as often as it does unasked: an owner that cannot stay any longer loses only
    /// answers to a peer that asks again.
    pub fn has_said_all(&self) -> bool {
        match self.life {
            Life::Live => false,
            Life::Failing { left, .. } => left == 0,
            Life::Lingering(linger) => linger.left == 0 && self.answer_at.is_none(),
            Life::Gone => true,
        }
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        Stats { lost_octets: self.flow.lost(), ..self.stats }
    }

    /// The smoothed round trip, if there was a sample.
    pub fn round_trip(&self) -> Option<Duration> {
        self.flow.rtt().smoothed()
    }

    /// Octets that congestion control allows in flight, and those that are.
    pub fn congestion(&self) -> (u64, u64) {
        (self.flow.controller().window(), self.flow.in_flight())
    }

    // ---- what goes out

    /// The next thing to tell the owner.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    // ---- for the parts of this module

    fn avoid(&self) -> Avoid {
        if self.steps.is_default() { Avoid::ShortWindows } else { Avoid::Nothing }
    }

    fn trace(&mut self, now: Time, record: Record) {
        if let Some(tracer) = &mut self.tracer {
            tracer.record(now, &record);
        }
    }

    fn trace_window(&mut self, now: Time) {
        if self.tracer.is_none() {
            return;
        }
        let (window, in_flight) = self.congestion();
        let micros = self.flow.rtt().smoothed().map_or(0, |smoothed| smoothed.as_micros());
        let smoothed = u64::try_from(micros).unwrap_or(u64::MAX);
        let phase = self.flow.controller().state().phase;
        self.trace(now, Record::Window { window, in_flight, smoothed, phase });
    }

    fn push_readable(&mut self) {
        if self.events.back() != Some(&Event::Readable) {
            self.events.push_back(Event::Readable);
        }
    }

    fn set_output(&mut self, now: Time, output: Output) {
        let state = match output {
            Output::Open => "open",
            Output::Draining => "draining",
            Output::Reading { .. } => "reading",
            Output::Pause { .. } => "pause",
            Output::Closing { .. } => "closing",
            Output::Done => "done",
        };
        self.output = output;
        self.trace(now, Record::State { of: "output", state });
    }

    /// Moves both machines on as far as they go.
    fn settle(&mut self, now: Time) {
        if self.life != Life::Live {
            return;
        }
        if self.handshake.is_valid() && self.flow.sender.raise_limit() && self.output.is_open() {
            let limit = self.write_limit();
            self.credit_told = limit;
            self.events.retain(|event| !matches!(event, Event::Credit { .. }));
            self.events.push_back(Event::Credit { limit });
        }
        if self.output == Output::Draining && self.handshake.is_valid() && self.flow.sender.all_acknowledged() {
            self.set_output(now, Output::Reading { since: now });
        }
        if matches!(self.output, Output::Reading { .. }) {
            let shown = self.steps.highest(self.flow.sender.next()) <= self.flow.sender.peer_end();
            if self.peer_stopped {
                self.set_output(now, Output::Closing { tries: 0, next_at: now, heard_at: now });
            } else if shown {
                self.set_output(now, Output::Pause { until: now + self.config.close_pause });
            }
        }
        if matches!(self.input, Input::Ending { .. }) && self.receiver.is_over() {
            self.input = Input::Done;
            self.trace(now, Record::State { of: "input", state: "done" });
            self.events.push_back(Event::PeerEnded(Proof::Unproven));
            self.answer_at = Some(now);
        }
        if self.input == Input::Done && self.output == Output::Done {
            let reason = CloseReason::Ended { sent: Proof::Unproven, received: Proof::Unproven };
            self.answer_at = (!self.said_both).then_some(now);
            self.close(now, reason, Life::Lingering(Linger::new(now, self.config.linger, self.flow.rtt().timeout())));
        }
        self.check();
    }

    /// The connection is given up.
    fn fail(&mut self, now: Time, reason: CloseReason) {
        if self.life != Life::Live {
            return;
        }
        let life = match reason {
            // nobody is there who could hear it
            CloseReason::NoAnswer | CloseReason::PeerGone => Life::Gone,
            _ => Life::Failing { left: 3, next_at: now },
        };
        self.close(now, reason, life);
    }

    fn close(&mut self, now: Time, reason: CloseReason, life: Life) {
        debug_assert_eq!(self.life, Life::Live, "only once");
        self.life = life;
        self.owed.clear();
        self.flow.sender.drop_unsent();
        self.trace(now, Record::State { of: "connection", state: "closed" });
        self.events.push_back(Event::Closed(reason));
    }

    fn check(&self) {
        self.receiver.check();
        self.flow.sender.check();
        debug_assert!(
            self.handshake.is_valid() || self.flow.sender.next() == HELLO_LEN,
            "no data before the handshake"
        );
        debug_assert!(!self.output.says_close() || self.flow.sender.all_acknowledged(), "no close with data");
    }
}
