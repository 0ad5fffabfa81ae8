//! The kernel path: bytes that go from socket to socket through a pipe, and when they do not.

#![cfg(target_os = "linux")]

use bytes::Bytes;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use versile_io::agent::stream::{Carry, Stream, StreamSettings, WINDOW};
use versile_io::agent::tcp::{self, TcpOptions};
use versile_io::component::block::map;
use versile_io::component::link::Link;
use versile_io::component::stock::{Done, Duplex, Filter as _, HalfClose};
use versile_io::component::{PairRef, join_pair};
use versile_io::supervisor::{SpliceFailure, Supervisor};

#[path = "support/agent.rs"]
mod support;
use support::*;

/// Descriptors are those of the process: the test that counts them runs while no other does.
static DESCRIPTORS: std::sync::RwLock<()> = std::sync::RwLock::new(());

fn run(test: impl Future<Output = ()>) {
    let _others_too = DESCRIPTORS.read();
    support::run(test);
}

fn run_alone(test: impl Future<Output = ()>) {
    let _alone = DESCRIPTORS.write();
    support::run(test);
}

/// A connection: the plain socket at the far side, and ours as a stream.
fn connection(carry: Carry) -> (TcpStream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let far = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    let (near, _) = listener.accept().expect("accepted");
    near.set_nonblocking(true).expect("set");
    let near = tokio::net::TcpStream::from_std(near).expect("in a runtime");
    let stream = StreamSettings { carry, half_close: HalfClose::BOTH, ..StreamSettings::default() };
    (far, tcp::from_stream(near, &TcpOptions { stream, ..TcpOptions::default() }).expect("a stream"))
}

/// Two connections that are relayed.
struct Relay {
    left: TcpStream,
    right: TcpStream,
    pairs: (PairRef<Bytes>, PairRef<Bytes>),
    done: (Done<Stream>, Done<Stream>),
    /// From left to right, and back.
    links: (Arc<Link>, Arc<Link>),
    supervisor: Supervisor,
}

fn relay(carry: (Carry, Carry)) -> Relay {
    let supervisor = Supervisor::current();
    let (left, a) = connection(carry.0);
    let (right, b) = connection(carry.1);
    let ((a, done_a), (b, done_b)) = (a.start(), b.start());
    let links = join_pair(&a, &b, Some(supervisor.observer()));
    Relay { left, right, pairs: (a, b), done: (done_a, done_b), links, supervisor }
}

/// Writes all of it on a thread of its own, in pieces, and ends.
fn write(socket: &TcpStream, data: &Arc<Vec<u8>>, piece: usize) -> thread::JoinHandle<()> {
    let (mut socket, data) = (socket.try_clone().expect("a clone"), data.clone());
    thread::spawn(move || {
        for piece in data.chunks(piece) {
            socket.write_all(piece).expect("written");
        }
        socket.shutdown(Shutdown::Write).expect("ended");
    })
}

/// Reads to the end on a thread of its own.
fn read(socket: &TcpStream) -> thread::JoinHandle<Vec<u8>> {
    let mut socket = socket.try_clone().expect("a clone");
    thread::spawn(move || {
        let mut got = Vec::new();
        socket.read_to_end(&mut got).expect("read");
        got
    })
}

async fn join_thread<T: Send + 'static>(thread: thread::JoinHandle<T>) -> T {
    within(tokio::task::spawn_blocking(move || thread.join().expect("no panic"))).await.expect("joined")
}

fn same(got: &[u8], sent: &[u8]) {
    assert!(got == sent, "{} bytes came of {}, or others", got.len(), sent.len());
}

#[test]
fn bulk_between_two_sockets_stays_in_the_kernel_and_arrives_whole() {
    run(async {
        let data = Arc::new(pattern(32 << 20));
        let relay = relay((Carry::Auto, Carry::Auto));
        let (there, back) = (read(&relay.right), read(&relay.left));
        let writers = [write(&relay.left, &data, 100_000), write(&relay.right, &data, 1 << 20)];
        same(&join_thread(there).await, &data);
        same(&join_thread(back).await, &data);
        for writer in writers {
            join_thread(writer).await;
        }
        for link in [&relay.links.0, &relay.links.1] {
            let (sent, parcels) = (link.cell().produced().quantity, link.cell().parcels());
            assert_eq!(sent, data.len() as u64);
            assert!(parcels > sent / 2, "only {parcels} of {sent} stayed in the kernel");
        }
        assert!(within(relay.done.0).await.1.is_clean());
        assert!(within(relay.done.1).await.1.is_clean());
    });
}

