//! Restart: what fails by its own fault is built again at the same place, and the loss policy holds to the byte.
//!
//! The TCP tests kill a server 50 times at random points, with data in flight; `VERSILE_SEED=n` for another run.

#[path = "support/elsewhere.rs"]
mod elsewhere;
#[path = "support/supervisor.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod supervisor;
mod support;

use actix::prelude::*;
use bytes::Bytes;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream as StdStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use supervisor::{Check, Pattern, byte_at, event, forgotten};
use support::{nothing_left, run, serial, until, within};
use tokio::io::AsyncReadExt as _;
use versile_io::agent::file::{self, ReadOptions};
use versile_io::agent::stream::StreamSettings;
use versile_io::agent::tcp::{self, TcpOptions};
use versile_io::component::census::census;
use versile_io::component::stock::{Directions, Done, Duplex, Filter, Outbox, Outcome, PartResult, Pull, Sink, Source};
use versile_io::component::{InletRef, OutletRef};
use versile_io::proto::link::{Count, Credit, LinkId, LinkState, Reason, Window};
use versile_io::supervisor::{
    BackOff, Built, Event, Events, Known, Loss, LossError, Place, Restart, RestartError, Supervisor, Target,
};

// ---- the server that is killed

/// How often it is killed.
const KILLS: usize = 50;

/// Keeps what it got over all its lives, and tells at each connection how much that is.
struct Server {
    address: SocketAddr,
    /// The sink is armed: it may be killed from here on.
    armed: Arc<AtomicBool>,
    /// It will not be killed any more.
    calm: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<u8>>,
}

impl Server {
    /// Is killed each time when it has got some `spacing` more.
    fn start(seed: u64, spacing: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        // small, so that what is in flight is little beside what is sent
        socket2::SockRef::from(&listener).set_recv_buffer_size(16 * 1024).expect("set");
        let address = listener.local_addr().expect("known");
        let (armed, calm) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (arm, flag) = (armed.clone(), calm.clone());
        let thread = std::thread::spawn(move || {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut file = Vec::new();
            let (mut stream, _) = listener.accept().expect("accepted");
            stream.write_all(&0_u64.to_be_bytes()).expect("told");
            while !arm.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            drop(stream);
            for _ in 1..KILLS {
                let (stream, _) = listener.accept().expect("accepted");
                live(stream, &mut file, &mut rng, spacing);
            }
            flag.store(true, SeqCst);
            let (mut stream, _) = listener.accept().expect("accepted");
            stream.write_all(&(file.len() as u64).to_be_bytes()).expect("told");
            stream.read_to_end(&mut file).expect("read to a clean end");
            file
        });
        Self { address, armed, calm, thread }
    }
}

/// One life: up to a random point, in one of several ways.
fn live(mut stream: StdStream, file: &mut Vec<u8>, rng: &mut fastrand::Rng, spacing: usize) {
    if rng.u8(..10) == 0 {
        // before it has told anything
        return;
    }
    if stream.write_all(&(file.len() as u64).to_be_bytes()).is_err() {
        return;
    }
    let mut left = rng.usize(0..spacing);
    let mut buffer = vec![0; 8192];
    while left > 0 {
        let most = left.min(buffer.len());
        match stream.read(&mut buffer[..most]) {
            Ok(0) | Err(_) => return,
            Ok(n) => {
                file.extend_from_slice(&buffer[..n]);
                left -= n;
            }
        }
    }
    if rng.bool() {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a reset");
    }
}

/// Connects, and hears how much the server has.
async fn connect(address: SocketAddr) -> Result<(InletRef<Bytes>, u64), Reason> {
    let failed = |error| Reason::io("connect", error);
    let mut stream = tokio::net::TcpStream::connect(address).await.map_err(failed)?;
    let mut told = [0; 8];
    stream.read_exact(&mut told).await.map_err(failed)?;
    let settings = StreamSettings { window: Window::of(64 * 1024), ..StreamSettings::default() };
    let options = TcpOptions { send_buffer: Some(16 * 1024), stream: settings, ..TcpOptions::default() };
    let sink = tcp::from_stream(stream, &options).map_err(failed)?;
    let (pair, _) = sink.only(Directions::WriteOnly).start();
    Ok((pair.inlet, u64::from_be_bytes(told)))
}

/// Soon, and as often as a test likes.
fn soon() -> BackOff {
    BackOff {
        first: Duration::from_millis(1),
        cap: Duration::from_millis(5),
        stable: Duration::ZERO,
        ..BackOff::default()
    }
}

fn seed() -> u64 {
    std::env::var("VERSILE_SEED").map_or(7, |text| text.parse().expect("a seed"))
}

/// Not in ten seconds, but in sixty: 50 lives on a busy machine.
async fn patiently<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("in time")
}

