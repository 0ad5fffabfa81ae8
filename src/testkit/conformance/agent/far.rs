//! The other side of an agent.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What is at the other side of an agent, as the kit works it.
///
/// ```
/// use versile_io::testkit::conformance::FarSide;
///
/// let echo = FarSide::echo(); // what goes in comes out again, as with `cat`
/// let file = FarSide::gives("what the file holds");
/// # let _ = (echo, file);
/// ```
pub struct FarSide {
    pub(super) reads: Reads,
    pub(super) writes: Writes,
    pub(super) lose: Option<Box<dyn FnOnce()>>,
    pub(super) tells_unclean: bool,
}

/// Where what the agent writes is seen.
pub(super) enum Reads {
    /// The agent writes nothing.
    Nothing,
    Stream(Box<dyn AsyncRead + Unpin>),
    /// Once it has ended.
    Later(Box<dyn Fn() -> Vec<u8>>),
}

/// Where what the agent reads comes from.
pub(super) enum Writes {
    /// The agent reads nothing.
    Nothing,
    Stream(Box<dyn AsyncWrite + Unpin>),
    /// It is there already.
    There(Vec<u8>),
    /// It is what the agent wrote.
    Echo,
}

impl FarSide {
    fn new(reads: Reads, writes: Writes) -> Self {
        Self { reads, writes, lose: None, tells_unclean: false }
    }

    /// A stream in both directions.
    pub fn socket(socket: impl AsyncRead + AsyncWrite + 'static) -> Self {
        let (read, write) = tokio::io::split(socket);
        Self::new(Reads::Stream(Box::new(Box::pin(read))), Writes::Stream(Box::new(Box::pin(write))))
    }

    /// It reads what the agent writes, such as the reading end of a pipe.
    pub fn reads(from: impl AsyncRead + Unpin + 'static) -> Self {
        Self::new(Reads::Stream(Box::new(from)), Writes::Nothing)
    }

    /// It writes what the agent reads.
    pub fn writes(to: impl AsyncWrite + Unpin + 'static) -> Self {
        Self::new(Reads::Nothing, Writes::Stream(Box::new(to)))
    }

    /// The agent reads just this, and then a clean end: a file.
    pub fn gives(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(Reads::Nothing, Writes::There(bytes.into()))
    }

    /// What the agent has written is asked for when it has ended: a file.
    pub fn keeps(kept: impl Fn() -> Vec<u8> + 'static) -> Self {
        Self::new(Reads::Later(Box::new(kept)), Writes::Nothing)
    }

    /// What the agent writes it reads again, and after its end a clean end: a process.
    pub fn echo() -> Self {
        Self::new(Reads::Nothing, Writes::Echo)
    }

    /// Its loss can be told from an end. `lose` prepares it, such as by a linger time of 0; then both directions are dropped.
    #[must_use]
    pub fn loses(mut self, lose: impl FnOnce() + 'static) -> Self {
        self.lose = Some(Box::new(lose));
        self
    }

    /// It sees an error, and no ordinary end, if the agent's data is not complete (rule E1): a TCP socket does.
    #[must_use]
    pub fn tells_unclean(mut self) -> Self {
        self.tells_unclean = true;
        self
    }
}

impl fmt::Debug for FarSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FarSide")
    }
}

/// What the far side has read, and whether it goes on.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) bytes: RefCell<Vec<u8>>,
    /// `Ok`: an ordinary end.
    pub(super) ended: RefCell<Option<io::Result<()>>>,
    paused: Cell<bool>,
    wake: Notify,
}

impl Heard {
    pub(super) fn pause(&self, paused: bool) {
        self.paused.set(paused);
        self.wake.notify_one();
    }

    /// Reads until the end, in a task of its own.
    pub(super) fn read(self: Rc<Self>, mut from: Box<dyn AsyncRead + Unpin>) -> JoinHandle<()> {
        actix_rt::spawn(async move {
            let mut buffer = vec![0; 4096];
            loop {
                while self.paused.get() {
                    self.wake.notified().await;
                }
                let ended = match from.read(&mut buffer).await {
                    Ok(0) => Ok(()),
                    Ok(n) => {
                        self.bytes.borrow_mut().extend_from_slice(&buffer[..n]);
                        continue;
                    }
                    Err(error) => Err(error),
                };
                *self.ended.borrow_mut() = Some(ended);
                return;
            }
        })
    }
}

/// Writes all, and then the end unless it is to stay open, in a task of its own.
pub(super) fn write(mut to: Box<dyn AsyncWrite + Unpin>, all: Vec<u8>, end: bool) -> JoinHandle<()> {
    actix_rt::spawn(async move {
        for piece in all.chunks(777) {
            // an agent that was aborted does not read on
            if to.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if end {
            // it may have gone meanwhile; a pipe knows no end but that it is closed, which follows here
            let _ = to.shutdown().await;
            return;
        }
        // open until somebody drops it
        std::future::pending::<()>().await;
    })
}
