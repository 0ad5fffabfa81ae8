//! `Stream`: the part that all stream agents are: something to open, then bytes both ways. The one read and write loop.
//!
//! ```text
//!   Idle ──a grant, an item or an end comes──▶ Opening ──▶ Open ──▶ over
//!                                               │           ▲
//!   Ready ──the same: it is open already────────┼───────────┘
//!                                               │ asks CanConnect of the consumer, for each address
//!                                               └─ then tells Connected, and again on RequestProducerState
//! ```

use super::io::{Io, KernelPipe, Place, Room, pipes_are_usable};
use super::queue::{Piece, WriteQueue};
use crate::component::control::{CanConnect, Connected, ControlError, Envelope, RequestProducerState};
use crate::component::drive::cannot_rewind;
use crate::component::port::Asker;
use crate::component::stock::{Directions, Duplex, HalfClose, Outcome, PartResult, Pull};
use crate::component::{Outlet, Peer};
use crate::proto::link::{Count, Credit, Forms, Parcel, Reason, Window};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use std::any::TypeId;
use std::fmt;
use std::io as std_io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// A stream of bytes to and from the operating system, connected or to be opened. Made by [`tcp`](super::tcp),
/// [`unix`](super::unix), [`fd`](super::fd), [`file`](super::file), [`process`](super::process) and listeners.
pub struct Stream {
    name: Name,
    state: State,
    queue: WriteQueue,
    read: u64,
    /// What was read can be read once more.
    rereadable: bool,
    settings: StreamSettings,
    /// It is, or will be, something that writes what lies in a pipe.
    takes_lying: bool,
    /// Where what is read may lie, by what the consumer takes.
    place: Place,
    at_end: Option<Box<AtEnd>>,
}

/// What happens when a stream is over.
#[derive(Default)]
struct AtEnd {
    hook: Option<CloseHook>,
    /// What must live as long as the connection does: a listener's place for it.
    guard: Option<Box<dyn std::any::Any>>,
}

/// What all streams have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// How much may wait for the other side. [`WINDOW`] unless set.
    pub window: Window,
    /// Which direction may end alone.
    pub half_close: HalfClose,
    /// Which directions are used.
    pub directions: Directions,
    /// How bytes are carried.
    pub carry: Carry,
}

/// How much may wait for the other side of a stream: 512 KiB, as much as a pipe of the kernel path holds. With 256 KiB a relay
/// of 64 connections moved 2.5 instead of 3.9 GB/s through the kernel, at 0.123 instead of 0.111 CPU s/GB.
pub const WINDOW: u64 = 512 * 1024;

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            window: Window::of(WINDOW),
            half_close: HalfClose::default(),
            directions: Directions::default(),
            carry: Carry::default(),
        }
    }
}

/// How bytes are carried between two streams that are joined directly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Carry {
    /// In the kernel where both ends are sockets and reads are large, so that they are never copied to the program and
    /// back (Linux, and only while the program ignores `SIGPIPE`, as Rust programs do); else through memory.
    #[default]
    Auto,
    /// Always through memory.
    Copy,
}

/// Called once when a stream is over, with how it went.
pub type CloseHook = Box<dyn FnOnce(&Outcome)>;

pub(crate) type Opening = LocalBoxFuture<'static, PartResult<Opened>>;
/// Opens, for the directions that are used.
type Opener = Box<dyn FnOnce(Asker<Bytes>, Directions) -> Opening>;

/// What an opener gives.
pub(crate) struct Opened {
    pub(crate) io: Box<dyn Io>,
    pub(crate) peer: Peer,
}

enum State {
    Idle(Option<Opener>),
    /// Open, and nothing was wanted of it yet.
    Ready(Opened),
    Opening(Opening),
    Open(Opened),
    Over {
        peer: Option<Peer>,
    },
}

