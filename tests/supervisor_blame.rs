//! Blame, on running chains. (Its table of situations: `src/supervisor/blame.rs`.)

#[path = "support/elsewhere.rs"]
mod elsewhere;
#[path = "support/supervisor.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod supervisor;
mod support;

use actix::prelude::*;
use bytes::Bytes;
use elsewhere::on;
use std::num::NonZeroU64;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use supervisor::{Check, Pattern, Silent, forgotten};
use support::{run, within};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use versile_io::agent::unix;
use versile_io::component::block::{Branch, Rate, gate, tee, throttle};
use versile_io::component::stock::{Duplex, Filter, Outbox, PartResult, Pull, Sink, Source};
use versile_io::component::{AddrExt, Inlet, InletEvent, Outlet, OutletEvent};
use versile_io::proto::link::{Credit, LinkId, Window};
use versile_io::supervisor::{Finding, Supervisor, Target, Verdict};
use versile_io::wire;

/// Finishes with an item 2 ms after it came.
struct Slow {
    input: Inlet<Bytes>,
}
impl Actor for Slow {
    type Context = Context<Self>;
}
wire!(Slow { inlet input: Bytes => on_input; });
impl Slow {
    fn begin() -> Addr<Self> {
        Slow { input: Inlet::holding(Window { quantity: 8000, messages: 4 }) }.start()
    }
    fn on_input(&mut self, event: InletEvent<Bytes>, ctx: &mut Context<Self>) {
        if let InletEvent::Item(item) = event {
            ctx.run_later(Duration::from_millis(2), move |act, _| act.input.release(item.len() as u64, 1));
        }
    }
}

/// Works 200 us for each item, if it is to.
struct Work(bool);
impl Filter for Work {
    type In = Bytes;
    type Out = Bytes;
    fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
        let start = std::time::Instant::now();
        while self.0 && start.elapsed() < Duration::from_micros(200) {}
        out.push(item);
        Ok(())
    }
    fn window(&self) -> Window {
        Window { quantity: 16 * 1024, messages: 16 }
    }
}

/// Gives each item to both sides, and takes the next when both have room. Does not say what its outlets wait for.
struct Tee {
    input: Inlet<Bytes>,
    left: Outlet<Bytes>,
    right: Outlet<Bytes>,
    waiting: std::collections::VecDeque<Bytes>,
}
impl Actor for Tee {
    type Context = Context<Self>;
}
wire!(Tee {
    inlet input: Bytes => on_input;
    outlet left: Bytes => on_output;
    outlet right: Bytes => on_output;
});
impl Tee {
    fn on_input(&mut self, event: InletEvent<Bytes>, ctx: &mut Context<Self>) {
        if let InletEvent::Item(item) = event {
            self.waiting.push_back(item);
            self.on_output(OutletEvent::Credit, ctx);
        }
    }
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {
        while self.left.is_ready() && self.right.is_ready() {
            let Some(item) = self.waiting.pop_front() else { return };
            self.input.release(item.len() as u64, 1);
            self.left.push(item.clone()).expect("ready");
            self.right.push(item).expect("ready");
        }
    }
}

/// The first look of several that finds this.
async fn found(supervisor: &Supervisor, link: LinkId, finding: Finding, name: &str) -> Verdict {
    let mut last = None;
    let looking = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let verdict = supervisor.blame(Target::ChainOf(link)).await;
            if verdict.finding == finding && &*verdict.name == name {
                return verdict;
            }
            last = Some(verdict);
        }
    };
    match tokio::time::timeout(Duration::from_secs(10), looking).await {
        Ok(verdict) => verdict,
        Err(_) => panic!("{finding:?} {name} was expected: {last:?}"),
    }
}

async fn end(supervisor: &Supervisor) {
    supervisor.abort(Target::All, "done").await;
    within(forgotten(supervisor)).await;
}

