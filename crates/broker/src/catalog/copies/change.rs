//! Steps of queues' copies, as the catalog takes them.
//!
//! Invariant: a step that was made for another row, or whose condition does not hold, changes nothing.

use super::{Copies, CopyChange, CopyStep, Wanted};
use crate::catalog::command::Event;
use crate::catalog::topology::Change;
use crate::catalog::{Catalog, Queue};
use std::collections::BTreeMap;
use std::sync::Arc;
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
        let may = self.in_sync.contains(&node) && self.may_shrink();
        may.then(|| Copies { in_sync: without(&self.in_sync, node), ..self.clone() })
    }

    /// Whether a node in sync can be done without.
    pub(super) fn may_shrink(&self) -> bool {
        self.in_sync.len() > usize::try_from(self.min_in_sync.max(1)).unwrap_or(usize::MAX)
    }

    /// Whether so many are in sync.
    pub(super) fn has_in_sync(&self, minimum: u32) -> bool {
        usize::try_from(minimum).is_ok_and(|minimum| self.in_sync.len() >= minimum)
    }

    /// Whether as many are in sync as are wanted, whoever they are: no other is taken in then but those wanted.
    pub(super) fn are_enough(&self, wanted: &Wanted) -> bool {
        self.in_sync.len() >= wanted.nodes.len()
    }

    /// Whether more are in sync than are wanted.
    pub(super) fn are_spare(&self, wanted: &Wanted) -> bool {
        self.in_sync.len() > wanted.nodes.len()
    }

    /// The copies when a node has none any more, however few are left in sync then.
    pub(super) fn without_node(&self, node: NodeId) -> Copies {
        Copies {
            in_sync: without(&self.in_sync, node),
            mirrors: without(&self.mirrors, node),
            ..self.clone()
        }
    }

    /// The copies with a home of a new epoch; the `old` home, if any, becomes a mirror.
    pub(super) fn led_by(&self, home: NodeId, boot: u64, epoch: u64, old: Option<NodeId>) -> Copies {
        let mut mirrors = without(&self.mirrors, home);
        if let Some(old) = old {
            mirrors = with(&mirrors, old);
        }
        Copies { epoch, boot, mirrors, ..self.clone() }
    }
}

