//! Mirrored queues while nodes and network fail in every way: publishers with confirms and consumers with acks work on, and
//! the history of every message is checked (`History::end`: nothing confirmed is lost, nothing comes that was not sent,
//! each channel's messages come in order).
//!
//! Invariant: a scenario lets the fault go after at most `FAULT_MAX`, so that no publish is without an outcome for longer than
//! a client waits; it then has to come to rest by itself, with all mirrors in sync, before the next fault.
//!
//! Three scenarios are part of every run; `integration-tests/reliability SECONDS` plays all.

use integration_tests::{Cluster, History, WAIT, with_hosts};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const ALL: &str = r#"{"ha-mode":"all"}"#;
const TWO: &str = r#"{"ha-mode":"exactly","ha-params":2}"#;
/// How long faults are played; `LEVERET_RELIABILITY_SECONDS` says otherwise.
const SECONDS: u64 = 4;
/// So long a fault stays: longer than it takes to be noticed and to fail over.
const FAULT_MAX: Duration = Duration::from_secs(5);
/// Confirms after each fault and each healing.
const MORE: usize = 50;

fn span() -> Duration {
    let given = std::env::var("LEVERET_RELIABILITY_SECONDS").ok();
    Duration::from_secs(given.and_then(|text| text.parse().ok()).unwrap_or(SECONDS))
}

fn addresses(cluster: &Cluster, without: &[usize]) -> Vec<SocketAddr> {
    (0..3).filter(|node| !without.contains(node)).map(|node| cluster.node(node).amqp).collect()
}

