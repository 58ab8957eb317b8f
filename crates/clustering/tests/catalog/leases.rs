//! An answer waits for every node that may be serving clients, and for no other.

use crate::cluster::{Cluster, until};
use crate::node::declare;
use std::time::{Duration, Instant};
use types::NodeId;

#[tokio::test]
async fn a_node_that_does_not_apply_holds_answers_up_until_its_lease_is_over() {
    let cluster = Cluster::three().await;
    let (leader, slow) = (cluster.leader(), cluster.follower());
    cluster.nodes[slow].target.shut();
    let start = Instant::now();
    let store = cluster.nodes[leader].store.clone();
    let change = tokio::spawn(async move { store.propose(declare("q")).await });
    until("it is applied at the leader", || cluster.nodes[leader].target.has_queue("q")).await;
    // The slow node goes on renewing its lease, but what it is granted now does not hold.
    change.await.unwrap().unwrap();
    let took = start.elapsed();
    assert!(!cluster.nodes[slow].target.has_queue("q"));
    assert!(!cluster.nodes[slow].group.lease_held(), "answered while a node without it holds a lease");
    assert!(took > Duration::from_millis(800) && took < Duration::from_millis(3_500), "it took {took:?}");
    cluster.nodes[slow].target.open();
    until("the slow node has it", || cluster.nodes[slow].target.has_queue("q")).await;
    until("and a lease", || cluster.nodes[slow].group.lease_held()).await;
    cluster.stop();
}

#[tokio::test]
async fn a_node_that_is_cut_off_holds_answers_up_until_its_lease_is_over() {
    let cluster = Cluster::three().await;
    let (leader, away) = (cluster.leader(), cluster.follower());
    let rest: Vec<u64> =
        cluster.nodes.iter().map(|node| node.id).filter(|id| *id != cluster.nodes[away].id).collect();
    cluster.net.split(&[cluster.nodes[away].id], &rest);
    cluster.nodes[leader].declare("q").await.unwrap();
    assert!(!cluster.nodes[away].target.has_queue("q"));
    assert!(!cluster.nodes[away].group.lease_held(), "answered while a node without it holds a lease");
    let start = Instant::now();
    cluster.nodes[leader].declare("r").await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(700), "its lease is over: {:?}", start.elapsed());
    cluster.stop();
}

#[tokio::test]
async fn a_lease_ends_by_a_clock_that_goes_on_during_suspend() {
    let cluster = Cluster::three().await;
    let node = &cluster.nodes[cluster.follower()];
    let away: Vec<u64> = cluster.nodes.iter().map(|node| node.id).filter(|id| *id != node.id).collect();
    cluster.net.split(&[node.id], &away);
    assert!(node.group.lease_held());
    cluster.making.clock.advance(Duration::from_millis(1_600));
    assert!(!node.group.lease_held());
    cluster.stop();
}

#[tokio::test]
async fn the_leader_knows_when_another_node_can_have_no_lease_any_more() {
    let mut cluster = Cluster::three().await;
    // Every node may have one of a leader before.
    let id = cluster.kill(cluster.follower());
    let leader = &cluster.nodes[cluster.leader()];
    assert!(leader.group.may_hold_lease(NodeId(id)));
    cluster.making.clock.advance(Duration::from_millis(1_000));
    until("it can have none", || !leader.group.may_hold_lease(NodeId(id))).await;
    let follower = &cluster.nodes[cluster.follower()];
    assert!(follower.group.may_hold_lease(NodeId(id)), "only the leader knows");
    cluster.stop();
}

#[tokio::test]
async fn a_leader_without_a_majority_grants_nothing() {
    let cluster = Cluster::of_five().await;
    let leader = cluster.leader();
    let follower = (leader + 1) % 5;
    let near = [cluster.nodes[leader].id, cluster.nodes[follower].id];
    let far: Vec<u64> = cluster.nodes.iter().map(|node| node.id).filter(|id| !near.contains(id)).collect();
    cluster.net.split(&near, &far);
    let start = Instant::now();
    until("neither has a lease", || {
        !cluster.nodes[leader].group.lease_held() && !cluster.nodes[follower].group.lease_held()
    })
    .await;
    assert!(start.elapsed() < Duration::from_millis(2_000), "{:?}", start.elapsed());
    cluster.net.heal();
    cluster.settled().await;
    cluster.stop();
}
