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

#[test]
fn a_tee_copies_what_passes() {
    let dir = folder();
    for stage in ["tee:file:dump.bin", "tee-drop:file:dump.bin"] {
        fs::write(dir.path().join("dump.bin"), b"from before").expect("written");
        let ended = run(dir.path(), &["copy", "file:in", "file:out", "-q", "--via", "chunk:1000", "--via", stage]);
        assert_eq!((ended.code, &*ended.stderr), (0, ""));
        for copy in ["out", "dump.bin"] {
            let what = fs::read(dir.path().join(copy)).expect("read");
            // what has gaps is checked for what it is below
            assert!(stage.starts_with("tee-drop") && copy == "dump.bin" || what == noise(SIZE, 1), "{stage} {copy}");
        }
    }
}

#[test]
fn a_tee_goes_to_a_connection_and_to_a_program() {
    let dir = folder();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let tee = format!("tee:tcp:{}", listener.local_addr().expect("bound"));
    let takes = thread::spawn(move || {
        let mut all = Vec::new();
        let (mut conn, _) = listener.accept().expect("a connection");
        conn.read_to_end(&mut all).expect("to a clean end");
        all
    });
    let words = ["copy", "file:in", "file:out", "-q", "--via", &tee, "--via", "tee:exec:cat > third"];
    let ended = run(dir.path(), &words);
    assert_eq!((ended.code, &*ended.stderr), (0, ""));
    assert!(takes.join().expect("joined") == noise(SIZE, 1));
    for copy in ["out", "third"] {
        assert!(fs::read(dir.path().join(copy)).expect("read") == noise(SIZE, 1), "{copy}");
    }
}

/// The example of the help, with free ports.
#[test]
fn a_relay_is_throttled_and_both_directions_of_each_connection_are_dumped() {
    let dir = folder();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let to = format!("tcp:{}", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for conn in listener.incoming().flatten() {
            let mut told = Vec::new();
            let _ = (&conn).read_to_end(&mut told).and_then(|_| (&conn).write_all(&told.to_ascii_uppercase()));
        }
    });
    let stages = ["--via", "throttle:10MiB/s", "--via", "tee:file:dump.bin"];
    let server = Server::start(dir.path(), &[&["relay", "tcp-listen:127.0.0.1:0", &to][..], &stages].concat());
    for word in ["first", "second"] {
        let mut conn = TcpStream::connect(server.tcp()).expect("connected");
        conn.set_read_timeout(Some(DEADLINE)).expect("set");
        conn.write_all(word.as_bytes()).expect("sent");
        conn.shutdown(Shutdown::Write).expect("ended");
        let mut back = String::new();
        conn.read_to_string(&mut back).expect("answered");
        assert_eq!(back, word.to_ascii_uppercase());
    }
    let (code, lines) = server.interrupt();
    assert_eq!(code, 6, "{lines:?}");
    let dump = fs::read_to_string(dir.path().join("dump.bin")).expect("read");
    assert_eq!(dump.len(), "firstFIRSTsecondSECOND".len(), "{dump}");
    for word in ["first", "FIRST", "second", "SECOND"] {
        assert!(dump.contains(word), "{word} in {dump}");
    }
}

#[test]
fn a_copy_that_fails_takes_the_data_along_or_is_told() {
    let dir = folder();
    let whole = run(dir.path(), &["copy", "file:in", "file:out", "--via", "tee:file:missing/dump"]);
    assert_eq!(whole.code, 1, "{whole:?}");
    assert!(whole.stderr.contains("tee file:missing/dump: create"), "{whole:?}");
    let gaps = run(dir.path(), &["copy", "file:in", "file:out", "--via", "tee-drop:file:missing/dump"]);
    assert_eq!(gaps.code, 0, "{gaps:?}");
    assert!(gaps.stderr.contains("tee file:missing/dump: the copy is not whole: create"), "{gaps:?}");
    assert!(fs::read(dir.path().join("out")).expect("read") == noise(SIZE, 1));
    // one that takes nothing does not hold up the data
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let stuck = format!("tee-drop:tcp:{}", listener.local_addr().expect("bound"));
    let start = Instant::now();
    fs::write(dir.path().join("large"), noise(20 << 20, 3)).expect("written");
    let keeps = thread::spawn(move || {
        let (conn, _) = listener.accept().expect("a connection");
        thread::sleep(Duration::from_secs(2));
        drop(conn);
    });
    let gaps = run(dir.path(), &["copy", "file:large", "file:out", "--via", &stuck]);
    assert_eq!(gaps.code, 0, "{gaps:?}");
    assert!(gaps.stderr.contains("the copy is not whole"), "{gaps:?}");
    assert!(fs::read(dir.path().join("out")).expect("read") == noise(20 << 20, 3), "{:?}", start.elapsed());
    keeps.join().expect("joined");
}

#[test]
fn a_spill_passes_all_bytes_through_its_file() {
    let dir = folder();
    fs::write(dir.path().join("large"), noise(4 << 20, 3)).expect("written");
    let stages = ["--via", "spill:3MiB,dir=.", "--via", "throttle:8MiB/s"];
    let ended = run(dir.path(), &[&["copy", "file:large", "file:out", "-q"][..], &stages].concat());
    assert_eq!((ended.code, &*ended.stderr), (0, ""));
    assert!(fs::read(dir.path().join("out")).expect("read") == noise(4 << 20, 3));
    assert_eq!(fs::read_dir(dir.path()).expect("read").count(), 3, "in, large, out");
}
