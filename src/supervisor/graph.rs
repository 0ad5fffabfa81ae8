//! The graph of components and links, built from the notes of the ports. Knows what depends on what; decides nothing.
//!
//! A link stays in the graph after its end while one of its components lives, since an abort must reach a component
//! whose links have ended too (design, section 5). It leaves when both components are gone, or when nobody holds it any
//! more: so after a refusal too, and when one end never came. The graph itself holds neither components nor links.
//!
//! What a note or an abort costs depends on its chain alone, however many chains there are: the links of each component are indexed,
//! and only what is asked of all chains looks at all of them.

use super::blame::Look;
use super::event::Event;
use crate::component::ComponentId;
use crate::component::link::{ComponentHandle, Link, Note, Waiting};
use crate::component::message::{InletHandle, OutletHandle};
use crate::proto::link::{Cause, LinkCell, LinkId, Side, Terminal};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<ComponentId, Node>,
    edges: BTreeMap<LinkId, Edge>,
    /// The links that have this component at an end, whether its node is there or not.
    links: BTreeMap<ComponentId, Vec<LinkId>>,
}

/// A component, known from its first link on.
#[derive(Debug)]
struct Node {
    handle: ComponentHandle,
    /// It was aborted: it stays until it is gone, whether it has a link or not.
    condemned: bool,
    /// What it had worked when it was last looked at.
    look: (Instant, Duration),
}

/// One link, and what is known of its two ends.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) cell: Arc<LinkCell>,
    /// Weak, so that its end is noticed.
    link: Weak<Link>,
    pub(super) producer: Option<ComponentId>,
    pub(super) consumer: Option<ComponentId>,
    pub(super) outlet: Option<Box<dyn OutletHandle>>,
    pub(super) inlet: Option<Box<dyn InletHandle>>,
    producer_over: Over,
    consumer_over: Over,
    aborted: bool,
    /// One end has failed and is to be rebuilt: kept until the place has another link, so that its chain stays one.
    suspended: bool,
    /// For each side whether its port is isolated: an abort of the link does not reach that component.
    isolated: [bool; 2],
    /// How long the outlet had waited when it was last asked for.
    pub(super) look: Look,
}

/// How one end of a link is over, if it is: what a [`Terminal`] says, without what is known from elsewhere. There is one for each end of
/// each link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    No,
    Ended { clean: bool },
    Aborted,
    Detached,
    Suspended,
}

impl From<&Terminal> for Over {
    fn from(terminal: &Terminal) -> Self {
        match terminal {
            Terminal::Ended { clean } => Self::Ended { clean: *clean },
            Terminal::Aborted(_) => Self::Aborted,
            Terminal::Detached { .. } => Self::Detached,
            Terminal::Suspended { .. } => Self::Suspended,
        }
    }
}

/// What a note means to the supervisor.
pub(super) enum Change {
    Event(Event),
    /// A component that was not known before.
    Joined(ComponentId),
    Aborted {
        link: LinkId,
        cause: Arc<Cause>,
    },
    /// A component is gone; the name is there if it was in the graph.
    Gone {
        component: ComponentId,
        name: Option<Arc<str>>,
    },
}

impl Graph {
    pub(super) fn note(&mut self, note: Note, changes: &mut Vec<Change>) {
        match note {
            Note::Reserved { link, component, outlet } => {
                let edge = Self::edge(&mut self.edges, &link);
                edge.producer = Some(component.info.id());
                edge.outlet = Some(outlet);
                edge.isolated[Side::Producer as usize] = link.is_isolated(Side::Producer);
                let ends = (edge.producer, edge.consumer);
                self.joined(link.id(), ends, component, changes);
            }
            Note::Attached { link, component, inlet } => {
                let edge = Self::edge(&mut self.edges, &link);
                edge.consumer = Some(component.info.id());
                edge.inlet = Some(inlet);
                edge.isolated[Side::Consumer as usize] = link.is_isolated(Side::Consumer);
                let ends = (edge.producer, edge.consumer);
                self.joined(link.id(), ends, component, changes);
            }
            Note::Over { link, side, terminal } => self.over(link, side, terminal, changes),
            // the places look at it
            Note::Suspended { .. } => {}
            Note::Gone { component } => changes.push(Change::Gone { component, name: self.gone(component) }),
            Note::Closed { link } => {
                if self.edges.get(&link).is_some_and(|edge| !edge.suspended) {
                    self.forget(link);
                }
            }
        }
    }

