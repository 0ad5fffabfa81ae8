//! A TCP pair while strangers connect to every listener of this program. Alone in it: it would disturb every other test.

use std::time::Duration;
use tokio::net::TcpStream;
use versile_io::agent::tcp::{self, TcpOptions};

#[path = "support/agent.rs"]
mod support;
use support::*;

/// The inodes of the sockets of this program, as text.
fn our_sockets() -> std::collections::HashSet<String> {
    let fds = std::fs::read_dir("/proc/self/fd").expect("proc").flatten();
    let links = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    links.filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect()
}

#[test]
fn a_pair_turns_a_stranger_away() {
    run(async {
        // strangers connect to every new listener that they see
        let mut stop = actix_rt::spawn(async {
            let mut kept = Vec::new();
            loop {
                let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
                let ours = our_sockets();
                let is_ours = |line: &&str| line.split_whitespace().nth(9).is_some_and(|inode| ours.contains(inode));
                for line in table.lines().filter(|line| line.contains(" 0A ")).filter(is_ours) {
                    let port = line.split_whitespace().nth(1).and_then(|at| at.split(':').nth(1));
                    let port = port.and_then(|hex| u16::from_str_radix(hex, 16).ok()).unwrap_or(0);
                    if let Ok(Ok(stranger)) =
                        tokio::time::timeout(Duration::from_millis(5), TcpStream::connect(("127.0.0.1", port))).await
                    {
                        kept.push(stranger);
                        kept.truncate(100);
                    }
                }
                tokio::task::yield_now().await;
            }
        });
        for _ in 0..20 {
            let (a, b) = tcp::pair(&TcpOptions::default()).await.expect("a pair");
            let left = rig(a, Feed::new("to b", 1), Keep::default());
            let right = rig(b, Feed::new("to a", 1), Keep::default());
            assert_eq!(within(left.sink).await.0.expect("the part").bytes, b"to a");
            assert_eq!(within(right.sink).await.0.expect("the part").bytes, b"to b");
        }
        stop.abort();
        let _ = (&mut stop).await;
    });
}
