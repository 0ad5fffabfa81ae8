//! A peer that has the secrets and sends what it likes, and an owner that does what it likes: no panic, no invariant broken, nothing held
//! beyond the grant, no flood in answer. `VERSILE_SEEDS` sets the number of runs, `VERSILE_SEED` names one.
#![cfg(all(feature = "vut", feature = "testkit"))]

use bytes::Bytes;
use std::time::Duration;
use versile_io::proto::sim::Rng;
use versile_io::proto::time::Time;
use versile_io::proto::vut::wire::{DATAGRAM_MAX, Datagram, Flags, Header, Keys, Secrets, View, posint};
use versile_io::proto::vut::{Config, Connection, Event};

/// A number near one that matters, or anywhere.
fn near(rng: &mut Rng, matters: &[u64]) -> u64 {
    let at = matters[rng.below(matters.len() as u64) as usize];
    match rng.below(10) {
        0 => rng.magnitude(posint::MAX),
        1..=3 => at.saturating_sub(rng.magnitude(600)),
        4 | 5 => (at + rng.magnitude(600)).min(posint::MAX),
        _ => at,
    }
}

fn run(seed: u64) {
    let rng = &mut Rng::new(seed);
    let secrets = Secrets::new([1; 32], [2; 32]).expect("safe");
    let keys = Keys::new(&secrets.swapped());
    let mut now = Time::from_millis(rng.below(1000));
    let mut ours = Connection::new(Config::default(), &secrets, now);
    let (mut granted, mut read, mut stopped, mut closed, mut buf) = (0, 0, false, None, [0; DATAGRAM_MAX]);
    // what ours last said: its positions are the ones that matter
    let (mut next, mut ack, mut end) = (17u64, 0u64, 128u64);
    let mut sent_in_answer = 0;
    for step in 0..rng.between(50, 400) {
        match rng.below(16) {
            0 => {
                granted += rng.magnitude(100_000);
                ours.set_read_limit(now, granted);
            }
            1 | 2 => {
                let len = ours.credit().min(rng.magnitude(20_000)) as usize;
                let taken = ours.write(Bytes::from(vec![1; len]));
                assert!(taken.is_ok() || ours.credit() == 0);
            }
            3 => {
                if let Some(data) = ours.read(now, rng.magnitude(50_000) as usize) {
                    read += data.len() as u64;
                }
            }
            4 if rng.chance(10) => ours.finish(now),
            5 if rng.chance(5) => {
                stopped = true;
                ours.stop_reading(now);
            }
            6 if rng.chance(3) => ours.abort(now),
            7 | 8 => {
                now += Duration::from_micros(rng.magnitude(20_000_000));
                ours.handle_timeout(now);
            }
            _ => {
                let hello = step < 5 || rng.chance(2);
                let flags = Flags::from_bits(match rng.below(20) {
                    0 => rng.bits() as u8,
                    1 => 0x80,
                    2 => 0x40,
                    3 => 0xc0,
                    4 => rng.bits() as u8 & 0x1f,
                    _ => 0,
                });
                let data = match (hello, rng.below(4)) {
                    (true, _) => b"VUDPTransport-0.8".to_vec(),
                    (_, 0) => Vec::new(),
                    (_, 1) => vec![9],
                    _ => vec![9; rng.below(450) as usize],
                };
                let seq = if hello { 0 } else { near(rng, &[ack, end, 17, ack + 400]) };
                let header =
                    Header { flags, seq, ack: near(rng, &[next, 17, next]), win: near(rng, &[111, 65_518, 13_107]) };
                let mut payload = [0; DATAGRAM_MAX];
                let Ok(len) = (Datagram { header, data }).emit(&keys.send, &mut payload) else { continue };
                let mut datagram = payload[..len].to_vec();
                if rng.chance(5) {
                    // authentic, and cut or changed inside
                    let mut inside = datagram[..rng.between(0, len as u64 - 20) as usize].to_vec();
                    if let Some(octet) = inside.first_mut().filter(|_| rng.chance(50)) {
                        *octet = rng.bits() as u8;
                    }
                    inside.extend(keys.send.tag(&inside));
                    datagram = inside;
                }
                for _ in 0..if rng.chance(5) { 20 } else { 1 } {
                    ours.handle_datagram(now, &datagram);
                    sent_in_answer -= 2;
                }
            }
        }
        for _ in 0..10_000 {
            let Some(len) = ours.poll_transmit(now, &mut buf) else { break };
            let view = View::open(&keys.receive, &buf[..len]).expect("ours is always authentic");
            let Header { flags, seq, ack: acked, .. } = view.header;
            assert!(len <= DATAGRAM_MAX);
            assert!(acked >= 17 || view.data.is_empty() || seq == 0, "data goes with an acknowledgement of the hello");
            assert!(!flags.contains(Flags::CLOSE) || view.data.len() <= 1, "a close never goes with new data");
            (ack, end) = (ack.max(acked), end.max(view.header.end()));
            next = next.max(view.data_end());
            sent_in_answer += i64::from(view.data.is_empty());
        }
        assert_eq!(ours.poll_transmit(now, &mut buf), None, "it stops");
        sent_in_answer = sent_in_answer.max(0);
        assert!(sent_in_answer <= 60, "{sent_in_answer} more datagrams without data than it was given");
        let least = granted.max(Connection::LEAST_READ_LIMIT);
        // who does not read holds what waits for a gap to be filled, within the window that discards
        let most = if stopped { 65_536 + least } else { least.saturating_sub(read) };
        assert!(ours.held() <= most + 1, "at most one octet beyond the grant: {ours:?}");
        while let Some(event) = ours.poll_event() {
            assert_eq!(closed, None, "nothing after the last event");
            if let Event::Closed(reason) = event {
                closed = Some(reason);
            }
        }
    }
    // whatever was done to it: in the end it goes away by itself, once nobody answers
    ours.abort(now);
    for _ in 0..10_000 {
        while ours.poll_transmit(now, &mut buf).is_some() {}
        let Some(at) = ours.poll_timeout(now) else { break };
        now = at.max(now + Duration::from_micros(1));
        ours.handle_timeout(now);
    }
    assert!(ours.is_gone());
}

#[test]
fn whatever_a_peer_with_the_secrets_sends_nothing_breaks() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("VERSILE_SEED") {
        return run(seed);
    }
    for seed in 0..number("VERSILE_SEEDS").unwrap_or(600) {
        println!("seed {seed}");
        run(seed);
    }
}

#[test]
fn no_payload_is_too_strange_to_be_read() {
    let rng = &mut Rng::new(3);
    for _ in 0..200_000 {
        let payload: Vec<u8> = (0..rng.below(40))
            .map(|_| if rng.chance(40) { 0xf0 | rng.bits() as u8 } else { rng.bits() as u8 })
            .collect();
        let Ok(view) = View::checked(&payload) else { continue };
        let keys = Keys::new(&Secrets::allow_unsafe([1], [2]));
        let mut buf = [0; DATAGRAM_MAX];
        let len = view.to_owned().emit(&keys.send, &mut buf).expect("what was read can be written");
        assert!(len <= payload.len() + 20, "and no longer than it was");
        assert_eq!(View::open(&keys.send, &buf[..len]).expect("ours").to_owned(), view.to_owned());
    }
}
