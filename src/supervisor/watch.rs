//! Watching: typed events to any recipient, through a bounded ring, at most one batch in flight. Never slows the data.

use super::event::{Event, EventBatch};
use super::{Supervisor, SupervisorActor};
use actix::fut::wrap_future;
use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient};
use futures_util::Stream;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use tokio::sync::{mpsc, oneshot};

/// How many events wait for a slow watcher; the oldest go first, counted: 1,024, some 100 KiB.
pub const RING: usize = 1024;

impl Supervisor {
    /// Sends events to a recipient from now on, until it is gone. The supervisor does not keep it alive: somebody else must.
    /// Resolves when the watch is in force.
    pub async fn watch_with(&self, to: Recipient<EventBatch>) {
        let to = to.downgrade();
        let deliver: Deliver = Box::new(move |batch| {
            let sent = to.upgrade().map(|to| to.send(batch));
            Box::pin(async move {
                match sent {
                    Some(sent) => sent.await.is_ok(),
                    None => false,
                }
            })
        });
        self.request(|reply| Watch { deliver, reply }).await;
    }

    /// The events from now on, as a stream, for code that is no actor. Dropping it ends the watch.
    pub async fn watch(&self) -> Events {
        let (tx, rx) = mpsc::channel(1);
        let deliver: Deliver = Box::new(move |batch| {
            let tx = tx.clone();
            Box::pin(async move { tx.send(batch).await.is_ok() })
        });
        self.request(|reply| Watch { deliver, reply }).await;
        Events { batches: rx, ready: VecDeque::new(), missed: 0 }
    }
}

type Deliver = Box<dyn Fn(EventBatch) -> Pin<Box<dyn Future<Output = bool>>> + Send>;

struct Watch {
    deliver: Deliver,
    reply: oneshot::Sender<()>,
}

impl Message for Watch {
    type Result = ();
}

/// All watchers.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    all: Vec<Watcher>,
    next: u64,
}

struct Watcher {
    id: u64,
    deliver: Deliver,
    ring: VecDeque<Event>,
    missed: u64,
    in_flight: bool,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("ring", &self.ring.len()).field("missed", &self.missed).finish_non_exhaustive()
    }
}

impl Watchers {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn push(&mut self, event: &Event) {
        for watcher in &mut self.all {
            if watcher.ring.len() == RING {
                watcher.ring.pop_front();
                watcher.missed += 1;
            }
            watcher.ring.push_back(event.clone());
        }
    }
}

impl Handler<Watch> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Watch { deliver, reply }: Watch, _: &mut Context<Self>) {
        let id = self.watchers.next;
        self.watchers.next += 1;
        self.watchers.all.push(Watcher { id, deliver, ring: VecDeque::new(), missed: 0, in_flight: false });
        let _ = reply.send(());
    }
}

impl SupervisorActor {
    /// Sends a batch to each watcher that has none in flight.
    pub(super) fn flush_watchers(&mut self, ctx: &mut Context<Self>) {
        for watcher in &mut self.watchers.all {
            if watcher.in_flight || watcher.ring.is_empty() {
                continue;
            }
            watcher.in_flight = true;
            let batch =
                EventBatch { missed: std::mem::take(&mut watcher.missed), events: watcher.ring.drain(..).collect() };
            let id = watcher.id;
            let sent = wrap_future::<_, Self>((watcher.deliver)(batch));
            ctx.spawn(sent.map(move |taken, act, ctx| {
                match taken {
                    true => act.watchers.all.iter_mut().filter(|w| w.id == id).for_each(|w| w.in_flight = false),
                    false => act.watchers.all.retain(|w| w.id != id),
                }
                act.flush_watchers(ctx);
            }));
        }
    }
}

/// A stream of events. Ends when the supervisor is gone.
#[derive(Debug)]
pub struct Events {
    batches: mpsc::Receiver<EventBatch>,
    ready: VecDeque<Event>,
    missed: u64,
}

impl Events {
    /// The next event, or `None` when the supervisor is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// How many events were dropped so far because this stream was slow.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    fn poll(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(event));
            }
            match self.batches.poll_recv(cx) {
                Poll::Ready(Some(batch)) => {
                    self.missed += batch.missed;
                    self.ready.extend(batch.events);
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Option<Event>> {
        self.poll(cx)
    }
}
