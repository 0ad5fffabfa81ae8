//! What a run leaves behind: events, ladders and the account of each attachment.

use crate::proto::link::{Count, Credit, Limit, LinkCell, LinkId, Payload, Terminal, Window};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A payload whose content can be put down on a tape, to compare what was sent with what arrived.
pub trait Sample: Payload {
    /// Appends the content to `tape`, whatever the sizes of the pieces.
    fn put(&self, tape: &mut Vec<u8>);
}

impl Sample for Bytes {
    fn put(&self, tape: &mut Vec<u8>) {
        tape.extend_from_slice(self);
    }
}

impl Sample for u32 {
    fn put(&self, tape: &mut Vec<u8>) {
        tape.extend_from_slice(&self.to_le_bytes());
    }
}

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// The owner of the outlet; `A` in ladders.
    Producer,
    /// The owner of an inlet; `B`, `C` and so on in ladders.
    Consumer(usize),
    /// Who attaches and detaches; `S` in ladders.
    Supervisor,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self {
            Self::Producer => 'A',
            Self::Supervisor => 'S',
            Self::Consumer(n) => char::from(b'B'.saturating_add(u8::try_from(*n).unwrap_or(24)).min(b'Z')),
        };
        write!(f, "{letter}")
    }
}

/// A letter, as the trace remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the letters of `link::Down` and `link::Up`")]
pub enum Note {
    /// An item; `limit` is the limit that the producer went by.
    Consume { link: LinkId, quantity: u64, limit: Limit },
    /// The end of the data.
    End { link: LinkId, clean: bool },
    /// The other side's wake-up after the cell was set.
    Abort { link: LinkId },
    /// An armed end has failed; from the producer with what it had sent.
    Suspend { link: LinkId, at: Option<Count> },
    /// The consumer has finished, to an outlet that lingers.
    Finished { link: LinkId },
    /// A grant.
    CanProduce { link: LinkId, limit: Limit },
    /// Second step of an attachment.
    Attach { link: LinkId },
    /// Second step of a detachment.
    CloseAt { link: LinkId, at: Count },
    /// A consumer's answer to the supervisor.
    Answer { link: LinkId, done: bool },
    /// A consumer's own note that its turn ends and effects are due (rule F1).
    TurnEnds,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consume { quantity, limit, .. } => write!(f, "consume {quantity} (limit {limit})"),
            Self::End { clean: true, .. } => f.write_str("end clean"),
            Self::End { clean: false, .. } => f.write_str("end unclean"),
            Self::Abort { .. } => f.write_str("abort"),
            Self::Suspend { at: Some(at), .. } => write!(f, "suspend at {}/{}", at.quantity, at.messages),
            Self::Suspend { at: None, .. } => f.write_str("suspend"),
            Self::Finished { .. } => f.write_str("finished"),
            Self::CanProduce { limit, .. } => write!(f, "can produce {limit}"),
            Self::Attach { link } => write!(f, "attach {link}"),
            Self::CloseAt { at, .. } => write!(f, "close at {}/{}", at.quantity, at.messages),
            Self::Answer { done: true, .. } => f.write_str("done"),
            Self::Answer { done: false, .. } => f.write_str("not done"),
            Self::TurnEnds => f.write_str("turn ends"),
        }
    }
}

/// What became of a letter that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The port handled it; an item or an end was delivered to the component.
    Taken,
    /// The port dropped it.
    Dropped,
    /// Nobody was there any more.
    Dead,
}

/// What an owner asked of its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the arguments of the methods of `link::Outlet` and `link::Inlet`")]
pub enum Want {
    /// `push`, and whether the item was taken.
    Push { quantity: u64, taken: bool },
    /// `end`.
    End { clean: bool },
    /// `abort`.
    Abort,
    /// `fail`.
    Fail,
    /// `release`.
    Release { quantity: u64, messages: u64 },
    /// `grant`.
    Grant { credit: Credit },
    /// `set_window`.
    SetWindow { window: Window },
    /// First step of an attachment.
    Reserve { link: LinkId },
    /// First step of a detachment, and where the producer stopped.
    Detach { link: LinkId, at: Count },
}

