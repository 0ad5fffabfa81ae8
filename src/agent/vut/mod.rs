//! VUT: a reliable stream over UDP to a peer that shares a pair of secrets, as a stream like any other.
//!
//! ```text
//!   VutTransport ── a Stream ── VutIo ──┐            both peers connect; there is no listener
//!   VutTransport ── a Stream ── VutIo ──┤
//!                                     Driver ── one UDP socket, one timer, many connections
//! ```
//!
//! [`connect`] gives a stream with a socket of its own; [`bind`] a socket for many. A socket and its streams live on the arbiter where
//! it was bound. [`VutOptions::mode`] says which profiles are spoken: the native one unless something else is asked for.
//!
//! # Opening
//!
//! When something is wanted of the stream it asks the consumer ([`CanConnect`](crate::component::control::CanConnect)), and
//! nothing is sent before the answer. Both peers then say the same hello, as often as it takes, and
//! [`Connected`](crate::component::control::Connected) is told when the peer has proven that it knows the secrets. Nobody there for
//! [`Config::handshake`](crate::proto::vut::Config::handshake): the chain is aborted, with a reason that tells a peer with other secrets, and
//! one that knows only the 0.8 profile, from none.
//!
//! # Credit
//!
//! The consumer's grant is the peer's window, to the octet, with no buffer between. What the producer gives is held in the
//! inlet's window until the peer's window takes it.
//!
//! # Ends
//!
//! | here | there |
//! |---|---|
//! | clean end | all data, then an end; ours has ended when the peer has acknowledged it |
//! | unclean end | all data, then an abort, which takes both directions |
//! | abort, panic, dropped, or over with data that nobody read | an abort |
//! | arbiter stopped | an abort that is said once and may be lost; then a time-out |
//!
//! [`VutTransport::status`] tells how it ended, and whether that is proven; [`Unproven`] says what an end counts for that is
//! not. A peer's abort brings its code. A peer that is not heard of for [`Config::dead_peer`](crate::proto::vut::Config::dead_peer) is lost: an abort, with or
//! without credit (rule A4).
//!
//! When it is over the stream waits until the last datagram was said three times. The socket's task then answers the peer's late
//! ones for [`Config::linger`](crate::proto::vut::Config::linger), as long as its arbiter runs.

mod address;
mod batch;
mod driver;
mod fresh;
mod io;
mod line;
mod lines;
mod options;
mod socket;
mod status;
mod udp;

pub use options::{Unproven, VutOptions};
pub use socket::{VutSocket, bind};
pub use status::VutStatus;
pub use udp::Batching;

use crate::agent::resolve::resolve_addrs;
use crate::agent::stream::{Opened, Stream};
use crate::component::port::Asker;
use crate::component::stock::{Done, Duplex, Outcome, PartResult};
use crate::component::{PairRef, Peer};
use crate::proto::link::Reason;
use crate::proto::vut::wire::Secrets;
use crate::proto::vut::{Endpoint, Setup};
use address::canonical;
use bytes::Bytes;
use futures_util::FutureExt;
use io::VutIo;
use line::{Joining, Life, Line, Wait};
use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::task::Poll;

/// A VUT connection as a stream, and what is known of it.
#[derive(Debug)]
pub struct VutTransport {
    stream: Stream,
    status: VutStatus,
}

impl VutTransport {
    /// A look at the connection that goes on when the stream has started, and when it is over.
    pub fn status(&self) -> VutStatus {
        self.status.clone()
    }

    /// Calls `hook` once when it is over, with how the stream and the connection ended.
    #[must_use]
    pub fn on_close(self, hook: impl FnOnce(&Outcome, &VutStatus) + 'static) -> Self {
        let Self { stream, status } = self;
        let told = status.clone();
        Self { stream: stream.on_close(move |outcome| hook(outcome, &told)), status }
    }

    /// The stream, to be set up as any other.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// Starts it in an actor on the current arbiter.
    pub fn start(self) -> (PairRef<Bytes>, Done<Stream>) {
        self.stream.start()
    }
}

