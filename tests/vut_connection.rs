//! Two of our VUT connections over a simulated network: what must hold on good and bad paths.
#![cfg(all(feature = "vut", feature = "testkit"))]

#[expect(dead_code, reason = "shared by several tests")]
#[path = "support/vut_sim.rs"]
mod sim;

use sim::{App, Ends, World, setup};
use std::time::Duration;
use versile_io::proto::sim::Rng;
use versile_io::proto::sim::net::{Nat, Net, Odds, Renewal, Shape, Side};
use versile_io::proto::time::Time;
use versile_io::proto::vut::native::switch::Mode;
use versile_io::proto::vut::wire::Secrets;
use versile_io::proto::vut::{CloseReason, Event, Profile, Setup};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn clean(shape: Shape) -> Net {
    Net::new(1, shape.clone(), shape)
}

#[test]
fn a_small_transfer_each_way_closes_with_few_datagrams() {
    let mut world = World::new(
        Profile::Compat,
        clean(Shape::new(ms(10))),
        App::new(5000),
        App { ends: Ends::AfterPeer, ..App::new(300) },
    );
    world.log = Some(Vec::new());
    let reasons = world.run_to_end(Time::from_secs(10));
    assert!(reasons.iter().all(|reason| reason.is_end()), "{reasons:?}");
    assert_eq!((world.a().read, world.b().read), (300, 5000));
    world.run_until(Time::from_secs(60), |world| world.ends.iter().all(|end| end.endpoint.is_gone()));
    let ladder = world.ladder();
    let closing = ladder.iter().filter(|line| ["  80  ", "  40  ", "  c0  "].iter().any(|flags| line.contains(flags)));
    let closing = closing.count();
    assert!(closing <= 10, "{closing} datagrams to close");
    assert!(world.ends.iter().all(|end| end.endpoint.is_gone()));
}

#[test]
fn one_percent_loss_is_repaired() {
    let shape = Shape::new(ms(20)).rate(20_000_000).queue(200_000).loss(Odds::percent(1.0));
    let mut world = World::new(Profile::Compat, clean(shape), App::new(2_000_000), App::new(500_000));
    let reasons = world.run_to_end(Time::from_secs(120));
    assert!(reasons.iter().all(|reason| reason.is_end()), "{reasons:?}");
    assert_eq!((world.a().read, world.b().read), (500_000, 2_000_000));
    println!("{} {:?}", world.now, world.ends[0].endpoint.stats());
}

#[test]
fn abort_reaches_the_peer() {
    let mut world = World::new(
        Profile::Compat,
        clean(Shape::new(ms(20))),
        App::new(2_000_000),
        App { aborts_at: Some(50_000), ..App::new(10) },
    );
    assert_eq!(
        world.run_to_end(Time::from_secs(10)),
        [CloseReason::AbortedByPeer { code: None }, CloseReason::Aborted]
    );
}

#[test]
fn a_reader_that_stops_ends_the_writer() {
    let mut world = World::new(
        Profile::Compat,
        clean(Shape::new(ms(20))),
        App::new(2_000_000),
        App { stops_at: Some(50_000), ..App::new(1000) },
    );
    let reasons = world.run_to_end(Time::from_secs(10));
    assert!(reasons.iter().all(|reason| reason.is_end()), "{reasons:?}");
    assert!(world.a().events.contains(&Event::PeerStopped));
    assert_eq!(world.a().read, 1000);
}

