//! What a chain that is over means to the shell: one exit code and one line that names side, component, peer and error.

use super::chain::Ended;
use crate::component::stock::Outcome;
use crate::proto::link::{Cause, Reason};
use crate::tool::exit::Exit;
use crate::tool::plan::{End, Role, with_sources};
use std::sync::Arc;
use std::time::Duration;

/// What was done to a run from outside.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Intervention {
    /// The run was interrupted, and drains or has drained.
    pub(super) drained: bool,
    /// Interrupted again.
    pub(super) aborted: bool,
    /// Nothing has moved for this long, and the run was aborted.
    pub(super) idle: Option<Duration>,
}

/// How a chain ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) exit: Exit,
    /// What went wrong, on one line.
    pub(super) cause: Option<String>,
}

impl Verdict {
    fn new(exit: Exit, cause: impl Into<String>) -> Self {
        Self { exit, cause: Some(cause.into()) }
    }
}

/// One side of a chain that is over.
#[derive(Debug)]
struct Side<'a> {
    end: &'a End,
    /// It was opened or connected at some time.
    opened: bool,
    outcome: &'a Outcome,
}

/// Judges a chain that is over.
pub(super) fn judge(ends: [&End; 2], ended: &Ended, intervention: Intervention) -> Verdict {
    let side = |at: usize| {
        let (stream, outcome) = &ended.sides[at];
        Side { end: ends[at], opened: stream.as_ref().is_some_and(|stream| stream.peer().is_some()), outcome }
    };
    match (judge_sides(&[side(0), side(1)], intervention), &ended.copy_failed) {
        // all had passed before it failed, so nobody else was told
        (Verdict { exit: Exit::Delivered, .. }, Some(why)) => Verdict::new(Exit::Internal, why.as_str()),
        (verdict, _) => verdict,
    }
}

fn judge_sides(sides: &[Side<'_>; 2], intervention: Intervention) -> Verdict {
    let causes: Vec<&Arc<Cause>> = sides.iter().filter_map(Side::cause).collect();
    // two failures at once may be told as two causes (rule A1): a side's own comes before what others say, and not to
    // have been opened before what follows from it
    let own = |cause: &&Arc<Cause>| sides.iter().find(|side| side.began(cause));
    let told =
        causes.iter().filter_map(|cause| own(cause).map(|side| (cause, side))).min_by_key(|(_, side)| side.opened);
    if let Some((cause, side)) = told {
        return Verdict::new(side.exit(&cause.reason), format!("{}: {}", side.end.label(), reason(&cause.reason)));
    }
    if let Some(after) = intervention.idle.filter(|_| !causes.is_empty()) {
        return Verdict::new(Exit::Internal, format!("aborted: nothing moved for {after:?}"));
    }
    if let Some(cause) = causes.first() {
        return match &cause.reason {
            Reason::Requested(_) if intervention.aborted => {
                Verdict::new(Exit::Aborted, "aborted by a second interrupt")
            }
            Reason::ShutDown => Verdict::new(Exit::Aborted, "aborted: the data under way was not taken in time"),
            other => Verdict::new(Exit::Internal, format!("{}: {}", cause.origin.component, reason(other))),
        };
    }
    if let Some(side) = sides.iter().find(|side| matches!(side.outcome, Outcome::Gone)) {
        return Verdict::new(Exit::Internal, format!("{}: stopped without a word", side.end.label()));
    }
    let clean = sides.iter().all(|side| side.outcome.is_clean());
    match (intervention.drained, clean) {
        (true, _) => Verdict::new(Exit::Drained, "interrupted; what had been read was delivered"),
        (false, true) => Verdict { exit: Exit::Delivered, cause: None },
        (false, false) => {
            let blamed = sides.iter().find(|side| side.end.is_program() && !side.outcome.is_clean());
            let blamed = blamed.unwrap_or(&sides[0]);
            let why = if blamed.end.is_program() {
                "the command failed; its data may not be complete"
            } else {
                "ended before its data was complete"
            };
            Verdict::new(Exit::Source, format!("{}: {why}", blamed.end.label()))
        }
    }
}

impl Side<'_> {
    fn cause(&self) -> Option<&Arc<Cause>> {
        match self.outcome {
            Outcome::Aborted(cause) => Some(cause),
            _ => None,
        }
    }

    /// The streams bear the labels of their ends.
    fn began(&self, cause: &Cause) -> bool {
        cause.origin.component == *self.end.label()
    }

    /// The code for a failure that began here.
    fn exit(&self, reason: &Reason) -> Exit {
        if !self.opened {
            return Exit::Open;
        }
        match (self.end.role(), reason) {
            (_, Reason::Panicked(_) | Reason::Violation(_) | Reason::ComponentGone) => Exit::Internal,
            (Role::From, _) => Exit::Source,
            (Role::To, _) => Exit::Destination,
            // a two-way side is both: what was tried tells
            (_, Reason::Io { action, .. }) if action.starts_with("read") => Exit::Source,
            _ => Exit::Destination,
        }
    }
}

fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Requested(why) => why.to_string(),
        other => with_sources(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::link::Origin;
    use std::io;

    fn ends(roles: [Role; 2]) -> [End; 2] {
        roles.map(|role| End::new(role, "tcp:a:1".parse().expect("an address"), None))
    }

    fn io_failure(origin: &str, action: &str) -> Outcome {
        let reason = Reason::io(action, io::Error::from_raw_os_error(32));
        Outcome::Aborted(Cause::new(reason, Origin::component(origin)))
    }

    fn judged(
        roles: [Role; 2],
        opened: [bool; 2],
        outcomes: [Outcome; 2],
        intervention: Intervention,
    ) -> (Exit, String) {
        let ends = ends(roles);
        let side = |at: usize| Side { end: &ends[at], opened: opened[at], outcome: &outcomes[at] };
        let Verdict { exit, cause } = judge_sides(&[side(0), side(1)], intervention);
        (exit, cause.unwrap_or_default())
    }

    const COPY: [Role; 2] = [Role::From, Role::To];
    const RELAY: [Role; 2] = [Role::Left, Role::Right];
    const CLEAN: Outcome = Outcome::Ended { clean: true };
    const UNCLEAN: Outcome = Outcome::Ended { clean: false };

    #[test]
    fn the_side_where_it_began_is_named() {
        let lost = || io_failure("to tcp:a:1", "write tcp 1.2.3.4:1");
        let (exit, cause) = judged(COPY, [true; 2], [lost(), lost()], Intervention::default());
        assert_eq!(exit, Exit::Destination);
        assert_eq!(cause, "to tcp:a:1: write tcp 1.2.3.4:1: Broken pipe (os error 32)");
    }

    #[test]
    fn what_was_never_opened_comes_first() {
        let outcomes = [io_failure("left tcp:a:1", "read tcp 9"), io_failure("right tcp:a:1", "connect tcp 8")];
        let (exit, cause) = judged(RELAY, [true, false], outcomes, Intervention::default());
        assert_eq!(exit, Exit::Open);
        assert!(cause.starts_with("right tcp:a:1: connect"), "{cause}");
    }

    #[test]
    fn a_two_way_side_fails_as_source_or_destination() {
        for (action, exit) in
            [("read tcp 9", Exit::Source), ("write tcp 9", Exit::Destination), ("lost tcp 9", Exit::Destination)]
        {
            let outcome = || io_failure("left tcp:a:1", action);
            assert_eq!(judged(RELAY, [true; 2], [outcome(), outcome()], Intervention::default()).0, exit, "{action}");
        }
    }

    #[test]
    fn an_end_without_failure_is_judged_by_its_cleanness() {
        let plain = Intervention::default();
        let drained = Intervention { drained: true, ..plain };
        assert_eq!(judged(COPY, [true; 2], [CLEAN, CLEAN], plain), (Exit::Delivered, String::new()));
        assert_eq!(judged(COPY, [true; 2], [UNCLEAN, UNCLEAN], plain).0, Exit::Source);
        assert_eq!(judged(COPY, [true; 2], [UNCLEAN, UNCLEAN], drained).0, Exit::Drained);
        assert_eq!(judged(COPY, [true; 2], [CLEAN, Outcome::Gone], plain).0, Exit::Internal);
    }

    #[test]
    fn an_abort_from_outside_has_its_code() {
        let asked = |reason: Reason| Outcome::Aborted(Cause::new(reason, Origin::component("supervisor")));
        let requested = || asked(Reason::Requested("x".into()));
        let again = Intervention { drained: true, aborted: true, idle: None };
        assert_eq!(judged(COPY, [true; 2], [requested(), requested()], again).0, Exit::Aborted);
        let drained = Intervention { drained: true, ..Intervention::default() };
        assert_eq!(judged(COPY, [true; 2], [asked(Reason::ShutDown), CLEAN], drained).0, Exit::Aborted);
        let idle = Intervention { idle: Some(Duration::from_secs(3)), ..Intervention::default() };
        let told = judged(COPY, [true; 2], [requested(), requested()], idle);
        assert_eq!(told, (Exit::Internal, "aborted: nothing moved for 3s".to_owned()));
    }
}
