//! Two VUT connections in the native profile over a simulated network: what must hold on good and bad paths.
#![cfg(all(feature = "vut", feature = "testkit"))]

#[expect(dead_code, reason = "shared by several tests")]
#[path = "support/vut_sim.rs"]
mod sim;

use sim::{App, Ends, World};
use std::time::Duration;
use versile_io::proto::sim::net::{Nat, Net, Odds, Renewal, Shape, Side};
use versile_io::proto::time::Time;
use versile_io::proto::vut::{CloseReason, Event, Profile, Proof};

const PROVEN: CloseReason = CloseReason::Ended { sent: Proof::Proven, received: Proof::Proven };

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn clean(shape: Shape) -> Net {
    Net::new(1, shape.clone(), shape)
}

#[test]
fn a_small_transfer_each_way_is_proven_and_closes_with_few_datagrams() {
    let mut world = World::new(
        Profile::Native,
        clean(Shape::new(ms(10))),
        App::new(5000),
        App { ends: Ends::AfterPeer, ..App::new(300) },
    );
    world.strict = true;
    world.log = Some(Vec::new());
    assert_eq!(world.run_to_end(Time::from_secs(10)), [PROVEN, PROVEN], "{}", world.summary());
    assert_eq!((world.a().read, world.b().read), (300, 5000));
    assert_eq!(world.a().endpoint.profile(), Some(Profile::Native));
    let closed = world.ends[0].closed.expect("closed").0.min(world.ends[1].closed.expect("closed").0);
    let gone = world.run_until(Time::from_secs(60), |world| world.ends.iter().all(|end| end.endpoint.is_gone()));
    assert!(gone, "{}", world.summary());
    let log = world.log.as_ref().expect("kept");
    let after = log.iter().filter(|sent| sent.at >= closed).count();
    for sent in log {
        println!("{} {:?} {:02x} {}", sent.at, sent.side, sent.data[0], sent.data.len());
    }
    assert!(after <= 10, "{after} datagrams after closing");
    assert!(world.ends[0].connected_at <= Some(Time::from_millis(30)), "in one round trip and a half");
}

#[test]
fn one_percent_loss_is_repaired() {
    let shape = Shape::new(ms(20)).rate(20_000_000).queue(200_000).loss(Odds::percent(1.0));
    let mut world = World::new(Profile::Native, clean(shape), App::new(2_000_000), App::new(500_000));
    assert_eq!(world.run_to_end(Time::from_secs(120)), [PROVEN, PROVEN]);
    assert_eq!((world.a().read, world.b().read), (500_000, 2_000_000));
    println!("{} {:?}", world.now, world.ends[0].endpoint.stats());
}

#[test]
fn abort_reaches_the_peer() {
    let mut world = World::new(
        Profile::Native,
        clean(Shape::new(ms(20))),
        App::new(2_000_000),
        App { aborts_at: Some(50_000), ..App::new(10) },
    );
    assert_eq!(
        world.run_to_end(Time::from_secs(10)),
        [CloseReason::AbortedByPeer { code: Some(0) }, CloseReason::Aborted]
    );
}

#[test]
fn a_reader_that_stops_ends_the_writer() {
    let mut world = World::new(
        Profile::Native,
        clean(Shape::new(ms(20))),
        App::new(2_000_000),
        App { stops_at: Some(50_000), ..App::new(1000) },
    );
    let reasons = world.run_to_end(Time::from_secs(10));
    let [a, b] = [
        CloseReason::Ended { sent: Proof::Unproven, received: Proof::Proven },
        CloseReason::Ended { sent: Proof::Proven, received: Proof::Unproven },
    ];
    assert_eq!(reasons, [a, b]);
    assert!(world.a().events.contains(&Event::PeerStopped));
    assert_eq!(world.a().read, 1000);
}

#[test]
fn an_hour_of_silence_through_a_nat_with_short_bindings_and_then_data() {
    let shape = Shape::new(ms(30)).loss(Odds::percent(1.0));
    let net = clean(shape).behind(Nat::new(Duration::from_secs(30), Renewal::NewPort));
    let mut world = World::new(Profile::Native, net, App::idle(1000), App::idle(1000));
    assert!(!world.run_until(Time::from_secs(3600), |_| false));
    for end in &mut world.ends {
        assert_eq!((end.read, end.closed), (1000, None));
        assert!(end.endpoint.stats().sent < 1500, "{:?}", end.endpoint.stats());
        end.app.sends = 50_000;
        end.app.ends = Ends::Written;
    }
    assert_eq!(world.run_to_end(Time::from_secs(3660)), [PROVEN, PROVEN]);
    assert_eq!((world.a().read, world.b().read), (50_000, 50_000));
}

