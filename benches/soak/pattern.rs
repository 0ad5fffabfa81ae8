//! Content that can be checked at any position: a running counter, spread over all bytes by a multiplication.

/// Odd, and with bits all over: the fractional part of the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// The 8 bytes of the stream `seed` that begin at 8 times `word`.
fn word(seed: u64, word: u64) -> [u8; 8] {
    (seed ^ word).wrapping_mul(SPREAD).to_le_bytes()
}

/// Fills `buffer` with the stream `seed` from position `at` on.
pub(crate) fn fill(seed: u64, at: u64, buffer: &mut [u8]) {
    let (mut next, mut rest) = (at / 8, buffer);
    let skip = (at % 8) as usize;
    if skip > 0 {
        let n = rest.len().min(8 - skip);
        rest[..n].copy_from_slice(&word(seed, next)[skip..skip + n]);
        (next, rest) = (next + 1, &mut rest[n..]);
    }
    for chunk in rest.chunks_mut(8) {
        chunk.copy_from_slice(&word(seed, next)[..chunk.len()]);
        next += 1;
    }
}

/// Where `buffer` is not the stream `seed` from position `at` on, if anywhere. `scratch` is at least as long.
pub(crate) fn differs(seed: u64, at: u64, buffer: &[u8], scratch: &mut [u8]) -> Option<u64> {
    let wanted = &mut scratch[..buffer.len()];
    fill(seed, at, wanted);
    if wanted == buffer {
        return None;
    }
    let place = wanted.iter().zip(buffer).position(|(wanted, got)| wanted != got);
    place.map(|place| at + place as u64)
}
