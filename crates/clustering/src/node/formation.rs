//! How a node finds its cluster: a member goes on, an empty node joins, and if there is no cluster yet the nodes
//! that expect each other form one.
//!
//! Invariant: what is to be done is decided in `founding`; here it is done.

use super::founding::{Course, Expected, Met, Next, Seeker, Standing, elected, is_pristine};
use super::member::Shared;
use super::service::{Join, Joined, body, fields, kind};
use crate::catalog::{Ballot, MemberStatus};
use crate::discovery::Discovery;
use crate::identity::ClusterId;
use crate::transport::{CallError, ProbeError};
use broker::catalog::Command;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use types::NodeId;
use types::limits::{CLUSTER_FEATURE_LEVEL, CLUSTER_JOIN_CALL_MS, CLUSTER_LOOK_MS};

impl Shared {
    /// Looks for the cluster until this node is a member of it and knows what it has agreed on.
    pub(super) async fn find_cluster(self: Arc<Shared>) {
        let began = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(CLUSTER_LOOK_MS));
        loop {
            tick.tick().await;
            if self.group.get().is_none() {
                continue;
            }
            if self.is_ending() {
                return;
            }
            match self.standing(began.elapsed()).course() {
                Course::LookAround => self.look_around(began).await,
                Course::Arrived(cluster) => {
                    tracing::info!(
                        cluster = format_args!("{:032x}", cluster.0),
                        "this node is a member of its cluster"
                    );
                    self.serve();
                    return;
                }
                Course::FinishForming(cluster) => self.finish_forming(cluster).await,
                Course::Wait { serve, look_around } => {
                    self.wait_for(
                        "waiting for the other nodes of the cluster to agree that this one is back"
                            .to_owned(),
                    );
                    if serve && self.waits.borrow().is_some() {
                        tracing::warn!(
                            "most nodes of the cluster do not answer: this one serves the queues it has"
                        );
                        self.serve();
                    }
                    if look_around {
                        self.look_around(began).await;
                    }
                }
            }
        }
    }

    fn standing(&self, since_start: Duration) -> Standing {
        let Some(group) = self.group.get() else { return Standing::default() };
        let catalog = self.broker.catalog();
        let status = group.status();
        let is_own = |member: &MemberStatus| member.node == self.node && member.votes;
        let is_alone = status.as_ref().is_some_and(|status| status.members.iter().all(is_own));
        let settled = status.as_ref().filter(|status| !status.changing);
        let voters = settled.map_or(0, |status| status.members.iter().filter(|member| member.votes).count());
        Standing {
            cluster: group.cluster(),
            is_member_now: self.is_member_now(),
            has_lease: group.lease_held(),
            voters,
            up: catalog.nodes.values().filter(|node| node.up).count(),
            is_half_formed: is_alone && !catalog.is_cluster(),
            is_known: catalog.nodes.contains_key(&self.node),
            since_start,
        }
    }

    async fn finish_forming(&self, cluster: ClusterId) {
        let form = Command::FormCluster { cluster: cluster.0, node: self.row() };
        if let Err(error) = self.broker.change(form).await {
            tracing::warn!(%error, "forming the cluster goes on");
        }
    }

    /// Whether the catalog here has this very start of this node.
    pub(super) fn is_member_now(&self) -> bool {
        let catalog = self.broker.catalog();
        catalog.nodes.get(&self.node).is_some_and(|row| row.boot == self.boot && row.up)
    }

    /// Asks who is there, and joins or forms what there is to join or form.
    async fn look_around(self: &Arc<Shared>, began: Instant) {
        let (mut met, mut has_myself, mut expected) = (Vec::new(), false, Expected::Nobody);
        if let Some(join) = self.config.join.as_ref().filter(|_| !self.config.recover) {
            (met, has_myself) = self.meet(join.resolve().await).await;
            expected = match join {
                Discovery::Dns { .. } => Expected::ByName(join.expected()),
                Discovery::Static(_) => Expected::Listed(join.expected()),
            };
        }
        if self.is_ending() {
            return;
        }
        let seeker = match expected.count(has_myself) {
            Ok(expected) => Seeker { expected, since_start: began.elapsed(), ..self.seeker() },
            Err(why) => return self.wait_for(why),
        };
        match seeker.next(&met) {
            Next::Wait(why) => self.wait_for(why),
            Next::End(why) => self.end(&why),
            Next::Join(member) => self.join(member).await,
            Next::Form => self.form(ClusterId(new_cluster())).await,
            Next::AskForVotes { majority } => {
                if let Some(cluster) = self.gather(&seeker, &met, majority).await {
                    self.form(cluster).await;
                }
            }
        }
    }

    fn seeker(&self) -> Seeker {
        let group = self.group.get();
        let vote = group.and_then(|group| group.ballot());
        Seeker {
            me: self.node,
            cluster: group.and_then(|group| group.cluster()),
            has_own_vote: vote.is_some_and(|vote| vote.founder == self.node.0),
            is_pristine: is_pristine(&self.broker.catalog()),
            expected: 1,
            since_start: Duration::ZERO,
        }
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

    async fn form(self: &Arc<Shared>, cluster: ClusterId) {
        let Some(group) = self.group.get() else { return };
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
    async fn gather(&self, seeker: &Seeker, met: &[Met], majority: usize) -> Option<ClusterId> {
        let group = self.group.get()?;
        let own = match group.cast_ballot(Ballot { founder: self.node.0, cluster: new_cluster() }).await {
            Ok(own) => own,
            Err(why) => {
                self.end(&format!("this node's vote cannot be kept: {why}"));
                return None;
            }
        };
        if let Err(why) = seeker.own_vote(&own) {
            self.wait_for(why);
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
        if let Err(why) = elected(votes, majority) {
            self.wait_for(why);
            return None;
        }
        Some(ClusterId(own.cluster))
    }

    /// Casts this node's vote for whoever asks first.
    pub(super) async fn cast(self: &Arc<Shared>, ballot: Ballot) -> Result<Ballot, String> {
        let group = self.group.get().ok_or("the node is starting")?;
        self.seeker().may_vote()?;
        group.cast_ballot(ballot).await
    }

    /// Lets a node join: makes it a member of the catalog and of the group that agrees on it.
    pub(super) async fn admit(self: &Arc<Shared>, join: Join) -> Result<Joined, String> {
        let group = self.group.get().ok_or("the node is starting")?;
        let cluster = group.cluster().ok_or("this node is in no cluster itself")?;
        let Join { node: newcomer, feature_level } = join;
        if let Err(why) = self.broker.catalog().admits(&newcomer.name, feature_level) {
            // It asks again and again.
            if self.told_refusal.lock().replace(why.clone()).is_none_or(|told| told != why) {
                tracing::warn!("a node that wants to join is refused: {why}");
            }
            return Err(why);
        }
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

fn new_cluster() -> u128 {
    ((u128::from(engine::route::random()) << 64) | u128::from(engine::route::random())).max(1)
}
