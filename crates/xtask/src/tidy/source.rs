//! One source file: its header, its length, and words that must not stay in it.

const LINES_MAX: usize = 800;
const HEADER: &str = "//!";

/// What must not be in a source file, and what to do instead. Put together here so that this file passes.
const BANNED: &[(&str, &str)] = &[
    (concat!("todo", "!("), "finish it"),
    (concat!("unimplemented", "!("), "finish it"),
    (concat!("dbg", "!("), "take it out"),
    (concat!("unbounded", "_channel"), "give the channel a limit"),
];
/// What must not be left in a comment.
const LEFTOVERS: &[&str] = &[concat!("FIX", "ME"), concat!("XX", "X")];
/// What may panic and so belongs into tests only.
const PANICS: &[&str] = &[
    concat!(".unwrap", "()"),
    concat!(".expect", "(\""),
    concat!(".expect", "(&format"),
    concat!("pan", "ic!("),
];

/// A source file's lines, each with whether it belongs to tests.
pub(super) struct Source<'a> {
    path: &'a str,
    lines: Vec<(&'a str, bool)>,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a str, text: &'a str) -> Source<'a> {
        let all_tests = !(path.starts_with("crates/") && path.contains("/src/"))
            || path.contains("/tests/")
            || path.ends_with("/tests.rs")
            || path.ends_with("_tests.rs");
        let mut lines = Vec::new();
        let mut rest = text.lines().peekable();
        while let Some(line) = rest.next() {
            lines.push((line, all_tests));
            let opens_tests = line.trim() == "#[cfg(test)]"
                && rest.peek().is_some_and(|next| next.contains("mod ") && next.ends_with('{'));
            if !opens_tests {
                continue;
            }
            let end = format!("{}}}", indent_of(line));
            for line in rest.by_ref() {
                lines.push((line, true));
                if line == end {
                    break;
                }
            }
        }
        Source { path, lines }
    }

    pub(super) fn violations(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if !self.lines.first().is_some_and(|(line, _)| line.starts_with(HEADER)) {
            wrong.push(format!("{}:1: does not begin with a {HEADER} header", self.path));
        }
        let tests = self.lines.iter().filter(|(_, in_tests)| *in_tests).count();
        for (count, what) in [(self.lines.len() - tests, "lines"), (tests, "lines of tests")] {
            if count > LINES_MAX {
                wrong.push(format!("{}: {count} {what}, more than {LINES_MAX}", self.path));
            }
        }
        for (number, (line, in_tests)) in (1..).zip(&self.lines) {
            let at = format!("{}:{number}", self.path);
            wrong.extend(words(line, *in_tests).into_iter().map(|what| format!("{at}: {what}")));
        }
        wrong
    }
}

fn words(line: &str, in_tests: bool) -> Vec<String> {
    let (code, _) = line.split_once("//").unwrap_or((line, ""));
    let mut wrong: Vec<String> = BANNED
        .iter()
        .filter(|(banned, _)| code.contains(banned))
        .map(|(banned, instead)| format!("{banned}: {instead}"))
        .collect();
    let leftovers = LEFTOVERS.iter().filter(|leftover| has_word(line, leftover));
    wrong.extend(leftovers.map(|leftover| format!("{leftover} is left")));
    if !in_tests {
        let panics = PANICS.iter().filter(|panic| code.contains(**panic));
        wrong.extend(panics.map(|panic| format!("{panic} outside tests")));
    }
    wrong
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric()).any(|part| part == word)
}

pub(super) fn indent_of(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(path: &str, text: &str) -> Vec<String> {
        Source::new(path, text).violations()
    }

    #[test]
    fn a_file_begins_with_a_header() {
        assert_eq!(wrong("crates/a/src/b.rs", "//! B.\nfn b() {}\n"), Vec::<String>::new());
        let found = wrong("crates/a/build.rs", "fn main() {}\n");
        assert_eq!(found, ["crates/a/build.rs:1: does not begin with a //! header"]);
    }

    #[test]
    fn code_and_tests_are_measured_apart() {
        let code = "fn a() {}\n".repeat(790);
        let test = "    fn t() {}\n".repeat(790);
        let text = format!("//! A.\n{code}#[cfg(test)]\nmod tests {{\n{test}}}\n");
        assert_eq!(wrong("crates/a/src/a.rs", &text), Vec::<String>::new());
        let text = format!("//! A.\n{code}{code}");
        assert_eq!(wrong("crates/a/src/a.rs", &text), ["crates/a/src/a.rs: 1581 lines, more than 800"]);
    }

    #[test]
    fn what_may_panic_is_for_tests() {
        let call = format!("    let x = y{};\n", PANICS[0]);
        let found =
            wrong("crates/a/src/a.rs", &format!("//! A.\n{call}#[cfg(test)]\nmod tests {{\n{call}}}\n"));
        assert_eq!(found, [format!("crates/a/src/a.rs:2: {} outside tests", PANICS[0])]);
        for path in ["crates/a/tests/a.rs", "crates/a/src/tests/a.rs", "crates/a/src/a_tests.rs"] {
            assert_eq!(wrong(path, &format!("//! A.\n{call}")), Vec::<String>::new());
        }
        let comment = format!("//! A.\n/// Like `x{}`.\n", PANICS[0]);
        assert_eq!(wrong("crates/a/src/a.rs", &comment), Vec::<String>::new());
    }

    #[test]
    fn leftovers_are_found_in_tests_too() {
        let text = format!("//! A.\n// {}: later\n{}x);\n", LEFTOVERS[0], BANNED[2].0);
        assert_eq!(wrong("crates/a/tests/a.rs", &text).len(), 2);
        let text = format!("//! A{}B.\n", LEFTOVERS[1]);
        assert_eq!(wrong("crates/a/tests/a.rs", &text), Vec::<String>::new());
    }
}
