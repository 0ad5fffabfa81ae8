//! The buffer that an arbiter's agents read into: one per arbiter, so that an idle connection holds none (rule M2).

use bytes::{Bytes, BytesMut};
use std::cell::Cell;
use std::io;
use std::task::Poll;

/// Room that is kept for reading: four reads of [`READ_MAX`].
const ROOM: usize = 256 * 1024;

/// The largest single read. 64 KiB is where a relay's throughput stops to rise with larger reads on loopback, and a quarter
/// of the default window, so that both sides of a link stay busy.
pub(super) const READ_MAX: usize = 64 * 1024;

/// Reads up to this size are copied into a buffer of their own size: a small piece that waits in a slow chain must not hold
/// a large buffer. Larger ones leave with their part of the room, which is at most 16 times what they hold.
const COPY_MAX: usize = 16 * 1024;

thread_local! {
    static ARBITER: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// Reads with `read`, which fills the buffer's spare room and says how much.
pub(super) fn read(read: impl FnOnce(&mut BytesMut) -> Poll<io::Result<usize>>) -> Poll<io::Result<Bytes>> {
    let mut room = ARBITER.take().unwrap_or_default();
    if room.capacity() < READ_MAX {
        room = BytesMut::with_capacity(ROOM);
    }
    let result = read(&mut room);
    let bytes = match room.len() {
        0 => Bytes::new(),
        n if n <= COPY_MAX => {
            let copy = Bytes::copy_from_slice(&room);
            room.clear();
            copy
        }
        _ => room.split().freeze(),
    };
    ARBITER.set(Some(room));
    result.map_ok(|_| bytes)
}
