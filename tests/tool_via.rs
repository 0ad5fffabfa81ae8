//! `--via`: what passes the stages is whole, at the rate and within the limit that they set.
#![cfg(feature = "cli")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

#[path = "support/tool.rs"]
mod tool;

use tool::{DEADLINE, Server, noise, run};

const SIZE: usize = 300_000;

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("in"), noise(SIZE, 1)).expect("written");
    dir
}

#[test]
fn all_stages_in_order_pass_all_bytes() {
    let dir = folder();
    let stages = ["--via", "chunk:1000", "--via", "buffer:1MiB", "--via", "limit:300000", "--via", "throttle:1GiB/s"];
    let words = [&["copy", "file:in", "file:out", "--hash", "--json"][..], &stages].concat();
    let ended = run(dir.path(), &words);
    assert_eq!((ended.code, &*ended.stderr), (0, ""));
    assert!(fs::read(dir.path().join("out")).expect("read") == noise(SIZE, 1));
    let json = ended.json();
    assert_eq!(
        (&json["bytes_forward"], &json["sha256_forward"]),
        (&SIZE.into(), &tool::sha256(&dir.path().join("in")).into())
    );
}

#[test]
fn a_throttle_takes_its_time() {
    let dir = folder();
    let start = Instant::now();
    // 30 kB at once, and the rest in 0.9 s
    let ended = run(dir.path(), &["copy", "file:in", "file:out", "-q", "--via", "throttle:300kB/s"]);
    assert_eq!((ended.code, &*ended.stderr), (0, ""));
    assert!(start.elapsed() >= Duration::from_millis(880), "{:?}", start.elapsed());
    assert!(fs::read(dir.path().join("out")).expect("read") == noise(SIZE, 1));
}

#[test]
fn more_than_the_limit_ends_the_copy_with_one_line() {
    let dir = folder();
    let ended = run(dir.path(), &["copy", "file:in", "file:out", "--via", "limit:299999"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("limiter: more than the limit of 299999 came"), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
}

#[test]
fn both_directions_of_each_connection_pass_the_stages() {
    let dir = folder();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let to = format!("tcp:{}", listener.local_addr().expect("bound"));
    // answers twice what it is told
    thread::spawn(move || {
        for conn in listener.incoming().flatten() {
            let mut told = Vec::new();
            let read = (&conn).read_to_end(&mut told).and_then(|_| (&conn).write_all(&told));
            let _ = read.and_then(|_| (&conn).write_all(&told));
        }
    });
    let words = ["relay", "tcp-listen:127.0.0.1:0", &to, "--via", "buffer:64KiB", "--via", "limit:1000"];
    let server = Server::start(dir.path(), &words);
    for (bytes, whole) in [(500, true), (501, false), (1001, false), (500, true)] {
        let mut conn = TcpStream::connect(server.tcp()).expect("connected");
        conn.set_read_timeout(Some(DEADLINE)).expect("set");
        conn.write_all(&noise(bytes, 2)).expect("sent");
        // it may be reset already
        let _ = conn.shutdown(Shutdown::Write);
        let mut back = Vec::new();
        let read = conn.read_to_end(&mut back);
        assert_eq!(read.is_ok() && back == noise(bytes, 2).repeat(2), whole, "{bytes}: {read:?}");
    }
    let (code, lines) = server.interrupt();
    assert_eq!(code, 6, "{lines:?}");
    assert!(lines.last().is_some_and(|line| line.contains("4 connections, 2 failed")), "{lines:?}");
}

#[test]
fn a_stage_that_is_none_is_told_in_one_line() {
    let dir = folder();
    for (stage, told) in [
        ("throtle:1MiB/s", r#"unknown stage "throtle", did you mean "throttle"?"#),
        ("throttle:1MiB", r#"throttle: "1MiB" is not a rate, accepted: throttle:SIZE/s"#),
        ("limit", "limit: the value is missing, accepted: limit:SIZE"),
    ] {
        let ended = run(dir.path(), &["copy", "file:in", "file:out", "--via", stage]);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains(told), "{ended:?}");
        assert!(!dir.path().join("out").exists());
    }
}
