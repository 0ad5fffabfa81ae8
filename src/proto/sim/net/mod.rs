//! A network for datagrams in virtual time: slow, full, lossy, reordering, as bad as wanted, and the same for each run of a seed.
//!
//! ```text
//!            Link: queue ─ rate ─ loss ─ delay ─ duplicate, corrupt, hold back
//!   side A ──[NAT]──────────────────────────────────────────────────▶ side B
//!          ◀─[NAT]──────────────────────────────────────────────────
//! ```
//!
//! A [`Link`] is one direction and stands alone: flows that share a bottleneck share a link. A [`Net`] is two of them between
//! two sides, with a [`Nat`] before side A if wanted. Nothing happens by itself: datagrams go in with the time, and come out
//! by [`Net::poll`] when theirs has come.
//!
//! ```
//! use std::time::Duration;
//! use versile_io::proto::sim::net::{Address, Net, Odds, Shape, Side};
//! use versile_io::proto::time::Time;
//!
//! let shape = Shape::new(Duration::from_millis(40)).rate(10_000_000).loss(Odds::percent(1.0));
//! let mut net = Net::new(7, shape.clone(), shape);
//! net.send(Time::ZERO, Side::A, net.address(Side::B), b"hello".to_vec());
//! let at = net.next_arrival().expect("under way");
//! let arrival = net.poll(at).expect("due");
//! assert_eq!((arrival.side, &arrival.packet.data[..]), (Side::B, &b"hello"[..]));
//! assert!(at >= Time::from_millis(40));
//! ```

mod link;
mod loss;
mod nat;
mod shape;

pub use link::{Counts, Fate, Link};
pub use loss::{Loss, Odds};
pub use nat::{Nat, Renewal};
pub use shape::{Marks, Shape};

use crate::proto::time::Time;
use std::fmt;
use std::time::Duration;

/// Where a datagram comes from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The host.
    pub host: u32,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(feature = "vut")]
impl crate::proto::vut::native::path::Address for Address {
    fn same_host(&self, other: &Self) -> bool {
        self.host == other.host
    }
}

/// What a datagram says of explicit congestion notification (RFC 3168).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codepoint {
    /// Not capable: what a queue cannot mark.
    #[default]
    NotEct,
    /// ECT(0).
    Ect0,
    /// ECT(1).
    Ect1,
    /// Congestion experienced.
    Ce,
}

#[cfg(feature = "vut")]
impl From<Codepoint> for Option<crate::proto::vut::EcnMark> {
    fn from(codepoint: Codepoint) -> Self {
        use crate::proto::vut::EcnMark;
        match codepoint {
            Codepoint::NotEct => None,
            Codepoint::Ect0 => Some(EcnMark::Ect0),
            Codepoint::Ect1 => Some(EcnMark::Ect1),
            Codepoint::Ce => Some(EcnMark::Ce),
        }
    }
}

#[cfg(feature = "vut")]
impl From<Option<crate::proto::vut::EcnMark>> for Codepoint {
    fn from(mark: Option<crate::proto::vut::EcnMark>) -> Self {
        use crate::proto::vut::EcnMark;
        match mark {
            None => Self::NotEct,
            Some(EcnMark::Ect0) => Self::Ect0,
            Some(EcnMark::Ect1) => Self::Ect1,
            Some(EcnMark::Ce) => Self::Ce,
        }
    }
}

/// A datagram under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its sender as the receiver sees it.
    pub from: Address,
    /// Where it goes.
    pub to: Address,
    /// Its octets.
    pub data: Vec<u8>,
}

/// One of two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first one, which a NAT may stand before.
    A,
    /// The other one.
    B,
}

impl Side {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The side across.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A datagram that came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Where it came out.
    pub side: Side,
    /// The datagram; its `to` is the address that the side itself has.
    pub packet: Packet,
    /// What it says of congestion.
    pub codepoint: Codepoint,
}

/// Two sides and the two links between them.
#[derive(Debug)]
pub struct Net {
    /// From A to B, from B to A.
    links: [Link; 2],
    nat: Option<Nat>,
}

impl Net {
    /// The inside address of side A.
    const A: Address = Address { host: 1, port: 1000 };
    /// The address of side B.
    const B: Address = Address { host: 2, port: 2000 };

    /// No NAT, and these shapes from A to B and from B to A.
    pub fn new(seed: u64, there: Shape, back: Shape) -> Self {
        Self { links: [Link::new(seed, there), Link::new(seed ^ 0x5EED_BAC4, back)], nat: None }
    }

    /// Side A lies behind a NAT.
    #[must_use]
    pub fn behind(mut self, nat: Nat) -> Self {
        self.nat = Some(nat);
        self
    }

