//! Files: from an offset, behind what is there, made or not, to the disk; and what goes wrong with them.

use std::io::Write as _;
use versile_io::agent::fd;
use versile_io::agent::file::{self, Create, ReadOptions, WriteOptions};
use versile_io::agent::stream::StreamSettings;
use versile_io::component::stock::{Directions, Outcome};

#[path = "support/agent.rs"]
mod support;
use support::*;

#[test]
fn a_large_file_is_copied_whole_and_read_from_an_offset() {
    run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let data = pattern(20_000_003);
        std::fs::write(&from, &data).expect("written");
        let (read, outcome) = read_all(file::read(&from, ReadOptions::default())).await;
        assert!(outcome.is_clean() && read.bytes == data, "{outcome}");
        for chunk in [4_099, 65_536] {
            let written = write_all(
                file::write(&to, WriteOptions { sync: true, ..Default::default() }),
                Feed::new(data.clone(), chunk),
            )
            .await;
            assert!(written.is_clean(), "{written}");
            assert!(std::fs::read(&to).expect("there") == data);
        }
        let options = ReadOptions { offset: 20_000_000, ..ReadOptions::default() };
        assert_eq!(read_all(file::read(&from, options)).await.0.bytes, data[20_000_000..]);
        let options = ReadOptions { offset: 30_000_000, ..ReadOptions::default() };
        let (behind, outcome) = read_all(file::read(&from, options)).await;
        assert!(behind.bytes.is_empty() && outcome.is_clean(), "behind the end");
    });
}

#[test]
fn append_truncate_and_the_ways_to_make_a_file() {
    run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        let write =
            |options: WriteOptions, text: &'static str| write_all(file::write(&path, options), Feed::new(text, 2));
        let never = WriteOptions { create: Create::Never, ..WriteOptions::default() };
        let always = WriteOptions { create: Create::Always, ..WriteOptions::default() };
        let append = WriteOptions { append: true, ..WriteOptions::default() };
        assert!(cause(&write(never, "x").await).contains("No such file"));
        assert!(write(always, "first").await.is_clean());
        let outcome = write(always, "x").await;
        assert!(cause(&outcome).contains("create file") && cause(&outcome).contains("File exists"), "{outcome}");
        assert!(write(append, " second").await.is_clean());
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "first second");
        assert!(write(never, "3").await.is_clean());
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "3");
        // an end alone makes an empty file
        assert!(write(WriteOptions::default(), "").await.is_clean());
        assert_eq!(std::fs::read(&path).expect("there"), b"");
    });
}

#[test]
fn what_goes_wrong_names_the_file() {
    run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let missing = dir.path().join("missing");
        let (_, outcome) = read_all(file::read(&missing, ReadOptions::default())).await;
        assert!(cause(&outcome).contains(&format!("open file {}: No such file", missing.display())), "{outcome}");
        let (_, outcome) = read_all(file::read(dir.path(), ReadOptions::default())).await;
        assert!(cause(&outcome).contains("is a directory"), "{outcome}");
        let full = file::write("/dev/full", WriteOptions::default());
        let outcome = write_all(full, Feed::new(pattern(1_000_000), 65_536)).await;
        assert!(cause(&outcome).contains("write file /dev/full: No space left"), "{outcome}");
    });
}

#[test]
fn an_unclean_end_leaves_what_was_accepted_and_says_so() {
    run(async {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        let outcome = write_all(file::write(&path, WriteOptions::default()), Feed::new("part", 3).unclean()).await;
        assert!(matches!(outcome, Outcome::Ended { clean: false }), "{outcome}");
        assert_eq!(std::fs::read(&path).expect("there"), b"part");
    });
}

#[test]
fn a_file_by_descriptor_is_read_where_it_stands_and_both_ways() {
    run(async {
        let mut open = tempfile::tempfile().expect("a file");
        open.write_all(b"head").expect("written");
        let twin = open.try_clone().expect("a twin");
        // both directions of one descriptor: written behind "head", then read on from there
        let stream = fd::from_fd(open.into(), StreamSettings::default()).expect("a stream");
        let rig = rig(stream, Feed::new(pattern(1_000_000), 65_536), Keep::default());
        let (sink, outcome) = within(rig.sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert!(within(rig.stream).await.1.is_clean());
        assert!(sink.expect("the part").bytes.len() <= 1_000_000);
        assert_eq!(twin.metadata().expect("there").len(), 1_000_004);
    });
}

#[test]
fn dev_null_takes_all_and_gives_nothing() {
    run(async {
        let open = || std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").expect("there");
        let settings = StreamSettings { directions: Directions::WriteOnly, ..StreamSettings::default() };
        let stream = fd::from_fd(open().into(), settings).expect("a stream");
        assert!(write_all(stream, Feed::new(pattern(100_000), 999)).await.is_clean());
        let stream = fd::from_fd(open().into(), StreamSettings::default()).expect("a stream");
        let rig = rig(stream, Feed::new(pattern(100_000), 999), Keep::default());
        let (sink, outcome) = within(rig.sink).await;
        assert!(outcome.is_clean() && sink.expect("the part").bytes.is_empty(), "{outcome}");
        assert!(within(rig.stream).await.1.is_clean());
    });
}
