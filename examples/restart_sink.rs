//! Goal: have a sink that fails built again, and the source go back to what the store has: nothing lost, nothing twice.
//!
//! Command: `cargo run --example restart_sink`
//!
//! Expected output:
//!
//! ```text
//! Store failed and is to be rebuilt: Store: failed: the disk is full
//! Store is rebuilt in 10.0ms, attempt 1
//! Store goes on at 3
//! [1, 2, 3, 4, 5, 6]
//! ```

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use versile_io::component::stock::{PartResult, Pull, Sink, Source};
use versile_io::proto::link::{Credit, Reason};
use versile_io::supervisor::{BackOff, Built, Event, Loss, Restart, Supervisor};

/// Counts to 6, and can go back.
struct Numbers(u32);

impl Source for Numbers {
    type Out = u32;
    fn poll_pull(&mut self, _: Credit, _: &mut Context<'_>) -> Poll<PartResult<Pull<u32>>> {
        self.0 += 1;
        Poll::Ready(Ok(if self.0 > 6 { Pull::End { clean: true } } else { Pull::Item(self.0) }))
    }
    fn rewind(&mut self, by: u64) -> PartResult {
        self.0 = self.0.min(6) - by as u32;
        Ok(())
    }
}

/// Keeps numbers where they outlast it.
struct Store {
    kept: Arc<Mutex<Vec<u32>>>,
    room: usize,
}

impl Sink for Store {
    type In = u32;
    fn consume(&mut self, item: u32) -> PartResult {
        let mut kept = self.kept.lock().map_err(|_| Reason::failed("poisoned"))?;
        if kept.len() == self.room {
            return Err(Reason::failed("failed: the disk is full"));
        }
        kept.push(item);
        Ok(())
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let supervisor = Supervisor::current();
    let mut events = supervisor.watch().await;
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (outlet, _) = Numbers(0).start();
    let (inlet, _) = Store { kept: kept.clone(), room: 3 }.start();

    let back_off = BackOff { first: Duration::from_millis(10), jitter: 0, ..BackOff::default() };
    let store = kept.clone();
    let factory = move |_| {
        let has = store.lock().map_or(0, |kept| kept.len());
        let (inlet, _) = Store { kept: store.clone(), room: usize::MAX }.start();
        std::future::ready(Ok(Built::sink(&inlet).has(has as u64)))
    };
    supervisor.keep(Built::sink(&inlet), Restart { loss: Loss::Resume, back_off }, factory).await?;
    supervisor.attach(&outlet, &inlet).await?;
    drop((outlet, inlet));

    while let Some(event) = events.next().await {
        match event {
            Event::Suspended { .. } | Event::Restarting { .. } | Event::Restarted { .. } => println!("{event}"),
            Event::Ended { .. } => break,
            _ => {}
        }
    }
    println!("{:?}", kept.lock().map_err(|_| "poisoned")?);
    Ok(())
}
