//! What can be wrong with a block store.
//!
//! Invariant: every text names the file it is about.

use std::fmt;

/// Why a block store cannot be opened or started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockError(pub String);

impl fmt::Display for BlockError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for BlockError {}

/// Why a block cannot be read. The texts name the file, the offset and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The disk gave an error; another try may work.
    Io(String),
    /// What is there is not what was put: a wrong checksum, a file that was cut or exchanged.
    Damaged(String),
    /// The file is not there.
    Missing(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ReadError::Io(text) | ReadError::Damaged(text) | ReadError::Missing(text)) = self;
        out.write_str(text)
    }
}

impl std::error::Error for ReadError {}
