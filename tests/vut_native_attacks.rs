//! Whole VUT connections under the attacks that `docs/vut-native.md` names, and who speaks which profile with whom.
#![cfg(all(feature = "vut", feature = "testkit"))]

#[expect(dead_code, reason = "shared by several tests")]
#[path = "support/vut_sim.rs"]
mod sim;

use sim::{App, End, Ends, Sent, World, fresh, secrets, setup};
use std::time::Duration;
use versile_io::proto::sim::Rng;
use versile_io::proto::sim::net::{Address, Nat, Net, Odds, Renewal, Shape, Side};
use versile_io::proto::time::Time;
use versile_io::proto::vut::native::switch::Mode;
use versile_io::proto::vut::{CloseReason, Config, Connection, Endpoint, Event, Profile, Proof, Setup};

const PROVEN: CloseReason = CloseReason::Ended { sent: Proof::Proven, received: Proof::Proven };
const ELSEWHERE: Address = Address { host: 66, port: 666 };

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn net() -> Net {
    Net::new(1, Shape::new(ms(10)), Shape::new(ms(10)))
}

/// Connection number `run` between two with the same secrets for ever.
fn world(run: u64, a: App, b: App) -> World {
    let net = net();
    let setups = Side::BOTH.map(|side| setup(&net, run, side, Mode::Native));
    World::with(net, setups, a, b)
}

fn exported(end: &End) -> [u8; 32] {
    let mut out = [0; 32];
    end.endpoint.exporter().expect("connected").export(b"test", b"", &mut out).expect("short");
    out
}

/// All datagrams of a whole connection.
fn recorded(run: u64) -> Vec<Sent> {
    let mut world = world(run, App::new(20_000), App::new(20_000));
    world.log = Some(Vec::new());
    world.run_to_end(Time::from_secs(10));
    world.log.expect("kept")
}