impl Catalog {
    /// Takes steps; whether any was.
    pub(crate) fn change_copies(&mut self, changes: Vec<CopyChange>, change: &mut Change<'_>) -> bool {
        if !self.knows_mirrors() {
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

    /// What a change makes of a row; None when it does not fit. None does while the home is down: what it proposed
    /// before would leave a queue to itself that somebody else could lead.
    fn step(&self, row: &Queue, change: &CopyChange, version: u64) -> Option<Stepped> {
        if !self.is_up(row.home) {
            return None;
        }
        let stays = |copies: Copies| Some(Stepped { home: row.home, copies: Some(copies) });
        let Some(copies) = row.copies.as_deref() else {
            let fits = change.step == CopyStep::Start && (change.epoch, change.version) == (0, 0);
            let may = fits && row.exclusive.is_none();
            return may.then(|| self.alone_in_sync(row.home, version)).and_then(stays);
        };
        if (copies.epoch, copies.version) != (change.epoch, change.version) {
            return None;
        }
        match &change.step {
            CopyStep::HandOver(to) => {
                let may = *to != row.home && copies.in_sync.contains(to) && self.is_up(*to);
                may.then(|| copies.led_by(*to, self.boot_of(*to), version, Some(row.home)))
                    .map(|copies| Stepped { home: *to, copies: Some(copies) })
            }
            CopyStep::Stop => copies.mirrors.is_empty().then_some(Stepped { home: row.home, copies: None }),
            step => self.with_others(row, copies, step).and_then(stays),
        }
    }

    /// The copies of a queue that is mirrored from now on.
    fn alone_in_sync(&self, home: NodeId, version: u64) -> Copies {
        let (epoch, boot) = (version, self.boot_of(home));
        Copies { epoch, boot, version: 0, mirrors: Vec::new(), in_sync: vec![home], min_in_sync: 1 }
    }

    /// The copies after a step that leaves the home where it is; None when it does not fit.
    fn with_others(&self, row: &Queue, copies: &Copies, step: &CopyStep) -> Option<Copies> {
        let is_mirror = |node: &NodeId| copies.mirrors.contains(node);
        let in_sync = |node: &NodeId| copies.in_sync.contains(node);
        match step {
            CopyStep::AddMirror(node) => {
                let may = *node != row.home && !is_mirror(node) && self.nodes.contains_key(node);
                may.then(|| Copies { mirrors: with(&copies.mirrors, *node), ..copies.clone() })
            }
            CopyStep::DropMirror(node) => {
                (is_mirror(node) && !in_sync(node)).then(|| copies.without_node(*node))
            }
            CopyStep::JoinSync(node) => {
                let may = is_mirror(node) && !in_sync(node) && self.is_up(*node);
                // Else one that is to go would come back before it is gone.
                let wanted = may.then(|| self.wanted_copies(row))?;
                (wanted.nodes.contains(node) || !copies.are_enough(&wanted))
                    .then(|| Copies { in_sync: with(&copies.in_sync, *node), ..copies.clone() })
            }
            CopyStep::LeaveSync(node) if *node != row.home => copies.without_sync(*node),
            CopyStep::SetMinimum(minimum) => {
                let may = *minimum > 0 && *minimum != copies.min_in_sync && copies.has_in_sync(*minimum);
                may.then(|| Copies { min_in_sync: *minimum, ..copies.clone() })
            }
            CopyStep::LeaveSync(_) | CopyStep::Start | CopyStep::Stop | CopyStep::HandOver(_) => None,
        }
    }

    /// Puts other copies into a row, one version further, and tells of them; gives the row.
    pub(super) fn put_copies(
        &mut self,
        row: &Queue,
        stepped: Stepped,
        change: &mut Change<'_>,
    ) -> Option<Arc<Queue>> {
        let Stepped { home, copies } = stepped;
        let queue = self.queue_mut(&row.vhost, &row.name)?;
        let from = queue.home;
        queue.home = home;
        queue.copies = copies.map(|copies| Arc::new(Copies { version: copies.version + 1, ..copies }));
        let queue = Arc::new(queue.clone());
        change.events.push(match from == home {
            true => Event::CopiesChanged(queue.clone()),
            false => Event::QueueMoved { queue: queue.clone(), from },
        });
        Some(queue)
    }

    /// Sets copies by queue id; for reading a snapshot. Says what cannot be.
    pub(crate) fn set_copies(&mut self, mut copies: BTreeMap<QueueId, Copies>) -> Result<(), String> {
        let rows: Vec<Arc<Queue>> = self.queues().cloned().collect();
        for row in rows {
            let Some(found) = copies.remove(&row.id) else { continue };
            self.check_copies(&row, &found).map_err(|why| format!("copies of queue id {}: {why}", row.id))?;
            if let Some(queue) = self.queue_mut(&row.vhost, &row.name) {
                queue.copies = Some(Arc::new(found));
            }
        }
        match copies.keys().next() {
            Some(id) => Err(format!("copies of queue id {id}, which is none")),
            None => Ok(()),
        }
    }

    fn check_copies(&self, row: &Queue, copies: &Copies) -> Result<(), &'static str> {
        let Copies { epoch, version, mirrors, in_sync, min_in_sync, .. } = copies;
        let ascends = |nodes: &[NodeId]| nodes.windows(2).all(|pair| pair[0] < pair[1]);
        let is_copy = |node: &NodeId| *node == row.home || mirrors.contains(node);
        let checks = [
            (row.exclusive.is_none(), "an exclusive queue has none"),
            ((1..=self.version).contains(epoch), "an epoch that was not given"),
            (*version > 0 && *min_in_sync > 0, "a number that is 0"),
            (ascends(mirrors) && ascends(in_sync), "nodes twice or out of order"),
            (mirrors.iter().all(|node| self.nodes.contains_key(node)), "a mirror on no node of the cluster"),
            (!mirrors.contains(&row.home), "the home is a mirror"),
            (in_sync.contains(&row.home) && in_sync.iter().all(is_copy), "others in sync than have copies"),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, why)| Err(why))
    }

    fn queue_mut(&mut self, vhost: &VhostName, name: &QueueName) -> Option<&mut Queue> {
        let vhost = self.vhosts.get_mut(vhost).map(Arc::make_mut)?;
        vhost.queues.get_mut(name).map(Arc::make_mut)
    }
}
