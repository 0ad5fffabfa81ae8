//! `vio copy` between all kinds of addresses: what arrives is what was sent, and the report says so.
#![cfg(feature = "cli")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::thread;

#[path = "support/tool.rs"]
mod tool;

use tool::{Server, noise, run, sha256, vio, wait};

/// Enough to fill every window and pipe on the way several times.
const SIZE: usize = 3_000_001;

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("in"), noise(SIZE, 1)).expect("written");
    dir
}

fn same(dir: &Path, a: &str, b: &str) {
    let (a, b) = (fs::read(dir.join(a)).expect("read"), fs::read(dir.join(b)).expect("read"));
    assert!(a == b, "{} and {} bytes, or other ones", a.len(), b.len());
}

#[test]
fn file_to_file_reports_what_was_delivered() {
    let dir = folder();
    let ended = run(dir.path(), &["copy", "file:in", "file:out", "--hash", "--json"]);
    assert_eq!((ended.code, &*ended.stderr), (0, ""));
    same(dir.path(), "in", "out");
    let json = ended.json();
    assert_eq!(json["sha256_forward"], sha256(&dir.path().join("in")));
    assert_eq!((&json["from"], &json["to"]), (&"file:in".into(), &"file:out".into()));
    assert_eq!(json["bytes_forward"], SIZE);
    assert!(json["bytes_backward"].is_null() && json["sha256_backward"].is_null() && json["cause"].is_null());
    assert_eq!((&json["outcome"], &json["exit_code"]), (&"delivered".into(), &0.into()));
    assert!(json["seconds"].as_f64().expect("a number") > 0.0 && json["rate"].as_u64().expect("a number") > 0);
}

#[test]
fn file_options_are_followed() {
    let dir = folder();
    fs::write(dir.path().join("log"), "old ").expect("written");
    fs::write(dir.path().join("text"), "0123456789").expect("written");
    assert_eq!(run(dir.path(), &["copy", "file:text,offset=6", "file:log,append"]).code, 0);
    assert_eq!(fs::read_to_string(dir.path().join("log")).expect("read"), "old 6789");
    assert_eq!(run(dir.path(), &["copy", "file:text", "file:log,excl"]).code, 3);
    assert_eq!(run(dir.path(), &["copy", "file:text", "file:new,nocreate"]).code, 3);
    assert_eq!(run(dir.path(), &["copy", "file:text", "file:log,nocreate"]).code, 0);
    assert_eq!(fs::read_to_string(dir.path().join("log")).expect("read"), "0123456789");
}

#[test]
fn a_missing_source_leaves_the_destination_alone() {
    let dir = folder();
    assert_eq!(run(dir.path(), &["copy", "file:missing", "file:in"]).code, 3);
    assert_eq!(fs::metadata(dir.path().join("in")).expect("there").len(), SIZE as u64);
}

#[test]
fn standard_streams() {
    let dir = folder();
    let mut child = vio(dir.path(), &["copy", "-", "-", "-q"]).stdin(Stdio::piped()).spawn().expect("started");
    let mut stdin = child.stdin.take().expect("a pipe");
    let writer = thread::spawn(move || stdin.write_all(&noise(SIZE, 1)));
    let ended = wait(child);
    writer.join().expect("no panic").expect("written");
    assert_eq!((ended.code, &*ended.stderr), (0, ""));
    assert!(ended.stdout == noise(SIZE, 1), "{} bytes, or other ones", ended.stdout.len());
}

#[test]
fn standard_streams_that_are_files() {
    let dir = folder();
    let (input, output) = (fs::File::open(dir.path().join("in")), fs::File::create(dir.path().join("out")));
    let mut command = vio(dir.path(), &["copy", "-", "-"]);
    let child = command.stdin(input.expect("opened")).stdout(output.expect("made")).spawn().expect("started");
    assert_eq!(wait(child).code, 0);
    same(dir.path(), "in", "out");
}

#[test]
fn programs_both_ways() {
    let dir = folder();
    assert_eq!(run(dir.path(), &["copy", "file:in", "exec:cat > mid"]).code, 0);
    assert_eq!(run(dir.path(), &["copy", "exec:cat mid", "file:out"]).code, 0);
    same(dir.path(), "in", "out");
}

