//! `VutSocket`: one UDP socket shared by many connections.

use super::address::canonical;
use super::driver::Driver;
use super::line::{Bell, Holders};
use super::udp::{Batching, Udp};
use super::{VutOptions, VutTransport, may_connect, open, transport};
use crate::component::Peer;
use crate::proto::link::Reason;
use crate::proto::vut::wire::Secrets;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// A bound socket, for any number of connections to different peers. Clones are the same socket. It is closed when the last
/// clone and the last connection are gone, with what a connection still has to answer for after its end.
///
/// Datagrams of the native profile are told apart by the connection that they name, so a peer's address may change, and a peer may
/// have several connections, opened one after the other. All others are told apart by where they come from. What is for nobody is
/// dropped.
#[derive(Clone, Debug)]
pub struct VutSocket(Rc<Held>);

#[derive(Debug)]
struct Held {
    bell: Rc<Bell>,
    local: SocketAddr,
    /// The largest datagram that may be tried here.
    largest: u16,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bell.set_holders(Holders::None);
    }
}

/// Binds a socket on the current arbiter.
///
/// # Errors
///
/// The operating system's.
pub fn bind(addr: SocketAddr, batching: Batching) -> io::Result<VutSocket> {
    Ok(VutSocket::start(Udp::bind(addr, batching)?))
}

impl VutSocket {
    /// A socket that somebody else has bound, such as one that was used to learn its public address. Its buffers stay as they
    /// are.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn from_std(socket: std::net::UdpSocket, batching: Batching) -> io::Result<Self> {
        Ok(Self::start(Udp::adopt(socket, batching)?))
    }

    fn start(udp: Udp) -> Self {
        let (local, largest, bell) = (udp.local(), udp.largest(u16::MAX), Rc::new(Bell::new()));
        actix_rt::spawn(Driver::new(udp, bell.clone()));
        Self(Rc::new(Held { bell, local, largest }))
    }

    /// Where it is bound.
    pub fn local(&self) -> SocketAddr {
        self.0.local
    }

    /// A connection to this peer over the socket, opened when something is wanted of it. [`VutOptions`] that are about the socket
    /// have no meaning here. A second one to the same peer is refused while the first
    /// one is being opened, or speaks the 0.8 profile and is not over.
    ///
    /// For `secrets` see [`connect`](super::connect).
    pub fn connect(&self, peer: SocketAddr, secrets: Secrets, options: VutOptions) -> VutTransport {
        let socket = self.clone();
        transport(Peer::Vut(peer).to_string(), options.clone(), move |chain, status| async move {
            may_connect(&chain, peer).await?;
            if socket.0.bell.is_taken(canonical(peer)) {
                let error = io::Error::new(io::ErrorKind::AddrInUse, "the socket has a connection to this peer");
                return Err(Reason::io(format!("connect {}", Peer::Vut(peer)), error));
            }
            open(&socket, peer, &secrets, &options, &status).await
        })
    }

    pub(super) fn largest(&self) -> u16 {
        self.0.largest
    }

    pub(super) fn bell(&self) -> &Rc<Bell> {
        &self.0.bell
    }
}
