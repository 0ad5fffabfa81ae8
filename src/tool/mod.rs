//! What the command-line tool `vio` is made of: read the command line, then plan, then run.
//!
//! | module | answers |
//! |---|---|
//! | [`address`] | what does `tcp:example.org:80,nodelay` mean? |
//! | [`args`] | what was asked for, and can it be done at all? |
//! | [`via`] | what does the data pass on its way? |
//! | [`size`] | how does a person write `64KiB` and `500ms`? |
//! | [`manual`] | the manual page and the shell completions |
//! | [`exit`] | what does the shell learn at the end? |
//! | `plan` | which agents does an address stand for? |
//! | `secret` | what is in a secret file, and may it be used? |
//! | [`run`] | chains, interrupts, and how it went |
//! | `progress`, `report` | what is told meanwhile, and at the end |
//!
//! Nothing above `plan` opens anything: text goes in, values come out. The tables of kinds, options and exit codes stand once,
//! and the help text, the manual page and the error messages are all written from them.

pub mod address;
pub mod args;
pub mod exit;
pub mod manual;
pub mod run;
pub mod size;
pub mod via;

mod hash;
mod help;
mod inherited;
mod plan;
mod progress;
mod report;
mod secret;
mod suggest;
