//! Limit and credit: the only place with cumulative arithmetic.
//!
//! Two things are counted on every link, from its attachment on: quantity (bytes, or items) and messages. A consumer
//! grants a cumulative [`Limit`] for both, and a producer keeps both (rule C1). A limit on quantity alone would let one-byte
//! items fill a mailbox: with a window of 256 KiB, 262,144 messages were seen waiting (`actix-facts.md`, section 6).

use std::fmt;

/// How much has passed one end of a link since it was attached. Only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Bytes, or items where the payload is not bytes.
    pub quantity: u64,
    /// Messages that carried them.
    pub messages: u64,
}

impl Count {
    /// Nothing yet.
    pub const ZERO: Self = Self { quantity: 0, messages: 0 };

    /// Counts one message of `quantity`. A count that cannot rise any more stays, so that no item's quantity, however
    /// wrong, carries it back below a limit (rule P1).
    pub fn add(&mut self, quantity: u64) {
        self.quantity = self.quantity.saturating_add(quantity);
        self.messages = self.messages.saturating_add(1);
    }

    /// Takes up to `quantity` and `messages` off, never below zero; returns what could not be taken off.
    pub fn sub(&mut self, quantity: u64, messages: u64) -> Count {
        let (q, m) = (quantity.min(self.quantity), messages.min(self.messages));
        self.quantity -= q;
        self.messages -= m;
        Count { quantity: quantity - q, messages: messages - m }
    }

    /// True if nothing was counted.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

/// What a producer may still send: limit less produced. Never cumulative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    /// Bytes, or items. `u64::MAX` without a bound.
    pub quantity: u64,
    /// Messages.
    pub messages: u64,
}

impl Credit {
    /// No credit.
    pub const NONE: Self = Self { quantity: 0, messages: 0 };

    /// Credit for `quantity` units in at most [`Window::DEFAULT_MESSAGES`] messages.
    pub fn of(quantity: u64) -> Self {
        Self { quantity, messages: Window::DEFAULT_MESSAGES }
    }

    /// True if not even one unit in one message may be sent.
    pub fn is_exhausted(self) -> bool {
        self.quantity == 0 || self.messages == 0
    }
}

/// The cumulative amount, counted from attachment, that a consumer accepts (rules P1 to P3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Bytes, or items; [`Limit::UNLIMITED`] lifts this bound (and this one only: rule P3).
    pub quantity: u64,
    /// Messages. Always bounded.
    pub messages: u64,
}

impl Limit {
    /// The limit at attachment: nothing is accepted yet (rule P2).
    pub const ZERO: Self = Self { quantity: 0, messages: 0 };

    /// The quantity that stands for "no bound on quantity" (rule P3). Stock components never grant it.
    pub const UNLIMITED: u64 = u64::MAX;

    /// The limit that allows `credit` beyond what was counted so far.
    pub fn beyond(count: Count, credit: Credit) -> Self {
        Self {
            quantity: count.quantity.saturating_add(credit.quantity),
            messages: count.messages.saturating_add(credit.messages),
        }
    }

    /// Raises each bound to that of `to` where that is higher; a lower or equal one changes nothing (rule P3).
    /// True if anything rose.
    pub fn raise(&mut self, to: Limit) -> bool {
        let before = *self;
        self.quantity = self.quantity.max(to.quantity);
        self.messages = self.messages.max(to.messages);
        *self != before
    }

    /// What is left beyond `count`.
    pub fn credit(self, count: Count) -> Credit {
        let quantity = match self.quantity {
            Self::UNLIMITED => u64::MAX,
            q => q.saturating_sub(count.quantity),
        };
        Credit { quantity, messages: self.messages.saturating_sub(count.messages) }
    }

    /// True if `count` keeps both bounds (rule P1).
    pub fn covers(self, count: Count) -> bool {
        count.quantity <= self.quantity && count.messages <= self.messages
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.quantity {
            Self::UNLIMITED => write!(f, "unlimited/{}", self.messages),
            q => write!(f, "{q}/{}", self.messages),
        }
    }
}

/// How much a consumer lets wait in front of it: what it has accepted and not released is never more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Bytes, or items.
    pub quantity: u64,
    /// Messages.
    pub messages: u64,
}

impl Window {
    /// 256 KiB: with it a relay on loopback ran at the speed of 256 KiB copy buffers, and a stuck chain holds as much
    /// (`actix-facts.md`, section 6; 256 KiB also covers 20 Mbit/s at 100 ms).
    pub const DEFAULT_QUANTITY: u64 = 256 * 1024;

    /// 256 messages: at 64 the rate across arbiters fell to a third for small items, from 256 on it rose no more
    /// (`actix-facts.md`, section 6). This bounds a turn of the consumer's actor too (rule F1).
    pub const DEFAULT_MESSAGES: u64 = 256;

    /// A window of `quantity` units and [`DEFAULT_MESSAGES`](Self::DEFAULT_MESSAGES) messages. At least 1 unit.
    pub fn of(quantity: u64) -> Self {
        Self { quantity: quantity.max(1), messages: Self::DEFAULT_MESSAGES }
    }

    /// A window that grants nothing: a closed gate.
    pub const CLOSED: Self = Self { quantity: 0, messages: 0 };
}

impl Default for Window {
    fn default() -> Self {
        Self { quantity: Self::DEFAULT_QUANTITY, messages: Self::DEFAULT_MESSAGES }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_a_lower_or_equal_limit_changes_nothing() {
        let mut limit = Limit { quantity: 10, messages: 2 };
        assert!(!limit.raise(Limit { quantity: 10, messages: 2 }));
        assert!(!limit.raise(Limit { quantity: 3, messages: 1 }));
        assert!(limit.raise(Limit { quantity: 3, messages: 5 }));
        assert_eq!(limit, Limit { quantity: 10, messages: 5 });
    }

    #[test]
    fn p3_unlimited_lifts_the_bound_on_quantity_only() {
        let limit = Limit { quantity: Limit::UNLIMITED, messages: 3 };
        let count = Count { quantity: 1 << 40, messages: 3 };
        assert!(limit.covers(count));
        assert_eq!(limit.credit(count), Credit { quantity: u64::MAX, messages: 0 });
        assert!(limit.credit(count).is_exhausted());
    }

    #[test]
    fn count_sub_returns_what_could_not_be_taken_off() {
        let mut count = Count { quantity: 5, messages: 1 };
        assert_eq!(count.sub(7, 3), Count { quantity: 2, messages: 2 });
        assert!(count.is_zero());
    }
}
