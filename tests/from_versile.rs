//! `docs/from-versile.md` is complete, and what it names in this crate exists.
//!
//! The names of the seed's interface are kept in `tests/golden/inventory_names.txt`. Where the inventory itself lies beside
//! the checkout (`../shared/seed/api-inventory.md`), the list is compared with it;
//! `UPDATE_GOLDEN=1 cargo test --test from_versile` writes it anew.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

const LIST: &str = "tests/golden/inventory_names.txt";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn listed() -> BTreeSet<String> {
    read(&root().join(LIST)).lines().map(str::to_owned).collect()
}

/// The rows of a document's tables of names, in the sections 1 to 6: those whose header begins with `first`.
fn rows<'a>(text: &'a str, first: &[&str]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut section = "";
    let mut wanted = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        }
        if line.starts_with("|-") {
            continue;
        }
        let numbered = section.starts_with(|c: char| ('1'..='6').contains(&c)) && section[1..].starts_with(". ");
        let Some(row) = line.strip_prefix("| ").filter(|_| numbered) else {
            wanted = false;
            continue;
        };
        let cells: Vec<&str> = row.split(" | ").map(|cell| cell.trim_end_matches('|').trim()).collect();
        if first.contains(&cells[0]) {
            wanted = true;
        } else if wanted {
            found.push((section, cells));
        }
    }
    found
}

/// The names of a first cell: a class, its members (`class` remembers whose), constants or control messages.
fn names(cell: &str, class: &mut String) -> Vec<String> {
    let is_class = cell.starts_with("**");
    let is_member = cell.starts_with(['.', '(']);
    let mut last = String::new();
    let mut found = Vec::new();
    for piece in cell.replace(['*', '`'], "").split([',', '/']).map(str::trim) {
        // `(abort, consumer side)` and `authorize(key, certs)`: arguments and remarks are no names
        let bare = piece.trim_start_matches('(').split('(').next().unwrap_or_default().trim_end_matches(')').trim();
        let bare = bare.split(' ').next().filter(|word| *word == bare || word.contains('_')).unwrap_or_default();
        let mut name = bare.trim_start_matches('.').to_owned();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        // `._sock_do_activation_read / _write`: the last word in another form
        if cell.contains(" / _") && !bare.starts_with('.') && is_member {
            let stem = last.rfind('_').map_or("", |at| &last[..at]);
            name = format!("{stem}{name}");
        }
        last.clone_from(&name);
        found.push(if is_member { format!("{class}.{name}") } else { name });
    }
    if is_class && let Some(name) = found.first() {
        class.clone_from(name);
    }
    found
}

/// All names of the inventory, module before each.
fn inventory(text: &str) -> BTreeSet<String> {
    let mut class = String::new();
    let control = text.split("### 1.5").nth(1).unwrap_or_default().lines().skip_while(|line| !line.starts_with('|'));
    let control = control.take_while(|line| line.starts_with('|')).skip(2);
    let control = control.filter_map(|line| line[2..].split(['(', ' ']).next()).map(|name| format!("io {name}"));
    let rows = rows(text, &["name"]).into_iter();
    let named = rows.flat_map(|(section, cells)| {
        let module = module(section);
        names(cells[0], &mut class).into_iter().map(move |name| format!("{module} {name}")).collect::<Vec<_>>()
    });
    named.chain(control).collect()
}

/// `## 2. versile.reactor.io.sock` is `sock`.
fn module(section: &str) -> String {
    let title = section.replace('`', "");
    let path = title.split_whitespace().nth(1).unwrap_or_default();
    path.rsplit('.').next().unwrap_or_default().to_owned()
}

/// The rows of our document: the names, and what stands for them here.
fn document() -> Vec<(Vec<String>, String)> {
    let text = read(&root().join("docs/from-versile.md"));
    let mut class = String::new();
    let rows = rows(&text, &["Versile"]).into_iter();
    let rows = rows.map(|(section, cells)| {
        let module = module(section);
        let names = names(cells[0], &mut class).into_iter().map(|name| format!("{module} {name}")).collect();
        (names, cells[1..].join(" | "))
    });
    rows.collect()
}

#[test]
fn the_list_of_names_is_that_of_the_inventory() {
    let path = root().join("../shared/seed/api-inventory.md");
    if !path.exists() {
        // past the capture of a test's output: nobody looks at that of a test that passes
        let skipped = format!("SKIPPED: {} is not here; {LIST} was compared with nothing\n", path.display());
        std::io::stderr().write_all(skipped.as_bytes()).expect("told");
        return;
    }
    let found = inventory(&read(&path));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let lines: Vec<_> = found.iter().map(|name| format!("{name}\n")).collect();
        fs::write(root().join(LIST), lines.concat()).expect("written");
    }
    assert_eq!(found, listed(), "{LIST} is not what the inventory says");
}

