//! The building blocks: data whole and in order, bounded memory, ends and aborts carried, and what each is for.

#[macro_use]
#[path = "support/inside.rs"]
mod inside;
#[path = "support/items.rs"]
mod items;
mod support;

use actix::prelude::*;
use bytes::Bytes;
use inside::inside;
use items::Items;
use std::collections::VecDeque;
use std::num::{NonZeroU64, NonZeroUsize};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use support::{run, within};
use tokio::time::{Instant, Sleep, sleep};
use versile_io::component::block::*;
use versile_io::component::stock::{Filter, Outcome, PartResult, Pull, Sink, Source};
use versile_io::component::{AddrExt, InletRef, Outlet, OutletEvent, OutletRef, join};
use versile_io::proto::link::{Count, Credit, Payload, Reason, Window};
use versile_io::supervisor::Supervisor;
use versile_io::wire;

fn byte_at(position: u64) -> u8 {
    (position.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// Bytes that tell their own position, in pieces of one size.
struct Feed {
    next: u64,
    total: u64,
    piece: u64,
    end: Result<bool, &'static str>,
    stop: Arc<AtomicBool>,
    produced: Arc<AtomicU64>,
}

impl Feed {
    fn new(total: u64, piece: u64) -> Self {
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
struct Drain {
    position: u64,
    window: u64,
    /// For each item.
    pause: Option<Duration>,
    sleep: Option<Pin<Box<Sleep>>>,
    held: VecDeque<u64>,
    produced: Arc<AtomicU64>,
    most_behind: u64,
    fail_at: u64,
    seen: Arc<AtomicU64>,
    /// A rate a second and a burst that must be kept.
    bound: Option<(u64, u64, Instant)>,
    sparse: bool,
}

impl Drain {
    fn new(produced: &Arc<AtomicU64>) -> Self {
        Self {
            position: 0,
            window: Window::DEFAULT_QUANTITY,
            pause: None,
            sleep: None,
            held: VecDeque::new(),
            produced: produced.clone(),
            most_behind: 0,
            fail_at: u64::MAX,
            seen: Arc::default(),
            bound: None,
            sparse: false,
        }
    }
    fn slow(produced: &Arc<AtomicU64>) -> Self {
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
        let released = self.position - self.held.iter().sum::<u64>();
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
        }
        Ok(())
    }
    fn held(&self) -> Count {
        Count { quantity: self.held.iter().sum(), messages: self.held.len() as u64 }
    }
    fn poll_progress(&mut self, cx: &mut TaskContext<'_>) -> Poll<PartResult> {
        let Some(pause) = self.pause else { return Poll::Ready(Ok(())) };
        while !self.held.is_empty() {
            let waits = self.sleep.get_or_insert_with(|| Box::pin(sleep(pause)));
            std::task::ready!(waits.as_mut().poll(cx));
            self.sleep = None;
            self.held.pop_front();
        }
        Poll::Ready(Ok(()))
    }
    fn window(&self) -> Window {
        Window::of(self.window)
    }
}

/// Takes all items.
#[derive(Default)]
struct Collect<T>(Vec<T>);
impl<T: Payload> Sink for Collect<T> {
    type In = T;
    fn consume(&mut self, item: T) -> PartResult {
        self.0.push(item);
        Ok(())
    }
}

/// Virtual time, which goes on when nothing else can.
async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(3600), what).await.expect("in time")
}

/// All that can happen without waiting has happened.
async fn quiet() {
    sleep(Duration::from_millis(20)).await;
}

fn size(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("not 0")
}

fn per_second(n: u64) -> Rate {
    Rate::new(NonZeroU64::new(n).expect("not 0"))
}

type Ports = (InletRef<Bytes>, OutletRef<Bytes>);

fn ports<F: Filter<In = Bytes, Out = Bytes>>(filter: F) -> Ports {
    let (inlet, outlet, _) = filter.start();
    (inlet, outlet)
}

/// A block, how it is started, and how much it may let wait.
type Row = (&'static str, fn() -> Ports, u64);

/// Every block that bytes pass unchanged.
const ROWS: [Row; 10] = [
    ("map", || ports(map(|b: Bytes| b)), 256 << 10),
    ("filter_map", || ports(filter_map(|b: Bytes| Some(b))), 256 << 10),
    ("keep_if", || ports(keep_if(|_: &Bytes| true)), 256 << 10),
    ("inspect", || ports(inspect(|_: &Bytes| {})), 256 << 10),
    ("chunker", || ports(Chunker::bytes(size(1009))), 512 << 10),
    ("limiter", || ports(Limiter::new(u64::MAX, AfterLimit::Fail).0), 256 << 10),
    ("meter", || ports(Meter::new().0), 256 << 10),
    ("buffer", || ports(Buffer::new(Window { quantity: 1 << 20, messages: 64 })), 1 << 20),
    (
        "gate",
        || {
            let gate = gate(true);
            (gate.inlet, gate.outlet)
        },
        0,
    ),
    (
        "throttle",
        || {
            let throttle = throttle(per_second(2_000_000));
            (throttle.inlet, throttle.outlet)
        },
        0,
    ),
];

mod all {
    use super::*;

    /// Bytes through a block; what the consumer was.
    async fn through(row: &Row, feed: Feed, drain: impl FnOnce(&Arc<AtomicU64>) -> Drain) -> (Drain, Outcome, Outcome) {
        let drain = drain(&feed.produced);
        let ((out, fed), (inp, drained), (inlet, outlet)) = (feed.start(), drain.start(), row.1());
        join(&out, &inlet, None);
        join(&outlet, &inp, None);
        drop((out, inlet, outlet, inp));
        let (drain, outcome) = in_time(drained).await;
        (drain.expect("the part"), outcome, in_time(fed).await.1)
    }

    #[test]
    fn data_passes_whole_and_in_order_and_its_end_as_it_is() {
        run(async {
            tokio::time::pause();
            for row in &ROWS {
                for (total, piece) in [(5_000, 1), (100_003, 997), (400_000, 65_536), (0, 1)] {
                    for clean in [true, false] {
                        let feed = Feed { end: Ok(clean), ..Feed::new(total, piece) };
                        let (drain, outcome, fed) = through(row, feed, Drain::new).await;
                        let told = format!("{} in pieces of {piece}: {outcome}", row.0);
                        assert!(matches!(outcome, Outcome::Ended { clean: c } if c == clean), "{told}");
                        assert!(matches!(fed, Outcome::Ended { clean: c } if c == clean), "{told}");
                        assert_eq!(drain.position, total, "{told}");
                    }
                }
            }
        });
    }

    #[test]
    fn a_slow_consumer_bounds_what_waits() {
        run(async {
            tokio::time::pause();
            for row in &ROWS {
                for (total, piece) in [(5_000, 1), (1_000_000, 997), (1_000_000, 65_536)] {
                    let (drain, outcome, _) = through(row, Feed::new(total, piece), Drain::slow).await;
                    assert!(outcome.is_clean() && drain.position == total, "{}: {outcome}", row.0);
                    // the windows, and an item that waits in each of two outlets
                    let most = drain.window + row.2 + 2 * piece.max(16 << 10);
                    assert!(drain.most_behind <= most, "{}: {} behind of {most}", row.0, drain.most_behind);
                }
            }
        });
    }

    #[test]
    fn an_abort_reaches_both_ends() {
        run(async {
            tokio::time::pause();
            for row in &ROWS {
                let failing = |produced: &_| Drain { fail_at: 50_000, ..Drain::new(produced) };
                let (_, drained, fed) = through(row, Feed::new(u64::MAX, 997), failing).await;
                for outcome in [drained, fed] {
                    assert_eq!(outcome.to_string().matches("enough").count(), 1, "{}: {outcome}", row.0);
                }
                let feed = Feed { end: Err("the source broke"), ..Feed::new(50_000, 997) };
                let (_, drained, fed) = through(row, feed, Drain::slow).await;
                for outcome in [drained, fed] {
                    assert_eq!(outcome.to_string().matches("the source broke").count(), 1, "{}: {outcome}", row.0);
                }
            }
        });
    }

    #[test]
    fn each_is_put_in_and_taken_out_of_a_running_chain() {
        run(async {
            let supervisor = Supervisor::start();
            let feed = Feed::new(u64::MAX, 997);
            let (stop, drain) = (feed.stop.clone(), Drain::new(&feed.produced));
            let seen = drain.seen.clone();
            let ((out, fed), (inp, drained)) = (feed.start(), drain.start());
            supervisor.attach(&out, &inp).await.expect("attached");
            drop((out, inp));
            for row in &ROWS {
                let snapshot = supervisor.snapshot().await;
                let link = snapshot.links.iter().find(|l| !l.outlet.is_terminal()).expect("a link").id;
                let (inlet, outlet) = row.1();
                supervisor.insert(link, &inlet, &outlet).await.unwrap_or_else(|e| panic!("{}: {e}", row.0));
                drop((inlet, outlet));
                let before = seen.load(Relaxed);
                support::until(row.0, || seen.load(Relaxed) > before + 300_000).await;
                let id = supervisor.snapshot().await.component(row.0).expect("inside");
                supervisor.remove(id, Duration::from_secs(5)).await.unwrap_or_else(|e| panic!("{}: {e}", row.0));
            }
            stop.store(true, Relaxed);
            let (drain, outcome) = in_time(drained).await;
            assert!(outcome.is_clean(), "{outcome}");
            assert_eq!(drain.expect("the part").position, in_time(fed).await.0.expect("the part").next);
        });
    }
}

mod maps {
    use super::*;

    #[test]
    fn items_are_turned_dropped_and_looked_at() {
        run(async {
            let seen = Arc::new(AtomicU64::new(0));
            let counts = seen.clone();
            let (out, _) = Items::new(0..100_u32, Some(true)).start();
            let (a_in, a_out, _) = keep_if(|n: &u32| n.is_multiple_of(2)).start();
            let (b_in, b_out, _) = inspect(move |_: &u32| {
                counts.fetch_add(1, Relaxed);
            })
            .start();
            let (c_in, c_out, _) = filter_map(|n: u32| (n >= 90).then_some(n)).start();
            let (d_in, d_out, _) = map(|n: u32| format!("<{n}>")).start();
            let (inp, done) = Collect::default().start();
            for (from, to) in [(&out, &a_in), (&a_out, &b_in), (&b_out, &c_in), (&c_out, &d_in)] {
                join(from, to, None);
            }
            join(&d_out, &inp, None);
            drop((out, a_in, a_out, b_in, b_out, c_in, c_out, d_in, d_out, inp));
            let (collected, outcome) = in_time(done).await;
            assert!(outcome.is_clean(), "{outcome}");
            assert_eq!(collected.expect("the part").0, ["<90>", "<92>", "<94>", "<96>", "<98>"]);
            assert_eq!(seen.load(Relaxed), 50);
        });
    }
}

mod chunker {
    use super::*;

    #[test]
    fn chunks_have_exactly_the_size_and_the_last_one_the_rest() {
        run(async {
            for (chunk, piece) in [(1, 1), (1, 65_536), (512, 1), (512, 997), (1009, 65_536), (100_000, 997)] {
                let total = if piece == 1 { 5_003 } else { 250_003 };
                let (out, _) = Feed::new(total, piece).start();
                let (inlet, outlet, _) = Chunker::exact(size(chunk)).start();
                let (inp, done) = Collect::<Chunk>(Vec::new()).start();
                join(&out, &inlet, None);
                join(&outlet, &inp, None);
                drop((out, inlet, outlet, inp));
                let (collected, outcome) = in_time(done).await;
                assert!(outcome.is_clean(), "{outcome}");
                let chunks = collected.expect("the part").0;
                let (last, whole) = chunks.split_last().expect("some");
                assert!(whole.iter().all(|c| c.0.len() == chunk), "chunks of {chunk} from pieces of {piece}");
                let rest = total as usize % chunk;
                assert_eq!(last.0.len(), if rest == 0 { chunk } else { rest });
                let bytes: Vec<u8> = chunks.iter().flat_map(|c| c.0.iter().copied()).collect();
                assert!(bytes.iter().enumerate().all(|(i, b)| *b == byte_at(i as u64)) && bytes.len() as u64 == total);
            }
        });
    }

    #[test]
    fn a_successor_of_the_same_size_goes_on_from_what_has_begun() {
        let size = size(10);
        let mut first = Chunker::bytes(size);
        let mut out = Vec::new();
        // what a part gives is seen through a chain only; its state is what is handed over here
        run(async {
            let supervisor = Supervisor::start();
            let channel = versile_io::component::writer::ByteWriter::start("words", 1024);
            let (writer, outlet, _) = channel;
            let (inlet, chunks, _) = Chunker::exact(size).start();
            let (inp, done) = Collect::<Chunk>(Vec::new()).start();
            supervisor.attach(&outlet, &inlet).await.expect("attached");
            supervisor.attach(&chunks, &inp).await.expect("attached");
            writer.write("0123456789abc").await.expect("taken");
            while supervisor.snapshot().await.links[0].accepted < 13 {
                tokio::task::yield_now().await;
            }
            let id = supervisor.snapshot().await.component("chunker").expect("inside");
            let (next_in, next_out, _) = Chunker::exact(size).start();
            supervisor.replace(id, &next_in, &next_out, Duration::from_secs(5)).await.expect("replaced");
            writer.write("defghijk").await.expect("taken");
            writer.end(true);
            drop((writer, outlet, inlet, chunks, inp, next_in, next_out));
            let (collected, outcome) = in_time(done).await;
            assert!(outcome.is_clean(), "{outcome}");
            let texts: Vec<_> = collected.expect("the part").0.into_iter().map(|c| c.0).collect();
            assert_eq!(texts, ["0123456789", "abcdefghij", "k"]);
        });
        out.push(first.take_state().is_none());
        assert_eq!(out, [true], "nothing has begun");
        let other: Box<dyn std::any::Any + Send> = Box::new(5_u8);
        assert!(first.put_state(other).is_err(), "a stranger's state is given back");
    }
}

mod limiter {
    use super::*;

    async fn limited(limit: u64, after: AfterLimit, piece: u64) -> (Drain, Outcome, Discarded) {
        let feed = Feed::new(100_000, piece);
        let drain = Drain::new(&feed.produced);
        let ((out, _), (inp, done)) = (feed.start(), drain.start());
        let (limiter, discarded) = Limiter::new(limit, after);
        let (inlet, outlet) = ports(limiter);
        join(&out, &inlet, None);
        join(&outlet, &inp, None);
        drop((out, inlet, outlet, inp));
        let (drain, outcome) = in_time(done).await;
        (drain.expect("the part"), outcome, discarded)
    }

    #[test]
    fn exactly_the_limit_passes_and_the_rest_is_counted() {
        run(async {
            for piece in [1, 997, 65_536] {
                for limit in [0, 1, 50_000, 99_999, 100_000, 200_000] {
                    let (drain, outcome, discarded) = limited(limit, AfterLimit::Discard, piece).await;
                    assert!(outcome.is_clean(), "{outcome}");
                    assert_eq!((drain.position, discarded.get()), (limit.min(100_000), 100_000 - limit.min(100_000)));
                }
            }
        });
    }

    #[test]
    fn more_than_the_limit_fails_and_no_more_does_not() {
        run(async {
            let (_, outcome, _) = limited(99_999, AfterLimit::Fail, 997).await;
            assert!(outcome.to_string().contains("more than the limit of 99999 came"), "{outcome}");
            let (drain, outcome, _) = limited(100_000, AfterLimit::Fail, 997).await;
            assert!(outcome.is_clean() && drain.position == 100_000, "{outcome}");
        });
    }
}

mod meter_and_throttle {
    use super::*;

    #[test]
    fn the_rate_is_kept_for_every_size_of_pieces() {
        run(async {
            tokio::time::pause();
            for (rate, piece) in
                [(5_000, 1), (1_000_000, 1000), (1_000_000, 65_536), (10 << 20, 65_536), (1000, 65_536), (7, 3)]
            {
                let limit = per_second(rate);
                let burst = (rate / 10).max(1);
                let total = burst + 5 * rate;
                let feed = Feed::new(total, piece);
                let start = Instant::now();
                let drain = Drain { bound: Some((rate, burst, start)), ..Drain::new(&feed.produced) };
                let ((out, _), (inp, done)) = (feed.start(), drain.start());
                let Throttle { inlet, outlet } = throttle(limit);
                join(&out, &inlet, None);
                join(&outlet, &inp, None);
                drop((out, inlet, outlet, inp));
                let (drain, outcome) = in_time(done).await;
                let took = start.elapsed().as_secs_f64();
                assert!(outcome.is_clean(), "{rate} a second in pieces of {piece}: {outcome}");
                assert_eq!(drain.expect("the part").position, total);
                assert!((4.5..5.5).contains(&took), "{rate} a second in pieces of {piece}: {took} s instead of 5");
            }
        });
    }

    #[test]
    fn items_are_throttled_too() {
        run(async {
            tokio::time::pause();
            let start = Instant::now();
            let (out, _) = Items::new(0..550_u32, Some(true)).start();
            let Throttle { inlet, outlet } = throttle(per_second(100).burst(50));
            let (inp, done) = Collect::default().start();
            join(&out, &inlet, None);
            join(&outlet, &inp, None);
            drop((out, inlet, outlet, inp));
            let (collected, outcome) = in_time(done).await;
            assert!(outcome.is_clean(), "{outcome}");
            assert!(collected.expect("the part").0.into_iter().eq(0..550));
            let took = start.elapsed().as_secs_f64();
            assert!((4.5..5.5).contains(&took), "{took} s");
        });
    }

    #[test]
    fn a_meter_tells_the_sum_and_the_rate_of_the_last_second() {
        run(async {
            tokio::time::pause();
            let feed = Feed::new(310_000, 1000);
            let drain = Drain::new(&feed.produced);
            let ((out, _), (inp, done)) = (feed.start(), drain.start());
            let throttled = throttle(per_second(100_000));
            let (meter, handle) = Meter::new();
            let (inlet, outlet) = ports(meter);
            join(&out, &throttled.inlet, None);
            join(&throttled.outlet, &inlet, None);
            join(&outlet, &inp, None);
            drop((out, throttled, inlet, outlet, inp));
            sleep(Duration::from_millis(2550)).await;
            let rate = handle.read().rate;
            assert!((90_000..110_000).contains(&rate), "{rate}");
            assert!(in_time(done).await.1.is_clean());
            let read = handle.read();
            assert_eq!(read.quantity, 310_000);
            assert!(read.items >= 310, "{read:?}");
            sleep(Duration::from_millis(1100)).await;
            assert_eq!(handle.read().rate, 0, "a second later");
        });
    }
}

mod buffer {
    use super::*;

    #[test]
    fn it_takes_its_window_while_nobody_consumes() {
        run(async {
            tokio::time::pause();
            let feed = Feed::new(u64::MAX, 1000);
            let produced = feed.produced.clone();
            let (out, _) = feed.start();
            let (inlet, outlet) = ports(Buffer::new(Window { quantity: 1 << 20, messages: 10_000 }));
            join(&out, &inlet, None);
            quiet().await;
            let taken = produced.load(Relaxed);
            assert!((1 << 20..(1 << 20) + 20_000).contains(&taken), "{taken}");
            let (inp, done) = Drain { fail_at: 1, ..Drain::new(&produced) }.start();
            join(&outlet, &inp, None);
            drop((out, inlet, outlet, inp));
            assert!(matches!(in_time(done).await.1, Outcome::Aborted(_)));
        });
    }
}

mod gates {
    use super::*;

    struct Head {
        output: Outlet<Bytes>,
    }
    impl Actor for Head {
        type Context = Context<Self>;
    }
    wire!(Head {
        outlet output: Bytes => on_output;
    });
    inside!(Head);
    impl Head {
        fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {}
    }

    #[test]
    fn a_closed_gate_holds_and_an_open_one_passes() {
        run(async {
            tokio::time::pause();
            let feed = Feed::new(3_000_000, 997);
            let produced = feed.produced.clone();
            let drain = Drain::slow(&feed.produced);
            let seen = drain.seen.clone();
            let ((out, _), (inp, done)) = (feed.start(), drain.start());
            let Gate { inlet, outlet, handle } = gate(false);
            join(&out, &inlet, None);
            join(&outlet, &inp, None);
            drop((out, inlet, outlet, inp));
            quiet().await;
            assert_eq!((seen.load(Relaxed), produced.load(Relaxed)), (0, 0), "nothing is asked for");
            for _ in 0..50 {
                assert!(handle.open());
                quiet().await;
                assert!(handle.close());
                // the consumer may have some on their way to it
                quiet().await;
                let (passed, fed) = (seen.load(Relaxed), produced.load(Relaxed));
                assert!(passed > 0 && fed - passed <= 4096 + 2 * 997, "{passed} of {fed}");
                quiet().await;
                assert_eq!((seen.load(Relaxed), produced.load(Relaxed)), (passed, fed), "closed");
            }
            assert!(handle.open());
            let (drain, outcome) = in_time(done).await;
            assert!(outcome.is_clean() && drain.expect("the part").position == 3_000_000, "{outcome}");
            assert!(!handle.close(), "it is gone");
        });
    }

    #[test]
    fn an_end_waits_in_front_of_a_closed_gate_and_an_abort_does_not() {
        run(async {
            tokio::time::pause();
            let feed = Feed::new(0, 1);
            let drain = Drain::new(&feed.produced);
            let ((out, _), (inp, mut done)) = (feed.start(), drain.start());
            let first = gate(false);
            join(&out, &first.inlet, None);
            join(&first.outlet, &inp, None);
            drop((out, inp, first.inlet, first.outlet));
            assert!(tokio::time::timeout(Duration::from_secs(1), &mut done).await.is_err(), "the end waits");
            assert!(first.handle.open());
            assert!(in_time(done).await.1.is_clean());

            let head = Head { output: Outlet::default() }.start();
            let (inp, done) = Drain::new(&Arc::default()).start();
            let second = gate(false);
            join(&head.outlet(), &second.inlet, None);
            join(&second.outlet, &inp, None);
            drop((inp, second.inlet, second.outlet));
            inside(&head, |head, _| head.output.abort(Reason::Requested("now".into()))).await;
            let outcome = within(done).await.1;
            assert!(outcome.to_string().contains("now"), "{outcome}");
        });
    }

    #[test]
    fn a_control_message_opens_and_closes() {
        run(async {
            tokio::time::pause();
            let head = Head { output: Outlet::default() }.start();
            let drain = Drain { sparse: true, ..Drain::new(&Arc::new(AtomicU64::new(u64::MAX))) };
            let seen = drain.seen.clone();
            let (inp, done) = drain.start();
            let Gate { inlet, outlet, .. } = gate(false);
            // the question passes what does not know it
            let (before_in, before_out) = ports(inspect(|_: &Bytes| {}));
            join(&head.outlet(), &before_in, None);
            join(&before_out, &inlet, None);
            join(&outlet, &inp, None);
            drop((inp, inlet, outlet, before_in, before_out));
            inside(&head, |head, _| head.output.push("abc".into()).expect("room for one")).await;
            quiet().await;
            assert_eq!(seen.load(Relaxed), 0, "closed");
            for (open, passed) in [(true, 3), (false, 3), (true, 6)] {
                let answer = inside(&head, move |head, _| head.output.ask(SetGate { open })).await;
                assert_eq!(in_time(answer).await, Ok(()));
                quiet().await;
                assert_eq!(seen.load(Relaxed), passed, "open: {open}");
                if !open {
                    // granted while it was open, so it is taken, and waits inside
                    inside(&head, |head, _| head.output.push("def".into()).expect("granted")).await;
                    quiet().await;
                    assert_eq!(seen.load(Relaxed), passed, "closed again");
                }
            }
            inside(&head, |head, _| head.output.end(true)).await;
            drop(head);
            let (drain, outcome) = in_time(done).await;
            assert!(outcome.is_clean() && drain.expect("the part").position == 6, "{outcome}");
        });
    }
}

mod tees {
    use super::*;

    #[test]
    fn both_branches_get_all_and_the_slow_one_sets_the_pace() {
        run(async {
            tokio::time::pause();
            let feed = Feed::new(3_000_000, 997);
            let (fast, slow) = (Drain::new(&feed.produced), Drain::slow(&feed.produced));
            let third = Drain::new(&feed.produced);
            let ((out, _), (fast, fast_done), (slow, slow_done)) = (feed.start(), fast.start(), slow.start());
            let (third, third_done) = third.start();
            let (first, second) = (tee([Branch::Wait; 2]), tee([Branch::Wait; 2]));
            join(&out, &first.inlet, None);
            join(&first.left, &fast, None);
            join(&first.right, &second.inlet, None);
            join(&second.left, &slow, None);
            join(&second.right, &third, None);
            drop((out, fast, slow, third, first, second));
            for done in [fast_done, slow_done, third_done] {
                let (drain, outcome) = in_time(done).await;
                let drain = drain.expect("the part");
                assert!(outcome.is_clean() && drain.position == 3_000_000, "{outcome}");
                assert!(drain.most_behind <= ((3 * 256) << 10) + 4 * (16 << 10), "{}", drain.most_behind);
            }
        });
    }

    #[test]
    fn a_branch_that_drops_holds_nobody_back_and_ends_unclean() {
        run(async {
            tokio::time::pause();
            let feed = Feed::new(1_000_000, 997);
            let fast = Drain::new(&feed.produced);
            let slow = Drain { sparse: true, ..Drain::slow(&feed.produced) };
            let ((out, _), (fast, fast_done), (slow, slow_done)) = (feed.start(), fast.start(), slow.start());
            let tee = tee([Branch::Wait, Branch::Drop]);
            let dropped = tee.dropped.clone();
            join(&tee.right, &slow, None);
            join(&tee.left, &fast, None);
            quiet().await;
            let start = Instant::now();
            join(&out, &tee.inlet, None);
            drop((out, fast, slow, tee));
            let (drain, outcome) = in_time(fast_done).await;
            assert!(outcome.is_clean() && drain.expect("the part").position == 1_000_000, "{outcome}");
            assert!(start.elapsed() < Duration::from_millis(5), "held back for {:?}", start.elapsed());
            let (drain, outcome) = in_time(slow_done).await;
            assert!(matches!(outcome, Outcome::Ended { clean: false }), "{outcome}");
            let got = drain.expect("the part").position;
            assert!(got > 0 && dropped[1].items() > 0 && dropped[0].items() == 0, "{got} {dropped:?}");
            assert_eq!(got + dropped[1].quantity(), 1_000_000);
        });
    }

    #[test]
    fn a_branch_that_drops_need_not_be_attached_and_one_that_waits_does() {
        run(async {
            tokio::time::pause();
            let feed = Feed::new(1_000_000, 997);
            let drain = Drain::new(&feed.produced);
            let produced = feed.produced.clone();
            let ((out, _), (inp, done)) = (feed.start(), drain.start());
            let tee = tee([Branch::Drop, Branch::Wait]);
            join(&out, &tee.inlet, None);
            quiet().await;
            assert!(produced.load(Relaxed) < 300_000, "{produced:?}");
            join(&tee.right, &inp, None);
            let dropped = tee.dropped[0].clone();
            drop((out, inp, tee));
            let (drain, outcome) = in_time(done).await;
            assert!(outcome.is_clean() && drain.expect("the part").position == 1_000_000, "{outcome}");
            assert_eq!(dropped.quantity(), 1_000_000);
        });
    }

    #[test]
    fn an_abort_of_a_branch_reaches_all() {
        run(async {
            let feed = Feed::new(u64::MAX, 997);
            let well = Drain::new(&feed.produced);
            let ill = Drain { fail_at: 100_000, ..Drain::new(&feed.produced) };
            let ((out, fed), (well, well_done), (ill, ill_done)) = (feed.start(), well.start(), ill.start());
            let tee = tee([Branch::Wait; 2]);
            join(&out, &tee.inlet, None);
            join(&tee.left, &well, None);
            join(&tee.right, &ill, None);
            drop((out, well, ill, tee));
            for outcome in [in_time(fed).await.1, in_time(well_done).await.1, in_time(ill_done).await.1] {
                assert!(outcome.to_string().contains("enough"), "{outcome}");
            }
        });
    }
}

mod merges {
    use super::*;

    async fn merged(order: Merge<u32>, left_clean: bool, right_clean: bool) -> (Vec<u32>, Outcome) {
        let (left, _) = Items::new(0..100, Some(left_clean)).start();
        let (right, _) = Items::new(1000..1100, Some(right_clean)).start();
        let (inp, done) = Collect::default().start();
        join(&right, &order.right, None);
        join(&left, &order.left, None);
        quiet().await;
        // both have all in front of it by now
        join(&order.outlet, &inp, None);
        drop((left, right, inp, order));
        let (collected, outcome) = in_time(done).await;
        (collected.expect("the part").0, outcome)
    }

    #[test]
    fn fair_goes_by_turns() {
        run(async {
            tokio::time::pause();
            let (got, outcome) = merged(merge(Order::Fair), true, true).await;
            assert!(outcome.is_clean(), "{outcome}");
            assert_eq!(got.len(), 200);
            // one item goes into the outlet before the other side has come
            let turns = got[1..199].windows(2).filter(|pair| (pair[0] < 1000) != (pair[1] < 1000)).count();
            assert!(turns >= 195, "{turns} turns: {got:?}");
            for side in [0..100, 1000..1100_u32] {
                assert!(got.iter().filter(|n| side.contains(n)).copied().eq(side.clone()), "each in its order");
            }
        });
    }

    #[test]
    fn the_left_goes_first_and_a_concatenation_waits_for_its_end() {
        run(async {
            tokio::time::pause();
            let (got, _) = merged(merge(Order::LeftFirst), true, true).await;
            assert!(got.iter().filter(|n| **n != 1000).copied().eq((0..100).chain(1001..1100)), "{got:?}");
            let (got, outcome) = merged(concat(), true, true).await;
            assert!(outcome.is_clean() && got.into_iter().eq((0..100).chain(1000..1100)), "{outcome}");
        });
    }

    #[test]
    fn the_end_is_clean_only_if_both_are() {
        run(async {
            tokio::time::pause();
            for (left, right) in [(true, true), (true, false), (false, true), (false, false)] {
                for order in [Order::Fair, Order::LeftFirst, Order::LeftThenRight] {
                    let (got, outcome) = merged(merge(order), left, right).await;
                    assert!(matches!(outcome, Outcome::Ended { clean } if clean == (left && right)), "{outcome}");
                    assert_eq!(got.len(), 200, "{order:?}");
                }
            }
        });
    }

    #[test]
    fn an_abort_of_one_producer_reaches_the_other_and_what_waits_is_bounded() {
        run(async {
            tokio::time::pause();
            let (bad, endless) = (Feed { end: Err("broke"), ..Feed::new(50_000, 997) }, Feed::new(u64::MAX, 997));
            let produced = endless.produced.clone();
            let ((bad, _), (endless, fed)) = (bad.start(), endless.start());
            let (inp, done) = Drain { sparse: true, ..Drain::new(&Arc::new(AtomicU64::new(u64::MAX))) }.start();
            let ports = concat();
            join(&endless, &ports.right, None);
            quiet().await;
            assert!(produced.load(Relaxed) <= (256 << 10) + (16 << 10), "it reads ahead by a window");
            join(&ports.outlet, &inp, None);
            join(&bad, &ports.left, None);
            drop((bad, endless, inp, ports));
            for outcome in [in_time(fed).await.1, in_time(done).await.1] {
                assert!(outcome.to_string().contains("broke"), "{outcome}");
            }
        });
    }
}
