//! A connection of ours against a live existing peer, over real sockets, in both roles and with loss on both ways.
//!
//! `VERSILE_VUT_FULL` runs 20 MB each way instead of what fits a few seconds.
#![cfg(all(feature = "vut", feature = "testkit"))]

#[path = "support/vut_peer.rs"]
mod peer;

use peer::{Peer, Plan, linger, octet, pattern_hash, run, socket};
use std::time::Duration;
use versile_io::proto::vut::{CloseReason, Event, Proof};

/// Percent of the datagrams that get lost, each way. `VERSILE_VUT_LOSS` names one.
fn losses() -> Vec<f64> {
    let one = std::env::var("VERSILE_VUT_LOSS").ok().and_then(|text| text.parse().ok());
    one.map_or(vec![0.0, 1.0, 5.0, 20.0], |loss| vec![loss])
}

fn patience() -> Duration {
    Duration::from_secs(if full() { 600 } else { 90 })
}

fn full() -> bool {
    std::env::var_os("VERSILE_VUT_FULL").is_some()
}

/// Octets of a big transfer at a loss. At 20 % the existing peer's timers, which double with each loss, make it slow.
fn size(loss: f64) -> u64 {
    match (full(), loss) {
        (true, loss) if loss < 10.0 => 20_000_000,
        (true, _) => 500_000,
        (_, 0.0) => 2_000_000,
        (_, loss) if loss < 10.0 => 300_000,
        _ => 60_000,
    }
}

fn file_of(len: u64) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), (0..len).map(octet).collect::<Vec<u8>>()).expect("written");
    file
}

#[test]
fn what_we_send_arrives_at_a_peer_of_the_old_kind() {
    let Some(peer) = Peer::find() else { return };
    for loss in losses() {
        let (socket, sends) = (socket(), size(loss));
        let mut running = peer.start(&socket, &["recv", "-"]);
        let mut outcome = run(&socket, running.address, Plan { loss, ..Plan::new(sends) }, patience());
        linger(&socket, running.address, &mut outcome, &mut running);
        let result = running.result(Duration::from_secs(60));
        println!("loss {loss}: {:?} {:?} {result}", outcome.took, outcome.stats);
        assert!(outcome.reason.is_end(), "{:?} {:?}", outcome.reason, outcome.connection);
        assert_eq!(result["rx_bytes"], sends, "at {loss} % loss: {result}");
        assert_eq!(result["sha256"], outcome.sent_hash, "at {loss} % loss");
        assert_eq!((&result["eof"], &result["failed"]), (&true.into(), &false.into()), "{result}");
    }
}

#[test]
fn what_a_peer_of_the_old_kind_sends_arrives() {
    let Some(peer) = Peer::find() else { return };
    for loss in losses() {
        // its timers double with each loss, up to a minute
        let (socket, len) = (socket(), if loss < 10.0 { size(loss) } else { 6000 });
        let file = file_of(len);
        let path = file.path().to_str().expect("text");
        // closes as it does by itself, which loses data or the close itself now and then; so with loss it is told to close late
        let mut args = vec!["send", path];
        if loss > 0.0 {
            args.splice(0..0, ["--late-close"]);
        }
        let mut running = peer.start(&socket, &args);
        let plan = Plan { loss, ends_first: false, ..Plan::new(0) };
        let mut outcome = run(&socket, running.address, plan, patience());
        linger(&socket, running.address, &mut outcome, &mut running);
        let result = running.result(Duration::from_secs(60));
        println!("loss {loss}: {:?} {:?} {result}", outcome.took, outcome.stats);
        assert!(outcome.reason.is_end(), "{:?}", outcome.reason);
        assert_eq!((outcome.read, outcome.read_hash), (len, pattern_hash(len)), "at {loss} % loss");
        assert_eq!(result["failed"], false, "{result}");
    }
}

