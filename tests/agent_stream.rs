//! Streams over TCP: what is carried, how each way of ending is seen at the other side, and what the close hook is told.

use actix::Arbiter;
use bytes::Bytes;
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use versile_io::agent::stream::{Stream, StreamSettings, WINDOW};
use versile_io::agent::tcp::{self, TcpOptions};
use versile_io::component::join;
use versile_io::component::stock::{Directions, Duplex, HalfClose, Outcome, PartResult, Pull, Sink, Source};
use versile_io::proto::link::{Count, Credit};

#[path = "support/agent.rs"]
mod support;
use support::*;

/// A stream and the plain socket at its other side.
async fn connection(options: &TcpOptions) -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
    let (served, _) = listener.accept().await.expect("accepted");
    (tcp::from_stream(served, options).expect("a stream"), client)
}

fn policy(half_close: HalfClose) -> TcpOptions {
    TcpOptions { stream: StreamSettings { half_close, ..StreamSettings::default() }, ..TcpOptions::default() }
}

fn reset_on_drop(socket: &TcpStream) {
    SockRef::from(socket).set_linger(Some(Duration::ZERO)).expect("set");
}

/// All that comes, and how it ended.
async fn drain(socket: &mut TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut got = Vec::new();
    let end = within(socket.read_to_end(&mut got)).await;
    (got, end.map(drop).map_err(|e| e.kind()))
}

#[test]
fn p6_chunks_of_every_size_arrive_whole_both_ways() {
    run(async {
        for (chunk, size) in [(1, 20_011), (4_099, 1_000_003), (65_536, 5_000_000)] {
            let data = pattern(size);
            let (a, b) = tcp::pair(&TcpOptions::default()).await.expect("a pair");
            let left = rig(a, Feed::new(data.clone(), chunk), Keep::default());
            let mut other = data.clone();
            other.reverse();
            let right = rig(b, Feed::new(other.clone(), chunk), Keep::default());
            for (done, expected) in [(left.sink, other), (right.sink, data)] {
                let (sink, outcome) = within(done).await;
                assert!(outcome.is_clean(), "{outcome}");
                assert!(sink.expect("the part").bytes == expected, "chunk {chunk}");
            }
            assert!(within(left.stream).await.1.is_clean());
            assert!(within(right.stream).await.1.is_clean());
        }
    });
}

