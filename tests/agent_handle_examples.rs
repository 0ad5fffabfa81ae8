//! The low-level examples print what their first lines promise.
#![cfg(unix)]

#[expect(dead_code, reason = "an example's `main` is not called here")]
#[path = "../examples/file_writer.rs"]
mod file_writer;
#[expect(dead_code, reason = "an example's `main` is not called here")]
#[path = "../examples/file_writer_second.rs"]
mod file_writer_second;

/// The block of expected output in an example's doc.
fn promised(source: &str) -> String {
    let lines = source.lines().skip_while(|line| *line != "//! ```text").skip(1);
    lines.take_while(|line| *line != "//! ```").map(|line| format!("{}\n", &line[4..])).collect()
}

#[test]
fn file_writer_prints_what_it_promises() {
    let printed = file_writer::run().expect("runs");
    assert_eq!(printed, promised(include_str!("../examples/file_writer.rs")));
}

#[test]
fn file_writer_second_prints_what_it_promises() {
    let printed = file_writer_second::run().expect("runs");
    assert_eq!(printed, promised(include_str!("../examples/file_writer_second.rs")));
}
