//! Our agents under the kit, which plays the operating system's side as well; and agents that are broken on purpose.
#![cfg(all(feature = "testkit", unix))]

use bytes::Bytes;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::unix::pipe;
use versile_io::agent::stream::{Stream, StreamSettings};
use versile_io::agent::tcp::{self, TcpOptions};
use versile_io::agent::{fd, file, process, unix};
use versile_io::component::control::Envelope;
use versile_io::component::stock::{Directions, Duplex, HalfClose, Outcome, PartResult, Pull};
use versile_io::component::{Outlet, PairRef};
use versile_io::proto::link::{Count, Credit, Reason, Rule, Window};
use versile_io::testkit::conformance::{self, FarSide};
use versile_io::testkit::{Report, Verdict};

use Rule::*;

/// It conforms, and these rules were really looked at.
fn conforms(report: &Report, judged: &[Rule]) {
    report.assert_conforms();
    assert_eq!(report.held(), judged, "\n{report}");
}

/// Two connected sockets, and a way to have the second reset.
fn sockets() -> (tokio::net::TcpStream, FarSide) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let ours = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    let (theirs, _) = listener.accept().expect("accepted");
    let again = theirs.try_clone().expect("a copy");
    let tokio_of = |stream: TcpStream| {
        stream.set_nonblocking(true).expect("set");
        tokio::net::TcpStream::from_std(stream).expect("registered")
    };
    let far = FarSide::socket(tokio_of(theirs)).tells_unclean();
    let far = far.loses(move || socket2::SockRef::from(&again).set_linger(Some(Duration::ZERO)).expect("set"));
    (tokio_of(ours), far)
}

fn tcp_stream(stream: tokio::net::TcpStream) -> Stream {
    tcp::from_stream(stream, &TcpOptions::default()).expect("a stream")
}

#[test]
fn tcp_conforms() {
    let report = conformance::agent(|| {
        let (ours, far) = sockets();
        (tcp_stream(ours).start().0, far)
    })
    .run();
    conforms(&report, &[P1, P2, P3, P4, P5, P6, C1, C2, C3, E1, E2, A1, A2, A3, A4, X1, M1, M2]);
}

#[test]
fn a_unix_socket_conforms() {
    let report = conformance::agent(|| {
        let (ours, theirs) = tokio::net::UnixStream::pair().expect("a pair");
        (unix::from_stream(ours, &Default::default()).start().0, FarSide::socket(theirs))
    })
    .run();
    conforms(&report, &[P1, P2, P3, P4, P5, P6, C1, C2, C3, E1, E2, A1, A2, A3, A4, X1, M1, M2]);
}

fn only(directions: Directions) -> StreamSettings {
    StreamSettings { directions, ..StreamSettings::default() }
}

#[test]
fn the_reading_end_of_a_pipe_conforms() {
    let report = conformance::agent(|| {
        let (ours, theirs) = fd::pipe().expect("a pipe");
        let far = pipe::Sender::from_owned_fd(theirs).expect("a sender");
        (fd::from_fd(ours, only(Directions::ReadOnly)).expect("a stream").start().0, FarSide::writes(far))
    })
    .run();
    conforms(&report, &[P1, P2, P3, P4, P5, P6, C1, C2, E1, E2, A1, A2, A3, A4, X1, M2]);
}

/// Nobody reads it any more: that is a loss, and it is told without an item to write.
#[test]
fn the_writing_end_of_a_pipe_conforms() {
    let report = conformance::agent(|| {
        let (theirs, ours) = fd::pipe().expect("a pipe");
        let far = pipe::Receiver::from_owned_fd(theirs).expect("a receiver");
        let agent = fd::from_fd(ours, only(Directions::WriteOnly)).expect("a stream");
        (agent.start().0, FarSide::reads(far).loses(|| ()))
    })
    .run();
    conforms(&report, &[P1, P3, P4, P5, P6, C1, C2, C3, E1, E2, A1, A2, A3, A4, X1, M1, M2]);
}

#[test]
fn a_file_that_is_read_conforms() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let content: Vec<u8> = (0..6000_u32).map(|n| (n * 7 % 251) as u8).collect();
    file.write_all(&content).expect("written");
    let report = conformance::agent(move || {
        let agent = file::read(file.path(), Default::default());
        (agent.start().0, FarSide::gives(content.clone()))
    })
    .run();
    conforms(&report, &[P1, P2, P3, P4, P5, P6, C1, C2, E1, E2, A1, A2, A3, A4, X1, M2]);
}

#[test]
fn a_file_that_is_written_conforms() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out");
    let report = conformance::agent(move || {
        let (pair, kept) = (file::write(&path, Default::default()).start().0, path.clone());
        let far = FarSide::keeps(move || {
            let mut all = Vec::new();
            std::fs::File::open(&kept).and_then(|mut file| file.read_to_end(&mut all)).expect("there");
            all
        });
        (pair, far)
    })
    .run();
    drop(folder);
    conforms(&report, &[P1, P3, P4, P5, P6, C1, C2, C3, E2, A1, A2, A3, X1, M1, M2]);
}

