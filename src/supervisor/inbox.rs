//! What ports have noted and the supervisor has not read yet: many notes, and one message that wakes it for all of them.
//!
//! A connection that is set up and torn down gives some thirty notes, and an actix message costs four allocations. The message
//! that wakes goes with the first note of a batch, so no note is read later than it would be as a message of its own: what
//! was noted before a request was sent is known when the request is handled.

use super::{Budget, SupervisorActor, budget};
use crate::component::link::{Note, Observer};
use actix::{Message, WeakAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module. Bounded by what is noted between two turns of the supervisor.
#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    notes: Vec<Note>,
    /// Nobody will read any more.
    closed: bool,
}

/// There are notes.
pub(super) struct Noted;

impl Message for Noted {
    type Result = ();
}

impl Inbox {
    /// Adds a note. True if the supervisor has to be woken.
    fn push(&self, note: Note) -> bool {
        let mut queue = self.lock();
        if queue.closed {
            drop(queue);
            // not under the lock: dropped, it may tell somebody who notes something in turn
            drop(note);
            return false;
        }
        queue.notes.push(note);
        queue.notes.len() == 1
    }

    /// All that was noted, in order. `room` is where what comes next goes.
    pub(super) fn take(&self, room: Vec<Note>) -> Vec<Note> {
        std::mem::replace(&mut self.lock().notes, room)
    }

    /// The supervisor is gone: what it has not read is dropped, and what comes later as well.
    fn close(&self) {
        let unread = {
            let mut queue = self.lock();
            queue.closed = true;
            std::mem::take(&mut queue.notes)
        };
        drop(unread);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // nothing runs under the lock but the vector's own code
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The supervisor's hold on its inbox: when it is gone, the inbox is closed.
#[derive(Default)]
pub(super) struct Reader(pub(super) Arc<Inbox>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Notes from ports, to a supervisor that they must not keep alive.
pub(super) struct Notes {
    pub(super) supervisor: WeakAddr<SupervisorActor>,
    pub(super) inbox: Arc<Inbox>,
    /// What the links that are told to it fall under.
    pub(super) budget: budget::Slot,
}

impl Observer for Notes {
    fn note(&self, note: Note) {
        if !self.inbox.push(note) {
            return;
        }
        match self.supervisor.upgrade() {
            Some(supervisor) => supervisor.do_send(Noted),
            None => self.inbox.close(),
        }
    }

    fn budget(&self) -> Option<Budget> {
        self.budget.get()
    }
}