#[test]
fn a_slow_sink_behind_a_filter() {
    run(async {
        let supervisor = Supervisor::start();
        let (out, _) = Pattern::new(1, u64::MAX).start();
        let (fin, fout, _) = Work(false).start();
        let slow = Slow::begin();
        let link = supervisor.attach(&out, &fin).await.expect("attached");
        supervisor.attach(&fout, &slow.inlet()).await.expect("attached");
        let verdict = found(&supervisor, link, Finding::SlowConsumer, "Slow").await;
        assert!(verdict.share > 0.5 && verdict.share <= 1.0, "{verdict:?}");
        assert!(verdict.to_string().starts_with("consumer `Slow` does not take data: "), "{verdict}");
        assert!(verdict.over >= Duration::from_millis(20));
        drop((out, fin, fout, slow));
        end(&supervisor).await;
    });
}

#[test]
fn a_slow_source_before_a_filter() {
    run(async {
        let supervisor = Supervisor::start();
        let (out, _) = Silent.start();
        let (fin, fout, _) = Work(true).start();
        let (inp, _) = Check::new(1).start();
        supervisor.attach(&out, &fin).await.expect("attached");
        let link = supervisor.attach(&fout, &inp).await.expect("attached");
        let verdict = found(&supervisor, link, Finding::SlowSource, "Silent").await;
        assert!(verdict.share > 0.5, "{verdict:?}");
        drop((out, fin, fout, inp));
        end(&supervisor).await;
    });
}

#[test]
fn a_filter_that_works_all_the_time() {
    run(async {
        let supervisor = Supervisor::start();
        let (out, _) = Pattern::new(1, u64::MAX).start();
        let (fin, fout, _) = Work(true).start();
        let (inp, _) = Check::new(1).start();
        let link = supervisor.attach(&out, &fin).await.expect("attached");
        supervisor.attach(&fout, &inp).await.expect("attached");
        let verdict = found(&supervisor, link, Finding::Busy, "Work").await;
        assert!(verdict.share > 0.2, "{verdict:?}");
        drop((out, fin, fout, inp));
        end(&supervisor).await;
    });
}

#[test]
fn the_slow_side_of_a_tee() {
    run(async {
        let supervisor = Supervisor::start();
        let (out, _) = Pattern::new(1, u64::MAX).start();
        let tee = Tee {
            input: Inlet::holding(Window { quantity: 8000, messages: 4 }),
            left: Outlet::default(),
            right: Outlet::default(),
            waiting: Default::default(),
        };
        let tee = tee.start();
        let (fast, _) = Check::new(1).start();
        let slow = Slow::begin();
        let link = supervisor.attach(&out, &tee.inlet()).await.expect("attached");
        supervisor.attach(&tee.outlet_at::<0>(), &fast).await.expect("attached");
        supervisor.attach(&tee.outlet_at::<1>(), &slow.inlet()).await.expect("attached");
        found(&supervisor, link, Finding::SlowConsumer, "Slow").await;
        drop((out, tee, fast, slow));
        end(&supervisor).await;
    });
}

#[test]
fn a_two_way_chain_on_which_nobody_says_anything() {
    run(async {
        let supervisor = Supervisor::start();
        let (x, y) = unix::pair(&Default::default()).expect("a pair");
        let ((x, _x), (y, _y)) = (x.named("x").start(), y.named("y").start());
        let (there, _back) = supervisor.attach_pair(&x, &y).await.expect("attached");
        drop((x, y));
        let verdict = within(async {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let verdict = supervisor.blame(Target::ChainOf(there)).await;
                if verdict.finding == Finding::SlowSource {
                    return verdict;
                }
            }
        })
        .await;
        assert!(["x", "y"].contains(&&*verdict.name), "{verdict}");
        end(&supervisor).await;
    });
}

fn burn(long: Duration) {
    let start = std::time::Instant::now();
    while start.elapsed() < long {}
}

/// Works 300 us for each item it gives, or takes.
struct Burns;

impl Source for Burns {
    type Out = Bytes;
    fn poll_pull(&mut self, credit: Credit, _: &mut TaskContext<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        burn(Duration::from_micros(300));
        Poll::Ready(Ok(Pull::Item(vec![0; credit.quantity.min(100) as usize].into())))
    }
}

