//! The command line: what was asked for, as values, and whether it can be done at all.
//!
//! Clap reads the words; what one word cannot tell, such as whether both addresses go together, is checked after it and
//! told in one line.

use super::address::{Create, Spec, Target};
use super::exit::Exit;
use super::via::Stage;
use super::{help, size};
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::time::Duration;
use thiserror::Error;

/// Relays bytes between sockets, pipes, files and programs, with bounded memory
///
/// Reads as fast as the other side takes it and no faster, carries half-close and errors from end to end, and says at
/// the end what was delivered.
#[derive(Clone, Debug, Parser, PartialEq, Eq)]
#[command(name = "vio", version, max_term_width = 100, after_long_help = help::after_help())]
#[command(after_help = "`vio --help` lists the addresses, their options and the exit codes.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Join two addresses both ways
    ///
    /// If the left one listens, each connection is joined to a right one of its own.
    #[command(after_long_help = help::after_help(), after_help = SEE_HELP)]
    Relay(RelayArgs),
    /// Copy from one address to another
    ///
    /// An address that listens serves one connection.
    #[command(after_long_help = help::after_help(), after_help = SEE_HELP)]
    Copy(CopyArgs),
    /// Print the manual page
    Man,
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

const SEE_HELP: &str = "The long help (--help) lists the addresses, their options and the exit codes.";

/// Arguments of `vio relay`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RelayArgs {
    /// The address that is opened first; it may listen
    pub left: Spec,
    /// The address that it is joined to
    pub right: Spec,
    /// Threads that the connections of a listening left side are spread over
    #[arg(long, value_name = "N", default_value = "1")]
    pub threads: NonZeroUsize,
    /// Bytes that may be under way in all connections together
    #[arg(long, value_name = "SIZE", value_parser = window)]
    pub budget: Option<u64>,
    /// What relay and copy have in common.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Arguments of `vio copy`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CopyArgs {
    /// The address to read
    pub from: Spec,
    /// The address to write
    pub to: Spec,
    /// What relay and copy have in common.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Flags that relay and copy have in common.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CommonArgs {
    /// Print one JSON object at the end, on standard output, or on standard error if an address writes the former
    #[arg(long)]
    pub json: bool,
    /// Print errors only
    #[arg(long, short, conflicts_with_all = ["progress", "verbose"])]
    pub quiet: bool,
    /// Show progress even if standard error is not a terminal
    #[arg(long)]
    pub progress: bool,
    /// Tell the SHA-256 of what was relayed, for each direction
    #[arg(long)]
    pub hash: bool,
    /// Pass the data through a stage, in each direction; may be given again, and the first stands first
    #[arg(long, value_name = "STAGE")]
    pub via: Vec<Stage>,
    /// Bytes that may be under way in each direction, unless the address says otherwise
    #[arg(long, value_name = "SIZE", value_parser = window)]
    pub window: Option<u64>,
    /// Abort if nothing moves for this long
    #[arg(long, value_name = "DURATION", value_parser = idle)]
    pub idle: Option<Duration>,
    /// How long an interrupt lets the data under way be delivered; a second interrupt aborts at once
    #[arg(long, value_name = "DURATION", value_parser = size::parse_duration, default_value = "10s")]
    pub drain: Duration,
    /// Log more (-v information, -vv debugging, -vvv everything); RUST_LOG comes first
    #[arg(short, action = ArgAction::Count)]
    pub verbose: u8,
}

/// Where the report of `--json` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReportTo {
    /// Standard output, which nothing else uses.
    Stdout,
    /// Standard error, since data goes to standard output.
    Stderr,
}

