//! Stream sockets: TCP and Unix.
//!
//! Writes go through `sendmsg` with `MSG_NOSIGNAL`: a program that has given `SIGPIPE` its default action back is not killed
//! by a peer that has gone.

use super::lift::Lift;
use super::{Io, KernelPipe, Lost, Place, Room, buffer, uninterrupted};
use crate::agent::queue::{Piece, SLICES, WriteQueue};
use crate::component::Peer;
use bytes::Bytes;
use futures_util::FutureExt;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use socket2::SockRef;
use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, Interest, Ready};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};

/// A TCP connection.
pub(crate) type TcpIo = SocketIo<TcpStream>;
/// A Unix stream connection.
pub(crate) type UnixIo = SocketIo<UnixStream>;

/// How long a connection that is given up waits for its other side: to take what was written before a reset, or to end its
/// own sending before we close. 5 s, which is many retransmissions on any path that works.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often to look whether the other side has taken everything, at first and at most: the system tells of room in the
/// send buffer, and not that it is empty.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Reads that are thrown away in one turn before other actors of the arbiter have theirs (rule F1).
const DISCARDS_PER_TURN: usize = 16;

/// A stream socket.
pub(crate) struct SocketIo<S: StreamSocket> {
    /// Shared with the hang-up future, which borrows it only while nothing is read.
    socket: Rc<RefCell<S>>,
    lost: Lost,
    /// The last read waits, and will tell of a loss.
    reading: bool,
    /// The other side has ended its sending.
    read_over: bool,
    ours: Ours,
    leaving: Option<Leaving>,
    /// What is read goes into a pipe if that pays.
    lift: Lift,
    /// Flags of an open file that others share, to give back.
    restore: Option<OFlags>,
}

/// The direction towards the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    Open,
    /// Ended in an orderly way, or nothing was ever to be sent.
    Ended,
    /// Closing will tell the other side that this was no orderly end, where the protocol can.
    Reset,
}

/// A connected stream socket of tokio's.
pub(crate) trait StreamSocket: AsyncRead + AsFd + Unpin + 'static {
    /// True if the protocol has a reset, so that the other side can tell it from an end.
    const RESETS: bool;
    fn local(&self) -> Option<Peer>;
    fn ready(&self, interest: Interest) -> impl Future<Output = io::Result<Ready>>;
    fn take_error(&self) -> io::Result<Option<io::Error>>;
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn try_read<R>(&self, call: impl FnOnce() -> io::Result<R>) -> io::Result<R>;
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn try_write<R>(&self, call: impl FnOnce() -> io::Result<R>) -> io::Result<R>;
}

macro_rules! stream_socket {
    ($socket:ty, $peer:path, resets: $resets:literal) => {
        impl StreamSocket for $socket {
            const RESETS: bool = $resets;
            fn local(&self) -> Option<Peer> {
                self.local_addr().ok().map(|addr| $peer(addr.into()))
            }
            fn ready(&self, interest: Interest) -> impl Future<Output = io::Result<Ready>> {
                self.ready(interest)
            }
            fn take_error(&self) -> io::Result<Option<io::Error>> {
                self.take_error()
            }
            fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_read_ready(cx)
            }
            fn try_read<R>(&self, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
                self.try_io(Interest::READABLE, call)
            }
            fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_write_ready(cx)
            }
            fn try_write<R>(&self, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
                self.try_io(Interest::WRITABLE, call)
            }
        }
        impl From<$socket> for SocketIo<$socket> {
            fn from(socket: $socket) -> Self {
                Self::new(socket)
            }
        }
    };
}

stream_socket!(TcpStream, Peer::tcp, resets: true);
// the other side of a Unix socket sees an end in any case
stream_socket!(UnixStream, Peer::Unix, resets: false);

impl<S: StreamSocket> SocketIo<S> {
    fn new(socket: S) -> Self {
        Self {
            socket: Rc::new(RefCell::new(socket)),
            lost: None,
            reading: false,
            read_over: false,
            ours: Ours::Open,
            leaving: None,
            lift: Lift::default(),
            restore: None,
        }
    }

    /// Gives these flags of the open file back at the end.
    pub(super) fn restoring(mut self, flags: Option<OFlags>) -> Self {
        self.restore = flags;
        self
    }
}