    fn edge<'a>(edges: &'a mut BTreeMap<LinkId, Edge>, link: &Arc<Link>) -> &'a mut Edge {
        edges.entry(link.id()).or_insert_with(|| Edge {
            cell: link.cell().clone(),
            link: Arc::downgrade(link),
            producer: None,
            consumer: None,
            outlet: None,
            inlet: None,
            producer_over: Over::No,
            consumer_over: Over::No,
            aborted: false,
            suspended: false,
            isolated: [false; 2],
            look: Look::begin(),
        })
    }

    /// One end is known, and the link is made once both are.
    fn joined(
        &mut self,
        id: LinkId,
        ends: (Option<ComponentId>, Option<ComponentId>),
        component: ComponentHandle,
        changes: &mut Vec<Change>,
    ) {
        self.index(component.info.id(), id);
        if let Entry::Vacant(place) = self.nodes.entry(component.info.id()) {
            changes.push(Change::Joined(*place.key()));
            let look = (Instant::now(), component.info.worked());
            place.insert(Node { handle: component, condemned: false, look });
        }
        if let (Some(producer), Some(consumer)) = ends {
            let (producer, consumer) = (self.name(producer), self.name(consumer));
            changes.push(Change::Event(Event::Attached { link: id, producer, consumer }));
        }
    }

    fn over(&mut self, id: LinkId, side: Side, terminal: Terminal, changes: &mut Vec<Change>) {
        let Some(edge) = self.edges.get_mut(&id) else { return };
        edge.suspended |= matches!(terminal, Terminal::Suspended { .. });
        match side {
            Side::Producer => edge.producer_over = Over::from(&terminal),
            Side::Consumer => edge.consumer_over = Over::from(&terminal),
        }
        let at = edge.cell.produced();
        match (edge.producer_over, edge.consumer_over) {
            (Over::Aborted, _) | (_, Over::Aborted) => {
                let told = if let Terminal::Aborted(cause) = &terminal { Some(cause) } else { edge.cell.cause() };
                let Some(cause) = told.cloned() else { return };
                let (accepted, lost) = (edge.cell.accepted().quantity, edge.cell.in_flight());
                if !std::mem::replace(&mut edge.aborted, true) {
                    let cause = cause.clone();
                    changes.push(Change::Event(Event::Aborted { link: id, cause, accepted, lost }));
                }
                changes.push(Change::Aborted { link: id, cause });
            }
            (Over::Ended { .. }, Over::Ended { clean }) => {
                changes.push(Change::Event(Event::Ended { link: id, clean, at }));
            }
            (Over::Detached, Over::Detached) => {
                let at = if let Terminal::Detached { at } = terminal { at } else { at };
                self.forget(id);
                changes.push(Change::Event(Event::Detached { link: id, at }));
            }
            _ => {}
        }
    }

    fn gone(&mut self, component: ComponentId) -> Option<Arc<str>> {
        let node = self.nodes.remove(&component)?;
        // an end that has not been heard of may still be: until then the link is kept, or until it is closed
        let may_live = |end: &Option<ComponentId>| end.is_none_or(|component| self.nodes.contains_key(&component));
        let over: Vec<LinkId> = self
            .links_of(component)
            .filter(|edge| ![edge.producer, edge.consumer].iter().any(may_live))
            .map(|edge| edge.cell.id())
            .collect();
        for link in over {
            self.take(link);
        }
        Some(node.handle.info.name().clone())
    }

    /// Removes a link that is no more, and components that have no other.
    pub(super) fn forget(&mut self, id: LinkId) {
        let Some(edge) = self.take(id) else { return };
        for component in edge.ends() {
            let condemned = self.nodes.get(&component).is_some_and(|node| node.condemned);
            if !condemned && !self.links.contains_key(&component) {
                self.nodes.remove(&component);
            }
        }
    }

    /// Takes a link out, and out of the index.
    fn take(&mut self, id: LinkId) -> Option<Edge> {
        let edge = self.edges.remove(&id)?;
        for component in edge.ends() {
            if let Entry::Occupied(mut links) = self.links.entry(component) {
                links.get_mut().retain(|link| *link != id);
                if links.get().is_empty() {
                    links.remove();
                }
            }
        }
        Some(edge)
    }

    /// Notes that a component has this link.
    fn index(&mut self, component: ComponentId, link: LinkId) {
        // most have two: the directions of a pair, or in and out
        let links = self.links.entry(component).or_insert_with(|| Vec::with_capacity(2));
        if !links.contains(&link) {
            links.push(link);
        }
    }

    /// The links that have this component at an end, in the order in which they were made.
    pub(super) fn links_of(&self, component: ComponentId) -> impl Iterator<Item = &Edge> {
        self.links.get(&component).into_iter().flatten().filter_map(|link| self.edges.get(link))
    }

    /// The component was aborted: it is waited for until it is gone.
    pub(super) fn condemn(&mut self, component: ComponentId) -> Option<&ComponentHandle> {
        let node = self.nodes.get_mut(&component)?;
        node.condemned = true;
        Some(&node.handle)
    }

    pub(super) fn name(&self, component: ComponentId) -> Arc<str> {
        self.nodes.get(&component).map_or_else(|| "gone".into(), |node| node.handle.info.name().clone())
    }

    pub(super) fn node(&self, component: ComponentId) -> Option<&ComponentHandle> {
        self.nodes.get(&component).map(|node| &node.handle)
    }

    /// The part of the time since the last look that its handlers took. Looks, and remembers it.
    pub(super) fn look_at_work(&mut self, component: ComponentId) -> f64 {
        let Some(node) = self.nodes.get_mut(&component) else { return 0.0 };
        let now = (Instant::now(), node.handle.info.worked());
        let was = std::mem::replace(&mut node.look, now);
        let over = now.0.saturating_duration_since(was.0).as_secs_f64();
        match over > 0.0 {
            true => (now.1.saturating_sub(was.1).as_secs_f64() / over).min(1.0),
            false => 0.0,
        }
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &ComponentHandle> {
        self.nodes.values().map(|node| &node.handle)
    }

    pub(super) fn edges(&self) -> impl Iterator<Item = &Edge> {
        self.edges.values()
    }

    pub(super) fn edges_mut(&mut self) -> impl Iterator<Item = &mut Edge> {
        self.edges.values_mut()
    }

    pub(super) fn link(&self, id: LinkId) -> Option<&Edge> {
        self.edges.get(&id)
    }

    /// The live link into a component and the live link out of it, if it has one of each.
    pub(super) fn between(&self, component: ComponentId) -> Option<(&Edge, &Edge)> {
        let one = |side: fn(&Edge) -> Option<ComponentId>| {
            let mut live = self.links_of(component).filter(|edge| edge.is_live() && side(edge) == Some(component));
            live.next().filter(|_| live.next().is_none())
        };
        Some((one(|edge| edge.consumer)?, one(|edge| edge.producer)?))
    }

    /// The live links through a two-way component between two others, the way from `near` first: into it and out of it, for each
    /// way. Without `near`, the neighbour that was made first.
    pub(super) fn between_both(
        &self,
        component: ComponentId,
        near: Option<ComponentId>,
    ) -> Option<[(&Edge, &Edge); 2]> {
        let live = || self.links_of(component).filter(|edge| edge.is_live());
        let into: Vec<&Edge> = live().filter(|e| e.consumer == Some(component)).collect();
        let out: Vec<&Edge> = live().filter(|e| e.producer == Some(component)).collect();
        let ([a, b], 2) = (<[&Edge; 2]>::try_from(into).ok()?, out.len()) else { return None };
        let (a, b) = match near {
            Some(near) if b.producer == Some(near) => (b, a),
            Some(near) if a.producer != Some(near) => return None,
            None if b.producer < a.producer => (b, a),
            _ => (a, b),
        };
        let to = |end: &Edge| out.iter().find(|edge| edge.consumer == end.producer).copied();
        let apart = a.producer != b.producer;
        apart.then_some([(a, to(b)?), (b, to(a)?)])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All components that depend on this link, by links and components. Not those to which it leads through an isolated port.
    pub(super) fn chain_of_link(&self, id: LinkId) -> BTreeSet<ComponentId> {
        let Some(edge) = self.edges.get(&id) else { return BTreeSet::new() };
        self.chain(edge.dependent())
    }

    /// The components that something in the chains keeps alive or busy: one that is driven, one that nobody feeds (so that
    /// somebody else holds it), one with work, and all that these feed. The others hold each other, in a cycle.
    pub(super) fn rooted(&self) -> BTreeSet<ComponentId> {
        let live = |component| self.links_of(component).filter(|edge| edge.is_live());
        let is_fed = |component| live(component).any(|e| e.consumer == Some(component) && e.producer.is_some());
        let is_busy = |component| live(component).any(|edge| edge.is_busy_for(component));
        let roots = self
            .nodes
            .iter()
            .filter(|(component, node)| node.handle.info.is_driven() || !is_fed(**component) || is_busy(**component));
        let mut open: Vec<ComponentId> = roots.map(|(component, _)| *component).collect();
        let mut rooted = BTreeSet::new();
        while let Some(component) = open.pop() {
            if rooted.insert(component) {
                open.extend(live(component).filter(|e| e.producer == Some(component)).filter_map(|e| e.consumer));
            }
        }
        rooted
    }

    /// All chains, each as its components, whatever ports join them. One pass over the links.
    pub(super) fn chains(&self) -> Vec<BTreeSet<ComponentId>> {
        let mut beside: BTreeMap<ComponentId, Vec<ComponentId>> = BTreeMap::new();
        for edge in self.edges.values() {
            for end in edge.ends() {
                beside.entry(end).or_default().extend(edge.ends().filter(|other| *other != end));
            }
        }
        let mut met = BTreeSet::new();
        let mut chains = Vec::new();
        for component in self.nodes.keys() {
            let mut open = vec![*component];
            let mut chain = BTreeSet::new();
            while let Some(component) = open.pop() {
                if met.insert(component) {
                    chain.insert(component);
                    open.extend(beside.get(&component).into_iter().flatten());
                }
            }
            chain.retain(|component| self.nodes.contains_key(component));
            if !chain.is_empty() {
                chains.push(chain);
            }
        }
        chains
    }

    /// All components that depend on these: those that are joined to them, but through a port of another's that is isolated.
    pub(super) fn chain(&self, from: impl Iterator<Item = ComponentId>) -> BTreeSet<ComponentId> {
        let mut chain = BTreeSet::new();
        let mut open: Vec<ComponentId> = from.collect();
        while let Some(component) = open.pop() {
            if chain.insert(component) {
                open.extend(self.links_of(component).flat_map(Edge::dependent));
            }
        }
        chain.retain(|component| self.nodes.contains_key(component));
        chain
    }
}

impl Edge {
    /// The components that are known.
    pub(super) fn ends(&self) -> impl Iterator<Item = ComponentId> {
        [self.producer, self.consumer].into_iter().flatten()
    }

    /// The components that an abort of the link reaches.
    fn dependent(&self) -> impl Iterator<Item = ComponentId> {
        let ends = [(self.producer, Side::Producer), (self.consumer, Side::Consumer)];
        ends.into_iter().filter_map(|(end, side)| end.filter(|_| !self.is_isolated(side)))
    }

    /// Sets the link's cause, and wakes the ports whose components are not told anyway (rule A2: the cell first).
    pub(super) fn break_off(&self, cause: &Arc<Cause>, told: impl Fn(ComponentId) -> bool) {
        self.cell.set_cause(cause.clone());
        let id = self.cell.id();
        if !self.producer.is_some_and(&told)
            && let Some(outlet) = self.outlet.as_ref().and_then(|way| way.upgrade())
        {
            outlet.broken(id);
        }
        if !self.consumer.is_some_and(&told)
            && let Some(inlet) = self.inlet.as_ref().and_then(|way| way.upgrade())
        {
            inlet.broken(id);
        }
    }

    /// True if this component has something left to do for the link.
    fn is_busy_for(&self, component: ComponentId) -> bool {
        let waits = || self.link().is_some_and(|link| link.times().waiting() == Waiting::ForCredit);
        (self.consumer == Some(component) && (self.cell.in_flight() > 0 || self.cell.held() > 0))
            || (self.producer == Some(component) && waits())
    }

    /// How long the outlet has waited, if the link is still held by somebody.
    pub(super) fn link(&self) -> Option<Arc<Link>> {
        self.link.upgrade()
    }

    /// True if an abort of the link does not reach the component of this side.
    pub(super) fn is_isolated(&self, side: Side) -> bool {
        self.isolated[side as usize]
    }

    /// True while the consumer may still receive something.
    pub(super) fn is_consuming(&self) -> bool {
        self.consumer_over == Over::No
    }

    /// True while data may flow.
    pub(super) fn is_live(&self) -> bool {
        self.producer_over == Over::No && self.consumer_over == Over::No
    }
}