/// Why a command line cannot be followed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// Clap has something to print, which may be the help that was asked for.
    #[error(transparent)]
    Clap(#[from] clap::Error),
    /// The words are right and do not go together.
    #[error(transparent)]
    Usage(#[from] UsageError),
}

/// Why arguments do not go together, in one line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageError {
    /// The right side of a relay listens.
    #[error("relay: the right address {address:?} must not listen, accepted: put it on the left")]
    RightListens {
        /// The address.
        address: String,
    },
    /// A relay is given an address that has one direction only.
    #[error("relay: the {side} address {address:?} is one-way, accepted: a two-way one, or use `vio copy FROM TO`")]
    OneWay {
        /// `left` or `right`.
        side: &'static str,
        /// The address.
        address: String,
    },
    /// Both sides of a relay use one descriptor.
    #[error("relay: both addresses use descriptor {number} ({left} and {right}), accepted: one of them")]
    SameDescriptor {
        /// The descriptor.
        number: i32,
        /// The left address.
        left: String,
        /// The right address.
        right: String,
    },
    /// Threads are asked for where there is one connection.
    #[error("relay: --threads {threads} has no use with {address:?}, accepted: a left address that listens")]
    Threads {
        /// How many.
        threads: NonZeroUsize,
        /// The left address.
        address: String,
    },
    /// Each connection of a listener would open the same VUT connection again.
    #[error(
        "relay: {address:?} is one connection, and its secrets are for one only, accepted: a left address that does not listen"
    )]
    OneConnection {
        /// The address.
        address: String,
    },
    /// An option of a file is about the other direction.
    #[error("copy: option {option:?} of {address:?} is for {direction} a file, accepted: {accepted}")]
    Direction {
        /// The option.
        option: &'static str,
        /// The address.
        address: String,
        /// `reading` or `writing`.
        direction: &'static str,
        /// Where it could stand.
        accepted: &'static str,
    },
    /// A copy reads and writes the same path.
    #[error("copy: {path:?} is read and written, accepted: two different files")]
    SameFile {
        /// The path.
        path: String,
    },
}

impl Cli {
    /// Reads a command line, the name of the program first, and checks that its parts go together.
    ///
    /// ```
    /// use versile_io::tool::args::{Cli, Command};
    /// let cli = Cli::read(["vio", "copy", "file:in.bin", "tcp:example.org:9000", "--hash"])?;
    /// assert!(matches!(cli.command, Command::Copy(copy) if copy.common.hash));
    /// let error = Cli::read(["vio", "relay", "-", "file:out.bin"]).expect_err("a file is one-way");
    /// assert!(error.to_string().ends_with("or use `vio copy FROM TO`"));
    /// # Ok::<(), versile_io::tool::args::ArgsError>(())
    /// ```
    pub fn read<I, T>(words: I) -> Result<Self, ArgsError>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        let cli = Self::try_parse_from(words)?;
        match &cli.command {
            Command::Relay(relay) => relay.check()?,
            Command::Copy(copy) => copy.check()?,
            Command::Man | Command::Completions { .. } => {}
        }
        Ok(cli)
    }

    /// The definition that parser, manual page and completions share.
    pub fn definition() -> clap::Command {
        Self::command()
    }
}

impl RelayArgs {
    /// Whether the addresses go together.
    pub fn check(&self) -> Result<(), UsageError> {
        let (left, right) = (&self.left.target, &self.right.target);
        for (side, spec) in [("left", &self.left), ("right", &self.right)] {
            if !spec.target.is_two_way() {
                return Err(UsageError::OneWay { side, address: spec.to_string() });
            }
        }
        if right.listens() {
            return Err(UsageError::RightListens { address: self.right.to_string() });
        }
        if left.listens() && matches!(right, Target::Vut { .. }) {
            return Err(UsageError::OneConnection { address: self.right.to_string() });
        }
        let of_left = [left.descriptor_read(), left.descriptor_written()];
        let mut of_right = [right.descriptor_read(), right.descriptor_written()].into_iter().flatten();
        if let Some(number) = of_right.find(|number| of_left.contains(&Some(*number))) {
            return Err(UsageError::SameDescriptor {
                number,
                left: self.left.to_string(),
                right: self.right.to_string(),
            });
        }
        if self.threads.get() > 1 && !left.listens() {
            return Err(UsageError::Threads { threads: self.threads, address: self.left.to_string() });
        }
        Ok(())
    }

