//! Chaos: kill any component's actor, panic in any hook, drop an arbiter, at random under load. Every chain that does not
//! contain it finishes with the right hash; every chain that does is torn down on both sides with the right cause; and
//! components, links, descriptors, threads and the supervisor's graph return to what they were.
//!
//! `VERSILE_ROUNDS=10000` for as many rounds, `VERSILE_SEED` for another beginning, `VERSILE_FIRST` to start at a round that
//! failed. With rounds given, a teardown may take 100 ms from the fault, and what the machine itself was late; the short run of
//! every day is on a busy machine and allows 2 s.

#[path = "support/elsewhere.rs"]
mod elsewhere;
#[path = "support/supervisor.rs"]
#[expect(dead_code, reason = "shared by several tests")]
mod supervisor;
#[expect(dead_code, reason = "shared by several tests")]
mod support;

use actix::prelude::*;
use bytes::Bytes;
use elsewhere::on;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use supervisor::{Check, Fault, Hash, Mark, Pattern, byte_at, forgotten};
use support::{nothing_left, serial, until, within};
use tokio::sync::oneshot;
use versile_io::agent::{tcp, unix};
use versile_io::component::census::census;
use versile_io::component::stock::{Directions, Done, Duplex, Filter, Outbox, PartResult, Sink, Source};
use versile_io::component::writer::ByteWriter;
use versile_io::component::{AddrExt, Inlet, InletEvent, InletRef, Outlet, OutletEvent, OutletRef, join};
use versile_io::proto::link::{Cause, Reason};
use versile_io::supervisor::{Supervisor, Target};
use versile_io::wire;

/// How long a teardown may take from the fault on.
const STRICT: Duration = Duration::from_millis(100);

/// Rounds where nobody asks for a number.
const DAILY: u64 = 120;

/// Who was over, when, and with what cause.
type Told = (Arc<str>, Instant, Option<Arc<Cause>>);

/// What is told of a chain from inside its components.
#[derive(Debug, Default)]
struct Story {
    /// Each component that was aborted or dropped, with when and, if it was told, why.
    over: Mutex<Vec<Told>>,
    /// When the fault struck.
    struck: Arc<Mark>,
}

/// Tells the story when the component is over. Dropped with it.
struct Witness {
    name: Arc<str>,
    story: Arc<Story>,
    told: bool,
}

