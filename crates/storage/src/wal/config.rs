//! How a log is set up.
//!
//! Invariant: a checked configuration has files that hold at least a head and a batch.

use std::path::PathBuf;
use types::limits::{
    WAL_BATCH_MAX_BYTES, WAL_BUDGET_BYTES, WAL_FILE_BYTES, WAL_FILE_MIN_BYTES, WAL_FIRST_FILE_BYTES,
    WAL_LAZY_BYTES, WAL_LAZY_MS,
};

/// Configuration of a log; `new` has the defaults of `types::limits`.
#[derive(Clone, Debug)]
pub struct WalConfig {
    /// The log's own directory.
    pub dir: PathBuf,
    /// Size of the very first file; later ones double up to `file_bytes`.
    pub first_file_bytes: u64,
    /// Size of a file. A larger entry gets a file of its own.
    pub file_bytes: u64,
    /// Above this in files that are still needed, checkpoints are asked for.
    pub budget_bytes: u64,
    /// One write and sync covers at most about this much; a larger entry goes alone.
    pub batch_max_bytes: usize,
    /// Entries nobody waits for are written at the latest after this.
    pub lazy_ms: u64,
    /// Or when this much has gathered.
    pub lazy_bytes: usize,
    /// Pass over damage instead of refusing to open.
    pub accept_damage: bool,
}

impl WalConfig {
    /// The defaults, for a log in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            first_file_bytes: WAL_FIRST_FILE_BYTES,
            file_bytes: WAL_FILE_BYTES,
            budget_bytes: WAL_BUDGET_BYTES,
            batch_max_bytes: WAL_BATCH_MAX_BYTES,
            lazy_ms: WAL_LAZY_MS,
            lazy_bytes: WAL_LAZY_BYTES,
            accept_damage: false,
        }
    }

    /// What is wrong with it, naming the value and the fix.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.first_file_bytes < WAL_FILE_MIN_BYTES {
            return Err(format!(
                "the first file of the log is set to {} bytes; it must have at least {WAL_FILE_MIN_BYTES}",
                self.first_file_bytes
            ));
        }
        if self.file_bytes < self.first_file_bytes {
            return Err(format!(
                "files of the log are set to {} bytes; they must have at least the {} bytes of the first",
                self.file_bytes, self.first_file_bytes
            ));
        }
        Ok(())
    }
}
