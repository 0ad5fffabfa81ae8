//! Every phase of either port with every event, as a table that is compared with a golden file.
//!
//! `UPDATE_GOLDEN=1 cargo test --all-features --test link_states` writes the files anew; the diff is the change to review.

use bytes::Bytes;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use versile_io::proto::link::{
    Cause, Count, Credit, Down, Inlet, InletEffect, Limit, LinkCell, LinkId, Origin, Outlet, OutletEffect, Reason,
    Side, Terminal, Up, Window,
};

#[test]
fn outlet_phases_are_those_of_the_golden_file() {
    let mut table = Table::new("outlet");
    for (state, make) in outlet_states() {
        for (event, apply) in outlet_events() {
            let (mut outlet, link) = make();
            let answer = apply(&mut outlet, link);
            let effects = drain_outlet(&mut outlet);
            outlet.check();
            table.row(state, event, &answer, &format!("{:?}", outlet.phase()), &effects);
        }
    }
    table.compare("outlet_phases.txt");
}

#[test]
fn inlet_phases_are_those_of_the_golden_file() {
    let mut table = Table::new("inlet");
    for (state, make) in inlet_states() {
        for (event, apply) in inlet_events() {
            let (mut inlet, link) = make();
            let answer = apply(&mut inlet, link);
            let effects = drain_inlet(&mut inlet);
            inlet.check();
            table.row(state, event, &answer, &format!("{:?}", inlet.phase()), &effects);
        }
    }
    table.compare("inlet_phases.txt");
}

// ---- the outlet's side of the table

