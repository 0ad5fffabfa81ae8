//! Abort and teardown: one cause for all of a chain, told once, also past links that have ended; stragglers are named.

#[path = "support/elsewhere.rs"]
mod elsewhere;
#[path = "support/supervisor.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod supervisor;
mod support;

use actix::prelude::*;
use bytes::Bytes;
use elsewhere::on;
use std::sync::Arc;
use supervisor::{Check, Pattern, Silent, event, events_so_far, forgotten};
use support::{run, within};
use versile_io::component::stock::{Filter, Outbox, Outcome, PartResult, Sink, Source};
use versile_io::component::writer::ByteWriter;
use versile_io::component::{AddrExt, Inlet, InletEvent, Outlet, OutletEvent, join};
use versile_io::proto::link::Cause;
use versile_io::supervisor::{Event, GRACE, Supervisor, Target};
use versile_io::wire;

struct Pass;
impl Filter for Pass {
    type In = Bytes;
    type Out = Bytes;
    fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
        out.push(item);
        Ok(())
    }
}

#[test]
fn each_component_is_told_the_one_cause_and_the_events_come_once() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (out, source) = Pattern::new(1, u64::MAX).start();
        let (fin, fout, filter) = Pass.start();
        let (inp, sink) = Check::new(1).start();
        let one = supervisor.attach(&out, &fin).await.expect("attached");
        let two = supervisor.attach(&fout, &inp).await.expect("attached");
        assert_eq!(supervisor.abort(Target::ChainOf(one), "enough").await, 3);
        let (part, outcome) = within(sink).await;
        assert_eq!(part.expect("the part").causes.len(), 1);
        for outcome in [outcome, within(filter).await.1, within(source).await.1] {
            assert_eq!(outcome.to_string(), "aborted: supervisor: aborted on request: enough");
        }
        drop((out, fin, fout, inp));
        forgotten(&supervisor).await;
        let all = events_so_far(&supervisor, &mut events).await;
        for link in [one, two] {
            let aborted = all.iter().filter(|e| matches!(e, Event::Aborted { link: l, .. } if *l == link)).count();
            assert_eq!(aborted, 1, "{all:#?}");
        }
        let torn: Vec<_> = all.iter().filter(|e| matches!(e, Event::TornDown { .. })).map(|e| e.to_string()).collect();
        assert_eq!(torn, ["chain torn down after supervisor: aborted on request: enough"]);
        assert_eq!(all.iter().filter(|e| matches!(e, Event::ComponentGone { .. })).count(), 3);
        forgotten(&supervisor).await;
    });
}

#[test]
fn an_ended_link_is_told_of_once() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (out, _) = Pattern::new(1, 1000).start();
        let (inp, sink) = Check::new(1).start();
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        assert!(within(sink).await.1.is_clean());
        forgotten(&supervisor).await;
        let all = events_so_far(&supervisor, &mut events).await;
        let ended: Vec<_> = all.iter().filter(|e| matches!(e, Event::Ended { .. })).map(|e| e.to_string()).collect();
        assert_eq!(ended, [format!("{link} ended at 1000")]);
        assert!(!all.iter().any(|e| matches!(e, Event::Aborted { .. } | Event::TornDown { .. })), "{all:#?}");
        forgotten(&supervisor).await;
    });
}

#[test]
fn all_is_one_teardown_for_each_chain() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let ends: Vec<_> = (0..5).map(|n| (Pattern::new(n, u64::MAX).start(), Check::new(n).start())).collect();
        for (source, sink) in &ends {
            supervisor.attach(&source.0, &sink.0).await.expect("attached");
        }
        assert_eq!(supervisor.abort(Target::All, "enough").await, 10);
        drop(ends);
        forgotten(&supervisor).await;
        let all = events_so_far(&supervisor, &mut events).await;
        assert_eq!(all.iter().filter(|e| matches!(e, Event::TornDown { .. })).count(), 5, "{all:#?}");
        forgotten(&supervisor).await;
    });
}

/// Takes an end and stays.
struct Outlasts {
    input: Inlet<Bytes>,
    output: Outlet<Bytes>,
    told: Option<tokio::sync::oneshot::Sender<Arc<Cause>>>,
}
impl Actor for Outlasts {
    type Context = Context<Self>;
}
wire!(Outlasts {
    inlet input: Bytes => on_input;
    outlet output: Bytes => on_output;
    aborted => on_abort;
});
impl Outlasts {
    fn on_input(&mut self, _: InletEvent<Bytes>, _: &mut Context<Self>) {}
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {}
    fn on_abort(&mut self, cause: &Arc<Cause>, _: &mut Context<Self>) {
        let _ = self.told.take().map(|told| told.send(cause.clone()));
    }
}

#[test]
fn an_abort_reaches_a_component_whose_link_has_ended() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (tx, told) = tokio::sync::oneshot::channel();
        let (out, source) = Pattern::new(1, 10).start();
        let first = Outlasts { input: Inlet::default(), output: Outlet::default(), told: Some(tx) }.start();
        let second = Outlasts { input: Inlet::default(), output: Outlet::default(), told: None }.start();
        // a link that ends between two components that stay
        supervisor.attach(&out, &first.inlet()).await.expect("attached");
        let between = supervisor.attach(&first.outlet(), &second.inlet()).await.expect("attached");
        let (inp, _sink) = Check::new(1).start();
        let last = supervisor.attach(&second.outlet(), &inp).await.expect("attached");
        within(source).await;
        first.do_send(End);
        event(&mut events, |e| matches!(e, Event::Ended { link, .. } if *link == between).then_some(())).await;
        supervisor.abort(Target::ChainOf(last), "enough").await;
        assert_eq!(within(told).await.expect("told").to_string(), "supervisor: aborted on request: enough");
        drop((first, second, out, inp));
        forgotten(&supervisor).await;
    });
}

