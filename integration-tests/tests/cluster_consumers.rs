//! Consumers of one queue on several nodes: who is served, who is told, and what goes with a node.

use integration_tests::{
    Channel, Cluster, Deliveries, NOTICE, WAIT, arguments, bodies_of, refusal, wait_for, with_cluster,
};
use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

const EXCLUSIVE: QueueDeclareOptions = QueueDeclareOptions {
    exclusive: true,
    passive: false,
    durable: false,
    auto_delete: false,
    nowait: false,
};

async fn channels(cluster: &Cluster) -> [Channel; 3] {
    [
        cluster.connect(0).await.channel().await,
        cluster.connect(1).await.channel().await,
        cluster.connect(2).await.channel().await,
    ]
}

#[test]
fn one_single_active_consumer_at_a_time_whatever_its_node() {
    with_cluster(async |cluster| {
        let [home, second, third] = channels(cluster).await;
        let single = arguments([("x-single-active-consumer", AMQPValue::Boolean(true))]);
        home.durable_queue_with("q", single).await;
        let mut on_second = second.consume("q", "two").await;
        let mut on_third = third.consume("q", "three").await;
        let mut on_home = home.consume("q", "one").await;
        for body in ["a", "b"] {
            third.publish("", "q", body).await;
        }
        let got = on_second.deliveries(2).await;
        assert_eq!(bodies_of(&got), ["a", "b"]);
        assert!(on_third.waiting().is_empty() && on_home.waiting().is_empty());
        got[1].ack(lapin::options::BasicAckOptions { multiple: true }).await.expect("ack");
        second.basic_cancel("two".into(), Default::default()).await.expect("basic.cancel-ok");
        third.publish("", "q", "c").await;
        let c = on_third.delivery().await;
        assert_eq!(c.data, b"c");
        assert!(on_home.waiting().is_empty());
        // The next in line takes over when the node of the active one dies.
        cluster.end(2, libc::SIGKILL);
        let again = on_home.delivery().await;
        assert_eq!((again.data.as_slice(), again.redelivered), (b"c".as_slice(), true));
    });
}

#[test]
fn priorities_count_across_nodes() {
    with_cluster(async |cluster| {
        let [home, second, third] = channels(cluster).await;
        home.durable_queue("q").await;
        let mut consumers = Vec::new();
        for (channel, priority) in [(&home, 0), (&second, 5), (&third, 10)] {
            channel.prefetch(2).await;
            let fields = arguments([("x-priority", AMQPValue::LongInt(priority))]);
            let consumer = channel.consume_with("q", "", Default::default(), fields).await;
            consumers.push(consumer.expect("basic.consume-ok"));
        }
        for body in ["1", "2", "3", "4", "5", "6", "7"] {
            second.publish("", "q", body).await;
        }
        assert_eq!(bodies_of(&consumers[2].deliveries(2).await), ["1", "2"]);
        assert_eq!(bodies_of(&consumers[1].deliveries(2).await), ["3", "4"]);
        assert_eq!(bodies_of(&consumers[0].deliveries(2).await), ["5", "6"]);
        wait_for(WAIT, "one is left", async || second.depth("q").await == 1).await;
    });
}

#[test]
fn consumers_on_three_nodes_share_the_work() {
    with_cluster(async |cluster| {
        let [home, second, third] = channels(cluster).await;
        home.durable_queue("q").await;
        let mut consumers = Vec::new();
        for channel in [&home, &second, &third] {
            channel.prefetch(1).await;
            consumers.push(channel.consume("q", "").await);
        }
        for number in 0..3 {
            third.publish("", "q", &number.to_string()).await;
        }
        let mut all = Vec::new();
        for consumer in &mut consumers {
            all.extend(bodies_of(&consumer.deliveries(1).await));
        }
        all.sort();
        assert_eq!(all, ["0", "1", "2"]);
        assert_eq!(home.consumer_count("q").await, 3);
    });
}

#[test]
fn what_a_channel_may_not_hold_is_for_consumers_of_other_nodes() {
    with_cluster(async |cluster| {
        let [home, second, third] = channels(cluster).await;
        home.durable_queue("q").await;
        home.durable_queue("other").await;
        let limit = BasicQosOptions { global: true };
        second.basic_qos(2, limit).await.expect("basic.qos-ok");
        let (mut full, mut shares) = (second.consume("q", "").await, second.consume("other", "").await);
        for body in ["1", "2"] {
            home.publish("", "q", body).await;
        }
        let held = full.deliveries(2).await;
        // A full window takes nothing that somebody else can have, neither here nor for the other consumer of the
        // channel, whose home had been told that there is room.
        let (mut free, mut free_too) = (third.consume("q", "").await, home.consume("other", "").await);
        for body in ["3", "4", "5"] {
            home.publish("", "q", body).await;
        }
        let got = free.deliveries(3).await;
        assert_eq!(bodies_of(&got), ["3", "4", "5"]);
        assert!(got.iter().all(|delivery| !delivery.redelivered));
        for body in ["a", "b", "c", "d"] {
            home.publish("", "other", body).await;
        }
        let got = free_too.deliveries(4).await;
        assert!(got.iter().all(|delivery| !delivery.redelivered));
        assert!(full.waiting().is_empty() && shares.waiting().is_empty());
        // When there is room again it goes on.
        home.basic_cancel(free_too.tag(), Default::default()).await.expect("basic.cancel-ok");
        home.publish("", "other", "e").await;
        held[0].ack(Default::default()).await.expect("ack");
        let last = shares.delivery().await;
        assert_eq!((last.data.as_slice(), last.redelivered), (b"e".as_slice(), false));
    });
}

