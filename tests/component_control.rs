//! Control messages: answered exactly once (rule X1), passed along, bounded, in order, and never a consent by accident.

#[macro_use]
#[path = "support/inside.rs"]
mod inside;
mod support;

use actix::prelude::*;
use inside::inside;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use support::{run, serial, until, within};
use versile_io::component::control::{
    Ask, Authorize, CanConnect, Connected, ConsumerAttached, Control, ControlError, Envelope, ProducerAttached,
    RequestConsumerState, RequestProducerState,
};
use versile_io::component::link::{Link, MAX_ASKS, Note, Observer};
use versile_io::component::{AddrExt, ComponentInfo, Inlet, InletEvent, Outlet, OutletEvent, Peer, join};
use versile_io::proto::link::{Credit, Window};
use versile_io::wire;

/// A message of a user's own.
#[derive(Clone)]
struct Ping(u32);
impl Control for Ping {
    type Reply = u32;
}

/// Nobody handles it.
struct Unheard;
impl Control for Unheard {
    type Reply = ();
}

/// What to do with a `Ping`.
#[derive(Clone, Copy, Default, PartialEq)]
enum On {
    #[default]
    Answer,
    Pass,
    AnswerAndPass,
    Keep,
    Lose,
    Panic,
    AskBack,
}

/// Handles everything.
struct End {
    input: Inlet<u32>,
    output: Outlet<u32>,
    on: On,
    kept: Vec<Ask<Ping>>,
    log: Vec<String>,
}
impl Actor for End {
    type Context = Context<Self>;
}
wire!(End {
    inlet input: u32 => on_input;
    outlet output: u32 => on_output;
    control Authorize => authorize;
    control CanConnect => can_connect;
    control Connected => connected;
    control ConsumerAttached => consumer_attached;
    control ProducerAttached => producer_attached;
    control RequestConsumerState => consumer_state;
    control RequestProducerState => producer_state;
    control Ping => ping;
});
inside!(End);
impl End {
    fn new(on: On, window: Window) -> Addr<Self> {
        let input = Inlet::new(window);
        Self { input, output: Outlet::default(), on, kept: Vec::new(), log: Vec::new() }.start()
    }
    fn on_input(&mut self, event: InletEvent<u32>, _: &mut Context<Self>) {
        if let InletEvent::Item(item) = event {
            self.log.push(item.to_string());
        }
    }
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {}
    fn authorize(&mut self, ask: Ask<Authorize>, _: &mut Context<Self>) -> Option<Ask<Authorize>> {
        let yes = ask.identity.as_deref() == Some("cn=me");
        ask.answer(yes);
        None
    }
    fn can_connect(&mut self, ask: Ask<CanConnect>, _: &mut Context<Self>) -> Option<Ask<CanConnect>> {
        let yes = ask.peer != Peer::Pipe;
        ask.answer(yes);
        None
    }
    fn connected(&mut self, ask: Ask<Connected>, _: &mut Context<Self>) -> Option<Ask<Connected>> {
        self.log.push(format!("connected {}", ask.peer));
        ask.answer(());
        None
    }
    fn consumer_attached(
        &mut self,
        ask: Ask<ConsumerAttached>,
        _: &mut Context<Self>,
    ) -> Option<Ask<ConsumerAttached>> {
        self.log.push(format!("consumer {}", ask.consumer));
        ask.answer(());
        None
    }
    fn producer_attached(
        &mut self,
        ask: Ask<ProducerAttached>,
        _: &mut Context<Self>,
    ) -> Option<Ask<ProducerAttached>> {
        self.log.push(format!("producer {}", ask.producer));
        ask.answer(());
        None
    }
    fn consumer_state(
        &mut self,
        ask: Ask<RequestConsumerState>,
        _: &mut Context<Self>,
    ) -> Option<Ask<RequestConsumerState>> {
        self.log.push(format!("state for {}", ask.producer));
        ask.answer(());
        None
    }
    fn producer_state(
        &mut self,
        ask: Ask<RequestProducerState>,
        _: &mut Context<Self>,
    ) -> Option<Ask<RequestProducerState>> {
        self.log.push(format!("state for {}", ask.consumer));
        ask.answer(());
        None
    }
    fn ping(&mut self, ask: Ask<Ping>, ctx: &mut Context<Self>) -> Option<Ask<Ping>> {
        self.log.push(format!("ping {}", ask.0));
        let reply = ask.0 + 1;
        match self.on {
            On::Answer => ask.answer(reply),
            On::Pass => return Some(ask),
            On::AnswerAndPass => return Some(ask.answer_and_pass(reply)),
            On::Keep => self.kept.push(ask),
            On::Lose => drop(ask),
            On::Panic => panic!("in the handler"),
            On::AskBack => {
                // answers once its own question is answered, by a spawned future and never by `ctx.wait`
                let answer = self.input.ask(Ping(reply));
                ctx.spawn(actix::fut::wrap_future(async move {
                    if let Ok(inner) = answer.await {
                        ask.answer(inner);
                    }
                }));
            }
        }
        None
    }
}

