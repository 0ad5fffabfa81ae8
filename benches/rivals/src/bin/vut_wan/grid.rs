//! Transfers over the cells of a grid: how long they take, beside each other and beside a sender that knows the path.

use crate::setup::{Cell, Transport};
use crate::world::{Load, Outcome, Stream, World};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use versile_io::proto::time::Time;

/// A run is cut here.
const CAP: Duration = Duration::from_secs(300);

/// Sorted seconds of the runs of one transport in one cell.
#[derive(Clone, Debug)]
pub struct Times {
    pub seconds: Vec<f64>,
    /// Runs in which the transport gave up; they count as the cap.
    pub failures: usize,
}

impl Times {
    pub fn median(&self) -> f64 {
        self.seconds[self.seconds.len() / 2]
    }

    pub fn p95(&self) -> f64 {
        self.seconds[(self.seconds.len() * 95 / 100).min(self.seconds.len() - 1)]
    }
}

/// One transfer alone on its path.
pub fn transfer(transport: Transport, cell: Cell, octets: u64, window: Option<u64>, seed: u64) -> Outcome {
    let ends = transport.pair(window, seed, Time::ZERO);
    let stream = Stream { ends, load: Load::Bulk(octets), start: Time::ZERO, back: cell.round_trip() / 2 };
    let mut world = World::new(seed, &cell.shape(), transport.overhead(), vec![stream]);
    world.run(1, CAP);
    world.outcome(0).clone()
}

fn times(transport: Transport, cell: Cell, octets: u64, seeds: u64) -> Times {
    let seeds = if cell.is_certain() { 1 } else { seeds };
    let mut times = Times { seconds: Vec::new(), failures: 0 };
    for seed in 1..=seeds {
        let outcome = transfer(transport, cell, octets, Some(cell.window()), seed);
        times.failures += usize::from(outcome.failure.is_some());
        if let Some(why) = outcome.failure {
            eprintln!("{} in {cell}, seed {seed}, after {} octets: {why}", transport.name(), outcome.received);
        }
        times.seconds.push(outcome.done.unwrap_or(CAP).as_secs_f64());
    }
    times.seconds.sort_by(f64::total_cmp);
    times
}

/// Results by cell and transport.
#[derive(Debug, Default)]
pub struct Table(Vec<(Cell, Transport, u64, Times)>);

impl Table {
    pub fn get(&self, cell: Cell, transport: Transport, octets: u64) -> Option<&Times> {
        let row = self.0.iter().find(|row| row.0 == cell && row.1 == transport && row.2 == octets);
        row.map(|row| &row.3)
    }

