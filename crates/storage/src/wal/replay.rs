//! What the log tells the engine when a directory is opened.
//!
//! Invariant: entries come in the order of their sequences, each at most once, with the bytes that were
//! appended.

use super::entry::{EntryKind, Sequence};

/// Takes the entries of a directory that is opened.
pub trait Replay {
    /// The next entry. An `Err` says why the engine cannot understand it: the opening fails with the
    /// file, the offset and that text.
    fn entry(&mut self, entry: ReplayedEntry<'_>) -> Result<(), String>;
}

/// An entry that was found.
#[derive(Clone, Copy, Debug)]
pub struct ReplayedEntry<'a> {
    /// Its number.
    pub sequence: Sequence,
    /// Its log.
    pub log: u64,
    /// Its kind.
    pub kind: EntryKind,
    /// Its own bytes.
    pub head: &'a [u8],
    /// Its body, if it has one.
    pub body: Option<ReplayedBody<'a>>,
}

/// The body of an entry that was found.
#[derive(Clone, Copy, Debug)]
pub struct ReplayedBody<'a> {
    /// The same for all entries that share these bytes, different for all others of this opening.
    pub id: u64,
    /// The bytes: data and trailer. Only valid during the call.
    pub bytes: &'a [u8],
}
