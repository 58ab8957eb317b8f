//! What the home of a mirrored queue tells its machine, and what the machine has it do.

use crate::catalog::copies::CopyStep;
use types::NodeId;

/// A numbered frame that goes to a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The first of a stream: what the mirror has that the home does not. The mirror gets every turn from here on.
    Reset,
    /// A turn. After a Reset the turns that are not committed yet are sent once more, without their messages.
    Turn(u64),
    /// Messages that the mirror lacks.
    Fill,
}

/// Something for the home to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HomeEffect {
    /// Ask a mirror for its state, for our epoch and version; its State brings back the number.
    Open {
        /// Who.
        node: NodeId,
        /// Which asking it is.
        number: u64,
    },
    /// The mirror has told its state: send Reset, the turns that are not committed yet, then what it lacks.
    Level(NodeId),
    /// Everything up to a position is committed.
    Committed(u64),
    /// All that the home has is committed; it serves from now on.
    Established,
    /// Propose a step to the catalog, for our epoch and version. What it comes to is seen in the catalog alone.
    Propose(CopyStep),
    /// Send nothing more to a mirror until the next Open.
    CloseStream(NodeId),
    /// Another node knows a newer epoch: stop appending and wait for the catalog to say what is next.
    StepDown(u64),
}
