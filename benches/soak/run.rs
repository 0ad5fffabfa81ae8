//! A run: relays here, the load in a thread or a process of its own, samples, and the verdict.
//!
//! Both speak in lines: the load tells `server PORT`, and a line of numbers for each `tally`; it is told `relays PORTS`, `tally`
//! and `stop`. What went wrong comes as `wrong TEXT`, and `over` ends it.

use crate::load::{Load, Tally, World};
use crate::relays::Relays;
use crate::system::{cpu, descriptors, resident};
use actix_rt::{Arbiter, System};
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use versile_io::component::census::{Census, census};

/// How long connections may take to end once the load was told to stop.
const ENDING: Duration = Duration::from_secs(120);

/// New users start at this pace, so that the beginning is no storm: each millisecond one.
const RAMP: Duration = Duration::from_millis(2);

/// How long a run is, and how it is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) lasts: Duration,
    pub(crate) every: Duration,
    /// The process whose time is the load's.
    pub(crate) load_pid: u32,
}

/// One look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) tally: Tally,
    pub(crate) census: Census,
    pub(crate) descriptors: usize,
    pub(crate) resident: u64,
    /// Of one core, since the sample before: the relays and the load.
    pub(crate) cpu: [f64; 2],
}

/// How a run went.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) samples: Vec<Sample>,
    pub(crate) wrong: Vec<String>,
    pub(crate) spliced: [u64; 2],
    pub(crate) left: Census,
    pub(crate) resident_after: u64,
    pub(crate) tally: Tally,
}

impl Sample {
    /// The head of a table of samples.
    pub(crate) fn head() -> &'static str {
        "| time s | open | ended | of them reset | GB checked | wrong | components | links | descriptors | RSS MiB | \
         relay CPU % | load CPU % |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "| {} | {} | {} | {} | {:.2} | {} | {} | {} | {} | {:.1} | {:.0} | {:.0} |",
            self.at.as_secs(),
            self.tally.open,
            self.tally.done,
            self.tally.resets,
            self.tally.bytes as f64 / 1e9,
            self.tally.errors,
            self.census.components,
            self.census.links,
            self.descriptors,
            self.resident as f64 / f64::from(1 << 20),
            self.cpu[0] * 100.0,
            self.cpu[1] * 100.0
        )
    }
}

