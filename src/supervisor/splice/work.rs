//! Executes the plan of a splice over actors: sends each step, waits for its answer, and keeps the reason if it failed.

use super::{SpliceFailure, Spliced};
use crate::component::link::Observer;
use crate::component::message::{AnyInlet, AnyOutlet, ManageHandle, PartState};
use crate::proto::link::{Cause, Count, LinkCell, LinkId, Origin, Reason, Side};
use crate::proto::splice::{Answer, Change, End, Joint, Middle, Place, Plan, Step, Way, Ways};
use crate::supervisor::attach::{AttachFailure, Joining};
use crate::supervisor::detach::{self, DetachFailure};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Everything that a splice needs, held.
pub(super) struct Work {
    pub(super) observer: Arc<dyn Observer>,
    /// One for each way.
    pub(super) lanes: Vec<Lane>,
    pub(super) old: Option<Old>,
    pub(super) new: Option<Box<dyn ManageHandle>>,
}

/// One direction of a splice.
pub(super) struct Lane {
    pub(super) producer: Box<dyn AnyOutlet>,
    pub(super) consumer: Box<dyn AnyInlet>,
    /// The producer's link, and the consumer's: the same if there is nothing between.
    pub(super) first: Arc<LinkCell>,
    pub(super) last: Arc<LinkCell>,
    pub(super) old: Option<Ports>,
    pub(super) new: Option<Ports>,
}

/// What a component in the middle has for one way.
pub(super) struct Ports {
    pub(super) inlet: Box<dyn AnyInlet>,
    pub(super) outlet: Box<dyn AnyOutlet>,
}

/// The component that leaves.
pub(super) struct Old {
    pub(super) name: Arc<str>,
    pub(super) manage: Box<dyn ManageHandle>,
}

/// A splice under way.
struct Run<'a> {
    work: &'a Work,
    within: Duration,
    /// When the time to settle is over; counted from the first wait.
    deadline: Option<tokio::time::Instant>,
    /// Links that are reserved and not open.
    joining: BTreeMap<Joint, Joining<'a>>,
    opened: BTreeMap<Joint, LinkId>,
    /// The state between two components.
    state: Option<PartState>,
    at: Option<Count>,
    /// Why the first step failed.
    why: Option<SpliceFailure>,
}

/// A step failed: what the plan is told, and what the caller is.
type Failed = (Answer, SpliceFailure);

impl Work {
    pub(super) async fn run(self, change: Change, within: Duration) -> Result<Spliced, SpliceFailure> {
        let start = Instant::now();
        let ways = if self.lanes.len() > 1 { Ways::Both } else { Ways::One };
        let mut plan = Plan::new(change, ways);
        let mut run = Run {
            work: &self,
            within,
            deadline: None,
            joining: BTreeMap::new(),
            opened: BTreeMap::new(),
            state: None,
            at: None,
            why: None,
        };
        let end = loop {
            match plan.step() {
                Step::End(end) => break end,
                step => {
                    let answer = run.execute(step).await;
                    tracing::trace!(%step, ?answer, "splice");
                    plan.answer(answer);
                }
            }
        };
        match end {
            End::Made => Ok(Spliced {
                at: run.at.unwrap_or_default(),
                pause: start.elapsed(),
                links: run.opened.into_values().collect(),
            }),
            End::Kept => Err(match run.why {
                // only the new one's failure leaves the chain whole
                Some(SpliceFailure::Broken(_)) => SpliceFailure::NewGone,
                why => why.unwrap_or(SpliceFailure::NotThere),
            }),
            End::Broken => Err(SpliceFailure::Broken(self.cause(run.why))),
        }
    }

    /// The cause that broke the chain: what the step told, or a link; else that somebody is gone.
    fn cause(&self, why: Option<SpliceFailure>) -> Arc<Cause> {
        if let Some(SpliceFailure::Broken(cause)) = why {
            return cause;
        }
        let links = || self.lanes.iter().flat_map(|lane| [&lane.first, &lane.last]);
        let told = links().find_map(|link| link.cause().cloned());
        let origin = links().next().map_or_else(Origin::default, |link| Origin::default().on(link.id()));
        told.unwrap_or_else(|| Cause::new(Reason::ComponentGone, origin))
    }

