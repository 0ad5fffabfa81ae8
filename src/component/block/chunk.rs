//! Bytes in pieces of one size.

use crate::component::message::PartState;
use crate::component::stock::{Filter, Outbox, PartResult};
use crate::proto::link::{Payload, Window};
use bytes::{Bytes, BytesMut};
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Pieces that one call may give: as many as a window has messages.
const PIECES: u64 = Window::DEFAULT_MESSAGES;

/// A piece of bytes that counts 1 and travels whole: no link splits it or joins it to another. Its consumer's window counts
/// pieces, so what waits is at most that many times the size.
///
/// ```
/// use versile_io::component::block::Chunk;
/// assert_eq!(Chunk("abc".into()).0.len(), 3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk(pub Bytes);

impl Payload for Chunk {}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

/// Cuts and joins bytes into pieces of one size; the last one may be shorter. It holds less than one piece.
///
/// [`exact`](Self::exact) gives [`Chunk`]s. [`bytes`](Self::bytes) gives bytes, which a link may still split to fit its credit,
/// or join where messages are short; it can be put into a running byte chain and taken out of it. A successor of the same size
/// goes on from the piece that has begun.
///
/// ```
/// use std::num::NonZeroUsize;
/// use versile_io::component::block::Chunker;
/// use versile_io::component::stock::Filter;
/// # actix::System::new().block_on(async {
/// let size = NonZeroUsize::new(512).expect("not 0");
/// let (bytes, blocks, _) = Chunker::exact(size).start();
/// # let _ = (bytes, blocks); });
/// ```
#[derive(Debug)]
pub struct Chunker<O = Bytes> {
    size: NonZeroUsize,
    begun: BytesMut,
    out: PhantomData<fn() -> O>,
}

impl Chunker<Chunk> {
    /// Pieces that stay as they are until their consumer has them.
    pub fn exact(size: NonZeroUsize) -> Self {
        Self::new(size)
    }
}

impl Chunker<Bytes> {
    /// Bytes again.
    pub fn bytes(size: NonZeroUsize) -> Self {
        Self::new(size)
    }
}

/// What a successor goes on from.
struct Begun(NonZeroUsize, BytesMut);

impl<O: Payload + From<Bytes>> Chunker<O> {
    fn new(size: NonZeroUsize) -> Self {
        Self { size, begun: BytesMut::new(), out: PhantomData }
    }

    fn give_begun(&mut self, out: &mut Outbox<O>) {
        if !self.begun.is_empty() {
            out.push(self.begun.split().freeze().into());
        }
    }
}

impl<O: Payload + From<Bytes>> Filter for Chunker<O> {
    type In = Bytes;
    type Out = O;

    fn apply(&mut self, mut item: Bytes, out: &mut Outbox<O>) -> PartResult {
        let size = self.size.get();
        if !self.begun.is_empty() {
            let missing = (size - self.begun.len()).min(item.len());
            self.begun.extend_from_slice(&Bytes::split_to(&mut item, missing));
            if self.begun.len() == size {
                self.give_begun(out);
            }
        }
        // no copy of what is whole already
        while item.len() >= size {
            out.push(Bytes::split_to(&mut item, size).into());
        }
        self.begun.extend_from_slice(&item);
        Ok(())
    }

    fn finish(&mut self, clean: bool, out: &mut Outbox<O>) -> PartResult<bool> {
        self.give_begun(out);
        Ok(clean)
    }

    fn flush(&mut self, out: &mut Outbox<O>) -> PartResult {
        self.give_begun(out);
        Ok(())
    }

    fn take_state(&mut self) -> Option<PartState> {
        (!self.begun.is_empty()).then(|| Box::new(Begun(self.size, self.begun.split())) as PartState)
    }

    fn put_state(&mut self, state: PartState) -> Result<(), PartState> {
        match state.downcast::<Begun>() {
            Ok(state) if state.0 == self.size => {
                self.begun = state.1;
                Ok(())
            }
            Ok(state) => Err(state),
            Err(state) => Err(state),
        }
    }

    /// Small pieces take a small window, so that one call gives a bounded number of them.
    fn window(&self) -> Window {
        let size = self.size.get() as u64;
        Window::of(size.saturating_mul(PIECES).min(Window::DEFAULT_QUANTITY))
    }

    fn name(&self) -> Arc<str> {
        "chunker".into()
    }
}
