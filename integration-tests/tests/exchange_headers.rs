//! Headers exchanges: the four forms of x-match over the message's headers.

use integration_tests::{Channel, arguments, refusal, text, with_broker};
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

/// A header and its value.
type Field = (String, AMQPValue);

async fn publish(channel: &Channel, headers: FieldTable, body: &str) {
    let properties = BasicProperties::default().with_headers(headers);
    channel.publish_with("amq.headers", "ignored", body.as_bytes(), properties).await;
}

async fn bound(channel: &Channel, queue: &str, headers: FieldTable) {
    channel.queue(queue).await;
    channel.bind_with(queue, "amq.headers", "", headers).await.expect("queue.bind-ok");
}

#[test]
fn each_form_of_x_match_takes_what_it_should() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        let both = |form: &str| arguments([("x-match", text(form)), ("a", text("1")), ("b", text("2"))]);
        let with_x = |form: &str| arguments([("x-match", text(form)), ("a", text("1")), ("x-c", text("3"))]);
        bound(&channel, "default", arguments([("a", text("1")), ("b", text("2"))])).await;
        for form in ["all", "any"] {
            bound(&channel, form, both(form)).await;
        }
        for form in ["all", "any", "all-with-x", "any-with-x"] {
            bound(&channel, &format!("x {form}"), with_x(form)).await;
        }
        let one = |name: &str, value: &str| (name.to_owned(), text(value));
        let table: &[(&[Field], &[&str])] = &[
            (&[one("a", "1"), one("b", "2")], &["default", "all", "any", "x all", "x any", "x any-with-x"]),
            (&[one("a", "1")], &["any", "x all", "x any", "x any-with-x"]),
            (&[one("b", "2"), one("z", "9")], &["any"]),
            (&[one("a", "2")], &[]),
            (&[one("x-c", "3")], &["x any-with-x"]),
            (&[one("a", "1"), one("x-c", "3")], &["any", "x all", "x any", "x all-with-x", "x any-with-x"]),
            (&[], &[]),
        ];
        let queues = ["default", "all", "any", "x all", "x any", "x all-with-x", "x any-with-x"];
        for (headers, expected) in table {
            let mut fields = FieldTable::default();
            for (name, value) in *headers {
                fields.insert(name.as_str().into(), value.clone());
            }
            publish(&channel, fields, "m").await;
            for queue in queues {
                let got = !channel.bodies(queue).await.is_empty();
                assert_eq!(got, expected.contains(&queue), "{queue} with {headers:?}");
            }
        }
    });
}

#[test]
fn values_are_compared_by_type_and_void_asks_for_presence() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        bound(&channel, "number", arguments([("a", AMQPValue::LongInt(1))])).await;
        bound(&channel, "text", arguments([("a", text("1"))])).await;
        bound(&channel, "there", arguments([("a", AMQPValue::Void)])).await;
        bound(&channel, "flag", arguments([("a", AMQPValue::Boolean(true))])).await;
        let table: [(AMQPValue, &[&str]); 5] = [
            (AMQPValue::LongInt(1), &["number", "there"]),
            (AMQPValue::LongLongInt(1), &["number", "there"]),
            (text("1"), &["text", "there"]),
            (AMQPValue::Boolean(true), &["flag", "there"]),
            (AMQPValue::LongInt(2), &["there"]),
        ];
        for (value, expected) in table {
            publish(&channel, arguments([("a", value.clone())]), "m").await;
            for queue in ["number", "text", "there", "flag"] {
                let got = !channel.bodies(queue).await.is_empty();
                assert_eq!(got, expected.contains(&queue), "{queue} with {value:?}");
            }
        }
    });
}

#[test]
fn a_binding_without_headers_takes_everything_or_nothing() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        bound(&channel, "all", arguments([("x-match", text("all"))])).await;
        bound(&channel, "any", arguments([("x-match", text("any"))])).await;
        publish(&channel, arguments([("a", text("1"))]), "m").await;
        channel.publish("amq.headers", "", "without properties").await;
        assert_eq!(channel.bodies("all").await, ["m", "without properties"]);
        assert!(channel.bodies("any").await.is_empty());
    });
}

#[test]
fn a_changed_headers_table_is_routed_afresh() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        bound(&channel, "one", arguments([("kind", text("1"))])).await;
        bound(&channel, "two", arguments([("kind", text("2"))])).await;
        for kind in ["1", "2", "1", "3", "2"] {
            publish(&channel, arguments([("kind", text(kind))]), kind).await;
        }
        assert_eq!(channel.bodies("one").await, ["1", "1"]);
        assert_eq!(channel.bodies("two").await, ["2", "2"]);
    });
}

#[test]
fn an_unknown_form_of_x_match_is_refused() {
    with_broker(async |broker| {
        let channel = broker.connect().await.channel().await;
        channel.queue("q").await;
        let bound = channel.bind_with("q", "amq.headers", "", arguments([("x-match", text("some"))])).await;
        let (code, text) = refusal(bound);
        assert_eq!(code, 406);
        assert_eq!(
            text,
            "PRECONDITION_FAILED - Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, \
             or any-with-x"
        );
    });
}
