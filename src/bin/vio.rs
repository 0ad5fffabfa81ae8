//! The command-line tool `vio`.
fn main() {}
