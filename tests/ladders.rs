//! The message ladders of `docs/supervision.md` are those of runs: of the sans-IO ports under a supervisor's transactions
//! (`proto::sim::Pair`), and of the plan of a splice over simulated components (`support/world.rs`).
//!
//! `UPDATE_GOLDEN=1 cargo test --all-features --test ladders` writes them anew; the diff is the change to review.
#![cfg(feature = "testkit")]

#[path = "support/world.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod world;

use bytes::Bytes;
use std::path::Path;
use std::time::Duration;
use versile_io::proto::link::{Cause, Inlet, Origin, Reason, Window};
use versile_io::proto::sim::{Delays, Node, Pair};
use versile_io::proto::splice::{Change, End, Plan, Ways};
use world::{Flow, Manner, Role, Timer, World};

const WINDOW: Window = Window { quantity: 8, messages: 4 };
const DELAY: fn() -> Delays = || Delays::millis(1, 1);

/// A link of two ports, `A` and `B`, and what is done to it; without the line of the seed.
fn pair(run: impl FnOnce(&mut Pair<Bytes>)) -> String {
    let mut pair = Pair::<Bytes>::new(1, DELAY(), vec![Inlet::new(WINDOW)]);
    run(&mut pair);
    let ladder = pair.ladder();
    ladder.lines().skip(1).map(|line| format!("{}\n", line.trim_end())).collect()
}

fn attach() -> String {
    pair(|pair| {
        pair.attach(0).expect("free");
        pair.drive();
    })
}

fn detach() -> String {
    pair(|pair| {
        pair.attach(0).expect("free");
        pair.drive();
        pair.push(Bytes::from_static(b"abc")).expect("taken");
        pair.detach().expect("attached");
        pair.drive();
    })
}

fn abort() -> String {
    pair(|pair| {
        pair.attach(0).expect("free");
        pair.drive();
        pair.push(Bytes::from_static(b"abc")).expect("taken");
        pair.abort(Node::Consumer(0), Cause::new(Reason::Requested("enough".into()), Origin::component("B")));
        pair.drive();
    })
}

/// What of a splice is out of the ordinary.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// The old component gives no partial frame.
    Strict,
    /// The new component is joined to another already.
    Occupied,
    /// C dies at the beginning.
    Death,
}

fn splice(change: Change, ways: Ways, has_state: bool, trouble: Trouble) -> (String, End) {
    let mut world = World::new(1, DELAY());
    let flows = |role: Role, back: Role| match ways {
        Ways::One => vec![Flow::new(role, 0, WINDOW)],
        Ways::Both => vec![Flow::new(role, 0, WINDOW), Flow::new(back, 1, WINDOW)],
    };
    let source = Role::Source { total: 60 };
    let manner = Manner { frame: 7, has_state, strict: trouble == Trouble::Strict };
    let p = world.node("P", manner, flows(source, Role::Sink));
    let c = world.node("C", manner, flows(Role::Sink, source));
    let old = (change != Change::Insert).then(|| world.node("old", manner, flows(Role::Filter, Role::Filter)));
    let new = (change != Change::Remove).then(|| world.node("new", manner, flows(Role::Filter, Role::Filter)));
    let order: Vec<usize> = [Some(p), old, Some(c)].into_iter().flatten().collect();
    for ends in order.windows(2) {
        world.join((ends[0], 0), (ends[1], 0));
        if ways == Ways::Both {
            world.join((ends[1], 1), (ends[0], 1));
        }
    }
    if let (Trouble::Occupied, Some(new)) = (trouble, new) {
        let other = world.node("other", manner, vec![Flow::new(Role::Filter, 0, WINDOW)]);
        world.join((other, 0), (new, 0));
    }
    let lanes = [((p, 0), (c, 0), 0), ((c, 1), (p, 1), 1)][..ways.each().len()].to_vec();
    let begin = Duration::from_millis(4);
    let splice = world.plan(Plan::new(change, ways), lanes, old, new, Duration::from_secs(1));
    world.at(begin, Timer::Splice(splice));
    if trouble == Trouble::Death {
        world.at(begin + Duration::from_micros(500), Timer::Kill(c));
    }
    world.run_until(|world| world.splices[splice].end.is_some());
    let end = world.splices[splice].end.expect("ended");
    let ladder = world.ladder.iter().map(|line| format!("{line}\n")).collect();
    (ladder, end)
}

fn made(change: Change, ways: Ways, has_state: bool) -> String {
    let (ladder, end) = splice(change, ways, has_state, Trouble::None);
    assert_eq!(end, End::Made);
    ladder
}

fn failed(change: Change, has_state: bool, trouble: Trouble, how: End) -> String {
    let (ladder, end) = splice(change, Ways::One, has_state, trouble);
    assert_eq!(end, how);
    ladder
}

fn ladders() -> Vec<(&'static str, String)> {
    vec![
        ("attach", attach()),
        ("detach", detach()),
        ("abort", abort()),
        ("insert", made(Change::Insert, Ways::One, false)),
        ("remove", made(Change::Remove, Ways::One, false)),
        ("replace", made(Change::Replace, Ways::One, true)),
        ("insert both ways", made(Change::Insert, Ways::Both, false)),
        ("remove refused", failed(Change::Remove, false, Trouble::Strict, End::Kept)),
        ("replace refused", failed(Change::Replace, true, Trouble::Occupied, End::Kept)),
        ("replace broken", failed(Change::Replace, false, Trouble::Death, End::Broken)),
    ]
}

#[test]
fn the_ladders_of_the_guide_are_those_of_runs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/supervision.md");
    let guide = std::fs::read_to_string(&path).expect("the guide");
    let mut now = guide.clone();
    let ladders = ladders();
    for (name, ladder) in &ladders {
        let begin = format!("<!-- ladder: {name} -->\n");
        let (before, rest) = now.split_once(&begin).unwrap_or_else(|| panic!("the guide has no ladder of {name}"));
        let (_, after) = rest.split_once("<!-- end of ladder -->\n").expect("its end");
        now = format!("{before}{begin}```text\n{ladder}```\n<!-- end of ladder -->\n{after}");
    }
    assert_eq!(guide.matches("<!-- ladder: ").count(), ladders.len(), "each ladder of the guide is of a run");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return std::fs::write(&path, &now).expect("writable");
    }
    for (n, (is, should)) in guide.lines().zip(now.lines()).enumerate() {
        assert_eq!(is, should, "docs/supervision.md:{}; UPDATE_GOLDEN=1 writes it", n + 1);
    }
    assert_eq!(guide.lines().count(), now.lines().count(), "UPDATE_GOLDEN=1 writes it");
}

#[test]
fn a_run_gives_the_same_ladder_each_time() {
    assert_eq!(ladders(), ladders());
}
