//! The layers of the crate hold: an arrow between folders of `src` never points down the list, and `proto` knows no
//! runtime, no socket, no thread and no clock.
//!
//! In one crate the compiler does not say so. This test reads each file, leaves out comments and literals, takes each
//! `crate::X` (groups of a `use` included) and compares it with [`LAYERS`]. An exported macro lies at the root of the
//! crate, and counts for the layer that it is written in. What `super::` reaches stays inside a folder in this crate,
//! and is not followed.

use std::fmt;
use std::path::{Path, PathBuf};

#[path = "support/rust_text.rs"]
mod rust_text;

use rust_text::{Name, code_only, exported_macros, names};

/// A folder of `src`, and the folders that it may use besides itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("component", &["proto"]),
    ("supervisor", &["proto", "component"]),
    ("agent", &["proto", "component", "supervisor"]),
    ("adapter", &["proto", "component", "supervisor"]),
    ("testkit", &["proto", "component", "supervisor", "agent", "adapter"]),
    ("tool", &["proto", "component", "supervisor", "agent", "adapter"]),
];

/// What no file of `proto` names, whole or as the start of a longer path.
const NOT_IN_PROTO: &[&str] = &[
    "actix",
    "actix_rt",
    "tokio",
    "tokio_util",
    "socket2",
    "rustix",
    "std::net",
    "std::fs",
    "std::process",
    "std::thread",
    "std::time::Instant::now",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime",
];

/// What `proto` may name all the same: it asks nothing of a thread but whether a test is failing.
const ALLOWED_IN_PROTO: &[&str] = &["std::thread::panicking"];

/// Something that a file must not say.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    file: String,
    line: usize,
    text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

/// An exported macro, and the file that it is written in.
type Macro = (String, String);

/// Checks one file, given by its path from the root of the repository.
fn check(file: &str, text: &str, macros: &[Macro]) -> Vec<Finding> {
    let finding = |line, text: String| Finding { file: file.to_owned(), line, text };
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push(finding(1, "does not open with a //! doc".to_owned()));
    }
    let Some(folder) = folder_of(file) else { return found };
    let Some((_, below)) = LAYERS.iter().find(|(name, _)| *name == folder) else {
        found.push(finding(1, format!("{folder} is not a layer; tests/layering.rs lists them")));
        return found;
    };
    for Name { path, line } in names(&code_only(text)) {
        if let Some(edge) = path.strip_prefix("crate::") {
            let target = edge.split("::").next().unwrap_or_default();
            let home = macros.iter().find(|(name, _)| name == target).and_then(|(_, file)| folder_of(file));
            let target = home.unwrap_or(target);
            if target != folder && !below.contains(&target) {
                found.push(finding(line, format!("{folder} must not use crate::{target}")));
            }
        }
        let forbidden = NOT_IN_PROTO.iter().find(|name| path == **name || path.starts_with(&format!("{name}::")));
        if let Some(name) = forbidden.filter(|_| folder == "proto" && !ALLOWED_IN_PROTO.contains(&&*path)) {
            found.push(finding(line, format!("proto must not mention {name}")));
        }
    }
    found
}

