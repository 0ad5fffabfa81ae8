//! Typed references to ports, with the actor and the port number erased.

use super::drive::{Component, HasInlet, HasOutlet};
use super::identity::ComponentInfo;
use super::link::{Link, Observer};
use super::message::{
    AnyInlet, AnyOutlet, AttachInlet, Attachment, CloseAt, InletHandle, InletMsg, Manage, ManageHandle, ManageMsg,
    OutletHandle, OutletMsg, PartState, ReserveOutlet, ToInlet, ToOutlet,
};
use crate::proto::link::{Cause, Count, Down, LinkId, Payload, Reason, Up, Violation};
use actix::{Actor, Addr, WeakAddr};
use bytes::Bytes;
use std::any::{Any, TypeId};
use std::fmt;
use std::sync::{Arc, Weak};
use tokio::sync::oneshot;

/// A strong way to an inlet.
pub(crate) trait DownTx<T>: Send + Sync {
    fn send(&self, msg: InletMsg<T>);
    /// False if a control message of this type would be answered `MissingControl` for certain; it is then not sent.
    fn hears(&self, message: TypeId) -> bool {
        let _ = message;
        true
    }
    /// True while its actor takes messages.
    fn is_alive(&self) -> bool;
    fn manage(&self) -> Box<dyn ManageHandle>;
}

/// A weak way to an outlet.
pub(crate) trait WeakUpTx<T>: Send + Sync {
    fn send(&self, msg: OutletMsg<T>) -> bool;
    /// As [`DownTx::hears`].
    fn hears(&self, message: TypeId) -> bool {
        let _ = message;
        true
    }
}

/// A strong way to an outlet.
pub(crate) trait UpTx<T>: Send + Sync {
    fn send(&self, msg: OutletMsg<T>);
    fn weak(self: Arc<Self>) -> Arc<dyn WeakUpTx<T>>;
    fn manage(&self) -> Box<dyn ManageHandle>;
}

/// Port number `P` of an actor, by an address of kind `H`.
pub(crate) struct Port<H, const P: usize>(pub(crate) H);

impl<A, T, const P: usize> DownTx<T> for Port<Addr<A>, P>
where
    A: HasInlet<P, Item = T>,
    T: Payload,
{
    fn send(&self, msg: InletMsg<T>) {
        self.0.do_send(ToInlet::<T, P>(msg));
    }

    fn hears(&self, message: TypeId) -> bool {
        A::hears(message)
    }

    fn is_alive(&self) -> bool {
        self.0.connected()
    }

    fn manage(&self) -> Box<dyn ManageHandle> {
        Box::new(ManagePort(self.0.downgrade()))
    }
}

impl<A, T, const P: usize> UpTx<T> for Port<Addr<A>, P>
where
    A: HasOutlet<P, Item = T>,
    T: Payload,
{
    fn send(&self, msg: OutletMsg<T>) {
        self.0.do_send(ToOutlet::<T, P>(msg));
    }

    fn weak(self: Arc<Self>) -> Arc<dyn WeakUpTx<T>> {
        Arc::new(Slack { near: Arc::downgrade(&self), far: self.0.downgrade() })
    }

    fn manage(&self) -> Box<dyn ManageHandle> {
        Box::new(ManagePort(self.0.downgrade()))
    }
}

/// A weak way to outlet number `P` of an actor.
struct Slack<A: Actor, const P: usize> {
    /// The strong way that it was made of: as long as somebody has that, such as the other direction of a pair, a message costs
    /// no address of its own, which is two allocations.
    near: Weak<Port<Addr<A>, P>>,
    far: WeakAddr<A>,
}

impl<A, T, const P: usize> WeakUpTx<T> for Slack<A, P>
where
    A: HasOutlet<P, Item = T>,
    T: Payload,
{
    fn send(&self, msg: OutletMsg<T>) -> bool {
        if let Some(port) = self.near.upgrade() {
            let there = port.0.connected();
            port.0.do_send(ToOutlet::<T, P>(msg));
            return there;
        }
        match self.far.upgrade() {
            Some(addr) => {
                addr.do_send(ToOutlet::<T, P>(msg));
                true
            }
            None => false,
        }
    }

    fn hears(&self, message: TypeId) -> bool {
        A::hears(message)
    }
}

/// A weak way to an outlet for transactions, its payload erased.
pub(crate) struct OutletPort<A: Actor, const P: usize>(pub(crate) WeakAddr<A>);
/// A weak way to an inlet for transactions, its payload erased.
pub(crate) struct InletPort<A: Actor, const P: usize>(pub(crate) WeakAddr<A>);
/// A weak way to a component.
pub(crate) struct ManagePort<A: Actor>(pub(crate) WeakAddr<A>);

