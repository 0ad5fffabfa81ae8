//! `vio` over VUT: two of them, one way and both ways, and what is refused.
#![cfg(feature = "cli")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

#[path = "support/tool.rs"]
mod tool;

use tool::{noise, run, sha256, vio, wait};

const SIZE: usize = 3_000_001;
const SECRETS: [&str; 2] = [
    "11223344556677889900aabbccddeeff11223344556677889900aabbccddeeff",
    "ffeeddccbbaa00998877665544332211ffeeddccbbaa00998877665544332211",
];

fn secret(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), format!("{text}\n")).expect("written");
    fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600)).expect("set");
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("in"), noise(SIZE, 1)).expect("written");
    secret(dir.path(), "a", SECRETS[0]);
    secret(dir.path(), "b", SECRETS[1]);
    dir
}

/// One test at a time: a program that another one starts holds for a moment the ports that are looked for here.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The addresses of two peers, each as the other one names it.
fn addresses() -> [String; 2] {
    let ports = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").expect("a port"));
    let [a, b] = ports.map(|socket| socket.local_addr().expect("bound"));
    [
        format!("vut:{b},bind={a},secret-file=a,peer-secret-file=b,timeout=20s"),
        format!("vut:{a},bind={b},secret-file=b,peer-secret-file=a,timeout=20s"),
    ]
}

#[test]
fn a_copy_sends_a_file_and_another_one_receives_it() {
    let (_alone, dir) = (alone(), folder());
    let [to, from] = addresses();
    let receiver = vio(dir.path(), &["copy", &from, "file:out", "--json", "--hash"]).spawn().expect("started");
    let sent = run(dir.path(), &["copy", "file:in", &to, "--json", "--hash", "-vvv"]);
    let received = wait(receiver);
    assert_eq!((sent.code, received.code), (0, 0), "{sent:?} {received:?}");
    assert!(fs::read(dir.path().join("out")).expect("read") == noise(SIZE, 1));
    let hash = sha256(&dir.path().join("in"));
    for ended in [&sent, &received] {
        assert_eq!(ended.json()["sha256_forward"], hash);
        let told = ended.stderr.clone() + &String::from_utf8_lossy(&ended.stdout);
        assert!(SECRETS.iter().all(|secret| !told.contains(secret)), "a secret is told");
    }
}

#[test]
fn a_relay_on_each_side_carries_a_tcp_connection() {
    let (_alone, dir) = (alone(), folder());
    let [near, far] = addresses();
    let server = TcpListener::bind("127.0.0.1:0").expect("bound");
    let to = format!("tcp:{}", server.local_addr().expect("bound"));
    let client = TcpListener::bind("127.0.0.1:0").expect("bound");
    let from = format!("tcp:{}", client.local_addr().expect("bound"));
    let serving = thread::spawn(move || {
        let (mut conn, _) = server.accept().expect("a connection");
        let mut request = Vec::new();
        conn.read_to_end(&mut request).expect("the request, and its end");
        request.reverse();
        conn.write_all(&request).expect("answered");
    });
    let relays = [[from.as_str(), near.as_str()], [far.as_str(), to.as_str()]]
        .map(|[left, right]| vio(dir.path(), &["relay", left, right]).spawn().expect("started"));
    let (mut conn, _) = client.accept().expect("the near relay");
    let request = noise(500_000, 2);
    let mut writing: TcpStream = conn.try_clone().expect("a second handle");
    let sent = request.clone();
    let writer = thread::spawn(move || {
        writing.write_all(&sent).expect("sent");
        writing.shutdown(std::net::Shutdown::Write).expect("ended");
    });
    let mut answer = Vec::new();
    conn.read_to_end(&mut answer).expect("the answer, and its end");
    writer.join().expect("no panic");
    serving.join().expect("no panic");
    assert!(answer.iter().rev().eq(&request), "{} of {} bytes, or other ones", answer.len(), request.len());
    drop(conn);
    for relay in relays {
        let ended = wait(relay);
        assert_eq!(ended.code, 0, "{ended:?}");
    }
}

#[test]
fn an_interrupted_sender_is_no_end_for_the_receiver() {
    let (_alone, dir) = (alone(), folder());
    let [to, from] = addresses();
    let receiver = vio(dir.path(), &["copy", &from, "file:out"]).spawn().expect("started");
    let mut sender = vio(dir.path(), &["copy", "-", &to]).stdin(Stdio::piped()).spawn().expect("started");
    let mut stdin = sender.stdin.take().expect("a pipe");
    stdin.write_all(b"some").expect("written");
    stdin.flush().expect("written");
    // it has arrived
    let deadline = std::time::Instant::now() + tool::DEADLINE;
    while fs::metadata(dir.path().join("out")).map_or(0, |found| found.len()) < 4 {
        assert!(std::time::Instant::now() < deadline, "nothing arrives");
        thread::sleep(std::time::Duration::from_millis(5));
    }
    tool::kill(&sender, rustix::process::Signal::INT);
    let (sent, received) = (wait(sender), wait(receiver));
    drop(stdin);
    assert_eq!(received.code, 4, "{received:?} {sent:?}");
    assert!(received.stderr.contains("aborted by the peer"), "{received:?}");
    assert_eq!(fs::read(dir.path().join("out")).expect("read"), b"some");
}

