//! Question: how long does nothing flow while a running chain is spliced, and what does splicing 20 times a second cost?
//!
//! One chain on one arbiter at full speed: a source of 64 KiB pieces, a filter that passes them on, a counting sink. Every
//! 50 ms the filter is replaced by a new one. Undisturbed and spliced rounds alternate; medians:
//!
//! ```text
//! cargo bench --bench splice              # 7 rounds of 2 s each
//! cargo bench --bench splice -- --quick   # one short round, for CI
//! ```

use actix::System;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use versile_io::component::stock::{Filter, Outbox, PartResult, Pull, Sink, Source};
use versile_io::proto::link::Credit;
use versile_io::supervisor::Supervisor;

struct Endless {
    piece: Bytes,
    stop: Arc<AtomicBool>,
}

impl Source for Endless {
    type Out = Bytes;
    fn poll_pull(&mut self, _: Credit, _: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        Poll::Ready(Ok(match self.stop.load(Relaxed) {
            true => Pull::End { clean: true },
            false => Pull::Item(self.piece.clone()),
        }))
    }
}

struct Pass(u64);

impl Filter for Pass {
    type In = Bytes;
    type Out = Bytes;
    fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
        // looks at every byte, as a codec would
        self.0 = item.iter().fold(self.0, |sum, byte| sum.wrapping_add(u64::from(*byte)));
        out.push(item);
        Ok(())
    }
}

struct Count(Arc<AtomicU64>);

impl Sink for Count {
    type In = Bytes;
    fn consume(&mut self, item: Bytes) -> PartResult {
        self.0.fetch_add(item.len() as u64, Relaxed);
        Ok(())
    }
}

/// GB/s over `long`, and the pauses of the splices made.
async fn round(long: Duration, splices: bool) -> (f64, Vec<Duration>) {
    let supervisor = Supervisor::start();
    let (stop, bytes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (out, _) = Endless { piece: vec![1; 64 * 1024].into(), stop: stop.clone() }.start();
    let (inlet, outlet, _) = Pass(0).start();
    let (inp, done) = Count(bytes.clone()).start();
    supervisor.attach(&out, &inlet).await.expect("attached");
    supervisor.attach(&outlet, &inp).await.expect("attached");
    drop((out, inlet, outlet, inp));
    let (start, mut pauses) = (Instant::now(), Vec::new());
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while start.elapsed() < long {
        tick.tick().await;
        if splices {
            let old = supervisor.snapshot().await.component("Pass").expect("in the chain");
            let (inlet, outlet, _) = Pass(0).start();
            let spliced = supervisor.replace(old, &inlet, &outlet, Duration::from_secs(1)).await.expect("spliced");
            pauses.push(spliced.pause);
        }
    }
    let rate = bytes.load(Relaxed) as f64 / 1e9 / start.elapsed().as_secs_f64();
    stop.store(true, Relaxed);
    assert!(done.await.1.is_clean());
    (rate, pauses)
}

fn median<T: Copy>(mut of: Vec<T>, by: fn(&T, &T) -> std::cmp::Ordering) -> T {
    of.sort_by(by);
    of[of.len() / 2]
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (rounds, long) = if quick { (1, Duration::from_millis(300)) } else { (7, Duration::from_secs(2)) };
    System::new().block_on(async move {
        let (mut calm, mut spliced, mut pauses) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            calm.push(round(long, false).await.0);
            let (rate, paused) = round(long, true).await;
            spliced.push(rate);
            pauses.extend(paused);
        }
        let n = pauses.len();
        let (calm, spliced) = (median(calm, f64::total_cmp), median(spliced, f64::total_cmp));
        println!(
            "| undisturbed GB/s | 20 splices a second GB/s | ratio | splices | median pause |\n|---|---|---|---|---|"
        );
        let pause = median(pauses, Duration::cmp);
        println!("| {calm:.2} | {spliced:.2} | {:.2} | {n} | {pause:.2?} |", spliced / calm);
    });
}
