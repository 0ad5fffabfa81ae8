//! The map of the code is complete and true: every path in `docs/architecture.md` exists, every folder of `src` and every
//! file of two levels is in it, and so is every rule.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use versile_io::proto::link::Rule;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The paths between backticks: what has a slash, and ends as a file or a folder does.
fn named() -> BTreeSet<String> {
    let map = fs::read_to_string(root().join("docs/architecture.md")).expect("the map");
    let spans = map.lines().flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    let tops = ["src/", "tests/", "docs/", "examples/", "benches/", ".ci/"];
    spans.filter(|span| tops.iter().any(|top| span.starts_with(top)) && !span.contains('<')).collect()
}

/// The folders below `src` and, of the first two levels, the files: `src/x/y.rs`.
fn wanted() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut folders, mut files) = (BTreeSet::new(), BTreeSet::new());
    let mut left = vec![root().join("src")];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path()) {
            let inside = relative(&entry);
            if entry.is_dir() {
                folders.insert(format!("{inside}/"));
                left.push(entry);
            } else if inside.split('/').count() == 3 && inside.ends_with(".rs") {
                files.insert(inside);
            }
        }
    }
    (folders, files)
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("inside").to_string_lossy().into_owned()
}

#[test]
fn every_path_of_the_map_exists() {
    let paths = named();
    assert!(paths.len() > 50, "{} paths", paths.len());
    for path in paths {
        assert!(root().join(&path).exists(), "docs/architecture.md names {path}, which does not exist");
    }
}

#[test]
fn every_folder_and_every_file_of_two_levels_is_on_the_map() {
    let named = named();
    let (folders, files) = wanted();
    for file in files {
        assert!(named.contains(&file), "docs/architecture.md does not name {file}");
    }
    for folder in folders {
        // a folder of the third level belongs to the one above it, if that is named
        let deep = folder.split('/').count() > 4 && named.iter().any(|path| folder.starts_with(path.as_str()));
        assert!(deep || named.contains(&folder), "docs/architecture.md does not name {folder}");
    }
}

#[test]
fn every_rule_is_on_the_map() {
    let map = fs::read_to_string(root().join("docs/architecture.md")).expect("the map");
    use Rule::*;
    for rule in [P1, P2, P3, P4, P5, P6, C1, C2, C3, E1, E2, A1, A2, A3, A4, X1, M1, M2, F1] {
        assert!(map.contains(&format!("\n| {rule} | ")), "docs/architecture.md says where {rule} bites");
    }
}
