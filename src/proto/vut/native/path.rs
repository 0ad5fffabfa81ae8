//! Where the peer is: a change of its address is believed only when it is shown.
//!
//! ```text
//!              highest number, from elsewhere              RESPONSE from there
//!   settled ───────────────────────────────▶ candidate ────────────────────────▶ settled there
//!      ▲         CHALLENGE goes there             │                                    │
//!      ├──── newer number from the old address ───┤                                    │
//!      ├──── nothing for 3 PTO ───────────────────┘                                    │
//!      └──── newer number from the old address, within 3 PTO of the switch ◀───────────┘
//! ```
//!
//! * forged: a datagram that does not authenticate never comes here.
//! * copied: an attacker sends an authentic datagram on from his own address, ahead of the original. He gets a CHALLENGE and
//!   cannot read it, and data goes on to the old address. The peer goes on from the old address with newer numbers, so the
//!   candidate is dropped; and if he forwards CHALLENGE and RESPONSE both, the same brings the path back afterwards.
//! * real: the old address is silent, the RESPONSE comes from the new one.
//!
//! To an address that has proven nothing go at most three octets for each authentic one from there (RFC 9000 section 8.1).
//! A RESPONSE needs no allowance if its packet is not larger than the one that brought the CHALLENGE.

use super::loss::probe_timeout;
use super::loss::rtt::Rtt;
use crate::proto::time::Time;
use std::fmt::Debug;
use std::time::Duration;

/// An address as the owner knows it: IP address and UDP port, say.
pub trait Address: Copy + Eq + Debug {
    /// True if only the port differs: most likely a NAT's new binding on the same path.
    fn same_host(&self, other: &Self) -> bool;
}

/// How often a CHALLENGE is sent, one PTO apart, and so also after how many PTO a candidate is dropped (RFC 9000
/// section 8.2.4).
pub const CHALLENGES: u32 = 3;
/// How many PTO after a switch the old address may take it back.
pub const RETURN_PTOS: u32 = 3;
/// Octets to an unproven address for each octet from it.
pub const AMPLIFICATION: u64 = 3;

/// What may be sent to an address that has proven nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    received: u64,
    sent: u64,
}

impl Allowance {
    /// Authentic octets came from there.
    pub fn on_received(&mut self, octets: usize) {
        self.received = self.received.saturating_add(octets as u64);
    }

    /// Octets were sent there.
    pub fn on_sent(&mut self, octets: usize) {
        self.sent = self.sent.saturating_add(octets as u64);
    }

    /// True if anything came from there.
    pub const fn has_received(&self) -> bool {
        self.received > 0
    }

    /// The octets that may still be sent there.
    pub fn left(&self) -> u64 {
        self.received.saturating_mul(AMPLIFICATION).saturating_sub(self.sent)
    }
}

/// A packet that has opened, as far as paths are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<A> {
    /// Where it came from.
    pub from: A,
    /// True if no higher number came before ([`Opened::highest`](super::packet::Opened::highest)).
    pub highest: bool,
    /// The datagram's octets.
    pub octets: usize,
}

/// Today's times of the path in use.
#[derive(Clone, Copy, Debug)]
pub struct PathTimes {
    /// Probe time-out.
    pub pto: Duration,
    /// Smoothed round trip time.
    pub rtt: Duration,
}

impl PathTimes {
    /// Those that follow from a round trip.
    pub fn of(rtt: &Rtt) -> Self {
        Self { pto: probe_timeout(rtt), rtt: rtt.smoothed() }
    }
}

/// What the owner does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum PathEffect<A> {
    /// Nothing.
    None,
    /// Send a CHALLENGE with these octets there, and nothing else; within [`Path::allowance`].
    Challenge {
        /// The candidate.
        to: A,
        /// 8 random octets.
        octets: [u8; 8],
    },
    /// The candidate was dropped; nothing changes.
    Stayed,
    /// Send everything there from now on.
    Moved(Switch<A>),
}

/// A change of path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch<A> {
    /// The new address.
    pub to: A,
    /// What is still known of the way there.
    pub keeps: Keeps,
}

/// What is known of a path after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Only the port has changed: congestion state, round trip time and datagram size stay.
    All,
    /// Another host: all three start anew.
    Nothing,
}

