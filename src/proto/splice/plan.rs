//! `Plan`: the steps of a splice in their order, and what follows from an answer.

use super::{Answer, Change, End, Joint, Middle, Place, Step, Ways};
use std::collections::VecDeque;

/// A splice under way. See the [module](super) for its steps.
///
/// # Invariants
///
/// * A step is done once before the next one is told.
/// * The state of the old component is with one of old, new and whoever executes the plan; at [`End::Made`] and [`End::Kept`] it
///   is with a component of the chain.
/// * At every end each link is open or not attached at all: none stays reserved.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The step under way first.
    todo: VecDeque<Step>,
    parted: Vec<Joint>,
    /// Reserved, and not open.
    closed: Vec<Joint>,
    handed: bool,
    stage: Stage,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Making,
    Undoing,
    /// Broken: nothing is tried any more, what is reserved is withdrawn.
    GivingUp,
}

impl Plan {
    /// The plan of a splice.
    pub fn new(change: Change, ways: Ways) -> Self {
        let joints = |place| ways.each().iter().map(move |way| Joint { way: *way, place });
        let mut todo = VecDeque::new();
        let before = if change == Change::Insert { Place::Direct } else { Place::IntoOld };
        todo.extend(joints(before).map(Step::Detach));
        if change != Change::Insert {
            todo.push_back(Step::Settle);
            if change == Change::Replace {
                todo.push_back(Step::TakeState(Middle::Old));
            }
            todo.extend([Step::Flush, Step::Settle]);
            todo.extend(joints(Place::OutOfOld).map(Step::Detach));
        }
        let after: &[Place] = match change {
            Change::Remove => &[Place::Direct],
            // C's side first, so that nothing can pass before it
            Change::Insert | Change::Replace => &[Place::OutOfNew, Place::IntoNew],
        };
        let links: Vec<Joint> = after.iter().flat_map(|place| joints(*place)).collect();
        todo.extend(links.iter().flat_map(|joint| [Step::Reserve(*joint), Step::Attach(*joint)]));
        todo.extend(links.iter().map(|joint| Step::Open(*joint)));
        Self { todo, parted: Vec::new(), closed: Vec::new(), handed: false, stage: Stage::Making, end: End::Made }
    }

    /// The step that is under way.
    pub fn step(&self) -> Step {
        self.todo.front().copied().unwrap_or(Step::End(self.end))
    }

    /// True while the plan undoes what it did.
    pub fn is_undoing(&self) -> bool {
        self.stage == Stage::Undoing
    }

    /// How the step under way went. Nothing after the end.
    pub fn answer(&mut self, answer: Answer) {
        let Some(step) = self.todo.pop_front() else { return };
        match (step, answer) {
            (Step::Detach(joint), Answer::Stopped(at)) => {
                self.parted.push(joint);
                self.todo.push_front(Step::CloseAt(joint, at));
            }
            (Step::Reserve(joint), Answer::Done) => self.closed.push(joint),
            (Step::Open(joint), Answer::Done) => self.closed.retain(|closed| *closed != joint),
            (Step::TakeState(Middle::Old), Answer::State) => self.todo.push_front(Step::PutState(Middle::New)),
            (Step::TakeState(Middle::New), Answer::State) => {
                self.handed = false;
                self.todo.push_front(Step::PutState(Middle::Old));
            }
            (Step::TakeState(Middle::Old), Answer::NoState) => {}
            (Step::PutState(Middle::New), Answer::Done) => {
                self.handed = true;
                // what it held is with the new one
                self.todo.retain(|step| !matches!(step, Step::Flush | Step::Settle));
            }
            (Step::PutState(Middle::New), Answer::Refused) => self.todo.push_front(Step::PutState(Middle::Old)),
            (
                Step::CloseAt(..) | Step::Settle | Step::Flush | Step::Attach(_) | Step::PutState(Middle::Old),
                Answer::Done,
            )
            | (Step::Withdraw(_), _) => {}
            (step, answer) => self.failed(step, answer),
        }
        self.check();
    }

    fn failed(&mut self, step: Step, answer: Answer) {
        let can_be_undone = match step {
            Step::Detach(_) => answer == Answer::NotThere,
            Step::Settle => answer == Answer::TimedOut,
            Step::Flush => answer == Answer::Refused,
            Step::Reserve(_) | Step::Attach(_) => true,
            _ => false,
        };
        match self.stage {
            Stage::Making if can_be_undone => self.undo(),
            Stage::Making | Stage::Undoing => self.give_up(),
            Stage::GivingUp => {}
        }
    }

    fn undo(&mut self) {
        (self.stage, self.end) = (Stage::Undoing, End::Kept);
        self.withdraw();
        if self.handed {
            self.todo.push_back(Step::TakeState(Middle::New));
        }
        let links: Vec<Joint> = self.parted.iter().rev().copied().collect();
        self.todo.extend(links.iter().flat_map(|joint| [Step::Reserve(*joint), Step::Attach(*joint)]));
        self.todo.extend(links.iter().map(|joint| Step::Open(*joint)));
    }

    fn give_up(&mut self) {
        (self.stage, self.end) = (Stage::GivingUp, End::Broken);
        self.withdraw();
    }

    /// Drops what was still to do but the withdrawal of what is reserved.
    fn withdraw(&mut self) {
        self.todo = self.closed.drain(..).rev().map(Step::Withdraw).collect();
    }

