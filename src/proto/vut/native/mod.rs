//! The native profile of VUT: what two peers speak that both understand it. To the byte in `docs/vut-native.md`.
//!
//! Each part is a value of its own: no clock, no I/O, no randomness of its own. A [`Connection`](connection::Connection) joins them:
//!
//! ```text
//!   datagram ──▶ classify ──▶ Switch: is it for this profile?
//!                   │ N ──▶ Handshake ── a packet opens ──▶ Settled
//!                   │ P ──▶ Opener: number, AEAD, replay ──▶ Frames ──▶ Acks, Ledger, Path, streams
//!
//!   streams, Acks, Path, MtuSearch ──▶ FrameWriter ──▶ Sealer: number, AEAD, mask ──▶ datagram
//!                                                        └──▶ Ledger: arrived, lost, probe
//! ```
//!
//! | question | part |
//! |---|---|
//! | who is who, and are the secrets fit for use | [`role`] |
//! | native, 0.8, or an attack | [`switch`] |
//! | what does the peer offer | [`negotiation`] |
//! | which of several offers is the peer's | [`handshake`] |
//! | which keys | [`keys`] |
//! | how does a packet look, when does its key wear out | [`packet`] |
//! | was it here before | [`replay`] |
//! | what is in it | [`frames`] |
//! | what is acknowledged when | [`acks`] |
//! | what arrived, what is lost | [`loss`] |
//! | what of our stream leaves next, what of the peer's is taken | `send`, `receive` |
//! | how a direction ends | `close` |
//! | where is the peer | [`path`] |
//! | how large may a datagram be | [`mtu`] |
//! | does the path carry congestion marks | [`ecn`] |

pub mod acks;
mod blocks;
mod close;
pub mod connection;
pub mod control;
pub mod ecn;
pub mod frames;
pub mod handshake;
pub mod keys;
pub mod loss;
pub mod mtu;
pub mod negotiation;
pub mod packet;
pub mod path;
mod ranges;
mod receive;
pub mod replay;
pub mod role;
mod send;
pub mod switch;
