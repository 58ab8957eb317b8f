//! How much space a directory takes on its disk.
//!
//! Invariant: what counts is the space that is allocated, so a file written ahead counts and a hole does not; what
//! is deleted while we look is left out.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, Result};

/// The kernel counts allocated space in these.
const BLOCK_BYTES: u64 = 512;

/// All files and directories below `path`, and itself.
pub fn bytes_on_disk(path: &Path) -> Result<u64> {
    let failed = |error: &std::io::Error| Error::io(path.display().to_string(), error);
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed(&error)),
    };
    let mut bytes = metadata.blocks() * BLOCK_BYTES;
    if metadata.is_dir() {
        match fs::read_dir(path) {
            Ok(entries) => {
                for entry in entries.flatten() {
                    bytes += bytes_on_disk(&entry.path())?;
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_directories_count() {
        let directory = std::env::temp_dir().join(format!("bench-disk-use-{}", std::process::id()));
        fs::create_dir_all(directory.join("inner")).expect("a temporary directory");
        let before = bytes_on_disk(&directory).expect("it is there");
        fs::write(directory.join("inner/file"), vec![1; 100_000]).expect("a file");
        fs::File::open(directory.join("inner/file")).and_then(|file| file.sync_all()).expect("a file");
        let after = bytes_on_disk(&directory).expect("it is there");
        fs::remove_dir_all(&directory).expect("it is ours");
        assert!((100_000..200_000).contains(&(after - before)), "{before} and {after}");
        assert_eq!(bytes_on_disk(&directory).ok(), Some(0));
    }
}
