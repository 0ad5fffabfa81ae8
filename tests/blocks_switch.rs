//! The switch: goes to the stand-by when a consumer is lost, back when it is told to, and counts what is lost.

#[path = "support/flow.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod flow;
#[macro_use]
#[path = "support/inside.rs"]
mod inside;
mod support;

use actix::prelude::*;
use bytes::Bytes;
use flow::*;
use inside::inside;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use support::{run, until, within};
use versile_io::component::block::*;
use versile_io::component::stock::{Done, Outcome, PartResult, Sink, Source};
use versile_io::component::writer::ByteWriter;
use versile_io::component::{AddrExt, Outlet, OutletEvent, OutletRef, join};
use versile_io::proto::link::{Count, Reason};
use versile_io::supervisor::{Supervisor, Target};
use versile_io::wire;

struct Head {
    output: Outlet<u32>,
}
impl Actor for Head {
    type Context = Context<Self>;
}
wire!(Head {
    outlet output: u32 => on_output;
});
inside!(Head);
impl Head {
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {}
}

/// Numbers as they come. Fails, or panics, at one of them; finishes with each at once, or never.
#[derive(Clone, Default)]
struct Take {
    got: Arc<Mutex<Vec<u32>>>,
    fails_at: Option<u32>,
    panics: bool,
    holds: bool,
    held: u64,
}
impl Sink for Take {
    type In = u32;
    fn consume(&mut self, item: u32) -> PartResult {
        if self.fails_at == Some(item) {
            assert!(!self.panics, "it was made to");
            return Err(Reason::Requested("it was made to".into()));
        }
        self.held += u64::from(self.holds);
        self.got.lock().expect("not poisoned").push(item);
        Ok(())
    }
    fn held(&self) -> Count {
        Count { quantity: self.held, messages: self.held }
    }
    fn poll_progress(&mut self, _: &mut TaskContext<'_>) -> Poll<PartResult> {
        if self.holds { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}
impl Take {
    fn got(&self) -> Vec<u32> {
        self.got.lock().expect("not poisoned").clone()
    }
    /// Starts a consumer at this outlet, and waits until it is attached.
    async fn at(&self, outlet: &OutletRef<u32>) -> Done<Self> {
        let (inp, done) = self.clone().start();
        Supervisor::current().attach(outlet, &inp).await.expect("attached");
        done
    }
}

/// Sends these one by one, and each has been taken by one of the two before the next goes.
async fn send(head: &Addr<Head>, numbers: std::ops::Range<u32>, takers: [&Take; 2]) {
    for n in numbers {
        inside(head, move |head, _| head.output.push(n).expect("room")).await;
        until("taken", || takers.iter().any(|t| t.got().contains(&n) || t.fails_at == Some(n))).await;
    }
}

fn started(when_back: WhenBack) -> (Addr<Head>, Switch<u32>) {
    let head = Head { output: Outlet::default() }.start();
    let switch = switch(when_back);
    join(&head.outlet(), &switch.inlet, None);
    (head, switch)
}

#[test]
fn primary_lost_the_data_goes_on_to_the_stand_by_and_what_was_lost_is_counted() {
    run(async {
        for panics in [false, true] {
            let (head, switch) = started(WhenBack::Stay);
            let (first, second) = (Take { fails_at: Some(5), panics, ..Take::default() }, Take::default());
            let lost = first.at(&switch.primary).await;
            let done = second.at(&switch.standby).await;
            send(&head, 0..6, [&first, &second]).await;
            assert!(matches!(within(lost).await.1, Outcome::Aborted(_)));
            until("switched", || switch.handle.lane() == Lane::Standby).await;
            send(&head, 6..9, [&first, &second]).await;
            assert_eq!((first.got(), second.got()), ((0..5).collect(), (6..9).collect()));
            assert_eq!((switch.handle.lost(), switch.handle.switched()), (1, 1), "5 is lost");
            inside(&head, |head, _| head.output.end(true)).await;
            drop((head, switch));
            assert!(matches!(within(done).await.1, Outcome::Ended { clean: false }), "something was lost");
        }
    });
}

#[test]
fn primary_lost_while_it_holds_what_it_has_not_finished_with_is_lost() {
    run(async {
        let (head, switch) = started(WhenBack::Stay);
        let (first, second) = (Take { fails_at: Some(5), holds: true, ..Take::default() }, Take::default());
        let lost = first.at(&switch.primary).await;
        send(&head, 0..6, [&first, &second]).await;
        assert!(matches!(within(lost).await.1, Outcome::Aborted(_)));
        until("counted", || switch.handle.lost() == 6).await;
        // there is no stand-by yet: what comes waits for it
        inside(&head, |head, _| head.output.push(6).expect("room")).await;
        let done = second.at(&switch.standby).await;
        send(&head, 7..9, [&first, &second]).await;
        assert_eq!(second.got(), [6, 7, 8]);
        inside(&head, |head, _| head.output.end(true)).await;
        drop((head, switch));
        assert!(matches!(within(done).await.1, Outcome::Ended { clean: false }));
    });
}

#[test]
fn primary_back_the_data_returns_to_it_or_stays() {
    run(async {
        for when_back in [WhenBack::Stay, WhenBack::Return] {
            let (head, switch) = started(when_back);
            let (first, second) = (Take { fails_at: Some(0), ..Take::default() }, Take::default());
            let lost = first.at(&switch.primary).await;
            let done = second.at(&switch.standby).await;
            send(&head, 0..1, [&first, &second]).await;
            assert!(matches!(within(lost).await.1, Outcome::Aborted(_)));
            until("switched", || switch.handle.lane() == Lane::Standby).await;
            send(&head, 1..3, [&first, &second]).await;
            let again = Take::default();
            let back = again.at(&switch.primary).await;
            let to = if when_back == WhenBack::Return { Lane::Primary } else { Lane::Standby };
            until("there", || switch.handle.lane() == to).await;
            send(&head, 3..6, [&again, &second]).await;
            let (at_first, at_second) = if to == Lane::Primary { (3..6, 1..3) } else { (0..0, 1..6) };
            assert_eq!((again.got(), second.got()), (at_first.collect(), at_second.collect()), "{when_back:?}");
            inside(&head, |head, _| head.output.end(true)).await;
            drop((head, switch));
            for done in [done, back] {
                assert!(matches!(within(done).await.1, Outcome::Ended { clean: false }));
            }
        }
    });
}

#[test]
fn told_to_it_switches_at_a_definite_item_and_nothing_is_lost() {
    run(async {
        let (head, switch) = started(WhenBack::Stay);
        let (first, second) = (Take::default(), Take::default());
        let one = first.at(&switch.primary).await;
        let ask = |lane| inside(&head, move |head, _| head.output.ask(SwitchTo { lane }));
        assert_eq!(within(ask(Lane::Standby).await).await, Ok(None), "nobody is attached there");
        let two = second.at(&switch.standby).await;
        let mut at = 0;
        for round in 0..20_u32 {
            let lane = if round % 2 == 0 { Lane::Standby } else { Lane::Primary };
            // the question goes behind what was pushed before it
            let count = u64::from(round) * 7 % 5;
            let answer = inside(&head, move |head, _| {
                (0..count).for_each(|_| head.output.push(round).expect("room"));
                head.output.ask(SwitchTo { lane })
            })
            .await;
            at += count;
            assert_eq!(within(answer).await, Ok(Some(at)));
        }
        inside(&head, |head, _| head.output.end(true)).await;
        assert_eq!((switch.handle.lost(), switch.handle.switched()), (0, 20));
        drop((head, switch));
        assert!(within(one).await.1.is_clean() && within(two).await.1.is_clean());
        assert!(first.got().iter().all(|round| round % 2 == 0), "{:?}", first.got());
        assert!(second.got().iter().all(|round| round % 2 == 1), "{:?}", second.got());
        assert_eq!(first.got().len() + second.got().len(), usize::try_from(at).expect("small"));
    });
}

#[test]
fn both_lost_the_switch_is_aborted() {
    run(async {
        let (head, switch) = started(WhenBack::Stay);
        let takers = [3, 6].map(|n| Take { fails_at: Some(n), ..Take::default() });
        let lost = [takers[0].at(&switch.primary).await, takers[1].at(&switch.standby).await];
        send(&head, 0..4, [&takers[0], &takers[1]]).await;
        until("switched", || switch.handle.lane() == Lane::Standby).await;
        send(&head, 4..7, [&takers[0], &takers[1]]).await;
        until("aborted", || !head.connected()).await;
        assert!(!switch.handle.switch_to(Lane::Primary), "it is gone");
        assert_eq!(takers[1].got(), [4, 5]);
        drop((switch, lost));
    });
}

#[test]
fn no_piece_of_bytes_is_split_between_two_consumers_and_the_counts_agree() {
    run(async {
        tokio::time::pause();
        for piece in [1, 997, 65_536] {
            let total = if piece == 1 { 4_000 } else { 900_000 };
            let fails_at = total / 3;
            let feed = Feed::new(total, piece);
            let ill = Drain { fail_at: fails_at, ..Drain::slow(&feed.produced) };
            let well = Drain { sparse: true, ..Drain::new(&Arc::new(AtomicU64::new(u64::MAX))) };
            let ((out, _), (ill, ill_done), (well, well_done)) = (feed.start(), ill.start(), well.start());
            let switch = switch::<Bytes>(WhenBack::Stay);
            let handle = switch.handle.clone();
            join(&switch.primary, &ill, None);
            join(&switch.standby, &well, None);
            join(&out, &switch.inlet, None);
            drop((out, ill, well, switch));
            assert!(matches!(in_time(ill_done).await.1, Outcome::Aborted(_)));
            let (well, outcome) = in_time(well_done).await;
            assert!(matches!(outcome, Outcome::Ended { clean: false }), "{outcome}");
            let got = well.expect("the part").position;
            // what the first had finished with, what is lost, and what the second got
            let finished = total - got - handle.lost();
            assert!(finished <= fails_at && handle.lost() > 0, "{finished} finished, {} lost", handle.lost());
            // a piece may have come to the switch in parts, by the credit of its window; it goes on as it came
            assert!(handle.lost() <= 4096 + 4096 + piece.max(16 << 10), "{} lost", handle.lost());
        }
    });
}

#[test]
fn supervised_an_abort_of_the_primary_ends_at_the_switch_and_of_the_switch_takes_all() {
    run(async {
        let supervisor = Supervisor::start();
        let (writer, outlet, written) = ByteWriter::start("writer", 1000);
        let switch = switch::<Bytes>(WhenBack::Stay);
        supervisor.attach(&outlet, &switch.inlet).await.expect("attached");
        let sink = || Drain { sparse: true, ..Drain::new(&Arc::new(AtomicU64::new(u64::MAX))) };
        let (first, second) = (sink(), sink());
        let seen = second.seen.clone();
        let ((first, first_done), (second, second_done)) = (first.start(), second.start());
        let link = supervisor.attach(&switch.primary, &first).await.expect("attached");
        supervisor.attach(&switch.standby, &second).await.expect("attached");
        drop((outlet, first, second));
        assert_eq!(supervisor.abort(Target::ChainOf(link), "maintenance").await, 1);
        assert!(matches!(within(first_done).await.1, Outcome::Aborted(_)));
        until("switched", || switch.handle.lane() == Lane::Standby).await;
        writer.write("abc").await.expect("taken");
        until("it comes", || seen.load(Relaxed) == 3).await;
        let members = supervisor.snapshot().await;
        let id = members.component("switch").expect("it lives");
        assert_eq!(supervisor.abort(Target::ChainWith(id), "all").await, 3);
        assert!(matches!(within(second_done).await.1, Outcome::Aborted(_)));
        assert!(matches!(within(written).await.1, Outcome::Aborted(_)));
    });
}
