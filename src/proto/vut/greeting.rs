//! Before it is known which profile the peer speaks: our hello is repeated, and what comes is told apart.
//!
//! What each authentic datagram leads to is the table of [`Switch`](super::native::switch::Switch).

use super::event::CloseReason;
use super::handshake::Handshake;
use super::native::handshake::HandshakeBudget;
use super::native::switch::{Input, NATIVE_BIT};
use super::wire::{Flags, Header, Keys, View, emit};
use super::{FIRST_END, HELLO, Tracer};
use crate::proto::time::Time;

/// What the owner wanted before anybody could hear it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Finish,
    StopReading,
}

/// A connection that has only sent its hello.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) began: Time,
    hellos: Handshake,
    pub(super) budget: HandshakeBudget,
    pub(super) read_limit: u64,
    pub(super) wishes: Vec<Wish>,
    pub(super) tracer: Option<Box<dyn Tracer>>,
}

impl Greeting {
    pub(super) fn new(now: Time, patience: std::time::Duration) -> Self {
        Self {
            began: now,
            hellos: Handshake::new(now, patience),
            budget: HandshakeBudget::new(now),
            read_limit: 0,
            wishes: Vec::new(),
            tracer: None,
        }
    }

    pub(super) fn wish(&mut self, wish: Wish) {
        if !self.wishes.contains(&wish) {
            self.wishes.push(wish);
        }
    }

    /// Writes a hello if it is time.
    pub(super) fn poll_transmit(&mut self, now: Time, flags: Flags, keys: &Keys, buf: &mut [u8]) -> Option<usize> {
        if self.hellos.hello_due().is_none_or(|at| at > now) {
            return None;
        }
        self.hellos.on_hello_sent(now);
        if !self.budget.take(now) {
            return None;
        }
        emit(&Header { flags, seq: 0, ack: 0, win: FIRST_END }, HELLO, &keys.send, buf).ok()
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.hellos.hello_due().into_iter().chain(self.hellos.deadline()).min()
    }

    /// The connection is given up: nobody answered, or only somebody who speaks 0.8.
    pub(super) fn handle_timeout(&self, now: Time, legacy: bool) -> Option<CloseReason> {
        let over = self.hellos.deadline().is_some_and(|at| at <= now);
        over.then_some(if legacy { CloseReason::OnlyLegacy } else { CloseReason::NoAnswer })
    }
}

/// What an authentic 0.8 datagram is to the switch; none if it is not authentic, or makes no sense.
pub(super) fn legacy_input(keys: &Keys, datagram: &[u8]) -> Option<Input> {
    let view = View::open(&keys.receive, datagram).ok()?;
    let hello = view.header.seq == 0 && view.data == HELLO;
    Some(match (hello, view.header.flags.contains(Flags::from_bits(NATIVE_BIT))) {
        (true, true) => Input::HelloWithBit,
        (true, false) => Input::HelloWithout,
        (false, _) => Input::Legacy,
    })
}