    /// Where the report of `--json` goes.
    pub fn report_to(&self) -> ReportTo {
        report_to([&self.left, &self.right].map(|spec| spec.target.descriptor_written()))
    }
}

impl CopyArgs {
    /// Whether the addresses go together.
    pub fn check(&self) -> Result<(), UsageError> {
        if let Target::File { options, .. } = &self.from.target {
            let given = [
                ("append", options.append),
                ("nocreate", options.create == Create::Never),
                ("excl", options.create == Create::Always),
                ("mode", options.mode.is_some()),
            ];
            if let Some((option, _)) = given.into_iter().find(|(_, given)| *given) {
                let address = self.from.to_string();
                return Err(UsageError::Direction { option, address, direction: "writing", accepted: "on TO only" });
            }
        }
        if let Target::File { options, .. } = &self.to.target
            && options.offset.is_some()
        {
            return Err(UsageError::Direction {
                option: "offset",
                address: self.to.to_string(),
                direction: "reading",
                accepted: "on FROM only",
            });
        }
        if let (Target::File { path: from, .. }, Target::File { path: to, .. }) = (&self.from.target, &self.to.target)
            && from == to
        {
            return Err(UsageError::SameFile { path: from.to_string_lossy().into_owned() });
        }
        Ok(())
    }

    /// Where the report of `--json` goes.
    pub fn report_to(&self) -> ReportTo {
        report_to([None, self.to.target.descriptor_written()])
    }
}

impl ArgsError {
    /// Prints it where it belongs and says how the tool ends: help that was asked for is no failure.
    pub fn report(&self) -> Exit {
        // Who has closed the standard streams does not want to be told.
        match self {
            Self::Clap(error) => {
                let _ = error.print();
                if error.use_stderr() { Exit::Usage } else { Exit::Delivered }
            }
            Self::Usage(error) => {
                let _ = writeln!(io::stderr(), "vio: {error}");
                Exit::Usage
            }
        }
    }
}

fn report_to(written: [Option<i32>; 2]) -> ReportTo {
    if written.contains(&Some(1)) { ReportTo::Stderr } else { ReportTo::Stdout }
}

