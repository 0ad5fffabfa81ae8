//! The actor of a [`Duplex`]: its state and its hooks. Its turns are in `turn`.

use super::state::{Holders, Read, Stage, Write};
use super::turn::Drive;
use super::{Directions, Duplex};
use crate::component::address::pair;
use crate::component::control::Envelope;
use crate::component::drive;
use crate::component::stock::{Done, Holder, Outcome, PartResult, type_name};
use crate::component::{Inlet, InletEvent, Outlet, OutletEvent, PairRef};
use crate::proto::link::Cause;
use crate::wire;
use actix::dev::channel::channel;
use actix::{Actor, Addr, AsyncContext, Context};
use std::any::TypeId;
use std::fmt;
use std::sync::Arc;

/// How many messages actix lets wait before it tells a sender so. Nobody asks: ports send under credit.
const MAILBOX: usize = 16;

/// Starts a part in an actor on the current arbiter.
pub(super) fn start<D: Duplex>(part: D) -> (PairRef<D::Item>, Done<D>) {
    let directions = part.directions();
    let mut input = match directions {
        Directions::ReadOnly => Inlet::absent(),
        _ => Inlet::holding(part.window()),
    };
    input.set_forms(part.forms());
    let output = match directions {
        Directions::WriteOnly => Outlet::absent(),
        _ => Outlet::default().on_demand(),
    };
    let (part, done) = Holder::new(part);
    let actor = DuplexActor {
        part,
        input,
        output,
        stage: Stage::Unjoined,
        write: if directions == Directions::ReadOnly { Write::Ended { clean: true } } else { Write::Unused },
        read: Read::Wanted,
        holders: Holders::Some,
    };
    // as `Actor::start`, which makes an address more and throws it away
    let (sender, receiver) = channel(MAILBOX);
    actix_rt::spawn(Context::with_receiver(receiver).into_future(actor));
    (pair(Addr::new(sender)), done)
}

/// The actor that runs a [`Duplex`].
pub struct DuplexActor<D: Duplex> {
    pub(super) part: Holder<D>,
    pub(super) input: Inlet<D::Item>,
    pub(super) output: Outlet<D::Item>,
    pub(super) stage: Stage,
    pub(super) write: Write,
    pub(super) read: Read,
    pub(super) holders: Holders,
}

impl<D: Duplex> Actor for DuplexActor<D> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(Drive);
    }
}

wire!([D: Duplex] DuplexActor<D> {
    inlet input: D::Item => on_input;
    outlet output: D::Item => on_output;
    controls => on_control;
    aborted => on_aborted;
    drain => on_drain;
    rewind => on_rewind;
    name => part_name;
    hears => part_hears;
    two_way;
    driven;
});

impl<D: Duplex> DuplexActor<D> {
    fn on_input(&mut self, event: InletEvent<D::Item>, _: &mut Context<Self>) {
        let Some(part) = self.part.get() else { return };
        match event {
            InletEvent::Item(item) => {
                self.stage.wanted();
                self.write.fed();
                if let Err(reason) = part.consume(item) {
                    self.input.abort(reason);
                }
            }
            InletEvent::Parcel(parcel) => {
                self.stage.wanted();
                self.write.fed();
                if let Err(reason) = part.consume_parcel(parcel) {
                    self.input.abort(reason);
                }
            }
            InletEvent::End { clean } => {
                self.stage.wanted();
                self.write = Write::Ending { clean };
            }
            InletEvent::Attached | InletEvent::Detached | InletEvent::Aborted => self.stage.joined(),
        }
    }

    fn on_output(&mut self, event: OutletEvent, _: &mut Context<Self>) {
        match event {
            // once it is detached, in none: what carried the parcels is given up (M2)
            OutletEvent::Attached | OutletEvent::Detached => {
                self.stage.joined();
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
        self.read.drain();
        // the data is not complete
        self.output.end(false);
    }

    fn on_rewind(&mut self, _: usize, by: u64, _: &mut Context<Self>) -> PartResult {
        self.part.get().map_or_else(|| Err(drive::cannot_rewind()), |part| part.rewind(by))
    }

    fn part_name(&self) -> Arc<str> {
        self.part.peek().map_or_else(type_name::<D>, |part| part.name())
    }

    fn part_hears(message: TypeId) -> bool {
        D::hears(message)
    }

    pub(super) fn over(&mut self, outcome: Outcome) {
        if let Some(part) = self.part.get() {
            part.closed(&outcome);
        }
        self.part.finish(outcome);
    }
}

impl<D: Duplex> fmt::Debug for DuplexActor<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuplexActor")
            .field("input", &self.input)
            .field("output", &self.output)
            .field("stage", &self.stage)
            .field("write", &self.write)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}
