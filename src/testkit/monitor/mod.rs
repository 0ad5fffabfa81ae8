//! The rules as a monitor on a live link: it passes everything on as it comes, and counts what breaks a rule.
//!
//! ```text
//!   P ──item, end, abort, question──▶ monitor ──the same──▶ C
//!     ◀──grant, abort, question────── ( judge ) ◀──────────
//! ```
//!
//! # What passes
//!
//! | what comes | what goes on |
//! |---|---|
//! | items, one or a batch | the same, one to one and at once |
//! | a grant | the same credit: its position is moved by what had passed when the links were made, and nothing is added |
//! | an end, an abort | the same, with the same cause |
//! | a control message | the same, within the other link's room |
//! | what breaks a rule | the same: it is the other side's to refuse |
//! | what bears another link's name, or grants less or the same again | nothing (P5, P3) |
//!
//! A monitor has no mailbox, no turn and no arbiter. It works inside the call that sends it a message, so neither order nor
//! the neighbours' turns change. It holds something only while its consumer's side is parted by a splice, and at most what was
//! granted before. It is put in by [`Supervisor::insert`](crate::supervisor::Supervisor::insert) and taken out by `remove`.
//!
//! # What is judged
//!
//! See [`MonitorReport`] for the table. A live link shows less than the kit's schedules do: there is one link, time is real, and
//! the other side may work on another thread. A monitor says only what cannot be anybody's bad luck.
//!
//! # What it costs
//!
//! A few locks that hardly anybody else wants, a reading of the clock and a dynamic call for each message, and little of it for
//! each item of a batch: some 150 ns a message. Between two stock actors on one arbiter (release build, 2 cores) an item of 64
//! bytes took 102 ns instead of 96, and one of 64 KiB, which travels alone or in twos, 283 ns instead of 200. Memory: the ladder, at
//! 64 messages some 4 KiB; nothing is allocated for a message once its lanes have grown.
//!
//! ```
//! use std::time::Duration;
//! use versile_io::component::{channel::ByteChannel, writer::ByteWriter};
//! use versile_io::supervisor::Supervisor;
//! use versile_io::testkit::Monitor;
//!
//! actix::System::new().block_on(async {
//!     let (writer, outlet, _) = ByteWriter::start("writer", 64);
//!     let (channel, pair, _) = ByteChannel::start("channel", 64);
//!     let supervisor = Supervisor::current();
//!     let link = supervisor.attach(&outlet, &pair.inlet).await.expect("attached");
//!
//!     let (inlet, outlet, monitor) = Monitor::new("watch").start::<bytes::Bytes>();
//!     supervisor.insert(link, &inlet, &outlet).await.expect("inserted");
//!     writer.write("hello").await.expect("there is room");
//!     assert_eq!(&channel.recv(64).await.expect("open").expect("data")[..], b"hello");
//!     assert!(monitor.report().broken().is_empty(), "{}", monitor.report());
//!     supervisor.remove(monitor.id(), Duration::from_secs(1)).await.expect("removed");
//! });
//! ```

mod handle;
mod judge;
mod lane;
mod log;
mod node;
mod report;

pub use log::Sighted;
pub use report::{Breach, MonitorReport, Sight};

use crate::component::{ComponentId, InletRef, OutletRef};
use crate::proto::link::Payload;
use actix::Recipient;
use log::Log;
use node::Node;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A monitor to be started; see the module.
#[derive(Debug)]
pub struct Monitor {
    name: Arc<str>,
    ladder: usize,
    quiet: Option<Duration>,
    to: Option<Recipient<Sighted>>,
}

impl Monitor {
    /// A monitor of this name, which supervisors and logs show.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), ladder: 64, quiet: None, to: None }
    }

    /// A breach is told with so many of the last messages; 64 by default, and at least 1.
    #[must_use]
    pub fn ladder(mut self, messages: usize) -> Self {
        self.ladder = messages.max(1);
        self
    }

    /// The consumer is one that holds nothing back on purpose, such as a stock sink: once it has finished with everything, it
    /// has to grant (C1) or to take the end (E2) within this time. Not for a gate, a throttle or a filter, which may wait for
    /// others. Judged when a [`report`](MonitorHandle::report) is asked for.
    #[must_use]
    pub fn quiet_at_most(mut self, time: Duration) -> Self {
        self.quiet = Some(time);
        self
    }

    /// Breaches are told to this actor as well, beside the log: each rule and side the first time, and then each time that
    /// its count has doubled, so that a component that breaks a rule with each message floods nobody.
    #[must_use]
    pub fn tell(mut self, to: Recipient<Sighted>) -> Self {
        self.to = Some(to);
        self
    }

    /// Starts it. The references hold it, and so does the producer that it is joined to; the handle does not.
    pub fn start<T: Payload>(self) -> (InletRef<T>, OutletRef<T>, MonitorHandle) {
        let node = Node::start(self.name, self.ladder, self.quiet, self.to);
        let handle = MonitorHandle { log: node.log().clone(), live: Arc::downgrade(&node) as Weak<dyn Live> };
        (handle::inlet(&node), handle::outlet(&node), handle)
    }
}

/// What a handle asks of a monitor that still lives.
trait Live: Send + Sync {
    /// Judges what shows only by its absence.
    fn judge_quiet(&self);
}

/// Reads what a monitor has seen, as long as anybody wants to. Does not hold the monitor.
#[derive(Clone)]
pub struct MonitorHandle {
    log: Arc<Log>,
    live: Weak<dyn Live>,
}

impl MonitorHandle {
    /// For [`Supervisor::remove`](crate::supervisor::Supervisor::remove).
    pub fn id(&self) -> ComponentId {
        self.log.id()
    }

    /// What it has seen so far; also when it is gone.
    pub fn report(&self) -> MonitorReport {
        if let Some(live) = self.live.upgrade() {
            live.judge_quiet();
        }
        self.log.report()
    }
}

impl fmt::Debug for MonitorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MonitorHandle({})", self.log.id())
    }
}
