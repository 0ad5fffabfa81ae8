//! The README opens as the crate's doc does, and the commands that it shows are commands.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a text of the crate")
}

/// The crate's doc up to its first heading.
fn crate_intro() -> String {
    let source = read("src/lib.rs");
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).take_while(|line| !line.starts_with("# "));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// The README between its title and its first section.
fn readme_intro() -> String {
    let readme = read("README.md");
    let lines = readme.lines().skip(1).take_while(|line| !line.starts_with("## "));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[test]
fn the_readme_opens_as_the_crate_does() {
    assert!(crate_intro().len() > 200, "the crate has an intro");
    assert_eq!(readme_intro(), crate_intro());
}

#[test]
fn every_file_that_the_readme_links_to_exists() {
    let readme = read("README.md");
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.contains("://")) {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(link).exists(), "README.md links to {link}");
    }
}

#[test]
fn the_readme_names_the_minimum_rust_of_the_manifest() {
    let rust = format!("Rust {} or later", env!("CARGO_PKG_RUST_VERSION"));
    assert!(read("README.md").contains(&rust), "README.md says {rust}");
}

#[cfg(feature = "cli")]
#[test]
fn the_tool_understands_every_command_of_the_readme() {
    use versile_io::tool::args::Cli;

    let readme = read("README.md");
    let commands = readme.lines().filter_map(|line| line.strip_prefix("cargo run --release --features cli -- "));
    let commands: Vec<_> = commands.collect();
    assert!(commands.len() >= 2, "the README shows a copy and a relay");
    for command in commands {
        let words = std::iter::once("vio").chain(command.split_whitespace());
        Cli::read(words).unwrap_or_else(|error| panic!("{command}: {error:?}"));
    }
}
