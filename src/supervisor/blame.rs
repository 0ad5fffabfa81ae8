//! Blame: which component limits a chain, from how long its outlets have waited and for what.
//!
//! ```text
//!   P ══blocked══▶ C ══blocked══▶ D            follow the blocked links down: D does not take data
//!   P ══starved══▶ C ══starved══▶ D            follow the starved links up: P gives no data
//!   P ══blocked══▶ C ══starved══▶ D            it is C: below
//!   P ══neither══▶ C                           P works all the time itself, or does not say what it waits for
//! ```
//!
//! What C does, that is blocked before and not behind, is told by the share of the time that its handlers took, which counts first,
//! and by what is seen on its link at the moment of the look:
//!
//! ```text
//!   handlers take half of the time        C works: Busy
//!   items lie in its mailbox              its arbiter does something else: Queued
//!   it holds items, and is an agent       its other side takes nothing: NotReady
//!   it holds items, and passes them on    it delays them by more than its window: SmallWindow
//!   it holds items, and is a sink         SlowConsumer
//!   it holds nothing, a window of one     SmallWindow
//!   it holds nothing                      it grants less than comes, as a throttle does: Withholds
//! ```
//!
//! A component with two directions of one thing, such as a socket, is an end: what it gives does not come from what it takes.

use super::graph::Edge;
use super::{Supervisor, SupervisorActor, Target};
use crate::component::ComponentId;
use crate::proto::budget::Standing;
use crate::proto::link::{Limit, LinkId};
use actix::{Context, Handler, Message};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A link that waits for less of the time than this is not followed: 20 %.
const NOTABLE: f64 = 0.2;

/// Handlers that take this part of the time are what limits: 50 %.
const WORKS: f64 = 0.5;

/// Which component limits a chain, and by how much.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verdict {
    /// In which way.
    pub finding: Finding,
    /// The component; none if there is nothing to say.
    pub component: Option<ComponentId>,
    /// Its name.
    pub name: Arc<str>,
    /// The part of the time, 0 to 1, that the link that tells of it was blocked, starved, or neither; or that the component's
    /// handlers took, if they alone tell of it.
    pub share: f64,
    /// The time that was looked at.
    pub over: Duration,
}

/// In which way a component limits its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// It does not take data as fast as it comes.
    SlowConsumer,
    /// It does not give data as fast as it is taken.
    SlowSource,
    /// It takes no more because it works, and not because nobody takes what it gives.
    Busy,
    /// What was sent to it waits in its mailbox, and it does not work: its arbiter does something else.
    Queued,
    /// Its other side, such as the peer of a socket, does not take data.
    NotReady,
    /// It grants less than comes: a throttle, a closed gate.
    Withholds,
    /// It neither waits for data nor for credit.
    NeverWaits,
    /// It waits for credit of itself, around a circle of components.
    Circle,
    /// Its window is smaller than what could come while an item, or its grant, is on the way: hardly more than one message, or full
    /// of items that it delays, without work.
    SmallWindow,
    /// It would take more, but the memory budget has not more to give.
    Budget,
    /// There is no running link, or no time has passed since the last look.
    Unknown,
}

impl Verdict {
    fn unknown() -> Self {
        Self { finding: Finding::Unknown, component: None, name: "".into(), share: 0.0, over: Duration::ZERO }
    }

