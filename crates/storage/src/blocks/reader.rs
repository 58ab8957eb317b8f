//! Reading blocks: a thread of its own, so that no read waits for a sync, and a few open files.
//!
//! Invariant: what comes out matched its checksum. A file that was removed does not stay open here,
//! so that its space comes back.

use super::files::Files;
use super::format::{self, BLOCK_HEAD_BYTES, FILE_HEAD_BYTES, HeadError};
use super::writer::IDLE;
use super::{BlockConfig, Loaded, Location, ReadError};
use crate::{Disk, DiskFile, OpenMode};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use types::limits::BLOCK_OPEN_FILE_COUNT_MAX;

/// Files open for reading, the one used last at the end.
#[derive(Default)]
pub(super) struct OpenFiles(Mutex<VecDeque<(u64, Arc<dyn DiskFile>)>>);

/// Where blocks are read: the disk and what is in the files.
pub(super) struct Shelf {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) config: BlockConfig,
    pub(super) files: Mutex<Files>,
    pub(super) open: OpenFiles,
}

/// Reads that wait for the thread.
#[derive(Default)]
pub(super) struct Reads {
    queue: Mutex<(VecDeque<(Location, Loaded)>, bool)>,
    wake: Condvar,
}

impl Reads {
    /// Gives the request back when the thread was told to stop.
    pub(super) fn push(&self, location: Location, done: Loaded) -> Result<(), Loaded> {
        let mut queue = self.queue.lock();
        if queue.1 {
            return Err(done);
        }
        queue.0.push_back((location, done));
        self.wake.notify_one();
        Ok(())
    }

    /// The thread ends when it has done what was asked before.
    pub(super) fn stop(&self) {
        self.queue.lock().1 = true;
        self.wake.notify_one();
    }

    /// The thread: reads in order of asking until it is stopped.
    pub(super) fn run(&self, shelf: &Shelf, count: impl Fn(&Result<Vec<u8>, ReadError>)) {
        let mut worked = false;
        loop {
            let (location, done) = {
                let mut queue = self.queue.lock();
                loop {
                    match queue.0.pop_front() {
                        Some(next) => break next,
                        None if queue.1 => return,
                        None => match shelf.config.idle.filter(|_| std::mem::take(&mut worked)) {
                            Some(idle) => {
                                if self.wake.wait_for(&mut queue, IDLE).timed_out() {
                                    MutexGuard::unlocked(&mut queue, idle);
                                }
                            }
                            None => self.wake.wait(&mut queue),
                        },
                    }
                }
            };
            let outcome = shelf.read(location);
            count(&outcome);
            done(outcome);
            worked = true;
        }
    }
}

impl Shelf {
    /// The bytes that were put there.
    pub(super) fn read(&self, location: Location) -> Result<Vec<u8>, ReadError> {
        let (file, head, _) = self.read_head(location)?;
        let mut bytes = vec![0; location.length as usize - BLOCK_HEAD_BYTES];
        let offset = u64::from(location.offset) + BLOCK_HEAD_BYTES as u64;
        file.read_at(offset, &mut bytes).map_err(|error| self.failed(location, &error))?;
        format::check_block(&head, &bytes).map_err(|wrong| self.damaged(location, &wrong))?;
        Ok(bytes)
    }

    /// The log that put the block there; its bytes are not looked at.
    pub(super) fn log_of(&self, location: Location) -> Result<u64, ReadError> {
        self.read_head(location).map(|(_, _, log)| log)
    }

    #[allow(clippy::type_complexity)]
    fn read_head(
        &self,
        location: Location,
    ) -> Result<(Arc<dyn DiskFile>, [u8; BLOCK_HEAD_BYTES], u64), ReadError> {
        let file = self.file(location)?;
        let length = file.len().map_err(|error| self.failed(location, &error))?;
        if location.end() > length {
            let text = format!("the file ends at {length}, the block at {}", location.end());
            return Err(self.damaged(location, &text));
        }
        if (location.offset as usize) < FILE_HEAD_BYTES || (location.length as usize) < BLOCK_HEAD_BYTES {
            return Err(self.damaged(location, "no block can be there"));
        }
        let mut head = [0; BLOCK_HEAD_BYTES];
        file.read_at(location.offset.into(), &mut head).map_err(|error| self.failed(location, &error))?;
        let log =
            format::check_block_head(&head, location).map_err(|wrong| self.damaged(location, &wrong))?;
        Ok((file, head, log))
    }

    /// The file, its head checked.
    fn file(&self, location: Location) -> Result<Arc<dyn DiskFile>, ReadError> {
        if let Some(file) = self.open.get(location.file) {
            return Ok(file);
        }
        let path = self.config.dir.join(format::name(location.file));
        let file = self.disk.open(&path, OpenMode::Read).map_err(|error| self.failed(location, &error))?;
        let mut head = [0; FILE_HEAD_BYTES];
        file.read_at(0, &mut head).map_err(|error| self.failed(location, &error))?;
        match format::check_file_head(&head, location.file) {
            Ok(()) => {}
            Err(HeadError::Damaged(wrong)) => return Err(self.damaged(location, &wrong)),
            Err(HeadError::Newer(version)) => {
                return Err(self.damaged(location, &format!("it has the newer version {version}")));
            }
        }
        self.open.keep(location.file, &file, &self.files);
        Ok(file)
    }

    fn failed(&self, location: Location, error: &io::Error) -> ReadError {
        let place = self.place(location);
        match error.kind() {
            io::ErrorKind::NotFound => ReadError::Missing(format!("{place}: the file is not there")),
            io::ErrorKind::UnexpectedEof => ReadError::Damaged(format!("{place}: the file ends before")),
            _ => ReadError::Io(format!("{place}: {error}")),
        }
    }

    pub(super) fn damaged(&self, location: Location, wrong: &str) -> ReadError {
        ReadError::Damaged(format!("{}: {wrong}", self.place(location)))
    }

    fn place(&self, location: Location) -> String {
        let path = self.config.dir.join(format::name(location.file));
        format!("{}, block at {}", path.display(), location.offset)
    }
}

impl OpenFiles {
    fn get(&self, number: u64) -> Option<Arc<dyn DiskFile>> {
        let mut open = self.0.lock();
        let at = open.iter().rposition(|(there, _)| *there == number)?;
        let entry = open.remove(at)?;
        let file = entry.1.clone();
        open.push_back(entry);
        Some(file)
    }

    fn keep(&self, number: u64, file: &Arc<dyn DiskFile>, files: &Mutex<Files>) {
        let mut open = self.0.lock();
        // A file that was removed in the meantime is not kept: nobody would take it out again.
        if files.lock().contains(number) {
            open.push_back((number, file.clone()));
            if open.len() > BLOCK_OPEN_FILE_COUNT_MAX {
                open.pop_front();
            }
        }
    }

    /// Closes a file that is removed.
    pub(super) fn forget(&self, number: u64) {
        self.0.lock().retain(|(there, _)| *there != number);
    }
}
