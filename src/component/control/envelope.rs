//! A control message under way: erased for the components that pass it on, typed for the one that answers.

use super::{Control, ControlError};
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// How long an asker waits for an answer unless it says otherwise: 30 s, the seed's longest wait for a rendezvous.
/// A cycle of components that wait for each other's answers ends by it.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(30);

/// A question with its reply type erased. Dropped unanswered, it answers [`ControlError::Gone`].
pub struct Envelope {
    body: Box<dyn Body>,
    /// Room on the links that it has travelled; given back when it is answered or dropped.
    room: Vec<OwnedSemaphorePermit>,
}

impl Envelope {
    /// A question and where its answer arrives.
    pub(crate) fn new<M: Control>(message: M) -> (Self, Answer<M::Reply>) {
        let (tx, rx) = oneshot::channel();
        let body = Box::new(Question { message: Some(message), reply: Some(tx) });
        (Self { body, room: Vec::new() }, rx)
    }

    /// A message whose answer nobody awaits.
    pub(crate) fn telling<M: Control>(message: M) -> Self {
        Self { body: Box::new(Question { message: Some(message), reply: None }), room: Vec::new() }
    }

    /// The typed question if this is an `M`, else the envelope back.
    pub fn open<M: Control>(self) -> Result<Ask<M>, Envelope> {
        if !self.body.as_any_ref().is::<Question<M>>() {
            return Err(self);
        }
        let Self { body, room } = self;
        match body.into_any().downcast::<Question<M>>() {
            Ok(question) => Ok(Ask { question, room }),
            Err(_) => unreachable!("the type was checked above"),
        }
    }

    /// The message's type name, for logs.
    pub fn name(&self) -> &'static str {
        self.body.name()
    }

    /// Answers [`ControlError::MissingControl`]: the chain ends here.
    pub(crate) fn missing(mut self) {
        self.body.refuse(ControlError::MissingControl);
    }

    pub(crate) fn take_room(&mut self, permit: OwnedSemaphorePermit) {
        self.room.push(permit);
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({})", self.name())
    }
}

/// A question in the hands of a handler. Dereferences to the message. Dropped unanswered, it answers
/// [`ControlError::Gone`]; it may be kept and answered later.
pub struct Ask<M: Control> {
    question: Box<Question<M>>,
    room: Vec<OwnedSemaphorePermit>,
}

impl<M: Control> Ask<M> {
    /// Answers. The reply goes straight to the asker.
    pub fn answer(mut self, reply: M::Reply) {
        self.question.send(Ok(reply));
    }

    /// Answers and returns a copy of the message to be passed on, whose own answer nobody awaits.
    #[must_use = "return the copy from the handler to pass it on"]
    pub fn answer_and_pass(self, reply: M::Reply) -> Self
    where
        M: Clone,
    {
        let copy = Box::new(Question { message: self.question.message.clone(), reply: None });
        self.answer(reply);
        Self { question: copy, room: Vec::new() }
    }

    /// Back to an envelope, to be passed on by a component that handles envelopes.
    pub fn into_envelope(self) -> Envelope {
        Envelope { body: self.question, room: self.room }
    }
}

impl<M: Control> Deref for Ask<M> {
    type Target = M;

    fn deref(&self) -> &M {
        match &self.question.message {
            Some(message) => message,
            None => unreachable!("a question keeps its message"),
        }
    }
}

impl<M: Control + fmt::Debug> fmt::Debug for Ask<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ask").field(&self.question.message).finish()
    }
}

pub(crate) type Answer<R> = oneshot::Receiver<Result<R, ControlError>>;

struct Question<M: Control> {
    message: Option<M>,
    reply: Option<oneshot::Sender<Result<M::Reply, ControlError>>>,
}

impl<M: Control> Question<M> {
    fn send(&mut self, answer: Result<M::Reply, ControlError>) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(answer);
        }
    }
}

impl<M: Control> Drop for Question<M> {
    fn drop(&mut self) {
        self.send(Err(ControlError::Gone));
    }
}

trait Body: Send {
    fn name(&self) -> &'static str;
    fn refuse(&mut self, error: ControlError);
    fn as_any_ref(&self) -> &dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<M: Control> Body for Question<M> {
    fn name(&self) -> &'static str {
        std::any::type_name::<M>()
    }

    fn refuse(&mut self, error: ControlError) {
        self.send(Err(error));
    }

    fn as_any_ref(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// The answer to come. Dropping it withdraws nothing: the question travels on. Cancel safe.
#[must_use = "spawn it, or drop it where nobody cares for the answer"]
pub struct Asking<R>(Pin<Box<dyn Future<Output = Result<R, ControlError>> + Send>>);

impl<R: Send + 'static> Asking<R> {
    /// Nobody to ask.
    pub(crate) fn missing() -> Self {
        Self(Box::pin(std::future::ready(Err(ControlError::MissingControl))))
    }

    /// Waits for room first (`send` resolves once the question is under way), then for the answer.
    pub(crate) fn new(send: impl Future<Output = ()> + Send + 'static, answer: Answer<R>, within: Duration) -> Self {
        Self(Box::pin(async move {
            let both = async move {
                send.await;
                answer.await
            };
            match tokio::time::timeout(within, both).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(ControlError::Gone),
                Err(_) => Err(ControlError::TimedOut(within)),
            }
        }))
    }
}

impl<R> Future for Asking<R> {
    type Output = Result<R, ControlError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<R> fmt::Debug for Asking<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asking")
    }
}
