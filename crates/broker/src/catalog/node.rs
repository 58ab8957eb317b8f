//! The nodes of a cluster as the catalog knows them, and what a node's coming and going does to the rows.
//!
//! Invariant: every queue of a cluster has its home on a node that has a row. What a node held in memory alone
//! goes when the node does, with its bindings; what it holds on disk waits for it. What other nodes have copies of
//! goes on there (`copies/loss.rs`).

use super::Catalog;
use super::command::Event;
use super::copies::Lost;
use super::topology::Change;
use super::vhost::Vhost;
use std::sync::Arc;
use types::{AmqpError, ExchangeName, NodeId, QueueId, QueueName, VhostName};

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// It, whatever it is called.
    pub id: NodeId,
    /// What people and `ha-params` call it.
    pub name: String,
    /// Where other nodes reach it, as they last heard.
    pub addr: String,
    /// The start of its process that is known; 0: it has not started since it was lost.
    pub boot: u64,
    /// Whether it counts as running.
    pub up: bool,
    /// What its software understands (see `FormCluster`).
    pub feature_level: u64,
}

/// What is left of a cluster for a node that goes on alone.
#[derive(Clone, Debug)]
pub struct Remains {
    /// What is declared.
    pub catalog: Catalog,
    /// Durable queues that are gone: only other nodes had them.
    pub lost: Vec<Arc<super::Queue>>,
    /// Durable queues that are there, but may lack messages: the copy was not in sync.
    pub behind: Vec<Arc<super::Queue>>,
}

impl Catalog {
    /// Whether there is a cluster at all.
    pub fn is_cluster(&self) -> bool {
        self.cluster != 0
    }

    /// The node with a name.
    pub fn node_named(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.values().find(|node| node.name == name)
    }

    /// What all nodes understand.
    pub fn feature_level(&self) -> u64 {
        self.nodes.values().map(|node| node.feature_level).min().unwrap_or(0)
    }

    /// Whether a node of this level may join: what all members understand is in use from then on, and a node that
    /// does not could not follow.
    ///
    /// # Errors
    /// A line for the operators of both sides.
    pub fn admits(&self, name: &str, feature_level: u64) -> Result<(), String> {
        let needed = self.feature_level();
        if feature_level >= needed {
            return Ok(());
        }
        Err(format!(
            "node '{name}' has feature level {feature_level}, this cluster uses level {needed}: start the node \
             with the version of Leveret that the others run"
        ))
    }

    /// The first node forms a cluster: all that there is has its home there.
    pub(crate) fn form_cluster(
        &mut self,
        cluster: u128,
        node: Node,
        change: &mut Change<'_>,
    ) -> Result<bool, AmqpError> {
        if self.cluster == cluster && self.nodes.contains_key(&node.id) {
            return Ok(false);
        }
        if self.is_cluster() || cluster == 0 {
            return Err(AmqpError::precondition_failed("the node belongs to a cluster already"));
        }
        self.cluster = cluster;
        self.move_homes(NodeId::default(), node.id, change);
        self.set_node(node, change);
        Ok(true)
    }

    /// A node joins or has started again. A new start loses what it held in memory and leads its mirrored queues in
    /// new epochs; a new node under the name of one that is down takes that one's place, without its messages.
    pub(crate) fn put_node(&mut self, node: Node, change: &mut Change<'_>) -> Result<bool, AmqpError> {
        if !self.is_cluster() {
            return Err(AmqpError::precondition_failed("there is no cluster to join"));
        }
        let namesake =
            self.nodes.values().find(|other| other.name == node.name && other.id != node.id).cloned();
        if let Some(namesake) = namesake {
            if namesake.up {
                let text = format!("node name '{}' is taken by a node that is running", node.name);
                return Err(AmqpError::precondition_failed(text));
            }
            self.set_node(node.clone(), change);
            self.lose_disk(namesake.id, change);
            self.move_homes(namesake.id, node.id, change);
            self.nodes.remove(&namesake.id);
            change.events.push(Event::NodeForgotten(namesake));
            return Ok(true);
        }
        let restarted = match self.nodes.get(&node.id) {
            Some(known) if **known == node => return Ok(false),
            Some(known) => known.boot != node.boot,
            None => false,
        };
        let id = node.id;
        if restarted {
            self.lose_passing_rows(id, change);
        }
        self.set_node(node, change);
        if restarted {
            self.end_lost(id, Lost::Memory, change);
            self.renew_epochs(id, change);
        }
        self.take_homes(id, change);
        Ok(true)
    }

