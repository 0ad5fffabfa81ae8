//! The spill: order and bytes kept through the file, memory and file bounded, nothing left behind, errors of the disk told.
#![cfg(unix)]

#[path = "support/flow.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod flow;
mod support;

use flow::{Drain, Feed};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use support::{run, until, within};
use tempfile::tempdir;
use versile_io::agent::spill::{Spill, SpillOptions, spill};
use versile_io::component::join;
use versile_io::component::stock::{Outcome, Sink, Source};
use versile_io::proto::link::{Reason, Window};
use versile_io::supervisor::Supervisor;

const MEMORY: Window = Window { quantity: 64 << 10, messages: 256 };

fn entries(dir: &tempfile::TempDir) -> usize {
    std::fs::read_dir(dir.path()).expect("readable").count()
}

#[test]
fn nobody_consumes_memory_and_file_fill_up_and_no_more_is_taken() {
    run(async {
        let dir = tempdir().expect("a directory");
        let feed = Feed::new(3_000_000, 997);
        let produced = feed.produced.clone();
        let drain = Drain::new(&feed.produced);
        let (out, fed) = feed.start();
        let Spill { inlet, outlet, gauge } = spill(SpillOptions::new(1_000_000, dir.path()).memory(MEMORY));
        join(&out, &inlet, None);
        until("the file is full", || gauge.in_file() == 1_000_000).await;
        // all that is granted has come: what is in memory is at most the window, and what waits in the source's outlet
        let settled = async {
            let mut last = 0;
            while produced.load(Relaxed) != last {
                last = produced.load(Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            last
        };
        let taken = within(settled).await;
        let most = 1_000_000 + MEMORY.quantity + 2 * (16 << 10);
        assert!((1_000_000..=most).contains(&taken), "{taken}");
        assert_eq!(entries(&dir), 0, "the file has no name");
        let (inp, done) = drain.start();
        join(&outlet, &inp, None);
        drop((out, inlet, outlet, inp));
        let (drain, outcome) = within(done).await;
        assert!(outcome.is_clean() && drain.expect("the part").position == 3_000_000, "{outcome}");
        assert!(within(fed).await.1.is_clean());
        assert_eq!(gauge.in_file(), 0);
        assert!(gauge.spilled() >= 1_000_000);
    });
}

#[test]
fn slow_consumer_gets_every_byte_in_order_round_the_ring() {
    run(async {
        let dir = tempdir().expect("a directory");
        for (total, piece) in [(2_000, 1), (600_000, 997), (600_000, 65_536)] {
            for clean in [true, false] {
                // a ring that is no multiple of anything, and is gone round many times
                let options = SpillOptions::new(50_021, dir.path()).memory(Window { quantity: 20_000, messages: 64 });
                let feed = Feed { end: Ok(clean), ..Feed::new(total, piece) };
                let drain = Drain::slow(&feed.produced);
                let ((out, _), (inp, done)) = (feed.start(), drain.start());
                let Spill { inlet, outlet, gauge } = spill(options);
                join(&out, &inlet, None);
                join(&outlet, &inp, None);
                drop((out, inlet, outlet, inp));
                let (drain, outcome) = within(done).await;
                let drain = drain.expect("the part");
                assert!(matches!(outcome, Outcome::Ended { clean: c } if c == clean), "{outcome}");
                assert_eq!(drain.position, total);
                if piece > 1 {
                    assert!(gauge.spilled() > 50_021, "{gauge:?}");
                }
                let most = 50_021 + 20_000 + 10_000 + drain.window + 2 * piece.max(16 << 10);
                assert!(drain.most_behind <= most, "{} behind of {most}", drain.most_behind);
            }
        }
        assert_eq!(entries(&dir), 0);
    });
}

#[test]
fn quick_consumer_has_no_file_made() {
    run(async {
        let feed = Feed::new(300_000, 997);
        let drain = Drain::new(&feed.produced);
        let ((out, _), (inp, done)) = (feed.start(), drain.start());
        // a file could not be made there
        let Spill { inlet, outlet, gauge } = spill(SpillOptions::new(1 << 20, "/nowhere").memory(MEMORY));
        join(&outlet, &inp, None);
        join(&out, &inlet, None);
        drop((out, inlet, outlet, inp));
        assert!(within(done).await.1.is_clean());
        assert_eq!(gauge.spilled(), 0);
    });
}

#[test]
fn directory_that_is_not_there_aborts_the_chain_and_says_what_was_tried() {
    run(async {
        let feed = Feed::new(300_000, 997);
        let drain = Drain::slow(&feed.produced);
        let ((out, fed), (inp, done)) = (feed.start(), drain.start());
        let Spill { inlet, outlet, .. } = spill(SpillOptions::new(1 << 20, "/nowhere").memory(MEMORY));
        join(&outlet, &inp, None);
        join(&out, &inlet, None);
        drop((out, inlet, outlet, inp));
        for outcome in [within(fed).await.1, within(done).await.1] {
            let text = outcome.to_string();
            assert!(text.starts_with("aborted: spill: create a spill file in /nowhere: No such file"), "{text}");
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn aborted_while_it_holds_everything_is_given_back() {
    run(async {
        let dir = tempdir().expect("a directory");
        let feed = Feed::new(u64::MAX, 997);
        let drain = Drain { fail_at: u64::MAX, ..Drain::slow(&feed.produced) };
        let ((out, fed), (inp, done)) = (feed.start(), drain.start());
        let Spill { inlet, outlet, gauge } = spill(SpillOptions::new(1 << 20, dir.path()).memory(MEMORY));
        let supervisor = Supervisor::start();
        let link = join(&out, &inlet, Some(supervisor.observer()));
        join(&outlet, &inp, Some(supervisor.observer()));
        drop((out, inlet, outlet, inp));
        until("something is in the file", || gauge.in_file() > 100_000).await;
        let open = || {
            let fds = std::fs::read_dir("/proc/self/fd").expect("readable");
            let names = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
            names.filter(|name| name.to_string_lossy().contains(".versile-spill-")).count()
        };
        assert_eq!(open(), 1);
        supervisor.abort(versile_io::supervisor::Target::ChainOf(link.id()), "enough").await;
        for outcome in [within(fed).await.1, within(done).await.1] {
            assert!(matches!(&outcome, Outcome::Aborted(cause) if matches!(cause.reason, Reason::Requested(_))));
        }
        until("the file is closed", || open() == 0).await;
        assert_eq!(entries(&dir), 0);
    });
}

#[test]
fn supervised_it_is_taken_out_once_it_has_given_all() {
    run(async {
        let dir = tempdir().expect("a directory");
        let supervisor = Supervisor::start();
        let feed = Feed::new(u64::MAX, 997);
        let (stop, drain) = (feed.stop.clone(), Drain::slow(&feed.produced));
        let seen = drain.seen.clone();
        let ((out, fed), (inp, done)) = (feed.start(), drain.start());
        let Spill { inlet, outlet, gauge } = spill(SpillOptions::new(200_000, dir.path()).memory(MEMORY));
        supervisor.attach(&out, &inlet).await.expect("attached");
        supervisor.attach(&outlet, &inp).await.expect("attached");
        drop((out, inlet, outlet, inp));
        until("something is in the file", || gauge.in_file() > 100_000).await;
        let id = supervisor.snapshot().await.component("spill").expect("inside");
        supervisor.remove(id, Duration::from_secs(10)).await.expect("removed");
        assert_eq!(gauge.in_file(), 0);
        let before = seen.load(Relaxed);
        until("it goes on", || seen.load(Relaxed) > before + 10_000).await;
        stop.store(true, Relaxed);
        let (drain, outcome) = within(done).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(drain.expect("the part").position, within(fed).await.0.expect("the part").next);
    });
}
