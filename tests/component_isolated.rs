//! Isolated ports: an abort of the link ends the attachment and not the component, whatever the abort came from; an abort of the
//! component takes them all the same; and the port can be attached again.

#[path = "support/elsewhere.rs"]
mod elsewhere;
#[macro_use]
#[path = "support/inside.rs"]
mod inside;
#[path = "support/supervisor.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod supervisor;
mod support;

use actix::prelude::*;
use bytes::Bytes;
use elsewhere::on;
use inside::inside;
use std::sync::Arc;
use std::sync::Mutex;
use supervisor::{event, events_so_far, forgotten};
use support::{run, until, within};
use versile_io::component::stock::{Filter, Outbox, Outcome, PartResult};
use versile_io::component::{AddrExt, Inlet, InletEvent, InletRef, Outlet, OutletEvent, join};
use versile_io::proto::link::{Cause, Reason, Window};
use versile_io::supervisor::{Again, BackOff, Event, Place, Restart, Supervisor, Target};
use versile_io::wire;

/// What somebody was told, in order.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn add(&self, what: impl Into<String>) {
        self.0.lock().expect("not poisoned").push(what.into());
    }
    fn all(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").clone()
    }
    fn count(&self, what: &str) -> usize {
        self.all().iter().filter(|told| told.contains(what)).count()
    }
    async fn has(&self, what: &str) {
        until(&format!("{what:?} in {:?}", self.all()), || self.count(what) > 0).await;
    }
}

/// Two inlets and two outlets; one of each is isolated.
struct Hub {
    main_in: Inlet<Bytes>,
    spare_in: Inlet<Bytes>,
    main: Outlet<Bytes>,
    branch: Outlet<Bytes>,
    told: Told,
}
impl Actor for Hub {
    type Context = Context<Self>;
}
wire!(Hub {
    inlet main_in: Bytes => on_main_in;
    inlet spare_in: Bytes => on_spare_in;
    outlet main: Bytes => on_main;
    outlet branch: Bytes => on_branch;
    aborted => on_abort;
});
inside!(Hub);
impl Hub {
    fn start_with(told: &Told) -> Addr<Self> {
        Self {
            main_in: Inlet::default(),
            spare_in: Inlet::holding(Window::default()).isolated(),
            main: Outlet::default(),
            branch: Outlet::default().isolated(),
            told: told.clone(),
        }
        .start()
    }
    fn on_main_in(&mut self, event: InletEvent<Bytes>, _: &mut Context<Self>) {
        self.told.add(format!("main_in {event:?}"));
    }
    fn on_spare_in(&mut self, event: InletEvent<Bytes>, _: &mut Context<Self>) {
        let by = self.spare_in.aborted_by().filter(|_| matches!(event, InletEvent::Aborted));
        self.told.add(format!("spare_in {event:?} {}", by.map_or_else(String::new, |cause| cause.to_string())));
    }
    fn on_main(&mut self, event: OutletEvent, _: &mut Context<Self>) {
        self.told.add(format!("main {event:?}"));
    }
    fn on_branch(&mut self, event: OutletEvent, _: &mut Context<Self>) {
        let by = self.branch.aborted_by().filter(|_| event == OutletEvent::Aborted);
        self.told.add(format!("branch {event:?} {}", by.map_or_else(String::new, |cause| cause.to_string())));
    }
    fn on_abort(&mut self, cause: &Arc<Cause>, _: &mut Context<Self>) {
        self.told.add(format!("hears {cause}"));
    }
}

/// Takes what comes, and does as it is told.
struct Tail {
    input: Inlet<Bytes>,
    told: Told,
}
impl Actor for Tail {
    type Context = Context<Self>;
}
wire!(Tail {
    inlet input: Bytes => on_input;
    aborted => on_abort;
});
inside!(Tail);
impl Tail {
    fn new(told: &Told) -> Self {
        Self { input: Inlet::default(), told: told.clone() }
    }
    fn on_input(&mut self, event: InletEvent<Bytes>, ctx: &mut Context<Self>) {
        if let InletEvent::Item(item) = event {
            self.told.add(String::from_utf8_lossy(&item));
            match &item[..] {
                b"panic" => panic!("as it was told"),
                b"stop" => ctx.stop(),
                b"fail" => self.input.abort(Reason::Requested("as it was told".into())),
                _ => {}
            }
        }
    }
    fn on_abort(&mut self, cause: &Arc<Cause>, _: &mut Context<Self>) {
        self.told.add(format!("hears {cause}"));
    }
}

