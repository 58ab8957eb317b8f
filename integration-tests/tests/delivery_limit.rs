//! x-delivery-limit: a message that comes back too often leaves its queue.

use integration_tests::{Channel, arguments, header, text, with_broker};
use lapin::options::{BasicRejectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

fn limited(queue_type: &str, limit: Option<i32>) -> FieldTable {
    let mut fields = arguments([
        ("x-queue-type", text(queue_type)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ]);
    if let Some(limit) = limit {
        fields.insert("x-delivery-limit".into(), AMQPValue::LongInt(limit));
    }
    fields
}

async fn declare(channel: &Channel, queue_type: &str, limit: Option<i32>) {
    channel.queue("dead").await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.declare("q", durable, limited(queue_type, limit)).await.expect("declared");
}

/// Gets the message and gives it back, until it is dead; gives the counts that its deliveries told.
async fn return_until_dead(channel: &Channel) -> Vec<Option<AMQPValue>> {
    let mut counts = Vec::new();
    while channel.depth("dead").await == 0 {
        let Some(delivery) = channel.get("q").await else {
            channel.await_depth("dead", 1).await;
            break;
        };
        assert_eq!(delivery.redelivered, !counts.is_empty());
        counts.push(header(&delivery, "x-delivery-count"));
        assert!(counts.len() < 50, "it never dies");
        delivery.reject(BasicRejectOptions { requeue: true }).await.expect("reject");
        channel.sync().await;
    }
    counts
}

#[test]
fn a_message_is_dead_after_its_limit_on_every_queue_type() {
    for queue_type in ["classic", "quorum"] {
        with_broker(async |broker| {
            let channel = broker.connect().await.channel().await;
            declare(&channel, queue_type, Some(2)).await;
            channel.publish("", "q", "m").await;
            let counts = return_until_dead(&channel).await;
            let expected = [None, Some(AMQPValue::LongLongInt(1)), Some(AMQPValue::LongLongInt(2))];
            assert_eq!(counts, expected, "{queue_type}");
            let dead = channel.take_soon("dead").await;
            assert_eq!(header(&dead, "x-first-death-reason"), Some(text("delivery_limit")));
        });
    }
}

#[test]
fn a_quorum_queue_has_a_limit_of_twenty_by_itself() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        declare(&channel, "quorum", None).await;
        channel.publish("", "q", "m").await;
        assert_eq!(return_until_dead(&channel).await.len(), 21);
    });
}

#[test]
fn a_classic_queue_has_no_limit_by_itself() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        declare(&channel, "classic", None).await;
        channel.publish("", "q", "m").await;
        for _ in 0..40 {
            let delivery = channel.get("q").await.expect("it comes back");
            assert_eq!(header(&delivery, "x-delivery-count"), None);
            delivery.reject(BasicRejectOptions { requeue: true }).await.expect("reject");
        }
        assert_eq!(channel.depth("dead").await, 0);
    });
}
