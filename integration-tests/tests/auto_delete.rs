//! Auto-delete queues go with their last consumer, and never before their first.

use integration_tests::{Client, refusal, with_broker};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

const AUTO_DELETE: QueueDeclareOptions = QueueDeclareOptions {
    auto_delete: true,
    passive: false,
    durable: false,
    exclusive: false,
    nowait: false,
};

async fn is_gone(client: &Client, name: &str) -> bool {
    match client.channel().await.look(name).await {
        Ok(_) => false,
        refused => refusal(refused).0 == 404,
    }
}

#[test]
fn a_queue_goes_with_its_last_consumer() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        channel.declare("q", AUTO_DELETE, FieldTable::default()).await.expect("declared");
        // lapin cancels a consumer that is dropped.
        let _consumers = [channel.consume("q", "one").await, channel.consume("q", "two").await];
        channel.basic_cancel("one".into(), Default::default()).await.expect("basic.cancel-ok");
        assert!(!is_gone(&client, "q").await, "one consumer is left");
        channel.basic_cancel("two".into(), Default::default()).await.expect("basic.cancel-ok");
        assert!(is_gone(&client, "q").await);
    });
}

#[test]
fn a_queue_that_was_never_consumed_stays() {
    with_broker(async |broker| {
        let owner = broker.connect().await;
        let channel = owner.channel().await;
        channel.declare("q", AUTO_DELETE, FieldTable::default()).await.expect("declared");
        channel.publish("", "q", "m").await;
        assert_eq!(channel.bodies("q").await, ["m"], "basic.get is no consumer");
        owner.end().await;
        assert!(!is_gone(&broker.connect().await, "q").await);
    });
}

#[test]
fn closing_channel_or_connection_counts_as_leaving() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        channel.declare("by channel", AUTO_DELETE, FieldTable::default()).await.expect("declared");
        let _consumer = channel.consume("by channel", "").await;
        channel.close(200, "".into()).await.expect("channel.close-ok");
        assert!(is_gone(&client, "by channel").await);
        let other = broker.connect().await;
        let channel = other.channel().await;
        channel.declare("by connection", AUTO_DELETE, FieldTable::default()).await.expect("declared");
        let _consumer = channel.consume("by connection", "").await;
        other.end().await;
        integration_tests::wait_for(integration_tests::WAIT, "the queue to go", async || {
            is_gone(&client, "by connection").await
        })
        .await;
    });
}

#[test]
fn its_bindings_go_with_it() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.confirm_channel().await;
        channel.declare("q", AUTO_DELETE, FieldTable::default()).await.expect("declared");
        channel.bind("q", "amq.fanout", "").await;
        let _consumer = channel.consume("q", "tag").await;
        channel.basic_cancel("tag".into(), Default::default()).await.expect("basic.cancel-ok");
        let lost = channel.publish_mandatory("amq.fanout", "", "lost").await;
        assert_eq!(lost.take_message().expect("it comes back").reply_code, 312);
        // The name is free, and nothing is bound to it.
        channel.queue("q").await;
        let lost = channel.publish_mandatory("amq.fanout", "", "lost").await;
        assert!(lost.take_message().is_some());
    });
}
