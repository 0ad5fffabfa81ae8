//! `wire!` from a user's side: custom actors, several ports, generic actors, the ways to grant, hooks that fail.

#[macro_use]
#[path = "support/inside.rs"]
mod inside;
#[path = "support/gather.rs"]
mod gather;
#[path = "support/items.rs"]
mod items;
mod support;

use actix::prelude::*;
use bytes::Bytes;
use gather::Gather;
use inside::inside as within_actor;
use items::Items;
use std::sync::{Arc, Mutex};
use support::{run, until, within};
use versile_io::component::link::{Note, Observer};
use versile_io::component::stock::{Outcome, Sink, Source};
use versile_io::component::{AddrExt, Inlet, InletEvent, Outlet, OutletEvent, join};
use versile_io::proto::link::{Cause, Payload, Reason, Window};
use versile_io::wire;

// ---- a filter of one's own, in 22 lines

struct Upper {
    input: Inlet<Bytes>,
    output: Outlet<Bytes>,
}
impl Actor for Upper {
    type Context = Context<Self>;
}
wire!(Upper {
    inlet input: Bytes => on_input;
    outlet output: Bytes => on_output;
});
impl Upper {
    fn on_input(&mut self, event: InletEvent<Bytes>, _: &mut Context<Self>) {
        match event {
            InletEvent::Item(b) => self.output.push(b.to_ascii_uppercase().into()).expect("granted from our credit"),
            InletEvent::End { clean } => self.output.end(clean),
            _ => {}
        }
    }
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {
        self.input.grant(self.output.credit());
    }
}

#[test]
fn a_custom_actor_works_in_a_chain() {
    run(async {
        let words = (0..2000).map(|i| Bytes::from(format!("word {i} ")));
        let expected: String = (0..2000).map(|i| format!("WORD {i} ")).collect();
        let (out, source) = Items::new(words, Some(true)).start();
        let upper = Upper { input: Inlet::manual(), output: Outlet::default() }.start();
        let (inp, sink) = Gather::new(Window { quantity: 7, messages: 3 }).start();
        join(&out, &upper.inlet(), None);
        join(&upper.outlet(), &inp, None);
        drop((out, upper, inp));
        let (sink, outcome) = within(sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(sink.expect("the part").got.concat(), expected.as_bytes());
        assert!(within(source).await.1.is_clean());
    });
}

// ---- a generic actor, and a payload of a user's own

#[derive(Debug, PartialEq)]
struct Frame {
    kind: u8,
    body: Vec<u8>,
}
impl Payload for Frame {}

struct Each<I: Payload, O: Payload, F: FnMut(I) -> O + Unpin + 'static> {
    input: Inlet<I>,
    output: Outlet<O>,
    f: F,
}
impl<I: Payload, O: Payload, F: FnMut(I) -> O + Unpin + 'static> Actor for Each<I, O, F> {
    type Context = Context<Self>;
}
wire!([I: Payload, O: Payload, F: FnMut(I) -> O + Unpin + 'static] Each<I, O, F> {
    outlet output: O => on_output;
    inlet input: I => on_input;
});
impl<I: Payload, O: Payload, F: FnMut(I) -> O + Unpin + 'static> Each<I, O, F> {
    fn on_input(&mut self, event: InletEvent<I>, _: &mut Context<Self>) {
        match event {
            InletEvent::Item(item) => {
                let made = (self.f)(item);
                assert!(self.output.push(made).is_ok(), "granted from our credit");
            }
            InletEvent::End { clean } => self.output.end(clean),
            _ => {}
        }
    }
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {
        self.input.grant(self.output.credit());
    }
}

#[test]
fn a_generic_actor_turns_a_users_own_payload_into_another() {
    run(async {
        let frames = (0..1000u32).map(|i| Frame { kind: i as u8, body: vec![1; i as usize % 5] });
        let (out, _source) = Items::new(frames, Some(false)).start();
        let f = |frame: Frame| frame.body.len() as u64 * 1000 + u64::from(frame.kind);
        let each = Each { input: Inlet::manual(), output: Outlet::default(), f }.start();
        let (inp, sink) = Gather::new(Window::of(4)).start();
        join(&out, &each.inlet(), None);
        join(&each.outlet(), &inp, None);
        drop((out, each, inp));
        let (sink, outcome) = within(sink).await;
        assert!(matches!(outcome, Outcome::Ended { clean: false }), "unclean is carried: {outcome}");
        let expected: Vec<u64> = (0..1000u64).map(|i| i % 5 * 1000 + i % 256).collect();
        assert_eq!(sink.expect("the part").got, expected);
    });
}

// ---- several ports of one payload

/// What came left and right, and how many ended.
type Got = (Vec<u32>, Vec<u32>, u32);

