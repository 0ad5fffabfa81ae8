//! A listener that runs out of descriptors pauses, does not turn in circles, and goes on by itself. Alone in its program: it
//! lowers the limit of all of it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use versile_io::agent::listener::{self, ListenOptions};
use versile_io::agent::tcp::TcpOptions;
use versile_io::component::join_pair;
use versile_io::component::stock::Duplex;

#[path = "support/agent.rs"]
mod support;
use support::*;

/// Processor time of this thread in nanoseconds.
fn spent() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("proc");
    text.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
}

#[test]
fn want_of_descriptors_pauses_accepting_without_a_busy_loop() {
    run(async {
        let any = "127.0.0.1:0".parse().expect("an address");
        let bound = listener::tcp(any, ListenOptions::default()).expect("bound");
        let at = bound.local().socket_addr().expect("an address");
        let mut clients = Vec::new();
        for _ in 0..5 {
            clients.push(TcpStream::connect(at).await.expect("in the backlog"));
        }
        // opened before: the limit is for those that are opened from now on
        let schedule = std::fs::File::open("/proc/thread-self/schedstat").expect("proc");
        drop(schedule);
        let whole = getrlimit(Resource::Nofile);
        let before = spent();
        setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum: whole.maximum }).expect("lowered");
        let _listening = bound.start(|accepted| {
            let Ok(stream) = accepted.into_stream(&TcpOptions::default()) else { return };
            let (pair, _) = stream.start();
            join_pair(&pair, &pair, None);
        });
        clients[0].write_all(b"ping").await.expect("sent");
        let mut answer = [0; 4];
        let early = tokio::time::timeout(Duration::from_millis(300), clients[0].read_exact(&mut answer)).await;
        assert!(early.is_err(), "nothing could be accepted");
        setrlimit(Resource::Nofile, whole).expect("raised");
        let used = spent() - before;
        assert!(used < 60_000_000, "{used} ns of 300 ms");
        within(clients[0].read_exact(&mut answer)).await.expect("served by itself");
        for client in &mut clients[1..] {
            client.write_all(b"ping").await.expect("sent");
            within(client.read_exact(&mut answer)).await.expect("served");
        }
    });
}
