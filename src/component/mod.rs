//! How an actor takes part in a chain.
//!
//! Ports are values *inside* an actor: it owns an [`Inlet`] for each input and an [`Outlet`] for each output, and
//! [`wire!`](crate::wire) writes the message handlers around them. The mailbox is not the protocol; the ports are.
//!
//! # Order, wake-up and turns
//!
//! * A message that was sent first is handled first; a port counts it in the handler at once (rules P4, P6).
//! * Grants leave at the end of the actor's turn, from a one-shot future, never from inside a handler: actix handles a
//!   mailbox until it is empty, so a consumer that granted at once would be refilled while it drains (rule F1).
//! * Only [`port`] sends on a link.
//!
//! # Ownership
//!
//! An outlet holds its consumer strongly, an inlet its producer weakly. A port that has something left to do holds its
//! own actor. So a live chain outlasts its handles, and an abandoned one ends. A terminal message carries the sender's
//! hold on the receiver with it, so that the receiver cannot end between the hold being dropped and the message being
//! handled (actix stops an actor without handles as soon as it finds its mailbox empty).

pub mod address;
pub mod block;
pub mod budget;
mod busy;
pub mod census;
pub mod channel;
pub mod control;
pub mod drive;
mod feed;
pub mod identity;
pub mod join;
pub mod link;
pub mod message;
pub mod peer;
pub mod port;
pub mod stock;
mod wire;
pub mod writer;

pub use address::{AddrExt, InletRef, OutletRef, PairRef};
pub use drive::{Component, HasInlet, HasOutlet};
pub use identity::{ComponentId, ComponentInfo};
pub use join::{join, join_pair};
pub use message::{InletEvent, OutletEvent};
pub use peer::Peer;
pub use port::{Inlet, Outlet};
