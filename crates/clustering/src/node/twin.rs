//! A second process of this node: one of the two runs on a copy of the other's data directory.
//!
//! Invariant: before this process speaks to other nodes as a member it has looked for an older one, at the address that
//! its own catalog and those of the others have for it. Whoever answers there with the same id is alive, so this
//! process is the one that ends: the other one's links, and what it serves, are not touched.

use super::member::Shared;
use super::service::{body, fields, kind};
use crate::transport::ProbeError;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;
use types::NodeId;
use types::limits::CLUSTER_REFRESH_MS;

const LIMIT: Duration = Duration::from_millis(CLUSTER_REFRESH_MS);

impl Shared {
    /// Looks for another process of this node, as far as others can be reached.
    ///
    /// # Errors
    /// There is one, and where.
    pub(super) async fn refuse_twin(&self) -> Result<(), String> {
        if !self.broker.catalog().nodes.contains_key(&self.node) {
            return Ok(());
        }
        let mut places = self.told_places().await;
        places.extend(self.place_of(self.node));
        places.remove(&self.addr);
        for addr in places {
            let probe = tokio::time::timeout(LIMIT, self.mesh.probe(addr)).await;
            if let Ok(Err(ProbeError::SameId { name })) = probe {
                return Err(format!(
                    "data-dir is '{}': it is that of node '{name}', which runs at {addr} with a copy of it, or this is the \
                     copy; stop one of the two for good, and start a new node with an empty data directory",
                    self.config.data_dir.display()
                ));
            }
        }
        Ok(())
    }

    /// Where a node is, by the catalog as it is known here.
    pub(super) fn place_of(&self, node: NodeId) -> Option<SocketAddr> {
        self.broker.catalog().nodes.get(&node)?.addr.parse().ok()
    }

    /// Where other nodes believe that this one is.
    async fn told_places(&self) -> BTreeSet<SocketAddr> {
        let Ok(ask) = body(&()) else { return BTreeSet::new() };
        let mut calls = JoinSet::new();
        for addr in self.other_addrs().await {
            let (mesh, ask) = (self.mesh.clone(), ask.clone());
            calls.spawn(async move { mesh.call_addr(addr, kind::PLACE, ask, LIMIT).await });
        }
        let mut places = BTreeSet::new();
        while let Some(called) = calls.join_next().await {
            let Ok(Ok((_, answer))) = called else { continue };
            places.extend(fields::<Option<SocketAddr>>(&answer).ok().flatten());
        }
        places
    }
}