#[test]
fn killed_50_times_with_resume_the_far_file_is_identical() {
    run(async {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("sent");
        let total = KILLS * 60_000 + (2 << 20);
        let data: Vec<u8> = (0..total as u64).map(|at| byte_at(seed(), at)).collect();
        // what the file has before the offset is not of the stream
        std::fs::write(&path, [&b"header"[..], &data].concat()).expect("written");
        let server = Server::start(seed(), 60_000);

        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (inlet, _) = connect(server.address).await.expect("connected");
        let (from, done) = file::read(&path, ReadOptions { offset: 6, ..ReadOptions::default() }).start();
        let link = supervisor.attach(&from.outlet, &inlet).await.expect("attached");
        let address = server.address;
        let restart = Restart { loss: Loss::Resume, back_off: soon() };
        let armed = supervisor.restart(Place::Consumer(link), restart, move |again| async move {
            let (inlet, has) = connect(address).await?;
            assert!(has <= again.sent, "{has} of {}", again.sent);
            Ok(Built::sink(&inlet).has(has))
        });
        armed.await.expect("armed");
        server.armed.store(true, SeqCst);
        drop((from, inlet));

        let (_, outcome) = patiently(done).await;
        assert!(outcome.is_clean(), "{outcome}");
        let got = tokio::task::spawn_blocking(|| server.thread.join().expect("served")).await.expect("joined");
        assert_eq!(got.len(), data.len());
        assert!(got == data, "the same bytes");
        let restarts = restarts(&supervisor, &mut events).await;
        assert!(restarts.len() > KILLS / 2, "{} restarts", restarts.len());
        assert!(restarts.iter().all(|(_, lost)| *lost == 0), "nothing is missing");
        forgotten(&supervisor).await;
    });
}

#[test]
fn killed_50_times_with_lose_the_reported_gap_is_exactly_what_is_missing() {
    run(async {
        let server = Server::start(seed() + 1, 60_000);
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (inlet, _) = connect(server.address).await.expect("connected");
        let sent = Arc::new(AtomicU64::new(0));
        let (outlet, done) = UntilCalm { calm: server.calm.clone(), sent: sent.clone(), more: 200_000 }.start();
        let link = supervisor.attach(&outlet, &inlet).await.expect("attached");
        let address = server.address;
        // where the connection began: in the stream, and in the far file
        let began = Arc::new(Mutex::new((0, 0)));
        let restart = Restart { loss: Loss::Lose, back_off: soon() };
        let armed = supervisor.restart(Place::Consumer(link), restart, move |again| {
            let began = began.clone();
            async move {
                let (inlet, len) = connect(address).await?;
                let mut began = began.lock().expect("not poisoned");
                let has = began.0 + (len - began.1);
                *began = (again.sent, len);
                Ok(Built::sink(&inlet).has(has))
            }
        });
        armed.await.expect("armed");
        server.armed.store(true, SeqCst);
        drop((outlet, inlet));

        let (_, outcome) = patiently(done).await;
        assert!(outcome.is_clean(), "{outcome}");
        let got = tokio::task::spawn_blocking(|| server.thread.join().expect("served")).await.expect("joined");
        let restarts = restarts(&supervisor, &mut events).await;
        assert!(restarts.len() > KILLS / 2, "{} restarts", restarts.len());
        assert!(restarts.iter().any(|(_, lost)| *lost > 0), "something was in flight at some kill");
        // the stream without the gaps that were reported
        let mut expected = Vec::new();
        let mut at = 0;
        for (goes_on, lost) in restarts {
            expected.extend((at..goes_on - lost).map(|at| byte_at(seed(), at)));
            at = goes_on;
        }
        expected.extend((at..sent.load(SeqCst)).map(|at| byte_at(seed(), at)));
        assert_eq!(got.len(), expected.len());
        assert!(got == expected, "just the gaps are missing");
        forgotten(&supervisor).await;
    });
}

/// Bytes by position until the server is not killed any more, and then some more.
struct UntilCalm {
    calm: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    more: u64,
}

impl Source for UntilCalm {
    type Out = Bytes;
    fn poll_pull(&mut self, credit: Credit, _: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        let size = if self.calm.load(SeqCst) { credit.quantity.min(self.more) } else { credit.quantity };
        let size = size.min(4096);
        if self.calm.load(SeqCst) {
            self.more -= size;
        }
        if size == 0 {
            return Poll::Ready(Ok(Pull::End { clean: true }));
        }
        let at = self.sent.fetch_add(size, SeqCst);
        Poll::Ready(Ok(Pull::Item((at..at + size).map(|at| byte_at(seed(), at)).collect())))
    }
}

/// The restarts up to now: where each goes on, and what it says is missing.
async fn restarts(supervisor: &Supervisor, events: &mut Events) -> Vec<(u64, u64)> {
    let all = supervisor::events_so_far(supervisor, events).await;
    let restarts = all.iter().filter_map(|event| match event {
        Event::Restarted { at, gap, .. } => {
            assert_eq!(gap.by, Known::Told);
            Some((*at, gap.lost))
        }
        _ => None,
    });
    restarts.collect()
}

// ---- parts that fail when they are told to

/// A source that can go back, and gives nothing before the gate is open: what fails before it is armed is aborted.
struct Again {
    part: Pattern,
    gate: Gate,
}

#[derive(Clone, Default)]
struct Gate(Arc<AtomicBool>);

impl Gate {
    fn open(&self) {
        self.0.store(true, SeqCst);
    }
}

impl Again {
    fn new(seed: u64) -> (Self, Gate) {
        let gate = Gate::default();
        (Self { part: Pattern::new(seed, TOTAL), gate: gate.clone() }, gate)
    }
}

