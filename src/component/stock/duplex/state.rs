//! Where a duplex component stands: a small machine for each of the other side, the two directions, and its holders.
//!
//! | machine | from | by | to |
//! |---|---|---|---|
//! | [`Stage`] | `Unjoined` | an attachment | `Idle` |
//! | | `Unjoined`, `Idle` | a grant, an item or an end | `Opening` |
//! | | `Opening` | the part is open | `Open` |
//! | [`Write`] | `Unused` | an item | `Fed` |
//! | | `Unused`, `Fed` | an end of the producer | `Ending`, as clean as that end |
//! | | `Unused`, `Fed` | nobody can attach any more | `Ending`, clean if `Unused` |
//! | | `Ending` | all that is held is written, and the end too | `Ended` |
//! | [`Read`] | `Wanted` | the supervisor drains | `Drained` |
//! | | `Wanted` | the outlet is closed while nobody is attached, or nobody is left who could be | `Unread` |
//! | [`Holders`] | `Some` | nobody holds the actor at the end of a turn | `Gone`, and one turn more for what was in its mailbox |
//! | | `Gone` | somebody does (a neighbour that attached) | `Some` |
//!
//! A component that is only read begins with `Ended`, one that is only written with an absent outlet.

/// The other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody was attached yet: nothing is driven, and if nobody holds it, nobody ever will be.
    Unjoined,
    /// Nobody has wanted anything yet.
    Idle,
    /// Connecting.
    Opening,
    /// Connected.
    Open,
}

impl Stage {
    /// Somebody was attached.
    pub(super) fn joined(&mut self) {
        if *self == Self::Unjoined {
            *self = Self::Idle;
        }
    }

    pub(super) fn wanted(&mut self) {
        if matches!(self, Self::Unjoined | Self::Idle) {
            *self = Self::Opening;
        }
    }
}

/// The direction towards the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// Items may come, and none has.
    Unused,
    /// Items may come, and some have.
    Fed,
    /// The end came; what is held goes first.
    Ending { clean: bool },
    /// The direction was ended.
    Ended { clean: bool },
}

impl Write {
    pub(super) fn fed(&mut self) {
        if *self == Self::Unused {
            *self = Self::Fed;
        }
    }

    /// Nobody can attach to the inlet any more. What was never used is ended cleanly.
    pub(super) fn unfed(&mut self) {
        *self = Self::Ending { clean: *self == Self::Unused };
    }

    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Unused | Self::Fed)
    }

    pub(super) fn ended(self) -> Option<bool> {
        if let Self::Ended { clean } = self { Some(clean) } else { None }
    }
}

/// The direction from the other side, beside what the outlet knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Wanted,
    /// The supervisor wants no more to be read.
    Drained,
    /// Reading is over, and nobody was ever attached who would have to be told.
    Unread,
}

impl Read {
    pub(super) fn drain(&mut self) {
        if *self == Self::Wanted {
            *self = Self::Drained;
        }
    }
}

/// Whether anybody holds the actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holders {
    Some,
    /// Nobody does any more, and what was in its mailbox then was handled or is about to be.
    Gone,
}

/// What the driver does after a turn.
pub(super) enum Next {
    Wait,
    Again,
    Over {
        clean: bool,
    },
    /// Nobody can want anything of it any more.
    Abandoned,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_that_nobody_can_use_any_more_ends_as_it_was_used() {
        let mut unused = Write::Unused;
        unused.unfed();
        assert_eq!(unused, Write::Ending { clean: true });
        let mut used = Write::Unused;
        used.fed();
        used.unfed();
        assert_eq!(used, Write::Ending { clean: false });
        used.fed();
        assert_eq!(used, Write::Ending { clean: false }, "a late item changes nothing");
    }

    #[test]
    fn what_is_unread_stays_so_when_it_is_drained() {
        let mut read = Read::Unread;
        read.drain();
        assert_eq!(read, Read::Unread);
    }
}
