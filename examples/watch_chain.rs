//! Goal: attach through a supervisor, watch what happens to the chain, and look at it while it runs.
//!
//! Command: `cargo run --example watch_chain`
//!
//! Expected output:
//!
//! ```text
//! while it runs:
//! flowchart LR
//!   c1["message"]
//!   c2["Collect"]
//!   c1 -->|"11 of 11"| c2
//!
//! what happened:
//! link-1 attached: message -> Collect
//! message gone
//! link-1 ended at 11
//! Collect gone
//! ```

use bytes::Bytes;
use std::error::Error;
use versile_io::component::stock::{PartResult, Sink};
use versile_io::component::writer::ByteWriter;
use versile_io::supervisor::{Event, Supervisor};

#[derive(Default)]
struct Collect(Vec<u8>);

impl Sink for Collect {
    type In = Bytes;

    fn consume(&mut self, item: Bytes) -> PartResult {
        self.0.extend_from_slice(&item);
        Ok(())
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let supervisor = Supervisor::current();
    let mut events = supervisor.watch().await;
    let (writer, outlet, _) = ByteWriter::start("message", 1024);
    let (inlet, _) = Collect::default().start();
    supervisor.attach(&outlet, &inlet).await?;
    // The chain lives by itself now; references would keep its actors after their end.
    drop((outlet, inlet));

    let offset = writer.write("watch me go").await?;
    writer.wait_flushed(offset).await?;
    println!("while it runs:\n{}", supervisor.snapshot().await.mermaid());

    writer.end(true);
    println!("what happened:");
    let mut gone = 0;
    while gone < 2 {
        let Some(event) = events.next().await else { break };
        gone += usize::from(matches!(event, Event::ComponentGone { .. }));
        println!("{event}");
    }
    Ok(())
}
