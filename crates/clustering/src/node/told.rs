//! What nodes tell each other for listings, and what this one was told.
//!
//! Invariant: what other nodes told is kept until they tell something newer or are gone.

use super::listing::{self, ToldConnection};
use super::member::Shared;
use super::service::{body, fields, kind, raw, rest};
use engine::cluster::{ClientCounts, NodeCounters};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;
use types::limits::CLUSTER_REFRESH_MS;
use types::{NodeId, UserName, VhostName};

/// What other nodes have told.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) connections: BTreeMap<NodeId, Vec<ToldConnection>>,
    counters: BTreeMap<NodeId, Vec<(String, u64)>>,
}

impl Seen {
    /// What other nodes have counted.
    pub(super) fn counters(&self) -> Vec<NodeCounters> {
        let all = self.counters.iter();
        all.map(|(node, values)| NodeCounters { node: *node, values: values.clone() }).collect()
    }

    /// What others told is of no use any more.
    fn keep(&mut self, is_there: impl Fn(NodeId) -> bool) {
        self.connections.retain(|node, _| is_there(*node));
        self.counters.retain(|node, _| is_there(*node));
    }
}

impl Shared {
    /// What is in the queues at home here, as bytes for another node.
    pub(super) fn tell_queues(&self) -> Vec<u8> {
        let catalog = self.broker.catalog().clone();
        let mut out = Vec::new();
        for (id, _) in catalog.homes().filter(|(_, home)| *home == self.node) {
            if let Some(queue) = self.broker.queue(id) {
                listing::put_queue(&mut out, id, &queue.listing(), &queue.consumers());
            }
        }
        out
    }

    /// Who is connected here, as bytes for another node.
    pub(super) fn tell_connections(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (id, connection) in self.broker.connections().all() {
            listing::put_connection(&mut out, id, &connection.listing(), &connection.channels());
        }
        out
    }

    /// What this node has counted, as bytes for another node.
    pub(super) fn tell_counters(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, _, value) in self.broker.metrics().all() {
            listing::put_counter(&mut out, name, value);
        }
        out
    }

    /// How many connections of a vhost and of a user there are here.
    pub(super) fn tell_clients(&self, vhost: &str, user: &str) -> Result<(u64, u64), String> {
        let vhost = VhostName::new(vhost).ok_or("no name of a vhost")?;
        let user = UserName::new(user).ok_or("no name of a user")?;
        let counts = self.broker.connections().clients(&vhost, &user);
        Ok((counts.vhost, counts.user))
    }

    /// Asks the others for that.
    pub(super) async fn clients_elsewhere(&self, vhost: VhostName, user: UserName) -> ClientCounts {
        let mut counts = ClientCounts::default();
        let Ok(ask) = body(&(vhost.as_str(), user.as_str())) else { return counts };
        let limit = Duration::from_millis(CLUSTER_REFRESH_MS);
        let mut calls = JoinSet::new();
        for node in self.other_nodes() {
            let (mesh, ask) = (self.mesh.clone(), ask.clone());
            calls.spawn(async move { mesh.call(node, kind::CLIENTS, ask, limit).await });
        }
        while let Some(called) = calls.join_next().await {
            let Ok(Ok(answer)) = called else { continue };
            if let Ok((of_vhost, of_user)) = fields::<(u64, u64)>(&answer) {
                counts.vhost = counts.vhost.saturating_add(of_vhost);
                counts.user = counts.user.saturating_add(of_user);
            }
        }
        counts
    }

    fn other_nodes(&self) -> Vec<NodeId> {
        self.broker.catalog().nodes.keys().copied().filter(|id| *id != self.node).collect()
    }

    fn take_queues(&self, node: NodeId, answer: &[u8]) -> Result<(), String> {
        for (id, listing, consumers) in listing::read_queues(rest(answer)?)? {
            self.homes.set_seen(node, id, listing, consumers);
        }
        Ok(())
    }

    fn take_connections(&self, node: NodeId, answer: &[u8]) -> Result<(), String> {
        let told = listing::read_connections(rest(answer)?)?;
        self.seen.lock().connections.insert(node, told);
        Ok(())
    }

    fn take_counters(&self, node: NodeId, answer: &[u8]) -> Result<(), String> {
        let told = listing::read_counters(rest(answer)?)?;
        self.seen.lock().counters.insert(node, told);
        Ok(())
    }

    /// Asks the other nodes; who does not answer within a second is left out.
    pub(super) async fn ask_all(&self) {
        let limit = Duration::from_millis(CLUSTER_REFRESH_MS);
        let others = self.other_nodes();
        self.seen.lock().keep(|node| others.contains(&node) && self.mesh.is_connected(node));
        let mut calls = JoinSet::new();
        for node in others {
            for what in [kind::QUEUES, kind::CONNECTIONS, kind::COUNTERS] {
                let mesh = self.mesh.clone();
                calls.spawn(async move { (node, what, mesh.call(node, what, raw(&[]), limit).await) });
            }
        }
        while let Some(called) = calls.join_next().await {
            let Ok((node, what, Ok(answer))) = called else { continue };
            let taken = match what {
                kind::QUEUES => self.take_queues(node, &answer),
                kind::COUNTERS => self.take_counters(node, &answer),
                _ => self.take_connections(node, &answer),
            };
            if let Err(why) = taken {
                tracing::warn!(%node, "what a node told of itself cannot be read: {why}");
            }
        }
    }
}
