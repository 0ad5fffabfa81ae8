//! What a VUT stream is set up with.

use super::udp::Batching;
use crate::agent::resolve::Preference;
use crate::agent::stream::StreamSettings;
use crate::proto::vut::{Config, Mode, Setup};
use std::net::SocketAddr;

/// Options of a VUT stream.
#[derive(Clone, Debug)]
pub struct VutOptions {
    /// Which profiles are spoken. [`Mode::Native`] unless it is set: it is safe with secrets that are used again. For a peer of the 0.8
    /// profile: [`Mode::Compat`], or [`Mode::Auto`] where it is not known what the peer speaks.
    pub mode: Mode,
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
    /// Names what the connection is for, up to 65,535 octets. Both sides give the same; it may be empty. Only in the native profile.
    pub context: Vec<u8>,
    /// The largest datagram, as UDP payload, in the native profile: [`Setup::LARGEST`] unless it is set. Sizes up to it are tried on the path.
    pub largest: u16,
    /// How datagrams are moved, for a stream with a socket of its own.
    pub batching: Batching,
    /// What all streams have in common. Its window is what may wait for the peer's grant; what the peer may send us follows the
    /// consumer's grant, and needs no window here.
    pub stream: StreamSettings,
}

impl Default for VutOptions {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            bind: None,
            preference: Preference::default(),
            config: Config::default(),
            unproven: Unproven::default(),
            context: Vec::new(),
            largest: Setup::<SocketAddr>::LARGEST,
            batching: Batching::default(),
            stream: StreamSettings::default(),
        }
    }
}

/// Whether the end of the peer's stream counts as clean where it is not proven. In the native profile each clean end is proven. With a 0.8 peer none ever is:
/// an abort can look like one, and what is acknowledged may not have been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unproven {
    /// As with TCP, where the end of a process looks like the end of its data. What must be whole needs a length or a hash of its own.
    #[default]
    Accept,
    /// The data counts as incomplete (rule E1).
    Refuse,
}
