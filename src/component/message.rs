//! The actix messages around a port, and the events that a component's hooks receive.
//!
//! One message type per direction and port number: a blanket `impl Handler` for all payloads is impossible (E0210), and
//! two ports of one payload need two types (E0119). [`wire!`](crate::wire) numbers them.

use super::address::{DownTx, WeakUpTx};
use super::control::Envelope;
use super::link::Link;
use crate::component::ComponentInfo;
use crate::component::link::{ComponentHandle, Observer};
use crate::proto::link::{AttachError, Cause, Count, Down, LinkId, Origin, Parcel, Reason, Up, Violation};
use actix::Message;
use std::fmt;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A message for inlet number `P`. Sent by outlets and by transactions; not made by users.
#[derive(Debug)]
pub struct ToInlet<T: 'static, const P: usize>(pub(crate) InletMsg<T>);

impl<T: 'static, const P: usize> Message for ToInlet<T, P> {
    type Result = ();
}

/// A message for outlet number `P`. Sent by inlets and by transactions; not made by users.
#[derive(Debug)]
pub struct ToOutlet<T: 'static, const P: usize>(pub(crate) OutletMsg<T>);

impl<T: 'static, const P: usize> Message for ToOutlet<T, P> {
    type Result = ();
}

/// What comes to an inlet.
pub(crate) enum InletMsg<T> {
    /// Along the link.
    Down(Down<T>),
    /// Several items along the link, in order.
    Batch(LinkId, Vec<T>),
    /// The last message of an attachment, with the sender's hold on the receiver (see the module's ownership rules).
    Last(Down<T>, Arc<dyn DownTx<T>>),
    /// A control message that travels with the data.
    Control(LinkId, Envelope),
    /// Join this inlet to a link.
    Attach(Box<AttachInlet<T>>),
    /// Grants may leave: all of the transaction's attachments were made.
    Open(LinkId),
    /// The producer stopped there.
    CloseAt(Box<CloseAt>),
}

/// What comes to an outlet.
pub(crate) enum OutletMsg<T> {
    /// Along the link.
    Up(Up),
    /// A control message that travels against the data.
    Control(LinkId, Envelope),
    /// Learn a link.
    Reserve(Box<ReserveOutlet<T>>),
    /// Forget a reservation: the consumer refused.
    Release(LinkId),
    /// Stop at a definite position.
    Detach(LinkId, Reply<Option<Count>>),
    /// Give what it has given last once more: so much of what was sent, and what waits.
    Rewind(u64, oneshot::Sender<Result<(), Reason>>),
}

impl<T> fmt::Debug for InletMsg<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down(_) => "Down",
            Self::Batch(..) => "Batch",
            Self::Last(..) => "Last",
            Self::Control(..) => "Control",
            Self::Attach(_) => "Attach",
            Self::Open(_) => "Open",
            Self::CloseAt(_) => "CloseAt",
        })
    }
}

impl<T> fmt::Debug for OutletMsg<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up(_) => "Up",
            Self::Control(..) => "Control",
            Self::Reserve(_) => "Reserve",
            Self::Release(_) => "Release",
            Self::Detach(..) => "Detach",
            Self::Rewind(..) => "Rewind",
        })
    }
}

/// Where an answer goes. Dropped unanswered, the asker sees `None` from [`reply`]'s receiver: the component is gone.
pub(crate) type Reply<R> = Option<oneshot::Sender<R>>;

/// Answers, if anybody waits.
pub(crate) fn reply<R>(to: Reply<R>, answer: R) {
    if let Some(to) = to {
        let _ = to.send(answer);
    }
}

/// First step of an attachment. Carries a guard as [`AttachInlet`] does: a consumer joined to a dead producer is told.
pub(crate) struct ReserveOutlet<T> {
    pub(crate) link: Arc<Link>,
    pub(crate) consumer: Arc<dyn DownTx<T>>,
    pub(crate) reply: Reply<Result<Arc<ComponentInfo>, AttachError>>,
    pub(crate) handled: bool,
}

impl<T> ReserveOutlet<T> {
    /// The producer does not take the link. Without an asker who would take the reservation back, the consumer is
    /// told through the cell.
    pub(crate) fn refuse(&mut self, error: AttachError) {
        self.handled = true;
        if self.reply.is_some() {
            return reply(self.reply.take(), Err(error));
        }
        self.break_off(Reason::failed(error));
    }

