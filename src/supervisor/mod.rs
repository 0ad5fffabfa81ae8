//! The supervisor: an actor that attaches, detaches, watches, guards, aborts and shuts down chains, and says what limits them.
//!
//! ```text
//!    attach / detach / abort / shutdown          watch ──▶ events
//!              │                                 snapshot ──▶ graph with counters
//!              ▼                                    ▲
//!         Supervisor ◀── notes ── ports of every link that it attached or was told of
//! ```
//!
//! Data never passes through it. It holds everybody weakly, so a chain outlives it and an abandoned chain ends. Each
//! transaction is one file with its ladder; a caller that drops its future withdraws nothing.
//!
//! `docs/supervision.md` has the ladders and the edge cases of all of them.
//!
//! There is a default supervisor per actix system ([`Supervisor::current`]); [`Supervisor::start`] makes others.
//!
//! ```
//! use std::time::Duration;
//! use versile_io::agent::file::{self, WriteOptions};
//! use versile_io::component::stock::Duplex as _;
//! use versile_io::component::writer::ByteWriter;
//! use versile_io::supervisor::{AttachFailure, Supervisor};
//!
//! actix::System::new().block_on(async {
//!     let supervisor = Supervisor::current();
//!     let (_writer, outlet, _) = ByteWriter::start("numbers", 1024);
//!     let (file, _) = file::write("/dev/null", WriteOptions::default()).start();
//!     let link = supervisor.attach(&outlet, &file.inlet).await?;
//!     assert!(supervisor.attach(&outlet, &file.inlet).await.is_err(), "both ports are taken");
//!     assert_eq!(supervisor.snapshot().await.links[0].id, link);
//!     drop((outlet, file));
//!     let report = supervisor.shutdown(Duration::from_secs(1)).await;
//!     assert!(report.aborted.is_empty(), "drained: {report:?}");
//!     Ok::<_, AttachFailure>(())
//! })?;
//! # Ok::<_, AttachFailure>(())
//! ```
//!
//! In `watch`, [`Events`] is a stream for code that is no actor; an actor takes [`EventBatch`] as a message
//! ([`Supervisor::watch_with`]).

mod abort;
mod attach;
mod blame;
mod budget;
mod busy;
mod detach;
mod event;
mod export;
mod graph;
mod guard;
mod inbox;
mod restart;
mod shutdown;
mod snapshot;
mod splice;
mod watch;

pub use abort::{GRACE, Target};
pub use attach::AttachFailure;
pub use blame::{Finding, Verdict};
pub use budget::BudgetView;
pub use detach::DetachFailure;
pub use event::{Event, EventBatch};
pub use guard::{Exceeded, GuardId, Guards, Overrun, Wait, WaitFor, WaitPath};
pub use restart::{Again, BackOff, Built, Gap, Known, Loss, LossError, Place, Restart, RestartError};
pub use shutdown::ShutdownReport;
pub use snapshot::{ComponentView, LinkView, Snapshot};
pub use splice::{SpliceFailure, Spliced};
pub use watch::{Events, RING};

use crate::component::budget::Budget;
use crate::component::link::{Note, Observer};
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, System};
use busy::Busy;
use event::Emit;
use graph::Graph;
use inbox::{Inbox, Noted, Notes, Reader};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use tokio::sync::oneshot;

/// The example in the guide compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/supervision.md")]
struct Guide;

/// A handle on a supervisor's actor. Cheap to clone, usable from any thread. The supervisor lasts as long as a handle
/// does; the default one as long as its system.
#[derive(Clone)]
pub struct Supervisor {
    addr: Addr<SupervisorActor>,
    /// One for all links: a component keeps each observer that it has met.
    notes: Arc<dyn Observer>,
    budget: budget::Slot,
}

impl Supervisor {
    /// Starts a supervisor on the current arbiter.
    pub fn start() -> Self {
        let actor = SupervisorActor::default();
        let (inbox, budget) = (actor.inbox.0.clone(), actor.budget.clone());
        Self::of(actor.start(), inbox, budget)
    }