    /// The address at which a side can be reached at first.
    pub fn address(&self, side: Side) -> Address {
        match (side, &self.nat) {
            (Side::A, Some(nat)) => nat.outside(),
            (Side::A, None) => Self::A,
            (Side::B, _) => Self::B,
        }
    }

    /// The NAT, if there is one.
    pub fn nat(&mut self) -> Option<&mut Nat> {
        self.nat.as_mut()
    }

    /// The link that `from` sends into.
    pub fn link(&mut self, from: Side) -> &mut Link {
        &mut self.links[from as usize]
    }

    /// Nothing that either side sends from `from` on arrives, for `length`.
    pub fn black_out(&mut self, from: Time, length: Duration) {
        for link in &mut self.links {
            link.black_out(from, length);
        }
    }

    /// `side` sends; what becomes of it is known at once, if only to the simulation.
    pub fn send(&mut self, now: Time, side: Side, to: Address, data: Vec<u8>) -> Fate {
        self.send_marked(now, side, to, data, Codepoint::NotEct)
    }

    /// The same with a codepoint.
    pub fn send_marked(&mut self, now: Time, side: Side, to: Address, data: Vec<u8>, codepoint: Codepoint) -> Fate {
        let from = match (side, &mut self.nat) {
            (Side::A, Some(nat)) => nat.outbound(now, to),
            (Side::A, None) => Self::A,
            (Side::B, _) => Self::B,
        };
        self.links[side as usize].send_marked(now, Packet { from, to, data }, codepoint)
    }

    /// When the next datagram comes out.
    pub fn next_arrival(&self) -> Option<Time> {
        self.links.iter().filter_map(Link::next_arrival).min()
    }

    /// The datagram that is due first, if one is due. What no address or binding takes is dropped on the way.
    pub fn poll(&mut self, now: Time) -> Option<Arrival> {
        loop {
            let due = |link: &Link| link.next_arrival().unwrap_or(Time::NEVER);
            let from = if due(&self.links[0]) <= due(&self.links[1]) { Side::A } else { Side::B };
            let at = self.links[from as usize].next_arrival().filter(|at| *at <= now)?;
            let (mut packet, codepoint) = self.links[from as usize].poll_marked(now)?;
            let side = from.other();
            let taken = match (side, &mut self.nat) {
                (Side::A, Some(nat)) => {
                    let taken = nat.inbound(at, packet.from, packet.to);
                    packet.to = Self::A;
                    taken
                }
                (Side::A, None) => packet.to == Self::A,
                (Side::B, _) => packet.to == Self::B,
            };
            if taken {
                return Some(Arrival { side, packet, codepoint });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_to_an_unknown_address_does_not_arrive() {
        let mut net = Net::new(1, Shape::default(), Shape::default());
        net.send(Time::ZERO, Side::A, Address { host: 9, port: 9 }, vec![1]);
        net.send(Time::ZERO, Side::A, net.address(Side::B), vec![2]);
        let arrival = net.poll(Time::ZERO).expect("the second");
        assert_eq!(arrival.packet.data, [2]);
        assert_eq!(net.poll(Time::NEVER), None);
    }

    #[test]
    fn both_directions_come_out_in_the_order_of_time() {
        let mut net = Net::new(1, Shape::new(Duration::from_millis(5)), Shape::new(Duration::from_millis(3)));
        net.send(Time::ZERO, Side::A, net.address(Side::B), vec![1]);
        net.send(Time::ZERO, Side::B, net.address(Side::A), vec![2]);
        assert_eq!(net.poll(Time::from_millis(2)), None);
        let order: Vec<_> = std::iter::from_fn(|| net.poll(Time::from_secs(1))).map(|got| got.side).collect();
        assert_eq!(order, [Side::A, Side::B]);
    }

    #[test]
    fn a_rebound_nat_shows_another_port_and_drops_what_goes_to_the_old_one() {
        let nat = Nat::new(Duration::from_secs(30), Renewal::NewPort);
        let mut net = Net::new(1, Shape::default(), Shape::default()).behind(nat);
        let b = net.address(Side::B);
        net.send(Time::ZERO, Side::A, b, vec![1]);
        let first = net.poll(Time::ZERO).expect("through").packet.from;
        net.nat().expect("one").rebind();
        net.send(Time::ZERO, Side::B, first, vec![2]);
        assert_eq!(net.poll(Time::ZERO), None, "no binding");
        net.send(Time::ZERO, Side::A, b, vec![3]);
        let second = net.poll(Time::ZERO).expect("through").packet.from;
        assert_ne!(first, second);
        net.send(Time::ZERO, Side::B, second, vec![4]);
        assert_eq!(net.poll(Time::ZERO).expect("through").packet.data, [4]);
    }
}
