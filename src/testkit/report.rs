//! What a run of the kit has found, rule by rule.

use crate::proto::link::Rule;
use std::fmt;

/// What was found about one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// No schedule broke it, and so many looks were taken that could have shown it.
    Held {
        /// Looks.
        looks: usize,
    },
    /// A schedule broke it.
    Broken {
        /// The schedule's seed.
        seed: u64,
        /// What was seen.
        what: String,
        /// All that was said, in order.
        ladder: String,
    },
    /// The rule does not bind such a component.
    NotApplicable(&'static str),
    /// It cannot be judged from outside, or no schedule came to the point.
    CannotTest(String),
}

/// The table shows so many steps before the breach; the verdict has them all.
const SHOWN: usize = 40;

/// One verdict for each rule, in the order of `docs/rules.md`. `Display` prints a table.
#[derive(Clone, Debug)]
pub struct Report {
    pub(crate) verdicts: Vec<(Rule, Verdict)>,
}

impl Report {
    /// All verdicts.
    pub fn verdicts(&self) -> &[(Rule, Verdict)] {
        &self.verdicts
    }

    /// The rules that were broken.
    pub fn broken(&self) -> Vec<Rule> {
        self.with(|verdict| matches!(verdict, Verdict::Broken { .. }))
    }

    /// The rules that were judged and held.
    pub fn held(&self) -> Vec<Rule> {
        self.with(|verdict| matches!(verdict, Verdict::Held { .. }))
    }

    fn with(&self, is: impl Fn(&Verdict) -> bool) -> Vec<Rule> {
        self.verdicts.iter().filter(|(_, verdict)| is(verdict)).map(|(rule, _)| *rule).collect()
    }

    /// Nothing was broken.
    ///
    /// # Panics
    ///
    /// With the table and the ladders, if a rule was broken.
    pub fn assert_conforms(&self) {
        assert!(self.broken().is_empty(), "the component breaks a rule of docs/rules.md\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (rule, verdict) in &self.verdicts {
            match verdict {
                Verdict::Held { looks } => writeln!(f, "{rule}  held            {looks} looks")?,
                Verdict::Broken { seed, what, .. } => writeln!(f, "{rule}  BROKEN          seed {seed}: {what}")?,
                Verdict::NotApplicable(reason) => writeln!(f, "{rule}  not applicable  {reason}")?,
                Verdict::CannotTest(reason) => writeln!(f, "{rule}  cannot test     {reason}")?,
            }
        }
        for (rule, verdict) in &self.verdicts {
            if let Verdict::Broken { seed, ladder, .. } = verdict {
                writeln!(f, "\n{rule}, seed {seed}:")?;
                let skip = ladder.lines().count().saturating_sub(SHOWN);
                if skip > 0 {
                    writeln!(f, "      ({skip} steps before)")?;
                }
                for line in ladder.lines().skip(skip) {
                    writeln!(f, "{line}")?;
                }
            }
        }
        Ok(())
    }
}
