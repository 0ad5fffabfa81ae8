//! The codec itself: no actor, no link, no clock.

use crate::Record;
use bytes::{Bytes, BytesMut};

/// Cuts bytes at a separator. Holds the record that has begun, and nothing else.
#[derive(Debug)]
pub struct Cut {
    separator: u8,
    longest: usize,
    begun: BytesMut,
}

/// A record is longer than agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Cut {
    /// Cuts at this byte. A record of more than `longest` bytes is an error: without a bound, a peer that never sends a
    /// separator would fill the memory (rule M1).
    pub fn at(separator: u8, longest: usize) -> Self {
        Self { separator, longest, begun: BytesMut::new() }
    }

    /// Gives each record that these bytes complete.
    ///
    /// # Errors
    ///
    /// A record is longer than agreed.
    pub fn feed(&mut self, bytes: &[u8], mut give: impl FnMut(Record)) -> Result<(), TooLong> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == self.separator) {
            self.hold(&rest[..end])?;
            give(Record(self.begun.split().freeze()));
            rest = &rest[end + 1..];
        }
        self.hold(rest)
    }

    /// The record that has begun, given up as it is; none if nothing has come of it.
    pub fn take_begun(&mut self) -> Option<Record> {
        (!self.begun.is_empty()).then(|| Record(self.begun.split().freeze()))
    }

    /// How many bytes of the next record are here.
    pub fn begun(&self) -> usize {
        self.begun.len()
    }

    /// Goes on from what another has begun.
    pub fn go_on_from(&mut self, begun: Bytes) {
        self.begun = begun.into();
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.begun.len() + bytes.len() > self.longest {
            return Err(TooLong);
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }
}
