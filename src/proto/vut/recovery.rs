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
//! | many are lost | at a partial acknowledgement, 3 or more are missing and at least one in 8 of what was sent before, or 6 or more: all of it is lost, and sent again in order as the window allows |
//! | a repetition is lost | a duplicate comes and the first segment was last sent more than 5/4 round trips ago |
//! | all is sent again, and the repetition of the first segment was lost | it is sent once more; if there is another hole behind it, so is all whose answer should have come before |
//! | an echo | what had arrived and was sent again is answered with a duplicate, as a ping is: it does not count |
//! | probe | nothing was heard for 1.5 round trips and twice their deviation: the first segment is sent again, once, before the time-out (each datagram is acknowledged at once, so silence says much) |
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

/// Duplicates to come that say nothing: answers to pings and to repetitions of what had arrived.
#[derive(Debug, Default)]
struct Echoes {
    count: u64,
    /// When the last of what they answer was sent. Some answers are lost: what is acknowledged in order and was sent later ends the wait.
    sent_at: Time,
}

impl Echoes {
    /// So many may still come when the round trip that was known has passed: it may have grown.
    const LATE: u64 = 8;

    fn expect(&mut self, count: u64, sent_at: Time) {
        self.count += count;
        self.sent_at = self.sent_at.max(sent_at);
    }

    /// True if a duplicate that came now is one of them.
    fn take(&mut self, now: Time, rtt: &Rtt) -> bool {
        let round = rtt.smoothed().unwrap_or(super::rtt::INITIAL_TIMEOUT).max(rtt.latest().unwrap_or_default());
        if now > self.sent_at + round * 5 / 4 + rtt.deviation() {
            self.count = self.count.min(Self::LATE);
        }
        let taken = self.count > 0;
        self.count = self.count.saturating_sub(1);
        taken
    }

    fn on_in_order(&mut self, sent_at: Time) {
        if sent_at > self.sent_at {
            self.count = 0;
        }
    }
}

