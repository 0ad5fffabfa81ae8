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
use supervisor::{Check, Pattern, forgotten};
use support::{run, until, within};
use versile_io::component::budget::{Budget, Priority};
use versile_io::component::stock::{PartResult, Pull, Sink, Source};
use versile_io::component::{AddrExt, Inlet, InletEvent, InletRef, OutletRef, join};
use versile_io::proto::budget::Standing;
use versile_io::proto::link::{Count, Credit, Limit, LinkCell, LinkState, Window};
use versile_io::supervisor::{Supervisor, Target};
use versile_io::wire;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

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
        sum
    }
}

/// Gives bytes as fast as they are taken, in pieces of 16 KiB, and ends clean at `total`.
struct Gives {
    left: u64,
    watch: Watch,
}

impl Source for Gives {
    type Out = Bytes;
    fn poll_pull(&mut self, credit: Credit, _: &mut Task<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        self.watch.look();
        if self.left == 0 {
            return Poll::Ready(Ok(Pull::End { clean: true }));
        }
        static ZEROES: [u8; 16 * 1024] = [0; 16 * 1024];
        let size = self.left.min(credit.quantity).min(16 * KIB);
        self.left -= size;
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
    Gives { left: total, watch: watch.clone() }.start().0
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
        let each = 2 * MIB;
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
        let finished = tokio::time::timeout(std::time::Duration::from_secs(60), async {
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