/// A connection to the peer at `host` (a name or an address) over a socket of its own, opened when something is wanted of it.
/// The first address that a look-up gives is taken, of the family of [`VutOptions::bind`] if that is set.
///
/// `secrets` are ours and the peer's. In the 0.8 profile they must not be used for another connection: it has no other protection
/// from datagrams of an earlier one. So in mode auto, where a recorded hello can bring about an abort.
///
/// ```
/// use std::time::Duration;
/// use versile_io::agent::file::{self, WriteOptions};
/// use versile_io::agent::vut::{self, VutOptions};
/// use versile_io::component::join;
/// use versile_io::component::stock::Duplex as _;
/// use versile_io::proto::vut::Config;
/// use versile_io::proto::vut::wire::Secrets;
///
/// actix::System::new().block_on(async {
///     let secrets = Secrets::new([1; 32], [2; 32]).expect("safe");
///     let config = Config { handshake: Duration::from_millis(50), ..Config::default() };
///     // nobody answers there
///     let peer = vut::connect("127.0.0.1", 9, secrets, VutOptions { config, ..VutOptions::default() });
///     let ((peer, _), (file, done)) = (peer.start(), file::write("/dev/null", WriteOptions::default()).start());
///     join(&peer.outlet, &file.inlet, None);
///     let (_, outcome) = done.await;
///     assert!(outcome.to_string().ends_with("connect vut 127.0.0.1:9: no answer from the peer"), "{outcome}");
/// });
/// ```
pub fn connect(host: impl Into<String>, port: u16, secrets: Secrets, options: VutOptions) -> VutTransport {
    let host = host.into();
    let name = format!("vut {host}:{port}");
    transport(name, options.clone(), move |chain, status| async move {
        let peer = look_up(&host, port, &options).await?;
        may_connect(&chain, peer).await?;
        let any = match peer {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let local = options.bind.unwrap_or(any);
        let socket =
            socket::bind(local, options.batching).map_err(|error| Reason::io(format!("bind udp {local}"), error))?;
        open(&socket, peer, &secrets, &options, &status).await
    })
}

/// The future is made when the stream is opened.
fn transport<F, W>(name: String, options: VutOptions, opening: F) -> VutTransport
where
    F: FnOnce(Asker<Bytes>, VutStatus) -> W + 'static,
    W: Future<Output = PartResult<Opened>> + 'static,
{
    let status = VutStatus::default();
    let told = status.clone();
    let opener = Box::new(move |chain: Asker<Bytes>, _| opening(chain, told).boxed_local());
    VutTransport { stream: Stream::to_open(name, options.stream, opener), status }
}

async fn look_up(host: &str, port: u16, options: &VutOptions) -> PartResult<SocketAddr> {
    let found = resolve_addrs(host, port, options.preference).await.map_err(Reason::failed)?;
    let fits = |addr: &&SocketAddr| match options.bind {
        Some(SocketAddr::V4(_)) => addr.is_ipv4(),
        // one of any address may reach IPv4 too
        Some(SocketAddr::V6(bind)) => addr.is_ipv6() || bind.ip().is_unspecified(),
        None => true,
    };
    found.iter().find(fits).copied().ok_or_else(|| {
        let error = std::io::Error::new(std::io::ErrorKind::Unsupported, "no address of the family of bind");
        Reason::io(format!("connect vut {host}:{port}"), error)
    })
}

async fn may_connect(chain: &Asker<Bytes>, peer: SocketAddr) -> PartResult {
    crate::agent::stream::may_connect(chain, &Peer::Vut(peer)).await
}

/// Makes a connection over a socket, and waits until both sides know each other.
async fn open(
    socket: &VutSocket,
    peer: SocketAddr,
    secrets: &Secrets,
    options: &VutOptions,
    status: &VutStatus,
) -> PartResult<Opened> {
    let failed = |error| Reason::io(format!("connect {}", Peer::Vut(peer)), error);
    let bell = socket.bell().clone();
    let key = canonical(peer);
    let setup = Setup {
        mode: options.mode,
        context: options.context.clone(),
        largest: options.largest.min(socket.largest()),
        fast_aes: fresh::has_fast_aes(),
        config: options.config.clone(),
        ..Setup::new(secrets.clone(), key, fresh::fresh().map_err(failed)?)
    };
    let endpoint = Endpoint::new(setup, bell.now())
        .map_err(|error| failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, error)))?;
    let line = Rc::new(RefCell::new(Line::new(endpoint)));
    let joining = Joining { id: bell.id(), peer: key, line: line.clone() };
    // dropped before it is open, it is aborted
    let io = VutIo::new(&joining, bell.clone(), socket.local(), options.unproven);
    status.attach(&line);
    bell.join(joining);
    std::future::poll_fn(|cx| {
        let mut line = line.borrow_mut();
        match line.life {
            Life::Open => Poll::Ready(Ok(())),
            Life::Opening => {
                line.wait(Wait::State, cx);
                Poll::Pending
            }
            Life::Closed(reason) => {
                let error = line.failure().unwrap_or_else(|| std::io::Error::other(reason));
                Poll::Ready(Err(failed(error)))
            }
        }
    })
    .await?;
    Ok(Opened { io: Box::new(io), peer: Peer::Vut(peer) })
}
