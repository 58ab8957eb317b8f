//! Persistent messages are there after a restart, as they were published and in their order.

use integration_tests::{
    Channel, WAIT, arguments, bodies_of, header, persistent, text, wait_for, with_restarts,
};
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, DecimalValue, FieldArray};
use lapin::{BasicProperties, Confirmation};
use std::time::Duration;

const SIGNALS: [i32; 2] = [libc::SIGKILL, libc::SIGTERM];

/// Every property, and a header of every kind.
fn everything() -> BasicProperties {
    let inner =
        arguments([("deep", AMQPValue::FieldArray(FieldArray::from(vec![text("x"), AMQPValue::Void])))]);
    let headers = arguments([
        ("bool", AMQPValue::Boolean(true)),
        ("i8", AMQPValue::ShortShortInt(-3)),
        ("u8", AMQPValue::ShortShortUInt(200)),
        ("i16", AMQPValue::ShortInt(-300)),
        ("u16", AMQPValue::ShortUInt(60_000)),
        ("i32", AMQPValue::LongInt(-70_000)),
        ("u32", AMQPValue::LongUInt(4_000_000_000)),
        ("i64", AMQPValue::LongLongInt(i64::MIN)),
        ("f32", AMQPValue::Float(1.5)),
        ("f64", AMQPValue::Double(-2.25)),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 12_345 })),
        ("text", text("grüße")),
        ("octets", AMQPValue::ByteArray(vec![0u8, 255, 7].into())),
        ("time", AMQPValue::Timestamp(1_700_000_000)),
        ("table", AMQPValue::FieldTable(inner)),
        ("nothing", AMQPValue::Void),
    ]);
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("gzip".into())
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_priority(4)
        .with_correlation_id("correlation".into())
        .with_reply_to("reply".into())
        .with_expiration("86400000".into())
        .with_message_id("id".into())
        .with_timestamp(1_700_000_001)
        .with_type("kind".into())
        .with_user_id("guest".into())
        .with_app_id("app".into())
        .with_cluster_id("cluster".into())
}

/// Bytes that tell where they are.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

#[test]
fn properties_headers_and_bodies_of_every_size_come_back() {
    let sizes = [0, 1, 4_095, 4_096, 131_064, 131_065, 262_144, 1_000_000, 5_000_000];
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.durable_queue("q").await;
        for size in sizes {
            let confirm = channel.publish_with("", "q", &pattern(size), everything()).await;
            assert_eq!(confirm, Confirmation::Ack(None));
        }
        for (round, signal) in SIGNALS.into_iter().enumerate() {
            broker.restart(signal);
            let channel = broker.connect().await.channel().await;
            assert_eq!(channel.depth("q").await as usize, sizes.len() - round);
            let delivery = channel.take("q").await.expect("a message");
            assert_eq!(delivery.properties, everything());
            assert!(delivery.data == pattern(sizes[round]), "body of {} bytes", sizes[round]);
        }
        let channel = broker.connect().await.channel().await;
        for size in &sizes[2..] {
            let delivery = channel.take("q").await.expect("a message");
            assert_eq!((delivery.routing_key.as_str(), &delivery.properties), ("q", &everything()));
            assert!(delivery.data == pattern(*size), "body of {size} bytes");
        }
    });
}

#[test]
fn a_body_of_a_hundred_megabytes_survives() {
    with_restarts(&[], async |broker| {
        let client = broker.connect().await;
        let channel = client.confirm_channel().await;
        channel.durable_queue("q").await;
        let body = pattern(100_000_000);
        let long = Duration::from_secs(60);
        let confirm = tokio::time::timeout(long, async {
            let (exchange, options) = ("".into(), BasicPublishOptions::default());
            let sent = channel.basic_publish(exchange, "q".into(), options, &body, persistent()).await;
            sent.expect("it is sent").await.expect("it is confirmed")
        });
        assert_eq!(confirm.await.expect("in time"), Confirmation::Ack(None));
        broker.restart(libc::SIGKILL);
        let channel = broker.connect().await.channel().await;
        let got = tokio::time::timeout(long, channel.basic_get("q".into(), Default::default()));
        let got = got.await.expect("in time").expect("basic.get-ok").expect("a message");
        assert!(got.data == body, "its bytes are the same");
        assert!(!got.redelivered);
    });
}

async fn in_order(channel: &Channel, queue: &str, numbers: impl Iterator<Item = u32>) {
    let expected: Vec<String> = numbers.map(|number| number.to_string()).collect();
    assert_eq!(channel.bodies(queue).await, expected, "{queue}");
}

#[test]
fn each_queue_keeps_its_order() {
    with_restarts(&[], async |broker| {
        let client = broker.connect().await;
        let channel = client.confirm_channel().await;
        for queue in ["a", "b", "c"] {
            channel.durable_queue(queue).await;
            channel.bind(queue, "amq.fanout", "").await;
        }
        for number in 0..600u32 {
            let target = ["a", "b", "c"][number as usize % 3];
            let (exchange, key) = if number % 5 == 0 { ("amq.fanout", "") } else { ("", target) };
            // Only the last confirm is waited for.
            let options = BasicPublishOptions::default();
            let body = number.to_string();
            let sent =
                channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), persistent());
            sent.await.expect("it is sent");
        }
        channel.wait_for_confirms().await.expect("all are confirmed");
        for signal in SIGNALS {
            broker.restart(signal);
        }
        let channel = broker.connect().await.channel().await;
        for (at, queue) in ["a", "b", "c"].into_iter().enumerate() {
            let mine = (0..600u32).filter(|number| number % 5 == 0 || *number as usize % 3 == at);
            in_order(&channel, queue, mine).await;
        }
    });
}

