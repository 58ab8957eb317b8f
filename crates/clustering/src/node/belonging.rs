//! Whether a node still belongs to its cluster: asked by a member that hears nothing of the cluster, told by the
//! others.
//!
//! Invariant: who says that a node was taken out has made sure, after it was asked, that it knows all that is
//! agreed on; and only a node asks that has its own row from the cluster. So a node that is being let in, or a
//! member that is behind, never takes a node out.

use super::member::Shared;
use super::service::{body, fields, kind};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use types::NodeId;
use types::limits::{CLUSTER_DOUBT_MS, CLUSTER_LOOK_MS, CLUSTER_REFRESH_MS};

impl Shared {
    /// Asks whether this node was taken out whenever it has heard nothing of its cluster for a while: who was taken
    /// out while it was away is told nothing unless it asks.
    pub(super) async fn doubt_membership(self: Arc<Shared>) {
        let mut silent_since = None;
        while !self.is_ending() {
            tokio::time::sleep(Duration::from_millis(CLUSTER_LOOK_MS)).await;
            if !self.hears_nothing() {
                silent_since = None;
                continue;
            }
            let since: Instant = *silent_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= Duration::from_millis(CLUSTER_DOUBT_MS) {
                self.ask_whether_it_belongs().await;
                silent_since = None;
            }
        }
    }

    /// It was let into a cluster and has no lease.
    fn hears_nothing(&self) -> bool {
        let has_lease = self.group.get().is_none_or(|group| group.cluster().is_none() || group.lease_held());
        !has_lease && self.broker.catalog().nodes.contains_key(&self.node)
    }

    /// Asks all that can be reached whether this node is a member. It ends when it is none.
    async fn ask_whether_it_belongs(&self) {
        let Ok(ask) = body(&self.config.node_name) else { return };
        let limit = Duration::from_millis(CLUSTER_REFRESH_MS);
        let mut calls = JoinSet::new();
        for addr in self.other_addrs().await {
            let (mesh, ask) = (self.mesh.clone(), ask.clone());
            calls.spawn(async move { mesh.call_addr(addr, kind::BELONGS, ask, limit).await });
        }
        while let Some(called) = calls.join_next().await {
            // Who refuses does not know it for sure.
            let Ok(Ok((member, answer))) = called else { continue };
            if fields::<bool>(&answer).is_ok_and(|belongs| !belongs) {
                tracing::error!("node {} says that this node was taken out of the cluster", member.name);
                return self.left();
            }
        }
    }

    /// Where members were last known to be, and where the operator says that they are.
    pub(super) async fn other_addrs(&self) -> BTreeSet<SocketAddr> {
        let rows: Vec<_> =
            self.broker.catalog().nodes.values().filter(|row| row.id != self.node).cloned().collect();
        let known = rows.iter().filter_map(|row| row.addr.parse().ok());
        let told = match &self.config.join {
            Some(join) => join.resolve().await,
            None => Vec::new(),
        };
        known.chain(told).filter(|addr| *addr != self.addr).collect()
    }

    /// Tells a node, which calls itself `name`, whether it is a member.
    ///
    /// # Errors
    /// This node cannot be sure.
    pub(super) async fn tell_whether_it_belongs(&self, node: NodeId, name: &str) -> Result<bool, String> {
        let group = self.group.get().ok_or("the node is starting")?;
        let limit = Duration::from_millis(CLUSTER_REFRESH_MS);
        let sure = tokio::time::timeout(limit, group.catch_up()).await;
        sure.map_err(|_| "the cluster has no majority".to_owned())??;
        let catalog = self.broker.catalog();
        if !catalog.is_cluster() {
            return Err("the cluster is being formed".to_owned());
        }
        let belongs = catalog.nodes.contains_key(&node);
        if !belongs {
            tracing::warn!(
                "node '{name}' ({node}) was taken out of this cluster and runs again: it is told to end; empty its data \
                 directory to let it join as a new one"
            );
        }
        Ok(belongs)
    }
}
