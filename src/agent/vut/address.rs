//! Addresses: as connections know them, and as a socket has to be told them.

use crate::proto::vut::native::path::Address;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

impl Address for SocketAddr {
    fn same_host(&self, other: &Self) -> bool {
        self.ip() == other.ip()
    }
}

/// An address as connections are found by it, whatever family the socket is of.
pub(super) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_none() && v6.scope_id() != 0 => {
            SocketAddr::V6(SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()))
        }
        _ => SocketAddr::new(addr.ip().to_canonical(), addr.port()),
    }
}

/// An address as a socket that is bound to `local` has to be told it: one of IPv6 reaches an IPv4 address by its mapped form.
pub(super) fn destination(local: SocketAddr, peer: SocketAddr) -> SocketAddr {
    match (local, peer.ip()) {
        (SocketAddr::V6(_), IpAddr::V4(ip)) => SocketAddrV6::new(ip.to_ipv6_mapped(), peer.port(), 0, 0).into(),
        _ => peer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_either_family_is_one_to_connections_and_comes_back_as_the_socket_needs_it() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let (plain, mapped) = (at("10.0.0.1:5"), at("[::ffff:10.0.0.1]:5"));
        assert_eq!(canonical(mapped), plain);
        assert_eq!(destination(at("[::]:1"), plain), mapped);
        assert_eq!(destination(at("0.0.0.0:1"), plain), plain);
        assert!(plain.same_host(&at("10.0.0.1:6")) && !plain.same_host(&at("10.0.0.2:5")));
        // where it was heard, an address of one link says which link
        let linked = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().expect("an address"), 5, 7, 3));
        assert_eq!(
            canonical(linked),
            SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().expect("an address"), 5, 0, 3))
        );
    }
}
