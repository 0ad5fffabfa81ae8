//! Runs a closure inside an actor, as a test's way to its ports.

use actix::prelude::*;
use versile_io::component::Component;
use versile_io::component::drive;

type Run<A> = dyn FnOnce(&mut A, &mut <A as Actor>::Context) + Send;

/// A closure for an actor.
pub(crate) struct Inside<A: Actor>(pub(crate) Box<Run<A>>);

impl<A: Actor> Message for Inside<A> {
    type Result = ();
}

/// Makes actors take [`Inside`].
macro_rules! inside {
    ($($t:ty),*) => {$(
        impl Handler<$crate::inside::Inside<$t>> for $t {
            type Result = ();
            fn handle(&mut self, msg: $crate::inside::Inside<$t>, ctx: &mut Context<$t>) {
                (msg.0)(self, ctx);
            }
        }
    )*};
}

/// Runs `f` inside the actor as a turn of its own, and gives what it gives.
pub(crate) async fn inside<A, R>(addr: &Addr<A>, f: impl FnOnce(&mut A, &mut Context<A>) -> R + Send + 'static) -> R
where
    A: Component + Handler<Inside<A>>,
    R: Send + 'static,
{
    let (tx, rx) = tokio::sync::oneshot::channel();
    addr.do_send(Inside(Box::new(move |act: &mut A, ctx: &mut Context<A>| {
        if let Some(result) = drive::turn(act, ctx, f) {
            let _ = tx.send(result);
        }
    })));
    rx.await.expect("the actor ran it")
}