#[test]
fn every_name_of_the_list_is_in_the_document_and_no_other() {
    let listed = listed();
    assert!(listed.len() > 200, "{} names", listed.len());
    let told: BTreeSet<String> = document().into_iter().flat_map(|(names, _)| names).collect();
    let missing: Vec<_> = listed.difference(&told).collect();
    assert!(missing.is_empty(), "docs/from-versile.md does not say what became of {missing:#?}");
    let unknown: Vec<_> = told.difference(&listed).collect();
    assert!(unknown.is_empty(), "docs/from-versile.md names what the seed does not have: {unknown:#?}");
}

#[test]
fn what_the_document_names_here_exists() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for (names, here) in document() {
        let paths: Vec<&str> = here.split('`').skip(1).step_by(2).filter(|span| span.contains("::")).collect();
        for path in &paths {
            checked += 1;
            if let Err(why) = exists(path) {
                wrong.push(format!("at {names:?}: {path}: {why}"));
            }
        }
        let reason = here.trim().len() > 12;
        assert!(!paths.is_empty() || reason, "{names:?} has neither a counterpart nor a reason");
    }
    assert!(wrong.is_empty(), "docs/from-versile.md: {wrong:#?}");
    assert!(checked > 100, "{checked} paths");
}

/// Whether `a::b::Type::member` is there: the modules as files, the type in them, the member in an `impl` or in the type.
fn exists(path: &str) -> Result<(), String> {
    let (mut modules, mut items) = (Vec::new(), Vec::new());
    for part in path.split("::") {
        let file = root().join("src").join(modules.join("/")).join(part);
        let is_module = items.is_empty() && (file.is_dir() || file.with_extension("rs").is_file());
        if is_module { modules.push(part) } else { items.push(part) }
    }
    let sources = sources(&modules.join("/"));
    match items[..] {
        [] => Ok(()),
        [item] => kind(&sources, item).map(drop),
        [item, member] => {
            let kind = kind(&sources, item)?;
            let about = |text: &&String| code(text).any(|line| is_about(line, item));
            let has = |line: &str| match kind {
                "trait" => declares(line.trim_start(), member),
                "enum" => declares_public(line, member) || is_variant(line, member),
                _ => declares_public(line, member),
            };
            let found = sources.iter().filter(about).any(|text| code(text).any(has));
            found.then_some(()).ok_or_else(|| format!("{kind} {item} has no public {member}"))
        }
        _ => Err("too many parts".to_owned()),
    }
}

/// The texts of a module: its file and its folder.
fn sources(module: &str) -> Vec<String> {
    let base = root().join("src").join(module);
    let mut texts = Vec::new();
    let mut left: Vec<PathBuf> = vec![base.clone(), base.with_extension("rs")];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).expect("a folder").map(|entry| entry.expect("readable").path()));
        } else if path.is_file() {
            texts.push(read(&path));
        }
    }
    texts
}

/// What a public item of this name is.
fn kind(sources: &[String], item: &str) -> Result<&'static str, String> {
    let kinds = ["struct", "enum", "trait", "fn", "const", "type"];
    let is = |kind: &str, line: &str| declares_public(line, item) && line.split(' ').any(|word| word == kind);
    let lines: Vec<&str> = sources.iter().flat_map(|text| code(text)).collect();
    let found = kinds.into_iter().find(|kind| lines.iter().any(|line| is(kind, line)));
    found.ok_or_else(|| format!("no public {item} in its module"))
}

/// Whether the line begins the definition or an `impl` of the item.
fn is_about(line: &str, item: &str) -> bool {
    let begins = ["pub ", "impl"].iter().any(|start| line.starts_with(start));
    begins && line.split(|c| !is_word(c)).any(|word| word == item)
}

/// Lines that are no comment.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

fn declares_public(line: &str, name: &str) -> bool {
    line.trim_start().strip_prefix("pub ").is_some_and(|rest| declares(rest, name))
}

/// `fn name`, `struct name`, a constant or a field `name:`.
fn declares(line: &str, name: &str) -> bool {
    let line = line.strip_prefix("async ").unwrap_or(line);
    let kinds = ["fn ", "const fn ", "struct ", "enum ", "trait ", "type ", "const "];
    let rest = kinds.iter().find_map(|kind| line.strip_prefix(kind)).or(Some(line).filter(|_| is_field(line, name)));
    rest.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| !rest.starts_with(is_word))
}

fn is_field(line: &str, name: &str) -> bool {
    line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':') && !rest.starts_with("::"))
}

fn is_variant(line: &str, name: &str) -> bool {
    let rest = line.trim_start().strip_prefix(name);
    rest.is_some_and(|rest| rest == "," || rest.starts_with('(') || rest.starts_with(" {"))
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
