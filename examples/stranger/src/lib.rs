//! Goal: a codec of one's own, in a crate of one's own, that the conformance kit of `versile-io` has passed.
//!
//! Command: `cargo test --features testkit` in this folder.
//!
//! Bytes come in pieces of any size, and records go out: what lies between two separators. A record may lie in many pieces,
//! and a piece may hold many records. The same codec twice:
//!
//! * [`Splitter`] is a part. Credit, end and abort are the stock actor's affair.
//! * [`SplittingActor`] is an actor with ports, which grants by hand.
//!
//! Both rest on [`Cut`], which knows of no actor.

mod actor;
mod cut;
mod part;

pub use actor::SplittingActor;
pub use cut::Cut;
pub use part::Splitter;

use bytes::Bytes;
use versile_io::proto::link::Payload;

/// A record without its separator. Counts 1, and travels whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record(pub Bytes);

impl Payload for Record {}

/// What the kit makes up, and compares: each record with the separator `;` behind it.
#[cfg(feature = "testkit")]
impl versile_io::testkit::conformance::Specimen for Record {
    fn specimen(rng: &mut versile_io::proto::sim::Rng) -> Self {
        Record((0..rng.below(30)).map(|_| b'a' + rng.below(26) as u8).collect())
    }

    fn write_to(&self, all: &mut Vec<u8>) {
        all.extend_from_slice(&self.0);
        all.push(b';');
    }
}
