//! Nodes that come back: with their data, elsewhere, without it, and all at once.

use integration_tests::{Channel, Cluster, NOTICE, WAIT, refusal, wait_for, with_cluster};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use std::time::{Duration, Instant};

/// How long a change may wait for a majority before it fails.
const REFUSED_AFTER: Duration = Duration::from_secs(5);

/// One durable queue with a binding and a message on each node.
async fn furnish(cluster: &Cluster) {
    for node in 0..3 {
        let channel = cluster.connect(node).await.confirm_channel().await;
        let name = format!("q{node}");
        channel.durable_queue(&name).await;
        channel.bind(&name, "amq.topic", &format!("key.{node}")).await;
        assert!(channel.publish_persistent("", &name, "old").await.is_ack());
    }
}

/// Whether `node` gets at a queue.
async fn reaches(cluster: &Cluster, node: usize, queue: &str) -> bool {
    cluster.connect(node).await.channel().await.look(queue).await.is_ok()
}

/// Everything that `furnish` made is there, whoever is asked.
async fn prove_furnished(cluster: &Cluster) {
    for node in 0..3 {
        for queue in 0..3 {
            wait_for(WAIT, "a queue", async || reaches(cluster, node, &format!("q{queue}")).await).await;
        }
    }
    for queue in 0..3 {
        let channel = cluster.connect((queue + 1) % 3).await.confirm_channel().await;
        let sent = channel.publish_mandatory("amq.topic", &format!("key.{queue}"), "new").await;
        assert!(sent.is_ack() && sent.take_message().is_none(), "queue {queue}");
        let bodies = channel.bodies(&format!("q{queue}")).await;
        assert_eq!(bodies, ["old", "new"], "queue {queue}");
        assert!(channel.publish_persistent("", &format!("q{queue}"), "old").await.is_ack());
    }
}

async fn try_declare(cluster: &Cluster, node: usize, name: &str) -> lapin::Result<Channel> {
    let channel = cluster.connect(node).await.channel().await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.declare(name, durable, FieldTable::default()).await.map(|_| channel)
}

async fn is_ready(cluster: &Cluster, node: usize) -> (bool, String) {
    let (status, body) =
        cluster.node(node).http("GET", "/api/health/checks/ready-to-serve-clients", "").await;
    (status == 200, body)
}

#[test]
fn all_nodes_may_be_killed_and_started_in_any_order() {
    with_cluster(async |cluster| {
        furnish(cluster).await;
        prove_furnished(cluster).await;
        for order in [[0, 1, 2], [2, 0, 1]] {
            for node in 0..3 {
                cluster.end(node, libc::SIGKILL);
            }
            cluster.start_some(&order[..2]);
            cluster.start_some(&order[2..]);
            prove_furnished(cluster).await;
        }
        for node in 0..3 {
            cluster.end(node, libc::SIGTERM);
        }
        cluster.start_all();
        prove_furnished(cluster).await;
    });
}

#[test]
fn a_node_comes_back_under_another_address() {
    with_cluster(async |cluster| {
        furnish(cluster).await;
        let moved = cluster.addr(1).replace(":25672", ":25999");
        cluster.end(1, libc::SIGTERM);
        cluster.move_to(1, &moved);
        cluster.start_some(&[1]);
        prove_furnished(cluster).await;
        assert!(cluster.node(1).log().contains(&moved));
        // The others find it again after a restart of their own too.
        cluster.end(0, libc::SIGKILL);
        cluster.start_some(&[0]);
        prove_furnished(cluster).await;
    });
}

#[test]
fn all_nodes_may_come_back_under_other_addresses() {
    with_cluster(async |cluster| {
        furnish(cluster).await;
        for node in 0..3 {
            cluster.end(node, libc::SIGTERM);
            let moved = cluster.addr(node).replace(":25672", ":25998");
            cluster.move_to(node, &moved);
        }
        cluster.start_all();
        prove_furnished(cluster).await;
    });
}

