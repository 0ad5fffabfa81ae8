//! `vio relay`: many connections at once, half-closes, resets, failures of one that leave the others alone.
#![cfg(feature = "cli")]

use sha2::{Digest, Sha256};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

#[path = "support/http.rs"]
mod http;
#[path = "support/tool.rs"]
mod tool;

use tool::{DEADLINE, Server, big, noise, vio, wait};

const LISTEN: &str = "tcp-listen:127.0.0.1:0";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn connect(server: &Server) -> TcpStream {
    let conn = TcpStream::connect(server.tcp()).expect("connected");
    // a relay that hangs fails the test instead of hanging it
    conn.set_read_timeout(Some(DEADLINE)).expect("set");
    conn
}

/// Sends and ends, and reads what comes back to its end, at the same time.
fn exchange(conn: &TcpStream, data: Vec<u8>) -> Vec<u8> {
    let mut writer = conn.try_clone().expect("cloned");
    let sent = thread::spawn(move || {
        writer.write_all(&data).expect("sent");
        writer.shutdown(Shutdown::Write).expect("ended");
    });
    let mut back = Vec::new();
    let mut reader = conn;
    reader.read_to_end(&mut back).expect("an answer");
    sent.join().expect("no panic");
    back
}

#[test]
fn curl_fetches_64_bodies_at_once() {
    let dir = folder();
    let bytes = 3 << 20;
    let server = Server::start(dir.path(), &["relay", LISTEN, &format!("tcp:{}", http::serve()), "--threads", "2"]);
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--no-progress-meter", "--max-time", "100", "--parallel", "--parallel-immediate"]);
    curl.args(["--parallel-max", "64", "-o", "body-#1"]).current_dir(dir.path());
    curl.arg(format!("http://{}/bytes/{bytes}?[1-64]", server.at).replace('?', "/"));
    let output = curl.output().expect("curl");
    assert!(output.status.success(), "{output:?}");
    let expected = http::body(bytes);
    for number in 1..=64 {
        let body = fs::read(dir.path().join(format!("body-{number}"))).expect("a body");
        assert!(body == expected, "{number}: {} bytes, or other ones", body.len());
    }
    let (code, lines) = server.interrupt();
    assert_eq!(code, 6, "{lines:?}");
    assert!(lines.last().is_some_and(|line| line.contains("64 connections, 0 failed")), "{lines:?}");
}

/// What curl fetches through the relay, as it comes: how much, and its SHA-256.
fn fetch(at: &str, bytes: u64) -> (u64, Vec<u8>) {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--no-buffer", "--max-time", "900"]).stdout(Stdio::piped());
    let mut curl = curl.arg(format!("http://{at}/bytes/{bytes}")).spawn().expect("curl");
    let mut body = curl.stdout.take().expect("piped");
    let (mut hash, mut total, mut buf) = (Sha256::new(), 0, vec![0; 256 * 1024]);
    loop {
        match body.read(&mut buf).expect("a body") {
            0 => break,
            n => {
                hash.update(&buf[..n]);
                total += n as u64;
            }
        }
    }
    assert!(curl.wait().expect("reaped").success());
    (total, hash.finalize().to_vec())
}

/// The SHA-256 of the body that the server gives.
fn expected(bytes: u64) -> Vec<u8> {
    let block = http::body(http::BLOCK);
    let (mut hash, mut left) = (Sha256::new(), bytes);
    while left > 0 {
        let n = left.min(http::BLOCK as u64);
        hash.update(&block[..n as usize]);
        left -= n;
    }
    hash.finalize().to_vec()
}

