//! A buffer that goes on in a file: for a producer that must not wait, and a consumer that is away for longer than memory lasts.
//!
//! Order is kept, and an end comes after all that was taken. Both bounds hold: memory for what waits for the disk and for the consumer,
//! and the file, which is a ring. With both full, the producer waits for credit as on any link. The file is made when it is needed, has
//! no name from then on (so that nothing is left behind, whatever happens to the process), and is closed when it is empty. All work on
//! it is done on the blocking pool; an error of the disk aborts the chain with what was tried.
//!
//! A consumer that is quick enough never has the disk touched.

mod backlog;

use crate::component::drive;
use crate::component::{AddrExt, Inlet, InletEvent, InletRef, Outlet, OutletEvent, OutletRef};
use crate::proto::link::{Payload, Reason, Window};
use crate::wire;
use actix::fut::wrap_future;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context};
use backlog::{Backlog, Job};
use bytes::Bytes;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::task::spawn_blocking;

/// The bounds of a [`spill`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpillOptions {
    memory: Window,
    file: u64,
    dir: PathBuf,
}

impl SpillOptions {
    /// At most `file` bytes (at least 1) in a file in `dir`, and 1 MiB in 1024 pieces in memory.
    ///
    /// ```
    /// use versile_io::agent::spill::SpillOptions;
    /// use versile_io::proto::link::Window;
    /// let options = SpillOptions::new(1 << 30, std::env::temp_dir()).memory(Window { quantity: 4 << 20, messages: 4096 });
    /// # let _ = options;
    /// ```
    pub fn new(file: u64, dir: impl Into<PathBuf>) -> Self {
        Self { memory: Window { quantity: 1 << 20, messages: 1024 }, file: file.max(1), dir: dir.into() }
    }

    /// At most so much in memory, at least two bytes in two pieces. What was read from the file may be half as much on top.
    #[must_use]
    pub fn memory(mut self, memory: Window) -> Self {
        self.memory = Window { quantity: memory.quantity.max(2), messages: memory.messages.max(2) };
        self
    }
}

/// A spill's ports and its counts.
#[derive(Debug)]
pub struct Spill {
    /// Where bytes come in.
    pub inlet: InletRef<Bytes>,
    /// Where they go out.
    pub outlet: OutletRef<Bytes>,
    /// What lies in the file.
    pub gauge: SpillGauge,
}

/// How a [`spill`] uses its file; to be read from anywhere.
#[derive(Clone, Debug, Default)]
pub struct SpillGauge(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    in_file: AtomicU64,
    spilled: AtomicU64,
}

impl SpillGauge {
    /// Bytes in the file now.
    pub fn in_file(&self) -> u64 {
        self.0.in_file.load(Relaxed)
    }

    /// Bytes that have gone through the file so far.
    pub fn spilled(&self) -> u64 {
        self.0.spilled.load(Relaxed)
    }
}

/// Starts a spill on the current arbiter.
///
/// ```
/// use versile_io::agent::spill::{SpillOptions, spill};
/// # actix::System::new().block_on(async {
/// let ports = spill(SpillOptions::new(1 << 30, std::env::temp_dir()));
/// assert_eq!(ports.gauge.in_file(), 0);
/// # });
/// ```
pub fn spill(options: SpillOptions) -> Spill {
    let gauge = SpillGauge::default();
    let addr = SpillActor {
        input: Inlet::holding(options.memory),
        output: Outlet::default().on_demand(),
        backlog: Backlog::new(options.memory, options.file),
        capacity: options.file,
        dir: options.dir.into(),
        file: None,
        end: None,
        gauge: gauge.clone(),
    }
    .start();
    Spill { inlet: addr.inlet(), outlet: addr.outlet(), gauge }
}

/// The actor of a [`spill`].
pub struct SpillActor {
    input: Inlet<Bytes>,
    output: Outlet<Bytes>,
    backlog: Backlog,
    capacity: u64,
    dir: Arc<Path>,
    file: Option<Arc<File>>,
    end: Option<bool>,
    gauge: SpillGauge,
}

impl Actor for SpillActor {
    type Context = Context<Self>;
}

wire!(SpillActor {
    inlet input: Bytes => on_input;
    outlet output: Bytes => on_output;
    settled => is_empty;
    name => spill_name;
});

