//! Two VUT connections in the native profile over random networks and with random applications: each run ends with all octets in place and
//! proven ends at both sides, or with the right error at both, in bounded virtual time. `VERSILE_SEEDS` sets the number of runs,
//! `VERSILE_SEED` names one.
#![cfg(all(feature = "vut", feature = "testkit"))]

#[expect(dead_code, reason = "shared by several tests")]
#[path = "support/vut_sim.rs"]
mod sim;

use sim::{App, Ends, World};
use std::time::Duration;
use versile_io::proto::sim::Rng;
use versile_io::proto::sim::net::{Loss, Marks, Nat, Net, Odds, Renewal, Shape};
use versile_io::proto::time::Time;
use versile_io::proto::vut::{CloseReason, Event, Profile, Proof};

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
        shape = shape.rate(rate).queue(12_000 + rng.magnitude(500_000));
    }
    shape = shape.marks(match rng.below(10) {
        0 => Marks::Cleared,
        1 => Marks::Changed,
        2 => Marks::Dropped,
        _ => Marks::Kept,
    });
    if rng.chance(50) {
        shape = shape.marking(1_000 + rng.magnitude(200_000));
    }
    if rng.chance(70) {
        shape = shape.mtu(rng.between(508, 10_000) as usize);
    }
    shape
}

fn app(rng: &mut Rng) -> App {
    let ends = if rng.chance(50) { Ends::Written } else { Ends::AfterPeer };
    let mut app = App { ends, ..App::new(if rng.chance(10) { 0 } else { rng.magnitude(200_000) }) };
    app.chunk = rng.magnitude(20_000) as usize;
    app.window = if rng.chance(50) { 262_144 } else { 1 + rng.magnitude(100_000) };
    if rng.chance(30) {
        app.pause = Duration::from_millis(rng.magnitude(300)).min(Duration::from_millis(app.window));
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

/// What the network does once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    BlackOut(Time, Duration),
    Rebind(Time),
}

fn trouble(rng: &mut Rng) -> Trouble {
    match rng.below(10) {
        0 => Trouble::BlackOut(Time::from_millis(rng.magnitude(20_000)), Duration::from_millis(rng.magnitude(25_000))),
        1..=2 => Trouble::Rebind(Time::from_millis(rng.magnitude(20_000))),
        _ => Trouble::None,
    }
}

/// Says what ran when a test fails.
struct OnPanic(String);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    let (there, back) = (shape(&mut rng), shape(&mut rng));
    let mut net = Net::new(seed, there.clone(), back.clone());
    let mut apps = [app(&mut rng), app(&mut rng)];
    if apps.iter().all(|app| app.ends == Ends::AfterPeer) {
        apps[0].ends = Ends::Written; // or they would wait for each other
    }
    for n in 0..2 {
        // a window for a round trip of half a second, and not more than half an hour for all
        apps[n].window = apps[n].window.max(apps[1 - n].sends / 1000);
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
    let trouble = trouble(&mut rng);
    if let Trouble::Rebind(_) = trouble {
        let renewal = if rng.chance(70) { Renewal::NewPort } else { Renewal::SamePort };
        net = net.behind(Nat::new(Duration::from_secs(30), renewal));
    }
    let _told = OnPanic(format!("seed {seed}: {incident:?} {trouble:?} {apps:?} {there:?} {back:?}"));
    let [a, b] = apps;
    let mut world = World::new(Profile::Native, net, a, b);
    world.strict = cfg!(debug_assertions);
    world.log = std::env::var_os("VERSILE_SEED").map(|_| Vec::new());
    match trouble {
        Trouble::None => {}
        Trouble::BlackOut(at, length) => world.net.black_out(at, length),
        Trouble::Rebind(at) => {
            // while nothing is proven the peer is where it was said to be
            world.run_until(Time::from_secs(60), |world| {
                let proven = |end: &sim::End| end.endpoint.is_connected() || end.closed.is_some();
                world.now >= at && world.ends.iter().all(proven)
            });
            world.net.nat().expect("there").rebind();
        }
    }
    let reasons = world.run_to_end(Time::from_secs(1800));
    // dark for most of the time that a handshake may take: it may have failed, and then it has at both
    let dark =
        matches!(trouble, Trouble::BlackOut(at, length) if at < Time::from_secs(2) && length > Duration::from_secs(10));
    if dark && reasons.contains(&CloseReason::NoAnswer) {
        let failed = |reason: &CloseReason| {
            matches!(reason, CloseReason::NoAnswer | CloseReason::PeerGone | CloseReason::Aborted)
        };
        assert!(reasons.iter().all(failed), "{reasons:?}");
        return;
    }
    for (n, reason) in reasons.iter().enumerate() {
        let (end, peer) = (&world.ends[n], &world.ends[1 - n]);
        match incident {
            // it may be over before the application comes to it
            Incident::Aborts(who) if who == n => {
                assert!(*reason == CloseReason::Aborted || reason.is_end(), "{reason:?}")
            }
            // all may have come to its end before; and when every notice is lost, silence tells
            Incident::Aborts(_) => assert!(
                matches!(reason, CloseReason::AbortedByPeer { .. } | CloseReason::PeerGone | CloseReason::Ended { .. })
                    || (*reason == CloseReason::NoAnswer && end.connected_at.is_none()),
                "{reason:?}"
            ),
            Incident::Stops(who) if who == n => assert!(reason.is_end(), "{reason:?}: {}", world.summary()),
            Incident::Stops(_) => {
                assert!(reason.is_end(), "{reason:?}: {}", world.summary());
                assert_eq!(end.read, sends[1 - n], "the other direction goes on");
            }
            Incident::None => {
                let proven = CloseReason::Ended { sent: Proof::Proven, received: Proof::Proven };
                assert_eq!(*reason, proven, "{}", world.summary());
                assert_eq!(end.read, sends[1 - n]);
                assert!(end.peer_ended && peer.peer_ended);
                assert!(!end.events.contains(&Event::PeerStopped));
            }
        }
        // of what the network did to datagrams nothing looks like a broken peer
        assert_eq!(end.endpoint.stats().malformed, 0);
    }
    // all that is said after the end is over soon
    let sent: u64 = world.ends.iter().map(|end| end.datagrams).sum();
    let gone = world
        .run_until(world.now + Duration::from_secs(90), |world| world.ends.iter().all(|end| end.endpoint.is_gone()));
    assert!(gone, "{}", world.summary());
    let after = world.ends.iter().map(|end| end.datagrams).sum::<u64>() - sent;
    if let Some(log) = &world.log {
        for sent in log.iter().rev().take(90).rev() {
            println!("{} {:?} to {} {:02x} {}", sent.at, sent.side, sent.to, sent.data[0], sent.data.len());
        }
    }
    // what is under way when one gives up still arrives, and may be acknowledged; in the dark DONE is repeated for a minute
    let most = match (incident, trouble) {
        (Incident::Aborts(_), _) | (_, Trouble::BlackOut(..)) => 200,
        _ => 40,
    };
    assert!(after <= most, "{after} datagrams after the end");
}

#[test]
fn every_seed_ends_as_it_should() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("VERSILE_SEED") {
        return run(seed);
    }
    let first = number("VERSILE_FIRST_SEED").unwrap_or(0);
    for seed in first..first + number("VERSILE_SEEDS").unwrap_or(200) {
        run(seed);
    }
}
