//! What the writer does for space between rounds: it removes empty files and has owners relocate the
//! blocks of sparse ones.
//!
//! Invariant: a file is removed only after it left the accounting, so that nobody opens it for
//! reading and keeps it.

use super::BlockSink;
use super::format;
use super::reader::Shelf;
use std::io;
use types::limits::BLOCK_RELOCATE_MAX_BYTES;

impl Shelf {
    /// Whether there is something to sweep.
    pub(super) fn is_dusty(&self) -> bool {
        let files = self.files.lock();
        files.has_empty() || files.may_relocate(self.config.file_bytes, BLOCK_RELOCATE_MAX_BYTES)
    }

    /// Removes the files in which nothing is needed.
    pub(super) fn remove_empty(&self) {
        let empty = self.files.lock().take_empty();
        for number in empty {
            self.open.forget(number);
            let path = self.config.dir.join(format::name(number));
            match self.disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    // It is found and removed at the next start.
                    tracing::warn!(file = %path.display(), %error, "an empty block file cannot be removed");
                }
                _ => {}
            }
        }
    }

    /// Asks owners for the blocks of sparse files while too much space is used. Gives how many
    /// blocks that were.
    pub(super) fn ask_to_relocate(&self, sink: &dyn BlockSink) -> u64 {
        let asks = self.files.lock().relocate(self.config.file_bytes, BLOCK_RELOCATE_MAX_BYTES);
        let mut count = 0;
        for (log, blocks) in asks {
            count += blocks.len() as u64;
            sink.relocate(log, blocks);
        }
        count
    }
}
