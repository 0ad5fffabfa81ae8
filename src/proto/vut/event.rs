//! What an owner is told, and the errors of what it asks for.

use super::closing::Proof;
use bytes::Bytes;
use thiserror::Error;

/// Something happened that the owner may act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Both sides know each other; data may go both ways.
    Connected,
    /// There was nothing to read, and now there is.
    Readable,
    /// More may be written: the limit counts octets from the start of our stream.
    Credit {
        /// The cumulative limit.
        limit: u64,
    },
    /// The peer's stream has ended, and all of it was read.
    PeerEnded(Proof),
    /// The peer stopped reading: what was not sent is dropped, and nothing can be written any more.
    PeerStopped,
    /// Our stream has ended, and the peer acknowledged its end.
    Finished(Proof),
    /// Nothing goes either way any more. The last event. Late datagrams are still answered: go on calling until
    /// [`Connection::is_gone`](super::Connection::is_gone).
    Closed(CloseReason),
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// Both streams came to their ends.
    #[error("both streams ended")]
    Ended {
        /// What is known about the end of what we sent.
        sent: Proof,
        /// What is known about the end of what we received.
        received: Proof,
    },
    /// By [`Connection::abort`](super::Connection::abort).
    #[error("aborted")]
    Aborted,
    /// By the peer: it said so, or it ended both directions with data missing.
    #[error("aborted by the peer{}", why(*code))]
    AbortedByPeer {
        /// The code of its ABORT, of which docs/vut-native.md names four. The 0.8 profile has none.
        code: Option<u64>,
    },
    /// No handshake in the time for it.
    #[error("no answer from the peer")]
    NoAnswer,
    /// The peer speaks another version.
    #[error("the peer's hello is of another version")]
    Foreign,
    /// Nothing was heard of the peer for too long.
    #[error("the peer is gone")]
    PeerGone,
    /// The peer did not answer our close.
    #[error("the peer did not answer the close")]
    CloseUnanswered,
    /// We speak only the native profile, and a hello came that does not.
    #[error("no answer from the peer in the native profile; it seems to know only VUT 0.8")]
    OnlyLegacy,
    /// The peer is native, but somebody answered in its place as if it were not: a recorded hello. Use mode native, or new secrets.
    #[error("somebody tried to talk the connection down to VUT 0.8")]
    Downgraded,
    /// The peer, which is authentic, broke the protocol.
    #[error("the peer broke the protocol")]
    Violation,
    /// A key or the packet numbers are used up, which only a peer that acknowledges nothing, or an attack, brings about.
    #[error("the keys of the connection are used up")]
    WornOut,
}

impl CloseReason {
    /// True if both streams came to their ends, proven or not.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Ended { .. })
    }
}

/// What an ABORT's code adds to its being one.
fn why(code: Option<u64>) -> String {
    match code {
        // its application's wish, or nothing said
        None | Some(0) => String::new(),
        Some(1) => ": it says that we broke the protocol".into(),
        Some(2) => ": its keys are used up".into(),
        Some(3) => ": it had not heard of us for too long".into(),
        Some(other) => format!(", code {other}"),
    }
}

/// Why data was not taken; it comes back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// More than the limit allows: wait for [`Event::Credit`].
    #[error("beyond the peer's grant")]
    NoCredit(Bytes),
    /// Our stream was ended, by us or by the peer, or the connection is over.
    #[error("the stream was ended")]
    Ended(Bytes),
}

impl WriteError {
    /// The data.
    pub fn into_inner(self) -> Bytes {
        match self {
            Self::NoCredit(data) | Self::Ended(data) => data,
        }
    }
}