/// Feeds.
struct Head {
    output: Outlet<Bytes>,
}
impl Actor for Head {
    type Context = Context<Self>;
}
wire!(Head {
    outlet output: Bytes => on_output;
});
inside!(Head);
impl Head {
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {}
}

async fn send(hub: &Addr<Hub>, item: &'static str) {
    inside(hub, move |hub, _| {
        hub.main.push(item.into()).expect("room");
        hub.branch.push(item.into()).expect("room");
    })
    .await;
}

/// The hub still works: its main outlet passes, and its branch with a fresh consumer.
async fn lives_on(hub: &Addr<Hub>, told: &Told, main: &Told) {
    let fresh = Told::default();
    let tail = Tail::new(&fresh).start();
    join(&hub.outlet_at::<1>(), &tail.inlet(), None);
    inside(hub, |_, _| ()).await;
    fresh.0.lock().expect("not poisoned").clear();
    send(hub, "more").await;
    main.has("more").await;
    fresh.has("more").await;
    assert_eq!(fresh.all(), ["more"], "nothing of the old attachment");
    assert_eq!((told.count("branch Aborted"), told.count("hears ")), (1, 0), "{:?}", told.all());
    inside(hub, |hub, _| {
        hub.main.end(true);
        hub.branch.end(true);
    })
    .await;
}

/// A hub with both consumers, the branch made by `make`, after "first" has passed.
async fn hub_with(branch: &InletRef<Bytes>, told: &Told, main: &Told) -> Addr<Hub> {
    let hub = Hub::start_with(told);
    join(&hub.outlet_at::<0>(), &Tail::new(main).start().inlet(), None);
    join(&hub.outlet_at::<1>(), branch, None);
    told.has("main Credit").await;
    told.has("branch Credit").await;
    send(&hub, "first").await;
    hub
}

#[test]
fn attached_a_consumer_that_panics_stops_or_fails_takes_the_port_alone() {
    run(async {
        for (fault, by) in [
            ("panic", "Tail: panicked: as it was told"),
            ("stop", "Tail: stopped while a link depended on it"),
            ("fail", "Tail: aborted on request: as it was told"),
        ] {
            let (told, main, branch) = (Told::default(), Told::default(), Told::default());
            let hub = hub_with(&Tail::new(&branch).start().inlet(), &told, &main).await;
            inside(&hub, move |hub, _| hub.branch.push(fault.into()).expect("room")).await;
            told.has("branch Aborted").await;
            told.has(by).await;
            lives_on(&hub, &told, &main).await;
        }
    });
}

#[test]
fn attached_a_consumer_whose_arbiter_goes_takes_the_port_alone() {
    run(async {
        let (told, main, branch) = (Told::default(), Told::default(), Told::default());
        let arbiter = Arbiter::new();
        let there = branch.clone();
        let inlet = on(&arbiter.handle(), move || Tail::new(&there).start().inlet()).await;
        let hub = hub_with(&inlet, &told, &main).await;
        drop(inlet);
        branch.has("first").await;
        arbiter.stop();
        told.has("branch Aborted Tail: stopped while a link depended on it").await;
        lives_on(&hub, &told, &main).await;
        arbiter.join().expect("joined");
    });
}

#[test]
fn attached_to_a_dead_consumer_it_is_told_and_free_again() {
    run(async {
        let (told, main) = (Told::default(), Told::default());
        let hub = Hub::start_with(&told);
        join(&hub.outlet_at::<0>(), &Tail::new(&main).start().inlet(), None);
        let dead = Tail::new(&Told::default()).start();
        inside(&dead, |_, ctx| ctx.stop()).await;
        join(&hub.outlet_at::<1>(), &dead.inlet(), None);
        told.has("branch Aborted").await;
        lives_on(&hub, &told, &main).await;
    });
}

