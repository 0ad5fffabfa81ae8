//! Question: does a relay stay what it is: no byte wrong, no connection that ends otherwise than it should, memory and descriptors
//! flat, with thousands of connections that come, stall, half-close and are reset at random, while components are put into their
//! chains and taken out again?
//!
//! Relays of three kinds (in the kernel, copying, with a component that looks at every byte) on two arbiters, under one supervisor
//! that is asked for blame every second. The load is a process of its own: it opens connections through them at a bounded rate,
//! and checks content and ends. `--quick` is 200 connections for some seconds, as `tests/soak_quick.rs` runs it.
//!
//! ```text
//! cargo bench --bench soak -- --conns 5000 --minutes 30
//! ```
//!
//! `--rate MB` bounds what all together move each second (40), so that the machine can be used meanwhile.

mod load;
mod pattern;
mod plan;
mod relays;
mod run;
mod system;

use load::Load;
use run::{Report, Run, Sample};
use std::io::BufReader;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// Of its memory after a quarter of the time, so much may a long run grow: what glibc keeps of a changing load.
const GROWTH: f64 = 0.05;

fn number(name: &str) -> Option<u64> {
    let mut args = std::env::args();
    args.find(|arg| arg == name)?;
    args.next()?.parse().ok()
}

fn main() -> ExitCode {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let users = number("--conns").unwrap_or(if quick { 200 } else { 5_000 }) as usize;
    let load = Load { users, rate: number("--rate").unwrap_or(40) * 1_000_000, haste: if quick { 10 } else { 1 } };
    let bound = system::raise_descriptors();
    if std::env::args().any(|arg| arg == "--load") {
        return match run::drive(load, BufReader::new(std::io::stdin()), std::io::stdout()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("the load: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let lasts = match number("--minutes") {
        Some(minutes) => Duration::from_secs(minutes * 60),
        None => Duration::from_secs(number("--seconds").unwrap_or(if quick { 10 } else { 1_800 })),
    };
    let every = Duration::from_secs(number("--every").unwrap_or(if quick { 1 } else { 60 }));
    let before = system::descriptors_at_first();
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(std::env::args().skip(1))
        .arg("--load")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the load starts");
    let (orders, told) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    println!(
        "{users} users, at most {} MB/s, {} s; {} cores, at most {bound} descriptors a process",
        load.rate / 1_000_000,
        lasts.as_secs(),
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    println!("{}", Sample::head());
    let run = Run { lasts, every, load_pid: child.id() };
    let report = run::run(run, orders, told, |sample, wrong| {
        println!("{sample}");
        wrong.iter().for_each(|wrong| println!("WRONG {wrong}"));
    });
    let _ = child.wait();
    conclude(&report, [before, system::descriptors()])
}

fn conclude(report: &Report, descriptors: [usize; 2]) -> ExitCode {
    let (early, late) = report.quarters(|sample| sample.resident);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{} connections, {} of them reset, {:.1} GB checked; {} components put into running chains, {} taken out again",
        report.tally.done,
        report.tally.resets,
        report.tally.bytes as f64 / 1e9,
        report.spliced[0],
        report.spliced[1]
    );
    println!(
        "memory {:.1} MiB in the second quarter, {:.1} in the last, {:.1} after all; descriptors {} before, {} after; left: {:?}",
        mib(early),
        mib(late),
        mib(report.resident_after),
        descriptors[0],
        descriptors[1],
        report.left
    );
    let wrong = report.verdict(descriptors, (early as f64 * GROWTH) as u64);
    wrong.iter().for_each(|wrong| println!("WRONG {wrong}"));
    println!("{}", if wrong.is_empty() { "all held" } else { "NOT all held" });
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
