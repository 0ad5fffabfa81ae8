//! How many components and links are alive in this process: what leak tests and operators look at (rule M2).

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

static COMPONENTS: AtomicUsize = AtomicUsize::new(0);
static LINKS: AtomicUsize = AtomicUsize::new(0);

/// A count of what is alive in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// Components that have taken part in a chain and whose ports are not dropped yet.
    pub components: usize,
    /// Links of which at least one end, or a message that is to join one, still exists.
    pub links: usize,
}

/// Counts now. Cheap: two loads.
pub fn census() -> Census {
    Census { components: COMPONENTS.load(Relaxed), links: LINKS.load(Relaxed) }
}

/// One counted thing; uncounted when dropped.
#[derive(Debug)]
pub(crate) struct Counted(&'static AtomicUsize);

impl Counted {
    pub(crate) fn component() -> Self {
        Self::new(&COMPONENTS)
    }

    pub(crate) fn link() -> Self {
        Self::new(&LINKS)
    }

    fn new(of: &'static AtomicUsize) -> Self {
        of.fetch_add(1, Relaxed);
        Self(of)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
