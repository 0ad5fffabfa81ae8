//! Regular files: they cannot be waited on, so each read and write runs on tokio's blocking pool, one at a time.

use super::{Io, Room, uninterrupted};
use crate::agent::queue::{Piece, WriteQueue};
use bytes::{Bytes, BytesMut};
use std::fs::File;
use std::future::Future;
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::task::{JoinHandle, spawn_blocking};

/// How much one call reads or writes: a hop to the blocking pool costs some 10 us, 256 KiB from the page cache 30 us.
const CHUNK: usize = 256 * 1024;

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileMode {
    /// Read from where it stands.
    Read,
    /// Written where it stands. `sync`: its data is on the disk before the end is reported.
    Write {
        /// See above.
        sync: bool,
    },
}

/// A regular file, read or written.
pub(crate) struct FileIo {
    /// `None` while the pool has it.
    file: Option<File>,
    mode: FileMode,
    job: Option<JoinHandle<(File, io::Result<Done>)>>,
    /// How many bytes to go back before the next read.
    back: u64,
}

/// What a job did.
enum Done {
    Read(Bytes),
    Written(usize),
    Synced,
    Sought,
}

impl FileIo {
    pub(crate) fn new(file: File, mode: FileMode) -> Self {
        Self { file: Some(file), mode, job: None, back: 0 }
    }

    /// Polls the running job, or starts one.
    fn poll_job(
        &mut self,
        cx: &mut Context<'_>,
        job: impl FnOnce(&mut File) -> io::Result<Done> + Send + 'static,
    ) -> Poll<io::Result<Done>> {
        if let Some(mut file) = self.file.take() {
            self.job = Some(spawn_blocking(move || {
                let done = job(&mut file);
                (file, done)
            }));
        }
        let Some(running) = &mut self.job else { return Poll::Ready(Err(io::ErrorKind::Other.into())) };
        let finished = ready!(Pin::new(running).poll(cx));
        self.job = None;
        // the pool refuses work only while the runtime shuts down
        let (file, done) = finished.map_err(io::Error::other)?;
        self.file = Some(file);
        Poll::Ready(done)
    }
}

impl Io for FileIo {
    fn rewind(&mut self, by: u64) {
        self.back += by;
    }

    fn poll_read(&mut self, room: Room, cx: &mut Context<'_>) -> Poll<io::Result<Piece>> {
        let max = room.max;
        while self.back > 0 {
            let back = i64::try_from(self.back).map_err(io::Error::other)?;
            let done = self.poll_job(cx, move |file| file.seek(SeekFrom::Current(-back)).map(|_| Done::Sought));
            match ready!(done)? {
                // a read that was under way has moved the file on, and nobody wants it any more
                Done::Read(bytes) => self.back += bytes.len() as u64,
                _ => self.back = 0,
            }
        }
        let done = ready!(self.poll_job(cx, move |file| {
            let mut room = BytesMut::zeroed(max.min(CHUNK));
            let n = uninterrupted(|| file.read(&mut room))?;
            if n < room.len() / 4 {
                // a small piece that waits in a slow chain must not hold a large buffer
                return Ok(Done::Read(Bytes::copy_from_slice(&room[..n])));
            }
            room.truncate(n);
            Ok(Done::Read(room.freeze()))
        }))?;
        match done {
            Done::Read(bytes) => Poll::Ready(Ok(Piece::Heap(bytes))),
            Done::Written(_) | Done::Synced | Done::Sought => Poll::Ready(Err(io::ErrorKind::Other.into())),
        }
    }

    fn poll_write(&mut self, queue: &mut WriteQueue, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // shared only if a job is to be started: polled again, the queue may hold more
        let pieces = if self.job.is_none() { queue.share(CHUNK) } else { Vec::new() };
        let done = ready!(self.poll_job(cx, move |file| {
            let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            uninterrupted(|| file.write_vectored(&slices)).map(Done::Written)
        }))?;
        match done {
            Done::Written(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Done::Written(n) => {
                queue.advance(n);
                Poll::Ready(Ok(()))
            }
            Done::Read(_) | Done::Synced | Done::Sought => Poll::Ready(Err(io::ErrorKind::Other.into())),
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.mode == (FileMode::Write { sync: true }) {
            ready!(self.poll_job(cx, |file| file.sync_all().map(|()| Done::Synced)))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_lost(&mut self, _: &mut Context<'_>) -> Poll<io::Error> {
        Poll::Pending
    }

    fn reset(&mut self) {}
}
