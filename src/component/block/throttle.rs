//! At most so much a second: a bucket of tokens that grants as it fills.
//!
//! The tokens bound what is granted to the producer, so it is slowed by credit and nothing piles up here. One timer at most is armed,
//! and only while the consumer would take more than the bucket holds.

use crate::component::drive;
use crate::component::{AddrExt, Inlet, InletEvent, InletRef, Outlet, OutletEvent, OutletRef};
use crate::proto::link::{Credit, Payload};
use crate::wire;
use actix::{Actor, ActorContext, AsyncContext, Context, SpawnHandle};
use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const SECOND: u128 = 1_000_000_000;

/// How much may pass a second, and at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    per_second: NonZeroU64,
    burst: u64,
}

impl Rate {
    /// `per_second` bytes, or items where the payload is not bytes, and a tenth of that at once.
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use versile_io::component::block::Rate;
    /// let rate = Rate::new(NonZeroU64::new(10 << 20).expect("not 0")).burst(64 << 10);
    /// # let _ = rate;
    /// ```
    pub fn new(per_second: NonZeroU64) -> Self {
        Self { per_second, burst: 0 }.burst(per_second.get() / 10)
    }

    /// How much may pass at once after a pause: at least what comes in 20 ms, since timers are no finer, and at least 1. An item
    /// that cannot be split and is larger never passes.
    #[must_use]
    pub fn burst(mut self, burst: u64) -> Self {
        self.burst = burst.max(self.per_second.get() / 50).max(1);
        self
    }

    /// How much is worth a grant of its own: what comes in 10 ms.
    fn quantum(self) -> u64 {
        (self.per_second.get() / 100).clamp(1, self.burst)
    }
}

/// A throttle's ports.
#[derive(Debug)]
pub struct Throttle<T: Payload> {
    /// Where items come in.
    pub inlet: InletRef<T>,
    /// Where they go out.
    pub outlet: OutletRef<T>,
}

/// Starts a throttle on the current arbiter.
///
/// ```
/// use bytes::Bytes;
/// use std::num::NonZeroU64;
/// use versile_io::component::block::{Rate, throttle};
/// # actix::System::new().block_on(async {
/// let ports = throttle::<Bytes>(Rate::new(NonZeroU64::new(10 << 20).expect("not 0")));
/// # let _ = ports; });
/// ```
pub fn throttle<T: Payload>(rate: Rate) -> Throttle<T> {
    let actor = ThrottleActor {
        input: Inlet::manual_until_complete(),
        output: Outlet::default(),
        rate,
        tokens: rate.burst,
        filled: Instant::now(),
        granted: Credit::NONE,
        waiting: VecDeque::new(),
        end: None,
        timer: None,
    };
    let addr = actor.start();
    Throttle { inlet: addr.inlet(), outlet: addr.outlet() }
}

/// The actor of a [`throttle`].
pub struct ThrottleActor<T: Payload> {
    input: Inlet<T>,
    output: Outlet<T>,
    rate: Rate,
    /// What may be accepted; what is granted and has not come is a part of it.
    tokens: u64,
    /// Until when the tokens are counted.
    filled: Instant,
    /// Granted, and not come yet.
    granted: Credit,
    /// Only if the consumer was detached and another has granted less.
    waiting: VecDeque<T>,
    end: Option<bool>,
    timer: Option<SpawnHandle>,
}

impl<T: Payload> Actor for ThrottleActor<T> {
    type Context = Context<Self>;
}

wire!([T: Payload] ThrottleActor<T> {
    inlet input: T => on_input;
    outlet output: T => on_output;
    settled => is_empty;
    name => throttle_name;
});

impl<T: Payload> ThrottleActor<T> {
    fn on_input(&mut self, event: InletEvent<T>, ctx: &mut Context<Self>) {
        match event {
            InletEvent::Item(item) => {
                let quantity = item.quantity();
                self.fill();
                self.tokens = self.tokens.saturating_sub(quantity);
                self.granted.quantity = self.granted.quantity.saturating_sub(quantity);
                self.granted.messages = self.granted.messages.saturating_sub(1);
                self.waiting.push_back(item);
            }
            InletEvent::End { clean } => self.end = Some(clean),
            // counts start again with the attachment
            InletEvent::Parcel(_) | InletEvent::Attached | InletEvent::Detached | InletEvent::Aborted => {
                self.granted = Credit::NONE
            }
        }
        self.pump(ctx);
    }

    fn on_output(&mut self, _: OutletEvent, ctx: &mut Context<Self>) {
        self.pump(ctx);
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        while self.output.is_ready() {
            let Some(item) = self.waiting.pop_front() else { break };
            // it is ready, so it takes any item
            let _ = self.output.push(item);
        }
        if self.waiting.is_empty() {
            match self.end {
                Some(clean) => self.output.end(clean),
                None => self.grant(),
            }
        }
        if self.output.ended().is_some() {
            self.input.complete();
            ctx.stop();
        }
        self.output.keep(!self.waiting.is_empty());
        self.arm(ctx);
    }

    /// What has come in since the tokens were counted.
    fn fill(&mut self) {
        let per_second = u128::from(self.rate.per_second.get());
        let now = Instant::now();
        let gained = now.duration_since(self.filled).as_nanos() * per_second / SECOND;
        // without the rest, which is counted next time; rounded so that never more comes than the rate
        self.filled += nanos((gained * SECOND).div_ceil(per_second));
        let tokens = u128::from(self.tokens) + gained;
        if tokens >= u128::from(self.rate.burst) {
            self.filled = now;
        }
        self.tokens = u64::try_from(tokens).unwrap_or(u64::MAX).min(self.rate.burst);
    }

    fn grant(&mut self) {
        self.fill();
        let credit = self.output.credit();
        let may = credit.quantity.min(self.tokens);
        let more = may.saturating_sub(self.granted.quantity);
        // not one grant for each item: a quantum, or all that there is, or half of the messages (C1)
        let worth = more >= self.rate.quantum() || (more > 0 && (may == credit.quantity || self.granted.quantity == 0));
        if worth || self.granted.messages <= credit.messages / 2 {
            self.granted.quantity = self.granted.quantity.max(may);
            self.granted.messages = self.granted.messages.max(credit.messages);
            self.input.grant(self.granted);
        }
    }

    /// Arms the timer while the consumer would take more than the bucket holds, and the producer is there.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let full = self.output.credit().quantity.min(self.rate.burst);
        if !self.input.is_open() || !self.output.is_open() || self.tokens >= full {
            if let Some(timer) = self.timer.take() {
                ctx.cancel_future(timer);
            }
            return;
        }
        if self.timer.is_none() {
            let missing = self.rate.quantum().min(full - self.tokens);
            let wait = nanos(u128::from(missing) * SECOND / u128::from(self.rate.per_second.get()));
            self.timer = Some(ctx.run_later(wait.max(Duration::from_millis(1)), |act, ctx| {
                act.timer = None;
                // nothing to do for one that is aborted
                let _ = drive::turn(act, ctx, |act, ctx| act.pump(ctx));
            }));
        }
    }

    fn is_empty(&mut self) -> bool {
        self.waiting.is_empty() && !self.output.has_work()
    }

    fn throttle_name(&self) -> Arc<str> {
        "throttle".into()
    }
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl<T: Payload> fmt::Debug for ThrottleActor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottleActor")
            .field("rate", &self.rate)
            .field("tokens", &self.tokens)
            .field("granted", &self.granted)
            .finish_non_exhaustive()
    }
}