impl Witness {
    fn new(name: &Arc<str>, story: &Arc<Story>) -> Self {
        Self { name: name.clone(), story: story.clone(), told: false }
    }
    fn tell(&mut self, cause: Option<&Arc<Cause>>) {
        if !std::mem::replace(&mut self.told, true) {
            let entry = (self.name.clone(), Instant::now(), cause.cloned());
            self.story.over.lock().expect("not poisoned").push(entry);
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.tell(None);
    }
}

/// A stock filter that passes on, and fails or panics in the hook it was told to.
struct Pass {
    at: u64,
    fault: Option<Fault>,
    in_finish: bool,
    witness: Witness,
}
impl Filter for Pass {
    type In = Bytes;
    type Out = Bytes;
    fn apply(&mut self, item: Bytes, out: &mut Outbox<Bytes>) -> PartResult {
        self.at += item.len() as u64;
        if !self.in_finish {
            Fault::check(&self.fault, self.at, &self.witness.name)?;
        }
        out.push(item);
        Ok(())
    }
    fn finish(&mut self, clean: bool, _: &mut Outbox<Bytes>) -> PartResult<bool> {
        if self.in_finish {
            Fault::check(&self.fault, u64::MAX, &self.witness.name)?;
        }
        Ok(clean)
    }
    fn name(&self) -> Arc<str> {
        self.witness.name.clone()
    }
    fn aborted(&mut self, cause: &Arc<Cause>) {
        self.witness.tell(Some(cause));
    }
}

/// A custom actor that passes on and can be killed.
struct Relay {
    input: Inlet<Bytes>,
    output: Outlet<Bytes>,
    at: u64,
    fault: Option<(Fault, Way)>,
    witness: Witness,
}
/// How a custom actor goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Stop,
    Terminate,
    PanicInHook,
    PanicInCreditHook,
    PanicInHandler,
    PanicTwice,
}
impl Actor for Relay {
    type Context = Context<Self>;
}
wire!(Relay {
    inlet input: Bytes => on_input;
    outlet output: Bytes => on_output;
    aborted => on_abort;
    name => its_name;
});
#[derive(Message)]
#[rtype(result = "()")]
struct Die;
impl Handler<Die> for Relay {
    type Result = ();
    fn handle(&mut self, _: Die, _: &mut Context<Self>) {
        panic!("in a handler of its own");
    }
}
impl Relay {
    fn on_input(&mut self, event: InletEvent<Bytes>, ctx: &mut Context<Self>) {
        match event {
            InletEvent::Item(item) => {
                self.at += item.len() as u64;
                let _ = self.output.push(item);
                self.strike(ctx, false);
            }
            InletEvent::End { clean } => self.output.end(clean),
            _ => {}
        }
    }
    fn on_output(&mut self, _: OutletEvent, ctx: &mut Context<Self>) {
        self.strike(ctx, true);
        self.input.grant(self.output.credit());
    }
    fn strike(&mut self, ctx: &mut Context<Self>, on_credit: bool) {
        let Some((fault, way)) = &self.fault else { return };
        if self.at < fault.at || on_credit != (*way == Way::PanicInCreditHook) {
            return;
        }
        let (way, when) = (*way, fault.when.clone());
        when.set();
        match way {
            Way::Stop => ctx.stop(),
            Way::Terminate => ctx.terminate(),
            Way::PanicInHandler => ctx.notify(Die),
            _ => panic!("{} was made to", self.witness.name),
        }
        if !matches!(way, Way::PanicInHook) {
            self.fault = None;
        }
    }
    fn on_abort(&mut self, cause: &Arc<Cause>, _: &mut Context<Self>) {
        self.witness.tell(Some(cause));
        let twice = self.fault.as_ref().is_some_and(|(_, way)| *way == Way::PanicTwice);
        assert!(!twice, "in the aborted hook as well");
    }
    fn its_name(&self) -> Arc<str> {
        self.witness.name.clone()
    }
}