impl Sink for Burns {
    type In = Bytes;
    fn consume(&mut self, _: Bytes) -> PartResult {
        burn(Duration::from_micros(300));
        Ok(())
    }
    fn window(&self) -> Window {
        Window { quantity: 8000, messages: 4 }
    }
}

#[test]
fn a_source_that_works_all_the_time() {
    run(async {
        let supervisor = Supervisor::start();
        let (out, _) = Source::start(Burns);
        let (fin, fout, _) = Work(false).start();
        let (inp, _) = Discard.start();
        let link = supervisor.attach(&out, &fin).await.expect("attached");
        supervisor.attach(&fout, &inp).await.expect("attached");
        drop((out, fin, fout, inp));
        found(&supervisor, link, Finding::NeverWaits, "Burns").await;
        end(&supervisor).await;
    });
}

struct Discard;

impl Sink for Discard {
    type In = Bytes;
    fn consume(&mut self, _: Bytes) -> PartResult {
        Ok(())
    }
}

/// A chain of a source that has always something, what is between, and a sink that takes all: what is between limits it.
async fn between(
    inlet: versile_io::component::InletRef<Bytes>,
    outlet: versile_io::component::OutletRef<Bytes>,
    finding: Finding,
    name: &str,
) -> Verdict {
    let supervisor = Supervisor::start();
    let (out, _) = Pattern::new(1, u64::MAX).start();
    let (inp, _) = Discard.start();
    let link = supervisor.attach(&out, &inlet).await.expect("attached");
    supervisor.attach(&outlet, &inp).await.expect("attached");
    drop((out, inlet, outlet, inp));
    let verdict = found(&supervisor, link, finding, name).await;
    assert!(verdict.share > 0.5, "{verdict:?}");
    end(&supervisor).await;
    verdict
}

#[test]
fn a_throttle() {
    run(async {
        let rate = Rate::new(NonZeroU64::new(100_000).expect("not 0"));
        let throttle = throttle(rate);
        let verdict = between(throttle.inlet, throttle.outlet, Finding::Withholds, "throttle").await;
        assert!(verdict.help().contains("rate"), "{}", verdict.help());
    });
}

#[test]
fn a_gate_that_is_closed() {
    run(async {
        let gate = gate(false);
        between(gate.inlet, gate.outlet, Finding::Withholds, "gate").await;
    });
}

/// Gives each item on 20 ms after it came, as many at once as its window allows: a long way, without work.
struct LongWay {
    input: Inlet<Bytes>,
    output: Outlet<Bytes>,
}

impl Actor for LongWay {
    type Context = Context<Self>;
}

wire!(LongWay {
    inlet input: Bytes => on_input;
    outlet output: Bytes => on_output;
});

impl LongWay {
    fn on_input(&mut self, event: InletEvent<Bytes>, ctx: &mut Context<Self>) {
        if let InletEvent::Item(item) = event {
            ctx.run_later(Duration::from_millis(20), move |act, _| {
                act.input.release(item.len() as u64, 1);
                let _ = act.output.push(item);
            });
        }
    }
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {
        // it has nothing of its own to give
        self.output.waiting(versile_io::component::link::Waiting::ForData);
    }
}

#[test]
fn a_window_that_is_too_small_for_the_way() {
    run(async {
        let input = Inlet::holding(Window { quantity: 8000, messages: 6 });
        let way = LongWay { input, output: Outlet::default() }.start();
        let verdict = between(way.inlet(), way.outlet(), Finding::SmallWindow, "LongWay").await;
        assert!(verdict.help().contains("delay times the rate"), "{}", verdict.help());
    });
}

#[test]
fn a_sink_that_burns() {
    run(async {
        let supervisor = Supervisor::start();
        let (out, _) = Pattern::new(1, u64::MAX).start();
        let (inp, _) = Sink::start(Burns);
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        drop((out, inp));
        found(&supervisor, link, Finding::Busy, "Burns").await;
        end(&supervisor).await;
    });
}

/// Holds its arbiter up for 30 ms, again and again.
struct Hog;

