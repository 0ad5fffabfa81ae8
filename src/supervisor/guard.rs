//! Guards: limits on time and bytes that a user sets for a link, a chain or all chains of a supervisor.
//!
//! ```text
//!   guard(target, guards) ──▶ supervisor        one timer for all of its guards, only while it has some
//!   timer  ──▶ looks at the counters of each link: has anything moved, is something stuck?
//!          ──▶ Stalled / Guarded, with who waits for whom; then the chain is aborted, or this was a warning
//! ```
//!
//! The timer looks eight times within the shortest limit, so a limit is kept to within an eighth of it, and never fires early. Data
//! pays nothing for it.

use super::event::{Emit, Event};
use super::graph::{Edge, Graph};
use super::snapshot::one_line;
use super::{Supervisor, SupervisorActor, Target};
use crate::component::ComponentId;
use crate::component::link::Waiting;
use crate::proto::link::{Cause, Count, LinkId, Origin, Reason};
use actix::{AsyncContext, Context, Handler, Message, SpawnHandle};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How often the bytes are looked at where no time limit asks for more: 100 ms.
const BYTES_LOOK: Duration = Duration::from_millis(100);

/// Limits for a link or a chain. None of them is set at first.
///
/// ```
/// use std::time::Duration;
/// use versile_io::supervisor::Guards;
///
/// let _ = Guards::default().idle(Duration::from_secs(60)).stalled(Duration::from_secs(10)).bytes(1 << 30);
/// let _ = Guards::default().life(Duration::from_secs(3600)).warn();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guards {
    idle: Option<Duration>,
    stalled: Option<Duration>,
    life: Option<Duration>,
    bytes: Option<u64>,
    warn: bool,
}

impl Guards {
    /// Nothing has moved for so long, on any of the links.
    #[must_use]
    pub fn idle(mut self, limit: Duration) -> Self {
        self.idle = Some(limit);
        self
    }

    /// On one of the links data waits without credit, or there is credit and nothing moves although the producer does not wait
    /// for data, for so long. Producers of your own have to say what they wait for
    /// ([`Outlet::waiting`](crate::component::Outlet::waiting)).
    #[must_use]
    pub fn stalled(mut self, limit: Duration) -> Self {
        self.stalled = Some(limit);
        self
    }

    /// So long after the guard was set, or with [`Target::All`] after the chain's oldest link was first seen.
    #[must_use]
    pub fn life(mut self, limit: Duration) -> Self {
        self.life = Some(limit);
        self
    }

    /// One of the links has carried more than this, in bytes or items, since it was attached. Looked at by a timer: what passes
    /// until then passes.
    #[must_use]
    pub fn bytes(mut self, limit: u64) -> Self {
        self.bytes = Some(limit);
        self
    }

    /// Only the event, once for each time that a limit is reached; the chain goes on.
    #[must_use]
    pub fn warn(mut self) -> Self {
        self.warn = true;
        self
    }

    /// How often to look: eight times within the shortest limit.
    fn pace(&self) -> Duration {
        let times = [self.idle, self.stalled, self.life].into_iter().flatten().map(|limit| limit / 8);
        let bytes = self.bytes.map(|_| BYTES_LOOK);
        times.chain(bytes).min().unwrap_or(Duration::MAX).max(Duration::from_millis(1))
    }
}

/// A guard that was set, for [`Supervisor::unguard`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuardId(u64);

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exceeded {
    /// Nothing moved for so long.
    Idle(Duration),
    /// It has lived for so long.
    Life(Duration),
    /// More than this has passed.
    Bytes(u64),
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle(limit) => write!(f, "idle for {limit:?}"),
            Self::Life(limit) => write!(f, "at its end of life after {limit:?}"),
            Self::Bytes(limit) => write!(f, "beyond its {limit} bytes"),
        }
    }
}