#[test]
fn a_million_datagrams_that_do_not_authenticate_change_nothing_but_a_counter() {
    let count = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let old = {
        let other = Secrets::new([7; 32], [8; 32]).expect("safe");
        let net = clean(Shape::new(ms(5)));
        let setups = Side::BOTH.map(|side| Setup {
            secrets: if side == Side::A { other.clone() } else { other.swapped() },
            ..setup(&net, 1, side, Mode::Compat)
        });
        let mut world = World::with(net, setups, App::new(20_000), App::new(1000));
        world.log = Some(Vec::new());
        world.run_to_end(Time::from_secs(10));
        world.log.expect("kept")
    };
    let mut world = World::new(Profile::Compat, clean(Shape::new(ms(5))), App::idle(20_000), App::idle(1000));
    let done = world.run_until(Time::from_secs(5), |world| world.ends[1].read == 20_000 && world.ends[0].read == 1000);
    assert!(done, "connected, and quiet");
    let (now, from) = (world.now, world.net.address(Side::A));
    // what B itself has sent, as A would see it: sent back to B it is a reflection
    let mut own = Vec::new();
    let mut buf = [0; 508];
    world.b().endpoint.set_read_limit(now, 1_000_000);
    while let Some(transmit) = world.b().endpoint.poll_transmit(now, &mut buf) {
        own.push(buf[..transmit.octets].to_vec());
    }
    assert!(!own.is_empty());
    let mut rng = Rng::new(11);
    let plain = |world: &World| without_counters(&format!("{:?}", world.ends[1].endpoint));
    let sum = |world: &World| {
        let stats = world.ends[1].endpoint.stats();
        stats.forged + stats.ignored
    };
    let (before, counted) = (plain(&world), sum(&world));
    for n in 0..count {
        let mut datagram = own[n % own.len()].clone();
        match n % 5 {
            0 => {}                                          // reflected
            1 => datagram = old[n % old.len()].data.clone(), // replayed from a connection with other secrets
            2 => datagram.truncate(rng.below(datagram.len() as u64) as usize),
            3 => datagram = (0..rng.between(1, 1500)).map(|_| rng.bits() as u8).collect(),
            _ => {
                let bit = rng.below(datagram.len() as u64 * 8) as usize;
                datagram[bit / 8] ^= 1 << (bit % 8);
            }
        }
        world.b().endpoint.handle_datagram(now, from, &mut datagram);
    }
    assert_eq!(sum(&world) - counted, count as u64);
    assert_eq!(plain(&world), before);
    assert_eq!(world.b().endpoint.poll_transmit(now, &mut buf), None, "no answer to any");
}

#[test]
fn its_own_datagrams_replayed_are_answered_and_nothing_grows() {
    let count = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
    let mut world = World::new(Profile::Compat, clean(Shape::new(ms(5))), App::idle(20_000), App::idle(1000));
    world.log = Some(Vec::new());
    let done = world.run_until(Time::from_secs(5), |world| world.ends[1].read == 20_000 && world.ends[0].read == 1000);
    assert!(done, "connected, and quiet");
    let heard: Vec<Vec<u8>> =
        world.log.take().expect("kept").into_iter().filter(|sent| sent.side == Side::A).map(|sent| sent.data).collect();
    let (now, from) = (world.now, world.net.address(Side::A));
    let (mut buf, mut answers) = ([0; 508], 0);
    let before = format!("{:?}", world.b().endpoint).len();
    for n in 0..count {
        world.b().endpoint.handle_datagram(now, from, &mut heard[n % heard.len()].clone());
        if n % 7 == 0 {
            while world.b().endpoint.poll_transmit(now, &mut buf).is_some() {
                answers += 1;
            }
        }
    }
    assert!(answers <= count, "at most one for each: {answers}");
    let endpoint = &world.b().endpoint;
    assert_eq!((endpoint.held(), endpoint.is_closed(), endpoint.arrived()), (0, false, 20_000));
    // counters have more digits, and what is owed is bounded
    assert!(format!("{endpoint:?}").len() < before + 2000, "{endpoint:?}");
}

/// The text without the numbers of counters.
fn without_counters(text: &str) -> String {
    let mut parts = text.split_inclusive(' ');
    let mut out = String::new();
    while let Some(part) = parts.next() {
        out.push_str(part);
        if ["forged: ", "ignored: "].contains(&part) {
            parts.next();
        }
    }
    out
}

#[test]
fn an_hour_of_silence_through_a_nat_with_short_bindings_and_then_data() {
    let shape = Shape::new(ms(30)).loss(Odds::percent(1.0));
    let net = clean(shape).behind(Nat::new(Duration::from_secs(30), Renewal::NewPort));
    let mut world = World::new(Profile::Compat, net, App::idle(1000), App::idle(1000));
    assert!(!world.run_until(Time::from_secs(3600), |_| false));
    for end in &mut world.ends {
        assert_eq!((end.read, end.closed), (1000, None));
        assert!(end.endpoint.stats().sent < 1500, "{:?}", end.endpoint.stats());
        end.app.sends = 50_000;
        end.app.ends = Ends::Written;
    }
    let reasons = world.run_to_end(Time::from_secs(3660));
    assert!(reasons.iter().all(|reason| reason.is_end()), "{reasons:?}");
    assert_eq!((world.a().read, world.b().read), (50_000, 50_000));
}