/// Handles nothing.
struct Pass {
    input: Inlet<u32>,
    output: Outlet<u32>,
}
impl Actor for Pass {
    type Context = Context<Self>;
}
wire!(Pass {
    inlet input: u32 => on_input;
    outlet output: u32 => on_output;
});
inside!(Pass);
impl Pass {
    fn new() -> Addr<Self> {
        Self { input: Inlet::manual(), output: Outlet::default() }.start()
    }
    fn on_input(&mut self, event: InletEvent<u32>, _: &mut Context<Self>) {
        if let InletEvent::Item(item) = event {
            self.output.push(item).expect("granted");
        }
    }
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {
        self.input.grant(self.output.credit());
    }
}

/// Head, three that pass, tail; each link is open.
async fn chain(head: On, tail: On) -> (Addr<End>, Vec<Addr<Pass>>, Addr<End>) {
    let (a, b) = (End::new(head, Window::default()), End::new(tail, Window::default()));
    let passes: Vec<_> = (0..3).map(|_| Pass::new()).collect();
    join(&a.outlet(), &passes[0].inlet(), None);
    join(&passes[0].outlet(), &passes[1].inlet(), None);
    join(&passes[1].outlet(), &passes[2].inlet(), None);
    join(&passes[2].outlet(), &b.inlet(), None);
    for addr in &passes {
        open(|| inside(addr, |p, _| p.output.is_open() && p.input.is_open())).await;
    }
    open(|| inside(&a, |a, _| a.output.is_open())).await;
    for end in [&a, &b] {
        inside(end, |end, _| end.log.clear()).await;
    }
    (a, passes, b)
}

async fn open<F: Future<Output = bool>>(mut asked: impl FnMut() -> F) {
    within(async { while !asked().await {} }).await;
}

async fn joined(head: On, tail: On) -> (Addr<End>, Addr<End>, Arc<Link>) {
    let (a, b) = (End::new(head, Window::default()), End::new(tail, Window::default()));
    let link = join(&a.outlet(), &b.inlet(), None);
    open(|| inside(&a, |a, _| a.output.is_open())).await;
    (a, b, link)
}

/// Asks from `addr`, with the data or against it.
async fn ask<M: Control>(addr: &Addr<End>, with_data: bool, message: M) -> Result<M::Reply, ControlError> {
    let asking = inside(addr, move |end, _| match with_data {
        true => end.output.ask(message),
        false => end.input.ask(message),
    })
    .await;
    within(asking).await
}

async fn log(addr: &Addr<End>) -> Vec<String> {
    inside(addr, |end, _| std::mem::take(&mut end.log)).await
}

