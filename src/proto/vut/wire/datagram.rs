//! A datagram: a checked view of one that arrived, an owned form, and the encoder.

use super::mac::Mac;
use super::posint::{self, PosintError};
use std::fmt;
use std::ops::{BitOr, BitOrAssign};
use thiserror::Error;

/// The largest UDP payload: 576 (assumed path MTU) - 60 (longest IPv4 header) - 8 (UDP). A peer that gets one octet more
/// gives the connection up.
pub const DATAGRAM_MAX: usize = 508;

/// Octets of the MAC.
pub const MAC_LEN: usize = 20;

/// The flags octet. The five unassigned bits are sent as zero and ignored when they arrive.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The stream ends at seq + data length.
    pub const CLOSE: Self = Self(0x80);
    /// The peer's close and all before it are here, or its data is no longer wanted.
    pub const ACK_CLOSE: Self = Self(0x40);
    /// The connection is given up.
    pub const FAIL: Self = Self(0x20);

    /// The octet as it travels, unassigned bits included.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The octet.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// True if all flags of `other` are set here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// `self` if `on`, else none.
    #[must_use]
    pub const fn when(self, on: bool) -> Self {
        if on { self } else { Self::NONE }
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

/// All of a datagram but its data and its MAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// What is said beside the data.
    pub flags: Flags,
    /// The stream position of the first data octet.
    pub seq: u64,
    /// The sender's first missing position.
    pub ack: u64,
    /// How far beyond `ack` the peer may send.
    pub win: u64,
}

impl Header {
    /// The advertised end: the position up to which the peer may send.
    pub fn end(&self) -> u64 {
        self.ack.saturating_add(self.win)
    }

    /// Octets that it takes when it is written.
    pub const fn octets(&self) -> usize {
        1 + posint::len(self.seq) + posint::len(self.ack) + posint::len(self.win)
    }
}

/// Why the payload of an authentic datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// There is not even a flags octet.
    #[error("the payload is empty")]
    Empty,
    /// One of the three numbers is none.
    #[error("{0}")]
    Number(#[from] PosintError),
}

/// Why a datagram is dropped, without a word to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// No more than a MAC could be.
    #[error("20 octets or less")]
    Short,
    /// Longer than [`DATAGRAM_MAX`].
    #[error("longer than 508 octets")]
    Long,
    /// The MAC is not that of the peer.
    #[error("the MAC is wrong")]
    Forged,
    /// Authentic, and yet it makes no sense.
    #[error("authentic but malformed: {0}")]
    Malformed(#[from] Malformed),
}

/// A datagram that arrived, its parts proven to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// All but the data.
    pub header: Header,
    /// The data, possibly none.
    pub data: &'a [u8],
}

impl<'a> View<'a> {
    /// Checks the size, then the MAC, and only then reads.
    ///
    /// # Errors
    ///
    /// [`Refused`], the first thing that was wrong.
    pub fn open(mac: &Mac, datagram: &'a [u8]) -> Result<Self, Refused> {
        Ok(Self::checked(Self::authentic(mac, datagram)?)?)
    }

    /// The payload of a datagram of right size and with the right MAC.
    ///
    /// # Errors
    ///
    /// [`Refused`], but never [`Refused::Malformed`].
    pub fn authentic(mac: &Mac, datagram: &'a [u8]) -> Result<&'a [u8], Refused> {
        match datagram.len() {
            ..=MAC_LEN => Err(Refused::Short),
            len if len > DATAGRAM_MAX => Err(Refused::Long),
            _ => mac.verify(datagram).ok_or(Refused::Forged),
        }
    }

    /// Reads a payload: a datagram without its MAC.
    ///
    /// # Errors
    ///
    /// [`Malformed`], what is missing or too large.
    pub fn checked(payload: &'a [u8]) -> Result<Self, Malformed> {
        let (&flags, rest) = payload.split_first().ok_or(Malformed::Empty)?;
        let (seq, rest) = number(rest)?;
        let (ack, rest) = number(rest)?;
        let (win, data) = number(rest)?;
        Ok(Self { header: Header { flags: Flags(flags), seq, ack, win }, data })
    }

    /// The position after the data. Cannot overflow: numbers are below 2^62.
    pub fn data_end(&self) -> u64 {
        self.header.seq + self.data.len() as u64
    }

    /// The owned form.
    pub fn to_owned(&self) -> Datagram {
        Datagram { header: self.header, data: self.data.to_vec() }
    }
}

fn number(octets: &[u8]) -> Result<(u64, &[u8]), PosintError> {
    posint::decode(octets).map(|(n, used)| (n, &octets[used..]))
}

/// A datagram that can be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Datagram {
    /// All but the data.
    pub header: Header,
    /// The data.
    pub data: Vec<u8>,
}

