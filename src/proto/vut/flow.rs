//! The flow: the parts of the sending side put together.
//!
//! ```text
//!   acknowledgement ─▶ Sender (which segments) ─▶ Recovery (what is lost) ─▶ Delivery, Rtt ─▶ Controller
//!   next segment    ◀─ lost ones first, then new ones, as window, pacer and the peer's end allow
//! ```

use super::congestion::{Ack, Controller, Delivery, Loss, LossKind, RateSample, Sent};
use super::pacer::Pacer;
use super::recovery::{Found, Recovery, Timer};
use super::rtt::Rtt;
use super::send::{Avoid, Heard, Newly, SEGMENT, Sender};
use crate::proto::time::Time;
use bytes::Bytes;
use std::time::Duration;

/// What to send next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    pub(crate) seq: u64,
    pub(crate) data: Bytes,
    /// It was sent before.
    pub(crate) again: bool,
}

/// What an acknowledgement changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Octets newly acknowledged.
    pub(crate) acknowledged: u64,
    /// It was no boundary of a segment in flight.
    pub(crate) unknown: bool,
    /// Octets newly held to be lost.
    pub(crate) lost: u64,
}

#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) sender: Sender,
    recovery: Recovery,
    rtt: Rtt,
    delivery: Delivery,
    controller: Box<dyn Controller>,
    pacer: Pacer,
    /// When a segment was last sent.
    sent_at: Option<Time>,
    /// Sending stopped for want of data, not for want of room.
    dry: bool,
}

impl Flow {
    pub(crate) fn new(sender: Sender, controller: Box<dyn Controller>) -> Self {
        Self {
            sender,
            recovery: Recovery::new(),
            rtt: Rtt::new(),
            delivery: Delivery::new(),
            controller,
            pacer: Pacer::new(SEGMENT),
            sent_at: None,
            dry: false,
        }
    }

    pub(crate) fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    pub(crate) fn controller(&self) -> &dyn Controller {
        &*self.controller
    }

    pub(crate) fn lost(&self) -> u64 {
        self.delivery.lost()
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.recovery.in_flight(&self.sender)
    }

    /// The round trip is at most that long.
    pub(crate) fn on_bound(&mut self, bound: Duration) {
        self.rtt.on_bound(bound);
    }

    /// An answer without news is to come: that of a ping.
    pub(crate) fn expect_echo(&mut self, now: Time) {
        self.recovery.expect_echo(now);
    }

    /// An acknowledgement arrived; `plain` if it came without data and without a new end, so that the same one again means that
    /// something arrived out of order.
    pub(crate) fn on_ack(&mut self, now: Time, ack: u64, plain: bool) -> Progress {
        let prior = self.in_flight();
        let mut progress = Progress::default();
        match self.sender.on_ack(ack) {
            Heard::New(newly) => {
                progress.acknowledged = newly.bytes;
                let sample = newly.sampled.map(|sent_at| now - sent_at);
                match sample {
                    Some(sample) => self.rtt.on_sample(sample),
                    None => self.rtt.on_progress(),
                }
                let found = self.recovery.on_advance(now, &newly, &mut self.sender, &self.rtt);
                progress.lost = self.tell(now, prior, &found, Some(&newly), sample);
            }
            Heard::Same if plain && self.sender.flight() > 0 => {
                let found = self.recovery.on_duplicate(now, &mut self.sender, &self.rtt);
                progress.lost = self.tell(now, prior, &found, None, None);
            }
            Heard::Same if self.sender.outstanding() == 0 => self.recovery.on_quiet(),
            Heard::Same | Heard::Older => {}
            Heard::Unknown => progress.unknown = true,
        }
        progress
    }

    /// When [`Self::on_timer`] is to be called.
    pub(crate) fn timer(&self) -> Option<Time> {
        self.recovery.next_timer(&self.sender, &self.rtt).map(|(at, _)| at)
    }

