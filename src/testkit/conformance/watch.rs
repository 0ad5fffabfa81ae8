//! Who was joined in a schedule, and who is gone.

use crate::component::ComponentId;
use crate::component::link::{ComponentHandle, Note, Observer};
use crate::proto::link::LinkId;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// Notes who is gone (rule M2).
#[derive(Default)]
pub(super) struct Watch(Mutex<Watched>);

#[derive(Default)]
pub(super) struct Watched {
    pub(super) components: HashMap<ComponentId, ComponentHandle>,
    pub(super) gone: HashSet<ComponentId>,
    pub(super) links: HashSet<LinkId>,
}

impl Watch {
    pub(super) fn look<R>(&self, at: impl FnOnce(&mut Watched) -> R) -> R {
        at(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for Watch {
    fn note(&self, note: Note) {
        self.look(|watched| match note {
            Note::Reserved { link, component, .. } | Note::Attached { link, component, .. } => {
                watched.links.insert(link.id());
                // the probes are known by their names, which no component would choose
                if !component.info.name().starts_with("(kit)") {
                    watched.components.insert(component.info.id(), component);
                }
            }
            Note::Gone { component } => {
                watched.gone.insert(component);
            }
            Note::Closed { link } => {
                watched.links.remove(&link);
            }
            Note::Over { .. } | Note::Suspended { .. } => {}
        });
    }
}
