//! Why a link was aborted, and where that began (rules A1, A2).

use super::error::Violation;
use super::id::LinkId;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Why a link, a component or a chain was aborted. Cheap to share: it travels as `Arc<Cause>`.
#[derive(Clone, Debug)]
pub struct Cause {
    /// What happened.
    pub reason: Reason,
    /// Where it began.
    pub origin: Origin,
}

impl Cause {
    /// A cause that began at `origin`.
    pub fn new(reason: Reason, origin: Origin) -> Arc<Self> {
        Arc::new(Self { reason, origin })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.reason)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reason.source()
    }
}

/// Where a cause began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The component's name, as its owner chose it; empty where nobody knows.
    pub component: Arc<str>,
    /// The link, where one was involved.
    pub link: Option<LinkId>,
}

impl Origin {
    /// A cause that began inside the component of this name.
    pub fn component(name: impl Into<Arc<str>>) -> Self {
        Self { component: name.into(), link: None }
    }

    /// The same, noticed on `link`.
    #[must_use]
    pub fn on(mut self, link: LinkId) -> Self {
        self.link = Some(link);
        self
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.component.is_empty() { "unknown component" } else { &self.component };
        match self.link {
            Some(link) => write!(f, "{name} on {link}"),
            None => f.write_str(name),
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// Somebody asked for it, with a text of their own.
    Requested(Arc<str>),
    /// A component stopped, or its arbiter did, while a link depended on it (rule A3).
    ComponentGone,
    /// A hook of a component panicked; the text is the panic's message (rule A3).
    Panicked(Arc<str>),
    /// A peer broke a rule of the link (rule P1 and others).
    Violation(Violation),
    /// The operating system refused or lost something; `action` says what was tried.
    Io {
        /// What was tried: "read", "write", "connect 10.0.0.2:80".
        action: Arc<str>,
        /// The operating system's error.
        error: Arc<io::Error>,
    },
    /// The other side of an agent answered no: `CanConnect` or `Authorize`.
    Refused(Arc<str>),
    /// A time limit that somebody set ran out.
    TimedOut {
        /// What was waited for.
        waiting_for: Arc<str>,
        /// How long.
        after: Duration,
    },
    /// The supervisor shut down and the chain did not drain in time.
    ShutDown,
    /// A component's own error.
    Failed(Arc<dyn Error + Send + Sync>),
}

impl Reason {
    /// Wraps an operating system's error with what was tried.
    pub fn io(action: impl Into<Arc<str>>, error: io::Error) -> Self {
        Self::Io { action: action.into(), error: Arc::new(error) }
    }

    /// Wraps a component's own error.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(Arc::from(error.into()))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested(why) => write!(f, "aborted on request: {why}"),
            Self::ComponentGone => f.write_str("stopped while a link depended on it"),
            Self::Panicked(text) => write!(f, "panicked: {text}"),
            Self::Violation(v) => write!(f, "{v}"),
            Self::Io { action, error } => write!(f, "{action}: {error}"),
            Self::Refused(what) => write!(f, "refused: {what}"),
            Self::TimedOut { waiting_for, after } => write!(f, "timed out after {after:?} waiting for {waiting_for}"),
            Self::ShutDown => f.write_str("shut down before the chain had drained"),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

impl Error for Reason {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(&**error),
            Self::Failed(error) => Some(&**error),
            Self::Violation(violation) => Some(violation),
            _ => None,
        }
    }
}
