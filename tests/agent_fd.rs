//! Descriptors: pipes, FIFOs, inherited sockets, flags that others share, and the count of descriptors afterwards. One test
//! at a time, since it counts those of the whole program.

use rustix::fs::OFlags;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use versile_io::agent::fd;
use versile_io::agent::stream::{Stream, StreamSettings};
use versile_io::component::stock::{Directions, Outcome};

#[path = "support/agent.rs"]
mod support;
use support::*;

static ONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn only(directions: Directions) -> StreamSettings {
    StreamSettings { directions, ..StreamSettings::default() }
}

fn reader(fd: impl Into<OwnedFd>) -> Stream {
    fd::from_fd(fd.into(), only(Directions::ReadOnly)).expect("a stream")
}

fn writer(fd: impl Into<OwnedFd>) -> Stream {
    fd::from_fd(fd.into(), only(Directions::WriteOnly)).expect("a stream")
}

fn flags(fd: impl AsFd) -> OFlags {
    rustix::fs::fcntl_getfl(fd).expect("flags")
}

fn make_fifo(path: &std::path::Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a FIFO");
}

#[test]
fn a_pipe_carries_all_and_its_end() {
    let _one = alone();
    run(async {
        let before = fds();
        for chunk in [1, 4_099, 65_536] {
            let (read, write) = fd::pipe().expect("a pipe");
            let data = pattern(if chunk == 1 { 30_011 } else { 2_000_003 });
            let written = actix_rt::spawn(write_all(writer(write), Feed::new(data.clone(), chunk)));
            let (sink, outcome) = read_all(reader(read)).await;
            assert!(outcome.is_clean() && sink.bytes == data, "{outcome}");
            assert!(within(written).await.expect("no panic").is_clean());
        }
        until(|| fds() == before).await;
    });
}

#[test]
fn an_empty_pipe_whose_writer_has_gone_is_at_its_end() {
    let _one = alone();
    run(async {
        // gone before, and gone while it is waited for
        let (read, write) = fd::pipe().expect("a pipe");
        drop(write);
        let (sink, outcome) = read_all(reader(read)).await;
        assert!(outcome.is_clean() && sink.bytes.is_empty(), "{outcome}");
        let (read, write) = fd::pipe().expect("a pipe");
        let reading = actix_rt::spawn(read_all(reader(read)));
        settle().await;
        drop(write);
        let (sink, outcome) = within(reading).await.expect("no panic");
        assert!(outcome.is_clean() && sink.bytes.is_empty(), "{outcome}");
        // and one with something left in it
        let (read, write) = fd::pipe().expect("a pipe");
        std::fs::File::from(write).write_all(b"left").expect("written");
        assert_eq!(read_all(reader(read)).await.0.bytes, b"left");
    });
}

#[test]
fn a_fifo_by_descriptor_whose_writer_has_gone_is_at_its_end() {
    let _one = alone();
    run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("fifo");
        make_fifo(&path);
        // as a shell gives it: both ends opened, and then the writer goes
        let both = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("opened");
        let read = std::fs::File::open(&path).expect("opened");
        drop(both);
        let (sink, outcome) = read_all(reader(read)).await;
        assert!(outcome.is_clean() && sink.bytes.is_empty(), "{outcome}");
    });
}

#[test]
fn waiting_at_an_empty_pipe_takes_no_processor_time() {
    let _one = alone();
    let spent = || std::fs::read_to_string("/proc/thread-self/schedstat").expect("proc");
    let nanos = |text: String| text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).expect("a number");
    run(async {
        let (read, write) = fd::pipe().expect("a pipe");
        let reading = actix_rt::spawn(read_all(reader(read)));
        settle().await;
        let before = nanos(spent());
        tokio::time::sleep(Duration::from_millis(200)).await;
        let used = nanos(spent()) - before;
        assert!(used < 50_000_000, "{used} ns of 200 ms");
        drop(write);
        assert!(within(reading).await.expect("no panic").1.is_clean());
    });
}

#[test]
fn a4_a_reader_that_has_gone_is_seen_while_nothing_is_written() {
    let _one = alone();
    run(async {
        let (read, write) = fd::pipe().expect("a pipe");
        let (other, keep_open) = fd::pipe().expect("a pipe");
        let stream = fd::from_pair(other, write, StreamSettings::default()).expect("a stream");
        let rig = rig(stream, Silent, Keep::default());
        settle().await;
        drop(read);
        let outcome = within(rig.source).await.1;
        assert!(cause(&outcome).contains("lost pipe: Broken pipe"), "{outcome}");
        assert!(matches!(within(rig.sink).await.1, Outcome::Aborted(_)));
        drop(keep_open);
    });
}

