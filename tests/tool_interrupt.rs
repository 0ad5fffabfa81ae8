//! Interrupts: the first drains, the second aborts, and the exit codes tell them apart.
#![cfg(feature = "cli")]

use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

#[path = "support/tool.rs"]
mod tool;

use tool::{Server, kill, vio, wait};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A copy of endless data that runs, and whose output nobody reads further than its first byte.
fn stuck(dir: &Path, drain: &str) -> Child {
    let words = ["copy", "file:/dev/zero", "-", "--drain", drain, "--json"];
    let mut child = vio(dir, &words).spawn().expect("started");
    child.stdout.as_mut().expect("a pipe").read_exact(&mut [0; 1]).expect("it runs");
    child
}

#[test]
fn the_first_interrupt_delivers_what_was_read() {
    let dir = folder();
    for signal in [Signal::INT, Signal::TERM] {
        let mut child = stuck(dir.path(), "100s");
        kill(&child, signal);
        // reading lets it drain; an endless source would never end by itself
        let mut rest = Vec::new();
        child.stdout.take().expect("a pipe").read_to_end(&mut rest).expect("read");
        let ended = wait(child);
        assert_eq!(ended.code, 6, "{}", ended.stderr);
        let json: serde_json::Value = serde_json::from_str(&ended.stderr).expect("the report alone");
        assert_eq!((&json["outcome"], &json["bytes_forward"]), (&"drained".into(), &(rest.len() + 1).into()));
    }
}

#[test]
fn the_second_interrupt_aborts() {
    let dir = folder();
    let mut child = stuck(dir.path(), "100s");
    // nobody reads it as long as it is here
    let _unread = child.stdout.take();
    kill(&child, Signal::INT);
    // another signal: two of one kind may be told as one
    kill(&child, Signal::TERM);
    let ended = wait(child);
    assert_eq!(ended.code, 7, "{}", ended.stderr);
    assert!(ended.stderr.contains("aborted by a second interrupt"), "{}", ended.stderr);
}

#[test]
fn what_is_not_drained_in_time_is_aborted() {
    let dir = folder();
    let mut child = stuck(dir.path(), "100ms");
    // nobody reads it as long as it is here
    let _unread = child.stdout.take();
    kill(&child, Signal::INT);
    let ended = wait(child);
    assert_eq!(ended.code, 7, "{}", ended.stderr);
    assert!(ended.stderr.contains("not taken in time"), "{}", ended.stderr);
}

#[test]
fn an_interrupt_before_anybody_connects_ends_the_wait() {
    let dir = folder();
    let server = Server::start(dir.path(), &["copy", "tcp-listen:127.0.0.1:0", "file:out"]);
    let (code, lines) = server.interrupt();
    assert_eq!((code, lines.len()), (6, 1), "{lines:?}");
}

#[test]
fn a_listener_drains_its_connections_and_accepts_no_more() {
    let dir = folder();
    let right = TcpListener::bind("127.0.0.1:0").expect("bound");
    let to = format!("tcp:{}", right.local_addr().expect("bound"));
    let server = Server::start(dir.path(), &["relay", "tcp-listen:127.0.0.1:0", &to, "--drain", "100s"]);
    let at = server.tcp();
    let mut left = TcpStream::connect(at).expect("connected");
    let (mut conn, _) = right.accept().expect("accepted");
    left.write_all(b"before").expect("sent");
    conn.read_exact(&mut [0; 6]).expect("relayed");
    let (code, lines) = server.interrupt();
    assert_eq!(code, 6, "{lines:?}");
    TcpStream::connect(at).expect_err("closed");
}

/// Writes until nothing has been taken for a while.
fn fill(conn: &TcpStream) {
    conn.set_write_timeout(Some(Duration::from_millis(300))).expect("set");
    let (mut to, block) = (conn, [0; 65_536]);
    let mut written = 0usize;
    while let Ok(n) = to.write(&block) {
        written += n;
        assert!(written < 1 << 30, "it takes everything");
    }
}

#[test]
fn a_listener_aborts_at_the_second_interrupt() {
    let dir = folder();
    let right = TcpListener::bind("127.0.0.1:0").expect("bound");
    let to = format!("tcp:{}", right.local_addr().expect("bound"));
    let mut server = Server::start(dir.path(), &["relay", "tcp-listen:127.0.0.1:0", &to, "--drain", "100s"]);
    let left = TcpStream::connect(server.tcp()).expect("connected");
    let (_conn, _) = right.accept().expect("accepted");
    // more than all buffers take: it cannot be drained while nobody reads
    fill(&left);
    kill(&server.child, Signal::INT);
    kill(&server.child, Signal::TERM);
    let (code, lines) = server.ended();
    assert_eq!(code, 7, "{lines:?}");
}

#[test]
fn an_idle_relay_of_standard_streams_drains_at_once() {
    let dir = folder();
    let mut child = vio(dir.path(), &["relay", "-", "exec:cat"]).stdin(Stdio::piped()).spawn().expect("started");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"x").expect("written");
    child.stdout.as_mut().expect("a pipe").read_exact(&mut [0; 1]).expect("it runs");
    kill(&child, Signal::INT);
    let ended = wait(child);
    assert_eq!(ended.code, 6, "{}", ended.stderr);
    drop(stdin);
}
