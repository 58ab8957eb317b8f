//! The cluster as the API sees it: who is in it, what is asked of the other nodes, and names.
//!
//! Invariant: other nodes are asked by one request at a time, and not again before what they told has become
//! old; a node that is alone asks nobody.

use crate::api::Api;
use broker::catalog;
use engine::cluster::{ClusterStatus, ClusterView, NodeState, NodeView, RemoteConnection};
use parking_lot::Mutex;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::limits::{CLUSTER_REFRESH_AGAIN_MS, CLUSTER_WATCHED_MS};
use types::{ConnectionId, NodeId};

/// When other nodes were asked, and for whom.
#[derive(Default)]
pub(crate) struct Asking {
    /// Held while they are asked; when the last answers had come.
    last: tokio::sync::Mutex<Option<Instant>>,
    /// When a listing last wanted to know.
    wanted: Mutex<Option<Instant>>,
}

impl Api {
    /// The cluster, unless this node is alone.
    pub(crate) fn cluster(&self) -> Option<Arc<dyn ClusterView>> {
        self.broker.cluster().filter(|_| self.catalog().nodes.len() > 1)
    }

    /// Learns from other nodes what is in their queues and who is connected to them, for a listing.
    pub(crate) async fn ask_others(&self) {
        if let Some(cluster) = self.cluster() {
            *self.asking.wanted.lock() = Some(Instant::now());
            self.refresh(&*cluster).await;
        }
    }

    /// The same for rates, as long as somebody looks at them; when the answers came, if there are any.
    pub(crate) async fn ask_others_again(&self) -> Option<Instant> {
        let cluster = self.cluster()?;
        let wanted = *self.asking.wanted.lock();
        if wanted.is_none_or(|at| at.elapsed() > Duration::from_millis(CLUSTER_WATCHED_MS)) {
            return None;
        }
        self.refresh(&*cluster).await
    }

    async fn refresh(&self, cluster: &dyn ClusterView) -> Option<Instant> {
        let mut last = self.asking.last.lock().await;
        let again = Duration::from_millis(CLUSTER_REFRESH_AGAIN_MS);
        if last.is_none_or(|at| at.elapsed() >= again) {
            cluster.refresh().await;
            *last = Some(Instant::now());
        }
        *last
    }

    /// Why this node should get no clients, if it should not.
    pub(crate) fn not_ready(&self) -> Option<String> {
        let of_cluster = || match self.broker.cluster() {
            Some(cluster) => cluster.not_ready(),
            None if self.broker.config().seat.is_some() => Some("the node is starting".to_owned()),
            None => None,
        };
        (self.config.in_service)().err().or_else(of_cluster)
    }

    /// The cluster as it is known here; a node that is alone is a cluster of its own.
    pub(crate) fn cluster_status(&self) -> ClusterStatus {
        let mut status = self.broker.cluster().map(|cluster| cluster.status()).unwrap_or_else(|| {
            let catalog_version = self.catalog().version;
            let leader = Some(self.node_name().to_owned());
            ClusterStatus { leader, catalog_version, has_majority: true, ..ClusterStatus::default() }
        });
        if !status.nodes.iter().any(|node| node.is_me) {
            status.nodes.push(self.this_node(&status));
        }
        status
    }

    fn this_node(&self, status: &ClusterStatus) -> NodeView {
        let leads = status.leader.as_deref() == Some(self.node_name());
        NodeView {
            id: self.broker.node(),
            name: self.node_name().to_owned(),
            addr: String::new(),
            is_me: true,
            state: NodeState::Up,
            version: Some(self.config.product_version.clone()),
            leads,
            votes: leads,
            lag: None,
            homes: self.catalog().homes().count() as u64,
            numbers: None,
        }
    }

    /// The member with a name, or that a name in RabbitMQ's form stands for.
    pub(crate) fn member(&self, name: &str) -> Option<NodeView> {
        let mut nodes = self.cluster_status().nodes;
        let at = position(nodes.iter().map(|node| node.name.as_str()), name)?;
        Some(nodes.swap_remove(at))
    }
}

/// What stands behind the @ of a node's name; all of it when there is none.
fn host(name: &str) -> &str {
    name.split_once('@').map_or(name, |(_, host)| host)
}

/// Which of `names` is meant: `rabbit@host` is also the only node that is called `host` or `…@host`.
fn position<'a>(names: impl Iterator<Item = &'a str>, asked: &str) -> Option<usize> {
    let names: Vec<&str> = names.collect();
    if let Some(exact) = names.iter().position(|name| *name == asked) {
        return Some(exact);
    }
    let (_, wanted) = asked.split_once('@')?;
    let mut fitting = names.iter().enumerate().filter(|(_, name)| host(name) == wanted);
    let (at, _) = fitting.next()?;
    fitting.next().is_none().then_some(at)
}

/// Where queues and connections are, for the time of one answer.
pub(crate) struct Places<'a> {
    api: &'a Api,
    nodes: HashMap<NodeId, String>,
    others: OnceCell<Others>,
}

/// Connections to other nodes.
#[derive(Default)]
struct Others {
    by_id: HashMap<ConnectionId, RemoteConnection>,
    by_name: HashMap<String, ConnectionId>,
}

impl<'a> Places<'a> {
    pub(crate) fn of(api: &'a Api) -> Places<'a> {
        let nodes = api.catalog().nodes.values().map(|node| (node.id, node.name.clone())).collect();
        Places { api, nodes, others: OnceCell::new() }
    }

    pub(crate) fn api(&self) -> &'a Api {
        self.api
    }

    /// The name of a node.
    pub(crate) fn name_of(&self, node: NodeId) -> &str {
        self.nodes.get(&node).map_or(self.api.node_name(), String::as_str)
    }

    /// The name of a queue's home.
    pub(crate) fn home(&self, row: &catalog::Queue) -> &str {
        self.name_of(row.home)
    }

    fn others(&self) -> &Others {
        self.others.get_or_init(|| {
            let mut others = Others::default();
            for connection in self.api.cluster().iter().flat_map(|cluster| cluster.connections()) {
                others.by_name.insert(connection.listing.name.clone(), connection.id);
                others.by_id.insert(connection.id, connection);
            }
            others
        })
    }

    /// A connection to another node.
    pub(crate) fn other(&self, id: ConnectionId) -> Option<&RemoteConnection> {
        self.others().by_id.get(&id)
    }

    /// The name of the node that the connection with a name goes to.
    pub(crate) fn node_of(&self, connection: &str) -> &str {
        let others = self.others();
        let other = others.by_name.get(connection).and_then(|id| others.by_id.get(id));
        other.map_or(self.api.node_name(), |other| &other.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_rabbitmqs_form_stand_for_nodes() {
        let names = ["a", "leveret@b", "c", "x@c", "rabbit@d", "d"];
        let table = [
            ("a", Some(0)),
            ("rabbit@a", Some(0)),
            ("rabbit@b", Some(1)),
            ("leveret@b", Some(1)),
            // Not a name in that form.
            ("b", None),
            // Two nodes fit.
            ("rabbit@c", None),
            // Two fit, one exactly.
            ("rabbit@d", Some(4)),
            ("d", Some(5)),
            ("rabbit@", None),
            ("rabbit@a.example.org", None),
            ("rabbit@x@c", None),
        ];
        for (asked, expected) in table {
            assert_eq!(position(names.iter().copied(), asked), expected, "{asked}");
        }
    }
}
