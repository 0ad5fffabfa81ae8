//! Watching: events in order to streams and recipients; a slow watcher loses the oldest, counted, and slows nobody.

#[path = "support/elsewhere.rs"]
mod elsewhere;
#[path = "support/supervisor.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod supervisor;
mod support;

use actix::prelude::*;
use elsewhere::on;
use supervisor::{Check, Hash, Pattern, event, forgotten};
use support::{run, until, within};
use tokio::sync::mpsc;
use versile_io::component::stock::{Sink, Source};
use versile_io::supervisor::{Event, EventBatch, RING, Supervisor, Target};

#[test]
fn a_stream_tells_of_a_link_from_its_making_to_its_end() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (out, _) = Pattern::new(1, 100).start();
        let (inp, _) = Check::new(1).start();
        let link = supervisor.attach(&out, &inp).await.expect("attached");
        drop((out, inp));
        let mut told = Vec::new();
        while told.len() < 4 {
            told.push(within(events.next()).await.expect("lives").to_string());
        }
        assert_eq!(told[0], format!("{link} attached: pattern -> check"));
        let mut rest = told.split_off(1);
        rest.sort();
        assert_eq!(rest, ["check gone".into(), format!("{link} ended at 100"), "pattern gone".into()]);
        assert_eq!(events.missed(), 0);
        drop(supervisor);
        assert!(within(events.next()).await.is_none(), "ends with the supervisor");
    });
}

#[test]
fn a_slow_watcher_loses_the_oldest_counted_and_slows_nobody() {
    run(async {
        let supervisor = Supervisor::start();
        let mut slow = supervisor.watch().await;
        let mut quick = supervisor.watch().await;
        // three events or four for each link; some are in flight when the ring fills
        let links = RING;
        for n in 0..links as u64 {
            let (out, _) = Pattern::new(n, 10).start();
            let (inp, sink) = Check::new(n).start();
            let link = supervisor.attach(&out, &inp).await.expect("attached");
            assert_eq!(within(sink).await.0.expect("the part").hash, Hash::of(n, 10));
            event(&mut quick, |e| matches!(e, Event::Ended { link: l, .. } if *l == link).then_some(())).await;
        }
        forgotten(&supervisor).await;
        assert_eq!(quick.missed(), 0);
        let (mut seen, mut last) = (0, None);
        while let Some(Some(event)) = futures_util::FutureExt::now_or_never(slow.next()) {
            seen += 1;
            if let Event::Attached { link, .. } = event {
                assert!(last.is_none_or(|last| link > last), "in order");
                last = Some(link);
            }
            tokio::task::yield_now().await;
        }
        assert!(slow.missed() > 0 && seen >= RING, "missed {} of {seen}", slow.missed());
        assert_eq!(seen as u64 + slow.missed(), 4 * links as u64, "each is seen or counted");
    });
}

struct Listener(mpsc::UnboundedSender<EventBatch>);
impl Actor for Listener {
    type Context = Context<Self>;
}
impl Handler<EventBatch> for Listener {
    type Result = ();
    fn handle(&mut self, batch: EventBatch, _: &mut Context<Self>) {
        let _ = self.0.send(batch);
    }
}

#[test]
fn a_recipient_is_told_and_not_kept_alive() {
    run(async {
        let supervisor = Supervisor::start();
        let arbiter = Arbiter::new();
        let (tx, mut rx) = mpsc::unbounded_channel();
        let listener = on(&arbiter.handle(), move || Listener(tx).start()).await;
        supervisor.watch_with(listener.clone().recipient()).await;
        let (out, _source) = Pattern::new(1, u64::MAX).start();
        let (inp, _sink) = Check::new(1).start();
        supervisor.attach(&out, &inp).await.expect("attached");
        let batch = within(rx.recv()).await.expect("told");
        assert!(matches!(batch.events[0], Event::Attached { .. }) && batch.missed == 0);
        // the supervisor holds it weakly: it ends with its last address
        drop(listener);
        within(async { while rx.recv().await.is_some() {} }).await;
        supervisor.abort(Target::All, "done").await;
        drop((out, inp));
        forgotten(&supervisor).await;
        arbiter.stop();
        let _ = tokio::task::spawn_blocking(move || arbiter.join()).await;
    });
}

#[test]
fn a_stream_that_is_dropped_is_no_watcher_any_more() {
    run(async {
        let supervisor = Supervisor::start();
        for _ in 0..100 {
            drop(supervisor.watch().await);
        }
        let mut events = supervisor.watch().await;
        for n in 0..3 {
            let (out, _) = Pattern::new(n, 10).start();
            let (inp, _) = Check::new(n).start();
            let link = supervisor.attach(&out, &inp).await.expect("attached");
            event(&mut events, |e| matches!(e, Event::Ended { link: l, .. } if *l == link).then_some(())).await;
        }
        assert_eq!(supervisor.snapshot().await.watchers, 1);
        forgotten(&supervisor).await;
    });
}

#[test]
fn a_system_has_one_default_supervisor_and_the_next_system_another() {
    let _one = support::serial();
    let first = System::new().block_on(async {
        let here = Supervisor::current();
        let mut events = here.watch().await;
        // the same from another arbiter, where the chain lives too
        let arbiter = Arbiter::new();
        let sink = on(&arbiter.handle(), || {
            let (out, _) = Pattern::new(1, 1000).start();
            let (inp, sink) = Check::new(1).start();
            actix::spawn(async move { Supervisor::current().attach(&out, &inp).await.map(drop).expect("attached") });
            sink
        })
        .await;
        event(&mut events, |e| matches!(e, Event::Ended { clean: true, .. }).then_some(())).await;
        assert!(within(sink).await.1.is_clean());
        forgotten(&here).await;
        arbiter.stop();
        let _ = tokio::task::spawn_blocking(move || arbiter.join()).await;
        here
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    assert!(runtime.block_on(first.snapshot()).components.is_empty(), "gone with its system");
    System::new().block_on(async {
        let (out, _) = Pattern::new(1, 1000).start();
        let (inp, sink) = Check::new(1).start();
        Supervisor::current().attach(&out, &inp).await.expect("attached");
        assert!(within(sink).await.1.is_clean());
        // from a plain thread
        let supervisor = Supervisor::current();
        let snapshot = tokio::task::spawn_blocking(move || components_seen_by(supervisor)).await.expect("ran");
        assert!(snapshot <= 2);
        until("nothing is left", || versile_io::component::census::census().links == 0).await;
    });
}

fn components_seen_by(supervisor: Supervisor) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(supervisor.snapshot()).components.len()
}
