//! A chain of stock components on one arbiter and across three: data arrives whole, ends are carried, aborts reach all.

mod support;

use actix::prelude::*;
use bytes::Bytes;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use support::{run, within};
use versile_io::component::join;
use versile_io::component::stock::{Filter, Outbox, Outcome, PartResult, Pull, Sink, Source};
use versile_io::component::writer::ByteWriter;
use versile_io::proto::link::{Cause, Credit, Reason};

struct Numbers(u64);
impl Source for Numbers {
    type Out = Bytes;
    fn poll_pull(&mut self, credit: Credit, _: &mut TaskContext<'_>) -> Poll<PartResult<Pull<Bytes>>> {
        if self.0 == 0 {
            return Poll::Ready(Ok(Pull::End { clean: true }));
        }
        let n = credit.quantity.min(4000).min(self.0);
        self.0 -= n;
        Poll::Ready(Ok(Pull::Item(vec![7u8; n as usize].into())))
    }
}
struct Double;
impl Filter for Double {
    type In = Bytes;
    type Out = Bytes;
    fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
        out.push(item.clone());
        out.push(item);
        Ok(())
    }
}
#[derive(Default)]
struct Total {
    bytes: u64,
    fail_at: Option<u64>,
    panic_at: Option<u64>,
    causes: Vec<Arc<Cause>>,
}
impl Sink for Total {
    type In = Bytes;
    fn consume(&mut self, item: Bytes) -> PartResult {
        self.bytes += item.len() as u64;
        if self.panic_at.is_some_and(|at| self.bytes > at) {
            panic!("as the test asked");
        }
        match self.fail_at {
            Some(at) if self.bytes > at => Err(Reason::Requested("enough".into())),
            _ => Ok(()),
        }
    }
    fn aborted(&mut self, cause: &Arc<Cause>) {
        self.causes.push(cause.clone());
    }
}

#[test]
fn a_chain_delivers_all_and_leaves_nothing() {
    run(async {
        let (out, source) = Numbers(10_000_000).start();
        let (fin, fout, filter) = Double.start();
        let (inp, sink) = Total::default().start();
        join(&out, &fin, None);
        join(&fout, &inp, None);
        drop((out, fin, fout, inp));
        let (total, outcome) = within(sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(total.expect("the part").bytes, 20_000_000);
        assert!(within(source).await.1.is_clean());
        assert!(within(filter).await.1.is_clean());
    });
}

#[test]
fn a_failing_sink_aborts_the_whole_chain_with_one_cause() {
    run(async {
        let (out, source) = Numbers(u64::MAX).start();
        let (fin, fout, filter) = Double.start();
        let (inp, sink) = Total { fail_at: Some(1_000_000), ..Total::default() }.start();
        join(&out, &fin, None);
        join(&fout, &inp, None);
        drop((out, fin, fout, inp));
        let (total, outcome) = within(sink).await;
        assert_eq!(total.expect("the part").causes.len(), 1);
        for outcome in [outcome, within(source).await.1, within(filter).await.1] {
            let Outcome::Aborted(cause) = outcome else { panic!("{outcome}") };
            assert_eq!(cause.to_string(), "Total: aborted on request: enough");
        }
    });
}

#[test]
fn a_panic_in_a_sink_ends_its_chain_and_no_other() {
    run(async {
        let (out, source) = Numbers(u64::MAX).start();
        let (inp, _sink) = Total { panic_at: Some(1_000_000), ..Total::default() }.start();
        join(&out, &inp, None);
        let (out2, _source2) = Numbers(5_000_000).start();
        let (inp2, sink2) = Total::default().start();
        join(&out2, &inp2, None);
        drop((out, inp, out2, inp2));
        let Outcome::Aborted(cause) = within(source).await.1 else { panic!("aborted") };
        assert_eq!(cause.to_string(), "Total: panicked: as the test asked");
        assert_eq!(within(sink2).await.0.expect("the part").bytes, 5_000_000);
    });
}

#[test]
fn a_chain_over_three_arbiters_delivers_all() {
    run(async {
        let arbiters: Vec<Arbiter> = (0..2).map(|_| Arbiter::new()).collect();
        let (tx, rx) = tokio::sync::oneshot::channel();
        arbiters[0].spawn(async move {
            let (out, done) = Numbers(30_000_000).start();
            let _ = tx.send(out);
            drop(done);
        });
        let out = rx.await.expect("started");
        let (tx, rx) = tokio::sync::oneshot::channel();
        arbiters[1].spawn(async move {
            let (fin, fout, _) = Double.start();
            let _ = tx.send((fin, fout));
        });
        let (fin, fout) = rx.await.expect("started");
        let (inp, sink) = Total::default().start();
        join(&out, &fin, None);
        join(&fout, &inp, None);
        drop((out, fin, fout, inp));
        let (total, outcome) = within(sink).await;
        assert!(outcome.is_clean(), "{outcome}");
        assert_eq!(total.expect("the part").bytes, 60_000_000);
        arbiters.iter().for_each(|a| {
            a.stop();
        });
    });
}

#[test]
fn a_writer_waits_while_full_and_ends_unclean_when_dropped() {
    run(async {
        let (writer, out, _done) = ByteWriter::start("writer", 1000);
        writer.try_write(vec![1; 600]).expect("room");
        assert!(writer.try_write(vec![1; 600]).is_err(), "full");
        let (inp, sink) = Total::default().start();
        join(&out, &inp, None);
        let offset = within(writer.write(vec![1; 600])).await.expect("written");
        within(writer.wait_flushed(offset)).await.expect("flushed");
        drop(writer);
        let (total, outcome) = within(sink).await;
        assert!(matches!(outcome, Outcome::Ended { clean: false }), "{outcome}");
        assert_eq!(total.expect("the part").bytes, 1200);
    });
}