#[test]
fn the_same_secrets_twice_give_different_keys() {
    let keys = [1, 2].map(|run| {
        let mut world = world(run, App::new(100), App::new(100));
        world.connect();
        assert_eq!(exported(world.a()), exported(world.b()));
        exported(world.a())
    });
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn one_connection_replayed_into_the_next_changes_nothing() {
    let old = recorded(1);
    assert!(old.len() > 30);
    let mut world = world(2, App::new(20_000), App::new(20_000));
    // all at the start, then one with each step
    let mut rest = old.iter().cycle();
    for at_once in [old.len(), 1, 1, 1].into_iter().chain(std::iter::repeat_n(3, 400)) {
        for sent in rest.by_ref().take(at_once) {
            let (from, to) = (world.net.address(sent.side), sent.side.other());
            world.ends[to as usize].endpoint.handle_datagram(world.now, from, &mut sent.data.clone());
        }
        world.step();
    }
    assert_eq!(world.run_to_end(Time::from_secs(30)), [PROVEN, PROVEN]);
    assert_eq!((world.a().read, world.b().read), (20_000, 20_000));
}

#[test]
fn a_peer_that_reflects_is_heard_by_nobody() {
    let mut world = world(1, App::new(100), App::new(100));
    let peer = world.net.address(Side::B);
    let mut buf = vec![0; 65_535];
    let mut sent = 0;
    while world.a().closed.is_none() && world.now < Time::from_secs(60) {
        let now = world.now;
        let endpoint = &mut world.a().endpoint;
        endpoint.handle_timeout(now);
        while let Some(transmit) = endpoint.poll_transmit(now, &mut buf) {
            sent += 1;
            endpoint.handle_datagram(now, peer, &mut buf[..transmit.octets].to_vec());
        }
        // it speaks nothing else, so the profile is known without a peer
        assert_eq!((endpoint.profile(), endpoint.is_connected()), (Some(Profile::Native), false));
        if let Some(Event::Closed(reason)) = endpoint.poll_event() {
            assert_eq!(reason, CloseReason::NoAnswer);
            assert_eq!(endpoint.stats().forged, sent);
            return;
        }
        world.now += ms(50);
    }
    panic!("it ends");
}

/// The first datagram that an endpoint sends.
fn hello(side: Side, run: u64, mode: Mode) -> Vec<u8> {
    let mut endpoint = Endpoint::new(setup(&net(), run, side, mode), Time::ZERO).expect("safe");
    let mut buf = vec![0; 2000];
    let transmit = endpoint.poll_transmit(Time::ZERO, &mut buf).expect("a hello");
    buf[..transmit.octets].to_vec()
}

#[test]
fn a_recorded_hello_from_elsewhere_makes_us_flood_nobody() {
    let mut endpoint = Endpoint::new(setup(&net(), 1, Side::B, Mode::Native), Time::ZERO).expect("safe");
    let (mut buf, mut sent) = (vec![0; 2000], 0);
    for step in 0..600 {
        let now = Time::from_millis(step * 50);
        endpoint.handle_datagram(now, ELSEWHERE, &mut hello(Side::A, 9, Mode::Native));
        endpoint.handle_timeout(now);
        while endpoint.poll_transmit(now, &mut buf).is_some() {
            sent += 1;
        }
    }
    assert_eq!(endpoint.profile(), Some(Profile::Native));
    assert!(sent <= 20, "{sent} datagrams to an address from which nothing came");
}

#[test]
fn a_bit_stripped_by_a_third_party_is_a_forgery() {
    for mode in [Mode::Native, Mode::Auto] {
        let mut world = World::modes(net(), [mode, mode], App::new(100), App::new(100));
        let mut stripped = hello(Side::A, 1, mode);
        assert_eq!(stripped[0], 0x10);
        stripped[0] = 0;
        let from = world.net.address(Side::A);
        world.b().endpoint.handle_datagram(Time::ZERO, from, &mut stripped);
        assert_eq!((world.b().endpoint.profile(), world.b().endpoint.stats().forged), (None, 1));
        assert_eq!(world.run_to_end(Time::from_secs(10)), [PROVEN, PROVEN]);
    }
}

#[test]
fn a_recorded_hello_without_the_bit_is_dropped_in_mode_native_and_ends_the_connection_in_mode_auto() {
    for mode in [Mode::Native, Mode::Auto] {
        let mut world = World::modes(net(), [mode, mode], App::new(100), App::new(100));
        let from = world.net.address(Side::A);
        world.b().endpoint.handle_datagram(Time::ZERO, from, &mut hello(Side::A, 9, Mode::Compat));
        let reasons = world.run_to_end(Time::from_secs(100));
        if mode == Mode::Native {
            assert_eq!(reasons, [PROVEN, PROVEN]);
        } else {
            assert_eq!(reasons[1], CloseReason::Downgraded);
            assert!(!reasons[0].is_end(), "{reasons:?}");
            assert_eq!(world.b().read, 0, "nothing was delivered under the old MAC");
        }
    }
}

#[test]
fn eight_old_negotiations_before_the_true_one_do_no_harm() {
    let old: Vec<Vec<u8>> = (10..18)
        .map(|run| {
            let mut endpoint = Endpoint::new(setup(&net(), run, Side::A, Mode::Native), Time::ZERO).expect("safe");
            let from = net().address(Side::B);
            endpoint.handle_datagram(Time::ZERO, from, &mut hello(Side::B, run, Mode::Native));
            let mut buf = vec![0; 2000];
            let sent: Vec<Vec<u8>> = std::iter::from_fn(|| {
                let transmit = endpoint.poll_transmit(Time::ZERO, &mut buf)?;
                Some(buf[..transmit.octets].to_vec())
            })
            .collect();
            sent.into_iter().find(|datagram| datagram[0] == 0x18).expect("an N")
        })
        .collect();
    let mut world = world(1, App::new(20_000), App::new(20_000));
    let from = world.net.address(Side::A);
    for mut datagram in old {
        world.b().endpoint.handle_datagram(Time::ZERO, from, &mut datagram);
        world.pump();
    }
    assert_eq!(world.b().endpoint.profile(), Some(Profile::Native));
    assert!(!world.b().endpoint.is_connected());
    assert_eq!(world.run_to_end(Time::from_secs(20)), [PROVEN, PROVEN]);
    assert_eq!((world.a().read, world.b().read), (20_000, 20_000));
}

#[test]
fn a_million_datagrams_that_do_not_authenticate_change_nothing_but_a_counter() {
    let count = if cfg!(debug_assertions) { 30_000 } else { 1_000_000 };
    let mut world = world(1, App::idle(20_000), App::idle(1000));
    world.log = Some(Vec::new());
    let done = world.run_until(Time::from_secs(5), |world| {
        world.ends[1].read == 20_000 && world.ends[0].read == 1000 && world.net.next_arrival().is_none()
    });
    assert!(done, "connected");
    // the search of the datagram size goes on for a while; then what is due is said
    world.run_until(Time::from_secs(20), |world| world.now > Time::from_secs(10) && world.net.next_arrival().is_none());
    let (now, from) = (world.now, world.net.address(Side::A));
    let log = world.log.take().expect("kept");
    world.pump();
    let (own, heard): (Vec<&Sent>, Vec<&Sent>) = log.iter().partition(|sent| sent.side == Side::B);
    let mut rng = Rng::new(11);
    let plain = |world: &World| {
        let text = format!("{:?}", world.ends[1].endpoint);
        let counters = ["forged: ", "old: ", "ignored: "];
        let mut parts = text.split_inclusive(' ').peekable();
        let mut out = String::new();
        while let Some(part) = parts.next() {
            out.push_str(part);
            if counters.contains(&part) {
                parts.next();
            }
        }
        out
    };
    let before = plain(&world);
    let sum = |world: &World| {
        let stats = world.ends[1].endpoint.stats();
        stats.forged + stats.old + stats.ignored
    };
    let counted = sum(&world);
    for n in 0..count {
        let pick = |from: &[&Sent]| from[n % from.len()].data.clone();
        let mut datagram = match n % 5 {
            0 => pick(&own),   // reflected
            1 => pick(&heard), // replayed
            2 => (0..rng.between(1, 1500)).map(|_| rng.bits() as u8).collect(),
            _ => pick(&heard),
        };
        // what answers a repeated N of the peer is its true N alone
        if n % 5 == 1 && datagram[0] == 0x18 {
            datagram[100] ^= 1;
        }
        if n % 5 == 3 {
            datagram.truncate(rng.below(datagram.len() as u64) as usize);
        } else if n % 5 == 4 {
            let bit = rng.below(datagram.len() as u64 * 8) as usize;
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
        let source = if n % 2 == 0 { from } else { ELSEWHERE };
        world.b().endpoint.handle_datagram(now, source, &mut datagram);
    }
    assert_eq!(sum(&world) - counted, count as u64);
    assert_eq!(plain(&world), before);
    let mut buf = vec![0; 65_535];
    let answer = world.b().endpoint.poll_transmit(now, &mut buf);
    assert_eq!(answer, None, "no answer to any: {:02x}", buf[0]);
}

#[test]
fn an_address_change_that_is_forged_changes_nothing() {
    let mut world = world(1, App::idle(1000), App::idle(1000));
    world.connect();
    let (now, peer) = (world.now, world.b().endpoint.peer());
    let mut rng = Rng::new(5);
    for _ in 0..100 {
        let mut datagram: Vec<u8> = (0..100).map(|_| rng.bits() as u8).collect();
        datagram[0] = 0x04;
        world.b().endpoint.handle_datagram(now, ELSEWHERE, &mut datagram);
    }
    assert_eq!(world.b().endpoint.peer(), peer);
    while let Some(transmit) = world.b().endpoint.poll_transmit(now, &mut vec![0; 65_535]) {
        assert_eq!(transmit.to, peer);
    }
}

#[test]
fn an_address_change_that_is_a_copied_datagram_gets_a_challenge_and_no_data() {
    let mut world = world(1, App::idle(200_000), App::idle(200_000));
    world.connect();
    let peer = world.b().endpoint.peer();
    let mut elsewhere = 0;
    for _ in 0..200 {
        // each datagram of A comes from the attacker first
        let (now, mut buf) = (world.now, vec![0; 65_535]);
        let mut ahead = Vec::new();
        while let Some(transmit) = world.a().endpoint.poll_transmit(now, &mut buf) {
            ahead.extend(buf[..transmit.octets].chunks(transmit.segment).map(<[u8]>::to_vec));
        }
        for (n, datagram) in ahead.into_iter().enumerate() {
            if n % 2 == 0 {
                world.b().endpoint.handle_datagram(now, ELSEWHERE, &mut datagram.clone());
            }
            world.b().endpoint.handle_datagram(now, peer, &mut datagram.clone());
        }
        while let Some(transmit) = world.b().endpoint.poll_transmit(now, &mut buf) {
            if transmit.to == ELSEWHERE {
                elsewhere += 1;
                assert!(transmit.octets < 60, "only a challenge");
            } else {
                for datagram in buf[..transmit.octets].chunks(transmit.segment) {
                    world.net.send(now, Side::B, transmit.to, datagram.to_vec());
                }
            }
        }
        assert_eq!(world.b().endpoint.peer(), peer);
        world.step();
    }
    assert!(elsewhere > 0, "it was tried");
    world.run_until(world.now + Duration::from_secs(20), |world| world.ends[1].read == 200_000);
    assert_eq!((world.b().read, world.b().endpoint.peer()), (200_000, peer));
}

#[test]
fn an_address_change_that_is_real_is_followed() {
    let net = net().behind(Nat::new(Duration::from_secs(3600), Renewal::NewPort));
    let mut world = World::new(Profile::Native, net, App::new(3_000_000), App::new(3_000_000));
    for end in &mut world.ends {
        end.app.pause = ms(1);
        end.app.window = 20_000;
    }
    world.run_until(Time::from_secs(20), |world| world.ends[1].read > 100_000);
    let before = world.b().endpoint.peer();
    world.net.nat().expect("there").rebind();
    let moved = world.run_until(world.now + Duration::from_secs(3), |world| world.ends[1].endpoint.peer() != before);
    assert!(moved, "{}", world.summary());
    assert_eq!(world.run_to_end(Time::from_secs(100)), [PROVEN, PROVEN]);
}

#[test]
fn each_pair_of_modes_speaks_what_the_table_says() {
    use Mode::{Auto, Compat, Native};
    let table = [
        (Native, Native, Some(Profile::Native)),
        (Native, Auto, Some(Profile::Native)),
        (Auto, Auto, Some(Profile::Native)),
        (Auto, Compat, Some(Profile::Compat)),
        (Compat, Compat, Some(Profile::Compat)),
        (Native, Compat, None),
    ];
    for (one, other, profile) in table {
        for (n, modes) in [[one, other], [other, one]].into_iter().enumerate() {
            let shape = Shape::new(ms(10)).loss(Odds::percent(5.0)).reorder(Odds::percent(5.0), ms(5));
            let net = Net::new(n as u64 + 3, shape.clone(), shape);
            let mut world =
                World::modes(net, modes, App::new(50_000), App { ends: Ends::AfterPeer, ..App::new(30_000) });
            let reasons = world.run_to_end(Time::from_secs(120));
            match profile {
                Some(profile) => {
                    assert!(reasons.iter().all(|reason| reason.is_end()), "{modes:?}: {reasons:?}");
                    assert_eq!((world.a().read, world.b().read), (30_000, 50_000), "{modes:?}");
                    for end in &world.ends {
                        assert_eq!(end.endpoint.profile(), Some(profile), "{modes:?}");
                    }
                }
                None => {
                    let expected = modes.map(|mode| match mode {
                        Native => CloseReason::OnlyLegacy,
                        _ => CloseReason::NoAnswer,
                    });
                    assert_eq!(reasons, expected, "{modes:?}");
                }
            }
        }
    }
}

#[test]
fn mode_auto_talks_to_a_connection_that_knows_only_0_8() {
    let setup = Setup { mode: Mode::Auto, ..Setup::new(secrets(), net().address(Side::B), fresh(1, Side::A)) };
    let mut ours = Endpoint::new(setup, Time::ZERO).expect("safe");
    let mut theirs = Connection::new(Config::default(), &secrets().swapped(), Time::ZERO);
    let from = net().address(Side::B);
    let (mut now, mut buf, mut read) = (Time::ZERO, vec![0; 508], Vec::new());
    ours.set_read_limit(now, 1000);
    theirs.set_read_limit(now, 1000);
    for _ in 0..1000 {
        while let Some(transmit) = ours.poll_transmit(now, &mut buf) {
            theirs.handle_datagram(now, &buf[..transmit.octets]);
        }
        while let Some(len) = theirs.poll_transmit(now, &mut buf) {
            ours.handle_datagram(now, from, &mut buf[..len]);
        }
        if ours.credit() > 0 && ours.written() == 0 {
            ours.write(bytes::Bytes::from_static(b"hello")).expect("credit");
            ours.finish(now);
            theirs.finish(now);
        }
        while let Some(data) = theirs.read(now, 100) {
            read.extend_from_slice(&data);
        }
        now += ms(10);
        ours.handle_timeout(now);
        theirs.handle_timeout(now);
        if ours.is_closed() && theirs.is_closed() {
            break;
        }
    }
    assert_eq!((&read[..], ours.profile()), (&b"hello"[..], Some(Profile::Compat)));
    let last = std::iter::from_fn(|| ours.poll_event()).last();
    assert!(matches!(last, Some(Event::Closed(reason)) if reason.is_end()), "{last:?}");
}
