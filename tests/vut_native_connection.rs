//! Two VUT connections in the native profile over a simulated network: what must hold on good and bad paths.
#![cfg(all(feature = "vut", feature = "testkit"))]

#[path = "support/vut_native_sim.rs"]
mod sim;

use sim::{App, Ends, World};
use std::time::Duration;
use versile_io::proto::sim::net::{Net, Odds, Shape};
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
    let mut world =
        World::new(clean(Shape::new(ms(10))), App::new(5000), App { ends: Ends::AfterPeer, ..App::new(300) });
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
    let mut world = World::new(clean(shape), App::new(2_000_000), App::new(500_000));
    assert_eq!(world.run_to_end(Time::from_secs(120)), [PROVEN, PROVEN]);
    assert_eq!((world.a().read, world.b().read), (500_000, 2_000_000));
    println!("{} {:?}", world.now, world.ends[0].endpoint.stats());
}

#[test]
fn abort_reaches_the_peer() {
    let mut world =
        World::new(clean(Shape::new(ms(20))), App::new(2_000_000), App { aborts_at: Some(50_000), ..App::new(10) });
    assert_eq!(world.run_to_end(Time::from_secs(10)), [CloseReason::AbortedByPeer, CloseReason::Aborted]);
}

#[test]
fn a_reader_that_stops_ends_the_writer() {
    let mut world =
        World::new(clean(Shape::new(ms(20))), App::new(2_000_000), App { stops_at: Some(50_000), ..App::new(1000) });
    let reasons = world.run_to_end(Time::from_secs(10));
    let [a, b] = [
        CloseReason::Ended { sent: Proof::Unproven, received: Proof::Proven },
        CloseReason::Ended { sent: Proof::Proven, received: Proof::Unproven },
    ];
    assert_eq!(reasons, [a, b]);
    assert!(world.a().events.contains(&Event::PeerStopped));
    assert_eq!(world.a().read, 1000);
}
