//! `ByteChannel`: both directions from tasks and plain threads, bounds, time-outs, ends, aborts and being dropped.

mod support;

use actix::prelude::*;
use bytes::Bytes;
use std::future::Future;
use std::pin::pin;
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;
use support::{run, until, within};
use versile_io::component::channel::{ByteChannel, ChannelPart, RecvError, SendError};
use versile_io::component::join_pair;
use versile_io::component::stock::{Done, Outcome};

const SHORT: Duration = Duration::from_millis(20);

type Ends = (ByteChannel, ByteChannel, Done<ChannelPart>, Done<ChannelPart>);

fn joined(capacity: usize) -> Ends {
    let (a, ap, ad) = ByteChannel::start("a", capacity);
    let (b, bp, bd) = ByteChannel::start("b", capacity);
    join_pair(&ap, &bp, None);
    (a, b, ad, bd)
}

async fn all(channel: &ByteChannel, max: usize) -> Result<Vec<u8>, RecvError> {
    let mut all = Vec::new();
    while let Some(bytes) = within(channel.recv(max)).await? {
        assert!(!bytes.is_empty() && bytes.len() <= max);
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

#[test]
fn both_directions_carry_all_and_end_clean() {
    run(async {
        let (a, b, ad, bd) = joined(1000);
        let sent: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        let data = Bytes::from(sent.clone());
        let sender = actix_rt::spawn(async move {
            for chunk in data.chunks(777) {
                a.send(chunk.to_vec()).await.expect("sent");
            }
            a.end(true);
            let back = all(&a, 64).await.expect("clean");
            (a, back)
        });
        let got = all(&b, 333).await.expect("clean");
        assert!(got == sent);
        b.send("thanks").await.expect("half-closed, and still sending");
        b.end(true);
        assert_eq!(within(sender).await.expect("no panic").1, b"thanks");
        assert!(within(ad).await.1.is_clean());
        assert!(within(bd).await.1.is_clean());
    });
}

#[test]
fn what_waits_is_bounded_in_both_directions() {
    run(async {
        let (a, b, ..) = joined(100);
        // nobody receives at b: its buffer, our buffer and one item in the outlet fill up, and no more
        let (mut taken, mut refused) = (0, 0);
        while refused < 1000 {
            match a.try_send(vec![1; 10]) {
                Ok(()) => (taken, refused) = (taken + 10, 0),
                Err(_) => refused += 1,
            }
            tokio::task::yield_now().await;
        }
        assert!((200..=210).contains(&taken), "{taken}");
        assert_eq!(within(b.recv(1000)).await.expect("open").expect("bytes").len(), 10, "one piece at a time");
    });
}

#[test]
fn credit_follows_what_recv_has_taken() {
    run(async {
        // defects 73 and 74: a transfer far larger than the buffers goes on, byte by byte too
        let (a, b, ..) = joined(16);
        let sender = actix_rt::spawn(async move {
            for i in 0..500u32 {
                a.send(vec![i as u8; 7]).await.expect("sent");
            }
            a.end(true);
            within(a.recv(1)).await.expect_err("b is dropped");
        });
        assert_eq!(all(&b, 1).await.expect("clean").len(), 3500);
        drop(b);
        within(sender).await.expect("no panic");
    });
}

#[test]
fn time_outs_hand_the_bytes_back_and_nothing_of_them_was_sent() {
    run(async {
        // defect 75
        let (a, pair, _done) = ByteChannel::start("a", 4);
        a.try_send("full").expect("room");
        match a.send_timeout("late", SHORT).await {
            Err(SendError::TimedOut(back)) => assert_eq!(back, "late"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(a.recv_timeout(10, SHORT).await, Err(RecvError::TimedOut)));
        assert!(matches!(a.recv_timeout(10, Duration::ZERO).await, Err(RecvError::TimedOut)));
        assert!(matches!(a.try_recv(10), Err(RecvError::Empty)));
        match a.try_send("more") {
            Err(error @ SendError::Full(_)) => assert_eq!(error.into_inner(), "more"),
            other => panic!("{other:?}"),
        }
        let (b, bp, _bd) = ByteChannel::start("b", 100);
        join_pair(&pair, &bp, None);
        a.end(true);
        assert_eq!(all(&b, 100).await.expect("clean"), b"full");
    });
}

#[test]
fn plain_threads_send_and_receive_with_and_without_a_limit() {
    run(async {
        let (a, b, ..) = joined(64);
        let reader = std::thread::spawn(move || {
            assert!(matches!(b.blocking_recv(10, Some(SHORT)), Err(RecvError::TimedOut)));
            b.blocking_send("go", None).expect("sent");
            let mut sum = 0u64;
            while let Some(bytes) = b.blocking_recv(50, None).expect("clean") {
                sum += bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
            }
            b.end(true);
            sum
        });
        let writer = std::thread::spawn(move || {
            assert_eq!(a.blocking_recv(2, None).expect("clean").expect("bytes"), "go");
            for i in 0..2000u32 {
                a.blocking_send(vec![i as u8; 3], Some(Duration::from_secs(10))).expect("sent");
            }
            a.end(true);
            assert!(a.blocking_recv(1, None).expect("clean").is_none());
        });
        // the arbiter must not block
        until("both threads", || reader.is_finished() && writer.is_finished()).await;
        writer.join().expect("no panic");
        let expected: u64 = (0..2000u64).map(|i| (i % 256) * 3).sum();
        assert_eq!(reader.join().expect("no panic"), expected);
    });
}

#[test]
fn a_blocking_send_times_out_while_full() {
    run(async {
        let (a, pair, _done) = ByteChannel::start("a", 4);
        let thread = std::thread::spawn(move || {
            a.blocking_send("full", None).expect("room");
            a.blocking_send("late", Some(SHORT)).expect_err("full").into_inner()
        });
        until("timed out", || thread.is_finished()).await;
        assert_eq!(thread.join().expect("no panic"), "late");
        drop(pair);
    });
}

#[test]
fn an_unclean_end_is_an_error_after_the_data() {
    run(async {
        let (a, b, ..) = joined(64);
        a.send("half").await.expect("sent");
        a.end(false);
        assert_eq!(within(b.recv(64)).await.expect("data first").expect("bytes"), "half");
        assert!(matches!(within(b.recv(64)).await, Err(RecvError::Incomplete)));
        assert!(matches!(within(b.recv(64)).await, Err(RecvError::Incomplete)), "and stays so");
        b.end(true);
        assert!(within(a.recv(1)).await.expect("clean").is_none());
    });
}

#[test]
fn an_end_goes_after_what_was_sent_and_needs_no_credit() {
    run(async {
        // defect 76
        let (a, ap, _ad) = ByteChannel::start("a", 100);
        a.try_send(vec![7; 100]).expect("room");
        a.end(true);
        assert!(matches!(a.try_send("x"), Err(SendError::Ended(_))));
        let (b, bp, _bd) = ByteChannel::start("b", 10);
        join_pair(&ap, &bp, None);
        drop((ap, bp));
        assert_eq!(all(&b, 3).await.expect("clean").len(), 100);
    });
}

#[test]
fn an_empty_end_arrives_though_the_other_side_is_full() {
    run(async {
        let (a, b, ..) = joined(4);
        a.send("1234").await.expect("sent");
        until("it arrived", || matches!(b.try_recv(1), Ok(Some(_)))).await;
        a.end(true);
        assert_eq!(all(&b, 4).await.expect("clean"), b"234");
    });
}

#[test]
fn an_abort_keeps_what_was_received_and_wakes_all_who_wait() {
    run(async {
        let (a, b, ad, bd) = joined(4);
        a.send("data").await.expect("sent");
        until("it arrived", || matches!(b.try_recv(1), Ok(Some(_)))).await;
        let waiting = [a.clone(), a.clone()];
        let [w1, w2] = waiting;
        let recv = actix_rt::spawn(async move { w1.recv(1).await });
        let send = actix_rt::spawn(async move {
            let mut sent = 0;
            loop {
                match w2.send("1234").await {
                    Ok(()) => sent += 1,
                    Err(error) => return (sent, error),
                }
            }
        });
        let thread = std::thread::spawn({
            let a = a.clone();
            move || a.blocking_recv(1, None)
        });
        tokio::time::timeout(SHORT, std::future::pending::<()>()).await.expect_err("let them wait");
        a.abort("enough");
        let told = "a: aborted on request: enough";
        match within(recv).await.expect("no panic") {
            Err(RecvError::Aborted(cause)) => assert_eq!(cause.to_string(), told),
            other => panic!("{other:?}"),
        }
        let (_, error) = within(send).await.expect("no panic");
        assert!(matches!(&error, SendError::Aborted { cause, .. } if cause.to_string() == told), "{error}");
        assert_eq!(error.into_inner(), "1234");
        until("the thread", || thread.is_finished()).await;
        assert!(matches!(thread.join().expect("no panic"), Err(RecvError::Aborted(_))));
        for done in [ad, bd] {
            let Outcome::Aborted(cause) = within(done).await.1 else { panic!("aborted") };
            assert_eq!(cause.to_string(), told);
        }
        assert_eq!(b.try_recv(100).expect("received data first").expect("bytes"), "ata");
        let error = loop {
            match b.try_recv(100) {
                Ok(bytes) => assert_eq!(bytes.expect("not ended"), "1"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, RecvError::Aborted(cause) if cause.to_string() == told));
    });
}

#[test]
fn the_last_handle_dropped_ends_unclean_after_what_was_sent() {
    run(async {
        let (a, b, ad, bd) = joined(10);
        a.send("0123456789").await.expect("sent");
        let second = a.clone();
        drop(a);
        second.send("abcdef").await.expect("sent, the other handle is alive");
        drop(second);
        let mut got = Vec::new();
        let error = loop {
            match within(b.recv(3)).await {
                Ok(Some(bytes)) => got.extend_from_slice(&bytes),
                Ok(None) => panic!("clean"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, RecvError::Incomplete), "{error}");
        assert_eq!(got, b"0123456789abcdef");
        // b goes on sending, and is told that nobody reads
        let failed = async {
            loop {
                if let Err(error) = b.send("hello?").await {
                    break error;
                }
            }
        };
        assert!(matches!(within(failed).await, SendError::Aborted { .. }));
        assert!(matches!(within(ad).await.1, Outcome::Aborted(_)));
        assert!(matches!(within(bd).await.1, Outcome::Aborted(_)));
    });
}

#[test]
fn a_channel_dropped_at_once_still_sends_and_ends() {
    run(async {
        let (a, ap, _ad) = ByteChannel::start("a", 100);
        let (b, bp, _bd) = ByteChannel::start("b", 100);
        a.try_send("all of it").expect("room");
        a.end(true);
        join_pair(&ap, &bp, None);
        drop((a, ap, bp));
        b.end(true);
        assert_eq!(all(&b, 100).await.expect("clean"), b"all of it");
    });
}

#[test]
fn an_idle_producer_is_aborted_when_nobody_can_read_any_more() {
    run(async {
        let (a, b, ad, bd) = joined(100);
        a.send("x").await.expect("sent");
        within(b.recv(1)).await.expect("open");
        // b sends nothing; a is dropped; b must not wait for ever
        drop(a);
        assert!(within(b.recv(1)).await.is_err());
        assert!(matches!(within(ad).await.1, Outcome::Aborted(_)));
        assert!(matches!(within(bd).await.1, Outcome::Aborted(_)));
    });
}

#[test]
fn a_channel_that_was_never_joined_leaves_nothing() {
    run(async {
        let (a, pair, done) = ByteChannel::start("a", 100);
        let recv = actix_rt::spawn({
            let a = a.clone();
            async move { a.recv(1).await }
        });
        tokio::task::yield_now().await;
        drop(pair);
        assert!(matches!(within(done).await.1, Outcome::Gone), "an actor that nobody holds ends");
        assert!(matches!(within(recv).await.expect("no panic"), Err(RecvError::Aborted(_))));
        assert!(matches!(a.try_send("x"), Err(SendError::Aborted { .. })));
    });
}

#[test]
fn an_arbiter_that_stops_wakes_those_who_wait() {
    run(async {
        let arbiter = Arbiter::new();
        let (tx, rx) = tokio::sync::oneshot::channel();
        arbiter.spawn(async move {
            let (a, pair, _) = ByteChannel::start("a", 4);
            let _ = tx.send((a, pair));
        });
        let (a, pair) = rx.await.expect("started");
        let (b, bp, bd) = ByteChannel::start("b", 4);
        join_pair(&pair, &bp, None);
        drop((pair, bp));
        b.send("here").await.expect("sent");
        assert_eq!(within(a.recv(4)).await.expect("open").expect("bytes"), "here");
        arbiter.stop();
        assert!(matches!(within(a.recv(1)).await, Err(RecvError::Aborted(_))));
        assert!(matches!(within(b.recv(1)).await, Err(RecvError::Aborted(_))));
        let Outcome::Aborted(cause) = within(bd).await.1 else { panic!("aborted") };
        assert_eq!(cause.to_string(), "a: stopped while a link depended on it");
        arbiter.join().expect("joined");
    });
}

#[test]
fn a_cancelled_recv_has_taken_nothing_and_a_cancelled_send_sent_nothing() {
    run(async {
        let (a, b, ..) = joined(4);
        {
            let mut recv = pin!(b.recv(10));
            assert!(recv.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())).is_pending());
        }
        a.send("kept").await.expect("sent");
        a.send("more").await.expect("sent");
        {
            let mut send = pin!(a.send("lost"));
            let _ = send.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()));
        }
        a.end(true);
        let got = all(&b, 10).await.expect("clean");
        assert!(got == b"keptmore" || got == b"keptmorelost", "{got:?}");
        b.end(true);
    });
}
