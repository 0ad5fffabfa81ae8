//! `WriteQueue`: what an agent holds for the other side, as vectored writes take it.

use super::io::KernelPipe;
use crate::proto::link::Count;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

/// At most this many pieces go into one vectored write. Linux takes 1,024; 64 pieces of the usual size are more than a
/// socket buffer takes.
pub(crate) const SLICES: usize = 64;

/// A piece of what is to be written.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Bytes on the heap.
    Heap(Bytes),
    /// Bytes in a kernel pipe.
    Lying {
        /// Where.
        pipe: Arc<KernelPipe>,
        /// How many, the next in the pipe.
        quantity: u64,
    },
}

impl Piece {
    /// How many bytes.
    pub(crate) fn quantity(&self) -> u64 {
        match self {
            Self::Heap(bytes) => bytes.len() as u64,
            Self::Lying { quantity, .. } => *quantity,
        }
    }
}

/// Pieces in order. Bounded by the inlet's window. One piece, which is what most turns have, needs no allocation, and an empty
/// queue keeps none (rule M2).
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    first: Option<Piece>,
    /// Behind the first; nothing without one.
    #[expect(
        clippy::box_collection,
        reason = "rarely there, and 24 bytes smaller where it is not: there is one for each connection"
    )]
    rest: Option<Box<VecDeque<Piece>>>,
    bytes: u64,
    /// What was written since the beginning.
    written: u64,
}

impl WriteQueue {
    pub(crate) fn push(&mut self, piece: Piece) {
        self.bytes += piece.quantity();
        if let (Some(Piece::Lying { pipe: last, quantity }), Piece::Lying { pipe, quantity: more }) =
            (self.last_mut(), &piece)
            && Arc::ptr_eq(last, pipe)
        {
            *quantity += more;
            return;
        }
        match self.first {
            None => self.first = Some(piece),
            Some(_) => self.rest.get_or_insert_default().push_back(piece),
        }
    }

    fn last_mut(&mut self) -> Option<&mut Piece> {
        self.rest.as_mut().and_then(|rest| rest.back_mut()).or(self.first.as_mut())
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.first.iter().chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }

    pub(crate) fn held(&self) -> Count {
        Count {
            quantity: self.bytes,
            messages: u64::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len() as u64),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn clear(&mut self) {
        (self.first, self.rest) = (None, None);
        self.bytes = 0;
    }

    /// What comes first, if it lies in a pipe.
    pub(crate) fn lying(&self) -> Option<(&Arc<KernelPipe>, u64)> {
        match &self.first {
            Some(Piece::Lying { pipe, quantity }) => Some((pipe, *quantity)),
            _ => None,
        }
    }

    /// The heap's pieces from the front to the first that lies in a pipe.
    fn heap(&self) -> impl Iterator<Item = &Bytes> {
        self.pieces().map_while(|piece| match piece {
            Piece::Heap(bytes) => Some(bytes),
            Piece::Lying { .. } => None,
        })
    }

    /// The front as slices. How many of `slices` are filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pairs = slices.iter_mut().zip(self.heap());
        pairs.map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }

    /// The front as pieces that can be sent to another thread; up to `max` bytes, and at least one piece.
    pub(crate) fn share(&self, max: usize) -> Vec<Bytes> {
        let mut left = max;
        let fits = |piece: &&Bytes| {
            let take = left > 0;
            left = left.saturating_sub(piece.len());
            take
        };
        self.heap().take_while(fits).cloned().collect()
    }

    /// Takes off what was written.
    pub(crate) fn advance(&mut self, mut n: usize) {
        self.written += n as u64;
        self.bytes = self.bytes.saturating_sub(n as u64);
        while let Some(front) = &mut self.first {
            match front {
                Piece::Heap(bytes) if bytes.len() > n => return bytes.advance(n),
                Piece::Lying { quantity, .. } if *quantity > n as u64 => {
                    *quantity -= n as u64;
                    return;
                }
                // no piece is larger than what can be counted in memory or in a pipe
                _ => n -= front.quantity() as usize,
            }
            self.first = self.rest.as_mut().and_then(|rest| rest.pop_front());
        }
        self.rest = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_ends_inside_a_piece_leaves_its_rest() {
        let mut queue = WriteQueue::default();
        for piece in ["ab", "cde", "f"] {
            queue.push(Piece::Heap(Bytes::from_static(piece.as_bytes())));
        }
        queue.advance(3);
        let mut slices = [IoSlice::new(&[]); 8];
        let n = queue.slices(&mut slices);
        let left: Vec<&[u8]> = slices[..n].iter().map(|s| &**s).collect();
        assert_eq!(left, [&b"de"[..], b"f"]);
        assert_eq!((queue.held(), queue.written()), (Count { quantity: 3, messages: 2 }, 3));
        queue.advance(3);
        assert!(queue.is_empty());
    }

    #[test]
    fn sharing_gives_at_least_one_piece_and_no_more_than_asked() {
        let mut queue = WriteQueue::default();
        queue.push(Piece::Heap(Bytes::from_static(b"abcd")));
        queue.push(Piece::Heap(Bytes::from_static(b"ef")));
        queue.push(Piece::Heap(Bytes::from_static(b"gh")));
        assert_eq!(queue.share(1), [Bytes::from_static(b"abcd")]);
        assert_eq!(queue.share(5).len(), 2);
        assert_eq!(queue.share(100).len(), 3);
    }
}
