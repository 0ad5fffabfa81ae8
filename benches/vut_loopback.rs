//! Question: how many MB/s does a VUT stream carry over loopback, for how much CPU a GB, and what do batched system calls bring?
//!
//! Two transports, each with a socket and an arbiter of its own, one way, in datagrams of 508 octets (the 0.8 profile). Rounds with
//! and without batches alternate; medians. CPU is the process's, both sides together.
//!
//! ```text
//! cargo bench --features vut --bench vut_loopback              # 5 rounds of 64 MB each
//! cargo bench --features vut --bench vut_loopback -- --quick   # one short round, for CI
//! ```

use actix::System;
use actix_rt::Arbiter;
use bytes::Bytes;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use versile_io::agent::vut::{self, Batching, VutOptions};
use versile_io::component::join;
use versile_io::component::stock::{PartResult, Pull, Sink, Source};
use versile_io::proto::link::{Credit, Window};
use versile_io::proto::vut::Stats;
use versile_io::proto::vut::wire::Secrets;

/// What may be under way to the sink: more than the path holds.
const WINDOW: u64 = 2 << 20;

struct Feed {
    piece: Bytes,
    left: u64,
}

impl Source for Feed {
    type Out = Bytes;
    fn poll_pull(&mut self, credit: Credit, _: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(Ok(Pull::End { clean: true }));
        }
        let len = (self.piece.len() as u64).min(self.left).min(credit.quantity);
        self.left -= len;
        Poll::Ready(Ok(Pull::Item(self.piece.slice(..len as usize))))
    }
}

/// Counts, and says when each thousandth of it has come: the first and the last are what is timed.
struct Count {
    octets: u64,
    first: Option<Instant>,
    last: Instant,
}

impl Sink for Count {
    type In = Bytes;
    fn consume(&mut self, item: Bytes) -> PartResult {
        self.octets += item.len() as u64;
        self.last = Instant::now();
        self.first.get_or_insert(self.last);
        Ok(())
    }

    fn window(&self) -> Window {
        Window::of(WINDOW)
    }
}

/// What a round gave.
#[derive(Clone, Copy, Debug)]
struct Round {
    mb_per_s: f64,
    cpu_s_per_gb: f64,
    sent: Stats,
}

fn free() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port")
}

fn round(octets: u64, batching: Batching) -> Round {
    let (a, b) = (free(), free());
    let secrets = Secrets::new([1; 32], [2; 32]).expect("safe");
    let before = cpu();
    let (sent_tx, sent_rx) = mpsc::channel();
    let theirs = secrets.swapped();
    let sender = Arbiter::new();
    sender.spawn_fn(move || {
        let options = VutOptions { bind: Some(a), batching, ..VutOptions::default() };
        let transport = vut::connect(b.ip().to_string(), b.port(), secrets, options);
        let status = transport.status();
        let (pair, done) = transport.start();
        let (outlet, _) = Feed { piece: vec![7; 64 * 1024].into(), left: octets }.start();
        join(&outlet, &pair.inlet, None);
        actix_rt::spawn(async move {
            let (_, outcome) = done.await;
            assert!(outcome.is_clean(), "{outcome}");
            sent_tx.send(status.stats().expect("a connection")).expect("awaited");
        });
    });
    let (received_tx, received_rx) = mpsc::channel();
    let receiver = Arbiter::new();
    receiver.spawn_fn(move || {
        let options = VutOptions { bind: Some(b), batching, ..VutOptions::default() };
        let (pair, _) = vut::connect(a.ip().to_string(), a.port(), theirs, options).start();
        let (inlet, done) = Count { octets: 0, first: None, last: Instant::now() }.start();
        join(&pair.outlet, &inlet, None);
        actix_rt::spawn(async move {
            let (sink, _) = done.await;
            received_tx.send(sink.map(|sink| (sink.octets, sink.first, sink.last))).expect("awaited");
        });
    });
    let patience = Duration::from_secs(120);
    let (came, first, last) = received_rx.recv_timeout(patience).expect("in time").expect("the sink");
    let used = cpu() - before;
    assert_eq!(came, octets);
    let sent = sent_rx.recv_timeout(patience).expect("in time");
    for arbiter in [sender, receiver] {
        arbiter.stop();
        arbiter.join().expect("joined");
    }
    let took = first.map_or(Duration::MAX, |first| last - first);
    Round { mb_per_s: octets as f64 / 1e6 / took.as_secs_f64(), cpu_s_per_gb: used / (octets as f64 / 1e9), sent }
}

/// CPU seconds of this process, from `/proc`; a tick is 10 ms, as Linux tells it to everybody.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [11, 12].iter().map(|at| fields[*at].parse::<f64>().expect("a number")).sum::<f64>() / 100.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (rounds, octets) = if quick { (1, 8_000_000) } else { (5, 64_000_000) };
    let system = System::new();
    system.block_on(async {
        let run = || {
            let mut results = [(Batching::Auto, Vec::new()), (Batching::Off, Vec::new())];
            for _ in 0..rounds {
                for (batching, rounds) in &mut results {
                    rounds.push(round(octets, *batching));
                }
            }
            results
        };
        println!("{rounds} rounds of {} MB, one way, datagrams of 508 octets", octets / 1_000_000);
        for (batching, rounds) in run() {
            let name = match batching {
                Batching::Auto => "batched",
                Batching::Off => "one a call",
            };
            let rate = median(rounds.iter().map(|round| round.mb_per_s).collect());
            let cpu = median(rounds.iter().map(|round| round.cpu_s_per_gb).collect());
            let repeated: u64 = rounds.iter().map(|round| round.sent.repeated).sum();
            println!("{name:>10}: {rate:7.1} MB/s, {cpu:5.2} CPU s/GB, {repeated} segments sent again");
        }
    });
}
