//! The places that are kept, and where each stands.

use super::back_off::Attempts;
use super::{Factory, Restart};
use crate::component::link::Parted;
use crate::component::{ComponentId, ComponentInfo};
use crate::proto::link::{Cause, LinkId, Side};
use actix::SpawnHandle;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// All places of a supervisor.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Places {
    kept: Vec<Kept>,
    next: u64,
}

/// One place, and the component that is there now.
pub(super) struct Kept {
    pub(super) id: u64,
    pub(super) info: Arc<ComponentInfo>,
    pub(super) restart: Restart,
    /// `None` while it runs.
    pub(super) factory: Option<Factory>,
    pub(super) attempts: Attempts,
    pub(super) inlet: Option<Joint>,
    pub(super) outlet: Option<Joint>,
    pub(super) state: State,
}

/// One of the links of a place.
#[derive(Debug)]
pub(super) struct Joint {
    /// `None` before the first attachment.
    pub(super) link: Option<LinkId>,
    /// The absolute position at which this link began.
    pub(super) base: u64,
    /// Who is at the other end, since the component failed.
    pub(super) beside: Option<ComponentId>,
    /// The neighbour's end, since it was parted.
    pub(super) neighbour: Option<Neighbour>,
}

/// A neighbour that waits.
#[derive(Debug)]
pub(super) struct Neighbour {
    /// What it had sent or accepted on the link.
    pub(super) at: u64,
    /// What the failed component had finished with on the link.
    pub(super) finished: u64,
    pub(super) parted: Parted,
}

#[derive(Debug)]
pub(super) enum State {
    /// The component runs, since then.
    Running { since: Instant },
    /// It failed, and is not gone or its neighbours have not parted.
    Failed { cause: Arc<Cause>, gone: bool },
    /// The back-off runs.
    Waiting {
        cause: Arc<Cause>,
        #[expect(dead_code, reason = "its drop is its use")]
        timer: Timer,
    },
    /// The factory works, or its component is being attached.
    Building { work: SpawnHandle },
}

/// A back-off under way; dropped, it never ends. It is no future of the supervisor's actor, which would live on for it
/// when nobody holds it any more.
#[derive(Debug)]
pub(super) struct Timer(JoinHandle<()>);

impl Timer {
    pub(super) fn start(after: Duration, then: impl FnOnce() + 'static) -> Self {
        Self(actix_rt::spawn(async move {
            tokio::time::sleep(after).await;
            then();
        }))
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Places {
    /// Keeps a new place.
    pub(super) fn add(&mut self, mut place: Kept) {
        place.id = self.next;
        self.next += 1;
        self.kept.push(place);
    }

    pub(super) fn get(&mut self, id: u64) -> Option<&mut Kept> {
        self.kept.iter_mut().find(|place| place.id == id)
    }

    pub(super) fn with(&mut self, component: ComponentId) -> Option<&mut Kept> {
        self.kept.iter_mut().find(|place| place.info.id() == component)
    }

    /// The place of which this end of this link is the neighbour's.
    pub(super) fn beside(&mut self, link: LinkId, side: Side) -> Option<&mut Kept> {
        self.kept.iter_mut().find(|place| {
            let joint = match side {
                Side::Producer => &place.inlet,
                Side::Consumer => &place.outlet,
            };
            joint.as_ref().is_some_and(|joint| joint.link == Some(link))
        })
    }

    /// A place that has failed and needs this neighbour.
    pub(super) fn waiting_beside(&self, component: ComponentId) -> Option<u64> {
        self.kept.iter().find(|place| place.neighbours().any(|beside| beside == component)).map(|place| place.id)
    }

    pub(super) fn take(&mut self, meant: impl Fn(&Kept) -> bool) -> Vec<Kept> {
        let (taken, kept) = self.kept.drain(..).partition(|place| meant(place));
        self.kept = kept;
        taken
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Kept> {
        self.take(|place| place.id == id).pop()
    }

    pub(super) fn new_seed(&self) -> u64 {
        use std::hash::{BuildHasher, RandomState};
        // chance, so that two processes that lost the same peer do not come back together
        RandomState::new().hash_one(self.next)
    }
}

impl Kept {
    pub(super) fn joints(&self) -> impl Iterator<Item = (Side, &Joint)> {
        let inlet = self.inlet.iter().map(|joint| (Side::Consumer, joint));
        inlet.chain(self.outlet.iter().map(|joint| (Side::Producer, joint)))
    }

    pub(super) fn joints_mut(&mut self) -> impl Iterator<Item = &mut Joint> {
        self.inlet.iter_mut().chain(self.outlet.iter_mut())
    }

    /// The joint whose end on this side is the place's own.
    pub(super) fn joint_mut(&mut self, own: Side) -> Option<&mut Joint> {
        match own {
            Side::Consumer => self.inlet.as_mut(),
            Side::Producer => self.outlet.as_mut(),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// The component is gone and all its neighbours have parted.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Failed { gone: true, .. })
            && self.joints().all(|(_, joint)| joint.neighbour.is_some())
    }

    /// The components at the other ends, since the component failed.
    pub(super) fn neighbours(&self) -> impl Iterator<Item = ComponentId> {
        self.joints().filter_map(|(_, joint)| joint.beside)
    }
}

impl Joint {
    /// Not attached yet, or since when the stream is counted.
    pub(super) fn new(link: Option<LinkId>, base: u64) -> Self {
        Self { link, base, beside: None, neighbour: None }
    }

    /// What the neighbour had sent or accepted, as an absolute position.
    pub(super) fn position(&self) -> u64 {
        self.base + self.neighbour.as_ref().map_or(0, |n| n.at)
    }

    /// What the failed component had finished with, as an absolute position. What it held when the place was first attached
    /// is not of this stream, and it cannot have finished with more than was sent.
    pub(super) fn finished(&self) -> u64 {
        self.base + self.neighbour.as_ref().map_or(0, |n| n.finished.min(n.at))
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("info", &self.info)
            .field("inlet", &self.inlet)
            .field("outlet", &self.outlet)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