/// What a stream is called. Text is made of it only where it is asked for.
pub(crate) enum Name {
    /// As its peer.
    Peer,
    Given(Arc<str>),
    /// A TCP connection to this host and port.
    Tcp(Arc<str>, u16),
}

impl<N: Into<Arc<str>>> From<N> for Name {
    fn from(name: N) -> Self {
        Self::Given(name.into())
    }
}

impl Stream {
    /// A stream that is opened when something is wanted of it.
    pub(crate) fn to_open(name: impl Into<Name>, settings: StreamSettings, opener: Opener) -> Self {
        Self::new(name.into(), settings, State::Idle(Some(opener)))
    }

    /// It will be a socket.
    pub(crate) fn for_a_socket(mut self) -> Self {
        self.takes_lying = pipes_are_usable();
        self
    }

    /// A stream that is open.
    pub(crate) fn opened(opened: Opened, settings: StreamSettings) -> Self {
        let takes_lying = opened.io.takes_lying();
        let mut stream = Self::new(Name::Peer, settings, State::Ready(opened));
        stream.takes_lying = takes_lying;
        stream
    }

    fn new(name: Name, settings: StreamSettings, state: State) -> Self {
        Self {
            name,
            state,
            queue: WriteQueue::default(),
            read: 0,
            rereadable: false,
            settings,
            takes_lying: false,
            place: Place::Heap,
            at_end: None,
        }
    }

    /// Names it, for links, errors and supervisors. Its peer by default.
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Name::Given(name.into());
        self
    }

    /// Sets what all streams have in common.
    #[must_use]
    pub fn with_settings(mut self, settings: StreamSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Uses it in one direction only: the other port refuses every attachment. A direction that it does not have stays away:
    /// a file is read or written, and a descriptor is used as it was handed over.
    #[must_use]
    pub fn only(mut self, directions: Directions) -> Self {
        self.settings.directions = directions;
        self
    }

    /// Calls `hook` once when it is over, with how it went: ended, aborted, or [`Gone`](Outcome::Gone) if it was dropped
    /// before or its actor is gone without a word. It runs on the stream's arbiter, after its descriptor was closed unless it
    /// is gone.
    #[must_use]
    pub fn on_close(mut self, hook: impl FnOnce(&Outcome) + 'static) -> Self {
        self.at_end.get_or_insert_default().hook = Some(Box::new(hook));
        self
    }

    /// What was read can be read once more: a regular file.
    pub(crate) fn rereadable(mut self) -> Self {
        self.rereadable = true;
        self
    }

    pub(crate) fn guarded_by(mut self, guard: Box<dyn std::any::Any>) -> Self {
        self.at_end.get_or_insert_default().guard = Some(guard);
        self
    }

    /// The settings.
    pub fn settings(&self) -> StreamSettings {
        self.settings
    }

    /// Who is at the other side, once it was opened; also when it is over.
    pub fn peer(&self) -> Option<&Peer> {
        match &self.state {
            State::Open(opened) | State::Ready(opened) => Some(&opened.peer),
            State::Over { peer } => peer.as_ref(),
            State::Idle(_) | State::Opening(_) => None,
        }
    }

    /// Our own end, where it has a name; asked of the system at each call.
    pub fn local(&self) -> Option<Peer> {
        match &self.state {
            State::Open(opened) | State::Ready(opened) => opened.io.local(),
            _ => None,
        }
    }

    /// How many bytes were read from the other side.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// How many bytes the other side of the agent took ("written" in rule E2).
    pub fn written(&self) -> u64 {
        self.queue.written()
    }

    fn io(&mut self) -> Option<&mut Box<dyn Io>> {
        match &mut self.state {
            State::Open(opened) | State::Ready(opened) => Some(&mut opened.io),
            _ => None,
        }
    }

    /// An operating system's error with what was tried and with whom.
    fn failed(&self, action: &str, error: std_io::Error) -> Reason {
        match self.peer() {
            Some(peer) => Reason::io(format!("{action} {peer}"), error),
            None => Reason::io(action, error),
        }
    }
}

