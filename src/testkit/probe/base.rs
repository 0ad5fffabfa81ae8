//! What both probes are made of.

use super::event::Finding;
use super::ladder::Ladder;
use super::lock;
use crate::component::ComponentInfo;
use crate::component::control::{Control, Envelope};
use crate::component::link::{Link, Note, Observer};
use crate::proto::link::{AttachError, Cause, Count, Limit, LinkId, Origin, Reason};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// The question that probes ask, and answer with 42; no component knows it.
pub(crate) struct ProbeQuestion;

impl Control for ProbeQuestion {
    type Reply = u64;
}

/// The answer to a [`ProbeQuestion`].
pub(crate) const ANSWER: u64 = 42;

/// What both probes are made of.
pub(super) struct Base<E> {
    pub(super) info: Arc<ComponentInfo>,
    pub(super) ladder: Ladder,
    pub(super) state: Mutex<State<E>>,
    pub(super) wake: Notify,
}

pub(super) struct State<E> {
    pub(super) link: Option<Arc<Link>>,
    pub(super) past: Vec<LinkId>,
    pub(super) limit: Limit,
    /// A grant has been made or has come.
    pub(super) granted: bool,
    /// Sent or received on this attachment.
    pub(super) passed: Count,
    pub(super) ended: Option<bool>,
    pub(super) events: VecDeque<E>,
    pub(super) findings: Vec<Finding>,
    /// Inside a call to the peer.
    pub(super) calling: bool,
    /// Messages since the last tick, and the most ever.
    pub(super) turn: u64,
    pub(super) longest_turn: u64,
    pub(super) grants: u64,
    pub(super) questions: u64,
    pub(super) answers_questions: bool,
    /// Refuses what is beyond the limit, as a component's inlet does.
    pub(super) strict: bool,
    pub(super) observers: Vec<Arc<dyn Observer>>,
}

impl<E> Base<E> {
    pub(super) fn new(name: &str, ladder: &Ladder) -> Self {
        let state = State {
            link: None,
            past: Vec::new(),
            limit: Limit::ZERO,
            granted: false,
            passed: Count::ZERO,
            ended: None,
            events: VecDeque::new(),
            findings: Vec::new(),
            calling: false,
            turn: 0,
            longest_turn: 0,
            grants: 0,
            questions: 0,
            answers_questions: false,
            strict: false,
            observers: Vec::new(),
        };
        let info = ComponentInfo::new(name, false);
        Self { info, ladder: ladder.clone(), state: Mutex::new(state), wake: Notify::new() }
    }

    pub(super) fn note(&self, what: impl fmt::Display) {
        self.ladder.note(self.info.name(), what);
    }

    pub(super) fn tell(&self, event: E) {
        lock(&self.state).events.push_back(event);
        self.wake.notify_one();
    }

    pub(super) fn found(&self, finding: Finding) {
        self.note(format_args!("!! {finding:?}"));
        lock(&self.state).findings.push(finding);
    }

    pub(super) fn join(&self, link: &Arc<Link>) -> Result<(), AttachError> {
        let mut state = lock(&self.state);
        if state.link.is_some() {
            return Err(AttachError::Attached);
        }
        state.link = Some(link.clone());
        state.limit = Limit::ZERO;
        state.granted = false;
        state.passed = Count::ZERO;
        state.ended = None;
        if let Some(observer) = link.observer()
            && !state.observers.iter().any(|known| Arc::ptr_eq(known, observer))
        {
            state.observers.push(observer.clone());
        }
        Ok(())
    }

    pub(super) fn part(&self) {
        let mut state = lock(&self.state);
        if let Some(link) = state.link.take() {
            state.past.push(link.id());
        }
    }

    /// Whether a message is of the current link; notes what is wrong otherwise.
    pub(super) fn is_current(&self, link: LinkId) -> bool {
        let (current, past, calling) = {
            let state = lock(&self.state);
            (state.link.as_ref().is_some_and(|own| own.id() == link), state.past.contains(&link), state.calling)
        };
        if calling {
            self.found(Finding::CalledBack);
        }
        if !current {
            self.found(if past { Finding::AfterEnd } else { Finding::OtherLink });
        }
        current
    }

    pub(super) fn link(&self) -> Option<Arc<Link>> {
        lock(&self.state).link.clone()
    }

    pub(super) fn cause(&self) -> Option<Arc<Cause>> {
        self.link().and_then(|link| link.cell().cause().cloned())
    }

    pub(super) fn calling(&self, call: impl FnOnce()) {
        lock(&self.state).calling = true;
        call();
        lock(&self.state).calling = false;
    }

    pub(super) fn question(&self, envelope: Envelope) {
        self.note("is asked");
        if !lock(&self.state).answers_questions {
            return envelope.missing();
        }
        match envelope.open::<ProbeQuestion>() {
            Ok(ask) => {
                lock(&self.state).questions += 1;
                ask.answer(ANSWER);
            }
            Err(envelope) => envelope.missing(),
        }
    }

    pub(super) async fn next(&self) -> E {
        loop {
            if let Some(event) = lock(&self.state).events.pop_front() {
                return event;
            }
            self.wake.notified().await;
        }
    }

    pub(super) fn break_off(&self, reason: Reason) -> Option<Arc<Link>> {
        let link = self.link()?;
        let cause = Cause::new(reason, Origin::component(self.info.name().clone()).on(link.id()));
        self.note(format_args!("aborts: {cause}"));
        link.cell().set_cause(cause);
        Some(link)
    }
}

impl<E> Drop for Base<E> {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for observer in state.observers.drain(..) {
            observer.note(Note::Gone { component: self.info.id() });
        }
    }
}

/// The methods that both probes have.
macro_rules! common {
    ($event:ty) => {
        /// What it has been told and nobody has heard yet.
        pub fn take(&self) -> Vec<$event> {
            lock(&self.0.base.state).events.drain(..).collect()
        }

        /// The steps that it writes to.
        pub fn ladder(&self) -> &Ladder {
            &self.0.base.ladder
        }

        /// What it saw its peer do against a rule.
        pub fn findings(&self) -> Vec<Finding> {
            lock(&self.0.base.state).findings.clone()
        }

        /// The current attachment.
        pub fn link(&self) -> Option<Arc<Link>> {
            self.0.base.link()
        }

        /// The limit that it has granted, or has been granted.
        pub fn limit(&self) -> Limit {
            lock(&self.0.base.state).limit
        }

        /// What passed on the current attachment.
        pub fn passed(&self) -> Count {
            lock(&self.0.base.state).passed
        }

        /// How the data ended, once it has.
        pub fn ended(&self) -> Option<bool> {
            lock(&self.0.base.state).ended
        }

        /// The cause of the current attachment's abort.
        pub fn cause(&self) -> Option<Arc<Cause>> {
            self.0.base.cause()
        }

        /// Plays a component that was told this cause (rule A1).
        pub fn told(&self, cause: &Arc<Cause>) {
            self.0.base.info.set_cause(cause);
        }

        /// Has it answer the kit's question; any other, and this one without it, ends here.
        pub(crate) fn answer_questions(&self) {
            lock(&self.0.base.state).answers_questions = true;
        }

        pub(crate) fn questions(&self) -> u64 {
            lock(&self.0.base.state).questions
        }
    };
}
pub(super) use common;
