//! Consumer timeout: off by default; by queue argument and by consumer argument.

use integration_tests::{Deliveries, Payload, Peer, arguments, with_broker};
use lapin::types::AMQPValue;
use std::time::{Duration, Instant};

#[test]
fn a_channel_that_does_not_acknowledge_in_time_is_closed() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("q").await;
        // The broker looks at its heartbeats' pace.
        let mut peer = Peer::connect(broker.amqp).await;
        peer.log_in("PLAIN", b"\0guest\0guest").await;
        peer.tune_and_open((2047, 131_072, 3), "/").await;
        peer.channel(1).await;
        let mut timeout = 300_i32.to_be_bytes().to_vec();
        timeout.splice(0..0, *b"\x12x-consumer-timeoutI");
        let consume = Payload::method(60, 20).short(0).text("q").text("t").octet(0).longtext(&timeout);
        assert_eq!(peer.call(1, consume).await.ids(), (60, 21));
        let start = Instant::now();
        channel.publish("", "q", "m").await;
        let close = peer.next_close().await;
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(295), "{waited:?}");
        assert!(waited < Duration::from_secs(5), "{waited:?}");
        assert_eq!((close.channel, close.code), (1, 406));
        let expected = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: \
                        300 ms. This timeout value can be configured, see consumers doc guide to learn more";
        assert_eq!(close.text, expected);
        assert!(channel.take_soon("q").await.redelivered);
    });
}

#[test]
fn acknowledged_in_time_or_without_acknowledgement_nothing_happens() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        channel.queue_with("q", arguments([("x-consumer-timeout", AMQPValue::LongInt(400))])).await;
        channel.queue("clock").await;
        let mut acking = channel.consume("q", "").await;
        let no_ack = lapin::options::BasicConsumeOptions { no_ack: true, ..Default::default() };
        let other = client.channel().await;
        let mut free = other.consume_with("q", "", no_ack, Default::default()).await.expect("consuming");
        for _ in 0..2 {
            channel.publish("", "q", "m").await;
        }
        acking.delivery().await.ack(Default::default()).await.expect("ack");
        free.delivery().await;
        let properties = lapin::BasicProperties::default().with_expiration("900".into());
        channel.publish_with("", "clock", b"tick", properties).await;
        channel.await_depth("clock", 0).await;
        other.sync().await;
    });
}