#[test]
fn half_close_both_leaves_the_other_direction_open() {
    run(async {
        let (stream, mut client) = connection(&policy(HalfClose::BOTH)).await;
        let rig = rig(stream, Feed::new("answer", 3), Keep::default());
        let (got, end) = drain(&mut client).await;
        assert_eq!((&got[..], end), (&b"answer"[..], Ok(())));
        client.write_all(b"late request").await.expect("still open");
        client.shutdown().await.expect("ended");
        let (sink, outcome) = within(rig.sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(sink.expect("the part").bytes, b"late request");
        assert!(within(rig.stream).await.1.is_clean());
    });
}

#[test]
fn half_close_output_off_closes_after_our_end_and_delivers_what_was_written() {
    run(async {
        for half_close in [HalfClose::NONE, HalfClose::INPUT] {
            let (stream, mut client) = connection(&policy(half_close)).await;
            let data = pattern(3_000_000);
            let rig = rig(stream, Feed::new(data.clone(), 65_536), Keep::default());
            let (sink, outcome) = within(async {
                let read = async {
                    let (got, end) = drain(&mut client).await;
                    drop(client);
                    (got, end)
                };
                let (sink, (got, end)) = tokio::join!(rig.sink, read);
                assert_eq!(end, Ok(()), "the end was clean");
                assert!(got == data, "{} of {}", got.len(), data.len());
                sink
            })
            .await;
            // what the other side would have sent is not known to be whole
            assert!(matches!(outcome, Outcome::Ended { clean: false }), "{outcome}");
            assert_eq!(sink.expect("the part").clean, Some(false));
            assert!(matches!(within(rig.stream).await.1, Outcome::Ended { clean: false }));
        }
    });
}

#[test]
fn half_close_input_off_aborts_the_producer_when_the_other_side_ends() {
    run(async {
        for half_close in [HalfClose::NONE, HalfClose::OUTPUT] {
            let (stream, mut client) = connection(&policy(half_close)).await;
            let rig = rig(stream, Silent, Keep::default());
            client.write_all(b"all").await.expect("sent");
            client.shutdown().await.expect("ended");
            let (sink, outcome) = within(rig.sink).await;
            assert!(outcome.is_clean(), "{outcome}");
            assert_eq!(sink.expect("the part").bytes, b"all");
            assert!(cause(&within(rig.source).await.1).contains("half-close is off"));
        }
    });
}

#[test]
fn a_consumer_attached_after_the_end_of_file_still_reads_data_and_end() {
    run(async {
        let (stream, mut client) = connection(&TcpOptions::default()).await;
        client.write_all(b"early").await.expect("sent");
        client.shutdown().await.expect("ended");
        // opened by its other direction, long before anybody reads
        let (pair, _) = stream.start();
        let (outlet, source) = Feed::new("x", 1).start();
        join(&outlet, &pair.inlet, None);
        assert!(within(source).await.1.is_clean());
        let (got, end) = drain(&mut client).await;
        assert_eq!((&got[..], end), (&b"x"[..], Ok(())));
        drop(client);
        settle().await;
        let (inlet, sink) = Keep::default().start();
        join(&pair.outlet, &inlet, None);
        let (sink, outcome) = within(sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(sink.expect("the part").bytes, b"early");
    });
}

#[test]
fn a_reset_aborts_with_an_io_reason_that_names_the_peer() {
    run(async {
        let (stream, client) = connection(&TcpOptions::default()).await;
        let peer = client.local_addr().expect("bound");
        let rig = rig(stream, Silent, Keep::default());
        settle().await;
        reset_on_drop(&client);
        drop(client);
        for outcome in [within(rig.sink).await.1, within(rig.source).await.1, within(rig.stream).await.1] {
            let text = cause(&outcome);
            assert!(text.contains("Connection reset") && text.contains(&format!("tcp {peer}")), "{text}");
        }
    });
}

#[test]
fn a4_a_reset_is_seen_without_credit_and_an_orderly_end_in_order() {
    run(async {
        // stuck with a window of 3
        let (stream, mut client) = connection(&TcpOptions::default()).await;
        let sink = Keep::stuck(3);
        let heard = sink.heard.clone();
        let rig = rig(stream, Silent, sink);
        client.write_all(b"abcdef").await.expect("sent");
        client.shutdown().await.expect("ended");
        until(|| heard.borrow().bytes == 3).await;
        settle().await;
        // ended, and nobody was told; then the loss
        reset_on_drop(&client);
        drop(client);
        // after an end, Linux calls a reset a broken pipe
        for outcome in [within(rig.stream).await.1, within(rig.source).await.1] {
            assert!(cause(&outcome).contains("lost tcp") && cause(&outcome).contains("Broken pipe"), "{outcome}");
        }
    });
}

#[test]
fn a4_a_reset_after_the_end_of_reading_is_seen_while_nothing_is_written() {
    run(async {
        let (stream, mut client) = connection(&TcpOptions::default()).await;
        let rig = rig(stream, Silent, Keep::default());
        client.shutdown().await.expect("ended");
        assert!(within(rig.sink).await.1.is_clean());
        reset_on_drop(&client);
        drop(client);
        let outcome = within(rig.source).await.1;
        assert!(cause(&outcome).contains("lost tcp") && cause(&outcome).contains("Broken pipe"), "{outcome}");
    });
}

#[test]
fn a_failed_write_is_the_destinations_fault() {
    run(async {
        let (stream, client) = connection(&TcpOptions::default()).await;
        let peer = client.local_addr().expect("bound");
        drop(client);
        let count = Rc::new(RefCell::new(0));
        let rig = rig(stream, Endless(count), Keep::default());
        let text = cause(&within(rig.source).await.1);
        assert!(text.contains(&format!("tcp {peer}")), "{text}");
        assert!(text.contains("write") || text.contains("lost"), "{text}");
    });
}

#[test]
fn e2_an_unclean_end_delivers_what_was_accepted_and_then_resets() {
    run(async {
        let options = TcpOptions { send_buffer: Some(2_000_000), ..TcpOptions::default() };
        let (stream, mut client) = connection(&options).await;
        let data = pattern(1_500_000);
        let rig = rig(stream, Feed::new(data.clone(), 65_536).unclean(), Keep::default());
        // a slow reader: it begins when the source has ended
        within(rig.source).await;
        settle().await;
        let (got, end) = drain(&mut client).await;
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "after {} bytes", got.len());
        assert!(got == data, "{} of {}", got.len(), data.len());
    });
}

#[test]
fn an_abort_a_panic_and_a_lost_arbiter_reset_the_peer() {
    run(async {
        // abort and panic, by a sink that has had enough
        for sink in [Keep::failing_at(1), Keep::panicking_at(1)] {
            let (stream, mut client) = connection(&TcpOptions::default()).await;
            let rig = rig(stream, Silent, sink);
            client.write_all(b"x").await.expect("sent");
            within(rig.stream).await;
            assert_eq!(drain(&mut client).await.1, Err(ErrorKind::ConnectionReset));
        }
        // an arbiter that stops
        let (client, held) = (connect_to_arbiter(true)).await;
        let mut client = client;
        client.write_all(b"x").await.expect("sent");
        held.stop();
        assert_eq!(drain(&mut client).await.1, Err(ErrorKind::ConnectionReset));
    });
}

/// A stream on an arbiter of its own, attached to a silent source and a sink.
async fn connect_to_arbiter(ready: bool) -> (TcpStream, Arbiter) {
    let arbiter = Arbiter::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
    let (served, _) = listener.accept().await.expect("accepted");
    let served = served.into_std().expect("a socket");
    let (tx, rx) = tokio::sync::oneshot::channel();
    arbiter.spawn(async move {
        let served = TcpStream::from_std(served).expect("a socket");
        let stream = tcp::from_stream(served, &TcpOptions::default()).expect("a stream");
        drop(rig(stream, Silent, Keep::default()));
        let _ = tx.send(());
    });
    if ready {
        within(rx).await.expect("started");
    }
    (client, arbiter)
}

#[test]
fn a_clean_end_reaches_a_slow_reader_to_the_last_byte() {
    run(async {
        for directions in [Directions::Both, Directions::WriteOnly] {
            let (stream, mut client) = connection(&TcpOptions::default()).await;
            let data = pattern(2_000_003);
            let (pair, _) = stream.only(directions).start();
            let (outlet, source) = Feed::new(data.clone(), 65_536).start();
            join(&outlet, &pair.inlet, None);
            drop((pair, outlet));
            let mut got = vec![0; 1000];
            within(client.read_exact(&mut got)).await.expect("some");
            // it sends what nobody reads: closing over it would reset the connection and lose the rest
            client.write_all(b"unread").await.expect("sent");
            // not in one go
            while got.len() < data.len() - 70_000 {
                let from = got.len();
                got.resize(from + 50_000, 0);
                within(client.read_exact(&mut got[from..])).await.expect("more");
                client.write_all(b"and more").await.expect("sent");
            }
            within(source).await;
            settle().await;
            let (rest, end) = drain(&mut client).await;
            got.extend(rest);
            assert_eq!(end, Ok(()), "{directions:?} after {} of {}", got.len(), data.len());
            assert!(got == data);
        }
    });
}

#[test]
fn a_stuck_sink_bounds_what_is_taken_from_the_source() {
    run(async {
        let options = TcpOptions { send_buffer: Some(65_536), receive_buffer: Some(65_536), ..TcpOptions::default() };
        let listener = tokio::net::TcpSocket::new_v4().expect("a socket");
        listener.set_recv_buffer_size(65_536).expect("set");
        listener.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
        let listener = listener.listen(1).expect("listens");
        let addr = listener.local_addr().expect("bound");
        let stream = tcp::connect(addr.ip().to_string(), addr.port(), options);
        let taken = Rc::new(RefCell::new(0));
        let _rig = rig(stream, Endless(taken.clone()), Keep::default());
        let (_stuck, _) = within(listener.accept()).await.expect("accepted");
        // until it stands still for a while
        let mut last = (0, 0);
        within(async {
            while last.1 < 50 {
                tokio::time::sleep(Duration::from_millis(4)).await;
                let now = *taken.borrow();
                last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
            }
        })
        .await;
        println!("taken with a stuck sink: {} bytes", last.0);
        // the window, and buffers of 64 KiB each, which Linux doubles
        assert!(last.0 <= WINDOW + 2 * 2 * 65_536 + 65_536, "{}", last.0);
    });
}

#[test]
fn the_close_hook_is_called_once_with_how_it_went() {
    run(async {
        let calls = Rc::new(RefCell::new(Vec::new()));
        let hooked = |stream: Stream| {
            let calls = calls.clone();
            stream.on_close(move |outcome| calls.borrow_mut().push(outcome.to_string()))
        };
        // clean
        let (stream, mut client) = connection(&TcpOptions::default()).await;
        let clean = rig(hooked(stream), Feed::new("", 1), Keep::default());
        client.shutdown().await.expect("ended");
        within(clean.stream).await;
        // aborted
        let (stream, mut client) = connection(&TcpOptions::default()).await;
        let aborted = rig(hooked(stream), Silent, Keep::failing_at(1));
        client.write_all(b"x").await.expect("sent");
        within(aborted.stream).await;
        // reset
        let (stream, client) = connection(&TcpOptions::default()).await;
        let reset = rig(hooked(stream), Silent, Keep::default());
        reset_on_drop(&client);
        drop(client);
        within(reset.stream).await;
        // dropped before it was started, and after
        let (stream, _client) = connection(&TcpOptions::default()).await;
        drop(hooked(stream));
        let (stream, _client) = connection(&TcpOptions::default()).await;
        let (pair, done) = hooked(stream).start();
        drop(pair);
        assert!(matches!(within(done).await.1, Outcome::Gone));
        let calls = calls.borrow();
        assert_eq!(calls.len(), 5, "{calls:?}");
        assert_eq!(calls[0], "ended");
        assert!(calls[1].contains("enough") && calls[2].contains("reset"), "{calls:?}");
        assert_eq!(calls[3..], ["gone", "gone"]);
    });
}

#[test]
fn the_close_hook_is_called_when_an_arbiter_stops() {
    run(async {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let arbiter = Arbiter::new();
        let (tx, rx) = tokio::sync::oneshot::channel();
        let told = calls.clone();
        arbiter.spawn(async move {
            let (a, b) = tcp::pair(&TcpOptions::default()).await.expect("a pair");
            let a = a.on_close(move |outcome| told.lock().expect("unpoisoned").push(outcome.to_string()));
            drop(rig(a, Silent, Keep::default()));
            let _ = tx.send(());
            std::mem::forget(b);
        });
        within(rx).await.expect("started");
        arbiter.stop();
        arbiter.join().expect("stopped");
        assert_eq!(*calls.lock().expect("unpoisoned"), ["gone"]);
    });
}

#[test]
fn a_stream_used_in_one_direction_ends_with_it_when_nobody_holds_it() {
    run(async {
        let (stream, mut client) = connection(&TcpOptions::default()).await;
        client.write_all(b"all").await.expect("sent");
        client.shutdown().await.expect("ended");
        let (sink, outcome) = read_all(stream).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(sink.bytes, b"all");
        let (got, end) = drain(&mut client).await;
        assert_eq!((got.len(), end), (0, Ok(())), "nothing was ever sent, and that was all");
        let (stream, mut client) = connection(&TcpOptions::default()).await;
        let written = actix_rt::spawn(write_all(stream, Feed::new("all", 2)));
        let (got, end) = drain(&mut client).await;
        assert_eq!((&got[..], end), (&b"all"[..], Ok(())));
        drop(client);
        assert!(within(written).await.expect("no panic").is_clean());
    });
}

#[test]
fn a_read_only_stream_ends_in_an_orderly_way() {
    run(async {
        let (stream, mut client) = connection(&TcpOptions::default()).await;
        client.write_all(b"all").await.expect("sent");
        client.shutdown().await.expect("ended");
        let (sink, outcome) = read_all(stream.only(Directions::ReadOnly)).await;
        assert!(outcome.is_clean() && sink.bytes == b"all", "{outcome}");
        assert_eq!(drain(&mut client).await.1, Ok(()));
    });
}

#[test]
fn a_late_producer_is_refused_with_bytes_kept_whole() {
    run(async {
        // a part that refuses a direction refuses the attachment, and the producer is told
        let (stream, _client) = connection(&TcpOptions::default()).await;
        let (pair, _) = stream.only(Directions::ReadOnly).start();
        let (outlet, source) = Feed::new(Bytes::from_static(b"x"), 1).start();
        join(&outlet, &pair.inlet, None);
        drop((pair, outlet));
        assert!(matches!(within(source).await.1, Outcome::Aborted(_)));
    });
}

/// Takes everything, and is never done closing.
struct Lingers(Rc<Cell<u32>>);

impl Duplex for Lingers {
    type Item = Bytes;

    fn poll_pull(&mut self, _: Credit, _: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        Poll::Pending
    }

    fn consume(&mut self, _: Bytes) -> PartResult {
        Ok(())
    }

    fn held(&self) -> Count {
        Count::ZERO
    }

    fn poll_progress(&mut self, _: &mut Context<'_>) -> Poll<PartResult> {
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, _: bool, _: &mut Context<'_>) -> Poll<PartResult> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<()> {
        self.0.set(self.0.get() + 1);
        Poll::Pending
    }
}

#[test]
fn a_part_that_nobody_holds_waits_for_its_close_without_being_polled_again_and_again() {
    run(async {
        let polls = Rc::new(Cell::new(0));
        let (pair, _) = Lingers(polls.clone()).start();
        let (outlet, source) = Feed::new(Bytes::from_static(b"x"), 1).start();
        join(&outlet, &pair.inlet, None);
        drop((pair, outlet));
        within(source).await;
        until(|| polls.get() > 0).await;
        settle().await;
        assert!(polls.get() < 10, "{} polls", polls.get());
    });
}
