//! Where breaches go: counted, to the log, and to whoever asked to be told.

use super::report::{Breach, MonitorReport};
use crate::component::ComponentId;
use crate::component::ComponentInfo;
use crate::proto::link::{Rule, Side};
use actix::{Message, Recipient};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A breach as it is told; see [`Monitor::tell`](super::Monitor::tell).
#[derive(Clone, Debug)]
pub struct Sighted {
    /// The monitor's name.
    pub monitor: Arc<str>,
    /// What was seen.
    pub breach: Breach,
}

impl Message for Sighted {
    type Result = ();
}

/// Outlives its monitor while a handle reads it.
pub(super) struct Log {
    info: Arc<ComponentInfo>,
    to: Option<Recipient<Sighted>>,
    messages: AtomicU64,
    breaches: Mutex<Vec<Breach>>,
}

impl Log {
    pub(super) fn new(info: Arc<ComponentInfo>, to: Option<Recipient<Sighted>>) -> Arc<Self> {
        Arc::new(Self { info, to, messages: AtomicU64::new(0), breaches: Mutex::default() })
    }

    pub(super) fn id(&self) -> ComponentId {
        self.info.id()
    }

    pub(super) fn count_message(&self) {
        self.messages.fetch_add(1, Relaxed);
    }

    pub(super) fn add(&self, rule: Rule, side: Side, what: String, ladder: String) {
        let breach = {
            let mut breaches = self.breaches();
            let known = breaches.iter().position(|breach| (breach.rule, breach.side) == (rule, side));
            let at = known.unwrap_or_else(|| {
                breaches.push(Breach { rule, side, count: 0, what: String::new(), ladder: String::new() });
                breaches.len() - 1
            });
            let breach = &mut breaches[at];
            breach.count += 1;
            breach.what = what;
            breach.ladder = ladder;
            // told the first time, and each time that the count has doubled
            breach.count.is_power_of_two().then(|| breach.clone())
        };
        let Some(breach) = breach else { return };
        let Breach { count, what, .. } = &breach;
        tracing::warn!(monitor = %self.info.name(), %rule, %side, count, what, "a rule of a link is broken");
        if let Some(to) = &self.to {
            to.do_send(Sighted { monitor: self.info.name().clone(), breach });
        }
    }

    pub(super) fn report(&self) -> MonitorReport {
        MonitorReport { messages: self.messages.load(Relaxed), breaches: self.breaches().clone() }
    }

    fn breaches(&self) -> MutexGuard<'_, Vec<Breach>> {
        self.breaches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