#[test]
fn a_blackout_of_thirty_seconds_is_survived_and_goodput_is_back_within_two_seconds_of_the_first_datagram() {
    let shape = Shape::new(ms(40)).rate(10_000_000).queue(100_000);
    let mut world = World::new(Profile::Native, clean(shape), App::new(20_000_000), App::new(0));
    let (from, length) = (Time::from_secs(5), Duration::from_secs(30));
    world.net.black_out(from, length);
    world.run_until(from, |_| false);
    let before = world.b().read as f64 / 5.0;
    assert!(before > 700_000.0, "{before} octets per second before");
    let stood = world.b().read;
    world.run_until(from + length, |_| false);
    assert!(world.b().read - stood < 300_000, "nothing gets through");
    let heard = world.b().endpoint.stats().received;
    world.run_until(Time::from_secs(60), |world| world.ends[1].endpoint.stats().received > heard);
    let first = world.now;
    assert!(first - (from + length) < Duration::from_secs(3), "tried again soon: {}", world.now);
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
        Profile::Native,
        clean(Shape::new(Duration::from_micros(500)).rate(10_000_000).queue(50_000)),
        App::new(3_000_000),
        App::new(0),
    );
    world.run_until(Time::from_secs(1), |_| false);
    for side in Side::BOTH {
        world.net.link(side).set_shape(Shape::new(Duration::from_secs(1)).rate(10_000_000).queue(500_000));
    }
    assert_eq!(world.run_to_end(Time::from_secs(300)), [PROVEN, PROVEN]);
    assert_eq!(world.b().read, 3_000_000);
    let stats = world.a().endpoint.stats();
    println!("all at {}, {stats:?}", world.now);
    assert!(stats.repeated < 400, "few are sent again for nothing: {stats:?}");
}

#[test]
fn four_thousand_single_octets_cross_a_path_that_mixes_them_up() {
    let shape = Shape::new(ms(5)).reorder(Odds::percent(50.0), ms(40));
    let a = App { chunk: 1, ..App::new(4096) };
    let mut world = World::new(Profile::Native, clean(shape), a, App::new(0));
    assert_eq!(world.run_to_end(Time::from_secs(60)), [PROVEN, PROVEN]);
    assert_eq!(world.b().read, 4096);
}

#[test]
fn a_paused_reader_holds_its_grant_and_no_more() {
    let mut world =
        World::new(Profile::Native, clean(Shape::new(ms(5))), App::new(100_000), App { window: 700, ..App::idle(0) });
    world.connect();
    world.b().paused = true;
    world.run_until(Time::from_secs(600), |_| false);
    let (granted, read) = (world.b().granted, world.b().read);
    assert_eq!((world.b().endpoint.held(), world.a().endpoint.acknowledged()), (granted - read, granted));
    // and is told of nothing but that the other is there
    assert!(world.a().datagrams < 150, "{} datagrams in ten minutes", world.a().datagrams);
    world.b().paused = false;
    world.run_until(Time::from_secs(700), |world| world.ends[1].read == 100_000);
    assert_eq!(world.b().read, 100_000);
}

#[test]
fn nobody_answers_and_the_handshake_ends() {
    let mut world = World::new(Profile::Native, clean(Shape::new(ms(5)).loss(Odds::ALWAYS)), App::new(1), App::new(1));
    assert_eq!(world.run_to_end(Time::from_secs(60)), [CloseReason::NoAnswer; 2]);
    assert!(world.now <= Time::from_secs(31));
    assert!(world.a().datagrams <= 20, "{} hellos", world.a().datagrams);
}

#[test]
fn a_peer_that_vanishes_is_noticed_idle_or_not() {
    for sends in [0, 1_000_000] {
        let shape = Shape::new(ms(50)).rate(1_000_000);
        let mut world = World::new(Profile::Native, clean(shape), App::idle(sends), App::idle(0));
        world.net.black_out(Time::from_secs(3), Duration::from_secs(10_000));
        assert_eq!(world.run_to_end(Time::from_secs(200)), [CloseReason::PeerGone; 2]);
        assert!(world.now < Time::from_secs(85), "{}", world.now);
    }
}

#[test]
fn datagrams_grow_to_what_the_path_carries() {
    for (mtu, found) in [(508, 508..=508), (1300, 1232..=1300), (1472, 1472..=1472), (9000, 8972..=8972)] {
        let shape = Shape::new(ms(5)).rate(50_000_000).queue(1_000_000).mtu(mtu);
        let mut world = World::new(Profile::Native, clean(shape), App::new(3_000_000), App::new(0));
        world.run_until(Time::from_secs(30), |world| world.ends[1].read == 3_000_000);
        let size = world.a().endpoint.native().expect("native").datagram();
        assert!(found.contains(&size), "{size} on a path of {mtu}");
        assert_eq!(world.run_to_end(Time::from_secs(60)), [PROVEN, PROVEN]);
    }
}

#[test]
fn two_that_have_settled_do_not_answer_each_others_negotiation_for_ever() {
    // a round trip longer than the distance of repetitions, so that both are repeated
    let mut world = World::new(Profile::Native, clean(Shape::new(ms(400))), App::idle(100), App::idle(100));
    world.connect();
    world.run_until(Time::from_secs(3), |_| false);
    world.log = Some(Vec::new());
    world.run_until(Time::from_secs(13), |_| false);
    let negotiations = world.log.iter().flatten().filter(|sent| sent.data[0] == 0x18).count();
    assert_eq!(negotiations, 0, "all is said");
}
