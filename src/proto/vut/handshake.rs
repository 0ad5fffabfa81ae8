//! The handshake: both sides send the same hello at once, neither is client or server.
//!
//! | phase | the peer's hello | our hello acknowledged | means |
//! |---|---|---|---|
//! | calling | heard | acknowledged | we know nothing of the peer |
//! | heard | heard | valid | its hello is here; ours may be lost |
//! | acknowledged | valid | acknowledged | it has our hello; its own may be lost |
//! | valid | valid | valid | data may go both ways |
//!
//! The table reads: in this phase, this event leads to that phase.
//!
//! Our hello is repeated after 100 ms, then at twice the distance each time, up to 2 s: behind NATs the first one is usually
//! lost. It is repeated at once when the peer's hello comes and ours is not acknowledged, because it carries the acknowledgement, and
//! also while only the peer's hello is missing: a peer of the old kind repeats its own when it sees ours. After the time of
//! [`Config::handshake`](super::Config::handshake) we give up; a side that was told a wrong address sends about 20 small datagrams there.

use super::{FIRST_END, HELLO};
use crate::proto::time::Time;
use std::time::Duration;

/// How far the handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Calling,
    Heard,
    Acknowledged,
    Valid,
}

/// What moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The peer's hello, whole and alone.
    Hello,
    /// An acknowledgement of ours.
    Acknowledged,
}

impl Phase {
    pub(crate) fn after(self, sign: Sign) -> Self {
        match (self, sign) {
            (Self::Calling | Self::Heard, Sign::Hello) => Self::Heard,
            (Self::Calling | Self::Acknowledged, Sign::Acknowledged) => Self::Acknowledged,
            (Self::Heard, Sign::Acknowledged) | (Self::Acknowledged, Sign::Hello) | (Self::Valid, _) => Self::Valid,
        }
    }

    /// The peer's hello is here.
    pub(crate) fn has_heard(self) -> bool {
        matches!(self, Self::Heard | Self::Valid)
    }
}

/// Data that comes before the peer's hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// The hello.
    Hello,
    /// A hello of a kind that we do not know, or one that is not alone: nothing can come of it.
    Foreign,
    /// Something else, too early.
    Early,
}

impl First {
    pub(crate) fn of(seq: u64, data: &[u8]) -> Self {
        let name = &HELLO[..14]; // without the version
        match seq {
            0 if data == HELLO => Self::Hello,
            0 if data.starts_with(name) => Self::Foreign,
            _ => Self::Early,
        }
    }
}

/// The time of the next hello, and of giving up.
#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    phase: Phase,
    hello_at: Time,
    distance: Duration,
    deadline: Time,
    first_at: Option<Time>,
}

impl Handshake {
    const FIRST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(2);

    pub(crate) fn new(now: Time, patience: Duration) -> Self {
        Self { phase: Phase::Calling, hello_at: now, distance: Self::FIRST, deadline: now + patience, first_at: None }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.phase == Phase::Valid
    }

    /// True if this made both sides known to each other.
    pub(crate) fn handle(&mut self, now: Time, sign: Sign) -> bool {
        let before = self.phase;
        self.phase = before.after(sign);
        if sign == Sign::Hello && self.phase == Phase::Heard {
            self.hello_at = now;
        }
        before != self.phase && self.is_valid()
    }

    /// When the next hello leaves.
    pub(crate) fn hello_due(&self) -> Option<Time> {
        (!self.is_valid()).then_some(self.hello_at)
    }

    /// Hellos have left since then, without this: the first answer may be to any of them.
    pub(crate) fn on_called(&mut self, first_at: Time) {
        self.first_at = Some(first_at);
    }

    pub(crate) fn on_hello_sent(&mut self, now: Time) {
        self.first_at = self.first_at.or(Some(now));
        self.hello_at = now + self.distance;
        self.distance = (self.distance * 2).min(Self::MOST);
    }

    /// When the first hello left.
    pub(crate) fn first_at(&self) -> Option<Time> {
        self.first_at
    }

    /// When we give up.
    pub(crate) fn deadline(&self) -> Option<Time> {
        (!self.is_valid()).then_some(self.deadline)
    }
}

const _: () = assert!(HELLO.len() as u64 <= FIRST_END);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_is_counted_from_the_first_hello_whoever_sent_it() {
        let mut handshake = Handshake::new(Time::ZERO, Duration::from_secs(30));
        handshake.on_called(Time::ZERO);
        handshake.on_hello_sent(Time::from_millis(100));
        assert_eq!(handshake.first_at(), Some(Time::ZERO));
    }

    #[test]
    fn the_table_of_phases() {
        use Phase::*;
        let table = [
            (Calling, Heard, Acknowledged),
            (Heard, Heard, Valid),
            (Acknowledged, Valid, Acknowledged),
            (Valid, Valid, Valid),
        ];
        for (from, hello, acknowledged) in table {
            assert_eq!(from.after(Sign::Hello), hello);
            assert_eq!(from.after(Sign::Acknowledged), acknowledged);
        }
    }

    #[test]
    fn hellos_come_quickly_at_first_and_about_twenty_in_all() {
        let mut handshake = Handshake::new(Time::ZERO, Duration::from_secs(30));
        let mut at = Vec::new();
        while let Some(due) = handshake.hello_due().filter(|due| *due < handshake.deadline) {
            at.push(due.since_start().as_millis());
            handshake.on_hello_sent(due);
        }
        assert_eq!(at[..6], [0, 100, 300, 700, 1500, 3100]);
        assert!((15..=22).contains(&at.len()), "{}", at.len());
    }

    #[test]
    fn the_hello_of_the_peer_is_answered_at_once_with_ours() {
        let mut handshake = Handshake::new(Time::ZERO, Duration::from_secs(30));
        handshake.on_hello_sent(Time::ZERO);
        assert!(!handshake.handle(Time::from_millis(10), Sign::Hello));
        assert_eq!(handshake.hello_due(), Some(Time::from_millis(10)));
        assert!(handshake.handle(Time::from_millis(20), Sign::Acknowledged));
        assert_eq!((handshake.hello_due(), handshake.deadline()), (None, None));
        assert!(!handshake.handle(Time::from_millis(30), Sign::Hello), "only once");
    }

    #[test]
    fn only_the_whole_hello_alone_is_one() {
        assert_eq!(First::of(0, HELLO), First::Hello);
        assert_eq!(First::of(0, b"VUDPTransport-0.8xx"), First::Foreign);
        assert_eq!(First::of(0, b"VUDPTransport-1.0"), First::Foreign);
        assert_eq!(First::of(0, b"V"), First::Early, "a ping of someone that is further");
        assert_eq!(First::of(0, &HELLO[..10]), First::Early);
        assert_eq!(First::of(17, HELLO), First::Early);
    }
}
