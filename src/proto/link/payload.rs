//! `Payload`: what a link carries, how it is counted and how it is split to fit a limit.

use bytes::{Bytes, BytesMut};

/// What a link carries.
///
/// `Bytes` counts its bytes and is split to fit the consumer's limit. Any other item counts 1 and travels whole, so
/// for a type of your own the defaults are right and the impl is one line:
///
/// ```
/// use versile_io::proto::link::Payload;
///
/// struct Frame { kind: u8, body: Vec<u8> }
/// impl Payload for Frame {}
/// ```
///
/// A type that overrides [`quantity`](Payload::quantity) must override [`split_to`](Payload::split_to) as well: an item
/// that is larger than the consumer's window and cannot be split would wait for ever.
pub trait Payload: Send + Unpin + Sized + 'static {
    /// How much of the consumer's limit this item uses. Bytes for `Bytes`, 1 for any other item.
    fn quantity(&self) -> u64 {
        1
    }

    /// Splits off the first `at` units and returns them, leaving the rest in `self`.
    ///
    /// The two parts are the whole, in order (rule P6). Called with `0 < at < self.quantity()`. `None` if the item cannot be split; it is then unchanged.
    fn split_to(&mut self, at: u64) -> Option<Self> {
        let _ = at;
        None
    }

    /// Appends `next` to `self` if both together are at most `max` units, so that small pieces that wait for message
    /// credit travel as one message (rule C1). Gives `next` back otherwise; the default joins nothing.
    fn merge(&mut self, next: Self, max: u64) -> Result<(), Self> {
        let _ = max;
        Err(next)
    }
}

impl Payload for Bytes {
    fn quantity(&self) -> u64 {
        self.len() as u64
    }

    fn split_to(&mut self, at: u64) -> Option<Self> {
        let at = usize::try_from(at).ok()?;
        (at < self.len()).then(|| Bytes::split_to(self, at))
    }

    fn merge(&mut self, next: Self, max: u64) -> Result<(), Self> {
        if self.quantity().saturating_add(next.quantity()) > max {
            return Err(next);
        }
        // A buffer that nobody else shares is extended in place; otherwise at most `max` bytes are copied.
        let room = usize::try_from(max).unwrap_or(usize::MAX);
        let mut joined = match std::mem::take(self).try_into_mut() {
            Ok(own) => own,
            Err(shared) => {
                let mut own = BytesMut::with_capacity(room.min(shared.len() + next.len()).max(256));
                own.extend_from_slice(&shared);
                own
            }
        };
        joined.extend_from_slice(&next);
        *self = joined.freeze();
        Ok(())
    }
}

macro_rules! whole {
    ($($t:ty),* $(,)?) => { $(impl Payload for $t {})* };
}
whole!((), bool, char, u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64, String);

impl<T: Send + Unpin + 'static> Payload for Vec<T> {}
impl<T: Send + Unpin + 'static> Payload for Box<T> {}
impl<A: Send + Unpin + 'static, B: Send + Unpin + 'static> Payload for (A, B) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_split_in_the_middle_keep_order() {
        let mut b = Bytes::from_static(b"abcdef");
        let head = Payload::split_to(&mut b, 2).expect("splits");
        assert_eq!((&head[..], &b[..]), (&b"ab"[..], &b"cdef"[..]));
        assert!(Payload::split_to(&mut b, 4).is_none(), "the whole is no split");
    }

    #[test]
    fn bytes_merge_up_to_the_bound_and_not_beyond() {
        let mut b = Bytes::from_static(b"abc");
        assert!(b.merge(Bytes::from_static(b"def"), 6).is_ok());
        assert_eq!(&b[..], b"abcdef");
        assert_eq!(b.merge(Bytes::from_static(b"g"), 6), Err(Bytes::from_static(b"g")));
        assert_eq!(&b[..], b"abcdef");
    }

    #[test]
    fn other_items_count_one_and_travel_whole() {
        let mut s = String::from("text");
        assert_eq!(s.quantity(), 1);
        assert!(Payload::split_to(&mut s, 1).is_none());
        assert_eq!(s.merge(String::from("x"), 100), Err(String::from("x")));
    }
}