fn window(text: &str) -> Result<u64, String> {
    match size::parse_size(text) {
        Ok(0) => Err(format!("nothing could move, accepted: {}, at least 1", size::SIZES)),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

fn idle(text: &str) -> Result<Duration, String> {
    match size::parse_duration(text) {
        Ok(Duration::ZERO) => Err(format!("it would end at once, accepted: {}, more than nothing", size::DURATIONS)),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Cli, ArgsError> {
        Cli::read(line.split(' '))
    }

    fn usage(line: &str) -> String {
        match read(line) {
            Err(ArgsError::Usage(error)) => error.to_string(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::definition().debug_assert();
    }

    #[test]
    fn flags_are_read() {
        let line = "vio relay tcp-listen::8080 unix:s --threads 2 --json --hash --window 1MiB --idle 30s -vv --progress --budget 64MiB";
        let Command::Relay(relay) = read(line).expect(line).command else { panic!("not relay") };
        assert_eq!((relay.threads.get(), relay.budget), (2, Some(64 << 20)));
        let drain = Duration::from_secs(10);
        let common = CommonArgs {
            json: true,
            quiet: false,
            progress: true,
            hash: true,
            via: Vec::new(),
            window: Some(1 << 20),
            idle: Some(Duration::from_secs(30)),
            drain,
            verbose: 2,
        };
        assert_eq!(relay.common, common);
    }

    #[test]
    fn what_goes_together_is_accepted() {
        for line in [
            "vio relay - tcp:a:1",
            "vio relay tcp-listen::1,max=5 tcp:a:1 --threads 4",
            "vio relay unix-listen:s exec:cat",
            "vio relay fd:3 fd:4",
            "vio relay fd:0 fd:1",
            "vio copy - -",
            "vio copy file:a,offset=5 file:b,append",
            "vio copy tcp-listen::1 file:a",
            "vio copy fifo:a unix-listen:s",
            "vio copy fd:3 fd:3",
            "vio man",
            "vio completions bash",
        ] {
            read(line).expect(line);
        }
    }

    #[test]
    fn what_does_not_go_together_is_told_in_one_line() {
        for (line, message) in [
            (
                "vio relay tcp:a:1 tcp-listen::1",
                r#"relay: the right address "tcp-listen::1" must not listen, accepted: "#,
            ),
            ("vio relay tcp-listen::1 unix-listen:s", r#"relay: the right address "unix-listen:s" must not listen"#),
            (
                "vio relay file:a tcp:a:1",
                r#"relay: the left address "file:a" is one-way, accepted: a two-way one, or use "#,
            ),
            ("vio relay - fifo:a", r#"relay: the right address "fifo:a" is one-way"#),
            ("vio relay - stdio", "relay: both addresses use descriptor 0 (stdio and stdio), accepted: one of them"),
            ("vio relay - fd:1", "relay: both addresses use descriptor 1 (stdio and fd:1)"),
            ("vio relay fd:3 fd:3", "relay: both addresses use descriptor 3 (fd:3 and fd:3)"),
            (
                "vio relay - tcp:a:1 --threads 2",
                r#"relay: --threads 2 has no use with "stdio", accepted: a left address"#,
            ),
            (
                "vio copy file:a,append -",
                r#"copy: option "append" of "file:a,append" is for writing a file, accepted: on TO"#,
            ),
            ("vio copy file:a,mode=600 -", r#"copy: option "mode" of "file:a,mode=0600" is for writing a file"#),
            (
                "vio copy - file:a,offset=1",
                r#"copy: option "offset" of "file:a,offset=1" is for reading a file, accepted: on "#,
            ),
            ("vio copy file:a file:a", r#"copy: "a" is read and written, accepted: two different files"#),
        ] {
            let told = usage(line);
            assert!(told.starts_with(message), "{line} is told\n  {told}\nnot\n  {message}");
            assert!(!told.contains('\n'), "{told}");
        }
    }

    #[test]
    fn what_clap_refuses_ends_as_usage_and_help_does_not() {
        for (line, part) in [
            ("vio relay tpc:a:1 -", "invalid value 'tpc:a:1' for '<LEFT>': unknown kind of address"),
            ("vio copy - - --window 0", "invalid value '0' for '--window <SIZE>': nothing could move"),
            ("vio relay - tcp:a:1 --budget 0", "invalid value '0' for '--budget <SIZE>': nothing could move"),
            ("vio copy - - --budget 1MiB", "unexpected argument '--budget' found"),
            ("vio copy - - --idle 0s", "invalid value '0s' for '--idle <DURATION>': it would end at once"),
            ("vio copy - - --drain 10", "invalid value '10' for '--drain <DURATION>': \"10\" has the unit \"\""),
            ("vio copy - - -q --progress", "cannot be used with '--progress'"),
            ("vio relay - tcp:a:1 --threads 0", "invalid value '0' for '--threads <N>'"),
            ("vio copy -", "required arguments were not provided"),
            ("vio", "Usage: vio <COMMAND>"),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.to_string().contains(part), "{line}: {error}");
            assert!(matches!(&error, ArgsError::Clap(clap) if clap.exit_code() == 2), "{line}");
        }
        assert!(matches!(read("vio --help"), Err(ArgsError::Clap(help)) if help.exit_code() == 0));
    }

    #[test]
    fn the_report_keeps_out_of_the_data() {
        for (line, to) in [
            ("vio copy - file:a", ReportTo::Stdout),
            ("vio copy file:a -", ReportTo::Stderr),
            ("vio copy file:a fd:1", ReportTo::Stderr),
            ("vio copy fd:1 file:a", ReportTo::Stdout),
            ("vio relay - tcp:a:1", ReportTo::Stderr),
            ("vio relay tcp:a:1 unix:s", ReportTo::Stdout),
        ] {
            let told = match read(line).expect(line).command {
                Command::Relay(relay) => relay.report_to(),
                Command::Copy(copy) => copy.report_to(),
                other => panic!("{other:?}"),
            };
            assert_eq!(told, to, "{line}");
        }
    }
}
