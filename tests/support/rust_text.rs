//! Reads Rust source as far as a test of its structure needs: what is code, and which paths it names.

/// A path as it is written, such as `crate::proto::link`, with the groups of a `use` multiplied out.
#[derive(Debug)]
pub(crate) struct Name {
    /// Its parts with `::` between them, and nothing before the first or behind the last.
    pub(crate) path: String,
    /// The line of its last part, counted from 1.
    pub(crate) line: usize,
}

/// The text with comments and the content of literals as blanks; line breaks stay where they are.
pub(crate) fn code_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_word = false;
    while let Some(c) = rest.chars().next() {
        // `r` and `'` start a literal only where no word goes on.
        let skipped = skipped(rest, in_word);
        if skipped > 0 {
            out.extend(rest[..skipped].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[skipped..];
            in_word = false;
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            in_word = is_word(c);
        }
    }
    out
}

/// All paths of code that [`code_only`] has cleaned.
pub(crate) fn names(code: &str) -> Vec<Name> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text == "::" || is_part(tokens[at].text) {
            let before_group = at.checked_sub(1).map(|before| tokens[before].text);
            // A field or a method has no path of its own.
            let is_field = before_group == Some(".");
            let mut part = Vec::new();
            let next = tree(&tokens, at, "", &mut part);
            if !is_field {
                found.extend(part);
            }
            at = next;
        } else {
            at += 1;
        }
    }
    found
}

/// The macros of cleaned code that are exported to the root of their crate.
pub(crate) fn exported_macros(code: &str) -> Vec<String> {
    let tokens = tokens(code);
    let mut exported = false;
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "macro_export" => exported = true,
            "macro_rules" => {
                // Behind it are the exclamation mark and the name.
                if let Some(name) = tokens.get(at + 2).filter(|_| std::mem::take(&mut exported)) {
                    found.push(name.text.to_owned());
                }
            }
            _ => {}
        }
    }
    found
}

struct Token<'a> {
    text: &'a str,
    line: usize,
}

/// Reads one path, or a group that a path ends in, and returns where it goes on.
fn tree(tokens: &[Token<'_>], mut at: usize, prefix: &str, found: &mut Vec<Name>) -> usize {
    let mut path = prefix.to_owned();
    let mut line = tokens.get(at).map_or(0, |token| token.line);
    let mut after_colons = true;
    while let Some(token) = tokens.get(at) {
        match token.text {
            "::" => after_colons = true,
            "{" if after_colons && !path.is_empty() => {
                at += 1;
                while let Some(token) = tokens.get(at) {
                    match token.text {
                        "}" => return at + 1,
                        // A new name for what was named already.
                        "as" => at += 2,
                        text if text == "::" || text == "*" || is_part(text) => at = tree(tokens, at, &path, found),
                        _ => at += 1,
                    }
                }
                return at;
            }
            text if after_colons && (is_part(text) || (text == "*" && !path.is_empty())) => {
                if !path.is_empty() {
                    path.push_str("::");
                }
                path.push_str(text);
                line = token.line;
                after_colons = false;
            }
            _ => break,
        }
        at += 1;
    }
    found.push(Name { path, line });
    at
}

/// Words, `::`, and any other character but blanks alone.
fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (at, line) in code.lines().enumerate() {
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let length = if is_word(c) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                c.len_utf8()
            };
            if !c.is_whitespace() {
                tokens.push(Token { text: &rest[..length], line: at + 1 });
            }
            rest = &rest[length..];
        }
    }
    tokens
}

/// How much of a comment or a literal starts here; 0 if none does.
fn skipped(rest: &str, in_word: bool) -> usize {
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment(rest)
    } else if rest.starts_with('"') {
        quoted(rest, '"')
    } else if !in_word && let Some(length) = raw_string(rest) {
        length
    } else if !in_word && rest.starts_with('\'') && is_char_literal(rest) {
        quoted(rest, '\'')
    } else {
        0
    }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// `r"..."`, `r#"..."#` and the like, also with `b` or `c` before the `r`.
fn raw_string(rest: &str) -> Option<usize> {
    let behind = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r')?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let content = behind[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - content.len();
    Some(content.find(&end).map_or(rest.len(), |at| start + at + end.len()))
}

/// Tells `'a'` and `'\n'` from the lifetime `'a`.
fn is_char_literal(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => true,
        (Some(_), Some(second)) => second == '\'',
        _ => false,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a token can be a part of a path: a word that is neither a number nor a keyword that a path can follow.
fn is_part(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_') && !KEYWORDS.contains(&token)
}

const KEYWORDS: &[&str] = &[
    "as", "async", "await", "break", "const", "dyn", "else", "extern", "fn", "for", "if", "impl", "in", "let", "loop",
    "match", "mod", "move", "mut", "pub", "ref", "return", "static", "struct", "trait", "type", "unsafe", "use",
    "where", "while",
];
