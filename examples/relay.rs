//! Goal: relay: each connection that is accepted is joined, both ways, to one that is made to another server.
//!
//! Command: `cargo run --example relay`
//!
//! Expected output:
//!
//! ```text
//! through the relay: 1000000 bytes there, and back the same
//! ```
//!
//! A slow side slows the other down, whatever the rates: each link has a window of 256 KiB, and no more is ever held.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use versile_io::agent::listener::{self, Accepted, ListenOptions};
use versile_io::agent::tcp::{self, TcpOptions};
use versile_io::component::join_pair;
use versile_io::component::stock::Duplex;

/// Joins a connection to a new one to `to`. Half-closes and resets pass through as what they are.
fn relay(accepted: Accepted, to: SocketAddr) {
    let Ok(left) = accepted.into_stream(&TcpOptions::default()) else { return };
    let right = tcp::connect(to.ip().to_string(), to.port(), TcpOptions::default());
    let ((left, _), (right, _)) = (left.start(), right.start());
    join_pair(&right, &left, None);
}

/// The server behind the relay: sends back what it gets, once it has got everything.
async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let (mut connection, _) = listener.accept().await?;
    let mut all = Vec::new();
    connection.read_to_end(&mut all).await?;
    connection.write_all(&all).await
}

#[actix::main]
async fn main() -> std::io::Result<()> {
    let server = TcpListener::bind("127.0.0.1:0").await?;
    let to = server.local_addr()?;
    actix_rt::spawn(serve(server));
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let listening = listener::tcp(any_port, ListenOptions::default())?.start(move |accepted| relay(accepted, to));
    let Some(address) = listening.local().socket_addr() else { return Ok(()) };

    let mut client = TcpStream::connect(address).await?;
    let request: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    client.write_all(&request).await?;
    client.shutdown().await?;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await?;
    let same = if answer == request { "the same" } else { "something else" };
    println!("through the relay: {} bytes there, and back {same}", request.len());
    Ok(())
}
