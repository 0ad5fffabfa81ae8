//! Snapshot: the graph with its counters, as values, text and Mermaid. JSON and DOT are in `export.rs`.
//!
//! Counters lie in the links' cells and are written by the ports as they go; across arbiters they are not one instant.

use super::{BudgetView, Supervisor, SupervisorActor};
use crate::component::ComponentId;
use crate::component::link::{Times, Waiting};
use crate::proto::budget::Standing;
use crate::proto::link::{Limit, LinkId, LinkState};
use actix::{Context, Handler, Message};
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The chains of a supervisor at one time.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// The components, in the order in which they were made.
    pub components: Vec<ComponentView>,
    /// The links, in the order in which they were made.
    pub links: Vec<LinkView>,
    /// How many watchers there are. One that is gone counts until the next event.
    pub watchers: usize,
    /// The supervisor's memory budget, if it has one.
    pub budget: Option<BudgetView>,
}

/// A component in a snapshot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ComponentView {
    /// Its process-wide name.
    pub id: ComponentId,
    /// The name that its owner chose.
    pub name: Arc<str>,
    /// True if its inlet and outlet are two directions of one thing.
    pub two_way: bool,
    /// True if something in the chains keeps it alive or busy. False for those in a cycle with nothing left to do, which hold
    /// each other: unless somebody else holds one of them, they stay for ever, and nobody would miss them.
    pub rooted: bool,
}

/// A link in a snapshot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LinkView {
    /// Its process-wide name.
    pub id: LinkId,
    /// The producer.
    pub producer: Option<ComponentId>,
    /// The consumer.
    pub consumer: Option<ComponentId>,
    /// How far the producer's end has come.
    pub outlet: LinkState,
    /// How far the consumer's end has come.
    pub inlet: LinkState,
    /// Bytes, or items, that were sent.
    pub produced: u64,
    /// Bytes, or items, that the consumer's port has taken.
    pub accepted: u64,
    /// Of what was sent, how much was carried in the kernel.
    pub in_kernel: u64,
    /// Messages that were sent.
    pub messages: u64,
    /// The limit last granted.
    pub limit: Limit,
    /// What lies between: sent and not yet taken.
    pub queued: u64,
    /// What the consumer has taken and not finished with.
    pub held: u64,
    /// What the producer waits for now.
    pub waiting: Waiting,
    /// Time with credit and without data.
    pub starved: Duration,
    /// Time with data and without credit.
    pub blocked: Duration,
    /// Messages of earlier attachments that were dropped.
    pub stale: u64,
    /// How the supervisor's memory budget served the consumer last; `None` if the link does not fall under it.
    pub standing: Option<Standing>,
}

impl Supervisor {
    /// The chains now. Empty if the supervisor is gone.
    pub async fn snapshot(&self) -> Snapshot {
        self.request(Take).await.unwrap_or_default()
    }
}

struct Take(oneshot::Sender<Snapshot>);

impl Message for Take {
    type Result = ();
}

impl Handler<Take> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Take(reply): Take, _: &mut Context<Self>) {
        let rooted = self.graph.rooted();
        let budget = self.budget.get();
        let components = self.graph.nodes().map(|node| ComponentView {
            id: node.info.id(),
            name: node.info.name().clone(),
            two_way: node.info.is_two_way(),
            rooted: rooted.contains(&node.info.id()),
        });
        let links = self.graph.edges().map(|edge| {
            let cell = &edge.cell;
            let link = edge.link();
            let times = link.as_ref().map(|link| link.times());
            LinkView {
                id: cell.id(),
                producer: edge.producer,
                consumer: edge.consumer,
                outlet: cell.outlet_state(),
                inlet: cell.inlet_state(),
                produced: cell.produced().quantity,
                accepted: cell.accepted().quantity,
                in_kernel: cell.parcels(),
                messages: cell.produced().messages,
                limit: cell.limit(),
                queued: cell.in_flight(),
                held: cell.held(),
                waiting: times.map_or(Waiting::No, Times::waiting),
                starved: times.map_or(Duration::ZERO, Times::starved),
                blocked: times.map_or(Duration::ZERO, Times::blocked),
                stale: cell.stale(),
                standing: budget.as_ref().and_then(|budget| budget.standing(cell.id())),
            }
        });
        let _ = reply.send(Snapshot {
            components: components.collect(),
            links: links.collect(),
            watchers: self.watchers.len(),
            budget: budget.as_ref().map(BudgetView::of),
        });
    }
}

impl Snapshot {
    /// The name of a component, or `?` for one that is gone.
    pub fn name(&self, component: Option<ComponentId>) -> &str {
        let found = component.and_then(|id| self.components.iter().find(|c| c.id == id));
        found.map_or("?", |c| &c.name)
    }

    /// The component of this name; the newest if there are several.
    pub fn component(&self, name: &str) -> Option<ComponentId> {
        self.components.iter().rev().find(|c| &*c.name == name).map(|c| c.id)
    }

    /// The graph as a Mermaid flowchart.
    pub fn mermaid(&self) -> String {
        let mut out = String::from("flowchart LR\n");
        for c in &self.components {
            // writing to a string does not fail
            let _ = writeln!(out, "  c{}[\"{}\"]", c.id.value(), escape(&c.name));
        }
        for l in &self.links {
            if let (Some(p), Some(c)) = (l.producer, l.consumer) {
                let _ = writeln!(out, "  c{} -->|\"{} of {}\"| c{}", p.value(), l.accepted, l.produced, c.value());
            }
        }
        out
    }
}

