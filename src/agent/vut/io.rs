//! `VutIo`: a connection as a stream's two ways.
//!
//! | the stream | the connection |
//! |---|---|
//! | pulls with credit for `n` octets | the peer may send `n` beyond what was read, and no more (rule P1) |
//! | holds items | they are kept until the connection takes them: as much as the peer grants, and [`Config::send_buffer`](crate::proto::vut::Config::send_buffer) (rule M1) |
//! | ends its sending | ended when the peer has acknowledged all, and the end |
//! | ends it unclean | when the peer has all, or after [`PATIENCE`], an abort: it takes both directions |
//! | is over | the peer's end is awaited up to [`PATIENCE`], then the last words are said, three times; data that nobody reads: an abort |
//! | is aborted or dropped | an abort |
//!
//! A peer of the 0.8 profile may always send 111 octets and, beyond any limit, one: it knows no smaller window. In the native profile the
//! grant is all, from the first octet on.

use super::line::{Bell, Joining, Life, Line, LineId, Ours, Theirs, Wait};
use super::options::Unproven;
use crate::agent::io::{Io, Room};
use crate::agent::queue::{Piece, WriteQueue};
use crate::component::Peer;
use crate::proto::vut::Proof;
use bytes::Bytes;
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How long a connection that is given up waits for its peer: to take what was written before an abort, or to end its own
/// sending before we go; and for our last words. 5 s, as with TCP here.
const PATIENCE: Duration = Duration::from_secs(5);

/// An open connection.
#[derive(Debug)]
pub(super) struct VutIo {
    line: Rc<RefCell<Line>>,
    bell: Rc<Bell>,
    id: LineId,
    local: SocketAddr,
    unproven: Unproven,
    ours: Leaving,
    /// What the peer was allowed to send in all.
    granted: u64,
    patience: Option<Pin<Box<Sleep>>>,
}

/// How far the stream has given up its sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    Not,
    /// The end was asked for.
    Ending,
    /// Aborted because the end is not clean: no failure.
    Broken,
}

impl VutIo {
    /// `local` is where the socket is bound.
    pub(super) fn new(joining: &Joining, bell: Rc<Bell>, local: SocketAddr, unproven: Unproven) -> Self {
        let (line, id) = (joining.line.clone(), joining.id);
        Self { line, bell, id, local, unproven, ours: Leaving::Not, granted: 0, patience: None }
    }

    fn ring(&self) {
        self.bell.ring(self.id);
    }

    fn abort(&self) {
        let closed = matches!(self.line.borrow().life, Life::Closed(_));
        if !closed {
            self.line.borrow_mut().endpoint.abort(self.bell.now());
            self.ring();
        }
    }

    fn finish(&mut self) {
        if self.ours == Leaving::Not {
            self.ours = Leaving::Ending;
            self.line.borrow_mut().endpoint.finish(self.bell.now());
            self.ring();
        }
    }

    /// Grants `max` octets beyond what was read, and reads what is there of them.
    fn take(&mut self, max: usize) -> Option<Bytes> {
        let (now, mut line) = (self.bell.now(), self.line.borrow_mut());
        let limit = line.read.saturating_add(max as u64);
        let rises = limit > self.granted;
        if rises {
            self.granted = limit;
            line.endpoint.set_read_limit(now, limit);
        }
        let data = line.endpoint.read(now, max);
        line.read += data.as_ref().map_or(0, |data| data.len() as u64);
        drop(line);
        // to be told to the peer
        if rises || data.is_some() {
            self.ring();
        }
        data
    }

    /// `Ready` when [`PATIENCE`] has passed since the first call.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + PATIENCE)));
        sleep.as_mut().poll(cx)
    }
}

impl Io for VutIo {
    fn local(&self) -> Option<Peer> {
        Some(Peer::Vut(self.local))
    }

