//! What becomes of queues' copies when nodes are lost, start again, come back or go for good.
//!
//! Invariant: a home is only ever given to a node in sync, but for policies that ask for less. One command moves
//! all queues of a node.

use super::change::Stepped;
use super::{Catalog, Copies};
use crate::catalog::Queue;
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

impl Catalog {
    fn copied(&self, touches: impl Fn(&Queue, &Copies) -> bool) -> Vec<Arc<Queue>> {
        let queues = self.vhosts.values().flat_map(|vhost| vhost.queues.values());
        let touched = |row: &&Arc<Queue>| row.copies.as_ref().is_some_and(|copies| touches(row, copies));
        queues.filter(touched).cloned().collect()
    }

    /// A node's copies are not what they were. Queues that are at home there get another home, where there is one;
    /// those that are lost with it are deleted by the caller, who is given them.
    pub(crate) fn lose_copies(
        &mut self,
        node: NodeId,
        lost: Lost,
        change: &mut Change<'_>,
    ) -> Vec<Arc<Queue>> {
        let touches = |row: &Queue, copies: &Copies| row.home == node || copies.mirrors.contains(&node);
        let mut promotions: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut gone = Vec::new();
        for row in self.copied(touches) {
            let Some(copies) = row.copies.as_deref() else { continue };
            let has_lost = lost == Lost::Disk || (lost == Lost::Memory && !row.durable);
            let left = match (has_lost, lost) {
                (true, Lost::Disk) => copies.without_node(node),
                (true, _) => Copies { mirrors: copies.mirrors.clone(), ..copies.without_node(node) },
                (false, Lost::Reach) => copies.without_sync(node).unwrap_or_else(|| copies.clone()),
                (false, _) => copies.clone(),
            };
            if row.home != node {
                if left != *copies {
                    self.put_copies(&row, Stepped { home: row.home, copies: Some(left) }, change);
                }
                continue;
            }
            match self.heir(&row, node, &promotions) {
                Some((heir, left_in_sync)) => {
                    *promotions.entry(heir).or_default() += 1;
                    let base = if left_in_sync {
                        // Who leads is in sync whatever the minimum.
                        Copies { in_sync: left.in_sync.clone(), ..left }
                    } else {
                        Copies { in_sync: vec![heir], min_in_sync: 1, ..left }
                    };
                    let led = base.led_by(heir, self.boot_of(heir), change.version);
                    let mirrors = match lost {
                        Lost::Disk => led.mirrors.clone(),
                        Lost::Reach | Lost::Memory => {
                            let mut mirrors = led.mirrors.clone();
                            mirrors.push(node);
                            mirrors.sort_unstable();
                            mirrors
                        }
                    };
                    let copies = Copies { mirrors, ..led };
                    self.put_copies(&row, Stepped { home: heir, copies: Some(copies) }, change);
                }
                None if has_lost => gone.push(row),
                None => {}
            }
        }
        gone
    }

    fn boot_of(&self, node: NodeId) -> u64 {
        self.nodes.get(&node).map_or(0, |row| row.boot)
    }

    /// The next home of a queue, and whether it is in sync: one that is up and was given the fewest so far.
    fn heir(
        &self,
        row: &Queue,
        lost: NodeId,
        promotions: &BTreeMap<NodeId, usize>,
    ) -> Option<(NodeId, bool)> {
        let copies = row.copies.as_deref()?;
        let best = |nodes: &[NodeId]| {
            let able = nodes
                .iter()
                .copied()
                .filter(|node| *node != lost && self.nodes.get(node).is_some_and(|row| row.up));
            able.min_by_key(|node| (promotions.get(node).copied().unwrap_or(0), *node))
        };
        let in_sync = best(&copies.in_sync).map(|node| (node, true));
        in_sync.or_else(|| {
            let may = self.wanted_copies(row).promote_unsynced;
            best(&copies.mirrors).filter(|_| may).map(|node| (node, false))
        })
    }

    /// A queue is not mirrored any more, wherever its home is.
    pub(crate) fn forget_copies(&mut self, row: &Queue, change: &mut Change<'_>) {
        self.put_copies(row, Stepped { home: row.home, copies: None }, change);
    }

    /// A node has started again: it leads what it led in a new epoch, since its process may have forgotten turns.
    pub(crate) fn renew_epochs(&mut self, node: NodeId, change: &mut Change<'_>) {
        let boot = self.boot_of(node);
        for row in self.copied(|row, copies| row.home == node && copies.boot != boot) {
            let Some(copies) = row.copies.as_deref() else { continue };
            let copies = copies.led_by(node, boot, change.version);
            self.put_copies(&row, Stepped { home: node, copies: Some(copies) }, change);
        }
    }

    /// A node is up: it leads queues of which it has all that is committed, and whose home is down.
    pub(crate) fn take_homes(&mut self, node: NodeId, change: &mut Change<'_>) {
        let is_down = |home: NodeId| !self.nodes.get(&home).is_some_and(|row| row.up);
        let rows = self
            .copied(|row, copies| row.home != node && copies.in_sync.contains(&node) && is_down(row.home));
        let boot = self.boot_of(node);
        for row in rows {
            let Some(copies) = row.copies.as_deref() else { continue };
            let led = copies.led_by(node, boot, change.version);
            let mut mirrors = led.mirrors.clone();
            mirrors.push(row.home);
            mirrors.sort_unstable();
            let copies = Copies { mirrors, ..led };
            self.put_copies(&row, Stepped { home: node, copies: Some(copies) }, change);
        }
    }

    /// Queues with a copy at a node are at home there alone: the others are gone.
    pub(crate) fn keep_own_copies(&mut self, me: NodeId, change: &mut Change<'_>) {
        for row in self.copied(|row, copies| row.home == me || copies.mirrors.contains(&me)) {
            self.put_copies(&row, Stepped { home: me, copies: None }, change);
        }
    }
}