#[derive(Clone, Copy, Debug)]
struct Candidate<A> {
    address: A,
    octets: [u8; 8],
    allowance: Allowance,
    sent: u32,
    next: Time,
}

/// Where the peer is, and where it may have gone.
///
/// # Invariants
///
/// * One candidate at a time; a new one at the earliest one round trip after the last began.
/// * `allowance` is none once the address in use has proven itself.
#[derive(Clone, Debug)]
pub struct Path<A> {
    current: A,
    allowance: Option<Allowance>,
    candidate: Option<Candidate<A>>,
    former: Option<(A, Time)>,
    /// When the next candidate may begin.
    not_before: Time,
}

impl<A: Address> Path<A> {
    /// The peer is said to be at `configured`, and has proven nothing.
    pub fn new(configured: A) -> Self {
        let allowance = Some(Allowance::default());
        Self { current: configured, allowance, candidate: None, former: None, not_before: Time::ZERO }
    }

    /// The address in use.
    pub const fn current(&self) -> A {
        self.current
    }

    /// True if the address in use has proven itself: an authentic packet came from there, which nobody can have recorded.
    pub const fn is_validated(&self) -> bool {
        self.allowance.is_none()
    }

    /// True if anything authentic came from the address in use.
    pub fn has_heard(&self) -> bool {
        self.allowance.is_none_or(|allowance| allowance.has_received())
    }

    /// The octets that may be sent to `to`: no bound for the address in use once validated, three times what came for an
    /// unproven one, 0 for any other.
    pub fn allowance(&self, to: A) -> u64 {
        if to == self.current {
            return self.allowance.map_or(u64::MAX, |allowance| allowance.left());
        }
        self.candidate.filter(|candidate| candidate.address == to).map_or(0, |candidate| candidate.allowance.left())
    }

    /// Octets were sent to `to`.
    pub fn on_sent(&mut self, to: A, octets: usize) {
        if to == self.current {
            self.allowance.iter_mut().for_each(|allowance| allowance.on_sent(octets));
        } else if let Some(candidate) = self.candidate.as_mut().filter(|candidate| candidate.address == to) {
            candidate.allowance.on_sent(octets);
        }
    }

    /// An authentic hello or negotiation came from the configured address. It may be a recorded one, so it validates nothing.
    pub fn on_greeting(&mut self, octets: usize) {
        self.allowance.iter_mut().for_each(|allowance| allowance.on_received(octets));
    }

    /// A packet has opened. `random` gives 8 unpredictable octets, and is asked only for a new candidate.
    pub fn on_packet(
        &mut self,
        arrival: Arrival<A>,
        now: Time,
        times: PathTimes,
        random: impl FnOnce() -> [u8; 8],
    ) -> PathEffect<A> {
        let Arrival { from, highest, octets } = arrival;
        self.former.take_if(|(_, until)| now >= *until);
        if from == self.current {
            self.allowance = None;
            if highest && self.candidate.take().is_some() {
                return PathEffect::Stayed;
            }
            return PathEffect::None;
        }
        if let Some(candidate) = self.candidate.as_mut().filter(|candidate| candidate.address == from) {
            candidate.allowance.on_received(octets);
            return PathEffect::None;
        }
        if !highest {
            return PathEffect::None;
        }
        if self.former.is_some_and(|(former, _)| former == from) {
            return PathEffect::Moved(self.switch(from, None));
        }
        if self.candidate.is_some() || now < self.not_before {
            return PathEffect::None;
        }
        self.not_before = now + times.rtt;
        let mut allowance = Allowance::default();
        allowance.on_received(octets);
        let octets = random();
        self.candidate = Some(Candidate { address: from, octets, allowance, sent: 1, next: now + times.pto });
        PathEffect::Challenge { to: from, octets }
    }

