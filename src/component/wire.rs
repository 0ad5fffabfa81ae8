//! `wire!`: one macro call makes an actor with ports a component.

/// Makes an actor that owns ports a component: numbers the ports, writes the message handlers, and names the hooks.
///
/// ```
/// use actix::prelude::*;
/// use bytes::Bytes;
/// use versile_io::component::{Inlet, InletEvent, Outlet, OutletEvent};
/// use versile_io::wire;
///
/// struct Upper {
///     input: Inlet<Bytes>,
///     output: Outlet<Bytes>,
/// }
/// impl Actor for Upper {
///     type Context = Context<Self>;
/// }
/// wire!(Upper {
///     inlet input: Bytes => on_input;
///     outlet output: Bytes => on_output;
/// });
/// impl Upper {
///     fn on_input(&mut self, event: InletEvent<Bytes>, _: &mut Context<Self>) {
///         match event {
///             // granted from our own credit below, so there is always room
///             InletEvent::Item(b) => drop(self.output.push(b.to_ascii_uppercase().into())),
///             InletEvent::End { clean } => self.output.end(clean),
///             _ => {}
///         }
///     }
///     fn on_output(&mut self, _: OutletEvent, _: &mut Context<Self>) {
///         self.input.grant(self.output.credit());
///     }
/// }
/// # let _ = Upper { input: Inlet::manual(), output: Outlet::default() };
/// ```
///
/// Lines, in any order:
///
/// | line | meaning |
/// |---|---|
/// | `inlet FIELD: T => hook;` | `hook(&mut self, InletEvent<T>, &mut Context<Self>)`; numbered from 0 |
/// | `outlet FIELD: T => hook;` | `hook(&mut self, OutletEvent, &mut Context<Self>)`; numbered from 0 |
/// | `control M => hook;` | `hook(&mut self, Ask<M>, &mut Context<Self>) -> Option<Ask<M>>`; `Some` passes on |
/// | `aborted => hook;` | `hook(&mut self, &Arc<Cause>, &mut Context<Self>)`; once, before the actor stops |
/// | `drain => hook;` | `hook(&mut self, &mut Context<Self>)`: produce no more, and end |
/// | `settled => method;` | `method(&mut self) -> bool`: nothing is held inside; by the ports by default |
/// | `flush => hook;` | `hook(&mut self, &mut Context<Self>) -> Result<(), Reason>`: give what is held |
/// | `state => take, put;` | hand state to a successor, and go on from a predecessor's |
/// | `rewind => hook;` | `hook(&mut self, usize, u64, &mut Context<Self>) -> Result<(), Reason>`: the outlet of this number gives so much once more |
/// | `name => method;` | `method(&self) -> Arc<str>`; the type's name by default |
/// | `two_way;` | inlet and outlet are two directions of one thing, no flow |
/// | `hears => function;` | `function(TypeId) -> bool`: false for a control message that is never answered or passed on, which then is not sent |
/// | `driven;` | a future of the actor's own sends the grants |
///
/// A port made by [`isolated`](crate::component::Outlet::isolated) outlives its attachments: where a plain one takes its component
/// along, its hook hears `Aborted`, at the end of the handler in which the port noticed, and the port can be attached again.
///
/// A generic actor names its parameters first: `wire!([F: Filter] Stock<F> { .. })`. Hooks run under `catch_unwind`: a panic
/// ends this component with `Panicked`. The mailbox order, the end of the turn and the rules are the ports' affair.
#[macro_export]
macro_rules! wire {
    ([$($g:tt)*] $t:ty { $($body:tt)* }) => {
        $crate::wire!(@step [$($g)*] [$t] [0] [0] [] [] [] $($body)*);
    };
    ($t:ident { $($body:tt)* }) => {
        $crate::wire!(@step [] [$t] [0] [0] [] [] [] $($body)*);
    };

    (@step [$($g:tt)*] [$t:ty] [$i:expr] [$o:expr] [$($ports:tt)*] [$($controls:tt)*] [$($items:tt)*]
        inlet $field:ident : $item:ty => $hook:ident; $($rest:tt)*) => {
        impl<$($g)*> $crate::component::HasInlet<{ $i }> for $t {
            type Item = $item;
            fn inlet_port(&mut self) -> &mut $crate::component::Inlet<$item> {
                &mut self.$field
            }
        }
        impl<$($g)*> ::actix::Handler<$crate::component::message::ToInlet<$item, { $i }>> for $t {
            type Result = ();
            fn handle(
                &mut self,
                msg: $crate::component::message::ToInlet<$item, { $i }>,
                ctx: &mut ::actix::Context<Self>,
            ) {
                $crate::component::drive::inlet::<Self, { $i }>(self, msg, ctx, Self::$hook);
            }
        }
        $crate::wire!(@step [$($g)*] [$t] [$i + 1] [$o] [$($ports)* [$field $hook InletEvent]] [$($controls)*] [$($items)*] $($rest)*);
    };
    (@step [$($g:tt)*] [$t:ty] [$i:expr] [$o:expr] [$($ports:tt)*] [$($controls:tt)*] [$($items:tt)*]
        outlet $field:ident : $item:ty => $hook:ident; $($rest:tt)*) => {
        impl<$($g)*> $crate::component::HasOutlet<{ $o }> for $t {
            type Item = $item;
            fn outlet_port(&mut self) -> &mut $crate::component::Outlet<$item> {
                &mut self.$field
            }
        }
        impl<$($g)*> ::actix::Handler<$crate::component::message::ToOutlet<$item, { $o }>> for $t {
            type Result = ();
            fn handle(
                &mut self,
                msg: $crate::component::message::ToOutlet<$item, { $o }>,
                ctx: &mut ::actix::Context<Self>,
            ) {
                $crate::component::drive::outlet::<Self, { $o }>(self, msg, ctx, Self::$hook);
            }
        }
        $crate::wire!(@step [$($g)*] [$t] [$i] [$o + 1] [$($ports)* [$field $hook OutletEvent]] [$($controls)*] [$($items)*] $($rest)*);
    };
    (@step [$($g:tt)*] [$t:ty] [$i:expr] [$o:expr] [$($ports:tt)*] [$($controls:tt)*] [$($items:tt)*]
        control $message:ty => $hook:ident; $($rest:tt)*) => {
        $crate::wire!(@step [$($g)*] [$t] [$i] [$o] [$($ports)*] [$($controls)* [$message, $hook]] [$($items)*] $($rest)*);
    };
    (@step [$($g:tt)*] [$t:ty] [$i:expr] [$o:expr] [$($ports:tt)*] [$($controls:tt)*] [$($items:tt)*]
        controls => $hook:ident; $($rest:tt)*) => {
        $crate::wire!(@step [$($g)*] [$t] [$i] [$o] [$($ports)*] [$($controls)* [$hook]] [$($items)*] $($rest)*);
    };
    (@step [$($g:tt)*] [$t:ty] [$i:expr] [$o:expr] [$($ports:tt)*] [$($controls:tt)*] [$($items:tt)*]
        aborted => $hook:ident; $($rest:tt)*) => {
        $crate::wire!(@step [$($g)*] [$t] [$i] [$o] [$($ports)*] [$($controls)*] [$($items)*
            fn on_abort(
                &mut self,
                cause: &::std::sync::Arc<$crate::proto::link::Cause>,
                ctx: &mut ::actix::Context<Self>,
            ) {
                self.$hook(cause, ctx);
            }
        ] $($rest)*);
    };
    (@step [$($g:tt)*] [$t:ty] [$i:expr] [$o:expr] [$($ports:tt)*] [$($controls:tt)*] [$($items:tt)*]
        drain => $hook:ident; $($rest:tt)*) => {
        $crate::wire!(@step [$($g)*] [$t] [$i] [$o] [$($ports)*] [$($controls)*] [$($items)*
            fn on_drain(&mut self, ctx: &mut ::actix::Context<Self>) {
                self.$hook(ctx);
            }
        ] $($rest)*);
    };
    (@step [$($g:tt)*] [$t:ty] [$i:expr] [$o:expr] [$($ports:tt)*] [$($controls:tt)*] [$($items:tt)*]
        settled => $method:ident; $($rest:tt)*) => {
        $crate::wire!(@step [$($g)*] [$t] [$i] [$o] [$($ports)*] [$($controls)*] [$($items)*
            fn is_settled(&mut self) -> bool {
                self.$method()
            }
        ] $($rest)*);
    };
    (@step [$($g:tt)*] [$t:ty] [$i:expr] [$o:expr] [$($ports:tt)*] [$($controls:tt)*] [$($items:tt)*]
        flush => $hook:ident; $($rest:tt)*) => {
        $crate::wire!(@step [$($g)*] [$t] [$i] [$o] [$($ports)*] [$($controls)*] [$($items)*
            fn on_flush(
                &mut self,
                ctx: &mut ::actix::Context<Self>,
            ) -> ::std::result::Result<(), $crate::proto::link::Reason> {
                self.$hook(ctx)
            }
        ] $($rest)*);
    };
    (@step [$($g:tt)*] [$t:ty] [$i:expr] [$o:expr] [$($ports:tt)*] [$($controls:tt)*] [$($items:tt)*]
        state => $take:ident, $put:ident; $($rest:tt)*) => {
        $crate::wire!(@step [$($g)*] [$t] [$i] [$o] [$($ports)*] [$($controls)*] [$($items)*
            fn take_state(&mut self) -> ::std::option::Option<$crate::component::message::PartState> {
                self.$take()
            }
            fn put_state(
                &mut self,
                state: $crate::component::message::PartState,
            ) -> ::std::result::Result<(), $crate::component::message::PartState> {
                self.$put(state)
            }
        ] $($rest)*);
    };
    (@step [$($g:tt)*] [$t:ty] [$i:expr] [$o:expr] [$($ports:tt)*] [$($controls:tt)*] [$($items:tt)*]
        rewind => $hook:ident; $($rest:tt)*) => {
        $crate::wire!(@step [$($g)*] [$t] [$i] [$o] [$($ports)*] [$($controls)*] [$($items)*
            fn on_rewind(
                &mut self,
                outlet: usize,
                by: u64,
                ctx: &mut ::actix::Context<Self>,
            ) -> ::std::result::Result<(), $crate::proto::link::Reason> {
                self.$hook(outlet, by, ctx)
            }
        ] $($rest)*);
    };
    (@step [$($g:tt)*] [$t:ty] [$i:expr] [$o:expr] [$($ports:tt)*] [$($controls:tt)*] [$($items:tt)*]
        name => $method:ident; $($rest:tt)*) => {
        $crate::wire!(@step [$($g)*] [$t] [$i] [$o] [$($ports)*] [$($controls)*] [$($items)*
            fn name(&self) -> ::std::sync::Arc<str> {
                self.$method()
            }
        ] $($rest)*);
    };
    (@step [$($g:tt)*] [$t:ty] [$i:expr] [$o:expr] [$($ports:tt)*] [$($controls:tt)*] [$($items:tt)*]
        hears => $function:ident; $($rest:tt)*) => {
        $crate::wire!(@step [$($g)*] [$t] [$i] [$o] [$($ports)*] [$($controls)*] [$($items)*
            fn hears(message: ::std::any::TypeId) -> bool {
                Self::$function(message)
            }
        ] $($rest)*);
    };
    (@step [$($g:tt)*] [$t:ty] [$i:expr] [$o:expr] [$($ports:tt)*] [$($controls:tt)*] [$($items:tt)*]
        two_way; $($rest:tt)*) => {
        $crate::wire!(@step [$($g)*] [$t] [$i] [$o] [$($ports)*] [$($controls)*] [$($items)*
            const TWO_WAY: bool = true;
        ] $($rest)*);
    };
    (@step [$($g:tt)*] [$t:ty] [$i:expr] [$o:expr] [$($ports:tt)*] [$($controls:tt)*] [$($items:tt)*]
        driven; $($rest:tt)*) => {
        $crate::wire!(@step [$($g)*] [$t] [$i] [$o] [$($ports)*] [$($controls)*] [$($items)*
            const DRIVEN: bool = true;
        ] $($rest)*);
    };

    (@step [$($g:tt)*] [$t:ty] [$i:expr] [$o:expr] [$([$port:ident $told:ident $event:ident])*] [$($controls:tt)*]
        [$($items:tt)*]) => {
        impl<$($g)*> $crate::component::Component for $t {
            fn ports(&mut self, visit: &mut dyn FnMut(&mut dyn $crate::component::port::AnyPort)) {
                $(visit(&mut self.$port);)*
            }
            fn on_cut(&mut self, ctx: &mut ::actix::Context<Self>) {
                let _ = &ctx;
                $(if self.$port.take_cut() {
                    self.$told($crate::component::$event::Aborted, ctx);
                })*
            }
            fn on_control(
                &mut self,
                envelope: $crate::component::control::Envelope,
                ctx: &mut ::actix::Context<Self>,
            ) -> ::std::option::Option<$crate::component::control::Envelope> {
                let _ = &ctx;
                $($crate::wire!(@control self, envelope, ctx, $controls);)*
                ::std::option::Option::Some(envelope)
            }
            $($items)*
        }
        impl<$($g)*> ::actix::Handler<$crate::component::message::Manage> for $t {
            type Result = ();
            fn handle(&mut self, msg: $crate::component::message::Manage, ctx: &mut ::actix::Context<Self>) {
                $crate::component::drive::manage(self, msg, ctx);
            }
        }
    };

    (@control $self:ident, $envelope:ident, $ctx:ident, [$message:ty, $hook:ident]) => {
        let $envelope = match $envelope.open::<$message>() {
            ::std::result::Result::Ok(ask) => {
                return $self.$hook(ask, $ctx).map($crate::component::control::Ask::into_envelope);
            }
            ::std::result::Result::Err(envelope) => envelope,
        };
    };
    (@control $self:ident, $envelope:ident, $ctx:ident, [$hook:ident]) => {
        let $envelope = $self.$hook($envelope, $ctx)?;
    };
}