#[test]
fn the_seven_standard_messages_pass_three_components_both_ways_and_are_answered() {
    run(async {
        let (a, passes, b) = chain(On::Answer, On::Answer).await;
        let web = || Peer::tcp(SocketAddr::from(([10, 0, 0, 2], 80)));
        let me = |name: &str| ComponentInfo::new(name, false);
        for (from, to, down) in [(&a, &b, true), (&b, &a, false)] {
            let who = Authorize { identity: Some("cn=me".into()), ..Authorize::default() };
            assert_eq!(ask(from, down, who).await, Ok(true));
            assert_eq!(ask(from, down, Authorize::default()).await, Ok(false));
            assert_eq!(ask(from, down, CanConnect { peer: web() }).await, Ok(true));
            assert_eq!(ask(from, down, CanConnect { peer: Peer::Pipe }).await, Ok(false));
            assert_eq!(ask(from, down, Connected { peer: web() }).await, Ok(()));
            assert_eq!(ask(from, down, ConsumerAttached { consumer: me("c") }).await, Ok(()));
            assert_eq!(ask(from, down, ProducerAttached { producer: me("p") }).await, Ok(()));
            assert_eq!(ask(from, down, RequestProducerState { consumer: me("c2") }).await, Ok(()));
            assert_eq!(ask(from, down, RequestConsumerState { producer: me("p2") }).await, Ok(()));
            assert_eq!(ask(from, down, Ping(41)).await, Ok(42), "a message of a user's own");
            let expected =
                ["connected tcp 10.0.0.2:80", "consumer c", "producer p", "state for c2", "state for p2", "ping 41"];
            assert_eq!(log(to).await, expected);
        }
        drop(passes);
    });
}

#[test]
fn attaching_tells_both_chains() {
    run(async {
        let (a, b, _link) = joined(On::Answer, On::Answer).await;
        until("told", || true).await;
        open(|| inside(&a, |a, _| a.log == ["consumer End"])).await;
        open(|| inside(&b, |b, _| b.log == ["producer End"])).await;
    });
}

#[test]
fn a_handler_may_answer_and_pass_on() {
    run(async {
        let (a, middle, b) = (
            End::new(On::Answer, Window::default()),
            End::new(On::AnswerAndPass, Window::default()),
            End::new(On::Answer, Window::default()),
        );
        join(&a.outlet(), &middle.inlet(), None);
        join(&middle.outlet(), &b.inlet(), None);
        open(|| inside(&a, |a, _| a.output.is_open())).await;
        open(|| inside(&middle, |m, _| m.output.is_open())).await;
        assert_eq!(ask(&a, true, Ping(1)).await, Ok(2), "the first answer counts");
        open(|| inside(&b, |b, _| b.log.iter().any(|line| line == "ping 1"))).await;
        // and a handler may pass on alone
        inside(&middle, |m, _| m.on = On::Pass).await;
        inside(&b, |b, _| b.on = On::Lose).await;
        assert_eq!(ask(&a, true, Ping(2)).await, Err(ControlError::Gone), "the answer was up to the last one");
    });
}

#[test]
fn nobody_to_answer_is_missing_control() {
    run(async {
        let (a, passes, b) = chain(On::Pass, On::Pass).await;
        assert_eq!(ask(&a, true, Ping(1)).await, Err(ControlError::MissingControl), "passed off the end of the chain");
        assert_eq!(ask(&b, false, Ping(1)).await, Err(ControlError::MissingControl));
        assert_eq!(ask(&a, true, Unheard).await, Err(ControlError::MissingControl), "no handler for it");
        assert_eq!(ask(&a, false, Ping(1)).await, Err(ControlError::MissingControl), "not attached");
        drop(passes);
    });
}

/// Says what it does not hear, and counts what comes all the same.
struct HardOfHearing {
    input: Inlet<u32>,
    came: usize,
}
impl Actor for HardOfHearing {
    type Context = Context<Self>;
}
wire!(HardOfHearing {
    inlet input: u32 => on_input;
    controls => on_any;
    hears => hears_ping;
});
inside!(HardOfHearing);
impl HardOfHearing {
    fn on_input(&mut self, _: InletEvent<u32>, _: &mut Context<Self>) {}
    fn hears_ping(message: std::any::TypeId) -> bool {
        message == std::any::TypeId::of::<Ping>()
    }
    fn on_any(&mut self, envelope: Envelope, _: &mut Context<Self>) -> Option<Envelope> {
        self.came += 1;
        envelope.open::<Ping>().map(|ask| ask.answer(1)).err()
    }
}

