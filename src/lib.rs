//! I/O as chains of actix actors under credit.

pub mod agent;
