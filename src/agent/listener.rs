//! Listening: accepts connections and hands each to a factory, which builds a chain for it on an arbiter.
//!
//! ```text
//!   bind ──▶ Bound ──start(factory)──▶ ListenerActor ──Accepted──▶ factory, on the arbiter with the fewest connections
//!                                          ▲   │                    the whole chain stays there
//!                                  permits │   │ cap: a place is taken until the connection's stream is over
//! ```
//!
//! * Arbiters: each connection goes to the one that has the fewest of this listener's, in turn among equals. With
//!   [`reuse_port`](ListenOptions::reuse_port) each arbiter has a listening socket of its own instead, and the system spreads
//!   connections over them by their addresses: nothing is handed over, and no arbiter accepts for the others.
//! * Permits (`controlled`): one connection is accepted for each permit; they add up.
//! * Cap (`max`): at most so many connections at a time; further ones wait in the system's backlog.
//! * Out of descriptors (`EMFILE` and the like): accepting pauses, from 10 ms doubling to 1 s, and goes on by itself.
//! * A factory that panics loses its own connection; the listener goes on.
//!
//! An echo server, with chains spread over two arbiters:
//!
//! ```
//! use actix_rt::Arbiter;
//! use versile_io::agent::listener::{self, ListenOptions};
//! use versile_io::agent::tcp::TcpOptions;
//! use versile_io::component::{join, stock::Duplex as _};
//!
//! actix::System::new().block_on(async {
//!     let arbiters = [Arbiter::new(), Arbiter::new()];
//!     let options = ListenOptions { arbiters: arbiters.iter().map(Arbiter::handle).collect(), ..Default::default() };
//!     let bound = listener::tcp(([127, 0, 0, 1], 0).into(), options)?;
//!     let listening = bound.start(|accepted| {
//!         if let Ok(stream) = accepted.into_stream(&TcpOptions::default()) {
//!             let (connection, _) = stream.start();
//!             join(&connection.outlet, &connection.inlet, None);
//!         }
//!     });
//!     println!("listening at {}", listening.local());
//!     listening.stop().await;
//!     arbiters.iter().for_each(|arbiter| drop(arbiter.stop()));
//!     Ok::<_, std::io::Error>(())
//! })?;
//! # Ok::<_, std::io::Error>(())
//! ```

mod places;
mod seats;

use places::{Place, Places};
use seats::Seats;

use super::stream::Stream;
use super::tcp::{self, TcpOptions};
use super::unix::{self, UnixOptions};
use crate::component::Peer;
use crate::component::peer::UnixName;
use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use actix_rt::ArbiterHandle;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::Sleep;

/// Connections that the system keeps waiting for us, unless set: 1,024. Linux takes at most `net.core.somaxconn` (4,096).
pub const BACKLOG: i32 = 1024;

/// The first pause when descriptors run out, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Accepts in one turn before other actors of the arbiter have theirs (rule F1).
const ACCEPTS_PER_TURN: usize = 16;

/// Options of a listener.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Connections that the system keeps waiting.
    pub backlog: i32,
    /// At most so many connections at a time. `None`: no bound but descriptors.
    pub max: Option<usize>,
    /// Accept only what [`Listening::permit`] permits.
    pub controlled: bool,
    /// Several listeners may share the address (`SO_REUSEPORT`), in this process and in others. With several
    /// [`arbiters`](Self::arbiters) each gets one of its own, unless the listener is [`controlled`](Self::controlled), whose permits
    /// one listener counts. TCP only.
    pub reuse_port: bool,
    /// The permissions of a Unix socket's file. `None`: as the process's mask has it.
    pub mode: Option<u32>,
    /// Remove a Unix socket's file that nobody listens on any more.
    pub unlink: bool,
    /// The arbiters over which chains are spread by load. Empty: the listener's own.
    pub arbiters: Vec<ArbiterHandle>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: BACKLOG,
            max: None,
            controlled: false,
            reuse_port: false,
            mode: None,
            unlink: false,
            arbiters: Vec::new(),
        }
    }
}

/// Binds a TCP address and listens; connections wait until [`Bound::start`].
///
/// # Errors
///
/// The operating system's.
pub fn tcp(addr: SocketAddr, options: ListenOptions) -> io::Result<Bound> {
    let socket = listen_at(addr, &options)?;
    let first = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::InvalidInput)?;
    let more = match options.reuse_port && !options.controlled {
        true => (1..options.arbiters.len()).map(|_| listen_at(first, &options)).collect::<io::Result<_>>()?,
        false => Vec::new(),
    };
    Ok(Bound { socket, more, kind: Kind::Tcp, local: Peer::tcp(first), file: None, options })
}