#[test]
fn attached_its_own_abort_is_of_the_link_alone_and_told_once() {
    run(async {
        let (told, main, branch) = (Told::default(), Told::default(), Told::default());
        let hub = hub_with(&Tail::new(&branch).start().inlet(), &told, &main).await;
        let refused = inside(&hub, |hub, _| {
            hub.branch.abort(Reason::Requested("too slow".into()));
            // closed until the hook has heard: this would be of the next attachment
            hub.branch.push("lost".into()).is_err()
        })
        .await;
        assert!(refused);
        branch.has("hears Hub: aborted on request: too slow").await;
        told.has("branch Aborted Hub: aborted on request: too slow").await;
        lives_on(&hub, &told, &main).await;
    });
}

#[test]
fn aborted_outside_a_turn_the_hook_hears_by_a_message() {
    run(async {
        let (told, main, branch) = (Told::default(), Told::default(), Told::default());
        let hub = hub_with(&Tail::new(&branch).start().inlet(), &told, &main).await;
        // not by `inside`, which makes a turn of it
        hub.do_send(inside::Inside(Box::new(|hub: &mut Hub, _: &mut Context<Hub>| {
            hub.branch.abort(Reason::Requested("no turn".into()));
        })));
        told.has("branch Aborted Hub: aborted on request: no turn").await;
        lives_on(&hub, &told, &main).await;
    });
}

#[test]
fn aborted_component_takes_its_isolated_ports_along() {
    run(async {
        for panics in [true, false] {
            let (told, main, branch) = (Told::default(), Told::default(), Told::default());
            let hub = hub_with(&Tail::new(&branch).start().inlet(), &told, &main).await;
            let (head, spare) = (Head { output: Outlet::default() }.start(), Told::default());
            join(&head.outlet(), &hub.inlet_at::<1>(), None);
            told.has("spare_in Attached").await;
            hub.do_send(inside::Inside(Box::new(move |hub: &mut Hub, ctx: &mut Context<Hub>| {
                versile_io::component::drive::turn(hub, ctx, |hub, ctx| match panics {
                    true => panic!("on purpose"),
                    false => {
                        hub.main.abort(Reason::Requested("on purpose".into()));
                        let _ = ctx;
                    }
                });
            })));
            for consumer in [&main, &branch] {
                consumer.has("on purpose").await;
            }
            until("the producer is gone", || !head.connected()).await;
            assert_eq!((told.count("hears "), told.count("Aborted")), (1, 0), "{:?}", told.all());
            drop(spare);
        }
    });
}

#[test]
fn attached_a_producer_that_goes_takes_the_isolated_inlet_alone_and_another_can_follow() {
    run(async {
        let (told, main) = (Told::default(), Told::default());
        let hub = Hub::start_with(&told);
        join(&hub.outlet_at::<0>(), &Tail::new(&main).start().inlet(), None);
        for round in 1..=3_usize {
            let head = Head { output: Outlet::default() }.start();
            join(&head.outlet(), &hub.inlet_at::<1>(), None);
            inside(&head, |head, _| head.output.push("abc".into()).expect("room")).await;
            until("the item", || told.count("spare_in Item") == round).await;
            let held = inside(&hub, |hub, _| hub.spare_in.held().quantity).await;
            assert_eq!(held, 3, "what the last attachment left counts no more");
            inside(&head, |_, ctx| ctx.stop()).await;
            until("the abort", || told.count("spare_in Aborted Head: stopped while a link") == round).await;
        }
        assert_eq!(told.count("hears "), 0, "{:?}", told.all());
        inside(&hub, |hub, _| hub.main.end(true)).await;
    });
}

struct Pass;
impl Filter for Pass {
    type In = Bytes;
    type Out = Bytes;
    fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
        out.push(item);
        Ok(())
    }
}