/// A source or sink of the support with a witness around it.
struct Watched<P> {
    part: P,
    witness: Witness,
}
impl Source for Watched<Pattern> {
    type Out = Bytes;
    fn poll_pull(
        &mut self,
        credit: versile_io::proto::link::Credit,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<PartResult<versile_io::component::stock::Pull<Bytes>>> {
        self.part.poll_pull(credit, cx)
    }
    fn name(&self) -> Arc<str> {
        self.witness.name.clone()
    }
    fn aborted(&mut self, cause: &Arc<Cause>) {
        self.witness.tell(Some(cause));
    }
}
impl Sink for Watched<Check> {
    type In = Bytes;
    fn consume(&mut self, item: Bytes) -> PartResult {
        self.part.consume(item)
    }
    fn poll_finish(&mut self, _: bool, _: &mut std::task::Context<'_>) -> std::task::Poll<PartResult> {
        if let Some(fault) = self.part.fault.as_ref().filter(|fault| fault.at == u64::MAX) {
            fault.when.set();
            panic!("{} was made to", self.witness.name);
        }
        std::task::Poll::Ready(Ok(()))
    }
    fn name(&self) -> Arc<str> {
        self.witness.name.clone()
    }
    fn aborted(&mut self, cause: &Arc<Cause>) {
        self.witness.tell(Some(cause));
    }
}

/// What strikes a chain.
#[derive(Clone, Debug, PartialEq)]
enum Strike {
    Nothing,
    /// In the component of this number, at a position.
    Component {
        number: usize,
        at: u64,
        panic: bool,
        way: Way,
        late: bool,
    },
    /// The supervisor is asked to, once the sink has come there.
    Abort(u64),
}

/// A chain that runs.
struct Running {
    seed: u64,
    total: u64,
    strike: Strike,
    victim: Arc<str>,
    on: Vec<usize>,
    /// There is a socket in the middle, which a cause does not cross.
    socket: bool,
    story: Arc<Story>,
    progress: Arc<supervisor::Progress>,
    sink: Done<Watched<Check>>,
    link: versile_io::proto::link::LinkId,
    _writer: Option<tokio::task::JoinHandle<()>>,
}

struct Chaos {
    random: fastrand::Rng,
    arbiters: Vec<Arbiter>,
    supervisor: Supervisor,
    round: u64,
    slowest: Duration,
    /// The same, less what the machine kept a thread waiting that wants nothing but to wake up.
    slowest_on_time: Duration,
    lateness: Lateness,
    over_100: usize,
    strikes: usize,
}

impl Chaos {
    async fn chain(&mut self, number: u64, struck: bool) -> Running {
        let r = &mut self.random;
        let (seed, total) = (r.u64(..), r.u64(1..300_000));
        let middle: Vec<usize> = (0..r.usize(0..4)).map(|_| r.usize(0..2)).collect();
        let (writer, socket) = (r.u8(0..4) == 0, r.u8(0..3));
        let parts = middle.len() + 2;
        let strike = match (struck, r.usize(0..8)) {
            (false, _) => Strike::Nothing,
            (true, 0) => Strike::Abort(r.u64(0..=total / 2)),
            (true, _) => {
                let ways = [
                    Way::Stop,
                    Way::Terminate,
                    Way::PanicInHook,
                    Way::PanicInCreditHook,
                    Way::PanicInHandler,
                    Way::PanicTwice,
                ];
                Strike::Component {
                    // a writer has no hook to fail in
                    number: r.usize(usize::from(writer)..parts),
                    at: r.u64(0..=total),
                    panic: r.bool(),
                    way: ways[r.usize(..ways.len())],
                    late: r.u8(0..4) == 0,
                }
            }
        };
        let story = Arc::new(Story::default());
        let on_arbiter: Vec<usize> = (0..parts).map(|_| r.usize(0..self.arbiters.len())).collect();
        let by_join = r.bool();
        let name = |n: usize| -> Arc<str> { format!("{}.{number}.{n}", self.round).into() };
        let fault_of = |n: usize| match &strike {
            Strike::Component { number, at, panic, way, late } if *number == n => {
                let fault = Fault { at: *at, panic: *panic, when: story.struck.clone() };
                Some((fault, *way, *late))
            }
            _ => None,
        };
        let at = |n: usize| self.arbiters[on_arbiter[n]].handle();
        let witness = |n: usize| Witness::new(&name(n), &story);

        // the source
        let mut task = None;
        let mut tail: OutletRef<Bytes> = if writer {
            let label = name(0);
            let (writer, out) = on(&at(0), move || {
                let (writer, out, _) = ByteWriter::start(label, 10_000);
                (writer, out)
            })
            .await;
            let mut sizes = fastrand::Rng::with_seed(seed);
            task = Some(tokio::task::spawn_local(async move {
                let mut sent = 0;
                while sent < total {
                    let size = sizes.u64(1..5000).min(total - sent);
                    let piece: Vec<u8> = (sent..sent + size).map(|at| byte_at(seed, at)).collect();
                    sent += size;
                    if writer.write(piece).await.is_err() {
                        return;
                    }
                }
                writer.end(true);
            }));
            out
        } else {
            let (fault, witness) = (fault_of(0).map(|(fault, ..)| fault), witness(0));
            let part = Pattern { fault, name: witness.name.clone(), ..Pattern::new(seed, total) };
            on(&at(0), move || Watched { part, witness }.start().0).await
        };

        // what is in between
        let socket_at = (socket > 0).then(|| self.random.usize(0..=middle.len()));
        let mut joints: Vec<(OutletRef<Bytes>, InletRef<Bytes>)> = Vec::new();
        for n in 1..parts {
            if socket_at == Some(n - 1) {
                let (near, far) = (at(n - 1), at(n));
                let label = name(n);
                let (inp, out) = if socket == 1 {
                    through_unix(&near, &far, label).await
                } else {
                    through_tcp(&near, &far, label).await
                };
                joints.push((std::mem::replace(&mut tail, out), inp));
            }
            if n == parts - 1 {
                break;
            }
            let (fault, witness) = (fault_of(n), witness(n));
            let (inp, out) = match middle[n - 1] {
                0 => {
                    let late = fault.as_ref().is_some_and(|(_, _, late)| *late);
                    let fault = fault.map(|(fault, ..)| fault);
                    on(&at(n), move || {
                        let (inp, out, _) = Pass { at: 0, fault, in_finish: late, witness }.start();
                        (inp, out)
                    })
                    .await
                }
                _ => {
                    on(&at(n), move || {
                        let fault = fault.map(|(fault, way, _)| (fault, way));
                        let addr =
                            Relay { input: Inlet::manual(), output: Outlet::default(), at: 0, fault, witness }.start();
                        (addr.inlet(), addr.outlet())
                    })
                    .await
                }
            };
            joints.push((std::mem::replace(&mut tail, out), inp));
        }

        // the sink
        let (fault, own) = (fault_of(parts - 1), witness(parts - 1));
        let fault = fault.map(|(fault, _, late)| if late { Fault { at: u64::MAX, ..fault } } else { fault });
        let check = Check { fault, name: own.name.clone(), ..Check::new(seed) };
        let progress = check.progress.clone();
        let (inp, sink) = on(&at(parts - 1), move || Watched { part: check, witness: own }.start()).await;
        joints.push((tail, inp));
        let mut link = None;
        for (out, inp) in joints.iter().rev() {
            let made = if by_join {
                Some(join(out, inp, Some(self.supervisor.observer())).id())
            } else {
                // a fault may strike before the chain is whole; the rest is then told by its own outlet going
                self.supervisor.attach(out, inp).await.ok()
            };
            link = link.or(made);
        }
        let victim = match &strike {
            Strike::Component { number, .. } => name(*number),
            _ => "supervisor".into(),
        };
        Running {
            seed,
            total,
            strike,
            victim,
            on: on_arbiter,
            socket: socket_at.is_some(),
            story,
            progress,
            sink,
            link: link.expect("the last joint was made"),
            _writer: task,
        }
    }

