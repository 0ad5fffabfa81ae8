//! VUT transports in chains over real sockets: both ways, half-close, abort, credit, a lost peer, one socket for many.
#![cfg(feature = "vut")]

#[path = "support/agent.rs"]
mod support;

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::time::Duration;
use support::{Answer, Feed, Keep, Rig, Silent, cause, pattern, read_all, rig, run, settle, until, within, write_all};
use versile_io::agent::file::{self, ReadOptions, WriteOptions};
use versile_io::agent::stream::WINDOW;
use versile_io::agent::vut::{self, Batching, Unproven, VutOptions, VutSocket, VutStatus, VutTransport};
use versile_io::component::stock::{Directions, Duplex, HalfClose, Outcome, Sink, Source};
use versile_io::component::{Peer, join};
use versile_io::proto::vut::wire::Secrets;
use versile_io::proto::vut::{CloseReason, Config, Proof};
use versile_io::supervisor::Supervisor;

fn secrets() -> Secrets {
    Secrets::new([0x0A; 32], [0x0B; 32]).expect("safe")
}

/// Settings under which a peer that is not there is noticed soon.
fn impatient() -> Config {
    let ms = Duration::from_millis;
    Config { keep_alive: Some(ms(50)), handshake: ms(400), dead_peer: ms(400), close: ms(1000), ..Config::default() }
}

fn free() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound")
}

fn transport(bind: SocketAddr, peer: SocketAddr, secrets: Secrets, options: VutOptions) -> VutTransport {
    vut::connect(peer.ip().to_string(), peer.port(), secrets, VutOptions { bind: Some(bind), ..options })
}

/// Two transports of one connection, each with a socket of its own.
fn pair_with(options: VutOptions) -> (VutTransport, VutTransport) {
    let (a, b) = (free(), free());
    (transport(a, b, secrets(), options.clone()), transport(b, a, secrets().swapped(), options))
}

fn pair() -> (VutTransport, VutTransport) {
    pair_with(VutOptions::default())
}

fn unproven_end() -> CloseReason {
    CloseReason::Ended { sent: Proof::Unproven, received: Proof::Unproven }
}

/// Both sides send a file's worth and keep what comes.
async fn both_ways(a: VutTransport, b: VutTransport, len: usize) -> [VutStatus; 2] {
    let statuses = [a.status(), b.status()];
    let (there, back) = (pattern(len), pattern(len / 2 + 1).into_iter().rev().collect::<Vec<u8>>());
    let a = rig(a.into_stream(), Feed::new(there.clone(), 40_000), Keep::default());
    let b = rig(b.into_stream(), Feed::new(back.clone(), 1000), Keep::default());
    let (got_a, got_b) = within(async { tokio::join!(a.sink, b.sink) }).await;
    let (kept_a, kept_b) = (got_a.0.expect("the part"), got_b.0.expect("the part"));
    assert!(kept_b.bytes == there, "{} of {} bytes there", kept_b.bytes.len(), there.len());
    assert!(kept_a.bytes == back, "{} of {} bytes back", kept_a.bytes.len(), back.len());
    assert_eq!((kept_a.clean, kept_b.clean), (Some(true), Some(true)));
    for stream in [a.stream, b.stream] {
        let (_, outcome) = within(stream).await;
        assert!(outcome.is_clean(), "{outcome}");
    }
    statuses
}

#[test]
fn bytes_go_both_ways_and_both_ends_arrive() {
    for batching in [Batching::Auto, Batching::Off] {
        run(async {
            let (a, b) = pair_with(VutOptions { batching, ..VutOptions::default() });
            let statuses = both_ways(a, b, 6_000_000).await;
            for status in statuses {
                assert_eq!(status.close_reason(), Some(unproven_end()), "the end is not proven, and it says so");
                assert_eq!(status.stats().expect("a connection").forged, 0);
            }
        });
    }
}

