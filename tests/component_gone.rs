//! Rule A3: a component that stops, panics, or whose arbiter stops is noticed by both neighbours at the end of the turn.

#[path = "support/elsewhere.rs"]
mod elsewhere;
#[path = "support/gather.rs"]
mod gather;
#[path = "support/items.rs"]
mod items;
mod support;

use actix::prelude::*;
use elsewhere::on;
use gather::Gather;
use items::Items;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};
use support::{run, until, within};
use versile_io::component::link::Link;
use versile_io::component::stock::{Done, Outcome, Sink, Source};
use versile_io::component::{AddrExt, Inlet, InletEvent, Outlet, OutletEvent, join};
use versile_io::proto::link::{Cause, LinkState, Reason, Window};
use versile_io::wire;

/// How it goes.
#[derive(Clone, Copy, Debug, Message, PartialEq)]
#[rtype(result = "()")]
enum Go {
    Stop,
    Terminate,
    PanicInAHandlerOfItsOwn,
    PanicInAFuture,
    PanicInStopped,
    PanicInDrop,
}

/// In the middle of a chain, until it goes.
struct Mortal {
    input: Inlet<u32>,
    output: Outlet<u32>,
    panics: bool,
    panics_in_drop: bool,
    turn_over: Arc<AtomicBool>,
}
impl Actor for Mortal {
    type Context = Context<Self>;
    fn stopped(&mut self, _: &mut Context<Self>) {
        assert!(!self.panics, "in stopped");
    }
}
impl Drop for Mortal {
    fn drop(&mut self) {
        self.turn_over.store(true, SeqCst);
        assert!(!self.panics_in_drop, "in drop");
    }
}
wire!(Mortal {
    inlet input: u32 => on_input;
    outlet output: u32 => on_output;
});
impl Mortal {
    fn new() -> Self {
        Self {
            input: Inlet::manual(),
            output: Outlet::default(),
            panics: false,
            panics_in_drop: false,
            turn_over: Arc::default(),
        }
    }
    fn on_input(&mut self, event: InletEvent<u32>, _: &mut Context<Self>) {
        if let InletEvent::Item(item) = event {
            self.output.push(item).expect("granted from our credit");
        }
    }
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {
        self.input.grant(self.output.credit());
    }
}
impl Handler<Go> for Mortal {
    type Result = ();
    fn handle(&mut self, go: Go, ctx: &mut Context<Self>) {
        match go {
            Go::Stop => ctx.stop(),
            Go::Terminate => ctx.terminate(),
            Go::PanicInAHandlerOfItsOwn => panic!("in a handler of its own"),
            Go::PanicInAFuture => {
                ctx.spawn(actix::fut::wrap_future(async { panic!("in a future") }));
            }
            Go::PanicInStopped => {
                self.panics = true;
                ctx.stop();
            }
            Go::PanicInDrop => {
                self.panics_in_drop = true;
                ctx.stop();
            }
        }
    }
}

type Neighbours = (Done<Items<u32>>, Done<Gather<u32>>, Arc<Link>, Arc<Link>);

/// Source and sink here, around a component that may be elsewhere; flowing.
async fn around(mortal: &Addr<Mortal>) -> Neighbours {
    let (out, source) = Items::new(0..u32::MAX / 512, None).start();
    let (inp, sink) = Gather::new(Window::default()).start();
    let up = join(&out, &mortal.inlet(), None);
    let down = join(&mortal.outlet(), &inp, None);
    until("flowing", || down.cell().accepted().quantity > 10).await;
    (source, sink, up, down)
}

fn is_gone(cause: &Cause) -> bool {
    matches!(cause.reason, Reason::ComponentGone | Reason::Panicked(_))
}

/// Both neighbours are told, with the name, within 100 ms of `since`.
async fn both_told((source, sink, up, down): Neighbours, since: Instant) -> Arc<Cause> {
    let Outcome::Aborted(cause) = within(source).await.1 else { panic!("the producer is aborted") };
    let Outcome::Aborted(other) = within(sink).await.1 else { panic!("the consumer is aborted") };
    // generous for a loaded machine: the rule says the end of the turn
    assert!(since.elapsed() < Duration::from_millis(100), "{:?}", since.elapsed());
    assert_eq!(cause.to_string(), other.to_string(), "one cause (rule A1)");
    assert_eq!(&*cause.origin.component, "Mortal");
    assert!(is_gone(&cause), "{cause}");
    assert_eq!(up.cell().outlet_state(), LinkState::Aborted);
    assert_eq!(down.cell().inlet_state(), LinkState::Aborted);
    cause
}

/// A chain that has nothing to do with it, and must go on.
fn bystander() -> Done<Gather<u32>> {
    let (out, _) = Items::new(0..50_000u32, Some(true)).start();
    let (inp, sink) = Gather::new(Window::of(7)).start();
    join(&out, &inp, None);
    sink
}

fn it_goes(go: Go, told: Option<&'static str>) {
    run(async move {
        let arbiter = Arbiter::new();
        let (mortal, beside) = on(&arbiter.handle(), || (Mortal::new().start(), bystander())).await;
        let neighbours = around(&mortal).await;
        let since = Instant::now();
        mortal.do_send(go);
        let cause = both_told(neighbours, since).await;
        if let Some(told) = told {
            assert_eq!(cause.to_string(), told);
        }
        let (sink, outcome) = within(beside).await;
        assert!(outcome.is_clean(), "another chain on that arbiter went on: {outcome}");
        assert_eq!(sink.expect("the part").got.len(), 50_000);
        drop(mortal);
        arbiter.stop();
        arbiter.join().expect("joined");
    });
}

