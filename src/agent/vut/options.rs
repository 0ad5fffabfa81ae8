//! What a VUT stream is set up with.

use super::udp::Batching;
use crate::agent::resolve::Preference;
use crate::agent::stream::StreamSettings;
use crate::proto::vut::Config;
use std::net::SocketAddr;

/// Options of a VUT stream.
#[derive(Clone, Debug, Default)]
pub struct VutOptions {
    /// Where to send from, for a stream with a socket of its own: the address that the peer knows us by. `None`: any free
    /// port, which a peer can know only if a NAT or somebody else tells it.
    pub bind: Option<SocketAddr>,
    /// Which of the peer's addresses is taken, if a look-up gives several and `bind` does not decide.
    pub preference: Preference,
    /// Keep-alive, time limits, the send buffer and congestion control. Its `send_buffer` bounds what is held for the peer
    /// beside the window of `stream`.
    pub config: Config,
    /// What becomes of an end that is not proven.
    pub unproven: Unproven,
    /// How datagrams are moved, for a stream with a socket of its own.
    pub batching: Batching,
    /// What all streams have in common. Its window is what may wait for the peer's grant; what the peer may send us follows the
    /// consumer's grant, and needs no window here.
    pub stream: StreamSettings,
}

/// Whether the end of the peer's stream counts as clean where the protocol cannot prove it. With a 0.8 peer no end is ever proven:
/// an abort can look like one, and what is acknowledged may not have been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unproven {
    /// As with TCP, where the end of a process looks like the end of its data. What must be whole needs a length or a hash of its own.
    #[default]
    Accept,
    /// The data counts as incomplete (rule E1).
    Refuse,
}
