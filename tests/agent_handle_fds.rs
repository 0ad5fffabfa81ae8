//! However a driver ends, its descriptors are closed, and each once. Alone in its binary: it counts those of the process.
#![cfg(target_os = "linux")]

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::Arbiter;
use versile_io::agent::handle::{ByteHandle, CloseHandle, CloseReason, HandleContext, HandleDriver, Interest, Next};

/// Counts its close hook and its drop, in that order, and closes its descriptor in the hook.
struct Counted {
    file: Option<PipeReader>,
    hooks: Arc<AtomicUsize>,
    drops: Arc<AtomicUsize>,
}

impl ByteHandle for Counted {
    fn raw_fd(&self) -> BorrowedFd<'_> {
        self.file.as_ref().expect("not asked after the end").as_fd()
    }
    fn directions(&self) -> Interest {
        Interest::READ
    }
    fn do_read(&mut self, _: &mut HandleContext<'_>) -> io::Result<Next> {
        let file = self.file.as_mut().expect("not called after the end");
        Ok(if file.read(&mut [0; 8])? == 0 { Next::Done } else { Next::Wait })
    }
    fn close_input(&mut self, _: &CloseReason) {
        self.hooks.fetch_add(1, Ordering::SeqCst);
        assert!(self.file.take().is_some(), "closed twice");
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert!(self.file.is_none(), "the hook comes before the drop");
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc").count()
}

/// Starts `count` drivers on a new arbiter, ends them by `how`, and gives the number of outcomes that were in time.
async fn round(how: &str, count: usize, hooks: &Arc<AtomicUsize>, drops: &Arc<AtomicUsize>) {
    let arbiter = Arbiter::new();
    let mut drivers = Vec::new();
    for _ in 0..count {
        let (reader, writer) = io::pipe().expect("a pipe");
        versile_io::agent::handle::set_nonblocking(reader.as_fd(), true).expect("set");
        let handle = Counted { file: Some(reader), hooks: Arc::clone(hooks), drops: Arc::clone(drops) };
        let (addr, completion) = HandleDriver::start_on(&arbiter.handle(), handle);
        drivers.push((addr, completion, Some(writer)));
    }
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    match how {
        "close" => drivers.iter().for_each(|(addr, ..)| addr.do_send(CloseHandle)),
        "end" => drivers.iter_mut().for_each(|(.., writer)| *writer = None),
        _ => assert!(arbiter.stop()),
    }
    for (_, completion, _writer) in drivers {
        let outcome = tokio::time::timeout(std::time::Duration::from_secs(20), completion).await.expect("in time");
        assert!(outcome.panic.is_none(), "{how}: {outcome:?}");
    }
    arbiter.stop();
    arbiter.join().expect("joined");
}

#[actix_rt::test]
async fn every_end_closes_each_descriptor_once() {
    let (hooks, drops) = (Arc::default(), Arc::default());
    round("close", 1, &hooks, &drops).await;
    let before = descriptors();
    for how in ["close", "end", "stop"] {
        round(how, 30, &hooks, &drops).await;
        assert_eq!(descriptors(), before, "{how}");
    }
    assert_eq!(hooks.load(Ordering::SeqCst), 91);
    assert_eq!(drops.load(Ordering::SeqCst), 91);
}
