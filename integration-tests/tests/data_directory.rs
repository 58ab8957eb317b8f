//! The data directory: one broker at a time, and no start on what cannot be read, unless the operator says
//! so.

use integration_tests::{Broker, persistent, with_restarts};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Files of a directory under the data directory whose names end so, in order.
fn files(data_dir: &Path, below: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data_dir.join(below)).expect("the directory is there");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    files.sort();
    files
}

fn one_line(text: &str, words: &[&str]) {
    assert_eq!(text.lines().count(), 1, "{text}");
    for word in words {
        assert!(text.contains(word), "it must name {word}: {text}");
    }
}
