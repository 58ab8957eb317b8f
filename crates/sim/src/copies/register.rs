//! The catalog of a play: rows of nodes and of queues' copies, changed by one list of changes.
//!
//! It is ideal: what is applied is applied for all, in one order. The rules are those of
//! `broker::catalog::copies`; where they leave a choice, each play makes its own.
//!
//! Invariant: a change of copies for another epoch or version changes nothing.

use broker::catalog::copies::{Copies, CopyStep};
use std::collections::BTreeMap;
use std::rc::Rc;
use types::{NodeId, QueueId};

/// A node as the catalog knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// The start of its process that is known.
    pub boot: u64,
    /// Whether it counts as running.
    pub up: bool,
}

/// A queue as the catalog knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its home.
    pub home: NodeId,
    /// Its copies.
    pub copies: Copies,
    /// How many copies the policy asks for.
    pub wanted: usize,
}

/// The catalog at some version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// One more with every change.
    pub version: u64,
    /// Its nodes.
    pub nodes: BTreeMap<NodeId, NodeRow>,
    /// Its queues.
    pub queues: BTreeMap<QueueId, Row>,
}

/// A change of the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A node has started.
    PutNode {
        /// It.
        node: NodeId,
        /// Its start.
        boot: u64,
    },
    /// A node does not answer.
    NodeLost {
        /// It.
        node: NodeId,
        /// Its start.
        boot: u64,
    },
    /// A step of a queue's copies.
    Step {
        /// The queue.
        queue: QueueId,
        /// The epoch and the version that it is made for.
        at: (u64, u64),
        /// It.
        step: CopyStep,
    },
    /// The policy asks for so many copies.
    Wanted {
        /// The queue.
        queue: QueueId,
        /// How many.
        count: usize,
    },
}

/// What the rules leave open.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A lost node leaves those in sync at once, where the minimum allows it.
    pub lost_leave: bool,
    /// A home that starts again is followed by another node in sync.
    pub start_moves: bool,
    /// A home may go to a copy that is not in sync: a bug.
    pub promotes_any: bool,
    /// A start of the home's process gets no new epoch: a bug.
    pub keeps_epoch: bool,
}

/// All versions of the catalog.
#[derive(Debug)]
pub struct Register {
    /// What the rules leave open.
    pub rules: Rules,
    /// The catalog after each change; the first is the one that the play begins with.
    pub pictures: Vec<Rc<Picture>>,
}

impl Register {
    /// The latest picture.
    pub fn latest(&self) -> Rc<Picture> {
        self.pictures.last().cloned().unwrap_or_default()
    }

    /// Applies a change; whether anything is different now.
    pub fn apply(&mut self, change: &Change) -> bool {
        let before = self.latest();
        let mut picture = Picture { version: before.version + 1, ..(*before).clone() };
        match change {
            Change::PutNode { node, boot } => picture.put_node(*node, *boot, self.rules),
            Change::NodeLost { node, boot } => picture.lose_node(*node, *boot, self.rules),
            Change::Step { queue, at, step } => picture.step(*queue, *at, step),
            Change::Wanted { queue, count } => {
                if let Some(row) = picture.queues.get_mut(queue) {
                    row.wanted = *count;
                }
            }
        }
        let changed = picture.nodes != before.nodes || picture.queues != before.queues;
        if changed {
            self.pictures.push(Rc::new(picture));
        }
        changed
    }
}

