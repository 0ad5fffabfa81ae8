//! What does one item over one link between two actors cost, beside a bounded tokio channel of the same items between two
//! tasks? On one arbiter and across two.
//!
//! ```text
//! cargo bench --bench link_hop              seven interleaved rounds, medians
//! cargo bench --bench link_hop -- --quick   for CI: fewer items, three rounds; figures mean little
//! ```
//!
//! Both sides do the least that can be done with an item: a source that makes it, a consumer that counts it. The link has
//! its default window, 256 messages and 256 KiB; the channel has as many places as such items fit into that. Two ways over a
//! link are measured: `stock`, a `Source` and a `Sink`; and `bare`, two actors of one's own wired by `wire!`. `actix` is the
//! same with plain messages in half windows, without links: what an actor's mailbox costs by itself.

use actix::prelude::*;
use bytes::Bytes;
use std::hint::black_box;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use versile_io::component::stock::{PartResult, Pull, Sink, Source};
use versile_io::component::{AddrExt, Inlet, InletEvent, InletRef, Outlet, OutletEvent, OutletRef, join};
use versile_io::proto::link::{Credit, Payload, Window};
use versile_io::wire;

/// What travels.
trait Item: Payload {
    fn make(template: &Self) -> Self;
}
impl Item for u64 {
    fn make(template: &Self) -> Self {
        *template
    }
}
impl Item for Bytes {
    fn make(template: &Self) -> Self {
        template.clone()
    }
}

// ---- stock parts

struct Make<T> {
    template: T,
    left: u64,
}
impl<T: Item> Source for Make<T> {
    type Out = T;
    fn poll_pull(&mut self, _: Credit, _: &mut TaskContext<'_>) -> Poll<PartResult<Pull<T>>> {
        if self.left == 0 {
            return Poll::Ready(Ok(Pull::End { clean: true }));
        }
        self.left -= 1;
        Poll::Ready(Ok(Pull::Item(T::make(&self.template))))
    }
}

struct Count<T> {
    units: u64,
    done: Option<oneshot::Sender<u64>>,
    item: std::marker::PhantomData<fn(T)>,
}
impl<T: Item> Sink for Count<T> {
    type In = T;
    fn consume(&mut self, item: T) -> PartResult {
        self.units += black_box(item).quantity();
        Ok(())
    }
    fn poll_finish(&mut self, _: bool, _: &mut TaskContext<'_>) -> Poll<PartResult> {
        if let Some(done) = self.done.take() {
            let _ = done.send(self.units);
        }
        Poll::Ready(Ok(()))
    }
}

// ---- actors of one's own

struct Pusher<T: Item> {
    output: Outlet<T>,
    template: T,
    left: u64,
}
impl<T: Item> Actor for Pusher<T> {
    type Context = Context<Self>;
}
wire!([T: Item] Pusher<T> { outlet output: T => on_output; });
impl<T: Item> Pusher<T> {
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {
        while self.output.is_ready() && self.left > 0 {
            self.left -= 1;
            let _ = self.output.push(T::make(&self.template));
        }
        if self.left == 0 {
            self.output.end(true);
        }
    }
}

struct Counter<T: Item> {
    input: Inlet<T>,
    units: u64,
    done: Option<oneshot::Sender<u64>>,
}
impl<T: Item> Actor for Counter<T> {
    type Context = Context<Self>;
}
wire!([T: Item] Counter<T> { inlet input: T => on_input; });
impl<T: Item> Counter<T> {
    fn on_input(&mut self, event: InletEvent<T>, _: &mut Context<Self>) {
        match event {
            InletEvent::Item(item) => self.units += black_box(item).quantity(),
            InletEvent::End { .. } => {
                if let Some(done) = self.done.take() {
                    let _ = done.send(self.units);
                }
            }
            _ => {}
        }
    }
}

// ---- what actix alone costs: the same items and the same window, without links

struct Plain<T>(Option<T>);
impl<T> Message for Plain<T> {
    type Result = ();
}
struct More;
impl Message for More {
    type Result = ();
}

struct PlainPusher<T: Item> {
    to: Addr<PlainCounter<T>>,
    template: T,
    left: u64,
}
impl<T: Item> Actor for PlainPusher<T> {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Context<Self>) {
        self.to.do_send(Hello(ctx.address()));
        // both halves of the window
        ctx.notify(More);
        ctx.notify(More);
    }
}
struct Hello<T: Item>(Addr<PlainPusher<T>>);
impl<T: Item> Message for Hello<T> {
    type Result = ();
}
impl<T: Item> Handler<More> for PlainPusher<T> {
    type Result = ();
    fn handle(&mut self, _: More, _: &mut Context<Self>) {
        for _ in 0..half(&self.template).min(self.left) {
            self.left -= 1;
            self.to.do_send(Plain(Some(T::make(&self.template))));
        }
        if self.left == 0 {
            self.to.do_send(Plain(None));
        }
    }
}

struct PlainCounter<T: Item> {
    from: Option<Addr<PlainPusher<T>>>,
    units: u64,
    seen: u64,
    done: Option<oneshot::Sender<u64>>,
}
impl<T: Item> Actor for PlainCounter<T> {
    type Context = Context<Self>;
}
impl<T: Item> Handler<Hello<T>> for PlainCounter<T> {
    type Result = ();
    fn handle(&mut self, hello: Hello<T>, _: &mut Context<Self>) {
        self.from = Some(hello.0);
    }
}
impl<T: Item> Handler<Plain<T>> for PlainCounter<T> {
    type Result = ();
    fn handle(&mut self, item: Plain<T>, _: &mut Context<Self>) {
        let Some(item) = item.0 else {
            self.from = None;
            if let Some(done) = self.done.take() {
                let _ = done.send(self.units);
            }
            return;
        };
        self.seen += 1;
        if self.seen == half(&item) {
            self.seen = 0;
            if let Some(from) = &self.from {
                from.do_send(More);
            }
        }
        self.units += black_box(item).quantity();
    }
}

