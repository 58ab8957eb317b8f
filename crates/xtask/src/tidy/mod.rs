//! The order of the tree: headers, sizes, words that must not stay, names that say nothing.
//!
//! Invariant: every tracked file is looked at; exceptions are in `tidy-allow.txt`, which only shrinks.

mod allow;
mod functions;
mod source;
mod tree;

use source::Source;
use std::path::Path;

/// All that is out of order.
pub(crate) fn check(root: &Path) -> Result<Vec<String>, String> {
    let listed = crate::output_of(root, "git", &["ls-files", "-z"])?;
    let paths: Vec<&str> = listed.split('\0').filter(|path| root.join(path).is_file()).collect();
    let mut wrong = tree::names(&paths);
    wrong.extend(tree::sizes(root, &paths));
    wrong.extend(tree::unnamed_crates(root, &paths));
    let mut long = Vec::new();
    for path in paths.iter().filter(|path| path.ends_with(".rs")) {
        let text = std::fs::read_to_string(root.join(path)).map_err(|error| format!("{path}: {error}"))?;
        let source = Source::new(path, &text);
        wrong.extend(source.violations());
        long.extend(functions::long(path, &text));
    }
    let allowed = std::fs::read_to_string(root.join(allow::PATH)).unwrap_or_default();
    wrong.extend(allow::compare(&long, &allowed));
    Ok(wrong)
}
