//! Question: what does an idle connection cost in memory, VUT's beside quinn's?
//!
//! So many connections between two sockets of this process, opened one after the other, nothing sent. What the process holds more after
//! than before, by its resident set, divided by twice their number: each has two ends here. Ours counts whole: a stream's actor, a source
//! and a sink; quinn's are the handles alone. Each is run in a process of its own.
//!
//! ```text
//! cargo run --release --manifest-path benches/rivals/Cargo.toml --bin vut_idle [-- --connections 1000]
//! ```

use bytes::Bytes;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use versile_io::agent::vut::{self, Batching, VutOptions};
use versile_io::component::join;
use versile_io::component::stock::{PartResult, Pull, Sink, Source};
use versile_io::proto::link::Credit;
use versile_io::proto::vut::wire::Secrets;

struct Silent;

impl Source for Silent {
    type Out = Bytes;
    fn poll_pull(&mut self, _: Credit, _: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        Poll::Pending
    }
}

struct Nothing;

impl Sink for Nothing {
    type In = Bytes;
    fn consume(&mut self, _: Bytes) -> PartResult {
        Ok(())
    }
}

/// Octets that the process holds.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

async fn vut(connections: usize) -> usize {
    let bind = || vut::bind("127.0.0.1:0".parse().expect("an address"), Batching::Auto).expect("bound");
    let (a, b) = (bind(), bind());
    let secrets = Secrets::new([1; 32], [2; 32]).expect("safe");
    let mut held = Vec::new();
    let mut before = 0;
    for n in 0..=connections {
        for (ours, theirs, secrets) in [(&a, &b, secrets.clone()), (&b, &a, secrets.swapped())] {
            let transport = ours.connect(theirs.local(), secrets, VutOptions::default());
            let status = transport.status();
            let (pair, _) = transport.start();
            let ((outlet, _), (inlet, _)) = (Silent.start(), Nothing.start());
            join(&pair.outlet, &inlet, None);
            join(&outlet, &pair.inlet, None);
            held.push((status, pair, outlet, inlet));
        }
        let open = |status: &vut::VutStatus| status.export(b"idle", b"", &mut [0; 1]) == Ok(true);
        while !held[held.len() - 2..].iter().all(|(status, ..)| open(status)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if n == 0 {
            // the first brings the buffers that all share
            before = resident();
        }
    }
    // what a handshake leaves behind is let go
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(held.iter().all(|(status, ..)| status.close_reason().is_none()), "all are open");
    resident() - before
}

async fn quinn(connections: usize) -> usize {
    let key = rcgen::KeyPair::generate().expect("a key");
    let cert = rcgen::CertificateParams::new(vec!["l".to_owned()]).and_then(|params| params.self_signed(&key));
    let cert = cert.expect("a certificate");
    let chain = vec![cert.der().clone()];
    let private = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let server = quinn::ServerConfig::with_single_cert(chain, private).expect("a certificate");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a certificate");
    let client = quinn::ClientConfig::with_root_certificates(Arc::new(roots)).expect("roots");
    let at = "127.0.0.1:0".parse().expect("an address");
    let server = quinn::Endpoint::server(server, at).expect("an endpoint");
    let mut from = quinn::Endpoint::client(at).expect("an endpoint");
    from.set_default_client_config(client);
    let to = server.local_addr().expect("bound");
    let mut held = Vec::new();
    let mut before = 0;
    for n in 0..=connections {
        let connecting = from.connect(to, "l").expect("begun");
        let (ours, theirs) = tokio::join!(connecting, async { server.accept().await.expect("somebody").await });
        held.push((ours.expect("a connection"), theirs.expect("a connection")));
        if n == 0 {
            before = resident();
        }
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(held.iter().all(|(ours, theirs)| ours.close_reason().or(theirs.close_reason()).is_none()), "all are open");
    resident() - before
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1).cloned());
    let connections = value("--connections").and_then(|text| text.parse().ok()).unwrap_or(1000);
    let Some(of) = value("--of") else {
        let program = std::env::current_exe().expect("this program");
        for of in ["vut", "quinn"] {
            let count = connections.to_string();
            let status = std::process::Command::new(&program).args(["--of", of, "--connections", &count]).status();
            assert!(status.expect("started").success());
        }
        return;
    };
    let system = actix_rt::System::new();
    let octets = system.block_on(async { if of == "vut" { vut(connections).await } else { quinn(connections).await } });
    println!(
        "{of}: {:.1} KiB for each end of {connections} connections",
        octets as f64 / 1024.0 / 2.0 / connections as f64
    );
}
