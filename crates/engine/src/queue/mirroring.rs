//! What a queue's home and its mirrors tell each other, and the seam to the links that carry it.
//!
//! Invariant: what is put on the way to one node arrives in order or not at all; a link that ends takes
//! everything with it that was on its way. Drawn in docs/internals/mirrors.md.

use crate::outlet::Outlet;
use broker::queue::{Encoded, Fill, Range, Reset};
use broker::replica::History;
use std::sync::Arc;
use types::{NodeId, QueueId};

/// What a mirror is told.
#[derive(Clone, Debug)]
pub enum ToMirror {
    /// The home of an epoch wants to know what the mirror has.
    Open {
        /// The home's epoch.
        epoch: u64,
        /// The version of the row that it knows.
        version: u64,
        /// Which asking it is.
        number: u64,
    },
    /// What the mirror has is made to agree with what the home has; turns follow.
    Reset {
        /// The home's epoch.
        epoch: u64,
        /// The frame's number in its stream.
        number: u64,
        /// What goes.
        reset: Reset,
    },
    /// What one turn of the home did.
    Turn {
        /// The home's epoch.
        epoch: u64,
        /// The frame's number in its stream.
        number: u64,
        /// The turn's number in its epoch.
        position: u64,
        /// Turns up to this one are committed.
        committed: u64,
        /// Records as in a queue's log.
        records: Arc<[Encoded]>,
    },
    /// Messages that the mirror did not have.
    Fill {
        /// The home's epoch.
        epoch: u64,
        /// The frame's number in its stream.
        number: u64,
        /// They.
        fill: Fill,
    },
    /// Turns up to a position are committed.
    Commit {
        /// The home's epoch.
        epoch: u64,
        /// That position.
        committed: u64,
    },
}

impl ToMirror {
    /// Memory that it takes while it waits, bytes.
    pub fn memory_bytes(&self) -> usize {
        let of =
            |(record, chunk): &Encoded| record.len() + chunk.as_ref().map_or(0, |chunk| chunk.data_bytes());
        match self {
            ToMirror::Turn { records, .. } => 64 + records.iter().map(of).sum::<usize>(),
            ToMirror::Fill { fill, .. } => 64 + fill.records.iter().map(of).sum::<usize>(),
            ToMirror::Reset { reset, .. } => 64 + reset.settled.len() * 16,
            ToMirror::Open { .. } | ToMirror::Commit { .. } => 64,
        }
    }
}

/// What a home is told.
#[derive(Clone, Debug)]
pub enum ToHome {
    /// What the mirror has, in answer to `Open`.
    State {
        /// The epoch that was opened.
        epoch: u64,
        /// The number of the opening that this answers.
        number: u64,
        /// Whose epoch each index is.
        history: History,
        /// The index that its next message would get.
        next: u64,
        /// Messages that it has.
        live: Vec<Range>,
    },
    /// Frames up to a number are kept.
    Ack {
        /// The home's epoch.
        epoch: u64,
        /// The last of them.
        number: u64,
    },
    /// The mirror follows a home of a later epoch, or none at all.
    Refused {
        /// The epoch that it knows.
        epoch: u64,
    },
}

/// What came for the copy of a queue that is here.
pub struct MirrorFrame {
    /// The home that says so.
    pub from: NodeId,
    /// The link it came over, which takes the answers.
    pub link: Arc<dyn MirrorLink>,
    /// What it says.
    pub message: ToMirror,
}

/// The way back to a home, over the link that its frames came over.
pub trait MirrorLink: Send + Sync {
    /// Sends an answer; it is dropped when the link has ended.
    fn put(&self, queue: QueueId, message: &ToHome);

    /// What flushes the link at the end of a piece of work.
    fn outlet(&self) -> Arc<dyn Outlet>;

    /// Which link it is: another one has another number.
    fn number(&self) -> u64;
}

/// The ways to other nodes' copies.
pub trait Mirrors: Send + Sync {
    /// Sends to a node's copy of a queue; false when there is no link.
    fn put(&self, node: NodeId, queue: QueueId, message: &ToMirror) -> bool;

    /// Bytes on their way to a node that have not left.
    fn buffered_bytes(&self, node: NodeId) -> usize;

    /// The number of the link to a node, if there is one: each has its own.
    fn link(&self, node: NodeId) -> Option<u64>;

    /// What flushes the link to a node at the end of a piece of work.
    fn outlet(&self, node: NodeId) -> Option<Arc<dyn Outlet>>;
}