    fn break_off(&self, reason: Reason) {
        self.link.cell().set_cause(Cause::new(reason, Origin::default().on(self.link.id())));
        let hold = self.consumer.clone();
        self.consumer.send(InletMsg::Last(Down::Abort { link: self.link.id() }, hold));
    }
}

impl<T> Drop for ReserveOutlet<T> {
    fn drop(&mut self) {
        // with an asker, the consumer does not know the link yet, and the asker sees that there is no answer
        if !self.handled && self.reply.is_none() {
            self.break_off(Reason::ComponentGone);
        }
    }
}

/// Second step of an attachment. Carries the guard: dropped unhandled (a dead mailbox), it tells the producer (rule A3).
pub(crate) struct AttachInlet<T> {
    pub(crate) link: Arc<Link>,
    pub(crate) producer: Arc<dyn WeakUpTx<T>>,
    /// No grant leaves before [`InletMsg::Open`]: another attachment of the same transaction may still be refused.
    pub(crate) gated: bool,
    pub(crate) reply: Reply<Result<Arc<ComponentInfo>, AttachError>>,
    pub(crate) handled: bool,
}

impl<T> AttachInlet<T> {
    /// The consumer does not take the link; the same as [`ReserveOutlet::refuse`], towards the producer.
    pub(crate) fn refuse(&mut self, error: AttachError) {
        self.handled = true;
        if self.reply.is_some() {
            return reply(self.reply.take(), Err(error));
        }
        self.break_off(Reason::failed(error));
    }

    fn break_off(&self, reason: Reason) {
        self.link.cell().set_cause(Cause::new(reason, Origin::default().on(self.link.id())));
        self.producer.send(OutletMsg::Up(Up::Abort { link: self.link.id() }));
    }
}

impl<T> Drop for AttachInlet<T> {
    fn drop(&mut self) {
        if !self.handled {
            self.break_off(Reason::ComponentGone);
        }
    }
}

/// Second step of a detach.
pub(crate) struct CloseAt {
    pub(crate) link: LinkId,
    pub(crate) at: Count,
    pub(crate) reply: Reply<Option<Result<(), Violation>>>,
}

/// A message for a component as a whole.
pub struct Manage(pub(crate) ManageMsg);

impl fmt::Debug for Manage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Manage")
    }
}

impl Message for Manage {
    type Result = ();
}

pub(crate) enum ManageMsg {
    /// Abort all ports with this cause.
    Abort(Arc<Cause>),
    /// Produce no more, and end.
    Drain,
    /// Stop the actor, whatever it does.
    Stop,
    /// Say who it is, and tell this observer when it is gone, attached or not.
    Identify(Arc<dyn Observer>, oneshot::Sender<Arc<ComponentInfo>>),
    /// Answer once it holds nothing and all it gave is sent.
    Settle(oneshot::Sender<()>),
    /// Give what it holds, since it is to leave its chain.
    Flush(oneshot::Sender<Result<(), Reason>>),
    /// Give up its state, if it has one, for a successor.
    TakeState(oneshot::Sender<Option<PartState>>),
    /// Tell the hooks of isolated ports what became of them.
    Wake,
    /// Go on from a predecessor's state; back if it is of no use.
    PutState(PartState, oneshot::Sender<Result<(), PartState>>),
}

/// What a component hands to its successor: whatever both agree on.
pub type PartState = Box<dyn std::any::Any + Send>;

/// A weak, erased way to a component.
pub trait ManageHandle: Send + Sync + fmt::Debug {
    /// Abort all its ports; its aborted hook runs once.
    fn abort(&self, cause: &Arc<Cause>);
    /// Produce no more, and end.
    fn drain(&self);
    /// Stop the actor.
    fn stop(&self);
    /// Have it look again at the end of a turn: a memory budget has something for one of its inlets, or the hooks of isolated
    /// ports are to be told what became of them. Nothing to do for what has neither.
    fn wake(&self) {}
    /// True while its actor takes messages.
    fn is_alive(&self) -> bool;
    /// The same way, to keep.
    fn boxed(&self) -> Box<dyn ManageHandle>;
    /// Who it is; the observer is told when it is gone, attached or not.
    fn identify(&self, observer: Arc<dyn Observer>) -> oneshot::Receiver<Arc<ComponentInfo>>;
    /// Resolves once the component holds nothing and all it gave is sent.
    fn settle(&self) -> oneshot::Receiver<()>;
    /// Has the component give what it holds.
    fn flush(&self) -> oneshot::Receiver<Result<(), Reason>>;
    /// Takes the component's state, if it has one.
    fn take_state(&self) -> oneshot::Receiver<Option<PartState>>;
    /// Gives the component a predecessor's state.
    fn put_state(&self, state: PartState) -> oneshot::Receiver<Result<(), PartState>>;
}

