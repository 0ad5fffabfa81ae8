//! The edge to the operating system: what a chain talks to, and how descriptors are driven.
//!
//! [`peer`] names the other side of an agent and looks host names up. [`handle`] is the low level for a custom
//! descriptor: a trait with read, write and close hooks, and an actor that waits for readiness and calls them.

#[cfg(unix)]
pub mod handle;
pub mod peer;
