//! A sink that stops reading: the tool holds little, however much there is to read, and goes on when the sink does.
//!
//! With `VERSILE_BIG=1` the source has 10 GiB instead of 1 GiB.
#![cfg(feature = "cli")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "support/tool.rs"]
mod tool;

use tool::{DEADLINE, big, sha256, vio, wait};

/// What a stuck run may hold beyond what an idle one does, the pipe included.
const MOST: u64 = 16 << 20;

/// Resident bytes of a process.
fn resident(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// Bytes that lie in a pipe.
fn in_pipe(pipe: &ChildStdout) -> u64 {
    rustix::io::ioctl_fionread(pipe).expect("a pipe")
}

#[test]
fn a_sink_that_stops_reading_holds_little_and_resumes() {
    let dir = tempfile::tempdir().expect("a folder");
    let size: u64 = if big() { 10 << 30 } else { 1 << 30 };
    let source = dir.path().join("sparse");
    File::create(&source).expect("made").set_len(size).expect("extended");

    let mut idle = vio(dir.path(), &["copy", "-", "-"]).stdin(Stdio::piped()).spawn().expect("started");
    let mut idle_input = idle.stdin.take().expect("a pipe");
    // it runs, and waits for more
    idle_input.write_all(b"x").expect("written");
    idle.stdout.as_mut().expect("a pipe").read_exact(&mut [0; 1]).expect("read");
    let baseline = resident(&idle);
    drop(idle_input);
    assert_eq!(wait(idle).code, 0);

    // with optimisation the tool hashes as fast as it copies
    let hash = !cfg!(debug_assertions);
    let words: &[&str] = &["copy", "file:sparse", "-", "--json", "--hash"];
    let mut child = vio(dir.path(), &words[..if hash { 5 } else { 4 }]).spawn().expect("started");
    let mut out = child.stdout.take().expect("a pipe");
    let start = Instant::now();
    while in_pipe(&out) == 0 {
        assert!(start.elapsed() < DEADLINE, "nothing comes");
        std::thread::yield_now();
    }
    // as long as it takes to read some hundred MiB, if nothing stopped it
    let mut most = 0;
    let watched = Instant::now();
    while watched.elapsed() < Duration::from_millis(500) {
        most = most.max(resident(&child) + in_pipe(&out));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(most < baseline + MOST, "{most} bytes held, {baseline} when idle");
    println!("held when stuck: {} KiB beyond idle ({} KiB)", most.saturating_sub(baseline) >> 10, baseline >> 10);

    let mut sum = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sha256sum");
    let copied = std::io::copy(&mut out, &mut sum.stdin.take().expect("a pipe")).expect("copied");
    assert_eq!(copied, size);
    let sum = String::from_utf8(sum.wait_with_output().expect("waited").stdout).expect("text");
    let expected = sha256(&source);
    assert_eq!(sum.split(' ').next(), Some(&*expected));
    let ended = wait(child);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let json: serde_json::Value = serde_json::from_str(&ended.stderr).expect("the report alone");
    assert_eq!(json["bytes_forward"], size);
    if hash {
        assert_eq!(json["sha256_forward"], *expected);
    }
}
