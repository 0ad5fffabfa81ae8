//! Goal: a control message of one's own: a producer asks the end of its chain something before it sends anything.
//!
//! Command: `cargo run --example control_message`
//!
//! Expected output:
//!
//! ```text
//! arrived: BONJOUR
//! ```
//!
//! The filter in the middle has never heard of the message, so it passes it on. Without anybody who answers, the asker
//! would get `MissingControl`.

use actix::prelude::*;
use versile_io::component::control::{Control, Envelope};
use versile_io::component::stock::{Filter, Outbox, PartResult, Sink};
use versile_io::component::{AddrExt as _, Outlet, OutletEvent, join};
use versile_io::wire;

/// Which language does the end of the chain speak?
struct Language;

impl Control for Language {
    type Reply = &'static str;
}

/// Asks, then greets once.
struct Greeter {
    output: Outlet<String>,
}

impl Actor for Greeter {
    type Context = Context<Self>;
}

wire!(Greeter {
    outlet output: String => on_output;
});

impl Greeter {
    fn on_output(&mut self, event: OutletEvent, ctx: &mut Context<Self>) {
        if event == OutletEvent::Attached {
            // Spawned, never `ctx.wait`: two components that wait for each other would stand still.
            let answer = self.output.ask(Language).into_actor(self);
            ctx.spawn(answer.map(|answer, act, _| {
                let greeting = if answer == Ok("fr") { "bonjour" } else { "hello" };
                drop(act.output.push(greeting.to_owned()));
                act.output.end(true);
            }));
        }
    }
}

struct Upper;

impl Filter for Upper {
    type In = String;
    type Out = String;

    fn apply(&mut self, item: String, out: &mut Outbox<String>) -> PartResult {
        out.push(item.to_uppercase());
        Ok(())
    }
}

#[derive(Default)]
struct Listener(Vec<String>);

impl Sink for Listener {
    type In = String;

    fn consume(&mut self, item: String) -> PartResult {
        self.0.push(item);
        Ok(())
    }

    fn control(&mut self, envelope: Envelope) -> Option<Envelope> {
        envelope.open::<Language>().map(|ask| ask.answer("fr")).err()
    }
}

#[actix::main]
async fn main() {
    let greeter = Greeter { output: Outlet::default() }.start();
    let (filter_in, filter_out, _) = Upper.start();
    let (inlet, done) = Listener::default().start();
    join(&filter_out, &inlet, None);
    join(&greeter.outlet(), &filter_in, None);
    if let (Some(Listener(arrived)), _) = done.await {
        println!("arrived: {}", arrived.join(", "));
    }
}
