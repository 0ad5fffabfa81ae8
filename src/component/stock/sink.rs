//! `Sink`: a part that consumes items, and the actor that runs one.

use super::{Done, Holder, Outcome, PartResult, type_name};
use crate::component::control::Envelope;
use crate::component::drive;
use crate::component::{AddrExt, Inlet, InletEvent, InletRef};
use crate::proto::link::{Cause, Count, Payload, Window};
use crate::wire;
use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, AsyncContext, Context};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

/// A part that consumes items. Credit is granted as it finishes with them.
///
/// ```
/// use versile_io::component::stock::{PartResult, Sink};
///
/// struct Sum(u64);
/// impl Sink for Sum {
///     type In = u32;
///     fn consume(&mut self, item: u32) -> PartResult {
///         self.0 += u64::from(item);
///         Ok(())
///     }
/// }
/// ```
pub trait Sink: Unpin + 'static {
    /// What it consumes.
    type In: Payload;

    /// Takes an item. It must take whatever comes: no more comes than its window (rule C2).
    ///
    /// # Errors
    ///
    /// The reason with which the chain is aborted.
    fn consume(&mut self, item: Self::In) -> PartResult;

    /// How much may wait in front of and inside this part.
    fn window(&self) -> Window {
        Window::default()
    }

    /// What the part still holds of the items it took. Nothing by default: it has finished with an item when
    /// [`consume`](Self::consume) returns.
    fn held(&self) -> Count {
        Count::ZERO
    }

    /// Works off what the part holds. Polled while it holds anything; `Pending` with the waker arranged for.
    ///
    /// # Errors
    ///
    /// The reason with which the chain is aborted.
    fn poll_progress(&mut self, cx: &mut std::task::Context<'_>) -> Poll<PartResult> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// No more items come and nothing is held. `clean`: the data is complete. The component has ended when this is ready.
    ///
    /// # Errors
    ///
    /// The reason with which the chain is aborted.
    fn poll_finish(&mut self, clean: bool, cx: &mut std::task::Context<'_>) -> Poll<PartResult> {
        let _ = (clean, cx);
        Poll::Ready(Ok(()))
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
    fn start(self) -> (InletRef<Self::In>, Done<Self>)
    where
        Self: Sized,
    {
        let input = Inlet::holding(self.window());
        let (part, done) = Holder::new(self);
        let actor = SinkActor { part, input, ended: None, working: false };
        (actor.start().inlet(), done)
    }
}

/// The actor that runs a [`Sink`].
pub struct SinkActor<K: Sink> {
    part: Holder<K>,
    input: Inlet<K::In>,
    /// The end came, and whether it was clean.
    ended: Option<bool>,
    /// The worker future is spawned. It lives while the part holds anything or finishes.
    working: bool,
}

impl<K: Sink> Actor for SinkActor<K> {
    type Context = Context<Self>;
}

wire!([K: Sink] SinkActor<K> {
    inlet input: K::In => on_input;
    controls => on_control;
    aborted => on_aborted;
    name => part_name;
});

impl<K: Sink> SinkActor<K> {
    fn on_input(&mut self, event: InletEvent<K::In>, ctx: &mut Context<Self>) {
        let Some(part) = self.part.get() else { return };
        match event {
            InletEvent::Item(item) => match part.consume(item) {
                Ok(()) => self.release(),
                Err(reason) => self.input.abort(reason),
            },
            InletEvent::End { clean } => self.ended = Some(clean),
            InletEvent::Parcel(_) | InletEvent::Attached | InletEvent::Detached | InletEvent::Aborted => {}
        }
        let busy = self.ended.is_some() || !self.input.held().is_zero();
        if busy && !self.working {
            self.working = true;
            ctx.spawn(Work);
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

    fn part_name(&self) -> Arc<str> {
        self.part.peek().map_or_else(type_name::<K>, |part| part.name())
    }

    /// Releases what the part has finished with.
    fn release(&mut self) {
        let Some(part) = self.part.peek() else { return };
        let (held, still) = (self.input.held(), part.held());
        let quantity = held.quantity.saturating_sub(still.quantity);
        let messages = held.messages.saturating_sub(still.messages);
        self.input.release(quantity, messages);
    }

    /// Works off what is held and, after the end, finishes. `Some(clean)` when all is done.
    fn work(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Option<bool>> {
        let Some(part) = self.part.get() else { return Poll::Ready(None) };
        if !part.held().is_zero() {
            let progress = part.poll_progress(cx);
            self.release();
            match progress {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(reason)) => {
                    self.input.abort(reason);
                    return Poll::Ready(None);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        let (Some(clean), Some(part)) = (self.ended, self.part.get()) else { return Poll::Ready(None) };
        match part.poll_finish(clean, cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Some(clean)),
            Poll::Ready(Err(reason)) => {
                self.input.abort(reason);
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The worker: polled while the part holds anything or finishes.
struct Work;

impl<K: Sink> ActorFuture<SinkActor<K>> for Work {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        act: &mut SinkActor<K>,
        ctx: &mut Context<SinkActor<K>>,
        task: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        match drive::turn(act, ctx, |act, _| act.work(task)) {
            Some(Poll::Pending) => return Poll::Pending,
            Some(Poll::Ready(Some(clean))) => {
                act.input.complete();
                act.part.finish(Outcome::Ended { clean });
                ctx.stop();
            }
            Some(Poll::Ready(None)) | None => {}
        }
        act.working = false;
        Poll::Ready(())
    }
}

impl<K: Sink> fmt::Debug for SinkActor<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkActor").field("input", &self.input).finish_non_exhaustive()
    }
}
