//! Finds the place of a splice in the graph, and takes holds on all concerned, so that they last through the transaction.

use super::work::{Lane, Old, Ports, Work};
use super::{New, SpliceFailure};
use crate::component::ComponentId;
use crate::component::link::Observer;
use crate::proto::link::LinkId;
use crate::supervisor::SupervisorActor;
use crate::supervisor::graph::{Edge, Graph};
use std::sync::Arc;

/// Where a chain is spliced.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Link(LinkId),
    Links {
        there: LinkId,
        back: LinkId,
    },
    Component {
        id: ComponentId,
        /// The neighbour that the way there comes from; asked of two ways only.
        near: Option<ComponentId>,
    },
}

/// One direction: the producer's link and the consumer's, which are one if nothing is between.
struct Track<'a> {
    first: &'a Edge,
    last: &'a Edge,
}

impl SupervisorActor {
    /// The components concerned, and everything that the splice needs.
    pub(super) fn prepare(
        &self,
        place: Place,
        new: Option<New>,
        observer: Arc<dyn Observer>,
    ) -> Result<(Vec<ComponentId>, Work), SpliceFailure> {
        let tracks = tracks(&self.graph, place).ok_or(SpliceFailure::NotThere)?;
        let middle = match place {
            Place::Component { id, .. } => Some(id),
            _ => None,
        };
        let ends = tracks.iter().flat_map(|track| [track.first.producer, track.last.consumer]);
        let members: Vec<ComponentId> = ends.chain([middle]).flatten().collect();
        if members.iter().any(|member| self.busy.holds(*member)) {
            return Err(SpliceFailure::Busy);
        }
        let new = new.map(|new| (new.ways.first().map(|ports| ports.inlet.manage()), new.ways));
        if new.as_ref().is_some_and(|(_, ways)| ways.len() != tracks.len()) {
            return Err(SpliceFailure::NotThere);
        }
        let (new_manage, mut new_ways) = new.map_or((None, None), |(manage, ways)| (manage, Some(ways.into_iter())));
        let lanes = tracks.iter().map(|track| {
            let new = new_ways.as_mut().and_then(Iterator::next);
            lane(track, middle.is_some(), new).ok_or(SpliceFailure::NotThere)
        });
        let lanes = lanes.collect::<Result<Vec<Lane>, _>>()?;
        let old = middle.and_then(|id| self.graph.node(id));
        let old = old.map(|node| Old { name: node.info.name().clone(), manage: node.manage.boxed() });
        if middle.is_some() != old.is_some() {
            return Err(SpliceFailure::NotThere);
        }
        Ok((members, Work { observer, lanes, old, new: new_manage }))
    }
}

fn tracks(graph: &Graph, place: Place) -> Option<Vec<Track<'_>>> {
    let live = |id: LinkId| graph.link(id).filter(|edge| edge.is_live());
    match place {
        Place::Link(id) => live(id).map(|edge| vec![Track { first: edge, last: edge }]),
        Place::Links { there, back } => {
            let (there, back) = (live(there)?, live(back)?);
            let reverse = there.producer == back.consumer && there.consumer == back.producer;
            let apart = there.producer? != there.consumer?;
            (reverse && apart).then(|| [there, back].map(|edge| Track { first: edge, last: edge }).into())
        }
        Place::Component { id, near } => {
            if let (Some((first, last)), None) = (graph.between(id), near) {
                return Some(vec![Track { first, last }]);
            }
            let ways = graph.between_both(id, near)?;
            Some(ways.map(|(first, last)| Track { first, last }).into())
        }
    }
}

fn lane(track: &Track<'_>, has_middle: bool, new: Option<Ports>) -> Option<Lane> {
    let inlet_of = |edge: &Edge| edge.inlet.as_ref().and_then(|way| way.upgrade());
    let outlet_of = |edge: &Edge| edge.outlet.as_ref().and_then(|way| way.upgrade());
    let old = match has_middle {
        true => Some(Ports { inlet: inlet_of(track.first)?, outlet: outlet_of(track.last)? }),
        false => None,
    };
    Some(Lane {
        producer: outlet_of(track.first)?,
        consumer: inlet_of(track.last)?,
        first: track.first.cell.clone(),
        last: track.last.cell.clone(),
        old,
        new,
    })
}