#[test]
fn an_exclusive_consumer_keeps_those_of_other_nodes_out() {
    with_cluster(async |cluster| {
        let [home, second, third] = channels(cluster).await;
        home.durable_queue("q").await;
        let alone = BasicConsumeOptions { exclusive: true, ..Default::default() };
        let holder = second.consume_with("q", "alone", alone, FieldTable::default()).await.expect("alone");
        let expected = (403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use".to_owned());
        for (node, options) in [(0, alone), (2, BasicConsumeOptions::default()), (1, alone)] {
            let channel = cluster.connect(node).await.channel().await;
            let refused = refusal(channel.consume_with("q", "", options, FieldTable::default()).await);
            assert_eq!(refused, expected, "on node {node}");
        }
        second.basic_cancel("alone".into(), Default::default()).await.expect("basic.cancel-ok");
        drop(holder);
        let mut next = third.consume("q", "next").await;
        home.publish("", "q", "m").await;
        assert_eq!(next.delivery().await.data, b"m");
    });
}

#[test]
fn consumers_hear_on_every_node_that_their_queue_is_deleted() {
    with_cluster(async |cluster| {
        let [home, second, third] = channels(cluster).await;
        home.durable_queue("q").await;
        let mut consumers = [home.consume("q", "").await, second.consume("q", "").await];
        third.queue_delete("q".into(), Default::default()).await.expect("queue.delete-ok");
        for consumer in &mut consumers {
            assert!(consumer.ended().await);
        }
        // The channels live.
        home.sync().await;
        second.sync().await;
    });
}

#[test]
fn a_cancelled_consumer_gets_nothing_more_and_its_tag_is_free() {
    with_cluster(async |cluster| {
        let [home, second, _] = channels(cluster).await;
        home.durable_queue("q").await;
        for round in 0..50 {
            let mut consumer = second.consume("q", "tag").await;
            home.publish("", "q", &round.to_string()).await;
            let got = consumer.delivery().await;
            assert_eq!(got.data, round.to_string().as_bytes());
            second.basic_cancel("tag".into(), Default::default()).await.expect("basic.cancel-ok");
            got.ack(Default::default()).await.expect("ack");
            assert_eq!(home.consumer_count("q").await, 0, "round {round}");
        }
        home.publish("", "q", "later").await;
        home.sync().await;
        assert_eq!(second.bodies("q").await, ["later"]);
    });
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer_on_another_node() {
    with_cluster(async |cluster| {
        let [home, second, third] = channels(cluster).await;
        let auto = QueueDeclareOptions { auto_delete: true, ..Default::default() };
        home.declare("q", auto, FieldTable::default()).await.expect("declared");
        let (_one, _two) = (second.consume("q", "one").await, third.consume("q", "two").await);
        second.basic_cancel("one".into(), Default::default()).await.expect("basic.cancel-ok");
        assert_eq!(home.consumer_count("q").await, 1);
        third.basic_cancel("two".into(), Default::default()).await.expect("basic.cancel-ok");
        wait_for(WAIT, "the queue's end on all nodes", async || {
            for node in 0..3 {
                let looked = cluster.connect(node).await.channel().await.look("q").await;
                if looked.is_ok() {
                    return false;
                }
                assert_eq!(refusal(looked).0, 404);
            }
            true
        })
        .await;
    });
}

#[test]
fn exclusive_queues_belong_to_their_connection_on_every_node() {
    with_cluster(async |cluster| {
        let owner = cluster.connect(1).await;
        let channel = owner.channel().await;
        channel.declare("mine", EXCLUSIVE, FieldTable::default()).await.expect("declared");
        channel.bind("mine", "amq.fanout", "").await;
        for node in 0..3 {
            let other = cluster.connect(node).await.channel().await;
            let (code, text) = refusal(other.look("mine").await);
            assert_eq!(code, 405);
            assert!(text.starts_with("RESOURCE_LOCKED - cannot obtain exclusive access"), "{text}");
            // Publishing to it is everybody's right.
            let publisher = cluster.connect(node).await.confirm_channel().await;
            assert!(publisher.publish("amq.fanout", "", "m").await.is_ack());
        }
        assert_eq!(channel.bodies("mine").await, ["m", "m", "m"]);
        owner.end().await;
        let watcher = cluster.connect(2).await.confirm_channel().await;
        wait_for(WAIT, "its end", async || {
            watcher.publish_mandatory("", "mine", "m").await.take_message().is_some()
        })
        .await;
    });
}

#[test]
fn exclusive_queues_go_when_the_node_of_their_connection_dies() {
    with_cluster(async |cluster| {
        let channel = cluster.connect(1).await.channel().await;
        for number in 0..20 {
            let name = format!("mine-{number}");
            channel.declare(&name, EXCLUSIVE, FieldTable::default()).await.expect("declared");
            channel.bind(&name, "amq.fanout", "").await;
        }
        cluster.end(1, libc::SIGKILL);
        let watcher = cluster.connect(2).await.confirm_channel().await;
        wait_for(WAIT, "their end with their bindings", async || {
            watcher.publish_mandatory("amq.fanout", "", "m").await.take_message().is_some()
        })
        .await;
        // Their names are free as soon as the loss is agreed on.
        let next = cluster.connect(0).await;
        for number in 0..20 {
            let name = format!("mine-{number}");
            wait_for(NOTICE, "a free name", async || {
                let channel = next.channel().await;
                match channel.declare(&name, EXCLUSIVE, FieldTable::default()).await {
                    Ok(_) => true,
                    refused => {
                        assert_eq!(refusal(refused).0, 405);
                        false
                    }
                }
            })
            .await;
        }
    });
}
