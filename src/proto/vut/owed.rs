//! Acknowledgements that are owed: one for each datagram with data, in order.
//!
//! A peer of the old kind opens its window by the number of acknowledgements, and counts a duplicate only if ack and end
//! repeat what it knows. So each datagram with data gets one of its own: a new position for what came in order, and exactly the
//! last one again, end included, for what is old, out of order, or a probe.

use std::collections::VecDeque;

/// One acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owed {
    /// All below is here; goes with the newest end.
    New(u64),
    /// The same again.
    Again {
        /// All below is here.
        ack: u64,
        /// The end that was told last.
        end: u64,
    },
}

/// Those that have not left, oldest first.
#[derive(Debug, Default)]
pub(crate) struct OwedAcks {
    queue: VecDeque<Owed>,
}

impl OwedAcks {
    /// More than this are not kept: an owner that hands in so many datagrams without sending loses the oldest.
    const MOST: usize = 1024;

    pub(crate) fn owe(&mut self, owed: Owed) {
        if self.queue.len() >= Self::MOST {
            self.queue.pop_front();
        }
        self.queue.push_back(owed);
    }

    /// True if nothing is owed, or one thing that a datagram with data can carry.
    pub(crate) fn can_ride(&self) -> bool {
        match self.queue.len() {
            0 => true,
            1 => matches!(self.queue[0], Owed::New(_)),
            _ => false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn pop(&mut self) -> Option<Owed> {
        self.queue.pop_front()
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_new_one_rides_with_data() {
        let mut owed = OwedAcks::default();
        assert!(owed.can_ride() && owed.is_empty());
        owed.owe(Owed::New(20));
        assert!(owed.can_ride());
        owed.owe(Owed::New(23));
        assert!(!owed.can_ride());
        assert_eq!((owed.pop(), owed.pop(), owed.pop()), (Some(Owed::New(20)), Some(Owed::New(23)), None));
        owed.owe(Owed::Again { ack: 23, end: 128 });
        assert!(!owed.can_ride(), "a duplicate must travel alone to count");
    }

    #[test]
    fn they_do_not_pile_up() {
        let mut owed = OwedAcks::default();
        (0..5000).for_each(|n| owed.owe(Owed::New(n)));
        assert_eq!(owed.pop(), Some(Owed::New(5000 - 1024)));
        owed.clear();
        assert!(owed.is_empty());
    }
}
