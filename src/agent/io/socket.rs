//! Stream sockets: TCP and Unix, on tokio's halves.

use super::{Io, Lost, buffer};
use crate::agent::queue::{SLICES, WriteQueue};
use bytes::{BufMut, Bytes};
use futures_util::FutureExt;
use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, Ready};
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio_util::io::poll_read_buf;

/// A TCP connection.
pub(crate) type TcpIo = SocketIo<tcp::OwnedReadHalf, tcp::OwnedWriteHalf>;
/// A Unix stream connection.
pub(crate) type UnixIo = SocketIo<unix::OwnedReadHalf, unix::OwnedWriteHalf>;

/// A stream socket.
pub(crate) struct SocketIo<R: ReadHalf, W: WriteHalf> {
    /// Shared with the hang-up future, which borrows it only while nothing is read.
    read: Rc<RefCell<R>>,
    /// `None` once it was given up for a reset.
    write: Option<W>,
    lost: Lost,
    /// The direction towards the other side was ended in an orderly way.
    ended: bool,
}

/// The reading half of a socket.
pub(crate) trait ReadHalf: AsyncRead + Unpin + 'static {
    fn ready(&self, interest: Interest) -> impl Future<Output = io::Result<Ready>>;
    fn take_error(&self) -> io::Result<Option<io::Error>>;
    /// Closing will tell the other side that this was no orderly end, where the protocol can.
    fn reset_on_close(&self);
}

/// The writing half of a socket. Dropped, it ends the direction.
pub(crate) trait WriteHalf: AsyncWrite + Unpin + 'static {
    /// Gives it up without ending the direction.
    fn forget(self);
}

impl ReadHalf for tcp::OwnedReadHalf {
    fn ready(&self, interest: Interest) -> impl Future<Output = io::Result<Ready>> {
        self.ready(interest)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.as_ref().take_error()
    }

    fn reset_on_close(&self) {
        // zero linger makes close send a reset; if it fails the socket is broken already
        let _ = socket2::SockRef::from(self.as_ref()).set_linger(Some(Duration::ZERO));
    }
}

impl WriteHalf for tcp::OwnedWriteHalf {
    fn forget(self) {
        self.forget();
    }
}

impl ReadHalf for unix::OwnedReadHalf {
    fn ready(&self, interest: Interest) -> impl Future<Output = io::Result<Ready>> {
        self.ready(interest)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.as_ref().take_error()
    }

    // a Unix socket has no reset: its other side sees an end in any case
    fn reset_on_close(&self) {}
}

impl WriteHalf for unix::OwnedWriteHalf {
    fn forget(self) {
        self.forget();
    }
}

impl From<TcpStream> for TcpIo {
    fn from(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        Self { read: Rc::new(RefCell::new(read)), write: Some(write), lost: None, ended: false }
    }
}

impl From<UnixStream> for UnixIo {
    fn from(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        Self { read: Rc::new(RefCell::new(read)), write: Some(write), lost: None, ended: false }
    }
}

impl<R: ReadHalf, W: WriteHalf> Io for SocketIo<R, W> {
    fn poll_read(&mut self, max: usize, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.lost = None;
        let mut half = self.read.borrow_mut();
        buffer::read(|room| poll_read_buf(Pin::new(&mut *half), cx, &mut room.limit(max.min(buffer::READ_MAX))))
    }

    fn poll_write(&mut self, queue: &mut WriteQueue, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(half) = &mut self.write else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = queue.slices(&mut slices);
        let written = ready!(Pin::new(half).poll_write_vectored(cx, &slices[..filled]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        queue.advance(written);
        Poll::Ready(Ok(()))
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(half) = &mut self.write else { return Poll::Ready(Ok(())) };
        let result = ready!(Pin::new(half).poll_shutdown(cx));
        self.ended = true;
        match result {
            // the other side has closed already: it wants no end any more
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let read = &self.read;
        let lost = self.lost.get_or_insert_with(|| {
            let read = read.clone();
            #[expect(
                clippy::await_holding_refcell_ref,
                reason = "the future is dropped before the half is borrowed again: poll_read and reset drop it first"
            )]
            async move {
                let half = read.borrow();
                match half.ready(Interest::ERROR).await {
                    Ok(_) => match half.take_error() {
                        Ok(Some(error)) | Err(error) => error,
                        Ok(None) => io::ErrorKind::ConnectionReset.into(),
                    },
                    Err(error) => error,
                }
            }
            .boxed_local()
        });
        lost.poll_unpin(cx)
    }

    fn reset(&mut self) {
        self.lost = None;
        self.read.borrow().reset_on_close();
        if let Some(half) = self.write.take() {
            half.forget();
        }
    }
}

impl<R: ReadHalf, W: WriteHalf> Drop for SocketIo<R, W> {
    fn drop(&mut self) {
        // E1: a component that is gone is no orderly end
        if !self.ended {
            self.reset();
        }
    }
}
