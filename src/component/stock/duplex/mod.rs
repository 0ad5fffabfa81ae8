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

mod actor;
mod state;
mod turn;

pub use actor::DuplexActor;

use super::{Done, Outcome, PartResult, Pull, type_name};
use crate::component::control::Envelope;
use crate::component::{Outlet, PairRef, drive};
use crate::proto::link::{Count, Credit, Forms, Parcel, Payload, Reason, Window};
use std::any::TypeId;
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

    /// The last pull waits for the consumer to take what it has, though there is credit: as a pipe that is full by slots. The
    /// part is then pulled again when the consumer has gone on.
    fn waits_for_consumer(&self) -> bool {
        false
    }

    /// The consumer still has something that is the part's own, as a pipe that bytes lie in. A part whose last pull gave nothing is
    /// pulled again when the consumer has gone on, so that it takes that back and keeps nothing while it is idle (rule M2).
    fn lends(&self) -> bool {
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

    /// False for a control message that [`control`](Self::control) never takes. It is then not sent to this part at all: its asker is told
    /// at once that nobody answers. Do not take what this says is not heard.
    fn hears(message: TypeId) -> bool
    where
        Self: Sized,
    {
        let _ = message;
        true
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
        actor::start(self)
    }
}
