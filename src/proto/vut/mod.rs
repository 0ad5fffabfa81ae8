//! VUT: a reliable, ordered stream over UDP between two peers that know each other's address and a pair of secrets.

pub mod native;
