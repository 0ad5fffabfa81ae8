//! `Udp`: a bound socket that moves many datagrams per system call where the system can.
//!
//! | | sending | receiving |
//! |---|---|---|
//! | batched (quinn-udp) | segments of one size in one call (GSO) | several buffers a call (recvmmsg), several datagrams a buffer (GRO) |
//! | plain | one datagram a call | one datagram a call |
//!
//! quinn-udp itself falls back where a system or a driver refuses; the plain form is for measuring, and for where it fails. It cannot
//! forbid fragments, so paths are not searched beyond [`PLAIN_LARGEST`] in it.
//!
//! ECN: quinn-udp tells the mark of what came and sets that of what goes. The plain form can do neither, and leaves marks out both
//! ways; then the peer's connection finds out that its marks are of no use.

use super::address::destination;
use crate::proto::vut::EcnMark;
use quinn_udp::{EcnCodepoint, RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// How datagrams are moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Batching {
    /// As many a call as the system takes.
    #[default]
    Auto,
    /// One a call.
    Off,
}

/// What is asked of the system for each direction, in bytes: 2 MiB, some 2,700 datagrams of 508 octets with what the kernel
/// counts beside them. Less than a burst of the peer's is loss; the system gives what it allows.
const BUFFER: usize = 2 << 20;

/// System calls in a turn, before other tasks of the arbiter have theirs (rule F1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Calls {
    /// All receiving.
    pub(super) receive: usize,
    /// Sending for one connection.
    pub(super) send: usize,
}

/// Each takes some 60 datagrams, about 30 us of copying and authenticating.
const BATCHED: Calls = Calls { receive: 8, send: 4 };
/// Each takes one datagram and some 2 us.
const PLAIN: Calls = Calls { receive: 128, send: 64 };

/// Buffers of one receiving call.
const BUFFERS: usize = 8;
/// Octets of each: the most that a datagram, or what GRO makes of several, can have.
const ROOM: usize = 65_536;
/// The most octets that one sending call takes: the largest UDP payload over IPv4.
pub(super) const PAYLOAD_MAX: usize = 65_507;
/// The largest datagram where fragments are not forbidden: Ethernet over IPv6.
const PLAIN_LARGEST: u16 = 1452;

thread_local! {
    /// Where datagrams arrive, for all sockets of a thread: they are copied out before the next call.
    static ARRIVALS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A bound socket.
#[derive(Debug)]
pub(super) struct Udp {
    socket: UdpSocket,
    batched: Option<UdpSocketState>,
    local: SocketAddr,
}

impl Udp {
    /// Binds. The socket belongs to the current runtime.
    pub(super) fn bind(addr: SocketAddr, batching: Batching) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        // the system may give less, and then there is more loss
        let _ = socket.set_recv_buffer_size(BUFFER);
        let _ = socket.set_send_buffer_size(BUFFER);
        socket.bind(&addr.into())?;
        Self::adopt(socket.into(), batching)
    }

    /// Takes a socket that is bound.
    pub(super) fn adopt(socket: std::net::UdpSocket, batching: Batching) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        let batched = match batching {
            Batching::Auto => UdpSocketState::new((&socket).into())
                .inspect_err(|error| tracing::debug!(%error, "one datagram a call"))
                .ok(),
            Batching::Off => None,
        };
        let local = socket.local_addr()?;
        Ok(Self { socket, batched, local })
    }

    /// Where it is bound.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// How many calls a turn has.
    pub(super) fn calls(&self) -> Calls {
        if self.batched.is_some() { BATCHED } else { PLAIN }
    }

    /// How many datagrams of `size` octets one sending call takes.
    pub(super) fn segments(&self, size: usize) -> usize {
        let most = self.batched.as_ref().map_or(1, UdpSocketState::max_gso_segments);
        most.min(PAYLOAD_MAX / size).max(1)
    }

    /// The largest datagram that may be tried here, of `wished` octets at most.
    pub(super) fn largest(&self, wished: u16) -> u16 {
        let whole = self.batched.as_ref().is_some_and(|batched| !batched.may_fragment());
        if whole { wished } else { wished.min(PLAIN_LARGEST) }
    }

    /// True if one call may take several datagrams.
    pub(super) fn is_batched(&self) -> bool {
        self.batched.is_some()
    }

    /// Receives with one call, and hands out each datagram with its congestion mark. `Ready` if there was anything.
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(SocketAddr, Option<EcnMark>, &mut [u8]),
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_recv_ready(cx))?;
            match self.receive(&mut take) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn receive(&self, take: &mut impl FnMut(SocketAddr, Option<EcnMark>, &mut [u8])) -> io::Result<()> {
        ARRIVALS.with_borrow_mut(|room| {
            room.resize(BUFFERS * ROOM, 0);
            match &self.batched {
                Some(batched) => self.socket.try_io(Interest::READABLE, || self.receive_batch(batched, room, take)),
                None => self.socket.try_recv_from(room).map(|(len, from)| take(from, None, &mut room[..len])),
            }
        })
    }

    fn receive_batch(
        &self,
        batched: &UdpSocketState,
        room: &mut [u8],
        take: &mut impl FnMut(SocketAddr, Option<EcnMark>, &mut [u8]),
    ) -> io::Result<()> {
        let mut metas = [RecvMeta::default(); BUFFERS];
        let mut rooms = room.chunks_exact_mut(ROOM);
        let mut slices: [IoSliceMut<'_>; BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(rooms.next().unwrap_or_default()));
        let filled = batched.recv((&self.socket).into(), &mut slices, &mut metas)?;
        for (slice, meta) in slices.iter_mut().zip(&metas[..filled]) {
            // the stride of an empty datagram is 0
            let mark = meta.ecn.map(mark_of);
            slice[..meta.len].chunks_mut(meta.stride.max(1)).for_each(|datagram| take(meta.addr, mark, datagram));
        }
        Ok(())
    }

    /// Sends octets to one address as datagrams of `size`, the last one maybe shorter, all with this mark.
    ///
    /// # Errors
    ///
    /// `WouldBlock`: not now, and nothing was sent. Others: these datagrams are lost.
    pub(super) fn try_send(&self, to: SocketAddr, ecn: Option<EcnMark>, octets: &[u8], size: usize) -> io::Result<()> {
        let to = destination(self.local, to);
        let Some(batched) = &self.batched else { return self.socket.try_send_to(octets, to).map(drop) };
        self.socket.try_io(Interest::WRITABLE, || {
            let segment_size = (octets.len() > size).then_some(size);
            let ecn = ecn.map(codepoint);
            let transmit = Transmit { destination: to, ecn, contents: octets, segment_size, src_ip: None };
            batched.try_send((&self.socket).into(), &transmit)
        })
    }

    /// `Ready` when [`Self::try_send`] is worth another try.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_send_ready(cx)
    }
}

fn mark_of(codepoint: EcnCodepoint) -> EcnMark {
    match codepoint {
        EcnCodepoint::Ect0 => EcnMark::Ect0,
        EcnCodepoint::Ect1 => EcnMark::Ect1,
        EcnCodepoint::Ce => EcnMark::Ce,
    }
}

fn codepoint(mark: EcnMark) -> EcnCodepoint {
    match mark {
        EcnMark::Ect0 => EcnCodepoint::Ect0,
        EcnMark::Ect1 => EcnCodepoint::Ect1,
        EcnMark::Ce => EcnCodepoint::Ce,
    }
}
