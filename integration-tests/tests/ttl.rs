//! Message TTL: by queue and by message; a message leaves when its own time is over, wherever it stands.

use integration_tests::{Channel, Deliveries, arguments, text, with_broker};
use lapin::BasicProperties;
use lapin::types::AMQPValue;
use std::time::{Duration, Instant};

fn expiring(ms: &str) -> BasicProperties {
    BasicProperties::default().with_expiration(ms.into())
}

async fn ttl_queue(channel: &Channel, name: &str, ttl: i32) {
    channel.queue_with(name, arguments([("x-message-ttl", AMQPValue::LongInt(ttl))])).await;
}

#[test]
fn a_queue_drops_messages_when_their_time_is_over() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        ttl_queue(&channel, "q", 300).await;
        let start = Instant::now();
        for body in ["a", "b", "c"] {
            channel.publish("", "q", body).await;
        }
        assert_eq!(channel.depth("q").await, 3);
        channel.await_depth("q", 0).await;
        let lived = start.elapsed();
        assert!(lived >= Duration::from_millis(295), "gone after {lived:?}");
        assert!(lived < Duration::from_millis(1_500), "gone after {lived:?}");
    });
}

#[test]
fn a_message_leaves_wherever_it_stands() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("dead").await;
        let fields = [("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("dead"))];
        channel.queue_with("q", arguments(fields)).await;
        let start = Instant::now();
        for (body, ms) in [("hour", "3600000"), ("short", "300"), ("middle", "3600000"), ("shorter", "150")] {
            channel.publish_with("", "q", body.as_bytes(), expiring(ms)).await;
        }
        channel.publish("", "q", "forever").await;
        channel.await_depth("dead", 1).await;
        assert!(start.elapsed() >= Duration::from_millis(145));
        channel.await_depth("dead", 2).await;
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(295), "{waited:?}");
        assert!(waited < Duration::from_millis(1_300), "not later than its time: {waited:?}");
        assert_eq!(channel.bodies("dead").await, ["shorter", "short"]);
        assert_eq!(channel.bodies("q").await, ["hour", "middle", "forever"]);
    });
}

#[test]
fn the_smaller_of_queue_and_message_ttl_counts() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        ttl_queue(&channel, "short queue", 200).await;
        ttl_queue(&channel, "long queue", 3_600_000).await;
        channel.publish_with("", "short queue", b"m", expiring("3600000")).await;
        channel.publish_with("", "long queue", b"m", expiring("200")).await;
        channel.publish_with("", "long queue", b"stays", expiring("3000000")).await;
        channel.await_depth("short queue", 0).await;
        channel.await_depth("long queue", 1).await;
        let stays = channel.take("long queue").await.expect("the other");
        assert_eq!(stays.properties.expiration().as_ref().map(|text| text.as_str()), Some("3000000"));
    });
}

#[test]
fn a_ttl_of_zero_reaches_only_a_consumer_that_waits() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        ttl_queue(&channel, "by queue", 0).await;
        channel.queue("by message").await;
        for queue in ["by queue", "by message"] {
            let properties = if queue == "by message" { expiring("0") } else { BasicProperties::default() };
            channel.publish_with("", queue, b"lost", properties.clone()).await;
            channel.sync().await;
            assert_eq!(channel.depth(queue).await, 0, "{queue}");
            let mut consumer = channel.consume(queue, "").await;
            channel.publish_with("", queue, b"delivered", properties).await;
            let delivery = consumer.delivery().await;
            assert_eq!(delivery.data, b"delivered", "{queue}");
            delivery.ack(Default::default()).await.expect("ack");
        }
    });
}

#[test]
fn time_runs_on_while_a_message_is_out_and_ends_when_it_comes_back() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        ttl_queue(&channel, "q", 200).await;
        channel.publish("", "q", "held").await;
        let held = channel.get("q").await.expect("a message");
        // It is out: its time cannot take it away.
        let start = Instant::now();
        ttl_queue(&channel, "clock", 300).await;
        channel.publish("", "clock", "tick").await;
        channel.await_depth("clock", 0).await;
        assert!(start.elapsed() >= Duration::from_millis(295));
        held.reject(lapin::options::BasicRejectOptions { requeue: true }).await.expect("reject");
        channel.await_depth("q", 0).await;
        assert!(channel.take("q").await.is_none());
    });
}

#[test]
fn thousands_of_different_times_are_kept() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("q").await;
        for number in 0..2_000_u32 {
            // Long and short ones mixed, so that none stands in order.
            let ms = if number % 2 == 0 { 3_600_000 } else { 100 + number * 7 % 300 };
            let body = number.to_string();
            channel.publish_with("", "q", body.as_bytes(), expiring(&ms.to_string())).await;
        }
        channel.await_depth("q", 1_000).await;
        let expected: Vec<String> = (0..2_000).step_by(2).map(|number| number.to_string()).collect();
        assert_eq!(channel.bodies("q").await, expected);
    });
}