#[derive(Debug)]
pub(crate) struct Recovery {
    phase: Phase,
    /// Segments beyond the first one that are known to have arrived, by duplicates.
    arrived: u64,
    /// Octets that were counted as delivered for them.
    counted: u64,
    threshold: u64,
    echoes: Echoes,
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
    /// So many holes would take so many round trips one by one, in which the peer's window fills up. Sending all again takes about two, and
    /// at most one window of the path.
    const SLOW: u64 = 6;
    /// A probe does not come sooner.
    const LEAST_PROBE: Duration = Duration::from_millis(10);

    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Open,
            arrived: 0,
            counted: 0,
            threshold: Self::THRESHOLD,
            echoes: Echoes::default(),
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
        sender.flight().saturating_sub(self.arrived * sender.average().max(1))
    }

    /// An answer without news is to come.
    pub(crate) fn expect_echo(&mut self, now: Time) {
        self.echoes.expect(1, now);
    }

    /// The same acknowledgement again while nothing is outstanding: all echoes are over.
    pub(crate) fn on_quiet(&mut self) {
        self.echoes.count = 0;
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
        if self.echoes.take(now, rtt) {
            return Found::default();
        }
        self.doubt = Doubt::None;
        let mut found = Found::default();
        let most = (sender.outstanding() as u64).saturating_sub(1);
        if self.arrived < most && !self.all_lost() {
            found.delivered = sender.average().min(sender.flight().saturating_sub(self.counted));
            self.arrived += 1;
            self.counted += found.delivered;
        }
        let late = late_at(sender, rtt).is_some_and(|at| at <= now);
        match self.phase {
            Phase::Open if self.arrived >= self.threshold || (late && self.arrived > 0) => {
                found.lost = Some(self.begin(now, sender));
            }
            Phase::Recovering { .. } | Phase::TimedOut { .. } if late => {
                let bytes = self.again(now, sender);
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
        if self.arrived == 0 && !self.all_lost() {
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
        // each repetition of what had arrived is answered: all but the one that closed the gap, if one did
        let needed = u64::from(newly.first_sends > 1 && !mistake);
        let echoes = newly.repeated.saturating_sub(needed).max(doubted);
        self.echoes.on_in_order(newly.first_sent_at);
        if echoes > 0 {
            self.echoes.expect(echoes, newly.newest.map_or(now, |newest| newest.sent_at));
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
        if unrepaired {
            let bytes = if self.all_lost() {
                Self::sweep(until, newly.first_sent_at, sender)
            } else {
                self.go_on(until, sender)
            };
            found.lost = Some((LossKind::More, bytes)).filter(|_| bytes > 0);
        }
        found
    }

    /// The repetition of the first segment was lost; its octets. Where all is sent again, the next hole shows whether others' were too.
    fn again(&mut self, now: Time, sender: &mut Sender) -> u64 {
        if let Phase::Recovering { since, lost: Extent::All, .. } | Phase::TimedOut { since, lost: Extent::All, .. } =
            &mut self.phase
        {
            *since = now;
        }
        sender.mark_lost(0)
    }

    /// More than one repetition was lost: what was last sent before the one that arrived now is sent once more.
    fn sweep(until: u64, sent_at: Time, sender: &mut Sender) -> u64 {
        let late: Vec<_> =
            (0..sender.segments_before(until)).filter(|index| sender.segment(*index).sent_at() < sent_at).collect();
        late.into_iter().map(|index| sender.mark_lost(index)).sum()
    }

    /// The next hole, or all that was sent before the recovery if many of it are missing: their number is known, their places are not.
    fn go_on(&mut self, until: u64, sender: &mut Sender) -> u64 {
        let before = sender.segments_before(until);
        let missing = (before as u64).saturating_sub(self.arrived);
        let worth_it = missing * Self::DENSE >= before as u64 || missing >= Self::SLOW;
        if missing >= Self::MANY && worth_it {
            if let Phase::Recovering { lost, .. } | Phase::TimedOut { lost, .. } = &mut self.phase {
                *lost = Extent::All;
            }
            self.arrived = 0;
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
            let wait = (smoothed * 3 / 2 + rtt.deviation() * 2).max(Self::LEAST_PROBE);
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
                    (LossKind::More, self.again(now, sender))
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

#[cfg(test)]
mod tests {
    use super::super::congestion::Delivery;
    use super::super::send::Heard;
    use super::*;
    use bytes::Bytes;

    const SIZE: u64 = 100;

    /// Ten segments of 100 octets from 17 on, sent at 1 s, on a path with a round trip of 100 ms.
    struct Run {
        sender: Sender,
        recovery: Recovery,
        rtt: Rtt,
        delivery: Delivery,
    }

    impl Run {
        fn new() -> Self {
            let mut rtt = Rtt::new();
            (0..50).for_each(|_| rtt.on_sample(Duration::from_millis(100)));
            let (sender, recovery) = (Sender::new(1 << 20), Recovery::new());
            let mut run = Self { sender, recovery, rtt, delivery: Delivery::new() };
            run.send(0, Time::ZERO);
            run.ack(Time::from_millis(100), 17);
            run.sender.on_end(1 << 20);
            run.sender.raise_limit();
            (0..10).for_each(|_| run.send_new(Time::from_secs(1)));
            run
        }

        fn send(&mut self, index: usize, now: Time) {
            let snapshot = self.delivery.on_sent(now, SIZE, 0);
            self.sender.on_sent(index, snapshot);
            self.recovery.on_sent(now, index, &self.sender);
        }

        fn send_new(&mut self, now: Time) {
            self.sender.write(Bytes::from(vec![1; SIZE as usize]));
            let index = self.sender.cut(SIZE as usize);
            self.send(index, now);
        }

        fn ack(&mut self, now: Time, ack: u64) -> Found {
            let Heard::New(newly) = self.sender.on_ack(ack) else { panic!("{ack} is an end") };
            self.recovery.on_advance(now, &newly, &mut self.sender, &self.rtt)
        }

        fn duplicates(&mut self, now: Time, count: usize) -> Vec<Found> {
            (0..count).map(|_| self.recovery.on_duplicate(now, &mut self.sender, &self.rtt)).collect()
        }

        fn in_flight(&self) -> u64 {
            self.recovery.in_flight(&self.sender)
        }

        fn timer(&mut self) -> (Time, Timer, Found) {
            let (at, timer) = self.recovery.next_timer(&self.sender, &self.rtt).expect("one");
            (at, timer, self.recovery.on_timer(at, timer, &mut self.sender, &mut self.rtt))
        }

        /// Whole hundreds that are held to be lost.
        fn lost(&self) -> u64 {
            self.sender.next() - self.sender.una() - self.sender.flight()
        }
    }

    fn ms(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn the_third_duplicate_begins_a_recovery_and_each_takes_a_segment_out_of_flight() {
        let mut run = Run::new();
        let found = run.duplicates(ms(1100), 2);
        assert!(found.iter().all(|found| found.lost.is_none() && found.delivered == SIZE));
        assert_eq!(run.in_flight(), 800);
        let found = run.duplicates(ms(1100), 1);
        assert_eq!(found[0].lost, Some((LossKind::First, SIZE)));
        assert_eq!(run.sender.first_lost(), Some(0));
        assert!(run.recovery.is_recovering());
        run.send(0, ms(1101));
        assert!(run.duplicates(ms(1102), 4).iter().all(|found| found.lost.is_none()), "once");
        // two segments, the second and the tenth, are missing beside the first: one hole a round trip
        let found = run.ack(ms(1201), 117);
        assert_eq!((found.lost, found.recovered), (Some((LossKind::More, SIZE)), false));
        run.send(0, ms(1201));
        let found = run.ack(ms(1301), 917);
        assert_eq!(found.lost, Some((LossKind::More, SIZE)));
        run.send(0, ms(1301));
        let found = run.ack(ms(1401), 1017);
        assert_eq!((found.recovered, found.lost), (true, None));
        assert!(!run.recovery.is_recovering());
    }

    #[test]
    fn what_was_counted_for_duplicates_is_not_counted_again() {
        let mut run = Run::new();
        let mut delivered: u64 = run.duplicates(ms(1100), 9).iter().map(|found| found.delivered).sum();
        assert_eq!(delivered, 900);
        run.send(0, ms(1101));
        delivered += run.ack(ms(1201), 1017).delivered;
        assert_eq!(delivered, 1000);
        assert_eq!(run.in_flight(), 0);
    }

    #[test]
    fn many_that_are_missing_are_all_sent_again_in_order() {
        let mut run = Run::new();
        run.duplicates(ms(1100), 3);
        run.send(0, ms(1100));
        let found = run.ack(ms(1200), 117);
        assert_eq!(found.lost, Some((LossKind::More, 900)), "nine are left, and three arrived");
        assert_eq!((run.lost(), run.in_flight()), (900, 0));
    }

    #[test]
    fn one_duplicate_is_enough_once_the_first_segment_is_late() {
        let mut run = Run::new();
        run.duplicates(ms(1100), 1);
        let (at, timer, found) = run.timer();
        assert_eq!((at, timer, found.lost), (ms(1125), Timer::Late, Some((LossKind::First, SIZE))));
        run.send(0, at);
        let found = run.duplicates(ms(1240), 1);
        assert_eq!(found[0].lost, None, "its repetition has its own time");
        let found = run.duplicates(ms(1251), 1);
        assert_eq!(found[0].lost, Some((LossKind::More, SIZE)), "and is lost as well");
    }

    #[test]
    fn silence_is_asked_once_and_then_times_out() {
        let mut run = Run::new();
        let (at, timer, found) = run.timer();
        assert_eq!((timer, found.lost), (Timer::Probe, Some((LossKind::First, SIZE))));
        assert!((ms(1150)..ms(1160)).contains(&at), "one and a half round trips: {at}");
        run.send(0, at);
        let (later, timer, found) = run.timer();
        assert_eq!((timer, found.lost), (Timer::Timeout, Some((LossKind::Timeout, 1000))), "all of it");
        assert_eq!(later - at, run.rtt.plain_timeout());
        assert_eq!((run.lost(), run.rtt.backoff()), (1000, 1));
    }

    #[test]
    fn a_time_out_after_most_has_arrived_repeats_the_first_only() {
        let mut run = Run::new();
        run.duplicates(ms(1100), 8);
        run.send(0, ms(1100));
        let (at, timer, _) = run.timer();
        assert_eq!(timer, Timer::Probe);
        run.send(0, at);
        let (_, timer, found) = run.timer();
        assert_eq!((timer, found.lost), (Timer::Timeout, Some((LossKind::Timeout, SIZE))));
    }

    #[test]
    fn an_answer_that_comes_too_soon_undoes_the_loss_and_raises_the_threshold() {
        let mut run = Run::new();
        run.duplicates(ms(1100), 3);
        run.send(0, ms(1101));
        let found = run.ack(ms(1110), 417);
        assert!(found.spurious && found.recovered);
        assert_eq!(run.lost(), 0);
        assert!(run.duplicates(ms(1111), 1)[0].lost.is_none(), "the echo of the repetition");
        assert!(run.duplicates(ms(1112), 3).iter().all(|found| found.lost.is_none()), "three are not enough any more");
        assert!(run.duplicates(ms(1113), 1)[0].lost.is_some());
    }

    #[test]
    fn a_time_out_in_doubt_asks_with_new_segments() {
        let mut run = Run::new();
        let probe = run.timer();
        run.send(0, probe.0);
        let (at, ..) = run.timer();
        run.send(0, at);
        run.sender.write(Bytes::from(vec![1; 1000]));
        run.ack(at + Duration::from_millis(90), 117);
        assert_eq!(run.recovery.asks_for_new(), Some(2));
        let found = run.ack(at + Duration::from_millis(91), 217);
        assert!(found.spurious, "the second was sent once: it was all late, not lost");
        assert_eq!((run.lost(), run.recovery.is_recovering()), (0, false));
    }

    #[test]
    fn a_time_out_that_was_none_goes_on_with_what_is_lost() {
        let mut run = Run::new();
        let probe = run.timer();
        run.send(0, probe.0);
        let (at, ..) = run.timer();
        run.send(0, at);
        run.sender.write(Bytes::from(vec![1; 1000]));
        run.ack(at + Duration::from_millis(100), 117);
        assert_eq!(run.recovery.asks_for_new(), Some(2));
        run.duplicates(at + Duration::from_millis(200), 1);
        assert_eq!((run.recovery.asks_for_new(), run.lost()), (None, 900));
    }

    /// Of ten segments every second one is lost, so all is sent again, at 1.2 s.
    fn sent_again() -> Run {
        let mut run = Run::new();
        run.duplicates(ms(1100), 6);
        run.send(0, ms(1100));
        run.ack(ms(1200), 217);
        assert_eq!(run.lost(), 800);
        (0..8).for_each(|index| run.send(index, ms(1200)));
        run
    }

    #[test]
    fn answers_to_repetitions_of_what_had_arrived_are_no_duplicates() {
        let mut run = sent_again();
        run.ack(ms(1300), 417);
        run.duplicates(ms(1300), 1);
        run.ack(ms(1300), 617);
        run.duplicates(ms(1300), 1);
        assert!(run.ack(ms(1300), 1017).recovered);
        (0..5).for_each(|_| run.send_new(ms(1300)));
        assert_eq!(run.duplicates(ms(1301), 3), [Found::default(); 3], "of the last three that were sent again");
        assert_eq!(run.in_flight(), 500);
        assert_eq!(run.duplicates(ms(1400), 3)[2].lost, Some((LossKind::First, 100)));
    }

    #[test]
    fn answers_that_were_lost_are_not_waited_for() {
        let mut run = sent_again();
        assert!(run.ack(ms(1300), 1017).recovered);
        (0..5).for_each(|_| run.send_new(ms(1310)));
        run.ack(ms(1410), 1117);
        assert_eq!(run.duplicates(ms(1410), 3)[2].lost, Some((LossKind::First, 100)), "sent later, and acknowledged");
    }

    #[test]
    fn a_second_repetition_that_was_lost_brings_all_others_that_are_late() {
        let mut run = sent_again();
        run.ack(ms(1300), 417);
        run.duplicates(ms(1300), 5);
        assert_eq!(run.lost(), 0, "not late yet");
        assert_eq!(run.duplicates(ms(1330), 1)[0].lost, Some((LossKind::More, 100)));
        run.send(0, ms(1330));
        assert_eq!(run.ack(ms(1430), 617).lost, Some((LossKind::More, 400)));
    }

    #[test]
    fn the_answer_to_a_ping_is_no_duplicate() {
        let mut run = Run::new();
        run.recovery.expect_echo(Time::from_secs(1));
        assert_eq!(run.duplicates(ms(1100), 1)[0], Found::default());
        assert_eq!(run.in_flight(), 1000);
        run.duplicates(ms(1100), 1);
        assert_eq!(run.in_flight(), 900);
    }
}
