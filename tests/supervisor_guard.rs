//! Guards: idle, stalled, life and bytes; for a link, a chain and all chains; with abort and with a warning. In paused time.

#[path = "support/supervisor.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod supervisor;
mod support;

use actix::prelude::*;
use bytes::Bytes;
use std::future::Future;
use std::time::Duration;
use supervisor::{Check, Pattern, Silent, event, events_so_far, forgotten};
use support::within;
use tokio::time::Instant;
use versile_io::agent::unix;
use versile_io::component::channel::ByteChannel;
use versile_io::component::link::Waiting;
use versile_io::component::stock::{Duplex, Filter, Outbox, Outcome, PartResult, Sink, Source};
use versile_io::component::writer::ByteWriter;
use versile_io::component::{AddrExt, Inlet, InletEvent, Outlet, OutletEvent};
use versile_io::proto::link::{Reason, Window};
use versile_io::supervisor::{Event, Exceeded, Guards, Overrun, Supervisor, Target};
use versile_io::wire;

const LIMIT: Duration = Duration::from_secs(4);

/// As `support::run`, in paused time: it goes on to the next timer when nothing else is to be done.
fn run(test: impl Future<Output = ()>) {
    support::run(async {
        tokio::time::pause();
        test.await;
        tokio::time::resume();
    });
}

/// Takes all that comes and finishes with none of it.
struct Hoard {
    input: Inlet<Bytes>,
}
impl Actor for Hoard {
    type Context = Context<Self>;
}
wire!(Hoard { inlet input: Bytes => on_input; });
impl Hoard {
    fn start_with(quantity: u64) -> Addr<Self> {
        Hoard { input: Inlet::holding(Window { quantity, messages: 100 }) }.start()
    }
    fn on_input(&mut self, _: InletEvent<Bytes>, _: &mut Context<Self>) {}
}

struct Pass;
impl Filter for Pass {
    type In = Bytes;
    type Out = Bytes;
    fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
        out.push(item);
        Ok(())
    }
}

/// The limit was kept to within an eighth, and a little for the timer's own grain.
fn is_in_time(since: Instant, limit: Duration) {
    let took = since.elapsed();
    assert!(took >= limit && took <= limit + limit / 4 + Duration::from_millis(10), "{took:?} for {limit:?}");
}

#[test]
fn a_stalled_chain_is_aborted_and_the_event_says_who_waits_for_whom() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (out, source) = Pattern::new(1, u64::MAX).start();
        let (fin, fout, _filter) = Pass.start();
        let hoard = Hoard::start_with(5000);
        supervisor.attach(&out, &fin).await.expect("attached");
        let link = supervisor.attach(&fout, &hoard.inlet()).await.expect("attached");
        let start = Instant::now();
        supervisor.guard(Target::ChainOf(link), Guards::default().stalled(LIMIT).idle(LIMIT * 10)).await.expect("set");
        let (path, aborts) = event(&mut events, |e| match e {
            Event::Stalled { path, aborts, .. } => Some((path.to_string(), *aborts)),
            _ => None,
        })
        .await;
        is_in_time(start, LIMIT);
        assert!(aborts);
        assert_eq!(path, "pattern waits for credit of Pass, Pass waits for credit of Hoard, Hoard does not go on");
        let (_, outcome) = within(source).await;
        let Outcome::Aborted(cause) = outcome else { panic!("{outcome}") };
        assert!(matches!(&cause.reason, Reason::TimedOut { after, .. } if *after == LIMIT), "{cause}");
        assert!(cause.to_string().contains("waiting for progress (pattern waits for credit of Pass"), "{cause}");
        drop((out, fin, fout, hoard));
        forgotten(&supervisor).await;
    });
}

#[test]
fn a_source_that_waits_for_data_is_idle_and_not_stalled() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (out, source) = Silent.start();
        let (fin, fout, _filter) = Pass.start();
        let (inp, _sink) = Check::new(1).start();
        let link = supervisor.attach(&out, &fin).await.expect("attached");
        supervisor.attach(&fout, &inp).await.expect("attached");
        let start = Instant::now();
        let guards = Guards::default().stalled(LIMIT / 4).idle(LIMIT);
        supervisor.guard(Target::ChainOf(link), guards).await.expect("set");
        let said = event(&mut events, |e| match e {
            Event::Stalled { .. } | Event::Guarded { .. } => Some(e.to_string()),
            _ => None,
        })
        .await;
        is_in_time(start, LIMIT);
        assert_eq!(said, format!("{link} idle for 4s: Pass waits for data of Silent, Silent does not go on"));
        assert!(matches!(within(source).await.1, Outcome::Aborted(_)));
        drop((out, fin, fout, inp));
        forgotten(&supervisor).await;
    });
}

