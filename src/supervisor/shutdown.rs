//! Shutdown: producers stop, chains drain to their ends; past the deadline they are aborted.
//!
//! ```text
//!   supervisor ──Drain──▶ every component        sources and agents produce no more, and end unclean
//!              ◀── gone ── ...                   all gone: drained
//!   deadline   ──Abort(ShutDown)──▶ the rest     see abort.rs
//! ```

use super::{Supervisor, SupervisorActor};
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
}

impl Supervisor {
    /// Drains all chains of this supervisor within `drain`, then aborts what is left. Resolves when all components are
    /// gone, or after the grace period. Chains attached meanwhile are drained too.
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
    replies: Vec<oneshot::Sender<ShutdownReport>>,
    report: ShutdownReport,
}

impl Handler<Begin> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Begin { drain, reply }: Begin, ctx: &mut Context<Self>) {
        match &mut self.shutdown {
            Some(running) => running.replies.push(reply),
            None => {
                self.shutdown = Some(Shutdown { replies: vec![reply], report: ShutdownReport::default() });
            }
        }
        self.graph.nodes().for_each(|node| node.manage.drain());
        ctx.run_later(drain, |act, ctx| act.drain_is_over(ctx));
        self.check_shutdown();
    }
}

impl SupervisorActor {
    fn drain_is_over(&mut self, ctx: &mut Context<Self>) {
        let Some(shutdown) = &mut self.shutdown else { return };
        shutdown.report.aborted = self.graph.nodes().map(|node| node.info.name().clone()).collect();
        let members = self.graph.nodes().map(|node| node.info.id()).collect();
        self.tear_down_members(members, Cause::new(Reason::ShutDown, Origin::component("supervisor")), ctx);
        ctx.run_later(super::GRACE * 2, |act, _| act.report_shutdown());
    }

    /// All components are gone: done.
    pub(super) fn check_shutdown(&mut self) {
        if self.shutdown.is_some() && self.graph.is_empty() {
            self.report_shutdown();
        }
    }

    fn report_shutdown(&mut self) {
        if let Some(Shutdown { replies, report }) = self.shutdown.take() {
            for reply in replies {
                let _ = reply.send(report.clone());
            }
        }
    }
}
