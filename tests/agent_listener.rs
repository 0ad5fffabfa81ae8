//! Listeners: permits, the cap, factories that panic, arbiters, stopping, clients that have gone.

use actix::Arbiter;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use versile_io::agent::listener::{self, Accepted, ListenOptions, Listening};
use versile_io::agent::tcp::TcpOptions;
use versile_io::component::join_pair;
use versile_io::component::stock::Duplex;

#[path = "support/agent.rs"]
mod support;
use support::*;

fn listen(options: ListenOptions, factory: impl Fn(Accepted) + Send + Sync + 'static) -> (Listening, SocketAddr) {
    let bound = listener::tcp("127.0.0.1:0".parse().expect("an address"), options).expect("bound");
    let at = bound.local().socket_addr().expect("an address");
    (bound.start(factory), at)
}

/// Sends back what comes.
fn echo(accepted: Accepted) {
    let Ok(stream) = accepted.into_stream(&TcpOptions::default()) else { return };
    let (pair, _) = stream.start();
    join_pair(&pair, &pair, None);
}

/// One question and its answer; the connection.
async fn ask(at: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(at).await.expect("connected");
    client.write_all(b"ping").await.expect("sent");
    let mut answer = [0; 4];
    within(client.read_exact(&mut answer)).await.expect("answered");
    assert_eq!(&answer, b"ping");
    client
}

#[test]
fn permits_add_up_and_nothing_is_accepted_without_one() {
    run(async {
        let count = Arc::new(AtomicUsize::new(0));
        let counts = count.clone();
        let options = ListenOptions { controlled: true, ..ListenOptions::default() };
        let (listening, at) = listen(options, move |accepted| {
            counts.fetch_add(1, SeqCst);
            echo(accepted);
        });
        let mut clients = Vec::new();
        for _ in 0..5 {
            clients.push(TcpStream::connect(at).await.expect("connected"));
        }
        settle().await;
        assert_eq!(count.load(SeqCst), 0, "nothing before a permit");
        listening.permit(1);
        listening.permit(2);
        until(|| count.load(SeqCst) == 3).await;
        settle().await;
        assert_eq!(count.load(SeqCst), 3);
        listening.permit(10);
        until(|| count.load(SeqCst) == 5).await;
    });
}

#[test]
fn the_cap_lets_waiting_clients_in_as_others_leave() {
    run(async {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (open, peak) = (now.clone(), most.clone());
        let options = ListenOptions { max: Some(3), ..ListenOptions::default() };
        let (_listening, at) = listen(options, move |accepted| {
            peak.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
            let open = open.clone();
            let Ok(stream) = accepted.into_stream(&TcpOptions::default()) else { return };
            let (pair, _) = stream
                .on_close(move |_| {
                    open.fetch_sub(1, SeqCst);
                })
                .start();
            join_pair(&pair, &pair, None);
        });
        let clients: Vec<_> = (0..20)
            .map(|_| {
                actix_rt::spawn(async move {
                    let client = ask(at).await;
                    settle().await;
                    drop(client);
                })
            })
            .collect();
        for client in clients {
            within(client).await.expect("served");
        }
        assert!((1..=3).contains(&most.load(SeqCst)), "{most:?}");
        until(|| now.load(SeqCst) == 0).await;
    });
}

#[test]
fn a_factory_that_panics_loses_its_own_connection_only() {
    run(async {
        let turn = AtomicUsize::new(0);
        let (_listening, at) = listen(ListenOptions { max: Some(1), ..ListenOptions::default() }, move |accepted| {
            match turn.fetch_add(1, SeqCst) {
                0 => panic!("as the test asked"),
                // dropped without a word
                1 => drop(accepted),
                _ => echo(accepted),
            }
        });
        for _ in 0..2 {
            let mut lost = TcpStream::connect(at).await.expect("connected");
            let end = within(lost.read(&mut [0; 4])).await.expect_err("no orderly end");
            assert_eq!(end.kind(), ErrorKind::ConnectionReset);
        }
        drop(ask(at).await);
        drop(ask(at).await);
    });
}

#[test]
fn chains_are_spread_over_arbiters_each_whole_on_one_and_dead_arbiters_are_passed_over() {
    run(async {
        let arbiters: Vec<Arbiter> = (0..3).map(|_| Arbiter::new()).collect();
        let seen = Arc::new(Mutex::new(HashMap::<ThreadId, usize>::new()));
        let sees = seen.clone();
        let options =
            ListenOptions { arbiters: arbiters.iter().map(Arbiter::handle).collect(), ..ListenOptions::default() };
        let (_listening, at) = listen(options, move |accepted| {
            *sees.lock().expect("unpoisoned").entry(std::thread::current().id()).or_default() += 1;
            let thread = std::thread::current().id();
            let Ok(stream) = accepted.into_stream(&TcpOptions::default()) else { return };
            let (pair, _) = stream.on_close(move |_| assert_eq!(std::thread::current().id(), thread)).start();
            join_pair(&pair, &pair, None);
        });
        for _ in 0..9 {
            drop(ask(at).await);
        }
        assert_eq!(seen.lock().expect("unpoisoned").values().copied().collect::<Vec<_>>(), [3, 3, 3]);
        let mut arbiters = arbiters.into_iter();
        let dead = arbiters.next().expect("three");
        dead.stop();
        tokio::task::spawn_blocking(move || dead.join()).await.expect("no panic").expect("joined");
        seen.lock().expect("unpoisoned").clear();
        for _ in 0..8 {
            drop(ask(at).await);
        }
        assert_eq!(seen.lock().expect("unpoisoned").values().sum::<usize>(), 8, "none was lost");
        assert_eq!(seen.lock().expect("unpoisoned").len(), 2);
        arbiters.for_each(|arbiter| assert!(arbiter.stop()));
    });
}

