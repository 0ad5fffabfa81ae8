//! Splices of two-way components: both directions or neither, between sockets, under load in both directions, across arbiters,
//! several at once.

#[path = "support/elsewhere.rs"]
mod elsewhere;
mod support;
#[path = "support/tape.rs"]
mod tape;

use actix::prelude::*;
use bytes::{Bytes, BytesMut};
use elsewhere::on;
use futures_util::future::join_all;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use support::{run, within};
use tape::Tape;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use versile_io::agent::tcp;
use versile_io::component::message::PartState;
use versile_io::component::stock::{Duplex, Outcome, Sink};
use versile_io::component::{AddrExt, ComponentId, Inlet, InletEvent, Outlet, OutletEvent, PairRef};
use versile_io::proto::link::{LinkId, Reason, Window};
use versile_io::supervisor::{SpliceFailure, Supervisor};
use versile_io::wire;

const DRAIN: Duration = Duration::from_secs(10);

/// A two-way codec: cuts both streams into frames, and holds the beginning of the next of each.
struct Codec {
    near_in: Inlet<Bytes>,
    near_out: Outlet<Bytes>,
    far_in: Inlet<Bytes>,
    far_out: Outlet<Bytes>,
    name: Arc<str>,
    frame: usize,
    strict: bool,
    ways: [Half; 2],
}

/// What is inside, of one direction.
#[derive(Default)]
struct Half {
    waiting: VecDeque<Bytes>,
    partial: BytesMut,
    frames: VecDeque<Bytes>,
    end: Option<bool>,
}

impl Actor for Codec {
    type Context = Context<Self>;
}

wire!(Codec {
    inlet near_in: Bytes => on_near;
    outlet near_out: Bytes => on_room;
    inlet far_in: Bytes => on_far;
    outlet far_out: Bytes => on_room;
    settled => is_empty;
    flush => give_rest;
    state => take, put;
    name => own_name;
});

impl Codec {
    fn begin(name: &str, frame: usize, strict: bool) -> (PairRef<Bytes>, PairRef<Bytes>) {
        let inlet = || Inlet::holding(Window { quantity: 64 * 1024, messages: 64 });
        let addr = Codec {
            near_in: inlet(),
            near_out: Outlet::default(),
            far_in: inlet(),
            far_out: Outlet::default(),
            name: name.into(),
            frame,
            strict,
            ways: Default::default(),
        };
        let addr = addr.start();
        let near = PairRef { inlet: addr.inlet_at::<0>(), outlet: addr.outlet_at::<0>() };
        (near, PairRef { inlet: addr.inlet_at::<1>(), outlet: addr.outlet_at::<1>() })
    }

    fn on_near(&mut self, event: InletEvent<Bytes>, ctx: &mut Context<Self>) {
        self.came(0, event, ctx);
    }

    fn on_far(&mut self, event: InletEvent<Bytes>, ctx: &mut Context<Self>) {
        self.came(1, event, ctx);
    }

    fn on_room(&mut self, _: OutletEvent, ctx: &mut Context<Self>) {
        self.pump(ctx);
    }

    fn came(&mut self, way: usize, event: InletEvent<Bytes>, ctx: &mut Context<Self>) {
        match event {
            InletEvent::Item(item) => self.ways[way].waiting.push_back(item),
            InletEvent::End { clean } => self.ways[way].end = Some(clean),
            _ => return,
        }
        self.pump(ctx);
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        for way in 0..2 {
            let (inlet, outlet) = match way {
                0 => (&mut self.near_in, &mut self.far_out),
                _ => (&mut self.far_in, &mut self.near_out),
            };
            let half = &mut self.ways[way];
            while outlet.is_ready() {
                if let Some(frame) = half.frames.pop_front() {
                    outlet.push(frame).expect("ready");
                } else if let Some(item) = half.waiting.pop_front() {
                    inlet.release(item.len() as u64, 1);
                    half.partial.extend_from_slice(&item);
                    while half.partial.len() >= self.frame {
                        half.frames.push_back(half.partial.split_to(self.frame).freeze());
                    }
                } else if let Some(clean) = half.end {
                    outlet.push(half.partial.split().freeze()).expect("ready");
                    outlet.end(clean);
                } else {
                    break;
                }
            }
            if outlet.ended().is_some() {
                inlet.complete();
            }
        }
        if self.near_out.ended().is_some() && self.far_out.ended().is_some() {
            ctx.stop();
        }
    }

