//! What the handlers that [`wire!`](crate::wire) writes call: hand a message to its port, run the user's hook under
//! `catch_unwind`, pass control messages on, tell the component once if it is aborted, and grant at the end of the turn.

use super::address::{InletPort, ManagePort, OutletPort};
use super::control::Envelope;
use super::identity::ComponentInfo;
use super::message::{
    InletEvent, InletMsg, Manage, ManageHandle, ManageMsg, OutletEvent, OutletMsg, PartState, ToInlet, ToOutlet,
};
use super::port::{AnyPort, Heard, Home, Inlet, Outlet, Owner};
use crate::proto::link::{Cause, Down, Payload, Reason};
use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, WeakAddr};
use std::any::{Any, TypeId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

/// An actor with ports. Implemented by [`wire!`](crate::wire).
pub trait Component: Actor<Context = Context<Self>> + Handler<Manage> {
    /// True if inlet and outlet are the two directions of one thing, such as a socket, instead of a flow from inlet to
    /// outlet. An end or a control message does not pass from one to the other; an abort does.
    const TWO_WAY: bool = false;

    /// True if a future of the actor's own grants by [`grant_now`] whenever it is polled.
    const DRIVEN: bool = false;

    /// Shows each port, inlets and outlets in the order in which they are named.
    fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn AnyPort));

    /// The name for links, errors and supervisors. The type's by default.
    fn name(&self) -> Arc<str> {
        let full = std::any::type_name::<Self>();
        let bare = full.split('<').next().unwrap_or(full);
        bare.rsplit("::").next().unwrap_or(bare).into()
    }

    /// Runs once when the component is aborted, with the one cause that it is told (rule A1). The actor stops after it.
    fn on_abort(&mut self, cause: &Arc<Cause>, ctx: &mut Context<Self>) {
        let _ = (cause, ctx);
    }

    /// Tells the hooks of isolated ports that were aborted, and takes these ports back.
    #[doc(hidden)]
    fn on_cut(&mut self, ctx: &mut Context<Self>) {
        let _ = ctx;
    }

    /// The supervisor shuts down and wants the chain drained: produce no more, and end. By default the outlets of a component
    /// without inlets, and of a two-way one, end unclean: their data is not complete (rule E1).
    fn on_drain(&mut self, ctx: &mut Context<Self>) {
        let _ = ctx;
        let mut fed = false;
        self.ports(&mut |port| fed |= port.is_inlet());
        if !fed || Self::TWO_WAY {
            self.ports(&mut |port| port.drain());
        }
    }

    /// True if the component holds nothing: no item that it took, and nothing that it gave and has not sent. Asked while a
    /// supervisor waits to take it out of its chain.
    fn is_settled(&mut self) -> bool {
        let mut settled = true;
        self.ports(&mut |port| settled &= port.is_settled());
        settled
    }

    /// A supervisor wants to take the component out of its chain, and all before has been worked off: give what is still
    /// held. Nothing by default.
    ///
    /// # Errors
    ///
    /// It holds what it cannot give; it then stays in its chain, and this says why.
    fn on_flush(&mut self, ctx: &mut Context<Self>) -> Result<(), Reason> {
        let _ = ctx;
        Ok(())
    }

    /// Outlet number `outlet` is to give once more the last `by` units of what the component gave it: its consumer failed, and
    /// another one has less. Called while the outlet is not attached; the end counts as not given. 0 asks whether it could.
    ///
    /// # Errors
    ///
    /// It cannot go back, which is the default; nothing has changed then.
    fn on_rewind(&mut self, outlet: usize, by: u64, ctx: &mut Context<Self>) -> Result<(), Reason> {
        let _ = (outlet, by, ctx);
        Err(cannot_rewind())
    }

    /// The state for a successor to go on from, given up. None by default.
    fn take_state(&mut self) -> Option<PartState> {
        None
    }

    /// Goes on from a predecessor's state, or gives it back if it is of no use here.
    fn put_state(&mut self, state: PartState) -> Result<(), PartState> {
        Err(state)
    }

    /// False if no control message of this type is ever answered or passed on here, so that it need not be sent: it is answered
    /// `MissingControl` at once.
    fn hears(message: TypeId) -> bool {
        let _ = message;
        true
    }

    /// Answers a control message, or gives it back to be passed on.
    fn on_control(&mut self, envelope: Envelope, ctx: &mut Context<Self>) -> Option<Envelope> {
        let _ = ctx;
        Some(envelope)
    }
}

