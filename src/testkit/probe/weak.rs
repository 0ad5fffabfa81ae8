//! Weak ways to probes, as a supervisor holds them.

use super::consumer::{Consumer, ConsumerProbe};
use super::event::{Consumed, Produced};
use super::producer::{Producer, ProducerProbe};
use crate::component::ComponentInfo;
use crate::component::address::WeakUpTx;
use crate::component::link::Observer;
use crate::component::message::{
    AnyInlet, AnyOutlet, InletHandle, ManageHandle, OutletHandle, OutletMsg, PartState, reply,
};
use crate::proto::link::{Cause, Payload, Reason};
use std::fmt;
use std::sync::{Arc, Weak};
use tokio::sync::oneshot;

/// A weak way to a producing probe.
pub(super) struct WeakProducer<T: Payload>(pub(super) Weak<Producer<T>>);
/// A weak way to a consuming probe.
pub(super) struct WeakConsumer<T: Payload>(pub(super) Weak<Consumer<T>>);

impl<T: Payload> WeakUpTx<T> for WeakProducer<T> {
    fn send(&self, msg: OutletMsg<T>) -> bool {
        let alive = self.0.upgrade();
        if let Some(producer) = &alive {
            ProducerProbe(producer.clone()).hear(msg);
        }
        alive.is_some()
    }
}

impl<T: Payload> OutletHandle for WeakProducer<T> {
    fn upgrade(&self) -> Option<Box<dyn AnyOutlet>> {
        Some(Box::new(ProducerProbe(self.0.upgrade()?).outlet()))
    }
}

impl<T: Payload> InletHandle for WeakConsumer<T> {
    fn upgrade(&self) -> Option<Box<dyn AnyInlet>> {
        Some(Box::new(ConsumerProbe(self.0.upgrade()?).inlet()))
    }
}

macro_rules! managed {
    ($weak:ident, $event:ident) => {
        impl<T: Payload> ManageHandle for $weak<T> {
            fn abort(&self, cause: &Arc<Cause>) {
                if let Some(probe) = self.0.upgrade() {
                    probe.base.info.set_cause(cause);
                    probe.base.tell($event::Stop);
                }
            }

            fn drain(&self) {}

            fn stop(&self) {
                if let Some(probe) = self.0.upgrade() {
                    probe.base.note("is stopped");
                    probe.base.tell($event::Stop);
                }
            }

            fn is_alive(&self) -> bool {
                self.0.strong_count() > 0
            }

            fn boxed(&self) -> Box<dyn ManageHandle> {
                Box::new(Self(self.0.clone()))
            }

            // a probe is worked by hand: nobody rebuilds it
            fn identify(&self, _: Arc<dyn Observer>) -> oneshot::Receiver<Arc<ComponentInfo>> {
                oneshot::channel().1
            }

            // a probe holds nothing, and has no state to hand on
            fn settle(&self) -> oneshot::Receiver<()> {
                ready(())
            }

            fn flush(&self) -> oneshot::Receiver<Result<(), Reason>> {
                ready(Ok(()))
            }

            fn take_state(&self) -> oneshot::Receiver<Option<PartState>> {
                ready(None)
            }

            fn put_state(&self, state: PartState) -> oneshot::Receiver<Result<(), PartState>> {
                ready(Err(state))
            }
        }
    };
}
managed!(WeakProducer, Produced);
managed!(WeakConsumer, Consumed);

fn ready<R>(answer: R) -> oneshot::Receiver<R> {
    let (tx, rx) = oneshot::channel();
    reply(Some(tx), answer);
    rx
}

macro_rules! named_debug {
    ($($t:ident),*) => {$(
        impl<T: Payload> fmt::Debug for $t<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($t))
            }
        }
    )*};
}
named_debug!(ConsumerProbe, ProducerProbe, WeakConsumer, WeakProducer);