#[test]
fn a3_stop() {
    it_goes(Go::Stop, Some("Mortal: stopped while a link depended on it"));
}

#[test]
fn a3_terminate() {
    it_goes(Go::Terminate, Some("Mortal: stopped while a link depended on it"));
}

#[test]
fn a3_panic_in_a_handler_of_its_own() {
    it_goes(Go::PanicInAHandlerOfItsOwn, Some("Mortal: panicked: outside a hook"));
}

#[test]
fn a3_panic_in_a_spawned_future() {
    it_goes(Go::PanicInAFuture, Some("Mortal: panicked: outside a hook"));
}

#[test]
fn a3_panic_in_stopped() {
    it_goes(Go::PanicInStopped, Some("Mortal: panicked: outside a hook"));
}

#[test]
fn a3_panic_in_drop_of_the_actor() {
    it_goes(Go::PanicInDrop, None);
}

#[test]
fn a3_the_arbiter_stops_under_load() {
    run(async {
        let arbiter = Arbiter::new();
        let (mortal, over) = on(&arbiter.handle(), || {
            let mortal = Mortal::new();
            let over = mortal.turn_over.clone();
            (mortal.start(), over)
        })
        .await;
        let neighbours = around(&mortal).await;
        arbiter.stop();
        until("the end of the turn", || over.load(SeqCst)).await;
        let since = Instant::now();
        let cause = both_told(neighbours, since).await;
        assert_eq!(cause.to_string(), "Mortal: stopped while a link depended on it");
        drop(mortal);
        arbiter.join().expect("joined");
    });
}

#[test]
fn a3_the_last_address_is_dropped() {
    run(async {
        // no producer holds it: nobody does, once the address goes
        let mortal = Mortal::new().start();
        let (inp, sink) = Gather::<u32>::new(Window::default()).start();
        let down = join(&mortal.outlet(), &inp, None);
        until("open", || down.cell().outlet_state() == LinkState::Open).await;
        let since = Instant::now();
        drop(mortal);
        let Outcome::Aborted(cause) = within(sink).await.1 else { panic!("aborted") };
        assert!(since.elapsed() < Duration::from_millis(100));
        assert_eq!(cause.to_string(), "Mortal: stopped while a link depended on it");
    });
}

#[test]
fn a3_an_attach_that_was_sent_to_a_stopped_arbiter_tells_the_producer() {
    run(async {
        let arbiter = Arbiter::new();
        let mortal = on(&arbiter.handle(), || Mortal::new().start()).await;
        arbiter.stop();
        arbiter.join().expect("joined");
        let (out, source) = Items::new(0..10u32, Some(true)).start();
        join(&out, &mortal.inlet(), None);
        let Outcome::Aborted(cause) = within(source).await.1 else { panic!("aborted") };
        assert!(is_gone(&cause), "{cause}");
    });
}

#[test]
fn a3_a_reservation_that_was_sent_to_a_stopped_arbiter_tells_the_consumer() {
    run(async {
        let arbiter = Arbiter::new();
        let mortal = on(&arbiter.handle(), || Mortal::new().start()).await;
        arbiter.stop();
        arbiter.join().expect("joined");
        let (inp, sink) = Gather::<u32>::new(Window::default()).start();
        join(&mortal.outlet(), &inp, None);
        let Outcome::Aborted(cause) = within(sink).await.1 else { panic!("aborted") };
        assert!(is_gone(&cause), "{cause}");
    });
}

#[test]
fn a3_an_actor_that_never_started_tells_too() {
    run(async {
        let arbiter = Arbiter::new();
        let far = arbiter.handle();
        arbiter.stop();
        arbiter.join().expect("joined");
        let mortal = Mortal::start_in_arbiter(&far, |_| Mortal::new());
        let (out, source) = Items::new(0..10u32, Some(true)).start();
        let (inp, sink) = Gather::<u32>::new(Window::default()).start();
        join(&out, &mortal.inlet(), None);
        join(&mortal.outlet(), &inp, None);
        for outcome in [within(source).await.1, within(sink).await.1] {
            let Outcome::Aborted(cause) = outcome else { panic!("{outcome}") };
            assert!(is_gone(&cause), "{cause}");
        }
    });
}

#[test]
fn a_component_that_ends_in_order_and_stops_sets_nothing() {
    run(async {
        // A2: once the end was sent, the owner's stop sets nothing, and the queued tail is delivered
        let arbiter = Arbiter::new();
        let (inp, sink) = on(&arbiter.handle(), || Gather::new(Window::default()).start()).await;
        let (out, _) = Items::new(0..200u32, Some(true)).start();
        let link = join(&out, &inp, None);
        drop((out, inp));
        let (sink, outcome) = within(sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(sink.expect("the part").got.len(), 200);
        assert!(link.cell().cause().is_none());
        drop(link);
        arbiter.stop();
        arbiter.join().expect("joined");
    });
}
