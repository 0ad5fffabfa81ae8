//! The codec as a part: what most components should be.

use crate::{Cut, Record};
use bytes::Bytes;
use versile_io::component::message::PartState;
use versile_io::component::stock::{Filter, Outbox, PartResult};
use versile_io::proto::link::{Reason, Window};

/// Bytes to records, as a part: `Splitter::at(b'\n', 8192).start()`.
#[derive(Debug)]
pub struct Splitter(Cut);

/// What a successor goes on from. A type of its own, so that no other component takes it for its state.
struct Begun(Bytes);

impl Splitter {
    /// See [`Cut::at`].
    pub fn at(separator: u8, longest: usize) -> Self {
        Self(Cut::at(separator, longest))
    }
}

impl Filter for Splitter {
    type In = Bytes;
    type Out = Record;

    fn apply(&mut self, item: Bytes, out: &mut Outbox<Record>) -> PartResult {
        let fed = self.0.feed(&item, |record| out.push(record));
        fed.map_err(|_| Reason::Requested("a record is too long".into()))
    }

    /// The last record may have no separator behind it.
    fn finish(&mut self, clean: bool, out: &mut Outbox<Record>) -> PartResult<bool> {
        if let Some(last) = self.0.take_begun() {
            out.push(last);
        }
        Ok(clean)
    }

    /// In the middle of a record it cannot leave its chain: half a record is none.
    fn flush(&mut self, _: &mut Outbox<Record>) -> PartResult {
        match self.0.begun() {
            0 => Ok(()),
            begun => Err(Reason::Requested(format!("{begun} bytes of a record have come").into())),
        }
    }

    fn take_state(&mut self) -> Option<PartState> {
        self.0.take_begun().map(|begun| Box::new(Begun(begun.0)) as PartState)
    }

    fn put_state(&mut self, state: PartState) -> Result<(), PartState> {
        self.0.go_on_from(state.downcast::<Begun>()?.0);
        Ok(())
    }

    /// One call of `apply` gives as many records as an item has bytes, so an item should be short.
    fn window(&self) -> Window {
        Window::of(16 * 1024)
    }
}
