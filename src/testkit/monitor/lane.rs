//! A lane: what is to be sent to one side, in order and outside all locks.
//!
//! Two monitors beside each other call each other, one from above and one from below, so none may hold a lock while it sends.
//! Whoever puts something in sends it, and what others put in meanwhile; if another sends already, that one does. Nobody waits.

use crate::component::address::{DownTx, WeakUpTx};
use crate::component::control::Envelope;
use crate::component::link::Link;
use crate::component::message::{InletMsg, OutletMsg};
use crate::proto::link::{Count, LinkState, Payload};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::ThreadId;
use tokio::sync::oneshot;

pub(super) struct Lane<E> {
    waiting: VecDeque<E>,
    /// Something was put in, and whoever did so has not begun to send.
    fresh: bool,
    /// Who is sending.
    sender: Option<ThreadId>,
}

impl<E> Lane<E> {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new(), fresh: false, sender: None }
    }

    pub(super) fn push(&mut self, entry: E) {
        self.waiting.push_back(entry);
        self.fresh = true;
    }

    /// For what has to come behind all that was put in before, and is nobody's message: the one who sends does it. Back if there is
    /// nothing before it.
    pub(super) fn push_behind(&mut self, entry: E) -> Option<E> {
        if self.waiting.is_empty() && self.sender.is_none() {
            return Some(entry);
        }
        self.waiting.push_back(entry);
        None
    }

    /// True, once, for the one who has put something in. Nobody else sends it: a call from the one side that did the other
    /// side's work would be taken for an answer (rule C3).
    pub(super) fn is_fresh(&mut self) -> bool {
        std::mem::take(&mut self.fresh)
    }

    /// True if this thread is inside a call to that side (rule C3).
    pub(super) fn is_calling(&self) -> bool {
        self.sender.is_some_and(|sender| sender == std::thread::current().id())
    }

    /// What is to be sent next by the caller, who has to come again until there is none. `None` as well while another sends.
    pub(super) fn begin(&mut self) -> Option<E> {
        if self.sender.is_some() {
            return None;
        }
        let first = self.waiting.pop_front()?;
        self.sender = Some(std::thread::current().id());
        Some(first)
    }

    /// The next one, by the one who has begun.
    pub(super) fn go_on(&mut self) -> Option<E> {
        let next = self.waiting.pop_front();
        if next.is_none() {
            self.sender = None;
        }
        next
    }
}

/// What goes to the consumer's side.
pub(super) enum ToConsumer<T: Payload> {
    Message(Arc<dyn DownTx<T>>, InletMsg<T>),
    /// Behind the last item, as it was asked.
    Question(Arc<dyn DownTx<T>>, Arc<Link>, Envelope),
    /// To a supervisor: all that was counted has been sent.
    Stopped(oneshot::Sender<Option<Count>>, Count),
}

impl<T: Payload> ToConsumer<T> {
    /// False if nobody is there.
    pub(super) fn send(self) -> bool {
        match self {
            Self::Message(peer, msg) => {
                peer.send(msg);
                peer.is_alive()
            }
            Self::Question(peer, link, envelope) => {
                let waits =
                    link.send_with_room(envelope, move |id, envelope| peer.send(InletMsg::Control(id, envelope)));
                later(waits);
                true
            }
            Self::Stopped(to, at) => {
                // nobody may be waiting any more
                let _ = to.send(Some(at));
                true
            }
        }
    }
}

/// What goes to the producer's side.
pub(super) enum ToProducer<T: Payload> {
    /// Our inlet is over, behind the last grant of it (P4): another thread may be sending that just now.
    Over(Arc<Link>, LinkState),
    Message(Arc<dyn WeakUpTx<T>>, OutletMsg<T>),
    Question(Arc<dyn WeakUpTx<T>>, Arc<Link>, Envelope),
}

impl<T: Payload> ToProducer<T> {
    /// False if nobody is there.
    pub(super) fn send(self) -> bool {
        match self {
            Self::Message(peer, msg) => peer.send(msg),
            Self::Over(link, state) => {
                link.cell().store_inlet_state(state);
                true
            }
            Self::Question(peer, link, envelope) => {
                let waits = link.send_with_room(envelope, move |id, envelope| {
                    peer.send(OutletMsg::Control(id, envelope));
                });
                later(waits);
                true
            }
        }
    }
}

/// A question for which the link has no room yet. Outside a runtime nobody can wait: it is dropped, and so answered `Gone`.
fn later(waits: Option<impl Future<Output = ()> + Send + 'static>) {
    if let (Some(waits), Ok(runtime)) = (waits, tokio::runtime::Handle::try_current()) {
        runtime.spawn(waits);
    }
}
