//! Bugs that were, or could have been, put back to see that a play finds them. Only tests set one.
//!
//! Invariant: with no bug chosen nothing in a play is different from the product's own decisions.

/// A known bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The loss of one start of a node is taken for the loss of any.
    LossOfAnyBoot,
    /// A node that has voted on who forms the cluster does not write it down.
    VoteForgotten,
    /// A node that starts again keeps what it held in memory, in the catalog.
    NewStartKeepsPassingQueues,
    /// Nodes whose place another one took stay in the group and count for its majority.
    DeadVotersStay,
    /// Who gets a newer catalog as a whole does nothing about the difference.
    JumpWithoutDifference,
    /// Logs that the catalog on disk does not claim are dropped at once, not when all changes are known.
    UnclaimedDroppedAtStart,
    /// A node tells only once that it is back.
    RowPutOnce,
}
