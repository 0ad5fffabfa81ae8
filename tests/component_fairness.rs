//! Rules F1 and C1: a flood of small items across arbiters neither fills a mailbox nor makes a turn run long.

#[path = "support/elsewhere.rs"]
mod elsewhere;
mod support;

use actix::prelude::*;
use bytes::Bytes;
use elsewhere::on;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};
use support::{run, until, within};
use versile_io::component::stock::{PartResult, Pull, Source};
use versile_io::component::writer::ByteWriter;
use versile_io::component::{AddrExt, Inlet, InletEvent, Outlet, OutletEvent, join};
use versile_io::proto::link::{Credit, LinkState, Window};
use versile_io::wire;

/// One byte at a time, as fast as credit allows.
struct Flood(u64);
impl Source for Flood {
    type Out = Bytes;
    fn poll_pull(&mut self, _: Credit, _: &mut TaskContext<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        if self.0 == 0 {
            return Poll::Ready(Ok(Pull::End { clean: true }));
        }
        self.0 -= 1;
        Poll::Ready(Ok(Pull::Item(Bytes::from_static(b"x"))))
    }
}

/// Counts how many messages it is given between two turns of a future of its own.
struct Meter {
    input: Inlet<Bytes>,
    bytes: Arc<AtomicU64>,
    messages: Arc<AtomicU64>,
    in_this_turn: u64,
    longest: Arc<AtomicU64>,
    watched: bool,
    work: Duration,
}
impl Actor for Meter {
    type Context = Context<Self>;
}
wire!(Meter { inlet input: Bytes => on_input; });
impl Meter {
    fn on_input(&mut self, event: InletEvent<Bytes>, ctx: &mut Context<Self>) {
        match event {
            InletEvent::Item(item) => {
                self.bytes.fetch_add(item.len() as u64, SeqCst);
                self.messages.fetch_add(1, SeqCst);
                self.in_this_turn += 1;
                self.longest.fetch_max(self.in_this_turn, SeqCst);
                let busy = Instant::now();
                while busy.elapsed() < self.work {
                    std::hint::spin_loop();
                }
                if !self.watched {
                    // actix polls it once the mailbox is empty: the end of the turn
                    self.watched = true;
                    ctx.spawn(actix::fut::wrap_future(async {}).map(|(), act: &mut Self, _| {
                        act.watched = false;
                        act.in_this_turn = 0;
                    }));
                }
            }
            InletEvent::End { .. } => ctx.stop(),
            _ => {}
        }
    }
}

#[test]
fn f1_no_turn_of_a_flooded_consumer_is_longer_than_its_message_limit() {
    run(async {
        let arbiters = [Arbiter::new(), Arbiter::new()];
        let (bytes, messages, longest) =
            (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (b, m, l) = (bytes.clone(), messages.clone(), longest.clone());
        let meter = on(&arbiters[0].handle(), move || {
            let (in_this_turn, watched, work) = (0, false, Duration::from_micros(2));
            let input = Inlet::default();
            Meter { input, bytes: b, messages: m, in_this_turn, longest: l, watched, work }.start()
        })
        .await;
        let total = 200_000;
        let out = on(&arbiters[1].handle(), move || Flood(total).start().0).await;
        // another actor's timer on the consumer's arbiter must not starve
        let ticks = Arc::<AtomicU64>::default();
        let t = ticks.clone();
        let late = Arc::<AtomicU64>::default();
        let lateness = late.clone();
        arbiters[0].spawn(async move {
            loop {
                let asked = Instant::now();
                tokio::time::sleep(Duration::from_millis(1)).await;
                lateness.fetch_max(asked.elapsed().as_micros() as u64, SeqCst);
                t.fetch_add(1, SeqCst);
            }
        });
        let link = join(&out, &meter.inlet(), None);
        drop((out, meter));
        let most = Arc::<AtomicU64>::default();
        until("all", || {
            let (sent, taken) = (link.cell().produced(), link.cell().accepted());
            most.fetch_max(sent.messages.saturating_sub(taken.messages), SeqCst);
            bytes.load(SeqCst) == total
        })
        .await;
        let window = Window::DEFAULT_MESSAGES;
        // the turn in which the grant leaves may find what was granted before, and what follows from it: two windows
        let longest = longest.load(SeqCst);
        assert!(longest <= 2 * window, "{longest} messages in one turn");
        assert!(most.load(SeqCst) <= window + 8, "{most:?} in flight");
        assert!(ticks.load(SeqCst) > 0, "the timer ran");
        assert!(late.load(SeqCst) < 100_000, "a timer was {late:?} us late");
        println!("longest turn {longest}, in flight {most:?}, lateness {late:?} us");
        drop(link);
        for arbiter in arbiters {
            arbiter.stop();
            arbiter.join().expect("joined");
        }
    });
}

#[test]
fn c1_a_consumer_that_stands_still_is_sent_no_more_messages_than_it_granted() {
    run(async {
        let arbiters = [Arbiter::new(), Arbiter::new()];
        // it stands still inside its first item
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let still = on(&arbiters[0].handle(), move || Still { input: Inlet::default(), wait }.start()).await;
        let out = on(&arbiters[1].handle(), || Flood(u64::MAX).start().0).await;
        let link = join(&out, &still.inlet(), None);
        drop((out, still));
        until("blocked", || link.cell().accepted().messages >= 1).await;
        until("all that was granted", || link.cell().produced().messages >= Window::DEFAULT_MESSAGES).await;
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_micros(200)).await;
            let sent = link.cell().produced();
            assert_eq!(sent.messages, Window::DEFAULT_MESSAGES, "not one more than the limit");
            assert!(link.cell().in_flight() <= Window::DEFAULT_MESSAGES);
        }
        drop(release);
        until("stopped", || link.cell().cause().is_some()).await;
        drop(link);
        for arbiter in arbiters {
            arbiter.stop();
            arbiter.join().expect("joined");
        }
    });
}

