//! What a node looks after all the time: that its own row is right, that lost nodes are told of, that everybody
//! knows how it is.
//!
//! Invariant: what it concludes is in `judgement`; here is how it comes to know, and that it is proposed.

use super::judgement::{self, Leading};
use super::member::Shared;
use crate::gossip::{Liveness, NodeFacts};
use crate::transport::ProbeError;
use broker::catalog::{Catalog, Command, copies};
use engine::alarm::Alarms;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use types::NodeId;
use types::limits::{
    CLUSTER_FEATURE_LEVEL, CLUSTER_LOOK_MS, CLUSTER_REDISCOVER_MS, COPY_BALANCE_MS, COPY_STEPS_MAX,
};

/// How often facts are gathered.
const FACTS_EVERY: Duration = Duration::from_millis(500);

/// What the watch remembers between looks.
struct Memory {
    began: Instant,
    leading: Leading,
    facts_at: Option<Instant>,
    searched_at: Option<Instant>,
    /// Whether all addresses that the operator gave were asked once since the cluster is known.
    has_asked_all: bool,
    /// Addresses at which a node of another cluster was met.
    strangers: HashSet<SocketAddr>,
    /// When homes were last spread.
    balanced_at: Option<Instant>,
}

impl Shared {
    /// Looks after the node until it stops.
    pub(super) async fn watch(self: Arc<Shared>) {
        let mut memory = Memory {
            began: Instant::now(),
            leading: Leading::default(),
            facts_at: None,
            searched_at: None,
            has_asked_all: false,
            strangers: HashSet::new(),
            balanced_at: None,
        };
        let mut changes = self.gossip.changes();
        while !self.is_ending() {
            let pause = tokio::time::sleep(Duration::from_millis(CLUSTER_LOOK_MS));
            tokio::select! {
                () = pause => {}
                () = self.look.notified() => {}
                _ = changes.changed() => {}
            }
            self.homes.tick(&self.broker);
            self.follow_gossip();
            self.share_alarms();
            let now = Instant::now();
            if memory.facts_at.is_none_or(|at| now.duration_since(at) >= FACTS_EVERY) {
                memory.facts_at = Some(now);
                self.gossip.set_facts(self.facts());
            }
            self.tend_own_row().await;
            self.tell_of_lost(&mut memory, now).await;
            self.remove_ghosts(&mut memory, now);
            self.walk_copies(&mut memory).await;
            self.search(&mut memory, now).await;
        }
    }

    /// Members that moved are reached where gossip met them.
    fn follow_gossip(&self) {
        let catalog = self.broker.catalog();
        for member in self.gossip.members() {
            let id = member.identity.node();
            if member.state == Liveness::Up && catalog.nodes.contains_key(&id) {
                self.mesh.set_peer(id, member.identity.addr);
            }
        }
    }

    /// Alarms of other nodes block publishers here too.
    fn share_alarms(&self) {
        let members = self.gossip.members();
        let told = members.iter().filter(|member| member.state != Liveness::Down);
        let facts = told.filter_map(|member| member.facts.as_ref());
        let others = facts.fold(Alarms::default(), |sum, facts| Alarms {
            memory: sum.memory || facts.memory_alarm,
            disk: sum.disk || facts.disk_alarm,
        });
        self.broker.alarms().set_others(others);
    }

    pub(super) fn facts(&self) -> NodeFacts {
        let broker = &self.broker;
        let own = broker.alarms().own();
        let catalog = broker.catalog();
        let homes = catalog.homes().filter(|(_, home)| *home == self.node).count();
        let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        NodeFacts {
            memory_alarm: own.memory,
            disk_alarm: own.disk,
            connections: small(broker.connections().count()),
            queues: small(broker.queue_count()),
            homes: small(homes),
            memory_bytes: engine::alarm::resident_bytes().unwrap_or(0),
            disk_free_bytes: broker.alarms().disk_free_bytes().unwrap_or(0),
            catalog_version: catalog.version,
            feature_level: u32::try_from(CLUSTER_FEATURE_LEVEL).unwrap_or(u32::MAX),
            amqp_addr: self.config.amqp_addr.clone(),
            http_addr: self.config.http_addr.clone(),
            started_s: self.started_s,
            ready: self.waits.borrow().is_none(),
        }
    }

    /// The catalog has to have this start of the node, at this address, as one that is up.
    async fn tend_own_row(&self) {
        let change = judgement::own_row(&self.row(), &self.broker.catalog(), self.leader());
        let Some(change) = change else { return };
        if let Err(error) = self.broker.change(change).await {
            tracing::warn!(%error, "the cluster does not know yet that this node is back");
        }
    }

    fn leader(&self) -> Option<NodeId> {
        self.group.get().and_then(|group| *group.changed().borrow())
    }

