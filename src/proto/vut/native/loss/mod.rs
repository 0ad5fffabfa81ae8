//! What was sent, what of it arrived, what is lost: RACK-TLP (RFC 8985) over packet numbers.
//!
//! ```text
//!   on_sent ──▶ flying ── acknowledged ─────────────────────────────▶ Event::Acknowledged
//!                 │ ├──── overtaken for longer than the window ─────▶ Event::Lost ── acknowledged after all ──▶ Event::Spurious
//!                 │ └──── probe timer ──▶ Timeout::Probe: send something that elicits; nothing is lost by that
//!                 └────── abandon ──────────────────────────────────▶ Event::Lost
//! ```
//!
//! # Where RFC 8985 assumes TCP
//!
//! Every transmission has a number of its own, as in RFC 9002, so that order of sending is order of numbers, the
//! round trip of an acknowledgement is never ambiguous, and "the segment sent last among those delivered" is the one with the
//! highest number acknowledged. What takes the place of DSACK and of DupThresh is told in [`reorder`], what takes the place of
//! the retransmission time-out in the module `probe`.
//!
//! # Drain rule
//!
//! After [`Ledger::on_ack`], [`Ledger::handle_timeout`] and [`Ledger::abandon`] take all events out with
//! [`Ledger::poll_event`].
//!
//! # Cost
//!
//! An acknowledgement costs its ranges, the packets that are newly acknowledged, and the holes and lost packets between its lowest
//! and its highest number; not what is in flight, nor what is remembered.

mod probe;
mod rate;
pub mod reorder;
pub mod rtt;

pub use probe::{MAX_WAIT, probe_timeout};
pub use rate::RateSample;

use super::acks::MAX_ACK_DELAY;
use crate::proto::time::Time;
use probe::ProbeTimer;
use rate::{RateSampler, Snapshot};
use reorder::Reordering;
use rtt::Rtt;
use std::collections::VecDeque;
use std::time::Duration;

/// How many numbers are kept at most: 2^18 packets of 1,452 octets are 380 MB, more than a path holds. Beyond it the oldest
/// counts as lost, so that a peer that never acknowledges one packet cannot make this grow.
pub const MAX_TRACKED: usize = 1 << 18;
/// How many PTO a lost packet is remembered, in which its acknowledgement shows that it was not lost.
const SPURIOUS_PTOS: u32 = 3;

/// A packet as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent<T> {
    /// Its number.
    pub number: u64,
    /// Octets of the datagram.
    pub size: u16,
    /// True if it elicits an acknowledgement: only then it counts as in flight, and its loss for congestion.
    pub eliciting: bool,
    /// When it was sent.
    pub at: Time,
    /// What the owner keeps with it: which data and frames it carried.
    pub info: T,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// It arrived.
    Acknowledged(Sent<T>),
    /// It is taken for lost: what it carried must be sent again.
    Lost(Sent<T>),
    /// It arrived after all: what it carried need not be sent again.
    Spurious(Sent<T>),
}

/// What one acknowledgement, or one time-out, comes to. Octets are those of packets that elicit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// Octets newly acknowledged, spurious ones included.
    pub acknowledged: u64,
    /// Octets newly lost.
    pub lost: u64,
    /// Octets that were wrongly taken for lost.
    pub spurious: u64,
    /// A sample of the round trip, if the highest number was newly acknowledged.
    pub rtt: Option<Duration>,
    /// A sample of the delivery rate.
    pub rate: Option<RateSample>,
    /// Octets in flight before.
    pub prior_in_flight: u64,
    /// The longest time in which all that was sent was lost. From 3 PTO on RFC 9002 section 7.6 calls it persistent congestion.
    pub lost_span: Duration,
}

/// What [`Ledger::handle_timeout`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Timeout {
    /// Nothing was due.
    None,
    /// Packets may have been found lost: see the events.
    Lost(Outcome),
    /// Send a packet that elicits, whatever the congestion window says: new data, else the last again, else a PING.
    Probe {
        /// The number of time-outs in a row, from 1.
        count: u32,
    },
}