#[test]
fn a_program_that_is_slow_to_write_is_waited_for() {
    let dir = folder();
    let ended = run(dir.path(), &["copy", "file:in", "exec:cat > mid; sleep 0.2; mv mid out"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    same(dir.path(), "in", "out");
}

#[test]
fn named_pipes_both_ways() {
    let dir = folder();
    let reader = vio(dir.path(), &["copy", "fifo:pipe,create", "file:out"]).spawn().expect("started");
    let writer = vio(dir.path(), &["copy", "file:in", "fifo:pipe,create"]).spawn().expect("started");
    // both make the pipe, and one finds it there
    let (writer, reader) = (wait(writer), wait(reader));
    assert_eq!((writer.code, reader.code), (0, 0), "{} {}", writer.stderr, reader.stderr);
    same(dir.path(), "in", "out");
}

#[test]
fn inherited_descriptors() {
    let dir = folder();
    let vio = env!("CARGO_BIN_EXE_vio");
    let line = format!("exec {vio} copy fd:5 fd:7 5<in 7>out");
    let status = std::process::Command::new("sh").args(["-c", &line]).current_dir(dir.path()).status();
    assert_eq!(status.expect("sh").code(), Some(0));
    same(dir.path(), "in", "out");
}

#[test]
fn an_inherited_descriptor_is_not_passed_on() {
    let dir = folder();
    // were fd 7 open in the command, `cat` would not see the end of the pipe
    let line = format!("{} copy fd:5 'exec:ls /proc/self/fd > fds' 5<in", env!("CARGO_BIN_EXE_vio"));
    let status = std::process::Command::new("sh").args(["-c", &line]).current_dir(dir.path()).status();
    // `ls` does not read what it is given
    assert!([Some(0), Some(5)].contains(&status.expect("sh").code()));
    let fds = fs::read_to_string(dir.path().join("fds")).unwrap_or_default();
    assert!(!fds.lines().any(|fd| fd == "5"), "{fds}");
}

#[test]
fn tcp_both_ways() {
    let dir = folder();
    let mut server = Server::start(dir.path(), &["copy", "tcp-listen:127.0.0.1:0", "file:out"]);
    let to = format!("tcp:{},nodelay", server.tcp());
    assert_eq!(run(dir.path(), &["copy", "file:in", &to]).code, 0);
    assert_eq!(server.ended().0, 0);
    same(dir.path(), "in", "out");
}

#[test]
fn half_close_is_no_matter_of_a_copy() {
    let dir = folder();
    for policy in ["none", "in", "out"] {
        let mut server =
            Server::start(dir.path(), &["copy", &format!("tcp-listen:127.0.0.1:0,half-close={policy}"), "file:out"]);
        let ended = run(dir.path(), &["copy", "file:in", &format!("tcp:{},half-close={policy}", server.tcp())]);
        assert_eq!((ended.code, server.ended().0), (0, 0), "{policy}: {}", ended.stderr);
        same(dir.path(), "in", "out");
    }
}

#[test]
fn a_listener_of_a_copy_serves_one_connection() {
    let dir = folder();
    let mut server = Server::start(dir.path(), &["copy", "tcp-listen:127.0.0.1:0", "file:out"]);
    let mut first = TcpStream::connect(server.tcp()).expect("connected");
    first.write_all(b"first").expect("sent");
    // its listener is closed once it has accepted; a connection that the system had taken before is reset
    let mut second = TcpStream::connect(server.tcp());
    if let Ok(second) = &mut second {
        let _ = second.write_all(b"second");
        assert!(matches!(second.read(&mut [0; 1]), Err(_) | Ok(0)));
    }
    first.shutdown(Shutdown::Write).expect("ended");
    assert_eq!(server.ended().0, 0);
    assert_eq!(fs::read(dir.path().join("out")).expect("read"), b"first");
}

#[test]
fn unix_sockets_by_path_and_by_abstract_name() {
    let dir = folder();
    let abstract_name = format!("@vio-test-{}", std::process::id());
    for name in ["socket", &abstract_name] {
        let mut server = Server::start(dir.path(), &["copy", &format!("unix-listen:{name}"), "file:out"]);
        let ended = run(dir.path(), &["copy", "file:in", &format!("unix:{name}")]);
        assert_eq!((ended.code, server.ended().0), (0, 0), "{name}: {}", ended.stderr);
        same(dir.path(), "in", "out");
        assert!(!dir.path().join("socket").exists(), "the socket's file is left");
    }
}

#[test]
fn a_unix_socket_of_somebody_else() {
    let dir = folder();
    let name = SocketAddr::from_abstract_name(format!("vio-other-{}", std::process::id())).expect("a name");
    let listener = UnixListener::bind_addr(&name).expect("bound");
    let reader = thread::spawn(move || {
        let mut data = Vec::new();
        let (mut conn, _): (UnixStream, _) = listener.accept().expect("accepted");
        conn.read_to_end(&mut data).expect("read");
        data
    });
    let to = format!("unix:@vio-other-{}", std::process::id());
    assert_eq!(run(dir.path(), &["copy", "file:in", &to]).code, 0);
    assert!(reader.join().expect("no panic") == noise(SIZE, 1));
}

#[test]
fn the_report_goes_where_no_data_goes() {
    let dir = folder();
    let ended = run(dir.path(), &["copy", "file:in", "-", "--json"]);
    assert_eq!((ended.code, ended.stdout.len()), (0, SIZE));
    let json: serde_json::Value = serde_json::from_str(&ended.stderr).expect("the report alone");
    assert_eq!(json["bytes_forward"], SIZE);
}

#[test]
fn a_reader_of_our_output_sees_its_end_before_we_are_gone() {
    // the command behind a two-way copy of a terminal: `relay` keeps the other direction open
    let dir = folder();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let right = format!("tcp:{}", listener.local_addr().expect("bound"));
    let mut child = vio(dir.path(), &["relay", "-", &right]).stdin(Stdio::piped()).spawn().expect("started");
    let (conn, _) = listener.accept().expect("connected");
    conn.shutdown(Shutdown::Write).expect("ended");
    let mut out = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut out).expect("an end");
    assert!(child.try_wait().expect("asked").is_none(), "it still relays the other way");
    drop(child.stdin.take());
    assert_eq!(wait(child).code, 0);
    assert!(conn.as_raw_fd() >= 0);
}

#[test]
fn progress_is_told_if_asked_for_and_else_not() {
    let dir = folder();
    let slow = "exec:for i in 1 2 3; do echo x; sleep 0.5; done";
    let told = run(dir.path(), &["copy", slow, "file:out", "--progress"]).stderr;
    assert!(told.lines().any(|line| line.contains("bytes, ") && line.ends_with("/s")), "{told}");
    let ended = run(dir.path(), &["copy", "file:in", "file:out"]);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.starts_with(&format!("vio: {SIZE} bytes in ")), "{}", ended.stderr);
    assert_eq!(run(dir.path(), &["copy", "file:in", "file:out", "--quiet"]).stderr, "");
}

