//! Interrupts: SIGINT and SIGTERM, one after the other.

use std::io;
use std::task::Poll;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM of this process.
#[derive(Debug)]
pub(super) struct Interrupts {
    signals: [Signal; 2],
}

impl Interrupts {
    /// From now on they no longer end the process.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self { signals: [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?] })
    }

    /// Waits for the next one of either.
    pub(super) async fn next(&mut self) {
        std::future::poll_fn(|cx| {
            let ready = self.signals.iter_mut().any(|signal| matches!(signal.poll_recv(cx), Poll::Ready(Some(()))));
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
