//! The relays under test: three ways to carry, on arbiters of their own, under one supervisor that looks at everything, and
//! a hand that puts components into running chains and takes them out again.

use crate::load::address;
use actix_rt::{Arbiter, ArbiterHandle};
use bytes::Bytes;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use versile_io::agent::listener::{self, Accepted, ListenOptions, Listening};
use versile_io::agent::stream::Carry;
use versile_io::agent::tcp::{self, TcpOptions};
use versile_io::component::link::Link;
use versile_io::component::stock::{Duplex, Filter, Outbox, PartResult};
use versile_io::component::{InletRef, OutletRef, join, join_pair};
use versile_io::proto::link::Reason;
use versile_io::supervisor::{Event, Supervisor, Target};

/// How a relay carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Socket to socket; in the kernel where that pays.
    Direct,
    /// Socket to socket, through memory.
    Copied,
    /// With a component between in each direction.
    LookedAt,
}

const WAYS: [Way; 3] = [Way::Direct, Way::Copied, Way::LookedAt];

/// Links of which some are spliced: the newest, so many of them.
const SPLICEABLE: usize = 512;

/// Components put in each second.
const SPLICES: usize = 8;

/// What the relays have done, and what should not have happened.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    pub(crate) accepted: AtomicU64,
    /// Components put into running chains, and those taken out again before their chain was over.
    pub(crate) put_in: AtomicU64,
    pub(crate) taken_out: AtomicU64,
    wrong: Mutex<Vec<String>>,
    links: Mutex<Vec<Weak<Link>>>,
}

/// Relays that run.
#[derive(Debug)]
pub(crate) struct Relays {
    pub(crate) ports: Vec<u16>,
    pub(crate) noted: Arc<Noted>,
    pub(crate) supervisor: Supervisor,
    listening: Vec<Listening>,
    tasks: Vec<actix_rt::task::JoinHandle<()>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Noted {
    /// What went wrong since the last time.
    pub(crate) fn take_wrong(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.wrong))
    }

    fn wrong(&self, what: String) {
        lock(&self.wrong).push(what);
    }

    /// Somewhere among the newest.
    fn remember(&self, link: &Arc<Link>) {
        let mut links = lock(&self.links);
        match links.len() {
            SPLICEABLE => links[fastrand::usize(..SPLICEABLE)] = Arc::downgrade(link),
            _ => links.push(Arc::downgrade(link)),
        }
    }

    fn any_link(&self) -> Option<Arc<Link>> {
        let links = lock(&self.links);
        if links.is_empty() { None } else { links[fastrand::usize(..links.len())].upgrade() }
    }
}

impl Relays {
    /// Starts all ways, each listening at a port of its own, to the server at this port.
    pub(crate) fn start(arbiters: &[Arbiter], server: u16) -> io::Result<Self> {
        let supervisor = Supervisor::start();
        let noted = Arc::new(Noted::default());
        let (mut ports, mut listening) = (Vec::new(), Vec::new());
        for way in WAYS {
            let arbiters: Vec<ArbiterHandle> = arbiters.iter().map(Arbiter::handle).collect();
            let options = ListenOptions { arbiters, backlog: 4096, ..Default::default() };
            let bound = listener::tcp(([0, 0, 0, 0], 0).into(), options)?;
            ports.extend(bound.local().socket_addr().map(|addr| addr.port()));
            let (supervisor, noted) = (supervisor.clone(), noted.clone());
            listening.push(bound.start(move |accepted| relay(way, accepted, server, &supervisor, &noted)));
        }
        let (watched, marked) = (supervisor.clone(), noted.clone());
        let tasks = vec![
            actix_rt::spawn(watch(watched.clone(), marked.clone())),
            actix_rt::spawn(look(watched.clone())),
            actix_rt::spawn(splice(watched, marked)),
        ];
        Ok(Self { ports, noted, supervisor, listening, tasks })
    }

    /// Stops accepting. Connections go on.
    pub(crate) async fn stop(self) {
        for listening in &self.listening {
            listening.stop().await;
        }
        self.tasks.iter().for_each(|task| task.abort());
        for task in self.tasks {
            // aborted
            let _ = task.await;
        }
    }
}

fn relay(way: Way, accepted: Accepted, server: u16, supervisor: &Supervisor, noted: &Noted) {
    let mut options = TcpOptions::default();
    if way == Way::Copied {
        options.stream.carry = Carry::Copy;
    }
    let number = noted.accepted.fetch_add(1, Relaxed);
    let left = match accepted.into_stream(&options) {
        Ok(left) => left,
        Err(error) => return noted.wrong(format!("an accepted connection: {error}")),
    };
    let right = tcp::connect(address(number).to_string(), server, options);
    let ((right, _), (left, _)) = (right.start(), left.start());
    let observer = supervisor.observer();
    if way == Way::LookedAt {
        between(&right.outlet, &left.inlet, supervisor);
        between(&left.outlet, &right.inlet, supervisor);
    } else {
        let (there, back) = join_pair(&right, &left, Some(observer));
        noted.remember(&there);
        noted.remember(&back);
    }
}

fn between(outlet: &OutletRef<Bytes>, inlet: &InletRef<Bytes>, supervisor: &Supervisor) {
    let (look_in, look_out, _) = Look { seen: 0, name: BUILT_IN }.start();
    join(&look_out, inlet, Some(supervisor.observer()));
    join(outlet, &look_in, Some(supervisor.observer()));
}

/// A component that looks at every byte.
struct Look {
    seen: u8,
    name: &'static str,
}

/// Its name where it stands from the beginning, and where it was put into a running chain.
const BUILT_IN: &str = "look";
const PUT_IN: &str = "look, put in";

impl Filter for Look {
    type In = Bytes;
    type Out = Bytes;

    fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
        self.seen = std::hint::black_box(item.iter().fold(self.seen, |all, byte| all ^ byte));
        out.push(item);
        Ok(())
    }

    fn name(&self) -> Arc<str> {
        self.name.into()
    }
}

/// Whatever is no loss of a connection should not have happened.
async fn watch(supervisor: Supervisor, noted: Arc<Noted>) {
    let mut events = supervisor.watch().await;
    while let Some(event) = events.next().await {
        match event {
            Event::Aborted { cause, .. } if !matches!(cause.reason, Reason::Io { .. }) => {
                noted.wrong(format!("aborted: {cause}"));
            }
            Event::TornDown { stopped, cause, .. } if !stopped.is_empty() => {
                noted.wrong(format!("had to be stopped: {stopped:?}, after {cause}"));
            }
            _ => {}
        }
    }
}

/// Blame every second.
async fn look(supervisor: Supervisor) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        std::hint::black_box(supervisor.blame(Target::All).await);
    }
}

/// Every second takes out the components that were put into running chains the second before, and puts others in. A chain may end
/// in any moment of it, so what fails is no fault; what a splice breaks is told by the watcher and by the load.
async fn splice(supervisor: Supervisor, noted: Arc<Noted>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let snapshot = supervisor.snapshot().await;
        for component in snapshot.components.iter().filter(|component| &*component.name == PUT_IN) {
            if supervisor.remove(component.id, Duration::from_secs(10)).await.is_ok() {
                noted.taken_out.fetch_add(1, Relaxed);
            }
        }
        for _ in 0..SPLICES {
            let Some(link) = noted.any_link().map(|link| link.id()) else { continue };
            let (inlet, outlet, _) = Look { seen: 0, name: PUT_IN }.start();
            if supervisor.insert(link, &inlet, &outlet).await.is_ok() {
                noted.put_in.fetch_add(1, Relaxed);
            }
        }
    }
}
