//! Octets in the order of their stream, in blocks: the first MiB in small ones, the rest in large ones.
//!
//! ```text
//!   start       block 1            block 2
//!   |___________|__________________|__________
//!    the rest     none until its     octets behind a gap: the gap is zeros
//!    of block 0   first octet comes
//! ```
//!
//! What arrives in order is copied behind what is there, once; only gaps are filled before. A stream in one-octet segments takes no more
//! memory than one in large ones. A block is made when its first octet comes, and goes when its last was handed out. What was handed
//! out is a part of its block, which stays until all its parts are gone.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::ops::Range;

/// Octets of a block as long as it may be a connection with little data, which takes little memory.
const SMALL: u64 = 16_384;
/// Octets of a block of a long stream: reads are few, and all that a large datagram has lies in two.
const LARGE: u64 = 65_536;
/// Large blocks begin here.
const LONG: u64 = 1 << 20;

/// Octets from a position on, with gaps.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// What is left of each block; none while nothing of it has come.
    blocks: VecDeque<Option<BytesMut>>,
    /// The position of the first octet that was not handed out.
    start: u64,
}

impl Blocks {
    /// As if all before `position` were handed out.
    #[cfg(test)]
    pub(super) fn starting_at(position: u64) -> Self {
        Self { blocks: VecDeque::new(), start: position }
    }

    /// Takes octets that were not handed out.
    pub(super) fn put(&mut self, mut at: u64, mut data: &[u8]) {
        while !data.is_empty() {
            let block = size(number(at) - number(self.start));
            while self.blocks.len() <= block {
                self.blocks.push_back(None);
            }
            // the first block may have lost its beginning
            let Range { start, end: ends } = bounds(at);
            let begins = start.max(self.start);
            let count = data.len().min(size(ends - at));
            let octets = self.blocks[block].get_or_insert_with(|| BytesMut::with_capacity(size(ends - begins)));
            let from = size(at - begins);
            if octets.len() < from {
                octets.resize(from, 0);
            }
            let (over, behind) = data[..count].split_at(count.min(octets.len() - from));
            octets[from..from + over.len()].copy_from_slice(over);
            octets.extend_from_slice(behind);
            data = &data[count..];
            at += count as u64;
        }
    }

    /// Hands out at most `most` octets, all of which have come; none if there is nothing.
    pub(super) fn take(&mut self, most: usize) -> Option<Bytes> {
        let ends = bounds(self.start).end;
        let block = self.blocks.front_mut()?.as_mut().filter(|_| most > 0)?;
        let data = block.split_to(most.min(block.len())).freeze();
        self.start += data.len() as u64;
        if self.start == ends {
            self.blocks.pop_front();
        }
        Some(data)
    }

    /// Drops all; what is before `position` counts as handed out.
    pub(super) fn skip_to(&mut self, position: u64) {
        self.blocks.clear();
        self.start = position;
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn check(&self, read: u64, highest: u64) {
        debug_assert_eq!(self.start, read);
        debug_assert!(self.blocks.len() as u64 <= number(highest.max(read)) - number(read) + 1);
    }
}

/// The block that a position lies in.
const fn number(position: u64) -> u64 {
    if position < LONG { position / SMALL } else { LONG / SMALL + (position - LONG) / LARGE }
}

/// From where to where it reaches.
const fn bounds(position: u64) -> Range<u64> {
    let size = if position < LONG { SMALL } else { LARGE };
    let start = position / size * size;
    start..start + size
}

/// A distance within memory.
fn size(octets: u64) -> usize {
    usize::try_from(octets).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_lie_side_by_side() {
        let mut at = 0;
        for block in 0..200 {
            assert_eq!((number(at), bounds(at).start), (block, at));
            let end = bounds(at).end;
            assert_eq!((number(end - 1), bounds(end - 1)), (block, at..end));
            at = end;
        }
        assert!(at > 2 * LONG);
    }

    #[test]
    fn pieces_in_any_order_come_out_as_the_stream() {
        for seed in 0..60 {
            let mut random = fastrand::Rng::with_seed(seed);
            let start = [0, LONG - 2 * LARGE, 1 << 61][random.usize(..3)] + random.u64(..LARGE);
            let octet = |at: u64| (at ^ (at >> 8)) as u8;
            let mut blocks = Blocks::starting_at(start);
            let mut cuts: Vec<u64> = (0..random.usize(1..200)).map(|_| start + random.u64(..4 * LARGE)).collect();
            cuts.extend([start, start + 4 * LARGE]);
            cuts.sort_unstable();
            let mut pieces: Vec<_> = cuts.windows(2).map(|two| two[0]..two[1]).collect();
            // near to the order, as a network does it
            for at in 0..pieces.len() {
                let other = (at + random.usize(..4)).min(pieces.len() - 1);
                pieces.swap(at, other);
            }
            let (mut come, mut read) = (Vec::new(), start);
            for piece in pieces {
                let data: Vec<u8> = piece.clone().map(octet).collect();
                blocks.put(piece.start, &data);
                come.push(piece);
                while let Some(next) = come.iter().position(|piece| piece.start <= read && read < piece.end) {
                    let ready = size(come[next].end - read).min(random.usize(1..20_000));
                    let data = blocks.take(ready).expect("it has come");
                    assert!(!data.is_empty() && data.len() <= ready);
                    data.iter().for_each(|got| {
                        assert_eq!(*got, octet(read), "seed {seed}, position {read}");
                        read += 1;
                    });
                }
            }
            assert_eq!(read, start + 4 * LARGE);
            assert!(blocks.blocks.iter().flatten().all(|block| block.is_empty()), "seed {seed}");
        }
    }
}
