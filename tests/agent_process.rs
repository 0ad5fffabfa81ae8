//! Child processes: as filters, failing, stopping early, killed with their chain.

use versile_io::agent::process::{self, ProcessOptions};
use versile_io::agent::stream::StreamSettings;
use versile_io::component::stock::{Directions, Outcome};

#[path = "support/agent.rs"]
mod support;
use support::*;

fn quiet(directions: Directions) -> ProcessOptions {
    let stream = StreamSettings { directions, ..StreamSettings::default() };
    ProcessOptions { quiet: true, stream }
}

/// True while there is a process of this number, a zombie included.
fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn programs_filter_bytes() {
    run(async {
        let data = pattern(3_000_000);
        let cat = process::program("cat", [""; 0], ProcessOptions::default());
        let filtered = rig(cat, Feed::new(data.clone(), 65_536), Keep::default());
        let (sink, outcome) = within(filtered.sink).await;
        assert!(outcome.is_clean() && sink.expect("the part").bytes == data, "{outcome}");
        assert!(within(filtered.stream).await.1.is_clean());
        let tr = process::program("tr", ["a-z", "A-Z"], ProcessOptions::default());
        let filtered = rig(tr, Feed::new("loud, please", 1), Keep::default());
        assert_eq!(within(filtered.sink).await.0.expect("the part").bytes, b"LOUD, PLEASE");
    });
}

#[test]
fn a_failing_exit_status_is_an_unclean_end() {
    run(async {
        let (sink, outcome) = read_all(process::shell("echo partial; exit 3", quiet(Directions::ReadOnly))).await;
        assert_eq!(sink.bytes, b"partial\n");
        assert!(matches!(outcome, Outcome::Ended { clean: false }), "{outcome}");
    });
}

#[test]
fn a_program_that_cannot_be_started_aborts() {
    run(async {
        let none = process::program("/nonexistent/program", [""; 0], ProcessOptions::default());
        let (_, outcome) = read_all(none).await;
        assert!(cause(&outcome).contains("start /nonexistent/program: No such file"), "{outcome}");
    });
}

#[test]
fn a_program_that_stops_reading_early_loses_nothing_of_its_output() {
    run(async {
        let head = process::shell("head -c 5; sleep 0.05; echo later", ProcessOptions::default());
        let count = std::rc::Rc::default();
        let rig = rig(head, Endless(count), Keep::default());
        let (sink, outcome) = within(rig.sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(sink.expect("the part").bytes, b"\x07\x07\x07\x07\x07later\n");
        // and the producer is told that the rest was not taken
        let text = cause(&within(rig.source).await.1);
        assert!(text.contains("Broken pipe") && text.contains("process /bin/sh"), "{text}");
    });
}

#[test]
fn a_program_that_only_reads_is_let_finish() {
    run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("taken");
        let slow = format!("sleep 0.05; cat > {}", path.display());
        let outcome = write_all(process::shell(&slow, quiet(Directions::WriteOnly)), Feed::new("all", 2)).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(std::fs::read(&path).expect("there"), b"all");
        let outcome = write_all(process::shell("cat; exit 4", quiet(Directions::WriteOnly)), Feed::new("all", 2)).await;
        assert!(cause(&outcome).contains("exit status: 4"), "{outcome}");
        // two-way, but nobody wants its output
        let slow = format!("sleep 0.05; cat >> {}", path.display());
        let outcome = write_all(process::shell(&slow, quiet(Directions::Both)), Feed::new("+more", 2)).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(std::fs::read(&path).expect("there"), b"all+more");
    });
}

#[test]
fn directions_can_be_chosen_after_the_options() {
    run(async {
        // its output goes nowhere, instead of into a pipe that nobody reads
        let loud = process::shell("head -c 1000000 /dev/zero; cat > /dev/null", ProcessOptions::default());
        let outcome = write_all(loud.only(Directions::WriteOnly), Feed::new("x", 1)).await;
        assert!(outcome.is_clean(), "{outcome}");
        let both = process::shell("cat; echo done", quiet(Directions::Both));
        let (sink, outcome) = read_all(both.only(Directions::ReadOnly)).await;
        assert!(outcome.is_clean() && sink.bytes == b"done\n", "{outcome}");
    });
}

#[test]
fn an_aborted_chain_leaves_no_process() {
    run(async {
        let child = process::shell("echo $$; exec sleep 1000", quiet(Directions::Both));
        let rig = rig(child, Silent, Keep::failing_at(1));
        let sink = within(rig.sink).await.0.expect("the part");
        let pid: u32 = String::from_utf8_lossy(&sink.bytes).trim().parse().expect("a number");
        within(rig.stream).await;
        until(|| !exists(pid)).await;
    });
}
