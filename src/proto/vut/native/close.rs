//! How each direction ends, and how the peer is told.
//!
//! **Our stream**
//!
//! | state | event | then |
//! |---|---|---|
//! | open | finish | ending; FIN is told, at once: it says only where the stream ends |
//! | open, ending | STOP comes | done, unproven: what was not sent is dropped |
//! | ending | DONE of its size comes | done, proven: the peer's consumer has taken everything |
//! | open, done; other size | DONE comes | the peer breaks the protocol |
//!
//! **The peer's stream**
//!
//! | state | event | then |
//! |---|---|---|
//! | open | FIN has come, and all up to its size was read | done, proven; DONE is told |
//! | open | stop reading | stopping; STOP is told |
//! | stopping | STOP is acknowledged, or FIN comes | done, unproven |
//!
//! The connection is over when both are done. Until the peer has acknowledged our DONE and STOP they are told again, and its own are
//! acknowledged for a while after that.
//!
//! A notice is told until it is acknowledged:
//!
//! ```text
//!   idle ── raise ──▶ due ── sent ──▶ flying ── acknowledged ──▶ known
//!                      ▲                 │
//!                      └──── lost, or the probe timer
//! ```

use crate::proto::vut::closing::Proof;

/// Something that the peer must hear once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    Fin,
    Done,
    Stop,
    Abort,
}

impl Note {
    pub(super) const ALL: [Self; 4] = [Self::Fin, Self::Done, Self::Stop, Self::Abort];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The notices of one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes(u8);

impl Notes {
    pub(super) fn add(&mut self, note: Note) {
        self.0 |= note.bit();
    }

    pub(super) const fn has(self, note: Note) -> bool {
        self.0 & note.bit() != 0
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    Idle,
    Due,
    Flying,
    Known,
}

/// How far each notice is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Notices([Told; 4]);

impl Notices {
    /// It is to be told, unless it was already.
    pub(super) fn raise(&mut self, note: Note) {
        let told = &mut self.0[note as usize];
        if *told == Told::Idle {
            *told = Told::Due;
        }
    }

    pub(super) fn is_due(&self, note: Note) -> bool {
        self.0[note as usize] == Told::Due
    }

    pub(super) fn any_due(&self) -> bool {
        self.0.contains(&Told::Due)
    }

    /// Told, and not acknowledged yet.
    pub(super) fn is_open(&self, note: Note) -> bool {
        matches!(self.0[note as usize], Told::Due | Told::Flying)
    }

    pub(super) fn is_known(&self, note: Note) -> bool {
        self.0[note as usize] == Told::Known
    }

    pub(super) fn on_sent(&mut self, note: Note) {
        self.0[note as usize] = Told::Flying;
    }

    pub(super) fn on_arrived(&mut self, notes: Notes) {
        for note in Note::ALL.into_iter().filter(|note| notes.has(*note)) {
            self.0[note as usize] = Told::Known;
        }
    }

    pub(super) fn on_lost(&mut self, notes: Notes) {
        for note in Note::ALL.into_iter().filter(|note| notes.has(*note)) {
            let told = &mut self.0[note as usize];
            if *told == Told::Flying {
                *told = Told::Due;
            }
        }
    }

    /// The probe timer has fired: what is under way is told once more.
    pub(super) fn probe(&mut self) {
        for told in self.0.iter_mut().filter(|told| **told == Told::Flying) {
            *told = Told::Due;
        }
    }

    /// Nothing else is to be told any more.
    pub(super) fn only(&mut self, note: Note) {
        *self = Self::default();
        self.raise(note);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// How far our stream's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Open,
    Ending,
    Done(Proof),
}

/// How far the peer's stream's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Open,
    Stopping,
    Done(Proof),
}

impl Input {
    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::Open)
    }
}

/// Codes of ABORT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AbortCode {
    /// The owner gave the connection up.
    Owner,
    /// The peer broke the protocol.
    Protocol,
    /// A key or the packet numbers are used up.
    Worn,
    /// The peer was not heard of for too long.
    Silence,
}

impl AbortCode {
    /// As it travels.
    pub(super) const fn number(self) -> u64 {
        match self {
            Self::Owner => 0,
            Self::Protocol => 1,
            Self::Worn => 2,
            Self::Silence => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_told_until_it_is_known() {
        let mut notices = Notices::default();
        let mut fin = Notes::default();
        fin.add(Note::Fin);
        notices.on_lost(fin);
        assert!(!notices.any_due(), "it was never told");
        notices.raise(Note::Fin);
        assert!(notices.is_due(Note::Fin) && !notices.is_due(Note::Stop));
        notices.on_sent(Note::Fin);
        assert!(!notices.any_due() && notices.is_open(Note::Fin));
        notices.on_lost(fin);
        assert!(notices.any_due());
        notices.on_sent(Note::Fin);
        notices.probe();
        assert!(notices.any_due());
        notices.on_arrived(fin);
        notices.raise(Note::Fin);
        notices.on_lost(fin);
        notices.probe();
        assert!(notices.is_known(Note::Fin) && !notices.any_due() && !notices.is_open(Note::Fin));
    }
}
