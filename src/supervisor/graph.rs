//! The graph of components and links, built from the notes of the ports. Knows what depends on what; decides nothing.
//!
//! A link stays in the graph after its end while one of its components lives, since an abort must reach a component
//! whose links have ended too (design, section 5). It leaves when both components are gone, or when nobody holds it any
//! more: so after a refusal too, and when one end never came. The graph itself holds neither components nor links.
//!
//! A component knows its links, so that one that goes costs the same however many others there are.

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
}

/// A component, known from its first link on.
#[derive(Debug)]
struct Node {
    handle: ComponentHandle,
    /// It was aborted: it stays until it is gone, whether it has a link or not.
    condemned: bool,
    /// What it had worked when it was last looked at.
    look: (Instant, Duration),
    /// Those that it is an end of, and that are in the graph.
    links: Vec<LinkId>,
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
    producer_over: Option<Terminal>,
    consumer_over: Option<Terminal>,
    aborted: bool,
    /// One end has failed and is to be rebuilt: kept until the place has another link, so that its chain stays one.
    suspended: bool,
    /// For each side whether its port is isolated: an abort of the link does not reach that component.
    isolated: [bool; 2],
    /// How long the outlet had waited when it was last asked for.
    pub(super) look: Look,
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
            producer_over: None,
            consumer_over: None,
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
        match self.nodes.entry(component.info.id()) {
            Entry::Vacant(place) => {
                changes.push(Change::Joined(*place.key()));
                let look = (Instant::now(), component.info.worked());
                // most have two: the directions of a pair, or in and out
                let mut links = Vec::with_capacity(2);
                links.push(id);
                place.insert(Node { handle: component, condemned: false, look, links });
            }
            Entry::Occupied(mut node) => {
                let links = &mut node.get_mut().links;
                if !links.contains(&id) {
                    links.push(id);
                }
            }
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
            Side::Producer => edge.producer_over = Some(terminal),
            Side::Consumer => edge.consumer_over = Some(terminal),
        }
        let at = edge.cell.produced();
        let either = [&edge.producer_over, &edge.consumer_over];
        if let Some(Terminal::Aborted(cause)) = either.into_iter().flatten().find(|t| matches!(t, Terminal::Aborted(_)))
        {
            let cause = cause.clone();
            let accepted = edge.cell.accepted().quantity;
            let lost = edge.cell.in_flight();
            if !std::mem::replace(&mut edge.aborted, true) {
                let cause = cause.clone();
                changes.push(Change::Event(Event::Aborted { link: id, cause, accepted, lost }));
            }
            changes.push(Change::Aborted { link: id, cause });
            return;
        }
        match (&edge.producer_over, &edge.consumer_over) {
            (Some(Terminal::Ended { .. }), Some(Terminal::Ended { clean })) => {
                changes.push(Change::Event(Event::Ended { link: id, clean: *clean, at }));
            }
            (Some(Terminal::Detached { at }), Some(Terminal::Detached { .. })) => {
                let event = Event::Detached { link: id, at: *at };
                self.forget(id);
                changes.push(Change::Event(event));
            }
            _ => {}
        }
    }

    fn gone(&mut self, component: ComponentId) -> Option<Arc<str>> {
        let node = self.nodes.remove(&component)?;
        for id in node.links {
            // an end that has not been heard of may still be: until then the link is kept, or until it is closed
            let is_kept = |edge: &Edge| {
                let ends = [edge.producer, edge.consumer];
                ends.iter().any(|end| end.is_none_or(|component| self.nodes.contains_key(&component)))
            };
            if self.edges.get(&id).is_some_and(|edge| !is_kept(edge)) {
                self.edges.remove(&id);
            }
        }
        Some(node.handle.info.name().clone())
    }

    /// Removes a link that is no more, and components that have no other.
    pub(super) fn forget(&mut self, id: LinkId) {
        let Some(edge) = self.edges.remove(&id) else { return };
        for component in [edge.producer, edge.consumer].into_iter().flatten() {
            let Entry::Occupied(mut node) = self.nodes.entry(component) else { continue };
            node.get_mut().links.retain(|link| *link != id);
            if !node.get().condemned && node.get().links.is_empty() {
                node.remove();
            }
        }
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
            let mut live = self.edges.values().filter(|edge| edge.is_live() && side(edge) == Some(component));
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
        let live = |edge: &&Edge| edge.is_live();
        let into: Vec<&Edge> = self.edges.values().filter(live).filter(|e| e.consumer == Some(component)).collect();
        let out: Vec<&Edge> = self.edges.values().filter(live).filter(|e| e.producer == Some(component)).collect();
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
        let live: Vec<_> = self.edges.values().filter(|edge| edge.is_live()).collect();
        let is_fed = |component| live.iter().any(|e| e.consumer == Some(component) && e.producer.is_some());
        let is_busy = |component| live.iter().any(|edge| edge.is_busy_for(component));
        let roots = self
            .nodes
            .iter()
            .filter(|(component, node)| node.handle.info.is_driven() || !is_fed(**component) || is_busy(**component));
        let mut open: Vec<ComponentId> = roots.map(|(component, _)| *component).collect();
        let mut rooted = BTreeSet::new();
        while let Some(component) = open.pop() {
            if rooted.insert(component) {
                open.extend(live.iter().filter(|e| e.producer == Some(component)).filter_map(|e| e.consumer));
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
                match self.nodes.get(&component) {
                    Some(node) => {
                        let touching = node.links.iter().filter_map(|link| self.edges.get(link));
                        open.extend(touching.flat_map(Edge::dependent));
                    }
                    // it is gone, and the links that it had are not
                    None => {
                        let touching = self.edges.values().filter(|edge| edge.touches(component));
                        open.extend(touching.flat_map(Edge::dependent));
                    }
                }
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

    fn touches(&self, component: ComponentId) -> bool {
        self.producer == Some(component) || self.consumer == Some(component)
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
        self.consumer_over.is_none()
    }

    /// True while data may flow.
    pub(super) fn is_live(&self) -> bool {
        self.producer_over.is_none() && self.consumer_over.is_none()
    }
}