#[test]
fn curl_fetches_large_bodies_whole() {
    let dir = folder();
    // VERSILE_BIG: 1 GiB alone, then 64 of 1 GiB at once
    let (bytes, at_once) = if big() { (1 << 30, 64) } else { (64 << 20, 4) };
    let server = Server::start(dir.path(), &["relay", LISTEN, &format!("tcp:{}", http::serve())]);
    let (expected, at) = (expected(bytes), server.at.as_str());
    for n in [1, at_once] {
        let start = Instant::now();
        let fetched: Vec<_> = thread::scope(|scope| {
            let all: Vec<_> = (0..n).map(|_| scope.spawn(move || fetch(at, bytes))).collect();
            all.into_iter().map(|one| one.join().expect("fetched")).collect()
        });
        assert!(fetched.iter().all(|(total, hash)| *total == bytes && *hash == expected), "of {n}");
        let rate = (n * bytes) as f64 / 1e9 / start.elapsed().as_secs_f64();
        println!("curl fetched {n} bodies of {bytes} bytes at once, hashes equal, {rate:.2} GB/s in all");
    }
}

#[test]
fn a_long_session_of_questions_and_answers() {
    let dir = folder();
    let server = Server::start(dir.path(), &["relay", LISTEN, "exec:/bin/sh"]);
    let conn = connect(&server);
    conn.set_nodelay(true).expect("set");
    let (mut to, mut from) = (&conn, BufReader::new(&conn));
    let mut line = String::new();
    // each answer is awaited before the next question, as a person at a shell does
    for i in 0..2_000u32 {
        to.write_all(format!("echo $(({i} * {i}))\n").as_bytes()).expect("asked");
        line.clear();
        from.read_line(&mut line).expect("answered");
        assert_eq!(line.trim(), (i * i).to_string());
    }
    // and the other side speaks unasked, while this side is silent
    to.write_all(b"for i in 1 2 3 4 5; do echo tick $i; done\n").expect("asked");
    for i in 1..=5 {
        line.clear();
        from.read_line(&mut line).expect("told");
        assert_eq!(line.trim(), format!("tick {i}"));
    }
    to.write_all(b"exit\n").expect("asked");
    line.clear();
    assert_eq!(from.read_line(&mut line).expect("the end"), 0, "{line}");
}

#[test]
fn a_client_that_half_closes_reads_its_answer_to_the_last_byte() {
    let dir = folder();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let server =
        Server::start(dir.path(), &["relay", LISTEN, &format!("tcp:{}", listener.local_addr().expect("bound"))]);
    let answering = thread::spawn(move || {
        let (mut conn, _) = listener.accept().expect("accepted");
        let mut request = Vec::new();
        // the end of the request comes before the answer begins
        conn.read_to_end(&mut request).expect("a request");
        request.reverse();
        conn.write_all(&request).expect("answered");
    });
    let mut expected = noise(4_000_003, 7);
    let answer = exchange(&connect(&server), expected.clone());
    answering.join().expect("no panic");
    expected.reverse();
    assert!(answer == expected, "{} bytes, or other ones", answer.len());
}

#[test]
fn each_connection_has_a_program_of_its_own() {
    let dir = folder();
    let server = Server::start(dir.path(), &["relay", LISTEN, "exec:cat", "--threads", "2", "--hash"]);
    let one = |seed| {
        let conn = connect(&server);
        thread::spawn(move || exchange(&conn, noise(1_000_003, seed)) == noise(1_000_003, seed))
    };
    let all: Vec<_> = (0..8).map(one).collect();
    assert!(all.into_iter().all(|same| same.join().expect("no panic")));
}

#[test]
fn unix_listen_to_tcp() {
    let dir = folder();
    let to = format!("tcp:{}", http::serve());
    let server = Server::start(dir.path(), &["relay", "unix-listen:socket,mode=0600", &to]);
    let mut conn = UnixStream::connect(dir.path().join("socket")).expect("connected");
    conn.write_all(b"GET /bytes/100000 HTTP/1.1\r\n\r\n").expect("sent");
    conn.shutdown(Shutdown::Write).expect("ended");
    let mut answer = Vec::new();
    conn.read_to_end(&mut answer).expect("an answer");
    assert!(answer.ends_with(&http::body(100_000)));
    assert_eq!(server.interrupt().0, 6);
    assert!(!dir.path().join("socket").exists(), "the socket's file is left");
}

