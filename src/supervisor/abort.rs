//! Abort and teardown: one cause reaches every component that depends on it, and nothing outlives the grace period.
//!
//! ```text
//!   port breaks off ──note──▶ supervisor ──Abort(cause)──▶ every component of the chain, each told once
//!                                        ◀── gone ──────── ...
//!                        after GRACE     ──Stop──────────▶ whatever has not stopped
//!                                        TornDown{first cause, others, stopped}
//! ```
//!
//! The neighbours along live links hear of an abort without the supervisor (rules A2, A3). The supervisor addresses each
//! component as well, since links that have ended carry nothing any more.
//!
//! A teardown goes from a component to all that depend on it. It does not go through an isolated port into the component that has
//! it: an abort that begins in an isolated branch takes the branch, and one that begins in the component takes all its branches.

use super::event::{Emit, Event};
use super::graph::Edge;
use super::{Supervisor, SupervisorActor};
use crate::component::ComponentId;
use crate::proto::link::{Cause, LinkId, Origin, Reason};
use actix::{AsyncContext, Context, Handler, Message};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the components of an aborted chain may take to stop by themselves: 1 s. A component stops in the turn in which
/// it is told, so this is for one whose turn runs on.
pub const GRACE: Duration = Duration::from_secs(1);

/// Which chains something is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// This link alone, for a guard; what cannot be done to a link alone is done to its chain.
    Link(LinkId),
    /// The chain that this link belongs to.
    ChainOf(LinkId),
    /// The chain that this component belongs to.
    ChainWith(ComponentId),
    /// All chains of the supervisor.
    All,
}

impl Supervisor {
    /// Aborts a chain and tears it down; returns how many components were told. The end of it is the event
    /// [`TornDown`](Event::TornDown).
    pub async fn abort(&self, target: Target, why: impl Into<Arc<str>>) -> usize {
        let reason = Reason::Requested(why.into());
        self.request(|reply| AbortChain { target, reason, reply }).await.unwrap_or(0)
    }
}

struct AbortChain {
    target: Target,
    reason: Reason,
    reply: oneshot::Sender<usize>,
}

impl Message for AbortChain {
    type Result = ();
}

impl Handler<AbortChain> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, AbortChain { target, reason, reply }: AbortChain, ctx: &mut Context<Self>) {
        let chains = self.targeted(target);
        let cause = Cause::new(reason, Origin::component("supervisor"));
        let told = chains.iter().map(BTreeSet::len).sum();
        match target {
            Target::Link(link) | Target::ChainOf(link) => self.tear_down(link, cause, ctx),
            Target::ChainWith(_) | Target::All => {
                chains.into_iter().for_each(|members| self.tear_down_members(members, cause.clone(), ctx));
            }
        }
        let _ = reply.send(told);
    }
}

/// The chains that are being torn down.
#[derive(Debug, Default)]
pub(super) struct Teardowns {
    running: Vec<Teardown>,
    next: u64,
}

#[derive(Debug)]
struct Teardown {
    id: u64,
    cause: Arc<Cause>,
    others: Vec<Arc<Cause>>,
    /// Not gone yet.
    members: BTreeSet<ComponentId>,
}

impl Teardown {
    /// A1: the first that was received names the event, the others are listed.
    fn hear_of(&mut self, cause: &Arc<Cause>) {
        let known = |other: &Arc<Cause>| Arc::ptr_eq(other, cause);
        if !known(&self.cause) && !self.others.iter().any(known) {
            self.others.push(cause.clone());
        }
    }
}

impl SupervisorActor {
    /// The chains that are meant, each as its components.
    pub(super) fn targeted(&self, target: Target) -> Vec<BTreeSet<ComponentId>> {
        match target {
            Target::Link(link) | Target::ChainOf(link) => vec![self.graph.chain_of_link(link)],
            Target::ChainWith(component) => vec![self.graph.chain([component].into_iter())],
            Target::All => self.graph.chains(),
        }
    }

