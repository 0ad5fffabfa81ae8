//! VUT: a reliable, ordered, two-way stream of octets over UDP, without I/O.

pub mod wire;
