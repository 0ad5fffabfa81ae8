//! `Duplex`: a part with two directions, such as a socket, and the actor that runs one. All stream agents are this actor.
//!
//! ```text
//!            ┌───────────────┐
//!   inlet ──▶│ consume, then │──▶ other side      one future drives both directions: it is polled
//!            │ poll_progress │                    after the mailbox is empty and when the part wakes it
//!   outlet ◀─│ poll_pull     │◀── other side
//!            └───────────────┘
//! ```
//!
//! # Ends
//!
//! An end of one direction leaves the other alone if [`HalfClose`] allows it; otherwise the component closes: what it holds
//! is still delivered, the outlet ends unclean unless it had ended already, and a producer that has more to send is
//! aborted. An unclean end closes as well where the other side could not tell it otherwise
//! ([`breaks_both`](Duplex::breaks_both)). An abort always takes both directions: a two-way component that is dead on one side is dead.
//!
//! # Without holders
//!
//! A component that nobody holds and that is attached in neither direction is gone. One that is used in a single direction
//! ends with it: an inlet that nobody can attach to any more is ended, cleanly if nothing ever came, once the outlet is over.

use super::{Budget, Done, Holder, Outcome, PartResult, Pull, push_parcel, type_name};
use crate::component::control::Envelope;
use crate::component::drive;
use crate::component::link::Waiting;
use crate::component::port::AnyPort;
use crate::component::{AddrExt, Inlet, InletEvent, Outlet, OutletEvent, PairRef};
use crate::proto::link::{Cause, Count, Credit, Forms, Parcel, Payload, Reason, Window};
use crate::wire;
use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, AsyncContext, Context};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

/// Which direction may end alone, leaving the other open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfClose {
    /// The other side may end its sending, and can still be written to.
    pub input: bool,
    /// Our sending may end, and the other side can still be read.
    pub output: bool,
}

impl HalfClose {
    /// Either direction may end alone. The default: a client that half-closes still reads its answer.
    pub const BOTH: Self = Self { input: true, output: true };
    /// Neither: the end of one direction closes the other.
    pub const NONE: Self = Self { input: false, output: false };
    /// Only the input may end alone.
    pub const INPUT: Self = Self { input: true, output: false };
    /// Only the output may end alone.
    pub const OUTPUT: Self = Self { input: false, output: true };
}

impl Default for HalfClose {
    fn default() -> Self {
        Self::BOTH
    }
}

/// Which directions a part has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Directions {
    /// It is read and written.
    #[default]
    Both,
    /// It is read; its inlet refuses every attachment.
    ReadOnly,
    /// It is written; its outlet refuses every attachment.
    WriteOnly,
}

