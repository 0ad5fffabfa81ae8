//! Which components a transaction works on, so that another one that would touch them is refused.
//!
//! Splices refuse each other, but a component may stand beside two places that are down at a time, or beside one while it is
//! being spliced: each of these holds it, and it is free when the last has let go.

use crate::component::ComponentId;
use std::collections::BTreeMap;

/// Components, and how many transactions hold each.
#[derive(Debug, Default)]
pub(super) struct Busy(BTreeMap<ComponentId, usize>);

impl Busy {
    /// True if a transaction holds it.
    pub(super) fn holds(&self, component: ComponentId) -> bool {
        self.0.contains_key(&component)
    }

    /// A transaction takes these.
    pub(super) fn take(&mut self, components: impl IntoIterator<Item = ComponentId>) {
        for component in components {
            *self.0.entry(component).or_default() += 1;
        }
    }

    /// The transaction that took these lets go of them.
    pub(super) fn release(&mut self, components: impl IntoIterator<Item = ComponentId>) {
        for component in components {
            if let Some(holders) = self.0.get_mut(&component) {
                *holders -= 1;
                if *holders == 0 {
                    self.0.remove(&component);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::ComponentInfo;

    #[test]
    fn held_by_two_it_is_free_when_both_have_let_go() {
        let (a, b) = (ComponentInfo::new("a", false).id(), ComponentInfo::new("b", false).id());
        let mut busy = Busy::default();
        busy.take([a, b]);
        busy.take([a]);
        busy.release([a, b]);
        assert_eq!((busy.holds(a), busy.holds(b)), (true, false));
        busy.release([a]);
        assert!(!busy.holds(a));
    }
}
