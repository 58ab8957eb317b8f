//! What is wrong with a directory, and whether it may be passed over.
//!
//! Invariant: damage either refuses the opening or is listed, once.

use crate::open_error::OpenError;
use std::path::Path;

/// Decides about damage.
#[derive(Debug, Default)]
pub(super) struct Damages {
    accept: bool,
    /// Damage in files of generations below this was accepted at an earlier start.
    accepted_below: u64,
    /// Only looks; says nothing.
    quiet: bool,
    pub list: Vec<String>,
}

impl Damages {
    pub fn new(accept: bool, accepted_below: u64) -> Self {
        Self { accept, accepted_below, ..Self::default() }
    }

    /// Passes over everything without a word, to look at what is there.
    pub fn quiet() -> Self {
        Self { quiet: true, ..Self::default() }
    }

    /// Takes note of damage to the file of this generation; an error if it cannot be passed over.
    pub fn pass(&mut self, path: &Path, generation: u64, offset: u64, what: String) -> Result<(), OpenError> {
        if self.quiet {
            return Ok(());
        }
        if generation < self.accepted_below {
            tracing::warn!(path = %path.display(), offset, what, "damage of the log, accepted before");
            return Ok(());
        }
        if !self.accept {
            return Err(OpenError::Damaged { path: path.to_owned(), offset, what });
        }
        let line = format!("'{}' at byte {offset}: {what}", path.display());
        tracing::warn!("damage of the log is passed over: {line}");
        self.list.push(line);
        Ok(())
    }
}