/// An acknowledgement of a number that was not sent: the peer is broken or hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an acknowledgement of packet {0}, which was not sent")]
pub struct NeverSent(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Flying,
    Acknowledged,
    Lost(Time),
    /// The number was left out.
    Void,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    fate: Fate,
    size: u16,
    eliciting: bool,
    at: Time,
    snapshot: Snapshot,
    info: Option<T>,
}

/// The packets of one direction and what became of them.
///
/// # Invariants
///
/// 1. `slots` hold the numbers from `base` on, without a gap, at most [`MAX_TRACKED`].
/// 2. `holes` are the flying and void numbers below `largest`, `lost` the lost ones; both ascend, because a hole is never lost
///    before one that was sent earlier.
/// 3. `in_flight` is the sum of the sizes of the flying packets that elicit, and `eliciting` their number.
#[derive(Clone, Debug)]
pub struct Ledger<T> {
    base: u64,
    slots: VecDeque<Slot<T>>,
    largest: Option<u64>,
    holes: VecDeque<u64>,
    lost: VecDeque<u64>,
    in_flight: u64,
    eliciting: u64,
    rtt: Rtt,
    /// Samples of the round trip come from this number on: the first of this path.
    path_from: u64,
    /// RACK.rtt: of the packet acknowledged last.
    rack_rtt: Duration,
    reordering: Reordering,
    sampler: RateSampler,
    probe: ProbeTimer,
    loss_due: Option<Time>,
    events: VecDeque<Event<T>>,
    ascending: Vec<(u64, u64)>,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self {
            base: 0,
            slots: VecDeque::new(),
            largest: None,
            holes: VecDeque::new(),
            lost: VecDeque::new(),
            in_flight: 0,
            eliciting: 0,
            rtt: Rtt::new(),
            path_from: 0,
            rack_rtt: Duration::ZERO,
            reordering: Reordering::default(),
            sampler: RateSampler::default(),
            probe: ProbeTimer::default(),
            loss_due: None,
            events: VecDeque::new(),
            ascending: Vec::new(),
        }
    }
}

impl<T: Clone> Ledger<T> {
    /// Nothing sent; numbers start at 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Octets in flight.
    pub const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// The highest number acknowledged.
    pub const fn largest(&self) -> Option<u64> {
        self.largest
    }

    /// Octets delivered so far.
    pub const fn delivered(&self) -> u64 {
        self.sampler.delivered()
    }

    /// Octets lost so far.
    pub const fn lost(&self) -> u64 {
        self.sampler.lost()
    }

    /// The round trip of this path.
    pub const fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    /// The reordering of this path.
    pub const fn reordering(&self) -> &Reordering {
        &self.reordering
    }

    /// Today's probe time-out.
    pub fn pto(&self) -> Duration {
        probe_timeout(&self.rtt)
    }

    /// How many numbers are kept.
    pub fn tracked(&self) -> usize {
        self.slots.len()
    }