#[test]
fn a_chain_that_moves_now_and_then_is_neither_and_is_when_it_stops() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (writer, out, _) = ByteWriter::start("now and then", 1024);
        let (inp, sink) = Check::new(0).start();
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        supervisor.guard(Target::Link(link), Guards::default().idle(LIMIT).stalled(LIMIT)).await.expect("set");
        let mut last = Instant::now();
        for at in 0..10 {
            tokio::time::sleep(LIMIT * 3 / 4).await;
            writer.write(Bytes::from(vec![supervisor::byte_at(0, at)])).await.expect("taken");
            last = Instant::now();
        }
        event(&mut events, |e| matches!(e, Event::Guarded { exceeded: Exceeded::Idle(_), .. }).then_some(())).await;
        is_in_time(last, LIMIT);
        assert_eq!(within(sink).await.0.expect("the part").at, 10, "all had passed");
        drop((writer, out, inp));
        forgotten(&supervisor).await;
    });
}

#[test]
fn a_chain_lives_so_long_and_no_longer() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (out, source) = Silent.start();
        let (inp, _sink) = Check::new(1).start();
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        let start = Instant::now();
        supervisor.guard(Target::ChainOf(link), Guards::default().life(LIMIT)).await.expect("set");
        event(&mut events, |e| matches!(e, Event::Guarded { exceeded: Exceeded::Life(LIMIT), .. }).then_some(())).await;
        assert!(
            start.elapsed() >= LIMIT && start.elapsed() < LIMIT + Duration::from_millis(20),
            "{:?}",
            start.elapsed()
        );
        assert!(matches!(within(source).await.1, Outcome::Aborted(_)));
        drop((out, inp));
        forgotten(&supervisor).await;
    });
}

#[test]
fn too_many_bytes_are_a_typed_cause() {
    run(async {
        let supervisor = Supervisor::start();
        let (writer, out, _) = ByteWriter::start("much", 4096);
        let (inp, sink) = Check::new(0).start();
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        supervisor.guard(Target::ChainOf(link), Guards::default().bytes(1000)).await.expect("set");
        let bytes = |from: u64, to: u64| Bytes::from_iter((from..to).map(|at| supervisor::byte_at(0, at)));
        writer.write(bytes(0, 1000)).await.expect("taken");
        tokio::time::sleep(LIMIT).await;
        writer.write(bytes(1000, 1001)).await.expect("1,000 are not too many");
        let (_, outcome) = within(sink).await;
        let Outcome::Aborted(cause) = outcome else { panic!("{outcome}") };
        let Reason::Failed(error) = &cause.reason else { panic!("{cause}") };
        let overrun = error.downcast_ref::<Overrun>().expect("typed");
        assert_eq!((overrun.limit, overrun.passed), (1000, 1001));
        drop((writer, out, inp));
        forgotten(&supervisor).await;
    });
}

#[test]
fn a_warning_comes_once_for_each_time_and_stops_nothing() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (writer, out, _) = ByteWriter::start("now and then", 1024);
        let (inp, _sink) = Check::new(0).start();
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        let guard = supervisor.guard(Target::All, Guards::default().idle(LIMIT).warn()).await.expect("set");
        tokio::time::sleep(LIMIT * 5).await;
        writer.write(Bytes::from(vec![supervisor::byte_at(0, 0)])).await.expect("taken");
        tokio::time::sleep(LIMIT * 5).await;
        assert!(supervisor.unguard(guard).await);
        assert!(!supervisor.unguard(guard).await);
        let all = events_so_far(&supervisor, &mut events).await;
        let warned: Vec<_> = all.iter().filter(|e| matches!(e, Event::Guarded { .. })).map(Event::to_string).collect();
        assert_eq!(warned.len(), 2, "{all:#?}");
        assert!(
            warned[0].starts_with(&format!("{link} idle for 4s")) && warned[0].ends_with("(a warning)"),
            "{warned:?}"
        );
        assert!(!all.iter().any(|e| matches!(e, Event::Aborted { .. })), "{all:#?}");
        supervisor.abort(Target::All, "done").await;
        drop((writer, out, inp));
        forgotten(&supervisor).await;
    });
}

#[test]
fn all_is_each_chain_by_itself_and_those_to_come() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        supervisor.guard(Target::All, Guards::default().stalled(LIMIT)).await.expect("set");
        let (good_out, _good) = Silent.start();
        let (good_in, _) = Check::new(1).start();
        let good = supervisor.attach(&good_out, &good_in).await.expect("attached");
        tokio::time::sleep(LIMIT * 3).await;
        let (out, _bad) = Pattern::new(1, u64::MAX).start();
        let hoard = Hoard::start_with(5000);
        let bad = supervisor.attach(&out, &hoard.inlet()).await.expect("attached");
        let stalled = event(&mut events, |e| match e {
            Event::Stalled { link, .. } => Some(*link),
            _ => None,
        });
        assert_eq!(stalled.await, bad);
        tokio::time::sleep(LIMIT * 3).await;
        let snapshot = supervisor.snapshot().await;
        assert_eq!(snapshot.links.iter().map(|l| l.id).collect::<Vec<_>>(), [good], "{snapshot}");
        let all = events_so_far(&supervisor, &mut events).await;
        assert!(!all.iter().any(|e| matches!(e, Event::Stalled { .. })), "told once: {all:#?}");
        supervisor.abort(Target::All, "done").await;
        drop((good_out, good_in, out, hoard));
        forgotten(&supervisor).await;
    });
}

