//! The actor that drives a handle, and its messages.
//!
//! The actor is a shell: its handlers set a bit and wake the loop in `drive.rs`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use actix::{Actor, ActorFutureExt as _, Addr, AsyncContext as _, Context, Handler, Message, WrapFuture as _};
use actix::{ActorContext as _, ArbiterHandle};
use tokio::sync::oneshot;

use super::drive::Driven;
use super::outcome::{CloseReason, Outcome};
use super::resume::{CLOSE, Resumer};
use super::{ByteHandle, Interest};

/// An actor that waits for a descriptor to become ready and calls its [`ByteHandle`].
///
/// It keeps itself alive until the handle is closed; dropping its address does not close it. It takes [`Resume`] and
/// [`CloseHandle`].
#[derive(Debug)]
pub struct HandleDriver<H: ByteHandle> {
    driven: Option<Driven<H>>,
    resumer: Resumer,
}

impl<H: ByteHandle> HandleDriver<H> {
    /// Drives a handle on the arbiter of the caller. Registration happens there a little later; if it fails, the
    /// [`Completion`] says so.
    ///
    /// # Panics
    ///
    /// As any actor: if the caller is not on an arbiter.
    pub fn start(handle: H) -> (Addr<Self>, Completion) {
        let (driver, completion) = Self::new(handle);
        (Actor::start(driver), completion)
    }

    /// Drives a handle on another arbiter. If that has stopped, the handle is closed at once with
    /// [`CloseReason::Stopped`].
    pub fn start_on(arbiter: &ArbiterHandle, handle: H) -> (Addr<Self>, Completion)
    where
        H: Send,
    {
        let (driver, completion) = Self::new(handle);
        (Self::start_in_arbiter(arbiter, move |_| driver), completion)
    }

    fn new(handle: H) -> (Self, Completion) {
        let (tell, told) = oneshot::channel();
        let resumer = Resumer::default();
        let driven = Driven::new(handle, resumer.clone(), tell);
        (Self { driven: Some(driven), resumer }, Completion(told))
    }
}

impl<H: ByteHandle> Actor for HandleDriver<H> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(driven) = self.driven.take() {
            ctx.spawn(driven.run().into_actor(self).map(|(), _, ctx| ctx.stop()));
        }
    }
}

impl<H: ByteHandle> Handler<Resume> for HandleDriver<H> {
    type Result = ();

    fn handle(&mut self, Resume(directions): Resume, _: &mut Self::Context) {
        self.resumer.resume(directions);
    }
}

impl<H: ByteHandle> Handler<CloseHandle> for HandleDriver<H> {
    type Result = ();

    fn handle(&mut self, _: CloseHandle, _: &mut Self::Context) {
        self.resumer.set(CLOSE);
    }
}

/// Ends the pause of some directions, and has the driver ask [`ByteHandle::interest`] again. It is kept if the handle is
/// not paused yet by the call that runs; a direction that is not paused is called once it is ready, as ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume(pub Interest);

impl Message for Resume {
    type Result = ();
}

/// Closes the handle with [`CloseReason::Requested`]. The answer comes before the hooks have run: await the
/// [`Completion`] for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseHandle;

impl Message for CloseHandle {
    type Result = ();
}

/// Resolves when the handle has been closed and dropped.
///
/// Cancel safety: it can be polled again at any time; dropping it changes nothing for the driver.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled; drop it explicitly if the outcome does not matter"]
pub struct Completion(oneshot::Receiver<Outcome>);

impl Future for Completion {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Outcome> {
        // The sender is dropped without a word only if a runtime is torn down without running destructors.
        let stopped =
            |_| Outcome { input: Some(CloseReason::Stopped), output: Some(CloseReason::Stopped), ..Outcome::default() };
        Pin::new(&mut self.0).poll(cx).map(|told| told.unwrap_or_else(stopped))
    }
}