/// How many such items half of the default window takes.
fn half<T: Item>(item: &T) -> u64 {
    fit(item) / 2
}

fn fit<T: Item>(item: &T) -> u64 {
    let window = Window::default();
    (window.quantity / item.quantity()).min(window.messages)
}

// ---- runs

#[derive(Clone, Copy)]
enum Way {
    Channel,
    Actix,
    Stock,
    Bare,
}

async fn on<R: Send + 'static>(arbiter: &ArbiterHandle, make: impl FnOnce() -> R + Send + 'static) -> R {
    let (tx, rx) = oneshot::channel();
    arbiter.spawn(async move {
        let _ = tx.send(make());
    });
    rx.await.expect("the arbiter ran it")
}

/// The time for `n` items from an actor or task on `from` to one on `to`.
async fn run<T: Item + Clone + Sync>(
    way: Way,
    template: T,
    n: u64,
    from: &ArbiterHandle,
    to: &ArbiterHandle,
) -> Duration {
    let (done, finished) = oneshot::channel();
    let started;
    match way {
        Way::Channel => {
            let (tx, mut rx) = mpsc::channel::<T>(fit(&template) as usize);
            let consumer = async move {
                let mut units = 0;
                while let Some(item) = rx.recv().await {
                    units += black_box(item).quantity();
                }
                let _ = done.send(units);
            };
            on(to, move || drop(actix_rt::spawn(consumer))).await;
            started = Instant::now();
            let producer = async move {
                for _ in 0..n {
                    let _ = tx.send(T::make(&template)).await;
                }
            };
            on(from, move || drop(actix_rt::spawn(producer))).await;
        }
        Way::Actix => {
            let counter =
                on(to, move || PlainCounter { from: None, units: 0, seen: 0, done: Some(done) }.start()).await;
            started = Instant::now();
            on(from, move || drop(PlainPusher { to: counter, template, left: n }.start())).await;
        }
        Way::Stock | Way::Bare => {
            let stock = matches!(way, Way::Stock);
            let inlet: InletRef<T> = on(to, move || match stock {
                true => Count { units: 0, done: Some(done), item: std::marker::PhantomData }.start().0,
                false => Counter { input: Inlet::new(Window::default()), units: 0, done: Some(done) }.start().inlet(),
            })
            .await;
            let outlet: OutletRef<T> = on(from, move || match stock {
                true => Make { template, left: n }.start().0,
                false => Pusher { output: Outlet::default(), template, left: n }.start().outlet(),
            })
            .await;
            started = Instant::now();
            join(&outlet, &inlet, None);
        }
    }
    let units = finished.await.expect("all came");
    let took = started.elapsed();
    black_box(units);
    took
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

async fn table<T: Item + Clone + Sync>(name: &str, template: T, n: u64, rounds: usize, arbiters: &[Arbiter; 2]) {
    let handles = [arbiters[0].handle(), arbiters[1].handle()];
    for (place, to) in [("one arbiter", &handles[0]), ("two arbiters", &handles[1])] {
        let ways = [Way::Channel, Way::Actix, Way::Stock, Way::Bare];
        let mut times: [Vec<f64>; 4] = Default::default();
        for round in 0..=rounds {
            for (way, times) in ways.iter().zip(&mut times) {
                let took = run(*way, template.clone(), n, &handles[0], to).await;
                // the first round warms up
                if round > 0 {
                    times.push(took.as_nanos() as f64 / n as f64);
                }
            }
        }
        let [channel, actix, stock, bare] = times.map(median);
        println!(
            "{name:<8} {place:<13} {channel:>9.1} {actix:>9.1} {stock:>9.1} {bare:>9.1} {:>8.2} {:>8.2} {:>10.2}",
            stock / channel,
            bare / channel,
            bare / actix
        );
    }
}

/// One way alone, on one arbiter, for a profiler.
fn only(way: &str) {
    let way = match way {
        "channel" => Way::Channel,
        "stock" => Way::Stock,
        "actix" => Way::Actix,
        _ => Way::Bare,
    };
    System::new().block_on(async move {
        let arbiter = Arbiter::new();
        let took = run(way, 7u64, 20_000_000, &arbiter.handle(), &arbiter.handle()).await;
        println!("{:.1} ns", took.as_nanos() as f64 / 20_000_000.0);
    });
}

fn main() {
    if let Some(way) = std::env::args().find_map(|arg| arg.strip_prefix("--only=").map(str::to_owned)) {
        return only(&way);
    }
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (rounds, scale) = if quick { (3, 20) } else { (7, 1) };
    System::new().block_on(async move {
        let arbiters = [Arbiter::new(), Arbiter::new()];
        println!("ns per item, medians of {rounds}");
        println!(
            "{:<8} {:<13} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>10}",
            "item", "", "channel", "actix", "stock", "bare", "stock/ch", "bare/ch", "bare/actix"
        );
        table("u64", 7u64, 1_000_000 / scale, rounds, &arbiters).await;
        table("64 B", Bytes::from(vec![1; 64]), 1_000_000 / scale, rounds, &arbiters).await;
        table("64 KiB", Bytes::from(vec![1; 65536]), 200_000 / scale, rounds, &arbiters).await;
        for arbiter in arbiters {
            arbiter.stop();
            let _ = arbiter.join();
        }
    });
}
