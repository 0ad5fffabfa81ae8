//! The end of each direction, as two small machines, and what is said after both.
//!
//! **Output**, what we send:
//!
//! | state | event | next |
//! |---|---|---|
//! | open | the writer ends | draining: the rest is sent, no close yet |
//! | draining | all is acknowledged | reading: pings each second until the peer's end shows that all was read, as far as it can |
//! | reading | its end shows that, or showed nothing new for [`Config::close`](super::Config::close) | pause |
//! | pause | [`Config::close_pause`](super::Config::close_pause) later | closing: a close without data, then closes on old data with back-off |
//! | open to pause | the peer says that it stopped reading | what was not sent is dropped; draining |
//! | open to closing | it has ended both, and is not heard of for [`Config::missing`](super::Config::missing) | aborted by the peer |
//! | closing | its acknowledgement of our close, with all acknowledged | done |
//! | closing | nothing is heard for [`Config::close`](super::Config::close) | if the peer's stream had ended: done, it is gone; else given up |
//!
//! A close never travels with new data: peers of the old kind lose what they have not delivered when they see it.
//!
//! **Input**, what we receive:
//!
//! | state | event | next |
//! |---|---|---|
//! | open | a close at `p` | ending(p); below what is here: ignored |
//! | ending(p) | all up to `p` was read | done: the owner knows, the peer is told on everything from now on |
//! | ending(p) | data is missing, and nothing new comes for [`Config::missing`](super::Config::missing) after the peer ended both | aborted by the peer |
//!
//! **After both**: the last datagram three times in all, a time-out apart, and answers to late ones for [`Config::linger`](super::Config::linger).

use crate::proto::time::Time;
use std::time::Duration;

/// What is known about an end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proof {
    /// It cannot be anything but the end that the writer made, and everything before it was read.
    Proven,
    /// It looks like one. In VUT 0.8 an abort can look the same, and a peer of the old kind acknowledges what its application
    /// may never read. What must be whole needs a length or a hash of its own.
    Unproven,
}

/// How far our stream's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Open,
    Draining,
    /// Waits for the peer's end to rise; `since` the last time that it did.
    Reading {
        since: Time,
    },
    Pause {
        until: Time,
    },
    /// The close was said `tries` times, and is next at `next_at`. Something was heard at `heard_at`.
    Closing {
        tries: u32,
        next_at: Time,
        heard_at: Time,
    },
    Done,
}

impl Output {
    /// Everything that is sent from now on says where the stream ends.
    pub(crate) fn says_close(self) -> bool {
        matches!(self, Self::Closing { .. } | Self::Done)
    }

    /// The writer may still write.
    pub(crate) fn is_open(self) -> bool {
        self == Self::Open
    }
}

/// How far the peer's stream's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Open,
    /// The peer told where its stream ends. `since` is when something new last came.
    Ending {
        since: Time,
    },
    Done,
}

/// What the peer has said with flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) close: bool,
    /// Both in one datagram.
    pub(crate) both: bool,
}

/// Ends that the windows of a peer of the old kind take: what can be told of its reader from them.
///
/// It says only multiples of a fifth of its buffer, and moves its end when it has read as much. Other peers do not, and then
/// nothing can be told and nothing is waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Steps {
    seen: Seen,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Seen {
    /// No end beyond that of the handshake.
    #[default]
    Nothing,
    /// All ends so far were multiples of this step.
    Multiples(u64),
    /// Some were not.
    Other,
}

impl Steps {
    /// The step of both existing peers with their default buffers, 65,536 and 65,535 octets.
    const DEFAULT: u64 = super::send::STEP;
    const DEFAULT_BUFFER: u64 = 65_536;
    /// A first end beyond this is not that of a buffer.
    const LARGEST_BUFFER: u64 = 64 << 20;

    pub(crate) fn on_end(&mut self, end: u64) {
        if end <= super::FIRST_END {
            return;
        }
        self.seen = match self.seen {
            Seen::Nothing if end.is_multiple_of(Self::DEFAULT) => Seen::Multiples(Self::DEFAULT),
            Seen::Nothing if end.is_multiple_of(5) && end <= Self::LARGEST_BUFFER => Seen::Multiples(end / 5),
            Seen::Multiples(step) if end.is_multiple_of(step) => Seen::Multiples(step),
            Seen::Nothing | Seen::Multiples(_) | Seen::Other => Seen::Other,
        };
    }

    /// The peer has had ends like those of the existing peers with their default buffers, and no other.
    pub(crate) fn is_default(self) -> bool {
        self.seen == Seen::Multiples(Self::DEFAULT)
    }

    /// The highest end that the peer can have when everything before position `n` was read; 0 if that is not known.
    pub(crate) fn highest(self, n: u64) -> u64 {
        match self.seen {
            Seen::Nothing | Seen::Other => 0,
            Seen::Multiples(step) => {
                let buffer = if step == Self::DEFAULT { Self::DEFAULT_BUFFER } else { 5 * step };
                (n + buffer) / step * step
            }
        }
    }
}

/// After both ends: what is still said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Linger {
    pub(crate) until: Time,
    pub(crate) left: u32,
    pub(crate) next_at: Time,
}

impl Linger {
    /// The last datagram is said three times in all, so twice again.
    const AGAIN: u32 = 2;

    pub(crate) fn new(now: Time, length: Duration, distance: Duration) -> Self {
        Self { until: now + length, left: Self::AGAIN, next_at: now + distance }
    }

    pub(crate) fn due(&self) -> Option<Time> {
        (self.left > 0).then_some(self.next_at)
    }

    pub(crate) fn on_sent(&mut self, now: Time, distance: Duration) {
        self.left = self.left.saturating_sub(1);
        self.next_at = now + distance;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(ends: &[u64]) -> Steps {
        let mut steps = Steps::default();
        ends.iter().for_each(|end| steps.on_end(*end));
        steps
    }

    #[test]
    fn what_a_default_peer_shows_when_it_has_read_all() {
        let peer = steps(&[128, 65_535, 78_642]);
        assert!(peer.is_default());
        assert_eq!(peer.highest(17 + 500), 65_535, "less than a step shows nothing");
        assert_eq!(peer.highest(13_107), 78_642);
        assert_eq!(peer.highest(8000 + 17), 65_535);
        assert_eq!(peer.highest(20_000_017), (20_000_017 + 65_536) / 13_107 * 13_107);
    }

    #[test]
    fn another_buffer_shows_its_own_step_and_other_peers_show_nothing() {
        assert_eq!(steps(&[1000, 1200]).highest(3017), 4000);
        assert!(!steps(&[1000]).is_default());
        assert_eq!(steps(&[65_535, 65_600]).highest(100_000), 0);
        assert_eq!(steps(&[262_161]).highest(100_000), 0);
        assert_eq!(steps(&[128]).highest(100), 0);
    }
}
