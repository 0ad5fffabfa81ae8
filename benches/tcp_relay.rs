//! Question: what does relaying TCP through a chain of actors cost beside `tokio::io::copy_bidirectional`, in one process run?
//!
//! And what does a supervisor that is asked ten times a second which component limits the chain cost? (At most 2 % is wanted.)
//!
//! Each contender relays on one thread of its own; one load thread writes and one server thread reads. Rounds are
//! interleaved, medians reported: throughput, CPU seconds per GB of the relay's thread, CPU per 64-byte echo, and connections a second. For figures that can be compared, run in a network namespace with cubic:
//!
//! ```text
//! cargo bench --no-run --bench tcp_relay
//! unshare -n sh -c 'ip link set lo up; sysctl -qw net.ipv4.tcp_congestion_control=cubic; cargo bench --bench tcp_relay'
//! ```
//!
//! `--quick` runs one short round, for CI; `--only TEXT` the contenders whose name has it, `--rounds N` and `--mb N` change how much.
//! No contender sets TCP_NODELAY.

use actix::System;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use versile_io::agent::listener::{self, ListenOptions};
use versile_io::agent::stream::Carry;
use versile_io::agent::tcp::{self, TcpOptions};
use versile_io::component::join_pair;
use versile_io::component::stock::Duplex;
use versile_io::supervisor::{Supervisor, Target};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A relay under test: where it listens, and its thread.
struct Relay {
    name: &'static str,
    at: SocketAddr,
    tid: u64,
}

fn thread_id() -> u64 {
    let link = std::fs::read_link("/proc/thread-self").expect("Linux");
    link.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok()).expect("a number")
}

/// CPU time that a thread of this process has used.
fn cpu(tid: u64) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).expect("Linux");
    Duration::from_nanos(stat.split(' ').next().and_then(|n| n.parse().ok()).expect("a number"))
}

/// Whether the links of a chain are known to a supervisor, which is asked for the component that limits them ten times a second.
/// Links measure their times and components their work in either case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    Nobody,
    Blame,
}

fn chain(to: SocketAddr, watch: Watch, carry: Carry, name: &'static str) -> Relay {
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || {
        System::new().block_on(async move {
            let observer = (watch == Watch::Blame).then(|| {
                let supervisor = Supervisor::current();
                let observer = supervisor.observer();
                actix_rt::spawn(async move {
                    loop {
                        actix_rt::time::sleep(Duration::from_millis(100)).await;
                        std::hint::black_box(supervisor.blame(Target::All).await);
                    }
                });
                observer
            });
            let bound = listener::tcp(ANY, ListenOptions::default()).expect("bound");
            tx.send((bound.local().socket_addr().expect("an address"), thread_id())).expect("told");
            bound.start(move |accepted| {
                let mut options = TcpOptions::default();
                options.stream.carry = carry;
                let Ok(left) = accepted.into_stream(&options) else { return };
                let right = tcp::connect(to.ip().to_string(), to.port(), options);
                let ((right, _), (left, _)) = (right.start(), left.start());
                join_pair(&right, &left, observer.clone());
            });
            std::future::pending::<()>().await
        });
    });
    let (at, tid) = rx.recv().expect("started");
    Relay { name, at, tid }
}

fn copy(to: SocketAddr, buffer: usize, name: &'static str) -> Relay {
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || {
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&rt, async move {
            let listener = tokio::net::TcpListener::bind(ANY).await.expect("bound");
            tx.send((listener.local_addr().expect("bound"), thread_id())).expect("told");
            loop {
                let (mut left, _) = listener.accept().await.expect("accepted");
                tokio::task::spawn_local(async move {
                    let mut right = tokio::net::TcpStream::connect(to).await.expect("connected");
                    let _ = tokio::io::copy_bidirectional_with_sizes(&mut left, &mut right, buffer, buffer).await;
                });
            }
        });
    });
    let (at, tid) = rx.recv().expect("started");
    Relay { name, at, tid }
}

/// A server that reads all and counts, or echoes what begins with an `e`.
fn server() -> SocketAddr {
    let listener = TcpListener::bind(ANY).expect("bound");
    let at = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for conn in listener.incoming() {
            let mut conn = conn.expect("accepted");
            thread::Builder::new()
                .stack_size(64 * 1024 + 512 * 1024)
                .spawn(move || {
                    let mut buf = vec![0; 256 * 1024];
                    let mut total = 0u64;
                    loop {
                        match conn.read(&mut buf) {
                            Ok(0) | Err(_) => break,
                            Ok(n) if total == 0 && buf[0] == b'e' => {
                                if conn.write_all(&buf[..n]).is_err() {
                                    return;
                                }
                            }
                            Ok(n) => total += n as u64,
                        }
                    }
                    let _ = conn.write_all(&total.to_be_bytes());
                })
                .expect("a thread");
        }
    });
    at
}

