//! The VUT agent against a live existing peer, in chains and in both roles.
#![cfg(all(feature = "vut", feature = "testkit"))]

#[path = "support/agent.rs"]
mod support;
#[path = "support/vut_peer.rs"]
#[expect(dead_code, reason = "the other test drives a connection without an actor")]
mod vut_peer;

use sha2::{Digest, Sha256};
use std::net::UdpSocket;
use std::time::Duration;
use support::{Feed, Keep, Silent, pattern, rig, run, within};
use versile_io::agent::vut::{Batching, VutOptions, VutSocket, VutTransport};
use versile_io::proto::vut::wire::Secrets;
use versile_io::proto::vut::{CloseReason, Mode, Proof};
use vut_peer::{OURS, Peer, Running, THEIRS, octet, pattern_hash, socket};

/// Starts the peer, and a transport towards it from the address that it was told.
fn start(peer: &Peer, mode: Mode, args: &[&str]) -> (Running, VutTransport) {
    let ours: UdpSocket = socket();
    let running = peer.start(&ours, args);
    let secrets = Secrets::new(OURS, THEIRS).expect("safe");
    let socket = VutSocket::from_std(ours, Batching::Auto).expect("adopted");
    let transport = socket.connect(running.address, secrets, VutOptions { mode, ..VutOptions::default() });
    (running, transport)
}

async fn result(mut running: Running) -> serde_json::Value {
    // the task of our socket goes on answering meanwhile
    let waits = tokio::task::spawn_blocking(move || running.result(Duration::from_secs(60)));
    waits.await.expect("no panic")
}

fn sha256(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
fn a_chain_ends_at_a_peer_of_the_old_kind() {
    let Some(peer) = Peer::find() else { return };
    run(async {
        let (running, transport) = start(&peer, Mode::Compat, &["recv", "-"]);
        let status = transport.status();
        let data = pattern(2_000_000);
        let chain = rig(transport.into_stream(), Feed::new(data.clone(), 30_000), Keep::default());
        let (_, outcome) = within(chain.stream).await;
        assert!(outcome.is_clean(), "{outcome}");
        let ended = CloseReason::Ended { sent: Proof::Unproven, received: Proof::Unproven };
        assert_eq!(status.close_reason(), Some(ended));
        let result = within(result(running)).await;
        assert_eq!((&result["rx_bytes"], &result["sha256"]), (&data.len().into(), &sha256(&data).into()), "{result}");
        assert_eq!((&result["eof"], &result["failed"]), (&true.into(), &false.into()), "{result}");
    });
}

#[test]
fn a_chain_begins_at_a_peer_of_the_old_kind() {
    let Some(peer) = Peer::find() else { return };
    run(async {
        let len = 1_000_000;
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), (0..len).map(octet).collect::<Vec<u8>>()).expect("written");
        let (running, transport) = start(&peer, Mode::Compat, &["send", file.path().to_str().expect("text")]);
        let status = transport.status();
        // our direction is never used, and ends when the peer's has
        let (sink, outcome) = support::read_all(transport.into_stream()).await;
        assert!(outcome.is_clean(), "{outcome} {:?}", status.close_reason());
        assert_eq!((sink.bytes.len() as u64, sha256(&sink.bytes)), (len, pattern_hash(len)));
        let result = within(result(running)).await;
        assert_eq!(result["failed"], false, "{result}");
    });
}

#[test]
fn in_mode_auto_an_echo_of_a_peer_of_the_old_kind_comes_back_after_our_half_is_closed() {
    let Some(peer) = Peer::find() else { return };
    run(async {
        let (running, transport) = start(&peer, Mode::Auto, &["echo"]);
        let data = pattern(500_000);
        let chain = rig(transport.into_stream(), Feed::new(data.clone(), 1000), Keep::default());
        let (sink, _) = within(chain.sink).await;
        assert!(sink.expect("the part").bytes == data);
        assert!(within(chain.stream).await.1.is_clean());
        assert_eq!(within(result(running)).await["failed"], false);
    });
}

#[test]
fn an_abort_of_ours_ends_a_peer_of_the_old_kind() {
    let Some(peer) = Peer::find() else { return };
    run(async {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), vec![1; 2_000_000]).expect("written");
        let (running, transport) = start(&peer, Mode::Compat, &["send", file.path().to_str().expect("text")]);
        let chain = rig(transport.into_stream(), Silent, Keep::failing_at(100_000));
        let (_, outcome) = within(chain.stream).await;
        assert!(support::cause(&outcome).contains("enough"), "{outcome}");
        assert_eq!(within(result(running)).await["full_close"], true);
    });
}
