//! Steps of queues' copies, as the catalog takes them.
//!
//! Invariant: a step that was made for another row, or whose condition does not hold, changes nothing.

use super::{Copies, CopyChange, CopyStep};
use crate::catalog::command::Event;
use crate::catalog::topology::Change;
use crate::catalog::{Catalog, Queue};
use std::collections::BTreeMap;
use std::sync::Arc;
use types::limits::MIRRORS_FEATURE_LEVEL;
use types::{NodeId, QueueId, QueueName, VhostName};

/// What a step makes of a row.
pub(super) struct Stepped {
    pub(super) home: NodeId,
    /// None: not mirrored any more.
    pub(super) copies: Option<Copies>,
}

fn without(nodes: &[NodeId], gone: NodeId) -> Vec<NodeId> {
    nodes.iter().copied().filter(|node| *node != gone).collect()
}

fn with(nodes: &[NodeId], new: NodeId) -> Vec<NodeId> {
    let mut nodes = without(nodes, new);
    nodes.push(new);
    nodes.sort_unstable();
    nodes
}

impl Copies {
    /// The copies when a node is not waited for any more; None when it has to be.
    pub(super) fn without_sync(&self, node: NodeId) -> Option<Copies> {
        let may = self.in_sync.contains(&node) && self.in_sync.len() > self.min_in_sync.max(1) as usize;
        may.then(|| Copies { in_sync: without(&self.in_sync, node), ..self.clone() })
    }

    /// The copies when a node has none any more, however few are left in sync then.
    pub(super) fn without_node(&self, node: NodeId) -> Copies {
        Copies {
            in_sync: without(&self.in_sync, node),
            mirrors: without(&self.mirrors, node),
            ..self.clone()
        }
    }

    /// The copies with a home of another epoch.
    pub(super) fn led_by(&self, home: NodeId, boot: u64, epoch: u64) -> Copies {
        Copies { epoch, boot, mirrors: without(&self.mirrors, home), ..self.clone() }
    }
}

impl Catalog {
    /// Takes steps; whether any was.
    pub(crate) fn change_copies(&mut self, changes: Vec<CopyChange>, change: &mut Change<'_>) -> bool {
        if self.feature_level() < MIRRORS_FEATURE_LEVEL {
            return false;
        }
        let mut changed = false;
        for step in changes {
            let row = self.vhosts.get(&step.vhost).and_then(|vhost| vhost.queues.get(&step.name)).cloned();
            let Some(row) = row.filter(|row| row.id == step.queue) else { continue };
            if let Some(stepped) = self.step(&row, &step, change.version) {
                self.put_copies(&row, stepped, change);
                changed = true;
            }
        }
        changed
    }

    fn step(&self, row: &Queue, change: &CopyChange, version: u64) -> Option<Stepped> {
        let home = row.home;
        let is_up = |node: NodeId| self.nodes.get(&node).is_some_and(|row| row.up);
        let boot = |node: NodeId| self.nodes.get(&node).map_or(0, |row| row.boot);
        let Some(copies) = row.copies.as_deref() else {
            let fits = change.step == CopyStep::Start && (change.epoch, change.version) == (0, 0);
            let copies = Copies {
                epoch: version,
                boot: boot(home),
                version: 0,
                mirrors: Vec::new(),
                in_sync: vec![home],
                min_in_sync: 1,
            };
            return (fits && row.exclusive.is_none() && is_up(home))
                .then_some(Stepped { home, copies: Some(copies) });
        };
        if (copies.epoch, copies.version) != (change.epoch, change.version) {
            return None;
        }
        let (is_mirror, in_sync) =
            (|node: &NodeId| copies.mirrors.contains(node), |node: &NodeId| copies.in_sync.contains(node));
        let stays = |copies: Copies| Some(Stepped { home, copies: Some(copies) });
        match &change.step {
            CopyStep::Start => None,
            CopyStep::Stop => copies.mirrors.is_empty().then_some(Stepped { home, copies: None }),
            CopyStep::AddMirror(node) => {
                let may = *node != home && !is_mirror(node) && self.nodes.contains_key(node);
                may.then(|| Copies { mirrors: with(&copies.mirrors, *node), ..copies.clone() })
                    .and_then(stays)
            }
            CopyStep::DropMirror(node) => {
                let may = is_mirror(node) && !in_sync(node);
                may.then(|| copies.without_node(*node)).and_then(stays)
            }
            CopyStep::JoinSync(node) => {
                let may = is_mirror(node) && !in_sync(node) && is_up(*node);
                may.then(|| Copies { in_sync: with(&copies.in_sync, *node), ..copies.clone() })
                    .and_then(stays)
            }
            CopyStep::LeaveSync(node) if *node != home => copies.without_sync(*node).and_then(stays),
            CopyStep::LeaveSync(_) => None,
            CopyStep::SetMinimum(minimum) => {
                let may = *minimum != copies.min_in_sync
                    && (1..=copies.in_sync.len()).contains(&(*minimum as usize));
                may.then(|| Copies { min_in_sync: *minimum, ..copies.clone() }).and_then(stays)
            }
            CopyStep::HandOver(to) => {
                let may = *to != home && in_sync(to) && is_up(*to);
                may.then(|| {
                    let led = copies.led_by(*to, boot(*to), version);
                    let copies = Copies { mirrors: with(&led.mirrors, home), ..led };
                    Stepped { home: *to, copies: Some(copies) }
                })
            }
        }
    }

    /// Puts other copies into a row, one version further, and tells of them.
    pub(super) fn put_copies(&mut self, row: &Queue, stepped: Stepped, change: &mut Change<'_>) {
        let Stepped { home, copies } = stepped;
        let Some(queue) = self.queue_mut(&row.vhost, &row.name) else { return };
        let from = queue.home;
        queue.home = home;
        queue.copies = copies.map(|copies| Arc::new(Copies { version: copies.version + 1, ..copies }));
        let queue = Arc::new(queue.clone());
        change.events.push(match from == home {
            true => Event::CopiesChanged(queue),
            false => Event::QueueMoved { queue, from },
        });
    }

    /// Sets copies by queue id; for reading a snapshot. Says what cannot be.
    pub(crate) fn set_copies(&mut self, mut copies: BTreeMap<QueueId, Copies>) -> Result<(), String> {
        let rows: Vec<Arc<Queue>> =
            self.vhosts.values().flat_map(|vhost| vhost.queues.values().cloned()).collect();
        for row in rows {
            let Some(found) = copies.remove(&row.id) else { continue };
            let members = found.mirrors.iter().chain(&found.in_sync);
            if members.clone().any(|node| !self.nodes.contains_key(node)) {
                return Err(format!("queue id {} has a copy on a node that is none", row.id));
            }
            let is_member = |node: &NodeId| *node == row.home || found.mirrors.contains(node);
            if found.mirrors.contains(&row.home) || !found.in_sync.iter().all(is_member) {
                return Err(format!("queue id {} has copies that contradict each other", row.id));
            }
            if let Some(queue) = self.queue_mut(&row.vhost, &row.name) {
                queue.copies = Some(Arc::new(found));
            }
        }
        match copies.keys().next() {
            Some(id) => Err(format!("copies of queue id {id}, which is none")),
            None => Ok(()),
        }
    }

    fn queue_mut(&mut self, vhost: &VhostName, name: &QueueName) -> Option<&mut Queue> {
        let vhost = self.vhosts.get_mut(vhost).map(Arc::make_mut)?;
        vhost.queues.get_mut(name).map(Arc::make_mut)
    }
}