impl Picture {
    /// Whether a node counts as running.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|row| row.up)
    }

    fn lose_node(&mut self, node: NodeId, boot: u64, rules: Rules) {
        let Some(row) = self.nodes.get_mut(&node).filter(|row| row.up && row.boot == boot) else { return };
        row.up = false;
        for queue in self.ids() {
            let is_home = self.queues.get(&queue).is_some_and(|row| row.home == node);
            let heir = if is_home { self.heir(queue, node, rules) } else { None };
            if let Some(heir) = heir {
                self.give(queue, heir);
            }
            let Some(row) = self.queues.get_mut(&queue).filter(|row| row.home != node) else { continue };
            if rules.lost_leave && row.copies.in_sync.contains(&node) && row.copies.may_shrink() {
                row.copies.in_sync.retain(|other| *other != node);
                row.copies.version += 1;
            }
        }
    }

    fn put_node(&mut self, node: NodeId, boot: u64, rules: Rules) {
        let is_new = self.nodes.insert(node, NodeRow { boot, up: true }).is_none_or(|row| row.boot != boot);
        for queue in self.ids() {
            let Some(row) = self.queues.get(&queue) else { continue };
            if row.home == node && row.copies.boot != boot && !rules.keeps_epoch {
                let heir = if rules.start_moves { self.heir(queue, node, rules) } else { None };
                self.give(queue, heir.unwrap_or(node));
            } else if row.home == node && is_new && rules.keeps_epoch {
                if let Some(row) = self.queues.get_mut(&queue) {
                    row.copies.boot = boot;
                    row.copies.version += 1;
                }
            } else if !self.is_up(row.home) && row.copies.in_sync.contains(&node) {
                self.give(queue, node);
            }
        }
    }

    fn ids(&self) -> Vec<QueueId> {
        self.queues.keys().copied().collect()
    }

    /// Who can be the home instead of a node: one in sync that runs.
    fn heir(&self, queue: QueueId, instead_of: NodeId, rules: Rules) -> Option<NodeId> {
        let row = self.queues.get(&queue)?;
        let is_able = |node: &&NodeId| **node != instead_of && self.is_up(**node);
        let unsynced = row.copies.mirrors.iter().rev().find(is_able).filter(|_| rules.promotes_any);
        unsynced.or_else(|| row.copies.in_sync.iter().find(is_able)).copied()
    }

    /// A queue gets a home, in a new epoch.
    fn give(&mut self, queue: QueueId, home: NodeId) {
        let boot = self.nodes.get(&home).map_or(0, |row| row.boot);
        let Some(row) = self.queues.get_mut(&queue) else { return };
        let copies = &mut row.copies;
        if row.home != home {
            copies.mirrors.retain(|node| *node != home);
            copies.mirrors.push(row.home);
            copies.mirrors.sort_unstable();
        }
        (row.home, copies.epoch, copies.boot) = (home, self.version, boot);
        copies.version += 1;
        if !copies.in_sync.contains(&home) {
            copies.in_sync.push(home);
            copies.in_sync.sort_unstable();
        }
    }

    fn step(&mut self, queue: QueueId, at: (u64, u64), step: &CopyStep) {
        let Some(row) = self.queues.get(&queue) else { return };
        let (home, copies) = (row.home, &row.copies);
        let is_known = |node: &NodeId| self.nodes.contains_key(node);
        let (is_mirror, is_in_sync) =
            (|node: &NodeId| copies.mirrors.contains(node), |node: &NodeId| copies.in_sync.contains(node));
        let is_allowed = (copies.epoch, copies.version) == at
            && match step {
                CopyStep::AddMirror(node) => is_known(node) && *node != home && !is_mirror(node),
                CopyStep::DropMirror(node) => is_mirror(node) && !is_in_sync(node),
                CopyStep::JoinSync(node) => is_mirror(node) && !is_in_sync(node),
                CopyStep::LeaveSync(node) => is_in_sync(node) && *node != home && copies.may_shrink(),
                CopyStep::SetMinimum(count) => {
                    *count >= 1 && usize::try_from(*count).is_ok_and(|count| count <= copies.in_sync.len())
                }
                CopyStep::HandOver(node) => is_in_sync(node) && *node != home && self.is_up(*node),
                CopyStep::Start | CopyStep::Stop => false,
            };
        if !is_allowed {
            return;
        }
        if let CopyStep::HandOver(node) = step {
            return self.give(queue, *node);
        }
        let Some(row) = self.queues.get_mut(&queue) else { return };
        let copies = &mut row.copies;
        copies.version += 1;
        match step {
            CopyStep::AddMirror(node) => copies.mirrors.push(*node),
            CopyStep::DropMirror(node) => copies.mirrors.retain(|other| other != node),
            CopyStep::JoinSync(node) => copies.in_sync.push(*node),
            CopyStep::LeaveSync(node) => copies.in_sync.retain(|other| other != node),
            CopyStep::SetMinimum(count) => copies.min_in_sync = *count,
            _ => {}
        }
        copies.mirrors.sort_unstable();
        copies.in_sync.sort_unstable();
    }
}

/// What a row's copies allow.
pub trait MayShrink {
    /// Whether one that is in sync may leave.
    fn may_shrink(&self) -> bool;
}

impl MayShrink for Copies {
    fn may_shrink(&self) -> bool {
        usize::try_from(self.min_in_sync).is_ok_and(|least| self.in_sync.len() > least)
    }
}
