//! Exchange types that RabbitMQ has as plugins: consistent hash, random, recent history.

use integration_tests::{Channel, arguments, refusal, text, with_broker};
use lapin::BasicProperties;
use lapin::types::AMQPValue;
use std::collections::HashMap;

/// How many messages each queue got; empties them.
async fn counts(channel: &Channel, queues: &[&str]) -> Vec<usize> {
    let mut counts = Vec::new();
    for queue in queues {
        counts.push(channel.take_all(queue).await.len());
    }
    counts
}

#[test]
fn a_consistent_hash_gives_each_message_to_one_queue_by_weight() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.exchange("hash", "x-consistent-hash").await;
        for (queue, weight) in [("a", "1"), ("b", "1"), ("c", "4")] {
            channel.bound_queue(queue, "hash", weight).await;
        }
        for number in 0..1200 {
            channel.publish("hash", &format!("key-{number}"), "m").await;
        }
        let counts = counts(&channel, &["a", "b", "c"]).await;
        assert_eq!(counts.iter().sum::<usize>(), 1200);
        assert!(counts[0] > 60 && counts[1] > 60, "{counts:?}");
        assert!(counts[2] > counts[0] && counts[2] > counts[1], "the weight counts: {counts:?}");
    });
}

#[test]
fn a_consistent_hash_keeps_a_key_at_its_queue() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.exchange("hash", "x-consistent-hash").await;
        for queue in ["a", "b", "c"] {
            channel.bound_queue(queue, "hash", "1").await;
        }
        let mut first: HashMap<String, &str> = HashMap::new();
        for round in 0..3 {
            for number in 0..40 {
                let key = format!("key-{number}");
                channel.publish("hash", &key, &key).await;
            }
            for queue in ["a", "b", "c"] {
                for key in channel.bodies(queue).await {
                    let home = *first.entry(key.clone()).or_insert(queue);
                    assert_eq!(home, queue, "{key} moved in round {round}");
                }
            }
        }
        // Without one queue only the keys of that queue move.
        channel.queue_delete("c".into(), Default::default()).await.expect("queue.delete-ok");
        for number in 0..40 {
            let key = format!("key-{number}");
            channel.publish("hash", &key, &key).await;
        }
        for queue in ["a", "b"] {
            for key in channel.bodies(queue).await {
                let home = first[&key];
                assert!(home == queue || home == "c", "{key} moved from {home} to {queue}");
            }
        }
    });
}

#[test]
fn a_consistent_hash_may_be_over_a_header_or_a_property() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel
            .exchange_with("by header", "x-consistent-hash", arguments([("hash-header", text("h"))]))
            .await;
        let property = arguments([("hash-property", text("message_id"))]);
        channel.exchange_with("by id", "x-consistent-hash", property).await;
        for queue in ["a", "b"] {
            channel.bound_queue(queue, "by header", "1").await;
            channel.bind(queue, "by id", "1").await;
        }
        for number in 0..60 {
            let headers = arguments([("h", text("same"))]);
            let properties = BasicProperties::default().with_headers(headers).with_message_id("same".into());
            let key = number.to_string();
            channel.publish_with("by header", &key, b"header", properties.clone()).await;
            channel.publish_with("by id", &key, b"id", properties).await;
        }
        let mut found: HashMap<String, Vec<usize>> = HashMap::new();
        for queue in ["a", "b"] {
            let bodies = channel.bodies(queue).await;
            for kind in ["header", "id"] {
                let count = bodies.iter().filter(|body| *body == kind).count();
                found.entry(kind.into()).or_default().push(count);
            }
        }
        for (kind, mut counts) in found {
            counts.sort_unstable();
            assert_eq!(counts, [0, 60], "all with one {kind} at one queue");
        }
    });
}

#[test]
fn a_consistent_hash_refuses_what_is_no_weight() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        channel.exchange("hash", "x-consistent-hash").await;
        channel.queue("q").await;
        let table = [
            ("0", "PRECONDITION_FAILED - The binding key must be greater than 0"),
            ("key", "PRECONDITION_FAILED - The binding key must be an integer: <<\"key\">>"),
            ("", "PRECONDITION_FAILED - The binding key must be an integer: <<>>"),
        ];
        for (weight, expected) in table {
            let channel = client.channel().await;
            let refused = refusal(channel.bind_with("q", "hash", weight, Default::default()).await);
            assert_eq!(refused, (406, expected.to_owned()), "weight {weight:?}");
        }
    });
}

#[test]
fn a_random_exchange_gives_each_message_to_one_of_its_queues() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.exchange("random", "x-random").await;
        for queue in ["a", "b", "c"] {
            channel.bound_queue(queue, "random", "").await;
        }
        for _ in 0..300 {
            channel.publish("random", "key", "m").await;
        }
        let counts = counts(&channel, &["a", "b", "c"]).await;
        assert_eq!(counts.iter().sum::<usize>(), 300);
        assert!(counts.iter().all(|count| *count > 30), "{counts:?}");
    });
}

#[test]
fn a_new_binding_gets_the_recent_history() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        let three = arguments([("x-recent-history-length", AMQPValue::LongInt(3))]);
        channel.exchange_with("history", "x-recent-history", three).await;
        channel.bound_queue("early", "history", "").await;
        for number in 0..5 {
            channel.publish("history", "k", &number.to_string()).await;
        }
        let headers = arguments([("x-recent-history-no-store", AMQPValue::Boolean(true))]);
        let properties = BasicProperties::default().with_headers(headers);
        channel.publish_with("history", "k", b"not kept", properties).await;
        assert_eq!(channel.bodies("early").await, ["0", "1", "2", "3", "4", "not kept"]);
        channel.bound_queue("late", "history", "").await;
        channel.await_depth("late", 3).await;
        let history = channel.take_all("late").await;
        let bodies = integration_tests::bodies_of(&history);
        assert_eq!(bodies, ["2", "3", "4"]);
        assert_eq!(history[0].exchange.as_str(), "history");
        channel.publish("history", "k", "new").await;
        assert_eq!(channel.bodies("late").await, ["new"]);
    });
}

#[test]
fn a_history_of_twenty_is_kept_without_a_length() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.exchange("history", "x-recent-history").await;
        for number in 0..30 {
            channel.publish("history", "k", &number.to_string()).await;
        }
        channel.bound_queue("late", "history", "").await;
        channel.await_depth("late", 20).await;
        let expected: Vec<String> = (10..30).map(|number| number.to_string()).collect();
        assert_eq!(channel.bodies("late").await, expected);
    });
}

#[test]
fn a_history_must_have_a_positive_length() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let table = [(AMQPValue::LongInt(0), "0"), (AMQPValue::LongInt(-1), "-1"), (text("3"), "<<\"3\">>")];
        for (length, shown) in table {
            let channel = client.channel().await;
            let arguments = arguments([("x-recent-history-length", length)]);
            let declared =
                channel.declare_exchange("history", "x-recent-history", Default::default(), arguments).await;
            let expected = format!(
                "PRECONDITION_FAILED - Invalid argument {shown}, 'x-recent-history-length' must be a positive \
                 integer"
            );
            assert_eq!(refusal(declared), (406, expected));
        }
    });
}