    /// Octets newly held to be lost, if a timer ran out.
    pub(crate) fn on_timer(&mut self, now: Time) -> Option<(Timer, u64)> {
        let (_, timer) = self.recovery.next_timer(&self.sender, &self.rtt).filter(|(at, _)| *at <= now)?;
        let prior = self.in_flight();
        let found = self.recovery.on_timer(now, timer, &mut self.sender, &mut self.rtt);
        Some((timer, self.tell(now, prior, &found, None, None)))
    }

    /// The hello, which no window or pacer holds back.
    pub(crate) fn hello(&mut self, now: Time) -> Option<Departure> {
        self.sender.first().filter(|first| first.start == 0)?;
        Some(self.depart(now, 0))
    }

    /// When the next segment may leave: now or later, or never if there is none or no room.
    pub(crate) fn due(&mut self, now: Time, avoid: Avoid) -> Option<Time> {
        let lost = self.first_lost();
        if self.recovery.asks_for_new() == Some(0) {
            return None;
        }
        let len = match lost {
            Some(index) => self.sender.segment(index).len(),
            None => self.sender.next_len(avoid) as u64,
        };
        let in_flight = self.in_flight();
        if len == 0 {
            if !self.dry && in_flight < self.controller.window() {
                self.dry = true;
                self.delivery.on_app_limited(in_flight);
            }
            return None;
        }
        self.dry = false;
        // the first hole does not wait, whatever is held to be in flight: all else waits for it
        if lost == Some(0) && self.recovery.is_recovering() {
            return Some(now);
        }
        if in_flight > 0 && in_flight + len > self.controller.window() {
            return None;
        }
        Some(self.pacer.due(now, len, self.controller.pacing_rate()))
    }

    /// The segment that [`Self::due`] spoke of.
    pub(crate) fn depart_next(&mut self, now: Time, avoid: Avoid) -> Option<Departure> {
        let index = match self.first_lost() {
            Some(index) => index,
            None => {
                let len = self.sender.next_len(avoid);
                if len == 0 {
                    return None;
                }
                let idle = self.sent_at.map(|at| now - at).filter(|idle| *idle > self.rtt.plain_timeout());
                if let Some(idle) = idle.filter(|_| self.sender.outstanding() == 0) {
                    self.controller.on_idle(now, idle);
                }
                self.sender.cut(len)
            }
        };
        Some(self.depart(now, index))
    }

    /// What is to be sent again, unless new segments come first.
    fn first_lost(&self) -> Option<usize> {
        if self.recovery.asks_for_new().is_some() { None } else { self.sender.first_lost() }
    }

    fn depart(&mut self, now: Time, index: usize) -> Departure {
        let segment = self.sender.segment(index);
        let (seq, data, again) = (segment.start, segment.data.clone(), segment.sends > 0);
        let bytes = data.len() as u64;
        let snapshot = self.delivery.on_sent(now, bytes, self.in_flight());
        self.sender.on_sent(index, snapshot);
        self.recovery.on_sent(now, index, &self.sender);
        self.pacer.on_sent(bytes);
        self.sent_at = Some(now);
        self.controller.on_sent(&Sent { now, bytes, in_flight: self.in_flight(), again });
        Departure { seq, data, again }
    }

