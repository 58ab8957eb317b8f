//! The overview counts the whole cluster, whichever node is asked.

use integration_tests::{Cluster, NOTICE, WAIT, wait_for, with_cluster};
use serde_json::Value;

async fn overview(cluster: &Cluster, node: usize) -> Value {
    let (code, body) = cluster.node(node).http("GET", "/api/overview", "").await;
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// What `node` says: messages published and confirmed, connections and queues made, connections, channels,
/// queues, messages in queues.
async fn numbers(cluster: &Cluster, node: usize) -> [u64; 8] {
    let body = overview(cluster, node).await;
    let places = [
        ("message_stats", "publish"),
        ("message_stats", "confirm"),
        ("churn_rates", "connection_created"),
        ("churn_rates", "queue_created"),
        ("object_totals", "connections"),
        ("object_totals", "channels"),
        ("object_totals", "queues"),
        ("queue_totals", "messages"),
    ];
    places.map(|(section, name)| body[section][name].as_u64().expect("a number"))
}

#[test]
fn every_node_counts_all_connections_messages_and_queues() {
    with_cluster(async |cluster| {
        let mut clients = Vec::new();
        for node in 0..3 {
            let client = cluster.connect(node).await;
            let channel = client.confirm_channel().await;
            let name = format!("q{node}");
            channel.durable_queue(&name).await;
            for _ in 0..=node {
                assert!(channel.publish_persistent("", &name, "m").await.is_ack());
            }
            // One through another node than the queue's home.
            assert!(channel.publish_persistent("", "q0", "m").await.is_ack());
            clients.push((client, channel));
        }
        let expected = [9, 9, 3, 3, 3, 3, 3, 9];
        for node in 0..3 {
            let same = async || numbers(cluster, node).await == expected;
            wait_for(WAIT, "the same numbers at each node", same).await;
        }
        // What a node that is down has counted is not shown.
        cluster.end(2, libc::SIGKILL);
        let expected = [5, 5, 2, 2, 2, 2, 2, 6];
        for node in 0..2 {
            let same = async || {
                let mut numbers = numbers(cluster, node).await;
                // The queue that is out of reach is listed still.
                numbers[6] -= 1;
                numbers == expected
            };
            wait_for(NOTICE, "the numbers of two nodes", same).await;
        }
    });
}