    /// What would help.
    ///
    /// ```no_run
    /// # async fn f(supervisor: versile_io::supervisor::Supervisor, link: versile_io::proto::link::LinkId) {
    /// let verdict = supervisor.blame(versile_io::supervisor::Target::ChainOf(link)).await;
    /// println!("{verdict}; {}", verdict.help());
    /// # }
    /// ```
    pub fn help(&self) -> &'static str {
        match self.finding {
            Finding::SlowConsumer => "a faster consumer, or less data; a wider window does not help for long",
            Finding::SlowSource => "a faster source; the rest of the chain has time to spare",
            Finding::Busy => "less work for each item, or an arbiter of its own",
            Finding::Queued => "an arbiter of its own, or shorter turns of what shares it",
            Finding::NotReady => "a faster peer or device; a wider window does not help for long",
            Finding::Withholds => "a higher rate, or an open gate, if that is not what is wanted",
            Finding::NeverWaits => "less work for each item, or `Outlet::waiting` if it is idle",
            Finding::SmallWindow => "a wider window: its delay times the rate that is wanted, and several messages",
            Finding::Budget => {
                "a larger budget, a higher priority, or a limit on stalled chains, which keep what they have"
            }
            Finding::Circle => "a consumer outside the circle, or one that holds less",
            Finding::Unknown => "another look, later",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, percent) = (super::snapshot::one_line(&self.name), (self.share * 100.0).round());
        match self.finding {
            Finding::SlowConsumer => write!(f, "consumer `{name}` does not take data: {percent} % blocked"),
            Finding::SlowSource => write!(f, "source `{name}` gives no data: {percent} % starved"),
            Finding::Busy => write!(f, "`{name}` works all the time: {percent} % blocked before it, and not behind it"),
            Finding::Queued => write!(f, "the mailbox of `{name}` waits for its arbiter: {percent} % blocked"),
            Finding::NotReady => write!(f, "the other side of `{name}` does not take data: {percent} % blocked"),
            Finding::Withholds => write!(f, "`{name}` grants less than comes: {percent} % blocked"),
            Finding::NeverWaits => write!(f, "`{name}` waits for nothing: {percent} % neither starved nor blocked"),
            Finding::SmallWindow => {
                write!(f, "the window of `{name}` is small: {percent} % blocked, and it does not work")
            }
            Finding::Budget => {
                write!(f, "the memory budget is short for `{name}`: {percent} % blocked, and it holds nothing")
            }
            Finding::Circle => write!(f, "`{name}` waits for itself around a circle: {percent} % blocked"),
            Finding::Unknown => f.write_str("nothing to say yet"),
        }
    }
}

impl Supervisor {
    /// Names the component that limits a chain since the last look at it, or since it was attached. Of several chains, the
    /// one that waits most. [`Verdict::help`] says what would help.
    ///
    /// ```
    /// use versile_io::supervisor::{Finding, Supervisor, Target};
    ///
    /// actix::System::new().block_on(async {
    ///     let verdict = Supervisor::current().blame(Target::All).await;
    ///     assert_eq!(verdict.finding, Finding::Unknown);
    ///     assert_eq!(verdict.to_string(), "nothing to say yet");
    /// });
    /// ```
    pub async fn blame(&self, target: Target) -> Verdict {
        self.request(|reply| Blame { target, reply }).await.unwrap_or_else(Verdict::unknown)
    }
}

struct Blame {
    target: Target,
    reply: oneshot::Sender<Verdict>,
}

impl Message for Blame {
    type Result = ();
}

impl Handler<Blame> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Blame { target, reply }: Blame, _: &mut Context<Self>) {
        let members: BTreeSet<ComponentId> = self.targeted(target).into_iter().flatten().collect();
        let inside = |edge: &Edge| edge.is_live() && edge.ends().all(|end| members.contains(&end));
        let budget = self.budget.get();
        let short = |link| {
            let standing = budget.as_ref().and_then(|budget| budget.standing(link));
            matches!(standing, Some(Standing::Short | Standing::Waiting))
        };
        let edges = self.graph.edges_mut().filter(|edge| inside(edge));
        let spans: Vec<Span> = edges.filter_map(|edge| Span::look(edge, short)).collect();
        let worked: BTreeMap<_, _> = members.iter().map(|id| (*id, self.graph.look_at_work(*id))).collect();
        let is_end = |id| self.graph.node(id).is_some_and(|node| node.info.is_two_way());
        let mut verdict = judge(&spans, is_end, |id| worked.get(&id).copied().unwrap_or(0.0));
        if let Some(component) = verdict.component {
            verdict.name = self.graph.name(component);
        }
        let _ = reply.send(verdict);
    }
}

/// How long an outlet had waited at the last look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    at: Instant,
    starved: Duration,
    blocked: Duration,
}

impl Look {
    /// At the beginning of a link.
    pub(super) fn begin() -> Self {
        Self { at: Instant::now(), starved: Duration::ZERO, blocked: Duration::ZERO }
    }
}

