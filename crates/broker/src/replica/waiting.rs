//! Why a mirrored queue does not commit, for operators.

use types::NodeId;

/// A copy that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// It.
    pub node: NodeId,
    /// Why it does not have what it should.
    pub reason: WaitReason,
    /// It stays in sync although it does not go on, since the minimum of copies needs it.
    pub is_needed: bool,
}

/// Why a copy does not have what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The node's own disk.
    OwnDisk,
    /// There is no link to it.
    NoLink,
    /// It has not told its state yet: it may not know of this epoch.
    NoState,
    /// It is being brought level.
    Levelling,
    /// It has not acknowledged yet what was sent.
    Behind,
}