    /// Whether a member answers in any way.
    fn answers(&self, node: NodeId) -> bool {
        let is_up = self.gossip.member(node).is_some_and(|member| member.state == Liveness::Up);
        is_up || self.mesh.is_connected(node)
    }

    async fn tell_of_lost(&self, memory: &mut Memory, now: Instant) {
        let catalog = self.broker.catalog().clone();
        let times = (now.duration_since(memory.began), self.config.lost_after);
        let answers = |node| self.answers(node);
        let leader = self.leader();
        for node in memory.leading.lost(self.node, &catalog, leader, answers, times) {
            tracing::warn!(node = %node.name, "node does not answer: its queues are out of reach");
            if let Err(error) = self.broker.change(judgement::loss(&node)).await {
                tracing::warn!(%error, node = %node.name, "the loss of a node cannot be agreed on");
            }
        }
    }

    /// The leader has queues' copies go towards what is wanted of them.
    async fn walk_copies(&self, memory: &mut Memory) {
        let catalog = self.broker.catalog().clone();
        let mut changes = memory.leading.copy_steps(self.node, &catalog, self.leader());
        if changes.is_empty() && self.leader() == Some(self.node) {
            changes = self.balance(memory, &catalog);
        }
        if changes.is_empty() {
            return;
        }
        match self.broker.change(Command::ChangeCopies { changes }).await {
            Ok(_) => self.look.notify_one(),
            Err(error) => {
                memory.leading.walk_again();
                tracing::debug!(%error, "steps of queues' copies cannot be agreed on now");
            }
        }
    }

    /// Steps that spread homes over the nodes that serve clients, now and then.
    fn balance(&self, memory: &mut Memory, catalog: &Catalog) -> Vec<copies::CopyChange> {
        let now = Instant::now();
        let pause = Duration::from_millis(COPY_BALANCE_MS);
        if memory.balanced_at.is_some_and(|at| now.duration_since(at) < pause) {
            return Vec::new();
        }
        memory.balanced_at = Some(now);
        let serves = |node: &NodeId| {
            *node == self.node
                || self.gossip.member(*node).is_some_and(|member| {
                    member.state == Liveness::Up && member.facts.is_some_and(|facts| facts.ready)
                })
        };
        let serving: Vec<NodeId> = catalog.nodes.keys().copied().filter(serves).collect();
        copies::balancing_steps(catalog, &serving, COPY_STEPS_MAX)
    }

    /// Who was replaced or forgotten must not vote any more.
    fn remove_ghosts(self: &Arc<Shared>, memory: &mut Memory, now: Instant) {
        let Some((group, status)) = self.group.get().and_then(|group| Some((group, group.status()?))) else {
            return;
        };
        let members: Vec<NodeId> = status.members.iter().map(|member| member.node).collect();
        let (catalog, now) = (self.broker.catalog().clone(), now.duration_since(memory.began));
        let gone = memory.leading.strangers(self.node, &catalog, status.leader, &members, now);
        let Some(ghost) = gone.first().copied() else { return };
        if self.is_removing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (group, shared) = (group.clone(), self.clone());
        tokio::spawn(async move {
            if let Err(why) = group.remove_node(ghost).await {
                tracing::warn!(
                    node = format_args!("{:016x}", ghost.0),
                    "a node that is gone votes on: {why}"
                );
            }
            shared.is_removing.store(false, Ordering::Release);
        });
    }

    /// Members that are not linked may be found at other addresses than they had. Nodes of other clusters among
    /// the addresses are told of: whoever wrote the list takes them for members.
    async fn search(&self, memory: &mut Memory, now: Instant) {
        let due = memory
            .searched_at
            .is_none_or(|at| now.duration_since(at) >= Duration::from_millis(CLUSTER_REDISCOVER_MS));
        let Some(join) = self.config.join.as_ref().filter(|_| due) else { return };
        memory.searched_at = Some(now);
        let catalog = self.broker.catalog().clone();
        let is_missing = |id: &NodeId| *id != self.node && !self.mesh.is_connected(*id);
        if memory.has_asked_all && !catalog.nodes.keys().any(is_missing) {
            return;
        }
        memory.has_asked_all = catalog.is_cluster();
        for addr in join.resolve().await {
            self.gossip.add_seed(addr);
            match self.mesh.probe(addr).await {
                Ok(node) if catalog.nodes.contains_key(&node.node()) => self.know(node.node(), addr),
                Err(error @ ProbeError::OtherCluster { .. }) if memory.strangers.insert(addr) => {
                    tracing::warn!(
                        "join names {addr}: {error}; take it out of --join, or start that node or this one with an \
                         empty data directory"
                    );
                }
                _ => {}
            }
        }
    }
}
