//! The cluster as operators see it from this node.
//!
//! Invariant: nobody waits for other nodes for longer than a second, but to take a node out.

use super::identity_file;
use super::member::Shared;
use super::service::{body, kind};
use crate::gossip::{Liveness, NodeFacts};
use crate::transport::CallError;
use broker::catalog::{Catalog, Command, Node};
use engine::cluster::{
    ClientCounts, ClusterStatus, ClusterView, Coming, NodeCounters, NodeNumbers, NodeState, NodeView,
    RemoteConnection,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use types::limits::{CLUSTER_LEAVE_MS, CLUSTER_LOOK_MS, CLUSTER_REFRESH_MS};
use types::{ConnectionId, NodeId, UserName, VhostName};

fn numbers(facts: &NodeFacts) -> NodeNumbers {
    NodeNumbers {
        memory_alarm: facts.memory_alarm,
        disk_alarm: facts.disk_alarm,
        connections: facts.connections,
        queues: facts.queues,
        memory_bytes: facts.memory_bytes,
        disk_free_bytes: facts.disk_free_bytes,
        catalog_version: facts.catalog_version,
        amqp_addr: facts.amqp_addr.clone(),
        http_addr: facts.http_addr.clone(),
        started_s: facts.started_s,
        ready: facts.ready,
    }
}

impl Shared {
    fn node_view(&self, row: &Node, homes: u64) -> NodeView {
        let group = self.group.get().and_then(|group| group.status());
        let status =
            group.as_ref().and_then(|group| group.members.iter().find(|member| member.node == row.id));
        let is_me = row.id == self.node;
        let member = self.gossip.member(row.id);
        let state = match &member {
            _ if is_me => NodeState::Up,
            Some(member) if member.state == Liveness::Up || self.mesh.is_connected(row.id) => NodeState::Up,
            Some(member) if member.state == Liveness::Suspect => NodeState::Suspect,
            None if self.mesh.is_connected(row.id) => NodeState::Up,
            _ => NodeState::Down,
        };
        let facts = if is_me { Some(self.facts()) } else { member.as_ref().and_then(|m| m.facts.clone()) };
        let facts = facts.filter(|_| state != NodeState::Down);
        NodeView {
            id: row.id,
            name: row.name.clone(),
            addr: row.addr.clone(),
            is_me,
            state,
            version: if is_me {
                Some(self.config.version.clone())
            } else {
                member.map(|m| m.identity.version)
            },
            leads: group.as_ref().is_some_and(|group| group.leader == Some(row.id)),
            votes: status.is_some_and(|status| status.votes),
            lag: status.and_then(|status| status.lag),
            homes,
            numbers: facts.as_ref().map(numbers),
        }
    }

    pub(super) fn close_own_connection(&self, id: u64, reason: &str) -> Result<(), String> {
        let connection =
            self.broker.connections().get(ConnectionId(id)).ok_or("there is no such connection")?;
        connection.close(reason);
        Ok(())
    }

    async fn forget_node(&self, name: &str, force: bool) -> Result<(), String> {
        let catalog = self.broker.catalog().clone();
        let Some(row) = catalog.node_named(name) else { return Err(format!("there is no node '{name}'")) };
        if row.id == self.node {
            return Err("this is the node itself: use leave".to_owned());
        }
        let alive = self.gossip.member(row.id).is_some_and(|member| member.state == Liveness::Up);
        if alive || self.mesh.is_connected(row.id) {
            return Err(format!("node '{name}' is running: stop it first, or use leave on it"));
        }
        let lost = queues_at(&catalog, row.id);
        if !lost.is_empty() && !force {
            return Err(told_lost(name, &lost));
        }
        self.take_out(row.id).await
    }

    /// First out of the group, which may need it for that, then out of the catalog, which ends its links.
    async fn take_out(&self, node: NodeId) -> Result<(), String> {
        self.group.get().ok_or("the node is starting")?.remove_node(node).await?;
        self.forget_row(node).await
    }

    async fn forget_row(&self, node: NodeId) -> Result<(), String> {
        let forgotten = self.broker.change(Command::ForgetNode { id: node }).await;
        forgotten.map(drop).map_err(|error| error.explanation)
    }

    /// The same for a node that asks for it: it is told before its links end.
    pub(super) async fn let_go(self: Arc<Shared>, node: NodeId) -> Result<(), String> {
        self.group.get().ok_or("the node is starting")?.remove_node(node).await?;
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(CLUSTER_LOOK_MS)).await;
            if let Err(why) = self.forget_row(node).await {
                tracing::error!(%node, "the node has left and is still listed, forget it: {why}");
            }
        });
        Ok(())
    }

    async fn leave_cluster(&self, force: bool) -> Result<(), String> {
        let catalog = self.broker.catalog().clone();
        let queues = queues_at(&catalog, self.node);
        let messages = |row: &Arc<broker::catalog::Queue>| {
            self.broker.queue(row.id).map_or(0, |queue| queue.counts().ready + queue.counts().unacked)
        };
        let full: Vec<_> = queues.into_iter().filter(|row| messages(row) > 0).collect();
        if !full.is_empty() && !force {
            return Err(told_lost(&self.config.node_name, &full));
        }
        if catalog.nodes.len() < 2 {
            return Err("this is the only node of its cluster".to_owned());
        }
        // Another node sees it through: once this one is out it hears nothing more.
        let others =
            catalog.nodes.keys().copied().filter(|id| *id != self.node && self.mesh.is_connected(*id));
        let limit = Duration::from_millis(CLUSTER_LEAVE_MS);
        let mut refusal = "no other node of the cluster answers".to_owned();
        for other in others {
            match self.mesh.call(other, kind::LEAVE, body(&self.node.0)?, limit).await {
                Ok(_) => {
                    self.left();
                    return Ok(());
                }
                Err(CallError::Refused(why)) => refusal = why,
                // Who takes this node out forgets the link at once, so that the answer may be lost.
                Err(_) if self.is_taken_out().await => return Ok(()),
                Err(error) => refusal = error.to_string(),
            }
        }
        Err(refusal)
    }

    /// Whether the catalog says so within a moment.
    async fn is_taken_out(&self) -> bool {
        let mut ends = self.ends.subscribe();
        let said = ends.wait_for(Option::is_some);
        let _ = tokio::time::timeout(Duration::from_millis(CLUSTER_REFRESH_MS), said).await;
        !self.broker.catalog().nodes.contains_key(&self.node)
    }

    /// The node belongs to no cluster any more, and its data to nobody.
    pub(super) fn left(&self) {
        if let Err(why) = identity_file::mark_left(&self.config.data_dir) {
            tracing::error!("{why}");
        }
        self.end(
            "this node was taken out of its cluster; start it with an empty data directory to join again",
        );
    }
}

