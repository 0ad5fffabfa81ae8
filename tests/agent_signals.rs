//! Writing to a peer that has gone raises no `SIGPIPE`, so a program that has given the signal its default action back is not
//! killed. Alone in its program: it takes the signal.

use std::rc::Rc;
use tokio::signal::unix::{SignalKind, signal};
use versile_io::agent::fd;
use versile_io::agent::stream::{Stream, StreamSettings};
use versile_io::agent::tcp::{self, TcpOptions};
use versile_io::agent::unix;
use versile_io::component::stock::Directions;

#[path = "support/agent.rs"]
mod support;
use support::*;

async fn write_until_it_fails(stream: Stream) {
    let rig = rig(stream, Endless(Rc::default()), Keep::default());
    cause(&within(rig.source).await.1);
}

#[test]
fn sockets_raise_no_sigpipe() {
    run(async {
        let mut raised = signal(SignalKind::pipe()).expect("taken");
        for _ in 0..20 {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
            let ours = tokio::net::TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
            let stream = tcp::from_stream(ours, &TcpOptions::default()).expect("a stream");
            // closed only now, so that the first write succeeds and a later one fails
            let (theirs, _) = listener.accept().await.expect("accepted");
            drop(theirs);
            write_until_it_fails(stream).await;
            let (ours, theirs) = tokio::net::UnixStream::pair().expect("a pair");
            drop(theirs);
            write_until_it_fails(unix::from_stream(ours, &unix::UnixOptions::default())).await;
        }
        settle().await;
        let none = tokio::time::timeout(std::time::Duration::from_millis(20), raised.recv()).await;
        assert!(none.is_err(), "a signal was raised");
        // a pipe cannot do without: this shows that the signal would have been seen
        let (read, write) = fd::pipe().expect("a pipe");
        drop(read);
        let settings = StreamSettings { directions: Directions::WriteOnly, ..StreamSettings::default() };
        write_all(fd::from_fd(write, settings).expect("a stream"), Feed::new("x", 1)).await;
        within(raised.recv()).await.expect("raised by the pipe");
    });
}
