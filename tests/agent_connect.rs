//! Connecting: who is asked, who is told and when, options, errors that name the peer; pairs and Unix names.

use actix::prelude::*;
use bytes::Bytes;
use socket2::SockRef;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use versile_io::agent::listener::{self, ListenOptions};
use versile_io::agent::resolve::Preference;
use versile_io::agent::stream::Stream;
use versile_io::agent::tcp::{self, TcpOptions};
use versile_io::agent::unix::{self, UnixOptions};
use versile_io::component::control::{CanConnect, ControlError, Envelope, RequestProducerState};
use versile_io::component::peer::UnixName;
use versile_io::component::stock::{Duplex, Sink};
use versile_io::component::{AddrExt, ComponentInfo, Inlet, InletEvent, Peer, join, join_pair};
use versile_io::proto::link::Reason;

#[path = "support/agent.rs"]
mod support;
use support::*;

async fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let at = listener.local_addr().expect("bound");
    (listener, at)
}

fn connect(at: SocketAddr) -> Stream {
    tcp::connect(at.ip().to_string(), at.port(), TcpOptions::default())
}

#[test]
fn nothing_is_connected_before_something_is_wanted() {
    run(async {
        let (listener, at) = server().await;
        let (pair, _done) = connect(at).start();
        settle().await;
        let waits = tokio::time::timeout(Duration::from_millis(20), listener.accept()).await;
        assert!(waits.is_err(), "nobody has wanted anything");
        let (inlet, _sink) = Keep::default().start();
        join(&pair.outlet, &inlet, None);
        within(listener.accept()).await.expect("accepted");
    });
}

#[test]
fn the_consumer_is_asked_and_told_once_connected() {
    run(async {
        let (listener, at) = server().await;
        let sink = Keep::answering(Answer::Yes);
        let heard = sink.heard.clone();
        let rig = rig(connect(at), Silent, sink);
        let (_conn, _) = within(listener.accept()).await.expect("accepted");
        until(|| !heard.borrow().connected.is_empty()).await;
        settle().await;
        let peer = Peer::tcp(at).with_requested(at.ip().to_string(), at.port());
        assert_eq!(heard.borrow().asked, std::slice::from_ref(&peer));
        assert_eq!(heard.borrow().connected, [peer], "once");
        drop(rig);
    });
}

#[test]
fn a_missing_handler_lets_it_connect() {
    run(async {
        let (listener, at) = server().await;
        let _rig = rig(connect(at), Silent, Keep::default());
        within(listener.accept()).await.expect("accepted");
    });
}

#[test]
fn a_no_and_a_dropped_question_fail_closed() {
    run(async {
        for answer in [Answer::No, Answer::Drop] {
            let (listener, at) = server().await;
            let sink = Keep::answering(answer);
            let heard = sink.heard.clone();
            let rig = rig(connect(at), Silent, sink);
            for outcome in [within(rig.stream).await.1, within(rig.source).await.1, within(rig.sink).await.1] {
                let text = cause(&outcome);
                assert!(text.contains("refused") && text.contains(&at.to_string()), "{answer:?}: {text}");
            }
            assert!(heard.borrow().connected.is_empty());
            let waits = tokio::time::timeout(Duration::from_millis(20), listener.accept()).await;
            assert!(waits.is_err(), "no connection was made");
        }
    });
}

#[test]
fn no_answer_in_time_fails_closed() {
    let system = actix::System::new();
    system.block_on(async {
        let (_listener, at) = server().await;
        // longer than the wait for an answer
        let options = TcpOptions { connect_timeout: Duration::from_secs(100), ..TcpOptions::default() };
        let sink = Keep::answering(Answer::Never);
        let heard = sink.heard.clone();
        let rig = rig(tcp::connect(at.ip().to_string(), at.port(), options), Silent, sink);
        until(|| !heard.borrow().asked.is_empty()).await;
        tokio::time::pause();
        let (_, outcome) = rig.stream.await;
        tokio::time::resume();
        let text = cause(&outcome);
        assert!(text.contains("refused") && text.contains("no answer within"), "{text}");
    });
}

#[test]
fn a_time_out_is_told_as_one() {
    run(async {
        let listener = TcpSocket::new_v4().expect("a socket");
        listener.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
        let listener = listener.listen(0).expect("listens");
        let at = listener.local_addr().expect("bound");
        let fill: Vec<_> = (0..4).map(|_| actix_rt::spawn(TcpStream::connect(at))).collect();
        settle().await;
        let limit = Duration::from_millis(60);
        let options = TcpOptions { connect_timeout: limit, ..TcpOptions::default() };
        let rig = rig(tcp::connect("127.0.0.1", at.port(), options), Silent, Keep::default());
        let outcome = within(rig.source).await.1;
        assert!(cause(&outcome).contains("timed out after 60ms waiting for connect tcp 127.0.0.1"), "{outcome}");
        drop(fill);
    });
}