#[test]
fn an_echo_comes_back_while_we_still_send_and_after_our_half_is_closed() {
    let Some(peer) = Peer::find() else { return };
    for loss in losses() {
        let (socket, sends) = (socket(), size(loss) / 2);
        let mut running = peer.start(&socket, &["echo"]);
        let mut outcome = run(&socket, running.address, Plan { loss, ..Plan::new(sends) }, patience());
        linger(&socket, running.address, &mut outcome, &mut running);
        let result = running.result(Duration::from_secs(60));
        println!("loss {loss}: {:?} {:?} {result}", outcome.took, outcome.stats);
        assert!(outcome.reason.is_end(), "{:?}", outcome.reason);
        assert_eq!((result["rx_bytes"].clone(), &result["failed"]), (sends.into(), &false.into()), "{result}");
        // its own tail may get lost where it closes with data; what came is right
        assert_eq!(outcome.read, sends, "at {loss} %: {result}");
        assert_eq!(outcome.read_hash, outcome.sent_hash);
    }
}

#[test]
fn an_abort_of_ours_ends_the_peer() {
    let Some(peer) = Peer::find() else { return };
    let socket = socket();
    let file = file_of(2_000_000);
    let mut running = peer.start(&socket, &["send", file.path().to_str().expect("text")]);
    let plan = Plan { aborts_at: Some(100_000), ..Plan::new(0) };
    let mut outcome = run(&socket, running.address, plan, patience());
    assert_eq!(outcome.reason, CloseReason::Aborted);
    linger(&socket, running.address, &mut outcome, &mut running);
    let result = running.result(Duration::from_secs(30));
    assert_eq!(result["full_close"], true, "{result}");
    assert!(outcome.connection.is_gone(), "its c0 ended ours");
}

#[test]
fn an_abort_of_the_peer_reaches_us() {
    let Some(peer) = Peer::find() else { return };
    let socket = socket();
    let mut running = peer.start(&socket, &["--abort-after", "50000", "recv", "-"]);
    let outcome = run(&socket, running.address, Plan::new(2_000_000), patience());
    // on the wire it is a close of both with data missing, or that it stopped reading
    assert!(
        outcome.events.contains(&Event::PeerStopped) || matches!(outcome.reason, CloseReason::AbortedByPeer { .. }),
        "{outcome:?}"
    );
    running.result(Duration::from_secs(30));
}

#[test]
fn a_slow_reader_of_the_old_kind_loses_nothing_that_its_window_can_show() {
    let Some(peer) = Peer::find() else { return };
    let (socket, sends) = (socket(), 60_000);
    let mut running = peer.slow().start(&socket, &["recv", "-"]);
    let mut outcome = run(&socket, running.address, Plan::new(sends), patience());
    linger(&socket, running.address, &mut outcome, &mut running);
    let result = running.result(Duration::from_secs(60));
    println!("{:?} {:?} {result}", outcome.took, outcome.stats);
    assert!(outcome.took >= Duration::from_secs(4), "it reads on after 5 s, and our close waits: {:?}", outcome.took);
    assert_eq!((result["rx_bytes"].clone(), result["sha256"].clone()), (sends.into(), outcome.sent_hash.into()));
    assert!(outcome.events.contains(&Event::Finished(Proof::Unproven)), "and it is not called proven");
}

#[test]
fn not_one_tail_of_many_small_transfers_is_lost() {
    let Some(peer) = Peer::find() else { return };
    let count = if full() { 200 } else { 12 };
    for n in 0..count {
        let (socket, sends) = (socket(), 1 + (n * 997) % 9000);
        let mut running = peer.start(&socket, &["recv", "-"]);
        let plan = Plan { seed: n, loss: if n % 4 == 3 { 5.0 } else { 0.0 }, ..Plan::new(sends) };
        let mut outcome = run(&socket, running.address, plan, patience());
        linger(&socket, running.address, &mut outcome, &mut running);
        let result = running.result(Duration::from_secs(60));
        assert_eq!(result["rx_bytes"], sends, "{n}: {result} {:?}", outcome.events);
        assert_eq!(result["sha256"], outcome.sent_hash);
    }
}