#[test]
fn a_side_that_copies_keeps_its_directions_out_of_the_kernel() {
    run(async {
        for carry in [(Carry::Copy, Carry::Auto), (Carry::Auto, Carry::Copy)] {
            let data = Arc::new(pattern(4 << 20));
            let relay = relay(carry);
            let there = read(&relay.right);
            let writer = write(&relay.left, &data, 1 << 20);
            same(&join_thread(there).await, &data);
            join_thread(writer).await;
            assert_eq!(relay.links.0.cell().parcels(), 0, "{carry:?}");
        }
    });
}

#[test]
fn small_messages_are_copied() {
    run(async {
        let relay = relay((Carry::Auto, Carry::Auto));
        let clone = |socket: &TcpStream| socket.try_clone().expect("a clone");
        let (mut left, mut right) = (clone(&relay.left), clone(&relay.right));
        let echo = thread::spawn(move || {
            let mut room = [0; 64];
            for _ in 0..500 {
                left.write_all(&[7; 64]).expect("written");
                right.read_exact(&mut room).expect("read");
                right.write_all(&room).expect("written");
                left.read_exact(&mut room).expect("read");
            }
        });
        join_thread(echo).await;
        assert_eq!(relay.links.0.cell().produced().quantity, 32_000);
        assert_eq!((relay.links.0.cell().parcels(), relay.links.1.cell().parcels()), (0, 0));
    });
}

#[test]
fn a_component_inserted_while_data_flows_sees_the_bytes_and_its_removal_brings_the_kernel_back() {
    run(async {
        let data = Arc::new(pattern(96 << 20));
        let relay = relay((Carry::Auto, Carry::Auto));
        let there = read(&relay.right);
        let writer = write(&relay.left, &data, 1 << 20);
        let mut first = relay.links.0.id();
        let cells = || relay.supervisor.snapshot();
        let (mut seen, mut rounds, mut direct) = (0, 0, false);
        within(until(|| relay.links.0.cell().parcels() > 0)).await;
        loop {
            let (inlet, outlet, done) = map(|bytes: Bytes| bytes).start();
            let spliced = relay.supervisor.insert(first, &inlet, &outlet).await;
            let spliced = match spliced {
                Ok(spliced) => spliced,
                // all has passed
                Err(SpliceFailure::NotThere) if rounds > 2 => break,
                Err(failure) => panic!("round {rounds}: {failure}"),
            };
            rounds += 1;
            let in_kernel = |snapshot: &versile_io::supervisor::Snapshot, id| {
                snapshot.links.iter().find(|l| l.id == id).map(|l| (l.accepted, l.in_kernel))
            };
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            let through = cells().await;
            for link in &spliced.links {
                let (accepted, lifted) = in_kernel(&through, *link).expect("in the graph");
                assert_eq!(lifted, 0, "a filter looks at its bytes");
                seen += accepted;
            }
            let component = through.links.iter().find(|l| l.id == spliced.links[0]).and_then(|l| l.consumer);
            let back = relay.supervisor.remove(component.expect("known"), Duration::from_secs(10)).await;
            first = match back {
                Ok(spliced) => spliced.links[0],
                Err(SpliceFailure::NotThere) if rounds > 2 => break,
                Err(failure) => panic!("round {rounds}: {failure}"),
            };
            drop((inlet, outlet, done));
            direct |= in_kernel(&cells().await, first).is_some_and(|(_, lifted)| lifted > 0);
        }
        same(&join_thread(there).await, &data);
        join_thread(writer).await;
        assert!(seen > 0, "nothing passed a filter in {rounds} rounds");
        assert!(direct, "nothing stayed in the kernel after a filter had gone, in {rounds} rounds");
    });
}