#[test]
fn the_consumer_is_asked_before_anything_is_sent_and_told_once_the_peer_is_known() {
    run(async {
        let (peer, ours) = (UdpSocket::bind("127.0.0.1:0").expect("bound"), free());
        peer.set_nonblocking(true).expect("set");
        let peer_at = peer.local_addr().expect("bound");
        let no = Keep::answering(Answer::No);
        let heard = no.heard.clone();
        let Rig { stream, .. } =
            rig(transport(ours, peer_at, secrets(), VutOptions::default()).into_stream(), Silent, no);
        let (_, outcome) = within(stream).await;
        assert!(cause(&outcome).contains(&format!("refused: connection to vut {peer_at}")), "{outcome}");
        assert_eq!(heard.borrow().asked, [Peer::Vut(peer_at)]);
        settle().await;
        assert!(peer.recv_from(&mut [0; 600]).is_err(), "no datagram left");

        let (a, b) = pair();
        let yes = Keep::answering(Answer::Yes);
        let heard = yes.heard.clone();
        let a = rig(a.into_stream(), Feed::new("hello", 5), yes);
        let b = rig(b.into_stream(), Feed::new("", 1), Keep::default());
        let (kept, _) = within(b.sink).await;
        assert_eq!(kept.expect("the part").bytes, b"hello");
        within(a.stream).await;
        assert_eq!(heard.borrow().asked, heard.borrow().connected);
        assert_eq!(heard.borrow().connected.len(), 1);
    });
}

#[test]
fn a_half_close_leaves_the_other_direction_open() {
    run(async {
        let (a, b) = pair();
        // a sends a request and its end; b answers only when it has all of it
        let (pair_b, stream_b) = b.start();
        let (inlet, request) = Keep::default().start();
        join(&pair_b.outlet, &inlet, None);
        let a = rig(a.into_stream(), Feed::new(pattern(300_000), 5000), Keep::default());
        let (request, _) = within(request).await;
        let mut answer = request.expect("the part").bytes;
        answer.reverse();
        let (outlet, _) = Feed::new(answer.clone(), 7000).start();
        join(&outlet, &pair_b.inlet, None);
        drop((pair_b, inlet, outlet));
        let (kept, _) = within(a.sink).await;
        assert!(kept.expect("the part").bytes == answer);
        let (a, b) = within(async { tokio::join!(a.stream, stream_b) }).await;
        assert!(a.1.is_clean() && b.1.is_clean(), "{} {}", a.1, b.1);
    });
}

#[test]
fn without_half_close_the_peers_end_ends_the_other_direction() {
    run(async {
        let stream = versile_io::agent::stream::StreamSettings { half_close: HalfClose::NONE, ..Default::default() };
        let (a, b) = pair_with(VutOptions { stream, ..VutOptions::default() });
        let a = rig(a.into_stream(), Feed::new("all", 3), Keep::default());
        let b = rig(b.into_stream(), Silent, Keep::default());
        let (kept, _) = within(b.sink).await;
        assert_eq!(kept.expect("the part").bytes, b"all");
        assert!(cause(&within(b.stream).await.1).contains("half-close is off"));
        within(a.stream).await;
    });
}

#[test]
fn an_abort_on_one_side_is_an_abort_on_the_other() {
    run(async {
        let (a, b) = pair();
        let status = b.status();
        let a = rig(a.into_stream(), Feed::new(pattern(10_000_000), 65_536), Keep::default());
        let b = rig(b.into_stream(), Silent, Keep::failing_at(100_000));
        let (_, outcome) = within(b.stream).await;
        assert!(cause(&outcome).contains("enough"), "{outcome}");
        let (_, outcome) = within(a.stream).await;
        assert!(cause(&outcome).contains("aborted by the peer"), "{outcome}");
        assert_eq!(status.close_reason(), Some(CloseReason::Aborted));
    });
}

#[test]
fn an_unclean_end_brings_all_its_data_and_no_end() {
    run(async {
        let (a, b) = pair();
        let sent = pattern(200_000);
        let a = rig(a.into_stream(), Feed::new(sent.clone(), 4096).unclean(), Keep::default());
        let keep = Keep::default();
        let heard = keep.heard.clone();
        let b = rig(b.into_stream(), Silent, keep);
        let (_, outcome) = within(b.stream).await;
        assert!(cause(&outcome).contains("aborted by the peer"), "{outcome}");
        assert_eq!(heard.borrow().bytes, sent.len());
        let (_, outcome) = within(a.stream).await;
        assert!(matches!(outcome, Outcome::Ended { clean: false }), "{outcome}");
    });
}

