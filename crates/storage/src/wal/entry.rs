//! What is appended: entries of logs, with bodies that are not copied.
//!
//! Invariant: an entry says nothing about what its bytes mean; only its kind matters to the log.

use std::fmt;
use std::sync::Arc;

/// Number of an entry: 1, 2, 3 and so on over the whole life of the directory, without holes.
pub type Sequence = u64;

/// What an entry does to what its log needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Something happened; needed until a snapshot covers it.
    Record,
    /// The log's state as it was after `covers`. From now on the log needs this entry and, where
    /// `needs_from` is given, everything from that sequence on.
    Snapshot {
        /// The last sequence whose effect is in the snapshot.
        covers: Sequence,
        /// The oldest entry that the log still needs beside the snapshot.
        needs_from: Option<Sequence>,
    },
    /// The log is over: it needs nothing any more.
    End,
}

/// Bytes that are written without being copied; on disk `data`, then `trailer`, as one run.
#[derive(Clone)]
pub struct Body {
    /// The bytes. Must give the same slice each time it is asked.
    pub data: Arc<dyn AsRef<[u8]> + Send + Sync>,
    /// What follows them.
    pub trailer: Arc<[u8]>,
}

impl Body {
    /// Its length in bytes, trailer included.
    pub fn len(&self) -> usize {
        (*self.data).as_ref().len() + self.trailer.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn data(&self) -> &[u8] {
        (*self.data).as_ref()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Body({} bytes)", self.len())
    }
}

/// One entry of one log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The log it belongs to.
    pub log: u64,
    /// What it does to the log's needs.
    pub kind: EntryKind,
    /// Its own bytes.
    pub head: Vec<u8>,
    /// Bytes it may share with other entries of the same `append`: they are written once.
    pub body: Option<Body>,
}

impl Entry {
    /// Bytes the entry holds in memory while it waits, apart from the struct itself.
    pub(super) fn bytes(&self) -> usize {
        self.head.len() + self.body.as_ref().map_or(0, Body::len)
    }
}
