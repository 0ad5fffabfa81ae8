//! What things cost, counted in allocations and bytes, so that a regression shows on any machine, loaded or not.
//!
//! The bounds are what was counted when they were written, and a little more; a change that needs more says why.

#[path = "support/counting.rs"]
mod counting;

use actix::prelude::*;
use counting::{LIVE, MADE};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context as Cx, Poll, Waker};
use std::time::Duration;
use versile_io::agent::listener::{self, ListenOptions};
use versile_io::agent::tcp::{self, TcpOptions};
use versile_io::component::stock::{Duplex as _, PartResult, Pull, Sink, Source};
use versile_io::component::{join, join_pair};
use versile_io::proto::link::Credit;
use versile_io::supervisor::Supervisor;

/// Gives numbers, then ends.
struct Numbers(u64);

impl Source for Numbers {
    type Out = u64;

    fn poll_pull(&mut self, _: Credit, _: &mut Cx<'_>) -> Poll<PartResult<Pull<u64>>> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Poll::Ready(Ok(Pull::Item(left)))
            }
            None => Poll::Ready(Ok(Pull::End { clean: true })),
        }
    }
}

/// Counts what comes.
#[derive(Default)]
struct Count(u64);

impl Sink for Count {
    type In = u64;

    fn consume(&mut self, _: u64) -> PartResult {
        self.0 += 1;
        Ok(())
    }
}

/// Allocations in which `items` pass one link on one arbiter.
async fn hops(items: u64) -> u64 {
    let before = MADE.load(Relaxed);
    let (outlet, _) = Numbers(items).start();
    let (inlet, done) = Count::default().start();
    join(&outlet, &inlet, None);
    let (sink, outcome) = done.await;
    assert!(outcome.is_clean());
    assert_eq!(sink.expect("the part").0, items);
    MADE.load(Relaxed) - before
}

/// Whether the last number was taken, and who waits for that.
type Taken = Rc<RefCell<(bool, Option<Waker>)>>;

/// Gives the next number when the last one was taken, as an echo does.
struct OneByOne(u64, Taken);

impl Source for OneByOne {
    type Out = u64;

    fn poll_pull(&mut self, _: Credit, cx: &mut Cx<'_>) -> Poll<PartResult<Pull<u64>>> {
        let mut taken = self.1.borrow_mut();
        if !std::mem::take(&mut taken.0) {
            taken.1 = Some(cx.waker().clone());
            return Poll::Pending;
        }
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Poll::Ready(Ok(Pull::Item(left)))
            }
            None => Poll::Ready(Ok(Pull::End { clean: true })),
        }
    }
}

/// Says when it has taken a number.
struct Takes(Taken);

impl Sink for Takes {
    type In = u64;

    fn consume(&mut self, _: u64) -> PartResult {
        let mut taken = self.0.borrow_mut();
        taken.0 = true;
        if let Some(waker) = taken.1.take() {
            waker.wake();
        }
        Ok(())
    }
}

/// Allocations in which `items` pass one link, each alone.
async fn alone(items: u64) -> u64 {
    let before = MADE.load(Relaxed);
    let taken = Taken::new(RefCell::new((true, None)));
    let (outlet, _) = OneByOne(items, taken.clone()).start();
    let (inlet, done) = Takes(taken).start();
    join(&outlet, &inlet, None);
    assert!(done.await.1.is_clean());
    MADE.load(Relaxed) - before
}

async fn small_messages() {
    alone(1_000).await;
    let (few, many) = (alone(1_000).await, alone(11_000).await);
    let each = (many - few) as f64 / 10_000.0;
    println!("{each:.3} allocations for an item that goes alone");
    // its envelope and its place in the mailbox; a grant would take as much again (rule C1: it is no message)
    assert!(each <= 2.1, "{each} allocations for an item that goes alone");
}

/// One test: the counts are the process's.
#[test]
fn counted() {
    System::new().block_on(async {
        items_on_one_arbiter().await;
        small_messages().await;
        connections().await;
    });
}

async fn items_on_one_arbiter() {
    hops(1_000).await;
    let (few, many) = (hops(10_000).await, hops(110_000).await);
    let per_item = (many - few) as f64 / 100_000.0;
    println!("{per_item:.4} allocations an item, {few} for a link of 10,000");
    // a batch of 64 takes its vector, its envelope and a place in the mailbox; a grant takes the last two
    assert!(per_item <= 0.075, "{per_item} allocations for one item over one link");
}

async fn connections() {
    for supervised in [false, true] {
        // far ends in this process cost one readiness of tokio's each, which is taken off
        let far = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let to = far.local_addr().expect("bound");
        let bound = listener::tcp(([127, 0, 0, 1], 0).into(), ListenOptions::default()).expect("bound");
        let at = bound.local().socket_addr().expect("an address");
        let supervisor = Supervisor::current();
        let listening = bound.start(move |accepted| {
            let options = TcpOptions::default();
            let left = accepted.into_stream(&options).expect("accepted");
            let right = tcp::connect(to.ip().to_string(), to.port(), options);
            let ((right, _), (left, _)) = (right.start(), left.start());
            join_pair(&right, &left, supervised.then(|| supervisor.observer()));
        });
        let mut idle = Vec::new();
        let mut figures = Vec::new();
        for _ in 0..2 {
            let (made, live) = (MADE.load(Relaxed), LIVE.load(Relaxed));
            for _ in 0..200 {
                let near = std::net::TcpStream::connect(at).expect("connected");
                let (served, _) = far.accept().await.expect("relayed");
                idle.push((near, served.into_std().expect("no longer watched")));
            }
            // whatever is still under way is over when nothing is allocated any more
            let mut seen = 0;
            while std::mem::replace(&mut seen, MADE.load(Relaxed)) != seen {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            figures.push(((MADE.load(Relaxed) - made) as f64 / 200.0, (LIVE.load(Relaxed) - live) as f64 / 200.0));
        }
        // the first round fills what is kept for later
        let (made, live) = figures[1];
        println!(
            "supervised {supervised}: {made:.1} allocations to set a connection up, {live:.0} bytes while it is idle"
        );
        let (most_made, most_live) = if supervised { (93.0, 6_950.0) } else { (76.0, 5_900.0) };
        assert!(made <= most_made, "{made} allocations, {most_made} are allowed");
        assert!(live <= most_live, "{live} bytes, {most_live} are allowed");
        listening.stop().await;
    }
}
