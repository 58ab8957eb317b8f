//! Queues with mirrors: what is confirmed is on several nodes, and goes on when one of them is lost.

use integration_tests::{
    Channel, Cluster, Deliveries, History, WAIT, bodies_of, persistent, wait_for, with_cluster,
};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use std::net::SocketAddr;
use std::time::Instant;

const ALL: &str = r#"{"ha-mode":"all"}"#;

fn addresses(cluster: &Cluster, nodes: &[usize]) -> Vec<SocketAddr> {
    nodes.iter().map(|node| cluster.node(*node).amqp).collect()
}

/// Waits until so many mirrors of a queue are in sync; gives the number of its home, from 0.
async fn in_sync(cluster: &Cluster, ask: usize, queue: &str, mirrors: usize) -> usize {
    wait_for(WAIT, "mirrors in sync", async || cluster.node(ask).copies(queue).await.1.len() >= mirrors)
        .await;
    let (home, _) = cluster.node(ask).copies(queue).await;
    (0..3).find(|at| cluster.name(*at) == home).expect("the home is a node")
}

/// A mirrored durable queue whose home is `home`.
async fn mirrored(cluster: &Cluster, home: usize, queue: &str) {
    cluster.node(home).set_policy(queue, ALL).await;
    cluster.connect(home).await.channel().await.durable_queue(queue).await;
    assert_eq!(in_sync(cluster, home, queue, 2).await, home);
}

async fn is_served(channel: &Channel, queue: &str) -> bool {
    channel.look(queue).await.is_ok()
}

/// Publishes to `m`: what was on its way to a home that is lost just then is refused, and sent again.
async fn publish_until_taken(publisher: &Channel, body: &str) {
    wait_for(WAIT, "a confirm", async || publisher.publish_persistent("", "m", body).await.is_ack()).await;
}

#[test]
fn a_mirrored_queue_works_like_any_other_from_every_node() {
    with_cluster(async |cluster| {
        mirrored(cluster, 0, "m").await;
        let publisher = cluster.connect(1).await.confirm_channel().await;
        for number in 0..50 {
            assert!(publisher.publish_persistent("", "m", &number.to_string()).await.is_ack());
        }
        let reader = cluster.connect(2).await.channel().await;
        assert_eq!(reader.depth("m").await, 50);
        let all: Vec<String> = (0..50).map(|number| number.to_string()).collect();
        assert_eq!(reader.bodies("m").await, all);
        assert_eq!(publisher.depth("m").await, 0);
    });
}

#[test]
fn what_was_confirmed_is_there_when_the_home_is_killed() {
    with_cluster(async |cluster| {
        mirrored(cluster, 0, "m").await;
        let publisher = cluster.connect(1).await.confirm_channel().await;
        for number in 0..200 {
            assert!(publisher.publish_persistent("", "m", &number.to_string()).await.is_ack());
        }
        let began = Instant::now();
        cluster.end(0, libc::SIGKILL);
        // The same channel goes on, as soon as there is another home.
        publish_until_taken(&publisher, "200").await;
        eprintln!("publishing went on after {:?}", began.elapsed());
        let reader = cluster.connect(2).await.channel().await;
        let all: Vec<String> = (0..=200).map(|number| number.to_string()).collect();
        assert_eq!(reader.bodies("m").await, all);
        cluster.start_some(&[0]);
        in_sync(cluster, 1, "m", 2).await;
    });
}