/// The error in the cause of a chain that was aborted for its bytes, as [`Reason::Failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{passed} bytes passed, and the limit was {limit}")]
#[non_exhaustive]
pub struct Overrun {
    /// The limit.
    pub limit: u64,
    /// What had passed when it was looked at.
    pub passed: u64,
}

/// What a component waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitFor {
    /// It has data, and this component has granted no credit.
    Credit(Arc<str>),
    /// It has credit, and this component gives no data.
    Data(Arc<str>),
    /// No neighbour: it is this one that does not go on.
    Itself,
}

/// One component of a [`WaitPath`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wait {
    /// Its name.
    pub component: Arc<str>,
    /// What it waits for.
    pub waits_for: WaitFor,
}

/// Who waits for whom; the last one is the one that does not go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitPath(pub Vec<Wait>);

impl fmt::Display for WaitPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, wait) in self.0.iter().enumerate() {
            let (comma, name) = (if n > 0 { ", " } else { "" }, one_line(&wait.component));
            match &wait.waits_for {
                WaitFor::Credit(of) => write!(f, "{comma}{name} waits for credit of {}", one_line(of))?,
                WaitFor::Data(of) => write!(f, "{comma}{name} waits for data of {}", one_line(of))?,
                WaitFor::Itself => write!(f, "{comma}{name} does not go on")?,
            }
        }
        Ok(())
    }
}

impl Supervisor {
    /// Sets limits for a link, a chain, or with [`Target::All`] for each chain by itself, also for those to come. A chain stays
    /// guarded when components are spliced into it. `None` if there is no such link or component.
    ///
    /// A limit that is reached is an event, [`Stalled`](Event::Stalled) or [`Guarded`](Event::Guarded), and aborts the chain
    /// with [`Reason::TimedOut`], or for its bytes with an [`Overrun`], unless the guard only warns.
    ///
    /// ```
    /// use std::time::Duration;
    /// use versile_io::supervisor::{Guards, Supervisor, Target};
    ///
    /// actix::System::new().block_on(async {
    ///     let supervisor = Supervisor::current();
    ///     let guards = Guards::default().stalled(Duration::from_secs(10));
    ///     let guard = supervisor.guard(Target::All, guards).await.expect("all is always there");
    ///     assert!(supervisor.unguard(guard).await);
    /// });
    /// ```
    pub async fn guard(&self, target: Target, guards: Guards) -> Option<GuardId> {
        self.request(|reply| Set { target, guards, reply }).await.flatten()
    }

    /// Takes a guard away. False if it is gone already: its chain is, or it has aborted it.
    pub async fn unguard(&self, guard: GuardId) -> bool {
        self.request(|reply| Unset { guard, reply }).await.unwrap_or(false)
    }
}

struct Set {
    target: Target,
    guards: Guards,
    reply: oneshot::Sender<Option<GuardId>>,
}

impl Message for Set {
    type Result = ();
}

struct Unset {
    guard: GuardId,
    reply: oneshot::Sender<bool>,
}

impl Message for Unset {
    type Result = ();
}

/// All guards of a supervisor, and what their timer has seen.
#[derive(Debug, Default)]
pub(super) struct Guarding {
    all: BTreeMap<GuardId, Guard>,
    next: u64,
    seen: BTreeMap<LinkId, Seen>,
    timer: Option<SpawnHandle>,
}

#[derive(Clone, Debug)]
struct Guard {
    guards: Guards,
    scope: Scope,
    since: Instant,
    /// What was warned of and still is so.
    warned: BTreeSet<(LinkId, Kind)>,
}

#[derive(Clone, Debug)]
enum Scope {
    Link(LinkId),
    /// The components that were ever part of it and are not gone: so it outlasts a splice.
    Chain(BTreeSet<ComponentId>),
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Stalled,
    Idle,
    Life,
    Bytes,
}

/// A link, as the timer last saw it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    first: Instant,
    counters: [u64; 4],
    /// When it was first seen with these counters.
    moved: Instant,
    /// Since when it has been stuck at them.
    stuck: Option<Instant>,
}

