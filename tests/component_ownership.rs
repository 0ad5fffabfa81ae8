//! Who keeps whom alive: a live chain outlasts its handles, an abandoned one ends, and nothing sent is lost on the way.

#[path = "support/elsewhere.rs"]
mod elsewhere;
#[path = "support/gather.rs"]
mod gather;
#[path = "support/items.rs"]
mod items;
mod support;

use actix::prelude::*;
use elsewhere::on;
use gather::Gather;
use items::Items;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{run, until, within};
use versile_io::component::link::{Note, Observer};
use versile_io::component::stock::{Filter, Outbox, Outcome, PartResult, Sink, Source};
use versile_io::component::writer::ByteWriter;
use versile_io::component::{AddrExt, Inlet, InletEvent, Outlet, OutletEvent, join};
use versile_io::proto::link::{Cause, LinkState, Origin, Reason, Window};
use versile_io::wire;

struct Same;
impl Filter for Same {
    type In = u32;
    type Out = u32;
    fn apply(&mut self, item: u32, out: &mut Outbox<u32>) -> PartResult {
        out.push(item);
        Ok(())
    }
}

#[test]
fn a_live_chain_outlasts_its_handles() {
    run(async {
        let (out, source) = Items::new(0..100_000u32, Some(true)).start();
        let (fin, fout, _) = Same.start();
        let (fin2, fout2, _) = Same.start();
        let (inp, sink) = Gather::new(Window::of(10)).start();
        join(&out, &fin, None);
        join(&fout, &fin2, None);
        join(&fout2, &inp, None);
        drop((out, fin, fout, fin2, fout2, inp, source));
        let (sink, outcome) = within(sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(sink.expect("the part").got.len(), 100_000);
    });
}

#[test]
fn a_chain_without_a_producer_ends_when_its_handles_are_dropped() {
    run(async {
        let (fin, fout, filter) = Same.start();
        let (inp, sink) = Gather::new(Window::default()).start();
        let link = join(&fout, &inp, None);
        until("open", || link.cell().outlet_state() == LinkState::Open).await;
        drop((fin, fout, inp));
        assert!(matches!(within(filter).await.1, Outcome::Gone));
        let Outcome::Aborted(cause) = within(sink).await.1 else { panic!("aborted") };
        assert_eq!(cause.to_string(), "Same: stopped while a link depended on it");
    });
}

#[test]
fn components_that_were_never_joined_leave_nothing() {
    run(async {
        let (out, source) = Items::new(0..10u32, Some(true)).start();
        let (fin, fout, filter) = Same.start();
        let (inp, sink) = Gather::<u32>::new(Window::default()).start();
        drop((out, fin, fout, inp));
        assert!(matches!(within(source).await.1, Outcome::Gone));
        assert!(matches!(within(filter).await.1, Outcome::Gone));
        assert!(matches!(within(sink).await.1, Outcome::Gone));
    });
}

#[test]
fn a_source_with_data_and_no_credit_survives() {
    run(async {
        let (out, source) = Items::new(0..10u32, Some(true)).start();
        let gate = Gate { input: Inlet::manual(), got: Arc::default() };
        let got = gate.got.clone();
        let gate = gate.start();
        let link = join(&out, &gate.inlet(), None);
        drop((out, source));
        until("open", || link.cell().outlet_state() == LinkState::Open).await;
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        assert!(link.cell().cause().is_none(), "nobody ended it for want of credit");
        gate.do_send(Allow(100));
        until("all", || got.load(SeqCst) == 10).await;
        drop(link);
    });
}

/// Takes what it is allowed by a message.
struct Gate {
    input: Inlet<u32>,
    got: Arc<AtomicUsize>,
}
#[derive(Message)]
#[rtype(result = "()")]
struct Allow(u64);
impl Actor for Gate {
    type Context = Context<Self>;
}
wire!(Gate { inlet input: u32 => on_input; });
impl Handler<Allow> for Gate {
    type Result = ();
    fn handle(&mut self, allow: Allow, _: &mut Context<Self>) {
        self.input.grant(versile_io::proto::link::Credit::of(allow.0));
    }
}
impl Gate {
    fn on_input(&mut self, event: InletEvent<u32>, _: &mut Context<Self>) {
        if let InletEvent::Item(_) = event {
            self.got.fetch_add(1, SeqCst);
        }
    }
}

/// Pushes as it is told; has no future of its own.
struct Pusher {
    output: Outlet<u32>,
    left: Vec<u32>,
}
impl Actor for Pusher {
    type Context = Context<Self>;
}
wire!(Pusher { outlet output: u32 => on_output; });
impl Pusher {
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {
        while self.output.is_ready() {
            match self.left.pop() {
                Some(item) => self.output.push(item).expect("ready"),
                None => return self.output.end(true),
            }
        }
    }
}

#[test]
fn a_hundred_items_that_wait_for_credit_are_delivered_after_all_handles_are_dropped() {
    run(async {
        let pusher = Pusher { output: Outlet::default(), left: (0..100).rev().collect() }.start();
        // one at a time, on another arbiter, so that the pusher is idle in between
        let arbiter = Arbiter::new();
        let (inp, sink) = on(&arbiter.handle(), || Gather::new(Window { quantity: 1, messages: 1 }).start()).await;
        join(&pusher.outlet(), &inp, None);
        drop((pusher, inp));
        let (sink, outcome) = within(sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(sink.expect("the part").got, (0..100).collect::<Vec<_>>());
        arbiter.stop();
        arbiter.join().expect("joined");
    });
}

/// Keeps the way to the components.
#[derive(Default)]
struct Notes(Mutex<Vec<Note>>);
impl Observer for Notes {
    fn note(&self, note: Note) {
        self.0.lock().expect("whole").push(note);
    }
}

#[test]
fn two_components_in_a_circle_hold_each_other_until_one_is_aborted() {
    run(async {
        let (fin, fout, a) = Same.start();
        let (fin2, fout2, b) = Same.start();
        let notes = Arc::new(Notes::default());
        let link = join(&fout, &fin2, Some(notes.clone()));
        join(&fout2, &fin, None);
        drop((fin, fout, fin2, fout2));
        until("open", || link.cell().outlet_state() == LinkState::Open).await;
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        let cause = Cause::new(Reason::ShutDown, Origin::component("the test"));
        match notes.0.lock().expect("whole").drain(..).next() {
            Some(Note::Reserved { component, .. }) => {
                assert!(component.manage.is_alive(), "nobody ended it: no root, by design");
                component.manage.abort(&cause);
            }
            other => panic!("{other:?}"),
        }
        for outcome in [within(a).await.1, within(b).await.1] {
            let Outcome::Aborted(told) = outcome else { panic!("{outcome}") };
            assert_eq!(told.to_string(), cause.to_string());
        }
        notes.0.lock().expect("whole").clear();
    });
}

/// The last handle is dropped on another thread right after an end, an abort or items were sent: the consumer still hears of
/// the terminal event, whichever comes first. `VERSILE_SEEDS` runs more rounds.
#[test]
fn a_terminal_message_is_not_lost_when_the_last_handle_goes_at_the_same_time() {
    let seconds = match std::env::var("VERSILE_SEEDS") {
        Ok(n) => n.parse::<u64>().expect("a number") / 100,
        Err(_) => 2,
    };
    run(async move {
        let arbiter = Arbiter::new();
        let far = arbiter.handle();
        let started = Instant::now();
        let (mut rounds, mut clean, mut unclean, mut aborted) = (0u32, 0u32, 0u32, 0u32);
        while rounds < 200 || started.elapsed() < Duration::from_secs(seconds) {
            let kind = rounds % 3;
            let (inp, sink) = on(&far, || {
                let (inp, sink) = Gather::<bytes::Bytes>::new(Window::of(8)).start();
                (inp, sink)
            })
            .await;
            let (writer, out, source) = ByteWriter::start("w", 100);
            join(&out, &inp, None);
            // the only handle on the consumer, dropped over there; on the source, here
            let (spin, kill) = (fastrand::u32(0..300), inp);
            far.spawn(async move {
                for _ in 0..spin {
                    std::hint::spin_loop();
                }
                drop(kill);
            });
            drop(out);
            writer.try_write("twelve bytes").expect("room");
            match kind {
                0 => writer.end(true),
                1 => drop(writer.clone()),
                _ => {
                    if fastrand::bool() {
                        tokio::task::yield_now().await;
                    }
                    writer.abort("broken");
                }
            }
            drop(writer);
            let (sink, outcome) = within(sink).await;
            let sink = sink.expect("told, not gone without a word");
            match outcome {
                Outcome::Ended { clean: is_clean } => {
                    assert_eq!(sink.got.concat(), b"twelve bytes", "round {rounds}");
                    assert_eq!(is_clean, kind == 0);
                    if is_clean { clean += 1 } else { unclean += 1 }
                }
                Outcome::Aborted(_) => {
                    assert_eq!(sink.causes.len(), 1, "round {rounds}");
                    assert_eq!(kind, 2, "round {rounds}");
                    aborted += 1;
                }
                other => panic!("round {rounds}: {other}"),
            }
            drop(source);
            rounds += 1;
        }
        println!("{rounds} rounds: {clean} clean, {unclean} unclean, {aborted} aborted");
        assert_eq!(clean + unclean + aborted, rounds);
        arbiter.stop();
        arbiter.join().expect("joined");
    });
}