impl Source for Again {
    type Out = Bytes;
    fn poll_pull(&mut self, credit: Credit, cx: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        if !self.gate.0.load(SeqCst) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.part.poll_pull(credit, cx)
    }
    fn rewind(&mut self, by: u64) -> PartResult {
        self.part.at -= by;
        Ok(())
    }
    fn name(&self) -> Arc<str> {
        "again".into()
    }
}

/// What sinks of one place have kept: as a file would, over all their lives.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Vec<u8>>>);

impl Store {
    fn len(&self) -> u64 {
        self.0.lock().expect("not poisoned").len() as u64
    }
    #[track_caller]
    fn is(&self, seed: u64, total: u64) {
        let kept = self.0.lock().expect("not poisoned");
        assert_eq!(kept.len() as u64, total);
        assert!(kept.iter().zip(0..).all(|(byte, at)| *byte == byte_at(seed, at)), "the same bytes");
    }
}

/// How a part fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Never,
    Fails,
    Panics,
    /// When the end has come.
    InFinish,
}

/// Keeps what it works off, slowly; fails at a position with some items in its hands.
struct Keep {
    store: Store,
    hand: std::collections::VecDeque<Bytes>,
    way: Way,
    fail_at: u64,
}

impl Keep {
    fn new(store: &Store, way: Way, fail_at: u64) -> Self {
        Self { store: store.clone(), hand: Default::default(), way, fail_at }
    }
}

