//! I/O as chains of actix actors under credit: sources, filters, sinks, sockets, files and child processes are actors, joined
//! by links on which a consumer says how much it takes.
//!
//! It is for proxies, gateways, tunnels and ingest pipelines on actix. Actix has no back-pressure between actors: a mailbox
//! takes all that is sent to it, and a `FramedWrite` accepts everything while its peer does not read, and loses what it
//! holds when it is dropped (actix issues 14 and 328). Here the memory of a chain is bounded from end to end however fast
//! its source is, a loss is always told, and a chain is taken down as a whole when a part of it fails.
//!
//! ```text
//!               Consume(item) ──▶               Consume(item) ──▶
//!   ┌────────┐                      ┌────────┐                      ┌────────┐
//!   │ source │ outlet ─────── inlet │ filter │ outlet ─────── inlet │  sink  │
//!   │ socket │                      │        │                      │  file  │
//!   └────────┘                      └────────┘                      └────────┘
//!             ◀── CanProduce(limit)           ◀── CanProduce(limit)
//!
//!   a supervisor attaches, detaches, watches and aborts; no data passes through it
//! ```
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | component | an actor with at least one port |
//! | producer, consumer | a component seen from its outlet, from its inlet |
//! | outlet, inlet | the port that sends, the port that receives; each is attached to one link at most |
//! | link | one attachment of an outlet to an inlet, with a process-wide [`LinkId`](proto::link::LinkId) |
//! | payload | what a link carries: [`Bytes`](bytes::Bytes), counted in bytes, or any other item, counted as 1 |
//! | limit, credit | what the consumer accepts in all since the attachment; what is left of it |
//! | pair | the inlet and the outlet of one two-way component, such as a socket |
//! | flow | the way inside a component, from its inlets to its outlets |
//! | chain | all components that links and flows join |
//! | part | a plain struct that a stock actor runs as a component |
//! | agent | a component whose other side is the operating system |
//! | control message | a typed question that travels along a chain, outside the data's credit |
//!
//! # A program
//!
//! A file is copied by two agents and a link. The copy is complete when the end of the second says so.
//!
//! ```
//! use versile_io::agent::file;
//! use versile_io::component::{join, stock::Duplex as _};
//!
//! #[actix::main]
//! async fn main() {
//!     let copy = std::env::temp_dir().join("versile-io-lib-example");
//!     let (from, _) = file::read("Cargo.toml", file::ReadOptions::default()).start();
//!     let (to, done) = file::write(&copy, file::WriteOptions::default()).start();
//!     join(&from.outlet, &to.inlet, None);
//!     let (_, outcome) = done.await;
//!     assert!(outcome.is_clean(), "{outcome}");
//!     # std::fs::remove_file(copy).expect("there");
//! }
//! ```
//!
//! # Where to read on
//!
//! 1. [`component::stock`]: parts, the easiest way to write a component; [`component::writer`] to write from any code.
//! 2. [`agent`]: TCP, Unix sockets, descriptors, files, child processes, listeners.
//! 3. [`component::join()`] and [`supervisor`]: how chains are made, watched and ended.
//! 4. [`component::control`]: questions along a chain.
//! 5. [`wire!`]: an actor of your own with ports.
//! 6. [`proto::link`]: the protocol itself, without a runtime.
//!
//! In the repository: `examples/` by goal, `docs/writing-a-component.md`, `docs/rules.md` (the numbered rules that the code
//! cites), `docs/architecture.md` (the map of the code) and `docs/from-versile.md` (for who knows Versile's reactor I/O).
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | none | the library |
//! | `cli` | the module `tool` and the program `vio` |
//! | `vut` | the module `proto::vut`: a reliable stream over UDP, without I/O |
//! | `testkit` | the module `testkit`: probes and conformance for tests of components; `proto::sim`: a link in virtual time |
//! | `vut` | `proto::vut`: a reliable stream over UDP, without I/O |

pub mod agent;
pub mod component;
pub mod proto;
pub mod supervisor;
#[cfg(feature = "testkit")]
pub mod testkit;
#[cfg(feature = "cli")]
pub mod tool;

/// The documents' examples, run as doctests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/writing-a-component.md")]
    mod writing_a_component {}
}
