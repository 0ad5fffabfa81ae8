//! What a probe is told, and what it finds wrong.

use crate::proto::link::Limit;

/// What a probe saw its peer do against a rule, as the rule would have it if nothing else was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// More units than granted.
    TooMuch,
    /// More messages than granted.
    TooMany,
    /// Something came before the first grant.
    BeforeGrant,
    /// Something came after the end of the attachment, or after a detachment.
    AfterEnd,
    /// An item came after the link's cause was set.
    AfterCause,
    /// A message bore the name of a link that this probe never had.
    OtherLink,
    /// The peer called back inside the call that gave it a message.
    CalledBack,
    /// A grant was lower than one before it.
    LimitFell,
    /// A grant left while messages of the same turn were still to be handled.
    GrantInHandler,
    /// A grant allows more messages than any bounded mailbox would hold.
    WideGrant,
}

/// What a [`ConsumerProbe`](super::ConsumerProbe) is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Consumed<T> {
    /// It was attached.
    Attached,
    /// An item of its link.
    Item(T),
    /// An item that bears another link's name.
    OtherLink(T),
    /// The producer's end.
    End {
        /// See rule E1.
        clean: bool,
    },
    /// The producer aborted; the cause is in the cell.
    Aborted,
    /// The link was closed by a detachment.
    Detached,
    /// Somebody wants the component stopped.
    Stop,
}

/// What a [`ProducerProbe`](super::ProducerProbe) is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Produced {
    /// It was attached.
    Attached,
    /// A grant of its link.
    Grant(Limit),
    /// A grant that bears another link's name.
    OtherLink(Limit),
    /// The consumer aborted; the cause is in the cell.
    Aborted,
    /// The consumer was parted from it.
    Detached,
    /// Somebody wants the component stopped.
    Stop,
}
