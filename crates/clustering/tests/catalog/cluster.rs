//! Three nodes, or as many as a test wants, and waiting for what they come to.

use crate::net::Net;
use crate::node::{Dir, Making, Node};
use clustering::identity::ClusterId;
use std::time::{Duration, Instant};
use types::NodeId;

pub const CLUSTER: ClusterId = ClusterId(0x1eaf);
/// Nothing that is waited for takes so long.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct Cluster {
    pub net: Net,
    pub nodes: Vec<Node>,
    pub dirs: Vec<Dir>,
    pub making: Making,
}

/// Waits until something is so.
pub async fn until(what: &str, is_so: impl FnMut() -> bool) -> Duration {
    within(DEADLINE, what, is_so).await
}

pub async fn within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "not so after {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    start.elapsed()
}

impl Cluster {
    /// Nodes 1 to `count`, the first of which has formed the cluster.
    pub async fn of(count: u64, making: Making) -> Cluster {
        let net = Net::default();
        let (mut nodes, mut dirs) = (Vec::new(), Vec::new());
        for id in 1..=count {
            let dir = Dir::new("catalog");
            nodes.push(Node::start(id, dir.path(), &net, &making).await);
            dirs.push(dir);
        }
        nodes[0].group.form(CLUSTER).await.unwrap();
        for node in &nodes[1..] {
            node.group.join(CLUSTER).await.unwrap();
            nodes[0].group.add_node(NodeId(node.id)).await.unwrap();
        }
        let cluster = Cluster { net, nodes, dirs, making };
        cluster.settled().await;
        cluster
    }

    pub async fn three() -> Cluster {
        Cluster::of(3, Making::default()).await
    }

    pub async fn of_five() -> Cluster {
        Cluster::of(5, Making::default()).await
    }

    /// Waits until all nodes agree on a leader, hold leases, and the voters are as they should be.
    pub async fn settled(&self) {
        let count = self.nodes.len();
        let voters = (if count.is_multiple_of(2) { count - 1 } else { count }).min(7);
        until("all have one leader, leases, and the voters there should be", || {
            let leader = self.nodes[0].leader();
            leader.is_some()
                && self.nodes.iter().all(|node| {
                    let status = node.group.status().unwrap();
                    let votes = status.members.iter().filter(|member| member.votes).count();
                    let is_even = votes == voters && !status.changing;
                    node.leader() == leader && is_even && node.group.lease_held()
                })
        })
        .await;
    }

    /// The place of the leader among the nodes.
    pub fn leader(&self) -> usize {
        let leader = self.nodes.iter().find_map(Node::leader).unwrap();
        self.nodes.iter().position(|node| node.id == leader).unwrap()
    }

    /// The place of some other node.
    pub fn follower(&self) -> usize {
        (self.leader() + 1) % self.nodes.len()
    }

    /// Takes a node out; its directory stays.
    pub fn kill(&mut self, place: usize) -> u64 {
        let node = self.nodes.remove(place);
        let id = node.id;
        node.stop();
        id
    }

    /// Starts a node again.
    pub async fn revive(&mut self, id: u64) -> usize {
        let dir = &self.dirs[id as usize - 1];
        self.nodes.push(Node::start(id, dir.path(), &self.net, &self.making).await);
        self.nodes.len() - 1
    }

    /// All nodes have the same catalog.
    pub async fn same(&self) {
        let first = || self.nodes[0].target.catalog().encode();
        until("all catalogs are the same", || {
            let first = first();
            self.nodes.iter().all(|node| node.target.catalog().encode() == first)
        })
        .await;
    }

    pub fn stop(self) {
        self.nodes.into_iter().for_each(Node::stop);
    }
}