impl<A, const P: usize> OutletHandle for OutletPort<A, P>
where
    A: HasOutlet<P>,
{
    fn upgrade(&self) -> Option<Box<dyn AnyOutlet>> {
        let addr = self.0.upgrade()?;
        Some(Box::new(OutletRef::<A::Item>(Arc::new(Port::<_, P>(addr)))))
    }
}

impl<A, const P: usize> InletHandle for InletPort<A, P>
where
    A: HasInlet<P>,
{
    fn upgrade(&self) -> Option<Box<dyn AnyInlet>> {
        let addr = self.0.upgrade()?;
        Some(Box::new(InletRef::<A::Item>(Arc::new(Port::<_, P>(addr)))))
    }
}

impl<A: Component> ManageHandle for ManagePort<A> {
    fn abort(&self, cause: &Arc<Cause>) {
        self.send(ManageMsg::Abort(cause.clone()));
    }

    fn drain(&self) {
        self.send(ManageMsg::Drain);
    }

    fn stop(&self) {
        self.send(ManageMsg::Stop);
    }

    fn wake(&self) {
        self.send(ManageMsg::Wake);
    }

    fn is_alive(&self) -> bool {
        self.0.upgrade().is_some_and(|addr| addr.connected())
    }

    fn boxed(&self) -> Box<dyn ManageHandle> {
        Box::new(Self(self.0.clone()))
    }

    fn identify(&self, observer: Arc<dyn Observer>) -> oneshot::Receiver<Arc<ComponentInfo>> {
        self.ask(|reply| ManageMsg::Identify(observer, reply))
    }

    fn settle(&self) -> oneshot::Receiver<()> {
        self.ask(ManageMsg::Settle)
    }

    fn flush(&self) -> oneshot::Receiver<Result<(), Reason>> {
        self.ask(ManageMsg::Flush)
    }

    fn take_state(&self) -> oneshot::Receiver<Option<PartState>> {
        self.ask(ManageMsg::TakeState)
    }

    fn put_state(&self, state: PartState) -> oneshot::Receiver<Result<(), PartState>> {
        self.ask(|reply| ManageMsg::PutState(state, reply))
    }
}

impl<A: Component> ManagePort<A> {
    fn ask<R>(&self, make: impl FnOnce(oneshot::Sender<R>) -> ManageMsg) -> oneshot::Receiver<R> {
        let (tx, rx) = oneshot::channel();
        self.send(make(tx));
        rx
    }

    fn send(&self, msg: ManageMsg) {
        if let Some(addr) = self.0.upgrade() {
            addr.do_send(Manage(msg));
        }
    }
}

macro_rules! named_debug {
    ($(($($g:tt)*) $t:ty, $name:literal;)*) => {$(
        impl<$($g)*> fmt::Debug for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($name)
            }
        }
    )*};
}
named_debug! {
    (A: Actor, const P: usize) OutletPort<A, P>, "OutletPort";
    (A: Actor, const P: usize) InletPort<A, P>, "InletPort";
    (A: Actor) ManagePort<A>, "ManagePort";
    (T) InletRef<T>, "InletRef";
    (T) OutletRef<T>, "OutletRef";
    (T) PairRef<T>, "PairRef";
}

/// A reference to an inlet that takes items of `T`, whichever actor owns it. Holds the actor.
pub struct InletRef<T>(pub(crate) Arc<dyn DownTx<T>>);

/// A reference to an outlet that sends items of `T`, whichever actor owns it. Holds the actor.
pub struct OutletRef<T>(pub(crate) Arc<dyn UpTx<T>>);

/// The two ports of one two-way component: each is the other's reverse.
pub struct PairRef<T = Bytes> {
    /// Data goes in here: it is written to the other side.
    pub inlet: InletRef<T>,
    /// Data comes out here: it was read from the other side.
    pub outlet: OutletRef<T>,
}

impl<T: Payload> AnyOutlet for OutletRef<T> {
    fn reserve(&self, link: &Arc<Link>, consumer: &dyn AnyInlet) -> Option<Attachment> {
        let consumer = consumer.as_any().downcast_ref::<InletRef<T>>()?.0.clone();
        let (tx, rx) = oneshot::channel();
        let reserve = ReserveOutlet { link: link.clone(), consumer, reply: Some(tx), handled: false };
        self.0.send(OutletMsg::Reserve(Box::new(reserve)));
        Some(rx)
    }

