//! What travels on a link, as plain values, and how an attachment ends.

use super::cause::Cause;
use super::id::LinkId;
use super::limit::{Count, Limit};
use super::parcel::Parcel;
use std::sync::Arc;

/// Producer to consumer, in order (rule P4). Every message bears its link (rule P5).
#[derive(Debug)]
pub enum Down<T> {
    /// One item, within the limit that the consumer granted (rule P1).
    Consume {
        /// The attachment that this belongs to.
        link: LinkId,
        /// What is handed over.
        item: T,
    },
    /// What would be an item, but lies elsewhere. Only to a consumer that has declared to take it; counts as one message.
    Parcel {
        /// The attachment that this belongs to.
        link: LinkId,
        /// What is handed over.
        parcel: Parcel,
    },
    /// No more items come. Needs no credit.
    End {
        /// The attachment that this belongs to.
        link: LinkId,
        /// True if the data is complete: an orderly end of the source, carried end to end (rule E1).
        clean: bool,
    },
    /// The link is aborted; the cause is already in the cell (rule A2).
    Abort {
        /// The attachment that this belongs to.
        link: LinkId,
    },
    /// The producer failed and will be rebuilt; the cause is already in the cell (rule S1).
    Suspend {
        /// The attachment that this belongs to.
        link: LinkId,
        /// What it had sent, all of it before this message.
        at: Count,
    },
}

impl<T> Down<T> {
    /// The attachment that this belongs to.
    pub fn link(&self) -> LinkId {
        match self {
            Self::Consume { link, .. }
            | Self::Parcel { link, .. }
            | Self::End { link, .. }
            | Self::Abort { link }
            | Self::Suspend { link, .. } => *link,
        }
    }
}

/// Consumer to producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Up {
    /// The consumer accepts up to this cumulative limit (rules P2, P3, C1).
    CanProduce {
        /// The attachment that this belongs to.
        link: LinkId,
        /// The new limit.
        limit: Limit,
    },
    /// The link is aborted; the cause is already in the cell (rule A2).
    Abort {
        /// The attachment that this belongs to.
        link: LinkId,
    },
    /// The consumer failed and will be rebuilt; the cause is already in the cell (rule S1).
    Suspend {
        /// The attachment that this belongs to.
        link: LinkId,
    },
    /// The consumer has finished with everything, to an outlet that waits for it behind its end (rule S2).
    Finished {
        /// The attachment that this belongs to.
        link: LinkId,
    },
}

/// How an attachment ended, exactly once at each end (rule P4).
#[derive(Clone, Debug)]
pub enum Terminal {
    /// All data was handed over.
    Ended {
        /// See [`Down::End`].
        clean: bool,
    },
    /// The link was broken off.
    Aborted(Arc<Cause>),
    /// The two components were parted, losing nothing, and can be attached again.
    Detached {
        /// What had passed when the producer stopped.
        at: Count,
    },
    /// One end failed by its own fault and is to be rebuilt (rule S1). At that end the port is over; the other one is parted, as
    /// after a detach, and can be attached again.
    Suspended {
        /// What this end had sent or accepted.
        at: Count,
        /// Why, and where it began. Only the component that failed is told.
        cause: Arc<Cause>,
    },
}
