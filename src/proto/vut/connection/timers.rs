//! Time passes.

use super::{Connection, Life};
use crate::proto::time::Time;
use crate::proto::vut::HELLO_LEN;
use crate::proto::vut::closing::{Input, Output, Proof};
use crate::proto::vut::event::{CloseReason, Event};
use crate::proto::vut::recovery::Timer;
use crate::proto::vut::trace::Record;
use std::time::Duration;

/// While the peer's end is awaited that shows that it has read all: a ping this often.
const READING_PINGS: Duration = Duration::from_secs(1);

/// A close of the peer that may be lost is asked for with pings at doubling distances up to this one; then only those that keep alive.
const LAST_QUICK_PING: Duration = Duration::from_secs(8);

impl Connection {
    /// When [`Self::handle_timeout`] and then [`Self::poll_transmit`] are to be called if nothing happens before. It may
    /// be in the past after a datagram came in, and never is once both were called.
    pub fn poll_timeout(&mut self, now: Time) -> Option<Time> {
        match self.life {
            Life::Live => self.next_live(now),
            Life::Failing { next_at, .. } => Some(next_at),
            Life::Lingering(linger) => {
                Some([linger.due(), self.answer_at].into_iter().flatten().fold(linger.until, Time::min))
            }
            Life::Gone => None,
        }
    }

    fn next_live(&mut self, now: Time) -> Option<Time> {
        let valid = self.handshake.is_valid();
        let paced = if valid { self.flow.due(now, self.avoid()) } else { None };
        let output = match self.output {
            Output::Reading { since } => Some(since + self.config.close),
            Output::Pause { until } => Some(until),
            Output::Closing { next_at, heard_at, .. } => Some(next_at.min(heard_at + self.config.close)),
            Output::Open | Output::Draining | Output::Done => None,
        };
        [
            self.handshake.hello_due(),
            self.handshake.deadline(),
            self.flow_timer(),
            paced,
            output,
            self.missing_until(),
            self.answer_at,
            self.ping_at(),
            self.dead_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The time is `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        match self.life {
            Life::Live => self.on_time(now),
            Life::Failing { left: 0, next_at } if next_at <= now => self.life = Life::Gone,
            Life::Lingering(linger) if linger.until <= now => self.life = Life::Gone,
            Life::Failing { .. } | Life::Lingering(_) | Life::Gone => {}
        }
    }

    fn on_time(&mut self, now: Time) {
        let is_over = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if is_over(self.handshake.deadline()) {
            return self.fail(now, CloseReason::NoAnswer);
        }
        if is_over(self.dead_at()) {
            return self.fail(now, CloseReason::PeerGone);
        }
        if is_over(self.missing_until()) {
            return self.fail(now, CloseReason::AbortedByPeer { code: None });
        }
        if is_over(self.flow_timer())
            && let Some((timer, octets)) = self.flow.on_timer(now)
        {
            let how = match timer {
                Timer::Late => "late",
                Timer::Probe => "probe",
                Timer::Timeout => "timeout",
            };
            self.stats.timeouts += u64::from(timer == Timer::Timeout);
            self.trace(now, Record::Lost { octets, how });
            self.trace_window(now);
        }
        match self.output {
            Output::Reading { since } if since + self.config.close <= now => {
                self.set_output(now, Output::Pause { until: now + self.config.close_pause });
            }
            Output::Pause { until } if until <= now => {
                self.set_output(now, Output::Closing { tries: 0, next_at: now, heard_at: now });
            }
            Output::Closing { heard_at, .. } if heard_at + self.config.close <= now => return self.on_unanswered(now),
            _ => {}
        }
        self.settle(now);
    }

    /// Nothing came back for our close. If the peer's stream has ended before, it has very likely ended both and is gone: all it
    /// acknowledged. Else it is the peer's fault.
    fn on_unanswered(&mut self, now: Time) {
        if self.input == Input::Done {
            self.events.push_back(Event::Finished(Proof::Unproven));
            let reason = CloseReason::Ended { sent: Proof::Unproven, received: Proof::Unproven };
            self.close(now, reason, Life::Gone);
        } else {
            self.fail(now, CloseReason::CloseUnanswered);
        }
    }

    /// The retransmission timers; hellos have their own.
    fn flow_timer(&self) -> Option<Time> {
        self.flow.timer().filter(|_| self.flow.sender.una() >= HELLO_LEN)
    }

    /// When a peer that has ended both directions counts as one that aborted: data that its close promised does not come, or it stopped
    /// reading before our close and is not heard of any more.
    fn missing_until(&self) -> Option<Time> {
        if !self.said.both {
            return None;
        }
        let incomplete = self.receiver.close().is_some_and(|close| self.receiver.next() < close);
        match self.input {
            Input::Ending { since } if incomplete => Some(since + self.config.missing),
            // three times as long, since what is sent again may be lost as well, and comes at 5 s distance in the end
            _ if self.peer_stopped && self.flow.sender.outstanding() > 0 => {
                Some(self.heard_at + self.config.missing * 3)
            }
            _ => None,
        }
    }

    /// When a peer that is not heard of is gone: something is owed to it, or pings run.
    fn dead_at(&self) -> Option<Time> {
        let waits = self.config.keep_alive.is_some()
            || self.flow.sender.outstanding() > 0
            || self.output != Output::Open
            || self.input != Input::Open;
        (self.handshake.is_valid() && waits).then(|| self.heard_at + self.config.dead_peer)
    }

    /// When the next ping leaves, if there is no news before.
    ///
    /// Pings are a repeat of the last octet that was acknowledged. None leave while something is in flight, which asks for answers as well,
    /// or while closes are repeated.
    ///
    /// | the peer | pings |
    /// |---|---|
    /// | has not shown that it read all before our close | each second |
    /// | grants nothing | after a time-out, doubling up to 5 s: an update of its end may be lost |
    /// | has sent something, and not its end | 1, 2, 4 and 8 s after the last news: its close may be lost |
    /// | has our end, and has not sent its own | the same from 250 ms on: it may have been waiting for ours |
    /// | is silent, or is not spoken to | each [`Config::keep_alive`](crate::proto::vut::Config::keep_alive) |
    pub(super) fn ping_at(&self) -> Option<Time> {
        let busy = self.flow.sender.outstanding() > 0 || self.flow.sender.has_unsent();
        if !self.handshake.is_valid() || busy || matches!(self.output, Output::Closing { .. }) {
            return None;
        }
        let last = self.ping.last.unwrap_or(Time::ZERO);
        let quiet_since = self.news_at.max(last);
        let kept = self.config.keep_alive.map(|distance| self.sent_at.min(self.heard_at).max(last) + distance);
        let reading = matches!(self.output, Output::Reading { .. }).then(|| quiet_since + READING_PINGS);
        let closed = self.output.is_open() && self.credit() == 0;
        let stalled = closed.then(|| quiet_since + self.flow.rtt().backed_off(self.ping.count));
        let distance = match self.output {
            Output::Done => Duration::from_millis(250 << self.ping.count.min(6)),
            _ => Duration::from_secs(1 << self.ping.count.min(4)),
        };
        let began = self.receiver.next() > HELLO_LEN || self.output == Output::Done;
        let waits = self.input != Input::Done && began && distance <= LAST_QUICK_PING;
        let ending = waits.then(|| quiet_since + distance);
        [kept, reading, stalled, ending].into_iter().flatten().min()
    }
}
