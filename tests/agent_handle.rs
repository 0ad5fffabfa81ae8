//! A descriptor under `HandleDriver`: ends, errors and hang-ups reach the right close hook once; nothing stalls or spins.
#![cfg(unix)]

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Arbiter, Message};
use versile_io::agent::handle::{
    ByteHandle, CloseHandle, CloseReason, Completion, HandleContext, HandleDriver, Hook, Interest, Next, Outcome,
    Resume, Resumer, TURN_CALLS, set_nonblocking,
};

type Log = Arc<Mutex<Vec<String>>>;
type Call<F> = Box<dyn FnMut(&mut F, &mut HandleContext<'_>) -> io::Result<Next> + Send>;

/// A handle made of closures that writes down which close hooks were called.
struct Probe<F> {
    file: F,
    directions: Interest,
    interest: Arc<Mutex<Interest>>,
    read: Call<F>,
    write: Call<F>,
    log: Log,
    panic_in: &'static str,
}

impl<F: AsFd + Unpin + 'static> Probe<F> {
    fn new(file: F, directions: Interest) -> Self {
        set_nonblocking(file.as_fd(), true).expect("set");
        Self {
            file,
            directions,
            interest: Arc::new(Mutex::new(directions)),
            read: Box::new(|_, _| panic!("no read expected")),
            write: Box::new(|_, _| panic!("no write expected")),
            log: Log::default(),
            panic_in: "",
        }
    }

    fn reading(
        mut self,
        read: impl FnMut(&mut F, &mut HandleContext<'_>) -> io::Result<Next> + Send + 'static,
    ) -> Self {
        self.read = Box::new(read);
        self
    }

    fn writing(
        mut self,
        write: impl FnMut(&mut F, &mut HandleContext<'_>) -> io::Result<Next> + Send + 'static,
    ) -> Self {
        self.write = Box::new(write);
        self
    }

    fn wanting(self, interest: Interest) -> Self {
        *self.interest.lock().expect("lock") = interest;
        self
    }

    fn panicking_in(mut self, hook: &'static str) -> Self {
        self.panic_in = hook;
        self
    }

    fn note(&self, hook: &'static str, reason: &CloseReason) {
        self.log.lock().expect("lock").push(format!("{hook}: {reason}"));
        assert_ne!(self.panic_in, hook, "as told");
    }
}

impl<F: AsFd + Unpin + 'static> ByteHandle for Probe<F> {
    fn raw_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
    fn directions(&self) -> Interest {
        self.directions
    }
    fn interest(&self) -> Interest {
        assert_ne!(self.panic_in, "interest", "as told");
        *self.interest.lock().expect("lock")
    }
    fn do_read(&mut self, cx: &mut HandleContext<'_>) -> io::Result<Next> {
        (self.read)(&mut self.file, cx)
    }
    fn do_write(&mut self, cx: &mut HandleContext<'_>) -> io::Result<Next> {
        (self.write)(&mut self.file, cx)
    }
    fn close_input(&mut self, reason: &CloseReason) {
        self.note("input", reason);
    }
    fn close_output(&mut self, reason: &CloseReason) {
        self.note("output", reason);
    }
    fn close_io(&mut self, reason: &CloseReason, _: Interest) {
        self.note("io", reason);
    }
}

/// Reads at most `chunk` bytes a call into `data`, and answers `Wait` until the end.
fn collect<F: Read>(data: &Arc<Mutex<Vec<u8>>>, chunk: usize) -> Call<F> {
    let data = Arc::clone(data);
    Box::new(move |file, _| {
        let mut buffer = vec![0; chunk];
        let count = file.read(&mut buffer)?;
        data.lock().expect("lock").extend_from_slice(&buffer[..count]);
        Ok(if count == 0 { Next::Done } else { Next::Wait })
    })
}

async fn outcome(completion: Completion) -> Outcome {
    tokio::time::timeout(Duration::from_secs(20), completion).await.expect("the handle ends in time")
}

fn hooks(log: &Log) -> Vec<String> {
    log.lock().expect("lock").clone()
}

/// Lets everything that is ready on this arbiter run.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let one = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    (one, listener.accept().expect("accepted").0)
}

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger");
    drop(stream);
}

