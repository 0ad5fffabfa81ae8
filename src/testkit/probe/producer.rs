//! The producing probe.

use super::base::{Base, ProbeQuestion, common};
use super::event::{Finding, Produced};
use super::ladder::Ladder;
use super::lock;
use super::weak::WeakProducer;
use crate::component::address::{DownTx, UpTx, WeakUpTx};
use crate::component::control::Asking;
use crate::component::link::{Link, Note};
use crate::component::message::{AnyInlet, InletMsg, ManageHandle, OutletMsg, ReserveOutlet, handle_of, reply};
use crate::component::{InletRef, OutletRef};
use crate::proto::link::{Cause, Count, Credit, Down, Limit, LinkId, Payload, Reason, Up, Violation};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// More messages than this, granted at once, bound nothing (rule M1).
const WIDE: u64 = 65_536;

/// A producer worked by hand: it sends what it is told to, within the credit or beyond.
///
/// ```
/// use versile_io::component::channel::ByteChannel;
/// use versile_io::proto::link::Reason;
/// use versile_io::testkit::{Ladder, ProducerProbe, Produced};
///
/// actix::System::new().block_on(async {
///     let (channel, pair, _) = ByteChannel::start("channel", 4);
///     let probe = ProducerProbe::new("probe", &Ladder::default());
///     versile_io::component::join(&probe.outlet(), &pair.inlet, None);
///     assert!(matches!(probe.next().await, Produced::Attached));
///     assert!(matches!(probe.next().await, Produced::Grant(limit) if limit.quantity == 4));
///     probe.send("12345".into());
///     assert!(matches!(probe.next().await, Produced::Aborted), "one byte too many");
///     assert!(probe.cause().is_some_and(|cause| matches!(cause.reason, Reason::Violation(_))));
///     drop(channel);
/// });
/// ```
pub struct ProducerProbe<T: Payload>(pub(super) Arc<Producer<T>>);

pub(super) struct Producer<T: Payload> {
    pub(super) base: Base<Produced>,
    peer: Mutex<Option<Arc<dyn DownTx<T>>>>,
}

impl<T: Payload> Clone for ProducerProbe<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Payload> ProducerProbe<T> {
    /// A probe that writes to `ladder` under this name.
    pub fn new(name: &str, ladder: &Ladder) -> Self {
        Self(Arc::new(Producer { base: Base::new(name, ladder), peer: Mutex::default() }))
    }

    /// Its outlet, to be joined as that of any component.
    pub fn outlet(&self) -> OutletRef<T> {
        OutletRef(Arc::new(self.clone()))
    }

    common!(Produced);

    pub(crate) fn grants(&self) -> u64 {
        lock(&self.0.base.state).grants
    }

    /// What it is told next. For one task at a time; cancel safe.
    pub async fn next(&self) -> Produced {
        self.0.base.next().await
    }

    /// What it may still send.
    pub fn credit(&self) -> Credit {
        let state = lock(&self.0.base.state);
        state.limit.credit(state.passed)
    }

    /// True once the consumer has granted, be it nothing.
    pub fn is_granted(&self) -> bool {
        lock(&self.0.base.state).granted
    }

    /// Sends an item, whatever was granted.
    pub fn send(&self, item: T) {
        let Some(link) = self.link() else { return };
        lock(&self.0.base.state).passed.add(item.quantity());
        self.send_on(link.id(), item);
    }

    /// Sends an item in the name of any link, an earlier or a foreign one included; it is not counted.
    pub fn send_on(&self, link: LinkId, item: T) {
        self.0.base.note(format_args!("sends {} on {link}", item.quantity()));
        self.say(InletMsg::Down(Down::Consume { link, item }));
    }

    /// Sends the end.
    pub fn end(&self, clean: bool) {
        let Some(link) = self.link() else { return };
        self.0.base.note(format_args!("ends, clean: {clean}"));
        lock(&self.0.base.state).ended = Some(clean);
        self.say(InletMsg::Down(Down::End { link: link.id(), clean }));
    }

    /// Aborts the link.
    pub fn abort(&self, reason: Reason) {
        if let Some(link) = self.0.base.break_off(reason) {
            self.say(InletMsg::Down(Down::Abort { link: link.id() }));
        }
    }

    /// Sends an abort in the name of any link; sets no cause.
    pub fn abort_on(&self, link: LinkId) {
        self.0.base.note(format_args!("forges an abort of {link}"));
        self.say(InletMsg::Down(Down::Abort { link }));
    }