impl Seen {
    fn look(was: Option<&Self>, edge: &Edge, stuck: bool, now: Instant) -> Self {
        let cell = &edge.cell;
        let counters = [cell.produced().quantity, cell.produced().messages, cell.accepted().messages, cell.held()];
        match was {
            Some(was) if was.counters == counters => {
                let stuck = stuck.then(|| was.stuck.unwrap_or(now));
                Self { stuck, ..*was }
            }
            was => Self { first: was.map_or(now, |was| was.first), counters, moved: now, stuck: stuck.then_some(now) },
        }
    }
}

/// A limit that was reached by one of the links of a guard.
struct Reached {
    link: LinkId,
    kind: Kind,
    after: Duration,
    passed: u64,
}

impl Guard {
    /// The limits that these links, of one chain, have reached.
    fn reached(&self, links: &[LinkId], seen: &BTreeMap<LinkId, Seen>, now: Instant) -> Vec<Reached> {
        let all: Vec<(LinkId, &Seen)> = links.iter().filter_map(|link| Some((*link, seen.get(link)?))).collect();
        let Some((first, _)) = all.first().copied() else { return Vec::new() };
        let mut reached = Vec::new();
        let mut is = |link, kind, after, passed| reached.push(Reached { link, kind, after, passed });
        if let Some(limit) = self.guards.stalled {
            let stuck = |seen: &Seen| seen.stuck.is_some_and(|since| now - since >= limit);
            if let Some((link, _)) = all.iter().find(|(_, seen)| stuck(seen)) {
                is(*link, Kind::Stalled, limit, 0);
            }
        }
        if let Some(limit) = self.guards.idle
            && all.iter().all(|(_, seen)| now - seen.moved >= limit)
        {
            is(first, Kind::Idle, limit, 0);
        }
        if let Some(limit) = self.guards.life {
            let born = match self.scope {
                Scope::All => all.iter().map(|(_, seen)| seen.first).min().unwrap_or(now),
                _ => self.since,
            };
            if now - born >= limit {
                is(first, Kind::Life, limit, 0);
            }
        }
        if let Some(limit) = self.guards.bytes
            && let Some((link, seen)) = all.iter().find(|(_, seen)| seen.counters[0] > limit)
        {
            is(*link, Kind::Bytes, Duration::ZERO, seen.counters[0]);
        }
        reached
    }

    /// When to look again.
    fn next_look(&self, now: Instant) -> Duration {
        let end_of_life = match (&self.scope, self.guards.life) {
            (Scope::All, _) | (_, None) => None,
            (_, Some(life)) => Some(life.saturating_sub(now - self.since)).filter(|left| !left.is_zero()),
        };
        end_of_life.unwrap_or(Duration::MAX).min(self.guards.pace())
    }
}

impl Handler<Set> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Set { target, guards, reply }: Set, ctx: &mut Context<Self>) {
        let members = match target {
            Target::All => Some(BTreeSet::new()),
            _ => self.targeted(target).pop().filter(|members| !members.is_empty()),
        };
        let set = members.map(|members| {
            let scope = match target {
                Target::All => Scope::All,
                Target::Link(link) => Scope::Link(link),
                Target::ChainOf(_) | Target::ChainWith(_) => Scope::Chain(members),
            };
            self.guarding.next += 1;
            let id = GuardId(self.guarding.next);
            self.guarding.all.insert(id, Guard { guards, scope, since: Instant::now(), warned: BTreeSet::new() });
            id
        });
        self.look_at_guards(ctx);
        let _ = reply.send(set);
    }
}

impl Handler<Unset> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Unset { guard, reply }: Unset, ctx: &mut Context<Self>) {
        let was = self.guarding.all.remove(&guard).is_some();
        self.arm_guards(ctx);
        let _ = reply.send(was);
    }
}

