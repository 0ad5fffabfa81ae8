//! `Batch`: datagrams to one address that leave with one system call: all of one size, the last one maybe shorter.

use super::udp::Udp;
use std::io;
use std::net::SocketAddr;

/// Datagrams that are on their way out.
///
/// # Invariants
///
/// `octets[..used]` are datagrams of `size`, only the last one may be shorter, and then nothing joins them any more;
/// `octets[used..used + next]` is the one that did not join them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    octets: Vec<u8>,
    used: usize,
    size: usize,
    next: usize,
    to: Option<SocketAddr>,
}

/// What a batch is after a datagram was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// It takes more.
    Open,
    /// It must be sent first.
    Full,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Lets `write` put a datagram of at most `max` octets to `to` behind the others. `None` if it had none. The batch is
    /// not [`Filled::Full`].
    pub(super) fn add(
        &mut self,
        udp: &Udp,
        to: SocketAddr,
        max: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<Filled> {
        debug_assert!(self.next == 0 && (self.is_empty() || self.to == Some(to)), "one address, and not full");
        if self.octets.len() < self.used + max {
            let segments = udp.segments(max) + 1;
            self.octets.resize(self.octets.len().max(segments * max).max(self.used + max), 0);
        }
        let len = write(&mut self.octets[self.used..self.used + max])?;
        self.to = Some(to);
        if self.used == 0 {
            (self.used, self.size) = (len, len);
        } else if len > self.size {
            self.next = len;
            return Some(Filled::Full);
        } else {
            self.used += len;
        }
        let full = len < self.size || self.used / self.size >= udp.segments(self.size);
        Some(if full { Filled::Full } else { Filled::Open })
    }

    /// Sends what is there. An error that is no `WouldBlock` is given once the datagrams are given up.
    pub(super) fn flush(&mut self, udp: &Udp) -> io::Result<()> {
        let mut failed = Ok(());
        while let (false, Some(to)) = (self.is_empty(), self.to) {
            match udp.try_send(to, &self.octets[..self.used], self.size) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(e),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                // GSO was refused and is off from now on: one datagram a call
                Err(_) if self.used > self.size && udp.segments(self.size) == 1 => failed = self.send_each(udp, to),
                result => failed = result,
            }
            self.octets.copy_within(self.used..self.used + self.next, 0);
            (self.used, self.size, self.next) = (self.next, self.next, 0);
        }
        failed
    }

    /// What does not fit is lost, as on any full queue.
    fn send_each(&self, udp: &Udp, to: SocketAddr) -> io::Result<()> {
        self.octets[..self.used].chunks(self.size).try_for_each(|datagram| udp.try_send(to, datagram, self.size))
    }

    /// Gives memory back while nothing is under way.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() {
            self.octets = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::vut::udp::Batching;
    use std::net::UdpSocket;
    use std::time::Duration;

    /// Sends datagrams of these lengths, and says which lengths arrived.
    fn carried(batching: Batching, lens: &[usize]) -> Vec<usize> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _entered = runtime.enter();
        let udp = Udp::bind("127.0.0.1:0".parse().expect("an address"), batching).expect("bound");
        let peer = UdpSocket::bind("127.0.0.1:0").expect("bound");
        peer.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
        let to = peer.local_addr().expect("bound");
        let mut batch = Batch::default();
        for (n, &len) in lens.iter().enumerate() {
            let write = |buf: &mut [u8]| {
                buf[..len].fill(n as u8);
                Some(len)
            };
            if batch.add(&udp, to, 508, write) == Some(Filled::Full) {
                runtime.block_on(std::future::poll_fn(|cx| udp.poll_writable(cx))).expect("writable");
                batch.flush(&udp).expect("sent");
            }
        }
        runtime.block_on(std::future::poll_fn(|cx| udp.poll_writable(cx))).expect("writable");
        batch.flush(&udp).expect("sent");
        assert!(batch.is_empty());
        let mut buf = [0; 2048];
        let receive = |n: usize| {
            let len = peer.recv(&mut buf).expect("it arrives");
            assert!(buf[..len].iter().all(|octet| *octet == n as u8), "datagram {n}");
            len
        };
        (0..lens.len()).map(receive).collect()
    }

    #[test]
    fn datagrams_of_all_sizes_arrive_whole_and_in_order_with_and_without_batches() {
        let lens = [508, 508, 508, 40, 508, 21, 22, 23, 22, 22, 508, 508, 507, 508];
        for batching in [Batching::Auto, Batching::Off] {
            assert_eq!(carried(batching, &lens), lens, "{batching:?}");
            let many = [500; 150];
            assert_eq!(carried(batching, &many), many, "more than one call takes, {batching:?}");
        }
    }
}
