//! A directory for one test.
//!
//! Invariant: no other test has it, and it goes with the value, whether the test passes or not.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that goes at the end; it is made by whoever needs it.
pub struct TestDir(PathBuf);

impl TestDir {
    /// A name that nobody else uses.
    pub fn new(name: &str) -> TestDir {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        TestDir(std::env::temp_dir().join(format!("leveret-{name}-{}-{number}", std::process::id())))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        // Some are never made.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
