//! The nearest of some known words to one that was mistyped.

/// The candidate that is fewest edits away from `word`, if that is few enough to be a slip of the hand: one edit for
/// each three characters, and at least one.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (edits(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many characters to put in, take out, change, or swap with their neighbour.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    // rows[i][j] is the distance between the first i characters of one and the first j of the other.
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let (above, left) = (rows[i - 1][j] + 1, row[j - 1] + 1);
            let changed = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = above.min(left).min(changed);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (from, to, distance) in [
            ("", "", 0),
            ("", "tcp", 3),
            ("tcp", "tcp", 0),
            ("tpc", "tcp", 1),
            ("stio", "stdio", 1),
            ("abc", "xyz", 3),
            ("unx", "unix", 1),
        ] {
            assert_eq!(edits(from, to), distance, "{from} -> {to}");
            assert_eq!(edits(to, from), distance, "{to} -> {from}");
        }
    }

    #[test]
    fn a_slip_is_mended_and_a_stranger_is_not() {
        let kinds = ["tcp", "tcp-listen", "unix"];
        assert_eq!(nearest("tcp-lisen", kinds), Some("tcp-listen"));
        assert_eq!(nearest("unx", kinds), Some("unix"));
        assert_eq!(nearest("localhost", kinds), None);
    }
}
