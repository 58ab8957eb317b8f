//! Functions that may be too long for now: a list that only shrinks.
//!
//! Invariant: an entry stands for a function as long as it is now; one that is shorter or gone must be
//! brought up to date, one that grew fails.

use super::functions::Long;

pub(super) const PATH: &str = "crates/xtask/tidy-allow.txt";
/// Entries the list may have. Lower it with the list; it is never raised.
const ENTRIES_MAX: usize = 3;

/// Functions over what the list allows, and entries that are out of date.
pub(super) fn compare(long: &[Long], allowed: &str) -> Vec<String> {
    let entries: Vec<(&str, &str, usize)> = allowed.lines().filter_map(entry).collect();
    let mut wrong = Vec::new();
    if entries.len() > ENTRIES_MAX {
        wrong.push(format!("{PATH}: {} entries, and {ENTRIES_MAX} were enough before", entries.len()));
    }
    wrong.extend(unlisted(long, &entries));
    wrong.extend(out_of_date(long, &entries));
    wrong
}

/// A line `path function lines`; `#` begins a comment.
fn entry(line: &str) -> Option<(&str, &str, usize)> {
    let mut words = line.split('#').next()?.split_whitespace();
    Some((words.next()?, words.next()?, words.next()?.parse().ok()?))
}

fn unlisted(long: &[Long], entries: &[(&str, &str, usize)]) -> Vec<String> {
    let is_allowed = |long: &&Long| {
        entries
            .iter()
            .any(|(path, name, lines)| *path == long.path && *name == long.name && long.lines <= *lines)
    };
    let tell =
        |long: &Long| format!("{}: fn {} has {} lines, more than 70", long.path, long.name, long.lines);
    long.iter().filter(|long| !is_allowed(long)).map(tell).collect()
}

fn out_of_date(long: &[Long], entries: &[(&str, &str, usize)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, name, lines) in entries {
        let now = long.iter().filter(|long| long.path == *path && long.name == *name);
        match now.map(|long| long.lines).max() {
            None => wrong.push(format!("{PATH}: {path} {name} is short now, take it off")),
            Some(now) if now < *lines => {
                wrong.push(format!("{PATH}: {path} {name} has {now} lines now, not {lines}"));
            }
            Some(_) => {}
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(lines: usize) -> Vec<Long> {
        vec![Long { path: "a.rs".into(), name: "far".into(), lines }]
    }

    #[test]
    fn an_entry_allows_what_is_there_and_no_more() {
        let entries: Vec<_> = ["# why", "a.rs far 80"].into_iter().filter_map(entry).collect();
        assert_eq!(entries, [("a.rs", "far", 80)]);
        assert_eq!(unlisted(&long(80), &entries), Vec::<String>::new());
        assert_eq!(unlisted(&long(81), &entries), ["a.rs: fn far has 81 lines, more than 70"]);
        assert_eq!(out_of_date(&long(80), &entries), Vec::<String>::new());
    }

    #[test]
    fn an_entry_out_of_date_fails() {
        let entries = [("a.rs", "far", 80)];
        assert_eq!(out_of_date(&long(75), &entries).len(), 1);
        assert_eq!(out_of_date(&[], &entries).len(), 1);
    }

    #[test]
    fn the_list_does_not_grow() {
        let listed = "a.rs far 80\n".repeat(ENTRIES_MAX + 1);
        assert!(compare(&long(80), &listed).iter().any(|line| line.contains("were enough before")));
    }
}
