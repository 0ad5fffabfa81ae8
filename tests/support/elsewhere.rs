//! Starts things on another arbiter.

use actix::prelude::*;

/// Runs `make` on `arbiter` and gives what it gives.
pub(crate) async fn on<R: Send + 'static>(arbiter: &ArbiterHandle, make: impl FnOnce() -> R + Send + 'static) -> R {
    let (tx, rx) = tokio::sync::oneshot::channel();
    arbiter.spawn(async move {
        let _ = tx.send(make());
    });
    rx.await.expect("the arbiter ran it")
}