struct Still {
    input: Inlet<Bytes>,
    wait: std::sync::mpsc::Receiver<()>,
}
impl Actor for Still {
    type Context = Context<Self>;
}
wire!(Still { inlet input: Bytes => on_input; });
impl Still {
    fn on_input(&mut self, event: InletEvent<Bytes>, ctx: &mut Context<Self>) {
        if let InletEvent::Item(_) = event {
            let _ = self.wait.recv();
            ctx.stop();
        }
    }
}

/// Pushes one byte per message that it gets, whether there is credit or not.
struct Dribble {
    output: Outlet<Bytes>,
    pushed: u64,
}
#[derive(Message)]
#[rtype(result = "()")]
struct Push(u64);
impl Actor for Dribble {
    type Context = Context<Self>;
}
wire!(Dribble { outlet output: Bytes => on_output; });
impl Dribble {
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {}
}
impl Handler<Push> for Dribble {
    type Result = ();
    fn handle(&mut self, push: Push, _: &mut Context<Self>) {
        for _ in 0..push.0 {
            self.output.push(Bytes::from_static(b"x")).expect("joined while they fit");
            self.pushed += 1;
        }
        self.output.end(true);
    }
}

#[test]
fn c1_small_writes_that_wait_for_credit_are_joined() {
    run(async {
        let (bytes, messages) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let input = Inlet::new(Window { quantity: 100_000, messages: 4 });
        let meter = Meter {
            input,
            bytes: bytes.clone(),
            messages: messages.clone(),
            in_this_turn: 0,
            longest: Arc::default(),
            watched: false,
            work: Duration::ZERO,
        }
        .start();
        let dribble = Dribble { output: Outlet::default(), pushed: 0 }.start();
        let link = join(&dribble.outlet(), &meter.inlet(), None);
        until("open", || link.cell().outlet_state() == LinkState::Open && link.cell().limit().messages == 4).await;
        dribble.send(Push(10_000)).await.expect("pushed");
        drop((dribble, meter));
        until("all", || bytes.load(SeqCst) == 10_000).await;
        let messages = messages.load(SeqCst);
        assert!(messages <= 6, "four at once, and the rest in one: {messages}");
        drop(link);
    });
}

#[test]
fn f1_a_source_that_is_never_dry_leaves_others_their_turns() {
    run(async {
        // on one arbiter: endless source and sink; a plain task gets its turns all the same
        let input = Inlet::default();
        let bytes = Arc::<AtomicU64>::default();
        let meter = Meter {
            input,
            bytes: bytes.clone(),
            messages: Arc::default(),
            in_this_turn: 0,
            longest: Arc::default(),
            watched: false,
            work: Duration::ZERO,
        }
        .start();
        let (out, source) = Flood(u64::MAX).start();
        join(&out, &meter.inlet(), None);
        drop(out);
        until("flowing", || bytes.load(SeqCst) > 1000).await;
        let mut worst = Duration::ZERO;
        for _ in 0..2000 {
            let asked = Instant::now();
            tokio::task::yield_now().await;
            worst = worst.max(asked.elapsed());
        }
        assert!(worst < Duration::from_millis(200), "{worst:?}");
        // a writer's flood of one-byte writes beside it
        let (writer, out, _done) = ByteWriter::start("w", 1 << 20);
        let other = Meter {
            input: Inlet::default(),
            bytes: Arc::default(),
            messages: Arc::default(),
            in_this_turn: 0,
            longest: Arc::default(),
            watched: false,
            work: Duration::ZERO,
        };
        let other_bytes = other.bytes.clone();
        join(&out, &other.start().inlet(), None);
        drop(out);
        for _ in 0..20_000 {
            writer.try_write("y").expect("room");
        }
        writer.end(true);
        until("the writer's", || other_bytes.load(SeqCst) == 20_000).await;
        meter.do_send(StopNow);
        assert!(!within(source).await.1.is_clean());
    });
}

#[derive(Message)]
#[rtype(result = "()")]
struct StopNow;
impl Handler<StopNow> for Meter {
    type Result = ();
    fn handle(&mut self, _: StopNow, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}
