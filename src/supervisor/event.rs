//! What a watcher is told.

use super::SupervisorActor;
use super::guard::{Exceeded, WaitPath};
use super::restart::{Gap, Known};
use crate::component::ComponentId;
use crate::proto::link::{Cause, Count, LinkId};
use actix::{Context, Message};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Something that happened in the chains of a supervisor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A link was made.
    Attached {
        /// The link.
        link: LinkId,
        /// The producer's name.
        producer: Arc<str>,
        /// The consumer's name.
        consumer: Arc<str>,
    },
    /// A link was taken apart; nothing was lost.
    Detached {
        /// The link.
        link: LinkId,
        /// What had passed.
        at: Count,
    },
    /// A link has ended at both ends: the consumer has finished with all its data.
    Ended {
        /// The link.
        link: LinkId,
        /// True if the data was complete.
        clean: bool,
        /// What had passed.
        at: Count,
    },
    /// A link was aborted, and all that depends on it with it: its chain, but for the component whose isolated port it was attached
    /// to. The first cause that the supervisor received; others follow in
    /// [`TornDown`](Event::TornDown).
    Aborted {
        /// The link.
        link: LinkId,
        /// Why, and where it began.
        cause: Arc<Cause>,
        /// What the consumer's port had taken.
        accepted: u64,
        /// What was sent and not taken: it lay in a mailbox and is lost.
        lost: u64,
    },
    /// All components of an aborted chain are gone, or the grace period has passed.
    TornDown {
        /// The first cause that was received.
        cause: Arc<Cause>,
        /// Others that were received for the same chain.
        others: Vec<Arc<Cause>>,
        /// The components that had not stopped by themselves and were stopped.
        stopped: Vec<Arc<str>>,
    },
    /// A guard's limit for stalled links was reached: data waits and does not go on.
    Stalled {
        /// The link.
        link: LinkId,
        /// How long, at least.
        after: Duration,
        /// Who waits for whom.
        path: WaitPath,
        /// False if the guard only warns.
        aborts: bool,
    },
    /// Another limit of a guard was reached.
    Guarded {
        /// The link, or one of the chain's.
        link: LinkId,
        /// Which limit.
        exceeded: Exceeded,
        /// Who waits for whom.
        path: WaitPath,
        /// False if the guard only warns.
        aborts: bool,
    },
    /// A component has failed that is to be rebuilt. Its neighbours wait.
    Suspended {
        /// Which.
        component: ComponentId,
        /// Its name.
        name: Arc<str>,
        /// Why it failed.
        cause: Arc<Cause>,
    },
    /// It is built again after a wait.
    Restarting {
        /// Which it was.
        component: ComponentId,
        /// Its name.
        name: Arc<str>,
        /// The attempt, from 1 on since it was last stable.
        attempt: u32,
        /// The wait before it.
        after: Duration,
    },
    /// A new component is at the place of one that failed.
    Restarted {
        /// The new one.
        component: ComponentId,
        /// Its name.
        name: Arc<str>,
        /// How many attempts that took, since the place was last stable.
        attempts: u32,
        /// The absolute position at which the stream goes on: at its inlet or, for a source, its outlet.
        at: u64,
        /// What is missing there.
        gap: Gap,
    },
    /// A component that failed is not rebuilt any more; its chain is aborted with the cause.
    GaveUp {
        /// Which it was.
        component: ComponentId,
        /// Its name.
        name: Arc<str>,
        /// How many attempts there were.
        attempts: u32,
        /// Why the last one failed, or why there is no other.
        cause: Arc<Cause>,
    },
    /// A component is gone, in an orderly way or not.
    ComponentGone {
        /// Which.
        component: ComponentId,
        /// Its name.
        name: Arc<str>,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached { link, producer, consumer } => write!(f, "{link} attached: {producer} -> {consumer}"),
            Self::Detached { link, at } => write!(f, "{link} detached at {}", at.quantity),
            Self::Ended { link, clean: true, at } => write!(f, "{link} ended at {}", at.quantity),
            Self::Ended { link, clean: false, at } => write!(f, "{link} ended at {} with incomplete data", at.quantity),
            Self::Aborted { link, cause, accepted, lost } => {
                write!(f, "{link} aborted by {cause} ({accepted} accepted, {lost} lost)")
            }
            Self::TornDown { cause, others, stopped } => {
                write!(f, "chain torn down after {cause}")?;
                if !others.is_empty() {
                    write!(f, " and {} other causes", others.len())?;
                }
                match stopped.is_empty() {
                    true => Ok(()),
                    false => write!(f, "; had to stop {}", stopped.join(", ")),
                }
            }
            Self::Stalled { link, after, path, aborts } => {
                write!(f, "{link} stalled for {after:?}: {path}{}", warning(*aborts))
            }
            Self::Guarded { link, exceeded, path, aborts } => {
                write!(f, "{link} {exceeded}: {path}{}", warning(*aborts))
            }
            Self::Suspended { name, cause, .. } => write!(f, "{name} failed and is to be rebuilt: {cause}"),
            Self::Restarting { name, attempt, after, .. } => {
                write!(f, "{name} is rebuilt in {after:.1?}, attempt {attempt}")
            }
            Self::Restarted { name, at, gap, .. } => {
                write!(f, "{name} goes on at {at}")?;
                match (gap.lost, gap.by) {
                    (0, _) => Ok(()),
                    (lost, Known::Told) => write!(f, "; {lost} are lost"),
                    (lost, Known::Counted) => write!(f, "; {lost} are lost, as far as the link knows"),
                }
            }
            Self::GaveUp { name, attempts, cause, .. } => {
                write!(f, "{name} is not rebuilt after {attempts} attempts: {cause}")
            }
            Self::ComponentGone { name, .. } => write!(f, "{name} gone"),
        }
    }
}

fn warning(aborts: bool) -> &'static str {
    if aborts { "" } else { " (a warning)" }
}

/// Events in order, as a watcher receives them.
#[derive(Clone, Debug)]
pub struct EventBatch {
    /// How many events before these were dropped because the watcher was slow.
    pub missed: u64,
    /// The events.
    pub events: Vec<Event>,
}

impl Message for EventBatch {
    type Result = ();
}

/// Tells the watchers.
pub(super) trait Emit {
    fn emit(&mut self, event: Event, ctx: &mut Context<SupervisorActor>);
}

impl Emit for SupervisorActor {
    fn emit(&mut self, event: Event, ctx: &mut Context<SupervisorActor>) {
        tracing::debug!(%event);
        self.watchers.push(&event);
        self.flush_watchers(ctx);
    }
}
