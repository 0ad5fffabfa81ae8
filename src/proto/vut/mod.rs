//! VUT: a reliable, ordered, two-way stream of octets over UDP, without I/O.
//!
//! Two endpoints know each other's address and a pair of secrets. Neither is client or server: both send the same hello at
//! once. Datagrams, time and data come in as arguments and go out as values; the owner has the socket and the clock.
//!
//! ```text
//!    write ──▶ Sender ──▶ Flow ──▶ poll_transmit ══▶ network ══▶ handle_datagram ──▶ Receiver ──▶ read
//!      ▲                   ▲                                        │                   │
//!      └── credit ◀────────┴───────── acknowledgement, end ◀────────┴── set_read_limit ◀┘
//! ```
//!
//! This is the profile of the existing 0.8 peers: every rule that it keeps is one that they need. A conversation:
//!
//! ```text
//!   A > B  00 seq 0   ack 0    hello
//!   B > A  00 seq 0   ack 17   hello                  B has ours, and says so with its own
//!   A > B  00 seq 17  ack 17   window                 both know each other
//!   A > B  00 seq 17  ack 17   474 octets
//!   B > A  00 seq 17  ack 491  window                 one for each datagram with data
//!   A > B  80 seq 491 ack 17                          A's stream ends here; B may go on
//!   B > A  40 seq 17  ack 491                         all was read
//!   B > A  c0 seq 17  ack 491                         and B's ends as well
//!   A > B  c0 seq 491 ack 17                          said three times, and to who asks for 10 s
//! ```
//!
//! Where to read: [`Connection`] for what can be done with it, then one part at a time. Each has its rules in its own doc and
//! its tests at its end.
//!
//! | part | decides |
//! |---|---|
//! | `wire` | what a datagram is, and whether it is authentic |
//! | `handshake` | when both sides know each other |
//! | `receive` | what of the arriving data is taken |
//! | `owed` | which acknowledgements are due |
//! | `send` | how the stream is cut, and what is in flight |
//! | `recovery` | what was lost |
//! | `rtt`, `pacer`, `congestion` | how long to wait, how fast to send, how much |
//! | `flow` | puts these together |
//! | `closing` | how each direction ends |
//! | `greeting`, `endpoint` | which profile is spoken: [`Endpoint`] is a connection in either |
//! | [`native`] | the profile between two of ours |
//! | `repair` | what one existing peer spoils, and how it is read all the same |
//!
//! ```
//! use versile_io::proto::time::Time;
//! use versile_io::proto::vut::wire::Secrets;
//! use versile_io::proto::vut::{Config, Connection, Event};
//!
//! let secrets = Secrets::new([1; 32], [2; 32]).expect("safe");
//! let now = Time::ZERO;
//! let mut a = Connection::new(Config::default(), &secrets, now);
//! let mut b = Connection::new(Config::default(), &secrets.swapped(), now);
//! b.set_read_limit(now, 1000);
//! let mut carry = |from: &mut Connection, to: &mut Connection| {
//!     let mut buf = [0; 508];
//!     while let Some(len) = from.poll_transmit(now, &mut buf) {
//!         to.handle_datagram(now, &buf[..len]);
//!     }
//! };
//! for _ in 0..3 {
//!     carry(&mut a, &mut b);
//!     carry(&mut b, &mut a);
//! }
//! assert_eq!(a.poll_event(), Some(Event::Connected));
//! assert_eq!(a.poll_event(), Some(Event::Credit { limit: 1000 }));
//! a.write(bytes::Bytes::from_static(b"hello")).expect("granted");
//! carry(&mut a, &mut b);
//! assert_eq!(b.read(now, 100).expect("arrived"), "hello");
//! ```

pub mod congestion;
pub mod native;
pub mod pacer;
pub mod rtt;
pub mod wire;

mod closing;
mod config;
mod connection;
mod endpoint;
mod event;
mod flow;
mod greeting;
mod handshake;
mod owed;
mod receive;
mod recovery;
mod repair;
mod send;
mod stats;
mod trace;

pub use closing::Proof;
pub use config::Config;
pub use connection::Connection;
pub use endpoint::{Endpoint, Fresh, Profile, Setup, SetupError};
pub use event::{CloseReason, Event, WriteError};
pub use native::acks::EcnMark;
pub use native::switch::Mode;
pub use stats::Stats;
pub use trace::{Record, Tracer};

/// The first octets of the stream in each direction, and all of the first datagram's data.
const HELLO: &[u8] = b"VUDPTransport-0.8";

/// Octets of the hello: the stream of the application begins here.
const HELLO_LEN: u64 = HELLO.len() as u64;

/// The end that each side tells until both know each other, and that each assumes of the other.
const FIRST_END: u64 = 128;
