//! The disk as storage sees it: a small trait, so that tests can break it.
//!
//! Invariant: what `sync` came back from survives a crash; what was written since may be there, be
//! missing or be torn, in any combination. A file that was created, renamed or removed is so after a
//! crash only once `sync_dir` of its directory came back.

mod crash;
mod faulty;
mod real;

pub use crash::CrashDisk;
pub use faulty::{FaultKind, FaultyDisk};
pub use real::RealDisk;

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

/// Whether an error says that there is no room now and may be later: on the disk, or for another open
/// file, of which clients may have taken all that the process may have.
pub fn is_out_of_room(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let no_more_files = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || no_more_files.contains(&error.raw_os_error())
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, to be read.
    Read,
    /// An existing file, to be read and written.
    Write,
    /// A new file, to be read and written; an error if there is one of that name.
    Create,
}

/// A disk.
pub trait Disk: Send + Sync {
    /// Makes a directory and those above it.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Names of the files in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name in the same directory.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes what was created, renamed and removed in a directory survive a crash.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that can still be written in a directory.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether nothing is in it.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills `buffer` from `offset` on; `UnexpectedEof` where the file ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes all of `parts`, one behind the other, from `offset` on.
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;
    /// Cuts the file or makes it longer with zeros that need not take up space.
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// Makes what was written survive a crash (fdatasync).
    fn sync(&self) -> io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_can_use_up_is_waited_for() {
        let by_number = |errno: rustix::io::Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        for errno in [rustix::io::Errno::NOSPC, rustix::io::Errno::MFILE, rustix::io::Errno::NFILE] {
            assert!(is_out_of_room(&by_number(errno)), "{errno:?}");
        }
        assert!(!is_out_of_room(&by_number(rustix::io::Errno::IO)));
    }
}