impl SpillActor {
    fn on_input(&mut self, event: InletEvent<Bytes>, ctx: &mut Context<Self>) {
        match event {
            InletEvent::Item(item) => self.backlog.take(item),
            InletEvent::End { clean } => self.end = Some(clean),
            InletEvent::Parcel(_) | InletEvent::Attached | InletEvent::Detached | InletEvent::Aborted => return,
        }
        self.pump(ctx);
    }

    fn on_output(&mut self, _: OutletEvent, ctx: &mut Context<Self>) {
        self.pump(ctx);
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        while self.output.is_ready() {
            let Some((item, held)) = self.backlog.give() else { break };
            let quantity = item.quantity();
            // it is ready, so it takes any item
            let _ = self.output.push(item);
            if held {
                self.input.release(quantity, 1);
            }
        }
        if let Some(job) = self.backlog.next_job() {
            self.start_job(job, ctx);
        }
        if self.backlog.is_file_idle() {
            // given back to the disk
            self.file = None;
        }
        self.gauge.0.in_file.store(self.backlog.in_file(), Relaxed);
        let empty = self.backlog.is_empty();
        // what waits is delivered, whoever else still holds the spill
        self.output.keep(!empty);
        if let Some(clean) = self.end.filter(|_| empty) {
            self.output.end(clean);
        }
        if self.output.ended().is_some() {
            self.input.complete();
            ctx.stop();
        }
    }

    fn start_job(&mut self, job: Job, ctx: &mut Context<Self>) {
        let (file, dir, capacity) = (self.file.clone(), self.dir.clone(), self.capacity);
        let running = spawn_blocking(move || run(job, file, &dir, capacity));
        ctx.spawn(wrap_future::<_, Self>(running).map(|done, act, ctx| {
            // nothing to do for one that is aborted
            let _ = drive::turn(act, ctx, |act, ctx| match done {
                Ok(Ok((file, read))) => {
                    act.file = Some(file);
                    let finished = act.backlog.done(read);
                    act.gauge.0.spilled.fetch_add(finished.quantity, Relaxed);
                    act.input.release(finished.quantity, finished.messages);
                    act.pump(ctx);
                }
                Ok(Err((action, error))) => {
                    let what = format!("{action} a spill file in {}", act.dir.display());
                    act.input.abort(Reason::io(what, error));
                }
                // the pool refuses work only while the runtime shuts down
                Err(refused) => act.input.abort(Reason::io("spill", io::Error::other(refused))),
            });
        }));
    }

    fn is_empty(&mut self) -> bool {
        self.backlog.is_empty() && !self.output.has_work()
    }

    fn spill_name(&self) -> Arc<str> {
        "spill".into()
    }
}

type Failed = (&'static str, io::Error);

/// Does a job on the blocking pool; the file, and what was read.
fn run(job: Job, file: Option<Arc<File>>, dir: &Path, capacity: u64) -> Result<(Arc<File>, Option<Bytes>), Failed> {
    let file = match file {
        Some(file) => file,
        None => Arc::new(create(dir).map_err(|error| ("create", error))?),
    };
    match job {
        Job::Write { mut at, items } => {
            for mut item in items {
                while !item.is_empty() {
                    let place = at % capacity;
                    let part = item.split_to(usize::try_from(capacity - place).unwrap_or(usize::MAX).min(item.len()));
                    file.write_all_at(&part, place).map_err(|error| ("write", error))?;
                    at += part.quantity();
                }
            }
            Ok((file, None))
        }
        Job::Read { mut at, len } => {
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
            let mut rest = &mut bytes[..];
            while !rest.is_empty() {
                let place = at % capacity;
                let len = usize::try_from(capacity - place).unwrap_or(usize::MAX).min(rest.len());
                let (part, more) = rest.split_at_mut(len);
                file.read_exact_at(part, place).map_err(|error| ("read", error))?;
                at += len as u64;
                rest = more;
            }
            Ok((file, Some(bytes.into())))
        }
    }
}

/// A file of one's own that has no name any more.
fn create(dir: &Path) -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let path = dir.join(format!(".versile-spill-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed)));
        // only ours to read, and never somebody else's file or link
        let mut options = OpenOptions::new();
        match options.read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

impl fmt::Debug for SpillActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillActor").field("backlog", &self.backlog).field("dir", &self.dir).finish_non_exhaustive()
    }
}