impl Sink for Keep {
    type In = Bytes;
    fn consume(&mut self, item: Bytes) -> PartResult {
        self.hand.push_back(item);
        Ok(())
    }
    fn window(&self) -> Window {
        Window::of(16 * 1024)
    }
    fn held(&self) -> Count {
        Count { quantity: self.hand.iter().map(|item| item.len() as u64).sum(), messages: self.hand.len() as u64 }
    }
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<PartResult> {
        if self.way != Way::InFinish && self.way != Way::Never && self.store.len() >= self.fail_at {
            assert!(self.way != Way::Panics, "as the test asked");
            return Poll::Ready(Err(Reason::Requested("as the test asked".into())));
        }
        if let Some(item) = self.hand.pop_front() {
            self.store.0.lock().expect("not poisoned").extend_from_slice(&item);
        }
        match self.hand.is_empty() {
            true => Poll::Ready(Ok(())),
            false => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
    fn poll_finish(&mut self, _: bool, _: &mut Context<'_>) -> Poll<PartResult> {
        match self.way {
            Way::InFinish => Poll::Ready(Err(Reason::Requested("as the test asked".into()))),
            _ => Poll::Ready(Ok(())),
        }
    }
    fn name(&self) -> Arc<str> {
        "keep".into()
    }
}

/// A source that can go back, and a sink that fails.
struct Rig {
    supervisor: Supervisor,
    events: Events,
    link: LinkId,
    source: Done<Again>,
    gate: Gate,
    store: Store,
}

const TOTAL: u64 = 300_000;

/// Joined, and not yet armed.
async fn rig(way: Way, fail_at: u64) -> Rig {
    let supervisor = Supervisor::start();
    let events = supervisor.watch().await;
    let store = Store::default();
    let (source, gate) = Again::new(3);
    let (outlet, source) = source.start();
    let (inlet, _) = Keep::new(&store, way, fail_at).start();
    let link = supervisor.attach(&outlet, &inlet).await.expect("attached");
    Rig { supervisor, events, link, source, gate, store }
}

impl Rig {
    /// Arms the sink; each new one fails again some way further on, as often as `ways` says.
    async fn arm(&self, restart: Restart, ways: Vec<Way>) {
        let ways = Arc::new(Mutex::new(ways.into_iter()));
        let store = self.store.clone();
        let factory = move |_| {
            let way = ways.lock().expect("not poisoned").next().unwrap_or(Way::Never);
            let (inlet, _) = Keep::new(&store, way, store.len() + 10_000).start();
            let rebuilt = Built::sink(&inlet).has(store.len());
            std::future::ready(Ok(rebuilt))
        };
        self.keep(restart, factory).await;
    }
}

impl Rig {
    /// Arms the sink, and lets the data flow.
    async fn keep<F, Fut>(&self, restart: Restart, factory: F)
    where
        F: FnMut(versile_io::supervisor::Again) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Built, Reason>> + 'static,
    {
        self.supervisor.restart(Place::Consumer(self.link), restart, factory).await.expect("armed");
        self.gate.open();
    }
}

fn resume() -> Restart {
    Restart { loss: Loss::Resume, back_off: soon() }
}

#[test]
fn a_sink_that_fails_and_panics_is_rebuilt_and_its_source_goes_back() {
    run(async {
        let rig = rig(Way::Fails, 10_000).await;
        rig.arm(resume(), vec![Way::Panics, Way::Fails, Way::Panics]).await;
        let (_, outcome) = within(rig.source).await;
        assert!(outcome.is_clean(), "{outcome}");
        rig.store.is(3, TOTAL);
        forgotten(&rig.supervisor).await;
    });
}

#[test]
fn a_sink_that_is_kept_before_it_is_attached_may_fail_at_once() {
    run(async {
        let supervisor = Supervisor::start();
        let store = Store::default();
        let (source, gate) = Again::new(3);
        gate.open();
        let (outlet, source) = source.start();
        let (inlet, _) = Keep::new(&store, Way::Panics, 0).start();
        let kept = store.clone();
        let factory = move |_| {
            let (inlet, _) = Keep::new(&kept, Way::Never, 0).start();
            std::future::ready(Ok(Built::sink(&inlet).has(kept.len())))
        };
        supervisor.keep(Built::sink(&inlet), resume(), factory.clone()).await.expect("kept");
        let again = supervisor.keep(Built::sink(&inlet), resume(), factory).await;
        assert!(matches!(again, Err(RestartError::Already(_))), "{again:?}");
        supervisor.attach(&outlet, &inlet).await.expect("attached");
        drop((outlet, inlet));
        let (_, outcome) = within(source).await;
        assert!(outcome.is_clean(), "{outcome}");
        store.is(3, TOTAL);
        forgotten(&supervisor).await;
    });
}

#[test]
fn resume_with_a_producer_that_cannot_go_back_gives_up_and_says_so() {
    run(async {
        let supervisor = Supervisor::start();
        let store = Store::default();
        let (outlet, source) = Pattern::new(3, TOTAL).start();
        let (inlet, _) = Keep::new(&store, Way::Fails, 10_000).start();
        let kept = store.clone();
        let factory = move |_| {
            let (inlet, _) = Keep::new(&kept, Way::Never, 0).start();
            std::future::ready(Ok(Built::sink(&inlet).has(kept.len())))
        };
        supervisor.keep(Built::sink(&inlet), resume(), factory).await.expect("kept");
        supervisor.attach(&outlet, &inlet).await.expect("attached");
        drop((outlet, inlet));
        let (_, outcome) = within(source).await;
        assert!(outcome.to_string().contains("to go back"), "{outcome}");
        forgotten(&supervisor).await;
    });
}

#[test]
fn kept_and_gone_before_it_is_attached_leaves_nothing() {
    run(async {
        let supervisor = Supervisor::start();
        let (inlet, _) = Keep::new(&Store::default(), Way::Never, 0).start();
        let held = Arc::new(());
        let hold = held.clone();
        let factory = move |_| {
            let _ = &hold;
            std::future::ready(Err(Reason::Requested("never asked".into())))
        };
        supervisor.keep(Built::sink(&inlet), resume(), factory).await.expect("kept");
        drop(inlet);
        until("the factory is dropped", || Arc::strong_count(&held) == 1).await;
    });
}

#[test]
fn a_sink_that_fails_behind_the_end_is_rebuilt_and_hears_the_end_again() {
    run(async {
        let mut rig = rig(Way::InFinish, 0).await;
        rig.arm(resume(), vec![Way::InFinish]).await;
        let (_, outcome) = within(rig.source).await;
        assert!(outcome.is_clean(), "S2: the source is over when the sink has finished: {outcome}");
        rig.store.is(3, TOTAL);
        for _ in 0..2 {
            let at = event(&mut rig.events, |event| match event {
                Event::Restarted { at, .. } => Some(*at),
                _ => None,
            });
            assert_eq!(at.await, TOTAL);
        }
        forgotten(&rig.supervisor).await;
    });
}

#[test]
fn with_fail_a_gap_aborts_the_chain_and_the_cause_names_it() {
    run(async {
        let mut rig = rig(Way::Fails, 10_000).await;
        rig.arm(Restart { loss: Loss::Fail, back_off: soon() }, vec![]).await;
        let (_, outcome) = within(rig.source).await;
        let Outcome::Aborted(cause) = outcome else { panic!("{outcome}") };
        let Reason::Failed(error) = &cause.reason else { panic!("{cause}") };
        let Some(LossError::Lost { lost, at }) = error.downcast_ref::<LossError>() else { panic!("{cause}") };
        assert_eq!(at - lost, rig.store.len(), "what is there and what is lost");
        let gave_up = event(&mut rig.events, |event| matches!(event, Event::GaveUp { .. }).then(|| event.clone()));
        assert!(gave_up.await.to_string().contains("are lost"));
        forgotten(&rig.supervisor).await;
    });
}

#[test]
fn with_fail_and_no_gap_the_stream_goes_on() {
    run(async {
        // behind the end nothing is in its hands
        let rig = rig(Way::InFinish, 0).await;
        rig.arm(Restart { loss: Loss::Fail, back_off: soon() }, vec![]).await;
        let (_, outcome) = within(rig.source).await;
        assert!(outcome.is_clean(), "{outcome}");
        rig.store.is(3, TOTAL);
        forgotten(&rig.supervisor).await;
    });
}

#[test]
fn without_word_of_the_far_end_the_link_counts_what_was_finished() {
    run(async {
        let mut rig = rig(Way::Fails, 10_000).await;
        let store = rig.store.clone();
        let lose = Restart { loss: Loss::Lose, back_off: soon() };
        let counted = Arc::new(AtomicU64::new(0));
        let seen = counted.clone();
        let factory = move |again: versile_io::supervisor::Again| {
            seen.store(again.finished, SeqCst);
            let (inlet, _) = Keep::new(&store, Way::Never, 0).start();
            std::future::ready(Ok(Built::sink(&inlet)))
        };
        rig.keep(lose, factory).await;
        let (at, gap) = event(&mut rig.events, |event| match event {
            Event::Restarted { at, gap, .. } => Some((*at, *gap)),
            _ => None,
        })
        .await;
        assert_eq!(gap.by, Known::Counted);
        assert_eq!(at - gap.lost, counted.load(SeqCst));
        let (_, outcome) = within(rig.source).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(rig.store.len() + gap.lost, TOTAL, "this sink's store is what it has finished with");
        forgotten(&rig.supervisor).await;
    });
}

#[test]
fn a_source_is_rebuilt_where_the_old_one_stopped() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let gate = Gate::default();
        let opens = gate.clone();
        let source = move |at, panic| {
            let fault = supervisor::Fault { at: at + 20_000, panic, when: Arc::default() };
            let fault = (at < TOTAL / 2).then_some(fault);
            let part = Pattern { at, fault, ..Pattern::new(5, TOTAL) };
            Again { part, gate: gate.clone() }.start().0
        };
        let outlet = source(0, false);
        let (inlet, done) = Check::new(5).start();
        let link = supervisor.attach(&outlet, &inlet).await.expect("attached");
        let factory = move |again: versile_io::supervisor::Again| {
            let outlet: OutletRef<Bytes> = source(again.delivered, again.attempt.is_multiple_of(2));
            std::future::ready(Ok(Built::source(&outlet)))
        };
        let back_off = BackOff { stable: Duration::from_secs(60), ..soon() };
        let restart = Restart { loss: Loss::Resume, back_off };
        supervisor.restart(Place::Producer(link), restart, factory).await.expect("armed");
        opens.open();
        drop((outlet, inlet));
        let (part, outcome) = within(done).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(part.expect("the part").hash, supervisor::Hash::of(5, TOTAL));
        let at = event(&mut events, |event| match event {
            Event::Restarted { at, .. } => Some(*at),
            _ => None,
        });
        assert!(at.await >= 20_000);
        forgotten(&supervisor).await;
    });
}

