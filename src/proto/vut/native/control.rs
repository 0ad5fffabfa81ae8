//! From what the [`Ledger`](super::loss::Ledger) found to what the congestion [`Controller`] is told, and when a packet may leave.
//!
//! ```text
//!   Ledger ── Outcome ──▶ Control ── Ack, Loss, Sent ──▶ Controller
//!                            │   ◀── window, rate ───────────┘
//!   may this packet leave? ──┴── window left, Pacer due
//! ```
//!
//! # What is one loss
//!
//! A recovery begins with the first loss of a packet that was sent after the last recovery began, and is over when a packet that was
//! sent later than that is acknowledged (RFC 9002 section 7.3.2): [`LossKind::First`], then [`LossKind::More`]. Losses that span 3
//! PTO are [`LossKind::Timeout`] (persistent congestion, RFC 9002 section 7.6). If all that a recovery took for lost arrived
//! after all, the controller hears that it was a mistake.

use super::loss::{Outcome, probe_timeout, rtt::Rtt};
use crate::proto::time::Time;
use crate::proto::vut::congestion::{Ack, Controller, Ecn, Loss, LossKind, MakeController, RateSample, Sent};
use crate::proto::vut::pacer::Pacer;

/// Losses over so many PTO are persistent congestion (RFC 9002 section 7.6.1).
const PERSISTENT: u32 = 3;

/// What the ledger says besides the outcome.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Octets in flight now.
    pub in_flight: u64,
    /// Octets delivered so far.
    pub delivered: u64,
    /// Octets lost so far.
    pub lost: u64,
    /// The number that the next packet gets.
    pub next_number: u64,
    /// The round trip.
    pub rtt: &'a Rtt,
}

impl<'a> View<'a> {
    /// Of this ledger.
    pub fn of<T: Clone>(ledger: &'a super::loss::Ledger<T>) -> Self {
        Self {
            in_flight: ledger.in_flight(),
            delivered: ledger.delivered(),
            lost: ledger.lost(),
            next_number: ledger.next_number(),
            rtt: ledger.rtt(),
        }
    }
}

/// A recovery: from its first loss on.
#[derive(Clone, Copy, Debug)]
struct Recovery {
    /// Packets from this number on were sent after it began.
    from: u64,
    /// Nothing of these was acknowledged yet.
    open: bool,
    /// Octets taken for lost, less those that arrived after all.
    missing: u64,
    /// It began with a mark, which is no mistake whatever arrives.
    marked: bool,
}

/// Congestion control of one path.
#[derive(Debug)]
pub struct Control {
    controller: Box<dyn Controller>,
    pacer: Pacer,
    round: u64,
    round_ends: u64,
    recovery: Option<Recovery>,
    sent_at: Time,
    app_limited: bool,
}

impl Control {
    /// Nothing sent; datagrams have so many octets.
    pub fn new(make: MakeController, datagram: u16) -> Self {
        Self {
            controller: make(datagram.into()),
            pacer: Pacer::new(datagram.into()),
            round: 0,
            round_ends: 0,
            recovery: None,
            sent_at: Time::ZERO,
            app_limited: false,
        }
    }

    /// The controller, for traces.
    pub fn controller(&self) -> &dyn Controller {
        &*self.controller
    }

    /// Datagrams may now have so many octets.
    pub fn on_datagram_size(&mut self, octets: u16) {
        self.controller.on_segment_size(octets.into());
        self.pacer.on_segment_size(octets.into());
    }

    /// True if `size` octets more fit into the window.
    pub fn has_room(&self, in_flight: u64, size: u16) -> bool {
        in_flight + u64::from(size) <= self.controller.window()
    }

    /// Octets that may leave now: the window has room for them, and the pacer has saved them up.
    pub fn ready(&mut self, now: Time, in_flight: u64) -> u64 {
        let room = self.controller.window().saturating_sub(in_flight);
        if room == 0 { 0 } else { room.min(self.pacer.saved(now, self.controller.pacing_rate())) }
    }

