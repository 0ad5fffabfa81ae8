//! The memory budget of a supervisor: which links fall under it, and how it stands.
//!
//! An inlet asks its link's observer for the budget when it joins the link, so links fall under it from their start, however they
//! are made: by attach, by a splice, or by `join` with the supervisor's observer. The supervisor itself decides nothing: the
//! rule is in [`proto::budget`](crate::proto::budget).

use super::{Supervisor, SupervisorActor, Target};
use crate::component::ComponentId;
use crate::component::budget::{Budget, Priority};
use crate::proto::link::LinkId;
use actix::{Context, Handler, Message};
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::oneshot;

/// Where a supervisor's handle, its actor and its observer find the budget.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot(Arc<RwLock<Option<Budget>>>);

impl Slot {
    pub(super) fn get(&self) -> Option<Budget> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, budget: Budget) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(budget);
    }
}

/// A budget in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetView {
    /// What may be outstanding at most, in bytes.
    pub total: u64,
    /// What is, of all links under it: those of other supervisors too.
    pub outstanding: u64,
    /// The most that ever was.
    pub peak: u64,
    /// How many links fall under it.
    pub links: usize,
    /// How many of them have nothing, and wait.
    pub waiting: usize,
}

impl BudgetView {
    pub(super) fn of(budget: &Budget) -> Self {
        Self {
            total: budget.total(),
            outstanding: budget.outstanding(),
            peak: budget.peak(),
            links: budget.links(),
            waiting: budget.waiting(),
        }
    }
}

impl Supervisor {
    /// Puts the links that are attached from now on, by this supervisor or with its observer, under a budget. Links that there
    /// are already stay as they are: what they granted cannot be taken back.
    ///
    /// For a bound of the whole process give clones of one budget to all supervisors.
    pub fn set_budget(&self, budget: Budget) {
        self.budget.set(budget);
    }

    /// The budget that was set.
    pub fn budget(&self) -> Option<Budget> {
        self.budget.get()
    }

    /// Sets the priority of the links of a chain in this supervisor's budget, from their next grants on. Returns how many links it
    /// was set for; links that are made later start with that of the budget's handle ([`Budget::with_priority`]).
    pub async fn set_priority(&self, target: Target, priority: Priority) -> usize {
        self.request(|reply| Prioritise { target, priority, reply }).await.unwrap_or(0)
    }
}

struct Prioritise {
    target: Target,
    priority: Priority,
    reply: oneshot::Sender<usize>,
}

impl Message for Prioritise {
    type Result = ();
}

impl Handler<Prioritise> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Prioritise { target, priority, reply }: Prioritise, _: &mut Context<Self>) {
        let links: Vec<LinkId> = match target {
            Target::Link(link) => vec![link],
            target => {
                let members: BTreeSet<ComponentId> = self.targeted(target).into_iter().flatten().collect();
                let inside = self.graph.edges().filter(|edge| edge.ends().any(|end| members.contains(&end)));
                inside.map(|edge| edge.cell.id()).collect()
            }
        };
        let set = self
            .budget
            .get()
            .map_or(0, |budget| links.into_iter().filter(|link| budget.set_priority(*link, priority)).count());
        // nobody may be waiting any more
        let _ = reply.send(set);
    }
}
