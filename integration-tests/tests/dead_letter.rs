//! Dead-lettering: x-death and its companions, routing keys, chains and cycles.

use integration_tests::{Channel, arguments, bodies_of, header, refusal, text, with_broker};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldArray, FieldTable};

/// A queue whose dead messages go to queue `to` by the default exchange.
async fn source(channel: &Channel, name: &str, to: &str, more: FieldTable) {
    let mut fields =
        arguments([("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text(to))]);
    for (key, value) in more.inner() {
        fields.insert(key.clone(), value.clone());
    }
    channel.queue_with(name, fields).await;
}

fn ttl(ms: i32) -> FieldTable {
    arguments([("x-message-ttl", AMQPValue::LongInt(ms))])
}

async fn reject(channel: &Channel, queue: &str) {
    channel.await_depth(queue, 1).await;
    let delivery = channel.get(queue).await.expect("a message");
    delivery.reject(Default::default()).await.expect("reject");
}

/// The entries of x-death as (queue, reason, count), newest first.
fn deaths(delivery: &Delivery) -> Vec<(String, String, i64)> {
    let Some(AMQPValue::FieldArray(entries)) = header(delivery, "x-death") else { return Vec::new() };
    entries
        .as_slice()
        .iter()
        .map(|entry| (field(entry, "queue"), field(entry, "reason"), count(entry)))
        .collect()
}

fn entry_field(entry: &AMQPValue, name: &str) -> Option<AMQPValue> {
    match entry {
        AMQPValue::FieldTable(table) => table.inner().get(name).cloned(),
        other => panic!("an entry of x-death is a table: {other:?}"),
    }
}

fn field(entry: &AMQPValue, name: &str) -> String {
    match entry_field(entry, name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name} of x-death is text: {other:?}"),
    }
}

fn count(entry: &AMQPValue) -> i64 {
    match entry_field(entry, "count") {
        Some(AMQPValue::LongLongInt(count)) => count,
        other => panic!("count of x-death is a long: {other:?}"),
    }
}

fn death(queue: &str, reason: &str, count: i64) -> (String, String, i64) {
    (queue.to_owned(), reason.to_owned(), count)
}

#[test]
fn a_rejected_message_tells_where_it_died() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("dead").await;
        source(&channel, "q", "dead", FieldTable::default()).await;
        channel.bind("q", "amq.topic", "a.*").await;
        let properties = BasicProperties::default().with_message_id("7".into()).with_priority(3);
        channel.publish_with("amq.topic", "a.b", b"m", properties).await;
        reject(&channel, "q").await;
        let dead = channel.take_soon("dead").await;
        assert_eq!(
            (dead.exchange.as_str(), dead.routing_key.as_str(), dead.redelivered),
            ("", "dead", false)
        );
        assert_eq!(dead.properties.message_id().as_ref().map(|id| id.as_str()), Some("7"));
        assert_eq!(*dead.properties.priority(), Some(3));
        assert_eq!(deaths(&dead), [death("q", "rejected", 1)]);
        let Some(AMQPValue::FieldArray(entries)) = header(&dead, "x-death") else { panic!("x-death") };
        let entry = &entries.as_slice()[0];
        assert_eq!(entry_field(entry, "exchange"), Some(text("amq.topic")));
        let keys = AMQPValue::FieldArray(FieldArray::from(vec![text("a.b")]));
        assert_eq!(entry_field(entry, "routing-keys"), Some(keys));
        assert!(matches!(entry_field(entry, "time"), Some(AMQPValue::Timestamp(at)) if at > 1_600_000_000));
        for which in ["first", "last"] {
            assert_eq!(header(&dead, &format!("x-{which}-death-queue")), Some(text("q")));
            assert_eq!(header(&dead, &format!("x-{which}-death-reason")), Some(text("rejected")));
            assert_eq!(header(&dead, &format!("x-{which}-death-exchange")), Some(text("amq.topic")));
        }
    });
}

