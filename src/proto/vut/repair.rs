//! The repair of datagrams that one existing peer spoils (specification, section 11).
//!
//! On its timer, that peer sends a segment again with the low octet of `-(ack mod 13107)` in place of the window. From 247 on that octet
//! reads as the length of a number, and eats the first octets of the data. The MAC is right. But its true ends are multiples of 13107,
//! so the fault shows: then the octet is taken as a window without meaning, and the data begins behind it.
//!
//! The repair applies only to a peer whose ends have all been such multiples; no peer of ours has them.

use super::FIRST_END;
use super::send::STEP;
use super::wire::{Flags, Header, Malformed, View, posint};

/// Ends that were told by datagrams without data: those cannot be spoiled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TrueEnds {
    seen: [u64; 8],
    at: usize,
}

impl TrueEnds {
    pub(crate) fn on_end(&mut self, end: u64) {
        if !self.seen.contains(&end) {
            self.seen[self.at % 8] = end;
            self.at += 1;
        }
    }
}

/// What a payload from a peer with such ends reads as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repaired<'a> {
    /// It is as it was meant.
    Whole(View<'a>),
    /// Its window says nothing.
    WithoutWindow(View<'a>),
    /// It cannot be told; the peer will send it again.
    Doubtful,
}

/// Reads a payload of a peer with such ends.
///
/// # Errors
///
/// [`Malformed`] where it cannot be this fault.
pub(crate) fn read<'a>(payload: &'a [u8], ends: &TrueEnds) -> Result<Repaired<'a>, Malformed> {
    let parsed = View::checked(payload);
    let Some(spoilt) = spoilt(payload) else { return parsed.map(Repaired::Whole) };
    let View { header, data } = match parsed {
        Ok(view) => view,
        Err(_) => return Ok(Repaired::WithoutWindow(spoilt)),
    };
    let end = header.end();
    let minimal = payload.len() - data.len() == header.octets();
    let possible = (end.is_multiple_of(STEP) || end == FIRST_END) && header.win <= 65_535 && minimal;
    // one octet is the window in both readings: only its value is in doubt
    let same_data = spoilt.data.len() == data.len();
    match (possible, same_data) {
        (false, _) => Ok(Repaired::WithoutWindow(spoilt)),
        // a true window that looks like a spoilt one, or the other way round
        (true, _) if data.is_empty() || ends.seen.contains(&end) => Ok(Repaired::Whole(View { header, data })),
        (true, true) => Ok(Repaired::WithoutWindow(spoilt)),
        (true, false) => Ok(Repaired::Doubtful),
    }
}

/// The payload with a single octet as its window, if that is the octet which the fault makes.
fn spoilt(payload: &[u8]) -> Option<View<'_>> {
    let (&flags, rest) = payload.split_first()?;
    let (seq, used) = posint::decode(rest).ok()?;
    let rest = &rest[used..];
    let (ack, used) = posint::decode(rest).ok()?;
    let (&octet, data) = rest[used..].split_first()?;
    let fault = ((ack % STEP) as u8).wrapping_neg();
    let header = Header { flags: Flags::from_bits(flags), seq, ack, win: 0 };
    (octet == fault && !data.is_empty()).then_some(View { header, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoil(ack: u64, data: &[u8]) -> Vec<u8> {
        let mut payload = vec![0x00, 0x11];
        let mut number = [0; 9];
        let len = posint::encode(ack, &mut number).expect("small");
        payload.extend(&number[..len]);
        payload.push(((ack % STEP) as u8).wrapping_neg());
        payload.extend(data);
        payload
    }

    #[test]
    fn spoilt_data_comes_back_whatever_it_is() {
        for ack in (17..40_000).filter(|ack| ((ack % STEP) & 255) != 0) {
            for first in [0x00, 0x33, 0x7f, 0xf6, 0xf7, 0xff] {
                let data = [first, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
                let payload = spoil(ack, &data);
                match read(&payload, &TrueEnds::default()).expect("read") {
                    Repaired::Whole(view) | Repaired::WithoutWindow(view) => assert_eq!(view.data, data, "ack {ack}"),
                    Repaired::Doubtful => {}
                }
            }
        }
    }

    #[test]
    fn a_true_datagram_stays_as_it_is() {
        let mut ends = TrueEnds::default();
        ends.on_end(65_535);
        let mut doubtful = 0;
        for ack in 17..65_000u64 {
            let mut payload = vec![0x00, 0x11];
            for n in [ack, 65_535 - ack] {
                let mut number = [0; 9];
                let len = posint::encode(n, &mut number).expect("small");
                payload.extend(&number[..len]);
            }
            payload.extend(b"data");
            let whole = View::checked(&payload).expect("whole");
            assert_eq!(read(&payload, &ends), Ok(Repaired::Whole(whole)), "its end was seen");
            doubtful += u32::from(read(&payload, &TrueEnds::default()) == Ok(Repaired::Doubtful));
        }
        assert!((1..300).contains(&doubtful), "{doubtful} of 65000 wait for a datagram that settles it");
    }

    #[test]
    fn what_no_fault_explains_is_malformed() {
        assert!(read(&[0x00, 0x11, 0x11], &TrueEnds::default()).is_err());
        assert!(read(&[0x00], &TrueEnds::default()).is_err());
    }
}