/// The answer to an attachment's step.
pub type Attachment = oneshot::Receiver<Result<Arc<ComponentInfo>, AttachError>>;

/// An outlet with its payload erased, for transactions. Holds its actor.
pub trait AnyOutlet: Send + Sync {
    /// First step of an attachment to `consumer`. `None` if that takes another payload.
    fn reserve(&self, link: &Arc<Link>, consumer: &dyn AnyInlet) -> Option<Attachment>;
    /// Takes a reservation back.
    fn release(&self, link: LinkId);
    /// The link's cause was set by somebody else: the port is to look (rule A2).
    fn broken(&self, link: LinkId);
    /// First step of a detach: the position at which the producer stopped; `None` if the link is not attached there.
    fn detach(&self, link: LinkId) -> oneshot::Receiver<Option<Count>>;
    /// Has the component go back by so much of what this outlet has sent, while it is not attached, to give it once more. 0 asks
    /// whether it could.
    fn rewind(&self, by: u64) -> oneshot::Receiver<Result<(), Reason>>;
    /// A weak way to the component as a whole.
    fn manage(&self) -> Box<dyn ManageHandle>;
    /// The typed reference.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// An inlet with its payload erased, for transactions. Holds its actor.
pub trait AnyInlet: Send + Sync {
    /// Second step of an attachment to `producer`, which has reserved; nothing is granted before [`open`](Self::open). `None`
    /// if that sends another payload.
    fn attach(&self, link: &Arc<Link>, producer: &dyn AnyOutlet) -> Option<Attachment>;
    /// The attachment stands: grants may leave.
    fn open(&self, link: LinkId);
    /// The link's cause was set by somebody else: the port is to look (rule A2).
    fn broken(&self, link: LinkId);
    /// True while its actor takes messages.
    fn is_alive(&self) -> bool;
    /// Second step of a detach; `None` if the link is not attached there.
    fn close_at(&self, link: LinkId, at: Count) -> oneshot::Receiver<Option<Result<(), Violation>>>;
    /// A weak way to the component as a whole.
    fn manage(&self) -> Box<dyn ManageHandle>;
    /// The typed reference.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// A weak, erased way to an outlet, for transactions.
pub trait OutletHandle: Send + Sync + fmt::Debug {
    /// A strong way, unless the component is gone.
    fn upgrade(&self) -> Option<Box<dyn AnyOutlet>>;
}

/// A weak, erased way to an inlet, for transactions.
pub trait InletHandle: Send + Sync + fmt::Debug {
    /// A strong way, unless the component is gone.
    fn upgrade(&self) -> Option<Box<dyn AnyInlet>>;
}

/// What the hook of an inlet is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum InletEvent<T> {
    /// A producer was attached.
    Attached,
    /// An item, in order.
    Item(T),
    /// What would be an item, but lies elsewhere, in order with items. Only for an inlet that has declared to take it
    /// ([`Inlet::set_forms`](super::Inlet::set_forms)).
    Parcel(Parcel),
    /// No more items come.
    End {
        /// True if the data is complete (rule E1).
        clean: bool,
    },
    /// The producer was detached; nothing was lost. Another may be attached. Also after the producer failed, if it is to be
    /// rebuilt (rule S1).
    Detached,
    /// The attachment of an [`isolated`](super::Inlet::isolated) inlet was aborted, for the reason that
    /// [`aborted_by`](super::Inlet::aborted_by) tells. Another producer may be attached. For a plain inlet the component is
    /// aborted instead.
    Aborted,
}

/// What the hook of an outlet is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutletEvent {
    /// A consumer was attached and has granted for the first time.
    Attached,
    /// The consumer granted more.
    Credit,
    /// The consumer was detached. Another may be attached. Also after the consumer failed, if it is to be rebuilt (rule S1).
    Detached,
    /// The attachment of an [`isolated`](super::Outlet::isolated) outlet was aborted, for the reason that
    /// [`aborted_by`](super::Outlet::aborted_by) tells; what was sent and not finished with is lost, and so is what waited in the
    /// outlet. Another consumer may be attached. For a plain outlet the component is aborted instead.
    Aborted,
}

/// Who a component is, for the notes to observers.
pub(crate) fn handle_of(info: &Arc<ComponentInfo>, manage: Box<dyn ManageHandle>) -> ComponentHandle {
    ComponentHandle { info: info.clone(), manage }
}
