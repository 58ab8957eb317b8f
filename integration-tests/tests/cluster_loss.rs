//! A node with queues is lost: what its clients are told, what goes on elsewhere, and what is there again.

use integration_tests::{
    Channel, Cluster, Deliveries, NOTICE, WAIT, persistent, refusal, wait_for, with_cluster,
};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use std::time::{Duration, Instant};

const SIGNALS: [i32; 2] = [libc::SIGKILL, libc::SIGTERM];
/// How long a paused node may go unnoticed.
const PAUSE_NOTICE: Duration = Duration::from_secs(3);

fn home_is_down(node: &str, queue: &str) -> (u16, String) {
    let text = format!(
        "NOT_FOUND - home node '{node}' of durable queue '{queue}' in vhost '/' is down or inaccessible"
    );
    (404, text)
}

async fn wait_until_lost(cluster: &Cluster, by: usize, queue: &str) {
    let client = cluster.connect(by).await;
    wait_for(NOTICE, "the loss to be noticed", async || client.channel().await.look(queue).await.is_err())
        .await;
}

async fn wait_until_back(cluster: &Cluster, by: usize, queue: &str) -> Channel {
    let client = cluster.connect(by).await;
    wait_for(WAIT, "the queue to be back", async || client.channel().await.look(queue).await.is_ok()).await;
    client.confirm_channel().await
}

#[test]
fn clients_of_a_lost_home_hear_what_rabbitmq_says() {
    for signal in SIGNALS {
        with_cluster(async |cluster| {
            cluster.connect(0).await.channel().await.durable_queue("q").await;
            let other = cluster.connect(1).await;
            let consuming = other.channel().await;
            let mut consumer = consuming.consume("q", "c").await;
            let began = Instant::now();
            cluster.end(0, signal);
            assert!(consumer.ended().await, "the consumer is cancelled");
            assert!(began.elapsed() < NOTICE, "after {:?}", began.elapsed());
            consuming.sync().await;
            let expected = home_is_down("n1", "q");
            let none = FieldTable::default;
            for what in ["passive", "declare", "get", "consume", "purge", "delete"] {
                let channel = other.channel().await;
                let durable = QueueDeclareOptions { durable: true, ..Default::default() };
                let refused = match what {
                    "passive" => refusal(channel.look("q").await),
                    "declare" => refusal(channel.declare("q", durable, none()).await),
                    "get" => refusal(channel.basic_get("q".into(), Default::default()).await),
                    "consume" => refusal(channel.consume_with("q", "", Default::default(), none()).await),
                    "purge" => refusal(channel.queue_purge("q".into(), Default::default()).await),
                    _ => refusal(channel.queue_delete("q".into(), Default::default()).await),
                };
                assert_eq!(refused, expected, "{what} after signal {signal}");
            }
            cluster.start_some(&[0]);
            wait_until_back(cluster, 1, "q").await;
        });
    }
}

#[test]
fn what_is_not_confirmed_is_nacked_and_what_goes_elsewhere_goes_on() {
    for signal in SIGNALS {
        with_cluster(async |cluster| {
            cluster.connect(0).await.channel().await.durable_queue("lost").await;
            let publisher = cluster.connect(1).await.confirm_channel().await;
            let elsewhere = cluster.connect(2).await.channel().await;
            elsewhere.durable_queue("kept").await;
            for queue in ["lost", "kept"] {
                elsewhere.bind(queue, "amq.fanout", "").await;
            }
            assert!(publisher.publish_persistent("amq.fanout", "", "both").await.is_ack());
            cluster.end(0, signal);
            wait_until_lost(cluster, 1, "lost").await;
            // To the lost one alone: refused, or unroutable once that is known; never confirmed as taken.
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let sent = publisher.send("", "lost", options, b"m", persistent()).await.expect("an outcome");
            assert!(sent.is_nack() || sent.take_message().is_some());
            for _ in 0..20 {
                // The part for the lost queue is not there, so it is no whole success; the other part is done.
                publisher.publish_persistent("amq.fanout", "", "half").await;
                assert!(publisher.publish_persistent("", "kept", "whole").await.is_ack());
            }
            assert_eq!(elsewhere.depth("kept").await, 41);
            cluster.start_some(&[0]);
            let back = wait_until_back(cluster, 1, "lost").await;
            assert_eq!(back.bodies("lost").await, ["both"]);
            assert!(back.publish_persistent("amq.fanout", "", "again").await.is_ack());
            assert_eq!(back.bodies("lost").await, ["again"]);
        });
    }
}

/// Publishes without end; gives the numbers that were confirmed and those that were refused.
async fn publish_until_refused(channel: Channel) -> (Vec<u32>, Vec<u32>) {
    let (mut confirmed, mut refused) = (Vec::new(), Vec::new());
    for number in 0_u32.. {
        match channel.publish_persistent("", "q", &number.to_string()).await.is_ack() {
            true => confirmed.push(number),
            false => refused.push(number),
        }
        if refused.len() > 3 {
            break;
        }
    }
    (confirmed, refused)
}