/// Passes on, and fails once in a while.
struct Brittle {
    left: u64,
}

impl Filter for Brittle {
    type In = Bytes;
    type Out = Bytes;
    fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
        self.left = self.left.saturating_sub(item.len() as u64);
        if self.left == 0 {
            return Err(Reason::Requested("brittle".into()));
        }
        out.push(item);
        Ok(())
    }
}

#[test]
fn a_filter_is_rebuilt_between_its_neighbours() {
    run(async {
        let supervisor = Supervisor::start();
        let (source, gate) = Again::new(9);
        let (outlet, _) = source.start();
        let (inlet, done) = Check::new(9).start();
        let (into, out, _) = Brittle { left: 40_000 }.start();
        let first = supervisor.attach(&out, &inlet).await.expect("attached");
        let second = supervisor.attach(&outlet, &into).await.expect("attached");
        let factory = |again: versile_io::supervisor::Again| {
            let (into, out, _) = Brittle { left: 40_000 }.start();
            // it gives as much as it takes: what the consumer has taken is what it has
            std::future::ready(Ok(Built::filter(&into, &out).has(again.delivered)))
        };
        supervisor.restart(Place::Producer(first), resume(), factory).await.expect("armed");
        let again = supervisor.restart(Place::Consumer(second), resume(), factory).await;
        assert!(matches!(again, Err(RestartError::Already(_))), "{again:?}");
        gate.open();
        drop((outlet, inlet, into, out));
        let (part, outcome) = within(done).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(part.expect("the part").hash, supervisor::Hash::of(9, TOTAL));
        forgotten(&supervisor).await;
    });
}

#[test]
fn a_sink_whose_arbiter_stops_is_rebuilt() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let store = Store::default();
        let (source, gate) = Again::new(3);
        let (outlet, source) = source.start();
        let arbiter = Arbiter::new();
        // it takes what comes and works nothing off, since it waits for more than there is
        let there = store.clone();
        let inlet = elsewhere::on(&arbiter.handle(), move || Stuck(there).start().0).await;
        let link = supervisor.attach(&outlet, &inlet).await.expect("attached");
        let here = store.clone();
        let factory = move |_| {
            let (inlet, _) = Keep::new(&here, Way::Never, 0).start();
            std::future::ready(Ok(Built::sink(&inlet).has(here.len())))
        };
        supervisor.restart(Place::Consumer(link), resume(), factory).await.expect("armed");
        gate.open();
        drop((outlet, inlet));
        arbiter.stop();
        let cause = event(&mut events, |event| match event {
            Event::Suspended { cause, .. } => Some(cause.clone()),
            _ => None,
        });
        assert!(matches!(cause.await.reason, Reason::ComponentGone));
        let (_, outcome) = within(source).await;
        assert!(outcome.is_clean(), "{outcome}");
        store.is(3, TOTAL);
        tokio::task::spawn_blocking(|| arbiter.join().expect("stopped")).await.expect("joined");
        forgotten(&supervisor).await;
    });
}

