//! A tiny HTTP/1.1 server: `GET /bytes/N` gives N bytes, each the low byte of a number that its place gives.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// The block that bodies repeat; a prime size, so that no buffer's size hides a shift.
pub(crate) const BLOCK: usize = 65_521;

/// The first bytes of every body.
pub(crate) fn body(bytes: usize) -> Vec<u8> {
    block().into_iter().cycle().take(bytes).collect()
}

fn block() -> Vec<u8> {
    (0..BLOCK as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Serves until the process ends.
pub(crate) fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let at = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for conn in listener.incoming().flatten() {
            // a client that goes away early ends its own thread only
            thread::spawn(move || answer(&conn));
        }
    });
    at
}

fn answer(conn: &TcpStream) -> Option<()> {
    let mut lines = BufReader::new(conn).lines();
    let block = block();
    loop {
        let request = lines.next()?.ok()?;
        while !lines.next()?.ok()?.is_empty() {}
        let bytes: usize = request.split(' ').nth(1)?.split('/').nth(2)?.parse().ok()?;
        let mut to = conn;
        to.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").as_bytes()).ok()?;
        let mut left = bytes;
        while left > 0 {
            let part = left.min(BLOCK);
            to.write_all(&block[..part]).ok()?;
            left -= part;
        }
    }
}
