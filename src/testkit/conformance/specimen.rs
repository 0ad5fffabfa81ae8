//! Items that the kit makes up and compares.

use crate::proto::link::Payload;
use crate::proto::sim::Rng;
use bytes::Bytes;

/// An item that the kit can make up, and compare.
///
/// ```
/// use versile_io::proto::link::Payload;
/// use versile_io::proto::sim::Rng;
/// use versile_io::testkit::conformance::Specimen;
///
/// struct Frame(u8);
/// impl Payload for Frame {}
/// impl Specimen for Frame {
///     fn specimen(rng: &mut Rng) -> Self {
///         Frame(rng.below(256) as u8)
///     }
///     fn write_to(&self, all: &mut Vec<u8>) {
///         all.push(self.0);
///     }
/// }
/// ```
pub trait Specimen: Payload {
    /// An item at random.
    fn specimen(rng: &mut Rng) -> Self;
    /// Appends what it says. Items that are split and joined underway have to append the same.
    fn write_to(&self, all: &mut Vec<u8>);
}

impl Specimen for Bytes {
    fn specimen(rng: &mut Rng) -> Self {
        (0..rng.magnitude(700)).map(|_| b'!' + rng.below(90) as u8).collect()
    }

    fn write_to(&self, all: &mut Vec<u8>) {
        all.extend_from_slice(self);
    }
}

impl Specimen for () {
    fn specimen(_: &mut Rng) -> Self {}
    fn write_to(&self, _: &mut Vec<u8>) {}
}

macro_rules! numbers {
    ($($t:ty),*) => {$(
        impl Specimen for $t {
            fn specimen(rng: &mut Rng) -> Self {
                rng.bits() as $t
            }
            fn write_to(&self, all: &mut Vec<u8>) {
                all.extend_from_slice(&self.to_be_bytes());
            }
        }
    )*};
}
numbers!(u8, u16, u32, u64);