fn pipe_reader(chunk: usize) -> (Probe<PipeReader>, PipeWriter, Arc<Mutex<Vec<u8>>>) {
    let (reader, writer) = io::pipe().expect("a pipe");
    let data = Arc::default();
    let read = collect(&data, chunk);
    (Probe::new(reader, Interest::READ).reading(read), writer, data)
}

#[actix_rt::test]
async fn a_pipe_is_read_to_its_end_and_closed_once() {
    let (probe, mut writer, data) = pipe_reader(64);
    let log = Arc::clone(&probe.log);
    let (_addr, completion) = HandleDriver::start(probe);
    writer.write_all(b"hello").expect("written");
    settle().await;
    drop(writer);
    let outcome = outcome(completion).await;
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!(*data.lock().expect("lock"), b"hello");
    assert_eq!(hooks(&log), ["input: finished"]);
    assert!(outcome.reads <= 3, "{outcome:?}");
}

#[actix_rt::test]
async fn the_end_of_an_empty_pipe_takes_one_call() {
    let (probe, writer, _) = pipe_reader(64);
    let (_addr, completion) = HandleDriver::start(probe);
    settle().await;
    drop(writer);
    let outcome = outcome(completion).await;
    assert!(outcome.is_clean());
    assert_eq!(outcome.reads, 1);
}

#[actix_rt::test]
async fn a_handle_that_waits_on_after_the_end_does_not_spin() {
    tokio::time::pause();
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(writer);
    let probe = Probe::new(reader, Interest::READ).reading(|file, _| {
        assert_eq!(file.read(&mut [0; 8])?, 0);
        Ok(Next::Wait)
    });
    let (addr, completion) = HandleDriver::start(probe);
    tokio::time::sleep(Duration::from_secs(2)).await;
    addr.do_send(CloseHandle);
    let reads = outcome(completion).await.reads;
    assert!((20..=45).contains(&reads), "{reads} calls in two seconds");
}

#[actix_rt::test]
async fn wait_with_something_left_is_called_again() {
    let (probe, mut writer, data) = pipe_reader(1);
    writer.write_all(&[7; 1000]).expect("written");
    let (_addr, completion) = HandleDriver::start(probe);
    settle().await;
    drop(writer);
    assert!(outcome(completion).await.is_clean());
    assert_eq!(data.lock().expect("lock").len(), 1000);
}

#[actix_rt::test]
async fn would_block_is_retried_when_there_is_room() {
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let mut left = 300_000;
    let probe = Probe::new(writer, Interest::WRITE).writing(move |file, _| {
        let count = file.write(&vec![1; left.min(10_000)])?;
        left -= count;
        Ok(if left == 0 { Next::Done } else { Next::Again })
    });
    let (_addr, completion) = HandleDriver::start(probe);
    let received = tokio::task::spawn_blocking(move || reader.read_to_end(&mut Vec::new()));
    let outcome = outcome(completion).await;
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!(received.await.expect("joined").expect("read"), 300_000);
}