/// A copy from one to the other, each address with more options: how both ended.
fn copied(dir: &Path, options: [&str; 2]) -> [tool::Ended; 2] {
    let [to, from] = addresses();
    let (to, from) = (format!("{to}{}", options[0]), format!("{from}{}", options[1]));
    let receiver = vio(dir, &["copy", &from, "file:out", "--json", "--hash"]).spawn().expect("started");
    let sent = run(dir, &["copy", "file:in", &to, "--json", "--hash"]);
    [sent, wait(receiver)]
}

#[test]
fn each_pair_of_modes_that_have_a_profile_in_common_copies_a_file() {
    let (_alone, dir) = (alone(), folder());
    let hash = sha256(&dir.path().join("in"));
    for modes in [["native", "native"], ["auto", "native"], ["auto", "compat"], ["compat", "compat"]] {
        let ended = copied(dir.path(), modes.map(|mode| format!(",mode={mode}")).each_ref().map(String::as_str));
        for ended in ended {
            assert_eq!(ended.code, 0, "{modes:?} {ended:?}");
            assert_eq!(ended.json()["sha256_forward"], hash, "{modes:?}");
        }
        fs::remove_file(dir.path().join("out")).expect("written");
    }
}

#[test]
fn fifty_megabytes_arrive_whole_in_mode_native_and_the_end_is_proven() {
    let (_alone, dir) = (alone(), folder());
    fs::write(dir.path().join("in"), noise(50_000_000, 3)).expect("written");
    let hash = sha256(&dir.path().join("in"));
    for ended in copied(dir.path(), [",mode=native", ",mode=native,unproven=refuse"]) {
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(ended.json()["sha256_forward"], hash);
    }
}

#[test]
fn an_end_that_is_not_proven_can_be_refused() {
    let (_alone, dir) = (alone(), folder());
    let [sent, received] = copied(dir.path(), [",mode=compat", ",mode=compat,unproven=refuse"]);
    assert_eq!(sent.code, 0, "{sent:?}");
    assert_eq!(received.code, 4, "{received:?}");
    assert!(received.stderr.contains("ended before its data was complete"), "{received:?}");
}

#[test]
fn a_peer_that_knows_only_the_old_profile_is_told_in_one_line() {
    let (_alone, dir) = (alone(), folder());
    let [to, from] = addresses();
    let (to, from) = (to.replace("20s", "1s"), from.replace("20s", "1s") + ",mode=compat");
    let receiver = vio(dir.path(), &["copy", &from, "file:out"]).spawn().expect("started");
    let sent = run(dir.path(), &["copy", "file:in", &to]);
    let received = wait(receiver);
    assert_eq!((sent.code, received.code), (3, 3), "{sent:?} {received:?}");
    assert!(sent.stderr.contains("it seems to know only VUT 0.8") && sent.stderr.lines().count() == 1, "{sent:?}");
}

#[test]
fn another_secret_is_told_in_one_line_that_names_the_peer() {
    let (_alone, dir) = (alone(), folder());
    secret(dir.path(), "c", &SECRETS[0].replace("11", "12"));
    let [to, from] = addresses();
    let (to, from) = (to.replace("20s", "1s"), from.replace("20s", "1s").replace("file=a", "file=c"));
    let receiver = vio(dir.path(), &["copy", &from, "file:out"]).spawn().expect("started");
    let sent = run(dir.path(), &["copy", "file:in", &to]);
    let received = wait(receiver);
    for (ended, address) in [(sent, to), (received, from)] {
        let peer = address.trim_start_matches("vut:").split(',').next().expect("it begins the address");
        assert_eq!(ended.code, 3, "{ended:?}");
        let told = format!("connect vut {peer}: no answer from the peer that knows the secrets");
        assert!(ended.stderr.contains(&told) && ended.stderr.lines().count() == 1, "{ended:?}");
    }
}

#[test]
fn unsafe_secrets_are_refused_in_one_line_that_does_not_tell_them() {
    let (_alone, dir) = (alone(), folder());
    secret(dir.path(), "equal", SECRETS[0]);
    secret(dir.path(), "short", "aabbccdd");
    secret(dir.path(), "text", "correct horse battery staple");
    for (file, why) in [
        ("equal", "the secrets are not safe: both secrets are equal"),
        ("short", "the secrets are not safe: a secret has 4 octets; at least 16 are needed"),
        ("text", r#""text" holds no secret, accepted: hexadecimal digits"#),
    ] {
        let address = format!("vut:127.0.0.1:9,bind=127.0.0.1:9,secret-file=a,peer-secret-file={file}");
        let ended = run(dir.path(), &["copy", "file:in", &address]);
        assert_eq!(ended.code, 3, "{ended:?}");
        assert!(ended.stderr.contains(why) && ended.stderr.lines().count() == 1, "{ended:?}");
        for secret in [SECRETS[0], "aabbccdd", "horse"] {
            assert!(!ended.stderr.contains(secret), "{ended:?}");
        }
    }
}

#[test]
fn a_peer_that_is_not_there_is_told_in_one_line() {
    let (_alone, dir) = (alone(), folder());
    let silent = UdpSocket::bind("127.0.0.1:0").expect("bound").local_addr().expect("bound");
    let address =
        format!("vut:{silent},bind=127.0.0.1:{},secret-file=a,peer-secret-file=b,timeout=300ms", silent.port() ^ 1);
    let ended = run(dir.path(), &["copy", "file:in", &address]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains(&format!("connect vut {silent}: no answer from the peer")), "{ended:?}");
}