#[derive(Default)]
struct Merge {
    left: Inlet<u32>,
    right: Inlet<u32>,
    got: Arc<Mutex<Got>>,
}
impl Actor for Merge {
    type Context = Context<Self>;
}
wire!(Merge {
    inlet left: u32 => on_left;
    inlet right: u32 => on_right;
});
impl Merge {
    fn on_left(&mut self, event: InletEvent<u32>, ctx: &mut Context<Self>) {
        self.on_either(event, ctx, |got| &mut got.0);
    }
    fn on_right(&mut self, event: InletEvent<u32>, ctx: &mut Context<Self>) {
        self.on_either(event, ctx, |got| &mut got.1);
    }
    fn on_either(&mut self, event: InletEvent<u32>, ctx: &mut Context<Self>, side: fn(&mut Got) -> &mut Vec<u32>) {
        let mut got = self.got.lock().expect("whole");
        match event {
            InletEvent::Item(item) => side(&mut got).push(item),
            InletEvent::End { .. } => {
                got.2 += 1;
                if got.2 == 2 {
                    ctx.stop();
                }
            }
            _ => {}
        }
    }
}

#[test]
fn two_inlets_of_one_payload_are_told_apart() {
    run(async {
        let merge = Merge::default();
        let got = merge.got.clone();
        let addr = merge.start();
        let (evens, _a) = Items::new((0..1000).map(|i| i * 2), Some(true)).start();
        let (odds, _b) = Items::new((0..3000).map(|i| i * 2 + 1), Some(true)).start();
        join(&evens, &addr.inlet_at::<0>(), None);
        join(&odds, &addr.inlet_at::<1>(), None);
        drop((evens, odds, addr));
        until("both ended", || got.lock().expect("whole").2 == 2).await;
        let got = got.lock().expect("whole");
        assert_eq!(got.0, (0..1000).map(|i| i * 2).collect::<Vec<_>>());
        assert_eq!(got.1, (0..3000).map(|i| i * 2 + 1).collect::<Vec<_>>());
    });
}

struct Split {
    input: Inlet<u32>,
    even: Outlet<u32>,
    odd: Outlet<u32>,
}
impl Actor for Split {
    type Context = Context<Self>;
}
wire!(Split {
    inlet input: u32 => on_input;
    outlet even: u32 => on_credit;
    outlet odd: u32 => on_credit;
});
impl Split {
    fn on_input(&mut self, event: InletEvent<u32>, _: &mut Context<Self>) {
        match event {
            InletEvent::Item(i) if i % 2 == 0 => self.even.push(i).expect("granted"),
            InletEvent::Item(i) => self.odd.push(i).expect("granted"),
            InletEvent::End { clean } => {
                self.even.end(clean);
                self.odd.end(clean);
            }
            _ => {}
        }
    }
    fn on_credit(&mut self, _: OutletEvent, _: &mut Context<Self>) {
        let (a, b) = (self.even.credit(), self.odd.credit());
        self.input.grant(if a.quantity.min(a.messages) < b.quantity.min(b.messages) { a } else { b });
    }
}

#[test]
fn two_outlets_of_one_payload_are_told_apart() {
    run(async {
        let (out, _source) = Items::new(0..2000u32, Some(true)).start();
        let split = Split { input: Inlet::manual(), even: Outlet::default(), odd: Outlet::default() }.start();
        let (inp, evens) = Gather::new(Window::of(5)).start();
        let (inp2, odds) = Gather::new(Window::of(50)).start();
        join(&out, &split.inlet(), None);
        join(&split.outlet_at::<0>(), &inp, None);
        join(&split.outlet_at::<1>(), &inp2, None);
        drop((out, split, inp, inp2));
        let evens = within(evens).await.0.expect("the part").got;
        let odds = within(odds).await.0.expect("the part").got;
        assert_eq!(evens, (0..2000).step_by(2).collect::<Vec<_>>());
        assert_eq!(odds, (1..2000).step_by(2).collect::<Vec<_>>());
    });
}

// ---- hooks that fail, a name, an abort of one's own, drain

struct Picky {
    input: Inlet<u32>,
    output: Outlet<u32>,
    causes: Arc<Mutex<Vec<Arc<Cause>>>>,
    drained: Arc<Mutex<u32>>,
}
impl Actor for Picky {
    type Context = Context<Self>;
}
wire!(Picky {
    inlet input: u32 => on_input;
    outlet output: u32 => on_output;
    aborted => on_aborted;
    drain => on_drained;
    name => own_name;
});
inside!(Picky, Store);
impl Picky {
    fn new() -> Self {
        Self { input: Inlet::default(), output: Outlet::default(), causes: Arc::default(), drained: Arc::default() }
    }
    fn on_input(&mut self, event: InletEvent<u32>, _: &mut Context<Self>) {
        match event {
            InletEvent::Item(13) => panic!("thirteen"),
            InletEvent::Item(17) => self.input.abort(Reason::Requested("seventeen".into())),
            InletEvent::Item(_) | InletEvent::Attached | InletEvent::Detached => {}
            InletEvent::End { clean } => self.output.end(clean),
            _ => {}
        }
    }
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {}
    fn on_aborted(&mut self, cause: &Arc<Cause>, _: &mut Context<Self>) {
        self.causes.lock().expect("whole").push(cause.clone());
    }
    fn on_drained(&mut self, _: &mut Context<Self>) {
        *self.drained.lock().expect("whole") += 1;
        self.output.end(true);
    }
    fn own_name(&self) -> Arc<str> {
        "the picky one".into()
    }
}

