//! What does a small item over one asynchronous boundary cost in a stream library, beside a link of ours and a bounded channel?
//!
//! ```text
//! cargo run --release --manifest-path benches/rivals/Cargo.toml --bin item_hop -- [ITEMS]
//! ```
//!
//! `u64` items from a producer to a consumer that adds them up, 256 at most between: a tokio channel between two tasks, a link
//! between a `Source` and a `Sink` of ours, and datum-core's `async_boundary_with_buffer`, which is between threads of its own;
//! `fused` is the same in datum-core without a boundary, so it is a loop and no hop. The first two on one arbiter and on two. Seven
//! interleaved rounds after one to warm up, medians, nanoseconds an item; benches/link_hop.rs has more kinds of items.

use actix::{Arbiter, ArbiterHandle, System};
use datum::{Sink as Drain, Source as Stream};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use versile_io::component::join;
use versile_io::component::stock::{PartResult, Pull, Sink, Source};
use versile_io::proto::link::Credit;

/// Items that may be between the two: the messages of a link's default window.
const BETWEEN: usize = 256;
const ROUNDS: usize = 7;

struct Count {
    next: u64,
    end: u64,
}
impl Source for Count {
    type Out = u64;
    fn poll_pull(&mut self, _: Credit, _: &mut Context<'_>) -> Poll<PartResult<Pull<u64>>> {
        if self.next == self.end {
            return Poll::Ready(Ok(Pull::End { clean: true }));
        }
        self.next += 1;
        Poll::Ready(Ok(Pull::Item(self.next - 1)))
    }
}

struct Add {
    sum: u64,
    done: Option<oneshot::Sender<u64>>,
}
impl Sink for Add {
    type In = u64;
    fn consume(&mut self, item: u64) -> PartResult {
        self.sum = self.sum.wrapping_add(item);
        Ok(())
    }
    fn poll_finish(&mut self, _: bool, _: &mut Context<'_>) -> Poll<PartResult> {
        if let Some(done) = self.done.take() {
            let _ = done.send(self.sum);
        }
        Poll::Ready(Ok(()))
    }
}

async fn on<R: Send + 'static>(arbiter: &ArbiterHandle, make: impl FnOnce() -> R + Send + 'static) -> R {
    let (tx, rx) = oneshot::channel();
    arbiter.spawn(async move {
        let _ = tx.send(make());
    });
    rx.await.expect("the arbiter ran it")
}

async fn channel(items: u64, from: &ArbiterHandle, to: &ArbiterHandle) -> Duration {
    let (tx, mut rx) = mpsc::channel::<u64>(BETWEEN);
    let (done, finished) = oneshot::channel();
    to.spawn(async move {
        let mut sum = 0_u64;
        while let Some(item) = rx.recv().await {
            sum = sum.wrapping_add(item);
        }
        let _ = done.send(sum);
    });
    let started = Instant::now();
    from.spawn(async move {
        for item in 0..items {
            let _ = tx.send(item).await;
        }
    });
    checked(items, started, finished.await.expect("all came"))
}

async fn link(items: u64, from: &ArbiterHandle, to: &ArbiterHandle) -> Duration {
    let (done, finished) = oneshot::channel();
    let inlet = on(to, move || Add { sum: 0, done: Some(done) }.start().0).await;
    let outlet = on(from, move || Count { next: 0, end: items }.start().0).await;
    let started = Instant::now();
    join(&outlet, &inlet, None);
    checked(items, started, finished.await.expect("all came"))
}

async fn boundary(items: u64) -> Duration {
    let started = Instant::now();
    let stream = Stream::from_iter(0..items).async_boundary_with_buffer(BETWEEN);
    let sum = stream.run_with(Drain::fold(0_u64, u64::wrapping_add)).expect("it runs");
    checked(items, started, sum.await.expect("all came"))
}

async fn fused(items: u64) -> Duration {
    let started = Instant::now();
    let sum = Stream::from_iter(0..items).run_with(Drain::fold(0_u64, u64::wrapping_add));
    checked(items, started, sum.expect("it runs").await.expect("all came"))
}

/// The time since then, once the sum is what it must be.
fn checked(items: u64, started: Instant, sum: u64) -> Duration {
    let took = started.elapsed();
    assert_eq!(sum, items * (items - 1) / 2, "all of them");
    took
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let items = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1_000_000_u64);
    System::new().block_on(async move {
        let arbiters = [Arbiter::new(), Arbiter::new()];
        let [one, two] = [arbiters[0].handle(), arbiters[1].handle()];
        let names = [
            "channel, one arbiter",
            "link, one arbiter",
            "channel, two",
            "link, two",
            "datum, boundary",
            "datum, fused",
        ];
        let mut times: [Vec<f64>; 6] = Default::default();
        for round in 0..=ROUNDS {
            let took = [
                channel(items, &one, &one).await,
                link(items, &one, &one).await,
                channel(items, &one, &two).await,
                link(items, &one, &two).await,
                boundary(items).await,
                fused(items).await,
            ];
            eprintln!("round {round} of {ROUNDS}");
            if round > 0 {
                times.iter_mut().zip(took).for_each(|(all, took)| all.push(took.as_nanos() as f64 / items as f64));
            }
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!("{items} items of u64, {BETWEEN} between, {cores} cores; ns an item, medians of {ROUNDS}");
        for (name, times) in names.iter().zip(times) {
            println!("{name:<22}{:>9.1}", median(times));
        }
    });
}
