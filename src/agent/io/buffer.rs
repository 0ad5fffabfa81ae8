//! The buffers that an arbiter's agents read into: a few per arbiter, lent for as long as what was read is under way, so that an
//! idle connection holds none (rule M2) and no read pays for fresh memory.

use bytes::Bytes;
use std::cell::RefCell;
use std::io;
use std::task::{Poll, ready};
use tokio::io::ReadBuf;

/// The largest single read. 64 KiB is where a relay's throughput stops to rise with larger reads on loopback, and a quarter
/// of the default window, so that both sides of a link stay busy.
pub(super) const READ_MAX: usize = 64 * 1024;

/// Reads up to this size are copied into a buffer of their own size: a small piece that waits in a slow chain must not hold
/// a large buffer. A larger one keeps its buffer, which is at most 4 times what it holds.
const COPY_MAX: usize = 16 * 1024;

/// So many buffers are kept per arbiter for the next read: 4 MiB, the windows of 16 busy connections. Allocating afresh cost
/// a relay of 64 connections twice its CPU in page faults.
const KEPT: usize = 64;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Reads up to `max` bytes with `read`. Nothing read: the end.
pub(super) fn read(max: usize, read: impl FnOnce(&mut ReadBuf<'_>) -> Poll<io::Result<()>>) -> Poll<io::Result<Bytes>> {
    let mut lent = Lent::take();
    let n = {
        let mut room = ReadBuf::new(&mut lent.buffer[..max.min(READ_MAX)]);
        ready!(read(&mut room))?;
        room.filled().len()
    };
    Poll::Ready(Ok(match n {
        0..=COPY_MAX => Bytes::copy_from_slice(&lent.buffer[..n]),
        _ => {
            lent.filled = n;
            Bytes::from_owner(lent)
        }
    }))
}

/// A buffer with what was read into it. Goes back to the arbiter that drops it.
struct Lent {
    buffer: Box<[u8]>,
    filled: usize,
}

impl Lent {
    fn take() -> Self {
        let kept = FREE.with_borrow_mut(Vec::pop);
        Self { buffer: kept.unwrap_or_else(|| vec![0; READ_MAX].into()), filled: 0 }
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        // while the thread ends there is nowhere to keep it
        let _ = FREE.try_with(|free| {
            if let Ok(mut free) = free.try_borrow_mut()
                && free.len() < KEPT
            {
                free.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_of(bytes: &[u8], max: usize) -> Bytes {
        let Poll::Ready(Ok(read)) = read(max, |room| {
            room.put_slice(&bytes[..bytes.len().min(room.remaining())]);
            Poll::Ready(Ok(()))
        }) else {
            panic!("read")
        };
        read
    }

    #[test]
    fn a_small_read_keeps_no_buffer_and_a_large_one_gives_it_back() {
        let free = || FREE.with_borrow(Vec::len);
        assert_eq!(read_of(b"small", 100), b"small"[..]);
        assert_eq!(free(), 1, "one buffer, and it is back");
        let large = read_of(&vec![7; READ_MAX * 2], usize::MAX);
        assert_eq!((large.len(), free()), (READ_MAX, 0));
        drop(large);
        assert_eq!(free(), 1);
    }

    #[test]
    fn no_more_is_read_than_asked() {
        assert_eq!(read_of(b"abcdef", 3), b"abc"[..]);
    }
}
