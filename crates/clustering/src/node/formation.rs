//! How a node finds its cluster: a member goes on, an empty node joins, and if there is no cluster yet the nodes
//! that expect each other form one.
//!
//! Invariant: a cluster is formed by a node that has data of its own, by one that expects nobody else, or by
//! the one for which most of the expected nodes have cast their one durable vote. So at most one is formed.

use super::member::Shared;
use super::service::{Join, Joined, body, fields, kind};
use crate::catalog::{Ballot, MemberStatus};
use crate::identity::{ClusterId, NodeIdentity};
use crate::transport::{CallError, ProbeError};
use broker::catalog::{Catalog, Command};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use types::NodeId;
use types::limits::{
    CATALOG_VOTERS_MAX, CLUSTER_FEATURE_LEVEL, CLUSTER_FORM_ALL_MS, CLUSTER_JOIN_CALL_MS, CLUSTER_LOOK_MS,
    CLUSTER_SERVE_ALONE_MS,
};

/// Who was met.
struct Met {
    node: NodeIdentity,
    addr: SocketAddr,
}

impl Shared {
    /// Looks for the cluster until this node is a member of it and knows what it has agreed on.
    pub(super) async fn find_cluster(self: Arc<Shared>) {
        let began = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(CLUSTER_LOOK_MS));
        loop {
            tick.tick().await;
            let Some(group) = self.group.get() else { continue };
            if self.is_ending() {
                return;
            }
            let Some(cluster) = group.cluster() else {
                self.look_around(began).await;
                continue;
            };
            let is_late = began.elapsed() > Duration::from_millis(CLUSTER_SERVE_ALONE_MS);
            if self.is_member_now() && group.lease_held() && (is_late || self.voters_are_chosen()) {
                tracing::info!(
                    cluster = format_args!("{:032x}", cluster.0),
                    "this node is a member of its cluster"
                );
                self.serve();
                return;
            }
            if self.finish_forming(cluster).await {
                continue;
            }
            self.wait_for(
                "waiting for the other nodes of the cluster to agree that this one is back".to_owned(),
            );
            let known = self.broker.catalog().nodes.contains_key(&self.node);
            if known && is_late && self.waits.borrow().is_some() {
                tracing::warn!("most nodes of the cluster do not answer: this one serves the queues it has");
                self.serve();
            }
            if !known {
                // Joining was begun and not seen through.
                self.look_around(began).await;
            }
        }
    }

    /// A cluster that this node has formed is not in its catalog yet when it was stopped right then.
    async fn finish_forming(&self, cluster: ClusterId) -> bool {
        let status = self.group.get().and_then(|group| group.status());
        let is_own = |member: &MemberStatus| member.node == self.node && member.votes;
        if !status.is_some_and(|status| status.members.iter().all(is_own))
            || self.broker.catalog().is_cluster()
        {
            return false;
        }
        let form = Command::FormCluster { cluster: cluster.0, node: self.row() };
        if let Err(error) = self.broker.change(form).await {
            tracing::warn!(%error, "forming the cluster goes on");
        }
        true
    }

    /// Whether as many nodes vote as can: before that the loss of the first one would be the loss of the cluster,
    /// so whoever waits for all nodes to be ready waits for that too.
    fn voters_are_chosen(&self) -> bool {
        let Some(status) = self.group.get().and_then(|group| group.status()) else { return false };
        let voters = status.members.iter().filter(|member| member.votes).count();
        let up = self.broker.catalog().nodes.values().filter(|node| node.up).count();
        !status.changing && voters >= usable_voters(up)
    }

    /// Whether the catalog here has this very start of this node.
    pub(super) fn is_member_now(&self) -> bool {
        let catalog = self.broker.catalog();
        catalog.nodes.get(&self.node).is_some_and(|row| row.boot == self.boot && row.up)
    }

    /// Asks who is there, and joins or forms what there is to join or form.
    async fn look_around(self: &Arc<Shared>, began: Instant) {
        let Some(join) = self.config.join.as_ref().filter(|_| !self.config.recover) else {
            return self.form_with(Vec::new(), 1, began).await;
        };
        let (met, has_myself) = self.meet(join.resolve().await).await;
        if self.is_ending() {
            return;
        }
        let expected = match join.expected() {
            0 => {
                return self.wait_for(
                    "expected-nodes is not set: with join by DNS it says how many nodes form the cluster"
                        .to_owned(),
                );
            }
            // A list may be that of the others or that of all.
            listed if has_myself || matches!(join, crate::discovery::Discovery::Dns { .. }) => listed,
            others => others + 1,
        };
        if let Some(member) = met.iter().find(|met| met.node.cluster != ClusterId::default()) {
            return self.join(member).await;
        }
        self.form_with(met, expected, began).await;
    }

    /// Who is at these addresses; and whether this node is among them.
    async fn meet(&self, addrs: Vec<SocketAddr>) -> (Vec<Met>, bool) {
        let mut probes = JoinSet::new();
        for addr in addrs {
            let mesh = self.mesh.clone();
            probes.spawn(async move { (addr, mesh.probe(addr).await) });
        }
        let (mut met, mut has_myself) = (Vec::new(), false);
        while let Some(probed) = probes.join_next().await {
            match probed {
                Ok((addr, Ok(node))) => met.push(Met { node, addr }),
                Ok((_, Err(ProbeError::Myself))) => has_myself = true,
                Ok((addr, Err(error))) => tracing::debug!(%addr, "no node of the cluster there: {error}"),
                Err(error) => tracing::debug!(%error, "a probe ended"),
            }
        }
        met.sort_by_key(|met| met.node.id);
        met.dedup_by_key(|met| met.node.id);
        (met, has_myself)
    }

    async fn join(self: &Arc<Shared>, member: &Met) {
        let own = self.group.get().and_then(|group| group.cluster());
        if own.is_none() && !is_pristine(&self.broker.catalog()) {
            return self.end(&format!(
                "node {} at {} belongs to a cluster, and this node has definitions of its own: start it with an \
                 empty data directory to join, or take what is at that address out of --join",
                member.node.name, member.addr
            ));
        }
        let ask = Join { node: self.identity(), feature_level: CLUSTER_FEATURE_LEVEL };
        let Ok(ask) = body(&ask) else { return };
        let limit = Duration::from_millis(CLUSTER_JOIN_CALL_MS);
        let answer = self.mesh.call_addr(member.addr, kind::JOIN, ask, limit).await;
        let joined: Joined = match answer {
            Ok((_, answer)) => match fields(&answer) {
                Ok(joined) => joined,
                Err(why) => return self.wait_for(format!("joining at {}: {why}", member.addr)),
            },
            Err(CallError::Refused(why)) => {
                return self
                    .wait_for(format!("node {} does not let this node join: {why}", member.node.name));
            }
            Err(error) => return self.wait_for(format!("joining at node {}: {error}", member.node.name)),
        };
        for (id, addr) in &joined.members {
            self.know(NodeId(*id), *addr);
        }
        let Some(group) = self.group.get() else { return };
        if let Err(why) = group.join(joined.cluster).await {
            self.end(&why);
        }
    }

    /// Forms a cluster if it falls to this node.
    async fn form_with(self: &Arc<Shared>, met: Vec<Met>, expected: usize, began: Instant) {
        let Some(group) = self.group.get() else { return };
        let is_first = expected <= 1 || !is_pristine(&self.broker.catalog());
        let mut cluster = ClusterId(new_cluster());
        if !is_first {
            let majority = expected / 2 + 1;
            let present = met.len() + 1;
            if present < majority {
                return self.wait_for(format!(
                    "waiting for {} of {expected} nodes to form a cluster: {present} are there",
                    majority
                ));
            }
            if present < expected && began.elapsed() < Duration::from_millis(CLUSTER_FORM_ALL_MS) {
                // Whoever is missing may have data, and then it forms the cluster.
                return self
                    .wait_for(format!("waiting a moment for all {expected} nodes: {present} are there"));
            }
            let founder = met.iter().map(|met| met.node.id).chain([self.node.0]).min();
            if founder != Some(self.node.0) {
                return self.wait_for("waiting for another node to form the cluster".to_owned());
            }
            let Some(elected) = self.gather(&met, majority, cluster).await else { return };
            cluster = elected;
        }
        let formed = match group.form(cluster).await {
            Ok(()) => self.broker.change(Command::FormCluster { cluster: cluster.0, node: self.row() }).await,
            Err(why) => return self.end(&format!("the cluster cannot be formed: {why}")),
        };
        match formed {
            Ok(_) => {
                tracing::info!(cluster = format_args!("{:032x}", cluster.0), "formed a cluster");
                self.name_cluster().await;
            }
            Err(error) => tracing::warn!(%error, "forming the cluster goes on"),
        }
    }

    /// All nodes call the cluster what its first node is called, as in RabbitMQ, until somebody gives it a name.
    async fn name_cluster(&self) {
        const PARAMETER: &str = "cluster_name";
        if self.broker.catalog().global_parameters.contains_key(PARAMETER) {
            return;
        }
        let name = json_text(&self.config.node_name);
        let named = Command::SetGlobalParameter { name: PARAMETER.to_owned(), value: name };
        if let Err(error) = self.broker.change(named).await {
            tracing::warn!(%error, "the cluster has no name of its own yet");
        }
    }

    /// Asks for the votes of those who are there; the cluster's id when most of the expected gave theirs.
    async fn gather(&self, met: &[Met], majority: usize, cluster: ClusterId) -> Option<ClusterId> {
        let group = self.group.get()?;
        let own = match group.cast_ballot(Ballot { founder: self.node.0, cluster: cluster.0 }).await {
            Ok(own) => own,
            Err(why) => {
                self.end(&format!("this node's vote cannot be kept: {why}"));
                return None;
            }
        };
        if own.founder != self.node.0 {
            self.wait_for(format!(
                "this node has voted for node {:016x} to form the cluster and waits for it",
                own.founder
            ));
            return None;
        }
        let mut votes = 1;
        let limit = Duration::from_millis(CLUSTER_JOIN_CALL_MS);
        for voter in met {
            let Ok(ask) = body(&own) else { return None };
            match self.mesh.call_addr(voter.addr, kind::BALLOT, ask, limit).await {
                Ok((_, answer)) if fields::<Ballot>(&answer).is_ok_and(|given| given == own) => votes += 1,
                Err(CallError::Refused(why)) => {
                    // It has data and forms the cluster, or is in one already: this node joins it then.
                    self.wait_for(format!("node {} gives no vote: {why}", voter.node.name));
                    return None;
                }
                _ => {}
            }
        }
        if votes < majority {
            self.wait_for(format!(
                "waiting for the votes of {majority} nodes to form the cluster: {votes} so far"
            ));
            return None;
        }
        Some(ClusterId(own.cluster))
    }

    /// Casts this node's vote for whoever asks first.
    pub(super) async fn cast(self: &Arc<Shared>, ballot: Ballot) -> Result<Ballot, String> {
        let group = self.group.get().ok_or("the node is starting")?;
        if group.cluster().is_some() {
            return Err("this node is in a cluster already".to_owned());
        }
        if !is_pristine(&self.broker.catalog()) {
            return Err("this node has definitions of its own and will form a cluster itself".to_owned());
        }
        group.cast_ballot(ballot).await
    }

    /// Lets a node join: makes it a member of the catalog and of the group that agrees on it.
    pub(super) async fn admit(self: &Arc<Shared>, join: Join) -> Result<Joined, String> {
        let group = self.group.get().ok_or("the node is starting")?;
        let cluster = group.cluster().ok_or("this node is in no cluster itself")?;
        let Join { node: newcomer, feature_level } = join;
        let row = broker::catalog::Node {
            id: newcomer.node(),
            name: newcomer.name.clone(),
            addr: newcomer.addr.to_string(),
            boot: newcomer.boot,
            up: true,
            feature_level,
        };
        self.broker.change(Command::PutNode { node: row }).await.map_err(|error| error.explanation)?;
        let (group, name) = (group.clone(), newcomer.name.clone());
        tokio::spawn(async move {
            if let Err(why) = group.add_node(newcomer.node()).await {
                tracing::warn!(node = %name, "the node cannot be added yet: {why}");
            }
        });
        let catalog = self.broker.catalog();
        let members = catalog.nodes.values().filter_map(|row| Some((row.id.0, row.addr.parse().ok()?)));
        Ok(Joined { cluster, members: members.collect() })
    }
}

/// A text as JSON has it.
fn json_text(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c.is_control() => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

/// How many of so many nodes can vote: an odd number.
fn usable_voters(nodes: usize) -> usize {
    let most = nodes.clamp(1, CATALOG_VOTERS_MAX);
    most - usize::from(most.is_multiple_of(2))
}

fn new_cluster() -> u128 {
    ((u128::from(engine::route::random()) << 64) | u128::from(engine::route::random())).max(1)
}

/// Whether there is nothing in a catalog but what every node starts with: one vhost, one user.
fn is_pristine(catalog: &Catalog) -> bool {
    catalog.users.len() <= 1
        && catalog.vhosts.len() <= 1
        && catalog.global_parameters.is_empty()
        && catalog.vhosts.values().all(|vhost| {
            vhost.queues.is_empty()
                && vhost.policies.is_empty()
                && vhost.operator_policies.is_empty()
                && vhost.parameters.is_empty()
                && vhost.binding_count() == 0
                && vhost
                    .exchanges
                    .keys()
                    .all(|name| name.as_str().is_empty() || name.as_str().starts_with("amq."))
        })
}
