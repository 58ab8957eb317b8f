//! The reserve: a file of zeros that is removed when the disk is full, so that what frees space can
//! still be written.
//!
//! Invariant: a file of the name `reserve` was written to its full length and synced.

use super::BlockConfig;
use crate::disk::is_out_of_room;
use crate::{Disk, OpenMode};
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

const NAME: &str = "reserve";
/// Its name while it is written.
const NEW_NAME: &str = "reserve.new";
/// Bytes written at once.
const STEP_BYTES: usize = 1024 * 1024;

pub(super) struct Reserve {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    bytes: u64,
    held: bool,
}

impl Reserve {
    /// The reserve of a store that is opened; made if it is not there or has another length. There
    /// need not be room for it.
    pub(super) fn open(disk: &Arc<dyn Disk>, config: &BlockConfig) -> io::Result<Reserve> {
        let mut reserve =
            Reserve { disk: disk.clone(), dir: config.dir.clone(), bytes: config.reserve_bytes, held: false };
        reserve.remove(NEW_NAME)?;
        let held = match disk.open(&config.dir.join(NAME), OpenMode::Read) {
            Ok(file) => file.len()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if held == reserve.bytes && held > 0 {
            reserve.held = true;
            return Ok(reserve);
        }
        reserve.remove(NAME)?;
        match reserve.make() {
            Err(error) if is_out_of_room(&error) => {
                tracing::warn!(dir = %config.dir.display(), "no room on the disk for the reserve");
            }
            other => other?,
        }
        Ok(reserve)
    }

    /// Whether all that is to be held is held.
    pub(super) fn is_held(&self) -> bool {
        self.held || self.bytes == 0
    }

    /// Gives the space back to the disk; false if there was none.
    pub(super) fn use_up(&mut self) -> bool {
        if !std::mem::take(&mut self.held) {
            return false;
        }
        match self.remove(NAME) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "the reserve cannot be removed");
                false
            }
        }
    }

    /// Makes the reserve anew if there is room for it and as much again, so that it is not used up
    /// by the next write.
    pub(super) fn restore(&mut self) -> bool {
        if self.is_held() {
            return true;
        }
        let room = self.disk.free_bytes(&self.dir).unwrap_or(u64::MAX);
        if room < 2 * self.bytes {
            return false;
        }
        match self.make() {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(dir = %self.dir.display(), %error, "the reserve cannot be made yet");
                false
            }
        }
    }

    fn make(&mut self) -> io::Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        let made =
            self.write().and_then(|()| self.disk.rename(&self.dir.join(NEW_NAME), &self.dir.join(NAME)));
        if made.is_err() {
            self.remove(NEW_NAME)?;
        }
        self.held = made.is_ok();
        made
    }

    fn write(&self) -> io::Result<()> {
        self.remove(NEW_NAME)?;
        let file = self.disk.open(&self.dir.join(NEW_NAME), OpenMode::Create)?;
        let zeros = vec![0; STEP_BYTES];
        let mut offset = 0;
        while offset < self.bytes {
            let step = (self.bytes - offset).min(STEP_BYTES as u64);
            file.write_at(offset, &[IoSlice::new(&zeros[..step as usize])])?;
            offset += step;
        }
        file.sync()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match self.disk.remove(&self.dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
