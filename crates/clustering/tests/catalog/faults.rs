//! Leaders that die, links that are cut, nodes that were away.

use crate::cluster::{Cluster, until, within};
use crate::node::{Making, declare};
use broker::catalog::Outcome;
use clustering::catalog::{Compaction, kind};
use std::time::{Duration, Instant};
use types::ReplyCode;

#[tokio::test]
async fn when_the_leader_dies_another_one_takes_over_and_nothing_is_lost() {
    let mut cluster = Cluster::three().await;
    for number in 0..20 {
        cluster.nodes[number % 3].declare(&format!("q{number}")).await.unwrap();
    }
    let leader = cluster.leader();
    let other = cluster.nodes[(leader + 1) % 3].store.clone();
    // Under way while the leader dies.
    let under_way = tokio::spawn(async move {
        for number in 20..40 {
            other.propose(declare(&format!("q{number}"))).await.unwrap();
        }
    });
    let id = cluster.kill(leader);
    let start = Instant::now();
    under_way.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(8), "changes stood still for {:?}", start.elapsed());
    for node in &cluster.nodes {
        until("all queues are there", || node.target.queue_count() == 40).await;
    }
    cluster.revive(id).await;
    cluster.settled().await;
    cluster.same().await;
    cluster.stop();
}

#[tokio::test]
async fn a_leader_is_missed_within_the_time_of_an_election() {
    let mut cluster = Cluster::three().await;
    let leader = cluster.leader();
    let gone = cluster.kill(leader);
    let took = until("there is another leader", || {
        cluster.nodes.iter().all(|node| node.leader().is_some_and(|leader| leader != gone))
    })
    .await;
    assert!(took < Duration::from_millis(2_500), "it took {took:?}");
    cluster.stop();
}

#[tokio::test]
async fn a_minority_says_so_within_three_seconds_and_the_others_go_on() {
    let cluster = Cluster::three().await;
    let away = cluster.leader();
    let rest: Vec<u64> =
        cluster.nodes.iter().enumerate().filter(|(at, _)| *at != away).map(|(_, node)| node.id).collect();
    cluster.net.split(&[cluster.nodes[away].id], &rest);
    let start = Instant::now();
    let (alone, other) =
        tokio::join!(cluster.nodes[away].declare("alone"), cluster.nodes[(away + 1) % 3].declare("other"));
    let error = alone.unwrap_err();
    assert_eq!(error.code, ReplyCode::InternalError);
    let names: Vec<String> = rest.iter().map(|id| format!("rabbit@n{id}")).collect();
    assert!(error.explanation.contains("no majority"), "{error}");
    assert!(names.iter().all(|name| error.explanation.contains(name)), "{error}");
    assert!(matches!(other, Ok(Outcome::Queue { created: true, .. })), "{other:?}");
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    until("the minority has no lease", || !cluster.nodes[away].group.lease_held()).await;
    // Each new try fails within about three seconds too.
    let start = Instant::now();
    cluster.nodes[away].declare("again").await.unwrap_err();
    assert!(start.elapsed() < Duration::from_millis(3_800), "{:?}", start.elapsed());
    assert!(!cluster.nodes[away].group.status().unwrap().has_majority);

    cluster.net.heal();
    cluster.settled().await;
    cluster.same().await;
    cluster.nodes[away].declare("back").await.unwrap();
    assert!(cluster.nodes.iter().all(|node| node.target.has_queue("back")));
    cluster.stop();
}

#[tokio::test]
async fn a_follower_alone_says_whom_it_waits_for() {
    let cluster = Cluster::three().await;
    let away = cluster.follower();
    let node = &cluster.nodes[away];
    let rest: Vec<u64> = cluster.nodes.iter().map(|node| node.id).filter(|id| *id != node.id).collect();
    cluster.net.split(&[node.id], &rest);
    let start = Instant::now();
    let error = node.declare("q").await.unwrap_err();
    assert!(start.elapsed() < Duration::from_millis(3_800), "{:?}", start.elapsed());
    assert!(rest.iter().all(|id| error.explanation.contains(&format!("rabbit@n{id}"))), "{error}");
    cluster.stop();
}