impl SupervisorActor {
    /// A component is gone: perhaps the last of a guarded chain.
    pub(super) fn guarded_gone(&mut self, component: ComponentId, ctx: &mut Context<Self>) {
        if self.guarding.all.is_empty() {
            return;
        }
        self.guarding.all.retain(|_, guard| match &mut guard.scope {
            Scope::Chain(members) => {
                members.remove(&component);
                !members.is_empty()
            }
            Scope::Link(_) | Scope::All => true,
        });
        if self.guarding.all.is_empty() {
            self.arm_guards(ctx);
        }
    }

    /// Looks at all guarded links, and sets the timer anew.
    fn look_at_guards(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        let graph = &self.graph;
        let watched = graph.edges().filter(|edge| edge.is_consuming() && edge.cell.cause().is_none());
        let seen = watched.map(|edge| {
            let id = edge.cell.id();
            (id, Seen::look(self.guarding.seen.get(&id), edge, is_stuck(graph, edge), now))
        });
        self.guarding.seen = seen.collect();
        let mut reached = Vec::new();
        let seen = &self.guarding.seen;
        let is_there = |link: &LinkId| seen.contains_key(link);
        let mut chains = None;
        self.guarding.all.retain(|id, guard| {
            let groups = match &mut guard.scope {
                Scope::Link(link) if !is_there(link) => return false,
                Scope::Link(link) => vec![vec![*link]],
                Scope::Chain(members) => {
                    members.extend(graph.chain(members.iter().copied()));
                    let inside = graph.edges().filter(|edge| edge.ends().any(|end| members.contains(&end)));
                    vec![inside.map(|edge| edge.cell.id()).collect()]
                }
                Scope::All => chains.get_or_insert_with(|| links_of_chains(graph)).clone(),
            };
            let mut now_so = BTreeSet::new();
            for links in groups {
                for is in guard.reached(&links, seen, now) {
                    let place = (links.first().copied().unwrap_or(is.link), is.kind);
                    now_so.insert(place);
                    if !guard.warned.contains(&place) {
                        reached.push((*id, is));
                        if !guard.guards.warn {
                            break;
                        }
                    }
                }
            }
            // what is so no more, and will be again, is told again
            guard.warned = if guard.guards.warn { now_so } else { BTreeSet::new() };
            true
        });
        for (id, is) in reached {
            self.limit_reached(id, &is, ctx);
        }
        self.arm_guards(ctx);
    }

    fn limit_reached(&mut self, id: GuardId, is: &Reached, ctx: &mut Context<Self>) {
        let Some(guard) = self.guarding.all.get(&id) else { return };
        let aborts = !guard.guards.warn;
        let is_for_all = matches!(guard.scope, Scope::All);
        let (link, after) = (is.link, is.after);
        let limit = guard.guards.bytes.unwrap_or(u64::MAX);
        let path = wait_path(&self.graph, link);
        let timed_out = |what: &str| Reason::TimedOut { waiting_for: format!("{what} ({path})").into(), after };
        let (reason, exceeded) = match is.kind {
            Kind::Stalled => (timed_out("progress"), None),
            Kind::Idle => (timed_out("data"), Some(Exceeded::Idle(after))),
            Kind::Life => (timed_out("the end"), Some(Exceeded::Life(after))),
            Kind::Bytes => (Reason::failed(Overrun { limit, passed: is.passed }), Some(Exceeded::Bytes(limit))),
        };
        let event = match exceeded {
            None => Event::Stalled { link, after, path, aborts },
            Some(exceeded) => Event::Guarded { link, exceeded, path, aborts },
        };
        self.emit(event, ctx);
        if aborts {
            if !is_for_all {
                self.guarding.all.remove(&id);
            }
            self.tear_down(link, Cause::new(reason, Origin::component("supervisor").on(link)), ctx);
        }
    }