    /// A node is gone for now, and mirrored queues get homes elsewhere; nothing happens if it has started again since.
    pub(crate) fn lose_node(&mut self, id: NodeId, boot: u64, change: &mut Change<'_>) -> bool {
        let Some(node) = self.nodes.get(&id).filter(|node| node.up && node.boot == boot) else {
            return false;
        };
        let lost = Node { up: false, ..(**node).clone() };
        self.lose_passing_rows(id, change);
        self.set_node(lost, change);
        self.end_lost(id, Lost::Reach, change);
        true
    }

    /// A node will not come back: queues go that only it had.
    pub(crate) fn forget_node(&mut self, id: NodeId, change: &mut Change<'_>) -> Result<bool, AmqpError> {
        let Some(node) = self.nodes.get(&id).cloned() else { return Ok(false) };
        if self.nodes.len() == 1 {
            return Err(AmqpError::precondition_failed("the last node of a cluster cannot be forgotten"));
        }
        self.lose_copies(id, Lost::Disk, change);
        for (vhost, names) in self.queues_at(id, |_| true) {
            for name in names {
                self.delete_queue(&vhost, &name, None, change)?;
            }
        }
        // What delayed exchanges held there is lost; from now on they hold elsewhere.
        if let Some(heir) = self.nodes.keys().copied().find(|other| *other != id) {
            self.move_homes(id, heir, change);
        }
        self.nodes.remove(&id);
        change.events.push(Event::NodeForgotten(node));
        Ok(true)
    }

    /// What is left of a cluster for one of its nodes, as if it had always been alone: the other nodes are gone
    /// with the queues that only they had. Queues with a copy here are at home here.
    pub fn alone(mut self, me: NodeId) -> Remains {
        let mut events = Vec::new();
        let mut change = Change { version: self.version + 1, events: &mut events };
        let mut behind = self.keep_own_copies(me, &mut change);
        let others: Vec<NodeId> = self.nodes.keys().copied().filter(|id| *id != me).collect();
        for other in others {
            self.lose_passing_rows(other, &mut change);
            for (vhost, names) in self.queues_at(other, |_| true) {
                for name in names {
                    // It was just there.
                    let _ = self.delete_queue(&vhost, &name, None, &mut change);
                }
            }
            self.move_homes(other, me, &mut change);
        }
        self.lose_passing_rows(me, &mut change);
        self.move_homes(me, NodeId::default(), &mut change);
        self.version = change.version;
        (self.cluster, self.nodes) = (0, imbl::OrdMap::new());
        let lost = events.into_iter().filter_map(|event| match event {
            Event::QueueDeleted(queue) if queue.durable && queue.home != me => Some(queue),
            _ => None,
        });
        let lost = lost.collect();
        // What was in memory alone is not there.
        behind.retain(|queue| queue.durable);
        Remains { catalog: self, lost, behind }
    }

    /// A node's copies are lost, and queues with them that nobody else has.
    fn end_lost(&mut self, id: NodeId, lost: Lost, change: &mut Change<'_>) {
        for row in self.lose_copies(id, lost, change) {
            // It was just there.
            let _ = self.delete_queue(&row.vhost, &row.name, None, change);
        }
    }

    /// A node's disk is gone, and another one takes its place: others lead what it led. Of what nobody else has only
    /// the rows are left, as of queues without mirrors.
    fn lose_disk(&mut self, id: NodeId, change: &mut Change<'_>) {
        for row in self.lose_copies(id, Lost::Disk, change) {
            self.forget_copies(&row, change);
        }
        self.lose_passing_rows(id, change);
    }