fn listen_at(addr: SocketAddr, options: &ListenOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(options.backlog)?;
    Ok(socket)
}

/// Binds a Unix socket and listens; connections wait until [`Bound::start`]. Its file is removed when the listener stops.
///
/// # Errors
///
/// The operating system's; `AddrInUse` if the file is there, and with [`ListenOptions::unlink`] only if somebody listens on it.
pub fn unix(name: UnixName, options: ListenOptions) -> io::Result<Bound> {
    let addr = match &name {
        UnixName::Path(path) => SockAddr::unix(path)?,
        UnixName::Abstract(bytes) => {
            let mut raw = vec![0];
            raw.extend_from_slice(bytes);
            use std::os::unix::ffi::OsStrExt;
            SockAddr::unix(std::ffi::OsStr::from_bytes(&raw))?
        }
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "an unnamed socket cannot be listened on")),
    };
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    let bound = match socket.bind(&addr) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse && options.unlink => match &name {
            UnixName::Path(path) if is_stale(&addr) => {
                std::fs::remove_file(path)?;
                socket.bind(&addr)
            }
            _ => Err(e),
        },
        bound => bound,
    };
    bound?;
    let file = match &name {
        UnixName::Path(path) => Some(RemovedFile::new(path)?),
        _ => None,
    };
    if let (Some(mode), UnixName::Path(path)) = (options.mode, &name) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    socket.listen(options.backlog)?;
    Ok(Bound { socket, more: Vec::new(), kind: Kind::Unix, local: Peer::Unix(name), file, options })
}

/// True if nobody listens on the socket.
fn is_stale(addr: &SockAddr) -> bool {
    // not blocking: a listener whose backlog is full would keep us waiting
    let refused = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).and_then(|socket| socket.connect(addr));
    matches!(refused, Err(e) if e.kind() == io::ErrorKind::ConnectionRefused)
}

/// Removes the file of a Unix socket when dropped.
#[derive(Debug)]
struct RemovedFile {
    path: PathBuf,
    /// Which file it is, so that another that has taken its path is left alone.
    id: (u64, u64),
}

impl RemovedFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), id: file_id(path)? })
    }
}