#[test]
fn a_refused_connection_aborts_with_an_io_reason_that_names_the_peer() {
    run(async {
        let (listener, at) = server().await;
        drop(listener);
        let before = fds();
        let sink = Keep::default();
        let heard = sink.heard.clone();
        let rig = rig(connect(at), Silent, sink);
        for outcome in [within(rig.stream).await.1, within(rig.source).await.1, within(rig.sink).await.1] {
            let versile_io::component::stock::Outcome::Aborted(cause) = outcome else { panic!("{outcome}") };
            let Reason::Io { action, error } = &cause.reason else { panic!("{cause}") };
            assert!(action.contains(&format!("connect tcp 127.0.0.1:{}", at.port())), "{action}");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        }
        assert!(heard.borrow().connected.is_empty(), "never connected");
        // other tests of this binary have descriptors of their own: no more than a bound
        assert!(fds() <= before + 200);
    });
}

#[test]
fn a_host_without_an_address_of_the_wanted_family_is_told_so() {
    run(async {
        let options = TcpOptions { preference: Preference::Ipv6Only, ..TcpOptions::default() };
        let rig = rig(tcp::connect("127.0.0.1", 9, options), Silent, Keep::default());
        let outcome = within(rig.source).await.1;
        assert!(cause(&outcome).contains("has no address to use"), "{outcome}");
    });
}

#[test]
fn a_connection_used_in_one_direction_only_tells_its_error_there() {
    run(async {
        let (listener, at) = server().await;
        drop(listener);
        let (_, outcome) = read_all(connect(at)).await;
        assert!(cause(&outcome).contains("refused"), "{outcome}");
        let outcome = write_all(connect(at), Feed::new("x", 1)).await;
        assert!(cause(&outcome).contains("refused"), "{outcome}");
    });
}

#[test]
fn options_take_effect_on_both_sides() {
    run(async {
        let options = TcpOptions {
            nodelay: true,
            keep_alive: Some(Duration::from_secs(77)),
            send_buffer: Some(70_000),
            receive_buffer: Some(50_000),
            ..TcpOptions::default()
        };
        let (listener, at) = server().await;
        let ours = TcpStream::connect(at).await.expect("connected");
        let (mut theirs, _) = listener.accept().await.expect("accepted");
        let twin = SockRef::from(&ours).try_clone().expect("a twin");
        let stream = tcp::from_stream(ours, &options).expect("a stream");
        assert!(twin.tcp_nodelay().expect("read"));
        assert!(twin.keepalive().expect("read"));
        assert_eq!(twin.tcp_keepalive_time().expect("read"), Duration::from_secs(77));
        // Linux doubles what is asked for
        assert_eq!(twin.send_buffer_size().expect("read"), 140_000);
        assert_eq!(twin.recv_buffer_size().expect("read"), 100_000);
        drop(twin);
        theirs.shutdown().await.expect("ended");
        assert!(read_all(stream).await.1.is_clean());
    });
}

#[test]
fn bind_chooses_our_own_address() {
    run(async {
        let (listener, at) = server().await;
        let local: SocketAddr = "127.0.0.7:0".parse().expect("an address");
        let options = TcpOptions { bind: Some(local), ..TcpOptions::default() };
        let rig = rig(tcp::connect("127.0.0.1", at.port(), options), Silent, Keep::default());
        let (conn, from) = within(listener.accept()).await.expect("accepted");
        assert_eq!(from.ip(), local.ip());
        drop((conn, rig));
    });
}

#[test]
fn a_unix_pair_carries_both_ways() {
    run(async {
        let (a, b) = unix::pair(&UnixOptions::default()).expect("a pair");
        let data = pattern(1_000_000);
        let left = rig(a, Feed::new(data.clone(), 4_099), Keep::default());
        let right = rig(b, Feed::new("short", 2), Keep::default());
        assert_eq!(within(left.sink).await.0.expect("the part").bytes, b"short");
        let (sink, outcome) = within(right.sink).await;
        assert!(outcome.is_clean() && sink.expect("the part").bytes == data);
    });
}

/// Echoes what comes to a Unix listener, and tells how its peers are called.
fn echo(name: UnixName, options: ListenOptions) -> versile_io::agent::listener::Listening {
    listener::unix(name, options).expect("bound").start(|accepted| {
        let Ok(stream) = accepted.into_stream(&TcpOptions::default()) else { return };
        let (pair, _) = stream.start();
        join_pair(&pair, &pair, None);
    })
}

