//! Goal: write into a chain from ordinary async code, and wait while the chain is full.
//!
//! Command: `cargo run --example byte_writer`
//!
//! Expected output:
//!
//! ```text
//! written up to 44, and the file agent ended
//! the file holds: a writer waits for room instead of dropping.
//! ```
//!
//! The buffer takes 16 bytes, so most of these writes wait for the file.

use std::error::Error;
use versile_io::agent::file::{self, WriteOptions};
use versile_io::component::join;
use versile_io::component::stock::Duplex;
use versile_io::component::writer::ByteWriter;

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let target = tempfile::NamedTempFile::new()?;
    let (writer, outlet, _) = ByteWriter::start("message", 16);
    let (file, done) = file::write(target.path(), WriteOptions::default()).start();
    join(&outlet, &file.inlet, None);

    let mut offset = 0;
    for word in ["a writer ", "waits ", "for room ", "instead of ", "dropping."] {
        offset = writer.write(word).await?;
    }
    // Without this the last handle's drop would end the data unclean: it may not be complete.
    writer.end(true);

    let (_, outcome) = done.await;
    println!("written up to {offset}, and the file agent {outcome}");
    println!("the file holds: {}", std::fs::read_to_string(target.path())?);
    Ok(())
}