    fn is_empty(&mut self) -> bool {
        let empty = |half: &Half| half.waiting.is_empty() && half.frames.is_empty();
        self.ways.iter().all(empty) && !self.near_out.has_work() && !self.far_out.has_work()
    }

    fn give_rest(&mut self, ctx: &mut Context<Self>) -> Result<(), Reason> {
        if self.strict && self.ways.iter().any(|half| !half.partial.is_empty()) {
            return Err(Reason::Requested("a frame has begun".into()));
        }
        for half in &mut self.ways {
            let rest = half.partial.split().freeze();
            half.frames.push_back(rest);
        }
        self.pump(ctx);
        Ok(())
    }

    fn take(&mut self) -> Option<PartState> {
        let parts = [0, 1].map(|way| self.ways[way].partial.split());
        Some(Box::new((self.frame, parts)))
    }

    fn put(&mut self, state: PartState) -> Result<(), PartState> {
        let state = state.downcast::<(usize, [BytesMut; 2])>().map_err(|other| other as PartState)?;
        if state.0 != self.frame {
            return Err(state);
        }
        let (_, parts) = *state;
        for (half, part) in self.ways.iter_mut().zip(parts) {
            half.partial = part;
        }
        Ok(())
    }

    fn own_name(&self) -> Arc<str> {
        self.name.clone()
    }
}

/// A peer of an agent: sends until it is told to stop, and verifies what it receives, to the end of both.
async fn peer(stream: TcpStream, stop: Arc<AtomicBool>, moved: Arc<AtomicU64>) -> (Tape, Tape) {
    let (mut read, mut write) = stream.into_split();
    let sends = actix_rt::spawn(async move {
        let mut sent = Tape::default();
        let mut random = fastrand::Rng::with_seed(5);
        while !stop.load(Relaxed) {
            let piece = sent.give(random.u64(1..30_000));
            write.write_all(&piece).await.expect("written");
            tokio::task::yield_now().await;
        }
        write.shutdown().await.expect("half-closed");
        sent
    });
    let mut received = Tape::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = read.read(&mut buffer).await.expect("read");
        if n == 0 {
            return (sends.await.expect("sent"), received);
        }
        received.take(&buffer[..n]).expect("in order");
        moved.fetch_add(n as u64, Relaxed);
    }
}

type Peer = actix_rt::task::JoinHandle<(Tape, Tape)>;

/// Two sockets joined by agents of two arbiters, with traffic both ways.
struct Load {
    supervisor: Supervisor,
    stop: Arc<AtomicBool>,
    moved: [Arc<AtomicU64>; 2],
    peers: [Peer; 2],
    agents: Vec<oneshot::Receiver<Outcome>>,
    there: LinkId,
    back: LinkId,
}

async fn connection() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let connects = TcpStream::connect(listener.local_addr().expect("bound"));
    let (ours, accepted) = tokio::join!(connects, listener.accept());
    (ours.expect("connected"), accepted.expect("accepted").0.into_std().expect("a socket"))
}

