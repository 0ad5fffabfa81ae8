//! Paused and resumed from outside.
//!
//! ```text
//!   open    the outlet's credit is granted on to the inlet: nothing waits inside
//!   closed  nothing is granted; what was granted before is taken (rule C2) and waits inside
//! ```
//!
//! A closed gate that holds something cannot be taken out of its chain.

use crate::component::control::{Ask, Control};
use crate::component::drive;
use crate::component::{AddrExt, Inlet, InletEvent, InletRef, Outlet, OutletEvent, OutletRef};
use crate::proto::link::{Payload, Reason};
use crate::wire;
use actix::{Actor, ActorContext, Context, Handler, Message, WeakAddr};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// Control message that opens or closes the next gate along the chain.
///
/// ```
/// use versile_io::component::block::SetGate;
/// let pause = SetGate { open: false };
/// # let _ = pause;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetGate {
    /// Whether items may pass.
    pub open: bool,
}

impl Control for SetGate {
    /// The gate is in that state.
    type Reply = ();
}

impl Message for SetGate {
    type Result = ();
}

/// The gate is closed and cannot leave its chain: it holds what it must not give.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the gate is closed and holds {items} items")]
pub struct GateClosed {
    /// Items, or pieces of bytes.
    pub items: usize,
}

/// A gate's ports and its handle.
#[derive(Debug)]
pub struct Gate<T: Payload> {
    /// Where items come in.
    pub inlet: InletRef<T>,
    /// Where they go out.
    pub outlet: OutletRef<T>,
    /// Opens and closes it.
    pub handle: GateHandle<T>,
}

/// Opens and closes a gate, from any thread. Holds no actor.
pub struct GateHandle<T: Payload>(WeakAddr<GateActor<T>>);

impl<T: Payload> GateHandle<T> {
    /// Lets items pass. False if the gate is gone.
    pub fn open(&self) -> bool {
        self.set(true)
    }

    /// Lets nothing pass any more. What is granted already is still taken, and waits. False if the gate is gone.
    pub fn close(&self) -> bool {
        self.set(false)
    }

    fn set(&self, open: bool) -> bool {
        let Some(addr) = self.0.upgrade() else { return false };
        addr.do_send(SetGate { open });
        true
    }
}

impl<T: Payload> Clone for GateHandle<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Payload> fmt::Debug for GateHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GateHandle")
    }
}

/// Starts a gate on the current arbiter. An end and items wait in front of a closed one; an abort passes.
///
/// ```
/// use bytes::Bytes;
/// use versile_io::component::block::gate;
/// # actix::System::new().block_on(async {
/// let gate = gate::<Bytes>(false);
/// // join gate.inlet and gate.outlet, and when all is ready:
/// assert!(gate.handle.open());
/// # });
/// ```
pub fn gate<T: Payload>(open: bool) -> Gate<T> {
    let actor = GateActor {
        input: Inlet::manual_until_complete(),
        output: Outlet::default(),
        open,
        waiting: VecDeque::new(),
        end: None,
    };
    let addr = actor.start();
    Gate { inlet: addr.inlet(), outlet: addr.outlet(), handle: GateHandle(addr.downgrade()) }
}

/// The actor of a [`gate`].
pub struct GateActor<T: Payload> {
    input: Inlet<T>,
    output: Outlet<T>,
    open: bool,
    /// What was granted before the gate was closed, or its consumer detached.
    waiting: VecDeque<T>,
    end: Option<bool>,
}

impl<T: Payload> Actor for GateActor<T> {
    type Context = Context<Self>;
}

wire!([T: Payload] GateActor<T> {
    inlet input: T => on_input;
    outlet output: T => on_output;
    control SetGate => on_set_gate;
    settled => has_given_all;
    flush => on_flush;
    name => gate_name;
});

impl<T: Payload> GateActor<T> {
    fn on_input(&mut self, event: InletEvent<T>, ctx: &mut Context<Self>) {
        match event {
            InletEvent::Item(item) => self.waiting.push_back(item),
            InletEvent::End { clean } => self.end = Some(clean),
            InletEvent::Parcel(_) | InletEvent::Attached | InletEvent::Detached | InletEvent::Aborted => {}
        }
        self.pump(ctx);
    }

    fn on_output(&mut self, _: OutletEvent, ctx: &mut Context<Self>) {
        self.pump(ctx);
    }

    fn on_set_gate(&mut self, ask: Ask<SetGate>, ctx: &mut Context<Self>) -> Option<Ask<SetGate>> {
        self.set(ask.open, ctx);
        ask.answer(());
        None
    }

    fn set(&mut self, open: bool, ctx: &mut Context<Self>) {
        self.open = open;
        self.pump(ctx);
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        if self.open {
            self.pass(ctx);
        }
        // what waits is delivered, whoever else still holds the gate
        self.output.keep(!self.waiting.is_empty());
    }

    fn pass(&mut self, ctx: &mut Context<Self>) {
        while self.output.is_ready() {
            let Some(item) = self.waiting.pop_front() else { break };
            // it is ready, so it takes any item
            let _ = self.output.push(item);
        }
        if self.waiting.is_empty() {
            match self.end {
                Some(clean) => self.output.end(clean),
                None => self.input.grant(self.output.credit()),
            }
        }
        if self.output.ended().is_some() {
            self.input.complete();
            ctx.stop();
        }
    }

    /// A closed gate gives no more, however long a supervisor waits; [`on_flush`](Self::on_flush) says so.
    fn has_given_all(&mut self) -> bool {
        (self.waiting.is_empty() || !self.open) && !self.output.has_work()
    }

    fn on_flush(&mut self, _: &mut Context<Self>) -> Result<(), Reason> {
        match self.waiting.len() {
            0 => Ok(()),
            items => Err(Reason::failed(GateClosed { items })),
        }
    }

    fn gate_name(&self) -> Arc<str> {
        "gate".into()
    }
}

impl<T: Payload> Handler<SetGate> for GateActor<T> {
    type Result = ();

    fn handle(&mut self, msg: SetGate, ctx: &mut Context<Self>) {
        // nothing to do for a gate that is aborted
        let _ = drive::turn(self, ctx, |act, ctx| act.set(msg.open, ctx));
    }
}

impl<T: Payload> fmt::Debug for GateActor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateActor")
            .field("open", &self.open)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}