#[actix_rt::test]
async fn would_block_while_ready_is_tried_again_without_an_event() {
    let (probe, mut writer, data) = pipe_reader(64);
    let (mut refusals, mut read) = (3, collect(&data, 64));
    let probe = probe.reading(move |file, cx| {
        if refusals > 0 {
            refusals -= 1;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let _ = read(file, cx)?;
        Ok(Next::Done)
    });
    writer.write_all(b"x").expect("written");
    let (_addr, completion) = HandleDriver::start(probe);
    assert!(outcome(completion).await.is_clean());
    assert_eq!(*data.lock().expect("lock"), b"x");
}

#[actix_rt::test]
async fn an_interrupted_call_is_repeated() {
    let (probe, writer, data) = pipe_reader(64);
    let (mut interrupts, mut read) = (2, collect(&data, 64));
    let probe = probe.reading(move |file, cx| {
        if interrupts > 0 {
            interrupts -= 1;
            return Err(io::ErrorKind::Interrupted.into());
        }
        read(file, cx)
    });
    drop(writer);
    let (_addr, completion) = HandleDriver::start(probe);
    let outcome = outcome(completion).await;
    assert!(outcome.is_clean());
    assert_eq!(outcome.reads, 3);
}

#[actix_rt::test]
async fn a_reset_socket_is_told_close_io_once() {
    for interest in [Interest::BOTH, Interest::READ, Interest::NONE] {
        let (here, there) = tcp_pair();
        let data = Arc::default();
        let probe = Probe::new(here, Interest::BOTH)
            .wanting(interest)
            .reading(collect(&data, 64))
            .writing(|_, _| Ok(Next::Pause));
        let log = Arc::clone(&probe.log);
        let (_addr, completion) = HandleDriver::start(probe);
        settle().await;
        reset(there);
        let outcome = outcome(completion).await;
        let hooks = hooks(&log);
        assert_eq!(hooks.len(), 1, "{interest}: {hooks:?}");
        assert!(hooks[0].starts_with("io: ") && hooks[0].contains("reset"), "{interest}: {hooks:?}");
        assert!(!outcome.is_clean() && outcome.reads <= 1, "{interest}: {outcome:?}");
    }
}

#[actix_rt::test]
async fn a_reset_before_registration_is_seen() {
    let (here, there) = tcp_pair();
    reset(there);
    let probe = Probe::new(here, Interest::BOTH).wanting(Interest::NONE);
    let (_addr, completion) = HandleDriver::start(probe);
    let outcome = outcome(completion).await;
    let kind = outcome.input.as_ref().and_then(CloseReason::io_error).map(io::Error::kind);
    assert_eq!(kind, Some(io::ErrorKind::ConnectionReset));
}

#[actix_rt::test]
async fn a_failed_write_closes_the_output_alone() {
    let (here, there) = UnixStream::pair().expect("a pair");
    let data = Arc::default();
    let probe =
        Probe::new(here, Interest::BOTH).reading(collect(&data, 64)).writing(|_, _| Err(io::Error::other("no paper")));
    let log = Arc::clone(&probe.log);
    let (_addr, completion) = HandleDriver::start(probe);
    settle().await;
    (&there).write_all(b"still here").expect("written");
    there.shutdown(std::net::Shutdown::Write).expect("shut");
    let outcome = outcome(completion).await;
    assert_eq!(hooks(&log), ["output: input or output failed: no paper", "input: finished"]);
    assert_eq!(*data.lock().expect("lock"), b"still here");
    assert_eq!(outcome.writes, 1);
}

#[actix_rt::test]
async fn a_paused_reader_sees_a_hang_up_with_nothing_unread() {
    let (probe, writer, _) = pipe_reader(64);
    let probe = probe.wanting(Interest::NONE);
    let log = Arc::clone(&probe.log);
    let (_addr, completion) = HandleDriver::start(probe);
    settle().await;
    drop(writer);
    assert!(outcome(completion).await.is_clean());
    assert_eq!(hooks(&log), ["input: the other side hung up"]);
}

#[actix_rt::test]
async fn a_paused_reader_keeps_what_was_sent_before_the_hang_up() {
    let (probe, mut writer, data) = pipe_reader(64);
    let mut read = collect(&data, 64);
    let mut first = true;
    let probe =
        probe.reading(move |file, cx| if std::mem::take(&mut first) { Ok(Next::Pause) } else { read(file, cx) });
    let log = Arc::clone(&probe.log);
    writer.write_all(b"last words").expect("written");
    let (addr, completion) = HandleDriver::start(probe);
    settle().await;
    drop(writer);
    settle().await;
    assert!(hooks(&log).is_empty());
    addr.do_send(Resume(Interest::READ));
    let outcome = outcome(completion).await;
    assert!(outcome.is_clean());
    assert_eq!(*data.lock().expect("lock"), b"last words");
    assert_eq!(hooks(&log), ["input: finished"]);
}

#[actix_rt::test]
async fn a_paused_writer_sees_its_reader_go() {
    let (reader, writer) = io::pipe().expect("a pipe");
    let probe = Probe::new(writer, Interest::WRITE).writing(|_, _| Ok(Next::Pause));
    let log = Arc::clone(&probe.log);
    let (_addr, completion) = HandleDriver::start(probe);
    settle().await;
    drop(reader);
    let outcome = outcome(completion).await;
    assert_eq!(outcome.writes, 1);
    assert_eq!(hooks(&log), ["output: input or output failed: broken pipe"]);
}

#[actix_rt::test]
async fn a_paused_two_way_socket_sees_its_peer_go() {
    let (here, there) = UnixStream::pair().expect("a pair");
    let probe = Probe::new(here, Interest::BOTH).wanting(Interest::NONE);
    let log = Arc::clone(&probe.log);
    let (_addr, completion) = HandleDriver::start(probe);
    settle().await;
    drop(there);
    outcome(completion).await;
    assert_eq!(hooks(&log), ["io: the other side hung up"]);
}

#[actix_rt::test]
async fn another_thread_resumes_a_paused_handle() {
    let (probe, mut writer, _) = pipe_reader(64);
    let (tell, told) = std::sync::mpsc::channel::<Resumer>();
    let mut left = 3;
    let probe = probe.reading(move |file, cx| {
        left -= file.read(&mut [0; 1])?;
        tell.send(cx.resumer()).expect("told");
        Ok(if left == 0 { Next::Done } else { Next::Pause })
    });
    writer.write_all(b"abc").expect("written");
    let (_addr, completion) = HandleDriver::start(probe);
    std::thread::spawn(move || told.iter().for_each(|resumer| resumer.resume(Interest::READ)));
    let outcome = outcome(completion).await;
    assert!(outcome.is_clean());
    assert_eq!(outcome.reads, 3);
}

#[actix_rt::test]
async fn a_changed_interest_is_seen_after_a_resume() {
    let (probe, mut writer, data) = pipe_reader(64);
    let probe = probe.wanting(Interest::NONE);
    let interest = Arc::clone(&probe.interest);
    writer.write_all(b"abc").expect("written");
    let (addr, completion) = HandleDriver::start(probe);
    settle().await;
    assert!(data.lock().expect("lock").is_empty());
    *interest.lock().expect("lock") = Interest::READ;
    addr.do_send(Resume(Interest::NONE));
    drop(writer);
    assert!(outcome(completion).await.is_clean());
    assert_eq!(*data.lock().expect("lock"), b"abc");
}

#[actix_rt::test]
async fn a_panic_ends_its_own_driver_and_no_other() {
    let (other, mut other_writer, other_data) = pipe_reader(64);
    let (_other, other_completion) = HandleDriver::start(other);

    let (here, _there) = UnixStream::pair().expect("a pair");
    let probe = Probe::new(here, Interest::BOTH).wanting(Interest::WRITE).writing(|_, _| panic!("ouch"));
    let log = Arc::clone(&probe.log);
    let (_addr, completion) = HandleDriver::start(probe);
    let ended = outcome(completion).await;
    assert_eq!(hooks(&log), ["io: hook do_write panicked: ouch"]);
    assert!(matches!(ended.input, Some(CloseReason::Panicked { hook: Hook::Write, .. })), "{ended:?}");

    other_writer.write_all(b"alive").expect("written");
    drop(other_writer);
    assert!(outcome(other_completion).await.is_clean());
    assert_eq!(*other_data.lock().expect("lock"), b"alive");
}

#[actix_rt::test]
async fn a_panic_in_a_close_hook_is_contained() {
    for (hook, expected) in [("input", Hook::CloseInput), ("io", Hook::CloseIo), ("interest", Hook::Query)] {
        let (probe, writer, _) = pipe_reader(64);
        let probe = probe.panicking_in(hook);
        let log = Arc::clone(&probe.log);
        let (addr, completion) = HandleDriver::start(probe);
        if hook == "io" {
            addr.do_send(CloseHandle);
        }
        drop(writer);
        let outcome = outcome(completion).await;
        assert!(!outcome.is_clean());
        assert!(matches!(outcome.panic, Some(CloseReason::Panicked { hook, .. }) if hook == expected), "{outcome:?}");
        assert_eq!(hooks(&log).len(), 1, "{:?}", hooks(&log));
    }
}

#[actix_rt::test]
async fn a_regular_file_is_always_ready_and_lets_others_run() {
    let file = tempfile::tempfile().expect("a file");
    let mut check: File = file.try_clone().expect("a duplicate");
    let turns = Arc::new(Mutex::new(0_u32));
    let (mut left, seen) = (100, Arc::clone(&turns));
    let mut longest = 0;
    let mut last = (0, 0);
    let worst = Arc::new(Mutex::new(0_u32));
    let tell = Arc::clone(&worst);
    let probe = Probe::new(file, Interest::WRITE).writing(move |file, cx| {
        assert!(cx.calls_left() < TURN_CALLS);
        file.write_all(b"line\n")?;
        let turn = *seen.lock().expect("lock");
        last = if last.0 == turn { (turn, last.1 + 1) } else { (turn, 1) };
        longest = last.1.max(longest);
        *tell.lock().expect("lock") = longest;
        left -= 1;
        Ok(if left == 0 { Next::Done } else { Next::Wait })
    });
    let other = actix_rt::spawn(async move {
        loop {
            *turns.lock().expect("lock") += 1;
            tokio::task::yield_now().await;
        }
    });
    let (_addr, completion) = HandleDriver::start(probe);
    let outcome = outcome(completion).await;
    other.abort();
    assert!(outcome.is_clean() && outcome.writes == 100, "{outcome:?}");
    assert!(*worst.lock().expect("lock") <= 2, "others ran after each call");
    check.rewind().expect("rewound");
    assert_eq!(check.read_to_end(&mut Vec::new()).expect("read"), 500);
}

#[actix_rt::test]
async fn a_handle_that_never_waits_is_bounded_per_turn_and_can_be_closed() {
    let (_reader, writer) = io::pipe().expect("a pipe");
    let probe = Probe::new(writer, Interest::WRITE).writing(|_, _| Ok(Next::Again));
    let log = Arc::clone(&probe.log);
    let (addr, completion) = HandleDriver::start(probe);
    settle().await;
    addr.do_send(CloseHandle);
    outcome(completion).await;
    assert_eq!(hooks(&log), ["io: closed on request"]);
}

/// A named pipe in a directory of its own, and its reading end.
fn named_pipe() -> (tempfile::TempDir, std::path::PathBuf, File) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("a fifo");
    let open = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    let reader = File::from(rustix::fs::open(&path, open, rustix::fs::Mode::empty()).expect("opened"));
    (dir, path, reader)
}

