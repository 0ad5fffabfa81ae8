//! `ByteWriter`: bounds, waiting and failing writes, any thread, flushed offsets, ends and aborts, cancel safety, order.

#[path = "support/gather.rs"]
mod gather;
mod support;

use bytes::Bytes;
use gather::Gather;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use support::{run, until, within};
use versile_io::component::join;
use versile_io::component::stock::{Outcome, Sink};
use versile_io::component::writer::{ByteWriter, WriteError};
use versile_io::proto::link::Window;

fn poll_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn the_buffer_is_bounded_and_a_full_one_hands_the_bytes_back() {
    run(async {
        let (writer, out, _done) = ByteWriter::start("w", 100);
        assert_eq!(writer.capacity(), 100);
        assert_eq!(writer.try_write(vec![1; 60]).expect("room"), 60);
        match writer.try_write(vec![2; 41]) {
            Err(WriteError::Full(back)) => assert_eq!(back, vec![2; 41]),
            other => panic!("{other:?}"),
        }
        assert_eq!(writer.try_write(vec![3; 40]).expect("room to the last byte"), 100);
        assert_eq!(writer.flushed(), 0);
        drop(out);
    });
}

#[test]
fn a_piece_larger_than_the_buffer_goes_alone() {
    run(async {
        let (writer, out, _done) = ByteWriter::start("w", 10);
        assert_eq!(writer.try_write(vec![1; 1000]).expect("empty"), 1000);
        assert!(matches!(writer.try_write(vec![1; 1]), Err(WriteError::Full(_))));
        drop(out);
    });
}

#[test]
fn a_cancelled_write_has_written_nothing() {
    run(async {
        let (writer, out, _done) = ByteWriter::start("w", 10);
        writer.try_write("0123456789").expect("room");
        {
            let mut write = pin!(writer.write("lost"));
            assert!(poll_once(write.as_mut()).is_pending());
        }
        let (inp, sink) = Gather::new(Window::default()).start();
        join(&out, &inp, None);
        drop((out, inp));
        within(writer.write("kept")).await.expect("written");
        writer.end(true);
        assert_eq!(within(sink).await.0.expect("the part").got.concat(), b"0123456789kept");
    });
}

#[test]
fn a_waiting_write_is_served_before_a_later_one_that_would_fit() {
    run(async {
        let (writer, out, _done) = ByteWriter::start("w", 10);
        writer.try_write("12345").expect("room");
        let mut large = pin!(writer.write("large, it waits"));
        assert!(poll_once(large.as_mut()).is_pending());
        let mut small = pin!(writer.write("small"));
        assert!(poll_once(small.as_mut()).is_pending(), "it has to wait for its turn");
        assert!(matches!(writer.try_write("x"), Err(WriteError::Full(_))));
        let (inp, sink) = Gather::new(Window::default()).start();
        join(&out, &inp, None);
        drop((out, inp));
        within(large).await.expect("written");
        within(small).await.expect("written");
        writer.end(true);
        assert_eq!(within(sink).await.0.expect("the part").got.concat(), b"12345large, it waitssmall");
    });
}

