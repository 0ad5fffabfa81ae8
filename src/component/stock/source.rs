//! `Source`: a part that produces items, and the actor that runs one.

use super::{Budget, Done, Holder, Outcome, PartResult, Pull, push_parcel, type_name};
use crate::component::control::Envelope;
use crate::component::drive;
use crate::component::link::Waiting;
use crate::component::{AddrExt, Outlet, OutletEvent, OutletRef};
use crate::proto::link::{Cause, Credit, Payload};
use crate::wire;
use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, AsyncContext, Context};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

/// A part that produces items. Pulled while the consumer has granted credit.
///
/// ```
/// use std::task::{Context, Poll};
/// use versile_io::component::stock::{PartResult, Pull, Source};
/// use versile_io::proto::link::Credit;
///
/// struct CountDown(u32);
/// impl Source for CountDown {
///     type Out = u32;
///     fn poll_pull(&mut self, _: Credit, _: &mut Context<'_>) -> Poll<PartResult<Pull<u32>>> {
///         Poll::Ready(Ok(match self.0.checked_sub(1) {
///             Some(left) => Pull::Item(std::mem::replace(&mut self.0, left)),
///             None => Pull::End { clean: true },
///         }))
///     }
/// }
/// ```
pub trait Source: Unpin + 'static {
    /// What it produces.
    type Out: Payload;

    /// The next item or the end. `Pending`: nothing now, and the waker was arranged for. Called only with credit.
    ///
    /// # Errors
    ///
    /// The reason with which the chain is aborted.
    fn poll_pull(&mut self, credit: Credit, cx: &mut std::task::Context<'_>) -> Poll<PartResult<Pull<Self::Out>>>;

    /// What needs no credit: the end, with whether it is clean, if nothing goes before it, or a failure. Called while there is no
    /// credit, so that neither waits for some; `Pending` like [`poll_pull`](Self::poll_pull). A part that learns of both
    /// only by being pulled leaves it at the default.
    ///
    /// # Errors
    ///
    /// The reason with which the chain is aborted.
    fn poll_end(&mut self, cx: &mut std::task::Context<'_>) -> Poll<PartResult<bool>> {
        let _ = cx;
        Poll::Pending
    }

    /// Goes back by so much of what it gave, which is then pulled once more: its consumer failed and what took its place has
    /// less. Also after the end. 0 asks whether it could.
    ///
    /// # Errors
    ///
    /// It cannot, which is the default; nothing has changed then.
    fn rewind(&mut self, by: u64) -> PartResult {
        let _ = by;
        Err(drive::cannot_rewind())
    }

    /// The name for links, errors and supervisors. The type's by default.
    fn name(&self) -> Arc<str> {
        type_name::<Self>()
    }

    /// Runs once if the component is aborted.
    fn aborted(&mut self, cause: &Arc<Cause>) {
        let _ = cause;
    }

    /// Answers a control message, or gives it back to be passed on.
    fn control(&mut self, envelope: Envelope) -> Option<Envelope> {
        Some(envelope)
    }

    /// Starts the part in an actor on the current arbiter.
    fn start(self) -> (OutletRef<Self::Out>, Done<Self>)
    where
        Self: Sized,
    {
        let (part, done) = Holder::new(self);
        let mut output = Outlet::default().on_demand();
        // a source that is attached has something left to send until its end: it holds its own actor
        output.keep(true);
        let actor = SourceActor { part, output, driven: false };
        (actor.start().outlet(), done)
    }
}

/// The actor that runs a [`Source`].
pub struct SourceActor<S: Source> {
    part: Holder<S>,
    output: Outlet<S::Out>,
    /// The driver future is spawned. It lives while the outlet is open, and with it the actor.
    driven: bool,
}

impl<S: Source> Actor for SourceActor<S> {
    type Context = Context<Self>;
}

wire!([S: Source] SourceActor<S> {
    outlet output: S::Out => on_output;
    controls => on_control;
    aborted => on_aborted;
    drain => on_drain;
    rewind => on_rewind;
    name => part_name;
});

impl<S: Source> SourceActor<S> {
    fn on_output(&mut self, event: OutletEvent, ctx: &mut Context<Self>) {
        if event == OutletEvent::Attached && !self.driven {
            self.driven = true;
            ctx.spawn(Drive);
        }
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
        self.part.finish(Outcome::Aborted(cause.clone()));
    }

    fn on_drain(&mut self, _: &mut Context<Self>) {
        // the data is not complete
        self.output.end(false);
    }

    fn on_rewind(&mut self, _: usize, by: u64, _: &mut Context<Self>) -> PartResult {
        self.part.get().map_or_else(|| Err(drive::cannot_rewind()), |part| part.rewind(by))
    }

    fn part_name(&self) -> Arc<str> {
        self.part.peek().map_or_else(type_name::<S>, |part| part.name())
    }

    /// Pulls while there is credit, for a bounded number of items. `true` if it should be called again soon.
    fn pull(&mut self, cx: &mut std::task::Context<'_>) -> bool {
        let mut budget = Budget::for_a_turn();
        while !budget.is_spent() {
            let credit = self.output.credit();
            if credit.is_exhausted() {
                // closed, or something waits: the next grant or the end of the link continues
                if !self.output.is_closed() {
                    self.output.waiting(Waiting::ForCredit);
                    self.end(cx);
                }
                return false;
            }
            let Some(part) = self.part.get() else { return false };
            match part.poll_pull(credit, cx) {
                Poll::Pending => {
                    self.output.waiting(Waiting::ForData);
                    return false;
                }
                Poll::Ready(Ok(Pull::Item(item))) => {
                    budget.spend(item.quantity());
                    // with credit and nothing waiting the outlet takes any item
                    let _ = self.output.push(item);
                }
                Poll::Ready(Ok(Pull::Parcel(parcel))) => {
                    budget.spend(parcel.quantity);
                    if let Err(reason) = push_parcel(&mut self.output, parcel) {
                        self.output.abort(reason);
                    }
                }
                Poll::Ready(Ok(Pull::End { clean })) => self.output.end(clean),
                Poll::Ready(Err(reason)) => self.output.abort(reason),
            }
        }
        self.output.waiting(Waiting::No);
        true
    }

    /// Ends or aborts without credit, if the part wants to.
    fn end(&mut self, cx: &mut std::task::Context<'_>) {
        let Some(part) = self.part.get() else { return };
        match part.poll_end(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(clean)) => self.output.end(clean),
            Poll::Ready(Err(reason)) => self.output.abort(reason),
        }
    }
}

/// The driver: actix polls it after the mailbox is empty, so a grant needs no waker of its own.
struct Drive;

impl<S: Source> ActorFuture<SourceActor<S>> for Drive {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        act: &mut SourceActor<S>,
        ctx: &mut Context<SourceActor<S>>,
        task: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        if drive::turn(act, ctx, |act, _| act.pull(task)) == Some(true) {
            task.waker().wake_by_ref();
        }
        if let Some(clean) = act.output.ended() {
            act.part.finish(Outcome::Ended { clean });
            ctx.stop();
            return Poll::Ready(());
        }
        if act.output.is_open() {
            return Poll::Pending;
        }
        act.driven = false;
        Poll::Ready(())
    }
}

impl<S: Source> fmt::Debug for SourceActor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceActor").field("output", &self.output).finish_non_exhaustive()
    }
}