/// A link since the last look.
#[derive(Clone, Copy, Debug)]
struct Span {
    link: LinkId,
    producer: ComponentId,
    consumer: ComponentId,
    over: Duration,
    /// Parts of the time.
    starved: f64,
    blocked: f64,
    idle: Idle,
    lies: Lies,
}

/// Why the consumer may have nothing to do though its producer has something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idle {
    /// It has something to do, or room for more.
    No,
    /// It has finished with all that it has, and its window is hardly more than one message.
    SmallWindow,
    /// It has finished with all that it has, and the budget gives it less than it wishes.
    ShortOfBudget,
}

/// Where what was sent lies, at the moment of the look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lies {
    #[default]
    Nowhere,
    /// Before the consumer: in its mailbox.
    Queued,
    /// In the consumer.
    Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Blocked,
    Starved,
    Neither,
}

impl Span {
    /// Looks, and remembers it.
    fn look(edge: &mut Edge, is_short: impl Fn(LinkId) -> bool) -> Option<Self> {
        let link = edge.link()?;
        let times = link.times();
        let now = Look { at: Instant::now(), starved: times.starved(), blocked: times.blocked() };
        let was = std::mem::replace(&mut edge.look, now);
        let over = now.at.saturating_duration_since(was.at);
        let share = |now: Duration, was: Duration| match over.is_zero() {
            true => 0.0,
            false => (now.saturating_sub(was).as_secs_f64() / over.as_secs_f64()).min(1.0),
        };
        let cell = &edge.cell;
        let (limit, accepted, idle) = (cell.limit(), cell.accepted(), cell.in_flight() == 0 && cell.held() == 0);
        // with nothing held, what was granted and not used is the window
        let room = limit.credit(accepted);
        let message = accepted.quantity / accepted.messages.max(1);
        let short = idle && is_short(cell.id());
        let narrow = limit.quantity != Limit::UNLIMITED && room.quantity < message.saturating_mul(2);
        Some(Self {
            link: cell.id(),
            producer: edge.producer?,
            consumer: edge.consumer?,
            over,
            starved: share(now.starved, was.starved),
            blocked: share(now.blocked, was.blocked),
            idle: match idle && accepted.messages > 0 && (narrow || room.messages <= 2) {
                _ if short => Idle::ShortOfBudget,
                // without any room nothing is granted at all: that is no matter of the window
                true if !room.is_exhausted() => Idle::SmallWindow,
                _ => Idle::No,
            },
            lies: match (cell.held(), cell.in_flight()) {
                (0, 0) => Lies::Nowhere,
                (0, _) => Lies::Queued,
                _ => Lies::Held,
            },
        })
    }

    fn mood(&self) -> Mood {
        match (self.starved, self.blocked) {
            (starved, blocked) if blocked >= NOTABLE && blocked >= starved => Mood::Blocked,
            (starved, _) if starved >= NOTABLE => Mood::Starved,
            _ => Mood::Neither,
        }
    }

    fn neither(&self) -> f64 {
        (1.0 - self.starved - self.blocked).max(0.0)
    }

    fn finds(&self, finding: Finding, component: ComponentId) -> Verdict {
        let share = match finding {
            Finding::SlowConsumer
            | Finding::Busy
            | Finding::Queued
            | Finding::NotReady
            | Finding::Withholds
            | Finding::SmallWindow
            | Finding::Budget
            | Finding::Circle => self.blocked,
            Finding::SlowSource => self.starved,
            Finding::NeverWaits | Finding::Unknown => self.neither(),
        };
        Verdict { finding, component: Some(component), name: "".into(), share, over: self.over }
    }
}

/// The span of which `value` is highest; of equals the first.
fn highest<'a>(spans: impl Iterator<Item = &'a Span>, value: impl Fn(&Span) -> f64) -> Option<&'a Span> {
    spans.reduce(|best, span| if value(span) > value(best) { span } else { best })
}

/// What the consumer of a blocked link does, that nobody blocks behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing goes on from it.
    Sink,
    /// A direction of a two-way component: what comes goes to its other side.
    Agent,
    /// It passes on.
    Middle,
}