#[test]
fn stopping_closes_the_address_at_once_and_leaves_connections() {
    run(async {
        let (listening, at) = listen(ListenOptions::default(), echo);
        let mut client = ask(at).await;
        within(listening.stop()).await;
        assert_eq!(TcpStream::connect(at).await.expect_err("closed").kind(), ErrorKind::ConnectionRefused);
        client.write_all(b"still").await.expect("sent");
        let mut answer = [0; 5];
        within(client.read_exact(&mut answer)).await.expect("answered");
        within(listening.stop()).await;
    });
}

#[test]
fn a_client_that_has_gone_before_it_is_accepted_does_no_harm() {
    run(async {
        let bound = listener::tcp("127.0.0.1:0".parse().expect("an address"), ListenOptions::default()).expect("bound");
        let at = bound.local().socket_addr().expect("an address");
        for linger in [None, Some(Duration::ZERO)] {
            let gone = TcpStream::connect(at).await.expect("connected");
            socket2::SockRef::from(&gone).set_linger(linger).expect("set");
        }
        let _listening = bound.start(echo);
        drop(ask(at).await);
    });
}

/// Arbiters, and a listener over them that notes on which thread each connection's factory ran.
fn noting(
    arbiters: &[Arbiter],
    options: ListenOptions,
) -> (Listening, SocketAddr, Arc<Mutex<HashMap<SocketAddr, ThreadId>>>) {
    let places = Arc::new(Mutex::new(HashMap::new()));
    let noted = places.clone();
    let options = ListenOptions { arbiters: arbiters.iter().map(Arbiter::handle).collect(), ..options };
    let (listening, at) = listen(options, move |accepted| {
        let client = accepted.peer().socket_addr().expect("an address");
        noted.lock().expect("whole").insert(client, std::thread::current().id());
        echo(accepted);
    });
    (listening, at, places)
}

#[test]
fn a_connection_goes_to_the_arbiter_that_has_the_fewest() {
    run(async {
        let arbiters: Vec<Arbiter> = (0..2).map(|_| Arbiter::new()).collect();
        let (listening, at, places) = noting(&arbiters, ListenOptions::default());
        let place = |client: &TcpStream| {
            let addr = client.local_addr().expect("an address");
            places.lock().expect("whole")[&addr]
        };
        let mut clients = Vec::new();
        for _ in 0..6 {
            clients.push(ask(at).await);
        }
        let first = place(&clients[0]);
        let (here, there): (Vec<_>, Vec<_>) = clients.into_iter().partition(|client| place(client) == first);
        assert_eq!((here.len(), there.len()), (3, 3), "equals have turns");
        for mut client in here {
            client.shutdown().await.expect("ended");
            // our end has come back, so the stream on the other side is all but over
            assert_eq!(within(client.read(&mut [0])).await.expect("read"), 0);
        }
        // what is over is noticed in the end: then three in a row go where there are none, which turns alone never give
        let (mut new, mut row) = (Vec::new(), 0);
        within(async {
            while row < 3 {
                let client = ask(at).await;
                row = if place(&client) == first { row + 1 } else { 0 };
                new.push(client);
            }
        })
        .await;
        listening.stop().await;
        drop((there, new));
        arbiters.into_iter().for_each(|arbiter| assert!(arbiter.stop()));
    });
}

#[test]
fn with_a_shared_port_each_arbiter_accepts_for_itself_under_one_cap() {
    run(async {
        let arbiters: Vec<Arbiter> = (0..2).map(|_| Arbiter::new()).collect();
        let options = ListenOptions { reuse_port: true, max: Some(64), ..ListenOptions::default() };
        let (listening, at, places) = noting(&arbiters, options);
        let mut clients = Vec::new();
        for _ in 0..64 {
            clients.push(ask(at).await);
        }
        let threads: std::collections::HashSet<ThreadId> = places.lock().expect("whole").values().copied().collect();
        // all 64 on one side: once in 2^63 runs
        assert_eq!(threads.len(), 2);
        assert!(!threads.contains(&std::thread::current().id()));
        let (late, count) = (ask(at), || places.lock().expect("whole").len());
        tokio::pin!(late);
        tokio::time::timeout(Duration::from_millis(50), &mut late).await.expect_err("the cap is for all together");
        assert_eq!(count(), 64);
        clients.pop();
        within(late).await;
        assert_eq!(count(), 65);
        within(listening.stop()).await;
        let refused = TcpStream::connect(at).await.expect_err("closed on all arbiters");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        arbiters.into_iter().for_each(|arbiter| assert!(arbiter.stop()));
    });
}