    /// Parts it from the consumer: whether that had received exactly what was sent. `None` if it is not attached there.
    pub async fn detach(&self, inlet: &InletRef<T>) -> Option<Result<(), Violation>> {
        let link = self.link()?;
        let verdict = inlet.close_at(link.id(), self.passed()).await.ok().flatten();
        self.0.base.note(format_args!("detached: {verdict:?}"));
        self.0.base.part();
        *lock(&self.0.peer) = None;
        verdict
    }

    pub(crate) fn ask(&self, within: Duration) -> Asking<u64> {
        self.0.base.note("asks");
        let Some(link) = self.link() else { return Asking::missing() };
        let Some(peer) = lock(&self.0.peer).clone() else { return Asking::missing() };
        link.ask(ProbeQuestion, within, move |link, envelope| peer.send(InletMsg::Control(link, envelope)))
    }

    fn say(&self, msg: InletMsg<T>) {
        let peer = lock(&self.0.peer).clone();
        if let Some(peer) = peer {
            self.0.base.calling(|| peer.send(msg));
        }
    }

    fn reserve(&self, mut reserve: ReserveOutlet<T>) {
        if let Err(error) = self.0.base.join(&reserve.link) {
            return reserve.refuse(error);
        }
        reserve.handled = true;
        *lock(&self.0.peer) = Some(reserve.consumer.clone());
        let (link, weak) = (&reserve.link, WeakProducer(Arc::downgrade(&self.0)));
        let component = handle_of(&self.0.base.info, ManageHandle::boxed(&weak));
        link.note(|| Note::Reserved { link: link.clone(), component, outlet: Box::new(weak) });
        self.0.base.note(format_args!("is attached on {}", link.id()));
        reply(reserve.reply.take(), Ok(self.0.base.info.clone()));
        self.0.base.tell(Produced::Attached);
    }

    fn granted(&self, link: LinkId, limit: Limit) {
        let base = &self.0.base;
        base.note(format_args!("is granted {limit} on {link}"));
        if !base.is_current(link) {
            return base.tell(Produced::OtherLink(limit));
        }
        let mut found = Vec::new();
        {
            let mut state = lock(&base.state);
            let before = state.limit;
            if limit.quantity < before.quantity || limit.messages < before.messages {
                found.push(Finding::LimitFell);
            }
            if limit.messages.saturating_sub(state.passed.messages) > WIDE {
                found.push(Finding::WideGrant);
            }
            if let Some(link) = &state.link {
                let cell = link.cell();
                if cell.inlet_state().is_terminal() {
                    found.push(Finding::AfterEnd);
                } else if cell.accepted().messages < state.passed.messages && !state.calling {
                    found.push(Finding::GrantInHandler);
                }
            }
            state.limit.raise(limit);
            state.granted = true;
            state.grants += 1;
        }
        found.into_iter().for_each(|finding| base.found(finding));
        base.tell(Produced::Grant(limit));
    }

    pub(super) fn hear(&self, msg: OutletMsg<T>) {
        let base = &self.0.base;
        match msg {
            OutletMsg::Up(Up::CanProduce { link, limit }) => self.granted(link, limit),
            OutletMsg::Up(Up::Abort { link }) => {
                base.note(format_args!("is aborted on {link}"));
                if base.link().is_some_and(|own| own.id() == link) {
                    base.tell(Produced::Aborted);
                }
            }
            // a probe is attached by hand, to what nobody rebuilds
            OutletMsg::Up(Up::Suspend { .. } | Up::Finished { .. }) | OutletMsg::Rewind(..) => {}
            OutletMsg::Control(_, envelope) => base.question(envelope),
            OutletMsg::Reserve(reserve) => self.reserve(*reserve),
            OutletMsg::Release(_) => base.part(),
            OutletMsg::Detach(link, to) => {
                let at = base.link().filter(|own| own.id() == link).map(|_| self.passed());
                if at.is_some() {
                    base.note("is detached");
                    base.part();
                    *lock(&self.0.peer) = None;
                    base.tell(Produced::Detached);
                }
                reply(to, at);
            }
        }
    }
}

impl<T: Payload> UpTx<T> for ProducerProbe<T> {
    fn send(&self, msg: OutletMsg<T>) {
        self.hear(msg);
    }

    fn weak(self: Arc<Self>) -> Arc<dyn WeakUpTx<T>> {
        Arc::new(WeakProducer(Arc::downgrade(&self.0)))
    }

    fn manage(&self) -> Box<dyn ManageHandle> {
        Box::new(WeakProducer(Arc::downgrade(&self.0)))
    }
}
