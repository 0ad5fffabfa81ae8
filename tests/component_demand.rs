//! Rule C1 between actors: who is told of grants, and that nobody who waits for one is forgotten.

mod support;

#[path = "support/elsewhere.rs"]
mod elsewhere;
#[path = "support/inside.rs"]
#[macro_use]
mod inside;

use actix::prelude::*;
use elsewhere::on;
use inside::inside;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use support::{run, within};
use versile_io::component::stock::{Filter, Outbox, PartResult, Pull, Sink, Source};
use versile_io::component::{AddrExt, Inlet, InletEvent, Outlet, OutletEvent, join};
use versile_io::proto::link::{Credit, Window};
use versile_io::wire;

/// Counts down.
struct Numbers(u64);

impl Source for Numbers {
    type Out = u64;

    fn poll_pull(&mut self, _: Credit, _: &mut TaskContext<'_>) -> Poll<PartResult<Pull<u64>>> {
        Poll::Ready(Ok(match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Pull::Item(left)
            }
            None => Pull::End { clean: true },
        }))
    }
}

/// Passes numbers on.
struct Same(Window);

impl Filter for Same {
    type In = u64;
    type Out = u64;

    fn apply(&mut self, item: u64, out: &mut Outbox<u64>) -> PartResult {
        out.push(item);
        Ok(())
    }

    fn window(&self) -> Window {
        self.0
    }
}

/// Counts what comes.
struct Count(u64, Window);

impl Sink for Count {
    type In = u64;

    fn consume(&mut self, _: u64) -> PartResult {
        self.0 += 1;
        Ok(())
    }

    fn window(&self) -> Window {
        self.1
    }
}

/// The narrowest windows give the most waits: each item is one.
#[test]
fn c1_a_link_across_arbiters_never_stalls() {
    const ITEMS: u64 = 30_000;
    run(async {
        let arbiters = [Arbiter::new(), Arbiter::new()];
        for messages in [1, 2, 3, 7] {
            let window = Window { quantity: 100, messages };
            let (outlet, _) = on(&arbiters[0].handle(), || Numbers(ITEMS).start()).await;
            let (into, out, _) = on(&arbiters[1].handle(), move || Same(window).start()).await;
            let (inlet, done) = on(&arbiters[0].handle(), move || Count(0, window).start()).await;
            join(&out, &inlet, None);
            join(&outlet, &into, None);
            // a stall is for ever, so the time may be long
            let all = tokio::time::timeout(Duration::from_secs(100), done).await;
            let (count, outcome) = all.unwrap_or_else(|_| panic!("stands still with windows of {messages}"));
            assert!(outcome.is_clean());
            assert_eq!(count.expect("the part").0, ITEMS);
        }
        for arbiter in arbiters {
            arbiter.stop();
            arbiter.join().expect("stopped");
        }
    });
}

/// Pushes what the test says, and counts what it hears.
struct Pusher {
    output: Outlet<u64>,
    heard: u64,
}

impl Actor for Pusher {
    type Context = Context<Self>;
}

wire!(Pusher { outlet output: u64 => on_output; });

impl Pusher {
    fn on_output(&mut self, event: OutletEvent, _: &mut Context<Self>) {
        self.heard += u64::from(event == OutletEvent::Credit);
    }
}

/// Takes what comes, and releases when the test says.
struct Taker {
    input: Inlet<u64>,
}

impl Actor for Taker {
    type Context = Context<Self>;
}

wire!(Taker { inlet input: u64 => on_input; });

impl Taker {
    fn on_input(&mut self, _: InletEvent<u64>, _: &mut Context<Self>) {}
}

inside!(Pusher, Taker);

/// Both joined, with the first grant told.
async fn joined(output: Outlet<u64>, window: Window) -> (Addr<Pusher>, Addr<Taker>) {
    let pusher = Pusher { output, heard: 0 }.start();
    let taker = Taker { input: Inlet::holding(window) }.start();
    join(&pusher.outlet(), &taker.inlet(), None);
    while within(inside(&pusher, |act, _| act.heard)).await == 0 {}
    (pusher, taker)
}

/// Sends one item, which the consumer finishes with; what the producer has heard by then.
async fn echo(pusher: &Addr<Pusher>, taker: &Addr<Taker>) -> u64 {
    let sent = inside(pusher, |act, _| {
        act.output.push(7).expect("there is credit");
        act.output.sent().messages
    });
    let sent = within(sent).await;
    while within(inside(taker, |act, _| act.input.accepted().messages)).await < sent {}
    within(inside(taker, |act, _| act.input.release_all())).await;
    // the grant left at the end of that turn, so it is before this question
    within(inside(pusher, |act, _| act.heard)).await
}

async fn end(pusher: Addr<Pusher>, taker: Addr<Taker>) {
    within(inside(&pusher, |act, _| act.output.end(true))).await;
    while within(inside(&taker, |act, _| {
        act.input.complete();
        act.input.is_open()
    }))
    .await
    {}
}

#[test]
fn on_demand_a_small_message_costs_no_grant_and_otherwise_one_each() {
    run(async {
        let (pusher, taker) = joined(Outlet::default().on_demand(), Window::default()).await;
        for _ in 0..1_000 {
            assert_eq!(echo(&pusher, &taker).await, 1, "the first grant alone");
        }
        end(pusher, taker).await;
        let (pusher, taker) = joined(Outlet::default(), Window::default()).await;
        for n in 1..100 {
            assert_eq!(echo(&pusher, &taker).await, 1 + n);
        }
        end(pusher, taker).await;
    });
}

#[test]
fn on_demand_who_asks_for_credit_and_gets_none_is_told_of_more() {
    run(async {
        let (pusher, taker) = joined(Outlet::default().on_demand(), Window { quantity: 9, messages: 2 }).await;
        let push = inside(&pusher, |act, _| {
            while !act.output.credit().is_exhausted() {
                act.output.push(1).expect("there is credit");
            }
            act.output.sent().messages
        });
        assert_eq!(within(push).await, 2);
        while within(inside(&taker, |act, _| act.input.accepted().messages)).await < 2 {}
        assert_eq!(within(inside(&pusher, |act, _| act.heard)).await, 1);
        within(inside(&taker, |act, _| act.input.release_all())).await;
        let now = inside(&pusher, |act, _| (act.heard, act.output.credit().messages));
        assert_eq!(within(now).await, (2, 2));
        end(pusher, taker).await;
    });
}

#[test]
fn on_demand_who_stands_still_with_credit_left_is_told_when_the_consumer_goes_on() {
    run(async {
        let (pusher, taker) = joined(Outlet::default().on_demand(), Window::default()).await;
        assert_eq!(echo(&pusher, &taker).await, 1);
        let first = inside(&pusher, |act, _| [act.output.wait_for_credit(), act.output.wait_for_credit()]);
        assert_eq!(within(first).await, [true, false], "it had gone on before");
        assert_eq!(echo(&pusher, &taker).await, 2, "told once");
        assert_eq!(echo(&pusher, &taker).await, 2, "and not again");
        end(pusher, taker).await;
    });
}
