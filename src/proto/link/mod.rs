//! The link on one page: one directed attachment of an outlet (producer) to an inlet (consumer).
//!
//! ```text
//!   producer                                              consumer
//!   Outlet ── Consume(item) · End{clean} ───────────────▶ Inlet
//!          ◀─ CanProduce(limit) ────────────────────────
//!   both ends share a `LinkCell`: the cause of an abort (set once), the limit and the counters
//! ```
//!
//! The ladder of a short life, as the two ports speak it:
//!
//! ```text
//!   reserve(cell)            the outlet learns the link; its limit is 0            P2
//!                            attach(cell)   the inlet is joined
//!   CanProduce(limit)     ◀─                the first grant confirms the link      C1
//!   Consume(item)         ─▶                produced <= limit                      P1
//!                            the limit in the cell rises: half is used, or all  C1
//!                            is consumed
//!   CanProduce(limit)     ◀─                the same to an outlet that waits       C1
//!   End{clean}            ─▶                exactly one terminal event each side   P4
//! ```
//!
//! The phases of the two ports (`tests/golden/` holds the full table of phase and event):
//!
//! ```text
//!   Outlet   Idle ─reserve▶ Reserved ─first grant▶ Open ─end, backlog sent▶ Ended
//!              ▲──release──────┘  └──────┬───────────┘
//!              └──detach, suspend────────┤
//!                                        └─abort, cell set▶ Aborted
//!   Inlet    Idle ─attach▶ Open ─End▶ Draining ─all released▶ Ended
//!              ▲──close_at──┘           │
//!                                       └─abort, cell set▶ Aborted
//! ```
//!
//! # Suspension
//!
//! A supervisor *arms* the end whose component it will rebuild. What an armed end does when its component fails, and what
//! follows at the other end (rules S1, S2):
//!
//! | end | phase | stimulus | does |
//! |---|---|---|---|
//! | failing outlet | Reserved, Open | `fail`, armed | cell suspended; flushes, `Suspend{at}`; over: suspended at what it sent |
//! | | Reserved, Open | `fail`, not armed, or a cause is set | as `abort` |
//! | | Lingering, Ended | `fail` | ended: its data is complete |
//! | inlet beside it | Open | `Suspend{at}` | has taken exactly `at`; Idle, keeps what it holds |
//! | failing inlet | Open, Draining behind a lingering outlet | `fail`, armed | cell suspended; `Suspend`; over: suspended at what it accepted |
//! | | Draining behind an outlet that is gone | `fail` | as `abort`: there is nobody who could go on |
//! | outlet beside it | Reserved, Open | cell suspended | sends nothing more, keeps what waits |
//! | | Reserved, Open, Lingering | `Suspend` | Idle, keeps what waits, the end included |
//! | | Open, consumer armed | its end is sent | Lingering: the attachment is not over |
//! | | Lingering | `Finished` | Ended |
//! | either | any of these | cause in the cell | aborted: a cause from elsewhere goes before a suspension |
//!
//! Rules are numbered P, C, E, A, X, M, F, S; `docs/rules.md` states each in full. Where a rule bites, the code cites it.

mod cause;
mod cell;
mod demand;
mod error;
mod id;
mod inlet;
mod limit;
mod message;
mod outlet;
mod parcel;
mod payload;

pub use cause::{Cause, Origin, Reason};
pub use cell::{Forms, LinkCell, LinkState, Suspension};
#[cfg(feature = "testkit")]
pub(crate) use error::Displayed;
pub use error::{AttachError, PushError, Rule, Side, Violation};
pub use id::LinkId;
pub use inlet::{Inlet, InletEffect, InletPhase, Received};
pub use limit::{Count, Credit, Limit, Window};
pub use message::{Down, Terminal, Up};
pub use outlet::{JOIN_LIMIT, LateAbort, Outlet, OutletEffect, OutletPhase};
pub use parcel::Parcel;
pub use payload::Payload;
