//! Consumer priorities: a higher one is served first while it has room; equals share.

use integration_tests::{Channel, Deliveries, arguments, bodies_of, refusal, text, with_broker};
use lapin::Consumer;
use lapin::types::AMQPValue;

async fn consume(channel: &Channel, tag: &str, priority: i32) -> Consumer {
    let fields = arguments([("x-priority", AMQPValue::LongInt(priority))]);
    channel.consume_with("q", tag, Default::default(), fields).await.expect("basic.consume-ok")
}

#[test]
fn the_highest_with_room_is_served_first() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("q").await;
        channel.prefetch(2).await;
        let mut low = consume(&channel, "low", -5).await;
        let mut plain = channel.consume("q", "plain").await;
        let mut high = consume(&channel, "high", 10).await;
        for body in ["1", "2", "3", "4", "5", "6", "7"] {
            channel.publish("", "q", body).await;
        }
        let got = high.deliveries(2).await;
        assert_eq!(bodies_of(&got), ["1", "2"]);
        assert_eq!(bodies_of(&plain.deliveries(2).await), ["3", "4"]);
        assert_eq!(bodies_of(&low.deliveries(2).await), ["5", "6"]);
        assert_eq!(channel.depth("q").await, 1);
        got[0].ack(Default::default()).await.expect("ack");
        assert_eq!(bodies_of(&high.deliveries(1).await), ["7"]);
    });
}

#[test]
fn equals_share_evenly() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("q").await;
        let mut consumers = Vec::new();
        for tag in ["a", "b", "c"] {
            consumers.push(consume(&channel, tag, 3).await);
        }
        for number in 0..30 {
            channel.publish("", "q", &number.to_string()).await;
        }
        for consumer in &mut consumers {
            consumer.deliveries(10).await;
        }
    });
}

#[test]
fn a_priority_must_be_a_number() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("q").await;
        let fields = arguments([("x-priority", text("5"))]);
        let refused = refusal(channel.consume_with("q", "", Default::default(), fields).await);
        let expected = "PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': \"expected \
                        integer, got longstr\"";
        assert_eq!(refused, (406, expected.to_owned()));
    });
}
