//! `WriteQueue`: what an agent holds for the other side, as vectored writes take it.

use crate::proto::link::Count;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::IoSlice;

/// At most this many pieces go into one vectored write. Linux takes 1,024; 64 pieces of the usual size are more than a
/// socket buffer takes.
pub(crate) const SLICES: usize = 64;

/// Pieces in order. Bounded by the inlet's window.
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    pieces: VecDeque<Bytes>,
    bytes: u64,
    /// What was written since the beginning.
    written: u64,
}

impl WriteQueue {
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len() as u64;
        self.pieces.push_back(piece);
    }

    pub(crate) fn held(&self) -> Count {
        Count { quantity: self.bytes, messages: self.pieces.len() as u64 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.bytes = 0;
    }

    /// The front as slices. How many of `slices` are filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pairs = slices.iter_mut().zip(&self.pieces);
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
        self.pieces.iter().take_while(fits).cloned().collect()
    }

    /// Takes off what was written.
    pub(crate) fn advance(&mut self, mut n: usize) {
        self.written += n as u64;
        self.bytes = self.bytes.saturating_sub(n as u64);
        while let Some(front) = self.pieces.front_mut() {
            if front.len() > n {
                front.advance(n);
                return;
            }
            n -= front.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_ends_inside_a_piece_leaves_its_rest() {
        let mut queue = WriteQueue::default();
        for piece in ["ab", "cde", "f"] {
            queue.push(Bytes::from_static(piece.as_bytes()));
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
        queue.push(Bytes::from_static(b"abcd"));
        queue.push(Bytes::from_static(b"ef"));
        queue.push(Bytes::from_static(b"gh"));
        assert_eq!(queue.share(1), [Bytes::from_static(b"abcd")]);
        assert_eq!(queue.share(5).len(), 2);
        assert_eq!(queue.share(100).len(), 3);
    }
}
