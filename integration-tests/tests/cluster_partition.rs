//! The network between nodes is cut: one side goes on, the other refuses what it cannot do safely, and all is
//! well again by itself.

use integration_tests::{Channel, Cluster, History, NOTICE, WAIT, refusal, wait_for, with_hosts};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a change may wait for a majority before it fails.
const REFUSED_AFTER: Duration = Duration::from_secs(5);

async fn declare(cluster: &Cluster, node: usize, name: &str) -> lapin::Result<Channel> {
    let channel = cluster.connect(node).await.confirm_channel().await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.declare(name, durable, FieldTable::default()).await.map(|_| channel)
}

async fn is_ready(cluster: &Cluster, node: usize) -> bool {
    cluster.node(node).http("GET", "/api/health/checks/ready-to-serve-clients", "").await.0 == 200
}

/// All nodes are ready, and every node gets at a queue of every other.
async fn is_whole(cluster: &Cluster, queues: &[String]) {
    for node in 0..3 {
        wait_for(2 * WAIT, "a node to be ready", async || is_ready(cluster, node).await).await;
        let client = cluster.connect(node).await;
        for queue in queues {
            wait_for(2 * WAIT, "a queue", async || client.channel().await.look(queue).await.is_ok()).await;
        }
    }
}

async fn queues(cluster: &Cluster) -> Vec<String> {
    let mut names = Vec::new();
    for node in 0..3 {
        let name = format!("q{node}");
        declare(cluster, node, &name).await.expect("declared");
        names.push(name);
    }
    names
}

fn addresses(cluster: &Cluster) -> Vec<SocketAddr> {
    (0..3).map(|node| cluster.node(node).amqp).collect()
}

#[test]
fn a_node_that_is_cut_off_refuses_changes_and_the_others_go_on() {
    with_hosts(&[], async |cluster| {
        let queues = queues(cluster).await;
        for cut in [0, 1, 2] {
            let (one, two) = ((cut + 1) % 3, (cut + 2) % 3);
            let hosts = cluster.hosts();
            hosts.part(cut, one);
            hosts.part(cut, two);
            wait_for(NOTICE, "the loss to be noticed", async || {
                cluster.connect(one).await.channel().await.look(&queues[cut]).await.is_err()
            })
            .await;
            // The majority agrees on changes, and its queues are served.
            let name = format!("majority-{cut}");
            wait_for(WAIT, "a declare by the majority", async || declare(cluster, one, &name).await.is_ok())
                .await;
            let majority = cluster.connect(two).await.confirm_channel().await;
            assert!(majority.publish_persistent("", &name, "m").await.is_ack());
            assert!(majority.publish_persistent("", &queues[one], "m").await.is_ack());
            let looked = cluster.connect(one).await.channel().await.look(&queues[cut]).await;
            assert_eq!(refusal(looked).0, 404);
            // The minority does not, and says so; what it has itself it serves.
            let began = Instant::now();
            declare(cluster, cut, "minority").await.expect_err("nothing can be agreed on");
            assert!(began.elapsed() < REFUSED_AFTER, "{:?}", began.elapsed());
            assert!(!is_ready(cluster, cut).await);
            let minority = cluster.connect(cut).await.confirm_channel().await;
            assert!(minority.publish_persistent("", &queues[cut], "m").await.is_ack());
            assert!(!minority.publish_persistent("", &queues[one], "m").await.is_ack());
            assert!(minority.publish("", &name, "m").await.is_nack(), "it does not know of that queue");
            cluster.hosts().heal();
            is_whole(cluster, &queues).await;
            let back = cluster.connect(cut).await.confirm_channel().await;
            assert_eq!(back.bodies(&name).await, ["m"]);
            for queue in [one, cut] {
                assert_eq!(back.bodies(&queues[queue]).await, ["m"]);
            }
            assert_eq!(refusal(back.look("minority").await).0, 404);
        }
    });
}

#[test]
fn when_one_direction_is_cut_nothing_hangs_and_all_heals() {
    with_hosts(&[], async |cluster| {
        let queues = queues(cluster).await;
        for node in 0..3 {
            declare(cluster, node, &format!("local{node}")).await.expect("declared");
        }
        let history = History::start(addresses(cluster), &queues);
        history.goes_on(50).await;
        for (to, from) in [(0, 1), (1, 0), (2, 0)] {
            cluster.hosts().deafen(to, from);
            let third = 3 - to - from;
            // What needs no other node goes on as if nothing were.
            let local = cluster.connect(third).await.confirm_channel().await;
            for _ in 0..20 {
                assert!(local.publish_persistent("", &format!("local{third}"), "m").await.is_ack());
            }
            history.goes_on(30).await;
            cluster.hosts().heal();
            is_whole(cluster, &queues).await;
            history.goes_on(30).await;
        }
        history.end().await;
    });
}

#[test]
fn when_all_are_cut_off_from_all_it_heals_by_itself() {
    with_hosts(&[], async |cluster| {
        let queues = queues(cluster).await;
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            cluster.hosts().part(one, other);
        }
        for (node, queue) in queues.iter().enumerate() {
            wait_for(WAIT, "not ready", async || !is_ready(cluster, node).await).await;
            let local = cluster.connect(node).await.confirm_channel().await;
            assert!(local.publish_persistent("", queue, "local").await.is_ack());
        }
        cluster.hosts().heal();
        is_whole(cluster, &queues).await;
        for (node, queue) in queues.iter().enumerate() {
            assert_eq!(cluster.connect((node + 1) % 3).await.channel().await.bodies(queue).await, ["local"]);
        }
        declare(cluster, 0, "after").await.expect("changes are agreed on again");
    });
}

#[test]
fn a_flapping_network_loses_nothing_that_was_confirmed() {
    with_hosts(&[], async |cluster| {
        let queues = queues(cluster).await;
        let history = History::start(addresses(cluster), &queues);
        history.goes_on(100).await;
        for round in 0..8_usize {
            let cut = round % 3;
            cluster.hosts().part(cut, (cut + 1) % 3);
            if round % 2 == 0 {
                cluster.hosts().part(cut, (cut + 2) % 3);
            }
            // Short cuts and long ones, told apart by what is confirmed meanwhile.
            history.goes_on(if round % 4 < 2 { 5 } else { 200 }).await;
            cluster.hosts().heal();
            history.goes_on(20).await;
        }
        is_whole(cluster, &queues).await;
        let outcome = history.end().await;
        eprintln!("{outcome:?}");
        assert!(outcome.confirmed > 500, "{outcome:?}");
        for node in 0..3 {
            assert!(!cluster.node(node).log().contains("ERROR"), "{}", cluster.node(node).log());
        }
    });
}
