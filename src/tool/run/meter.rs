//! How much a run has moved, read from the cells of its links now and then, and what is done with it: progress, and the
//! limit of idleness. Nothing is counted or timed for each item.

use crate::component::link::Link;
use crate::proto::link::LinkId;
use crate::supervisor::Supervisor;
use crate::tool::progress::Console;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The links into the last component of each direction, of one chain.
pub(super) enum Meter {
    /// Attached by the supervisor, which is asked for a snapshot.
    Asked { supervisor: Supervisor, links: [Option<LinkId>; 2], last: [u64; 2] },
    /// Joined: the links are at hand.
    Held([Option<Arc<Link>>; 2]),
}

impl Meter {
    /// What the last component of each direction has finished with.
    pub(super) async fn moved(&mut self) -> [u64; 2] {
        match self {
            Self::Asked { supervisor, links, last } => {
                let snapshot = supervisor.snapshot().await;
                for (moved, id) in last.iter_mut().zip(links) {
                    // a link that is gone has moved what it had
                    if let Some(link) = snapshot.links.iter().find(|link| Some(link.id) == *id) {
                        *moved = link.accepted.saturating_sub(link.held);
                    }
                }
                *last
            }
            Self::Held(links) => [0, 1].map(|at| links[at].as_deref().map_or(0, delivered)),
        }
    }
}

/// What the consumer of a link has finished with.
pub(super) fn delivered(link: &Link) -> u64 {
    link.cell().accepted().quantity.saturating_sub(link.cell().held())
}

/// Shows progress, if the console wants any, and resolves once nothing has moved for `idle`; never without.
pub(super) async fn watch(mut meter: Meter, console: Option<Arc<Console>>, idle: Option<Duration>) {
    let show = console.as_ref().and_then(|console| console.period());
    // a quarter: the limit is overrun by no more than that
    let look = idle.map(|idle| (idle / 4).max(Duration::from_millis(1)));
    let Some(period) = [show, look].into_iter().flatten().min() else { return std::future::pending().await };
    let (mut seen, mut since) = (meter.moved().await, Instant::now());
    loop {
        tokio::time::sleep(period).await;
        let moved = meter.moved().await;
        if let Some(console) = &console
            && show.is_some()
        {
            console.show(moved[0].saturating_add(moved[1]), "");
        }
        if moved != seen {
            (seen, since) = (moved, Instant::now());
        } else if idle.is_some_and(|idle| since.elapsed() >= idle) {
            return;
        }
    }
}
