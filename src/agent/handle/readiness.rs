//! What the kernel says of a descriptor: registration, events, and the questions that events leave open.
//!
//! tokio registers with epoll edge-triggered: an event is told once. So [`Readiness`] takes every event over into flags of
//! its own and clears tokio's; a flag goes down only after a call, and then [`state`] asks the kernel. An event that
//! comes after the question is a new edge, and one before it is in the answer: none is lost in between.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::{SocketType, sockopt};
use tokio::io::Ready;
use tokio::io::unix::AsyncFd;

use super::Interest;

/// The state of one descriptor.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    /// Where events come from; none for what cannot be waited on and is always ready.
    registration: Option<AsyncFd<OwnedFd>>,
    /// Directions that may be called.
    pub(super) ready: Interest,
    /// The other side sends no more. Never goes away again.
    pub(super) read_closed: bool,
    /// The other side takes no more. Never goes away again.
    pub(super) write_closed: bool,
    /// An error was reported and has not been looked into.
    pub(super) error: bool,
    always: bool,
}

impl Readiness {
    /// Registers a duplicate of a descriptor. What epoll refuses to watch (regular files, directories, `/dev/null`) is
    /// always ready.
    ///
    /// Why a duplicate? A registration must not outlive the descriptor that it is for, and a handle may close its own at
    /// any time, in a hook or by being replaced. An owned duplicate stays valid until it is deregistered, whatever the
    /// handle does; the price is one descriptor per driver.
    pub(super) fn register(fd: OwnedFd) -> io::Result<Self> {
        let all = tokio::io::Interest::READABLE | tokio::io::Interest::WRITABLE | tokio::io::Interest::ERROR;
        match watch(fd, all) {
            Ok(registration) => Ok(Self { registration: Some(registration), ..Self::default() }),
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                Ok(Self { ready: Interest::BOTH, always: true, ..Self::default() })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether this descriptor cannot be waited on.
    pub(super) const fn is_always(&self) -> bool {
        self.always
    }

    /// Both sides have gone.
    pub(super) const fn hung_up(&self) -> bool {
        self.read_closed && self.write_closed
    }

    /// Gives the registration and its duplicate up; closing the descriptor is then seen by the other side at once.
    pub(super) fn deregister(&mut self) {
        self.registration = None;
    }

    /// Waits for an event and takes it over; for ever if there can be none.
    ///
    /// Cancel safety: an event is taken over entirely or stays for the next call.
    pub(super) async fn event(&mut self) -> io::Result<()> {
        let Some(registration) = &self.registration else {
            return std::future::pending().await;
        };
        // tokio keeps the closed states for ever, so waiting for them again would not wait.
        let mut awaited = tokio::io::Interest::ERROR;
        if !self.read_closed {
            awaited |= tokio::io::Interest::READABLE;
        }
        if !self.write_closed {
            awaited |= tokio::io::Interest::WRITABLE;
        }
        let mut guard = registration.ready(awaited).await?;
        let event = guard.ready();
        guard.clear_ready();
        drop(guard);
        self.take_over(event);
        Ok(())
    }

    fn take_over(&mut self, event: Ready) {
        self.ready = self.ready | Interest { read: event.is_readable(), write: event.is_writable() };
        self.read_closed |= event.is_read_closed();
        self.write_closed |= event.is_write_closed();
        self.error |= event.is_error();
    }
}

#[expect(
    deprecated,
    reason = "tokio deprecates the safe constructor because some type could give a wrong descriptor; an `OwnedFd` cannot, \
              and the replacement is `unsafe`, which this crate does not use"
)]
fn watch(fd: OwnedFd, interest: tokio::io::Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

/// What is true of a descriptor at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// Both sides have gone.
    pub(super) hung_up: bool,
    /// The other side sends no more, or there is an error.
    half_closed: bool,
}

impl State {
    /// Whether anything is left of a reported hang-up, half-close or error.
    pub(super) const fn closed(self) -> bool {
        self.hung_up || self.half_closed
    }
}

/// Asks the kernel for the state of a descriptor.
pub(super) fn state(fd: BorrowedFd<'_>) -> io::Result<State> {
    let mut question = [PollFd::from_borrowed_fd(fd, PollFlags::IN | PollFlags::OUT | HALF_CLOSED)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    while let Err(error) = poll(&mut question, Some(&at_once)) {
        if error != Errno::INTR {
            return Err(error.into());
        }
    }
    let now = question[0].revents();
    Ok(State {
        readable: now.contains(PollFlags::IN),
        writable: now.contains(PollFlags::OUT),
        hung_up: now.contains(PollFlags::HUP),
        half_closed: now.intersects(HALF_CLOSED | PollFlags::ERR),
    })
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const HALF_CLOSED: PollFlags = PollFlags::RDHUP;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const HALF_CLOSED: PollFlags = PollFlags::empty();

/// How much can be read before the end; `None` if the kernel cannot tell.
pub(super) fn unread(fd: BorrowedFd<'_>) -> Option<u64> {
    ioctl_fionread(fd).ok()
}

/// What lies behind an error event.
#[derive(Debug)]
pub(super) enum Fault {
    /// Nothing that ends the descriptor, such as a message in a socket's error queue.
    None,
    /// The error of one datagram, still pending for the next read or write.
    Datagram,
    /// The descriptor has failed.
    Descriptor(io::Error),
    /// Not a socket: a pipe that has lost its readers.
    Pipe,
}

/// Looks into an error event. Takes the pending error of a stream socket: whoever asks next is told of none.
pub(super) fn fault(fd: BorrowedFd<'_>) -> Fault {
    match sockopt::socket_type(fd) {
        Ok(SocketType::DGRAM | SocketType::RAW) => Fault::Datagram,
        Ok(_) => match sockopt::socket_error(fd) {
            Ok(Ok(())) => Fault::None,
            Ok(Err(error)) | Err(error) => Fault::Descriptor(error.into()),
        },
        // The event may be out of date: a named pipe gets new readers.
        Err(Errno::NOTSOCK) if state(fd).is_ok_and(|now| !now.closed()) => Fault::None,
        Err(Errno::NOTSOCK) => Fault::Pipe,
        Err(error) => Fault::Descriptor(error.into()),
    }
}
