//! Joining two components without a supervisor's round trip: for a factory that has just made both.
//!
//! ```text
//!   factory ──Reserve──▶ producer          both messages leave at once and in this order, so the
//!           ──Attach───▶ consumer          consumer's first grant finds the producer reserved
//!           producer ◀──CanProduce── consumer
//! ```
//!
//! A side that refuses (attached already, or over) sets the link's cell, and the other side is aborted with that cause. A
//! caller that wants an answer, or two components left as they were, uses a supervisor's attach.

use super::address::{InletRef, OutletRef, PairRef};
use super::link::{Link, Observer};
use super::message::{AttachInlet, InletMsg, OutletMsg, ReserveOutlet};
use crate::proto::link::Payload;
use std::sync::Arc;

/// Joins an outlet to an inlet at once; `observer`, usually a supervisor's, is told and not asked.
///
/// The link lives on when what is returned is dropped, and so does the chain when the references are.
///
/// ```
/// use versile_io::agent::file::{self, ReadOptions, WriteOptions};
/// use versile_io::component::{join, stock::Duplex as _};
/// use versile_io::supervisor::Supervisor;
///
/// actix::System::new().block_on(async {
///     let (from, _) = file::read("Cargo.toml", ReadOptions::default()).start();
///     let (to, done) = file::write("/dev/null", WriteOptions::default()).start();
///     let link = join(&from.outlet, &to.inlet, Some(Supervisor::current().observer()));
///     let (_, outcome) = done.await;
///     assert!(outcome.is_clean() && link.cell().accepted().quantity > 0);
/// });
/// ```
pub fn join<T: Payload>(outlet: &OutletRef<T>, inlet: &InletRef<T>, observer: Option<Arc<dyn Observer>>) -> Arc<Link> {
    let link = Link::new(observer);
    let reserve = ReserveOutlet { link: link.clone(), consumer: inlet.0.clone(), reply: None, handled: false };
    outlet.0.send(OutletMsg::Reserve(Box::new(reserve)));
    let attach = AttachInlet {
        link: link.clone(),
        producer: outlet.0.clone().weak(),
        gated: false,
        reply: None,
        handled: false,
    };
    inlet.0.send(InletMsg::Attach(Box::new(attach)));
    link
}

/// Joins two two-way components in both directions: what `a` reads goes to `b`, and what `b` reads goes to `a`.
///
/// The link from `a` comes first. An agent that connects by itself should be `a`: its consumer is then there to be asked whether
/// it may ([`CanConnect`](super::control::CanConnect)).
pub fn join_pair<T: Payload>(
    a: &PairRef<T>,
    b: &PairRef<T>,
    observer: Option<Arc<dyn Observer>>,
) -> (Arc<Link>, Arc<Link>) {
    (join(&a.outlet, &b.inlet, observer.clone()), join(&b.outlet, &a.inlet, observer))
}
