//! Goal: keep the raw operations of a descriptor (write some, start and stop writing) apart from the handle that uses them.
//!
//! Command: `cargo run --example file_writer_second`
//!
//! Expected output:
//!
//! ```text
//! while stopped the reader got 0 bytes
//! after the start it got 100000 bytes, and the outcome is: finished
//! ```
//!
//! `RawOutput` knows the descriptor and whether writing is wanted, and nothing of messages. `MessageWriter` knows a message
//! and nothing of readiness. The target is a named pipe: it is full long before the message is, so the driver has to wait
//! for room. Writing starts from outside of the handle, by a switch that any thread can hold.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::Addr;
use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};
use versile_io::agent::handle::{ByteHandle, HandleContext, HandleDriver, Interest, Next, Resume};

/// A descriptor with the raw operations of an output.
struct RawOutput {
    file: File,
    writing: Arc<AtomicBool>,
}

impl RawOutput {
    /// Writes what there is room for and gives how much that was.
    fn write_some(&mut self, data: &[u8]) -> io::Result<usize> {
        self.file.write(data)
    }

    /// No more calls until somebody starts again.
    fn stop_writing(&self) {
        self.writing.store(false, Ordering::Release);
    }

    fn interest(&self) -> Interest {
        if self.writing.load(Ordering::Acquire) { Interest::WRITE } else { Interest::NONE }
    }
}

/// Writes one message through a raw output.
struct MessageWriter {
    output: RawOutput,
    left: Vec<u8>,
}

impl ByteHandle for MessageWriter {
    fn raw_fd(&self) -> BorrowedFd<'_> {
        self.output.file.as_fd()
    }

    fn directions(&self) -> Interest {
        Interest::WRITE
    }

    fn interest(&self) -> Interest {
        self.output.interest()
    }

    fn do_write(&mut self, _: &mut HandleContext<'_>) -> io::Result<Next> {
        let count = self.output.write_some(&self.left)?;
        self.left.drain(..count);
        if !self.left.is_empty() {
            return Ok(Next::Wait);
        }
        self.output.stop_writing();
        Ok(Next::Done)
    }
}

/// Starts the writing of a handle that may already be driven: sets what it wants, then has the driver ask.
fn start_writing(writing: &AtomicBool, driver: &Addr<HandleDriver<MessageWriter>>) {
    writing.store(true, Ordering::Release);
    driver.do_send(Resume(Interest::NONE));
}

/// Runs the example and gives what it prints.
fn run() -> io::Result<String> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("fifo");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR)?;
    // The reader first: a named pipe without one cannot be opened for writing in non-blocking mode.
    let mut reader = File::from(open(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?);
    let file = File::from(open(&path, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty())?);

    let writing = Arc::new(AtomicBool::new(false));
    let output = RawOutput { file, writing: Arc::clone(&writing) };
    let writer = MessageWriter { output, left: vec![b'x'; 100_000] };
    actix::System::new().block_on(async move {
        let (driver, completion) = HandleDriver::start(writer);
        tokio::task::yield_now().await;
        let early = match reader.read(&mut [0; 64]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            other => other?,
        };

        start_writing(&writing, &driver);
        versile_io::agent::handle::set_nonblocking(reader.as_fd(), false)?;
        let received = tokio::task::spawn_blocking(move || reader.read_to_end(&mut Vec::new()));
        let outcome = completion.await;
        let count = received.await??;
        let reason = outcome.output.as_ref().map_or_else(String::new, ToString::to_string);
        Ok(format!(
            "while stopped the reader got {early} bytes\nafter the start it got {count} bytes, and the outcome is: {reason}\n"
        ))
    })
}

fn main() -> io::Result<()> {
    print!("{}", run()?);
    Ok(())
}
