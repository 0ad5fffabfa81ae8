//! Congestion marks in the native profile: a queue that marks need not drop, and a path that does not carry marks costs nothing.
#![cfg(all(feature = "vut", feature = "testkit"))]

#[expect(dead_code, reason = "shared by several tests")]
#[path = "support/vut_sim.rs"]
mod sim;

use sim::{App, World};
use std::time::Duration;
use versile_io::proto::sim::net::{Marks, Nat, Net, Odds, Renewal, Shape, Side};
use versile_io::proto::time::Time;
use versile_io::proto::vut::congestion::{Cubic, MakeController, Model, NewReno};
use versile_io::proto::vut::{CloseReason, Config, Profile, Proof};

const PROVEN: CloseReason = CloseReason::Ended { sent: Proof::Proven, received: Proof::Proven };
const SENDS: u64 = 4_000_000;

/// 10 Mbit/s, 40 ms, a queue of two round trips, datagrams as Ethernet carries them: with larger ones four are all that the queue
/// takes before it marks.
fn shape() -> Shape {
    Shape::new(Duration::from_millis(20)).rate(10_000_000).queue(100_000).mtu(1472)
}

fn transfer(controller: MakeController, shape: Shape) -> World {
    let net = Net::new(1, shape.clone(), shape);
    let config = Config { controller, ..Config::default() };
    let mut world = World::config(Profile::Native, config, net, App::new(SENDS), App::new(0));
    world.strict = true;
    assert_eq!(world.run_to_end(Time::from_secs(60)), [PROVEN, PROVEN]);
    assert_eq!(world.b().read, SENDS);
    world
}

fn carries(world: &mut World) -> Option<bool> {
    world.a().endpoint.native().expect("native").carries_marks()
}

#[test]
fn a_queue_that_marks_does_not_fill_and_nothing_is_lost() {
    for (name, controller) in [("newreno", NewReno::make as MakeController), ("cubic", Cubic::make)] {
        let mut plain = transfer(controller, shape().marks(Marks::Cleared));
        let mut marked = transfer(controller, shape().marking(50_000));
        let (plain_stats, stats) = (plain.a().endpoint.stats(), marked.a().endpoint.stats());
        let full = |world: &mut World| world.net.link(Side::A).counts().full;
        println!(
            "{name}: dropped {} in {}, with marks {} in {}, {} marked",
            full(&mut plain),
            plain.now,
            full(&mut marked),
            marked.now,
            stats.congested
        );
        assert_eq!(carries(&mut marked), Some(true));
        assert!(full(&mut plain) > 0 && plain_stats.repeated > 0, "the queue overflows when it cannot mark");
        assert!(stats.congested > 0 && full(&mut marked) <= full(&mut plain) / 2, "{stats:?}");
        // and the link is about as busy: half of a queue that marks at one round trip is the path itself
        assert!(marked.now.since(Time::ZERO) < plain.now.since(Time::ZERO) * 12 / 10);
    }
}

#[test]
fn each_controller_slows_down_for_marks() {
    for (name, controller) in
        [("newreno", NewReno::make as MakeController), ("cubic", Cubic::make), ("model", Model::make)]
    {
        let mut world = transfer(controller, shape().marking(20_000));
        let stats = world.a().endpoint.stats();
        println!("{name}: {} marked of {}, at {}", stats.congested, stats.sent, world.now);
        assert!(stats.congested < stats.sent / 2, "{name} goes on as before: {stats:?}");
    }
}

#[test]
fn a_path_that_clears_changes_or_drops_marks_is_noticed_and_costs_nothing() {
    for marks in [Marks::Cleared, Marks::Changed, Marks::Dropped] {
        let mut world = transfer(NewReno::make, shape().marking(20_000).marks(marks));
        assert_eq!(carries(&mut world), None, "{marks:?}");
        assert_eq!(world.a().endpoint.stats().congested, 0, "{marks:?}");
        println!("{marks:?}: all at {}", world.now);
        assert!(world.now < Time::from_secs(8), "{marks:?}: {}", world.now);
    }
}

#[test]
fn loss_reordering_and_duplicates_do_not_make_a_good_path_look_bad() {
    for seed in 0..20 {
        let shape = shape()
            .marking(30_000)
            .loss(Odds::percent(5.0))
            .reorder(Odds::percent(5.0), Duration::from_millis(30))
            .duplicate(Odds::percent(3.0));
        let net = Net::new(seed, shape.clone(), shape);
        let mut world = World::new(Profile::Native, net, App::new(300_000), App::new(300_000));
        world.run_to_end(Time::from_secs(60));
        for end in &world.ends {
            assert_eq!(end.endpoint.native().expect("native").carries_marks(), Some(true), "seed {seed}");
        }
    }
}

#[test]
fn another_port_keeps_what_is_known_of_marks() {
    let net = Net::new(3, shape(), shape()).behind(Nat::new(Duration::from_secs(3600), Renewal::NewPort));
    let mut world = World::new(Profile::Native, net, App::new(SENDS), App::new(0));
    world.run_until(Time::from_secs(20), |world| world.ends[1].read > SENDS / 3);
    world.net.nat().expect("there").rebind();
    world.run_to_end(Time::from_secs(60));
    assert_eq!(carries(&mut world), Some(true));
}
