//! `Demand`: the consumer's limit where both ends see it, and whether the producer wants a message when it rises (rule C1).
//!
//! ```text
//!   producer, short of credit              consumer, its window moved
//!   1. ask: WAITS                          1. store the limit
//!   2. read the limit                      2. take: WAITS ─▶ CALM, and a message; CALM: none
//! ```
//!
//! Each writes first and reads then, with a full fence between (Dekker): whichever of the two reads came last saw what the other
//! had written. So either the producer has the limit or the consumer sends the message.
//!
//! The two parts of the limit are two words. Each only rises, so a reader that gets an old one of the first and a new one of the
//! second has what was granted in each part.

use super::limit::Limit;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};

/// Every grant is told: nobody said otherwise.
const EVERY: u8 = 0;
/// The producer looks by itself, and does not wait.
const CALM: u8 = 1;
/// The producer waits.
const WAITS: u8 = 2;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Demand {
    quantity: AtomicU64,
    messages: AtomicU64,
    told: AtomicU8,
}

impl Demand {
    /// The limit as it stands.
    pub(super) fn limit(&self) -> Limit {
        Limit { quantity: self.quantity.load(Ordering::Acquire), messages: self.messages.load(Ordering::Acquire) }
    }

    // ---- the producer

    /// From now on a grant is told only to a producer that waits. Called before the consumer knows the link.
    pub(super) fn calm_down(&self) {
        self.told.store(CALM, Ordering::Relaxed);
    }

    /// Waits, unless the limit has come beyond what is known: the limit as it stands.
    pub(super) fn wait_beyond(&self, known: Limit) -> Limit {
        let waited = self.told.load(Ordering::Relaxed) == WAITS;
        self.ask();
        let mut limit = known;
        if limit.raise(self.limit()) && !waited {
            // who has waited before is still told; a message that was sent meanwhile changes nothing
            self.calm_down();
        }
        limit
    }

