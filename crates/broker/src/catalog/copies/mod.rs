//! Which nodes have a queue's messages: its home and its mirrors.
//!
//! Invariant: the home is in sync; who is in sync is the home or a mirror; `in_sync` never shrinks below
//! `min_in_sync`. A change that was made for another epoch or version of the row changes nothing.

mod balance;
mod change;
mod loss;
mod walk;
mod wanted;

pub use balance::{balancing_steps, leaving_steps};
pub(crate) use loss::Lost;
pub use walk::next_steps;
pub use wanted::Wanted;

use super::{Catalog, Queue};
use types::{NodeId, QueueId, QueueName, VhostName};

/// The copies of a mirrored queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// The catalog's version when it was given: later ones are higher, for ever. There is a new one with every home
    /// and with every start of the home's process.
    pub epoch: u64,
    /// The start of the home's process that the epoch was given to.
    pub boot: u64,
    /// One more with every change of the copies.
    pub version: u64,
    /// Nodes that have a copy besides the home, ascending.
    pub mirrors: Vec<NodeId>,
    /// Nodes that have all that is committed, ascending.
    pub in_sync: Vec<NodeId>,
    /// So many copies a commit needs.
    pub min_in_sync: u32,
}

/// A change of one queue's copies; does nothing when the queue, the epoch or the version is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyChange {
    /// Where the queue is.
    pub vhost: VhostName,
    /// Its name.
    pub name: QueueName,
    /// Its id.
    pub queue: QueueId,
    /// The epoch that the change was made for; 0 for a queue that is not mirrored.
    pub epoch: u64,
    /// The version that the change was made for; 0 for a queue that is not mirrored.
    pub version: u64,
    /// What changes.
    pub step: CopyStep,
}

impl CopyChange {
    /// A step for the row of a queue as it is.
    pub fn of(row: &Queue, step: CopyStep) -> CopyChange {
        let (epoch, version) = row.copies.as_ref().map_or((0, 0), |copies| (copies.epoch, copies.version));
        CopyChange { vhost: row.vhost.clone(), name: row.name.clone(), queue: row.id, epoch, version, step }
    }
}

/// One step of a queue's copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyStep {
    /// The queue is mirrored from now on; its home alone is in sync.
    Start,
    /// The queue is not mirrored any more; only with no mirrors left.
    Stop,
    /// A node gets a copy.
    AddMirror(NodeId),
    /// A node's copy goes; not while it is in sync.
    DropMirror(NodeId),
    /// A mirror has all that is committed.
    JoinSync(NodeId),
    /// A node in sync is not waited for any more; not the home, and not below the minimum.
    LeaveSync(NodeId),
    /// So many copies a commit needs; no more than are in sync.
    SetMinimum(u32),
    /// A mirror in sync becomes the home, in a new epoch.
    HandOver(NodeId),
}