    fn poll_read(&mut self, room: Room, cx: &mut Context<'_>) -> Poll<io::Result<Piece>> {
        if self.ours == Leaving::Broken {
            return Poll::Pending;
        }
        if let Some(data) = self.take(room.max) {
            return Poll::Ready(Ok(Piece::Heap(data)));
        }
        let mut line = self.line.borrow_mut();
        if let Theirs::Ended(_) = line.theirs {
            return Poll::Ready(Ok(Piece::Heap(Bytes::new())));
        }
        if let Some(error) = line.failure() {
            return Poll::Ready(Err(error));
        }
        line.wait(Wait::Data, cx);
        Poll::Pending
    }

    fn poll_read_clean(&mut self, _: &mut Context<'_>) -> Poll<bool> {
        let proven = self.line.borrow().theirs == Theirs::Ended(Proof::Proven);
        Poll::Ready(proven || self.unproven == Unproven::Accept)
    }

    fn poll_write(&mut self, queue: &mut WriteQueue, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut line = self.line.borrow_mut();
        if let Some(error) = line.failure() {
            return Poll::Ready(Err(error));
        }
        if line.ours != Ours::Open || matches!(line.life, Life::Closed(_)) {
            return Poll::Ready(Err(stopped()));
        }
        let mut left = usize::try_from(line.endpoint.credit()).unwrap_or(usize::MAX);
        let mut written = 0;
        for piece in queue.share(left) {
            let piece = piece.slice(..piece.len().min(left));
            let len = piece.len();
            if len == 0 || line.endpoint.write(piece).is_err() {
                break;
            }
            (left, written) = (left - len, written + len);
        }
        line.taken += written as u64;
        if written == 0 {
            line.wait(Wait::Room, cx);
            return Poll::Pending;
        }
        drop(line);
        queue.advance(written);
        self.ring();
        Poll::Ready(Ok(()))
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finish();
        let mut line = self.line.borrow_mut();
        if let Some(error) = line.failure() {
            return Poll::Ready(Err(error));
        }
        if !line.is_whole() {
            return Poll::Ready(Err(stopped()));
        }
        if matches!(line.ours, Ours::Finished(_)) || matches!(line.life, Life::Closed(_)) {
            return Poll::Ready(Ok(()));
        }
        line.wait(Wait::State, cx);
        Poll::Pending
    }

    fn poll_break(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut line = self.line.borrow_mut();
        let over = matches!(line.life, Life::Closed(_)) || line.ours == Ours::Stopped;
        let waits = !over && line.endpoint.acknowledged() < line.taken;
        line.wait(Wait::Progress, cx);
        drop(line);
        if waits && self.poll_patience(cx).is_pending() {
            return Poll::Pending;
        }
        self.patience = None;
        self.ours = Leaving::Broken;
        self.abort();
        Poll::Ready(())
    }

    fn breaks_both(&self) -> bool {
        true
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // a direction that was never used ends now
        self.finish();
        let mut line = self.line.borrow_mut();
        line.wait(Wait::Data, cx);
        line.wait(Wait::Progress, cx);
        let (over, ended) = (line.endpoint.has_said_all(), line.theirs != Theirs::Open);
        let unread = line.endpoint.readable() > 0;
        drop(line);
        // what nobody reads must not seem delivered; from the peer's end on, the connection has time limits of its own
        if !over && !unread && (ended || self.poll_patience(cx).is_pending()) {
            return Poll::Pending;
        }
        self.abort();
        Poll::Ready(())
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.ours == Leaving::Broken {
            return Poll::Pending;
        }
        let mut line = self.line.borrow_mut();
        match line.failure() {
            Some(error) => Poll::Ready(error),
            None => {
                line.wait(Wait::State, cx);
                Poll::Pending
            }
        }
    }

    fn reset(&mut self) {
        self.abort();
    }
}

impl Drop for VutIo {
    fn drop(&mut self) {
        self.abort();
    }
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the peer does not read any more")
}