#[test]
fn what_a_component_does_not_hear_is_answered_without_it() {
    run(async {
        let a = End::new(On::Answer, Window::default());
        let deaf = HardOfHearing { input: Inlet::default(), came: 0 }.start();
        join(&a.outlet(), &deaf.inlet(), None);
        open(|| inside(&a, |a, _| a.output.is_open())).await;
        inside(&a, |a, _| a.output.tell(Connected { peer: Peer::Pipe })).await;
        assert_eq!(ask(&a, true, Unheard).await, Err(ControlError::MissingControl));
        assert_eq!(ask(&a, true, Ping(1)).await, Ok(1));
        assert_eq!(inside(&deaf, |deaf, _| deaf.came).await, 1, "the ping alone, and not that a producer was attached");
    });
}

#[test]
fn a_question_that_is_dropped_is_gone() {
    run(async {
        let (a, b, _link) = joined(On::Answer, On::Lose).await;
        assert_eq!(ask(&a, true, Ping(1)).await, Err(ControlError::Gone));
        // kept by a component that dies
        inside(&b, |b, _| b.on = On::Keep).await;
        let asking = inside(&a, |a, _| a.output.ask(Ping(2))).await;
        open(|| inside(&b, |b, _| b.kept.len() == 1)).await;
        inside(&b, |_, ctx| ctx.stop()).await;
        assert_eq!(within(asking).await, Err(ControlError::Gone));
    });
}

#[test]
fn defect_22_a_failing_handler_is_no_consent() {
    run(async {
        let (a, b, link) = joined(On::Answer, On::Panic).await;
        assert_eq!(ask(&a, true, Ping(1)).await, Err(ControlError::Gone));
        until("aborted", || link.cell().cause().is_some()).await;
        assert_eq!(link.cell().cause().expect("set").to_string(), "End: panicked: in the handler");
        until("stopped", || !b.connected()).await;
    });
}

#[test]
fn an_answer_that_does_not_come_in_time_is_no_consent() {
    run(async {
        let (a, b, _link) = joined(On::Answer, On::Keep).await;
        let short = Duration::from_millis(15);
        let asking = inside(&a, move |a, _| a.output.ask_within(Ping(1), short)).await;
        assert_eq!(within(asking).await, Err(ControlError::TimedOut(short)));
        // answered too late: nobody hears, nothing breaks
        inside(&b, |b, _| b.kept.drain(..).for_each(|ask| ask.answer(0))).await;
        inside(&b, |b, _| b.on = On::Answer).await;
        assert_eq!(ask(&a, true, Ping(1)).await, Ok(2));
        let asking = inside(&b, move |b, _| b.input.ask_within(Ping(5), short)).await;
        assert_eq!(within(asking).await, Ok(6));
    });
}

#[test]
fn by_default_a_question_times_out_after_thirty_seconds() {
    let _one = serial();
    let paused =
        || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    System::with_tokio_rt(paused).block_on(async {
        let (a, b) = (End::new(On::Answer, Window::default()), End::new(On::Keep, Window::default()));
        let _link = join(&a.outlet(), &b.inlet(), None);
        while !inside(&a, |a, _| a.output.is_open()).await {}
        let asking = inside(&a, |a, _| a.output.ask(Ping(1))).await;
        let started = tokio::time::Instant::now();
        assert_eq!(asking.await, Err(ControlError::TimedOut(Duration::from_secs(30))));
        assert_eq!(started.elapsed().as_secs(), 30, "virtual ones");
    });
}

