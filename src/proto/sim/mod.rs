//! Two ends of a link in virtual time, under a seeded schedule; and, in [`net`], a network for datagrams.
//!
//! A [`Pair`] holds one outlet and one or more inlets, the mail between them, and the part of a supervisor that attaches
//! and detaches. Nothing happens by itself: the test says what the owners want ([`Pair::push`], [`Pair::release`],
//! [`Pair::abort`] and so on), and [`Pair::step`] delivers the letter that is due next. The same seed gives the same run.
//!
//! Letters of one direction between two nodes keep their order, as in a mailbox; everything else is reordered freely by
//! random delays. With delays of zero every order that mailboxes allow is equally likely.
//!
//! What happened is kept as a list of [`Event`]s, from which an oracle can judge a run without asking the code under test,
//! and which prints as a ladder. A run that panics prints its seed and its ladder by itself.
//!
//! ```
//! use bytes::Bytes;
//! use versile_io::proto::link::{Inlet, Window};
//! use versile_io::proto::sim::{Delays, Pair};
//!
//! let mut pair = Pair::new(7, Delays::millis(1, 40), vec![Inlet::new(Window::of(4))]);
//! pair.attach(0).expect("both ports are free");
//! pair.push(Bytes::from_static(b"hello")).expect("taken");
//! pair.end(true);
//! pair.drive_bounded(100);
//! assert_eq!(pair.record(0).arrived, b"hell", "the window is 4");
//! pair.settle(100);
//! assert_eq!(pair.record(0).arrived, b"hello");
//! ```

#[cfg(feature = "vut")]
pub mod flow;
pub mod net;
mod pair;
mod schedule;
mod trace;

pub use pair::{Pair, TransactionError};
pub use schedule::{Delays, Rng};
pub use trace::{Event, Fate, Node, Note, Record, Sample, Want, What};