    /// When the pacer lets `size` octets leave: now or later.
    pub fn due(&mut self, now: Time, size: u16) -> Time {
        self.pacer.due(now, size.into(), self.controller.pacing_rate())
    }

    /// There is room in the window, and nothing to send; [`super::loss::Ledger::set_app_limited`] wants to know too.
    pub fn on_app_limited(&mut self) {
        self.app_limited = true;
    }

    /// A packet that elicits leaves; `in_flight` counts it.
    pub fn on_sent(&mut self, now: Time, size: u16, in_flight: u64, rtt: &Rtt) {
        let idle = now.since(self.sent_at);
        if in_flight == u64::from(size) && self.sent_at > Time::ZERO && idle > probe_timeout(rtt) {
            self.controller.on_idle(now, idle);
        }
        self.sent_at = now;
        self.app_limited = self.app_limited && self.has_room(in_flight, size);
        self.pacer.on_sent(size.into());
        self.controller.on_sent(&Sent { now, bytes: size.into(), in_flight, again: false });
    }

    /// An acknowledgement or a time-out was worked off. `newest` are the highest numbers acknowledged and lost by it.
    pub fn on_outcome(&mut self, now: Time, outcome: &Outcome, newest: Newest, view: View<'_>) {
        let over = |recovery: &Recovery| newest.acknowledged.is_some_and(|number| number >= recovery.from);
        if let Some(recovery) = self.recovery.as_mut().filter(|recovery| recovery.open && over(recovery)) {
            recovery.open = false;
            self.controller.on_recovered(now);
        }
        self.undo(now, outcome.spurious);
        if outcome.acknowledged > 0 {
            self.tell_acknowledged(now, outcome, view);
        }
        if outcome.lost > 0 {
            self.tell_lost(now, outcome, newest, view);
        }
    }

    /// An acknowledgement says that `marked` packets met a queue that fills. Within a recovery that says nothing new.
    pub fn on_marked(&mut self, now: Time, marked: u64, newest: Newest, view: View<'_>) {
        if self
            .recovery
            .as_ref()
            .is_some_and(|recovery| newest.acknowledged.is_none_or(|number| number < recovery.from))
        {
            return;
        }
        // nothing is missing, so nothing can show that it was a mistake
        self.recovery = Some(Recovery { from: view.next_number, open: true, missing: 0, marked: true });
        let View { in_flight, delivered, lost, .. } = view;
        self.controller.on_ecn(&Ecn { now, marked, in_flight, delivered, lost });
    }

    fn tell_acknowledged(&mut self, now: Time, outcome: &Outcome, view: View<'_>) {
        if let Some(sample) = &outcome.rate
            && sample.prior_delivered >= self.round_ends
        {
            self.round += 1;
            self.round_ends = view.delivered;
        }
        let known = view.rtt.is_known();
        self.controller.on_ack(&Ack {
            now,
            bytes: outcome.acknowledged,
            prior_in_flight: outcome.prior_in_flight,
            in_flight: view.in_flight,
            rtt: outcome.rtt,
            smoothed: known.then(|| view.rtt.smoothed()),
            least_rtt: view.rtt.min(),
            rate: outcome.rate.map(|sample| RateSample {
                rate: sample.per_second(),
                delivered: sample.delivered,
                interval: sample.interval,
                lost: sample.lost,
                prior_delivered: sample.prior_delivered,
                sent_in_flight: sample.sent_in_flight,
                app_limited: sample.app_limited,
            }),
            round: self.round,
            app_limited: self.app_limited,
            recovering: self.recovery.is_some_and(|recovery| recovery.open),
        });
    }

