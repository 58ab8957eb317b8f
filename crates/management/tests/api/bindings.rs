//! Bindings in all their paths.

use crate::server::{Server, column};
use serde_json::{Value, json};

fn with_ends() -> Server {
    let server = Server::start();
    server.put("/api/queues/%2F/q", Value::Null);
    server.put("/api/exchanges/%2F/x", json!({"type": "topic"}));
    server
}

#[test]
fn bindings_are_made_and_found_by_their_location() {
    let server = with_ends();
    let table = [
        ("q/q", json!({"routing_key": "a"}), "q/a"),
        ("q/q", json!({"routing_key": "a.b c~"}), "q/a.b%2Bc%257E"),
        ("q/q", Value::Null, "q/~"),
        ("e/amq.fanout", json!({}), "amq.fanout/~"),
    ];
    for (to, body, location) in table {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/api/bindings/%2F/e/x/{to}");
        let answer = server.ask("POST", &path, &text);
        assert_eq!(answer.status, 201, "{path} {text}");
        assert!(answer.head.contains(&format!("location: {location}\r\n")), "{}", answer.head);
        let kind = to.split('/').next().unwrap();
        let found = server.get(&format!("/api/bindings/%2F/e/x/{kind}/{location}"));
        assert_eq!(found["source"], "x");
        server.expect(204, "DELETE", &format!("/api/bindings/%2F/e/x/{kind}/{location}"), Value::Null);
        server.expect(404, "GET", &format!("/api/bindings/%2F/e/x/{kind}/{location}"), Value::Null);
    }
}

#[test]
fn arguments_make_another_binding() {
    let server = with_ends();
    server.expect(201, "POST", "/api/bindings/%2F/e/x/q/q", json!({"routing_key": "k"}));
    server.expect(
        201,
        "POST",
        "/api/bindings/%2F/e/x/q/q",
        json!({"routing_key": "k", "arguments": {"a": 1}}),
    );
    let rows = server.get("/api/bindings/%2F/e/x/q/q");
    let keys = column(&rows, "properties_key");
    assert_eq!(keys.len(), 2);
    let hashed = keys.iter().find(|key| key.as_str().unwrap().starts_with("k~")).unwrap();
    let path = format!("/api/bindings/%2F/e/x/q/q/{}", hashed.as_str().unwrap());
    assert_eq!(server.get(&path)["arguments"], json!({"a": 1}));
    server.expect(204, "DELETE", &path, Value::Null);
    assert_eq!(column(&server.get("/api/bindings/%2F/e/x/q/q"), "properties_key"), ["k"]);
}

#[test]
fn listings_show_default_bindings_too() {
    let server = with_ends();
    server.expect(201, "POST", "/api/bindings/%2F/e/x/q/q", json!({"routing_key": "a"}));
    server.expect(201, "POST", "/api/bindings/%2F/e/amq.fanout/e/x", json!({}));
    let own = json!({"source": "", "vhost": "/", "destination": "q", "destination_type": "queue",
        "routing_key": "q", "arguments": {}, "properties_key": "q"});
    assert_eq!(server.get("/api/queues/%2F/q/bindings")[0], own);
    for (path, sources) in [
        ("/api/bindings", vec!["", "amq.fanout", "x"]),
        ("/api/bindings/%2F", vec!["", "amq.fanout", "x"]),
        ("/api/queues/%2F/q/bindings", vec!["", "x"]),
        ("/api/exchanges/%2F/x/bindings/source", vec!["x"]),
        ("/api/exchanges/%2F/x/bindings/destination", vec!["amq.fanout"]),
        ("/api/exchanges/%2F/amq.default/bindings/source", vec![""]),
        ("/api/bindings/%2F/e/amq.default/q/q", vec![""]),
        ("/api/bindings/%2F/e/x/q/nope", vec![]),
    ] {
        assert_eq!(column(&server.get(path), "source"), sources, "{path}");
    }
}

#[test]
fn missing_ends_are_refused() {
    let server = with_ends();
    let refused = server.refused("POST", "/api/bindings/%2F/e/x/q/nope", "{}");
    assert_eq!(refused, (404, "not_found".into(), "no queue 'nope' in vhost '/'".into()));
    let refused = server.refused("POST", "/api/bindings/%2F/e/nope/q/q", "{}");
    assert_eq!(refused, (404, "not_found".into(), "no exchange 'nope' in vhost '/'".into()));
    server.expect(404, "POST", "/api/bindings/%2F/e/x/z/q", json!({}));
    server.expect(404, "DELETE", "/api/bindings/%2F/e/x/q/q/zz", Value::Null);
}
