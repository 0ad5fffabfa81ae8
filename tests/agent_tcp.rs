//! TCP agents in chains: a relay between two real sockets carries bytes both ways, half-closes, and tells a reset.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use support::{run, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use versile_io::agent::listener::{self, ListenOptions};
use versile_io::agent::tcp::{self, TcpOptions};
use versile_io::component::join_pair;
use versile_io::component::stock::Duplex;

/// A relay to `to`; where it listens.
fn relay(to: SocketAddr) -> SocketAddr {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let bound = listener::tcp(any, ListenOptions::default()).expect("bound");
    let local = bound.local().socket_addr().expect("an address");
    bound.start(move |accepted| {
        let options = TcpOptions::default();
        let Ok(left) = accepted.into_stream(&options) else { return };
        let right = tcp::connect(to.ip().to_string(), to.port(), options);
        let ((right, _), (left, _)) = (right.start(), left.start());
        join_pair(&right, &left, None);
    });
    local
}

#[test]
fn a_relay_carries_both_ways_and_a_half_close() {
    run(async {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let at = relay(server.local_addr().expect("bound"));
        let serving = actix_rt::spawn(async move {
            let (mut conn, _) = server.accept().await.expect("a connection");
            let mut request = Vec::new();
            conn.read_to_end(&mut request).await.expect("the request");
            request.reverse();
            conn.write_all(&request).await.expect("answered");
        });
        let mut client = TcpStream::connect(at).await.expect("connected");
        let request: Vec<u8> = (0..5_000_000u32).map(|i| (i * 7 % 251) as u8).collect();
        let (mut read, mut write) = client.split();
        let mut answer = Vec::new();
        let sent = async {
            write.write_all(&request).await.expect("sent");
            write.shutdown().await.expect("ended");
        };
        let (_, got) = within(async { tokio::join!(sent, read.read_to_end(&mut answer)) }).await;
        got.expect("the answer");
        within(serving).await.expect("served");
        let mut expected = request.clone();
        expected.reverse();
        assert!(answer == expected, "{} of {} bytes, or wrong ones", answer.len(), expected.len());
        drop(client);
    });
}

#[test]
fn a_reset_on_one_side_is_a_reset_on_the_other() {
    run(async {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let at = relay(server.local_addr().expect("bound"));
        let mut client = TcpStream::connect(at).await.expect("connected");
        client.write_all(b"hello").await.expect("sent");
        let (mut conn, _) = within(server.accept()).await.expect("a connection");
        let mut hello = [0; 5];
        conn.read_exact(&mut hello).await.expect("hello");
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("set");
        drop(client);
        let end = within(conn.read(&mut hello)).await;
        assert_eq!(end.expect_err("no orderly end").kind(), std::io::ErrorKind::ConnectionReset);
    });
}