impl Datagram {
    /// Writes it at the start of `buf`; see [`emit`].
    ///
    /// # Errors
    ///
    /// Those of [`emit`].
    pub fn emit(&self, mac: &Mac, buf: &mut [u8]) -> Result<usize, EmitError> {
        emit(&self.header, &self.data, mac, buf)
    }
}

/// Why a datagram was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EmitError {
    /// It would be longer than [`DATAGRAM_MAX`].
    #[error("the datagram would have {0} octets")]
    Long(usize),
    /// It would not fit the buffer.
    #[error("the datagram needs {0} octets of buffer")]
    Buffer(usize),
    /// A number is 2^62 or more.
    #[error("a number is 2^62 or more")]
    Number,
}

/// Writes a datagram at the start of `buf`, and says how many octets that took.
///
/// # Errors
///
/// [`EmitError`]; what `buf` holds then is of no use.
pub fn emit(header: &Header, data: &[u8], mac: &Mac, buf: &mut [u8]) -> Result<usize, EmitError> {
    let len = header.octets() + data.len() + MAC_LEN;
    if len > DATAGRAM_MAX {
        return Err(EmitError::Long(len));
    }
    let buf = buf.get_mut(..len).ok_or(EmitError::Buffer(len))?;
    buf[0] = header.flags.bits();
    let mut at = 1;
    for n in [header.seq, header.ack, header.win] {
        at += posint::encode(n, &mut buf[at..]).ok_or(EmitError::Number)?;
    }
    buf[at..len - MAC_LEN].copy_from_slice(data);
    let tag = mac.tag(&buf[..len - MAC_LEN]);
    buf[len - MAC_LEN..].copy_from_slice(&tag);
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac() -> Mac {
        Mac::new(b"one secret", b"and another")
    }

    #[test]
    fn what_was_written_is_read() {
        for (seq, ack, win, len) in [(0, 0, 0, 0), (246, 247, 65_518, 482 - 6), (1 << 40, posint::MAX, 1 << 33, 400)] {
            let header = Header { flags: Flags::CLOSE | Flags::ACK_CLOSE, seq, ack, win };
            let datagram = Datagram { header, data: (0..len).map(|n: usize| n as u8).collect() };
            let mut buf = [0; DATAGRAM_MAX];
            let len = datagram.emit(&mac(), &mut buf).expect("fits");
            let view = View::open(&mac(), &buf[..len]).expect("ours");
            assert_eq!(view.to_owned(), datagram);
            assert_eq!(view.data_end(), seq + datagram.data.len() as u64);
        }
    }

    #[test]
    fn limits_of_size_are_kept_both_ways() {
        let header = Header { flags: Flags::NONE, seq: 17, ack: 17, win: 111 };
        let mut buf = [0; 600];
        let most = DATAGRAM_MAX - MAC_LEN - header.octets();
        assert_eq!(emit(&header, &vec![0; most], &mac(), &mut buf), Ok(DATAGRAM_MAX));
        assert_eq!(emit(&header, &vec![0; most + 1], &mac(), &mut buf), Err(EmitError::Long(509)));
        assert_eq!(emit(&header, &vec![0; most], &mac(), &mut buf[..507]), Err(EmitError::Buffer(508)));
        assert_eq!(emit(&Header { win: 1 << 62, ..header }, &[], &mac(), &mut buf), Err(EmitError::Number));
        let mut long = vec![0; DATAGRAM_MAX + 1 - MAC_LEN];
        long.extend(mac().tag(&long));
        assert_eq!(View::open(&mac(), &long), Err(Refused::Long), "although its MAC is right");
        assert_eq!(View::open(&mac(), &mac().tag(b"")), Err(Refused::Short));
        assert_eq!(View::open(&mac(), &[0; 21]), Err(Refused::Forged));
    }

    #[test]
    fn cut_short_at_any_octet_is_malformed_until_the_header_is_whole() {
        let whole = [0x80, 0xf7, 0x01, 0x11, 0xf8, 0xfe, 0xf7, b'x'];
        for len in 0..whole.len() - 1 {
            assert!(View::checked(&whole[..len]).is_err(), "{len}");
        }
        let view = View::checked(&whole).expect("whole");
        assert_eq!(view.header, Header { flags: Flags::CLOSE, seq: 248, ack: 17, win: 65_518 });
        assert_eq!((view.header.end(), view.data), (65_535, &b"x"[..]));
    }
}