/// An actor with an inlet number `P`. Implemented by [`wire!`](crate::wire).
pub trait HasInlet<const P: usize>: Component + Handler<ToInlet<Self::Item, P>> {
    /// What it takes.
    type Item: Payload;
    /// The port.
    fn inlet_port(&mut self) -> &mut Inlet<Self::Item>;
}

/// An actor with an outlet number `P`. Implemented by [`wire!`](crate::wire).
pub trait HasOutlet<const P: usize>: Component + Handler<ToOutlet<Self::Item, P>> {
    /// What it sends.
    type Item: Payload;
    /// The port.
    fn outlet_port(&mut self) -> &mut Outlet<Self::Item>;
}

/// Handles a message for inlet number `P`.
pub fn inlet<A, const P: usize>(
    act: &mut A,
    msg: ToInlet<A::Item, P>,
    ctx: &mut Context<A>,
    hook: fn(&mut A, InletEvent<A::Item>, &mut Context<A>),
) where
    A: HasInlet<P>,
{
    enter(act, ctx, |act| act.inlet_port().owner().map(|owner| owner.enter_turn()));
    match msg.0 {
        InletMsg::Control(link, envelope) => {
            // P5: of another attachment, it is dropped and so answered `Gone`
            if act.inlet_port().link().is_some_and(|own| own.id() == link) {
                control(act, envelope, ctx, true);
            }
        }
        InletMsg::Batch(link, items) => {
            for item in items {
                // what comes after a cause, in this port or another of the component, is not taken (A2)
                if act.inlet_port().owner().is_some_and(|owner| owner.untold().is_some()) {
                    break;
                }
                if let Some(event) = act.inlet_port().receive_down(Down::Consume { link, item }) {
                    guarded(act, ctx, |act, ctx| hook(act, event, ctx));
                }
            }
        }
        msg => {
            let handle = |home: &dyn Home| Box::new(InletPort::<A, P>(weak(home, ctx))) as Box<_>;
            if let Some(event) = act.inlet_port().receive(msg, handle) {
                guarded(act, ctx, |act, ctx| hook(act, event, ctx));
            }
        }
    }
    leave(act, ctx);
}

/// Handles a message for outlet number `P`.
pub fn outlet<A, const P: usize>(
    act: &mut A,
    msg: ToOutlet<A::Item, P>,
    ctx: &mut Context<A>,
    hook: fn(&mut A, OutletEvent, &mut Context<A>),
) where
    A: HasOutlet<P>,
{
    enter(act, ctx, |act| act.outlet_port().owner().map(|owner| owner.enter_turn()));
    match msg.0 {
        OutletMsg::Control(link, envelope) => {
            if act.outlet_port().link().is_some_and(|own| own.id() == link) {
                control(act, envelope, ctx, false);
            }
        }
        OutletMsg::Rewind(by, reply) => {
            // what waits in the port was given, and not sent
            let all = if by == 0 { 0 } else { by.saturating_add(act.outlet_port().waits()) };
            let mut done = Err(cannot_rewind());
            if !act.outlet_port().is_attached() {
                guarded(act, ctx, |act, ctx| done = act.on_rewind(P, all, ctx));
            } else if by == 0 {
                guarded(act, ctx, |act, ctx| done = act.on_rewind(P, 0, ctx));
            }
            if done.is_ok() && by > 0 {
                act.outlet_port().rewind();
            }
            // nobody may be waiting any more
            let _ = reply.send(done);
        }
        msg => {
            let handle = |home: &dyn Home| Box::new(OutletPort::<A, P>(weak(home, ctx))) as Box<_>;
            match act.outlet_port().receive(msg, handle) {
                Heard::Nothing => {}
                Heard::Attached => {
                    guarded(act, ctx, |act, ctx| hook(act, OutletEvent::Attached, ctx));
                    guarded(act, ctx, |act, ctx| hook(act, OutletEvent::Credit, ctx));
                }
                Heard::Credit => guarded(act, ctx, |act, ctx| hook(act, OutletEvent::Credit, ctx)),
                Heard::Detached => guarded(act, ctx, |act, ctx| hook(act, OutletEvent::Detached, ctx)),
            }
        }
    }
    leave(act, ctx);
}

