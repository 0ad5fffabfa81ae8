//! Time passes.

use super::{Connection, Keys, Life};
use crate::proto::time::Time;
use crate::proto::vut::event::CloseReason;
use crate::proto::vut::native::close::{AbortCode, Input, Note, Output};
use crate::proto::vut::native::loss::Timeout;
use crate::proto::vut::native::path::Address;
use crate::proto::vut::trace::Record;

impl<A: Address> Connection<A> {
    /// When [`Self::handle_timeout`] and then [`Self::poll_transmit`] are to be called if nothing happens before. It may be in the past.
    pub fn poll_timeout(&mut self, now: Time) -> Option<Time> {
        if self.life == Life::Gone {
            return None;
        }
        let shaking = matches!(self.keys, Keys::Shaking(_)) && self.life == Life::Live;
        let blocked = self.is_blocked();
        let paced = if blocked { None } else { self.paced(now) };
        let shaking_until = shaking.then_some(self.greeting.deadline);
        let acks = self.acks.poll_timeout().filter(|_| !blocked && self.sealer.is_some());
        let size = self.size_due(now).map(|(_, at)| at);
        let size = size.or_else(|| self.mtu.poll_timeout().filter(|_| self.life == Life::Live));
        let greets = self.greeting.repeats.poll_timeout().filter(|_| shaking);
        [
            greets,
            shaking_until,
            acks,
            paced,
            size,
            self.ledger.poll_timeout(),
            self.path.poll_timeout(),
            self.ping_at(),
            self.dead_at(),
            self.over_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The time is `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        let is_over = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if self.life == Life::Gone {
            return;
        }
        if is_over(self.over_at()) {
            self.life = Life::Gone;
            return;
        }
        if self.life == Life::Live && !self.is_connected() && self.greeting.deadline <= now {
            return self.fail(now, CloseReason::NoAnswer);
        }
        if is_over(self.dead_at()) {
            return self.fail(now, CloseReason::PeerGone);
        }
        match self.ledger.handle_timeout(now) {
            Timeout::None => {}
            Timeout::Lost(outcome) => _ = self.on_outcome(now, outcome, "late"),
            Timeout::Probe { .. } => {
                self.stats.timeouts += 1;
                self.ecn.on_silence();
                self.mtu.on_silence();
                self.follow_size();
                self.probe = true;
                self.trace(now, Record::State { of: "recovery", state: "probe" });
            }
        }
        let effect = self.path.handle_timeout(now, self.times);
        self.on_path(now, effect);
        if is_over(self.ping_at()) {
            self.stats.pings += 1;
            self.ping = true;
        }
        self.settle(now);
    }

    /// When stream data that is ready may leave; none if there is none, or the window is full.
    fn paced(&mut self, now: Time) -> Option<Time> {
        let size = self.mtu.current();
        let waits = self.life == Life::Live && self.sealer.is_some() && self.outbox.has_work();
        (waits && self.control.has_room(self.ledger.in_flight(), size)).then(|| self.control.due(now, size))
    }

    /// When a PING leaves if nothing happens before; none while one, or anything else that will be answered, is under way.
    fn ping_at(&self) -> Option<Time> {
        let busy = self.ping || self.ledger.in_flight() > 0;
        if self.life != Life::Live || !self.is_connected() || busy {
            return None;
        }
        let own = self.config.keep_alive;
        let distance = own.into_iter().chain(self.idle.map(|idle| idle / 3)).min()?;
        Some(self.asked_at.max(self.heard_at) + distance)
    }

    /// When a peer that is not heard of is gone: something is owed to it, or pings run.
    fn dead_at(&self) -> Option<Time> {
        if self.life != Life::Live || !self.is_connected() {
            return None;
        }
        let waits = self.config.keep_alive.is_some()
            || self.ledger.in_flight() > 0
            || self.output != Output::Open
            || self.input != Input::Open;
        waits.then(|| self.heard_at + self.config.dead_peer)
    }

    /// When the rest of its life is over.
    fn over_at(&self) -> Option<Time> {
        match self.life {
            Life::Live | Life::Gone => None,
            Life::Failing { code: AbortCode::Silence, until } => Some(until.min(self.heard_at + self.config.dead_peer)),
            Life::Failing { until, .. } => Some(until),
            Life::Lingering { until } => {
                // the peer must hear that its data was taken, as long as it may be there
                let owes = [Note::Done, Note::Stop].into_iter().any(|note| self.notices.is_open(note));
                Some(if owes { until.max(self.heard_at + self.config.dead_peer) } else { until })
            }
        }
    }
}