    fn ask(&self) {
        self.told.store(WAITS, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    // ---- the consumer

    /// Raises the limit. True if the producer has to be told.
    pub(super) fn raise(&self, limit: Limit) -> bool {
        self.store(limit);
        self.take()
    }

    pub(super) fn store(&self, limit: Limit) {
        self.quantity.store(limit.quantity, Ordering::Release);
        self.messages.store(limit.messages, Ordering::Release);
    }

    fn take(&self) -> bool {
        fence(Ordering::SeqCst);
        match self.told.load(Ordering::Relaxed) {
            EVERY => true,
            // the producer may have seen the limit by now, and wait no more
            WAITS => self.told.compare_exchange(WAITS, CALM, Ordering::Relaxed, Ordering::Relaxed).is_ok(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The consumer raises the limit so often.
    const ROUNDS: u64 = 3;

    #[derive(Clone, Copy)]
    enum Asks {
        AndReads,
        /// A mistake: it stands still at what it read before it asked.
        Only,
    }

    #[derive(Clone, Copy)]
    enum Raises {
        ThenTakes,
        /// A mistake.
        Last,
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    enum At {
        Read,
        Ask,
        ReadAgain,
        Waits,
        Done,
    }

    /// Both ends, a step at a time.
    struct Model {
        demand: Demand,
        asks: Asks,
        raises: Raises,
        producer: At,
        known: u64,
        /// Half steps of the consumer.
        consumer: u64,
        mailbox: u64,
        messages: u64,
    }

    impl Model {
        fn new(asks: Asks, raises: Raises) -> Self {
            let demand = Demand::default();
            demand.calm_down();
            Self { demand, asks, raises, producer: At::Read, known: 0, consumer: 0, mailbox: 0, messages: 0 }
        }

        fn can_move(&self) -> [bool; 2] {
            let producer = match self.producer {
                At::Waits => self.mailbox > 0,
                at => at != At::Done,
            };
            [producer, self.consumer < 2 * ROUNDS]
        }

        /// Uses what it reads at once, as a producer with much to send.
        fn read(&mut self) -> bool {
            let limit = self.demand.limit().quantity;
            let risen = limit > self.known;
            self.known = limit;
            risen
        }

        fn produce(&mut self) {
            if self.known == ROUNDS {
                self.producer = At::Done;
                return;
            }
            self.producer = match self.producer {
                At::Read => match self.read() {
                    true => At::Read,
                    false => At::Ask,
                },
                At::Ask => {
                    self.demand.ask();
                    match self.asks {
                        Asks::AndReads => At::ReadAgain,
                        Asks::Only => At::Waits,
                    }
                }
                At::ReadAgain => match self.read() {
                    true => {
                        self.demand.calm_down();
                        At::Read
                    }
                    false => At::Waits,
                },
                At::Waits => {
                    self.mailbox -= 1;
                    At::Read
                }
                At::Done => At::Done,
            };
        }

        fn consume(&mut self) {
            let (round, second) = (self.consumer / 2, self.consumer % 2 == 1);
            self.consumer += 1;
            let stores = second == matches!(self.raises, Raises::Last);
            if stores {
                self.demand.store(Limit { quantity: round + 1, messages: 1 });
            } else if self.demand.take() {
                self.mailbox += 1;
                self.messages += 1;
            }
        }
    }

    /// Runs every order of steps; how many there are, in how many of them the producer stands still for ever, and the fewest and most
    /// messages.
    fn all_orders(asks: Asks, raises: Raises) -> (u32, u32, u64, u64) {
        let (mut orders, mut lost, mut fewest, mut most) = (0, 0, u64::MAX, 0);
        // at each place where both can move: whether the consumer does
        let mut choices: Vec<bool> = Vec::new();
        loop {
            let mut model = Model::new(asks, raises);
            let mut at = 0;
            loop {
                let consumer = match model.can_move() {
                    [false, false] => break,
                    [true, true] => {
                        if at == choices.len() {
                            choices.push(false);
                        }
                        at += 1;
                        choices[at - 1]
                    }
                    [_, consumer] => consumer,
                };
                if consumer { model.consume() } else { model.produce() }
            }
            orders += 1;
            lost += u32::from(model.producer != At::Done);
            fewest = fewest.min(model.messages);
            most = most.max(model.messages);
            // the next order: the last choice that was not the consumer's yet
            while choices.pop_if(|consumer| *consumer).is_some() {}
            match choices.last_mut() {
                Some(choice) => *choice = true,
                None => return (orders, lost, fewest, most),
            }
        }
    }

    #[test]
    fn c1_no_order_of_the_steps_of_both_ends_loses_a_wake_up() {
        let (orders, lost, fewest, most) = all_orders(Asks::AndReads, Raises::ThenTakes);
        assert!(orders > 500, "{orders} orders");
        assert_eq!(lost, 0, "of {orders}");
        assert_eq!((fewest, most), (0, ROUNDS), "a message for each wait, and for nothing else");
        let (orders, lost, ..) = all_orders(Asks::Only, Raises::ThenTakes);
        assert!(lost > 0, "nothing is found in {orders} orders of an outlet that does not read again");
        let (orders, lost, ..) = all_orders(Asks::AndReads, Raises::Last);
        assert!(lost > 0, "nothing is found in {orders} orders of an inlet that looks before it raises");
    }

    #[test]
    fn a_producer_that_said_nothing_is_told_of_every_grant() {
        let demand = Demand::default();
        assert!(demand.raise(Limit { quantity: 1, messages: 1 }) && demand.raise(Limit { quantity: 2, messages: 2 }));
        demand.calm_down();
        assert!(!demand.raise(Limit { quantity: 3, messages: 3 }));
        let known = demand.limit();
        assert_eq!(demand.wait_beyond(known), known);
        assert!(demand.raise(Limit { quantity: 4, messages: 3 }));
        assert!(!demand.raise(Limit { quantity: 5, messages: 3 }), "told once");
        assert_eq!(demand.wait_beyond(known).quantity, 5);
        assert!(!demand.raise(Limit { quantity: 6, messages: 3 }), "it has seen it, and does not wait");
        let known = demand.limit();
        assert_eq!(demand.wait_beyond(known), known);
        assert_eq!(demand.wait_beyond(Limit::ZERO), known, "it looks once more, without having been told");
        assert!(demand.raise(Limit { quantity: 7, messages: 3 }), "and is told of what it has waited for");
    }
}