fn limit(span: &Span, kind: Kind, worked: f64) -> Finding {
    match (span.lies, kind) {
        _ if span.idle == Idle::ShortOfBudget => Finding::Budget,
        _ if worked >= WORKS => Finding::Busy,
        _ if span.idle == Idle::SmallWindow => Finding::SmallWindow,
        (Lies::Queued, _) => Finding::Queued,
        (Lies::Held, Kind::Agent) => Finding::NotReady,
        (Lies::Held, Kind::Middle) => Finding::SmallWindow,
        (Lies::Nowhere, Kind::Middle) if worked < NOTABLE => Finding::Withholds,
        (Lies::Nowhere, Kind::Middle) => Finding::Busy,
        (Lies::Held | Lies::Nowhere, Kind::Sink) | (Lies::Nowhere, Kind::Agent) => Finding::SlowConsumer,
    }
}

/// Names the component. Each link is followed once, so a cycle ends too.
fn judge(spans: &[Span], is_end: impl Fn(ComponentId) -> bool, worked: impl Fn(ComponentId) -> f64) -> Verdict {
    let measured = || spans.iter().filter(|span| !span.over.is_zero());
    let Some(worst) = highest(measured(), |span| span.blocked.max(span.starved)) else { return Verdict::unknown() };
    let mut met = BTreeSet::new();
    let mut at = worst;
    loop {
        let fresh = met.insert(at.link);
        let below = measured().filter(|span| span.producer == at.consumer && !is_end(at.consumer));
        let above = measured().filter(|span| span.consumer == at.producer && !is_end(at.producer));
        match at.mood() {
            Mood::Blocked => match highest(below, |span| span.blocked) {
                Some(next) if next.mood() == Mood::Blocked && fresh => at = next,
                Some(next) if next.mood() == Mood::Blocked => return at.finds(Finding::Circle, at.consumer),
                next => {
                    let kind = match next {
                        Some(_) => Kind::Middle,
                        None if is_end(at.consumer) => Kind::Agent,
                        None => Kind::Sink,
                    };
                    let finding = limit(at, kind, worked(at.consumer));
                    // one that fills the window in each of its turns is blocked at the end of each
                    if finding != Finding::Busy && at.lies == Lies::Nowhere && worked(at.producer) >= WORKS {
                        let fed = measured().any(|span| span.consumer == at.producer && span.mood() == Mood::Blocked);
                        let finding = if fed { Finding::Busy } else { Finding::NeverWaits };
                        return Verdict { share: worked(at.producer), ..at.finds(finding, at.producer) };
                    }
                    return at.finds(finding, at.consumer);
                }
            },
            Mood::Starved => match highest(above, |span| span.starved) {
                Some(next) if fresh && next.mood() == Mood::Starved => at = next,
                Some(next) if next.mood() == Mood::Blocked => {
                    return next.finds(limit(next, Kind::Middle, worked(at.producer)), at.producer);
                }
                Some(next) if fresh => at = next,
                _ => return at.finds(Finding::SlowSource, at.producer),
            },
            Mood::Neither => {
                let at = if met.len() > 1 { Some(at) } else { highest(measured(), Span::neither) };
                let at = at.unwrap_or(worst);
                return at.finds(Finding::NeverWaits, at.producer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::ComponentInfo;
    use Finding::*;
    use Idle::{No, ShortOfBudget as Short, SmallWindow as Tight};

    /// `(producer, consumer, starved %, blocked %, why idle)`, and the verdict as `finding name share`.
    type Case = (&'static str, &'static [(&'static str, &'static str, u32, u32, Idle)], Finding, &'static str, u32);

    const CASES: &[Case] = &[
        ("slow sink", &[("a", "sink", 2, 94, No)], SlowConsumer, "sink", 94),
        (
            "slow sink behind filters",
            &[("a", "f", 1, 90, No), ("f", "g", 1, 92, No), ("g", "sink", 2, 95, No)],
            SlowConsumer,
            "sink",
            95,
        ),
        (
            "slow sink, most blocked at the top",
            &[("a", "f", 1, 95, No), ("f", "g", 1, 92, No), ("g", "sink", 2, 90, No)],
            SlowConsumer,
            "sink",
            90,
        ),
        ("slow source", &[("disk", "f", 97, 1, No), ("f", "sink", 98, 0, No)], SlowSource, "disk", 97),
        ("filter that burns", &[("a", "f", 3, 90, No), ("f", "sink", 95, 0, No)], Busy, "f", 90),
        ("filter that burns, found from above", &[("a", "f", 3, 95, No), ("f", "sink", 90, 0, No)], Busy, "f", 95),
        (
            "actor that does not say what it waits for burns",
            &[("a", "own", 0, 90, No), ("own", "sink", 0, 0, No)],
            Busy,
            "own",
            90,
        ),
        ("source that burns", &[("gen", "sink", 5, 5, No)], NeverWaits, "gen", 90),
        (
            "source that burns before a filter",
            &[("gen", "f", 5, 5, No), ("f", "sink", 60, 0, No)],
            NeverWaits,
            "gen",
            90,
        ),
        ("small window", &[("a", "sink", 5, 80, Tight)], SmallWindow, "sink", 80),
        ("budget exhausted", &[("a", "sink", 5, 80, Short)], Budget, "sink", 80),
        ("budget exhausted before a filter", &[("a", "f", 0, 85, Short), ("f", "sink", 90, 0, No)], Budget, "f", 85),
        (
            "budget short, and a sink that is slow behind it",
            &[("a", "g", 0, 85, Short), ("g", "sink", 0, 90, No)],
            SlowConsumer,
            "sink",
            90,
        ),
        (
            "tee with one slow side",
            &[("a", "tee", 0, 90, No), ("tee", "fast", 85, 0, No), ("tee", "slow", 0, 95, No)],
            SlowConsumer,
            "slow",
            95,
        ),
        (
            "merge with one slow side",
            &[("x", "merge", 20, 70, No), ("y", "merge", 96, 0, No), ("merge", "sink", 97, 0, No)],
            SlowSource,
            "y",
            96,
        ),
        ("two-way, one direction", &[("!a", "!b", 2, 93, No), ("!b", "!a", 90, 0, No)], SlowConsumer, "!b", 93),
        ("two-way, both idle", &[("!a", "!b", 99, 0, No), ("!b", "!a", 98, 0, No)], SlowSource, "!a", 99),
        ("a ring", &[("a", "b", 0, 90, No), ("b", "a", 0, 90, No)], Circle, "b", 90),
    ];

    #[test]
    fn the_table() {
        for (what, links, finding, name, share) in CASES {
            let mut names: Vec<(&str, ComponentId)> = Vec::new();
            let mut id = |name: &'static str| match names.iter().find(|(n, _)| *n == name) {
                Some((_, id)) => *id,
                None => {
                    names.push((name, ComponentInfo::new(name, false).id()));
                    names[names.len() - 1].1
                }
            };
            let part = |percent: u32| f64::from(percent) / 100.0;
            let spans = links.iter().map(|(producer, consumer, starved, blocked, idle)| Span {
                link: LinkId::next(),
                producer: id(producer),
                consumer: id(consumer),
                over: Duration::from_secs(1),
                starved: part(*starved),
                blocked: part(*blocked),
                idle: *idle,
                lies: Lies::Nowhere,
            });
            let spans: Vec<Span> = spans.collect();
            let of = |id| names.iter().find(|(_, other)| *other == id).map_or("", |(name, _)| *name);
            // those that pass on work
            let verdict = judge(&spans, |id| of(id).starts_with('!'), |id| f64::from(["f", "own"].contains(&of(id))));
            let found = (verdict.finding, verdict.component.map_or("", of), (verdict.share * 100.0).round() as u32);
            assert_eq!(found, (*finding, *name, *share), "{what}");
        }
    }

    /// A source that fills the window in each of its turns looks blocked; its handlers tell.
    #[test]
    fn a_producer_that_works_is_named_before_a_consumer_that_does_nothing() {
        let of = |name| ComponentInfo::new(name, false).id();
        let (source, filter, sink) = (of("source"), of("filter"), of("sink"));
        let span = |producer, consumer| Span {
            link: LinkId::next(),
            producer,
            consumer,
            over: Duration::from_secs(1),
            starved: 0.0,
            blocked: 0.9,
            idle: Idle::No,
            lies: Lies::Nowhere,
        };
        let verdict = judge(&[span(source, sink)], |_| false, |id| if id == source { 0.8 } else { 0.0 });
        assert_eq!((verdict.finding, verdict.component, verdict.share), (NeverWaits, Some(source), 0.8));
        let chain = [span(source, filter), span(filter, sink)];
        let verdict = judge(&chain, |_| false, |id| if id == filter { 0.7 } else { 0.0 });
        assert_eq!((verdict.finding, verdict.component, verdict.share), (Busy, Some(filter), 0.7));
    }

    /// What lies where, the kind of the consumer, the part of the time that it worked; and the finding.
    const EVIDENCE: &[(&str, Idle, Lies, Kind, f64, Finding)] = &[
        ("a sink that burns", No, Lies::Held, Kind::Sink, 0.9, Busy),
        ("a sink that burns, and whose mailbox fills", No, Lies::Queued, Kind::Sink, 0.9, Busy),
        ("a filter that burns", No, Lies::Held, Kind::Middle, 0.6, Busy),
        ("a filter that burns, seen between two items", No, Lies::Nowhere, Kind::Middle, 0.4, Busy),
        ("a sink beside a hog", No, Lies::Queued, Kind::Sink, 0.1, Queued),
        ("a filter beside a hog", No, Lies::Queued, Kind::Middle, 0.1, Queued),
        ("an agent beside a hog", No, Lies::Queued, Kind::Agent, 0.1, Queued),
        ("a socket whose peer does not read", No, Lies::Held, Kind::Agent, 0.0, NotReady),
        ("a sink that waits", No, Lies::Held, Kind::Sink, 0.0, SlowConsumer),
        ("a filter that waits", No, Lies::Held, Kind::Middle, 0.0, SmallWindow),
        ("a window of one message", Tight, Lies::Nowhere, Kind::Sink, 0.1, SmallWindow),
        ("a window of one message in the middle", Tight, Lies::Nowhere, Kind::Middle, 0.1, SmallWindow),
        ("a window of one message that the budget made", Short, Lies::Nowhere, Kind::Sink, 0.1, Budget),
        ("a throttle", No, Lies::Nowhere, Kind::Middle, 0.0, Withholds),
    ];

    #[test]
    fn the_evidence_at_the_place() {
        for (what, idle, lies, kind, worked, finding) in EVIDENCE {
            let info = ComponentInfo::new("any", false);
            let (producer, consumer) = (info.id(), info.id());
            let over = Duration::from_secs(1);
            let (idle, lies) = (*idle, *lies);
            let span = Span { link: LinkId::next(), producer, consumer, over, starved: 0.0, blocked: 0.9, idle, lies };
            assert_eq!(limit(&span, *kind, *worked), *finding, "{what}");
        }
    }

    #[test]
    fn a_verdict_is_one_line() {
        let mut verdict = Verdict::unknown();
        (verdict.name, verdict.share) = ("si\nnk".into(), 0.94);
        for (finding, text) in [
            (SlowConsumer, "consumer `si nk` does not take data: 94 % blocked"),
            (SlowSource, "source `si nk` gives no data: 94 % starved"),
            (Budget, "the memory budget is short for `si nk`: 94 % blocked, and it holds nothing"),
            (Busy, "`si nk` works all the time: 94 % blocked before it, and not behind it"),
            (Queued, "the mailbox of `si nk` waits for its arbiter: 94 % blocked"),
            (NotReady, "the other side of `si nk` does not take data: 94 % blocked"),
            (Withholds, "`si nk` grants less than comes: 94 % blocked"),
            (SmallWindow, "the window of `si nk` is small: 94 % blocked, and it does not work"),
        ] {
            verdict.finding = finding;
            assert_eq!(verdict.to_string(), text);
        }
    }

    #[test]
    fn no_time_is_no_verdict() {
        assert_eq!(judge(&[], |_| false, |_| 0.0).finding, Unknown);
    }
}
