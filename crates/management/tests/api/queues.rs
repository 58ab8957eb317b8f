//! Queues and exchanges: declare, read, delete.

use crate::server::{Server, column};
use serde_json::{Value, json};

#[test]
fn queues_are_declared_read_and_deleted() {
    let server = Server::start();
    let wish = json!({"durable": true, "arguments": {"x-max-length": 5}});
    server.put("/api/queues/%2F/q", wish.clone());
    server.expect(204, "PUT", "/api/queues/%2F/q", wish);
    let queue = server.get("/api/queues/%2F/q");
    for (key, value) in [
        ("name", json!("q")),
        ("vhost", json!("/")),
        ("type", json!("classic")),
        ("durable", json!(true)),
        ("auto_delete", json!(false)),
        ("exclusive", json!(false)),
        ("arguments", json!({"x-max-length": 5})),
        ("node", json!("leveret@test")),
        ("state", json!("running")),
        ("messages", json!(0)),
        ("consumers", json!(0)),
        ("policy", Value::Null),
        ("effective_policy_definition", json!({})),
        ("consumer_details", json!([])),
    ] {
        assert_eq!(queue[key], value, "{key}");
    }
    assert_eq!(server.get("/api/queues/%2F/q?columns=name,messages"), json!({"name": "q", "messages": 0}));
    server.expect(204, "DELETE", "/api/queues/%2F/q", Value::Null);
    server.expect(404, "GET", "/api/queues/%2F/q", Value::Null);
}

#[test]
fn bad_declares_are_refused_in_rabbitmqs_words() {
    let server = Server::start();
    server.put("/api/queues/%2F/q", json!({"durable": true}));
    server.put("/api/exchanges/%2F/x", json!({"type": "topic"}));
    let bad = "bad_request";
    let table = [
        (
            "/api/queues/%2F/q",
            r#"{"durable":false}"#,
            400,
            bad,
            "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
        ),
        ("/api/queues/%2F/n", r#"{"durable":"yes"}"#, 400, bad, r#"["not_boolean","yes"]"#),
        (
            "/api/queues/%2F/n",
            r#"{"arguments":{"x-max-length":"a"}}"#,
            400,
            bad,
            "invalid arg 'x-max-length' for queue 'n' in vhost '/': \"expected integer, got longstr\"",
        ),
        ("/api/queues/%2F/amq.n", "{}", 401, "not_authorised", "Access refused."),
        ("/api/queues/nope/n", "{}", 404, "not_found", "vhost_not_found"),
        ("/api/exchanges/%2F/y", r#"{"type":"bogus"}"#, 400, bad, "unknown exchange type 'bogus'"),
        (
            "/api/exchanges/%2F/x",
            r#"{"type":"fanout"}"#,
            400,
            bad,
            "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'topic'",
        ),
    ];
    for (path, body, status, error, reason) in table {
        let refused = server.refused("PUT", path, body);
        assert_eq!(refused, (status, error.to_owned(), reason.to_owned()), "{path} {body}");
    }
}

#[test]
fn deletes_ask_for_conditions() {
    let server = Server::start();
    server.put("/api/queues/%2F/q", Value::Null);
    let message = json!({"properties": {}, "routing_key": "q", "payload": "x", "payload_encoding": "string"});
    server.expect(200, "POST", "/api/exchanges/%2F/amq.default/publish", message);
    let refused = server.refused("DELETE", "/api/queues/%2F/q?if-empty=true", "");
    assert_eq!(refused, (400, "bad_request".into(), "queue 'q' in vhost '/' not empty".into()));
    server.expect(204, "DELETE", "/api/queues/%2F/q/contents", Value::Null);
    server.expect(204, "DELETE", "/api/queues/%2F/q?if-empty=true&if-unused=true", Value::Null);
    for path in ["/api/queues/%2F/q", "/api/queues/%2F/q/contents", "/api/exchanges/%2F/nope"] {
        server.expect(404, "DELETE", path, Value::Null);
    }
    server.put("/api/exchanges/%2F/x", json!({"type": "fanout"}));
    server.put("/api/queues/%2F/q", Value::Null);
    server.expect(201, "POST", "/api/bindings/%2F/e/x/q/q", json!({}));
    server.expect(400, "DELETE", "/api/exchanges/%2F/x?if-unused=true", Value::Null);
    server.expect(204, "DELETE", "/api/exchanges/%2F/x", Value::Null);
}

#[test]
fn quorum_queues_name_their_members() {
    let server = Server::start();
    server.put("/api/queues/%2F/qq", json!({"durable": true, "arguments": {"x-queue-type": "quorum"}}));
    let queue = server.get("/api/queues/%2F/qq");
    assert_eq!((&queue["type"], &queue["leader"]), (&json!("quorum"), &json!("leveret@test")));
    assert_eq!(queue["members"], json!(["leveret@test"]));
    let refused = server.refused("DELETE", "/api/queues/%2F/qq?if-empty=true", "");
    assert_eq!(refused.0, 400);
}

#[test]
fn actions_are_accepted_or_refused() {
    let server = Server::start();
    server.put("/api/queues/%2F/q", Value::Null);
    server.expect(204, "POST", "/api/queues/%2F/q/actions", json!({"action": "sync"}));
    server.expect(204, "POST", "/api/queues/%2F/q/actions", json!({"action": "cancel_sync"}));
    let refused = server.refused("POST", "/api/queues/%2F/q/actions", r#"{"action":"foo"}"#);
    assert_eq!(refused, (400, "bad_request".into(), r#"["unknown","foo"]"#.into()));
    server.expect(204, "POST", "/api/rebalance/queues", json!({}));
}

#[test]
fn exchanges_are_declared_read_and_deleted() {
    let server = Server::start();
    let predeclared =
        ["", "amq.direct", "amq.fanout", "amq.headers", "amq.match", "amq.rabbitmq.trace", "amq.topic"];
    assert_eq!(column(&server.get("/api/exchanges/%2F"), "name"), predeclared);
    server.put("/api/exchanges/%2F/x", json!({"type": "topic", "durable": true, "arguments": {"a": 1}}));
    server.expect(204, "PUT", "/api/exchanges/%2F/x", json!({"type": "topic", "durable": true}));
    let exchange = server.get("/api/exchanges/%2F/x");
    assert_eq!(exchange["arguments"], json!({"a": 1}));
    assert_eq!(
        (&exchange["internal"], &exchange["user_who_performed_action"]),
        (&json!(false), &json!("guest"))
    );
    assert_eq!(server.get("/api/exchanges/%2F/amq.default")["name"], "");
    server.expect(204, "DELETE", "/api/exchanges/%2F/x", Value::Null);
    server.expect(404, "GET", "/api/exchanges/%2F/x", Value::Null);
    server.expect(401, "DELETE", "/api/exchanges/%2F/amq.topic", Value::Null);
}