#[test]
fn a_reset_on_one_side_is_a_reset_on_the_other() {
    let dir = folder();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let server =
        Server::start(dir.path(), &["relay", LISTEN, &format!("tcp:{}", listener.local_addr().expect("bound"))]);
    for left_resets in [true, false] {
        let mut left = connect(&server);
        left.write_all(b"x").expect("sent");
        let (mut right, _) = listener.accept().expect("accepted");
        right.set_read_timeout(Some(DEADLINE)).expect("set");
        right.read_exact(&mut [0; 1]).expect("read");
        let (gone, mut stays) = if left_resets { (left, right) } else { (right, left) };
        socket2::SockRef::from(&gone).set_linger(Some(Duration::ZERO)).expect("set");
        drop(gone);
        let error = stays.read(&mut [0; 1]).expect_err("no orderly end");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "left resets: {left_resets}");
        let line = server.line();
        assert!(line.starts_with("vio: connection from tcp 127.0.0.1:") && line.contains("reset by peer"), "{line}");
    }
}

#[test]
fn a_reset_of_a_client_that_has_ended_its_sending_is_noticed() {
    let dir = folder();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let server =
        Server::start(dir.path(), &["relay", LISTEN, &format!("tcp:{}", listener.local_addr().expect("bound"))]);
    let client = connect(&server);
    client.shutdown(Shutdown::Write).expect("ended");
    let (mut right, _) = listener.accept().expect("accepted");
    right.set_read_timeout(Some(DEADLINE)).expect("set");
    assert_eq!(right.read(&mut [0; 1]).expect("an end"), 0);
    // nothing is read or written in either direction now
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("set");
    drop(client);
    assert!(server.line().contains("lost tcp"), "no line of it");
}

#[test]
fn a_connection_that_fails_does_not_stop_the_listener() {
    let dir = folder();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let right = listener.local_addr().expect("bound");
    drop(listener);
    let server = Server::start(dir.path(), &["relay", LISTEN, &format!("tcp:{right}")]);
    let mut refused = connect(&server);
    assert_eq!(refused.read(&mut [0; 1]).expect_err("reset").kind(), ErrorKind::ConnectionReset);
    let line = server.line();
    let told = format!("right tcp:{right}: connect tcp {right} ({right}): Connection refused (os error 111)");
    assert!(line.starts_with("vio: connection from tcp 127.0.0.1:") && line.ends_with(&told), "{line}");
    let listener = TcpListener::bind(right).expect("bound again");
    let serving = thread::spawn(move || listener.accept().expect("accepted").0.write_all(b"here"));
    let mut answer = String::new();
    connect(&server).read_to_string(&mut answer).expect("an answer");
    serving.join().expect("no panic").expect("sent");
    assert_eq!(answer, "here");
    let (code, lines) = server.interrupt();
    assert!(code == 6 && lines.last().is_some_and(|line| line.ends_with("2 connections, 1 failed")), "{lines:?}");
}

#[test]
fn a_cap_lets_others_wait_and_serves_them_all() {
    let dir = folder();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let to = format!("tcp:{}", listener.local_addr().expect("bound"));
    let server = Server::start(dir.path(), &["relay", "tcp-listen:127.0.0.1:0,max=3", &to, "--threads", "2"]);
    let clients: Vec<_> = (0..20u8)
        .map(|number| {
            let conn = connect(&server);
            thread::spawn(move || exchange(&conn, vec![number; 1_000]) == vec![number; 1_000])
        })
        .collect();
    // an echo that keeps its first three connections until it has seen that no fourth comes
    listener.set_nonblocking(false).expect("set");
    let first: Vec<_> = (0..3).map(|_| listener.accept().expect("accepted").0).collect();
    listener.set_nonblocking(true).expect("set");
    assert_eq!(listener.accept().expect_err("the cap").kind(), ErrorKind::WouldBlock);
    listener.set_nonblocking(false).expect("set");
    let echo = |mut conn: TcpStream| {
        thread::spawn(move || {
            let mut data = Vec::new();
            conn.read_to_end(&mut data).expect("read");
            conn.write_all(&data).expect("sent");
        })
    };
    first.into_iter().for_each(|conn| drop(echo(conn)));
    (3..20).for_each(|_| drop(echo(listener.accept().expect("accepted").0)));
    assert!(clients.into_iter().all(|same| same.join().expect("no panic")));
}

