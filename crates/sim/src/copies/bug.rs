//! Bugs of mirrored queues that could have been, put back to see that a play finds them. Only tests set one.
//!
//! Invariant: with no bug chosen nothing in a play is different from the product's own decisions.

/// A known bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A home confirms what it has appended.
    ConfirmBeforeCommit,
    /// A lost home is followed by any mirror, in sync or not.
    UnsyncedPromoted,
    /// A mirror keeps what it has beyond the divergence.
    DivergentTailKept,
    /// A mirror applies settles before they are committed.
    SettleBeforeCommit,
    /// A home that sees no outcome of a join for a while commits without the joiner.
    TimeoutIsOutcome,
    /// A mirror tells of its copy although its catalog is behind what the home knows of the row.
    OpenWithoutVersion,
    /// A node that starts again follows the epoch of an old catalog, although its copy has been in a later one.
    EpochForgotten,
    /// A copy is dropped by a row that the node should have passed long ago, since it has just started.
    DroppedByOldRow,
    /// A new stream does not begin with the turns that are not committed yet.
    PendingNotRepeated,
    /// A mirror acknowledges what it has not synced.
    AckBeforeSync,
    /// What a mirror told before the last stream is taken for what it has now.
    StateOfAnyOpen,
    /// A start serves a queue as one without mirrors by an old catalog, although its copy is one of several.
    ServedByOldRow,
    /// A home whose process started again goes on in the old epoch.
    EpochOfOldStart,
}
