//! Each input that the fuzz targets of `tests/fuzz` have kept, once more; and as many random ones. `VERSILE_SEEDS` sets how many.
#![cfg(all(feature = "vut", feature = "testkit"))]

#[path = "support/vut_fuzz.rs"]
mod vut_fuzz;

use std::path::Path;
use versile_io::proto::sim::Rng;

/// The corpus stays small enough to be read in a second.
const FILES: usize = 300;
const OCTETS: usize = 300_000;

#[test]
fn every_kept_input_of_every_fuzz_target_holds() {
    let (mut files, mut octets) = (0, 0);
    for (name, target) in vut_fuzz::TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
        let before = files;
        for entry in std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display())) {
            let path = entry.expect("an entry").path();
            let input = std::fs::read(&path).expect("readable");
            println!("{}", path.display());
            target(&input);
            files += 1;
            octets += input.len();
        }
        assert!(files > before, "{name} has inputs");
    }
    assert!(files <= FILES && octets <= OCTETS, "{files} files with {octets} octets: minimize them");
}

#[test]
fn random_scripts_hold_too() {
    let count = std::env::var("VERSILE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    for (name, target) in vut_fuzz::TARGETS {
        for seed in 0..count {
            let mut rng = Rng::new(seed);
            let input: Vec<u8> = (0..rng.magnitude(3000)).map(|_| rng.bits() as u8).collect();
            println!("{name} {seed}");
            target(&input);
        }
    }
}
