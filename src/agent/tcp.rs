//! TCP: connecting, options, pairs. Listening is in [`listener`](super::listener).
//!
//! # How the other side sees the end
//!
//! | here | there |
//! |---|---|
//! | clean end | all data, then an orderly end; the connection stays half open if the policy allows it |
//! | unclean end | all data, then a reset; the other direction is closed with it |
//! | abort, panic, arbiter stopped, dropped | a reset, unless our end was sent before |
//!
//! A reset throws away what lies in the system's send buffer, so an unclean end waits before it, up to 5 s, until the other
//! side has taken what was written: all was sent, and all but a last packet of some 2 KiB was acknowledged (the exact count
//! cannot be asked without `unsafe`). If that packet is lost on the way, so is its data. A connection that we close while
//! the other side still sends is read and thrown away for up to 5 s, since closing over unread data resets it too. A socket
//! that another process holds as well is reset only when the last of them closes it.

use super::io::TcpIo;
use super::resolve::{Preference, numeric, resolve_all};
use super::stream::{Name, Opened, Stream, StreamSettings, may_connect};
use crate::component::Peer;
use crate::component::port::Asker;
use crate::component::stock::PartResult;
use crate::proto::link::Reason;
use bytes::Bytes;
use futures_util::FutureExt;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

/// How long connecting may take in all, over all addresses: 30 s, unless set.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Options of a TCP connection.
#[derive(Clone, Debug)]
pub struct TcpOptions {
    /// Send small pieces at once (`TCP_NODELAY`). Off by default, as the system has it: it halves the throughput of bulk data.
    pub nodelay: bool,
    /// Probe an idle connection after this time (`SO_KEEPALIVE`). `None`: do not.
    pub keep_alive: Option<Duration>,
    /// The system's send buffer, in bytes. `None`: as the system has it.
    pub send_buffer: Option<u32>,
    /// The system's receive buffer, in bytes. `None`: as the system has it.
    pub receive_buffer: Option<u32>,
    /// The local address to connect from.
    pub bind: Option<SocketAddr>,
    /// How long connecting may take in all.
    pub connect_timeout: Duration,
    /// Which addresses of the host are tried, and in which order.
    pub preference: Preference,
    /// What all streams have in common.
    pub stream: StreamSettings,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            nodelay: false,
            keep_alive: None,
            send_buffer: None,
            receive_buffer: None,
            bind: None,
            connect_timeout: CONNECT_TIMEOUT,
            preference: Preference::default(),
            stream: StreamSettings::default(),
        }
    }
}

impl TcpOptions {
    /// Sets what can be set on a connected socket.
    pub(crate) fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        if self.nodelay {
            stream.set_nodelay(true)?;
        }
        let socket = SockRef::from(stream);
        if let Some(after) = self.keep_alive {
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(after))?;
        }
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes as usize)?;
        }
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes as usize)?;
        }
        Ok(())
    }
}

/// A connection to be made to `host` (a name or an address) when something is wanted of it: all its addresses in turn, each
/// after asking the consumer whether it may ([`CanConnect`](crate::component::control::CanConnect)). The time to connect is for
/// all of it, the look-up and the answers included; an address that does not answer uses up no more than its share.
///
/// Its errors abort its chain: the look-up's, the last address's (with how many were tried), `Refused`, `TimedOut`.
///
/// ```
/// use versile_io::agent::file::{self, WriteOptions};
/// use versile_io::agent::tcp::{self, TcpOptions};
/// use versile_io::component::stock::Duplex as _;
/// use versile_io::component::join;
///
/// actix::System::new().block_on(async {
///     // nobody listens there
///     let (server, _) = tcp::connect("127.0.0.1", 1, TcpOptions::default()).start();
///     let (file, done) = file::write("/dev/null", WriteOptions::default()).start();
///     join(&server.outlet, &file.inlet, None);
///     let (_, outcome) = done.await;
///     assert!(outcome.to_string().starts_with("aborted: tcp 127.0.0.1:1: connect tcp 127.0.0.1:1"), "{outcome}");
/// });
/// ```
pub fn connect(host: impl Into<Arc<str>>, port: u16, options: TcpOptions) -> Stream {
    let host = host.into();
    let name = Name::Tcp(host.clone(), port);
    let settings = options.stream;
    let opener =
        move |chain: Asker<Bytes>, _| async move { connect_within(&host, port, &options, &chain).await }.boxed_local();
    Stream::to_open(name, settings, Box::new(opener)).for_a_socket()
}

async fn connect_within(host: &Arc<str>, port: u16, options: &TcpOptions, chain: &Asker<Bytes>) -> PartResult<Opened> {
    let limit = options.connect_timeout;
    let work = connect_any(host, port, options, chain);
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let waiting_for = format!("connect tcp {host}:{port}").into();
        Err(Reason::TimedOut { waiting_for, after: limit })
    })
}

async fn connect_any(host: &Arc<str>, port: u16, options: &TcpOptions, chain: &Asker<Bytes>) -> PartResult<Opened> {
    if let Some(addr) = numeric(host, port).filter(|addr| options.preference.lets(*addr)) {
        let peer = Peer::tcp(addr).with_requested(host.clone(), port);
        return connect_first(&[peer], options, chain).await;
    }
    let peers = resolve_all(host, port, options.preference).await.map_err(Reason::failed)?;
    connect_first(&peers, options, chain).await
}

