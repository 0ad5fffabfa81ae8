//! Shutdown: chains drain, or are aborted at the deadline; none, twice, and with chains attached meanwhile.

#[path = "support/supervisor.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod supervisor;
mod support;

use std::time::{Duration, Instant};
use supervisor::{Check, Pattern, Silent, forgotten};
use support::{run, within};
use versile_io::agent::unix;
use versile_io::component::join;
use versile_io::component::stock::{Duplex, Outcome, Sink, Source};
use versile_io::proto::link::Window;
use versile_io::supervisor::Supervisor;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn chains_that_drain_end_unclean_and_nothing_is_aborted() {
    run(async {
        let supervisor = Supervisor::start();
        let (out, source) = Pattern::new(1, u64::MAX).start();
        let (inp, sink) = Check::new(1).start();
        supervisor.attach(&out, &inp).await.expect("attached");
        let report = within(supervisor.shutdown(LONG)).await;
        assert!(report.aborted.is_empty() && report.left.is_empty(), "{report:?}");
        assert!(matches!(within(source).await.1, Outcome::Ended { clean: false }));
        assert!(matches!(within(sink).await.1, Outcome::Ended { clean: false }));
    });
}

#[test]
fn chains_that_do_not_drain_are_aborted_at_the_deadline_and_named() {
    run(async {
        let supervisor = Supervisor::start();
        let (out, source) = Pattern::new(1, u64::MAX).start();
        // grants nothing, so what waits cannot be sent and the end cannot follow
        let (inp, sink) = Check { window: Window::CLOSED, ..Check::new(1) }.start();
        let (x, y) = unix::pair(&Default::default()).expect("a pair");
        let ((x, _x), (y, _y)) = (x.named("x").start(), y.named("y").start());
        supervisor.attach(&out, &inp).await.expect("attached");
        supervisor.attach_pair(&x, &y).await.expect("attached");
        drop((out, inp, x, y));
        let report = within(supervisor.shutdown(Duration::from_millis(20))).await;
        assert!(report.left.is_empty(), "{report:?}");
        let outcomes = [within(source).await.1, within(sink).await.1];
        // with no credit at all an end needs none
        assert!(outcomes.iter().all(|o| !o.is_clean() && !matches!(o, Outcome::Gone)), "{outcomes:?}");
        forgotten(&supervisor).await;
    });
}

#[test]
fn with_no_chain_it_is_over_at_once_and_can_be_done_again() {
    run(async {
        let supervisor = Supervisor::start();
        for _ in 0..3 {
            assert_eq!(within(supervisor.shutdown(LONG)).await, Default::default());
        }
    });
}

#[test]
fn a_second_call_joins_the_first_and_the_earlier_deadline_counts() {
    run(async {
        let supervisor = Supervisor::start();
        let (out, _source) = Pattern::new(1, u64::MAX).start();
        let stuck = stuck_sink();
        supervisor.attach(&out, &stuck.0).await.expect("attached");
        let started = Instant::now();
        let (one, two) = tokio::join!(supervisor.shutdown(LONG), supervisor.shutdown(Duration::from_millis(20)));
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(one, two);
        assert!(!one.aborted.is_empty());
        drop((out, stuck));
        forgotten(&supervisor).await;
    });
}

#[test]
fn the_deadline_of_one_shutdown_does_not_touch_chains_attached_after_it() {
    run(async {
        let supervisor = Supervisor::start();
        let short = Duration::from_millis(30);
        within(supervisor.shutdown(short)).await;
        let (out, source) = Silent.start();
        let stuck = stuck_sink();
        supervisor.attach(&out, &stuck.0).await.expect("attached");
        let later = supervisor.shutdown(LONG);
        tokio::pin!(later);
        // well past the first deadline; whether anything happens by then is what is asked
        assert!(tokio::time::timeout(short * 4, &mut later).await.is_err());
        supervisor.abort(versile_io::supervisor::Target::All, "done").await;
        drop((out, stuck));
        assert!(within(later).await.aborted.is_empty());
        let _ = within(source).await;
    });
}

#[test]
fn a_chain_attached_meanwhile_is_drained_too_and_past_the_deadline_aborted() {
    run(async {
        let supervisor = Supervisor::start();
        let (out, _source) = Silent.start();
        let stuck = stuck_sink();
        supervisor.attach(&out, &stuck.0).await.expect("attached");
        let (report, meanwhile) = tokio::join!(supervisor.shutdown(Duration::from_millis(200)), async {
            let (out, source) = Pattern::new(1, u64::MAX).start();
            let (inp, _) = Check::new(1).start();
            join(&out, &inp, Some(supervisor.observer()));
            drop((out, inp));
            within(source).await.1
        });
        assert!(matches!(meanwhile, Outcome::Ended { clean: false }), "{meanwhile}");
        assert!(!report.aborted.iter().any(|name| &**name == "pattern" || &**name == "check"), "{report:?}");
        drop((out, stuck));
        forgotten(&supervisor).await;
    });
}

/// Takes an end and never finishes with it.
struct Stuck;
impl Sink for Stuck {
    type In = bytes::Bytes;
    fn consume(&mut self, _: bytes::Bytes) -> versile_io::component::stock::PartResult {
        Ok(())
    }
    fn poll_finish(
        &mut self,
        _: bool,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<versile_io::component::stock::PartResult> {
        std::task::Poll::Pending
    }
}
fn stuck_sink() -> (versile_io::component::InletRef<bytes::Bytes>, versile_io::component::stock::Done<Stuck>) {
    Stuck.start()
}
