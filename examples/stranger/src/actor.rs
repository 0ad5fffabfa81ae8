//! The codec as an actor with ports: more to write, and everything an actor can do.

use crate::{Cut, Record};
use actix::prelude::*;
use bytes::Bytes;
use std::collections::VecDeque;
use versile_io::component::{AddrExt, Inlet, InletEvent, InletRef, Outlet, OutletEvent, OutletRef};
use versile_io::proto::link::{Credit, Reason};
use versile_io::wire;

/// No more than so many bytes are granted at once, and so no more than so many records wait.
const MOST: u64 = 4096;

/// Bytes to records, as an actor.
pub struct SplittingActor {
    input: Inlet<Bytes>,
    output: Outlet<Record>,
    cut: Cut,
    /// Complete, and the outlet has no room yet.
    waiting: VecDeque<Record>,
    /// How the data ended, once it has.
    end: Option<bool>,
}

impl Actor for SplittingActor {
    type Context = Context<Self>;
}

wire!(SplittingActor {
    inlet input: Bytes => on_input;
    outlet output: Record => on_output;
    settled => is_empty;
    flush => on_flush;
});

impl SplittingActor {
    /// Starts one on the current arbiter. See [`Cut::at`].
    pub fn start_at(separator: u8, longest: usize) -> (InletRef<Bytes>, OutletRef<Record>) {
        let actor = Self {
            // granted by hand, and the end counts as received when all records are given
            input: Inlet::manual_until_complete(),
            output: Outlet::default(),
            cut: Cut::at(separator, longest),
            waiting: VecDeque::new(),
            end: None,
        };
        let addr = actor.start();
        (addr.inlet(), addr.outlet())
    }

    fn on_input(&mut self, event: InletEvent<Bytes>, _: &mut Context<Self>) {
        match event {
            InletEvent::Item(bytes) => {
                let waiting = &mut self.waiting;
                if self.cut.feed(&bytes, |record| waiting.push_back(record)).is_err() {
                    return self.input.abort(Reason::Requested("a record is too long".into()));
                }
            }
            InletEvent::End { clean } => {
                self.end = Some(clean);
                self.waiting.extend(self.cut.take_begun());
            }
            _ => {}
        }
        self.pump();
    }

    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {
        self.pump();
    }

    /// Gives what the outlet has room for, and grants once nothing waits: a bound without any arithmetic.
    fn pump(&mut self) {
        while self.output.is_ready()
            && let Some(record) = self.waiting.pop_front()
        {
            // it is ready, so it takes one
            drop(self.output.push(record));
        }
        if !self.waiting.is_empty() {
            return;
        }
        match self.end {
            Some(clean) => {
                self.output.end(clean);
                self.input.complete();
            }
            None => self.input.grant(Credit::of(MOST)),
        }
    }

    /// Nothing waits for the outlet. The beginning of a record is for `on_flush`.
    fn is_empty(&mut self) -> bool {
        self.waiting.is_empty()
    }

    fn on_flush(&mut self, _: &mut Context<Self>) -> Result<(), Reason> {
        match self.cut.begun() {
            0 => Ok(()),
            begun => Err(Reason::Requested(format!("{begun} bytes of a record have come").into())),
        }
    }
}