impl Actor for Hog {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(Duration::from_millis(31), |_, _| burn(Duration::from_millis(30)));
    }
}

#[test]
fn a_sink_whose_arbiter_does_something_else() {
    run(async {
        let supervisor = Supervisor::start();
        let other = Arbiter::new();
        let hog = on(&other.handle(), || Hog.start()).await;
        let inp =
            on(&other.handle(), || Check { window: Window { quantity: 4000, messages: 4 }, ..Check::new(1) }.start().0)
                .await;
        let (out, _) = Pattern::new(1, u64::MAX).start();
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        drop((out, inp));
        let verdict = found(&supervisor, link, Finding::Queued, "check").await;
        assert!(verdict.help().contains("arbiter of its own"), "{}", verdict.help());
        end(&supervisor).await;
        drop(hog);
        other.stop();
        other.join().expect("no panic");
    });
}

#[test]
fn a_socket_whose_peer_does_not_read() {
    run(async {
        let supervisor = Supervisor::start();
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let (x, _) = unix::from_stream(theirs, &Default::default()).named("x").start();
        let (out, _) = Pattern::new(1, u64::MAX).start();
        let link = supervisor.attach(&out, &x.inlet).await.expect("attached");
        drop((out, x));
        let verdict = found(&supervisor, link, Finding::NotReady, "x").await;
        assert!(verdict.to_string().starts_with("the other side of `x` does not take data: "), "{verdict}");
        end(&supervisor).await;
        drop(ours);
    });
}

#[test]
fn a_socket_whose_peer_does_not_write() {
    run(async {
        let supervisor = Supervisor::start();
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let (x, _) = unix::from_stream(theirs, &Default::default()).named("x").start();
        let (inp, _) = Check::new(1).start();
        let link = supervisor.attach(&x.outlet, &inp).await.expect("attached");
        drop((inp, x));
        found(&supervisor, link, Finding::SlowSource, "x").await;
        end(&supervisor).await;
        drop(ours);
    });
}

/// Two sockets joined both ways; the peer of `writes` writes all the time, nobody reads.
async fn two_way(writes: usize, blamed: &str) {
    let supervisor = Supervisor::start();
    let (mut ours, mut pairs) = (Vec::new(), Vec::new());
    for name in ["a", "b"] {
        let (our, their) = UnixStream::pair().expect("a pair");
        ours.push(our);
        pairs.push(unix::from_stream(their, &Default::default()).named(name).start().0);
    }
    let (there, _) = supervisor.attach_pair(&pairs[0], &pairs[1]).await.expect("attached");
    drop(pairs);
    let mut writer = ours.remove(writes);
    let wrote = actix_rt::spawn(async move { while writer.write_all(&[7; 10_000]).await.is_ok() {} });
    let verdict = found(&supervisor, there, Finding::NotReady, blamed).await;
    assert!(verdict.share > 0.5, "{verdict:?}");
    end(&supervisor).await;
    within(wrote).await.expect("no panic");
}

#[test]
fn a_two_way_chain_of_which_the_way_there_is_not_read() {
    run(two_way(0, "b"));
}

#[test]
fn a_two_way_chain_of_which_the_way_back_is_not_read() {
    run(two_way(1, "a"));
}

#[test]
fn the_slow_branch_of_the_tee_of_the_blocks() {
    run(async {
        let supervisor = Supervisor::start();
        let (out, _) = Pattern::new(1, u64::MAX).start();
        let tee = tee([Branch::wait(), Branch::wait()]);
        let (fast, slow) = (Discard.start().0, Slow::begin());
        let link = supervisor.attach(&out, &tee.inlet).await.expect("attached");
        supervisor.attach(&tee.left, &fast).await.expect("attached");
        supervisor.attach(&tee.right, &slow.inlet()).await.expect("attached");
        drop((out, tee, fast));
        let verdict = found(&supervisor, link, Finding::SlowConsumer, "Slow").await;
        assert!(verdict.share > 0.5, "{verdict:?}");
        drop(slow);
        end(&supervisor).await;
    });
}
