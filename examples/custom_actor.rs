//! Goal: an actix actor of one's own in a chain: it passes bytes on under credit, and answers ordinary actix messages too.
//!
//! Command: `cargo run --example custom_actor`
//!
//! Expected output:
//!
//! ```text
//! passed on: 23 bytes
//! ```

use actix::prelude::*;
use bytes::Bytes;
use versile_io::agent::file::{self, WriteOptions};
use versile_io::component::stock::Duplex as _;
use versile_io::component::writer::ByteWriter;
use versile_io::component::{AddrExt as _, Inlet, InletEvent, Outlet, OutletEvent, join};
use versile_io::wire;

/// Counts what it passes on.
struct Meter {
    input: Inlet<Bytes>,
    output: Outlet<Bytes>,
    passed: usize,
}

impl Actor for Meter {
    type Context = Context<Self>;
}

wire!(Meter {
    inlet input: Bytes => on_input;
    outlet output: Bytes => on_output;
});

impl Meter {
    fn on_input(&mut self, event: InletEvent<Bytes>, _: &mut Context<Self>) {
        match event {
            InletEvent::Item(item) => {
                self.passed += item.len();
                // There is room: no more comes in than the outlet had credit for.
                drop(self.output.push(item));
            }
            InletEvent::End { clean } => self.output.end(clean),
            _ => {}
        }
    }

    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {
        self.input.grant(self.output.credit());
    }
}

#[derive(Message)]
#[rtype(usize)]
struct Passed;

impl Handler<Passed> for Meter {
    type Result = usize;

    fn handle(&mut self, _: Passed, _: &mut Context<Self>) -> usize {
        self.passed
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (writer, outlet, _) = ByteWriter::start("message", 1024);
    let meter = Meter { input: Inlet::manual(), output: Outlet::default(), passed: 0 }.start();
    let (file, done) = file::write("/dev/null", WriteOptions::default()).start();
    join(&outlet, &meter.inlet(), None);
    join(&meter.outlet(), &file.inlet, None);

    writer.write("an actor like any other").await?;
    writer.end(true);
    done.await;
    println!("passed on: {} bytes", meter.send(Passed).await?);
    Ok(())
}
