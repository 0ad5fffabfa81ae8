//! What becomes of the data that a failed component had: the loss policy as arithmetic on absolute positions. Pure.
//!
//! ```text
//!   position of a stream, counted in its quantity since the place was first attached
//!   ──────┬───────────────┬─────────────▶
//!         has             sent
//!         what the far    where the producer
//!         end has         stands
//!
//!   Fail      has < sent: the chain is aborted, and the cause names the gap
//!   Lose      goes on at `sent`; the gap is sent - has
//!   Resume    the producer goes back by sent - has, and goes on at `has`
//! ```
//!
//! For a source it is the other way round: `delivered` is what its consumer has taken, and the new source begins somewhere.

use thiserror::Error;

/// What to do about data that a failed component had been given, and that it may not have passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loss {
    /// Go on only if nothing was lost; otherwise the chain is aborted, and the cause names the gap. The default.
    #[default]
    Fail,
    /// Go on from where the producer stands. The event says how much is missing.
    Lose,
    /// The producer goes back to what the far end has; a new source goes on exactly where the old one stopped.
    Resume,
}

/// What is missing after a restart, in the quantity of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// How much.
    pub lost: u64,
    /// Who says so.
    pub by: Known,
}

/// Where a position comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The factory: the far end said so, or a file's length did.
    Told,
    /// The link: what the failed component had finished with. For an agent that is what the operating system took, of which a
    /// peer may have received less.
    Counted,
}

/// The policy does not allow to go on.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LossError {
    /// [`Loss::Fail`], and something is missing; or a source that must go on where the old one stopped does not.
    #[error("{lost} of {at} are lost")]
    Lost {
        /// How much is missing.
        lost: u64,
        /// Of how much.
        at: u64,
    },
    /// The far end says that it has more than was ever sent, or a new source begins before what was delivered.
    #[error("the far end says {told}, and {known} is where the stream stands")]
    Impossible {
        /// What the factory said.
        told: u64,
        /// What the supervisor knows.
        known: u64,
    },
}

/// How to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The absolute position.
    pub(super) at: u64,
    /// By how much the producer goes back first.
    pub(super) rewind: u64,
    pub(super) gap: Gap,
}

/// For the inlet of a component that is rebuilt.
pub(super) fn judge_inlet(loss: Loss, sent: u64, counted: u64, told: Option<u64>) -> Result<Verdict, LossError> {
    let by = if told.is_some() { Known::Told } else { Known::Counted };
    let has = told.unwrap_or(counted);
    let Some(missing) = sent.checked_sub(has) else {
        return Err(LossError::Impossible { told: has, known: sent });
    };
    match loss {
        Loss::Fail if missing > 0 => Err(LossError::Lost { lost: missing, at: sent }),
        Loss::Fail | Loss::Lose => Ok(Verdict { at: sent, rewind: 0, gap: Gap { lost: missing, by } }),
        Loss::Resume => Ok(Verdict { at: has, rewind: missing, gap: Gap { lost: 0, by } }),
    }
}

/// For the outlet of a component that is rebuilt.
pub(super) fn judge_outlet(loss: Loss, delivered: u64, begins: Option<u64>) -> Result<Verdict, LossError> {
    let by = if begins.is_some() { Known::Told } else { Known::Counted };
    let at = begins.unwrap_or(delivered);
    let Some(lost) = at.checked_sub(delivered) else {
        return Err(LossError::Impossible { told: at, known: delivered });
    };
    match loss {
        Loss::Fail | Loss::Resume if lost > 0 => Err(LossError::Lost { lost, at }),
        _ => Ok(Verdict { at, rewind: 0, gap: Gap { lost, by } }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inlet(loss: Loss, sent: u64, counted: u64, told: Option<u64>) -> Result<(u64, u64, u64), LossError> {
        judge_inlet(loss, sent, counted, told).map(|v| (v.at, v.rewind, v.gap.lost))
    }

    #[test]
    fn lose_goes_on_where_the_producer_stands_and_counts_the_gap() {
        assert_eq!(inlet(Loss::Lose, 100, 80, Some(70)), Ok((100, 0, 30)));
        assert_eq!(inlet(Loss::Lose, 100, 80, None), Ok((100, 0, 20)));
        assert_eq!(judge_inlet(Loss::Lose, 9, 9, None).map(|v| v.gap.by), Ok(Known::Counted));
        assert_eq!(judge_inlet(Loss::Lose, 9, 9, Some(9)).map(|v| v.gap.by), Ok(Known::Told));
    }

    #[test]
    fn resume_goes_back_to_what_the_far_end_has() {
        assert_eq!(inlet(Loss::Resume, 100, 80, Some(70)), Ok((70, 30, 0)));
        assert_eq!(inlet(Loss::Resume, 100, 100, None), Ok((100, 0, 0)));
    }

    #[test]
    fn fail_goes_on_only_if_nothing_is_missing() {
        assert_eq!(inlet(Loss::Fail, 100, 80, Some(100)), Ok((100, 0, 0)));
        assert_eq!(inlet(Loss::Fail, 100, 80, None), Err(LossError::Lost { lost: 20, at: 100 }));
    }

    #[test]
    fn more_than_was_sent_is_impossible_whatever_the_policy() {
        for loss in [Loss::Fail, Loss::Lose, Loss::Resume] {
            assert_eq!(inlet(loss, 100, 80, Some(101)), Err(LossError::Impossible { told: 101, known: 100 }));
        }
    }

    #[test]
    fn a_source_goes_on_behind_what_was_delivered() {
        let outlet = |loss, begins| judge_outlet(loss, 50, begins).map(|v| (v.at, v.gap.lost));
        for loss in [Loss::Fail, Loss::Lose, Loss::Resume] {
            assert_eq!(outlet(loss, None), Ok((50, 0)));
            assert_eq!(outlet(loss, Some(49)), Err(LossError::Impossible { told: 49, known: 50 }), "would be doubled");
        }
        assert_eq!(outlet(Loss::Lose, Some(60)), Ok((60, 10)));
        assert_eq!(outlet(Loss::Resume, Some(60)), Err(LossError::Lost { lost: 10, at: 60 }));
    }
}
