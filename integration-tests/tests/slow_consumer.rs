//! A consumer that does not read: its outbox is bounded, and nobody else waits for it.

use integration_tests::{Deliveries, Payload, with_broker};
use lapin::BasicProperties;
use std::time::{Duration, Instant};

#[test]
fn a_consumer_that_does_not_read_holds_nobody_up() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.confirm_channel().await;
        channel.queue("slow").await;
        channel.queue("fast").await;
        // Consumes without acknowledgement and never reads.
        let mut deaf = broker.peer().await;
        deaf.channel(1).await;
        let consume = Payload::method(60, 20).short(0).text("slow").text("t").octet(2).longtext(b"");
        assert_eq!(deaf.call(1, consume).await.ids(), (60, 21));
        let body = vec![7_u8; 64 * 1024];
        for _ in 0..640 {
            assert!(channel.publish_with("", "slow", &body, BasicProperties::default()).await.is_ack());
        }
        // 40 MiB were published; what the sockets do not hold is in the queue, not in an outbox.
        let waiting = channel.depth("slow").await;
        assert!(waiting > 100, "{waiting} messages are left in the queue");
        let fast = client.channel().await;
        let mut consumer = fast.consume("fast", "").await;
        let start = Instant::now();
        for number in 0..100 {
            assert!(channel.publish("", "fast", &number.to_string()).await.is_ack());
            let delivery = consumer.delivery().await;
            assert_eq!(delivery.data, number.to_string().as_bytes());
            delivery.ack(Default::default()).await.expect("ack");
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(5), "100 round trips took {took:?}");
        assert!(broker.resident_bytes() < 250 << 20);
        // When it reads again it gets everything, in order and whole.
        for _ in 0..640 {
            assert_eq!(deaf.next_method().await.ids(), (60, 60));
            assert_eq!(deaf.content().await.1, body);
        }
        assert_eq!(channel.depth("slow").await, 0);
    });
}

#[test]
fn others_on_the_same_queue_get_what_it_does_not_take() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.confirm_channel().await;
        channel.queue("q").await;
        let mut deaf = broker.peer().await;
        deaf.channel(1).await;
        let consume = Payload::method(60, 20).short(0).text("q").text("t").octet(0).longtext(b"");
        assert_eq!(deaf.call(1, consume).await.ids(), (60, 21));
        let other = client.channel().await;
        let mut consumer = other.consume("q", "").await;
        let body = vec![7_u8; 64 * 1024];
        let mut got = 0_u32;
        for _ in 0..640 {
            assert!(channel.publish_with("", "q", &body, BasicProperties::default()).await.is_ack());
            for delivery in consumer.waiting() {
                delivery.ack(Default::default()).await.expect("ack");
                got += 1;
            }
        }
        channel.await_depth("q", 0).await;
        drop(deaf);
        // What the deaf one held comes to the other in the end.
        while got < 640 {
            consumer.delivery().await.ack(Default::default()).await.expect("ack");
            got += 1;
        }
        channel.sync().await;
        assert_eq!(channel.depth("q").await, 0);
    });
}
