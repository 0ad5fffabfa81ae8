//! The edge to the operating system: stream agents, listeners, and the low level for a custom descriptor.
//!
//! ```text
//!   tcp · unix · fd · file · process      opening and options; each gives a Stream
//!                  │
//!               Stream ── Duplex actor    one loop for all: reads bounded by credit, vectored writes
//!                  │
//!                 io                      sockets, descriptors that can be waited on, files that cannot
//!
//!   vut                                   a Stream too: its io is a connection of a UDP socket's task
//!
//!   listener                              accepts, and hands each connection to a factory on an arbiter
//!   spill                                 a buffer that goes on in a file
//!   handle                                a trait of read, write and close hooks, and an actor that drives them
//! ```
//!
//! A [`Stream`](stream::Stream) is a part: `start` it ([`Duplex::start`](crate::component::stock::Duplex::start)) for its ports.

pub mod fd;
pub mod file;
#[cfg(unix)]
pub mod handle;
mod io;
pub mod listener;
pub mod process;
mod queue;
pub mod resolve;
#[cfg(unix)]
pub mod spill;
pub mod stream;
pub mod tcp;
pub mod unix;
#[cfg(feature = "vut")]
pub mod vut;