#[test]
fn an_expired_message_loses_its_expiration_and_tells_it() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("dead").await;
        source(&channel, "q", "dead", FieldTable::default()).await;
        let properties = BasicProperties::default().with_expiration("50".into()).with_delivery_mode(2);
        channel.publish_with("", "q", b"m", properties).await;
        let dead = channel.take_soon("dead").await;
        assert_eq!(deaths(&dead), [death("q", "expired", 1)]);
        assert_eq!(*dead.properties.expiration(), None);
        assert_eq!(*dead.properties.delivery_mode(), Some(2));
        let Some(AMQPValue::FieldArray(entries)) = header(&dead, "x-death") else { panic!("x-death") };
        assert_eq!(entry_field(&entries.as_slice()[0], "original-expiration"), Some(text("50")));
    });
}

#[test]
fn requeued_purged_and_deleted_messages_are_not_dead() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("dead").await;
        source(&channel, "q", "dead", FieldTable::default()).await;
        channel.publish("", "q", "m").await;
        let delivery = channel.get("q").await.expect("a message");
        delivery.reject(lapin::options::BasicRejectOptions { requeue: true }).await.expect("reject");
        channel.await_depth("q", 1).await;
        assert_eq!(channel.queue_purge("q".into(), Default::default()).await.expect("purged"), 1);
        channel.publish("", "q", "m").await;
        assert_eq!(channel.queue_delete("q".into(), Default::default()).await.expect("deleted"), 1);
        assert_eq!(channel.depth("dead").await, 0);
    });
}

#[test]
fn without_a_key_of_its_own_the_message_keeps_its_keys() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.exchange("dlx", "direct").await;
        for key in ["k", "copy", "blind"] {
            channel.bound_queue(&format!("dead-{key}"), "dlx", key).await;
        }
        channel.queue_with("q", arguments([("x-dead-letter-exchange", text("dlx"))])).await;
        channel.bind("q", "amq.direct", "k").await;
        let list = |key: &str| AMQPValue::FieldArray(FieldArray::from(vec![text(key)]));
        let headers = arguments([("CC", list("copy")), ("BCC", list("blind"))]);
        channel.publish_with("amq.direct", "k", b"m", BasicProperties::default().with_headers(headers)).await;
        reject(&channel, "q").await;
        let dead = channel.take_soon("dead-k").await;
        assert_eq!((dead.exchange.as_str(), dead.routing_key.as_str()), ("dlx", "k"));
        assert_eq!(channel.take_soon("dead-copy").await.routing_key.as_str(), "k");
        // BCC still routes, though nobody is told of it.
        let blind = channel.take_soon("dead-blind").await;
        let Some(AMQPValue::FieldArray(entries)) = header(&blind, "x-death") else { panic!("x-death") };
        let keys = AMQPValue::FieldArray(FieldArray::from(vec![text("k"), text("copy")]));
        assert_eq!(entry_field(&entries.as_slice()[0], "routing-keys"), Some(keys));
    });
}

#[test]
fn a_key_of_its_own_takes_cc_away() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        for queue in ["dead", "copy"] {
            channel.queue(queue).await;
        }
        source(&channel, "q", "dead", FieldTable::default()).await;
        let copies = AMQPValue::FieldArray(FieldArray::from(vec![text("copy")]));
        let properties = BasicProperties::default().with_headers(arguments([("CC", copies)]));
        channel.publish_with("", "q", b"m", properties).await;
        assert_eq!(channel.bodies("copy").await, ["m"]);
        reject(&channel, "q").await;
        let dead = channel.take_soon("dead").await;
        assert_eq!(header(&dead, "CC"), None);
        assert_eq!(channel.depth("copy").await, 0);
    });
}

#[test]
fn entries_are_merged_by_queue_and_reason_newest_first() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        // Rejected from work, expired in wait, and back: three times, then off to the end.
        channel.queue("end").await;
        source(&channel, "work", "wait", FieldTable::default()).await;
        source(&channel, "wait", "work", ttl(50)).await;
        channel.publish("", "work", "m").await;
        for _ in 0..3 {
            reject(&channel, "work").await;
        }
        let back = channel.take_soon("work").await;
        assert_eq!(deaths(&back), [death("wait", "expired", 3), death("work", "rejected", 3)]);
        assert_eq!(header(&back, "x-first-death-queue"), Some(text("work")));
        assert_eq!(header(&back, "x-last-death-queue"), Some(text("wait")));
        assert_eq!(header(&back, "x-last-death-reason"), Some(text("expired")));
    });
}

