//! Settings, each with where its default comes from.

use super::congestion::{MakeController, NewReno};
use std::time::Duration;

/// What one connection is set up with. The defaults are those of the specification's rules.
#[derive(Clone, Debug)]
pub struct Config {
    /// An idle connection pings this often, so that bindings of NATs, often 30 s or less, stay alive: 15 s. None: no pings
    /// while idle, and a peer that vanishes is noticed only when something is owed.
    pub keep_alive: Option<Duration>,
    /// The handshake takes at most this long: 30 s.
    pub handshake: Duration,
    /// Without an authentic datagram for this long, while something is owed or pings run, the peer is gone: 60 s.
    pub dead_peer: Duration,
    /// While closing, for how long nothing may come of it before we go on without: 30 s. Each answer and each sign that the peer's
    /// application reads on begins it anew.
    pub close: Duration,
    /// From all being acknowledged (and read, as far as that can be seen) to our close: 50 ms. A peer of the old kind loses what it
    /// has acknowledged and not delivered when it sees the close.
    pub close_pause: Duration,
    /// How long a close of the peer may wait for data that is missing while nothing new comes, before it counts as an abort: 5 s.
    pub missing: Duration,
    /// How long late datagrams are answered after both directions have ended: 10 s.
    pub linger: Duration,
    /// Octets that may be written and not yet acknowledged, whatever the peer grants: 8 MiB, 640 Mbit/s at 100 ms.
    pub send_buffer: u64,
    /// Segments that may wait for an earlier one: 16,384, about 8 MiB in full ones. More are dropped, and come again.
    pub queued_segments: usize,
    /// Congestion control.
    pub controller: MakeController,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keep_alive: Some(Duration::from_secs(15)),
            handshake: Duration::from_secs(30),
            dead_peer: Duration::from_secs(60),
            close: Duration::from_secs(30),
            close_pause: Duration::from_millis(50),
            missing: Duration::from_secs(5),
            linger: Duration::from_secs(10),
            send_buffer: 8 << 20,
            queued_segments: 16_384,
            controller: NewReno::make,
        }
    }
}