#[test]
fn a_process_conforms() {
    let report = conformance::agent(|| {
        let agent = process::program("cat", [] as [&str; 0], Default::default());
        (agent.start().0, FarSide::echo())
    })
    .run();
    conforms(&report, &[P1, P2, P3, P4, P5, P6, C1, C2, C3, E1, E2, A1, A2, A3, X1, M1, M2]);
}

// ---- broken agents

#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    Nothing,
    DoesNotLookForALoss,
    EndsAlwaysClean,
    LosesItsLastItem,
    TellsEveryEndAsUnclean,
    KeepsItsDescriptor,
    SwapsBytes,
    NeverStopsTaking,
}
use Flaw::*;

/// A TCP stream with something wrong around it.
struct Broken {
    stream: Stream,
    flaw: Flaw,
    last: Option<Bytes>,
}

impl Duplex for Broken {
    type Item = Bytes;
    fn poll_open(&mut self, chain: &Outlet<Bytes>, cx: &mut Context<'_>) -> Poll<PartResult> {
        self.stream.poll_open(chain, cx)
    }
    fn poll_pull(&mut self, credit: Credit, cx: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        match self.stream.poll_pull(credit, cx) {
            Poll::Ready(Ok(Pull::End { .. })) if self.flaw == TellsEveryEndAsUnclean => {
                Poll::Ready(Ok(Pull::End { clean: false }))
            }
            Poll::Ready(Ok(Pull::Item(item))) if self.flaw == SwapsBytes => {
                Poll::Ready(Ok(Pull::Item(item.iter().rev().copied().collect())))
            }
            other => other,
        }
    }
    fn consume(&mut self, item: Bytes) -> PartResult {
        match self.flaw {
            LosesItsLastItem => match self.last.replace(item) {
                Some(before) => self.stream.consume(before),
                None => Ok(()),
            },
            _ => self.stream.consume(item),
        }
    }
    fn held(&self) -> Count {
        match self.flaw {
            NeverStopsTaking => Count::ZERO,
            _ => self.stream.held(),
        }
    }
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<PartResult> {
        self.stream.poll_progress(cx)
    }
    fn poll_finish(&mut self, clean: bool, cx: &mut Context<'_>) -> Poll<PartResult> {
        self.stream.poll_finish(clean || self.flaw == EndsAlwaysClean, cx)
    }
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_close(cx)
    }
    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        match self.flaw {
            DoesNotLookForALoss => Poll::Pending,
            _ => self.stream.poll_lost(cx),
        }
    }
    fn breaks_both(&self) -> bool {
        self.stream.breaks_both()
    }
    fn directions(&self) -> Directions {
        self.stream.directions()
    }
    fn half_close(&self) -> HalfClose {
        Duplex::half_close(&self.stream)
    }
    fn window(&self) -> Window {
        self.stream.window()
    }
    fn name(&self) -> Arc<str> {
        Duplex::name(&self.stream)
    }
    fn control(&mut self, envelope: Envelope, chain: &Outlet<Bytes>) -> Option<Envelope> {
        self.stream.control(envelope, chain)
    }
    fn closed(&mut self, outcome: &Outcome) {
        if self.flaw != KeepsItsDescriptor || matches!(outcome, Outcome::Ended { .. }) {
            self.stream.closed(outcome);
        }
    }
}

fn broken(flaw: Flaw) -> Report {
    conformance::agent(move || -> (PairRef<Bytes>, FarSide) {
        let (ours, far) = sockets();
        let broken = Broken { stream: tcp_stream(ours), flaw, last: None };
        let (pair, done) = broken.start();
        if flaw == KeepsItsDescriptor {
            // whoever waits for the part keeps it
            std::mem::forget(done);
        }
        (pair, far)
    })
    .seeds(1)
    .most_held(24 << 20)
    .deadline(Duration::from_secs(4))
    .run()
}

#[test]
fn each_broken_agent_is_caught_by_just_the_rule_it_breaks() {
    broken(Nothing).assert_conforms();
    let cases = [
        (DoesNotLookForALoss, A4),
        (EndsAlwaysClean, E1),
        (LosesItsLastItem, E2),
        (TellsEveryEndAsUnclean, E1),
        (KeepsItsDescriptor, M2),
        (SwapsBytes, P6),
        (NeverStopsTaking, M1),
    ];
    // most of the time is waiting for what never comes, so all wait at once
    let runs = cases.map(|(flaw, rule)| (flaw, rule, std::thread::spawn(move || broken(flaw))));
    let misjudged: Vec<_> = runs
        .into_iter()
        .filter_map(|(flaw, rule, run)| {
            let report = run.join().expect("no panic");
            (report.broken() != [rule]).then(|| format!("{flaw:?} breaks {rule}, and the kit says\n{report}"))
        })
        .collect();
    assert!(misjudged.is_empty(), "{} of {}\n{}", misjudged.len(), cases.len(), misjudged.join("\n"));
}

/// What cannot be seen from outside is said with its reason, and not as held.
#[test]
fn turns_are_left_to_the_kit_for_sources_and_sinks() {
    let report = broken(Nothing);
    let verdict = report.verdicts().iter().find(|(rule, _)| *rule == F1).map(|(_, verdict)| verdict.clone());
    assert!(matches!(verdict, Some(Verdict::CannotTest(_))), "{verdict:?}");
}
