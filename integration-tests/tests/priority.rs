//! x-max-priority: higher first, equal ones in order, up to 255.

use integration_tests::{Channel, Deliveries, arguments, bodies_of, refusal, with_broker};
use lapin::BasicProperties;
use lapin::types::AMQPValue;

async fn priority_queue(channel: &Channel, name: &str, max: i32) {
    channel.queue_with(name, arguments([("x-max-priority", AMQPValue::LongInt(max))])).await;
}

async fn publish(channel: &Channel, queue: &str, priority: u8, body: &str) {
    let properties = BasicProperties::default().with_priority(priority);
    channel.publish_with("", queue, body.as_bytes(), properties).await;
}

#[test]
fn higher_priorities_come_first_and_equal_ones_in_order() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        priority_queue(&channel, "q", 5).await;
        for (priority, body) in [(1, "1a"), (5, "5a"), (0, "0"), (1, "1b"), (5, "5b"), (3, "3")] {
            publish(&channel, "q", priority, body).await;
        }
        channel.publish("", "q", "none").await;
        publish(&channel, "q", 200, "above counts as the highest").await;
        let expected = ["5a", "5b", "above counts as the highest", "3", "1a", "1b", "0", "none"];
        assert_eq!(channel.bodies("q").await, expected);
    });
}

#[test]
fn all_two_hundred_and_fifty_six_are_told_apart() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        priority_queue(&channel, "q", 255).await;
        for number in 0..=255_u8 {
            // 113 has no divisor in common with 256: every priority once, in no order.
            let priority = number.wrapping_mul(113);
            publish(&channel, "q", priority, &priority.to_string()).await;
        }
        let expected: Vec<String> = (0..=255).rev().map(|priority: u8| priority.to_string()).collect();
        assert_eq!(channel.bodies("q").await, expected);
    });
}

#[test]
fn a_requeued_message_takes_its_place_again() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        priority_queue(&channel, "q", 9).await;
        for (priority, body) in [(5, "a"), (5, "b"), (1, "c")] {
            publish(&channel, "q", priority, body).await;
        }
        let first = channel.get("q").await.expect("a message");
        publish(&channel, "q", 5, "d").await;
        publish(&channel, "q", 9, "e").await;
        first
            .nack(lapin::options::BasicNackOptions { requeue: true, ..Default::default() })
            .await
            .expect("nack");
        channel.await_depth("q", 5).await;
        assert_eq!(channel.bodies("q").await, ["e", "a", "b", "d", "c"]);
    });
}

#[test]
fn a_busy_consumer_gets_the_important_next() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        priority_queue(&channel, "q", 9).await;
        channel.prefetch(1).await;
        publish(&channel, "q", 0, "first").await;
        let mut consumer = channel.consume("q", "").await;
        let first = consumer.delivery().await;
        for (priority, body) in [(1, "low"), (9, "high"), (5, "middle")] {
            publish(&channel, "q", priority, body).await;
        }
        first.ack(Default::default()).await.expect("ack");
        let mut got = Vec::new();
        for _ in 0..3 {
            let delivery = consumer.delivery().await;
            delivery.ack(Default::default()).await.expect("ack");
            got.push(delivery);
        }
        assert_eq!(bodies_of(&got), ["high", "middle", "low"]);
    });
}

#[test]
fn drop_head_takes_the_head_which_is_the_most_important() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        let fields = [("x-max-priority", AMQPValue::LongInt(9)), ("x-max-length", AMQPValue::LongInt(2))];
        channel.queue_with("q", arguments(fields)).await;
        for (priority, body) in [(9, "high"), (1, "low"), (5, "middle")] {
            publish(&channel, "q", priority, body).await;
        }
        assert_eq!(channel.bodies("q").await, ["middle", "low"]);
    });
}

#[test]
fn a_queue_without_the_argument_ignores_priorities() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("q").await;
        for (priority, body) in [(0, "a"), (9, "b"), (5, "c")] {
            publish(&channel, "q", priority, body).await;
        }
        assert_eq!(channel.bodies("q").await, ["a", "b", "c"]);
    });
}

#[test]
fn more_than_255_levels_are_refused() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        for (max, why) in [(256, "{max_value_exceeded,256}"), (-1, "{value_negative,-1}")] {
            let channel = client.channel().await;
            let fields = arguments([("x-max-priority", AMQPValue::LongInt(max))]);
            let refused = refusal(channel.declare("q", Default::default(), fields).await);
            let expected = format!(
                "PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'q' in vhost '/': {why}"
            );
            assert_eq!(refused, (406, expected));
        }
    });
}