    fn tell_lost(&mut self, now: Time, outcome: &Outcome, newest: Newest, view: View<'_>) {
        let persistent = outcome.lost_span >= probe_timeout(view.rtt).saturating_mul(PERSISTENT);
        let again = self.recovery.as_ref().is_some_and(|recovery| newest.lost.is_none_or(|lost| lost < recovery.from));
        let kind = match (persistent, again) {
            (true, _) => LossKind::Timeout,
            (false, true) => LossKind::More,
            (false, false) => LossKind::First,
        };
        match &mut self.recovery {
            Some(recovery) if kind == LossKind::More => recovery.missing += outcome.lost,
            recovery => {
                *recovery = Some(Recovery { from: view.next_number, open: true, missing: outcome.lost, marked: false })
            }
        }
        self.controller.on_loss(&Loss {
            now,
            bytes: outcome.lost,
            in_flight: outcome.prior_in_flight.saturating_sub(outcome.acknowledged - outcome.spurious),
            kind,
            snapshot: None,
            delivered: view.delivered,
            lost: view.lost,
        });
    }

    /// So many octets were not lost.
    fn undo(&mut self, now: Time, spurious: u64) {
        let Some(recovery) =
            self.recovery.as_mut().filter(|recovery| spurious > 0 && recovery.missing > 0 && !recovery.marked)
        else {
            return;
        };
        recovery.missing = recovery.missing.saturating_sub(spurious);
        if recovery.missing == 0 {
            recovery.open = false;
            self.controller.on_spurious(now);
        }
    }
}

/// The highest numbers among the events of one [`Outcome`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// Of those acknowledged.
    pub acknowledged: Option<u64>,
    /// Of those lost.
    pub lost: Option<u64>,
}