/// Sends `bytes` over `conns` connections; GB/s, and CPU seconds of the relay per GB.
fn bulk(relay: &Relay, conns: usize, bytes: u64) -> (f64, f64) {
    let (before, start) = (cpu(relay.tid), Instant::now());
    thread::scope(|scope| {
        for _ in 0..conns {
            scope.spawn(|| {
                let mut conn = TcpStream::connect(relay.at).expect("connected");
                let block = vec![b'x'; 256 * 1024];
                let mut left = bytes / conns as u64;
                while left > 0 {
                    let n = left.min(block.len() as u64);
                    conn.write_all(&block[..n as usize]).expect("sent");
                    left -= n;
                }
                conn.shutdown(Shutdown::Write).expect("ended");
                let mut total = [0; 8];
                conn.read_exact(&mut total).expect("the count");
                assert_eq!(u64::from_be_bytes(total), bytes / conns as u64);
            });
        }
    });
    let gb = bytes as f64 / 1e9;
    (gb / start.elapsed().as_secs_f64(), (cpu(relay.tid) - before).as_secs_f64() / gb)
}

/// 64-byte echoes; microseconds of the relay's CPU each.
fn echo(relay: &Relay, n: u32) -> f64 {
    let mut conn = TcpStream::connect(relay.at).expect("connected");
    conn.set_nodelay(true).expect("set");
    let mut buf = [b'e'; 64];
    let before = cpu(relay.tid);
    for _ in 0..n {
        conn.write_all(&buf).expect("sent");
        conn.read_exact(&mut buf).expect("echoed");
    }
    (cpu(relay.tid) - before).as_secs_f64() * 1e6 / f64::from(n)
}

/// Opens and closes `n` connections one after the other; how many a second, and microseconds of the relay's CPU each.
fn connects(relay: &Relay, n: u32) -> (f64, f64) {
    let (before, start) = (cpu(relay.tid), Instant::now());
    for _ in 0..n {
        let mut conn = TcpStream::connect(relay.at).expect("connected");
        conn.write_all(b"x").expect("sent");
        conn.shutdown(Shutdown::Write).expect("ended");
        let mut total = [0; 8];
        conn.read_exact(&mut total).expect("the count");
    }
    let spent = (cpu(relay.tid) - before).as_secs_f64() * 1e6;
    (f64::from(n) / start.elapsed().as_secs_f64(), spent / f64::from(n))
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// What follows an argument.
fn argument(name: &str) -> Option<String> {
    let mut args = std::env::args();
    args.find(|arg| arg == name)?;
    args.next()
}

fn main() {
    let quick = std::env::args().any(|a| a == "--quick");
    let (rounds, bytes, echoes) = if quick { (1, 64 << 20, 500) } else { (7, 2 << 30, 10_000) };
    let number = |name| argument(name).and_then(|n| n.parse::<u64>().ok());
    let (rounds, bytes) = (number("--rounds").unwrap_or(rounds), number("--mb").map_or(bytes, |mb| mb << 20));
    let to = server();
    let only = argument("--only").unwrap_or_default();
    let contenders = [
        "chain in the kernel",
        "the same, supervised, blame every 100 ms",
        "chain that copies",
        "tokio copy 8 KiB",
        "tokio copy 64 KiB",
        "tokio copy 256 KiB",
    ];
    let start = |(at, name)| match at {
        0 => chain(to, Watch::Nobody, Carry::Auto, name),
        1 => chain(to, Watch::Blame, Carry::Auto, name),
        2 => chain(to, Watch::Nobody, Carry::Copy, name),
        3 => copy(to, 8 * 1024, name),
        4 => copy(to, 64 * 1024, name),
        _ => copy(to, 256 * 1024, name),
    };
    let wanted = contenders.into_iter().enumerate().filter(|(_, name)| name.contains(&only));
    let relays: Vec<Relay> = wanted.map(start).collect();
    let cc = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
    let cores = thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores, congestion control {}, no TCP_NODELAY, {rounds} interleaved rounds, medians", cc.trim());
    let mut table = vec![[const { Vec::new() }; 7]; relays.len()];
    for round in 0..rounds {
        for (relay, row) in relays.iter().zip(&mut table) {
            let (rate, cost) = bulk(relay, 1, bytes);
            let (rate64, cost64) = bulk(relay, 64, bytes);
            let (per_second, per_conn) = connects(relay, echoes / 10);
            let figures = [rate, cost, rate64, cost64, echo(relay, echoes), per_second, per_conn];
            row.iter_mut().zip(figures).for_each(|(column, figure)| column.push(figure));
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    println!(
        "| relay | GB/s 1 | CPU s/GB 1 | GB/s 64 | CPU s/GB 64 | echo CPU us | conn/s | conn CPU us |\n|---|---|---|---|---|---|---|---|"
    );
    for (relay, row) in relays.iter().zip(table) {
        let m = row.map(median);
        println!(
            "| {} | {:.2} | {:.3} | {:.2} | {:.3} | {:.1} | {:.0} | {:.0} |",
            relay.name, m[0], m[1], m[2], m[3], m[4], m[5], m[6]
        );
    }
}
