//! A source and a sink that know each byte by its position, parts that wait to be told, and events with a deadline.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::sync::Notify;
use versile_io::component::stock::{PartResult, Pull, Sink, Source};
use versile_io::proto::link::{Cause, Credit, Reason, Window};
use versile_io::supervisor::{Event, Events, Supervisor};

/// The byte at a position of a stream.
pub(crate) fn byte_at(seed: u64, at: u64) -> u8 {
    ((at ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// FNV-1a, whatever the pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash(u64);

impl Hash {
    pub(crate) fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
    /// That of a whole stream.
    pub(crate) fn of(seed: u64, total: u64) -> Self {
        let mut hash = Self::new();
        (0..total).for_each(|at| hash.add(&[byte_at(seed, at)]));
        hash
    }
}

/// Bytes by position, in pieces of changing sizes. Ends clean at `total`.
pub(crate) struct Pattern {
    pub(crate) seed: u64,
    pub(crate) total: u64,
    pub(crate) at: u64,
    pub(crate) name: Arc<str>,
    pub(crate) fault: Option<Fault>,
}

/// What a part does when it has come to a position.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) at: u64,
    pub(crate) panic: bool,
    /// Told just before.
    pub(crate) when: Arc<Mark>,
}

impl Fault {
    fn strike(fault: &Option<Fault>, at: u64, who: &str) -> PartResult {
        match fault {
            Some(fault) if at >= fault.at => {
                fault.when.set();
                assert!(!fault.panic, "{who} was made to");
                Err(Reason::Requested(format!("{who} was made to").into()))
            }
            _ => Ok(()),
        }
    }

    /// Panics or fails once the position is reached.
    pub(crate) fn check(fault: &Option<Fault>, at: u64, who: &str) -> PartResult {
        Self::strike(fault, at, who)
    }
}

/// A moment, set once.
#[derive(Debug, Default)]
pub(crate) struct Mark(std::sync::OnceLock<std::time::Instant>);

impl Mark {
    pub(crate) fn set(&self) {
        let _ = self.0.set(std::time::Instant::now());
    }
    pub(crate) fn get(&self) -> Option<std::time::Instant> {
        self.0.get().copied()
    }
}

impl Pattern {
    pub(crate) fn new(seed: u64, total: u64) -> Self {
        Self { seed, total, at: 0, name: "pattern".into(), fault: None }
    }
}

impl Source for Pattern {
    type Out = Bytes;
    fn poll_pull(&mut self, credit: Credit, _: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        Fault::check(&self.fault, self.at, &self.name)?;
        if self.at == self.total {
            return Poll::Ready(Ok(Pull::End { clean: true }));
        }
        let size = 1 + (self.at.wrapping_mul(31) ^ self.seed) % 3001;
        let size = size.min(credit.quantity).min(self.total - self.at);
        let item: Vec<u8> = (self.at..self.at + size).map(|at| byte_at(self.seed, at)).collect();
        self.at += size;
        Poll::Ready(Ok(Pull::Item(item.into())))
    }
    fn name(&self) -> Arc<str> {
        self.name.clone()
    }
}

/// How far a sink has come, for others to see and to wait for.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    at: AtomicU64,
    moved: Notify,
}

impl Progress {
    pub(crate) fn at(&self) -> u64 {
        self.at.load(Relaxed)
    }
    /// Waits until the position is reached.
    pub(crate) async fn reaches(&self, at: u64) {
        loop {
            let moved = self.moved.notified();
            if self.at() >= at {
                return;
            }
            moved.await;
        }
    }
    pub(crate) fn set(&self, at: u64) {
        self.at.store(at, Relaxed);
        self.moved.notify_waiters();
    }
}

/// Verifies each byte by its position.
pub(crate) struct Check {
    pub(crate) seed: u64,
    pub(crate) at: u64,
    pub(crate) hash: Hash,
    pub(crate) name: Arc<str>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) window: Window,
    pub(crate) fault: Option<Fault>,
    pub(crate) causes: Vec<Arc<Cause>>,
}

impl Check {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            at: 0,
            hash: Hash::new(),
            name: "check".into(),
            progress: Arc::default(),
            window: Window::default(),
            fault: None,
            causes: Vec::new(),
        }
    }
}

impl Sink for Check {
    type In = Bytes;
    fn consume(&mut self, item: Bytes) -> PartResult {
        for (n, byte) in item.iter().enumerate() {
            let at = self.at + n as u64;
            if *byte != byte_at(self.seed, at) {
                return Err(Reason::Requested(format!("another byte at {at}").into()));
            }
        }
        self.at += item.len() as u64;
        self.hash.add(&item);
        Fault::check(&self.fault, self.at, &self.name)?;
        self.progress.set(self.at);
        Ok(())
    }
    fn window(&self) -> Window {
        self.window
    }
    fn name(&self) -> Arc<str> {
        self.name.clone()
    }
    fn aborted(&mut self, cause: &Arc<Cause>) {
        self.causes.push(cause.clone());
    }
}

/// A source that gives nothing until it is dropped.
pub(crate) struct Silent;

impl Source for Silent {
    type Out = Bytes;
    fn poll_pull(&mut self, _: Credit, _: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        Poll::Pending
    }
}

/// The next event that `pick` takes; the others are skipped.
pub(crate) async fn event<R>(events: &mut Events, mut pick: impl FnMut(&Event) -> Option<R>) -> R {
    crate::support::within(async {
        loop {
            let event = events.next().await.expect("the supervisor lives");
            if let Some(found) = pick(&event) {
                return found;
            }
        }
    })
    .await
}

/// All events up to now: what is sent before the marker link's attachment.
pub(crate) async fn events_so_far(supervisor: &Supervisor, events: &mut Events) -> Vec<Event> {
    let (out, _) = Silent.start();
    let (inp, _) = Check::new(0).start();
    let marker = supervisor.attach(&out, &inp).await.expect("attached");
    let mut all = Vec::new();
    event(events, |event| {
        all.push(event.clone());
        matches!(event, Event::Attached { link, .. } if *link == marker).then_some(())
    })
    .await;
    all.pop();
    supervisor.abort(versile_io::supervisor::Target::ChainOf(marker), "marker").await;
    all
}

/// The graph of the supervisor has become empty.
pub(crate) async fn forgotten(supervisor: &Supervisor) {
    crate::support::within(async {
        loop {
            let snapshot = supervisor.snapshot().await;
            if snapshot.components.is_empty() && snapshot.links.is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_micros(200)).await;
        }
    })
    .await;
}
