//! Question: how many MB/s does a VUT stream carry over loopback, for how much CPU a GB, beside quinn's one stream?
//!
//! One flow, one way, a thread each for sender and receiver. Rounds of all rows alternate; medians. Every socket has buffers of
//! [`BUFFER`]; quinn's windows are [`QUINN_WINDOW`], those of ours [`WINDOW`] (the consumer's grant) and the default send buffer. Cipher
//! AES-128-GCM in all rows but those of the 0.8 profile, which has a MAC and no cipher. Time counts from before connecting to the last
//! octet; CPU is each thread's own, without the close of the sender.
//!
//! ```text
//! cargo run --release --manifest-path benches/rivals/Cargo.toml --bin vut_loopback -- [--rounds 5] [--mb 200] [--only a,b] [--quick]
//! ```

use actix_rt::Arbiter;
use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use versile_io::agent::vut::{Batching, VutOptions, VutSocket};
use versile_io::component::join;
use versile_io::component::stock::{PartResult, Pull, Sink, Source};
use versile_io::proto::link::{Credit, Window};
use versile_io::proto::vut::Mode;
use versile_io::proto::vut::wire::Secrets;

/// What each socket is asked to buffer, in bytes, each way.
const BUFFER: usize = 4 << 20;
/// Stream and connection windows of quinn: as much as the socket's buffer, the best of those that were tried.
const QUINN_WINDOW: u32 = 4 << 20;
/// What ours may have under way to the sink.
const WINDOW: u64 = 2 << 20;
/// A piece that the application gives.
const PIECE: usize = 64 * 1024;
/// A round that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a round gave: seconds, and CPU seconds of the sender's thread and of the receiver's.
#[derive(Clone, Copy, Debug)]
struct Round {
    seconds: f64,
    sender: f64,
    receiver: f64,
}

/// CPU seconds of this thread.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos: f64 = text.split_whitespace().next().and_then(|field| field.parse().ok()).expect("a number");
    nanos / 1e9
}

fn socket() -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("a socket");
    socket.set_recv_buffer_size(BUFFER).expect("set");
    socket.set_send_buffer_size(BUFFER).expect("set");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bound");
    socket.set_nonblocking(true).expect("set");
    socket.into()
}

fn local(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("bound")
}

// ---- ours

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

struct Count(u64);

impl Sink for Count {
    type In = Bytes;
    fn consume(&mut self, item: Bytes) -> PartResult {
        self.0 += item.len() as u64;
        Ok(())
    }

    fn window(&self) -> Window {
        Window::of(WINDOW)
    }
}

fn vut(octets: u64, mode: Mode, largest: u16, batching: Batching) -> Round {
    let sockets = [socket(), socket()];
    let [a, b] = sockets.each_ref().map(local);
    let [for_a, for_b] = sockets;
    let secrets = Secrets::new([1; 32], [2; 32]).expect("safe");
    let theirs = secrets.swapped();
    let options = VutOptions { mode, largest, batching, ..VutOptions::default() };
    let of_b = options.clone();
    let begin = Instant::now();
    let (sender_tx, sender_rx) = mpsc::channel();
    let sender = Arbiter::new();
    sender.spawn_fn(move || {
        let before = cpu();
        let socket = VutSocket::from_std(for_a, batching).expect("adopted");
        let (pair, done) = socket.connect(b, secrets, options).start();
        let (outlet, _) = Feed { piece: vec![7; PIECE].into(), left: octets }.start();
        join(&outlet, &pair.inlet, None);
        actix_rt::spawn(async move {
            let (_, outcome) = done.await;
            assert!(outcome.is_clean(), "{outcome}");
            sender_tx.send(cpu() - before).expect("awaited");
        });
    });
    let (receiver_tx, receiver_rx) = mpsc::channel();
    let receiver = Arbiter::new();
    receiver.spawn_fn(move || {
        let before = cpu();
        let socket = VutSocket::from_std(for_b, batching).expect("adopted");
        let (pair, _) = socket.connect(a, theirs, of_b).start();
        let (inlet, done) = Count(0).start();
        join(&pair.outlet, &inlet, None);
        actix_rt::spawn(async move {
            let (sink, _) = done.await;
            receiver_tx.send((sink.map(|sink| sink.0), Instant::now(), cpu() - before)).expect("awaited");
        });
    });
    let (came, ended, of_receiver) = receiver_rx.recv_timeout(PATIENCE).expect("in time");
    assert_eq!(came, Some(octets));
    let of_sender = sender_rx.recv_timeout(PATIENCE).expect("in time");
    for arbiter in [sender, receiver] {
        arbiter.stop();
        arbiter.join().expect("joined");
    }
    Round { seconds: (ended - begin).as_secs_f64(), sender: of_sender, receiver: of_receiver }
}

// ---- quinn

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Only AES-128-GCM.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| suite.suite() == rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider.into()
}