/// The load's side: obeys lines from `orders`, tells lines to `out`.
///
/// # Errors
///
/// The listener's, or a peer that is gone.
pub(crate) fn drive(load: Load, orders: impl BufRead + Send + 'static, mut out: impl Write) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (tell, mut told) = mpsc::unbounded_channel();
    let reading = std::thread::spawn(move || {
        for line in orders.lines().map_while(Result::ok) {
            let last = line == "stop";
            if tell.send(line).is_err() || last {
                break;
            }
        }
    });
    let driven = tokio::task::LocalSet::new().block_on(&runtime, async move {
        let world = World::new(load);
        writeln!(out, "server {}", world.serve()?)?;
        out.flush()?;
        let mut users = Vec::new();
        while let Some(order) = told.recv().await {
            match order.split_once(' ') {
                Some(("relays", ports)) => {
                    let ports: Vec<u16> = ports.split(' ').filter_map(|port| port.parse().ok()).collect();
                    for number in 0..load.users {
                        let (world, ports) = (world.clone(), ports.clone());
                        users.push(tokio::task::spawn_local(async move {
                            tokio::time::sleep(RAMP * number as u32 / load.haste).await;
                            world.use_relays(&ports).await;
                        }));
                    }
                }
                _ if order == "tally" => {}
                _ => {
                    world.stop();
                    for user in users.drain(..) {
                        // a user that panicked has said so
                        let _ = user.await;
                    }
                    let deadline = Instant::now() + ENDING;
                    while world.tally().served < world.tally().done && Instant::now() < deadline {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            }
            for wrong in world.take_told() {
                writeln!(out, "wrong {wrong}")?;
            }
            let Tally { open, done, served, resets, bytes, errors } = world.tally();
            writeln!(out, "tally {open} {done} {served} {resets} {bytes} {errors}")?;
            out.flush()?;
            if order == "stop" {
                break;
            }
        }
        Ok(())
    });
    // after an error the other side closes its end, or is gone with it
    let _ = reading.join();
    driven
}

/// The load, as the relays' side speaks with it.
struct Remote<W> {
    orders: W,
    lines: mpsc::UnboundedReceiver<String>,
    reading: JoinHandle<()>,
    wrong: Vec<String>,
}

impl<W: Write> Remote<W> {
    fn new(orders: W, told: impl io::Read + Send + 'static) -> Self {
        let (tell, lines) = mpsc::unbounded_channel();
        let reading = std::thread::spawn(move || {
            // an error is that nobody listens any more
            let _ = BufReader::new(told).lines().map_while(Result::ok).try_for_each(|line| tell.send(line));
        });
        Self { orders, lines, reading, wrong: Vec::new() }
    }

    /// The numbers of the next line of this kind.
    async fn next(&mut self, kind: &str) -> Vec<u64> {
        loop {
            let line = self.lines.recv().await.expect("the load runs");
            match line.split_once(' ') {
                Some(("wrong", what)) => self.wrong.push(what.to_owned()),
                Some((found, numbers)) if found == kind => {
                    return numbers.split(' ').filter_map(|number| number.parse().ok()).collect();
                }
                _ => self.wrong.push(format!("the load says {line:?}")),
            }
        }
    }

    async fn ask(&mut self, order: &str) -> Tally {
        writeln!(self.orders, "{order}").and_then(|()| self.orders.flush()).expect("the load listens");
        let numbers = self.next("tally").await;
        let [open, done, served, resets, bytes, errors] = numbers[..] else { panic!("a tally is {numbers:?}") };
        Tally { open, done, served, resets, bytes, errors }
    }
}

/// Runs relays under the load that listens at `orders` and speaks at `told`. `look` is called with each sample.
pub(crate) fn run(
    run: Run,
    orders: impl Write,
    told: impl io::Read + Send + 'static,
    mut look: impl FnMut(&Sample, &[String]),
) -> Report {
    let mut remote = Remote::new(orders, told);
    let mut report = System::new().block_on(async {
        let arbiters = [Arbiter::new(), Arbiter::new()];
        let server = remote.next("server").await[0] as u16;
        let relays = Relays::start(&arbiters, server).expect("the relays listen");
        let (noted, supervisor) = (relays.noted.clone(), relays.supervisor.clone());
        let ports: Vec<String> = relays.ports.iter().map(u16::to_string).collect();
        remote.ask(&format!("relays {}", ports.join(" "))).await;
        let (start, ours) = (Instant::now(), std::process::id());
        let (mut samples, mut wrong) = (Vec::new(), Vec::new());
        let mut spent = [cpu(ours), cpu(run.load_pid)];
        let mut last = start;
        while start.elapsed() < run.lasts {
            tokio::time::sleep(run.every.min(run.lasts.saturating_sub(start.elapsed()))).await;
            let tally = remote.ask("tally").await;
            let (now, spent_now) = (Instant::now(), [cpu(ours), cpu(run.load_pid)]);
            let share =
                |at: usize| (spent_now[at].saturating_sub(spent[at])).as_secs_f64() / (now - last).as_secs_f64();
            let sample = Sample {
                at: start.elapsed(),
                tally,
                census: census(),
                descriptors: descriptors(),
                resident: resident(),
                cpu: [share(0), share(1)],
            };
            (spent, last) = (spent_now, now);
            let mut new = noted.take_wrong();
            new.append(&mut remote.wrong);
            look(&sample, &new);
            samples.push(sample);
            wrong.append(&mut new);
        }
        let tally = remote.ask("stop").await;
        wrong.append(&mut remote.wrong);
        let spliced = [noted.put_in.load(Relaxed), noted.taken_out.load(Relaxed)];
        let deadline = Instant::now() + ENDING;
        while census().links > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        relays.stop().await;
        let known = supervisor.snapshot().await;
        if !known.links.is_empty() {
            wrong.push(format!("the supervisor still knows {} links", known.links.len()));
        }
        if tally.done != tally.served || tally.open > 0 {
            wrong.push(format!("not all connections are accounted for: {tally:?}"));
        }
        wrong.extend(noted.take_wrong());
        drop(supervisor);
        for arbiter in arbiters {
            arbiter.stop();
            let _ = arbiter.join();
        }
        Report { samples, wrong, spliced, left: census(), resident_after: resident(), tally }
    });
    report.left = census();
    report.resident_after = resident();
    drop(remote.orders);
    // it ends with what it reads from
    let _ = remote.reading.join();
    report
}

impl Report {
    /// What does not hold of it, if this process had so many descriptors before and has so many after, and if it may grow by
    /// `growth` bytes.
    pub(crate) fn verdict(&self, [before, after]: [usize; 2], growth: u64) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        if self.left.components > 0 || self.left.links > 0 {
            wrong.push(format!("left behind: {:?}", self.left));
        }
        if before != after {
            wrong.push(format!("{before} descriptors before, {after} after"));
        }
        let (early, late) = self.quarters(|sample| sample.resident);
        if late > early + growth {
            wrong.push(format!("memory grew from {early} to {late} bytes, more than {growth}"));
        }
        wrong
    }

    /// The medians of the second and of the last quarter of the samples.
    pub(crate) fn quarters(&self, of: impl Fn(&Sample) -> u64) -> (u64, u64) {
        let n = self.samples.len();
        let median = |samples: &[Sample]| {
            let mut values: Vec<u64> = samples.iter().map(&of).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or(0)
        };
        (median(&self.samples[n / 4..n / 2]), median(&self.samples[n - n / 4..]))
    }
}