impl<S: StreamSocket> SocketIo<S> {
    fn poll_copy(&mut self, max: usize, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut socket = self.socket.borrow_mut();
        let read = buffer::read(max, |room| Pin::new(&mut *socket).poll_read(cx, room));
        self.reading = read.is_pending();
        if let Poll::Ready(Ok(bytes)) = &read {
            self.lift.copied(bytes.len());
        }
        read
    }

    /// Reads into a pipe. Pending with no waker of the socket's while the pipe is to be emptied first: the grant that follows
    /// polls again.
    fn poll_lift(&mut self, max: usize, cx: &mut Context<'_>) -> Poll<io::Result<Piece>> {
        let Some(pipe) = self.lift.pipe() else { return self.poll_copy(max, cx).map_ok(Piece::Heap) };
        self.reading = false;
        if self.lift.waits() {
            return Poll::Pending;
        }
        loop {
            let lifted = {
                let socket = self.socket.borrow();
                if socket.poll_read_ready(cx)?.is_pending() {
                    self.reading = true;
                    return Poll::Pending;
                }
                let was_empty = pipe.is_empty();
                socket.try_read(|| match pipe.fill(&*socket, max) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock && !was_empty => Ok(None),
                    filled => filled.map(Some),
                })
            };
            match lifted {
                Ok(Some(0)) => return Poll::Ready(Ok(Piece::Heap(Bytes::new()))),
                Ok(Some(n)) => {
                    self.lift.lifted(n, max);
                    return Poll::Ready(Ok(Piece::Lying { pipe, quantity: n as u64 }));
                }
                Ok(None) => {
                    self.lift.full();
                    return Poll::Pending;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == io::ErrorKind::InvalidInput => {
                    self.lift.never();
                    return self.poll_copy(max, cx).map_ok(Piece::Heap);
                }
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// Writes what lies in a pipe.
    fn poll_lower(&self, pipe: &KernelPipe, quantity: u64, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let socket = self.socket.borrow();
        let offered = usize::try_from(quantity).unwrap_or(usize::MAX);
        loop {
            ready!(socket.poll_write_ready(cx))?;
            let mut written = 0;
            let result = socket.try_write(|| {
                written = pipe.drain(&*socket, offered)?;
                // as in a write from the heap
                if written < offered { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match result {
                _ if written > 0 => return Poll::Ready(Ok(written)),
                Ok(()) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

impl<S: StreamSocket> Io for SocketIo<S> {
    fn poll_read(&mut self, room: Room, cx: &mut Context<'_>) -> Poll<io::Result<Piece>> {
        self.lost = None;
        let read = match room.place {
            Place::HeapOrPipe if self.lift.is_due() => self.poll_lift(room.max, cx),
            _ => self.poll_copy(room.max, cx).map_ok(Piece::Heap),
        };
        self.read_over = matches!(&read, Poll::Ready(Ok(piece)) if piece.quantity() == 0);
        if self.read_over {
            // nothing is read any more; what lies in the pipe is held by who writes it (M2)
            self.lift = Lift::default();
        } else if read.is_pending() {
            self.lift.rest();
        }
        read
    }

    fn local(&self) -> Option<Peer> {
        self.socket.borrow().local()
    }

    fn takes_lying(&self) -> bool {
        super::pipes_are_usable()
    }

    fn waits_for_room(&self) -> bool {
        self.lift.is_waiting()
    }

    fn lends(&self) -> bool {
        self.lift.lends()
    }

    fn parted(&mut self) {
        self.lift = Lift::default();
    }

    fn poll_write(&mut self, queue: &mut WriteQueue, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some((pipe, quantity)) = queue.lying() {
            let written = ready!(self.poll_lower(pipe, quantity, cx))?;
            queue.advance(written);
            return Poll::Ready(Ok(()));
        }
        let socket = self.socket.borrow();
        loop {
            ready!(socket.poll_write_ready(cx))?;
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = queue.slices(&mut slices);
            let slices = &slices[..filled];
            let offered: usize = slices.iter().map(|slice| slice.len()).sum();
            let mut written = 0;
            let result = socket.try_write(|| {
                let none = &mut SendAncillaryBuffer::default();
                written = uninterrupted(|| Ok(sendmsg(&*socket, slices, none, SendFlags::NOSIGNAL)?))?;
                // a short write has filled the buffer: "would block" clears the readiness without another call
                if written < offered { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match result {
                _ if written > 0 => {
                    queue.advance(written);
                    return Poll::Ready(Ok(()));
                }
                Ok(()) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ours != Ours::Open {
            return Poll::Ready(Ok(()));
        }
        self.ours = Ours::Ended;
        match SockRef::from(&*self.socket.borrow()).shutdown(Shutdown::Write) {
            // the other side has closed already: it wants no end any more
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }

    fn poll_break(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if S::RESETS && self.ours == Ours::Open {
            let socket = self.socket.borrow();
            let leaving = self.leaving.get_or_insert_with(|| {
                writable_when_empty(&*socket);
                Leaving::start(LOOK_AGAIN.0)
            });
            while ready!(leaving.poll_look(cx)) == Look::Again {
                if is_writable(&*socket) {
                    break;
                }
            }
        }
        self.reset();
        Poll::Ready(())
    }

    fn breaks_both(&self) -> bool {
        S::RESETS
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !S::RESETS || self.ours != Ours::Ended {
            return Poll::Ready(());
        }
        for _ in 0..DISCARDS_PER_TURN {
            if self.read_over {
                return Poll::Ready(());
            }
            match self.poll_read(Room { max: buffer::READ_MAX, place: Place::Heap }, cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {
                    let leaving = self.leaving.get_or_insert_with(|| Leaving::start(PATIENCE));
                    while ready!(leaving.poll_look(cx)) == Look::Again {}
                    return Poll::Ready(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.reading {
            return Poll::Pending;
        }
        let socket = &self.socket;
        let lost = self.lost.get_or_insert_with(|| {
            let socket = socket.clone();
            #[expect(
                clippy::await_holding_refcell_ref,
                reason = "the future is dropped before the socket is borrowed mutably: poll_read drops it first"
            )]
            async move {
                let socket = socket.borrow();
                match socket.ready(Interest::ERROR).await {
                    Ok(_) => match socket.take_error() {
                        Ok(Some(error)) | Err(error) => error,
                        Ok(None) => io::ErrorKind::ConnectionReset.into(),
                    },
                    Err(error) => error,
                }
            }
            .boxed_local()
        });
        let error = ready!(lost.poll_unpin(cx));
        self.lost = None;
        Poll::Ready(error)
    }

    fn reset(&mut self) {
        if self.ours == Ours::Open {
            self.ours = Ours::Reset;
            if S::RESETS {
                // zero linger makes close send a reset; if it fails the socket is broken already
                let _ = SockRef::from(&*self.socket.borrow()).set_linger(Some(Duration::ZERO));
            }
        }
    }

    fn forgive(&mut self) {
        if self.ours == Ours::Open {
            self.ours = Ours::Ended;
        }
    }
}

impl<S: StreamSocket> Drop for SocketIo<S> {
    fn drop(&mut self) {
        self.lost = None;
        // E1: a component that is gone is no orderly end
        self.reset();
        if let Some(flags) = self.restore {
            // nobody can be told, and nothing else depends on it
            let _ = rustix::fs::fcntl_setfl(&*self.socket.borrow(), flags);
        }
    }
}

/// Waiting for the other side before the socket is closed.
struct Leaving {
    until: Instant,
    look: Pin<Box<Sleep>>,
    pause: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum Look {
    Again,
    /// Patience is over.
    NoMore,
}

impl Leaving {
    fn start(pause: Duration) -> Self {
        let now = Instant::now();
        Self { until: now + PATIENCE, look: Box::pin(tokio::time::sleep_until(now)), pause }
    }

    /// Ready when it is time to look again.
    fn poll_look(&mut self, cx: &mut Context<'_>) -> Poll<Look> {
        ready!(self.look.as_mut().poll(cx));
        let now = Instant::now();
        if now >= self.until {
            return Poll::Ready(Look::NoMore);
        }
        self.look.as_mut().reset((now + self.pause).min(self.until));
        self.pause = (self.pause * 2).min(LOOK_AGAIN.1);
        Poll::Ready(Look::Again)
    }
}

/// Makes a socket count as writable only once all was sent, and all but a last packet was acknowledged. The exact length of
/// the queue (`SIOCOUTQ`) cannot be asked without `unsafe`. What fails here shortens the wait.
fn writable_when_empty(socket: &impl AsFd) {
    let socket = SockRef::from(socket);
    let _ = socket.set_send_buffer_size(1);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(1);
}

fn is_writable(socket: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::OUT)];
    // an error is an answer too: there is nothing to wait for
    !matches!(rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
}
