//! Two of our VUT connections over a simulated network: what must hold on good and bad paths.
#![cfg(all(feature = "vut", feature = "testkit"))]

#[path = "support/vut_sim.rs"]
mod sim;

use sim::{App, Ends, World};
use std::time::Duration;
use versile_io::proto::sim::net::{Net, Odds, Shape};
use versile_io::proto::time::Time;
use versile_io::proto::vut::{CloseReason, Event};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn clean(shape: Shape) -> Net {
    Net::new(1, shape.clone(), shape)
}

#[test]
fn a_small_transfer_each_way_closes_with_few_datagrams() {
    let mut world =
        World::new(clean(Shape::new(ms(10))), App::new(5000), App { ends: Ends::AfterPeer, ..App::new(300) });
    world.ladder = Some(Vec::new());
    let reasons = world.run_to_end(Time::from_secs(10));
    assert!(reasons.iter().all(|reason| reason.is_end()), "{reasons:?}");
    assert_eq!((world.a().read, world.b().read), (300, 5000));
    world.run_until(Time::from_secs(60), |world| world.ends.iter().all(|end| end.connection.is_gone()));
    let ladder = world.ladder.clone().expect("kept");
    let closing = ladder.iter().filter(|line| line.contains(" 80 ") || line.contains(" 40 ") || line.contains(" c0 "));
    let closing = closing.count();
    println!("{}", ladder.join("\n"));
    assert!(closing <= 10, "{closing} datagrams to close");
    assert!(world.ends.iter().all(|end| end.connection.is_gone()));
}

#[test]
fn one_percent_loss_is_repaired() {
    let shape = Shape::new(ms(20)).rate(20_000_000).queue(200_000).loss(Odds::percent(1.0));
    let mut world = World::new(clean(shape), App::new(2_000_000), App::new(500_000));
    let reasons = world.run_to_end(Time::from_secs(120));
    assert!(reasons.iter().all(|reason| reason.is_end()), "{reasons:?}");
    assert_eq!((world.a().read, world.b().read), (500_000, 2_000_000));
    println!("{} {:?}", world.now, world.ends[0].connection.stats());
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
    assert!(reasons.iter().all(|reason| reason.is_end()), "{reasons:?}");
    assert!(world.a().events.contains(&Event::PeerStopped));
    assert_eq!(world.a().read, 1000);
}
