//! Goal: write a message to a file through the low level, with a handle of one's own and a driver that calls it.
//!
//! Command: `cargo run --example file_writer`
//!
//! Expected output:
//!
//! ```text
//! outcome: finished after 3 writes
//! the file holds: one descriptor, one handle, one driver
//! ```
//!
//! A file is always ready, so the driver calls again and again and lets others run in between. The same handle would
//! work for a pipe or a socket, where the driver waits until there is room.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use versile_io::agent::handle::{ByteHandle, CloseReason, HandleContext, HandleDriver, Interest, Next};

/// Writes what is left of a message, a little at a time so that there is something to see.
struct FileWriter {
    file: File,
    left: Vec<u8>,
}

impl ByteHandle for FileWriter {
    fn raw_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn directions(&self) -> Interest {
        Interest::WRITE
    }

    fn do_write(&mut self, _: &mut HandleContext<'_>) -> io::Result<Next> {
        let count = self.file.write(&self.left[..self.left.len().min(16)])?;
        self.left.drain(..count);
        Ok(if self.left.is_empty() { Next::Done } else { Next::Wait })
    }

    fn close_output(&mut self, reason: &CloseReason) {
        // The driver drops the handle after this, and that closes the file.
        if !self.left.is_empty() {
            eprintln!("{} bytes were not written: {reason}", self.left.len());
        }
    }
}

/// Runs the example and gives what it prints.
fn run() -> io::Result<String> {
    let target = tempfile::NamedTempFile::new()?;
    let message = "one descriptor, one handle, one driver";
    let writer = FileWriter { file: target.reopen()?, left: message.into() };
    let outcome = actix::System::new().block_on(async {
        let (_addr, completion) = HandleDriver::start(writer);
        completion.await
    });
    let reason = outcome.output.as_ref().map_or_else(String::new, ToString::to_string);
    let held = std::fs::read_to_string(target.path())?;
    Ok(format!("outcome: {reason} after {} writes\nthe file holds: {held}\n", outcome.writes))
}

fn main() -> io::Result<()> {
    print!("{}", run()?);
    Ok(())
}