    fn lane(&self, joint: Joint) -> Option<&Lane> {
        self.lanes.get(match joint.way {
            Way::There => 0,
            Way::Back => 1,
        })
    }

    fn outlet(&self, joint: Joint) -> Option<&dyn AnyOutlet> {
        let lane = self.lane(joint)?;
        Some(match joint.place {
            Place::Direct | Place::IntoOld | Place::IntoNew => &*lane.producer,
            Place::OutOfOld => &*lane.old.as_ref()?.outlet,
            Place::OutOfNew => &*lane.new.as_ref()?.outlet,
        })
    }

    fn inlet(&self, joint: Joint) -> Option<&dyn AnyInlet> {
        let lane = self.lane(joint)?;
        Some(match joint.place {
            Place::Direct | Place::OutOfOld | Place::OutOfNew => &*lane.consumer,
            Place::IntoOld => &*lane.old.as_ref()?.inlet,
            Place::IntoNew => &*lane.new.as_ref()?.inlet,
        })
    }

    /// The link that is taken apart there.
    fn cell(&self, joint: Joint) -> Option<&LinkCell> {
        let lane = self.lane(joint)?;
        Some(if joint.place == Place::OutOfOld { &lane.last } else { &lane.first })
    }

    fn middle(&self, who: Middle) -> Option<&dyn ManageHandle> {
        match who {
            Middle::Old => self.old.as_ref().map(|old| &*old.manage),
            Middle::New => self.new.as_deref(),
        }
    }

    /// Nobody has any more what the old component held.
    fn state_lost(&self, answer: Answer) -> Failed {
        let name = self.old.as_ref().map_or("", |old| &*old.name);
        let reason = Reason::failed(format!("the state of {name} was handed over and not given back"));
        (answer, SpliceFailure::Broken(Cause::new(reason, Origin::component(name))))
    }

    /// Somebody is gone: with a cause, if a link tells of one.
    fn gone(&self) -> Failed {
        (Answer::Gone, SpliceFailure::Broken(self.cause(None)))
    }
}

