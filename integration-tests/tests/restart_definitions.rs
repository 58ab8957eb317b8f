//! What is declared is there after a restart, however the broker was ended.

use integration_tests::{Broker, Channel, Client, arguments, text, with_restarts};
use lapin::options::{ExchangeBindOptions, ExchangeDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

const SIGNALS: [i32; 2] = [libc::SIGKILL, libc::SIGTERM];

/// Everything the HTTP API tells of definitions.
async fn definitions(broker: &Broker) -> Vec<String> {
    let mut all = Vec::new();
    for path in [
        "/api/vhosts?columns=name,description,tags,default_queue_type,metadata",
        "/api/users",
        "/api/permissions",
        "/api/topic-permissions",
        "/api/policies",
        "/api/operator-policies",
        "/api/parameters",
        "/api/global-parameters",
        "/api/vhost-limits",
        "/api/user-limits",
        "/api/exchanges?columns=vhost,name,type,durable,auto_delete,internal,arguments,policy",
        "/api/queues?columns=vhost,name,durable,auto_delete,arguments,policy,operator_policy",
        "/api/bindings",
        "/api/definitions",
    ] {
        let (status, body) = broker.http("GET", path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        all.push(format!("{path} {body}"));
    }
    all
}

async fn declare_over_http(broker: &Broker) {
    for (path, body) in [
        ("/api/vhosts/tenant", r#"{"description":"of one tenant","tags":"a,b"}"#),
        ("/api/users/writer", r#"{"password":"secret","tags":"monitoring"}"#),
        ("/api/permissions/%2f/writer", r#"{"configure":"^$","write":"^e","read":"^q"}"#),
        ("/api/permissions/tenant/guest", r#"{"configure":".*","write":".*","read":".*"}"#),
        ("/api/topic-permissions/%2f/writer", r#"{"exchange":"amq.topic","write":"^a","read":"^b"}"#),
        ("/api/policies/%2f/lengths", r#"{"pattern":"^q","definition":{"max-length":77},"priority":3}"#),
        ("/api/operator-policies/%2f/cap", r#"{"pattern":"^q","definition":{"max-length":66}}"#),
        ("/api/parameters/shovel/%2f/own", r#"{"value":{"src-uri":"amqp://","dest-uri":"amqp://"}}"#),
        ("/api/global-parameters/label", r#"{"value":{"zone":"north","rank":4}}"#),
        ("/api/vhost-limits/tenant/max-queues", r#"{"value":9}"#),
        ("/api/vhost-limits/tenant/max-connections", r#"{"value":8}"#),
        ("/api/user-limits/writer/max-channels", r#"{"value":7}"#),
    ] {
        broker.http_put(path, body).await;
    }
}

async fn declare_over_amqp(broker: &Broker) {
    let client = broker.connect().await;
    let channel = client.channel().await;
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let internal = ExchangeDeclareOptions { internal: true, ..durable };
    let alternate = arguments([("alternate-exchange", text("e.fanout"))]);
    for (name, kind, options, fields) in [
        ("e.direct", "direct", durable, alternate),
        ("e.fanout", "fanout", durable, FieldTable::default()),
        ("e.topic", "topic", durable, FieldTable::default()),
        ("e.headers", "headers", durable, FieldTable::default()),
        ("e.hash", "x-consistent-hash", durable, arguments([("hash-header", text("h"))])),
        ("e.internal", "topic", internal, FieldTable::default()),
    ] {
        channel.declare_exchange(name, kind, options, fields).await.expect("exchange.declare-ok");
    }
    channel.durable_queue("q.plain").await;
    channel.durable_queue("q.rest").await;
    let rich = arguments([
        ("x-message-ttl", AMQPValue::LongInt(600_000)),
        ("x-max-priority", AMQPValue::LongInt(5)),
        ("x-dead-letter-exchange", text("e.fanout")),
        ("x-of-nobody", text("kept")),
    ]);
    channel.durable_queue_with("q.rich", rich).await;
    channel.durable_queue_with("quorum", arguments([("x-queue-type", text("quorum"))])).await;
    channel.bind("q.plain", "e.direct", "k").await;
    channel.bind("q.rest", "e.fanout", "").await;
    channel.bind("q.rich", "e.topic", "a.#").await;
    channel.bind("quorum", "e.hash", "3").await;
    let matching = arguments([
        ("x-match", text("any")),
        ("number", AMQPValue::LongLongInt(7)),
        ("flag", AMQPValue::Boolean(true)),
        ("word", text("w")),
    ]);
    channel.bind_with("q.plain", "e.headers", "", matching).await.expect("queue.bind-ok");
    let to_internal = channel.exchange_bind(
        "e.internal".into(),
        "e.topic".into(),
        "a.b".into(),
        ExchangeBindOptions::default(),
        FieldTable::default(),
    );
    to_internal.await.expect("exchange.bind-ok");
    channel.bind("q.plain", "e.internal", "*.b").await;
    client.end().await;
}

/// Publishes through each exchange, and looks where it arrives.
async fn routes(channel: &Channel) -> Vec<(&'static str, Vec<String>)> {
    channel.publish("e.direct", "k", "direct").await;
    channel.publish("e.direct", "nobody", "alternate").await;
    channel.publish("e.topic", "a.b", "topic").await;
    let headers = lapin::BasicProperties::default()
        .with_headers(arguments([("number", AMQPValue::LongInt(7)), ("h", text("x"))]));
    channel.publish_with("e.headers", "", b"headers", headers.clone()).await;
    channel.publish_with("e.hash", "", b"hash", headers).await;
    let mut found = Vec::new();
    for queue in ["q.plain", "q.rest", "q.rich", "quorum"] {
        found.push((queue, channel.bodies(queue).await));
    }
    found
}

#[test]
fn definitions_are_there_after_each_kind_of_end() {
    with_restarts(&[], async |broker| {
        declare_over_http(broker).await;
        declare_over_amqp(broker).await;
        let before = definitions(broker).await;
        for signal in SIGNALS {
            broker.restart(signal);
            assert_eq!(definitions(broker).await, before, "after signal {signal}");
            let channel = broker.connect().await.confirm_channel().await;
            let expected = [
                ("q.plain", vec!["direct", "topic", "headers"]),
                ("q.rest", vec!["alternate"]),
                ("q.rich", vec!["topic"]),
                ("quorum", vec!["hash"]),
            ];
            let expected =
                expected.map(|(queue, bodies)| (queue, bodies.into_iter().map(String::from).collect()));
            assert_eq!(routes(&channel).await, expected, "after signal {signal}");
        }
        let writer = Client::connect_to(&format!("amqp://writer:secret@{}/%2f", broker.amqp)).await;
        writer.expect("the password is the same").end().await;
        let wrong = Client::connect_to(&format!("amqp://writer:other@{}/%2f", broker.amqp)).await;
        assert!(wrong.is_err());
    });
}

#[test]
fn what_was_deleted_stays_deleted() {
    with_restarts(&[], async |broker| {
        declare_over_http(broker).await;
        declare_over_amqp(broker).await;
        for path in [
            "/api/users/writer",
            "/api/vhosts/tenant",
            "/api/policies/%2f/lengths",
            "/api/operator-policies/%2f/cap",
            "/api/parameters/shovel/%2f/own",
            "/api/global-parameters/label",
            "/api/exchanges/%2f/e.topic",
            "/api/queues/%2f/q.rich",
            "/api/bindings/%2f/e/e.direct/q/q.plain/k",
        ] {
            assert_eq!(broker.http("DELETE", path, "").await.0, 204, "{path}");
        }
        let before = definitions(broker).await;
        for signal in SIGNALS {
            broker.restart(signal);
            assert_eq!(definitions(broker).await, before, "after signal {signal}");
        }
    });
}

#[test]
fn a_queue_that_is_declared_again_is_a_new_one() {
    with_restarts(&[], async |broker| {
        let channel = broker.connect().await.confirm_channel().await;
        for round in 0..3 {
            channel.durable_queue("q").await;
            assert_eq!(channel.depth("q").await, 0, "round {round}: nothing of the one before");
            channel.publish_persistent("", "q", &format!("round {round}")).await;
            if round < 2 {
                channel.queue_delete("q".into(), Default::default()).await.expect("queue.delete-ok");
            }
        }
        broker.restart(libc::SIGKILL);
        let channel = broker.connect().await.channel().await;
        assert_eq!(channel.bodies("q").await, ["round 2"]);
    });
}
