//! Conversations of two of our VUT connections as ladders: the golden files, and the pictures in `docs/vut.md`.
#![cfg(all(feature = "vut", feature = "testkit"))]

#[path = "support/vut_sim.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod sim;

use sim::{App, Ends, World};
use std::time::Duration;
use versile_io::proto::sim::net::{Net, Odds, Shape};
use versile_io::proto::time::Time;
use versile_io::proto::vut::Profile;

/// The ladder of a world, which is also in the document, word by word.
fn shown(name: &str, mut world: World) {
    world.log = Some(Vec::new());
    world.run_to_end(Time::from_secs(60));
    world.run_until(Time::from_secs(120), |world| world.ends.iter().all(|end| end.endpoint.is_gone()));
    let ladder = world.ladder().join("\n");
    insta::with_settings!({ snapshot_path => "golden", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, ladder);
    });
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/vut.md")).expect("the document");
    assert!(document.contains(&ladder), "docs/vut.md shows {name} as it is:\n{ladder}");
}

fn path(seed: u64, shape: Shape) -> Net {
    Net::new(seed, shape.clone(), shape)
}

#[test]
fn a_conversation_from_hello_to_close() {
    let shape = Shape::new(Duration::from_millis(10));
    let b = App { ends: Ends::AfterPeer, window: 4000, ..App::new(0) };
    shown(
        "vut_ladder_conversation",
        World::new(Profile::Compat, path(1, shape), App { window: 4000, ..App::new(1500) }, b),
    );
}

#[test]
fn a_conversation_in_the_native_profile() {
    let shape = Shape::new(Duration::from_millis(10));
    let b = App { ends: Ends::AfterPeer, ..App::new(0) };
    shown("vut_ladder_native", World::new(Profile::Native, path(1, shape), App::new(5000), b));
}

#[test]
fn a_loss_and_its_repair() {
    let shape = Shape::new(Duration::from_millis(10)).rate(10_000_000).loss(Odds::percent(8.0));
    let b = App { ends: Ends::AfterPeer, window: 8000, ..App::new(0) };
    shown("vut_ladder_loss", World::new(Profile::Compat, path(5, shape), App { window: 8000, ..App::new(5000) }, b));
}

#[test]
fn an_abort() {
    let shape = Shape::new(Duration::from_millis(10)).rate(10_000_000);
    let b = App { aborts_at: Some(1), window: 4000, ..App::new(0) };
    shown("vut_ladder_abort", World::new(Profile::Compat, path(1, shape), App { window: 4000, ..App::new(2000) }, b));
}
