//! What a monitor can judge, and what it has seen.

use crate::proto::link::{Rule, Side};
use crate::testkit::rule::RULES;
use std::fmt;

/// What a monitor says of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sight {
    /// No breach among the messages that it has seen.
    NoneSeen,
    /// So many breaches by each side.
    Seen {
        /// By the component that sends.
        producer: u64,
        /// By the component that receives.
        consumer: u64,
    },
    /// A live link does not show it.
    CannotJudge(&'static str),
}

/// The last breach of a rule by one side.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Breach {
    /// The rule.
    pub rule: Rule,
    /// Who broke it.
    pub side: Side,
    /// How often by now.
    pub count: u64,
    /// What was seen the last time.
    pub what: String,
    /// The last messages before it, in order.
    pub ladder: String,
}

/// What a monitor has seen, rule by rule. `Display` prints a table.
///
/// | rule | judged by | at fault |
/// |---|---|---|
/// | P1 | more units than were granted | producer |
/// | P2 | an item or an end before the first grant | producer |
/// | P3 | a limit below one before it | consumer |
/// | P4 | a message after the end, or an item after the producer said where it stopped | producer |
/// | P4 | a grant after the inlet was over | consumer |
/// | P5 | an item, an end or a grant in the name of a link that it never had | both |
/// | P6 | the producer says that it stopped at another position than what had come | producer |
/// | C1 | more messages than were granted | producer |
/// | C1 | no grant, with everything taken and finished with (only with [`quiet_at_most`](super::Monitor::quiet_at_most)) | consumer |
/// | C2 | an abort for too much, with no more sent than granted | consumer |
/// | C3 | a grant inside the call that gave a message | consumer |
/// | E2 | an end that is not taken, with everything finished with (only with `quiet_at_most`) | consumer |
/// | A2 | an abort without a cause in the cell | both |
/// | A2 | an item 2 s after the cause was noticed: one that left before may still come for a moment | producer |
/// | A3 | gone, and neither ended nor aborted | both |
/// | M1 | a grant of more than 65,536 messages beyond what has come | consumer |
///
/// The others say [`CannotJudge`](Sight::CannotJudge), with the reason.
#[derive(Clone, Debug)]
pub struct MonitorReport {
    pub(super) messages: u64,
    pub(super) breaches: Vec<Breach>,
}

/// Why a live link does not show a rule.
fn beyond(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::E1 => "whether an end is clean is known where it comes from",
        Rule::A1 => "what a component was told is its own",
        Rule::A4 => "the other side of an agent is no link",
        Rule::X1 => "an answer goes straight to the asker, and a question that is dropped answers itself",
        Rule::M2 => "what is left behind is seen by the census",
        Rule::F1 => "a turn belongs to an arbiter, and the ends of a link may be on two",
        _ => return None,
    })
}

impl MonitorReport {
    /// Messages that have passed, grants and control messages included.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// What it says of each rule, in the order of `docs/rules.md`.
    pub fn rules(&self) -> Vec<(Rule, Sight)> {
        let count = |rule, side| {
            let mut of_it = self.breaches.iter().filter(|breach| breach.rule == rule && breach.side == side);
            of_it.next().map_or(0, |breach| breach.count)
        };
        let sight = |rule| match (beyond(rule), count(rule, Side::Producer), count(rule, Side::Consumer)) {
            (Some(reason), ..) => Sight::CannotJudge(reason),
            (None, 0, 0) => Sight::NoneSeen,
            (None, producer, consumer) => Sight::Seen { producer, consumer },
        };
        RULES.into_iter().map(|rule| (rule, sight(rule))).collect()
    }

    /// The rules that were broken, and by whom.
    pub fn broken(&self) -> Vec<(Rule, Side)> {
        self.breaches.iter().map(|breach| (breach.rule, breach.side)).collect()
    }

    /// The last breach of each rule and side, in the order in which the first of each was seen.
    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }
}

impl fmt::Display for MonitorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} messages", self.messages)?;
        for (rule, sight) in self.rules() {
            match sight {
                Sight::NoneSeen => writeln!(f, "{rule}  none seen")?,
                Sight::Seen { producer, consumer } => {
                    writeln!(f, "{rule}  BROKEN         {producer} times by the producer, {consumer} by the consumer")?;
                }
                Sight::CannotJudge(reason) => writeln!(f, "{rule}  cannot judge   {reason}")?,
            }
        }
        for breach in &self.breaches {
            writeln!(
                f,
                "\n{}, by the {}, {} times; the last: {}",
                breach.rule, breach.side, breach.count, breach.what
            )?;
            f.write_str(&breach.ladder)?;
        }
        Ok(())
    }
}
