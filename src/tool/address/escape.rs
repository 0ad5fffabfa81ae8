//! Commas: what separates the parts of an address, and how one is kept as a part of a path or a command.
//!
//! A comma behind an odd number of backslashes is kept, and half of the backslashes with it. All other backslashes
//! stand for themselves, so that `exec:printf 'a\n'` needs no more of them than the shell does.

/// The parts between commas, with the backslashes before commas taken away.
///
/// ```text
/// a,b       a    b
/// a\,b      a,b
/// a\\,b     a\   b
/// a\nb      a\nb
/// ```
pub(super) fn split(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut backslashes = 0;
    for c in text.chars() {
        if c == '\\' {
            backslashes += 1;
            continue;
        }
        if c == ',' {
            push_backslashes(&mut part, backslashes / 2);
            if backslashes % 2 == 1 {
                part.push(',');
            } else {
                parts.push(std::mem::take(&mut part));
            }
        } else {
            push_backslashes(&mut part, backslashes);
            part.push(c);
        }
        backslashes = 0;
    }
    push_backslashes(&mut part, backslashes);
    parts.push(part);
    parts
}

/// Writes a part so that [`split`] gives it back. `last` says that no comma follows it.
pub(super) fn escape(part: &str, last: bool) -> String {
    let mut out = String::new();
    let mut backslashes = 0;
    for c in part.chars() {
        if c == '\\' {
            backslashes += 1;
            continue;
        }
        if c == ',' {
            push_backslashes(&mut out, backslashes * 2 + 1);
        } else {
            push_backslashes(&mut out, backslashes);
        }
        out.push(c);
        backslashes = 0;
    }
    push_backslashes(&mut out, if last { backslashes } else { backslashes * 2 });
    out
}

fn push_backslashes(to: &mut String, count: usize) {
    to.extend(std::iter::repeat_n('\\', count));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_backslashes_before_commas_are_special() {
        for (text, parts) in [
            ("", &[""][..]),
            ("a", &["a"]),
            ("a,b,", &["a", "b", ""]),
            (r"a\,b", &["a,b"]),
            (r"a\\,b", &[r"a\", "b"]),
            (r"a\\\,b", &[r"a\,b"]),
            (r"a\nb\\", &[r"a\nb\\"]),
        ] {
            assert_eq!(split(text), parts, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parts_survive(parts in prop::collection::vec(r"[a,\\:]{0,6}", 1..4)) {
            let last = parts.len() - 1;
            let text: Vec<String> = parts.iter().enumerate().map(|(i, p)| escape(p, i == last)).collect();
            prop_assert_eq!(split(&text.join(",")), parts);
        }
    }
}