#[test]
fn supervised_an_abort_of_the_branch_ends_at_the_isolated_port() {
    run(async {
        for at_the_end in [false, true] {
            let supervisor = Supervisor::start();
            let mut events = supervisor.watch().await;
            let (told, main, branch) = (Told::default(), Told::default(), Told::default());
            let hub = Hub::start_with(&told);
            let (inlet, outlet, passed) = Pass.start();
            let to_main = Tail::new(&main).start().inlet();
            supervisor.attach(&hub.outlet_at::<0>(), &to_main).await.expect("attached");
            let first = supervisor.attach(&hub.outlet_at::<1>(), &inlet).await.expect("attached");
            let tail = Tail::new(&branch).start();
            let last = supervisor.attach(&outlet, &tail.inlet()).await.expect("attached");
            drop((inlet, outlet, to_main));
            told.has("main Credit").await;
            told.has("branch Credit").await;
            send(&hub, "first").await;
            branch.has("first").await;
            let link = if at_the_end { last } else { first };
            assert_eq!(supervisor.abort(Target::ChainOf(link), "enough").await, 2, "the branch's two components");
            told.has("branch Aborted supervisor: aborted on request: enough").await;
            branch.has("hears supervisor: aborted on request: enough").await;
            assert!(matches!(within(passed).await.1, Outcome::Aborted(_)));
            drop(tail);
            let torn = event(&mut events, |e| matches!(e, Event::TornDown { .. }).then(|| e.to_string())).await;
            assert_eq!(torn, "chain torn down after supervisor: aborted on request: enough");
            lives_on(&hub, &told, &main).await;
            drop(hub);
            forgotten(&supervisor).await;
            let all = events_so_far(&supervisor, &mut events).await;
            assert!(!all.iter().any(|e| matches!(e, Event::TornDown { .. })), "one teardown: {all:#?}");
        }
    });
}

