//! Items by a closure: `map`, `filter_map`, `keep_if` and `inspect`.

use crate::component::stock::{Filter, Outbox, PartResult};
use crate::proto::link::Payload;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// See [`map`].
pub struct Map<A, B, F> {
    apply: F,
    items: PhantomData<fn(A) -> B>,
}

/// Turns each item into another.
///
/// ```
/// use versile_io::component::block::map;
/// use versile_io::component::stock::Filter;
/// # actix::System::new().block_on(async {
/// let (numbers, texts, _) = map(|n: u32| n.to_string()).start();
/// # let _ = (numbers, texts); });
/// ```
pub fn map<A: Payload, B: Payload, F: FnMut(A) -> B + Unpin + 'static>(apply: F) -> Map<A, B, F> {
    Map { apply, items: PhantomData }
}

impl<A: Payload, B: Payload, F: FnMut(A) -> B + Unpin + 'static> Filter for Map<A, B, F> {
    type In = A;
    type Out = B;
    fn apply(&mut self, item: A, out: &mut Outbox<B>) -> PartResult {
        out.push((self.apply)(item));
        Ok(())
    }
    fn name(&self) -> Arc<str> {
        "map".into()
    }
}

/// See [`filter_map`].
pub struct FilterMap<A, B, F> {
    apply: F,
    items: PhantomData<fn(A) -> B>,
}

/// Turns each item into another, or into none.
///
/// ```
/// use versile_io::component::block::filter_map;
/// use versile_io::component::stock::Filter;
/// # actix::System::new().block_on(async {
/// let (texts, numbers, _) = filter_map(|text: String| text.parse::<u32>().ok()).start();
/// # let _ = (numbers, texts); });
/// ```
pub fn filter_map<A, B, F>(apply: F) -> FilterMap<A, B, F>
where
    A: Payload,
    B: Payload,
    F: FnMut(A) -> Option<B> + Unpin + 'static,
{
    FilterMap { apply, items: PhantomData }
}

impl<A: Payload, B: Payload, F: FnMut(A) -> Option<B> + Unpin + 'static> Filter for FilterMap<A, B, F> {
    type In = A;
    type Out = B;
    fn apply(&mut self, item: A, out: &mut Outbox<B>) -> PartResult {
        if let Some(item) = (self.apply)(item) {
            out.push(item);
        }
        Ok(())
    }
    fn name(&self) -> Arc<str> {
        "filter_map".into()
    }
}

/// See [`keep_if`].
pub struct KeepIf<T, F> {
    keep: F,
    items: PhantomData<fn(T)>,
}

/// Lets the items pass for which `keep` is true.
///
/// ```
/// use versile_io::component::block::keep_if;
/// use versile_io::component::stock::Filter;
/// # actix::System::new().block_on(async {
/// let (all, odd, _) = keep_if(|n: &u32| n % 2 == 1).start();
/// # let _ = (all, odd); });
/// ```
pub fn keep_if<T: Payload, F: FnMut(&T) -> bool + Unpin + 'static>(keep: F) -> KeepIf<T, F> {
    KeepIf { keep, items: PhantomData }
}

impl<T: Payload, F: FnMut(&T) -> bool + Unpin + 'static> Filter for KeepIf<T, F> {
    type In = T;
    type Out = T;
    fn apply(&mut self, item: T, out: &mut Outbox<T>) -> PartResult {
        if (self.keep)(&item) {
            out.push(item);
        }
        Ok(())
    }
    fn name(&self) -> Arc<str> {
        "keep_if".into()
    }
}

/// See [`inspect`].
pub struct Inspect<T, F> {
    look: F,
    items: PhantomData<fn(T)>,
}

/// Looks at each item and lets it pass.
///
/// This is how to hash what passes, with whatever digest. Put it where the bytes are that the hash is to be of:
///
/// ```
/// use bytes::Bytes;
/// use std::hash::{DefaultHasher, Hasher};
/// use std::sync::{Arc, Mutex, PoisonError};
/// use versile_io::component::block::inspect;
/// use versile_io::component::stock::Filter;
/// # actix::System::new().block_on(async {
/// // or `sha2::Sha256::new()`, fed by `update`
/// let digest = Arc::new(Mutex::new(DefaultHasher::new()));
/// let all = digest.clone();
/// let look = move |piece: &Bytes| all.lock().unwrap_or_else(PoisonError::into_inner).write(piece);
/// let (inlet, outlet, done) = inspect(look).start();
/// // join both; when the chain is over:
/// # drop((inlet, outlet));
/// let (_part, _outcome) = done.await;
/// let hash = digest.lock().unwrap_or_else(PoisonError::into_inner).finish();
/// # let _ = hash; });
/// ```
///
/// ```
/// use bytes::Bytes;
/// use versile_io::component::block::inspect;
/// use versile_io::component::stock::Filter;
/// # actix::System::new().block_on(async {
/// let (inlet, outlet, _) = inspect(|piece: &Bytes| println!("{} bytes", piece.len())).start();
/// # let _ = (inlet, outlet); });
/// ```
pub fn inspect<T: Payload, F: FnMut(&T) + Unpin + 'static>(look: F) -> Inspect<T, F> {
    Inspect { look, items: PhantomData }
}

impl<T: Payload, F: FnMut(&T) + Unpin + 'static> Filter for Inspect<T, F> {
    type In = T;
    type Out = T;
    fn apply(&mut self, item: T, out: &mut Outbox<T>) -> PartResult {
        (self.look)(&item);
        out.push(item);
        Ok(())
    }
    fn name(&self) -> Arc<str> {
        "inspect".into()
    }
}

macro_rules! debug {
    ($($name:ident<$($g:ident),*>)*) => {$(
        impl<$($g),*> fmt::Debug for $name<$($g),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}
debug!(Map<A, B, F> FilterMap<A, B, F> KeepIf<T, F> Inspect<T, F>);
