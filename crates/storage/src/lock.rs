//! The lock of a data directory: one broker at a time.
//!
//! Invariant: while a `DirLock` lives, no other process gets one for the same directory. It ends with
//! the process, however that ends; the file stays, it means nothing by itself.

use crate::open_error::OpenError;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

const NAME: &str = "lock";

/// A directory that belongs to this process.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the directory `dir`, which must exist.
    ///
    /// # Errors
    /// `InUse` when another process has it, `Disk` when the file cannot be made or locked.
    pub fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(NAME);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| OpenError::disk(&path, "opened for writing", error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned() }),
            Err(TryLockError::Error(error)) => Err(OpenError::disk(&path, "locked", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_taken_once_and_free_again_afterwards() {
        let dir = std::env::temp_dir().join(format!("leveret-lock-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let first = DirLock::take(&dir).unwrap();
        let error = DirLock::take(&dir).unwrap_err().to_string();
        assert!(error.contains(&*dir.to_string_lossy()) && error.contains("in use"), "{error}");
        drop(first);
        drop(DirLock::take(&dir).unwrap());
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(matches!(DirLock::take(&dir), Err(OpenError::Disk { .. })));
    }
}
