//! A relay whose left side listens: a chain for each connection, each with a right side of its own, until it is stopped.
//!
//! ```text
//!   listener ──accepted──▶ arbiter 1: left ◀──▶ right      one that fails is told in one line,
//!            ──accepted──▶ arbiter 2: left ◀──▶ right      and the others go on
//!   interrupt: stop accepting, drain · again: abort
//! ```

use super::chain::{BACKWARD, Ended, FORWARD, Loose, Running};
use super::meter::{Meter, delivered, watch};
use super::signals::Interrupts;
use super::verdict::{Intervention, Verdict, judge};
use super::{Job, LATE, Ran};
use crate::agent::listener::Accepted;
use crate::agent::stream::Stream;
use crate::component::Peer;
use crate::component::link::Link;
use crate::supervisor::{Supervisor, Target};
use crate::tool::exit::Exit;
use crate::tool::inherited::Inherited;
use crate::tool::plan::{End, OpenError};
use crate::tool::progress::Console;
use crate::tool::via::Stage;
use actix_rt::Arbiter;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};

/// What all connections share, on whatever arbiter they are.
struct Shop {
    left: End,
    right: End,
    inherited: Inherited,
    console: Arc<Console>,
    supervisor: Supervisor,
    hash: bool,
    via: Vec<Stage>,
    idle: Option<Duration>,
    served: AtomicU64,
    failed: AtomicU64,
    /// Delivered by connections that are over, forward and backward.
    bytes: [AtomicU64; 2],
    open: Mutex<HashMap<u64, [Option<Arc<Link>>; 2]>>,
    closed: Notify,
    drained: AtomicBool,
    aborted: AtomicBool,
}

enum Happening {
    Interrupt,
    /// Drained, or what was left was aborted.
    Over,
    /// All were aborted, and some are still there.
    Late,
}

/// How long a connection whose components are gone may take to be counted, before the supervisor is asked again.
const SETTLE: Duration = Duration::from_millis(100);

/// Serves until it is stopped.
pub(super) async fn serve(job: &Job, inherited: Inherited, console: Arc<Console>) -> Ran {
    let mut interrupts = match Interrupts::listen() {
        Ok(interrupts) => interrupts,
        Err(error) => return Ran::failed(Exit::Internal, format!("cannot listen to signals: {error}")),
    };
    // one thread is this one
    let arbiters: Vec<Arbiter> =
        if job.threads > 1 { (0..job.threads).map(|_| Arbiter::new()).collect() } else { Vec::new() };
    let handles = arbiters.iter().map(Arbiter::handle).collect();
    let bound = match job.ends[0].bind(false, handles).await {
        Ok(bound) => bound,
        Err(error) => return error.into(),
    };
    console.note(&format!("{}: listening on {}", job.ends[0].label(), bound.local()));

    let shop = Arc::new(Shop::new(job, inherited, console));
    let factory = shop.clone();
    let listening = bound.start(move |accepted| {
        let (shop, number) = (factory.clone(), factory.served.fetch_add(1, Ordering::Relaxed));
        shop.serve_one(accepted, number);
    });

    let (tell, mut happenings) = mpsc::channel(8);
    let interrupted = tell.clone();
    // the receiver is there until all is over; nobody listens later
    actix_rt::spawn(async move {
        loop {
            interrupts.next().await;
            if interrupted.send(Happening::Interrupt).await.is_err() {
                return;
            }
        }
    });
    let showing = actix_rt::spawn(show(shop.clone()));
    while let Some(happening) = happenings.recv().await {
        match happening {
            Happening::Interrupt if !shop.drained.swap(true, Ordering::Relaxed) => {
                let (shop, listening, tell, drain) = (shop.clone(), listening.clone(), tell.clone(), job.common.drain);
                actix_rt::spawn(async move {
                    listening.stop().await;
                    let happening = shop.drain(drain).await;
                    let _ = tell.send(happening).await;
                });
            }
            Happening::Interrupt => {
                shop.aborted.store(true, Ordering::Relaxed);
                let (shop, tell) = (shop.clone(), tell.clone());
                actix_rt::spawn(async move {
                    shop.supervisor.abort(Target::All, "a second interrupt").await;
                    tokio::time::sleep(LATE).await;
                    let _ = tell.send(Happening::Late).await;
                });
            }
            Happening::Over => break,
            Happening::Late => {
                shop.aborted.store(true, Ordering::Relaxed);
                break;
            }
        }
    }
    showing.abort();
    let served = shop.served.load(Ordering::Relaxed);
    let (exit, cause) = match shop.aborted.load(Ordering::Relaxed) {
        true => (Exit::Aborted, "aborted: data under way may be lost"),
        false => (Exit::Drained, "interrupted; what had been read was delivered"),
    };
    Ran {
        exit,
        cause: Some(cause.to_owned()),
        bytes: shop.moved(),
        hashes: [None, None],
        connections: Some((served, shop.failed.load(Ordering::Relaxed))),
    }
}

