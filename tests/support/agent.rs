//! What the tests of agents share: deadlines, sources and sinks, counts of descriptors.

#![expect(dead_code, reason = "each test binary uses its part")]

use bytes::Bytes;
use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use versile_io::agent::stream::Stream;
use versile_io::component::control::{CanConnect, Connected, Envelope};
use versile_io::component::stock::{Done, Duplex, Outcome, PartResult, Pull, Sink, Source};
use versile_io::component::{InletRef, OutletRef, PairRef, Peer, join};
use versile_io::proto::link::{Count, Credit, Reason, Window};

/// Runs a test in an actix system.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    actix::System::new().block_on(test)
}

/// Waits for something that must come.
#[track_caller]
pub(crate) fn within<T>(what: impl Future<Output = T>) -> impl Future<Output = T> {
    let at = std::panic::Location::caller();
    async move {
        tokio::time::timeout(Duration::from_secs(20), what).await.unwrap_or_else(|_| panic!("not in time at {at}"))
    }
}

/// Waits until it holds.
#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let waits = async move {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(waits)
}

/// Lets everything that can run now run: a barrier of the arbiter, not a wait for time.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// How many descriptors this process has.
pub(crate) fn fds() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc").count()
}

/// Bytes without a short period.
pub(crate) fn pattern(n: usize) -> Vec<u8> {
    (0..n as u64).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Gives bytes in chunks of one size, then an end.
pub(crate) struct Feed {
    data: Bytes,
    chunk: usize,
    clean: bool,
}

impl Feed {
    pub(crate) fn new(data: impl Into<Bytes>, chunk: usize) -> Self {
        Self { data: data.into(), chunk, clean: true }
    }

    pub(crate) fn unclean(mut self) -> Self {
        self.clean = false;
        self
    }
}

impl Source for Feed {
    type Out = Bytes;
    fn poll_pull(&mut self, credit: Credit, _: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        if self.data.is_empty() {
            return Poll::Ready(Ok(Pull::End { clean: self.clean }));
        }
        let n = self.chunk.min(self.data.len()).min(credit.quantity as usize);
        Poll::Ready(Ok(Pull::Item(self.data.split_to(n))))
    }
}

/// Gives bytes without end, and counts them.
pub(crate) struct Endless(pub(crate) Rc<RefCell<u64>>);

impl Source for Endless {
    type Out = Bytes;
    fn poll_pull(&mut self, credit: Credit, _: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        let n = credit.quantity.min(64 * 1024);
        *self.0.borrow_mut() += n;
        Poll::Ready(Ok(Pull::Item(vec![7; n as usize].into())))
    }
}

/// Never gives anything.
pub(crate) struct Silent;

impl Source for Silent {
    type Out = Bytes;
    fn poll_pull(&mut self, _: Credit, _: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        Poll::Pending
    }
}

/// Keeps what it gets. With `window`, it finishes with nothing once that much has come: a stuck sink.
#[derive(Default)]
pub(crate) struct Keep {
    pub(crate) bytes: Vec<u8>,
    pub(crate) clean: Option<bool>,
    stuck: Option<u64>,
    fail_at: Option<usize>,
    panic_at: Option<usize>,
    pub(crate) heard: Rc<RefCell<Heard>>,
    /// What it answers to `CanConnect`; `None`: it has no handler.
    pub(crate) answer: Option<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
    /// The question is dropped.
    Drop,
    /// The question is kept, and never answered.
    Never,
}

/// What a sink was told and asked.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) asked: Vec<Peer>,
    pub(crate) connected: Vec<Peer>,
    pub(crate) bytes: usize,
    pub(crate) kept: Vec<Envelope>,
}

impl Keep {
    pub(crate) fn stuck(window: u64) -> Self {
        Self { stuck: Some(window), ..Self::default() }
    }

    pub(crate) fn failing_at(n: usize) -> Self {
        Self { fail_at: Some(n), ..Self::default() }
    }

    pub(crate) fn panicking_at(n: usize) -> Self {
        Self { panic_at: Some(n), ..Self::default() }
    }