fn queues_at(catalog: &Catalog, home: NodeId) -> Vec<Arc<broker::catalog::Queue>> {
    let all = catalog.queues();
    all.filter(|row| row.home == home && row.durable).cloned().collect()
}

/// Queues that are named when something would be lost.
const NAMED_QUEUES: usize = 20;

fn told_lost(node: &str, queues: &[Arc<broker::catalog::Queue>]) -> String {
    let names: Vec<String> = queues
        .iter()
        .take(NAMED_QUEUES)
        .map(|row| format!("'{}' in vhost '{}'", row.name, row.vhost))
        .collect();
    let more = queues.len().saturating_sub(NAMED_QUEUES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "{} queues with their messages on node '{node}' would be lost: {}{more}; force it to go on",
        queues.len(),
        names.join(", ")
    )
}

impl ClusterView for Shared {
    fn status(&self) -> ClusterStatus {
        let catalog = self.broker.catalog().clone();
        let group = self.group.get().and_then(|group| group.status());
        let mut homes: HashMap<NodeId, u64> = HashMap::new();
        catalog.homes().for_each(|(_, home)| *homes.entry(home).or_default() += 1);
        let view = |row: &Arc<Node>| self.node_view(row, homes.get(&row.id).copied().unwrap_or(0));
        let mut nodes: Vec<NodeView> = catalog.nodes.values().map(view).collect();
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        ClusterStatus {
            id: Some(catalog.cluster).filter(|id| *id != 0),
            leader: nodes.iter().find(|node| node.leads).map(|node| node.name.clone()),
            term: group.as_ref().map_or(0, |group| group.term),
            catalog_version: catalog.version,
            has_majority: group.is_some_and(|group| group.has_majority),
            nodes,
        }
    }

    fn not_ready(&self) -> Option<String> {
        if let Some(why) = self.ends.borrow().clone().or_else(|| self.waits.borrow().clone()) {
            return Some(why);
        }
        let held = self.group.get().is_some_and(|group| group.lease_held());
        (!held).then(|| "most nodes of the cluster do not answer this one".to_owned())
    }

    fn name_of(&self, node: NodeId) -> Option<String> {
        self.broker.catalog().nodes.get(&node).map(|row| row.name.clone())
    }

    fn refresh(&self) -> Coming<'_, ()> {
        Box::pin(self.ask_all())
    }

    fn connections(&self) -> Vec<RemoteConnection> {
        let catalog = self.broker.catalog().clone();
        let seen = self.seen.lock();
        let mut all = Vec::new();
        for (node, told) in &seen.connections {
            let Some(row) = catalog.nodes.get(node) else { continue };
            all.extend(told.iter().map(|(id, listing, channels)| RemoteConnection {
                node: row.name.clone(),
                id: *id,
                listing: listing.clone(),
                channels: channels.clone(),
            }));
        }
        all
    }

    fn counters(&self) -> Vec<NodeCounters> {
        self.seen.lock().counters()
    }

    fn clients(&self, vhost: VhostName, user: UserName) -> Coming<'_, ClientCounts> {
        Box::pin(self.clients_elsewhere(vhost, user))
    }

    fn close_connection(
        &self,
        node: String,
        id: ConnectionId,
        reason: String,
    ) -> Coming<'_, Result<(), String>> {
        Box::pin(async move {
            let node = self.broker.catalog().node_named(&node).map(|row| row.id);
            let node = node.ok_or("there is no such node")?;
            let limit = Duration::from_millis(CLUSTER_REFRESH_MS);
            let ask = body(&(id.0, reason))?;
            self.mesh.call(node, kind::CLOSE, ask, limit).await.map(drop).map_err(|error| error.to_string())
        })
    }

    fn forget(&self, name: String, force: bool) -> Coming<'_, Result<(), String>> {
        Box::pin(async move { self.forget_node(&name, force).await })
    }

    fn leave(&self, force: bool) -> Coming<'_, Result<(), String>> {
        Box::pin(self.leave_cluster(force))
    }
}
