//! The native profile of VUT: what two peers speak that both understand it. To the byte in `docs/vut-native.md`.

pub mod acks;
pub mod control;
pub mod frames;
pub mod handshake;
pub mod keys;
pub mod loss;
pub mod mtu;
pub mod negotiation;
pub mod packet;
pub mod path;
pub mod replay;
pub mod role;
pub mod switch;