#[actix_rt::test]
async fn a_new_writer_of_a_named_pipe_ends_the_polling_for_one() {
    tokio::time::pause();
    let (_dir, path, reader) = named_pipe();
    let calls = Arc::new(Mutex::new(0));
    let count = Arc::clone(&calls);
    let probe = Probe::new(reader, Interest::READ).reading(move |file, _| {
        *count.lock().expect("lock") += 1;
        file.read(&mut [0; 8]).map(|_| Next::Wait)
    });
    let writer = || File::options().write(true).open(&path).expect("opened");
    let (addr, completion) = HandleDriver::start(probe);
    settle().await;
    drop(writer());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(*calls.lock().expect("lock") > 5, "polls while there is none");
    let _writer = writer();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = *calls.lock().expect("lock");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(*calls.lock().expect("lock"), before);
    addr.do_send(CloseHandle);
    outcome(completion).await;
}

#[actix_rt::test]
async fn the_error_of_a_datagram_is_left_to_the_handle() {
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound").local_addr().expect("an address");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
    socket.connect(nobody).expect("connected");
    let sender = socket.try_clone().expect("a duplicate");
    let probe = Probe::new(socket, Interest::BOTH).wanting(Interest::NONE).reading(|socket, _| {
        assert_eq!(socket.recv(&mut [0; 8]).expect_err("refused").kind(), io::ErrorKind::ConnectionRefused);
        Ok(Next::Done)
    });
    let (log, interest) = (Arc::clone(&probe.log), Arc::clone(&probe.interest));
    let (addr, completion) = HandleDriver::start(probe);
    settle().await;
    sender.send(b"hello").expect("sent");
    settle().await;
    assert!(hooks(&log).is_empty(), "{:?}", hooks(&log));
    *interest.lock().expect("lock") = Interest::READ;
    addr.do_send(Resume(Interest::READ));
    settle().await;
    addr.do_send(CloseHandle);
    outcome(completion).await;
    assert_eq!(hooks(&log), ["input: finished", "io: closed on request"]);
}

