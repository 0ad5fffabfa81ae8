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
use versile_io::proto::vut::{CloseReason, Config, Mode, Profile, Proof};
use versile_io::supervisor::Supervisor;

/// Both profiles, between two of ours.
const MODES: [Mode; 2] = [Mode::Native, Mode::Compat];

/// A test in each profile.
fn each<F: Future<Output = ()>>(test: impl Fn(Mode) -> F) {
    for mode in MODES {
        println!("in mode {mode:?}");
        run(test(mode));
    }
}

fn of(mode: Mode) -> VutOptions {
    VutOptions { mode, ..VutOptions::default() }
}

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

fn pair(mode: Mode) -> (VutTransport, VutTransport) {
    pair_with(of(mode))
}

/// The clean end of both directions, which only the native profile proves.
fn end_of(mode: Mode) -> CloseReason {
    let proof = if mode == Mode::Compat { Proof::Unproven } else { Proof::Proven };
    CloseReason::Ended { sent: proof, received: proof }
}

/// What an abort of the peer's application is.
fn aborted_by_peer(mode: Mode) -> CloseReason {
    CloseReason::AbortedByPeer { code: (mode != Mode::Compat).then_some(0) }
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
fn bytes_go_both_ways_and_both_ends_arrive_as_the_profile_has_them() {
    for batching in [Batching::Auto, Batching::Off] {
        each(|mode| async move {
            let (a, b) = pair_with(VutOptions { batching, ..of(mode) });
            let statuses = both_ways(a, b, 6_000_000).await;
            for status in statuses {
                assert_eq!(status.close_reason(), Some(end_of(mode)), "proven or not, and it says so");
                // ports are used again: a late datagram of another test may come, but none of this connection is taken for forged
                let stats = status.stats().expect("a connection");
                assert!(stats.forged <= 3 && stats.malformed == 0, "{stats:?}");
                let profile = if mode == Mode::Compat { Profile::Compat } else { Profile::Native };
                assert_eq!(status.profile(), Some(profile));
            }
        });
    }
}

#[test]
fn the_consumer_is_asked_before_anything_is_sent_and_told_once_the_peer_is_known() {
    each(|mode| async move {
        let (peer, ours) = (UdpSocket::bind("127.0.0.1:0").expect("bound"), free());
        peer.set_nonblocking(true).expect("set");
        let peer_at = peer.local_addr().expect("bound");
        let no = Keep::answering(Answer::No);
        let heard = no.heard.clone();
        let Rig { stream, .. } = rig(transport(ours, peer_at, secrets(), of(mode)).into_stream(), Silent, no);
        let (_, outcome) = within(stream).await;
        assert!(cause(&outcome).contains(&format!("refused: connection to vut {peer_at}")), "{outcome}");
        assert_eq!(heard.borrow().asked, [Peer::Vut(peer_at)]);
        settle().await;
        assert!(peer.recv_from(&mut [0; 600]).is_err(), "no datagram left");

        let (a, b) = pair(mode);
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
    each(|mode| async move {
        let (a, b) = pair(mode);
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
    each(|mode| async move {
        let stream = versile_io::agent::stream::StreamSettings { half_close: HalfClose::NONE, ..Default::default() };
        let (a, b) = pair_with(VutOptions { stream, ..of(mode) });
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
    each(|mode| async move {
        let (a, b) = pair(mode);
        let (sender, status) = (a.status(), b.status());
        let a = rig(a.into_stream(), Feed::new(pattern(10_000_000), 65_536), Keep::default());
        let b = rig(b.into_stream(), Silent, Keep::failing_at(100_000));
        let (_, outcome) = within(b.stream).await;
        assert!(cause(&outcome).contains("enough"), "{outcome}");
        let (_, outcome) = within(a.stream).await;
        assert!(cause(&outcome).contains("aborted by the peer"), "{outcome}");
        assert_eq!(status.close_reason(), Some(CloseReason::Aborted));
        assert_eq!(sender.close_reason(), Some(aborted_by_peer(mode)));
    });
}

#[test]
fn an_unclean_end_brings_all_its_data_and_no_end() {
    each(|mode| async move {
        let (a, b) = pair(mode);
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
    each(|mode| async move {
        let (a, b) = pair(mode);
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
    each(|mode| async move {
        let (a, b) = pair_with(VutOptions { unproven: Unproven::Refuse, ..of(mode) });
        let told = Rc::new(RefCell::new(None));
        let hook = told.clone();
        let b = b.on_close(move |outcome, status| *hook.borrow_mut() = Some((outcome.clone(), status.close_reason())));
        let a = rig(a.into_stream(), Feed::new("data", 4), Keep::default());
        let b = rig(b.into_stream(), Feed::new("", 1), Keep::default());
        let (kept, _) = within(b.sink).await;
        let kept = kept.expect("the part");
        let proven = mode == Mode::Native;
        assert_eq!((kept.bytes.as_slice(), kept.clean), (&b"data"[..], Some(proven)));
        within(a.stream).await;
        within(b.stream).await;
        let (outcome, reason) = told.take().expect("called");
        assert!(matches!(outcome, Outcome::Ended { clean } if clean == proven), "{outcome}");
        assert_eq!(reason, Some(end_of(mode)));
    });
}

#[test]
fn a_consumer_that_stands_still_holds_no_more_than_its_window_on_the_way() {
    each(|mode| async move {
        let (a, b) = pair(mode);
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
            // what was granted, and with a 0.8 peer the least it may be granted, and an octet with which it asks for more
            let most = if mode == Mode::Compat { 112 } else { 0 };
            assert!(receiver.held().expect("a connection") <= most, "{:?}", receiver.held());
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
    each(|mode| async move {
        let nobody = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let at = nobody.local_addr().expect("bound");
        let options = VutOptions { config: impatient(), ..of(mode) };
        let a = transport(free(), at, secrets(), options);
        let status = a.status();
        let outcome = write_all(a.into_stream(), Feed::new("data", 4)).await;
        assert!(cause(&outcome).contains(&format!("connect vut {at}: no answer from the peer")), "{outcome}");
        assert_eq!(status.close_reason(), Some(CloseReason::NoAnswer));
    });
}

#[test]
fn another_secret_is_one_error_that_names_the_peer() {
    each(|mode| async move {
        let (at_a, at_b) = (free(), free());
        let options = VutOptions { config: impatient(), ..of(mode) };
        let other = Secrets::new([0x0A; 32], [0x0C; 32]).expect("safe");
        let a = transport(at_a, at_b, secrets(), options.clone());
        let b = transport(at_b, at_a, other.swapped(), options);
        let status = a.status();
        let (a, b) = (rig(a.into_stream(), Silent, Keep::default()), rig(b.into_stream(), Silent, Keep::default()));
        let (a, b) = within(async { tokio::join!(a.stream, b.stream) }).await;
        for (outcome, peer) in [(a.1, at_b), (b.1, at_a)] {
            let told = format!(
                "connect vut {peer}: no answer from the peer that knows the secrets; what came is not authentic"
            );
            assert!(cause(&outcome).contains(&told), "{outcome}");
        }
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
        each(|mode| async move {
            let (a, b, _) = through(loss, of(mode)).await;
            let [a, b] = both_ways(a, b, if loss == 1 { 2_000_000 } else { 300_000 }).await;
            let repeated = [a, b].map(|status| status.stats().expect("a connection").repeated);
            assert!(repeated.iter().all(|repeated| *repeated > 0), "{loss} %: {repeated:?}");
        });
    }
}

#[test]
fn a_peer_that_vanishes_is_noticed_with_and_without_credit() {
    for stuck in [false, true] {
        each(|mode| async move {
            let options = VutOptions { config: impatient(), ..of(mode) };
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
    each(|mode| async move {
        let fds = support::fds();
        let hub = shared();
        let config = Config { linger: Duration::from_millis(100), ..Config::default() };
        let options = VutOptions { config, ..of(mode) };
        let mut chains = Vec::new();
        for n in 0..100_u8 {
            // bound at once: of so many free ports two would be the same one now and then
            let (peer, secrets) = (shared(), Secrets::new([n + 1; 32], [n + 102; 32]).expect("safe"));
            let a = hub.connect(peer.local(), secrets.clone(), options.clone());
            let b = peer.connect(hub.local(), secrets.swapped(), options.clone());
            chains.push(actix_rt::spawn(both_ways(a, b, 30_000 + 1000 * usize::from(n))));
        }
        for chain in chains {
            within(chain).await.expect("no panic");
        }
        drop(hub);
        until(|| support::fds() <= fds).await;
    });
}

/// A shared socket, and one that the test knows, with an open connection between them.
async fn shared_with_one(mode: Mode) -> [VutSocket; 2] {
    let sockets = [(); 2].map(|()| shared());
    let first = sockets[0].connect(sockets[1].local(), secrets(), of(mode));
    let peer = sockets[1].connect(sockets[0].local(), secrets().swapped(), of(mode));
    let (ours, theirs) = (Keep::answering(Answer::Yes), Keep::answering(Answer::Yes));
    let heard = [ours.heard.clone(), theirs.heard.clone()];
    drop((rig(first.into_stream(), Silent, ours), rig(peer.into_stream(), Silent, theirs)));
    until(|| heard.iter().all(|heard| heard.borrow().connected.len() == 1)).await;
    sockets
}

fn shared() -> VutSocket {
    vut::bind("127.0.0.1:0".parse().expect("an address"), Batching::Auto).expect("bound")
}

#[test]
fn a_second_connection_that_only_its_address_could_tell_is_refused() {
    run(async {
        let [ours, theirs] = shared_with_one(Mode::Compat).await;
        let second = ours.connect(theirs.local(), secrets(), of(Mode::Compat));
        let (_, outcome) = read_all(second.into_stream()).await;
        assert!(cause(&outcome).contains("the socket has a connection to this peer"), "{outcome}");

        // one that is being opened, in whichever profile
        let ours = shared();
        // held, so that no other test gets the port and our hellos
        let silent = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let keep = Keep::answering(Answer::Yes);
        let (peer, heard) = (silent.local_addr().expect("bound"), keep.heard.clone());
        let opening = (silent, rig(ours.connect(peer, secrets(), of(Mode::Native)).into_stream(), Silent, keep));
        until(|| heard.borrow().asked.len() == 1).await;
        settle().await;
        let (_, outcome) = read_all(ours.connect(peer, secrets(), of(Mode::Native)).into_stream()).await;
        assert!(cause(&outcome).contains("the socket has a connection to this peer"), "{outcome}");
        drop(opening);
    });
}

#[test]
fn two_sockets_have_many_connections_of_the_native_profile_with_each_other() {
    run(async {
        let [ours, theirs] = shared_with_one(Mode::Native).await;
        // the same secrets again: each connection has keys of its own
        for n in 0..3 {
            let a = ours.connect(theirs.local(), secrets(), of(Mode::Native));
            let b = theirs.connect(ours.local(), secrets().swapped(), of(Mode::Native));
            let statuses = both_ways(a, b, 100_000 + n).await;
            assert!(statuses.iter().all(|status| status.close_reason() == Some(end_of(Mode::Native))));
        }
    });
}

#[test]
fn two_sockets_connect_again_while_their_last_connection_still_answers_late_datagrams() {
    each(|mode| async move {
        let (a, b) = (shared(), shared());
        for n in 0..3_u8 {
            let secrets = Secrets::new([n + 1; 32], [n + 101; 32]).expect("safe");
            let there = a.connect(b.local(), secrets.clone(), of(mode));
            let back = b.connect(a.local(), secrets.swapped(), of(mode));
            both_ways(there, back, 100_000).await;
        }
    });
}

#[test]
fn a_supervised_chain_goes_from_file_to_file() {
    each(|mode| async move {
        let dir = tempfile::tempdir().expect("a folder");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let data = pattern(3_000_000);
        std::fs::write(&from, &data).expect("written");
        let (a, b) = pair(mode);
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
    each(|mode| async move {
        let (at_a, at_b) = (free(), free());
        let keep = Keep::answering(Answer::Yes);
        let heard = keep.heard.clone();
        let a = transport(at_a, at_b, secrets(), of(mode));
        let a = rig(a.into_stream(), Silent, keep);
        let arbiter = actix_rt::Arbiter::new();
        arbiter.spawn_fn(move || {
            let b = transport(at_b, at_a, secrets().swapped(), of(mode));
            drop(rig(b.into_stream(), Silent, Keep::default()));
        });
        until(|| heard.borrow().connected.len() == 1).await;
        arbiter.stop();
        let (_, outcome) = within(a.stream).await;
        assert!(cause(&outcome).contains("aborted by the peer"), "{outcome}");
        arbiter.join().expect("joined");
    });
}

#[test]
fn auto_speaks_the_native_profile_with_who_understands_it_and_the_old_one_with_who_does_not() {
    for (other, spoken) in
        [(Mode::Auto, Profile::Native), (Mode::Native, Profile::Native), (Mode::Compat, Profile::Compat)]
    {
        run(async move {
            let (a, b) = (free(), free());
            let first = transport(a, b, secrets(), of(Mode::Auto));
            let second = transport(b, a, secrets().swapped(), of(other));
            let statuses = both_ways(first, second, 200_000).await;
            assert!(statuses.iter().all(|status| status.profile() == Some(spoken)), "{other:?}");
        });
    }
}

#[test]
fn a_peer_that_knows_only_the_old_profile_is_told_from_none_in_mode_native() {
    run(async {
        let (a, b) = (free(), free());
        let options = |mode| VutOptions { config: impatient(), ..of(mode) };
        let first = transport(a, b, secrets(), options(Mode::Native));
        let second = transport(b, a, secrets().swapped(), options(Mode::Compat));
        let status = first.status();
        let second = rig(second.into_stream(), Silent, Keep::default());
        let outcome = write_all(first.into_stream(), Feed::new("data", 4)).await;
        let told =
            format!("connect vut {b}: no answer from the peer in the native profile; it seems to know only VUT 0.8");
        assert!(cause(&outcome).contains(&told), "{outcome}");
        assert_eq!(status.close_reason(), Some(CloseReason::OnlyLegacy));
        assert!(matches!(within(second.stream).await.1, Outcome::Aborted(_)));
    });
}

#[test]
fn both_sides_export_the_same_key_and_others_get_others() {
    each(|mode| async move {
        let (a, b) = pair_with(VutOptions { context: b"a test".to_vec(), ..of(mode) });
        let statuses = [a.status(), b.status()];
        assert_eq!(statuses[0].export(b"label", b"", &mut [0; 32]), Ok(false), "there is no connection yet");
        both_ways(a, b, 1000).await;
        let keys = statuses.map(|status| {
            let (mut key, mut other) = ([0; 32], [0; 32]);
            let exported = [status.export(b"label", b"", &mut key), status.export(b"label", b"x", &mut other)];
            assert_eq!(exported, [Ok(mode == Mode::Native); 2]);
            assert_eq!(key != other, mode == Mode::Native);
            key
        });
        assert_eq!(keys[0], keys[1]);
    });
}

#[test]
fn datagrams_that_are_not_authentic_change_nothing_but_a_counter() {
    each(|mode| async move {
        let (at_a, at_b) = (free(), free());
        let a = transport(at_a, at_b, secrets(), of(mode));
        let b = transport(at_b, at_a, secrets().swapped(), of(mode));
        let attacked = b.status();
        let stranger = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let done = Rc::new(Cell::new(false));
        let over = done.clone();
        // of every kind, of all lengths, from elsewhere
        let attack = actix_rt::spawn(async move {
            let mut rng = fastrand::Rng::with_seed(7);
            while !over.get() {
                for _ in 0..20 {
                    let mut datagram: Vec<u8> = (0..rng.usize(0..600)).map(|_| rng.u8(..)).collect();
                    if let Some(first) = datagram.first_mut() {
                        *first = [0x04, 0x05, 0x18, 0x10, 0x00, 0x80, 0x20, *first][rng.usize(0..8)];
                    }
                    let _ = stranger.send_to(&datagram, at_b);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        both_ways(a, b, 3_000_000).await;
        done.set(true);
        within(attack).await.expect("no panic");
        assert_eq!(attacked.close_reason(), Some(end_of(mode)));
        let stats = attacked.stats().expect("a connection");
        assert!(stats.forged > 0 && stats.malformed == 0, "{stats:?}");
    });
}

#[test]
fn a_peer_whose_address_changes_is_followed_in_the_native_profile() {
    run(async {
        let (a, b) = (free(), free());
        let nat = nat(a, b).await;
        // b knows a by the NAT's address; a knows b by its own
        let first = transport(a, nat.inside, secrets(), of(Mode::Native));
        let second = transport(b, nat.outside.get(), secrets().swapped(), of(Mode::Native));
        let status = second.status();
        let keep = Keep::default();
        let heard = keep.heard.clone();
        let data = pattern(20_000_000);
        let first = rig(first.into_stream(), Feed::new(data.clone(), 40_000), Keep::default());
        let second = rig(second.into_stream(), Feed::new(pattern(5_000_000), 10_000), keep);
        for change in 1..=3 {
            until(|| heard.borrow().bytes > change * 1_000_000).await;
            nat.rebind().await;
            until(|| status.peer() == Some(nat.outside.get())).await;
        }
        let (kept, back) = within(async { tokio::join!(second.sink, first.sink) }).await;
        assert!(kept.0.expect("the part").bytes == data);
        assert!(back.0.expect("the part").bytes == pattern(5_000_000));
        assert_eq!(status.close_reason(), Some(end_of(Mode::Native)));
        assert!(within(first.stream).await.1.is_clean());
    });
}

/// Stands before `a` as a NAT does: `b` sees another address than a's, and after [`Nat::rebind`] yet another one.
struct Nat {
    /// What `a` sends to.
    inside: SocketAddr,
    /// What `b` sees.
    outside: Rc<Cell<SocketAddr>>,
    binding: Rc<RefCell<(Rc<tokio::net::UdpSocket>, tokio::task::JoinHandle<()>)>>,
    to_a: Rc<tokio::net::UdpSocket>,
    a: SocketAddr,
}

async fn nat(a: SocketAddr, b: SocketAddr) -> Nat {
    let to_a = Rc::new(tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("bound"));
    let inside = to_a.local_addr().expect("bound");
    let binding = Rc::new(RefCell::new(Nat::bind(to_a.clone(), a).await));
    let outside = Rc::new(Cell::new(binding.borrow().0.local_addr().expect("bound")));
    let (from, through) = (to_a.clone(), binding.clone());
    actix_rt::spawn(async move {
        let mut buf = vec![0; 65_536];
        while let Ok((len, _)) = from.recv_from(&mut buf).await {
            let socket = through.borrow().0.clone();
            let _ = socket.send_to(&buf[..len], b).await;
        }
    });
    Nat { inside, outside, binding, to_a, a }
}

impl Nat {
    async fn bind(
        to_a: Rc<tokio::net::UdpSocket>,
        a: SocketAddr,
    ) -> (Rc<tokio::net::UdpSocket>, tokio::task::JoinHandle<()>) {
        let socket = Rc::new(tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("bound"));
        let from = socket.clone();
        let back = actix_rt::spawn(async move {
            let mut buf = vec![0; 65_536];
            while let Ok((len, _)) = from.recv_from(&mut buf).await {
                let _ = to_a.send_to(&buf[..len], a).await;
            }
        });
        (socket, back)
    }

    /// The old binding is gone: what still goes there is lost.
    async fn rebind(&self) {
        let new = Self::bind(self.to_a.clone(), self.a).await;
        self.outside.set(new.0.local_addr().expect("bound"));
        let (_, back) = self.binding.replace(new);
        back.abort();
    }
}
