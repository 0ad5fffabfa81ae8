//! What the shell learns: one exit code per way a run can end.

use std::process::ExitCode;

/// How a run of the tool ended. A script can rely on the codes; which address failed is in the error line.
///
/// ```
/// use versile_io::tool::exit::Exit;
/// assert_eq!(Exit::Delivered.code(), 0);
/// assert_eq!(Exit::Open.code(), 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Exit {
    /// 0: all that was read was delivered, and both ends closed in order.
    Delivered,
    /// 1: a fault of the tool itself, or one that has no code of its own.
    Internal,
    /// 2: the command line was wrong; nothing was opened.
    Usage,
    /// 3: an address could not be opened or connected; the error line says whether the left or the right one.
    Open,
    /// 4: the source failed, or ended without saying that it was done.
    Source,
    /// 5: the destination failed, or was lost.
    Destination,
    /// 6: interrupted, and what had been read was delivered before the end.
    Drained,
    /// 7: aborted by a second interrupt or at the end of the time given to drain; data may be lost.
    Aborted,
}

impl Exit {
    /// Each way to end, in the order of the codes.
    pub const ALL: [Self; 8] = [
        Self::Delivered,
        Self::Internal,
        Self::Usage,
        Self::Open,
        Self::Source,
        Self::Destination,
        Self::Drained,
        Self::Aborted,
    ];

    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What the code means, as the help text has it.
    pub fn meaning(self) -> &'static str {
        TABLE[usize::from(self.code())].1
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Codes and their meaning, for the help text and the manual page.
pub fn table() -> &'static [(u8, &'static str)] {
    &TABLE
}

const TABLE: [(u8, &str); Exit::ALL.len()] = [
    (0, "all data was delivered"),
    (1, "internal error, or any other failure"),
    (2, "the command line is wrong"),
    (3, "an address could not be opened or connected (the message names which)"),
    (4, "the source failed or ended unclean"),
    (5, "the destination failed or was lost"),
    (6, "interrupted, all that had been read was delivered"),
    (7, "aborted: second interrupt, or the time to drain ran out"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_follows_the_codes() {
        for (code, exit) in Exit::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(exit.code()), code);
            assert_eq!(table()[code], (exit.code(), exit.meaning()));
        }
    }

    #[test]
    fn an_exit_becomes_the_process_code() {
        assert_eq!(ExitCode::from(Exit::Delivered), ExitCode::SUCCESS);
        assert_eq!(ExitCode::from(Exit::Aborted), ExitCode::from(7));
    }
}
