//! The memory budget on running chains. (Its rule under seeded schedules: `src/proto/budget/pool/tests.rs`.)

#[path = "support/supervisor.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod supervisor;
mod support;

use actix::prelude::*;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context as Task, Poll};
use std::time::Duration;
use supervisor::{Check, Pattern, forgotten};
use support::{run, until, within};
use versile_io::component::budget::{Budget, Priority};
use versile_io::component::stock::{PartResult, Pull, Sink, Source};
use versile_io::component::{AddrExt, Inlet, InletEvent, InletRef, OutletRef, join};
use versile_io::proto::budget::Standing;
use versile_io::proto::link::{Credit, Limit, LinkCell, LinkState, Window};
use versile_io::supervisor::{Finding, Supervisor, Target};
use versile_io::wire;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Long beside what a machine with other work needs for a thousand chains; nobody waits for it.
const LONG: Duration = Duration::from_secs(120);

/// Sums up what is outstanding from the links' cells alone, at each step of each of its components: it knows nothing of the
/// budget's own count. For one arbiter, where nothing moves while it looks.
#[derive(Clone, Default)]
struct Watch(Rc<WatchState>);

#[derive(Default)]
struct WatchState {
    cells: RefCell<Vec<Arc<LinkCell>>>,
    budget: RefCell<Option<Budget>>,
    most: Cell<u64>,
    looks: Cell<u64>,
    all: Cell<u64>,
}

impl Watch {
    fn of(budget: &Budget) -> Self {
        let watch = Self::default();
        *watch.0.budget.borrow_mut() = Some(budget.clone());
        watch
    }

    fn add(&self, cell: &Arc<LinkCell>) {
        self.0.cells.borrow_mut().push(cell.clone());
    }

    fn outstanding(cell: &LinkCell) -> u64 {
        match cell.inlet_state() {
            LinkState::Open => cell.limit().credit(cell.accepted()).quantity.saturating_add(cell.held()),
            _ => cell.held(),
        }
    }

    fn look(&self) -> u64 {
        let state = &self.0;
        let sum = state.cells.borrow().iter().fold(0u64, |sum, cell| sum.saturating_add(Self::outstanding(cell)));
        if let Some(budget) = &*state.budget.borrow() {
            let counted = budget.outstanding();
            assert!(sum <= counted, "the cells say {sum}, the budget says {counted}");
            assert!(sum <= budget.total(), "{sum} outstanding of {}", budget.total());
            assert!(budget.peak() <= budget.total());
        }
        state.most.set(state.most.get().max(sum));
        state.looks.set(state.looks.get() + 1);
        state.all.set(state.all.get() + sum);
        sum
    }
}

/// Gives bytes as fast as they are taken, in pieces of 16 KiB, and ends clean when none are left.
struct Gives {
    left: u64,
    watch: Watch,
    /// How often its credit rose.
    refills: Arc<AtomicU64>,
    /// What it had when it was asked last.
    credit: u64,
}

impl Source for Gives {
    type Out = Bytes;
    fn poll_pull(&mut self, credit: Credit, _: &mut Task<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        self.watch.look();
        if credit.quantity > std::mem::replace(&mut self.credit, credit.quantity) {
            self.refills.fetch_add(1, Relaxed);
        }
        if self.left == 0 {
            return Poll::Ready(Ok(Pull::End { clean: true }));
        }
        static ZEROES: [u8; 16 * 1024] = [0; 16 * 1024];
        let size = self.left.min(credit.quantity).min(16 * KIB);
        self.left -= size;
        self.credit -= size;
        Poll::Ready(Ok(Pull::Item(Bytes::from_static(&ZEROES[..size as usize]))))
    }
}

/// Takes all that comes, and finishes with it at once.
struct Takes {
    got: Arc<AtomicU64>,
    watch: Watch,
}

impl Sink for Takes {
    type In = Bytes;
    fn consume(&mut self, item: Bytes) -> PartResult {
        self.got.fetch_add(item.len() as u64, Relaxed);
        self.watch.look();
        Ok(())
    }
}

