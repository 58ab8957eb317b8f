//! Opening a block store: what is there, which of it is needed, and the way to a running store.
//!
//! Invariant: a file of a newer version stops it before anything is changed. Files that are not the
//! store's are left alone. A file that a log needs but that is damaged is not removed by this process.

use super::format::{self, FILE_HEAD_BYTES, HeadError};
use super::reader::{OpenFiles, Shelf};
use super::reserve::Reserve;
use super::store::{self, BlockStore};
use super::{BlockConfig, BlockError, BlockSink, Location, ReadError};
use crate::{Disk, OpenMode};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A store before it runs: logs say which blocks they still need.
pub struct OpenBlocks {
    shelf: Shelf,
    /// Number of the first file that this process makes.
    next: u64,
    /// Files with blocks that a log needs and that cannot be read.
    damaged: Mutex<BTreeSet<u64>>,
}

impl OpenBlocks {
    pub(super) fn open(disk: Arc<dyn Disk>, config: BlockConfig) -> Result<OpenBlocks, BlockError> {
        let wrong = |error: io::Error| BlockError(format!("block store {}: {error}", config.dir.display()));
        disk.create_dir(&config.dir).map_err(wrong)?;
        if config.durable {
            let parent = config.dir.parent().filter(|dir| !dir.as_os_str().is_empty());
            disk.sync_dir(parent.unwrap_or(Path::new("."))).map_err(wrong)?;
        }
        let names = disk.list(&config.dir).map_err(wrong)?;
        let numbers: Vec<u64> = names.iter().filter_map(|name| format::number(name)).collect();
        let next = numbers.last().map_or(1, |last| last.saturating_add(1));
        let open = OpenBlocks {
            shelf: Shelf { disk, config, files: Mutex::default(), open: OpenFiles::default() },
            next,
            damaged: Mutex::default(),
        };
        if open.shelf.config.durable {
            open.find(&numbers)?;
        } else {
            open.wipe(&numbers)?;
        }
        Ok(open)
    }

    /// Looks at the files of earlier processes.
    fn find(&self, numbers: &[u64]) -> Result<(), BlockError> {
        for &number in numbers {
            let path = self.shelf.config.dir.join(format::name(number));
            let wrong = |error: io::Error| BlockError(format!("block file {}: {error}", path.display()));
            let file = self.shelf.disk.open(&path, OpenMode::Read).map_err(wrong)?;
            let bytes = file.len().map_err(wrong)?;
            let mut head = [0; FILE_HEAD_BYTES];
            if bytes >= FILE_HEAD_BYTES as u64 {
                file.read_at(0, &mut head).map_err(wrong)?;
            }
            if let Err(HeadError::Newer(version)) = format::check_file_head(&head, number) {
                return Err(BlockError(format!(
                    "block file {} has version {version}, which this Leveret does not know: start the newer \
                     one that wrote it, or one newer still",
                    path.display()
                )));
            }
            self.shelf.files.lock().found(number, bytes);
        }
        Ok(())
    }

    /// Removes what an earlier process left in a store that is not durable.
    fn wipe(&self, numbers: &[u64]) -> Result<(), BlockError> {
        for &number in numbers {
            let path = self.shelf.config.dir.join(format::name(number));
            let wrong = |error: io::Error| BlockError(format!("block file {}: {error}", path.display()));
            self.shelf.disk.remove(&path).map_err(wrong)?;
        }
        Ok(())
    }

    /// A log still needs this block.
    ///
    /// # Errors
    ///
    /// The file is missing, too short or no block file, or no block of that log and length is there;
    /// the text says which. The block's own bytes are checked when it is read.
    pub fn adopt(&self, log: u64, location: Location) -> Result<(), String> {
        let outcome = self.shelf.log_of(location).and_then(|found| {
            if found == log {
                return self
                    .shelf
                    .files
                    .lock()
                    .add(log, location)
                    .map_err(|wrong| self.shelf.damaged(location, &wrong));
            }
            Err(self.shelf.damaged(location, &format!("it is of log {found}, not {log}")))
        });
        outcome.map_err(|error| {
            self.damaged.lock().insert(location.file);
            error.to_string()
        })
    }

    /// Reads a block while the store does not run yet.
    ///
    /// # Errors
    ///
    /// As for [`BlockStore::read`].
    pub fn read(&self, location: Location) -> Result<Vec<u8>, ReadError> {
        self.shelf.read(location)
    }

    /// All logs have adopted what they need: removes the files in which nothing was. Gives how many
    /// bytes that were. A file in which something could not be adopted stays for the operator to look
    /// at, until the next start.
    ///
    /// # Errors
    ///
    /// A file could not be removed.
    pub fn recovered(&self) -> io::Result<u64> {
        let (mut removed, damaged) = (0, self.damaged.lock());
        let unused = self.shelf.files.lock().take_unused();
        for (number, bytes) in unused {
            self.shelf.open.forget(number);
            let path = self.shelf.config.dir.join(format::name(number));
            if damaged.contains(&number) {
                tracing::warn!(file = %path.display(), "damaged block file is left where it is");
                continue;
            }
            self.shelf.disk.remove(&path)?;
            removed += bytes;
        }
        Ok(removed)
    }

    /// Starts the store's two threads, after [`OpenBlocks::recovered`] if that was not called.
    ///
    /// # Errors
    ///
    /// A file that nobody needs could not be removed, the reserve could not be made (a disk without
    /// room for it is no error), or the system gives no threads.
    pub fn start(self, sink: Arc<dyn BlockSink>) -> io::Result<Arc<BlockStore>> {
        self.recovered()?;
        let reserve = Reserve::open(&self.shelf.disk, &self.shelf.config)?;
        store::start(self.shelf, self.next, reserve, sink)
    }
}
