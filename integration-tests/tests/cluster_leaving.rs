//! Nodes that are taken out: one that leaves, one that is dead and is forgotten.

use integration_tests::{Broker, Cluster, NOTICE, WAIT, Waiting, refusal, wait_for, with_cluster};
use std::path::Path;

/// A durable queue `qN` on each node; all but the last have a message.
async fn furnish(cluster: &Cluster) {
    for node in 0..3 {
        let channel = cluster.connect(node).await.confirm_channel().await;
        let name = format!("q{node}");
        channel.durable_queue(&name).await;
        if node < 2 {
            assert!(channel.publish_persistent("", &name, "m").await.is_ack());
        }
    }
}

async fn leave(cluster: &Cluster, node: usize, force: bool) -> (u16, String) {
    cluster.node(node).http("POST", &format!("/api/cluster/leave?force={force}"), "").await
}

async fn forget(cluster: &Cluster, asked: usize, name: &str, force: bool) -> (u16, String) {
    let path = format!("/api/cluster/nodes/{name}?force={force}");
    cluster.node(asked).http("DELETE", &path, "").await
}

/// What the cluster says of itself at a node.
async fn status(cluster: &Cluster, node: usize) -> serde_json::Value {
    let (code, body) = cluster.node(node).http("GET", "/api/cluster/status", "").await;
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// The names of the cluster's nodes, as a node has them.
async fn names(cluster: &Cluster, node: usize) -> Vec<String> {
    let status = status(cluster, node).await;
    let nodes = status["nodes"].as_array().expect("nodes").iter();
    nodes.map(|node| node["name"].as_str().expect("a name").to_owned()).collect()
}

/// Whether a node counts as down at another.
async fn is_down(cluster: &Cluster, asked: usize, name: &str) -> bool {
    let status = status(cluster, asked).await;
    let nodes = status["nodes"].as_array().expect("nodes");
    nodes.iter().any(|node| node["name"] == name && node["state"] == "down")
}

/// The two nodes are a cluster of two that works.
async fn prove_two_go_on(cluster: &Cluster, two: [usize; 2]) {
    for node in two {
        let expected = two.map(|at| cluster.name(at).to_owned());
        wait_for(WAIT, "a cluster of two", async || names(cluster, node).await == expected).await;
    }
    let channel = cluster.connect(two[0]).await.confirm_channel().await;
    channel.durable_queue("after").await;
    let other = cluster.connect(two[1]).await.confirm_channel().await;
    assert!(other.publish_persistent("", "after", "m").await.is_ack());
    assert_eq!(other.bodies("after").await, ["m"]);
    other.queue_delete("after".into(), Default::default()).await.expect("delete-ok");
}

/// A directory is refused for good, and an empty one joins in its place.
async fn prove_starts_only_empty(cluster: &mut Cluster, at: usize, flags: &[&str]) {
    let flags: Vec<String> =
        cluster.flags_of(at).into_iter().chain(flags.iter().map(|f| (*f).to_owned())).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let dir: &Path = cluster.data_dir(at);
    for _ in 0..2 {
        let text = Broker::refusal_in(dir, &flags);
        assert!(text.contains("has left its cluster") && text.contains("empty data directory"), "{text}");
    }
    cluster.wipe(at);
    cluster.start_some(&[at]);
    let channel = cluster.connect(at).await.confirm_channel().await;
    channel.durable_queue("newcomer").await;
    assert!(channel.publish_persistent("", "newcomer", "m").await.is_ack());
    assert_eq!(cluster.connect((at + 1) % 3).await.channel().await.bodies("newcomer").await, ["m"]);
}

#[test]
fn a_node_with_messages_leaves_only_when_forced_and_its_directory_is_not_used_again() {
    with_cluster(async |cluster| {
        furnish(cluster).await;
        let (code, why) = leave(cluster, 1, false).await;
        assert_eq!(code, 409, "{why}");
        assert!(why.contains("'q1' in vhost '/'") && why.contains("would be lost"), "{why}");
        assert!(!why.contains("q0") && !why.contains("q2"), "{why}");
        // Nothing has happened.
        assert_eq!(names(cluster, 0).await, ["n1", "n2", "n3"]);
        let reader = cluster.connect(0).await.channel().await;
        assert_eq!(reader.depth("q1").await, 1);
        let (code, why) = leave(cluster, 1, true).await;
        assert_eq!(code, 204, "{why}");
        let (_, log) = cluster.ended(1);
        assert!(log.contains("was taken out of its cluster"), "{log}");
        prove_two_go_on(cluster, [0, 2]).await;
        assert_eq!(refusal(cluster.connect(0).await.channel().await.look("q1").await).0, 404);
        assert_eq!(cluster.connect(2).await.channel().await.bodies("q0").await, ["m"]);
        prove_starts_only_empty(cluster, 1, &[]).await;
        assert_eq!(
            refusal(cluster.connect(1).await.channel().await.look("q1").await).0,
            404,
            "and without it"
        );
    });
}

#[test]
fn a_node_without_messages_leaves_at_once() {
    with_cluster(async |cluster| {
        furnish(cluster).await;
        let (code, why) = leave(cluster, 2, false).await;
        assert_eq!(code, 204, "{why}");
        cluster.ended(2);
        prove_two_go_on(cluster, [0, 1]).await;
    });
}

#[test]
fn the_node_that_leads_may_leave() {
    with_cluster(async |cluster| {
        let leader = status(cluster, 0).await["catalog"]["leader"].as_str().expect("a leader").to_owned();
        let at = (0..3).find(|at| cluster.name(*at) == leader).expect("a node");
        let (code, why) = leave(cluster, at, false).await;
        assert_eq!(code, 204, "{why}");
        cluster.ended(at);
        let others: Vec<usize> = (0..3).filter(|other| *other != at).collect();
        prove_two_go_on(cluster, [others[0], others[1]]).await;
    });
}

#[test]
fn a_dead_node_is_forgotten_only_when_forced_and_a_running_one_never() {
    with_cluster(async |cluster| {
        furnish(cluster).await;
        for force in [false, true] {
            let (code, why) = forget(cluster, 0, "n2", force).await;
            assert!(code == 409 && why.contains("is running"), "{code} {why}");
            let (code, why) = forget(cluster, 1, "n2", force).await;
            assert!(code == 409 && why.contains("use leave"), "{code} {why}");
            assert_eq!(forget(cluster, 0, "nobody", force).await.0, 404);
        }
        cluster.end(1, libc::SIGKILL);
        wait_for(NOTICE, "the loss", async || is_down(cluster, 0, "n2").await).await;
        let (code, why) = forget(cluster, 0, "n2", false).await;
        assert!(code == 409 && why.contains("'q1' in vhost '/'") && !why.contains("q0"), "{code} {why}");
        assert_eq!(names(cluster, 0).await, ["n1", "n2", "n3"]);
        let (code, why) = forget(cluster, 0, "n2", true).await;
        assert_eq!(code, 204, "{why}");
        prove_two_go_on(cluster, [0, 2]).await;
        let (_, why) = refusal(cluster.connect(2).await.channel().await.look("q1").await);
        assert!(why.contains("no queue"), "it is gone, not away: {why}");
        // The name is free: a new node has it.
        cluster.wipe(1);
        cluster.start_some(&[1]);
        cluster.connect(1).await.channel().await.look("q0").await.expect("it is a member");
    });
}

#[test]
fn a_node_that_was_forgotten_while_it_was_down_is_told_and_ends() {
    with_cluster(async |cluster| {
        furnish(cluster).await;
        cluster.end(1, libc::SIGTERM);
        wait_for(NOTICE, "the loss", async || is_down(cluster, 0, "n2").await).await;
        let (code, why) = forget(cluster, 0, "n2", true).await;
        assert_eq!(code, 204, "{why}");
        let mut back = Waiting::start(cluster.command_with(1, &[]));
        assert_eq!(back.code().await, Some(1), "{}", back.log());
        let log = back.log();
        assert!(log.contains("was taken out") && log.contains("empty data directory"), "{log}");
        assert!(!log.contains(" started: node "), "it serves nobody:\n{log}");
        let told = [0, 2].iter().any(|at| {
            cluster.node(*at).log().contains("node 'n2' (")
                && cluster.node(*at).log().contains("was taken out of this cluster")
        });
        assert!(told, "a member says so too");
        prove_two_go_on(cluster, [0, 2]).await;
        prove_starts_only_empty(cluster, 1, &[]).await;
    });
}

#[test]
fn a_node_that_was_forgotten_while_it_was_paused_is_told_and_ends() {
    with_cluster(async |cluster| {
        furnish(cluster).await;
        cluster.node(1).signal(libc::SIGSTOP);
        wait_for(WAIT, "the loss", async || is_down(cluster, 0, "n2").await).await;
        let (code, why) = forget(cluster, 0, "n2", true).await;
        assert_eq!(code, 204, "{why}");
        cluster.node(1).signal(libc::SIGCONT);
        let (code, log) = cluster.ended(1);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("was taken out of its cluster"), "{log}");
        prove_two_go_on(cluster, [0, 2]).await;
    });
}

#[test]
fn a_member_in_the_minority_takes_nobody_for_forgotten() {
    with_cluster(async |cluster| {
        furnish(cluster).await;
        // None of the two that are left can be sure of anything alone, and each doubts itself.
        (0..3).for_each(|node| cluster.end(node, libc::SIGKILL));
        cluster.start_some(&[1]);
        assert_eq!(cluster.connect(1).await.channel().await.bodies("q1").await, ["m"]);
        cluster.start_some(&[0]);
        prove_two_go_on_as_three(cluster).await;
    });
}

/// Two of three work, and the third belongs to them.
async fn prove_two_go_on_as_three(cluster: &Cluster) {
    for node in [0, 1] {
        assert_eq!(names(cluster, node).await, ["n1", "n2", "n3"]);
    }
    let channel = cluster.connect(0).await.channel().await;
    channel.durable_queue("as three").await;
    cluster.connect(1).await.channel().await.look("as three").await.expect("both have it");
}
