//! queue.purge and queue.delete, and exchange.delete, with their conditions.

use integration_tests::{Deliveries, refusal, with_broker};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};

fn if_unused() -> QueueDeleteOptions {
    QueueDeleteOptions { if_unused: true, ..Default::default() }
}

fn if_empty() -> QueueDeleteOptions {
    QueueDeleteOptions { if_empty: true, ..Default::default() }
}

#[test]
fn a_purge_takes_what_is_ready_and_leaves_what_is_out() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("q").await;
        for body in ["a", "b", "c"] {
            channel.publish("", "q", body).await;
        }
        let held = channel.get("q").await.expect("a message");
        assert_eq!(channel.queue_purge("q".into(), Default::default()).await.expect("purged"), 2);
        assert_eq!(channel.queue_purge("q".into(), Default::default()).await.expect("purged"), 0);
        held.reject(lapin::options::BasicRejectOptions { requeue: true }).await.expect("reject");
        channel.await_depth("q", 1).await;
        assert_eq!(channel.bodies("q").await, ["a"]);
    });
}

#[test]
fn a_deleted_queue_tells_how_much_was_in_it() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        channel.queue("q").await;
        for _ in 0..5 {
            channel.publish("", "q", "m").await;
        }
        assert_eq!(channel.queue_delete("q".into(), Default::default()).await.expect("deleted"), 5);
        // What is not there can be deleted all the same.
        assert_eq!(channel.queue_delete("q".into(), Default::default()).await.expect("deleted"), 0);
        assert_eq!(refusal(channel.look("q").await).0, 404);
    });
}

#[test]
fn conditions_keep_a_queue_that_is_used_or_not_empty() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        channel.queue("q").await;
        let consumer = channel.consume("q", "tag").await;
        let refused = refusal(client.channel().await.queue_delete("q".into(), if_unused()).await);
        assert_eq!(refused, (406, "PRECONDITION_FAILED - queue 'q' in vhost '/' in use".to_owned()));
        channel.basic_cancel("tag".into(), Default::default()).await.expect("basic.cancel-ok");
        drop(consumer);
        channel.publish("", "q", "m").await;
        channel.sync().await;
        let refused = refusal(client.channel().await.queue_delete("q".into(), if_empty()).await);
        assert_eq!(refused, (406, "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty".to_owned()));
        assert_eq!(channel.bodies("q").await, ["m"]);
        let both = QueueDeleteOptions { if_unused: true, if_empty: true, ..Default::default() };
        assert_eq!(channel.queue_delete("q".into(), both).await.expect("deleted"), 0);
    });
}

#[test]
fn deleting_a_queue_ends_its_consumers_and_its_bindings() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.confirm_channel().await;
        channel.bound_queue("q", "amq.fanout", "").await;
        let mut consumer = channel.consume("q", "tag").await;
        let other = client.channel().await;
        other.queue_delete("q".into(), Default::default()).await.expect("deleted");
        assert!(consumer.ended().await);
        let lost = channel.publish_mandatory("amq.fanout", "", "lost").await;
        assert!(lost.take_message().is_some());
        // The same name is a new queue.
        channel.queue("q").await;
        channel.publish("amq.fanout", "", "lost").await;
        assert_eq!(channel.depth("q").await, 0);
    });
}

#[test]
fn messages_of_a_deleted_queue_can_no_longer_be_settled_twice() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        channel.queue("q").await;
        channel.publish("", "q", "m").await;
        let held = channel.get("q").await.expect("a message");
        client.channel().await.queue_delete("q".into(), Default::default()).await.expect("deleted");
        channel.queue("q").await;
        // Its queue is gone; the ack is no mistake, and nothing comes into the new queue.
        held.reject(lapin::options::BasicRejectOptions { requeue: true }).await.expect("reject");
        channel.sync().await;
        assert_eq!(channel.depth("q").await, 0);
    });
}

#[test]
fn an_exchange_in_use_is_kept_when_asked() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        channel.exchange("x", "fanout").await;
        channel.bound_queue("q", "x", "").await;
        let unused = ExchangeDeleteOptions { if_unused: true, ..Default::default() };
        let refused = refusal(client.channel().await.exchange_delete("x".into(), unused).await);
        assert_eq!(refused, (406, "PRECONDITION_FAILED - exchange 'x' in vhost '/' in use".to_owned()));
        channel.queue_delete("q".into(), Default::default()).await.expect("deleted");
        channel.exchange_delete("x".into(), unused).await.expect("exchange.delete-ok");
    });
}
