//! `Parcel`: a quantity whose bytes lie elsewhere, such as in a kernel pipe.
//!
//! Two ends that both reach the same place hand bytes over without looking at them. What travels on the link is a message
//! like any other, under the same credit and the same counts; only who carries the bytes differs. A consumer says by
//! its [`Forms`](super::Forms) that it takes parcels; to one that does not, they are never sent.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// A quantity of a link's payload that lies elsewhere. Parcels of one carrier are taken out of it in the order in which they
/// were sent.
#[derive(Clone)]
pub struct Parcel {
    /// How much of the consumer's limit it uses: bytes. At least 1.
    pub quantity: u64,
    /// Where it lies: known to both ends, and to nobody between.
    pub carrier: Arc<dyn Any + Send + Sync>,
}

/// The same quantity in the same place.
impl PartialEq for Parcel {
    fn eq(&self, other: &Self) -> bool {
        self.quantity == other.quantity && Arc::ptr_eq(&self.carrier, &other.carrier)
    }
}

impl Eq for Parcel {}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parcel").field("quantity", &self.quantity).finish_non_exhaustive()
    }
}
