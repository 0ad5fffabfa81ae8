//! The manual page and the shell completions, written from the definition that the parser uses.

use super::args::Cli;
use super::help::{Section, sections};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use std::io;

/// The manual page in roff, with the commands, the addresses and the exit codes on one page.
pub fn man() -> io::Result<Vec<u8>> {
    // The long text after the options is set in columns; it is written below as such instead of as running text.
    let mut definition = Cli::definition().after_help(None::<&str>).after_long_help(None::<&str>);
    definition.build();
    let mut page = Vec::new();
    let man = Man::new(definition.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for command in definition.get_subcommands().filter(|command| command.get_name() != "help") {
        render_command(command, &mut page)?;
    }
    for section in sections() {
        columns(&section).to_writer(&mut page)?;
    }
    man.render_version_section(&mut page)?;
    Ok(page)
}

/// The completions for a shell.
pub fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::definition(), "vio", &mut script);
    script
}

/// One command as a section of its own: synopsis, description and options under one heading.
fn render_command(command: &clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    let man = Man::new(command.clone());
    let mut part = Vec::new();
    man.render_synopsis_section(&mut part)?;
    man.render_description_section(&mut part)?;
    man.render_options_section(&mut part)?;
    let heading = format!("vio {}", command.get_name()).to_uppercase();
    let mut head = Roff::new();
    head.control("SH", [heading.as_str()]);
    head.to_writer(page)?;
    // What is a section of a page of its own becomes a subsection here.
    let part = String::from_utf8_lossy(&part).replace("\n.SH ", "\n.SS ");
    let part = part.strip_prefix(".SH ").map(|rest| format!(".SS {rest}")).unwrap_or(part);
    page.extend_from_slice(part.as_bytes());
    Ok(())
}

/// A section whose lines stay as they are.
fn columns(section: &Section) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [section.title.to_uppercase().as_str()]);
    roff.control("nf", []);
    for line in &section.lines {
        roff.text([roman(line.as_str())]);
    }
    roff.control("fi", []);
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_tells_commands_addresses_and_codes() {
        let page = String::from_utf8(man().expect("writing to memory")).expect("text");
        for part in [
            ".TH vio 1",
            r#".SH "VIO RELAY""#,
            r#".SH "VIO COPY""#,
            ".SH ADDRESSES",
            r#".SH "ADDRESS OPTIONS""#,
            r#".SH "EXIT CODES""#,
            "tcp:HOST:PORT",
            r"\-\-drain",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }

    #[test]
    fn each_shell_has_completions() {
        use clap::ValueEnum;
        for shell in clap_complete::Shell::value_variants() {
            let script = String::from_utf8(completions(*shell)).expect("text");
            assert!(script.contains("completions"), "{shell}");
        }
    }
}
