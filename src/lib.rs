//! I/O as chains of actix actors under credit.

pub mod agent;
pub mod component;
pub mod proto;
pub mod supervisor;
#[cfg(feature = "cli")]
pub mod tool;
