//! I/O as chains of actix actors under credit.

pub mod component;
pub mod proto;
#[cfg(feature = "cli")]
pub mod tool;