type Made<P> = (P, Arc<LinkCell>);
type Makers<P> = Vec<(&'static str, fn() -> Made<P>)>;
type Events<P> = Vec<(&'static str, fn(&mut P, Arc<LinkCell>) -> String)>;

fn outlet_states() -> Makers<Outlet<Bytes>> {
    vec![
        ("Idle", || (Outlet::new(), LinkCell::new())),
        ("Idle, end waits", || {
            let mut outlet = Outlet::new();
            outlet.end(true);
            (outlet, LinkCell::new())
        }),
        ("Reserved", || outlet_reserved()),
        ("Open", || outlet_open(4)),
        ("Open, item waits", || {
            let (mut outlet, cell) = outlet_open(0);
            outlet.push(Bytes::from_static(b"waits")).expect("taken");
            (outlet, cell)
        }),
        ("Open, end waits", || {
            let (mut outlet, cell) = outlet_open(0);
            outlet.push(Bytes::from_static(b"waits")).expect("taken");
            outlet.end(true);
            (outlet, cell)
        }),
        ("Lingering", || {
            let (mut outlet, cell) = outlet_open(4);
            cell.arm(Side::Consumer);
            outlet.end(true);
            drain_outlet(&mut outlet);
            (outlet, cell)
        }),
        ("Ended", || {
            let (mut outlet, cell) = outlet_open(4);
            outlet.end(true);
            drain_outlet(&mut outlet);
            (outlet, cell)
        }),
        ("Aborted", || {
            let (mut outlet, cell) = outlet_open(4);
            outlet.abort(cause("first"));
            drain_outlet(&mut outlet);
            (outlet, cell)
        }),
    ]
}

fn outlet_reserved() -> Made<Outlet<Bytes>> {
    let mut outlet = Outlet::new();
    let cell = LinkCell::new();
    outlet.reserve(cell.clone()).expect("free");
    drain_outlet(&mut outlet);
    (outlet, cell)
}

fn outlet_open(quantity: u64) -> Made<Outlet<Bytes>> {
    let (mut outlet, cell) = outlet_reserved();
    assert!(outlet.handle_can_produce(cell.id(), Limit { quantity, messages: 4 }));
    drain_outlet(&mut outlet);
    (outlet, cell)
}

fn outlet_events() -> Events<Outlet<Bytes>> {
    vec![
        ("reserve", |outlet, _| outcome(outlet.reserve(LinkCell::new()))),
        ("release", |outlet, cell| format!("{}", outlet.release(cell.id()))),
        ("release another", |outlet, _| format!("{}", outlet.release(LinkId::next()))),
        ("detach", |outlet, cell| format!("{:?}", outlet.detach(cell.id()).map(|at| at.quantity))),
        ("detach another", |outlet, _| format!("{:?}", outlet.detach(LinkId::next()).map(|at| at.quantity))),
        ("detach, cell set", |outlet, cell| {
            cell.set_cause(cause("second"));
            format!("{:?}", outlet.detach(cell.id()).map(|at| at.quantity))
        }),
        ("push", |outlet, _| outcome(outlet.push(Bytes::from_static(b"pushed")))),
        ("push nothing", |outlet, _| outcome(outlet.push(Bytes::new()))),
        ("end clean", |outlet, _| {
            outlet.end(true);
            done()
        }),
        ("end unclean", |outlet, _| {
            outlet.end(false);
            done()
        }),
        ("abort", |outlet, _| {
            outlet.abort(cause("second"));
            done()
        }),
        ("fail", |outlet, _| {
            outlet.fail(cause("second"));
            done()
        }),
        ("fail, armed", |outlet, cell| {
            cell.arm(Side::Producer);
            outlet.fail(cause("second"));
            done()
        }),
        ("fail, armed, cell set", |outlet, cell| {
            cell.arm(Side::Producer);
            cell.set_cause(cause("third"));
            outlet.fail(cause("second"));
            done()
        }),
        ("told of suspension", |outlet, cell| {
            suspended_by_consumer(&cell);
            format!("{}", outlet.handle_suspend(cell.id()))
        }),
        ("told of suspension, cell set", |outlet, cell| {
            suspended_by_consumer(&cell);
            cell.set_cause(cause("third"));
            format!("{}", outlet.handle_suspend(cell.id()))
        }),
        ("told of suspension that is none", |outlet, cell| format!("{}", outlet.handle_suspend(cell.id()))),
        ("told of suspension of another", |outlet, _| format!("{}", outlet.handle_suspend(LinkId::next()))),
        ("cell suspended, push", |outlet, cell| {
            suspended_by_consumer(&cell);
            outcome(outlet.push(Bytes::from_static(b"pushed")))
        }),
        ("told of the finish", |outlet, cell| format!("{}", outlet.handle_finished(cell.id()))),
        ("rewind", |outlet, _| {
            outlet.rewind();
            format!("work: {}", outlet.has_work())
        }),
        ("can produce 9", |outlet, cell| {
            format!("{}", outlet.handle_can_produce(cell.id(), Limit { quantity: 9, messages: 9 }))
        }),
        ("can produce 0", |outlet, cell| format!("{}", outlet.handle_can_produce(cell.id(), Limit::ZERO))),
        ("can produce of another", |outlet, _| {
            format!("{}", outlet.handle_can_produce(LinkId::next(), Limit { quantity: 9, messages: 9 }))
        }),
        ("told of abort", |outlet, cell| {
            cell.set_cause(cause("second"));
            format!("{:?}", outlet.handle_abort(cell.id()))
        }),
        ("told of abort of another", |outlet, _| format!("{:?}", outlet.handle_abort(LinkId::next()))),
        ("cell set", |_, cell| {
            cell.set_cause(cause("second"));
            done()
        }),
    ]
}

fn drain_outlet(outlet: &mut Outlet<Bytes>) -> Vec<String> {
    let mut effects = Vec::new();
    while let Some(effect) = outlet.poll_effect() {
        effects.push(match effect {
            OutletEffect::Send(Down::Parcel { .. }) => unreachable!("none is pushed"),
            OutletEffect::Send(Down::Consume { item, .. }) => format!("send {}", String::from_utf8_lossy(&item)),
            OutletEffect::Send(Down::End { clean, .. }) => format!("send {}", ended(clean)),
            OutletEffect::Send(Down::Abort { .. }) => String::from("send abort"),
            OutletEffect::Send(Down::Suspend { at, .. }) => format!("send suspend at {}", at.quantity),
            OutletEffect::Over(how) => over(&how),
        });
        assert!(effects.len() < 100, "effects without end: {effects:?}");
    }
    effects
}

/// What a consumer's port leaves in the cell.
fn suspended_by_consumer(cell: &Arc<LinkCell>) {
    cell.arm(Side::Consumer);
    let mut inlet = Inlet::<Bytes>::default();
    inlet.attach(cell.clone()).expect("free");
    inlet.fail(cause("consumer"));
}

/// What a producer's port leaves in the cell.
fn suspended_by_producer(cell: &Arc<LinkCell>) {
    cell.arm(Side::Producer);
    let mut outlet = Outlet::<Bytes>::new();
    outlet.reserve(cell.clone()).expect("free");
    outlet.fail(cause("producer"));
}

/// What a producer's port leaves in the cell that has sent its end and waits for the consumer.
fn lingering(cell: &Arc<LinkCell>) {
    cell.arm(Side::Consumer);
    let mut outlet = Outlet::<Bytes>::new();
    outlet.reserve(cell.clone()).expect("free");
    outlet.end(true);
    assert!(outlet.handle_can_produce(cell.id(), Limit::ZERO));
    drain_outlet(&mut outlet);
}

// ---- the inlet's side of the table

fn inlet_states() -> Makers<Inlet<Bytes>> {
    vec![
        ("Idle", || (Inlet::new(Window { quantity: 8, messages: 4 }), LinkCell::new())),
        ("Idle, holds items", || {
            let (mut inlet, cell) = inlet_holding();
            assert_eq!(inlet.close_at(cell.id(), Count { quantity: 3, messages: 1 }), Some(Ok(())));
            drain_inlet(&mut inlet);
            (inlet, LinkCell::new())
        }),
        ("Idle, manual", || (Inlet::manual(), LinkCell::new())),
        ("Open", || inlet_open(Inlet::new(Window { quantity: 8, messages: 4 }))),
        ("Open, holds items", || inlet_holding()),
        ("Open, manual", || inlet_open(Inlet::manual())),
        ("Draining", || {
            let (mut inlet, cell) = inlet_holding();
            let _ = inlet.handle_end(cell.id(), true);
            drain_inlet(&mut inlet);
            (inlet, cell)
        }),
        ("Draining, outlet lingers", || {
            let (mut inlet, cell) = inlet_holding();
            lingering(&cell);
            let _ = inlet.handle_end(cell.id(), true);
            drain_inlet(&mut inlet);
            (inlet, cell)
        }),
        ("Ended", || {
            let (mut inlet, cell) = inlet_open(Inlet::new(Window { quantity: 8, messages: 4 }));
            let _ = inlet.handle_end(cell.id(), true);
            drain_inlet(&mut inlet);
            (inlet, cell)
        }),
        ("Aborted", || {
            let (mut inlet, cell) = inlet_holding();
            inlet.abort(cause("first"));
            drain_inlet(&mut inlet);
            (inlet, cell)
        }),
    ]
}

fn inlet_open(mut inlet: Inlet<Bytes>) -> Made<Inlet<Bytes>> {
    let cell = LinkCell::new();
    inlet.attach(cell.clone()).expect("free");
    drain_inlet(&mut inlet);
    (inlet, cell)
}

fn inlet_holding() -> Made<Inlet<Bytes>> {
    let (mut inlet, cell) = inlet_open(Inlet::new(Window { quantity: 8, messages: 4 }));
    let _ = inlet.handle_consume(cell.id(), Bytes::from_static(b"abc"));
    drain_inlet(&mut inlet);
    (inlet, cell)
}

fn inlet_events() -> Events<Inlet<Bytes>> {
    vec![
        ("attach", |inlet, _| outcome(inlet.attach(LinkCell::new()))),
        ("close at its position", |inlet, cell| {
            let at = inlet.accepted();
            format!("{:?}", inlet.close_at(cell.id(), at))
        }),
        ("close at another position", |inlet, cell| {
            let result = inlet.close_at(cell.id(), Count { quantity: 99, messages: 9 });
            result.map_or_else(|| String::from("None"), outcome)
        }),
        ("close another", |inlet, _| format!("{:?}", inlet.close_at(LinkId::next(), Count::ZERO))),
        ("close, cell set", |inlet, cell| {
            cell.set_cause(cause("second"));
            let at = inlet.accepted();
            format!("{:?}", inlet.close_at(cell.id(), at))
        }),
        ("fail", |inlet, _| {
            inlet.fail(cause("second"));
            done()
        }),
        ("fail, armed", |inlet, cell| {
            cell.arm(Side::Consumer);
            inlet.fail(cause("second"));
            done()
        }),
        ("fail, armed, cell set", |inlet, cell| {
            cell.arm(Side::Consumer);
            cell.set_cause(cause("third"));
            inlet.fail(cause("second"));
            done()
        }),
        ("told of suspension", |inlet, cell| {
            suspended_by_producer(&cell);
            let at = inlet.accepted();
            format!("{}", inlet.handle_suspend(cell.id(), at))
        }),
        ("told of suspension elsewhere", |inlet, cell| {
            suspended_by_producer(&cell);
            format!("{}", inlet.handle_suspend(cell.id(), Count { quantity: 99, messages: 9 }))
        }),
        ("told of suspension, cell set", |inlet, cell| {
            suspended_by_producer(&cell);
            cell.set_cause(cause("third"));
            let at = inlet.accepted();
            format!("{}", inlet.handle_suspend(cell.id(), at))
        }),
        ("told of suspension that is none", |inlet, cell| {
            let at = inlet.accepted();
            format!("{}", inlet.handle_suspend(cell.id(), at))
        }),
        ("told of suspension of another", |inlet, _| format!("{}", inlet.handle_suspend(LinkId::next(), Count::ZERO))),
        ("consume 1", |inlet, cell| format!("{:?}", inlet.handle_consume(cell.id(), Bytes::from_static(b"x")))),
        ("consume 99", |inlet, cell| format!("{:?}", inlet.handle_consume(cell.id(), Bytes::from(vec![b'x'; 99])))),
        ("consume of another", |inlet, _| {
            format!("{:?}", inlet.handle_consume(LinkId::next(), Bytes::from_static(b"x")))
        }),
        ("consume, cell set", |inlet, cell| {
            cell.set_cause(cause("second"));
            format!("{:?}", inlet.handle_consume(cell.id(), Bytes::from_static(b"x")))
        }),
        ("end clean", |inlet, cell| format!("{:?}", inlet.handle_end(cell.id(), true))),
        ("end unclean", |inlet, cell| format!("{:?}", inlet.handle_end(cell.id(), false))),
        ("end of another", |inlet, _| format!("{:?}", inlet.handle_end(LinkId::next(), true))),
        ("end, cell set", |inlet, cell| {
            cell.set_cause(cause("second"));
            format!("{:?}", inlet.handle_end(cell.id(), true))
        }),
        ("told of abort", |inlet, cell| {
            cell.set_cause(cause("second"));
            format!("{}", inlet.handle_abort(cell.id()))
        }),
        ("told of abort of another", |inlet, _| format!("{}", inlet.handle_abort(LinkId::next()))),
        ("cell set", |_, cell| {
            cell.set_cause(cause("second"));
            done()
        }),
        ("abort", |inlet, _| {
            inlet.abort(cause("second"));
            done()
        }),
        ("release all", |inlet, _| {
            inlet.release_all();
            done()
        }),
        ("grant 5", |inlet, _| {
            inlet.grant(Credit { quantity: 5, messages: 5 });
            done()
        }),
        ("window 16", |inlet, _| {
            inlet.set_window(Window { quantity: 16, messages: 8 });
            done()
        }),
        ("window closed", |inlet, _| {
            inlet.set_window(Window::CLOSED);
            done()
        }),
    ]
}

fn drain_inlet(inlet: &mut Inlet<Bytes>) -> Vec<String> {
    let mut effects = Vec::new();
    while let Some(effect) = inlet.poll_effect() {
        effects.push(match effect {
            InletEffect::Send(Up::CanProduce { limit, .. }) => format!("grant {limit}"),
            InletEffect::Send(Up::Abort { .. }) => String::from("send abort"),
            InletEffect::Send(Up::Suspend { .. }) => String::from("send suspend"),
            InletEffect::Send(Up::Finished { .. }) => String::from("send finished"),
            InletEffect::Over(how) => over(&how),
        });
        assert!(effects.len() < 100, "effects without end: {effects:?}");
    }
    effects
}

// ---- the table

struct Table(String);

impl Table {
    fn new(port: &str) -> Self {
        let mut table = Self(format!("# Written by tests/link_states.rs: what the {port} does in each state.\n"));
        table.row("state", "event", "answer", "then", &[String::from("effects")]);
        table
    }

    fn row(&mut self, state: &str, event: &str, answer: &str, then: &str, effects: &[String]) {
        let effects = if effects.is_empty() { String::from("-") } else { effects.join(", ") };
        if event == "reserve" || event == "attach" {
            self.0.push('\n');
        }
        writeln!(self.0, "{state:18} {event:26} {answer:54} {then:9} {effects}").expect("a string takes all");
    }

    fn compare(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &self.0).expect("the golden file can be written");
        }
        let golden = std::fs::read_to_string(&path).expect("the golden file is there; UPDATE_GOLDEN=1 writes it");
        // a checkout may have other line ends
        let (golden, now): (Vec<&str>, Vec<&str>) = (golden.lines().collect(), self.0.lines().collect());
        for (line, (was, is)) in golden.iter().zip(&now).enumerate() {
            assert_eq!(was, is, "{name}:{}; UPDATE_GOLDEN=1 accepts it", line + 1);
        }
        assert_eq!(golden.len(), now.len(), "{name} has another number of rows; UPDATE_GOLDEN=1 accepts it");
    }
}

fn cause(by: &str) -> Arc<Cause> {
    Cause::new(Reason::Requested("test".into()), Origin::component(by))
}

fn outcome<E: std::fmt::Display>(result: Result<(), E>) -> String {
    result.map_or_else(|error| format!("error: {error}"), |()| String::from("ok"))
}

fn done() -> String {
    String::from("-")
}

fn ended(clean: bool) -> &'static str {
    if clean { "end clean" } else { "end unclean" }
}

fn over(how: &Terminal) -> String {
    match how {
        Terminal::Ended { clean } => format!("over: {}", ended(*clean)),
        Terminal::Aborted(cause) => match &cause.reason {
            Reason::Violation(violation) => format!("over: aborted ({})", violation.rule()),
            _ => format!("over: aborted ({})", cause.origin),
        },
        Terminal::Detached { at } => format!("over: detached at {}", at.quantity),
        Terminal::Suspended { at, .. } => format!("over: suspended at {}", at.quantity),
    }
}
