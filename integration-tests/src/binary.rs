//! Finds the `leveret` binary that belongs to the running tests, and builds it when it is not up to date.
//!
//! Invariant: the binary comes from the same target directory and profile as the tests, unless
//! `LEVERET_BIN` names another; cargo itself judges whether it is up to date.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The binary to test.
pub fn broker_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("LEVERET_BIN") {
        Some(path) => given(PathBuf::from(path)),
        None => build(),
    })
}

fn given(path: PathBuf) -> PathBuf {
    assert!(path.is_file(), "LEVERET_BIN is {}: there is no such file", path.display());
    path
}

/// Builds with the tests' profile: `<target dir>/<profile>/deps/features-…` is the running test.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile_dir = test.ancestors().nth(2).expect("a test is in <target dir>/<profile>/deps");
    let target_dir = profile_dir.parent().expect("a profile's directory is in the target directory");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", "leveret", "--profile", profile, "--target-dir"])
        .arg(target_dir)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo builds the broker; set LEVERET_BIN to test a binary without cargo");
    let binary = profile_dir.join("leveret");
    assert!(
        built.status.success() && binary.is_file(),
        "the broker cannot be built as {}; set LEVERET_BIN to test another:\n{}",
        binary.display(),
        String::from_utf8_lossy(&built.stderr)
    );
    binary
}
