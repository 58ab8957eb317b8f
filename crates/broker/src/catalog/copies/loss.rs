//! What becomes of queues' copies when nodes are lost, start again, come back or go for good.
//!
//! Invariant: a home is only ever given to a node in sync, but for policies that ask for less, and then that is
//! told. One command moves all queues of a node, each of them once, so that no epoch has two homes.

use super::change::Stepped;
use super::{Catalog, Copies};
use crate::catalog::Queue;
use crate::catalog::command::Event;
use crate::catalog::topology::Change;
use std::collections::BTreeMap;
use std::sync::Arc;
use types::NodeId;

/// What a node has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It is out of reach; what it has may be there.
    Reach,
    /// What was in its memory alone.
    Memory,
    /// Everything.
    Disk,
}

/// Who is to be a queue's home.
struct Heir {
    node: NodeId,
    in_sync: bool,
}

/// How many queues each node was given so far.
type Promotions = BTreeMap<NodeId, usize>;

impl Copies {
    /// The copies when a node is out of reach: it is waited for only if there are too few others.
    fn without_reach(&self, node: NodeId) -> Copies {
        self.without_sync(node).unwrap_or_else(|| self.clone())
    }

    /// The copies when a node has to begin anew, however few are left in sync then.
    fn with_empty(&self, node: NodeId) -> Copies {
        Copies { mirrors: self.mirrors.clone(), ..self.without_node(node) }
    }
}

impl Catalog {
    /// Mirrored queues for which something holds.
    fn mirrored(&self, holds: impl Fn(&Queue, &Copies) -> bool) -> Vec<(Arc<Queue>, Arc<Copies>)> {
        let queues = self.queues();
        let mirrored = queues.filter_map(|row| Some((row, row.copies.as_ref()?)));
        let found = mirrored.filter(|(row, copies)| holds(row, copies));
        found.map(|(row, copies)| (row.clone(), copies.clone())).collect()
    }

    /// The start of a node's process that is known.
    pub(super) fn boot_of(&self, node: NodeId) -> u64 {
        self.nodes.get(&node).map_or(0, |row| row.boot)
    }

    /// A node's copies are not what they were. Queues that are at home there get another home, where there is one;
    /// those that nobody else has are the caller's to end, who is given them.
    pub(crate) fn lose_copies(
        &mut self,
        node: NodeId,
        lost: Lost,
        change: &mut Change<'_>,
    ) -> Vec<Arc<Queue>> {
        // Durable queues are on disk, whatever was in memory.
        let is_touched = |row: &Queue, copies: &Copies| {
            (row.home == node || copies.mirrors.contains(&node)) && !(lost == Lost::Memory && row.durable)
        };
        let mut promotions = Promotions::new();
        let mut gone = Vec::new();
        for (row, copies) in self.mirrored(is_touched) {
            let left = match lost {
                Lost::Reach => copies.without_reach(node),
                Lost::Memory => copies.with_empty(node),
                Lost::Disk => copies.without_node(node),
            };
            if row.home != node {
                if left != *copies {
                    self.put_copies(&row, Stepped { home: row.home, copies: Some(left) }, change);
                }
                continue;
            }
            match self.heir(&row, &copies, (node, lost), &promotions) {
                Some(heir) => {
                    *promotions.entry(heir.node).or_default() += 1;
                    self.promote(&row, left, &heir, (lost != Lost::Disk).then_some(node), change);
                }
                None if lost != Lost::Reach => gone.push(row),
                // What a lost node had in memory is not waited for, as that of queues without mirrors is not.
                None if !row.durable && copies.in_sync == [node] => gone.push(row),
                None => {}
            }
        }
        gone
    }

    /// The next home of a queue: of those in sync and up the one that was given the fewest so far; then a mirror that
    /// is up, if it may be; and if the home has nothing any more, one in sync that is down.
    fn heir(
        &self,
        row: &Queue,
        copies: &Copies,
        (node, lost): (NodeId, Lost),
        promotions: &Promotions,
    ) -> Option<Heir> {
        let best = |nodes: &[NodeId], up: bool, in_sync: bool| {
            let able = nodes.iter().copied().filter(|other| *other != node && self.is_up(*other) == up);
            let best = able.min_by_key(|other| (promotions.get(other).copied().unwrap_or(0), *other));
            best.map(|node| Heir { node, in_sync })
        };
        let unsynced =
            || best(&copies.mirrors, true, false).filter(|_| self.wanted_copies(row).promote_unsynced);
        let down = || best(&copies.in_sync, false, true).filter(|_| lost != Lost::Reach);
        best(&copies.in_sync, true, true).or_else(unsynced).or_else(down)
    }

    /// A mirror becomes the home; the old home a mirror, if it goes on to have one.
    fn promote(
        &mut self,
        row: &Queue,
        left: Copies,
        heir: &Heir,
        old: Option<NodeId>,
        change: &mut Change<'_>,
    ) {
        let led = left.led_by(heir.node, self.boot_of(heir.node), change.version, old);
        let copies =
            if heir.in_sync { led } else { Copies { in_sync: vec![heir.node], min_in_sync: 1, ..led } };
        let stepped = Stepped { home: heir.node, copies: Some(copies) };
        let queue = self.put_copies(row, stepped, change);
        if !heir.in_sync {
            change.events.extend(queue.map(Event::UnsyncedPromoted));
        }
    }

    /// A queue is not mirrored any more.
    pub(crate) fn forget_copies(&mut self, row: &Queue, change: &mut Change<'_>) {
        self.put_copies(row, Stepped { home: row.home, copies: None }, change);
    }

    /// A node has started again: it leads what it led in a new epoch, since its process may have forgotten turns.
    pub(crate) fn renew_epochs(&mut self, node: NodeId, change: &mut Change<'_>) {
        let boot = self.boot_of(node);
        for (row, copies) in self.mirrored(|row, copies| row.home == node && copies.boot != boot) {
            let copies = copies.led_by(node, boot, change.version, None);
            self.put_copies(&row, Stepped { home: node, copies: Some(copies) }, change);
        }
    }

    /// A node is up: it leads queues of which it has all that is committed, and whose home is down.
    pub(crate) fn take_homes(&mut self, node: NodeId, change: &mut Change<'_>) {
        let boot = self.boot_of(node);
        let waits = |row: &Queue, copies: &Copies| copies.in_sync.contains(&node) && !self.is_up(row.home);
        for (row, copies) in self.mirrored(waits) {
            let copies = copies.led_by(node, boot, change.version, Some(row.home));
            self.put_copies(&row, Stepped { home: node, copies: Some(copies) }, change);
        }
    }

    /// Queues with a copy at a node are at home there alone: the others are gone. Gives those of which the node did
    /// not have all.
    pub(crate) fn keep_own_copies(&mut self, me: NodeId, change: &mut Change<'_>) -> Vec<Arc<Queue>> {
        let mut behind = Vec::new();
        for (row, copies) in self.mirrored(|row, copies| row.home == me || copies.mirrors.contains(&me)) {
            let queue = self.put_copies(&row, Stepped { home: me, copies: None }, change);
            behind.extend(queue.filter(|_| !copies.in_sync.contains(&me)));
        }
        behind
    }
}
