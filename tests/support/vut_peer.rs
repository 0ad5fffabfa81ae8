//! The existing Python peer as a child process, and a connection of ours on a UDP socket to it.

use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use versile_io::proto::sim::Rng;
use versile_io::proto::time::Time;
use versile_io::proto::vut::wire::Secrets;
use versile_io::proto::vut::{CloseReason, Config, Connection, Event};

pub(crate) const OURS: [u8; 32] = [0x0A; 32];
pub(crate) const THEIRS: [u8; 32] = [0x0B; 32];

/// The Python with the package, and the script that drives it.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    python: PathBuf,
    script: PathBuf,
}

impl Peer {
    /// The peer, if it is there: `VERSILE_VUT_PYTHON` names a Python that has the package `versile-python3`, and the script lies beside the
    /// checkout. `.ci/run` installs it and sets `VERSILE_CI`, and then it must be there. Elsewhere a test that goes without it says so.
    pub(crate) fn find() -> Option<Self> {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/interop/vut_peer.py");
        let python = PathBuf::from(std::env::var_os("VERSILE_VUT_PYTHON").unwrap_or_else(|| "python3".into()));
        let help = Command::new(&python).arg(&script).arg("--help").output();
        if help.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self { python, script });
        }
        let told = format!(
            "SKIPPED, NOTHING WAS TESTED: {} cannot run {}; install versile-python3==0.8.5 and set VERSILE_VUT_PYTHON",
            python.display(),
            script.display()
        );
        assert!(std::env::var_os("VERSILE_CI").is_none(), "{told}: {help:?}");
        eprintln!("{told}");
        None
    }

    /// The same peer with an application that grants 500 octets at first, and no limit five seconds later.
    pub(crate) fn slow(&self) -> Self {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/support/vut_slow_peer.py");
        Self { script, ..self.clone() }
    }

    /// Starts it towards a socket of ours.
    pub(crate) fn start(&self, socket: &UdpSocket, args: &[&str]) -> Running {
        let spare = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let bind = spare.local_addr().expect("bound");
        drop(spare);
        let ours = socket.local_addr().expect("bound");
        let hex = |secret: [u8; 32]| secret.map(|octet| format!("{octet:02x}")).concat();
        let child = Command::new(&self.python)
            .arg(&self.script)
            .args(["--bind", &bind.to_string(), "--peer", &ours.to_string()])
            .args(["--secret", &hex(THEIRS), "--peer-secret", &hex(OURS)])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        Running { child, address: bind }
    }
}

/// A peer that runs. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Running {
    /// The line that it prints when it is done, within `patience`.
    pub(crate) fn result(&mut self, patience: Duration) -> serde_json::Value {
        let deadline = Instant::now() + patience;
        while self.child.try_wait().expect("asked").is_none() {
            assert!(Instant::now() < deadline, "the peer does not come to an end");
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut text = String::new();
        self.child.stdout.take().expect("a pipe").read_to_string(&mut text).expect("text");
        serde_json::from_str(text.trim()).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What our application does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) sends: u64,
    /// Ends its stream when all is written, not when the peer's stream has ended.
    pub(crate) ends_first: bool,
    pub(crate) window: u64,
    /// Aborts when it has read so much.
    pub(crate) aborts_at: Option<u64>,
    /// Percent of datagrams that are lost, each way.
    pub(crate) loss: f64,
    pub(crate) seed: u64,
}

impl Plan {
    pub(crate) fn new(sends: u64) -> Self {
        Self { sends, ends_first: true, window: 262_144, aborts_at: None, loss: 0.0, seed: 1 }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) read: u64,
    pub(crate) read_hash: String,
    pub(crate) sent_hash: String,
    pub(crate) reason: CloseReason,
    pub(crate) events: Vec<Event>,
    pub(crate) stats: versile_io::proto::vut::Stats,
    /// From the handshake to the end.
    pub(crate) took: Duration,
    pub(crate) connection: Connection,
}

pub(crate) fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").expect("a port")
}

pub(crate) fn octet(at: u64) -> u8 {
    (at.wrapping_mul(31) ^ (at >> 9)) as u8
}

