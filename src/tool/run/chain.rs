//! One chain of the tool: two streams, joined one way or both, with stages and a hash in each direction if they are wanted.
//!
//! ```text
//!   left ──▶ (stages) ──▶ (hash) ──▶ right        the link into the last component of a direction is what progress counts
//!   left ◀── (hash) ◀── (stages) ◀── right
//! ```

use crate::agent::stream::Stream;
use crate::component::block::{Branch, Dropped, Tee, tee};
use crate::component::link::Link;
use crate::component::stock::{Done, Duplex, Filter, Outcome};
use crate::component::{InletRef, OutletRef, PairRef, join};
use crate::proto::link::LinkId;
use crate::supervisor::{AttachFailure, Supervisor};
use crate::tool::address::Spec;
use crate::tool::hash::Hash;
use crate::tool::inherited::Inherited;
use crate::tool::plan::{End, OpenError, with_sources};
use crate::tool::via::{Copies, Stage};
use bytes::Bytes;
use std::sync::Arc;

/// The two directions: from left to right, and back.
pub(super) const FORWARD: usize = 0;
/// See [`FORWARD`].
pub(super) const BACKWARD: usize = 1;

/// A chain that is not joined yet.
pub(super) struct Loose {
    pairs: [PairRef<Bytes>; 2],
    /// What lies between, for each direction that is used, in the order of the flow.
    between: [Vec<(InletRef<Bytes>, OutletRef<Bytes>)>; 2],
    /// The copies that tees make.
    copies: Vec<(OutletRef<Bytes>, InletRef<Bytes>)>,
    both: bool,
    /// The right side connects, and should have its consumer first.
    right_first: bool,
    running: Running,
}

/// What comes back when a chain is over.
pub(super) struct Running {
    streams: [Done<Stream>; 2],
    hashes: [Option<Done<Hash>>; 2],
    copies: Vec<Copy>,
}

/// A copy that a tee makes.
struct Copy {
    label: Arc<str>,
    wanted: Copies,
    done: Done<Stream>,
    missed: Dropped,
}

/// A chain that is over.
pub(super) struct Ended {
    /// Each side's stream, unless its actor is gone without a word, and how it went.
    pub(super) sides: [(Option<Stream>, Outcome); 2],
    /// The hash of each direction.
    pub(super) hashes: [Option<String>; 2],
    /// Why a copy that was to be whole is not, though the data had passed before it failed.
    pub(super) copy_failed: Option<String>,
    /// What there is to say of copies that are not whole, a line for each.
    pub(super) gaps: Vec<String>,
}

impl Loose {
    /// Starts the components of a chain on the current arbiter.
    ///
    /// # Errors
    ///
    /// An address that a copy goes to could not be opened.
    pub(super) fn start(
        ends: [&End; 2],
        streams: [Stream; 2],
        both: bool,
        hash: bool,
        via: &[Stage],
        inherited: &Inherited,
    ) -> Result<Self, OpenError> {
        // before anything is started: what is not is dropped
        let mut opened = Vec::new();
        for _ in [FORWARD, BACKWARD].into_iter().filter(|at| both || *at == FORWARD) {
            for stage in via {
                if let Stage::Tee { to, .. } = stage {
                    let end = End::copy(Spec::clone(to), both);
                    opened.push((end.label().clone(), end.open(inherited)?));
                }
            }
        }
        let mut opened = opened.into_iter();
        let (names, windows) = (ends.map(|end| end.role().name()), ends.map(End::window));
        let [left, right] = streams;
        let ((left, left_done), (right, right_done)) = (left.start(), right.start());
        let mut between = [Vec::new(), Vec::new()];
        let mut hashes_done = [None, None];
        let (mut copies, mut copies_done) = (Vec::new(), Vec::new());
        for direction in [FORWARD, BACKWARD].into_iter().filter(|at| both || *at == FORWARD) {
            for stage in via {
                if let Some(ports) = stage.start() {
                    between[direction].push(ports);
                } else if let (Stage::Tee { copy, .. }, Some((label, stream))) = (stage, opened.next()) {
                    let Tee { inlet, left, right, dropped: [_, missed] } = tee([Branch::wait(), copy.branch()]);
                    let (pair, done) = stream.start();
                    between[direction].push((inlet, left));
                    copies.push((right, pair.inlet));
                    copies_done.push(Copy { label, wanted: *copy, done, missed });
                }
            }
            if !hash {
                continue;
            }
            let (source, sink) = if direction == FORWARD { (0, 1) } else { (1, 0) };
            let name = format!("hash {} to {}", names[source], names[sink]);
            let (inlet, outlet, done) = Hash::new(name, windows[sink]).start();
            between[direction].push((inlet, outlet));
            hashes_done[direction] = Some(done);
        }
        let running = Running { streams: [left_done, right_done], hashes: hashes_done, copies: copies_done };
        let right_first = ends[1].connects();
        Ok(Self { pairs: [left, right], between, copies, both, right_first, running })
    }

