//! One producer to its end, then the other.

use super::merge::{Merge, Order, merge};
use crate::proto::link::Payload;

/// Starts a concatenation on the current arbiter: all of the left producer, then all of the right one, which reads ahead by a
/// window meanwhile. It ends with the right one, clean only if both are.
///
/// ```
/// use bytes::Bytes;
/// use versile_io::component::block::concat;
/// # actix::System::new().block_on(async {
/// let ports = concat::<Bytes>();
/// # let _ = (ports.left, ports.right, ports.outlet); });
/// ```
pub fn concat<T: Payload>() -> Merge<T> {
    merge(Order::LeftThenRight)
}