#[tokio::test]
async fn what_is_lost_one_way_does_not_stop_the_others() {
    for leader_is_deaf in [false, true] {
        let cluster = Cluster::three().await;
        let (leader, odd) = (cluster.leader(), cluster.follower());
        let other = 3 - leader - odd;
        let (one, two) = (cluster.nodes[leader].id, cluster.nodes[odd].id);
        let (from, to) = if leader_is_deaf { (two, one) } else { (one, two) };
        cluster.net.lose(from, to);
        for number in 0..3 {
            cluster.nodes[other].declare(&format!("q{number}")).await.unwrap();
        }
        assert!(cluster.nodes[other].group.lease_held());
        cluster.net.heal();
        cluster.settled().await;
        cluster.same().await;
        cluster.nodes[odd].declare("after").await.unwrap();
        cluster.stop();
    }
}

#[tokio::test]
async fn changes_begun_in_a_short_partition_end_well() {
    let cluster = Cluster::three().await;
    let away = cluster.follower();
    let rest: Vec<u64> =
        cluster.nodes.iter().enumerate().filter(|(at, _)| *at != away).map(|(_, node)| node.id).collect();
    cluster.net.split(&[cluster.nodes[away].id], &rest);
    let store = cluster.nodes[away].store.clone();
    let change = tokio::spawn(async move { store.propose(declare("q")).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!change.is_finished());
    cluster.net.heal();
    change.await.unwrap().unwrap();
    assert!(cluster.nodes.iter().all(|node| node.target.has_queue("q")));
    cluster.stop();
}

#[tokio::test]
async fn a_proposal_whose_answer_is_lost_is_applied_once() {
    let cluster = Cluster::three().await;
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let (from, to) = (cluster.nodes[leader].id, cluster.nodes[follower].id);
    let before = cluster.nodes[leader].target.applied();
    // The follower is heard, and hears nothing: what it proposes is applied, and proposed again later.
    cluster.net.lose(from, to);
    let store = cluster.nodes[follower].store.clone();
    let change = tokio::spawn(async move { store.propose(declare("q")).await });
    until("it is applied at the leader", || cluster.nodes[leader].target.has_queue("q")).await;
    let sent = cluster.net.count(kind::PROPOSE);
    cluster.net.heal();
    match change.await.unwrap().unwrap() {
        Outcome::Queue { created, queue } => assert!(created && queue.name.as_str() == "q"),
        other => panic!("{other:?}"),
    }
    assert!(sent >= 1);
    cluster.settled().await;
    for node in &cluster.nodes {
        until("it is applied", || node.target.has_queue("q")).await;
    }
    assert_eq!(cluster.nodes[leader].target.applied(), before + 1);
    cluster.same().await;
    cluster.stop();
}

async fn away_for_many_changes(making: Making, by_snapshot: bool) {
    let mut cluster = Cluster::of(3, making).await;
    let id = cluster.kill(cluster.follower());
    let stores: Vec<_> = cluster.nodes.iter().map(|node| node.store.clone()).collect();
    let tasks: Vec<_> = (0..50)
        .map(|task| {
            let store = stores[task % 2].clone();
            tokio::spawn(async move {
                for number in 0..200 {
                    store.propose(declare(&format!("q{task}.{number}"))).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let start = Instant::now();
    let at = cluster.revive(id).await;
    within(Duration::from_secs(5), "it has caught up", || cluster.nodes[at].target.queue_count() == 10_000)
        .await;
    println!("10,000 changes are caught up with in {:?}", start.elapsed());
    let installed = cluster.nodes[at].target.installed.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(installed > 0, by_snapshot, "{installed} snapshots were installed");
    cluster.settled().await;
    cluster.same().await;
    cluster.stop();
}

#[tokio::test]
async fn a_node_that_was_away_for_ten_thousand_changes_catches_up_by_log() {
    away_for_many_changes(Making::default(), false).await;
}

#[tokio::test]
async fn a_node_that_was_away_for_ten_thousand_changes_catches_up_by_snapshot() {
    let compaction = Compaction { entries: 20, kept_entries: 5 };
    away_for_many_changes(Making { compaction, ..Making::default() }, true).await;
}