    /// A link was aborted: so is all that depends on it.
    pub(super) fn tear_down(&mut self, link: LinkId, cause: Arc<Cause>, ctx: &mut Context<Self>) {
        let members = self.graph.chain_of_link(link);
        let is_whole = |edge: &&Edge| edge.is_consuming() && edge.cell.cause().is_none();
        if let (true, Some(edge)) = (members.is_empty(), self.graph.link(link).filter(is_whole)) {
            // isolated at both ends: the link alone
            edge.break_off(&cause, |_| false);
        }
        self.tear_down_members(members, cause, ctx);
    }

    pub(super) fn tear_down_members(
        &mut self,
        members: BTreeSet<ComponentId>,
        cause: Arc<Cause>,
        ctx: &mut Context<Self>,
    ) {
        if members.is_empty() {
            return;
        }
        self.places_torn(&members, &cause, ctx);
        let (mut met, running): (Vec<_>, Vec<_>) =
            self.teardowns.running.drain(..).partition(|t: &Teardown| !t.members.is_disjoint(&members));
        self.teardowns.running = running;
        // parts of one chain that were torn down apart are one from here on; the first to begin names the event (A1)
        let mut teardown = match met.is_empty() {
            true => self.new_teardown(cause.clone(), ctx),
            false => met.remove(0),
        };
        teardown.hear_of(&cause);
        for other in met {
            teardown.hear_of(&other.cause);
            other.others.iter().for_each(|cause| teardown.hear_of(cause));
            teardown.members.extend(other.members);
        }
        let fresh: BTreeSet<ComponentId> = members.difference(&teardown.members).copied().collect();
        // A2: the cells first, then the messages; also where the producer has ended and its data is still on the way
        let inside: BTreeSet<LinkId> =
            fresh.iter().flat_map(|component| self.graph.links_of(*component)).map(|edge| edge.cell.id()).collect();
        for edge in inside.into_iter().filter_map(|link| self.graph.link(link)).filter(|edge| edge.is_consuming()) {
            edge.break_off(&cause, |end| members.contains(&end));
        }
        for component in &fresh {
            if let Some(node) = self.graph.condemn(*component) {
                node.manage.abort(&cause);
            }
        }
        teardown.members.extend(fresh);
        self.teardowns.running.push(teardown);
        self.teardowns.running.sort_by_key(|t| t.id);
    }

    fn new_teardown(&mut self, cause: Arc<Cause>, ctx: &mut Context<Self>) -> Teardown {
        let id = self.teardowns.next;
        self.teardowns.next += 1;
        ctx.run_later(GRACE, move |act, ctx| act.grace_is_over(id, ctx));
        Teardown { id, cause, others: Vec::new(), members: BTreeSet::new() }
    }

    /// A component is gone: perhaps the last of its chain.
    pub(super) fn member_gone(&mut self, component: ComponentId, ctx: &mut Context<Self>) {
        for teardown in &mut self.teardowns.running {
            teardown.members.remove(&component);
        }
        let (over, running) = self.teardowns.running.drain(..).partition(|t: &Teardown| t.members.is_empty());
        self.teardowns.running = running;
        for Teardown { cause, others, .. } in over {
            self.emit(Event::TornDown { cause, others, stopped: Vec::new() }, ctx);
        }
    }

    /// Whatever has not stopped is stopped, and the event says which.
    fn grace_is_over(&mut self, id: u64, ctx: &mut Context<Self>) {
        let Some(at) = self.teardowns.running.iter().position(|t| t.id == id) else { return };
        let Teardown { cause, others, members, .. } = self.teardowns.running.swap_remove(at);
        let mut stopped = Vec::new();
        for component in members {
            if let Some(node) = self.graph.node(component) {
                node.manage.stop();
                stopped.push(node.info.name().clone());
            }
        }
        self.emit(Event::TornDown { cause, others, stopped }, ctx);
    }
}