#[test]
fn priorities_come_back_highest_first() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.durable_queue_with("q", arguments([("x-max-priority", AMQPValue::LongInt(9))])).await;
        for number in 0..30u8 {
            let properties = persistent().with_priority(number % 4);
            channel.publish_with("", "q", number.to_string().as_bytes(), properties).await;
        }
        broker.restart(libc::SIGKILL);
        let channel = broker.connect().await.channel().await;
        let expected =
            (0..4u32).rev().flat_map(|priority| (0..30).filter(move |number| number % 4 == priority));
        in_order(&channel, "q", expected).await;
    });
}

#[test]
fn time_to_live_goes_on_where_it_was() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel
            .durable_queue_with("common", arguments([("x-message-ttl", AMQPValue::LongInt(60_000))]))
            .await;
        channel.durable_queue_with("short", arguments([("x-message-ttl", AMQPValue::LongInt(4_000))])).await;
        channel.durable_queue("own").await;
        let published = std::time::Instant::now();
        channel.publish_persistent("", "common", "stays").await;
        channel.publish_persistent("", "short", "goes").await;
        channel.publish_with("", "own", b"goes", persistent().with_expiration("4000".into())).await;
        channel.publish_with("", "own", b"stays", persistent().with_expiration("60000".into())).await;
        for signal in SIGNALS {
            broker.restart(signal);
        }
        let channel = broker.connect().await.channel().await;
        wait_for(Duration::from_secs(8), "expiry", async || {
            channel.depth("short").await == 0 && channel.depth("own").await == 1
        })
        .await;
        let took = published.elapsed();
        // Had the time begun anew with a start, it would have taken longer.
        assert!(took < Duration::from_millis(6_500), "{took:?}");
        assert!(took > Duration::from_millis(3_900), "{took:?}");
        assert_eq!(channel.bodies("own").await, ["stays"]);
        assert_eq!(channel.bodies("common").await, ["stays"]);
    });
}

#[test]
fn what_expires_while_the_broker_is_away_is_not_delivered() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.durable_queue_with("q", arguments([("x-dead-letter-exchange", text("amq.fanout"))])).await;
        channel.durable_queue("dead").await;
        channel.bind("dead", "amq.fanout", "").await;
        let published = std::time::Instant::now();
        channel.publish_with("", "q", b"m", persistent().with_expiration("400".into())).await;
        broker.end(libc::SIGKILL);
        let over = Duration::from_millis(500).saturating_sub(published.elapsed());
        tokio::time::sleep(over).await;
        broker.start_again(&[]);
        let channel = broker.connect().await.channel().await;
        let dead = channel.take_soon("dead").await;
        assert_eq!(header(&dead, "x-first-death-reason"), Some(text("expired")));
        assert_eq!(channel.depth("q").await, 0);
    });
}

/// The reason, queue and count of a dead letter's only death.
fn death(message: &lapin::message::Delivery) -> [Option<AMQPValue>; 3] {
    let death = header(message, "x-death");
    let Some(AMQPValue::FieldArray(list)) = &death else { panic!("x-death is {death:?}") };
    let [AMQPValue::FieldTable(only)] = list.as_slice() else { panic!("x-death holds {list:?}") };
    ["reason", "queue", "count"].map(|name| only.inner().get(name).cloned())
}

#[test]
fn dead_letters_and_what_they_tell_survive() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.durable_queue("dead").await;
        channel.bind("dead", "amq.fanout", "").await;
        let fields =
            [("x-dead-letter-exchange", text("amq.fanout")), ("x-max-length", AMQPValue::LongInt(1))];
        channel.durable_queue_with("q", arguments(fields)).await;
        for body in ["dropped", "rejected"] {
            channel.publish_persistent("", "q", body).await;
        }
        let rejected = channel.get("q").await.expect("a message");
        rejected.reject(Default::default()).await.expect("reject");
        channel.await_depth("dead", 2).await;
        // A confirm says that everything before it is on the disk, the reject among it.
        channel.publish_persistent("", "q", "behind").await;
        broker.restart(libc::SIGKILL);
        let channel = broker.connect().await.channel().await;
        // Killed before it was known that they have arrived, they are sent once more.
        let mut all = Vec::new();
        wait_for(WAIT, "the dead letters", async || {
            all.extend(channel.take("dead").await);
            bodies_of(&all).iter().any(|body| body == "rejected")
        })
        .await;
        all.dedup_by_key(|message| message.data.clone());
        assert_eq!(bodies_of(&all), ["dropped", "rejected"]);
        for (message, reason) in all.iter().zip(["maxlen", "rejected"]) {
            let expected = [Some(text(reason)), Some(text("q")), Some(AMQPValue::LongLongInt(1))];
            assert_eq!(death(message), expected);
        }
        assert_eq!(channel.bodies("q").await, ["behind"]);
    });
}

#[test]
fn mandatory_messages_come_back_to_the_publisher_and_go_nowhere() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.durable_queue("q").await;
        for round in 0..2 {
            let returned = channel.publish_mandatory("", "nowhere", "lost").await;
            let Confirmation::Ack(Some(message)) = returned else { panic!("round {round}: {returned:?}") };
            assert_eq!((message.reply_code, &message.data[..]), (312, &b"lost"[..]));
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let kept = channel.send("", "q", options, b"kept", persistent()).await.expect("it is taken");
            assert_eq!(kept, Confirmation::Ack(None));
        }
        broker.restart(libc::SIGKILL);
        let channel = broker.connect().await.channel().await;
        assert_eq!(channel.bodies("q").await, ["kept", "kept"]);
    });
}
