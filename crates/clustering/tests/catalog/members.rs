//! Nodes that come and go.

use crate::cluster::{CLUSTER, Cluster, until};
use crate::net::Net;
use crate::node::{Dir, Making, Node, declare};
use clustering::identity::ClusterId;
use std::time::{Duration, Instant};
use types::NodeId;

#[tokio::test]
async fn a_node_alone_leads_at_once() {
    let (net, dir, making) = (Net::default(), Dir::new("catalog"), Making::default());
    let node = Node::start(1, dir.path(), &net, &making).await;
    assert_eq!(node.group.cluster(), None);
    let start = Instant::now();
    node.group.form(CLUSTER).await.unwrap();
    node.declare("q").await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(700), "{:?}", start.elapsed());
    node.group.form(CLUSTER).await.unwrap();
    assert_eq!(node.group.cluster(), Some(CLUSTER));
    let refused = node.group.form(ClusterId(9)).await.unwrap_err();
    assert!(refused.contains("already"), "{refused}");
    node.stop();

    let start = Instant::now();
    let node = Node::start(1, dir.path(), &net, &making).await;
    assert!(node.target.has_queue("q"), "what is known to be committed is there from the start");
    node.declare("r").await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(1_000), "{:?}", start.elapsed());
    node.stop();
}

#[tokio::test]
async fn the_first_nodes_catalog_is_the_clusters() {
    let (net, making) = (Net::default(), Making::default());
    let dirs = [Dir::new("catalog"), Dir::new("catalog")];
    let one = Node::start(1, dirs[0].path(), &net, &making).await;
    one.target.apply_here(declare("before"));
    one.group.form(CLUSTER).await.unwrap();
    let two = Node::start(2, dirs[1].path(), &net, &making).await;
    two.group.join(CLUSTER).await.unwrap();
    two.group.join(CLUSTER).await.unwrap();
    one.group.add_node(NodeId(2)).await.unwrap();
    one.group.add_node(NodeId(2)).await.unwrap();
    until("the second node has the first one's catalog", || two.target.has_queue("before")).await;
    two.declare("after").await.unwrap();
    assert!(one.target.has_queue("after") && two.target.has_queue("after"));
    let status = one.group.status().unwrap();
    assert_eq!(status.members.iter().filter(|member| member.votes).count(), 1, "an odd number votes");
    one.stop();
    two.stop();
}

#[tokio::test]
async fn a_node_with_queues_of_its_own_does_not_lose_them_by_joining() {
    let (net, dir, making) = (Net::default(), Dir::new("catalog"), Making::default());
    let node = Node::start(1, dir.path(), &net, &making).await;
    node.target.apply_here(declare("mine"));
    let refused = node.group.join(CLUSTER).await.unwrap_err();
    assert!(refused.contains("1 queues of its own"), "{refused}");
    assert_eq!(node.group.cluster(), None);
    node.stop();
}

#[tokio::test]
async fn seven_of_eight_nodes_vote_and_nodes_go_one_after_the_other() {
    let mut cluster = Cluster::of(5, Making::default()).await;
    for number in 0..10 {
        cluster.nodes[number % 5].declare(&format!("q{number}")).await.unwrap();
    }
    // Removed by another node than the leader, some of them dead, the leader itself last.
    for left in [4, 3, 2] {
        let victim = cluster.follower();
        let id = cluster.nodes[victim].id;
        if left % 2 == 0 {
            cluster.kill(victim);
        }
        let asker =
            cluster.nodes.iter().position(|node| Some(node.id) != cluster.nodes[cluster.leader()].leader());
        cluster.nodes[asker.unwrap_or(0)].group.remove_node(NodeId(id)).await.unwrap();
        if left % 2 != 0 {
            cluster.kill(cluster.nodes.iter().position(|node| node.id == id).unwrap());
        }
        cluster.settled().await;
        assert_eq!(cluster.nodes.len(), left);
        cluster.nodes[0].declare(&format!("left{left}")).await.unwrap();
    }
    let leader = cluster.leader();
    let id = cluster.nodes[leader].id;
    cluster.nodes[1 - leader].group.remove_node(NodeId(id)).await.unwrap();
    cluster.nodes[1 - leader].group.remove_node(NodeId(id)).await.unwrap();
    cluster.kill(leader);
    cluster.settled().await;
    cluster.nodes[0].declare("last").await.unwrap();
    let refused = cluster.nodes[0].group.remove_node(NodeId(cluster.nodes[0].id)).await.unwrap_err();
    assert!(refused.contains("last node"), "{refused}");
    assert_eq!(cluster.nodes[0].target.queue_count(), 14);
    cluster.stop();
}

#[tokio::test]
async fn a_message_of_another_cluster_is_refused() {
    let cluster = Cluster::three().await;
    let mut body = vec![1];
    body.extend_from_slice(&7u128.to_le_bytes());
    body.push(0);
    for kind in 1..=8 {
        let refused = cluster.nodes[0].group.handle(NodeId(2), kind, body.clone().into()).await.unwrap_err();
        assert!(refused.contains("another cluster"), "{refused}");
        let refused = cluster.nodes[0].group.handle(NodeId(2), kind, vec![2; 30].into()).await.unwrap_err();
        assert!(refused.contains("format 2"), "{refused}");
    }
    cluster.stop();
}

#[tokio::test]
async fn a_vote_on_who_forms_a_cluster_is_cast_once() {
    use clustering::catalog::Ballot;
    let (net, dir, making) = (Net::default(), Dir::new("catalog"), Making::default());
    let node = Node::start(1, dir.path(), &net, &making).await;
    let first = Ballot { founder: 2, cluster: 22 };
    assert_eq!(node.group.cast_ballot(first).await.unwrap(), first);
    node.stop();
    let node = Node::start(1, dir.path(), &net, &making).await;
    assert_eq!(node.group.cast_ballot(Ballot { founder: 3, cluster: 33 }).await.unwrap(), first);
    node.stop();
}
