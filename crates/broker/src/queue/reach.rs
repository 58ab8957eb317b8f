//! Which copies of a queue a record is for, and when.
//!
//! Invariant: what lets go of a message, or counts its returns, is written nowhere before it is committed; what
//! says where bytes are on a disk is that node's alone.

use super::record::{DISCARD, EPOCH, MOVED, RETURN, SETTLE, SNAPSHOT};

/// How a record of a mirrored queue travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This copy's own: which epoch began.
    Own,
    /// This copy's own: where bytes are. It is written when everything before it is committed, since what was let go
    /// of before is not in the block, and a log that does not know of that would miss it.
    OwnWhenCommitted,
    /// Written by all copies at once: messages.
    AtOnce,
    /// Held by mirrors, and written by all copies when it is committed.
    WhenCommitted,
}

/// How a record that `records_of` made travels.
pub fn reach(record: &[u8]) -> Reach {
    match record.get(1) {
        Some(&(SETTLE | DISCARD | RETURN)) => Reach::WhenCommitted,
        Some(&MOVED) => Reach::OwnWhenCommitted,
        Some(&(SNAPSHOT | EPOCH)) => Reach::Own,
        _ => Reach::AtOnce,
    }
}