impl Newest {
    /// Takes account of an event.
    pub fn note<T>(&mut self, event: &super::loss::Event<T>) {
        match event {
            super::loss::Event::Acknowledged(sent) | super::loss::Event::Spurious(sent) => {
                self.acknowledged = self.acknowledged.max(Some(sent.number));
            }
            super::loss::Event::Lost(sent) => self.lost = self.lost.max(Some(sent.number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::loss::{Event, Ledger, Sent as Packet};
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    #[derive(Debug, Clone, Default)]
    struct Spy(Arc<Mutex<Vec<String>>>);

    impl Spy {
        fn note(&self, what: String) {
            self.0.lock().expect("one thread").push(what);
        }
    }

    impl Controller for Spy {
        fn name(&self) -> &'static str {
            "spy"
        }
        fn on_ack(&mut self, ack: &Ack) {
            self.note(format!("ack {} of {} round {}", ack.bytes, ack.prior_in_flight, ack.round));
        }
        fn on_loss(&mut self, loss: &Loss) {
            self.note(format!("{:?} {} of {}", loss.kind, loss.bytes, loss.in_flight));
        }
        fn on_recovered(&mut self, _: Time) {
            self.note("recovered".into());
        }
        fn on_spurious(&mut self, _: Time) {
            self.note("spurious".into());
        }
        fn on_ecn(&mut self, ecn: &Ecn) {
            self.note(format!("{} marked of {}", ecn.marked, ecn.in_flight));
        }
        fn on_idle(&mut self, _: Time, _: Duration) {
            self.note("idle".into());
        }
        fn window(&self) -> u64 {
            10_000
        }
        fn pacing_rate(&self) -> Option<u64> {
            None
        }
    }

    struct Bench {
        ledger: Ledger<()>,
        control: Control,
        spy: Spy,
    }

    impl Bench {
        fn new() -> Self {
            let spy = Spy::default();
            let mut control = Control::new(|_| Box::new(Spy::default()), 1000);
            control.controller = Box::new(spy.clone());
            Self { ledger: Ledger::new(), control, spy }
        }

        fn send(&mut self, ms: u64, count: u64) {
            let at = Time::from_millis(ms);
            for _ in 0..count {
                let number = self.ledger.next_number();
                self.ledger.on_sent(Packet { number, size: 1000, eliciting: true, at, info: () });
                self.control.on_sent(at, 1000, self.ledger.in_flight(), self.ledger.rtt());
            }
        }

        fn ack(&mut self, ms: u64, ranges: &[(u64, u64)]) -> Vec<String> {
            let now = Time::from_millis(ms);
            let outcome = self.ledger.on_ack(ranges.iter().copied(), Duration::ZERO, now).expect("sent");
            let mut newest = Newest::default();
            while let Some(event) = self.ledger.poll_event() {
                newest.note(&event);
                assert!(!matches!(event, Event::Lost(ref sent) if sent.size == 0));
            }
            self.control.on_outcome(now, &outcome, newest, View::of(&self.ledger));
            std::mem::take(&mut self.spy.0.lock().expect("one thread"))
        }
    }

    #[test]
    fn losses_of_one_flight_are_one_recovery_and_later_ones_another() {
        let mut bench = Bench::new();
        bench.send(1, 8);
        assert_eq!(bench.ack(81, &[(0, 0)]), ["ack 1000 of 8000 round 1"]);
        bench.send(81, 2); // 8, 9
        assert_eq!(bench.ack(82, &[(4, 4), (0, 0)]), ["ack 1000 of 9000 round 1", "First 3000 of 8000"]);
        assert_eq!(bench.ack(83, &[(6, 6), (4, 4), (0, 0)]), ["ack 1000 of 5000 round 1", "More 1000 of 4000"]);
        bench.send(90, 4); // 10 to 13
        assert_eq!(bench.ack(161, &[(6, 9), (4, 4), (0, 0)]), ["ack 3000 of 7000 round 2"]);
        let again = ["recovered", "ack 1000 of 4000 round 2", "First 3000 of 3000"];
        assert_eq!(bench.ack(171, &[(13, 13), (6, 9), (4, 4), (0, 0)]), again);
    }

    #[test]
    fn a_recovery_of_which_nothing_was_lost_was_a_mistake() {
        let mut bench = Bench::new();
        bench.send(1, 8);
        bench.ack(81, &[(0, 0)]);
        assert_eq!(bench.ack(82, &[(5, 5), (0, 0)]), ["ack 1000 of 7000 round 1", "First 4000 of 6000"]);
        assert_eq!(bench.ack(83, &[(2, 5), (0, 0)]), ["ack 3000 of 2000 round 1"]);
        assert_eq!(bench.ack(84, &[(0, 5)]), ["spurious", "ack 1000 of 2000 round 1"]);
    }

    #[test]
    fn marks_of_one_flight_are_one_signal() {
        let mut bench = Bench::new();
        let marked = |bench: &mut Bench, number: u64| {
            let newest = Newest { acknowledged: Some(number), lost: None };
            bench.control.on_marked(Time::from_millis(90), 2, newest, View::of(&bench.ledger));
            std::mem::take(&mut *bench.spy.0.lock().expect("one thread"))
        };
        bench.send(1, 8);
        bench.ack(81, &[(0, 0)]);
        assert_eq!(marked(&mut bench, 0), ["2 marked of 7000"]);
        bench.send(82, 2); // 8, 9
        assert_eq!(marked(&mut bench, 5), Vec::<String>::new());
        assert_eq!(bench.ack(84, &[(6, 7), (0, 0)]), ["ack 2000 of 9000 round 1", "More 5000 of 7000"], "one recovery");
        assert_eq!(bench.ack(85, &[(0, 7)]), ["ack 5000 of 2000 round 1"], "and no mistake");
        bench.ack(90, &[(0, 9)]);
        assert_eq!(marked(&mut bench, 9), ["2 marked of 0"], "it was sent after the first");
        assert_eq!(marked(&mut bench, 9), Vec::<String>::new());
        bench.send(91, 1);
        assert_eq!(marked(&mut bench, 10), ["2 marked of 1000"]);
    }

    #[test]
    fn sending_after_a_pause_is_told() {
        let mut bench = Bench::new();
        bench.send(1, 1);
        bench.ack(81, &[(0, 0)]);
        bench.send(100, 1);
        bench.ack(181, &[(0, 1)]);
        bench.send(5000, 2);
        assert_eq!(bench.ack(5080, &[(0, 3)]), ["idle", "ack 2000 of 2000 round 3"]);
    }
}