/// Something that happened.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names of the fields say what they are")]
pub enum What {
    /// An owner asked for something.
    Wants { node: Node, want: Want },
    /// A letter left.
    Sent { from: Node, to: Node, note: Note },
    /// A letter arrived.
    Arrived { from: Node, to: Node, note: Note, fate: Fate },
    /// The cause of an abort was set in the link's cell.
    CauseSet { link: LinkId },
    /// A consumer has raised the limit in the link's cell.
    Raised { node: Node, link: LinkId, limit: Limit },
    /// A port said that its attachment is over; no link if it had none.
    Over { node: Node, link: Option<LinkId>, how: Terminal },
}

/// Something that happened, and when.
#[derive(Clone, Debug)]
pub struct Event {
    /// Virtual time since the start.
    pub at: Duration,
    /// What happened.
    pub what: What,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9}  ", format!("{:.1}ms", self.at.as_secs_f64() * 1e3))?;
        match &self.what {
            What::Wants { node, want } => match want {
                Want::Push { quantity, taken: true } => write!(f, "{node}      push {quantity}"),
                Want::Push { quantity, taken: false } => write!(f, "{node}      push {quantity}: not taken"),
                Want::End { clean } => write!(f, "{node}      end (clean {clean})"),
                Want::Abort => write!(f, "{node}      abort"),
                Want::Fail => write!(f, "{node}      fail"),
                Want::Release { quantity, messages } => write!(f, "{node}      release {quantity}/{messages}"),
                Want::Grant { credit } => write!(f, "{node}      grant {}/{}", credit.quantity, credit.messages),
                Want::SetWindow { window } => write!(f, "{node}      window {}/{}", window.quantity, window.messages),
                Want::Reserve { link } => write!(f, "{node}      reserve {link}"),
                Want::Detach { link, at } => {
                    write!(f, "{node}      detach {link} at {}/{}", at.quantity, at.messages)
                }
            },
            What::Sent { from, to, note } => write!(f, "{from} > {to}  {note}"),
            What::Arrived { to, note: Note::TurnEnds, .. } => write!(f, "{to}      turn ends"),
            What::Arrived { from, to, note, fate } => {
                let fate = match fate {
                    Fate::Taken => "",
                    Fate::Dropped => ": dropped",
                    Fate::Dead => ": nobody there",
                };
                write!(f, "{from} . {to}    {note} arrives{fate}")
            }
            What::CauseSet { link } => write!(f, "       cause of {link} set"),
            What::Raised { node, limit, .. } => write!(f, "{node}      limit {limit}"),
            What::Over { node, link, how } => {
                let how = match how {
                    Terminal::Ended { clean: true } => String::from("ended clean"),
                    Terminal::Ended { clean: false } => String::from("ended unclean"),
                    Terminal::Aborted(cause) => format!("aborted ({cause})"),
                    Terminal::Detached { at } => format!("detached at {}/{}", at.quantity, at.messages),
                    Terminal::Suspended { at, cause } => {
                        format!("suspended at {}/{} ({cause})", at.quantity, at.messages)
                    }
                };
                match link {
                    Some(link) => write!(f, "{node}      {link} {how}"),
                    None => write!(f, "{node}      unattached port {how}"),
                }
            }
        }
    }
}

/// One attachment, counted by the harness and not by the ports.
#[derive(Clone, Debug)]
pub struct Record {
    /// What both ends share.
    pub cell: Arc<LinkCell>,
    /// The consumer's number.
    pub consumer: usize,
    /// The content of all items that left the outlet.
    pub left: Vec<u8>,
    /// The content of all items that were delivered to the consumer's component.
    pub arrived: Vec<u8>,
    /// What left the outlet.
    pub sent: Count,
    /// What was delivered.
    pub delivered: Count,
    /// What arrived and was not delivered, since the link was aborted or nobody was there.
    pub lost: Count,
    /// The terminals that the outlet told.
    pub outlet_over: Vec<Terminal>,
    /// The terminals that the inlet told.
    pub inlet_over: Vec<Terminal>,
    /// True once the inlet was attached.
    pub attached: bool,
    /// True if the reservation was taken back because the consumer refused.
    pub released: bool,
    pub(super) cause_seen: bool,
}