/// Holds all that it takes.
struct Stuck(#[expect(dead_code, reason = "as a file it would not write")] Store);

impl Sink for Stuck {
    type In = Bytes;
    fn consume(&mut self, _: Bytes) -> PartResult {
        Ok(())
    }
    fn held(&self) -> Count {
        Count { quantity: u64::MAX, messages: u64::MAX }
    }
    fn poll_progress(&mut self, _: &mut Context<'_>) -> Poll<PartResult> {
        Poll::Pending
    }
}

#[test]
fn a_factory_that_fails_and_panics_is_asked_again_and_told_why() {
    run(async {
        let mut rig = rig(Way::Fails, 10_000).await;
        let store = rig.store.clone();
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = told.clone();
        let factory = move |again: versile_io::supervisor::Again| {
            tell.lock().expect("not poisoned").push((again.attempt, again.cause.to_string()));
            let store = store.clone();
            async move {
                match again.attempt {
                    1 => Err(Reason::Requested("not yet".into())),
                    2 => panic!("not yet either"),
                    _ => {
                        let (inlet, _) = Keep::new(&store, Way::Never, 0).start();
                        Ok(Built::sink(&inlet).has(store.len()))
                    }
                }
            }
        };
        rig.keep(resume(), factory).await;
        let (_, outcome) = within(rig.source).await;
        assert!(outcome.is_clean(), "{outcome}");
        rig.store.is(3, TOTAL);
        let attempts = event(&mut rig.events, |event| match event {
            Event::Restarted { attempts, .. } => Some(*attempts),
            _ => None,
        });
        assert_eq!(attempts.await, 3);
        let told = told.lock().expect("not poisoned").clone();
        let parts = ["as the test asked", "not yet", "not yet either"];
        assert_eq!(told.len(), 3);
        for ((n, (attempt, cause)), part) in told.iter().enumerate().zip(parts) {
            assert!(*attempt == n as u32 + 1 && cause.contains(part), "{told:?}");
        }
        forgotten(&rig.supervisor).await;
    });
}

#[test]
fn without_attempts_left_the_chain_is_aborted_with_the_last_cause() {
    run(async {
        let mut rig = rig(Way::Fails, 10_000).await;
        let back_off = BackOff { attempts: 3, stable: Duration::from_secs(60), ..soon() };
        let restart = Restart { loss: Loss::Lose, back_off };
        let factory = |again: versile_io::supervisor::Again| {
            std::future::ready(Err(Reason::Requested(format!("attempt {}", again.attempt).into())))
        };
        rig.keep(restart, factory).await;
        let (_, outcome) = within(rig.source).await;
        let Outcome::Aborted(cause) = outcome else { panic!("{outcome}") };
        assert_eq!(cause.to_string(), "keep: aborted on request: attempt 3");
        let attempts = event(&mut rig.events, |event| match event {
            Event::GaveUp { attempts, .. } => Some(*attempts),
            _ => None,
        });
        assert_eq!(attempts.await, 3);
        event(&mut rig.events, |event| matches!(event, Event::TornDown { .. }).then_some(())).await;
        forgotten(&rig.supervisor).await;
    });
}

/// A rig whose sink has failed and waits for an hour.
async fn suspended() -> Rig {
    let mut rig = rig(Way::Fails, 10_000).await;
    let hour = Duration::from_secs(3600);
    rig.arm(Restart { loss: Loss::Resume, back_off: BackOff { first: hour, cap: hour, ..soon() } }, vec![]).await;
    event(&mut rig.events, |event| matches!(event, Event::Restarting { .. }).then_some(())).await;
    rig
}

#[test]
fn suspended_shows_in_the_snapshot_and_an_abort_ends_it_at_once() {
    run(async {
        let rig = suspended().await;
        let snapshot = rig.supervisor.snapshot().await;
        assert_eq!(snapshot.links.len(), 1);
        assert_eq!((snapshot.links[0].outlet, snapshot.links[0].inlet), (LinkState::Suspended, LinkState::Suspended));
        assert!(snapshot.json().contains("\"suspended\""));
        assert!(snapshot.component("again").is_some(), "{snapshot}");
        assert_eq!(rig.supervisor.abort(Target::ChainOf(rig.link), "enough").await, 1);
        let (_, outcome) = within(rig.source).await;
        assert!(outcome.to_string().contains("enough"), "{outcome}");
        forgotten(&rig.supervisor).await;
    });
}

#[test]
fn suspended_a_shutdown_ends_it_at_once() {
    run(async {
        let rig = suspended().await;
        let report = within(rig.supervisor.shutdown(Duration::from_secs(3600))).await;
        assert!(report.left.is_empty(), "{report:?}");
        let (_, outcome) = within(rig.source).await;
        assert!(matches!(&outcome, Outcome::Aborted(cause) if matches!(cause.reason, Reason::ShutDown)), "{outcome}");
    });
}

#[test]
fn suspended_the_end_of_the_supervisor_aborts_the_neighbours_with_the_cause() {
    run(async {
        let Rig { supervisor, events, source, .. } = suspended().await;
        drop((supervisor, events));
        let (_, outcome) = within(source).await;
        assert!(outcome.to_string().contains("as the test asked"), "{outcome}");
    });
}

#[test]
fn armed_and_without_its_supervisor_a_failure_aborts_the_chain() {
    let _one = serial();
    System::new().block_on(async {
        let before = census();
        let Rig { supervisor, events, source, store, link, gate } = rig(Way::Fails, 200_000).await;
        let factory = |_| std::future::ready(Err(Reason::Requested("never asked".into())));
        supervisor.restart(Place::Consumer(link), resume(), factory).await.expect("armed");
        drop((supervisor, events));
        gate.open();
        let (_, outcome) = within(source).await;
        assert!(outcome.to_string().contains("as the test asked"), "{outcome}");
        assert!(store.len() >= 200_000);
        nothing_left(before).await;
    });
}

#[test]
fn suspended_a_neighbour_that_fails_ends_the_place() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let store = Store::default();
        let (top, gate) = Again::new(3);
        let (top, top_done) = top.start();
        let (into, out, _) = Brittle { left: u64::MAX }.start();
        let (inlet, _) = Keep::new(&store, Way::Fails, 10_000).start();
        let link = supervisor.attach(&out, &inlet).await.expect("attached");
        supervisor.attach(&top, &into).await.expect("attached");
        let hour = Duration::from_secs(3600);
        let restart = Restart { loss: Loss::Lose, back_off: BackOff { first: hour, cap: hour, ..soon() } };
        let factory = |_| std::future::ready(Err(Reason::Requested("never asked".into())));
        supervisor.restart(Place::Consumer(link), restart, factory).await.expect("armed");
        gate.open();
        event(&mut events, |event| matches!(event, Event::Restarting { .. }).then_some(())).await;
        let brittle = supervisor.snapshot().await.component("Brittle").expect("it waits");
        // another cause from elsewhere: the whole chain goes
        supervisor.abort(Target::ChainWith(brittle), "the neighbour").await;
        let (_, outcome) = within(top_done).await;
        assert!(outcome.to_string().contains("the neighbour"), "{outcome}");
        drop((top, into, out, inlet));
        forgotten(&supervisor).await;
    });
}

