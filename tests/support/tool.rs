//! Runs the real `vio`, with a deadline, and knows what its lines mean.
#![expect(dead_code, reason = "each test file uses some of it")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// No run of these tests takes as long, unless something hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// The command, in `dir`, with no standard input.
pub(crate) fn vio(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vio"));
    command.args(words).current_dir(dir).env_remove("RUST_LOG").env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    /// The report of `--json` on standard output.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }
}

/// Runs it to its end.
pub(crate) fn run(dir: &Path, words: &[&str]) -> Ended {
    wait(vio(dir, words).spawn().expect("vio starts"))
}

/// Waits for the end; a run that hangs is killed and fails the test.
pub(crate) fn wait(child: Child) -> Ended {
    let pid = pid(&child);
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || tx.send(child.wait_with_output()));
    match rx.recv_timeout(DEADLINE) {
        Ok(output) => {
            let Output { status, stdout, stderr } = output.expect("waited");
            let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or_default());
            Ended { code, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }
        }
        Err(_) => {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
            panic!("vio hangs: {:?}", rx.recv());
        }
    }
}

/// Sends a signal.
pub(crate) fn kill(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(pid(child), signal).expect("sent");
}

fn pid(child: &Child) -> rustix::process::Pid {
    rustix::process::Pid::from_child(child)
}

/// A `vio` that listens, its lines as they come, and where it listens. Killed when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) lines: mpsc::Receiver<String>,
    pub(crate) at: String,
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) fn start(dir: &Path, words: &[&str]) -> Self {
        let mut child = vio(dir, words).spawn().expect("vio starts");
        let lines = lines(child.stderr.take().expect("a pipe"));
        let at = loop {
            let line = lines.recv_timeout(DEADLINE).expect("it listens");
            if let Some((_, at)) = line.split_once("listening on ") {
                break at.split_once(' ').expect("a kind and a place").1.to_owned();
            }
        };
        Self { child, lines, at }
    }

    /// The TCP address.
    pub(crate) fn tcp(&self) -> SocketAddr {
        self.at.parse().unwrap_or_else(|e| panic!("{}: {e}", self.at))
    }

    /// The next line that it writes.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("a line")
    }

    /// Interrupts it and gives the code and all lines that it has still written.
    pub(crate) fn interrupt(mut self) -> (i32, Vec<String>) {
        kill(&self.child, rustix::process::Signal::INT);
        self.ended()
    }

    /// The code and all lines that it has still written.
    pub(crate) fn ended(&mut self) -> (i32, Vec<String>) {
        let mut told = Vec::new();
        // its standard error is closed when it is gone
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => told.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("vio hangs: {told:?}"),
            }
        }
        (self.child.wait().expect("waited").code().unwrap_or(-1), told)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // it has ended already, in most tests
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stderr: ChildStderr) -> mpsc::Receiver<String> {
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if tx.send(line).is_err() {
                return;
            }
        }
    });
    rx
}

/// Bytes that do not repeat soon, the same for the same seed.
pub(crate) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut data = vec![0; bytes];
    rng.fill(&mut data);
    data
}

/// SHA-256 by the system's tool: this crate's own is slow without optimisation.
pub(crate) fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().expect("sha256sum");
    String::from_utf8(output.stdout).expect("text").split(' ').next().expect("a hash").to_owned()
}

/// Whether the long versions are asked for.
pub(crate) fn big() -> bool {
    std::env::var_os("VERSILE_BIG").is_some_and(|value| value == "1")
}
