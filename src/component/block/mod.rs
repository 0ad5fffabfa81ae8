//! Building blocks that chains need: each an ordinary component, with nothing in it that a user's own could not do.
//!
//! | block | shape | what it does |
//! |---|---|---|
//! | [`map`](map()), [`filter_map`], [`keep_if`], [`inspect`] | 1 to 1 | items by a closure |
//! | [`Chunker`] | 1 to 1 | bytes in pieces of one size |
//! | [`Limiter`] | 1 to 1 | at most so much, then fail or discard |
//! | [`Meter`] | 1 to 1 | counts what passes, tells the rate |
//! | [`progress`](progress()) | 1 to 1 | tells now and then how much has passed |
//! | [`Buffer`] | 1 to 1 | lets more wait than the consumer's window does |
//! | [`gate()`] | 1 to 1 | paused and resumed from outside |
//! | [`throttle()`] | 1 to 1 | at most so much a second |
//! | [`tee()`] | 1 to 2 | a copy for each of two consumers, with a policy for a slow, absent or lost one |
//! | [`switch()`] | 1 to 2 | a stand-by for a consumer that is lost |
//! | [`fallback()`] | 2 to 1 | a stand-by for a producer that is lost |
//! | [`merge()`], [`concat()`] | 2 to 1 | two producers for one consumer, by turns, by priority, or one after the other |
//!
//! A hash is an [`inspect`] with the digest of one's choice; its page has an example. A buffer that goes on in a file touches the operating
//! system, so it is an agent: [`agent::spill`](crate::agent::spill).
//!
//! The first six rows are [`Filter`](super::stock::Filter)s, started by its `start`. The others are actors, started on the current arbiter by
//! the function of their name, which gives their ports. All keep the rules: what waits inside is covered by credit (M1, C2),
//! `clean` is carried on (E1), an end delivers what came before it (E2), and an abort takes all ports; but the loss of a
//! consumer of a tee or a switch is told in their tables. `tests/blocks_conformance.rs` runs each through the conformance kit.

mod buffer;
mod chunk;
mod concat;
mod fallback;
mod gate;
mod limit;
mod map;
mod merge;
mod meter;
mod progress;
mod switch;
mod tee;
mod throttle;

pub use buffer::Buffer;
pub use chunk::{Chunk, Chunker};
pub use concat::concat;
pub use fallback::{Fallback, FallbackActor, NoProducerLeft, fallback};
pub use gate::{Gate, GateActor, GateClosed, GateHandle, SetGate, gate};
pub use limit::{AfterLimit, Discarded, LimitReached, Limiter};
pub use map::{FilterMap, Inspect, KeepIf, Map, filter_map, inspect, keep_if, map};
pub use merge::{Merge, MergeActor, Order, merge};
pub use meter::{Meter, MeterHandle, Reading};
pub use progress::{Progress, progress};
pub use switch::{Lane, NoLaneLeft, Switch, SwitchActor, SwitchHandle, SwitchTo, WhenBack, switch};
pub use tee::{Branch, Dropped, NoBranchLeft, Tee, TeeActor, tee};
pub use throttle::{Rate, Throttle, ThrottleActor, throttle};