#[test]
fn writers_on_threads_keep_each_call_together_and_each_thread_in_order() {
    run(async {
        let (writer, out, _done) = ByteWriter::start("w", 64);
        let (inp, sink) = Gather::new(Window::of(100)).start();
        join(&out, &inp, None);
        drop((out, inp));
        let threads: Vec<_> = (0..4u8)
            .map(|thread| {
                let writer = writer.clone();
                std::thread::spawn(move || {
                    for n in 0..500u16 {
                        let mut record = vec![thread];
                        record.extend(n.to_be_bytes());
                        record.extend([thread; 5]);
                        let mut record = Bytes::from(record);
                        while let Err(WriteError::Full(back)) = writer.try_write(record) {
                            record = back;
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        drop(writer);
        let (sink, outcome) = within(sink).await;
        threads.into_iter().for_each(|t| t.join().expect("no panic"));
        assert!(matches!(outcome, Outcome::Ended { clean: false }), "the last handle was dropped: {outcome}");
        let all = sink.expect("the part").got.concat();
        let mut next = [0u16; 4];
        for record in all.chunks(8) {
            let thread = record[0];
            assert_eq!(&record[3..], [thread; 5], "kept together");
            assert_eq!(u16::from_be_bytes([record[1], record[2]]), next[thread as usize]);
            next[thread as usize] += 1;
        }
        assert_eq!(next, [500; 4]);
    });
}

#[test]
fn flushed_is_what_credit_has_covered() {
    run(async {
        let (writer, out, _done) = ByteWriter::start("w", 1000);
        writer.try_write(vec![1; 300]).expect("room");
        let end = writer.try_write(vec![1; 300]).expect("room");
        let gate = Gather::<Bytes>::new(Window { quantity: 0, messages: 0 });
        let (inp, sink) = gate.start();
        let link = join(&out, &inp, None);
        drop((out, inp));
        until("attached", || link.cell().outlet_state() == versile_io::proto::link::LinkState::Open).await;
        assert_eq!(writer.flushed(), 0);
        let mut waits = pin!(writer.wait_flushed(end));
        assert!(poll_once(waits.as_mut()).is_pending());
        writer.abort("no more");
        match within(waits).await {
            Err(WriteError::Aborted(cause)) => assert_eq!(cause.to_string(), "w: aborted on request: no more"),
            other => panic!("{other:?}"),
        }
        // the consumer stands still and grants nothing, and yet it is told (rule A2)
        let Outcome::Aborted(cause) = within(sink).await.1 else { panic!("aborted") };
        assert_eq!(cause.to_string(), "w: aborted on request: no more");
    });
}

#[test]
fn wait_flushed_resolves_when_the_bytes_were_sent() {
    run(async {
        let (writer, out, _done) = ByteWriter::start("w", 1000);
        let (inp, sink) = Gather::<Bytes>::new(Window::of(10)).start();
        join(&out, &inp, None);
        drop((out, inp));
        let offset = within(writer.write(vec![1; 500])).await.expect("written");
        within(writer.wait_flushed(offset)).await.expect("flushed");
        assert_eq!((offset, writer.flushed()), (500, 500));
        writer.end(true);
        assert!(matches!(within(writer.write("late")).await, Err(WriteError::Ended(back)) if back == "late"));
        assert_eq!(within(sink).await.0.expect("the part").got.concat().len(), 500);
    });
}

#[test]
fn an_end_wakes_a_waiting_write_and_hands_the_bytes_back() {
    run(async {
        let (writer, out, _done) = ByteWriter::start("w", 4);
        writer.try_write("full").expect("room");
        let waiting = writer.clone();
        let write = actix_rt::spawn(async move { waiting.write("waits").await });
        tokio::task::yield_now().await;
        writer.end(true);
        assert!(matches!(within(write).await.expect("no panic"), Err(WriteError::Ended(back)) if back == "waits"));
        drop(out);
    });
}

#[test]
fn a_failing_consumer_wakes_a_waiting_write_with_the_cause() {
    run(async {
        let (writer, out, done) = ByteWriter::start("w", 4);
        writer.try_write("full").expect("room");
        let waiting = writer.clone();
        let write = actix_rt::spawn(async move { waiting.write("waits").await });
        let (inp, sink) = Gather::<Bytes>::new(Window { quantity: 0, messages: 0 }).start();
        let link = join(&out, &inp, None);
        drop((out, inp, sink));
        until("attached", || link.cell().outlet_state() == versile_io::proto::link::LinkState::Open).await;
        // the consumer stands still, so its abort can only come by the cell and a message
        let other = versile_io::proto::link::Cause::new(
            versile_io::proto::link::Reason::ShutDown,
            versile_io::proto::link::Origin::component("elsewhere"),
        );
        link.cell().set_cause(other);
        writer.abort("second, so it counts for nothing on the link");
        assert!(matches!(within(write).await.expect("no panic"), Err(WriteError::Aborted(_))));
        let Outcome::Aborted(cause) = within(done).await.1 else { panic!("aborted") };
        assert!(cause.to_string().starts_with("w: aborted") || cause.to_string().starts_with("elsewhere"), "{cause}");
    });
}

#[test]
fn a_writer_whose_actor_is_gone_fails_instead_of_waiting() {
    run(async {
        let (writer, out, done) = ByteWriter::start("w", 4);
        drop(out);
        assert!(matches!(within(done).await.1, Outcome::Gone));
        assert!(matches!(within(writer.write("x")).await, Err(WriteError::Aborted(_))));
        assert!(matches!(within(writer.wait_flushed(1)).await, Err(WriteError::Aborted(_))));
    });
}

#[test]
fn an_empty_write_counts_nothing_and_sends_nothing() {
    run(async {
        let (writer, out, _done) = ByteWriter::start("w", 4);
        let (inp, sink) = Gather::<Bytes>::new(Window::default()).start();
        join(&out, &inp, None);
        drop((out, inp));
        assert_eq!(within(writer.write(Bytes::new())).await.expect("written"), 0);
        writer.end(true);
        let (sink, outcome) = within(sink).await;
        assert!(outcome.is_clean());
        assert!(sink.expect("the part").got.is_empty());
    });
}