/// Takes what comes, and finishes with nothing before it is freed.
struct Stuck {
    input: Inlet<Bytes>,
    freed: bool,
}

impl Actor for Stuck {
    type Context = Context<Self>;
}

wire!(Stuck { inlet input: Bytes => on_input; });

impl Stuck {
    fn begin() -> Addr<Self> {
        Stuck { input: Inlet::holding(Window::default()), freed: false }.start()
    }

    fn on_input(&mut self, event: InletEvent<Bytes>, ctx: &mut Context<Self>) {
        if self.freed {
            self.input.release_all();
            if let InletEvent::End { .. } = event {
                self.input.complete();
                ctx.stop();
            }
        }
    }
}

/// How much it has finished with from now on.
#[derive(Message)]
#[rtype(result = "()")]
struct Free(u64);

impl Handler<Free> for Stuck {
    type Result = ();
    fn handle(&mut self, Free(quantity): Free, _: &mut Context<Self>) {
        self.freed = quantity == u64::MAX;
        let held = self.input.held();
        let quantity = quantity.min(held.quantity);
        self.input.release(quantity, if self.freed { held.messages } else { 0 });
    }
}

fn gives(total: u64, watch: &Watch) -> OutletRef<Bytes> {
    gives_counted(total, watch).0
}

fn gives_counted(total: u64, watch: &Watch) -> (OutletRef<Bytes>, Arc<AtomicU64>) {
    let refills = Arc::new(AtomicU64::new(0));
    (Gives { left: total, watch: watch.clone(), refills: refills.clone(), credit: 0 }.start().0, refills)
}

fn takes(watch: &Watch) -> (InletRef<Bytes>, Arc<AtomicU64>) {
    let got = Arc::new(AtomicU64::new(0));
    (Takes { got: got.clone(), watch: watch.clone() }.start().0, got)
}

async fn end(supervisor: &Supervisor, budget: &Budget) {
    supervisor.abort(Target::All, "done").await;
    within(forgotten(supervisor)).await;
    until("all came back", || budget.outstanding() == 0 && budget.links() == 0).await;
}

/// The must-show of the budget.
#[test]
fn a_thousand_chains_under_64_mib_with_500_stuck_keep_the_budget_and_the_other_500_finish() {
    run(async {
        let (supervisor, budget) = (Supervisor::start(), Budget::new(64 * MIB));
        supervisor.set_budget(budget.clone());
        let watch = Watch::of(&budget);
        let each = MIB;
        let mut done = Vec::new();
        let mut stuck = Vec::new();
        for n in 0..1000 {
            let outlet = gives(each, &watch);
            let link = if n % 2 == 0 {
                let sink = Stuck::begin();
                let link = join(&outlet, &sink.inlet(), Some(supervisor.observer()));
                stuck.push(sink);
                link
            } else {
                let (inlet, got) = takes(&watch);
                done.push(got);
                join(&outlet, &inlet, Some(supervisor.observer()))
            };
            watch.add(link.cell());
        }
        let finished = tokio::time::timeout(LONG, async {
            while done.iter().any(|got| got.load(Relaxed) < each) {
                watch.look();
                tokio::task::yield_now().await;
            }
        });
        finished.await.expect("the other 500 finish");
        let held = watch.look();
        println!(
            "1,000 chains, 500 stuck, budget {} KiB: at most {} KiB outstanding by the cells in {} looks, {} KiB by the budget; \
             the stuck hold {} KiB",
            budget.total() / KIB,
            watch.0.most.get() / KIB,
            watch.0.looks.get(),
            budget.peak() / KIB,
            held / KIB
        );
        assert!(watch.0.most.get() > 8 * MIB, "they were under way at once");
        assert!(watch.0.looks.get() > 500 * each / (256 * KIB));
        drop(stuck);
        end(&supervisor, &budget).await;
    });
}

