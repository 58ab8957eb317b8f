//! Policies, operator policies, parameters and global parameters.

use crate::server::{Server, column};
use serde_json::{Value, json};

#[test]
fn policies_are_set_applied_and_cleared() {
    let server = Server::start();
    server.put("/api/queues/%2F/q", Value::Null);
    let policy =
        json!({"pattern": "^q", "definition": {"max-length": 3}, "priority": 1, "apply-to": "queues"});
    server.put("/api/policies/%2F/p", policy.clone());
    server.expect(204, "PUT", "/api/policies/%2F/p", policy);
    let expected = json!({"vhost": "/", "name": "p", "pattern": "^q", "apply-to": "queues",
        "definition": {"max-length": 3}, "priority": 1});
    assert_eq!(server.get("/api/policies/%2F/p"), expected);
    assert_eq!(server.get("/api/policies"), json!([expected]));
    server.put("/api/operator-policies/%2F/op", json!({"pattern": "^q", "definition": {"max-length": 2}}));
    let queue = server.get("/api/queues/%2F/q");
    assert_eq!((&queue["policy"], &queue["operator_policy"]), (&json!("p"), &json!("op")));
    assert_eq!(queue["effective_policy_definition"], json!({"max-length": 2}));
    assert_eq!(column(&server.get("/api/operator-policies/%2F"), "name"), ["op"]);
    server.expect(204, "DELETE", "/api/policies/%2F/p", Value::Null);
    server.expect(204, "DELETE", "/api/operator-policies/%2F/op", Value::Null);
    server.expect(404, "DELETE", "/api/policies/%2F/p", Value::Null);
    assert_eq!(server.get("/api/queues/%2F/q")["policy"], Value::Null);
}

#[test]
fn bad_policies_are_refused_in_rabbitmqs_words() {
    let server = Server::start();
    let table = [
        (
            json!({"pattern": "a", "definition": {"foo": 3}}),
            "Validation failed\n\n[{&lt;&lt;\"foo\"&gt;&gt;,3}] are not recognised policy settings\n",
        ),
        (
            json!({"pattern": "a", "definition": {"max-length": "x"}}),
            "Validation failed\n\n&lt;&lt;\"x\"&gt;&gt; is not a valid maximum length\n",
        ),
        (json!({"definition": {}}), "[{key_missing,pattern}]"),
        (
            json!({"pattern": "a", "definition": {"max-length": 3}, "priority": "x"}),
            "Validation failed\n\npriority should be a number, actually was &lt;&lt;\"x\"&gt;&gt;\n",
        ),
    ];
    for (body, reason) in table {
        let refused = server.refused("PUT", "/api/policies/%2F/p", &body.to_string());
        assert_eq!(refused, (400, "bad_request".into(), reason.into()));
    }
    server.expect(
        400,
        "PUT",
        "/api/policies/%2F/p",
        json!({"pattern": "(", "definition": {"max-length": 1}}),
    );
}

#[test]
fn operator_policies_are_the_administrators() {
    let server = Server::start();
    let login = server.user("pol", "policymaker");
    server.put("/api/permissions/%2F/pol", json!({"configure": "", "write": "", "read": ""}));
    let body = json!({"pattern": "^q", "definition": {"max-length": 3}}).to_string();
    assert_eq!(server.send(&login, "PUT", "/api/policies/%2F/p", &body).status, 201);
    assert_eq!(server.send(&login, "PUT", "/api/operator-policies/%2F/p", &body).status, 401);
}

#[test]
fn parameters_are_kept() {
    let server = Server::start();
    let path = "/api/parameters/federation-upstream/%2F/up";
    server.put(path, json!({"value": {"uri": "amqp://x"}}));
    server.expect(204, "PUT", path, json!({"value": {"uri": "amqp://y"}}));
    let row =
        json!({"vhost": "/", "component": "federation-upstream", "name": "up", "value": {"uri": "amqp://y"}});
    assert_eq!(server.get(path), row);
    assert_eq!(server.get("/api/parameters/federation-upstream"), json!([row]));
    assert_eq!(server.get("/api/parameters/other/%2F"), json!([]));
    let refused = server.refused("PUT", "/api/parameters/foo/%2F/up", r#"{"value":1}"#);
    assert_eq!(refused.2, "Validation failed\n\ncomponent foo not found\n");
    server.expect(204, "DELETE", path, Value::Null);
    server.expect(404, "DELETE", path, Value::Null);
}

#[test]
fn vhost_limits_are_parameters_too() {
    let server = Server::start();
    server.expect(201, "PUT", "/api/parameters/vhost-limits/%2F/limits", json!({"value": {"max-queues": 7}}));
    assert_eq!(server.get("/api/vhost-limits/%2F")[0]["value"], json!({"max-queues": 7}));
    assert_eq!(column(&server.get("/api/parameters"), "component"), ["vhost-limits"]);
    server.expect(204, "DELETE", "/api/parameters/vhost-limits/%2F/limits", Value::Null);
    assert_eq!(server.get("/api/vhost-limits"), json!([]));
}

#[test]
fn global_parameters_are_kept() {
    let server = Server::start();
    server.put("/api/global-parameters/g", json!({"value": {"a": 1}}));
    server.expect(204, "PUT", "/api/global-parameters/g", json!({"value": [2]}));
    assert_eq!(server.get("/api/global-parameters/g"), json!({"name": "g", "value": [2]}));
    assert_eq!(column(&server.get("/api/global-parameters"), "name"), ["g"]);
    server.expect(400, "PUT", "/api/global-parameters/g", json!({}));
    server.expect(204, "DELETE", "/api/global-parameters/g", Value::Null);
    server.expect(404, "GET", "/api/global-parameters/g", Value::Null);
}
