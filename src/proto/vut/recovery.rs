//! What was lost, told from cumulative acknowledgements alone.
//!
//! The peer says only what it has in order; each datagram that arrives out of order, or again, repeats that. So the number of
//! arrivals beyond the gap is known, but not which they are. Recovery is that of RFC 6582, with the time rule of RFC 8985.
//!
//! ```text
//!                3 duplicates, or one and the first segment is late        all of the window acknowledged
//!   open ───────────────────────────────────────────────────▶ recovering ────────────────────────────▶ open
//!     │                                                            │ partial acknowledgement: the next one is lost too
//!     └──────────────── time-out ──────▶ timed out ◀───────────────┘
//! ```
//!
//! | rule | |
//! |---|---|
//! | first segment lost | `threshold` duplicates (3, more once reordering was seen), or one duplicate and the segment was sent more than 5/4 round trips ago |
//! | partial acknowledgement in recovery | the segment at the new `una` is lost, if it was not sent again since recovery began |
//! | many are lost | at a partial acknowledgement, 3 or more and at least one in 8 of what was sent before are missing: all of it is lost, and sent again in order as the window allows |
//! | a repetition is lost | a duplicate comes and the first segment was last sent more than 5/4 round trips ago |
//! | probe | nothing was heard for 2 round trips: the first segment is sent again, once, before the time-out |
//! | time-out (RFC 6298) | if most of what is in flight is known to have arrived, the first segment is lost; else all is |
//! | doubt (RFC 5682) | after a time-out and its first acknowledgement two new segments leave; if the next one acknowledges what was sent once, it was a mistake |
//! | mistake | the gap closes sooner after the repetition than a round trip can be: the window is given back, the threshold raised |
//!
//! What is in flight is `flight` less one segment of average size for each duplicate.

use super::rtt::Rtt;
use super::send::{Avoid, Newly, Sender};
use crate::proto::time::Time;
use crate::proto::vut::congestion::LossKind;
use std::time::Duration;

/// Where recovery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    Recovering { until: u64, since: Time, lost: Extent },
    TimedOut { until: u64, since: Time, lost: Extent },
}

/// What is held to be lost, and so how it is repaired: hole by hole, or everything once more in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    First,
    All,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Octets newly known to have arrived.
    pub(crate) delivered: u64,
    /// Octets newly held to be lost, and how that came to light.
    pub(crate) lost: Option<(LossKind, u64)>,
    /// The recovery is over.
    pub(crate) recovered: bool,
    /// The last loss was none.
    pub(crate) spurious: bool,
}

/// Which timer runs out first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    Late,
    Probe,
    Timeout,
}

/// Whether a time-out was a mistake is asked of the path (F-RTO, RFC 5682): after the first acknowledgement two new segments leave, not
/// those that are held to be lost. If then something is acknowledged that was sent once only, nothing had been lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    None,
    /// The next acknowledgement begins it.
    TimedOut,
    /// New segments that may still leave; repetitions whose answers are to come if nothing was lost.
    Asking {
        left: u32,
        repeated: u64,
    },
}

/// Whether the probe of this flight was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Ready,
    Sent,
}

#[derive(Debug)]
pub(crate) struct Recovery {
    phase: Phase,
    /// Segments beyond the first one that are known to have arrived, by duplicates.
    arrived: u64,
    /// Octets that were counted as delivered for them.
    counted: u64,
    threshold: u64,
    /// Duplicates to come that say nothing: answers to pings and to repetitions of what had arrived.
    echoes: u64,
    /// When something last moved: the start of the timers.
    base: Time,
    probe: Probe,
    doubt: Doubt,
}