    /// The default supervisor of the current actix system; started on its first arbiter when first asked for.
    ///
    /// # Panics
    ///
    /// None of its own; like all of actix it needs a running system.
    pub fn current() -> Self {
        static DEFAULTS: LazyLock<Mutex<HashMap<usize, Supervisor>>> = LazyLock::new(Mutex::default);
        let mut defaults = DEFAULTS.lock().unwrap_or_else(PoisonError::into_inner);
        // those of systems that have ended
        defaults.retain(|_, supervisor| supervisor.addr.connected());
        let system = System::current();
        defaults
            .entry(system.id())
            .or_insert_with(|| {
                let (inbox, budget) = (Arc::new(Inbox::default()), budget::Slot::default());
                let parts = (inbox.clone(), budget.clone());
                let actor =
                    move |_: &mut _| SupervisorActor { inbox: Reader(parts.0), budget: parts.1, ..Default::default() };
                Self::of(SupervisorActor::start_in_arbiter(system.arbiter(), actor), inbox, budget)
            })
            .clone()
    }

    fn of(addr: Addr<SupervisorActor>, inbox: Arc<Inbox>, budget: budget::Slot) -> Self {
        let notes = Arc::new(Notes { supervisor: addr.downgrade(), inbox, budget: budget.clone() });
        Self { addr, notes, budget }
    }

    /// What [`join`](crate::component::join()) takes so that this supervisor is told of the link, without being waited for.
    pub fn observer(&self) -> Arc<dyn Observer> {
        self.notes.clone()
    }

    /// Sends a request with its reply inside: a caller that drops the future withdraws nothing.
    async fn request<R: Send + 'static, M>(&self, make: impl FnOnce(oneshot::Sender<R>) -> M) -> Option<R>
    where
        M: Message<Result = ()> + Send + 'static,
        SupervisorActor: Handler<M>,
    {
        let (tx, rx) = oneshot::channel();
        self.addr.do_send(make(tx));
        rx.await.ok()
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Supervisor")
    }
}

/// The actor behind a [`Supervisor`].
#[derive(Default)]
pub struct SupervisorActor {
    /// What was noted and not read yet.
    inbox: Reader,
    spare: Spare,
    graph: Graph,
    watchers: watch::Watchers,
    teardowns: abort::Teardowns,
    shutdown: Option<shutdown::Shutdown>,
    shutdowns: u64,
    /// One for all links that it makes by itself.
    notes: Option<Arc<dyn Observer>>,
    /// The components that a splice works on, or that stand beside a place that is down.
    busy: Busy,
    guarding: guard::Guarding,
    budget: budget::Slot,
    /// The components that are rebuilt when they fail.
    places: restart::Places,
}

/// Room for the next notes and what they mean, empty between turns.
#[derive(Default)]
struct Spare {
    notes: Vec<Note>,
    changes: Vec<graph::Change>,
}

impl Spare {
    /// Room for more notes than that, after a burst, is given back: some 100 KiB.
    const KEPT: usize = 1024;

    fn keep(&mut self, notes: Vec<Note>) {
        if notes.capacity() <= Self::KEPT {
            self.notes = notes;
        }
    }
}

impl fmt::Debug for SupervisorActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorActor").field("graph", &self.graph).finish_non_exhaustive()
    }
}

impl Actor for SupervisorActor {
    type Context = Context<Self>;
}

impl SupervisorActor {
    fn observer(&mut self, ctx: &mut Context<Self>) -> Arc<dyn Observer> {
        let (inbox, budget) = (self.inbox.0.clone(), self.budget.clone());
        let notes = || Notes { supervisor: ctx.address().downgrade(), inbox, budget };
        self.notes.get_or_insert_with(|| Arc::new(notes())).clone()
    }
}

impl Handler<Noted> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, _: Noted, ctx: &mut Context<Self>) {
        let mut notes = self.inbox.0.take(std::mem::take(&mut self.spare.notes));
        for note in notes.drain(..) {
            self.noted(note, ctx);
        }
        self.spare.keep(notes);
        self.check_shutdown();
    }
}

impl SupervisorActor {
    fn noted(&mut self, note: Note, ctx: &mut Context<Self>) {
        let Some(note) = self.watch_places(note, ctx) else { return };
        let mut changes = std::mem::take(&mut self.spare.changes);
        self.graph.note(note, &mut changes);
        for change in changes.drain(..) {
            match change {
                graph::Change::Event(event) => self.emit(event, ctx),
                graph::Change::Aborted { link, cause } => self.tear_down(link, cause, ctx),
                graph::Change::Joined(component) => self.drain_newcomer(component, ctx),
                graph::Change::Gone { component, name } => {
                    if let Some(name) = name {
                        self.emit(Event::ComponentGone { component, name }, ctx);
                    }
                    self.place_gone(component, ctx);
                    self.member_gone(component, ctx);
                    self.guarded_gone(component, ctx);
                }
            }
        }
        self.spare.changes = changes;
    }
}
