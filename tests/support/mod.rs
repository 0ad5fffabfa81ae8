//! What the tests of components share: deadlines, a lock around the process-wide census, and a system per test.

use actix::prelude::*;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};
use versile_io::component::census::{Census, census};

/// Fails loudly if `what` takes longer than 10 s.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), what).await.expect("in time")
}

/// Waits until `met`, for at most 10 s.
pub(crate) async fn until(what: &str, mut met: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !met() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// The census has come back to what it was.
pub(crate) async fn nothing_left(before: Census) {
    until(&format!("back to {before:?}"), || census() == before).await;
}

/// One test at a time: the census is the process's.
pub(crate) fn serial() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    static HOOK: Once = Once::new();
    // one line for a panic: writing a backtrace takes longer than the 100 ms that rule A3 gives
    HOOK.call_once(|| std::panic::set_hook(Box::new(|info| eprintln!("{info}"))));
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `test` alone, in a system of its own, and checks that it leaves no component and no link behind (rule M2).
pub(crate) fn run(test: impl Future<Output = ()>) {
    let _one = serial();
    System::new().block_on(async {
        let before = census();
        test.await;
        nothing_left(before).await;
    });
}
