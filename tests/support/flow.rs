//! A source and a sink of bytes that know each by its position, for the tests of building blocks.

use bytes::Bytes;
use std::collections::VecDeque;
use std::num::{NonZeroU64, NonZeroUsize};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};
use versile_io::component::block::Rate;
use versile_io::component::stock::{Filter, PartResult, Pull, Sink, Source};
use versile_io::component::{InletRef, OutletRef};
use versile_io::proto::link::{Count, Credit, Payload, Reason, Window};

pub(crate) fn byte_at(position: u64) -> u8 {
    (position.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// Bytes that tell their own position, in pieces of one size.
pub(crate) struct Feed {
    pub(crate) next: u64,
    pub(crate) total: u64,
    pub(crate) piece: u64,
    pub(crate) end: Result<bool, &'static str>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) produced: Arc<AtomicU64>,
}

impl Feed {
    pub(crate) fn new(total: u64, piece: u64) -> Self {
        Self { next: 0, total, piece, end: Ok(true), stop: Arc::default(), produced: Arc::default() }
    }
}

impl Source for Feed {
    type Out = Bytes;
    fn poll_pull(&mut self, _: Credit, _: &mut TaskContext<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        let n = self.piece.min(self.total - self.next);
        if n == 0 || self.stop.load(Relaxed) {
            return Poll::Ready(match self.end {
                Ok(clean) => Ok(Pull::End { clean }),
                Err(why) => Err(Reason::Requested(why.into())),
            });
        }
        let item: Vec<u8> = (self.next..self.next + n).map(byte_at).collect();
        self.next += n;
        self.produced.store(self.next, Relaxed);
        Poll::Ready(Ok(Pull::Item(item.into())))
    }
}

/// Checks every byte against its position, slowly if it is told so.
pub(crate) struct Drain {
    pub(crate) position: u64,
    pub(crate) window: u64,
    /// Until all that it holds is worked off.
    pub(crate) pause: Option<Duration>,
    pub(crate) sleep: Option<Pin<Box<Sleep>>>,
    pub(crate) held: VecDeque<u64>,
    pub(crate) held_quantity: u64,
    pub(crate) produced: Arc<AtomicU64>,
    pub(crate) most_behind: u64,
    pub(crate) fail_at: u64,
    pub(crate) seen: Arc<AtomicU64>,
    /// A rate a second and a burst that must be kept.
    pub(crate) bound: Option<(u64, u64, Instant)>,
    pub(crate) sparse: bool,
}

impl Drain {
    pub(crate) fn new(produced: &Arc<AtomicU64>) -> Self {
        Self {
            position: 0,
            window: Window::DEFAULT_QUANTITY,
            pause: None,
            sleep: None,
            held: VecDeque::new(),
            held_quantity: 0,
            produced: produced.clone(),
            most_behind: 0,
            fail_at: u64::MAX,
            seen: Arc::default(),
            bound: None,
            sparse: false,
        }
    }
    pub(crate) fn slow(produced: &Arc<AtomicU64>) -> Self {
        Self { window: 4096, pause: Some(Duration::from_millis(1)), ..Self::new(produced) }
    }
}

impl Sink for Drain {
    type In = Bytes;
    fn consume(&mut self, item: Bytes) -> PartResult {
        for (i, byte) in item.iter().enumerate().filter(|_| !self.sparse) {
            let at = self.position + i as u64;
            if *byte != byte_at(at) {
                return Err(Reason::Requested(format!("wrong byte at {at}").into()));
            }
        }
        let released = self.position - self.held_quantity;
        self.most_behind = self.most_behind.max(self.produced.load(Relaxed) - released);
        self.position += item.len() as u64;
        self.seen.store(self.position, Relaxed);
        if let Some((rate, burst, start)) = self.bound {
            let may = burst + (start.elapsed().as_nanos() * u128::from(rate)).div_ceil(1_000_000_000) as u64;
            if self.position > may {
                return Err(Reason::Requested(format!("{} of {may} have come", self.position).into()));
            }
        }
        if self.position >= self.fail_at {
            return Err(Reason::Requested("enough".into()));
        }
        if self.pause.is_some() {
            self.held.push_back(item.len() as u64);
            self.held_quantity += item.len() as u64;
        }
        Ok(())
    }
    fn held(&self) -> Count {
        Count { quantity: self.held_quantity, messages: self.held.len() as u64 }
    }
    fn poll_progress(&mut self, cx: &mut TaskContext<'_>) -> Poll<PartResult> {
        let Some(pause) = self.pause else { return Poll::Ready(Ok(())) };
        while !self.held.is_empty() {
            let waits = self.sleep.get_or_insert_with(|| Box::pin(sleep(pause)));
            std::task::ready!(waits.as_mut().poll(cx));
            self.sleep = None;
            self.held_quantity = 0;
            self.held.clear();
        }
        Poll::Ready(Ok(()))
    }
    fn window(&self) -> Window {
        Window::of(self.window)
    }
}

/// Takes all items.
#[derive(Default)]
pub(crate) struct Collect<T>(pub(crate) Vec<T>);
impl<T: Payload> Sink for Collect<T> {
    type In = T;
    fn consume(&mut self, item: T) -> PartResult {
        self.0.push(item);
        Ok(())
    }
}

/// Virtual time, which goes on when nothing else can.
pub(crate) async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(3600), what).await.expect("in time")
}

/// All that can happen without waiting has happened.
pub(crate) async fn quiet() {
    sleep(Duration::from_millis(20)).await;
}

pub(crate) fn size(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("not 0")
}

pub(crate) fn per_second(n: u64) -> Rate {
    Rate::new(NonZeroU64::new(n).expect("not 0"))
}

pub(crate) type Ports = (InletRef<Bytes>, OutletRef<Bytes>);

pub(crate) fn ports<F: Filter<In = Bytes, Out = Bytes>>(filter: F) -> Ports {
    let (inlet, outlet, _) = filter.start();
    (inlet, outlet)
}