    fn release(&self, link: LinkId) {
        self.0.send(OutletMsg::Release(link));
    }

    fn broken(&self, link: LinkId) {
        self.0.send(OutletMsg::Up(Up::Abort { link }));
    }

    fn detach(&self, link: LinkId) -> oneshot::Receiver<Option<Count>> {
        let (tx, rx) = oneshot::channel();
        self.0.send(OutletMsg::Detach(link, Some(tx)));
        rx
    }

    fn rewind(&self, by: u64) -> oneshot::Receiver<Result<(), Reason>> {
        let (tx, rx) = oneshot::channel();
        self.0.send(OutletMsg::Rewind(by, tx));
        rx
    }

    fn manage(&self) -> Box<dyn ManageHandle> {
        self.0.manage()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl<T: Payload> AnyInlet for InletRef<T> {
    fn attach(&self, link: &Arc<Link>, producer: &dyn AnyOutlet) -> Option<Attachment> {
        let producer = producer.as_any().downcast_ref::<OutletRef<T>>()?.0.clone().weak();
        let (tx, rx) = oneshot::channel();
        let attach = AttachInlet { link: link.clone(), producer, gated: true, reply: Some(tx), handled: false };
        self.0.send(InletMsg::Attach(Box::new(attach)));
        Some(rx)
    }

    fn open(&self, link: LinkId) {
        self.0.send(InletMsg::Open(link));
    }

    fn broken(&self, link: LinkId) {
        self.0.send(InletMsg::Down(Down::Abort { link }));
    }

    fn is_alive(&self) -> bool {
        self.0.is_alive()
    }

    fn manage(&self) -> Box<dyn ManageHandle> {
        self.0.manage()
    }

    fn close_at(&self, link: LinkId, at: Count) -> oneshot::Receiver<Option<Result<(), Violation>>> {
        let (tx, rx) = oneshot::channel();
        self.0.send(InletMsg::CloseAt(Box::new(CloseAt { link, at, reply: Some(tx) })));
        rx
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl<T> Clone for InletRef<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for OutletRef<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for PairRef<T> {
    fn clone(&self) -> Self {
        Self { inlet: self.inlet.clone(), outlet: self.outlet.clone() }
    }
}

/// The ports of a component by its address.
pub trait AddrExt<A: Component> {
    /// Inlet number 0.
    fn inlet(&self) -> InletRef<<A as HasInlet<0>>::Item>
    where
        A: HasInlet<0>,
    {
        self.inlet_at::<0>()
    }

    /// Inlet number `P`, counted in the order in which `wire!` names them.
    fn inlet_at<const P: usize>(&self) -> InletRef<<A as HasInlet<P>>::Item>
    where
        A: HasInlet<P>;

    /// Outlet number 0.
    fn outlet(&self) -> OutletRef<<A as HasOutlet<0>>::Item>
    where
        A: HasOutlet<0>,
    {
        self.outlet_at::<0>()
    }

    /// Outlet number `P`, counted in the order in which `wire!` names them.
    fn outlet_at<const P: usize>(&self) -> OutletRef<<A as HasOutlet<P>>::Item>
    where
        A: HasOutlet<P>;

    /// Inlet and outlet number 0 of a two-way component.
    fn pair<T>(&self) -> PairRef<T>
    where
        A: HasInlet<0, Item = T> + HasOutlet<0, Item = T>,
        T: Payload;
}

impl<A: Component> AddrExt<A> for Addr<A> {
    fn inlet_at<const P: usize>(&self) -> InletRef<<A as HasInlet<P>>::Item>
    where
        A: HasInlet<P>,
    {
        InletRef(Arc::new(Port::<_, P>(self.clone())))
    }

    fn outlet_at<const P: usize>(&self) -> OutletRef<<A as HasOutlet<P>>::Item>
    where
        A: HasOutlet<P>,
    {
        OutletRef(Arc::new(Port::<_, P>(self.clone())))
    }

    fn pair<T>(&self) -> PairRef<T>
    where
        A: HasInlet<0, Item = T> + HasOutlet<0, Item = T>,
        T: Payload,
    {
        pair(self.clone())
    }
}

/// One address for both ports: a clone of it is two allocations.
pub(crate) fn pair<A, T>(addr: Addr<A>) -> PairRef<T>
where
    A: HasInlet<0, Item = T> + HasOutlet<0, Item = T>,
    T: Payload,
{
    let port = Arc::new(Port::<_, 0>(addr));
    PairRef { inlet: InletRef(port.clone()), outlet: OutletRef(port) }
}
