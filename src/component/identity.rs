//! Who a component is, for links, errors and supervisors.

use super::busy::Busy;
use crate::proto::link::{Cause, Origin, Reason};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The process-wide unique name of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ComponentId(u64);

impl ComponentId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The number, for logs and machine output.
    pub fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "component-{}", self.0)
    }
}

/// What is known of a component: its name, its shape and the one cause that it was told (rule A1).
#[derive(Debug)]
pub struct ComponentInfo {
    id: ComponentId,
    name: Arc<str>,
    two_way: bool,
    driven: bool,
    /// A supervisor will rebuild it if it fails by its own fault (rule S1).
    rebuilt: AtomicBool,
    cause: OnceLock<Arc<Cause>>,
    busy: Busy,
}

impl ComponentInfo {
    /// A component of this name. `two_way`: its inlet and its outlet are the two directions of one thing, such as a socket;
    /// otherwise data flows through it from its inlets to its outlets.
    pub fn new(name: impl Into<Arc<str>>, two_way: bool) -> Arc<Self> {
        Self::with_driver(name, two_way, false)
    }

    /// The same, and whether a future of its own keeps the actor alive.
    pub(crate) fn with_driver(name: impl Into<Arc<str>>, two_way: bool, driven: bool) -> Arc<Self> {
        Arc::new(Self {
            id: ComponentId::next(),
            name: name.into(),
            two_way,
            driven,
            rebuilt: AtomicBool::new(false),
            cause: OnceLock::new(),
            busy: Busy::default(),
        })
    }

    /// Its process-wide name.
    pub fn id(&self) -> ComponentId {
        self.id
    }

    /// The name that its owner chose, or its type's.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// See [`new`](Self::new).
    pub fn is_two_way(&self) -> bool {
        self.two_way
    }

    /// True if a future of its own keeps the actor alive, as an agent's does.
    pub fn is_driven(&self) -> bool {
        self.driven
    }

    /// The time that its handlers have taken: an estimate, from a sample of them.
    pub fn worked(&self) -> Duration {
        self.busy.total()
    }

    pub(super) fn busy(&self) -> &Busy {
        &self.busy
    }

    /// True if a supervisor will rebuild it: each link that it joins is armed (rule S1).
    pub fn is_rebuilt(&self) -> bool {
        self.rebuilt.load(Ordering::Relaxed)
    }

    pub(crate) fn set_rebuilt(&self, rebuilt: bool) {
        self.rebuilt.store(rebuilt, Ordering::Relaxed);
    }

    /// The one cause that it was aborted with, if it was.
    pub fn cause(&self) -> Option<&Arc<Cause>> {
        self.cause.get()
    }

    /// A cause that begins here.
    pub fn blame(&self, reason: Reason) -> Arc<Cause> {
        Cause::new(reason, Origin::component(self.name.clone()))
    }

    /// A1: the first cause that reaches a component wins there.
    pub(crate) fn set_cause(&self, cause: &Arc<Cause>) -> bool {
        self.cause.set(cause.clone()).is_ok()
    }
}

impl fmt::Display for ComponentInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
