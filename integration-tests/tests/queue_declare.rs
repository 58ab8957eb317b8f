//! queue.declare: names, flags, passive declares, counts, and what makes a second declare differ.

use integration_tests::{arguments, refusal, text, with_broker};
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

fn flags(durable: bool, exclusive: bool, auto_delete: bool) -> QueueDeclareOptions {
    QueueDeclareOptions { durable, exclusive, auto_delete, ..Default::default() }
}

#[test]
fn a_declare_tells_name_messages_and_consumers() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        let queue = channel.declare("q", Default::default(), FieldTable::default()).await.expect("declared");
        assert_eq!((queue.name().as_str(), queue.message_count(), queue.consumer_count()), ("q", 0, 0));
        for _ in 0..3 {
            channel.publish("", "q", "m").await;
        }
        let got = channel.get("q").await.expect("a message");
        let _consumer = broker.connect().await.channel().await;
        let queue = channel.declare("q", Default::default(), FieldTable::default()).await.expect("declared");
        assert_eq!(queue.message_count(), 2, "messages that are out are not counted");
        got.ack(Default::default()).await.expect("ack");
    });
}

#[test]
fn the_server_names_a_queue_without_a_name() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        let mut names = Vec::new();
        for _ in 0..3 {
            let queue = channel.declare("", flags(false, true, false), FieldTable::default()).await;
            names.push(queue.expect("declared").name().to_string());
        }
        assert!(names.iter().all(|name| name.starts_with("amq.gen-") && name.len() == 30), "{names:?}");
        names.dedup();
        assert_eq!(names.len(), 3);
        // The empty name now means the last one declared on this channel.
        channel.publish("", &names[2], "m").await;
        assert_eq!(channel.bodies("").await, ["m"]);
    });
}

#[test]
fn the_empty_name_without_a_declare_is_refused() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        let got = channel.basic_get("".into(), Default::default()).await;
        assert_eq!(refusal(got), (404, "NOT_FOUND - no previously declared queue".to_owned()));
    });
}

#[test]
fn a_passive_declare_only_looks() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        assert_eq!(
            refusal(channel.look("q").await),
            (404, "NOT_FOUND - no queue 'q' in vhost '/'".to_owned())
        );
        let channel = client.channel().await;
        let declared = channel.declare("q", flags(true, false, true), FieldTable::default()).await;
        declared.expect("declared");
        // Flags and arguments of a passive declare say nothing.
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let looked =
            channel.declare("q", passive, arguments([("x-max-length", AMQPValue::LongInt(1))])).await;
        assert_eq!(looked.expect("it is there").name().as_str(), "q");
    });
}

#[test]
fn the_same_declare_again_is_no_change() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        let first = arguments([("x-max-length", AMQPValue::LongInt(10)), ("x-own", text("a"))]);
        channel.declare("q", flags(true, false, false), first).await.expect("declared");
        channel.publish("", "q", "kept").await;
        for length in [AMQPValue::LongLongInt(10), AMQPValue::ShortInt(10), AMQPValue::ShortShortUInt(10)] {
            // Integers of every width are equal, arguments of one's own are not compared.
            let again = arguments([("x-max-length", length), ("x-own", text("b"))]);
            let queue = channel.declare("q", flags(true, false, false), again).await.expect("declared");
            assert_eq!(queue.message_count(), 1);
        }
        // Without x-queue-type it is classic.
        let classic =
            arguments([("x-max-length", AMQPValue::LongInt(10)), ("x-queue-type", text("classic"))]);
        channel.declare("q", flags(true, false, false), classic).await.expect("declared");
    });
}

#[test]
fn another_declare_is_refused_with_what_differs() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        let length = |length| arguments([("x-max-length", AMQPValue::LongInt(length))]);
        channel.declare("q", flags(true, false, false), length(10)).await.expect("declared");
        let table = [
            (flags(false, false, false), length(10), "'durable'", "received 'false' but current is 'true'"),
            (flags(true, false, true), length(10), "'auto_delete'", "received 'true' but current is 'false'"),
            (flags(true, false, false), length(11), "'x-max-length'", "received '11' but current is '10'"),
            (
                flags(true, false, false),
                FieldTable::default(),
                "'x-max-length'",
                "received none but current is the value '10' of type 'signedint'",
            ),
            (
                flags(true, false, false),
                arguments([
                    ("x-max-length", AMQPValue::LongInt(10)),
                    ("x-expires", AMQPValue::LongInt(9000)),
                ]),
                "'x-expires'",
                "received the value '9000' of type 'signedint' but current is none",
            ),
        ];
        for (options, fields, argument, difference) in table {
            let channel = client.channel().await;
            let expected = format!(
                "PRECONDITION_FAILED - inequivalent arg {argument} for queue 'q' in vhost '/': {difference}"
            );
            assert_eq!(refusal(channel.declare("q", options, fields).await), (406, expected));
        }
    });
}

#[test]
fn names_are_stripped_of_line_ends_and_amq_is_reserved() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        let channel = client.channel().await;
        let queue =
            channel.declare("a\r\nb", Default::default(), FieldTable::default()).await.expect("declared");
        assert_eq!(queue.name().as_str(), "ab");
        let long = "n".repeat(255);
        channel.queue(&long).await;
        channel.publish("", &long, "m").await;
        assert_eq!(channel.bodies(&long).await, ["m"]);
        let refused = refusal(channel.declare("amq.mine", Default::default(), FieldTable::default()).await);
        let expected = "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'";
        assert_eq!(refused, (403, expected.to_owned()));
    });
}

#[test]
fn a_declare_without_an_answer_is_seen_by_what_follows() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        let nowait = QueueDeclareOptions { nowait: true, ..Default::default() };
        channel.declare("q", nowait, FieldTable::default()).await.expect("sent");
        channel.publish("", "q", "m").await;
        assert_eq!(channel.bodies("q").await, ["m"]);
    });
}