#[derive(Message)]
#[rtype(result = "()")]
struct End;
impl Handler<End> for Outlasts {
    type Result = ();
    fn handle(&mut self, _: End, _: &mut Context<Self>) {
        self.output.end(true);
    }
}

/// Whose turn runs on until it is let go.
struct Stalls {
    input: Inlet<Bytes>,
    gate: std::sync::mpsc::Receiver<()>,
    entered: Option<tokio::sync::oneshot::Sender<()>>,
}
impl Actor for Stalls {
    type Context = Context<Self>;
}
wire!(Stalls { inlet input: Bytes => on_input; });
impl Stalls {
    fn on_input(&mut self, event: InletEvent<Bytes>, _: &mut Context<Self>) {
        if matches!(event, InletEvent::Item(_)) {
            let _ = self.entered.take().map(|entered| entered.send(()));
            let _ = self.gate.recv_timeout(std::time::Duration::from_secs(30));
        }
    }
}

#[test]
fn what_has_not_stopped_after_the_grace_period_is_named() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let arbiter = Arbiter::new();
        let (go_on, gate) = std::sync::mpsc::channel();
        let (tx, entered) = tokio::sync::oneshot::channel();
        let stalls = Stalls { input: Inlet::default(), gate, entered: Some(tx) };
        let inp = on(&arbiter.handle(), move || stalls.start().inlet()).await;
        let (out, source) = Pattern::new(1, 100).start();
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        within(entered).await.expect("its turn runs");
        let started = std::time::Instant::now();
        // A2: what its producer has sent before it ended is not handled any more
        supervisor.abort(Target::ChainOf(link), "enough").await;
        let stopped = event(&mut events, |e| match e {
            Event::TornDown { stopped, .. } => Some(stopped.clone()),
            _ => None,
        })
        .await;
        assert!(started.elapsed() >= GRACE);
        assert_eq!(stopped.iter().map(|name| &**name).collect::<Vec<_>>(), ["Stalls"]);
        // it may have ended before it was told
        let _ = within(source).await;
        go_on.send(()).expect("waits");
        drop((inp, out));
        forgotten(&supervisor).await;
        arbiter.stop();
        let _ = tokio::task::spawn_blocking(move || arbiter.join()).await;
    });
}

#[test]
fn a_chain_whose_supervisor_is_gone_still_works_and_still_tears_down() {
    run(async {
        let arbiter = Arbiter::new();
        let supervisor = on(&arbiter.handle(), Supervisor::start).await;
        let (writer, out, source) = ByteWriter::start("writer", 1000);
        let check = Check::new(1);
        let progress = check.progress.clone();
        let (inp, sink) = check.start();
        supervisor.attach(&out, &inp).await.expect("attached");
        drop((out, inp));
        arbiter.stop();
        let _ = tokio::task::spawn_blocking(move || arbiter.join()).await;
        assert!(supervisor.snapshot().await.links.is_empty());
        let piece: Vec<u8> = (0..5000).map(|at| supervisor::byte_at(1, at)).collect();
        within(writer.write(piece)).await.expect("written");
        within(progress.reaches(5000)).await;
        writer.abort("enough");
        for outcome in [within(source).await.1, within(sink).await.1] {
            assert_eq!(outcome.to_string(), "aborted: writer: aborted on request: enough");
        }
    });
}

#[test]
fn two_causes_at_once_are_one_teardown_with_both() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (out, one) = Silent.start();
        let (fin, fout, two) = Pass.start();
        let (inp, three) = Check::new(1).start();
        let first = supervisor.attach(&out, &fin).await.expect("attached");
        let second = supervisor.attach(&fout, &inp).await.expect("attached");
        let (a, b) = tokio::join!(
            supervisor.abort(Target::ChainOf(first), "one"),
            supervisor.abort(Target::ChainOf(second), "two")
        );
        assert!(a == 3 && b <= 3, "{a} {b}");
        drop((out, fin, fout, inp));
        let outcomes = [within(one).await.1, within(two).await.1, within(three).await.1];
        assert!(outcomes.iter().all(|o| o.to_string().ends_with(": one")), "{outcomes:?}");
        forgotten(&supervisor).await;
        let all = events_so_far(&supervisor, &mut events).await;
        let torn: Vec<_> = all
            .iter()
            .filter_map(|e| match e {
                Event::TornDown { cause, others, .. } => Some((cause.to_string(), others.len())),
                _ => None,
            })
            .collect();
        assert_eq!(torn, [("supervisor: aborted on request: one".to_owned(), 1)]);
        forgotten(&supervisor).await;
    });
}

#[test]
fn a_link_of_a_factory_that_dies_before_both_ends_are_known_leaves_nothing_in_the_graph() {
    run(async {
        let supervisor = Supervisor::start();
        let arbiter = Arbiter::new();
        for n in 0..200 {
            let (out, source) = Silent.start();
            let fault = supervisor::Fault { at: 0, panic: n % 2 == 0, when: Arc::default() };
            let (dead_out, inp) = on(&arbiter.handle(), move || {
                let (inp, _) = Check::new(0).start();
                (Pattern { fault: Some(fault), ..Pattern::new(0, 1) }.start().0, inp)
            })
            .await;
            join(&dead_out, &inp, Some(supervisor.observer()));
            // refused by one side or the other, with nobody to ask
            join(&out, &inp, Some(supervisor.observer()));
            drop((out, dead_out, inp));
            assert!(matches!(within(source).await.1, Outcome::Aborted(_) | Outcome::Gone));
        }
        forgotten(&supervisor).await;
        arbiter.stop();
        let _ = tokio::task::spawn_blocking(move || arbiter.join()).await;
    });
}
