//! How nodes find each other: in any order, at once, with data from before, and while clients work.

use integration_tests::{Broker, Cluster, WAIT, wait_for, with_cluster, with_cluster_of};
use std::time::{Duration, Instant};

/// How long a new node may take until it serves clients. The aim is 5 s on a quiet machine.
const JOIN_LIMIT: Duration = Duration::from_secs(8);

/// All nodes agree: what one declares, the others have at once.
async fn prove_one_cluster(cluster: &Cluster, nodes: &[usize], round: &str) {
    for (at, node) in nodes.iter().enumerate() {
        let name = format!("proof-{round}-{node}");
        let here = cluster.connect(*node).await.channel().await;
        here.durable_queue(&name).await;
        let next = nodes[(at + 1) % nodes.len()];
        let there = cluster.connect(next).await.confirm_channel().await;
        let sent = there.publish_mandatory("", &name, round).await;
        assert!(sent.is_ack() && sent.take_message().is_none(), "{name} by node {next}");
        assert_eq!(here.bodies(&name).await, [round]);
    }
}

#[test]
fn three_nodes_started_at_once_are_one_cluster() {
    with_cluster(async |cluster| prove_one_cluster(cluster, &[0, 1, 2], "at once").await);
}

#[test]
fn nodes_may_start_in_any_order() {
    for order in [[2, 1, 0], [1, 2, 0]] {
        with_cluster_of(0, &[], async |cluster| {
            *cluster = Cluster::new(3, &[]);
            // Two of three are enough to begin; the third finds them.
            cluster.start_some(&order[..2]);
            prove_one_cluster(cluster, &order[..2], "two").await;
            cluster.start_some(&order[2..]);
            prove_one_cluster(cluster, &order, "three").await;
        });
    }
}

#[test]
fn a_single_node_is_a_cluster_of_its_own() {
    with_cluster_of(1, &[], async |cluster| {
        let channel = cluster.connect(0).await.confirm_channel().await;
        channel.durable_queue("q").await;
        assert!(channel.publish_persistent("", "q", "m").await.is_ack());
        cluster.end(0, libc::SIGKILL);
        cluster.start_all();
        assert_eq!(cluster.connect(0).await.channel().await.bodies("q").await, ["m"]);
    });
}

#[test]
fn a_node_with_data_becomes_the_first_of_a_cluster_without_a_reset() {
    with_cluster_of(0, &[], async |cluster| {
        *cluster = Cluster::new(3, &[]);
        let mut alone = Broker::start_at(cluster.data_dir(0).to_owned(), &[]);
        let channel = alone.connect().await.confirm_channel().await;
        channel.durable_queue("old").await;
        channel.bind("old", "amq.topic", "a.#").await;
        for number in 0..50 {
            assert!(channel.publish_persistent("", "old", &number.to_string()).await.is_ack());
        }
        alone.end(libc::SIGTERM);
        alone.keep_data();
        cluster.start_all();
        let other = cluster.connect(2).await.confirm_channel().await;
        assert!(other.publish_persistent("amq.topic", "a.b", "new").await.is_ack());
        let mut expected: Vec<String> = (0..50).map(|number| number.to_string()).collect();
        expected.push("new".to_owned());
        assert_eq!(cluster.connect(1).await.channel().await.bodies("old").await, expected);
        prove_one_cluster(cluster, &[0, 1, 2], "with data").await;
    });
}

#[test]
fn a_fourth_node_joins_while_clients_work() {
    with_cluster(async |cluster| {
        let (publisher, consumer) = (cluster.connect(0).await, cluster.connect(1).await);
        let channel = publisher.confirm_channel().await;
        for number in 0..200 {
            channel.durable_queue(&format!("before-{number}")).await;
        }
        channel.durable_queue("work").await;
        let reader = consumer.channel().await;
        let work = tokio::spawn(async move {
            let mut sent = 0_u32;
            let until = Instant::now() + Duration::from_secs(4);
            while Instant::now() < until {
                assert!(channel.publish_persistent("", "work", &sent.to_string()).await.is_ack());
                sent += 1;
            }
            sent
        });
        let new = cluster.add();
        let began = Instant::now();
        // Starting blocks; the clients work on other threads.
        tokio::task::block_in_place(|| cluster.start_some(&[new]));
        let took = began.elapsed();
        assert!(took < JOIN_LIMIT, "the node served clients after {took:?}");
        let joined = cluster.connect(new).await.channel().await;
        for number in 0..200 {
            joined.look(&format!("before-{number}")).await.expect("the new node knows all that was declared");
        }
        let sent = work.await.expect("the publisher was not disturbed");
        assert_eq!(reader.depth("work").await, sent);
        let expected: Vec<String> = (0..sent).map(|number| number.to_string()).collect();
        assert_eq!(joined.bodies("work").await, expected, "nothing lost, nothing out of order");
        prove_one_cluster(cluster, &[0, 1, 2, new], "four").await;
    });
}

#[test]
fn a_cluster_of_four_lives_without_the_newest() {
    with_cluster(async |cluster| {
        let new = cluster.add();
        cluster.start_some(&[new]);
        let channel = cluster.connect(0).await.confirm_channel().await;
        channel.durable_queue("q").await;
        cluster.end(new, libc::SIGKILL);
        // A declare waits until the lost node's lease is over, and no longer.
        let began = Instant::now();
        channel.durable_queue("declared").await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert!(channel.publish_persistent("", "q", "m").await.is_ack());
        cluster.start_some(&[new]);
        let back = cluster.connect(new).await.channel().await;
        wait_for(WAIT, "the message by way of the returned node", async || back.depth("q").await == 1).await;
        assert_eq!(back.bodies("q").await, ["m"]);
    });
}
