//! Why a directory of the storage cannot be opened.
//!
//! Invariant: each names the file, what is wrong with it, and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a directory cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process works in the directory.
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// A value of the configuration makes no sense; the text names it and the fix.
    Config(String),
    /// The disk answered with an error.
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as in "it cannot be ...".
        tried: &'static str,
        /// The disk's answer.
        source: io::Error,
    },
    /// What was written and synced is not there any more, or is not what was written.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// Written by a version of the broker that uses another format.
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format this build reads.
        known: u32,
    },
    /// The bytes are what was written, but the engine cannot understand them.
    NotUnderstood {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes: the beginning of the batch.
        offset: u64,
        /// The engine's reason.
        why: String,
    },
}

impl OpenError {
    /// An error of the disk.
    pub(crate) fn disk(path: &Path, tried: &'static str, source: io::Error) -> Self {
        Self::Disk { path: path.to_owned(), tried, source }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { dir } => write!(
                formatter,
                "data directory '{}' is in use by another broker: stop that one, or give this one \
                 another data directory",
                dir.display()
            ),
            Self::Config(what) => formatter.write_str(what),
            Self::Disk { path, tried, source } => {
                let (kind, fix) = (source.kind(), fix_of(source.kind()));
                let kind = if kind == io::ErrorKind::Other { String::new() } else { format!(" ({kind})") };
                write!(formatter, "'{}' cannot be {tried}: {source}{kind}; {fix}", path.display())
            }
            Self::Damaged { path, offset, what } => write!(
                formatter,
                "'{}' is damaged at byte {offset}: {what}. Nothing was changed. Restore the data \
                 directory from a backup, or keep a copy of it and start once with --accept-damage, \
                 which passes over what cannot be read and lists it",
                path.display()
            ),
            Self::Version { path, found, known } => write!(
                formatter,
                "'{}' has format version {found}, and this broker knows version {known}: start the \
                 version of the broker that wrote it, or a newer one",
                path.display()
            ),
            Self::NotUnderstood { path, offset, why } => write!(
                formatter,
                "'{}' holds something at byte {offset} that this broker does not understand: {why}. \
                 Start the version of the broker that wrote it, or a newer one",
                path.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Disk { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// What the operator can do about an error of the disk.
fn fix_of(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => "give the broker's user the right to read and write it",
        io::ErrorKind::ReadOnlyFilesystem => "mount the file system for writing",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on the disk",
        _ => "look at the disk and the system's log, then start again",
    }
}
