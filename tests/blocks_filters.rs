//! The building blocks that are filters, and the throttle: what each is for.

#[path = "support/flow.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod flow;
#[path = "support/items.rs"]
mod items;
#[expect(dead_code, reason = "shared by several tests")]
mod support;

use flow::*;
use items::Items;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use support::run;
use tokio::time::{Instant, sleep};
use versile_io::component::block::*;
use versile_io::component::join;
use versile_io::component::stock::{Filter, Outcome, Sink, Source};
use versile_io::proto::link::Window;
use versile_io::supervisor::Supervisor;

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

mod progresses {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn progress_is_told_at_most_so_often_and_at_the_end() {
        run(async {
            tokio::time::pause();
            let feed = Feed::new(110_000, 100);
            let drain = Drain::new(&feed.produced);
            let ((out, _), (inp, done)) = (feed.start(), drain.start());
            // a second's worth, at 100 kB a second
            let throttled = throttle(per_second(100_000));
            let told = Arc::new(Mutex::new(Vec::new()));
            let tells = told.clone();
            let every = Duration::from_millis(200);
            let report = move |reading: Reading| tells.lock().expect("not poisoned").push(reading.quantity);
            let (inlet, outlet) = ports(progress(every, report));
            join(&out, &throttled.inlet, None);
            join(&throttled.outlet, &inlet, None);
            join(&outlet, &inp, None);
            drop((out, throttled, inlet, outlet, inp));
            assert!(in_time(done).await.1.is_clean());
            let told = told.lock().expect("not poisoned").clone();
            assert_eq!(told.last(), Some(&110_000), "the end is told");
            assert!((4..=6).contains(&told.len()), "{told:?}");
            assert!(told.is_sorted(), "{told:?}");
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