#[test]
fn a_sink_that_stops_holds_no_more_than_the_window_and_resumes_whole() {
    run(async {
        let data = Arc::new(pattern(48 << 20));
        let relay = relay((Carry::Auto, Carry::Auto));
        let writer = write(&relay.left, &data, 1 << 20);
        let cell = relay.links.0.cell().clone();
        // nobody reads: it stands still once all buffers are full
        let mut before = u64::MAX;
        while before != cell.produced().quantity {
            before = cell.produced().quantity;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let held = cell.produced().quantity - cell.finished();
        assert!(held <= WINDOW, "{held} held");
        assert!(cell.parcels() > 0 && before < data.len() as u64);
        same(&join_thread(read(&relay.right)).await, &data);
        join_thread(writer).await;
    });
}

#[test]
fn an_abort_with_bytes_in_the_pipe_leaves_no_descriptor() {
    run_alone(async {
        let before = fds();
        for _ in 0..10 {
            let data = Arc::new(pattern(16 << 20));
            let relay = relay((Carry::Auto, Carry::Auto));
            let mut left = relay.left.try_clone().expect("a clone");
            let writer = thread::spawn(move || left.write_all(&data).expect_err("reset").kind());
            let cell = relay.links.0.cell().clone();
            within(until(|| cell.parcels() > 0)).await;
            drop(relay.right);
            join_thread(writer).await;
            let (_, outcome) = within(relay.done.0).await;
            assert!(!outcome.is_clean());
            within(relay.done.1).await;
            drop((relay.left, relay.pairs));
        }
        // what is empty is kept for the next: at most one pipe for each direction that ran at a time
        let after = fds();
        assert!(after <= before + 8, "{before} descriptors before, {after} after");
    });
}

/// Sizes and pauses as they come: nothing is lost, and nothing stands still.
#[test]
fn any_sizes_and_pauses_arrive_whole() {
    let seeds: u64 = std::env::var("VERSILE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    run(async move {
        for seed in 0..seeds {
            let mut rng = fastrand::Rng::with_seed(seed);
            let data = Arc::new(pattern(rng.usize(1..8 << 20)));
            let relay = relay((Carry::Auto, Carry::Auto));
            let (mut left, sent) = (relay.left.try_clone().expect("a clone"), data.clone());
            let mut own = rng.fork();
            let writer = thread::spawn(move || {
                let mut rest = &sent[..];
                while !rest.is_empty() {
                    let most = if own.bool() { 600_000 } else { 2_000 };
                    let (piece, left_over) = rest.split_at(own.usize(1..=most).min(rest.len()));
                    left.write_all(piece).expect("written");
                    rest = left_over;
                    if own.u8(..) < 40 {
                        thread::sleep(Duration::from_micros(own.u64(..3_000)));
                    }
                }
                left.shutdown(Shutdown::Write).expect("ended");
            });
            let mut right = relay.right.try_clone().expect("a clone");
            let reader = thread::spawn(move || {
                let (mut got, mut room) = (Vec::new(), vec![0; 1 << 20]);
                loop {
                    let most = if rng.bool() { 1 << 20 } else { 3_000 };
                    match right.read(&mut room[..rng.usize(1..=most)]).expect("read") {
                        0 => return got,
                        n => got.extend_from_slice(&room[..n]),
                    }
                    if rng.u8(..) < 20 {
                        thread::sleep(Duration::from_micros(rng.u64(..3_000)));
                    }
                }
            });
            let got = join_thread(reader).await;
            assert!(got == *data, "seed {seed}: {} bytes came of {}, or others", got.len(), data.len());
            join_thread(writer).await;
        }
    });
}

/// Pipes of this process, those that lie ready included.
fn pipes() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("listed").flatten();
    open.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("pipe:")))
        .count()
}

#[test]
fn half_closed_connections_give_their_pipes_back() {
    run(async {
        let before = pipes();
        let data = Arc::new(pattern(1 << 20));
        let mut half_closed = Vec::new();
        for _ in 0..40 {
            let relay = relay((Carry::Auto, Carry::Auto));
            let there = read(&relay.right);
            let writer = write(&relay.left, &data, 1 << 20);
            same(&join_thread(there).await, &data);
            join_thread(writer).await;
            assert!(relay.links.0.cell().parcels() > 0);
            half_closed.push(relay);
        }
        // M2: one after the other, they need one pipe of two descriptors, and it is kept for the next; the rest is for other tests
        let taken = pipes().saturating_sub(before);
        assert!(taken <= half_closed.len(), "{taken} descriptors of pipes for {} idle connections", half_closed.len());
    });
}