impl Shop {
    fn new(job: &Job, inherited: Inherited, console: Arc<Console>) -> Self {
        let [left, right] = job.ends.each_ref().map(End::clone);
        Self {
            left,
            right,
            inherited,
            console,
            supervisor: job.supervisor(),
            hash: job.common.hash,
            via: job.common.via.clone(),
            idle: job.common.idle,
            served: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            bytes: [AtomicU64::new(0), AtomicU64::new(0)],
            open: Mutex::default(),
            closed: Notify::new(),
            drained: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, [Option<Arc<Link>>; 2]>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has moved in each direction, of connections that are over and of those that are not.
    fn moved(&self) -> [u64; 2] {
        let open = self.open();
        [FORWARD, BACKWARD].map(|at| {
            let live: u64 = open.values().filter_map(|links| links[at].as_deref()).map(delivered).sum();
            self.bytes[at].load(Ordering::Relaxed) + live
        })
    }

    /// Drains all connections, those too that were accepted before the stop and whose chains are joined behind it.
    async fn drain(&self, drain: Duration) -> Happening {
        let deadline = Instant::now() + drain;
        loop {
            let report = self.supervisor.shutdown(deadline.saturating_duration_since(Instant::now())).await;
            if !report.aborted.is_empty() {
                self.aborted.store(true, Ordering::Relaxed);
            }
            if tokio::time::timeout(SETTLE, self.all_closed()).await.is_ok() {
                return Happening::Over;
            }
            if Instant::now() > deadline + LATE {
                return Happening::Late;
            }
        }
    }

    async fn all_closed(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open().is_empty() {
                return;
            }
            closed.await;
        }
    }

    /// One connection from its acceptance, on its arbiter. What waits for its end is small, since there is one for each.
    fn serve_one(self: Arc<Self>, accepted: Accepted, number: u64) {
        let peer = accepted.peer().clone();
        let loose = self.streams(accepted).and_then(|streams| {
            Loose::start([&self.left, &self.right], streams, true, self.hash, &self.via, &self.inherited)
        });
        let (links, running) = match loose {
            Ok(loose) => loose.join(&self.supervisor),
            Err(error) => return self.one_failed(&peer, &error.to_string()),
        };
        self.open().insert(number, links.clone());
        actix_rt::spawn(async move {
            let moved = self.relay(links, running, peer).await;
            self.one_over(number, moved);
        });
    }

    fn one_over(&self, number: u64, moved: [u64; 2]) {
        let mut open = self.open();
        for (total, moved) in self.bytes.iter().zip(moved) {
            total.fetch_add(moved, Ordering::Relaxed);
        }
        open.remove(&number);
        drop(open);
        self.closed.notify_waiters();
    }

    /// The accepted side first: it is reset if there is no other.
    fn streams(&self, accepted: Accepted) -> Result<[Stream; 2], OpenError> {
        Ok([self.left.accepted(accepted)?, self.right.open(&self.inherited)?])
    }

    /// Waits for the end of a relay, and says what was delivered in each direction.
    async fn relay(&self, links: [Option<Arc<Link>>; 2], running: Running, peer: Peer) -> [u64; 2] {
        let watching = self.idle.map(|limit| {
            let idle = Arc::new(AtomicBool::new(false));
            (idle.clone(), actix_rt::spawn(abort_idle(self.supervisor.clone(), links, limit, idle)))
        });
        let ended = running.ended().await;
        let idle = watching.is_some_and(|(idle, watching)| {
            watching.abort();
            idle.load(Ordering::Relaxed)
        });
        self.verdict(ended, idle, &peer)
    }

    /// Tells how one connection ended, and says what was delivered in each direction.
    fn verdict(&self, ended: Ended, idle: bool, peer: &Peer) -> [u64; 2] {
        let ends = [&self.left, &self.right];
        let intervention = Intervention {
            drained: self.drained.load(Ordering::Relaxed),
            aborted: self.aborted.load(Ordering::Relaxed),
            idle: self.idle.filter(|_| idle),
        };
        let Verdict { exit, cause } = judge(ends, &ended, intervention);
        let written = |at: usize| ended.sides[at].0.as_ref().map_or(0, Stream::written);
        let moved = [written(1), written(0)];
        match (exit, cause) {
            (Exit::Delivered | Exit::Drained, _) => {
                ended.gaps.iter().for_each(|gap| self.console.note(&format!("{peer}: {gap}")));
                tracing::info!(%peer, forward = moved[0], backward = moved[1], "connection over");
                if self.hash {
                    let [forward, backward] = ended.hashes.map(Option::unwrap_or_default);
                    self.console.note(&format!("{peer}: sha256 {forward}, to the left {backward}"));
                }
            }
            (_, cause) => self.one_failed(peer, &cause.unwrap_or_default()),
        }
        moved
    }

    fn one_failed(&self, peer: &Peer, cause: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.console.error(&format!("connection from {peer}: {cause}"));
    }
}

/// Aborts a chain through which nothing moves for so long, and says so before.
async fn abort_idle(supervisor: Supervisor, links: [Option<Arc<Link>>; 2], limit: Duration, idle: Arc<AtomicBool>) {
    let link = links.iter().flatten().map(|link| link.id()).next();
    watch(Meter::Held(links), None, Some(limit)).await;
    idle.store(true, Ordering::Relaxed);
    if let Some(link) = link {
        supervisor.abort(Target::ChainOf(link), "nothing moved").await;
    }
}

/// Shows progress for all connections together, if any is wanted.
async fn show(shop: Arc<Shop>) {
    let Some(period) = shop.console.period() else { return };
    loop {
        tokio::time::sleep(period).await;
        let moved = shop.moved();
        let (open, served) = (shop.open().len(), shop.served.load(Ordering::Relaxed));
        shop.console.show(moved[0].saturating_add(moved[1]), &format!("{open} connections open, {served} in all"));
    }
}
