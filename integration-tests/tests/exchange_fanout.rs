//! Fanout exchanges: every bound queue gets a copy, whatever the key.

use integration_tests::{arguments, text, with_broker};

#[test]
fn every_bound_queue_gets_one_copy() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.exchange("f", "fanout").await;
        for (queue, key) in [("a", ""), ("b", "some"), ("c", "other")] {
            channel.bound_queue(queue, "f", key).await;
        }
        channel.bind("a", "f", "a second time").await;
        channel.bind_with("a", "f", "", arguments([("x", text("third"))])).await.expect("bound");
        channel.queue("not bound").await;
        channel.publish("f", "any", "m").await;
        for queue in ["a", "b", "c"] {
            assert_eq!(channel.bodies(queue).await, ["m"], "{queue}");
        }
        assert!(channel.bodies("not bound").await.is_empty());
    });
}

#[test]
fn a_queue_stays_bound_until_its_last_binding_is_gone() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.bound_queue("q", "amq.fanout", "one").await;
        channel.bind("q", "amq.fanout", "two").await;
        for (key, left) in [("one", 1), ("two", 0)] {
            let unbound =
                channel.queue_unbind("q".into(), "amq.fanout".into(), key.into(), Default::default());
            unbound.await.expect("queue.unbind-ok");
            channel.publish("amq.fanout", "", "m").await;
            assert_eq!(channel.bodies("q").await.len(), left, "after unbinding {key}");
        }
    });
}

#[test]
fn a_hundred_queues_get_each_message_in_order() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        let queues: Vec<String> = (0..100).map(|number| format!("q{number}")).collect();
        for queue in &queues {
            channel.bound_queue(queue, "amq.fanout", "").await;
        }
        for number in 0..20 {
            channel.publish("amq.fanout", "", &number.to_string()).await;
        }
        let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        for queue in &queues {
            assert_eq!(channel.bodies(queue).await, expected, "{queue}");
        }
    });
}