impl Load {
    async fn begin(arbiters: &[Arbiter]) -> Self {
        let supervisor = Supervisor::start();
        let (stop, moved) = (Arc::new(AtomicBool::new(false)), [Arc::default(), Arc::default()]);
        let (mut pairs, mut peers, mut agents) = (Vec::new(), Vec::new(), Vec::new());
        for (n, arbiter) in arbiters[..2].iter().enumerate() {
            let (ours, theirs) = connection().await;
            let (pair, done) = on(&arbiter.handle(), move || {
                let stream = TcpStream::from_std(theirs).expect("a socket");
                let name = if n == 0 { "a" } else { "b" };
                let agent = tcp::from_stream(stream, &Default::default()).expect("a socket").named(name);
                let (pair, done) = agent.start();
                let (tx, rx) = oneshot::channel();
                // the part cannot leave its arbiter, what became of it can
                actix_rt::spawn(async move { tx.send(done.await.1) });
                (pair, rx)
            })
            .await;
            peers.push(actix_rt::spawn(peer(ours, stop.clone(), Arc::clone(&moved[n]))));
            pairs.push(pair);
            agents.push(done);
        }
        let (there, back) = supervisor.attach_pair(&pairs[0], &pairs[1]).await.expect("attached");
        let Ok(peers) = peers.try_into() else { panic!("two") };
        Self { supervisor, stop, moved, peers, agents, there, back }
    }

    /// Data passes in both directions.
    async fn flows(&self) {
        let before = [0, 1].map(|n| self.moved[n].load(Relaxed));
        support::until("data passes both ways", || (0..2).all(|n| self.moved[n].load(Relaxed) > before[n])).await;
    }

    /// What was sent has arrived, in both directions, and both agents ended clean.
    async fn finish(self) -> u64 {
        self.stop.store(true, Relaxed);
        let [a, b] = self.peers;
        let long = Duration::from_secs(60);
        let (a, b) = tokio::time::timeout(long, async { (a.await, b.await) }).await.expect("in time");
        let ((a_sent, a_received), (b_sent, b_received)) = (a.expect("no panic"), b.expect("no panic"));
        assert_eq!(a_sent.sum(), b_received.sum());
        assert_eq!(b_sent.sum(), a_received.sum());
        for agent in self.agents {
            let outcome = within(agent).await.expect("told");
            assert!(outcome.is_clean(), "{outcome}");
        }
        a_sent.at + b_sent.at
    }

    async fn id(&self, name: &str) -> ComponentId {
        self.supervisor.snapshot().await.component(name).expect("in the chain")
    }

    async fn links(&self, from: &str, to: &str) -> (LinkId, LinkId) {
        let snapshot = self.supervisor.snapshot().await;
        let link = |from: &str, to: &str| {
            let live = |l: &&versile_io::supervisor::LinkView| !l.outlet.is_terminal() && !l.inlet.is_terminal();
            let ends = |l: &&versile_io::supervisor::LinkView| {
                snapshot.name(l.producer) == from && snapshot.name(l.consumer) == to
            };
            snapshot.links.iter().filter(live).find(ends).map(|l| l.id)
        };
        (link(from, to).expect("a link"), link(to, from).expect("a link"))
    }
}

fn arbiters(n: usize) -> Vec<Arbiter> {
    (0..n).map(|_| Arbiter::new()).collect()
}

fn stop(arbiters: Vec<Arbiter>) {
    for arbiter in arbiters {
        arbiter.stop();
        arbiter.join().expect("no panic");
    }
}

async fn codec(arbiter: &Arbiter, name: &str, frame: usize) -> (PairRef<Bytes>, PairRef<Bytes>) {
    let name = name.to_owned();
    on(&arbiter.handle(), move || Codec::begin(&name, frame, false)).await
}

/// What is between `a` and `b`, and what is made of it at random.
struct Random {
    random: fastrand::Rng,
    order: Vec<String>,
    made: usize,
}

/// One splice that can be made.
#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(usize),
    Remove(usize),
    Replace(usize),
}

impl Random {
    fn draw(&mut self) -> Op {
        let last = self.order.len() - 1;
        match self.random.u8(0..3) {
            0 if last < 5 => Op::Insert(self.random.usize(1..=last)),
            1 if last > 1 => Op::Remove(self.random.usize(1..last)),
            _ if last > 1 => Op::Replace(self.random.usize(1..last)),
            _ => Op::Insert(1),
        }
    }