#[test]
fn nothing_that_moves_for_too_long_is_aborted() {
    let dir = folder();
    let ended = run(dir.path(), &["copy", "exec:echo first; exec sleep 60", "file:out", "--idle", "200ms", "--json"]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let json = ended.json();
    assert_eq!((&json["cause"], &json["bytes_forward"]), (&"aborted: nothing moved for 200ms".into(), &6.into()));
    // what moves now and then goes on
    let slow = "exec:for i in 1 2 3 4 5; do echo x; sleep 0.1; done";
    assert_eq!(run(dir.path(), &["copy", slow, "file:out", "--idle", "3s"]).code, 0);
}

#[test]
fn a_pending_read_of_standard_input_does_not_hold_the_end() {
    let dir = folder();
    let mut child = vio(dir.path(), &["copy", "-", "file:/dev/full"]).stdin(Stdio::piped()).spawn().expect("started");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"x").expect("written");
    assert_eq!(wait(child).code, 5);
    drop(stdin);
}

#[test]
fn a_destination_that_is_gone_is_noticed_without_data() {
    let dir = folder();
    let mut child = vio(dir.path(), &["copy", "-", "-"]).stdin(Stdio::piped()).spawn().expect("started");
    let mut stdin = child.stdin.take().expect("a pipe");
    // it has opened its output once something came out
    stdin.write_all(b"x").expect("written");
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0; 1]).expect("read");
    drop(stdout);
    let ended = wait(child);
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    drop(stdin);
}

#[test]
fn manual_and_completions_are_printed() {
    let dir = folder();
    let man = run(dir.path(), &["man"]);
    assert!(man.code == 0 && String::from_utf8_lossy(&man.stdout).contains(".TH vio 1"));
    let bash = run(dir.path(), &["completions", "bash"]);
    assert!(bash.code == 0 && String::from_utf8_lossy(&bash.stdout).contains("complete"));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("there");
    let ended = wait(vio(dir.path(), &["man"]).stdout(full).spawn().expect("started"));
    assert_eq!((ended.code, ended.stderr.lines().count()), (5, 1), "{}", ended.stderr);
}
