//! Reads a file in pieces that are large enough to be fast.
//!
//! Invariant: holds no more than a piece, or the longest run that was asked for.

use crate::disk::DiskFile;
use std::io;
use std::sync::Arc;

/// Bytes read ahead at once.
pub(super) const WINDOW_BYTES: u64 = 1024 * 1024;

/// A piece of a file.
pub(super) struct Window {
    file: Arc<dyn DiskFile>,
    /// Of the file, in bytes.
    pub length: u64,
    buffer: Vec<u8>,
    start: u64,
    filled: usize,
}

impl Window {
    pub fn new(file: Arc<dyn DiskFile>) -> io::Result<Self> {
        let length = file.len()?;
        Ok(Self { file, length, buffer: Vec::new(), start: 0, filled: 0 })
    }

    /// `length` bytes from `offset` on; `None` if the file ends before.
    pub fn bytes(&mut self, offset: u64, length: u64) -> io::Result<Option<&[u8]>> {
        let Some(end) = offset.checked_add(length).filter(|end| *end <= self.length) else {
            return Ok(None);
        };
        if offset < self.start || end > self.start + self.filled as u64 {
            let wanted = length.max(WINDOW_BYTES).min(self.length - offset);
            let wanted = usize::try_from(wanted).map_err(|_| io::ErrorKind::OutOfMemory)?;
            self.filled = 0;
            if self.buffer.len() < wanted {
                self.buffer.resize(wanted, 0);
            }
            if let Some(part) = self.buffer.get_mut(..wanted) {
                self.file.read_at(offset, part)?;
            }
            (self.start, self.filled) = (offset, wanted);
        }
        let from = (offset - self.start) as usize;
        Ok(self.buffer.get(from..from + length as usize))
    }
}
