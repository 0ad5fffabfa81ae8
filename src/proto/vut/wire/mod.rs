//! The octets of VUT 0.8: checked views of what arrives, owned forms of what is sent.
//!
//! ```text
//!   flags 1 | seq 1.. | ack 1.. | win 1.. | data 0.. | mac 20        at most 508 octets in all
//! ```
//!
//! Nothing of a datagram is looked at before its MAC was found right, in constant time ([`View::open`]). There is no length
//! field: data is what lies between the window and the MAC.
//!
//! **Who may panic.** Nothing here, on any octets. Encoding fails with an error where a buffer or a limit is too small.

mod datagram;
mod mac;
pub mod posint;

pub use datagram::{DATAGRAM_MAX, Datagram, EmitError, Flags, Header, MAC_LEN, Malformed, Refused, View, emit};
pub use mac::{Keys, Mac, SECRET_MIN, Secrets, SecretsError};
