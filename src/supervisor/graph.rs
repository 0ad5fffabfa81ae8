//! The graph of components and links, built from the notes of the ports. Knows what depends on what; decides nothing.
//!
//! A link stays in the graph after its end while one of its components lives, since an abort must reach a component
//! whose links have ended too (design, section 5).

use super::event::Event;
use crate::component::ComponentId;
use crate::component::link::{ComponentHandle, Link, Note};
use crate::component::message::{InletHandle, OutletHandle};
use crate::proto::link::{Cause, LinkId, Side, Terminal};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<ComponentId, ComponentHandle>,
    edges: BTreeMap<LinkId, Edge>,
}

/// One link, and what is known of its two ends.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) link: Arc<Link>,
    pub(super) producer: Option<ComponentId>,
    pub(super) consumer: Option<ComponentId>,
    pub(super) outlet: Option<Box<dyn OutletHandle>>,
    pub(super) inlet: Option<Box<dyn InletHandle>>,
    producer_over: Option<Terminal>,
    consumer_over: Option<Terminal>,
    aborted: bool,
}

/// What a note means to the supervisor.
pub(super) enum Change {
    Event(Event),
    Aborted { link: LinkId, cause: Arc<Cause> },
    Gone { component: ComponentId, name: Arc<str> },
}

impl Graph {
    pub(super) fn note(&mut self, note: Note) -> Vec<Change> {
        match note {
            Note::Reserved { link, component, outlet } => {
                let edge = Self::edge(&mut self.edges, link);
                edge.producer = Some(component.info.id());
                edge.outlet = Some(outlet);
                let id = edge.link.id();
                self.nodes.entry(component.info.id()).or_insert(component);
                self.announce(id)
            }
            Note::Attached { link, component, inlet } => {
                let edge = Self::edge(&mut self.edges, link);
                edge.consumer = Some(component.info.id());
                edge.inlet = Some(inlet);
                let id = edge.link.id();
                self.nodes.entry(component.info.id()).or_insert(component);
                self.announce(id)
            }
            Note::Over { link, side, terminal } => self.over(link, side, terminal),
            Note::Gone { link, side } => self.gone(link, side),
        }
    }

    fn edge(edges: &mut BTreeMap<LinkId, Edge>, link: Arc<Link>) -> &mut Edge {
        edges.entry(link.id()).or_insert_with(|| Edge {
            link,
            producer: None,
            consumer: None,
            outlet: None,
            inlet: None,
            producer_over: None,
            consumer_over: None,
            aborted: false,
        })
    }

    /// Both ends are known: the link is made.
    fn announce(&self, id: LinkId) -> Vec<Change> {
        let Some(edge) = self.edges.get(&id) else { return Vec::new() };
        match (edge.producer, edge.consumer) {
            (Some(producer), Some(consumer)) => vec![Change::Event(Event::Attached {
                link: id,
                producer: self.name(producer),
                consumer: self.name(consumer),
            })],
            _ => Vec::new(),
        }
    }

    fn over(&mut self, id: LinkId, side: Side, terminal: Terminal) -> Vec<Change> {
        let Some(edge) = self.edges.get_mut(&id) else { return Vec::new() };
        match side {
            Side::Producer => edge.producer_over = Some(terminal),
            Side::Consumer => edge.consumer_over = Some(terminal),
        }
        let at = edge.link.cell().produced();
        let either = [&edge.producer_over, &edge.consumer_over];
        if let Some(Terminal::Aborted(cause)) = either.into_iter().flatten().find(|t| matches!(t, Terminal::Aborted(_)))
        {
            let cause = cause.clone();
            let accepted = edge.link.cell().accepted().quantity;
            let lost = edge.link.cell().in_flight();
            let mut changes = Vec::new();
            if !std::mem::replace(&mut edge.aborted, true) {
                let cause = cause.clone();
                changes.push(Change::Event(Event::Aborted { link: id, cause, accepted, lost }));
            }
            changes.push(Change::Aborted { link: id, cause });
            return changes;
        }
        match (&edge.producer_over, &edge.consumer_over) {
            (Some(Terminal::Ended { .. }), Some(Terminal::Ended { clean })) => {
                vec![Change::Event(Event::Ended { link: id, clean: *clean, at })]
            }
            (Some(Terminal::Detached { at }), Some(Terminal::Detached { .. })) => {
                let event = Event::Detached { link: id, at: *at };
                self.forget(id);
                vec![Change::Event(event)]
            }
            _ => Vec::new(),
        }
    }

    fn gone(&mut self, id: LinkId, side: Side) -> Vec<Change> {
        let Some(edge) = self.edges.get(&id) else { return Vec::new() };
        let component = match side {
            Side::Producer => edge.producer,
            Side::Consumer => edge.consumer,
        };
        let Some(component) = component else { return Vec::new() };
        let name = self.name(component);
        if self.nodes.remove(&component).is_none() {
            return Vec::new();
        }
        let nodes = &self.nodes;
        // a link is of interest while one of its components lives
        self.edges.retain(|_, edge| [edge.producer, edge.consumer].iter().flatten().any(|c| nodes.contains_key(c)));
        vec![Change::Gone { component, name }]
    }

    /// Removes a link that is no more, and components that have no other.
    pub(super) fn forget(&mut self, id: LinkId) {
        let Some(edge) = self.edges.remove(&id) else { return };
        for component in [edge.producer, edge.consumer].into_iter().flatten() {
            if !self.edges.values().any(|e| e.touches(component)) {
                self.nodes.remove(&component);
            }
        }
    }

    pub(super) fn name(&self, component: ComponentId) -> Arc<str> {
        self.nodes.get(&component).map_or_else(|| "gone".into(), |node| node.info.name().clone())
    }

    pub(super) fn node(&self, component: ComponentId) -> Option<&ComponentHandle> {
        self.nodes.get(&component)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &ComponentHandle> {
        self.nodes.values()
    }

    pub(super) fn edges(&self) -> impl Iterator<Item = &Edge> {
        self.edges.values()
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

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All components that are joined to this link by links and components, itself included.
    pub(super) fn chain_of_link(&self, id: LinkId) -> BTreeSet<ComponentId> {
        let Some(edge) = self.edges.get(&id) else { return BTreeSet::new() };
        self.chain([edge.producer, edge.consumer].into_iter().flatten())
    }

    /// All components that are joined to these.
    pub(super) fn chain(&self, from: impl Iterator<Item = ComponentId>) -> BTreeSet<ComponentId> {
        let mut chain = BTreeSet::new();
        let mut open: Vec<ComponentId> = from.collect();
        while let Some(component) = open.pop() {
            if chain.insert(component) {
                let touching = self.edges.values().filter(|edge| edge.touches(component));
                open.extend(touching.flat_map(|edge| [edge.producer, edge.consumer]).flatten());
            }
        }
        chain.retain(|component| self.nodes.contains_key(component));
        chain
    }
}

impl Edge {
    fn touches(&self, component: ComponentId) -> bool {
        self.producer == Some(component) || self.consumer == Some(component)
    }

    /// True while data may flow.
    pub(super) fn is_live(&self) -> bool {
        self.producer_over.is_none() && self.consumer_over.is_none()
    }
}