fn file_id(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

impl Drop for RemovedFile {
    fn drop(&mut self) {
        if file_id(&self.path).is_ok_and(|id| id == self.id) {
            // it may go in this moment
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Tcp,
    Unix,
}

impl Listener {
    /// For the arbiter that calls.
    fn new(socket: Socket, kind: Kind) -> io::Result<Self> {
        Ok(match kind {
            Kind::Tcp => Self::Tcp(TcpListener::from_std(socket.into())?),
            Kind::Unix => Self::Unix(UnixListener::from_std(socket.into())?),
        })
    }
}

/// A bound address that listens; nothing is accepted yet.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    /// Those of the other arbiters, where each has its own.
    more: Vec<Socket>,
    kind: Kind,
    local: Peer,
    file: Option<RemovedFile>,
    options: ListenOptions,
}

impl Bound {
    /// Where it listens; the port that the system chose if 0 was asked for.
    pub fn local(&self) -> &Peer {
        &self.local
    }

    /// Starts accepting: on the current arbiter, or on each of the options' arbiters if each has a socket of its own. `factory`
    /// runs on the arbiter that the chain is to live on, for each connection.
    pub fn start(self, factory: impl Fn(Accepted) + Send + Sync + 'static) -> Listening {
        let Self { socket, more, kind, local, file, options } = self;
        let factory: Arc<Factory> = Arc::new(factory);
        let places = Places::new(options.max);
        let actor = |socket, file, seats| ListenerActor {
            open: Open::Bound(socket, kind),
            file,
            local: local.clone(),
            seats,
            permits: if options.controlled { Some(0) } else { None },
            places: places.clone(),
            pause: None,
            factory: factory.clone(),
        };
        let addrs = match more.is_empty() {
            true => vec![actor(socket, file, Seats::of(options.arbiters)).start()],
            false => {
                let sockets = std::iter::once(socket).chain(more);
                let started = options.arbiters.iter().zip(sockets).map(|(arbiter, socket)| {
                    let actor = actor(socket, None, Seats::default());
                    ListenerActor::start_in_arbiter(arbiter, move |_| actor)
                });
                started.collect()
            }
        };
        Listening { addrs: addrs.into(), local }
    }
}

type Factory = dyn Fn(Accepted) + Send + Sync;

/// A handle on a listener. The listener goes on when it is dropped.
#[derive(Clone)]
pub struct Listening {
    /// One, or one for each arbiter.
    addrs: Arc<[Addr<ListenerActor>]>,
    local: Peer,
}

impl Listening {
    /// Where it listens.
    pub fn local(&self) -> &Peer {
        &self.local
    }

    /// Permits `n` more connections, for a controlled listener. Permits add up.
    pub fn permit(&self, n: usize) {
        // a controlled listener is one
        if let Some(addr) = self.addrs.first() {
            addr.do_send(Permit(n));
        }
    }

    /// Stops accepting and closes the address; connections go on. Resolves when it is closed.
    pub async fn stop(&self) {
        let stops: Vec<_> = self.addrs.iter().map(|addr| addr.send(Stop)).collect();
        for stop in stops {
            // already stopped is as good
            let _ = stop.await;
        }
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("local", &self.local).finish_non_exhaustive()
    }
}

/// A connection that was accepted, on the arbiter that its chain will live on.
///
/// Dropped without [`into_stream`](Self::into_stream), it is reset: the other side must not take it for an empty answer
/// (rule E1).
#[derive(Debug)]
pub struct Accepted {
    socket: Refusable,
    peer: Peer,
    local: Peer,
    place: Place,
}

impl Accepted {
    /// Who connected.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Where it was accepted.
    pub fn local(&self) -> &Peer {
        &self.local
    }

    /// The connection as a part to be started. `options` are for a TCP connection; a Unix one takes what all streams have in
    /// common.
    ///
    /// # Errors
    ///
    /// The operating system's: the other side may be gone already.
    pub fn into_stream(mut self, options: &TcpOptions) -> io::Result<Stream> {
        let Some(socket) = self.socket.0.take() else { return Err(io::ErrorKind::NotConnected.into()) };
        let (peer, unix) = (self.peer, UnixOptions { stream: options.stream, ..UnixOptions::default() });
        let stream = match socket {
            Taken::Tcp(stream) => tcp::from_peer(stream, peer, options)?,
            Taken::Unix(stream) => unix::from_peer(stream, peer, &unix),
            Taken::Bare(socket) if matches!(peer, Peer::Tcp { .. }) => {
                tcp::from_peer(TcpStream::from_std(socket.into())?, peer, options)?
            }
            Taken::Bare(socket) => unix::from_peer(UnixStream::from_std(socket.into())?, peer, &unix),
        };
        Ok(stream.guarded_by(Box::new(self.place)))
    }
}

/// A socket that was accepted.
#[derive(Debug)]
enum Taken {
    /// On the arbiter that accepted it.
    Tcp(TcpStream),
    /// The same.
    Unix(UnixStream),
    /// On its way to another arbiter.
    Bare(Socket),
}

impl Taken {
    /// To be taken to another arbiter.
    fn bare(self) -> io::Result<Self> {
        Ok(Self::Bare(match self {
            Self::Tcp(stream) => stream.into_std()?.into(),
            Self::Unix(stream) => stream.into_std()?.into(),
            Self::Bare(socket) => socket,
        }))
    }
}

/// A socket that is reset if it is dropped.
#[derive(Debug)]
struct Refusable(Option<Taken>);

impl Drop for Refusable {
    fn drop(&mut self) {
        // no effect on a Unix socket, which has no reset
        let _ = match &self.0 {
            Some(Taken::Tcp(stream)) => SockRef::from(stream).set_linger(Some(Duration::ZERO)),
            Some(Taken::Bare(socket)) => socket.set_linger(Some(Duration::ZERO)),
            Some(Taken::Unix(_)) | None => Ok(()),
        };
    }
}

/// The actor that accepts.
pub struct ListenerActor {
    open: Open,
    file: Option<RemovedFile>,
    local: Peer,
    seats: Seats,
    /// What is still permitted; `None`: not controlled.
    permits: Option<usize>,
    places: Places,
    /// Running while descriptors have run out, and how long the next pause is.
    pause: Option<(Pin<Box<Sleep>>, Duration)>,
    factory: Arc<Factory>,
}

/// A listening socket on its way.
#[derive(Debug)]
enum Open {
    /// Not known to an arbiter yet.
    Bound(Socket, Kind),
    Listening(Listener),
    /// Stopped, or its arbiter could not watch it.
    Closed,
}

impl fmt::Debug for ListenerActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerActor").field("local", &self.local).finish_non_exhaustive()
    }
}

impl Actor for ListenerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if let Open::Bound(socket, kind) = std::mem::replace(&mut self.open, Open::Closed) {
            match Listener::new(socket, kind) {
                Ok(listener) => self.open = Open::Listening(listener),
                Err(error) => tracing::error!(local = %self.local, %error, "cannot listen on this arbiter"),
            }
        }
        ctx.spawn(Accept);
    }
}

