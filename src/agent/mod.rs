//! The edge to the operating system: what a chain talks to, and how descriptors are driven.
//!
//! [`peer`] names the other side of an agent and looks host names up.

pub mod peer;
