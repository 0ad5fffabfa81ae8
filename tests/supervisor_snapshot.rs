//! Snapshot: counters and times of running chains, and what has no root. (Its text: `src/supervisor/snapshot.rs`.)

#[path = "support/supervisor.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod supervisor;
mod support;

use actix::prelude::*;
use bytes::Bytes;
use std::time::Duration;
use supervisor::{Check, Pattern, Silent, forgotten};
use support::{run, within};
use versile_io::agent::unix;
use versile_io::component::link::Waiting;
use versile_io::component::stock::{Duplex, Sink, Source};
use versile_io::component::{AddrExt, Inlet, InletEvent, Outlet, OutletEvent};
use versile_io::proto::link::{LinkState, Window};
use versile_io::supervisor::{Snapshot, Supervisor, Target};
use versile_io::wire;

/// Takes all that comes and finishes with none of it.
struct Hoard {
    input: Inlet<Bytes>,
}
impl Actor for Hoard {
    type Context = Context<Self>;
}
wire!(Hoard { inlet input: Bytes => on_input; });
impl Hoard {
    fn on_input(&mut self, _: InletEvent<Bytes>, _: &mut Context<Self>) {}
}

/// The first snapshot that is as wanted.
async fn snapshot_when(supervisor: &Supervisor, mut as_wanted: impl FnMut(&Snapshot) -> bool) -> Snapshot {
    within(async {
        loop {
            let snapshot = supervisor.snapshot().await;
            if as_wanted(&snapshot) {
                return snapshot;
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    })
    .await
}

#[test]
fn a_blocked_and_a_starved_link_say_so_with_their_times() {
    run(async {
        let supervisor = Supervisor::start();
        let (out, _blocked) = Pattern::new(1, u64::MAX).start();
        let hoard = Hoard { input: Inlet::holding(Window { quantity: 5000, messages: 100 }) }.start();
        let blocked = supervisor.attach(&out, &hoard.inlet()).await.expect("attached");
        let (out, _starved) = Silent.start();
        let (inp, _sink) = Check::new(1).start();
        let starved = supervisor.attach(&out, &inp).await.expect("attached");
        let wait = Duration::from_millis(5);
        let snapshot = snapshot_when(&supervisor, |s| {
            let of = |id| s.links.iter().find(|l| l.id == id);
            of(blocked).is_some_and(|l| l.blocked > wait) && of(starved).is_some_and(|l| l.starved > wait)
        })
        .await;
        let of = |id| snapshot.links.iter().find(|l| l.id == id).expect("listed");
        let (b, s) = (of(blocked), of(starved));
        assert_eq!((b.waiting, s.waiting), (Waiting::ForCredit, Waiting::ForData));
        assert_eq!((b.produced, b.accepted, b.held, b.queued), (5000, 5000, 5000, 0));
        assert!(b.messages >= 2 && b.limit.quantity == 5000, "{b:?}");
        assert_eq!((b.outlet, b.inlet), (LinkState::Open, LinkState::Open));
        assert_eq!((s.produced, s.blocked, s.stale), (0, Duration::ZERO, 0));
        assert!(b.starved < b.blocked);
        assert_eq!(snapshot.name(b.producer), "pattern");
        assert_eq!(snapshot.name(b.consumer), "Hoard");
        supervisor.abort(Target::All, "done").await;
        forgotten(&supervisor).await;
    });
}

/// Two of these that feed each other have nothing that keeps them but each other.
struct Ring {
    input: Inlet<Bytes>,
    output: Outlet<Bytes>,
}
impl Actor for Ring {
    type Context = Context<Self>;
}
wire!(Ring {
    inlet input: Bytes => on_input;
    outlet output: Bytes => on_output;
});
impl Ring {
    fn on_input(&mut self, _: InletEvent<Bytes>, _: &mut Context<Self>) {}
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {}
}

#[test]
fn a_cycle_with_nothing_to_do_has_no_root_and_sockets_and_sources_are_roots() {
    run(async {
        let supervisor = Supervisor::start();
        let ring = || Ring { input: Inlet::default(), output: Outlet::default() }.start();
        let (a, b) = (ring(), ring());
        supervisor.attach(&a.outlet(), &b.inlet()).await.expect("attached");
        supervisor.attach(&b.outlet(), &a.inlet()).await.expect("attached");
        let (x, y) = unix::pair(&Default::default()).expect("a pair");
        let ((x, _x), (y, _y)) = (x.named("x").start(), y.named("y").start());
        supervisor.attach_pair(&x, &y).await.expect("attached");
        let (out, _source) = Silent.start();
        let (inp, _sink) = Check::new(1).start();
        supervisor.attach(&out, &inp).await.expect("attached");
        drop((a, b, x, y, out, inp));
        let snapshot = snapshot_when(&supervisor, |s| s.components.len() == 6).await;
        let rootless: Vec<_> = snapshot.components.iter().filter(|c| !c.rooted).map(|c| &*c.name).collect();
        assert_eq!(rootless, ["Ring", "Ring"], "{snapshot}");
        assert!(snapshot.to_string().contains("Ring has no root"), "{snapshot}");
        supervisor.abort(Target::All, "done").await;
        forgotten(&supervisor).await;
    });
}