/// A part with two directions. Polled by one future of its actor; each method that returns `Pending` has arranged for the
/// waker.
pub trait Duplex: Unpin + 'static {
    /// What travels, in both directions.
    type Item: Payload;

    /// The next item from the other side, or its end. Called only with credit.
    ///
    /// # Errors
    ///
    /// The reason with which the chain is aborted.
    fn poll_pull(&mut self, credit: Credit, cx: &mut std::task::Context<'_>) -> Poll<PartResult<Pull<Self::Item>>>;

    /// Takes an item for the other side. It must take whatever comes: no more comes than its window (rule C2).
    ///
    /// # Errors
    ///
    /// The reason with which the chain is aborted.
    fn consume(&mut self, item: Self::Item) -> PartResult;

    /// Takes a parcel, in order with items. Called only if [`forms`](Self::forms) declares that it takes some.
    ///
    /// # Errors
    ///
    /// The reason with which the chain is aborted.
    fn consume_parcel(&mut self, parcel: Parcel) -> PartResult {
        let _ = parcel;
        Err(Reason::failed("this part takes no parcels"))
    }

    /// In which forms it takes what comes. Asked once, at the start.
    fn forms(&self) -> Forms {
        Forms::default()
    }

    /// A consumer was attached to its outlet, and takes what is pulled in these forms: parcels are pulled only if it takes
    /// them, and what was pulled for an earlier consumer has nothing to do with this one. None, once one was detached.
    fn consumer_takes(&mut self, forms: Forms) {
        let _ = forms;
    }

    /// The last pull waits for the consumer to take what it has, though there is credit: as a pipe that is full by slots. For the
    /// link's times.
    fn waits_for_consumer(&self) -> bool {
        false
    }

    /// What it holds of the items it took.
    fn held(&self) -> Count;

    /// Works off what it holds. Polled while it holds anything.
    ///
    /// # Errors
    ///
    /// The reason with which the chain is aborted.
    fn poll_progress(&mut self, cx: &mut std::task::Context<'_>) -> Poll<PartResult>;

    /// Nothing is held and no more items come: ends the direction towards the other side. If not `clean`, the other side
    /// must be able to tell (rule E1).
    ///
    /// # Errors
    ///
    /// The reason with which the chain is aborted.
    fn poll_finish(&mut self, clean: bool, cx: &mut std::task::Context<'_>) -> Poll<PartResult>;

    /// What must come before anything else: connecting. `ask` sends control messages to the attached consumer. Polled once
    /// something is wanted of the part: a grant, an item or an end has come.
    ///
    /// # Errors
    ///
    /// The reason with which the chain is aborted.
    fn poll_open(&mut self, chain: &Outlet<Self::Item>, cx: &mut std::task::Context<'_>) -> Poll<PartResult> {
        let _ = (chain, cx);
        Poll::Ready(Ok(()))
    }

    /// Both directions are over: the last wait before the part is [`closed`](Self::closed), such as for the other side to
    /// take what was written. An abort ends it.
    fn poll_close(&mut self, cx: &mut std::task::Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// The loss of the other side, noticed while nothing can be read, for want of credit or because reading is over (rule
    /// A4), and while the last pull waits. An orderly end is not a loss.
    fn poll_lost(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Reason> {
        let _ = cx;
        Poll::Pending
    }

    /// The end of what it has for the consumer, with whether it is clean, if nothing goes before it. Called while there is no
    /// credit, so that an end does not wait for some.
    fn poll_end(&mut self, cx: &mut std::task::Context<'_>) -> Poll<bool> {
        let _ = cx;
        Poll::Pending
    }

    /// A failure of its own, such as an abort that its owner asked for. Polled at every turn of the driver, whatever the
    /// state of the ports is, before it is opened too. `chain` is the outlet, for what has to be known of it.
    fn poll_failed(&mut self, chain: &Outlet<Self::Item>, cx: &mut std::task::Context<'_>) -> Poll<Reason> {
        let _ = (chain, cx);
        Poll::Pending
    }

    /// Goes back by so much of what it gave for the consumer, which is then pulled once more; as
    /// [`Source::rewind`](super::Source::rewind).
    ///
    /// # Errors
    ///
    /// It cannot, which is the default; nothing has changed then.
    fn rewind(&mut self, by: u64) -> PartResult {
        let _ = by;
        Err(drive::cannot_rewind())
    }

    /// True if an unclean end of our sending cannot be told without closing the other direction too, as with TCP's reset.
    fn breaks_both(&self) -> bool {
        false
    }

    /// Which directions there are. Asked once, at the start.
    fn directions(&self) -> Directions {
        Directions::Both
    }

    /// Which direction may end alone.
    fn half_close(&self) -> HalfClose {
        HalfClose::BOTH
    }

    /// How much may wait for the other side.
    fn window(&self) -> Window {
        Window::default()
    }

    /// The name for links, errors and supervisors. The type's by default.
    fn name(&self) -> Arc<str> {
        type_name::<Self>()
    }

    /// Answers a control message. `chain` is the outlet, for what has to be told to the consumer.
    fn control(&mut self, envelope: Envelope, chain: &Outlet<Self::Item>) -> Option<Envelope> {
        let _ = chain;
        Some(envelope)
    }

    /// Runs once when the component is over, ended or aborted: release what the other side must not see as an orderly
    /// end, and call the owner's close hook.
    fn closed(&mut self, outcome: &Outcome) {
        let _ = outcome;
    }

    /// Starts the part in an actor on the current arbiter.
    fn start(self) -> (PairRef<Self::Item>, Done<Self>)
    where
        Self: Sized,
    {
        let directions = self.directions();
        let mut input = match directions {
            Directions::ReadOnly => Inlet::absent(),
            _ => Inlet::holding(self.window()),
        };
        input.set_forms(self.forms());
        let output = match directions {
            Directions::WriteOnly => Outlet::absent(),
            _ => Outlet::default(),
        };
        let (part, done) = Holder::new(self);
        let actor = DuplexActor {
            part,
            input,
            output,
            driven: false,
            stage: Stage::Idle,
            write: if directions == Directions::ReadOnly { Write::Ended { clean: true } } else { Write::Open },
            draining: false,
            fed: false,
            unread: false,
            forlorn: false,
        };
        (actor.start().pair(), done)
    }
}

/// The actor that runs a [`Duplex`].
pub struct DuplexActor<D: Duplex> {
    part: Holder<D>,
    input: Inlet<D::Item>,
    output: Outlet<D::Item>,
    /// The driver is spawned: something was attached.
    driven: bool,
    stage: Stage,
    write: Write,
    /// The supervisor wants no more to be read.
    draining: bool,
    /// An item has come.
    fed: bool,
    /// Reading is over, and nobody was ever attached who would have to be told.
    unread: bool,
    /// Nobody holds the actor any more, and what was in its mailbox then is being handled.
    forlorn: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody has wanted anything yet.
    Idle,
    /// Connecting.
    Opening,
    /// Connected.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    /// Items may come.
    Open,
    /// The end came; what is held goes first.
    Ending { clean: bool },
    /// The direction was ended.
    Ended { clean: bool },
}

impl<D: Duplex> Actor for DuplexActor<D> {
    type Context = Context<Self>;
}

wire!([D: Duplex] DuplexActor<D> {
    inlet input: D::Item => on_input;
    outlet output: D::Item => on_output;
    controls => on_control;
    aborted => on_aborted;
    drain => on_drain;
    rewind => on_rewind;
    name => part_name;
    two_way;
    driven;
});

impl<D: Duplex> DuplexActor<D> {
    fn on_input(&mut self, event: InletEvent<D::Item>, ctx: &mut Context<Self>) {
        self.drive(ctx);
        let Some(part) = self.part.get() else { return };
        match event {
            InletEvent::Item(item) => {
                self.stage.wanted();
                self.fed = true;
                if let Err(reason) = part.consume(item) {
                    self.input.abort(reason);
                }
            }
            InletEvent::Parcel(parcel) => {
                self.stage.wanted();
                self.fed = true;
                if let Err(reason) = part.consume_parcel(parcel) {
                    self.input.abort(reason);
                }
            }
            InletEvent::End { clean } => {
                self.stage.wanted();
                self.write = Write::Ending { clean };
            }
            InletEvent::Attached | InletEvent::Detached | InletEvent::Aborted => {}
        }
    }

    fn on_output(&mut self, event: OutletEvent, ctx: &mut Context<Self>) {
        self.drive(ctx);
        match event {
            // once it is detached, in none: what carried the parcels is given up (M2)
            OutletEvent::Attached | OutletEvent::Detached => {
                let forms = self.output.forms();
                if let Some(part) = self.part.get() {
                    part.consumer_takes(forms);
                }
            }
            OutletEvent::Credit => self.stage.wanted(),
            OutletEvent::Aborted => {}
        }
    }

    fn on_control(&mut self, envelope: Envelope, _: &mut Context<Self>) -> Option<Envelope> {
        match self.part.get() {
            Some(part) => part.control(envelope, &self.output),
            None => Some(envelope),
        }
    }

    fn on_aborted(&mut self, cause: &Arc<Cause>, _: &mut Context<Self>) {
        self.over(Outcome::Aborted(cause.clone()));
    }

    fn on_drain(&mut self, _: &mut Context<Self>) {
        self.draining = true;
        // the data is not complete
        self.output.end(false);
    }

    fn on_rewind(&mut self, _: usize, by: u64, _: &mut Context<Self>) -> PartResult {
        self.part.get().map_or_else(|| Err(drive::cannot_rewind()), |part| part.rewind(by))
    }

    /// An agent keeps itself alive by its driver, from the first attachment on: one that is abandoned before has nobody to
    /// work for, and ends.
    fn drive(&mut self, ctx: &mut Context<Self>) {
        if !self.driven {
            self.driven = true;
            ctx.spawn(Drive);
        }
    }

    fn part_name(&self) -> Arc<str> {
        self.part.peek().map_or_else(type_name::<D>, |part| part.name())
    }

    fn over(&mut self, outcome: Outcome) {
        if let Some(part) = self.part.get() {
            part.closed(&outcome);
        }
        self.part.finish(outcome);
    }

    /// One turn of the driver.
    fn advance(&mut self, cx: &mut std::task::Context<'_>) -> PartResult<Next> {
        let more = match self.open(cx)? {
            true => {
                self.write(cx)?;
                self.read(cx)?
            }
            false => false,
        };
        // after the work of the turn: an end that came with it is no failure
        if let Some(part) = self.part.get()
            && let Poll::Ready(reason) = part.poll_failed(&self.output, cx)
        {
            return Err(reason);
        }
        if self.stage != Stage::Open {
            return Ok(Next::Wait);
        }
        self.apply_policy()?;
        let Some(part) = self.part.get() else { return Ok(Next::Wait) };
        Ok(match finished(&self.output, self.unread, self.write) {
            Some(clean) => match part.poll_close(cx) {
                Poll::Ready(()) => Next::Over { clean },
                Poll::Pending => Next::Wait,
            },
            None if more => Next::Again,
            None => Next::Wait,
        })
    }

    /// Opens the part once something is wanted of it. True if it is open.
    fn open(&mut self, cx: &mut std::task::Context<'_>) -> PartResult<bool> {
        let Some(part) = self.part.get() else { return Ok(false) };
        if self.stage == Stage::Opening
            && let Poll::Ready(result) = part.poll_open(&self.output, cx)
        {
            result?;
            self.stage = Stage::Open;
        }
        Ok(self.stage == Stage::Open)
    }

    /// Works off what is held and, after the end, ends the direction.
    fn write(&mut self, cx: &mut std::task::Context<'_>) -> PartResult {
        let Some(part) = self.part.get() else { return Ok(()) };
        let held = self.input.held();
        if !held.is_zero() {
            let progress = part.poll_progress(cx);
            let still = part.held();
            self.input
                .release(held.quantity.saturating_sub(still.quantity), held.messages.saturating_sub(still.messages));
            match progress {
                Poll::Pending => return Ok(()),
                Poll::Ready(result) => result?,
            }
        }
        if let Write::Ending { clean } = self.write
            && part.held().is_zero()
            && let Poll::Ready(result) = part.poll_finish(clean, cx)
        {
            result?;
            self.write = Write::Ended { clean };
            self.input.complete();
        }
        Ok(())
    }

    /// Pulls while there is credit, for a bounded number of items. True if it should go on soon.
    fn read(&mut self, cx: &mut std::task::Context<'_>) -> PartResult<bool> {
        let mut budget = Budget::for_a_turn();
        while !budget.is_spent() {
            let Some(part) = self.part.get() else { return Ok(false) };
            let credit = self.output.credit();
            if self.output.is_closed() || credit.is_exhausted() {
                if self.output.is_open()
                    && self.output.is_ready()
                    && let Poll::Ready(clean) = part.poll_end(cx)
                {
                    self.output.end(clean);
                    return Ok(false);
                }
                self.output.waiting(Waiting::ForCredit);
                return self.watch(cx);
            }
            match part.poll_pull(credit, cx) {
                Poll::Pending => {
                    let waiting = if part.waits_for_consumer() { Waiting::ForCredit } else { Waiting::ForData };
                    self.output.waiting(waiting);
                    return self.watch(cx);
                }
                Poll::Ready(pulled) => match pulled? {
                    Pull::Item(item) => {
                        budget.spend(item.quantity());
                        // with credit and nothing waiting the outlet takes any item
                        let _ = self.output.push(item);
                    }
                    Pull::Parcel(parcel) => {
                        budget.spend(parcel.quantity);
                        push_parcel(&mut self.output, parcel)?;
                    }
                    Pull::End { clean } => self.output.end(clean),
                },
            }
        }
        self.output.waiting(Waiting::No);
        Ok(true)
    }

    /// A4: whether the other side was lost while nothing is read. Always `false`: there is nothing to go on with.
    fn watch(&mut self, cx: &mut std::task::Context<'_>) -> PartResult<bool> {
        let over = self.output.is_closed() && matches!(self.write, Write::Ended { .. });
        match self.part.get() {
            Some(part) if !over => match part.poll_lost(cx) {
                Poll::Ready(reason) => Err(reason),
                Poll::Pending => Ok(false),
            },
            _ => Ok(false),
        }
    }

    /// The end of one direction where it may not end alone.
    fn apply_policy(&mut self) -> PartResult {
        let Some(part) = self.part.peek() else { return Ok(()) };
        let policy = part.half_close();
        if let Write::Ended { clean } = self.write
            && !self.input.is_absent()
            && (!policy.output || !clean && part.breaks_both())
        {
            self.end_reading();
        }
        let read_over = self.output.is_closed() && !self.draining;
        if read_over && !policy.input && self.write == Write::Open {
            if self.input.is_open() && !self.input.held().is_zero() {
                // what was accepted is delivered first
                return Ok(());
            }
            if !self.input.is_attached() {
                self.end_unfed();
                return Ok(());
            }
            return Err(Reason::Requested("the other side has ended, and half-close is off".into()));
        }
        Ok(())
    }

    /// The other side is not read to its end.
    fn end_reading(&mut self) {
        self.unread |= !self.output.is_attached() && !self.output.is_closed();
        self.output.end(false);
    }

    /// Ends the direction of an inlet that nobody is attached to. What was never used is ended cleanly.
    fn end_unfed(&mut self) {
        self.write = Write::Ending { clean: !self.fed };
    }

    /// Nobody holds the actor, so nobody can attach to it any more. What it should do about it.
    fn forsaken(&mut self) -> Next {
        if self.output.is_attached() && !self.output.is_closed() || self.input.is_attached() {
            return Next::Wait;
        }
        match self.write {
            // read to its end, and never written: the other side is told that nothing comes
            Write::Open if self.output.is_closed() => {
                self.end_unfed();
                Next::Again
            }
            Write::Ending { .. } => Next::Wait,
            Write::Ended { .. } if !self.output.is_closed() && !self.unread => {
                self.unread = true;
                Next::Again
            }
            Write::Ended { .. } => Next::Wait,
            Write::Open => Next::Abandoned,
        }
    }
}

/// Whether both directions are over, and clean.
fn finished<T: Payload>(output: &Outlet<T>, unread: bool, write: Write) -> Option<bool> {
    let read = if output.is_absent() || unread { Some(true) } else { output.ended() };
    match (write, read) {
        (Write::Ended { clean: written }, Some(read)) => Some(written && read),
        _ => None,
    }
}

impl Stage {
    fn wanted(&mut self) {
        if *self == Self::Idle {
            *self = Self::Opening;
        }
    }
}

enum Next {
    Wait,
    Again,
    Over {
        clean: bool,
    },
    /// Nobody can want anything of it any more.
    Abandoned,
}

/// The driver. It lives as long as the actor, and keeps it alive until nobody can want anything of it any more.
struct Drive;

impl<D: Duplex> ActorFuture<DuplexActor<D>> for Drive {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        act: &mut DuplexActor<D>,
        ctx: &mut Context<DuplexActor<D>>,
        task: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        let next = drive::turn(act, ctx, |act, ctx| match act.advance(task) {
            Ok(next) => next,
            Err(reason) => {
                drive::fail(act, ctx, reason);
                Next::Wait
            }
        });
        let next = match next {
            Some(Next::Wait) if ctx.connected() => {
                act.forlorn = false;
                next
            }
            // once more round, for what came into the mailbox before the last holder went
            Some(Next::Wait) if !std::mem::replace(&mut act.forlorn, true) => Some(Next::Again),
            Some(Next::Wait) => Some(act.forsaken()),
            next => next,
        };
        match next {
            Some(Next::Over { clean }) => {
                act.over(Outcome::Ended { clean });
                ctx.stop();
                return Poll::Ready(());
            }
            Some(Next::Abandoned) => {
                // dropped, it tells whom it must
                ctx.stop();
                return Poll::Ready(());
            }
            Some(Next::Again) => task.waker().wake_by_ref(),
            Some(Next::Wait) => {}
            None => return Poll::Ready(()),
        }
        drive::grant_now(act);
        Poll::Pending
    }
}

impl<D: Duplex> fmt::Debug for DuplexActor<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuplexActor")
            .field("input", &self.input)
            .field("output", &self.output)
            .field("stage", &self.stage)
            .field("write", &self.write)
            .finish_non_exhaustive()
    }
}