#[test]
fn a_guard_outlasts_a_splice_and_not_its_chain() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (out, _source) = Silent.start();
        let (inp, _sink) = Check::new(1).start();
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        let guard = supervisor.guard(Target::ChainOf(link), Guards::default().life(LIMIT)).await.expect("set");
        let (fin, fout, _filter) = Pass.start();
        supervisor.insert(link, &fin, &fout).await.expect("spliced");
        event(&mut events, |e| matches!(e, Event::Guarded { .. }).then_some(())).await;
        drop((out, inp, fin, fout));
        forgotten(&supervisor).await;
        assert!(!supervisor.unguard(guard).await);
        let (out, _source) = Silent.start();
        let (inp, _sink) = Check::new(1).start();
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        let guard = supervisor.guard(Target::ChainOf(link), Guards::default().life(LIMIT)).await.expect("set");
        supervisor.abort(Target::All, "done").await;
        drop((out, inp));
        forgotten(&supervisor).await;
        assert!(!supervisor.unguard(guard).await, "gone with its chain");
        assert!(supervisor.guard(Target::ChainOf(link), Guards::default()).await.is_none());
    });
}

/// Takes some and passes on nothing. It says that it waits for data, so that the link behind it is not stalled.
struct Stuck {
    input: Inlet<Bytes>,
    output: Outlet<Bytes>,
}
impl Actor for Stuck {
    type Context = Context<Self>;
}
wire!(Stuck {
    inlet input: Bytes => on_input;
    outlet output: Bytes => on_output;
});
impl Stuck {
    fn on_input(&mut self, _: InletEvent<Bytes>, _: &mut Context<Self>) {}
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {}
}

#[test]
fn a_link_between_two_that_were_spliced_in_is_guarded_too() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (writer, out, _) = ByteWriter::start("writer", 8192);
        let (inp, _sink) = Check::new(1).start();
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        supervisor.guard(Target::ChainOf(link), Guards::default().stalled(LIMIT)).await.expect("set");
        let (fin, fout, _filter) = Pass.start();
        let first = supervisor.insert(link, &fin, &fout).await.expect("spliced");
        let input = Inlet::holding(Window { quantity: 2000, messages: 100 });
        let mut output = Outlet::default();
        output.waiting(Waiting::ForData);
        let stuck = Stuck { input, output }.start();
        let second = supervisor.insert(first.links[1], &stuck.inlet(), &stuck.outlet()).await.expect("spliced");
        writer.write(Bytes::from(vec![0; 3000])).await.expect("taken");
        let stalled = event(&mut events, |e| match e {
            Event::Stalled { link, path, .. } => Some((*link, path.to_string())),
            _ => None,
        });
        let path = "Pass waits for credit of Stuck, Stuck does not go on";
        assert_eq!(stalled.await, (second.links[0], path.to_owned()));
        drop((writer, out, inp, fin, fout, stuck));
        forgotten(&supervisor).await;
    });
}

#[test]
fn stock_components_and_sockets_that_have_nothing_to_do_are_not_stalled() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (x, y) = unix::pair(&Default::default()).expect("a pair");
        let ((x, _x), (y, _y)) = (x.named("x").start(), y.named("y").start());
        supervisor.attach_pair(&x, &y).await.expect("attached");
        let (_a, a, _) = ByteChannel::start("a", 1024);
        let (_b, b, _) = ByteChannel::start("b", 1024);
        supervisor.attach_pair(&a, &b).await.expect("attached");
        let (out, _source) = Silent.start();
        let (fin, fout, _filter) = Pass.start();
        let (inp, _sink) = Check::new(1).start();
        supervisor.attach(&out, &fin).await.expect("attached");
        supervisor.attach(&fout, &inp).await.expect("attached");
        supervisor.guard(Target::All, Guards::default().stalled(LIMIT).warn()).await.expect("set");
        tokio::time::sleep(LIMIT * 5).await;
        let all = events_so_far(&supervisor, &mut events).await;
        assert!(!all.iter().any(|e| matches!(e, Event::Stalled { .. })), "{all:#?}");
        supervisor.abort(Target::All, "done").await;
        drop((x, y, a, b, out, fin, fout, inp));
        forgotten(&supervisor).await;
    });
}

#[test]
fn limits_as_long_and_as_short_as_can_be_are_kept() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (out, _source) = Silent.start();
        let (inp, _sink) = Check::new(1).start();
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        let ever = Duration::MAX;
        let long = Guards::default().idle(ever).stalled(ever).life(ever);
        let long = supervisor.guard(Target::ChainOf(link), long).await.expect("set");
        tokio::time::sleep(LIMIT).await;
        assert!(supervisor.unguard(long).await);
        supervisor.guard(Target::Link(link), Guards::default().idle(Duration::ZERO)).await.expect("set");
        event(&mut events, |e| matches!(e, Event::Guarded { .. }).then_some(())).await;
        drop((out, inp));
        forgotten(&supervisor).await;
    });
}