#[test]
fn a_consumer_of_a_surviving_node_goes_on_and_late_acks_count() {
    with_cluster(async |cluster| {
        mirrored(cluster, 0, "m").await;
        let publisher = cluster.connect(1).await.confirm_channel().await;
        for number in 0..10 {
            assert!(publisher.publish_persistent("", "m", &number.to_string()).await.is_ack());
        }
        let channel = cluster.connect(2).await.channel().await;
        let mut consumer = channel.consume("m", "c").await;
        let before = consumer.deliveries(10).await;
        assert_eq!(bodies_of(&before), (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
        before[0].ack(BasicAckOptions::default()).await.expect("an ack");
        let held = async || cluster.node(0).queue_row("m").await["messages_unacknowledged"].as_u64();
        wait_for(WAIT, "the ack", async || held().await == Some(9)).await;
        cluster.end(0, libc::SIGKILL);
        // What was not acked comes again, marked, in order.
        let again = consumer.deliveries(9).await;
        assert!(again.iter().all(|delivery| delivery.redelivered));
        assert_eq!(bodies_of(&again), (1..10).map(|number| number.to_string()).collect::<Vec<_>>());
        for delivery in again {
            delivery.ack(BasicAckOptions::default()).await.expect("an ack");
        }
        assert!(publisher.publish_persistent("", "m", "new").await.is_ack());
        let new = consumer.delivery().await;
        assert_eq!(bodies_of(std::slice::from_ref(&new)), ["new"]);
        new.ack(BasicAckOptions::default()).await.expect("an ack");
        channel.sync().await;
        let reader = cluster.connect(1).await.channel().await;
        wait_for(WAIT, "an empty queue", async || reader.depth("m").await == 0).await;
    });
}

#[test]
fn a_consumer_that_asked_for_it_is_cancelled() {
    with_cluster(async |cluster| {
        mirrored(cluster, 0, "m").await;
        let channel = cluster.connect(2).await.channel().await;
        let mut arguments = FieldTable::default();
        arguments.insert("x-cancel-on-ha-failover".into(), true.into());
        let mut consumer = channel
            .consume_with("m", "c", BasicConsumeOptions::default(), arguments)
            .await
            .expect("a consumer");
        cluster.end(0, libc::SIGKILL);
        assert!(consumer.ended().await, "the consumer is cancelled");
    });
}

#[test]
fn a_full_queue_gets_mirrors_while_it_works_and_loses_them_again() {
    with_cluster(async |cluster| {
        let channel = cluster.connect(0).await.confirm_channel().await;
        channel.durable_queue("m").await;
        for number in 0..2_000 {
            let send = BasicPublishOptions::default();
            let body = format!("{number:04}");
            let sent = channel.basic_publish("".into(), "m".into(), send, body.as_bytes(), persistent());
            drop(sent.await.expect("sent"));
        }
        channel.wait_for_confirms().await.expect("confirms");
        cluster.node(1).set_policy("m", ALL).await;
        assert_eq!(in_sync(cluster, 1, "m", 2).await, 0);
        assert!(channel.publish_persistent("", "m", "2000").await.is_ack());
        cluster.end(0, libc::SIGKILL);
        let reader = cluster.connect(1).await.channel().await;
        wait_for(WAIT, "another home", async || {
            is_served(&cluster.connect(1).await.channel().await, "m").await
        })
        .await;
        let all: Vec<String> = (0..=2_000).map(|number| format!("{number:04}")).collect();
        assert_eq!(reader.bodies("m").await, all);
        cluster.start_some(&[0]);
        in_sync(cluster, 1, "m", 2).await;
        let (code, _) = cluster.node(1).http("DELETE", "/api/policies/%2f/of-m", "").await;
        assert_eq!(code, 204);
        wait_for(WAIT, "no mirrors", async || cluster.node(2).copies("m").await.1.is_empty()).await;
        let publisher = cluster.connect(2).await.confirm_channel().await;
        assert!(publisher.publish_persistent("", "m", "alone").await.is_ack());
    });
}

#[test]
fn transient_queues_are_mirrored_in_memory() {
    with_cluster(async |cluster| {
        cluster.node(0).set_policy("t", ALL).await;
        let declaring = cluster.connect(0).await.channel().await;
        declaring.declare("t", QueueDeclareOptions::default(), FieldTable::default()).await.expect("a queue");
        assert_eq!(in_sync(cluster, 1, "t", 2).await, 0);
        let publisher = cluster.connect(1).await.confirm_channel().await;
        for number in 0..20 {
            assert!(publisher.publish("", "t", &number.to_string()).await.is_ack());
        }
        cluster.end(0, libc::SIGKILL);
        wait_for(WAIT, "another home", async || publisher.publish("", "t", "20").await.is_ack()).await;
        let reader = cluster.connect(2).await.channel().await;
        assert_eq!(reader.bodies("t").await, (0..=20).map(|number| number.to_string()).collect::<Vec<_>>());
    });
}

#[test]
fn all_nodes_down_and_up_again_in_any_order() {
    with_cluster(async |cluster| {
        mirrored(cluster, 0, "m").await;
        let publisher = cluster.connect(1).await.confirm_channel().await;
        for number in 0..100 {
            assert!(publisher.publish_persistent("", "m", &number.to_string()).await.is_ack());
        }
        for node in [1, 0, 2] {
            cluster.end(node, libc::SIGKILL);
        }
        cluster.start_some(&[2, 1, 0]);
        let client = cluster.connect(2).await;
        wait_for(WAIT, "the queue", async || is_served(&client.channel().await, "m").await).await;
        let all: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(client.channel().await.bodies("m").await, all);
    });
}

async fn failures(cluster: &mut Cluster, rounds: usize, signal_of: impl Fn(usize) -> i32) {
    let mut queues = Vec::new();
    cluster.node(0).set_policy("m", ALL).await;
    for node in 0..3 {
        let name = format!("m{node}");
        cluster.connect(node).await.channel().await.durable_queue(&name).await;
        in_sync(cluster, node, &name, 2).await;
        queues.push(name);
    }
    let history = History::start(addresses(cluster, &[0, 1, 2]), &queues);
    history.goes_on(100).await;
    for round in 0..rounds {
        let node = round % 3;
        let others: Vec<usize> = (0..3).filter(|other| *other != node).collect();
        history.nodes_are(addresses(cluster, &others));
        tokio::task::block_in_place(|| cluster.end(node, signal_of(round)));
        history.goes_on(60).await;
        // All three queues go on at the two that are left.
        for queue in &queues {
            let channel = cluster.connect(others[0]).await.channel().await;
            wait_for(WAIT, "another home", async || is_served(&channel, queue).await).await;
        }
        tokio::task::block_in_place(|| cluster.start_some(&[node]));
        history.nodes_are(addresses(cluster, &[0, 1, 2]));
        for queue in &queues {
            in_sync(cluster, others[0], queue, 2).await;
        }
        history.goes_on(60).await;
    }
    let outcome = history.end().await;
    eprintln!("{outcome:?}");
    assert!(outcome.confirmed >= 100 * rounds, "{outcome:?}");
}

#[test]
fn kills_of_homes_lose_nothing_that_was_confirmed() {
    with_cluster(async |cluster| failures(cluster, 6, |_| libc::SIGKILL).await);
}

#[test]
fn rolling_restarts_lose_nothing_that_was_confirmed() {
    with_cluster(async |cluster| failures(cluster, 3, |_| libc::SIGTERM).await);
}
