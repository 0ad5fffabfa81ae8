//! VUT: a reliable, ordered, two-way stream of octets over UDP, without I/O.

pub mod congestion;
pub mod native;
pub mod pacer;
pub mod rtt;
pub mod wire;
