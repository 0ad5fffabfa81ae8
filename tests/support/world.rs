//! Components, their mailboxes and a supervisor in virtual time, around the sans-IO ports and the sans-IO plan of a splice.
//!
//! A mailbox is handled in the order in which it was filled, each letter after a random while; so every order that actors on
//! arbiters of their own can meet is met under some seed. A component that is gone lets the guards of its letters tell.

use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use versile_io::proto::link::{
    AttachError, Cause, Count, Down, Inlet, InletEffect, InletPhase, LinkCell, LinkId, LinkState, Origin, Outlet,
    OutletEffect, OutletPhase, Reason, Received, Terminal, Up, Window,
};
use versile_io::proto::sim::{Delays, Rng};
use versile_io::proto::splice::{Answer, End, Joint, Middle, Place, Plan, Step, Way};

/// A component by its number, and one of its flows.
pub(crate) type Port = (usize, usize);

/// The supervisor's number.
pub(crate) const S: usize = usize::MAX;

pub(crate) fn byte_at(flow: usize, at: u64) -> u8 {
    ((at ^ ((flow as u64) << 20)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

pub(crate) type State = (usize, Vec<Vec<u8>>);

enum Letter {
    Down(usize, Down<Bytes>),
    Up(usize, Up),
    Ask(u64, Ask),
    Release(usize, LinkId),
    OpenGate(usize, LinkId),
    Abort(Arc<Cause>),
    Work,
    Answer(u64, Reply),
}

enum Ask {
    Reserve(usize, Arc<LinkCell>),
    Attach(usize, Arc<LinkCell>),
    Detach(usize, LinkId),
    CloseAt(usize, LinkId, Count),
    Settle,
    Take,
    Put(State),
    Flush,
}

enum Reply {
    Joined(Result<(), AttachError>),
    Stopped(Option<Count>),
    Closed(bool),
    Settled,
    Taken(Option<State>),
    Put(Result<(), State>),
    Flushed(bool),
    Gone,
}

/// What happens at a set time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timer {
    Kill(usize),
    Splice(usize),
    TimeOut(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Source { total: u64 },
    Filter,
    Sink,
}

/// One direction through a component.
pub(crate) struct Flow {
    pub(crate) role: Role,
    pub(crate) inlet: Inlet<Bytes>,
    pub(crate) outlet: Outlet<Bytes>,
    gated: Option<LinkId>,
    /// Given by a source, taken by a sink.
    pub(crate) at: u64,
    /// Whose bytes a sink expects.
    stream: usize,
    waiting: VecDeque<Bytes>,
    outbox: VecDeque<Bytes>,
    partial: Vec<u8>,
    end: Option<bool>,
    told: bool,
    pub(crate) over: bool,
}

impl Flow {
    pub(crate) fn new(role: Role, stream: usize, window: Window) -> Self {
        let mut inlet = Inlet::new(window);
        inlet.defer_end();
        Self {
            role,
            inlet,
            outlet: Outlet::new(),
            gated: None,
            at: 0,
            stream,
            waiting: VecDeque::new(),
            outbox: VecDeque::new(),
            partial: Vec::new(),
            end: None,
            told: false,
            over: false,
        }
    }

    fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.outbox.is_empty() && !self.outlet.has_work()
    }

    /// It has nothing, and no attachment.
    pub(crate) fn is_clear(&self) -> bool {
        self.is_settled()
            && self.partial.is_empty()
            && matches!(self.outlet.phase(), OutletPhase::Idle)
            && matches!(self.inlet.phase(), InletPhase::Idle)
    }
}

/// How a component takes part in a splice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Frames are of this size.
    pub(crate) frame: usize,
    pub(crate) has_state: bool,
    /// It gives no partial frame.
    pub(crate) strict: bool,
}

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) flows: Vec<Flow>,
    manner: Manner,
    pub(crate) alive: bool,
    pub(crate) cause: Option<Arc<Cause>>,
    settling: Vec<u64>,
    working: bool,
    mail: VecDeque<(Duration, usize, Letter)>,
}