    async fn splice(&mut self, load: &Load, arbiters: &[Arbiter]) -> Duration {
        let op = self.draw();
        let arbiter = &arbiters[self.random.usize(0..arbiters.len())];
        let frame = if self.random.bool() { 1000 } else { self.random.usize(1..5000) };
        self.made += 1;
        let name = format!("codec-{}", self.made);
        let spliced = match op {
            Op::Insert(at) => {
                let (near, far) = codec(arbiter, &name, frame).await;
                let (there, back) = load.links(&self.order[at - 1], &self.order[at]).await;
                let done = load.supervisor.insert_pair(there, back, &near, &far).await;
                self.order.insert(at, name);
                done
            }
            Op::Remove(at) => {
                let old = self.order.remove(at);
                load.supervisor.remove(load.id(&old).await, DRAIN).await
            }
            Op::Replace(at) => {
                let (near, far) = codec(arbiter, &name, frame).await;
                let old = std::mem::replace(&mut self.order[at], name);
                let neighbour = load.id(&self.order[at - 1]).await;
                load.supervisor.replace_pair(load.id(&old).await, neighbour, &near, &far, DRAIN).await
            }
        };
        let spliced = spliced.unwrap_or_else(|failure| panic!("{op:?}: {failure}"));
        assert_eq!(spliced.links.len(), if matches!(op, Op::Remove(_)) { 2 } else { 4 });
        spliced.pause
    }
}