#[test]
fn refused_what_cannot_be_rebuilt_or_cannot_go_back() {
    run(async {
        let supervisor = Supervisor::start();
        let (outlet, _) = supervisor::Silent.start();
        let (inlet, _) = Check::new(0).start();
        let link = supervisor.attach(&outlet, &inlet).await.expect("attached");
        let factory = |_| std::future::ready(Err(Reason::Requested("never asked".into())));
        let no = supervisor.restart(Place::Consumer(link), resume(), factory).await;
        let Err(RestartError::CannotRewind { producer, .. }) = no else { panic!("{no:?}") };
        assert_eq!(&*producer, "Silent");
        let no = supervisor.restart(Place::Consumer(LinkId::next()), resume(), factory).await;
        assert!(matches!(no, Err(RestartError::NotThere)), "{no:?}");
        let lose = Restart { loss: Loss::Lose, back_off: soon() };
        supervisor.restart(Place::Consumer(link), lose, factory).await.expect("armed");
        assert!(supervisor.restart_no_more(Place::Consumer(link)).await);
        assert!(!supervisor.restart_no_more(Place::Consumer(link)).await, "not any more");
        supervisor.abort(Target::All, "done").await;
        drop((outlet, inlet));
        forgotten(&supervisor).await;
    });
}

#[test]
fn an_orderly_end_and_an_abort_from_elsewhere_rebuild_nothing() {
    run(async {
        for abort in [false, true] {
            let rig = rig(Way::Never, 0).await;
            let asked = Arc::new(AtomicBool::new(false));
            let ask = asked.clone();
            let factory = move |_| {
                ask.store(true, SeqCst);
                std::future::ready(Err(Reason::Requested("not wanted".into())))
            };
            rig.keep(resume(), factory).await;
            if abort {
                rig.supervisor.abort(Target::ChainOf(rig.link), "from elsewhere").await;
            }
            let (_, outcome) = within(rig.source).await;
            assert_eq!(outcome.is_clean(), !abort, "{outcome}");
            forgotten(&rig.supervisor).await;
            assert!(!asked.load(SeqCst));
        }
        until("nothing", || true).await;
    });
}

/// Gives back what it gets; fails when it has given some.
struct Echo {
    held: std::collections::VecDeque<Bytes>,
    ended: Option<bool>,
    left: u64,
}

impl Echo {
    fn new(left: u64) -> Self {
        Self { held: Default::default(), ended: None, left }
    }
}

impl Duplex for Echo {
    type Item = Bytes;
    fn poll_pull(&mut self, _: Credit, _: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        match (self.held.pop_front(), self.ended) {
            (Some(item), _) => {
                self.left = self.left.saturating_sub(item.len() as u64);
                // once one direction has ended it could not be rebuilt in both
                if self.left == 0 && self.ended.is_none() {
                    return Poll::Ready(Err(Reason::Requested("enough".into())));
                }
                Poll::Ready(Ok(Pull::Item(item)))
            }
            (None, Some(clean)) => Poll::Ready(Ok(Pull::End { clean })),
            (None, None) => Poll::Pending,
        }
    }
    fn consume(&mut self, item: Bytes) -> PartResult {
        self.held.push_back(item);
        Ok(())
    }
    fn held(&self) -> Count {
        // what waits for the other direction is not held for the first one
        Count::ZERO
    }
    fn poll_progress(&mut self, _: &mut Context<'_>) -> Poll<PartResult> {
        Poll::Ready(Ok(()))
    }
    fn poll_finish(&mut self, clean: bool, _: &mut Context<'_>) -> Poll<PartResult> {
        self.ended = Some(clean);
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_two_way_component_is_rebuilt_in_both_directions() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (source, gate) = Again::new(11);
        gate.open();
        let (outlet, _) = source.start();
        let (inlet, done) = Check::new(11).start();
        let (pair, _) = Echo::new(40_000).start();
        let factory = |again: versile_io::supervisor::Again| {
            let (pair, _) = Echo::new(60_000).start();
            std::future::ready(Ok(Built::pair(&pair).has(again.delivered)))
        };
        supervisor.keep(Built::pair(&pair), resume(), factory).await.expect("kept");
        supervisor.attach(&pair.outlet, &inlet).await.expect("attached");
        supervisor.attach(&outlet, &pair.inlet).await.expect("attached");
        drop((outlet, inlet, pair));
        let (part, outcome) = within(done).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(part.expect("the part").hash, supervisor::Hash::of(11, TOTAL));
        event(&mut events, |event| matches!(event, Event::Restarted { .. }).then_some(())).await;
        forgotten(&supervisor).await;
    });
}