/// Without a budget the same chains have four times as much outstanding: the look would have seen it.
#[test]
fn without_a_budget_a_thousand_chains_have_their_windows() {
    run(async {
        let (supervisor, budget) = (Supervisor::start(), Budget::new(64 * MIB));
        let watch = Watch::default();
        let mut stuck = Vec::new();
        for _ in 0..1000 {
            let sink = Stuck::begin();
            watch.add(join(&gives(u64::MAX, &watch), &sink.inlet(), Some(supervisor.observer())).cell());
            stuck.push(sink);
        }
        until("they are stuck", || watch.look() == 1000 * 256 * KIB).await;
        assert!(watch.0.most.get() > 3 * budget.total());
        assert_eq!(supervisor.snapshot().await.budget, None);
        drop(stuck);
        end(&supervisor, &budget).await;
    });
}

/// What a fast chain has outstanding, in the mean over each time that it is asked for data, beside `slow` chains, each of
/// which moves 512 bytes while it moves 1.25 MiB. It moves 64 MiB, so that the budget is turned over some times.
async fn mean_beside(slow: usize) -> u64 {
    let (supervisor, budget) = (Supervisor::start(), Budget::new(32 * MIB));
    supervisor.set_budget(budget.clone());
    let (watch, quiet, own) = (Watch::of(&budget), Watch::default(), Watch::default());
    let mut sinks = Vec::new();
    for _ in 0..slow {
        let sink = Stuck::begin();
        watch.add(join(&gives(u64::MAX, &quiet), &sink.inlet(), Some(supervisor.observer())).cell());
        sinks.push(sink);
    }
    let total = 64 * MIB;
    let outlet = gives(total, &own);
    let (inlet, got) = takes(&quiet);
    let link = join(&outlet, &inlet, Some(supervisor.observer()));
    watch.add(link.cell());
    own.add(link.cell());
    drop((outlet, inlet, link));
    let moving = async {
        let mut round = 0;
        while got.load(Relaxed) < total {
            while round < got.load(Relaxed) / (128 * KIB) {
                sinks.iter().skip(round as usize % 10).step_by(10).for_each(|sink| sink.do_send(Free(512)));
                watch.look();
                round += 1;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, moving).await.expect("in time");
    drop(sinks);
    end(&supervisor, &budget).await;
    own.0.all.get() / own.0.looks.get()
}

/// A chain moves as far in a turn as it is granted, so what it has outstanding tells what it keeps of its rate. Steps are looked
/// at, and no time.
#[test]
fn a_fast_chain_among_a_thousand_slow_ones_keeps_half_of_its_rate() {
    run(async {
        let (alone, beside) = (mean_beside(0).await, mean_beside(1000).await);
        println!("{alone} bytes under way alone, {beside} beside 1,000 slow chains");
        assert!(alone <= 256 * KIB && beside >= alone / 2, "{beside} instead of {alone}");
    });
}

/// Sinks that moved before they were stuck hold more than those that never did, and here they take all but the reserve.
#[test]
fn a_chain_moves_on_though_a_thousand_got_stuck_one_after_the_other() {
    run(async {
        let (supervisor, budget) = (Supervisor::start(), Budget::new(8 * MIB));
        supervisor.set_budget(budget.clone());
        let (watch, quiet) = (Watch::of(&budget), Watch::default());
        let mut stuck = Vec::new();
        for _ in 0..1000 {
            let sink = Stuck::begin();
            let link = join(&gives(u64::MAX, &quiet), &sink.inlet(), Some(supervisor.observer()));
            watch.add(link.cell());
            // it moves a few rounds, doubling what it is given if there is enough
            for _ in 0..8 {
                sink.send(Free(256 * KIB)).await.expect("alive");
                tokio::task::yield_now().await;
            }
            watch.look();
            stuck.push(sink);
        }
        let stuck_at = watch.look();
        let (outlet, refills) = gives_counted(MIB, &watch);
        let (inlet, got) = takes(&watch);
        watch.add(join(&outlet, &inlet, Some(supervisor.observer())).cell());
        let moving = async {
            while got.load(Relaxed) < MIB {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, moving).await.expect("the last one has all");
        let refills = refills.load(Relaxed);
        println!("{} of {} KiB stuck; 1 MiB in {refills} grants", stuck_at / KIB, budget.total() / KIB);
        assert!(stuck_at > budget.total() / 2, "they took what they could: {stuck_at}");
        // the guarantee of each of 1,000 is 256 bytes
        assert!(refills <= MIB / 256 + 1, "{refills} grants");
        drop((stuck, outlet, inlet));
        end(&supervisor, &budget).await;
    });
}

#[test]
fn chains_of_higher_priority_are_given_more() {
    run(async {
        let budget = Budget::new(4 * MIB);
        let (low, high) = (Supervisor::start(), Supervisor::start());
        low.set_budget(budget.with_priority(Priority::LOW));
        high.set_budget(budget.with_priority(Priority::NORMAL));
        let quiet = Watch::default();
        let mut cells = [Vec::new(), Vec::new()];
        let (mut last, mut sinks) = (None, Vec::new());
        for n in 0..80 {
            let side = n % 2;
            let supervisor = if side == 0 { &low } else { &high };
            let sink = Stuck::begin();
            let link = join(&gives(u64::MAX, &quiet), &sink.inlet(), Some(supervisor.observer()));
            cells[side].push(link.cell().clone());
            last = Some(link.id());
            sinks.push(sink);
        }
        // each finishes with a part of what it has, again and again
        for round in 0..1000u64 {
            sinks.iter().for_each(|sink| sink.do_send(Free(2000 + round % 7)));
            tokio::task::yield_now().await;
        }
        let [few, many] = cells.map(|cells| cells.iter().map(|cell| Watch::outstanding(cell)).sum::<u64>() / 40);
        println!("{few} bytes at low priority, {many} at four times as much");
        assert!(many > 2 * few && many < 6 * few, "{few} and {many}");
        let last = last.expect("some");
        assert_eq!(high.set_priority(Target::Link(last), Priority::HIGH).await, 1);
        assert_eq!(high.set_priority(Target::All, Priority::HIGH).await, 40);
        assert_eq!(low.set_priority(Target::Link(last), Priority::HIGH).await, 1, "one budget");
        assert!(!Budget::new(1).set_priority(last, Priority::HIGH));
        drop(sinks);
        low.abort(Target::All, "done").await;
        within(forgotten(&low)).await;
        end(&high, &budget).await;
    });
}

#[test]
fn what_a_component_had_comes_back_when_it_dies() {
    run(async {
        let (supervisor, budget) = (Supervisor::start(), Budget::new(MIB));
        supervisor.set_budget(budget.clone());
        let sink = Stuck::begin();
        let link = join(&gives(u64::MAX, &Watch::default()), &sink.inlet(), Some(supervisor.observer()));
        until("it holds all that it was given", || link.cell().held() == 16 * KIB).await;
        assert_eq!((budget.outstanding(), budget.links()), (16 * KIB, 1));
        // a panic outside a hook: the actor is dropped by its arbiter
        let (id, cell) = (link.id(), link.cell().clone());
        supervisor.abort(Target::ChainOf(id), "dies").await;
        until("it comes back", || budget.outstanding() == 0 && budget.links() == 0).await;
        assert!(cell.cause().is_some());
        drop((sink, link));
        end(&supervisor, &budget).await;
    });
}

#[test]
fn what_is_held_counts_through_a_detach_and_against_the_next_attachment() {
    run(async {
        let (supervisor, budget) = (Supervisor::start(), Budget::new(MIB));
        supervisor.set_budget(budget.clone());
        let quiet = Watch::default();
        let (sink, first, second) = (Stuck::begin(), gives(u64::MAX, &quiet), gives(u64::MAX, &quiet));
        let link = supervisor.attach(&first, &sink.inlet()).await.expect("attached");
        until("it holds all that it was given", || budget.outstanding() == 16 * KIB).await;
        sink.do_send(Free(0));
        let at = supervisor.detach(link).await.expect("detached");
        assert_eq!(at.quantity, 16 * KIB);
        assert_eq!((budget.outstanding(), budget.standing(link)), (16 * KIB, Some(Standing::Served)));
        sink.do_send(Free(10 * KIB));
        until("a release without a link is heard of", || budget.outstanding() == 6 * KIB).await;
        let again = supervisor.attach(&second, &sink.inlet()).await.expect("attached");
        let cell = |of: &versile_io::supervisor::Snapshot| of.links.iter().find(|l| l.id == again).map(|l| l.held);
        within(async {
            while cell(&supervisor.snapshot().await) < Some(16 * KIB) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(budget.standing(link), None);
        assert!(budget.standing(again).is_some());
        let view = supervisor.snapshot().await;
        let held = view.links.iter().map(|link| link.held).sum::<u64>();
        assert_eq!(view.budget.map(|budget| (budget.outstanding, budget.links)), Some((held, 1)));
        // all of it, and then it is free
        sink.do_send(Free(u64::MAX));
        supervisor.detach(again).await.expect("detached");
        until("nothing is held", || budget.outstanding() == 0 && budget.links() == 0).await;
        drop((sink, first, second));
        end(&supervisor, &budget).await;
    });
}

/// An owner that grants without a bound on quantity, and one that does not grant by itself.
struct Manual {
    input: Inlet<Bytes>,
    got: Arc<AtomicU64>,
}

impl Actor for Manual {
    type Context = Context<Self>;
}

wire!(Manual { inlet input: Bytes => on_input; });

impl Manual {
    fn on_input(&mut self, event: InletEvent<Bytes>, _: &mut Context<Self>) {
        match event {
            InletEvent::Attached => self.input.grant(Credit { quantity: Limit::UNLIMITED, messages: 1 << 40 }),
            InletEvent::Item(item) => {
                self.got.fetch_add(item.len() as u64, Relaxed);
            }
            _ => {}
        }
    }
}

#[test]
fn unlimited_by_hand_keeps_the_budget_and_its_owner_notices_nothing() {
    run(async {
        let (supervisor, budget) = (Supervisor::start(), Budget::new(100 * KIB));
        supervisor.set_budget(budget.clone());
        let watch = Watch::of(&budget);
        let got = Arc::new(AtomicU64::new(0));
        let sink = Manual { input: Inlet::manual(), got: got.clone() }.start();
        let link = join(&gives(3 * MIB, &watch), &sink.inlet(), Some(supervisor.observer()));
        watch.add(link.cell());
        until("all of it came", || got.load(Relaxed) == 3 * MIB).await;
        assert!(watch.0.most.get() > 16 * KIB && budget.peak() <= 100 * KIB, "{}", watch.0.most.get());
        drop((sink, link));
        end(&supervisor, &budget).await;
    });
}

#[test]
fn one_that_has_nothing_goes_on_when_another_is_gone_and_is_named_until_then() {
    run(async {
        let (supervisor, budget) = (Supervisor::start(), Budget::new(1));
        supervisor.set_budget(budget.clone());
        let quiet = Watch::default();
        let sink = Stuck::begin();
        let first = join(&gives(u64::MAX, &quiet), &sink.inlet(), Some(supervisor.observer()));
        until("the only byte is held", || first.cell().held() == 1).await;
        let (inlet, got) = takes(&quiet);
        let second = join(&gives(50, &quiet), &inlet, Some(supervisor.observer()));
        until("it waits", || budget.waiting() == 1).await;
        assert_eq!(budget.standing(second.id()), Some(Standing::Waiting));
        let found = within(async {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let verdict = supervisor.blame(Target::ChainOf(second.id())).await;
                if verdict.finding == Finding::Budget {
                    return verdict;
                }
            }
        })
        .await;
        assert!(found.to_string().starts_with("the memory budget is short for `Takes`: "), "{found}");
        let text = supervisor.snapshot().await.to_string();
        assert!(text.contains("  waits for budget\n") && text.contains("budget 1 of 1 outstanding, "), "{text}");
        assert_eq!(got.load(Relaxed), 0);
        supervisor.abort(Target::ChainOf(first.id()), "it holds the only byte").await;
        until("it goes on, byte by byte", || got.load(Relaxed) == 50).await;
        drop((sink, inlet, first, second));
        end(&supervisor, &budget).await;
    });
}

/// A link that is not under the budget, and one that was there before it.
#[test]
fn only_links_that_are_attached_afterwards_fall_under_it() {
    run(async {
        let (supervisor, budget) = (Supervisor::start(), Budget::new(64 * KIB));
        let quiet = Watch::default();
        let (before, alone, after) = (Stuck::begin(), Stuck::begin(), Stuck::begin());
        let early = join(&gives(u64::MAX, &quiet), &before.inlet(), Some(supervisor.observer()));
        until("it is stuck", || early.cell().held() == 256 * KIB).await;
        supervisor.set_budget(budget.clone());
        let elsewhere = Supervisor::start();
        let other = join(&gives(u64::MAX, &quiet), &alone.inlet(), Some(elsewhere.observer()));
        let late = join(&gives(u64::MAX, &quiet), &after.inlet(), Some(supervisor.observer()));
        until("they are stuck", || other.cell().held() == 256 * KIB && late.cell().held() > 0).await;
        assert_eq!(budget.links(), 1);
        assert_eq!((budget.standing(early.id()), budget.standing(other.id())), (None, None));
        // it holds what it had, and comes under the budget with its next attachment: what it held is not charged
        let source = gives(u64::MAX, &quiet);
        supervisor.detach(early.id()).await.expect("detached");
        supervisor.attach(&source, &before.inlet()).await.expect("attached");
        until("it joined", || budget.links() == 2).await;
        assert!(budget.outstanding() <= 64 * KIB);
        before.do_send(Free(256 * KIB));
        until("it is given something", || budget.outstanding() > late.cell().held()).await;
        drop((before, alone, after, early, other, late, source));
        elsewhere.abort(Target::All, "done").await;
        within(forgotten(&elsewhere)).await;
        end(&supervisor, &budget).await;
    });
}

/// Chains on four arbiters and five supervisors under one small budget: every byte arrives, in order, and the sum is kept.
#[test]
fn one_budget_holds_over_arbiters_and_supervisors() {
    for (total, size) in [(300, 3_000), (64 * KIB, 400_000), (20, 400)] {
        run(async move {
            let budget = Budget::new(total);
            let hub = Supervisor::start();
            hub.set_budget(budget.clone());
            let mut done = Vec::new();
            let mut ends = Vec::new();
            for n in 0..4u64 {
                let (arbiter, budget, hub) = (Arbiter::new(), budget.clone(), hub.clone());
                let (tx, rx) = tokio::sync::oneshot::channel();
                arbiter.spawn(async move {
                    let own = Supervisor::start();
                    own.set_budget(budget);
                    let mut all = Vec::new();
                    for m in 0..6 {
                        let seed = n * 100 + m;
                        let (out, _) = Pattern::new(seed, size).start();
                        let (inp, finished) = Check::new(seed).start();
                        let supervisor = if m % 2 == 0 { &own } else { &hub };
                        supervisor.attach(&out, &inp).await.expect("attached");
                        all.push(finished);
                    }
                    let mut clean = 0;
                    for finished in all {
                        let (sink, outcome) = finished.await;
                        clean += u64::from(outcome.is_clean() && sink.is_some_and(|sink| sink.at == size));
                    }
                    tx.send(clean).expect("somebody waits");
                });
                done.push(rx);
                ends.push(arbiter);
            }
            for one in done {
                let clean = tokio::time::timeout(LONG, one).await.expect("in time");
                assert_eq!(clean.expect("told"), 6);
                assert!(budget.outstanding() <= total);
            }
            println!("{total} bytes for 24 chains of {size}: at most {}", budget.peak());
            assert!(budget.peak() <= total && budget.peak() > total / 2);
            until("all came back", || budget.outstanding() == 0 && budget.links() == 0).await;
            for arbiter in ends {
                arbiter.stop();
                tokio::task::spawn_blocking(move || arbiter.join()).await.expect("joined").expect("stopped");
            }
        });
    }
}