#[test]
fn random_splices_between_sockets_lose_nothing_in_either_direction() {
    let splices: usize = std::env::var("VERSILE_SPLICES").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let seed: u64 = std::env::var("VERSILE_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(11);
    run(async move {
        println!("VERSILE_SEED={seed}");
        let arbiters = arbiters(3);
        let load = Load::begin(&arbiters).await;
        let order = vec!["a".into(), "b".into()];
        let mut random = Random { random: fastrand::Rng::with_seed(seed), order, made: 0 };
        let mut pauses = Vec::new();
        for n in 0..splices {
            if n % 8 == 0 {
                load.flows().await;
            }
            pauses.push(random.splice(&load, &arbiters).await);
        }
        let bytes = load.finish().await;
        pauses.sort();
        println!("{splices} splices both ways, {bytes} bytes, median pause {:?}", pauses[splices / 2]);
        stop(arbiters);
    });
}

#[test]
fn splices_at_once_in_different_places_are_all_made() {
    run(async {
        let arbiters = arbiters(3);
        let load = Load::begin(&arbiters).await;
        // a - c0 - c1 - ... - c6 - b
        let mut before = "a".to_owned();
        for n in 0..7 {
            let (near, far) = codec(&arbiters[n % 3], &format!("c{n}"), 700).await;
            let (there, back) = load.links(&before, "b").await;
            load.supervisor.insert_pair(there, back, &near, &far).await.expect("spliced");
            before = format!("c{n}");
        }
        load.flows().await;
        // c1 and its neighbours, c4 and its neighbours, and the link from c6 to b: nothing in common
        let (near, far) = codec(&arbiters[0], "d1", 700).await;
        let (near_2, far_2) = codec(&arbiters[1], "d6", 300).await;
        let (there, back) = load.links("c6", "b").await;
        let (neighbour, c1, c4) = (load.id("c0").await, load.id("c1").await, load.id("c4").await);
        let (replaced, removed, inserted) = tokio::join!(
            load.supervisor.replace_pair(c1, neighbour, &near, &far, DRAIN),
            load.supervisor.remove(c4, DRAIN),
            load.supervisor.insert_pair(there, back, &near_2, &far_2),
        );
        for done in [replaced, removed, inserted] {
            done.expect("spliced");
        }
        // two of one component: one is made, the other is busy or comes too late
        let c2 = load.id("c2").await;
        let both = join_all([load.supervisor.remove(c2, DRAIN), load.supervisor.remove(c2, DRAIN)]).await;
        assert_eq!(both.iter().filter(|done| done.is_ok()).count(), 1, "{both:?}");
        assert!(both.iter().any(|done| matches!(done, Err(SpliceFailure::Busy | SpliceFailure::NotThere))), "{both:?}");
        drop((near, far, near_2, far_2));
        load.flows().await;
        load.finish().await;
        stop(arbiters);
    });
}

/// Takes everything, as if it were not there.
struct Discard;

impl Sink for Discard {
    type In = Bytes;
    fn consume(&mut self, _: Bytes) -> Result<(), Reason> {
        Ok(())
    }
}

#[test]
fn a_new_component_of_which_one_port_is_taken_leaves_both_directions_as_they_were() {
    run(async {
        let arbiters = arbiters(2);
        let load = Load::begin(&arbiters).await;
        load.flows().await;
        let (near, far) = Codec::begin("taken", 10, false);
        let (other, _other) = Discard.start();
        // its last step towards the way back: all else is parted and attached by then
        load.supervisor.attach(&near.outlet, &other).await.expect("attached");
        let failure = load.supervisor.insert_pair(load.there, load.back, &near, &far).await.expect_err("taken");
        assert!(matches!(failure, SpliceFailure::Refused(_)), "{failure}");
        load.flows().await;
        drop((near, far, other));
        load.finish().await;
        stop(arbiters);
    });
}

#[test]
fn a_codec_that_cannot_give_a_partial_frame_stays_in_both_directions() {
    run(async {
        let arbiters = arbiters(2);
        let load = Load::begin(&arbiters).await;
        let (near, far) = Codec::begin("strict", 999_983, true);
        load.supervisor.insert_pair(load.there, load.back, &near, &far).await.expect("spliced");
        drop((near, far));
        load.flows().await;
        let strict = load.id("strict").await;
        let failure = load.supervisor.remove(strict, DRAIN).await.expect_err("it holds a frame");
        assert!(matches!(failure, SpliceFailure::CannotDrain { .. }), "{failure}");
        load.flows().await;
        // one that agrees on the state can take its place
        let (near, far) = Codec::begin("successor", 999_983, true);
        load.supervisor.replace_pair(strict, load.id("a").await, &near, &far, DRAIN).await.expect("handed over");
        drop((near, far));
        load.flows().await;
        load.finish().await;
        stop(arbiters);
    });
}

#[test]
fn links_that_are_not_each_others_reverse_are_not_spliced_as_a_pair() {
    run(async {
        let arbiters = arbiters(2);
        let load = Load::begin(&arbiters).await;
        let (near, far) = Codec::begin("new", 10, false);
        for (there, back) in [(load.there, load.there), (load.back, load.back)] {
            let failure = load.supervisor.insert_pair(there, back, &near, &far).await.expect_err("no pair");
            assert!(matches!(failure, SpliceFailure::NotThere), "{failure}");
        }
        load.supervisor.insert_pair(load.there, load.back, &near, &far).await.expect("spliced");
        let (new, stranger) = (load.id("new").await, load.id("new").await);
        let (near_2, far_2) = Codec::begin("newer", 10, false);
        // not a neighbour; and a two-way component has no single way to replace
        let failure = load.supervisor.replace_pair(new, stranger, &near_2, &far_2, DRAIN).await.expect_err("itself");
        assert!(matches!(failure, SpliceFailure::NotThere), "{failure}");
        let failure = load.supervisor.replace(new, &near_2.inlet, &far_2.outlet, DRAIN).await.expect_err("two ways");
        assert!(matches!(failure, SpliceFailure::NotThere), "{failure}");
        drop((near, far, near_2, far_2));
        load.flows().await;
        load.finish().await;
        stop(arbiters);
    });
}
