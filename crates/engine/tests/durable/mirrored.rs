//! Blocks, logs and memory of a queue's copies end with the messages, on the home and on the mirrors.

use crate::cluster::Cluster;
use crate::node::messages;
use engine::queue::DeleteConditions;
use engine::{Queue, QueueCommand};
use std::sync::Arc;
use types::FieldValue;

const COUNT: u64 = 60;

/// A cluster of two with the queue `m` at home at the first, most of whose messages are in blocks on both nodes.
async fn paged(durable: bool) -> (Cluster, Arc<Queue>) {
    let cluster = Cluster::new(2);
    cluster.mirror(&[("ha-mode", FieldValue::text("all"))]).await;
    let home = cluster.node(1);
    home.declare("m", durable, &[]).await.unwrap();
    for first in (1..=COUNT).step_by(6) {
        home.publish_safely("m", &messages(first..=first + 5, 5_000)).await;
    }
    for id in [1, 2] {
        let is_paged = || cluster.stored(id, durable) > 100_000;
        home.until("bodies leave memory", is_paged).await.unwrap();
    }
    let queue = home.queue("m").unwrap();
    (cluster, queue)
}

/// Waits until nothing of the messages is left on a node.
async fn are_gone(cluster: &Cluster, ids: &[u64], durable: bool) {
    for id in ids {
        for durable in [durable, !durable] {
            let is_free = || cluster.stored(*id, durable) == 0;
            cluster.node(1).until("the blocks are free", is_free).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_purged_is_gone_from_all_copies() {
    for durable in [true, false] {
        let (cluster, queue) = paged(durable).await;
        let home = cluster.node(1);
        assert_eq!(home.ask("a purge", &queue, QueueCommand::Purge).await.unwrap(), COUNT);
        are_gone(&cluster, &[1, 2], durable).await;
    }
}

#[tokio::test]
async fn a_deleted_queue_leaves_nothing_on_any_node() {
    for durable in [true, false] {
        let (cluster, queue) = paged(durable).await;
        let mirror = cluster.node(2).queue("m").unwrap();
        let deleted = cluster.node(1).broker.delete_queue(&queue, DeleteConditions::default()).await;
        assert_eq!(deleted.unwrap(), COUNT);
        are_gone(&cluster, &[1, 2], durable).await;
        assert_eq!(mirror.resident_bytes(), 0);
        assert_eq!(cluster.unclaimed(2), 0, "the mirror's log has ended");
    }
}

#[tokio::test]
async fn a_queue_that_is_deleted_before_a_purge_is_committed_leaves_nothing() {
    for durable in [true, false] {
        let (cluster, queue) = paged(durable).await;
        let home = cluster.node(1);
        cluster.hold(2, true);
        assert_eq!(home.ask("a purge", &queue, QueueCommand::Purge).await.unwrap(), COUNT);
        assert!(cluster.stored(1, durable) > 100_000, "the mirror does not know of it");
        let deleted = home.broker.delete_queue(&queue, DeleteConditions::default()).await;
        assert_eq!(deleted.unwrap(), 0);
        are_gone(&cluster, &[1, 2], durable).await;
    }
}

#[tokio::test]
async fn a_mirror_that_is_dropped_gives_everything_back() {
    for durable in [true, false] {
        let (cluster, queue) = paged(durable).await;
        let mirror = cluster.node(2).queue("m").unwrap();
        let first = FieldValue::Array(vec![FieldValue::text("n1")]);
        cluster.mirror(&[("ha-mode", FieldValue::text("nodes")), ("ha-params", first)]).await;
        cluster.walk().await;
        are_gone(&cluster, &[2], durable).await;
        assert_eq!(mirror.resident_bytes(), 0);
        assert_eq!(queue.counts().ready, COUNT);
        assert!(cluster.stored(1, durable) > 100_000, "the home keeps them");
    }
}