    pub(crate) fn answering(answer: Answer) -> Self {
        Self { answer: Some(answer), ..Self::default() }
    }
}

impl Sink for Keep {
    type In = Bytes;
    fn consume(&mut self, item: Bytes) -> PartResult {
        self.bytes.extend_from_slice(&item);
        self.heard.borrow_mut().bytes = self.bytes.len();
        if self.panic_at.is_some_and(|at| self.bytes.len() >= at) {
            panic!("as the test asked");
        }
        match self.fail_at {
            Some(at) if self.bytes.len() >= at => Err(Reason::Requested("enough".into())),
            _ => Ok(()),
        }
    }

    fn window(&self) -> Window {
        self.stuck.map_or_else(Window::default, Window::of)
    }

    fn held(&self) -> Count {
        match self.stuck {
            Some(_) => Count { quantity: self.bytes.len() as u64, messages: self.bytes.len() as u64 },
            None => Count::ZERO,
        }
    }

    fn poll_progress(&mut self, _: &mut Context<'_>) -> Poll<PartResult> {
        Poll::Pending
    }

    fn poll_finish(&mut self, clean: bool, _: &mut Context<'_>) -> Poll<PartResult> {
        self.clean = Some(clean);
        Poll::Ready(Ok(()))
    }

    fn control(&mut self, envelope: Envelope) -> Option<Envelope> {
        let envelope = match envelope.open::<Connected>() {
            Ok(told) => {
                self.heard.borrow_mut().connected.push(told.peer.clone());
                told.answer(());
                return None;
            }
            Err(envelope) => envelope,
        };
        let Some(answer) = self.answer else { return Some(envelope) };
        let ask = match envelope.open::<CanConnect>() {
            Ok(ask) => ask,
            Err(envelope) => return Some(envelope),
        };
        let mut heard = self.heard.borrow_mut();
        heard.asked.push(ask.peer.clone());
        match answer {
            Answer::Yes => ask.answer(true),
            Answer::No => ask.answer(false),
            Answer::Drop => drop(ask),
            Answer::Never => heard.kept.push(ask.into_envelope()),
        }
        None
    }
}

/// A stream between a source and a sink.
pub(crate) struct Rig<S: Source, K: Sink> {
    pub(crate) pair: Option<PairRef<Bytes>>,
    pub(crate) stream: Done<Stream>,
    pub(crate) source: Done<S>,
    pub(crate) sink: Done<K>,
    pub(crate) outlet: Option<OutletRef<Bytes>>,
    pub(crate) inlet: Option<InletRef<Bytes>>,
}

/// Puts a stream between a source and a sink; the outlet first, so that its consumer can be asked. Nobody holds the actors
/// then but each other.
pub(crate) fn rig<S, K>(stream: Stream, source: S, sink: K) -> Rig<S, K>
where
    S: Source<Out = Bytes>,
    K: Sink<In = Bytes>,
{
    let (pair, stream) = stream.start();
    let (outlet, source) = source.start();
    let (inlet, sink) = sink.start();
    join(&pair.outlet, &inlet, None);
    join(&outlet, &pair.inlet, None);
    Rig { pair: None, stream, source, sink, outlet: None, inlet: None }
}

/// Reads a stream to its end.
pub(crate) async fn read_all(stream: Stream) -> (Keep, Outcome) {
    let (pair, _) = stream.start();
    let (inlet, sink) = Keep::default().start();
    join(&pair.outlet, &inlet, None);
    drop((pair, inlet));
    let (sink, outcome) = within(sink).await;
    (sink.expect("the part"), outcome)
}

/// Writes bytes to a stream, and its end.
pub(crate) async fn write_all(stream: Stream, feed: Feed) -> Outcome {
    let (pair, stream) = stream.start();
    let (outlet, _) = feed.start();
    join(&outlet, &pair.inlet, None);
    drop((pair, outlet));
    within(stream).await.1
}

/// The cause of an abort, as text.
#[track_caller]
pub(crate) fn cause(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Aborted(cause) => cause.to_string(),
        other => panic!("not aborted: {other}"),
    }
}