    /// A RESPONSE has come in an authentic packet from `from`.
    pub fn on_response(&mut self, from: A, octets: [u8; 8], now: Time, times: PathTimes) -> PathEffect<A> {
        match self.candidate {
            Some(candidate) if candidate.address == from && candidate.octets == octets => {
                let until = now + times.pto.saturating_mul(RETURN_PTOS);
                PathEffect::Moved(self.switch(from, Some(until)))
            }
            _ => PathEffect::None,
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Time> {
        self.candidate.map(|candidate| candidate.next)
    }

    /// Time has passed: the CHALLENGE is sent again, or the candidate dropped.
    pub fn handle_timeout(&mut self, now: Time, times: PathTimes) -> PathEffect<A> {
        let Some(candidate) = self.candidate.as_mut().filter(|candidate| now >= candidate.next) else {
            return PathEffect::None;
        };
        if candidate.sent == CHALLENGES {
            self.candidate = None;
            return PathEffect::Stayed;
        }
        candidate.sent += 1;
        candidate.next = now + times.pto;
        PathEffect::Challenge { to: candidate.address, octets: candidate.octets }
    }

    fn switch(&mut self, to: A, return_until: Option<Time>) -> Switch<A> {
        let keeps = if self.current.same_host(&to) { Keeps::All } else { Keeps::Nothing };
        // an address that never proved itself is not one to return to
        self.former = return_until.filter(|_| self.allowance.is_none()).map(|until| (self.current, until));
        self.current = to;
        self.allowance = None;
        self.candidate = None;
        Switch { to, keeps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Host and port.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct At(u8, u16);

    impl Address for At {
        fn same_host(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    const OLD: At = At(1, 1000);
    const REBOUND: At = At(1, 2000);
    const AWAY: At = At(2, 1000);
    const TIMES: PathTimes = PathTimes { pto: Duration::from_millis(100), rtt: Duration::from_millis(40) };
    const MS: fn(u64) -> Time = Time::from_millis;

    fn packet(path: &mut Path<At>, from: At, highest: bool, now: u64) -> PathEffect<At> {
        path.on_packet(Arrival { from, highest, octets: 100 }, MS(now), TIMES, || [7; 8])
    }

    fn settled() -> Path<At> {
        let mut path = Path::new(OLD);
        assert_eq!(packet(&mut path, OLD, true, 0), PathEffect::None);
        assert!(path.is_validated());
        path
    }

    #[test]
    fn an_unproven_address_gets_three_times_what_came_from_it() {
        let mut path = Path::new(OLD);
        assert_eq!((path.allowance(OLD), path.allowance(AWAY)), (0, 0));
        path.on_greeting(508);
        path.on_sent(OLD, 1000);
        assert_eq!(path.allowance(OLD), 524);
        path.on_sent(OLD, 1000);
        assert_eq!(path.allowance(OLD), 0);
        assert_eq!(packet(&mut path, OLD, true, 0), PathEffect::None);
        assert_eq!(path.allowance(OLD), u64::MAX);
    }

    #[test]
    fn real_a_rebound_nat_keeps_what_is_known() {
        let mut path = settled();
        assert_eq!(packet(&mut path, REBOUND, true, 5), PathEffect::Challenge { to: REBOUND, octets: [7; 8] });
        assert_eq!(path.current(), OLD, "data goes on to the old address");
        assert_eq!(path.allowance(REBOUND), 300);
        path.on_sent(REBOUND, 250);
        assert_eq!(packet(&mut path, REBOUND, true, 6), PathEffect::None);
        assert_eq!(path.allowance(REBOUND), 350);
        let moved = PathEffect::Moved(Switch { to: REBOUND, keeps: Keeps::All });
        assert_eq!(path.on_response(REBOUND, [7; 8], MS(45), TIMES), moved);
        assert_eq!((path.current(), path.allowance(REBOUND), path.poll_timeout()), (REBOUND, u64::MAX, None));
    }

    #[test]
    fn real_another_host_starts_anew() {
        let mut path = settled();
        assert_eq!(packet(&mut path, AWAY, true, 5), PathEffect::Challenge { to: AWAY, octets: [7; 8] });
        let moved = PathEffect::Moved(Switch { to: AWAY, keeps: Keeps::Nothing });
        assert_eq!(path.on_response(AWAY, [7; 8], MS(45), TIMES), moved);
        assert_eq!(packet(&mut path, OLD, false, 46), PathEffect::None, "late ones of the old path change nothing");
        assert_eq!(path.current(), AWAY);
    }

    #[test]
    fn copied_the_old_path_goes_on_and_the_candidate_is_dropped() {
        let mut path = settled();
        assert_eq!(packet(&mut path, AWAY, true, 5), PathEffect::Challenge { to: AWAY, octets: [7; 8] });
        assert_eq!(packet(&mut path, OLD, false, 6), PathEffect::None, "an older number proves nothing");
        assert_eq!(packet(&mut path, OLD, true, 7), PathEffect::Stayed);
        assert_eq!(path.on_response(AWAY, [7; 8], MS(8), TIMES), PathEffect::None);
        assert_eq!((path.current(), path.allowance(AWAY)), (OLD, 0));
    }

    #[test]
    fn copied_and_forwarded_the_old_path_takes_it_back() {
        let mut path = settled();
        let _ = packet(&mut path, AWAY, true, 5);
        let _ = path.on_response(AWAY, [7; 8], MS(50), TIMES);
        assert_eq!(path.current(), AWAY);
        let back = PathEffect::Moved(Switch { to: OLD, keeps: Keeps::Nothing });
        assert_eq!(packet(&mut path, OLD, true, 349), back);
        assert_eq!(path.current(), OLD);
        // and with what came from AWAY the game starts again, with a challenge
        assert_eq!(packet(&mut path, AWAY, true, 400), PathEffect::Challenge { to: AWAY, octets: [7; 8] });
    }

    #[test]
    fn after_3_pto_the_old_path_is_a_candidate_like_any_other() {
        let mut path = settled();
        let _ = packet(&mut path, AWAY, true, 5);
        let _ = path.on_response(AWAY, [7; 8], MS(50), TIMES);
        assert_eq!(packet(&mut path, OLD, true, 350), PathEffect::Challenge { to: OLD, octets: [7; 8] });
    }

    #[test]
    fn forged_responses_change_nothing() {
        let mut path = settled();
        assert_eq!(path.on_response(AWAY, [7; 8], MS(1), TIMES), PathEffect::None);
        let _ = packet(&mut path, AWAY, true, 5);
        assert_eq!(path.on_response(AWAY, [8; 8], MS(6), TIMES), PathEffect::None);
        assert_eq!(path.on_response(REBOUND, [7; 8], MS(6), TIMES), PathEffect::None, "from elsewhere");
        assert_eq!(path.current(), OLD);
    }

    #[test]
    fn a_silent_candidate_is_challenged_three_times_and_dropped() {
        let mut path = settled();
        let challenge = PathEffect::Challenge { to: AWAY, octets: [7; 8] };
        assert_eq!(packet(&mut path, AWAY, true, 5), challenge);
        assert_eq!(path.handle_timeout(MS(104), TIMES), PathEffect::None);
        assert_eq!(path.handle_timeout(MS(105), TIMES), challenge);
        assert_eq!(path.handle_timeout(MS(205), TIMES), challenge);
        assert_eq!(path.poll_timeout(), Some(MS(305)));
        assert_eq!(path.handle_timeout(MS(305), TIMES), PathEffect::Stayed);
        assert_eq!(path.poll_timeout(), None);
    }

    #[test]
    fn one_candidate_at_a_time_and_one_per_round_trip() {
        let mut path = settled();
        let _ = packet(&mut path, AWAY, true, 5);
        assert_eq!(packet(&mut path, REBOUND, true, 6), PathEffect::None);
        assert_eq!(packet(&mut path, OLD, true, 7), PathEffect::Stayed);
        assert_eq!(packet(&mut path, REBOUND, true, 44), PathEffect::None);
        assert_eq!(packet(&mut path, REBOUND, true, 45), PathEffect::Challenge { to: REBOUND, octets: [7; 8] });
        assert_eq!(packet(&mut path, AWAY, false, 90), PathEffect::None, "not the highest");
    }

    #[test]
    fn an_unproven_address_is_never_returned_to() {
        let mut path = Path::new(OLD);
        let _ = packet(&mut path, AWAY, true, 5);
        let _ = path.on_response(AWAY, [7; 8], MS(50), TIMES);
        assert_eq!(packet(&mut path, OLD, true, 60), PathEffect::Challenge { to: OLD, octets: [7; 8] });
    }
}
