//! Sender-selected distribution: headers CC and BCC add routing keys.

use integration_tests::{arguments, header, text, with_broker};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray};

fn keys(names: &[&str]) -> AMQPValue {
    AMQPValue::FieldArray(FieldArray::from(names.iter().map(|name| text(name)).collect::<Vec<_>>()))
}

#[test]
fn cc_and_bcc_add_routing_keys_and_bcc_is_not_told() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        for queue in ["to", "copy", "blind"] {
            channel.queue(queue).await;
        }
        let headers =
            arguments([("CC", keys(&["copy", "to", "none"])), ("BCC", keys(&["blind"])), ("x", text("y"))]);
        let properties = BasicProperties::default().with_headers(headers);
        channel.publish_with("", "to", b"m", properties).await;
        for queue in ["to", "copy", "blind"] {
            let delivery = channel.take(queue).await.expect("a copy");
            assert_eq!(delivery.routing_key.as_str(), "to", "{queue}");
            assert_eq!(header(&delivery, "CC"), Some(keys(&["copy", "to", "none"])), "{queue}");
            assert_eq!(header(&delivery, "BCC"), None, "{queue}");
            assert_eq!(header(&delivery, "x"), Some(text("y")), "{queue}");
            assert!(channel.take(queue).await.is_none(), "one copy in {queue}");
        }
    });
}

#[test]
fn they_work_at_any_exchange_and_count_as_routes() {
    with_broker(async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        channel.bound_queue("q", "amq.topic", "seen.*").await;
        let headers = arguments([("CC", keys(&["seen.there"]))]);
        let properties = BasicProperties::default().with_headers(headers);
        let mandatory = lapin::options::BasicPublishOptions { mandatory: true, ..Default::default() };
        let sent =
            channel.send("amq.topic", "not.bound", mandatory, b"m", properties).await.expect("a confirm");
        assert_eq!(sent, lapin::Confirmation::Ack(None));
        assert_eq!(channel.bodies("q").await, ["m"]);
    });
}

#[test]
fn they_must_be_arrays() {
    with_broker(async |broker| {
        let client = broker.connect().await;
        for name in ["CC", "BCC"] {
            let channel = client.confirm_channel().await;
            let properties = BasicProperties::default().with_headers(arguments([(name, text("q"))]));
            let refused = channel.refused_publish("", "q", properties).await;
            let expected = format!(
                "PRECONDITION_FAILED - invalid message: {{unacceptable_type_in_header,\"{name}\",longstr}}"
            );
            assert_eq!(refused, (406, expected));
        }
    });
}
