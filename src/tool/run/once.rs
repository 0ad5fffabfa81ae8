//! A copy, or a relay without a listener: one chain, from its opening to its end.
//!
//! ```text
//!   bind what listens ──▶ open what does not ──▶ accept ──▶ attach ──▶ over
//!                                                  │interrupt           │interrupt ──▶ drain ──▶ over
//!                                                  └──▶ nothing moved   │interrupt ──▶ abort ──▶ over, or late
//! ```

use super::chain::{Ended, Loose};
use super::meter::{Meter, watch};
use super::signals::Interrupts;
use super::verdict::{Intervention, judge};
use super::{Job, LATE, Ran};
use crate::agent::listener::{Accepted, Bound};
use crate::agent::stream::Stream;
use crate::supervisor::Target;
use crate::tool::exit::Exit;
use crate::tool::inherited::Inherited;
use crate::tool::plan::{End, OpenError};
use crate::tool::progress::Console;
use futures_util::future::{Either, select};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// What can happen to a running chain.
enum Happening {
    Over(Box<Ended>),
    Interrupt,
    Idle,
    /// All were aborted, and some are still there.
    Late,
}

/// Runs it.
pub(super) async fn once(job: &Job, inherited: &Inherited, console: Arc<Console>) -> Ran {
    let mut interrupts = match Interrupts::listen() {
        Ok(interrupts) => interrupts,
        Err(error) => return Ran::failed(Exit::Internal, format!("cannot listen to signals: {error}")),
    };
    let opened = {
        let opening = pin!(open(job, inherited, &console));
        let interrupted = pin!(interrupts.next());
        match select(opening, interrupted).await {
            Either::Left((opened, _)) => opened,
            Either::Right(_) => return Ran::failed(Exit::Drained, "interrupted before anybody connected".to_owned()),
        }
    };
    match opened {
        Ok(streams) => run(job, streams, inherited, interrupts, console).await,
        Err(error) => error.into(),
    }
}

/// Both streams: first all that can fail at once, then the connections that have to be waited for.
async fn open(job: &Job, inherited: &Inherited, console: &Console) -> Result<[Stream; 2], OpenError> {
    let [left, right] = &job.ends;
    let bound = [bind(left, console).await?, bind(right, console).await?];
    let mut streams = [None, None];
    for (at, end) in job.ends.iter().enumerate().filter(|(_, end)| !end.listens()) {
        streams[at] = Some(end.open(inherited)?);
    }
    let [left_stream, right_stream] = streams;
    let [left_bound, right_bound] = bound;
    let left_stream = stream(left, left_stream, left_bound, inherited);
    let right_stream = stream(right, right_stream, right_bound, inherited);
    let (left_stream, right_stream) = futures_util::future::join(left_stream, right_stream).await;
    Ok([left_stream?, right_stream?])
}

async fn bind(end: &End, console: &Console) -> Result<Option<Bound>, OpenError> {
    if !end.listens() {
        return Ok(None);
    }
    let bound = end.bind(true, Vec::new()).await?;
    console.note(&format!("{}: listening on {}", end.label(), bound.local()));
    Ok(Some(bound))
}

async fn stream(
    end: &End,
    stream: Option<Stream>,
    bound: Option<Bound>,
    inherited: &Inherited,
) -> Result<Stream, OpenError> {
    match (stream, bound) {
        (Some(stream), _) => Ok(stream),
        (None, Some(bound)) => end.accepted(accept_one(bound).await),
        (None, None) => end.open(inherited),
    }
}

/// Accepts one connection, and closes the listener behind it.
async fn accept_one(bound: Bound) -> Accepted {
    let (tx, rx) = oneshot::channel();
    let slot = Mutex::new(Some(tx));
    let listening = bound.start(move |accepted| {
        if let Some(tx) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // nobody waits after an interrupt
            let _ = tx.send(accepted);
        }
    });
    listening.permit(1);
    match rx.await {
        Ok(accepted) => {
            listening.stop().await;
            accepted
        }
        // the listener goes on until the process ends
        Err(_) => std::future::pending().await,
    }
}

async fn run(
    job: &Job,
    streams: [Stream; 2],
    inherited: &Inherited,
    mut interrupts: Interrupts,
    console: Arc<Console>,
) -> Ran {
    let supervisor = job.supervisor();
    let ends = job.ends.each_ref();
    let chain = match Loose::start(ends, streams, job.both, job.common.hash, &job.common.via, inherited) {
        Ok(chain) => chain,
        Err(error) => return error.into(),
    };
    let (links, running, attached) = chain.attach(&supervisor).await;

    let (tell, mut happenings) = mpsc::channel(8);
    let over = tell.clone();
    // the receiver is there until all is over; nobody listens later
    actix_rt::spawn(async move {
        let _ = over.send(Happening::Over(Box::new(running.ended().await))).await;
    });
    let interrupted = tell.clone();
    actix_rt::spawn(async move {
        loop {
            interrupts.next().await;
            if interrupted.send(Happening::Interrupt).await.is_err() {
                return;
            }
        }
    });
    let told = console.clone();
    let meter = Meter::Asked { supervisor: supervisor.clone(), links, last: [0; 2] };
    let (idle, limit) = (tell.clone(), job.common.idle);
    let watching = actix_rt::spawn(async move {
        watch(meter, Some(console), limit).await;
        let _ = idle.send(Happening::Idle).await;
    });
    let abort = |why: &'static str| {
        let (supervisor, tell) = (supervisor.clone(), tell.clone());
        actix_rt::spawn(async move {
            supervisor.abort(Target::All, why).await;
            tokio::time::sleep(LATE).await;
            let _ = tell.send(Happening::Late).await;
        });
    };

    let mut intervention = Intervention::default();
    let refused = attached.err().map(|failure| format!("cannot join the two: {failure}"));
    if refused.is_some() {
        // what failed by itself meanwhile tells more
        abort("the chain could not be joined");
    }
    let ended = loop {
        match happenings.recv().await {
            Some(Happening::Over(ended)) => break Some(ended),
            Some(Happening::Interrupt) if !intervention.drained => {
                intervention.drained = true;
                let (supervisor, drain, tell) = (supervisor.clone(), job.common.drain, tell.clone());
                actix_rt::spawn(async move {
                    supervisor.shutdown(drain).await;
                    tokio::time::sleep(LATE).await;
                    let _ = tell.send(Happening::Late).await;
                });
            }
            Some(Happening::Interrupt) => {
                intervention.aborted = true;
                abort("a second interrupt");
            }
            Some(Happening::Idle) => {
                intervention.idle = limit;
                abort("nothing moved");
            }
            Some(Happening::Late) | None => break None,
        }
    };
    watching.abort();
    let Some(ended) = ended else {
        let exit = if intervention.drained { Exit::Aborted } else { Exit::Internal };
        return Ran::failed(exit, refused.unwrap_or_else(|| "aborted; some parts did not stop in time".to_owned()));
    };
    let verdict = judge(ends, &ended, intervention);
    if matches!(verdict.exit, Exit::Delivered | Exit::Drained) {
        ended.gaps.iter().for_each(|gap| told.note(gap));
    }
    let written = |at: usize| ended.sides[at].0.as_ref().map_or(0, Stream::written);
    let bytes = [written(1), written(0)];
    match (refused, verdict.exit) {
        (Some(refused), Exit::Internal | Exit::Delivered) => Ran::failed(Exit::Internal, refused),
        (_, exit) => Ran { exit, cause: verdict.cause, bytes, hashes: ended.hashes, connections: None },
    }
}
