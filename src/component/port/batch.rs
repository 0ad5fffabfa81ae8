//! Items that one handler pushed, on their way to the consumer as one message.
//!
//! A mailbox costs two allocations and a queue operation for each message, as much as a bounded channel; a batch pays for
//! them once. Items in it count as sent. It is empty outside the component's turn: the end of each handler sends it.

/// A batch goes as soon as it holds so many items: a turn's worth of small ones.
const MAX_ITEMS: usize = 64;

/// Or so many units: a default window of bytes.
const MAX_QUANTITY: u64 = 256 * 1024;

/// Items in order. One item needs no allocation.
#[derive(Debug)]
pub(super) struct Batch<T> {
    items: Items<T>,
    quantity: u64,
    /// How many the last batch held: a good guess for the next.
    last: usize,
}

#[derive(Debug)]
pub(super) enum Items<T> {
    None,
    One(T),
    Many(Vec<T>),
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { items: Items::None, quantity: 0, last: 4 }
    }
}

impl<T> Batch<T> {
    /// Adds an item; true if the batch should go now.
    pub(super) fn push(&mut self, item: T, quantity: u64) -> bool {
        self.quantity = self.quantity.saturating_add(quantity);
        if let Items::Many(many) = &mut self.items {
            many.push(item);
            return self.quantity >= MAX_QUANTITY || many.len() >= MAX_ITEMS;
        }
        self.items = match std::mem::replace(&mut self.items, Items::None) {
            Items::One(first) => {
                let mut many = Vec::with_capacity(self.last);
                many.extend([first, item]);
                Items::Many(many)
            }
            _ => Items::One(item),
        };
        self.quantity >= MAX_QUANTITY
    }

    /// Takes all.
    pub(super) fn take(&mut self) -> Items<T> {
        self.quantity = 0;
        let items = std::mem::replace(&mut self.items, Items::None);
        if let Items::Many(many) = &items {
            self.last = many.len();
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_goes_when_it_holds_enough_items_or_enough_units() {
        let mut batch = Batch::default();
        assert!(batch.push('a', MAX_QUANTITY), "one large piece does not wait");
        assert!(matches!(batch.take(), Items::One('a')));
        for _ in 1..MAX_ITEMS {
            assert!(!batch.push('b', 1));
        }
        assert!(batch.push('c', 1));
        let Items::Many(many) = batch.take() else { panic!("many") };
        assert_eq!((many.len(), many.last()), (MAX_ITEMS, Some(&'c')));
        assert!(matches!(batch.take(), Items::None));
    }
}