    /// Rows of a file that was written before.
    pub fn read(path: &str) -> std::io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let rows = text.lines().filter_map(|line| {
            let [cell, name, octets, failures, ref seconds @ ..] = line.split(',').collect::<Vec<_>>()[..] else {
                return None;
            };
            let seconds = seconds.iter().map(|number| number.parse().ok()).collect::<Option<_>>()?;
            let times = Times { seconds, failures: failures.parse().ok()? };
            Some((Cell::of(cell)?, Transport::of(name)?, octets.parse().ok()?, times))
        });
        Ok(Self(rows.collect()))
    }

    /// One row each: cell, transport, octets, failures, seconds of all runs.
    pub fn csv(&self) -> String {
        let mut text = "mbit/rtt/loss/reorder,transport,octets,failures,seconds...\n".to_owned();
        for (cell, transport, octets, times) in &self.0 {
            let seconds: String = times.seconds.iter().map(|time| format!(",{time:.6}")).collect();
            let _ = writeln!(text, "{cell},{},{octets},{}{seconds}", transport.name(), times.failures);
        }
        text
    }

    /// Runs what is not there yet, two at a time.
    pub fn fill(&mut self, cells: &[Cell], transports: &[Transport], octets: u64, seeds: u64) {
        let wanted = cells.iter().flat_map(|cell| transports.iter().map(|transport| (*cell, *transport)));
        let mut jobs: VecDeque<_> =
            wanted.filter(|(cell, transport)| self.get(*cell, *transport, octets).is_none()).collect();
        // the long ones first, so that no thread waits for the other at the end
        jobs.make_contiguous().sort_by_key(|(cell, _)| std::cmp::Reverse((cell.loss * 100.0 + cell.rtt) as u64));
        let (all, began) = (jobs.len(), Instant::now());
        let (jobs, done) = (Mutex::new(jobs), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    loop {
                        let Some((cell, transport)) = jobs.lock().expect("whole").pop_front() else { return };
                        let from = Instant::now();
                        let times = times(transport, cell, octets, seeds);
                        let mut done = done.lock().expect("whole");
                        done.push((cell, transport, octets, times));
                        let (took, total) = (from.elapsed().as_secs_f64(), began.elapsed().as_secs());
                        if took > 5.0 || done.len() % 20 == 0 {
                            let name = transport.name();
                            eprintln!("{} of {all}, {total} s: {name} in {cell} took {took:.1} s", done.len());
                        }
                    }
                });
            }
        });
        self.0.extend(done.into_inner().expect("whole"));
    }

    /// The best median and 95th percentile of some.
    pub fn best(&self, cell: Cell, of: &[Transport], octets: u64) -> Option<(f64, f64)> {
        let rows = of.iter().filter_map(|transport| self.get(cell, *transport, octets));
        rows.map(|times| (times.median(), times.p95())).reduce(|a, b| (a.0.min(b.0), a.1.min(b.1)))
    }

    /// Markdown: rates in Mbit/s of long transfers, milliseconds of short ones.
    pub fn print(&self, cells: &[Cell], transports: &[Transport], octets: u64) {
        let long = octets >= 1_000_000;
        let unit = if long { "Mbit/s" } else { "ms [95th percentile]" };
        println!("\n{octets} octets: {unit}; queue 1 product, at least 48 KB\n");
        let names: Vec<_> = transports.iter().map(|transport| transport.name()).collect();
        println!("| Mbit/s | RTT ms | loss % | reorder % | ideal | {} |", names.join(" | "));
        println!("|---|---|---|---|---|{}", "---|".repeat(names.len()));
        let show = |seconds: f64| if long { octets as f64 * 8e-6 / seconds } else { seconds * 1e3 };
        for cell in cells {
            let mut row = String::new();
            for transport in transports {
                let Some(times) = self.get(*cell, *transport, octets) else {
                    row += " |";
                    continue;
                };
                let _ = write!(row, " {:.*}", usize::from(long) + 1, show(times.median()));
                if !long {
                    let _ = write!(row, " [{:.1}]", show(times.p95()));
                }
                if times.failures > 0 {
                    let _ = write!(row, " ({} gave up)", times.failures);
                }
                row += " |";
            }
            let Cell { mbit, rtt, loss, reorder, .. } = cell;
            println!("| {mbit} | {rtt} | {loss} | {reorder} | {:.1} |{row}", show(cell.ideal(octets)));
        }
    }

    /// What is held of the bars, and where not.
    pub fn judge(&self, cells: &[Cell], octets: u64) {
        println!();
        for transport in Transport::NATIVE {
            if octets >= 1_000_000 {
                self.judge_long(cells, transport, octets)
            } else {
                self.judge_short(cells, transport, octets)
            }
        }
        let behind: Vec<_> = cells
            .iter()
            .filter_map(|cell| {
                let ours = self.get(*cell, Transport::Compat, octets)?.median();
                let ratio = ours / self.get(*cell, Transport::SmoltcpCubic, octets)?.median();
                (ratio > if octets >= 1_000_000 { 1.0 } else { 1.1 }).then(|| format!("{cell}: {ratio:.3}"))
            })
            .collect();
        println!("compat: slower than smoltcp in {} of {}: {}", behind.len(), cells.len(), behind.join(", "));
    }

    fn judge_long(&self, cells: &[Cell], transport: Transport, octets: u64) {
        let (mut missed, mut lossy, mut used) = (Vec::new(), Vec::new(), f64::INFINITY);
        for cell in cells {
            let Some(times) = self.get(*cell, transport, octets) else { continue };
            let Some((best, _)) = self.best(*cell, &Transport::RIVALS, octets) else { continue };
            let ratio = best / times.median();
            if ratio < if cell.loss >= 3.0 { 0.90 } else { 0.95 } {
                missed.push(format!("{cell}: {ratio:.3}"));
            }
            if cell.loss > 0.0 {
                lossy.push(ratio.ln());
            }
            if (cell.mbit, cell.rtt) == (1000.0, 1.0) && cell.loss <= 1.0 {
                used = used.min(octets as f64 * 8e-6 / times.median() / cell.mbit);
            }
        }
        let mean = (lossy.iter().sum::<f64>() / lossy.len().max(1) as f64).exp();
        let name = transport.name();
        println!("{name}: below the bar in {} cells: {}", missed.len(), missed.join(", "));
        println!(
            "{name}: geometric mean over {} cells with loss {mean:.3}; 1000 Mbit/s, 1 ms: {used:.3} used",
            lossy.len()
        );
    }

    fn judge_short(&self, cells: &[Cell], transport: Transport, octets: u64) {
        let mut missed = Vec::new();
        for cell in cells {
            let Some(times) = self.get(*cell, transport, octets) else { continue };
            let Some((best, tail)) = self.best(*cell, &Transport::RIVALS, octets) else { continue };
            let (ratio, tail) = (times.median() / best, times.p95() / tail);
            if ratio > 1.05 || tail > 1.0 {
                missed.push(format!("{cell}: {ratio:.3} [{tail:.3}]"));
            }
        }
        println!("{}: below the bar in {} cells: {}", transport.name(), missed.len(), missed.join(", "));
    }
}