/// 20 connections that nobody reads, which came first, and 5 that move, under a budget of 8 windows.
#[test]
fn connections_that_are_stuck_do_not_starve_the_others_of_a_budget() {
    let dir = folder();
    let args = ["relay", LISTEN, "exec:cat", "--budget", "2MiB"];
    let server = Server::start(dir.path(), &args);
    let stuck: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut conn = connect(&server);
            // nobody reads what comes back, so at some time no more is taken
            conn.set_write_timeout(Some(Duration::from_millis(50))).expect("set");
            let data = vec![0; 64 * 1024];
            while conn.write_all(&data).is_ok() {}
            conn
        })
        .collect();
    for seed in 0..5 {
        let data = noise(300_000, seed);
        assert!(exchange(&connect(&server), data.clone()) == data, "{seed}");
    }
    drop(stuck);
    server.interrupt();
}

#[test]
fn many_connections_leave_nothing_behind() {
    let dir = folder();
    let server = Server::start(dir.path(), &["relay", LISTEN, &format!("tcp:{}", http::serve())]);
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", server.child.id())).expect("it runs").count();
    let before = descriptors();
    for _ in 0..200 {
        let mut conn = connect(&server);
        conn.write_all(b"GET /bytes/10 HTTP/1.1\r\n\r\n").expect("sent");
        conn.shutdown(Shutdown::Write).expect("ended");
        let mut answer = Vec::new();
        conn.read_to_end(&mut answer).expect("an answer");
        assert!(answer.ends_with(&http::body(10)));
    }
    let deadline = std::time::Instant::now() + DEADLINE;
    while descriptors() > before {
        assert!(std::time::Instant::now() < deadline, "{} descriptors, {before} before", descriptors());
        thread::yield_now();
    }
}

#[test]
fn idle_connections_are_aborted_one_by_one() {
    let dir = folder();
    let server = Server::start(dir.path(), &["relay", LISTEN, "exec:exec cat", "--idle", "200ms"]);
    let mut idle = connect(&server);
    let ended = idle.read(&mut [0; 1]);
    assert_eq!(ended.expect_err("reset").kind(), ErrorKind::ConnectionReset);
    assert!(server.line().ends_with("aborted: nothing moved for 200ms"));
    assert_eq!(exchange(&connect(&server), b"hello".to_vec()), b"hello");
}

#[test]
fn a_relay_of_standard_streams_reports_both_ways() {
    let dir = folder();
    let mut child = vio(dir.path(), &["relay", "-", "exec:tr a-z A-Z", "--json", "--hash"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("started");
    child.stdin.take().expect("a pipe").write_all(b"hello").expect("written");
    let ended = wait(child);
    assert_eq!((ended.code, &*ended.stdout), (0, &b"HELLO"[..]));
    let json: serde_json::Value = serde_json::from_str(&ended.stderr).expect("the report alone");
    assert_eq!((&json["bytes_forward"], &json["bytes_backward"]), (&5.into(), &5.into()));
    // sha256sum of `hello` and of `HELLO`
    assert_eq!(json["sha256_forward"], "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    assert_eq!(json["sha256_backward"], "3733cd977ff8eb18b987357e22ced99f46097f31ecb239e878ae63760e83e4d5");
}

#[test]
fn an_inherited_socket_is_two_way() {
    let dir = folder();
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let mut command = vio(dir.path(), &["relay", "fd:0", "exec:rev", "--quiet"]);
    let child = command.stdin(std::os::fd::OwnedFd::from(theirs)).spawn().expect("started");
    // the command holds the other end open
    drop(command);
    let mut conn = ours;
    conn.write_all(b"abc\n").expect("sent");
    conn.shutdown(Shutdown::Write).expect("ended");
    let mut answer = String::new();
    conn.read_to_string(&mut answer).expect("an answer");
    assert_eq!((&*answer, wait(child).code), ("cba\n", 0));
}
