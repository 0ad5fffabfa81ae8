//! Two of our VUT connections over random networks and with random applications: each run ends with all octets in place at both
//! ends, or with the right error at both, in bounded virtual time. `VERSILE_SEEDS` sets the number of runs, `VERSILE_SEED` names one.
#![cfg(all(feature = "vut", feature = "testkit"))]

#[path = "support/vut_sim.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod sim;

use sim::{App, Ends, World};
use std::time::Duration;
use versile_io::proto::sim::Rng;
use versile_io::proto::sim::net::{Loss, Nat, Net, Odds, Renewal, Shape};
use versile_io::proto::time::Time;
use versile_io::proto::vut::{CloseReason, Event, Profile};

/// A share in percent, zero in half of the runs.
fn share(rng: &mut Rng, most: u64) -> f64 {
    if rng.chance(50) { 0.0 } else { rng.below(most * 100) as f64 / 100.0 }
}

fn shape(rng: &mut Rng) -> Shape {
    let delay = Duration::from_micros(rng.magnitude(200_000));
    let loss = share(rng, 20);
    let loss = match rng.chance(30) {
        true => Loss::bursts(loss, rng.between(1, 8) as f64),
        false => Loss::Random(Odds::percent(loss)),
    };
    let mut shape = Shape::new(delay)
        .losing(loss)
        .jitter(Duration::from_micros(if rng.chance(50) { 0 } else { rng.magnitude(20_000) }))
        .reorder(Odds::percent(share(rng, 10)), Duration::from_micros(rng.magnitude(50_000)))
        .duplicate(Odds::percent(share(rng, 5)))
        .corrupt(Odds::percent(share(rng, 3)));
    if rng.chance(70) {
        let rate = 200_000 + rng.magnitude(100_000_000);
        shape = shape.rate(rate).queue(2_000 + rng.magnitude(500_000));
    }
    shape
}

fn app(rng: &mut Rng) -> App {
    let ends = if rng.chance(50) { Ends::Written } else { Ends::AfterPeer };
    let mut app = App { ends, ..App::new(if rng.chance(10) { 0 } else { rng.magnitude(100_000) }) };
    app.chunk = rng.magnitude(20_000) as usize;
    app.window = if rng.chance(50) { 262_144 } else { 300 + rng.magnitude(100_000) };
    if rng.chance(30) {
        app.pause = Duration::from_millis(rng.magnitude(300));
    }
    app
}

/// What an application of a run does that the other must learn of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incident {
    None,
    Aborts(usize),
    Stops(usize),
}

fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    let (there, back) = (shape(&mut rng), shape(&mut rng));
    let net = Net::new(seed, there.clone(), back.clone());
    let mut apps = [app(&mut rng), app(&mut rng)];
    if apps.iter().all(|app| app.ends == Ends::AfterPeer) {
        apps[0].ends = Ends::Written; // or they would wait for each other
    }
    let who = rng.below(2) as usize;
    let at = Some(rng.below(apps[1 - who].sends + 1));
    let incident = match rng.below(10) {
        0 => Incident::Aborts(who),
        1 => Incident::Stops(who),
        _ => Incident::None,
    };
    match incident {
        Incident::Aborts(who) => apps[who].aborts_at = at,
        Incident::Stops(who) => apps[who].stops_at = at,
        Incident::None => {}
    }
    let sends = [apps[0].sends, apps[1].sends];
    println!("seed {seed}: {incident:?} {apps:?} {there:?} {back:?}");
    let mut net = net;
    // the peer is known by its address, so only bindings that come back as they were
    let rebinds = rng.chance(15);
    if rebinds {
        net = net.behind(Nat::new(Duration::from_secs(30), Renewal::SamePort));
    }
    let [a, b] = apps;
    let mut world = World::new(Profile::Compat, net, a, b);
    if rng.chance(10) {
        world.net.black_out(Time::from_millis(rng.magnitude(20_000)), Duration::from_millis(rng.magnitude(25_000)));
    }
    if rebinds {
        let at = Time::from_millis(rng.magnitude(20_000));
        world.run_until(at, |world| world.ends.iter().all(|end| end.closed.is_some()));
        world.net.nat().expect("there").rebind();
    }
    let reasons = world.run_to_end(Time::from_secs(1800));
    for (n, reason) in reasons.iter().enumerate() {
        let (end, peer) = (&world.ends[n], &world.ends[1 - n]);
        match incident {
            // it may be over before the application comes to it
            Incident::Aborts(who) if who == n => {
                assert!(*reason == CloseReason::Aborted || reason.is_end(), "{reason:?}")
            }
            // all may have come to its end before; and when all three notices are lost, silence tells
            Incident::Aborts(_) => assert!(
                matches!(reason, CloseReason::AbortedByPeer { .. } | CloseReason::PeerGone | CloseReason::Ended { .. })
                    || (*reason == CloseReason::NoAnswer && end.connected_at.is_none())
                    || *reason == CloseReason::CloseUnanswered,
                "{reason:?}"
            ),
            Incident::Stops(who) if who == n => assert!(reason.is_end(), "{reason:?}"),
            Incident::Stops(_) => {
                assert!(reason.is_end(), "{reason:?}");
                assert_eq!(end.read, sends[1 - n], "the other direction goes on");
            }
            Incident::None => {
                assert!(reason.is_end(), "{reason:?}: {}", world.summary());
                assert_eq!(end.read, sends[1 - n]);
                assert!(end.peer_ended && peer.peer_ended);
                assert!(!end.events.contains(&Event::PeerStopped));
            }
        }
    }
    // all that is said after the end is over soon
    let sent: u64 = world.ends.iter().map(|end| end.datagrams).sum();
    let gone = world
        .run_until(world.now + Duration::from_secs(60), |world| world.ends.iter().all(|end| end.endpoint.is_gone()));
    assert!(gone, "{}", world.summary());
    let after = world.ends.iter().map(|end| end.datagrams).sum::<u64>() - sent;
    assert!(after <= 30, "{after} datagrams after the end");
}

#[test]
fn every_seed_ends_as_it_should() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("VERSILE_SEED") {
        return run(seed);
    }
    for seed in 0..number("VERSILE_SEEDS").unwrap_or(300) {
        run(seed);
    }
}
