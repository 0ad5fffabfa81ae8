//! What was said, in order.

use super::lock;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// What was said on the links of some probes, in order and with the virtual time. Cheap to clone.
///
/// ```
/// use versile_io::testkit::Ladder;
///
/// let ladder = Ladder::default();
/// ladder.note("the test", "begins");
/// assert!(ladder.to_string().contains("the test: begins"));
/// ```
#[derive(Clone)]
pub struct Ladder(Arc<Steps>);

struct Steps {
    begun: Instant,
    taken: Mutex<Vec<(Duration, String)>>,
}

impl Default for Ladder {
    fn default() -> Self {
        Self(Arc::new(Steps { begun: Instant::now(), taken: Mutex::default() }))
    }
}

impl Ladder {
    /// Writes a step of the test's own.
    pub fn note(&self, who: &str, what: impl fmt::Display) {
        lock(&self.0.taken).push((self.0.begun.elapsed(), format!("{who}: {what}")));
    }

    /// The steps so far, without their times.
    pub fn steps(&self) -> Vec<String> {
        lock(&self.0.taken).iter().map(|(_, step)| step.clone()).collect()
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in lock(&self.0.taken).iter() {
            writeln!(f, "{:>8} ms  {step}", at.as_millis())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
