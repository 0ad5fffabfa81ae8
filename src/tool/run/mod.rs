//! Runs what the command line asks for, and says how it went.
//!
//! ```text
//!   Cli ──▶ Job ──▶ bind and open ──▶ one chain (once.rs)       ──▶ Report ──▶ Exit
//!                                └──▶ many chains (serve.rs) ──┘
//! ```
//!
//! The first interrupt drains: nothing more is accepted or read, and what was read is delivered. The second aborts.

mod chain;
mod meter;
mod once;
mod serve;
mod signals;
mod verdict;

use super::args::{Cli, Command, CommonArgs, CopyArgs, RelayArgs, ReportTo};
use super::exit::Exit;
use super::inherited::Inherited;
use super::manual;
use super::plan::{End, OpenError, Role};
use super::progress::Console;
use super::report::Report;
use crate::component::budget::Budget;
use crate::supervisor::{GRACE, Supervisor};
use actix::System;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;

/// Runs the command to its end and says how it went. All that was to be printed is printed.
///
/// Threads may still be busy with a read that nobody waits for, such as one of a terminal; the caller ends the process.
pub fn run(cli: Cli) -> Exit {
    match cli.command {
        Command::Man => print(manual::man()),
        Command::Completions { shell } => print(Ok(manual::completions(shell))),
        Command::Copy(copy) => Job::copy(copy).run(),
        Command::Relay(relay) => Job::relay(relay).run(),
    }
}

/// A copy or a relay.
struct Job {
    ends: [End; 2],
    /// Both ways.
    both: bool,
    threads: usize,
    /// Of all its chains together.
    budget: Option<u64>,
    common: CommonArgs,
    report_to: ReportTo,
}

/// How a job went, without what is known of it beforehand.
struct Ran {
    exit: Exit,
    cause: Option<String>,
    bytes: [u64; 2],
    hashes: [Option<String>; 2],
    connections: Option<(u64, u64)>,
}

impl Ran {
    /// Nothing moved.
    fn failed(exit: Exit, cause: String) -> Self {
        Self { exit, cause: Some(cause), bytes: [0; 2], hashes: [None, None], connections: None }
    }
}

impl From<OpenError> for Ran {
    fn from(error: OpenError) -> Self {
        Self::failed(Exit::Open, error.to_string())
    }
}

impl Job {
    fn copy(args: CopyArgs) -> Self {
        let report_to = args.report_to();
        let CopyArgs { from, to, common } = args;
        let ends = [End::new(Role::From, from, common.window), End::new(Role::To, to, common.window)];
        Self { ends, both: false, threads: 1, budget: None, common, report_to }
    }

    fn relay(args: RelayArgs) -> Self {
        let report_to = args.report_to();
        let RelayArgs { left, right, threads, budget, common } = args;
        let ends = [End::new(Role::Left, left, common.window), End::new(Role::Right, right, common.window)];
        Self { ends, both: true, threads: threads.get(), budget, common, report_to }
    }

    /// The supervisor of all its chains.
    fn supervisor(&self) -> Supervisor {
        let supervisor = Supervisor::current();
        if let Some(bytes) = self.budget {
            supervisor.set_budget(Budget::new(bytes));
        }
        supervisor
    }

    fn is_server(&self) -> bool {
        self.both && self.ends[0].listens()
    }

    fn run(self) -> Exit {
        let start = Instant::now();
        log_to_stderr(&self.common);
        // before anything is opened: see inherited.rs
        let inherited = self.inherit();
        let size = self.ends[0].size().filter(|_| !self.both);
        let console = Arc::new(Console::new(self.common.quiet, self.common.progress, size));
        let ran = match inherited {
            Ok(inherited) => self.in_system(inherited, console.clone()),
            Err(error) => error.into(),
        };
        console.finish();
        self.report(ran, start.elapsed(), &console)
    }

    fn inherit(&self) -> Result<Inherited, OpenError> {
        let numbers = self.ends.iter().filter_map(End::descriptor);
        Inherited::take(numbers, self.is_server()).map_err(|(number, error)| {
            let end = self.ends.iter().find(|end| end.descriptor() == Some(number)).unwrap_or(&self.ends[0]);
            end.not_open(number, &error)
        })
    }

    fn in_system(&self, inherited: Inherited, console: Arc<Console>) -> Ran {
        let system = System::new();
        system.block_on(async {
            match self.is_server() {
                true => serve::serve(self, inherited, console).await,
                false => once::once(self, &inherited, console).await,
            }
        })
    }

    fn report(&self, ran: Ran, time: Duration, console: &Console) -> Exit {
        let whole = matches!(ran.exit, Exit::Delivered | Exit::Drained);
        let mut report = Report {
            from: self.ends[0].address(),
            to: self.ends[1].address(),
            bytes: (ran.bytes[0], self.both.then_some(ran.bytes[1])),
            time,
            hashes: ran.hashes.map(|hash| hash.filter(|_| whole)),
            connections: ran.connections,
            exit: ran.exit,
            cause: ran.cause,
        };
        if self.common.json
            && let Err(error) = self.print_json(&report)
            && report.exit == Exit::Delivered
        {
            report.exit = Exit::Destination;
            report.cause = Some(format!("cannot write the report: {error}"));
        }
        match whole && report.exit != Exit::Destination {
            // with the object on standard error, nothing else stands there
            true if self.common.json => {}
            true => console.note(&report.line()),
            false => console.error(&report.line()),
        }
        report.exit
    }

    fn print_json(&self, report: &Report) -> io::Result<()> {
        let line = report.json() + "\n";
        match self.report_to {
            ReportTo::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(line.as_bytes())?;
                out.flush()
            }
            ReportTo::Stderr => io::stderr().write_all(line.as_bytes()),
        }
    }
}

/// How long components may take to be gone once all were aborted; what is still there then is left to the end of the
/// process.
const LATE: Duration = GRACE.saturating_mul(3);

/// Prints what was asked for on standard output.
fn print(text: io::Result<Vec<u8>>) -> Exit {
    let printed = text.and_then(|text| {
        let mut out = io::stdout().lock();
        out.write_all(&text)?;
        out.flush()
    });
    match printed {
        Ok(()) => Exit::Delivered,
        Err(error) => {
            // who has closed standard error does not want to be told
            let _ = writeln!(io::stderr(), "vio: write standard output: {error}");
            Exit::Destination
        }
    }
}

fn log_to_stderr(common: &CommonArgs) {
    let level = match (common.quiet, common.verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "info",
        (_, 2) => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // somebody who runs this inside a program of their own may log already
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).try_init();
}
