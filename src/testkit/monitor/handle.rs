//! The ways to a monitor: as an inlet, as an outlet, and as a component that a supervisor manages.

use super::node::{Items, Node};
use crate::component::address::{DownTx, UpTx, WeakUpTx};
use crate::component::drive::cannot_rewind;
use crate::component::link::{Note, Observer};
use crate::component::message::{
    AnyInlet, AnyOutlet, InletHandle, InletMsg, ManageHandle, OutletHandle, OutletMsg, PartState, handle_of, reply,
};
use crate::component::{ComponentInfo, InletRef, OutletRef};
use crate::proto::link::{Cause, Down, Payload, Reason, Side, Up};
use std::fmt;
use std::sync::{Arc, Weak};
use tokio::sync::oneshot;

/// A strong way.
struct Strong<T: Payload>(Arc<Node<T>>);

/// A weak way.
struct Slack<T: Payload>(Weak<Node<T>>);

pub(super) fn inlet<T: Payload>(node: &Arc<Node<T>>) -> InletRef<T> {
    InletRef(Arc::new(Strong(node.clone())))
}

pub(super) fn outlet<T: Payload>(node: &Arc<Node<T>>) -> OutletRef<T> {
    OutletRef(Arc::new(Strong(node.clone())))
}

impl<T: Payload> DownTx<T> for Strong<T> {
    fn send(&self, msg: InletMsg<T>) {
        let node = &self.0;
        match msg {
            InletMsg::Down(down) | InletMsg::Last(down, _) => match down {
                Down::Consume { link, item } => node.items(link, Items::One(item)),
                // it has not declared to take any, so honest ports send none
                Down::Parcel { .. } => {}
                Down::End { link, clean } => node.end(link, clean),
                Down::Abort { link } => node.aborted_by_producer(link),
                Down::Suspend { link, .. } => node.suspended(Side::Producer, link),
            },
            InletMsg::Batch(link, items) => node.items(link, Items::Many(items)),
            InletMsg::Control(link, envelope) => node.question_down(link, envelope),
            InletMsg::Attach(attach) => node.attach(*attach, |link| {
                let (component, inlet) =
                    (handle_of(&node.info, DownTx::manage(self)), Box::new(Slack(Arc::downgrade(node))));
                link.note(|| Note::Attached { link: link.clone(), component, inlet });
            }),
            InletMsg::Open(link) => node.open(link),
            InletMsg::CloseAt(close) => node.close_at(*close),
        }
    }

    fn is_alive(&self) -> bool {
        self.0.info.cause().is_none()
    }

    fn manage(&self) -> Box<dyn ManageHandle> {
        Box::new(Slack(Arc::downgrade(&self.0)))
    }
}

impl<T: Payload> UpTx<T> for Strong<T> {
    fn send(&self, msg: OutletMsg<T>) {
        let node = &self.0;
        match msg {
            OutletMsg::Up(Up::CanProduce { link, limit }) => node.granted(link, limit),
            OutletMsg::Up(Up::Abort { link }) => node.aborted_by_consumer(link),
            OutletMsg::Up(Up::Suspend { link }) => node.suspended(Side::Consumer, link),
            // only those that linger wait for it
            OutletMsg::Up(Up::Finished { .. }) => {}
            OutletMsg::Rewind(_, to) => reply(Some(to), Err(cannot_rewind())),
            OutletMsg::Control(link, envelope) => node.question_up(link, envelope),
            OutletMsg::Reserve(reserve) => node.reserve(*reserve, |link| {
                let slack = || Slack(Arc::downgrade(node));
                let component = handle_of(&node.info, Box::new(slack()));
                link.note(|| Note::Reserved { link: link.clone(), component, outlet: Box::new(slack()) });
            }),
            OutletMsg::Release(link) => node.release(link),
            OutletMsg::Detach(link, to) => node.detach(link, to),
        }
    }

    fn weak(self: Arc<Self>) -> Arc<dyn WeakUpTx<T>> {
        Arc::new(Slack(Arc::downgrade(&self.0)))
    }

    fn manage(&self) -> Box<dyn ManageHandle> {
        Box::new(Slack(Arc::downgrade(&self.0)))
    }
}

impl<T: Payload> WeakUpTx<T> for Slack<T> {
    fn send(&self, msg: OutletMsg<T>) -> bool {
        let node = self.0.upgrade();
        let there = node.is_some();
        if let Some(node) = node {
            UpTx::send(&Strong(node), msg);
        }
        there
    }
}

impl<T: Payload> OutletHandle for Slack<T> {
    fn upgrade(&self) -> Option<Box<dyn AnyOutlet>> {
        Some(Box::new(outlet(&self.0.upgrade()?)))
    }
}

impl<T: Payload> InletHandle for Slack<T> {
    fn upgrade(&self) -> Option<Box<dyn AnyInlet>> {
        Some(Box::new(inlet(&self.0.upgrade()?)))
    }
}

impl<T: Payload> ManageHandle for Slack<T> {
    fn abort(&self, cause: &Arc<Cause>) {
        if let Some(node) = self.0.upgrade() {
            node.abort(cause);
        }
    }

    // it produces nothing of its own
    fn drain(&self) {}

    fn stop(&self) {
        if let Some(node) = self.0.upgrade() {
            node.stop();
        }
    }

    fn is_alive(&self) -> bool {
        self.0.upgrade().is_some_and(|node| node.info.cause().is_none())
    }

    fn boxed(&self) -> Box<dyn ManageHandle> {
        Box::new(Self(self.0.clone()))
    }

    // nobody rebuilds a monitor
    fn identify(&self, _: Arc<dyn Observer>) -> oneshot::Receiver<Arc<ComponentInfo>> {
        oneshot::channel().1
    }

    fn settle(&self) -> oneshot::Receiver<()> {
        match self.0.upgrade() {
            Some(node) => node.settle(),
            None => oneshot::channel().1,
        }
    }

    fn flush(&self) -> oneshot::Receiver<Result<(), Reason>> {
        answered(self.0.upgrade().map(|node| node.flush()))
    }

    fn take_state(&self) -> oneshot::Receiver<Option<PartState>> {
        answered(self.0.upgrade().map(|_| None))
    }

    fn put_state(&self, state: PartState) -> oneshot::Receiver<Result<(), PartState>> {
        answered(self.0.upgrade().map(|_| Err(state)))
    }
}

/// An answer that is there at once, or never comes because the monitor is gone.
fn answered<R>(answer: Option<R>) -> oneshot::Receiver<R> {
    let (tx, rx) = oneshot::channel();
    if let Some(answer) = answer {
        reply(Some(tx), answer);
    }
    rx
}

impl<T: Payload> fmt::Debug for Slack<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Monitor")
    }
}