/// Handles a message for the component as a whole.
pub fn manage<A: Component>(act: &mut A, msg: Manage, ctx: &mut Context<A>) {
    let owner = identify(act, ctx);
    owner.enter_turn();
    match msg.0 {
        ManageMsg::Abort(cause) => abort(act, ctx, &cause),
        ManageMsg::Drain => guarded(act, ctx, |act, ctx| act.on_drain(ctx)),
        ManageMsg::Stop => ctx.stop(),
        ManageMsg::Identify(observer, reply) => {
            owner.observed_by(&observer);
            let _ = reply.send(owner.info.clone());
        }
        // for the end of the handler
        ManageMsg::Wake => {}
        ManageMsg::Settle(reply) => owner.wait_settled(reply),
        ManageMsg::Flush(reply) => {
            let mut flushed = Ok(());
            guarded(act, ctx, |act, ctx| flushed = act.on_flush(ctx));
            let _ = reply.send(flushed);
        }
        ManageMsg::TakeState(reply) => {
            let mut state = None;
            guarded(act, ctx, |act, _| state = act.take_state());
            let _ = reply.send(state);
        }
        ManageMsg::PutState(state, reply) => {
            let mut put = Ok(());
            guarded(act, ctx, |act, _| put = act.put_state(state));
            let _ = reply.send(put);
        }
    }
    leave(act, ctx);
}

/// Runs something of the component's own as if it were a handler: hooks of timers and futures that push, release or
/// grant call it, so that a panic ends this chain alone and grants leave at the end of the turn.
pub fn turn<A: Component, R>(
    act: &mut A,
    ctx: &mut Context<A>,
    run: impl FnOnce(&mut A, &mut Context<A>) -> R,
) -> Option<R> {
    let mut live = None;
    act.ports(&mut |port| {
        if live.is_none() {
            live = port.owner().map(|owner| {
                owner.enter_turn();
                owner.info.cause().is_none()
            });
        }
    });
    match live {
        Some(true) => {}
        Some(false) => return None,
        None => identify(act, ctx).enter_turn(),
    }
    let mut result = None;
    guarded(act, ctx, |act, ctx| result = Some(run(act, ctx)));
    leave(act, ctx);
    result
}

/// Sends the grants that are due; for a driven component's future.
pub fn grant_now<A: Component>(act: &mut A) {
    act.ports(&mut |port| port.send_grants());
}

/// Aborts the whole component: all ports, the hook once, and the actor's stop. The first cause wins (rule A1).
pub fn abort<A: Component>(act: &mut A, ctx: &mut Context<A>, cause: &Arc<Cause>) {
    let owner = identify(act, ctx);
    if !owner.info.set_cause(cause) {
        return;
    }
    tracing::debug!(component = %owner.info.name(), %cause, "aborted");
    act.ports(&mut |port| port.abort_with(cause));
    // a second panic, in the hook of a component that is aborted already, changes nothing any more
    let _ = catch_unwind(AssertUnwindSafe(|| act.on_abort(cause, ctx)));
    ctx.stop();
}

/// Aborts the whole component with a reason that began in it.
pub fn fail<A: Component>(act: &mut A, ctx: &mut Context<A>, reason: Reason) {
    let cause = identify(act, ctx).fails(reason);
    abort(act, ctx, &cause);
}

/// Who the component is; learnt by its ports at the first message.
pub(crate) fn identify<A: Component>(act: &mut A, ctx: &mut Context<A>) -> Arc<Owner> {
    let mut known = None;
    act.ports(&mut |port| {
        if known.is_none() {
            known = port.owner().cloned();
        }
    });
    known.unwrap_or_else(|| {
        let info = ComponentInfo::with_driver(act.name(), A::TWO_WAY, A::DRIVEN);
        let owner = Owner::new(info, Box::new(ManagePort(ctx.address().downgrade())));
        act.ports(&mut |port| port.adopt(&owner));
        owner
    })
}

