//! Shutdown: producers stop, chains drain to their ends; past the deadline they are aborted.
//!
//! ```text
//!   supervisor ──Drain──▶ every component        sources and agents produce no more, and end unclean
//!              ◀── gone ── ...                   all gone: drained
//!   deadline   ──Abort(ShutDown)──▶ the rest     see abort.rs
//! ```

use super::{Supervisor, SupervisorActor};
use crate::component::ComponentId;
use crate::proto::link::{Cause, Origin, Reason};
use actix::{AsyncContext, Context, Handler, Message};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How a shutdown went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The components that had to be aborted at the deadline. Empty: all chains drained to their ends.
    pub aborted: Vec<Arc<str>>,
    /// The components that were not even gone after the grace period: the turn of each runs on.
    pub left: Vec<Arc<str>>,
}

impl Supervisor {
    /// Drains all chains of this supervisor within `drain`, then aborts what is left. Resolves when all components are
    /// gone, or after the grace period. Chains attached meanwhile are drained too. A second call meanwhile joins the
    /// first, and the earlier of the two deadlines counts. A supervisor that has shut down can be used again.
    pub async fn shutdown(&self, drain: Duration) -> ShutdownReport {
        self.request(|reply| Begin { drain, reply }).await.unwrap_or_default()
    }
}

struct Begin {
    drain: Duration,
    reply: oneshot::Sender<ShutdownReport>,
}

impl Message for Begin {
    type Result = ();
}

/// A shutdown under way.
#[derive(Debug)]
pub(super) struct Shutdown {
    /// So that the timers of one that is over do not touch the next.
    id: u64,
    replies: Vec<oneshot::Sender<ShutdownReport>>,
    /// Set at the first deadline: what has not drained, and whatever joins from then on, is aborted.
    past: Option<Arc<Cause>>,
    aborted: Vec<Arc<str>>,
}

impl Handler<Begin> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Begin { drain, reply }: Begin, ctx: &mut Context<Self>) {
        if self.shutdown.is_none() {
            self.shutdowns += 1;
            self.shutdown = Some(Shutdown { id: self.shutdowns, replies: Vec::new(), past: None, aborted: Vec::new() });
            self.places_shut_down(ctx);
            self.graph.nodes().for_each(|node| node.manage.drain());
        }
        if let Some(running) = &mut self.shutdown {
            running.replies.push(reply);
            let id = running.id;
            ctx.run_later(drain, move |act, ctx| act.drain_is_over(id, ctx));
        }
        self.check_shutdown();
    }
}

impl SupervisorActor {
    /// A component has joined a chain while a shutdown is under way.
    pub(super) fn drain_newcomer(&mut self, component: ComponentId, ctx: &mut Context<Self>) {
        let (Some(shutdown), Some(node)) = (&mut self.shutdown, self.graph.node(component)) else { return };
        match shutdown.past.clone() {
            None => node.manage.drain(),
            Some(cause) => {
                shutdown.aborted.push(node.info.name().clone());
                self.tear_down_members([component].into(), cause, ctx);
            }
        }
    }

    fn drain_is_over(&mut self, id: u64, ctx: &mut Context<Self>) {
        let Some(shutdown) = self.shutdown.as_mut().filter(|s| s.id == id && s.past.is_none()) else { return };
        let cause = Cause::new(Reason::ShutDown, Origin::component("supervisor"));
        shutdown.past = Some(cause.clone());
        shutdown.aborted.extend(self.graph.nodes().map(|node| node.info.name().clone()));
        for members in self.graph.chains() {
            self.tear_down_members(members, cause.clone(), ctx);
        }
        ctx.run_later(super::GRACE * 2, move |act, _| {
            if act.shutdown.as_ref().is_some_and(|s| s.id == id) {
                act.report_shutdown();
            }
        });
    }

    /// All components are gone: done.
    pub(super) fn check_shutdown(&mut self) {
        if self.shutdown.is_some() && self.graph.is_empty() {
            self.report_shutdown();
        }
    }

    fn report_shutdown(&mut self) {
        if let Some(Shutdown { replies, aborted, .. }) = self.shutdown.take() {
            let left = self.graph.nodes().map(|node| node.info.name().clone()).collect();
            let report = ShutdownReport { aborted, left };
            for reply in replies {
                let _ = reply.send(report.clone());
            }
        }
    }
}
