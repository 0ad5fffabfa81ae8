//! What the cores cost: two ends in one thread, no sockets, no delay, one stream in one direction. VUT beside quinn-proto with the same
//! cipher (AES-128-GCM), CUBIC and datagrams of the same size.
//!
//! ```text
//!   send: write, make a batch of datagrams ──▶ receive: open them, read ──▶ answer: what the receiver says ──▶ heed: the sender hears it
//! ```
//!
//! A batch is what one system call takes: at most 64 datagrams and 65,507 octets. The clock is virtual and advances little.
//!
//! `vut_core [WHO] [SIZE] [MEGABYTES] [RUNS]`; 0 for all sizes, all of it without arguments.

mod counting;
mod floor;
mod ours;
mod theirs;

use std::time::{Duration, Instant};

/// Time and allocations of a part.
#[derive(Clone, Copy, Default)]
struct Cost {
    time: Duration,
    allocations: u64,
}

/// What a transfer took.
#[derive(Default)]
struct Report {
    octets: u64,
    /// From sender to receiver, and back.
    datagrams: [u64; 2],
    /// Sending, receiving, answering, heeding.
    costs: [Cost; 4],
    /// Octets of most datagrams.
    size: usize,
    /// Batches from the sender.
    batches: u64,
}

/// Two ends that are connected.
trait Pair {
    /// The stream's sender makes the next batch; false if it has nothing to send.
    fn send(&mut self) -> bool;
    /// The other end takes it, and its reader takes what is there.
    fn receive(&mut self);
    /// The other end makes its answers.
    fn answer(&mut self);
    /// The sender takes them.
    fn heed(&mut self);
    /// The clock moves on by a step.
    fn tick(&mut self);
    /// Octets read, and datagrams sent both ways.
    fn done(&self) -> (u64, [u64; 2], usize);
}

/// Moves `octets` after as many for warming up as an eighth.
fn measure(pair: &mut dyn Pair, octets: u64) -> Report {
    run(pair, octets / 8);
    run(pair, octets)
}

fn run(pair: &mut dyn Pair, octets: u64) -> Report {
    let (before, datagrams, _) = pair.done();
    let mut costs = [Cost::default(); 4];
    let (mut idle, mut batches) = (0, 0);
    loop {
        let mut at = (Instant::now(), counting::made());
        let mut lap = |part: usize| {
            let now = (Instant::now(), counting::made());
            costs[part].time += now.0 - at.0;
            costs[part].allocations += now.1 - at.1;
            at = now;
        };
        let sent = pair.send();
        lap(0);
        pair.receive();
        lap(1);
        pair.answer();
        lap(2);
        pair.heed();
        lap(3);
        pair.tick();
        idle = if sent { 0 } else { idle + 1 };
        batches += u64::from(sent);
        assert!(idle < 100_000, "nothing moves");
        let (read, sent, size) = pair.done();
        if read - before >= octets {
            let datagrams = [sent[0] - datagrams[0], sent[1] - datagrams[1]];
            return Report { octets: read - before, datagrams, costs, size, batches };
        }
    }
}

fn print(who: &str, report: &Report) {
    let gigabytes = report.octets as f64 / 1e9;
    let [send, receive, answer, heed] = report.costs.map(|cost| cost.time.as_secs_f64());
    let allocations: u64 = report.costs.iter().map(|cost| cost.allocations).sum();
    let forth = report.datagrams[0] as f64;
    let ns = |seconds: f64| seconds * 1e9 / forth;
    println!(
        "{who:7} {:6} {:7.0} {:6.3} {:6.3}   {:6.0} {:7.0} {:6.0} {:6.0} {:8.3} {:8.1} {:9.1} {:9.2}",
        report.size,
        report.octets as f64 / 1e6 / (send + receive + answer + heed),
        (send + heed) / gigabytes,
        (receive + answer) / gigabytes,
        ns(send),
        ns(receive),
        ns(answer),
        ns(heed),
        forth / report.octets as f64 * 1e6,
        forth / (report.datagrams[1] as f64).max(1.0),
        forth / (report.batches as f64).max(1.0),
        allocations as f64 / forth,
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).map(|text| text.parse::<u64>().expect("a number"));
    let whom = arguments.first().map(String::as_str).unwrap_or("all");
    let sizes = number(1).filter(|size| *size > 0).map_or(vec![508, 1452, 9000, 65_000], |size| vec![size]);
    let octets = number(2).unwrap_or(256) * 1_000_000;
    println!(
        "who       size    MB/s  s/GB there-of:  ns a datagram:                     a MB    each       in a  allocations"
    );
    println!(
        "                         send   recv     send receive answer   heed  datagr.   answer    batch  a datagram"
    );
    for _ in 0..number(3).unwrap_or(3) {
        for size in &sizes {
            let size = u16::try_from(*size).expect("a datagram's size");
            let wants = |who: &str| whom == who || whom == "all";
            if wants("floor") && size > 508 {
                print("floor", &floor::measure(size, octets));
            }
            if wants("native") && size > 508 {
                print("native", &measure(&mut ours::Ends::native(size), octets));
            }
            if wants("quinn") && size > 508 {
                print("quinn", &measure(&mut theirs::Ends::new(size), octets));
            }
            if wants("compat") && size == 508 {
                print("compat", &measure(&mut ours::Ends::compat(), octets));
            }
        }
    }
}