#[test]
fn a_blackout_of_thirty_seconds_is_survived_and_goodput_is_back_within_two_seconds_of_the_first_datagram() {
    let shape = Shape::new(ms(40)).rate(10_000_000).queue(100_000);
    let mut world = World::new(Profile::Compat, clean(shape), App::new(20_000_000), App::new(0));
    let (from, length) = (Time::from_secs(5), Duration::from_secs(30));
    world.net.black_out(from, length);
    world.run_until(from, |_| false);
    let before = world.b().read as f64 / 5.0;
    assert!(before > 700_000.0, "{before} octets per second before");
    let stood = world.b().read;
    world.run_until(from + length, |_| false);
    assert!(world.b().read - stood < 200_000, "nothing gets through");
    let heard = world.b().endpoint.stats().received;
    world.run_until(Time::from_secs(60), |world| world.ends[1].endpoint.stats().received > heard);
    let first = world.now;
    assert!(first - (from + length) < Duration::from_secs(6), "tried again soon: {}", world.now);
    world.run_until(first + Duration::from_secs(2), |_| false);
    let at = world.b().read;
    world.run_until(first + Duration::from_secs(4), |_| false);
    let after = (world.b().read - at) as f64 / 2.0;
    assert!(after > 0.8 * before, "{after} of {before} octets per second after");
    world.run_to_end(Time::from_secs(120));
    assert_eq!(world.b().read, 20_000_000);
}

#[test]
fn a_round_trip_that_jumps_from_one_millisecond_to_two_seconds_is_survived() {
    let mut world = World::new(
        Profile::Compat,
        clean(Shape::new(Duration::from_micros(500)).rate(10_000_000).queue(50_000)),
        App::new(3_000_000),
        App::new(0),
    );
    world.run_until(Time::from_secs(1), |_| false);
    let stood = world.b().read;
    for side in Side::BOTH {
        world.net.link(side).set_shape(Shape::new(Duration::from_secs(1)).rate(10_000_000).queue(500_000));
    }
    let reasons = world.run_to_end(Time::from_secs(300));
    assert!(reasons.iter().all(|reason| reason.is_end()), "{reasons:?}");
    assert_eq!(world.b().read, 3_000_000);
    let stats = world.a().endpoint.stats();
    println!("{} at the jump, all at {}, {stats:?}", stood, world.now);
    assert!(stats.repeated < 400, "few are sent again for nothing: {stats:?}");
}

#[test]
fn four_thousand_single_octets_cross_a_path_that_mixes_them_up() {
    let shape = Shape::new(ms(5)).reorder(Odds::percent(50.0), ms(40));
    let a = App { chunk: 1, ..App::new(4096) };
    let mut world = World::new(Profile::Compat, clean(shape), a, App::new(0));
    let reasons = world.run_to_end(Time::from_secs(60));
    assert!(reasons.iter().all(|reason| reason.is_end()), "{reasons:?}");
    assert_eq!(world.b().read, 4096);
}

#[test]
fn a_paused_reader_holds_its_grant_and_at_most_one_octet() {
    // the harness asserts it after each step
    let b = App { window: 700, pause: Duration::from_secs(3), ..App::new(0) };
    let mut world = World::new(Profile::Compat, clean(Shape::new(ms(5))), App::new(10_000), b);
    let reasons = world.run_to_end(Time::from_secs(120));
    assert!(reasons.iter().all(|reason| reason.is_end()), "{reasons:?}");
    assert_eq!(world.b().read, 10_000);
}

#[test]
fn nobody_answers_and_the_handshake_ends() {
    let mut world = World::new(Profile::Compat, clean(Shape::new(ms(5)).loss(Odds::ALWAYS)), App::new(1), App::new(1));
    assert_eq!(world.run_to_end(Time::from_secs(60)), [CloseReason::NoAnswer; 2]);
    assert!(world.now <= Time::from_secs(31));
    assert!(world.a().datagrams <= 22, "{} hellos", world.a().datagrams);
}

#[test]
fn a_peer_that_vanishes_is_noticed_idle_or_not() {
    for sends in [0, 1_000_000] {
        let shape = Shape::new(ms(50)).rate(1_000_000);
        let mut world = World::new(Profile::Compat, clean(shape), App::idle(sends), App::idle(0));
        world.net.black_out(Time::from_secs(3), Duration::from_secs(10_000));
        assert_eq!(world.run_to_end(Time::from_secs(200)), [CloseReason::PeerGone; 2]);
        assert!(world.now < Time::from_secs(85), "{}", world.now);
    }
}
