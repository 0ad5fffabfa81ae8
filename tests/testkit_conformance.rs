//! Our own components pass the conformance kit: stock actors around simple parts, writers, channels, a socket.
#![cfg(feature = "testkit")]

#[path = "support/items.rs"]
mod items;

use actix::prelude::*;
use bytes::Bytes;
use items::Items;
use std::collections::VecDeque;
use std::task::{Context as Cx, Poll};
use versile_io::agent::unix::{self, UnixOptions};
use versile_io::component::channel::ByteChannel;
use versile_io::component::stock::{Directions, Duplex, Filter, Outbox, PartResult, Sink, Source};
use versile_io::component::writer::ByteWriter;
use versile_io::component::{AddrExt, Inlet, InletEvent, Outlet, OutletEvent};
use versile_io::proto::link::{Count, Rule, Window};
use versile_io::testkit::{Report, conformance};
use versile_io::wire;

/// It conforms, and these rules were really looked at.
fn conforms(report: &Report, judged: &[Rule]) {
    report.assert_conforms();
    assert_eq!(report.held(), judged, "\n{report}");
}

use Rule::*;
const OF_A_SOURCE: [Rule; 14] = [P1, P2, P3, P4, P5, P6, C1, E1, E2, A1, A2, A3, X1, M2];
const OF_A_LONG_SOURCE: [Rule; 15] = [P1, P2, P3, P4, P5, P6, C1, E1, E2, A1, A2, A3, X1, M2, F1];
const OF_A_SINK: [Rule; 15] = [P1, P3, P4, P5, C1, C2, C3, E2, A1, A2, A3, X1, M1, M2, F1];
const OF_A_FILTER: [Rule; 18] = [P1, P2, P3, P4, P5, P6, C1, C2, C3, E1, E2, A1, A2, A3, X1, M1, M2, F1];

#[test]
fn a_source_of_numbers_conforms() {
    let report = conformance::source(|| Items::new(0..5000_u32, Some(true)).start().0).run();
    conforms(&report, &OF_A_LONG_SOURCE);
}

#[test]
fn a_source_of_bytes_that_ends_unclean_conforms() {
    let pieces = || (1..90_usize).map(|n| Bytes::from(vec![n as u8; n * 7 % 300 + 1]));
    let report = conformance::source(move || Items::new(pieces(), Some(false)).start().0)
        .ends_unclean()
        .oracle(move |_| pieces().flatten().collect())
        .run();
    conforms(&report, &OF_A_SOURCE);
}

#[test]
fn a_byte_writer_conforms() {
    let report = conformance::source(|| {
        let (writer, outlet, _) = ByteWriter::start("writer", 50);
        actix_rt::spawn(async move {
            for n in 0..60_u8 {
                if writer.write(vec![n; usize::from(n) + 1]).await.is_err() {
                    return;
                }
            }
            writer.end(true);
        });
        outlet
    })
    .run();
    conforms(&report, &OF_A_SOURCE);
}

struct Double;
impl Filter for Double {
    type In = Bytes;
    type Out = Bytes;
    fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
        out.push(item.iter().flat_map(|byte| [*byte, *byte]).collect());
        Ok(())
    }
}

#[test]
fn a_filter_of_bytes_conforms() {
    let report = conformance::filter(|| {
        let (inlet, outlet, _) = Double.start();
        (inlet, outlet)
    })
    .oracle(|input| input.iter().flat_map(|byte| [*byte, *byte]).collect())
    .run();
    conforms(&report, &OF_A_FILTER);
}

struct Pass;
impl Filter for Pass {
    type In = u32;
    type Out = u32;
    fn apply(&mut self, item: u32, out: &mut Outbox<u32>) -> PartResult {
        out.push(item);
        Ok(())
    }
}

#[test]
fn a_filter_of_numbers_conforms() {
    let report = conformance::filter(|| {
        let (inlet, outlet, _) = Pass.start();
        (inlet, outlet)
    })
    .max_items(600)
    .run();
    conforms(&report, &OF_A_FILTER);
}

struct Quick;
impl Sink for Quick {
    type In = Bytes;
    fn consume(&mut self, _: Bytes) -> PartResult {
        Ok(())
    }
    fn window(&self) -> Window {
        Window { quantity: 1000, messages: 8 }
    }
}

#[test]
fn a_quick_sink_conforms() {
    conforms(&conformance::sink(|| Quick.start().0).run(), &OF_A_SINK);
}

/// Works off one item a millisecond.
#[derive(Default)]
struct Slow {
    waiting: VecDeque<u32>,
    timer: Option<std::pin::Pin<Box<tokio::time::Sleep>>>,
}
impl Sink for Slow {
    type In = u32;
    fn consume(&mut self, item: u32) -> PartResult {
        self.waiting.push_back(item);
        Ok(())
    }
    fn held(&self) -> Count {
        Count { quantity: self.waiting.len() as u64, messages: self.waiting.len() as u64 }
    }
    fn poll_progress(&mut self, cx: &mut Cx<'_>) -> Poll<PartResult> {
        while !self.waiting.is_empty() {
            let timer =
                self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(std::time::Duration::from_millis(1))));
            std::task::ready!(timer.as_mut().poll(cx));
            self.timer = None;
            self.waiting.pop_front();
        }
        Poll::Ready(Ok(()))
    }
    fn window(&self) -> Window {
        Window { quantity: 10, messages: 10 }
    }
}

#[test]
fn a_slow_sink_conforms() {
    conforms(&conformance::sink(|| Slow::default().start().0).run(), &OF_A_SINK);
}

/// The actor of `wire!`'s own example.
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
            InletEvent::Item(b) => drop(self.output.push(b.to_ascii_uppercase().into())),
            InletEvent::End { clean } => self.output.end(clean),
            _ => {}
        }
    }
    fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {
        self.input.grant(self.output.credit());
    }
}

#[test]
fn an_actor_of_ones_own_conforms() {
    let report = conformance::filter(|| {
        let actor = Upper { input: Inlet::manual(), output: Outlet::default() }.start();
        (actor.inlet(), actor.outlet())
    })
    .oracle(|input| input.to_ascii_uppercase())
    .run();
    conforms(&report, &OF_A_FILTER);
}

#[test]
fn a_byte_channel_conforms_as_a_sink() {
    let report = conformance::sink(|| {
        let (channel, pair, _) = ByteChannel::start("channel", 300);
        actix_rt::spawn(async move {
            channel.end(true);
            while let Ok(Some(_)) = channel.recv(100).await {}
        });
        pair.inlet
    })
    .run();
    conforms(&report, &OF_A_SINK);
}

/// The stock actor of all agents, on a real socket: its time is real while it waits for the kernel.
#[cfg(unix)]
#[test]
fn a_unix_socket_conforms_as_a_sink() {
    let report = conformance::sink(|| {
        let (ours, mut theirs) = tokio::net::UnixStream::pair().expect("a pair");
        actix_rt::spawn(async move { tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await });
        let stream = unix::from_stream(ours, &UnixOptions::default()).only(Directions::WriteOnly);
        stream.start().0.inlet
    })
    .run();
    conforms(&report, &OF_A_SINK);
}