/// Connects to the first of these that answers. Each but the last may take an equal share of the time that is left, so that
/// an address whose packets are dropped does not use up the time of those behind it.
async fn connect_first(peers: &[Peer], options: &TcpOptions, chain: &Asker<Bytes>) -> PartResult<Opened> {
    let deadline = Instant::now() + options.connect_timeout;
    let mut last = None;
    for (i, peer) in peers.iter().enumerate() {
        let Some(addr) = peer.socket_addr() else { continue };
        may_connect(chain, peer).await?;
        let connecting = connect_one(addr, options);
        let result = match u32::try_from(peers.len() - i) {
            // the caller's time-out
            Ok(1) | Err(_) => connecting.await,
            Ok(left) => {
                let share = deadline.saturating_duration_since(Instant::now()) / left;
                tokio::time::timeout(share, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
        };
        match result {
            Ok(stream) => {
                return Ok(opened(stream, peer.clone()));
            }
            Err(error) => last = Some((peer, error)),
        }
    }
    Err(match (last, peers.len()) {
        (Some((peer, error)), 1) => Reason::io(format!("connect {peer:#}"), error),
        (Some((peer, error)), n) => Reason::io(format!("connect {peer:#}, the last of {n} addresses"), error),
        (None, _) => Reason::io("connect", io::ErrorKind::AddrNotAvailable.into()),
    })
}

async fn connect_one(addr: SocketAddr, options: &TcpOptions) -> io::Result<TcpStream> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // buffers before connecting: they decide the window scale (RFC 7323, section 2)
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(local) = options.bind {
        if local.port() != 0 {
            // a port that was used a minute ago can be used again towards another peer
            socket.set_reuseaddr(true)?;
        }
        socket.bind(local)?;
    }
    let stream = socket.connect(addr).await?;
    options.apply(&stream)?;
    Ok(stream)
}

/// A connection that somebody else made or accepted.
///
/// # Errors
///
/// The options could not be set, or the other side is gone already.
pub fn from_stream(stream: TcpStream, options: &TcpOptions) -> io::Result<Stream> {
    let peer = Peer::tcp(stream.peer_addr()?);
    from_peer(stream, peer, options)
}

/// The same, where it is known who is at the other side.
pub(crate) fn from_peer(stream: TcpStream, peer: Peer, options: &TcpOptions) -> io::Result<Stream> {
    options.apply(&stream)?;
    Ok(Stream::opened(opened(stream, peer), options.stream))
}

fn opened(stream: TcpStream, peer: Peer) -> Opened {
    Opened { io: Box::new(TcpIo::from(stream)), peer }
}

/// Two connected TCP streams on loopback: the seed's `create_native_pair`. A stranger who connects first is turned away.
///
/// # Errors
///
/// The operating system's.
pub async fn pair(options: &TcpOptions) -> io::Result<(Stream, Stream)> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let ours = TcpStream::connect(listener.local_addr()?).await?;
    loop {
        let (theirs, from) = listener.accept().await?;
        if from == ours.local_addr()? {
            return Ok((from_stream(ours, options)?, from_stream(theirs, options)?));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::Outlet;
    use crate::component::control::ASK_TIMEOUT;
    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    fn nobody() -> Asker<Bytes> {
        Outlet::default().asker()
    }

    /// An address that answers no connection, and what keeps it so: a listener whose backlog is full.
    fn silent() -> (SocketAddr, Vec<Socket>) {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.bind(&any.into()).expect("bound");
        listener.listen(0).expect("listens");
        let at = listener.local_addr().expect("bound");
        let fill = (0..4).map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).expect("a socket");
            // under way, or waiting for ever
            let _ = socket.connect(&at);
            socket
        });
        let mut kept: Vec<Socket> = fill.collect();
        kept.push(listener);
        (at.as_socket().expect("an address"), kept)
    }

    async fn refused() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        listener.local_addr().expect("bound")
    }

    async fn connected(dead: SocketAddr, options: &TcpOptions) -> SocketAddr {
        let live = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let live_at = live.local_addr().expect("bound");
        let peers = [Peer::tcp(dead), Peer::tcp(live_at)];
        let opened = connect_first(&peers, options, &nobody()).await.expect("connected");
        assert_eq!(opened.peer.socket_addr(), Some(live_at));
        live_at
    }

    #[tokio::test]
    async fn a_refused_address_leads_to_the_next() {
        connected(refused().await, &TcpOptions::default()).await;
    }

    #[tokio::test]
    async fn a_silent_address_uses_up_its_share_and_no_more() {
        let (dead, _kept) = silent();
        let options = TcpOptions { connect_timeout: Duration::from_millis(200), ..TcpOptions::default() };
        tokio::time::timeout(ASK_TIMEOUT, connected(dead, &options)).await.expect("in time");
    }

    #[tokio::test]
    async fn the_last_error_says_how_many_addresses_there_were() {
        let (a, b) = (refused().await, refused().await);
        let failed = connect_first(&[Peer::tcp(a), Peer::tcp(b)], &TcpOptions::default(), &nobody()).await;
        let text = failed.err().expect("refused").to_string();
        assert!(text.starts_with(&format!("connect tcp {b}, the last of 2 addresses: Connection refused")), "{text}");
    }

    #[tokio::test]
    async fn a_single_silent_address_uses_up_all_the_time() {
        let (dead, _kept) = silent();
        let limit = Duration::from_millis(50);
        let options = TcpOptions { connect_timeout: limit, ..TcpOptions::default() };
        let failed = connect_within(&dead.ip().to_string().into(), dead.port(), &options, &nobody()).await;
        let reason = failed.err().expect("no answer");
        assert!(matches!(&reason, Reason::TimedOut { after, .. } if *after == limit), "{reason}");
        assert!(reason.to_string().contains(&dead.to_string()), "{reason}");
    }
}
