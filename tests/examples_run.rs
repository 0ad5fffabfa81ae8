//! Every example prints what its first lines promise, names its goal and its command, and is short.
//!
//! The binaries are built by the cargo that runs this test, with the same features, so that none is stale; after a full
//! `cargo test` there is nothing left to build.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn every_example_prints_what_it_promises() {
    let binaries = binaries();
    for (name, source) in sources() {
        let binary = binaries.get(&name).unwrap_or_else(|| panic!("cargo built no example {name}"));
        let output = Command::new(binary).output().expect("the example starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} failed: {errors}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), promised(&source), "{name}; it also said: {errors}");
    }
}

#[test]
fn every_example_names_its_goal_and_its_command() {
    for (name, source) in sources() {
        assert!(source.starts_with("//! Goal: "), "{name} opens with its goal");
        assert!(source.contains(&format!("//! Command: `cargo run --example {name}`\n")), "{name} names its command");
        assert!(!promised(&source).is_empty(), "{name} says what it prints");
    }
}

/// The first block of text in an example's doc.
fn promised(source: &str) -> String {
    let lines = source.lines().skip_while(|line| *line != "//! ```text").skip(1);
    let block = lines.take_while(|line| *line != "//! ```");
    block.map(|line| format!("{}\n", line.strip_prefix("//! ").unwrap_or_default())).collect()
}

/// All examples: name and source.
fn sources() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let paths = fs::read_dir(folder).expect("a folder of examples").map(|entry| entry.expect("readable").path());
    let sources = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let named = sources.map(|path| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).expect("a text"))
    });
    named.collect()
}

/// Where cargo has put the examples.
fn binaries() -> BTreeMap<String, PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--quiet", "--examples", "--no-default-features", "--message-format=json"]);
    for (feature, on) in [("cli", cfg!(feature = "cli")), ("testkit", cfg!(feature = "testkit"))] {
        if on {
            cargo.args(["--features", feature]);
        }
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("text");
    let messages = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let built = messages.filter_map(|message| {
        let name = message["target"]["name"].as_str()?.to_owned();
        let is_example = message["target"]["kind"] == "example" || message["target"]["kind"][0] == "example";
        is_example.then_some((name, message["executable"].as_str()?.into()))
    });
    built.collect()
}
