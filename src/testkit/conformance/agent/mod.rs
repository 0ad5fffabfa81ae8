//! The kit around an agent: a component whose other side is the operating system, with the kit at both sides of it.
//!
//! ```text
//!   producing probe ──▶ inlet  ┌───────┐ ──▶ far side: reads, stops reading, compares
//!   consuming probe ◀── outlet │ agent │ ◀── far side: writes, ends, breaks off
//!                              └───────┘
//! ```
//!
//! Time is real, since the kernel's is: each step waits for what it wants with a deadline of [`DEADLINE`], never for a time that
//! should be enough. So there are few seeds, and what is about turns (F1) is left to [`source`](super::source) and
//! [`sink`](super::sink).
//!
//! | theme | what the kit does | what it judges |
//! |---|---|---|
//! | plain | data both ways, an end at each side | P1, P2, P4, P6, C1, C2, C3, E1, E2, M1, M2 |
//! | odd, stale | grants that are lower, messages of other links | P3, P5 |
//! | detach, ask | parts and joins, asks from both sides | P6, X1 |
//! | unclean | ends before the data is complete | E1: a far side that can see that, has to |
//! | stuck | the far side stops reading, and goes on | M1, then E2 |
//! | withheld | data and end are there, and nobody grants | A4: the end is not told before the data |
//! | lost | the far side breaks off, and no credit is open | A4 |
//! | abort, stop, excess | as for other components | A1, A2, A3, P1; and M2: the far side is let go |
//!
//! ```
//! use versile_io::agent::unix;
//! use versile_io::component::stock::Duplex as _;
//! use versile_io::testkit::conformance::{self, FarSide};
//!
//! let report = conformance::agent(|| {
//!     let (ours, theirs) = tokio::net::UnixStream::pair().expect("a pair");
//!     (unix::from_stream(ours, &Default::default()).start().0, FarSide::socket(theirs))
//! })
//! .seeds(1)
//! .run();
//! report.assert_conforms();
//! ```

mod far;
mod run;

pub use far::FarSide;

use super::judge::Book;
use super::theme::AGENT_THEMES;
use crate::component::PairRef;
use crate::testkit::report::Report;
use crate::testkit::rule::{Kind, RULES};
use bytes::Bytes;
use std::fmt;
use std::time::Duration;

/// What does not come within this time does not come: far beyond what a loaded machine takes for any step.
pub const DEADLINE: Duration = Duration::from_secs(10);

type Make = Box<dyn FnMut() -> (PairRef<Bytes>, FarSide)>;

/// The kit around an agent: `make` starts one and gives its ports and what is at its other side. A fresh one for each schedule.
/// It runs inside the schedule's system; a port of a direction that the far side does not have is left alone.
pub fn agent(make: impl FnMut() -> (PairRef<Bytes>, FarSide) + 'static) -> AgentConformance {
    AgentConformance { make: Box::new(make), seeds: 2, max_items: 40, most_held: 64 << 20, deadline: DEADLINE }
}

/// A suite to be run; see [`agent`].
pub struct AgentConformance {
    make: Make,
    seeds: u64,
    max_items: u64,
    most_held: u64,
    deadline: Duration,
}

impl fmt::Debug for AgentConformance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentConformance({} seeds)", self.seeds)
    }
}

impl AgentConformance {
    /// So many schedules of each theme; 2 by default.
    #[must_use]
    pub fn seeds(mut self, seeds: u64) -> Self {
        self.seeds = seeds.max(1);
        self
    }

    /// So many items go in at most; 40 by default.
    #[must_use]
    pub fn max_items(mut self, items: u64) -> Self {
        self.max_items = items.max(1);
        self
    }

    /// So many bytes are taken at most for a far side that does not read, the kernel's buffers included (rule M1); 64 MiB by
    /// default.
    #[must_use]
    pub fn most_held(mut self, bytes: u64) -> Self {
        self.most_held = bytes;
        self
    }

    /// What does not come within this time is a breach; [`DEADLINE`] by default. A shorter one finds a breach sooner, and on a
    /// loaded machine one that is none.
    #[must_use]
    pub fn deadline(mut self, time: Duration) -> Self {
        self.deadline = time;
        self
    }

    /// Runs all schedules. Not to be called inside a runtime: each schedule has a system of its own.
    pub fn run(mut self) -> Report {
        let mut book = Book::default();
        for (n, theme) in AGENT_THEMES.into_iter().enumerate() {
            for seed in 0..self.seeds {
                let system = actix::System::new();
                system.block_on(run::run(&mut self, theme, n as u64 * 1000 + seed, &mut book));
            }
        }
        let verdicts = RULES.into_iter().map(|rule| (rule, book.verdict(Kind::Agent, rule))).collect();
        Report { verdicts }
    }
}