/// A splice under way, or a transaction of given steps.
pub(crate) struct Splice {
    pub(crate) plan: Plan,
    /// For each way: the producer, the consumer, and the flow of the middle components.
    pub(crate) lanes: Vec<(Port, Port, usize)>,
    pub(crate) old: Option<usize>,
    pub(crate) new: Option<usize>,
    /// How long the old one may take to settle.
    pub(crate) within: Duration,
    cells: BTreeMap<Joint, Arc<LinkCell>>,
    state: Option<State>,
    deadline: Option<Duration>,
    asked: Option<u64>,
    pub(crate) end: Option<End>,
    pub(crate) steps: Vec<String>,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: Duration,
    delays: Delays,
    pub(crate) nodes: Vec<Node>,
    mail: VecDeque<(Duration, usize, Letter)>,
    timers: Vec<(Duration, Timer)>,
    routes: HashMap<LinkId, (Port, Port)>,
    pub(crate) splices: Vec<Splice>,
    asks: u64,
    pub(crate) ladder: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64, delays: Delays) -> Self {
        Self {
            rng: Rng::new(seed),
            now: Duration::ZERO,
            delays,
            nodes: Vec::new(),
            mail: VecDeque::new(),
            timers: Vec::new(),
            routes: HashMap::new(),
            splices: Vec::new(),
            asks: 0,
            ladder: Vec::new(),
        }
    }

    pub(crate) fn node(&mut self, name: &str, manner: Manner, flows: Vec<Flow>) -> usize {
        self.nodes.push(Node {
            name: name.into(),
            flows,
            manner,
            alive: true,
            cause: None,
            settling: Vec::new(),
            working: false,
            mail: VecDeque::new(),
        });
        self.nodes.len() - 1
    }

    pub(crate) fn at(&mut self, when: Duration, timer: Timer) {
        self.timers.push((when, timer));
    }

    /// Joins two ports before the run.
    pub(crate) fn join(&mut self, from: Port, to: Port) -> Arc<LinkCell> {
        let cell = LinkCell::new();
        self.routes.insert(cell.id(), (from, to));
        self.nodes[from.0].flows[from.1].outlet.reserve(cell.clone()).expect("free");
        self.nodes[to.0].flows[to.1].inlet.attach(cell.clone()).expect("free");
        self.settle_node(from.0);
        self.settle_node(to.0);
        cell
    }

    /// A splice that begins when its timer is due.
    pub(crate) fn plan(
        &mut self,
        plan: Plan,
        lanes: Vec<(Port, Port, usize)>,
        old: Option<usize>,
        new: Option<usize>,
        within: Duration,
    ) -> usize {
        self.splices.push(Splice {
            plan,
            lanes,
            old,
            new,
            within,
            cells: BTreeMap::new(),
            state: None,
            deadline: None,
            asked: None,
            end: None,
            steps: Vec::new(),
        });
        self.splices.len() - 1
    }

    /// Runs until nothing is due any more.
    pub(crate) fn run(&mut self) {
        self.run_until(|_| false);
    }

    /// Runs until `met`, or until nothing is due any more.
    pub(crate) fn run_until(&mut self, met: impl Fn(&Self) -> bool) {
        for _ in 0..400_000 {
            if met(self) || !self.step() {
                return;
            }
        }
        panic!("livelock");
    }

    fn step(&mut self) -> bool {
        let mails =
            self.nodes.iter().enumerate().map(|(n, node)| (n, node.mail.front())).chain([(S, self.mail.front())]);
        let due = mails.filter_map(|(n, front)| front.map(|(due, ..)| (*due, n))).collect::<Vec<_>>();
        let timer = self.timers.iter().enumerate().map(|(i, (due, _))| (*due, i)).min();
        let first = due.iter().map(|(due, _)| *due).min();
        if let Some((when, i)) = timer
            && first.is_none_or(|first| when <= first)
        {
            self.now = self.now.max(when);
            let (_, timer) = self.timers.swap_remove(i);
            self.fire(timer);
            return true;
        }
        let Some(first) = first else { return false };
        let ready: Vec<usize> = due.into_iter().filter(|(due, _)| *due == first).map(|(_, n)| n).collect();
        let n = ready[self.rng.below(ready.len() as u64) as usize];
        self.now = self.now.max(first);
        let mail = if n == S { &mut self.mail } else { &mut self.nodes[n].mail };
        let Some((_, from, letter)) = mail.pop_front() else { return false };
        match letter {
            Letter::Answer(ask, reply) => self.answered(ask, reply),
            letter if self.nodes[n].alive => self.handle(n, letter),
            letter => self.dead_letter(n, from, letter),
        }
        true
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Kill(n) => self.kill(n),
            Timer::Splice(i) => self.advance(i),
            Timer::TimeOut(ask) => {
                if let Some(i) = self.splices.iter().position(|splice| splice.asked == Some(ask)) {
                    self.go_on(i, Answer::TimedOut);
                }
            }
        }
    }

    fn name(&self, n: usize) -> &str {
        if n == S { "S" } else { &self.nodes[n].name }
    }

    fn post(&mut self, from: usize, to: usize, letter: Letter) {
        let said = match &letter {
            Letter::Ask(_, Ask::Reserve(..)) => Some("Reserve".into()),
            Letter::Ask(_, Ask::Attach(..)) => Some("Attach".into()),
            Letter::Ask(_, Ask::Detach(..)) => Some("Detach".into()),
            Letter::Ask(_, Ask::CloseAt(_, _, at)) => Some(format!("CloseAt {}", at.quantity)),
            Letter::Ask(_, Ask::Settle) => Some("Settle".into()),
            Letter::Ask(_, Ask::Take) => Some("TakeState".into()),
            Letter::Ask(_, Ask::Put(state)) => {
                Some(format!("PutState, {} bytes", state.1.iter().map(Vec::len).sum::<usize>()))
            }
            Letter::Ask(_, Ask::Flush) => Some("Flush".into()),
            Letter::Release(..) => Some("Release".into()),
            Letter::OpenGate(..) => Some("Open".into()),
            Letter::Abort(_) | Letter::Down(_, Down::Abort { .. }) | Letter::Up(_, Up::Abort { .. }) => {
                Some("Abort".into())
            }
            Letter::Down(_, Down::End { clean, .. }) => Some(format!("End, clean {clean}")),
            Letter::Answer(_, reply) => Some(match reply {
                Reply::Joined(Ok(())) => "joined".into(),
                Reply::Joined(Err(error)) => format!("refused: {error}"),
                Reply::Stopped(Some(at)) => format!("stopped at {}", at.quantity),
                Reply::Stopped(None) => "not attached".into(),
                Reply::Closed(true) => "all received".into(),
                Reply::Closed(false) => "not attached".into(),
                Reply::Settled => "settled".into(),
                Reply::Taken(Some(state)) => format!("state, {} bytes", state.1.iter().map(Vec::len).sum::<usize>()),
                Reply::Taken(None) => "no state".into(),
                Reply::Put(Ok(())) => "taken".into(),
                Reply::Put(Err(_)) => "of no use, state back".into(),
                Reply::Flushed(true) => "flushed".into(),
                Reply::Flushed(false) => "cannot".into(),
                Reply::Gone => "gone".into(),
            }),
            Letter::Down(..) | Letter::Up(..) | Letter::Work => None,
        };
        if let Some(said) = said {
            self.ladder.push(format!("{:<4} ──{said}──▶ {}", self.name(from), self.name(to)));
        }
        let due = self.now + self.delays.draw(&mut self.rng);
        let mail = if to == S { &mut self.mail } else { &mut self.nodes[to].mail };
        let last = mail.back().map_or(Duration::ZERO, |(due, ..)| *due);
        mail.push_back((due.max(last), from, letter));
    }

    // ---- components

    fn handle(&mut self, n: usize, letter: Letter) {
        let node = &mut self.nodes[n];
        match letter {
            Letter::Down(f, Down::Consume { link, item }) => {
                if let Received::Item(item) = node.flows[f].inlet.handle_consume(link, item) {
                    self.took(n, f, item);
                }
            }
            Letter::Down(_, Down::Parcel { .. } | Down::Suspend { .. })
            | Letter::Up(_, Up::Suspend { .. } | Up::Finished { .. }) => {
                unreachable!("nobody here takes parcels, and nobody is rebuilt")
            }
            Letter::Down(f, Down::End { link, clean }) => {
                if let Received::End { clean } = node.flows[f].inlet.handle_end(link, clean) {
                    node.flows[f].end = Some(clean);
                }
            }
            Letter::Down(f, Down::Abort { link }) => {
                node.flows[f].inlet.handle_abort(link);
            }
            Letter::Up(f, Up::CanProduce { link, limit }) => {
                node.flows[f].outlet.handle_can_produce(link, limit);
            }
            Letter::Up(f, Up::Abort { link }) => {
                let _ = node.flows[f].outlet.handle_abort(link);
            }
            Letter::Release(f, link) => {
                node.flows[f].outlet.release(link);
            }
            Letter::OpenGate(f, link) => {
                if node.flows[f].gated == Some(link) {
                    node.flows[f].gated = None;
                }
            }
            Letter::Abort(cause) => return self.break_off(n, &cause),
            Letter::Work => {
                node.working = false;
                for flow in node.flows.iter_mut().filter(|flow| flow.role == Role::Sink) {
                    flow.inlet.release_all();
                }
            }
            Letter::Ask(ask, what) => self.asked(n, ask, what),
            Letter::Answer(..) => unreachable!("goes to the supervisor"),
        }
        self.settle_node(n);
    }

    fn asked(&mut self, n: usize, ask: u64, what: Ask) {
        let node = &mut self.nodes[n];
        let reply = match what {
            Ask::Reserve(f, cell) => Reply::Joined(node.flows[f].outlet.reserve(cell)),
            Ask::Attach(f, cell) => {
                let link = cell.id();
                let joined = node.flows[f].inlet.attach(cell);
                if joined.is_ok() {
                    node.flows[f].gated = Some(link);
                }
                Reply::Joined(joined)
            }
            Ask::Detach(f, link) => Reply::Stopped(node.flows[f].outlet.detach(link)),
            Ask::CloseAt(f, link, at) => {
                let closed = node.flows[f].inlet.close_at(link, at);
                assert!(!matches!(closed, Some(Err(_))), "{} has not received all: {closed:?}", node.name);
                Reply::Closed(closed.is_some())
            }
            Ask::Settle => {
                node.settling.push(ask);
                return;
            }
            Ask::Take => {
                let holds = node.flows.iter().any(|flow| !flow.partial.is_empty());
                Reply::Taken((node.manner.has_state && holds).then(|| {
                    let parts = node.flows.iter_mut().map(|flow| std::mem::take(&mut flow.partial)).collect();
                    (node.manner.frame, parts)
                }))
            }
            Ask::Put((frame, parts)) => Reply::Put(match node.manner.has_state && node.manner.frame == frame {
                true => {
                    for (flow, part) in node.flows.iter_mut().zip(parts) {
                        assert!(flow.partial.is_empty(), "two states");
                        flow.partial = part;
                    }
                    Ok(())
                }
                false => Err((frame, parts)),
            }),
            Ask::Flush => {
                let cannot = node.manner.strict && node.flows.iter().any(|flow| !flow.partial.is_empty());
                if !cannot {
                    for flow in &mut node.flows {
                        flow.outbox.push_back(std::mem::take(&mut flow.partial).into());
                    }
                }
                Reply::Flushed(!cannot)
            }
        };
        self.post(n, S, Letter::Answer(ask, reply));
    }

    fn took(&mut self, n: usize, f: usize, item: Bytes) {
        let node = &mut self.nodes[n];
        let (name, flow) = (&node.name, &mut node.flows[f]);
        if flow.role == Role::Filter {
            return flow.waiting.push_back(item);
        }
        for byte in &item {
            assert_eq!(*byte, byte_at(flow.stream, flow.at), "{name} at {}", flow.at);
            flow.at += 1;
        }
        self.work_later(n);
    }

    fn work_later(&mut self, n: usize) {
        if !std::mem::replace(&mut self.nodes[n].working, true) {
            self.post(n, n, Letter::Work);
        }
    }

    /// What follows from whatever was done to a component: items move, and letters leave.
    fn settle_node(&mut self, n: usize) {
        for f in 0..self.nodes[n].flows.len() {
            self.drain(n, f);
            match self.nodes[n].flows[f].role {
                _ if !self.nodes[n].alive => return,
                Role::Source { total } => self.produce(n, f, total),
                Role::Filter => self.filter(n, f),
                Role::Sink => self.sink(n, f),
            }
            self.drain(n, f);
        }
        let node = &mut self.nodes[n];
        if node.flows.iter().all(|flow| flow.over) {
            node.alive = false;
        }
        if node.flows.iter().all(Flow::is_settled) {
            for ask in std::mem::take(&mut node.settling) {
                self.post(n, S, Letter::Answer(ask, Reply::Settled));
            }
        }
    }

    fn produce(&mut self, n: usize, f: usize, total: u64) {
        for _ in 0..2 {
            let flow = &mut self.nodes[n].flows[f];
            let credit = flow.outlet.credit();
            // now and then more than there is credit for: the rest waits in the outlet
            if !flow.outlet.is_ready() || credit.is_exhausted() && !self.rng.chance(30) {
                return self.produced(n, f);
            }
            if flow.at == total {
                flow.outlet.end(true);
                return self.produced(n, f);
            }
            let end = (flow.at + self.rng.between(1, 12)).min(total);
            let item: Bytes = (flow.at..end).map(|at| byte_at(flow.stream, at)).collect();
            flow.at = end;
            flow.outlet.push(item).expect("ready");
            self.drain(n, f);
        }
        if self.nodes[n].flows[f].outlet.is_ready() {
            self.work_later(n);
        }
    }

    /// The end may have been asked for while the source was parted, and sent since.
    fn produced(&mut self, n: usize, f: usize) {
        self.drain(n, f);
        let flow = &mut self.nodes[n].flows[f];
        flow.over = flow.outlet.is_over();
    }

    fn filter(&mut self, n: usize, f: usize) {
        loop {
            let frame = self.nodes[n].manner.frame;
            let flow = &mut self.nodes[n].flows[f];
            if flow.outlet.is_closed() || !flow.outlet.is_ready() {
                break;
            }
            if let Some(item) = flow.outbox.pop_front() {
                flow.outlet.push(item).expect("ready");
            } else if let Some(item) = flow.waiting.pop_front() {
                flow.partial.extend_from_slice(&item);
                while flow.partial.len() >= frame {
                    let rest = flow.partial.split_off(frame);
                    flow.outbox.push_back(std::mem::replace(&mut flow.partial, rest).into());
                }
                flow.inlet.release(item.len() as u64, 1);
            } else if let Some(clean) = flow.end {
                match std::mem::replace(&mut flow.told, true) {
                    false => flow.outbox.push_back(std::mem::take(&mut flow.partial).into()),
                    true => flow.outlet.end(clean),
                }
            } else {
                break;
            }
            self.drain(n, f);
            if !self.nodes[n].alive {
                return;
            }
        }
        let flow = &mut self.nodes[n].flows[f];
        if flow.outlet.phase() == OutletPhase::Ended {
            flow.inlet.complete();
            flow.over = true;
        }
    }

    fn sink(&mut self, n: usize, f: usize) {
        let flow = &mut self.nodes[n].flows[f];
        if flow.end.is_some() && flow.inlet.held().is_zero() {
            flow.inlet.complete();
            flow.over = true;
        }
    }

    /// The drain rule, for both ports of a flow.
    fn drain(&mut self, n: usize, f: usize) {
        while let Some(effect) = self.nodes[n].flows[f].outlet.poll_effect() {
            match effect {
                OutletEffect::Send(letter) => {
                    let link = letter.link();
                    let (_, to) = self.routes[&link];
                    self.post(n, to.0, Letter::Down(to.1, letter));
                }
                OutletEffect::Over(Terminal::Aborted(cause)) => self.break_off(n, &cause),
                OutletEffect::Over(_) => {}
            }
        }
        loop {
            let flow = &mut self.nodes[n].flows[f];
            let grant = if flow.gated.is_none() { flow.inlet.poll_effect() } else { flow.inlet.poll_urgent() };
            let Some(effect) = grant else { return };
            match effect {
                InletEffect::Send(letter) => {
                    let link = match &letter {
                        Up::CanProduce { link, .. }
                        | Up::Abort { link }
                        | Up::Suspend { link }
                        | Up::Finished { link } => *link,
                    };
                    let (to, _) = self.routes[&link];
                    self.post(n, to.0, Letter::Up(to.1, letter));
                }
                InletEffect::Over(Terminal::Aborted(cause)) => self.break_off(n, &cause),
                InletEffect::Over(_) => {}
            }
        }
    }

    fn kill(&mut self, n: usize) {
        if self.nodes[n].alive {
            self.ladder.push(format!("{:<4}   is gone", self.name(n)));
            let cause = Cause::new(Reason::ComponentGone, Origin::component(self.name(n)));
            self.break_off(n, &cause);
        }
    }

    /// All ports of a component are broken off, and it is gone.
    fn break_off(&mut self, n: usize, cause: &Arc<Cause>) {
        if !std::mem::replace(&mut self.nodes[n].alive, false) {
            return;
        }
        self.nodes[n].cause = Some(cause.clone());
        for f in 0..self.nodes[n].flows.len() {
            self.nodes[n].flows[f].outlet.abort(cause.clone());
            self.nodes[n].flows[f].inlet.abort(cause.clone());
            self.drain(n, f);
        }
        for ask in std::mem::take(&mut self.nodes[n].settling) {
            self.post(n, S, Letter::Answer(ask, Reply::Gone));
        }
    }

    /// What the guard of a letter does when it is dropped unread.
    fn dead_letter(&mut self, n: usize, from: usize, letter: Letter) {
        let Letter::Ask(ask, what) = letter else { return };
        if let Ask::Attach(_, cell) = what {
            let link = cell.id();
            cell.set_cause(Cause::new(Reason::ComponentGone, Origin::default().on(link)));
            let (producer, _) = self.routes[&link];
            self.post(n, producer.0, Letter::Up(producer.1, Up::Abort { link }));
        }
        debug_assert_eq!(from, S);
        self.post(n, S, Letter::Answer(ask, Reply::Gone));
    }

    // ---- the supervisor

    /// Begins, or goes on with, a splice: does steps until one has to be waited for.
    pub(crate) fn advance(&mut self, i: usize) {
        loop {
            let step = self.splices[i].plan.step();
            self.splices[i].steps.push(step.to_string());
            match self.execute(i, step) {
                Some(answer) => self.splices[i].plan.answer(answer),
                None => return,
            }
            if let Step::End(end) = step {
                self.splices[i].end = Some(end);
                if end == End::Broken {
                    self.tear_down(i);
                }
                return;
            }
        }
    }

    fn go_on(&mut self, i: usize, answer: Answer) {
        self.splices[i].asked = None;
        self.splices[i].plan.answer(answer);
        self.advance(i);
    }

    fn ports(&self, i: usize, joint: Joint) -> (Port, Port) {
        let splice = &self.splices[i];
        let (producer, consumer, flow) = splice.lanes[if joint.way == Way::There { 0 } else { 1 }];
        let old = splice.old.map_or((0, 0), |n| (n, flow));
        let new = splice.new.map_or((0, 0), |n| (n, flow));
        match joint.place {
            Place::Direct => (producer, consumer),
            Place::IntoOld => (producer, old),
            Place::OutOfOld => (old, consumer),
            Place::IntoNew => (producer, new),
            Place::OutOfNew => (new, consumer),
        }
    }

    fn middle(&self, i: usize, who: Middle) -> usize {
        let splice = &self.splices[i];
        match who {
            Middle::Old => splice.old.expect("an old one"),
            Middle::New => splice.new.expect("a new one"),
        }
    }

    /// Does a step; the answer, if it is there at once.
    fn execute(&mut self, i: usize, step: Step) -> Option<Answer> {
        let (to, ask) = match step {
            Step::Detach(joint) => {
                let (from, to) = self.ports(i, joint);
                // what the graph would say
                let route = self.routes.iter().filter(|(_, ends)| **ends == (from, to)).map(|(id, _)| *id).max();
                let link = route.expect("a place in a chain");
                let cell = self.nodes[from.0].flows[from.1].outlet.cell().filter(|cell| cell.id() == link).cloned();
                match cell {
                    Some(cell) => self.splices[i].cells.insert(joint, cell),
                    None => return Some(Answer::NotThere),
                };
                (from.0, Ask::Detach(from.1, link))
            }
            Step::CloseAt(joint, at) => {
                let (_, to) = self.ports(i, joint);
                (to.0, Ask::CloseAt(to.1, self.splices[i].cells[&joint].id(), at))
            }
            Step::Settle => (self.middle(i, Middle::Old), Ask::Settle),
            Step::Flush => (self.middle(i, Middle::Old), Ask::Flush),
            Step::TakeState(who) => {
                if who == Middle::Old && !self.nodes[self.middle(i, Middle::New)].alive {
                    return Some(Answer::NoState);
                }
                (self.middle(i, who), Ask::Take)
            }
            Step::PutState(who) => {
                let state = self.splices[i].state.take().expect("a state");
                (self.middle(i, who), Ask::Put(state))
            }
            Step::Reserve(joint) => {
                let (from, to) = self.ports(i, joint);
                if !self.nodes[to.0].alive {
                    return Some(Answer::Gone);
                }
                let cell = LinkCell::new();
                self.routes.insert(cell.id(), (from, to));
                self.splices[i].cells.insert(joint, cell.clone());
                (from.0, Ask::Reserve(from.1, cell))
            }
            Step::Attach(joint) => {
                let cell = self.splices[i].cells[&joint].clone();
                if cell.cause().is_some() {
                    return Some(Answer::Gone);
                }
                let (_, to) = self.ports(i, joint);
                (to.0, Ask::Attach(to.1, cell))
            }
            Step::Open(joint) => {
                let cell = self.splices[i].cells[&joint].clone();
                if cell.cause().is_some() {
                    return Some(Answer::Gone);
                }
                let (_, to) = self.ports(i, joint);
                self.post(S, to.0, Letter::OpenGate(to.1, cell.id()));
                return Some(Answer::Done);
            }
            Step::Withdraw(joint) => {
                let (from, to) = self.ports(i, joint);
                let link = self.splices[i].cells[&joint].id();
                self.post(S, from.0, Letter::Release(from.1, link));
                self.asks += 1;
                // nobody waits for the answer
                self.post(S, to.0, Letter::Ask(self.asks, Ask::CloseAt(to.1, link, Count::ZERO)));
                return Some(Answer::Done);
            }
            Step::End(_) => return Some(Answer::Done),
        };
        self.asks += 1;
        let id = self.asks;
        self.splices[i].asked = Some(id);
        if step == Step::Settle {
            let within = self.now + self.splices[i].within;
            let deadline = *self.splices[i].deadline.get_or_insert(within);
            self.at(deadline, Timer::TimeOut(id));
        }
        self.post(S, to, Letter::Ask(id, ask));
        None
    }

    fn answered(&mut self, ask: u64, reply: Reply) {
        let Some(i) = self.splices.iter().position(|splice| splice.asked == Some(ask)) else { return };
        let splice = &mut self.splices[i];
        let step = splice.plan.step();
        let cell = |joint| splice.cells[&joint].clone();
        let answer = match (step, reply) {
            (Step::Detach(_), Reply::Stopped(Some(at))) => Answer::Stopped(at),
            // an aborted link, or one that has ended
            (Step::Detach(joint), Reply::Stopped(None) | Reply::Gone) => match cell(joint) {
                cell if cell.cause().is_some() => Answer::Gone,
                cell if matches!(cell.outlet_state(), LinkState::EndedClean | LinkState::EndedUnclean) => {
                    Answer::NotThere
                }
                _ => Answer::Gone,
            },
            (Step::CloseAt(..), Reply::Closed(true)) => Answer::Done,
            (Step::CloseAt(..), Reply::Closed(false)) => Answer::Gone,
            (Step::Settle, Reply::Settled) => Answer::Done,
            (Step::TakeState(_), Reply::Taken(state)) => {
                splice.state = state;
                if splice.state.is_some() { Answer::State } else { Answer::NoState }
            }
            (Step::PutState(_), Reply::Put(Ok(()))) => Answer::Done,
            (Step::PutState(_), Reply::Put(Err(state))) => {
                splice.state = Some(state);
                Answer::Refused
            }
            (Step::Flush, Reply::Flushed(done)) => {
                if done {
                    Answer::Done
                } else {
                    Answer::Refused
                }
            }
            (Step::Reserve(_), Reply::Joined(Ok(()))) => Answer::Done,
            (Step::Attach(joint), Reply::Joined(Ok(()))) => match cell(joint).cause() {
                None => Answer::Done,
                Some(_) => Answer::Gone,
            },
            (Step::Reserve(_) | Step::Attach(_), Reply::Joined(Err(_))) => Answer::Refused,
            (_, Reply::Gone) => Answer::Gone,
            _ => panic!("an answer to another question at {step}"),
        };
        self.go_on(i, answer);
    }

    /// The chain broke: its parted components have no link by which they could hear of it.
    fn tear_down(&mut self, i: usize) {
        let splice = &self.splices[i];
        let ends = splice.lanes.iter().flat_map(|(from, to, _)| [from.0, to.0]);
        let members: Vec<usize> = ends.chain(splice.old).collect();
        let cause = Cause::new(Reason::ComponentGone, Origin::component("splice"));
        for n in members {
            self.post(S, n, Letter::Abort(cause.clone()));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.ladder.join("\n"));
            for splice in &self.splices {
                eprintln!("splice: {}", splice.steps.join(", "));
            }
        }
    }
}