#[test]
fn what_nobody_reads_does_not_seem_delivered() {
    run(async {
        let (a, b) = pair();
        let a = rig(a.into_stream(), Feed::new(pattern(100_000), 1000), Keep::default());
        let only_writes = b.into_stream().only(Directions::WriteOnly);
        let outcome = write_all(only_writes, Feed::new("all of it", 9)).await;
        assert!(outcome.is_clean(), "{outcome}");
        let (kept, _) = within(a.sink).await;
        assert_eq!(kept.expect("the part").bytes, b"all of it");
        let (_, outcome) = within(a.stream).await;
        assert!(cause(&outcome).contains("aborted by the peer"), "{outcome}");
    });
}

#[test]
fn an_end_that_is_not_proven_can_count_as_unclean() {
    run(async {
        let (a, b) = pair_with(VutOptions { unproven: Unproven::Refuse, ..VutOptions::default() });
        let told = Rc::new(RefCell::new(None));
        let hook = told.clone();
        let b = b.on_close(move |outcome, status| *hook.borrow_mut() = Some((outcome.clone(), status.close_reason())));
        let a = rig(a.into_stream(), Feed::new("data", 4), Keep::default());
        let b = rig(b.into_stream(), Feed::new("", 1), Keep::default());
        let (kept, _) = within(b.sink).await;
        let kept = kept.expect("the part");
        assert_eq!((kept.bytes.as_slice(), kept.clean), (&b"data"[..], Some(false)));
        within(a.stream).await;
        within(b.stream).await;
        let (outcome, reason) = told.take().expect("called");
        assert!(matches!(outcome, Outcome::Ended { clean: false }), "{outcome}");
        assert_eq!(reason, Some(unproven_end()));
    });
}

#[test]
fn a_consumer_that_stands_still_holds_no_more_than_its_window_on_the_way() {
    run(async {
        let (a, b) = pair();
        let (sender, receiver) = (a.status(), b.status());
        let given = Rc::new(RefCell::new(0));
        let a = rig(a.into_stream(), support::Endless(given.clone()), Keep::default());
        // takes 10,000 octets and never gives them back
        let stuck = Keep::stuck(10_000);
        let heard = stuck.heard.clone();
        let b = rig(b.into_stream(), Silent, stuck);
        until(|| heard.borrow().bytes == 10_000).await;
        until(|| *given.borrow() > WINDOW).await;
        let highest = Rc::new(Cell::new(0));
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            highest.set(highest.get().max(receiver.held().expect("a connection")));
            // what was granted, and an octet with which the peer asks for more
            assert!(receiver.held().expect("a connection") <= 112, "{:?}", receiver.held());
            assert!(sender.unacknowledged().expect("a connection") <= 10_000, "{:?}", sender.unacknowledged());
        }
        // the inlet's window, what the peer's took, and one item under way
        let most = WINDOW + 10_000 + 64 * 1024;
        assert!(*given.borrow() <= most, "{} taken from the producer", given.borrow());
        drop((a, b));
    });
}

#[test]
fn a_peer_that_is_not_there_aborts_the_chain_in_time() {
    run(async {
        let nobody = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let at = nobody.local_addr().expect("bound");
        let options = VutOptions { config: impatient(), ..VutOptions::default() };
        let a = transport(free(), at, secrets(), options);
        let status = a.status();
        let outcome = write_all(a.into_stream(), Feed::new("data", 4)).await;
        assert!(cause(&outcome).contains(&format!("connect vut {at}: no answer from the peer")), "{outcome}");
        assert_eq!(status.close_reason(), Some(CloseReason::NoAnswer));
    });
}

