//! `examples/stranger` is a crate by itself that uses only the public interface: its tests run the conformance kit over its own
//! components, and have to pass.
//!
//! A copy is built, without the network, with our lock file beside it: so it takes the versions that we have fetched and
//! tested already, and needs no lock of its own that somebody would have to keep. It shares our target folder.
#![cfg(feature = "testkit")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn a_strangers_crate_passes_the_kit_with_the_public_interface_alone() {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stranger");
    copy_of(&ours.join("examples/stranger"), &copy, ours);
    let lock = fs::read_to_string(ours.join("Cargo.lock")).expect("our lock");
    write(&copy.join("Cargo.lock"), &lock);

    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(&copy).args(["test", "--offline", "--features", "testkit", "--target-dir"]);
    cargo.arg(Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder"));
    let output = cargo.args(["--", "--nocapture"]).output().expect("cargo runs");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(!errors.contains("warning"), "{errors}");
    assert!(said.contains("3 passed; 0 failed"), "{said}");
    // the two reports that conform, in full
    for row in ["P1  held ", "M2  held ", "F1  held ", "A4  cannot test "] {
        assert_eq!(said.matches(row).count(), 2, "{row}\n{said}");
    }

    let used = fs::read_to_string(copy.join("Cargo.lock")).expect("the lock that was used");
    let beyond: Vec<_> = packages(&used).difference(&packages(&lock)).cloned().collect();
    assert_eq!(beyond, ["stranger 0.1.0"], "nothing but itself is beyond our lock");
}

/// Copies what has changed, so that nothing is compiled again without need; the way to us becomes absolute.
fn copy_of(from: &Path, to: &Path, ours: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("readable").path()) {
        let target = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() {
            // one that was built in place has a target folder
            if entry.file_name().is_some_and(|name| name != "target") {
                copy_of(&entry, &target, ours);
            }
            continue;
        }
        let text = fs::read_to_string(&entry).expect("a text");
        write(&target, &text.replace("\"../..\"", &format!("{ours:?}")));
    }
}

fn write(to: &Path, text: &str) {
    if fs::read_to_string(to).is_ok_and(|there| there == text) {
        return;
    }
    fs::write(to, text).expect("written");
}

/// Names and versions in a lock file.
fn packages(lock: &str) -> BTreeSet<String> {
    let value = |line: &str| line.split('"').nth(1).unwrap_or_default().to_owned();
    let lines: Vec<&str> = lock.lines().collect();
    let entries = lines.windows(3).filter(|lines| lines[0] == "[[package]]");
    entries.map(|entry| format!("{} {}", value(entry[1]), value(entry[2]))).collect()
}
