//! `Batch`: datagrams to one address that leave with one system call: all of one size, the last one maybe shorter.

use super::udp::{PAYLOAD_MAX, Udp};
use crate::proto::vut::EcnMark;
use crate::proto::vut::native::connection::Transmit;
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;

thread_local! {
    /// The octets of a batch that is empty: all sockets of a thread take turns.
    static ROOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Datagrams that are on their way out.
///
/// # Invariants
///
/// `octets[sent..used]` are datagrams of `size` to `to` with mark `ecn`, only the last one may be shorter, and then nothing joins them any more;
/// behind them is `next`, which did not join them: another address or congestion mark, or larger.
#[derive(Debug, Default)]
pub(super) struct Batch {
    octets: Vec<u8>,
    sent: usize,
    used: usize,
    size: usize,
    to: Option<SocketAddr>,
    ecn: Option<EcnMark>,
    next: Option<Transmit<SocketAddr>>,
}

/// What a batch is after datagrams were added.
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

    /// Lets `write` put datagrams, each of at most `max` octets, behind the others. `None` if it had none. The batch is not
    /// [`Filled::Full`].
    pub(super) fn add(
        &mut self,
        udp: &Udp,
        max: usize,
        write: impl FnOnce(&mut [u8]) -> Option<Transmit<SocketAddr>>,
    ) -> Option<Filled> {
        debug_assert!(self.next.is_none(), "not full");
        if self.octets.is_empty() {
            self.octets = ROOM.take();
        }
        let room = if self.is_empty() && udp.is_batched() { PAYLOAD_MAX.max(max) } else { max };
        if self.octets.len() < self.used + room {
            self.octets.resize(self.used + room, 0);
        }
        let Some(added) = write(&mut self.octets[self.used..self.used + room]) else {
            self.give_back();
            return None;
        };
        if self.is_empty() {
            self.begin(added);
        } else if (self.to, self.ecn) == (Some(added.to), added.ecn)
            && (added.segment == self.size || added.octets <= self.size)
        {
            self.used += added.octets;
        } else {
            self.next = Some(added);
            return Some(Filled::Full);
        }
        let open = self.used.is_multiple_of(self.size) && self.used / self.size < udp.segments(self.size);
        Some(if open { Filled::Open } else { Filled::Full })
    }

    fn begin(&mut self, first: Transmit<SocketAddr>) {
        (self.sent, self.used, self.size) = (0, first.octets, first.segment);
        (self.to, self.ecn) = (Some(first.to), first.ecn);
    }

    /// Sends what is there. An error that is no `WouldBlock` is given once the datagrams are given up.
    pub(super) fn flush(&mut self, udp: &Udp) -> io::Result<()> {
        let mut failed = Ok(());
        while let (false, Some(to)) = (self.is_empty(), self.to) {
            while self.sent < self.used {
                let end = self.used.min(self.sent + self.size * udp.segments(self.size));
                match udp.try_send(to, self.ecn, &self.octets[self.sent..end], self.size) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(e),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    // GSO was refused and is off from now on: one datagram a call
                    Err(_) if end - self.sent > self.size && udp.segments(self.size) == 1 => {}
                    result => {
                        self.sent = end;
                        failed = failed.and(result);
                    }
                }
            }
            let behind = self.used;
            self.used = 0;
            if let Some(next) = self.next.take() {
                self.octets.copy_within(behind..behind + next.octets, 0);
                self.begin(next);
            }
        }
        self.give_back();
        failed
    }

    /// Nothing is held while nothing is under way.
    fn give_back(&mut self) {
        if self.is_empty() {
            ROOM.set(std::mem::take(&mut self.octets));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::vut::udp::Batching;
    use std::net::UdpSocket;
    use std::time::Duration;

    const MAX: usize = 508;

    fn receiver() -> UdpSocket {
        let peer = UdpSocket::bind("127.0.0.1:0").expect("bound");
        peer.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
        peer
    }

    /// Sends datagrams, or several at once, each as (receiver, sizes), and says which lengths each receiver got.
    fn carried(batching: Batching, sent: &[(usize, &[usize])]) -> [Vec<usize>; 2] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _entered = runtime.enter();
        let udp = Udp::bind("127.0.0.1:0".parse().expect("an address"), batching).expect("bound");
        let peers = [receiver(), receiver()];
        let mut counts = [0_u8; 2];
        let mut batch = Batch::default();
        let flush = |batch: &mut Batch| {
            runtime.block_on(std::future::poll_fn(|cx| udp.poll_writable(cx))).expect("writable");
            batch.flush(&udp).expect("sent");
        };
        for (to, lens) in sent {
            let write = |buf: &mut [u8]| {
                let mut octets = 0;
                for len in *lens {
                    buf[octets..octets + len].fill(counts[*to]);
                    counts[*to] += 1;
                    octets += len;
                }
                Some(Transmit { to: peers[*to].local_addr().expect("bound"), octets, segment: lens[0], ecn: None })
            };
            if batch.add(&udp, MAX, write) == Some(Filled::Full) {
                flush(&mut batch);
            }
        }
        flush(&mut batch);
        assert!(batch.is_empty());
        std::array::from_fn(|peer| {
            let mut buf = [0; 2048];
            let receive = |n: u8| {
                let len = peers[peer].recv(&mut buf).expect("it arrives");
                assert!(buf[..len].iter().all(|octet| *octet == n), "datagram {n}");
                len
            };
            (0..counts[peer]).map(receive).collect()
        })
    }

    #[test]
    fn datagrams_of_all_sizes_arrive_whole_and_in_order_with_and_without_batches() {
        let lens = [508, 508, 508, 40, 508, 21, 22, 23, 22, 22, 508, 508, 507, 508];
        for batching in [Batching::Auto, Batching::Off] {
            let each: Vec<(usize, &[usize])> = lens.chunks(1).map(|len| (0, len)).collect();
            assert_eq!(carried(batching, &each)[0], lens, "{batching:?}");
            let many = [500; 150];
            let each: Vec<(usize, &[usize])> = many.chunks(1).map(|len| (0, len)).collect();
            assert_eq!(carried(batching, &each)[0], many, "more than one call takes, {batching:?}");
        }
    }

    #[test]
    fn a_batch_goes_to_one_address_and_another_ones_datagram_begins_the_next() {
        for batching in [Batching::Auto, Batching::Off] {
            let sent: [(usize, &[usize]); 6] =
                [(0, &[100]), (0, &[100]), (1, &[100]), (1, &[40]), (0, &[100]), (0, &[508])];
            assert_eq!(carried(batching, &sent), [vec![100, 100, 100, 508], vec![100, 40]], "{batching:?}");
        }
    }

    #[test]
    fn several_that_come_together_join_what_has_their_size() {
        let sent: [(usize, &[usize]); 5] =
            [(0, &[100, 100, 100]), (0, &[100, 100, 7]), (0, &[50, 50]), (0, &[60, 60, 60]), (1, &[1])];
        let lens = vec![100, 100, 100, 100, 100, 7, 50, 50, 60, 60, 60];
        assert_eq!(carried(Batching::Auto, &sent), [lens, vec![1]]);
    }
}