impl Duplex for Stream {
    type Item = Bytes;

    fn poll_open(&mut self, chain: &Outlet<Bytes>, cx: &mut Context<'_>) -> Poll<PartResult> {
        loop {
            match &mut self.state {
                State::Idle(opener) => match opener.take() {
                    Some(opener) => self.state = State::Opening(opener(chain.asker(), self.settings.directions)),
                    None => return Poll::Pending,
                },
                State::Opening(opening) => self.state = State::Ready(ready!(opening.poll_unpin(cx))?),
                State::Ready(_) => {
                    let State::Ready(opened) = std::mem::replace(&mut self.state, State::Idle(None)) else { continue };
                    tracing::debug!(peer = %opened.peer, "open");
                    chain.tell(Connected { peer: opened.peer.clone() });
                    self.state = State::Open(opened);
                }
                State::Open(_) | State::Over { .. } => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_pull(&mut self, credit: Credit, cx: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        let room = Room { max: usize::try_from(credit.quantity).unwrap_or(usize::MAX), place: self.place };
        let Some(io) = self.io() else { return Poll::Pending };
        match ready!(io.poll_read(room, cx)) {
            Ok(piece) if piece.quantity() == 0 => io.poll_read_clean(cx).map(|clean| Ok(Pull::End { clean })),
            Ok(piece) => {
                self.read += piece.quantity();
                Poll::Ready(Ok(match piece {
                    Piece::Heap(bytes) => Pull::Item(bytes),
                    Piece::Lying { pipe, quantity } => Pull::Parcel(Parcel { quantity, carrier: pipe }),
                }))
            }
            Err(error) => Poll::Ready(Err(self.failed("read", error))),
        }
    }

    fn consume(&mut self, item: Bytes) -> PartResult {
        self.queue.push(Piece::Heap(item));
        Ok(())
    }

    fn consume_parcel(&mut self, parcel: Parcel) -> PartResult {
        let Parcel { quantity, carrier } = parcel;
        let pipe = carrier.downcast::<KernelPipe>().map_err(|_| Reason::failed("a parcel that no agent has made"))?;
        self.queue.push(Piece::Lying { pipe, quantity });
        Ok(())
    }

    fn forms(&self) -> Forms {
        Forms { kernel: self.takes_lying && self.settings.carry == Carry::Auto }
    }

    fn consumer_takes(&mut self, forms: Forms) {
        self.place = match self.settings.carry {
            Carry::Auto if forms.kernel => Place::HeapOrPipe,
            _ => Place::Heap,
        };
        if let Some(io) = self.io() {
            io.parted();
        }
    }

    fn waits_for_consumer(&self) -> bool {
        matches!(&self.state, State::Open(opened) if opened.io.waits_for_room())
    }

    fn lends(&self) -> bool {
        matches!(&self.state, State::Open(opened) if opened.io.lends())
    }

    fn held(&self) -> Count {
        self.queue.held()
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<PartResult> {
        while !self.queue.is_empty() {
            let State::Open(opened) = &mut self.state else { return Poll::Pending };
            if let Err(error) = ready!(opened.io.poll_write(&mut self.queue, cx)) {
                return Poll::Ready(Err(self.failed("write", error)));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, clean: bool, cx: &mut Context<'_>) -> Poll<PartResult> {
        let Some(io) = self.io() else { return Poll::Pending };
        if !clean {
            // E1: the other side must not take this for the whole
            return io.poll_break(cx).map(Ok);
        }
        let ended = ready!(io.poll_end(cx));
        Poll::Ready(ended.map_err(|error| self.failed("end", error)))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.io().map_or(Poll::Ready(()), |io| io.poll_close(cx))
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        let Some(io) = self.io() else { return Poll::Pending };
        let error = ready!(io.poll_lost(cx));
        Poll::Ready(self.failed("lost", error))
    }

    fn rewind(&mut self, by: u64) -> PartResult {
        if !self.rereadable || by > self.read {
            return Err(cannot_rewind());
        }
        if let Some(io) = self.io() {
            io.rewind(by);
            self.read -= by;
        }
        Ok(())
    }

    fn breaks_both(&self) -> bool {
        matches!(&self.state, State::Open(opened) if opened.io.breaks_both())
    }

    fn half_close(&self) -> HalfClose {
        self.settings.half_close
    }

    fn directions(&self) -> Directions {
        self.settings.directions
    }

    fn window(&self) -> Window {
        self.settings.window
    }

    fn name(&self) -> Arc<str> {
        match &self.name {
            Name::Given(name) => name.clone(),
            Name::Tcp(host, port) => format!("tcp {host}:{port}").into(),
            Name::Peer => self.peer().map_or_else(|| "".into(), |peer| peer.to_string().into()),
        }
    }

    fn hears(message: TypeId) -> bool {
        message == TypeId::of::<RequestProducerState>()
    }

    fn control(&mut self, envelope: Envelope, chain: &Outlet<Bytes>) -> Option<Envelope> {
        match envelope.open::<RequestProducerState>() {
            Ok(ask) => {
                if let State::Open(opened) = &self.state {
                    chain.tell(Connected { peer: opened.peer.clone() });
                }
                ask.answer(());
                None
            }
            Err(envelope) => Some(envelope),
        }
    }

    fn closed(&mut self, outcome: &Outcome) {
        let peer = self.peer().cloned();
        if let Some(io) = self.io() {
            match outcome {
                Outcome::Ended { clean: true } => io.forgive(),
                // a direction that has ended is left alone, and one that has not is reset when it is dropped
                Outcome::Ended { clean: false } => {}
                _ => io.reset(),
            }
        }
        self.state = State::Over { peer };
        self.queue.clear();
        let Some(at_end) = self.at_end.take() else { return };
        drop(at_end.guard);
        if let Some(hook) = at_end.hook {
            hook(outcome);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Some(at_end) = self.at_end.take() else { return };
        let AtEnd { hook, guard } = *at_end;
        // closed first, as in an orderly end
        let peer = self.peer().cloned();
        self.state = State::Over { peer };
        drop(guard);
        // its actor is gone without a word, or it was never started; a hook's panic must not become a second one
        if let Some(hook) = hook {
            let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hook(&Outcome::Gone)));
            if called.is_err() {
                tracing::error!(name = %self.name(), "a close hook panicked");
            }
        }
    }
}

/// Asks the consumer whether this peer may be connected to. Nobody to ask, or nobody who answers: it may. Anything else but a
/// yes: it may not (design, section 6).
pub(crate) async fn may_connect(chain: &Asker<Bytes>, peer: &Peer) -> PartResult {
    match chain.ask(CanConnect { peer: peer.clone() }).await {
        Ok(true) | Err(ControlError::MissingControl) => Ok(()),
        Ok(false) => Err(Reason::Refused(format!("connection to {peer}").into())),
        Err(error) => Err(Reason::Refused(format!("connection to {peer}: {error}").into())),
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("name", &self.name())
            .field("peer", &self.peer())
            .field("read", &self.read)
            .field("written", &self.queue.written())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::io::TcpIo;
    use crate::component::stock::DuplexActor;

    /// There is one for each connection, for as long as it lasts.
    #[test]
    fn what_an_idle_connection_keeps_is_small() {
        for (what, bytes, most) in [
            ("actor", size_of::<DuplexActor<Stream>>(), 832),
            ("stream", size_of::<Stream>(), 216),
            ("socket", size_of::<TcpIo>(), 96),
        ] {
            println!("{what}: {bytes} bytes");
            assert!(bytes <= most, "{what}: {bytes} bytes, {most} are allowed");
        }
    }
}
