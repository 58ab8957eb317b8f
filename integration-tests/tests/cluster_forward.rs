//! Publish on one node, the queue on a second, consume on a third: what works on one node works so too.

use integration_tests::{
    Channel, Cluster, Deliveries, WAIT, bodies_of, persistent, refusal, soon, wait_for, with_cluster,
};
use lapin::options::{
    BasicAckOptions, BasicNackOptions, BasicPublishOptions, BasicRecoverOptions, BasicRejectOptions,
    QueueDeleteOptions,
};
use lapin::{BasicProperties, Confirmation};

/// A queue on the first node, and channels on all three: home, publisher (with confirms), consumer.
async fn three(cluster: &Cluster, queue: &str) -> (Channel, Channel, Channel) {
    let home = cluster.connect(0).await.channel().await;
    home.durable_queue(queue).await;
    (home, cluster.connect(1).await.confirm_channel().await, cluster.connect(2).await.channel().await)
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[test]
fn what_is_published_is_confirmed_and_consumed_in_order() {
    with_cluster(async |cluster| {
        let (home, publisher, consumer) = three(cluster, "q").await;
        let mut deliveries = consumer.consume("q", "c").await;
        let mut confirms = Vec::new();
        for number in 0..5_000 {
            // In turn: one that is kept on disk and one that is not.
            let properties = if number % 2 == 0 { persistent() } else { BasicProperties::default() };
            let body = number.to_string();
            let sent = publisher.basic_publish(
                "".into(),
                "q".into(),
                BasicPublishOptions::default(),
                body.as_bytes(),
                properties,
            );
            confirms.push(sent.await.expect("published"));
        }
        for confirm in confirms {
            let outcome = soon("a confirm", confirm).await.expect("an outcome");
            assert_eq!(outcome, Confirmation::Ack(None));
        }
        let got = deliveries.deliveries(5_000).await;
        assert_eq!(bodies_of(&got), numbers(5_000));
        got[4_999].ack(BasicAckOptions { multiple: true }).await.expect("ack");
        consumer.sync().await;
        wait_for(WAIT, "nothing left", async || home.depth("q").await == 0).await;
        consumer.close(200, "".into()).await.expect("channel.close-ok");
        assert_eq!(home.depth("q").await, 0, "all was acknowledged");
    });
}

#[test]
fn mandatory_messages_come_back_when_nobody_gets_them() {
    with_cluster(async |cluster| {
        let (home, publisher, _) = three(cluster, "q").await;
        let taken = publisher.publish_mandatory("", "q", "m").await;
        assert!(taken.is_ack() && taken.take_message().is_none());
        let lost = publisher.publish_mandatory("", "nobody", "m").await;
        let back = lost.take_message().expect("it comes back");
        assert_eq!((back.reply_code, back.reply_text.as_str()), (312, "NO_ROUTE"));
        assert_eq!(home.bodies("q").await, ["m"]);
    });
}

#[test]
fn transactions_reach_queues_of_other_nodes() {
    with_cluster(async |cluster| {
        let (home, _, _) = three(cluster, "q").await;
        let tx = cluster.connect(1).await.channel().await;
        let watcher = cluster.connect(2).await.channel().await;
        tx.tx_select().await.expect("tx.select-ok");
        for round in 0..20 {
            tx.publish_persistent("", "q", &format!("a{round}")).await;
            tx.publish_persistent("", "q", &format!("b{round}")).await;
            assert_eq!(watcher.depth("q").await, 0, "not before the commit");
            if round % 2 == 0 {
                tx.tx_commit().await.expect("tx.commit-ok");
                // Committed is there, whoever looks.
                assert_eq!(watcher.bodies("q").await, [format!("a{round}"), format!("b{round}")]);
            } else {
                tx.tx_rollback().await.expect("tx.rollback-ok");
            }
        }
        home.publish_persistent("", "q", "held").await;
        home.await_depth("q", 1).await;
        let held = tx.get("q").await.expect("a message");
        // By its tag: what lapin has acknowledged once it does not again.
        let ack = async || tx.basic_ack(held.delivery_tag, BasicAckOptions::default()).await.expect("ack");
        ack().await;
        tx.tx_rollback().await.expect("tx.rollback-ok");
        ack().await;
        tx.tx_commit().await.expect("tx.commit-ok");
        tx.close(200, "".into()).await.expect("channel.close-ok");
        assert_eq!(watcher.depth("q").await, 0);
    });
}

#[test]
fn prefetch_counts_over_the_hop() {
    with_cluster(async |cluster| {
        let (home, publisher, consumer) = three(cluster, "q").await;
        consumer.prefetch(3).await;
        let mut deliveries = consumer.consume("q", "c").await;
        for number in 0..10 {
            publisher.publish("", "q", &number.to_string()).await;
        }
        let first = deliveries.deliveries(3).await;
        wait_for(WAIT, "seven are left", async || home.depth("q").await == 7).await;
        consumer.sync().await;
        assert!(deliveries.waiting().is_empty());
        first[1].ack(BasicAckOptions { multiple: true }).await.expect("ack");
        let next = deliveries.deliveries(2).await;
        assert_eq!(bodies_of(&next), ["3", "4"]);
        consumer.sync().await;
        assert!(deliveries.waiting().is_empty());
        assert_eq!(home.depth("q").await, 5);
    });
}

#[test]
fn every_answer_to_a_delivery_reaches_the_queue() {
    with_cluster(async |cluster| {
        let (home, publisher, consumer) = three(cluster, "q").await;
        for number in 0..8 {
            publisher.publish_persistent("", "q", &number.to_string()).await;
        }
        let mut deliveries = consumer.consume("q", "c").await;
        let got = deliveries.deliveries(8).await;
        consumer.basic_cancel("c".into(), Default::default()).await.expect("basic.cancel-ok");
        got[0].ack(BasicAckOptions::default()).await.expect("ack");
        got[1].reject(BasicRejectOptions { requeue: true }).await.expect("reject");
        got[2].reject(BasicRejectOptions { requeue: false }).await.expect("reject");
        got[3].nack(BasicNackOptions { requeue: true, ..Default::default() }).await.expect("nack");
        got[5].nack(BasicNackOptions { requeue: false, multiple: true }).await.expect("nack");
        wait_for(WAIT, "two are back", async || home.depth("q").await == 2).await;
        consumer.basic_recover(BasicRecoverOptions { requeue: true }).await.expect("basic.recover-ok");
        wait_for(WAIT, "four are back", async || home.depth("q").await == 4).await;
        let back = home.take_all("q").await;
        assert_eq!(bodies_of(&back), ["1", "3", "6", "7"], "in their old order");
        assert!(back.iter().all(|delivery| delivery.redelivered));
    });
}

#[test]
fn what_a_lost_client_held_is_ready_again() {
    with_cluster(async |cluster| {
        let (home, publisher, _) = three(cluster, "q").await;
        for number in 0..20 {
            publisher.publish_persistent("", "q", &number.to_string()).await;
        }
        let client = cluster.connect(2).await;
        let channel = client.channel().await;
        let mut deliveries = channel.consume("q", "c").await;
        let got = deliveries.deliveries(20).await;
        got[4].ack(BasicAckOptions { multiple: true }).await.expect("ack");
        channel.sync().await;
        client.end().await;
        wait_for(WAIT, "what was not acknowledged", async || home.depth("q").await == 15).await;
        let back = home.take_all("q").await;
        assert_eq!(bodies_of(&back), numbers(20)[5..]);
        assert!(back.iter().all(|delivery| delivery.redelivered));
    });
}

#[test]
fn gets_purges_and_deletes_are_answered_by_the_home() {
    with_cluster(async |cluster| {
        let (_home, publisher, other) = three(cluster, "q").await;
        assert!(other.get("q").await.is_none());
        for number in 0..10 {
            publisher.publish_persistent("", "q", &number.to_string()).await;
        }
        let got = other.basic_get("q".into(), Default::default()).await.expect("get-ok").expect("a message");
        assert_eq!((got.message_count, got.delivery.data.as_slice()), (9, b"0".as_slice()));
        got.delivery.ack(BasicAckOptions::default()).await.expect("ack");
        let if_empty = QueueDeleteOptions { if_empty: true, ..Default::default() };
        let channel = cluster.connect(2).await.channel().await;
        let full = refusal(channel.queue_delete("q".into(), if_empty).await);
        assert_eq!(full, (406, "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty".to_owned()));
        let if_unused = QueueDeleteOptions { if_unused: true, ..Default::default() };
        let consumer = other.consume("q", "c").await;
        let channel = cluster.connect(1).await.channel().await;
        let used = refusal(channel.queue_delete("q".into(), if_unused).await);
        assert_eq!(used, (406, "PRECONDITION_FAILED - queue 'q' in vhost '/' in use".to_owned()));
        other.basic_cancel("c".into(), Default::default()).await.expect("basic.cancel-ok");
        drop(consumer);
        other.basic_recover(BasicRecoverOptions { requeue: true }).await.expect("basic.recover-ok");
        wait_for(WAIT, "nine", async || other.depth("q").await == 9).await;
        assert_eq!(other.queue_purge("q".into(), Default::default()).await.expect("purge-ok"), 9);
        publisher.publish("", "q", "last").await;
        assert_eq!(other.queue_delete("q".into(), Default::default()).await.expect("delete-ok"), 1);
        let looked = refusal(cluster.connect(1).await.channel().await.look("q").await);
        assert_eq!(looked, (404, "NOT_FOUND - no queue 'q' in vhost '/'".to_owned()));
    });
}

#[test]
fn a_channel_sees_what_it_has_published_itself() {
    with_cluster(async |cluster| {
        let _home = three(cluster, "q").await;
        let channel = cluster.connect(1).await.channel().await;
        for number in 1..=300_u32 {
            channel.publish("", "q", "m").await;
            assert_eq!(channel.depth("q").await, number, "a passive declare sees what came before it");
        }
        channel.publish("", "q", "last").await;
        assert_eq!(channel.queue_purge("q".into(), Default::default()).await.expect("purge-ok"), 301);
    });
}

/// Bytes that tell their place.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

#[test]
fn bodies_of_every_size_pass_between_nodes() {
    with_cluster(async |cluster| {
        let (_home, publisher, consumer) = three(cluster, "q").await;
        let mut deliveries = consumer.consume("q", "c").await;
        for size in [0, 1, 65_535, 65_536, 262_144, 5_000_000] {
            let body = pattern(size);
            assert!(publisher.publish_with("", "q", &body, persistent()).await.is_ack(), "{size}");
            let delivery = deliveries.delivery().await;
            assert!(delivery.data == body, "{size} bytes came otherwise");
            delivery.ack(BasicAckOptions::default()).await.expect("ack");
        }
    });
}

#[test]
fn the_largest_message_passes_and_the_cluster_holds_meanwhile() {
    with_cluster(async |cluster| {
        let (_home, publisher, consumer) = three(cluster, "q").await;
        // The limit is 128 MiB; its bytes go over two hops while leases are renewed.
        let body = pattern(128 << 20);
        let sent = publisher.basic_publish(
            "".into(),
            "q".into(),
            BasicPublishOptions::default(),
            &body,
            BasicProperties::default(),
        );
        let outcome = tokio::time::timeout(6 * WAIT, async { sent.await.expect("published").await });
        assert!(outcome.await.expect("in time").expect("an outcome").is_ack());
        let got = tokio::time::timeout(6 * WAIT, consumer.basic_get("q".into(), Default::default()));
        let got = got.await.expect("in time").expect("get-ok").expect("a message");
        assert!(got.delivery.data == body, "it came otherwise");
        for node in 0..3 {
            assert!(!cluster.node(node).log().contains("does not answer"), "{}", cluster.node(node).log());
        }
    });
}
