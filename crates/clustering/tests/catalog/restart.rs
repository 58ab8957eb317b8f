//! Nodes that stop and start again, in any order.

use crate::cluster::{CLUSTER, Cluster, until};
use crate::net::Net;
use crate::node::{Dir, Making, Node};
use clustering::catalog::{Compaction, Member};
use engine::storage::ClusterLog;
use types::NodeId;

async fn restarted(making: Making) {
    let mut cluster = Cluster::of(3, making).await;
    let mut count = 0;
    for order in [[0, 0, 0], [2, 1, 0], [1, 1, 0], [1, 0, 0]] {
        for node in &cluster.nodes {
            for _ in 0..10 {
                node.declare(&format!("q{count}")).await.unwrap();
                count += 1;
            }
        }
        let mut stopped = Vec::new();
        for place in order {
            stopped.push(cluster.kill(place));
        }
        for id in stopped {
            cluster.revive(id).await;
        }
        cluster.settled().await;
        for node in &cluster.nodes {
            until("everything is there", || node.target.queue_count() == count).await;
        }
        cluster.same().await;
    }
    cluster.stop();
}

#[tokio::test]
async fn after_a_restart_of_all_nodes_in_any_order_everything_is_there() {
    restarted(Making::default()).await;
}

#[tokio::test]
async fn and_so_it_is_when_the_log_is_made_shorter_all_the_time() {
    let compaction = Compaction { entries: 7, kept_entries: 3 };
    restarted(Making { compaction, ..Making::default() }).await;
}

#[tokio::test]
async fn a_checkpoint_says_all() {
    let (net, dir, making) = (Net::default(), Dir::new("catalog"), Making::default());
    let node = Node::start(1, dir.path(), &net, &making).await;
    node.group.form(CLUSTER).await.unwrap();
    for number in 0..20 {
        node.declare(&format!("q{number}")).await.unwrap();
        if number % 7 == 3 {
            node.group.checkpoint().unwrap();
        }
    }
    node.stop();
    let node = Node::start(1, dir.path(), &net, &making).await;
    until("everything is there", || node.target.queue_count() == 20).await;
    node.declare("one more").await.unwrap();
    node.stop();
}

#[tokio::test]
async fn a_directory_of_another_node_is_refused() {
    let (net, dir, making) = (Net::default(), Dir::new("catalog"), Making::default());
    let node = Node::start(1, dir.path(), &net, &making).await;
    node.group.form(CLUSTER).await.unwrap();
    node.stop();
    let mut member = Member::new(NodeId(2));
    crate::node::read(dir.path(), &mut member);
    let refused = member.catalog(&[]).unwrap_err();
    assert!(refused.contains("each node needs its own"), "{refused}");
    let mut member = Member::new(NodeId(1));
    crate::node::read(dir.path(), &mut member);
    let refused = member.catalog(&["wal/1.wal is damaged".to_owned()]).unwrap_err();
    assert!(refused.contains("wal/1.wal is damaged") && refused.contains("join again"), "{refused}");
}

#[tokio::test]
async fn a_group_whose_log_fails_says_so() {
    use crate::node::declare;
    use std::sync::Arc;
    use storage::{FaultKind, FaultyDisk, RealDisk};
    let (net, dir, making) = (Net::default(), Dir::new("catalog"), Making::default());
    let disk = Arc::new(FaultyDisk::new(Arc::new(RealDisk)));
    let node = Node::start_on(disk.clone(), 1, dir.path(), &net, &making).await;
    node.group.form(CLUSTER).await.unwrap();
    node.declare("q").await.unwrap();
    disk.fail_from(FaultKind::Sync, 1);
    let store = node.store.clone();
    let change = tokio::spawn(async move { store.propose(declare("r")).await });
    let why = node.group.failed().await;
    assert!(why.contains("cannot go on"), "{why}");
    assert!(change.await.unwrap().is_err());
    assert!(!node.target.has_queue("r"));
    node.drop_dead();
}