#[test]
fn another_secret_is_no_answer() {
    run(async {
        let (at_a, at_b) = (free(), free());
        let options = VutOptions { config: impatient(), ..VutOptions::default() };
        let other = Secrets::new([0x0A; 32], [0x0C; 32]).expect("safe");
        let a = transport(at_a, at_b, secrets(), options.clone());
        let b = transport(at_b, at_a, other.swapped(), options);
        let status = a.status();
        let (a, b) = (rig(a.into_stream(), Silent, Keep::default()), rig(b.into_stream(), Silent, Keep::default()));
        let (a, b) = within(async { tokio::join!(a.stream, b.stream) }).await;
        assert!(cause(&a.1).contains("no answer") && cause(&b.1).contains("no answer"), "{} {}", a.1, b.1);
        assert!(status.stats().expect("a connection").forged > 0);
    });
}

/// Datagrams pass between two addresses, each with its own socket here, until it is cut.
struct Proxy {
    to_a: SocketAddr,
    to_b: SocketAddr,
    cut: Rc<Cell<bool>>,
}

/// Loses `loss` percent of what passes.
async fn proxy(a: SocketAddr, b: SocketAddr, loss: u64) -> Proxy {
    let bind = || tokio::net::UdpSocket::bind("127.0.0.1:0");
    let (of_a, of_b) = (Rc::new(bind().await.expect("bound")), Rc::new(bind().await.expect("bound")));
    let cut = Rc::new(Cell::new(false));
    // what a sends to `to_b` leaves from `to_a`, so that each knows the other by one address
    let (to_a, to_b) = (of_a.local_addr().expect("bound"), of_b.local_addr().expect("bound"));
    for (from, out, to) in [(of_b.clone(), of_a.clone(), b), (of_a, of_b, a)] {
        let (cut, mut rng) = (cut.clone(), fastrand::Rng::with_seed(loss));
        actix_rt::spawn(async move {
            let mut buf = [0; 2048];
            while let Ok((len, _)) = from.recv_from(&mut buf).await {
                if !cut.get() && rng.u64(0..100) >= loss {
                    let _ = out.send_to(&buf[..len], to).await;
                }
            }
        });
    }
    Proxy { to_a, to_b, cut }
}

/// Two transports with a proxy between.
async fn through(loss: u64, options: VutOptions) -> (VutTransport, VutTransport, Rc<Cell<bool>>) {
    let (a, b) = (free(), free());
    let proxy = proxy(a, b, loss).await;
    let first = transport(a, proxy.to_b, secrets(), options.clone());
    let second = transport(b, proxy.to_a, secrets().swapped(), options);
    (first, second, proxy.cut)
}

#[test]
fn everything_arrives_over_a_path_that_loses() {
    for loss in [1, 10] {
        run(async {
            let (a, b, _) = through(loss, VutOptions::default()).await;
            let [a, b] = both_ways(a, b, if loss == 1 { 2_000_000 } else { 300_000 }).await;
            let repeated = [a, b].map(|status| status.stats().expect("a connection").repeated);
            assert!(repeated.iter().all(|repeated| *repeated > 0), "{loss} %: {repeated:?}");
        });
    }
}

#[test]
fn a_peer_that_vanishes_is_noticed_with_and_without_credit() {
    for stuck in [false, true] {
        run(async {
            let options = VutOptions { config: impatient(), ..VutOptions::default() };
            let (a, b, cut) = through(0, options).await;
            let a = rig(a.into_stream(), Feed::new(pattern(50_000), 1000), Keep::default());
            let sink = if stuck { Keep::stuck(1000) } else { Keep::default() };
            let heard = sink.heard.clone();
            let b = rig(b.into_stream(), Silent, sink);
            until(|| heard.borrow().bytes >= 1000).await;
            cut.set(true);
            for stream in [a.stream, b.stream] {
                let (_, outcome) = within(stream).await;
                assert!(cause(&outcome).contains("the peer is gone"), "stuck: {stuck}: {outcome}");
            }
        });
    }
}