    fn set_node(&mut self, node: Node, change: &mut Change<'_>) {
        let node = Arc::new(node);
        self.nodes.insert(node.id, node.clone());
        change.events.push(Event::NodeChanged(node));
    }

    /// Names of the queues with their home on a node, by vhost.
    fn queues_at(
        &self,
        home: NodeId,
        which: impl Fn(&super::Queue) -> bool,
    ) -> Vec<(VhostName, Vec<QueueName>)> {
        let of_vhost = |vhost: &Arc<Vhost>| {
            let wanted = vhost.queues.values().filter(|queue| queue.home == home && which(queue));
            (vhost.name.clone(), wanted.map(|queue| queue.name.clone()).collect())
        };
        self.vhosts.values().map(of_vhost).filter(|(_, names): &(_, Vec<_>)| !names.is_empty()).collect()
    }

    /// Queues that lived in the memory of a node are gone, and with them what would go with them.
    fn lose_passing_rows(&mut self, home: NodeId, change: &mut Change<'_>) {
        for (vhost, names) in
            self.queues_at(home, |queue| !queue.survives_restart() && queue.copies.is_none())
        {
            for name in names {
                // It was just there.
                let _ = self.delete_queue(&vhost, &name, None, change);
            }
        }
    }

    /// Gives every home at one node to another.
    fn move_homes(&mut self, from: NodeId, to: NodeId, change: &mut Change<'_>) {
        let names: Vec<VhostName> = self.vhosts.keys().cloned().collect();
        for name in names {
            if let Ok(vhost) = self.vhost_mut(&name) {
                vhost.move_homes(from, to, change);
            }
        }
    }

    /// Sets homes by queue id; for reading a snapshot.
    pub(crate) fn set_homes(&mut self, home_of: impl Fn(QueueId) -> NodeId) {
        let names: Vec<VhostName> = self.vhosts.keys().cloned().collect();
        for name in names {
            let Ok(vhost) = self.vhost_mut(&name) else { continue };
            let queues: Vec<QueueName> = vhost.queues.keys().cloned().collect();
            for name in queues {
                if let Some(queue) = vhost.queues.get_mut(&name) {
                    let home = home_of(queue.id);
                    Arc::make_mut(queue).home = home;
                }
            }
            let held = |row: &&Arc<super::Exchange>| row.holding.is_some();
            let exchanges: Vec<ExchangeName> =
                vhost.exchanges.values().filter(held).map(|exchange| exchange.name.clone()).collect();
            for name in exchanges {
                if let Some(exchange) = vhost.exchanges.get_mut(&name)
                    && let Some(id) = exchange.holding
                {
                    Arc::make_mut(exchange).home = home_of(id);
                }
            }
        }
    }

    /// Every id that has a log, with its home.
    pub fn homes(&self) -> impl Iterator<Item = (QueueId, NodeId)> + '_ {
        self.vhosts.values().flat_map(|vhost| {
            let queues = vhost.queues.values().map(|queue| (queue.id, queue.home));
            let held = vhost.exchanges.values().filter_map(|row| Some((row.holding?, row.home)));
            queues.chain(held)
        })
    }
}

impl Vhost {
    fn move_homes(&mut self, from: NodeId, to: NodeId, change: &mut Change<'_>) {
        let moving: Vec<QueueName> =
            self.queues.values().filter(|queue| queue.home == from).map(|queue| queue.name.clone()).collect();
        for name in moving {
            if let Some(queue) = self.queues.get_mut(&name) {
                Arc::make_mut(queue).home = to;
                change.events.push(Event::QueueMoved { queue: queue.clone(), from });
            }
        }
        let held = |row: &&Arc<super::Exchange>| row.holding.is_some() && row.home == from;
        let moving: Vec<ExchangeName> =
            self.exchanges.values().filter(held).map(|exchange| exchange.name.clone()).collect();
        for name in moving {
            if let Some(exchange) = self.exchanges.get_mut(&name) {
                Arc::make_mut(exchange).home = to;
                if let Some(queue) = exchange.holding_queue() {
                    change.events.push(Event::QueueMoved { queue, from });
                }
            }
        }
    }
}
