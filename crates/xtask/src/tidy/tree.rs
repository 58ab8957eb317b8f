//! Files and crates as a whole: names, sizes, and that the architecture's page knows every crate.

use std::path::Path;

const FILE_SIZE_MAX_BYTES: u64 = 1024 * 1024;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "helper", "misc", "manager"];
const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// Files whose name says nothing.
pub(super) fn names(paths: &[&str]) -> Vec<String> {
    let says_nothing = |path: &&&str| {
        let file = path.rsplit('/').next().unwrap_or_default();
        let stem = file.split('.').next().unwrap_or_default();
        EMPTY_NAMES.iter().any(|empty| stem == *empty || stem.strip_suffix('s') == Some(*empty))
    };
    paths.iter().filter(says_nothing).map(|path| format!("{path}: the name says nothing")).collect()
}

/// Files too large for a repository.
pub(super) fn sizes(root: &Path, paths: &[&str]) -> Vec<String> {
    let too_large = |path: &&&str| {
        root.join(path).symlink_metadata().is_ok_and(|facts| facts.len() > FILE_SIZE_MAX_BYTES)
    };
    paths.iter().filter(too_large).map(|path| format!("{path}: larger than 1 MiB")).collect()
}

/// Crates that the architecture's page, once there is one, does not name.
pub(super) fn unnamed_crates(root: &Path, paths: &[&str]) -> Vec<String> {
    match std::fs::read_to_string(root.join(ARCHITECTURE)) {
        Ok(page) => unnamed_in(&page, paths),
        Err(_) => Vec::new(),
    }
}

fn unnamed_in(page: &str, paths: &[&str]) -> Vec<String> {
    let crates = paths.iter().filter_map(|path| path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml"));
    crates
        .filter(|name| !page.contains(&format!("`{name}`")) && !page.contains(&format!("crates/{name}")))
        .map(|name| format!("{ARCHITECTURE}: does not name the crate `{name}`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_to_say_something() {
        let found = names(&["a/util.rs", "a/helpers.py", "a/utility.rs", "managers", "queue/mod.rs"]);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], "a/util.rs: the name says nothing");
    }

    #[test]
    fn every_crate_is_on_the_page() {
        let paths = ["crates/types/Cargo.toml", "crates/sim/Cargo.toml", "fuzz/Cargo.toml"];
        let found = unnamed_in("`types` is at the bottom; a simile", &paths);
        assert_eq!(found, ["ARCHITECTURE.md: does not name the crate `sim`"]);
    }
}
