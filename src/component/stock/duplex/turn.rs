//! The turns of a duplex component: one future drives both directions.

use super::Duplex;
use super::actor::DuplexActor;
use super::state::{Holders, Next, Read, Stage, Write};
use crate::component::Outlet;
use crate::component::drive;
use crate::component::link::Waiting;
use crate::component::port::AnyPort;
use crate::component::stock::{Budget, Outcome, PartResult, Pull, push_parcel};
use crate::proto::link::{Payload, Reason};
use actix::fut::ActorFuture;
use actix::{ActorContext, Context};
use std::pin::Pin;
use std::task::Poll;

impl<D: Duplex> DuplexActor<D> {
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
        Ok(match finished(&self.output, self.read, self.write) {
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
                    let waits = part.waits_for_consumer();
                    if (waits || part.lends()) && self.output.wait_for_credit() {
                        // the consumer has gone on meanwhile
                        budget.spend(0);
                        continue;
                    }
                    let waiting = if waits { Waiting::ForCredit } else { Waiting::ForData };
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
        let read_over = self.output.is_closed() && self.read != Read::Drained;
        if read_over && !policy.input && self.write.is_open() {
            if self.input.is_open() && !self.input.held().is_zero() {
                // what was accepted is delivered first
                return Ok(());
            }
            if !self.input.is_attached() {
                self.write.unfed();
                return Ok(());
            }
            return Err(Reason::Requested("the other side has ended, and half-close is off".into()));
        }
        Ok(())
    }

    /// The other side is not read to its end.
    fn end_reading(&mut self) {
        if !self.output.is_attached() && !self.output.is_closed() {
            self.read = Read::Unread;
        }
        self.output.end(false);
    }

    /// Nobody holds the actor, so nobody can attach to it any more, unless it is a neighbour that it has. What it should do about it.
    fn forsaken(&mut self) -> Next {
        let sends =
            self.output.is_attached() && (!self.output.is_closed() || self.output.is_open() || self.output.has_work());
        if sends || self.input.is_attached() || !self.input.held().is_zero() {
            return Next::Wait;
        }
        match self.write {
            // read to its end, and never written: the other side is told that nothing comes
            Write::Unused | Write::Fed if self.output.is_closed() => {
                self.write.unfed();
                Next::Again
            }
            Write::Ending { .. } => Next::Wait,
            Write::Ended { .. } if !self.output.is_closed() && self.read == Read::Wanted => {
                self.read = Read::Unread;
                Next::Again
            }
            Write::Ended { .. } => Next::Wait,
            Write::Unused | Write::Fed => Next::Abandoned,
        }
    }

    /// What to do if there is nothing to do. With nobody who holds the actor there is one more round, for what came into the mailbox
    /// before the last holder went.
    fn wait(&mut self, ctx: &Context<Self>) -> Next {
        match (ctx.connected(), self.holders) {
            (true, _) => {
                self.holders = Holders::Some;
                Next::Wait
            }
            (false, Holders::Some) => {
                self.holders = Holders::Gone;
                Next::Again
            }
            (false, Holders::Gone) if self.stage == Stage::Unjoined => Next::Abandoned,
            (false, Holders::Gone) => self.forsaken(),
        }
    }

    /// True once somebody was attached: before, there is nothing to drive.
    fn is_joined(&mut self) -> bool {
        if self.output.is_attached() || self.input.is_attached() {
            self.stage.joined();
        }
        self.stage != Stage::Unjoined
    }
}

/// Whether both directions are over, and clean.
fn finished<T: Payload>(output: &Outlet<T>, read: Read, write: Write) -> Option<bool> {
    let read = if output.is_absent() || read == Read::Unread { Some(true) } else { output.ended() };
    // both must be over, also where the first is not clean
    let (written, read) = (write.ended()?, read?);
    Some(written && read)
}

/// The driver. It lives as long as the actor, and keeps it alive until nobody can want anything of it any more.
pub(super) struct Drive;

impl<D: Duplex> ActorFuture<DuplexActor<D>> for Drive {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        act: &mut DuplexActor<D>,
        ctx: &mut Context<DuplexActor<D>>,
        task: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        let turn = |act: &mut DuplexActor<D>, ctx: &mut Context<DuplexActor<D>>| match act.advance(task) {
            Ok(next) => next,
            Err(reason) => {
                drive::fail(act, ctx, reason);
                Next::Wait
            }
        };
        let next = if act.is_joined() { drive::turn(act, ctx, turn) } else { Some(Next::Wait) };
        let next = if let Some(Next::Wait) = next { Some(act.wait(ctx)) } else { next };
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
