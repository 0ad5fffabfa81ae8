//! Whole connections in ways that only their insides allow: far positions, far packet numbers, worn keys.

use super::super::keys::{Ephemeral, HandshakeKeys};
use super::super::negotiation::{AeadMask, Offer};
use super::super::packet::WearLimits;
use super::super::role::Secrets;
use super::*;
use crate::proto::vut::native::handshake::Own;
use bytes::Bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At(u8);

impl Address for At {
    fn same_host(&self, other: &Self) -> bool {
        self == other
    }
}

fn side(own: u8, peer: u8, read_limit: u64) -> Connection<At> {
    let secrets = Secrets::new(&[own; 16], &[peer; 16]).expect("safe");
    let keys = HandshakeKeys::new(&secrets, b"").expect("short");
    let offer = Offer {
        public: [0; 32],
        random: [own; 16],
        id: ConnectionId([own; 8]),
        aeads: AeadMask::new(false),
        largest: 1452,
        window: read_limit,
        idle: 60,
    };
    let handshake = Handshake::new(secrets, keys, Own { ephemeral: Ephemeral::new([own; 32]), offer });
    let start = Start { peer: At(peer), began: Time::ZERO, largest: 1452, seed: [own; 32], read_limit };
    Connection::new(Config::default(), handshake, start, Time::ZERO)
}

struct Two {
    ends: [Connection<At>; 2],
    now: Time,
}

impl Two {
    fn connected(window: u64) -> Self {
        let mut two = Self { ends: [side(1, 2, window), side(2, 1, window)], now: Time::ZERO };
        two.run(Duration::from_millis(100));
        assert!(two.ends.iter().all(Connection::is_connected));
        two
    }

    /// Carries datagrams without loss, a millisecond each way, for so long.
    fn run(&mut self, length: Duration) {
        let until = self.now + length;
        while self.now < until {
            let mut carried: [Vec<Vec<u8>>; 2] = Default::default();
            let mut buf = vec![0; 1500];
            for (end, carried) in self.ends.iter_mut().zip(&mut carried) {
                end.handle_timeout(self.now);
                while let Some(transmit) = end.poll_transmit(self.now, &mut buf) {
                    carried.push(buf[..transmit.octets].to_vec());
                }
            }
            self.now += Duration::from_millis(1);
            for (n, datagrams) in carried.into_iter().enumerate() {
                for mut datagram in datagrams {
                    let from = At(if n == 0 { 1 } else { 2 });
                    let to = &mut self.ends[1 - n];
                    if datagram[0] & 0x08 != 0 {
                        to.handle_negotiation(self.now, from, &datagram);
                    } else {
                        to.handle_packet(self.now, from, None, &mut datagram);
                    }
                }
            }
            self.ends.iter().for_each(Connection::check_all);
        }
    }

    /// The first side sends so much, and the second reads it all.
    fn send(&mut self, octets: u64, limit: u64) {
        let (mut left, mut read) = (octets, 0);
        for _ in 0..100_000 {
            let count = left.min(self.ends[0].credit()).min(10_000);
            let data = vec![7; usize::try_from(count).expect("small")];
            self.ends[0].write(Bytes::from(data)).expect("credit");
            left -= count;
            self.run(Duration::from_millis(1));
            while let Some(data) = self.ends[1].read(self.now, 100_000) {
                read += data.len() as u64;
            }
            let granted = self.ends[1].arrived() + limit;
            self.ends[1].set_read_limit(self.now, granted);
            if read == octets {
                return;
            }
        }
        panic!("{read} of {octets}");
    }
}

#[test]
fn the_packet_number_wraps_its_32_bits_across_key_updates() {
    let mut two = Two::connected(1 << 20);
    let sealer = two.ends[0].sealer.take().expect("keys");
    // at most a window of numbers is remembered, so it goes there in steps that the ledger knows nothing of
    let mut sealer = sealer.with_limits(WearLimits { packets: 50, octets: u64::MAX });
    sealer.skip_to((1 << 32) - 300);
    two.ends[0].sealer = Some(sealer);
    two.ends[0].skip_at = u64::MAX;
    two.ends[0].ledger = Ledger::new();
    let mut phases = Vec::new();
    for _ in 0..20 {
        two.send(50_000, 1 << 20);
        phases.push(two.ends[0].phase());
    }
    let next = two.ends[0].sealer.as_ref().map(Sealer::next_number);
    assert!(next > Some(1 << 32), "{next:?}");
    assert!(phases.contains(&Some(false)) && phases.contains(&Some(true)), "{phases:?}");
    assert_eq!(two.ends[1].stats().forged, 0);
    assert!(!two.ends[0].is_closed() && !two.ends[1].is_closed());
}

#[test]
fn positions_beyond_4_gib_are_like_any_other() {
    for far in [(1 << 32) - 100_000, 1 << 40, (1 << 62) - 2_000_000] {
        let mut two = Two::connected(0);
        let [a, b] = &mut two.ends;
        a.outbox = Outbox::starting_at(far, 8 << 20);
        b.inbox = Inbox::starting_at(far);
        b.told_limit = far;
        b.set_read_limit(two.now, far + 300_000);
        two.run(Duration::from_millis(20));
        two.send(1_000_000, 300_000);
        two.ends[0].finish(two.now);
        two.run(Duration::from_millis(50));
        assert_eq!(two.ends[0].output, Output::Done(Proof::Proven));
        assert_eq!(two.ends[1].arrived(), far + 1_000_000);
    }
}

#[test]
fn a_key_that_is_used_up_ends_the_connection() {
    let mut two = Two::connected(1 << 20);
    let sealer = two.ends[0].sealer.take().expect("keys");
    two.ends[0].sealer = Some(sealer.with_limits(WearLimits { packets: 3, octets: u64::MAX }));
    let mut buf = vec![0; 1500];
    // nothing of what leaves is acknowledged
    two.ends[0].write(Bytes::from(vec![7; 20_000])).expect("credit");
    while two.ends[0].poll_transmit(two.now, &mut buf).is_some() {}
    for _ in 0..20 {
        two.now += Duration::from_secs(2);
        two.ends[0].handle_timeout(two.now);
        while two.ends[0].poll_transmit(two.now, &mut buf).is_some() {}
    }
    let events: Vec<_> = std::iter::from_fn(|| two.ends[0].poll_event()).collect();
    assert_eq!(events.last(), Some(&Event::Closed(CloseReason::WornOut)), "{events:?}");
    assert!(two.ends[0].is_gone());
}

#[test]
fn an_acknowledgement_of_a_number_that_was_left_out_breaks_the_protocol() {
    let mut two = Two::connected(1 << 20);
    let first = two.ends[0].skip_at;
    two.send(200_000, 1 << 20);
    assert!(two.ends[0].skip_at > first, "one was left out");
    assert!(!two.ends[0].is_closed(), "an honest peer does not acknowledge it");
    // a peer that acknowledges what it has not received, before it is noticed
    let skipped = two.ends[0].sealer.as_ref().expect("keys").next_number() + 1;
    two.ends[0].skip_at = skipped;
    two.ends[1].acks.on_packet(skipped, two.now, super::super::acks::Press::Silent, None);
    two.ends[0].write(Bytes::from(vec![7; 5000])).expect("credit");
    two.run(Duration::from_millis(50));
    let told = |end: &mut Connection<At>| std::iter::from_fn(|| end.poll_event()).last();
    assert_eq!(told(&mut two.ends[0]), Some(Event::Closed(CloseReason::Violation)));
    assert_eq!(told(&mut two.ends[1]), Some(Event::Closed(CloseReason::AbortedByPeer { code: Some(1) })));
}