#[test]
fn half_close_of_a_pair_of_pipes_leaves_the_other_open() {
    let _one = alone();
    run(async {
        let before = fds();
        let (to_us, their_write) = fd::pipe().expect("a pipe");
        let (their_read, from_us) = fd::pipe().expect("a pipe");
        let stream = fd::from_pair(to_us, from_us, StreamSettings::default()).expect("a stream");
        let rig = rig(stream, Feed::new("question", 3), Keep::default());
        // our end is seen while the other direction is open
        let asked = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            std::fs::File::from(their_read).read_to_string(&mut text).map(|_| text)
        });
        assert_eq!(within(asked).await.expect("no panic").expect("read"), "question");
        std::fs::File::from(their_write).write_all(b"answer").expect("written");
        let (sink, outcome) = within(rig.sink).await;
        assert!(outcome.is_clean() && sink.expect("the part").bytes == b"answer", "{outcome}");
        assert!(within(rig.stream).await.1.is_clean());
        until(|| fds() == before).await;
    });
}

#[test]
fn a_fifo_writer_waits_for_a_reader_and_a_reader_for_a_writer() {
    let _one = alone();
    run(async {
        let before = fds();
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("fifo");
        make_fifo(&path);
        for reader_first in [true, false] {
            let write =
                || actix_rt::spawn(write_all(fd::fifo(&path, only(Directions::WriteOnly)), Feed::new("through", 2)));
            let read = || actix_rt::spawn(read_all(fd::fifo(&path, StreamSettings::default())));
            let (reading, writing) = if reader_first {
                let reading = read();
                settle().await;
                assert!(!reading.is_finished(), "no end before there was a writer");
                (reading, write())
            } else {
                let writing = write();
                settle().await;
                assert!(!writing.is_finished());
                (read(), writing)
            };
            let (sink, outcome) = within(reading).await.expect("no panic");
            assert!(outcome.is_clean() && sink.bytes == b"through", "{outcome}");
            assert!(within(writing).await.expect("no panic").is_clean());
        }
        until(|| fds() == before).await;
    });
}

#[test]
fn an_inherited_socket_is_what_it_is_and_gets_its_flags_back() {
    let _one = alone();
    run(async {
        let before = fds();
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        // another holds the same open file, as a parent process would
        let shared = ours.try_clone().expect("a twin");
        rustix::fs::fcntl_setfl(&shared, flags(&shared) | OFlags::APPEND).expect("set");
        let at_first = flags(&shared);
        let stream = fd::from_fd(ours.into(), StreamSettings::default()).expect("a stream");
        assert!(flags(&shared).contains(OFlags::NONBLOCK));
        let rig = rig(stream, Feed::new("hello", 1), Keep::default());
        theirs.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        theirs.write_all(b"good day").expect("written");
        theirs.shutdown(std::net::Shutdown::Write).expect("ended");
        assert!(within(rig.stream).await.1.is_clean());
        let mut got = String::new();
        theirs.read_to_string(&mut got).expect("read");
        assert_eq!(got, "hello");
        assert_eq!(within(rig.sink).await.0.expect("the part").bytes, b"good day");
        assert_eq!(flags(&shared), at_first);
        drop((shared, theirs));
        until(|| fds() == before).await;
    });
}

#[test]
fn one_socket_as_both_standard_streams_ends_in_an_orderly_way() {
    let _one = alone();
    run(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let mut theirs = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (ours, _) = listener.accept().expect("accepted");
        let twin = ours.try_clone().expect("a twin");
        let stream = fd::from_pair(ours.into(), twin.into(), StreamSettings::default()).expect("a stream");
        let data = pattern(1_000_000);
        let rig = rig(stream, Feed::new(data.clone(), 65_536), Keep::default());
        theirs.shutdown(std::net::Shutdown::Write).expect("ended");
        let read = tokio::task::spawn_blocking(move || {
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).map(|_| got)
        });
        assert!(within(read).await.expect("no panic").expect("no reset") == data);
        assert!(within(rig.stream).await.1.is_clean());
    });
}

#[test]
fn shared_flags_of_a_pipe_are_left_alone_or_given_back() {
    let _one = alone();
    run(async {
        let (read, write) = fd::pipe().expect("a pipe");
        let (shared_read, shared_write) = (read.try_clone().expect("a twin"), write.try_clone().expect("a twin"));
        let at_first = (flags(&shared_read), flags(&shared_write));
        let written = write_all(writer(write), Feed::new("x", 1)).await;
        assert!(written.is_clean(), "{written}");
        assert_eq!(flags(&shared_write), at_first.1);
        drop(shared_write);
        assert_eq!(read_all(reader(read)).await.0.bytes, b"x");
        assert_eq!(flags(&shared_read), at_first.0);
        // a pipe without a reader cannot be opened anew: its flags are changed, and given back
        let (read, write) = fd::pipe().expect("a pipe");
        drop(read);
        let shared = write.try_clone().expect("a twin");
        rustix::fs::fcntl_setfl(&shared, flags(&shared) | OFlags::APPEND).expect("set");
        let at_first = flags(&shared);
        let outcome = write_all(writer(write), Feed::new("x", 1)).await;
        assert!(cause(&outcome).contains("Broken pipe"), "{outcome}");
        assert_eq!(flags(&shared), at_first);
    });
}

#[test]
fn a_descriptor_that_is_no_stream_is_refused() {
    let _one = alone();
    run(async {
        let datagram = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
        let refused = fd::from_fd(datagram.into(), StreamSettings::default()).expect_err("refused");
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
    });
}