    async fn round(&mut self) {
        let chains = self.random.u64(2..5);
        let victim = self.random.u64(0..chains);
        let kill_arbiter = self.random.u8(0..10) == 0;
        let mut running = Vec::new();
        for number in 0..chains {
            running.push(self.chain(number, number == victim && !kill_arbiter).await);
        }
        let mut killed = None;
        let struck = Arc::new(Mark::default());
        if kill_arbiter {
            let at = running[0].total / 2;
            tokio::select! {
                () = running[0].progress.reaches(at) => {}
                // it may have ended first
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
            let which = self.random.usize(0..self.arbiters.len());
            struck.set();
            let old = std::mem::replace(&mut self.arbiters[which], Arbiter::new());
            old.stop();
            let _ = tokio::task::spawn_blocking(move || old.join()).await;
            killed = Some(which);
        }
        for chain in running {
            self.judge(chain, killed, &struck).await;
        }
    }

    async fn judge(&mut self, chain: Running, killed: Option<usize>, stopped: &Arc<Mark>) {
        let story = chain.story.clone();
        if let Strike::Abort(at) = chain.strike {
            let (tx, mut over) = oneshot::channel::<()>();
            tokio::select! {
                () = chain.progress.reaches(at) => {}
                () = until("the sink is over", || tx.is_closed()) => {}
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
            over.close();
            story.struck.set();
            self.supervisor.abort(Target::ChainOf(chain.link), "enough").await;
        }
        let what = format!("round {} of seed, chain {:?} {:?}", self.round, chain.strike, chain.victim);
        let (part, outcome) = within(chain.sink).await;
        let hit_by_arbiter = killed.is_some_and(|which| chain.on.contains(&which));
        let whole = outcome.is_clean();
        if whole && !chain.socket {
            // it may have come to its end before it was struck; then it is right as well
            let check = part.as_ref().expect("the part");
            assert_eq!(check.part.hash, Hash::of(chain.seed, chain.total), "{what}");
        }
        if chain.strike == Strike::Nothing && !hit_by_arbiter {
            let check = part.as_ref().unwrap_or_else(|| panic!("{what}: {outcome}"));
            assert!(whole, "{what}: {outcome}");
            assert_eq!(check.part.hash, Hash::of(chain.seed, chain.total), "{what}");
        }
        drop(part);
        let struck = if hit_by_arbiter { stopped.get() } else { story.struck.get() };
        // all are over: only this function and the chain know the story
        until(&format!("{what} is over"), || Arc::strong_count(&story) == 2).await;
        let Some(struck) = struck else { return };
        self.strikes += 1;
        let over = story.over.lock().expect("not poisoned");
        for (name, when, cause) in over.iter() {
            let took = when.saturating_duration_since(struck);
            self.slowest = self.slowest.max(took);
            if took > STRICT {
                self.over_100 += 1;
                let (late, told) = (self.lateness.between(struck, *when), cause.is_some());
                self.slowest_on_time = self.slowest_on_time.max(took.saturating_sub(late));
                println!(
                    "{what}: {name} after {took:?} (told: {told}); a thread that only sleeps was {late:?} late meanwhile"
                );
            } else {
                self.slowest_on_time = self.slowest_on_time.max(took);
            }
            let Some(cause) = cause else { continue };
            if chain.socket {
                // beyond the socket it is a lost connection, or an end
                continue;
            }
            if hit_by_arbiter {
                assert!(matches!(cause.reason, Reason::ComponentGone), "{what}: {name} was told {cause}");
            } else {
                assert_eq!(cause.origin.component, chain.victim, "{what}: {name} was told {cause}");
                let right = match &chain.strike {
                    Strike::Abort(_) => matches!(&cause.reason, Reason::Requested(why) if &**why == "enough"),
                    _ => matches!(cause.reason, Reason::Requested(_) | Reason::Panicked(_) | Reason::ComponentGone),
                };
                assert!(right, "{what}: {name} was told {cause}");
            }
        }
    }
}

async fn through_unix(
    near: &ArbiterHandle,
    far: &ArbiterHandle,
    name: Arc<str>,
) -> (InletRef<Bytes>, OutletRef<Bytes>) {
    let (a, b) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let label = name.clone();
    let start = move |socket: std::os::unix::net::UnixStream, directions, name: String| {
        socket.set_nonblocking(true).expect("a socket");
        let socket = tokio::net::UnixStream::from_std(socket).expect("a reactor");
        unix::from_stream(socket, &Default::default()).named(name).only(directions).start().0
    };
    let near = on(near, move || start(a, Directions::WriteOnly, format!("{name}-in"))).await;
    let far = on(far, move || start(b, Directions::ReadOnly, format!("{label}-out"))).await;
    (near.inlet, far.outlet)
}

async fn through_tcp(near: &ArbiterHandle, far: &ArbiterHandle, name: Arc<str>) -> (InletRef<Bytes>, OutletRef<Bytes>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let a = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    let (b, _) = listener.accept().expect("accepted");
    let label = name.clone();
    let start = move |socket: std::net::TcpStream, directions, name: String| {
        socket.set_nonblocking(true).expect("a socket");
        let socket = tokio::net::TcpStream::from_std(socket).expect("a reactor");
        tcp::from_stream(socket, &Default::default()).expect("a stream").named(name).only(directions).start().0
    };
    let near = on(near, move || start(a, Directions::WriteOnly, format!("{name}-in"))).await;
    let far = on(far, move || start(b, Directions::ReadOnly, format!("{label}-out"))).await;
    (near.inlet, far.outlet)
}

/// How late threads are woken on this machine: what others do on it is not ours to answer for.
struct Lateness(Arc<Mutex<Vec<(Instant, Duration)>>>);

impl Lateness {
    fn watch() -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let ours = Arc::downgrade(&seen);
        std::thread::spawn(move || {
            while let Some(seen) = ours.upgrade() {
                let nap = Duration::from_millis(2);
                let before = Instant::now();
                std::thread::sleep(nap);
                let late = before.elapsed().saturating_sub(nap);
                if late > Duration::from_millis(5) {
                    seen.lock().expect("not poisoned").push((before, late));
                }
            }
        });
        Self(seen)
    }
    fn between(&self, from: Instant, to: Instant) -> Duration {
        let seen = self.0.lock().expect("not poisoned");
        seen.iter().filter(|(at, late)| *at + *late >= from && *at <= to).map(|(_, late)| *late).sum()
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("a Linux").count()
}

fn threads() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:")).expect("a count");
    line.trim().parse().expect("a number")
}

#[test]
fn what_is_not_struck_finishes_and_what_is_struck_leaves_nothing() {
    let _one = serial();
    std::panic::set_hook(Box::new(|panic| {
        let on_purpose = panic.to_string();
        if !on_purpose.contains("was made to") && !on_purpose.contains("as well") && !on_purpose.contains("of its own")
        {
            eprintln!("{panic}");
        }
    }));
    let rounds = std::env::var("VERSILE_ROUNDS").ok().and_then(|n| n.parse::<u64>().ok());
    let seed = std::env::var("VERSILE_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    System::new().block_on(async {
        let before = census();
        let mut chaos = Chaos {
            random: fastrand::Rng::with_seed(seed),
            arbiters: (0..3).map(|_| Arbiter::new()).collect(),
            supervisor: Supervisor::start(),
            round: 0,
            slowest: Duration::ZERO,
            slowest_on_time: Duration::ZERO,
            lateness: Lateness::watch(),
            over_100: 0,
            strikes: 0,
        };
        // what is made once: the blocking pool's thread, the reactor's descriptors
        let _ = tokio::task::spawn_blocking(|| ()).await;
        let (files, tasks) = (descriptors(), threads());
        let first = std::env::var("VERSILE_FIRST").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
        for round in first..first + rounds.unwrap_or(DAILY) {
            chaos.round = round;
            // each round by its own seed, so that one can be run again
            chaos.random = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003) ^ round);
            chaos.round().await;
            forgotten(&chaos.supervisor).await;
            nothing_left(before).await;
            until("descriptors are closed", || descriptors() <= files).await;
            until("threads have ended", || threads() <= tasks + 1).await;
        }
        println!(
            "{} rounds, {} strikes, slowest teardown {:?} ({:?} less what the machine was late), {} of a component over 100 ms; descriptors {files} -> {}, threads {tasks} -> {}",
            rounds.unwrap_or(DAILY), chaos.strikes, chaos.slowest, chaos.slowest_on_time, chaos.over_100, descriptors(), threads(),
        );
        let limit = if rounds.is_some() { STRICT } else { Duration::from_secs(2) };
        assert!(chaos.slowest_on_time <= limit, "a teardown took {:?}", chaos.slowest_on_time);
        for arbiter in chaos.arbiters {
            arbiter.stop();
            let _ = tokio::task::spawn_blocking(move || arbiter.join()).await;
        }
    });
}
