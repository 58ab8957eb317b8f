//! What lies in the log's directory.
//!
//! Invariant: nothing is changed. Files whose names are not the log's are left alone.

use super::window::Window;
use crate::disk::{Disk, OpenMode};
use crate::open_error::OpenError;
use crate::wal::format::file_head::FILE_HEAD_BYTES;
use crate::wal::format::{FileHead, HeadError, VERSION};
use crate::wal::names::{FileName, Role};
use std::path::{Path, PathBuf};

/// A file that is part of the log, or made to be.
#[derive(Clone, Debug)]
pub(super) struct LogFile {
    pub generation: u64,
    pub path: PathBuf,
    /// Bytes.
    pub length: u64,
    /// Its head, where that is sound and its own.
    pub head: Option<FileHead>,
}

/// A file that is not part of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wal) struct Leftover {
    pub name: FileName,
    pub length: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// In the order of their generations.
    pub files: Vec<LogFile>,
    pub leftovers: Vec<Leftover>,
    /// No number up to this may be used again.
    pub highest_number: u64,
    /// The highest generation that a file had in an earlier life.
    pub highest_past: u64,
}

/// Looks at the heads of all files in `dir`.
pub(super) fn survey(disk: &dyn Disk, dir: &Path) -> Result<Survey, OpenError> {
    let mut found = Survey::default();
    let names = disk.list(dir).map_err(|error| OpenError::disk(dir, "listed", error))?;
    for text in names {
        let path = dir.join(&text);
        let Some(name) = FileName::of(&text) else {
            tracing::warn!(path = %path.display(), "not a file of the log; it is left alone");
            continue;
        };
        found.highest_number = found.highest_number.max(name.number);
        if name.role == Role::New {
            found.leftovers.push(Leftover { name, length: 0 });
            continue;
        }
        let mut window = open(disk, &path)?;
        let length = window.length;
        let head = head(&mut window, &path)?;
        let own = head.filter(|head| name.role == Role::Log && head.generation == name.number);
        if let Some(past) = head.filter(|_| own.is_none()) {
            found.highest_past = found.highest_past.max(past.generation);
        }
        if name.role == Role::Log {
            found.files.push(LogFile { generation: name.number, path, length, head: own });
        } else {
            found.leftovers.push(Leftover { name, length });
        }
    }
    found.highest_number = found.highest_number.max(found.highest_past);
    found.files.sort_by_key(|file| file.generation);
    Ok(found)
}

/// Opens a file for reading.
pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Window, OpenError> {
    disk.open(path, OpenMode::Read)
        .and_then(Window::new)
        .map_err(|error| OpenError::disk(path, "opened", error))
}

fn head(window: &mut Window, path: &Path) -> Result<Option<FileHead>, OpenError> {
    let bytes =
        window.bytes(0, FILE_HEAD_BYTES as u64).map_err(|error| OpenError::disk(path, "read", error))?;
    let Some(bytes) = bytes.and_then(|bytes| bytes.try_into().ok()) else { return Ok(None) };
    match FileHead::decode(bytes) {
        Ok(head) => Ok(Some(head)),
        Err(HeadError::Invalid) => Ok(None),
        Err(HeadError::Version(found)) => {
            Err(OpenError::Version { path: path.to_owned(), found, known: VERSION })
        }
    }
}