#[test]
fn what_was_confirmed_over_the_hop_is_there_after_a_kill() {
    with_cluster(async |cluster| {
        cluster.connect(0).await.channel().await.durable_queue("q").await;
        let mut work = Vec::new();
        for publisher in [1, 2, 1, 2] {
            let channel = cluster.connect(publisher).await.confirm_channel().await;
            work.push(tokio::spawn(publish_until_refused(channel)));
        }
        let watcher = cluster.connect(1).await.channel().await;
        wait_for(WAIT, "some messages", async || watcher.depth("q").await > 300).await;
        tokio::task::block_in_place(|| cluster.end(0, libc::SIGKILL));
        let mut confirmed = std::collections::BTreeMap::new();
        for one in work {
            let (numbers, _) = one.await.expect("the publisher was told");
            numbers.into_iter().for_each(|number| *confirmed.entry(number).or_insert(0) += 1);
        }
        cluster.start_some(&[0]);
        let back = wait_until_back(cluster, 2, "q").await;
        let mut found = std::collections::BTreeMap::new();
        for body in back.bodies("q").await {
            *found.entry(body.parse::<u32>().expect("a number")).or_insert(0) += 1;
        }
        for (number, times) in confirmed {
            assert!(found.get(&number) >= Some(&times), "{number} was confirmed {times} times: {found:?}");
        }
    });
}

#[test]
fn consumers_come_back_to_a_home_that_is_back() {
    for signal in SIGNALS {
        with_cluster(async |cluster| {
            let (far, publisher) =
                (cluster.connect(2).await, cluster.connect(1).await.confirm_channel().await);
            cluster.connect(0).await.channel().await.durable_queue("q").await;
            for number in 0..10 {
                assert!(publisher.publish_persistent("", "q", &number.to_string()).await.is_ack());
            }
            let channel = far.channel().await;
            let mut consumer = channel.consume("q", "c").await;
            let held = consumer.deliveries(10).await;
            held[3].ack(lapin::options::BasicAckOptions { multiple: true }).await.expect("ack");
            channel.sync().await;
            // The settlement goes over the hop and to the disk before the end.
            let home = cluster.connect(0).await.channel().await;
            home.sync().await;
            cluster.end(0, signal);
            assert!(consumer.ended().await);
            // An answer to what came before goes nowhere and harms nobody.
            held[9].ack(Default::default()).await.expect("ack");
            channel.sync().await;
            cluster.start_some(&[0]);
            let _ = wait_until_back(cluster, 2, "q").await;
            let mut again = channel.consume("q", "c").await;
            let mut got = Vec::new();
            while got.last().map(String::as_str) != Some("9") {
                let delivery = again.delivery().await;
                got.push(integration_tests::body(&delivery));
                delivery.ack(Default::default()).await.expect("ack");
            }
            let all: Vec<String> = (0..10).map(|number| number.to_string()).collect();
            assert!(all.ends_with(&got), "in order: {got:?}");
            assert!(got.len() >= 6, "what was not acknowledged is there: {got:?}");
            wait_for(WAIT, "an empty queue", async || publisher.depth("q").await == 0).await;
        });
    }
}

#[test]
fn transient_queues_of_a_lost_node_are_gone_with_their_bindings() {
    for signal in SIGNALS {
        with_cluster(async |cluster| {
            let home = cluster.connect(0).await.channel().await;
            home.bound_queue("gone", "amq.topic", "a.b").await;
            home.durable_queue("stays").await;
            home.bind("stays", "amq.topic", "c.d").await;
            cluster.end(0, signal);
            let publisher = cluster.connect(1).await.confirm_channel().await;
            wait_for(NOTICE, "the transient queue's end", async || {
                let looked = cluster.connect(1).await.channel().await.look("gone").await;
                looked.is_err() && refusal(looked).1 == "NOT_FOUND - no queue 'gone' in vhost '/'"
            })
            .await;
            let lost = publisher.publish_mandatory("amq.topic", "a.b", "m").await;
            assert!(lost.take_message().is_some());
            // Its name is free once the loss is agreed on, and the new one is a new one.
            wait_for(NOTICE, "a free name", async || {
                let channel = cluster.connect(1).await.channel().await;
                channel.declare("gone", QueueDeclareOptions::default(), FieldTable::default()).await.is_ok()
            })
            .await;
            assert!(publisher.publish("", "gone", "new").await.is_ack());
            assert!(publisher.publish_mandatory("amq.topic", "a.b", "m").await.take_message().is_some());
            cluster.start_some(&[0]);
            let back = wait_until_back(cluster, 2, "stays").await;
            assert!(back.publish_persistent("amq.topic", "c.d", "m").await.is_ack());
            assert_eq!(back.bodies("stays").await, ["m"]);
            assert_eq!(back.bodies("gone").await, ["new"]);
        });
    }
}