fn quinn(octets: u64, datagram: u16) -> Round {
    let key = rcgen::KeyPair::generate().expect("a key");
    let cert = rcgen::CertificateParams::new(vec!["l".to_owned()]).and_then(|params| params.self_signed(&key));
    let cert = cert.expect("a certificate");
    let mut transport = quinn::TransportConfig::default();
    transport
        .stream_receive_window(QUINN_WINDOW.into())
        .receive_window(QUINN_WINDOW.into())
        .send_window(QUINN_WINDOW.into())
        .initial_mtu(datagram)
        .min_mtu(datagram)
        .mtu_discovery_config(None);
    let transport = Arc::new(transport);
    let versions = &[&rustls::version::TLS13];
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .expect("a certificate");
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).expect("a suite")));
    server.transport_config(transport.clone());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a certificate");
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("a suite")));
    client.transport_config(transport);
    let endpoint = |server, socket| {
        let mut config = quinn::EndpointConfig::default();
        config.max_udp_payload_size(65_527).expect("in range");
        quinn::Endpoint::new(config, server, socket, Arc::new(quinn::TokioRuntime)).expect("an endpoint")
    };

    let (of_receiver, of_sender) = (socket(), socket());
    let to = local(&of_receiver);
    let begin = Instant::now();
    let (close_tx, close_rx) = tokio::sync::oneshot::channel();
    let receiver = std::thread::spawn(move || {
        runtime().block_on(async {
            let before = cpu();
            let endpoint = endpoint(Some(server), of_receiver);
            let connection = endpoint.accept().await.expect("somebody").await.expect("a connection");
            let mut stream = connection.accept_uni().await.expect("a stream");
            let mut came = 0;
            while let Some(chunk) = stream.read_chunk(usize::MAX, true).await.expect("data") {
                came += chunk.bytes.len() as u64;
                if came == octets {
                    break;
                }
            }
            let (ended, used) = (Instant::now(), cpu() - before);
            assert_eq!(came, octets);
            close_tx.send(()).expect("awaited");
            tokio::time::sleep(Duration::from_millis(30)).await;
            (ended, used)
        })
    });
    let sender = std::thread::spawn(move || {
        runtime().block_on(async {
            let before = cpu();
            let endpoint = endpoint(None, of_sender);
            let connection = endpoint.connect_with(client, to, "l").expect("begun").await.expect("a connection");
            let mut stream = connection.open_uni().await.expect("a stream");
            let piece = Bytes::from(vec![7; PIECE]);
            let mut left = octets;
            while left > 0 {
                let len = (PIECE as u64).min(left);
                stream.write_chunk(piece.slice(..len as usize)).await.expect("sent");
                left -= len;
            }
            close_rx.await.expect("received");
            cpu() - before
        })
    });
    let (ended, of_receiver) = receiver.join().expect("no panic");
    let of_sender = sender.join().expect("no panic");
    Round { seconds: (ended - begin).as_secs_f64(), sender: of_sender, receiver: of_receiver }
}

// ---- all of them

/// A row: its name, and how it is run. Unbatched 0.8 moves less, so that all take about as long.
type Row = (&'static str, u64, fn(u64) -> Round);

const ROWS: [Row; 9] = [
    ("quinn 1452", 1, |octets| quinn(octets, 1452)),
    ("native 1452", 1, |octets| vut(octets, Mode::Native, 1452, Batching::Auto)),
    ("quinn 3200", 1, |octets| quinn(octets, 3200)),
    ("quinn 8900", 1, |octets| quinn(octets, 8900)),
    ("native 8972", 1, |octets| vut(octets, Mode::Native, 8972, Batching::Auto)),
    ("native 16000", 1, |octets| vut(octets, Mode::Native, 16_000, Batching::Auto)),
    ("native 32000", 1, |octets| vut(octets, Mode::Native, 32_000, Batching::Auto)),
    ("0.8 batched", 1, |octets| vut(octets, Mode::Compat, 508, Batching::Auto)),
    ("0.8 one a call", 4, |octets| vut(octets, Mode::Compat, 508, Batching::Off)),
];

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1).cloned());
    let quick = args.iter().any(|arg| arg == "--quick");
    let number = |name: &str, usual: u64| value(name).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (rounds, mb) = if quick { (1, 8) } else { (number("--rounds", 5), number("--mb", 200)) };
    let only = value("--only").unwrap_or_default();
    let wanted: Vec<&str> = only.split(',').filter(|name| !name.is_empty()).collect();
    let rows: Vec<&Row> = ROWS.iter().filter(|row| wanted.is_empty() || wanted.contains(&row.0)).collect();
    let system = actix_rt::System::new();
    let results: Vec<Vec<Round>> = system.block_on(async {
        let mut results = vec![Vec::new(); rows.len()];
        for _ in 0..rounds {
            for ((_, share, run), rounds) in rows.iter().zip(&mut results) {
                rounds.push(run(mb * 1_000_000 / share));
            }
        }
        results
    });
    println!("{rounds} rounds of {mb} MB (one a call: a quarter), UDP buffers of {} MiB", BUFFER >> 20);
    println!("| | MB/s (min..max) | sender CPU s/GB | receiver CPU s/GB | both |\n|---|---|---|---|---|");
    for ((name, share, _), rounds) in rows.iter().zip(results) {
        let mb = (mb / share) as f64;
        let rates = || rounds.iter().map(|round| mb / round.seconds);
        let (least, most) = rates().fold((f64::MAX, 0.0_f64), |(least, most), rate| (least.min(rate), most.max(rate)));
        let per_gb = |of: fn(&Round) -> f64| median(rounds.iter().map(|round| of(round) / mb * 1000.0));
        println!(
            "| {name} | {:.0} ({least:.0}..{most:.0}) | {:.2} | {:.2} | {:.2} |",
            median(rates()),
            per_gb(|round| round.sender),
            per_gb(|round| round.receiver),
            per_gb(|round| round.sender + round.receiver),
        );
    }
}
