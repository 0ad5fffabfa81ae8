//! For tests of your own components: probes that work the other end of a link by hand, and the rules as a suite.
//!
//! * [`ProducerProbe`] and [`ConsumerProbe`] grant, withhold, send too much, end, abort and detach as a test tells them to.
//! * [`conformance`] runs a component through random schedules in virtual time, and gives a [`Report`] rule by rule.
//! * [`conformance::agent`] does so with an agent, in real time, and plays the operating system's side too.
//! * [`Monitor`] is put on a live link of a running system, and counts what breaks a rule there.

pub mod conformance;
pub mod monitor;
mod probe;
mod report;
mod rule;

pub use monitor::{Monitor, MonitorHandle};
pub use probe::{Consumed, ConsumerProbe, Finding, Ladder, Produced, ProducerProbe};
pub use report::{Report, Verdict};
pub use rule::{Kind, RULES};