#[test]
fn a_paused_node_is_noticed_and_comes_back_by_itself() {
    with_cluster(async |cluster| {
        let home = cluster.connect(0).await.channel().await;
        home.durable_queue("q").await;
        let publisher = cluster.connect(1).await.confirm_channel().await;
        for number in 0..20 {
            assert!(publisher.publish_persistent("", "q", &number.to_string()).await.is_ack());
        }
        let mut consumer = publisher.consume("q", "c").await;
        consumer.deliveries(20).await;
        let began = Instant::now();
        cluster.node(0).signal(libc::SIGSTOP);
        assert!(consumer.ended().await);
        let took = began.elapsed();
        let survivors = cluster.connect(2).await;
        let refused = refusal(survivors.channel().await.look("q").await);
        cluster.node(0).signal(libc::SIGCONT);
        assert!(took < PAUSE_NOTICE, "noticed after {took:?}");
        assert_eq!(refused, home_is_down("n1", "q"));
        let back = wait_until_back(cluster, 1, "q").await;
        back.await_depth("q", 20).await;
        assert!(back.publish_persistent("", "q", "20").await.is_ack());
        let expected: Vec<String> = (0..=20).map(|number| number.to_string()).collect();
        assert_eq!(back.bodies("q").await, expected);
        // Clients of the node that was paused go on.
        let client = cluster.connect(0).await.confirm_channel().await;
        wait_for(WAIT, "declares on the returned node", async || {
            let channel = cluster.connect(0).await.channel().await;
            channel.declare("new", QueueDeclareOptions::default(), FieldTable::default()).await.is_ok()
        })
        .await;
        assert!(client.publish("", "new", "m").await.is_ack());
        assert_eq!(cluster.connect(2).await.channel().await.depth("new").await, 1);
    });
}

#[test]
fn publishes_in_flight_to_a_home_that_dies_all_get_an_outcome() {
    with_cluster(async |cluster| {
        cluster.connect(0).await.channel().await.durable_queue("q").await;
        let publisher = cluster.connect(1).await.confirm_channel().await;
        let body = vec![7_u8; 2_000];
        let mut confirms = Vec::new();
        for number in 0..4_000 {
            if number == 2_000 {
                tokio::task::block_in_place(|| cluster.end(0, libc::SIGKILL));
            }
            let options = BasicPublishOptions::default();
            let properties = if number % 2 == 0 { persistent() } else { BasicProperties::default() };
            let sent = publisher.basic_publish("".into(), "q".into(), options, &body, properties).await;
            confirms.push(sent.expect("the channel is open"));
        }
        let mut taken = 0;
        for (number, confirm) in confirms.into_iter().enumerate() {
            let outcome = tokio::time::timeout(WAIT, confirm).await.expect("no publish waits for ever");
            let is_taken = outcome.expect("an outcome").is_ack();
            taken += usize::from(is_taken && number % 2 == 0);
        }
        publisher.sync().await;
        cluster.start_some(&[0]);
        let back = wait_until_back(cluster, 2, "q").await;
        let there = back.depth("q").await as usize;
        assert!(there >= taken, "{taken} persistent messages were confirmed, {there} are there");
    });
}

#[test]
fn a_transaction_with_a_part_that_is_lost_is_not_committed() {
    with_cluster(async |cluster| {
        cluster.connect(0).await.channel().await.durable_queue("here").await;
        cluster.connect(1).await.channel().await.durable_queue("there").await;
        let client = cluster.connect(0).await;
        let transaction = async || {
            let channel = client.channel().await;
            channel.tx_select().await.expect("tx.select-ok");
            for queue in ["here", "there"] {
                let published = channel.basic_publish(
                    "".into(),
                    queue.into(),
                    BasicPublishOptions::default(),
                    b"m",
                    persistent(),
                );
                published.await.expect("it is taken");
            }
            channel
        };
        transaction().await.tx_commit().await.expect("tx.commit-ok while both are there");
        let open = transaction().await;
        cluster.end(1, libc::SIGKILL);
        let expected = (406, "PRECONDITION_FAILED - partial tx completion".to_owned());
        assert_eq!(refusal(open.tx_commit().await), expected, "the node was killed under it");
        wait_until_lost(cluster, 0, "there").await;
        let late = transaction().await;
        assert_eq!(refusal(late.tx_commit().await), expected, "the node is away");
        cluster.start_some(&[1]);
        let back = wait_until_back(cluster, 0, "there").await;
        assert_eq!(back.bodies("there").await, ["m"], "what was committed is there");
    });
}
