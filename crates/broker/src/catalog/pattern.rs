//! A regular expression as operators write it in permissions and policies.
//!
//! Invariant: a pattern that exists has compiled, and matching it costs time linear in the name.
//! RabbitMQ's patterns are PCRE searches without anchors. The linear engine used here has no
//! look-ahead, so the one form that RabbitMQ's own guides teach, `^(?!refused)rest`, is kept as two
//! expressions.

use regex::{Regex, RegexBuilder};
use std::fmt;

/// Largest compiled form of one expression.
const COMPILED_BYTES_MAX: usize = 1 << 20;
const NEGATIVE_LOOK_AHEAD: &str = "^(?!";

/// A compiled pattern with the text it came from.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    /// Names that begin with this do not match, from `^(?!...)`.
    refused: Option<Regex>,
    wanted: Regex,
}

impl Pattern {
    /// Compiles `text`; the error says what is wrong with it.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let (refused, wanted) = match split_look_ahead(text) {
            Some((refused, rest)) => (Some(compile(&format!("^(?:{refused})"))?), format!("^{rest}")),
            None => (None, text.to_owned()),
        };
        Ok(Pattern { text: text.to_owned(), refused, wanted: compile(&wanted)? })
    }

    /// The text as the operator wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern is found in `name`.
    pub fn is_match(&self, name: &str) -> bool {
        self.wanted.is_match(name) && !self.refused.as_ref().is_some_and(|refused| refused.is_match(name))
    }
}

fn compile(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| error.to_string())
}

/// `^(?!a)b` as `a` and `b`.
fn split_look_ahead(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix(NEGATIVE_LOOK_AHEAD)?;
    let mut depth = 1usize;
    let mut bytes = inner.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'(' => depth += 1,
            b')' => {
                depth -= 1;
                if depth == 0 {
                    return Some((&inner[..at], &inner[at + 1..]));
                }
            }
            _ => {}
        }
    }
    None
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_search_and_are_not_anchored() {
        for (pattern, name, matches) in [
            (".*", "anything", true),
            ("^app-", "app-orders", true),
            ("^app-", "my-app-orders", false),
            ("orders", "my-orders-2", true),
            ("^(?!amq\\.).*", "orders", true),
            ("^(?!amq\\.).*", "amq.gen-1", false),
            ("^(?!(a|b)\\)).+$", "a)", false),
            ("^(?!(a|b)\\)).+$", "ac", true),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().is_match(name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn what_cannot_be_compiled_is_refused() {
        for pattern in ["(", "a{1000}{1000}{1000}", "(?=x)", "^(?!"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }
}