impl Recovery {
    /// RFC 5681.
    const THRESHOLD: u64 = 3;
    /// However much a path reorders, the time rule acts as well.
    const THRESHOLD_MOST: u64 = 64;
    /// Holes that are repaired one by one, a round trip each, whatever their share is.
    const MANY: u64 = 3;
    /// One in so many must be missing for all to be sent again: more of it was wanted than is sent for nothing.
    const DENSE: u64 = 8;
    /// A probe does not come sooner.
    const LEAST_PROBE: Duration = Duration::from_millis(10);

    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Open,
            arrived: 0,
            counted: 0,
            threshold: Self::THRESHOLD,
            echoes: 0,
            base: Time::ZERO,
            probe: Probe::Ready,
            doubt: Doubt::None,
        }
    }

    pub(crate) fn is_recovering(&self) -> bool {
        self.phase != Phase::Open
    }

    /// A time-out is in doubt: new segments come first, so many at most.
    pub(crate) fn asks_for_new(&self) -> Option<u32> {
        match self.doubt {
            Doubt::Asking { left, .. } => Some(left),
            Doubt::None | Doubt::TimedOut => None,
        }
    }

    /// Octets in flight, as far as can be known.
    pub(crate) fn in_flight(&self, sender: &Sender) -> u64 {
        let Some(average) = sender.flight().checked_div(sender.outstanding() as u64) else { return 0 };
        sender.flight().saturating_sub(self.arrived * average.max(1))
    }

    /// An answer without news is to come.
    pub(crate) fn expect_echo(&mut self) {
        self.echoes = (self.echoes + 1).min(8);
    }

    /// The same acknowledgement again while nothing is outstanding: all echoes are over.
    pub(crate) fn on_quiet(&mut self) {
        self.echoes = 0;
    }

    /// The segment at `index` left, alone or beside others.
    pub(crate) fn on_sent(&mut self, now: Time, index: usize, sender: &Sender) {
        if index == 0 {
            self.base = now;
        }
        if index == 0 && sender.segment(0).sends == 1 {
            self.probe = Probe::Ready;
        }
        if let Doubt::Asking { left, .. } = &mut self.doubt {
            *left = left.saturating_sub(1);
        }
    }

    /// A duplicate acknowledgement while something is outstanding.
    pub(crate) fn on_duplicate(&mut self, now: Time, sender: &mut Sender, rtt: &Rtt) -> Found {
        if self.echoes > 0 {
            self.echoes -= 1;
            return Found::default();
        }
        self.doubt = Doubt::None;
        let mut found = Found::default();
        let most = (sender.outstanding() as u64).saturating_sub(1);
        if self.arrived < most && !self.all_lost() {
            let average = sender.flight().checked_div(sender.outstanding() as u64).unwrap_or(0);
            let room = sender.flight().saturating_sub(self.counted + average);
            found.delivered = average.min(room);
            self.arrived += 1;
            self.counted += found.delivered;
        }
        let late = late_at(sender, rtt).is_some_and(|at| at <= now);
        match self.phase {
            Phase::Open if self.arrived >= self.threshold || (late && self.arrived > 0) => {
                found.lost = Some(self.begin(now, sender));
            }
            Phase::Recovering { .. } | Phase::TimedOut { .. } if late => {
                let bytes = sender.mark_lost(0);
                found.lost = (bytes > 0).then_some((LossKind::More, bytes));
            }
            _ => {}
        }
        found
    }

    /// Something new was acknowledged.
    pub(crate) fn on_advance(&mut self, now: Time, newly: &Newly, sender: &mut Sender, rtt: &Rtt) -> Found {
        self.base = now;
        self.probe = Probe::Ready;
        let beyond_first = newly.bytes - newly.first_bytes;
        let counted = self.counted.min(beyond_first);
        self.counted -= counted;
        let mut found = Found { delivered: newly.bytes - counted, ..Found::default() };
        let reordered = self.arrived;
        self.arrived = self.arrived.saturating_sub(newly.segments - 1).min(sender.outstanding() as u64);
        if self.arrived == 0 {
            self.counted = 0;
        }
        let hasty = rtt.least().is_some_and(|least| now - newly.first_sent_at < least * 3 / 4);
        let doubted = match (self.doubt, newly.repeated) {
            (Doubt::Asking { repeated, .. }, 0) => repeated,
            _ => 0,
        };
        self.doubt = match self.doubt {
            Doubt::TimedOut if sender.next_len(Avoid::Nothing) > 0 => {
                Doubt::Asking { left: 2, repeated: u64::from(newly.first_sends) - 1 }
            }
            _ => Doubt::None,
        };
        let mistake = (newly.first_sends > 1 && hasty) || doubted > 0;
        if mistake {
            // each repetition of what had arrived is answered
            self.echoes = (self.echoes + newly.repeated.max(doubted)).min(8);
        }
        let (until, since) = match self.phase {
            Phase::Open => return found,
            Phase::Recovering { until, since, .. } | Phase::TimedOut { until, since, .. } => (until, since),
        };
        if mistake {
            // the others may be as late and as well
            sender.trust_all();
            if doubted == 0 {
                self.threshold = self.threshold.max(reordered + 1).min(Self::THRESHOLD_MOST);
            }
            found.spurious = true;
        }
        if sender.una() >= until || mistake {
            self.phase = Phase::Open;
            found.recovered = true;
            return found;
        }
        let unrepaired = sender.first().is_some_and(|first| !first.lost && first.sent_at() < since);
        if unrepaired && !self.all_lost() {
            found.lost = Some((LossKind::More, self.go_on(until, sender)));
        }
        found
    }

    /// The next hole, or all that was sent before the recovery if many of it are missing: their number is known, their places are not.
    fn go_on(&mut self, until: u64, sender: &mut Sender) -> u64 {
        let before = sender.segments_before(until);
        let missing = (before as u64).saturating_sub(self.arrived);
        if missing >= Self::MANY && missing * Self::DENSE >= before as u64 {
            if let Phase::Recovering { lost, .. } | Phase::TimedOut { lost, .. } = &mut self.phase {
                *lost = Extent::All;
            }
            (self.arrived, self.counted) = (0, 0);
            return (0..before).map(|index| sender.mark_lost(index)).sum();
        }
        self.arrived = self.arrived.min((sender.outstanding() as u64).saturating_sub(1));
        sender.mark_lost(0)
    }

    fn all_lost(&self) -> bool {
        matches!(self.phase, Phase::Recovering { lost: Extent::All, .. } | Phase::TimedOut { lost: Extent::All, .. })
    }

    /// When something is to be done if nothing is heard.
    pub(crate) fn next_timer(&self, sender: &Sender, rtt: &Rtt) -> Option<(Time, Timer)> {
        let first = sender.first().filter(|first| first.sends > 0)?;
        let mut next = (self.base + rtt.timeout(), Timer::Timeout);
        if first.lost {
            return Some(next);
        }
        if let Some(smoothed) = rtt.smoothed().filter(|_| self.probe == Probe::Ready && rtt.backoff() == 0) {
            let wait = (smoothed * 2 + rtt.deviation()).max(Self::LEAST_PROBE);
            let probe = self.base.max(first.sent_at()) + wait;
            if probe < next.0 {
                next = (probe, Timer::Probe);
            }
        }
        if let Some(late) =
            late_at(sender, rtt).filter(|at| self.phase == Phase::Open && self.arrived > 0 && *at < next.0)
        {
            next = (late, Timer::Late);
        }
        Some(next)
    }

    /// A timer ran out.
    pub(crate) fn on_timer(&mut self, now: Time, timer: Timer, sender: &mut Sender, rtt: &mut Rtt) -> Found {
        let lost = match timer {
            Timer::Late => self.begin(now, sender),
            Timer::Probe => {
                self.probe = Probe::Sent;
                self.base = now;
                let until = sender.next();
                if self.phase == Phase::Open {
                    // a loss only if the answer comes no sooner than a round trip later; see `on_advance`
                    self.phase = Phase::Recovering { until, since: now, lost: Extent::First };
                    (LossKind::First, sender.mark_lost(0))
                } else {
                    (LossKind::More, sender.mark_lost(0))
                }
            }
            Timer::Timeout => {
                rtt.on_timeout();
                self.base = now;
                let most = self.arrived * 2 >= sender.outstanding() as u64 && self.arrived > 1;
                let extent = if most { Extent::First } else { Extent::All };
                self.doubt = if most { Doubt::None } else { Doubt::TimedOut };
                self.phase = Phase::TimedOut { until: sender.next(), since: now, lost: extent };
                let bytes = match extent {
                    Extent::First => sender.mark_lost(0),
                    Extent::All => {
                        (self.arrived, self.counted) = (0, 0);
                        (0..sender.outstanding()).map(|index| sender.mark_lost(index)).sum()
                    }
                };
                (LossKind::Timeout, bytes)
            }
        };
        Found { lost: Some(lost), ..Found::default() }
    }

    fn begin(&mut self, now: Time, sender: &mut Sender) -> (LossKind, u64) {
        self.phase = Phase::Recovering { until: sender.next(), since: now, lost: Extent::First };
        (LossKind::First, sender.mark_lost(0))
    }
}

/// When the first segment is late: 5/4 of a round trip after it was last sent, and some more where round trips vary.
fn late_at(sender: &Sender, rtt: &Rtt) -> Option<Time> {
    let first = sender.first().filter(|first| !first.lost && first.sends > 0)?;
    let smoothed = rtt.smoothed()?;
    let round = smoothed.max(rtt.latest().unwrap_or_default());
    Some(first.sent_at() + round + (smoothed / 4).max(rtt.deviation().min(smoothed)).max(Duration::from_millis(1)))
}
