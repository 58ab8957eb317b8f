//! Changes made on any node.

use crate::cluster::{Cluster, until};
use crate::node::declare;
use broker::catalog::{Command, Outcome};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use types::{FieldTable, ReplyCode};

fn created(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Queue { created, .. } => created,
        other => panic!("not a queue: {other:?}"),
    }
}

#[tokio::test]
async fn a_queue_declared_on_any_node_is_on_all_of_them_when_that_is_answered() {
    let cluster = Cluster::three().await;
    for (place, node) in cluster.nodes.iter().enumerate() {
        let name = format!("q{place}");
        assert!(created(node.declare(&name).await.unwrap()));
        for other in &cluster.nodes {
            assert!(other.target.has_queue(&name), "node {} has no {name}", other.id);
        }
        assert!(!created(cluster.nodes[(place + 1) % 3].declare(&name).await.unwrap()));
    }
    cluster.same().await;
    cluster.stop();
}

#[tokio::test]
async fn a_declare_takes_a_few_round_trips_and_not_a_lease() {
    let cluster = Cluster::three().await;
    let node = &cluster.nodes[cluster.follower()];
    let start = Instant::now();
    for number in 0..50 {
        node.declare(&format!("q{number}")).await.unwrap();
    }
    let each = start.elapsed() / 50;
    assert!(each < Duration::from_millis(100), "a declare takes {each:?}");
    cluster.stop();
}

#[tokio::test]
async fn of_conflicting_declares_one_wins() {
    let cluster = Cluster::three().await;
    for round in 0..5 {
        let name = format!("q{round}");
        let durable = declare(&name);
        let Command::DeclareQueue { vhost, name, user, connection, .. } = durable.clone() else { panic!() };
        let other = Command::DeclareQueue {
            vhost,
            name,
            user,
            connection,
            server_named: false,
            durable: false,
            auto_delete: true,
            exclusive: false,
            arguments: FieldTable::new(),
        };
        let (one, two) = tokio::join!(cluster.nodes[1].change(durable), cluster.nodes[2].change(other));
        let refused = match (one, two) {
            (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
            both => panic!("not one of them won: {both:?}"),
        };
        assert_eq!(refused.code, ReplyCode::PreconditionFailed);
    }
    cluster.same().await;
    cluster.stop();
}

#[tokio::test]
async fn errors_come_back_as_the_catalog_says_them() {
    let cluster = Cluster::three().await;
    let missing = Command::DeleteVhost { name: "missing".into() };
    let alone = cluster.nodes[0].target.catalog().apply(missing.clone(), &mut Vec::new()).unwrap_err();
    for node in &cluster.nodes {
        assert_eq!(node.change(missing.clone()).await.unwrap_err(), alone);
    }
    cluster.stop();
}

#[tokio::test]
async fn many_changes_at_once_are_each_made_once() {
    let cluster = Cluster::three().await;
    let tasks: Vec<_> = (0..300)
        .map(|number| {
            let store = cluster.nodes[number % 3].store.clone();
            tokio::spawn(async move { store.propose(declare(&format!("q{number}"))).await })
        })
        .collect();
    for task in tasks {
        assert!(created(task.await.unwrap().unwrap()));
    }
    for node in &cluster.nodes {
        until("all is applied", || node.target.queue_count() == 300).await;
        assert_eq!(node.target.applied(), 300);
    }
    cluster.same().await;
    cluster.stop();
}

#[tokio::test]
async fn each_node_learns_once_that_it_has_caught_up() {
    let cluster = Cluster::three().await;
    for node in &cluster.nodes {
        until("it has caught up", || node.target.caught_up.load(Ordering::SeqCst) == 1).await;
        node.group.catch_up().await.unwrap();
    }
    cluster.stop();
}

#[tokio::test]
async fn on_slow_ways_changes_take_longer_and_leaders_stay() {
    let cluster = Cluster::three().await;
    let leader = cluster.leader();
    let term = cluster.nodes[leader].group.status().unwrap().term;
    cluster.net.set_delay(Duration::from_millis(20));
    let start = Instant::now();
    for number in 0..5 {
        cluster.nodes[cluster.follower()].declare(&format!("q{number}")).await.unwrap();
    }
    let each = start.elapsed() / 5;
    assert!(
        each >= Duration::from_millis(40) && each < Duration::from_millis(400),
        "a declare takes {each:?}"
    );
    assert_eq!(cluster.nodes[leader].group.status().unwrap().term, term);
    cluster.stop();
}

fn describe(bytes: usize, number: usize) -> Command {
    let description = format!("{number}{}", "x".repeat(bytes));
    Command::AddVhost { name: "/".into(), description, tags: Vec::new(), default_queue_type: None }
}

#[tokio::test]
async fn large_changes_make_the_log_shorter_before_their_number_does() {
    let cluster = Cluster::three().await;
    for number in 0..26 {
        cluster.nodes[number % 3].change(describe(700_000, number)).await.unwrap();
    }
    cluster.nodes[0].change(describe(3_000_000, 40)).await.unwrap();
    for node in &cluster.nodes {
        let bytes = || node.group.status().unwrap().log_bytes;
        until("the log is short again", || bytes() < 18 << 20).await;
    }
    cluster.same().await;
    let refused = cluster.nodes[0].change(describe(9 << 20, 41)).await.unwrap_err();
    assert_eq!(refused.code, ReplyCode::PreconditionFailed);
    assert!(refused.explanation.contains("8388608"), "{refused}");
    cluster.stop();
}