    /// Tells the controller what was found; octets newly lost.
    fn tell(&mut self, now: Time, prior: u64, found: &Found, newly: Option<&Newly>, rtt: Option<Duration>) -> u64 {
        let newest = newly.and_then(|newly| newly.newest);
        let rate: Option<RateSample> = match found.delivered {
            0 if newest.is_none() => None,
            bytes => self.delivery.on_delivered(now, bytes, newest.as_ref()),
        };
        if found.spurious {
            self.controller.on_spurious(now);
        }
        if let Some((kind, bytes)) = found.lost {
            self.delivery.on_lost(bytes);
            let loss = Loss {
                now,
                bytes,
                in_flight: prior,
                kind,
                snapshot: self.sender.first().and_then(|first| first.snapshot),
                delivered: self.delivery.delivered(),
                lost: self.delivery.lost(),
            };
            self.controller.on_loss(&loss);
        }
        if found.delivered > 0 || newly.is_some() {
            self.controller.on_ack(&Ack {
                now,
                bytes: found.delivered,
                prior_in_flight: prior,
                in_flight: self.in_flight(),
                rtt,
                smoothed: self.rtt.smoothed(),
                least_rtt: self.rtt.least(),
                rate,
                round: self.delivery.round(),
                app_limited: self.dry && prior * 2 < self.controller.window(),
                recovering: self.recovery.is_recovering(),
            });
        }
        if found.recovered && !found.spurious {
            self.controller.on_recovered(now);
        }
        let timed_out = matches!(found.lost, Some((LossKind::Timeout, _)));
        debug_assert!(!timed_out || self.recovery.is_recovering());
        found.lost.map_or(0, |(_, bytes)| bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::congestion::NewReno;
    use super::super::wire::DATAGRAM_MAX;
    use super::*;

    /// The hello acknowledged after 100 ms, and much to send.
    fn flow() -> (Flow, Time) {
        let mut flow = Flow::new(Sender::new(1 << 20), NewReno::make(SEGMENT));
        assert_eq!(flow.hello(Time::ZERO).map(|hello| hello.data.len()), Some(17));
        let now = Time::from_millis(100);
        flow.on_ack(now, 17, true);
        flow.sender.on_end(1 << 20);
        flow.sender.raise_limit();
        flow.sender.write(Bytes::from(vec![1; 100_000]));
        (flow, now)
    }

    /// All that may leave now.
    fn leave(flow: &mut Flow, now: Time) -> Vec<Departure> {
        let mut left = Vec::new();
        while flow.due(now, Avoid::Nothing).is_some_and(|at| at <= now) {
            left.extend(flow.depart_next(now, Avoid::Nothing));
        }
        left
    }

    #[test]
    fn a_window_leaves_and_each_acknowledgement_lets_more_out() {
        let (mut flow, now) = flow();
        let first = leave(&mut flow, now);
        let octets: u64 = first.iter().map(|departure| departure.data.len() as u64).sum();
        assert!(octets <= flow.controller().window() && octets + DATAGRAM_MAX as u64 > flow.controller().window());
        assert_eq!(flow.due(now, Avoid::Nothing), None, "no room");
        let now = now + Duration::from_millis(100);
        flow.on_ack(now, 17 + first[0].data.len() as u64, true);
        assert_eq!(flow.rtt().latest(), Some(Duration::from_millis(100)));
        let second = leave(&mut flow, now);
        assert_eq!(second.len(), 2, "slow start");
        assert_eq!(flow.hello(now), None, "the hello is acknowledged");
    }

    #[test]
    fn what_is_lost_leaves_first_and_unchanged() {
        let (mut flow, now) = flow();
        let first = leave(&mut flow, now);
        let now = now + Duration::from_millis(100);
        for _ in 0..3 {
            flow.on_ack(now, 17, true);
        }
        assert_eq!(flow.lost(), first[0].data.len() as u64);
        let again = flow.depart_next(now, Avoid::Nothing).expect("the first");
        assert_eq!(again, Departure { again: true, ..first[0].clone() });
    }

    #[test]
    fn an_acknowledgement_with_data_or_a_new_end_is_no_duplicate() {
        let (mut flow, now) = flow();
        leave(&mut flow, now);
        for _ in 0..10 {
            assert_eq!(flow.on_ack(now, 17, false), Progress::default());
        }
        assert_eq!(flow.lost(), 0);
        assert!(flow.on_ack(now, 18, true).unknown);
    }

    #[test]
    fn segments_wait_for_the_pacer_once_there_is_a_round_trip() {
        let (mut flow, mut now) = flow();
        let mut at = 17;
        for _ in 0..40 {
            for departure in leave(&mut flow, now) {
                at = at.max(departure.seq + departure.data.len() as u64);
            }
            now += Duration::from_millis(100);
            flow.on_ack(now, at, true);
        }
        let paced = flow.due(now, Avoid::Nothing).is_none_or(|due| due > now) || {
            leave(&mut flow, now);
            flow.due(now, Avoid::Nothing).is_none_or(|due| due > now)
        };
        assert!(paced, "not all of a window at once");
    }
}
