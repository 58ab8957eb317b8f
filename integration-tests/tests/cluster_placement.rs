//! Where queues live: by argument, by policy, by the node's default, and for good once declared.

use integration_tests::{Cluster, NOTICE, arguments, refusal, text, wait_for, with_cluster, with_cluster_of};
use lapin::types::FieldTable;

/// Ends a node and tells which of these durable queues had their home there.
async fn lost_with(cluster: &mut Cluster, node: usize, queues: &[String]) -> Vec<String> {
    let survivor = cluster.connect((node + 1) % 3).await;
    let name = cluster.name(node).to_owned();
    let mut all = Vec::new();
    cluster.end(node, libc::SIGKILL);
    let watcher = cluster.connect((node + 1) % 3).await.channel().await;
    watcher.sync().await;
    for queue in queues {
        let looked = async || survivor.channel().await.look(queue).await;
        // A link that has just ended is noticed with the first question.
        if let Err(error) = looked().await {
            let expected = format!(
                "NOT_FOUND - home node '{name}' of durable queue '{queue}' in vhost '/' is down or inaccessible"
            );
            assert_eq!(refusal::<()>(Err(error)), (404, expected));
            all.push(queue.clone());
        }
    }
    all
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("q{number}")).collect()
}

#[test]
fn a_queue_lives_where_its_client_is() {
    with_cluster(async |cluster| {
        for node in 0..3 {
            cluster.connect(node).await.channel().await.durable_queue(&format!("q{node}")).await;
        }
        assert_eq!(lost_with(cluster, 1, &names(3)).await, ["q1"]);
    });
}

#[test]
fn declared_again_elsewhere_it_stays_where_it_is() {
    with_cluster(async |cluster| {
        for node in [1, 0, 2] {
            let random = arguments([("x-queue-leader-locator", text("client-local"))]);
            cluster.connect(node).await.channel().await.durable_queue_with("q0", random).await;
        }
        assert_eq!(lost_with(cluster, 1, &names(1)).await, ["q0"]);
    });
}

#[test]
fn balanced_queues_are_shared_out() {
    for word in [("x-queue-leader-locator", "balanced"), ("x-queue-master-locator", "min-masters")] {
        with_cluster(async |cluster| {
            let channel = cluster.connect(0).await.channel().await;
            for name in names(9) {
                channel.durable_queue_with(&name, arguments([(word.0, text(word.1))])).await;
            }
            assert_eq!(lost_with(cluster, 2, &names(9)).await.len(), 3, "{word:?}");
        });
    }
}

#[test]
fn a_policy_says_where_new_queues_live() {
    with_cluster(async |cluster| {
        let body = r#"{"pattern":"^q","definition":{"queue-master-locator":"random"},"apply-to":"queues"}"#;
        cluster.node(1).http_put("/api/policies/%2f/where", body).await;
        let channel = cluster.connect(0).await.channel().await;
        for name in names(60) {
            channel.durable_queue(&name).await;
        }
        channel.durable_queue("local").await;
        let mut all = names(60);
        all.push("local".to_owned());
        let lost = lost_with(cluster, 1, &all).await;
        assert!((4..=45).contains(&lost.len()), "{} of 60", lost.len());
        assert!(!lost.contains(&"local".to_owned()));
    });
}

#[test]
fn the_nodes_setting_is_the_default() {
    with_cluster_of(3, &["--queue-leader-locator", "balanced"], async |cluster| {
        let channel = cluster.connect(0).await.channel().await;
        for name in names(6) {
            channel.durable_queue(&name).await;
        }
        assert_eq!(lost_with(cluster, 2, &names(6)).await.len(), 2);
    });
}

#[test]
fn no_new_queue_gets_a_home_that_is_down() {
    with_cluster(async |cluster| {
        cluster.end(2, libc::SIGKILL);
        let client = cluster.connect(0).await;
        let channel = client.confirm_channel().await;
        wait_for(NOTICE, "a declare after the loss", async || {
            channel.declare("first", Default::default(), FieldTable::default()).await.is_ok()
        })
        .await;
        for name in names(12) {
            let fields = arguments([("x-queue-leader-locator", text("random"))]);
            channel.durable_queue_with(&name, fields).await;
            assert!(channel.publish_persistent("", &name, "m").await.is_ack(), "{name}");
        }
    });
}
