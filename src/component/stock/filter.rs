//! `Filter`: a part that turns items into other items, and the actor that runs one.

use super::{Done, Holder, Outcome, PartResult, type_name};
use crate::component::control::Envelope;
use crate::component::link::Waiting;
use crate::component::message::PartState;
use crate::component::{AddrExt, Inlet, InletEvent, InletRef, Outlet, OutletEvent, OutletRef};
use crate::proto::link::{Cause, Payload, PushError, Window};
use crate::wire;
use actix::{Actor, ActorContext, Context};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// A part that turns items into other items: none, one or more for each. Fed only while its outlet has room, so it holds
/// at most its window and what one call of [`apply`](Self::apply) gives.
///
/// ```
/// use bytes::Bytes;
/// use versile_io::component::stock::{Filter, Outbox, PartResult};
///
/// struct Upper;
/// impl Filter for Upper {
///     type In = Bytes;
///     type Out = Bytes;
///     fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
///         out.push(item.to_ascii_uppercase().into());
///         Ok(())
///     }
/// }
/// ```
pub trait Filter: Unpin + 'static {
    /// What it takes.
    type In: Payload;
    /// What it gives.
    type Out: Payload;

    /// Takes an item and gives what follows from it.
    ///
    /// # Errors
    ///
    /// The reason with which the chain is aborted.
    fn apply(&mut self, item: Self::In, out: &mut Outbox<Self::Out>) -> PartResult;

    /// No more items come: gives what the part still holds, and says whether its own data is complete.
    ///
    /// # Errors
    ///
    /// The reason with which the chain is aborted.
    fn finish(&mut self, clean: bool, out: &mut Outbox<Self::Out>) -> PartResult<bool> {
        let _ = out;
        Ok(clean)
    }

    /// A supervisor wants to take the part out of its chain, and all before has been applied: gives what it still holds.
    ///
    /// # Errors
    ///
    /// It holds what it cannot give, such as the beginning of a frame; it then stays in its chain, and this says why.
    fn flush(&mut self, out: &mut Outbox<Self::Out>) -> PartResult {
        let _ = out;
        Ok(())
    }

    /// What a successor can go on from, such as the beginning of a frame, given up. `None` if the part holds nothing, or
    /// has no such state.
    fn take_state(&mut self) -> Option<PartState> {
        None
    }

    /// Goes on from a predecessor's state, or gives it back if it is of no use here.
    fn put_state(&mut self, state: PartState) -> Result<(), PartState> {
        Err(state)
    }

    /// How much may wait in front of this part.
    fn window(&self) -> Window {
        Window::default()
    }

    /// The name for links, errors and supervisors. The type's by default.
    fn name(&self) -> Arc<str> {
        type_name::<Self>()
    }

    /// Runs once if the component is aborted.
    fn aborted(&mut self, cause: &Arc<Cause>) {
        let _ = cause;
    }

    /// Answers a control message, or gives it back to be passed on along the flow.
    fn control(&mut self, envelope: Envelope) -> Option<Envelope> {
        Some(envelope)
    }

    /// Starts the part in an actor on the current arbiter.
    fn start(self) -> (InletRef<Self::In>, OutletRef<Self::Out>, Done<Self>)
    where
        Self: Sized,
    {
        let input = Inlet::holding(self.window());
        let (part, done) = Holder::new(self);
        let mut output = Outlet::default().on_demand();
        // what is not blocked waits for data, also while the part works
        output.waiting(Waiting::ForData);
        let actor = FilterActor {
            part,
            input,
            output,
            waiting: VecDeque::new(),
            outbox: Outbox { items: VecDeque::new() },
            ending: Ending::Open,
        };
        let addr = actor.start();
        (addr.inlet(), addr.outlet(), done)
    }
}

/// What a filter gives in one call.
#[derive(Debug)]
pub struct Outbox<T> {
    items: VecDeque<T>,
}

impl<T> Outbox<T> {
    /// Gives an item.
    pub fn push(&mut self, item: T) {
        self.items.push_back(item);
    }
}

/// The actor that runs a [`Filter`].
pub struct FilterActor<F: Filter> {
    part: Holder<F>,
    input: Inlet<F::In>,
    output: Outlet<F::Out>,
    /// Accepted and not yet applied; covered by the inlet's window.
    waiting: VecDeque<F::In>,
    /// Given and not yet in the outlet; what one call gives at most.
    outbox: Outbox<F::Out>,
    ending: Ending,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Items may come.
    Open,
    /// The end came; the part is told once all before it was applied.
    Came { clean: bool },
    /// The part was told; the outlet ends once all that it gave is sent.
    Told { clean: bool },
    /// The outlet was ended.
    Passed,
}