    /// What is sent next has this number, or a higher one.
    pub fn next_number(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    /// Before there is a sample: the handshake took so long, which is half a round trip if both sides began together, and
    /// more otherwise. Only the first probe waits by it.
    pub fn guess_round_trip(&mut self, handshake: Duration) {
        self.probe.guess(handshake);
    }

    /// The application has nothing more to send just now: rates are limited by it until what is in flight has arrived.
    pub fn set_app_limited(&mut self) {
        self.sampler.set_app_limited(self.in_flight);
    }

    /// A packet was sent. Its number is at least [`next_number`](Self::next_number); the numbers left out are taken for never
    /// sent.
    pub fn on_sent(&mut self, packet: Sent<T>) {
        let Sent { number, size, eliciting, at, info } = packet;
        debug_assert!(number >= self.next_number(), "numbers rise");
        if self.slots.is_empty() {
            self.base = self.base.max(number);
        }
        while self.next_number() < number && self.slots.len() < MAX_TRACKED {
            self.slots.push_back(Slot::void(at));
        }
        let mut snapshot = Snapshot::default();
        if eliciting {
            snapshot = self.sampler.on_sent(at, self.in_flight, size.into());
            self.in_flight += u64::from(size);
            self.eliciting += 1;
            self.probe.on_sent(at);
        }
        self.slots.push_back(Slot { fate: Fate::Flying, size, eliciting, at, snapshot, info: Some(info) });
        if self.slots.len() > MAX_TRACKED {
            self.give_up_front(at);
        }
        self.trim(at);
    }

    /// An ACK frame has come: its ranges, each `(lowest, highest)`, from the highest down, and what the peer says that it held
    /// it for.
    ///
    /// # Errors
    ///
    /// [`NeverSent`]: the connection must end; this ledger is of no use any more.
    pub fn on_ack(
        &mut self,
        ranges: impl Iterator<Item = (u64, u64)>,
        held: Duration,
        now: Time,
    ) -> Result<Outcome, NeverSent> {
        let mut ascending = std::mem::take(&mut self.ascending);
        ascending.clear();
        ascending.extend(ranges);
        ascending.reverse();
        let result = self.acknowledge(&ascending, held, now);
        self.ascending = ascending;
        result
    }

    fn acknowledge(&mut self, ascending: &[(u64, u64)], held: Duration, now: Time) -> Result<Outcome, NeverSent> {
        let mut outcome = Outcome { prior_in_flight: self.in_flight, ..Outcome::default() };
        let Some(&(_, highest)) = ascending.last() else { return Ok(outcome) };
        if highest >= self.next_number() {
            return Err(NeverSent(highest));
        }
        let mut newest = None;
        self.acknowledge_lost(ascending, now, &mut outcome);
        self.acknowledge_holes(ascending, now, &mut outcome, &mut newest)?;
        self.acknowledge_new(ascending, now, &mut outcome, &mut newest)?;

        if let Some(number) = newest {
            let at = self.slot(number).map_or(now, |slot| slot.at);
            self.rack_rtt = now.since(at);
            if number == highest && number >= self.path_from && outcome.acknowledged > 0 {
                self.rtt.on_sample(self.rack_rtt, held.min(MAX_ACK_DELAY));
                outcome.rtt = Some(self.rack_rtt);
            }
        }
        if let Some(largest) = self.largest {
            self.reordering.on_acknowledged(largest);
        }
        if outcome.acknowledged > 0 {
            self.probe.on_acknowledged();
        }
        self.detect(now, &mut outcome);
        outcome.rate = self.sampler.take(self.rtt.min());
        self.trim(now);
        Ok(outcome)
    }

    /// Those that were taken for lost.
    fn acknowledge_lost(&mut self, ascending: &[(u64, u64)], now: Time, outcome: &mut Outcome) {
        let first = self.lost.partition_point(|number| *number < ascending[0].0);
        let mut kept = first;
        for at in first..self.lost.len() {
            let number = self.lost[at];
            if contains(ascending, number) {
                self.reordering.on_spurious(self.next_number());
                self.arrive(number, now, outcome);
            } else {
                self.lost[kept] = number;
                kept += 1;
            }
        }
        self.lost.truncate(kept);
    }

    /// Those below what was the highest.
    fn acknowledge_holes(
        &mut self,
        ascending: &[(u64, u64)],
        now: Time,
        outcome: &mut Outcome,
        newest: &mut Option<u64>,
    ) -> Result<(), NeverSent> {
        let first = self.holes.partition_point(|number| *number < ascending[0].0);
        let mut kept = first;
        for at in first..self.holes.len() {
            let number = self.holes[at];
            if contains(ascending, number) {
                if self.slot(number).is_some_and(|slot| slot.fate == Fate::Void) {
                    return Err(NeverSent(number));
                }
                self.reordering.on_overtaken();
                self.arrive(number, now, outcome);
                *newest = Some(number);
            } else {
                self.holes[kept] = number;
                kept += 1;
            }
        }
        self.holes.truncate(kept);
        Ok(())
    }

    /// Those above what was the highest; the gaps between become holes.
    fn acknowledge_new(
        &mut self,
        ascending: &[(u64, u64)],
        now: Time,
        outcome: &mut Outcome,
        newest: &mut Option<u64>,
    ) -> Result<(), NeverSent> {
        let mut number = self.largest.map_or(self.base, |largest| largest + 1).max(self.base);
        for &(lowest, highest) in ascending {
            while number < lowest {
                self.holes.push_back(number);
                number += 1;
            }
            while number <= highest {
                if self.slot(number).is_some_and(|slot| slot.fate == Fate::Void) {
                    return Err(NeverSent(number));
                }
                self.arrive(number, now, outcome);
                *newest = Some(number);
                self.largest = Some(number);
                number += 1;
            }
        }
        Ok(())
    }

    /// `number` has arrived.
    fn arrive(&mut self, number: u64, now: Time, outcome: &mut Outcome) {
        let Some(slot) = self.slot_mut(number) else { return };
        let fate = std::mem::replace(&mut slot.fate, Fate::Acknowledged);
        let (size, at, eliciting, snapshot) = (u64::from(slot.size), slot.at, slot.eliciting, slot.snapshot);
        let Some(info) = slot.info.take() else { return };
        let packet = Sent { number, size: slot.size, eliciting, at, info };
        let spurious = matches!(fate, Fate::Lost(_));
        if eliciting {
            outcome.acknowledged += size;
            if spurious {
                outcome.spurious += size;
            } else {
                self.in_flight -= size;
                self.eliciting -= 1;
            }
            self.sampler.on_acknowledged(number, size, at, snapshot, now);
        }
        self.events.push_back(if spurious { Event::Spurious(packet) } else { Event::Acknowledged(packet) });
    }

    /// RACK_detect_loss of RFC 8985 section 6.2 step 5: the holes in the order in which they were sent.
    fn detect(&mut self, now: Time, outcome: &mut Outcome) {
        self.loss_due = None;
        let Some(largest) = self.largest else { return };
        let (min, smoothed) = (self.rtt.min().unwrap_or_default(), self.rtt.smoothed());
        let mut run: Option<(u64, Time)> = None;
        while let Some(&number) = self.holes.front() {
            let Some(slot) = self.slot(number) else {
                self.holes.pop_front();
                continue;
            };
            let (fate, at, eliciting) = (slot.fate, slot.at, slot.eliciting);
            let due = at + self.rack_rtt + self.reordering.window(largest - number, min, smoothed);
            if now < due {
                self.loss_due = Some(due);
                return;
            }
            self.holes.pop_front();
            if fate == Fate::Void {
                continue;
            }
            self.lose(number, now, outcome);
            if eliciting {
                let (_, since) = run.filter(|(last, _)| last + 1 == number).unwrap_or((number, at));
                run = Some((number, since));
                outcome.lost_span = outcome.lost_span.max(at.since(since));
            }
        }
    }

    fn lose(&mut self, number: u64, now: Time, outcome: &mut Outcome) {
        let next = self.next_number();
        let Some(slot) = self.slot_mut(number).filter(|slot| slot.fate == Fate::Flying) else { return };
        slot.fate = Fate::Lost(now);
        let (size, eliciting, at) = (slot.size, slot.eliciting, slot.at);
        let Some(info) = slot.info.clone() else { return };
        if eliciting {
            self.in_flight -= u64::from(size);
            self.eliciting -= 1;
            self.sampler.on_lost(size.into());
            outcome.lost += u64::from(size);
            self.reordering.on_lost(next);
        }
        self.lost.push_back(number);
        self.events.push_back(Event::Lost(Sent { number, size, eliciting, at, info }));
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event<T>> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Time> {
        self.loss_due.or_else(|| (self.eliciting > 0).then(|| self.probe.due(&self.rtt)))
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Time) -> Timeout {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return Timeout::None;
        }
        if self.loss_due.is_some() {
            let mut outcome = Outcome { prior_in_flight: self.in_flight, ..Outcome::default() };
            self.detect(now, &mut outcome);
            self.trim(now);
            return Timeout::Lost(outcome);
        }
        self.probe.on_fired(now);
        Timeout::Probe { count: self.probe.fired() }
    }

    /// Takes all that flies for lost: it was sealed under keys that the peer does not have.
    pub fn abandon(&mut self, now: Time) -> Outcome {
        let mut outcome = Outcome { prior_in_flight: self.in_flight, ..Outcome::default() };
        for number in self.base..self.next_number() {
            self.lose(number, now, &mut outcome);
        }
        self.holes.clear();
        self.loss_due = None;
        self.largest = self.next_number().checked_sub(1).max(self.largest);
        outcome
    }

    /// The peer is at another host: round trip and reordering start anew with what is sent from now on.
    pub fn new_path(&mut self) {
        self.rtt = Rtt::new();
        self.probe.forget();
        self.reordering = Reordering::default();
        self.path_from = self.next_number();
    }

    /// Drops from the front what nothing can come of any more.
    fn trim(&mut self, now: Time) {
        while let Some(front) = self.slots.front() {
            let done = match front.fate {
                Fate::Acknowledged | Fate::Void => true,
                Fate::Lost(at) => now.since(at) >= self.pto().saturating_mul(SPURIOUS_PTOS),
                // an acknowledgement of it would be of no use but to forget ranges
                Fate::Flying => !front.eliciting,
            };
            if !done {
                return;
            }
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        self.slots.pop_front();
        let number = self.base;
        self.base += 1;
        if self.holes.front() == Some(&number) {
            self.holes.pop_front();
        }
        if self.lost.front() == Some(&number) {
            self.lost.pop_front();
        }
    }

    fn give_up_front(&mut self, now: Time) {
        let mut outcome = Outcome::default();
        self.lose(self.base, now, &mut outcome);
        self.drop_front();
    }

    fn slot(&self, number: u64) -> Option<&Slot<T>> {
        self.slots.get(usize::try_from(number.checked_sub(self.base)?).ok()?)
    }

    fn slot_mut(&mut self, number: u64) -> Option<&mut Slot<T>> {
        self.slots.get_mut(usize::try_from(number.checked_sub(self.base)?).ok()?)
    }

    /// Asserts the invariants; for tests, after every step.
    #[doc(hidden)]
    pub fn check(&self) {
        assert!(self.slots.len() <= MAX_TRACKED, "1");
        let flying = self.slots.iter().filter(|slot| slot.fate == Fate::Flying && slot.eliciting);
        let (count, octets) = flying.fold((0, 0), |(count, octets), slot| (count + 1, octets + u64::from(slot.size)));
        assert_eq!((self.eliciting, self.in_flight), (count, octets), "3");
        let numbered = || (self.base..).zip(&self.slots);
        let below = |number| self.largest.is_some_and(|largest| number < largest);
        let flying = |slot: &Slot<T>| matches!(slot.fate, Fate::Flying);
        let holes: Vec<u64> = numbered().filter(|(n, s)| below(*n) && flying(s)).map(|(n, _)| n).collect();
        let listed: Vec<u64> =
            self.holes.iter().copied().filter(|n| self.slot(*n).is_some_and(|slot| slot.fate != Fate::Void)).collect();
        assert_eq!(listed, holes, "2");
        let lost: Vec<u64> = numbered().filter(|(_, s)| matches!(s.fate, Fate::Lost(_))).map(|(n, _)| n).collect();
        let listed: Vec<u64> = self.lost.iter().copied().collect();
        assert_eq!(listed, lost, "2");
    }
}

impl<T> Slot<T> {
    fn void(at: Time) -> Self {
        Self { fate: Fate::Void, size: 0, eliciting: false, at, snapshot: Snapshot::default(), info: None }
    }
}

fn contains(ascending: &[(u64, u64)], number: u64) -> bool {
    let after = ascending.partition_point(|(lowest, _)| *lowest <= number);
    after.checked_sub(1).is_some_and(|at| ascending[at].1 >= number)
}

#[cfg(test)]
mod tests;
