//! The rules of a link, their documentation, their code and their tests stay together.
//!
//! Every rule has a heading in `docs/rules.md`, and is cited in the source and tested under its number; what is not, is
//! listed under "Gaps" with a reason, and nothing else is.

use std::fs;
use std::path::{Path, PathBuf};
use versile_io::proto::link::Rule;

const RULES: [Rule; 21] = {
    use Rule::*;
    [P1, P2, P3, P4, P5, P6, C1, C2, C3, E1, E2, A1, A2, A3, A4, X1, M1, M2, F1, S1, S2]
};

#[test]
fn every_rule_of_the_enum_is_in_this_list() {
    let source = read("src/proto/link/error.rs");
    let body = source.split("pub enum Rule {").nth(1).expect("the enum").split('}').next().expect("its end");
    let variants: Vec<&str> =
        body.lines().map(|line| line.trim().trim_end_matches(',')).filter(|v| !v.is_empty()).collect();
    assert_eq!(variants, RULES.map(|rule| rule.to_string()));
}

#[test]
fn every_rule_has_a_heading_of_its_own() {
    let doc = read("docs/rules.md");
    let headings: Vec<&str> = doc.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    for rule in RULES {
        let count = headings.iter().filter(|heading| heading.starts_with(&format!("{rule}: "))).count();
        assert_eq!(count, 1, "headings of {rule} in docs/rules.md");
    }
}

#[test]
fn every_rule_is_cited_and_tested_or_a_gap_says_why_not() {
    let doc = read("docs/rules.md");
    let gaps = doc.split("\n## Gaps\n").nth(1).expect("docs/rules.md has a heading Gaps");
    // cited anywhere in the source, as `P1:` or `rule P1` or in a list of rules
    let source: Vec<String> = files("src").iter().map(|path| read_path(path)).collect();
    let tests: Vec<String> = files("tests").iter().map(|path| read_path(path)).chain(source.clone()).collect();
    for rule in RULES {
        let name = rule.to_string();
        let prefix = format!("fn {}_", name.to_lowercase());
        let cited = source.iter().any(|text| text.lines().any(|line| is_comment(line) && has_word(line, &name)));
        let tested = tests.iter().any(|text| text.contains(&prefix));
        let gap = gaps.lines().find_map(|line| line.strip_prefix(&format!("- {name}: ")));
        match gap {
            Some(reason) => {
                assert!(reason.len() > 10, "the gap of {name} has a reason");
                assert!(!(cited && tested), "{name} is cited and tested: take it off the gaps");
            }
            None => {
                assert!(cited, "{name} is cited nowhere in src and is no gap");
                assert!(tested, "no test is named {}... and {name} is no gap", &prefix[3..]);
            }
        }
    }
}

#[test]
fn every_test_that_the_document_names_exists() {
    let doc = read("docs/rules.md");
    let all: String = files("tests").iter().chain(&files("src")).map(|path| read_path(path)).collect();
    // in tables a test is between backticks; `...` stands for several tests of one beginning
    for row in doc.lines().filter(|line| line.starts_with('|')) {
        for name in row.split('`').skip(1).step_by(2).filter(|name| !name.contains('/') && name.contains('_')) {
            let exists = match name.strip_suffix("...") {
                Some(beginning) => all.contains(&format!("fn {beginning}")),
                None => all.contains(&format!("fn {name}(")),
            };
            assert!(exists, "docs/rules.md names the test {name}, which does not exist");
        }
    }
}

fn is_comment(line: &str) -> bool {
    line.contains("//")
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == word)
}

fn read(path: &str) -> String {
    read_path(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
}

fn read_path(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Rust files below a folder of the crate.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the crate") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}