#[test]
fn supervised_a_failure_in_the_branch_ends_at_the_isolated_port_and_the_link_is_forgotten() {
    run(async {
        let supervisor = Supervisor::start();
        let (told, main, branch) = (Told::default(), Told::default(), Told::default());
        let hub = Hub::start_with(&told);
        supervisor.attach(&hub.outlet_at::<0>(), &Tail::new(&main).start().inlet()).await.expect("attached");
        for round in 1..=5_usize {
            let tail = Tail::new(&branch).start().inlet();
            supervisor.attach(&hub.outlet_at::<1>(), &tail).await.expect("attached again");
            drop(tail);
            until("credit", || told.count("branch Attached") == round).await;
            inside(&hub, |hub, _| hub.branch.push("panic".into()).expect("room")).await;
            until("the abort", || told.count("branch Aborted Tail: panicked") == round).await;
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while supervisor.snapshot().await.links.len() > 1 {
            assert!(std::time::Instant::now() < deadline, "{:?}", supervisor.snapshot().await);
            tokio::task::yield_now().await;
        }
        assert_eq!(told.count("hears "), 0, "{:?}", told.all());
        inside(&hub, |hub, _| hub.main.end(true)).await;
        drop(hub);
        forgotten(&supervisor).await;
    });
}

#[test]
fn supervised_an_abort_of_a_link_that_is_isolated_at_both_ends_is_of_the_link_alone() {
    run(async {
        let supervisor = Supervisor::start();
        let (from, to) = (Told::default(), Told::default());
        let (a, b) = (Hub::start_with(&from), Hub::start_with(&to));
        let link = supervisor.attach(&a.outlet_at::<1>(), &b.inlet_at::<1>()).await.expect("attached");
        assert_eq!(supervisor.abort(Target::ChainOf(link), "enough").await, 0, "no component");
        from.has("branch Aborted supervisor: aborted on request: enough").await;
        to.has("spare_in Aborted supervisor: aborted on request: enough").await;
        assert_eq!((from.count("hears "), to.count("hears ")), (0, 0));
        supervisor.attach(&a.outlet_at::<1>(), &b.inlet_at::<1>()).await.expect("attached again");
        drop((a, b));
        forgotten(&supervisor).await;
    });
}

#[test]
fn supervised_an_abort_of_the_component_takes_the_branch() {
    run(async {
        let supervisor = Supervisor::start();
        let mut events = supervisor.watch().await;
        let (told, main, branch) = (Told::default(), Told::default(), Told::default());
        let hub = Hub::start_with(&told);
        let to_main = Tail::new(&main).start().inlet();
        let link = supervisor.attach(&hub.outlet_at::<0>(), &to_main).await.expect("attached");
        let tail = Tail::new(&branch).start().inlet();
        supervisor.attach(&hub.outlet_at::<1>(), &tail).await.expect("attached");
        drop((to_main, tail));
        assert_eq!(supervisor.abort(Target::ChainOf(link), "enough").await, 3);
        for told in [&told, &main, &branch] {
            told.has("hears supervisor: aborted on request: enough").await;
        }
        drop(hub);
        event(&mut events, |e| matches!(e, Event::TornDown { .. }).then(|| e.to_string())).await;
        forgotten(&supervisor).await;
    });
}

/// A supervised hub that is armed, with an isolated branch and a factory that never succeeds.
#[test]
fn armed_its_own_abort_of_an_isolated_port_is_no_failure_of_the_component() {
    run(async {
        let supervisor = Supervisor::start();
        let (told, main, branch) = (Told::default(), Told::default(), Told::default());
        let hub = Hub::start_with(&told);
        let (head, tail) = (Head { output: Outlet::default() }.start(), Tail::new(&branch).start());
        let main_tail = Tail::new(&main).start();
        join(&hub.outlet_at::<0>(), &main_tail.inlet(), None);
        within(supervisor.attach(&head.outlet(), &hub.inlet_at::<0>())).await.expect("attached");
        let link = within(supervisor.attach(&hub.outlet_at::<1>(), &tail.inlet())).await.expect("attached");
        let refused = |_: Again| async { Err(Reason::Requested("never".into())) };
        within(supervisor.restart(Place::Producer(link), Restart::default(), refused)).await.expect("armed");
        inside(&hub, |hub, _| hub.branch.abort(Reason::Requested("too slow".into()))).await;
        branch.has("hears Hub: aborted on request: too slow").await;
        told.has("branch Aborted Hub: aborted on request: too slow").await;
        assert_eq!(told.count("hears "), 0, "{:?}", told.all());
        // A1: what it fails of later is told as it is
        inside(&hub, |hub, _| hub.main.abort(Reason::Requested("no disk".into()))).await;
        told.has("hears Hub: aborted on request: no disk").await;
        main.has("hears Hub: aborted on request: no disk").await;
    });
}

#[test]
fn parted_from_a_consumer_that_is_given_up_it_loses_the_attachment_alone() {
    run(async {
        for supervisor_goes in [false, true] {
            let supervisor = Supervisor::start();
            let mut events = supervisor.watch().await;
            let (told, main, branch) = (Told::default(), Told::default(), Told::default());
            let hub = Hub::start_with(&told);
            let (main_tail, tail) = (Tail::new(&main).start(), Tail::new(&branch).start());
            within(supervisor.attach(&hub.outlet_at::<0>(), &main_tail.inlet())).await.expect("attached");
            let link = within(supervisor.attach(&hub.outlet_at::<1>(), &tail.inlet())).await.expect("attached");
            drop(tail);
            told.has("main Credit").await;
            told.has("branch Credit").await;
            let attempts = if supervisor_goes { 1 } else { 0 };
            let back_off = BackOff { attempts, first: std::time::Duration::from_secs(60), ..BackOff::default() };
            let refused = |_: Again| async { Err(Reason::Requested("never".into())) };
            let restart = Restart { back_off, ..Restart::default() };
            within(supervisor.restart(Place::Consumer(link), restart, refused)).await.expect("armed");
            send(&hub, "first").await;
            inside(&hub, |hub, _| hub.branch.push("panic".into()).expect("room")).await;
            told.has("branch Detached").await;
            if supervisor_goes {
                event(&mut events, |event| matches!(event, Event::Restarting { .. }).then_some(())).await;
                drop((supervisor, events));
            } else {
                event(&mut events, |event| matches!(event, Event::GaveUp { .. }).then_some(())).await;
            }
            told.has("branch Aborted Tail: panicked: as it was told").await;
            lives_on(&hub, &told, &main).await;
        }
    });
}
