//! Every row of docs/errors.md: the command is run, and message and exit code are compared, so that the table stays true.
#![cfg(feature = "cli")]

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

#[path = "support/tool.rs"]
mod tool;

use tool::{noise, vio, wait};

const DOC: &str = include_str!("../docs/errors.md");

/// One row of the tables.
#[derive(Debug)]
struct Row {
    what: String,
    command: String,
    message: String,
    code: i32,
}

/// All rows, with what stands for ports and names put in.
fn rows(doc: &str, names: &[(&str, String)]) -> Vec<Row> {
    let mut rows = Vec::new();
    for line in doc.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what ")) {
        // a bar inside a cell is written \|
        let line = line.replace("\\|", "\u{1}").replace("\\`", "\u{2}");
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [what, command, message, code] = cells[..] else { panic!("not four cells: {line}") };
        let text = |cell: &str| {
            let bare = cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).expect("a cell in backticks");
            let mut text = bare.replace('\u{1}', "|").replace('\u{2}', "`");
            for (name, value) in names {
                text = text.replace(name, value);
            }
            text
        };
        let code = code.parse().expect("a number");
        rows.push(Row { what: what.to_owned(), command: text(command), message: text(message), code });
    }
    rows
}

/// Words as a shell would have them; single quotes keep blanks.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in command.chars() {
        match c {
            '\'' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

/// Whether the text is what the pattern says, `…` standing for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// A port where each connection is reset once something has come.
fn resetting() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for mut conn in listener.incoming().flatten() {
            conn.read_exact(&mut [0; 1]).expect("something");
            socket2::SockRef::from(&conn).set_linger(Some(Duration::ZERO)).expect("set");
        }
    });
    port
}

fn run(dir: &Path, row: &Row) -> (String, i32) {
    let all = words(&row.command);
    let unread = all.ends_with(&["|".to_owned(), "true".to_owned()]);
    let end = if unread { all.len() - 2 } else { all.len() };
    let own: Vec<&str> = all[1..end].iter().map(String::as_str).collect();
    let mut command = vio(dir, &own);
    if unread {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        command.stdout(writer);
    }
    let ended = wait(command.spawn().expect("started"));
    (ended.stderr.trim_end().to_owned(), ended.code)
}

#[test]
fn every_row_is_true() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("data"), noise(1 << 20, 5)).expect("written");
    fs::create_dir(dir.path().join("folder")).expect("made");
    drop(UnixListener::bind(dir.path().join("stale")).expect("bound"));
    let _unix = UnixListener::bind(dir.path().join("listened")).expect("bound");
    let used = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = |listener: &TcpListener| listener.local_addr().expect("bound").port();
    // bound and not listening: nobody else gets it
    let refused = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    refused.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bound");
    let refused_port = refused.local_addr().expect("bound").as_socket().expect("an address").port();
    let names = [
        ("$USED", port(&used).to_string()),
        ("$REFUSED", refused_port.to_string()),
        ("$RESET", resetting().to_string()),
        ("$UNIX", "listened".to_owned()),
    ];
    let rows = rows(DOC, &names);
    assert!(rows.len() > 50, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let (told, code) = run(dir.path(), row);
        let one_line = row.code == 2 || !told.contains('\n') || row.message.starts_with('…');
        if code != row.code || !matches(&row.message, &told) || !one_line {
            wrong.push(format!("{}: {}\n  {} {}\n  {code} {told}", row.what, row.command, row.code, row.message));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn patterns_match_what_they_say() {
    for (pattern, text, same) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a…", "ab", true),
        ("a…c", "abc", true),
        ("a…c", "abcd", false),
        ("…b…", "abc", true),
        ("a…b…c", "acb", false),
    ] {
        assert_eq!(matches(pattern, text), same, "{pattern} {text}");
    }
    assert_eq!(words("vio copy '' 'a b' c"), ["vio", "copy", "", "a b", "c"]);
}