/// Fails now and then, whatever comes.
struct Moody {
    rng: fastrand::Rng,
    mood: u32,
}

impl Moody {
    fn strikes(&mut self) -> PartResult {
        match self.rng.u32(..self.mood) {
            0 => Err(Reason::Requested("moody".into())),
            1 => panic!("moody"),
            _ => Ok(()),
        }
    }
}

impl Filter for Moody {
    type In = Bytes;
    type Out = Bytes;
    fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
        out.push(item);
        self.strikes()
    }
    fn name(&self) -> Arc<str> {
        "moody filter".into()
    }
}

impl Sink for Moody {
    type In = Bytes;
    fn consume(&mut self, _: Bytes) -> PartResult {
        self.strikes()
    }
    fn name(&self) -> Arc<str> {
        "moody sink".into()
    }
}

/// A source that fails, two filters and a sink, all of them rebuilt and some on another arbiter: places side by side that fail
/// at the same time. Whatever happens, the chain comes to one end, and nothing is left.
#[test]
fn places_side_by_side_that_fail_at_random_come_to_one_end_and_leave_nothing() {
    let rounds = std::env::var("VERSILE_ROUNDS").map_or(40, |text| text.parse().expect("a number of rounds"));
    let _one = serial();
    System::new().block_on(async {
        let arbiter = Arbiter::new();
        let (mut clean, mut broken) = (0, 0);
        for round in 0..rounds {
            let before = census();
            let supervisor = Supervisor::start();
            let mut events = supervisor.watch().await;
            let mut rng = fastrand::Rng::with_seed(seed() * 10_000 + round);
            let mood = rng.u32(20..400);
            let mut fork = || Moody { rng: rng.fork(), mood };
            let (source, gate) = Again::new(round);
            let (outlet, done) = source.start();
            let (into, out, _) = fork().start_filter();
            let far = fork();
            let (far_into, far_out) = elsewhere::on(&arbiter.handle(), move || {
                let (into, out, _) = far.start_filter();
                (into, out)
            })
            .await;
            let inlet = fork().start_sink();
            let last = supervisor.attach(&far_out, &inlet).await.expect("attached");
            let middle = supervisor.attach(&out, &far_into).await.expect("attached");
            let first = supervisor.attach(&outlet, &into).await.expect("attached");
            let lose = Restart { loss: Loss::Lose, back_off: BackOff { attempts: 3, ..soon() } };
            for (place, handle) in [(first, None), (middle, Some(arbiter.handle()))] {
                let mut rng = rng.fork();
                let factory = move |_| {
                    let moody = Moody { rng: rng.fork(), mood };
                    let handle = handle.clone();
                    async move {
                        let make = move || {
                            let (into, out, _) = moody.start_filter();
                            (into, out)
                        };
                        let (into, out) = match handle {
                            Some(handle) => elsewhere::on(&handle, make).await,
                            None => make(),
                        };
                        Ok(Built::filter(&into, &out))
                    }
                };
                supervisor.restart(Place::Consumer(place), lose, factory).await.expect("armed");
            }
            let mut rng = rng.fork();
            let factory = move |_| std::future::ready(Ok(Built::sink(&Moody { rng: rng.fork(), mood }.start_sink())));
            supervisor.restart(Place::Consumer(last), lose, factory).await.expect("armed");
            drop((outlet, into, out, far_into, far_out, inlet));
            gate.open();
            let (_, outcome) = within(done).await;
            match outcome {
                Outcome::Ended { .. } => clean += 1,
                Outcome::Aborted(_) => broken += 1,
                other => panic!("round {round}: {other}"),
            }
            forgotten(&supervisor).await;
            let all = supervisor::events_so_far(&supervisor, &mut events).await;
            let gave_up = all.iter().filter(|event| matches!(event, Event::GaveUp { .. })).count();
            assert!(gave_up <= 3, "round {round}: {all:?}");
            drop((supervisor, events));
            nothing_left(before).await;
        }
        assert!(clean > 0 && broken > 0 || rounds < 40, "{clean} came through, {broken} did not");
        arbiter.stop();
    });
}

impl Moody {
    fn start_filter(self) -> (InletRef<Bytes>, OutletRef<Bytes>, Done<Self>) {
        Filter::start(self)
    }
    fn start_sink(self) -> InletRef<Bytes> {
        Sink::start(self).0
    }
}