    /// Joins it through the supervisor, which is told and not asked.
    pub(super) fn join(self, supervisor: &Supervisor) -> ([Option<Arc<Link>>; 2], Running) {
        let mut last = [None, None];
        for (outlet, inlet) in &self.copies {
            join(outlet, inlet, Some(supervisor.observer()));
        }
        for (direction, outlet, inlet) in self.hops() {
            let link = join(outlet, inlet, Some(supervisor.observer()));
            // the hop into the last component comes first
            last[direction].get_or_insert(link);
        }
        (last, self.running)
    }

    /// Attaches it through the supervisor. The links are those that were made, for a failure too.
    pub(super) async fn attach(
        self,
        supervisor: &Supervisor,
    ) -> ([Option<LinkId>; 2], Running, Result<(), AttachFailure>) {
        let mut last = [None, None];
        let result = self.attach_all(supervisor, &mut last).await;
        (last, self.running, result)
    }

    async fn attach_all(&self, supervisor: &Supervisor, last: &mut [Option<LinkId>; 2]) -> Result<(), AttachFailure> {
        if self.both && self.between.iter().all(Vec::is_empty) {
            let (a, b) = if self.right_first { (1, 0) } else { (0, 1) };
            let (there, back) = supervisor.attach_pair(&self.pairs[a], &self.pairs[b]).await?;
            *last = if self.right_first { [Some(back), Some(there)] } else { [Some(there), Some(back)] };
            return Ok(());
        }
        for (outlet, inlet) in &self.copies {
            supervisor.attach(outlet, inlet).await?;
        }
        for (direction, outlet, inlet) in self.hops() {
            let link = supervisor.attach(outlet, inlet).await?;
            last[direction].get_or_insert(link);
        }
        Ok(())
    }

    /// What has to be joined, in this order: the way from the connecting side first, each way from its end backwards, so
    /// that a question of the connecting side (`CanConnect`) finds the whole way.
    fn hops(&self) -> Vec<(usize, &OutletRef<Bytes>, &InletRef<Bytes>)> {
        let directions: &[usize] = match (self.both, self.right_first) {
            (false, _) => &[FORWARD],
            (true, false) => &[FORWARD, BACKWARD],
            (true, true) => &[BACKWARD, FORWARD],
        };
        let mut hops = Vec::new();
        for &direction in directions {
            let (source, sink) = if direction == FORWARD { (0, 1) } else { (1, 0) };
            let mut to = &self.pairs[sink].inlet;
            for (inlet, outlet) in self.between[direction].iter().rev() {
                hops.push((direction, outlet, to));
                to = inlet;
            }
            hops.push((direction, &self.pairs[source].outlet, to));
        }
        hops
    }
}

impl Running {
    /// Resolves when all components have stopped.
    pub(super) async fn ended(self) -> Ended {
        // boxed: this waits as long as the connection lasts, and should be small
        let [left, right] = self.streams.map(Done::boxed);
        let sides = [left.await, right.await];
        let mut hashes = [None, None];
        for (hash, done) in hashes.iter_mut().zip(self.hashes) {
            if let Some(done) = done {
                *hash = done.await.0.map(Hash::hex);
            }
        }
        let (mut gaps, mut copy_failed) = (Vec::new(), None);
        for Copy { label, wanted, done, missed } in self.copies {
            let failed = match done.await.1 {
                Outcome::Aborted(cause) if cause.origin.component == label => Some(with_sources(&cause.reason)),
                _ => None,
            };
            match (failed, missed.quantity()) {
                (Some(why), _) if wanted == Copies::Whole => copy_failed = Some(format!("{label}: {why}")),
                (Some(why), _) => gaps.push(format!("{label}: the copy is not whole: {why}")),
                (None, bytes @ 1..) => {
                    gaps.push(format!("{label}: the copy is not whole: it went without {bytes} bytes"))
                }
                (None, 0) => {}
            }
        }
        let sides = sides.map(|side| side.map_or((None, Outcome::Gone), |ended| (Some(ended.0), ended.1)));
        Ended { sides, hashes, copy_failed, gaps }
    }
}
