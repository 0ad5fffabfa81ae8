//! The seven control messages of the seed.
//!
//! | message | sent to | a missing handler means |
//! |---|---|---|
//! | [`Authorize`] | the consumer | authorized |
//! | [`CanConnect`] | the consumer | allowed |
//! | [`Connected`] | the consumer | nobody cares |
//! | [`ConsumerAttached`] | the producer's chain | nobody cares |
//! | [`ProducerAttached`] | the consumer's chain | nobody cares |
//! | [`RequestProducerState`] | the producer | nothing is pending |
//! | [`RequestConsumerState`] | the consumer | nothing is pending |

use super::Control;
use crate::component::{ComponentInfo, Peer};
use bytes::Bytes;
use std::sync::Arc;

/// May a connection with these credentials proceed? Asked by a secure channel after its handshake. Each part is optional.
#[derive(Clone, Debug, Default)]
pub struct Authorize {
    /// The peer's public key, in DER.
    pub key: Option<Bytes>,
    /// The peer's certificates, in DER, the peer's own first. Empty if there are none.
    pub certificates: Vec<Bytes>,
    /// The identity that the peer assumes, as a distinguished name.
    pub identity: Option<String>,
    /// The protocol that the peer used, such as `TLS`.
    pub protocol: Option<String>,
}

impl Control for Authorize {
    /// True if authorized.
    type Reply = bool;
}

/// May a connection to this peer be made? Asked by an agent before it connects.
#[derive(Clone, Debug)]
pub struct CanConnect {
    /// Whom.
    pub peer: Peer,
}

impl Control for CanConnect {
    /// True if it may.
    type Reply = bool;
}

/// The end of the chain is connected to this peer. Told after connecting, and again to whoever sends
/// [`RequestProducerState`].
#[derive(Clone, Debug)]
pub struct Connected {
    /// Whom.
    pub peer: Peer,
}

impl Control for Connected {
    type Reply = ();
}

/// A consumer was attached somewhere down the chain. Travels against the data.
#[derive(Clone, Debug)]
pub struct ConsumerAttached {
    /// Which.
    pub consumer: Arc<ComponentInfo>,
}

impl Control for ConsumerAttached {
    type Reply = ();
}

/// A producer was attached somewhere up the chain. Travels with the data.
#[derive(Clone, Debug)]
pub struct ProducerAttached {
    /// Which.
    pub producer: Arc<ComponentInfo>,
}

impl Control for ProducerAttached {
    type Reply = ();
}

/// Tell the asking consumer what it may have missed, such as [`Connected`]. Travels against the data.
#[derive(Clone, Debug)]
pub struct RequestProducerState {
    /// Who asks.
    pub consumer: Arc<ComponentInfo>,
}

impl Control for RequestProducerState {
    type Reply = ();
}

/// Tell the asking producer what it may have missed. Travels with the data.
#[derive(Clone, Debug)]
pub struct RequestConsumerState {
    /// Who asks.
    pub producer: Arc<ComponentInfo>,
}

impl Control for RequestConsumerState {
    type Reply = ();
}
