//! Export and import of definitions.

use crate::server::{Server, column};
use serde_json::{Value, json};

/// What a RabbitMQ node of an older version has exported, with its peculiarities.
fn foreign() -> Value {
    json!({
        "rabbit_version": "3.8.9",
        "users": [{"name": "imp", "password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
            "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "management,own",
            "limits": {"max-channels": 9}}],
        "vhosts": [{"name": "v", "metadata": {"description": "d", "tags": ["t"]}}],
        "permissions": [{"user": "imp", "vhost": "v", "configure": ".*", "write": ".*", "read": ".*"}],
        "topic_permissions": [{"user": "imp", "vhost": "v", "exchange": "x", "write": "^a", "read": ".*"}],
        "parameters": [
            {"component": "vhost-limits", "name": "limits", "vhost": "v", "value": {"max-queues": 50}},
            {"component": "operator_policy", "name": "op", "vhost": "v",
             "value": {"pattern": "q", "apply-to": "queues", "definition": {"max-length": 9}, "priority": 0}},
        ],
        "global_parameters": [{"name": "cluster_name", "value": "imported"}],
        "policies": [{"vhost": "v", "name": "p", "pattern": "^q", "apply-to": "queues",
            "definition": {"message-ttl": 1000}, "priority": 3}],
        "queues": [
            {"name": "q", "vhost": "v", "durable": true, "auto_delete": false, "arguments": {}},
            {"name": "qq", "vhost": "v", "type": "quorum", "durable": true, "auto_delete": false, "arguments": []},
        ],
        "exchanges": [{"name": "x", "vhost": "v", "type": "topic", "durable": true, "auto_delete": false,
            "internal": true, "arguments": {}}],
        "bindings": [{"source": "x", "vhost": "v", "destination": "q", "destination_type": "queue",
            "routing_key": "a.#", "arguments": {"k": 1}}],
    })
}

#[test]
fn what_was_imported_is_there() {
    let server = Server::start();
    server.expect(204, "POST", "/api/definitions", foreign());
    server.expect(204, "POST", "/api/definitions", foreign());
    let user = server.get("/api/users/imp");
    assert_eq!(
        (&user["tags"], &user["limits"]),
        (&json!(["management", "own"]), &json!({"max-channels": 9}))
    );
    assert_eq!(server.send("Basic aW1wOnRlc3QxMg==", "GET", "/api/whoami", "").status, 200);
    assert_eq!(server.get("/api/vhosts/v")["description"], "d");
    assert_eq!(server.get("/api/vhost-limits/v")[0]["value"], json!({"max-queues": 50}));
    assert_eq!(server.get("/api/cluster-name"), json!({"name": "imported"}));
    let queue = server.get("/api/queues/v/q");
    assert_eq!((&queue["policy"], &queue["operator_policy"]), (&json!("p"), &json!("op")));
    assert_eq!(server.get("/api/queues/v/qq")["type"], "quorum");
    assert_eq!(column(&server.get("/api/exchanges/v/x/bindings/source"), "routing_key"), ["a.#"]);
    assert_eq!(column(&server.get("/api/topic-permissions/v/imp"), "write"), ["^a"]);
}

#[test]
fn an_export_imports_to_the_same_export() {
    let (first, second) = (Server::start(), Server::start());
    first.expect(204, "POST", "/api/definitions", foreign());
    let exported = first.get("/api/definitions");
    for key in ["rabbitmq_version", "rabbitmq_definition_format", "original_cluster_name", "explanation"] {
        assert!(exported[key].is_string(), "{key}");
    }
    assert_eq!(column(&exported["exchanges"], "name"), ["x"], "predeclared ones are not exported");
    second.expect(204, "POST", "/api/definitions", exported.clone());
    assert_eq!(second.get("/api/definitions"), exported);
    assert_eq!(second.get("/api/all-configuration"), exported);
}

#[test]
fn a_vhost_is_exported_and_imported_by_itself() {
    let server = Server::start();
    server.expect(204, "POST", "/api/definitions", foreign());
    let exported = server.get("/api/definitions/v");
    assert_eq!(exported["rabbitmq_definition_format"], "single_virtual_host");
    assert_eq!(exported["original_vhost_name"], "v");
    assert!(exported["queues"][0].get("vhost").is_none());
    server.put("/api/vhosts/copy", Value::Null);
    server.expect(204, "POST", "/api/definitions/copy", exported.clone());
    let copy = server.get("/api/definitions/copy");
    for key in ["queues", "exchanges", "bindings", "policies", "parameters", "limits"] {
        assert_eq!(copy[key], exported[key], "{key}");
    }
    let refused = server.refused("GET", "/api/definitions/nope", "");
    assert_eq!(refused, (400, "bad_request".into(), "vhost_not_found".into()));
}

#[test]
fn what_is_there_is_kept_and_an_error_stops_the_import() {
    let server = Server::start();
    server.put("/api/queues/%2F/q", json!({"durable": true}));
    let queue = |name: &str, vhost: &str| json!({"name": name, "vhost": vhost, "durable": false});
    server.expect(204, "POST", "/api/definitions", json!({"queues": [queue("q", "/")]}));
    assert_eq!(server.get("/api/queues/%2F/q")["durable"], true);
    let body = json!({"queues": [queue("first", "/"), queue("i", "nope"), queue("last", "/")]}).to_string();
    let refused = server.refused("POST", "/api/definitions", &body);
    assert_eq!(refused, (400, "bad_request".into(), r#"["no_such_vhost","nope"]"#.into()));
    assert_eq!(column(&server.get("/api/queues"), "name"), ["first", "q"]);
    let refused = server.refused("POST", "/api/definitions", "zz");
    assert_eq!(refused, (400, "bad_request".into(), "failed_to_parse_json".into()));
}
