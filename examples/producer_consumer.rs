//! Goal: join a source that emits a message to a sink that writes a file; credit, end and teardown are the actors' affair.
//!
//! Command: `cargo run --example producer_consumer`
//!
//! Expected output:
//!
//! ```text
//! source: ended, sink: ended
//! the file holds: bytes go down, credit comes up
//! ```

use bytes::Bytes;
use std::fs::File;
use std::io::Write as _;
use std::task::{Context, Poll};
use versile_io::component::join;
use versile_io::component::stock::{PartResult, Pull, Sink, Source};
use versile_io::proto::link::{Credit, Reason};

/// Emits what is left of a message, never more than there is credit for.
struct MessageSource(Bytes);

impl Source for MessageSource {
    type Out = Bytes;

    fn poll_pull(&mut self, credit: Credit, _: &mut Context<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        if self.0.is_empty() {
            return Poll::Ready(Ok(Pull::End { clean: true }));
        }
        let fits = usize::try_from(credit.quantity).unwrap_or(usize::MAX);
        let piece = self.0.split_to(fits.min(self.0.len()));
        Poll::Ready(Ok(Pull::Item(piece)))
    }
}

/// Writes what comes into a file.
struct FileSink(File);

impl Sink for FileSink {
    type In = Bytes;

    fn consume(&mut self, item: Bytes) -> PartResult {
        self.0.write_all(&item).map_err(|error| Reason::io("write the file", error))
    }
}

#[actix::main]
async fn main() -> std::io::Result<()> {
    let target = tempfile::NamedTempFile::new()?;
    let (outlet, source) = MessageSource("bytes go down, credit comes up".into()).start();
    let (inlet, sink) = FileSink(target.reopen()?).start();
    join(&outlet, &inlet, None);

    let ((_, source), (_, sink)) = (source.await, sink.await);
    println!("source: {source}, sink: {sink}");
    println!("the file holds: {}", std::fs::read_to_string(target.path())?);
    Ok(())
}