#[test]
fn a_wiped_disk_under_the_old_name_is_a_new_node() {
    with_cluster(async |cluster| {
        furnish(cluster).await;
        cluster.end(1, libc::SIGKILL);
        cluster.wipe(1);
        cluster.start_some(&[1]);
        for node in 0..3 {
            for queue in ["q0", "q2"] {
                wait_for(WAIT, "queues of the others", async || reaches(cluster, node, queue).await).await;
            }
            // It takes the old one's place, without its messages.
            wait_for(WAIT, "its queue", async || reaches(cluster, node, "q1").await).await;
            assert_eq!(cluster.connect(node).await.channel().await.depth("q1").await, 0);
        }
        let publisher = cluster.connect(0).await.confirm_channel().await;
        assert!(publisher.publish_persistent("amq.topic", "key.1", "anew").await.is_ack());
        assert_eq!(publisher.bodies("q1").await, ["anew"], "and the old bindings hold");
        let fresh = cluster.connect(1).await.confirm_channel().await;
        fresh.durable_queue("fresh").await;
        assert!(fresh.publish_persistent("", "fresh", "m").await.is_ack());
        cluster.end(1, libc::SIGKILL);
        cluster.start_some(&[1]);
        wait_for(WAIT, "its queue", async || reaches(cluster, 0, "fresh").await).await;
        assert_eq!(cluster.connect(2).await.channel().await.bodies("fresh").await, ["m"]);
        // It votes in the old one's place: another node may be missing.
        let votes = async || {
            let (_, status) = cluster.node(2).http("GET", "/api/cluster/status", "").await;
            status.matches("\"votes\":true").count() == 3
        };
        wait_for(WAIT, "three nodes vote", votes).await;
        cluster.end(0, libc::SIGKILL);
        wait_for(WAIT, "a declare", async || try_declare(cluster, 1, "without the first").await.is_ok())
            .await;
    });
}

#[test]
fn a_minority_serves_what_it_has_and_refuses_changes_clearly() {
    with_cluster(async |cluster| {
        furnish(cluster).await;
        let local = cluster.connect(0).await.confirm_channel().await;
        let mut changing = cluster.connect(0).await.channel().await;
        cluster.end(1, libc::SIGKILL);
        cluster.end(2, libc::SIGKILL);
        let began = Instant::now();
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        let declared = changing.declare("new", durable, FieldTable::default()).await;
        let took = began.elapsed();
        let why = declared.expect_err("nothing can be agreed on").to_string();
        assert!(took < REFUSED_AFTER, "{took:?}: {why}");
        assert!(why.contains("the cluster has no majority") && why.contains("n2, n3"), "{why}");
        // What is here goes on, on the same connections.
        assert!(local.publish_persistent("", "q0", "local").await.is_ack());
        assert_eq!(local.bodies("q0").await, ["old", "local"]);
        assert_eq!(refusal(cluster.connect(0).await.channel().await.look("q1").await).0, 404);
        wait_for(NOTICE, "not ready", async || !is_ready(cluster, 0).await.0).await;
        let began = Instant::now();
        try_declare(cluster, 0, "q0").await.expect("what is here is declared already");
        assert!(began.elapsed() < Duration::from_secs(1), "without asking anybody");
        let (_, reason) = is_ready(cluster, 0).await;
        assert!(reason.contains("most nodes"), "{reason}");
        // What this node cannot route may have a queue that it does not know of.
        let unknown = cluster.connect(0).await.confirm_channel().await;
        assert!(unknown.publish("", "nobody", "m").await.is_nack(), "it is not current");
        assert!(local.publish_persistent("", "q0", "old").await.is_ack());
        cluster.start_some(&[2]);
        wait_for(WAIT, "ready again", async || is_ready(cluster, 0).await.0).await;
        wait_for(WAIT, "a declare", async || try_declare(cluster, 0, "new").await.is_ok()).await;
        cluster.start_some(&[1]);
        prove_furnished(cluster).await;
        changing = cluster.connect(1).await.channel().await;
        changing.look("new").await.expect("declared by two of three");
    });
}

#[test]
fn a_node_that_was_away_catches_up() {
    with_cluster(async |cluster| {
        furnish(cluster).await;
        cluster.end(2, libc::SIGKILL);
        wait_for(NOTICE, "a declare", async || try_declare(cluster, 0, "first").await.is_ok()).await;
        let channel = cluster.connect(0).await.channel().await;
        for number in 0..500 {
            channel.durable_queue(&format!("away-{number}")).await;
            channel.bind(&format!("away-{number}"), "amq.direct", "k").await;
        }
        let deleted = cluster.connect(1).await.channel().await;
        deleted.queue_delete("q1".into(), Default::default()).await.expect("delete-ok");
        let began = Instant::now();
        cluster.start_some(&[2]);
        let back = cluster.connect(2).await;
        for number in 0..500 {
            back.channel().await.look(&format!("away-{number}")).await.expect("declared while it was away");
        }
        assert_eq!(refusal(back.channel().await.look("q1").await).0, 404);
        assert!(began.elapsed() < WAIT, "{:?}", began.elapsed());
        let sent = back.confirm_channel().await.publish_mandatory("amq.direct", "k", "m").await;
        assert!(sent.is_ack() && sent.take_message().is_none());
        assert_eq!(back.channel().await.bodies("q2").await, ["old"]);
    });
}