/// The top folder below `src`, with `src/x.rs` being in `x`; none for files that belong to no layer.
fn folder_of(file: &str) -> Option<&str> {
    let inside = file.strip_prefix("src/")?;
    let top = inside.split('/').next()?;
    let top = top.strip_suffix(".rs").unwrap_or(top);
    (top != "lib" && top != "bin").then_some(top)
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    // A folder that the crate does not have (yet) has no files.
    let Ok(entries) = folder.read_dir() else { return };
    for entry in entries {
        let path = entry.expect("an entry of a folder").path();
        if path.is_dir() {
            // packages of their own (benches/rivals, tests/fuzz) may have been built where they lie
            if path.file_name().is_some_and(|name| name != "target") {
                rust_files(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn no_file_breaks_the_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "examples", "benches"] {
        rust_files(&root.join(folder), &mut files);
    }
    files.sort();
    assert!(files.len() > 10, "looked in the wrong place: {files:?}");
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
        (name, std::fs::read_to_string(path).expect("a source file"))
    };
    let files: Vec<(String, String)> = files.iter().map(read).collect();
    let macros: Vec<Macro> = files
        .iter()
        .filter(|(file, _)| file.starts_with("src/"))
        .flat_map(|(file, text)| exported_macros(&code_only(text)).into_iter().map(|name| (name, file.clone())))
        .collect();
    let told: Vec<_> =
        files.iter().flat_map(|(file, text)| check(file, text, &macros)).map(|found| found.to_string()).collect();
    assert!(told.is_empty(), "\n{}\n", told.join("\n"));
}

/// What [`check`] says of a file with a doc on line 1 and the text on line 2.
fn told(file: &str, text: &str) -> Vec<String> {
    let macros = [("wire".to_owned(), "src/component/wire.rs".to_owned())];
    check(file, &format!("//! Doc.\n{text}"), &macros).iter().map(Finding::to_string).collect()
}

#[test]
fn an_edge_down_the_list_is_found() {
    for (file, text, finding) in [
        ("src/proto/a.rs", "use crate::component::Port;", "src/proto/a.rs:2: proto must not use crate::component"),
        ("src/proto.rs", "use crate::tool;", "src/proto.rs:2: proto must not use crate::tool"),
        (
            "src/component/a/b.rs",
            "fn f() { crate::agent::g() }",
            "src/component/a/b.rs:2: component must not use crate::agent",
        ),
        (
            "src/agent/a.rs",
            "use crate::{proto::{A, B},\n tool::C};",
            "src/agent/a.rs:3: agent must not use crate::tool",
        ),
        ("src/agent/a.rs", "use {std::fmt, crate::testkit::T};", "src/agent/a.rs:2: agent must not use crate::testkit"),
        ("src/testkit/a.rs", "use crate::tool::A;", "src/testkit/a.rs:2: testkit must not use crate::tool"),
        ("src/tool/a.rs", "use crate::testkit as t;", "src/tool/a.rs:2: tool must not use crate::testkit"),
        ("src/tool/a.rs", "use crate :: testkit;", "src/tool/a.rs:2: tool must not use crate::testkit"),
        ("src/tool/a.rs", "use crate::Reexported;", "src/tool/a.rs:2: tool must not use crate::Reexported"),
        ("src/tool/a.rs", "use crate::*;", "src/tool/a.rs:2: tool must not use crate::*"),
        (
            "src/component/a.rs",
            "macro_rules! m { () => { $crate::tool::f() } }",
            "src/component/a.rs:2: component must not use crate::tool",
        ),
        ("src/proto/a.rs", "crate::wire! {}", "src/proto/a.rs:2: proto must not use crate::component"),
        ("src/new/a.rs", "", "src/new/a.rs:1: new is not a layer; tests/layering.rs lists them"),
    ] {
        assert_eq!(told(file, text), [finding], "{text}");
    }
}

#[test]
fn a_runtime_in_proto_is_found() {
    for (text, name) in [
        ("use actix::Actor;", "actix"),
        ("actix_rt::spawn(x);", "actix_rt"),
        ("use tokio;", "tokio"),
        ("use std::{fmt, net::{IpAddr, TcpStream}};", "std::net"),
        ("use ::std::thread;", "std::thread"),
        ("let now = std::time::Instant::now();", "std::time::Instant::now"),
        ("use std::time::Instant;\nfn f() { Instant::now(); }", "Instant::now"),
        ("use std::time::{Duration, SystemTime};", "std::time::SystemTime"),
    ] {
        let found = told("src/proto/link/a.rs", text);
        let expected = format!("proto must not mention {name}");
        assert!(!found.is_empty() && found.iter().all(|line| line.ends_with(&expected)), "{text}: {found:?}");
        assert_eq!(told("src/agent/a.rs", text), [""; 0], "{text}");
    }
}

#[test]
fn exported_macros_are_known_by_name() {
    let text = "#[macro_export]\nmacro_rules! wire { () => {} }\n#[macro_export]\n#[doc(hidden)] macro_rules! __port { () => {} }\nmacro_rules! own { () => {} }";
    assert_eq!(exported_macros(&code_only(text)), ["wire", "__port"]);
}

#[test]
fn a_file_without_a_doc_is_found() {
    for file in ["src/lib.rs", "src/tool/a.rs", "tests/a.rs", "benches/b.rs"] {
        let found: Vec<_> = check(file, "use std::fmt;\n", &[]).iter().map(Finding::to_string).collect();
        assert_eq!(found, [format!("{file}:1: does not open with a //! doc")]);
    }
}

#[test]
fn what_is_allowed_is_let_by() {
    for (file, text) in [
        ("src/lib.rs", "pub use crate::tool::Spec;"),
        ("src/bin/vio.rs", "use crate::anything;"),
        ("src/proto/a.rs", "use crate::proto::link::{self, Limit as L};\nuse std::time::{Duration, Instant};"),
        ("src/proto/a.rs", "// crate::tool\n/* actix /* tokio */ std::net */\n/// [`crate::agent`]\nfn f() {}"),
        ("src/proto/a.rs", "const A: &str = \"crate::tool \\\" actix\"; const B: &str = r#\"tokio \"x\" tokio\"#;"),
        ("src/proto/a.rs", "const Q: char = '\"'; fn f<'a>(x: &'a str) { crate::proto::g('\\'', x) }"),
        ("src/proto/a.rs", "let my_actix = tokio_free; struct Actix; let x = a.std;"),
        ("src/proto/a.rs", "pub(crate) fn f() {}\npub(in crate::proto) fn g() {}"),
        ("src/component/a.rs", "crate::wire! { inlet data }\nuse crate::{proto::Id, wire};"),
        ("src/tool/a.rs", "use crate::{agent::tcp, supervisor};"),
        ("tests/a.rs", "use crate::whatever; use actix::Actor;"),
    ] {
        assert_eq!(told(file, text), [""; 0], "{text}");
    }
}
