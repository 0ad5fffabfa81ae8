//! One attempt: what the factory gives is judged, the producer goes back if it must, and all is joined.

use super::loss::{Gap, Loss, LossError, Verdict, judge_inlet, judge_outlet};
use super::{Built, RestartError};
use crate::component::ComponentInfo;
use crate::component::link::Observer;
use crate::component::message::{AnyInlet, AnyOutlet};
use crate::proto::link::{LinkId, Reason, Side};
use crate::supervisor::attach::{AttachFailure, Joining};
use std::sync::Arc;

/// The neighbours, held, and where they stand.
pub(super) struct Ends {
    pub(super) loss: Loss,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) producer: Option<Producer>,
    pub(super) consumer: Option<Consumer>,
}

pub(super) struct Producer {
    pub(super) outlet: Box<dyn AnyOutlet>,
    pub(super) sent: u64,
    pub(super) finished: u64,
}

pub(super) struct Consumer {
    pub(super) inlet: Box<dyn AnyInlet>,
    pub(super) delivered: u64,
}

/// The component is at its place.
pub(super) struct Joined {
    pub(super) info: Arc<ComponentInfo>,
    /// The new links with the absolute positions at which they begin.
    pub(super) inlet: Option<(LinkId, u64)>,
    pub(super) outlet: Option<(LinkId, u64)>,
    pub(super) gap: Gap,
}

/// Why an attempt came to nothing.
pub(super) struct Missed {
    pub(super) reason: Reason,
    /// Another attempt would come to the same.
    pub(super) hopeless: bool,
    /// By how much the producer went back before that.
    pub(super) rewound: u64,
}

impl Missed {
    pub(super) fn again(reason: Reason) -> Self {
        Self { reason, hopeless: false, rewound: 0 }
    }

    fn hopeless(reason: Reason) -> Self {
        Self { reason, hopeless: true, rewound: 0 }
    }
}

impl From<LossError> for Missed {
    fn from(error: LossError) -> Self {
        Self::hopeless(Reason::failed(error))
    }
}

impl Ends {
    pub(super) async fn rejoin(self, rebuilt: Built) -> Result<Joined, Missed> {
        let Built { inlet, outlet, has, begins } = rebuilt;
        let feeding = pairing(self.producer.as_ref(), inlet.as_deref())?;
        let fed = pairing(self.consumer.as_ref(), outlet.as_deref())?;
        let into = feeding.map(|(end, _)| judge_inlet(self.loss, end.sent, end.finished, has)).transpose()?;
        let out = fed.map(|(end, _)| judge_outlet(self.loss, end.delivered, begins)).transpose()?;
        let mut rewound = 0;
        if let (Some((end, _)), Some(Verdict { rewind: by @ 1.., .. })) = (feeding, into) {
            match end.outlet.rewind(by).await {
                Ok(Ok(())) => rewound = by,
                Ok(Err(reason)) => return Err(Missed::hopeless(reason)),
                Err(_) => return Err(Missed::hopeless(Reason::ComponentGone)),
            }
        }
        self.join(feeding, fed, into, out).await.map_err(|failure| Missed {
            hopeless: matches!(failure, AttachFailure::WrongPayload),
            reason: Reason::failed(failure),
            rewound,
        })
    }

    /// The consumer's side first, so that nothing can pass before it; opened together, once all are armed.
    async fn join(
        &self,
        feeding: Option<(&Producer, &dyn AnyInlet)>,
        fed: Option<(&Consumer, &dyn AnyOutlet)>,
        into: Option<Verdict>,
        out: Option<Verdict>,
    ) -> Result<Joined, AttachFailure> {
        let mut below = None;
        if let Some((end, outlet)) = fed {
            let mut joining = Joining::reserve(outlet, &*end.inlet, self.observer.clone()).await?;
            joining.attach().await?;
            below = Some(joining);
        }
        let mut above = None;
        if let Some((end, inlet)) = feeding {
            let mut joining = Joining::reserve(&*end.outlet, inlet, self.observer.clone()).await?;
            joining.attach().await?;
            above = Some(joining);
        }
        let armed = [(&above, Side::Consumer), (&below, Side::Producer)];
        let mut info = None;
        for (joining, side) in armed {
            if let Some(joining) = joining {
                info = joining.arm(side).or(info);
                joining.unharmed()?;
            }
        }
        let info = info.ok_or(AttachFailure::WrongPayload)?;
        let gap = into.or(out).map(|verdict| verdict.gap).ok_or(AttachFailure::WrongPayload)?;
        let outlet = below.map(|joining| joining.open()).zip(out.map(|verdict| verdict.at));
        let inlet = above.map(|joining| joining.open()).zip(into.map(|verdict| verdict.at));
        Ok(Joined { info, inlet, outlet, gap })
    }
}

/// Each neighbour with the port that it is to be joined to. Both or neither.
fn pairing<'a, E, P: ?Sized>(end: Option<&'a E>, port: Option<&'a P>) -> Result<Option<(&'a E, &'a P)>, Missed> {
    match (end, port) {
        (Some(end), Some(port)) => Ok(Some((end, port))),
        (None, None) => Ok(None),
        _ => Err(Missed::hopeless(Reason::Refused("a component with other ports than the one before it".into()))),
    }
}

/// Asks a producer whether it can go back, when that is first wanted of it.
pub(super) async fn can_rewind(outlet: &dyn AnyOutlet, producer: Arc<str>) -> Result<(), RestartError> {
    match outlet.rewind(0).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err(RestartError::CannotRewind { producer, reason }),
        Err(_) => Err(RestartError::NotThere),
    }
}
