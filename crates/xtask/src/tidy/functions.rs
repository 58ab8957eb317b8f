//! How long functions are, measured by their indentation: rustfmt puts a function's last brace under its
//! first word.

use super::source::indent_of;

const LINES_MAX: usize = 70;
/// What may stand before `fn`.
const QUALIFIERS: &[&str] = &["const", "async", "unsafe", "extern", "\"C\"", "default"];

/// A function that is too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Long {
    pub(super) path: String,
    pub(super) name: String,
    pub(super) lines: usize,
}

/// Functions of a file over the limit.
pub(super) fn long(path: &str, text: &str) -> Vec<Long> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = name_of(line) else { continue };
        let count = length(&lines[at..]);
        if count > LINES_MAX {
            found.push(Long { path: path.to_owned(), name: name.to_owned(), lines: count });
        }
    }
    found
}

/// The name of the function that begins in this line.
fn name_of(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if let Some(after) = rest.strip_prefix("pub") {
        rest = match after.strip_prefix('(') {
            Some(scope) => scope.split_once(')')?.1,
            None => after,
        }
        .strip_prefix(' ')?;
    }
    loop {
        let (word, after) = rest.split_once(' ')?;
        if word == "fn" {
            return after.split(['(', '<']).next();
        }
        if !QUALIFIERS.contains(&word) {
            return None;
        }
        rest = after;
    }
}

/// Lines from the first to the one that closes the function.
fn length(lines: &[&str]) -> usize {
    let Some(first) = lines.first() else { return 0 };
    if first.ends_with('}') || first.ends_with(';') {
        return 1;
    }
    let indent = indent_of(first);
    let closes = |line: &&str| {
        let rest = line.strip_prefix(indent).unwrap_or(" ");
        rest.starts_with('}') || (rest.starts_with(')') && rest.ends_with([';', '}']))
    };
    lines.iter().skip(1).position(closes).map_or(lines.len(), |at| at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(head: &str, body_lines: usize) -> String {
        format!("{head} {{\n{}}}\n", "    work();\n".repeat(body_lines))
    }

    #[test]
    fn seventy_lines_are_enough() {
        assert_eq!(long("a.rs", &function("fn short()", 68)), []);
        let found = long("a.rs", &function("pub(crate) async fn far<T>(x: T)", 69));
        assert_eq!(found, [Long { path: "a.rs".into(), name: "far".into(), lines: 71 }]);
    }

    #[test]
    fn methods_end_where_they_began() {
        let method = "    fn a(\n        x: u8,\n    ) -> u8 {\n        {\n        }\n    }\n";
        assert_eq!(length(&method.lines().collect::<Vec<_>>()), 6);
        let declared = "    fn a(\n        x: u8,\n    ) -> u8;\n    fn b();\n";
        assert_eq!(length(&declared.lines().collect::<Vec<_>>()), 3);
    }

    #[test]
    fn only_functions_have_names() {
        assert_eq!(name_of("    pub const unsafe extern \"C\" fn a(x: u8) {"), Some("a"));
        assert_eq!(name_of("pub fn b<T>() {"), Some("b"));
        for other in ["    call(fn_name);", "// fn c()", "pub struct A;", "let f = |x| x;", "pub"] {
            assert_eq!(name_of(other), None, "{other}");
        }
    }
}
