//! A cluster that has lost most of its nodes for ever goes on from one that is left.

use integration_tests::{Broker, Cluster, WAIT, Waiting, refusal, wait_for, with_cluster};

/// A durable queue with a binding and a message on each node, and other definitions.
async fn furnish(cluster: &Cluster) {
    for node in 0..3 {
        let channel = cluster.connect(node).await.confirm_channel().await;
        let name = format!("q{node}");
        channel.durable_queue(&name).await;
        channel.bind(&name, "amq.topic", &format!("key.{node}")).await;
        assert!(channel.publish_persistent("", &name, "old").await.is_ack());
    }
    let node = cluster.node(1);
    node.http_put("/api/vhosts/more", "{}").await;
    node.http_put("/api/users/ann", r#"{"password":"secret","tags":"monitoring"}"#).await;
    node.http_put("/api/policies/%2F/p", r#"{"pattern":"^x","definition":{"max-length":5}}"#).await;
}

/// What `furnish` made and a lost node was not home of is there.
async fn prove_kept(cluster: &Cluster, at: usize) {
    let node = cluster.node(at);
    for path in ["/api/vhosts/more", "/api/users/ann", "/api/policies/%2F/p"] {
        let (code, body) = node.http("GET", path, "").await;
        assert_eq!(code, 200, "{path}: {body}");
    }
    for gone in ["q1", "q2"] {
        let (code, why) = refusal(cluster.connect(at).await.channel().await.look(gone).await);
        assert!(code == 404 && why.contains("no queue"), "{code} {why}");
    }
}

async fn recover(cluster: &Cluster, at: usize) -> String {
    let mut recovery = Waiting::start(cluster.command_with(at, &["--recover-cluster"]));
    assert_eq!(recovery.code().await, Some(0), "{}", recovery.log());
    recovery.log()
}

#[test]
fn a_node_that_is_left_goes_on_with_what_it_has_and_others_join_empty() {
    with_cluster(async |cluster| {
        furnish(cluster).await;
        (0..3).for_each(|node| cluster.end(node, libc::SIGKILL));
        let log = recover(cluster, 0).await;
        for lost in ["q1", "q2"] {
            let named = log.lines().any(|line| line.contains("given up") && line.contains(lost));
            assert!(named, "{lost} is not named:\n{log}");
        }
        assert!(!log.lines().any(|line| line.contains("given up") && line.contains("q0")), "{log}");
        assert!(log.contains("without --recover-cluster") && !log.contains(" started: node "), "{log}");

        cluster.start_some(&[0]);
        prove_kept(cluster, 0).await;
        let channel = cluster.connect(0).await.confirm_channel().await;
        let sent = channel.publish_mandatory("amq.topic", "key.0", "new").await;
        assert!(sent.is_ack() && sent.take_message().is_none(), "the binding is there");
        channel.durable_queue("declared").await;
        assert!(channel.publish_persistent("", "declared", "m").await.is_ack());

        // The old nodes belong to a cluster that is no more.
        let old = Waiting::start(cluster.command_with(1, &[]));
        old.says("another cluster").await;
        drop(old);
        for node in [1, 2] {
            cluster.wipe(node);
        }
        cluster.start_some(&[1, 2]);
        for node in [1, 2] {
            prove_kept(cluster, node).await;
        }
        assert_eq!(cluster.connect(1).await.channel().await.bodies("q0").await, ["old", "new"]);
        assert_eq!(cluster.connect(2).await.channel().await.bodies("declared").await, ["m"]);
        // It is a cluster of three again: one of them may be missing.
        let votes = async || {
            let (_, status) = cluster.node(0).http("GET", "/api/cluster/status", "").await;
            status.matches("\"votes\":true").count() == 3
        };
        wait_for(WAIT, "three nodes vote", votes).await;
        cluster.end(0, libc::SIGKILL);
        let declares = async || {
            let channel = cluster.connect(1).await.channel().await;
            channel.declare("without", Default::default(), Default::default()).await.is_ok()
        };
        wait_for(WAIT, "a declare", declares).await;
    });
}

#[test]
fn a_recovery_survives_a_kill_and_can_be_asked_for_twice() {
    with_cluster(async |cluster| {
        furnish(cluster).await;
        (0..3).for_each(|node| cluster.end(node, libc::SIGKILL));
        recover(cluster, 0).await;
        recover(cluster, 0).await;
        cluster.start_some(&[0]);
        prove_kept(cluster, 0).await;
        cluster.end(0, libc::SIGKILL);
        cluster.start_some(&[0]);
        assert_eq!(cluster.connect(0).await.channel().await.bodies("q0").await, ["old"]);
    });
}

#[test]
fn a_node_that_is_in_no_cluster_is_not_recovered_without_a_cluster_address() {
    let dir = integration_tests::TestDir::new("recovery");
    let text = Broker::refusal_in(dir.path(), &["--recover-cluster"]);
    assert!(text.contains("recover-cluster") && text.contains("cluster-addr"), "{text}");
}
