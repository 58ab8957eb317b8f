//! Nodes are restarted again and again under load, and every message has a history that holds.

use integration_tests::{Cluster, History, WAIT, wait_for, with_cluster};
use std::net::SocketAddr;

fn addresses(cluster: &Cluster, nodes: &[usize]) -> Vec<SocketAddr> {
    nodes.iter().map(|node| cluster.node(*node).amqp).collect()
}

/// A durable queue on each node.
async fn queues(cluster: &Cluster) -> Vec<String> {
    let mut names = Vec::new();
    for node in 0..3 {
        let name = format!("q{node}");
        cluster.connect(node).await.channel().await.durable_queue(&name).await;
        names.push(name);
    }
    names
}

async fn restarts(cluster: &mut Cluster, count: usize, signal_of: impl Fn(usize) -> i32) {
    let queues = queues(cluster).await;
    let history = History::start(addresses(cluster, &[0, 1, 2]), &queues);
    history.goes_on(100).await;
    for round in 0..count {
        let node = round % 3;
        let others: Vec<usize> = (0..3).filter(|other| *other != node).collect();
        history.nodes_are(addresses(cluster, &others));
        tokio::task::block_in_place(|| cluster.end(node, signal_of(round)));
        // What does not need that node goes on.
        history.goes_on(30).await;
        tokio::task::block_in_place(|| cluster.start_some(&[node]));
        history.nodes_are(addresses(cluster, &[0, 1, 2]));
        wait_for(WAIT, "the queue of the restarted node", async || {
            let channel = cluster.connect((node + 1) % 3).await.channel().await;
            channel.look(&queues[node]).await.is_ok()
        })
        .await;
        history.goes_on(30).await;
    }
    let outcome = history.end().await;
    eprintln!("{outcome:?}");
    assert!(outcome.confirmed >= 60 * count, "{outcome:?}");
}

#[test]
fn ten_rolling_restarts_lose_nothing_that_was_confirmed() {
    with_cluster(async |cluster| restarts(cluster, 10, |_| libc::SIGTERM).await);
}

#[test]
fn ten_kills_lose_nothing_that_was_confirmed() {
    with_cluster(async |cluster| restarts(cluster, 10, |_| libc::SIGKILL).await);
}

#[test]
fn pauses_lose_nothing_that_was_confirmed() {
    with_cluster(async |cluster| {
        let queues = queues(cluster).await;
        let history = History::start(addresses(cluster, &[0, 1, 2]), &queues);
        for round in 0..6 {
            let node = round % 3;
            let others: Vec<usize> = (0..3).filter(|other| *other != node).collect();
            history.nodes_are(addresses(cluster, &others));
            cluster.node(node).signal(libc::SIGSTOP);
            let watcher = cluster.connect(others[0]).await;
            wait_for(WAIT, "the pause to be noticed", async || {
                watcher.channel().await.look(&queues[node]).await.is_err()
            })
            .await;
            history.goes_on(30).await;
            cluster.node(node).signal(libc::SIGCONT);
            history.nodes_are(addresses(cluster, &[0, 1, 2]));
            wait_for(WAIT, "the queue of the paused node", async || {
                watcher.channel().await.look(&queues[node]).await.is_ok()
            })
            .await;
            history.goes_on(30).await;
        }
        let outcome = history.end().await;
        eprintln!("{outcome:?}");
    });
}