/// Waits until the queues have so many mirrors in sync, as each node knows.
async fn is_at_rest(cluster: &Cluster, queues: &[String], mirrors: usize) {
    let deadline = Instant::now() + 2 * WAIT;
    for (queue, node) in queues.iter().flat_map(|queue| (0..3).map(move |node| (queue, node))) {
        while cluster.node(node).copies(queue).await.1.len() != mirrors {
            if Instant::now() > deadline {
                for node in 0..3 {
                    let row = cluster.node(node).queue_row(queue).await;
                    let told = [
                        "node",
                        "mirrors",
                        "synchronised_slave_nodes",
                        "epoch",
                        "waits_for",
                        "messages",
                        "consumers",
                    ];
                    let told: Vec<String> = told.iter().map(|key| format!("{key} {}", row[key])).collect();
                    eprintln!("node {node} says of {queue}: {}", told.join(", "));
                }
                panic!("{mirrors} mirrors of {queue} are not in sync after {:?}", 2 * WAIT);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A part of a scenario: does its round's fault, then lets go of it.
trait Fault: AsyncFn(&mut Cluster, &History, usize) {}
impl<F: AsyncFn(&mut Cluster, &History, usize)> Fault for F {}

/// Plays faults one after the other until the time is over; the round's number chooses the node.
fn play(name: &str, fault: impl Fault + Send + Sync) {
    with_hosts(&[], async |cluster| {
        cluster.node(0).set_policy("m", ALL).await;
        let mut queues = Vec::new();
        for node in 0..3 {
            let queue = format!("m{node}");
            cluster.connect(node).await.channel().await.durable_queue(&queue).await;
            queues.push(queue);
        }
        is_at_rest(cluster, &queues, 2).await;
        let history = History::start(addresses(cluster, &[]), &queues);
        history.goes_on(MORE).await;
        let (began, mut round) = (Instant::now(), 0);
        while began.elapsed() < span() {
            fault(cluster, &history, round).await;
            history.nodes_are(addresses(cluster, &[]));
            is_at_rest(cluster, &queues, 2).await;
            history.goes_on(MORE).await;
            round += 1;
        }
        let outcome = history.end().await;
        eprintln!(
            "| {name} | {round} | {} | {} | {} | {} |",
            outcome.sent, outcome.confirmed, outcome.refused, outcome.repeated
        );
        assert!(outcome.confirmed > MORE * round, "{outcome:?}");
        for node in 0..3 {
            assert!(!cluster.node(node).log().contains("panicked"), "{}", cluster.node(node).log());
        }
    });
}

/// The others go on without a node, then it comes back.
async fn without(cluster: &mut Cluster, history: &History, node: usize, signal: i32) {
    history.nodes_are(addresses(cluster, &[node]));
    tokio::task::block_in_place(|| cluster.end(node, signal));
    history.goes_on(MORE).await;
    tokio::task::block_in_place(|| cluster.start_some(&[node]));
}

/// What is cut stays so for a while, in which those that can go on.
async fn while_cut(cluster: &Cluster, history: &History, reachable: Vec<SocketAddr>, more: usize) {
    let began = Instant::now();
    history.nodes_are(reachable);
    // No more than that: whoever publishes to the side that cannot commit waits as long.
    let _ = tokio::time::timeout(FAULT_MAX, history.goes_on(more)).await;
    tokio::time::sleep(FAULT_MAX.saturating_sub(began.elapsed()) / 2).await;
    cluster.hosts().heal();
}

#[test]
fn a_killed_node_loses_nothing() {
    play("a node is killed and comes back", async |cluster, history, round| {
        without(cluster, history, round % 3, libc::SIGKILL).await;
    });
}

#[test]
fn a_paused_node_loses_nothing() {
    play("a node is paused for 5 s", async |cluster, history, round| {
        let node = round % 3;
        history.nodes_are(addresses(cluster, &[node]));
        cluster.node(node).signal(libc::SIGSTOP);
        tokio::time::sleep(FAULT_MAX).await;
        cluster.node(node).signal(libc::SIGCONT);
    });
}

#[test]
fn a_node_that_is_cut_off_loses_nothing() {
    play("a node is cut off from both others", async |cluster, history, round| {
        let node = round % 3;
        cluster.hosts().part(node, (node + 1) % 3);
        cluster.hosts().part(node, (node + 2) % 3);
        while_cut(cluster, history, addresses(cluster, &[node]), MORE).await;
    });
}

#[test]
#[ignore = "played by integration-tests/reliability"]
fn a_cut_in_one_direction_loses_nothing() {
    play("a node does not hear another one", async |cluster, history, round| {
        cluster.hosts().deafen(round % 3, (round + 1 + round / 3 % 2) % 3);
        while_cut(cluster, history, addresses(cluster, &[]), MORE).await;
    });
}

#[test]
#[ignore = "played by integration-tests/reliability"]
fn a_cut_link_loses_nothing() {
    play("two nodes do not reach each other", async |cluster, history, round| {
        cluster.hosts().part(round % 3, (round + 1) % 3);
        while_cut(cluster, history, addresses(cluster, &[]), MORE).await;
    });
}

#[test]
#[ignore = "played by integration-tests/reliability"]
fn a_network_in_three_parts_loses_nothing() {
    play("no node reaches another one", async |cluster, history, _| {
        for (one, other) in [(0, 1), (1, 2), (2, 0)] {
            cluster.hosts().part(one, other);
        }
        while_cut(cluster, history, addresses(cluster, &[]), MORE).await;
    });
}

#[test]
#[ignore = "played by integration-tests/reliability"]
fn a_flapping_network_loses_nothing() {
    play("a node is cut off and back ten times", async |cluster, history, round| {
        let node = round % 3;
        for at in 0..10 {
            cluster.hosts().part(node, (node + 1) % 3);
            cluster.hosts().part(node, (node + 2) % 3);
            tokio::time::sleep(Duration::from_millis(60 * at)).await;
            cluster.hosts().heal();
            let _ = tokio::time::timeout(FAULT_MAX, history.goes_on(5)).await;
        }
    });
}

#[test]
#[ignore = "played by integration-tests/reliability"]
fn kills_of_all_nodes_lose_nothing() {
    play("all nodes are killed at once", async |cluster, _, _| {
        tokio::task::block_in_place(|| {
            for node in 0..3 {
                cluster.end(node, libc::SIGKILL);
            }
            cluster.start_all();
        });
    });
}

#[test]
#[ignore = "played by integration-tests/reliability"]
fn restarts_in_turn_lose_nothing() {
    play("nodes are stopped and started in turn", async |cluster, history, round| {
        without(cluster, history, round % 3, libc::SIGTERM).await;
    });
}

#[test]
#[ignore = "played by integration-tests/reliability"]
fn a_node_killed_while_another_is_cut_off_loses_nothing() {
    play("a node is killed while another one is cut off", async |cluster, history, round| {
        let (cut, killed) = (round % 3, (round + 1) % 3);
        cluster.hosts().part(cut, killed);
        cluster.hosts().part(cut, (round + 2) % 3);
        history.nodes_are(addresses(cluster, &[cut, killed]));
        tokio::task::block_in_place(|| cluster.end(killed, libc::SIGKILL));
        tokio::time::sleep(FAULT_MAX / 2).await;
        cluster.hosts().heal();
        tokio::task::block_in_place(|| cluster.start_some(&[killed]));
    });
}

#[test]
#[ignore = "played by integration-tests/reliability"]
fn other_numbers_of_copies_lose_nothing() {
    play("three copies become two and three again", async |cluster, history, round| {
        let queues: Vec<String> = (0..3).map(|node| format!("m{node}")).collect();
        cluster.node(round % 3).set_policy("m", TWO).await;
        is_at_rest(cluster, &queues, 1).await;
        history.goes_on(MORE).await;
        cluster.node((round + 1) % 3).set_policy("m", ALL).await;
    });
}
