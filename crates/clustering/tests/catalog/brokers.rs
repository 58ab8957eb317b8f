//! The same with real brokers: queues follow the catalog, and a data directory outlives its node's start as a
//! member of a cluster.

use crate::cluster::{CLUSTER, until};
use crate::net::Net;
use crate::node::{Dir, declare, first_catalog};
use broker::catalog::{Command, Outcome};
use clustering::catalog::{CatalogGroup, GroupConfig, Member};
use engine::storage::StorageConfig;
use engine::{Broker, BrokerConfig};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use types::NodeId;

struct Node {
    id: u64,
    broker: Arc<Broker>,
    group: Arc<CatalogGroup>,
}

fn config() -> BrokerConfig {
    BrokerConfig {
        node_name: "test".to_owned(),
        cluster_name: "test".to_owned(),
        memory_limit_bytes: u64::MAX,
        paging_limit_bytes: 1 << 20,
        disk_limit_bytes: 0,
        seat: None,
    }
}

impl Node {
    async fn start(id: u64, dir: &Path, net: &Net) -> Node {
        static BOOT: AtomicU64 = AtomicU64::new(1 << 20);
        let mut member = Member::new(NodeId(id));
        let storage = StorageConfig::new(dir.to_path_buf());
        let broker = Broker::open_member(config(), &storage, || Ok(first_catalog()), &mut member).unwrap();
        let boot = BOOT.fetch_add(1, Ordering::Relaxed);
        let config = GroupConfig::new(NodeId(id), boot);
        let group = CatalogGroup::start_on(config, member, &broker, net.from(id)).await.unwrap();
        net.set(id, &group);
        Node { id, broker, group }
    }

    async fn declare(&self, name: &str) -> Outcome {
        self.broker.change(declare(name)).await.unwrap()
    }

    async fn stop(self) {
        let Node { group, broker, .. } = self;
        group.stop();
        broker.storage().unwrap().close().unwrap();
        drop(group);
        let weak = Arc::downgrade(&broker);
        drop(broker);
        until("nobody holds the broker", || weak.strong_count() == 0).await;
    }
}

/// How fast queues are declared on brokers; see `bench`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn declares_per_second_on_brokers() {
    let net = Net::default();
    let dirs = [Dir::new("brokers"), Dir::new("brokers"), Dir::new("brokers")];
    let mut nodes = Vec::new();
    for (place, dir) in dirs.iter().enumerate() {
        let node = Node::start(place as u64 + 1, dir.path(), &net).await;
        match nodes.first() {
            None => node.group.form(CLUSTER).await.unwrap(),
            Some(first) => {
                let first: &Node = first;
                node.group.join(CLUSTER).await.unwrap();
                first.group.add_node(NodeId(node.id)).await.unwrap();
            }
        }
        nodes.push(node);
    }
    until("all have leases", || nodes.iter().all(|node| node.group.lease_held())).await;
    for round in 0..3 {
        let start = std::time::Instant::now();
        let channel = |channel: usize| {
            let broker = nodes[channel % 3].broker.clone();
            tokio::spawn(async move {
                for number in 0..400 {
                    broker.change(declare(&format!("q{round}.{channel}.{number}"))).await.unwrap();
                }
            })
        };
        for task in (0..30).map(channel).collect::<Vec<_>>() {
            task.await.unwrap();
        }
        println!("30 channels on 3 brokers: {:.0} declares/s", 12_000.0 / start.elapsed().as_secs_f64());
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn brokers_agree_on_queues_and_keep_them_over_restarts() {
    let net = Net::default();
    let dirs = [Dir::new("brokers"), Dir::new("brokers"), Dir::new("brokers")];
    let one = Node::start(1, dirs[0].path(), &net).await;
    one.declare("before").await;
    one.group.form(CLUSTER).await.unwrap();
    let mut nodes = vec![one];
    for id in [2, 3] {
        let node = Node::start(id, dirs[id as usize - 1].path(), &net).await;
        node.group.join(CLUSTER).await.unwrap();
        nodes[0].group.add_node(NodeId(id)).await.unwrap();
        until("it has the catalog", || node.broker.queue_named("/", "before").is_some()).await;
        nodes.push(node);
    }
    until("all have leases", || nodes.iter().all(|node| node.group.lease_held())).await;
    for node in &nodes {
        let name = format!("of{}", node.id);
        assert!(node.declare(&name).await.changed());
        for other in &nodes {
            assert!(other.broker.queue_named("/", &name).is_some(), "node {} has no {name}", other.id);
        }
    }
    let delete = Command::DeleteQueue { vhost: "/".into(), name: "of1".into(), id: None };
    nodes[2].broker.change(delete).await.unwrap();
    assert!(nodes.iter().all(|node| node.broker.queue_named("/", "of1").is_none()));

    for _ in 0..2 {
        for node in nodes.drain(..) {
            node.stop().await;
        }
        for (place, dir) in dirs.iter().enumerate().rev() {
            nodes.push(Node::start(place as u64 + 1, dir.path(), &net).await);
        }
        for node in &nodes {
            until("all queues are there", || node.broker.queue_count() == 3).await;
            node.group.catch_up().await.unwrap();
            until("nothing is unclaimed", || node.broker.unclaimed_count() == 0).await;
        }
        assert!(!nodes[0].declare("before").await.changed());
    }
    let storage = StorageConfig::new(dirs[0].path().to_path_buf());
    for node in nodes.drain(..) {
        node.stop().await;
    }
    let refused = Broker::open(config(), &storage, || Ok(first_catalog())).err().unwrap();
    assert!(refused.contains("--cluster-addr"), "{refused}");
}