/// Runs a connection of ours on `socket` until it is closed.
pub(crate) fn run(socket: &UdpSocket, peer: SocketAddr, plan: Plan, patience: Duration) -> Outcome {
    use sha2::{Digest, Sha256};
    let start = Instant::now();
    let time = || Time::after_start(start.elapsed());
    let secrets = Secrets::new(OURS, THEIRS).expect("safe");
    let mut connection = Connection::new(Config::default(), &secrets, time());
    connection.set_read_limit(time(), plan.window);
    let (mut rng, lost) = (Rng::new(plan.seed), (plan.loss * 10_000.0) as u64);
    let (mut read, mut read_hash, mut sent_hash) = (0, Sha256::new(), Sha256::new());
    let (mut events, mut ended, mut connected_at) = (Vec::new(), false, None);
    let mut buf = [0; 2048];
    let reason = 'run: loop {
        let now = time();
        assert!(start.elapsed() < patience, "not closed in {patience:?}: {connection:?}");
        connection.handle_timeout(now);
        while let Some(event) = connection.poll_event() {
            events.push(event);
            match event {
                Event::Connected => connected_at = Some(now),
                Event::PeerEnded(_) => ended = true,
                Event::Closed(reason) => break 'run reason,
                _ => {}
            }
        }
        while let Some(data) = connection.read(now, 1 << 20) {
            read += data.len() as u64;
            read_hash.update(&data);
            connection.set_read_limit(now, read + plan.window);
        }
        if plan.aborts_at.is_some_and(|at| read >= at) && connected_at.is_some() {
            connection.abort(now);
        }
        loop {
            let at = connection.written();
            let len = connection.credit().min(plan.sends - at).min(16_384);
            if len == 0 {
                break;
            }
            let data: bytes::Bytes = (at..at + len).map(octet).collect();
            sent_hash.update(&data);
            connection.write(data).expect("credit");
        }
        if connected_at.is_some() && connection.written() >= plan.sends && (plan.ends_first || ended) {
            connection.finish(now);
        }
        while let Some(len) = connection.poll_transmit(now, &mut buf) {
            if rng.below(1_000_000) >= lost {
                let _ = socket.send_to(&buf[..len], peer);
            }
        }
        let wait = connection.poll_timeout(time()).map_or(Duration::from_millis(100), |at| at - time());
        receive(socket, peer, wait, &mut buf, |datagram| {
            if rng.below(1_000_000) >= lost {
                connection.handle_datagram(time(), datagram);
            }
        });
    };
    Outcome {
        read,
        read_hash: hex(&read_hash.finalize()),
        sent_hash: hex(&sent_hash.finalize()),
        reason,
        events,
        stats: connection.stats(),
        took: time() - connected_at.unwrap_or_default(),
        connection,
    }
}

/// Lets a closed connection answer late datagrams while the peer comes to its end.
pub(crate) fn linger(socket: &UdpSocket, peer: SocketAddr, outcome: &mut Outcome, running: &mut Running) {
    let start = Instant::now();
    let connection = &mut outcome.connection;
    // its own time goes on from where it stood
    let base = connection.poll_timeout(Time::ZERO).unwrap_or(Time::ZERO);
    let mut buf = [0; 2048];
    while running.child.try_wait().expect("asked").is_none() && start.elapsed() < Duration::from_secs(12) {
        let now = base + start.elapsed();
        connection.handle_timeout(now);
        while let Some(len) = connection.poll_transmit(now, &mut buf) {
            let _ = socket.send_to(&buf[..len], peer);
        }
        receive(socket, peer, Duration::from_millis(10), &mut buf, |datagram| {
            connection.handle_datagram(now, datagram)
        });
    }
}

/// Takes what arrives within `wait`, and all that is there then, at most 64.
fn receive(socket: &UdpSocket, peer: SocketAddr, wait: Duration, buf: &mut [u8], mut take: impl FnMut(&[u8])) {
    let wait = wait.clamp(Duration::from_micros(100), Duration::from_millis(100));
    socket.set_nonblocking(false).expect("set");
    socket.set_read_timeout(Some(wait)).expect("set");
    let mut got = socket.recv_from(buf);
    for _ in 0..64 {
        match got {
            Ok((len, from)) if from == peer => take(&buf[..len]),
            Ok(_) => {}
            Err(_) => return,
        }
        socket.set_nonblocking(true).expect("set");
        got = socket.recv_from(buf);
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The SHA-256 of the first `len` octets of our pattern.
pub(crate) fn pattern_hash(len: u64) -> String {
    use sha2::{Digest, Sha256};
    let data: Vec<u8> = (0..len).map(octet).collect();
    hex(&Sha256::digest(data))
}
