//! Goal: serve connections, each with a chain of its own: what a client sends goes through a filter and back to it.
//!
//! Command: `cargo run --example echo_server`
//!
//! Expected output:
//!
//! ```text
//! the server answered: HELLO, CHAIN
//! ```
//!
//! ```text
//!   client ◀──socket──▶ connection ──▶ Upper ──┐
//!                           ▲──────────────────┘
//! ```

use bytes::Bytes;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use versile_io::agent::listener::{self, Accepted, ListenOptions};
use versile_io::agent::tcp::TcpOptions;
use versile_io::component::join;
use versile_io::component::stock::{Duplex, Filter, Outbox, PartResult};

struct Upper;

impl Filter for Upper {
    type In = Bytes;
    type Out = Bytes;

    fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
        out.push(item.to_ascii_uppercase().into());
        Ok(())
    }
}

/// The chain of one connection. Joining `connection.outlet` to `connection.inlet` at once would echo unchanged.
fn serve(accepted: Accepted) {
    // The client may be gone already; that is no fault of the server.
    let Ok(stream) = accepted.into_stream(&TcpOptions::default()) else { return };
    let (connection, _) = stream.start();
    let (filter_in, filter_out, _) = Upper.start();
    join(&connection.outlet, &filter_in, None);
    join(&filter_out, &connection.inlet, None);
}

#[actix::main]
async fn main() -> std::io::Result<()> {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = listener::tcp(any_port, ListenOptions::default())?.start(serve);
    let Some(address) = server.local().socket_addr() else { return Ok(()) };

    let mut client = tokio::net::TcpStream::connect(address).await?;
    client.write_all(b"hello, chain").await?;
    client.shutdown().await?;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await?;
    println!("the server answered: {answer}");
    Ok(())
}