#[test]
fn a_cycle_without_a_reject_ends() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        source(&channel, "a", "b", ttl(60)).await;
        source(&channel, "b", "a", ttl(60)).await;
        source(&channel, "self", "self", ttl(60)).await;
        // Lives longer than both rounds of the cycle together.
        channel.queue_with("clock", ttl(400)).await;
        for queue in ["a", "self", "clock"] {
            channel.publish("", queue, "m").await;
        }
        channel.await_depth("clock", 0).await;
        for queue in ["a", "b", "self"] {
            assert_eq!(channel.depth(queue).await, 0, "{queue}");
        }
    });
}

#[test]
fn a_cycle_with_a_reject_goes_on() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        source(&channel, "self", "self", FieldTable::default()).await;
        channel.publish("", "self", "m").await;
        for _ in 0..5 {
            reject(&channel, "self").await;
        }
        let back = channel.take_soon("self").await;
        assert_eq!(deaths(&back), [death("self", "rejected", 5)]);
    });
}

#[test]
fn dead_letters_fan_out_and_chain() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.exchange("dlx", "fanout").await;
        let fields = arguments([("x-dead-letter-exchange", text("dlx"))]);
        channel.queue_with("q", fields).await;
        channel.bound_queue("plain", "dlx", "").await;
        channel.queue("end").await;
        source(&channel, "short", "end", ttl(50)).await;
        channel.bind("short", "dlx", "").await;
        channel.publish("", "q", "m").await;
        reject(&channel, "q").await;
        assert_eq!(deaths(&channel.take_soon("plain").await), [death("q", "rejected", 1)]);
        let end = channel.take_soon("end").await;
        assert_eq!(deaths(&end), [death("short", "expired", 1), death("q", "rejected", 1)]);
    });
}

#[test]
fn many_dead_letters_keep_their_order() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("dead").await;
        source(&channel, "q", "dead", FieldTable::default()).await;
        let expected: Vec<String> = (0..500).map(|number| number.to_string()).collect();
        for body in &expected {
            channel.publish("", "q", body).await;
        }
        let mut last = None;
        for _ in 0..500 {
            last = channel.get("q").await;
        }
        let nack = lapin::options::BasicNackOptions { multiple: true, requeue: false };
        last.expect("the last").nack(nack).await.expect("nack");
        channel.await_depth("dead", 500).await;
        assert_eq!(bodies_of(&channel.take_all("dead").await), expected);
    });
}

#[test]
fn without_a_place_to_go_the_dead_are_gone() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue_with("no exchange", arguments([("x-dead-letter-exchange", text("none"))])).await;
        source(&channel, "no queue", "none", FieldTable::default()).await;
        channel.queue("no dlx").await;
        for queue in ["no exchange", "no queue", "no dlx"] {
            channel.publish("", queue, "m").await;
            reject(&channel, queue).await;
            assert_eq!(channel.depth(queue).await, 0, "{queue}");
        }
    });
}

#[test]
fn what_a_publisher_says_in_x_death_does_no_harm() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("dead").await;
        source(&channel, "q", "dead", FieldTable::default()).await;
        let odd = [
            text("odd"),
            AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::Void, text("x")])),
            AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::FieldTable(FieldTable::default())])),
            AMQPValue::FieldTable(FieldTable::default()),
        ];
        for value in odd {
            let properties = BasicProperties::default().with_headers(arguments([("x-death", value.clone())]));
            channel.publish_with("", "q", b"m", properties).await;
            reject(&channel, "q").await;
            let dead = channel.take_soon("dead").await;
            let Some(AMQPValue::FieldArray(entries)) = header(&dead, "x-death") else { panic!("{value:?}") };
            assert_eq!(field(&entries.as_slice()[0], "queue"), "q", "{value:?}");
        }
    });
}

#[test]
fn a_key_without_an_exchange_is_refused() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        let fields = arguments([("x-dead-letter-routing-key", text("k"))]);
        let (code, text) = refusal(channel.declare("q", Default::default(), fields).await);
        assert_eq!(code, 406);
        assert!(text.ends_with("for queue 'q' in vhost '/': routing_key_but_no_dlx_defined"), "{text}");
    });
}
