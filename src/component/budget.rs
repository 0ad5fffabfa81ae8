//! `Budget`: one bound on what all chains together have outstanding, shared by any number of supervisors and arbiters.
//!
//! ```text
//!   Supervisor ── set_budget ──▶ its observer ── each inlet that joins a link takes a Seat
//!   inlet, a grant is due ──Seat::take──▶ Pool (one lock)  ──▶ so much may be outstanding
//!   inlet, with nothing   ◀──a message── Pool, when something comes free
//! ```
//!
//! The rule by which it is shared out stands in [`proto::budget`](crate::proto::budget). Here it is put behind a lock, and those who
//! wait are woken by a message to their component. The lock is taken once for a grant, never for an item.
//!
//! What an aborted port had counts until its component drops it: only then is its mailbox gone.

use super::link::Link;
use super::message::ManageHandle;
use crate::proto::budget::{MemberId, Pool, Standing};
use crate::proto::link::LinkId;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A bound on the sum of what all links under it have outstanding: credit that their consumers granted and producers have
/// not used, items on their way, and items that consumers hold. In bytes.
///
/// Give it to a supervisor ([`set_budget`](crate::supervisor::Supervisor::set_budget)): links that are then attached by it, or joined with
/// its observer, fall under it. Clones are the same budget; give it to several supervisors for a bound of the whole process.
///
/// A window is then the most that an inlet grants, and the budget decides how much of it: little to a chain that does not move, and
/// to each of those that do by its [`Priority`] and its use. No chain can starve another, however many are stuck.
///
/// It counts quantity: bytes for `Bytes`. For a payload that counts items, say what one takes by
/// [`Inlet::set_unit`](crate::component::Inlet::set_unit). An item that counts more than 1, and that cannot be split, must fit in what its
/// link is given, so do not put such a link under a small budget.
///
/// ```
/// use versile_io::component::budget::{Budget, Priority};
/// use versile_io::supervisor::Supervisor;
///
/// actix::System::new().block_on(async {
///     let budget = Budget::new(64 * 1024 * 1024);
///     let (bulk, control) = (Supervisor::start(), Supervisor::start());
///     bulk.set_budget(budget.clone());
///     control.set_budget(budget.with_priority(Priority::HIGH));
///     assert_eq!((budget.outstanding(), budget.waiting()), (0, 0));
/// });
/// ```
#[derive(Clone)]
pub struct Budget {
    shared: Arc<Shared>,
    /// Of those who join by this handle.
    priority: Priority,
}

/// How much of what is free a link is given beside others that want more too: one of twice the priority up to twice as much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(u32);

impl Priority {
    /// A quarter of [`NORMAL`](Self::NORMAL).
    pub const LOW: Self = Self(1);
    /// Where nothing was said.
    pub const NORMAL: Self = Self(4);
    /// Four times [`NORMAL`](Self::NORMAL).
    pub const HIGH: Self = Self(16);

    /// Any other; at least 1.
    pub fn of(weight: u32) -> Self {
        Self(weight.max(1))
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::NORMAL
    }
}

struct Shared {
    total: u64,
    state: Mutex<State>,
}

struct State {
    pool: Pool,
    /// By the place of a member in the pool.
    callers: Vec<Option<Arc<Caller>>>,
    links: HashMap<LinkId, MemberId>,
}

/// The way to a member.
struct Caller {
    /// It was given something while it waited.
    woken: AtomicBool,
    component: Box<dyn ManageHandle>,
}

impl Budget {
    /// A budget of `bytes`, at least 1. Below a few hundred bytes for each chain it holds its bound, and chains crawl.
    pub fn new(bytes: u64) -> Self {
        let pool = Pool::new(bytes);
        let total = pool.total();
        let state = Mutex::new(State { pool, callers: Vec::new(), links: HashMap::new() });
        Self { shared: Arc::new(Shared { total, state }), priority: Priority::NORMAL }
    }

    /// The same budget, for links that have this priority from their start.
    #[must_use]
    pub fn with_priority(&self, priority: Priority) -> Self {
        Self { shared: self.shared.clone(), priority }
    }

    /// What may be outstanding at most.
    pub fn total(&self) -> u64 {
        self.shared.total
    }

    /// What is outstanding. What a consumer has finished with counts until its next grant.
    pub fn outstanding(&self) -> u64 {
        self.lock().pool.outstanding()
    }

    /// The most that was ever outstanding.
    pub fn peak(&self) -> u64 {
        self.lock().pool.peak()
    }