    fn check(&self) {
        debug_assert!(!self.todo.is_empty() || self.closed.is_empty(), "reserved at the end: {:?}", self.closed);
        debug_assert!(
            !self.todo.is_empty() || self.end != End::Kept || !self.handed,
            "the state stays with the new one"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::link::Count;

    /// The steps of a plan that is answered by `answer`, one a line, with the answers that are not the usual one.
    fn run(mut plan: Plan, mut answer: impl FnMut(usize, Step) -> Option<Answer>) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let step = plan.step();
            let n = told.len();
            let usual = match step {
                Step::Detach(_) => Answer::Stopped(Count::ZERO),
                Step::TakeState(_) => Answer::State,
                _ => Answer::Done,
            };
            let given = answer(n, step).unwrap_or(usual);
            told.push(if given == usual { step.to_string() } else { format!("{step}: {given:?}") });
            if matches!(step, Step::End(_)) {
                return told;
            }
            assert!(n < 60, "endless: {told:?}");
            plan.answer(given);
        }
    }

    fn usual(change: Change, ways: Ways) -> Vec<String> {
        run(Plan::new(change, ways), |_, _| None)
    }

    #[test]
    fn the_steps_of_each_change() {
        assert_eq!(
            usual(Change::Insert, Ways::One),
            [
                "Detach P-C",
                "CloseAt P-C 0/0",
                "Reserve new-C",
                "Attach new-C",
                "Reserve P-new",
                "Attach P-new",
                "Open new-C",
                "Open P-new",
                "Made"
            ]
        );
        assert_eq!(
            usual(Change::Remove, Ways::One),
            [
                "Detach P-old",
                "CloseAt P-old 0/0",
                "Settle old",
                "Flush old",
                "Settle old",
                "Detach old-C",
                "CloseAt old-C 0/0",
                "Reserve P-C",
                "Attach P-C",
                "Open P-C",
                "Made"
            ]
        );
        assert_eq!(
            usual(Change::Replace, Ways::One)[2..7],
            ["Settle old", "TakeState old", "PutState new", "Detach old-C", "CloseAt old-C 0/0"]
        );
        assert_eq!(
            usual(Change::Insert, Ways::Both),
            [
                "Detach P-C",
                "CloseAt P-C 0/0",
                "Detach C-P",
                "CloseAt C-P 0/0",
                "Reserve new-C",
                "Attach new-C",
                "Reserve new-P",
                "Attach new-P",
                "Reserve P-new",
                "Attach P-new",
                "Reserve C-new",
                "Attach C-new",
                "Open new-C",
                "Open new-P",
                "Open P-new",
                "Open C-new",
                "Made"
            ]
        );
    }

    #[test]
    fn a_state_that_is_refused_goes_back_and_the_rest_is_flushed() {
        let steps = run(Plan::new(Change::Replace, Ways::One), |_, step| {
            (step == Step::PutState(Middle::New)).then_some(Answer::Refused)
        });
        assert_eq!(steps[3..8], ["TakeState old", "PutState new: Refused", "PutState old", "Flush old", "Settle old"]);
    }

    #[test]
    fn a_new_component_that_refuses_gives_the_state_back() {
        let steps = run(Plan::new(Change::Replace, Ways::One), |_, step| match step {
            Step::Reserve(Joint { place: Place::OutOfNew, .. }) => Some(Answer::Refused),
            _ => None,
        });
        assert_eq!(
            steps[7..],
            [
                "Reserve new-C: Refused",
                "TakeState new",
                "PutState old",
                "Reserve old-C",
                "Attach old-C",
                "Reserve P-old",
                "Attach P-old",
                "Open old-C",
                "Open P-old",
                "Kept"
            ]
        );
    }

    #[test]
    fn a_way_back_that_is_not_there_undoes_the_way_there() {
        let steps = run(Plan::new(Change::Insert, Ways::Both), |n, _| (n == 2).then_some(Answer::NotThere));
        assert_eq!(steps[2..], ["Detach C-P: NotThere", "Reserve P-C", "Attach P-C", "Open P-C", "Kept"]);
    }

    /// Every answer at every step, and after it the usual ones or a second failure: the plan ends, and keeps its invariants
    /// (which `answer` asserts).
    #[test]
    fn every_pair_of_failures_ends() {
        const ALL: [Answer; 6] =
            [Answer::Done, Answer::NotThere, Answer::Refused, Answer::TimedOut, Answer::Gone, Answer::NoState];
        let mut ends = std::collections::BTreeMap::new();
        for change in [Change::Insert, Change::Remove, Change::Replace] {
            for ways in [Ways::One, Ways::Both] {
                let length = usual(change, ways).len();
                for (first, second) in (0..length).flat_map(|a| (a + 1..40).map(move |b| (a, b))) {
                    for (a, b) in ALL.iter().flat_map(|a| ALL.iter().map(move |b| (*a, *b))) {
                        let steps = run(Plan::new(change, ways), |n, _| match n {
                            n if n == first => Some(a),
                            n if n == second => Some(b),
                            _ => None,
                        });
                        *ends.entry(steps[steps.len() - 1].split(':').next().unwrap_or("").to_owned()).or_insert(0) +=
                            1;
                    }
                }
            }
        }
        assert!(ends.values().all(|n| *n > 100) && ends.len() == 3, "{ends:?}");
    }
}
