//! Positive integers as VUT writes them: one octet up to 246, else a length and the rest.
//!
//! ```text
//!   n <= 246          n
//!   k <= 8 octets     246 + k, then n - 247 in k octets, big-endian
//!   k >= 9 octets     0xff, posint(k - 9), then n - 247 in k octets
//! ```
//!
//! Ours writes the shortest form only. It reads longer ones too, as the existing peers do, but no number beyond [`MAX`]:
//! such a datagram is malformed.

use thiserror::Error;

/// The largest number that is read or written: 2^62 - 1. Positions stay far below 2^63, beyond which the Java peer goes
/// wrong.
pub const MAX: u64 = (1 << 62) - 1;

/// The most octets that [`encode`] writes: 2^62 - 1 takes a length and eight more.
pub const LEN_MAX: usize = 9;

/// The largest number of one octet.
const SMALL: u64 = 246;

/// Forms within forms that are followed. A third one would need more octets than a datagram has.
const DEPTH: u8 = 2;

/// Why octets are no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PosintError {
    /// The octets end before the number does.
    #[error("a number is cut short")]
    Incomplete,
    /// The number is 2^62 or more.
    #[error("a number is 2^62 or more")]
    TooLarge,
}

/// How many octets the shortest form of `n` takes.
pub const fn len(n: u64) -> usize {
    if n <= SMALL { 1 } else { 1 + octets(n - SMALL - 1) }
}

/// Writes the shortest form of `n` at the start of `buf`, and says how many octets that took.
///
/// None if `buf` is too short or `n` is beyond [`MAX`]; then nothing was written.
pub fn encode(n: u64, buf: &mut [u8]) -> Option<usize> {
    if n > MAX {
        return None;
    }
    let len = len(n);
    let buf = buf.get_mut(..len)?;
    match buf {
        [one] => *one = n as u8,
        [first, rest @ ..] => {
            *first = SMALL as u8 + rest.len() as u8;
            rest.copy_from_slice(&(n - SMALL - 1).to_be_bytes()[8 - rest.len()..]);
        }
        [] => {}
    }
    Some(len)
}

/// Reads a number from the start of `octets`, in any form: its value, and how many octets it took.
///
/// # Errors
///
/// [`PosintError::Incomplete`] if `octets` ends too early, [`PosintError::TooLarge`] beyond [`MAX`].
pub fn decode(octets: &[u8]) -> Result<(u64, usize), PosintError> {
    decode_within(octets, DEPTH)
}

fn decode_within(octets: &[u8], depth: u8) -> Result<(u64, usize), PosintError> {
    let (&first, rest) = octets.split_first().ok_or(PosintError::Incomplete)?;
    let (start, k) = match u64::from(first) {
        n @ ..=SMALL => return Ok((n, 1)),
        0xff if depth == 0 => return Err(PosintError::TooLarge),
        0xff => {
            let (more, used) = decode_within(rest, depth - 1)?;
            let k = usize::try_from(more).ok().and_then(|more| more.checked_add(9));
            (used, k.ok_or(PosintError::Incomplete)?)
        }
        n => (0, (n - SMALL) as usize),
    };
    let digits = start.checked_add(k).and_then(|end| rest.get(start..end)).ok_or(PosintError::Incomplete)?;
    let mut m: u64 = 0;
    for &digit in digits {
        if m > MAX >> 8 {
            return Err(PosintError::TooLarge);
        }
        m = m << 8 | u64::from(digit);
    }
    let n = m + SMALL + 1;
    if n > MAX { Err(PosintError::TooLarge) } else { Ok((n, 1 + start + k)) }
}

/// The fewest octets that hold `m`, at least one.
const fn octets(m: u64) -> usize {
    let bits = u64::BITS - m.leading_zeros();
    if bits == 0 { 1 } else { bits.div_ceil(8) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_comes_back_from_its_shortest_form() {
        let edges = (0..62).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 246, (1 << bit) + 247]);
        for n in edges.chain(0..70_000).chain([MAX, MAX - 1]) {
            let mut buf = [0; LEN_MAX];
            let used = encode(n, &mut buf).expect("fits");
            assert_eq!(used, len(n));
            assert_eq!(decode(&buf[..used]), Ok((n, used)));
            for short in 0..used {
                assert_eq!(decode(&buf[..short]), Err(PosintError::Incomplete), "{n} in {short} octets");
                assert_eq!(encode(n, &mut [0; LEN_MAX][..short]), None);
            }
        }
    }

    #[test]
    fn beyond_the_largest_is_refused() {
        assert_eq!(encode(MAX + 1, &mut [0; 20]), None);
        let mut form = [0xfe; 9];
        form[1..].copy_from_slice(&(MAX + 1 - 247).to_be_bytes());
        assert_eq!(decode(&form), Err(PosintError::TooLarge));
        assert_eq!(decode(&[0xff; 508]), Err(PosintError::TooLarge));
        assert_eq!(decode(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Err(PosintError::TooLarge));
    }

    #[test]
    fn longer_forms_are_read() {
        assert_eq!(decode(&[0xf8, 0, 0]), Ok((247, 3)));
        let mut long = vec![0xff, 0xf7, 0x00]; // 247 + 9 octets follow
        long.extend([0; 256]);
        assert_eq!(decode(&long), Ok((247, 259)));
    }
}