#[test]
fn two_components_that_ask_each_other_do_not_stand_still() {
    run(async {
        // b answers a's question only after a has answered b's
        let (a, _b, _link) = joined(On::Answer, On::AskBack).await;
        assert_eq!(ask(&a, true, Ping(1)).await, Ok(3));
        let both: Vec<_> = (0..20).map(|i| ask(&a, true, Ping(i * 10))).collect();
        for (i, answer) in both.into_iter().enumerate() {
            assert_eq!(answer.await, Ok(i as u32 * 10 + 2));
        }
    });
}

#[test]
fn x1_at_most_64_are_outstanding_and_the_65th_goes_when_one_is_answered() {
    run(async {
        let (a, b, _link) = joined(On::Answer, On::Keep).await;
        let answers: Vec<_> = inside(&a, |a, _| (0..66).map(|i| a.output.ask(Ping(i))).collect::<Vec<_>>()).await;
        let tasks: Vec<_> = answers.into_iter().map(actix_rt::spawn).collect();
        open(|| inside(&b, |b, _| b.kept.len() == MAX_ASKS)).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(inside(&b, |b, _| b.kept.len()).await, MAX_ASKS, "the further ones wait");
        inside(&b, |b, _| b.kept.remove(7).answer(0)).await;
        open(|| inside(&b, |b, _| b.kept.len() == MAX_ASKS)).await;
        assert_eq!(inside(&b, |b, _| b.kept.last().map(|ask| ask.0)).await, Some(64), "in the order of asking");
        // X1: every one of them is answered exactly once
        inside(&b, |b, _| b.on = On::Answer).await;
        inside(&b, |b, _| b.kept.drain(..).for_each(|ask| ask.answer(1))).await;
        for (i, task) in tasks.into_iter().enumerate() {
            let expected = match i {
                7 => 0,
                65 => 66,
                _ => 1,
            };
            assert_eq!(within(task).await.expect("no panic"), Ok(expected), "number {i}");
        }
    });
}

#[test]
fn x1_a_message_overtakes_what_waits_for_credit_and_nothing_in_the_mailbox() {
    run(async {
        let window = Window { quantity: 2, messages: 2 };
        let (a, b) = (End::new(On::Answer, Window::default()), End::new(On::Answer, window));
        let _link = join(&a.outlet(), &b.inlet(), None);
        open(|| inside(&a, |a, _| a.output.credit() == Credit { quantity: 2, messages: 2 })).await;
        open(|| inside(&b, |b, _| b.log == ["producer End"])).await;
        log(&b).await;
        let asking = inside(&a, |a, _| {
            for i in 1..=3 {
                a.output.push(i).expect("two are sent, one waits inside");
            }
            a.output.ask(Ping(9))
        })
        .await;
        assert_eq!(within(asking).await, Ok(10));
        open(|| inside(&b, |b, _| b.log.len() == 4)).await;
        assert_eq!(log(&b).await, ["1", "2", "ping 9", "3"]);
    });
}

/// Keeps what a transaction would use.
#[derive(Default)]
struct Notes(std::sync::Mutex<Vec<Note>>);
impl Observer for Notes {
    fn note(&self, note: Note) {
        self.0.lock().expect("whole").push(note);
    }
}

#[test]
fn a_message_for_a_link_that_was_left_is_gone() {
    run(async {
        let (a, b) = (End::new(On::Answer, Window::default()), End::new(On::Answer, Window::default()));
        let notes = Arc::new(Notes::default());
        let link = join(&a.outlet(), &b.inlet(), Some(notes.clone()));
        open(|| inside(&a, |a, _| a.output.is_open())).await;
        let detached = match &notes.0.lock().expect("whole")[0] {
            Note::Reserved { outlet, .. } => outlet.upgrade().expect("there").detach(link.id()),
            other => panic!("{other:?}"),
        };
        assert!(within(detached).await.expect("answered").is_some());
        // the consumer does not know yet; its question reaches an outlet that knows the link no more
        assert_eq!(ask(&b, false, Ping(1)).await, Err(ControlError::Gone));
        assert_eq!(ask(&a, true, Ping(1)).await, Err(ControlError::MissingControl));
        notes.0.lock().expect("whole").clear();
    });
}
