//! Some seconds of the long run in `benches/soak`: 200 connections at a time that come, chat, stall, half-close and are reset, while
//! components are put into their chains. Alone in its program: it counts what the whole of it has.

#[path = "../benches/soak/load.rs"]
mod load;
#[path = "../benches/soak/pattern.rs"]
mod pattern;
#[path = "../benches/soak/plan.rs"]
mod plan;
#[path = "../benches/soak/relays.rs"]
mod relays;
#[path = "../benches/soak/run.rs"]
mod run;
#[path = "../benches/soak/system.rs"]
mod system;

use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What glibc and the load, which is in this process too, may take between the second and the last quarter.
const GROWTH: u64 = 32 << 20;

#[test]
fn two_hundred_connections_of_every_kind_lose_nothing_and_leave_nothing() {
    system::raise_descriptors();
    let load = load::Load { users: 200, rate: 40_000_000, haste: 10 };
    let before = system::descriptors_at_first();
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let driver = std::thread::spawn(move || {
        let orders = BufReader::new(theirs.try_clone().expect("cloned"));
        run::drive(load, orders, theirs).expect("driven");
    });
    let told = ours.try_clone().expect("cloned");
    let every = Duration::from_millis(500);
    println!("{}", run::Sample::head());
    let run = run::Run { lasts: Duration::from_secs(8), every, load_pid: std::process::id() };
    let report = run::run(run, ours, told, |sample, _| println!("{sample}"));
    driver.join().expect("the load went well");
    let wrong = report.verdict([before, system::descriptors()], GROWTH);
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(report.tally.done > 200 && report.tally.resets > 0 && report.spliced[0] > 0, "{report:?}");
}