/// Quotes and line breaks would end a Mermaid label; a hash begins an escape, and angle brackets a tag.
fn escape(name: &str) -> String {
    let name = name.replace('#', "#35;").replace('"', "#quot;");
    one_line(&name.replace('<', "#lt;").replace('>', "#gt;"))
}

/// A name is a peer's at times: it must not begin a line of its own, nor steer a terminal.
pub(super) fn one_line(name: &str) -> String {
    name.replace(|c: char| c.is_control(), " ")
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for l in &self.links {
            let state = if l.inlet.is_terminal() { l.inlet } else { l.outlet };
            let standing = match l.standing {
                Some(Standing::Short) => "  short of budget",
                Some(Standing::Waiting) => "  waits for budget",
                Some(Standing::Served) | None => "",
            };
            writeln!(
                f,
                "{} {} -> {}  {state:?}  produced {} accepted {} limit {} queued {} held {}  starved {:.1?} blocked {:.1?}{standing}",
                l.id,
                one_line(self.name(l.producer)),
                one_line(self.name(l.consumer)),
                l.produced,
                l.accepted,
                l.limit,
                l.queued,
                l.held,
                l.starved,
                l.blocked
            )?;
        }
        for c in &self.components {
            if !self.links.iter().any(|l| l.producer == Some(c.id) || l.consumer == Some(c.id)) {
                writeln!(f, "{} has no link", one_line(&c.name))?;
            }
            if !c.rooted {
                writeln!(f, "{} has no root", one_line(&c.name))?;
            }
        }
        if let Some(BudgetView { total, outstanding, peak, links, waiting }) = self.budget {
            writeln!(f, "budget {outstanding} of {total} outstanding, at most {peak}; {links} links, {waiting} wait")?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::component::ComponentInfo;

    /// The numbers are the process's; in the golden files they start at 1.
    pub(in crate::supervisor) fn renumbered(snapshot: &Snapshot, text: String) -> String {
        let links = snapshot.links.iter().enumerate().map(|(n, l)| (l.id.to_string(), format!("link-@{}", n + 1)));
        let components = snapshot.components.iter().enumerate().map(|(n, c)| (format!(" c{}", c.id.value()), n + 1));
        let text = links.fold(text, |text, (from, to)| text.replacen(&from, &to, 1));
        let text = components.fold(text, |text, (from, to)| text.replace(&from, &format!(" c@{to}")));
        text.replace('@', "")
    }

    fn component(name: &str, rooted: bool) -> ComponentView {
        let info = ComponentInfo::new(name, false);
        ComponentView { id: info.id(), name: info.name().clone(), two_way: false, rooted }
    }

    fn link(producer: Option<ComponentId>, consumer: Option<ComponentId>) -> LinkView {
        LinkView {
            id: LinkId::next(),
            producer,
            consumer,
            outlet: LinkState::Open,
            inlet: LinkState::Open,
            produced: 1_500_000,
            accepted: 1_400_000,
            in_kernel: 0,
            messages: 300,
            limit: Limit { quantity: 1_600_000, messages: 512 },
            queued: 100_000,
            held: 4096,
            waiting: Waiting::ForCredit,
            starved: Duration::from_micros(1500),
            blocked: Duration::from_millis(2500),
            stale: 0,
            standing: None,
        }
    }

    pub(in crate::supervisor) fn made_up() -> Snapshot {
        let components = vec![
            component("tcp 10.0.0.2:80", true),
            component("the \"upper\" filter\nof two lines", true),
            component("<b>sink</b>", true),
            component("alone", false),
        ];
        let id = |n: usize| Some(components[n].id);
        let first = link(id(0), id(1));
        let ended = LinkView {
            outlet: LinkState::EndedClean,
            inlet: LinkState::EndedUnclean,
            waiting: Waiting::No,
            queued: 0,
            ..link(id(1), id(2))
        };
        let half = LinkView { inlet: LinkState::New, ..link(id(0), None) };
        let links = vec![first, ended, half];
        Snapshot { components, links, watchers: 1, budget: None }
    }

    #[test]
    fn a_budget_is_told_in_text_and_json_where_there_is_one() {
        let mut snapshot = made_up();
        let without = snapshot.to_string();
        assert!(!without.contains("budget") && !snapshot.json().contains("budget"));
        snapshot.links[0].standing = Some(Standing::Waiting);
        snapshot.links[1].standing = Some(Standing::Served);
        snapshot.budget = Some(BudgetView { total: 100, outstanding: 90, peak: 95, links: 2, waiting: 1 });
        let text = snapshot.to_string();
        assert!(text.lines().next().is_some_and(|line| line.ends_with("  waits for budget")), "{text}");
        assert!(text.ends_with("\nbudget 90 of 100 outstanding, at most 95; 2 links, 1 wait\n"), "{text}");
        let json = snapshot.json();
        let budget = r#","budget":{"total":100,"outstanding":90,"peak":95,"links":2,"waiting":1}}"#;
        assert!(json.ends_with(budget), "{json}");
        assert!(json.contains(r#""budget":"waiting"}"#) && json.contains(r#""budget":"served"}"#), "{json}");
    }

    #[test]
    fn made_up_values_as_text_and_mermaid() {
        insta::with_settings!({
            snapshot_path => "../../tests/golden", prepend_module_to_snapshot => false, omit_expression => true
        }, {
            let snapshot = made_up();
            insta::assert_snapshot!("supervisor_snapshot_text", renumbered(&snapshot, snapshot.to_string()));
            insta::assert_snapshot!("supervisor_snapshot_mermaid", renumbered(&snapshot, snapshot.mermaid()));
        });
    }
}
