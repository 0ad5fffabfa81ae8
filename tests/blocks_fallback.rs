//! The fallback: the stand-by's data when the primary producer is lost, and ends that say whether the data is complete.

#[path = "support/flow.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod flow;
#[path = "support/items.rs"]
mod items;
mod support;

use flow::{Collect, in_time, quiet};
use items::Items;
use std::task::{Context as TaskContext, Poll};
use support::{run, until, within};
use versile_io::component::block::*;
use versile_io::component::join;
use versile_io::component::stock::{Outcome, PartResult, Pull, Sink, Source};
use versile_io::proto::link::{Credit, Reason};
use versile_io::supervisor::{Supervisor, Target};

/// Numbers up to one at which it fails, or panics.
struct Fails {
    next: u32,
    at: u32,
    panics: bool,
}
impl Source for Fails {
    type Out = u32;
    fn poll_pull(&mut self, _: Credit, _: &mut TaskContext<'_>) -> Poll<PartResult<Pull<u32>>> {
        if self.next == self.at {
            assert!(!self.panics, "it was made to");
            return Poll::Ready(Err(Reason::Requested("it was made to".into())));
        }
        self.next += 1;
        Poll::Ready(Ok(Pull::Item(self.next - 1)))
    }
}

/// What comes of these two, in order, and how all ended: consumer, primary, stand-by.
async fn fed(primary: impl Source<Out = u32>, standby: impl Source<Out = u32>) -> (Vec<u32>, [Outcome; 3]) {
    let ((first, first_done), (second, second_done)) = (primary.start(), standby.start());
    let (inp, done) = Collect::default().start();
    let ports = fallback::<u32>();
    join(&second, &ports.standby, None);
    quiet().await;
    join(&ports.outlet, &inp, None);
    join(&first, &ports.primary, None);
    drop((first, second, inp, ports));
    let (collected, outcome) = in_time(done).await;
    (collected.expect("the part").0, [outcome, in_time(first_done).await.1, in_time(second_done).await.1])
}

#[test]
fn primary_lost_or_ended_unclean_the_data_of_the_stand_by_follows() {
    run(async {
        tokio::time::pause();
        for panics in [false, true] {
            let (got, [outcome, first, second]) =
                fed(Fails { next: 0, at: 0, panics }, Items::new(100..400, Some(true))).await;
            assert!(outcome.is_clean() && second.is_clean(), "the primary had given nothing: {outcome}");
            assert!(matches!(first, Outcome::Aborted(_)));
            assert!(got.into_iter().eq(100..400));
        }
        for clean in [true, false] {
            let (got, [outcome, first, second]) =
                fed(Items::new(0..50, Some(false)), Items::new(100..700, Some(clean))).await;
            assert!(matches!(outcome, Outcome::Ended { clean: false }), "{outcome}");
            assert!(matches!(first, Outcome::Ended { clean: false }), "{first}");
            assert!(matches!(second, Outcome::Ended { clean: c } if c == clean), "{second}");
            assert!(got.into_iter().eq((0..50).chain(100..700)), "all that had come of the first, then the second");
        }
    });
}

#[test]
fn primary_ended_clean_the_stand_by_is_not_needed() {
    run(async {
        tokio::time::pause();
        let (got, [outcome, first, second]) = fed(Items::new(0..500, Some(true)), Items::new(1000..1001, None)).await;
        assert!(outcome.is_clean() && first.is_clean(), "{outcome} {first}");
        assert!(got.into_iter().eq(0..500), "nothing of the stand-by");
        assert!(second.to_string().contains("the other producer was used"), "{second}");
    });
}

#[test]
fn both_lost_the_consumer_is_aborted() {
    run(async {
        tokio::time::pause();
        let fails = |at| Fails { next: 0, at, panics: false };
        let (_, [outcome, ..]) = fed(fails(0), fails(5)).await;
        assert!(outcome.to_string().contains("both producers of the fallback are lost"), "{outcome}");
    });
}

#[test]
fn supervised_an_abort_of_the_primary_ends_at_the_fallback() {
    run(async {
        let supervisor = Supervisor::start();
        let ((first, first_done), (second, _)) =
            (Items::new(0..5_u32, None).start(), Items::new(10..15, Some(true)).start());
        let (inp, done) = Collect::default().start();
        let ports = fallback::<u32>();
        supervisor.attach(&ports.outlet, &inp).await.expect("attached");
        supervisor.attach(&second, &ports.standby).await.expect("attached");
        let link = supervisor.attach(&first, &ports.primary).await.expect("attached");
        drop((first, second, inp, ports));
        let snapshot = || async { supervisor.snapshot().await.links.iter().map(|link| link.accepted).max() };
        while within(snapshot()).await != Some(5) {
            tokio::task::yield_now().await;
        }
        assert_eq!(supervisor.abort(Target::ChainOf(link), "maintenance").await, 1);
        assert!(matches!(within(first_done).await.1, Outcome::Aborted(_)));
        let (collected, outcome) = within(done).await;
        assert!(matches!(outcome, Outcome::Ended { clean: false }), "{outcome}");
        let got = collected.expect("the part").0;
        until("all", || got.len() == 10).await;
        assert_eq!(got, [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]);
    });
}