/// The beginning of a handler: marks the turn, by the port at hand or, before the component is known, after learning who it is.
fn enter<A: Component>(act: &mut A, ctx: &mut Context<A>, mark: impl Fn(&mut A) -> Option<()>) {
    if mark(act).is_none() {
        identify(act, ctx).enter_turn();
    }
}

/// The end of a handler: tells the component if one of its ports met a cause, and asks for the end of the turn.
fn leave<A: Component>(act: &mut A, ctx: &mut Context<A>) {
    // one look at each port, and nothing cloned unless it is needed: this runs for every message
    let mut turn_end = false;
    let mut untold = None;
    let mut known = false;
    let mut settling = false;
    let mut cut = false;
    act.ports(&mut |port| {
        port.after_handler();
        cut |= port.is_cut();
        turn_end |= !A::DRIVEN && port.is_grant_due() && port.owner().is_some_and(|owner| owner.ask_turn_end());
        if let (false, Some(owner)) = (known, port.owner()) {
            known = true;
            owner.leave_turn();
            untold = owner.untold().cloned();
            settling = owner.is_settling();
        }
    });
    if let Some(cause) = untold {
        return abort(act, ctx, &cause);
    }
    if cut {
        identify(act, ctx).enter_turn();
        guarded(act, ctx, |act, ctx| act.on_cut(ctx));
        // a hook may have met the end of another isolated port: at most one round for each, none is attached meanwhile
        return leave(act, ctx);
    }
    if settling && act.is_settled() {
        identify(act, ctx).tell_settled();
    }
    if turn_end {
        ctx.spawn(TurnEnd);
    }
}

/// F1: a one-shot future, which actix polls once the mailbox is empty. It is no size, so spawning it allocates nothing, and
/// it ends at once, so it keeps no actor alive.
struct TurnEnd;

impl<A: Component> ActorFuture<A> for TurnEnd {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        act: &mut A,
        _: &mut Context<A>,
        _task: &mut std::task::Context<'_>,
    ) -> Poll<Self::Output> {
        act.ports(&mut |port| {
            if let Some(owner) = port.owner() {
                owner.turn_ends();
            }
            port.send_grants();
        });
        Poll::Ready(())
    }
}

/// Runs a hook; a panic in it ends this component with `Panicked`, and nothing else.
fn guarded<A: Component>(act: &mut A, ctx: &mut Context<A>, hook: impl FnOnce(&mut A, &mut Context<A>)) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| hook(act, ctx))) {
        fail(act, ctx, Reason::Panicked(panic_text(&*panic).into()));
    }
}

/// What a component says that cannot give anything a second time.
pub(crate) fn cannot_rewind() -> Reason {
    Reason::Refused("to go back to what was given before".into())
}

/// The text of a panic, if it has one.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// A control message: the component's handler first, then along its flow.
fn control<A: Component>(act: &mut A, envelope: Envelope, ctx: &mut Context<A>, with_data: bool) {
    let mut kept = None;
    guarded(act, ctx, |act, ctx| kept = act.on_control(envelope, ctx));
    let Some(envelope) = kept else { return };
    let mut left = Some(envelope);
    if !A::TWO_WAY {
        // the first attached port on the other side: a question is answered exactly once (X1)
        act.ports(&mut |port| {
            if port.is_inlet() != with_data
                && let Some(envelope) = left.take()
            {
                left = port.pass(envelope).err();
            }
        });
    }
    if let Some(envelope) = left {
        envelope.missing();
    }
}

/// A weak address: a clone of the owner's, since asking the context for one is two allocations.
fn weak<A: Component>(home: &dyn Home, ctx: &Context<A>) -> WeakAddr<A> {
    let known = home.as_any().downcast_ref::<ManagePort<A>>();
    known.map_or_else(|| ctx.address().downgrade(), |manage| manage.0.clone())
}

impl<A: Component> Home for ManagePort<A> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn hold(&self) -> Option<Box<dyn Any + Send>> {
        self.0.upgrade().map(|addr| Box::new(addr) as Box<dyn Any + Send>)
    }

    fn manage(&self) -> &dyn ManageHandle {
        self
    }

    fn boxed_manage(&self) -> Box<dyn ManageHandle> {
        Box::new(Self(self.0.clone()))
    }
}