#[actix_rt::test]
async fn a_named_pipe_that_gets_a_new_writer_goes_on() {
    let (_dir, path, reader) = named_pipe();
    let data: Arc<Mutex<Vec<u8>>> = Arc::default();
    let kept = Arc::clone(&data);
    let probe = Probe::new(reader, Interest::READ).reading(move |file, _| {
        let mut buffer = [0; 64];
        let count = file.read(&mut buffer)?;
        let mut data = kept.lock().expect("lock");
        data.extend_from_slice(&buffer[..count]);
        Ok(if data.len() >= 6 { Next::Done } else { Next::Wait })
    });
    let (_addr, completion) = HandleDriver::start(probe);
    for word in [b"one", b"two"] {
        let mut writer = File::options().write(true).open(&path).expect("opened");
        settle().await;
        writer.write_all(word).expect("written");
        drop(writer);
        settle().await;
    }
    assert!(outcome(completion).await.is_clean());
    assert_eq!(*data.lock().expect("lock"), b"onetwo");
}

/// Closes its socket in the hook and looks at once whether the other side has seen it.
struct ClosesItself {
    here: Option<UnixStream>,
    there: UnixStream,
    seen: Arc<Mutex<Option<usize>>>,
}

impl ByteHandle for ClosesItself {
    fn raw_fd(&self) -> BorrowedFd<'_> {
        self.here.as_ref().expect("open").as_fd()
    }
    fn directions(&self) -> Interest {
        Interest::READ
    }
    fn close_input(&mut self, _: &CloseReason) {
        self.here = None;
        *self.seen.lock().expect("lock") = self.there.read(&mut [0; 1]).ok();
    }
}