#[test]
fn one_socket_carries_many_connections_and_ends_with_the_last() {
    run(async {
        let fds = support::fds();
        let shared = vut::bind("127.0.0.1:0".parse().expect("an address"), Batching::Auto).expect("bound");
        let at = shared.local();
        let config = Config { linger: Duration::from_millis(100), ..Config::default() };
        let options = VutOptions { config, ..VutOptions::default() };
        let mut chains = Vec::new();
        for n in 0..20_u8 {
            let (bind, secrets) = (free(), Secrets::new([n + 1; 32], [n + 101; 32]).expect("safe"));
            let a = shared.connect(bind, secrets.clone(), options.clone());
            let b = transport(bind, at, secrets.swapped(), options.clone());
            chains.push(actix_rt::spawn(both_ways(a, b, 50_000 + 1000 * usize::from(n))));
        }
        for chain in chains {
            within(chain).await.expect("no panic");
        }
        drop(shared);
        until(|| support::fds() <= fds).await;
    });
}

#[test]
fn a_second_connection_to_the_same_peer_is_refused_while_the_first_is_open() {
    run(async {
        let shared: VutSocket = vut::bind("127.0.0.1:0".parse().expect("an address"), Batching::Auto).expect("bound");
        let bind = free();
        let first = shared.connect(bind, secrets(), VutOptions::default());
        let peer = transport(bind, shared.local(), secrets().swapped(), VutOptions::default());
        let keep = Keep::answering(Answer::Yes);
        let heard = keep.heard.clone();
        let first = rig(first.into_stream(), Silent, keep);
        let peer = rig(peer.into_stream(), Silent, Keep::default());
        until(|| heard.borrow().connected.len() == 1).await;
        let second = shared.connect(bind, secrets(), VutOptions::default());
        let (_, outcome) = read_all(second.into_stream()).await;
        assert!(cause(&outcome).contains("the socket has a connection to this peer"), "{outcome}");
        drop((first, peer));
    });
}

#[test]
fn two_sockets_connect_again_while_their_last_connection_still_answers_late_datagrams() {
    run(async {
        let bind = || vut::bind("127.0.0.1:0".parse().expect("an address"), Batching::Auto).expect("bound");
        let (a, b) = (bind(), bind());
        for n in 0..3_u8 {
            let secrets = Secrets::new([n + 1; 32], [n + 101; 32]).expect("safe");
            let there = a.connect(b.local(), secrets.clone(), VutOptions::default());
            let back = b.connect(a.local(), secrets.swapped(), VutOptions::default());
            both_ways(there, back, 100_000).await;
        }
    });
}

#[test]
fn a_supervised_chain_goes_from_file_to_file() {
    run(async {
        let dir = tempfile::tempdir().expect("a folder");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let data = pattern(3_000_000);
        std::fs::write(&from, &data).expect("written");
        let (a, b) = pair();
        let (read, read_done) = file::read(&from, ReadOptions::default()).start();
        let (a, a_done) = a.into_stream().only(Directions::WriteOnly).start();
        let (b, b_done) = b.into_stream().only(Directions::ReadOnly).start();
        let (write, write_done) = file::write(&to, WriteOptions::default()).start();
        let supervisor = Supervisor::start();
        supervisor.attach(&b.outlet, &write.inlet).await.expect("attached");
        supervisor.attach(&read.outlet, &a.inlet).await.expect("attached");
        drop((read, a, b, write));
        for done in [read_done, a_done, b_done, write_done] {
            let (_, outcome) = within(done).await;
            assert!(outcome.is_clean(), "{outcome}");
        }
        assert!(std::fs::read(&to).expect("read") == data);
    });
}

#[test]
fn a_stopped_arbiter_is_an_abort_for_the_peer() {
    run(async {
        let (at_a, at_b) = (free(), free());
        let keep = Keep::answering(Answer::Yes);
        let heard = keep.heard.clone();
        let a = transport(at_a, at_b, secrets(), VutOptions::default());
        let a = rig(a.into_stream(), Silent, keep);
        let arbiter = actix_rt::Arbiter::new();
        arbiter.spawn_fn(move || {
            let b = transport(at_b, at_a, secrets().swapped(), VutOptions::default());
            drop(rig(b.into_stream(), Silent, Keep::default()));
        });
        until(|| heard.borrow().connected.len() == 1).await;
        arbiter.stop();
        let (_, outcome) = within(a.stream).await;
        assert!(cause(&outcome).contains("aborted by the peer"), "{outcome}");
        arbiter.join().expect("joined");
    });
}
