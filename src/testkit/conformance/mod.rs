//! Conformance: a component between probes, under random schedules in virtual time, judged rule by rule.
//!
//! Each schedule is a seed and a theme. The plain one grants, sends and waits at random; every other adds one thing, such as
//! stale messages or a detachment. What goes wrong under a theme and not under the plain one is a breach of that theme's rule.
//!
//! ```
//! use bytes::Bytes;
//! use versile_io::component::stock::{Filter, Outbox, PartResult};
//! use versile_io::testkit::conformance;
//!
//! struct Upper;
//! impl Filter for Upper {
//!     type In = Bytes;
//!     type Out = Bytes;
//!     fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
//!         out.push(item.to_ascii_uppercase().into());
//!         Ok(())
//!     }
//! }
//! let report = conformance::filter(|| {
//!     let (inlet, outlet, _) = Upper.start();
//!     (inlet, outlet)
//! })
//! .seeds(2)
//! .oracle(|input| input.to_ascii_uppercase())
//! .run();
//! report.assert_conforms();
//! ```

mod agent;
mod judge;
mod schedule;
mod specimen;
mod theme;
mod trouble;
mod watch;

pub use agent::{AgentConformance, DEADLINE, FarSide, agent};
pub use specimen::Specimen;

use super::report::Report;
use super::rule::{Kind, RULES};
use crate::component::{InletRef, OutletRef};
use judge::Book;
use schedule::Schedule;
use std::fmt;
use theme::THEMES;

/// The kit around a source: `make` starts one and gives its outlet. A fresh one for each schedule, all with the same data.
pub fn source<U: Specimen>(mut make: impl FnMut() -> OutletRef<U> + 'static) -> Conformance<(), U> {
    Conformance::new(Kind::Source, Box::new(move || (None, Some(make()))))
}

/// The kit around a sink: `make` starts one and gives its inlet.
pub fn sink<T: Specimen>(mut make: impl FnMut() -> InletRef<T> + 'static) -> Conformance<T, ()> {
    Conformance::new(Kind::Sink, Box::new(move || (Some(make()), None)))
}

/// The kit around a filter: `make` starts one and gives its ports.
pub fn filter<T: Specimen, U: Specimen>(
    mut make: impl FnMut() -> (InletRef<T>, OutletRef<U>) + 'static,
) -> Conformance<T, U> {
    Conformance::new(
        Kind::Filter,
        Box::new(move || {
            let (inlet, outlet) = make();
            (Some(inlet), Some(outlet))
        }),
    )
}

type Make<T, U> = Box<dyn FnMut() -> (Option<InletRef<T>>, Option<OutletRef<U>>)>;

type Oracle = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A suite to be run; see the module.
pub struct Conformance<T: Specimen, U: Specimen> {
    kind: Kind,
    make: Make<T, U>,
    seeds: u64,
    max_items: u64,
    most_held: u64,
    longest_turn: u64,
    clean: bool,
    oracle: Oracle,
}

impl<T: Specimen, U: Specimen> fmt::Debug for Conformance<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Conformance({:?}, {} seeds)", self.kind, self.seeds)
    }
}

impl<T: Specimen, U: Specimen> Conformance<T, U> {
    fn new(kind: Kind, make: Make<T, U>) -> Self {
        let oracle = Box::new(<[u8]>::to_vec);
        Self { kind, make, seeds: 6, max_items: 60, most_held: 2048, longest_turn: 2048, clean: true, oracle }
    }

    /// So many schedules of each theme; 6 by default.
    #[must_use]
    pub fn seeds(mut self, seeds: u64) -> Self {
        self.seeds = seeds.max(1);
        self
    }

    /// So many items go in at most; 60 by default. A source gives what it gives.
    #[must_use]
    pub fn max_items(mut self, items: u64) -> Self {
        self.max_items = items.max(1);
        self
    }

    /// A filter whose consumer is stuck takes at most so many messages (rule M1); 2048 by default.
    #[must_use]
    pub fn most_held(mut self, messages: u64) -> Self {
        self.most_held = messages;
        self
    }

    /// A source gives at most so many items before others have a turn (rule F1); 2048 by default.
    #[must_use]
    pub fn longest_turn(mut self, items: u64) -> Self {
        self.longest_turn = items;
        self
    }

    /// The source's data does not end clean.
    #[must_use]
    pub fn ends_unclean(mut self) -> Self {
        self.clean = false;
        self
    }

    /// What comes out for what goes in, both as [`Specimen::write_to`] writes them. The same by default. For a source the
    /// input is empty: without an oracle, all schedules have to give the same.
    #[must_use]
    pub fn oracle(mut self, oracle: impl Fn(&[u8]) -> Vec<u8> + 'static) -> Self {
        self.oracle = Box::new(oracle);
        self
    }

    /// Runs all schedules. Not to be called inside a runtime: each schedule has a system of its own, with time that stands
    /// still while anybody has something to do.
    ///
    /// # Panics
    ///
    /// If no system can be started.
    pub fn run(mut self) -> Report {
        let mut book = Book::default();
        let mut reference = None;
        for theme in THEMES {
            for n in 0..self.seeds {
                let seed = THEMES.iter().position(|of| *of == theme).unwrap_or(0) as u64 * 1000 + n;
                let system = actix::System::with_tokio_rt(|| {
                    let mut builder = tokio::runtime::Builder::new_current_thread();
                    match builder.enable_all().start_paused(true).build() {
                        Ok(runtime) => runtime,
                        Err(error) => panic!("no runtime: {error}"),
                    }
                });
                system.block_on(Schedule::run(&mut self, theme, seed, &mut book, &mut reference));
            }
        }
        let verdicts = RULES.into_iter().map(|rule| (rule, book.verdict(self.kind, rule))).collect();
        Report { verdicts }
    }
}