impl Run<'_> {
    /// Does one step. The first failure is kept for the caller.
    async fn execute(&mut self, step: Step) -> Answer {
        let done = match step {
            Step::Detach(joint) => self.stop(joint).await,
            Step::CloseAt(joint, at) => self.verify(joint, at).await,
            Step::Settle => self.settle().await,
            Step::TakeState(who) => self.take_state(who).await,
            Step::PutState(who) => self.put_state(who).await,
            Step::Flush => self.flush().await,
            Step::Reserve(joint) => self.reserve(joint).await,
            Step::Attach(joint) => self.attach(joint).await,
            Step::Open(joint) => self.open(joint),
            Step::Withdraw(joint) => {
                // dropped, both ends are as they were
                self.joining.remove(&joint);
                Ok(Answer::Done)
            }
            Step::End(_) => Ok(Answer::Done),
        };
        done.unwrap_or_else(|(answer, why)| {
            // what breaks the chain while it is undone is the reason that counts
            if matches!(why, SpliceFailure::Broken(_)) || self.why.is_none() {
                self.why = Some(why);
            }
            answer
        })
    }

    async fn stop(&mut self, joint: Joint) -> Result<Answer, Failed> {
        let (cell, outlet) = self.work.cell(joint).zip(self.work.outlet(joint)).ok_or_else(not_there)?;
        let at = detach::stop(cell, outlet).await.map_err(|failure| self.parting(failure))?;
        self.at.get_or_insert(at);
        Ok(Answer::Stopped(at))
    }

    async fn verify(&self, joint: Joint, at: Count) -> Result<Answer, Failed> {
        let (cell, inlet) = self.work.cell(joint).zip(self.work.inlet(joint)).ok_or_else(not_there)?;
        detach::verify(cell, inlet, at).await.map_err(|failure| self.parting(failure))?;
        Ok(Answer::Done)
    }

    fn parting(&self, failure: DetachFailure) -> Failed {
        match failure {
            DetachFailure::NotAttached(_) => not_there(),
            DetachFailure::Aborted(cause) => (Answer::Gone, SpliceFailure::Broken(cause)),
            _ => self.work.gone(),
        }
    }

    async fn settle(&mut self) -> Result<Answer, Failed> {
        let old = self.work.old.as_ref().ok_or_else(not_there)?;
        let deadline = *self.deadline.get_or_insert_with(|| tokio::time::Instant::now() + self.within);
        match tokio::time::timeout_at(deadline, old.manage.settle()).await {
            Ok(settled) => self.told(settled).map(|()| Answer::Done),
            Err(_) => {
                let failure = SpliceFailure::TimedOut { component: old.name.clone(), after: self.within };
                Err((Answer::TimedOut, failure))
            }
        }
    }

    async fn flush(&self) -> Result<Answer, Failed> {
        let old = self.work.old.as_ref().ok_or_else(not_there)?;
        match self.told(old.manage.flush().await)? {
            Ok(()) => Ok(Answer::Done),
            Err(reason) => Err((Answer::Refused, SpliceFailure::CannotDrain { component: old.name.clone(), reason })),
        }
    }

    async fn take_state(&mut self, who: Middle) -> Result<Answer, Failed> {
        let part = self.work.middle(who).ok_or_else(not_there)?;
        if who == Middle::Old && self.work.new.as_ref().is_none_or(|new| !new.is_alive()) {
            // a state sent to it would be lost; its links will be refused
            return Ok(Answer::NoState);
        }
        self.state = self.told(part.take_state().await)?;
        match (who, &self.state) {
            (_, Some(_)) => Ok(Answer::State),
            (Middle::Old, None) => Ok(Answer::NoState),
            (Middle::New, None) => Err(self.work.state_lost(Answer::NoState)),
        }
    }

    async fn put_state(&mut self, who: Middle) -> Result<Answer, Failed> {
        let part = self.work.middle(who).ok_or_else(not_there)?;
        let Some(state) = self.state.take() else { return Err(not_there()) };
        match self.told(part.put_state(state).await)? {
            Ok(()) => Ok(Answer::Done),
            Err(_) if who == Middle::Old => Err(self.work.state_lost(Answer::Refused)),
            // no failure of the splice: the old one goes on from it, and gives what it holds
            Err(state) => {
                self.state = Some(state);
                Ok(Answer::Refused)
            }
        }
    }

    async fn reserve(&mut self, joint: Joint) -> Result<Answer, Failed> {
        let (outlet, inlet) = self.work.outlet(joint).zip(self.work.inlet(joint)).ok_or_else(not_there)?;
        let joining = Joining::reserve(outlet, inlet, self.work.observer.clone()).await;
        self.joining.insert(joint, joining.map_err(|failure| self.joining_failed(joint, failure))?);
        Ok(Answer::Done)
    }

    async fn attach(&mut self, joint: Joint) -> Result<Answer, Failed> {
        let joining = self.joining.get_mut(&joint).ok_or_else(not_there)?;
        let attached = match joining.attach().await {
            Ok(()) => joining.unharmed(),
            failed => failed,
        };
        attached.map_err(|failure| self.joining_failed(joint, failure))?;
        Ok(Answer::Done)
    }

    fn open(&mut self, joint: Joint) -> Result<Answer, Failed> {
        let joining = self.joining.remove(&joint).ok_or_else(not_there)?;
        joining.unharmed().map_err(|failure| self.joining_failed(joint, failure))?;
        self.opened.insert(joint, joining.open());
        Ok(Answer::Done)
    }

    fn joining_failed(&self, joint: Joint, failure: AttachFailure) -> Failed {
        match failure {
            AttachFailure::Refused { error, .. } => (Answer::Refused, SpliceFailure::Refused(error)),
            AttachFailure::WrongPayload => (Answer::Refused, SpliceFailure::WrongPayload),
            AttachFailure::Aborted(cause) => (Answer::Gone, SpliceFailure::Broken(cause)),
            AttachFailure::Gone(side) => {
                let is_new =
                    matches!((joint.place, side), (Place::OutOfNew, Side::Producer) | (Place::IntoNew, Side::Consumer));
                let (answer, gone) = self.work.gone();
                (answer, if is_new { SpliceFailure::NewGone } else { gone })
            }
            AttachFailure::NoSupervisor => self.work.gone(),
        }
    }

    fn told<T>(&self, answer: Result<T, oneshot::error::RecvError>) -> Result<T, Failed> {
        answer.map_err(|_| self.work.gone())
    }
}

fn not_there() -> Failed {
    (Answer::NotThere, SpliceFailure::NotThere)
}
