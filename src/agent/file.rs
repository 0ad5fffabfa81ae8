//! Regular files: reading, writing, appending.

use super::io::{FileIo, FileMode};
use super::stream::{Opened, Stream, StreamSettings};
use crate::component::Peer;
use crate::component::stock::{Directions, PartResult};
use crate::proto::link::Reason;
use futures_util::FutureExt;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Options of a file that is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions {
    /// Where to begin, in bytes.
    pub offset: u64,
    /// What all streams have in common.
    pub stream: StreamSettings,
}

/// What to do about a file that is there, or is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Create {
    /// Made if it is not there; emptied if it is, unless appending.
    #[default]
    IfMissing,
    /// It must be there.
    Never,
    /// It must not be there.
    Always,
}

/// Options of a file that is written.
#[derive(Clone, Copy, Debug)]
pub struct WriteOptions {
    /// Write behind what is there.
    pub append: bool,
    /// Whether to make it.
    pub create: Create,
    /// The permissions of a file that is made, less the process's mask.
    pub mode: u32,
    /// The end is reported only when the data is on the disk (`fsync`).
    pub sync: bool,
    /// What all streams have in common.
    pub stream: StreamSettings,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { append: false, create: Create::IfMissing, mode: 0o666, sync: false, stream: StreamSettings::default() }
    }
}

/// A file that is read from where the options say to its end. It is opened when something is wanted of it.
pub fn read(path: impl Into<PathBuf>, options: ReadOptions) -> Stream {
    let path = path.into();
    let settings = StreamSettings { directions: Directions::ReadOnly, ..options.stream };
    open("open", path, settings, FileMode::Read, move |path| {
        let mut file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if options.offset > 0 {
            file.seek(SeekFrom::Start(options.offset))?;
        }
        Ok(file)
    })
    .rereadable()
}

/// A file that is written. It is opened when something is wanted of it: an item, or the end.
pub fn write(path: impl Into<PathBuf>, options: WriteOptions) -> Stream {
    let path = path.into();
    let settings = StreamSettings { directions: Directions::WriteOnly, ..options.stream };
    open("create", path, settings, FileMode::Write { sync: options.sync }, move |path| {
        let mut how = OpenOptions::new();
        how.write(true).append(options.append).mode(options.mode);
        match options.create {
            Create::IfMissing => how.create(true).truncate(!options.append),
            Create::Never => how.truncate(!options.append),
            Create::Always => how.create_new(true),
        };
        how.open(path)
    })
}

fn open(
    action: &'static str,
    path: PathBuf,
    settings: StreamSettings,
    mode: FileMode,
    how: impl FnOnce(&PathBuf) -> io::Result<File> + Send + 'static,
) -> Stream {
    let label = Peer::File(path.clone()).to_string();
    let opener = move |_, _| open_in_pool(action, path, mode, how).boxed_local();
    Stream::to_open(label, settings, Box::new(opener))
}

/// Opening a file can block (a network file system), so it runs on the blocking pool.
async fn open_in_pool(
    action: &'static str,
    path: PathBuf,
    mode: FileMode,
    how: impl FnOnce(&PathBuf) -> io::Result<File> + Send + 'static,
) -> PartResult<Opened> {
    let peer = Peer::File(path.clone());
    let file = tokio::task::spawn_blocking(move || how(&path)).await.map_err(io::Error::other).and_then(|file| file);
    let file = file.map_err(|error| Reason::io(format!("{action} {peer}"), error))?;
    Ok(Opened { io: Box::new(FileIo::new(file, mode)), peer })
}
