//! Blame, on running chains. (Its table of situations: `src/supervisor/blame.rs`.)

#[path = "support/supervisor.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod supervisor;
mod support;

use actix::prelude::*;
use bytes::Bytes;
use std::time::Duration;
use supervisor::{Check, Pattern, Silent, forgotten};
use support::{run, within};
use versile_io::agent::unix;
use versile_io::component::stock::{Duplex, Filter, Outbox, PartResult, Sink, Source};
use versile_io::component::{AddrExt, Inlet, InletEvent, Outlet, OutletEvent};
use versile_io::proto::link::{LinkId, Window};
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
