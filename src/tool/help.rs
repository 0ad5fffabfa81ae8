//! The parts of the help text and of the manual page that are written from tables.
//!
//! Each line fits a terminal of 80 columns.

use super::address::grammar::{COMMON, KEYS, KINDS, Key};
use super::exit;
use super::via::STAGES;

/// The widest line; one column of a terminal stays free.
const WIDTH: usize = 79;

/// A heading and the lines under it.
pub(crate) struct Section {
    /// In the capitals of a sentence.
    pub(crate) title: &'static str,
    /// Indented by two columns where they are printed.
    pub(crate) lines: Vec<String>,
}

/// The sections that follow the options.
pub(crate) fn sections() -> Vec<Section> {
    vec![
        Section { title: "Addresses", lines: addresses() },
        Section { title: "Address options", lines: options() },
        Section { title: "Stages", lines: stages() },
        Section { title: "Exit codes", lines: exit_codes() },
    ]
}

/// All sections as the end of a help text.
pub(crate) fn after_help() -> String {
    let section = |section: Section| {
        let lines: Vec<_> = section.lines.iter().map(|line| format!("  {line}").trim_end().to_owned()).collect();
        format!("{}:\n{}", section.title, lines.join("\n"))
    };
    sections().into_iter().map(section).collect::<Vec<_>>().join("\n\n")
}

fn addresses() -> Vec<String> {
    let width = KINDS.iter().map(|row| row.form.len()).max().unwrap_or_default();
    let mut lines: Vec<_> = KINDS.iter().map(|row| format!("{:width$}  {}", row.form, row.about)).collect();
    lines.push(String::new());
    lines.push("Options follow after commas: tcp:example.org:443,nodelay,timeout=5s".to_owned());
    lines.push(r"A comma in a path or a command is written \, (file:a\,b).".to_owned());
    lines.push("SIZE is a number of bytes, or such as 64KiB, 1MiB, 10MB.".to_owned());
    lines.push("DURATION is a number with ms, s, m or h, such as 500ms, 10s.".to_owned());
    lines
}

fn options() -> Vec<String> {
    let width = KEYS.iter().map(|row| row.key.form().len()).max().unwrap_or_default();
    let line = |key: &Key| format!("{:width$}  {}", key.form(), key.row().about);
    let mut lines: Vec<_> = KEYS.iter().map(|row| line(&row.key)).collect();
    lines.push(String::new());
    let names = |keys: &[Key]| keys.iter().map(|key| key.row().name).collect::<Vec<_>>();
    lines.extend(listed("every kind", &names(COMMON)));
    for row in KINDS.iter().filter(|row| !row.keys.is_empty()) {
        lines.extend(listed(row.name, &names(row.keys)));
    }
    lines
}

fn stages() -> Vec<String> {
    let width = STAGES.iter().map(|row| row.form.len()).max().unwrap_or_default();
    STAGES.iter().map(|row| format!("{:width$}  {}", row.form, row.about)).collect()
}

fn exit_codes() -> Vec<String> {
    exit::table().iter().map(|(code, meaning)| format!("{code}  {meaning}")).collect()
}

/// `label: a, b, c`, broken between words, with the rest under the first word.
fn listed(label: &str, words: &[&str]) -> Vec<String> {
    const LABEL: usize = 13;
    let mut lines = Vec::new();
    let mut line = format!("{:LABEL$}", format!("{label}:"));
    for (at, word) in words.iter().enumerate() {
        let comma = if at + 1 == words.len() { "" } else { "," };
        // Two for the indentation of a section, one for the space.
        if line.len() + word.len() + comma.len() + 3 > WIDTH {
            lines.push(std::mem::replace(&mut line, " ".repeat(LABEL)));
        }
        line.push(' ');
        line.push_str(word);
        line.push_str(comma);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_a_terminal() {
        for line in after_help().lines() {
            assert!(line.len() <= WIDTH, "{} columns: {line}", line.len());
        }
    }

    #[test]
    fn every_word_of_the_tables_is_in_the_help() {
        let help = after_help();
        for row in KINDS {
            assert!(help.contains(row.form), "{}", row.form);
        }
        for row in KEYS {
            assert!(help.contains(&row.key.form()), "{}", row.name);
        }
        for (_, meaning) in exit::table() {
            assert!(help.contains(meaning), "{meaning}");
        }
    }
}