#[test]
fn unix_names_of_both_kinds_can_be_listened_on_and_connected_to() {
    run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let abstract_name = UnixName::Abstract(format!("versile-io-test-{}", std::process::id()).into_bytes());
        for name in [UnixName::Path(path.clone()), abstract_name] {
            let options = ListenOptions { mode: Some(0o600), ..ListenOptions::default() };
            let listening = echo(name.clone(), options);
            assert_eq!(listening.local(), &Peer::Unix(name.clone()));
            if let UnixName::Path(path) = &name {
                let mode = std::fs::metadata(path).expect("there").permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
            let sink = Keep::answering(Answer::Yes);
            let heard = sink.heard.clone();
            let rig = rig(unix::connect(name.clone(), UnixOptions::default()), Feed::new("echo", 3), sink);
            let (sink, outcome) = within(rig.sink).await;
            assert!(outcome.is_clean(), "{outcome}");
            assert_eq!(sink.expect("the part").bytes, b"echo");
            assert_eq!(heard.borrow().asked, [Peer::Unix(name.clone())]);
            assert_eq!(heard.borrow().connected, [Peer::Unix(name.clone())]);
            within(listening.stop()).await;
            let outcome = write_all(unix::connect(name, UnixOptions::default()), Feed::new("x", 1)).await;
            assert!(cause(&outcome).contains("connect unix"), "{outcome}");
        }
        assert!(!path.exists(), "the file goes with the listener");
    });
}

#[test]
fn a_stale_file_is_replaced_on_request_and_a_live_one_never() {
    run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        let name = UnixName::Path(path.clone());
        let unlink = ListenOptions { unlink: true, ..ListenOptions::default() };
        let kind = |bound: std::io::Result<listener::Bound>| bound.err().map(|e| e.kind());
        let in_use = Some(std::io::ErrorKind::AddrInUse);
        assert_eq!(kind(listener::unix(name.clone(), ListenOptions::default())), in_use);
        let live = listener::unix(name.clone(), ListenOptions { backlog: 0, ..unlink.clone() }).expect("replaced");
        // also with a backlog that is full
        let fill: Vec<_> = (0..4)
            .map(|_| {
                let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM.nonblocking(), None);
                let socket = socket.expect("a socket");
                let _ = socket.connect(&socket2::SockAddr::unix(&path).expect("a path"));
                socket
            })
            .collect();
        assert_eq!(kind(listener::unix(name.clone(), unlink.clone())), in_use);
        drop(fill);
        // another that took the path is left alone
        std::fs::remove_file(&path).expect("there");
        let other = listener::unix(name, unlink).expect("bound");
        drop(live);
        assert!(path.exists());
        drop(other);
        assert!(!path.exists());
    });
}

/// A consumer of the user's own, which asks its producer for its state.
struct Asks {
    input: Inlet<Bytes>,
    sink: Keep,
}

impl Actor for Asks {
    type Context = Context<Self>;
}

versile_io::wire!(Asks {
    inlet input: Bytes => on_input;
    controls => on_control;
});

impl Asks {
    fn on_input(&mut self, _: InletEvent<Bytes>, _: &mut Context<Self>) {}

    fn on_control(&mut self, envelope: Envelope, _: &mut Context<Self>) -> Option<Envelope> {
        self.sink.control(envelope)
    }
}

#[derive(Message)]
#[rtype(result = "Result<(), ControlError>")]
struct AskNow;

impl Handler<AskNow> for Asks {
    type Result = ResponseFuture<Result<(), ControlError>>;
    fn handle(&mut self, _: AskNow, _: &mut Context<Self>) -> Self::Result {
        let consumer = ComponentInfo::new("asks", false);
        Box::pin(self.input.ask(RequestProducerState { consumer }))
    }
}

#[test]
fn asking_for_the_state_tells_nothing_before_connecting_and_tells_again_after() {
    run(async {
        let (listener, at) = server().await;
        let sink = Keep::answering(Answer::Never);
        let heard = sink.heard.clone();
        let (pair, _done) = connect(at).start();
        let asks = Asks { input: Inlet::default(), sink }.start();
        join(&pair.outlet, &asks.inlet(), None);
        until(|| !heard.borrow().asked.is_empty()).await;
        assert_eq!(within(asks.send(AskNow)).await.expect("alive"), Ok(()));
        assert!(heard.borrow().connected.is_empty(), "not connected yet");
        // the permission comes late
        let kept = heard.borrow_mut().kept.pop().expect("a question");
        kept.open::<CanConnect>().expect("the question").answer(true);
        let _conn = within(listener.accept()).await.expect("accepted");
        until(|| heard.borrow().connected.len() == 1).await;
        assert_eq!(within(asks.send(AskNow)).await.expect("alive"), Ok(()));
        until(|| heard.borrow().connected.len() == 2).await;
    });
}