    /// One timer, while there is a guard.
    fn arm_guards(&mut self, ctx: &mut Context<Self>) {
        if let Some(timer) = self.guarding.timer.take() {
            ctx.cancel_future(timer);
        }
        let now = Instant::now();
        match self.guarding.all.values().map(|guard| guard.next_look(now)).min() {
            // a guard without limits never looks
            Some(Duration::MAX) => {}
            Some(next) => {
                self.guarding.timer = Some(ctx.run_later(next, |act, ctx| {
                    act.guarding.timer = None;
                    act.look_at_guards(ctx);
                }));
            }
            None => self.guarding.seen.clear(),
        }
    }
}

fn links_of_chains(graph: &Graph) -> Vec<Vec<LinkId>> {
    let chains = graph.chains();
    let members = chains.iter().enumerate().flat_map(|(n, chain)| chain.iter().map(move |member| (*member, n)));
    let place: BTreeMap<ComponentId, usize> = members.collect();
    let mut links = vec![Vec::new(); chains.len()];
    for edge in graph.edges() {
        if let Some(n) = edge.ends().find_map(|end| place.get(&end)) {
            links[*n].push(edge.cell.id());
        }
    }
    links
}

/// True if something waits on this link that should go on.
fn is_stuck(graph: &Graph, edge: &Edge) -> bool {
    let cell = &edge.cell;
    if cell.in_flight() > 0 {
        return true;
    }
    if !edge.is_live() || cell.outlet_state().is_terminal() {
        // the end was sent: the consumer is to finish with what it holds
        return cell.held() > 0;
    }
    match edge.link().map_or(Waiting::ForData, |link| link.times().waiting()) {
        Waiting::ForCredit => true,
        Waiting::ForData => false,
        Waiting::No if edge.producer.is_none() => false,
        Waiting::No => {
            let Count { quantity, messages } = cell.produced();
            let is_open = !cell.limit().credit(Count { quantity, messages }).is_exhausted();
            // a component that is fed and has nothing has nothing to send
            let mut feeding = graph.edges().filter(|e| e.is_consuming() && e.consumer == edge.producer).peekable();
            is_open && (feeding.peek().is_none() || feeding.any(|e| e.cell.held() > 0 || e.cell.in_flight() > 0))
        }
    }
}

/// Who waits for whom, beginning at a link: down along those without credit, or up along those without data.
fn wait_path(graph: &Graph, from: LinkId) -> WaitPath {
    let mut path = Vec::new();
    let Some(mut edge) = graph.link(from) else { return WaitPath(path) };
    let name = |component: Option<ComponentId>| component.map_or_else(|| "gone".into(), |id| graph.name(id));
    let waiting = |edge: &Edge| edge.link().map_or(Waiting::No, |link| link.times().waiting());
    let is_down = |edge: &Edge| waiting(edge) == Waiting::ForCredit || edge.cell.in_flight() > 0 || !edge.is_live();
    let is_up = |edge: &Edge| waiting(edge) == Waiting::ForData && !is_down(edge);
    let is_end = |id: Option<ComponentId>| id.and_then(|id| graph.node(id)).is_none_or(|node| node.info.is_two_way());
    let mut met = BTreeSet::new();
    let down = is_down(edge);
    if !down && !is_up(edge) {
        return WaitPath(vec![Wait { component: name(edge.producer), waits_for: WaitFor::Itself }]);
    }
    loop {
        met.insert(edge.cell.id());
        let (producer, consumer) = (name(edge.producer), name(edge.consumer));
        let (end, wait) = match down {
            true => (edge.consumer, Wait { component: producer, waits_for: WaitFor::Credit(consumer) }),
            false => (edge.producer, Wait { component: consumer, waits_for: WaitFor::Data(producer) }),
        };
        path.push(wait);
        let mut live = graph.edges().filter(|e| e.is_live() && !met.contains(&e.cell.id()));
        let next = match down {
            _ if is_end(end) => None,
            true => live.find(|e| e.producer == end && is_down(e)),
            false => live.find(|e| e.consumer == end && is_up(e)),
        };
        match next {
            Some(next) => edge = next,
            None => {
                path.push(Wait { component: name(end), waits_for: WaitFor::Itself });
                return WaitPath(path);
            }
        }
    }
}
