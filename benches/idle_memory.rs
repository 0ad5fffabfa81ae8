//! Question: how much memory does an idle relayed connection cost, beside `tokio::io::copy_bidirectional`?
//!
//! Each contender runs as a process of its own (this program, started again). The parent opens connections through it,
//! echoes 64 bytes on each, and reads the resident memory of the child before and after, per connection:
//!
//! ```text
//! cargo bench --bench idle_memory            # 1,000 connections
//! cargo bench --bench idle_memory -- --quick # 100, for CI
//! ```

use actix::System;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use versile_io::agent::listener::{self, ListenOptions};
use versile_io::agent::tcp::{self, TcpOptions};
use versile_io::component::join_pair;
use versile_io::component::stock::Duplex;
use versile_io::supervisor::Supervisor;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const CONTENDERS: [&str; 4] = ["chain", "chain, supervised", "tokio copy 8 KiB", "tokio copy 256 KiB"];

/// The child: relays to `to` until it is killed.
fn serve(contender: &str, to: SocketAddr) {
    let supervised = contender == "chain, supervised";
    let buffer = if contender.ends_with("256 KiB") { 256 * 1024 } else { 8 * 1024 };
    if contender.starts_with("chain") {
        return System::new().block_on(async move {
            let observer = supervised.then(|| Supervisor::current().observer());
            let bound = listener::tcp(ANY, ListenOptions::default()).expect("bound");
            println!("{}", bound.local().socket_addr().expect("an address"));
            bound.start(move |accepted| {
                let options = TcpOptions::default();
                let Ok(left) = accepted.into_stream(&options) else { return };
                let right = tcp::connect(to.ip().to_string(), to.port(), options);
                let ((right, _), (left, _)) = (right.start(), left.start());
                join_pair(&right, &left, observer.clone());
            });
            std::future::pending().await
        });
    }
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&rt, async move {
        let listener = tokio::net::TcpListener::bind(ANY).await.expect("bound");
        println!("{}", listener.local_addr().expect("bound"));
        loop {
            let (mut left, _) = listener.accept().await.expect("accepted");
            tokio::task::spawn_local(async move {
                let mut right = tokio::net::TcpStream::connect(to).await.expect("connected");
                let _ = tokio::io::copy_bidirectional_with_sizes(&mut left, &mut right, buffer, buffer).await;
            });
        }
    })
}

/// Resident memory of a process in KiB.
fn resident(of: &Child) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", of.id())).expect("Linux");
    let line = text.lines().find(|l| l.starts_with("Rss:")).expect("Rss");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

/// Echoes on every connection it accepts, from one thread.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind(ANY).expect("bound");
    let at = listener.local_addr().expect("bound");
    thread::spawn(move || {
        let mut open = Vec::new();
        for conn in listener.incoming() {
            let mut conn = conn.expect("accepted");
            let mut buf = [0; 64];
            conn.read_exact(&mut buf).expect("read");
            conn.write_all(&buf).expect("echoed");
            open.push(conn);
        }
    });
    at
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|a| a == "--serve") {
        return serve(&args[at + 1], args[at + 2].parse().expect("an address"));
    }
    let n = if args.iter().any(|a| a == "--quick") { 100 } else { 1000 };
    let to = echo_server();
    println!("| relay | KiB per idle connection, of {n} |\n|---|---|");
    for contender in CONTENDERS {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--serve", contender, &to.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("its address");
        let at: SocketAddr = line.trim().parse().expect("an address");
        let talk = || {
            let mut conn = TcpStream::connect(at).expect("connected");
            conn.write_all(&[7; 64]).expect("sent");
            conn.read_exact(&mut [0; 64]).expect("echoed");
            conn
        };
        // the first connections pay for what all share
        let warm: Vec<TcpStream> = (0..10).map(|_| talk()).collect();
        let before = resident(&child);
        let open: Vec<TcpStream> = (0..n).map(|_| talk()).collect();
        println!("| {contender} | {:.2} |", (resident(&child) - before) / f64::from(n));
        drop((warm, open));
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }
}