    /// How many links have nothing, and wait for something to come free.
    pub fn waiting(&self) -> usize {
        self.lock().pool.waiting()
    }

    /// How many links fall under it now.
    pub fn links(&self) -> usize {
        self.lock().pool.members()
    }

    /// How a link was served when it last wanted to grant; `None` if it does not fall under this budget.
    pub fn standing(&self, link: LinkId) -> Option<Standing> {
        let state = self.lock();
        state.links.get(&link).map(|id| state.pool.standing(*id))
    }

    /// Sets the priority of a link from its next grant on; false if it does not fall under this budget.
    pub fn set_priority(&self, link: LinkId, priority: Priority) -> bool {
        let mut state = self.lock();
        let id = state.links.get(&link).copied();
        if let Some(id) = id {
            state.pool.set_priority(id, priority.0);
        }
        id.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // no code of a user runs under the lock, so a poisoned one is still whole
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the pool, and wakes whom that gives something; by messages, once the lock is open again.
    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        let mut woken = Vec::new();
        while let Some(id) = state.pool.poll_wake() {
            woken.extend(state.callers.get(id.index()).cloned().flatten());
        }
        drop(state);
        for caller in woken {
            caller.woken.store(true, Relaxed);
            caller.component.wake();
        }
        result
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("total", &self.shared.total)
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}

/// An inlet's place in a budget, from its attachment on. Dropped, all that it had is free again.
pub(crate) struct Seat {
    budget: Budget,
    id: MemberId,
    caller: Arc<Caller>,
    link: LinkId,
    unit: u64,
    /// Held from before, when it was under no budget or another; in units. Never charged.
    exempt: u64,
    /// What the budget charges; in bytes.
    charged: u64,
}

impl Seat {
    /// The seat for a new attachment: the one it has if that is of the same budget, or none if the link has no budget. `held`
    /// are units that the port holds from before; `unit` is the bytes of each.
    pub(crate) fn take_over(
        old: Option<Box<Self>>,
        link: &Link,
        unit: u64,
        held: u64,
        component: impl FnOnce() -> Box<dyn ManageHandle>,
    ) -> Option<Box<Self>> {
        let budget = link.observer()?.budget()?;
        if let Some(mut seat) = old
            && Arc::ptr_eq(&seat.budget.shared, &budget.shared)
            && seat.unit == unit
        {
            seat.rename(link.id());
            return Some(seat);
        }
        let caller = Arc::new(Caller { woken: AtomicBool::new(false), component: component() });
        let id = budget.with(|state| {
            let id = state.pool.join(budget.priority.0, unit);
            if state.callers.len() <= id.index() {
                state.callers.resize(id.index() + 1, None);
            }
            state.callers[id.index()] = Some(caller.clone());
            state.links.insert(link.id(), id);
            id
        });
        Some(Box::new(Self { budget, id, caller, link: link.id(), unit, exempt: held, charged: 0 }))
    }

    fn rename(&mut self, link: LinkId) {
        let mut state = self.budget.lock();
        state.links.remove(&self.link);
        state.links.insert(link, self.id);
        drop(state);
        self.link = link;
    }

    /// True if something was given to it while it waited.
    pub(crate) fn is_woken(&self) -> bool {
        self.caller.woken.load(Relaxed)
    }

    /// How many units may be outstanding, of `wish`. `outstanding` are now, `held` of them with the component.
    pub(crate) fn take(&mut self, outstanding: u64, held: u64, wish: u64) -> u64 {
        self.caller.woken.store(false, Relaxed);
        let (left, wish) = (self.charge(outstanding, held), self.bytes(wish.saturating_sub(self.exempt)));
        self.charged = self.budget.with(|state| state.pool.take(self.id, left, wish));
        (self.charged / self.unit).saturating_add(self.exempt)
    }

    /// Nothing more is granted on this attachment, and so many units are left, all of them held.
    pub(crate) fn close(&mut self, held: u64) {
        if self.charge(held, held) != self.charged || self.is_woken() {
            self.take(held, held, 0);
        }
    }

    fn charge(&mut self, outstanding: u64, held: u64) -> u64 {
        self.exempt = self.exempt.min(held);
        self.bytes(outstanding.saturating_sub(self.exempt))
    }

    fn bytes(&self, units: u64) -> u64 {
        units.saturating_mul(self.unit)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.budget.with(|state| {
            state.pool.leave(self.id);
            state.callers[self.id.index()] = None;
            state.links.remove(&self.link);
        });
    }
}