struct Permit(usize);
impl Message for Permit {
    type Result = ();
}
impl Handler<Permit> for ListenerActor {
    type Result = ();
    fn handle(&mut self, Permit(n): Permit, _: &mut Context<Self>) {
        // the accepting future is polled after the mailbox
        if let Some(permits) = &mut self.permits {
            *permits = permits.saturating_add(n);
        }
    }
}

struct Stop;
impl Message for Stop {
    type Result = ();
}
impl Handler<Stop> for ListenerActor {
    type Result = ();
    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        // closed before the answer goes out
        self.open = Open::Closed;
        self.file = None;
        ctx.stop();
    }
}

impl ListenerActor {
    /// Accepts what it may, for a bounded number of times. `true` if it should go on soon.
    fn accept(&mut self, cx: &mut std::task::Context<'_>) -> bool {
        for _ in 0..ACCEPTS_PER_TURN {
            if let Some((sleep, _)) = &mut self.pause
                && sleep.as_mut().poll(cx).is_pending()
            {
                return false;
            }
            if self.permits == Some(0) {
                return false;
            }
            let Some(place) = self.places.take(cx) else { return false };
            match self.poll_accept(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok((socket, peer))) => {
                    self.pause = None;
                    if let Some(permits) = &mut self.permits {
                        *permits -= 1;
                    }
                    self.hand_over(Accepted {
                        socket: Refusable(Some(socket)),
                        peer,
                        local: self.local.clone(),
                        place,
                    });
                }
                Poll::Ready(Err(error)) => self.failed(&error),
            }
        }
        true
    }

    fn poll_accept(&mut self, cx: &mut std::task::Context<'_>) -> Poll<io::Result<(Taken, Peer)>> {
        let Open::Listening(listener) = &self.open else { return Poll::Pending };
        match listener {
            Listener::Tcp(listener) => listener.poll_accept(cx).map(|accepted| {
                let (stream, addr) = accepted?;
                Ok((Taken::Tcp(stream), Peer::tcp(addr)))
            }),
            Listener::Unix(listener) => listener.poll_accept(cx).map(|accepted| {
                let (stream, addr) = accepted?;
                Ok((Taken::Unix(stream), Peer::Unix(addr.into())))
            }),
        }
    }

    /// A client that has gone again is no fault of ours; want of descriptors or memory passes.
    fn failed(&mut self, error: &io::Error) {
        use rustix::io::Errno;
        let scarce = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
        if !scarce.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) {
            tracing::debug!(local = %self.local, %error, "a connection was lost before it was accepted");
            return;
        }
        let pause = self.pause.take().map_or(PAUSE.0, |(_, last)| (last * 2).min(PAUSE.1));
        tracing::warn!(local = %self.local, %error, ?pause, "cannot accept; trying again");
        self.pause = Some((Box::pin(tokio::time::sleep(pause)), pause));
    }

    /// Runs the factory on the arbiter that has the fewest connections. One that has stopped is passed over from then on.
    fn hand_over(&mut self, mut accepted: Accepted) {
        if self.seats.is_empty() {
            return build(accepted, &*self.factory);
        }
        match accepted.socket.0.take().map(Taken::bare) {
            Some(Ok(bare)) => accepted.socket.0 = Some(bare),
            Some(Err(error)) => return tracing::debug!(peer = %accepted.peer, %error, "a connection was lost"),
            None => {}
        }
        let parcel = Arc::new(Mutex::new(Some(accepted)));
        while let Some(seat) = self.seats.next() {
            if let Some(accepted) = &mut *lock(&parcel) {
                accepted.place.sit(&seat);
            }
            let (factory, parcel) = (self.factory.clone(), parcel.clone());
            if seat.arbiter.spawn_fn(move || unpack(&parcel, &*factory)) {
                return;
            }
            self.seats.leave(&seat);
        }
        unpack(&parcel, &*self.factory);
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the factory for an accepted connection, once.
fn unpack(parcel: &Mutex<Option<Accepted>>, factory: &Factory) {
    let accepted = lock(parcel).take();
    if let Some(accepted) = accepted {
        build(accepted, factory);
    }
}

fn build(accepted: Accepted, factory: &Factory) {
    let peer = accepted.peer.clone();
    if catch_unwind(AssertUnwindSafe(|| factory(accepted))).is_err() {
        tracing::error!(%peer, "the factory panicked; its connection is reset");
    }
}

/// The accepting future; it lives as long as the actor, and keeps it alive.
struct Accept;

impl ActorFuture<ListenerActor> for Accept {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        act: &mut ListenerActor,
        _: &mut Context<ListenerActor>,
        task: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        if act.accept(task) {
            task.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