impl<F: Filter> Actor for FilterActor<F> {
    type Context = Context<Self>;
}

wire!([F: Filter] FilterActor<F> {
    inlet input: F::In => on_input;
    outlet output: F::Out => on_output;
    controls => on_control;
    aborted => on_aborted;
    settled => is_empty;
    flush => flush_part;
    state => take_part_state, put_part_state;
    name => part_name;
});

impl<F: Filter> FilterActor<F> {
    fn on_input(&mut self, event: InletEvent<F::In>, ctx: &mut Context<Self>) {
        match event {
            InletEvent::Item(item) => self.waiting.push_back(item),
            InletEvent::End { clean } => self.ending = Ending::Came { clean },
            InletEvent::Parcel(_) | InletEvent::Attached | InletEvent::Detached | InletEvent::Aborted => return,
        }
        self.pump(ctx);
    }

    fn on_output(&mut self, _: OutletEvent, ctx: &mut Context<Self>) {
        self.pump(ctx);
    }

    fn on_control(&mut self, envelope: Envelope, _: &mut Context<Self>) -> Option<Envelope> {
        match self.part.get() {
            Some(part) => part.control(envelope),
            None => Some(envelope),
        }
    }

    fn on_aborted(&mut self, cause: &Arc<Cause>, _: &mut Context<Self>) {
        if let Some(part) = self.part.get() {
            part.aborted(cause);
        }
        self.waiting.clear();
        self.part.finish(Outcome::Aborted(cause.clone()));
    }

    fn is_empty(&mut self) -> bool {
        self.waiting.is_empty() && self.outbox.items.is_empty() && !self.output.has_work()
    }

    fn flush_part(&mut self, ctx: &mut Context<Self>) -> PartResult {
        let Some(part) = self.part.get() else { return Ok(()) };
        part.flush(&mut self.outbox)?;
        self.pump(ctx);
        Ok(())
    }

    fn take_part_state(&mut self) -> Option<PartState> {
        self.part.get()?.take_state()
    }

    fn put_part_state(&mut self, state: PartState) -> Result<(), PartState> {
        match self.part.get() {
            Some(part) => part.put_state(state),
            None => Err(state),
        }
    }

    fn part_name(&self) -> Arc<str> {
        self.part.peek().map_or_else(type_name::<F>, |part| part.name())
    }

    /// Feeds the part while the outlet has room. Bounded by the inlet's message limit (rule F1).
    fn pump(&mut self, ctx: &mut Context<Self>) {
        while self.flush() {
            match self.step() {
                Ok(true) => {}
                Ok(false) => break,
                Err(reason) => {
                    self.output.abort(reason);
                    return;
                }
            }
        }
        self.output
            .keep(!self.outbox.items.is_empty() || matches!(self.ending, Ending::Came { .. } | Ending::Told { .. }));
        if let Some(clean) = self.output.ended() {
            self.input.complete();
            self.part.finish(Outcome::Ended { clean });
            ctx.stop();
        }
    }

    /// Moves what the part gave into the outlet. True if all went and more may come.
    fn flush(&mut self) -> bool {
        while let Some(item) = self.outbox.items.pop_front() {
            match self.output.push(item) {
                Ok(()) => {}
                Err(PushError::Full(item)) => {
                    self.outbox.items.push_front(item);
                    return false;
                }
                Err(PushError::Closed(_)) => return false,
            }
        }
        self.output.is_ready()
    }

    /// One step: an item, or one towards the end. False if there is nothing to do.
    fn step(&mut self) -> PartResult<bool> {
        let Some(part) = self.part.get() else { return Ok(false) };
        if let Some(item) = self.waiting.pop_front() {
            let quantity = item.quantity();
            part.apply(item, &mut self.outbox)?;
            self.input.release(quantity, 1);
            return Ok(true);
        }
        match self.ending {
            Ending::Came { clean } => {
                let clean = part.finish(clean, &mut self.outbox)?;
                self.ending = Ending::Told { clean };
                Ok(true)
            }
            Ending::Told { clean } => {
                self.output.end(clean);
                self.ending = Ending::Passed;
                Ok(false)
            }
            Ending::Open | Ending::Passed => Ok(false),
        }
    }
}

impl<F: Filter> fmt::Debug for FilterActor<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterActor")
            .field("input", &self.input)
            .field("output", &self.output)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}