#[actix_rt::test]
async fn what_a_close_hook_closes_is_closed_at_once() {
    let (here, there) = UnixStream::pair().expect("a pair");
    there.set_nonblocking(true).expect("set");
    let seen = Arc::default();
    let handle = ClosesItself { here: Some(here), there, seen: Arc::clone(&seen) };
    let (addr, completion) = HandleDriver::start(handle);
    settle().await;
    addr.do_send(CloseHandle);
    assert!(matches!(outcome(completion).await.input, Some(CloseReason::Requested)));
    assert_eq!(*seen.lock().expect("lock"), Some(0), "the end is seen inside of the hook");
}

#[actix_rt::test]
async fn a_handle_that_changes_its_descriptor_is_closed() {
    let (probe, mut writer, _) = pipe_reader(64);
    let (spare, _spare_writer) = io::pipe().expect("a pipe");
    let mut spare = Some(spare);
    let probe = probe.reading(move |file, _| {
        *file = spare.take().expect("called once");
        Ok(Next::Wait)
    });
    writer.write_all(b"x").expect("written");
    let (_addr, completion) = HandleDriver::start(probe);
    let outcome = outcome(completion).await;
    let kind = outcome.input.as_ref().and_then(CloseReason::io_error).map(io::Error::kind);
    assert_eq!(kind, Some(io::ErrorKind::InvalidInput));
}

#[actix_rt::test]
async fn the_end_of_an_arbiter_closes_once_and_a_dead_one_closes_at_once() {
    let arbiter = Arbiter::new();
    let (probe, _writer, _) = pipe_reader(64);
    let log = Arc::clone(&probe.log);
    let (_addr, completion) = HandleDriver::start_on(&arbiter.handle(), probe);
    let handle = arbiter.handle();
    settle().await;
    arbiter.stop();
    assert!(matches!(outcome(completion).await.input, Some(CloseReason::Stopped)));
    assert_eq!(hooks(&log), ["io: the driver was stopped"]);
    arbiter.join().expect("joined");

    let (probe, _writer, _) = pipe_reader(64);
    let log = Arc::clone(&probe.log);
    let (_addr, completion) = HandleDriver::start_on(&handle, probe);
    assert!(matches!(outcome(completion).await.input, Some(CloseReason::Stopped)));
    assert_eq!(hooks(&log).len(), 1);
}

#[test]
fn messages_can_cross_threads() {
    fn check<T: Message + Send + 'static>() {}
    check::<Resume>();
    check::<CloseHandle>();
}