async fn picky_is_sent(item: u32, told: &str) {
    let picky = Picky::new();
    let causes = picky.causes.clone();
    let addr = picky.start();
    let (out, source) = Items::new([1, 2, item, 3], None).start();
    let (inp, sink) = Gather::<u32>::new(Window::default()).start();
    join(&out, &addr.inlet(), None);
    join(&addr.outlet(), &inp, None);
    drop((out, inp));
    for outcome in [within(source).await.1, within(sink).await.1] {
        let Outcome::Aborted(cause) = outcome else { panic!("{outcome}") };
        assert_eq!(cause.to_string(), told);
    }
    until("stopped", || !addr.connected()).await;
    let causes = causes.lock().expect("whole");
    assert_eq!(causes.len(), 1, "told once");
    assert_eq!(causes[0].to_string(), told);
}

#[test]
fn a_hook_that_panics_aborts_both_neighbours_with_its_text() {
    run(picky_is_sent(13, "the picky one: panicked: thirteen"));
}

#[test]
fn an_abort_of_ones_own_reaches_both_neighbours() {
    run(picky_is_sent(17, "the picky one: aborted on request: seventeen"));
}

/// Keeps the components that are attached.
#[derive(Default)]
struct Notes(Mutex<Vec<Note>>);
impl Observer for Notes {
    fn note(&self, note: Note) {
        self.0.lock().expect("whole").push(note);
    }
}

#[test]
fn a_drain_hook_runs_instead_of_the_default() {
    run(async {
        let picky = Picky::new();
        let drained = picky.drained.clone();
        let addr = picky.start();
        let notes = Arc::new(Notes::default());
        let (inp, sink) = Gather::<u32>::new(Window::default()).start();
        join(&addr.outlet(), &inp, Some(notes.clone()));
        drop(inp);
        until("reserved", || !notes.0.lock().expect("whole").is_empty()).await;
        match &notes.0.lock().expect("whole")[0] {
            Note::Reserved { component, .. } => {
                assert_eq!(&**component.info.name(), "the picky one");
                component.manage.drain();
            }
            other => panic!("{other:?}"),
        }
        assert!(within(sink).await.1.is_clean(), "the hook ended clean");
        assert_eq!(*drained.lock().expect("whole"), 1);
        notes.0.lock().expect("whole").clear();
    });
}

// ---- the ways to grant

struct Store {
    input: Inlet<u32>,
    got: Vec<u32>,
}
impl Actor for Store {
    type Context = Context<Self>;
}
wire!(Store { inlet input: u32 => on_input; });
impl Store {
    fn on_input(&mut self, event: InletEvent<u32>, _: &mut Context<Self>) {
        if let InletEvent::Item(item) = event {
            self.got.push(item);
        }
    }
}

#[test]
fn a_holding_inlet_grants_only_what_was_released() {
    run(async {
        let store = Store { input: Inlet::holding(Window { quantity: 4, messages: 4 }), got: Vec::new() }.start();
        let (out, source) = Items::new(0..10u32, Some(true)).start();
        let link = join(&out, &store.inlet(), None);
        drop(out);
        until("four", || link.cell().accepted().quantity == 4).await;
        assert_eq!(within_actor(&store, |s, _| (s.got.len(), s.input.held().quantity)).await, (4, 4));
        assert_eq!(link.cell().limit().quantity, 4, "nothing released, nothing granted");
        within_actor(&store, |s, _| s.input.release(2, 2)).await;
        until("six", || link.cell().accepted().quantity == 6).await;
        assert_eq!(link.cell().held(), 4);
        within_actor(&store, |s, _| s.input.release_all()).await;
        until("ten", || link.cell().accepted().quantity == 10).await;
        assert!(within(source).await.1.is_clean(), "the source does not wait for the holder");
        assert!(!link.cell().inlet_state().is_terminal(), "held until completed");
        within_actor(&store, |s, _| s.input.complete()).await;
        assert!(link.cell().inlet_state().is_terminal());
        drop((store, link));
    });
}

#[test]
fn a_manual_inlet_takes_exactly_what_its_owner_grants() {
    run(async {
        let store = Store { input: Inlet::manual(), got: Vec::new() }.start();
        let (out, source) = Items::new(0..6u32, Some(true)).start();
        let link = join(&out, &store.inlet(), None);
        drop(out);
        for step in 1..=3u64 {
            within_actor(&store, |s, _| {
                let credit = versile_io::proto::link::Credit { quantity: 2, messages: 2 };
                s.input.grant(credit);
            })
            .await;
            until("two more", || link.cell().accepted().quantity == step * 2).await;
            assert_eq!(link.cell().produced().quantity, step * 2);
        }
        within_actor(&store, |s, _| s.input.grant(versile_io::proto::link::Credit::of(1))).await;
        assert!(within(source).await.1.is_clean());
        assert_eq!(within_actor(&store, |s, _| s.got.clone()).await, [0, 1, 2, 3, 4, 5]);
        drop((store, link));
    });
}
