//! A thousand connections, opened and closed: components, links, tasks and descriptors are what they were (rule M2), and an idle
//! connection holds no buffer. Alone in its program: it counts what the whole of it has.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use versile_io::agent::listener::{self, ListenOptions};
use versile_io::agent::tcp::{self, TcpOptions};
use versile_io::component::census::census;
use versile_io::component::join_pair;
use versile_io::component::stock::Duplex;

#[path = "support/agent.rs"]
mod support;
use support::*;

const CONNECTIONS: usize = 1000;

/// Resident memory of this program, in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("proc");
    let pages: usize = text.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4096
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

async fn ping(client: &mut TcpStream, size: usize) {
    let sent = pattern(size);
    let mut got = vec![0; size];
    let (mut read, mut write) = client.split();
    let both = async { tokio::join!(write.write_all(&sent), read.read_exact(&mut got)) };
    let (sent_all, got_all) = within(both).await;
    sent_all.expect("sent");
    got_all.expect("answered");
    assert!(got == sent);
}

#[test]
fn m2_a_thousand_connections_leave_nothing_and_idle_ones_hold_no_buffer() {
    run(async {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).expect("raised");
        // relays to an echo: four sockets and two chains for each client
        let any = "127.0.0.1:0".parse().expect("an address");
        let echo = listener::tcp(any, ListenOptions::default()).expect("bound");
        let echo_at = echo.local().socket_addr().expect("an address");
        let _echo = echo.start(|accepted| {
            let Ok(stream) = accepted.into_stream(&TcpOptions::default()) else { return };
            let (pair, _) = stream.start();
            join_pair(&pair, &pair, None);
        });
        let relay = listener::tcp(any, ListenOptions::default()).expect("bound");
        let at = relay.local().socket_addr().expect("an address");
        let open = Arc::new(AtomicUsize::new(0));
        let counts = open.clone();
        let _relay = relay.start(move |accepted| {
            let options = TcpOptions::default();
            let Ok(left) = accepted.into_stream(&options) else { return };
            counts.fetch_add(1, SeqCst);
            let counts = counts.clone();
            let right = tcp::connect(echo_at.ip().to_string(), echo_at.port(), options);
            let left = left.on_close(move |_| {
                counts.fetch_sub(1, SeqCst);
            });
            let ((right, _), (left, _)) = (right.start(), left.start());
            join_pair(&right, &left, None);
        });
        // once, for what is made at first use
        ping(&mut TcpStream::connect(at).await.expect("connected"), 300_000).await;
        until(|| open.load(SeqCst) == 0 && census().links == 0).await;
        let (before, fds_before, tasks_before) = (census(), fds(), tasks());
        let resident_before = resident();
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut client = TcpStream::connect(at).await.expect("connected");
            ping(&mut client, 70_000).await;
            clients.push(client);
        }
        let each = resident().saturating_sub(resident_before) / (3 * CONNECTIONS);
        println!("{each} bytes of resident memory for each of {} idle streams", 3 * CONNECTIONS);
        assert!(each < 10_000, "{each} bytes for an idle stream");
        assert_eq!(census().components - before.components, 3 * CONNECTIONS);
        // half of them in an orderly way, half by a reset
        for (i, client) in clients.into_iter().enumerate() {
            if i % 2 == 0 {
                socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).expect("set");
            }
        }
        until(|| census() == before && tasks() == tasks_before && fds() == fds_before).await;
        assert_eq!(open.load(SeqCst), 0);
    });
}
