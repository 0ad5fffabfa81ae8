//! Child processes: their standard input is written, their standard output is read.
//!
//! The end of the output is clean only if the process exits with success: a program that failed has not given complete
//! data (rule E1). With [`Directions::WriteOnly`] the end of the input waits for the exit, and a failure aborts. A process
//! whose chain is aborted or gone is killed; what it has started itself is not.
//!
//! A program that stops reading early, as `head` does, aborts its producer only after its own output has ended, so that none
//! of it is lost.

use super::io::ChildIo;
use super::stream::{Opened, Stream, StreamSettings};
use crate::component::Peer;
use crate::component::stock::{Directions, PartResult};
use crate::proto::link::Reason;
use futures_util::FutureExt;
use std::ffi::OsString;
use std::io;
use std::process::Stdio;
use tokio::process::Command;

/// Options of a child process.
#[derive(Clone, Debug, Default)]
pub struct ProcessOptions {
    /// Its standard error goes nowhere instead of to ours.
    pub quiet: bool,
    /// What all streams have in common.
    pub stream: StreamSettings,
}

/// A program with its arguments, started when something is wanted of it.
pub fn program<A>(program: impl Into<OsString>, arguments: A, options: ProcessOptions) -> Stream
where
    A: IntoIterator,
    A::Item: Into<OsString>,
{
    let program = program.into();
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let label = format!("process {}", program.to_string_lossy());
    let settings = options.stream;
    let quiet = options.quiet;
    let opener = move |_, directions| std::future::ready(spawn(program, arguments, directions, quiet)).boxed_local();
    Stream::to_open(label, settings, Box::new(opener))
}

/// A command line, run by `/bin/sh -c` when something is wanted of it.
pub fn shell(command: &str, options: ProcessOptions) -> Stream {
    program("/bin/sh", ["-c", command], options).named(format!("exec {command}"))
}

fn spawn(program: OsString, arguments: Vec<OsString>, directions: Directions, quiet: bool) -> PartResult<Opened> {
    let failed = |error: io::Error| Reason::io(format!("start {}", program.to_string_lossy()), error);
    let pipe = |used: bool| if used { Stdio::piped() } else { Stdio::null() };
    let child = Command::new(&program)
        .args(arguments)
        .stdin(pipe(directions != Directions::ReadOnly))
        .stdout(pipe(directions != Directions::WriteOnly))
        .stderr(if quiet { Stdio::null() } else { Stdio::inherit() })
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let peer = Peer::Process { program: program.clone().into(), pid: child.id().unwrap_or_default() };
    let io = ChildIo::new(child).map_err(failed)?;
    Ok(Opened { io: Box::new(io), peer })
}
